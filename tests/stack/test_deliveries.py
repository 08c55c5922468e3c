"""How batches are filled: what the ledger must remember of deliveries, for each that claims it."""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.allowance import HourlyAllowance
from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.clock.due import DueKind
from aep_intake.create.ports import OrderLedger
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Mark, Progress, Verdict
from aep_intake.delivery.pieces import Cut
from aep_intake.delivery.ports import Allowance, DeliveryLedger
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import LeaseLost, NotYet, PlatformUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease, Record, Rejection, State
from aep_intake.model.times import HOUR_MS, iso

from local.stack import LocalStack
from tests.memory_ledger import MemoryAllowance, MemoryDeliveries, MemoryLedger, due_of

# Ahead of every real clock: what expires by it must not be gone while a test runs.
NOW = 4_090_000_000_000
DAY = 86_400_000
HOURLY = 1000
TARGET = Target("arn:aws:secretsmanager:eu-west-1:1:secret:a-AbCdEf", "O@AdobeOrg", "prod", "d")
LOST = Rejection("object-gone", "s3://landing/in/é: gone", NOW, status=404, request_id="r1")


class Hand:
    """A clock of its own hour for each test: the bytes of an hour are the whole stack's."""

    def __init__(self) -> None:
        self.at = NOW - NOW % HOUR_MS + uuid.uuid4().int % 10**6 * HOUR_MS

    def __call__(self) -> int:
        return self.at


@dataclass
class Kept:
    """Deliveries, the ledger that tells which of them are due, and the time by which they go."""

    ledger: OrderLedger
    deliveries: DeliveryLedger
    due: Callable[[int], dict[str, int]]
    clock: Hand


@pytest.fixture(params=["memory", "dynamodb"])
def kept(request: pytest.FixtureRequest) -> Kept:
    clock = Hand()
    if request.param == "memory":
        memory = MemoryLedger()
        remembered = MemoryDeliveries(memory)
        return Kept(memory, remembered, lambda now: due_of(memory, DueKind.DELIVERIES, now), clock)
    stack: LocalStack = request.getfixturevalue("stack")
    dynamodb, name = stack.aws.dynamodb, stack.outputs["LedgerTable"]
    ledger = DynamoLedger(dynamodb, name, clock, 60 * DAY)
    deliveries = DynamoDeliveries(Table(dynamodb, name), clock, retention_ms=60 * DAY)
    return Kept(ledger, deliveries, lambda now: due_of(ledger, DueKind.DELIVERIES, now), clock)


@pytest.fixture
def deliveries(kept: Kept) -> DeliveryLedger:
    return kept.deliveries


def of(clock: Hand, **changes: Any) -> Delivery:
    """A delivery of an order of its own."""
    files = (Arrival("landing", "in/a.csv", "v1", "e", "0061", 300, NOW),)
    options = {"inputFormat": {"format": "csv", "delimiter": "é"}}
    order = Order(f"intake-{uuid.uuid4().hex}", TARGET, options, files, route="r", whole=True)
    record = Record.opened(order, Lease("t", NOW), NOW)
    made = replace(record, batch_id="01EQ", created_at=NOW)
    return replace(Delivery.of(made, files, 100, clock() + 60_000), **changes)


@pytest.fixture
def delivery(kept: Kept) -> Delivery:
    begun = of(kept.clock)
    assert kept.deliveries.start(begun, recorded=False)
    return begun


VERDICT = Verdict(
    End.FAILED,
    "failure",
    "batch 01EQ is failure: é \u2028",
    NOW,
    {"inputRecordCount": 2, "share": 0.5, "more": {"nested": [1, None]}},
    ({"code": "106", "description": "Dataset file is empty.", "rows": []},),
    diagnostics=2,
    lost=(1, 3),
)


def test_a_delivery_is_what_was_put(deliveries: DeliveryLedger, delivery: Delivery) -> None:
    assert deliveries.get(delivery.external_id) == delivery
    assert deliveries.get("intake-none") is None
    assert (delivery.whole, delivery.limit, delivery.stage) == (True, 100, DeliveryStage.PLANNING)


