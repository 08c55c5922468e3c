"""Files that wait for a sign, which comes in any order, through everything that can go wrong."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from aep_intake.clock.due import DueKind
from aep_intake.grouping import ready
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WINDOW_PREFIX
from aep_intake.model.progress import State
from aep_intake.model.windows import marker_id

from tests.faults.harness import (
    MINUTE,
    SECOND,
    SKEW,
    START,
    TIMEOUT,
    Message,
    Tape,
    World,
    part_of,
    why_parked,
)
from tests.faults.schedules import assert_met, tapes
from tests.faults.test_again import FILES, MARKER, table

ran: Counter[str] = Counter()

FILE = Arrival("landing", "in/a.json", None, "e", "0060", 10, START)
DONE = Arrival("landing", "in/a.json.done", None, "r", "0070", 0, START)


class Sender:
    """Puts objects one after the other, at the time that it is, while a schedule runs."""

    def __init__(self, world: World, later: list[Arrival]) -> None:
        self.world, self.later = world, later
        self.came: list[Arrival] = []
        world.more = (self.put, self.put, self.look)
        world.life = TIMEOUT  # what it lists is not due before: see `waiting_files.later`

    def put(self) -> None:
        if self.later:
            self.world.clock.advance(10 * SECOND)
            arrival = replace(self.later.pop(0), time=self.world.clock())
            self.world.bucket[arrival.key] = arrival
            self.world.versions = [*self.world.versions, arrival]
            self.world.queue.append(Message(arrival, self.world.clock()))
            self.came.append(arrival)

    def look(self) -> None:
        """The next folder is due, and looked at before all that others are about."""
        due = [one.when for one in self.world._due(10**15) if one.kind is DueKind.FOLDERS]
        self.world.clock.advance(max(0, min(due, default=0) - self.world.clock()))
        others = list(self.world.workers)
        self.world.tick()
        for worker in [one for one in self.world.workers if one not in others]:
            worker.finish()

    def play(self) -> None:
        while not self.world.tape.over:
            self.world.act()
        while self.later:
            self.put()
        self.world.settle()
        ran.update(self.world.seen)
        ran["schedules"] += 1

    def of(self, key: str) -> list[Arrival]:
        return [arrival for arrival in self.came if arrival.key == key]


def versions(of: Arrival, count: int, *, versioned: bool) -> list[Arrival]:
    """Several; in an unversioned bucket, of the same bytes."""
    ids = [f"{of.etag}{n}" if versioned else None for n in range(count)]
    sequencers = [f"{of.sequencer}{n}" for n in range(count)]
    return [replace(of, version_id=v, sequencer=s) for v, s in zip(ids, sequencers, strict=True)]


ORDERS = ("fr", "rf", "frfr", "ffr", "rfrf", "frf", "ff")


@tapes(200, 400)
def test_each_version_with_a_ready_file_of_its_own_is_loaded_once(tape: bytes) -> None:
    batch = ({"within": "2h"}, {"within": "2h", "window": "1m"})[tape[0] % 2]
    waits = table(ready="{file}.done", batch=batch, match="in/*.json")
    world = World(Tape(tape), tables=(waits,), final=waits)
    wanted, versioned = ORDERS[world.tape.pick(len(ORDERS))], world.tape.pick(2) == 1
    files = versions(FILE, wanted.count("f"), versioned=versioned)
    readies = versions(DONE, wanted.count("r"), versioned=versioned)
    sender = Sender(world, [(files if what == "f" else readies).pop(0) for what in wanted])
    sender.play()
    came, done = sender.of(FILE.key), sender.of(DONE.key)
    orders = []
    for file in came:
        owner = world.ledger.claimant(file)
        has_its_own = ready._for(file, done, came) is not None
        if owner is None:
            if why_parked(world, file):
                continue
            assert not has_its_own, f"{file} has its ready file, and waits"
            noted = world.ledger.noted[file.object_id, file.version]
            told = world.ledger.rejections.get((file.object_id, file.version))
            assert noted == "superseded" or (told and told.reason == "marker-missing")
            ran[noted] += 1
            continue
        in_window = owner.startswith(WINDOW_PREFIX)
        order = part_of(world, owner, file) if in_window else owner
        record = world.ledger.records[order]
        while record.next_attempt is not None:
            record = world.ledger.records[record.next_attempt]
        assert record.state is State.ANNOUNCED
        orders.append(owner if in_window else order)
        ran["windowed" if in_window else "alone"] += 1
        ran["early"] += not has_its_own
    assert "window" in batch or len(orders) == len(set(orders))


@tapes(200, 400)
def test_a_copy_that_has_a_ready_file_and_its_original_are_loaded_once(tape: bytes) -> None:
    batch = ({"within": "2h"}, {"within": "2h", "window": "1m"})[tape[0] % 2]
    waits = table(ready="{file}.done", batch=batch, match="in/*.json")
    world = World(Tape(tape), tables=(waits,), final=waits)
    wanted = ("frcr", "fcr", "frc", "rfcr")[world.tape.pick(4)]
    original, copy = versions(FILE, 2, versioned=True)
    first, second = versions(DONE, 2, versioned=True)
    later = {"f": [original], "c": [replace(copy, copied=True)], "r": [first, second]}
    sender = Sender(world, [later[what].pop(0) for what in wanted])
    sender.play()
    came, done = sender.of(FILE.key), sender.of(DONE.key)
    for file in came:
        if world.ledger.claimant(file) is None and not why_parked(world, file):
            assert ready._for(file, done, came) is None, f"{file} has its ready file, and waits"
    loaded = [
        file
        for record in world.ledger.records.values()
        if record.batch_id is not None and record.next_attempt is None
        for file in world.ledger.files(record.order)
    ]
    # Where its event is too late, it is taken as S3 lists it, which does not say that it is a copy.
    as_listed = any(file.version == copy.version and file.sequencer is None for file in loaded)
    assert len(loaded) <= 1 + as_listed, "its rows are there twice"
    ran["told"] += any(world.ledger.claimant(file) and file not in loaded for file in came)
    ran["copy loaded"] += any(file.version == copy.version for file in loaded)


# An hour passes, while a worker knows that a marker's grace is not over and has not listed it.
FROZEN = "00*2 8d 00*2 52 00*9 7c ae 00*11 68"
GRACE = table(batch={"marker": "_SUCCESS", "grace": "2m", "within": "30m"})


@tapes(200, 400, FROZEN)
def test_files_that_come_within_the_grace_of_a_marker_are_in_its_batch(tape: bytes) -> None:
    world = World(Tape(tape), tables=(GRACE,), final=GRACE)
    before = world.tape.pick(4)
    sender = Sender(world, [*FILES[:before], MARKER, *FILES[before:]])
    sender.play()
    [marker] = sender.of(MARKER.key)
    [window] = world.ledger.windows.kept.values() or [None]
    if window is None:  # weeks in queues, again and again
        assert why_parked(world, marker) == {"too-old"}
        return
    assert window.window_id == marker_id(marker)
    for file in sender.came:
        if file == marker:
            continue
        if world.ledger.claimant(file) is None:
            assert file.time > marker.time + 2 * MINUTE
            ran["after its grace"] += 1
        else:
            part_of(world, window.window_id, file)
            ran["within its grace"] += file.time > marker.time


QUIET = table(batch={"quiet": "4m"}, match="in/**")
FOLDER = [
    *FILES,
    replace(FILES[0], version_id="f9", sequencer="0059"),
    replace(FILES[1], key="in/night/part-9.json"),
]

# A file is parked after a day of tries, and redriven when the next version of it is loaded.
OVERTAKEN = "00*6 b4 00 a6 00*6 8a 00 34 00*3 ba 00*3 0c 9b 97 00*6 45 00*2 8a 5b 57 00*11 19"


@tapes(200, 400, OVERTAKEN)
def test_each_file_of_a_folder_is_in_one_batch_once_that_is_quiet(tape: bytes) -> None:
    world = World(Tape(tape), tables=(QUIET,), final=QUIET)
    sender = Sender(world, FOLDER[world.tape.pick(3) :])
    sender.put()
    sender.play()
    for file in sender.came:
        owner = world.ledger.claimant(file)
        if owner is None:
            assert why_parked(world, file)
            continue
        order = part_of(world, owner, file)
        assert world.ledger.records[order].order.files == ()
        window = world.ledger.windows.kept[owner]
        assert window.sealed_at is not None
        assert window.sealed_at - window.start >= 4 * MINUTE - SKEW
        ran["in a quiet window"] += 1
    assert set(world.ledger.windows.newest.values()) <= set(world.ledger.windows.kept)
    ran["quiet windows"] += len(world.ledger.windows.kept)


def test_the_schedules_went_where_it_hurts(
    record_property: Callable[[str, object], None],
) -> None:
    schedules = ran.pop("schedules")
    record_property("says", f"{schedules} schedules of files that wait for a sign: {dict(ran)}")
    assert_met(
        ran,
        schedules,
        50,
        "windowed",
        "alone",
        "superseded",
        "waiting",
        "told",
        "copy loaded",
        "within its grace",
        "quiet windows",
    )
