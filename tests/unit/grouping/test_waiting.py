"""Waiting files whose marker does not come are told of; those whose marker came are not."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aep_intake.adapters.dynamodb.waiting_files import DynamoFolders
from aep_intake.arrivals.dry_run import reading
from aep_intake.arrivals.results import Gathered, Known, Skipped, Waits
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import Due, DueKind
from aep_intake.grouping import waiting_files
from aep_intake.grouping.waiting_files import (
    FILES_PER_MESSAGE,
    deadline,
    folder_of,
    groups,
)
from aep_intake.model import records
from aep_intake.model.errors import (
    LedgerUnavailable,
    MarkerMissing,
    NotAnnounced,
    NotYet,
    StorageUnavailable,
)
from aep_intake.model.files import Arrival
from aep_intake.model.history import Hold, OverdueFiles, Seen, WaitingFile, WaitingGroup
from aep_intake.model.orders import claims
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import Rejection
from aep_intake.model.windows import WindowStage, marker_id

from local.simulator.seed import LOYALTY
from tests.faults.harness import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    SKEW,
    START,
    TIMEOUT,
    Tape,
    World,
    go_on,
    take,
)
from tests.faults.test_again import AGAIN, FILES, MARKER, table
from tests.memory_ledger import all_due, due_of

PATIENT = table(batch={"marker": "_SUCCESS", "within": "2h"})
FOLDER = folder_of(FILES[0])
COARSE = 30 * MINUTE  # a quarter of two hours
# When the time of what comes at the start is over.
OVER = -(-(START + 2 * HOUR) // COARSE) * COARSE


@pytest.fixture
def world() -> World:
    """Five files have come, and wait two hours for their marker."""
    world = World(Tape(b""), tables=(PATIENT,))
    world.calm = True
    world.simulator.show_in_catalog(None)
    come(world, *FILES)
    return world


def come(world: World, *files: Arrival) -> None:
    """Files arrive in one delivery."""
    world.bucket |= {file.key: file for file in files}
    results = take_in({file.external_id: file for file in files}, world.intake(0), map)
    assert set(results.values()) == {Waits("again")}


def file(name: str, world: World, **changes: Any) -> Arrival:
    """One more, which comes now."""
    new = replace(FILES[0], key=f"in/day/{name}", version_id=name, time=world.clock())
    return replace(new, **changes)


def tick(world: World) -> None:
    """The clock of the stack, and all of what is due is worked on."""
    for what in all_due(world.ledger, world.clock()):
        go_on(what.kind, what.id, world.intake(0))


def later(world: World, milliseconds: int) -> list[MarkerMissing]:
    """So much later: the clock ticks, and on_arrival takes what is to be told."""
    world.clock.advance(milliseconds)
    tick(world)
    return told(world)


def told(world: World) -> list[MarkerMissing]:
    """on_arrival takes what is to be told, and parks what is rejected."""
    rejected = []
    for overdue in sorted(world.overdue, key=lambda one: one.after):
        try:
            waiting_files.reject_overdue(overdue, world.intake(0).waiting, map)
        except MarkerMissing as why:
            rejected.append(why)
            world.overdue_parked.add(overdue)
    world.overdue.clear()
    return rejected


def reasons(world: World) -> dict[str, str]:
    """Why files were rejected, by the last part of their keys."""
    found = {
        one.key.rpartition("/")[2]: world.ledger.rejections.get((one.object_id, one.version))
        for one in world.bucket.values()
    }
    return {name: rejection.reason for name, rejection in found.items() if rejection}


def test_a_folder_is_due_when_the_time_of_its_first_files_is_over(world: World) -> None:
    assert all_due(world.ledger, 10**15) == [Due(DueKind.FOLDERS, FOLDER, OVER)]
    world.clock.advance(OVER - START - 1)
    before = world.ledger.folders.get(FOLDER)
    go_on(DueKind.FOLDERS, FOLDER, world.intake(0))  # a message that came too early
    assert world.overdue == set()
    assert world.ledger.folders.get(FOLDER) == before
    world.clock.advance(1)
    tick(world)
    assert len(world.overdue) == 1
    assert not all_due(world.ledger, 10**15)
    go_on(DueKind.FOLDERS, FOLDER, world.intake(0))
    assert len(world.overdue) == 1


def test_files_without_their_marker_are_rejected_and_told_together(world: World) -> None:
    [why] = later(world, OVER - START)
    [overdue] = world.overdue_parked
    assert why.external_id == overdue.external_id
    assert why.external_id is not None
    assert why.external_id.startswith("folder-")
    text = str(why)
    assert "s3://landing/in/day/part-0.json and 4 more" in text
    assert "route `again`" in text
    assert " in 2h." in text
    assert reasons(world) == {f"part-{n}.json": "marker-missing" for n in range(5)}
    assert world.events == [(why.external_id, None)]
    # They wait still, and who sends the parked message again is told so.
    world.redrive()
    assert [again.external_id for again in told(world)] == [why.external_id]


def test_files_whose_first_try_failed_are_rejected_like_any(world: World) -> None:
    for each in FILES[:2]:
        world.ledger.note_retrying(each, "S3 was busy", START + 48 * HOUR)
    [_] = later(world, OVER - START)
    assert reasons(world) == {f"part-{n}.json": "marker-missing" for n in range(5)}


def test_a_marker_takes_them_even_then(world: World) -> None:
    assert later(world, OVER - START)
    gathered = take(MARKER, world.intake(0))
    assert isinstance(gathered, Gathered)
    assert gathered.files == 5
    world.redrive()
    assert told(world) == []


def test_what_is_parked_ends_when_a_late_marker_took_its_files(world: World) -> None:
    """Nobody need redrive it, who would be told that no file waits any more."""
    assert later(world, OVER - START)
    [parked] = world.overdue_parked
    assert not all_due(world.ledger, 10**15)
    take(MARKER, world.intake(0))
    assert world.overdue == {parked}, "it is sent again, as a redrive does"
    assert told(world) == [], "so its item ends"
    folder = world.ledger.folders.get(FOLDER)
    assert folder is not None
    assert (folder.due, folder.parked) == (None, ())
    assert take(MARKER, world.intake(0)) == Known(marker_id(MARKER))
    assert world.overdue == set(), "once"


def test_who_finds_a_marker_s_window_sealed_ends_what_is_parked(world: World) -> None:
    """The worker that sealed it may have died before it came to that."""
    assert later(world, OVER - START)
    [parked] = world.overdue_parked
    for each in FILES:
        world.ledger.claim(claims(each), "window-1")
    intake = world.intake(0)
    window: Any = SimpleNamespace(stage=WindowStage.FINISHED, due=None)
    windows: Any = SimpleNamespace(get=lambda _: window)
    take(MARKER, replace(intake, windows=replace(intake.windows, ledger=windows)))
    assert world.overdue == {parked}


def test_what_is_parked_stays_while_one_of_its_files_waits(world: World) -> None:
    assert later(world, OVER - START)
    [parked] = world.overdue_parked
    for taken in FILES[1:]:
        world.ledger.claim(claims(taken), "window-1")
    waiting = world.intake(0).waiting
    waiting_files.release(FOLDER, waiting)
    assert world.overdue == set()
    folder = world.ledger.folders.get(FOLDER)
    assert folder is not None
    assert (folder.due, folder.parked) == (None, (parked,))
    waiting_files.release("folder-nobody-knows", waiting)
    forgotten = OverdueFiles(FOLDER, "x", "~")  # whose lists have expired
    waiting_files._remember(forgotten, waiting)
    world.ledger.claim(claims(FILES[0]), "window-1")
    waiting_files.release(FOLDER, waiting)
    assert world.overdue == {parked}
    folder = world.ledger.folders.get(FOLDER)
    assert folder is not None
    assert folder.parked == (forgotten,)


def test_a_folder_that_is_due_ends_what_is_parked_whose_taker_died(world: World) -> None:
    assert later(world, OVER - START)
    [parked] = world.overdue_parked
    for taken in FILES:
        world.ledger.claim(claims(taken), "window-1")
    come(world, file("next.json", world))
    world.clock.advance(3 * HOUR)
    tick(world)
    assert parked in world.overdue
    assert len(world.overdue) == 2


@pytest.mark.parametrize("when", ["remember", "arrival_rejected"])
def test_what_is_taken_while_it_is_parked_is_not_parked_for_good(world: World, when: str) -> None:
    """Its marker sees nothing parked yet, or sends again what is parked only then."""
    world.clock.advance(OVER - START)
    tick(world)
    [overdue] = world.overdue
    world.overdue.clear()
    waiting = world.intake(0).waiting

    class Late:
        def __init__(self, port: Any) -> None:
            self.port = port

        def __getattr__(self, name: str) -> Any:
            if name == when:
                take(MARKER, world.intake(0))
                world.overdue.clear()  # a worker has it before it is parked
            return getattr(self.port, name)

    folders: Any = Late(waiting.folders)
    announcer: Any = Late(waiting.announcer)
    late = replace(waiting, folders=folders, announcer=announcer)
    with pytest.raises(MarkerMissing):
        waiting_files.reject_overdue(overdue, late, map)
    assert world.overdue == {overdue}
    assert told(world) == []


def test_who_ends_what_is_parked_forgets_nothing_that_is_parked_meanwhile(world: World) -> None:
    assert later(world, OVER - START)
    [parked] = world.overdue_parked
    other = OverdueFiles(FOLDER, "other", "~")
    waiting = world.intake(0).waiting

    def send(overdue: OverdueFiles) -> None:
        world.overdue.add(overdue)
        waiting_files._remember(other, world.intake(0).waiting)

    for taken in FILES:
        world.ledger.claim(claims(taken), "window-1")
    waiting_files.release(FOLDER, replace(waiting, send=send))
    folder = world.ledger.folders.get(FOLDER)
    assert folder is not None
    assert folder.parked == (parked, other)
    assert world.overdue == {parked}


def test_who_is_handed_a_folder_keeps_it_though_something_is_parked(world: World) -> None:
    """Else another worker would be handed it, too, and would send the same messages."""
    world.clock.advance(OVER - START)
    assert world.ledger.due_work.lease(Due(DueKind.FOLDERS, FOLDER, OVER), OVER + HOUR)
    waiting_files._remember(HERE, world.intake(0).waiting)
    assert due_of(world.ledger, DueKind.FOLDERS, 10**15) == {FOLDER: OVER + HOUR}
    tick(world)
    go_on(DueKind.FOLDERS, FOLDER, world.intake(0))
    folder = world.ledger.folders.get(FOLDER)
    assert folder is not None
    assert (folder.due, folder.parked) == (None, (HERE,))


def test_a_dry_run_remembers_nothing_of_it(world: World) -> None:
    assert later(world, OVER - START)
    [parked] = world.overdue_parked
    folder = world.ledger.folders.get(FOLDER)
    assert folder is not None
    world.ledger.folders.remember(folder, ())  # as of a release before
    before = dict(world.ledger.table.items)
    with pytest.raises(MarkerMissing):
        waiting_files.reject_overdue(parked, reading(world.intake(0)).waiting, map)
    assert world.ledger.table.items == before


def test_files_that_their_marker_took_are_settled(world: World) -> None:
    take(MARKER, world.intake(0))
    world.clock.advance(OVER - START)
    tick(world)
    assert world.overdue == set(), "nobody need look at them one by one"
    assert reasons(world) == {}
    assert not any(event for event in world.events if event[1] is None)
    assert all_due(world.ledger, 10**15) == []


def test_a_folder_waits_for_what_its_marker_left(world: World) -> None:
    come(world, late := file("late.json", world))
    del world.bucket[late.key]  # while the folder is listed
    take(MARKER, world.intake(0))
    come(world, late)
    assert len(later(world, OVER - START)) == 1
    assert reasons(world) == {"late.json": "marker-missing"}


def test_who_comes_while_a_folder_is_looked_at_of_which_all_was_taken_is_not_forgotten(
    world: World,
) -> None:
    take(MARKER, world.intake(0))
    world.clock.advance(OVER - START)
    intake = world.intake(0)
    ledger = intake.waiting.ledger

    class Ledger:
        def __getattr__(self, name: str) -> Any:
            return getattr(ledger, name)

        def claimants(self, files: Any) -> Any:
            come(world, file("late.json", world))
            return ledger.claimants(files)

    busy: Any = Ledger()
    go_on(DueKind.FOLDERS, FOLDER, replace(intake, waiting=replace(intake.waiting, ledger=busy)))
    assert world.overdue == set()
    assert due_of(world.ledger, DueKind.FOLDERS, 10**15) == {FOLDER: OVER + 2 * HOUR}
    assert len(later(world, 2 * HOUR)) == 1


def test_a_long_list_is_handled_by_several_workers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has a minute; and each file is told once."""
    monkeypatch.setattr(waiting_files, "MESSAGES_MAX", 2)
    monkeypatch.setattr(waiting_files, "FILES_PER_MESSAGE", 4)
    for n in range(3):
        come(world, *(file(f"{n}-{part}.json", world) for part in range(3)))
    world.clock.advance(OVER - START)
    rejected = []
    for messages in (2, 2, 0):
        assert [due.id for due in all_due(world.ledger, world.clock())] == [FOLDER] * (messages > 0)
        tick(world)
        assert len(world.overdue) == messages
        rejected += told(world)
    assert all_due(world.ledger, 10**15) == []
    assert sum(len(why.files) for why in rejected) == 5 + 3 * 3


