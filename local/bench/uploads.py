"""The part of `make bench` about uploads: how fast they are, what they call and what that costs."""

import gzip
import json
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import requests
from aep_intake.adapters.aws.s3 import Objects
from aep_intake.adapters.aws.sqs import Queues
from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.clock.due import DueKind
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Task
from aep_intake.delivery.pieces import Cut, cutting, pieces_and_runs
from aep_intake.model import records
from aep_intake.model.batches import Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Demands, Order
from aep_intake.model.progress import Lease, Record

from local.bench import prices
from local.bench.figures import Figure, Section
from local.bench.prices import AWS_MS, DAY, PLATFORM_LOG
from local.children import ChildFailed
from local.runtime import Runtime, copy_of_build, function, variables
from local.simulator.seed import LOYALTY
from local.stack import ROOT, SEED, LocalStack

if TYPE_CHECKING:
    from local.aws import Aws

AT_ONCE = {"loaded_ms": 0, "staging_ms": 0, "staged_ms": 0, "row_validation": "disabled"}
TAKING = ("OnArrival", "OnMarker", "OnDue", "OnDelivery", "OnUpload")  # from queues

LIMIT = 256 * 2**20  # fileMegabytes
OTHER = 64 * 2**20  # bytes of each file that goes up beside a large one
GIGABYTE = 10**9
FORMAT = {"format": "json"}
AS_IT_IS = {"format": "json", "isMultiLineJson": True}  # `"asIs": true` of a route
# What the simulator takes without counting rows: that would be a part of our times and of curl's,
# and AEP has processors of its own.
UNCOUNTED = {"format": "avro"}
ROW = b'{"member": "%020d", "says": "' + b"x" * 950 + b'"}\n'
# Rows of 400 bytes, of twenty columns or members.
NAMES = [f"f{number:02}" for number in range(20)]
TEXTS = ["2026-11-29", "gold", "12.50", "x" * 7]
CELLS = ["%08d", *(TEXTS[number % 4] for number in range(19))]
MEMBERS = ", ".join(f'"{name}": "{cell}"' for name, cell in zip(NAMES, CELLS, strict=True))
JSON_ROW = f"{{{MEMBERS}}}".encode()
JSON_ROW = JSON_ROW[:-2] + b"x" * (400 - len(JSON_ROW % 1) - 1) + b'"}\n'
CSV_HEADER = ",".join(NAMES).encode() + b"\n"
CSV_ROW = ",".join(CELLS).encode()
CSV_ROW += b"x" * (400 - len(CSV_ROW % 1) - 1) + b"\n"
PARSED = 4  # time of ours ÷ curl's, where every line is parsed: a quarter of its throughput
UNPACKED = {"csv": 2.0, "json": 3.5}  # time of ours ÷ that of `zcat | curl`
FLAT_MEBIBYTES = 286  # 300 MB
CONNECTION = 30_000_000  # bytes a second
FILE_SIZE, IN_A_DELIVERY = 20_000, 5  # BatchSize of on_upload's event source
FOLDER = "landing/folder"

LONGEST = 1.25  # time of ours ÷ curl's: a throughput of 0.8
SIDE_BY_SIDE = 0.6
PATIENCE_SECONDS = 30
AEP_MS = 300  # that AEP lets a call wait
THOUSAND = 1000
MOST_TO_AEP = 4  # created, uploaded, completed, looked at
SIDE_BY_SIDE_GETS = 16  # as on_upload reads small files
IN_AN_UPLOAD = 5000  # small files, at most
MOST_PACKED = 1.5  # time of ours ÷ (bare GETs + one curl of the same bytes)
# Dollars a million small files: 4.50 to their end in AEP, less the 3.90 of their arrival.
MOST_DOLLARS = 0.60


@dataclass(frozen=True)
class Step:
    """What an invocation did: calls to AEP and to AWS by operation, and what they take."""

    name: str
    memory_mb: int
    disk_mb: int
    aep: Counter[str]
    aws: Counter[str]
    written: tuple[tuple[str, str], ...]
    seconds: float
    cpu: float
    logged: int
    peak: float

    def __add__(self, other: "Step") -> "Step":
        return Step(
            self.name,
            self.memory_mb,
            self.disk_mb,
            self.aep + other.aep,
            self.aws + other.aws,
            self.written + other.written,
            self.seconds + other.seconds,
            self.cpu + other.cpu,
            self.logged + other.logged,
            max(self.peak, other.peak),
        )

    @property
    def on_lambda(self) -> float:
        """Seconds that one such invocation would take, calls one after the other but many GETs."""
        gets = self.aws["S3 GET"]
        one_by_one = self.aws.total() - gets + max(1, gets / SIDE_BY_SIDE_GETS)
        waiting = AEP_MS * self.aep.total() + AWS_MS * one_by_one
        return prices.seconds(self.cpu, waiting, self.memory_mb)

    @property
    def price(self) -> float:
        """Dollars for a million such invocations."""
        return prices.invocation(self.on_lambda, self.memory_mb, self.disk_mb)


