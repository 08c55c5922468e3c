"""What files that share a window cost: calls are counted here, `make bench` has the times."""

import io
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.results import Joined
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import DueKind
from aep_intake.create.ports import OrderPorts
from aep_intake.grouping import windows
from aep_intake.model.files import Arrival
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.model.progress import Lease, Outcome
from aep_intake.routing import routes
from aep_intake.routing.checks import Checks
from aep_intake.routing.targets import Targets
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders

from local.bench import prices
from local.simulator.seed import LOYALTY
from tests.adobe_world import ARN, START, World
from tests.faults.harness import go_on
from tests.memory_ledger import MemoryLedger

DAY = 86_400_000
TABLE = routes.parse(
    json.dumps(
        {
            "routes": [
                {
                    "name": "many",
                    "match": "in/**",
                    "datasetId": LOYALTY,
                    "inputFormat": {"format": "json"},
                    "batch": {"window": "1h"},
                }
            ]
        }
    ),
    "v1",
)


@dataclass
class Endpoint:
    """DynamoDB, which takes whatever is written; the requests that reached it."""

    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, request: AWSRequest, **_: Any) -> AWSResponse:
        target: Any = request.headers["X-Amz-Target"]
        name = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        body: Any = request.body
        self.requests.append((name, body.decode()))
        raw: Any = io.BytesIO(b"{}")
        raw.stream = lambda **_: iter([raw.read()])
        headers = HTTPHeaders.from_dict({"Content-Type": "application/x-amz-json-1.0"})
        return AWSResponse(str(request.url), 200, headers, raw)

    @property
    def client(self) -> Any:
        client = boto3.client(
            "dynamodb",
            region_name="eu-west-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
            endpoint_url="https://dynamodb.simulated",
        )
        client.meta.events.register("before-send.dynamodb", cast("Any", self.answer))
        return client

    def taken(self) -> tuple[Counter[str], list[list[str]]]:
        """How often each call came since it was asked last, and the steps of the transactions."""
        calls = Counter(name for name, _ in self.requests)
        steps = [
            [kind for step in json.loads(body)["TransactItems"] for kind in step]
            for name, body in self.requests
            if name == "TransactWriteItems"
        ]
        self.requests.clear()
        return calls, steps


