"""Files whose marker does not come are told of; those whose marker came are not."""

from dataclasses import replace

import pytest
from aep_intake import overdue
from aep_intake.arrivals import Arrival
from aep_intake.errors import LedgerUnavailable, MarkerMissing, NotAnnounced
from aep_intake.intake import Gathered, Skipped, Waits, go_on
from aep_intake.overdue import Folder, folder_id, prefix_of

from local.simulator.seed import LOYALTY
from tests.faults.harness import DAY, HOUR, MINUTE, START, Tape, World, take
from tests.faults.test_again import AGAIN, FILES, MARKER, table

PATIENT = table(batch={"marker": "_SUCCESS", "within": "2h"})
DAYS = ("landing", "in/day/")


@pytest.fixture
def world() -> World:
    """Five files have come, and wait two hours for their marker."""
    world = World(Tape(b""), tables=(PATIENT,))
    world.calm = True
    world.simulator.show_in_catalog(None)
    for file in FILES:
        come(world, file)
    return world


def come(world: World, file: Arrival) -> None:
    world.bucket[file.key] = file
    assert take(file, world.intake(0)) == Waits("again")


def tick(world: World) -> None:
    """The clock of the stack, and all of what is due is worked on."""
    for external_id, _ in list(world.ledger.due(world.clock())):
        go_on(external_id, world.intake(0))


def look(world: World) -> MarkerMissing | None:
    """on_arrival takes the message about the folder."""
    try:
        overdue.look(*DAYS, world.intake(0).overdue, map)
    except MarkerMissing as missing:
        return missing
    finally:
        world.folders.clear()
    return None


def reasons(world: World) -> dict[str, str]:
    """Why files were rejected, by the last part of their keys."""
    found = {
        file.key.rpartition("/")[2]: world.ledger.rejections.get((file.object_id, file.version))
        for file in world.bucket.values()
    }
    return {name: rejection.reason for name, rejection in found.items() if rejection}


def test_a_folder_is_looked_at_once_its_time_has_come(world: World) -> None:
    assert dict(world.ledger.due(10**15)) == {folder_id(*DAYS): START + 2 * HOUR}
    world.clock.advance(2 * HOUR - 1)
    go_on(folder_id(*DAYS), world.intake(0))  # a message that came too often
    assert world.folders == set()
    world.clock.advance(1)
    tick(world)
    assert world.folders == {DAYS}
    assert not any(world.ledger.due(10**15))
    go_on(folder_id(*DAYS), world.intake(0))
    assert world.folders == {DAYS}


def test_files_without_their_marker_are_rejected_and_told_together(world: World) -> None:
    world.clock.advance(2 * HOUR)
    missing = look(world)
    assert missing is not None
    assert missing.external_id == folder_id(*DAYS)
    text = str(missing)
    assert "s3://landing/in/day/part-0.json and 4 more" in text
    assert "rule `again`" in text
    assert "2 hours" in text
    assert reasons(world) == {f"part-{n}.json": "marker-missing" for n in range(5)}
    assert world.events == [(folder_id(*DAYS), None)]
    # They wait still, and who sends the parked message again is told so.
    assert look(world) is not None


def test_a_marker_takes_them_even_then(world: World) -> None:
    world.clock.advance(2 * HOUR)
    assert look(world)
    world.bucket[MARKER.key] = MARKER
    gathered = take(MARKER, world.intake(0))
    assert isinstance(gathered, Gathered)
    assert gathered.files == 5
    assert look(world) is None


def test_files_that_their_marker_took_are_settled(world: World) -> None:
    take(MARKER, world.intake(0))
    world.clock.advance(2 * HOUR)
    tick(world)
    assert world.folders == {DAYS}
    assert look(world) is None
    assert reasons(world) == {}
    assert not any(event for event in world.events if event[1] is None)


def test_what_came_after_its_marker_is_told_alone(world: World) -> None:
    take(MARKER, world.intake(0))
    world.clock.advance(HOUR)
    late = replace(FILES[0], key="in/day/late.json", version_id="l", time=world.clock())
    come(world, late)
    world.clock.advance(HOUR)
    tick(world)
    assert look(world) is None
    # It was younger, and is looked at again in its own time.
    assert dict(world.ledger.due(10**15))[folder_id(*DAYS)] == late.time + 2 * HOUR
    world.clock.advance(HOUR)
    tick(world)
    missing = look(world)
    assert missing is not None
    assert str(missing).startswith("s3://landing/in/day/late.json: ")
    assert reasons(world) == {"late.json": "marker-missing"}


def test_who_was_rejected_by_name_or_never_came_is_not_told_again(world: World) -> None:
    odd = replace(FILES[0], key="in/day/large.json", version_id="x", size=10**12)
    come(world, odd)
    take(MARKER, world.intake(0))
    before = replace(FILES[0], key="in/day/before.json", version_id="before the intake was there")
    world.bucket[before.key] = before
    world.clock.advance(2 * HOUR)
    assert look(world) is None
    assert reasons(world) == {"large.json": "too-large"}


def test_of_an_object_that_was_overwritten_the_present_version_counts(world: World) -> None:
    take(MARKER, world.intake(0))
    come(world, replace(FILES[0], version_id="newer"))
    world.clock.advance(2 * HOUR)
    assert look(world)
    assert reasons(world) == {"part-0.json": "marker-missing"}


