"""A batch is filled over real HTTP: streams, tokens, refusals, connections that break, details."""

import contextlib
import json
import socket
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests
from aep_intake.adapters.adobe import http as exchanges
from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.http import https_session
from aep_intake.adapters.adobe.ingestion import Ingestion
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.delivery.delivery import Delivery
from aep_intake.model.batches import Target
from aep_intake.model.errors import (
    IntakeError,
    PlatformUnavailable,
    StorageUnavailable,
    TryAgain,
    UploadRefused,
)
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease, Record

from local.simulator import Clock, Fault, Received, Simulator, seed_defaults
from local.simulator.app import running
from local.simulator.seed import LOYALTY, PRODUCTS, Seed
from tests.adobe_world import (
    ARN,
    LEDGER,
    START,
    Answering,
    Scripted,
    Secrets,
    answer,
    http,
    own_shape,
    reset,
    wire,
)

MEGABYTE = 2**20


@dataclass
class Aep:
    """AEP behind a real socket, and our client of it."""

    simulator: Simulator
    seed: Seed
    adobe: Adobe
    ingestion: Ingestion
    kept: dict[str, bytes] = field(default_factory=dict)

    def delivery(self, external_id: str = "intake-0123", **options: Any) -> Delivery:
        """Of a batch that was made just now."""
        target = Target(ARN, self.seed.ims_org, "prod", LOYALTY)
        order = Order(external_id, target, {"inputFormat": {"format": "json"}} | options)
        record = Record.opened(order, Lease("t", START), START).created(self.adobe.create(order))
        return Delivery.of(record, (), 2**28, START)

    def upload(self, about: Delivery, content: bytes, path: str = "a.json") -> None:
        self.ingestion.upload(about, path, BytesIO(content), len(content))

    def files(self, about: Delivery) -> dict[str, bytes]:
        held = self.simulator.files(about.batch_id)
        return {path: content.read() for path, content in held.items()}

    def received(self, operation: str) -> list[Received]:
        return [one for one in self.simulator.received if one.operation == operation]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Simulator, str]]:
    simulator = Simulator(Clock(START))
    with running(simulator) as url:
        yield simulator, url


@pytest.fixture
def aep(served: tuple[Simulator, str]) -> Iterator[Aep]:
    simulator, url = served
    simulator.reset()
    clock = simulator.clock
    clock.stand(START)
    seed = seed_defaults(simulator)
    kept: dict[str, bytes] = {}
    with https_session(5) as session:
        secrets = Secrets(own_shape(seed))
        credentials = Credentials(secrets.client, session, url, clock)
        adobe = Adobe(session, credentials, url, lambda: LEDGER, clock)
        keep = lambda about, name, content: kept.update({name: content})  # noqa: E731
        yield Aep(simulator, seed, adobe, Ingestion(adobe, keep, 10), kept)


def test_a_file_goes_up_as_adobe_wants_it(aep: Aep) -> None:
    about, content = aep.delivery(), b'{"a": "\xc3\xa9"}\n' * 100_000
    aep.upload(about, content, "0123-a.json")
    assert aep.files(about) == {"0123-a.json": content}
    [received] = aep.received("put-file")
    path = f"/data/foundation/import/batches/{about.batch_id}/datasets/{LOYALTY}/files/0123-a.json"
    assert received.request.path == path
    headers = received.request.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-length"] == str(len(content))
    assert "transfer-encoding" not in headers
    assert "expect" not in headers
    assert headers["x-correlation-id"] == about.external_id
    assert headers["x-sandbox-name"] == "prod"
    assert (received.sandbox_defaulted, received.size) == (False, len(content))


