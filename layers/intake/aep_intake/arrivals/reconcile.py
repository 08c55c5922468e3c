"""Compares the buckets with the ledger, and the ledger with Catalog; mends what surely is lost.

An event may never come, a record may be deleted, a batch may be made of which the ledger does not
know. So all present versions of objects are listed, page by page, and the ledger is asked about
each; then Catalog is asked for the batches with our tag:

    a version of which the ledger has never heard   is sent to the workers, like an arrival; if an
                                                    earlier message of it may still live, it is told
    a claim without its order, an order without     are told, for a person to judge
      its delivery, a batch without its order

What is younger than an hour may still come by itself. What is older than the ledger's memory, less
a day, or than the connection of its bucket, nobody can judge.

Where S3 writes inventories of a bucket for us, the newest is read in place of a listing. A bucket
is compared by the inventory with which that began: its places mean nothing in another one. Where it
cannot be used, the bucket is listed, from the start: nothing of it counts twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Protocol

from aep_intake.arrivals.listings import BucketListing
from aep_intake.create.attempts import attempts
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import InventoryUnusable
from aep_intake.model.files import RECONCILE_PREFIX, Arrival
from aep_intake.model.history import NOBODY, Seen
from aep_intake.model.ledgers import ObjectHistory, Records
from aep_intake.model.orders import TAG, WINDOW_PREFIX, LedgerIdentity, tag_value
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.progress import State
from aep_intake.model.records import Kept
from aep_intake.model.times import DAY_MS, HOUR_MS
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window, WindowStage

RETENTION_MIN = 22 * DAY_MS  # the least that a stack may have
# Findings that are named; the rest is counted. Of the worst keys, these still fit into an item.
NAMED_MAX = 50
JUDGED_MAX = 50_000  # owners that a worker remembers


class FindingKind(StrEnum):
    """What is wrong, and what became of it."""

    NEVER_CAME = "never-came"  # an object without an event: it was sent to the workers
    SENT = "sent-before"  # an earlier comparison sent it, and the ledger still knows nothing of it
    NO_ORDER = "no-order"  # an order or a window that claims an object is not there
    NOT_DELIVERED = "not-delivered"  # a batch was announced, and nobody delivers it
    UNUSABLE = "inventory-unusable"  # it is no good, or too old, so the bucket was listed
    UNKNOWN_BATCH = "unknown-batch"  # AEP has a batch of this ledger, of which that does not know


@dataclass(frozen=True, slots=True)
class Finding(Kept):
    """One thing that is wrong. `about`: a URI, an order or window, a batch."""

    found: FindingKind
    about: str


@dataclass(frozen=True, slots=True)
class CountedBefore(Kept):
    """What a comparison had counted before a bucket."""

    looked_at: int = 0
    told: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    named: int = 0  # so many of its findings


@dataclass(frozen=True, slots=True)
class Comparison(Kept):
    """One comparison, and how far it came. Times in epoch milliseconds."""

    began: int
    since: int  # it looks at versions that were written since then
    until: int  # and before that
    batches_since: int  # at batches that were made since then, until `until`
    buckets: tuple[str, ...]  # those that are left; the first is being looked at
    reached: str = ""  # the place in its listing up to which it was
    # URI of the inventory that is read in place of a listing; empty: none; None: not chosen yet.
    inventory: str | None = None
    ended: int | None = None
    revision: int = 1
    # Since when a bucket is looked at of which nobody says since when it is connected.
    first_seen: Mapping[str, int] = field(default_factory=dict)
    looked_at: int = 0
    retention: int = 0  # of the ledger then, in milliseconds
    told: Mapping[str, int] = field(default_factory=dict)  # versions without a batch, by their fate
    found: Mapping[str, int] = field(default_factory=dict)  # by kind
    named: tuple[Finding, ...] = ()
    before: CountedBefore | None = None  # where an inventory of the first of its buckets is read

    @classmethod
    def begin(
        cls,
        now: int,
        retention: int,
        buckets: Iterable[str],
        before: "Comparison | None" = None,
        identity: LedgerIdentity | None = None,
    ) -> "Comparison":
        """A new one. `before`, `identity` and `retention`: see `remembered_since`."""
        until = now - HOUR_MS
        several = tuple(buckets)
        seen = {} if before is None else before.first_seen
        return cls(
            began=now,
            since=remembered_since(now, retention, before, identity) + DAY_MS,
            until=until,
            batches_since=until - DAY_MS
            if before is None
            else max(before.until, until - 7 * DAY_MS),
            buckets=several,
            first_seen={bucket: seen.get(bucket, now) for bucket in several},
            retention=retention,
        )

    def of_times(self, since: int, until: int) -> "Comparison":
        """The same, of what was written and made in a shorter time."""
        since, until = max(since, self.since), min(until, self.until)
        return replace(self, since=since, until=until, batches_since=since)

    def then(
        self, told: Mapping[str, int] | None = None, findings: Sequence[Finding] = ()
    ) -> "Comparison":
        """After a step that told and found these."""
        kinds = Counter(self.found) + Counter(str(each.found) for each in findings)
        return replace(
            self,
            revision=self.revision + 1,
            told=dict(Counter(self.told) + Counter(told or {})),
            found=dict(kinds),
            named=(*self.named, *findings)[:NAMED_MAX],
        )

    def by_inventory(self, uri: str | None) -> "Comparison":
        """The same, before its first bucket, which is compared by that inventory; None: listed."""
        return replace(self, inventory=uri, before=self._counted if uri else None)

    def by_listing(self) -> "Comparison":
        """The same, with its first bucket anew, by a listing: what was counted of it is undone."""
        was = self.before or self._counted
        return replace(
            self,
            reached="",
            inventory="",
            looked_at=was.looked_at,
            told=was.told,
            found=was.found,
            named=self.named[: was.named],
            before=None,
        )

    @property
    def _counted(self) -> CountedBefore:
        return CountedBefore(self.looked_at, self.told, self.found, len(self.named))


def remembered_since(
    now: int, retention: int, last: Comparison | None, identity: LedgerIdentity | None
) -> int:
    """Since when (epoch ms) the ledger surely knows whatever came.

    `last`: the last comparison. `identity`: of the ledger; None if no batch was made yet. Where
    `retention` (milliseconds) became longer, what the shorter one let go is gone all the same: it
    would be taken for what never came, and loaded a second time.
    """
    if last is None:  # nobody knows how short it was
        forgets = identity is not None and identity.made_at < now - RETENTION_MIN
        return now - (min(retention, RETENTION_MIN) if forgets else retention)
    # A release before did not say what it was.
    then = last.retention or last.began - last.since + DAY_MS
    return max(last.since - DAY_MS, now - min(retention, then))


class ComparedLedger(Records, ObjectHistory, Protocol):
    """The ledger. Every method raises LedgerUnavailable."""

    def owners(self, files: Sequence[Arrival]) -> dict[Arrival, str]:
        """The order or window that claims each of the files, as far as they are claimed."""

    def window(self, window_id: str) -> Window | None:
        """The current window."""

    def undelivered(self, external_ids: Sequence[str]) -> list[str]:
        """Those orders that have no delivery."""

    def sent_before(self, files: Sequence[Arrival], began: int) -> set[Arrival]:
        """Those whose messages, of another comparison than that of then, may still live."""

    def note_sent(self, files: Sequence[Arrival], began: int) -> None:
        """Note that the comparison which began then (epoch ms) sent these."""

    def replace(self, old: Comparison, new: Comparison) -> Comparison:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""


@dataclass(frozen=True, slots=True)
class ReconcilePorts:
    """What a comparison needs of the world."""

    ledger: ComparedLedger
    # URI of the newest inventory of a bucket that was made since then (epoch ms), if there is one.
    # Raises StorageUnavailable, and InventoryUnusable if there should be a newer one.
    inventory: Callable[[str, int], str | None]
    # A bucket, by an inventory if its URI is not empty. Both raise StorageUnavailable; this one and
    # its pages also raise InventoryUnusable.
    listing: Callable[[str, str], BucketListing]
    wanted: Callable[[Arrival], bool]  # whether the routes take it, and the comparison is about it
    connected: Mapping[str, int]  # since when (epoch ms), by bucket
    send: Callable[[list[Arrival]], None]  # to the workers that take them in
    sandboxes: Callable[[], Iterable[Target]]  # of organizations; their dataset is empty
    # Batches with a tag like ours, by the times (epoch ms) they were made. Raises TryAgain.
    batches: Callable[[Target, int, int], Iterable[Batch]]
    ledger_id: Callable[[], str]
    delivers: bool  # whether this stack delivers batches
    now: Callable[[], int]  # epoch ms
    side_by_side: SideBySide = map


def reconcile(comparison: Comparison, ports: ReconcilePorts) -> Iterator[Comparison]:
    """Go on with a comparison to its end, step by step; it may be stopped at any of them.

    Raises LeaseLost if somebody else goes on with it, and as the ports.
    """
    judge = _Judge(ports)
    while comparison.buckets:
        try:
            for step in _bucket(comparison, judge, ports):
                comparison = step
                yield comparison
        except InventoryUnusable as why:
            unusable = Finding(FindingKind.UNUSABLE, why.detail)
            after = comparison.by_listing().then(findings=[unusable])
            comparison = ports.ledger.replace(comparison, after)
    while comparison.batches_since < comparison.until:
        end = min(comparison.batches_since + HOUR_MS, comparison.until)
        findings = [
            finding
            for sandbox in ports.sandboxes()
            for batch in ports.batches(sandbox, comparison.batches_since, end)
            if (finding := judge.batch(batch)) is not None
        ]
        after = replace(comparison.then(findings=findings), batches_since=end)
        comparison = ports.ledger.replace(comparison, after)
        yield comparison
    yield ports.ledger.replace(comparison, replace(comparison.then(), ended=ports.now()))


def _bucket(comparison: Comparison, judge: "_Judge", ports: ReconcilePorts) -> Iterator[Comparison]:
    """Go on with the first of a comparison's buckets, page by page, to its end."""
    bucket, *others = comparison.buckets
    since = max(comparison.since, ports.connected.get(bucket, comparison.first_seen[bucket]))
    if comparison.inventory is None and not comparison.reached:
        comparison = comparison.by_inventory(ports.inventory(bucket, since))
    listing = ports.listing(bucket, comparison.inventory or "")
    until = comparison.until if listing.made is None else min(comparison.until, listing.made)
    for page in listing.pages(comparison.reached):
        files = [each for each in page.found if isinstance(each, Arrival)]
        young = [file for file in files if since <= file.time < until]
        wanted = [file for file in young if ports.wanted(file)]
        told, findings = judge.files(wanted, comparison)
        looked_at = comparison.looked_at + len(wanted)
        after = replace(comparison.then(told, findings), reached=page.reached, looked_at=looked_at)
        comparison = ports.ledger.replace(comparison, after)
        yield comparison
    done = comparison.by_inventory(None).then()
    yield ports.ledger.replace(comparison, replace(done, buckets=tuple(others), reached=""))


