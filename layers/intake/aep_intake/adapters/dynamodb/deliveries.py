"""Deliveries in the ledger's table; see `ledger` for the keys."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aep_intake.adapters.dynamodb.items import ANNOUNCED, due_at
from aep_intake.adapters.dynamodb.table import (
    ABSENT,
    ConditionFailed,
    Item,
    Table,
    expiry,
    revision,
)
from aep_intake.clock.due import Due, DueKind
from aep_intake.delivery.delivery import Delivery, Mark, Progress
from aep_intake.model import records
from aep_intake.model.errors import LeaseLost

IS_ANNOUNCED = {
    "ConditionExpression": "stage = :announced",
    "ExpressionAttributeValues": {":announced": {"S": ANNOUNCED}},
}


class DynamoDeliveries:
    """Deliveries in `table`. `retention_ms`: how long ended ones are stored.

    Every method raises LedgerUnavailable if a request to DynamoDB failed, or may have failed.
    """

    def __init__(self, table: Table, now: Callable[[], int], *, retention_ms: int) -> None:
        self._table = table
        self._now = now
        self._retention_ms = retention_ms

    def start(self, delivery: Delivery, *, recorded: bool) -> bool:
        """Put `delivery`, in place of the one `recorded` with its order, if there is one.

        False if another worker did.
        """
        try:
            self._table.put(self._item(delivery), IS_ANNOUNCED if recorded else ABSENT)
        except ConditionFailed as failed:
            [current] = failed.items
            # As in `DynamoLedger.replace`.
            return current is not None and delivery_of(current) == delivery
        return True

    def get(self, external_id: str) -> Delivery | None:
        """The current delivery (a consistent read); None before its start."""
        item = self._table.get(f"delivery#{external_id}", "delivery")
        return None if item is None else delivery_of(item)

    def replace(self, old: Delivery, new: Delivery) -> Delivery:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        try:
            self._table.put(self._item(new), revision(old.revision))
        except ConditionFailed as failed:
            [current] = failed.items
            if current is None or delivery_of(current) != new:  # as in `DynamoLedger.replace`
                raise LeaseLost("another worker took over", external_id=old.external_id) from None
        return new

    def mark(self, external_id: str, piece: int, mark: Mark) -> int:
        """Mark a piece, unless it is marked; about how many pieces are marked now.

        But a mark of an upload replaces one of a loss.
        """
        pk, expires = f"delivery#{external_id}", expiry(self._now() + 2 * self._retention_ms)
        item: Item = {
            "pk": {"S": pk},
            "sk": {"S": f"piece#{piece:06}"},
            "mark": {"S": records.text(mark)},
            "expires": expires,
        }
        if mark.lost is not None:
            item["lost"] = {"BOOL": True}
        try:
            self._table.put(item, ABSENT)
        except ConditionFailed:
            if mark.lost is None:
                with suppress(ConditionFailed):
                    self._table.put(item, {"ConditionExpression": "attribute_exists(lost)"})
            return self._table.add(pk, "count", 0, expires)
        return self._table.add(pk, "count", 1, expires)

    def marked(self, external_id: str, piece: int) -> Mark | None:
        """The mark of a piece, if it has one (a consistent read)."""
        item = self._table.get(f"delivery#{external_id}", f"piece#{piece:06}")
        return None if item is None else _mark(item)

    def marks(self, external_id: str) -> dict[int, Mark]:
        """The marks of all marked pieces, by number (a consistent read)."""
        items = self._table.query(
            "pk = :pk AND begins_with(sk, :piece)",
            {"pk": {"S": f"delivery#{external_id}"}, "piece": {"S": "piece#"}},
            ConsistentRead=True,
        )
        return {int(item["sk"]["S"][6:]): _mark(item) for item in items}

    def progress(self, external_id: str, piece: int) -> Progress | None:
        """The progress of a file that is sent in parts."""
        item = self._table.get(f"delivery#{external_id}", f"progress#{piece:06}")
        return None if item is None else records.read(Progress, item["progress"]["S"])

    def keep(self, external_id: str, piece: int, progress: Progress) -> None:
        """Store the progress of a file that is sent in parts."""
        item: Item = {
            "pk": {"S": f"delivery#{external_id}"},
            "sk": {"S": f"progress#{piece:06}"},
            "progress": {"S": records.text(progress)},
            "expires": expiry(self._now() + 2 * self._retention_ms),
        }
        self._table.put(item)

    def _item(self, delivery: Delivery) -> Item:
        item: Item = {
            "pk": {"S": f"delivery#{delivery.external_id}"},
            "sk": {"S": "delivery"},
            "revision": {"N": str(delivery.revision)},
            "stage": {"S": delivery.stage},
            "delivery": {"S": records.text(delivery)},
        }
        if delivery.due is None:
            return item | {"expires": expiry(self._now() + self._retention_ms)}
        return item | due_at(Due(DueKind.DELIVERIES, delivery.external_id, delivery.due))


def delivery_of(item: Mapping[str, Any]) -> Delivery | None:
    """The delivery in an item; None while it is only recorded with its order."""
    return records.read(Delivery, item["delivery"]["S"]) if "delivery" in item else None


def _mark(item: Mapping[str, Any]) -> Mark:
    return records.read(Mark, item["mark"]["S"])