class Curl:
    """Somebody who fills batches with curl."""

    def __init__(self, platform: str) -> None:
        self._batches = f"{platform}/data/foundation/import/batches"
        self._session = requests.Session()
        self._session.trust_env = False
        form = {
            "grant_type": "client_credentials",
            "client_id": SEED.client_id,
            "client_secret": SEED.client_secret,
            "scope": ",".join(SEED.scopes),
        }
        token = self._session.post(f"{platform}/ims/token/v3", data=form, timeout=9).json()
        self._headers = {
            "Authorization": f"Bearer {token['access_token']}",
            "x-api-key": SEED.client_id,
            "x-gw-ims-org-id": SEED.ims_org,
            "x-sandbox-name": "prod",
        }

    def batch(self) -> str:
        """A new batch."""
        made = self._session.post(
            self._batches,
            json={"datasetId": LOYALTY, "inputFormat": UNCOUNTED},
            headers=self._headers,
            timeout=9,
        )
        made.raise_for_status()
        return str(made.json()["id"])

    def upload(self, file: Path, *, unpacked: bool = False) -> float:
        """Seconds that curl takes for it, by itself; or zcat and curl, one into the other."""
        url = f"{self._batches}/{self.batch()}/datasets/{LOYALTY}/files/curl.jsonl"
        # `Expect` would have curl wait for leave to begin.
        headers = self._headers | {"Content-Type": "application/octet-stream", "Expect": ""}
        config = "".join(f'header = "{name}: {value}"\n' for name, value in headers.items())
        curl = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--write-out"]
        with NamedTemporaryFile("w", suffix=".curl") as written:  # its input may be zcat's output
            written.write(config)
            written.flush()
            curl += ["%{time_total}", "--config", written.name]
            with ExitStack() as ending:
                source: int | IO[bytes] | None = subprocess.DEVNULL
                if unpacked:
                    zcat = subprocess.Popen(["zcat", str(file)], stdout=subprocess.PIPE)
                    source = ending.enter_context(zcat).stdout
                done = subprocess.run(
                    [*curl, "--upload-file", "-" if unpacked else str(file), url],
                    stdin=source,
                    capture_output=True,
                    text=True,
                    check=False,
                )
        if done.returncode:
            raise ChildFailed(f"curl: {done.stderr}")
        return float(done.stdout)


