"""What can go wrong between a client and Adobe, on demand."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .messages import GATEWAY, HTML, Request, Response, gateway_error, json_response

KINDS = ("answer-lost", "request-lost", "late", "delay", "gateway", "status")
BODIES = ("json", "html", "empty")


@dataclass
class Fault:
    """A fault, and the requests it befalls: the next `count` that match, after `skip` of them.

    `operation`, `method` and `path` are shell patterns; `count` 0 means until cleared.

    | `fault` | what happens |
    |---|---|
    | `answer-lost` | carried out; the client hears nothing (`how`: `timeout` or `reset`) |
    | `request-lost` | never arrives |
    | `late` | the client hears nothing; carried out `delay_ms` later by the clock |
    | `delay` | carried out; the answer comes `delay_ms` later |
    | `gateway` | the gateway answers `code`, with `retry_after` where given |
    | `status` | answers `status` with a `body` of JSON, HTML or nothing, and `retry_after` |

    With `accepted`, `gateway` and `status` come although the request was carried out: a proxy in
    front may well answer 502 or 504 for a request that went through.
    """

    fault: str
    operation: str = "*"
    method: str = "*"
    path: str = "*"
    count: int = 1
    skip: int = 0
    how: str = "reset"
    delay_ms: int = 0
    code: str = "429050"
    status: int = 503
    body: str = "json"
    retry_after: str | None = None
    accepted: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError: a kind, code or body that does not exist."""
        if self.fault not in KINDS:
            raise ValueError(f"fault must be one of {', '.join(KINDS)}")
        if self.code not in GATEWAY:
            raise ValueError(f"no gateway code {self.code}")
        if self.body not in BODIES:
            raise ValueError(f"body must be one of {', '.join(BODIES)}")
        if self.how not in ("timeout", "reset"):
            raise ValueError("how must be timeout or reset")
        if self.count < 0 or self.skip < 0 or self.delay_ms < 0:
            raise ValueError("count, skip and delay_ms cannot be negative")

    def befalls(self, operation: str, request: Request) -> bool:
        """Whether the patterns match."""
        return (
            fnmatchcase(operation, self.operation)
            and fnmatchcase(request.method, self.method)
            and fnmatchcase(request.path, self.path)
        )

    def answer(self) -> Response:
        """What `gateway` and `status` answer."""
        if self.fault == "gateway":
            return gateway_error(self.code, self.retry_after)
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        if self.body == "html":
            page = HTML.format(status=self.status).encode()
            return Response(self.status, {"Content-Type": "text/html", **headers}, page)
        if self.body == "empty":
            return Response(self.status, headers)
        body = {"status": self.status, "title": "Service error", "detail": "Try again later."}
        return json_response(self.status, body, headers)


class Faults:
    """The faults still to come, in the order they were added."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._waiting)

    def add(self, fault: Fault) -> None:
        """Let `fault` befall what it matches from now on."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._waiting.clear()

    def take(self, operation: str, request: Request) -> Fault | None:
        """The one fault that befalls this request; used up by it unless it has no end."""
        for fault in self._waiting:
            if not fault.befalls(operation, request):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.count == 1:
                self._waiting.remove(fault)
            elif fault.count:
                fault.count -= 1
            return fault
        return None
