"""When files of a route came last: written once in a minute of their own time, never back."""

from dataclasses import dataclass, field
from typing import Any

from aep_intake.adapters.dynamodb.routes import DynamoRoutes
from aep_intake.adapters.dynamodb.table import ConditionFailed
from aep_intake.model.expectations import Came, Counts

MINUTE = 60_000


@dataclass
class Items:
    """A table that knows what DynamoRoutes writes."""

    writes: list[str] = field(default_factory=list)
    last: int = 0

    def update(
        self, pk: str, sk: str, changes: str, values: dict[str, Any], condition: str | None = None
    ) -> None:
        assert (pk, sk) == ("routes", "crm")
        if condition is not None:
            self.writes.append("last")
            if int(values["last"]["N"]) <= self.last:
                raise ConditionFailed([None])
            self.last = int(values["last"]["N"])
        else:
            self.writes.append(f"{values['files']['N']} files")


def test_a_worker_writes_once_a_minute_and_nothing_that_is_older() -> None:
    table: Any = Items(last=5 * MINUTE)
    routes = DynamoRoutes(table, lambda: 0, retention_ms=1)
    for last in (4 * MINUTE, 4 * MINUTE + 1, 6 * MINUTE, 6 * MINUTE + 9, 5 * MINUTE, 7 * MINUTE):
        routes.came({"crm": Came(last, Counts(1), counted=False)})
    assert table.writes == ["last"] * 3
    assert table.last == 7 * MINUTE


def test_what_is_counted_is_written_each_time() -> None:
    table: Any = Items()
    routes = DynamoRoutes(table, lambda: 0, retention_ms=1)
    for files in (1, 2, 0):  # none where all came before
        routes.came({"crm": Came(MINUTE, Counts(files), counted=True)})
    assert table.writes == ["1 files", "last", "2 files"]
