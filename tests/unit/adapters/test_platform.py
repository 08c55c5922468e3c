"""The client of AEP against the simulator and against answers the simulator would never give."""

import contextlib
import json
import string
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests
from aep_intake.adapters.adobe import platform
from aep_intake.adapters.adobe.credentials import Token
from aep_intake.adapters.adobe.http import https_session
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import (
    BatchRefused,
    CredentialUnusable,
    DatasetNotFound,
    IntakeError,
    OutcomeUnknown,
    PlatformUnavailable,
    Rejected,
    TargetNotAllowed,
    TryAgain,
)
from aep_intake.model.orders import TAG, Order
from hypothesis import given
from hypothesis import strategies as st

from local.simulator import Client, Fault
from local.simulator.clock import Clock
from local.simulator.messages import GATEWAY
from local.simulator.seed import LOYALTY, PRODUCTS
from tests.adobe_world import (
    ARN,
    LEDGER,
    PLATFORM,
    START,
    Script,
    Scripted,
    World,
    answer,
    http,
    reset,
    wire,
)

ORG = "8F3A1C5E60B24D970A495E41@AdobeOrg"
TARGET = Target(ARN, ORG, "prod", LOYALTY)
ORDER = Order("intake-0123", TARGET, {"inputFormat": {"format": "json"}})
TAG_VALUE = ORDER.tag_value(LEDGER)
SECRET_TOKEN = "t0ken/that+nobody=may-see"


@pytest.fixture
def world() -> World:
    return World()


class Tokens:
    """Tokens without IMS, numbered; `wait` is called before each."""

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self.wait = wait
        self.refused: list[str | None] = []

    def token(self, arn: str, refused: str | None = None) -> Token:
        assert arn == ARN
        self.wait()
        self.refused.append(refused)
        number = len([one for one in self.refused if one])
        return Token(f"{SECRET_TOKEN}{number or ''}", "cl1ent", ORG, 0, 0)


def scripted(answering: Callable[[requests.PreparedRequest], requests.Response]) -> Adobe:
    session = Scripted(answering).session()
    return Adobe(session, Tokens(), PLATFORM, lambda: LEDGER, lambda: START)


