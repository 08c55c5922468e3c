"""What comes again: corrected objects and markers, through everything that can go wrong."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WINDOW_PREFIX
from aep_intake.model.progress import Record, State
from aep_intake.model.windows import WindowStage
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable

from local.simulator.batches import Batch
from local.simulator.seed import LOYALTY, PRODUCTS
from tests.faults.harness import RETENTION, SETTLE, START, Message, Tape, World
from tests.faults.schedules import assert_met, tapes

ran: Counter[str] = Counter()
LIVE = frozenset({"loading", "success"})


def table(**written: Any) -> RoutingTable:
    whole = {"name": "again", "match": "in/**", "datasetId": LOYALTY} | written
    return routes.parse(json.dumps({"routes": [whole]}), "v1")


def replacing(**written: Any) -> RoutingTable:
    return table(onNewVersion="replace", inputFormat={"format": "json"}, **written)


MARKED = {"batch": {"marker": "_SUCCESS", "within": "10m"}}
CORRECTED = (replacing(), replacing(partialIngestionPercent=5), replacing(datasetId=PRODUCTS))
FIRST_ONLY = (table(onNewVersion="ignore"),)
APPENDED = (table(**MARKED), table(**MARKED, enableErrorDiagnostics=False))
REPLACED = (replacing(**MARKED), replacing(**MARKED, partialIngestionPercent=5))

ONE = Arrival("landing", "in/one.json", "v1", "e1", "0061", 10, START)
VERSIONS = [
    replace(ONE, version_id=f"v{n}", etag=f"e{n}", sequencer=f"006{n}") for n in (1, 2, 3, 4)
]
MARKER = Arrival("landing", "in/day/_SUCCESS", "m1", "m", "0070", 0, START)
AGAIN = replace(MARKER, version_id="m2", sequencer="0080")
FILES = [
    Arrival("landing", f"in/day/part-{n}.json", f"f{n}", "e", f"005{n}", 10, START)
    for n in range(5)
]

OVERWRITTEN = replace(FILES[0], version_id="old", etag="o", sequencer="0049")


class Bucket:
    """What a schedule does to the bucket, and to batches that were announced."""

    def __init__(self, world: World, later: list[Arrival], *, parks: bool = False) -> None:
        self.world, self.later, self.limits = world, later, world.limits
        self.parks = parks  # orders whose batch failed, so that they are redriven
        # What comes later may come in the midst of trouble, or once all else is over and done with.
        self.unhurried = world.tape.pick(3) == 2
        world.more = (self.end, self.end) if self.unhurried else (self.arrive, self.end, self.end)

    def put(self, arrival: Arrival) -> None:
        self.world.bucket[arrival.key] = arrival
        self.world.queue.append(Message(arrival, self.world.clock()))

    def arrive(self) -> None:
        """The next object; its event may be overtaken by another's."""
        if self.later:
            self.put(self.later.pop(0))

    def end(self) -> None:
        """An announced batch is ingested, or fails."""
        # With the delivery stage, nothing is parked before its creation is finished.
        records = self.world.ledger.records
        announced = {
            batch_id: who
            for who, batch_id in self.world.events
            if not self.parks or records[who].due is None
        }
        found = [b for b in self.world.simulator.batches() if b.id in announced]
        loading = [batch for batch in found if batch.status == "loading"]
        if loading:
            batch = loading[self.world.tape.pick(len(loading))]
            ends = (
                ("failed", "success", "staging") if self.parks else ("success", "staging", "failed")
            )
            status = ends[self.world.tape.pick(3)]
            self.world.simulator.set_status(batch.id, status)
            ran[status] += 1
            if status == "failed" and self.parks:
                self.world.orders_parked.add(announced[batch.id])
        self.all_become("staging", "success")

    def all_become(self, status: str, new: str) -> None:
        for batch in self.world.simulator.batches():
            if batch.status == status:
                self.world.simulator.set_status(batch.id, new)

    def play(self) -> None:
        while not self.world.tape.over:
            self.world.act()
        while self.later:
            if self.unhurried:
                self.world.rest()
                self.all_become("loading", "success")
            self.arrive()
        self.all_become("staging", "success")
        self.world.limits = self.limits
        self.world.clock.advance(SETTLE)  # an operator redrives what Catalog shows by now
        self.world.settle()
        ran.update(self.world.seen)
        ran["schedules"] += 1


LOADED_ONCE = (table(), table(datasetId=PRODUCTS), table(partialIngestionPercent=5))
BYTES = ("one", "two", "one")  # of versions, by their ETags


