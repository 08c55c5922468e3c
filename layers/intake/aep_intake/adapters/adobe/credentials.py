"""Adobe credentials: the secret in AWS Secrets Manager, and the IMS token minted with it.

Facts: Adobe's server-to-server guides (adobe-dev-console, `ServerToServerAuthentication`) for the
token request, the two secrets a credential can hold and the life of a token; Adobe's IMS clients
for its errors (a wrong secret is 400 `invalid_client`, not 401) and `x-debug-id`.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlencode

import requests
from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.adapters.adobe.http import Answer, NoAnswer, NotSent, clean, exchange
from aep_intake.model.errors import CredentialUnusable, PlatformUnavailable, TryAgain
from aep_intake.model.values import dataclass

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# What Adobe's own AEP samples ask for; the credential's page in Developer Console decides.
DEFAULT_SCOPES = "openid,session,AdobeID,read_organizations,additional_info.projectedProductContext"

_VISIBLE = re.compile(r"[!-~]{1,4096}")
_TOKEN = re.compile(r"[!-~]{1,16384}")

# A token is renewed so long before it expires, or a tenth of its life if that is less.
_RENEWAL_MARGIN_MS = 600_000
_REST_MS = 30_000  # no request to IMS after a failure, and after a renewal that AEP caused
_SHORT_REST_MS = 2_000  # the same if IMS or Secrets Manager was not available
# The rest doubles with each further failure: else a thousand workers with a broken secret ask IMS
# eight times a second. The maximum is short for the person who corrects the secret and waits.
_MAX_REST_MS = 120_000
_SECRET_MAX_AGE_MS = 60_000  # an older copy of the secret is read again before it is used
_START_WITHIN_MS = 10_000  # after the first request to IMS; later, no new one is sent
_QUICK_FAILURE_MS = 1_000  # a failure that came faster is repeated once, immediately

# Secrets Manager's own failures. For any other error an operator must act.
_TEMPORARY = re.compile(r"Throttl|TooManyRequests|Internal(Service|Failure)|Unavailable|Timeout")


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and who it speaks for. Times in epoch milliseconds."""

    access_token: str = field(repr=False)
    client_id: str
    ims_org: str
    renew_at: int
    expires: int


@dataclass(frozen=True, slots=True)
class Secret:
    """The content of a secret. `scopes` as IMS wants them: comma-separated, without blanks."""

    client_id: str
    client_secrets: tuple[str, ...] = field(repr=False)
    ims_org: str
    scopes: str