def always(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Adobe:
    return scripted(lambda _: answer(status, body, headers))


# create


def test_create(world: World) -> None:
    options = {
        "inputFormat": {"format": "csv", "delimiter": ";"},
        "tags": {"team": ["loyalty"], TAG: ["not yours to set"]},
        "enableErrorDiagnostics": True,
        "partialIngestionPercent": 5,
        "replay": {"predecessors": ["a"], "reason": "replace"},
        "datasetId": "not this one",
        "externalId": "nor this",
    }
    order = world.order(options=options)
    batch = world.adobe.create(order)
    (received,) = [one for one in world.simulator.received if one.operation == "create"]
    request = received.request
    assert (request.method, request.path, request.query) == (
        "POST",
        "/data/foundation/import/batches",
        "",
    )
    assert json.loads(request.body) == {
        **options,
        "datasetId": LOYALTY,
        "externalId": "intake-0123",
        "tags": {"team": ["loyalty"], TAG: [order.tag_value(LEDGER)]},
    }
    headers = dict(request.headers)
    assert headers.pop("authorization").startswith("Bearer ")
    expected = {
        "x-api-key": world.seed.client_id,
        "x-gw-ims-org-id": world.seed.ims_org,
        "x-sandbox-name": "prod",
        "accept": "application/json",
        "content-type": "application/json",
        "x-correlation-id": "intake-0123",
    }
    assert headers | expected == headers
    assert (batch.status, batch.created, batch.external_id) == ("loading", START, "intake-0123")
    assert batch.dataset_ids == (LOYALTY,)
    assert batch.raw["inputFormat"] == options["inputFormat"]
    assert world.adobe.batch(order.target, batch.id) is not None


def test_input_format_is_always_said(world: World) -> None:
    world.simulator.switches.input_format_required = True
    batch = world.adobe.create(world.order(options={}))
    assert batch.raw["inputFormat"] == {"format": "parquet"}  # what Adobe would assume


def test_a_token_that_aep_refuses_is_renewed_once(world: World) -> None:
    world.adobe.create(world.order())
    world.simulator.ims.revoke()
    world.adobe.create(world.order("intake-4567"))
    assert world.operations() == ["token", "create", "create", "token", "create"]
    assert world.minted == 2


@pytest.mark.parametrize("code", sorted(code for code in GATEWAY if code[:3] in ("401", "403")))
def test_credential_refused(world: World, code: str) -> None:
    world.simulator.faults.add(Fault("gateway", operation="create", code=code, count=0))
    status, message = GATEWAY[code]
    with pytest.raises(CredentialUnusable, match=f"{status} {code}: {message}.*X-Request-Id"):
        world.adobe.create(world.order())
    assert world.operations() == ["token", "create", "token", "create"]
    # No token storm: for half a minute no new token is asked for.
    with pytest.raises(CredentialUnusable):
        world.adobe.create(world.order())
    assert world.operations()[4:] == ["create"]


@pytest.mark.parametrize("code", sorted(code for code in GATEWAY if code[:3] in ("401", "403")))
def test_credential_refused_once(world: World, code: str) -> None:
    world.simulator.faults.add(Fault("gateway", operation="create", code=code))
    assert world.adobe.create(world.order()).status == "loading"


@pytest.mark.parametrize("retry_after", ["45", None])
@pytest.mark.parametrize("code", ["429050", "429001", "429002", "503000", "503010", "503020"])
def test_gateway_busy(world: World, code: str, retry_after: str | None) -> None:
    fault = Fault("gateway", operation="create", code=code, retry_after=retry_after)
    world.simulator.faults.add(fault)
    with pytest.raises(PlatformUnavailable, match=code) as caught:
        world.adobe.create(world.order())
    assert caught.value.retry_after == (retry_after and 45)
    assert caught.value.external_id == "intake-0123"
    assert world.operations() == ["token", "create"]


def test_every_gateway_code_has_a_meaning(world: World) -> None:
    """A code of the simulator's table that no test above names would slip through."""
    named = {"400003", "503071", "429050", "429001", "429002", "503000", "503010", "503020"}
    assert {code for code in GATEWAY if code[:3] not in ("401", "403")} == named


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("gateway", code="400003"), BatchRefused),
        # 503071 comes with an empty body, as a proxy's 503 may: it could be either.
        (Fault("gateway", code="503071"), OutcomeUnknown),
        (Fault("status", status=429, body="empty"), PlatformUnavailable),
        (Fault("status", status=429, body="html"), PlatformUnavailable),
        (Fault("status", status=401, body="empty", count=0), CredentialUnusable),
        (Fault("status", status=400), BatchRefused),
        (Fault("status", status=403), BatchRefused),
        (Fault("status", status=403, body="html"), BatchRefused),
        (Fault("status", status=404), BatchRefused),
        (Fault("status", status=409), BatchRefused),
        (Fault("status", status=414, body="empty"), BatchRefused),
        (Fault("status", status=415, body="empty"), BatchRefused),
        (Fault("status", status=422), BatchRefused),
        (Fault("status", status=408, body="empty"), OutcomeUnknown),
        (Fault("status", status=500), OutcomeUnknown),
        (Fault("status", status=502, body="html"), OutcomeUnknown),
        (Fault("status", status=503, body="empty"), OutcomeUnknown),
        (Fault("status", status=503), OutcomeUnknown),
        (Fault("status", status=504, body="html", accepted=True), OutcomeUnknown),
        (Fault("status", status=599), OutcomeUnknown),
        (Fault("status", status=302, body="html"), OutcomeUnknown),
        (Fault("status", status=200, body="html"), OutcomeUnknown),
        (Fault("status", status=201, body="empty", accepted=True), OutcomeUnknown),
        (Fault("status", status=204, body="empty"), OutcomeUnknown),
        (Fault("answer-lost", how="reset"), OutcomeUnknown),
        (Fault("answer-lost", how="timeout"), OutcomeUnknown),
        (Fault("late", delay_ms=60_000), OutcomeUnknown),
        (Fault("delay", delay_ms=10_000), OutcomeUnknown),
        (Fault("request-lost"), PlatformUnavailable),
    ],
)
def test_answers_to_create(world: World, fault: Fault, kind: type[IntakeError]) -> None:
    world.simulator.faults.add(replace(fault, operation="create"))
    with pytest.raises(IntakeError) as caught:
        world.adobe.create(world.order())
    assert type(caught.value) is kind
    assert caught.value.external_id == "intake-0123"
    posts = world.operations().count("create")
    assert posts == (2 if kind is CredentialUnusable else 1)  # never repeated blindly


