"""Since when each bucket is connected; see `ledger` for the keys. These items never expire."""

from contextlib import suppress

from aep_intake.adapters.dynamodb.table import ABSENT, ConditionFailed, Item, Table

PK = "connected"


class DynamoConnections:
    """The connections of buckets. Every method raises LedgerUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def all(self) -> dict[str, int]:
        """Since when (epoch ms) each bucket is connected, by its name (a consistent read)."""
        found = self._table.query("pk = :pk", {"pk": {"S": PK}}, ConsistentRead=True)
        return {item["sk"]["S"]: int(item["since"]["N"]) for item in found}

    def begin(self, bucket: str, since: int) -> None:
        """Record that a bucket is connected since then, unless it is known since when."""
        with suppress(ConditionFailed):
            self._table.put(_item(bucket, since), ABSENT)

    def tell(self, bucket: str, since: int) -> None:
        """Record it, whatever was known before: a person says so."""
        self._table.put(_item(bucket, since))


def _item(bucket: str, since: int) -> Item:
    return {"pk": {"S": PK}, "sk": {"S": bucket}, "since": {"N": str(since)}}