class Nothing:
    """A port that nothing may ask of."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


@dataclass
class Told:
    """The event bus: external ids of what was announced."""

    created_: list[str] = field(default_factory=list)

    def created(self, record: Any) -> None:
        self.created_.append(record.order.external_id)


@dataclass
class Played:
    """The intake over `ledger`, with the simulator as AEP; `at` is the time."""

    ledger: Any
    world: World = field(default_factory=World)
    told: Told = field(default_factory=Told)
    handed_out: list[str] = field(default_factory=list)
    at: int = START

    @property
    def intake(self) -> IntakePorts:
        nothing: Any = Nothing()
        told: Any = self.told
        ports = OrderPorts(
            ledger=self.ledger,
            platform=self.world.adobe,
            announcer=told,
            now=lambda: self.at,
            lease=lambda: Lease("ours", self.at + 120_000),
            pace=lambda _: None,
            park=nothing,
            post_ms=60_000,
            settle_ms=120_000,
        )
        return IntakePorts(
            creating=ports,
            windows=windows.WindowPorts(
                self.ledger.windows,
                self.ledger,
                self.handed_out.extend,
                lambda: self.at,
                windows.BatchLimits(),
                nothing,
            ),
            waiting=cast("Any", SimpleNamespace(take_in=nothing)),
            came=lambda _: None,
            ledger=self.ledger,
            announcer=told,
            targets=Targets(
                lambda: Organizations((Organization(ARN),)),
                lambda _: self.world.seed.ims_org,
                nothing,
                self.world.adobe.dataset_info,
            ),
            objects=nothing,
            checks=Checks(nothing, 10**11, 2**28),
            table=lambda: TABLE,
            buckets=("acme-landing",),
            versions=nothing,
            retention_ms=60 * DAY,
        )

    def deliver(self, files: Iterable[Arrival]) -> set[str]:
        """The windows that the files of one delivery joined."""
        results = take_in({file.external_id: file for file in files}, self.intake, map)
        joined = [each for each in results.values() if isinstance(each, Joined)]
        assert len(joined) == len(results), results
        return {each.window_id for each in joined}


def some(number: int, name: str, *, versioned: bool = True) -> list[Arrival]:
    etag = "b1946ac92492d2347c6235b4d2611184"
    arrival = Arrival("acme-landing", "", None, etag, "", 1000, START)
    return [
        replace(
            arrival,
            key=f"in/loyalty/2026/11/23/{name}-{n:05}.jsonl",
            version_id=f"IYV3p45BT0ac8hjHg1houSdS1a.{n:05}" if versioned else None,
            sequencer=f"006923233302{n:06x}",
        )
        for n in range(number)
    ]


@pytest.mark.parametrize(("versioned", "most"), [(True, 98), (False, 49)])
@pytest.mark.parametrize("number", [1, 10, 98, 99, 250])
def test_a_delivery_is_a_transaction_for_every_98_files_and_no_other_call(
    number: int, versioned: bool, most: int
) -> None:
    """49 where the bucket is unversioned: a file claims its content, too."""
    endpoint = Endpoint()
    played = Played(DynamoLedger(endpoint.client, "ledger", lambda: START, 60 * DAY))
    played.deliver(some(1, "first", versioned=versioned))
    calls, _ = endpoint.taken()
    assert calls == {"PutItem": 1, "TransactWriteItems": 1}, "the window, once for a worker"
    played.world.simulator.received.clear()
    played.deliver(some(number, "more", versioned=versioned))
    calls, transactions = endpoint.taken()
    assert calls == {"TransactWriteItems": math.ceil(number / most)}
    for steps in transactions:
        assert steps[:2] == ["ConditionCheck", "Put"]  # the gate, and the list
        assert len(steps) <= 100
    claims = sum(len(steps) - 2 for steps in transactions)
    assert claims == number * (1 if versioned else 2)
    assert played.world.operations() == []


@pytest.mark.parametrize(("number", "units"), [(1, 6), (10, 28), (20, 52), (98, 244)])
def test_write_units_of_a_delivery(number: int, units: int) -> None:
    """Two for each claim and for the gate, and two for each kilobyte of the list."""
    endpoint, meter = Endpoint(), prices.Meter()
    played = Played(DynamoLedger(endpoint.client, "ledger", lambda: START, 60 * DAY))
    played.deliver(some(1, "first"))
    assert meter.units(endpoint.requests) == 1 + 1 + 6, "the window, and that it is due"
    endpoint.requests.clear()
    played.deliver(some(number, "more"))
    assert meter.units(endpoint.requests) == units


def test_an_item_is_weighed_as_dynamodb_does() -> None:
    item = {"pk": {"S": "é"}, "due": {"N": "-12345"}, "requested": {"BOOL": True}}
    assert prices.size(item) == (2 + 2) + (3 + 4) + (9 + 1)


def test_index_entries_are_weighed_as_they_come_and_go() -> None:
    def put(**members: str) -> tuple[str, str]:
        named = {"pk": "order#1", "sk": "order", **members}
        return "PutItem", json.dumps({"Item": {k: {"S": v} for k, v in named.items()}})

    meter = prices.Meter()
    assert meter.units([put(due="1", due_shard="1")]) == 1 + 1
    assert meter.units([put(due="2", due_shard="1", batch_id="b")]) == 1 + 2 + 1
    assert meter.units([put(batch_id="b")]) == 1 + 1
    assert meter.units([put(batch_id="b", record="x" * 1024)]) == 2
    assert meter.units([put(batch_id="b")]) == 2, "by the larger of the two"


def test_a_thousand_small_files_cost_one_call_to_aep() -> None:
    played = Played(MemoryLedger())
    files = some(1000, "small")
    ids = {id for n in range(0, 1000, 10) for id in played.deliver(files[n : n + 10])}
    # A worker asks for a token once a day, and of a dataset every ten minutes.
    assert played.world.operations() == ["token", "get-dataset"]
    played.world.simulator.received.clear()
    [window_id] = ids
    played.at = played.ledger.windows.get(window_id).due
    assert go_on(DueKind.WINDOWS, window_id, played.intake) is None
    [part] = played.handed_out
    outcome = go_on(DueKind.ORDERS, part, played.intake)
    assert isinstance(outcome, Outcome)
    assert played.world.operations() == ["create"]
    assert played.told.created_ == [part]
    assert len(played.ledger.files(outcome.record.order)) == 1000
