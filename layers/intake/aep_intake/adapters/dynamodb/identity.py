"""The identity of the ledger; see `ledger` for the keys.

A restore makes a table of another name, but it is the same ledger: so the id is in the table.
"""

from collections.abc import Callable
from threading import Lock

from aep_intake.adapters.dynamodb.table import ABSENT, ConditionFailed, Item, Table
from aep_intake.model import records
from aep_intake.model.orders import LedgerIdentity

FRESH_MS = 60_000  # after a minute every worker knows of a restore


class DynamoIdentity:
    """The identity of the ledger in `table`. `first`: its id, if it has none yet.

    Every method raises LedgerUnavailable if a request to DynamoDB failed.
    """

    def __init__(self, table: Table, first: str, now: Callable[[], int]) -> None:
        self._table = table
        self._first = first
        self._now = now
        self._reading = Lock()
        self._id = ""
        self._known = LedgerIdentity(first)
        self._kept_until = 0

    def get(self) -> LedgerIdentity:
        """The identity, at most a minute old."""
        with self._reading:
            if self._now() >= self._kept_until:
                self._known = self.read() or LedgerIdentity(self._first)
                self._kept_until = self._now() + FRESH_MS
            return self._known

    def ledger_id(self) -> str:
        """The id in this ledger's tags of batches; made once, and never changed."""
        with self._reading:
            if not self._id:
                self._id = (self.read() or self._make()).ledger_id
            return self._id

    def read(self) -> LedgerIdentity | None:
        """The current identity (a consistent read)."""
        item = self._table.get("ledger", "identity")
        return None if item is None else records.read(LedgerIdentity, item["identity"]["S"])

    def write(self, identity: LedgerIdentity) -> None:
        """Replace the identity."""
        self._table.put(_item(identity))

    def _make(self) -> LedgerIdentity:
        made = LedgerIdentity(self._first, made_at=self._now())
        try:
            self._table.put(_item(made), ABSENT)
        except ConditionFailed as failed:
            [current] = failed.items
            return records.read(LedgerIdentity, (current or _item(made))["identity"]["S"])
        return made


def _item(identity: LedgerIdentity) -> Item:
    return {
        "pk": {"S": "ledger"},
        "sk": {"S": "identity"},
        "identity": {"S": records.text(identity)},
    }
