"""What is promised of requests, on the deployed template with IAM enforced."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY, PRODUCTS
from local.stack import LocalStack
from tests.stack.scene import PATIENCE, SAMPLES, Scene, scene, until

ASKED = {"datasetId": LOYALTY, "inputFormat": {"format": "json"}}
ROUTES = [
    *json.loads(SAMPLES)["routes"],
    {"name": "daily", "match": "daily/**", **ASKED, "batch": {"window": "24h"}},
    {"name": "folders", "match": "folders/*/**", **ASKED, "batch": {"marker": "_SUCCESS"}},
]


@pytest.fixture(scope="module")
def there(deployed: LocalStack) -> Iterator[Scene]:
    routes = json.dumps({"routes": ROUTES}).encode()
    with scene(deployed, "requests", routes=routes) as made:
        yield made


@pytest.fixture
def here(there: Scene) -> Iterator[Scene]:
    yield there
    there.aep.faults.clear()


def ask(here: Scene, body: object = ASKED, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return here.stack.sender.call("POST", f"{here.stack.api}/batches", body, named)


def tell(here: Scene, wanted: str) -> requests.Response:
    return here.stack.sender.call("GET", f"{here.stack.api}/batches/{wanted}")


def where(here: Scene, key: str) -> requests.Response:
    uri = quote(f"s3://{here.bucket}/{key}", safe="")
    return here.stack.sender.call("GET", f"{here.stack.api}/objects?uri={uri}")


def version_of(here: Scene, key: str, state: str) -> Any:
    """What is said of the one version of an object, once it is in that state."""

    def found() -> Any:
        answer = where(here, key)
        [version] = answer.json().get("versions", [{}])
        return version if version.get("state") == state else None

    return until(found, f"{key} is not {state}")


def announced(here: Scene, external_id: str) -> Any:
    [event] = here.stack.listener.wait(
        lambda event: event["detail"]["externalId"] == external_id, timeout=PATIENCE
    )
    return event["detail"]


def refused(answer: requests.Response, status: int, reason: str) -> Mapping[str, Any]:
    """The problem that the answer describes."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:aep-intake:problem:{reason}", status)
    return problem


def test_a_request_is_answered_as_adobe_would_and_announced(here: Scene) -> None:
    answer = ask(here, {**ASKED, "tags": {"team": ["web"]}}, x_sandbox_name="dev")
    assert answer.status_code == 201
    batch = answer.json()
    external_id = answer.headers["X-External-Id"]
    [made] = here.batches(external_id)
    assert made["sandbox"] == "dev"
    assert batch == {name: value for name, value in made.items() if name != "sandbox"}
    assert batch["tags"]["team"] == ["web"]
    detail = announced(here, external_id)
    assert (
        detail.items()
        >= {
            "batchId": batch["id"],
            "trigger": "request",
            "sandbox": "dev",
            "datasetId": LOYALTY,
            "inputFormat": {"format": "json"},
            "fileCount": 0,
        }.items()
    )
    assert answer.headers["Location"].endswith(f"/batches/{batch['id']}")
    told = tell(here, answer.headers["Location"].rpartition("/")[2])
    assert told.status_code == 200
    assert told.json() == tell(here, external_id).json()
    assert (
        told.json().items()
        >= {
            "externalId": external_id,
            "batchId": batch["id"],
            "state": "loading",
        }.items()
    )
    assert told.json()["aep"]["status"] == "loading"


