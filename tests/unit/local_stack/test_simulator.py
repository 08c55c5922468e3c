"""The simulator's facts: what Adobe answers, and what only a switch can decide."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from local.simulator import (
    TOKEN_PREFIX,
    Client,
    Clock,
    Fault,
    Request,
    Response,
    Seed,
    Simulator,
    seed_defaults,
)
from local.simulator.agenda import Agenda
from local.simulator.app import running
from local.simulator.messages import GATEWAY, NoAnswer
from local.simulator.seed import CLICKS, CLOSED, LOYALTY, PRODUCTS, PROFILES, SYSTEM, WEB_EVENTS

NOW = 1_552_694_873_602
BATCHES = "/data/foundation/import/batches"
CATALOG = "/data/foundation/catalog"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class OverHttp:
    """The way to a simulator that is served, as far as a client can tell what became of it."""

    address: str
    session: requests.Session

    def __call__(self, request: Request) -> Response:
        url = f"{self.address}{request.path}?{request.query}"
        body, headers = request.body, dict(request.headers)
        try:
            got = self.session.request(request.method, url, data=body, headers=headers, timeout=0.5)
        except requests.exceptions.ReadTimeout:
            raise NoAnswer("timeout") from None
        except requests.exceptions.ConnectionError:
            raise NoAnswer("reset") from None
        named = {name.title(): value for name, value in got.headers.items()}
        return Response(got.status_code, named, got.content)


@dataclass
class Caller:
    """A correct client, any part of which a test can spoil."""

    simulator: Simulator
    seed: Seed
    token: str = field(repr=False, default="")
    over: OverHttp | None = None

    def handle(self, request: Request) -> Response:
        return (self.over or self.simulator.handle)(request)

    def form(self, **changes: str) -> dict[str, str]:
        fields = {
            "grant_type": "client_credentials",
            "client_id": self.seed.client_id,
            "client_secret": self.seed.client_secret,
            "scope": ",".join(self.seed.scopes),
        }
        return fields | changes

    def mint(self, version: int = 3, **changes: str) -> Response:
        body = urlencode(self.form(**changes)).encode()
        return self.handle(Request("POST", f"/ims/token/v{version}", headers=FORM, body=body))

    def headers(self, **changes: str | None) -> dict[str, str]:
        if not self.token:
            self.token = self.mint().json()["access_token"]
        given: dict[str, str | None] = {
            "authorization": f"Bearer {self.token}",
            "x-api-key": self.seed.client_id,
            "x-gw-ims-org-id": self.seed.ims_org,
            "x-sandbox-name": "prod",
            "content-type": "application/json",
        }
        given |= {name.replace("_", "-"): value for name, value in changes.items()}
        return {name: value for name, value in given.items() if value is not None}

    def call(self, method: str, path: str, body: object = None, **headers: str | None) -> Response:
        path, _, query = path.partition("?")
        raw = b"" if body is None else json.dumps(body).encode()
        return self.handle(Request(method, path, query, self.headers(**headers), raw))

    def create(self, dataset: str = LOYALTY, **members: object) -> Response:
        return self.call("POST", BATCHES, {"datasetId": dataset, **members})

    def made(self, dataset: str = LOYALTY, **members: object) -> str:
        response = self.create(dataset, **members)
        assert response.status == 201
        return str(response.json()["id"])

    def act(self, batch_id: str, action: str) -> Response:
        return self.call("POST", f"{BATCHES}/{batch_id}?action={action}")

    def status(self, batch_id: str) -> str:
        return str(self.call("GET", f"{CATALOG}/batches/{batch_id}").json()[batch_id]["status"])

    def found(self, **filters: object) -> list[str]:
        response = self.call("GET", f"{CATALOG}/batches?{urlencode(filters)}")
        assert response.status == 200, response.body
        return list(response.json())


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def caller(clock: Clock, request: pytest.FixtureRequest) -> Iterator[Caller]:
    simulator = Simulator(clock)
    seed = seed_defaults(simulator)
    if getattr(request, "param", "in process") == "in process":
        yield Caller(simulator, seed)
        return
    with running(simulator) as address, requests.Session() as session:
        session.trust_env = False
        yield Caller(simulator, seed, over=OverHttp(address, session))


# What a client can tell is the same whichever way it comes.
BOTH_WAYS = pytest.mark.parametrize("caller", ["in process", "over HTTP"], indirect=True)


class TestTokens:
    @pytest.mark.parametrize("version", [1, 2, 3, 4])
    def test_minted_on_every_version_of_the_path(self, caller: Caller, version: int) -> None:
        response = caller.mint(version)
        assert response.status == 200
        body = response.json()
        assert body["access_token"].startswith(TOKEN_PREFIX)
        assert (body["token_type"], body["expires_in"]) == ("bearer", 86_399)
        assert response.headers["x-debug-id"]

    def test_parameters_may_come_in_the_query(self, caller: Caller) -> None:
        response = caller.simulator.handle(
            Request("POST", "/ims/token/v2", urlencode(caller.form()))
        )
        assert response.status == 200

    @pytest.mark.parametrize(
        ("changes", "error", "description"),
        [
            ({"client_id": "nobody"}, "invalid_client", "invalid client_id parameter"),
            ({"client_secret": "no"}, "invalid_client", "invalid client_secret parameter"),
            ({"grant_type": "x"}, "unsupported_grant_type", "invalid grant_type parameter"),
            ({"scope": "openid AdobeID"}, "invalid_scope", "invalid scope parameter"),
            ({"scope": ""}, "invalid_scope", "invalid scope parameter"),
        ],
    )
    def test_refusals_are_400(
        self, caller: Caller, changes: dict[str, str], error: str, description: str
    ) -> None:
        response = caller.mint(3, **changes)
        assert response.status == 400
        assert response.json() == {"error": error, "error_description": description}
        assert response.headers["x-debug-id"]
        assert not caller.simulator.ims.minted

    def test_two_secrets_live_at_once_until_one_is_deleted(self, caller: Caller) -> None:
        seed, old = caller.seed, caller.seed.client_secret
        both = Client(seed.client_id, frozenset({old, "new"}), seed.ims_org)
        caller.simulator.add_client(both)
        assert caller.mint(client_secret=old).status == 200
        assert caller.mint(client_secret="new").status == 200
        caller.simulator.add_client(Client(seed.client_id, frozenset({"new"}), seed.ims_org))
        assert caller.mint(client_secret=old).status == 400
        assert caller.mint(client_secret="new").status == 200
        with pytest.raises(ValueError, match="two secrets"):
            Client(seed.client_id, frozenset("abc"), seed.ims_org)

    def test_mints_are_counted_and_tokens_expire_by_the_clock(
        self, caller: Caller, clock: Clock
    ) -> None:
        caller.simulator.switches.change(expires_in=2)
        assert caller.create().status == 201
        clock.advance(1_999)
        assert caller.create().status == 201
        clock.advance(1)
        assert caller.create().json()["error_code"] == "401013"
        assert caller.simulator.ims.minted == {caller.seed.client_id: 1}

    def test_throttled(self, caller: Caller) -> None:
        caller.simulator.faults.add(Fault("status", "token", status=429, retry_after="7"))
        response = caller.mint()
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
        assert caller.mint().status == 200


class TestGateway:
    def test_refusals_come_in_order(self, caller: Caller) -> None:
        """Each case mends one more thing than the one before it."""
        other = "000000000000000000000000@AdobeOrg"
        wrong: list[tuple[dict[str, str | None], int, dict[str, str]]] = [
            (
                {"x_api_key": None},
                403,
                {"error_code": "403000", "message": "Api Key is required"},
            ),
            (
                {"x_api_key": "nobody"},
                403,
                {"error_code": "403003", "message": "Api Key is invalid"},
            ),
            (
                {"authorization": None},
                403,
                {"error_code": "403010", "message": "Oauth token is missing."},
            ),
            (
                {"authorization": "Bearer no"},
                401,
                {"error_code": "401013", "message": "Oauth token is not valid"},
            ),
            (
                {"x_gw_ims_org_id": None},
                400,
                {"error_code": "400003", "message": "Missing header"},
            ),
            (
                {"x_gw_ims_org_id": other},
                403,
                {"error_code": "403025", "message": "Profile is not valid"},
            ),
            (
                {"x_gw_ims_org_id": "ACME"},
                403,
                {"error_code": "403027", "message": "User region is missing"},
            ),
            ({"x_sandbox_name": "nowhere"}, 403, {}),
        ]
        for index, (_, status, body) in enumerate(wrong):
            # everything behind it is wrong too, and must not be what is complained about
            all_wrong: dict[str, str | None] = {}
            for later, _, _ in reversed(wrong[index:]):
                all_wrong |= later
            response = caller.call("POST", BATCHES, {}, **all_wrong)
            assert response.status == status
            if body:
                assert response.json() == body
            assert response.headers["X-Request-Id"]
        assert caller.simulator.batches() == []

    def test_without_a_product_profile_there_is_no_region(self, caller: Caller) -> None:
        seed = caller.seed
        secrets = frozenset({seed.client_secret})
        caller.simulator.add_client(Client(seed.client_id, secrets, seed.ims_org, entitled=False))
        assert caller.create().json()["error_code"] == "403027"

    def test_a_token_of_another_client_is_not_allowed_here(self, caller: Caller) -> None:
        caller.simulator.add_client(Client("other", frozenset({"x"}), caller.seed.ims_org))
        theirs = caller.mint(client_id="other", client_secret="x").json()["access_token"]
        response = caller.call("POST", BATCHES, {}, authorization=f"Bearer {theirs}")
        assert (response.status, response.json()["error_code"]) == (401, "401014")

    def test_revoked_tokens_are_not_valid(self, caller: Caller) -> None:
        assert caller.create().status == 201
        caller.simulator.ims.revoke()
        assert caller.create().json()["error_code"] == "401013"

    def test_every_answer_has_its_own_request_id(self, caller: Caller) -> None:
        answers = [caller.create(), caller.create("no"), caller.act("no", "ABORT"), caller.mint()]
        assert len({answer.headers["X-Request-Id"] for answer in answers}) == 4

    def test_what_is_not_simulated_is_501_and_long_urls_414(self, caller: Caller) -> None:
        """A 404 would say that Adobe knows no such thing."""
        for method, path in (("GET", "/data/foundation/catalog/tags"), ("DELETE", BATCHES)):
            answer = caller.call(method, path)
            assert (answer.status, answer.json()["title"]) == (501, "NotImplementedError")
        long = caller.call("GET", f"{CATALOG}/batches?externalId={'x' * 2000}")
        assert (long.status, long.json()["status"]) == (414, 414)


class TestSandboxes:
    def test_missing_header_means_the_default_sandbox_and_shows(self, caller: Caller) -> None:
        response = caller.call("POST", BATCHES, {"datasetId": LOYALTY}, x_sandbox_name=None)
        assert response.status == 201
        assert caller.simulator.batches()[0].sandbox == "prod"
        last = caller.simulator.received[-1]
        assert (last.sandbox, last.sandbox_defaulted) == ("prod", True)
        caller.create()
        assert not caller.simulator.received[-1].sandbox_defaulted

    @pytest.mark.parametrize("status", [403, 404])
    def test_unknown_sandbox_is_a_switch(self, caller: Caller, status: int) -> None:
        caller.simulator.switches.change(unknown_sandbox=status)
        response = caller.call("POST", BATCHES, {"datasetId": LOYALTY}, x_sandbox_name="none")
        assert response.status == status
        assert response.json()["report"]["tenantInfo"]["sandboxName"] == "none"

    def test_what_is_in_one_sandbox_is_not_in_another(self, caller: Caller) -> None:
        simulator = caller.simulator
        simulator.add_dataset(caller.seed.ims_org, "dev", "only-dev", "only-dev")
        assert caller.create("only-dev").status == 400
        batch_id = caller.made()
        assert caller.call("GET", f"{CATALOG}/dataSets/only-dev").status == 404
        gone = caller.call("GET", f"{CATALOG}/batches/{batch_id}", x_sandbox_name="dev")
        assert gone.status == 404
        listed = caller.call("GET", f"{CATALOG}/batches", x_sandbox_name="dev")
        assert listed.json() == {}
        aborted = caller.call("POST", f"{BATCHES}/{batch_id}?action=ABORT", x_sandbox_name="dev")
        assert aborted.status == 404

    def test_those_of_the_caller_are_listed_with_their_types(self, caller: Caller) -> None:
        """By Adobe's page "Available sandboxes endpoint", and its appendix on paging."""
        path = "/data/foundation/sandbox-management/"
        caller.simulator.add_sandbox(caller.seed.ims_org, "emea", "production")
        caller.simulator.add_sandbox("0" * 24 + "@AdobeOrg", "others")
        listed = caller.call("GET", path).json()
        assert listed["_page"] == {"limit": 50, "count": 3}
        assert [(one["name"], one["type"], one["isDefault"]) for one in listed["sandboxes"]] == [
            ("prod", "production", True),
            ("dev", "development", False),
            ("emea", "production", False),
        ]
        page = caller.call("GET", f"{path}?limit=1&offset=1").json()["sandboxes"]
        assert [one["name"] for one in page] == ["dev"]
        for query in ("limit=1", "offset=1", "limit=x&offset=0"):
            assert caller.call("GET", f"{path}?{query}").status == 400


