"""What happened in each hour, in the ledger's table; see `ledger` for the keys."""

import json
import zlib
from contextlib import suppress

from aep_intake.adapters.dynamodb.table import ConditionFailed, Item, Table, expiry
from aep_intake.model.times import DAY_MS, milliseconds
from aep_intake.report.counts import HourCounts, RouteCounts


class DynamoCounts:
    """Counts in `table`, kept for so many `days`. Every method raises LedgerUnavailable."""

    def __init__(self, table: Table, days: int) -> None:
        self._table = table
        self._days = days

    def put(self, counts: HourCounts) -> None:
        """Write the counts of an hour, unless those of as many objects or more are there.

        The objects of an hour only become more, so those of more objects are the later ones.
        """
        day, _, hour = counts.hour.partition("T")
        routes = {name: told.members() for name, told in counts.routes.items()}
        # An item of 400 KB would not hold a thousand routes; and few bytes are few write units.
        text = json.dumps(routes, ensure_ascii=False, separators=(",", ":"))
        expires = milliseconds(f"{day}T00:00:00Z") + (self._days + 1) * DAY_MS
        item: Item = {
            "pk": {"S": f"counts#{day}"},
            "sk": {"S": hour},
            "objects": {"N": str(counts.objects)},
            "routes": {"B": zlib.compress(text.encode())},
            "expires": expiry(expires),
        }
        fewer = {
            "ConditionExpression": "attribute_not_exists(pk) OR objects < :objects",
            "ExpressionAttributeValues": {":objects": item["objects"]},
        }
        with suppress(ConditionFailed):
            self._table.put(item, fewer)

    def of_day(self, day: str) -> list[HourCounts]:
        """The counts of each hour of a day (`2026-11-23`, in UTC) in which something happened."""
        found = self._table.query("pk = :pk", {"pk": {"S": f"counts#{day}"}})
        return [
            HourCounts(
                f"{day}T{item['sk']['S']}",
                int(item["objects"]["N"]),
                {
                    name: RouteCounts.of(members)
                    for name, members in json.loads(zlib.decompress(item["routes"]["B"])).items()
                },
            )
            for item in found
        ]
