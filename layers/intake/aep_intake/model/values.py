"""`dataclass(frozen=True, slots=True)`, whose class is made in a third of the time.

A worker makes up to ninety such classes at its start, which is most of what it does beyond loading
boto3. `dataclasses` writes and compiles six functions for each. Here `__init__` alone is compiled,
without its annotations, which would take as long again, and when the first value is made: at its
start, a worker makes none of most classes. That nobody changes a value is for mypy to say, which
sees the decorator of `dataclasses`.
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
    cls = dataclasses.dataclass(slots=True, init=False, eq=False, repr=False)(cls)
    members = dataclasses.fields(cls)  # type: ignore[arg-type]  # it is one now
    compared = [member.name for member in members if member.compare]
    shown = [member.name for member in members if member.repr]
    of: Callable[[object], Any] = attrgetter(*compared) if compared else _nothing

    def __init__(self: object, *given: object, **named: object) -> None:
        init = _init(members)
        cls.__init__ = init  # type: ignore[method-assign]
        init(self, *given, **named)

    def __eq__(self: object, other: object) -> bool:
        return of(self) == of(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:
        return hash(of(self))

    def __repr__(self: object) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({values})"

    for function in (__init__, __eq__, __hash__, __repr__):
        setattr(cls, function.__name__, function)
    return cls


def _init(members: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    """`__init__` as `dataclasses` writes it: by name or place, those of `kw_only` by name alone."""
    arguments, lines = ["self"], []
    known: dict[str, object] = {"__unset": dataclasses.MISSING}
    for member in sorted(members, key=attrgetter("kw_only")):
        name, value, default = member.name, member.name, ""
        if member.default_factory is not dataclasses.MISSING:
            known[f"__make_{name}"], default = member.default_factory, "=__unset"
            value = f"__make_{name}() if {name} is __unset else {name}"
        elif member.default is not dataclasses.MISSING:
            known[f"__usual_{name}"], default = member.default, f"=__usual_{name}"
        if member.kw_only and "*" not in arguments:
            arguments.append("*")
        arguments.append(name + default)
        lines.append(f" self.{name} = {value}")
    body = "\n".join(lines or [" pass"])
    exec(f"def __init__({', '.join(arguments)}):\n{body}", known)  # noqa: S102 - names of ours
    init: Callable[..., None] = known["__init__"]  # type: ignore[assignment]
    return init


def _nothing(_: object) -> tuple[()]:
    return ()