def put(here: Scene, url: str, content: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """Status and code of S3's answer to whoever has the URL, and no identity of AWS."""
    with requests.Session() as session:
        session.trust_env = False
        verify = str(here.stack.authority)
        answer = session.put(url, data=content, headers=headers, verify=verify, timeout=60)
    code = re.search(r"<Code>(\w+)</Code>", answer.text)
    return answer.status_code, code[1] if code else ""


def test_a_file_is_sent_over_http_once_as_it_was_announced(here: Scene) -> None:
    key, content = "landing/loyalty/by-http/members é.jsonl", b'{"a": 1}\n'
    wanted = {"key": key, "length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    uploads = f"{here.stack.api}/uploads"
    answer = here.stack.sender.call("POST", uploads, wanted)
    assert answer.status_code == 200, answer.text
    signed = answer.json()
    assert signed["uri"] == f"s3://{here.bucket}/{key}"
    url = signed["url"]
    headers = {name: value for name, value in signed["headers"].items() if name[0] != "C"}
    assert put(here, url, content + b" ", headers) == (403, "SignatureDoesNotMatch")
    assert put(here, url, content.replace(b"1", b"2"), headers) == (400, "BadDigest")
    bare = {name: value for name, value in headers.items() if name != "If-None-Match"}
    assert put(here, url, content, bare) == (403, "SignatureDoesNotMatch")
    other = url.replace("by-http", "by-hand")
    assert put(here, other, content, headers) == (403, "SignatureDoesNotMatch")
    tagged = headers | {"x-amz-tagging": "a=b"}
    assert put(here, url, content, tagged) == (403, "AccessDenied")
    assert put(here, url, content, headers) == (200, "")
    assert put(here, url, content, headers) == (412, "PreconditionFailed")
    detail = here.about(key)
    assert [batch["id"] for batch in here.batches(detail["externalId"])] == [detail["batchId"]]
    assert detail["files"][0]["size"] == len(content)
    refused(here.stack.sender.call("POST", uploads, wanted), 409, "object-exists")
    # What was signed is nowhere in a log.
    said = json.dumps(here.stack.logged("on-request"))
    query = {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}
    assert "upload signed" in said
    assert query["X-Amz-Signature"] not in said and query["X-Amz-Security-Token"] not in said


def test_an_upload_that_no_route_takes_is_not_signed(here: Scene) -> None:
    """On_request may take the role that puts, and put nothing itself."""

    def asked(key: str) -> requests.Response:
        wanted = {"key": key, "length": 1, "sha256": "0" * 64}
        return here.stack.sender.call("POST", f"{here.stack.api}/uploads", wanted)

    refused(asked("nowhere/a.json"), 422, "no-route")
    refused(asked("folders/a/_SUCCESS"), 422, "key-not-taken")


def test_adobes_own_path_makes_a_batch(here: Scene) -> None:
    url = f"{here.stack.api}/data/foundation/import/batches"
    answer = here.stack.sender.call("POST", url, ASKED)
    assert answer.status_code == 201, answer.text
    location = answer.headers["Location"]
    assert location.endswith(f"/v1/batches/{answer.json()['id']}")
    assert tell(here, location.rpartition("/")[2]).status_code == 200


def test_who_is_not_signed_or_not_allowed_is_turned_away(here: Scene) -> None:
    with requests.Session() as session:
        session.trust_env = False
        verify = str(here.stack.authority)
        url = f"{here.stack.api}/batches"
        unsigned = session.post(url, json=ASKED, verify=verify, timeout=20)
    assert unsigned.status_code == 403
    reader: dict[str, object] = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}
    stranger = here.stack.identity("stranger", [reader])
    assert stranger.call("POST", url, ASKED).status_code == 403
    assert stranger.call("GET", f"{url}/anything").status_code == 403


def test_asking_again_is_safe(here: Scene) -> None:
    first = ask(here, Idempotency_Key="once")
    again = ask(here, Idempotency_Key="once")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    other = ask(here, {**ASKED, "datasetId": PRODUCTS}, Idempotency_Key="once")
    refused(other, 422, "key-reused")
    assert len(here.creates(first.headers["X-External-Id"])) == 1
    # The key is the caller's own.
    neighbour = here.stack.identity(
        "neighbour", [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]
    )
    theirs = neighbour.call("POST", f"{here.stack.api}/batches", ASKED, {"Idempotency-Key": "once"})
    assert theirs.status_code == 201
    assert theirs.json()["id"] != first.json()["id"]


def test_who_asks_for_the_same_meanwhile_is_told_to_wait(here: Scene) -> None:
    here.aep.faults.add(Fault("delay", operation="create", delay_ms=6_000))
    before = len(here.creates())
    with ThreadPoolExecutor(3) as callers:
        first = callers.submit(ask, here, Idempotency_Key="together")
        until(lambda: len(here.creates()) > before)
        others = [callers.submit(ask, here, Idempotency_Key="together") for _ in range(2)]
        for other in others:
            problem = refused(other.result(), 409, "not-yet")
            assert int(other.result().headers["Retry-After"]) == problem["retryAfter"] > 0
        assert not first.done()
    assert first.result().status_code == 201
    assert problem["externalId"] == first.result().headers["X-External-Id"]
    assert ask(here, Idempotency_Key="together").json() == first.result().json()
    assert len(here.creates()) == before + 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        ("no JSON", {}, 400, "malformed-request"),
        ({"inputFormat": {"format": "json"}}, {}, 400, "malformed-request"),
        ({**ASKED, "surprise": 1}, {}, 400, "malformed-request"),
        ({**ASKED, "externalId": "intake-mine"}, {}, 400, "malformed-request"),
        (ASKED, {"x_sandbox_name": "somebody-elses"}, 422, "target-not-allowed"),
        (ASKED, {"x_gw_ims_org_id": "0" * 24 + "@AdobeOrg"}, 422, "target-not-allowed"),
        ({**ASKED, "objects": ["s3://somebody-elses/key"]}, {}, 422, "target-not-allowed"),
    ],
)
def test_what_makes_no_sense_here_never_gets_to_adobe(
    here: Scene, body: object, headers: dict[str, str], status: int, reason: str
) -> None:
    before = len(here.creates())
    refused(ask(here, body, **headers), status, reason)
    assert len(here.creates()) == before


