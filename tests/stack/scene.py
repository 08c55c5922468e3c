"""An intake of a test's own on the session's MiniStack, with its own Adobe.

A test that revokes tokens, kills workers or takes permissions away disturbs nobody else.
"""

import copy
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aep_intake.report.events import encoded
from aep_intake_cli.documents import ROUTES_IDS, PublishedDocument
from jsonschema import Draft202012Validator

from local.aws import Aws
from local.bus import Event, Listener
from local.simulator import Simulator, seed_defaults
from local.simulator.app import running
from local.simulator.simulator import Received
from local.stack import ROOT, LocalStack, Parked

_ROUTES = json.loads((ROOT / "local" / "samples" / "routes.json").read_bytes())
# Those of the samples that a stack takes, too, which delivers no batches and so maps nothing.
SAMPLES = json.dumps(
    _ROUTES | {"routes": [route for route in _ROUTES["routes"] if "map" not in route]}
).encode()
EVENTS = ROOT / "events"


def unseen(table: bytes) -> dict[str, Any]:
    """A routing table that looks at no object, for events of objects that are not there."""
    routes: dict[str, Any] = json.loads(table)
    for route in routes["routes"]:
        if "ignore" not in route:
            route["lookInside"] = False
            for member in ("minRows", "badRows"):
                route.pop(member, None)
    return routes


# Seconds, for what must happen: how fast it does is for `make bench`, not for a test, to say.
PATIENCE = 400
DESCRIBED = {
    "Batch Created": "batch-created",
    "Arrival Rejected": "arrival-rejected",
    "Batch Succeeded": "batch-ended",
    "Batch Failed": "batch-ended",
    "Batch Abandoned": "batch-ended",
    "Batch Replaced": "batch-ended",
    "Route Overdue": "route-expected",
    "Route Resumed": "route-expected",
}
SCHEMAS = {
    kind: Draft202012Validator(json.loads((EVENTS / f"{name}.schema.json").read_text("utf-8")))
    for kind, name in DESCRIBED.items()
}
ENDS = {kind for kind, name in DESCRIBED.items() if name == "batch-ended"}
# A tick asks the ledger sixty times, and takes a third of a second of a core. Where a test waits
# for what only ticks bring about, one comes as soon as something is due, and for all else (a pause
# that ends, a feed that did not come) still faster than once a minute.
TICK_SECONDS = 2.0
IDLE_TICK_SECONDS = 10.0
# All that any scene has heard, for the search for secrets.
HEARD: list[Event] = []
_deploying = threading.Lock()


def heard(event: Event) -> None:
    """For a listener: it fails whoever waits for an event if one breaks the contract."""
    HEARD.append(event)
    keeps_the_contract(event)


def keeps_the_contract(event: Event) -> None:
    """Every event is of a kind that events/ describes, as described, and small enough for all."""
    assert event["source"] == "aep.intake"
    SCHEMAS[event["detail-type"]].validate(event["detail"])
    assert len(encoded(event["detail"])) <= 240_000


def sample(name: str) -> Any:
    """One of the payloads in events/."""
    return json.loads((EVENTS / f"{name}.json").read_text("utf-8"))


def until[T](what: Callable[[], T], why: str = "") -> T:
    """What `what` gives once that is true; the longer it takes, the more seldom that is asked."""
    deadline, pause = time.monotonic() + PATIENCE, 0.05
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {why or what}"
        time.sleep(pause)
        pause = min(0.5, pause * 1.3)
    return found