def test_create_over_the_wire() -> None:
    def post(script: Script, *, closed: bool = False) -> Batch:
        with https_session(1) as session, wire(script) as server:
            url = "http://127.0.0.1:1" if closed else server.url
            timeouts = (2, 2)  # the first of them answers in time also where all is busy
            adobe = Adobe(session, Tokens(), url, lambda: LEDGER, lambda: START, timeouts=timeouts)
            return adobe.create(ORDER)

    assert post(lambda c, _: c.sendall(http(201, json.dumps(made()).encode()))).id == made()["id"]
    with pytest.raises(PlatformUnavailable):
        post(lambda c, _: reset(c), closed=True)
    for script in (lambda c, _: reset(c), lambda c, _: c.recv(1), lambda c, _: c.sendall(b"HTTP/")):
        with pytest.raises(OutcomeUnknown):
            post(script)


def test_a_refusal_is_told_in_adobes_words(world: World) -> None:
    with pytest.raises(BatchRefused) as caught:
        world.adobe.create(world.order(dataset_id="no-such-dataset"))
    refused = caught.value
    assert refused.status == 400
    assert refused.error_code is not None
    assert refused.error_code.endswith("-400")
    assert refused.request_id
    assert refused.request_id in refused.detail
    assert "no-such-dataset" in refused.detail


def made(**changes: Any) -> dict[str, Any]:
    return {
        "id": "01EQ1C48TR4GD4FE7NH2522TCQ",
        "status": "loading",
        "created": START - 5,
        "relatedObjects": [{"type": "dataSet", "id": LOYALTY}],
        "tags": {TAG: [TAG_VALUE], "acp_enableErrorDiagnostics": True},
        "externalId": ORDER.external_id,
    } | changes


