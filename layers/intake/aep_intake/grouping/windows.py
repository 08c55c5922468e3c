"""Windows: many arrivals, few orders.

Adobe advises batches of 256 MB and more, and at most 90 a day and sandbox for Profile and
ExperienceEvent datasets. An arrival joins the window of its route, target and options that is open
when it is registered; these are tumbling windows, aligned to the clock, so their length bounds
their number. When a window is due it is sealed, planned once, and its parts are opened as orders:

    register  claim the arrivals and list them, only while a gate is open: one transaction
    seal      one conditional write, then close gate by gate; no registration can succeed after
              that, so the files are frozen
    plan      write the list and the plan, once; later changes of the limits do not change the plan
    open      put each part, only if absent; from then on a part is an order like any other

A window may also last until its folder is quiet: see `quiet`.

The marker of a folder has a window of its own, which takes the files that are in the folder when a
worker handles the marker, and is sealed at once. Until then its SQS message retries it; `due` is
set beyond the message's last possible delivery.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import field, replace
from enum import StrEnum
from itertools import batched, chain
from math import ceil
from tempfile import TemporaryFile
from typing import IO, Any, Protocol, Self

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
from aep_intake.model.orders import ORDER_PREFIX, WINDOW_PREFIX, Order, Record, WindowPart
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.records import Kept, invariant
from aep_intake.model.sharing import Sharing, unpacked
from aep_intake.model.times import DAY_MS, day_around, day_of
from aep_intake.model.values import dataclass

PAGE = 1000  # objects of a list that are worked on side by side


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The most that one batch may hold, as AEP gets it.

    Adobe's guardrail since August 2026 is 25,000 files and 1 TB; it fails a larger batch.
    """

    files: int = 9999
    bytes: int = 100_000_000_000
    piece: int = 256_000_000  # bytes; AEP gets a larger file as several
    # Of ours, where small ones share uploads: all that one event, or one list in memory, names.
    listed: int = 50_000


# A registration checks a gate, one at a time: with several gates, fewer workers wait.
GATES = 16
ONE_PART = BatchLimits(2**53, 2**60, listed=2**53)
# How long a marker's message can still come, from its queue (7 days) or the dead-letter queue (14):
# before that, the window waits for the rest of its folder.
MARKER_MESSAGE_LIFE_MS = 22 * DAY_MS


QUARTERS = 4  # of the time for which a folder is quiet: its window's end moves in such steps


def _shared(order: Order, length: int) -> tuple[str, ...]:
    """What the files of a window have in common."""
    target = order.target
    return (
        order.route or "",
        target.credential,
        target.sandbox,
        target.dataset_id,
        json.dumps(order.options, sort_keys=True),
        str(length),
        *filter(None, (order.compiled_map,)),
    )


def marker_id(marker: Arrival) -> str:
    """The id of a marker's window."""
    return WINDOW_PREFIX + digest("marker", marker.external_id)


