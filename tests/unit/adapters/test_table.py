"""What DynamoDB answers beside success: a failed condition says what is there, all else nothing."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from aep_intake.adapters.dynamodb.table import (
    ABSENT,
    TRIES_MAX,
    ConditionFailed,
    Item,
    Table,
    putting,
)
from aep_intake.model.errors import LedgerUnavailable
from botocore.exceptions import ClientError

ITEM: Item = {"pk": {"S": "a"}, "sk": {"S": "b"}}
FAILED = {"Code": "ConditionalCheckFailed", "Item": ITEM}
NONE = {"Code": "None"}


class Dynamo:
    """Answers calls one after the other; an error is raised. `asked`: what they said."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**asked: Any) -> Any:
            self.asked.append(asked)
            answer = self._answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def error(code: str, **more: Any) -> ClientError:
    about: Any = {"Error": {"Code": code, "Message": ""}, **more}
    return ClientError(about, "AnyOperation")


def cancelled(*reasons: dict[str, Any]) -> ClientError:
    return error("TransactionCanceledException", CancellationReasons=list(reasons))


def of(dynamo: Dynamo) -> Table:
    return Table(cast("Any", dynamo), "ledger")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.mark.parametrize(
    "code",
    [
        "AccessDeniedException",
        "InternalServerError",
        "ItemCollectionSizeLimitExceededException",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "ResourceNotFoundException",
        "ThrottlingException",
        "TransactionInProgressException",
    ],
)
def test_what_says_nothing_of_an_item_is_tried_again_later(code: str) -> None:
    calls: list[Callable[[Table], Any]] = [
        lambda it: it.get("a", "b"),
        lambda it: list(it.query("pk = :pk", {"pk": {"S": "a"}})),
        lambda it: it.get_many([("a", "b")]),
        lambda it: it.put(ITEM, ABSENT),
        lambda it: it.update("a", "b", "SET x = :x", {"x": {"S": "y"}}, "attribute_exists(pk)"),
        lambda it: it.add("a", "b", 1, {"N": "1"}, sum_max=3),
        lambda it: it.transact(putting(ITEM, ABSENT)),
    ]
    for call in calls:
        with pytest.raises(LedgerUnavailable, match=code):
            call(of(Dynamo(error(code))))


def test_a_failed_condition_says_what_is_there() -> None:
    single = error("ConditionalCheckFailedException", Item=ITEM)
    with pytest.raises(ConditionFailed) as raised:
        of(Dynamo(single)).put(ITEM, ABSENT)
    assert raised.value.items == [ITEM]
    with pytest.raises(ConditionFailed) as raised:
        of(Dynamo(cancelled(NONE, FAILED))).transact(putting(ITEM, ABSENT))
    assert raised.value.items == [None, ITEM]


@pytest.mark.parametrize(
    "other",
    [
        "DuplicateItem",
        "ItemCollectionSizeLimitExceeded",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "ValidationError",
    ],
)
def test_beside_another_reason_a_failed_condition_says_nothing(other: str) -> None:
    """DynamoDB then gives no item for a step that it did not come to: it is not absent."""
    for reasons in ([FAILED, {"Code": other}], [{"Code": other}, NONE]):
        with pytest.raises(LedgerUnavailable, match=other):
            of(Dynamo(cancelled(*reasons))).transact(putting(ITEM, ABSENT))
    with pytest.raises(LedgerUnavailable, match="TransactionCanceledException"):
        of(Dynamo(error("TransactionCanceledException"))).transact(putting(ITEM, ABSENT))


@pytest.mark.parametrize("beside", [NONE, FAILED])
def test_a_conflict_is_tried_again_and_after_some_times_later(beside: dict[str, Any]) -> None:
    conflict = cancelled(beside, {"Code": "TransactionConflict"})
    dynamo = Dynamo(conflict, conflict, {})
    of(dynamo).transact(putting(ITEM, ABSENT))
    assert len(dynamo.asked) == 3
    dynamo = Dynamo(*[error("TransactionConflictException")] * TRIES_MAX)
    with pytest.raises(LedgerUnavailable, match="TransactionConflict"):
        of(dynamo).put(ITEM, ABSENT)


def _key(name: str) -> Item:
    return {"pk": {"S": name}, "sk": {"S": "s"}}


def _some(*names: str, held_back: tuple[str, ...] = ()) -> dict[str, Any]:
    held = {"ledger": {"Keys": [_key(name) for name in held_back]}} if held_back else {}
    return {"Responses": {"ledger": [_key(name) for name in names]}, "UnprocessedKeys": held}


def test_what_dynamodb_holds_back_is_asked_for_until_it_comes() -> None:
    """It does so where a table is throttled, or with 16 MB: that is not as if it were not there."""
    dynamo = Dynamo(_some("a", held_back=("b", "c")), _some(held_back=("b", "c")), _some("c"))
    found = of(dynamo).get_many([("a", "s"), ("b", "s"), ("c", "s")])
    assert found == [_key("a"), _key("c")]
    keys = [
        [each["pk"]["S"] for each in asked["RequestItems"]["ledger"]["Keys"]]
        for asked in dynamo.asked
    ]
    assert keys == [["a", "b", "c"], ["b", "c"], ["b", "c"]]
    with pytest.raises(LedgerUnavailable, match="holds items back"):
        of(Dynamo(*[_some(held_back=("a",))] * TRIES_MAX)).get_many([("a", "s")])


def test_an_empty_page_is_not_the_last() -> None:
    pages = {"Items": [], "LastEvaluatedKey": ITEM}, {"Items": [ITEM]}
    dynamo = Dynamo(*pages)
    assert list(of(dynamo).query("pk = :pk", {"pk": {"S": "a"}})) == [ITEM]
    assert dynamo.asked[1]["ExclusiveStartKey"] == ITEM
