"""Windows: many arrivals, few orders.

Adobe advises batches of 256 MB and more, and at most 90 a day and sandbox for Profile and
ExperienceEvent datasets. An arrival joins the window of its route, target and options that is open
when it is registered; windows are aligned to the clock, so their length bounds their number. When
a window is due it is sealed, planned once, and its parts are opened as orders of their own:

    register  claim the arrivals and list them, only while a gate is open: one transaction
    seal      one conditional write, then gate by gate; no registration can succeed after that, so
              the files are frozen
    plan      one conditional write; whatever the limits are by then, the stored plan is obeyed
    open      each part, put only if absent; from then on a part is an order like any other

The marker of a folder has a window of its own, which takes what is in the folder when the marker
is worked on, and is sealed at once. Its message drives it until then; it is due only when that is
surely gone.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Any, Protocol, Self

from aep_intake import create
from aep_intake.arrivals import Arrival, digest
from aep_intake.errors import AlreadyClaimed, NotReplaceable, WindowSealed
from aep_intake.orders import OWN_PREFIX, WINDOW_PREFIX, Excerpt, Order, Record, claims
from aep_intake.records import Kept

# A transaction of DynamoDB has 100 items at most: the window, the list, and claims. The first of a
# marker has its own two claims, too, and the head of its folder.
MOST_ITEMS = 98
MOST_ITEMS_AT_FIRST = 95
MOST_BYTES = 300_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may hold: Adobe's guardrails of 2026-11 (1,500 files, 100 GB).

    `piece`: bytes of a file that is uploaded whole; larger ones are several files to Adobe.
    """

    files: int = 1500
    bytes: int = 100_000_000_000
    piece: int = 256_000_000


# Workers that register meet at a gate, where one at a time passes: so there are several.
GATES = 16
ONE_PART = Limits(2**53, 2**60)
# Milliseconds for which a marker's message can still come, from its queue (7 days) or from where
# it is parked (14): the window does not go on without the rest of its folder before.
PATIENCE = 22 * 86_400_000


def marker_id(marker: Arrival) -> str:
    """Id of the window that a marker opens."""
    return WINDOW_PREFIX + digest("marker", marker.external_id)


