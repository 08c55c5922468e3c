"""The handler of requests as it is deployed: only what lies outside the process is replaced.

AEP and IMS are the simulator, the bus and Secrets Manager take note, S3 is botocore's own client
answered below its parser, and the ledger is the one in memory.
"""

import copy
import importlib
import io
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock, patch
from urllib.parse import unquote, urlsplit

import boto3
import requests
from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.aws.eventbridge import Announcer
from aep_intake.adapters.aws.s3 import Objects
from aep_intake.adapters.aws.upload_urls import UploadUrls
from aep_intake.clock.parking import Parking
from aep_intake.create.pace import Pace
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.model.progress import Record
from aep_intake.routing import routes
from aep_intake.settings import Settings
from aep_intake.wiring.request import Requesting
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from jsonschema import Draft202012Validator

from local.simulator import Clock, Simulator, mount, seed_defaults
from local.simulator.seed import Seed
from local.simulator.simulator import Received
from tests.adobe_world import own_shape
from tests.builders import parquet_of
from tests.memory_ledger import MemoryBuckets, MemoryLedger, MemoryParked

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery

EVENTS = Path(__file__).parents[1] / "events"
POST = json.loads((EVENTS / "api-post-batches.json").read_text("utf-8"))
GET = json.loads((EVENTS / "api-get-batch.json").read_text("utf-8"))
SCHEMAS = {
    "Batch Created": "batch-created.schema.json",
    "Arrival Rejected": "arrival-rejected.schema.json",
}

START = 1_795_000_000_000
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-AbCdEf"
OTHER_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-emea-AbCdEf"
ORGANIZATIONS = Organizations(
    (Organization(ARN, ("prod", "dev")), Organization(OTHER_ARN, ("prod", "dev")))
)
OTHER_ORG = Seed(
    client_id="0ther5a1e7b4d0f9a3e8d2b6c417f05",
    client_secret="p8e-simulated-secret-two",
    ims_org="1234567890ABCDEF12345678@AdobeOrg",
)


@dataclass(frozen=True)
class Answer:
    """What API Gateway would send."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def reason(self) -> str:
        """Of a problem: the last part of its type."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.body["status"] == self.status
        reason: str = self.body["type"].removeprefix("urn:aep-intake:problem:")
        return reason


@dataclass
class Stored:
    """An object in S3. `status`: an error to answer instead, and its `code`."""

    size: int = 10
    version_id: str | None = "v1"
    etag: str = "e1"
    status: int = 200
    code: str = "AccessDenied"
    # None: as many bytes of what its name says; else `size` is of no meaning.
    content: bytes | None = None

    def bytes_of(self, key: str) -> bytes:
        """What is in it."""
        if self.content is not None:
            return self.content
        start = b"a,b\n1,2\n" if ".csv" in key.lower() else b"{}\n"
        return parquet_of(2) if ".parquet" in key else start.ljust(self.size, b"\n")[: self.size]


