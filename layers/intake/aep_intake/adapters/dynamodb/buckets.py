"""The rate limit's buckets in the ledger: one item for each, which all workers write.

`pk=pace#<digest of the credential>`, `sk=bucket`, `full_at`: epoch milliseconds. Workers use no
transaction and no read, so they never block each other: DynamoDB does one write after the other, a
thousand in a second.
"""

from aep_intake.adapters.dynamodb.table import ConditionFailed, Item, Table, expiry
from aep_intake.create.pace import Full
from aep_intake.model.times import DAY_MS


class DynamoBuckets:
    """As `pace.Buckets`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def take(self, name: str, cost: float, now: float, until: float, *, filling: bool) -> float:
        """As `pace.Buckets`: one write where `filling` is right, else two."""
        if filling:
            try:
                return self._add(name, cost, now, until)
            except Full as full:
                if full.full_at > now:
                    raise
        try:
            return self._begin(name, cost, now, until)
        except Full:
            return self._add(name, cost, now, until)

    def _add(self, name: str, cost: float, now: float, until: float) -> float:
        """Take from a bucket that is not full."""
        values = {"cost": cost, "now": now, "room": until - cost}
        return self._update(
            name, "full_at = full_at + :cost", values, "full_at > :now AND full_at <= :room", now
        )

    def _begin(self, name: str, cost: float, now: float, until: float) -> float:
        """Take from a bucket that is full, or absent."""
        if now + cost > until:
            raise Full(now)
        values = {"then": now + cost, "now": now}
        condition = "attribute_not_exists(full_at) OR full_at <= :now"
        return self._update(name, "full_at = :then", values, condition, now)

    def _update(
        self, name: str, how: str, numbers: dict[str, float], condition: str, now: float
    ) -> float:
        values = {key: {"N": f"{number:.3f}"} for key, number in numbers.items()}
        values["expires"] = expiry(int(now) + DAY_MS)
        how = f"SET {how}, expires = :expires"
        try:
            return _full_at(self._table.update(f"pace#{name}", "bucket", how, values, condition))
        except ConditionFailed as failed:
            raise Full(_full_at(failed.items[0] or {})) from None


def _full_at(item: Item) -> float:
    return float(item["full_at"]["N"]) if "full_at" in item else 0.0
