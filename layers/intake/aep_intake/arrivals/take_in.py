"""From an arrival, or from what a request asks, to the order that `create` carries out.

Resolving comes before the ledger, because an order fixes its target for good; but an arrival that
can no longer be resolved may have an order from before, and then that order counts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import batched, islice
from typing import Any, Protocol

from aep_intake.create import create, lineage, ports
from aep_intake.create.create import Outcome
from aep_intake.create.ports import OrderPorts
from aep_intake.grouping import markers, missing_markers, windows
from aep_intake.grouping.missing_markers import Listing, Waiting
from aep_intake.grouping.windows import SOME, Window, WindowStage, register
from aep_intake.model.errors import (
    AlreadyClaimed,
    FormatUnknown,
    LeaseLost,
    MalformedEvent,
    NoFiles,
    ObjectArchived,
    Rejected,
    TargetNotAllowed,
    TooOld,
)
from aep_intake.model.files import Archived, Arrival
from aep_intake.model.orders import WINDOW_PREFIX, Order, Rejection
from aep_intake.model.outcomes import SideBySide, attempt
from aep_intake.routing import routes
from aep_intake.routing.checks import Checks
from aep_intake.routing.routes import Match, OnNewVersion
from aep_intake.routing.targets import Targets


class ArrivalLedger(ports.OrderLedger, lineage.Heads, missing_markers.WaitingLedger, Protocol):
    """What else the ledger knows of an arrival."""

    def claimant(self, arrival: Arrival) -> str | None:
        """External id of the order that holds this arrival."""

    def note(self, arrival: Arrival, what: str, route: str) -> None:
        """Remember what became of an arrival that gets no order of its own. Claims nothing."""

    def note_waiting(self, arrival: Arrival, route: str) -> None:
        """The same of one that waits for a marker, unless something was noted of it before."""


class ArrivalAnnouncer(ports.OrderAnnouncer, missing_markers.RejectionAnnouncer, Protocol):
    """The event bus, for arrivals without an order too."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What taking something in needs. `retention` of the ledger in milliseconds.

    `hand_on` gives a marker to who has the time for it; without it, markers are worked on here.
    """

    ports: OrderPorts
    windows: windows.WindowPorts
    overdue: missing_markers.FolderPorts
    ledger: ArrivalLedger
    announcer: ArrivalAnnouncer
    targets: Targets
    objects: markers.FolderListing
    checks: Checks
    table: Callable[[], routes.RoutingTable]
    buckets: tuple[str, ...]
    retention: int
    hand_on: Callable[[Arrival], None] | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker that came, how it is routed, and the table that says so."""

    arrival: Arrival
    match: Match
    table: routes.RoutingTable


@dataclass(frozen=True, slots=True)
class Skipped:
    """An arrival that a route leaves out, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Waits:
    """An arrival that waits for the marker of its folder."""

    route: str


@dataclass(frozen=True, slots=True)
class HandedOn:
    """A marker that is another function's now."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A marker that came: its window, sealed, and how many files the folder held."""

    window_id: str
    files: int


@dataclass(frozen=True, slots=True)
class Joined:
    """An arrival that waits in a window, until `closes` (epoch ms)."""

    window_id: str
    closes: int


@dataclass(frozen=True, slots=True)
class Known:
    """An arrival that came before. `owner`: the window, or the order, it is in."""

    owner: str


type Result = Outcome | Joined | HandedOn | Gathered | Known | Waits | Skipped | Exception


