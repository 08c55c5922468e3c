"""Arrivals get their batches, or places in a window.

    resolve   each becomes an order, or belongs into a window, or is a marker, or waits for one
    at once   orders are created, windows joined, waiting files noted
    then      each marker gathers its folder, or is handed on to a function with more time

Resolving comes before the ledger, because an order fixes its target for good. But if an arrival can
no longer be resolved and has an order already, that order wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aep_intake.arrivals.gather import gather, reject_arrival, too_late
from aep_intake.arrivals.ports import Intake
from aep_intake.arrivals.resolve import Marker, order_of, resolve
from aep_intake.arrivals.results import HandedOn, Joined, Known, Result, Skipped, Waits
from aep_intake.create import create, lineage
from aep_intake.create.create import Outcome
from aep_intake.grouping import missing_markers, windows
from aep_intake.grouping.missing_markers import Listing, Waiting
from aep_intake.grouping.windows import Window, register
from aep_intake.model.errors import (
    AlreadyClaimed,
    LeaseLost,
    MalformedEvent,
    Rejected,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WINDOW_PREFIX, Order
from aep_intake.model.outcomes import SideBySide, attempt
from aep_intake.routing.routes import Match, OnNewVersion


@dataclass(frozen=True, slots=True)
class _Creating:
    """An arrival (by external id) with an order: its own, or one that holds it already."""

    arrival_id: str
    order: Order


@dataclass(frozen=True, slots=True)
class _Joining:
    """Arrivals that belong into the same window."""

    window: Window
    files: list[Arrival]


type _Task = _Creating | _Joining | Listing


def take_in(
    arrivals: Mapping[str, Arrival], intake: Intake, side_by_side: SideBySide
) -> dict[str, Result]:
    """Give arrivals (by external id) their batches, or places in a window.

    Gives for each what became of it; where it failed, the error (Rejected ones are announced, and
    remembered).
    """
    planned = side_by_side(lambda file: attempt(_plan, file, intake), arrivals.values())
    plans = dict(zip(arrivals, planned, strict=True))
    results: dict[str, Result] = {}
    for name, plan in plans.items():
        if isinstance(plan, Known | Skipped | Exception):  # nothing more is to be done
            results[name] = plan
    tasks = _tasks(arrivals, plans, intake.ports.now())
    for done in side_by_side(lambda task: _carry_out(task, intake), tasks):
        results |= done
    for name, plan in plans.items():
        if isinstance(plan, Marker):  # one after the other: each keeps all hands busy
            results[name] = attempt(_take_marker, plan, intake, side_by_side)
    return results


def _tasks(arrivals: Mapping[str, Arrival], plans: Mapping[str, object], now: int) -> list[_Task]:
    """What can be done side by side; what several arrivals have in common is one task."""
    creating = [_Creating(name, plan) for name, plan in plans.items() if isinstance(plan, Order)]
    joining: dict[str, _Joining] = {}
    for name, plan in plans.items():
        if isinstance(plan, Window):
            joining.setdefault(plan.window_id, _Joining(plan, [])).files.append(arrivals[name])
    waiting = [plan for plan in plans.values() if isinstance(plan, Waiting)]
    return [*creating, *joining.values(), *missing_markers.listings(waiting, now)]


def _carry_out(task: _Task, intake: Intake) -> dict[str, Result]:
    match task:
        case _Creating(arrival_id, order):
            return {arrival_id: attempt(_create_or_known, order, intake)}
        case _Joining(window, files):
            return _join(window, files, intake)
        case Listing():
            return _wait(task, intake)


def _take_marker(marker: Marker, intake: Intake, side_by_side: SideBySide) -> Result:
    if intake.hand_on is None:
        return gather(marker, intake, side_by_side)
    intake.hand_on(marker.arrival)
    return HandedOn()


def retry_parked(external_id: str, intake: Intake) -> Outcome:
    """Try anew an order that was parked: where it goes, the routes say now.

    One whose batch ended without data gets another one. Raises Rejected or TryAgain.
    """
    record = intake.ledger.get(external_id)
    if record is None:
        raise MalformedEvent(f"the ledger knows no order {external_id}", external_id=external_id)
    if record.batch_id is not None or record.next_attempt is not None:
        return create.start_next_attempt(external_id, intake.ports, done=True)
    order = record.order
    file = intake.ledger.files(order)[0]
    match = intake.table().match(file)
    if isinstance(match, Match):
        match = replace(match, on_new_version=OnNewVersion.APPEND)  # its place in line it has
        present = order_of(file, match, intake.checks.options(file, match), intake)
        order = replace(present, external_id=external_id, files=order.files, excerpt=order.excerpt)
    return create.create_batch(order, intake.ports)


def _plan(arrival: Arrival, intake: Intake) -> Order | Window | Marker | Known | Waiting | Skipped:
    try:
        return resolve(arrival, intake)
    except Rejected as rejected:
        owner = intake.ledger.claimant(arrival)
        if owner is None:
            reject_arrival(arrival, rejected, intake)
            raise
        return _of(owner, arrival, intake)


def _create_or_known(order: Order, intake: Intake) -> Result:
    placed = lineage.placed(order, intake.ledger)
    if placed is None:
        return too_late(order.files[0], order, intake)
    try:
        return create.create_batch(placed, intake.ports)
    except AlreadyClaimed as other:
        owner = next(iter(other.claimed.values()))
        if owner.startswith(WINDOW_PREFIX):
            return Known(owner)
        # An order that is refused lets its files go, and so they may have changed hands just now.
        raise LeaseLost(f"{owner} holds the file now", external_id=order.external_id) from None


def _join(window: Window, files: list[Arrival], intake: Intake) -> dict[str, Result]:
    registered = attempt(register, window, files, intake.windows)
    if isinstance(registered, Exception):
        return {file.external_id: registered for file in files}
    joined, known = registered
    results: dict[str, Result] = {
        external_id: Joined(where.window_id, where.start + where.length)
        for external_id, where in joined.items()
    }
    for file in files:
        if file.external_id in known:
            owner = known[file.external_id]
            results[file.external_id] = attempt(_follow, owner, file, intake)
    return results


def _wait(listing: Listing, intake: Intake) -> dict[str, Result]:
    failed = attempt(intake.overdue.folders.wait, listing)
    result = Waits(listing.route) if failed is None else failed
    return {file.external_id: result for file in listing.files}


def _follow(owner: str, file: Arrival, intake: Intake) -> Result:
    standing = _of(owner, file, intake)
    if isinstance(standing, Order):
        return create.create_batch(standing, intake.ports)
    return standing


def _of(owner: str, file: Arrival, intake: Intake) -> Order | Known:
    """What holds a file already."""
    if owner.startswith(WINDOW_PREFIX):
        if owner == windows.marker_id(file):  # no marker any more, but what joined it, counts
            if intake.hand_on is None:
                windows.seal(owner, intake.windows)
            else:
                intake.hand_on(file)
        return Known(owner)
    record = intake.ledger.get(owner)
    if record is None:
        raise LeaseLost("the ledger no longer holds this order", external_id=owner)
    return record.order
