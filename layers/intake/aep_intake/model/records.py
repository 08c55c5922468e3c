"""How records and messages are written down, and read by whatever release comes across them.

Functions are updated one after the other, and a release may be rolled back: so members that this
release does not know are no error. They are kept, and written again with the rest.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple, get_args, get_origin, get_type_hints

# Of the form of what is written, to which members may be added. A later one is kept, as they are.
VERSION = 1

type Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is written down. `unknown`: members that only another release knows.

    `WRITTEN_AS`: members that are written under the name they had in an earlier release, by their
    present name: so both releases read what the other writes.
    """

    WRITTEN_AS: ClassVar[Mapping[str, str]] = {}
    unknown: Mapping[str, Any] | None = field(default=None, compare=False, repr=False, kw_only=True)


def text(record: Kept) -> str:
    """A record as it is written: JSON, compact, since DynamoDB bills by the kilobyte."""
    document = {"v": VERSION} | members(record)
    return json.dumps(document, default=members, ensure_ascii=False, separators=(",", ":"))


def read[T: Kept](kind: type[T], document: str) -> T:
    """A record as it was written; by a release that wrote no version, too."""
    return made(kind, json.loads(document))


def listed(several: Iterable[Kept]) -> str:
    """A list of records as it is written, which has no version."""
    return json.dumps(list(several), default=members, ensure_ascii=False, separators=(",", ":"))


def read_list[T: Kept](kind: type[T], document: str) -> Iterator[T]:
    """The records of a list."""
    return (made(kind, data) for data in json.loads(document))


def made[T: Kept](kind: type[T], data: Mapping[str, Any]) -> T:
    """A record of what is in a document."""
    form = _form(kind)
    if not form.parts and data.keys() == form.bare.keys():  # such as arrivals, of which are many
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
    """The members of a record by name, without those that are absent or false by default."""
    written = record.WRITTEN_AS
    known = {
        written.get(name, name): value
        for name, bare in _form(type(record)).bare.items()
        if (value := getattr(record, name)) != bare
    }
    return known | dict(record.unknown or {})


class _Form(NamedTuple):
    """Of a kind of record: what each member is where nothing is said, how some are read, and what
    those are called that are written under another name.
    """

    bare: Mapping[str, Any]
    parts: Mapping[str, Read]
    read_as: Mapping[str, str]


def _form_of(kind: type[Kept]) -> _Form:
    hints = get_type_hints(kind)
    own = [one for one in fields(kind) if one.name != "unknown"]
    bare = {one.name: MISSING if one.default else one.default for one in own}  # unlike any value
    parts = {n.name: part for n in own if (part := _part(hints[n.name])) is not None}
    return _Form(bare, parts, {written: name for name, written in kind.WRITTEN_AS.items()})


_form: Callable[[type[Kept]], _Form] = cache(_form_of)  # type: ignore[assignment]  # hashable


def _part(hint: Any) -> Read | None:
    """How a member of this type is read; None where JSON has it as it is."""
    if isinstance(hint, type) and issubclass(hint, Kept):
        return partial(made, hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    inner = [part for argument in get_args(hint) if (part := _part(argument)) is not None]
    [one] = inner or [_same]
    if get_origin(hint) is tuple:
        return lambda values: tuple(map(one, values))
    if get_origin(hint) is Mapping and (inner or get_args(hint)[0] is int):
        key = get_args(hint)[0]
        return lambda values: {key(name): one(value) for name, value in values.items()}
    return (lambda value: None if value is None else one(value)) if inner else None


def _same(value: Any) -> Any:
    return value
