"""One HTTP exchange, bounded in time and size, that knows whether a request was surely not sent.

All requests to Adobe's IMS and AEP go through `exchange`. It hands the request directly to the
session's adapter, because `requests.Session.send` does more than we can allow: it follows
redirects (repeating a POST, or carrying a token elsewhere), reads a redirect's body without limit,
keeps cookies, and lets `~/.netrc` replace the Authorization header and the environment add proxies.
"""

import contextlib
import functools
import http.client
import io
import json
import re
import socket
import time
from collections.abc import Buffer, Iterable, Iterator, Mapping
from dataclasses import field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from aep_intake import __version__
from aep_intake.model.values import dataclass

if TYPE_CHECKING:
    from aep_intake.content.gzip import Readable

USER_AGENT = f"aep-intake/{__version__}"

# The largest answer we expect is a Catalog page of 100 batches, a few hundred kilobytes.
MAX_BODY_BYTES = 2_000_000

# Lambda freezes workers between invocations, and network devices drop idle connections silently. A
# POST on such a socket has an unknown outcome, so a connection that was idle is not used again.
MAX_IDLE_SECONDS = 30.0

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

# For so long the server may accept no bytes of an upload.
MAX_PAUSE_SECONDS = 60.0

# For the answer to an upload, after its last byte; at most a fifth of the upload's time.
ANSWER_SECONDS = 15.0

# urllib3 reads an upload in blocks of 16 KB by default, each a call of our code.
BLOCK_BYTES = 2**18
# Sent between two checks of the deadline.
SLICE_BYTES = 2**16

# SQS delays a message for 12 hours at most.
MAX_WAIT_SECONDS = 43_200.0


class Stream:
    """`size` bytes that are sent as they are read. They are not kept, so they are sent only once.

    `seconds`: how long sending all of them may take; `exchange` sets it.
    """

    def __init__(self, body: "Readable", size: int) -> None:
        self._body, self._size = body, size
        self.seconds = 0.0

    def __len__(self) -> int:  # by which requests sends a Content-Length
        return self._size

    def __iter__(self) -> Iterator[bytes]:  # by which requests knows a stream
        return iter(lambda: self.read(BLOCK_BYTES), b"")

    def read(self, size: int = -1, /) -> bytes:
        """As `Readable`."""
        return self._body.read(size)


class NotSent(Exception):
    """No byte of the request reached the server: it is safe to repeat it."""


class NoAnswer(Exception):
    """The server may have carried out the request; its answer is missing, cut off or too large."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `headers` are case-insensitive; `body` may hold a token: not in the repr."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON; None if it is not JSON (empty, HTML, cut off, too deep).

        Lone surrogates, which JSON can contain, become U+FFFD: DynamoDB and SQS refuse them, and no
        id has any.
        """
        try:
            document = json.loads(self.body)
            if _SURROGATE.search(self.body):
                text = json.dumps(document, ensure_ascii=False).encode("utf-16", "surrogatepass")
                document = json.loads(text.decode("utf-16", "replace"))
        except (ValueError, RecursionError):
            return None
        return document

    def retry_after(self, now: int) -> float | None:
        """Seconds to wait by `Retry-After` (seconds or an HTTP date); None without a valid value.

        `now`: epoch milliseconds. A past date gives 0; the maximum is MAX_WAIT_SECONDS.
        """
        value = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,9}", value, re.ASCII):
            return min(float(value), MAX_WAIT_SECONDS)
        with contextlib.suppress(ValueError, OverflowError):
            wait = parsedate_to_datetime(value).timestamp() - now / 1000
            return min(max(0.0, wait), MAX_WAIT_SECONDS)
        return None


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | Stream | None = None,
    timeouts: tuple[float, float],
    max_bytes: int = MAX_BODY_BYTES,
) -> Answer:
    """Send one request and read its whole answer of at most `max_bytes`, whatever its status.

    `timeouts` in seconds: to connect (TLS included), and to send and answer. With a session of
    `https_session` both are totals, not times per packet; but the answer to a stream has
    ANSWER_SECONDS of its own after the last byte is sent. TLS is always verified.

    Raises NotSent or NoAnswer.
    """
    if isinstance(body, Stream):
        body.seconds = timeouts[1]
    try:
        request = requests.Request(
            method,
            url,
            # identity: a compressed answer could be a decompression bomb.
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
            data=body,
        ).prepare()
        adapter = session.get_adapter(cast("str", request.url))
    except (requests.RequestException, UnicodeError) as error:
        raise NotSent(f"the request cannot be written: {type(error).__name__}") from None
    try:
        response = adapter.send(request, stream=True, timeout=timeouts, verify=True, proxies={})
        try:
            return Answer(response.status_code, response.headers, _read_body(response, max_bytes))
        finally:
            response.close()
    except (requests.RequestException, HTTPError, OSError) as error:
        if _failed_before_sending(error):
            raise NotSent(_root_cause(error)) from error
        raise NoAnswer(_root_cause(error)) from error