def test_no_file_is_rejected_while_its_marker_is_worked_on(world: World) -> None:
    """The marker came in time, but a large folder takes a worker minutes."""
    below = file("below/a.json", world)
    come(world, below)
    world.clock.advance(OVER - START)
    tick(world)
    intake, asked = world.intake(0), list[object]()

    class Checks:
        def options(self, one: Arrival, match: Any) -> Any:
            reject = waiting_files.reject_overdue
            asked.extend(caught(reject, each, intake.waiting, map) for each in world.overdue)
            return intake.checks.options(one, match)

    checks: Any = Checks()
    assert isinstance(take(MARKER, replace(intake, checks=checks)), Gathered)
    assert {type(why) for why in asked[:2]} == {NotYet}
    assert not any(isinstance(why, MarkerMissing) for why in asked)
    assert told(world) == []
    assert reasons(world) == {}


def test_who_died_with_a_marker_keeps_its_files_for_some_minutes(world: World) -> None:
    world.clock.advance(OVER - START)
    tick(world)
    intake = world.intake(0)
    waiting_files.hold(MARKER, Hold(intake.creating.lease().until), intake.waiting)
    with pytest.raises(NotYet):
        told(world)
    world.clock.advance(5 * MINUTE)
    assert len(told(world)) == 1


