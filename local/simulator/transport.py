"""The simulator as a transport of `requests`: the real client, no sockets."""

from collections.abc import Callable, Iterator, Mapping
from http.client import responses
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as Disconnected
from requests.exceptions import ConnectTimeout, ReadTimeout
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from .content import PIECE
from .messages import AnswerLost, NoAnswer, Request, RequestLost, Response
from .simulator import Simulator

Timeout = float | tuple[float | None, float | None] | None


class InProcess(HTTPAdapter):
    """Carries a session's requests to `simulator`, whatever their host.

    A lost answer becomes ReadTimeout or, where the fault says `reset`, ConnectionError; a lost
    request ConnectTimeout. `wait(ms)` is called for time the client spends waiting (a delayed
    answer, a time-out); it moves a standing clock unless told otherwise.
    """

    def __init__(self, simulator: Simulator, wait: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self.simulator = simulator
        self.wait = wait or self._move_clock

    def _move_clock(self, ms: int) -> None:
        if self.simulator.clock.standing:
            self.simulator.clock.advance(ms)

    def send(  # noqa: PLR0917 - the signature is the base class's
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Timeout = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Raises ConnectTimeout, ReadTimeout, ConnectionError, as the simulator's faults say."""
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        try:
            response = self.simulator.handle(_received(self.simulator, request))
        except RequestLost:
            self.wait(_ms(connect))
            raise ConnectTimeout("simulated: the request got lost", request=request) from None
        except AnswerLost as lost:
            raise self._silence(lost, read, request) from None
        if read is not None and response.delay_ms >= _ms(read):
            raise self._silence(NoAnswer("timeout"), read, request)
        if response.delay_ms:
            self.wait(response.delay_ms)
        return self._answer(request, response)

    def _answer(self, request: requests.PreparedRequest, response: Response) -> requests.Response:
        # As `build_response` makes it, but that of urllib3 and of cookies it needs nothing.
        answer = requests.Response()
        answer.status_code = response.status
        answer.reason = responses.get(response.status, "")
        answer.headers = CaseInsensitiveDict(response.headers)
        answer.encoding = get_encoding_from_headers(answer.headers)
        answer.raw = BytesIO(response.body)
        answer.url = str(request.url)
        answer.request, answer.connection = request, self
        return answer

    def _silence(
        self, lost: NoAnswer, read: float | None, request: requests.PreparedRequest
    ) -> requests.RequestException:
        if lost.how == "reset":
            return Disconnected("simulated: the connection broke", request=request)
        self.wait(_ms(read))
        return ReadTimeout("simulated: no answer came", request=request)


def mount(
    session: requests.Session, simulator: Simulator, wait: Callable[[int], None] | None = None
) -> None:
    """Let every request of `session` go to `simulator`."""
    adapter = InProcess(simulator, wait)
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def _ms(seconds: float | None) -> int:
    return int((seconds or 0) * 1000)


def _received(simulator: Simulator, request: requests.PreparedRequest) -> Request:
    url = urlsplit(str(request.url))
    head = (
        str(request.method),
        url.path,
        url.query,
        {name.lower(): str(value) for name, value in request.headers.items()},
    )
    incoming = simulator.incoming(*head[:2])
    if incoming is None:
        return Request(*head, b"".join(_pieces(request.body)))
    for piece in _pieces(request.body):
        incoming.write(piece)
    return Request(*head, content=incoming.done())


def _pieces(body: Any) -> Iterator[bytes]:
    """What `requests` takes as a body: nothing, text, bytes, a file, or an iterable of bytes."""
    if hasattr(body, "read"):
        read = body.read
        body = iter(lambda: read(PIECE), b"")
    elif isinstance(body, str | bytes | bytearray):
        body = (body,)
    for piece in body or ():
        yield piece.encode() if isinstance(piece, str) else bytes(piece)
