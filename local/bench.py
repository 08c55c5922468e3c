"""`make bench`: what the product costs in time, calls and bytes, as ratios within one run.

`--write` puts the tables into BENCHMARKS.md, which says what they mean. Ends with status 1 where a
target is missed.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console

from local.bus import Event
from local.children import ChildFailed, ends_with_us
from local.figures import Figure, Section
from local.many import Many, routes_with_windows
from local.run import steps
from local.runtime import (
    AVAILABLE,
    FUNCTIONS,
    LAYERS,
    PYTHON,
    Runtime,
    copy_of_build,
    function,
    variables,
)
from local.stack import ROOT, LocalStack
from local.uploads import Uploads

KEPT = ROOT / "BENCHMARKS.md"

# Nothing to do, for the worker to start.
IDLE = {"Records": [], "httpMethod": "GET", "resource": "/"}
IMPORT = """
import importlib, json, sys, time
began = time.perf_counter(), time.process_time()
importlib.import_module(sys.argv[1])
ended = time.perf_counter(), time.process_time()
print(json.dumps([1000 * (b - a) for a, b in zip(began, ended)]))
"""
CREATE = "POST /data/foundation/import/batches"
WRITES = ("TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem")
PARTS = ("cold", "warm", "stack", "dollars", "windows", "folders", "gates", "uploads")
# Up to the announcement, and as fast as it goes.
PARAMETERS = {"DeliverBatches": "false"}
LIMITS = {"batchesPerMinute": 100_000}
PLATFORM_MS = 300
PATIENCE_SECONDS = 300
GATES_SECONDS = 15.0
UPLOADS, PIECES = 7, 3  # runs at most of what takes seconds each


class Bench:
    """What can be measured on one deployed stack, whose pacing is set aside.

    `seen`: key of an object → when its event came, by `time.monotonic`.
    """

    def __init__(self, stack: LocalStack, seen: Mapping[str, float]) -> None:
        self._stack = stack
        self._seen = seen
        self._numbers = count()
        self._built = stack.directory / "built"
        copy_of_build(self._built)
        self._functions = {
            name: function(stack, name, self._built).with_probe() for name in FUNCTIONS
        }
        self._environments = {
            name: variables(
                made, stack, stack.identity(f"bench-{name}", list(made.statements)).identity
            )
            for name, made in self._functions.items()
        }

    def runtime(self, name: str, module: str) -> Runtime:
        """A worker of a function that runs `module`: one of its own, or of local/inside."""
        log = self._stack.directory / f"{module}-{next(self._numbers)}.log"
        env = self._environments[name]
        return Runtime(self._functions[name], env=env, log=log, handler=f"{module}.handler")

    # Cold

    def cold(self, runs: int) -> Section:
        """Each handler next to its floor, one after the other, so that both meet the same noise."""
        figures = []
        for name, made in self._functions.items():
            module = made.handler.partition(".")[0]
            with self.runtime(name, "probe") as worker:
                clients = worker.invoke({"import": [module]})["clients"]
            self._environments[name]["FLOOR_CLIENTS"] = ",".join(clients)
            floors, ours = [], []
            for _ in range(runs):
                floors.append(self._start(name, "floor"))
                ours.append(self._start(name, module))
            for way in floors[0]:
                floor = median(sample[way] for sample in floors)
                mine = median(sample[way] for sample in ours)
                limit = None if way == "CPU time" else 1.15
                shown = f"{mine:.0f} ms ÷ {floor:.0f} ms = {mine / floor:.2f}"
                figures.append(Figure(f"{module}, {way}", shown, mine / floor, limit))
        return Section(f"Cold start ÷ floor, medians of {runs}", tuple(figures))

    def _start(self, name: str, module: str) -> dict[str, float]:
        """Milliseconds, by way of starting."""
        imported = subprocess.run(
            [str(PYTHON), "-c", IMPORT, module],
            cwd=self._functions[name].code,
            env=self._environments[name],
            capture_output=True,
            text=True,
            check=False,
        )
        if imported.returncode:
            raise ChildFailed(imported.stderr)
        wall, cpu = json.loads(imported.stdout)
        with self.runtime(name, module) as worker:
            worker.invoke(IDLE)
            return {"runtime emulator": worker.init, "fresh process": wall, "CPU time": cpu}

    # Warm

    def warm(self, runs: int) -> list[Section]:
        """The real handler of arrivals in the runtime: its calls, a burst, and its memory."""
        with self.runtime("OnArrival", "probe") as worker:
            self.deliver(worker, 1)
            calls = Counter(self.deliver(worker, 1)["calls"])
            writes = sum(calls[f"DynamoDB_20120810.{write}"] for write in WRITES)
            announced = calls["AWSEvents.PutEvents"]
            others = calls.total() - calls[CREATE] - writes - announced
            per_order = Section(
                "Calls per order, warm",
                (
                    Figure("POST to AEP", str(calls[CREATE]), calls[CREATE], 1),
                    Figure("writes to the ledger", str(writes), writes, 3),
                    Figure("PutEvents", str(announced), announced, 1),
                    Figure(
                        "anything else (IMS, Secrets Manager, AppConfig)", str(others), others, 0
                    ),
                ),
            )
            self._stack.control(
                "POST",
                "/faults",
                {"fault": "delay", "operation": "create", "delay_ms": PLATFORM_MS, "count": 0},
            )
            self.deliver(worker, 10)  # opens the connections that ten threads need
            ones, tens = [], []
            for _ in range(runs):
                ones.append(self.deliver(worker, 1)["ms"])
                told = self.deliver(worker, 10)
                tens.append(told["ms"])
            self._stack.control("DELETE", "/faults")
            one, ten = median(ones), median(tens)
            burst = Section(
                f"One delivery, the platform answering in {PLATFORM_MS} ms, medians of {runs}",
                (
                    Figure("one arrival", f"{one:.0f} ms"),
                    Figure("ten arrivals", f"{ten:.0f} ms"),
                    Figure("ten ÷ one", f"{ten / one:.2f}", ten / one, 1.6),
                ),
            )
            memory = Figure("peak memory of on_arrival's process", f"{told['peak']:.0f} MiB")
        return [per_order, burst, Section("Size", (memory, *self._zipped()))]

    def arrivals(self, number: int, folder: str) -> list[str]:
        """Messages as S3 and EventBridge make them, of so many objects of a versioned bucket."""
        event = json.loads((ROOT / "events" / "eventbridge-object-created.json").read_text("utf-8"))
        event["time"] = datetime.now(UTC).isoformat(timespec="seconds")
        event["detail"]["bucket"]["name"] = self._stack.outputs["LandingBucketName"]
        bodies = []
        for _ in range(number):
            key = f"{folder}/2026-11-23/{next(self._numbers):08}.jsonl"
            event["detail"]["object"]["key"] = key
            bodies.append(json.dumps(event))
        return bodies

    def deliver(
        self, worker: Runtime, number: int, folder: str = "landing/loyalty"
    ) -> dict[str, Any]:
        """A delivery of so many arrivals; what the probe tells of it."""
        delivery = json.loads((ROOT / "events" / "sqs-delivery.json").read_text("utf-8"))
        records = [
            delivery["Records"][0] | {"messageId": str(next(self._numbers)), "body": body}
            for body in self.arrivals(number, folder)
        ]
        told: dict[str, Any] = worker.invoke(
            {"module": "on_arrival", "event": {"Records": records}}
        )
        if told["answer"]["batchItemFailures"]:
            raise ChildFailed(f"not every arrival got its batch\n{worker.tail()}")
        return told

    def mark(self, worker: Runtime, key: str) -> dict[str, Any]:
        """A marker that on_marker works on; what the probe tells of it."""
        delivery = json.loads((ROOT / "events" / "sqs-delivery.json").read_text("utf-8"))
        [body] = self.arrivals(1, "landing")
        event = json.loads(body)
        event["detail"]["object"] |= {"key": key, "size": 0}
        record = delivery["Records"][0] | {"body": json.dumps(event)}
        told: dict[str, Any] = worker.invoke(
            {"module": "on_marker", "event": {"Records": [record]}}
        )
        if told["answer"]["batchItemFailures"]:
            raise ChildFailed(f"the marker was not worked on\n{worker.tail()}")
        return told

    def _zipped(self) -> tuple[Figure, ...]:
        figures = []
        for layer in LAYERS:
            zipped = _zip(self._built / layer)
            figures.append(Figure(f"{layer}, zipped", f"{len(zipped) / 1024:,.0f} KiB"))
        return tuple(figures)

    # The whole stack

    def stack(self, arrivals: int) -> Section:
        """From PutObject to the event: some one by one, then all at once."""
        calm = []
        for number in range(20):
            key = f"landing/loyalty/calm/{number}.jsonl"
            put = self._put(key)
            calm.append(1000 * (self._wait([key])[key] - put))
        keys = [f"landing/loyalty/flood/{number}.jsonl" for number in range(arrivals)]
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            sent = dict(zip(keys, pool.map(self._put, keys), strict=True))
        copied = time.monotonic() - began
        seen = self._wait(keys)
        took = [1000 * (seen[key] - sent[key]) for key in keys if key in seen]
        lost = arrivals - len(took)
        alive = Counter(
            batch["externalId"]
            for batch in self._stack.control("GET", "/batches")
            if batch["status"] != "aborted"
        )
        doubled = sum(number - 1 for number in alive.values())
        cuts = quantiles(took, n=100)
        rate = len(took) / (max(seen.values()) - began)
        return Section(
            f"The stack, {arrivals:,} arrivals",
            (
                Figure("PutObject to event, one at a time, p50", f"{median(calm):.0f} ms"),
                Figure("copying all of them into the bucket took", f"{copied:.1f} s"),
                Figure("all at once: arrivals per second", f"{rate:.0f}"),
                Figure("all at once: PutObject to event, p50", f"{cuts[49]:.0f} ms"),
                Figure("all at once: PutObject to event, p99", f"{cuts[98]:.0f} ms"),
                Figure("lost", str(lost), lost, 0),
                Figure("doubled", str(doubled), doubled, 0),
            ),
        )

    def _put(self, key: str) -> float:
        sent = time.monotonic()
        self._stack.put(key, b'{"member": 1}\n')
        return sent

    def _wait(self, keys: list[str]) -> dict[str, float]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = {key: self._seen[key] for key in keys if key in self._seen}
            if len(found) == len(keys) or time.monotonic() > deadline:
                return found
            time.sleep(0.005)


def _zip(folder: Path) -> bytes:
    """The same bytes for the same files: neither their times nor their order count."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = zipfile.ZipInfo(str(file.relative_to(folder)))
                archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _kept(text: str, part: str, sections: list[Section]) -> str:
    """`text` of BENCHMARKS.md with these figures in place of the ones it has of that part."""
    begin, end = (f"<!-- make bench, {part}: {edge} -->" for edge in ("begin", "end"))
    facts = (
        f"`make bench`, {datetime.now(UTC):%-d %B %Y}: {os.cpu_count()} cores, "
        f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}."
    )
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    tables = "\n\n".join(section.markdown() for section in sections)
    return f"{before}{begin}\n{facts}\n\n{tables}\n{end}{after}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into BENCHMARKS.md")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of it")
    parser.add_argument("--runs", type=int, default=15, help="of all that is given as a median")
    parser.add_argument("--arrivals", type=int, default=1000, help="sent to the stack at once")
    parser.add_argument("--files", type=int, default=10_000, help="sent into one window")
    parser.add_argument("--folder", type=int, default=100_000, help="files by one marker")
    return parser.parse_args()


