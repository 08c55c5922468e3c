"""Calls to AEP: headers, tokens, and the meaning of its answers.

Facts: for the gateway's answers Adobe's open-source gateway (`api-gateway-request-validation`) and
the Platform troubleshooting page; for headers the authentication pages.
"""

import re
from collections.abc import Callable
from typing import Protocol

import requests

from aep_intake.adapters.adobe.credentials import Token
from aep_intake.adapters.adobe.http import (
    MAX_BODY_BYTES,
    Answer,
    NoAnswer,
    NotSent,
    Stream,
    clean,
    exchange,
)
from aep_intake.model.batches import Target
from aep_intake.model.errors import (
    BatchRefused,
    CredentialUnusable,
    IntakeError,
    PlatformUnavailable,
    TargetNotAllowed,
    TryAgain,
)
from aep_intake.model.values import dataclass

# The gateway's refusals of key, token, scope, address or organization: the request reached no
# service. Some are 401 and some 403; a 403 may also be a service's own.
_CREDENTIAL = frozenset(
    {"401013", "401014", "401015", "403000", "403003", "403010"}
    | {"403011", "403012", "403013", "403023", "403025", "403027"}
)
# The gateway's own failures: it could not find key, token or profile, or says "slow down".
_GATEWAY = frozenset({"503000", "503010", "503020", "503071"})

_HEADER = re.compile(r"[!-~]{1,200}")


class Tokens(Protocol):
    """The source of access tokens: Credentials."""

    def token(self, arn: str, refused: str | None = None) -> Token:
        """A token, different from `refused`."""


@dataclass(frozen=True, slots=True)
class AdobeAnswer:
    """AEP's answer. `code` and `message` are Adobe's, without our token, if it is not 2xx."""

    http: Answer
    code: str | None
    message: str
    request_id: str | None

    @property
    def status(self) -> int:
        return self.http.status

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refuses_credential(self) -> bool:
        return self.status == 401 or (self.status < 500 and self.code in _CREDENTIAL)

    @property
    def from_gateway(self) -> bool:
        return re.fullmatch(r"\d{6}", self.code or "") is not None

    @property
    def outcome_unknown(self) -> bool:
        """Whether a service may have carried out the request although it reports a failure."""
        refused = 400 <= self.status < 500 and self.status != 408
        return not (self.ok or refused or self.code in _GATEWAY)

    @property
    def not_found(self) -> bool:
        """Whether it is a service's 404, and not one of the gateway or a proxy's HTML."""
        explained = not self.http.body or isinstance(self.http.json(), dict)
        return self.status == 404 and explained and not self.from_gateway

    def __str__(self) -> str:
        code = f" {self.code}" if self.code else ""
        message = f": {self.message}" if self.message else ""
        request_id = f" (X-Request-Id {self.request_id})" if self.request_id else ""
        return f"AEP answered {self.status}{code}{message}{request_id}"


