"""The lists of a folder where files wait, and how few writes keep it due in time."""

from dataclasses import replace
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.waiting_files import KNOWN_MS, SOON_MS, DynamoFolders
from aep_intake.grouping.missing_markers import folder_of, later, listings, send_overdue
from aep_intake.grouping.ports import WaitingPorts
from aep_intake.model.files import Arrival
from aep_intake.model.history import Hold, Missing, WaitingFile
from aep_intake.model.times import SKEW_MS

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
        self.missing: list[Missing] = []
        self.taken_in: list[Arrival] = []
        self.one, self.other = self.worker(0), self.worker(-skew_ms)

    def worker(self, skew_ms: int) -> DynamoFolders:
        return DynamoFolders(self.table, lambda: self.now + skew_ms, 60 * 24 * HOUR)

    def come(self, worker: DynamoFolders, name: str) -> Arrival:
        file = replace(FILE, key=f"in/day/{name}", version_id=name)
        self.ledger.note_waiting(file, "r", "its marker", 0)
        [listing] = listings([WaitingFile(file, "r", HOUR)], self.now, 0)
        worker.wait(listing)
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
                send=self.missing.append,
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


def test_ready_files_that_come_together_make_their_folder_due_once() -> None:
    world = World()
    world.come(world.one, "a.json")
    world.table.writes.clear()
    for _ in range(10):
        world.one.look_soon(FOLDER)
    assert (world.table.writes, world.due) == (["update"], NOW + SOON_MS)
    for _ in range(10):  # another worker learns that, and asks no more
        world.other.look_soon(FOLDER)
    assert (world.table.writes, world.due) == (["update"] * 2, NOW + SOON_MS)


def test_where_no_file_waits_there_is_nothing_to_look_at() -> None:
    world = World()
    world.one.look_soon(FOLDER)
    assert world.table.items == {}
    world.come(world.one, "a.json")
    due = world.due
    assert due is not None
    world.now = due - 1
    world.other.look_soon(FOLDER)
    assert world.due == due, "it is due sooner"


@pytest.mark.parametrize("skew_ms", [0, SKEW_MS])
@pytest.mark.parametrize("late_ms", [*range(0, SOON_MS + 40_000, 5000)])
def test_whoever_lists_a_file_after_its_marker_it_is_due(skew_ms: int, late_ms: int) -> None:
    """A worker that knows when the folder is due writes nothing but the list."""
    world = World(skew_ms)
    taken = world.come(world.one, "taken.json")
    world.come(world.other, "known.json")
    claim = replace(taken, key="in/day/known.json", version_id="known.json")
    for file in (taken, claim):
        world.ledger.note(file, "nothing-new", "r")  # as if a marker had taken it
    world.one.look_soon(FOLDER)
    came = NOW + late_ms
    for world.now in range(NOW, NOW + SOON_MS + 60_000, 2500):
        due = world.due
        if due is not None and due <= world.now + skew_ms:
            world.handle()
        if world.now == came:
            world.come(world.other, "late.json")
    folder = world.one.get(FOLDER)
    assert folder is not None
    assert folder.done, "it was looked at"
    assert (folder.due or 0) >= came + HOUR


@pytest.mark.parametrize("marker", [True, False], ids=["marker", "file"])
def test_who_lists_a_file_relies_on_no_time_while_the_folder_is_handed_out(*, marker: bool) -> None:
    """Whoever has the folder may find that none waits, and then it is never due again."""
    world = World()
    taken = world.come(world.one, "taken.json")
    world.now = world.due or 0
    lease = {"due": {"N": str(world.now + 9 * HOUR)}, "known": {"N": str(world.now)}}
    how = "SET due = :due, due_since = if_not_exists(due_since, :known)"
    world.table.update(f"folder#{FOLDER}", "folder", how, lease, "due = :known")
    files = [taken]
    if marker:
        world.one.look_soon(FOLDER)
    else:  # its event comes after the marker took it
        files.append(world.come(world.one, "late event.json"))
    for file in files:
        world.ledger.note(file, "nothing-new", "r")
    world.handle()
    assert world.due is None
    world.come(world.one, "new.json")
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
@pytest.mark.parametrize("late_ms", [*range(0, SOON_MS + 40_000, 5000)])
def test_a_marker_listed_for_soon_makes_nobody_list_a_file_for_nobody(
    skew_ms: int, late_ms: int
) -> None:
    """A worker near its end puts a marker off by some seconds; all other files were taken."""
    world = World(skew_ms)
    taken = world.come(world.one, "taken.json")
    known = world.come(world.other, "known.json")
    for file in (taken, known):
        world.ledger.note(file, "nothing-new", "r")
    marker = replace(FILE, key="in/day/_SUCCESS", version_id="marker")
    world.one.wait(later(marker, "r", NOW + 15_000))
    came = NOW + late_ms
    for world.now in range(NOW, NOW + SOON_MS + 60_000, 2500):
        due = world.due
        if due is not None and due <= world.now + skew_ms:
            world.handle()
        if world.now == came:
            world.come(world.other, "late.json")
    assert world.taken_in == [marker]
    assert (world.due or 0) >= came + HOUR
