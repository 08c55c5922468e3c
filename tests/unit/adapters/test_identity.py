"""Who the ledger is: in the ledger, so that a restore changes nothing of it."""

import itertools
from typing import Any

from aep_intake.adapters.dynamodb.identity import DynamoIdentity
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.model.orders import LedgerIdentity

from tests.items import Items

NOW = 1_790_000_000_000


class Counting(Items):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__([])
        self.reads = itertools.count()

    def get_item(self, **asked: Any) -> dict[str, Any]:
        next(self.reads)
        return super().get_item(**asked)


def of(client: Any, name: str, at: list[int]) -> DynamoIdentity:
    return DynamoIdentity(Table(client, name), name, lambda: at[-1])


def test_the_id_of_a_ledger_is_the_name_of_its_first_table_for_good() -> None:
    items, at = Counting(), [NOW]
    assert of(items, "first", at).ledger_id() == "first"
    # Restored, it has the same items under another name.
    assert of(items, "first-restored", at).ledger_id() == "first"
    assert of(items, "first-restored", at).get() == LedgerIdentity("first", made_at=NOW)


def test_looking_writes_nothing() -> None:
    """A worker of deliveries may not: its role writes these alone."""
    items = Counting()
    assert of(items, "first", [NOW]).get() == LedgerIdentity("first")
    assert list(items) == []


def test_a_worker_reads_it_once_a_minute_and_its_id_once() -> None:
    items, at = Counting(), [NOW]
    ours = of(items, "first", at)
    for _ in range(100):
        ours.ledger_id()
        ours.get()
    assert next(items.reads) == 2
    of(items, "first", at).write(LedgerIdentity("first", restored_at=NOW, look_first_until=NOW + 9))
    assert ours.get().restored_at == 0
    at.append(NOW + 60_000)
    assert (ours.get().restored_at, ours.get().look_first_until) == (NOW, NOW + 9)
    assert ours.ledger_id() == "first"
    assert next(items.reads) == 4


def test_what_the_next_release_wrote_of_it_is_kept() -> None:
    items = Counting()
    ours = of(items, "first", [NOW])
    ours.write(LedgerIdentity("first", unknown={"later": 1}))
    found = ours.read()
    assert found is not None
    assert found.unknown == {"later": 1}