class Uploads:
    """What can be measured of deliveries, on a stack that delivers."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._stop()
        stack.publish_routes(_routes(stack.directory))
        stack.control("PATCH", "/switches", AT_ONCE)
        self._built = stack.directory / "delivering"
        copy_of_build(self._built)
        self._queues = Queues(stack.aws.sqs)
        self._urls = stack.outputs | {"MarkersQueueUrl": self._resource("MarkersQueue")}
        self._objects = Objects(lambda: stack.aws.s3)
        client, name = stack.aws.dynamodb, stack.outputs["LedgerTable"]
        self._orders = DynamoLedger(client, name, _now, retention_ms=60 * DAY)
        self._deliveries = DynamoDeliveries(Table(client, name), _now, retention_ms=60 * DAY)
        self._curl = Curl(stack.platform)
        self._environments: dict[str, dict[str, str]] = {}
        self._identities: dict[str, Aws] = {}
        self._sizes: dict[str, tuple[int, int]] = {}  # memory and /tmp, by module

    def _stop(self) -> None:
        """Nothing of the stack works by itself: messages wait for the workers that are measured."""
        aws = self._stack.aws
        for name in TAKING:
            mappings = aws.functions.list_event_source_mappings(
                FunctionName=self._stack.outputs[f"{name}Function"]
            )["EventSourceMappings"]
            for mapping in mappings:
                aws.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        aws.events.disable_rule(Name=self._resource("TickRule"))

    def _resource(self, logical_id: str) -> str:
        """The name, or the address, that a resource of the stack has."""
        found = self._stack.aws.cloudformation.describe_stack_resource(
            StackName=self._stack.name, LogicalResourceId=logical_id
        )
        return found["StackResourceDetail"]["PhysicalResourceId"]

    # Fast

    def one(self, runs: int) -> Section:
        """A file that goes up whole: ours beside curl, in turns, so that both meet the same noise.

        It goes up byte by byte, and unseen: what parsing its lines costs is another section's.
        curl reads the disk, and so does ours where the two are compared. The whole path begins in
        S3, which is MiniStack here: Python, with TLS.
        """
        file = self._file(LIMIT)
        disk, s3 = _on_disk(file), self._put("landing/large.jsonl", file)
        curls, ours, whole, reads = [], [], [], []
        with self._worker("OnUpload") as from_disk, self._worker("OnUpload") as from_s3:
            for turn in range(runs):
                if turn % 2:  # whoever comes first, the other is not favoured by it
                    curls.append(self._curl.upload(file))
                ours.append(self._uploaded(from_disk, disk, disk=True, as_it_is=True))
                if not turn % 2:
                    curls.append(self._curl.upload(file))
                whole.append(self._uploaded(from_s3, s3, as_it_is=True))
                reads.append(self._read(s3))
        mine, all_of_it = ([step.seconds for step in some] for some in (ours, whole))
        size = file.stat().st_size
        cpu = median(step.cpu for step in whole) / 1000
        return Section(
            f"A file of 256 MB in one upload, as it is, medians of {runs}",
            (
                Figure("curl, from disk", _rate(median(curls), size)),
                Figure("on_upload, from disk", _rate(median(mine), size)),
                Figure("on_upload, from MiniStack's S3", _rate(median(all_of_it), size)),
                Figure("MiniStack's S3, read and thrown away", _rate(median(reads), size)),
                _ratio("from disk: time of ours ÷ curl's", mine, curls, LONGEST),
                _ratio("from S3: time of ours ÷ curl's from disk", all_of_it, curls),
                Figure("peak memory of on_upload, from disk", _mebibytes(ours[-1].peak)),
                Figure("peak memory of on_upload, from S3", _mebibytes(whole[-1].peak)),
                Figure("its processor time, from S3", f"{cpu:.1f} s"),
            ),
        )

    def parsed(self, runs: int) -> Section:
        """A file of which each line is parsed as it goes up, beside curl."""
        file = self._rows("rows.jsonl", b"", JSON_ROW, LIMIT)
        curls, ours = [], []
        with self._worker("OnUpload") as worker:
            for _ in range(runs):
                curls.append(self._curl.upload(file))
                ours.append(self._uploaded(worker, _on_disk(file), disk=True))
        mine, size = [step.seconds for step in ours], file.stat().st_size
        return Section(
            f"256 MB of JSON Lines, 20 members and 400 bytes a row, from disk, medians of {runs}",
            (
                Figure("curl", _rate(median(curls), size)),
                Figure("on_upload, every line parsed", _rate(median(mine), size)),
                _ratio("time of ours ÷ curl's", mine, curls, PARSED),
                _peak(ours[-1]),
            ),
        )

    def unpacked(self, gigabytes: float) -> Section:
        """A gzip that is unpacked and checked as it goes up, in steps, beside `zcat | curl`."""
        size = int(gigabytes * GIGABYTE)
        figures = []
        for name, header, row in (("csv", CSV_HEADER, CSV_ROW), ("json", b"", JSON_ROW)):
            file = self._rows(f"large.{name}.gz", header, row, size)
            arrival, form = _on_disk(file), {"format": name}
            with self._switched(put_limit=2 * size):  # AEP would refuse so much in one stream
                curl = self._curl.upload(file, unpacked=True)
            with self._worker("OnUpload") as worker:
                steps = self._in_steps(worker, self._handed_out(arrival, None, form))
            ours = sum(step.seconds for step in steps)
            ratio = ours / curl
            figures += [
                Figure(f"{name}: zcat | curl", _rate(curl, size)),
                Figure(f"{name}: on_upload, {len(steps)} invocations", _rate(ours, size)),
                Figure(f"{name}: time of ours ÷ theirs", f"{ratio:.2f}", ratio, UNPACKED[name]),
                _peak(steps[-1]),
            ]
            file.unlink()
        return Section(f"A gzip of {gigabytes:g} GB unpacked, from disk", tuple(figures))

    def beside(self, gigabytes: float) -> Section:
        """A gzip that is unpacked in steps, and in each invocation as many others as it takes."""
        size = int(gigabytes * GIGABYTE)
        file, other = self._rows("large.csv.gz", CSV_HEADER, CSV_ROW, size), self._file(OTHER)
        steps, others = list[Step](), list[str]()
        with self._worker("OnUpload") as worker:
            external_id = self._handed_out(_on_disk(file), None, {"format": "csv"})
            while self._delivery(external_id).stage is not DeliveryStage.INGESTING:
                more = [self._handed_out(_on_disk(other), None) for _ in range(IN_A_DELIVERY - 1)]
                steps.append(self._invoke(worker, "on_upload", "UploadsQueueUrl", disk=True))
                others += more
            while any(self._delivery(o).stage is not DeliveryStage.INGESTING for o in others):
                self._invoke(worker, "on_upload", "UploadsQueueUrl", disk=True)
        file.unlink()
        ours, longest = sum(step.seconds for step in steps), max(step.seconds for step in steps)
        sent = size + OTHER * len(others)
        return Section(
            f"A gzip of {gigabytes:g} GB unpacked, others beside it, from disk",
            (
                Figure(f"on_upload, {len(steps)} invocations", _rate(ours, sent)),
                Figure("others of 64 MB beside it, all in their batches", f"{len(others):,}"),
                Figure("longest invocation", f"{longest:.1f} s"),
                _peak(max(steps, key=lambda step: step.peak)),
            ),
        )

    def _in_steps(self, worker: Runtime, external_id: str) -> list[Step]:
        """The invocations of a worker until an upload is over, which puts itself off in between."""
        steps = []
        while self._delivery(external_id).stage is not DeliveryStage.INGESTING:
            steps.append(self._invoke(worker, "on_upload", "UploadsQueueUrl", disk=True))
        return steps

    def _rows(self, name: str, header: bytes, row: bytes, size: int) -> Path:
        """A file of so many bytes at most; those of a gzip, unpacked."""
        path = self._stack.directory / name
        packed = path.suffix == ".gz"
        with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
            file.write(header)
            rows = size // len(row % 1)
            for first in range(0, rows, THOUSAND):
                file.write(b"".join(row % n for n in range(first, min(rows, first + THOUSAND))))
        return path

    def in_pieces(self, runs: int) -> Section:
        """A file that is cut: its pieces side by side, beside one stream that curl sends.

        Both from disk: MiniStack reads an object whole for every range of it, so that a worker's
        patience ends before its piece begins.
        """
        file = self._file(GIGABYTE)
        arrival = _on_disk(file)
        began = time.monotonic()
        *_, cuts = cutting(arrival, FORMAT, LIMIT, lambda start, end: _part(file, start, end))
        figures = [
            Figure("pieces", str(len(cuts.ends))),
            Figure("to find where to cut", f"{1000 * (time.monotonic() - began):.1f} ms"),
        ]
        with self._worker("OnUpload") as worker:
            for rate, times, most in ((None, runs, None), (CONNECTION, 1, SIDE_BY_SIDE)):
                curls, ours = [], []
                for _ in range(times):
                    # AEP itself would refuse so much in one stream.
                    with self._switched(put_limit=2 * GIGABYTE, connection_bytes_per_second=rate):
                        curls.append(self._curl.upload(file))
                    with self._switched(connection_bytes_per_second=rate):
                        ours.append(self._uploaded(worker, arrival, cuts, disk=True))
                how = f"{rate / 10**6:.0f} MB/s each" if rate else "no limit"
                mine = [step.seconds for step in ours]
                figures += [
                    Figure(f"{how}: one stream by curl", _rate(median(curls), GIGABYTE)),
                    Figure(f"{how}: side by side", _rate(median(mine), GIGABYTE)),
                    _ratio(f"{how}: side by side ÷ one stream", mine, curls, most),
                ]
        figures.append(Figure("peak memory of on_upload", _mebibytes(ours[-1].peak)))
        title = "A file of 1 GB in pieces, from disk, by what a connection carries"
        return Section(title, tuple(figures))

    def _uploaded(
        self,
        worker: Runtime,
        file: Arrival,
        cuts: Cut | None = None,
        *,
        disk: bool = False,
        as_it_is: bool = False,
    ) -> Step:
        """A batch of one file, filled in one invocation."""
        external_id = self._handed_out(file, cuts, AS_IT_IS if as_it_is else FORMAT)
        told = self._invoke(worker, "on_upload", "UploadsQueueUrl", disk=disk)
        if self._delivery(external_id).stage is not DeliveryStage.INGESTING:
            raise ChildFailed(f"{file.uri} did not go up\n{worker.tail()}")
        return told

    def _handed_out(
        self,
        file: Arrival,
        cuts: Cut | None,
        input_format: dict[str, Any] = FORMAT,
    ) -> str:
        """A delivery whose uploads wait in their queue; its external id."""
        cut_files = {0: cuts} if cuts else {}
        external_id = f"intake-{uuid.uuid4().hex}"
        target = Target(self._stack.secret_arn, SEED.ims_org, "prod", LOYALTY)
        # Of another version each time, as if it had come again.
        claimed = replace(file, version_id=external_id)
        order = Order(external_id, target, {"inputFormat": input_format}, (claimed,))
        self._orders.open(Record.opened(order, Lease(external_id, _now() + DAY), _now()))
        planned = pieces_and_runs((file,), cut_files, None)
        tasks = [Task.of(external_id, piece) for piece in planned]
        self._deliveries.start(
            Delivery(
                external_id,
                self._curl.batch(),
                target,
                input_format,
                None,
                file_count=1,
                byte_count=file.size,
                created_at=_now(),
                limit=LIMIT,
                whole=False,
                stage=DeliveryStage.UPLOADING,
                due=_now() + DAY,
                cuts=cut_files,
                total=len(tasks),
                demands=Demands(look_inside=False) if input_format is AS_IT_IS else Demands(),
            ),
            recorded=False,
        )
        self._queues.send(self._stack.outputs["UploadsQueueUrl"], map(records.members, tasks))
        return external_id

    def _read(self, file: Arrival) -> float:
        began = time.monotonic()
        with self._objects.opened(file, 0, file.size) as stream:
            while stream.read(2**18):
                pass
        return time.monotonic() - began

    @contextmanager
    def _switched(self, **positions: object) -> Iterator[None]:
        before = self._stack.control("GET", "/switches")
        self._stack.control("PATCH", "/switches", positions)
        yield
        self._stack.control("PATCH", "/switches", {name: before[name] for name in positions})

    # Counted

    def counted(self, files: int) -> list[Section]:
        """A batch of so many small files; one of one file; and what these cost."""
        with ExitStack() as cleanup:
            workers = {name: cleanup.enter_context(self._worker(name)) for name in TAKING}
            for name in ("warms-up", "warm"):
                self._put_bytes(f"landing/loyalty/{name}.jsonl", ROW % 1)
                steps = self._delivered(workers)
            rows = ROW % 1 * (FILE_SIZE // len(ROW % 1))
            keys = [f"{FOLDER}/{number:05}.jsonl" for number in range(files)]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda key: self._put_bytes(key, rows), keys))
            self._emptied("ArrivalsQueueUrl", files)
            # Before and after, as other work on the machine comes and goes.
            before, curl = self._bare(keys), self._curl.upload(self._same_bytes(rows, files))
            self._put_bytes(f"{FOLDER}/_SUCCESS", b"")
            packed = self._delivered(workers, gathered=True)
            bare = (before + self._bare(keys)) / 2, curl
        return [
            _packed(packed, files, bare),
            _bill_packed(packed, files),
            _calls(steps),
            _bill(steps),
        ]

    def _bare(self, keys: list[str]) -> float:
        """Seconds that boto3 takes to get them, sixteen at a time, with the rights of on_upload."""
        bucket, s3 = self._stack.outputs["LandingBucketName"], self._identities["OnUpload"].s3
        began = time.monotonic()
        with ThreadPoolExecutor(SIDE_BY_SIDE_GETS) as pool:
            list(pool.map(lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys))
        return time.monotonic() - began

    def _same_bytes(self, rows: bytes, files: int) -> Path:
        path = self._stack.directory / "packed.jsonl"
        with path.open("wb") as file:
            for _ in range(files):
                file.write(rows)
        return path

    def _delivered(self, workers: dict[str, Runtime], *, gathered: bool = False) -> list[Step]:
        """From the one arrival that waits to the end of its batch, step by step.

        `gathered`: it is a marker, which is handed on, and the order of what it gathered comes by
        the due queue.
        """
        steps = [self._invoke(workers["OnArrival"], "on_arrival", "ArrivalsQueueUrl")]
        if gathered:
            marker = self._invoke(workers["OnMarker"], "on_marker", "MarkersQueueUrl", weighs=False)
            steps.append(marker)
            steps.append(self._invoke(workers["OnDue"], "on_due", "DueQueueUrl"))
        external_id = self._external_id()
        steps.append(self._invoke(workers["OnDelivery"], "on_delivery", "DeliveriesQueueUrl"))
        uploads = [
            self._invoke(workers["OnUpload"], "on_upload", "UploadsQueueUrl")
            for _ in range(0, self._delivery(external_id).total, IN_A_DELIVERY)
        ]
        steps.append(sum(uploads[1:], uploads[0]))
        delivery = self._delivery(external_id)
        time.sleep(max(0, (delivery.due or 0) - _now()) / 1000)
        # As on_tick does, which finds it in the index of what is due.
        self._queues.enqueue(
            self._stack.outputs["DeliveriesQueueUrl"], DueKind.DELIVERIES, [external_id]
        )
        steps.append(self._invoke(workers["OnDelivery"], "on_delivery", "DeliveriesQueueUrl"))
        delivery = self._delivery(external_id)
        if not (delivery.verdict and delivery.verdict.end is End.SUCCEEDED):
            raise ChildFailed(f"{external_id} was not delivered\n{workers['OnDelivery'].tail()}")
        return steps

    def _delivery(self, external_id: str) -> Delivery:
        delivery = self._deliveries.get(external_id)
        if delivery is None:
            raise ChildFailed(f"the ledger knows no delivery of {external_id}")
        return delivery

    def _external_id(self) -> str:
        """Of the batch that was made last."""
        return str(self._stack.control("GET", "/batches")[-1]["externalId"])

    # Workers, queues and objects

    @contextmanager
    def _worker(self, name: str) -> Iterator[Runtime]:
        stack = self._stack
        made = function(stack, name, self._built).with_probe()
        self._sizes[made.handler.partition(".")[0]] = made.memory_mb, made.disk_mb
        if name not in self._environments:
            self._identities[name] = stack.identity(f"uploads-{name}", list(made.statements))
            identity = self._identities[name].identity
            self._environments[name] = variables(made, stack, identity)
        log = stack.directory / f"uploads-{uuid.uuid4().hex}.log"
        env = self._environments[name]
        with Runtime(made, env=env, log=log, handler="scales.handler") as worker:
            yield worker

    def _invoke(
        self, worker: Runtime, module: str, queue: str, *, disk: bool = False, weighs: bool = True
    ) -> Step:
        """Give a worker what waits in a queue, as its event source does.

        `weighs`: whether its writes are wanted.
        """
        url = self._urls[queue]
        messages = self._received(url)
        event = {
            "module": module,
            "event": {"Records": [_record(message) for message in messages]},
            "import": ["from_disk"] if disk else [],
            "weighs": weighs,
        }
        self._stack.control("DELETE", "/requests")
        told = worker.invoke(event)
        asked = self._stack.control("GET", "/requests")
        if told["answer"] and told["answer"]["batchItemFailures"]:
            raise ChildFailed(f"{module} put something off\n{worker.tail()}")
        self._delete(url, messages)
        aws: Counter[str] = Counter()
        for call, times in told["calls"].items():
            if " /" not in call:  # a path alone is Adobe's
                aws[_operation(call)] += times
        return Step(
            module,
            *self._sizes[module],
            Counter(request["operation"] for request in asked),
            aws,
            tuple(map(tuple, told["written"])),
            told["ms"] / 1000,
            told["cpu"],
            told["logged"],
            told["peak"],
        )

    def _received(self, url: str) -> list[Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self._stack.aws.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=IN_A_DELIVERY,
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["All"],
            )
            if found := answer.get("Messages"):
                return list(found)
        raise ChildFailed(f"nothing came to {url}")

    def _delete(self, url: str, messages: list[Any]) -> None:
        entries: Any = [
            {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
            for n, message in enumerate(messages)
        ]
        self._stack.aws.sqs.delete_message_batch(QueueUrl=url, Entries=entries)

    def _emptied(self, queue: str, number: int) -> None:
        """Throw away so many messages of a queue."""
        url = self._urls[queue]
        while number > 0:
            messages = self._received(url)
            self._delete(url, messages)
            number -= len(messages)

    def _file(self, size: int) -> Path:
        """JSON Lines of at most so many bytes, rows of a kilobyte."""
        path = self._stack.directory / f"{size}.jsonl"
        with path.open("wb") as file:
            for number in range(size // len(ROW % 0)):
                file.write(ROW % number)
        return path

    def _put(self, key: str, file: Path) -> Arrival:
        """The object that a file becomes, as if it had arrived; its event is thrown away."""
        bucket = self._stack.outputs["LandingBucketName"]
        with file.open("rb") as body:
            self._stack.aws.s3.put_object(Bucket=bucket, Key=key, Body=body)
        self._emptied("ArrivalsQueueUrl", 1)
        return self._objects.arrival(bucket, key)

    def _put_bytes(self, key: str, body: bytes) -> None:
        bucket = self._stack.outputs["LandingBucketName"]
        self._stack.aws.s3.put_object(Bucket=bucket, Key=key, Body=body)


# What is told of it


def _packed(steps: list[Step], files: int, bare: tuple[float, float]) -> Section:
    """`bare`: seconds of the GETs alone, and of curl."""
    whats = ("its marker", "its folder", "its order", "handing out", "uploads, COMPLETE", "its end")
    aep, aws = _together(steps)
    uploads, (gets, curl) = steps[4], bare
    least = -(-files // IN_AN_UPLOAD)
    limits = {"create": 1, "put-file": least, "complete": 1}
    read = uploads.aws["S3 GET"] / files
    ratio = uploads.seconds / (gets + curl)
    written = uploads.aws["PutItem"] + uploads.aws["UpdateItem"]
    return Section(
        f"A batch of {files:,} files of {FILE_SIZE // 1000} KB, one worker",
        (
            *(
                Figure(f"{what} ({step.name})", f"{step.seconds:.1f} s")
                for what, step in zip(whats, steps, strict=True)
            ),
            Figure(
                f"bare GETs, {SIDE_BY_SIDE_GETS} at a time; curl", f"{gets:.1f} s; {curl:.1f} s"
            ),
            Figure("uploads ÷ (bare GETs + curl)", f"{ratio:.2f}", ratio, MOST_PACKED),
            *(
                Figure(f"AEP: {name}", f"{aep[name]:,}", aep[name], limits.get(name))
                for name in [*limits, *sorted(set(aep) - set(limits))]
            ),
            Figure("on_upload: GETs a file", f"{read:.4f}", read, 1 + 10 / files),
            Figure("on_upload: writes to the ledger", f"{written}", written, 10),
            *(Figure(f"AWS: {name}", f"{times:,}") for name, times in sorted(aws.items())),
            *(
                Figure(f"peak memory of {name}", _mebibytes(peak))
                for name, peak in {step.name: step.peak for step in steps}.items()
            ),
        ),
    )


def _bill_packed(steps: list[Step], files: int) -> Section:
    """What small files cost from the event that they have a batch to its end in AEP."""
    delivering, meter = steps[3:], prices.Meter()
    writes = sum(meter.units(step.written) for step in delivering)
    aws = sum(delivering[1:], delivering[0]).aws
    gets, puts = aws["S3 GET"], aws["S3 PUT"]
    seconds = sum(step.on_lambda for step in delivering)
    # As of one file, but for its arrival.
    requests_to_queues = 3 * len(delivering) + 1
    lines = {
        "Batch Succeeded": prices.EVENT,
        f"queues, {requests_to_queues} requests": requests_to_queues * prices.QUEUE_REQUEST,
        f"Lambda, {len(delivering)} invocations, {seconds:.1f} s": (
            sum(step.price for step in delivering)
        ),
        f"ledger, {writes} write units": writes * prices.WRITE_UNIT,
        f"S3, {gets:,} GET, {puts} PUT": gets * prices.OBJECT_READ + puts * prices.OBJECT,
        "logs, traces, at most": len(delivering)
        * (prices.TRACE + (PLATFORM_LOG + THOUSAND) / 1000 * prices.LOG_GIGABYTE),
    }
    total = sum(lines.values()) / files
    return Section(
        f"A million such files, {files:,} to a batch, from then on to their end, in US dollars",
        (
            *(Figure(name, f"{each / files:.3f}") for name, each in lines.items()),
            Figure("together", f"{total:.2f}", total, MOST_DOLLARS),
            Figure("on_upload: processor time a file", f"{delivering[1].cpu / files:.2f} ms"),
        ),
    )


def _calls(steps: list[Step]) -> Section:
    figures = [
        Figure(f"{step.name}, {whose}", ", ".join(f"{n} {name}" for name, n in calls.items()))
        for step in steps
        for whose, calls in (("AEP", step.aep), ("AWS", step.aws))
        if calls
    ]
    aep, aws = (calls.total() for calls in _together(steps))
    figures += [
        Figure("together, AEP", str(aep), aep, MOST_TO_AEP),
        Figure("together, AWS", str(aws)),
    ]
    return Section("Calls of one delivered batch of one file, warm", tuple(figures))


def _together(steps: list[Step]) -> tuple[Counter[str], Counter[str]]:
    """The calls to AEP, and those to AWS."""
    whole = sum(steps[1:], steps[0])
    return whole.aep, whole.aws


def _bill(steps: list[Step]) -> Section:
    """What a thousand batches of one file cost where none shares an invocation with another."""
    meter = prices.Meter()
    units = [meter.units(step.written) for step in steps]
    writes = sum(units)
    _, aws = _together(steps)
    reads = aws["GetItem"] + aws["Query"]  # each of less than 4 KB
    gets = aws["S3 GET"]
    seconds = sum(step.on_lambda for step in steps)
    number = len(steps)
    logged = sum(step.logged for step in steps) + number * PLATFORM_LOG
    # Sent, received and deleted: an arrival, the batch created, an upload, what is due. On_upload
    # also hides its message.
    requests_to_queues = 3 * number + 1
    lines = {
        "events: S3's, Batch Created, Batch Succeeded": 3 * prices.EVENT,
        f"queues, {requests_to_queues} requests": requests_to_queues * prices.QUEUE_REQUEST,
        f"Lambda, {number} invocations, {seconds:.2f} s": (sum(step.price for step in steps)),
        f"ledger, {writes} write and {reads} read units": (
            writes * prices.WRITE_UNIT + reads * prices.READ_UNIT
        ),
        f"S3, {gets} GET": gets * prices.OBJECT_READ,
        f"logs, {logged:,} bytes": logged / 1000 * prices.LOG_GIGABYTE,
        "traces, at most": number * prices.TRACE,
    }
    total = sum(lines.values())
    return Section(
        "A thousand delivered batches of one file, each by itself, in US dollars",
        (
            *(Figure(name, f"{each / THOUSAND:.4f}") for name, each in lines.items()),
            Figure("together", f"{total / THOUSAND:.4f}"),
            *(
                Figure(f"{step.name}: processor time, write units", f"{step.cpu:.0f} ms, {each}")
                for step, each in zip(steps, units, strict=True)
            ),
        ),
    )


def _operation(call: str) -> str:
    """`DynamoDB_20120810.GetItem` and such by their name; S3's have none but their method."""
    return f"S3 {call.partition(' ')[0]}" if " " in call else call.rpartition(".")[2]


