"""What comes again: its place in line, and what becomes of the one before it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from aep_intake.arrivals.results import Gathered, Known, Skipped
from aep_intake.clock import due
from aep_intake.create.lineage import lineage_of, make_room, placed
from aep_intake.create.ports import OrderPorts
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.batches import HOLDS_DATA, HOLDS_NONE, Batch, Target
from aep_intake.model.errors import BatchRefused, LeaseLost, NeedsAttention, NotReplaceable, NotYet
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Lineage, LineageHead, Order, Replaced
from aep_intake.model.progress import Lease, OutcomeKind, Record, Rejection, State

from local.simulator.faults import Fault
from tests import builders
from tests.builders import TARGET
from tests.faults.harness import SETTLE, SKEW, Tape, World, go_on, take, try_again
from tests.faults.test_again import (
    AGAIN,
    FILES,
    MARKED,
    MARKER,
    ONE,
    REPLACED,
    VERSIONS,
    replacing,
    table,
)
from tests.memory_ledger import MemoryLedger

NOW = 1_790_000_000_000
FILE = Arrival("landing", "in/one.json", "v1", "e1", "0061", 10, NOW)


# ---- Lineages


def lineage(arrival: Arrival = FILE, folder: str | None = None, target: Target = TARGET) -> Lineage:
    return lineage_of(arrival, folder, target, first_only=False)


def test_the_sequencer_says_which_is_newer() -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    in_order = ["0055AED6DCD90281E4", "0055aed6dcd90281e5", "0055AED6DCD90281E501", "0055AED7"]
    lineages = [lineage(replace(FILE, sequencer=sequencer)) for sequencer in in_order]
    positions = [each.position for each in lineages]
    assert sorted(positions) == positions
    assert len(set(positions)) == 4
    assert len({each.subject for each in lineages}) == 1
    same = [lineage(replace(FILE, sequencer=sequencer)) for sequencer in ("00aF", "00AF", "00AF00")]
    assert len(set(same)) == 1


def test_without_a_sequencer_nobody_knows() -> None:
    with pytest.raises(NotReplaceable, match=r"s3://landing/in/one.json has no sequencer"):
        lineage(replace(FILE, sequencer=None))


def test_a_line_is_of_one_object_or_folder_in_one_dataset() -> None:
    versions = [FILE, replace(FILE, version_id="v2", etag="e2", size=9, time=1)]
    assert len({lineage(version).subject for version in versions}) == 1
    markers = [replace(FILE, key="in/_SUCCESS"), replace(FILE, key="in/done")]
    assert len({lineage(marker, "in/").subject for marker in markers}) == 1
    rotated = replace(TARGET, credential="arn:b")
    assert lineage(target=rotated) == lineage()
    others = [
        lineage(),
        lineage(replace(FILE, key="in/two.json")),
        lineage(replace(FILE, bucket="other")),
        lineage(FILE, "in/"),
        lineage(FILE, ""),
        lineage(FILE, "in/one.json"),
        lineage(target=replace(TARGET, dataset_id="e")),
        lineage(target=replace(TARGET, sandbox="dev")),
        lineage(target=replace(TARGET, ims_org="P@AdobeOrg")),
    ]
    assert len({other.subject for other in others}) == len(others)
    assert not lineage().first_only
    assert lineage_of(FILE, None, TARGET, first_only=True) == replace(lineage(), first_only=True)


# ---- Places


def order(number: int, **changes: Any) -> Order:
    """The order of version `number` of FILE, at its place in line."""
    version = replace(FILE, version_id=f"v{number}", sequencer=f"{0x60 + number:04x}")
    standing = replace(lineage(version), **changes.pop("lineage", {}))
    return builders.order(version, lineage=standing, **changes)


def opened(ledger: MemoryLedger, wanted: Order) -> Record:
    """An order that was placed and opened."""
    place = placed(wanted, ledger)
    assert place is not None
    return ledger.open(Record.opened(place, Lease(f"lease of {wanted.external_id}", NOW + 1), NOW))


def refused(ledger: MemoryLedger, record: Record) -> Record:
    why = Rejection("batch-refused", "no such dataset", NOW, status=400)
    untold = ledger.replace(record, record.given_back(NOW).rejected(State.REFUSED, why))
    told = ledger.release(untold, replace(untold, revision=untold.revision + 1, due=None))
    assert told.never_created
    return told


def done(ledger: MemoryLedger, record: Record, batch_id: str, *, created: int = NOW) -> Record:
    """A batch was made of it, and announced."""
    made = ledger.replace(record, record.created(batch(batch_id, created=created)))
    return ledger.replace(made, made.announced())


def batch(batch_id: str, status: str = "loading", created: int = NOW, **tags: Any) -> Batch:
    return Batch(batch_id, status, created, None, (), tags, {})


def test_what_has_no_line_or_comes_first_has_its_place() -> None:
    ledger = MemoryLedger()
    for wanted in (replace(order(1), lineage=None), order(1)):
        assert placed(wanted, ledger) is wanted
    opened(ledger, order(1))
    alone = replace(order(2), lineage=None)
    assert placed(alone, ledger) is alone


def test_a_newer_one_is_behind_the_newest() -> None:
    ledger = MemoryLedger()
    opened(ledger, order(1))
    opened(ledger, order(2))
    third = placed(order(3), ledger)
    assert third is not None
    assert third == replace(
        order(3),
        lineage=replace(cast("Lineage", order(3).lineage), predecessor=order(2).external_id),
    )


def test_an_older_one_and_the_same_again_come_too_late() -> None:
    ledger = MemoryLedger()
    opened(ledger, order(2))
    assert placed(order(1), ledger) is None
    assert placed(replace(order(2), external_id="another"), ledger) is None


def test_an_order_that_was_opened_before_is_left_to_its_record() -> None:
    ledger = MemoryLedger()
    first, second = order(1), order(2)
    opened(ledger, first)
    assert placed(first, ledger) is first
    opened(ledger, second)
    assert placed(first, ledger) is first, "it may have a batch to announce"
    assert placed(second, ledger) is second


def test_an_order_without_a_batch_that_was_overtaken_comes_too_late() -> None:
    ledger = MemoryLedger()
    refused(ledger, opened(ledger, order(1)))
    assert placed(order(1), ledger) == order(1), "still the newest"
    opened(ledger, order(2))
    assert placed(order(1), ledger) is None


FIRST_ONLY = {"lineage": {"first_only": True}}


def test_where_the_first_counts_a_newer_one_comes_too_late() -> None:
    ledger = MemoryLedger()
    record = opened(ledger, order(1))
    assert placed(order(2, **FIRST_ONLY), ledger) is None
    done(ledger, record, "b1")
    assert placed(order(2, **FIRST_ONLY), ledger) is None
    ledger.records.clear()  # of a window that is not planned yet
    assert placed(order(2, **FIRST_ONLY), ledger) is None


def test_unless_the_first_has_no_batch() -> None:
    ledger = MemoryLedger()
    refused(ledger, opened(ledger, order(1)))
    second = placed(order(2, **FIRST_ONLY), ledger)
    assert second is not None
    assert second.lineage is not None
    assert second.lineage.predecessor == order(1).external_id


# ---- What becomes of the one before


@dataclass
class Platform:
    """AEP, exactly as far as it is asked: the statuses that Catalog shows, one look after another.

    None: it shows no such batch. `during`: what happens while it answers.
    """

    shows: list[Batch | None]
    during: Callable[[], None] = lambda: None
    calls: list[tuple[str, str]] = field(default_factory=list)

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        assert target == TARGET
        self.calls.append(("look", batch_id))
        found = self.shows.pop(0)
        self.during()
        return found

    def abort(self, order: Order, batch_id: str) -> None:
        self.during()
        self.calls.append((f"abort of {order.external_id}", batch_id))


@dataclass
class Scene:
    """A ledger with the versions before, and the newest one, opened."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    now: int = NOW

    def before(self, number: int, batch_id: str | None = "b1", **changes: Any) -> Record:
        """A finished version: with a batch, or refused."""
        record = opened(self.ledger, order(number))
        record = self.ledger.replace(record, record.replacing(changes.pop("replaces", None)))
        if batch_id is None:
            return refused(self.ledger, record)
        return done(self.ledger, record, batch_id, **changes)

    def make_room(self, record: Record, platform: Platform) -> Record:
        ports = OrderPorts(
            ledger=self.ledger,
            platform=cast("Any", platform),
            announcer=cast("Any", None),
            now=lambda: self.now,
            lease=lambda: Lease("x", 0),
            pace=lambda _: None,
            park=lambda *_: None,
            post_ms=0,
            settle_ms=SETTLE,
        )
        return make_room(record, ports)

    def replaced(self, *shows: Batch | str | None) -> Replaced | None:
        """What version 9 replaces, where Catalog shows this of the batch `b2` before it."""
        looks = [batch("b2", look) if isinstance(look, str) else look for look in shows]
        platform = Platform(looks)
        record = self.make_room(opened(self.ledger, order(9)), platform)
        assert platform.shows == []
        assert self.ledger.records[record.order.external_id] == record
        assert record.order.lineage is not None
        assert record.order.lineage.predecessor is None, "it has its place for good"
        return record.order.replaces

    def marked(self, number: int) -> str | None:
        """Which order the ledger says takes the place of a version."""
        return self.ledger.records[order(number).external_id].replaced_by


