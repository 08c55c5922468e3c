"""`dataclass(frozen=True, slots=True)`, whose class is made in a third of the time.

A worker makes seventy such classes at its start, which was most of what it does beyond loading
boto3. `dataclasses` writes and compiles six functions for each; here it compiles `__init__` alone.
That nobody changes a value is for mypy to say, which sees the decorator of `dataclasses`.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - to be imported from here
else:

    def dataclass[C](*, slots: bool, frozen: bool = False) -> Callable[[type[C]], type[C]]:
        """As that of `dataclasses`; without `frozen`, values are equal if they are the same."""
        return _value if frozen else dataclasses.dataclass(slots=slots, eq=False, repr=False)


def _value[C](cls: type[C]) -> type[C]:
    cls = dataclasses.dataclass(slots=True, eq=False, repr=False)(cls)
    members = dataclasses.fields(cls)  # type: ignore[arg-type]  # it is one now
    compared = [member.name for member in members if member.compare]
    shown = [member.name for member in members if member.repr]
    of: Callable[[object], Any] = attrgetter(*compared) if compared else _nothing

    def __eq__(self: object, other: object) -> bool:
        return of(self) == of(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:
        return hash(of(self))

    def __repr__(self: object) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({values})"

    for function in (__eq__, __hash__, __repr__):
        setattr(cls, function.__name__, function)
    return cls


def _nothing(_: object) -> tuple[()]:
    return ()
