"""What the bus is told: the contract of `events/`, the manifest, the ways of not being heard."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from aep_intake.adapters.aws.eventbridge import Announcer
from aep_intake.arrivals import envelopes
from aep_intake.model import errors, times
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import BatchRefused, NotAnnounced, Rejected, StorageUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease, Record, Rejection
from aep_intake.report import events
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from botocore.stub import Stubber
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

EVENTS = Path(__file__).parents[3] / "events"
[ARRIVAL] = envelopes.parse((EVENTS / "eventbridge-object-created.json").read_text()).arrivals
TARGET = Target(
    credential="arn:aws:secretsmanager:eu-west-1:111122223333:secret:aep/acme-emea-AbCdEf",
    ims_org="0123456789ABCDEF01234567@AdobeOrg",
    sandbox="prod",
    dataset_id="5c8c3c555033b814b69f947f",
)
ORDER = Order(
    external_id=ARRIVAL.external_id,
    target=TARGET,
    options={"inputFormat": {"format": "json"}, "tags": {"team": ["loyalty"]}},
    files=(ARRIVAL,),
    route="loyalty",
    routes_version="7",
    owner="crm-team@acme.example",
)
REQUEST = replace(ORDER, files=(), trigger="request", route=None, routes_version=None, owner=None)
BATCH = Batch("01EQ3S2M7K9XW4VQ8B6N5T0RHC", "loading", 1_795_446_245_123, None, (), {}, {})
REJECTION = Rejection("no-route", "no route of the routing table matches", 1_795_446_245_678)


def sample(name: str) -> Any:
    return json.loads((EVENTS / name).read_text())


def record(order: Order) -> Record:
    return Record.opened(order, Lease("token", 1), 0).created(BATCH)


def valid(document: Any, schema: str) -> Any:
    Draft202012Validator(sample(f"{schema}.schema.json")).validate(document)
    return document


@dataclass
class Cloud:
    """The bus and the bucket, and the order in which they were used."""

    said: list[Any] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    failure: Exception | None = None
    full: Exception | None = None
    partition: str = "aws"

    @property
    def meta(self) -> SimpleNamespace:
        return SimpleNamespace(partition=self.partition)

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:
        self.calls.append("event")
        if self.failure:
            raise self.failure
        self.said += Entries
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]} | self.answer

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        self.calls.append("object")
        if self.full:
            raise self.full
        assert ContentType == "application/json"
        self.kept[f"{Bucket}/{Key}"] = Body

    def announcer(self, **settings: Any) -> Announcer:
        here = cast("Any", self)
        return Announcer(here, lambda: here, bus="intake", state_bucket="state", **settings)

    @property
    def detail(self) -> Any:
        [entry] = self.said
        return json.loads(entry["Detail"])


@pytest.mark.parametrize("name", ["batch-created", "arrival-rejected", "manifest"])
def test_schemas_are_schemas_and_describe_every_member(name: str) -> None:
    schema = sample(f"{name}.schema.json")
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schemaVersion"]["const"] == events.SCHEMA_VERSION
    assert schema["$defs"] == sample("manifest.schema.json")["$defs"]
    members = {**schema["properties"], **schema["$defs"]["file"]["properties"]}
    assert [m for m, described in members.items() if not described.get("description")] == []


@pytest.mark.parametrize("name", ["batch-created", "arrival-rejected"])
@pytest.mark.parametrize("wrong", ["both", "neither", "schemaVersion", "externalId"])
def test_schemas_refuse_what_breaks_the_contract(name: str, wrong: str) -> None:
    document = valid(sample(f"{name}.json"), name)
    valid(document | {"added": "later"}, name)
    if wrong == "both":
        document["manifest"] = {"bucket": "b", "key": "k"}
    elif wrong == "neither":
        del document["files"]
    else:
        document[wrong] = "2 "
    with pytest.raises(ValidationError):
        valid(document, name)


def test_a_created_batch_is_announced_as_the_contract_says() -> None:
    cloud = Cloud()
    cloud.announcer().created(record(ORDER))
    [entry] = cloud.said
    assert json.loads(entry.pop("Detail")) == sample("batch-created.json")
    assert entry == {
        "Source": "aep.intake",
        "DetailType": "Batch Created",
        "EventBusName": "intake",
        "Resources": ["arn:aws:s3:::acme-landing"],
    }
    assert cloud.calls == ["event"]


def test_a_request_without_files_is_announced_too() -> None:
    cloud = Cloud(partition="aws-cn")
    cloud.announcer().created(record(replace(REQUEST, options={})))
    detail = valid(cloud.detail, "batch-created")
    assert (detail["trigger"], detail["files"], detail["fileCount"], detail["byteCount"]) == (
        ("request", [], 0, 0)
    )
    assert detail.keys().isdisjoint({"route", "routesVersion", "inputFormat"})
    assert cloud.said[0]["Resources"] == []


def test_resources_name_each_bucket_once_in_its_partition() -> None:
    cloud = Cloud(partition="aws-cn")
    files = (ARRIVAL, replace(ARRIVAL, key="b"), replace(ARRIVAL, bucket="acme-exports"))
    cloud.announcer().created(record(replace(ORDER, files=files)))
    assert cloud.said[0]["Resources"] == [
        "arn:aws-cn:s3:::acme-exports",
        "arn:aws-cn:s3:::acme-landing",
    ]
    assert (cloud.detail["fileCount"], cloud.detail["byteCount"]) == (3, 3 * 1234)


def test_a_record_without_a_batch_is_never_announced() -> None:
    cloud = Cloud()
    with pytest.raises(ValueError, match="has no batch"):
        cloud.announcer().created(Record.opened(ORDER, Lease("token", 1), 0))
    assert cloud.calls == []


def test_a_refused_order_is_announced_as_the_contract_says() -> None:
    expected = sample("arrival-rejected.json")
    refusal = BatchRefused(
        expected["detail"], status=expected["status"], request_id=expected["requestId"]
    )
    cloud = Cloud()
    cloud.announcer().rejected(ORDER, Rejection.of(refusal, REJECTION.at))
    assert cloud.said[0]["DetailType"] == "Arrival Rejected"
    assert cloud.detail == expected


def test_adobes_own_code_is_told_where_it_gave_one() -> None:
    refusal = BatchRefused("no", status=403, error_code="403025")
    cloud = Cloud()
    cloud.announcer().rejected(REQUEST, Rejection.of(refusal, REJECTION.at))
    detail = valid(cloud.detail, "arrival-rejected")
    assert (detail["errorCode"], detail["status"]) == ("403025", 403)
    assert "requestId" not in detail


def test_an_arrival_without_an_order_is_announced() -> None:
    cloud = Cloud()
    cloud.announcer().arrival_rejected(ARRIVAL.external_id, (ARRIVAL,), REJECTION)
    detail = valid(cloud.detail, "arrival-rejected")
    assert detail["files"] == sample("batch-created.json")["files"]
    assert (detail["externalId"], detail["reason"]) == (ARRIVAL.external_id, "no-route")
    assert detail.keys().isdisjoint({"sandbox", "datasetId", "imsOrg", "route"})
    assert cloud.said[0]["Resources"] == ["arn:aws:s3:::acme-landing"]


def test_a_message_that_names_no_file_is_announced() -> None:
    cloud = Cloud()
    cloud.announcer().arrival_rejected("intake-" + "0" * 32, (), REJECTION)
    detail = valid(cloud.detail, "arrival-rejected")
    assert (detail["files"], detail["fileCount"], detail["byteCount"]) == ([], 0, 0)


def concrete(kind: type[Rejected]) -> list[type[Rejected]]:
    return [kind] + [below for child in kind.__subclasses__() for below in concrete(child)]


@pytest.mark.parametrize("kind", concrete(errors.Rejected), ids=lambda kind: kind.__name__)
def test_every_reason_fits_the_contract(kind: type[Rejected]) -> None:
    rejection = Rejection(kind.reason, "why", 0)
    valid(events.arrival_rejected("intake-x", (), rejection), "arrival-rejected")


def test_long_words_are_cut_and_what_is_not_unicode_is_replaced() -> None:
    cloud = Cloud()
    rejection = replace(REJECTION, detail="\ud800é" + "x" * 5000, request_id="\udfff")
    cloud.announcer().rejected(ORDER, rejection)
    detail = valid(cloud.detail, "arrival-rejected")
    assert detail["detail"] == "?é" + "x" * 1022
    assert detail["requestId"] == "?"


@pytest.mark.parametrize("refused", ["\ufffe", "\uffff"])
def test_what_queues_behind_the_bus_refuse_is_escaped(refused: str) -> None:
    """Such a key is legal in S3; the event would end in the rule's dead-letter queue."""
    cloud = Cloud()
    order = replace(ORDER, files=(replace(ARRIVAL, key=f"a{refused}b.json"),))
    cloud.announcer().created(record(order))
    [entry] = cloud.said
    assert refused not in entry["Detail"]
    assert cloud.detail["files"][0]["key"] == f"a{refused}b.json"