EARLIER = Replaced("one before that", "b0")
NINTH = order(9).external_id


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_follows_nothing_has_its_place_already(scene: Scene) -> None:
    platform = Platform([])
    for wanted in (order(1), replace(order(2), lineage=None, external_id="alone", files=())):
        record = opened(scene.ledger, wanted)
        assert scene.make_room(record, platform) is record
    assert platform.calls == []


@pytest.mark.parametrize("status", ["success", "active", "archived", "retained"])
def test_data_that_is_there_is_replaced(scene: Scene, status: str) -> None:
    scene.before(2, "b2", replaces=EARLIER)
    assert scene.replaced(status) == Replaced(order(2).external_id, "b2")
    assert scene.marked(2) == NINTH


@pytest.mark.parametrize("earlier", [EARLIER, None])
@pytest.mark.parametrize("status", ["failed", "failure", "aborted", "abandoned", "deleted"])
def test_a_batch_that_ended_without_data_leaves_what_it_was_to_replace(
    scene: Scene, status: str, earlier: Replaced | None
) -> None:
    scene.before(2, "b2", replaces=earlier)
    assert scene.replaced(status) == earlier
    assert scene.marked(2) == NINTH


@pytest.mark.parametrize("earlier", [EARLIER, None])
def test_a_batch_that_is_loading_is_aborted_and_leaves_the_same(
    scene: Scene, earlier: Replaced | None
) -> None:
    scene.before(2, "b2", replaces=earlier)
    second = order(2).external_id
    platform = Platform([batch("b2"), batch("b2", "aborted")])
    # The ledger first: who announces it meanwhile must find that it counts no more.
    platform.during = lambda: seen.append(scene.marked(2))
    seen: list[str | None] = []
    record = scene.make_room(opened(scene.ledger, order(9)), platform)
    assert record.order.replaces == earlier
    assert platform.calls == [("look", "b2"), (f"abort of {second}", "b2"), ("look", "b2")]
    assert seen == [NINTH] * 3


