"""How many batches were made of which Adobe advises few, and how many should be for Profile.

Those for Profile by sandbox, and those of lookup datasets by dataset; see `ledger` for the keys.
"""

from collections import Counter
from collections.abc import Callable, Iterator
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
        now, target = self._now(), order.target
        day, expires = day_of(now), expiry(now + self._retention_ms)
        place = f"{hour_of(now)}#{target.ims_org}#{target.sandbox}"
        with suppress(LedgerUnavailable):
            if order.profile:
                self._table.add(f"made#{day}", place, 1, expires)
            if order.lookup:
                self._table.add(f"made#lookup#{day}", f"{place}#{target.dataset_id}", 1, expires)

    def made(self, now: int) -> dict[tuple[str, str], int]:
        """How many batches were made for Profile in 24 hours, by organization and sandbox.

        Adobe counts the 24 hours before `now` (epoch ms), and no day of a calendar. Here their
        first hour counts whole.
        """
        made = Counter[tuple[str, str]]()
        for place, number in self._counted("made", now):
            ims_org, _, sandbox = place.rpartition("#")
            made[ims_org, sandbox] += number
        return dict(made)

    def of_lookups(self, now: int) -> dict[tuple[str, str, str], int]:
        """The same of lookup datasets, by organization, sandbox and dataset: those of routes whose
        dataset publishing knew.
        """
        made = Counter[tuple[str, str, str]]()
        for place, number in self._counted("made#lookup", now):
            ims_org, sandbox, dataset_id = place.rsplit("#", 2)
            made[ims_org, sandbox, dataset_id] += number
        return dict(made)

    def _counted(self, what: str, now: int) -> Iterator[tuple[str, int]]:
        since = hour_of(now - DAY_MS)
        for day in (day_of(now - DAY_MS), day_of(now)):
            for item in self._table.query("pk = :pk", {"pk": {"S": f"{what}#{day}"}}):
                hour, _, place = item["sk"]["S"].partition("#")
                if not hour.startswith(day):  # a release before hours counted by day
                    hour, place = f"{day}T00", item["sk"]["S"]
                if hour >= since:
                    yield place, int(item["counted"]["N"])

    def note_limit(self, per_day: int) -> None:
        """Store how many batches for Profile a sandbox should have a day, for the page."""
        self._table.put({**_LIMIT, "counted": {"N": str(per_day)}})

    def limit(self) -> int:
        """How many that are; 0 until the first tick."""
        item = self._table.get(*(name["S"] for name in _LIMIT.values()))
        return 0 if item is None else int(item["counted"]["N"])
