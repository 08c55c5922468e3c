"""Reads the schema of a dataset, in the full form of Adobe's Schema Registry: its paths and types.

The full form (`application/vnd.adobe.xed-full+json`) has everything resolved into `properties`,
under the names that rows have. See `content.typed` for the types.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from aep_intake.content.typed import Type

type Path = tuple[str | int, ...]
type Node = Mapping[str, Any]  # a member of the schema

_STEP = re.compile(r"((?:[^.\[\]\\]|\\.)+)|\[(\d{1,3}|\*)\]")
_ESCAPED = re.compile(r"([.\[\]\\])")
# By `meta:xdmType`. Adobe's page has upper bounds that overflow Parquet's types by one.
_BOUNDS = {
    "byte": (-(2**7), 2**7 - 1),
    "short": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**53) + 1, 2**53 - 1),
}
_RULES = ("minLength", "maxLength", "pattern", "format", "enum")
_EVENT = "https://ns.adobe.com/xdm/context/experienceevent"


class NoPath(ValueError):
    """A path that is none, or that the schema does not have; the text says so."""


def parse(path: str) -> Path:
    r"""`person.name`, `identityMap.ECID[0].id`, `a\.b` as steps. Raises NoPath."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        if steps and path[at] == ".":
            at += 1
        elif steps and path[at] != "[":
            break
        step = _STEP.match(path, at)
        if step is None or (step[2] and (not steps or path[at - 1] == ".")):
            break
        if step[2] == "*":
            raise NoPath(f"{path!r}: name each item by its number, or copy the whole list")
        steps.append(int(step[2]) if step[2] else re.sub(r"\\(.)", r"\1", step[1]))
        at = step.end()
    if not steps or at < len(path) or path.endswith("."):
        raise NoPath(
            f"{path!r} is not a path: such as person.name.firstName or identityMap.ECID[0].id"
        )
    return tuple(steps)


def dotted(path: Path) -> str:
    """Steps as `parse` reads them."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else "." + _ESCAPED.sub(r"\\\1", step)
    return text.removeprefix(".")


class Schema:
    """A schema in its full form. Raises ValueError if it is in another one."""

    typed = True  # whether the types of its members are known

    def __init__(self, document: Node) -> None:
        if not isinstance(document.get("properties"), dict):
            raise ValueError(
                "the schema has no properties: it is needed in the full form, "
                "application/vnd.adobe.xed-full+json"
            )
        self.document = document
        self.id = str(document.get("$id", ""))
        self.version = str(document.get("version", ""))
        self.tenant = str(document.get("meta:tenantNamespace", ""))
        extends = (document.get("meta:class"), *document.get("meta:extends", ()))
        self.of_events = _EVENT in extends
        self.for_profile = "union" in document.get("meta:immutableTags", ())

    def node(self, path: Path) -> Node:
        """The member at a path. Raises NoPath, with the nearest path that exists."""
        node = self.document
        for depth, step in enumerate(path):
            below = _below(node, step)
            if below is None:
                raise NoPath(self._unknown(path, depth, node))
            node = below
        return node

    def required(self, path: Path) -> tuple[str, ...]:
        """The members that an object must have."""
        required = tuple(self.node(path).get("required", ()))
        if not path and self.of_events:
            required = tuple(dict.fromkeys((*required, "_id", "timestamp")))
        return required

    def always(self, path: Path) -> bool:
        """Whether an object's required members are missed even if nothing of it is there.

        Those of the root are, and those of the tenant's object, unlike those of all others
        (Adobe's page about required fields).
        """
        return not path or path == (self.tenant,)

    def _unknown(self, path: Path, depth: int, node: Node) -> str:
        where = f"`{dotted(path[:depth])}`" if depth else "the schema"
        step = path[depth]
        kind = type_name(node)
        if isinstance(step, int):
            return f"{where} is not a list, but of the type {kind}"
        if kind == "array":
            return f"{where} is a list: say which item, such as `{dotted(path[:depth])}[0]`"
        if kind != "object":
            return f"{where} has no members, as it is of the type {kind}"
        nearest = self.nearest(path)
        hint = f": did you mean {' or '.join(f'`{near}`' for near in nearest)}?" if nearest else ""
        return f"{where} has no member {step!r}{hint}"

    def nearest(self, path: Path) -> list[str]:
        """Up to two paths of the schema that look like this one."""
        wanted = dotted(path)
        plain = re.sub(r"\[\d+\]", "", wanted)
        names = {re.sub(r"\[\d+\]", "", name).lower(): name for name in self.paths()}
        close = get_close_matches(plain.lower(), names, n=2, cutoff=0.6)
        last = plain.rpartition(".")[2].lower()
        same = [name for name in names if name.rpartition(".")[2] == last]
        return [names[name] for name in dict.fromkeys([*same[:2], *close])][:2]

    def paths(self) -> Iterator[str]:
        """The paths of all that a row may hold, apart from members of maps."""
        return _paths(self.document, ())


class AnySchema(Schema):
    """In place of a schema that nobody has asked for: it has every path, and requires none."""

    typed = False

    def __init__(self) -> None:
        super().__init__({"properties": {}})

    def node(self, path: Path) -> Node:
        """A member of any type."""
        return self.document if not path else {}


def _paths(node: Node, path: Path) -> Iterator[str]:
    for name, member in node.get("properties", {}).items():
        here: Path = (*path, name)
        inner = member
        while type_name(inner) == "array":
            yield dotted(here)
            inner, here = inner.get("items", {}), (*here, 0)
        if inner.get("properties"):
            yield from _paths(inner, here)
        else:
            yield dotted(here)


def _below(node: Node, step: str | int) -> Node | None:
    kind = type_name(node)
    if isinstance(step, int):
        return node.get("items", {}) if kind == "array" else None
    if kind == "any":
        return {}
    if kind == "map":
        return node["additionalProperties"] or {}
    found = node.get("properties", {}).get(step)
    return found if isinstance(found, dict) else None


def type_name(node: Node) -> str:
    """The name that a member's type has in `content.typed`."""
    kind = node.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None)
    if "properties" in node:
        return "object"
    if kind == "object":
        return "map" if isinstance(node.get("additionalProperties"), dict) else "any"
    if kind == "string" and node.get("format") in ("date", "date-time"):
        return str(node["format"])
    return str(kind or "any")


def type_of(node: Node) -> Type:
    """The type of a member, with all that is in it."""
    name = type_name(node)
    kind: dict[str, Any] = {"type": name}
    if name == "object":
        members = node["properties"].items()
        kind["properties"] = {key: type_of(inner) for key, inner in members}
        if node.get("required"):
            kind["required"] = list(node["required"])
    elif name == "array":
        kind["items"] = type_of(node.get("items", {}))
    elif name == "map":
        kind["values"] = type_of(node["additionalProperties"])
    elif name in ("integer", "number"):
        least, most = _BOUNDS.get(node.get("meta:xdmType", ""), (None, None))
        if name == "integer" and least is None:
            least, most = _BOUNDS["long"]
        bounds = {
            "minimum": [each for each in (least, node.get("minimum")) if each is not None],
            "maximum": [each for each in (most, node.get("maximum")) if each is not None],
        }
        if bounds["minimum"]:
            kind["minimum"] = max(bounds["minimum"])
        if bounds["maximum"]:
            kind["maximum"] = min(bounds["maximum"])
        kind |= {rule: node[rule] for rule in ("enum",) if rule in node}
    elif name == "string":
        kind |= {rule: node[rule] for rule in _RULES if rule in node}
    return kind
