"""Pauses in the ledger's table, and the orders that wait for their end; see `ledger` for the keys.

Orders that a pause keeps back are in shards of the index `due` that are the pause's own, where the
clock does not look for what is due. There `due` is since when they are kept back.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from threading import Lock

from aep_intake.adapters.dynamodb.items import SHARDS_PER_LANE
from aep_intake.adapters.dynamodb.table import ConditionFailed, Table, deleting
from aep_intake.clock.due import Due, DueKind, fair
from aep_intake.model import records
from aep_intake.model.files import digest
from aep_intake.model.orders import Order
from aep_intake.model.pauses import Pause

FRESH_MS = 15_000  # after which every worker knows of a pause
PAGE = 10_000  # orders of one answer, which fit into a megabyte
SEVERAL = "several"  # the shard of orders that are not of one file


class DynamoPauses:
    """Pauses in `table`. Every method raises LedgerUnavailable if a request failed."""

    def __init__(self, table: Table, now: Callable[[], int]) -> None:
        self._table = table
        self._now = now
        self._reading = Lock()
        self._standing: Mapping[str, Pause] = {}
        self._kept_until = 0

    def standing(self) -> Mapping[str, Pause]:
        """Those that nobody has resumed, by name; at most 15 seconds old."""
        with self._reading:
            if self._now() >= self._kept_until:
                read_at = self._now()
                self._standing = {p.name: p for p in self.all() if p.resumed_at is None}
                self._kept_until = read_at + FRESH_MS
            return self._standing

    def all(self) -> list[Pause]:
        """With those that are over and may still keep orders back (a consistent read)."""
        values = {"pk": {"S": "paused"}}
        items = self._table.query("pk = :pk", values, ConsistentRead=True)
        return [records.read(Pause, item["pause"]["S"]) for item in items]

    def put(self, pause: Pause) -> None:
        """Put a pause, in place of one of its name."""
        text = {"S": records.text(pause)}
        self._table.put({"pk": {"S": "paused"}, "sk": {"S": pause.name}, "pause": text})

    def delete(self, pause: Pause) -> bool:
        """Delete a pause; False if somebody changed it."""
        unchanged = {
            "ConditionExpression": "pause = :pause",
            "ExpressionAttributeValues": {":pause": {"S": records.text(pause)}},
        }
        try:
            self._table.transact(deleting("paused", pause.name, unchanged))
        except ConditionFailed:
            return False
        return True

    def orders(self, pause: Pause, since: int, limit: int) -> list[Due]:
        """Orders that a pause keeps back since then (epoch ms), or before, up to `limit`.

        The oldest of each of its shards first (from an index: a second old).
        """
        found = (islice(self._in(shard, since, limit), limit) for shard in shards(pause.name))
        return fair(found, limit)

    def _in(self, shard: str, since: int, limit: int) -> Iterator[Due]:
        for item in self._table.query(
            "due_shard = :shard AND due <= :since",
            {"shard": {"S": shard}, "since": {"N": str(since)}},
            IndexName="due",
            Limit=min(limit, PAGE),
        ):
            name = item["pk"]["S"].removeprefix("order#")
            yield Due(DueKind.ORDERS, name, int(item["due"]["N"]), shard)


def shards(pause: str) -> list[str]:
    """The shards of the orders that a pause keeps back; the last is of orders of several files."""
    return [f"paused#{pause}#{n}" for n in (*range(SHARDS_PER_LANE), SEVERAL)]


def shard_of(order: Order, pause: str) -> str:
    """The shard of an order that a pause keeps back."""
    *of_one, several = shards(pause)
    if len(order.files) != 1:
        return several
    return of_one[int(digest(order.external_id), 16) % len(of_one)]
