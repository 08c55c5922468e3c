"""The part of `make bench` about windows: what files cost that share a batch."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import batched
from math import ceil
from pathlib import Path
from typing import Any

from aep_intake.adapters.aws.s3 import Objects
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.clock.due import DueKind, errand

from local.bench import prices
from local.bench.figures import Figure, Section
from local.bench.prices import AWS_MS, DAY, PLATFORM_LOG
from local.bench.workers import MADE_UP, Workers
from local.children import ChildFailed
from local.runtime import Runtime
from local.stack import ROOT, LocalStack

SIZES = (1, 10, 98, 99, 250)
LARGER = (20, 98)  # to a delivery, were its BatchSize that
MOST_CLAIMS = 98  # of a transaction; one for each file of a versioned bucket
MOST_FILES = 9999  # of a batch
IN_A_DELIVERY = 10  # BatchSize of on_arrival's event source
# With ArrivalBatchSeconds=10: five pollers gather side by side what comes at 12 a second.
GATHERED = 12 * 10 // 5
MESSAGES_A_RECEIVE = 1.2  # long polling takes messages as they come
THOUSAND = 1000
TICKS = 43_800  # in a month of 730 hours
ARRIVAL_MB, DUE_MB = 512, 1769  # memory of on_arrival, of on_due and on_tick
AEP_MS = 300  # that AEP lets a call wait
FEWEST = THOUSAND  # that a worker's memory is looked at after
CREATE = "POST /data/foundation/import/batches"
REGISTRATION = "DynamoDB_20120810.TransactWriteItems"
QUERY, GET = "DynamoDB_20120810.Query", "DynamoDB_20120810.GetItem"
READ = 4096  # bytes of a read unit
ROUTES = ("warm-up", "deliveries", "thousand", "gathered", "flood", "behind")
MOST_DOLLARS = 4
MOST_GATHERED = {"through EventBridge": 3.90, "from S3 directly": 2.90}
MOST_GROWTH = 1.3  # of a worker's memory, where a folder has a hundred times as many files
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Work:
    """What invocations did: HTTP calls by name, write units, milliseconds, bytes of logs, reads."""

    calls: Counter[str]
    units: int
    cpu: float
    logged: int
    reads: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.calls + other.calls,
            self.units + other.units,
            self.cpu + other.cpu,
            self.logged + other.logged,
            self.reads + other.reads,
        )

    @property
    def to_aep(self) -> int:
        """How many of the calls went to Adobe: by method and path, where AWS has an address."""
        return sum(number for name, number in self.calls.items() if " /" in name)


def routes_with_windows(directory: Path) -> Path:
    """The samples' table, and routes whose windows only end when told to; where it is written."""
    table = json.loads((ROOT / "local" / "samples" / "routes.json").read_text("utf-8"))
    # This stack does not deliver, so it maps no files.
    table["routes"] = [route for route in table["routes"] if "map" not in route]
    table["routes"] += [
        {
            "name": name,
            "match": f"landing/{name}/**",
            "datasetName": "loyalty",
            "inputFormat": {"format": "json"},
            "batch": {"window": "24h"},
        }
        for name in ROUTES
    ]
    table["routes"].append(
        {
            "name": "made-up",
            "description": "Its objects are not there, so nobody can look at them.",
            "match": f"{MADE_UP}/**",
            "datasetName": "loyalty",
            "inputFormat": {"format": "json"},
            "lookInside": False,
        }
    )
    table["routes"].append(
        {
            "name": "folders",
            "match": "landing/folders/**",
            "datasetName": "loyalty",
            "inputFormat": {"format": "json"},
            "batch": {"marker": "_SUCCESS"},
        }
    )
    path = directory / "routes.json"
    path.write_text(json.dumps(table), "utf-8")
    return path


