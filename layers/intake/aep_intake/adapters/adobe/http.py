"""One HTTP exchange, bounded in time and size, that tells what was surely not sent.

Both Adobe's IMS and AEP are spoken to through `exchange`. It hands the request straight to the
session's adapter, because `requests.Session.send` does more than we may allow: it follows
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
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

if TYPE_CHECKING:
    from aep_intake.delivery.pieces import Readable

# Our largest legitimate answer is a Catalog page of 100 batches, a few hundred kilobytes.
MAX_BODY = 2_000_000

# Lambda freezes workers between invocations, and what lies between forgets idle connections
# silently: a POST on such a socket ends as an unknown outcome. So idle ones are not used again.
MAX_IDLE = 30.0

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

# Seconds for which whoever takes an upload may take no more of it.
PAUSE = 60.0

# Seconds of its own that the answer to an upload has after the last byte; at most a fifth more.
ANSWER = 15.0

# urllib3 reads what is uploaded in blocks of 16 KB, each a call into ours.
BLOCK = 2**18
# Bytes that are sent between two looks at the clock.
SLICE = 2**16

# Nobody means longer, and SQS hides a message for 12 hours at most.
MOST_WAIT = 43_200.0


class Stream:
    """`size` bytes to be sent as they are read. Not kept, so they cannot be sent again.

    `seconds`: that sending all of them may take; `exchange` sets it.
    """

    def __init__(self, body: "Readable", size: int) -> None:
        self._body, self._size = body, size
        self.seconds = 0.0

    def __len__(self) -> int:  # by which requests sends a Content-Length
        return self._size

    def __iter__(self) -> Iterator[bytes]:  # by which requests knows a stream
        return iter(lambda: self.read(BLOCK), b"")

    def read(self, size: int = -1, /) -> bytes:
        """As `Readable`."""
        return self._body.read(size)


class NotSent(Exception):
    """Surely no byte of the request reached the server: repeating it is safe."""


class NoAnswer(Exception):
    """The request may have been carried out; its answer is missing, cut off or too large."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` are case-insensitive; `body` may hold a token: not in the repr."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON, or None where it is not JSON (empty, HTML, cut off, too deep).

        Lone surrogates, which JSON can spell, become U+FFFD: neither DynamoDB nor SQS would take
        them, and no id has that.
        """
        try:
            said = json.loads(self.body)
            if _SURROGATE.search(self.body):
                text = json.dumps(said, ensure_ascii=False).encode("utf-16", "surrogatepass")
                said = json.loads(text.decode("utf-16", "replace"))
        except (ValueError, RecursionError):
            return None
        return said

    def retry_after(self, now: int) -> float | None:
        """Seconds to wait by `Retry-After` (seconds or an HTTP date); None if it says nothing.

        `now` in epoch milliseconds. Dates gone by give 0, what is further off than MOST_WAIT that;
        what makes no sense gives None.
        """
        value = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"\d{1,9}", value, re.ASCII):
            return min(float(value), MOST_WAIT)
        with contextlib.suppress(ValueError, OverflowError):
            wait = parsedate_to_datetime(value).timestamp() - now / 1000
            return min(max(0.0, wait), MOST_WAIT)
        return None


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | Stream | None = None,
    timeouts: tuple[float, float],
    most: int = MAX_BODY,
) -> Answer:
    """Send one request and read its whole answer of at most `most` bytes, whatever its status.

    `timeouts` in seconds: to connect (TLS included), and to send and answer. Over a session made by
    `https_session` both bound the whole of it, not each packet; but the answer to a stream has
    some seconds of its own (ANSWER) once all is sent. TLS is always verified.

    Raises NotSent or NoAnswer.
    """
    if isinstance(body, Stream):
        body.seconds = timeouts[1]
    try:
        request = requests.Request(
            method,
            url,
            # identity: nothing we read is worth a decompression bomb.
            headers={"User-Agent": "aep-intake", "Accept-Encoding": "identity", **headers},
            data=body,
        ).prepare()
        adapter = session.get_adapter(cast("str", request.url))
    except (requests.RequestException, UnicodeError) as error:
        raise NotSent(f"the request cannot be written: {type(error).__name__}") from None
    try:
        response = adapter.send(request, stream=True, timeout=timeouts, verify=True, proxies={})
        try:
            return Answer(response.status_code, response.headers, _bounded(response, most))
        finally:
            response.close()
    except (requests.RequestException, HTTPError, OSError) as error:
        if _before_sending(error):
            raise NotSent(_root_cause(error)) from error
        raise NoAnswer(_root_cause(error)) from error


def _bounded(response: requests.Response, most: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(65_536):
        body += chunk
        if len(body) > most:
            raise NoAnswer(f"an answer of more than {most} bytes")
    return bytes(body)


def _before_sending(error: Exception) -> bool:
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
    told = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def clean(text: object, *, hide: Iterable[str] = (), limit: int = 500) -> str:
    """Someone else's words, fit for a message: secrets and control characters out, bounded."""
    words = text if isinstance(text, str) else json.dumps(text)
    for secret in hide:
        words = words.replace(secret, "***")
    words = "".join(c if c.isprintable() else " " for c in words[: 4 * limit])
    return " ".join(words.split())[:limit]