def odd(n: int) -> Arrival:
    return replace(ARRIVAL, key=f"a+b c%20d//\n📈{n}.csv", version_id=f"v{n}")


@pytest.mark.parametrize("say", ["created", "rejected"])
def test_a_long_file_list_goes_to_a_manifest_that_is_written_first(say: str) -> None:
    cloud = Cloud()
    order = replace(ORDER, files=tuple(odd(n) for n in range(1500)))

    def once() -> None:
        if say == "created":
            cloud.announcer().created(record(order))
        else:
            cloud.announcer().rejected(order, REJECTION)

    once()
    assert cloud.calls == ["object", "event"]
    schema = "batch-created" if say == "created" else "arrival-rejected"
    detail = valid(cloud.detail, schema)
    key = f"manifests/{order.external_id}.json"
    assert detail["manifest"] == {"bucket": "state", "key": key}
    assert "files" not in detail
    assert (detail["fileCount"], detail["byteCount"]) == (1500, 1500 * 1234)
    [written] = cloud.kept.values()
    assert cloud.kept.keys() == {f"state/{key}"}
    listed = valid(json.loads(written), "manifest")
    assert listed["externalId"] == order.external_id
    assert [file["key"] for file in listed["files"]] == [file.key for file in order.files]
    assert len({file["path"] for file in listed["files"]}) == 1500

    once()
    assert cloud.kept == {f"state/{key}": written}, "a repeat writes the same bytes"
    assert cloud.said[0] == cloud.said[1]