def test_a_batch_that_was_completed_before_it_could_be_aborted_is_replaced(scene: Scene) -> None:
    scene.before(2, "b2", replaces=EARLIER)
    assert scene.replaced("loading", "success") == Replaced(order(2).external_id, "b2")


def test_of_what_somebody_reverted_nothing_is_left_to_replace(scene: Scene) -> None:
    scene.before(2, "b2", replaces=EARLIER)
    assert scene.replaced("inactive") is None


def test_what_adobe_compacted_is_replaced(scene: Scene) -> None:
    scene.before(2, "b2", replaces=EARLIER)
    compacted = batch("b2", "inactive", acp_successor=["b7"])
    assert scene.replaced(compacted) == Replaced(order(2).external_id, "b2")


@pytest.mark.parametrize("tags", [{"acp_successor": []}, {"successor": ["b7"]}])
def test_an_empty_successor_is_none(scene: Scene, tags: Mapping[str, Any]) -> None:
    scene.before(2, "b2", replaces=EARLIER)
    assert scene.replaced(batch("b2", "inactive", **tags)) is None


@pytest.mark.parametrize("status", ["loaded", "staging", "processing", "never heard of", ""])
def test_what_is_on_its_way_is_waited_for(scene: Scene, status: str) -> None:
    scene.before(2, "b2", replaces=EARLIER)
    record = opened(scene.ledger, order(9))
    with pytest.raises(NotYet, match=f"batch b2 of the version before it is {status}"):
        scene.make_room(record, Platform([batch("b2", status)]))
    assert scene.ledger.records[NINTH] == record, "nothing is decided"
    # Once it got there, it is replaced; the ledger's word of before still stands.
    after = scene.make_room(record, Platform([batch("b2", "success")]))
    assert after.order.replaces == Replaced(order(2).external_id, "b2")


