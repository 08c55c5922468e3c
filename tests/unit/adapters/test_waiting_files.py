"""The lists of a folder where files wait, and how few writes keep it due in time."""

from dataclasses import replace
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.waiting_files import KNOWN_MS, DynamoFolders
from aep_intake.grouping.ports import WaitingPorts
from aep_intake.grouping.waiting_files import folder_of, groups, later, send_overdue
from aep_intake.model.files import Arrival
from aep_intake.model.history import Hold, OverdueFiles, WaitingFile, WaitingGroup
from aep_intake.model.orders import claims
from aep_intake.model.times import MINUTE_MS, SKEW_MS

from tests.memory_ledger import MemoryLedger
from tests.memory_table import Item, MemoryTable

HOUR = 3_600_000
NOW = 1_790_000_000_000
FILE = Arrival("landing", "in/day/a.json", "v1", "e1", "0061", 10, NOW)
FOLDER = folder_of(FILE)


class Table(MemoryTable):
    """And what was written: the kind of what was put, or how it was changed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def put(self, item: Item, condition: Item | None = None) -> None:
        self.writes.append(item["sk"]["S"].partition("#")[0])
        super().put(item, condition)

    def update(self, pk: str, sk: str, expression: str, values: Item, condition: str) -> Item:
        self.writes.append("update")
        return super().update(pk, sk, expression, values, condition)


class World:
    """Two workers, and one that handles the folder; their clocks differ by `skew_ms`."""

    def __init__(self, skew_ms: int = 0) -> None:
        self.now, self.skew_ms = NOW, skew_ms
        self.table: Any = Table()
        self.ledger = MemoryLedger()
        self.overdue: list[OverdueFiles] = []
        self.taken_in: list[Arrival] = []
        self.one, self.other = self.worker(0), self.worker(-skew_ms)

    def worker(self, skew_ms: int) -> DynamoFolders:
        return DynamoFolders(self.table, lambda: self.now + skew_ms, 60 * 24 * HOUR)

    def come(self, worker: DynamoFolders, name: str) -> Arrival:
        file = replace(FILE, key=f"in/day/{name}", version_id=name)
        self.ledger.note_waiting(file, "r", "its marker", 0)
        [group] = groups([WaitingFile(file, "r", HOUR)], self.now, 0)
        worker.wait(group)
        return file

    def handle(self) -> None:
        """Whoever is handed the folder, by a clock that is ahead."""
        folders = self.worker(self.skew_ms)
        objects: Any = self
        ledger: Any = self.ledger
        send_overdue(
            FOLDER,
            WaitingPorts(
                ledger=ledger,
                folders=folders,
                announcer=objects,
                objects=objects,
                send=self.overdue.append,
                take_in=self.taken_in.append,
                now=lambda: self.now + self.skew_ms,
            ),
        )

    def arrival(self, _: str, key: str) -> Arrival:
        return replace(FILE, key=key, version_id=key.rpartition("/")[2])

    @property
    def due(self) -> int | None:
        folder = self.one.get(FOLDER)
        assert folder is not None
        return folder.due


def test_a_folder_that_is_due_in_time_is_written_once_a_minute() -> None:
    world = World()
    for n in range(10):
        world.come(world.one, f"{n}.json")
    assert world.table.writes.count("update") == 1
    world.now += KNOWN_MS
    for n in range(10, 20):
        world.come(world.one, f"{n}.json")
    assert world.table.writes.count("update") == 2


def test_whoever_is_handed_a_folder_keeps_it_and_sees_what_comes_meanwhile() -> None:
    """Though what comes is due before his lease is over; and nobody relies on that time."""
    world = World()
    world.come(world.one, "first.json")
    world.now = world.due or 0
    lease = {"due": {"N": str(world.now + 9 * HOUR)}, "known": {"N": str(world.now)}}
    how = "SET due = :due, due_since = if_not_exists(due_since, :known)"
    place = (f"folder#{FOLDER}", "folder")
    world.table.update(*place, how, lease, "due = :known")
    for number in range(1, 4):
        before = world.table.items[place]
        world.come(world.one, f"{number}.json")
        after = world.table.items[place]
        assert after["due"] == before["due"]
        assert int(after["revision"]["N"]) == int(before["revision"]["N"]) + 1
    world.handle()
    assert len(world.overdue) == 1
    assert world.now < (world.due or 0) <= world.now + 2 * HOUR


def test_who_lists_a_file_when_its_folder_is_due_by_another_clock_has_it_seen() -> None:
    """It knows that the folder is due about now; whoever handles it has read the list by then."""
    world = World()
    other, late = world.worker(-SKEW_MS), list[Arrival]()
    first = world.come(world.one, "first.json")
    due = world.due or 0
    world.now = due - MINUTE_MS + SKEW_MS
    other.wait(WaitingGroup(FOLDER, "r", MINUTE_MS, due, (first,)))
    put = world.table.put

    def advance(item: Item, condition: Item | None = None) -> None:
        if item["sk"]["S"] == "folder" and not late:
            late.append(world.come(other, "late.json"))
        put(item, condition)

    world.table.put, world.now = advance, due
    world.handle()
    assert late
    assert world.due is not None


def test_until_when_a_marker_may_be_worked_on() -> None:
    world = World()
    assert list(world.one.holds([FOLDER])) == []
    world.one.hold(FOLDER, Hold(NOW + 9, HOUR))
    assert list(world.other.holds([FOLDER])) == [Hold(NOW + 9, HOUR)]


def test_a_marker_that_comes_twice_is_worked_on_as_long_as_the_first_worker_says() -> None:
    world = World()
    world.one.hold(FOLDER, Hold(NOW + HOUR))
    world.other.hold(FOLDER, Hold(NOW + HOUR // 2))
    assert list(world.one.holds([FOLDER])) == [Hold(NOW + HOUR)]
    world.other.hold(FOLDER, Hold(NOW + 2 * HOUR))
    assert list(world.one.holds([FOLDER])) == [Hold(NOW + 2 * HOUR)]


@pytest.mark.parametrize("skew_ms", [0, SKEW_MS])
@pytest.mark.parametrize("late_ms", [*range(0, 2 * MINUTE_MS, 5000)])
@pytest.mark.parametrize("earlier", ["marker", "file"])
def test_whoever_lists_a_file_while_its_folder_is_due_even_earlier_lists_it_for_somebody(
    skew_ms: int, late_ms: int, earlier: str
) -> None:
    """A worker that knows when the folder is due writes nothing but the list.

    By then another worker has made it due earlier: for a marker near its worker's end, or a file of
    a route with less time. All other files were taken.
    """
    world = World(skew_ms)
    taken = world.come(world.one, "taken.json")
    known = world.come(world.other, "known.json")
    for file in (taken, known):
        world.ledger.claim(claims(file), "window-1")
    marker = replace(FILE, key="in/day/_SUCCESS", version_id="marker")
    if earlier == "marker":
        world.one.wait(later(marker, "r", NOW + 15_000))
    else:
        world.ledger.claim(claims(marker), "window-1")
        [group] = groups([WaitingFile(marker, "r", MINUTE_MS)], NOW, 0)
        world.one.wait(group)
    came = NOW + late_ms
    for world.now in range(NOW, NOW + 3 * MINUTE_MS, 2500):
        if (world.due or 0) <= world.now + skew_ms:
            world.handle()
        if world.now == came:
            world.come(world.other, "late.json")
    assert world.taken_in == [marker] * (earlier == "marker")
    assert world.overdue == []
    while world.due is not None:
        world.now = world.due
        world.handle()
    told = [
        file.key
        for overdue in world.overdue
        for found in world.one.waiting(FOLDER, overdue.after, overdue.until)
        for file in found.files
    ]
    assert "in/day/late.json" in told