class TestCreate:
    def test_answers_what_the_create_page_shows(self, caller: Caller) -> None:
        response = caller.create()
        assert response.status == 201
        assert response.headers["Content-Type"] == "application/json"
        body = response.json()
        batch_id, client = body["id"], caller.seed.client_id
        assert len(batch_id) == 26
        user = body["createdUser"]
        assert body == {
            "id": batch_id,
            "imsOrg": caller.seed.ims_org,
            "updated": NOW,
            "status": "loading",
            "created": NOW,
            "relatedObjects": [{"type": "dataSet", "id": LOYALTY}],
            "version": "1.0.0",
            "tags": {
                "acp_producer": [client],
                "acp_stagePath": [f"{client}/stage/{batch_id}"],
                "use_plan_b_batch_status": ["false"],
            },
            "createdUser": user,
            "updatedUser": user,
            "externalId": batch_id,
            "createdClient": client,
            "inputFormat": {"format": "parquet"},
        }

    def test_echoes_what_it_was_given(self, caller: Caller) -> None:
        body = caller.create(
            externalId="intake-1.2_a/b@c",
            inputFormat={"format": "JSON", "isMultiLineJson": True},
            tags={"aep_intake": ["abc"]},
            enableErrorDiagnostics=True,
            partialIngestionPercent=5,
            replay={"predecessors": ["${a}", "$b", "c"], "reason": "replace"},
        ).json()
        assert body["externalId"] == "intake-1.2_a/b@c"
        assert body["inputFormat"] == {"format": "json", "isMultiLineJson": True}
        assert body["tags"]["aep_intake"] == ["abc"]
        assert body["tags"]["acp_enableErrorDiagnostics"] is True
        assert body["tags"]["acp_partialIngestionPercent"] == 5
        assert body["replay"] == {"predecessors": ["a", "b", "c"], "reason": "replace"}

    @pytest.mark.parametrize(
        "members",
        [
            {"datasetId": None},
            {"datasetId": 7},
            {"inputFormat": "json"},
            {"inputFormat": {}},
            {"inputFormat": {"format": "xml"}},
            {"inputFormat": {"format": "json", "isMultiLineJson": "yes"}},
            {"externalId": ""},
            {"externalId": "a b"},
            {"externalId": "a,b"},
            {"externalId": 5},
            {"tags": ["a"]},
            {"tags": {"a": "b"}},
            {"tags": {"a": [1]}},
            {"tags": {"unifiedProfile": ["enabled:true"]}},
            {"enableErrorDiagnostics": "true"},
            {"partialIngestionPercent": "5"},
            {"partialIngestionPercent": 101},
            {"partialIngestionPercent": True},
            {"replay": []},
            {"replay": {"predecessors": "a"}},
        ],
    )
    def test_refuses_what_adobe_does_not_take(
        self, caller: Caller, members: dict[str, object]
    ) -> None:
        response = caller.call("POST", BATCHES, {"datasetId": LOYALTY} | members)
        assert response.status == 400
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = response.json()
        assert problem["status"] == 400
        assert problem["type"].startswith("http://ns.adobe.com/aep/errors/")
        assert problem["report"]["tenantInfo"]["imsOrgId"] == caller.seed.ims_org
        assert problem["error-chain"][0]["unixTimeStampMs"] == NOW
        assert caller.simulator.batches() == []

    def test_refuses_bodies_that_are_not_json(self, caller: Caller) -> None:
        for body in (b"", b"{", b"[]", b'"x"'):
            request = Request("POST", BATCHES, "", caller.headers(), body)
            assert caller.simulator.handle(request).status == 400
        text = caller.call("POST", BATCHES, {"datasetId": LOYALTY}, content_type="text/plain")
        assert text.json()["detail"] == "A valid content-type must be specified"

    def test_input_format_may_be_required(self, caller: Caller) -> None:
        caller.simulator.switches.change(input_format_required=True)
        assert caller.create().status == 400
        assert caller.create(inputFormat={"format": "csv"}).status == 201

    @pytest.mark.parametrize("status", [400, 404])
    def test_unknown_dataset_is_a_switch(self, caller: Caller, status: int) -> None:
        caller.simulator.switches.change(unknown_dataset=status)
        response = caller.create("000000000000000000000000")
        assert (response.status, response.json()["status"]) == (status, status)

    def test_ids_repeat_with_the_seed(self) -> None:
        def ids(seed: int) -> list[str]:
            simulator = Simulator(Clock(NOW), seed=seed)
            made = Caller(simulator, seed_defaults(simulator))
            return [made.made() for _ in range(3)]

        assert ids(1) == ids(1)
        assert len({*ids(1), *ids(2)}) == 6