class _Judge:
    """Judges files and batches; each order and window once."""

    def __init__(self, ports: ReconcilePorts) -> None:
        self._ports = ports
        self._judged: set[str] = set()  # orders and windows

    def files(
        self, files: Sequence[Arrival], comparison: Comparison
    ) -> tuple[Counter[str], list[Finding]]:
        """The fates of those that nobody claims, and what is wrong. Sends what never came."""
        found = self._ports.ledger.owners(files)
        owners = {file: owner for file, owner in found.items() if owner != NOBODY}
        free = [file for file in files if file not in owners]
        seen = self._ports.side_by_side(lambda f: self._ports.ledger.seen(f.object_id), free)
        fates = {file: _fate(file, known) for file, known in zip(free, seen, strict=True)}
        lost = [file for file, fate in fates.items() if fate is None]
        # A message on which each worker dies comes to no end that the ledger would know.
        sent = self._ports.ledger.sent_before(lost, comparison.began)
        findings = [Finding(FindingKind.SENT, file.uri) for file in lost if file in sent]
        lost = [file for file in lost if file not in sent]
        name = f"{RECONCILE_PREFIX}{comparison.began}"
        self._ports.send([replace(file, brought_by=name) for file in lost])
        self._ports.ledger.note_sent(lost, comparison.began)
        findings += [Finding(FindingKind.NEVER_CAME, file.uri) for file in lost]
        findings += self._owners(dict.fromkeys(owners.values()))
        return Counter(fate for fate in fates.values() if fate is not None), findings

    def batch(self, batch: Batch) -> Finding | None:
        """What is wrong with a batch that may be one of ours."""
        external_id = batch.external_id
        if external_id is None or batch.holds_none:
            return None
        tag = batch.tags.get(TAG, [])
        ours = tag_value(self._ports.ledger_id(), external_id)
        if ours not in (tag if isinstance(tag, list) else [tag]):
            return None
        record = self._ports.ledger.get(external_id)
        if record is not None and record.batch_id == batch.id:
            return None
        return Finding(FindingKind.UNKNOWN_BATCH, f"{batch.id} ({external_id}, {batch.status})")

    def _owners(self, owners: Iterable[str]) -> Iterator[Finding]:
        new = [owner for owner in owners if owner not in self._judged]
        if len(self._judged) > JUDGED_MAX:
            self._judged.clear()
        self._judged.update(new)
        orders = [owner for owner in new if not owner.startswith(WINDOW_PREFIX)]
        for owner in new:
            if owner.startswith(WINDOW_PREFIX):
                window = self._ports.ledger.window(owner)
                if window is None:
                    yield Finding(FindingKind.NO_ORDER, owner)
                elif window.stage is WindowStage.FINISHED:
                    orders += [window.part_id(number) for number in range(len(window.parts))]
        for external_id in self._ports.ledger.undelivered(orders):
            yield from self._order(external_id)

    def _order(self, external_id: str) -> Iterator[Finding]:
        """What is wrong with an order that has no delivery."""
        known = list(attempts(external_id, self._ports.ledger))
        if not known:
            yield Finding(FindingKind.NO_ORDER, external_id)
        for record in known:
            last = record.next_attempt is None and record.split_into is None
            # What was announced while others delivered is theirs for ever.
            ours = record.delivers is not False and record.batch_id is not None
            told = record.state is State.ANNOUNCED and ours
            name = record.order.external_id
            if self._ports.delivers and last and told and self._ports.ledger.undelivered([name]):
                yield Finding(FindingKind.NOT_DELIVERED, f"{record.batch_id} ({name})")


def _fate(file: Arrival, seen: Iterable[Seen]) -> str | None:
    """What became of a version that no order or window claims; None if nobody has heard of it.

    S3 lists no sequencer, so of an object without version ids its bytes say which version it is.
    """
    ours = [
        item
        for item in seen
        if item.version == file.version
        or (file.version_id is None and item.version.startswith(f"e:{file.etag}:"))
    ]
    if not ours:
        return None
    last = max(ours, key=lambda item: item.expires)
    if last.rejection is not None:
        return last.rejection.reason
    return "discarded" if last.discarded is not None else last.noted or "claimed"
