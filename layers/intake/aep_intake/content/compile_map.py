"""Compiles the map of a route for the schema of its dataset, when the route is published.

Each path gets its type and its rules from the schema, so that functions ask nobody at run time.
What cannot be, or would be missing in every row, is a problem here and not there.

The result is plain JSON: `columns` that are read, and `root`, the object that each row becomes.
Its members are objects (`object`, `required`), lists (`list`) and fields (`path`, `type`, `from`
which columns, or `value`, and how to read them).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from aep_intake.content.dates import reads
from aep_intake.content.expressions import Expression, InvalidExpression
from aep_intake.content.map_fields import PLACEHOLDER, SCALARS
from aep_intake.content.patterns import matcher
from aep_intake.content.rows import is_csv
from aep_intake.content.typed import WRITTEN_AS, Type, Unfit, copier, writer
from aep_intake.content.xdm import NoPath, Path, Schema, dotted, parse, type_of
from aep_intake.model.json_schema import faults
from aep_intake.model.values import dataclass

VERSION = 1  # of compiled maps
_TEXT = {"type": "string", "minLength": 1, "maxLength": 1000}
_TRUE = {"type": "boolean", "enum": [True]}
_VALUE = {"type": ["string", "integer", "number", "boolean", "array", "object"]}
# What a member of a map may be, beside the name of a column.
ENTRY: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "from": {**_TEXT, "type": ["string", "array"], "items": _TEXT, "minItems": 1},
        "as": {
            "type": "string",
            "enum": ["string", "integer", "number", "boolean", "date", "date-time"],
        },
        "format": _TEXT,
        "timezone": _TEXT,
        "decimal": {"type": "string", "enum": [".", ","]},
        "thousands": {"type": "string", "enum": [".", ",", "'", "\u2019", " "]},
        "values": {"type": "object"},
        "default": {},
        "split": _TEXT,
        "join": {"type": "string", "maxLength": 100},
        "lower": _TRUE,
        "upper": _TRUE,
        "trim": _TRUE,
        "value": _VALUE,
        "required": _TRUE,
        "optional": _TRUE,
        "expression": _TEXT,
    },
}
FIELDS_MAX = 2000  # of a map
VALUES_MAX = 10_000  # of a table
_SOURCES = ("from", "value", "expression")
_READ = ("as", "format", "timezone", "decimal", "thousands")
_CHANGED = ("values", "default", "trim", "lower", "upper", "split", "join", "required")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a map. `path`: the member of the map, or the path that it lacks."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class CompiledMap:
    """A map for a schema: plain JSON, and its name. It works only if there are no problems."""

    document: Mapping[str, Any]
    problems: tuple[Problem, ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Paths whose pattern nobody but AEP matches (`content.patterns`)."""
        return tuple(_unmatched(self.document.get("root", {})))

    @property
    def text(self) -> bytes:
        """The document. Members of rows come in the order of the map."""
        return json.dumps(self.document, separators=(",", ":")).encode()

    @property
    def name(self) -> str:
        """The hash of the text, in hexadecimal."""
        return sha256(self.text).hexdigest()


def _unmatched(node: Mapping[str, Any]) -> Iterator[str]:
    for inner in (*node.get("object", {}).values(), *node.get("list", ())):
        yield from _unmatched(inner)
    kind = node.get("type", {})
    pattern = kind.get("items", kind).get("pattern")
    if pattern is not None and matcher(pattern) is None:
        yield node["path"]


class _Wrong(ValueError):
    """A problem of one member of a map; the text says which."""