def test_how_much_of_a_file_is_there(aep: Aep) -> None:
    about = aep.delivery()
    assert aep.ingestion.uploaded_bytes(about, "a.json") == 0
    aep.upload(about, b"{}\n")
    assert aep.ingestion.uploaded_bytes(about, "a.json") == 3
    [absent, there] = aep.received("head-file")
    assert (absent.status, there.status) == (404, 200)
    assert there.request.path == aep.received("put-file")[0].request.path
    # It is not there; or it is, but who knows how much of it.
    for status, held in {404: 0, 400: 0, 405: 0, 200: 1}.items():
        aep.simulator.faults.add(Fault("status", "head-file", status=status))
        assert aep.ingestion.uploaded_bytes(about, "a.json") == held


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "head-file", status=503),
        Fault("answer-lost", "head-file"),
        # An answer to HEAD has no body, which would say that this passes: its code is 503020.
        Fault("gateway", "head-file", code="503020"),
        Fault("gateway", "head-file", code="403025"),
        Fault("gateway", "head-file", code="401013"),
        Fault("status", "head-file", status=403),
    ],
)
def test_whether_a_file_is_there_is_asked_again(aep: Aep, fault: Fault) -> None:
    about = aep.delivery()
    aep.upload(about, b"{}\n")
    for _ in range(2):  # a new token is refused, too
        aep.simulator.faults.add(fault)
    with pytest.raises(TryAgain):
        aep.ingestion.uploaded_bytes(about, "a.json")


def test_the_same_path_again_overwrites(aep: Aep) -> None:
    about = aep.delivery()
    for content in (b"half of i", b"{}\n", b"{}\n"):
        aep.upload(about, content)
    assert aep.files(about) == {"a.json": b"{}\n"}
    assert [one.status for one in aep.received("put-file")] == [200, 200, 200]


def test_what_adobe_answers_by_its_guide_is_good_too(aep: Aep) -> None:
    aep.simulator.switches.change(upload_answers="docs")
    about = aep.delivery()
    aep.upload(about, b"{}\n")
    assert [one.status for one in aep.received("put-file")] == [200]


def test_a_name_cannot_lead_elsewhere(aep: Aep) -> None:
    about = aep.delivery()
    name = "../../other?action=COMPLETE#é/%2e"
    aep.upload(about, b"{}\n", name)
    [received] = aep.received("put-file")
    assert received.request.query == ""
    assert unquote(received.request.path.partition("/files/")[2]) == name
    assert received.request.path.count("/") == 9


def test_five_files_go_up_side_by_side(aep: Aep) -> None:
    about = aep.delivery()
    contents = {f"{n}.json": b'{"n": %d}\n' % n * 5_000 for n in range(20)}
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda name: aep.upload(about, contents[name], name), contents))
    assert aep.files(about) == contents
    assert aep.simulator.ims.minted[aep.seed.client_id] == 1


# ---- Memory


class Endless:
    """So many bytes, that are made as they are read. `largest`: the most that was asked for."""

    def __init__(self, size: int) -> None:
        self.left, self.largest = size, 0

    def read(self, size: int = -1, /) -> bytes:
        assert size > 0, "all of it at once"
        self.largest = max(self.largest, size)
        some = bytes(min(size, self.left))
        self.left -= len(some)
        return some


