"""POST /batches, GET /batches/{id} and GET /objects, by the handler, against the simulator."""

import base64
import gzip
import json
import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aep_intake.clock.parking import About
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Verdict
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import BatchRefused, LedgerUnavailable, NoRoute, StorageUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import LedgerIdentity
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Lease, Record, Rejection, State
from aep_intake.model.times import iso
from aep_intake.report import status
from aep_intake.report.problems import explain
from hypothesis import given
from hypothesis import strategies as st

from local.simulator.faults import Fault
from local.simulator.foundation import in_catalog
from local.simulator.seed import LOYALTY, PRODUCTS, PROFILES, SYSTEM
from tests.request_world import ARN, EVENTS, OTHER_ARN, OTHER_ORG, POST, START, Answer, Api, Stored

BODY = {"datasetId": LOYALTY}
KEY = {"Idempotency-Key": "order-4711"}
ROLE = "arn:aws:sts::123456789012:assumed-role/data-team"
WHERE = json.loads((EVENTS / "api-get-objects.json").read_text("utf-8"))


@pytest.fixture
def api(environment: dict[str, str]) -> Api:
    return Api(environment)


def sent(api: Api) -> dict[str, Any]:
    """The body of the one POST that AEP received."""
    [received] = api.created()
    body: dict[str, Any] = json.loads(received.request.body)
    return body


class TestAdobesOwnRequest:
    def test_may_come_by_adobes_own_path(self, api: Api) -> None:
        path = "/data/foundation/import/batches"
        context = POST["requestContext"] | {"path": f"/v1{path}"}
        answer = api.post(BODY, resource=path, path=path, requestContext=context)
        [batch] = api.simulator.batches()
        assert answer.status == 201
        assert answer.headers["Location"] == f"/v1/batches/{batch.id}"

    def test_may_have_an_id_with_slashes(self, api: Api) -> None:
        """API Gateway leaves it in the path as it was sent: encoded."""
        made = api.post(BODY | {"externalId": "/adobe/bulk@1"})
        assert made.status == 201
        for wanted in ("%2Fadobe%2Fbulk@1", "/adobe/bulk@1"):
            assert api.get(wanted).body["batchId"] == made.body["id"]
        [batch] = api.simulator.batches()
        batch.become("aborted", api.clock())
        again = api.try_anew("%2Fadobe%2Fbulk@1")
        assert again.headers["X-External-Id"] == "/adobe/bulk@1.2"
        assert again.headers["Location"] == f"/v1/batches/{again.body['id']}"

    def test_for_a_dataset_of_adobes_own_is_refused_before_a_batch_is_spent(self, api: Api) -> None:
        answer = api.post({"datasetId": SYSTEM})
        assert (answer.status, answer.reason) == (422, "target-not-allowed")
        assert "Adobe's own" in answer.body["detail"]
        assert api.created() == []

    @pytest.mark.parametrize(("dataset", "feeds"), [(PROFILES, True), (LOYALTY, False)])
    def test_is_counted_where_it_feeds_profile(self, api: Api, dataset: str, feeds: bool) -> None:
        answer = api.post({"datasetId": dataset})
        assert api.record(answer.headers["X-External-Id"]).order.profile is feeds

    def test_is_answered_with_adobes_own_batch(self, api: Api) -> None:
        answer = api.post(BODY)
        [batch] = api.simulator.batches()
        assert answer.status == 201
        assert answer.body == {"id": batch.id, **batch.members}
        assert answer.headers == {
            "Content-Type": "application/json",
            "Location": f"/v1/batches/{batch.id}",
            "X-External-Id": batch.members["externalId"],
        }
        assert batch.sandbox == "prod" and batch.org == api.seed.ims_org

    def test_is_announced_and_finished(self, api: Api) -> None:
        answer = api.post(BODY)
        [(kind, detail)] = api.bus.taken
        assert kind == "Batch Created"
        assert detail["batchId"] == answer.body["id"]
        assert detail["trigger"] == "request" and detail["files"] == []
        assert detail["inputFormat"] == {"format": "parquet"}
        record = api.record(answer.headers["X-External-Id"])
        assert record.state is State.ANNOUNCED and record.due is None

    def test_says_parquet_where_the_caller_says_no_format(self, api: Api) -> None:
        api.post(BODY)
        assert sent(api)["inputFormat"] == {"format": "parquet"}

    @pytest.mark.parametrize(
        "members",
        [
            {"inputFormat": {"format": "json", "isMultiLineJson": True}},
            {
                "inputFormat": {
                    "format": "csv",
                    "delimiter": ";",
                    "quote": "'",
                    "escape": "\\",
                    "charset": "ISO-8859-1",
                    "header": "true",
                    "nullMarker": "-",
                }
            },
            {"replay": {"predecessors": ["${a}", "$b"], "reason": "replace"}},
            {"replay": {"predecessorsByExternalId": ["x/y@z"]}},
            {"enableErrorDiagnostics": False, "partialIngestionPercent": 2.5},
            {"externalId": "loyalty-2026.11_23"},
            {
                "externalId": "/adobe/bulkingest/5af9ee67e4045c1b4945c209"
            },  # as in Adobe's own sample
        ],
    )
    def test_every_documented_member_is_passed_on(self, api: Api, members: dict[str, Any]) -> None:
        assert api.post(BODY | members).status == 201
        assert members.items() <= sent(api).items()

    def test_tags_are_passed_on_beside_ours(self, api: Api) -> None:
        assert api.post(BODY | {"tags": {"team": ["a", "b"], "empty": []}}).status == 201
        tags = sent(api)["tags"]
        assert tags.pop("aep_intake")
        assert tags == {"team": ["a", "b"], "empty": []}

    def test_formats_are_taken_in_any_case_and_sent_in_lower(self, api: Api) -> None:
        assert api.post(BODY | {"inputFormat": {"format": "PARQUET"}}).status == 201
        assert sent(api)["inputFormat"] == {"format": "parquet"}

    def test_two_of_them_are_two_batches(self, api: Api) -> None:
        one, two = api.post(BODY), api.post(BODY)
        assert (one.status, two.status) == (201, 201)
        assert one.body["id"] != two.body["id"]

    def test_may_come_in_base64(self, api: Api) -> None:
        text = base64.b64encode(json.dumps(BODY).encode()).decode()
        assert api.post(text, isBase64Encoded=True).status == 201

    def test_needs_no_content_type(self, api: Api) -> None:
        bare = {"headers": None, "multiValueHeaders": None}
        assert api.send(POST | bare | {"body": json.dumps(BODY)}).status == 201

    def test_does_not_wait_for_its_turn_and_takes_one(self, api: Api) -> None:
        assert {api.post(BODY).status for _ in range(60)} == {201}
        assert api.clock() == START
        [full_at] = api.buckets.full_at.values()
        assert full_at > START + 60 * 60


