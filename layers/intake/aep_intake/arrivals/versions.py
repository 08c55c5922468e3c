"""Which versions of an object are loaded or under way.

That decides about two kinds of late comers. An object that somebody copied onto itself: that is how
a bucket is encrypted anew, or metadata corrected, and a hundred thousand objects would be loaded a
second time. S3 says `CopyObject`, and not of what; but if the copy has the ETag of the newest
version of its own key that is loaded or under way, the dataset has its rows. Whatever was written
anew is a new version, even with bytes that came before. And a file that is redriven: by then a
newer version may have overtaken it.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import batched

from aep_intake.arrivals.ports import IntakePorts, VersionPorts
from aep_intake.create.attempts import half_with, latest
from aep_intake.model.batches import Target
from aep_intake.model.errors import NotYet, Overtaken
from aep_intake.model.files import Arrival
from aep_intake.model.history import CountedVersion, Seen
from aep_intake.model.orders import WINDOW_PREFIX
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.progress import Record, State
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window, WindowStage, marker_id

PAGE = 100  # files that are asked about side by side, before the answers are judged


@dataclass(frozen=True, slots=True)
class Live:
    """What a version is loaded by, or will be if all goes well: an order, or an open window."""

    external_id: str
    target: Target
    batch_id: str | None = None


class LiveVersions:
    """Finds what versions are loaded by; asks for each order and each window once.

    `asks_catalog`: what became of a batch that nobody here has followed.
    """

    def __init__(self, ports: VersionPorts, *, asks_catalog: bool = False) -> None:
        self._ports = ports
        self._asks_catalog = asks_catalog
        self._known: dict[str, Record | None] = {}
        self._lives: dict[str, bool] = {}
        self._windows: dict[str, Window | None] = {}

    def by(self, held: CountedVersion) -> Live | None:
        """What a version is loaded by, or under way. Raises TryAgain.

        Of a marker: the first of its parts that is.
        """
        if not held.owner.startswith(WINDOW_PREFIX):
            return self._order(held.owner, held.file)
        if held.owner not in self._windows:
            self._windows[held.owner] = self._ports.window(held.owner)
        window = self._windows[held.owner]
        if window is None:
            return None
        if window.stage is not WindowStage.FINISHED:
            return Live(held.owner, window.order.target)
        parts = [window.part_id(number) for number in range(len(window.parts))]
        if marker_id(held.file) == window.window_id:
            return next(filter(None, map(self._order, parts)), None)
        if len(parts) > 1 and any(map(self._order, parts)):
            file = held.file
            at = self._ports.part_of(window, file.bucket, file.key, held.in_batch)
            parts = parts if at is None else [parts[at]]
        return next(filter(None, (self._order(part, held.file) for part in parts)), None)

    def _order(self, external_id: str, file: Arrival | None = None) -> Live | None:
        """What an order is loaded by; of one that was split, the half with a file, or any."""
        if external_id not in self._known:
            ledger = self._ports.ledger
            self._known[external_id] = latest(ledger.get(external_id), ledger)
        record = self._known[external_id]
        if record is None or record.split_into is None:
            return self._live(record)
        if file is None:
            return next(filter(None, map(self._order, record.split_into)), None)
        return self._live(half_with(record, file.bucket, file.key, self._ports.ledger))

    def _live(self, record: Record | None) -> Live | None:
        if record is None or record.replaced_by is not None:
            return None
        external_id = record.order.external_id
        refused = record.state is State.REFUSED
        if refused and (record.order.excerpt is not None or record.discarded is not None):
            return None  # a part of a window begins again only if somebody redrives it
        if refused and not record.keeps_claims:
            raise NotYet(
                f"{external_id}, which had another version of this object, is refused just now, "
                "and lets it go: this one is tried again by itself, once that is told",
                external_id=external_id,
            )
        if external_id not in self._lives:
            self._lives[external_id] = not self._ended_without_data(record)
        if not self._lives[external_id]:
            return None
        return Live(external_id, record.order.target, record.batch_id)

    def _ended_without_data(self, record: Record) -> bool:
        if record.state is not State.ANNOUNCED or record.batch_id is None:
            return False
        if self._ports.ended_without_data(record.order.external_id):
            return True
        if not self._asks_catalog:
            return False
        batch = self._ports.batch(record.order.target, record.batch_id)
        return batch is not None and (batch.holds_none or batch.reverted)


def unless_same_bytes(copy: Arrival, intake: IntakePorts) -> Arrival | None:
    """A copy that is to be loaded; None if its bytes are loaded or under way.

    Then their owner claims the copy, too, so that the next marker of its folder does not take it.
    If nothing is known yet of the version that it copies, it stands for that: whichever of the two
    claims that first, the other one is told. Raises LedgerUnavailable, StorageUnavailable, and
    NotYet while what it copies is refused.
    """
    known, versions = intake.ledger.seen_and_counted(copy.object_id)
    if any(held.file.version == copy.version for held in versions):
        told = any(held.file.version == copy.version != held.in_batch for held in versions)
        return None if told else copy
    listed = intake.objects.before(copy)
    original = listed[0] if listed and listed[0].etag == copy.etag else None
    if original is not None and original.version not in {s.version for s in known if s.claimed}:
        copy = replace(copy, copy_of=original.version_id)  # unless older bytes are the same
    return _unless_loaded(copy, known, versions, listed, intake)


def _unless_loaded(
    copy: Arrival,
    known: list[Seen],
    versions: list[CountedVersion],
    listed: list[Arrival],
    intake: IntakePorts,
) -> Arrival | None:
    """The copy, or None, by what the ledger knows of its object, and S3 lists before it."""
    # What waits, or is tried again, is like what nobody knows yet.
    judged = {seen.version for seen in known if seen.rejection or seen.until is None}
    counted = {held.file.version: held for held in versions}
    live = LiveVersions(intake.versions)
    for version in listed:
        held, same = counted.pop(version.version, None), version.etag == copy.etag
        if held is not None and live.by(held) is not None:
            return None if same and intake.ledger.claim_copy(copy, held) else copy
        if not same and version.version not in judged:
            return copy
    # Of what S3 does not list, or not any more, the ledger knows which came before.
    before = _newest_first(held for held in counted.values() if _is_before(held.file, copy))
    if copy.etag in {held.file.etag for held in before}:
        newest = next((held for held in before if live.by(held) is not None), None)
        if newest and newest.file.etag == copy.etag and intake.ledger.claim_copy(copy, newest):
            return None
    return copy


def check_not_overtaken(
    files: Iterable[Arrival], target: Target, ports: VersionPorts, side_by_side: SideBySide
) -> None:
    """One consistent query a file: whether its rows would come too late, or twice, to a dataset.

    Raises Overtaken for the first file of which a newer version, or the same bytes, are there or
    under way; TryAgain.
    """
    live = LiveVersions(ports, asks_catalog=True)
    for page in batched(files, PAGE, strict=False):
        found = side_by_side(lambda file: _overtaken(file, target, live, ports), page)
        for why in filter(None, found):
            raise why


def _overtaken(
    file: Arrival, target: Target, live: LiveVersions, ports: VersionPorts
) -> Overtaken | None:
    versions = ports.ledger.counted_versions(file.object_id)
    # A marker's list has no sequencers, but the ledger has.
    ours = next((one.file for one in versions if one.file.version == file.version), file)
    for held in _newest_first(one for one in versions if one.in_batch != file.version):
        by = live.by(held)
        if by is None or by.target.dataset != target.dataset:
            continue
        newer = not _is_before(held.file, ours)
        if not newer and held.file.etag != file.etag:
            return None  # the newest of those that are there before it has other rows
        what = "a newer version" if newer else "a version with the same bytes"
        batch = "no batch yet" if by.batch_id is None else f"batch {by.batch_id}"
        return Overtaken(
            f"{file.uri!r}: {what} ({held.file.version}) is loaded or under way, by "
            f"{by.external_id} ({batch}): its rows would be there twice. Discard it; or, "
            "if both versions belong into the dataset, say so (redrive --even-if-overtaken, or "
            "evenIfOvertaken in a request)"
        )
    return None


def _is_before(file: Arrival, other: Arrival) -> bool:
    """Whether a version is not newer than another one of its object, as far as anybody knows."""
    if file.sequencer and other.sequencer:
        return file.position < other.position
    return file.time <= other.time


def _newest_first(versions: Iterable[CountedVersion]) -> list[CountedVersion]:
    """Versions of one object: by S3's sequencer if all have one, else by time."""
    held = list(versions)
    in_sequence = all(one.file.sequencer for one in held)

    def age(one: CountedVersion) -> tuple[int, str]:
        return (0 if in_sequence else one.file.time, one.file.position)

    return sorted(held, key=age, reverse=True)
