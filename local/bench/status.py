"""The part of `make bench` about a large day: `aep-intake status`, and the page."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from statistics import median
from tempfile import TemporaryDirectory
from threading import Lock
from types import SimpleNamespace
from typing import Any

import boto3
from aep_intake.adapters.dynamodb.counts import DynamoCounts
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.model import records
from aep_intake.model.batches import Target
from aep_intake.model.orders import Order
from aep_intake.model.times import HOUR_MS, hour_of, milliseconds
from aep_intake.model.windows import Window
from aep_intake.report.counts import HourCounts, RouteCounts

from local.bench.figures import Figure, Section

BEGUN = time.process_time()  # Python's start, and what the command imports, too
NOON = milliseconds("2026-11-23T12:00:00Z")
ROUTES, FILES = 200, 100_800
REQUESTS_MAX = 10
# Of a processor: of the two that it may take, ten requests of 50 ms leave so many.
OWN_SECONDS_MAX = 1.5
PAGE_SECONDS_MAX = 0.5  # of on_widget's, once it is warm: half of what a person may wait
TARGET = Target("arn:secret", "ORG@AdobeOrg", "prod", "5c8c3c555033b814b69f947f")


class Ledger:
    """DynamoDB with one table, as far as the command asks it; counts the requests."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: Counter[str] = Counter()
        self._counting = Lock()

    def _count(self, what: str) -> None:
        with self._counting:
            self.requests[what] += 1

    def add(self, item: Mapping[str, Any]) -> None:
        """Put an item."""
        self.items[item["pk"]["S"], item["sk"]["S"]] = dict(item)

    def put_item(self, *, Item: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        self.add(Item)
        return {}

    def query(
        self,
        *,
        ExpressionAttributeValues: Any,
        Limit: int | None = None,
        ExclusiveStartKey: Any = None,
        **_: Any,
    ) -> dict[str, Any]:
        self._count("query")
        pk, *between = (ExpressionAttributeValues[name]["S"] for name in ExpressionAttributeValues)
        first, last = between or ("", "~")
        after = ExclusiveStartKey["sk"]["S"] if ExclusiveStartKey else ""
        items = [item for (of, _), item in sorted(self.items.items()) if of == pk]
        found = [
            item for item in items if after < item["sk"]["S"] and first <= item["sk"]["S"] <= last
        ]
        if Limit is None or len(found) < Limit:
            return {"Items": found}
        page = found[:Limit]
        return {"Items": page, "LastEvaluatedKey": {name: page[-1][name] for name in ("pk", "sk")}}

    def scan(self, *, IndexName: str, **_: Any) -> dict[str, Any]:
        self._count("scan")
        names = ("pk", "sk", "due", "due_shard")
        found = [item for item in self.items.values() if IndexName in item]
        return {"Items": [{name: item[name] for name in names} for item in found]}

    def get_item(self, *, Key: Any, **_: Any) -> dict[str, Any]:
        self._count("get_item")
        item = self.items.get((Key["pk"]["S"], Key["sk"]["S"]))
        return {} if item is None else {"Item": item}

    def batch_get_item(self, *, RequestItems: Any) -> dict[str, Any]:
        self._count("batch_get_item")
        [(table, wanted)] = RequestItems.items()
        keys = [(key["pk"]["S"], key["sk"]["S"]) for key in wanted["Keys"]]
        assert len(keys) <= 100
        return {"Responses": {table: [self.items[key] for key in keys if key in self.items]}}


def due(what: str, name: str, when: int, shard: str = "6", **more: str) -> dict[str, Any]:
    """The item of unfinished work."""
    text = {key: {"S": value} for key, value in more.items()}
    about = {"due": {"N": str(when)}, "due_shard": {"S": shard}}
    return {"pk": {"S": f"{what}#{name}"}, "sk": {"S": what}, **about, **text}


def large_day() -> Ledger:
    """100,800 files in 200 routes until noon, each with an open window and ten batches."""
    ledger = Ledger()
    counts = DynamoCounts(Table(ledger, "ledger"), 400)  # type: ignore[arg-type]
    names = [f"route-{number:03}" for number in range(ROUTES)]
    each = FILES // ROUTES // 12
    one = RouteCounts(each, each * 10**6, each * 1000, each, each - 1, 1, rejected={"no-route": 1})
    for hour in range(12):
        at = hour_of(NOON - (12 - hour) * HOUR_MS)
        counts.put(HourCounts(at, 60, dict.fromkeys(names, one)))
    for name in names:
        window = Window.at(Order(name, TARGET, {}, (), route=name), HOUR_MS, NOON)
        text = records.text(window)
        ledger.add(due("window", window.window_id, window.due or 0, window=text))
        for number in range(10):
            ledger.add(due("delivery", f"{name}-{number}", NOON + number, "3"))
    return ledger


def command(ledger: Ledger, at: int, *typed: str) -> int:
    """What is typed, of a stack with this ledger, at this time (epoch ms)."""
    from aep_intake_cli import clock, command, options  # noqa: PLC0415 - it is measured, too
    from aep_intake_cli.stack import Stack  # noqa: PLC0415

    stack = Stack("aep-intake", {"LedgerTable": "ledger"}, {"JournalDays": "400"})
    session = SimpleNamespace(client=lambda _: ledger)
    access: Any = options.Access
    before = access.stack, access.__dict__["session"], clock.now
    access.stack, access.session = lambda _: stack, session
    clock.now = lambda: at
    try:
        return command.main(typed)
    finally:
        access.stack, access.session, clock.now = before


def asked(runs: int) -> Section:
    """How long a processor is at it, and what the command asks; with bytecode, as installed."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with TemporaryDirectory() as bytecode:
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        told = [
            json.loads(
                subprocess.run(
                    [sys.executable, "-m", "local.bench.status"],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    check=True,
                    env=environment,
                ).stderr
            )
            for _ in range(runs + 1)
        ][1:]
    requests = told[0]["requests"] + 1  # that describes the stack
    seconds, page = (median(each[what] for each in told) for what in ("seconds", "page"))
    return Section(
        f"`aep-intake status`: {FILES:,} files in {ROUTES} routes, {ROUTES * 11:,} unfinished",
        (
            Figure("requests", f"{requests}", requests, REQUESTS_MAX),
            Figure("seconds of a processor", f"{seconds:.2f}", seconds, OWN_SECONDS_MAX),
            Figure("the page: requests", f"{told[0]['asked']}"),
            Figure("the page: seconds of a processor", f"{page:.2f}", page, PAGE_SECONDS_MAX),
        ),
    )


def page_of(ledger: Ledger) -> float:
    """Seconds of a processor for the page."""
    from aep_intake.report import view  # noqa: PLC0415 - the command does without
    from aep_intake.report.page.frame import Frame, InBrowser  # noqa: PLC0415
    from aep_intake.wiring.page import page_ports  # noqa: PLC0415

    client: Any = ledger
    ports, frame = page_ports(client, "ledger", lambda: NOON, map), Frame("x", InBrowser())
    begun = time.process_time()
    assert "route-199" in view.show({}, ports, frame)
    return time.process_time() - begun


if __name__ == "__main__":
    day = large_day()
    making = time.process_time()  # which the stack has done; what it imports counts
    boto3.Session(region_name="eu-west-1").client("dynamodb")
    status = command(day, NOON, "status")
    seconds = time.process_time() - making + BEGUN
    told = {"seconds": seconds, "requests": day.requests.total()}
    day.requests.clear()
    told |= {"page": page_of(day), "asked": day.requests.total()}
    print(json.dumps(told), file=sys.stderr)
    sys.exit(status)
