"""Whatever is asked over HTTP, it is answered, and AEP hears only what was asked and is allowed."""

import base64
import itertools
import json
from collections import Counter
from typing import Any
from urllib.parse import unquote

import pytest
from aep_intake.model.orders import EXTERNAL_ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.simulator.seed import LOYALTY, PRODUCTS
from local.simulator.simulator import Received
from tests.examples import examples
from tests.request_world import GET, OTHER_ORG, POST, Answer, Api, Stored

hostile = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

STATUSES = {200, 201, 400, 404, 409, 422, 502, 503}  # and never 500
HEADERS = {
    "authorization",
    "x-api-key",
    "x-gw-ims-org-id",
    "x-sandbox-name",
    "accept",
    "accept-encoding",
    "connection",
    "user-agent",
    "content-type",
    "x-correlation-id",
    "content-length",
}
ODD = [
    "",
    " ",
    "..",
    "../../x",
    "%2e%2e%2f",
    "a\r\nx-sandbox-name: dev",
    "a\nb",
    "\x00",
    "prod, dev",
    "prod\x00",
    " prod",
    "Prod",
    "é",
    "\ud800",
    "📈" * 100,
    "x" * 300,
    "?action=COMPLETE",
    "#",
    "!*",
    ",",
    "intake-0",
    "${batch}",
    "{dataset}",
    "s3://landing/..",
    "s3://landing/a.json?versionId=1",
    "s3://secret/a.json",
    "1e999",
]
odd = st.sampled_from(ODD) | st.text(max_size=30)
leaves = (
    odd
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, float("nan"), [], {}])
)
values = st.recursive(
    leaves,
    lambda some: st.lists(some, max_size=4) | st.dictionaries(odd, some, max_size=4),
    max_leaves=8,
)


anything = odd | values


