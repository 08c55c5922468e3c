"""What is lost is found: an event, a delivery's record, a batch that the ledger does not know."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals import listings
from aep_intake.arrivals.envelopes import parse
from aep_intake.arrivals.listings import BucketListing, Page, by_key
from aep_intake.arrivals.reconcile import (
    Comparison,
    Finding,
    FindingKind,
    ReconcilePorts,
    reconcile,
    remembered_since,
)
from aep_intake.create import lineage
from aep_intake.model import messages, records
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import InventoryUnusable, LeaseLost, NoRoute
from aep_intake.model.files import Archived, Arrival
from aep_intake.model.orders import TAG, LedgerIdentity, Order, WindowPart, tag_value
from aep_intake.model.progress import Record, Rejection
from aep_intake.model.windows import Window

from tests import builders
from tests.builders import TARGET, order
from tests.compared import Compared
from tests.memory_ledger import HandedOver, MemoryLedger

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1000 * DAY
RETENTION = 60 * DAY
FILE = Arrival("landing", "in/a.json", "v1", "e1", None, 10, NOW - 2 * DAY)
EVENT = replace(FILE, sequencer="0061")


class World:
    """A bucket, a ledger and Catalog. `sent`: what a comparison sent to the workers."""

    def __init__(self, *files: Arrival | Archived, buckets: tuple[str, ...] = ("landing",)) -> None:
        self.files, self.sent = list(files), list[Arrival]()
        self.ledger = MemoryLedger()
        self.batches: list[Batch] = []
        self.asked: list[tuple[int, int]] = []
        self.connected = {"landing": NOW - 90 * DAY}
        self.comparison = Comparison.begin(NOW, RETENTION, buckets)
        self.compared = Compared(self.ledger, self.comparison)

    def announced(
        self,
        *files: Arrival,
        delivered: bool = True,
        by_others: bool = False,
        of: Order | None = None,
    ) -> Record:
        wanted = of or order(*files)
        record = self.ledger.open(Record.opened(wanted, builders.lease(NOW), NOW))
        record = self.ledger.replace(record, record.created(builders.batch(NOW)))
        record = self.ledger.replace(record, record.announced(delivers=not by_others))
        if delivered:
            self.ledger.handed_over[record.order.external_id] = HandedOver(NOW)
        return record

    def ports(self, **changes: Any) -> ReconcilePorts:
        return replace(
            ReconcilePorts(
                ledger=self.compared,
                inventory=lambda *_: None,
                listing=self.listing,
                wanted=lambda file: "/no." not in file.key,
                connected=self.connected,
                send=self.sent.extend,
                sandboxes=lambda: [replace(TARGET, dataset_id="")],
                batches=self.made,
                ledger_id=lambda: "the ledger",
                delivers=True,
                now=lambda: NOW,
            ),
            **changes,
        )

    def listing(self, bucket: str, _: str) -> BucketListing:
        return BucketListing(lambda after: by_key(self.listed(bucket, after)))

    def listed(self, bucket: str, after: str) -> Iterator[Arrival | Archived]:
        for each in self.files:
            file = each.file if isinstance(each, Archived) else each
            if file.bucket == bucket and file.key > after:
                yield each

    def made(self, place: Target, since: int, until: int) -> Iterable[Batch]:
        self.asked.append((since, until))
        return [batch for batch in self.batches if since <= batch.created < until]

    def compare(self, **changes: Any) -> Comparison:
        [*_, last] = reconcile(self.compared.kept, self.ports(**changes))
        assert last.ended == NOW
        return last


def test_an_event_that_never_came_is_made_good() -> None:
    world = World(FILE)
    found = world.compare()
    assert found.named == (Finding(FindingKind.NEVER_CAME, FILE.uri),)
    assert world.sent == [FILE]
    [sent] = parse(messages.of_arrival(world.sent[0])).arrivals
    assert (sent.brought_by or "").startswith("reconcile-")
    assert not sent.aged


def test_what_an_earlier_comparison_sent_is_told_and_not_sent_each_day() -> None:
    """A message on which each worker dies: SQS parks it, and the ledger never hears of it."""
    world = World(FILE)
    world.compare()
    world.compared.kept = Comparison.begin(NOW + DAY, RETENTION, ("landing",), world.compared.kept)
    found = world.compare()
    assert found.named == (Finding(FindingKind.SENT, FILE.uri),)
    assert world.sent == [FILE]


def test_a_page_that_is_compared_again_is_sent_again() -> None:
    """Its worker died before the ledger knew how far it was."""
    world = World(FILE)
    for _ in range(2):
        world.compared.kept = world.comparison
        next(reconcile(world.comparison, world.ports()))
    assert world.sent == [FILE, FILE]


def test_a_longer_retention_does_not_bring_back_what_is_forgotten() -> None:
    """Its claims are gone, so it would be loaded a second time."""
    before = Comparison.begin(NOW, 22 * DAY, ("landing",))
    assert before.since == NOW - 21 * DAY
    longer = Comparison.begin(NOW + DAY, 400 * DAY, ("landing",), before)
    assert longer.since == NOW - 20 * DAY
    later = Comparison.begin(NOW + 100 * DAY, 400 * DAY, ("landing",), longer)
    assert later.since == longer.since
    assert Comparison.begin(NOW + 900 * DAY, 400 * DAY, ("landing",), later).since == (
        NOW + 501 * DAY
    )
    shorter = Comparison.begin(NOW + 900 * DAY, 22 * DAY, ("landing",), later)
    assert shorter.since == NOW + 879 * DAY
    of_a_release_before = replace(before, retention=0)  # which did not say its retention
    assert remembered_since(NOW, 60 * DAY, of_a_release_before, None) == NOW - 22 * DAY


@pytest.mark.parametrize(
    ("identity", "days"),
    [
        (None, 60),  # it has made nothing that it could forget
        (LedgerIdentity("l", made_at=NOW - 22 * DAY), 60),  # nor forgotten anything
        (LedgerIdentity("l", made_at=NOW - 22 * DAY - 1), 22),
        (LedgerIdentity("l"), 22),  # of a release before, which did not say
    ],
)
def test_before_any_comparison_nobody_knows_what_a_shorter_retention_let_go(
    identity: LedgerIdentity | None, days: int
) -> None:
    assert remembered_since(NOW, 60 * DAY, None, identity) == NOW - days * DAY
    begun = Comparison.begin(NOW, 60 * DAY, ("landing",), identity=identity)
    assert begun.since == NOW - (days - 1) * DAY


def test_a_delivery_whose_record_is_gone_is_told() -> None:
    world = World(FILE)
    record = world.announced(EVENT, delivered=False)
    name = record.order.external_id
    assert world.compare().named == (
        Finding(FindingKind.NOT_DELIVERED, f"{record.batch_id} ({name})"),
    )
    assert world.sent == []
    world = World(FILE)
    world.announced(EVENT, delivered=False)
    assert world.compare(delivers=False).found == {}
    world = World(FILE)
    world.announced(EVENT, delivered=False, by_others=True)
    assert world.compare().found == {}, "DeliverBatches was false then"


def test_a_batch_of_which_the_ledger_does_not_know_is_told() -> None:
    world = World()
    known = world.announced(EVENT)

    def batch(batch_id: str, external_id: str, ledger: str = "the ledger", **changes: Any) -> Batch:
        tags = {TAG: [tag_value(ledger, external_id)]}
        made = Batch(batch_id, "success", NOW - 2 * HOUR, external_id, ("d",), tags, {})
        return replace(made, **changes)

    world.batches = [
        batch("b-lost", "intake-lost"),
        batch("b-other", known.order.external_id, status="loading"),
        batch("b-alone", known.order.external_id, tags={TAG: tag_value("the ledger", "x")}),
        batch("b-theirs", "intake-theirs", "another ledger"),
        batch("b-aborted", "intake-aborted", status="aborted"),
        batch(known.batch_id or "", known.order.external_id),
        batch("b-young", "intake-young", created=NOW - 1),
    ]
    assert [each.about for each in world.compare().named] == [
        "b-lost (intake-lost, success)",
        f"b-other ({known.order.external_id}, loading)",
    ]
    assert world.asked[0][0] == NOW - 25 * HOUR
    assert world.asked[-1][1] == NOW - HOUR
    following = Comparison.begin(NOW + DAY, RETENTION, ("landing",), world.compared.kept)
    assert following.batches_since == NOW - HOUR


@pytest.mark.parametrize("version", ["v1", None])
def test_what_somebody_discarded_is_nobody_s_fault(version: str | None) -> None:
    world = World(replace(FILE, version_id=version))
    assert world.ledger.discard(replace(EVENT, version_id=version), "by arn:me: a test", 0)
    found = world.compare()
    assert (found.named, found.told, world.sent) == ((), {"discarded": 1}, [])


def test_whatever_is_found_fits_into_an_item() -> None:
    """DynamoDB takes 400 KB, and keys may have 1,024 characters that JSON escapes."""
    world = World(*(replace(FILE, key=f"{n:04}".ljust(1024, "\x01")) for n in range(200)))
    found = world.compare()
    assert found.found == {"never-came": 200}
    assert len(records.text(found).encode()) < 390_000


def test_what_has_a_fate_is_only_told() -> None:
    kinds = ("claimed", "no-route", "waiting", "superseded")
    files = {kind: replace(FILE, key=f"in/{kind}.json") for kind in kinds}
    world = World(*files.values())
    world.announced(replace(files["claimed"], sequencer="0061"))
    why = Rejection.of(NoRoute("no route fits"), NOW)
    world.ledger.reject(replace(files["no-route"], sequencer="0062"), why)
    world.ledger.note_waiting(files["waiting"], "r", "its marker", NOW)
    world.ledger.note_superseded(files["superseded"], "v2", "r")
    found = world.compare()
    assert found.told == {"no-route": 1, "waiting": 1, "superseded": 1}
    assert (found.looked_at, found.found, world.sent) == (4, {}, [])


def test_without_versions_its_bytes_say_which_version_it_is() -> None:
    plain = replace(FILE, version_id=None)
    others = [replace(plain, key=f"in/{name}.json") for name in ("rejected", "claimed", "lost")]
    world = World(*others)
    why = Rejection.of(NoRoute("no route fits"), NOW)
    world.ledger.reject(replace(others[0], sequencer="0061"), why)
    world.announced(replace(others[1], sequencer="0062"))
    world.ledger.reject(replace(others[2], etag="before", sequencer="0063"), why)
    assert world.compare().told == {"no-route": 1}
    assert world.sent == [others[2]]


@pytest.mark.parametrize(
    "file",
    [
        replace(FILE, time=NOW - HOUR + 1),  # its event may still come
        replace(FILE, time=NOW - RETENTION + DAY - 1),  # the ledger may forget it now
        replace(FILE, bucket="other", time=NOW - 31 * DAY),  # older than its connection
        replace(FILE, key="in/no.json"),
        Archived(FILE),
    ],
)
def test_what_nobody_can_judge_is_left_alone(file: Arrival | Archived) -> None:
    world = World(file, buckets=("landing", "other"))
    world.connected["other"] = NOW - 30 * DAY
    assert world.compare().looked_at == 0
    assert world.sent == []


def test_a_bucket_of_which_nobody_knows_is_looked_at_from_then_on() -> None:
    world = World(replace(FILE, time=NOW + 1))
    world.connected.clear()
    world.compare()
    following = Comparison.begin(NOW + DAY, RETENTION, ("landing",), world.compared.kept)
    world.compared.kept = following
    assert following.first_seen == {"landing": NOW}
    assert world.compare().looked_at == 1


def test_it_goes_on_where_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "PAGE", 2)
    files = [replace(FILE, bucket=b, key=f"in/{n}.json") for b in ("a", "b") for n in range(5)]
    for steps in range(1, 12):
        world = World(*files, buckets=("a", "b"))
        world.connected = dict.fromkeys("ab", 0)
        for _, _ in zip(range(steps), reconcile(world.comparison, world.ports()), strict=False):
            pass
        found = world.compare()
        assert sorted(world.sent, key=lambda f: (f.bucket, f.key)) == files
        assert found.found == {"never-came": 10}
        assert (found.looked_at, found.buckets) == (10, ())
        assert records.read(Comparison, records.text(found)) == found


def test_only_one_worker_goes_on_with_it() -> None:
    world = World(FILE)
    world.compared.kept = replace(world.comparison, revision=7)
    with pytest.raises(LeaseLost):
        list(reconcile(world.comparison, world.ports()))


def test_a_claim_without_its_order_is_told_and_so_is_a_part_without_its_delivery() -> None:
    files = [replace(FILE, key=f"in/{n}.json") for n in range(3)]
    world = World(*files)
    lost = world.announced(replace(files[0], sequencer="0061"))
    del world.ledger.records[lost.order.external_id]
    del world.ledger.handed_over[lost.order.external_id]
    window = Window.at(order(), HOUR, NOW)
    sequenced = tuple(replace(file, sequencer="0062") for file in files[1:])
    world.ledger.windows.open(window)
    world.ledger.windows.register(window, sequenced, sequenced)
    part = WindowPart(window.window_id, 0, 2, 20)
    closed = window.sealed(NOW).planned((part,)).finished()
    world.ledger.windows.kept[window.window_id] = closed
    of_part = window.part(part, 0)
    world.announced(of=of_part, delivered=False)
    assert {each.found for each in world.compare().named} == {
        FindingKind.NO_ORDER,
        FindingKind.NOT_DELIVERED,
    }
    assert world.compare().ended  # and again, from its beginning


def test_a_version_that_was_found_takes_its_place_by_its_time() -> None:
    """Its event is lost, and with it S3's sequencer."""
    ledger = MemoryLedger()
    found = replace(FILE, version_id="v2", brought_by="reconcile-1")

    def of(file: Arrival) -> Any:
        of_its_own = lineage.lineage_of(file, None, TARGET, first_only=False)
        return replace(order(file), external_id=file.external_id, lineage=of_its_own)

    alone = lineage.placed(of(found), ledger)
    assert alone is not None
    assert alone.lineage is not None
    assert alone.lineage.position < EVENT.position
    ledger.open(Record.opened(of(EVENT), builders.lease(NOW), NOW))
    behind = lineage.placed(of(replace(found, time=EVENT.time + 1)), ledger)
    assert behind is not None
    assert behind.lineage is not None
    assert EVENT.position < behind.lineage.position < replace(EVENT, sequencer="0062").position
    assert behind.lineage.predecessor == EVENT.external_id
    assert lineage.placed(of(replace(found, time=EVENT.time - 1)), ledger) is None


