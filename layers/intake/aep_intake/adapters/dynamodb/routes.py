"""What the ledger's table knows of routes: when files came last, and how they stand.

Workers that take in files write `last_ms`, at most once in a minute of the files' own time, and the
counts of routes that expect counts; the clock writes `standing`. Each leaves the other's alone.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress

from aep_intake.adapters.dynamodb.table import ConditionFailed, Item, Table, expiry
from aep_intake.model import records
from aep_intake.model.expectations import Came, Counts, RouteSeen, RouteStanding
from aep_intake.model.times import MINUTE_MS


class DynamoRoutes:
    """Routes in `table`. Every method raises LedgerUnavailable if a request failed."""

    def __init__(self, table: Table, now: Callable[[], int], *, retention_ms: int) -> None:
        self._table = table
        self._now = now
        self._retention_ms = retention_ms
        self._written: dict[str, int] = {}  # by route, the minute of its newest file

    def all(self) -> list[RouteSeen]:
        """What is known of all routes (one query)."""
        return [_seen(item) for item in self._table.query("pk = :pk", {"pk": {"S": "routes"}})]

    def came(self, found: Mapping[str, Came]) -> None:
        """Files came, by route. What is older than what is known changes nothing but counts."""
        for route, came in found.items():
            if came.counted and came.counts != Counts():
                self.count(route, came.counts)
            minute = came.last // MINUTE_MS
            if minute <= self._written.get(route, -1):
                continue
            values = {"last": {"N": str(came.last)}, "expires": self._expires}
            newer = "attribute_not_exists(last_ms) OR last_ms < :last"
            changes = "SET last_ms = :last, expires = :expires"
            with suppress(ConditionFailed):  # a newer one is known
                self._table.update("routes", route, changes, values, newer)
            self._written[route] = minute

    def count(self, route: str, more: Counts) -> None:
        """Add to the counts of a route."""
        values = {
            "files": {"N": str(more.files)},
            "bytes": {"N": str(more.bytes)},
            "rows": {"N": str(more.rows)},
            "expires": self._expires,
        }
        changes = "SET expires = :expires ADD files_in :files, bytes_in :bytes, rows_in :rows"
        self._table.update("routes", route, changes, values)

    def put_standing(self, route: str, standing: RouteStanding | None) -> None:
        """Write how a route stands; None: nothing is expected of it."""
        if standing is None:
            values = {"expires": self._expires}
            self._table.update("routes", route, "SET expires = :expires REMOVE standing", values)
            return
        values = {"standing": {"S": records.text(standing)}, "expires": self._expires}
        changes = "SET standing = :standing, expires = :expires"
        self._table.update("routes", route, changes, values)

    @property
    def _expires(self) -> dict[str, str]:
        return expiry(self._now() + self._retention_ms)


def _seen(item: Item) -> RouteSeen:
    counts = (int(item.get(name, {"N": "0"})["N"]) for name in ("files_in", "bytes_in", "rows_in"))
    return RouteSeen(
        item["sk"]["S"],
        int(item.get("last_ms", {"N": "0"})["N"]),
        Counts(*counts),
        records.read(RouteStanding, item["standing"]["S"]) if "standing" in item else None,
    )
