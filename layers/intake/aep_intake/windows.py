"""Windows: many arrivals, few orders.

Adobe advises batches of 256 MB and more, and at most 90 a day and sandbox for Profile and
ExperienceEvent datasets. An arrival joins the window of its route, target and options that is open
when it is registered; windows are aligned to the clock, so their length bounds their number. When
a window is due it is sealed, planned once, and its parts are opened as orders of their own:

    register  claim the arrivals and list them, only while the window is open: one transaction
    seal      one conditional write; no registration can succeed after it, so the files are frozen
    plan      one conditional write; whatever the limits are by then, the stored plan is obeyed
    open      each part, put only if absent; from then on a part is an order like any other
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol, Self

from aep_intake import create
from aep_intake.arrivals import Arrival, digest
from aep_intake.errors import AlreadyClaimed, WindowSealed
from aep_intake.orders import OWN_PREFIX, WINDOW_PREFIX, Excerpt, Order, Record, claims

# A transaction of DynamoDB has 100 items at most: the window, the list, and claims.
MOST_ITEMS = 98
MOST_BYTES = 300_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may hold: Adobe's guardrails of 2026-11 (1,500 files, 100 GB)."""

    files: int = 1500
    bytes: int = 100_000_000_000


class Stage(StrEnum):
    """How far a window has come."""

    OPEN = "open"
    SEALED = "sealed"
    PLANNED = "planned"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Window:
    """A window: `order` is the pattern of its parts' orders. Times in epoch milliseconds.

    `due` is when someone must look at it: at its end, and never again once it is finished.
    """

    order: Order
    length: int
    start: int
    stage: Stage = Stage.OPEN
    due: int | None = None
    revision: int = 1
    parts: tuple[Excerpt, ...] = ()

    @classmethod
    def at(cls, order: Order, length: int, now: int) -> Self:
        """The window that is open now for orders like this one."""
        start = now - now % length
        target = order.target
        identity = (
            order.route or "",
            target.credential,
            target.sandbox,
            target.dataset_id,
            json.dumps(order.options, sort_keys=True),
            str(length),
            str(start),
        )
        pattern = replace(order, external_id=WINDOW_PREFIX + digest(*identity), files=())
        return cls(pattern, length, start, due=start + length)

    @property
    def window_id(self) -> str:
        """From its route, target, options, length and start alone."""
        return self.order.external_id

    def next(self) -> "Window":
        """The one after it."""
        return Window.at(self.order, self.length, self.start + self.length)

    def sealed(self) -> "Window":
        """Nothing can be registered any more."""
        return self._then(stage=Stage.SEALED)

    def planned(self, parts: tuple[Excerpt, ...]) -> "Window":
        """Which files go together, for good."""
        return self._then(stage=Stage.PLANNED, parts=parts)

    def finished(self) -> "Window":
        """All its parts are orders."""
        return self._then(stage=Stage.FINISHED, due=None)

    def part(self, excerpt: Excerpt, number: int) -> Order:
        """The order of a part."""
        external_id = OWN_PREFIX + digest("part", self.window_id, str(number))
        return replace(self.order, external_id=external_id, excerpt=excerpt)

    def _then(self, **changes: Any) -> "Window":
        return replace(self, revision=self.revision + 1, **changes)


class Windows(Protocol):
    """What remembers windows. Every method raises LedgerUnavailable when it cannot tell."""

    def open(self, window: Window) -> Window:
        """Put `window` if it is absent; or what stands."""

    def get(self, window_id: str) -> Window | None:
        """The window as it is now."""

    def replace(self, old: Window, new: Window) -> Window:
        """`new` in place of `old`; raises LeaseLost if the ledger no longer holds `old`."""

    def register(self, window: Window, files: tuple[Arrival, ...]) -> None:
        """Claim and list `files`, all or nothing.

        Raises WindowSealed or AlreadyClaimed.
        """

    def registered(self, window_id: str) -> tuple[Arrival, ...]:
        """All files of a window, `in_order` (a consistent read)."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What windows need of the world. `hand_out` says that orders are due already."""

    windows: Windows
    orders: create.Ledger
    hand_out: Callable[[list[str]], None]
    now: Callable[[], int]
    limits: Limits


def register(
    window: Window, files: Iterable[Arrival], ports: Ports
) -> tuple[dict[str, Window], dict[str, str]]:
    """Let `files` join `window`, or the next one if it is sealed.

    Gives the window of each file that joined, and the claimant of each file that was claimed
    before, both by the file's external id. Raises LedgerUnavailable.
    """
    joined: dict[str, Window] = {}
    known: dict[str, str] = {}
    waiting = list(files)
    window = ports.windows.open(window)
    while waiting:
        some = tuple(_first(waiting))
        try:
            ports.windows.register(window, some)
        except WindowSealed:
            window = ports.windows.open(window.next())
        except AlreadyClaimed as other:
            known |= {file.external_id: owner for file, owner in other.claimed.items()}
            waiting = [file for file in waiting if file not in other.claimed]
        else:
            joined |= dict.fromkeys((file.external_id for file in some), window)
            waiting = waiting[len(some) :]
    return joined, known


def close(window_id: str, ports: Ports) -> None:
    """Seal, plan and open the parts of a window that is due; each step only if it is not done.

    Raises LeaseLost (someone else does it) or LedgerUnavailable; whoever comes next goes on.
    """
    windows = ports.windows
    window = windows.get(window_id)
    if window is None or window.due is None or ports.now() < window.due:
        return
    if window.stage is Stage.OPEN:
        window = windows.replace(window, window.sealed())
    if window.stage is Stage.SEALED:
        parts = plan(window_id, windows.registered(window_id), ports.limits)
        window = windows.replace(window, window.planned(parts))
    orders = [window.part(excerpt, number) for number, excerpt in enumerate(window.parts)]
    for order in orders:
        ports.orders.open(Record.waiting(order, ports.now()))
    windows.replace(window, window.finished())
    ports.hand_out([order.external_id for order in orders])


def plan(window_id: str, files: Iterable[Arrival], limits: Limits) -> tuple[Excerpt, ...]:
    """Parts filled in order, by count and by bytes; a file over the limit is a part alone."""
    parts: list[Excerpt] = []
    for number, file in enumerate(files):
        part = parts[-1] if parts else None
        if (
            part is None
            or part.end - part.first == limits.files
            or part.bytes + file.size > limits.bytes
        ):
            parts.append(Excerpt(window_id, number, number + 1, file.size))
        else:
            parts[-1] = replace(part, end=number + 1, bytes=part.bytes + file.size)
    return tuple(parts)


def in_order(files: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """The order of the plan: the same, however often a window is read."""
    return tuple(sorted(files, key=lambda file: (file.bucket, file.key, file.version)))


def _first(files: list[Arrival]) -> list[Arrival]:
    """As many as go into one transaction; an item of DynamoDB holds 400 KB."""
    slots: set[tuple[str, str]] = set()
    size = 0
    for number, file in enumerate(files):
        wanted = {(claim.object_id, claim.slot) for claim in claims(file)}
        size += 6 * (len(file.key) + len(file.version)) + 300
        full = len(slots) + len(wanted) > MOST_ITEMS or size > MOST_BYTES
        # A transaction may not name an item twice: the same bytes, uploaded twice.
        if number and (full or slots & wanted):
            return files[:number]
        slots |= wanted
    return files
