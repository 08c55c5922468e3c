"""Windows: many arrivals, few orders.

Adobe advises batches of 256 MB and more, and at most 90 a day and sandbox for Profile and
ExperienceEvent datasets. An arrival joins the window of its route, target and options that is open
when it is registered; windows are aligned to the clock, so their length bounds their number. When
a window is due it is sealed, planned once, and its parts are opened as orders of their own:

    register  claim the arrivals and list them, only while a gate is open: one transaction
    seal      one conditional write, then gate by gate; no registration can succeed after that, so
              the files are frozen
    plan      the list is written, once, with the plan, which is obeyed whatever the limits are by
              then
    open      each part, put only if absent; from then on a part is an order like any other

The marker of a folder has a window of its own, which takes what is in the folder when the marker
is worked on, and is sealed at once. Its message drives it until then; it is due only when that is
surely gone.
"""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import accumulate, batched
from math import ceil
from typing import Any, Protocol, Self

from aep_intake.create import ports
from aep_intake.grouping import lists
from aep_intake.model.errors import (
    AlreadyClaimed,
    IntakeError,
    LeaseLost,
    NotReplaceable,
    NotYet,
    TryAgain,
    WindowSealed,
)
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import ORDER_PREFIX, WINDOW_PREFIX, Order, Record, WindowPart, claims
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.records import Kept, invariant
from aep_intake.model.times import iso

# A transaction of DynamoDB has 100 items at most: the window, the list, and claims. The first of a
# marker has its own two claims, too, and the head of its folder.
MOST_ITEMS = 98
MOST_ITEMS_AT_FIRST = 95
MOST_BYTES = 300_000
SOME = 1000  # objects of a list that are looked at side by side


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch may hold, as AEP gets it. Adobe's guardrail since August 2026 is 25,000 files
    and 1 TB, beyond which it fails a batch.

    `piece`: bytes of a file that is uploaded whole; larger ones are several files to Adobe.
    """

    files: int = 9999
    bytes: int = 100_000_000_000
    piece: int = 256_000_000


# Workers that register meet at a gate, where one at a time passes: so there are several.
GATES = 16
ONE_PART = BatchLimits(2**53, 2**60)
# Milliseconds for which a marker's message can still come, from its queue (7 days) or from where
# it is parked (14): the window does not go on without the rest of its folder before.
PATIENCE = 22 * 86_400_000


def marker_id(marker: Arrival) -> str:
    """Id of the window that a marker opens."""
    return WINDOW_PREFIX + digest("marker", marker.external_id)


class WindowStage(StrEnum):
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
    where a release before gates opened it, and then its own stage says whether it is open. `key`:
    where its list is in the state bucket, None until it is planned. Of a marker's, `reached`: all
    files up to this key have joined; `until`: who works on it has it alone so long.
    """

    order: Order
    length: int
    start: int
    stage: WindowStage = WindowStage.OPEN
    due: int | None = None
    revision: int = 1
    parts: tuple[WindowPart, ...] = ()
    gates: int = 0
    sealed_at: int | None = None
    key: str | None = None
    reached: str = ""
    until: int | None = None

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
        return self._then(stage=WindowStage.SEALED, due=min(now, self.due or now), sealed_at=now)

    def worked_on(self, until: int | None, options: Mapping[str, Any] | None = None) -> "Window":
        """One worker has it alone until then. `options`: what its files are by now."""
        order = self.order if options is None else replace(self.order, options=options)
        return self._then(until=until, order=order)

    def joined_to(self, key: str) -> "Window":
        """All files up to this key have joined."""
        return self._then(reached=key)

    @property
    def list_key(self) -> str:
        """Where its list belongs: by the day it was sealed, since people look for it by that."""
        at = self.sealed_at or self.due or self.start  # a release before lists did not keep it
        return f"windows/{iso(at)[:10]}/{self.window_id}.jsonl"

    def planned(self, parts: tuple[WindowPart, ...], key: str | None = None) -> "Window":
        """Which files go together, for good."""
        return self._then(stage=WindowStage.PLANNED, parts=parts, key=key)

    def finished(self) -> "Window":
        """All its parts are orders."""
        return self._then(stage=WindowStage.FINISHED, due=None)

    def part(self, excerpt: WindowPart, number: int) -> Order:
        """The order of a part."""
        line = self.order.line if number == 0 else None
        excerpt = replace(excerpt, key=self.key)
        return replace(self.order, external_id=self.part_id(number), excerpt=excerpt, line=line)

    def part_id(self, number: int) -> str:
        """External id of the order of a part."""
        return ORDER_PREFIX + digest("part", self.window_id, str(number))

    def _then(self, **changes: Any) -> "Window":
        after = replace(self, revision=self.revision + 1, **changes)
        stages, finished = list(WindowStage), after.stage is WindowStage.FINISHED
        onward = stages.index(self.stage) <= stages.index(after.stage)
        kept = after.parts == self.parts or self.stage in (WindowStage.OPEN, WindowStage.SEALED)
        invariant("a window is due until it is finished", holds=(after.due is None) == finished)
        invariant("a window never opens again", holds=onward)
        invariant("which files go together is decided once", holds=kept)
        return after


