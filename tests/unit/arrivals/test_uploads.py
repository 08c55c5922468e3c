"""POST /uploads, by the handler. What S3 makes of the URL is tried on the local AWS."""

import base64
import hashlib
import json
import logging
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from local.simulator.seed import LOYALTY
from tests.request_world import Api, Stored

CONTENT = b'{"a": 1}\n'
SHA256 = hashlib.sha256(CONTENT)
IN_BASE64 = base64.b64encode(SHA256.digest()).decode()
BODY = {"key": "in/members.json", "length": len(CONTENT), "sha256": SHA256.hexdigest()}
ROUTES: list[dict[str, Any]] = [
    {"name": "none-of-ours", "match": "tmp/**", "ignore": True},
    {"name": "members", "match": "in/**", "datasetId": LOYALTY},
    {"name": "spark", "match": "spark/*/**", "datasetId": LOYALTY, "batch": {"marker": "_SUCCESS"}},
]


@pytest.fixture
def api(environment: dict[str, str]) -> Api:
    # The endpoint of AWS, and of no other: the URL is for the caller, who knows no other.
    del environment["AWS_ENDPOINT_URL"]
    made = Api(environment)
    made.routes = ROUTES
    return made


def query(url: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


@pytest.mark.parametrize("sha256", [SHA256.hexdigest(), SHA256.hexdigest().upper(), IN_BASE64])
def test_the_url_takes_these_bytes_for_this_key_once_in_a_quarter_of_an_hour(
    api: Api, sha256: str
) -> None:
    answer = api.upload(BODY | {"sha256": sha256})
    assert answer.status == 200
    assert answer.headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    assert (
        answer.body.items()
        >= {
            "method": "PUT",
            "headers": {
                "Content-Length": str(len(CONTENT)),
                "x-amz-checksum-sha256": IN_BASE64,
                "If-None-Match": "*",
            },
            "uri": "s3://landing/in/members.json",
            "route": "members",
        }.items()
    )
    url = urlsplit(answer.body["url"])
    # Of the bucket's region: that of another one redirects, which breaks the signature.
    assert (url.scheme, url.netloc) == ("https", "landing.s3.eu-west-1.amazonaws.com")
    assert url.path == "/in/members.json"
    signed = query(answer.body["url"])
    assert signed["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert signed["X-Amz-Expires"] == "900"
    # All that is in `headers`, and in the headers: S3 does not look at a checksum in the URL.
    every = "content-length;host;if-none-match;x-amz-checksum-sha256"
    assert signed["X-Amz-SignedHeaders"] == every
    assert not signed.keys() & {"x-amz-checksum-sha256", "X-Amz-Checksum-Sha256"}


@pytest.mark.parametrize("key", ["in/a b+c&d=e?f#g%h.json", "in/Größe/名.json", "in//x.json"])
def test_any_key_that_an_object_can_have_is_in_the_url(api: Api, key: str) -> None:
    answer = api.upload(BODY | {"key": key})
    assert answer.status == 200
    assert unquote(urlsplit(answer.body["url"]).path) == f"/{key}"


def test_the_session_that_signs_outlives_the_url(api: Api) -> None:
    def signer() -> str:
        return query(api.upload(BODY).body["url"])["X-Amz-Credential"].partition("/")[0]

    assert signer() == "ASIA1"
    [asked] = api.sts.taken
    assert asked["RoleArn"] == api.worker.settings.landing_role
    api.clock.advance(asked["DurationSeconds"] * 1000 - 900_000 - 20_000)
    assert signer() == "ASIA1"
    api.clock.advance(20_000)
    assert signer() == "ASIA2"


def test_the_answer_is_a_credential_and_is_written_nowhere(
    api: Api, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="aep-intake")
    signed = query(api.upload(BODY).body["url"])
    written = caplog.text + "".join(capsys.readouterr())
    assert signed["X-Amz-Signature"] not in written
    assert "upload signed" in written


@pytest.mark.parametrize(
    ("key", "reason", "says"),
    [
        ("out/members.json", "no-route", "no route"),
        ("tmp/members.json", "key-not-taken", "route `none-of-ours` ignores"),
        ("spark/a/_SUCCESS", "key-not-taken", "is a marker"),
        ("spark/a/_temporary/part.json", "key-not-taken", "never data"),
        ("in/.members.json.filepart", "key-not-taken", "never data"),
        ("in/members.xyz", "format-unknown", "does not end like a format"),
    ],
)
def test_a_key_that_would_bring_no_batch_is_refused(
    api: Api, key: str, reason: str, says: str
) -> None:
    answer = api.upload(BODY | {"key": key})
    assert (answer.status, answer.reason) == (422, reason)
    assert says in answer.body["detail"]
    assert not api.sts.taken


def test_a_key_outside_the_deployments_pattern_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.function, "wanted_keys", api.function.compile_wildcard("other/*"))
    answer = api.upload(BODY)
    assert (answer.status, answer.reason) == (422, "key-not-taken")
    assert "KeyPattern" in answer.body["detail"]


def test_an_empty_file_is_refused(api: Api) -> None:
    assert api.upload(BODY | {"length": 0}).reason == "empty-object"


@pytest.mark.parametrize("status", [200, 403])
def test_what_is_there_is_never_overwritten(api: Api, status: int) -> None:
    code = "InvalidObjectState"  # archived, and all the same there
    api.bucket.objects["landing/in/members.json"] = Stored(status=status, code=code)
    answer = api.upload(BODY)
    assert (answer.status, answer.reason) == (409, "object-exists")
    assert not api.sts.taken


def test_who_cannot_look_or_sign_is_told_to_come_back(api: Api) -> None:
    api.sts.refuses = True
    answer = api.upload(BODY)
    assert (answer.status, answer.reason) == (503, "storage-unavailable")
    api.bucket.objects["landing/in/members.json"] = Stored(status=403)
    assert (api.upload(BODY).status, api.upload(BODY).reason) == (503, "not-readable")


def test_a_deployment_without_a_landing_bucket_says_so(environment: dict[str, str]) -> None:
    api = Api({**environment, "LANDING_ROLE": "none"})
    api.routes = ROUTES
    answer = api.upload(BODY)
    assert (answer.status, answer.reason) == (422, "target-not-allowed")
    assert "SourceBucketNames" in answer.body["detail"]


@pytest.mark.parametrize(
    "changed",
    [
        {"length": -1},
        {"length": 5 * 2**30 + 1},
        {"length": "9"},
        {"length": 9.0},
        {"length": True},
        {"sha256": "abc"},
        {"sha256": IN_BASE64 + "\n"},
        {"key": ""},
        {"key": "ä" * 513},
        {"key": "in/../out/members.json"},
        {"key": "./in"},
        {"bucket": "another"},
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(api: Api, changed: dict[str, Any]) -> None:
    answer = api.upload(BODY | changed)
    assert (answer.status, answer.reason) == (400, "malformed-request")
    assert next(iter(changed)) in answer.body["detail"]


@pytest.mark.parametrize("missing", list(BODY))
def test_every_member_is_needed(api: Api, missing: str) -> None:
    answer = api.upload({name: value for name, value in BODY.items() if name != missing})
    assert (answer.status, answer.reason) == (400, "malformed-request")


def test_what_is_no_json_is_refused(api: Api) -> None:
    assert api.upload(json.dumps(BODY)[:-1]).reason == "malformed-request"
