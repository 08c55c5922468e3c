"""Credentials: every shape of secret, one renewal at a time, rotation, and no secret ever told."""

import json
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from aep_intake.adapters.adobe.credentials import DEFAULT_SCOPES, Credentials, parse_secret
from aep_intake.model.errors import CredentialUnusable, PlatformUnavailable, TryAgain
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from local.simulator import TOKEN_PREFIX, Client, Fault
from tests.adobe_world import ARN, IMS, START, Scripted, Secrets, World, answer, own_shape

ORG = "8F3A1C5E60B24D970A495E41@AdobeOrg"
CLIENT, SECRET, OTHER = "cl1ent", "p8e-first/+=", "p8e-second"
HOUR = 3_600_000


@pytest.fixture
def world() -> World:
    return World()


# Shapes


def project(**changes: Any) -> dict[str, Any]:
    """What Developer Console's "Download" gives for a project (Adobe's docs, workspace.json)."""
    held = {
        "client_id": CLIENT,
        "client_secrets": [SECRET, OTHER],
        "technical_account_email": "x@techacct.adobe.com",
        "technical_account_id": "y@techacct.adobe.com",
        "scopes": ["openid", "AdobeID"],
    } | changes
    other = {"id": "1", "integration_type": "apikey", "api_key": {"client_id": "not this one"}}
    oauth = {
        "id": "2",
        "integration_type": "oauth_server_to_server",
        "oauth_server_to_server": held,
    }
    return {
        "project": {
            "id": "7",
            "org": {"id": "8", "name": "Acme", "ims_org_id": ORG},
            "workspace": {"id": "9", "details": {"credentials": [other, oauth], "services": []}},
        }
    }


DOWNLOADED = {
    "CLIENT_ID": CLIENT,
    "CLIENT_SECRETS": [SECRET, OTHER],
    "ORG_ID": ORG,
    "TECHNICAL_ACCOUNT_EMAIL": "x@techacct.adobe.com",
    "SCOPES": ["openid", "AdobeID"],
}
OURS = {"client_id": CLIENT, "client_secret": SECRET, "ims_org": ORG}


@pytest.mark.parametrize(
    ("document", "client_secrets", "scopes"),
    [
        (project(), (SECRET, OTHER), "openid,AdobeID"),
        (DOWNLOADED, (SECRET, OTHER), "openid,AdobeID"),
        ({**DOWNLOADED, "SCOPES": []}, (SECRET, OTHER), DEFAULT_SCOPES),
        (OURS, (SECRET,), DEFAULT_SCOPES),
        ({**OURS, "scopes": None}, (SECRET,), DEFAULT_SCOPES),
        ({**OURS, "client_secrets": [OTHER, SECRET]}, (OTHER, SECRET), DEFAULT_SCOPES),
        ({**OURS, "scopes": "openid, AdobeID"}, (SECRET,), "openid,AdobeID"),
        ({**OURS, "scope": "openid AdobeID"}, (SECRET,), "openid,AdobeID"),
        ({**OURS, "scopes": ["openid", "session"]}, (SECRET,), "openid,session"),
    ],
)
def test_shapes(document: object, client_secrets: tuple[str, ...], scopes: str) -> None:
    secret = parse_secret(json.dumps(document))
    assert (secret.client_id, secret.ims_org) == (CLIENT, ORG)
    assert (secret.client_secrets, secret.scopes) == (client_secrets, scopes)
    assert not any(one in repr(secret) for one in client_secrets)