@dataclass
class Bucket:
    """S3's answers to HeadObject, by `bucket/key`, each once it has done what it does `meanwhile`.

    Why it was refused, which a HEAD cannot tell, a GET does.
    """

    objects: dict[str, Stored] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None
    at_once: int = 0
    most_at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def head(self, request: AWSRequest, **_: Any) -> AWSResponse:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.meanwhile()
        with self._lock:
            self.at_once -= 1
        place = unquote(urlsplit(request.url).path).removeprefix("/")
        self.asked.append(place)
        found = self.objects.get(place, Stored(status=404))
        headers = {
            "Content-Length": str(len(found.bytes_of(place))),
            "ETag": f'"{found.etag}"',
            "Last-Modified": "Mon, 23 Nov 2026 15:04:05 GMT",
        }
        if found.version_id is not None:
            headers["x-amz-version-id"] = found.version_id
        if found.status != 200:
            headers = {"Content-Length": "0"}
        raw: Any = io.BytesIO(b"")
        raw.stream = lambda **_: iter([b""])
        return AWSResponse(str(request.url), found.status, HTTPHeaders.from_dict(headers), raw)

    def get(self, request: AWSRequest, **_: Any) -> AWSResponse:
        place = unquote(urlsplit(request.url).path).removeprefix("/")
        found = self.objects[place]
        told = f"<Error><Code>{found.code}</Code><Message/></Error>".encode()
        if found.status == 200:
            first, last = re.findall(r"\d+", str(request.headers["Range"]))
            told = found.bytes_of(place)[int(first) : int(last) + 1]
        raw: Any = io.BytesIO(told)
        raw.stream = lambda **_: iter([told])
        span = {"Content-Range": "bytes"} if found.status == 200 else {}
        headers = HTTPHeaders.from_dict({"Content-Length": str(len(told)), **span})
        return AWSResponse(str(request.url), found.status, headers, raw)

    @cached_property
    def client(self) -> Any:
        """One for all, as a worker has it: to make one takes as long as many questions."""
        client = boto3.client(
            "s3",
            region_name="eu-west-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
            endpoint_url="https://s3.simulated",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        client.meta.events.register("before-send.s3.HeadObject", cast("Any", self.head))
        client.meta.events.register("before-send.s3.GetObject", cast("Any", self.get))
        return client


@dataclass
class Bus:
    """The event bus; what it took is valid. `full`: it takes nothing."""

    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    full: bool = False
    meta: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(partition="aws"))

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        if self.full:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
        for entry in Entries:
            detail = json.loads(entry["Detail"])
            schema = json.loads((EVENTS / SCHEMAS[entry["DetailType"]]).read_text("utf-8"))
            Draft202012Validator(schema).validate(detail)
            self.taken.append((entry["DetailType"], detail))
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}


class Secrets:
    """Secrets Manager, with one secret for each organization."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self.documents = documents

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:
        return {"ARN": SecretId, "SecretString": json.dumps(self.documents[SecretId])}


class Sts:
    """STS: sessions of a role, with names that tell them apart. `refuses`: it gives none."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refuses = False

    def assume_role(self, **asked: Any) -> dict[str, Any]:
        if self.refuses:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole")
        self.taken.append(asked)
        number = len(self.taken)
        session = {"AccessKeyId": f"ASIA{number}", "SecretAccessKey": "s", "SessionToken": "t"}
        return {"Credentials": session}


class Context:
    """Lambda's, as far as anybody looks at it."""

    function_name = "on-request"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:on-request"
    aws_request_id = "3e7b7d6a-1f0c-4a4e-9b0e-2f1f6d0c8a11"
    tenant_id = None

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


def _never(seconds: float) -> None:
    raise AssertionError(f"a request waits for {seconds} s")


