"""The window of a marker: it takes the files that are in the folder now, and is sealed at once.

A worker leases the window, and stores after each page up to which key the files have joined: if it
dies, another worker continues there. Until the window is sealed, the marker's SQS message retries
it; `due` is set beyond the message's last possible delivery.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import batched
from typing import Any

from aep_intake.grouping.windows import PAGE, WindowLedger, WindowPorts, close_now, plan, sizes
from aep_intake.model.errors import (
    AlreadyClaimed,
    IntakeError,
    LeaseLost,
    NotReplaceable,
    NotYet,
    TryAgain,
    WindowSealed,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WINDOW_PREFIX
from aep_intake.model.windows import Window, WindowStage, in_order


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
    return ports.ledger.replace(window, window.worked_on(until, options))


def fill(
    window: Window, marker: Arrival, files: Iterable[Arrival], ports: WindowPorts
) -> dict[str, str]:
    """Let the files of a marker's folder, in their keys' order, share batches, and open these.

    `files` may be iterated twice. Returns the claimant of each file that another order or window
    holds, by the file's external id. Raises AlreadyClaimed if that is all of them, NotReplaceable,
    LineMoved, LeaseLost or LedgerUnavailable.
    """
    known: dict[str, str] = {}
    current = ports.ledger.get(window.window_id)
    if current is None and window.replaces:
        _check_one_for_one(window, marker, files, ports)
    if current is None or current.stage is WindowStage.OPEN:
        filling = _Filling(window, marker, ports, current)
        try:
            known = filling.fill(files)
        except IntakeError:
            filling.give_back()
            raise
    close_now(window.window_id, ports)
    return known


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
    lineage = window.order.lineage
    before = ports.orders.get(lineage.predecessor) if lineage and lineage.predecessor else None
    part = before and before.order.excerpt
    replaced = ports.ledger.get(part.window_id) if part else None
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
            together = self._ports.ledger.transactions(left)
            if not all(self._ports.side_by_side(self._register, together)):
                break  # another worker sealed it, after it had registered the whole folder
            if self._current is not None:
                reached = self._current.joined_to(page[-1].key)
                self._current = self._ports.ledger.replace(self._current, reached)
        if self._current is None and self._conflict is not None:
            raise self._conflict
        return self._known

    def give_back(self) -> None:
        """End this worker's lease; if the ledger does not take that, the lease runs out."""
        if self._current is not None:
            with suppress(TryAgain):
                self._ports.ledger.replace(self._current, self._current.worked_on(None))

    def _start(self, left: list[Arrival]) -> list[Arrival]:
        """Open the window with the first files; those that have not joined yet."""
        windows = self._ports.ledger
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
                self._ports.ledger.register(self._window, left, self._free(left))
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
                self._is_replaced[owner] = _replaced(owner, self._window, self._ports.ledger)
            if self._is_replaced[owner]:
                self._taken_over.add(file)
            elif owner == self._window.window_id:
                ours.add(file)
            else:
                self._known[file.external_id] = owner
        return [f for f in files if f not in ours and f.external_id not in self._known]


def _replaced(owner: str, window: Window, windows: WindowLedger) -> bool:
    """Whether `owner` is an earlier window of the folder, whose place `window` takes."""
    earlier = windows.get(owner) if owner.startswith(WINDOW_PREFIX) else None
    ours, theirs = window.order.lineage, earlier.order.lineage if earlier else None
    if not window.replaces or ours is None or theirs is None:
        return False
    return theirs.subject == ours.subject and owner != window.window_id
