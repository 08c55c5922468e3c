"""What goes in and out of the simulator, and the shapes of Adobe's error bodies.

Sources: the gateway's codes are those of Adobe's open-source gateway
(adobe-apiplatform/api-gateway-request-validation) and of the Platform troubleshooting page;
the problem shape is the one Platform services document for observability, sandboxes and others.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from .content import Content

# code → HTTP status, message. The status is not always the code's first three digits: 503020.
GATEWAY: Mapping[str, tuple[int, str]] = {
    "400003": (400, "Missing header"),
    "401013": (401, "Oauth token is not valid"),
    "401014": (401, "Token not allowed in the current context"),
    "401015": (401, "Scope mismatch"),
    "403000": (403, "Api Key is required"),
    "403003": (403, "Api Key is invalid"),
    "403010": (403, "Oauth token is missing."),
    "403011": (403, "Scope mismatch"),
    "403012": (403, "Your IP is blacklisted"),
    "403013": (403, "Your IP is not whitelisted"),
    "403023": (403, "Profile is not valid"),
    "403025": (403, "Profile is not valid"),
    "403027": (403, "User region is missing"),
    "429001": (429, "Service usage limit reached"),
    "429002": (429, "Developer key usage limit reached"),
    "429050": (429, "Too many requests"),
    "503000": (503, "Could not validate Api Key"),
    "503010": (503, "Could not validate the oauth token"),
    "503020": (403, "Could not read the profile"),
    "503071": (503, ""),
}

HTML = """\
<html>
<head><title>{status} Error</title></head>
<body>
<center><h1>{status} Error</h1></center>
<hr><center>nginx</center>
</body>
</html>
"""


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire.

    `path` and `query` are still percent-encoded; `headers` have lower-case names. `content`: the
    body of an upload, which is not in `body` then.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    content: Content | None = None

    @cached_property
    def parameters(self) -> list[tuple[str, str]]:
        """The decoded query, in order."""
        return list(_decoded(self.query))

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for key, value in self.parameters if key == name), None)

    def segment(self, index: int) -> str:
        """The decoded path segment at `index`, counted from 0 after the first slash."""
        return unquote(self.path.split("/")[index + 1])


@dataclass(frozen=True)
class Response:
    """An answer. `delay_ms`: how long it is held back; the core itself never waits."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_ms: int = 0

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@lru_cache  # a client asks the same again and again
def _decoded(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(query, keep_blank_values=True))


class Refused(Exception):
    """Ends the handling of a request early with an answer of its own."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"answered {response.status}")
        self.response = response


class NoAnswer(Exception):
    """The client will never see an answer. `how`: `timeout` (silence) or `reset`."""

    def __init__(self, how: str) -> None:
        super().__init__(f"no answer ({how})")
        self.how = how


class AnswerLost(NoAnswer):
    """The request was carried out, or will be, and its answer got lost on the way back."""


class RequestLost(NoAnswer):
    """The request never arrived: surely nothing was done."""


def json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(
        status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode()
    )


def gateway_error(code: str, retry_after: str | None = None) -> Response:
    """An answer of the gateway, made before any service sees the request."""
    status, message = GATEWAY[code]
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    if not message:
        return Response(status, headers)
    return json_response(status, {"error_code": code, "message": message}, headers)


def problem(code: str, title: str, detail: str, *, org: str, sandbox: str, now: int) -> Response:
    """A service's error. `code` is `{SERVICE}-{NNNN}-{HTTP}`, whose end is the status.

    Import does not document its error bodies; this is the shape of its sister services. Codes that
    nobody documents begin with `SIMULATED`, so that none is mistaken for one of Adobe's.
    """
    service, _, status = code.split("-")
    body = {
        "type": f"http://ns.adobe.com/aep/errors/{code}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "report": {
            "tenantInfo": {"sandboxName": sandbox, "imsOrgId": org},
            "additionalContext": None,
        },
        "error-chain": [
            {
                "serviceId": service,
                "errorCode": code,
                "invokingServiceId": service,
                "unixTimeStampMs": now,
            }
        ],
    }
    return json_response(int(status), body, {"Content-Type": "application/problem+json"})


def catalog_error(status: int, detail: str) -> Response:
    """Catalog's older error shape, as its clients have seen it."""
    titles = {400: "BadRequestError", 404: "NotFoundError", 406: "NotAcceptableError"}
    titles |= {501: "NotImplementedError"}
    return json_response(
        status,
        {
            "type": "/placeholder/type/uri",
            "status": status,
            "title": titles[status],
            "detail": detail,
        },
    )
