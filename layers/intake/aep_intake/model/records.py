"""How records and messages are serialized, so that other releases can read them.

Functions are updated one after the other, and a release may be rolled back. So a member that this
release does not know is no error: it is kept, and written again with the rest.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, field, fields
from enum import Enum
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple, get_args, get_origin, get_type_hints

from aep_intake.model.values import dataclass

# Of the serialized form. Adding a member does not change it.
VERSION = 1

type Decode = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """A value that is stored or sent as JSON."""

    # Present name → stored name, of members that an earlier release called otherwise: so either
    # release reads what the other writes.
    WRITTEN_AS: ClassVar[Mapping[str, str]] = {}
    # Members that only another release knows.
    unknown: Mapping[str, Any] | None = field(default=None, compare=False, repr=False, kw_only=True)


def invariant(rule: str, *, holds: bool) -> None:
    """Raises ValueError where a step breaks a rule, before it is written: that is a bug of ours.

    Steps are checked and not what is read: what another release wrote stays readable.
    """
    if not holds:
        raise ValueError(f"this is a bug: {rule}")


def text(record: Kept) -> str:
    """A record as compact JSON, since what is stored is billed by the kilobyte."""
    document = {"v": VERSION} | members(record)
    return json.dumps(document, default=members, ensure_ascii=False, separators=(",", ":"))


def read[T: Kept](kind: type[T], document: str) -> T:
    """The record in a document; an early release wrote no version in it."""
    return made(kind, json.loads(document))


def listed(several: Iterable[Kept]) -> str:
    """A list of records as JSON, which has no version."""
    return json.dumps(list(several), default=members, ensure_ascii=False, separators=(",", ":"))


def read_list[T: Kept](kind: type[T], document: str) -> Iterator[T]:
    """The records in such a list."""
    return (made(kind, data) for data in json.loads(document))


def made[T: Kept](kind: type[T], data: Mapping[str, Any]) -> T:
    """The record whose members are in `data`."""
    form = _form(kind)
    if not form.parts and data.keys() <= form.bare.keys():  # such as arrivals, which are many
        return kind(**data)
    known, unknown = dict[str, Any](), dict[str, Any]()
    for written, value in data.items():
        name = form.read_as.get(written, written)
        if name in form.parts:
            known[name] = form.parts[name](value)
        elif name in form.bare:
            known[name] = value
        elif (name, value) != ("v", VERSION):
            unknown[written] = value
    return kind(**known, unknown=unknown or None)


def members(record: Kept) -> dict[str, Any]:
    """The members of a record by stored name, without those that equal a false default."""
    written = record.WRITTEN_AS
    known = {
        written.get(name, name): value
        for name, bare in _form(type(record)).bare.items()
        if (value := getattr(record, name)) != bare
    }
    return known | dict(record.unknown or {})


class _Form(NamedTuple):
    """How a kind of record is read and written."""

    bare: Mapping[str, Any]  # each member's default
    parts: Mapping[str, Decode]  # readers, of members that JSON does not hold as they are
    read_as: Mapping[str, str]  # stored name → present name


def _form_of(kind: type[Kept]) -> _Form:
    hints = get_type_hints(kind)
    own = [member for member in fields(kind) if member.name != "unknown"]
    bare = {m.name: MISSING if m.default else m.default for m in own}  # MISSING equals no value
    parts = {n.name: part for n in own if (part := _part(hints[n.name])) is not None}
    return _Form(bare, parts, {written: name for name, written in kind.WRITTEN_AS.items()})


_form: Callable[[type[Kept]], _Form] = cache(_form_of)  # type: ignore[assignment]  # hashable


def _part(hint: Any) -> Decode | None:
    """The reader of a member of this type; None if JSON holds it as it is."""
    if isinstance(hint, type) and issubclass(hint, Kept):
        return partial(made, hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    inner = [part for argument in get_args(hint) if (part := _part(argument)) is not None]
    [reader] = inner or [_same]
    if get_origin(hint) is tuple:
        return lambda values: tuple(map(reader, values))
    if get_origin(hint) is Mapping and (inner or get_args(hint)[0] is int):
        key = get_args(hint)[0]
        return lambda values: {key(name): reader(value) for name, value in values.items()}
    return (lambda value: None if value is None else reader(value)) if inner else None


def _same(value: Any) -> Any:
    return value