WRONG = [
    ("", "the body"),
    ("{", "the body"),
    ("[]", "the body"),
    ("null", "the body"),
    ("[" * 100_000, "the body"),
    ('{"datasetId": "a", "datasetId": "b"}', "twice"),
    ('{"datasetId": "a", "partialIngestionPercent": NaN}', "NaN"),
    ({}, "datasetId"),
    ({"datasetId": None}, "datasetId"),
    ({"datasetId": ""}, "datasetId"),
    ({"datasetId": "../x"}, "datasetId"),
    ({"datasetId": "a\r\nx-sandbox-name: dev"}, "datasetId"),
    ({"datasetId": "a", "datasetName": "b"}, "datasetName"),
    ({"datasetId": "a", "status": "active"}, "status"),
    ({"datasetId": "a", "inputFormat": "auto"}, "inputFormat"),
    ({"datasetId": "a", "inputFormat": {}}, "inputFormat"),
    ({"datasetId": "a", "inputFormat": {"format": "avro"}}, "inputFormat.format"),
    ({"datasetId": "a", "inputFormat": {"format": 1}}, "inputFormat.format"),
    (
        {"datasetId": "a", "inputFormat": {"format": "json", "isMultiLineJson": "yes"}},
        "inputFormat.isMultiLineJson",
    ),
    ({"datasetId": "a", "inputFormat": {"format": "csv", "rows": 1}}, "inputFormat.rows"),
    ({"datasetId": "a", "externalId": ""}, "externalId"),
    ({"datasetId": "a", "externalId": "a b"}, "externalId"),
    ({"datasetId": "a", "externalId": "x" * 61}, "externalId"),
    ({"datasetId": "a", "externalId": "mine.2"}, "externalId"),  # would be an attempt of `mine`
    ({"datasetId": "a", "externalId": "intake-mine"}, "externalId"),
    ({"datasetId": "a", "externalId": 7}, "externalId"),
    ({"datasetId": "a", "replay": []}, "replay"),
    ({"datasetId": "a", "replay": {"predecessors": []}}, "replay.predecessors"),
    ({"datasetId": "a", "replay": {"predecessors": ["a", 1]}}, "replay.predecessors[1]"),
    ({"datasetId": "a", "replay": {"successors": ["a"]}}, "replay.successors"),
    ({"datasetId": "a", "tags": ["x"]}, "tags"),
    ({"datasetId": "a", "tags": {"x": "y"}}, "tags.x"),
    ({"datasetId": "a", "tags": {"x": ["y" * 1025]}}, "tags.x[0]"),
    ({"datasetId": "a", "tags": {"aep_intake": ["forged"]}}, "tags"),
    ({"datasetId": "a", "tags": {"adobe/x": ["y"]}}, "tags"),
    ({"datasetId": "a", "tags": {"acp_x": ["y"]}}, "tags"),
    ({"datasetId": "a", "tags": {"": ["y"]}}, "tags"),
    ({"datasetId": "a", "enableErrorDiagnostics": "true"}, "enableErrorDiagnostics"),
    ({"datasetId": "a", "partialIngestionPercent": 101}, "partialIngestionPercent"),
    ({"datasetId": "a", "partialIngestionPercent": True}, "partialIngestionPercent"),
    ({"datasetId": "a", "objects": []}, "objects"),
    ({"datasetId": "a", "objects": "s3://landing/a.json"}, "objects"),
    ({"datasetId": "a", "objects": ["https://landing/a.json"]}, "objects[0]"),
    ({"datasetId": "a", "objects": ["s3://landing/"]}, "objects[0]"),
    ({"datasetId": "a", "objects": ["s3://landing/" + "é" * 513]}, "objects[0]"),
    ({"datasetId": "a", "objects": ["s3://landing/a.json"] * 2}, "twice"),
    ({"datasetId": "a", "objects": [f"s3://landing/{n}.json" for n in range(99)]}, "98"),
    ({"datasetId": "a", "tags": {"x": ["y" * 1000] * 40}}, "32,768 bytes"),
    (json.dumps({"datasetId": "a"}) + " " * 256 * 1024, "262,144"),
]