class TestExternalIdReuse:
    def test_accepted_by_default(self, caller: Caller) -> None:
        assert caller.made(externalId="x") != caller.made(externalId="x")

    @pytest.mark.parametrize(("reuse", "status"), [("refused", 409), ("refused-400", 400)])
    def test_refused(self, caller: Caller, reuse: str, status: int) -> None:
        caller.simulator.switches.change(external_id_reuse=reuse)
        caller.made(externalId="x")
        response = caller.create(externalId="x")
        assert (response.status, response.json()["status"]) == (status, status)
        # within the organization, whatever the sandbox or dataset
        body = {"datasetId": PRODUCTS, "externalId": "x"}
        assert caller.call("POST", BATCHES, body, x_sandbox_name="dev").status == status
        assert len(caller.simulator.batches()) == 1

    def test_returned(self, caller: Caller) -> None:
        caller.simulator.switches.change(external_id_reuse="returned")
        first = caller.create(externalId="x").json()
        again = caller.create(externalId="x")
        assert (again.status, again.json()) == (201, first)
        assert len(caller.simulator.batches()) == 1


class TestActions:
    def test_abort_answers_nothing_and_happens_once(self, caller: Caller, clock: Clock) -> None:
        batch_id = caller.made()
        clock.advance(5)
        answer = caller.act(batch_id, "abort")
        assert (answer.status, answer.body) == (200, b"")
        batch = caller.simulator.batches()[0].members
        assert (batch["status"], batch["updated"], batch["version"]) == (
            "aborted",
            NOW + 5,
            "1.0.1",
        )
        assert caller.act(batch_id, "ABORT").status == 400

    def test_abort_beyond_loading_is_a_switch(self, caller: Caller) -> None:
        batch_id = caller.made()
        assert caller.act(batch_id, "COMPLETE").status == 200
        assert caller.status(batch_id) == "loaded"
        assert caller.act(batch_id, "ABORT").status == 400
        caller.simulator.switches.change(abort="lenient")
        assert caller.act(batch_id, "ABORT").status == 200
        assert caller.act(batch_id, "ABORT").status == 400

    def test_complete_may_be_repeated_but_not_after_the_end(self, caller: Caller) -> None:
        batch_id = caller.made()
        for _ in range(2):
            assert caller.act(batch_id, "COMPLETE").status == 200
        caller.simulator.set_status(batch_id, "success")
        assert caller.act(batch_id, "COMPLETE").status == 200
        assert caller.status(batch_id) == "success"
        assert caller.act(batch_id, "REVERT").status == 200
        assert caller.status(batch_id) == "inactive"
        assert caller.act(batch_id, "COMPLETE").status == 400

    def test_unknown_batches_and_actions(self, caller: Caller) -> None:
        assert caller.act("nothing", "ABORT").status == 404
        batch_id = caller.made()
        assert caller.act(batch_id, "").status == 400
        assert caller.act(batch_id, "EXPLODE").status == 400

    def test_abandoned_when_idle_for_too_long(self, caller: Caller, clock: Clock) -> None:
        caller.simulator.switches.change(abandon_after_ms=1_000)
        batch_id = caller.made()
        clock.advance(999)
        assert caller.status(batch_id) == "loading"
        clock.advance(10_000)
        assert caller.status(batch_id) == "abandoned"
        assert caller.simulator.batches()[0].members["updated"] == NOW + 1_000
        assert caller.act(batch_id, "COMPLETE").status == 400
        caller.simulator.switches.change(abandon_after_ms=None)
        kept = caller.made()
        clock.advance(10**12)
        caller.token = ""
        assert caller.status(kept) == "loading"

    def test_a_batch_can_be_put_in_any_state(self, caller: Caller) -> None:
        batch_id = caller.made()
        caller.simulator.set_status(batch_id, "stalled")
        assert caller.status(batch_id) == "stalled"
        with pytest.raises(KeyError):
            caller.simulator.set_status("nothing", "failed")


