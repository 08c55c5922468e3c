"""Gathers the folder of a success marker."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import batched, islice
from typing import Any

from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.resolve import Marker, order_of, too_old
from aep_intake.arrivals.results import Gathered, Known, Result, Skipped
from aep_intake.create import lineage
from aep_intake.grouping import filling, markers, windows
from aep_intake.grouping.waiting_files import folder_of, release
from aep_intake.grouping.windows import PAGE
from aep_intake.model.errors import (
    AlreadyClaimed,
    FormatUnknown,
    LeaseLost,
    NoFiles,
    ObjectArchived,
    Rejected,
)
from aep_intake.model.files import Archived, Arrival, digest
from aep_intake.model.orders import Order
from aep_intake.model.outcomes import SideBySide, caught
from aep_intake.model.progress import Rejection
from aep_intake.model.windows import Window, WindowStage, marker_id
from aep_intake.routing.checks import of_batch
from aep_intake.routing.table import OnNewVersion


def too_late(arrival: Arrival, order: Order, intake: IntakePorts) -> Skipped:
    """Note that a newer version was ordered before, or that the route wants the first one only."""
    why = "not-the-first" if order.lineage and order.lineage.first_only else "not-the-newest"
    intake.ledger.note(arrival, why, order.route or "")
    return Skipped(why)


def gather(marker: Marker, intake: IntakePorts, side_by_side: SideBySide) -> Result:
    """Let the files of a marker's folder join a window of their own, and share batches.

    Raises Rejected (announced) or TryAgain; the next worker continues.
    """
    window_id = marker_id(marker.arrival)
    window = intake.windows.ledger.get(window_id)
    if window is None:
        return _start(marker, intake, side_by_side)
    if window.stage is WindowStage.OPEN:
        files = _Folder(marker, intake, side_by_side, window.reached)
        try:
            options = files.options_like(window.order.options)
            filling.take_over(window, intake.creating.lease().until, options, intake.windows)
            filling.fill(window, marker.arrival, files, intake.windows)
        except Rejected as rejected:  # half of a folder gets no batch
            reject_arrival(marker.arrival, rejected, intake)
            raise
        files.remember()
    windows.close_now(window_id, intake.windows)
    release(folder_of(marker.arrival), intake.waiting)  # a worker may have died before
    return Known(window_id)


def _start(marker: Marker, intake: IntakePorts, side_by_side: SideBySide) -> Result:
    arrival, match = marker.arrival, marker.match
    owner = intake.ledger.claimant(arrival)
    if owner == marker_id(arrival):
        raise LeaseLost("another worker just started it", external_id=arrival.external_id)
    if owner is not None:
        return Known(owner)
    folder = _Folder(marker, intake, side_by_side)
    try:
        options = folder.whole()
        pattern = order_of(arrival, options, match, intake)
        window = Window.of(arrival, pattern, intake.creating.now())
        window = replace(window, until=intake.creating.lease().until)
        first = replace(window.order, external_id=window.part_id(0))
        placed = lineage.placed(first, intake.ledger)
        if placed is None:
            if match.on_new_version is OnNewVersion.IGNORE:  # no marker will take these files
                for page in batched(folder, PAGE, strict=False):
                    list(side_by_side(lambda file: too_late(file, pattern, intake), page))
            return too_late(arrival, pattern, intake)
        window = window.behind(placed)
        filling.fill(window, arrival, folder, intake.windows)
    except AlreadyClaimed as conflict:
        folder.remember()
        intake.ledger.note(arrival, "nothing-new", match.route)
        return Known(next(iter(conflict.claimed.values())))
    except NoFiles as rejected:
        folder.remember()
        if not folder.knows_old_files:
            reject_arrival(arrival, rejected, intake)
            raise
        intake.ledger.note(arrival, "nothing-new", match.route)
        return Skipped("nothing-new")
    except Rejected as rejected:
        reject_arrival(arrival, rejected, intake)
        raise
    folder.remember()
    return Gathered(window.window_id, folder.taken)


class _Folder:
    """The files of a marker's folder that AEP can take, after a key.

    Each iteration lists the folder again, unless it fits into a page. Raises FormatUnknown if two
    files have different formats. `taken`: the number of files in the last iteration.

    Of files that are older than what the ledger remembers, it asks what was delivered: an earlier
    marker took or rejected whatever was in the folder then. The others are told once, as too old;
    but if a backfill brings the marker, it brings what was there before it.
    `knows_old_files`: whether some were left out as known.
    """

    def __init__(
        self, marker: Marker, intake: IntakePorts, side_by_side: SideBySide, after: str = ""
    ) -> None:
        self._marker, self._intake, self._side_by_side = marker, intake, side_by_side
        self._after = after
        self._kept: dict[Arrival, Mapping[str, Any]] | None = None
        self.taken = 0
        self.knows_old_files = False
        self._folders = {folder_of(marker.arrival)}  # of its files, as far as they were listed

    def remember(self) -> None:
        """Store that all files which are as old as the marker were taken, or told of.

        What was parked without a marker ends if it is of these files.
        """
        if self._knows_others:
            self._intake.ledger.note_marker_time(self._place, self._marker.arrival.time)
        waiting = self._intake.waiting
        list(self._side_by_side(lambda folder_id: release(folder_id, waiting), self._folders))

    @property
    def _is_append(self) -> bool:
        return self._marker.match.on_new_version is not OnNewVersion.REPLACE

    @property
    def _knows_others(self) -> bool:
        """Whether an earlier marker says what became of files; a manifest says it of its own."""
        marker = self._marker
        return self._is_append and not markers.is_manifest(marker.arrival, marker.match)

    @property
    def _place(self) -> str:
        """The name of the folder, for its route."""
        arrival = self._marker.arrival
        folder = arrival.key[: arrival.key.rfind("/") + 1]
        return digest("marked", arrival.bucket, folder, self._marker.match.route)

    @cached_property
    def _marked(self) -> int:
        """When (epoch ms) the newest marker came that was worked on before; 0: none is known."""
        return self._intake.ledger.newest_marker_time(self._place) if self._knows_others else 0

    def _remembered(self, files: tuple[Arrival, ...]) -> tuple[Arrival, ...]:
        """The files that are young enough for the ledger to know their batches."""
        old = {file for file in files if self._intake.forgotten(file.time)}
        unknown = [file for file in files if file in old and file.time > self._marked]
        owners = self._intake.ledger.claimants(unknown)
        free = [file for file in unknown if file not in owners]
        marker = self._marker.arrival
        brought = {file for file in free if marker.aged and file.time <= marker.time}
        told = {file: too_old(file) for file in free if file not in brought}
        _reject_all(told, self._intake, self._side_by_side)
        self.knows_old_files |= len(free) < len(old)
        return tuple(file for file in files if file not in old or file in brought)

    def whole(self) -> Mapping[str, Any]:
        """The options of its files, after a check that a manifest's files exist.

        Raises NoFiles, MalformedManifest, FormatUnknown, or as `Checks.options`.
        """
        options = self.options()
        if options is None:
            uri = self._marker.arrival.uri
            raise NoFiles(f"AEP can take no file in the folder of {uri}: each was rejected")
        if self._kept is None:
            for _ in self._listed():  # before anything is claimed
                pass
        return options

    def options(self) -> Mapping[str, Any] | None:
        """The options of the first file that AEP can take; None if there is none."""
        listed = self._listed()
        first = tuple(islice(listed, PAGE))
        taken = self._checked(first)
        if len(first) < PAGE:
            self._kept = taken
        while not taken and (some := tuple(islice(listed, PAGE))):
            taken = self._checked(some)
        return next(iter(taken.values()), None)

    def options_like(self, known: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """As `options`, once files with the options `known` have joined.

        Raises FormatUnknown if the formats differ, unless the route now gives another one.
        """
        options, match = self.options(), self._marker.match
        given = "inputFormat" in match.options and not match.demands.look_inside
        if options is not None and not given and self._goes_up(options) != known["inputFormat"]:
            raise self._mixed()
        return options

    def _goes_up(self, options: Mapping[str, Any]) -> Any:
        """The format of a batch of files with these options."""
        delivers = self._intake.creating.delivers
        found = options["inputFormat"]
        return of_batch(found, self._marker.match) if delivers else found

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
        for some in batched(self._listed(), PAGE, strict=False):
            yield self._checked(some)

    def _listed(self) -> Iterator[Arrival | Archived]:
        arrival, match, table = self._marker.arrival, self._marker.match, self._marker.table
        return markers.members(arrival, match, table, self._intake.objects, self._after)

    def _checked(self, listed: tuple[Arrival | Archived, ...]) -> dict[Arrival, Mapping[str, Any]]:
        """The options of each file that AEP can take; rejects the others."""
        intake, match = self._intake, self._marker.match
        archived = {found.file for found in listed if isinstance(found, Archived)}
        files = tuple(found.file if isinstance(found, Archived) else found for found in listed)
        self._folders.update(map(folder_of, files))
        if self._is_append:
            files = self._remembered(files)

        def check(file: Arrival) -> Mapping[str, Any]:
            # A file that got a batch before it was archived is no fault.
            if file in archived and intake.ledger.claimant(file) is None:
                raise _archived(file, self._marker.arrival)
            return intake.checks.options(file, match)

        checked = self._side_by_side(lambda file: caught(check, file), files)
        taken: dict[Arrival, Mapping[str, Any]] = {}
        rejected: dict[Arrival, Rejected] = {}
        for file, options in zip(files, checked, strict=True):
            if isinstance(options, Rejected):
                rejected[file] = options
            elif isinstance(options, Exception):
                raise options
            else:
                taken[file] = options
        _reject_all(self._unclaimed(rejected), intake, self._side_by_side)
        return taken

    def _unclaimed(self, rejected: dict[Arrival, Rejected]) -> dict[Arrival, Rejected]:
        """Without files that have a batch already, unless a new one, without them, replaces it."""
        if not self._is_append:
            return rejected
        owners = self._side_by_side(self._intake.ledger.claimant, rejected)
        free = zip(rejected.items(), owners, strict=True)
        return {file: why for (file, why), owner in free if owner is None}


def _archived(file: Arrival, marker: Arrival) -> ObjectArchived:
    return ObjectArchived(
        f"{file.uri} is in an archive of S3's: restore it, and then write the marker {marker.uri} "
        "again (a copy onto itself is the same bytes): it takes the files that have no batch"
    )


def _reject_all(
    files: Mapping[Arrival, Rejected], intake: IntakePorts, side_by_side: SideBySide
) -> None:
    list(side_by_side(lambda file: reject_arrival(file, files[file], intake), files))


def reject_arrival(arrival: Arrival, rejected: Rejected, intake: IntakePorts) -> None:
    """Record and announce that an arrival is rejected before it has an order."""
    rejected.external_id = arrival.external_id
    table = intake.table()
    if found := table.find(arrival.bucket, arrival.key):
        rejected.route, rejected.routes_version = found[0].name, table.version
        rejected.owner = found[0].written.get("owner")
    rejection = Rejection.of(rejected, intake.creating.now())
    intake.ledger.reject(arrival, rejection)
    intake.announcer.arrival_rejected(arrival.external_id, (arrival,), rejection)
