"""A window that lasts until its folder is quiet."""

import json
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals.results import Joined, Known
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import DueKind
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.errors import LeaseLost
from aep_intake.model.files import Arrival
from aep_intake.model.windows import Window, WindowStage
from aep_intake.routing.routes import InvalidTable, parse
from aep_intake.routing.table import InQuietWindow
from aep_intake_cli.routing.explain import explain
from aep_intake_cli.routing.forecast import share_of_route

from tests.faults.harness import DAY, HOUR, MINUTE, START, Tape, World, go_on, take
from tests.faults.test_again import table
from tests.memory_ledger import all_due

QUIET = 8 * MINUTE
STEP = QUIET // 4
ROUTE: dict[str, Any] = {"batch": {"quiet": "8m"}, "inputFormat": {"format": "json"}}


def file(name: str, folder: str = "in/day", **changes: Any) -> Arrival:
    key = f"{folder}/{name}.json"
    return replace(Arrival("landing", key, name, "e", "0050", 10, START), **changes)


@pytest.fixture
def world() -> World:
    world = World(Tape(b""), tables=(table(**ROUTE),))
    world.calm = True
    world.simulator.show_in_catalog(None)
    world.limits = BatchLimits(files=10, bytes=1000)
    return world


def come(world: World, *files: Arrival) -> set[str]:
    """Files arrive together; the windows that they join."""
    results = take_in({one.external_id: one for one in files}, world.intake(0), map)
    assert all(isinstance(result, Joined) for result in results.values()), results
    return {result.window_id for result in results.values() if isinstance(result, Joined)}


def windows(world: World) -> list[Window]:
    return sorted(world.ledger.windows.kept.values(), key=lambda window: window.start)


def tick(world: World, milliseconds: int) -> None:
    """The clock of the stack, so much later."""
    world.clock.advance(milliseconds)
    for due in all_due(world.ledger, world.clock()):
        if due.kind is DueKind.WINDOWS:
            go_on(due.kind, due.id, world.intake(0))


def held(world: World, window: Window) -> set[str]:
    return {str(one.version_id) for one in world.ledger.windows.registered(window.window_id)}


def test_the_files_of_a_folder_share_a_batch_once_it_is_quiet(world: World) -> None:
    [opened] = come(world, file("a"))
    for name in "bcdefgh":
        tick(world, QUIET - MINUTE)
        assert come(world, file(name)) == {opened}
    tick(world, QUIET)
    [window] = windows(world)
    assert window.stage is WindowStage.OPEN  # its end moves in steps of a quarter
    tick(world, STEP)
    [window] = windows(world)
    assert window.stage is WindowStage.FINISHED
    assert held(world, window) == set("abcdefgh")
    assert len(world.handed_out) == 1


