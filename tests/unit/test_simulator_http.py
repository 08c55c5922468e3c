"""The simulator over real HTTP: connections that break for good, and its control interface."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.simulator import TOKEN_PREFIX, Clock, Simulator, seed_defaults
from local.simulator.app import listen, running
from local.simulator.seed import LOYALTY

ROOT = Path(__file__).parents[2]
NOW = 1_552_694_873_602
SEED = seed_defaults(Simulator())


class Http:
    """A client of Adobe's and of the control interface at one address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.session.trust_env = False

    def control(self, method: str, path: str, body: object = None) -> requests.Response:
        url = f"{self.address}/_control/{path}"
        response = self.session.request(method, url, json=body, timeout=10)
        assert response.status_code < 500, response.text
        return response

    def log_in(self) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": SEED.client_id,
            "client_secret": SEED.client_secret,
            "scope": ",".join(SEED.scopes),
        }
        url = f"{self.address}/ims/token/v3"
        token = self.session.post(url, data=form, timeout=10).json()["access_token"]
        self.session.headers.update(
            {
                "Authorization": f"Bearer {token}",
                "x-api-key": SEED.client_id,
                "x-gw-ims-org-id": SEED.ims_org,
                "x-sandbox-name": "prod",
            }
        )

    def create(self, timeout: float = 10, **members: object) -> requests.Response:
        return self.session.post(
            f"{self.address}/data/foundation/import/batches",
            json={"datasetId": LOYALTY, **members},
            timeout=timeout,
        )

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.address}/data/foundation/catalog/{path}", timeout=10)

    def batches(self, query: str = "") -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.control("GET", f"batches{query}").json()
        return listed


@pytest.fixture(scope="module")
def served() -> Iterator[Http]:
    with running(Simulator(Clock(NOW))) as address:
        http = Http(address)
        yield http
        http.session.close()


@pytest.fixture
def http(served: Http) -> Http:
    served.control("POST", "reset")
    served.control("POST", "clock", {"stand_at": NOW})
    served.session.headers.pop("Authorization", None)
    served.log_in()
    return served


def test_ims_and_platform_share_an_address(http: Http) -> None:
    made = http.create(externalId="a@b")
    assert (made.status_code, made.json()["created"]) == (201, NOW)
    assert "server" not in made.headers
    assert made.headers["x-request-id"]
    assert list(http.get("batches?externalId=a%40b").json()) == [made.json()["id"]]
    assert http.get("dataSets/nothing%2Fhere").json()["detail"] == "Object nothing/here not found"


def test_a_dropped_answer_closes_the_connection(http: Http) -> None:
    http.control("POST", "faults", {"fault": "answer-lost", "operation": "create"})
    with pytest.raises(requests.exceptions.ConnectionError) as broken:
        http.create(externalId="x")
    assert not isinstance(broken.value, requests.exceptions.Timeout)
    assert len(http.batches("?externalId=x")) == 1
    assert http.create(externalId="x").status_code == 201


def test_a_lost_request_closes_it_too_but_nothing_is_made(http: Http) -> None:
    http.control("POST", "faults", {"fault": "request-lost", "operation": "create"})
    with pytest.raises(requests.exceptions.ConnectionError):
        http.create()
    assert http.batches() == []


def test_silence_lasts_until_the_client_gives_up(http: Http) -> None:
    fault = {"fault": "answer-lost", "operation": "create", "how": "timeout"}
    http.control("POST", "faults", fault)
    with pytest.raises(requests.exceptions.ReadTimeout):
        http.create(timeout=0.2)
    assert len(http.batches()) == 1


def test_a_late_request_arrives_by_the_clock(http: Http) -> None:
    fault = {"fault": "late", "operation": "create", "delay_ms": 5_000}
    http.control("POST", "faults", fault)
    with pytest.raises(requests.exceptions.ConnectionError):
        http.create()
    assert http.batches() == []
    http.control("POST", "clock", {"advance_ms": 5_000})
    assert [batch["created"] for batch in http.batches()] == [NOW + 5_000]


def test_a_delayed_answer_comes_later(http: Http) -> None:
    fault = {"fault": "delay", "operation": "create", "delay_ms": 300, "count": 2}
    http.control("POST", "faults", fault)
    start = time.monotonic()
    assert http.create().status_code == 201
    assert time.monotonic() - start >= 0.3
    with pytest.raises(requests.exceptions.ReadTimeout):
        http.create(timeout=0.1)
    assert len(http.batches()) == 2


def test_faulty_answers(http: Http) -> None:
    fault = {"fault": "gateway", "operation": "create", "code": "429050", "retry_after": "30"}
    listed = http.control("POST", "faults", fault).json()
    assert [each["code"] for each in listed] == ["429050"]
    throttled = http.create()
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "30")
    http.control("POST", "faults", {"fault": "status", "status": 502, "body": "html", "count": 0})
    assert http.create().text.startswith("<html>")
    assert http.control("DELETE", "faults").json() == []
    assert http.create().status_code == 201


def test_switches_and_clock(http: Http) -> None:
    assert http.control("PATCH", "switches", {"catalog_lag_ms": 1_000}).status_code == 200
    batch_id = http.create().json()["id"]
    assert http.get(f"batches/{batch_id}").status_code == 404
    moved = http.control("POST", "clock", {"advance_ms": 1_000}).json()
    assert moved == {"now": NOW + 1_000, "standing": True}
    assert http.get(f"batches/{batch_id}").status_code == 200
    followed = http.control("POST", "clock", {"follow": 0}).json()
    assert abs(followed["now"] - time.time() * 1000) < 5_000
    assert not followed["standing"]