class WindowStage(StrEnum):
    """How far a window has come."""

    OPEN = "open"
    SEALED = "sealed"
    PLANNED = "planned"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Window(Kept):
    """A window. Times in epoch milliseconds."""

    order: Order  # the pattern of its parts' orders
    length: int  # milliseconds; 0 for a marker's window
    start: int  # of a marker's window: when the marker arrived
    stage: WindowStage = WindowStage.OPEN
    due: int | None = None  # when the clock hands it out; None once it is finished
    revision: int = 1
    parts: tuple[WindowPart, ...] = ()
    # 0 if a release before gates opened it: then its stage alone decides whether it is open.
    gates: int = 0
    sealed_at: int | None = None
    key: str | None = None  # of its list in the state bucket, once it is planned
    # Of a window of a day: when it begins, by the clocks of which place.
    begins: str | None = None
    timezone: str = "UTC"
    folder: str | None = None  # of a window that lasts until its folder is quiet; see `quiet`
    # Of a marker's window:
    reached: str = ""  # all files up to this key have joined
    until: int | None = None  # the end of a worker's lease

    @classmethod
    def at(
        cls, order: Order, length: int, now: int, begins: str | None = None, timezone: str = "UTC"
    ) -> Self:
        """The window that is open now for orders like this one."""
        start = now - now % length
        if begins is not None:
            start, end = day_around(now, begins, timezone)
            length = end - start
        window_id = WINDOW_PREFIX + digest(*_shared(order, length), str(start))
        pattern = replace(order, external_id=window_id, files=())
        return cls(
            pattern,
            length,
            start,
            due=start + length,
            gates=GATES,
            begins=begins,
            timezone=timezone,
        )

    @classmethod
    def of_folder(cls, order: Order, folder_id: str, quiet: int, now: int) -> Self:
        """The pattern of windows of a folder that last until it is `quiet` (milliseconds)."""
        folder = WINDOW_PREFIX + digest("quiet", *_shared(order, quiet), folder_id)
        pattern = replace(order, external_id=folder, files=())
        return cls(pattern, quiet, now, due=now + quiet, gates=GATES, folder=folder)

    def begun(self, first: Arrival, again: int, now: int) -> "Window":
        """The window of a folder that its `first` file opens now, for the time `again`."""
        name = ("quiet", self.window_id, first.external_id, *([str(again)] if again else ()))
        order = replace(self.order, external_id=WINDOW_PREFIX + digest(*name))
        opened = replace(self, order=order, start=now)
        return replace(opened, due=opened.quiet_end(now))

    def quiet_end(self, now: int) -> int:
        """When it ends if nothing comes after now, at the latest a day after it began.

        A quarter more than it must, so that the end moves at most once in that time.
        """
        return min(now + self.length + self.length // QUARTERS, self.start + DAY_MS)

    def prolonged(self, now: int) -> "Window":
        """Moved to its end by now."""
        return self._then(due=self.quiet_end(now))

    @classmethod
    def of(cls, marker: Arrival, order: Order, now: int) -> Self:
        """The window of a marker: from the marker's identity alone, whatever the routes say."""
        pattern = replace(order, external_id=marker_id(marker), files=())
        return cls(pattern, 0, marker.time, due=now + MARKER_MESSAGE_LIFE_MS, gates=GATES)

    def behind(self, placed: Order) -> "Window":
        """With the place of `placed` among the orders of its folder."""
        return replace(self, order=replace(self.order, line=placed.line))

    @property
    def window_id(self) -> str:
        """Its id, which only its route, map, target, options, length and start decide."""
        return self.order.external_id

    def next(self) -> "Window":
        """The one after it."""
        following = self.start + self.length
        return Window.at(self.order, self.length, following, self.begins, self.timezone)

    @property
    def replaces(self) -> bool:
        """Whether its one batch takes the place of an earlier one of its folder."""
        return self.order.line is not None and not self.order.line.first_only

    def sealed(self, now: int) -> "Window":
        """Sealed: once it is frozen too, no file can join."""
        return self._then(stage=WindowStage.SEALED, due=min(now, self.due or now), sealed_at=now)

    def worked_on(self, until: int | None, options: Mapping[str, Any] | None = None) -> "Window":
        """Leased to one worker until then; None ends the lease. `options`: the present ones."""
        order = self.order if options is None else replace(self.order, options=options)
        return self._then(until=until, order=order)

    def joined_to(self, key: str) -> "Window":
        """All files up to this key have joined."""
        return self._then(reached=key)

    @property
    def list_key(self) -> str:
        """The key of its list: by the day it was sealed, which people search by."""
        at = self.sealed_at or self.due or self.start  # a release before lists did not store it
        return f"windows/{day_of(at)}/{self.window_id}.jsonl"

    def planned(self, parts: tuple[WindowPart, ...], key: str | None = None) -> "Window":
        """With its parts, for good."""
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
    """The ledger of windows. Every method may raise LedgerUnavailable."""

    def open(self, window: Window) -> Window:
        """Put `window` if it is absent, or return the one that exists."""

    def get(self, window_id: str) -> Window | None:
        """The current window."""

    def replace(self, old: Window, new: Window) -> Window:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""

    def transactions(
        self, files: Iterable[Arrival], *, at_start: bool = False
    ) -> Iterator[tuple[Arrival, ...]]:
        """The files in their order, as many at a time as one `register` takes, or `start`."""

    def start(
        self, window: Window, marker: Arrival, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> bool:
        """As `register`, with the window itself, the marker's claim, and the folder's head.

        False if the window exists. Raises AlreadyClaimed or LineMoved.
        """

    def newest_of(self, folder: str) -> str | None:
        """The id of the newest window of a folder (see `quiet`)."""

    def begin(self, window: Window, before: str | None, files: tuple[Arrival, ...]) -> bool:
        """As `register`, with the window itself, which becomes the newest of its folder.

        `before`: the newest one until then. False if the window exists. Raises AlreadyClaimed, or
        LineMoved if another window has become the newest.
        """

    def register(
        self, window: Window, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> None:
        """List `files` and claim those of them that are `free`, all or nothing.

        `files`: those of one of the `transactions`, or some of these. Raises WindowSealed or
        AlreadyClaimed.
        """

    def freeze(self, window: Window) -> None:
        """Close all gates of a sealed window that are still open.

        The window then lists every registered file, and no other can be registered.
        """

    def joined(self, window_id: str) -> Iterator[Arrival]:
        """All files of a window, some perhaps twice (consistent reads)."""

    def supersede(self, window_id: str, file: Arrival, by: str) -> None:
        """Record in this window's claim of `file` which version supersedes it."""

    def keep(self, window: Window, lines: Iterable[bytes]) -> Window:
        """Write the list of a planned window, unless it exists; the window as it is then stored.

        The parts' `offset` counts from the first of `lines` in the argument, and from the list's
        own beginning in the result.
        """


@dataclass(frozen=True, slots=True)
class WindowPorts:
    """What windows need of the world."""

    windows: WindowLedger
    orders: ports.OrderLedger
    enqueue: Callable[[list[str]], None]  # external ids of orders that are due
    now: Callable[[], int]  # epoch ms
    limits: BatchLimits
    opened: lists.Opened
    side_by_side: SideBySide = map
    # How small files of an order share uploads; None: each is uploaded by itself, or by others.
    sharing: Callable[[Order], Sharing | None] = lambda _: None
    # Held by a worker while it has a list on disk, where there is room for half a gigabyte.
    in_turn: AbstractContextManager[Any] = field(default_factory=nullcontext)


def register(
    window: Window, files: Iterable[Arrival], ports: WindowPorts
) -> tuple[dict[str, Window], dict[str, str]]:
    """Let `files` join `window`, or the next one if it is sealed.

    Returns the window of each file that joined, and the claimant of each file that was claimed
    before, both by the file's external id. Raises LedgerUnavailable.
    """
    joined: dict[str, Window] = {}
    known: dict[str, str] = {}
    left = list(files)
    window = ports.windows.open(window)
    while left:
        batch = next(ports.windows.transactions(left))
        try:
            ports.windows.register(window, batch, batch)
        except WindowSealed:
            window = ports.windows.open(window.next())
        except AlreadyClaimed as conflict:
            known |= {file.external_id: owner for file, owner in conflict.claimed.items()}
            left = [file for file in left if file not in conflict.claimed]
        else:
            joined |= dict.fromkeys((file.external_id for file in batch), window)
            left = left[len(batch) :]
    return joined, known


def close(window_id: str, ports: WindowPorts) -> None:
    """Seal and plan a window that is due, and open its parts; each step only if it is not done.

    Raises LeaseLost (another worker does it) or LedgerUnavailable; the next worker continues.
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
    """With the plan of its parts; if a plan is stored already, with that one."""
    limits = ONE_PART if window.replaces else ports.limits
    superseded = 0

    def seen(number: int) -> None:
        nonlocal superseded
        superseded += number

    with ports.in_turn, TemporaryFile() as lines:
        files, sharing = _listed(window, lines, ports, seen), ports.sharing(window.order)
        parts = plan(window.window_id, files, limits, sharing)
        if superseded:
            parts = (replace(parts[0], superseded=superseded), *parts[1:])
        planned = window.planned(parts, window.list_key)
        lines.seek(0)
        # Another worker's plan may differ, because S3 told it other sizes.
        return replace(planned, parts=ports.windows.keep(planned, lines).parts)


def _listed(
    window: Window, lines: IO[bytes], ports: WindowPorts, superseded: Callable[[int], None]
) -> Iterator[tuple[int, int]]:
    """Write the `lines` of a window's list, and record which versions are superseded.

    Of each object, the bytes that AEP gets, and those of its lines. `superseded` is told how many
    versions are.
    """
    joined = lists.in_lines(ports.windows.joined(window.window_id))
    for page in batched(lists.versions(joined), PAGE, strict=False):
        old = [(file, seen.newest.version) for seen in page for file in seen.superseded]
        list(ports.side_by_side(lambda o: ports.windows.supersede(window.window_id, *o), old))
        superseded(len(old))
        lines.writelines(chain.from_iterable(seen.lines for seen in page))
        lengths = (sum(map(len, seen.lines)) for seen in page)
        yield from zip(sizes((seen.newest for seen in page), ports), lengths, strict=True)


def sizes(files: Iterable[Arrival], ports: WindowPorts) -> Iterator[int]:
    """An estimate of the bytes that AEP gets of each file."""
    files = tuple(files)
    large = [file for file in files if lists.isize_matters(file)]
    isizes = ports.side_by_side(lambda file: lists.isize(file, ports.opened), large)
    known = dict(zip(large, isizes, strict=True))
    return (unpacked(file, known.get(file, 0)) for file in files)


class RestoredWindows(Protocol):
    """The windows of a restored ledger. Every method raises LedgerUnavailable."""

    def get(self, window_id: str) -> Window | None:
        """The current window."""

    def freeze(self, window: Window) -> None:
        """Close all gates of a window."""

    def claim(self, window: Window, file: Arrival, superseded_by: str | None) -> None:
        """Claim a file of its list again, unless another order or window has claimed it."""

    def put_back(self, window: Window) -> None:
        """Store it as its list describes it, unless it is planned; its parts are due."""


def restore(
    window: Window,
    files: Iterable[tuple[Arrival, str | None]],
    windows: RestoredWindows,
    side_by_side: SideBySide,
) -> int | None:
    """Put a window back into a restored ledger, from its list; the number of its files.

    None if the ledger knows it. `files`: each with the version that supersedes it. May be repeated:
    the window is written last, and with it its parts, which find their batches.
    """
    current = windows.get(window.window_id)
    if current is not None and current.stage in (WindowStage.PLANNED, WindowStage.FINISHED):
        return None
    windows.freeze(window)
    claimed = side_by_side(lambda listed: windows.claim(window, *listed), files)
    count = sum(1 for _ in claimed)
    windows.put_back(window)
    return count


def take_over(
    window: Window, until: int, options: Mapping[str, Any] | None, ports: WindowPorts
) -> Window:
    """A marker's window, leased to this worker until then (epoch ms).

    Raises NotYet while another worker has it, LeaseLost or LedgerUnavailable.
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

    `files` may be iterated twice. Returns the claimant of each file that another order or window
    holds, by the file's external id. Raises AlreadyClaimed if that is all of them, NotReplaceable,
    LineMoved, LeaseLost or LedgerUnavailable.
    """
    known: dict[str, str] = {}
    current = ports.windows.get(window.window_id)
    if current is None and window.replaces:
        _check_one_for_one(window, marker, files, ports)
    if current is None or current.stage is WindowStage.OPEN:
        filling = _Filling(window, marker, ports, current)
        try:
            known = filling.fill(files)
        except IntakeError:
            filling.give_back()
            raise
    seal(window.window_id, ports)
    return known


def seal(window_id: str, ports: WindowPorts) -> None:
    """Seal a window before it is due, and close it. Raises as `close`."""
    window = ports.windows.get(window_id)
    if window is not None and window.stage is WindowStage.OPEN:
        ports.windows.replace(window, window.sealed(ports.now()))
    close(window_id, ports)


def _check_one_for_one(
    window: Window, marker: Arrival, files: Iterable[Arrival], ports: WindowPorts
) -> None:
    pages = batched(files, PAGE, strict=False)
    known = ((size, 0) for page in pages for size in sizes(in_order(page), ports))
    if len(plan("", known, ports.limits, ports.sharing(window.order))) > 1:
        raise NotReplaceable(
            f"the folder of {marker.uri} holds more than fits into one batch, and several cannot "
            "take the place of one: raise batchFiles or batchGigabytes, or let the route `append`"
        )
    line = window.order.line
    before = ports.orders.get(line.predecessor) if line and line.predecessor else None
    part = before and before.order.excerpt
    replaced = ports.windows.get(part.window_id) if part else None
    if replaced is not None and len(replaced.parts) > 1:  # when the route said `ignore`
        raise NotReplaceable(
            f"the one before {marker.uri} is {len(replaced.parts)} batches, and one cannot take "
            "the place of several: let the route `append` or `ignore`"
        )


class _Filling:
    """The files of a folder on their way into its window.

    `current`: the window as stored, None before its start. Only the worker with its lease writes
    its progress.
    """

    def __init__(
        self, window: Window, marker: Arrival, ports: WindowPorts, current: Window | None
    ) -> None:
        self._window, self._marker, self._ports = window, marker, ports
        self._current = current
        self._is_replaced: dict[str, bool] = {}  # by window: whether this one takes over its files
        self._known: dict[str, str] = {}
        self._taken_over: set[Arrival] = set()
        self._conflict: AlreadyClaimed | None = None

    def fill(self, files: Iterable[Arrival]) -> dict[str, str]:
        """Register all files; the claimants of those that others hold."""
        for page in batched(files, PAGE, strict=False):
            left = list(in_order(page))
            while left and self._current is None:
                left = self._start(left)
            together = self._ports.windows.transactions(left)
            if not all(self._ports.side_by_side(self._register, together)):
                break  # another worker sealed it, after it had registered the whole folder
            if self._current is not None:
                reached = self._current.joined_to(page[-1].key)
                self._current = self._ports.windows.replace(self._current, reached)
        if self._current is None and self._conflict is not None:
            raise self._conflict
        return self._known

    def give_back(self) -> None:
        """End this worker's lease; if the ledger does not take that, the lease runs out."""
        if self._current is not None:
            with suppress(TryAgain):
                self._ports.windows.replace(self._current, self._current.worked_on(None))

    def _start(self, left: list[Arrival]) -> list[Arrival]:
        """Open the window with the first files; those that have not joined yet."""
        windows = self._ports.windows
        batch = next(windows.transactions(left, at_start=True))
        try:
            started = windows.start(self._window, self._marker, batch, self._free(batch))
        except AlreadyClaimed as conflict:
            if self._marker in conflict.claimed:
                raise
            self._conflict = conflict
            return self._without_claimed(left, conflict)
        if started:
            self._current = self._window
            return left[len(batch) :]
        current = windows.get(self._window.window_id)
        if current is None or (current.until or 0) > self._ports.now():
            raise LeaseLost(
                "another worker started this marker", external_id=self._window.window_id
            )
        self._current = current
        return left

    def _register(self, files: tuple[Arrival, ...]) -> bool:
        """Register files; False if the window is sealed."""
        left = files
        while left:
            try:
                self._ports.windows.register(self._window, left, self._free(left))
            except WindowSealed:
                return False
            except AlreadyClaimed as conflict:
                left = tuple(self._without_claimed(left, conflict))
            else:
                break
        return True

    def _free(self, files: tuple[Arrival, ...]) -> tuple[Arrival, ...]:
        return tuple(file for file in files if file not in self._taken_over)

    def _without_claimed(self, files: Iterable[Arrival], conflict: AlreadyClaimed) -> list[Arrival]:
        """`files` without those that this window, or one that it does not replace, has claimed."""
        ours = set()
        for file, owner in conflict.claimed.items():
            if owner not in self._is_replaced:
                self._is_replaced[owner] = _replaced(owner, self._window, self._ports.windows)
            if self._is_replaced[owner]:
                self._taken_over.add(file)
            elif owner == self._window.window_id:
                ours.add(file)
            else:
                self._known[file.external_id] = owner
        return [f for f in files if f not in ours and f.external_id not in self._known]


def _replaced(owner: str, window: Window, windows: WindowLedger) -> bool:
    """Whether `owner` is an earlier window of the folder, whose place `window` takes."""
    ours, earlier = window.order, windows.get(owner) if owner.startswith(WINDOW_PREFIX) else None
    if not window.replaces or ours.line is None or earlier is None or earlier.order.line is None:
        return False
    return earlier.order.line.subject == ours.line.subject and owner != window.window_id


def plan(
    window_id: str,
    files: Iterable[tuple[int, int]],
    limits: BatchLimits,
    sharing: Sharing | None = None,
) -> tuple[WindowPart, ...]:
    """Parts filled in order, up to the limits; a file over the limit is a part alone.

    `files`: of each, the bytes that AEP gets, and those that describe it in the window's list.
    """
    parts: list[WindowPart] = []
    first = end = held = offset = length = uploads = 0  # of the part that is being filled
    run = run_bytes = 0  # of the upload that the next file may share
    for size, described in files:
        joins = sharing is not None and run > 0 and sharing.takes(run, run_bytes, size)
        more = 0 if joins else max(1, ceil(size / limits.piece))
        full = uploads + more > limits.files or held + size > limits.bytes
        if end > first and (full or end - first == limits.listed):
            parts.append(WindowPart(window_id, first, end, held, offset, length))
            first, held, offset, length, uploads = end, 0, offset + length, 0, 0
            joins, more = False, max(1, ceil(size / limits.piece))
        if not joins:
            run = run_bytes = 0
        if sharing is not None and sharing.takes(run, run_bytes, size):
            run, run_bytes = run + 1, run_bytes + size
        end, held, length, uploads = end + 1, held + size, length + described, uploads + more
    return (*parts, WindowPart(window_id, first, end, held, offset, length)) if end else ()


def in_order(files: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """The files in the order of the plan, always the same."""
    return tuple(sorted(set(files), key=lambda file: (file.bucket, file.key, file.version)))