def test_where_markers_come_all_the_time_files_that_they_leave_are_told(world: World) -> None:
    world.clock.advance(OVER - START)
    tick(world)
    rejected: list[MarkerMissing] = []
    for _ in range(12):
        world.clock.advance(5 * MINUTE)
        present = Hold(world.clock() + 15 * MINUTE)
        waiting_files.hold(MARKER, present, world.intake(0).waiting)
        with suppress(NotYet):
            rejected += told(world)
    assert len(rejected) == 1


@pytest.mark.parametrize("grace", [10, 100])
def test_no_file_is_rejected_in_the_grace_of_its_marker(world: World, grace: int) -> None:
    world.table = table(batch={"marker": "_SUCCESS", "within": "2h", "grace": f"{grace}m"})
    world.clock.advance(OVER - START - MINUTE)
    mark = replace(MARKER, time=world.clock())
    world.bucket[mark.key] = mark
    assert take(mark, world.intake(0)) == Waits("again")
    world.clock.advance(MINUTE)
    tick(world)
    overdue = set(world.overdue)
    for wait in (grace - 2, 2):
        with pytest.raises(NotYet) as held:
            told(world)
        # At once until then: who tries again for an hour makes an alarm.
        over = mark.time + grace * MINUTE + waiting_files.HANDED_ON_MS
        assert held.value.retry_after == (over - world.clock()) / 1000
        world.clock.advance(wait * MINUTE)
    intake, asked = world.intake(0), list[object]()

    class Checks:
        def options(self, one: Arrival, match: Any) -> Any:
            reject = waiting_files.reject_overdue
            asked.extend(caught(reject, each, intake.waiting, map) for each in overdue)
            return intake.checks.options(one, match)

    checks: Any = Checks()
    assert isinstance(take(mark, replace(intake, checks=checks)), Gathered)
    assert {type(why) for why in asked[:2]} == {NotYet}