def test_an_abort_that_catalog_does_not_show_yet_is_waited_for(scene: Scene) -> None:
    scene.before(2, "b2")
    with pytest.raises(NotYet, match="b2 of the version before it is loading"):
        scene.make_room(opened(scene.ledger, order(9)), Platform([batch("b2"), batch("b2")]))


def test_a_batch_that_catalog_does_not_show_is_deleted_only_once_it_had_time_to(
    scene: Scene,
) -> None:
    scene.before(2, "b2", created=NOW, replaces=EARLIER)
    record = opened(scene.ledger, order(9))
    scene.now = NOW + SETTLE - 1
    with pytest.raises(NotYet, match="Catalog does not show"):
        scene.make_room(record, Platform([None]))
    scene.now = NOW + SETTLE
    assert scene.make_room(record, Platform([None])).order.replaces == EARLIER


def test_an_answer_is_as_old_as_its_question(scene: Scene) -> None:
    """A worker may sleep over it: what Catalog did not show before says nothing of now."""
    scene.before(2, "b2", created=NOW)
    platform = Platform([None])

    def time_goes_by() -> None:
        scene.now = NOW + SETTLE

    platform.during = time_goes_by
    with pytest.raises(NotYet, match="Catalog does not show"):
        scene.make_room(opened(scene.ledger, order(9)), platform)


def test_one_that_never_had_a_batch_leaves_what_it_was_to_replace(scene: Scene) -> None:
    scene.before(1, None, replaces=EARLIER)
    assert scene.replaced() == EARLIER
    assert scene.marked(1) == NINTH


def test_one_that_is_not_finished_is_waited_for(scene: Scene) -> None:
    first = opened(scene.ledger, order(1))
    record = opened(scene.ledger, order(9))
    made = scene.ledger.replace(first, first.created(batch("b1")))
    with pytest.raises(NotYet, match=f"{order(1).external_id}, the version before it, is not fini"):
        scene.make_room(record, Platform([]))
    assert scene.ledger.records[order(1).external_id] == made
    scene.ledger.replace(made, made.announced())
    platform = Platform([batch("b1", "success")])
    assert scene.make_room(record, platform).order.replaces == Replaced(order(1).external_id, "b1")


def test_one_that_is_not_opened_yet_is_waited_for(scene: Scene) -> None:
    """The head is moved when a window begins; its part is there when that is planned."""
    first = order(1)
    assert first.lineage is not None
    head = LineageHead(first.external_id, first.lineage.position)
    scene.ledger.heads[first.lineage.subject] = head
    record = opened(scene.ledger, order(9))
    with pytest.raises(NotYet, match="the version before it, is not finished"):
        scene.make_room(record, Platform([]))


def test_one_that_waits_for_a_person_makes_this_one_wait_too(scene: Scene) -> None:
    record = opened(scene.ledger, order(1))
    why = Rejection("needs-attention", "who filled it?", NOW)
    held = scene.ledger.replace(record, record.rejected(State.HELD, why))
    held = scene.ledger.replace(held, held.announced())
    ninth = opened(scene.ledger, order(9))
    with pytest.raises(NeedsAttention, match=f"{order(1).external_id}.*redrive that first"):
        scene.make_room(ninth, Platform([]))
    assert scene.ledger.records[order(1).external_id] == held, "a person may still redrive it"


