"""A file waits for its ready file, whichever of the two arrives first."""

from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals.results import Joined, Result, Skipped, Waits
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import DueKind
from aep_intake.grouping import ready, waiting_files
from aep_intake.grouping.ready import EARLY_MS, EVENT_LATE_MS, SAME_TIME_MS
from aep_intake.model.errors import LedgerUnavailable, MarkerMissing, NotYet, RowsDiffer
from aep_intake.model.files import Arrival
from aep_intake.model.progress import Outcome

from local.simulator.seed import LOYALTY
from tests.faults.harness import (
    DAY,
    HOUR,
    MINUTE,
    RETENTION,
    SECOND,
    START,
    Message,
    Tape,
    World,
    go_on,
)
from tests.faults.test_again import table
from tests.memory_ledger import all_due

ROUTE: dict[str, Any] = {"datasetId": LOYALTY, "ready": "{file}.done", "match": "in/*.csv"}
FILE = Arrival("landing", "in/a.csv", "v1", "e1", "0061", 10, START)
DONE = Arrival("landing", "in/a.csv.done", "r1", "r", "0071", 0, START + 2 * SECOND)
BEGINS = {"inputFormat": {"format": "csv"}, "lookInside": False}


def world_of(**written: Any) -> World:
    world = World(Tape(b""), tables=(table(**ROUTE | BEGINS | written),))
    world.calm = True
    world.simulator.show_in_catalog(None)
    return world


@pytest.fixture
def world() -> World:
    return world_of()


def put(world: World, *files: Arrival) -> None:
    """Objects come into the bucket, in this order."""
    world.bucket |= {file.key: file for file in files}


def arrive(world: World, *files: Arrival) -> list[Result]:
    """Their events come, in this order, each alone; and then what was sent again."""
    results = [take(world, file) for file in files]
    while world.queue:
        results.append(take(world, world.queue.pop(0).arrival))
    return results


def take(world: World, file: Arrival) -> Result:
    [result] = take_in({file.external_id: file}, world.intake(0), map).values()
    return result


def loaded(world: World) -> list[Arrival]:
    """The files that have batches."""
    assert len(world.simulator.batches()) == len(world.ledger.records)
    return [file for record in world.ledger.records.values() for file in record.order.files]


def test_a_file_waits_until_its_ready_file_comes(world: World) -> None:
    put(world, FILE)
    assert arrive(world, FILE) == [Waits("again")]
    assert world.ledger.noted[FILE.object_id, FILE.version] == "waiting"
    assert all_due(world.ledger, 10**15)
    put(world, DONE)
    done, taken = arrive(world, DONE)
    assert done == Skipped("ready")
    assert isinstance(taken, Outcome)
    assert loaded(world) == [FILE]
    assert world.ledger.noted[DONE.object_id, DONE.version] == "ready"


def test_a_ready_file_may_lack_the_ending_of_its_file() -> None:
    world = world_of(ready="{stem}.ctl")
    ready = replace(DONE, key="in/a.ctl")
    put(world, FILE)
    assert arrive(world, FILE) == [Waits("again")]
    put(world, ready)
    assert arrive(world, ready)[0] == Skipped("ready")
    assert loaded(world) == [FILE]


@pytest.mark.parametrize("versioned", [True, False])
def test_the_events_may_come_in_the_other_order(world: World, *, versioned: bool) -> None:
    file, done = FILE, DONE
    if not versioned:
        file, done = (replace(one, version_id=None) for one in (FILE, DONE))
    put(world, file, done)
    if versioned:
        with pytest.raises(NotYet):  # the event of the file will come, and tells more than S3
            raise_(take(world, done))
    else:
        assert take(world, done) == Skipped("ready")
    assert not world.queue
    [taken] = arrive(world, file)
    assert isinstance(taken, Outcome)
    assert arrive(world, done) == [Skipped("ready")]
    [loaded_file] = loaded(world)
    assert loaded_file.sequencer == "0061"


def raise_(result: Result) -> None:
    if isinstance(result, Exception):
        raise result


def test_a_ready_file_may_be_written_first(world: World) -> None:
    """As where both are uploaded side by side."""
    early = replace(DONE, time=START - MINUTE)
    put(world, early)
    assert arrive(world, early) == [Skipped("ready")]
    put(world, FILE)
    [taken] = arrive(world, FILE)
    assert isinstance(taken, Outcome)


