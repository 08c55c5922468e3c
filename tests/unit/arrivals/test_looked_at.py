"""What a look at the first bytes leaves in an order, and what it does not stop."""

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.results import Skipped
from aep_intake.model import records
from aep_intake.model.errors import BadRows, ObjectGone
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Demands, Order
from aep_intake.routing.routes import parse

from local.simulator.seed import LOYALTY
from tests.faults.harness import START, Tape, World, take

PACKED = gzip.compress(b"{}\n", mtime=0)


@pytest.fixture
def world() -> World:
    world = World(Tape(b""))
    world.calm = True
    return world


def file(version: str = "v1", sequencer: str = "0001") -> Arrival:
    return Arrival("landing", "in/a.json", version, "e", sequencer, len(PACKED), START)


def intake(world: World, content: bytes | None, **written: Any) -> IntakePorts:
    """An intake of one route, and what S3 has of each object: None where it is gone."""
    route = {"name": "r", "match": "in/*", "datasetId": LOYALTY} | written
    world.table = parse(json.dumps({"routes": [route]}), "v1")

    def read(_: Arrival, start: int, end: int) -> bytes:
        if content is None:
            raise ObjectGone("not there any more")
        return content[start:end]

    whole = world.intake(0)
    return replace(whole, checks=replace(whole.checks, read=read))


def test_an_order_says_what_the_look_found_and_what_its_route_demands(world: World) -> None:
    take(file(), intake(world, PACKED, minRows=0, badRows="1%"))
    order = world.ledger.records[file().external_id].order
    again = records.read(Order, records.text(order))
    assert again.files[0].gzipped
    assert not file().gzipped
    assert again.demands == Demands(None, 0, "1%")


def test_of_a_wrong_file_no_batch_is_made(world: World) -> None:
    with pytest.raises(BadRows):
        take(file(), intake(world, b"{}\nx\n" + b"{}\n" * 9))
    assert world.simulator.batches() == []
    assert file().external_id not in world.ledger.records


@pytest.mark.parametrize("says", ["replace", "ignore"])
def test_an_older_version_that_is_gone_is_too_late_and_no_fault(world: World, says: str) -> None:
    take(file("v2", "0002"), intake(world, PACKED, onNewVersion=says))
    result = take(file("v1", "0001"), intake(world, None, onNewVersion=says))
    assert isinstance(result, Skipped)


def test_where_each_version_counts_one_that_is_gone_is_told(world: World) -> None:
    with pytest.raises(ObjectGone):
        take(file(), intake(world, None))