def test_the_limit_counts_bytes_and_the_event_itself() -> None:
    order = replace(ORDER, files=tuple(odd(n) for n in range(50)))
    whole = Cloud()
    whole.announcer().created(record(order))
    size = len(whole.said[0]["Detail"].encode())
    assert size > len(whole.said[0]["Detail"])

    for limit, calls in ((size, ["event"]), (size - 1, ["object", "event"])):
        cloud = Cloud()
        cloud.announcer(inline_bytes=limit).created(record(order))
        assert cloud.calls == calls


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "secret words"}}, "PutEvents")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cloud: setattr(cloud, "failure", refused("ThrottlingException")),
        lambda cloud: setattr(
            cloud,
            "answer",
            {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]},
        ),
        lambda cloud: setattr(
            cloud, "answer", {"Entries": [{"EventId": "", "ErrorCode": "ThrottlingException"}]}
        ),
    ],
    ids=["call", "entry", "entry not counted"],
)
@pytest.mark.parametrize("say", ["created", "rejected", "arrival_rejected"])
def test_what_the_bus_did_not_take_is_said_again_later(
    spoil: Callable[[Cloud], None], say: str
) -> None:
    cloud = Cloud()
    spoil(cloud)
    announcer = cloud.announcer()
    with pytest.raises(NotAnnounced, match="ThrottlingException") as failure:
        if say == "created":
            announcer.created(record(ORDER))
        elif say == "rejected":
            announcer.rejected(ORDER, REJECTION)
        else:
            announcer.arrival_rejected(ORDER.external_id, (ARRIVAL,), REJECTION)
    assert failure.value.external_id == ORDER.external_id
    assert "secret words" not in failure.value.detail


def test_a_failed_entry_without_a_code_is_a_failure_too() -> None:
    cloud = Cloud(answer={"FailedEntryCount": 1, "Entries": [{}]})
    with pytest.raises(NotAnnounced, match="no code given"):
        cloud.announcer().created(record(ORDER))


def test_a_bus_that_does_not_answer_is_a_failure() -> None:
    cloud = Cloud(failure=ReadTimeoutError(endpoint_url="https://events"))
    with pytest.raises(NotAnnounced, match="ReadTimeoutError"):
        cloud.announcer().created(record(ORDER))


@pytest.mark.parametrize("failure", [refused("SlowDown"), BotoCoreError()])
def test_without_its_manifest_an_event_is_not_sent(failure: Exception) -> None:
    cloud = Cloud(full=failure)
    order = replace(ORDER, files=(ARRIVAL,) * 1000)
    with pytest.raises(StorageUnavailable, match=r"SlowDown|BotoCoreError") as raised:
        cloud.announcer().created(record(order))
    assert raised.value.external_id == order.external_id
    assert cloud.calls == ["object"]


def test_botocore_knows_the_calls() -> None:
    session = boto3.Session("test", "test", region_name="cn-north-1")
    events, s3 = session.client("events"), session.client("s3")
    with Stubber(events) as bus, Stubber(s3) as bucket:
        bucket.add_response("put_object", {})
        bus.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})
        announcer = Announcer(events, lambda: s3, bus="b", state_bucket="s", inline_bytes=0)
        announcer.created(record(ORDER))
        bus.assert_no_pending_responses()
        bucket.assert_no_pending_responses()
    assert events.meta.partition == "aws-cn"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_446_245_007, "2026-11-23T15:04:05.007Z"),
        (1_795_446_245_999, "2026-11-23T15:04:05.999Z"),
        (4_102_444_800_001, "2100-01-01T00:00:00.001Z"),
    ],
)
def test_times_are_exact_to_the_millisecond(time: int, text: str) -> None:
    assert times.iso(time) == text