@contextlib.contextmanager
def swallowing() -> Iterator[tuple[str, list[int]]]:
    """A server that keeps nothing of what it gets; how many bytes came in each request."""
    came: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            room = bytearray(65_536)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(1)
                [length] = [
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                count = 0
                while count < length:
                    count += connection.recv_into(room)
                came.append(count)
                connection.sendall(http(201))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", came
        thread.join()


def client(url: str, session: requests.Session, seconds: int = 10) -> tuple[Ingestion, Delivery]:
    """A client of a server that knows nothing of tokens, and a delivery."""
    seed, clock = Seed(), Clock(START)
    tokens = Scripted(_token).session()
    credentials = Credentials(Secrets(own_shape(seed)).client, tokens, "https://ims", clock)
    adobe = Adobe(session, credentials, url, lambda: LEDGER, clock, timeouts=(1.0, 1.0))
    target = Target(ARN, seed.ims_org, "prod", LOYALTY)
    order = Order("intake-0123", target, {"inputFormat": {"format": "json"}})
    about = Delivery.of(Record.opened(order, Lease("t", 0), 0), (), 2**28, 0)
    return Ingestion(adobe, lambda *_: None, seconds), about.then(batch_id="01EQ")


TOKEN = "t0ken/that+nobody=may-see"


def _token(_: requests.PreparedRequest) -> requests.Response:
    return answer(200, {"access_token": TOKEN, "expires_in": 86_399, "token_type": "bearer"})


def test_a_file_is_never_whole_in_memory() -> None:
    body = Endless(64 * MEGABYTE)
    with swallowing() as (url, came), https_session(1) as session:
        ingestion, about = client(url, session, seconds=60)
        tracemalloc.start()
        try:
            ingestion.upload(about, "a.json", body, 64 * MEGABYTE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert came == [64 * MEGABYTE]
    assert body.left == 0
    assert body.largest == exchanges.BLOCK_BYTES
    assert peak < 4 * MEGABYTE


# ---- Tokens


def test_a_token_that_is_refused_in_the_midst_is_another_one_next_time(aep: Aep) -> None:
    about = aep.delivery()
    aep.simulator.faults.add(Fault("gateway", "put-file", code="401013"))
    body = BytesIO(b"{}\n")
    with pytest.raises(PlatformUnavailable) as caught:
        aep.ingestion.upload(about, "a.json", body, 3)
    assert caught.value.retry_after == 0
    assert len(aep.received("put-file")) == 1, "the stream is used up"
    assert aep.files(about) == {}
    aep.upload(about, b"{}\n")
    first, second = (one.request.headers["authorization"] for one in aep.received("put-file"))
    assert first != second
    assert aep.simulator.ims.minted[aep.seed.client_id] == 2
    assert aep.files(about) == {"a.json": b"{}\n"}


def test_where_every_token_is_refused_somebody_must_mend_the_credential(aep: Aep) -> None:
    about = aep.delivery()
    aep.simulator.faults.add(Fault("gateway", "put-file", code="403003", count=0))
    for _ in range(2):
        with pytest.raises(TryAgain):
            aep.upload(about, b"{}\n")


# ---- What AEP says


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (Fault("gateway", "put-file", code="429050", retry_after="120"), 120),
        (Fault("gateway", "put-file", code="429001"), None),
        (Fault("gateway", "put-file", code="503020", retry_after="7"), 7),
        (Fault("status", "put-file", status=429, retry_after="90"), 90),
        (Fault("status", "put-file", status=429, body="html"), None),
        (Fault("status", "put-file", status=500), None),
        (Fault("status", "put-file", status=502, body="html", accepted=True), None),
        (Fault("status", "put-file", status=504, body="empty"), None),
        (Fault("status", "put-file", status=408), None),
        (Fault("status", "put-file", status=302), None),
        (Fault("answer-lost", "put-file"), None),
        (Fault("request-lost", "put-file"), None),
    ],
)
def test_what_may_pass_is_tried_again_when_adobe_says(
    aep: Aep, fault: Fault, wait: float | None
) -> None:
    about = aep.delivery()
    aep.simulator.faults.add(fault)
    with pytest.raises(PlatformUnavailable) as caught:
        aep.upload(about, b"{}\n")
    assert caught.value.retry_after == wait
    assert caught.value.external_id == about.external_id
    aep.upload(about, b"{}\n")
    assert aep.files(about) == {"a.json": b"{}\n"}


@pytest.mark.parametrize("status", [401, 403])
def test_where_we_may_not_it_is_our_credential(aep: Aep, status: int) -> None:
    about = aep.delivery()
    aep.simulator.faults.add(Fault("status", "put-file", status=status))
    with pytest.raises(TryAgain):
        aep.upload(about, b"{}\n")