@pytest.mark.parametrize(
    "body",
    [
        made(),
        {"id": "01EQ1C48TR4GD4FE7NH2522TCQ"},  # all that is always there
        made(tags={}, relatedObjects=[]),
        made(tags=None, relatedObjects=None, created=None, externalId=None),
        made(tags={TAG: TAG_VALUE}),  # Adobe shows scalars here and there
        made(tags=[1], relatedObjects="x", created="x", externalId=7),
        made(
            relatedObjects=[
                {"type": "dataSet", "id": "another"},
                {"id": LOYALTY, "type": "dataSet"},
            ]
        ),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_answers_that_describe_our_batch(status: int, body: dict[str, Any]) -> None:
    batch = always(status, body).create(ORDER)
    assert (batch.id, batch.status) == ("01EQ1C48TR4GD4FE7NH2522TCQ", "loading")
    assert batch.created in (START, START - 5)
    assert batch.external_id in (None, ORDER.external_id)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        ["@/batches/01EQ1C48TR4GD4FE7NH2522TCQ"],
        "01EQ1C48TR4GD4FE7NH2522TCQ",
        None,
        b'{"id": "01EQ',
        made(id=None),
        made(id=""),
        made(id=7),
        made(id="a b"),
        made(id="a\r\nb"),
        made(id=".."),
        made(id="\ud800"),
        made(id="x" * 201),
        made(status="aborted"),
        made(status="success"),
        made(status=None),
        made(relatedObjects=[{"type": "dataSet", "id": "another"}]),
        made(externalId="another"),
        made(tags={TAG: ["another ledger's"]}),
        made(tags={TAG: []}),
    ],
)
def test_answers_that_do_not(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        always(201, body, {"X-Request-Id": "r"}).create(ORDER)


def test_reuse_of_the_external_id(world: World) -> None:
    switches = world.simulator.switches
    first = world.adobe.create(world.order())
    switches.external_id_reuse = "returned"
    assert world.adobe.create(world.order()).id == first.id
    foreign = Adobe(world.session, world.credentials, PLATFORM, lambda: "other ledger", world.clock)
    with pytest.raises(OutcomeUnknown):
        foreign.create(world.order())
    world.adobe.abort(world.order(), first.id)
    with pytest.raises(OutcomeUnknown):
        world.adobe.create(world.order())
    switches.external_id_reuse = "refused"
    with pytest.raises(BatchRefused) as caught:
        world.adobe.create(world.order())
    assert caught.value.status == 409


def test_no_post_begins_late(world: World) -> None:
    """Minting may take long; the lease was only asked for `create_ms`."""
    tokens = Tokens(wait=lambda: world.clock.advance(8_001))
    transport = Scripted(lambda _: answer(201, made()))
    adobe = Adobe(transport.session(), tokens, PLATFORM, lambda: LEDGER, world.clock)
    with pytest.raises(PlatformUnavailable, match="took too long"):
        adobe.create(ORDER)
    assert transport.asked == []
    assert adobe.create_ms == 8_000 + 13_050


def test_no_second_post_begins_late(world: World) -> None:
    tokens = Tokens(wait=lambda: world.clock.advance(7_000))
    transport = Scripted(lambda _: answer(401))
    adobe = Adobe(transport.session(), tokens, PLATFORM, lambda: LEDGER, world.clock)
    with pytest.raises(PlatformUnavailable, match="took too long"):
        adobe.create(ORDER)
    assert len(transport.asked) == 1


# find


def test_find_finds_what_create_made(world: World) -> None:
    order = world.order()
    since = world.clock()
    assert world.adobe.find(order, since) == []
    first = world.adobe.create(order)
    world.clock.advance(5)
    second = world.adobe.create(order)
    found = world.adobe.find(order, since)
    assert [batch.id for batch in found] == [first.id, second.id]
    assert [batch.status for batch in found] == ["loading", "loading"]
    assert [batch.created for batch in found] == [START, START + 5]


@pytest.mark.parametrize("switch", ["empty", "not-found"])
def test_finding_none(world: World, switch: str) -> None:
    world.simulator.switches.change(nothing_found=switch)
    assert world.adobe.find(world.order(), START) == []


def test_find_sees_only_our_own(world: World) -> None:
    order = world.order()
    other_ledger = Adobe(world.session, world.credentials, PLATFORM, lambda: "another", world.clock)
    other_ledger.create(order)
    world.adobe.create(replace(order, target=replace(order.target, dataset_id=PRODUCTS)))
    world.adobe.create(replace(order, target=replace(order.target, sandbox="dev")))
    world.adobe.create(world.order("intake-0123.2"))
    assert world.adobe.find(order, START) == []
    mine = world.adobe.create(order)
    assert [batch.id for batch in world.adobe.find(order, START)] == [mine.id]


def test_find_looks_back_a_little_further(world: World) -> None:
    order = world.order()
    world.adobe.create(order)
    assert len(world.adobe.find(order, START + 299_999)) == 1  # clocks differ
    assert world.adobe.find(order, START + 300_000) == []


def test_find_reads_all_pages(world: World) -> None:
    order = world.order()
    made = []
    for _ in range(250):
        made.append(world.adobe.create(order).id)
        world.clock.advance(1)
    before = len(world.operations())
    assert [batch.id for batch in world.adobe.find(order, START)] == made
    assert world.operations()[before:] == ["list-batches"] * 3


def test_a_full_last_page_is_followed_by_an_empty_one(world: World) -> None:
    order = world.order()
    for _ in range(100):
        world.adobe.create(order)
    before = len(world.operations())
    assert len(world.adobe.find(order, START)) == 100
    assert world.operations()[before:] == ["list-batches"] * 2


def listed(*batches: dict[str, Any]) -> dict[str, Any]:
    return {f"b{number}": batch for number, batch in enumerate(batches)}


def test_find_trusts_no_filter() -> None:
    catalog = listed(
        made(),
        made(externalId="another"),
        made(relatedObjects=[{"type": "dataSet", "id": "another"}]),
        made(tags={}),
        made(tags={TAG: ["another"]}),
        made(tags={TAG: TAG_VALUE}, created=START - 9),
        made(tags={"x": [TAG_VALUE]}),
    )
    found = always(200, catalog).find(ORDER, START)
    assert [batch.id for batch in found] == ["b5", "b0"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", [], [made()], {"b0": 7}, {"b0": None}, {"..": made()}, {"a b": made()}, "x"],
)
def test_a_list_that_cannot_be_read_is_not_an_empty_one(body: object) -> None:
    with pytest.raises(PlatformUnavailable):
        always(200, body).find(ORDER, START)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"<html>", CredentialUnusable),  # not Catalog's: a proxy's
        (404, {"error_code": "404000", "message": "?"}, CredentialUnusable),
        (400, {"title": "BadRequestError"}, CredentialUnusable),
        (403, {"title": "PALM Access Denied"}, CredentialUnusable),
        (429, b"", PlatformUnavailable),
        (500, b"", PlatformUnavailable),
        (503, b"<html>", PlatformUnavailable),
        (302, b"", PlatformUnavailable),
    ],
)
def test_a_list_that_is_refused_is_not_an_empty_one(
    status: int, body: object, kind: type[TryAgain]
) -> None:
    with pytest.raises(kind):
        always(status, body).find(ORDER, START)