@pytest.mark.parametrize("within", [MINUTE, HOUR])
def test_a_file_is_listed_before_its_time_is_over(within: int) -> None:
    for start in range(START, START + MINUTE, 7 * SECOND):
        assert deadline(start, within, start + 80 * SECOND) >= start + max(within, 80 * SECOND)
        assert deadline(start, within, 0) >= start + within


def test_who_lists_a_file_slowly_does_not_list_it_for_nobody(world: World) -> None:
    """Where `within` is as short as the life of a worker, which may be paused in its midst."""
    world.table = table(batch={"marker": "_SUCCESS", "within": "1m"})
    world.clock.advance(-START % (15 * SECOND))
    slow = world.intake(0)
    come(world, file("fast.json", world))
    folders, late = slow.waiting.folders, file("slow.json", world)

    class Slowly:
        def __getattr__(self, name: str) -> Any:
            return getattr(folders, name)

        def wait(self, group: WaitingGroup) -> None:
            world.clock.advance(TIMEOUT)
            skewed = world.intake(SKEW)  # the clock of who handles the folder
            for due in all_due(world.ledger, world.clock() + SKEW):
                go_on(due.kind, due.id, skewed)
            folders.wait(group)

    slowly: Any = Slowly()
    world.bucket[late.key] = late
    slow = replace(slow, waiting=replace(slow.waiting, folders=slowly))
    assert take_in({late.external_id: late}, slow, map) == {late.external_id: Waits("again")}
    later(world, 5 * MINUTE)
    assert reasons(world) == {"fast.json": "marker-missing", "slow.json": "marker-missing"}


def test_what_came_after_its_marker_is_told_alone(world: World) -> None:
    take(MARKER, world.intake(0))
    world.clock.advance(HOUR)
    come(world, file("late.json", world))
    assert later(world, OVER - world.clock()) == []
    assert all_due(world.ledger, 10**15) == [Due(DueKind.FOLDERS, FOLDER, OVER + HOUR)]
    [why] = later(world, HOUR)
    assert str(why).startswith("s3://landing/in/day/late.json: ")
    assert reasons(world) == {"late.json": "marker-missing"}


def test_what_comes_bit_by_bit_is_told_in_few_messages(world: World) -> None:
    for n in range(60):
        world.clock.advance(MINUTE)
        come(world, file(f"{n}.json", world))
        tick(world)
    rejected = []
    for _ in range(3 * 60):
        rejected += later(world, MINUTE)
    assert len(rejected) <= 4
    assert len(reasons(world)) == 65
    assert not all_due(world.ledger, 10**15)


