"""Adobe for tests of its client: the simulator in process, scripted answers, or a real socket."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import requests
from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.model.batches import Target
from aep_intake.model.orders import Order
from botocore.exceptions import ClientError
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from local.simulator import Clock, Simulator, mount, seed_defaults
from local.simulator.seed import LOYALTY, Seed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-AbCdEf"
IMS = "https://ims.simulated"
PLATFORM = "https://platform.simulated"
LEDGER = "intake-ledger"
START = 1_790_000_000_000


@dataclass
class Secrets:
    """Secrets Manager: `document` under ARN, and `others`. `calls`: reads so far.

    `error`: a code to answer instead.
    """

    document: object
    others: dict[str, object] = field(default_factory=dict)
    error: str | None = None
    calls: int = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:
        self.calls += 1
        if self.error is not None:
            told = {"Error": {"Code": self.error, "Message": "simulated"}}
            raise ClientError(cast("Any", told), "GetSecretValue")
        document = self.document if SecretId == ARN else self.others[SecretId]
        return {"ARN": SecretId, "SecretString": json.dumps(document)}

    @property
    def client(self) -> "SecretsManagerClient":
        return cast("SecretsManagerClient", self)


Answering = Callable[[requests.PreparedRequest], requests.Response]


@dataclass
class Scripted(HTTPAdapter):
    """A transport that answers by a function and keeps what it was asked."""

    answering: Answering
    asked: list[requests.PreparedRequest] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        self.asked.append(request)
        self.options.append(options)
        return self.answering(request)

    def session(self) -> requests.Session:
        session = requests.Session()
        for scheme in ("https://", "http://"):
            session.mount(scheme, self)
        return session


def answer(
    status: int, body: object = b"", headers: Mapping[str, str] | None = None
) -> requests.Response:
    """A response of `requests`; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers or {})
    response.raw = HTTPResponse(BytesIO(data), preload_content=False, status=status)
    return response


def own_shape(seed: Seed, *client_secrets: str) -> dict[str, Any]:
    """The seed's credential in our own small shape."""
    return {
        "client_id": seed.client_id,
        "client_secrets": list(client_secrets or [seed.client_secret]),
        "ims_org": seed.ims_org,
    }


class World:
    """The simulator on a standing clock with the real client in front of it."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.simulator = Simulator(self.clock)
        self.seed = seed_defaults(self.simulator)
        self.session = requests.Session()
        mount(self.session, self.simulator)
        self.secrets = Secrets(own_shape(self.seed))
        self.credentials = Credentials(self.secrets.client, self.session, IMS, self.clock)
        self.adobe = Adobe(self.session, self.credentials, PLATFORM, lambda: LEDGER, self.clock)

    def order(self, external_id: str = "intake-0123", **changes: Any) -> Order:
        target = {"sandbox": "prod", "dataset_id": LOYALTY} | {
            name: changes.pop(name) for name in ("sandbox", "dataset_id") if name in changes
        }
        options = changes.pop("options", {"inputFormat": {"format": "json"}})
        return Order(external_id, Target(ARN, self.seed.ims_org, **target), options, **changes)

    def operations(self) -> list[str]:
        return [received.operation for received in self.simulator.received]

    @property
    def minted(self) -> int:
        return self.simulator.ims.minted[self.seed.client_id]


Script = Callable[[socket.socket, bytes], None]


@dataclass
class Wire:
    """A server on loopback that reads each request and then does as the script says."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextlib.contextmanager
def wire(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """Serve until the block ends; `script` gets the connection and the request just read."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = Wire(f"http{'s' if tls else ''}://127.0.0.1:{port}")
    connections: list[socket.socket] = []

    def converse(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if tls is not None:
                connection = stack.enter_context(tls.wrap_socket(connection, server_side=True))
            connections.append(connection)
            while (request := _read(connection)) is not None:
                server.requests.append(request)
                script(connection, request)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                server.connections += 1
                connection.settimeout(5)
                threads.append(threading.Thread(target=converse, args=(connection,)))
                threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        threads[0].join()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads[1:]:
            thread.join()


def _read(connection: socket.socket) -> bytes | None:
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        if not part:
            return None
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length:
        part = connection.recv(65_536)
        if not part:  # it broke off
            return None
        body += part
    return head + b"\r\n\r\n" + body


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def http(status: int, body: bytes = b"", headers: str = "") -> bytes:
    """A whole HTTP/1.1 answer."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