def test_its_end_moves_at_most_once_in_a_quarter_of_the_time(world: World) -> None:
    come(world, file("a"))
    for number in range(100):
        world.clock.advance(STEP // 10)
        come(world, file(f"b{number}"))
        [window] = windows(world)
        assert window.due is not None
        assert QUIET <= window.due - world.clock() <= QUIET + STEP
    assert 5 <= window.revision - 1 <= 10


def test_its_name_is_that_of_its_folder_and_its_first_file(world: World) -> None:
    there = World(Tape(b""), tables=world.tables)
    there.clock.advance(3 * HOUR)
    assert come(world, file("a"), file("b")) == come(there, file("a"))
    assert come(world, file("x", "in/other")) != come(there, file("y", "in/other"))


def test_each_folder_has_its_own_but_partitions_belong_together(world: World) -> None:
    assert len(come(world, file("a"), file("b", "in/day/dt=1"), file("c", "in/day/dt=2/h=3"))) == 1
    assert len(come(world, file("d", "in/night"), file("e", "in/night/deep"))) == 2


def test_what_comes_after_its_end_opens_the_next(world: World) -> None:
    first = come(world, file("a"))
    tick(world, QUIET + STEP)
    second = come(world, file("b"))
    assert first != second
    tick(world, QUIET + STEP)
    assert [held(world, window) for window in windows(world)] == [{"a"}, {"b"}]


def test_a_file_that_comes_again_is_known(world: World) -> None:
    [opened] = come(world, file("a"))
    assert take(file("a"), world.intake(0)) == Known(opened)
    assert len(windows(world)) == 1


def test_a_file_that_a_batch_let_go_opens_another_window(world: World) -> None:
    come(world, file("a"))
    tick(world, QUIET + STEP)
    world.ledger.claims.clear()  # its batch lost it, and let it go
    come(world, file("a"))
    assert len({window.window_id for window in windows(world)}) == 2


def test_one_that_never_is_quiet_ends_after_a_day(world: World) -> None:
    come(world, file("a"))
    for number in range(1, DAY // QUIET):
        tick(world, QUIET)
        come(world, file(f"b{number}"))
        assert len(windows(world)) == 1
    tick(world, QUIET)
    come(world, file("last"))
    assert len(windows(world)) == 2


def test_of_two_that_open_a_folder_s_window_one_does(world: World) -> None:
    intake = world.intake(0)
    newest_of = intake.windows.ledger.newest_of

    def late(folder: str) -> str | None:
        found = newest_of(folder)
        if found is None:
            come(world, file("faster"))
        return found

    intake.windows.ledger.newest_of = late  # type: ignore[method-assign]
    take(file("a"), intake)
    [window] = windows(world)
    assert held(world, window) == {"a", "faster"}


def test_who_seals_it_and_who_prolongs_it_cannot_both_succeed(world: World) -> None:
    come(world, file("a"))
    world.clock.advance(QUIET + STEP)
    [before] = windows(world)
    come(world, file("b"))  # before the clock has looked
    with pytest.raises(LeaseLost):
        world.ledger.windows.replace(before, before.sealed(world.clock()))
    tick(world, 0)
    [window] = windows(world)
    assert window.stage is WindowStage.OPEN
    assert held(world, window) == {"a", "b"}


def test_a_restored_ledger_that_lost_the_newest_opens_another(world: World) -> None:
    come(world, file("a"))
    world.ledger.windows.kept.clear()
    come(world, file("b"))
    assert [held(world, window) for window in windows(world)] == [{"b"}]


def document(**written: Any) -> bytes:
    return json.dumps(
        {"routes": [{"name": "a", "match": "a/**", "datasetId": "d"} | written]}
    ).encode()


def test_a_route_says_how_long() -> None:
    routes = parse(document(batch={"quiet": "10m"}), "v")
    found = routes.match(file("x", "a"))
    assert found.batching == InQuietWindow(600_000)  # type: ignore[union-attr]
    [said] = explain(routes, ["a/b/1.json"])
    assert said.outcome.endswith(", a batch when its folder was quiet for 10m")
    share = share_of_route(routes.routes[0])
    assert (share.batch_per_object, share.batch_for) == (False, "each quiet folder")
    assert share.batches is None


@pytest.mark.parametrize(
    ("written", "field", "words"),
    [
        ({"batch": {"quiet": "7h"}}, "batch.quiet", "6 hours at most"),
        ({"batch": {"quiet": "0m"}}, "batch.quiet", "such as `16m`"),
        ({"batch": {"quiet": "1m", "window": "1h"}}, "batch", "exactly one of"),
        ({"batch": {"quiet": "1m", "marker": "x"}}, "batch", "exactly one of"),
        ({"batch": {"quiet": "1m", "grace": "1m"}}, "batch.grace", "a `marker`"),
        ({"batch": {"quiet": "1m", "within": "1h"}}, "batch.within", "a `marker`"),
        ({"batch": {"quiet": "1m"}, "onNewVersion": "replace"}, "onNewVersion", "many objects"),
    ],
)
def test_what_makes_no_sense_is_refused(written: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidTable) as refusal:
        parse(document(**written), "v")
    assert refusal.value.field == f"routes[0].{field}"
    assert words in refusal.value.problem