def test_where_nobody_writes_markers_each_day_is_told_once(world: World) -> None:
    """However busy the folder is when its time comes."""
    world.table = table(batch={"marker": "_SUCCESS"})
    days = {n: set[str | None]() for n in range(1, 12)}
    for n in range(1, 12):
        for part in range(30):
            come(world, file(f"{n}-{part}.json", world))
            for why in later(world, MINUTE):
                days[n].add(why.external_id)
        for why in later(world, DAY - 30 * MINUTE):
            days[n].add(why.external_id)
    assert all(1 <= len(ids) <= 2 for ids in days.values()), days
    ids = [external_id for one in days.values() for external_id in one]
    assert len(set(ids)) == len(ids), "each is another event"


def test_who_was_rejected_by_name_is_not_told_again(world: World) -> None:
    odd = file("large.json", world, size=10**12)
    come(world, odd)
    take(MARKER, world.intake(0))
    assert later(world, OVER - START) == []
    # Nor where its event, or a copy of it, comes after the marker's.
    come(world, odd)
    assert later(world, 3 * HOUR) == []
    assert reasons(world) == {"large.json": "too-large"}


def test_of_an_object_that_was_overwritten_the_last_version_counts(world: World) -> None:
    come(world, newer := replace(FILES[0], version_id="newer"))
    [why] = later(world, OVER - START)
    assert " and 4 more" in str(why)
    first = (FILES[0].object_id, FILES[0].version)
    assert first not in world.ledger.rejections
    assert (newer.object_id, newer.version) in world.ledger.rejections
    # And where the marker took the newer one, nobody waits for the older.
    take(MARKER, world.intake(0))
    world.redrive()
    assert told(world) == []


@pytest.mark.parametrize("comes", [True, False])
def test_what_was_overwritten_before_its_marker_came_is_superseded(
    world: World, *, comes: bool
) -> None:
    """Whatever becomes of the newer one: each version ends in one state."""
    newest = replace(FILES[0], version_id="newest", etag="e3", sequencer="0060")
    come(world, newer := replace(FILES[0], version_id="newer", etag="e2", sequencer="0059"))
    come(world, newest)
    if comes:
        take(MARKER, world.intake(0))
    assert len(later(world, OVER - START)) == (0 if comes else 1)
    assert len(later(world, 3 * HOUR)) == 0
    found = {seen.version: seen for seen in world.ledger.seen(newest.object_id) if not seen.claimed}
    for old in (FILES[0], newer):
        assert found[old.version].noted == "superseded"
        assert found[old.version].superseded_by == newest.version
        assert (old.object_id, old.version) not in world.ledger.rejections
        assert world.ledger.claimant(old) is None
    assert world.ledger.noted[newest.object_id, newest.version] == "waiting"
    assert ((newest.object_id, newest.version) in world.ledger.rejections) is not comes
    # Said once, however often it is told.
    world.ledger.noted[newer.object_id, newer.version] = "as it was"
    world.redrive()
    told(world)
    assert world.ledger.noted[newer.object_id, newer.version] == "as it was"


def test_in_an_unversioned_bucket_what_was_overwritten_is_superseded() -> None:
    world = World(Tape(b""), tables=(PATIENT,))
    world.calm = True
    old, new = (
        replace(FILES[0], version_id=None, etag=f"e{n}", sequencer=f"006{n}") for n in range(2)
    )
    come(world, old)
    come(world, new)
    take(MARKER, world.intake(0))
    assert later(world, 3 * HOUR) == []
    assert world.ledger.noted[old.object_id, old.version] == "superseded"
    [seen] = [one for one in world.ledger.seen(old.object_id) if one.version == old.version]
    assert seen.superseded_by == "e:e1:"


def test_a_new_version_waits_though_the_last_one_was_taken(world: World) -> None:
    take(MARKER, world.intake(0))
    world.clock.advance(MINUTE)
    come(world, replace(FILES[0], version_id="newer", sequencer="0099"))
    assert len(later(world, 3 * HOUR)) == 1
    assert reasons(world) == {"part-0.json": "marker-missing"}


def test_what_is_overwritten_while_its_marker_is_worked_on_waits(world: World) -> None:
    """The first is listed, then the second comes, then the first is claimed."""
    newer = replace(FILES[0], version_id="newer", sequencer="0099")
    intake = world.intake(0)

    class Checks:
        def options(self, one: Arrival, match: Any) -> Any:
            if world.bucket[newer.key] != newer:
                come(world, newer)
            return intake.checks.options(one, match)

    checks: Any = Checks()
    assert isinstance(take(MARKER, replace(intake, checks=checks)), Gathered)
    assert world.ledger.claimant(newer) is None
    [why] = later(world, 3 * HOUR)
    assert str(why).startswith("s3://landing/in/day/part-0.json: ")
    assert reasons(world) == {"part-0.json": "marker-missing"}


def test_a_copy_of_an_older_event_changes_nothing(world: World) -> None:
    take(MARKER, world.intake(0))
    come(world, newer := replace(FILES[0], version_id="newer", sequencer="0099"))
    come(world, FILES[0])
    world.bucket[newer.key] = newer
    assert len(later(world, 3 * HOUR)) == 1
    assert (newer.object_id, newer.version) in world.ledger.rejections