def take_in(
    arrivals: Mapping[str, Arrival], intake: Intake, side_by_side: SideBySide
) -> dict[str, Result]:
    """Give arrivals (by external id) their batches, or places in a window.

    Gives for each what became of it; where it failed, the error (Rejected ones are announced, and
    remembered).
    """
    plans = dict(
        zip(
            arrivals,
            side_by_side(lambda file: attempt(lambda: _plan(file, intake)), arrivals.values()),
            strict=True,
        )
    )
    results: dict[str, Result] = {}
    tasks: list[Callable[[], dict[str, Result]]] = []
    groups: dict[str, tuple[Window, list[Arrival]]] = {}
    markers: dict[str, Marker] = {}
    waiting: list[Waiting] = []
    for external_id, plan in plans.items():
        match plan:
            case Marker():
                markers[external_id] = plan
            case Window():
                groups.setdefault(plan.window_id, (plan, []))[1].append(arrivals[external_id])
            case Waiting():
                waiting.append(plan)
            case Order():
                tasks.append(partial(_create, external_id, plan, intake))
            case _:
                results[external_id] = plan
    tasks += [partial(_join, window, files, intake) for window, files in groups.values()]
    listings = missing_markers.listings(waiting, intake.ports.now())
    tasks += [partial(_wait, listing, intake) for listing in listings]
    for result in side_by_side(lambda task: task(), tasks):
        results |= result
    for external_id, marker in markers.items():  # each keeps all hands busy
        work = partial(_gather, marker, intake, side_by_side)
        if intake.hand_on is not None:
            work = partial(_hand_on, marker.arrival, intake.hand_on)
        results[external_id] = attempt(work)
    return results


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
    if not match.ignore:
        match = replace(match, on_new_version=OnNewVersion.APPEND)  # its place in line it has
        present = _order(file, match, intake.checks.options(file, match), intake)
        order = replace(present, external_id=external_id, files=order.files, excerpt=order.excerpt)
    return create.create_batch(order, intake.ports)


def _plan(arrival: Arrival, intake: Intake) -> Order | Window | Marker | Known | Waiting | Skipped:
    try:
        return _resolve(arrival, intake)
    except Rejected as rejected:
        owner = intake.ledger.claimant(arrival)
        if owner is None:
            _reject_arrival(arrival, rejected, intake)
            raise
        return _of(owner, arrival, intake)


def _create(external_id: str, order: Order, intake: Intake) -> dict[str, Result]:
    return {external_id: attempt(lambda: _create_or_known(order, intake))}


def _create_or_known(order: Order, intake: Intake) -> Result:
    placed = lineage.placed(order, intake.ledger)
    if placed is None:
        return _too_late(order.files[0], order, intake)
    try:
        return create.create_batch(placed, intake.ports)
    except AlreadyClaimed as other:
        owner = next(iter(other.claimed.values()))
        if owner.startswith(WINDOW_PREFIX):
            return Known(owner)
        # An order that is refused lets its files go, and so they may have changed hands just now.
        raise LeaseLost(f"{owner} holds the file now", external_id=order.external_id) from None


def _join(window: Window, files: list[Arrival], intake: Intake) -> dict[str, Result]:
    registered = attempt(lambda: register(window, files, intake.windows))
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
            results[file.external_id] = attempt(partial(_follow, owner, file, intake))
    return results


def _wait(listing: Listing, intake: Intake) -> dict[str, Result]:
    failed = attempt(lambda: intake.overdue.folders.wait(listing))
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


def _resolve(arrival: Arrival, intake: Intake) -> Order | Window | Marker | Waiting | Skipped:
    if arrival.time < intake.ports.now() - intake.retention:
        raise _too_old(arrival)
    if arrival.bucket not in intake.buckets:
        raise TargetNotAllowed(
            f"{arrival.uri} is not in a bucket of this deployment: "
            "see its parameter SourceBucketNames"
        )
    table = intake.table()
    match = table.match(arrival)
    if match.ignore:
        return Skipped("route")
    if match.waits and markers.left_out(arrival, match.root):
        return Skipped("not-data")
    if match.waits:
        intake.ledger.note_waiting(arrival, match.route)
        return Waiting(arrival, match.route, match.within)
    if match.folder is not None:
        return Marker(arrival, match, table)
    order = _order(arrival, match, intake.checks.options(arrival, match), intake)
    if match.window is None:
        return order
    return Window.at(order, match.window, intake.ports.now())


def _order(arrival: Arrival, match: Match, options: Mapping[str, Any], intake: Intake) -> Order:
    target = intake.targets.target(
        credential=routes.credential_arn(match.credential, intake.targets.credentials),
        sandbox=match.sandbox,
        dataset_id=match.dataset_id,
        dataset_name=match.dataset_name,
    )
    dataset = intake.targets.dataset(target)
    if dataset is not None and dataset.system:
        raise TargetNotAllowed(f"dataset {target.dataset_id} is Adobe's own and takes no batches")
    line = None
    if match.on_new_version is not OnNewVersion.APPEND:
        first_only = match.on_new_version is OnNewVersion.IGNORE
        line = lineage.lineage_of(arrival, match.folder, target, first_only=first_only)
    return Order(
        external_id=arrival.external_id,
        target=target,
        options=options,
        files=(arrival,),
        route=match.route,
        routes_version=match.version,
        line=line,
        profile=dataset is not None and dataset.profile,
        whole=match.whole,
    )