@pytest.mark.parametrize("status", [400, 404, 409, 410, 413, 414, 415, 422])
@pytest.mark.parametrize("body", ["json", "html", "empty"])
def test_what_is_about_the_file_is_refused(aep: Aep, status: int, body: str) -> None:
    about = aep.delivery()
    aep.simulator.faults.add(Fault("status", "put-file", status=status, body=body))
    with pytest.raises(UploadRefused, match=f"AEP answered {status}") as caught:
        aep.upload(about, b"{}\n")
    assert (caught.value.status, caught.value.external_id) == (status, about.external_id)


def test_what_is_too_large_is_refused(aep: Aep) -> None:
    aep.simulator.switches.change(put_limit=MEGABYTE)
    about = aep.delivery()
    with pytest.raises(UploadRefused, match="413"):
        aep.ingestion.upload(about, "a.json", Endless(MEGABYTE + 1), MEGABYTE + 1)
    aep.ingestion.upload(about, "a.json", Endless(MEGABYTE), MEGABYTE)


@pytest.mark.parametrize("status", ["aborted", "abandoned", "loaded", "success", "failed"])
def test_a_batch_that_is_not_open_takes_nothing(aep: Aep, status: str) -> None:
    about = aep.delivery()
    aep.simulator.set_status(about.batch_id, status)
    with pytest.raises(UploadRefused, match=f"is {status}"):
        aep.upload(about, b"{}\n")
    assert aep.files(about) == {}


def test_a_batch_of_another_dataset_or_none_takes_nothing(aep: Aep) -> None:
    about = aep.delivery()
    other = Target(ARN, aep.seed.ims_org, "prod", PRODUCTS)
    with pytest.raises(UploadRefused, match="Wrong dataset"):
        aep.upload(about.then(target=other), b"{}\n")
    with pytest.raises(UploadRefused, match="not found"):
        aep.upload(about.then(batch_id="nobody's"), b"{}\n")


# ---- Connections that break


