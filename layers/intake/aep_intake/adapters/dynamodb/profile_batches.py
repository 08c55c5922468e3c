"""How many batches were made for Profile, and how many should be; see `ledger` for the keys."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from aep_intake.adapters.dynamodb.table import Table, expiry
from aep_intake.model.errors import LedgerUnavailable
from aep_intake.model.orders import Order
from aep_intake.model.times import DAY_MS, day_of, hour_of

_LIMIT = {"pk": {"S": "made#limit"}, "sk": {"S": "limit"}}


class DynamoProfileBatches:
    """Counts in `table`. `retention_ms`: how long they are stored. Raise LedgerUnavailable."""

    def __init__(self, table: Table, now: Callable[[], int], retention_ms: int) -> None:
        self._table = table
        self._now = now
        self._retention_ms = retention_ms

    def count(self, order: Order) -> None:
        """Count a batch for the metric that warns long before the daily limit.

        This is a write of its own, so that it cannot make the batch's write fail. So the count is
        nearly right: a worker that dies here leaves a batch out, and a lost answer counts one
        twice.
        """
        now = self._now()
        place = f"{hour_of(now)}#{order.target.ims_org}#{order.target.sandbox}"
        with suppress(LedgerUnavailable):
            self._table.add(f"made#{day_of(now)}", place, 1, expiry(now + self._retention_ms))

    def made(self, now: int) -> dict[tuple[str, str], int]:
        """How many batches were made for Profile in 24 hours, by organization and sandbox.

        Adobe counts the 24 hours before `now` (epoch ms), and no day of a calendar. Here their
        first hour counts whole.
        """
        since, made = hour_of(now - DAY_MS), Counter[tuple[str, str]]()
        for day in (day_of(now - DAY_MS), day_of(now)):
            for item in self._table.query("pk = :pk", {"pk": {"S": f"made#{day}"}}):
                hour, _, place = item["sk"]["S"].partition("#")
                if not hour.startswith(day):  # a release before hours counted by day
                    hour, place = f"{day}T00", item["sk"]["S"]
                if hour >= since:
                    ims_org, _, sandbox = place.rpartition("#")
                    made[ims_org, sandbox] += int(item["counted"]["N"])
        return dict(made)

    def note_limit(self, per_day: int) -> None:
        """Store how many batches for Profile a sandbox should have a day, for the page."""
        self._table.put({**_LIMIT, "counted": {"N": str(per_day)}})

    def limit(self) -> int:
        """How many that are; 0 until the first tick."""
        item = self._table.get(*(name["S"] for name in _LIMIT.values()))
        return 0 if item is None else int(item["counted"]["N"])