class Gateway:
    """AEP over HTTP, for a target's organization and sandbox.

    `url`: like `https://platform.adobe.io`. `now`: epoch milliseconds. `timeouts` in seconds, to
    connect and to answer. May be used from several threads. It repeats no call, except once a call
    whose token was refused.
    """

    def __init__(
        self,
        session: requests.Session,
        credentials: Tokens,
        url: str,
        now: Callable[[], int],
        timeouts: tuple[float, float],
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._url = url.rstrip("/")
        self._now = now
        self._timeouts = timeouts

    def call(
        self,
        method: str,
        path: str,
        target: Target,
        *,
        body: bytes | Stream | None = None,
        external_id: str | None = None,
        start_by: int | None = None,
        timeouts: tuple[float, float] | None = None,
        accept: str = "application/json",
        max_bytes: int = MAX_BODY_BYTES,
    ) -> AdobeAnswer:
        """AEP's answer, whatever it is. Raises NotSent, NoAnswer, TryAgain, TargetNotAllowed.

        `body` is JSON, or a stream of a file's bytes. `max_bytes`: of the answer.
        """
        for name, value in (("sandbox", target.sandbox), ("organization", target.ims_org)):
            if not _HEADER.fullmatch(value):
                raise TargetNotAllowed(f"{clean(value, limit=100)!r} cannot name a {name}")
        refused: str | None = None
        while True:
            token = self._credentials.token(target.credential, refused)
            if start_by is not None and self._now() > start_by:
                raise NotSent("getting a token took too long")
            headers = {
                "Authorization": f"Bearer {token.access_token}",
                "x-api-key": token.client_id,
                "x-gw-ims-org-id": target.ims_org,
                # Without it, the call goes to the default production sandbox.
                "x-sandbox-name": target.sandbox,
                "Accept": accept,
            }
            if isinstance(body, Stream):
                headers["Content-Type"] = "application/octet-stream"
            elif body is not None:
                headers["Content-Type"] = "application/json"
            if external_id is not None:
                # Not X-Request-Id, which by Adobe's documents must be new in every call.
                headers["x-correlation-id"] = external_id
            url = self._url + path
            answer = exchange(
                self._session,
                method,
                url,
                headers=headers,
                body=body,
                timeouts=timeouts or self._timeouts,
                max_bytes=max_bytes,
            )
            parsed = _parse(answer, token.access_token)
            if refused is not None or not parsed.refuses_credential:
                return parsed
            refused = token.access_token
            if isinstance(body, Stream):  # it can be sent only once; the next try gets a new token
                self._credentials.token(target.credential, refused)
                raise PlatformUnavailable("the token is no longer good", retry_after=0)

    def call_repeatable(
        self,
        method: str,
        path: str,
        target: Target,
        external_id: str | None,
        timeouts: tuple[float, float] | None = None,
        *,
        body: Stream | None = None,
        accept: str = "application/json",
        max_bytes: int = MAX_BODY_BYTES,
    ) -> AdobeAnswer:
        """`call`, for requests that are safe to repeat. Raises TryAgain or TargetNotAllowed."""
        try:
            return self.call(
                method,
                path,
                target,
                body=body,
                external_id=external_id,
                timeouts=timeouts,
                accept=accept,
                max_bytes=max_bytes,
            )
        except (NotSent, NoAnswer) as error:
            raise PlatformUnavailable(
                f"AEP did not answer: {error}", external_id=external_id
            ) from error

    def error_of(self, answer: AdobeAnswer, external_id: str | None = None) -> IntakeError:
        """The error of an answer that is not 2xx: Adobe's code decides before the HTTP status."""
        if answer.refuses_credential:
            return CredentialUnusable(str(answer), external_id=external_id)
        # "Could not read the profile" is a 403 with the code 503020.
        busy = re.fullmatch(r"(429|503)\d{3}", answer.code or "") or answer.status == 429
        if busy or answer.outcome_unknown:
            seconds = answer.http.retry_after(self._now())
            return PlatformUnavailable(str(answer), retry_after=seconds, external_id=external_id)
        return BatchRefused(
            str(answer),
            status=answer.status,
            error_code=answer.code,
            request_id=answer.request_id,
            external_id=external_id,
        )

    def retryable_error(self, answer: AdobeAnswer, external_id: str | None = None) -> TryAgain:
        """The error of a request that is correct: if AEP refuses it, a permission is missing."""
        error = self.error_of(answer, external_id)
        if isinstance(error, TryAgain):
            return error
        return CredentialUnusable(error.detail, external_id=external_id)


def _parse(answer: Answer, token: str) -> AdobeAnswer:
    """Adobe's errors have several forms: the gateway's, problem details, IMS's, HTML, nothing."""
    request_id = answer.headers.get("X-Request-Id")
    if request_id is not None:
        request_id = clean(request_id, secrets=(token,), limit=100)
    if 200 <= answer.status < 300:
        return AdobeAnswer(answer, None, "", request_id)
    content = answer.json()
    if not isinstance(content, dict):
        return AdobeAnswer(answer, None, f"{len(answer.body)} bytes, not JSON", request_id)
    kind = re.fullmatch(r"https?://ns\.adobe\.com/aep/errors/(.+)", str(content.get("type")))
    code = content.get("error_code") or (kind and kind[1])
    names = ("message", "title", "detail", "error", "error_description")
    message = ": ".join(str(content[name]) for name in names if content.get(name))
    return AdobeAnswer(
        answer,
        clean(str(code), secrets=(token,), limit=64) if code else None,
        clean(message, secrets=(token,)),
        request_id,
    )
