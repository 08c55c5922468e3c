"""What the rows of a dataset must look like: its schema, read by Adobe's matrix of types.

Sources: Adobe's batch ingestion overview ("Types": what an inbound type may become, and that a
batch with another one fails with a `TypeCompatibilityException`), its page on XDM's field types
(ranges), the page on failed batches (the four forms of a date-time), the composition guide and the
pages on required fields and enums (null, nested `required`, where enums are not validated), the
troubleshooting page (three levels: schema, type, constraints).

Inferred: that a type which can never become the field's fails the batch, and a value that cannot
fails its row; that a number with a fraction is no integer; that a row has one violation, the first
of the lowest level; what formats look like. What nobody documents is a switch: see `Switches`.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Any

from .switches import Switches

ADHOC = "https://ns.adobe.com/xdm/data/adhoc"
_DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
_FORMS = {"date": re.compile(_DATE), "date-time": re.compile(f"{_DATE}T{_TIME}", re.ASCII)}
_INTEGER = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_DOUBLE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_RANGES = {
    "byte": (-(2**7), 2**7 - 1),
    "short": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "long": (-(2**53 - 1), 2**53 - 1),
}


class Level(IntEnum):
    """What kind of violation, in the order in which Adobe looks for them."""

    INCOMPATIBLE = 1  # the type can never become the field's
    CONVERSION = 2  # this value cannot, or is in a field that the schema does not have
    REQUIRED = 3  # missing or null
    CONSTRAINT = 4  # enum, pattern, format, bounds, lengths


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with a row. `path`: of the field, as descriptors write it."""

    level: Level
    path: str
    words: str


type Rule = Callable[[Any, list[Violation]], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """`check`: what is wrong with a row, None if nothing is. `adhoc`: the schema is ad-hoc.

    Rows of ad-hoc datasets have no rules: Adobe validates no CSV, and under which name columns of
    other formats are sought is not documented.
    """

    check: Callable[[Mapping[str, Any]], Violation | None]
    adhoc: bool


def rules_of(schema: Mapping[str, Any], switches: Switches) -> Rules:
    """The rules of a schema in full form. Raises ValueError: a type that XDM does not have."""
    if ADHOC in schema.get("meta:extends", ()):
        return Rules(lambda row: None, adhoc=True)
    rule = _object(schema, "", 0, switches)
    # A required field of the tenant's own object is required, whether that object is there or not.
    tenant = schema.get("meta:tenantNamespace", "")
    own = schema.get("properties", {}).get(tenant, {})
    needed = own.get("required", ()) if isinstance(own, Mapping) else ()

    def check(row: Mapping[str, Any]) -> Violation | None:
        found: list[Violation] = []
        rule(row, found)
        if needed and row.get(tenant) is None:
            found += [_missing(f"/{tenant}/{name}") for name in needed]
        return min(found, key=lambda one: one.level) if found else None

    return Rules(check, adhoc=False)


def _rule(schema: Mapping[str, Any], path: str, depth: int, switches: Switches) -> Rule:
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, path, depth, switches)
    if kind == "array":
        return _array(schema, path, depth, switches)
    if kind == "boolean":
        return lambda value, found: (
            None if type(value) is bool else found.append(_incompatible(path, value, "boolean"))
        )
    if kind in ("integer", "number"):
        return _number(schema, path, switches)
    if kind == "string":
        if schema.get("format") in _FORMS:
            return _date(schema["format"], path, switches)
        return _string(schema, path, depth, switches)
    raise ValueError(f"{path or 'the schema'} has the type {kind!r}")


def _object(schema: Mapping[str, Any], path: str, depth: int, switches: Switches) -> Rule:
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = tuple(schema.get("required", ()))
    others = schema.get("additionalProperties")
    fields = {
        name: (_rule(one, f"{path}/{name}", depth + 1, switches), _always_good(one))
        for name, one in properties.items()
    }
    # A map; without it and without fields an object is free-form: nothing is checked below it.
    values = None
    if isinstance(others, Mapping):
        values = _rule(others, f"{path}/*", depth + 1, switches), _always_good(others)
    free = not fields and values is None

    def rule(value: Any, found: list[Violation]) -> None:
        if type(value) is not dict:
            found.append(_incompatible(path, value, "map" if values else "object"))
            return
        if free:
            return
        for name, inner in value.items():
            field = fields.get(name, values)
            if field is None:
                if switches.unknown_keys == "refused":
                    words = "the schema has no such field"
                    found.append(Violation(Level.CONVERSION, f"{path}/{name}", words))
            elif type(inner) is field[1]:
                continue
            elif inner is not None:
                field[0](inner, found)
            elif name not in required:
                _null(f"{path}/{name}", found, switches)
        for name in required:
            if value.get(name) is None:
                found.append(_missing(f"{path}/{name}"))

    return rule


def _always_good(schema: Mapping[str, Any]) -> type | None:
    """The type of which every value is good: most fields are text without a constraint."""
    if schema.get("type") == "boolean":
        return bool
    constrained = schema.keys() & {"format", "pattern", "enum", "minLength", "maxLength"}
    return str if schema.get("type") == "string" and not constrained else None


