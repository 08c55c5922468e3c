"""What others can make of any size or form never becomes a request that DynamoDB refuses."""

from typing import Any, cast

import pytest
from aep_intake.adapters.dynamodb.listing import DynamoListed
from aep_intake.adapters.dynamodb.parked import DynamoParked
from aep_intake.clock.due import DueKind
from aep_intake.clock.parking import Parked
from aep_intake.model.progress import Rejection

ITEM_BYTES_MAX = (
    400 * 1024
)  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html


class Asked:
    """A table that notes what it is asked."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.queries: list[dict[str, Any]] = []

    def put(self, item: dict[str, Any]) -> None:
        self.items.append(item)

    def query(self, *_: object, **options: Any) -> list[Any]:
        self.queries.append(options)
        return []


@pytest.mark.parametrize("character", ["x", '"', "\\", "\x01", "é"])
@pytest.mark.parametrize("number", [1_000, 60_000, 150_000, 195_000, 250_000, 389_000, 1_000_000])
def test_a_message_is_parked_in_an_item_that_dynamodb_takes(character: str, number: int) -> None:
    table = Asked()
    parked = Parked("0a", "arrivals", "a", character * number, Rejection("no-route", "-", 1))
    written = DynamoParked(cast("Any", table)).put(parked)
    sizes = [len(item["record"]["S"].encode()) + 500 for item in table.items]
    assert len(sizes) == written
    assert max(sizes, default=0) <= ITEM_BYTES_MAX


@pytest.mark.parametrize(
    "after", ["", "[" * 1500, '["o#0","٣","a"]', '["o#0","1","\\ud800"]', '["o#0","","a"]']
)
def test_a_place_that_nobody_gave_is_the_beginning(after: str) -> None:
    table = Asked()
    DynamoListed(cast("Any", table), list).unfinished(DueKind.ORDERS, after, 3)
    assert not [asked for asked in table.queries if "ExclusiveStartKey" in asked]
