"""The ledger: one DynamoDB table that remembers claims and orders.

| what                      | pk                    | sk                           |
|---------------------------|-----------------------|------------------------------|
| order (one attempt)       | `order#<external id>` | `order`                      |
| claim of a version        | `object#<object id>`  | `claim#<hash of version>`    |
| trace of a content        | `object#<object id>`  | `content#<hash of etag>`     |
| rejection before an order | `object#<object id>`  | `rejected#<hash of version>` |

One query by `pk` tells all about an object.
Index `due`: `due_shard`, `due` (epoch ms): only what is unfinished; spread over SHARDS partitions,
since a partition of an index takes 1,000 writes a second and a full one throttles the table.
Index `batch`: `batch_id`, every attempt that got one. Time to live: `expires` (epoch seconds), set
only on what is finished. A record is one JSON string: AEP's answers hold floats, empty strings and
whatever comes next, which DynamoDB's own types do not keep as they are.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.arrivals import Arrival, digest
from aep_intake.errors import AlreadyClaimed, LeaseLost, LedgerUnavailable
from aep_intake.orders import Claim, Order, Record, Rejection, State, Target, claims

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARDS = 8
ABSENT = "attribute_not_exists(pk)"

type Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger knows of one version of an object: its order, or why it has none."""

    version: str
    external_id: str | None
    rejection: Rejection | None


