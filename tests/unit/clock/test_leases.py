"""A crash is noticed in minutes, with the default parameters, wherever a worker dies.

Its work goes on within three minutes of the end of its lease. A message is leased to who received
it by its queue's visibility, and SQS finds it. An order, a step of a delivery, a plan, or what a
tick was about to hand out is leased in the ledger until it is due, and the clock finds it.
"""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aep_intake.clock import due
from aep_intake.model.organizations import Limits, Organizations
from aep_intake.model.times import SKEW_MS
from aep_intake.settings import Settings
from aep_intake.wiring.create import Creating
from aep_intake.wiring.deliver import Delivering
from aep_intake.wiring.worker import Worker

from local.docs import resources, template

TEMPLATE = template()
WITHIN = 180  # seconds
FUNCTIONS = resources("AWS::Serverless::Function")


def number(value: Any) -> int:
    """A number of the template, by the default parameters."""
    match value:
        case {"Ref": str(name)}:
            return number(TEMPLATE["Parameters"][name]["Default"])
        case {"Fn::FindInMap": [name, key, member]}:
            row = key if isinstance(key, str) else str(number(key))
            return number(TEMPLATE["Mappings"][name][row][member])
    return int(value)


def timeout(function: str) -> int:
    return number(FUNCTIONS[function]["Timeout"])


def snake(function: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", function).lower()


def queues() -> dict[str, tuple[str, int]]:
    """The function that each queue feeds, and the queue's visibility."""
    return {
        (queue := event["Properties"]["Queue"]["Fn::GetAtt"][0]): (
            name,
            number(TEMPLATE["Resources"][queue]["Properties"]["VisibilityTimeout"]),
        )
        for name, function in FUNCTIONS.items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "SQS"
    }


def until_the_clock_finds_it() -> int:
    """From when something is due until it is handed out: a tick has just looked, and the next one
    takes as long as it may.
    """
    rule = TEMPLATE["Resources"]["TickRule"]["Properties"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    return 60 + timeout("OnTick")


class Lease(NamedTuple):
    """Seconds from when a worker takes something: while it can live, and until the lease ends."""

    worker: int
    lease: int


@pytest.fixture
def leases(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Lease]:
    """By what is held: as the functions are wired, each with all of its time before it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def worker[W: Worker](kind: type[W], function: str) -> W:
        made = kind(Settings.of(function))
        none = SimpleNamespace(current=lambda: Organizations((), Limits()))
        monkeypatch.setitem(made.__dict__, "organizations", none)
        return made

    def context(function: str) -> Any:
        return SimpleNamespace(get_remaining_time_in_millis=lambda: 1000 * timeout(function))

    found = {}
    for function in ("OnArrival", "OnDue", "OnRequest"):
        its_worker = worker(Creating, snake(function))
        before = its_worker.now()
        order = its_worker.create(context(function), lambda _: None).lease()
        found[f"an order, {function}"] = Lease(timeout(function), (order.until - before) // 1000)
    for function in ("OnDelivery", "OnUpload"):
        its = worker(Delivering, snake(function)).delivery(context(function))
        assert its.planning_ms // 1000 < timeout(function) // 2, "it ends before its worker does"
        planning = Lease(timeout(function), max(its.step_ms, its.worker_life_ms) // 1000)
        found[f"a plan, {function}"] = planning
        # Of one step alone, its calls to AEP end before that.
        found[f"a step, {function}"] = Lease(0, its.step_ms // 1000)
        found[f"pieces under way, {function}"] = Lease(timeout("OnUpload"), its.upload_ms // 1000)
    return found


def test_who_dies_with_a_message_gives_it_back_by_dying() -> None:
    for queue, (function, visibility) in queues().items():
        assert timeout(function) < visibility <= timeout(function) + WITHIN, queue


def test_who_dies_with_a_lease_delays_it_by_no_more_than_the_clock(
    leases: dict[str, Lease],
) -> None:
    assert until_the_clock_finds_it() <= WITHIN
    for what, (worker, lease) in leases.items():
        assert worker <= lease, f"{what}: nobody else may work on it while its worker lives"
        assert lease <= worker + WITHIN, f"{what}: held for longer than its worker can live"
    assert SKEW_MS < 1000 * WITHIN


def test_what_was_handed_out_and_lost_comes_again_as_soon() -> None:
    """Though no worker ever saw it, it waits no longer than if one had died of it."""
    handed_out = dict(_due_queues())
    assert set(handed_out) == set(due.DueKind)
    for kind, visibility in handed_out.items():
        lost = due.LEASE_MS // 1000 + until_the_clock_finds_it()
        assert lost <= visibility + WITHIN, kind


def _due_queues() -> Iterator[tuple[due.DueKind, int]]:
    for kind in due.DueKind:
        yield kind, queues()[_queue_of(kind)][1]


def _queue_of(kind: due.DueKind) -> str:
    return {
        due.DueKind.WINDOWS: "DueQueue",
        due.DueKind.FOLDERS: "DueFoldersQueue",
        due.DueKind.ORDERS: "DueOrdersQueue",
        due.DueKind.DELIVERIES: "DueDeliveriesQueue",
    }[kind]
