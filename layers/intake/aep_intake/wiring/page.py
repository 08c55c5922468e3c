"""The page's way to the ledger: for on_widget, and for the operator's command."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from aep_intake.adapters.dynamodb.counts import DynamoCounts
from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.parked import DynamoParked
from aep_intake.adapters.dynamodb.routes import DynamoRoutes
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.adapters.dynamodb.unfinished import DynamoUnfinished
from aep_intake.adapters.dynamodb.windows import DynamoWindows
from aep_intake.model.batches import LOOKUP_BATCHES_PER_DAY
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.windows import Window
from aep_intake.report.status import StatusPorts
from aep_intake.report.today import Meter, PagePorts
from aep_intake.wiring.clients import Clients

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Showing(Clients):
    """A worker that shows the page."""

    @cached_property
    def page(self) -> PagePorts:
        """The ports of the page."""
        table = self.settings.ledger_table
        return page_ports(self._dynamodb, table, self.now, self.side_by_side)


def page_ports(
    client: "DynamoDBClient", table: str, now: Callable[[], int], side_by_side: SideBySide
) -> PagePorts:
    """The ports of the page: they read the table, and do nothing else."""
    items = Table(client, table)
    ledger = DynamoLedger(client, table, now, retention_ms=0)

    def meters() -> Iterable[Meter]:
        batches, at = ledger.profile_batches, now()
        if limit := batches.limit():
            for (org, sandbox), n in sorted(batches.made(at).items()):
                yield Meter(org, sandbox, n, limit)
        for (org, sandbox, dataset_id), n in sorted(batches.of_lookups(at).items()):
            yield Meter(org, sandbox, n, LOOKUP_BATCHES_PER_DAY, dataset_id)

    return PagePorts(
        now=now,
        counts=DynamoCounts(items, days=0).of_day,
        parked=lambda: DynamoParked(items).some(side_by_side),
        pauses=lambda: ledger.pauses.standing().values(),
        routes_seen=DynamoRoutes(items, now, retention_ms=0).all,
        waits=DynamoUnfinished(items, now).all,
        meters=meters,
        status=StatusPorts(
            ledger=ledger,
            windows=_Windows(ledger.windows),
            deliveries=DynamoDeliveries(items, now, retention_ms=0),
            ask=lambda records: [{} for _ in records],
            side_by_side=side_by_side,
            pauses=ledger.pauses.standing,
        ),
    )


class _Windows:
    """Windows without their lists, which are in S3: a file of one of several parts is in any."""

    def __init__(self, windows: DynamoWindows) -> None:
        self.get = windows.get

    def part_of(self, window: Window, bucket: str, key: str, version: str) -> None:
        """Nobody knows."""