@contextlib.contextmanager
def impatient(respond: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers, or hangs up, when it has seen the head and a little of the body."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    respond(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("how", [reset, lambda connection: connection.close()])
def test_a_connection_that_breaks_in_the_midst_is_tried_again(
    how: Callable[[socket.socket], None],
) -> None:
    with impatient(how) as url, https_session(1) as session:
        ingestion, about = client(url, session)
        with pytest.raises(PlatformUnavailable, match="AEP did not answer"):
            ingestion.upload(about, "a.json", Endless(32 * MEGABYTE), 32 * MEGABYTE)


def test_an_answer_that_comes_before_all_is_sent_counts() -> None:
    """As gateways do where a file is too large."""

    def refuse(connection: socket.socket) -> None:
        connection.sendall(http(413, b"<html>", "Content-Type: text/html\r\n"))
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while connection.recv(65_536):
                pass

    with impatient(refuse) as url, https_session(1) as session:
        ingestion, about = client(url, session)
        with pytest.raises(UploadRefused, match="AEP answered 413"):
            ingestion.upload(about, "a.json", Endless(32 * MEGABYTE), 32 * MEGABYTE)


def test_nobody_is_waited_for_longer_than_an_upload_may_take() -> None:
    def silent(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while connection.recv(65_536):
                pass

    with impatient(silent) as url, https_session(1) as session:
        ingestion, about = client(url, session, seconds=1)
        with pytest.raises(PlatformUnavailable, match="AEP did not answer"):
            ingestion.upload(about, "a.json", BytesIO(b"{}\n"), 3)


class Breaking(BytesIO):
    """S3, which gives so many bytes and no more."""

    def read(self, size: int | None = -1, /) -> bytes:
        some = super().read(size)
        if not some:
            raise StorageUnavailable("its bytes broke off")
        return some


def test_where_s3_breaks_off_the_connection_is_not_used_again() -> None:
    """AEP would take what comes next for the rest of the file."""
    heads: list[bytes] = []

    def keep(connection: socket.socket, request: bytes) -> None:
        heads.append(request.partition(b"\r\n")[0])
        connection.sendall(http(201))

    with https_session(1) as session, wire(keep) as server:
        ingestion, about = client(server.url, session)
        ingestion.upload(about, "a.json", BytesIO(b"{}\n"), 3)
        assert server.connections == 1
        ingestion.upload(about, "b.json", BytesIO(b"{}\n"), 3)
        assert server.connections == 1
        with pytest.raises(StorageUnavailable, match="broke off"):
            ingestion.upload(about, "c.json", Breaking(b"x" * 500_000), MEGABYTE)
        ingestion.upload(about, "d.json", BytesIO(b"{}\n"), 3)
        assert server.connections == 2
    assert [head.split()[1].rpartition(b"/")[2] for head in heads] == [
        b"a.json",
        b"b.json",
        b"d.json",
    ]


def test_of_a_file_that_breaks_off_aep_takes_nothing(aep: Aep) -> None:
    about = aep.delivery()
    with pytest.raises(StorageUnavailable):
        aep.ingestion.upload(about, "a.json", Breaking(b"x" * 500_000), MEGABYTE)
    assert aep.files(about) == {}
    aep.upload(about, b"{}\n")
    assert aep.files(about) == {"a.json": b"{}\n"}
    assert len(aep.received("put-file")) == 1


# ---- COMPLETE, ABORT, and what Catalog knows


def test_complete_may_be_repeated(aep: Aep) -> None:
    about = aep.delivery()
    aep.upload(about, b"{}\n")
    for _ in range(3):
        aep.ingestion.complete(about)
    assert [one.status for one in aep.received("complete")] == [200] * 3
    aep.simulator.clock.advance(60_000)
    aep.ingestion.complete(about)
    found = aep.ingestion.fetch_batch(about)
    assert found is not None
    assert (found.id, found.status) == (about.batch_id, "success")
    received = aep.received("complete")[0].request
    assert (received.method, received.query, received.body) == ("POST", "action=COMPLETE", b"")


@pytest.mark.parametrize("status", ["aborted", "abandoned", "failed", "deleted"])
def test_what_has_ended_without_data_cannot_be_completed(aep: Aep, status: str) -> None:
    about = aep.delivery()
    aep.simulator.set_status(about.batch_id, status)
    with pytest.raises(UploadRefused, match="COMPLETE is not possible") as caught:
        aep.ingestion.complete(about)
    assert caught.value.external_id == about.external_id


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer-lost"),
        Fault("request-lost"),
        Fault("gateway", code="429050", retry_after="30"),
        Fault("status", status=500),
        Fault("status", status=403),
    ],
)
@pytest.mark.parametrize("name", ["complete", "abort", "fetch_batch"])
def test_whatever_else_may_be_asked_is_asked_again(aep: Aep, name: str, fault: Fault) -> None:
    about = aep.delivery()
    aep.upload(about, b"{}\n")
    aep.simulator.faults.add(fault)
    with pytest.raises(TryAgain) as caught:
        getattr(aep.ingestion, name)(about)
    assert caught.value.retry_after == (30 if fault.retry_after else None)
    getattr(aep.ingestion, name)(about)


def test_abort_is_done_where_it_is_done_already(aep: Aep) -> None:
    about = aep.delivery()
    for _ in range(2):
        aep.ingestion.abort(about)
    found = aep.ingestion.fetch_batch(about)
    assert found is not None
    assert found.status == "aborted"


def test_what_catalog_does_not_show_is_none(aep: Aep) -> None:
    about = aep.delivery()
    aep.simulator.show_in_catalog(lambda *_: False)
    assert aep.ingestion.fetch_batch(about) is None


# ---- Details of bad rows