class TestWhatIsRefused:
    @pytest.mark.parametrize(("body", "told"), WRONG, ids=[str(n) for n in range(len(WRONG))])
    def test_a_body_that_is_not_understood_and_the_answer_says_where(
        self, api: Api, body: object, told: str
    ) -> None:
        answer = api.post(body)
        assert (answer.status, answer.reason) == (400, "malformed-request")
        assert told in answer.body["detail"]
        assert len(answer.body["detail"]) < 600
        assert not api.simulator.received and not api.ledger.records

    @pytest.mark.parametrize("text", ["%%%", "é", "/w=="])
    def test_base64_that_is_none_or_holds_no_text(self, api: Api, text: str) -> None:
        assert api.post(text, isBase64Encoded=True).reason == "malformed-request"

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_another_content_type(self, api: Api, kind: str) -> None:
        answer = api.post(BODY, {"Content-Type": kind})
        assert answer.reason == "malformed-request"
        assert "content-type" in answer.body["detail"].lower()

    def test_another_path(self, api: Api) -> None:
        assert api.post(BODY, resource="/elsewhere").reason == "not-found"
        assert api.post(BODY, httpMethod="PUT").status == 404

    def test_by_aep_in_its_own_words(self, api: Api) -> None:
        answer = api.post({"datasetId": "unknown"})
        assert (answer.status, answer.reason) == (422, "batch-refused")
        [received] = api.created()
        assert answer.body["aepStatus"] == received.status
        assert answer.body["aepErrorCode"].startswith("SIMULATED-1003")
        assert answer.body["aepRequestId"]
        assert "Dataset unknown not found" in answer.body["detail"]
        assert answer.body["externalId"] == answer.headers["X-External-Id"]
        assert "Retry-After" not in answer.headers
        [(kind, detail)] = api.bus.taken
        assert (kind, detail["reason"]) == ("Arrival Rejected", "batch-refused")

    @pytest.mark.parametrize(
        ("aep", "ours"), [(400, 422), (404, 422), (413, 422), (415, 422), (422, 422), (403, 502)]
    )
    def test_by_aep_for_what_was_asked_or_for_what_only_an_operator_can_mend(
        self, api: Api, aep: int, ours: int
    ) -> None:
        api.simulator.faults.add(Fault("status", "create", status=aep))
        answer = api.post(BODY, KEY)
        assert (answer.status, answer.reason, answer.body["aepStatus"]) == (
            ours,
            "batch-refused",
            aep,
        )
        assert api.post(BODY, KEY).status == 201, "and nothing was made"

    def test_by_aep_for_a_conflict_that_stays(self) -> None:
        assert explain(BatchRefused("taken", status=409))["status"] == 422

    def test_is_counted_as_a_request_by_its_reason(
        self, api: Api, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.post({})
        api.post({"datasetId": "unknown"})
        printed = capsys.readouterr().out
        lines = [json.loads(line) for line in printed.splitlines() if '"_aws"' in line]
        counted = [line["reason"] for line in lines if "reason" in line]
        assert counted == ["malformed-request", "batch-refused"]
        assert [line["RequestsRejected"] for line in lines if "RequestsRejected" in line] == [
            [1.0]
        ] * 4
        assert "ArrivalsRejected" not in printed

    def test_a_bad_external_id_in_plain_words(self, api: Api) -> None:
        detail = api.post(BODY | {"externalId": "mine.2"}).body["detail"]
        assert detail.startswith("externalId: must be 1 to 60 letters, digits")
        assert "'mine.2'" in detail
        for sign in "\\$[(":
            assert sign not in detail


class TestTarget:
    def test_the_sandbox_is_the_one_of_the_header(self, api: Api) -> None:
        assert api.post(BODY, {"X-SANDBOX-name": "dev"}).status == 201
        [received] = api.created()
        assert received.sandbox == "dev" and not received.sandbox_defaulted

    def test_a_sandbox_must_be_allowed(self, api: Api) -> None:
        answer = api.post(BODY, {"x-sandbox-name": "secret"})
        assert (answer.status, answer.reason) == (422, "target-not-allowed")
        assert not api.created()

    def test_the_organization_is_the_one_of_the_header(self, api: Api) -> None:
        answer = api.post(BODY, {"x-gw-ims-org-id": OTHER_ORG.ims_org})
        assert answer.body["imsOrg"] == OTHER_ORG.ims_org
        record = api.record(answer.headers["X-External-Id"])
        assert record.order.target.credential == OTHER_ARN

    def test_an_organization_must_have_a_credential(self, api: Api) -> None:
        answer = api.post(BODY, {"x-gw-ims-org-id": "somebody@AdobeOrg"})
        assert (answer.status, answer.reason) == (422, "target-not-allowed")
        assert not api.created()

    @pytest.mark.parametrize("name", ["x-sandbox-name", "x-gw-ims-org-id", "idempotency-key"])
    @pytest.mark.parametrize("value", ["", " ", "a\r\nb", "é", "x" * 257])
    def test_a_header_that_says_nothing_is_not_the_default(
        self, api: Api, name: str, value: str
    ) -> None:
        answer = api.post(BODY, {name: value})
        if value == " " and name == "idempotency-key":
            assert answer.status == 201
        else:
            assert (answer.status, answer.reason) == (400, "malformed-request")
            assert name in answer.body["detail"]

    @pytest.mark.parametrize("name", ["x-sandbox-name", "x-gw-ims-org-id", "Idempotency-Key"])
    def test_a_header_with_two_values_is_refused(self, api: Api, name: str) -> None:
        answer = api.post(BODY, multiValueHeaders={name: ["prod", "dev"]})
        assert answer.reason == "malformed-request"
        answer = api.post(BODY, {name: "prod", name.upper(): "dev"}, multiValueHeaders=None)
        assert answer.reason == "malformed-request"
        assert not api.created()


class TestAskingAgain:
    def test_the_same_key_and_body_get_the_same_batch(self, api: Api) -> None:
        one, two = api.post(BODY, KEY), api.post(BODY, KEY)
        assert (one.status, two.status) == (201, 200)
        assert one.body == two.body
        assert two.headers["Location"] == one.headers["Location"]
        assert two.headers["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in one.headers
        assert len(api.created()) == 1

    def test_the_order_of_members_does_not_matter(self, api: Api) -> None:
        members = {"datasetId": LOYALTY, "tags": {}}
        api.post(json.dumps(members), KEY)
        backwards = dict(reversed(members.items()))
        assert api.post(json.dumps(backwards, indent=1), KEY).status == 200

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (BODY | {"datasetId": PRODUCTS}, {}),
            (BODY | {"tags": {"x": ["y"]}}, {}),
            (BODY, {"x-sandbox-name": "dev"}),
            (BODY, {"x-gw-ims-org-id": OTHER_ORG.ims_org}),
        ],
    )
    @pytest.mark.parametrize("named", [False, True])
    def test_the_same_key_with_another_request_is_refused(
        self, api: Api, body: dict[str, Any], headers: dict[str, str], named: bool
    ) -> None:
        name = {"externalId": "mine"} if named else {}
        key = {} if named else KEY
        first = api.post(BODY | name, key)
        answer = api.post(body | name, key | headers)
        assert (answer.status, answer.reason) == (422, "key-reused")
        assert answer.body["externalId"] == first.headers["X-External-Id"]
        assert len(api.created()) == 1

    def test_a_reused_key_leaves_an_unfinished_order_alone(self, api: Api) -> None:
        api.simulator.faults.add(Fault("answer-lost", "create"))
        unfinished = api.post(BODY, KEY)
        api.clock.advance(600_000)
        before, received = dict(api.ledger.records), len(api.simulator.received)
        answer = api.post(BODY | {"datasetId": "no-such"}, KEY | {"x-sandbox-name": "dev"})
        assert answer.reason == "key-reused"
        assert api.ledger.records == before
        assert len(api.simulator.received) == received
        assert api.post(BODY, KEY).headers["X-External-Id"] == unfinished.body["externalId"]

    def test_a_reused_key_is_told_even_where_its_request_makes_no_sense(self, api: Api) -> None:
        api.post(BODY, KEY)
        answer = api.post(BODY | {"objects": ["s3://landing/gone.json"]}, KEY)
        assert answer.reason == "key-reused"
        assert api.post(BODY, KEY | {"x-sandbox-name": "secret"}).reason == "key-reused"

    def test_keys_of_two_callers_are_two_keys(self, api: Api) -> None:
        one = api.post(BODY, KEY, user="arn:aws:iam::123456789012:user/ann")
        two = api.post(BODY, KEY, user="arn:aws:iam::123456789012:user/bob")
        assert (one.status, two.status) == (201, 201)

    def test_sessions_of_a_role_are_one_caller(self, api: Api) -> None:
        api.post(BODY, KEY, user=f"{ROLE}/monday")
        assert api.post(BODY, KEY, user=f"{ROLE}/tuesday").status == 200
        assert api.post(BODY, KEY, user=f"{ROLE}-two/tuesday").status == 201

    def test_who_has_no_arn_is_known_otherwise(self, api: Api) -> None:
        def asked_by(**identity: str) -> int:
            context = POST["requestContext"] | {"identity": identity}
            return api.post(BODY, KEY, requestContext=context).status

        assert asked_by(caller="AROAEXAMPLE:monday", accountId="1") == 201
        assert asked_by(caller="AROAEXAMPLE:tuesday", accountId="1") == 200
        assert asked_by(caller="AROAOTHER:monday", accountId="1") == 201
        assert asked_by(accountId="1") == 201
        assert asked_by(accountId="1") == 200
        assert asked_by(accountId="2") == 201

    def test_an_external_id_is_a_key_that_all_callers_share(self, api: Api) -> None:
        body = BODY | {"externalId": "mine"}
        one = api.post(body, user="arn:aws:iam::123456789012:user/ann")
        two = api.post(body, user="arn:aws:iam::123456789012:user/bob")
        assert (one.status, two.status) == (201, 200)
        assert one.body == two.body and one.headers["X-External-Id"] == "mine"

    def test_a_key_and_an_external_id_are_one_too_many(self, api: Api) -> None:
        answer = api.post(BODY | {"externalId": "mine"}, KEY)
        assert answer.reason == "malformed-request"
        assert "externalId" in answer.body["detail"]

    def test_while_somebody_works_on_it(self, api: Api) -> None:
        created = api.post(BODY, KEY)
        external_id = created.headers["X-External-Id"]
        done = api.record(external_id)
        working = Record.opened(done.order, Lease("somebody", api.clock() + 30_000), api.clock())
        api.ledger.records[external_id] = working
        answer = api.post(BODY, KEY)
        assert (answer.status, answer.reason) == (409, "not-yet")
        assert answer.headers["Retry-After"] == "30"
        assert answer.body["externalId"] == external_id
        assert f"GET /batches/{external_id}" in answer.body["detail"]

    def test_after_the_answer_was_lost(self, api: Api) -> None:
        api.simulator.faults.add(Fault("answer-lost", "create"))
        answer = api.post(BODY, KEY)
        assert (answer.status, answer.reason) == (503, "outcome-unknown")
        early = api.post(BODY, KEY)
        assert (early.status, early.reason) == (409, "not-yet")
        assert int(early.headers["Retry-After"]) >= 120
        api.clock.advance(int(early.headers["Retry-After"]) * 1000)
        again = api.post(BODY, KEY)
        [batch] = api.simulator.batches()
        # Catalog's objects do not hold their id.
        assert (again.status, again.body["id"]) == (201, batch.id)
        assert len(api.created()) == 1

    def test_after_a_refusal_whose_cause_is_mended(self, api: Api) -> None:
        body = {"datasetId": "new", "objects": ["s3://landing/a.json"]}
        api.bucket.objects["landing/a.json"] = Stored(version_id="v1")
        assert api.post(body, KEY).reason == "batch-refused"
        api.simulator.add_dataset(api.seed.ims_org, "prod", "new", "new")
        api.bucket.objects["landing/a.json"] = Stored(version_id="v2")
        answer = api.post(body, KEY)
        assert answer.status == 201
        record = api.record(answer.headers["X-External-Id"])
        # It let the first version go when it was refused, and claims what is there by now.
        [file] = record.order.files
        assert file.version_id == "v2"
        assert api.ledger.claimant(file) == record.order.external_id
        assert api.ledger.claimant(replace(file, version_id="v1")) is None

    def test_a_typo_may_be_put_right_under_the_same_key(self, api: Api) -> None:
        assert api.post(BODY | {"datasetId": "typo"}, KEY).reason == "batch-refused"
        assert api.post(BODY, KEY).status == 201
        assert api.post(BODY | {"datasetId": "typo"}, KEY).reason == "key-reused"

    def test_though_the_objects_are_gone_or_the_sandbox_no_longer_allowed(self, api: Api) -> None:
        body = BODY | {"objects": ["s3://landing/a.json"]}
        api.bucket.objects["landing/a.json"] = Stored()
        one = api.post(body, KEY | {"x-sandbox-name": "dev"})
        api.bucket.objects.clear()
        allowed = Organizations((Organization(ARN, ("prod",)),))
        targets = replace(api.worker.targets, organizations=lambda: allowed)
        api.worker.__dict__["targets"] = targets
        two = api.post(body, KEY | {"x-sandbox-name": "dev"})
        assert (two.status, two.body) == (200, one.body)
        assert api.post(body, {"x-sandbox-name": "dev"}).reason == "target-not-allowed"

    def test_after_the_bus_was_full(self, api: Api) -> None:
        api.bus.full = True
        answer = api.post(BODY, KEY)
        assert (answer.status, answer.reason) == (503, "not-announced")
        api.bus.full = False
        api.clock.advance(60_000)
        again = api.post(BODY, KEY)
        assert again.status == 201
        assert [detail["batchId"] for _, detail in api.bus.taken] == [again.body["id"]]
        assert len(api.created()) == 1