class Windows:
    """What can be measured of windows on one deployed stack, with its workers."""

    def __init__(self, workers: Workers, stack: LocalStack) -> None:
        self._workers = workers
        self._stack = stack
        self._ledger = DynamoLedger(
            stack.aws.dynamodb, stack.outputs["LedgerTable"], _now, 60 * DAY
        )
        self._meter = prices.Meter()
        self._tick_rule = stack.aws.cloudformation.describe_stack_resource(
            StackName=stack.name, LogicalResourceId="TickRule"
        )["StackResourceDetail"]["PhysicalResourceId"]

    # Counted

    def counted(self) -> list[Section]:
        """Calls of deliveries of several sizes, of a window of 1,000 files, and what they cost."""
        with (
            self._paused("OnDue"),
            self._workers.runtime("OnArrival", "scales") as arrivals,
            self._workers.runtime("OnDue", "scales") as due,
        ):
            self._registered(arrivals, 1, "warm-up")
            self._closed(due, "warm-up")
            self._registered(arrivals, 1, "deliveries")  # opens the window
            works = {
                size: self._registered(arrivals, size, "deliveries")
                for size in sorted({*SIZES, *LARGER})
            }
            each = [
                self._registered(arrivals, IN_A_DELIVERY, "thousand")
                for _ in range(THOUSAND // IN_A_DELIVERY)
            ]
            closing = self._closed(due, "thousand")
            alone = self._registered(arrivals, IN_A_DELIVERY, "made-up")
        together = sum(each, closing)
        posts, to_aep = together.calls[CREATE], together.to_aep
        calls = [
            Figure(
                f"{_times(size, 'file')} in one delivery",
                f"{_times(works[size].calls[REGISTRATION], 'transaction')}, "
                f"{works[size].calls.total() - works[size].calls[REGISTRATION]} other calls",
                works[size].calls.total(),
                ceil(size / MOST_CLAIMS),
            )
            for size in SIZES
        ]
        calls += [
            Figure("1,000 files: POSTs to AEP", str(posts), posts, 1),
            Figure("1,000 files: other calls to AEP", str(to_aep - posts), to_aep - posts, 0),
            Figure("1,000 files: calls to AWS", str(together.calls.total() - to_aep)),
        ]
        return [
            Section("Calls of files that share a window, warm", tuple(calls)),
            self._bill(sum(each[1:], each[0]), {n: works[n] for n in LARGER}, closing, alone),
        ]

    def gathered(self) -> Section:
        """What files cost that come at 12 a second and are gathered for ten seconds."""
        with (
            self._paused("OnDue"),
            self._workers.runtime("OnArrival", "scales") as arrivals,
            self._workers.runtime("OnDue", "scales") as due,
        ):
            self._registered(arrivals, 1, "warm-up")
            self._closed(due, "warm-up")
            works = [
                self._registered(arrivals, GATHERED, "gathered")
                for _ in range(round(THOUSAND / GATHERED))
            ]
            closing = self._closed(due, "gathered")
        requests = 1 + 1 / MESSAGES_A_RECEIVE + ceil(GATHERED / 10) / GATHERED
        files = GATHERED * len(works)
        *lines, total = _dollars(sum(works[1:], works[0]), files, GATHERED, closing, requests)
        assert total.value is not None
        sums = {
            "through EventBridge": total.value,
            "from S3 directly": total.value - prices.EVENT,
        }
        return Section(
            f"A million small files in windows of 1,000 at 12 a second, {GATHERED} to a delivery, "
            "in US dollars",
            (
                *lines,
                *(
                    Figure(f"together, {way}", f"{value:.2f}", value, MOST_GATHERED[way])
                    for way, value in sums.items()
                ),
                Figure("write units a file", f"{sum(w.units for w in works) / files:.2f}"),
                *_figures_of(closing),
            ),
        )

    def _registered(self, worker: Runtime, number: int, route: str) -> Work:
        return self._work(self._workers.deliver(worker, number, f"landing/{route}"))

    def _closed(self, worker: Runtime, route: str) -> Work:
        """Let a window end, and its batches be made."""
        window_id = self.end(route)
        work = self._work(_go_on(worker, DueKind.WINDOWS, [window_id]))
        window = self._ledger.windows.get(window_id)
        assert window
        parts = [window.part_id(number) for number in range(len(window.parts))]
        work += self._work(_go_on(worker, DueKind.ORDERS, parts))
        pages = ceil(self._meter.bytes(f"window#{window_id}") / READ)
        return replace(work, reads=work.calls[QUERY] * pages + work.calls[GET])

    def _work(self, told: dict[str, Any]) -> Work:
        units = self._meter.units(told["written"])
        return Work(Counter(told["calls"]), units, told["cpu"], told["logged"])

    def idle(self) -> Section:
        """A month of ticks that find nothing, each a minute after the one before."""
        with (
            self._paused("OnDue"),
            self._workers.runtime("OnTick", "scales") as worker,
        ):
            for _ in range(2):  # the first one warms up
                work = self._work(worker.invoke({"module": "on_tick", "event": {}}))
        queries = work.calls[QUERY]
        # Side by side, so that all wait about as long as two.
        duration = prices.seconds(work.cpu, 2 * AWS_MS, DUE_MB)
        lines = {
            f"invocations of {1000 * duration:.0f} ms": prices.invocation(duration, DUE_MB),
            f"{queries} queries, {work.calls[GET]} other reads": (
                (queries + work.calls[GET]) * prices.READ_UNIT / 2
            ),
            f"logs, {work.logged + PLATFORM_LOG:,} bytes": (
                (work.logged + PLATFORM_LOG) / 1000 * prices.LOG_GIGABYTE
            ),
            "traces, at most": prices.TRACE,
        }
        month = TICKS / 1e6
        return Section(
            f"A month of {TICKS:,} ticks that find nothing, in US dollars",
            (
                *(Figure(name, f"{each * month:.2f}") for name, each in lines.items()),
                Figure("calls of a tick", str(work.calls.total())),
                Figure("together", f"{sum(lines.values()) * month:.2f}"),
            ),
        )

    def register(self, route: str, files: int) -> None:
        """Let so many files join a route's window."""
        with self._workers.runtime("OnArrival", "probe") as worker:
            self._workers.deliver(worker, files, f"landing/{route}")

    def end(self, route: str) -> str:
        """Move the end of a route's window to now; the window's id."""
        for due in self._ledger.due_work.due(DueKind.WINDOWS, _now() + 2 * DAY, limit=1000):
            window = self._ledger.windows.get(due.id)
            if window and window.order.route == route and window.due:
                earlier = replace(window, due=_now(), revision=window.revision + 1)
                self._ledger.windows.replace(window, earlier)
                return due.id
        raise ChildFailed(f"route {route} has no open window")

    def _bill(self, tens: Work, larger: dict[int, Work], closing: Work, alone: Work) -> Section:
        """`tens`: 1,000 files, ten to a delivery; `larger`: deliveries of other sizes; `alone`:
        ten files with a batch each.
        """
        *lines, total = _dollars(tens, THOUSAND, IN_A_DELIVERY, closing)
        others = [
            replace(_dollars(work, size, size, closing)[-1], name=f"together, {size} to a delivery")
            for size, work in larger.items()
        ]
        units = {IN_A_DELIVERY: tens.units / THOUSAND}
        units |= {size: work.units / size for size, work in larger.items()}
        deliveries = THOUSAND / IN_A_DELIVERY
        return Section(
            "A million small files in windows of 1,000, in US dollars",
            (
                *lines,
                replace(total, at_most=MOST_DOLLARS),
                *others,
                *(
                    Figure(f"write units a file, {size} to a delivery", f"{each:.2f}")
                    for size, each in units.items()
                ),
                Figure(
                    "write units a file with a batch each", f"{alone.units / IN_A_DELIVERY:.2f}"
                ),
                *_figures_of(closing),
                Figure("processor time of a delivery of ten", f"{tens.cpu / deliveries:.0f} ms"),
            ),
        )

    # By markers

    def folders(self, files: int) -> Section:
        """A folder of a thousand files by one marker, and one of so many; each is listed before.

        Each by a worker of its own, which ten files have warmed up.
        """
        took: dict[int, float] = {}
        peaks: dict[int, float] = {}
        listing: dict[int, float] = {}
        with self._paused("OnDue"), self._paused("OnMarker"), self._unheard():
            for number in (THOUSAND, files):
                with self._workers.runtime("OnMarker", "probe") as worker:
                    self._marked(worker, f"landing/folders/before-{number}/", 10)
                    folder = f"landing/folders/{number}/"
                    told, listing[number] = self._marked(worker, folder, number)
                took[number] = told["ms"] - 1000 * listing[number]
                peaks[number] = told["peak"]
        each = {number: took[number] / number for number in took}
        ratio, growth = each[files] / each[THOUSAND], peaks[files] / peaks[THOUSAND]
        return Section(
            f"A folder of {files:,} files by one marker, less a bare listing",
            (
                *(Figure(f"{n:,} files: a listing", f"{s:.1f} s") for n, s in listing.items()),
                *(
                    Figure(f"{n:,} files: the rest", f"{ms / 1000:.1f} s, each {each[n]:.2f} ms")
                    for n, ms in took.items()
                ),
                Figure("a file of the larger ÷ of the smaller", f"{ratio:.2f}", ratio, 1.3),
                *(Figure(f"{n:,} files: peak memory", f"{m:.0f} MiB") for n, m in peaks.items()),
                Figure("peak ÷ peak", f"{growth:.2f}", growth, MOST_GROWTH),
            ),
        )

    def _marked(self, worker: Runtime, folder: str, number: int) -> tuple[dict[str, Any], float]:
        """What the probe tells of a marker of so many files, and the seconds of a bare listing."""
        bucket = self._stack.outputs["LandingBucketName"]
        self._stack.faults.fill(bucket, f"{folder}part-{{}}.json", number, "{}\n")
        objects = Objects(lambda: self._stack.aws.s3)
        began = time.monotonic()
        listed = sum(1 for _ in objects.folder(bucket, folder))
        bare = time.monotonic() - began
        if listed != number:
            raise ChildFailed(f"{listed} files of {number} are listed in {folder}")
        return self._workers.mark(worker, f"{folder}_SUCCESS"), bare

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """The events of what is put come to nobody, meanwhile."""
        rule = self._stack.aws.cloudformation.describe_stack_resource(
            StackName=self._stack.name, LogicalResourceId="ArrivalRule"
        )["StackResourceDetail"]["PhysicalResourceId"]
        self._stack.aws.events.disable_rule(Name=rule)
        yield
        self._stack.aws.events.enable_rule(Name=rule)

    # Flooded

    def flood(self, alone: int, together: int) -> Section:
        """So many arrivals with a batch each; then so many in one window, which is closed."""
        self._drained(self._workers.arrivals(100, MADE_UP), lambda _: None)  # warms up
        bodies = self._workers.arrivals(alone, MADE_UP)
        one_each = alone / self._drained(bodies, lambda _: None)
        memory: dict[int, float] = {}
        marks = [n for n in (FEWEST, together // 2, together) if n <= together]

        def look(done: int) -> None:
            for mark in marks:
                if done >= mark and mark not in memory:
                    memory[mark] = max(self._resident("OnArrival"), default=0)

        bodies = self._workers.arrivals(together, "landing/flood")
        in_window = together / self._drained(bodies, look)
        self._stack.control("DELETE", "/requests")
        batches, seconds = self._made(together)
        operations = Counter(r["operation"] for r in self._stack.control("GET", "/requests"))
        sent = Counter(json.loads(body)["detail"]["object"]["key"] for body in bodies)
        held = Counter(key for batch in batches for key in self._keys(batch))
        lost, doubled = (sent - held).total(), (held - sent).total()
        least = ceil(together / MOST_FILES)
        first, *_, last = memory.values()
        return Section(
            f"{together:,} files in one window, beside {alone:,} with a batch each",
            (
                Figure("a batch each: arrivals per second", f"{one_each:.0f}"),
                Figure("one window: arrivals per second", f"{in_window:.0f}"),
                Figure("one window ÷ a batch each", f"{in_window / one_each:.1f}"),
                Figure("batches", str(len(batches)), len(batches), least),
                Figure("POSTs to AEP", str(operations["create"]), operations["create"], least),
                Figure("from the window's end to the last batch", f"{seconds:.1f} s"),
                *(
                    Figure(f"memory of on_arrival after {mark:,} files", f"{mib:.0f} MiB")
                    for mark, mib in memory.items()
                ),
                Figure("last ÷ first", f"{last / first:.2f}", last / first, 1.1),
                Figure(
                    "memory of on_due, having closed it", f"{max(self._resident('OnDue')):.0f} MiB"
                ),
                Figure("lost", str(lost), lost, 0),
                Figure("doubled", str(doubled), doubled, 0),
            ),
        )

    def _drained(self, bodies: list[str], look: Callable[[int], None]) -> float:
        """Seconds in which on_arrival works these messages, all there from the beginning."""
        queue = self._stack.outputs["ArrivalsQueueUrl"]
        with self._paused("OnArrival"):

            def send(some: tuple[tuple[int, str], ...]) -> None:
                entries: Any = [{"Id": str(n), "MessageBody": body} for n, body in some]
                answer = self._stack.aws.sqs.send_message_batch(QueueUrl=queue, Entries=entries)
                assert not answer.get("Failed")

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(send, batched(enumerate(bodies), 10, strict=False)))
        began = time.monotonic()
        while (left := self._waiting(queue)) and time.monotonic() < began + PATIENCE_SECONDS:
            look(len(bodies) - left)
            time.sleep(0.1)
        if left:
            raise ChildFailed(f"{left} of {len(bodies)} arrivals were not worked")
        seconds = time.monotonic() - began
        look(len(bodies))
        return seconds

    def _waiting(self, queue: str) -> int:
        """Messages of a queue, those that somebody works on among them."""
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self._stack.aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return sum(int(told["Attributes"][name]) for name in names)

    def _made(self, files: int) -> tuple[list[dict[str, Any]], float]:
        """The announcements of the flooded window's batches, and the seconds that took."""
        self.end("flood")
        began = time.monotonic()
        function = self._stack.outputs["OnTickFunction"]
        while time.monotonic() < began + PATIENCE_SECONDS:
            self._stack.aws.functions.invoke(FunctionName=function, Payload=b"{}")
            events = [each["detail"] for each in self._stack.listener.events()]
            made = {each["externalId"]: each for each in events if each.get("route") == "flood"}
            if sum(each["fileCount"] for each in made.values()) >= files:
                return list(made.values()), time.monotonic() - began
            time.sleep(0.2)
        raise ChildFailed(f"{len(made)} batches, and not all files")

    def _keys(self, detail: dict[str, Any]) -> Iterator[str]:
        files = detail.get("files")
        if files is None:
            place = detail["manifest"]
            found = self._stack.aws.s3.get_object(Bucket=place["bucket"], Key=place["key"])
            files = json.loads(found["Body"].read())["files"]
        yield from (file["key"] for file in files)

    def _resident(self, name: str) -> Iterator[float]:
        """MiB of each worker of a function."""
        mark = f"ministack-lambda-{self._stack.outputs[f'{name}Function']}-".encode()
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                try:
                    if mark in (process / "cmdline").read_bytes():
                        lines = (process / "status").read_text().splitlines()
                        yield from (int(x.split()[1]) / 1024 for x in lines if "VmRSS" in x)
                except OSError:
                    continue  # it has ended meanwhile

    @contextmanager
    def _paused(self, name: str) -> Iterator[None]:
        """The deployed function takes nothing from its queue, and the clock stands, meanwhile."""
        functions = self._stack.aws.functions
        mappings = functions.list_event_source_mappings(
            FunctionName=self._stack.outputs[f"{name}Function"]
        )["EventSourceMappings"]
        with self.clock_stopped():
            for mapping in mappings:
                functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
            yield
            for mapping in mappings:
                functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    @contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Nothing that is due is handed out meanwhile, unless somebody makes it tick."""
        self._stack.aws.events.disable_rule(Name=self._tick_rule)
        yield
        self._stack.aws.events.enable_rule(Name=self._tick_rule)


def _go_on(worker: Runtime, kind: DueKind, names: list[str]) -> dict[str, Any]:
    records = [{"body": json.dumps(errand(kind, name))} for name in names]
    told: dict[str, Any] = worker.invoke({"module": "on_due", "event": {"Records": records}})
    return told


def _figures_of(closing: Work) -> tuple[Figure, ...]:
    to_aws = closing.calls.total() - closing.to_aep
    return (
        Figure("to close a window: write units", str(closing.units)),
        Figure("to close a window: read units", str(closing.reads)),
        Figure("to close a window: processor time", f"{closing.cpu:.0f} ms"),
        Figure("to close a window: calls", f"{to_aws} to AWS, {closing.to_aep} to AEP"),
    )


def _dollars(
    work: Work,
    files: int,
    in_a_delivery: int,
    closing: Work,
    # SQS gives and deletes ten at a time at most, whatever the size of a delivery.
    requests: float = 1 + 2 / 10,
) -> list[Figure]:
    """What a million files cost where `work` took in so many; the sum comes last.

    `requests` of the arrivals queue for a file.
    """
    deliveries = 1 / in_a_delivery  # million
    seconds = prices.seconds(work.cpu * in_a_delivery / files, AWS_MS, ARRIVAL_MB)
    # The window, and then its order, each in an invocation.
    waiting = AWS_MS * (closing.calls.total() - closing.to_aep) / 2 + AEP_MS * closing.to_aep / 2
    closed = prices.seconds(closing.cpu / 2, waiting, DUE_MB)
    logged = work.logged / files + PLATFORM_LOG / in_a_delivery
    lines = {
        "S3's events": prices.EVENT,
        "arrivals queue": requests * prices.QUEUE_REQUEST,
        f"on_arrival, {1000 * seconds:.0f} ms a delivery": deliveries
        * prices.invocation(seconds, ARRIVAL_MB),
        "ledger": work.units / files * prices.WRITE_UNIT,
        f"logs, {logged:.0f} bytes a file": logged / 1000 * prices.LOG_GIGABYTE,
        "traces, at most": deliveries * prices.TRACE,
        "a thousand windows closed": (
            closing.units * prices.WRITE_UNIT
            + closing.reads * prices.READ_UNIT
            + 2 * prices.OBJECT  # its list, which is read for its order, and what the event names
            + prices.OBJECT_READ
            + prices.EVENT
            + 6 * prices.QUEUE_REQUEST  # for the window, and for its order
            + 2 * (prices.invocation(closed, DUE_MB) + prices.TRACE)
        )
        / THOUSAND,
    }
    total = sum(lines.values())
    return [
        *(Figure(name, f"{dollars:.2f}") for name, dollars in lines.items()),
        Figure("together", f"{total:.2f}", total),
    ]


def _now() -> int:
    return time.time_ns() // 1_000_000


def _times(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
