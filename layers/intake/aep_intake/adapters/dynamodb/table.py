"""One DynamoDB table, as the ledger needs it: a failed condition returns the items that exist.

Every method raises LedgerUnavailable if DynamoDB throttles, reports a conflict of transactions or
does not answer; whether a write then happened is not known.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.model.errors import LedgerUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]

ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}


TRIES_MAX = 6
KEYS_MAX = 100  # of one request for many items
REQUESTS = 8  # side by side


class _Conflict(Exception):
    """Another transaction was writing the same items, and nothing was written."""


class ConditionFailed(Exception):
    """A condition failed. `items`: for each step, the item that failed its condition, or None."""

    def __init__(self, items: Sequence[Item | None]) -> None:
        super().__init__("a condition failed")
        self.items = items


def expiry(time: int) -> dict[str, str]:
    """The attribute of an item's time to live: epoch milliseconds as seconds."""
    return {"N": str(time // 1000)}


def revision(number: int) -> dict[str, Any]:
    """The condition that an item is still of this revision."""
    return {
        "ConditionExpression": "revision = :revision",
        "ExpressionAttributeValues": {":revision": {"N": str(number)}},
    }


class Table:
    """A table with the keys `pk` and `sk`."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def get(self, pk: str, sk: str) -> Item | None:
        """An item as it is now (a consistent read)."""
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        answer: Item = self._call(self._client.get_item, Key=key, ConsistentRead=True)
        return answer.get("Item")

    def query(self, condition: str, values: dict[str, Any], **options: Any) -> Iterator[Item]:
        """All items, page by page. `values` by name, without the colon."""
        asked = {"KeyConditionExpression": condition, **options}
        return self._pages(self._client.query, asked, values)

    def segment(
        self, number: int, segments: int, condition: str, values: dict[str, Any]
    ) -> Iterator[Item]:
        """The items of one of as many parts of the table, if they fulfil a condition.

        As `query`, but DynamoDB reads and bills all of them.
        """
        asked = {"Segment": number, "TotalSegments": segments, "FilterExpression": condition}
        return self._pages(self._client.scan, asked, values)

    def _pages(
        self, operation: Callable[..., Any], asked: dict[str, Any], values: dict[str, Any]
    ) -> Iterator[Item]:
        asked["ExpressionAttributeValues"] = {f":{name}": each for name, each in values.items()}
        while True:
            answer = self._call(operation, **asked)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def get_many(
        self, keys: Sequence[tuple[str, str]], *names: str, consistent: bool = False
    ) -> list[Item]:
        """Those of KEYS_MAX items at most that exist: `pk`, `sk`, these attributes.

        Raises LedgerUnavailable if DynamoDB holds some back again and again, too.
        """
        wanted: Any = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys]
        known_as = {f"#{name}": name for name in ("pk", "sk", *names)}  # some names are reserved
        about: Any = {
            "ConsistentRead": consistent,
            "ProjectionExpression": ", ".join(known_as),
            "ExpressionAttributeNames": known_as,
        }
        found: list[Item] = []
        for tries in range(TRIES_MAX):
            request: Any = {self._name: {"Keys": wanted, **about}}
            answer = self._guarded(partial(self._client.batch_get_item, RequestItems=request))
            found += answer["Responses"].get(self._name, ())
            wanted = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys")
            if not wanted:
                return found
            time.sleep(random.uniform(0, 0.1 * 2**tries))  # noqa: S311
        raise LedgerUnavailable("the ledger holds items back")

    def scan(self, index: str, pages_max: int) -> tuple[list[Item], bool]:
        """The items of an index, a megabyte in each page; and whether these are all."""
        found: list[Item] = []
        start: dict[str, Any] = {}
        for _ in range(pages_max):
            answer = self._call(self._client.scan, IndexName=index, **start)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found, True
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
        return found, False

    def put(self, item: Item, condition: dict[str, Any] | None = None) -> None:
        """Write an item. Raises ConditionFailed."""
        more = condition and {**condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        self._call(self._client.put_item, Item=item, **(more or {}))

    def update(
        self,
        pk: str,
        sk: str,
        expression: str,
        values: dict[str, Any],
        condition: str | None = None,
        *,
        tries: int = TRIES_MAX,
    ) -> Item:
        """Change an item, or make it; its changed attributes.

        `values` by name, without the colon. `tries`: the most, if transactions are in the way.
        Raises ConditionFailed.
        """
        more = {"ConditionExpression": condition} if condition else {}
        if condition:
            more["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        answer = self._call(
            self._client.update_item,
            tries,
            Key={"pk": {"S": pk}, "sk": {"S": sk}},
            UpdateExpression=expression,
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            ReturnValues="UPDATED_NEW",
            **more,
        )
        changed: Item = answer.get("Attributes", {})
        return changed

    def add(
        self, pk: str, sk: str, number: int, expires: dict[str, str], *, sum_max: int | None = None
    ) -> int:
        """Add `number` to a count; the sum. Raises ConditionFailed if it would exceed `sum_max`."""
        condition: dict[str, Any] = {}
        values: dict[str, Any] = {":more": {"N": str(number)}, ":expires": expires}
        if sum_max is not None:
            condition["ConditionExpression"] = "attribute_not_exists(pk) OR counted <= :room"
            values[":room"] = {"N": str(sum_max - number)}
        answer = self._call(
            self._client.update_item,
            Key={"pk": {"S": pk}, "sk": {"S": sk}},
            UpdateExpression="SET expires = :expires ADD counted :more",
            ExpressionAttributeValues=values,
            ReturnValues="UPDATED_NEW",
            **condition,
        )
        return int(answer["Attributes"]["counted"]["N"])

    def transact(self, *steps: dict[str, Any]) -> None:
        """Do all `steps` or none (see `putting`). Raises ConditionFailed."""
        items: Any = [
            {name: {"TableName": self._name, **action} for name, action in step.items()}
            for step in steps
        ]
        self._guarded(lambda: self._client.transact_write_items(TransactItems=items))

    def _call(self, operation: Callable[..., Any], tries: int = TRIES_MAX, **arguments: Any) -> Any:
        return self._guarded(lambda: operation(TableName=self._name, **arguments), tries)

    def _guarded(self, call: Callable[[], Any], tries_max: int = TRIES_MAX) -> Any:
        for tries in range(tries_max):
            try:
                return call()
            except ClientError as error:
                meaning = _meaning(error)
                if not isinstance(meaning, _Conflict):
                    raise meaning from error
            except BotoCoreError as error:
                raise LedgerUnavailable(f"the ledger did not answer: {error}") from error
            # boto3 does not retry these. The other transaction will be over soon.
            time.sleep(random.uniform(0, 0.02 * 2 ** min(tries, TRIES_MAX)))  # noqa: S311
        raise LedgerUnavailable("the ledger said TransactionConflict, again and again")


def putting(item: Item, condition: dict[str, Any]) -> dict[str, Any]:
    """A step of a transaction."""
    return {"Put": {"Item": item, **condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}


def deleting(pk: str, sk: str, condition: dict[str, Any]) -> dict[str, Any]:
    """A step that deletes."""
    return {"Delete": _at(pk, sk, condition)}


def adding(pk: str, sk: str, number: int, expires: dict[str, str], sum_max: int) -> dict[str, Any]:
    """A step that adds `number` to a count, unless its sum would exceed `sum_max`."""
    values = {
        ":more": {"N": str(number)},
        ":room": {"N": str(sum_max - number)},
        ":expires": expires,
    }
    condition = {
        "UpdateExpression": "SET expires = :expires ADD counted :more",
        "ConditionExpression": "attribute_not_exists(counted) OR counted <= :room",
        "ExpressionAttributeValues": values,
    }
    return {"Update": _at(pk, sk, condition)}


def checking(pk: str, sk: str, condition: dict[str, Any]) -> dict[str, Any]:
    """A step that writes nothing."""
    return {"ConditionCheck": _at(pk, sk, condition)}


def _at(pk: str, sk: str, condition: dict[str, Any]) -> dict[str, Any]:
    key = {"pk": {"S": pk}, "sk": {"S": sk}}
    return {"Key": key, **condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def _meaning(error: ClientError) -> Exception:
    response: Any = error.response
    code = response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        return ConditionFailed([response.get("Item")])
    if code == "TransactionConflictException":
        return _Conflict()
    if code == "ValidationException":  # a bug of ours: a retry would fail again
        return error
    reasons = response.get("CancellationReasons", [])
    codes = {reason.get("Code") for reason in reasons} - {"None"}
    # A conflict cancels ours without saying what the other transaction wrote.
    if codes == {"ConditionalCheckFailed"}:
        return ConditionFailed([reason.get("Item") for reason in reasons])
    if codes - {"ConditionalCheckFailed"} == {"TransactionConflict"}:
        return _Conflict()
    return LedgerUnavailable(f"the ledger said {code} {', '.join(sorted(codes))}".rstrip())