class TestObjects:
    def test_the_sample_request_is_carried_out(self, api: Api) -> None:
        key = "landing/loyalty/2026/11/members.json"
        api.bucket.objects[f"acme-landing/{key}"] = Stored(size=42, version_id="v7", etag="e7")
        answer = api.send(POST)
        assert answer.status == 201
        [(_, detail)] = api.bus.taken
        [file] = detail["files"]
        assert (file["bucket"], file["key"], file["versionId"]) == ("acme-landing", key, "v7")
        assert (file["etag"], file["size"], detail["byteCount"]) == ("e7", 42, 42)
        assert "objects" not in sent(api)
        arrived = Arrival("acme-landing", key, "v7", "e7", "0062", 42, START)
        assert api.ledger.claimant(arrived) == answer.headers["X-External-Id"]

    @pytest.mark.parametrize(
        "key", ["a b+c%20d.json", "a//b/../c.json", "ä/日本.json", "x?versionId=1&y#z.json"]
    )
    def test_keys_are_taken_as_they_are(self, api: Api, key: str) -> None:
        api.bucket.objects[f"landing/{key}"] = Stored()
        assert api.post(BODY | {"objects": [f"s3://landing/{key}"]}).status == 201
        assert api.bucket.asked == [f"landing/{key}"]
        [(_, detail)] = api.bus.taken
        assert detail["files"][0]["key"] == key

    def test_are_looked_up_side_by_side_and_stay_in_order(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.function, "LOOK_AT_S", 60)
        keys = [f"{n}.json" for n in range(98)]
        api.bucket.objects = {f"landing/{key}": Stored() for key in keys}
        api.bucket.meanwhile = partial(threading.Barrier(2).wait, 60)  # each waits for another
        answer = api.post(BODY | {"objects": [f"s3://landing/{key}" for key in keys]})
        assert answer.status == 201
        [(_, detail)] = api.bus.taken
        assert [file["key"] for file in detail["files"]] == keys
        assert 2 <= api.bucket.most_at_once <= 10

    def test_nobody_waits_for_s3_without_end(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.function, "LOOK_AT_S", 0.05)
        over = threading.Event()
        api.bucket.meanwhile = partial(over.wait, 60)
        answer = api.post(BODY | {"objects": [f"s3://landing/{n}.json" for n in range(98)]})
        over.set()
        assert (answer.status, answer.reason) == (503, "storage-unavailable")
        assert not api.ledger.records

    @pytest.mark.parametrize(
        ("stored", "status", "reason"),
        [
            (Stored(status=404), 400, "malformed-request"),
            (Stored(status=403), 503, "not-readable"),
            (Stored(status=403, code="InvalidObjectState"), 422, "object-archived"),
            (Stored(status=503), 503, "storage-unavailable"),
            (Stored(size=0), 422, "empty-object"),
        ],
    )
    def test_must_be_there_and_hold_something(
        self, api: Api, stored: Stored, status: int, reason: str
    ) -> None:
        api.bucket.objects = {"landing/a.json": Stored(), "landing/b.json": stored}
        answer = api.post(BODY | {"objects": ["s3://landing/a.json", "s3://landing/b.json"]})
        assert (answer.status, answer.reason) == (status, reason)
        assert "b.json" in answer.body["detail"]
        assert not api.ledger.records and not api.created()

    def test_must_be_in_a_bucket_of_the_stack(self, api: Api) -> None:
        answer = api.post(BODY | {"objects": ["s3://landing/a.json", "s3://elsewhere/a.json"]})
        assert (answer.status, answer.reason) == (422, "target-not-allowed")
        assert "objects[1]" in answer.body["detail"]
        assert not api.bucket.asked

    def test_that_another_order_holds_are_told(self, api: Api) -> None:
        api.bucket.objects = {f"landing/{name}.json": Stored() for name in "abc"}
        first = api.post(BODY | {"objects": ["s3://landing/a.json", "s3://landing/b.json"]})
        answer = api.post(BODY | {"objects": ["s3://landing/c.json", "s3://landing/b.json"]}, KEY)
        assert (answer.status, answer.reason) == (409, "already-claimed")
        assert answer.body["claimed"] == {"s3://landing/b.json": first.headers["X-External-Id"]}
        assert "Retry-After" not in answer.headers
        assert len(api.created()) == 1

    def test_without_versions_are_known_by_their_content(self, api: Api) -> None:
        body = BODY | {"objects": ["s3://landing/a.json"]}
        api.bucket.objects["landing/a.json"] = Stored(version_id="null", etag="one")
        assert api.post(body).status == 201
        assert api.post(body).reason == "already-claimed"
        api.bucket.objects["landing/a.json"] = Stored(version_id=None, etag="two")
        assert api.post(body).status == 201

    @pytest.mark.parametrize(
        ("names", "format_"),
        [
            (["a.json", "b.jsonl.gz"], {"format": "json"}),
            (["a.CSV"], {"format": "csv"}),
            (["a.parquet"], {"format": "parquet"}),
        ],
    )
    def test_say_their_format_by_their_names(
        self, api: Api, names: list[str], format_: dict[str, str]
    ) -> None:
        api.bucket.objects = {f"landing/{name}": Stored() for name in names}
        assert api.post(BODY | {"objects": [f"s3://landing/{n}" for n in names]}).status == 201
        assert sent(api)["inputFormat"] == format_

    @pytest.mark.parametrize("names", [["a.json", "b.csv"], ["a"], ["a.json", "b.txt"]])
    def test_whose_names_say_no_one_format_need_one_in_the_request(
        self, api: Api, names: list[str]
    ) -> None:
        rows = b"a,b\n1,2\n"
        api.bucket.objects = {f"landing/{name}": Stored(content=rows) for name in names}
        body = BODY | {"objects": [f"s3://landing/{name}" for name in names]}
        answer = api.post(body)
        assert (answer.status, answer.reason) == (422, "format-unknown")
        assert api.post(body | {"inputFormat": {"format": "csv"}}).status == 201

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("a.csv", b"PK\x03\x04" + bytes(40), "format-mismatch"),
            ("a.csv", b"name,city\nZo\xeb,K\xf6ln\n", "format-mismatch"),
            ("a.csv", b"name,city\n", "too-few-rows"),
            ("a.json", b'{"a": 1}\nno row\n', "bad-rows"),
            ("a.parquet", b"PAR1" + bytes(40), "format-mismatch"),
        ],
    )
    def test_are_looked_into_like_files(
        self, api: Api, name: str, content: bytes, reason: str
    ) -> None:
        """Before a batch is spent; one wrong object of several is named."""
        api.bucket.objects = {
            f"landing/good-{name}": Stored(),
            f"landing/{name}": Stored(content=content),
        }
        answer = api.post(BODY | {"objects": [f"s3://landing/good-{name}", f"s3://landing/{name}"]})
        assert (answer.status, answer.reason) == (422, reason)
        assert f"s3://landing/{name}" in answer.body["detail"]
        assert api.created() == []
        if reason in ("too-few-rows", "bad-rows"):  # by which no route goes
            assert "route" not in answer.body["detail"]
            assert ", and a request " in answer.body["detail"]

    def test_may_have_broken_rows_where_aep_judges_them(self, api: Api) -> None:
        api.bucket.objects["landing/a.json"] = Stored(content=b'{"a": 1}\nno row\n')
        body = BODY | {"objects": ["s3://landing/a.json"], "partialIngestionPercent": 60}
        assert api.post(body).status == 201

    def test_are_unpacked_by_their_bytes_and_not_by_their_names(self, api: Api) -> None:
        api.bucket.objects = {
            "landing/packed.json": Stored(content=gzip.compress(b"{}\n")),
            "landing/plain.json.gz": Stored(content=b"{}\n"),
        }
        objects = [f"s3://{place}" for place in api.bucket.objects]
        made = api.post(BODY | {"objects": objects})
        files = api.record(made.headers["X-External-Id"]).order.files
        assert [file.gzipped for file in files] == [True, False]

    def test_of_different_layouts_need_a_batch_each(self, api: Api) -> None:
        api.bucket.objects = {
            "landing/lines.json": Stored(content=b'{"a": 1}\n{"a": 2}\n'),
            "landing/array.json": Stored(content=b'[{"a": 1}]'),
        }
        answer = api.post(BODY | {"objects": [f"s3://{place}" for place in api.bucket.objects]})
        assert (answer.status, answer.reason) == (422, "format-mismatch")
        assert "request a batch for each" in answer.body["detail"]


