"""What is promised of arrivals, on the deployed template with IAM enforced.

The quick tests share one scene; those that must wait play in `scenarios.py` meanwhile, and are
heard last.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import pytest
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.parked import DynamoParked
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals.envelopes import parse
from aep_intake.model.files import digest
from aep_intake.model.history import Seen
from aep_intake.model.messages import AS_USUAL
from aep_intake.model.orders import TAG
from aep_intake_cli.choice import Choice
from aep_intake_cli.parked import AllParked

from local.simulator.seed import CLOSED, LOYALTY, PROFILES, WEB_EVENTS
from local.stack import SEED, LocalStack, Parked
from tests.stack.scenarios import SCENARIOS
from tests.stack.scene import SAMPLES, Play, Scene, at_once, sample, scene, unseen, until
from tests.stack.written import Answers, leaks, written

type Ends = dict[Play, Future[None]]

ROUTES = json.loads(SAMPLES)
ROUTES["routes"].append(
    {"name": "later", "match": "later/**", "datasetId": CLOSED, "inputFormat": "auto"}
)
ROUTES = unseen(json.dumps(ROUTES).encode())

# S3 takes any UTF-8 of at most 1,024 bytes.
KEYS = [
    "landing/loyalty/two words and  three.jsonl",
    "landing/loyalty/a+b c%20d%2Fe.jsonl",
    "landing/loyalty//a///b//c.jsonl",
    "landing/loyalty/Übergrößen/東京 📈.jsonl",
    "landing/loyalty/e\u0301 is not \u00e9.jsonl",
    "landing/loyalty/'quoted' \"and\" {braced} & <tagged>;=?#.jsonl",
    "landing/loyalty/" + "ж" * 501 + ".jsonl",
]


@pytest.fixture(scope="module", autouse=True)
def ends(deployed: LocalStack, request: pytest.FixtureRequest) -> Iterator[Ends]:
    """How the scenarios end that were asked for, all played at once."""
    asked = [item for item in request.session.items if isinstance(item, pytest.Function)]
    plays = [item.callspec.params.get("play") for item in asked if hasattr(item, "callspec")]
    with at_once(deployed, [play for play in SCENARIOS if play in plays]) as ends:
        yield ends


@pytest.fixture(scope="module")
def here(deployed: LocalStack) -> Iterator[Scene]:
    """The scene of all quick tests: every one has keys of its own in it."""
    with scene(deployed, "promises", routes=json.dumps(ROUTES).encode()) as made:
        yield made


def one_batch(here: Scene, external_id: str) -> Any:
    """The only batch that AEP has of an order, which all its announcements name."""
    until(lambda: here.batches(external_id))
    [batch] = here.batches(external_id)

    def said() -> list[Any]:
        created = here.details("Batch Created")
        return [each["batchId"] for each in created if each["externalId"] == external_id]

    assert set(until(said)) == {batch["id"]}
    assert batch["tags"][TAG] == [digest(here.outputs["LedgerTable"], external_id)]
    return batch


@dataclass(frozen=True)
class Good:
    """An arrival, and where it belongs."""

    key: str
    route: str
    dataset_id: str
    file_format: str
    sandbox: str = "prod"


@pytest.mark.parametrize(
    "good",
    [
        Good("landing/loyalty/a.jsonl", "loyalty", LOYALTY, "json"),
        Good("landing/web-events/a.csv", "web-events", WEB_EVENTS, "csv"),
        Good("incoming/dev/profiles/a.parquet", "by-folder", PROFILES, "parquet", "dev"),
    ],
    ids=lambda good: good.key,
)
def test_an_object_gets_its_batch(here: Scene, good: Good) -> None:
    here.put(good.key, b"0123456789")
    detail = here.about(good.key)
    batch = one_batch(here, detail["externalId"])
    input_format = {"format": good.file_format}
    assert (
        batch.items()
        >= {
            "status": "loading",
            "sandbox": good.sandbox,
            "inputFormat": input_format,
            "relatedObjects": [{"type": "dataSet", "id": good.dataset_id}],
        }.items()
    )
    [post] = here.creates(detail["externalId"])
    assert (post.request.headers["x-sandbox-name"], post.sandbox_defaulted) == (good.sandbox, False)
    assert (
        detail.items()
        >= {
            "batchId": batch["id"],
            "imsOrg": SEED.ims_org,
            "sandbox": good.sandbox,
            "datasetId": good.dataset_id,
            "inputFormat": input_format,
            "route": good.route,
            "trigger": "arrival",
            "attempt": 1,
            "byteCount": 10,
        }.items()
    )
    [file] = detail["files"]
    assert (file["bucket"], file["key"], file["size"]) == (here.bucket, good.key, 10)


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_keys_come_out_exactly(here: Scene, key: str) -> None:
    """As S3 itself tells EventBridge of them, and URL-encoded as in its own notifications."""
    here.put(key)
    through_eventbridge = here.about(key)["externalId"]
    body = here.notification({"key": quote_plus(key, safe="/"), "versionId": "another"})
    [arrival] = parse(here.send(body)).arrivals
    assert arrival.external_id != through_eventbridge

    def announced() -> list[dict[str, Any]]:
        wanted = arrival.external_id
        return [e for e in here.details("Batch Created") if e["externalId"] == wanted]

    [detail] = until(announced)
    assert [file["key"] for file in detail["files"]] == [key]
    one_batch(here, through_eventbridge)
    one_batch(here, arrival.external_id)


def test_the_longest_key_is_as_long_as_s3_allows() -> None:
    assert max(len(key.encode()) for key in KEYS) == 1024


def test_a_message_may_come_in_any_envelope(here: Scene) -> None:
    """The same version of the same object in each of them, so only one batch comes of it."""
    key, version = "landing/loyalty/enveloped.jsonl", {"versionId": "3sL4kqtJlcpXroDTDmJ+rmSpXd3dI"}
    notification = here.notification({"key": key, **version})
    through_sns = sample("sns-wrapped-s3-notification") | {"Message": notification}
    here.send(json.dumps(through_sns))
    detail = here.about(key)
    assert detail["files"][0]["versionId"] == version["versionId"]
    here.quiet()
    before = here.metric("on-arrival", "Arrivals")
    here.send(notification)
    here.send(here.object_created(key, **{"version-id": version["versionId"]}))
    until(lambda: here.metric("on-arrival", "Arrivals") == before + 2)
    assert len(here.creates(detail["externalId"])) == 1
    one_batch(here, detail["externalId"])


def test_what_is_not_for_us_is_counted_and_forgotten(here: Scene) -> None:
    here.quiet()
    before = here.metric("on-arrival", "Ignored")
    events = len(here.stack.listener.events())
    test_event = here.send(json.dumps(sample("s3-test-event")))
    here.put("landing/loyalty/_temporary/0/part-00000.jsonl")
    here.put("landing/loyalty/a folder/", b"")
    until(lambda: here.metric("on-arrival", "Ignored") == before + 3)
    here.quiet()
    assert len(here.stack.listener.events()) == events
    assert test_event not in {message.body for message in here.stack.parked()}


@dataclass(frozen=True)
class Bad:
    """An arrival that cannot succeed, and the reason that people are told."""

    key: str
    reason: str
    size: int = 10
    detail: str = ""


@pytest.mark.parametrize(
    "bad",
    [
        Bad("nowhere/to/go.jsonl", "no-route"),
        Bad("landing/loyalty/empty.jsonl", "empty-object", size=0),
        Bad("incoming/somebody-elses/loyalty/a.jsonl", "target-not-allowed"),
        Bad("incoming/prod/no-such-dataset/a.jsonl", "dataset-not-found"),
        Bad("landing/web-events/a.b/c.csv", "no-route"),
        Bad("incoming/prod/loyalty/what-is-this.bin", "format-unknown"),
        Bad("later/refused.jsonl", "batch-refused", detail="PALM Access Denied"),
    ],
    ids=lambda bad: bad.key,
)
def test_what_cannot_succeed_is_parked_and_announced(here: Scene, bad: Bad) -> None:
    body = here.send(here.object_created(bad.key, size=bad.size))
    [arrival] = parse(body).arrivals
    detail = here.about(bad.key, kind="Arrival Rejected")
    assert (detail["externalId"], detail["reason"]) == (arrival.external_id, bad.reason)
    assert bad.detail in detail["detail"]
    if bad.reason == "batch-refused":
        assert (detail["status"], detail["datasetId"]) == (403, CLOSED)
        assert detail["requestId"]
    parked = here.parked(body)
    assert parked.attributes["parkedAt"] >= detail["rejectedAt"][:19]
    assert (
        parked.attributes.items()
        >= {
            "reason": bad.reason,
            "detail": detail["detail"],
            "externalId": arrival.external_id,
        }.items()
    )
    assert here.batches(arrival.external_id) == []


def test_an_empty_object_is_rejected_however_it_came(here: Scene) -> None:
    """A rule that filtered by size would make it vanish."""
    here.put("landing/loyalty/nothing.jsonl", b"")
    detail = here.about("landing/loyalty/nothing.jsonl", kind="Arrival Rejected")
    assert detail["reason"] == "empty-object"

    def there() -> list[Parked]:
        wanted = detail["externalId"]
        return [m for m in here.stack.parked() if m.attributes["externalId"] == wanted]

    [parked] = until(there)
    assert parse(parked.body).arrivals[0].key == "landing/loyalty/nothing.jsonl"


@pytest.mark.parametrize("body", ["no JSON at all", '{"hello": ["world"]}', "[1, 2]"])
def test_a_message_that_nobody_understands_is_parked_and_announced(here: Scene, body: str) -> None:
    here.send(body)
    external_id = f"intake-{digest('message', body)}"
    assert (
        here.parked(body).attributes.items()
        >= {
            "reason": "malformed-event",
            "externalId": external_id,
        }.items()
    )

    def announced() -> list[dict[str, Any]]:
        return [e for e in here.details("Arrival Rejected") if e["externalId"] == external_id]

    [detail] = until(announced)
    assert (detail["reason"], detail["files"]) == ("malformed-event", [])


def test_a_bad_record_does_not_hold_up_its_neighbours_nor_its_message(here: Scene) -> None:
    """The good one has its batch at once, and still only one when the message is tried again."""
    good, refused = "landing/loyalty/good.jsonl", "later/neighbour.jsonl"
    body = here.send(here.notification({"key": refused}, {"key": good}))
    made = here.about(good)["externalId"]
    rejected = here.about(refused, kind="Arrival Rejected")["externalId"]
    assert here.parked(body).attributes["externalId"] == rejected

    # The cause is mended, and the message redriven.
    here.aep.add_dataset(SEED.ims_org, "prod", CLOSED, "closed")
    queues = (here.outputs["ArrivalsDlqUrl"], here.outputs["ArrivalsQueueUrl"])
    items = DynamoParked(Table(here.aws.dynamodb, here.outputs["LedgerTable"]))
    parked = AllParked(here.aws.sqs, items, {"arrivals": queues}, lambda _: ())
    chosen = Choice(external_ids=frozenset({rejected}))
    [told] = [one for one, _ in parked.listed(chosen)]
    assert (told.body, told.why.reason, told.uri) == (
        body,
        "batch-refused",
        f"s3://{here.bucket}/{refused}",
    )
    assert [(one.body, sent) for one, sent in parked.redrive(chosen, AS_USUAL)] == [(body, True)]
    assert here.about(refused)["externalId"] == rejected
    here.quiet()
    one_batch(here, made)
    one_batch(here, rejected)
    assert len(here.creates(made)) == 1
    assert body not in {message.body for message in here.stack.parked()}
    assert parked.listed(chosen) == []


def test_the_same_event_many_times_is_one_order(here: Scene) -> None:
    key = "landing/loyalty/again.jsonl"
    body = here.object_created(key)
    [arrival] = parse(body).arrivals
    here.quiet()
    before = here.metric("on-arrival", "Arrivals")
    for _ in range(2):  # side by side in a few deliveries, and once more when it has its batch
        for _ in range(10):
            here.send(body)
        here.about(key)
    until(lambda: here.metric("on-arrival", "Arrivals") >= before + 20)
    # A copy that met another one at work has to wait, and finds the batch there.
    one_batch(here, arrival.external_id)
    assert len(here.creates(arrival.external_id)) == 1


@pytest.mark.parametrize(
    "second",
    [{"version-id": "second"}, {"version-id": None, "sequencer": "00692323330299A1B3"}],
    ids=["versioned", "unversioned"],
)
def test_a_new_version_is_a_new_order(here: Scene, second: dict[str, Any]) -> None:
    key = f"landing/loyalty/versions-{len(second)}.jsonl"
    first = {"version-id": "first"} if len(second) == 1 else second | {"sequencer": "0001"}
    bodies = [here.object_created(key, **members) for members in (first, second)]
    ids = {arrival.external_id for body in bodies for arrival in parse(body).arrivals}
    for body in bodies:
        here.send(body)

    def announced() -> bool:
        return ids <= {each["externalId"] for each in here.details("Batch Created")}

    until(announced)
    assert len({one_batch(here, external_id)["id"] for external_id in ids}) == 2


def test_an_object_that_is_copied_onto_itself_has_one_batch(here: Scene) -> None:
    key = "landing/loyalty/encrypted-anew.jsonl"
    here.put(key)
    ledger = DynamoLedger(here.aws.dynamodb, here.outputs["LedgerTable"], lambda: 0, 0)

    def known() -> list[Seen]:
        return [seen for seen in ledger.seen(digest(here.bucket, key)) if seen.claimed]

    here.aws.s3.copy_object(  # at once, so that either event may be the first
        Bucket=here.bucket,
        Key=key,
        CopySource={"Bucket": here.bucket, "Key": key},
        MetadataDirective="REPLACE",
    )
    until(lambda: len(known()) == 2)
    [loaded] = [seen for seen in known() if seen.same_as is None]
    [told] = [seen for seen in known() if seen.same_as is not None]
    assert (told.same_as, told.owner) == (loaded.version, loaded.owner)
    assert loaded.owner is not None
    assert one_batch(here, loaded.owner)


def test_what_is_searched_for_secrets_holds_all_that_was_written(
    here: Scene, answers: Answers
) -> None:
    """So that the search after the last test means something."""
    key = "nowhere/searched.txt"
    body = here.send(here.object_created(key))
    external_id = here.about(key, kind="Arrival Rejected")["externalId"]
    here.parked(body)
    answer = here.stack.sender.call("GET", f"{here.stack.api}/batches/{digest('nobody')}")
    assert answer.status_code == 404
    found = leaks(written(here.stack, answers), ["searched.txt", external_id, "problem:not-found"])
    places = {place.partition(" ")[0].partition(":")[0] for place in found}
    # File: what MiniStack says of the functions.
    assert places >= {"log", "table", "queue", "event", "answer", "file"}


@pytest.mark.parametrize("play", SCENARIOS, ids=lambda play: play.__name__)
def test_also_when(ends: Ends, play: Play) -> None:
    ends[play].result()
