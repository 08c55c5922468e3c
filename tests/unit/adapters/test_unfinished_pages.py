"""Unfinished work page by page, while a pause ends between two pages."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from aep_intake.adapters.dynamodb import pauses
from aep_intake.adapters.dynamodb.listing import DynamoListed
from aep_intake.clock.due import DueKind


class Index:
    """The index `due`, as a table that is queried: ids of orders by shard."""

    def __init__(self, ids: dict[str, list[str]]) -> None:
        self.ids = ids

    def query(self, _: str, values: Any, **options: Any) -> Iterator[dict[str, Any]]:
        shard = values["shard"]["S"]
        start = options.get("ExclusiveStartKey", {"pk": {"S": ""}})["pk"]["S"]
        for name in self.ids.get(shard, ()):
            if f"order#{name}" > start:
                yield {
                    "pk": {"S": f"order#{name}"},
                    "sk": {"S": "order"},
                    "due_shard": {"S": shard},
                    "due": {"N": "1"},
                }


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("ends", ["route#a", "route#b", "route#c"])
def test_a_pause_that_ends_between_two_pages_hides_and_doubles_no_other_order(
    size: int, ends: str
) -> None:
    """Its shards are gone, and where the page ended lies between two others."""
    names = ["route#a", "route#b", "route#c"]
    ids = {shard: [f"{shard}-{n}" for n in range(2)] for p in names for shard in pauses.shards(p)}
    everything = {name for some in ids.values() for name in some}
    index, over = Index({"1": ["due"], **ids}), 1 + len(everything) // size
    for at in range(over):
        paused = list(names)
        listed = DynamoListed(cast("Any", index), paused.copy)
        seen, after = listed.unfinished(DueKind.ORDERS, "", size)
        pages = 1
        while after:
            if pages == at:
                paused.remove(ends)
            more, after = listed.unfinished(DueKind.ORDERS, after, size)
            seen += more
            pages += 1
        of_others = {name for name in everything if not name.startswith(f"paused#{ends}")}
        assert of_others <= set(seen)
        assert len(seen) == len(set(seen))
