"""Whatever happens, and in whatever order: one order, one batch; nothing lost; always announced."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from aep_intake.model.batches import Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WINDOW_PREFIX, Order, claims
from aep_intake.model.progress import Record, State

from local.simulator.seed import LOYALTY
from tests.faults.harness import (
    CREDENTIAL,
    START,
    TABLES,
    WINDOWS,
    Message,
    Tape,
    World,
    is_overtaken,
    part_of,
    why_parked,
)
from tests.faults.schedules import assert_met, tapes

ran: Counter[str] = Counter()

ONE = Arrival("landing", "in/one.json", None, "e1", "0061", 10, START)
TWO = Arrival("landing", "in/two.json", "v2", "e2", "0062", 10, START)
NAMED = Arrival("landing", "in/one.json", None, "e1", None, 10, START)
OPTIONS = {"inputFormat": {"format": "json"}}
MANY = [
    ONE,
    TWO,
    replace(ONE, sequencer="0063"),  # the same bytes again: a new version
    replace(ONE, sequencer="0064", etag="e3"),
    replace(TWO, version_id="v3", size=30),
    replace(TWO, key="in/three.json"),
]


HERE = replace(ONE, key="in/kept.json", version_id="a1")
COPIES = [
    HERE,
    replace(HERE, version_id="a2", sequencer="0063", copied=True),
    replace(HERE, version_id="a4", sequencer="0065", etag="e3"),
    replace(HERE, version_id="a5", sequencer="0066", copied=True),  # of what it was before `e3`
    replace(HERE, version_id="a6", sequencer="0067"),
    replace(HERE, version_id="a7", sequencer="0068", copied=True),
    ONE,
    replace(ONE, sequencer="0063", copied=True),
    replace(TWO, copied=True),  # of another object
    replace(TWO, version_id="v3", sequencer="0067", copied=True),
]
# Which of them, at most: versions of an object that S3 keeps, of others, or of all.
CHOICES = (COPIES[:2], COPIES[:4], COPIES[2:6], COPIES[6:], COPIES)


@tapes(200, 400)
def test_every_arrival_ends_in_one_batch_or_a_named_state(tape: bytes) -> None:
    world = World(Tape(tape))
    arrivals = [ONE, TWO][: 1 + world.tape.pick(2)]
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    requests = [
        Order("callers-own-id", target, OPTIONS, (), "request"),
        Order("intake-request", target, OPTIONS, (NAMED,), "request"),
    ][: (0, 0, 1, 2)[world.tape.pick(4)]]
    play(world, arrivals, requests)


@tapes(200, 400)
def test_every_arrival_of_a_window_is_in_one_part_of_it(tape: bytes) -> None:
    world = World(Tape(tape), tables=(*WINDOWS, *TABLES))
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    request = Order("intake-request", target, OPTIONS, (NAMED,), "request")
    play(world, MANY[: 2 + world.tape.pick(5)], [request][: world.tape.pick(2)])


# A copy comes while it is not yet told that its original is refused.
REFUSED_JUST_NOW = "3f 00*4 f9 cd 00 81 00*7 67 00*23 bf 00*28 33 54"


# Its original is let go between two questions about it, and begins again.
LET_GO_JUST_NOW = "00*4 c5 b1 bf 00*3 9f 47 00*16 60 00*3 1b"


# Its original is refused, but AEP may have a batch of it: so it goes on when it comes again.
REFUSED_AND_KEPT = "00*5 7b a3 00*3 e3 00 55 7f 00*13 2f 00*4 c0 00 e3 00*3 f9"


@tapes(200, 400, REFUSED_JUST_NOW, LET_GO_JUST_NOW, REFUSED_AND_KEPT)
def test_a_copy_onto_itself_is_told_or_has_a_batch_like_any_version(tape: bytes) -> None:
    world = World(Tape(tape), tables=(*WINDOWS, *TABLES) if tape[0] % 2 else TABLES)
    arrivals = list[Arrival]()
    world.versions = CHOICES[world.tape.pick(len(CHOICES))]
    for arrival in world.versions:  # whichever event comes first
        arrivals.insert(world.tape.pick(len(arrivals) + 1), arrival)
    play(world, arrivals, [])
    of_run = _runs(world.versions)
    for copy in arrivals:
        claim, *_ = claims(copy)
        same_as = world.ledger.same_as.get((claim.object_id, claim.slot))
        if same_as is None:
            continue
        ran["same bytes"] += 1
        [original] = [v for v in arrivals if (v.key, v.version) == (copy.key, same_as)]
        stands = original.position > copy.position
        ran["stood for"] += stands
        assert (original if stands else copy).copied
        assert original.etag == copy.etag
        between = [v for v in arrivals if original.position < v.position < copy.position]
        for other in between:
            slot = claims(other)[0].slot
            no_rows = (other.object_id, other.version) in world.ledger.rejections
            no_rows = no_rows or (other.object_id, slot) in world.ledger.superseded
            assert no_rows or other.key != copy.key or other.etag == copy.etag
        owner = world.ledger.claimant(copy)
        # An original that is refused later is let go, and may be in another order or window now.
        assert owner is not None
        if owner != world.ledger.claimant(original):
            record = world.ledger.get(owner)
            assert record is not None
            assert record.state is State.REFUSED
    loaded = Counter(
        of_run[file]
        for record in world.ledger.records.values()
        if record.batch_id is not None
        for file in map(_as_it_came, world.ledger.files(record.order))
        if file.version_id is not None
    )
    assert [run for run, times in loaded.items() if times > 1] == [], "its rows are there twice"


def _as_it_came(file: Arrival) -> Arrival:
    return next(one for one in COPIES if (one.key, one.version) == (file.key, file.version))


def _runs(versions: list[Arrival]) -> dict[Arrival, int]:
    """The same number for versions of which each but the first is a copy of the one before."""
    runs = dict[Arrival, int]()
    last = dict[str, Arrival]()
    for number, version in enumerate(sorted(versions, key=lambda one: one.position)):
        before = last.get(version.key)
        same = before is not None and version.copied and before.etag == version.etag
        runs[version] = runs[before] if same and before is not None else number
        last[version.key] = version
    return runs


def play(world: World, arrivals: list[Arrival], requests: list[Order]) -> None:
    """The schedule, and then what must hold."""
    world.queue += [Message(arrival, START) for arrival in arrivals]
    waiting = list(requests)
    while not world.tape.over:  # what is not on the tape goes well
        if waiting and world.tape.pick(6) == 5:
            world.request(waiting.pop())
        world.act()
    world.settle()

    adopted = {}
    for arrival in arrivals:
        owner = world.ledger.claimant(arrival)
        claim, *_ = claims(arrival)
        if (claim.object_id, claim.slot) in world.ledger.same_as:
            continue  # its original, one of the others, has the batch
        if owner is not None:
            external_id = _order_of(arrival, owner, world)
            adopted[external_id] = _batch_of(external_id, world)
        elif arrival.external_id not in world.ignored:
            why = why_parked(world, arrival)
            assert why, f"{arrival} is lost"
            ran["overtaken, a file"] += "overtaken" in why
            assert (arrival.external_id, None) in world.events
    for order in requests:
        if order.external_id in world.ledger.records:
            adopted[order.external_id] = _batch_of(order.external_id, world)

    # The request names what the event brought: one of the two comes first, and has the batch.
    if "intake-request" in world.ledger.records and ONE in arrivals:
        assert world.ledger.claimant(ONE) in (None, "intake-request")
    for batch in world.simulator.batches():
        assert batch.status in ("loading", "aborted", "abandoned")
        if batch.status == "loading" and batch.id not in adopted.values():
            # Left alone, empty: only a worker that lived longer than its lease can make one.
            assert batch.members["externalId"] in world.overrun
            ran["strays"] += 1
        ran["aborted"] += batch.status == "aborted"
    assert {b for _, b in world.events if b} == {b for b in adopted.values() if b}
    assert not [record for record in world.ledger.records.values() if record.due]
    ran.update(world.seen)
    ran["overruns"] += len(world.overrun)
    ran["schedules"] += 1


def _order_of(arrival: Arrival, owner: str, world: World) -> str:
    """External id of the order that holds an arrival, by itself or as part of a window."""
    if not owner.startswith(WINDOW_PREFIX):
        return owner
    ran["windowed"] += 1
    return part_of(world, owner, arrival)


def _batch_of(external_id: str, world: World) -> str | None:
    """The one batch of an order, announced as such; None where it was refused for good."""
    record: Record | None = world.ledger.get(external_id)
    while record is not None and record.next_attempt:
        ran["attempts"] += 1
        assert record.batch_id is None
        record = world.ledger.get(record.next_attempt)
    assert record is not None
    told = {batch for who, batch in world.events if who == record.order.external_id}
    # Nobody sends a request again, nor an arrival that a route ignores by then.
    nobody = record.order.trigger == "request" or external_id in world.ignored
    files = world.ledger.files(record.order)
    overtaken = {message.arrival for message in world.parked if message.reason == "overtaken"}
    parked = record.order.external_id in world.orders_parked or not overtaken.isdisjoint(files)
    if parked and any(is_overtaken(world, file) for file in files):
        ran["overtaken, an order"] += 1
        nobody = True
    if nobody and record.state in (State.REFUSED, State.HELD):
        assert told == {None}
        return None
    assert record.state is State.ANNOUNCED
    assert told - {None} == {record.batch_id}
    [batch] = [b for b in world.simulator.batches() if b.id == record.batch_id]
    assert batch.status == "loading"
    assert batch.dataset_id == record.order.target.dataset_id
    assert batch.members["externalId"] == record.order.external_id
    return record.batch_id


def test_the_schedules_went_where_it_hurts(
    record_property: Callable[[str, object], None],
) -> None:
    """A schedule that never meets trouble proves nothing."""
    schedules = ran.pop("schedules")
    record_property("says", f"{schedules} fault schedules; what workers ended with: {dict(ran)}")
    often = ("created", "adopted", "duplicate", "attempts", "lease-lost", "outcome-unknown")
    assert_met(ran, schedules, 100, *often, "superseded", "same bytes", "stood for")
    assert_met(ran, schedules, 200, "sent anew", "given up")