def test_who_comes_again_is_told_once(world: World) -> None:
    come(world, FILES[0])  # at once: it is listed twice, in one message
    world.clock.advance(40 * MINUTE)
    come(world, FILES[1])  # later: in another
    [why] = later(world, OVER - world.clock())
    assert " and 4 more" in str(why)
    assert later(world, 3 * HOUR) == []


def test_an_event_that_comes_late_does_not_undo_what_is_known(world: World) -> None:
    world.table = table(onNewVersion="ignore", batch={"marker": "_SUCCESS", "within": "2h"})
    take(MARKER, world.intake(0))
    late = file("late.json", world)
    world.bucket[late.key] = late
    assert take(AGAIN, world.intake(0)) == Skipped("not-the-first")
    come(world, late)
    assert world.ledger.noted[late.object_id, late.version] == "not-the-first"
    assert later(world, 3 * HOUR) == []


@pytest.mark.parametrize("version", ["v", None])
def test_what_was_taken_and_then_deleted_is_settled(version: str | None) -> None:
    world = World(Tape(b""), tables=(PATIENT,))
    world.calm = True
    come(world, one := replace(FILES[0], version_id=version))
    world.bucket[one.key] = replace(one, sequencer=None)
    take(MARKER, world.intake(0))
    world.bucket.clear()
    assert later(world, 3 * HOUR) == []


def test_who_is_gone_is_told_too(world: World) -> None:
    world.bucket.clear()
    assert len(later(world, OVER - START)) == 1


def test_in_unversioned_buckets_too() -> None:
    world = World(Tape(b""), tables=(PATIENT,))
    world.calm = True
    one = replace(FILES[0], version_id=None)
    come(world, one)
    world.bucket[one.key] = replace(one, sequencer=None)  # as S3 lists it
    assert later(world, 3 * HOUR)
    take(MARKER, world.intake(0))
    world.redrive()
    assert told(world) == []
    # The same bytes again: no marker takes what has a batch already.
    come(world, replace(one, sequencer="0099"))
    assert later(world, 3 * HOUR) == []


def test_where_events_tell_no_version_but_lists_do(world: World) -> None:
    one = file("a.json", world, version_id=None, etag="alone")
    come(world, one)
    world.bucket[one.key] = replace(one, version_id="v", sequencer=None)
    take(MARKER, world.intake(0))
    assert later(world, 3 * HOUR) == []


def test_where_only_the_first_marker_counts_what_comes_later_is_settled(world: World) -> None:
    world.table = table(onNewVersion="ignore", batch={"marker": "_SUCCESS", "within": "2h"})
    take(MARKER, world.intake(0))
    late = file("late.json", world)
    come(world, late)
    assert take(AGAIN, world.intake(0)) == Skipped("not-the-first")
    assert world.ledger.noted[late.object_id, late.version] == "not-the-first"
    assert later(world, 3 * HOUR) == []


def test_a_shorter_time_counts_from_now_on(world: World) -> None:
    world.table = table(batch={"marker": "_SUCCESS", "within": "1m"})
    come(world, file("soon.json", world))
    [why] = later(world, 2 * MINUTE)
    assert str(why).startswith("s3://landing/in/day/soon.json: ")
    assert all_due(world.ledger, 10**15) == [Due(DueKind.FOLDERS, FOLDER, OVER)]
    [why] = later(world, OVER - world.clock())
    assert "part-0.json and 4 more" in str(why), "none is told twice"


def test_hidden_folders_wait_for_nothing(world: World) -> None:
    for key in ("in/day/_delta_log/0.json", "in/_temporary/0.json", "in/.hoodie/a.json"):
        hidden = replace(FILES[0], key=key)
        assert take(hidden, world.intake(0)) == Skipped("not-data")
    # But for those that the route writes.
    for match, key in {"_in/.x/**": "_in/.x/0.json", "in/_*/*.json": "in/_crm/0.json"}.items():
        world.table = table(match=match, batch={"marker": "_SUCCESS"})
        assert take(replace(FILES[0], key=key), world.intake(0)) == Waits("again")