class Api:
    """The deployed API with all that is behind it, on a clock that stands."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = {
            **environment,
            "SOURCE_BUCKETS": "landing,acme-landing",
        }
        self.clock = Clock(START)
        self.simulator = Simulator(self.clock)
        self.seed = seed_defaults(self.simulator)
        seed_defaults(self.simulator, OTHER_ORG)
        self.simulator.add_sandbox(self.seed.ims_org, "secret")  # there, but not allowed
        self.bucket, self.bus = Bucket(), Bus()
        self.sts = Sts()
        self.routes: list[dict[str, Any]] = []
        self.conflict = False
        self.ledger = MemoryLedger(lambda: self.conflict)
        self.deliveries: dict[str, Delivery] = {}
        self.parked = MemoryParked()
        with patch.dict(os.environ, self.environment):
            self.function: ModuleType = importlib.import_module("on_request")
            self.worker = Requesting(Settings.of("on_request"))
        session = requests.Session()
        mount(session, self.simulator)
        secrets: Any = Secrets({ARN: own_shape(self.seed), OTHER_ARN: own_shape(OTHER_ORG)})
        self.buckets = MemoryBuckets()
        replaced = {
            "now": self.clock,
            "pace": Pace(self.buckets, lambda _: 1000, self.clock, _never),
            "_https": session,
            "credentials": Credentials(secrets, session, self.worker.settings.ims_url, self.clock),
            "organizations": SimpleNamespace(current=lambda: ORGANIZATIONS),
            "ledger": self.ledger,
            "parking": Parking(self.parked, Mock()),
            "deliveries": self.deliveries,  # only ever asked for one by its id
            "tables": SimpleNamespace(
                current=lambda: routes.parse(json.dumps({"routes": self.routes}), "7")
            ),
            "upload_urls": UploadUrls(
                cast("Any", self.sts),
                self.worker._s3_for_uploads,
                self.worker.settings.landing_role,
                self.clock,
            ),
            "objects": Objects(lambda: self.bucket.client),
            "announcer": Announcer(
                cast("Any", self.bus), lambda: self.bucket.client, bus="bus", state_bucket="state"
            ),
        }
        self.worker.__dict__.update(replaced)
        self.function.__dict__["worker"] = self.worker
        telemetry = importlib.import_module("aep_intake.report.telemetry")
        # Made when first imported, perhaps by a test that has no environment for it.
        telemetry.metrics.namespace = environment["POWERTOOLS_METRICS_NAMESPACE"]
        telemetry.metrics.service = environment["POWERTOOLS_SERVICE_NAME"]

    def send(self, event: Mapping[str, Any]) -> Answer:
        """What the handler answers, as API Gateway demands it."""
        with patch.dict(os.environ, self.environment):
            told = self.function.handler(json.loads(json.dumps(event)), Context())
        assert told.keys() == {"statusCode", "headers", "body"}
        for name, value in told["headers"].items():
            assert isinstance(value, str)
            assert all(" " <= c <= "~" for c in name + value), (name, value)
        return Answer(told["statusCode"], told["headers"], json.loads(told["body"]))

    def post(
        self,
        body: object,
        headers: Mapping[str, str] | None = None,
        user: str = "arn:aws:iam::123456789012:user/ann",
        **changes: Any,
    ) -> Answer:
        """POST /batches; a body that is not text is sent as JSON."""
        event = copy.deepcopy(POST)
        given = {"Content-Type": "application/json", **(headers or {})}
        event["headers"] = given
        event["multiValueHeaders"] = {name: [value] for name, value in given.items()}
        event["body"] = body if isinstance(body, str) else json.dumps(body)
        event["requestContext"]["identity"]["userArn"] = user
        return self.send(event | changes)

    def upload(self, body: object, **changes: Any) -> Answer:
        """POST /uploads; a body that is not text is sent as JSON."""
        event = copy.deepcopy(POST)
        event["requestContext"]["path"] = "/v1/uploads"
        text = body if isinstance(body, str) else json.dumps(body)
        return self.send(event | {"resource": "/uploads", "body": text} | changes)

    def get(self, wanted: str) -> Answer:
        """GET /batches/{id}."""
        event = copy.deepcopy(GET)
        return self.send(event | {"pathParameters": {"id": wanted}})

    def try_anew(self, wanted: str, body: object = None) -> Answer:
        """POST /batches/{id}/attempts."""
        event = copy.deepcopy(POST)
        event["requestContext"]["path"] = f"/v1/batches/{wanted}/attempts"
        about = {"resource": "/batches/{id}/attempts", "pathParameters": {"id": wanted}}
        return self.send(event | about | {"body": body and json.dumps(body)})

    def record(self, external_id: str) -> Record:
        """What the ledger holds of an order."""
        record = self.ledger.get(external_id)
        assert record is not None
        return record

    def created(self) -> list[Received]:
        """The POSTs that AEP received."""
        return [r for r in self.simulator.received if r.operation == "create"]