WITHOUT_OAUTH: dict[str, Any] = {
    "project": {"workspace": {"details": {"credentials": [{"jwt": {}}]}}}
}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "lacks client_id, client_secret, ims_org"),
        ({"username": "u", "password": SECRET}, "lacks client_id, client_secret, ims_org"),
        ({**OURS, "ims_org": ""}, "lacks ims_org"),
        ({"client_id": CLIENT, "ims_org": ORG}, "lacks client_secret"),
        ({**DOWNLOADED, "CLIENT_SECRETS": []}, "lacks client_secret"),
        ({"project": {}}, "oauth_server_to_server"),
        ({"project": [1]}, "oauth_server_to_server"),
        (WITHOUT_OAUTH, "oauth_server_to_server"),
        (project(client_id=None), "lacks client_id"),
        ({**project()["project"], "project": {"workspace": {}}}, "oauth_server_to_server"),
        ([SECRET], "not a JSON object"),
        (SECRET, "not a JSON object"),
        (None, "not a JSON object"),
        ({**OURS, "client_id": "a\r\nx-evil: b"}, "malformed in the secret: client_id"),
        ({**OURS, "client_id": 7}, "malformed in the secret: client_id"),
        ({**OURS, "client_secret": {"a": SECRET}}, "malformed in the secret: client_secret"),
        ({**OURS, "client_secrets": [SECRET, 7]}, "malformed in the secret: client_secret"),
        ({**OURS, "client_secret": SECRET + "\n"}, "malformed in the secret: client_secret"),
        ({**OURS, "client_secrets": [SECRET] * 500}, "malformed in the secret: client_secret"),
        ({**OURS, "ims_org": "8F3A1C5E60B24D970A495E41"}, "malformed in the secret: ims_org"),
        ({**OURS, "ims_org": f"a\n{ORG}"}, "malformed in the secret: ims_org"),
        ({**OURS, "scopes": [7]}, "malformed in the secret: scopes"),
        ({**OURS, "scopes": {"a": 1}}, "malformed in the secret: scopes"),
    ],
)
def test_what_is_missing_or_malformed_is_named(document: object, named: str) -> None:
    with pytest.raises(CredentialUnusable) as caught:
        parse_secret(json.dumps(document))
    assert named in str(caught.value)
    assert SECRET not in everything_told(caught.value)


def test_text_that_is_not_json() -> None:
    for text in (SECRET, "", "{" + SECRET, b"\xff\xfe", "[" * 100_000):
        with pytest.raises(CredentialUnusable) as caught:
            parse_secret(text)
        assert SECRET not in everything_told(caught.value)


def everything_told(error: BaseException) -> str:
    """What a log could hold of an error: the chain, and the text of every attribute."""
    told = "".join(traceback.format_exception(error))
    while error is not None:
        told += repr(error) + repr(vars(error))
        error = error.__cause__  # type: ignore[assignment]
    return told


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*OURS, *DOWNLOADED, "project", "workspace", "details", "credentials", "org"]
            )
            | st.just("oauth_server_to_server")
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(hostile)
def test_any_json_is_a_credential_or_an_error_that_keeps_the_secret(document: object) -> None:
    try:
        secret = parse_secret(json.dumps(document))
    except CredentialUnusable as error:
        assert SECRET not in everything_told(error)
    else:
        assert secret.client_secrets
        for value in (secret.client_id, secret.ims_org, *secret.client_secrets, secret.scopes):
            assert value.isascii()
            assert value.isprintable()
            assert " " not in value


# One token for many


def test_a_token_is_kept(world: World) -> None:
    assert world.credentials.ims_org(ARN) == world.seed.ims_org
    tokens = {world.credentials.token(ARN).access_token for _ in range(100)}
    assert (len(tokens), world.minted, world.secrets.calls) == (1, 1, 1)
    assert world.credentials.take_minted() == 1
    assert world.credentials.take_minted() == 0


def test_what_is_asked_of_ims(world: World) -> None:
    token = world.credentials.token(ARN)
    (received,) = world.simulator.received
    asked = received.request
    assert (asked.method, asked.path, asked.query) == ("POST", "/ims/token/v3", "")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert b"scope=openid%2Csession%2CAdobeID%2C" in asked.body
    assert token.client_id == world.seed.client_id
    assert token.ims_org == world.seed.ims_org
    assert TOKEN_PREFIX in token.access_token
    assert TOKEN_PREFIX not in repr(token)


@pytest.mark.parametrize(
    ("life", "margin"), [(86_399, 600_000), (3_599, 359_900), (60, 6_000), (2, 200)]
)
def test_a_token_is_renewed_before_it_expires(world: World, life: int, margin: int) -> None:
    world.simulator.switches.expires_in = life
    world.credentials.token(ARN)
    world.clock.advance(life * 1000 - margin - 1)
    world.credentials.token(ARN)
    assert world.minted == 1
    world.clock.advance(1)
    world.credentials.token(ARN)
    assert world.minted == 2


def slow_ims(mint: Callable[[], requests.Response]) -> tuple[Scripted, threading.Event]:
    going_on = threading.Event()

    def slowly(_: requests.PreparedRequest) -> requests.Response:
        going_on.set()
        time.sleep(0.1)
        return mint()

    return Scripted(slowly), going_on


def scripted(ims: Scripted, document: object = OURS, now: Callable[[], int] = lambda: START) -> Any:
    return Credentials(Secrets(document).client, ims.session(), IMS, now)


def numbered() -> Callable[[], requests.Response]:
    numbers = iter(range(1000))
    return lambda: answer(200, {"access_token": f"token-{next(numbers)}", "expires_in": 1000})