def test_a_file_of_which_no_event_comes_is_taken_as_s3_lists_it(world: World) -> None:
    """Such as one that came before the stack was connected."""
    put(world, FILE, DONE)
    world.clock.advance(EVENT_LATE_MS + 2 * SECOND)
    arrive(world, DONE)
    assert [file.version for file in loaded(world)] == [FILE.version]


def test_what_is_found_by_a_ready_file_of_a_backfill_is_brought_by_it_too(world: World) -> None:
    """Else it would be too old."""
    file, done = (replace(one, time=START - 2 * RETENTION) for one in (FILE, DONE))
    put(world, file, done)
    arrive(world, replace(done, sequencer=None, brought_by="backfill-x", aged=True))
    [taken] = loaded(world)
    assert (taken.version, taken.brought_by) == (FILE.version, "backfill-x")


def test_another_file_s_ready_file_says_nothing(world: World) -> None:
    other = replace(DONE, key="in/b.csv.done")
    put(world, FILE, other)
    assert arrive(world, FILE, other) == [Waits("again"), Skipped("ready")]
    assert not loaded(world)


def test_each_version_needs_a_ready_file_of_its_own(world: World) -> None:
    put(world, FILE, DONE)
    arrive(world, FILE, DONE)
    assert loaded(world) == [FILE]
    world.clock.advance(10 * MINUTE)
    second = replace(FILE, version_id="v2", sequencer="0062", time=world.clock())
    put(world, second)
    assert arrive(world, second) == [Waits("again")]
    again = replace(DONE, version_id="r2", sequencer="0072", time=world.clock() + SECOND)
    put(world, again)
    arrive(world, again)
    assert loaded(world) == [FILE, second]
    assert arrive(world, FILE, again, second)  # duplicates change nothing
    assert loaded(world) == [FILE, second]


def test_one_of_yesterday_says_nothing_though_nobody_remembers_it(world: World) -> None:
    put(world, replace(DONE, time=START - EARLY_MS - 1), FILE)
    assert arrive(world, FILE) == [Waits("again")]


def test_a_version_that_was_overwritten_before_its_ready_file_is_superseded(world: World) -> None:
    second = replace(FILE, version_id="v2", sequencer="0062", time=START + SECOND)
    put(world, FILE, second, replace(DONE, time=START + 5 * SECOND))
    assert arrive(world, FILE) == [Waits("again")]
    arrive(world, second)
    assert loaded(world) == [second]
    world.clock.advance(30 * HOUR)
    assert overdue(world) == []
    assert world.ledger.superseded[FILE.object_id, f"noted#{FILE.version}"] == "v:v2"


def test_after_a_day_of_silence_each_version_finds_its_own_ready_file(world: World) -> None:
    """As when a pause ends: the events come at last, in any order, and S3 shows the last alone."""
    files, readies = [], []
    for hour in range(4):
        at = START + hour * HOUR
        files.append(replace(FILE, version_id=f"v{hour}", sequencer=f"006{hour}", time=at))
        readies.append(
            replace(DONE, version_id=f"r{hour}", sequencer=f"007{hour}", time=at + MINUTE)
        )
    put(world, *files, *readies)
    world.clock.advance(DAY)
    arrive(world, readies[1], *reversed(files), *readies[2:], readies[0])
    assert sorted(file.version for file in loaded(world)) == ["v:v0", "v:v1", "v:v2", "v:v3"]


def test_of_two_that_are_each_written_a_little_before_their_files_each_lets_one_through(
    world: World,
) -> None:
    for day in range(3):
        at = START + day * DAY
        done = replace(DONE, version_id=f"r{day}", sequencer=f"007{day}", time=at)
        file = replace(FILE, version_id=f"v{day}", sequencer=f"006{day}", time=at + MINUTE)
        put(world, done)
        arrive(world, done)
        assert len(loaded(world)) == day
        put(world, file)
        arrive(world, file)
        assert len(loaded(world)) == day + 1
        world.clock.advance(DAY)