def ended(aep: Aep, *rows: bytes, **options: Any) -> Delivery:
    about = aep.delivery(**options)
    aep.upload(about, b"\n".join(rows))
    aep.ingestion.complete(about)
    aep.simulator.clock.advance(60_000)
    aep.simulator.catch_up()
    return about


def test_what_aep_tells_of_bad_rows_is_kept(aep: Aep) -> None:
    about = ended(aep, b"{}", b"no json", b"{}", b"[1]", enableErrorDiagnostics=True)
    assert aep.ingestion.diagnostics(about) == 1
    [(name, content)] = aep.kept.items()
    assert name == "row_errors/parsing_errors_0.json"
    told = [json.loads(line) for line in content.splitlines()]
    assert [row["_corrupt_record"] for row in told] == ["no json", "[1]"]
    asked = [parse_qs(one.request.query) for one in aep.received("list-meta")]
    assert asked == [{"path": ["row_errors"]}, {"path": ["row_errors/parsing_errors_0.json"]}]


@pytest.mark.parametrize("options", [{}, {"enableErrorDiagnostics": False}])
def test_where_nobody_asked_for_them_there_are_none(aep: Aep, options: dict[str, Any]) -> None:
    about = ended(aep, b"no json", **options)
    assert aep.ingestion.diagnostics(about) == 0
    assert aep.kept == {}
    assert [one.status for one in aep.received("list-meta")] == [404]


def test_after_thirty_days_there_are_none(aep: Aep) -> None:
    about = ended(aep, b"no json", enableErrorDiagnostics=True)
    aep.simulator.clock.advance(31 * 86_400_000)
    assert aep.ingestion.diagnostics(about) == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "list-meta", status=500),
        Fault("status", "list-meta", status=503),
        Fault("gateway", "list-meta", code="429050"),
        Fault("answer-lost", "list-meta"),
        Fault("status", "list-meta", status=500, skip=1),
    ],
)
def test_where_data_access_does_not_answer_it_is_asked_again(aep: Aep, fault: Fault) -> None:
    about = ended(aep, b"no json", enableErrorDiagnostics=True)
    aep.simulator.faults.add(fault)
    with pytest.raises(TryAgain):
        aep.ingestion.diagnostics(about)
    assert aep.ingestion.diagnostics(about) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_where_it_says_no_there_are_none(aep: Aep, status: int) -> None:
    about = ended(aep, b"no json", enableErrorDiagnostics=True)
    aep.simulator.faults.add(Fault("status", "list-meta", status=status, count=0))
    assert aep.ingestion.diagnostics(about) == 0


def test_what_s3_does_not_keep_is_asked_for_again(aep: Aep) -> None:
    about = ended(aep, b"no json", enableErrorDiagnostics=True)

    def full(about: Delivery, name: str, content: bytes) -> None:
        raise StorageUnavailable("S3 answered 503")

    with pytest.raises(StorageUnavailable):
        Ingestion(aep.adobe, full, 10).diagnostics(about)


def listing(*names: Any, content: bytes = b"{}\n", **more: Any) -> Answering:
    """Data Access, with these files in its directory."""
    entries = [one if not isinstance(one, str) else {"name": one, **more} for one in names]

    def answering(request: requests.PreparedRequest) -> requests.Response:
        if request.path_url.startswith("/ims"):
            return _token(request)
        [path] = parse_qs(urlsplit(str(request.url)).query)["path"]
        if path == "row_errors":
            return answer(200, {"data": entries, "_page": {"limit": 100, "count": len(entries)}})
        return answer(200, content)

    return answering


def kept_of(answering: Answering) -> tuple[int, dict[str, bytes]]:
    """How many files are kept of what Data Access answers so, and which."""
    kept: dict[str, bytes] = {}
    ingestion, about = client("https://platform", Scripted(answering).session())
    ingestion._keep = lambda _, name, content: kept.update({name: content})
    return ingestion.diagnostics(about), kept


