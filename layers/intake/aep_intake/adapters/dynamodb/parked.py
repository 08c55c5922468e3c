"""The items of parked messages.

They are spread over a few partitions, and are few unless much goes wrong; so whoever lists them
reads them all.
"""

import uuid
from collections import Counter
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from aep_intake.adapters.dynamodb.table import (
    ConditionFailed,
    Item,
    Table,
    deleting,
    expiry,
    putting,
)
from aep_intake.clock.parking import Parked
from aep_intake.model import records
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.values import dataclass

PARKED, DISCARDED = "parked", "discarded"
SHARDS = 8
# An item holds 400 KB, with its keys. SQS takes messages of a megabyte, which are nobody's events.
RECORD_BYTES_MAX = 390_000
# How many items of a shard are counted: they are read whole, and together take a second.
COUNTED_PER_SHARD = 500


@dataclass(frozen=True, slots=True)
class ParkedCounts:
    """How many messages are parked, by route; None: of no known route. `more`: at least so many."""

    by_route: dict[str | None, int]
    more: bool


class DynamoParked:
    """As `clock.parking.ParkedItems`; and lists, for people.

    Every method raises LedgerUnavailable. An item has no expiry: what is unfinished stays.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, parked: Parked) -> bool:
        """Write an item with a new token; False, and nothing is done, if it is too large."""
        item = _item(_place(parked.id), parked)
        if len(item["record"]["S"].encode()) > RECORD_BYTES_MAX:  # in JSON, `"` has two bytes
            return False
        self._table.put(item)
        return True

    def token(self, parked_id: str) -> str | None:
        """The token of an item; None if there is none (a consistent read)."""
        item = self._table.get(*_place(parked_id))
        return None if item is None else item["token"]["S"]

    def end(self, parked_id: str, token: str) -> None:
        """Delete an item, unless it was parked again since it had this token."""
        with suppress(ConditionFailed):
            self._table.transact(deleting(*_place(parked_id), _unchanged(token)))

    def discard(self, parked: Parked, token: str, expires: int) -> None:
        """Move an item to what is discarded, until then (epoch ms); as `end` if it has changed."""
        kept = _item(_place(parked.id, DISCARDED), parked) | {"expires": expiry(expires)}
        with suppress(ConditionFailed):
            ended = deleting(*_place(parked.id), _unchanged(token))
            self._table.transact(putting(kept, {}), ended)

    def undo_discard(self, parked: Parked) -> None:
        """Move it back, unless somebody else has done it meanwhile."""
        there = {"ConditionExpression": "attribute_exists(pk)"}
        gone = deleting(*_place(parked.id, DISCARDED), there)
        with suppress(ConditionFailed):
            self._table.transact(putting(_item(_place(parked.id), parked), {}), gone)

    def listed(self, side_by_side: SideBySide, kind: str = PARKED) -> list[tuple[Parked, str]]:
        """All that is parked, or discarded, the oldest first, each with its token."""
        shards = side_by_side(lambda shard: self._all(f"{kind}#{shard}"), range(SHARDS))
        items = chain.from_iterable(shards)
        found = [(records.read(Parked, i["record"]["S"]), i["token"]["S"]) for i in items]
        return sorted(found, key=lambda one: (one[0].why.at, one[0].id))

    def some(self, side_by_side: SideBySide) -> tuple[list[Parked], bool]:
        """What is parked, up to COUNTED_PER_SHARD of each shard; and whether there is more."""
        shards = list(side_by_side(self._some, range(SHARDS)))
        found = [records.read(Parked, item["record"]["S"]) for shard in shards for item in shard]
        return found, any(len(shard) == COUNTED_PER_SHARD for shard in shards)

    def counts(self, side_by_side: SideBySide) -> ParkedCounts:
        """How many are parked by route, up to COUNTED_PER_SHARD of each shard."""
        shards = list(side_by_side(self._routes, range(SHARDS)))
        counted = Counter(route for shard in shards for route in shard)
        return ParkedCounts(dict(counted), any(len(s) == COUNTED_PER_SHARD for s in shards))

    def _all(self, pk: str) -> list[Item]:
        return list(self._table.query("pk = :pk", {"pk": {"S": pk}}, ConsistentRead=True))

    def _some(self, shard: int) -> list[Item]:
        key, most = {"pk": {"S": f"parked#{shard}"}}, COUNTED_PER_SHARD
        return list(islice(self._table.query("pk = :pk", key, Limit=most), most))

    def _routes(self, shard: int) -> list[str | None]:
        found = self._table.query(
            "pk = :pk",
            {"pk": {"S": f"parked#{shard}"}},
            Limit=COUNTED_PER_SHARD,
            ProjectionExpression="#route",
            ExpressionAttributeNames={"#route": "route"},
        )
        items = islice(found, COUNTED_PER_SHARD)
        return [item["route"]["S"] if "route" in item else None for item in items]


def _place(parked_id: str, kind: str = PARKED) -> tuple[str, str]:
    return f"{kind}#{int(parked_id, 16) % SHARDS}", parked_id


def _item(place: tuple[str, str], parked: Parked) -> Item:
    pk, sk = place
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "token": {"S": uuid.uuid4().hex},
        "record": {"S": records.text(parked)},
    }
    return item | ({"route": {"S": parked.route}} if parked.route else {})


def _unchanged(token: str) -> dict[str, Any]:
    return {
        "ConditionExpression": "#token = :token",
        "ExpressionAttributeNames": {"#token": "token"},
        "ExpressionAttributeValues": {":token": {"S": token}},
    }
