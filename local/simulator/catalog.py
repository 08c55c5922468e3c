"""Catalog's filter language (its page "Filter Catalog data" and `catalog.yaml`).

Not simulated: filters in headers, and conditions on members below the top level (Catalog takes
none either).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import ge, gt, le, lt
from typing import Any

Object = Mapping[str, Any]
Test = Callable[[str, Object], bool]

RANGES = {
    "createdAfter": ("created", gt),
    "createdBefore": ("created", lt),
    # These are of `availableDates`, in seconds; that they are asked for in those is inferred.
    "startAfter": ("startDate", gt),
    "startBefore": ("startDate", lt),
    "endAfter": ("endDate", gt),
    "endBefore": ("endDate", lt),
}
PAGING = frozenset({"limit", "start", "orderBy", "properties"})
BATCH_FIELDS = frozenset(
    [
        "batch",
        "externalId",
        "dataSet",
        "status",
        "created",
        "createdClient",
        "createdUser",
        "updated",
        "updatedUser",
        "version",
        "recordCount",
        "failedRecordCount",
        "size",
        "started",
        "completed",
    ]
)
DATASET_FIELDS = frozenset(
    [
        "name",
        "description",
        "enableErrorDiagnostics",
        "created",
        "createdClient",
        "createdUser",
        "updated",
        "updatedUser",
        "version",
        "state",
    ]
)
_CONDITION = re.compile(r"(!?)(\w+)(?:(==|!=|<=|>=|<|>|~)(.*))?", re.DOTALL)
_COMPARE = {"<": lt, "<=": le, ">": gt, ">=": ge}


class BadFilter(Exception):
    """A parameter Catalog does not take; the text says which and why."""


def select(
    objects: Iterable[tuple[str, Object]],
    parameters: Sequence[tuple[str, str]],
    fields: frozenset[str],
    *,
    refuse_unknown: bool,
) -> dict[str, Object]:
    """The page of `objects` (id and members) that `parameters` ask for, keyed by id.

    Raises BadFilter: a limit out of 1…100, a malformed number, order or pattern.
    """
    given = dict(parameters)
    limit, start = _number(given, "limit", 20), _number(given, "start", 0)
    if not 1 <= limit <= 100:
        raise BadFilter("limit must be between 1 and 100")
    if start < 0:
        raise BadFilter("start cannot be negative")
    tests = list(_tests(parameters, fields, refuse_unknown))
    found = [item for item in objects if all(test(*item) for test in tests)]
    page = _ordered(found, given.get("orderBy"))[start : start + limit]
    return {key: project(members, given.get("properties")) for key, members in page}


def project(members: Object, properties: str | None) -> Object:
    """Only the `properties` (comma-separated) asked for; an object may come back empty."""
    if not properties:
        return members
    return {name: members[name] for name in properties.split(",") if name in members}


def _tests(
    parameters: Sequence[tuple[str, str]], fields: frozenset[str], refuse_unknown: bool
) -> Iterable[Test]:
    for name, value in parameters:
        if name in PAGING:
            continue
        if name in RANGES:
            yield _range(name, value)
        elif name in fields:
            yield _simple(name, value)
        elif name == "tags":
            yield from (_tag(part) for part in value.split(","))
        elif name == "property":
            yield _property(value)
        elif refuse_unknown:
            raise BadFilter(f"unknown parameter {name}")


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(given.get(name, default))
    except ValueError:
        raise BadFilter(f"{name} must be a whole number") from None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(key: str, members: Object, name: str) -> list[str]:
    if name == "batch":
        return [key]
    if name == "dataSet":
        related = members.get("relatedObjects", ())
        return [item["id"] for item in related if item["type"] == "dataSet"]
    return [_text(members[name])] if name in members else []


def _simple(name: str, value: str) -> Test:
    # A comma means OR and a leading `!` negates the whole list, so such values cannot be sought.
    negated = value.startswith("!")
    wanted = frozenset(value.removeprefix("!").split(","))
    return lambda key, members: any(one in wanted for one in _values(key, members, name)) != negated


def _range(name: str, value: str) -> Test:
    member, compare = RANGES[name]
    bound = _number({name: value}, name, 0)

    def test(_: str, members: Object) -> bool:
        inside = members.get("availableDates", {}) if member.endswith("Date") else members
        return member in inside and compare(inside[member], bound)

    return test


def _tag(part: str) -> Test:
    name, colon, pattern = part.partition(":")
    if not colon:
        raise BadFilter("tags must be key:value pairs")
    matches = _wildcard(pattern)

    def test(_: str, members: Object) -> bool:
        values = members.get("tags", {}).get(name)
        if values is None:
            return False
        listed = values if isinstance(values, list) else [values]
        return any(matches(_text(one)) for one in listed)

    return test


def _property(condition: str) -> Test:
    parts = _CONDITION.fullmatch(condition)
    if parts is None or (parts[1] and parts[3]):
        raise BadFilter(f"property={condition} is not a condition")
    absent, name, operator, value = parts.groups()
    if operator is None:
        return lambda _, members: (name in members) != bool(absent)
    if operator == "~":
        try:
            found = re.compile(value).search
        except re.error:
            raise BadFilter(f"property={condition} is not a regular expression") from None
        return lambda _, members: name in members and found(_text(members[name])) is not None
    if operator in ("==", "!="):
        matches, wanted = _wildcard(value), operator == "=="
        return lambda _, members: name in members and matches(_text(members[name])) == wanted
    compare = _COMPARE[operator]
    return lambda _, members: name in members and compare(*_comparable(members[name], value))


def _wildcard(value: str) -> Callable[[str], bool]:
    # `*` stands for anything, `**` for a star.
    pattern = "".join(
        {"*": ".*", "**": r"\*"}.get(part, re.escape(part))
        for part in re.split(r"(\*\*|\*)", value)
    )
    compiled = re.compile(pattern, re.DOTALL)
    return lambda text: compiled.fullmatch(text) is not None


def _comparable(have: object, wanted: str) -> tuple[Any, Any]:
    if isinstance(have, int | float):
        try:
            return have, float(wanted)
        except ValueError:
            pass
    return _text(have), wanted


def _ordered(found: list[tuple[str, Object]], order: str | None) -> list[tuple[str, Object]]:
    for part in reversed(order.split(",") if order else []):
        direction, colon, name = part.partition(":")
        if not colon:
            direction, name = "asc", part
        if direction not in ("asc", "desc") or not name:
            raise BadFilter(f"orderBy={order} is not an order")
        with_it = sorted(
            (item for item in found if name in item[1]),
            key=lambda item: item[1][name],
            reverse=direction == "desc",
        )
        found = with_it + [item for item in found if name not in item[1]]
    return found
