"""Replacing what MiniStack does, and only of the release that this was written for."""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from types import ModuleType
from typing import Any, Final, NamedTuple

from local.strict_aws.switches import SWITCHES, switched_off

WRITTEN_FOR: Final = "1.5.33"

# What a handler of MiniStack's answers: status, headers, body.
type Answer = tuple[int, dict[str, str], bytes]
type Function = Callable[..., Any]


class Request(NamedTuple):
    """What a service of MiniStack's is given, signed and allowed; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, list[str]]

    @property
    def action(self) -> str:
        """Of services that take JSON: the operation's name."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]


type Carry = Callable[[], Awaitable[Answer]]
type Guard = Callable[[Carry, Request], Awaitable[Answer]]


class OtherMiniStack(Exception):
    """MiniStack is not as `WRITTEN_FOR`: what it does may no longer be what is replaced here."""


def instead_of(
    place: ModuleType | dict[str, Function], name: str, *, switch: str | None
) -> Callable[[Function], Function]:
    """Decorates what is called in place of `place`'s `name`, which it gets as its first argument.

    The last one to decorate is the first one to be called. `switch`: as in `SWITCHES`; None for
    what is not strictness. Raises OtherMiniStack where there is no such name, switched off or not.
    """
    if switch is not None and switch not in SWITCHES:
        raise ValueError(f"no such switch: {switch}")
    table = vars(place) if isinstance(place, ModuleType) else place
    if name not in table:
        where = f"{place.__name__}: " if isinstance(place, ModuleType) else ""
        raise OtherMiniStack(f"{where}{name} is missing; local/strict_aws is for {WRITTEN_FOR}")

    def put(replacement: Function) -> Function:
        if switch not in switched_off():
            table[name] = partial(replacement, table[name])
        return replacement

    return put


def in_front_of(module: ModuleType, *, switch: str | None) -> Callable[[Guard], Guard]:
    """Decorates what answers a service's requests in its place, or has them carried out."""

    def put(guard: Guard) -> Guard:
        @instead_of(module, "handle_request", switch=switch)
        async def guarded(handle: Function, *given: Any, **more: Any) -> Answer:
            async def carry() -> Answer:
                answer: Answer = await handle(*given, **more)
                return answer

            return await guard(carry, Request(*given[: len(Request._fields)]))

        return guard

    return put


def check_version() -> None:
    """Raises OtherMiniStack unless the installed release is the one this was written for."""
    installed = version("ministack")
    if installed != WRITTEN_FOR:
        raise OtherMiniStack(
            f"MiniStack {installed} is installed, and local/strict_aws is for {WRITTEN_FOR}: read "
            "what has changed in the functions it replaces, then raise both"
        )
