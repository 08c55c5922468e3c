"""Adobe's identity service and the gateway: who may call, and what is said to those who may not.

Sources: Adobe's server-to-server guides (`adobe-dev-console`), Adobe's IMS client for Go (error
bodies, `x-debug-id`, `Retry-After`), the Platform troubleshooting page (order and codes of the
gateway's refusals; the order is inferred).
"""

import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from .messages import Refused, Request, Response, gateway_error, json_response

# So that a test can search everything a program wrote for one string. Real tokens are JWTs.
TOKEN_PREFIX = "simulated-token-"
SCOPES = (
    "openid",
    "session",
    "AdobeID",
    "read_organizations",
    "additional_info.projectedProductContext",
)
ORG = re.compile(r"[0-9A-F]{24}@AdobeOrg")


@dataclass
class Client:
    """A credential of a Developer Console project. It can hold two secrets, both of which work.

    `entitled`: whether it has a product profile of Platform in its organization.
    """

    client_id: str
    secrets: frozenset[str] = field(repr=False)
    org: str
    scopes: frozenset[str] = frozenset(SCOPES)
    entitled: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError: a credential Developer Console would not make."""
        self.secrets, self.scopes = frozenset(self.secrets), frozenset(self.scopes)
        if len(self.secrets) > 2:
            raise ValueError("a credential holds at most two secrets")
        if not ORG.fullmatch(self.org):
            raise ValueError("an organization is 24 upper-case hex digits and @AdobeOrg")

    @property
    def user(self) -> str:
        """The technical account on whose behalf it acts."""
        return f"{self.client_id[:24].upper()}@techacct.adobe.com"


@dataclass(frozen=True)
class _Token:
    client_id: str
    expires: int


class Ims:
    """Clients, tokens and the checks the gateway makes with them."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.clients: dict[str, Client] = {}
        self.minted: Counter[str] = Counter()
        self._tokens: dict[str, _Token] = {}

    def revoke(self) -> None:
        """No token is good any more; clients find out with 401013."""
        self._tokens.clear()

    def token(self, request: Request, now: int, expires_in: int) -> Response:
        """`POST /ims/token/v1…v4`. `expires_in` in seconds."""
        form = dict(request.parameters)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if content_type == "application/x-www-form-urlencoded":
            form |= parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True)
        client = self.clients.get(form.get("client_id", ""))
        if client is None:
            return self._refusal("invalid_client", "invalid client_id parameter")
        if form.get("client_secret") not in client.secrets:
            return self._refusal("invalid_client", "invalid client_secret parameter")
        if form.get("grant_type") != "client_credentials":
            return self._refusal("unsupported_grant_type", "invalid grant_type parameter")
        # IMS wants commas; blanks between the names make one name nobody knows.
        if not set(form.get("scope", "").split(",")) <= client.scopes:
            return self._refusal("invalid_scope", "invalid scope parameter")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        self._tokens[token] = _Token(client.client_id, now + expires_in * 1000)
        self.minted[client.client_id] += 1
        return json_response(
            200,
            {"access_token": token, "token_type": "bearer", "expires_in": expires_in},
            {"x-debug-id": self._new_id(), "Cache-Control": "no-store"},
        )

    def _refusal(self, error: str, description: str) -> Response:
        # 400, not 401, even for a wrong secret.
        body = {"error": error, "error_description": description}
        return json_response(400, body, {"x-debug-id": self._new_id()})

    def admit(self, request: Request, now: int) -> Client:
        """The client a request comes from. Raises Refused, with the gateway's answers in order."""
        headers = request.headers
        key = headers.get("x-api-key", "").strip()
        if not key:
            raise Refused(gateway_error("403000"))
        client = self.clients.get(key)
        if client is None:
            raise Refused(gateway_error("403003"))
        authorization = headers.get("authorization", "").strip()
        if not authorization:
            raise Refused(gateway_error("403010"))
        scheme, _, value = authorization.partition(" ")
        token = self._tokens.get(value.strip())
        if scheme.lower() != "bearer" or token is None or now >= token.expires:
            raise Refused(gateway_error("401013"))
        if token.client_id != key:
            raise Refused(gateway_error("401014"))
        org = headers.get("x-gw-ims-org-id", "").strip()
        if not org:
            raise Refused(gateway_error("400003"))
        if org != client.org and ORG.fullmatch(org):
            raise Refused(gateway_error("403025"))
        if org != client.org or not client.entitled:
            raise Refused(gateway_error("403027"))
        return client
