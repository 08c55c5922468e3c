"""The buckets of the pace in DynamoDB are those that its tests and the schedules use."""

import random
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from aep_intake.adapters.dynamodb.buckets import DynamoBuckets
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.create.pace import Full

from local.stack import LocalStack
from tests.memory_ledger import MemoryBuckets

# Ahead of every real clock: what expires by it must not be gone while a test runs.
NOW = 4_090_000_000_000


@pytest.fixture
def table(stack: LocalStack) -> Table:
    return Table(stack.aws.dynamodb, stack.outputs["LedgerTable"])


def test_both_say_the_same_of_what_is_taken(table: Table) -> None:
    """Whatever a worker thinks of a bucket: full, or filling."""
    rng, name, now = random.Random(7), uuid.uuid4().hex, float(NOW)
    dynamo, memory = DynamoBuckets(table), MemoryBuckets()

    def taken(buckets: DynamoBuckets | MemoryBuckets, cost: float, filling: bool) -> float:
        try:
            return buckets.take(name, cost, now, now + 100, filling=filling)
        except Full as full:
            return -max(full.full_at, now)

    results = []
    for _ in range(150):
        cost, filling = rng.choice([7.222, 10, 72.5, 101]), rng.random() < 0.5
        results.append(taken(dynamo, cost, filling))
        assert results[-1] == pytest.approx(taken(memory, cost, filling), abs=0.01)
        now += rng.choice([0, 0, 3, 20, 200])
    assert {result > 0 for result in results} == {True, False}


def test_however_many_take_at_once_no_more_is_taken_than_there_is(table: Table) -> None:
    name, buckets = uuid.uuid4().hex, DynamoBuckets(table)

    def take(n: int) -> bool:
        try:
            buckets.take(name, 10, NOW, NOW + 500, filling=bool(n % 2))
        except Full:
            return False
        return True

    with ThreadPoolExecutor(20) as workers:
        assert sum(workers.map(take, range(100))) == 50
    item = table.get(f"pace#{name}", "bucket")
    assert item is not None
    assert float(item["full_at"]["N"]) == NOW + 500
    assert int(item["expires"]["N"]) > NOW / 1000
