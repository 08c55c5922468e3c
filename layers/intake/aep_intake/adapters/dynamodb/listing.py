"""Many orders at a time, and unfinished work page by page; see `ledger` for the keys."""

import json
import re
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched, chain, islice
from typing import Any

from aep_intake.adapters.dynamodb import pauses
from aep_intake.adapters.dynamodb.deliveries import delivery_of
from aep_intake.adapters.dynamodb.due_work import PREFIXES
from aep_intake.adapters.dynamodb.items import asides, file_of, lanes
from aep_intake.adapters.dynamodb.table import KEYS_MAX, Item, Table
from aep_intake.clock.due import DueKind
from aep_intake.delivery.delivery import Delivery
from aep_intake.model import records
from aep_intake.model.files import Arrival
from aep_intake.model.progress import Record

ORDERS_AT_ONCE = KEYS_MAX // 2  # with their deliveries
_NAMES = ("record", "delivery")
# Of a place, that a caller may have changed: DynamoDB refuses other numbers and texts.
_WHEN_AND_ID = re.compile("[0-9]{1,15} [!-~]{1,250}")


class DynamoListed:
    """As `listing.ListedLedger`, in `table`. Every method raises LedgerUnavailable.

    `paused`: the names of pauses, whose orders are in shards of their own.
    """

    def __init__(self, table: Table, paused: Callable[[], Iterable[str]]) -> None:
        self._table = table
        self._paused = paused

    def orders(self, external_ids: Sequence[str]) -> dict[str, tuple[Record, Delivery | None]]:
        """As `listing.ListedLedger`; perhaps a second old."""
        found: dict[str, tuple[Record, Delivery | None]] = {}
        for some in batched(dict.fromkeys(external_ids), ORDERS_AT_ONCE, strict=False):
            keys = [(f"{what}#{name}", what) for name in some for what in ("order", "delivery")]
            items = {item["pk"]["S"]: item for item in self._table.get_many(keys, *_NAMES)}
            for name in some:
                if order := items.get(f"order#{name}"):
                    record = records.read(Record, order["record"]["S"])
                    found[name] = (record, delivery_of(items.get(f"delivery#{name}", {})))
        return found

    def aside(self, where: str) -> Iterator[Arrival]:
        """The versions that were set aside in an hour, or are RETRYING; some a second late."""
        for place in asides(where):
            found = self._table.query("batch_id = :id", {"id": {"S": place}}, IndexName="batch")
            keys = ((item["pk"]["S"], item["sk"]["S"]) for item in found)
            for some in batched(keys, KEYS_MAX, strict=False):
                items = self._table.get_many(some, "uri", "version", "etag", "sequencer", "time")
                yield from map(file_of, items)

    def unfinished(self, kind: DueKind, after: str, limit: int) -> tuple[list[str], str]:
        """As `listing.ListedLedger`, from the index `due`."""
        prefix, shards = PREFIXES[kind], list(chain.from_iterable(lanes(kind)))
        if kind is DueKind.ORDERS:
            shards += chain.from_iterable(map(pauses.shards, self._paused()))
        shards.sort()
        begin, due, name = _place(after)
        found: list[Item] = []
        # That of a pause which ended meanwhile is gone; they are in the same order still.
        following = shards.index(begin) if begin in shards else bisect(shards, begin)
        for shard in shards[following:]:
            options: dict[str, Any] = {"IndexName": "due", "Limit": limit - len(found)}
            if shard == begin:
                options["ExclusiveStartKey"] = {
                    "pk": {"S": f"{prefix}#{name}"},
                    "sk": {"S": prefix},
                    "due_shard": {"S": shard},
                    "due": {"N": due},
                }
            in_shard = self._table.query("due_shard = :shard", {"shard": {"S": shard}}, **options)
            found += islice(in_shard, limit - len(found))
            if len(found) == limit:
                break
        ids = [
            item["pk"]["S"].partition("#")[2]
            for item in found
            if item["sk"]["S"] == prefix  # a release before had all kinds in all shards
        ]
        if len(found) < limit:
            return ids, ""
        last = found[-1]
        name = last["pk"]["S"].partition("#")[2]
        return ids, json.dumps([last["due_shard"]["S"], last["due"]["N"], name])


def _place(text: str) -> tuple[str, str, str]:
    """The shard, due time and id at which a page ended. A caller may have changed it."""
    try:
        match json.loads(text):
            case [str(shard), str(due), str(name)] if _WHEN_AND_ID.fullmatch(f"{due} {name}"):
                return shard, due, name
    except (ValueError, RecursionError):
        pass
    return "", "", ""
