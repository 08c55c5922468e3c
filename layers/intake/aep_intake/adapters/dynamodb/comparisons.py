"""Comparisons of buckets, ledger and Catalog; see `ledger` for the keys."""

from collections.abc import Callable, Sequence

from aep_intake.adapters.dynamodb.claims import DynamoClaims
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import ConditionFailed, Table, revision
from aep_intake.arrivals.reconcile import Comparison
from aep_intake.model import records
from aep_intake.model.errors import LeaseLost
from aep_intake.model.files import Arrival
from aep_intake.model.history import Seen
from aep_intake.model.progress import Record
from aep_intake.model.windows import Window

PK, SK = "reconcile", "comparison"


def last_comparison(table: Table) -> Comparison | None:
    """The one that was begun last (a consistent read). Raises LedgerUnavailable."""
    item = table.get(PK, SK)
    return None if item is None else records.read(Comparison, item["record"]["S"])


class DynamoComparisons:
    """As `reconcile.ComparedLedger`; without `keeps`, no comparison is written."""

    def __init__(
        self, table: Table, ledger: DynamoLedger, now: Callable[[], int], *, keeps: bool = True
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._claims = DynamoClaims(table, now)
        self._keeps = keeps

    def last(self) -> Comparison | None:
        """The one that was begun last (a consistent read)."""
        return last_comparison(self._table)

    def begin(self, new: Comparison) -> None:
        """Put a new one in place of the one before."""
        self._put(new, None)

    def replace(self, old: Comparison, new: Comparison) -> Comparison:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        if self._keeps:
            self._put(new, old)
        return new

    def owners(self, files: Sequence[Arrival]) -> dict[Arrival, str]:
        """The order or window that claims each of the files, as far as they are claimed."""
        return self._claims.owners(files)

    def undelivered(self, external_ids: Sequence[str]) -> list[str]:
        """Those orders that have no delivery."""
        return self._claims.undelivered(external_ids)

    def seen(self, object_id: str) -> list[Seen]:
        """All that the ledger knows of an object."""
        return self._ledger.seen(object_id)

    def get(self, external_id: str) -> Record | None:
        """An order's current record."""
        return self._ledger.get(external_id)

    def window(self, window_id: str) -> Window | None:
        """The current window."""
        return self._ledger.windows.get(window_id)

    def _put(self, new: Comparison, old: Comparison | None) -> None:
        item = {
            "pk": {"S": PK},
            "sk": {"S": SK},
            "revision": {"N": str(new.revision)},
            "record": {"S": records.text(new)},
        }
        try:
            self._table.put(item, None if old is None else revision(old.revision))
        except ConditionFailed as failed:
            [current] = failed.items
            if current is None or current["record"]["S"] != item["record"]["S"]:
                raise LeaseLost("another worker continues the comparison") from None