def _record(message: Any) -> dict[str, Any]:
    template = json.loads((ROOT / "events" / "sqs-delivery.json").read_text("utf-8"))
    record: dict[str, Any] = template["Records"][0]
    return record | {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
    }


def _part(file: Path, start: int, end: int) -> IO[bytes]:
    with file.open("rb") as stream:
        stream.seek(start)
        return BytesIO(stream.read(end - start))


def _on_disk(file: Path) -> Arrival:
    size = file.stat().st_size
    return Arrival("disk", str(file), "v1", "etag", None, size, _now())


def _routes(directory: Path) -> Path:
    """The samples' table, and a folder of JSON Lines that a marker ends; where it is written."""
    table = json.loads((ROOT / "local" / "samples" / "routes.json").read_text("utf-8"))
    table["routes"].append(
        {
            "name": "folder",
            "match": f"{FOLDER}/*",
            "datasetName": "loyalty",
            "inputFormat": FORMAT,
            "batch": {"marker": "_SUCCESS"},
        }
    )
    path = directory / "uploads.json"
    path.write_text(json.dumps(table), "utf-8")
    return path


def _rate(seconds: float, size: int) -> str:
    return f"{seconds:.2f} s, {size / seconds / 10**6:.0f} MB/s"


def _peak(step: Step) -> Figure:
    shown = _mebibytes(step.peak)
    return Figure("peak memory of on_upload", shown, step.peak, FLAT_MEBIBYTES)


def _ratio(name: str, ours: list[float], theirs: list[float], most: float | None = None) -> Figure:
    """The median of the turns' ratios: other work on the machine comes and goes between turns."""
    ratio = median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return Figure(name, f"{ratio:.2f}", ratio, most)


def _mebibytes(number: float) -> str:
    return f"{number:.0f} MiB"


def _now() -> int:
    return time.time_ns() // 1_000_000