@pytest.mark.parametrize("fails", ["seen", "reject", "arrival_rejected"])
def test_what_fails_on_the_way_is_done_the_next_time(
    world: World, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise (
            NotAnnounced("no bus")
            if fails == "arrival_rejected"
            else LedgerUnavailable("throttled")
        )

    world.clock.advance(OVER - START)
    tick(world)
    [overdue] = world.overdue
    with monkeypatch.context() as patched:
        patched.setattr(world if fails == "arrival_rejected" else world.ledger, fails, fail)
        with pytest.raises((LedgerUnavailable, NotAnnounced)):
            waiting_files.reject_overdue(overdue, world.intake(0).waiting, map)
    assert len(told(world)) == 1
    assert {event[0] for event in world.events} == {overdue.external_id}
    assert len(reasons(world)) == 5


def test_a_worker_with_little_time_left_has_another_one_tell(world: World) -> None:
    world.clock.advance(OVER - START)
    tick(world)
    [overdue] = world.overdue
    world.overdue.clear()
    ports, now = world.intake(0).waiting, world.clock()
    waiting_files.reject_overdue(
        overdue, ports, map, worker_end=now + waiting_files.REJECTING_MS - 1
    )
    assert world.events == []
    assert world.overdue == {overdue}
    with pytest.raises(MarkerMissing):
        waiting_files.reject_overdue(
            overdue, ports, map, worker_end=now + waiting_files.REJECTING_MS
        )


def test_a_folder_stays_due_until_its_messages_are_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise StorageUnavailable("no queue")

    world.clock.advance(OVER - START)
    with monkeypatch.context() as patched:
        patched.setattr(world, "_send_overdue", fail)
        with pytest.raises(StorageUnavailable):
            tick(world)
    assert all_due(world.ledger, world.clock()) == [Due(DueKind.FOLDERS, FOLDER, OVER)]
    tick(world)
    assert len(world.overdue) == 1


def test_who_comes_while_a_folder_is_looked_at_is_not_forgotten(world: World) -> None:
    """Between what is sent and what is remembered of it."""
    world.clock.advance(OVER - START)
    intake = world.intake(0)
    sent: list[OverdueFiles] = []

    def send(overdue: OverdueFiles) -> None:
        sent.append(overdue)
        come(world, file("new.json", world))

    go_on(DueKind.FOLDERS, FOLDER, replace(intake, waiting=replace(intake.waiting, send=send)))
    assert len(sent) == 1
    assert all_due(world.ledger, 10**15) == [Due(DueKind.FOLDERS, FOLDER, OVER + 2 * HOUR)]
    assert len(later(world, 2 * HOUR)) == 1


def test_who_looks_too_late_changes_nothing(world: World) -> None:
    """Another worker was faster, and has sent the same."""
    world.clock.advance(OVER - START)
    intake = world.intake(0)

    def send(overdue: OverdueFiles) -> None:
        world.overdue.add(overdue)
        go_on(DueKind.FOLDERS, FOLDER, world.intake(0))

    go_on(DueKind.FOLDERS, FOLDER, replace(intake, waiting=replace(intake.waiting, send=send)))
    assert len(world.overdue) == 1
    assert not all_due(world.ledger, 10**15)


def test_who_is_overtaken_does_not_go_back(world: World) -> None:
    world.clock.advance(OVER - START)
    intake = world.intake(0)

    def send(overdue: OverdueFiles) -> None:
        world.overdue.add(overdue)
        world.clock.advance(HOUR)
        go_on(DueKind.FOLDERS, FOLDER, world.intake(0))

    go_on(DueKind.FOLDERS, FOLDER, replace(intake, waiting=replace(intake.waiting, send=send)))
    folder = world.ledger.folders.get(FOLDER)
    assert folder is not None
    assert folder.done == f"{OVER + HOUR:013}~"


def test_the_route_is_told_whose_files_wait(world: World) -> None:
    """In the same message are those of another route, which its marker took."""
    take(MARKER, world.intake(0))
    late = file("late.json", world)
    world.ledger.note(late, "waiting", "other")
    world.ledger.folders.wait(WaitingGroup(FOLDER, "other", HOUR, OVER, (late,)))
    [why] = later(world, OVER - START)
    assert str(why).startswith("s3://landing/in/day/late.json: route `other`")
    assert " in 1h." in str(why)


VERSION, MINE = "v:mine", replace(FILES[0], key="in/day/mine.json", version_id="mine")
HERE = OverdueFiles(FOLDER, "", "~")
WAITS = Seen(VERSION, noted="waiting", expires=10)


def rejected(reason: str, expires: int, owner: str = "owner") -> Seen:
    return Seen(VERSION, owner, Rejection(reason, "", 0), expires=expires)


@pytest.mark.parametrize(
    ("seen", "present", "waits"),
    [
        ([WAITS], MINE, True),
        # Told before: by this very message, or by another.
        ([WAITS, rejected("marker-missing", 12, HERE.external_id)], MINE, True),
        ([WAITS, rejected("marker-missing", 12)], MINE, False),
        ([WAITS, Seen(VERSION, "window-1", expires=5)], MINE, False),
        ([Seen(VERSION, noted="not-the-first", expires=5)], MINE, False),
        # Rejected by name, or before it was sent again and waited.
        ([WAITS, rejected("too-large", 10)], MINE, False),
        ([WAITS, rejected("no-route", 9)], MINE, True),
        # Whatever became of another version says nothing of this one, while it is the present one.
        ([WAITS, Seen("v:other", "window-1", expires=11)], MINE, True),
        ([WAITS, Seen("v:other", noted="waiting", expires=11)], MINE, True),
        ([WAITS, Seen("e:e:", "window-1", expires=11)], MINE, True),
        ([WAITS], replace(MINE, version_id="newer"), False),
        ([WAITS], replace(MINE, etag="other"), False),
        ([WAITS], None, True),
    ],
)
def test_what_is_known_of_an_object_tells_whether_a_version_waits(
    world: World, seen: list[Seen], present: Arrival | None, *, waits: bool
) -> None:
    if present is not None:
        world.bucket[MINE.key] = present
    world.ledger.folders.wait(WaitingGroup(FOLDER, "again", HOUR, OVER, (MINE,)))
    ledger: Any = Remembering(world, seen)
    with pytest.raises(MarkerMissing) if waits else nullcontext():
        waiting_files.reject_overdue(HERE, replace(world.intake(0).waiting, ledger=ledger), map)


@dataclass
class Remembering:
    """The ledger, which knows so much of one object, and that others were taken."""

    world: World
    of_mine: list[Seen]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.ledger, name)

    def seen(self, object_id: str) -> list[Seen]:
        of_others = [Seen(one.version, "window-0") for one in FILES]
        return self.of_mine if object_id == MINE.object_id else of_others