def test_in_unversioned_buckets_too() -> None:
    world = World(Tape(b""), tables=(PATIENT,))
    world.calm = True
    file = replace(FILES[0], version_id=None)
    take(file, world.intake(0))
    world.bucket[file.key] = replace(file, sequencer=None)  # as S3 lists it
    world.clock.advance(2 * HOUR)
    assert look(world)
    take(MARKER, world.intake(0))
    assert look(world) is None


def test_where_events_tell_no_version_but_lists_do(world: World) -> None:
    told = replace(FILES[0], key="in/day/a.json", version_id=None, etag="alone")
    come(world, told)
    world.bucket[told.key] = replace(told, version_id="v", sequencer=None)
    world.clock.advance(2 * HOUR)
    assert look(world)
    assert reasons(world)["a.json"] == "marker-missing"
    take(MARKER, world.intake(0))
    assert look(world) is None


def test_where_only_the_first_marker_counts_what_comes_later_is_settled(world: World) -> None:
    world.table = table(onNewVersion="ignore", batch={"marker": "_SUCCESS", "within": "2h"})
    take(MARKER, world.intake(0))
    late = replace(FILES[0], key="in/day/late.json", version_id="l")
    come(world, late)
    assert take(AGAIN, world.intake(0)) == Skipped("not-the-first")
    assert world.ledger.noted[late.object_id, late.version] == "not-the-first"
    world.clock.advance(2 * HOUR)
    assert look(world) is None


def test_a_route_that_waits_no_more_has_nobody_told(world: World) -> None:
    world.table = table()
    world.clock.advance(2 * HOUR)
    assert look(world) is None
    world.table = table(match="elsewhere/**")
    assert look(world) is None


@pytest.mark.parametrize("method", ["reject", "watch"])
def test_what_fails_on_the_way_is_done_the_next_time(
    world: World, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    young = replace(FILES[0], key="in/day/young.json", version_id="y", time=START + HOUR)
    come(world, young)
    world.clock.advance(2 * HOUR)
    tick(world)

    def fails(*_: object) -> None:
        raise LedgerUnavailable("throttled")

    with monkeypatch.context() as patched:
        patched.setattr(world.ledger, method, fails)
        with pytest.raises(LedgerUnavailable):
            look(world)
    assert world.events == []
    assert look(world)
    assert world.events == [(folder_id(*DAYS), None)]
    assert dict(world.ledger.due(10**15)) == {folder_id(*DAYS): START + 3 * HOUR}


def test_nothing_is_parked_before_it_is_announced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise NotAnnounced("no bus")

    monkeypatch.setattr(world, "turned_away", fails)
    world.clock.advance(2 * HOUR)
    with pytest.raises(NotAnnounced):
        look(world)


def test_a_folder_stays_remembered_until_its_message_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LedgerUnavailable("throttled")

    world.clock.advance(2 * HOUR)
    monkeypatch.setattr(world.ledger, "unwatch", fails)
    with pytest.raises(LedgerUnavailable):
        tick(world)
    assert world.folders == {DAYS}
    assert dict(world.ledger.due(world.clock())) == {folder_id(*DAYS): START + 2 * HOUR}


def test_who_comes_while_it_is_looked_at_is_not_forgotten(world: World) -> None:
    """Between the message and the forgetting, a file of the folder comes, and its time counts."""
    world.clock.advance(2 * HOUR)
    due = world.ledger.watched(folder_id(*DAYS))
    assert due is not None
    come(world, replace(FILES[0], key="in/day/new.json", version_id="n", time=world.clock()))
    world.ledger.unwatch(due)
    assert dict(world.ledger.due(10**15)) == {folder_id(*DAYS): START + 4 * HOUR}


def test_a_folder_says_when_its_oldest_file_is_due(world: World) -> None:
    world.clock.advance(MINUTE)
    come(world, replace(FILES[0], key="in/day/b.json", version_id="b"))
    assert list(world.ledger.folders.values()) == [Folder(*DAYS, START + 2 * HOUR)]


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("part.json", ""),
        ("in/day/part.json", "in/day/"),
        ("in/day/year=2026/month=11/part.json", "in/day/"),
        ("in/a=b/day/part.json", "in/a=b/day/"),
        ("year=2026/part.json", ""),
        ("in//part.json", "in//"),
    ],
)
def test_partitions_belong_to_the_folder_above(key: str, prefix: str) -> None:
    assert prefix_of(replace(FILES[0], key=key)) == prefix


def test_files_of_a_partition_are_found(world: World) -> None:
    take(MARKER, world.intake(0))
    come(world, replace(FILES[0], key="in/day/year=2026/part.json", version_id="p"))
    below = replace(FILES[0], key="in/day/below/other.json", version_id="q")
    come(world, below)  # of a folder of its own
    world.clock.advance(2 * HOUR)
    tick(world)
    assert world.folders == {DAYS, ("landing", "in/day/below/")}
    missing = look(world)
    assert missing is not None
    assert "year=2026/part.json: " in str(missing)
    assert set(reasons(world)) == {"part.json"}
    assert (below.object_id, below.version) not in world.ledger.rejections


def test_a_day_is_the_time_unless_the_route_says_so() -> None:
    world = World(Tape(b""), tables=(table(batch={"marker": "_SUCCESS"}, datasetId=LOYALTY),))
    world.calm = True
    come(world, FILES[0])
    assert dict(world.ledger.due(10**15)) == {folder_id(*DAYS): START + DAY}