class Inventories:
    """Of a bucket: a day's inventory each, in no order, a page for each object."""

    def __init__(self, made: int, *files: Arrival) -> None:
        self.made, self.files = made, files
        self.asked: list[tuple[str, int]] = []
        self.read: list[str] = []
        self.broken = False

    def newest(self, bucket: str, since: int) -> str | None:
        self.asked.append((bucket, since))
        return "s3://state/new" if self.made >= since else None

    def listing(self, world: World, uri: str) -> BucketListing:
        self.read.append(uri)
        return BucketListing(self.pages, self.made) if uri else world.listing("landing", "")

    def pages(self, after: str) -> Iterator[Page]:
        for number, file in enumerate(self.files[int(after or 0) :], int(after or 0) + 1):
            yield Page((file,), str(number))
        if self.broken:
            raise InventoryUnusable("s3://state/new lists its objects as Parquet")

    def ports(self, world: World) -> ReconcilePorts:
        return world.ports(inventory=self.newest, listing=lambda _, uri: self.listing(world, uri))


def test_an_inventory_is_read_in_place_of_a_listing_and_gone_on_with() -> None:
    """It says nothing of what followed, and a newer one has other places."""
    files = [replace(FILE, key=f"in/{n}.json", time=NOW - 3 * DAY) for n in (3, 1, 2)]
    made = NOW - 2 * DAY
    for steps in range(5):
        inventories = Inventories(made, *files, replace(FILE, time=made))
        world = World(replace(FILE, key="in/listed.json"))
        going = reconcile(world.comparison, inventories.ports(world))
        for _, _ in zip(range(steps), going, strict=False):
            pass
        stopped = world.compared.kept
        [*_, last] = reconcile(stopped, inventories.ports(world))
        assert (last.ended, last.buckets, last.inventory) == (NOW, (), None)
        assert [file.key for file in world.sent] == ["in/3.json", "in/1.json", "in/2.json"]
        assert inventories.asked == [("landing", NOW - 59 * DAY)]
        assert records.read(Comparison, records.text(stopped)) == stopped