def test_many_threads_mint_once() -> None:
    ims, _ = slow_ims(numbered())
    credentials = scripted(ims)
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: credentials.token(ARN).access_token, range(64)))
    assert tokens == {"token-0"}
    assert len(ims.asked) == 1


def test_many_threads_renew_a_refused_token_once() -> None:
    ims, _ = slow_ims(numbered())
    credentials = scripted(ims)
    refused = credentials.token(ARN).access_token
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: credentials.token(ARN, refused).access_token, range(64)))
    assert tokens == {"token-1"}
    assert len(ims.asked) == 2


def test_many_threads_learn_of_one_failure() -> None:
    ims, _ = slow_ims(lambda: answer(400, {"error": "invalid_client"}))
    credentials = scripted(ims)

    def fails(_: int) -> str:
        with pytest.raises(CredentialUnusable) as caught:
            credentials.token(ARN)
        return str(caught.value)

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(fails, range(64)))) == 1
    assert len(ims.asked) == 1


def test_nobody_waits_for_a_renewal_ahead_of_expiry() -> None:
    now = START
    ims, going_on = slow_ims(numbered())
    credentials = scripted(ims, now=lambda: now)
    first = credentials.token(ARN)
    now = first.renew_at
    going_on.clear()
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(credentials.token, ARN)
        assert going_on.wait(5)
        assert credentials.token(ARN) is first
        assert not renewing.done()
        assert renewing.result().access_token == "token-1"
    assert credentials.token(ARN).access_token == "token-1"


def test_credentials_do_not_wait_for_each_other() -> None:
    other = ARN + "2"
    started = threading.Barrier(2, timeout=5)

    def together(_: requests.PreparedRequest) -> requests.Response:
        started.wait()  # both are at IMS at the same time, or this breaks
        return answer(200, {"access_token": "t", "expires_in": 1000})

    secrets = Secrets({**OURS, "client_id": "1"}, {other: {**OURS, "client_id": "2"}})
    credentials = Credentials(secrets.client, Scripted(together).session(), IMS, lambda: START)
    with ThreadPoolExecutor(2) as pool:
        ids = {token.client_id for token in pool.map(credentials.token, (ARN, other))}
    assert ids == {"1", "2"}


def test_a_renewal_that_fails_leaves_the_token_until_it_expires(world: World) -> None:
    first = world.credentials.token(ARN)
    world.clock.stand(first.renew_at)
    world.simulator.faults.add(Fault("status", operation="token", status=500, count=0))
    assert world.credentials.token(ARN) is first
    asked = world.operations().count("token")
    assert world.credentials.token(ARN) is first
    assert world.operations().count("token") == asked  # leave IMS alone for a moment
    world.clock.stand(first.expires)
    with pytest.raises(PlatformUnavailable, match="500"):
        world.credentials.token(ARN)
    world.simulator.faults.clear()
    world.clock.advance(3_999)  # the second failure in a row
    with pytest.raises(PlatformUnavailable, match="500"):
        world.credentials.token(ARN)
    world.clock.advance(1)
    assert world.credentials.token(ARN) is not first


@pytest.mark.parametrize(
    ("status", "first", "longest"), [(500, 2_000, 120_000), (403, 30_000, 120_000)]
)
def test_what_fails_on_and_on_is_asked_for_more_seldom_up_to_two_minutes(
    world: World, status: int, first: int, longest: int
) -> None:
    world.simulator.faults.add(Fault("status", operation="token", status=status, count=0))
    rests = []
    for _ in range(9):
        with pytest.raises(TryAgain):
            world.credentials.token(ARN)
        with pytest.raises(TryAgain) as caught:
            world.credentials.token(ARN)
        rests.append(int(1000 * (caught.value.retry_after or 0)))
        world.clock.advance(rests[-1])
    assert rests[:2] == [first, 2 * first]
    assert rests[-1] == longest == max(rests)
    world.simulator.faults.clear()
    world.credentials.token(ARN)


# Refused tokens


def test_a_refused_token_is_replaced_once(world: World) -> None:
    first = world.credentials.token(ARN).access_token
    second = world.credentials.token(ARN, refused=first).access_token
    assert second != first
    assert world.credentials.token(ARN, refused=first).access_token == second
    assert world.credentials.token(ARN).access_token == second
    assert world.minted == 2


def test_a_token_refused_right_after_minting_is_not_replaced_at_once(world: World) -> None:
    first = world.credentials.token(ARN).access_token
    second = world.credentials.token(ARN, refused=first).access_token
    with pytest.raises(CredentialUnusable, match="just minted") as caught:
        world.credentials.token(ARN, refused=second)
    assert caught.value.retry_after == 30
    assert world.minted == 2
    world.clock.advance(30_000)
    assert world.credentials.token(ARN, refused=second).access_token not in (first, second)