def compile_map(
    written: Mapping[str, Any],
    schema: Schema,
    source: Mapping[str, Any],
    *,
    key: re.Pattern[str] = re.compile(""),
    primary: Sequence[str] | None = None,
) -> CompiledMap:
    """Compile a route's `map`.

    `source`: the inputFormat of the files. `key`: what their keys are like; its groups are the
    placeholders. `primary`: the fields that are primary identities, such as
    `/personalEmail/address`, if they are known.
    """
    compiler = _Compiler(schema, source, tuple(key.groupindex))
    for path, entry in written.items():
        compiler.add(path, entry)
    compiler.find_missing()
    compiler.find_identity(primary)
    if not compiler.problems and not compiler.columns:
        compiler.problems.append(Problem("", "maps no column: all rows would be the same"))
    document = {
        "v": VERSION,
        "schema": {"id": schema.id, "version": schema.version},
        "header": not is_csv(source) or str(source.get("header", True)).lower() == "true",
        "null": str(source.get("nullMarker", "")),
        "columns": compiler.columns,
        "root": compiler.document(),
    }
    if compiler.uses_the_key:
        document |= {"key": key.pattern, "anyCase": bool(key.flags & re.IGNORECASE)}
    return CompiledMap(document, tuple(compiler.problems))


class _Compiler:
    def __init__(
        self, schema: Schema, source: Mapping[str, Any], placeholders: Sequence[str]
    ) -> None:
        self._schema, self._placeholders = schema, placeholders
        self._csv = is_csv(source)
        self._header = str(source.get("header", True)).lower() == "true"
        self._fields: dict[Path, dict[str, Any]] = {}
        # What is below a path, as the map has it.
        self._above: dict[Path, dict[str | int, None]] = {(): {}}
        self._places: dict[str, int] = {}
        self.columns: list[dict[str, Any]] = []
        self.problems: list[Problem] = []
        self.uses_the_key = False

    def add(self, path: str, entry: Any) -> None:
        """Add a member of the map, or its problem."""
        try:
            if len(self._fields) >= FIELDS_MAX:
                raise _Wrong(f"a map has {FIELDS_MAX:,} members at most")
            steps = parse(path)
            field = {"from": entry} if isinstance(entry, str) else entry
            for where, problem in faults(field, ENTRY, ()):
                raise _Wrong(f"{_member(where)}{problem}")
            self._place(steps)
            kind = type_of(self._schema.node(steps))
            self._fields[steps] = self._field(steps, kind, field)
        except (NoPath, _Wrong) as wrong:
            self.problems.append(Problem(path, str(wrong)))

    def _place(self, steps: Path) -> None:
        if steps in self._fields:
            raise _Wrong("comes twice")
        if steps in self._above:
            raise _Wrong("is mapped as a whole, and its members also")
        for depth in range(len(steps)):
            if steps[:depth] in self._fields:
                raise _Wrong(f"`{dotted(steps[:depth])}` is mapped as a whole, too")
        for depth, step in enumerate(steps):
            self._above.setdefault(steps[:depth], {})[step] = None

    def _field(self, steps: Path, kind: Type, entry: Mapping[str, Any]) -> dict[str, Any]:
        sources = [name for name in _SOURCES if name in entry]
        if len(sources) != 1:
            raise _Wrong("needs exactly one of `from`, `value`, `expression`")
        field: dict[str, Any] = {"path": dotted(steps), "type": kind}
        field |= {name: entry[name] for name in (*_READ, *_CHANGED) if name in entry}
        [source] = sources
        if source == "value":
            self._check_meaning(entry, ("value", *_READ), "a `value`")
            self._add_value(steps, field, entry)
        else:
            if self._schema.typed:
                self._check_shape(kind, entry, source)
            self._check_reading(kind, field)
            if source == "expression":
                self._add_expression(field, entry)
            else:
                columns = entry["from"] if isinstance(entry["from"], list) else [entry["from"]]
                field["from"] = [self._column(name, entry) for name in columns]
        return field

    def _add_value(self, steps: Path, field: dict[str, Any], entry: Mapping[str, Any]) -> None:
        value = field["value"] = entry["value"]
        kind = field["type"]
        if self._schema.of_events and steps == ("_id",):
            raise _Wrong("is the same in all rows, and events with one `_id` are one event")
        if isinstance(value, str) and "{" in value:
            for name in PLACEHOLDER.findall(value):
                if name not in self._placeholders:
                    raise _Wrong(f"`match` has no placeholder {{{name}}}")
            if "{" in PLACEHOLDER.sub("", value):
                raise _Wrong(f"{value!r} has a brace that is not a placeholder's")
            if kind["type"] not in SCALARS and self._schema.typed:
                raise _Wrong(f"is of the type {kind['type']}, and a placeholder is a text")
            field["filled"] = self.uses_the_key = True
            self._check_reading(kind, field)
            return
        self._check_meaning(entry, ("value",), "a `value` without placeholders")
        self._check_value("value", kind, value)

    def _add_expression(self, field: dict[str, Any], entry: Mapping[str, Any]) -> None:
        field["expression"] = entry["expression"]
        try:
            expression = Expression(entry["expression"])
        except InvalidExpression as fault:
            raise _Wrong(f"its expression {fault}") from None
        if self._csv:
            field["from"] = [self._column(name, entry) for name in expression.names]
            return
        # Some are members of what is in the row, and may not be at its top.
        names = [dotted((name,)) for name in expression.names if name]
        field["from"] = [self._column(name, entry, inner=True) for name in names]

    def _column(self, written: str, entry: Mapping[str, Any], *, inner: bool = False) -> int:
        """The place of a column among those that are read. `inner`: it may be within another."""
        name = written.strip() if self._csv else written
        optional = entry.get("optional", False) or inner
        column: dict[str, Any] = {"name": name, "optional": optional}
        if not self._csv:
            try:
                column["path"] = list(parse(name))
            except NoPath as fault:
                raise _Wrong(f"`from`: {fault}") from None
        elif not self._header and not (
            name.isascii() and name.isdecimal() and 0 < int(name) <= 10_000
        ):
            raise _Wrong(f"{name!r}: files without a header have columns 1, 2, 3 …")
        if name in self._places:
            known = self.columns[self._places[name]]
            known["optional"] = known["optional"] and column["optional"]
        else:
            self._places[name] = len(self.columns)
            self.columns.append(column)
        return self._places[name]

    def _check_meaning(self, entry: Mapping[str, Any], allowed: Sequence[str], of: str) -> None:
        for name in entry:
            if name not in allowed:
                raise _Wrong(f"`{name}` has no meaning for {of}")

    def _check_shape(self, kind: Type, entry: Mapping[str, Any], source: str) -> None:
        """Whether lists, objects and single values meet their like."""
        name, several = kind["type"], isinstance(entry.get("from"), list)
        if "join" in entry and not several:
            raise _Wrong("`join` joins several columns: list them in `from`")
        if "split" in entry and name != "array":
            raise _Wrong(f"`split` makes a list, and the field is of the type {name}")
        if several and ("split" in entry or ("join" not in entry and name != "array")):
            raise _Wrong("several columns need a `join`, or a field that is a list")
        if name in ("object", "map"):
            for member in (*_READ, *_CHANGED):
                if member in entry and member != "required":
                    raise _Wrong(f"`{member}` has no meaning for an object")
            if self._csv and source == "from":
                raise _Wrong("is an object, and a column is one value: map its members")
        if name == "array":
            if "join" in entry:
                raise _Wrong("is a list: `join` makes one text")
            if self._csv and source == "from" and not several and "split" not in entry:
                raise _Wrong(
                    "is a list: say where to `split` the column, or map its first item, [0]"
                )
        if "lower" in entry and "upper" in entry:
            raise _Wrong("cannot be `lower` and `upper`")
        if "required" in entry and "optional" in entry:
            raise _Wrong("cannot be `required` and `optional`")

    def _check_reading(self, kind: Type, field: dict[str, Any]) -> None:
        """Whether what is read can be written as the field's type."""
        if field.get("thousands") == field.get("decimal", "."):
            raise _Wrong("`thousands` and `decimal` are the same: say both")
        try:
            reads(field.get("format"), field.get("timezone"), time=True)
        except ValueError as fault:
            raise _Wrong(str(fault)) from None
        if self._schema.typed:
            self._check_type(kind, field)

    def _check_type(self, kind: Type, field: dict[str, Any]) -> None:
        one = kind["items"] if kind["type"] == "array" else kind
        name = one["type"]
        if name == "any" and (self._csv or {*_READ, *_CHANGED} & field.keys()):
            field.setdefault("as", "string")
        if name not in WRITTEN_AS and name != "any":
            return
        read_as = field.get("as", "string" if name == "any" else name)
        if name not in WRITTEN_AS[read_as]:
            raise _Wrong(f"is of the type {name}, which cannot be made of `as` {read_as}")
        for members, types in (
            (("format", "timezone"), ("date", "date-time")),
            (("decimal", "thousands"), ("integer", "number")),
        ):
            for member in members:
                if member in field and read_as not in types:
                    raise _Wrong(f"`{member}` has no meaning for {read_as}")
        try:
            writer(one, field)
        except ValueError as fault:
            raise _Wrong(str(fault)) from None
        table = field.get("values", {})
        if len(table) > VALUES_MAX:
            raise _Wrong(f"`values` has more than {VALUES_MAX:,}")
        for key, value in table.items():
            self._check_value(f"values.{key}", one, value)
        if field.get("default") is not None:
            self._check_value("default", one, field["default"])

    def _check_value(self, member: str, kind: Type, value: Any) -> None:
        """Whether a value that the map writes can be in the field."""
        try:
            copier(kind, {})(value)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except Unfit as unfit:
            allowed = kind.get("enum")
            hint = f": it must be one of {', '.join(map(str, allowed))}" if allowed else ""
            raise _Wrong(f"`{member}` {unfit}{hint}") from None
        except (ValueError, RecursionError):
            raise _Wrong(f"`{member}` is nothing that can be written as JSON") from None

    def find_missing(self) -> None:
        """The fields that the schema requires, and that nothing fills."""
        bad = {problem.path for problem in self.problems}
        for path in dict.fromkeys((*self._above, (self._schema.tenant,))):
            for name in self._required(path):
                where = (*path, name)
                if where in self._fields or where in self._above or dotted(where) in bad:
                    continue
                why = "the schema requires it, and nothing fills it"
                if path and not self._schema.always(path):
                    why = f"the schema requires it where there is `{dotted(path)}`, which is mapped"
                self.problems.append(Problem(dotted(where), f"{why}{self._below(where)}"))

    def _below(self, path: Path) -> str:
        """What to map instead of an object."""
        inner = [dotted((*path, name)) for name in self._required(path)]
        return f": map {', '.join(f'`{name}`' for name in inner)}" if inner else ""

    def _required(self, path: Path) -> tuple[str, ...]:
        try:
            return self._schema.required(path)
        except NoPath:  # which is a problem of its own
            return ()

    def find_identity(self, fields: Sequence[str] | None) -> None:
        """Whether rows for Profile have a primary identity."""
        if fields is None or not self._schema.for_profile:
            return
        primary = [tuple(field.strip("/").split("/")) for field in fields]
        if any(path[: len(field)] == field for path in primary for field in self._fields):
            return
        if any(self._is_primary(path, field) for path, field in self._fields.items()):
            return
        wanted = " or ".join(f"`{dotted(path)}`" for path in primary) or "identityMap"
        self.problems.append(
            Problem(
                dotted(primary[0]) if primary else "identityMap",
                f"Profile needs a primary identity, and nothing fills {wanted}; an item of "
                "identityMap with `primary` true would do, too",
            )
        )

    def _is_primary(self, path: Path, field: Mapping[str, Any]) -> bool:
        if path[0] != "identityMap":
            return False
        if len(path) <= 3:  # all of it, or a list or an item of it
            return True
        return path[-1] == "primary" and field.get("value", True) is True

    def document(self) -> dict[str, Any]:
        """The object that each row becomes; nothing if there are problems."""
        return {} if self.problems else self._object(())

    def _object(self, path: Path) -> dict[str, Any]:
        steps = self._above[path]
        if any(isinstance(step, int) for step in steps):
            places = sorted(step for step in steps if isinstance(step, int))
            return {"list": [self._node((*path, place)) for place in places]}
        members = {str(step): self._node((*path, step)) for step in steps}
        found: dict[str, Any] = {"object": members}
        required = {name: dotted((*path, name)) for name in self._required(path)}
        if required:
            found["required"] = required
            found["always"] = self._schema.always(path)
        return found

    def _node(self, path: Path) -> dict[str, Any]:
        return self._fields[path] if path in self._fields else self._object(path)


def _member(where: Sequence[str | int]) -> str:
    return f"`{'.'.join(map(str, where))}` " if where else ""