class TestCatalogBatches:
    def test_keyed_by_id_which_the_object_does_not_repeat(self, caller: Caller) -> None:
        made = caller.create(externalId="x").json()
        batch_id = made.pop("id")
        for path in (f"batches?externalId=x&dataSet={LOYALTY}", f"batches/{batch_id}"):
            [(found, shown)] = caller.call("GET", f"{CATALOG}/{path}").json().items()
            # As Adobe's Python SDK reads them; the answer to the creation has neither.
            assert uuid.UUID(shown.pop("sandboxId"))
            assert shown.pop("errors") == []
            assert (found, shown) == (batch_id, made)
        assert caller.call("GET", f"{CATALOG}/batch/{batch_id}").status == 200

    def test_unknown_id_in_catalogs_older_shape(self, caller: Caller) -> None:
        response = caller.call("GET", f"{CATALOG}/batches/nothing")
        assert response.status == 404
        assert response.json() == {
            "type": "/placeholder/type/uri",
            "status": 404,
            "title": "NotFoundError",
            "detail": "Object nothing not found",
        }

    def test_filters(self, caller: Caller, clock: Clock) -> None:
        a = caller.made(externalId="a", tags={"t": ["1:x"], "u": ["9"]})
        clock.advance(10)
        b = caller.made(externalId="b", tags={"t": ["12"]})
        clock.advance(10)
        c = caller.made(WEB_EVENTS, externalId="c", partialIngestionPercent=5)
        caller.act(b, "ABORT")
        cases: list[tuple[dict[str, object], list[str]]] = [
            ({}, [a, b, c]),
            ({"externalId": "a"}, [a]),
            ({"externalId": "a,c"}, [a, c]),
            ({"externalId": "!a"}, [b, c]),
            ({"externalId": "!a,c"}, [b]),
            ({"externalId": "a", "dataSet": WEB_EVENTS}, []),
            ({"dataSet": WEB_EVENTS}, [c]),
            ({"dataSet": f"{WEB_EVENTS},{LOYALTY}"}, [a, b, c]),
            ({"batch": b}, [b]),
            ({"status": "loading"}, [a, c]),
            ({"createdClient": caller.seed.client_id}, [a, b, c]),
            ({"createdClient": "other"}, []),
            ({"created": NOW + 10}, [b]),
            ({"createdAfter": NOW}, [b, c]),
            ({"createdAfter": NOW - 1, "createdBefore": NOW + 20}, [a, b]),
            ({"tags": "t:1*"}, [a, b]),
            ({"tags": "t:12"}, [b]),
            ({"tags": "t:*,u:9"}, [a]),
            ({"tags": "t:1:x"}, [a]),
            ({"tags": "acp_partialIngestionPercent:5"}, [c]),
            ({"tags": "t:?2"}, []),
            ({"property": "completed"}, [b]),
            ({"property": "!completed"}, [a, c]),
            ({"property": "externalId~^[ab]$"}, [a, b]),
            ({"property": "externalId==b"}, [b]),
            ({"property": "externalId!=b"}, [a, c]),
            ({"property": f"created>={NOW + 10}"}, [b, c]),
            ({"property": f"created<{NOW + 10}"}, [a]),
            ({"property": "externalId>a"}, [b, c]),
            ({"property": "created<~"}, [a, b, c]),
            ({"orderBy": "desc:created"}, [c, b, a]),
            ({"orderBy": "asc:status,desc:created"}, [b, c, a]),
            ({"orderBy": "externalId"}, [a, b, c]),
            ({"limit": 2}, [a, b]),
            ({"limit": 2, "start": 2}, [c]),
        ]
        for filters, expected in cases:
            assert caller.found(**filters) == expected, filters

    def test_filters_by_available_dates(self, caller: Caller, clock: Clock) -> None:
        """In seconds; a batch that was not promoted has none."""
        never, early = caller.made(), caller.made()
        clock.advance(5_000)
        caller.simulator.set_status(early, "success")
        clock.advance(5_000)
        late = caller.made()
        caller.simulator.set_status(late, "success")
        at = {one: caller.simulator.batch(one).members["availableDates"] for one in (early, late)}
        cut = at[late]["endDate"] - 1
        for end in ("start", "end"):
            assert caller.found(**{f"{end}After": cut}) == [late]
            assert caller.found(**{f"{end}Before": cut}) == [early]
        assert never not in caller.found(endAfter=0)

    def test_pages_of_20_at_most_100(self, caller: Caller) -> None:
        made = [caller.made() for _ in range(101)]
        assert caller.found() == made[:20]
        assert caller.found(limit=100) == made[:100]
        assert caller.found(limit=100, start=100) == made[100:]

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=101",
            "limit=many",
            "start=-1",
            "orderBy=up:created",
            "createdAfter=yesterday",
            "tags=alone",
            "property=externalId~(",
            "property=",
            "external_id=a",
        ],
    )
    def test_400_out_of_range(self, caller: Caller, query: str) -> None:
        caller.made()
        response = caller.call("GET", f"{CATALOG}/batches?{query}")
        assert (response.status, response.json()["title"]) == (400, "BadRequestError")

    def test_unknown_filters_may_be_ignored(self, caller: Caller) -> None:
        caller.simulator.switches.change(unknown_filter="ignored")
        batch_id = caller.made()
        assert caller.found(external_id="a") == [batch_id]

    def test_only_the_properties_asked_for(self, caller: Caller) -> None:
        batch_id = caller.made()
        path = f"{CATALOG}/batches/{batch_id}?properties=status,created,metrics"
        expected = {batch_id: {"status": "loading", "created": NOW}}
        assert caller.call("GET", path).json() == expected
        path = f"{CATALOG}/batches?properties=metrics"
        assert caller.call("GET", path).json() == {batch_id: {}}

    def test_nothing_found_is_a_switch(self, caller: Caller) -> None:
        assert caller.call("GET", f"{CATALOG}/batches?externalId=x").json() == {}
        caller.simulator.switches.change(nothing_found="not-found")
        assert caller.call("GET", f"{CATALOG}/batches?externalId=x").status == 404

    def test_lag_hides_a_batch_from_list_and_look_up_alike(
        self, caller: Caller, clock: Clock
    ) -> None:
        caller.simulator.switches.change(catalog_lag_ms=1_000)
        batch_id = caller.made(externalId="x")
        caller.simulator.switches.change(catalog_lag_ms=0)
        clock.advance(999)
        assert caller.found(externalId="x") == []
        assert caller.call("GET", f"{CATALOG}/batches/{batch_id}").status == 404
        assert caller.act(batch_id, "COMPLETE").status == 200  # import knows it at once
        clock.advance(1)
        assert caller.found(externalId="x") == [batch_id]
        assert caller.status(batch_id) == "loaded"

    def test_two_look_ups_in_a_row_can_differ(self, caller: Caller) -> None:
        batch_id = caller.made(externalId="x")
        views = iter([False, True, False])
        caller.simulator.show_in_catalog(lambda batch, now: next(views))
        assert caller.found(externalId="x") == []
        assert caller.found(externalId="x") == [batch_id]
        assert caller.call("GET", f"{CATALOG}/batches/{batch_id}").status == 404