def test_twenty_files_of_details_tell_enough() -> None:
    number, kept = kept_of(listing(*(f"{n}.json" for n in range(100))))
    assert number == 20
    assert list(kept) == [f"row_errors/{n}.json" for n in range(20)]


def test_they_are_20_mb_at_most() -> None:
    content = b"x" * 7_000_000
    number, kept = kept_of(listing("a.json", "b.json", "c.json", content=content))
    assert (number, [*map(len, kept.values())]) == (2, [7_000_000] * 2)


def test_a_name_of_theirs_is_made_safe_for_a_key() -> None:
    names = ["row_errors/a.json", "../../b c.json", "é/ö.json", "x" * 300 + ".json"]
    number, kept = kept_of(listing(*names))
    assert number == 4
    assert list(kept) == [
        "row_errors/a.json",
        "row_errors/b_c.json",
        "row_errors/_.json",
        f"row_errors/{'x' * 95}.json",
    ]


@pytest.mark.parametrize(
    "entry", [None, 7, [], {}, {"name": None}, {"name": ""}, {"name": 7}, {"name": "directory/"}]
)
def test_what_has_no_name_is_left_out(entry: object) -> None:
    assert kept_of(listing(entry, "a.json")) == (1, {"row_errors/a.json": b"{}\n"})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"<html>", b'{"data": null}', b'{"data": 1}']
)
def test_a_list_that_is_none_is_empty(body: bytes) -> None:
    def answering(request: requests.PreparedRequest) -> requests.Response:
        return _token(request) if request.path_url.startswith("/ims") else answer(200, body)

    assert kept_of(answering) == (0, {})


def test_a_file_that_is_gone_when_it_is_asked_for_is_left_out() -> None:
    there = listing("a.json", "b.json")

    def answering(request: requests.PreparedRequest) -> requests.Response:
        return answer(404) if "a.json" in str(request.url) else there(request)

    assert kept_of(answering) == (1, {"row_errors/b.json": b"{}\n"})


def test_a_file_that_is_too_large_to_keep_is_left_out() -> None:
    """It says so itself; read, it would be an answer that breaks off, time and again."""
    large = {"name": "large.json", "length": "20000001"}
    small = {"name": "small.json", "length": "20000000"}
    odd = {"name": "odd.json", "length": "who knows"}
    number, kept = kept_of(listing(large, small, odd))
    assert (number, list(kept)) == (2, ["row_errors/small.json", "row_errors/odd.json"])


# ---- Secrets


def echo(connection: socket.socket, request: bytes) -> None:
    """Answers with all that it was told, as proxies do in their error pages."""
    told = json.dumps({"title": "no", "detail": request.decode("latin-1")}).encode()
    connection.sendall(http(400, told, f"X-Request-Id: {TOKEN}\r\n"))


@pytest.mark.parametrize("name", ["upload", "complete"])
def test_no_error_holds_a_token(name: str) -> None:
    with https_session(1) as session, wire(echo) as server:
        ingestion, about = client(server.url, session)
        with pytest.raises(UploadRefused) as caught:
            if name == "upload":
                ingestion.upload(about, "a.json", BytesIO(b"{}\n"), 3)
            else:
                ingestion.complete(about)
    assert TOKEN.encode() in server.requests[0]
    _holds_no_secret(caught.value)


@pytest.mark.parametrize("how", [reset, lambda connection: connection.close()])
def test_nor_does_one_of_a_connection_that_broke(how: Callable[[socket.socket], None]) -> None:
    with impatient(how) as url, https_session(1) as session:
        ingestion, about = client(url, session)
        with pytest.raises(PlatformUnavailable) as caught:
            ingestion.upload(about, "a.json", Endless(32 * MEGABYTE), 32 * MEGABYTE)
    _holds_no_secret(caught.value)


def _holds_no_secret(error: IntakeError) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))
    for secret in (TOKEN, Seed().client_secret):
        assert secret not in told
