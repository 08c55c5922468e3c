"""When a route last had a file is noted where files get a place, and only then counted."""

from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals.take_in import take_in
from aep_intake.model.errors import LedgerUnavailable, Rejected, TryAgain
from aep_intake.model.expectations import Came, Counts
from aep_intake.model.files import Arrival
from aep_intake.model.progress import OutcomeKind

from local.simulator.faults import Fault
from tests.faults.harness import START, Delivering
from tests.unit.delivery.test_steps import arrival, begun, looked, table, uploaded, world

__all__ = ["world"]  # a fixture
ROW = b"{}\n"


def taken_in(world: Delivering, *files: Arrival) -> list[Any]:
    for file in files:
        world.put(file, ROW[: file.size])
    results = take_in({file.external_id: file for file in files}, world.intake(0), map)
    return list(results.values())


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"batch": {"window": "5m"}},
        {"batch": {"quiet": "5m"}},
        {"batch": {"marker": "_SUCCESS"}},
        {"ready": "{file}.done"},
    ],
)
def test_each_way_into_a_batch_is_noted_at_once(world: Delivering, written: dict[str, Any]) -> None:
    world.table = table(**written, expect={"every": "1h", "files": 2})
    files = [arrival(ROW, f"in/{n}.json", n) for n in range(3)]
    taken_in(world, *files)
    assert world.came == [{"all": Came(START, Counts(3, 9), counted=True)}]


def test_a_time_that_is_still_to_come_is_that_of_now(world: Delivering) -> None:
    """Else no later file would be the newest, and the route never overdue again."""
    taken_in(world, replace(arrival(ROW), time=START + 9 * 10**12))
    assert [found["all"].last for found in world.came] == [world.clock()]


def test_what_came_before_is_not_counted_again(world: Delivering) -> None:
    world.table = table(expect={"by": "06:00"})
    file = arrival(ROW)
    taken_in(world, file)
    taken_in(world, file)
    noted = [(found["all"].last, found["all"].counts.files) for found in world.came]
    assert noted == [(START, 1), (START, 0)]
    assert not world.came[0]["all"].counted


def test_a_file_that_was_paused_is_counted_when_it_comes_and_not_after_that(
    world: Delivering,
) -> None:
    world.table = table(expect={"every": "1h", "files": 1})
    world.pause("route#all")
    file = arrival(ROW)
    taken_in(world, file)
    world.resume()
    [result] = taken_in(world, file)
    assert result.kind is OutcomeKind.CREATED
    assert [found["all"].counts.files for found in world.came] == [1, 0]


def test_what_is_rejected_or_not_for_us_has_not_come(world: Delivering) -> None:
    [result] = taken_in(world, Arrival("landing", "in/a.json", "v1", "e", "01", 0, START))
    assert isinstance(result, Rejected)
    taken_in(world, arrival(ROW, "in/_hidden.json"), arrival(ROW, "elsewhere.json"))
    assert world.came == []


def test_in_an_outage_of_adobe_it_has_come_all_the_same(world: Delivering) -> None:
    world.simulator.faults.add(Fault("status", "create", status=503))
    [result] = taken_in(world, arrival(ROW))
    assert isinstance(result, TryAgain)
    assert [found["all"].last for found in world.came] == [START]


def test_if_it_cannot_be_noted_the_file_comes_again(world: Delivering) -> None:
    def fails(_: object) -> None:
        raise LedgerUnavailable("no answer")

    file = arrival(ROW)
    world.put(file, ROW)
    broken = replace(world.intake(0), came=fails)
    [result] = take_in({file.external_id: file}, broken, map).values()
    assert isinstance(result, LedgerUnavailable)
    taken_in(world, file)
    assert [found["all"].last for found in world.came] == [START]


@pytest.mark.parametrize(("rows", "counted"), [(5, [("all", 2)]), (None, [])])
def test_rows_count_once_they_are_loaded(
    world: Delivering, rows: int | None, counted: list[tuple[str, int]]
) -> None:
    external_id = begun(world, 2 * ROW, expect={"by": "06:00"} | ({"rows": rows} if rows else {}))
    uploaded(world)
    assert world.rows == []
    looked(world, external_id)
    assert world.rows == counted


def test_what_a_backfill_brings_is_no_file_of_today(world: Delivering) -> None:
    world.table = table(expect={"every": "1h"})
    taken_in(world, replace(arrival(ROW), brought_by="backfill-x"))
    assert world.came == []