def test_a_list_without_end(world: World) -> None:
    page = {f"b{number}": made(externalId="x") for number in range(100)}
    transport = Scripted(lambda _: answer(200, page))
    adobe = Adobe(transport.session(), Tokens(), PLATFORM, lambda: LEDGER, world.clock)
    with pytest.raises(PlatformUnavailable, match="5000 batches"):
        adobe.find(ORDER, START)
    assert len(transport.asked) == 50


@pytest.mark.parametrize("how", ["reset", "timeout"])
def test_questions_without_an_answer(world: World, how: str) -> None:
    order = world.order()
    batch = world.adobe.create(order)
    questions: list[Callable[[], object]] = [
        lambda: world.adobe.find(order, START),
        lambda: world.adobe.abort(order, batch.id),
        lambda: world.adobe.batch(order.target, batch.id),
        lambda: world.adobe.dataset(order.target),
        lambda: world.adobe.dataset_id(ARN, world.seed.ims_org, "prod", "loyalty"),
    ]
    for question in questions:
        world.simulator.faults.add(Fault("answer-lost", how=how))
        with pytest.raises(PlatformUnavailable):
            question()
        assert not list(world.simulator.faults)


# abort, batch, dataset


def test_abort(world: World) -> None:
    order = world.order()
    batch = world.adobe.create(order)
    world.adobe.abort(order, batch.id)
    after = world.adobe.batch(order.target, batch.id)
    assert after is not None
    assert after.status == "aborted"
    request = world.simulator.received[-2].request
    assert (request.path, request.query, request.body) == (
        f"/data/foundation/import/batches/{batch.id}",
        "action=ABORT",
        b"",
    )
    world.adobe.abort(order, batch.id)  # 400: it is no longer loading
    world.adobe.abort(order, "01EQ1C48TR4GD4FE7NH2522TCQ")  # 404


@pytest.mark.parametrize("status", [200, 201, 400, 404, 409, 410])
@pytest.mark.parametrize("body", [b"", b"1", b"<html>", b"\xff"])
def test_abort_reads_no_body(status: int, body: bytes) -> None:
    always(status, body).abort(ORDER, "b0")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error_code": "400003", "message": "Missing header"}, CredentialUnusable),
        (401, b"", CredentialUnusable),
        (403, b"", CredentialUnusable),
        (429, b"", PlatformUnavailable),
        (500, b"", PlatformUnavailable),
        (302, b"", PlatformUnavailable),
    ],
)
def test_abort_that_did_not_work(status: int, body: object, kind: type[TryAgain]) -> None:
    with pytest.raises(kind):
        always(status, body).abort(ORDER, "b0")


def test_batch_and_dataset(world: World) -> None:
    order = world.order()
    batch = world.adobe.create(order)
    known = world.adobe.batch(order.target, batch.id)
    assert known is not None
    assert (known.id, known.external_id, known.tags) == (batch.id, batch.external_id, batch.tags)
    assert world.adobe.batch(order.target, "another") is None
    assert world.adobe.batch(replace(order.target, sandbox="dev"), batch.id) is None
    dataset = world.adobe.dataset(order.target)
    assert dataset is not None
    assert dataset["name"] == "loyalty"
    assert world.adobe.dataset(replace(order.target, dataset_id="another")) is None


def test_what_is_not_there_or_not_readable() -> None:
    assert always(200, {}).batch(TARGET, "b0") is None
    assert always(404, b"").dataset(TARGET) is None
    assert always(400, {"title": "BadRequestError"}).batch(TARGET, "not an id"[:3]) is None
    unreadable: tuple[object, ...] = (b"", b"<html>", [], 7)
    for body in unreadable:
        with pytest.raises(PlatformUnavailable):
            always(200, body).batch(TARGET, "b0")
    for status in (403, 404):
        with pytest.raises(CredentialUnusable):
            always(status, b"<html>").batch(TARGET, "b0")


# dataset_id


def named(world: World, name: str) -> str:
    return world.adobe.dataset_id(ARN, world.seed.ims_org, "prod", name)