def _remembered(
    files: tuple[Arrival, ...], intake: Intake, side_by_side: SideBySide
) -> tuple[Arrival, ...]:
    """Those of whom the ledger would know if they had a batch already."""
    oldest = intake.ports.now() - intake.retention
    old = {file: _too_old(file) for file in files if file.time < oldest}
    _reject_all(old, intake, side_by_side)
    return tuple(file for file in files if file.time >= oldest)


def _too_old(arrival: Arrival) -> TooOld:
    return TooOld(
        f"{arrival.uri} arrived longer ago than the ledger remembers, so it may have a batch "
        "already: find out, and send it again by a copy onto itself: aws s3 cp "
        f"{arrival.uri} {arrival.uri} --metadata-directive REPLACE (give --content-type and "
        "--metadata again, where somebody needs them)"
    )


def _too_late(arrival: Arrival, order: Order, intake: Intake) -> Skipped:
    """A newer version was ordered before, or the route wants the first one only."""
    why = "not-the-first" if order.line and order.line.first_only else "not-the-newest"
    intake.ledger.note(arrival, why, order.route or "")
    return Skipped(why)


def _hand_on(marker: Arrival, hand_on: Callable[[Arrival], None]) -> Result:
    hand_on(marker)
    return HandedOn()


def _gather(marker: Marker, intake: Intake, side_by_side: SideBySide) -> Result:
    """The files of a marker's folder join a window of their own, and share batches."""
    window_id = windows.marker_id(marker.arrival)
    window = intake.windows.windows.get(window_id)
    if window is None:
        return _begin(marker, intake, side_by_side)
    if window.stage is WindowStage.OPEN:
        files = _Folder(marker, intake, side_by_side, window.reached)
        try:
            options = files.options_like(window.order.options)
            windows.take_over(window, intake.ports.lease().until, options, intake.windows)
            windows.gather(window, marker.arrival, files, intake.windows)
        except Rejected as rejected:  # half of the folder is no batch
            _reject_arrival(marker.arrival, rejected, intake)
            raise
    windows.seal(window_id, intake.windows)
    return Known(window_id)


def _begin(marker: Marker, intake: Intake, side_by_side: SideBySide) -> Result:
    arrival, match = marker.arrival, marker.match
    owner = intake.ledger.claimant(arrival)
    if owner == windows.marker_id(arrival):
        raise LeaseLost("another worker began with it just now", external_id=arrival.external_id)
    if owner is not None:
        return Known(owner)
    folder = _Folder(marker, intake, side_by_side)
    try:
        options = folder.whole()
        pattern = _order(arrival, match, options, intake)
        window = Window.of(arrival, pattern, intake.ports.now())
        window = replace(window, until=intake.ports.lease().until)
        first = replace(window.order, external_id=window.part_id(0))
        placed = lineage.placed(first, intake.ledger)
        if placed is None:
            if match.on_new_version is OnNewVersion.IGNORE:  # nothing will ever take them
                for some in batched(folder, SOME, strict=False):
                    list(side_by_side(lambda file: _too_late(file, pattern, intake), some))
            return _too_late(arrival, pattern, intake)
        window = window.behind(placed)
        windows.gather(window, arrival, folder, intake.windows)
    except AlreadyClaimed as other:
        intake.ledger.note(arrival, "nothing-new", match.route)
        return Known(next(iter(other.claimed.values())))
    except Rejected as rejected:
        _reject_arrival(arrival, rejected, intake)
        raise
    return Gathered(window.window_id, folder.taken)