@dataclass(slots=True)
class _CredentialState:
    """What this worker knows about one credential. Written only under `lock`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    secret: Secret | None = None
    secret_read: int = 0
    token: Token | None = None
    # Class and text, not the error itself: its traceback would keep secrets alive.
    failure: tuple[type[TryAgain], str] | None = None
    failures: int = 0  # in a row
    rest_until: int = 0
    refused_until: int = 0


class Credentials:
    """Tokens of all credentials of the stack, kept across warm invocations.

    `ims_url`: like `https://ims-na1.adobelogin.com`. `now`: epoch milliseconds. `timeouts` in
    seconds, to connect and to answer. May be used from several threads: for each credential one
    thread at a time calls Secrets Manager and IMS, and the others wait for its result or error.
    """

    def __init__(
        self,
        secrets: "SecretsManagerClient",
        session: requests.Session,
        ims_url: str,
        now: Callable[[], int],
        *,
        timeouts: tuple[float, float] = (3.05, 5.0),
    ) -> None:
        self._secrets = secrets
        self._session = session
        self._token_url = f"{ims_url.rstrip('/')}/ims/token/v3"
        self._now = now
        self._timeouts = timeouts
        self._credentials: dict[str, _CredentialState] = {}
        self._lock = threading.Lock()
        self._minted = 0

    def ims_org(self, arn: str) -> str:
        """The organization (`…@AdobeOrg`) the credential belongs to.

        Raises CredentialUnusable or PlatformUnavailable.
        """
        known = self._known(arn)
        secret = known.secret
        if secret is None:
            with known.lock, self._failing_fast(known):
                secret = known.secret or self._read_secret(arn, known)
        return secret.ims_org

    def token(self, arn: str, refused: str | None = None) -> Token:
        """A token that is valid for a while.

        `refused`: the access token that AEP has just refused. The result is another one, minted now
        unless another thread has done so. Such renewals are at least 30 seconds apart.

        Raises CredentialUnusable or PlatformUnavailable.
        """
        known = self._known(arn)
        token, now = known.token, self._now()
        if token is not None and token.access_token != refused:
            if now < token.renew_at:
                return token
            if now < token.expires and known.lock.locked():
                return token  # another thread renews it before it expires
        with known.lock:
            return self._renew(arn, known, refused)

    def take_minted(self) -> int:
        """The number of tokens minted since the last call, for the metric."""
        with self._lock:
            minted, self._minted = self._minted, 0
        return minted

    def _known(self, arn: str) -> _CredentialState:
        with self._lock:
            return self._credentials.setdefault(arn, _CredentialState())

    def _renew(self, arn: str, known: _CredentialState, refused: str | None) -> Token:
        token, now = known.token, self._now()
        fallback = token if token is not None and token.access_token != refused else None
        if fallback is not None and now < fallback.renew_at:
            return fallback  # another thread was faster
        if token is not None and fallback is None and now < known.refused_until:
            raise CredentialUnusable(
                f"AEP refuses even a token IMS has just minted for {arn}",
                retry_after=(known.refused_until - now) / 1000,
            )
        try:
            with self._failing_fast(known):
                renewed = self._mint(arn, known)
        except TryAgain:
            if fallback is not None and self._now() < fallback.expires:
                return fallback
            raise
        if refused is not None and fallback is None:
            known.refused_until = now + _REST_MS
        known.token = renewed
        return renewed

    @contextmanager
    def _failing_fast(self, known: _CredentialState) -> Iterator[None]:
        now = self._now()
        if known.failure is not None and now < known.rest_until:
            kind, detail = known.failure
            raise kind(detail, retry_after=(known.rest_until - now) / 1000)
        try:
            yield
        except TryAgain as error:
            rest = _REST_MS if isinstance(error, CredentialUnusable) else _SHORT_REST_MS
            rest = min(rest << min(known.failures, 6), _MAX_REST_MS)
            known.failures += 1
            rest = max(rest, int(1000 * (error.retry_after or 0)))
            known.failure, known.rest_until = (type(error), error.detail), self._now() + rest
            raise
        known.failure, known.failures = None, 0

    def _mint(self, arn: str, known: _CredentialState) -> Token:
        started = self._now()
        secret, fresh = known.secret, False
        if secret is None or started - known.secret_read > _SECRET_MAX_AGE_MS:
            secret, fresh = self._read_secret(arn, known), True
        while True:
            refusal = ""
            for client_secret in secret.client_secrets:
                token, refusal = self._request_token(secret, client_secret, started)
                if token is not None:
                    with self._lock:
                        self._minted += 1
                    return token
            # It may have been rotated since we read it. Only AWSCURRENT counts: a rotation keeps
            # two secrets valid in one document, and an older version would hide a bad new one.
            current = secret if fresh else self._read_secret(arn, known)
            if current == secret:
                raise CredentialUnusable(f"IMS accepts no client secret of {arn}: {refusal}")
            secret, fresh = current, True

    def _read_secret(self, arn: str, known: _CredentialState) -> Secret:
        try:
            found = self._secrets.get_secret_value(SecretId=arn)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            detail = f"Secrets Manager does not give {arn}: {clean(code, limit=100)}"
            if _TEMPORARY.search(code):
                raise PlatformUnavailable(detail) from error
            raise CredentialUnusable(detail) from error
        except BotoCoreError as error:
            raise PlatformUnavailable(
                f"Secrets Manager cannot be reached for {arn}: {type(error).__name__}"
            ) from error
        try:
            secret = parse_secret(found.get("SecretString") or found.get("SecretBinary") or "")
        except CredentialUnusable as error:
            raise CredentialUnusable(f"{arn}: {error.detail}") from None
        known.secret, known.secret_read = secret, self._now()
        return secret

    def _request_token(
        self, secret: Secret, client_secret: str, started: int
    ) -> tuple[Token, str] | tuple[None, str]:
        """A token; or none, and how IMS refused this client secret."""
        form = {
            "grant_type": "client_credentials",
            "client_id": secret.client_id,
            "client_secret": client_secret,
            "scope": secret.scopes,
        }
        answer, requested_at = self._post(urlencode(form).encode(), started)
        document = answer.json()
        document = document if isinstance(document, dict) else {}
        if answer.status == 200:
            return _token(secret, document, requested_at), ""
        secrets = (client_secret, quote(client_secret), quote_plus(client_secret))
        error, description = document.get("error"), document.get("error_description")
        details = clean(f"{error}: {description}", secrets=secrets)
        message = f"IMS answered {answer.status} {details}{_debug_id(answer)}"
        if answer.status == 429:
            raise PlatformUnavailable(message, retry_after=answer.retry_after(self._now()))
        if answer.status == 408 or answer.status < 400:
            raise PlatformUnavailable(message)
        if error != "invalid_client":
            raise CredentialUnusable(message)
        return None, message

    def _post(self, form: bytes, started: int) -> tuple[Answer, int]:
        """IMS's answer below 500, and when the request was sent. A repetition is harmless."""
        message = "IMS is too slow"
        for _ in range(2):
            requested_at = self._now()
            if requested_at - started > _START_WITHIN_MS:
                break
            try:
                answer = exchange(
                    self._session,
                    "POST",
                    self._token_url,
                    headers={
                        "Accept": "application/json",
                        # In the body: query strings end up in logs.
                        "Content-Type": "application/x-www-form-urlencoded",
                    },
                    body=form,
                    timeouts=self._timeouts,
                )
            except (NotSent, NoAnswer) as error:
                message = f"IMS did not answer: {error}"
            else:
                if answer.status < 500:
                    return answer, requested_at
                message = f"IMS answered {answer.status}{_debug_id(answer)}"
            if self._now() - requested_at > _QUICK_FAILURE_MS:
                break
        raise PlatformUnavailable(message)