class WindowLedger(Protocol):
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

    def joined(self, window_id: str) -> Iterator[Arrival]:
        """All files of a window, some perhaps twice (consistent reads)."""

    def supersede(self, window_id: str, file: Arrival, by: str) -> None:
        """Remember, where this window claims `file`, which version of it stands for it."""

    def keep(self, window: Window, lines: list[bytes]) -> Window:
        """Write the list of a window that is planned, unless it is there; what stands then.

        `offset` of its parts counts from the first of `lines`, and from the list's own beginning in
        what stands.
        """


@dataclass(frozen=True, slots=True)
class WindowPorts:
    """What windows need of the world. `hand_out` says that orders are due already.

    `opened`: the bytes of a file from one place up to another, as `lists` reads them.
    `side_by_side`: a `map`. `in_turn`: held by who has a list in memory.
    """

    windows: WindowLedger
    orders: ports.OrderLedger
    enqueue: Callable[[list[str]], None]
    now: Callable[[], int]
    limits: BatchLimits
    opened: lists.Opened
    side_by_side: SideBySide = map
    in_turn: AbstractContextManager[Any] = field(default_factory=nullcontext)


def register(
    window: Window, files: Iterable[Arrival], ports: WindowPorts
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


def close(window_id: str, ports: WindowPorts) -> None:
    """Seal, plan and open the parts of a window that is due; each step only if it is not done.

    Raises LeaseLost (someone else does it) or LedgerUnavailable; whoever comes next goes on.
    """
    windows = ports.windows
    window = windows.get(window_id)
    if window is None or window.due is None or ports.now() < window.due:
        return
    if window.stage is WindowStage.OPEN:
        window = windows.replace(window, window.sealed(ports.now()))
    if window.stage is WindowStage.SEALED:
        windows.freeze(window)
        window = windows.replace(window, _planned(window, ports))
    orders = [window.part(excerpt, number) for number, excerpt in enumerate(window.parts)]
    for order in orders:
        ports.orders.open(Record.waiting(order, ports.now()))
    windows.replace(window, window.finished())
    ports.enqueue([order.external_id for order in orders])


def _planned(window: Window, ports: WindowPorts) -> Window:
    """Decide what counts and which files go together; once, whoever tries it how often."""
    limits = ONE_PART if window.replaces else ports.limits
    with ports.in_turn:
        lines = lists.in_lines(ports.windows.joined(window.window_id))
        ends = array("Q", [0])  # of the lines of each object
        parts = plan(window.window_id, _sizes(window, lines, ends, ports), limits)
        placed = tuple(
            replace(part, offset=ends[part.first], length=ends[part.end] - ends[part.first])
            for part in parts
        )
        planned = window.planned(placed, window.list_key)
        # Of what another worker wrote, the plan may differ, as what S3 told of sizes may.
        return replace(planned, parts=ports.windows.keep(planned, lines).parts)


def _sizes(
    window: Window, lines: list[bytes], ends: "array[int]", ports: WindowPorts
) -> Iterator[int]:
    """What AEP gets of each object of a list; what others of their versions supersede is told."""
    for some in batched(lists.versions(lines), SOME, strict=False):
        old = [(file, one.newest.version) for one in some for file in one.superseded]
        list(ports.side_by_side(lambda o: ports.windows.supersede(window.window_id, *o), old))
        ends.extend(accumulate((one.bytes for one in some), initial=ends.pop()))
        yield from sizes((one.newest for one in some), ports)


def sizes(files: Iterable[Arrival], ports: WindowPorts) -> Iterator[int]:
    """Bytes that AEP gets of each file, by estimate."""
    files = tuple(files)
    large = [file for file in files if lists.worth_a_look(file)]
    said = ports.side_by_side(lambda file: lists.isize(file, ports.opened), large)
    known = dict(zip(large, said, strict=True))
    return (lists.unpacked(file, known.get(file, 0)) for file in files)


class Forgetful(Protocol):
    """The windows of a restored ledger. Every method raises LedgerUnavailable."""

    def get(self, window_id: str) -> Window | None:
        """The window as it is now."""

    def freeze(self, window: Window) -> None:
        """Close all gates of a window."""

    def claim(self, window: Window, file: Arrival, superseded_by: str | None) -> None:
        """Claim a file of its list again; one that somebody else has claimed stays theirs."""

    def put_back(self, window: Window) -> None:
        """Have it as its list tells of it, unless it is planned; its parts are due."""


def restore(
    window: Window,
    files: Iterable[tuple[Arrival, str | None]],
    windows: Forgetful,
    side_by_side: SideBySide,
) -> int | None:
    """Have a restored ledger know a window by its list; how many files that is.

    None where it knows. `files`, and the version that supersedes each. May be repeated: the window
    comes last, and with it its parts, which find their batches.
    """
    standing = windows.get(window.window_id)
    if standing is not None and standing.stage in (WindowStage.PLANNED, WindowStage.FINISHED):
        return None
    windows.freeze(window)
    claimed = side_by_side(lambda one: windows.claim(window, *one), files)
    count = sum(1 for _ in claimed)
    windows.put_back(window)
    return count


def take_over(
    window: Window, until: int, options: Mapping[str, Any] | None, ports: WindowPorts
) -> Window:
    """A marker's window, for this worker alone until then.

    Raises NotYet while it is another one's, LeaseLost or LedgerUnavailable.
    """
    wait = (window.until or 0) - ports.now()
    if wait > 0:
        raise NotYet(
            "another worker has this marker", retry_after=wait / 1000, external_id=window.window_id
        )
    return ports.windows.replace(window, window.worked_on(until, options))


def gather(
    window: Window, marker: Arrival, files: Iterable[Arrival], ports: WindowPorts
) -> dict[str, str]:
    """Let the files of a marker's folder, in their keys' order, share batches, and open these.

    `files` may be walked through twice. Gives the claimant of each file that another order or
    window holds, by the file's external id. Raises AlreadyClaimed if that is all of them,
    NotReplaceable, LineMoved, LeaseLost or LedgerUnavailable.
    """
    known: dict[str, str] = {}
    standing = ports.windows.get(window.window_id)
    if standing is None and window.replaces:
        _check_one_for_one(window, marker, files, ports)
    if standing is None or standing.stage is WindowStage.OPEN:
        filling = _Filling(window, marker, ports, standing)
        try:
            known = filling.fill(files)
        except IntakeError:
            filling.give_back()
            raise
    seal(window.window_id, ports)
    return known


def seal(window_id: str, ports: WindowPorts) -> None:
    """Close a window whether it is due or not. Raises as `close`."""
    window = ports.windows.get(window_id)
    if window is not None and window.stage is WindowStage.OPEN:
        ports.windows.replace(window, window.sealed(ports.now()))
    close(window_id, ports)


def _check_one_for_one(
    window: Window, marker: Arrival, files: Iterable[Arrival], ports: WindowPorts
) -> None:
    some = batched(files, SOME, strict=False)
    known = (size for each in some for size in sizes(in_order(each), ports))
    if len(plan("", known, ports.limits)) > 1:
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


class _Filling:
    """The files of a folder on their way into its window.

    `standing` is the window where it has begun; its progress is only written by who has it.
    """

    def __init__(
        self, window: Window, marker: Arrival, ports: WindowPorts, standing: Window | None
    ) -> None:
        self._window, self._marker, self._ports = window, marker, ports
        self._standing = standing
        self._owners: dict[str, bool] = {}  # whether their files are taken over
        self._known: dict[str, str] = {}
        self._taken_over: set[Arrival] = set()
        self._others: AlreadyClaimed | None = None

    def fill(self, files: Iterable[Arrival]) -> dict[str, str]:
        """Register them all; the claimants of those that others hold."""
        for some in batched(files, SOME, strict=False):
            waiting = list(in_order(some))
            while waiting and self._standing is None:
                waiting = self._begin(waiting)
            if waiting and not all(self._ports.side_by_side(self._register, _pieces(waiting))):
                break  # sealed by another worker, which has seen the whole folder, too
            if self._standing is not None:
                reached = self._standing.joined_to(some[-1].key)
                self._standing = self._ports.windows.replace(self._standing, reached)
        if self._standing is None and self._others is not None:
            raise self._others
        return self._known

    def give_back(self) -> None:
        """Nobody works on it; where that cannot be said, its time is over some time."""
        if self._standing is not None:
            with suppress(TryAgain):
                self._ports.windows.replace(self._standing, self._standing.worked_on(None))

    def _begin(self, waiting: list[Arrival]) -> list[Arrival]:
        """Those that have not joined yet."""
        windows = self._ports.windows
        some = tuple(_first(waiting, MOST_ITEMS_AT_FIRST))
        try:
            begun = windows.begin(self._window, self._marker, some, self._free(some))
        except AlreadyClaimed as other:
            if self._marker in other.claimed:
                raise
            self._others = other
            return self._not_others(waiting, other)
        if begun:
            self._standing = self._window
            return waiting[len(some) :]
        standing = windows.get(self._window.window_id)
        if standing is None or (standing.until or 0) > self._ports.now():
            raise LeaseLost("another worker began", external_id=self._window.window_id)
        self._standing = standing
        return waiting

    def _register(self, some: tuple[Arrival, ...]) -> bool:
        """Whether the window was open still."""
        waiting = list(some)
        while waiting:
            try:
                self._ports.windows.register(
                    self._window, tuple(waiting), self._free(tuple(waiting))
                )
            except WindowSealed:
                return False
            except AlreadyClaimed as other:
                waiting = self._not_others(waiting, other)
            else:
                break
        return True

    def _free(self, some: tuple[Arrival, ...]) -> tuple[Arrival, ...]:
        return tuple(file for file in some if file not in self._taken_over)

    def _not_others(self, waiting: list[Arrival], other: AlreadyClaimed) -> list[Arrival]:
        """Without what this window holds already, and what others do that it does not replace."""
        ours = set()
        for file, owner in other.claimed.items():
            if owner not in self._owners:
                self._owners[owner] = _replaced(owner, self._window, self._ports.windows)
            if self._owners[owner]:
                self._taken_over.add(file)
            elif owner == self._window.window_id:
                ours.add(file)
            else:
                self._known[file.external_id] = owner
        return [f for f in waiting if f not in ours and f.external_id not in self._known]


def _pieces(files: list[Arrival]) -> Iterator[tuple[Arrival, ...]]:
    """What goes into one transaction each."""
    while files:
        some = _first(files)
        yield tuple(some)
        files = files[len(some) :]


def _replaced(owner: str, window: Window, windows: WindowLedger) -> bool:
    """Whether `owner` is an earlier window of the folder that `window` takes the place of."""
    ours, other = window.order, windows.get(owner) if owner.startswith(WINDOW_PREFIX) else None
    if not window.replaces or ours.line is None or other is None or other.order.line is None:
        return False
    return other.order.line.subject == ours.line.subject and owner != window.window_id


def plan(window_id: str, sizes: Iterable[int], limits: BatchLimits) -> tuple[WindowPart, ...]:
    """Parts filled in order, by uploads and by bytes; a file over the limit is a part alone.

    `sizes`: what AEP gets of each file.
    """
    parts: list[WindowPart] = []
    first = end = held = uploads = 0  # of the part that is being filled
    for size in sizes:
        more = max(1, ceil(size / limits.piece))
        if end > first and (uploads + more > limits.files or held + size > limits.bytes):
            parts.append(WindowPart(window_id, first, end, held))
            first, held, uploads = end, 0, 0
        end, held, uploads = end + 1, held + size, uploads + more
    return (*parts, WindowPart(window_id, first, end, held)) if end else ()


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
