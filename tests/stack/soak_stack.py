"""`make soak-stack`: what takes too long for every day, on the deployed stack."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, cast

from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.grouping import windows
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.errors import LedgerUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.windows import Window

from local.aws import REGION
from local.bench import gates
from local.emulator import Emulator
from local.stack import LocalStack
from tests.builders import order
from tests.stack.killing import (
    LIMITS,
    PARAMETERS,
    ROUTES,
    TICK_SECONDS,
    Killer,
    delivered_once,
    send,
)
from tests.stack.scene import Scene, scene, until
from tests.stack.test_grouping import listed, of

FILES = 1500
SECONDS = 300
PATIENCE_SECONDS = 360
MARKED = 20_000
WORKERS, DELIVERIES, TOGETHER = 20, 600, 10
HOLD_MS = 50  # of a transaction, so that others surely meet it
DAY = 86_400_000


def test_1500_arrivals_while_workers_are_killed(deployed: LocalStack) -> None:
    routes = json.dumps(ROUTES).encode()
    with scene(deployed, "soaked", routes=routes, limits=LIMITS, **PARAMETERS) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        killer = Killer(played, random.Random())
        with played.ticking(TICK_SECONDS):
            with killer.at_large():
                send(played, FILES, seconds=SECONDS)
            delivered_once(played, FILES, seconds=PATIENCE_SECONDS)


def test_a_marker_of_20_000_files_whose_worker_is_killed(deployed: LocalStack) -> None:
    routes = json.dumps(ROUTES).encode()
    with scene(deployed, "many", routes=routes, seconds={"OnMarker": 120}) as played:
        # A hundred files a second would come one by one otherwise.
        rule = played.resource("ArrivalRule")
        deployed.aws.events.disable_rule(Name=rule)
        deployed.faults.fill(played.bucket, "marked/part-{}.jsonl", MARKED, "{}\n")
        deployed.aws.events.enable_rule(Name=rule)
        played.put("marked/_SUCCESS", b"")
        until(lambda: items(played) > MARKED // 10, "a tenth is registered")
        assert played.kill("OnMarkerFunction")
        batches = of(played, "marked/", MARKED)
        held = Counter(file["key"] for batch in batches for file in listed(played, batch))
        assert held == {f"marked/part-{n:06}.jsonl": 1 for n in range(MARKED)}
        assert len(batches) == -(-MARKED // 1500)
        played.exactly_one_each({batch["externalId"] for batch in batches})
        assert played.stack.parked() == []


def items(played: Scene) -> int:
    """How many items the ledger has."""
    pages = played.aws.dynamodb.get_paginator("scan").paginate(
        TableName=played.outputs["LedgerTable"], Select="COUNT"
    )
    return sum(page["Count"] for page in pages)


def test_20_workers_register_into_a_window_that_is_sealed_meanwhile(
    deployed: LocalStack, tmp_path: Path
) -> None:
    """In a DynamoDB where they meet each other: each file is in one window, whoever had to wait."""
    with Emulator(tmp_path, hold_ms=HOLD_MS) as emulator:
        dynamodb, now = emulator.aws.dynamodb, time.time_ns() // 1_000_000
        gates.make_ledger(dynamodb, deployed)
        where: Any = {"LocationConstraint": REGION}
        emulator.aws.s3.create_bucket(Bucket="lists", CreateBucketConfiguration=where)
        met: Counter[str] = Counter()

        def count(parsed: dict[str, Any], **_: Any) -> None:
            met.update({reason["Code"] for reason in parsed.get("CancellationReasons", ())})

        dynamodb.meta.events.register("after-call.dynamodb.TransactWriteItems", count)
        lists = StateObjects(lambda: emulator.aws.s3, "lists")
        ledgers = [
            DynamoLedger(dynamodb, gates.TABLE, lambda: now, 60 * DAY, lists=lists)
            for _ in range(WORKERS)
        ]
        window = Window.at(order(route="soaked"), DAY, now)

        def ports(worker: int) -> windows.WindowPorts:
            ledger, nothing = ledgers[worker], cast("Any", None)
            return windows.WindowPorts(
                ledger.windows, ledger, lambda _: None, lambda: now, BatchLimits(), nothing
            )

        deliveries = [
            tuple(
                Arrival("landing", f"in/{n}/{m}.json", "v", "e", "00", 10, now)
                for m in range(TOGETHER)
            )
            for n in range(DELIVERIES)
        ]

        def deliver(n: int) -> None:
            its = ports(n % WORKERS)
            again(lambda: windows.register(window, deliveries[n], its), met)

        with ThreadPoolExecutor(WORKERS) as pool:
            joining = [pool.submit(deliver, n) for n in range(DELIVERIES)]
            for done, future in enumerate(as_completed(joining), 1):
                future.result()
                if done == DELIVERIES // 2:
                    again(lambda: windows.close_now(window.window_id, ports(0)), met)
        again(lambda: windows.close_now(window.next().window_id, ports(0)), met)
        print(f"transactions met others: {dict(met)}")
        assert met["TransactionConflict"], "nobody met anybody"
        ledger, held = ledgers[0], Counter[Arrival]()
        for each in (window, window.next()):  # some came before the seal, some after it
            closed = ledger.windows.get(each.window_id)
            assert closed is not None
            orders = [closed.part(part, n) for n, part in enumerate(closed.parts)]
            files = [file for made in orders for file in ledger.files(made)]
            assert {ledger.claimant(file) for file in files[::50]} == {each.window_id}
            held.update(files)
        assert held == {file: 1 for some in deliveries for file in some}


def again(step: Callable[[], object], met: Counter[str]) -> None:
    """As a queue does, until it is done."""
    while True:
        try:
            step()
        except LedgerUnavailable:
            met["put off"] += 1
        else:
            return
