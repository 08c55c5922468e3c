"""Backfills and comparisons that are stopped and gone on with, beside events, in all troubles."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import batched

from aep_intake.arrivals.backfills import Backfill, BackfillPorts, Bounds, Step, run
from aep_intake.arrivals.envelopes import parse
from aep_intake.arrivals.listings import BucketListing, Page, by_key
from aep_intake.arrivals.reconcile import Comparison, ReconcilePorts, reconcile
from aep_intake.create.lineage import lineage_of
from aep_intake.model import messages
from aep_intake.model.batches import Target
from aep_intake.model.errors import LeaseLost, LedgerUnavailable, StorageUnavailable, TryAgain
from aep_intake.model.files import Arrival
from aep_intake.model.orders import claims

from local.simulator.seed import LOYALTY
from tests.compared import Compared
from tests.faults.harness import (
    CREDENTIAL,
    DAY,
    HOUR,
    RETENTION,
    START,
    TABLES,
    WINDOWS,
    ListedBucket,
    Message,
    Tape,
    World,
)
from tests.faults.schedules import assert_met, tapes
from tests.faults.test_again import FIRST_ONLY, Bucket, adopted, replacing
from tests.faults.test_schedules import play

ran: Counter[str] = Counter()
CONNECTED = START - 5 * DAY
OLD = [
    Arrival("landing", "in/a.json", "old-a", "ea", None, 10, START - 400 * DAY),
    Arrival("landing", "in/b.json", None, "eb", None, 10, START - 300 * DAY),
    Arrival("landing", "in/c.json", "old-c", "ec", None, 10, START - 10 * DAY),
    Arrival("landing", "in/d.json", None, "ed", None, 10, START - 6 * DAY),
]
NEW = [
    Arrival("landing", "in/a.json", "new-a", "fa", "0061", 10, START),
    Arrival("landing", "in/b.json", None, "fb", "0062", 10, START),
    Arrival("landing", "in/e.json", "new-e", "fe", "0063", 10, START),
]


class Filling:
    """An operator's command, of which any call may fail, and which may be killed between any two.

    What it sends is in `brought`; `put` writes the next of `NEW`, of which an event comes.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept = Backfill("backfill-x", "landing", "in/", START)
        self.brought: dict[str, Arrival] = {}
        self.later = list(NEW)
        self._steps: Iterator[Step] | None = None
        world.bucket |= {file.key: file for file in OLD}
        world.more = (self.step, self.step, self.put, self.kill)

    def put(self) -> None:
        if self.later:
            file = self.later.pop(0)
            self.world.bucket[file.key] = file
            self.world.queue.append(Message(file, self.world.clock()))

    def kill(self) -> None:
        self._steps = None

    def step(self) -> None:
        if self.kept.ended is not None:
            return
        if self._steps is None:
            oldest = self.world.clock() - RETENTION
            bounds = Bounds(self.kept, CONNECTED, (), oldest, lambda _: True)
            ports = BackfillPorts(
                self, self.pages, self.send, self.has_room, self.sleep, self.world.clock
            )
            self._steps = run(bounds, ports)
        try:
            next(self._steps, None)
        except TryAgain:
            ran["failed"] += 1
            self._steps = None

    def finish(self) -> None:
        self.world.calm = True
        while self.later:
            self.put()
        while self.kept.ended is None:
            self.step()

    def pages(self, after: str) -> Iterator[Page]:
        listed = [replace(f, sequencer=None) for _, f in sorted(self.world.bucket.items())]
        left = [file for file in listed if file.key > after]
        return (Page(some, some[-1].key) for some in batched(left, 2, strict=False))

    def send(self, files: list[Arrival]) -> None:
        fate = self._fate()
        for file in files[: len(files) if fate == 0 else fate - 1]:
            [sent] = parse(messages.of_arrival(file)).arrivals
            ran["twice"] += file.external_id in self.brought
            self.brought[file.external_id] = sent
            self.world.queue.append(Message(sent, self.world.clock()))
        if fate:
            raise StorageUnavailable("SQS did not take all")

    def replace(self, old: Backfill, new: Backfill) -> Backfill:
        fate = self._fate()
        if self.kept.revision != old.revision:
            raise LeaseLost("somebody else goes on")
        if fate != 1:
            self.kept = new
        if fate:
            raise LedgerUnavailable("no answer")
        return new

    def has_room(self) -> bool:
        return self.world.calm or self.world.tape.pick(4) != 3

    def sleep(self, _: float) -> None:
        self.world.clock.advance(5_000)

    def _fate(self) -> int:
        return 0 if self.world.calm else (0, 0, 0, 0, 0, 1, 2)[self.world.tape.pick(7)]


class Settled(World):
    """Before the world comes to rest, the command is finished."""

    filling: "Filling | Comparing"

    def settle(self) -> None:
        self.filling.finish()
        super().settle()


@tapes(200, 400)
def test_each_object_has_one_batch_whoever_stops_a_backfill(tape: bytes) -> None:
    world = Settled(Tape(tape), tables=(*WINDOWS, *TABLES) if tape[0] % 2 else TABLES)
    world.filling = filling = Filling(world)
    arrivals = list[Arrival]()
    settle = world.settle

    def settled() -> None:
        settle()
        arrivals.extend([*NEW, *filling.brought.values()])

    world.settle = settled  # type: ignore[method-assign]
    play(world, arrivals, [])
    parked = [message for message in world.parked if message.arrival.aged]
    assert "too-old" not in {message.reason for message in parked}
    present = {file.key: file for file in NEW}
    for file in OLD:
        if file.external_id in filling.brought:
            ran["brought"] += 1
        else:  # overwritten before the backfill saw it
            assert file.key in present
    ran["schedules"] += 1


