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

A window may also last until its folder is quiet (see `quiet`), and the marker of a folder has one
of its own (see `filling`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field, replace
from itertools import batched, chain
from math import ceil
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from aep_intake.create.ports import OrderLedger
from aep_intake.grouping import lists
from aep_intake.model.errors import (
    AlreadyClaimed,
    WindowSealed,
)
from aep_intake.model.files import Arrival, OpenFile
from aep_intake.model.orders import Order, WindowPart
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.progress import Record
from aep_intake.model.sharing import Sharing, unpacked
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window, WindowStage

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


ONE_PART = BatchLimits(2**53, 2**60, listed=2**53)


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

    ledger: WindowLedger
    orders: OrderLedger
    enqueue: Callable[[list[str]], None]  # external ids of orders that are due
    now: Callable[[], int]  # epoch ms
    limits: BatchLimits
    opened: OpenFile
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
    window = ports.ledger.open(window)
    while left:
        batch = next(ports.ledger.transactions(left))
        try:
            ports.ledger.register(window, batch, batch)
        except WindowSealed:
            window = ports.ledger.open(window.next())
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
    ledger = ports.ledger
    window = ledger.get(window_id)
    if window is None or window.due is None or ports.now() < window.due:
        return
    if window.stage is WindowStage.OPEN:
        window = ledger.replace(window, window.sealed(ports.now()))
    if window.stage is WindowStage.SEALED:
        ledger.freeze(window)
        window = ledger.replace(window, _planned(window, ports))
    orders = [window.part(excerpt, number) for number, excerpt in enumerate(window.parts)]
    for order in orders:
        ports.orders.open(Record.waiting(order, ports.now()))
    ledger.replace(window, window.finished())
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
        return replace(planned, parts=ports.ledger.keep(planned, lines).parts)


def _listed(
    window: Window, lines: IO[bytes], ports: WindowPorts, superseded: Callable[[int], None]
) -> Iterator[tuple[int, int]]:
    """Write the `lines` of a window's list, and record which versions are superseded.

    Of each object, the bytes that AEP gets, and those of its lines. `superseded` is told how many
    versions are.
    """
    joined = lists.in_lines(ports.ledger.joined(window.window_id))
    for page in batched(lists.versions(joined), PAGE, strict=False):
        old = [(file, seen.newest.version) for seen in page for file in seen.superseded]
        list(ports.side_by_side(lambda o: ports.ledger.supersede(window.window_id, *o), old))
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


def close_now(window_id: str, ports: WindowPorts) -> None:
    """Close a window before its time: seal and plan it, and open its parts. Raises as `close`."""
    window = ports.ledger.get(window_id)
    if window is not None and window.stage is WindowStage.OPEN:
        ports.ledger.replace(window, window.sealed(ports.now()))
    close(window_id, ports)


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
