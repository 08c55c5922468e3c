"""A table's items in memory, as far as reading them and writing them again takes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded"

type Item = dict[str, Any]


class Items:
    """A client of DynamoDB that has these items. Conditions are never in the way."""

    def __init__(self, items: list[Item]) -> None:
        self._items = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}

    @classmethod
    def recorded(cls, release: str) -> "Items":
        """What a release wrote."""
        lines = (RECORDED / release / "items.jsonl").read_text().splitlines()
        return cls([json.loads(line) for line in lines])

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def get_item(self, *, Key: Item, **_: Any) -> dict[str, Any]:
        item = self._items.get((Key["pk"]["S"], Key["sk"]["S"]))
        return {} if item is None else {"Item": item}

    def put_item(self, *, Item: Item, **_: Any) -> None:
        self._items[Item["pk"]["S"], Item["sk"]["S"]] = Item

    def query(
        self,
        *,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Item,
        **_: Any,
    ) -> dict[str, Any]:
        """By `pk`, and by how `sk` begins, or between what it is."""
        pk, *places = [value["S"] for value in ExpressionAttributeValues.values()]
        found = [item for key, item in sorted(self._items.items()) if key[0] == pk]
        if "begins_with" in KeyConditionExpression:
            found = [item for item in found if item["sk"]["S"].startswith(places[0])]
        elif "BETWEEN" in KeyConditionExpression:
            found = [item for item in found if places[0] <= item["sk"]["S"] <= places[1]]
        return {"Items": found}


def messages(release: str) -> list[tuple[str, str]]:
    """Queue and body of each message that a release sent."""
    lines = (RECORDED / release / "messages.jsonl").read_text().splitlines()
    return [(line["queue"], line["body"]) for line in map(json.loads, lines)]