class TestDatasets:
    def test_by_id(self, caller: Caller) -> None:
        body = caller.call("GET", f"{CATALOG}/dataSets/{PROFILES}").json()
        assert list(body) == [PROFILES]
        dataset = body[PROFILES]
        assert (dataset["name"], dataset["imsOrg"]) == ("profiles", caller.seed.ims_org)
        assert dataset["tags"]["unifiedProfile"] == ["enabled:true"]
        assert dataset["fileDescription"]["format"] == "parquet"
        assert dataset["classification"]["managedBy"] == "CUSTOMER"
        assert {"createdClient", "createdUser", "updatedUser"} <= dataset.keys()
        some = caller.call("GET", f"{CATALOG}/dataSets/{LOYALTY}?properties=name").json()
        assert some == {LOYALTY: {"name": "loyalty"}}
        assert caller.call("GET", f"{CATALOG}/dataSets/nothing").status == 404

    def test_some_are_managed_by_adobe(self, caller: Caller) -> None:
        body = caller.call("GET", f"{CATALOG}/dataSets?name=system").json()
        assert body[SYSTEM]["classification"]["managedBy"] == "SYSTEM"

    def test_catalog_shows_what_access_control_closes(self, caller: Caller) -> None:
        for sandbox in caller.seed.sandboxes:
            seen = caller.call("GET", f"{CATALOG}/dataSets?name=closed", x_sandbox_name=sandbox)
            assert list(seen.json()) == [CLOSED]
            body = {"datasetId": CLOSED}
            response = caller.call("POST", BATCHES, body, x_sandbox_name=sandbox)
            assert (response.status, response.json()["status"]) == (403, 403)
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["detail"] == (
                "PALM Access Denied. POST access is denied for this resource from access control"
            )
        assert caller.simulator.batches() == []

    def test_what_is_closed_can_be_opened(self, caller: Caller) -> None:
        caller.simulator.add_dataset(caller.seed.ims_org, "prod", CLOSED, "closed")
        assert caller.create(CLOSED).status == 201
        body = {"datasetId": CLOSED}
        assert caller.call("POST", BATCHES, body, x_sandbox_name="dev").status == 403

    def test_ids_are_percent_decoded(self, caller: Caller) -> None:
        caller.simulator.add_dataset(caller.seed.ims_org, "prod", "a b/c", "odd")
        assert list(caller.call("GET", f"{CATALOG}/dataSets/a%20b%2Fc").json()) == ["a b/c"]

    def test_by_name(self, caller: Caller) -> None:
        simulator, org = caller.simulator, caller.seed.ims_org
        simulator.add_dataset(org, "prod", "second", "loyalty", managed_by="SYSTEM")
        cases = {
            "name=loyalty": [LOYALTY, "second"],
            "name=products,web-events": [WEB_EVENTS, PRODUCTS],
            "name=!loyalty": [WEB_EVENTS, PRODUCTS, PROFILES, CLOSED, SYSTEM, CLICKS],
            "name=Loyalty": [],
            "name=loyalty&limit=1&start=1": ["second"],
            "property=name==pro*": [PRODUCTS, PROFILES],
            "property=name==pro**": [],
            "tags=adobe/pqs/table:web_events": [WEB_EVENTS],
            "tags=unifiedProfile:*": [PROFILES],
            "description=of nobody": [],
            "enableErrorDiagnostics=true": [],
        }
        for query, expected in cases.items():
            response = caller.call("GET", f"{CATALOG}/dataSets?{query}")
            assert list(response.json()) == expected, query


