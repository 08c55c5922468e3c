"""Which of many versions are claimed; see `ledger` for the keys."""

from collections.abc import Callable, Sequence
from itertools import batched

from aep_intake.adapters.dynamodb.table import Table
from aep_intake.model.files import Arrival
from aep_intake.model.orders import claims

KEYS_MAX = 100  # of one request


class DynamoClaims:
    """The claims in `table`, many at a time. Every method raises LedgerUnavailable."""

    def __init__(self, table: Table, now: Callable[[], int]) -> None:
        self._table = table
        self._now = now

    def claimed(self, files: Sequence[Arrival]) -> list[Arrival]:
        """Those of the files that an order or a window claims: a request for each hundred."""
        now = self._now() // 1000
        found = []
        for some in batched(files, KEYS_MAX, strict=False):
            places = {(f"object#{f.object_id}", claims(f)[0].slot): f for f in some}
            for item in self._table.get_many(list(places), "expires"):
                if int(item["expires"]["N"]) >= now:  # DynamoDB deletes it within days, not at once
                    found.append(places[item["pk"]["S"], item["sk"]["S"]])
        return found