def seldom(one: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`one` once in thirteen. Strategies are made here, once: drawing from new ones is slow."""
    return st.integers(0, 12).flatmap(lambda number: one if number == 12 else other)


def mostly(*good: Any) -> st.SearchStrategy[Any]:
    """One of these in most cases, else anything: a request may be wrong in one place only."""
    return seldom(anything, st.sampled_from(good))


MEMBERS = {
    "inputFormat": mostly(
        {"format": "json"}, {"format": "CSV", "delimiter": "\r\n"}, {"format": 1}
    ),
    "externalId": mostly("mine", "mine.2") | st.from_regex(EXTERNAL_ID, fullmatch=True),
    "replay": mostly({"predecessors": ["a"]}, {"reason": "replace"}),
    "tags": mostly({"team": ["a"]}, {"x": ODD[:5]}, {"\r\nx: y": []}, {"aep_intake": ["forged"]}),
    "enableErrorDiagnostics": mostly(True, False),
    "partialIngestionPercent": mostly(5, 100.0, -1),
    "objects": mostly(["s3://landing/a.json"], ["s3://landing/a.json", "s3://landing/b.json"])
    | st.lists(odd.map(lambda key: f"s3://landing/{key}.json"), max_size=4),
}


def some_members(number: int) -> st.SearchStrategy[dict[str, Any]]:
    """So many of MEMBERS."""
    return st.one_of(
        *(
            st.fixed_dictionaries({name: MEMBERS[name] for name in names})
            for names in itertools.combinations(MEMBERS, number)
        )
    )


bodies = st.builds(
    lambda dataset, rest, more: {"datasetId": dataset, **rest, **more},
    mostly(LOYALTY, LOYALTY, PRODUCTS, "unknown"),
    st.integers(0, 3).flatmap([some_members(number) for number in range(4)].__getitem__),
    seldom(st.dictionaries(odd, values, max_size=1), st.just({})),
)


def spelled(name: str) -> st.SearchStrategy[str]:
    """A header's name in any case."""
    return st.tuples(*(st.sampled_from([c.lower(), c.upper()]) for c in name)).map("".join)


headers = st.dictionaries(
    st.one_of(
        spelled("x-sandbox-name"),
        spelled("x-gw-ims-org-id"),
        spelled("idempotency-key"),
        st.sampled_from(["Content-Type", "Authorization", "x-api-key", "Host"]),
        odd,
    ),
    mostly("prod", "dev", "secret", OTHER_ORG.ims_org, "application/json"),
    max_size=4,
).map(lambda some: {name: value for name, value in some.items() if isinstance(value, str)})


@pytest.fixture
def api(environment: dict[str, str]) -> Api:
    return Api(environment)


def said(event: dict[str, Any], name: str, default: str) -> str:
    """The one value of a header, wherever it is given, or the default."""
    given = {v for n, v in (event["headers"] or {}).items() if n.lower() == name}
    for n, several in (event["multiValueHeaders"] or {}).items():
        given |= set(several) if n.lower() == name else set()
    return given.pop() if given else default


def ask(api: Api, event: dict[str, Any]) -> tuple[Answer, list[Received]]:
    """The answer, and what AEP heard meanwhile; both harmless by themselves."""
    before = len(api.simulator.received)
    answer = api.send(event)
    assert answer.status in STATUSES, answer
    if answer.status >= 400:
        assert answer.reason not in ("internal-error", "")
    heard = list(api.simulator.received)[before:]
    for received in heard:
        if received.operation != "token":
            assert received.request.headers.keys() <= HEADERS
            assert received.sandbox in ("prod", "dev") and not received.sandbox_defaulted
    return answer, [received for received in heard if received.operation != "token"]


def asks_for_what_was_asked(api: Api, event: dict[str, Any], body: Any) -> int:
    """The answer's status, once AEP is seen to have heard no more than `body` and headers say."""
    # A new version of the one each time, of the other never.
    api.bucket.objects["landing/a.json"] = Stored(version_id=str(len(api.bus.taken)))
    api.bucket.objects["landing/b.json"] = Stored()
    answer, heard = ask(api, event)
    for received in heard:
        request = received.request
        if received.operation == "get-dataset":
            # Whether it is one of Adobe's own; quoted, it cannot lead elsewhere.
            assert request.path.startswith("/data/foundation/catalog/dataSets/")
            assert unquote(request.path.rpartition("/")[2]) == body["datasetId"]
            continue
        assert (received.operation, request.path, request.query) == (
            "create",
            "/data/foundation/import/batches",
            "",
        )
        assert received.sandbox == said(event, "x-sandbox-name", "prod")
        org = said(event, "x-gw-ims-org-id", api.seed.ims_org)
        assert request.headers["x-gw-ims-org-id"] == org
        sent = json.loads(request.body)
        assert sent["datasetId"] == body["datasetId"]
        assert EXTERNAL_ID.fullmatch(sent["externalId"])
        [tag] = sent["tags"].pop("aep_intake")
        assert len(tag) == 32
        assert sent["tags"] == body.get("tags", {})
        assert sent.keys() - {"inputFormat", "tags", "externalId"} <= body.keys() - {"objects"}
    if answer.status == 201:
        assert [received.operation for received in heard].count("create") == 1
        assert answer.headers["Location"].endswith(f"/{answer.body['id']}")
    return answer.status


def test_requests_of_every_kind(api: Api) -> None:
    answers: Counter[int] = Counter()

    @settings(hostile, max_examples=examples(400))
    @given(
        body=bodies,
        single=st.none() | headers,
        multiple=st.none() | headers,
        encoded=st.booleans(),
        path=odd,
    )
    def ask_it(
        body: dict[str, Any],
        single: dict[str, str] | None,
        multiple: dict[str, str] | None,
        encoded: bool,
        path: str,
    ) -> None:
        text = json.dumps(body)
        event = POST | {
            "headers": single,
            "multiValueHeaders": {name: [value] for name, value in (multiple or {}).items()},
            "body": base64.b64encode(text.encode()).decode() if encoded else text,
            "isBase64Encoded": encoded,
            "requestContext": POST["requestContext"] | {"path": path},
        }
        answers[asks_for_what_was_asked(api, event, body)] += 1

    ask_it()
    # They are not all refused at the door.
    assert min(answers[201], answers[400]) > examples(60), answers
    assert {200, 422} <= answers.keys(), answers


def test_what_is_no_request_at_all(api: Api) -> None:
    @settings(hostile, max_examples=examples(200))
    @given(
        st.one_of(st.text(max_size=200), values.map(json.dumps), st.none()),
        st.booleans(),
        st.none() | st.fixed_dictionaries({"userArn": odd, "caller": st.none() | odd}),
    )
    def ask_it(text: str | None, encoded: bool, identity: dict[str, Any] | None) -> None:
        context = POST["requestContext"] | {"identity": identity}
        event = POST | {"body": text, "isBase64Encoded": encoded, "requestContext": context}
        answer, heard = ask(api, event)
        assert (answer.status, heard) == (400, [])

    ask_it()


def test_callers_of_every_kind(api: Api) -> None:
    @settings(hostile, max_examples=examples(200))
    @given(odd, st.none() | odd, st.none() | odd)
    def ask_it(key: str, arn: str | None, caller: str | None) -> None:
        identity = {"userArn": arn, "caller": caller}
        body = {"datasetId": LOYALTY}
        event = POST | {
            "headers": {"Idempotency-Key": key},
            "multiValueHeaders": None,
            "body": json.dumps(body),
            "requestContext": POST["requestContext"] | {"identity": identity},
        }
        status = asks_for_what_was_asked(api, event, body)
        readable = 1 <= len(key) <= 255 and all(" " <= c <= "~" for c in key)
        assert (status in (200, 201)) == readable

    ask_it()


def test_ids_of_every_kind(api: Api) -> None:
    batch_id = api.post({"datasetId": LOYALTY, "externalId": "mine"}).body["id"]

    @settings(hostile, max_examples=examples(200))
    @given(odd | st.sampled_from(["mine", "BATCH", "BATCH/..", "BATCH?x=y", "mine.2", "BATCH%00"]))
    def ask_it(wanted: str) -> None:
        wanted = wanted.replace("BATCH", batch_id)
        answer, heard = ask(api, GET | {"pathParameters": {"id": wanted}})
        known = wanted in ("mine", batch_id)
        assert answer.status == (200 if known else 404)
        assert [(r.operation, r.request.path, r.request.query) for r in heard] == (
            [("get-batch", f"/data/foundation/catalog/batches/{batch_id}", "")] if known else []
        )

    ask_it()