def test_adobes_refusal_is_told_in_its_own_words_and_may_be_mended(here: Scene) -> None:
    later = "64cc0a5b1e2f3d4c5b6a7988"
    wanted = {**ASKED, "datasetId": later}
    problem = refused(ask(here, wanted, Idempotency_Key="mended"), 422, "batch-refused")
    assert (problem["aepStatus"], problem["aepErrorCode"]) == (400, "SIMULATED-1003-400")
    assert "not found in sandbox prod" in problem["detail"]
    assert problem["aepRequestId"]
    rejected = announced(here, problem["externalId"])
    assert (rejected["reason"], rejected["trigger"]) == ("batch-refused", "request")
    told = tell(here, problem["externalId"]).json()
    assert (told["state"], told["reason"]) == ("rejected", "batch-refused")

    here.aep.add_dataset(rejected["imsOrg"], "prod", later, "made later")
    assert ask(here, wanted, Idempotency_Key="mended").status_code == 201
    assert len(here.batches(problem["externalId"])) == 1


def test_a_request_may_name_objects_and_an_arrival_is_no_second_order(here: Scene) -> None:
    keys = ["landing/loyalty/named 1+1.jsonl", "landing/loyalty/nämed//2.jsonl"]
    uris = [f"s3://{here.bucket}/{key}" for key in keys]
    with here.arrivals_waiting():
        for key in keys:
            here.put(key, b"{}\n{}")
        answer = ask(here, {**ASKED, "objects": uris})
    versions = [here.aws.s3.head_object(Bucket=here.bucket, Key=key)["VersionId"] for key in keys]
    assert answer.status_code == 201, answer.text
    detail = announced(here, answer.headers["X-External-Id"])
    assert [(f["key"], f["versionId"], f["size"]) for f in detail["files"]] == [
        (key, version, 5) for key, version in zip(keys, versions, strict=True)
    ]
    here.quiet()
    named = [f["key"] for each in here.details("Batch Created") for f in each["files"]]
    assert sorted(name for name in named if name in keys) == sorted(keys)
    claimed = refused(ask(here, {**ASKED, "objects": uris[:1]}), 409, "already-claimed")
    assert claimed["claimed"] == {uris[0]: answer.headers["X-External-Id"]}
    missing = refused(
        ask(here, {**ASKED, "objects": [f"{uris[0]}.gone"]}), 400, "malformed-request"
    )
    assert "does not exist" in missing["detail"]


def test_nothing_is_known_of_what_nobody_ordered(here: Scene) -> None:
    refused(tell(here, "01EQT00000000000000000000"), 404, "not-found")
    answer = here.stack.sender.call("DELETE", f"{here.stack.api}/batches/anything")
    assert answer.status_code in (403, 404, 405)
    assert json.loads(answer.text)


def test_whoever_asks_is_told_where_a_file_is(here: Scene) -> None:
    plain, rejected = "landing/loyalty/där 1+1%20.jsonl", "nowhere/a b.txt"
    daily, waiting = "daily/ä 2+2.json", "folders/x/part.json"
    for key in (plain, rejected, daily, waiting):
        here.put(key, b'{"a": 1}\n')

    detail = here.about(plain)
    version = version_of(here, plain, "loading")
    for name in ("externalId", "batchId", "route", "routesVersion", "datasetId", "createdAt"):
        assert version[name] == detail[name]
    assert version["aep"]["status"] == "loading"
    here.aep.set_status(detail["batchId"], "success")
    assert version_of(here, plain, "loaded")["aep"]["status"] == "success"
    of_batch = tell(here, detail["batchId"]).json()
    assert of_batch["files"] == [f"s3://{here.bucket}/{plain}"]

    version = version_of(here, rejected, "rejected")
    why = here.about(rejected, kind="Arrival Rejected")
    for name in ("externalId", "reason", "detail", "rejectedAt"):
        assert version[name] == why[name]

    version = version_of(here, daily, "gathering")
    assert version["route"] == "daily"
    assert version["window"]["stage"] == "open"
    assert version["window"]["closesAt"].endswith("T00:00:00.000Z")
    version = version_of(here, waiting, "waiting")
    assert version["why"] == "route `folders` lets it wait for the marker _SUCCESS"
    assert version["since"] < version["until"]

    # And a second version beside the first.
    here.put(plain, b'{"a": 2}\n')
    versions = until(lambda: where(here, plain).json()["versions"][1:])
    assert versions[0]["versionId"] == detail["files"][0]["versionId"]
    answer = where(here, plain).json()
    assert (answer["uri"], answer["versionCount"]) == (f"s3://{here.bucket}/{plain}", 2)

    unknown = refused(where(here, f"{plain}.unknown"), 404, "not-found")
    assert "ledger" in unknown["detail"]
    elsewhere = f"{here.stack.api}/objects?uri=s3%3A%2F%2Felsewhere%2Fa.json"
    refused(here.stack.sender.call("GET", elsewhere), 404, "not-found")
    refused(here.stack.sender.call("GET", f"{here.stack.api}/objects"), 400, "malformed-request")
