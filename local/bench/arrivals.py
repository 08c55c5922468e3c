"""The part of `make bench` about arrivals with a batch each: warm, and on the whole stack."""

import gzip
import io
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles

from aep_intake.content.beginning import BEGINNING
from aep_intake.content.recognize import recognize

from local.bench.figures import Figure, Section
from local.bench.workers import Workers
from local.runtime import LAYERS
from local.stack import ROOT, LocalStack

CREATE = "POST /data/foundation/import/batches"
LOOKS = 200
WRITES = ("TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem")
PLATFORM_MS = 300
PATIENCE_SECONDS = 300


class Arrivals:
    """What can be measured on one deployed stack, whose pacing is set aside.

    `seen`: key of an object → when its event came, by `time.monotonic`.
    """

    def __init__(self, workers: Workers, stack: LocalStack, seen: Mapping[str, float]) -> None:
        self._workers = workers
        self._stack = stack
        self._seen = seen

    # Warm

    def warm(self, runs: int) -> list[Section]:
        """The real handler of arrivals in the runtime: its calls, a burst, and its memory."""
        with self._workers.runtime("OnArrival", "probe") as worker:
            self._workers.deliver(worker, 1)
            calls = Counter(self._workers.deliver(worker, 1)["calls"])
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
            self._workers.deliver(worker, 10)  # opens the connections that ten threads need
            ones, tens = [], []
            for _ in range(runs):
                ones.append(self._workers.deliver(worker, 1)["ms"])
                told = self._workers.deliver(worker, 10)
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
        return [per_order, burst, looking(), Section("Size", (memory, *self._zipped()))]

    def _zipped(self) -> tuple[Figure, ...]:
        figures = []
        for layer in LAYERS:
            zipped = _zip(self._workers.built / layer)
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


def looking() -> Section:
    """What a look at the first bytes takes, beside its request to S3."""
    samples = ROOT / "local" / "samples"
    rows, columns = ((samples / name).read_bytes() for name in ("members.jsonl", "web-events.csv"))
    header, _, rest = columns.partition(b"\n")
    kinds = {
        "JSON Lines": (rows * 20, {"format": "json"}),
        "JSON Lines, gzip": (gzip.compress(rows * 20), {"format": "json"}),
        "CSV": (header + b"\n" + rest * 50, {"format": "csv"}),
        "Parquet": ((samples / "products.parquet").read_bytes(), {"format": "parquet"}),
    }
    figures = []
    for name, (content, shape) in kinds.items():
        began = time.process_time()
        for _ in range(LOOKS):
            recognize(content[:BEGINNING], len(content) <= BEGINNING, shape, "s3://bucket/key")
        each = 1000 * (time.process_time() - began) / LOOKS
        figures.append(
            Figure(f"{name}, {min(len(content), BEGINNING):,} bytes", f"{each:.1f} ms", each, 3)
        )
    return Section("A look at the first bytes of a file: processor time", tuple(figures))


def _zip(folder: Path) -> bytes:
    """The same bytes for the same files: neither their times nor their order count."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                name = zipfile.ZipInfo(str(file.relative_to(folder)))
                archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()