# Rotation


def rotate(world: World, *client_secrets: str) -> None:
    client = Client(world.seed.client_id, frozenset(client_secrets), world.seed.ims_org)
    world.simulator.add_client(client)


def test_the_second_secret_is_tried(world: World) -> None:
    world.secrets.document = own_shape(world.seed, "deleted-by-now", world.seed.client_secret)
    world.credentials.token(ARN)
    assert world.operations() == ["token", "token"]
    assert world.secrets.calls == 1


def test_a_rotated_secret_is_read_again(world: World) -> None:
    world.credentials.ims_org(ARN)  # the old secret is in memory
    rotate(world, "new")
    world.secrets.document = own_shape(world.seed, "new")
    world.credentials.token(ARN)
    assert (world.secrets.calls, world.minted) == (2, 1)


def test_a_secret_read_long_ago_is_read_again_first(world: World) -> None:
    token = world.credentials.token(ARN)
    rotate(world, "new")
    world.secrets.document = own_shape(world.seed, "new")
    world.clock.stand(token.renew_at)
    world.credentials.token(ARN)
    assert world.operations() == ["token", "token"]
    assert [received.status for received in world.simulator.received] == [200, 200]


def test_no_secret_works(world: World) -> None:
    rotate(world, "new")
    world.credentials.ims_org(ARN)
    with pytest.raises(CredentialUnusable) as caught:
        world.credentials.token(ARN)
    told = str(caught.value)
    assert "invalid_client: invalid client_secret parameter" in told
    assert ARN in told
    assert "x-debug-id" in told
    assert world.seed.client_secret not in everything_told(caught.value)
    assert (world.operations(), world.secrets.calls) == (["token"], 2)
    # Remembered for half a minute, then tried anew.
    world.clock.advance(29_999)
    with pytest.raises(CredentialUnusable) as again:
        world.credentials.token(ARN)
    assert (str(again.value), again.value.retry_after) == (told, 0.001)
    assert len(world.operations()) == 1
    world.clock.advance(1)
    rotate(world, world.seed.client_secret)
    assert world.credentials.token(ARN)


# IMS and Secrets Manager in trouble


def test_ims_throttles(world: World) -> None:
    world.simulator.faults.add(Fault("gateway", operation="token", code="429050", retry_after="90"))
    with pytest.raises(PlatformUnavailable, match="429") as caught:
        world.credentials.token(ARN)
    assert caught.value.retry_after == 90
    world.clock.advance(80_000)
    with pytest.raises(PlatformUnavailable) as caught:
        world.credentials.token(ARN)
    assert caught.value.retry_after == 10
    assert world.operations() == ["token"]
    world.clock.advance(10_000)
    assert world.credentials.token(ARN)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500),
        Fault("status", status=503, body="html"),
        Fault("status", status=502, body="empty"),
        Fault("answer-lost", how="reset"),
    ],
)
def test_quick_trouble_is_repeated_once(world: World, fault: Fault) -> None:
    world.simulator.faults.add(fault)
    assert world.credentials.token(ARN)
    assert world.operations() == ["token", "token"]


def test_lasting_trouble_is_not(world: World) -> None:
    world.simulator.faults.add(Fault("status", status=500, count=0))
    with pytest.raises(PlatformUnavailable, match="500"):
        world.credentials.token(ARN)
    assert world.operations() == ["token", "token"]


def test_a_slow_ims_is_not_asked_for_ever(world: World) -> None:
    """Whoever waits for a token holds up a delivery, so there is an end to trying secrets."""
    world.secrets.document = own_shape(world.seed, *(f"deleted-{n}" for n in range(5)))
    world.simulator.faults.add(Fault("delay", operation="token", delay_ms=4_900, count=0))
    with pytest.raises(PlatformUnavailable, match="slow"):
        world.credentials.token(ARN)
    assert world.operations() == ["token"] * 3