def _array(schema: Mapping[str, Any], path: str, depth: int, switches: Switches) -> Rule:
    # Adobe validates no enum on an array: one more level keeps it from the items.
    item = _rule(schema["items"], f"{path}/*", depth + 2, switches)
    few, many = schema.get("minItems", 0), schema.get("maxItems")

    def rule(value: Any, found: list[Violation]) -> None:
        if type(value) is not list:
            found.append(_incompatible(path, value, "array"))
            return
        for inner in value:
            if inner is None:
                _null(f"{path}/*", found, switches)
            else:
                item(inner, found)
        if len(value) < few or (many is not None and len(value) > many):
            found.append(Violation(Level.CONSTRAINT, path, f"{len(value)} items"))

    return rule


def _number(schema: Mapping[str, Any], path: str, switches: Switches) -> Rule:
    whole = schema["type"] == "integer"
    kind = str(schema.get("meta:xdmType", "int" if whole else "number"))
    least, most = _RANGES.get(kind, (None, None)) if whole else (None, None)
    minimum, maximum = schema.get("minimum"), schema.get("maximum")

    def rule(value: Any, found: list[Violation]) -> None:
        if type(value) is str:
            if not (_INTEGER if whole else _DOUBLE).fullmatch(value):
                found.append(Violation(Level.CONVERSION, path, f"a string that is no {kind}"))
                return
            value = int(value) if whole else float(value)
        elif type(value) is float:
            if whole and not value.is_integer():
                found.append(Violation(Level.CONVERSION, path, f"a number that is no {kind}"))
                return
        elif type(value) is not int:
            found.append(_incompatible(path, value, kind))
            return
        if least is not None and not least <= value <= most:
            found.append(Violation(Level.CONVERSION, path, f"beyond the range of {kind}"))
        elif minimum is not None and value < minimum:
            found.append(Violation(Level.CONSTRAINT, path, f"below the minimum {minimum}"))
        elif maximum is not None and value > maximum:
            found.append(Violation(Level.CONSTRAINT, path, f"above the maximum {maximum}"))

    return rule


def _date(kind: str, path: str, switches: Switches) -> Rule:
    form = _FORMS[kind]

    def rule(value: Any, found: list[Violation]) -> None:
        if type(value) is str:
            bare = kind == "date-time" and switches.bare_dates == "accepted"
            written = form.fullmatch(value) or (bare and _FORMS["date"].fullmatch(value))
            if written and (int(value[8:10]) <= 28 or _in_calendar(value)):
                return
            found.append(Violation(Level.CONVERSION, path, f"a string that is no {kind}"))
        elif type(value) is int:
            # A Long becomes a date, as epoch milliseconds; an Integer does not.
            long = switches.json_integers == "long" or abs(value) >= 2**31
            if not long:
                found.append(_incompatible(path, value, kind))
        else:
            found.append(_incompatible(path, value, kind))

    return rule


def _string(schema: Mapping[str, Any], path: str, depth: int, switches: Switches) -> Rule:
    pattern = re.compile(schema["pattern"]).search if "pattern" in schema else None
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    values = frozenset(schema["enum"]) if "enum" in schema else None
    formatted = _FORMATS.get(schema.get("format", ""))
    plain = not (pattern or formatted or values or shortest or longest is not None)

    def rule(value: Any, found: list[Violation]) -> None:
        if type(value) is not str:
            if type(value) not in (int, float):
                found.append(_incompatible(path, value, "string"))
                return
            value = str(value)
        if plain:
            return
        if values is not None and value not in values:
            if depth <= 2 or switches.deep_enums == "checked":
                found.append(Violation(Level.CONSTRAINT, path, "not one of the enum"))
        elif pattern is not None and pattern(value) is None:
            found.append(Violation(Level.CONSTRAINT, path, "does not match the pattern"))
        elif formatted is not None and not formatted(value):
            found.append(Violation(Level.CONSTRAINT, path, f"not of the format {schema['format']}"))
        elif shortest is not None and len(value) < shortest:
            found.append(Violation(Level.CONSTRAINT, path, f"shorter than {shortest}"))
        elif longest is not None and len(value) > longest:
            found.append(Violation(Level.CONSTRAINT, path, f"longer than {longest}"))

    return rule


def _null(path: str, found: list[Violation], switches: Switches) -> None:
    if switches.nulls == "refused":
        found.append(Violation(Level.CONVERSION, path, "null"))


def _missing(path: str) -> Violation:
    return Violation(Level.REQUIRED, path, "missing or null")


def _incompatible(path: str, value: Any, wanted: str) -> Violation:
    names = {bool: "Boolean", int: "Integer", float: "Double", str: "String", list: "Array"}
    name = names.get(type(value), "Object")
    return Violation(Level.INCOMPATIBLE, path, f"{name} cannot become {wanted}")


def _in_calendar(value: str) -> bool:
    try:
        date.fromisoformat(value[:10])
    except ValueError:
        return False
    return True


def _address(kind: type) -> Callable[[str], bool]:
    def right(value: str) -> bool:
        try:
            kind(value)
        except ValueError:
            return False
        return True

    return right


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "email": _like(r"[^@\s]+@[^@\s]+"),
    "hostname": _like(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"),
    "ipv4": _address(ipaddress.IPv4Address),
    "ipv6": _address(ipaddress.IPv6Address),
    "uri": _like(r"[A-Za-z][A-Za-z0-9+.-]*:\S*"),
    "uri-reference": _like(r"\S*"),
}
