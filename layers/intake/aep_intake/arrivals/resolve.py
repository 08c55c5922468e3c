"""Resolves one arrival: to an order, a window that it joins, a marker, or a wait for a marker."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.results import Skipped
from aep_intake.arrivals.versions import unless_same_bytes
from aep_intake.create.lineage import lineage_of
from aep_intake.grouping import ready, waiting_files
from aep_intake.model.errors import (
    IntakeError,
    ObjectGone,
    RoutesUnavailable,
    TargetNotAllowed,
    TooOld,
)
from aep_intake.model.files import Arrival, ready_name
from aep_intake.model.history import Hold, WaitingFile, WaitingGroup
from aep_intake.model.orders import Order
from aep_intake.model.times import SKEW_MS
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window
from aep_intake.routing.checks import of_batch
from aep_intake.routing.table import (
    NOT_COMPILED,
    Ignored,
    InQuietWindow,
    InWindow,
    IsMarker,
    IsReady,
    Match,
    OnNewVersion,
    RoutingTable,
    WaitsForMarker,
)
from aep_intake.routing.targets import credential_arn

NOT_DATA = Skipped("not-data")


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker that arrived, with its match and routing table."""

    arrival: Arrival
    match: Match
    table: RoutingTable


@dataclass(frozen=True, slots=True)
class Joining:
    """A file that joins a window."""

    window: Window
    file: Arrival


type Fate = Order | Joining | Marker | WaitingFile | WaitingGroup | Skipped


def resolve(arrival: Arrival, intake: IntakePorts) -> Fate:
    """Apply the routing table to an arrival. Raises Rejected or TryAgain."""
    if not arrival.aged and intake.forgotten(arrival.time):
        raise too_old(arrival)
    if arrival.bucket not in intake.buckets:
        raise TargetNotAllowed(
            f"{arrival.uri} is not in a bucket of this stack: see its parameter SourceBucketNames"
        )
    table = intake.table()
    match = table.match(arrival)
    if isinstance(match, Ignored):
        return Skipped(match.why)
    try:
        return _routed(arrival, match, table, intake)
    except IntakeError as error:
        error.route = match.route
        raise


def _routed(arrival: Arrival, match: Match, table: RoutingTable, intake: IntakePorts) -> Fate:
    copy_of = None
    if arrival.copied and not match.loads_same_bytes:
        copy = unless_same_bytes(arrival, intake)
        if copy is None:
            return Skipped("same-bytes")
        copy_of = copy.copy_of
    match match.batching:
        case IsMarker(grace_ms=grace):
            return _marker(Marker(arrival, match, table), grace, intake)
        case IsReady(file):
            return _ready(arrival, file, match, intake)
        case WaitsForMarker() as batching:
            return _wait(arrival, match, batching, intake)
    found = _when_ready(arrival, match, intake)
    if not isinstance(found, Arrival):
        return found
    # With its ready file, a later version may be let through.
    placed = replace(found, copy_of=copy_of) if found == arrival else found
    return _placed(placed, match, intake)


def _placed(arrival: Arrival, match: Match, intake: IntakePorts) -> Order | Joining:
    """The place of a file: an order of its own, or a window."""
    order = order_of(*_checked(arrival, match, intake), match, intake)
    if isinstance(match.batching, InWindow):
        window = match.batching
        now = intake.creating.now()
        opened = Window.at(order, window.length_ms, now, window.at, window.timezone)
        return Joining(opened, arrival)
    if isinstance(match.batching, InQuietWindow):
        quiet, folder = match.batching.quiet_ms, waiting_files.folder_of(arrival)
        return Joining(Window.of_folder(order, folder, quiet, intake.creating.now()), arrival)
    return order


def _marker(marker: Marker, grace: int, intake: IntakePorts) -> Marker | WaitingGroup:
    """A marker, once its grace (milliseconds) is over by the ledger's clock."""
    arrival, route = marker.arrival, marker.match.route
    early = grace and intake.creating.now() + SKEW_MS < arrival.time + grace
    over = max(arrival.time + grace, intake.creating.lease().until)
    waiting_files.hold(arrival, Hold(over, grace), intake.waiting)
    if not early:
        return marker
    intake.ledger.note_waiting(arrival, route, "the last files of its folder", over)
    return waiting_files.later(arrival, route, over)