@tapes(200, 400)
def test_what_failed_is_redriven_unless_it_was_overtaken(tape: bytes) -> None:
    world = World(Tape(tape), tables=LOADED_ONCE, final=LOADED_ONCE[0])
    versions = [replace(file, etag=e) for file, e in zip(VERSIONS, BYTES, strict=False)]
    bucket = Bucket(world, list(versions), parks=True)
    world.more = 4 * (bucket.arrive, bucket.end)
    for _ in range(world.tape.pick(3)):  # some have ended before trouble begins
        bucket.arrive()
        world.rest()
        bucket.end()
    world.calm = False
    bucket.play()
    records = adopted(world)
    dataset = LOADED_ONCE[0].routes[0].written["datasetId"]
    status = {batch.id: batch for batch in world.simulator.batches() if batch.id in records}
    there = {
        version: status[record.batch_id or ""]
        for version in versions
        if (record := _last(world, version.external_id)).batch_id
        and status[record.batch_id].status in LIVE
    }
    ran["redriven"] += sum(record.order.attempt > 1 for record in records.values())
    for version in versions:
        order = _last(world, version.external_id).order.external_id
        if version in there:
            continue
        assert world.orders_parked & {version.external_id, order}, "nobody knows that it failed"
        ran["overtaken"] += 1
        in_the_way = [
            other
            for other, batch in there.items()
            if batch.dataset_id == dataset
            and (other.position > version.position or other.etag == version.etag)
        ]
        assert in_the_way, "nothing speaks against another attempt"


def adopted(world: World) -> dict[str, Record]:
    """The records that have a batch, by its id; each was announced, and made once."""
    records = {r.batch_id: r for r in world.ledger.records.values() if r.batch_id is not None}
    assert not [record for record in world.ledger.records.values() if record.due]
    for batch_id, record in records.items():
        assert record.state is State.ANNOUNCED
        told = {batch for who, batch in world.events if who == record.order.external_id}
        assert told - {None} == {batch_id}
    return records


def live(world: World) -> dict[str, Batch]:
    """Batches of the ledger with data, or with data to come, that no other one replaces."""
    known = adopted(world)
    batches = {b.id: b for b in world.simulator.batches() if b.id in known and b.status in LIVE}
    gone = {
        one for b in batches.values() for one in b.members.get("replay", {}).get("predecessors", ())
    }
    ran["replayed"] += len(gone)
    for batch_id in gone & batches.keys():
        assert batches[batch_id].status == "success", "only what is ingested is replayed"
    ran["aborted"] += sum(batch.status == "aborted" for batch in world.simulator.batches())
    return {batch_id: batch for batch_id, batch in batches.items() if batch_id not in gone}


@tapes(200, 400)
def test_of_all_versions_the_newest_alone_is_there(tape: bytes) -> None:
    world = World(Tape(tape), tables=CORRECTED, final=CORRECTED[0])
    bucket = Bucket(world, list(VERSIONS[: 2 + world.tape.pick(3)]))
    came = list(bucket.later)
    bucket.arrive()
    bucket.play()
    records = adopted(world)
    there = live(world)
    of = {batch_id: records[batch_id].order for batch_id in there}
    # In each dataset one at most (a route may have moved the object to another one meanwhile).
    places = [order.target.dataset_id for order in of.values()]
    assert len(set(places)) == len(places)
    # Each version has a batch, was too late, or was rejected by name.
    for arrival in came:
        owner = world.ledger.claimant(arrival)
        if owner is None:
            noted = world.ledger.noted.get((arrival.object_id, arrival.version))
            assert noted == "not-the-newest" or [m for m in world.parked if m.arrival == arrival]
            ran["too-late"] += noted is not None
    _newest_counts(world, came)


def _newest_counts(world: World, came: list[Arrival]) -> None:
    """What is there last is never older than what was there before and ingested."""
    records = adopted(world)
    order_of = {arrival.external_id: number for number, arrival in enumerate(came)}
    position = {
        batch_id: order_of[record.order.external_id.partition(".")[0]]
        for batch_id, record in records.items()
    }
    for batch in world.simulator.batches():
        if batch.id in position:
            for earlier in batch.members.get("replay", {}).get("predecessors", ()):
                assert position[earlier] < position[batch.id]


@tapes(200, 400)
def test_where_only_the_first_counts_there_is_one(tape: bytes) -> None:
    world = World(Tape(tape), tables=FIRST_ONLY, final=FIRST_ONLY[0])
    bucket = Bucket(world, list(VERSIONS[: 2 + world.tape.pick(3)]))
    bucket.arrive()
    bucket.play()
    assert len(adopted(world)) == 1
    ran["ignored"] += len(world.ignored)