def test_a_time_out_is_not_repeated(world: World) -> None:
    world.simulator.faults.add(Fault("answer-lost", how="timeout"))
    with pytest.raises(PlatformUnavailable, match="ReadTimeout"):
        world.credentials.token(ARN)
    assert world.operations() == ["token"]
    assert world.clock() == START + 5_000


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_scope"}, CredentialUnusable),
        (401, {"error": "unauthorized_client"}, CredentialUnusable),
        (403, b"<html>", CredentialUnusable),
        (404, b"", CredentialUnusable),
        (302, b"", PlatformUnavailable),
        (408, b"", PlatformUnavailable),
        (429, b"", PlatformUnavailable),
        (200, b"", PlatformUnavailable),
        (200, b"<html>", PlatformUnavailable),
        (200, ["t"], PlatformUnavailable),
        (200, {"access_token": "t"}, PlatformUnavailable),  # never assume a life
        (200, {"access_token": "t", "expires_in": "soon"}, PlatformUnavailable),
        (200, {"access_token": "t", "expires_in": 0}, PlatformUnavailable),
        (200, {"access_token": "t", "expires_in": -1}, PlatformUnavailable),
        (200, b'{"access_token": "t", "expires_in": NaN}', PlatformUnavailable),
        (200, b'{"access_token": "t", "expires_in": 1e999}', PlatformUnavailable),
        (200, {"access_token": "t\r\nx-evil: 1", "expires_in": 100}, PlatformUnavailable),
        (200, {"access_token": 7, "expires_in": 100}, PlatformUnavailable),
        (200, {"expires_in": 100}, PlatformUnavailable),
    ],
)
def test_answers_of_ims(status: int, body: object, kind: type[TryAgain]) -> None:
    ims = Scripted(lambda _: answer(status, body))
    with pytest.raises(kind):
        scripted(ims).token(ARN)
    assert len(ims.asked) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", CredentialUnusable),
        ("ResourceNotFoundException", CredentialUnusable),
        ("DecryptionFailure", CredentialUnusable),
        ("InvalidRequestException", CredentialUnusable),
        ("ThrottlingException", PlatformUnavailable),
        ("InternalServiceError", PlatformUnavailable),
        ("ServiceUnavailable", PlatformUnavailable),
    ],
)
def test_secrets_manager_in_trouble(world: World, code: str, kind: type[TryAgain]) -> None:
    world.secrets.error = code
    for ask in (world.credentials.ims_org, world.credentials.token):
        with pytest.raises(kind, match=code):
            ask(ARN)
    assert world.secrets.calls == 1  # the second asker is told what the first found out
    world.secrets.error = None
    world.clock.advance(30_000)
    assert world.credentials.token(ARN)


def test_secrets_manager_out_of_reach() -> None:
    class Unreachable(Secrets):
        def get_secret_value(self, **_: object) -> dict[str, Any]:
            raise EndpointConnectionError(endpoint_url="https://secretsmanager")

    ims = Scripted(lambda _: answer(200))
    credentials = Credentials(Unreachable(None).client, ims.session(), IMS, lambda: START)
    with pytest.raises(PlatformUnavailable, match="EndpointConnectionError"):
        credentials.token(ARN)


def test_a_malformed_secret_is_told_with_its_name(world: World) -> None:
    world.secrets.document = {"client_id": CLIENT, "client_secret": SECRET}
    with pytest.raises(CredentialUnusable, match="lacks ims_org") as caught:
        world.credentials.token(ARN)
    assert ARN in str(caught.value)
    assert SECRET not in everything_told(caught.value)


def test_a_binary_secret() -> None:
    class Binary(Secrets):
        def get_secret_value(self, **_: object) -> dict[str, Any]:
            return {"SecretBinary": json.dumps(OURS).encode()}

    ims = Scripted(lambda _: answer(200))
    credentials = Credentials(Binary(None).client, ims.session(), IMS, lambda: START)
    assert credentials.ims_org(ARN) == ORG


# Nothing secret is ever told


@given(
    status=st.sampled_from([200, 201, 302, 400, 401, 403, 429, 500, 503]),
    echo=st.sampled_from(["error", "error_description", "access_token", "body", "html"]),
    lasting=st.booleans(),
)
def test_ims_may_say_our_secret_and_we_do_not(status: int, echo: str, lasting: bool) -> None:
    def echoing(request: requests.PreparedRequest) -> requests.Response:
        form = (request.body or b"").decode() if isinstance(request.body, bytes) else ""
        said = f"{SECRET} {form} {SECRET}"
        if echo in ("body", "html"):
            return answer(status, said.encode(), {"x-debug-id": "1"})
        body = {"error": "invalid_client", "error_description": "no"} | {echo: said}
        return answer(status, body, {"x-debug-id": "1"})

    credentials = scripted(Scripted(echoing))
    with pytest.raises(TryAgain) as caught:
        credentials.token(ARN)
    told = everything_told(caught.value) + repr(vars(credentials)["_credentials"])
    assert SECRET not in told
    assert "p8e-first%2F" not in told