class TestFaults:
    @BOTH_WAYS
    @pytest.mark.parametrize(
        ("fault", "batches"),
        [
            (Fault("answer-lost", "create", how="timeout"), 1),
            (Fault("answer-lost", "create"), 1),
            (Fault("request-lost", "create"), 0),
        ],
    )
    def test_lost(self, caller: Caller, fault: Fault, batches: int) -> None:
        caller.headers()
        caller.simulator.faults.add(fault)
        with pytest.raises(NoAnswer) as lost:
            caller.create()
        assert lost.value.how == fault.how
        assert len(caller.simulator.batches()) == batches
        last = caller.simulator.received[-1]
        assert (last.operation, last.status, last.fault) == ("create", None, fault.fault)
        assert caller.create().status == 201

    @BOTH_WAYS
    def test_late_requests_arrive_after_the_client_has_gone(
        self, caller: Caller, clock: Clock
    ) -> None:
        caller.headers()
        caller.simulator.faults.add(Fault("late", "create", delay_ms=30_000))
        with pytest.raises(NoAnswer):
            caller.create(externalId="x")
        clock.advance(29_999)
        assert caller.found(externalId="x") == []
        clock.advance(10_000)
        (batch_id,) = caller.found(externalId="x")
        assert caller.simulator.batches()[0].members["created"] == NOW + 30_000
        assert caller.status(batch_id) == "loading"

    def test_delay_is_told_not_waited_for(self, caller: Caller) -> None:
        caller.simulator.faults.add(Fault("delay", "create", delay_ms=60_000))
        response = caller.create()
        assert (response.status, response.delay_ms) == (201, 60_000)

    @pytest.mark.parametrize("code", list(GATEWAY))
    @pytest.mark.parametrize("retry_after", [None, "5", "Wed, 21 Oct 2026 07:28:00 GMT"])
    def test_gateway_codes(self, caller: Caller, code: str, retry_after: str | None) -> None:
        caller.simulator.faults.add(Fault("gateway", "create", code=code, retry_after=retry_after))
        response = caller.create()
        assert response.status == (403 if code == "503020" else int(code[:3]))
        assert response.headers.get("Retry-After") == retry_after
        assert response.headers["X-Request-Id"]
        if code == "503071":
            assert response.body == b""
        else:
            assert response.json() == {"error_code": code, "message": GATEWAY[code][1]}
        assert caller.simulator.batches() == []
        assert caller.create().status == 201

    @BOTH_WAYS
    def test_nothing_is_made_unless_accepted(self, caller: Caller) -> None:
        faults: list[tuple[Mapping[str, Any], str | None, Callable[[bytes], bool]]] = [
            ({"body": "json"}, "application/json", lambda body: json.loads(body)["status"] == 502),
            ({"body": "html"}, "text/html", lambda body: b"502 Error" in body),
            ({"body": "empty"}, None, lambda body: body == b""),
        ]
        for number, (how, content_type, right) in enumerate(faults):
            before = Fault("status", "create", status=502, **how)
            after = Fault("status", "create", status=502, accepted=True, **how)
            for fault, made in ((before, number), (after, number + 1)):
                caller.simulator.faults.add(fault)
                response = caller.create()
                assert response.status == 502
                assert response.headers.get("Content-Type") == content_type
                assert right(response.body)
                assert response.headers["X-Request-Id"]
                assert len(caller.simulator.batches()) == made

    def test_befall_what_matches_as_often_as_told(self, caller: Caller) -> None:
        faults = caller.simulator.faults
        batch_id = caller.made()
        faults.add(Fault("status", "get-*", skip=1, count=2))
        answers = [caller.call("GET", f"{CATALOG}/batches/{batch_id}").status for _ in range(4)]
        assert answers == [200, 503, 503, 200]
        faults.add(Fault("status", method="POST", path="*/import/*", count=0))
        assert [caller.create().status for _ in range(3)] == [503, 503, 503]
        assert caller.act(batch_id, "ABORT").status == 503
        assert caller.found() == [batch_id]
        faults.clear()
        assert list(faults) == []
        assert caller.act(batch_id, "ABORT").status == 200

    @pytest.mark.parametrize(
        "wrong",
        [
            {"fault": "earthquake"},
            {"fault": "gateway", "code": "1"},
            {"fault": "status", "body": "xml"},
            {"fault": "answer-lost", "how": "loudly"},
            {"fault": "delay", "delay_ms": -1},
        ],
    )
    def test_what_does_not_exist_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r".+"):
            Fault(**wrong)