def handed_over(kept: Kept, due: int) -> Delivery:
    """The delivery of an order that is finished; what is recorded of it is due then."""
    begun = of(kept.clock)
    order = Order(begun.external_id, TARGET, {}, trigger="request")
    record = kept.ledger.open(Record.opened(order, Lease("t", NOW), NOW))
    batch = Batch(begun.batch_id, "loading", NOW, None, (), {}, {})
    record = kept.ledger.replace(record, record.created(batch))
    kept.ledger.hand_over(record, record.announced(delivers=True), due)
    return begun


def test_what_is_recorded_with_its_order_is_due_and_has_not_begun(kept: Kept) -> None:
    due = kept.clock() + HOUR_MS
    begun = handed_over(kept, due)
    finished = kept.ledger.get(begun.external_id)
    assert finished is not None
    assert (finished.state, finished.due, finished.delivers) == (State.ANNOUNCED, None, True)
    assert kept.deliveries.get(begun.external_id) is None
    name = begun.external_id
    assert name not in kept.due(due - 1)
    assert kept.due(due)[name] == due
    assert kept.deliveries.start(begun, recorded=True)
    assert kept.deliveries.get(begun.external_id) == begun
    assert kept.due(due)[name] == begun.due


def test_an_order_and_its_delivery_are_recorded_together_or_not_at_all(kept: Kept) -> None:
    order = Order(f"intake-{uuid.uuid4().hex}", TARGET, {}, trigger="request")
    record = kept.ledger.open(Record.opened(order, Lease("t", NOW), NOW))
    made = replace(record, state=State.CREATED, batch_id="01EQ")
    kept.ledger.replace(record, record.given_back(NOW))
    due = kept.clock()
    with pytest.raises(LeaseLost):
        kept.ledger.hand_over(made, made.announced(delivers=True), due)
    assert order.external_id not in kept.due(due)


def test_what_the_release_before_began_at_the_event_alone_goes_on(kept: Kept) -> None:
    """And its order is finished beside it, by whichever release."""
    begun = of(kept.clock)
    assert kept.deliveries.start(begun, recorded=False)
    order = Order(begun.external_id, TARGET, {}, trigger="request")
    record = kept.ledger.open(Record.opened(order, Lease("t", NOW), NOW))
    batch = Batch(begun.batch_id, "loading", NOW, None, (), {}, {})
    record = kept.ledger.replace(record, record.created(batch))
    done = kept.ledger.hand_over(record, record.announced(delivers=True), kept.clock())
    assert kept.ledger.get(order.external_id) == done
    assert kept.deliveries.get(order.external_id) == begun
    assert not kept.deliveries.start(replace(begun, limit=7), recorded=True)


@pytest.mark.parametrize("recorded", [True, False])
def test_it_begins_once(kept: Kept, recorded: bool) -> None:
    """Whoever comes with another time to look again is told that it stands."""
    delivery = handed_over(kept, NOW) if recorded else of(kept.clock)
    assert kept.deliveries.start(delivery, recorded=recorded)
    later = replace(delivery, due=(delivery.due or 0) + 1, limit=7)
    assert not kept.deliveries.start(later, recorded=recorded)
    assert kept.deliveries.get(delivery.external_id) == delivery
    kept.deliveries.replace(delivery, delivery.then(stage=DeliveryStage.UPLOADING, total=1))
    assert not kept.deliveries.start(later, recorded=recorded)


def test_what_should_be_recorded_and_is_not_does_not_begin(kept: Kept) -> None:
    """The ledger has forgotten it, and it has long ended."""
    delivery = of(kept.clock)
    assert not kept.deliveries.start(delivery, recorded=True)
    assert kept.deliveries.get(delivery.external_id) is None