@tapes(200, 400)
def test_a_marker_s_files_are_in_one_part_of_its_window(tape: bytes) -> None:
    world = World(Tape(tape), tables=APPENDED, final=APPENDED[0])
    late, again = world.tape.pick(3), world.tape.pick(2)
    here, later = FILES[: 5 - late], [MARKER, *FILES[5 - late :], *[AGAIN] * again]
    bucket = Bucket(world, later)
    for file in (OVERWRITTEN, *here):
        bucket.put(file)
    bucket.play()
    # No marker ever saw it.
    [noted] = [one for one in world.ledger.seen(OVERWRITTEN.object_id) if one.version == "v:old"]
    assert (noted.noted, noted.superseded_by) == ("superseded", FILES[0].version)
    ran["superseded"] += 1
    holders = _holders(world)
    missing = [file for file in FILES if not holders[file.key]]
    for file in FILES:
        assert len(holders[file.key]) <= 1, f"{file.key} is in {holders[file.key]}"
        for holder in holders[file.key]:
            assert _last(world, holder).state is State.ANNOUNCED
        assert (file.object_id, file.version) in world.ledger.noted or file in here
    # Without another marker somebody is told of what came after the first; with it, it is taken.
    assert set(missing) <= set(FILES[5 - late :]) and not (missing and again)
    for file in missing:
        assert world.ledger.rejections[file.object_id, file.version].reason == "marker-missing"
    assert bool(world.overdue_parked) is bool(missing)
    ran["marked"] += 1
    ran["missing"] += len(missing)


# Leaps of 14 days add up beyond what the ledger remembers, before any marker is worked on.
LEAPS = (
    "00*3 26 00*56 01 00*35 57 03 07 ff 00*19 0f 9e 00*5 7d 03 07 00*3 08 00*5 01 00*3 01 00*30 06 "
    "00 6a 03 07 00*9 ef 03 07 08 00*4 7a 00 57 03 07"
)


@tapes(200, 400, LEAPS)
def test_a_marker_that_comes_again_replaces_its_folder_s_batch(tape: bytes) -> None:
    world = World(Tape(tape), tables=REPLACED, final=REPLACED[0])
    late = world.tape.pick(3)
    world.limits = BatchLimits(files=10, bytes=1000)
    bucket = Bucket(world, [MARKER, *FILES[5 - late :], AGAIN])
    for file in FILES[: 5 - late]:
        bucket.put(file)
    bucket.play()
    holders = _holders(world)
    there = live(world)
    held = {
        file.key: [w for w in holders[file.key] if _last(world, w).batch_id in there]
        for file in FILES
    }
    assert len(there) <= 1
    if _too_old(AGAIN, world):  # weeks in queues, again and again: it is parked by that name
        ran["too-old"] += 1
        return
    [head] = world.ledger.heads.values()
    newest = _last(world, head.external_id)
    assert newest.batch_id, "it was worked on after all files had come"
    for key, where in held.items():
        # AEP may fail the newest batch: then that of the one before serves on.
        assert len(where) == 1 or newest.batch_id not in there, f"{key} is in {where}"
        assert len(where) <= 1
    ran["folders"] += len(there)


def _too_old(arrival: Arrival, world: World) -> bool:
    parked = [message for message in world.parked if message.arrival == arrival]
    if not parked:
        return False
    assert all(message.reason == "too-old" for message in parked)
    assert arrival.time < world.clock() - RETENTION
    return True


def _holders(world: World) -> dict[str, list[str]]:
    """External ids of the parts that hold each object; what is frozen stays so."""
    holders: dict[str, list[str]] = {file.key: [] for file in FILES}
    for window_id, window in world.ledger.windows.kept.items():
        assert window_id.startswith(WINDOW_PREFIX)
        assert window.stage is WindowStage.FINISHED
        parts = [window.part(part, number) for number, part in enumerate(window.parts)]
        files = [(file, part) for part in parts for file in world.ledger.files(part)]
        assert files and len({file.key for file, _ in files}) == len(files)
        for file, part in files:
            holders[file.key].append(part.external_id)
    return holders


def _last(world: World, external_id: str) -> Record:
    record = world.ledger.records[external_id]
    while record.next_attempt is not None:
        record = world.ledger.records[record.next_attempt]
    return record


def test_the_schedules_went_where_it_hurts(
    record_property: Callable[[str, object], None],
) -> None:
    schedules = ran.pop("schedules")
    record_property("says", f"{schedules} schedules of what comes again: {dict(ran)}")
    rare = ("too-late", "ignored", "marked", "folders", "missing", "failed", "aborted")
    assert_met(ran, schedules, 1000, *rare)
    assert_met(ran, schedules, 20, "replayed")
    assert_met(ran, schedules, 1000, "redriven", "overtaken")