def test_received_requests_are_shown_without_secrets(http: Http) -> None:
    http.create(externalId="x")
    http.session.post(
        f"{http.address}/ims/token/v2",
        params={"client_id": SEED.client_id, "client_secret": SEED.client_secret},
        timeout=10,
    )
    shown = http.control("GET", "requests")
    assert SEED.client_secret not in shown.text
    assert TOKEN_PREFIX not in shown.text
    minted, created, _ = shown.json()
    assert minted["operation"] == "token"
    assert "client_secret=sha256%3A" in minted["body"]
    assert "grant_type=client_credentials" in minted["body"]
    assert created["body"] == {"datasetId": LOYALTY, "externalId": "x"}
    assert created["headers"]["authorization"].startswith("Bearer sha256:")
    assert (created["method"], created["status"], created["sandbox"]) == ("POST", 201, "prod")
    only = http.control("GET", "requests?operation=create").json()
    assert [each["operation"] for each in only] == ["create"]
    assert http.control("DELETE", "requests").json() == []


def test_tokens_are_counted_and_revoked(http: Http) -> None:
    assert http.control("GET", "tokens").json() == {"minted": {SEED.client_id: 1}}
    http.control("DELETE", "tokens")
    assert http.create().json()["error_code"] == "401013"


def test_seeding_and_rotation(http: Http) -> None:
    org = "0123456789ABCDEF01234567@AdobeOrg"
    client = {"client_id": "emea", "secrets": ["one", "two"], "org": org}
    listed = http.control("POST", "clients", client)
    assert [each["client_id"] for each in listed.json()] == [SEED.client_id, "emea"]
    assert '"one"' not in listed.text
    http.control("POST", "sandboxes", {"org": SEED.ims_org, "name": "empty"})
    made = {"org": org, "sandbox": "eu", "dataset_id": "d1", "name": "d", "profile_enabled": True}
    assert http.control("POST", "datasets", made).status_code == 204
    form = {
        "grant_type": "client_credentials",
        "client_id": "emea",
        "client_secret": "two",
        "scope": "openid",
    }
    url = f"{http.address}/ims/token/v3"
    token = http.session.post(url, data=form, timeout=10).json()["access_token"]
    http.session.headers["Authorization"] = f"Bearer {token}"
    theirs = {"x-api-key": "emea", "x-gw-ims-org-id": org, "x-sandbox-name": "eu"}
    with_ours = dict(http.session.headers)
    http.session.headers.update(theirs)
    assert http.get("dataSets/d1").json()["d1"]["tags"]["unifiedProfile"] == ["enabled:true"]
    http.session.headers.update(with_ours)
    http.control("POST", "clients", client | {"secrets": ["two"]})
    refused = http.session.post(url, data=form | {"client_secret": "one"}, timeout=10)
    assert refused.status_code == 400


def test_batches_are_put_in_a_state(http: Http) -> None:
    batch_id = http.create().json()["id"]
    assert http.control("POST", f"batches/{batch_id}", {"status": "abandoned"}).status_code == 204
    assert http.batches()[0]["status"] == "abandoned"
    assert http.get(f"batches/{batch_id}").json()[batch_id]["status"] == "abandoned"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "faults", {"fault": "earthquake"}, 400),
        ("POST", "faults", {"fault": "late", "colour": "red"}, 400),
        ("POST", "faults", ["late"], 400),
        ("PATCH", "switches", {"abort": "perhaps"}, 400),
        ("POST", "clock", {"advance_ms": "a while"}, 400),
        ("POST", "clients", {"client_id": "x"}, 400),
        ("POST", "clients", {"client_id": "x", "secrets": [], "org": "ACME"}, 400),
        ("POST", "batches/none", {"status": "failed"}, 404),
        ("POST", "batches/none", {}, 400),
    ],
)
def test_wrong_control_requests_say_so(
    http: Http, method: str, path: str, body: object, status: int
) -> None:
    answer = http.control(method, path, body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_control_lists_itself_and_resets(http: Http) -> None:
    contents = http.control("GET", "").json()
    assert contents["POST /reset"].startswith("Forget everything")
    assert all(contents.values())
    http.create()
    http.control("POST", "reset", {"seed": False})
    assert http.batches() == []
    assert http.control("GET", "clients").json() == []


def test_runs_as_a_program(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "local.simulator", "--port-file", str(port_file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            port = int(port_file.read_text())
            assert line == f"AEP simulator on http://127.0.0.1:{port}\n"
            http = Http(f"http://127.0.0.1:{port}")
            assert http.control("GET", "health").json() == {"ok": True}
            http.log_in()
            assert http.create().status_code == 201
            # a swallowed answer must not keep it from ending
            http.control("POST", "faults", {"fault": "delay", "delay_ms": 60_000})
            with pytest.raises(requests.exceptions.ReadTimeout):
                http.create(timeout=0.1)
            http.session.close()
        finally:
            program.send_signal(signal.SIGTERM)
        program.wait(timeout=10)


def test_a_taken_port_is_said() -> None:
    with listen("127.0.0.1", 0) as taken:
        assert taken.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "local.simulator", "--port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=os.environ,
        )
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
