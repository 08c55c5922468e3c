"""`dataclass(frozen=True, slots=True)`, whose class is made in a tenth of the time.

A worker makes up to ninety such classes at its start, which is most of what it does beyond loading
boto3, and then has values of half of them. So at first a class has its slots only. Who makes a
value, or asks for the fields, has `dataclasses` read them and the methods made. `__init__` is
compiled without its annotations, which would take as long again. That nobody changes a value is for
mypy to say, which sees the decorator of `dataclasses`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - to be imported from here
else:

    def dataclass[C](*, slots: bool, frozen: bool = False) -> Callable[[type[C]], type[C]]:
        """As that of `dataclasses`; without `frozen`, values are equal if they are the same."""
        return partial(_value, methods=_METHODS if frozen else _METHODS[:1])


_FIELDS = "__dataclass_fields__", "__dataclass_params__", "__match_args__"
_METHODS = "__init__", "__eq__", "__hash__", "__repr__"
_TURN = RLock()  # of who completes a class, and with it those it extends


def _value[C](cls: type[C], methods: Sequence[str]) -> type[C]:
    """The class again, with slots. In its own methods, `super()` needs arguments."""
    members = cls.__annotations__.items()
    slots = [name for name, of in members if getattr(of, "__origin__", None) is not ClassVar]
    body = {name: it for name, it in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    for name in slots:
        body.pop(name, None)  # its default

    def complete() -> None:
        with _TURN:
            if _FIELDS[0] in vars(cls):  # another thread was first
                return
            described: Any = dataclasses.dataclass(init=False, eq=False, repr=False)(cls)
            for name in _FIELDS:
                setattr(made, name, getattr(described, name))
            for name, method in _methods(dataclasses.fields(described)).items():
                if name in methods:
                    method.__name__, method.__qualname__ = name, f"{cls.__qualname__}.{name}"
                    setattr(made, name, method)

    later = {name: _Later(name, complete) for name in (*_FIELDS, *methods)}
    metaclass: Any = type(cls)
    made: type[C] = metaclass(cls.__name__, cls.__bases__, body | later | {"__slots__": slots})
    made.__qualname__ = cls.__qualname__
    return made


class _Later:
    """An attribute of a class that is not complete. Who asks for it completes the class."""

    def __init__(self, name: str, complete: Callable[[], None]) -> None:
        self._name, self._complete = name, complete

    def __get__(self, value: object, cls: type) -> Any:
        self._complete()
        return getattr(cls if value is None else value, self._name)


def _methods(members: tuple[dataclasses.Field[Any], ...]) -> dict[str, Callable[..., Any]]:
    """`_METHODS` of a class with these members."""
    compared = [member.name for member in members if member.compare]
    shown = [member.name for member in members if member.repr]
    of: Callable[[object], Any] = attrgetter(*compared) if compared else _nothing

    def eq(self: object, other: object) -> bool:
        return of(self) == of(other) if other.__class__ is self.__class__ else NotImplemented

    def of_hash(self: object) -> int:
        return hash(of(self))

    def of_repr(self: object) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{self.__class__.__qualname__}({values})"

    return dict(zip(_METHODS, (_init(members), eq, of_hash, of_repr), strict=True))


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