class Stage(StrEnum):
    """How far a window has come."""

    OPEN = "open"
    SEALED = "sealed"
    PLANNED = "planned"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Window(Kept):
    """A window: `order` is the pattern of its parts' orders. Times in epoch milliseconds.

    `due` is when someone must look at it: at its end, and never again once it is finished. A
    marker's has no `length`, and starts when the marker arrived. `gates`: how many it has; none
    where a release before gates opened it, and then its own stage says whether it is open.
    """

    order: Order
    length: int
    start: int
    stage: Stage = Stage.OPEN
    due: int | None = None
    revision: int = 1
    parts: tuple[Excerpt, ...] = ()
    gates: int = 0

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
        return cls(pattern, length, start, due=start + length, gates=GATES)

    @classmethod
    def of(cls, marker: Arrival, order: Order, now: int) -> Self:
        """The window of a marker: from the marker's identity alone, whatever the routes say."""
        pattern = replace(order, external_id=marker_id(marker), files=())
        return cls(pattern, 0, marker.time, due=now + PATIENCE, gates=GATES)

    def behind(self, placed: Order) -> "Window":
        """In its place among the windows of its folder."""
        return replace(self, order=replace(self.order, line=placed.line))

    @property
    def window_id(self) -> str:
        """From its route, target, options, length and start alone."""
        return self.order.external_id

    def next(self) -> "Window":
        """The one after it."""
        return Window.at(self.order, self.length, self.start + self.length)

    @property
    def replaces(self) -> bool:
        """Whether its one batch takes the place of an earlier one of its folder."""
        return self.order.line is not None and not self.order.line.first_only

    def sealed(self, now: int) -> "Window":
        """Nothing can be registered any more, once it is frozen."""
        return self._then(stage=Stage.SEALED, due=min(now, self.due or now))

    def planned(self, parts: tuple[Excerpt, ...]) -> "Window":
        """Which files go together, for good."""
        return self._then(stage=Stage.PLANNED, parts=parts)

    def finished(self) -> "Window":
        """All its parts are orders."""
        return self._then(stage=Stage.FINISHED, due=None)

    def part(self, excerpt: Excerpt, number: int) -> Order:
        """The order of a part."""
        line = self.order.line if number == 0 else None
        return replace(self.order, external_id=self.part_id(number), excerpt=excerpt, line=line)

    def part_id(self, number: int) -> str:
        """External id of the order of a part."""
        return OWN_PREFIX + digest("part", self.window_id, str(number))

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

    def begin(
        self, window: Window, marker: Arrival, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> bool:
        """As `register`, but with the window itself, the marker's claim, and the folder's head.

        False if the window is there already. Raises AlreadyClaimed or LineMoved.
        """

    def register(
        self, window: Window, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> None:
        """List `files` and claim those of them that are `free`, all or nothing.

        Raises WindowSealed or AlreadyClaimed.
        """

    def freeze(self, window: Window) -> None:
        """Close all gates of a sealed window, however many are closed already.

        What was registered until then is listed, and nothing can be registered from then on.
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
            ports.windows.register(window, some, some)
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
        window = windows.replace(window, window.sealed(ports.now()))
    if window.stage is Stage.SEALED:
        windows.freeze(window)
        limits = ONE_PART if window.replaces else ports.limits
        parts = plan(window_id, windows.registered(window_id), limits)
        window = windows.replace(window, window.planned(parts))
    orders = [window.part(excerpt, number) for number, excerpt in enumerate(window.parts)]
    for order in orders:
        ports.orders.open(Record.waiting(order, ports.now()))
    windows.replace(window, window.finished())
    ports.hand_out([order.external_id for order in orders])


def gather(
    window: Window, marker: Arrival, files: Iterable[Arrival], ports: Ports
) -> dict[str, str]:
    """Let the files of a marker's folder share batches, and open these.

    Gives the claimant of each file that another order or window holds, by the file's external id.
    Raises AlreadyClaimed if that is all of them, NotReplaceable, LineMoved, LeaseLost or
    LedgerUnavailable.
    """
    files = in_order(files)
    known: dict[str, str] = {}
    standing = ports.windows.get(window.window_id)
    if standing is None and window.replaces:
        _check_one_for_one(window, marker, files, ports)
    if standing is not None and standing.stage is Stage.OPEN:
        # What was overwritten since a worker began waits for the next marker: two versions of an
        # object would be its rows twice.
        held = {(file.bucket, file.key) for file in ports.windows.registered(window.window_id)}
        files = tuple(file for file in files if (file.bucket, file.key) not in held)
    if standing is None or standing.stage is Stage.OPEN:
        known = _fill(window, marker, files, ports.windows, begun=standing is not None)
    seal(window.window_id, ports)
    return known


def seal(window_id: str, ports: Ports) -> None:
    """Close a window whether it is due or not. Raises as `close`."""
    window = ports.windows.get(window_id)
    if window is not None and window.stage is Stage.OPEN:
        ports.windows.replace(window, window.sealed(ports.now()))
    close(window_id, ports)


def _check_one_for_one(
    window: Window, marker: Arrival, files: tuple[Arrival, ...], ports: Ports
) -> None:
    if len(plan("", files, ports.limits)) > 1:
        raise NotReplaceable(
            f"the folder of {marker.uri} holds more than fits into one batch, and several cannot "
            "take the place of one: raise batchFiles or batchGigabytes, or let the route `append`"
        )
    line = window.order.line
    before = ports.orders.get(line.predecessor) if line and line.predecessor else None
    part = before and before.order.excerpt
    replaced = ports.windows.get(part.window_id) if part else None
    if replaced is not None and len(replaced.parts) > 1:  # the route said `ignore` before
        raise NotReplaceable(
            f"the one before {marker.uri} is {len(replaced.parts)} batches, and one cannot take "
            "the place of several: let the route `append` or `ignore`"
        )


def _fill(
    window: Window, marker: Arrival, files: tuple[Arrival, ...], windows: Windows, *, begun: bool
) -> dict[str, str]:
    waiting, known = list(files), dict[str, str]()
    owners: dict[str, bool] = {}  # whether their files are taken over
    taken_over: set[Arrival] = set()
    while waiting:
        some = tuple(_first(waiting, MOST_ITEMS if begun else MOST_ITEMS_AT_FIRST))
        free = tuple(file for file in some if file not in taken_over)
        try:
            if begun:
                windows.register(window, some, free)
            elif not windows.begin(window, marker, some, free):
                begun = True
                continue
        except WindowSealed:
            break  # by another worker, which has seen the whole folder, too
        except AlreadyClaimed as other:
            if marker in other.claimed:
                raise
            ours = {file for file, owner in other.claimed.items() if owner == window.window_id}
            for file, owner in other.claimed.items():
                if owner not in owners:
                    owners[owner] = _replaced(owner, window, windows)
                if owners[owner]:
                    taken_over.add(file)
                elif file not in ours:
                    known[file.external_id] = owner
            waiting = [f for f in waiting if f not in ours and f.external_id not in known]
            if not waiting and not begun:
                raise
        else:
            begun = True
            waiting = waiting[len(some) :]
    return known


def _replaced(owner: str, window: Window, windows: Windows) -> bool:
    """Whether `owner` is an earlier window of the folder that `window` takes the place of."""
    ours, other = window.order, windows.get(owner) if owner.startswith(WINDOW_PREFIX) else None
    if not window.replaces or ours.line is None or other is None or other.order.line is None:
        return False
    return other.order.line.subject == ours.line.subject and owner != window.window_id


def plan(window_id: str, files: Iterable[Arrival], limits: Limits) -> tuple[Excerpt, ...]:
    """Parts filled in order, by count and by bytes; a file over the limit is a part alone."""
    parts: list[Excerpt] = []
    uploads = 0
    for number, file in enumerate(files):
        part = parts[-1] if parts else None
        more = max(1, ceil(file.size / limits.piece))
        if part is None or uploads + more > limits.files or part.bytes + file.size > limits.bytes:
            parts.append(Excerpt(window_id, number, number + 1, file.size))
            uploads = more
        else:
            parts[-1] = replace(part, end=number + 1, bytes=part.bytes + file.size)
            uploads += more
    return tuple(parts)


def in_order(files: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """The order of the plan: the same, however often a window is read."""
    return tuple(sorted(set(files), key=lambda file: (file.bucket, file.key, file.version)))


def _first(files: list[Arrival], most: int = MOST_ITEMS) -> list[Arrival]:
    """As many as go into one transaction; an item of DynamoDB holds 400 KB."""
    slots: set[tuple[str, str]] = set()
    size = 0
    for number, file in enumerate(files):
        wanted = {(claim.object_id, claim.slot) for claim in claims(file)}
        size += 6 * (len(file.key) + len(file.version)) + 300
        full = len(slots) + len(wanted) > most or size > MOST_BYTES
        # A transaction may not name an item twice: the same bytes, uploaded twice.
        if number and (full or slots & wanted):
            return files[:number]
        slots |= wanted
    return files
