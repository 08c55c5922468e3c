"""A marker with a grace is worked on once, so long after its own time."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals.results import Gathered, HandedOn, Waits
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import DueKind
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model import messages
from aep_intake.model.files import Arrival
from aep_intake.model.windows import marker_id
from aep_intake.routing.routes import InvalidTable, parse
from aep_intake.routing.table import IsMarker
from aep_intake_cli.routing.explain import explain

from tests.faults.harness import (
    HOUR,
    MINUTE,
    SECOND,
    SKEW,
    START,
    TIMEOUT,
    ListedBucket,
    Tape,
    World,
    go_on,
    take,
)
from tests.faults.test_again import AGAIN, FILES, MARKER, table
from tests.memory_ledger import all_due

GRACE = 2 * MINUTE
ROUTE = {"batch": {"marker": "_SUCCESS", "grace": "2m", "within": "1h"}}


class Listings(ListedBucket):
    """A bucket that says when a folder was listed."""

    when: list[int]
    world: World

    def folder(self, bucket: str, prefix: str, after: str = "") -> Iterator[Arrival]:
        self.when.append(self.world.clock())
        return super().folder(bucket, prefix, after)


@pytest.fixture
def world() -> World:
    world = World(Tape(b""), tables=(table(**ROUTE),))
    world.calm = True
    world.simulator.show_in_catalog(None)
    world.limits = BatchLimits(files=10, bytes=1000)
    return world


def listings(world: World) -> list[int]:
    """When the folder is listed, from now on."""
    when: list[int] = []

    def listed() -> Listings:
        found = Listings(world.bucket)
        found.when, found.world = when, world
        return found

    world._listed = listed  # type: ignore[method-assign]
    return when


def put(world: World, *files: Arrival) -> None:
    world.bucket |= {file.key: file for file in files}


def tick(world: World, milliseconds: int) -> list[Any]:
    """The clock of the stack so much later; and what is then taken in."""
    world.clock.advance(milliseconds)
    for due in all_due(world.ledger, world.clock()):
        if due.kind is DueKind.FOLDERS:
            go_on(due.kind, due.id, world.intake(0))
    found = []
    while world.queue:
        found.append(take(world.queue.pop(0).arrival, world.intake(0)))
    return found


def test_files_that_come_after_the_marker_are_in_its_batch_and_the_folder_is_listed_once(
    world: World,
) -> None:
    when = listings(world)
    put(world, *FILES[:2], MARKER)
    assert take(MARKER, world.intake(0)) == Waits("again")
    assert world.ledger.noted[MARKER.object_id, MARKER.version] == "waiting"
    put(world, *FILES[2:])
    assert tick(world, MINUTE) == []
    assert when == []
    assert tick(world, MINUTE) == [Gathered(marker_id(MARKER), 5)]
    assert when == [START + GRACE]
    assert tick(world, HOUR) == []
    assert len(world.handed_out) == 1


def test_whoever_looks_when_the_grace_is_over_works_at_once(world: World) -> None:
    put(world, *FILES, MARKER)
    world.clock.advance(GRACE - SKEW)  # the clocks of two workers may differ by so much
    assert isinstance(take(MARKER, world.intake(0)), Gathered)


def test_a_marker_that_comes_late_is_due_when_its_worker_has_surely_ended(world: World) -> None:
    """Who handles its folder then sees it: places in the list are looked at once."""
    put(world, *FILES, MARKER)
    world.clock.advance(GRACE - SKEW - SECOND)
    assert take(MARKER, world.intake(0)) == Waits("again")
    [due] = all_due(world.ledger, 10**15)
    assert due.when == world.clock() + TIMEOUT + SKEW
    assert tick(world, TIMEOUT + SKEW) == [Gathered(marker_id(MARKER), 5)]


def test_its_message_twice_is_one_batch(world: World) -> None:
    put(world, *FILES, MARKER)
    assert take(MARKER, world.intake(0)) == Waits("again")
    world.clock.advance(MINUTE)
    assert take(MARKER, world.intake(0)) == Waits("again")
    tick(world, MINUTE)
    tick(world, MINUTE)
    assert len(world.handed_out) == 1


def test_each_of_two_markers_has_its_own_time(world: World) -> None:
    put(world, *FILES[:3], MARKER)
    assert take(MARKER, world.intake(0)) == Waits("again")
    world.clock.advance(MINUTE)
    again = replace(AGAIN, time=world.clock())
    put(world, again)
    assert take(again, world.intake(0)) == Waits("again")
    assert tick(world, MINUTE) == [Gathered(marker_id(MARKER), 3)]
    put(world, *FILES[3:])
    assert tick(world, MINUTE) == [Gathered(marker_id(again), 5)]


def test_files_wait_beside_their_marker_and_are_told_if_it_takes_none(world: World) -> None:
    """In one list: each at its own time, and a marker is never told missing."""
    put(world, *FILES)
    take_in({file.external_id: file for file in FILES}, world.intake(0), map)
    assert take(MARKER, world.intake(0)) == Waits("again")
    assert len(tick(world, GRACE)) == 1
    late = replace(FILES[0], key="in/day/late.json")
    put(world, late)
    take_in({late.external_id: late}, world.intake(0), map)
    assert tick(world, 2 * HOUR) == []
    assert len(world.overdue) == 1


def test_on_arrival_hands_it_on_only_then(world: World) -> None:
    handed: list[str] = []
    intake = replace(world.intake(0), hand_on=handed.append)
    assert take(MARKER, intake) == Waits("again")
    assert handed == []
    world.clock.advance(GRACE)
    assert take(MARKER, intake) == HandedOn()
    assert handed == [messages.of_arrival(MARKER)]


def document(**batch: Any) -> bytes:
    written = {"name": "a", "match": "a/**", "datasetId": "d", "batch": batch}
    return json.dumps({"routes": [written]}).encode()


def test_a_route_says_how_long() -> None:
    routes = parse(document(marker="_SUCCESS", grace="2m"), "v")
    found = routes.match(replace(MARKER, key="a/b/_SUCCESS"))
    assert found.batching == IsMarker("a/b/", GRACE)  # type: ignore[union-attr]
    [said] = explain(routes, ["a/b/_SUCCESS"])
    assert said.outcome == "all of a/b/ → d in the default sandbox, 2m after its own time"


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({"window": "1h", "grace": "2m"}, "when a `marker` is worked on"),
        ({"marker": "x", "grace": "24h"}, "shorter than `within`"),
        ({"marker": "x", "grace": "2h", "within": "1h"}, "shorter than `within`"),
        ({"marker": "x", "grace": "soon"}, "such as `16m`"),
    ],
)
def test_what_makes_no_sense_is_refused(batch: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTable) as refusal:
        parse(document(**batch), "v")
    assert refusal.value.field == "routes[0].batch.grace"
    assert words in refusal.value.problem
