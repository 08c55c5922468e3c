"""The part of `make bench` about due work: a window that ends while very many orders are due."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import batched
from typing import Any

from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.clock.due import DueKind
from aep_intake.model.batches import Target
from aep_intake.model.orders import Order
from aep_intake.model.progress import Record

from local.bench.figures import Figure, Section
from local.bench.prices import DAY
from local.bench.windows import Windows
from local.children import ChildFailed
from local.stack import LocalStack

ROUTE, FILES = "behind", 100
MINUTE = 60.0  # seconds between two ticks
MOST_TICKS = 2
AT_ONCE = 25  # items in one call to DynamoDB


def behind(windows: Windows, stack: LocalStack, orders: int) -> Section:
    """How long a window's batch takes when so many orders are due, whose secret nobody can read.

    A tick has just looked when the window ends: so the next comes a minute later, which is added
    here and not waited for. Ticks are made by hand, and what they hand out is worked by the stack.
    """
    broken = Target(f"{stack.secret_arn}-broken", "B@AdobeOrg", "prod", "d")
    ledger = DynamoLedger(stack.aws.dynamodb, stack.outputs["LedgerTable"], _now, 60 * DAY)
    since = _now() - DAY
    items = [
        ledger._order_item(Record.waiting(Order(f"broken-{n:06}", broken, {}), since + n))
        for n in range(orders)
    ]
    with windows.clock_stopped():
        windows.register(ROUTE, FILES)
        _write(stack, [{"PutRequest": {"Item": item}} for item in items])
        before = _tick(stack)
        handed_out = orders - _due(stack, ledger, orders)
        windows.end(ROUTE)
        began, ticks = time.monotonic(), list[Future[float]]()
        with ThreadPoolExecutor(2 * MOST_TICKS) as pool:
            while not (announced := _announced(stack, began + MINUTE * len(ticks))):
                if len(ticks) == 2 * MOST_TICKS:
                    raise ChildFailed(f"no batch of route {ROUTE} after {len(ticks)} ticks")
                ticks.append(pool.submit(_tick, stack))
        took = announced - began
        keys = [{name: item[name] for name in ("pk", "sk")} for item in items]
        _write(stack, [{"DeleteRequest": {"Key": key}} for key in keys])
    late = 1 + took / MINUTE
    return Section(
        f"A window of {FILES} files that ends while {orders:,} orders of a broken organization are "
        "due",
        (
            Figure("a tick hands out", f"{handed_out:,} of them in {before:.1f} s"),
            Figure("the tick after the window's end", f"{ticks[0].result():.1f} s"),
            Figure("from that tick to the announcement", f"{took:.1f} s, ticks: {len(ticks)}"),
            Figure("late by, in ticks, at the worst", f"{late:.2f}", late, MOST_TICKS),
        ),
    )


def _write(stack: LocalStack, requests: list[dict[str, Any]]) -> None:
    def some(these: tuple[Any, ...]) -> None:
        table = stack.outputs["LedgerTable"]
        answer = stack.aws.dynamodb.batch_write_item(RequestItems={table: list(these)})
        assert not answer.get("UnprocessedItems")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(some, batched(requests, AT_ONCE, strict=False)))


def _tick(stack: LocalStack) -> float:
    """Seconds that it took. On a busy machine its time ends first: the rest is for the next one."""
    began = time.monotonic()
    name = stack.outputs["OnTickFunction"]
    answer = stack.aws.functions.invoke(FunctionName=name, Payload=b"{}")
    told = answer["Payload"].read().decode()
    if "FunctionError" in answer and "Timedout" not in told:
        raise ChildFailed(f"the clock failed: {told}")
    return time.monotonic() - began


def _due(stack: LocalStack, ledger: DynamoLedger, most: int) -> int:
    return len(ledger.due_work.due(DueKind.ORDERS, _now(), most))


def _announced(stack: LocalStack, until: float) -> float | None:
    """When a batch of the route was announced, by `time.monotonic`; None if not until then."""
    while True:
        if any(each["detail"].get("route") == ROUTE for each in stack.listener.events()):
            return time.monotonic()
        if time.monotonic() > until:
            return None
        time.sleep(0.1)


def _now() -> int:
    return time.time_ns() // 1_000_000