class TestTrouble:
    @pytest.mark.parametrize(
        ("fault", "status", "reason", "retry_after"),
        [
            (Fault("gateway", "create", code="429050", retry_after="45"), 503, None, "45"),
            (Fault("gateway", "create", code="503010"), 503, None, "10"),
            (Fault("request-lost", "create"), 503, None, "10"),
            (Fault("status", "create", status=500), 503, "outcome-unknown", "130"),
            (
                Fault("gateway", "create", code="401013", count=2),
                502,
                "credential-unusable",
                None,
            ),
        ],
    )
    def test_of_aeps_is_told_with_the_order_that_goes_on(
        self, api: Api, fault: Fault, status: int, reason: str | None, retry_after: str | None
    ) -> None:
        api.simulator.faults.add(fault)
        answer = api.post(BODY)
        assert (answer.status, answer.reason) == (status, reason or "platform-unavailable")
        assert answer.headers.get("Retry-After") == retry_after
        assert answer.body.get("retryAfter") == (retry_after and int(retry_after))
        external_id = answer.body["externalId"]
        assert answer.headers["X-External-Id"] == external_id
        assert f"GET /batches/{external_id}" in answer.body["detail"]
        standing = api.get(external_id)
        assert (standing.body["state"], standing.body["reason"]) == (
            "retrying",
            answer.reason,
        )
        assert standing.body["until"] == standing.body["due"]

    def test_of_the_ledgers(self, api: Api) -> None:
        api.conflict = True
        answer = api.post(BODY, KEY)
        assert (answer.status, answer.reason) == (503, "ledger-unavailable")
        assert answer.body["externalId"] and answer.headers["Retry-After"]
        assert not api.created()

    def test_nobody_foresaw_is_logged_and_says_nothing_of_itself(
        self, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(record: Record) -> Record:
            raise ZeroDivisionError("secret sauce")

        monkeypatch.setattr(api.ledger, "open", broken)
        logger = logging.getLogger(api.function.logger.name)
        logger.addHandler(caplog.handler)
        try:
            answer = api.post(BODY, KEY)
        finally:
            logger.removeHandler(caplog.handler)
        assert (answer.status, answer.reason) == (500, "internal-error")
        assert answer.body["externalId"] and "sauce" not in json.dumps(answer.body)
        assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)