@dataclass(frozen=True)
class Scene:
    """A deployed stack and the Adobe it talks to, in this very process."""

    stack: LocalStack
    aep: Simulator

    @property
    def aws(self) -> Aws:
        """Whoever may do everything."""
        return self.stack.aws

    @property
    def outputs(self) -> dict[str, str]:
        return self.stack.outputs

    @property
    def bucket(self) -> str:
        return self.outputs["SourceBuckets"]

    # What a test does

    def put(self, key: str, body: bytes = b"{}\n") -> None:
        self.aws.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def send(self, body: str) -> str:
        """A message into the queue of arrivals, as S3, SNS or EventBridge would; returns it."""
        self.aws.sqs.send_message(QueueUrl=self.outputs["ArrivalsQueueUrl"], MessageBody=body)
        return body

    def object_created(self, key: str, **members: Any) -> str:
        """An event of S3's, of an object that need not be there."""
        event = sample("eventbridge-object-created")
        event["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event["detail"]["bucket"]["name"] = self.bucket
        event["detail"]["object"] |= {"key": key, **members}
        return json.dumps(event, ensure_ascii=False)

    def notification(self, *records: Mapping[str, Any]) -> str:
        """S3's own notification of objects in this bucket: keys as they come, URL-encoded."""
        [*_, first] = sample("s3-notification")["Records"][:1]
        made = []
        for members in records:
            record = copy.deepcopy(first)
            record["eventTime"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            record["s3"]["bucket"]["name"] = self.bucket
            record["s3"]["object"] |= members
            made.append(record)
        return json.dumps({"Records": made})

    def publish(self, table: bytes) -> None:
        """Make a routing table live."""
        ids = (self.outputs[name] for name in ROUTES_IDS)
        PublishedDocument(self.aws.appconfig, *ids).publish(table, lambda _: [])

    def workers(self) -> list[tuple[int, str]]:
        """Process and function (output) of every worker of this stack."""
        marks = {
            f"{self.stack.directory}/ministack-lambda-{function}-": output
            for output, function in self.outputs.items()
            if output.endswith("Function")
        }
        return [
            (pid, output)
            for pid, command in _processes()
            for mark, output in marks.items()
            if mark in command
        ]

    def kill(self, output: str) -> int:
        """SIGKILL to every worker of a function; how many there were."""
        workers = [pid for pid, function in self.workers() if function == output]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        return len(workers)

    def tick(self) -> None:
        """What the rule invokes once a minute, now."""
        self.aws.functions.invoke(FunctionName=self.outputs["OnTickFunction"], Payload=b"{}")

    def until_ticked[T](
        self, what: Callable[[], T], why: str = "", *, seconds: float = TICK_SECONDS
    ) -> T:
        """What `what` gives once that is true; until then, what is due is handed out.

        seconds: from one look for it to the next.
        """
        clock, next_look = Clock(self), time.monotonic()

        def looked() -> T:
            nonlocal next_look
            found = what()
            if not found and time.monotonic() >= next_look:
                clock.look()
                next_look = time.monotonic() + seconds
            return found

        return until(looked, why)

    @contextmanager
    def ticking(self, seconds: float) -> Iterator[None]:
        """While this lasts, a tick comes every so many seconds if something is due."""
        over, clock = threading.Event(), Clock(self)

        def tick() -> None:
            while not over.wait(seconds):
                clock.look()

        with ThreadPoolExecutor(1) as ticker:
            ticks = ticker.submit(tick)
            try:
                yield
            finally:
                over.set()
            ticks.result()

    @contextmanager
    def arrivals_waiting(self) -> Iterator[None]:
        """What arrives meanwhile waits in the queue; what came before is done."""
        self.quiet()
        functions, feeds = self.aws.functions, self.outputs["OnArrivalFunction"]
        [mapping] = functions.list_event_source_mappings(FunctionName=feeds)["EventSourceMappings"]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    @contextmanager
    def without(self, sid: str, *roles: str) -> Iterator[None]:
        """Statement `sid` is missing from the roles, meanwhile."""
        before = []
        for role in roles:
            physical = self.resource(role)
            [name] = self.aws.iam.list_role_policies(RoleName=physical)["PolicyNames"]
            document: Any = self.aws.iam.get_role_policy(RoleName=physical, PolicyName=name)
            policy = document["PolicyDocument"]
            kept = [each for each in policy["Statement"] if each["Sid"] != sid]
            assert len(kept) == len(policy["Statement"]) - 1
            before.append((physical, name, json.dumps(policy)))
            self.aws.iam.put_role_policy(
                RoleName=physical,
                PolicyName=name,
                PolicyDocument=json.dumps(policy | {"Statement": kept}),
            )
        try:
            yield
        finally:
            for physical, name, whole in before:
                self.aws.iam.put_role_policy(
                    RoleName=physical, PolicyName=name, PolicyDocument=whole
                )

    def resource(self, logical: str) -> str:
        """The physical id of one of the stack's resources."""
        told = self.aws.cloudformation.describe_stack_resource(
            StackName=self.stack.name, LogicalResourceId=logical
        )
        return told["StackResourceDetail"]["PhysicalResourceId"]

    # What a test sees

    def about(self, key: str, *, kind: str = "Batch Created") -> Any:
        """The detail of the event about an object."""

        def wanted(event: Event) -> bool:
            files = event["detail"].get("files", [])
            return event["detail-type"] == kind and any(file["key"] == key for file in files)

        return self.stack.listener.wait(wanted, timeout=PATIENCE)[-1]["detail"]

    def details(self, kind: str) -> list[dict[str, Any]]:
        """The details of all events of a kind so far."""
        return [e["detail"] for e in self.stack.listener.events() if e["detail-type"] == kind]

    def quiet(self) -> None:
        """Wait until nothing is in the arrivals queue, worked on or put off."""
        until(
            lambda: not self.waiting("", "NotVisible", "Delayed"),
            "the arrivals queue is not empty",
        )

    def waiting(self, *how: str) -> int:
        """How many messages of the arrivals queue are visible (`""`), or else by name."""
        names: Any = [f"ApproximateNumberOfMessages{each}" for each in how]
        told = self.aws.sqs.get_queue_attributes(
            QueueUrl=self.outputs["ArrivalsQueueUrl"], AttributeNames=names
        )["Attributes"]
        return sum(int(told[name]) for name in names)

    def parked(self, body: str) -> Parked:
        """The one parked message with that body."""

        def there() -> list[Parked]:
            return [message for message in self.stack.parked() if message.body == body]

        [found] = until(there, f"not parked: {body[:200]}")
        return found

    def batches(self, external_id: str | None = None) -> list[Any]:
        """What AEP holds: id, and the members of each batch."""
        return [
            {"id": batch.id, "sandbox": batch.sandbox, **batch.members}
            for batch in self.aep.batches()
            if external_id in (None, batch.members["externalId"])
        ]

    def creates(self, external_id: str | None = None) -> list[Received]:
        """The POSTs that AEP received, and were not befallen by `request-lost`."""
        return [
            received
            for received in list(self.aep.received)
            if received.operation == "create"
            and external_id in (None, json.loads(received.request.body)["externalId"])
        ]

    def put_off(self, external_id: str | None = None) -> list[dict[str, Any]]:
        """What on_arrival logged of arrivals that must wait."""
        return [
            line
            for line in self.stack.logged("on-arrival")
            if line.get("message") == "put off"
            and external_id in (None, line.get("correlation_id"))
        ]

    def metric(self, function: str, name: str) -> float:
        """The sum of a metric in a function's log; those counted by reason are left out."""
        lines = (line for line in self.stack.logged(function) if "reason" not in line)
        return float(sum(sum(line.get(name, [])) for line in lines))

    def exactly_one_each(self, external_ids: set[str]) -> dict[str, str]:
        """Each order has one batch, and every announcement names it. Id → batch id.

        Nothing else is in this AEP, nothing was sent twice, and nothing is aborted.
        """
        held = Counter(batch["externalId"] for batch in self.batches())
        assert held == dict.fromkeys(external_ids, 1)
        batch_of = {batch["externalId"]: batch["id"] for batch in self.batches()}
        assert {batch["status"] for batch in self.batches()} <= {"loading"}
        said = {(each["externalId"], each["batchId"]) for each in self.details("Batch Created")}
        assert said == set(batch_of.items())
        return batch_of


@dataclass
class Clock:
    """Ticks of a scene that find something to do, and a few more."""

    scene: Scene
    _last: float = 0.0

    def look(self) -> None:
        """A tick, if something is due or none has come for some seconds."""
        if time.monotonic() >= self._last + IDLE_TICK_SECONDS or self._due():
            self.scene.tick()
            self._last = time.monotonic()

    def _due(self) -> bool:
        """By one request, where a tick makes sixty."""
        pages = self.scene.aws.dynamodb.get_paginator("scan").paginate(
            TableName=self.scene.outputs["LedgerTable"],
            IndexName="due",
            FilterExpression="due <= :now",
            ExpressionAttributeValues={":now": {"N": str(time.time_ns() // 10**6)}},
            Select="COUNT",
        )
        return any(page["Count"] for page in pages)


@contextmanager
def scene(
    base: LocalStack,
    name: str,
    *,
    routes: bytes | None = None,
    limits: Mapping[str, object] | None = None,
    seconds: Mapping[str, int] | None = None,
    **parameters: str,
) -> Iterator[Scene]:
    """A stack called `name` beside `base`, ready to use. `routes`: empty leaves it without."""
    aep = Simulator()
    seed_defaults(aep)
    aep.switches.change(row_validation="disabled")  # rows of these tests fit no schema
    with running(aep) as address:
        stack = copy.copy(base)
        stack.name = name
        with _deploying:
            stack.outputs = base.deploy_variant(
                name,
                {"PlatformUrl": address, "ImsUrl": address, **parameters},
                limits,
                seconds=seconds,
            )
        stack.listener = Listener(base.aws, stack.outputs["BusName"], heard)
        made = Scene(stack, aep)
        if routes != b"":
            unasked = json.dumps(unseen(SAMPLES)).encode()
            made.publish(unasked if routes is None else routes)
        try:
            yield made
        finally:
            # What was written stays, to be searched for secrets; only the clock stops.
            base.aws.events.disable_rule(Name=made.resource("TickRule"))
            stack.listener.abandon()


type Play = Callable[[LocalStack], None]


@contextmanager
def at_once(base: LocalStack, plays: Sequence[Play]) -> Iterator[dict[Play, Future[None]]]:
    """How plays end that mostly wait, each in scenes of its own."""
    # boto3's session makes one client at a time; MiniStack's are shared from here on.
    aws = base.aws
    assert all([aws.s3, aws.logs, aws.dynamodb, aws.appconfig, aws.sqs, aws.functions, aws.events])
    with ThreadPoolExecutor(max(1, len(plays))) as stage:
        yield {play: stage.submit(play, base) for play in plays}


def _processes() -> Iterator[tuple[int, str]]:
    if Path("/proc/self").exists():
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue  # it has ended meanwhile
        return
    listed = subprocess.run(
        ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command