def test_the_same_bytes_again_in_an_unversioned_bucket_are_a_version_too(world: World) -> None:
    first = replace(FILE, version_id=None)
    second = replace(first, sequencer="0062", time=START + 10 * SECOND)
    done = replace(DONE, version_id=None, time=START + 12 * SECOND)
    put(world, second)
    assert arrive(world, first, second) == [Waits("again")] * 2
    put(world, done)
    arrive(world, done)
    assert [file.sequencer for file in loaded(world)] == ["0062"]
    later = replace(first, sequencer="0063", time=START + 20 * SECOND)
    put(world, later)
    assert arrive(world, later) == [Waits("again")]
    put(world, replace(done, sequencer="0073", time=START + 22 * SECOND))
    arrive(world, replace(done, sequencer="0073", time=START + 22 * SECOND))
    assert [file.sequencer for file in loaded(world)] == ["0062", "0063"]
    world.clock.advance(30 * HOUR)
    assert overdue(world) == []
    assert world.ledger.superseded[first.object_id, f"noted#{first.version}"] == later.version


def test_a_late_event_of_an_earlier_version_finds_the_ready_file_that_was_its_own(
    world: World,
) -> None:
    """Nothing is lost, whichever event is late: here the newer version came first, and took it."""
    second = replace(FILE, version_id="v2", sequencer="0062", time=START + MINUTE)
    put(world, FILE, DONE, second)
    arrive(world, second)
    arrive(world, FILE)
    assert loaded(world) == [second, FILE]


def test_a_late_event_of_a_ready_file_finds_the_version_that_was_its_own(world: World) -> None:
    """Whether the version still waits, or was told meanwhile that a newer one takes its place."""
    second = replace(FILE, version_id="v2", sequencer="0062", time=START + MINUTE)
    again = replace(DONE, version_id="r2", sequencer="0072", time=START + 2 * MINUTE)
    put(world, FILE, DONE, second, again)
    arrive(world, FILE, second, again)
    assert loaded(world) == [second]
    world.clock.advance(30 * HOUR)
    assert overdue(world) == []
    assert world.ledger.noted[FILE.object_id, FILE.version] == "superseded"
    arrive(world, DONE)
    assert loaded(world) == [second, FILE]


def test_a_copy_that_waited_is_told_if_its_original_was_loaded_meanwhile(world: World) -> None:
    copy = replace(FILE, version_id="v2", sequencer="0063", time=START + MINUTE, copied=True)
    again = replace(DONE, version_id="r2", sequencer="0073", time=START + 2 * MINUTE)
    put(world, FILE, copy)
    assert arrive(world, FILE, copy) == [Waits("again"), Waits("again")]
    put(world, DONE)
    assert Skipped("same-bytes") in arrive(world, DONE)
    put(world, again)
    assert arrive(world, again) == [Skipped("ready")]
    assert loaded(world) == [FILE]


def test_with_a_window_a_file_joins_that_of_its_ready_file() -> None:
    world = world_of(batch={"window": "5m"})
    put(world, FILE)
    assert arrive(world, FILE) == [Waits("again")]
    world.clock.advance(7 * MINUTE)
    put(world, DONE)
    world.bucket[DONE.key] = replace(DONE, time=world.clock(), size=2)
    done, joined = arrive(world, DONE)
    assert done == Skipped("ready")
    assert isinstance(joined, Joined)
    [window] = world.ledger.windows.kept.values()
    assert window.start > FILE.time


def counted(world: World, text: bytes) -> None:
    """The ready file has this in it."""
    put(world, FILE, replace(DONE, size=len(text)))
    held = {(DONE.bucket, DONE.key, DONE.version): text}
    held[FILE.bucket, FILE.key, FILE.version] = b"a,b\n1,2\n3,4\n"
    world._listed = lambda: _Bucket(world.bucket, held)  # type: ignore[method-assign]


def _Bucket(bucket: Any, contents: Any) -> Any:
    from tests.faults.harness import ListedBucket  # noqa: PLC0415

    made = ListedBucket(bucket)
    made.contents = contents
    return made


LOOKED_AT: dict[str, Any] = {"inputFormat": {"format": "csv"}, "lookInside": True}


WIDE = ["2\r\n".encode("utf-16"), b"\xfe\xff\0002", b"\xef\xbb\xbf2\n"]  # as PowerShell writes it


@pytest.mark.parametrize("text", WIDE)
def test_the_number_of_rows_may_be_in_utf_16_or_have_a_mark(text: bytes) -> None:
    world = world_of(**LOOKED_AT)
    counted(world, text)
    arrive(world, FILE)
    assert [file.rows for file in loaded(world)] == [2]


