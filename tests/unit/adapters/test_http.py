"""One exchange: what is surely not sent, what is unknown, and that nothing takes for ever."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import trustme
from aep_intake.adapters.adobe import http as exchanging
from aep_intake.adapters.adobe.http import (
    BLOCK_BYTES,
    MAX_BODY_BYTES,
    MAX_IDLE_SECONDS,
    Answer,
    NoAnswer,
    NotSent,
    Stream,
    clean,
    exchange,
    https_session,
)
from hypothesis import given
from hypothesis import strategies as st
from requests import adapters
from urllib3.connection import HTTPConnection
from urllib3.util import connection as urllib3_connection

from tests.adobe_world import Script, Scripted, answer, http, reset, wire

# Seconds to connect, and to get an answer. Peers that never end take 5: SOON is far from both.
TIMEOUTS = (0.8, 0.8)
SOON = 3.5


def post(
    url: str,
    session: requests.Session | None = None,
    body: bytes = b"{}",
    timeouts: tuple[float, float] = TIMEOUTS,
) -> Answer:
    with contextlib.ExitStack() as stack:
        session = session or stack.enter_context(https_session(2))
        return exchange(session, "POST", url, headers={"x-a": "b"}, body=body, timeouts=timeouts)


def test_an_answer_whatever_its_status() -> None:
    body = b'{"a": [1]}'
    with wire(lambda c, _: c.sendall(http(418, body, "X-Request-Id: r1\r\n"))) as server:
        found = post(f"{server.url}/p?q=1")
    assert (found.status, found.body, found.json()) == (418, body, {"a": [1]})
    assert found.headers["x-request-id"] == "r1"
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /p?q=1 HTTP/1.1\r\n")
    assert b"\r\nx-a: b\r\n" in head + b"\r\n"
    assert sent == b"{}"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000, b"9" * 10_000, b'{"a":'])
def test_what_is_not_json_is_none(body: bytes) -> None:
    assert Answer(200, {}, body).json() is None


@pytest.mark.parametrize(
    ("spelt", "read"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"a\uDFFFb", "a\ufffdb"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\\ud800", "\\ud800"),
        (rb"\u00e9", "\u00e9"),
    ],
)
def test_what_is_no_unicode_is_not_handed_on(spelt: bytes, read: str) -> None:
    """It could not be written to the ledger, though its batch is made."""
    body = b'{"id": "01B", "%s": ["%s"]}' % (spelt, spelt)
    said = Answer(201, {}, body).json()
    assert said == {"id": "01B", read: [read]}
    assert said[read][0].encode()


# Before anything was sent


def test_refused_connection_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSent, match="NewConnectionError"):
        post(f"http://127.0.0.1:{port}/")


def test_unknown_host_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotSent):
        post("https://nowhere.invalid/")


def test_tls_that_never_answers_is_not_sent_and_does_not_outlast_the_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(NotSent):
            post(f"https://127.0.0.1:{port}/")
    assert time.monotonic() - started < SOON


def test_tls_answered_by_something_else_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.settimeout(5)

        def babble() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.0 200 this is not TLS\r\n\r\n")
                connection.recv(65_536)

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(NotSent):
            post(f"https://127.0.0.1:{port}/")
        thread.join()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def secured(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if the authority were one of certifi's."""
    bundle = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr(adapters, "DEFAULT_CA_BUNDLE_PATH", str(bundle))


