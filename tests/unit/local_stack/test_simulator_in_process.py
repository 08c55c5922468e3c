"""A real `requests` session on the simulator, without sockets."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
import requests

from local.simulator import Clock, Fault, Simulator, mount, seed_defaults
from local.simulator.seed import LOYALTY

IMS = "https://ims-na1.adobelogin.com"
PLATFORM = "https://platform.adobe.io"
CREATE = f"{PLATFORM}/data/foundation/import/batches"
FIND = f"{PLATFORM}/data/foundation/catalog/batches"
TIMEOUT = (3.0, 10.0)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Clock(1_000_000))


@pytest.fixture
def session(simulator: Simulator) -> requests.Session:
    seed = seed_defaults(simulator)
    session = requests.Session()
    session.trust_env = False
    mount(session, simulator)
    form = {
        "grant_type": "client_credentials",
        "client_id": seed.client_id,
        "client_secret": seed.client_secret,
        "scope": ",".join(seed.scopes),
    }
    token = session.post(f"{IMS}/ims/token/v3", data=form, timeout=TIMEOUT).json()
    session.headers.update(
        {
            "Authorization": f"Bearer {token['access_token']}",
            "x-api-key": seed.client_id,
            "x-gw-ims-org-id": seed.ims_org,
            "x-sandbox-name": "prod",
        }
    )
    return session


def create(session: requests.Session, external_id: str = "x") -> requests.Response:
    body = {"datasetId": LOYALTY, "externalId": external_id}
    return session.post(CREATE, json=body, timeout=TIMEOUT)


def test_create_then_find(session: requests.Session) -> None:
    made = create(session, "a@b")
    assert (made.status_code, made.reason, made.url) == (201, "Created", CREATE)
    assert made.headers["x-request-id"]
    found = session.get(FIND, params={"externalId": "a@b"}, timeout=TIMEOUT)
    assert list(found.json()) == [made.json()["id"]]
    made_id = made.json()["id"]
    aborted = session.post(f"{CREATE}/{made_id}", params={"action": "ABORT"}, timeout=TIMEOUT)
    assert (aborted.status_code, aborted.content) == (200, b"")


class Slowly:
    """A file that gives less than it is asked for."""

    def __init__(self, body: bytes) -> None:
        self._body, self.len = body, len(body)

    def read(self, size: int = -1) -> bytes:
        piece, self._body = self._body[: min(size, 1000)], self._body[min(size, 1000) :]
        return piece


@pytest.mark.parametrize("how", ["bytes", "text", "file", "slow file", "pieces", "nothing"])
def test_uploads_come_in_any_way_that_requests_knows(
    session: requests.Session, simulator: Simulator, how: str
) -> None:
    body = b"" if how == "nothing" else b'{"a":1}\n' * 20_000
    sent: Any = {
        "bytes": body,
        "text": body.decode(),
        "file": BytesIO(body),
        "slow file": Slowly(body),
        "pieces": (body[start : start + 999] for start in range(0, len(body), 999)),
        "nothing": None,
    }[how]
    batch_id = create(session).json()["id"]
    answer = session.put(
        f"{CREATE}/{batch_id}/datasets/{LOYALTY}/files/a%20b/c%25.json",
        data=sent,
        headers={"Content-Type": "application/octet-stream"},
        timeout=TIMEOUT,
    )
    assert (answer.status_code, answer.content) == (200, b"")
    assert simulator.files(batch_id)["a b/c%.json"].read() == body
    received = simulator.received[-1]
    assert (received.size, received.request.body) == (len(body), b"")
    assert received.request.content is None


def test_lost_answer_is_a_read_time_out_or_a_reset(
    session: requests.Session, simulator: Simulator
) -> None:
    simulator.faults.add(Fault("answer-lost", "create", how="timeout"))
    simulator.faults.add(Fault("answer-lost", "create", how="reset"))
    before = simulator.clock()
    with pytest.raises(requests.exceptions.ReadTimeout):
        create(session)
    assert simulator.clock() == before + 10_000
    with pytest.raises(requests.exceptions.ConnectionError):
        create(session)
    assert simulator.clock() == before + 10_000
    assert len(simulator.batches()) == 2


def test_lost_request_is_a_connect_time_out(
    session: requests.Session, simulator: Simulator
) -> None:
    simulator.faults.add(Fault("request-lost", "create"))
    before = simulator.clock()
    with pytest.raises(requests.exceptions.ConnectTimeout):
        create(session)
    assert simulator.clock() == before + 3_000
    assert simulator.batches() == []


def test_delay_shorter_and_longer_than_the_clients_patience(
    session: requests.Session, simulator: Simulator
) -> None:
    simulator.faults.add(Fault("delay", "create", delay_ms=9_999))
    simulator.faults.add(Fault("delay", "create", delay_ms=10_000))
    before = simulator.clock()
    assert create(session).status_code == 201
    assert simulator.clock() == before + 9_999
    with pytest.raises(requests.exceptions.ReadTimeout):
        create(session)
    assert simulator.clock() == before + 19_999
    assert len(simulator.batches()) == 2


def test_waiting_can_be_somebody_elses_business(simulator: Simulator) -> None:
    waited: list[int] = []
    session = requests.Session()
    mount(session, simulator, waited.append)
    simulator.faults.add(Fault("request-lost"))
    with pytest.raises(requests.exceptions.ConnectTimeout):
        create(session)
    assert (waited, simulator.clock()) == ([3_000], 1_000_000)


def test_gateway_faults_arrive_as_answers(session: requests.Session, simulator: Simulator) -> None:
    simulator.faults.add(Fault("gateway", "create", code="429050", retry_after="30"))
    refused = create(session)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    assert refused.json()["error_code"] == "429050"


def test_many_threads_at_once(session: requests.Session, simulator: Simulator) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: create(session, str(number)), range(200)))
    assert len({answer.json()["id"] for answer in answers}) == 200
    assert len(simulator.batches()) == 200


def test_many_big_files_at_once(session: requests.Session, simulator: Simulator) -> None:
    batch_id = create(session).json()["id"]
    bodies = {f"{number}.parquet": bytes([number]) * 300_000 for number in range(40)}

    def upload(name: str) -> int:
        url = f"{CREATE}/{batch_id}/datasets/{LOYALTY}/files/{name}"
        pieces = (bodies[name][start : start + 7_000] for start in range(0, 300_000, 7_000))
        headers = {"Content-Type": "application/octet-stream"}
        return session.put(url, data=pieces, headers=headers, timeout=TIMEOUT).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(upload, bodies)) == {200}
    assert {name: file.read() for name, file in simulator.files(batch_id).items()} == bodies