@pytest.mark.parametrize("text", [b"2", b" 2\r\n", b"", b"rows: 3", b"3 rows", b"2026-11-28"])
def test_what_the_ready_file_says_of_rows_holds_or_is_no_number(text: bytes) -> None:
    world = world_of(**LOOKED_AT)
    counted(world, text)
    [taken] = arrive(world, FILE)
    assert isinstance(taken, Outcome)
    [file] = loaded(world)
    assert file.rows == (2 if text.strip() == b"2" else None)


def test_a_file_with_other_rows_is_rejected_before_a_batch_is_spent() -> None:
    world = world_of(**LOOKED_AT)
    counted(world, b"3\n")
    with pytest.raises(RowsDiffer, match="has 2 rows, and its ready file says 3"):
        raise_(take(world, FILE))
    assert not world.simulator.batches()
    assert (FILE.external_id, None) in world.events
    world.queue += [Message(FILE, START)]  # as an operator redrives it, and nothing has changed
    with pytest.raises(RowsDiffer):
        raise_(take(world, FILE))


def overdue(world: World) -> list[MarkerMissing]:
    """The clock has run, and on_arrival takes what is to be told."""
    for due in all_due(world.ledger, world.clock()):
        if due.kind is DueKind.FOLDERS:
            go_on(due.kind, due.id, world.intake(0))
    told = []
    for overdue in sorted(world.overdue, key=lambda one: one.after):
        try:
            waiting_files.reject_overdue(overdue, world.intake(0).waiting, map)
        except MarkerMissing as why:
            told.append(why)
    return told


def test_a_file_whose_ready_file_does_not_come_is_told(world: World) -> None:
    put(world, FILE)
    arrive(world, FILE)
    world.clock.advance(30 * HOUR)
    [why] = overdue(world)
    assert "its ready file ({file}.done)" in str(why)
    assert "in 24h" in str(why)
    assert world.ledger.rejections[FILE.object_id, FILE.version].reason == "marker-missing"
    parked = set(world.overdue)
    world.overdue.clear()
    late = replace(DONE, time=world.clock())
    put(world, late)
    arrive(world, late)
    assert loaded(world) == [FILE]
    assert world.overdue == parked, "it was sent again, so that its item ends"
    assert overdue(world) == []


@pytest.mark.parametrize("batch", [{}, {"window": "5m"}])
def test_what_is_parked_of_several_files_ends_with_the_last_of_their_ready_files(
    batch: dict[str, Any],
) -> None:
    world = world_of(batch=batch)
    files = [replace(FILE, key=f"in/{name}.csv") for name in "abc"]
    put(world, *files)
    take_in({file.external_id: file for file in files}, world.intake(0), map)
    world.clock.advance(30 * HOUR)
    [why] = overdue(world)
    assert len(why.files) == 3
    parked = set(world.overdue)
    world.overdue.clear()
    for file in files:
        assert world.overdue == set(), "others still wait"
        late = replace(DONE, key=f"{file.key}.done", time=world.clock())
        put(world, late)
        arrive(world, late)
    assert world.overdue == parked


def test_where_the_ledger_does_not_answer_what_is_parked_ends_when_the_file_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(world, FILE)
    arrive(world, FILE)
    world.clock.advance(30 * HOUR)
    assert overdue(world)
    parked = set(world.overdue)
    world.overdue.clear()
    put(world, late := replace(DONE, time=world.clock()))

    def fail(*_: object) -> Any:
        raise LedgerUnavailable("throttled")

    with monkeypatch.context() as patched:
        patched.setattr(waiting_files, "release", fail)
        _, taken = arrive(world, late)
        assert isinstance(taken, LedgerUnavailable)
    assert isinstance(take(world, FILE), Outcome)
    assert world.overdue == parked
    assert len(loaded(world)) == 1


def test_within_is_the_route_s() -> None:
    world = world_of(batch={"within": "1h"})
    put(world, FILE)
    arrive(world, FILE)
    world.clock.advance(HOUR + 20 * MINUTE)
    assert [" in 1h" in str(why) for why in overdue(world)] == [True]


def test_a_ready_file_without_an_event_is_found_before_anything_is_told(world: World) -> None:
    """`KeyPattern` may leave ready files out."""
    put(world, FILE)
    arrive(world, FILE)
    put(world, DONE)
    world.clock.advance(30 * HOUR)
    assert overdue(world) == []
    arrive(world)
    assert loaded(world) == [FILE]


def test_times_that_the_rules_depend_on() -> None:
    assert SAME_TIME_MS < EVENT_LATE_MS < EARLY_MS
    assert ready.COUNT_BYTES_MAX >= 20
