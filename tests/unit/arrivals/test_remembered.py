"""Who decides by what the ledger remembers asks how long it did, before a longer retention."""

from types import SimpleNamespace
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.comparisons import DynamoComparisons
from aep_intake.adapters.dynamodb.connections import DynamoConnections
from aep_intake.adapters.dynamodb.identity import DynamoIdentity
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals.reconcile import Comparison
from aep_intake.model.orders import LedgerIdentity
from aep_intake.model.organizations import Limits, Organizations
from aep_intake.settings import Settings
from aep_intake.wiring.arrive import Arriving
from aep_intake_cli import clock, comparing, standing
from aep_intake_cli.backfill import running
from aep_intake_cli.backfill.running import Asked
from aep_intake_cli.stack import Stack

from tests.items import Items
from tests.request_world import Context

DAY = 86_400_000
NOW = 20_000 * DAY
ROUTES = b'{"routes": [{"name": "x", "match": "x", "ignore": true}]}'


class Remembering:
    """A ledger whose stack remembers 60 days since just now."""

    def __init__(self) -> None:
        self.items = Items([])
        self.table = Table(self.items, "ledger")  # type: ignore[arg-type]
        self.identity = DynamoIdentity(self.table, "ledger", lambda: NOW)
        DynamoConnections(self.table).tell("landing", 0)

    def compared(self, retention: int) -> None:
        ledger = DynamoLedger(self.items, "ledger", lambda: NOW, retention)  # type: ignore[arg-type]
        comparisons = DynamoComparisons(self.table, ledger, lambda: NOW)
        comparisons.begin(Comparison.begin(NOW - DAY, retention, ("landing",)))


@pytest.fixture(params=["compared", "made long ago", "new"])
def case(request: pytest.FixtureRequest) -> tuple[Remembering, int]:
    """A ledger, and for how many days it surely remembers."""
    ledger = Remembering()
    if request.param == "compared":
        ledger.compared(30 * DAY)
        return ledger, 30
    if request.param == "made long ago":
        ledger.identity.write(LedgerIdentity("ledger"))
        return ledger, 22
    return ledger, 60


type Case = tuple[Remembering, int]


def test_workers_that_take_in_arrivals(case: Case, environment: dict[str, str]) -> None:
    ledger, days = case
    worker = Arriving(Settings.of("on_arrival", environment | {"RETENTION_DAYS": "60"}))
    organizations = Organizations((), Limits())
    fakes: dict[str, Any] = {
        "now": lambda: NOW,
        "_dynamodb": ledger.items,
        "organizations": SimpleNamespace(current=lambda: organizations),
        "adobe": SimpleNamespace(create_ms=0, batch=None, dataset_id=None, dataset_info=None),
        "announcer": None,
        "credentials": SimpleNamespace(ims_org=None),
        "_s3": None,
        "tables": SimpleNamespace(current=None),
    }
    worker.__dict__.update(fakes)
    context: Any = Context()
    intake = worker.intake(context)
    assert intake.forgotten(NOW - days * DAY - 1)
    assert not intake.forgotten(NOW - days * DAY)


class Operator:
    """A stack, and a session of AWS that has its ledger alone."""

    def __init__(self, items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
        self.items = items
        outputs = {"LedgerTable": "ledger", "SourceBuckets": "landing", "ArrivalsQueueUrl": "url"}
        parameters = {"RetentionDays": "60", "KeyPattern": "*"}
        self.stack = Stack("aep-intake", outputs, parameters)
        monkeypatch.setattr(clock, "now", lambda: NOW)
        for module in (running, comparing):
            monkeypatch.setattr(module, "now", lambda: NOW)
            monkeypatch.setattr(module, "live_routes", lambda *_: ROUTES)
        monkeypatch.setattr(standing, "status_ports", lambda *_: None)
        monkeypatch.setattr(
            comparing, "adobe_clients", lambda *_: (None, SimpleNamespace(tagged=1))
        )

    def client(self, service: str) -> Any:
        return self.items if service == "dynamodb" else None


def test_a_backfill(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, days = case
    operator: Any = Operator(ledger.items, monkeypatch)
    found = running.prepare(operator.stack, operator, Asked("landing", ""))
    assert found.bounds.oldest == NOW - days * DAY


def test_a_comparison_by_hand(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, days = case
    operator: Any = Operator(ledger.items, monkeypatch)
    found = comparing.prepare(operator.stack, operator, None, None, None)
    assert found.comparison.since == NOW - (days - 1) * DAY