def test_an_inventory_that_has_stopped_is_told_and_not_read() -> None:
    world, inventories = World(FILE), Inventories(NOW - 3 * DAY)

    def stopped(*_: object) -> str:
        raise InventoryUnusable("s3://state/new is too old")

    ports = replace(inventories.ports(world), inventory=stopped)
    [*_, last] = reconcile(world.comparison, ports)
    assert (world.sent, inventories.read, last.ended) == ([FILE], [""], NOW)
    assert last.found == {"never-came": 1, "inventory-unusable": 1}


def test_an_inventory_from_before_the_connection_is_not_read() -> None:
    world, inventories = World(FILE), Inventories(NOW - 3 * DAY, FILE)
    world.connected = {"landing": NOW - 2 * DAY - 1}  # since then nobody has made one
    list(reconcile(world.comparison, inventories.ports(world)))
    assert (world.sent, inventories.read) == ([FILE], [""])


def test_where_an_inventory_cannot_be_read_the_bucket_is_listed_and_that_is_told() -> None:
    others = [replace(FILE, key=f"in/{n}.json") for n in "xyz"]
    world, inventories = World(*others), Inventories(NOW, FILE)
    inventories.broken = True
    [*_, last] = reconcile(world.comparison, inventories.ports(world))
    assert (world.sent, last.ended) == ([FILE, *others], NOW)
    [finding] = [each for each in last.named if each.found is FindingKind.UNUSABLE]
    assert finding.about.endswith("as Parquet")