class _Folder:
    """The files of a marker's folder that AEP can take, after a key; each walk lists them anew.

    But what fits into a page is kept. All have the same format: where one has another, walking
    raises FormatUnknown. `taken`: how many there were when they were walked through last.
    """

    def __init__(
        self, marker: Marker, intake: Intake, side_by_side: SideBySide, after: str = ""
    ) -> None:
        self._marker, self._intake, self._side_by_side = marker, intake, side_by_side
        self._after = after
        self._kept: dict[Arrival, Mapping[str, Any]] | None = None
        self.taken = 0

    def whole(self) -> Mapping[str, Any]:
        """The options of all its files, which are named by their marker and there.

        Raises NoFiles, MalformedManifest, FormatUnknown, and what looking at files raises.
        """
        options = self.options()
        if options is None:
            uri = self._marker.arrival.uri
            raise NoFiles(f"no file in the folder of {uri} can be taken: each was rejected")
        if self._kept is None:
            for _ in self._listed():  # before anything is claimed
                pass
        return options

    def options(self) -> Mapping[str, Any] | None:
        """The options of the first of its files that can be taken; None if there is none."""
        listed = self._listed()
        first = tuple(islice(listed, SOME))
        taken = self._checked(first)
        if len(first) < SOME:
            self._kept = taken
        while not taken and (some := tuple(islice(listed, SOME))):
            taken = self._checked(some)
        return next(iter(taken.values()), None)

    def options_like(self, known: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """As `options`, where other files of the folder have joined with those that are `known`.

        Raises FormatUnknown where their formats differ, and not because the route says so by now.
        """
        options, match = self.options(), self._marker.match
        told = "inputFormat" in match.options and not match.look_inside
        if options is not None and not told and options["inputFormat"] != known["inputFormat"]:
            raise self._mixed()
        return options

    def _mixed(self) -> FormatUnknown:
        uri = self._marker.arrival.uri
        return FormatUnknown(f"the files of {uri} have different formats: give inputFormat")

    def __iter__(self) -> Iterator[Arrival]:
        known: Mapping[str, Any] | None = None
        self.taken = 0
        for some in self._pages():
            for options in some.values():
                known = options if known is None else known
                if options != known:
                    raise self._mixed()
                self.taken += 1
            yield from some

    def _pages(self) -> Iterator[dict[Arrival, Mapping[str, Any]]]:
        if self._kept is not None:
            yield self._kept
            return
        for some in batched(self._listed(), SOME, strict=False):
            yield self._checked(some)

    def _listed(self) -> Iterator[Arrival | Archived]:
        arrival, match, table = self._marker.arrival, self._marker.match, self._marker.table
        return markers.members(arrival, match, table, self._intake.objects, self._after)

    def _checked(self, listed: tuple[Arrival | Archived, ...]) -> dict[Arrival, Mapping[str, Any]]:
        """Those that can be taken; the others are told of by their names, and the rest goes on."""
        intake, match = self._intake, self._marker.match
        archived = {one.file for one in listed if isinstance(one, Archived)}
        files = tuple(one.file if isinstance(one, Archived) else one for one in listed)
        if match.on_new_version is not OnNewVersion.REPLACE:
            files = _remembered(files, intake, self._side_by_side)

        def look(file: Arrival) -> Mapping[str, Any]:
            # What became of it before it was archived is what counts.
            if file in archived and intake.ledger.claimant(file) is None:
                raise _archived(file, self._marker.arrival)
            return intake.checks.options(file, match)

        looked_at = self._side_by_side(lambda file: attempt(lambda: look(file)), files)
        taken: dict[Arrival, Mapping[str, Any]] = {}
        rejected: dict[Arrival, Rejected] = {}
        for file, options in zip(files, looked_at, strict=True):
            if isinstance(options, Rejected):
                rejected[file] = options
            elif isinstance(options, Exception):
                raise options
            else:
                taken[file] = options
        _reject_all(self._unclaimed(rejected), intake, self._side_by_side)
        return taken

    def _unclaimed(self, rejected: dict[Arrival, Rejected]) -> dict[Arrival, Rejected]:
        """Without those that have a batch already: what is told of that is what became of them.

        But a batch that takes the place of theirs lacks them.
        """
        if self._marker.match.on_new_version is OnNewVersion.REPLACE:
            return rejected
        owners = self._side_by_side(self._intake.ledger.claimant, rejected)
        free = zip(rejected.items(), owners, strict=True)
        return {file: why for (file, why), owner in free if owner is None}


def _archived(file: Arrival, marker: Arrival) -> ObjectArchived:
    return ObjectArchived(
        f"{file.uri} lies in an archive of S3's: restore it, and then have the marker {marker.uri} "
        "come again, by a copy onto itself: it takes what has no batch"
    )


def _reject_all(
    files: Mapping[Arrival, Rejected], intake: Intake, side_by_side: SideBySide
) -> None:
    list(side_by_side(lambda file: _reject_arrival(file, files[file], intake), files))


def _reject_arrival(arrival: Arrival, rejected: Rejected, intake: Intake) -> None:
    rejected.external_id = arrival.external_id
    rejection = Rejection.of(rejected, intake.ports.now())
    intake.ledger.reject(arrival, rejection)
    intake.announcer.arrival_rejected(arrival.external_id, (arrival,), rejection)