def test_what_counts_is_the_last_attempt_and_all_are_marked(scene: Scene) -> None:
    first = opened(scene.ledger, order(1))
    second = scene.ledger.open_next_attempt(*first.followed(Lease("second", NOW + 1), NOW))
    third = scene.ledger.open_next_attempt(*second.followed(Lease("third", NOW + 1), NOW))
    record = opened(scene.ledger, order(9))
    with pytest.raises(NotYet):
        scene.make_room(record, Platform([]))
    done(scene.ledger, third, "b3")
    after = scene.make_room(record, Platform([batch("b3", "success")]))
    attempts = [order(1).external_id, *(f"{order(1).external_id}.{n}" for n in (2, 3))]
    assert after.order.replaces == Replaced(attempts[-1], "b3")
    assert [scene.ledger.records[attempt].replaced_by for attempt in attempts] == [NINTH] * 3


def test_what_was_marked_before_a_crash_is_not_marked_again(scene: Scene) -> None:
    scene.before(2, "b2")
    record = opened(scene.ledger, order(9))
    with pytest.raises(NotYet):
        scene.make_room(record, Platform([batch("b2", "staging")]))
    marked = scene.ledger.records[order(2).external_id]
    scene.make_room(record, Platform([batch("b2", "success")]))
    assert scene.ledger.records[order(2).external_id] is marked


def test_who_lost_the_order_decides_nothing(scene: Scene) -> None:
    scene.before(2, "b2")
    record = opened(scene.ledger, order(9))
    scene.ledger.replace(record, record.leased(Lease("another", NOW + 9)))
    with pytest.raises(LeaseLost):
        scene.make_room(record, Platform([batch("b2", "success")]))


def test_every_state_that_adobe_names_means_one_thing() -> None:
    assert not HOLDS_DATA & HOLDS_NONE
    assert not {"inactive", "loading"} & (HOLDS_DATA | HOLDS_NONE)


# ---- The whole story, on the simulator


@pytest.fixture
def world() -> World:
    world = World(Tape(b""), tables=(replacing(), replacing(datasetId="no-such-dataset")))
    world.calm = True
    world.simulator.show_in_catalog(None)
    return world


def made(world: World) -> dict[str, Any]:
    """Members of the newest batch."""
    return world.simulator.batches()[-1].members


def test_a_version_names_to_adobe_the_batch_that_it_replaces(world: World) -> None:
    first, second, third, fourth = VERSIONS
    one = take(first, world.intake(0)).record
    assert "replay" not in made(world)
    world.simulator.set_status(one.batch_id, "success")
    two = take(second, world.intake(0))
    assert two.kind is OutcomeKind.CREATED
    assert made(world)["replay"] == {"predecessors": [one.batch_id], "reason": "replace"}
    assert take(first, world.intake(0)).kind is OutcomeKind.DUPLICATE
    # Overtaken on its way in: the ledger remembers why it has no batch.
    assert take(fourth, world.intake(0)).kind is OutcomeKind.CREATED
    assert made(world)["replay"]["predecessors"] == [one.batch_id]
    assert world.simulator.batch(two.record.batch_id).status == "aborted"
    assert take(third, world.intake(0)) == Skipped("not-the-newest")
    assert world.ledger.noted[third.object_id, third.version] == "not-the-newest"
    assert world.ledger.claimant(third) is None
    assert len(world.simulator.batches()) == 3


def test_a_version_that_adobe_refuses_leaves_the_one_before_to_the_next(world: World) -> None:
    first, second, third, _ = VERSIONS
    one = take(first, world.intake(0)).record
    world.simulator.set_status(one.batch_id, "success")
    world.simulator.faults.add(Fault("status", operation="create", status=400))
    with pytest.raises(BatchRefused):
        take(second, world.intake(0))
    three = take(third, world.intake(0)).record
    assert three.order.replaces == Replaced(one.order.external_id, one.batch_id)
    assert made(world)["replay"]["predecessors"] == [one.batch_id]
    # What was refused comes again, and is overtaken by now.
    assert take(second, world.intake(0)) == Skipped("not-the-newest")