def test_switches_know_their_positions(caller: Caller) -> None:
    switches = caller.simulator.switches
    before = switches.positions()
    for wrong in (
        {"no_such_switch": 1},
        {"external_id_reuse": "maybe"},
        {"catalog_lag_ms": "1"},
        {"expires_in": True},
        {"expires_in": 5, "unknown_dataset": 500},
    ):
        with pytest.raises(ValueError, match=r".+"):
            switches.change(**wrong)
    assert switches.positions() == before


def test_clock_stands_moves_and_follows() -> None:
    clock = Clock(5)
    clock.advance(10)
    assert (clock(), clock.standing) == (15, True)
    clock.follow(3_600_000)
    assert not clock.standing
    ahead = clock() - Clock()()
    assert 3_599_000 < ahead < 3_601_000
    clock.advance(3_600_000)
    assert 7_199_000 < clock() - Clock()() < 7_201_000
    clock.stand(7)
    assert clock() == 7


def test_the_agenda_keeps_the_order_of_time() -> None:
    agenda, done = Agenda(), list[tuple[str, int]]()

    def note(name: str) -> Callable[[int], None]:
        return lambda at: done.append((name, at))

    def again(at: int) -> None:
        agenda.add(at + 1, note("again"))
        agenda.add(at, note("at once"))

    agenda.add(20, note("late"))
    agenda.add(10, again)
    agenda.add(10, note("second"))
    agenda.carry_out(9)
    assert done == []
    agenda.carry_out(19)
    assert done == [("second", 10), ("at once", 10), ("again", 11)]
    agenda.carry_out(20)
    assert done[3:] == [("late", 20)]


def test_reset_forgets_everything_but_the_clock(caller: Caller) -> None:
    caller.made()
    caller.simulator.reset()
    assert caller.simulator.batches() == []
    assert not caller.simulator.received
    assert caller.mint().status == 400
    assert caller.simulator.clock() == NOW


def test_what_is_remembered_shows_no_secret(caller: Caller) -> None:
    caller.made()
    shown = repr(list(caller.simulator.received)) + repr(caller.simulator.ims.clients)
    shown += repr(caller.seed)
    assert caller.seed.client_secret not in shown
    assert TOKEN_PREFIX not in shown
