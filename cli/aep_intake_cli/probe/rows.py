"""Rows that a dataset takes: made up from its schema, with nothing of anybody's in them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aep_intake.content.xdm import Node, Path, Schema, dotted, type_name

from aep_intake_cli.failures import CommandFailed

TEXT = "aep-intake probe"
_BY_FORMAT = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00.000Z",
    "email": "probe@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/probe",
    "uri-reference": "aep-intake-probe",
}


class ProbeRefused(CommandFailed):
    """The dataset is none that may be probed; nothing was changed."""


@dataclass(frozen=True)
class Rows:
    """Rows of a dataset, by its schema in full form. `adhoc`: its columns are flat, and CSV."""

    document: Mapping[str, Any]
    adhoc: bool

    @property
    def input_format(self) -> dict[str, str]:
        """Adobe's `inputFormat` of `file`."""
        return {"format": "csv" if self.adhoc else "json"}

    @property
    def extension(self) -> str:
        """Of `file`."""
        return "csv" if self.adhoc else "json"

    @cached_property
    def file(self) -> bytes:
        """A file of one row. Raises ProbeRefused: no row can be made up."""
        return self.csv if self.adhoc else _json_lines([self.row()])

    @cached_property
    def header(self) -> bytes:
        """The header of `csv`."""
        return self.csv.partition(b"\n")[0] + b"\n"

    @cached_property
    def csv(self) -> bytes:
        """A CSV file of a header and one row."""
        found = {
            path[-1]: _value(node, path)
            for path, node in _leaves(self.document, ())
            if "pattern" not in node
        }
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([found.keys(), found.values()])
        return text.getvalue().encode()

    def row(self, text: str = TEXT) -> dict[str, Any]:
        """What the schema requires, and `text` in a field that takes any. Raises ProbeRefused."""
        schema = Schema(self.document)
        row: dict[str, Any] = {}
        for name in schema.required(()):
            row[name] = _value(schema.node((name,)), (name,))
        own = self.document["properties"].get(schema.tenant, {})
        if own.get("required"):  # which binds without the object, unlike that of all others
            row[schema.tenant] = _value(own, (schema.tenant,))
        return self.with_value(row, self.free[0], text)

    def with_value(self, row: Mapping[str, Any], path: Path, value: object) -> dict[str, Any]:
        """`row` with `value` at `path`, and with what the objects on the way require."""
        changed: dict[str, Any] = json.loads(json.dumps(row))
        inside, node = changed, self.document
        for depth, step in enumerate(path[:-1], 1):
            node = node["properties"][step]
            inside = inside.setdefault(str(step), _value(node, path[:depth]))
        inside[str(path[-1])] = value
        return changed

    @cached_property
    def free(self) -> Sequence[Path]:
        """The fields that take any text, the tenant's own first."""
        found = [
            path
            for path, node in _leaves(self.document, ())
            if type_name(node) == "string"
            and not {"pattern", "format", "enum"} & node.keys()
            and node.get("maxLength", 100) >= len(TEXT)
        ]
        if not found:
            raise ProbeRefused("the schema has no field that takes any text, so no row can be made")
        return sorted(found, key=lambda path: not str(path[0]).startswith("_"))

    @cached_property
    def wrong(self) -> dict[str, dict[str, Any]]:
        """Rows of which Adobe does not say whether they are refused, by what their text says."""
        leaves = list(_leaves(self.document, ()))
        schema = Schema(self.document)
        optional = [path for path in self.free[1:] if path[-1] not in schema.required(path[:-1])]
        moments = [path for path, node in leaves if type_name(node) == "date-time"]
        bounded = [(path, node["minimum"] - 1) for path, node in leaves if "minimum" in node]
        tried: dict[str, list[tuple[Path, object]]] = {
            "unknown key": [(("probeUnknownKey",), "x")],
            "null": [(path, None) for path in optional],
            "bare date": [(path, "2026-01-01") for path in moments],
            "no date": [(path, "yesterday") for path in moments],
            "below minimum": bounded,
        }
        return {
            name: self.with_value(self.row(name), *found[0])
            for name, found in tried.items()
            if found
        }


def _json_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _leaves(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    """The fields that are neither objects nor in lists or maps."""
    for name, inner in node.get("properties", {}).items():
        if inner.get("properties"):
            yield from _leaves(inner, (*path, name))
        elif type_name(inner) not in ("array", "map", "any"):
            yield (*path, name), inner


def _value(node: Node, path: Path) -> Any:
    """A value that the schema takes there, as small as can be."""
    kind = type_name(node)
    if "enum" in node:
        return node["enum"][0]
    if kind == "object":
        members, required = node["properties"], node.get("required", ())
        return {name: _value(members[name], (*path, name)) for name in required}
    if kind == "array":
        return [_value(node["items"], (*path, 0))]
    if kind in ("integer", "number"):
        return min(max(1, node.get("minimum", 1)), node.get("maximum", 1))
    if "pattern" in node:
        raise ProbeRefused(
            f"{dotted(path)} is required and has a pattern, so no row can be made up: probe a "
            "dataset whose schema requires no such field"
        )
    text = _BY_FORMAT.get(str(node.get("format", kind)), TEXT)
    texts = text.ljust(node.get("minLength", 0), "x")[: node.get("maxLength")]
    return {"boolean": True, "map": {}, "any": {}}.get(kind, texts)