# Of a batch that others fill.
LOADED = {
    "state": "loaded",
    "why": "AEP says that its batch is success",
    "since": "2026-11-18T11:06:40.000Z",
}


class TestTelling:
    def test_what_the_ledger_and_aep_know(self, api: Api) -> None:
        api.bucket.objects["landing/a.json"] = Stored()
        body = BODY | {"objects": ["s3://landing/a.json"], "externalId": "mine"}
        batch_id = api.post(body, {"x-sandbox-name": "dev"}).body["id"]
        api.simulator.set_status(batch_id, "success")
        [batch] = api.simulator.batches()
        answer = api.get(batch_id)
        assert answer.status == 200 and answer.headers["X-External-Id"] == "mine"
        assert answer.body == {
            "externalId": "mine",
            "attempt": 1,
            **LOADED,
            "batchId": batch_id,
            "imsOrg": api.seed.ims_org,
            "sandbox": "dev",
            "datasetId": LOYALTY,
            "inputFormat": {"format": "json"},
            "trigger": "request",
            "files": ["s3://landing/a.json"],
            "fileCount": 1,
            "openedAt": "2026-11-18T11:06:40.000Z",
            "createdAt": "2026-11-18T11:06:40.000Z",
            "aep": in_catalog(batch),
        }
        assert batch.members["status"] == "success"
        assert api.get("mine") == answer

    def test_why_there_is_no_batch(self, api: Api) -> None:
        refused = api.post({"datasetId": "unknown", "externalId": "mine"})
        answer = api.get("mine")
        assert (answer.body["state"], answer.body["reason"]) == ("rejected", "batch-refused")
        assert answer.body["detail"] == refused.body["detail"]
        assert answer.body["aep"] is None and "batchId" not in answer.body

    def test_of_the_latest_attempt(self, api: Api) -> None:
        api.simulator.faults.add(Fault("answer-lost", "create"))
        api.post(BODY | {"externalId": "mine"})
        [batch] = api.simulator.batches()
        api.simulator.set_status(batch.id, "abandoned")
        api.clock.advance(600_000)
        again = api.post(BODY | {"externalId": "mine"})
        assert (again.status, again.headers["X-External-Id"]) == (201, "mine.2")
        assert api.post(BODY | {"externalId": "mine"}).body == again.body
        assert api.post(BODY | {"externalId": "mine", "tags": {}}).reason == "key-reused"
        for wanted in ("mine", "mine.2", again.body["id"]):
            answer = api.get(wanted)
            assert (answer.body["externalId"], answer.body["attempt"]) == ("mine.2", 2)
            assert answer.body["batchId"] == again.body["id"]

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (Fault("status", "get-batch", status=500), "platform-unavailable"),
            (Fault("request-lost", "get-batch"), "platform-unavailable"),
            (Fault("gateway", "get-batch", code="401013", count=2), "credential-unusable"),
        ],
    )
    def test_though_aep_cannot_be_asked(self, api: Api, fault: Fault, reason: str) -> None:
        batch_id = api.post(BODY).body["id"]
        api.simulator.faults.add(fault)
        answer = api.get(batch_id)
        assert (answer.status, answer.body["batchId"]) == (200, batch_id)
        assert answer.body["aep"] is None
        assert answer.body["aepError"]["reason"] == reason

    def test_though_catalog_does_not_show_it_yet(self, api: Api) -> None:
        batch_id = api.post(BODY).body["id"]
        api.simulator.show_in_catalog(lambda batch, now: False)
        answer = api.get(batch_id)
        assert answer.body["aep"] is None and "aepError" not in answer.body

    @pytest.mark.parametrize(
        "wanted", ["unknown", "", ".", "..", "a b", "é", "x" * 201, "a\r\nb", "../dataSets/x"]
    )
    def test_nothing_of_what_is_not_there(self, api: Api, wanted: str) -> None:
        answer = api.get(wanted)
        assert (answer.status, answer.reason) == (404, "not-found")
        assert not api.simulator.received

    def test_that_the_ledger_cannot_tell(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        def unavailable(external_id: str) -> Record:
            raise LedgerUnavailable("throttled")

        monkeypatch.setattr(api.ledger, "get", unavailable)
        answer = api.get("mine")
        assert (answer.status, answer.reason) == (503, "ledger-unavailable")
        assert answer.headers["Retry-After"] == "10"


def where(api: Api, *uris: str) -> Answer:
    """GET /objects, with the parameters as API Gateway has decoded them."""
    several = {"uri": list(uris)} if uris else None
    last = {"uri": uris[-1]} if uris else None
    parameters = {"multiValueQueryStringParameters": several, "queryStringParameters": last}
    return api.send(WHERE | parameters)


class TestWhereAFileIs:
    def named(self, api: Api, *keys: str, versions: int = 1) -> list[str]:
        """Objects that requests named, each in each version; the batches they got."""
        made = []
        for n in range(versions):
            api.bucket.objects |= {f"landing/{key}": Stored(version_id=f"v{n}") for key in keys}
            uris = [f"s3://landing/{key}" for key in keys]
            form = {"inputFormat": {"format": "json"}}
            made.append(api.post(BODY | form | {"objects": uris}).body["id"])
        return made

    def test_is_told_with_its_batch_and_what_aep_says_of_it(self, api: Api) -> None:
        [batch_id] = self.named(api, "a.json")
        api.simulator.set_status(batch_id, "success")
        [batch] = api.simulator.batches()
        answer = where(api, "s3://landing/a.json")
        assert answer.status == 200
        assert answer.headers == {"Content-Type": "application/json"}
        assert answer.body == {
            "uri": "s3://landing/a.json",
            "versions": [
                {
                    "versionId": "v0",
                    **LOADED,
                    "externalId": batch.members["externalId"],
                    "attempt": 1,
                    "batchId": batch_id,
                    "trigger": "request",
                    "imsOrg": api.seed.ims_org,
                    "sandbox": "prod",
                    "datasetId": LOYALTY,
                    "inputFormat": {"format": "json"},
                    "openedAt": "2026-11-18T11:06:40.000Z",
                    "createdAt": "2026-11-18T11:06:40.000Z",
                    "aep": in_catalog(batch),
                }
            ],
            "versionCount": 1,
        }
        assert batch.members["status"] == "success"

    def test_the_sample_question_is_answered(self, api: Api) -> None:
        uri = WHERE["queryStringParameters"]["uri"]
        assert api.send(WHERE).reason == "not-found"
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        arrived = Arrival(bucket, key, None, "e", "0061", 10, START)
        api.ledger.reject(arrived, Rejection.of(NoRoute("no route fits"), START))
        answer = api.send(WHERE)
        assert (answer.status, answer.body["uri"]) == (200, uri)
        [told] = answer.body["versions"]
        assert (told["state"], told["reason"]) == ("rejected", "no-route")

    @pytest.mark.parametrize(
        "key",
        [
            "a b+c%20d.json",
            "a%2Fb.json",
            "a//b/../c.json",
            "ä/日本/🗝.json",
            "x?uri=s3://landing/y&z#.json",
            "new\nline\x00\x7f",
            " ",
            "/",
            "k" * 1024,
            "é" * 512,
        ],
    )
    def test_keys_are_taken_as_they_are(self, api: Api, key: str) -> None:
        self.named(api, key)
        answer = where(api, f"s3://landing/{key}")
        assert (answer.status, answer.body["uri"]) == (200, f"s3://landing/{key}")
        for other in (f"{key} ", f" {key}", key.replace("+", " ") + "+", key.upper() + "."):
            assert where(api, f"s3://landing/{other}").status in (400, 404)

    @pytest.mark.parametrize(
        "uris",
        [
            (),
            ("",),
            ("landing/a.json",),
            ("s3://landing",),
            ("s3://landing/",),
            ("s3:///a.json",),
            ("S3://landing/a.json",),
            ("s3%3A%2F%2Flanding%2Fa.json",),
            ("https://landing.s3.amazonaws.com/a.json",),
            ("s3://lan ding/a.json",),
            ("s3://landing/" + "é" * 513,),
            ("s3://landing/a.json", "s3://landing/b.json"),
        ],
    )
    def test_a_question_that_is_not_understood(self, api: Api, uris: tuple[str, ...]) -> None:
        answer = where(api, *uris)
        assert (answer.status, answer.reason) == (400, "malformed-request")
        assert "s3://bucket/key" in answer.body["detail"]
        assert len(answer.body["detail"]) < 600

    def test_text_that_is_not_unicode_is_no_key(self, api: Api) -> None:
        assert where(api, "s3://landing/\ud800.json").reason == "not-found"

    def test_whatever_else_is_asked_is_no_failure(self, api: Api) -> None:
        @given(st.text(max_size=60) | st.text(max_size=60).map("s3://landing/{}".format))
        def ask_it(uri: str) -> None:
            assert where(api, uri).status in (400, 404)

        ask_it()
        assert not api.simulator.received

    def test_nothing_of_what_never_came(self, api: Api) -> None:
        self.named(api, "a.json")
        received = len(api.simulator.received)
        answer = where(api, "s3://landing/b.json")
        assert (answer.status, answer.reason) == (404, "not-found")
        assert "ledger" in answer.body["detail"]
        assert len(api.simulator.received) == received

    def test_that_it_is_left_out_by_its_route_or_its_name(self, api: Api) -> None:
        api.routes = [
            {"name": "not-ours", "match": "tmp/**", "ignore": True},
            {"name": "rest", "match": "**", "datasetId": LOYALTY},
        ]
        for key, says in {
            "tmp/a.json": "route `not-ours` leaves it out",
            "a/.hidden/b.json": "never data",
            "a/b.json": "no event of this object has come",
        }.items():
            answer = where(api, f"s3://landing/{key}")
            assert (answer.status, answer.reason) == (404, "not-found")
            assert says in answer.body["detail"]

    def test_a_restored_ledger_says_that_it_may_have_forgotten(self, api: Api) -> None:
        """Of what it does not know, and of what may have gone on since; while that can matter."""
        [batch_id] = self.named(api, "a.json")
        about: dict[str, str | int] = {"uri": "s3://landing/a.json", "versionCount": 1}
        api.ledger.identity.known = LedgerIdentity("ledger", START, START + 1000)
        at = "2026-11-18T11:06:40.000Z"
        for unknown in (where(api, "s3://landing/b.json"), api.get("nobody-s")):
            assert (unknown.status, unknown.reason) == (404, "not-found")
            assert at in unknown.body["detail"]
        told = where(api, "s3://landing/a.json").body
        assert (told["ledgerRestoredAt"], told.items() >= about.items()) == (at, True)
        assert api.get(batch_id).body["ledgerRestoredAt"] == at
        assert at not in where(api, "s3://elsewhere/a.json").body["detail"]
        api.clock.advance(1000)
        assert "restored" not in where(api, "s3://landing/b.json").body["detail"]
        assert "ledgerRestoredAt" not in api.get(batch_id).body

    def test_nothing_of_other_buckets(self, api: Api) -> None:
        arrived = Arrival("elsewhere", "a.json", "v1", "e", "0061", 10, START)
        api.ledger.reject(arrived, Rejection.of(NoRoute("no route fits"), START))
        answer = where(api, "s3://elsewhere/a.json")
        assert (answer.status, answer.reason) == (404, "not-found")
        assert "SourceBucketNames" in answer.body["detail"]

    @pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
    def test_only_get(self, api: Api, method: str) -> None:
        assert api.send(WHERE | {"httpMethod": method}).reason == "not-found"

    def test_though_aep_does_not_answer(self, api: Api) -> None:
        [batch_id] = self.named(api, "a.json")
        api.simulator.faults.add(Fault("status", "get-batch", status=500))
        [told] = where(api, "s3://landing/a.json").body["versions"]
        assert (told["batchId"], told["aep"]) == (batch_id, None)
        assert told["aepError"]["reason"] == "platform-unavailable"

    def test_all_versions_are_asked_for_side_by_side(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = self.named(api, "a.json", versions=30)
        at_once, most = 0, 0
        plain, another = api.worker.adobe.batch, threading.Barrier(2)

        def batch(target: Target, batch_id: str) -> Batch | None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            another.wait(60)
            at_once -= 1
            return plain(target, batch_id)

        monkeypatch.setattr(api.worker.adobe, "batch", batch)
        answer = where(api, "s3://landing/a.json")
        versions = answer.body["versions"]
        assert [told["batchId"] for told in versions] == made[::-1]
        assert all(told["aep"]["status"] == "loading" for told in versions)
        assert 2 <= most <= 10

    def test_nobody_waits_for_aep_without_end(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, over = self.named(api, "a.json", versions=12), threading.Event()
        plain = api.worker.adobe.batch

        def slow(target: Target, batch_id: str) -> Batch | None:
            if batch_id != made[-1]:
                over.wait(60)
            return plain(target, batch_id)

        def waits(saying: list[Future[Any]], seconds: float) -> Any:
            """As long as the one takes that AEP tells, however busy this machine is."""
            assert seconds == status.ASK_AEP_S
            return wait(saying, 60, FIRST_COMPLETED)

        monkeypatch.setattr(api.worker.adobe, "batch", slow)
        monkeypatch.setattr(status, "wait", waits)
        newest, *others = where(api, "s3://landing/a.json").body["versions"]
        over.set()
        assert newest["aep"]["status"] == "loading"
        assert {told["aepError"]["reason"] for told in others} == {"platform-unavailable"}
        assert [told["batchId"] for told in others] == made[-2::-1]

    def test_that_the_ledger_cannot_tell(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.named(api, "a.json")

        def unavailable(_: str) -> Record:
            raise LedgerUnavailable("throttled")

        monkeypatch.setattr(api.ledger, "get", unavailable)
        answer = where(api, "s3://landing/a.json")
        assert (answer.status, answer.reason) == (503, "ledger-unavailable")
        assert answer.headers["Retry-After"] == "10"
        assert "externalId" not in answer.body

    def test_what_nobody_foresaw_says_nothing_of_itself(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.named(api, "a.json")

        def broken(target: Target, batch_id: str) -> Batch:
            raise ZeroDivisionError("secret sauce")

        monkeypatch.setattr(api.worker.adobe, "batch", broken)
        answer = where(api, "s3://landing/a.json")
        assert (answer.status, answer.reason) == (500, "internal-error")
        assert "sauce" not in json.dumps(answer.body)


LIST = json.loads((EVENTS / "api-get-batches.json").read_text("utf-8"))


class TestAList:
    """What is listed: see test_listing."""

    @pytest.fixture(autouse=True)
    def empty(self, api: Api) -> SimpleNamespace:
        journal = SimpleNamespace(names=lambda _: [])
        listed = SimpleNamespace(orders=lambda _: {}, unfinished=lambda *_: ([], ""))
        api.worker.__dict__.update(journal=journal, listed=listed)
        return journal

    def test_the_sample_question_is_answered(self, api: Api) -> None:
        answer = api.send(LIST)
        assert (answer.status, answer.body) == (200, {"batches": []})
        assert answer.headers == {"Content-Type": "application/json"}

    @pytest.mark.parametrize("asked", [{"state": "done"}, {"token": "x"}, {"page": "2"}])
    def test_a_question_that_is_not_understood(self, api: Api, asked: dict[str, str]) -> None:
        answer = api.send(LIST | {"queryStringParameters": asked})
        assert (answer.status, answer.reason) == (400, "malformed-request")

    def test_that_the_journal_cannot_tell(self, api: Api, empty: SimpleNamespace) -> None:
        def down(_: str) -> None:
            raise StorageUnavailable("SlowDown")

        empty.names = down
        assert api.send(LIST).reason == "storage-unavailable"

    def test_without_a_journal_there_is_none(self, environment: dict[str, str]) -> None:
        answer = Api(environment | {"JOURNAL_DAYS": "0"}).send(LIST)
        assert (answer.status, answer.reason) == (404, "not-found")
        assert "JournalDays" in answer.body["detail"]


class TestAnotherAttempt:
    def test_is_made_where_the_batch_ended_without_data(self, api: Api) -> None:
        first = api.post(BODY).body["id"]
        api.simulator.set_status(first, "abandoned")
        order = api.get(first).body["externalId"]
        place, why = ("arrivals", "order", order), Rejection("batch-abandoned", "it ended", START)
        api.worker.parking.message("dead", place, "{}", About(order), why)
        answer = api.try_anew(first)
        assert answer.status == 201
        assert api.parked.items == {}
        assert answer.body["id"] != first
        assert answer.headers["X-External-Id"].endswith(".2")
        assert answer.headers["Location"] == f"/v1/batches/{answer.body['id']}"
        assert [detail["attempt"] for _, detail in api.bus.taken] == [1, 2]
        assert api.get(first).body["batchId"] == answer.body["id"]

    @pytest.mark.parametrize("status", ["loading", "success", "staging", "inactive"])
    def test_is_refused_where_it_could_double_data(self, api: Api, status: str) -> None:
        first = api.post(BODY).body["id"]
        api.simulator.set_status(first, status)
        answer = api.try_anew(first)
        assert (answer.status, answer.reason) == (409, "not-ended")
        assert first in answer.body["detail"]
        assert len(api.created()) == 1

    def test_is_refused_where_the_same_bytes_are_loaded(self, api: Api) -> None:
        """Its rows would be there twice, unless somebody wants that."""
        wanted = BODY | {"objects": ["s3://landing/in/a.json"]}
        api.bucket.objects["landing/in/a.json"] = Stored()
        first = api.post(wanted).body["id"]
        api.simulator.set_status(first, "abandoned")
        api.bucket.objects["landing/in/a.json"] = Stored(version_id="v2")
        newer = api.post(wanted, key="another").body["id"]
        answer = api.try_anew(first)
        assert (answer.status, answer.reason) == (409, "overtaken")
        assert newer in answer.body["detail"]
        answer = api.try_anew(first, {"evenIfOvertaken": "yes"})
        assert (answer.status, answer.reason) == (400, "malformed-request")
        assert api.try_anew(first, {"evenIfOvertaken": True}).status == 201

    def test_of_many_files_is_left_to_a_redrive(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api.function, "FILES_CHECKED", 0)
        api.bucket.objects["landing/in/a.json"] = Stored()
        first = api.post(BODY | {"objects": ["s3://landing/in/a.json"]}).body["id"]
        api.simulator.set_status(first, "abandoned")
        assert api.try_anew(first).reason == "too-large"
        assert api.try_anew(first, {"evenIfOvertaken": True}).status == 201

    def test_is_nobodys_for_what_nobody_knows(self, api: Api) -> None:
        assert api.try_anew("nobody-knows").status == 404
        assert api.try_anew("not an id").status == 404


def test_how_a_batch_is_filled_is_told(api: Api) -> None:
    answer = api.post(BODY)
    record = api.record(answer.headers["X-External-Id"])
    delivery = Delivery.of(record, (), 1, START).then(
        stage=DeliveryStage.ENDED,
        due=None,
        total=3,
        uploaded_at=START,
        verdict=Verdict(End.SUCCEEDED, "success", "all is well", START, {"inputRecordCount": 7}),
    )
    api.deliveries[record.order.external_id] = delivery
    assert api.get(answer.body["id"]).body["delivery"] == {
        "stage": "ended",
        "uploads": 3,
        "uploadedAt": iso(START),
        "end": "succeeded",
        "status": "success",
        "detail": "all is well",
        "endedAt": iso(START),
        "recordCount": 7,
    }


def test_what_is_paused_is_told_to_who_asks(api: Api) -> None:
    """Who paused it, and since when. The same request is answered once that is over."""
    pause = Pause(f"dataset#{LOYALTY}", START, "arn:ann", "its schema is being changed")
    made = api.post(BODY | {"externalId": "before"})
    api.ledger.pauses.put(pause)
    told = api.post(BODY | {"externalId": "mine"})
    assert (told.status, told.reason, told.headers["Retry-After"]) == (409, "paused", "60")
    assert told.body["detail"].startswith(str(pause))
    assert api.ledger.get("mine") is None
    assert api.post(BODY | {"externalId": "before"}).body["id"] == made.body["id"]
    [batch] = api.simulator.batches()
    batch.become("aborted", api.clock())
    again = api.try_anew("before")
    assert (again.status, again.reason) == (409, "paused")
    assert api.get("before").body["state"] == "paused"
    api.ledger.pauses.put(replace(pause, resumed_at=START))
    assert api.post(BODY | {"externalId": "mine"}).status == 201
    assert api.try_anew("before").status == 201
    assert api.record("before.2").paused is None


@pytest.mark.parametrize("prefix", ["intake-", "window-", "delivery-"])
def test_ids_like_ours_are_refused(api: Api, prefix: str) -> None:
    """What is due is told by its id: a caller's order would be taken for a window or a delivery."""
    answer = api.post(BODY | {"externalId": f"{prefix}of-a-caller"})
    assert (answer.status, answer.reason) == (400, "malformed-request")
    assert f"`{prefix}`" in answer.body["detail"]
    assert api.post(BODY | {"externalId": f"my-{prefix}1"}).status == 201