def _ready(arrival: Arrival, file: str, match: Match, intake: IntakePorts) -> Skipped:
    """A ready file has its file taken in, and is not data itself."""
    intake.ledger.note(arrival, "ready", match.route)
    ready.take_in_waiting(arrival, file, intake.waiting)
    return Skipped("ready")


def _when_ready(
    arrival: Arrival, match: Match, intake: IntakePorts
) -> Arrival | WaitingFile | Skipped:
    """A file, once its ready file lets it through, if its route asks for one."""
    if match.ready is None:
        return arrival
    own, within = arrival.key.rpartition("/")[2], match.ready.within_ms
    names = " or ".join(ready_name(name, own) for name in match.ready.names)
    until = waiting_files.deadline(intake.creating.now(), within, intake.creating.lease().until)
    intake.ledger.note_waiting(arrival, match.route, names, until)
    file = ready.let_through(arrival, match.ready.names, intake.waiting)
    return file or WaitingFile(arrival, match.route, within, match.ready.names, match.owner)


def _checked(
    arrival: Arrival, match: Match, intake: IntakePorts
) -> tuple[Arrival, Mapping[str, Any]]:
    """As `Checks.checked`. But a version that was overwritten is not looked at where versions have
    an order: that tells whether it is too late, which is no fault.
    """
    try:
        return intake.checks.checked(arrival, match)
    except ObjectGone:
        if match.on_new_version is OnNewVersion.APPEND:
            raise
    unseen = replace(match, demands=replace(match.demands, look_inside=False))
    return intake.checks.checked(arrival, unseen)


def _wait(
    arrival: Arrival, match: Match, batching: WaitsForMarker, intake: IntakePorts
) -> WaitingFile | Skipped:
    if arrival.size == 0:  # of an empty partition
        return NOT_DATA
    now, end = intake.creating.now(), intake.creating.lease().until
    until = waiting_files.deadline(now, batching.within_ms, end)
    intake.ledger.note_waiting(arrival, match.route, f"the marker {batching.marker}", until)
    return WaitingFile(arrival, match.route, batching.within_ms, owner=match.owner)


def order_of(
    arrival: Arrival, options: Mapping[str, Any], match: Match, intake: IntakePorts
) -> Order:
    """The order of one arrival. Raises Rejected or TryAgain."""
    if match.compiled_map == NOT_COMPILED:
        raise RoutesUnavailable(
            f"the map of route `{match.route}` was not compiled: publish the table with "
            "`aep-intake routes publish`"
        )
    target = intake.targets.target(
        credential=credential_arn(match.credential, intake.targets.credentials),
        sandbox=match.sandbox,
        dataset_id=match.dataset_id,
        dataset_name=match.dataset_name,
    )
    dataset = intake.targets.open_dataset(target)
    lineage = None
    if match.on_new_version is not OnNewVersion.APPEND:
        first_only = match.on_new_version is OnNewVersion.IGNORE
        folder = match.batching.folder if isinstance(match.batching, IsMarker) else None
        lineage = lineage_of(arrival, folder, target, first_only=first_only)
    source_format = options.get("inputFormat") if intake.creating.delivers else None
    if source_format is not None:
        options = {**options, "inputFormat": of_batch(source_format, match)}
    return Order(
        external_id=arrival.external_id,
        target=target,
        options=options,
        files=(arrival,),
        route=match.route,
        routes_version=match.version,
        owner=match.owner,
        counts_rows=match.counts_rows,
        lineage=lineage,
        profile=dataset is not None and dataset.profile,
        lookup=match.is_lookup(target.dataset_id),
        whole=match.whole,
        demands=match.demands,
        split_batches=match.split_batches if intake.creating.delivers else 0,
        source_format=None if source_format == options.get("inputFormat") else source_format,
        compiled_map=match.compiled_map,
    )


def too_old(arrival: Arrival) -> TooOld:
    return TooOld(
        f"{arrival.uri} arrived longer ago than the ledger remembers, so it may have a batch "
        "already. If it has none, send it again by a copy onto itself: aws s3 cp "
        f"{arrival.uri} {arrival.uri} --metadata-directive REPLACE (give --content-type and "
        "--metadata again, if you need them)"
    )
