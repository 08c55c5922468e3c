"""How long a worker compares, when it begins, and what it counts."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from aep_intake.arrivals.reconcile import Comparison, Finding, FindingKind
from aep_intake.model.errors import StorageUnavailable
from aep_intake.model.orders import LedgerIdentity
from aep_intake.report.telemetry import metrics
from aep_intake.settings import Settings

from tests.request_world import Context

HOUR, DAY = 3_600_000, 86_400_000
NOON = 20_000 * DAY + 12 * HOUR
LEFT_MS = 29_000  # of the worker's time, by `Context`


class World:
    """The comparison in the ledger, and what a worker does with it, in so many `steps`."""

    def __init__(self, kept: Comparison | None, function: ModuleType) -> None:
        self.kept, self.function = kept, function
        self.messages, self.steps, self.taken = 0, 3, 0
        self.identity: LedgerIdentity | None = None
        self.fails: Exception | None = None
        self.counted: list[tuple[str, str, int]] = []

    def last(self) -> Comparison | None:
        return self.kept

    def begin(self, new: Comparison) -> None:
        self.kept = new

    def reconcile(self, comparison: Comparison, _: object) -> Iterator[Comparison]:
        for _ in range(self.steps):
            self.taken += 1
            found = [Finding(FindingKind.NEVER_CAME, "s3://landing/x")]
            self.kept = comparison = comparison.then(findings=found)
            yield comparison
        if self.fails is not None:
            raise self.fails
        self.kept = replace(comparison.then(), ended=NOON)
        yield self.kept


@pytest.fixture
def world(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> World:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    function = importlib.import_module("on_reconcile")
    world = World(None, function)
    fakes: dict[str, Any] = {
        "comparisons": world,
        "ledger": SimpleNamespace(identity=SimpleNamespace(read=lambda: world.identity)),
        "now": lambda: NOON,
        "backlog": lambda: world.messages,
        "comparing": SimpleNamespace,
        "settings": Settings.of("on_reconcile", environment),
    }
    for name, value in fakes.items():
        monkeypatch.setitem(function.worker.__dict__, name, value)
    monkeypatch.setattr(function, "reconcile", world.reconcile)
    monkeypatch.setattr(function, "count", lambda *what: world.counted.append(what))
    monkeypatch.setattr(function, "LAST_MS", 0)
    monkeypatch.setattr(metrics.provider, "namespace", "AepIntake")
    monkeypatch.setattr(metrics.provider, "service", "aep-intake")
    metrics.clear_metrics()
    return world


def begun(days_ago: int, **changes: Any) -> Comparison:
    return replace(Comparison.begin(NOON - days_ago * DAY, 60 * DAY, ("landing",)), **changes)


def compare(world: World) -> None:
    world.function.handler({}, Context())


def test_one_begins_each_day_and_no_more(world: World) -> None:
    compare(world)
    assert world.kept is not None
    assert (world.kept.began, world.kept.ended) == (NOON, NOON)
    compare(world)
    assert world.taken == 3
    world.kept = begun(1, ended=NOON - DAY)
    compare(world)
    assert (world.kept.began, world.taken) == (NOON, 6)


def test_the_first_one_of_an_old_ledger_does_not_trust_its_retention(world: World) -> None:
    world.identity = LedgerIdentity("of a release before")
    compare(world)
    assert world.kept is not None
    assert world.kept.since == NOON - 21 * DAY


def test_it_stops_before_its_time_is_over_and_the_next_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.kept = begun(1)
    monkeypatch.setattr(world.function, "LAST_MS", LEFT_MS + 1)
    for number in range(1, 4):
        compare(world)
        assert (world.taken, world.kept.ended) == (number, None)
        assert world.counted == [("Reconciled", "never-came", 1)] * number
    assert world.kept.began == NOON - DAY


def test_while_the_queue_is_behind_it_is_put_off(world: World) -> None:
    world.messages = 1001
    compare(world)
    assert world.taken == 0


@pytest.mark.parametrize("days_ago", [0, 2])
def test_what_fails_for_a_day_is_an_error(world: World, days_ago: int) -> None:
    world.kept, world.fails = begun(days_ago), StorageUnavailable("S3 answered 503")
    if days_ago:
        with pytest.raises(StorageUnavailable):
            compare(world)
    else:
        compare(world)
    assert world.counted == [("Reconciled", "never-came", 3)]


def test_what_is_counted_anew_is_no_less_than_nothing(world: World) -> None:
    """An inventory broke, and its bucket is begun anew: some was counted by the worker before."""
    before = [Finding(FindingKind.NEVER_CAME, f"s3://landing/{n}") for n in range(5)]
    world.kept, world.steps = begun(0).by_inventory("s3://state/new").then(findings=before), 1
    going_on = world.reconcile

    def anew(comparison: Comparison, ports: object) -> Iterator[Comparison]:
        unusable = Finding(FindingKind.UNUSABLE, "it is broken")
        return going_on(comparison.by_listing().then(findings=[unusable]), ports)

    world.function.reconcile = anew  # type: ignore[attr-defined]
    compare(world)
    assert world.counted == [("Reconciled", "inventory-unusable", 1)]