def _read_body(response: requests.Response, max_bytes: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(65_536):
        body += chunk
        if len(body) > max_bytes:
            raise NoAnswer(f"an answer of more than {max_bytes} bytes")
    return bytes(body)


def _failed_before_sending(error: Exception) -> bool:
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    # requests wraps urllib3's MaxRetryError, whose `reason` is what happened.
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), ConnectTimeoutError)


def _root_cause(error: BaseException) -> str:
    """Class and system message of the innermost cause; URLs and object addresses left out."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((a for a in reversed(error.args) if isinstance(a, BaseException)), None)
        if inner is None:
            break
        error = inner
    message = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def clean(text: object, *, secrets: Iterable[str] = (), limit: int = 500) -> str:
    """A foreign text for our own messages, without secrets and control characters.

    `limit`: its longest length, in characters.
    """
    cleaned = text if isinstance(text, str) else json.dumps(text)
    for secret in secrets:
        cleaned = cleaned.replace(secret, "***")
    cleaned = "".join(c if c.isprintable() else " " for c in cleaned[: 4 * limit])
    return " ".join(cleaned.split())[:limit]


def https_session(connections: int) -> requests.Session:
    """A session that keeps `connections` open per host and whose time-outs are total.

    A connection that was idle for MAX_IDLE_SECONDS is not used again.
    """
    session = requests.Session()
    session.trust_env = False
    for scheme in ("https://", "http://"):  # plain HTTP: the simulator, on loopback
        session.mount(scheme, _Adapter(pool_maxsize=connections))
    return session


class _TimedReader(io.RawIOBase):
    """Reads a socket with one deadline for the whole answer; a socket's own is per read."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        seconds_left = self._deadline - time.monotonic()
        if seconds_left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(seconds_left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock, deadline))


class _TimedConnection(HTTPConnection):
    """A connection whose connect time-out covers all addresses and TLS.

    Its read time-out covers the time from the first byte sent to the last one received. For a
    stream it covers the sending, and the answer has ANSWER_SECONDS more. A failure before the first
    byte of the request is a NewConnectionError, TLS failures included: urllib3 itself reports a
    handshake that timed out as a read time-out.
    """

    _used_at = _sent_at = 0.0
    _stream: Stream | None = None

    def connect(self) -> None:
        started = time.monotonic()
        try:
            super().connect()
        except (OSError, HTTPError) as error:
            if isinstance(error, ConnectTimeoutError):
                raise
            raise NewConnectionError(self, f"TLS: {type(error).__name__}") from error
        # Each address of a host gets the whole time-out, but a lease covers it only once.
        if self.timeout is not None and time.monotonic() - started > self.timeout:
            self.close()
            raise ConnectTimeoutError(self, "connecting took too long")

    @property
    def is_connected(self) -> bool:
        # Wall clock: the monotonic one may stop while a worker is frozen.
        return super().is_connected and abs(time.time() - self._used_at) < MAX_IDLE_SECONDS

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._sent_at = time.monotonic()
        body = kwargs.get("body")
        self._stream = body if isinstance(body, Stream) else None
        super().request(*args, **kwargs)

    def send(self, data: Any) -> None:
        """Send with the deadline of the upload: urllib3 itself uses the time-out for connecting."""
        if self._stream is None or self.sock is None:
            super().send(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), SLICE_BYTES):
            seconds_left = self._sent_at + self._stream.seconds - time.monotonic()
            if seconds_left <= 0:
                raise TimeoutError("sending took too long")
            self.sock.settimeout(min(MAX_PAUSE_SECONDS, seconds_left))
            super().send(view[start : start + SLICE_BYTES])

    def getresponse(self) -> Any:
        deadline = self._sent_at + (self.timeout or 0.0)
        if self._stream is not None:
            answer_seconds = min(ANSWER_SECONDS, self._stream.seconds / 5)
            deadline = max(deadline, time.monotonic() + answer_seconds)
        self.response_class = cast("Any", functools.partial(_TimedResponse, deadline=deadline))
        self._used_at = time.time()
        return super().getresponse()


class _TimedTLS(_TimedConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, blocksize=BLOCK_BYTES, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