def _measured(
    stack: LocalStack, bench: Bench, arguments: argparse.Namespace, step: Callable[[str], None]
) -> dict[str, list[Section]]:
    """What was asked for, by part."""
    parts = {}
    if "cold" in arguments.only:
        step("cold starts")
        parts["cold"] = [bench.cold(arguments.runs)]
    if "warm" in arguments.only:
        step("warm calls, bursts, sizes")
        parts["warm"] = bench.warm(arguments.runs)
    if "stack" in arguments.only:
        step(f"{arguments.arrivals:,} arrivals")
        parts["stack"] = [bench.stack(arguments.arrivals)]
    if "dollars" in arguments.only:
        step("what files cost that are gathered")
        parts["dollars"] = [Many(bench, stack).gathered()]
    if "windows" in arguments.only:
        step("windows: calls, and what they cost")
        many = Many(bench, stack)
        parts["windows"] = many.counted()
        step(f"{arguments.files:,} files into one window")
        parts["windows"].append(many.flood(arguments.arrivals, arguments.files))
    if "folders" in arguments.only:
        step(f"{arguments.folder:,} files by one marker")
        parts["folders"] = [Many(bench, stack).folders(arguments.folder)]
    if "gates" in arguments.only:
        step("a window's gates")
        parts["gates"] = [Many(bench, stack).gates(GATES_SECONDS)]
    if "uploads" in arguments.only:
        step("uploads: a stack that delivers")
        uploads = Uploads(stack)
        step("256 MB in one upload")
        parts["uploads"] = [uploads.one(min(arguments.runs, UPLOADS))]
        step("1 GB in pieces")
        parts["uploads"].append(uploads.in_pieces(min(arguments.runs, PIECES)))
        step("1,000 files, and what a delivered batch costs")
        parts["uploads"] += uploads.counted()
    return parts