def test_tls(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trusting(authority, monkeypatch, tmp_path)
    with https_session(1) as session, wire(keep_alive, secured(authority)) as server:
        for _ in range(2):
            assert post(server.url, session).body == b"ok"
        assert server.connections == 1


def test_nothing_is_sent_to_who_cannot_prove_who_it_is(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with wire(keep_alive, secured(authority)) as server:  # an authority nobody knows
        with pytest.raises(NotSent):
            post(server.url)
        assert server.requests == []
    trusting(authority, monkeypatch, tmp_path)
    with wire(keep_alive, secured(authority, "ims.example")) as server:  # another's name
        with pytest.raises(NotSent):
            post(server.url)
        assert server.requests == []


def test_tls_that_breaks_or_drips_after_the_request_is_unknown(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trusting(authority, monkeypatch, tmp_path)
    for script in (broken_off(reset), drip(b"HTTP/1.1 201 X\r\nX-Slow: "), silent, breaking):
        with wire(script, secured(authority)) as server:
            started = time.monotonic()
            with pytest.raises(NoAnswer):
                post(server.url)
            assert time.monotonic() - started < SOON
        assert len(server.requests) == 1


def breaking(connection: socket.socket, _: bytes) -> None:
    """Bytes that are no TLS record: the client sees an SSLError, long after the handshake."""
    with socket.socket(fileno=connection.detach()) as plain:
        plain.sendall(b"HTTP/1.1 200 X\r\n\r\n")


def test_connecting_longer_than_allowed_in_total_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = urllib3_connection.create_connection

    def second_address(*args: object, **options: object) -> socket.socket:
        time.sleep(TIMEOUTS[0] + 0.05)  # the first address timed out
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(urllib3_connection, "create_connection", second_address)
    with wire(lambda c, _: c.sendall(http(200))) as server, pytest.raises(NotSent):
        post(server.url)
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["nonsense", "http://", "http://[::1", "http://a\udc80b/", "x://y/"]
)
def test_a_url_nobody_can_use_is_not_sent(url: str) -> None:
    with pytest.raises(NotSent):
        post(url)


def test_a_header_with_a_line_break_is_not_sent() -> None:
    scripted = Scripted(lambda _: answer(200))
    for value in ("a\r\nx-b: c", "a\nb", "a\rb"):
        with pytest.raises(NotSent) as caught:
            exchange(
                scripted.session(), "GET", "http://x/", headers={"x-a": value}, timeouts=TIMEOUTS
            )
        assert value not in str(caught.value)
    assert scripted.asked == []


# After it was sent


def drip(part: bytes) -> Script:
    """`part` at once, then a byte every 50 ms: no single read ever times out."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(part)
        for _n in range(100):
            connection.sendall(b"x")
            time.sleep(0.05)

    return script


def broken_off(end: Callable[[socket.socket], None]) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 201 X\r\nContent-Length: 9\r\n\r\n{")
        end(connection)

    return script


def silent(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(lambda c, _: c.shutdown(socket.SHUT_RDWR), id="closed"),
        pytest.param(lambda c, _: reset(c), id="reset"),
        pytest.param(silent, id="silent"),
        pytest.param(lambda c, _: c.sendall(b"what?\r\n\r\n"), id="not HTTP"),
        pytest.param(broken_off(reset), id="reset within the body"),
        pytest.param(broken_off(socket.socket.close), id="cut off"),
        pytest.param(
            lambda c, _: c.sendall(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            id="not chunks",
        ),
        pytest.param(drip(b"HTTP/1.1 201 X\r\nX-Slow: "), id="dripping headers"),
        pytest.param(drip(b"HTTP/1.1 201 X\r\nContent-Length: 5000\r\n\r\n"), id="dripping body"),
        pytest.param(
            drip(b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n"),
            id="dripping chunk",
        ),
    ],
)
def test_what_was_sent_and_not_answered_is_unknown_and_soon(script: Script) -> None:
    with wire(script) as server:
        started = time.monotonic()
        with pytest.raises(NoAnswer):
            post(server.url)
        took = time.monotonic() - started
    assert len(server.requests) == 1  # and never repeated
    assert took < SOON


def test_sending_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is slow to take the request must not be slow to answer on top of that."""
    real = HTTPConnection.request

    def slowly(*args: Any, **options: Any) -> None:
        real(*args, **options)
        time.sleep(2)

    monkeypatch.setattr(HTTPConnection, "request", slowly)
    with wire(silent) as server:
        started = time.monotonic()
        with pytest.raises(NoAnswer):
            post(server.url, timeouts=(1, 2.5))
        assert time.monotonic() - started < SOON  # not 4.5


def test_an_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    sent = 0

    def endless(connection: socket.socket, _: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                sent += connection.send(b" " * 65_536)

    with (
        https_session(1) as session,
        wire(endless) as server,
        pytest.raises(NoAnswer, match="more than"),
    ):
        exchange(session, "GET", server.url, headers={}, timeouts=(1, 5))
    assert sent < MAX_BODY_BYTES + 20_000_000  # what sockets buffer on top


def test_trouble_named_by_requests_alone_is_told_apart() -> None:
    unsent = (requests.ConnectTimeout(), requests.exceptions.ProxyError())
    unknown = (
        requests.ReadTimeout(),
        requests.ConnectionError("reset"),
        requests.exceptions.SSLError("bad record mac"),
        requests.exceptions.ChunkedEncodingError(),
        OSError(104, "reset"),
    )

    def failing(error: Exception) -> Callable[[requests.PreparedRequest], requests.Response]:
        def fail(_: requests.PreparedRequest) -> requests.Response:
            raise error

        return fail

    for errors, kind in ((unsent, NotSent), (unknown, NoAnswer)):
        for error in errors:
            with pytest.raises(kind):
                post("http://x/", Scripted(failing(error)).session())


# What requests would do and we must not


def test_redirects_are_not_followed() -> None:
    with wire(lambda c, _: c.sendall(http(200))) as elsewhere:
        where = f"Location: {elsewhere.url}/\r\n"
        with wire(lambda c, _: c.sendall(http(307, b"moved", where))) as server:
            assert post(server.url).status == 307
        assert elsewhere.requests == []


def test_environment_and_netrc_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with wire(lambda c, _: c.sendall(http(200))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with wire(lambda c, _: c.sendall(http(200))) as server:
            for session in (https_session(1), requests.Session()):
                with session:
                    headers = {"Authorization": "Bearer ours"}
                    exchange(session, "GET", server.url, headers=headers, timeouts=TIMEOUTS)
    assert proxy.requests == []
    assert len(server.requests) == 2
    assert all(b"Authorization: Bearer ours\r\n" in request for request in server.requests)


def test_cookies_are_not_kept() -> None:
    script: Script = lambda c, _: c.sendall(http(200, b"", "Set-Cookie: a=b\r\n"))  # noqa: E731
    with https_session(1) as session, wire(script) as server:
        post(server.url, session)
        post(server.url, session)
    assert b"cookie" not in server.requests[1].lower()


def test_tls_is_always_verified_and_time_is_always_bounded() -> None:
    scripted = Scripted(lambda _: answer(200))
    session = scripted.session()
    session.verify = False
    post("https://x/", session)
    assert scripted.options == [
        {"stream": True, "timeout": TIMEOUTS, "verify": True, "proxies": {}}
    ]


# Kept connections


def keep_alive(connection: socket.socket, _: bytes) -> None:
    connection.sendall(http(200, b"ok"))


def test_connections_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with https_session(1) as session, wire(keep_alive) as server:
        post(server.url, session)
        post(server.url, session)
        assert server.connections == 1
        # Frozen for longer than anything on the way remembers an idle connection.
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + MAX_IDLE_SECONDS + 1)
        post(server.url, session)
        assert server.connections == 2


def test_a_connection_the_server_has_closed_is_not_used() -> None:
    def once(connection: socket.socket, _: bytes) -> None:
        connection.sendall(http(200, b"ok"))
        connection.shutdown(socket.SHUT_RDWR)

    with https_session(1) as session, wire(once) as server:
        assert post(server.url, session).status == 200
        time.sleep(0.05)
        assert post(server.url, session).status == 200
    assert len(server.requests) == server.connections == 2


def test_a_time_out_does_not_follow_a_connection() -> None:
    """The deadline of one answer must not shorten the next one's."""

    def slowly(connection: socket.socket, _: bytes) -> None:
        time.sleep(TIMEOUTS[1] * 0.6)
        connection.sendall(http(200, b"ok"))

    with https_session(1) as session, wire(slowly) as server:
        for _ in range(3):
            assert post(server.url, session).status == 200
        assert server.connections == 1


# Uploads


class Ticking:
    """A file to be sent, and the clock: it goes on by so many seconds with each block read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: float) -> None:
        self.now, self.sent = 1000.0, 0
        self._steps = iter(steps)
        clock = SimpleNamespace(monotonic=lambda: self.now, time=time.time)
        monkeypatch.setattr(exchanging, "time", clock)

    def read(self, size: int = -1, /) -> bytes:
        step = next(self._steps, None)
        if step is None:
            return b""
        self.now += step
        self.sent += size
        return b"x" * size


def taken(connection: socket.socket, _: bytes) -> None:
    connection.sendall(http(201))


def put(url: str, body: Ticking, blocks: int, seconds: float) -> Answer:
    stream = Stream(body, blocks * BLOCK_BYTES)
    with https_session(1) as session:
        return exchange(session, "PUT", url, headers={}, body=stream, timeouts=(3, seconds))


def test_an_upload_that_takes_too_long_ends_while_it_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, each send had a time of its own: the worker was killed, with its neighbours."""
    body = Ticking(monkeypatch, *[1.0] * 30)
    with wire(taken) as server, pytest.raises(NoAnswer, match="TimeoutError"):
        put(server.url, body, 30, seconds=5)
    assert body.sent == 5 * BLOCK_BYTES


def test_the_answer_to_an_upload_has_its_own_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, one that came just after the time of sending was thrown away, and all sent again."""
    body = Ticking(monkeypatch, 1.0, 3.9)
    body_read, size = body.read, 2 * BLOCK_BYTES

    def read(amount: int = -1, /) -> bytes:
        some = body_read(amount)
        if not some:  # all is sent, and then the time is over
            body.now += 0.5
        return some

    monkeypatch.setattr(body, "read", read)
    with wire(taken) as server:
        assert put(server.url, body, 2, seconds=5).status == 201
        assert len(server.requests[0].partition(b"\r\n\r\n")[2]) == size


def test_an_upload_may_pause_for_longer_than_connecting_may_take() -> None:
    class Slow:
        def __init__(self) -> None:
            self._blocks = iter((b"x" * BLOCK_BYTES, b"x" * BLOCK_BYTES))

        def read(self, size: int = -1, /) -> bytes:
            time.sleep(0.3)
            return next(self._blocks, b"")

    with https_session(1) as session, wire(taken) as server:
        stream = Stream(Slow(), 2 * BLOCK_BYTES)
        found = exchange(session, "PUT", server.url, headers={}, body=stream, timeouts=(0.2, 9))
        assert found.status == 201


# Small things


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 300 ", 300),
        ("300s", None),
        ("-5", None),
        ("1e3", None),
        ("9" * 5000, None),
        ("\u0663", None),
        ("soon", None),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"Retry-After": value}
    assert Answer(429, headers, b"").retry_after(0) == seconds


def test_retry_after_as_a_date() -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert Answer(429, headers, b"").retry_after(1_792_567_670_000) == 10
    assert Answer(429, headers, b"").retry_after(1_999_999_999_000) == 0


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    seconds = Answer(429, {"Retry-After": value}, b"").retry_after(0)
    assert seconds is None or seconds >= 0


@given(st.text(), st.text(min_size=8, alphabet=st.characters(codec="ascii")), st.text())
def test_clean_words_hold_no_secret_and_no_control_characters(
    before: str, secret: str, after: str
) -> None:
    words = clean(before + secret + after, secrets=(secret,))
    assert secret not in words or secret in before + "***" + after
    assert words.isprintable()
    assert len(words) <= 500