@tapes(200, 400)
def test_what_came_by_an_event_replaces_what_a_backfill_brings_and_not_the_other_way(
    tape: bytes,
) -> None:
    tables = FIRST_ONLY if tape[0] % 3 == 2 else (replacing(),)
    world = World(Tape(tape), tables=tables, final=tables[0])
    filling = Filling(world)
    bucket = Bucket(world, [])
    world.more = (filling.step, filling.step, filling.put, filling.kill, bucket.end)
    while not world.tape.over:
        world.act()
    filling.finish()
    bucket.play()
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    newest = {file.key: file for file in [*OLD, *NEW]}
    first_only = tables is FIRST_ONLY
    for key, file in newest.items():
        files = [one for one in [*NEW, *filling.brought.values()] if one.key == key]
        subject = lineage_of(files[0], None, target, first_only=first_only).subject
        head = world.ledger.heads[subject]
        if first_only:
            assert head.external_id in {one.external_id for one in files}
            ran["first"] += 1
        else:
            assert head.external_id == file.external_id
            ran["replaced"] += len(files) > 1
    loaded = [record for record in adopted(world).values() if record.replaced_by is None]
    assert len({claims(file)[0].object_id for r in loaded for file in r.order.files}) == len(loaded)
    ran["lineages"] += 1


class Comparing(Compared):
    """The daily comparison, which may be killed between any two calls. Events may never come."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: dict[str, Arrival] = {}
        # Without an id, an event and a listing call the same version otherwise.
        files = (replace(file, version_id=file.version_id or file.etag) for file in [*NEW, *OLD])
        self.later = list(files)
        super().__init__(world.ledger, self.begun())
        self._steps: Iterator[Comparison] | None = None
        world.more = (self.step, self.step, self.put, self.kill)

    def begun(self) -> Comparison:
        return Comparison.begin(self.world.clock(), RETENTION, ("landing",))

    def put(self) -> None:
        """The next object is there; of one in four no event comes."""
        if not self.later:
            return
        file = self.later.pop(0)
        file = replace(file, time=START - 2 * HOUR, sequencer=f"00{9 - len(self.later)}")
        self.world.bucket[file.key] = file
        if self.world.tape.pick(4) == 3:
            ran["lost"] += 1
        else:
            self.sent[file.external_id] = file
            self.world.queue.append(Message(file, self.world.clock()))

    def kill(self) -> None:
        self._steps = None

    def step(self) -> None:
        if self._steps is None:
            if self.kept.ended is not None:
                self.kept = self.begun()
            self._steps = reconcile(self.kept, self.ports())
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
        except TryAgain:
            self._steps = None

    def ports(self) -> ReconcilePorts:
        return ReconcilePorts(
            ledger=self,
            inventory=lambda *_: None,
            listing=lambda bucket, _: BucketListing(
                lambda after: by_key(ListedBucket(self.world.bucket).folder(bucket, "", after))
            ),
            wanted=lambda _: True,
            connected={"landing": START - DAY},
            send=self.send,
            sandboxes=tuple,
            batches=lambda *_: (),
            ledger_id=lambda: "the ledger",
            delivers=False,
            now=self.world.clock,
        )

    def send(self, files: list[Arrival]) -> None:
        fate = 0 if self.world.calm else (0, 0, 0, 1, 2)[self.world.tape.pick(5)]
        for file in files[: len(files) if fate == 0 else fate - 1]:
            [sent] = parse(messages.of_arrival(file)).arrivals
            ran["found"] += 1
            self.sent[file.external_id] = sent
            self.world.queue.append(Message(sent, self.world.clock()))
        if fate:
            raise StorageUnavailable("SQS did not take all")

    def finish(self) -> None:
        """One that begins when all is quiet."""
        while self.later:
            self.put()
        self.world.rest()
        self._steps, self.kept = None, self.begun()
        while self.kept.ended is None:
            self.step()


@tapes(200, 400)
def test_whatever_event_is_lost_each_present_version_has_one_batch(tape: bytes) -> None:
    world = Settled(Tape(tape), tables=(*WINDOWS, *TABLES) if tape[0] % 2 else TABLES)
    world.filling = comparing = Comparing(world)
    arrivals = list[Arrival]()
    settle = world.settle

    def settled() -> None:
        settle()
        arrivals.extend(comparing.sent.values())

    world.settle = settled  # type: ignore[method-assign]
    play(world, arrivals, [])
    known = comparing.owners([replace(f, sequencer=None) for f in world.bucket.values()])
    for file in world.bucket.values():
        listed = replace(file, sequencer=None)
        told = {m.arrival for m in world.parked} & {file, listed}
        told |= {one for one in (file, listed) if one.external_id in world.ignored}
        assert listed in known or told, f"{file} is lost"
    ran["comparisons"] += 1


def test_the_schedules_went_where_it_hurts(
    record_property: Callable[[str, object], None],
) -> None:
    schedules = ran.pop("schedules")
    record_property("says", f"{schedules} schedules of backfills: {dict(ran)}")
    wanted = ("failed", "twice", "brought", "first", "replaced", "lost", "found")
    assert_met(ran, schedules, 10, *wanted)