def main() -> int:
    arguments = _arguments()
    console = Console()
    if not AVAILABLE:
        console.print("AWS's runtime emulator is a program for Linux.")
        return 1
    seen: dict[str, float] = {}

    def see(event: Event) -> None:
        for file in event["detail"].get("files", []):
            seen.setdefault(file["key"], time.monotonic())

    with ends_with_us(), ExitStack() as cleanup:
        try:
            with steps(console) as step:
                # What is measured is our own work: no transaction waits for what AWS may take.
                stack = cleanup.enter_context(
                    LocalStack(parameters=PARAMETERS, limits=LIMITS, hold_ms=0, say=step, seen=see)
                )
                step("publishing the routes")
                stack.publish_routes(routes_with_windows(stack.directory))
                bench = Bench(stack, seen)
                parts = _measured(stack, bench, arguments, step)
        except ChildFailed as failure:
            console.print(str(failure), style="red", markup=False)
            return 1
    for part, sections in parts.items():
        for section in sections:
            console.print(section)
        if arguments.write:
            KEPT.write_text(_kept(KEPT.read_text("utf-8"), part, sections), "utf-8")
    missed = [
        f"{section.title}: {figure.name}"
        for sections in parts.values()
        for section in sections
        for figure in section.figures
        if not figure.met
    ]
    for name in missed:
        console.print(f"missed: {name}", style="red", markup=False)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