def _debug_id(answer: Answer) -> str:
    debug_id = answer.headers.get("x-debug-id")
    return f" (x-debug-id {clean(debug_id, limit=100)})" if debug_id else ""


def _token(secret: Secret, document: dict[str, Any], requested_at: int) -> Token:
    access_token, life = document.get("access_token"), document.get("expires_in")
    if (
        not isinstance(access_token, str)
        or not _TOKEN.fullmatch(access_token)
        or not isinstance(life, int | float)
        or not 0 < life < 1e9
    ):
        raise PlatformUnavailable("IMS answered 200 without a token and its life in seconds")
    life_ms = int(life * 1000)
    expires = requested_at + life_ms
    renew_at = expires - min(_RENEWAL_MARGIN_MS, life_ms // 10)
    return Token(access_token, secret.client_id, secret.ims_org, renew_at, expires)


def parse_secret(text: str | bytes) -> Secret:
    """Read a secret in any form that Adobe gives, or our own.

    Developer Console's project file (`project.workspace.details.credentials[]` with an
    `oauth_server_to_server`), its credential file (`CLIENT_ID`, `CLIENT_SECRETS`, `ORG_ID`,
    `SCOPES`), or our own: `client_id`, `client_secret` or `client_secrets`, `ims_org`, `scopes`
    (a list, or names separated by commas or blanks; left out: DEFAULT_SCOPES).

    Raises CredentialUnusable: names the fields that are missing or malformed, never a value.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        # Not chained: the error holds the whole text.
        raise CredentialUnusable("the secret is not JSON") from None
    if not isinstance(document, dict):
        raise CredentialUnusable("the secret is not a JSON object")
    if "project" in document:
        document = _project_credential(document["project"])
    given = {name.lower(): value for name, value in document.items() if value not in (None, "", [])}

    def pick(*names: str) -> Any:
        return next((given[name] for name in names if name in given), None)

    client_id = pick("client_id", "api_key")
    client_secrets = pick("client_secrets", "client_secret")
    if isinstance(client_secrets, str):
        client_secrets = [client_secrets]
    ims_org = pick("ims_org", "ims_org_id", "org_id")
    scopes = pick("scopes", "scope") or DEFAULT_SCOPES
    if isinstance(scopes, str):
        scopes = scopes.replace(",", " ").split()
    fields = (
        ("client_id", client_id, _is_visible(client_id)),
        ("client_secret", client_secrets, _are_visible(client_secrets)),
        ("ims_org", ims_org, _is_visible(ims_org) and ims_org.endswith("@AdobeOrg")),
        ("scopes", scopes, _are_visible(scopes)),
    )
    if missing := [name for name, value, _ in fields if value is None]:
        raise CredentialUnusable(f"the secret lacks {', '.join(missing)}")
    if malformed := [name for name, _, good in fields if not good]:
        raise CredentialUnusable(f"malformed in the secret: {', '.join(malformed)}")
    return Secret(client_id, tuple(client_secrets), ims_org, ",".join(scopes))


def _project_credential(project: object) -> dict[str, Any]:
    """The credential of a Developer Console project, as flat as the other shapes."""
    for credential in _at_path(project, list, "workspace", "details", "credentials") or ():
        found = _at_path(credential, dict, "oauth_server_to_server")
        if found is not None:
            return {**found, "ims_org_id": _at_path(project, str, "org", "ims_org_id")}
    raise CredentialUnusable(
        "the secret lacks project.workspace.details.credentials[].oauth_server_to_server"
    )


def _at_path[T](value: object, kind: type[T], *path: str) -> T | None:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, kind) else None


def _is_visible(value: object) -> bool:
    """Fit for a header or a form: a newline in a client id could write headers of its own."""
    return isinstance(value, str) and _VISIBLE.fullmatch(value) is not None


def _are_visible(value: object) -> bool:
    # Adobe keeps at most two secrets and lists some ten scopes; hundreds would hammer IMS.
    return isinstance(value, list) and 0 < len(value) <= 50 and all(map(_is_visible, value))