def test_dataset_by_name_is_kept(world: World) -> None:
    assert {named(world, "loyalty") for _ in range(10)} == {LOYALTY}
    assert world.operations() == ["token", "list-datasets"]
    world.clock.advance(600_000)
    named(world, "loyalty")
    assert world.operations().count("list-datasets") == 2
    world.adobe.dataset_id(ARN, world.seed.ims_org, "dev", "loyalty")  # another sandbox's
    assert world.operations().count("list-datasets") == 3


def test_a_dataset_that_is_not_there_is_sought_again_soon(world: World) -> None:
    for _ in range(3):
        with pytest.raises(DatasetNotFound, match="no datasets called 'new' in sandbox prod"):
            named(world, "new")
    assert world.operations().count("list-datasets") == 1
    world.simulator.add_dataset(world.seed.ims_org, "prod", "d1", "new")
    world.clock.advance(10_000)
    assert named(world, "new") == "d1"


def test_names_need_not_be_unique(world: World) -> None:
    world.simulator.add_dataset(world.seed.ims_org, "prod", "d1", "loyalty")
    with pytest.raises(DatasetNotFound, match="2 datasets called 'loyalty'"):
        named(world, "loyalty")


@pytest.mark.parametrize("switch", ["empty", "not-found"])
def test_none_of_that_name(world: World, switch: str) -> None:
    world.simulator.switches.change(nothing_found=switch)
    with pytest.raises(DatasetNotFound):
        named(world, "new")


ODD_NAMES = (
    "loyalty,web-events",
    "!loyalty",
    "*",
    "loyal*",
    "**",
    "loyalty&name=web-events",
    "a=b",
    "~^loyalty",
    "100% \u00e9t\u00e9 \u2603 \U0001f600",
    "Loyalty",
    " loyalty",
    "(a",
    "[a]{2}|.+?$^\\",
    "a/b?c#d",
    "+1 ",
    "..",
    "'\"",
    "\u0661",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_never_read_as_a_filter(world: World, name: str) -> None:
    with pytest.raises(DatasetNotFound):
        named(world, name)
    world.simulator.add_dataset(world.seed.ims_org, "prod", "odd", name)
    world.clock.advance(10_000)
    assert named(world, name) == "odd"


@given(st.text(max_size=30))
def test_any_name_finds_its_own_dataset_or_none(name: str) -> None:
    world = World()
    found: str | None = None
    with contextlib.suppress(Rejected):
        found = named(world, name)
    assert found == dict(world.seed.datasets).get(name)


@given(st.text(st.characters(), max_size=10))
def test_names_that_are_not_even_unicode(name: str) -> None:
    with pytest.raises(DatasetNotFound):
        always(200, {}).dataset_id(ARN, ORG, "prod", f"{name}\ud800")


@pytest.mark.parametrize(
    ("error", "raised"),
    [(requests.ReadTimeout, OutcomeUnknown), (requests.ConnectTimeout, PlatformUnavailable)],
)
def test_a_platform_that_does_not_answer_is_not_asked_by_every_order(
    error: type[Exception], raised: type[TryAgain]
) -> None:
    """Fifty orders of a delivery, ten at a time, would outlive their worker."""

    def silent(request: requests.PreparedRequest) -> requests.Response:
        raise error

    class Both(Tokens):
        def token(self, arn: str, refused: str | None = None) -> Token:
            return super().token(ARN, refused)

    clock = Clock(START)
    adapter = Scripted(silent)
    adobe = Adobe(adapter.session(), Both(), PLATFORM, lambda: LEDGER, clock)
    target = Target(ARN, "silent@AdobeOrg", "prod", "d")
    ends = []
    for number in range(50):
        with pytest.raises(TryAgain) as caught:
            adobe.create(Order(f"intake-{number}", target, {}))
        ends.append(type(caught.value))
    assert ends == [raised] * 3 + [PlatformUnavailable] * 47, "nothing was sent"
    assert len(adapter.asked) == 3
    assert caught.value.retry_after == 10
    with pytest.raises(PlatformUnavailable, match="got no answer"):
        adobe.ready(ARN)  # so that no order waits for its turn either
    adobe.ready("another")
    other = replace(target, credential="another", ims_org="other@AdobeOrg")
    with pytest.raises(TryAgain):
        adobe.create(Order("intake-x", other, {}))
    assert len(adapter.asked) == 4, "another organization's is sent"
    clock.advance(10_000)
    with pytest.raises(raised):
        adobe.create(Order("intake-y", target, {}))
    assert len(adapter.asked) == 5


def test_who_has_no_token_is_not_ready() -> None:
    class Refused(Tokens):
        def token(self, arn: str, refused: str | None = None) -> Token:
            raise CredentialUnusable("IMS answered 400 invalid_client")

    with pytest.raises(CredentialUnusable, match="invalid_client"):
        Adobe(requests.Session(), Refused(), PLATFORM, lambda: LEDGER, Clock(START)).ready(ARN)


def test_names_without_end_are_not_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "_MAX_CACHED", 50)
    adobe = always(200, {})
    for number in range(60):
        with pytest.raises(DatasetNotFound):
            adobe.dataset_id(ARN, ORG, "prod", f"n{number}")
    assert len(adobe._dataset_ids._answers) == 50


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"title": "BadRequestError"}, BatchRefused),
        (403, {"title": "PALM Access Denied"}, BatchRefused),
        (404, b"<html>", BatchRefused),
        (414, b"", BatchRefused),
        (401, b"", CredentialUnusable),
        (403, {"error_code": "403025", "message": "Profile is not valid"}, CredentialUnusable),
        (403, {"error_code": "503020", "message": "?"}, PlatformUnavailable),
        (429, b"", PlatformUnavailable),
        (503, b"", PlatformUnavailable),
        (200, b"<html>", PlatformUnavailable),
    ],
)
def test_names_that_cannot_be_looked_up(status: int, body: object, kind: type[IntakeError]) -> None:
    adobe = always(status, body)
    for _ in range(2):  # trouble is not remembered as an answer
        with pytest.raises(kind):
            adobe.dataset_id(ARN, ORG, "prod", "n")


