"""Who claims each of many versions; see `ledger` for the keys."""

from collections.abc import Callable, Sequence
from itertools import batched

from aep_intake.adapters.dynamodb.table import KEYS_MAX, Table
from aep_intake.model.files import Arrival
from aep_intake.model.orders import claims


class DynamoClaims:
    """The claims in `table`, many at a time. Every method raises LedgerUnavailable."""

    def __init__(self, table: Table, now: Callable[[], int]) -> None:
        self._table = table
        self._now = now

    def owners(self, files: Sequence[Arrival], *, consistent: bool = False) -> dict[Arrival, str]:
        """The order or window that claims each of the files, as far as they are claimed.

        A request for each hundred.
        """
        now = self._now() // 1000
        found = {}
        for some in batched(files, KEYS_MAX, strict=False):
            places = {(f"object#{f.object_id}", claims(f)[0].slot): f for f in some}
            names = "expires", "external_id"
            for item in self._table.get_many(list(places), *names, consistent=consistent):
                if int(item["expires"]["N"]) >= now:  # DynamoDB deletes it within days, not at once
                    place = item["pk"]["S"], item["sk"]["S"]
                    found[places[place]] = item["external_id"]["S"]
        return found

    def undelivered(self, external_ids: Sequence[str]) -> list[str]:
        """Those orders that have no delivery; a request for each hundred."""
        missing = []
        for some in batched(external_ids, KEYS_MAX, strict=False):
            items = self._table.get_many([(f"delivery#{name}", "delivery") for name in some])
            there = {item["pk"]["S"].removeprefix("delivery#") for item in items}
            missing += [name for name in some if name not in there]
        return missing