def test_many_files_are_told_in_parts(world: World) -> None:
    names = [f"{n:04}.json" for n in range(2 * FILES_PER_MESSAGE)]
    for start in range(0, len(names), 10):
        come(world, *(file(name, world) for name in names[start : start + 10]))
    world.clock.advance(OVER - START)
    tick(world)
    assert len(world.overdue) == 3
    waiting = world.ledger.folders.waiting
    parts = [waiting(overdue.folder_id, overdue.after, overdue.until) for overdue in world.overdue]
    sizes = [sum(len(group.files) for group in part) for part in parts]
    assert sum(sizes) == len(names) + len(FILES)
    assert max(sizes) <= FILES_PER_MESSAGE
    assert len(told(world)) == 3
    assert len(reasons(world)) == len(names) + len(FILES)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("in/day/a", "in/day/b", True),
        ("in/day/a", "in/day/year=2026/month=11/b", True),
        ("in/day/a", "in/day/below/a", False),
        ("in/a=b/day/a", "in/day/a", False),
        ("a", "year=2026/a", True),
        ("in/a", "in//a", False),
    ],
)
def test_partitions_belong_to_the_folder_above(one: str, other: str, *, same: bool) -> None:
    ids = {folder_of(replace(FILES[0], key=key)) for key in (one, other)}
    assert len(ids) == 2 - same
    assert folder_of(replace(FILES[0], bucket="another")) != FOLDER


def test_those_of_one_delivery_are_listed_by_folder_and_route() -> None:
    other = replace(FILES[0], key="in/night/a.json")
    waiting = [WaitingFile(one, "a", HOUR) for one in (*FILES, other)]
    waiting.append(WaitingFile(FILES[0], "b", 2 * HOUR))
    found = groups(waiting, START, START)
    assert [(group.route, group.files) for group in found] == [
        ("a", tuple(FILES)),
        ("a", (other,)),
        ("b", (FILES[0],)),
    ]
    assert found[0].place < found[2].place, "what is over first comes first"
    assert all(START < group.due - group.within <= START + group.within for group in found)


def test_what_a_large_message_brings_fits_the_ledger() -> None:
    """An item of DynamoDB has 400 KB; S3 takes keys of 1,024 bytes, which JSON may write as six."""
    key = "in/" + "\x01" * 1000
    many = [replace(FILES[0], key=f"{key}{n:03}", version_id="v" * 1024) for n in range(120)]
    [large] = groups([WaitingFile(one, "r" * 100, HOUR) for one in many], START, START)
    table = Mock()
    DynamoFolders(table, lambda: START, HOUR).wait(large)
    items = [call.args[0] for call in table.put.call_args_list]
    found = [records.read(WaitingGroup, item["listing"]["S"]) for item in items]
    assert [len(group.files) for group in found] == [50, 50, 20]
    assert tuple(one for group in found for one in group.files) == large.files
    assert len({item["sk"]["S"] for item in items}) == 3
    assert all(len(item["listing"]["S"].encode()) < 400_000 for item in items)
    assert table.update.call_count == 1, "the folder is due once"


def test_where_the_list_cannot_be_written_the_files_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = LedgerUnavailable("throttled")

    def fail(*_: object) -> Any:
        raise error

    monkeypatch.setattr(DynamoFolders, "wait", fail)
    new = file("new.json", world)
    results = take_in({new.external_id: new, "m": MARKER}, world.intake(0), map)
    assert results[new.external_id] is error
    assert isinstance(results["m"], Gathered)


def test_a_day_is_the_time_unless_the_route_says_so() -> None:
    world = World(Tape(b""), tables=(table(batch={"marker": "_SUCCESS"}, datasetId=LOYALTY),))
    world.calm = True
    come(world, FILES[0])
    [due] = [what.when for what in all_due(world.ledger, 10**15)]
    assert START + DAY <= due <= START + DAY + 6 * HOUR