class DynamoLedger:
    """The ledger in `table`. `retention` in milliseconds: how long finished things are kept.

    Every method raises LedgerUnavailable where DynamoDB does not answer, throttles or reports a
    conflict of transactions; whether a write then happened is not known.
    """

    def __init__(
        self, client: "DynamoDBClient", table: str, now: Callable[[], int], retention: int
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._retention = retention

    def open(self, record: Record) -> Record:
        """Put `record` and its claims, all or nothing; or the record that order has already.

        Raises AlreadyClaimed if the order is new and other orders hold some of its files.
        """
        wanted = record.order.claims
        items: Any = [self._put(self._order_item(record), ABSENT)]
        items += [self._put_claim(claim, record) for claim in wanted]
        try:
            self._client.transact_write_items(TransactItems=items)
        except ClientError as error:
            order, *owners = _standing_items(error)
            if order is not None:
                return _record(order)
            claimed = {
                claim.file.uri: owner["external_id"]["S"]
                for claim, owner in zip(wanted, owners, strict=True)
                if owner is not None
            }
            raise AlreadyClaimed(
                "other orders hold "
                + ", ".join(f"{uri} ({owner})" for uri, owner in list(claimed.items())[:10]),
                claimed=claimed,
                external_id=record.order.external_id,
            ) from None
        except BotoCoreError as error:
            raise LedgerUnavailable(f"the ledger did not answer: {error}") from error
        return record

    def get(self, external_id: str) -> Record | None:
        """The record as it is now (a consistent read)."""
        answer = self._call(
            self._client.get_item,
            Key={"pk": {"S": f"order#{external_id}"}, "sk": {"S": "order"}},
            ConsistentRead=True,
        )
        return _record(answer["Item"]) if "Item" in answer else None

    def replace(self, old: Record, new: Record) -> Record:
        """`new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item=self._order_item(new),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_unchanged(old),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise _unavailable(error) from error
            # boto3 repeats a request whose answer was lost, and then fails on its own first try.
            standing: Any = error.response.get("Item")
            if standing is None or _record(standing) != new:
                raise _lost(old) from None
        except BotoCoreError as error:
            raise LedgerUnavailable(f"the ledger did not answer: {error}") from error
        return new

    def supersede(self, ended: Record, following: Record) -> Record:
        """Both at once: the attempt that ended and the one that follows. Raises LeaseLost."""
        old = {**self._put(self._order_item(ended), ABSENT)["Put"], **_unchanged(ended, before=1)}
        items: Any = [{"Put": old}, self._put(self._order_item(following), ABSENT)]
        try:
            self._client.transact_write_items(TransactItems=items)
        except ClientError as error:
            _standing_items(error)
            raise _lost(ended) from None
        except BotoCoreError as error:
            raise LedgerUnavailable(f"the ledger did not answer: {error}") from error
        return following

    def reject(self, arrival: Arrival, rejection: Rejection) -> None:
        """Remember that an arrival was rejected before it had an order. Claims nothing."""
        slot = f"rejected#{digest(arrival.version)}"
        item = self._object_item(arrival, slot) | {
            "record": {"S": json.dumps(asdict(rejection))},
            "expires": self._expires(self._retention),
        }
        self._call(self._client.put_item, Item=item)

    def claimant(self, arrival: Arrival) -> str | None:
        """External id of the order that holds this arrival."""
        items = self._of_object(arrival.object_id)
        slots = {item["sk"]["S"]: item for item in items}
        for claim in claims(arrival):
            item = slots.get(claim.slot)
            if item is not None and (claim.exclusive or "requested" in item):
                return str(item["external_id"]["S"])
        return None

    def seen(self, object_id: str) -> list[Seen]:
        """Every version of an object that the ledger knows."""
        return [
            Seen(
                item["version"]["S"],
                item["external_id"]["S"] if "external_id" in item else None,
                Rejection(**json.loads(item["record"]["S"])) if "record" in item else None,
            )
            for item in self._of_object(object_id)
            if "requested" in item or not item["sk"]["S"].startswith("content#")
        ]

    def of_batch(self, batch_id: str) -> Record | None:
        """The record whose batch this is. The index follows the table within a second or so."""
        answer = self._call(
            self._client.query,
            IndexName="batch",
            KeyConditionExpression="batch_id = :batch",
            ExpressionAttributeValues={":batch": {"S": batch_id}},
            Limit=1,
        )
        for item in answer["Items"]:
            return self.get(item["pk"]["S"].removeprefix("order#"))
        return None

    def due(self, now: int) -> Iterator[tuple[str, int]]:
        """External id and due time of all that someone must look at again, shard by shard."""
        for shard in range(SHARDS):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName="due",
                KeyConditionExpression="due_shard = :shard AND due <= :now",
                ExpressionAttributeValues={":shard": {"S": str(shard)}, ":now": {"N": str(now)}},
            )
            try:
                for page in pages:
                    for item in page["Items"]:
                        yield item["pk"]["S"].removeprefix("order#"), int(item["due"]["N"])
            except ClientError as error:
                raise _unavailable(error) from error
            except BotoCoreError as error:
                raise LedgerUnavailable(f"the ledger did not answer: {error}") from error

    def _of_object(self, object_id: str) -> list[Item]:
        items: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            answer = self._call(
                self._client.query,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": f"object#{object_id}"}},
                ConsistentRead=True,
                **start,
            )
            items += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return items
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return operation(TableName=self._table, **arguments)
        except ClientError as error:
            raise _unavailable(error) from error
        except BotoCoreError as error:
            raise LedgerUnavailable(f"the ledger did not answer: {error}") from error

    def _put(self, item: Item, condition: str) -> dict[str, Item]:
        return {
            "Put": {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": condition,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _put_claim(self, claim: Claim, record: Record) -> dict[str, Item]:
        item = self._object_item(claim.file, claim.slot) | {
            "external_id": {"S": record.order.external_id},
            # Outlives the order's own time, which only starts when the order is finished.
            "expires": self._expires(2 * self._retention),
        }
        if claim.file.sequencer is None:
            item["requested"] = {"BOOL": True}
        return self._put(
            item, ABSENT if claim.exclusive else f"{ABSENT} OR attribute_not_exists(requested)"
        )

    def _object_item(self, file: Arrival, slot: str) -> Item:
        return {
            "pk": {"S": f"object#{file.object_id}"},
            "sk": {"S": slot},
            "uri": {"S": file.uri},
            "version": {"S": file.version},
        }

    def _order_item(self, record: Record) -> Item:
        external_id = record.order.external_id
        item: Item = {
            "pk": {"S": f"order#{external_id}"},
            "sk": {"S": "order"},
            "revision": {"N": str(record.revision)},
            "state": {"S": record.state},
            "record": {"S": _text(record)},
        }
        if record.batch_id is not None:
            item["batch_id"] = {"S": record.batch_id}
        if record.due is None:
            item["expires"] = self._expires(self._retention)
        else:
            item["due"] = {"N": str(record.due)}
            item["due_shard"] = {"S": str(int(digest(external_id), 16) % SHARDS)}
        return item

    def _expires(self, milliseconds: int) -> dict[str, str]:
        return {"N": str((self._now() + milliseconds) // 1000)}


def _text(record: Record) -> str:
    """Compact: a record of up to one kilobyte costs half of a larger one."""
    members = {name: value for name, value in asdict(record).items() if value is not None}
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def _record(item: Mapping[str, Any]) -> Record:
    data = json.loads(item["record"]["S"])
    order, rejection = data.pop("order"), data.pop("rejection", None)
    target, files = Target(**order.pop("target")), order.pop("files")
    return Record(
        order=Order(target=target, files=tuple(Arrival(**file) for file in files), **order),
        state=State(data.pop("state")),
        rejection=None if rejection is None else Rejection(**rejection),
        **data,
    )


def _unchanged(record: Record, before: int = 0) -> dict[str, Any]:
    return {
        "ConditionExpression": "revision = :revision",
        "ExpressionAttributeValues": {":revision": {"N": str(record.revision - before)}},
    }


def _standing_items(error: ClientError) -> list[Item | None]:
    """What stood in a transaction's way, item by item; raises if that was not the reason.

    A conflict with another transaction cancels ours without saying what the other one wrote.
    """
    reasons: list[Any] = list(error.response.get("CancellationReasons", []))
    codes = {reason.get("Code") for reason in reasons}
    if "ConditionalCheckFailed" not in codes or codes - {"None", "ConditionalCheckFailed"}:
        raise _unavailable(error) from error
    return [
        reason.get("Item") if reason.get("Code") == "ConditionalCheckFailed" else None
        for reason in reasons
    ]


def _unavailable(error: ClientError) -> LedgerUnavailable:
    problem = error.response["Error"]
    codes = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
    return LedgerUnavailable(f"the ledger said {problem['Code']} {codes or ''}".rstrip())


def _lost(record: Record) -> LeaseLost:
    return LeaseLost("another worker went on", external_id=record.order.external_id)
