"""Takes in arrivals: they get their batches, or join windows.

    in turns   copies after the versions that they may be copies of
    plan       resolve each arrival: to an order, a window, a marker, or a wait for a marker
    at once    create orders, join windows, list waiting files
    then       gather the folder of each marker, or hand it on to a function with more time

Resolving comes before the ledger, because an order fixes its target for good. But if an arrival can
no longer be resolved and has an order already, that order wins.
"""

from collections.abc import Mapping

from aep_intake.arrivals.gather import gather, reject_arrival, too_late
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.resolve import NOT_DATA, Fate, Joining, Marker, resolve
from aep_intake.arrivals.results import HandedOn, Joined, Known, Result, Skipped, Waits
from aep_intake.arrivals.versions import check_not_overtaken
from aep_intake.create import create, lineage
from aep_intake.grouping import quiet, waiting_files, windows
from aep_intake.model import messages
from aep_intake.model.errors import AlreadyClaimed, LeaseLost, Overtaken, Rejected
from aep_intake.model.expectations import Came, Counts
from aep_intake.model.files import Arrival
from aep_intake.model.history import NOBODY, WaitingFile, WaitingGroup
from aep_intake.model.orders import WINDOW_PREFIX, Order
from aep_intake.model.outcomes import SideBySide, caught
from aep_intake.model.progress import Outcome, OutcomeKind, State
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window, marker_id


@dataclass(frozen=True, slots=True)
class _CreatingOne:
    """An arrival (by external id) with an order: its own, or one that holds it already."""

    arrival_id: str
    order: Order


@dataclass(frozen=True, slots=True)
class _JoiningTogether:
    """Arrivals that join the same window."""

    window: Window
    files: list[Arrival]


type _Task = _CreatingOne | _JoiningTogether | WaitingGroup


def take_in(
    arrivals: Mapping[str, Arrival],
    intake: IntakePorts,
    side_by_side: SideBySide,
    redriven: frozenset[str] = frozenset(),
) -> dict[str, Result]:
    """Give arrivals (by external id) their batches, or places in a window.

    `redriven`: those that were parked before, so that newer versions may have overtaken them.
    Returns the result of each; if it failed, the error. Rejected errors are announced and recorded.
    """
    results: dict[str, Result] = {}
    for some in _turns(arrivals):
        results |= _take_in(some, intake, side_by_side, redriven)
    return results


def _turns(arrivals: Mapping[str, Arrival]) -> list[dict[str, Arrival]]:
    """Arrivals that may be taken in together: a copy comes after earlier versions of its object."""
    turns: list[dict[str, Arrival]] = [{}]
    last: dict[str, int] = {}
    for name, arrival in sorted(arrivals.items(), key=lambda item: item[1].position):
        turn = last[arrival.object_id] + arrival.copied if arrival.object_id in last else 0
        last[arrival.object_id] = turn
        if turn == len(turns):
            turns.append({})
        turns[turn][name] = arrival
    return turns


def _take_in(
    arrivals: Mapping[str, Arrival],
    intake: IntakePorts,
    side_by_side: SideBySide,
    redriven: frozenset[str],
) -> dict[str, Result]:
    planned = side_by_side(
        lambda file: caught(_plan, file, intake, redriven=file.external_id in redriven),
        arrivals.values(),
    )
    plans = dict(zip(arrivals, planned, strict=True))
    results: dict[str, Result] = {}
    for name, plan in plans.items():
        if isinstance(plan, Known | Skipped | Exception):  # already a result
            results[name] = plan
    tasks = _tasks(plans, intake)
    for done in side_by_side(lambda task: _carry_out(task, intake), tasks):
        results |= done
    for name, plan in plans.items():
        if isinstance(plan, Marker):  # one after the other: each keeps all threads busy
            results[name] = caught(_take_marker, plan, intake, side_by_side)
    results |= _note_when_files_came(arrivals, plans, results, intake)
    return results | _release_folders(arrivals, plans, results, intake)


