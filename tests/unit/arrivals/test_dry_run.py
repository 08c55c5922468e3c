"""What a redrive would do is what it does, and asking changes nothing."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from aep_intake.arrivals.dry_run import would_become
from aep_intake.arrivals.envelopes import parse
from aep_intake.arrivals.redrive import redrive
from aep_intake.arrivals.results import Joined, Known, Skipped, Waits
from aep_intake.arrivals.take_in import take_in
from aep_intake.model import messages, records
from aep_intake.model.errors import Rejected, TryAgain
from aep_intake.model.messages import Wish
from aep_intake.model.outcomes import caught
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Outcome

from local.simulator.seed import PRODUCTS
from tests.faults.harness import HOUR, Delivering, take
from tests.unit.arrivals.test_redrive import (
    A,
    arrived,
    following,
    rejected,
    table,
    windowed,
    without_data,
    world,
)

__all__ = ["world"]  # a fixture

FILE = messages.of_arrival(A)


def asked(world: Delivering, body: str, *failed: str, even: bool = False) -> dict[str, Any]:
    """What a message would become, which has one thing in it; and nothing is written by it."""
    before = state(world)
    content, intake = parse(body), without_data(world, *failed)
    [[told]] = would_become([content], intake, map, even_if_overtaken=even)
    assert state(world) == before
    return told


def state(world: Delivering) -> Any:
    parts = world.ledger, world.ledger.windows, world.ledger.table
    ledger = [
        {n: v for n, v in vars(part).items() if isinstance(v, dict | set | list)} for part in parts
    ]
    batches = [(batch.id, batch.status) for batch in world.simulator.batches()]
    told = (world.events, world.queue, world.overdue, world.handed_out, world.orders_parked)
    return copy.deepcopy((ledger, batches, told))


def redriven(world: Delivering, body: str, *failed: str) -> Any:
    """What becomes of it in truth."""
    content, intake = parse(body), without_data(world, *failed)
    if content.order:
        return caught(redrive, content.order, intake, map, content.wish)
    wanted = {file.external_id: file for file in content.arrivals}
    [result] = take_in(wanted, intake, map, frozenset(wanted)).values()
    return result


def expected(found: Any) -> dict[str, Any]:
    """What should have been told, by what became of it."""
    told: dict[str, Any]
    match found:
        case Rejected() | TryAgain():
            becomes = "parked" if isinstance(found, Rejected) else "retried"
            told = {"becomes": becomes, "reason": found.reason, "detail": found.detail}
        case Outcome(kind, record):
            becomes = {"duplicate": "nothing", "paused": "paused"}.get(kind, "batch")
            order, target = record.order, record.order.target
            told = {
                "becomes": becomes,
                "externalId": order.external_id,
                "attempt": order.attempt,
                "route": order.route,
                "sandbox": target.sandbox,
                "datasetId": target.dataset_id,
            }
            if becomes == "nothing":
                told["why"] = f"batch {record.batch_id}"
        case Known(why) | Skipped(why):
            told = {"becomes": "nothing", "why": why}
        case Waits():
            told = {"becomes": "waits"}
        case Joined():
            told = {"becomes": "window"}
        case _:
            raise AssertionError(found)
    return told


def nothing(_: Delivering) -> None:
    pass


def unrouted(world: Delivering) -> None:
    world.table = table(match="elsewhere/**")


def gone(world: Delivering) -> None:
    world.contents.clear()


def newer(world: Delivering) -> None:
    arrived(world, following(2, etag="b"), end="success")


def windows(world: Delivering) -> None:
    world.table = table(batch={"window": "1m"})


def marked(world: Delivering) -> None:
    world.table = table(batch={"marker": "_SUCCESS", "within": "1h"})


def paused(world: Delivering) -> None:
    world.ledger.pauses.put(Pause("route#all", world.clock(), "somebody"))


def elsewhere(world: Delivering) -> None:
    world.table = table(datasetId=PRODUCTS)


CAUSES = [nothing, unrouted, gone, newer, windows, marked, paused, elsewhere]


@pytest.mark.parametrize("cause", CAUSES)
def test_a_file_that_was_parked_becomes_what_is_told(
    world: Delivering, cause: Callable[[Delivering], None]
) -> None:
    rejected(world)
    cause(world)
    told = asked(world, FILE)
    found = redriven(world, FILE)
    assert expected(found).items() <= told.items()
    again = asked(world, FILE)
    assert expected(redriven(world, FILE)).items() <= again.items()


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("wish", [Wish(), Wish(as_ordered=True), Wish(even_if_overtaken=True)])
def test_an_order_becomes_what_is_told(
    world: Delivering, cause: Callable[[Delivering], None], wish: Wish
) -> None:
    failed = arrived(world, A, end="failed")
    cause(world)
    body = messages.of_order(failed, wish)
    told = asked(world, body, failed)
    found = redriven(world, body, failed)
    assert expected(found).items() <= told.items()


def test_an_order_of_many_files_and_one_that_may_hold_data(world: Delivering) -> None:
    part = windowed(world, 3)
    body = messages.of_order(part)
    told = asked(world, body, part)
    found = redriven(world, body, part)
    assert told == expected(found)
    assert told["externalId"] == f"{part}.2"
    told = asked(world, body, part)
    assert told["becomes"] == "nothing", "if that one fails, it is parked by itself"
    assert told == expected(redriven(world, body, part))
    told = asked(world, messages.of_order(f"{part}.2"))
    assert told["reason"] == "not-ended"
    assert told == expected(redriven(world, messages.of_order(f"{part}.2")))


def test_files_for_which_no_marker_came(world: Delivering) -> None:
    marked(world)
    world.put(A, b"{}\n")
    assert isinstance(take(A, world.intake(0)), Waits)
    world.clock.advance(2 * HOUR)
    world.rest()
    [overdue] = world.overdue_parked
    body = json.dumps(messages.of_overdue(overdue), default=records.members)
    assert asked(world, body)["reason"] == "marker-missing"
    world.table = table()
    redriven(world, FILE)
    assert asked(world, body) == {"becomes": "nothing", "why": "no file waits any more"}


def test_what_somebody_wants_though_it_was_overtaken_and_what_nobody_understands(
    world: Delivering,
) -> None:
    rejected(world)
    newer(world)
    assert asked(world, FILE)["reason"] == "overtaken"
    assert asked(world, FILE, even=True)["becomes"] == "batch"
    malformed = json.loads(FILE) | {"time": "yesterday"}
    assert asked(world, json.dumps(malformed))["reason"] == "malformed-event"
