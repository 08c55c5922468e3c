"""Comparisons of buckets, ledger and Catalog; see `ledger` for the keys."""

from collections.abc import Callable, Sequence
from itertools import batched

from aep_intake.adapters.dynamodb.claims import DynamoClaims
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import KEYS_MAX, ConditionFailed, Table, expiry, revision
from aep_intake.arrivals.reconcile import Comparison
from aep_intake.model import records
from aep_intake.model.errors import LeaseLost
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import Seen
from aep_intake.model.progress import Record
from aep_intake.model.times import DAY_MS
from aep_intake.model.windows import Window

PK, SK = "reconcile", "comparison"


# A message is in its queue for a week, and in the dead-letter queue for two.
MESSAGE_LIFE_MS = 22 * DAY_MS


def _sent(file: Arrival) -> str:
    return f"sent#{digest(file.object_id, file.version)}"


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
        self._now = now
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

    def sent_before(self, files: Sequence[Arrival], began: int) -> set[Arrival]:
        """Those whose messages, of another comparison than that of then, may still live.

        None for an operator, whose comparison sends them once more.
        """
        found, now = set[Arrival](), self._now() // 1000
        for some in batched(files if self._keeps else (), KEYS_MAX, strict=False):
            places = {(PK, _sent(file)): file for file in some}
            for item in self._table.get_many(list(places), "began", "expires"):
                by_another = item["began"]["N"] != str(began)
                if by_another and int(item["expires"]["N"]) >= now:
                    found.add(places[PK, item["sk"]["S"]])
        return found

    def note_sent(self, files: Sequence[Arrival], began: int) -> None:
        """Note that the comparison which began then (epoch ms) sent these."""
        for file in files if self._keeps else ():
            about = {"began": {"N": str(began)}, "expires": expiry(self._now() + MESSAGE_LIFE_MS)}
            self._table.put({"pk": {"S": PK}, "sk": {"S": _sent(file)}} | about)

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