def _release_folders(
    arrivals: Mapping[str, Arrival],
    plans: Mapping[str, object],
    results: Mapping[str, Result],
    intake: IntakePorts,
) -> dict[str, Result]:
    """End what is parked for want of ready files that came now; of which arrivals that failed.

    They come again, and are known then.
    """
    taken = [
        name
        for name, plan in plans.items()
        if isinstance(plan, Order | Joining) and not isinstance(results[name], Exception)
    ]
    if not taken:
        return {}
    with_ready = {route.name for route in intake.table().routes if route.ready}
    ready = [name for name in taken if _route(plans[name]) in with_ready]
    failed: dict[str, Result] = {}
    for folder_id in dict.fromkeys(waiting_files.folder_of(arrivals[name]) for name in ready):
        if error := caught(waiting_files.release, folder_id, intake.waiting):
            failed |= dict.fromkeys(ready, error)
    return failed


def _note_when_files_came(
    arrivals: Mapping[str, Arrival],
    plans: Mapping[str, object],
    results: Mapping[str, Result],
    intake: IntakePorts,
) -> dict[str, Result]:
    """Note when files of each route came last; of which arrivals that failed.

    They come again, and are known then.
    """
    came: dict[str, list[str]] = {}
    for name, plan in plans.items():
        told = isinstance(results[name], Rejected | Skipped) or arrivals[name].by_backfill
        if not told and (route := _route(plan)):
            came.setdefault(route, []).append(name)
    if not came:
        return {}
    written = {route.name: route.written for route in intake.table().routes}
    found, now = {}, intake.creating.now()
    for route, names in came.items():
        # A sender may name a time that is still to come, which no later file would pass.
        last = min(now, max(arrivals[name].time for name in names))
        new = [arrivals[name] for name in names if _is_new(results[name])]
        counts = Counts(len(new), sum(file.size for file in new))
        counted = {"files", "bytes"} & written.get(route, {}).get("expect", {}).keys()
        found[route] = Came(last, counts, bool(counted))
    error = caught(intake.came, found)
    return {name: error for names in came.values() for name in names} if error else {}


def _route(plan: object) -> str | None:
    match plan:
        case Order(route=route) | Joining(window=Window(order=Order(route=route))):
            return route
        case WaitingFile(route=route):
            return route
    return None


def _is_new(result: Result) -> bool:
    """Whether a file has a place since now."""
    if isinstance(result, Outcome):
        before = result.record.resumed_at is not None  # since it came during a pause
        return result.kind is not OutcomeKind.DUPLICATE and not before
    return isinstance(result, Joined | Waits)


def _tasks(plans: Mapping[str, object], intake: IntakePorts) -> list[_Task]:
    """Tasks to be done side by side; arrivals of one window, or one group, share a task."""
    creating = [_CreatingOne(name, plan) for name, plan in plans.items() if isinstance(plan, Order)]
    joining: dict[str, _JoiningTogether] = {}
    for plan in plans.values():
        if isinstance(plan, Joining):
            together = _JoiningTogether(plan.window, [])
            joining.setdefault(plan.window.window_id, together).files.append(plan.file)
    waiting = [plan for plan in plans.values() if isinstance(plan, WaitingFile)]
    groups = [plan for plan in plans.values() if isinstance(plan, WaitingGroup)]
    if waiting:
        now, end = intake.creating.now(), intake.creating.lease().until
        groups += waiting_files.groups(waiting, now, end)
    return [*creating, *joining.values(), *groups]


def _carry_out(task: _Task, intake: IntakePorts) -> dict[str, Result]:
    match task:
        case _CreatingOne(arrival_id, order):
            return {arrival_id: caught(_create_or_known, order, intake)}
        case _JoiningTogether(window, files):
            return _join(window, files, intake)
        case WaitingGroup():
            return _wait(task, intake)


def _take_marker(marker: Marker, intake: IntakePorts, side_by_side: SideBySide) -> Result:
    if intake.hand_on is None:
        return gather(marker, intake, side_by_side)
    intake.hand_on(messages.of_arrival(marker.arrival))
    return HandedOn()


