"""The part of `make bench` about gates: workers that register into one window side by side."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.model.batches import Target
from aep_intake.model.errors import LedgerUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.windows import GATES, Window

from local.bench.figures import Figure, Section
from local.bench.prices import DAY
from local.emulator import Emulator
from local.stack import LocalStack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORKERS = 20
LEAST_GAIN = 2.5  # of all gates over one, where holding an item is what takes time
TABLE = "gates"


def gates(stack: LocalStack, hold_ms: float, seconds: float, turns: int = 2) -> Section:
    """Through one gate and through all, in turns, in a DynamoDB of their own.

    There a transaction holds its items for `hold_ms`; what the rest of the bench measures would
    wait for that, too.
    """
    here = stack.directory / "gates"
    here.mkdir()
    with Emulator(here, hold_ms=hold_ms) as emulator:
        dynamodb = emulator.aws.dynamodb
        make_ledger(dynamodb, stack)
        rates: dict[int, list[float]] = {1: [], GATES: []}
        for _ in range(turns):
            for number, measured in rates.items():
                measured.append(_rate(dynamodb, number, seconds))
    gains = [many / one for one, many in zip(rates[1], rates[GATES], strict=True)]
    least = min(gains)
    return Section(
        f"Registration into one window, {WORKERS} workers, items held for {hold_ms:g} ms",
        (
            *(
                Figure(f"{'one gate' if n == 1 else f'{n} gates'}: a second", _listed(measured))
                for n, measured in rates.items()
            ),
            Figure(f"{GATES} gates ÷ one, at least {LEAST_GAIN}", _listed(gains)),
            Figure("one ÷ all, the worst turn", f"{1 / least:.2f}", 1 / least, 1 / LEAST_GAIN),
        ),
    )


def make_ledger(dynamodb: "DynamoDBClient", stack: LocalStack) -> None:
    """A ledger's table as the stack has it, empty."""
    like: Any = stack.aws.dynamodb.describe_table(TableName=stack.outputs["LedgerTable"])
    indexes = [
        {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}
        for index in like["Table"]["GlobalSecondaryIndexes"]
    ]
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=like["Table"]["KeySchema"],
        AttributeDefinitions=like["Table"]["AttributeDefinitions"],
        GlobalSecondaryIndexes=indexes,  # type: ignore[arg-type]
        BillingMode="PAY_PER_REQUEST",
    )


def _rate(dynamodb: "DynamoDBClient", number: int, seconds: float) -> float:
    """Registrations a second, those that are put off not counted."""
    order = Order("", Target("arn", "O@AdobeOrg", "prod", "d"), {}, route=f"gates-{_now()}")
    window = replace(Window.at(order, DAY, _now()), gates=number)
    end = time.monotonic() + seconds

    def work(worker: int) -> int:
        ledger = DynamoLedger(dynamodb, TABLE, _now, 60 * DAY)
        opened, done = ledger.windows.open(window), 0
        while time.monotonic() < end:
            file = Arrival("landing", f"{worker}/{_now()}/{done}", "v", "e", "00", 1, _now())
            with suppress(LedgerUnavailable):
                ledger.windows.register(opened, (file,), (file,))
                done += 1
        return done

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(work, range(WORKERS))) / seconds


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in numbers)


def _now() -> int:
    return time.time_ns() // 1_000_000