def test_twenty_begin_it_and_one_of_them_has(kept: Kept) -> None:
    fresh = handed_over(kept, NOW)
    wanted = [replace(fresh, due=kept.clock() + n) for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        begun = list(pool.map(lambda one: kept.deliveries.start(one, recorded=True), wanted))
    [first] = [one for one, has in zip(wanted, begun, strict=True) if has]
    assert kept.deliveries.get(fresh.external_id) == first


def test_it_changes_only_as_it_was_read(deliveries: DeliveryLedger, delivery: Delivery) -> None:
    first = deliveries.replace(delivery, delivery.then(stage=DeliveryStage.UPLOADING, total=3))
    assert deliveries.get(delivery.external_id) == first
    assert first.revision == delivery.revision + 1
    with pytest.raises(LeaseLost) as caught:
        deliveries.replace(delivery, delivery.then(stage=DeliveryStage.ABORTING, verdict=VERDICT))
    assert caught.value.external_id == delivery.external_id
    assert deliveries.get(delivery.external_id) == first
    second = deliveries.replace(first, first.then(due=7))
    with pytest.raises(LeaseLost):
        deliveries.replace(first, first.then(due=8))
    assert deliveries.get(delivery.external_id) == second


def test_what_was_written_before_is_written(deliveries: DeliveryLedger, delivery: Delivery) -> None:
    """As when the answer to the first write got lost and boto3 sent it again."""
    changed = delivery.then(stage=DeliveryStage.UPLOADING, total=3)
    deliveries.replace(delivery, changed)
    assert deliveries.replace(delivery, changed) == changed
    assert deliveries.get(delivery.external_id) == changed


def test_all_that_a_delivery_can_hold_is_read_back(
    deliveries: DeliveryLedger, delivery: Delivery
) -> None:
    full = delivery.then(
        stage=DeliveryStage.ENDED,
        cuts={0: Cut((100, 200, 300), 7), 11: Cut((5,))},
        total=4,
        polls=2,
        uploaded_at=NOW + 1,
        verdict=VERDICT,
        due=None,
    )
    deliveries.replace(delivery, full)
    read = deliveries.get(delivery.external_id)
    assert read == full
    assert read is not None
    assert read.verdict is not None
    assert (type(read.stage), type(read.verdict.end)) == (DeliveryStage, End)


def test_marks_are_put_once_and_counted(deliveries: DeliveryLedger, delivery: Delivery) -> None:
    name = delivery.external_id
    assert deliveries.marks(name) == {}
    assert deliveries.marked(name, 0) is None
    assert deliveries.mark(name, 0, Mark(10)) == 1
    assert deliveries.mark(name, 11, Mark(0, LOST)) == 2
    for again in (Mark(10), Mark(0, LOST), Mark(99)):
        assert deliveries.mark(name, 0, again) == 2
    assert deliveries.mark(name, 11, Mark(9, LOST)) == 2
    assert deliveries.marks(name) == {0: Mark(10), 11: Mark(0, LOST)}
    assert [deliveries.marked(name, n) for n in (0, 1, 11)] == [Mark(10), None, Mark(0, LOST)]
    assert deliveries.mark(name, 1_000_000, Mark(1)) == 3
    assert 1_000_000 in deliveries.marks(name)
    assert deliveries.get(name) == delivery
    other = f"{name}.2"
    assert deliveries.marks(other) == {}
    assert deliveries.mark(other, 0, Mark(1)) == 1


def test_that_a_piece_was_uploaded_counts_more_than_that_it_was_lost(
    deliveries: DeliveryLedger, delivery: Delivery
) -> None:
    """One of two copies of a message could read what the other could not."""
    name = delivery.external_id
    assert [deliveries.mark(name, 0, mark) for mark in (Mark(0, LOST), Mark(10))] == [1, 1]
    assert deliveries.marks(name) == {0: Mark(10)}
    assert [deliveries.mark(name, 0, mark) for mark in (Mark(0, LOST), Mark(11))] == [1, 1]
    assert deliveries.marks(name) == {0: Mark(10)}


def test_marks_that_come_at_once_are_all_counted(
    deliveries: DeliveryLedger, delivery: Delivery
) -> None:
    """Each of 40 pieces twice, side by side: one at least is told of all of them."""
    with ThreadPoolExecutor(16) as pool:
        told = list(
            pool.map(lambda n: deliveries.mark(delivery.external_id, n // 2, Mark(n)), range(80))
        )
    assert max(told) == 40
    assert set(deliveries.marks(delivery.external_id)) == set(range(40))


def test_more_marks_than_a_page(deliveries: DeliveryLedger, delivery: Delivery) -> None:
    """A page of DynamoDB is a megabyte."""
    lost = Rejection("upload-refused", "x" * 9000, NOW)
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(lambda n: deliveries.mark(delivery.external_id, n, Mark(0, lost)), range(150))
        )
    assert len(deliveries.marks(delivery.external_id)) == 150


# ---- The bytes of the hour


@dataclass
class Hour:
    """An organization's allowance, and the time by which it goes."""

    allowance: Allowance
    clock: Hand
    target: Target

    def take(self, size: int) -> None:
        """An upload that AEP takes."""
        with self.allowance.taking(self.target, size):
            pass

    def fail(self, size: int) -> None:
        """One that it does not take."""
        with suppress(PlatformUnavailable), self.allowance.taking(self.target, size):
            raise PlatformUnavailable("AEP answered 503")


@pytest.fixture(params=["memory", "dynamodb"])
def hour(request: pytest.FixtureRequest) -> Hour:
    clock = Hand()
    if request.param == "memory":
        return Hour(MemoryAllowance(clock, HOURLY), clock, TARGET)
    table = ledger_table(request.getfixturevalue("stack"))
    dynamo = HourlyAllowance(table, clock, lambda _: HOURLY, lambda: 0)
    return Hour(dynamo, clock, TARGET)


def ledger_table(stack: LocalStack) -> Table:
    return Table(stack.aws.dynamodb, stack.outputs["LedgerTable"])


def test_an_hour_takes_so_many_bytes(hour: Hour) -> None:
    hour.take(600)
    hour.take(400)
    with pytest.raises(NotYet) as caught:
        hour.take(1)
    assert caught.value.retry_after == 3600
    hour.clock.at += HOUR_MS - 1000
    with pytest.raises(NotYet) as caught:
        hour.take(1)
    assert caught.value.retry_after == 1
    hour.clock.at += 1000
    hour.take(1000)


def test_what_does_not_fit_uses_nothing_up(hour: Hour) -> None:
    hour.take(600)
    with pytest.raises(NotYet):
        hour.take(401)
    hour.take(400)


def test_what_aep_did_not_take_uses_nothing_up(hour: Hour) -> None:
    """Before, an outage of a minute at AEP used the bytes of the hour."""
    for _ in range(30):
        hour.fail(500)
    hour.take(1000)
    with pytest.raises(NotYet):
        hour.fail(1)


def test_each_organization_has_its_own(hour: Hour) -> None:
    """The guardrail is Adobe's for each of them."""
    hour.take(1000)
    hour.target = replace(TARGET, ims_org="P@AdobeOrg")
    hour.take(1000)


def test_what_is_larger_than_an_hour_takes_one_for_itself(hour: Hour) -> None:
    hour.take(5000)
    with pytest.raises(NotYet):
        hour.take(1)
    hour.clock.at += HOUR_MS
    hour.take(1)
    with pytest.raises(NotYet):
        hour.take(5000)


def test_an_hour_is_shared_fairly_by_twenty_at_once(hour: Hour) -> None:
    def taken(_: int) -> bool:
        try:
            hour.take(90)
        except NotYet:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(taken, range(40))) == 11


class Counting(Table):
    """A table that tells what was counted in it, write by write."""

    def __init__(self, stack: LocalStack) -> None:
        super().__init__(stack.aws.dynamodb, stack.outputs["LedgerTable"])
        self.added: list[int] = []

    def add(self, pk: str, sk: str, number: int, *how: Any, **more: Any) -> int:
        told = super().add(pk, sk, number, *how, **more)
        self.added.append(number)
        return told


def test_of_many_small_uploads_few_ask_the_ledger(stack: LocalStack) -> None:
    table, clock = Counting(stack), Hand()
    hour = Hour(HourlyAllowance(table, clock, lambda _: 200_000, lambda: 0), clock, TARGET)
    for _ in range(50):
        hour.take(5)
    assert table.added == [100, 100, 100]
    clock.at += HOUR_MS  # what was leased for an hour ends with it
    hour.take(5)
    assert table.added == [100] * 4


def test_workers_share_an_hour_and_waste_little_of_it(stack: LocalStack) -> None:
    """A lease is no more than a 2,000th of it; near its end each takes what it needs."""
    table, clock = Counting(stack), Hand()
    workers = [
        Hour(HourlyAllowance(table, clock, lambda _: 200_000, lambda: 0), clock, TARGET)
        for _ in range(5)
    ]
    for worker in workers:
        worker.take(60)
    with suppress(NotYet):
        while True:
            workers[0].take(30_000)
    with suppress(NotYet):
        while True:
            workers[1].take(1_000)
    with pytest.raises(NotYet):
        workers[1].take(1_000)
    assert 199_000 < sum(table.added) <= 200_000
    workers[4].take(40)  # of its lease


def test_what_is_given_back_beyond_a_lease_is_everybody_s(stack: LocalStack) -> None:
    table, clock = Counting(stack), Hand()
    one, other = (
        Hour(HourlyAllowance(table, clock, lambda _: HOURLY, lambda: 0), clock, TARGET)
        for _ in range(2)
    )
    one.fail(900)
    other.take(1000)
    assert table.added == [900, -900, 1000]


def test_what_fails_in_the_next_hour_gives_nothing_back(stack: LocalStack) -> None:
    table, clock = Counting(stack), Hand()
    allowance = HourlyAllowance(table, clock, lambda _: HOURLY, lambda: 0)
    hour = Hour(allowance, clock, TARGET)
    with suppress(PlatformUnavailable), allowance.taking(TARGET, 900):
        clock.at += HOUR_MS
        hour.take(1000)
        raise PlatformUnavailable("AEP answered 503")
    with pytest.raises(NotYet):
        hour.take(1)


def test_those_that_wait_for_the_next_hour_do_not_come_at_once(stack: LocalStack) -> None:
    clock, spread = Hand(), iter((0.0, 7.0, 299.0))
    allowance = HourlyAllowance(ledger_table(stack), clock, lambda _: HOURLY, lambda: next(spread))
    hour = Hour(allowance, clock, TARGET)
    hour.take(1000)
    waits = []
    for _ in range(3):
        with pytest.raises(NotYet) as caught:
            hour.take(1)
        waits.append(caught.value.retry_after)
    assert waits == [3600, 3607, 3899]


def test_nobody_waits_but_for_an_hour_that_is_used(hour: Hour) -> None:
    """How long, is asked before work is handed out; that takes nothing."""
    others = replace(TARGET, ims_org="X@AdobeOrg")
    assert hour.allowance.wait(TARGET, 2 * HOURLY) == 0, "larger than an hour: it has one alone"
    hour.take(HOURLY - 100)
    hour.clock.at += HOUR_MS // 4
    assert [hour.allowance.wait(TARGET, size) for size in (100, 101)] == [0, 2700]
    assert hour.allowance.wait(others, HOURLY) == 0
    hour.take(100)
    hour.clock.at += 3 * HOUR_MS // 4
    assert hour.allowance.wait(TARGET, 101) == 0


def test_what_is_due_is_told_until_it_has_ended(kept: Kept, delivery: Delivery) -> None:
    due, name = delivery.due or 0, delivery.external_id
    assert kept.due(due)[name] == due
    assert name not in kept.due(due - 1)
    moved = kept.deliveries.replace(delivery, delivery.then(due=due + 5))
    assert name not in kept.due(due)
    assert kept.due(due + 5)[name] == due + 5
    kept.deliveries.replace(moved, moved.then(stage=DeliveryStage.ENDED, verdict=VERDICT, due=None))
    assert name not in kept.due(10**15)


# ---- What only DynamoDB has


@pytest.fixture
def table(stack: LocalStack) -> Callable[[str], list[dict[str, Any]]]:
    aws = stack.aws

    def items(pk: str) -> list[dict[str, Any]]:
        found: Any = aws.dynamodb.query(
            TableName=stack.outputs["LedgerTable"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
        )
        return list(found["Items"])

    return items


@pytest.fixture
def dynamo(stack: LocalStack) -> DynamoDeliveries:
    return DynamoDeliveries(ledger_table(stack), lambda: NOW, retention_ms=60 * DAY)


def test_it_is_only_forgotten_once_it_has_ended(
    dynamo: DynamoDeliveries, table: Callable[[str], list[dict[str, Any]]]
) -> None:
    delivery = of(Hand())
    assert dynamo.start(delivery, recorded=False)
    pk = f"delivery#{delivery.external_id}"
    for stage in DeliveryStage:
        changed = delivery.then(stage=stage, verdict=VERDICT, total=1, uploaded_at=NOW)
        delivery = dynamo.replace(delivery, changed)
        [item] = table(pk)
        assert "expires" not in item
        assert item["stage"] == {"S": stage}
        assert {"due", "due_shard"} <= item.keys()
    dynamo.replace(delivery, delivery.then(due=None))
    [item] = table(pk)
    assert int(item["expires"]["N"]) == NOW // 1000 + 60 * 86_400
    assert not {"due", "due_shard"} & item.keys()


def test_marks_are_remembered_longer_than_what_they_belong_to(
    dynamo: DynamoDeliveries, table: Callable[[str], list[dict[str, Any]]]
) -> None:
    delivery = of(Hand())
    assert dynamo.start(delivery, recorded=False)
    dynamo.mark(delivery.external_id, 3, Mark(10))
    dynamo.mark(delivery.external_id, 3, Mark(10))
    kinds = {item["sk"]["S"]: item for item in table(f"delivery#{delivery.external_id}")}
    assert set(kinds) == {"delivery", "piece#000003", "count"}
    for name in ("piece#000003", "count"):
        assert int(kinds[name]["expires"]["N"]) == NOW // 1000 + 120 * 86_400
    assert kinds["count"]["counted"] == {"N": "1"}


def test_the_bytes_of_an_hour_are_forgotten(
    stack: LocalStack, table: Callable[[str], list[dict[str, Any]]]
) -> None:
    clock = Hand()
    allowance = HourlyAllowance(ledger_table(stack), clock, lambda _: HOURLY)
    for _ in range(2):
        with allowance.taking(TARGET, 250):
            pass
    [item] = table(f"sent#{iso(clock())[:13]}")
    assert (item["sk"], item["counted"]) == ({"S": "O@AdobeOrg"}, {"N": "500"})
    assert int(item["expires"]["N"]) == clock() // 1000 + 7 * 86_400


def test_how_far_a_gzip_has_come_is_kept(kept: Kept, delivery: Delivery) -> None:
    name, deliveries = delivery.external_id, kept.deliveries
    assert deliveries.progress(name, 3) is None
    for progress in (Progress(), Progress(1, 10), Progress(2, 30)):
        deliveries.keep(name, 3, progress)
        assert deliveries.progress(name, 3) == progress
    assert deliveries.progress(name, 4) is None
    assert deliveries.marks(name) == {}


def test_four_hundred_cuts_are_far_from_what_an_item_may_have(
    dynamo: DynamoDeliveries, table: Callable[[str], list[dict[str, Any]]]
) -> None:
    """A hundred gigabytes in one batch, by 256 megabytes; an item may have 400 KB."""
    delivery = of(Hand())
    assert dynamo.start(delivery, recorded=False)
    ends = tuple(n * 2**28 for n in range(1, 401))
    full = dynamo.replace(delivery, delivery.then(cuts={0: Cut(ends, 1000)}, verdict=VERDICT))
    many = dynamo.replace(
        full, full.then(cuts={n: Cut((2**28, 2**28 + 5000), 1000) for n in range(400)})
    )
    assert dynamo.get(delivery.external_id) == many
    [item] = table(f"delivery#{delivery.external_id}")
    assert len(json.dumps(item)) < 40_000