def test_a_version_behind_one_that_waits_for_a_person_waits_with_it(world: World) -> None:
    first, second, *_ = VERSIONS
    world.simulator.faults.add(Fault("answer-lost", how="timeout", operation="create"))
    with pytest.raises(Exception, match="no answer"):
        take(first, world.intake(0))
    [batch] = world.simulator.batches()
    world.simulator.set_status(batch.id, "success")
    world.clock.advance(SETTLE + 2 * SKEW)
    with pytest.raises(NeedsAttention):
        take(first, world.intake(0))
    with pytest.raises(NeedsAttention, match=f"{ONE.external_id}, the version before it"):
        take(second, world.intake(0))
    assert world.ledger.records[second.external_id].state is State.HELD
    assert world.events[-1] == (second.external_id, None)
    # The person judged that nothing is lost with it.
    world.simulator.set_status(batch.id, "aborted")
    one = take(first, world.intake(0)).record
    assert one.order.attempt == 2
    world.simulator.set_status(one.batch_id, "success")
    two = take(second, world.intake(0)).record
    assert two.order.replaces == Replaced(one.order.external_id, one.batch_id)


@pytest.fixture
def marked(world: World) -> World:
    """With a folder of files, and a marker that completes it."""
    world.table = REPLACED[0]
    world.limits = BatchLimits(files=10, bytes=1000)
    world.bucket |= {file.key: file for file in FILES}
    return world


def carried_out(world: World, arrival: Arrival) -> Record:
    """A marker's one order, once it has its batch."""
    gathered = take(arrival, world.intake(0))
    assert isinstance(gathered, Gathered)
    outcome = go_on(due.DueKind.ORDERS, world.handed_out.pop(), world.intake(0))
    assert outcome is not None
    assert world.handed_out == []
    assert outcome.record.order.excerpt is not None
    assert outcome.record.order.excerpt.window_id == gathered.window_id
    return outcome.record


def test_a_marker_that_comes_again_names_the_batch_of_the_one_before(marked: World) -> None:
    one = carried_out(marked, MARKER)
    assert one.batch_id is not None
    marked.simulator.set_status(one.batch_id, "success")
    del marked.bucket[FILES[0].key]
    late = replace(FILES[1], version_id="late")
    marked.bucket[late.key] = late
    two = carried_out(marked, AGAIN)
    assert two.order.replaces == Replaced(one.order.external_id, one.batch_id)
    assert made(marked)["replay"] == {"predecessors": [one.batch_id], "reason": "replace"}
    held = {(file.key, file.version_id) for file in marked.ledger.files(two.order)}
    assert held == {(file.key, file.version_id) for file in (late, *FILES[2:])}
    between = replace(MARKER, version_id="between", sequencer="0075")
    assert take(between, marked.intake(0)) == Skipped("not-the-newest")
    for marker in (MARKER, AGAIN):
        assert isinstance(take(marker, marked.intake(0)), Known)
    assert len(marked.simulator.batches()) == 2


def test_where_the_first_marker_counts_a_later_one_is_ignored(marked: World) -> None:
    marked.table = table(**MARKED, onNewVersion="ignore")
    carried_out(marked, MARKER)
    assert take(AGAIN, marked.intake(0)) == Skipped("not-the-first")
    assert marked.ledger.noted[AGAIN.object_id, AGAIN.version] == "not-the-first"
    assert isinstance(take(MARKER, marked.intake(0)), Known)
    assert len(marked.simulator.batches()) == 1


def test_a_folder_s_batch_that_adobe_refused_is_made_once_it_is_sent_again(marked: World) -> None:
    gathered = take(MARKER, marked.intake(0))
    [part] = marked.handed_out
    marked.simulator.faults.add(Fault("status", operation="create", status=400))
    with pytest.raises(BatchRefused):
        go_on(due.DueKind.ORDERS, part, marked.intake(0))
    assert marked.orders_parked == {part}
    outcome = try_again(part, marked.intake(0))
    assert outcome.kind is OutcomeKind.CREATED
    kept = marked.ledger.windows.kept[gathered.window_id]
    assert outcome.record.order.lineage == kept.order.lineage
    assert marked.events[-1] == (part, outcome.record.batch_id)
    assert len(marked.ledger.files(outcome.record.order)) == len(FILES)