# Hostile input

HOSTILE = (
    "a\r\nx-sandbox-name: prod",
    "a\nb",
    "..",
    ".",
    "../dataSets",
    "../../../ims/token/v3",
    "%2e%2e",
    "a/b",
    "a?action=COMPLETE",
    "a#b",
    "a&b=c",
    "",
    " ",
    "a b",
    "\u00e9",
    "\x00",
    "\ud800",
    "x" * 5_000,
    "//evil.example/x",
    "@evil.example",
)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_ids_stay_one_segment_of_the_path(value: str) -> None:
    def at_home(request: requests.PreparedRequest) -> requests.Response:
        url = urlsplit(str(request.url))
        assert f"{url.scheme}://{url.netloc}" == PLATFORM
        base, _, segment = url.path.rpartition("/")
        assert base in (
            "/data/foundation/import/batches",
            "/data/foundation/catalog/batches",
            "/data/foundation/catalog/dataSets",
        )
        assert unquote(segment) == value
        assert url.query == ("action=ABORT" if request.method == "POST" else "")
        return answer(404)

    adobe = scripted(at_home)
    adobe.abort(ORDER, value)
    assert adobe.batch(TARGET, value) is None
    assert adobe.dataset(replace(TARGET, dataset_id=value)) is None


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_in_their_place(value: str) -> None:
    """As dataset and name: a JSON member or one query parameter, nothing else."""
    seen: list[requests.PreparedRequest] = []

    def looking(request: requests.PreparedRequest) -> requests.Response:
        seen.append(request)
        return answer(404)

    adobe = scripted(looking)
    order = replace(ORDER, target=replace(TARGET, dataset_id=value))
    with pytest.raises(BatchRefused):
        adobe.create(order)
    assert json.loads(seen[0].body or b"")["datasetId"] == value
    assert adobe.find(order, START) == []
    with pytest.raises(DatasetNotFound):
        adobe.dataset_id(ARN, ORG, "prod", value)
    names = [[name for name, _ in parse_qsl(str(one.url).partition("?")[2])] for one in seen[1:]]
    assert set(names[0]) <= {
        "externalId",
        "dataSet",
        "createdAfter",
        "orderBy",
        "limit",
        "start",
    }
    assert set(names[1]) <= {"name", "property", "properties", "limit", "start"}


