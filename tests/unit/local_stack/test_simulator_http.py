"""The simulator over real HTTP: connections that break for good, and its control interface."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from local.simulator import TOKEN_PREFIX, Clock, Simulator, seed_defaults
from local.simulator.app import listen, running
from local.simulator.seed import LOYALTY

ROOT = Path(__file__).parents[3]
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

    def file(
        self, method: str, batch_id: str, path: str, body: Any = None, **headers: str
    ) -> requests.Response:
        platform = f"{self.address}/data/foundation/import/batches"
        return self.session.request(
            method,
            f"{platform}/{batch_id}/datasets/{LOYALTY}/files/{path}",
            data=body,
            headers={"Content-Type": "application/octet-stream", **headers},
            timeout=60,
        )

    def act(self, batch_id: str, action: str) -> requests.Response:
        url = f"{self.address}/data/foundation/import/batches/{batch_id}?action={action}"
        return self.session.post(url, timeout=10)

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


def test_a_batch_from_creation_to_the_dataset(http: Http) -> None:
    rows = b'{"_id":"1"}\n{"_id":"2"}\n'
    batch_id = http.create(inputFormat={"format": "json"}).json()["id"]
    made, again = (http.file("PUT", batch_id, "p=1/a%20b.json", rows) for _ in range(2))
    assert (made.status_code, made.content, again.status_code) == (200, b"", 200)
    assert http.file("PUT", batch_id, "pieces.json", iter([rows, rows])).status_code == 200
    head = http.file("HEAD", batch_id, "p=1/a%20b.json")
    assert (head.status_code, head.headers["Range"]) == (200, f"bytes=0-{len(rows) - 1}")
    done = http.act(batch_id, "COMPLETE")
    assert (done.status_code, done.content) == (200, b"")
    listed = http.control("GET", f"batches/{batch_id}/files").json()
    assert (listed["status"], listed["rows"], listed["rowsIngested"]) == ("loaded", 6, 0)
    http.control("POST", "clock", {"advance_ms": 4_000})
    batch = http.get(f"batches/{batch_id}").json()[batch_id]
    assert (batch["status"], batch["metrics"]["outputRecordCount"]) == ("success", 6)
    listed = http.control("GET", f"batches/{batch_id}/files").json()
    assert listed["files"].pop() == {
        "name": "pieces.json",
        "size": 2 * len(rows),
        "sha256": hashlib.sha256(rows * 2).hexdigest(),
        "md5": hashlib.md5(rows * 2, usedforsecurity=False).hexdigest(),
        "rows": 4,
        "badRows": 0,
    }
    assert [each["name"] for each in listed.pop("files")] == ["p=1/a b.json"]
    assert listed == {
        "id": batch_id,
        "status": "success",
        "fileCount": 2,
        "byteCount": 3 * len(rows),
        "rows": 6,
        "rowsIngested": 6,
    }
    assert http.control("GET", f"batches/{batch_id}/files/p=1/a%20b.json").content == rows
    assert http.control("GET", f"batches/{batch_id}/files/nothing").status_code == 404
    exported = f"{http.address}/data/foundation/export/batches/{batch_id}/files"
    assert http.session.get(exported, timeout=10).json()["_page"]["count"] == 2


def test_a_large_file_in_parts(http: Http) -> None:
    batch_id = http.create(inputFormat={"format": "parquet"}).json()["id"]
    body = b"PAR1" + bytes(100_000) + b"PAR1"
    for start in (0, 50_000):
        assert http.file("POST", batch_id, "a?action=INITIALIZE").status_code == 200
        for first in range(start, len(body), 30_000):
            part = body[first : first + 30_000]
            span = f"bytes {first}-{first + len(part) - 1}"
            told = http.file("PATCH", batch_id, "a", part, **{"Content-Range": span})
            assert told.status_code == 200
        done = http.file("POST", batch_id, "a?action=COMPLETE")
        assert done.status_code == (400 if start else 200)
    assert http.control("GET", f"batches/{batch_id}/files/a").content == body


def test_what_is_too_large_is_answered_all_the_same(http: Http) -> None:
    http.control("PATCH", "switches", {"put_limit": 1_000})
    batch_id = http.create().json()["id"]
    refused = http.file("PUT", batch_id, "a", bytes(3_000_000))
    assert (refused.status_code, refused.text[:6]) == (413, "<html>")
    shown = http.control("GET", "requests?operation=put-file").json()
    assert [(each["size"], each["body"]) for each in shown] == [(3_000_000, "")]
    assert http.control("GET", f"batches/{batch_id}/files").json()["files"] == []


def test_a_connection_carries_only_so_much(http: Http) -> None:
    """What goes over another one does not wait for it."""
    batch_id = http.create().json()["id"]
    http.control("PATCH", "switches", {"connection_bytes_per_second": 200_000})
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(http.file, "PUT", batch_id, "a", bytes(1_000_000))
        assert http.create().status_code == 201
        assert not slow.done()
        told = http.control("PATCH", "switches", {"connection_bytes_per_second": None}).json()
        assert told["connection_bytes_per_second"] is None
        assert slow.result().status_code == 200
    assert http.control("GET", f"batches/{batch_id}/files").json()["byteCount"] == 1_000_000


def test_an_upload_whose_answer_is_lost_is_kept(http: Http) -> None:
    batch_id = http.create().json()["id"]
    http.control("POST", "faults", {"fault": "answer-lost", "operation": "put-file"})
    with pytest.raises(requests.exceptions.ConnectionError):
        http.file("PUT", batch_id, "a", bytes(1_000_000))
    assert http.control("GET", f"batches/{batch_id}/files").json()["byteCount"] == 1_000_000


def test_mishaps_and_consolidation(http: Http) -> None:
    error = {"code": "unknown", "description": "Something went wrong."}
    mishap = {"dataset": LOYALTY, "retries": 1, "errors": [error]}
    [listed] = http.control("POST", "mishaps", mishap).json()
    assert (listed["retries"], listed["count"]) == (1, 1)
    ids = []
    for _ in range(3):
        ids.append(http.create(inputFormat={"format": "json"}).json()["id"])
        http.file("PUT", ids[-1], "a", b"{}")
        http.act(ids[-1], "COMPLETE")
        http.control("POST", "clock", {"advance_ms": 8_000})
    failed = http.get(f"batches/{ids[0]}").json()[ids[0]]
    assert (failed["status"], failed["errors"]) == ("failed", [error])
    whole = http.control("POST", "consolidations", {"batches": ids[1:]}).json()["id"]
    told = http.control("GET", f"batches/{whole}/files").json()
    assert (told["status"], told["rowsIngested"]) == ("success", 2)
    assert http.control("GET", f"batches/{ids[1]}/files").json()["rowsIngested"] == 0
    http.control("POST", "mishaps", {"stalled": True, "count": 0})
    assert http.control("DELETE", "mishaps").json() == []


def test_batches_move_on_by_the_real_clock_too(http: Http) -> None:
    http.control("POST", "clock", {"follow": 0})
    http.log_in()
    http.control("PATCH", "switches", {"loaded_ms": 1, "staging_ms": 1, "staged_ms": 1})
    batch_id = http.create(inputFormat={"format": "json"}).json()["id"]
    http.file("PUT", batch_id, "a", b"{}")
    http.act(batch_id, "COMPLETE")
    deadline = time.monotonic() + 10
    while http.batches()[0]["status"] != "success":
        assert time.monotonic() < deadline


class Stream:
    """A body made on the way, which nobody holds as a whole."""

    def __init__(self, size: int) -> None:
        self.len = self._left = size
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = bytes([self._left % 251]) * min(size, self._left)
        self._left -= len(piece)
        self.sha256.update(piece)
        return piece


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what /proc knows of its memory")
def test_160_mb_in_bounded_memory(tmp_path: Path) -> None:
    port_file, size = tmp_path / "port", 160 * 1024 * 1024
    command = [sys.executable, "-m", "local.simulator", "--port-file", str(port_file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            program.stdout.readline()
            http = Http(f"http://127.0.0.1:{int(port_file.read_text())}")
            http.log_in()
            batch_id = http.create(inputFormat={"format": "csv"}).json()["id"]
            stream = Stream(size)
            assert http.file("PUT", batch_id, "a", stream).status_code == 200
            listed = http.control("GET", f"batches/{batch_id}/files").json()
            assert listed["files"][0]["sha256"] == stream.sha256.hexdigest()
            again = hashlib.sha256()
            url = f"{http.address}/_control/batches/{batch_id}/files/a"
            with http.session.get(url, stream=True, timeout=60) as download:
                for piece in download.iter_content(1024 * 1024):
                    again.update(piece)
            assert again.digest() == stream.sha256.digest()
            http.session.close()
            # Not ru_maxrss: a process inherits that from the one which started it (getrusage(2)).
            status = Path(f"/proc/{program.pid}/status").read_text()
        finally:
            program.send_signal(signal.SIGTERM)
    used = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert used
    assert int(used[1]) * 1024 < size / 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "faults", {"fault": "earthquake"}, 400),
        ("POST", "faults", {"fault": "late", "colour": "red"}, 400),
        ("POST", "faults", ["late"], 400),
        ("PATCH", "switches", {"abort": "perhaps"}, 400),
        ("PATCH", "switches", {"connection_bytes_per_second": "fast"}, 400),
        ("POST", "clock", {"advance_ms": "a while"}, 400),
        ("POST", "clients", {"client_id": "x"}, 400),
        ("POST", "clients", {"client_id": "x", "secrets": [], "org": "ACME"}, 400),
        ("POST", "batches/none", {"status": "failed"}, 404),
        ("POST", "batches/none", {}, 400),
        ("GET", "batches/none/files", None, 404),
        ("GET", "batches/none/files/a", None, 404),
        ("POST", "consolidations", {"batches": ["none"]}, 404),
        ("POST", "consolidations", {"batches": []}, 400),
        ("POST", "consolidations", {"batches": "none"}, 400),
        ("POST", "mishaps", {"retries": -1}, 400),
        ("POST", "mishaps", {"colour": "red"}, 400),
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