def https_session(connections: int) -> requests.Session:
    """A session that keeps `connections` open per host and whose time-outs are total.

    Idle connections are dropped after MAX_IDLE seconds.
    """
    session = requests.Session()
    session.trust_env = False
    for scheme in ("https://", "http://"):  # plain HTTP: the simulator, on loopback
        session.mount(scheme, _Adapter(pool_maxsize=connections))
    return session


class _TimedReader(io.RawIOBase):
    """Reads a socket up to one deadline for the whole answer; a socket's own is per read."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock, deadline))


class _Timed(HTTPConnection):
    """A connection whose connect time-out covers all addresses and TLS.

    Its read time-out covers everything from the first byte sent to the last one received; of a
    stream it covers what is sent, and the answer has some seconds more.
    Whatever goes wrong before the first byte of the request is a NewConnectionError, TLS trouble
    included: urllib3 alone reports a handshake that timed out as a read time-out.
    """

    _used = _sent = 0.0
    _stream: Stream | None = None

    def connect(self) -> None:
        started = time.monotonic()
        try:
            super().connect()
        except (OSError, HTTPError) as error:
            if isinstance(error, ConnectTimeoutError):
                raise
            raise NewConnectionError(self, f"TLS: {type(error).__name__}") from error
        # Each address of a host has the time-out for itself; a lease was only asked for one.
        if self.timeout is not None and time.monotonic() - started > self.timeout:
            self.close()
            raise ConnectTimeoutError(self, "connecting took too long")

    @property
    def is_connected(self) -> bool:
        # Wall clock: the monotonic one may stand still while a worker is frozen.
        return super().is_connected and abs(time.time() - self._used) < MAX_IDLE

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._sent = time.monotonic()
        body = kwargs.get("body")
        self._stream = body if isinstance(body, Stream) else None
        super().request(*args, **kwargs)

    def send(self, data: Any) -> None:
        """As it was; but urllib3 sends with the time-out for connecting, and a large upload may
        pause for longer, though not beyond its deadline.
        """
        if self._stream is None or self.sock is None:
            super().send(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            left = self._sent + self._stream.seconds - time.monotonic()
            if left <= 0:
                raise TimeoutError("sending took too long")
            self.sock.settimeout(min(PAUSE, left))
            super().send(view[start : start + SLICE])

    def getresponse(self) -> Any:
        deadline = self._sent + (self.timeout or 0.0)
        if self._stream is not None:
            own = min(ANSWER, self._stream.seconds / 5)
            deadline = max(deadline, time.monotonic() + own)
        self.response_class = cast("Any", functools.partial(_TimedResponse, deadline=deadline))
        self._used = time.time()
        return super().getresponse()


class _TimedTLS(_Timed, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Timed


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, blocksize=BLOCK, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