@pytest.mark.parametrize(
    "value",
    [one for one in HOSTILE if not one.isascii() or " " in one or not one.isprintable() or not one],
)
def test_hostile_headers_are_never_sent(value: str) -> None:
    transport = Scripted(lambda _: answer(201, made()))
    adobe = Adobe(transport.session(), Tokens(), PLATFORM, lambda: LEDGER, lambda: START)
    for target in (replace(TARGET, sandbox=value), replace(TARGET, ims_org=value)):
        order = replace(ORDER, target=target)
        for ask in (
            lambda order=order: adobe.create(order),
            lambda order=order: adobe.find(order, START),
            lambda order=order: adobe.dataset_id(
                ARN, order.target.ims_org, order.target.sandbox, "n"
            ),
        ):
            with pytest.raises(TargetNotAllowed):
                ask()
    assert transport.asked == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*made(), "error_code", "message", "type", "b0"]), inner)
    ),
    max_leaves=10,
)


@given(
    status=st.integers(200, 599),
    body=st.binary(max_size=20) | json_values,
    headers=st.dictionaries(
        st.sampled_from(["X-Request-Id", "Retry-After", "Location", "Content-Type"]),
        st.text(string.printable, max_size=10),
    ),
)
def test_whatever_aep_answers_has_a_meaning(
    status: int, body: object, headers: dict[str, str]
) -> None:
    adobe = always(status, body, headers)
    calls: list[Callable[[], object]] = [
        lambda: adobe.create(ORDER),
        lambda: adobe.find(ORDER, START),
        lambda: adobe.abort(ORDER, "b0"),
        lambda: adobe.batch(TARGET, "b0"),
        lambda: adobe.dataset(TARGET),
        lambda: adobe.dataset_id(ARN, ORG, "prod", "n"),
    ]
    for call in calls:
        try:
            call()
        except IntakeError as error:
            assert error.detail.isprintable()
            assert len(error.detail) < 1_000
            if status >= 500:
                assert isinstance(error, TryAgain)


def told(error: BaseException | None) -> str:
    text = "" if error is None else "".join(traceback.format_exception(error))
    while error is not None:
        text += repr(error) + repr(vars(error))
        error = error.__cause__
    return text


@given(
    status=st.sampled_from([302, 400, 401, 403, 404, 409, 429, 500, 503]),
    place=st.sampled_from(["message", "title", "detail", "error_code", "type", "body", "header"]),
)
def test_aep_may_say_our_token_and_we_do_not(status: int, place: str) -> None:
    def echoing(request: requests.PreparedRequest) -> requests.Response:
        said = request.headers["Authorization"]
        if place == "body":
            return answer(status, said.encode())
        if place == "header":
            return answer(status, b"", {"X-Request-Id": said})
        said = f"http://ns.adobe.com/aep/errors/{said}" if place == "type" else said
        return answer(status, {place: said})

    adobe = scripted(echoing)
    for call in (
        lambda: adobe.create(ORDER),
        lambda: adobe.find(ORDER, START),
        lambda: adobe.dataset_id(ARN, ORG, "prod", "n"),
    ):
        try:
            call()
        except IntakeError as error:
            assert SECRET_TOKEN not in told(error)
            assert SECRET_TOKEN not in str(getattr(error, "error_code", ""))


def test_an_organization_the_credential_is_not_for(world: World) -> None:
    """As when the secret was replaced by another organization's after the order was opened."""
    other = "0123456789ABCDEF01234567@AdobeOrg"
    order = world.order()
    with pytest.raises(CredentialUnusable, match="403025"):
        world.adobe.create(replace(order, target=replace(order.target, ims_org=other)))


def test_two_organizations_at_once(world: World) -> None:
    other_arn, other_org = ARN + "2", "0123456789ABCDEF01234567@AdobeOrg"
    world.simulator.add_client(Client("another", frozenset({"s"}), other_org))
    world.simulator.add_dataset(other_org, "prod", "d9", "loyalty")
    world.secrets.others[other_arn] = {
        "client_id": "another",
        "client_secret": "s",
        "ims_org": other_org,
    }
    ours = world.order()
    theirs = replace(ours, target=Target(other_arn, other_org, "prod", "d9"))
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(world.adobe.create, [ours, theirs] * 20))
    orgs = [batch.raw["imsOrg"] for batch in batches]
    assert orgs == [world.seed.ims_org, other_org] * 20
    assert sum(world.simulator.ims.minted.values()) == 2
    assert world.adobe.dataset_id(other_arn, other_org, "prod", "loyalty") == "d9"
    assert named(world, "loyalty") == LOYALTY
