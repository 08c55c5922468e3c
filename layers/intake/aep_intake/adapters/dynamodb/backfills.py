"""Backfills; see `ledger` for the keys. These items never expire."""

from aep_intake.adapters.dynamodb.table import ABSENT, ConditionFailed, Item, Table, revision
from aep_intake.arrivals.backfills import Backfill
from aep_intake.model import records
from aep_intake.model.errors import LeaseLost

PK = "backfills"


class DynamoBackfills:
    """As `backfills.BackfillLedger`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def all(self) -> list[Backfill]:
        """All backfills there ever were, in the order of their ids (a consistent read)."""
        found = self._table.query("pk = :pk", {"pk": {"S": PK}}, ConsistentRead=True)
        return [_backfill(item) for item in found]

    def begin(self, backfill: Backfill) -> None:
        """Put a new one. Raises LeaseLost if there is one of that id."""
        try:
            self._table.put(_item(backfill), ABSENT)
        except ConditionFailed:
            raise _lost(backfill) from None

    def replace(self, old: Backfill, new: Backfill) -> Backfill:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        try:
            self._table.put(_item(new), revision(old.revision))
        except ConditionFailed as failed:
            [current] = failed.items
            if current is None or _backfill(current) != new:  # as in `DynamoLedger.replace`
                raise _lost(old) from None
        return new


def _item(backfill: Backfill) -> Item:
    return {
        "pk": {"S": PK},
        "sk": {"S": backfill.backfill_id},
        "revision": {"N": str(backfill.revision)},
        "record": {"S": records.text(backfill)},
    }


def _backfill(item: Item) -> Backfill:
    return records.read(Backfill, item["record"]["S"])


def _lost(backfill: Backfill) -> LeaseLost:
    return LeaseLost(f"another command continues {backfill.backfill_id}")