def _plan(arrival: Arrival, intake: IntakePorts, *, redriven: bool) -> Fate | Known:
    try:
        found = resolve(arrival, intake)
    except Rejected as rejected:
        owner = intake.ledger.claimant(arrival)
        if owner is None:
            reject_arrival(arrival, rejected, intake)
            raise
        return _owner(owner, arrival, intake)
    if found == NOT_DATA:
        owner = intake.ledger.claimant(arrival)  # for other routes it was a marker, perhaps
        return found if owner is None else _owner(owner, arrival, intake)
    if redriven and isinstance(found, Order | Joining):
        _check_not_overtaken(arrival, found, intake)
    return found


def _check_not_overtaken(arrival: Arrival, found: Order | Joining, intake: IntakePorts) -> None:
    order = found.window.order if isinstance(found, Joining) else found
    owner = intake.ledger.claimant(arrival)
    known = None if owner is None else intake.ledger.get(owner)
    begins = owner is None or (known is not None and known.state is State.REFUSED)
    if not begins or order.lineage is not None:  # which has its newest version
        return
    try:
        check_not_overtaken((arrival,), order.target, intake.versions, map)
    except Overtaken as overtaken:
        reject_arrival(arrival, overtaken, intake)
        raise


def _create_or_known(order: Order, intake: IntakePorts) -> Result:
    placed = lineage.placed(order, intake.ledger)
    if placed is None:
        return too_late(order.files[0], order, intake)
    try:
        return create.create_batch(placed, intake.creating)
    except AlreadyClaimed as conflict:
        file, owner = next(iter(conflict.claimed.items()))
        # A refused copy stands for this version, and another copy for that one.
        first = order.files[0]
        stands = file.copy_of is not None and file.copy_of == first.version_id
        if stands and owner == NOBODY:
            overtaken = Overtaken(
                f"{first.uri!r}: {file.version}, a copy that stands for it, was discarded: take "
                "that back (discard --undo), or copy the object onto itself once more"
            )
            reject_arrival(first, overtaken, intake)
            raise overtaken from None
        if stands or owner.startswith(WINDOW_PREFIX):
            return Known(owner)
        # A refused order releases its claims, so another order may just have claimed the file.
        raise LeaseLost(f"{owner} holds the file now", external_id=order.external_id) from None


def _join(window: Window, files: list[Arrival], intake: IntakePorts) -> dict[str, Result]:
    register = windows.register if window.folder is None else quiet.register
    registered = caught(register, window, files, intake.windows)
    if isinstance(registered, Exception):
        return {file.external_id: registered for file in files}
    joined, known = registered
    results: dict[str, Result] = {
        external_id: Joined(place.window_id, place.due or place.start + place.length)
        for external_id, place in joined.items()
    }
    for file in files:
        if file.external_id in known:
            owner = known[file.external_id]
            results[file.external_id] = caught(_follow, owner, file, intake)
    return results


def _wait(group: WaitingGroup, intake: IntakePorts) -> dict[str, Result]:
    failed = caught(intake.waiting.folders.wait, group)
    result = Waits(group.route) if failed is None else failed
    return {file.external_id: result for file in group.files}


def _follow(owner: str, file: Arrival, intake: IntakePorts) -> Result:
    found = _owner(owner, file, intake)
    return create.create_batch(found, intake.creating) if isinstance(found, Order) else found


def _owner(owner: str, file: Arrival, intake: IntakePorts) -> Order | Known:
    """The order or window that claims a file."""
    if owner.startswith(WINDOW_PREFIX):
        # The routes no longer call it a marker, but the files that joined its window count.
        if owner == marker_id(file):
            if intake.hand_on is None:
                windows.close_now(owner, intake.windows)
            else:
                intake.hand_on(messages.of_arrival(file))
        return Known(owner)
    record = intake.ledger.get(owner)
    if record is None:
        raise LeaseLost("the ledger no longer holds this order", external_id=owner)
    return record.order