@pytest.mark.parametrize("stopped", range(8))
def test_what_a_broken_inventory_showed_is_not_counted_twice(stopped: int) -> None:
    """Whenever a worker had to stop: what it counted of the bucket is counted anew."""
    first = replace(FILE, bucket="first")
    waits, *others = [replace(FILE, key=f"in/{n}.json") for n in "wxyz"]
    world = World(first, waits, *others, buckets=("first", "landing"))
    world.connected["first"] = 0
    world.ledger.note_waiting(waits, "r", "its marker", NOW)
    inventories = Inventories(NOW, waits, *others)
    inventories.broken = True

    def listing(bucket: str, uri: str) -> BucketListing:
        return inventories.listing(world, uri) if uri else world.listing(bucket, "")

    def newest(bucket: str, since: int) -> str | None:
        return inventories.newest(bucket, since) if bucket == "landing" else None

    ports = world.ports(inventory=newest, listing=listing)
    for _, _ in zip(range(stopped), reconcile(world.comparison, ports), strict=False):
        pass
    [*_, last] = reconcile(world.compared.kept, ports)
    assert (last.looked_at, last.told) == (5, {"waiting": 1})
    assert last.found == {"never-came": 4, "inventory-unusable": 1}
    about = [each.about for each in last.named if each.found is FindingKind.NEVER_CAME]
    assert about == [file.uri for file in (first, *others)]
    assert last.before is None
