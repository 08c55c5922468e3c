"""Errors as an HTTP caller meets them: problem details (RFC 9457), their `type` stable."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from aep_intake.model.errors import (
    AlreadyClaimed,
    BatchRefused,
    CredentialUnusable,
    IntakeError,
    LeaseLost,
    MalformedRequest,
    NeedsAttention,
    NotEnded,
    NotYet,
    Rejected,
    TryAgain,
)

# The first that fits. 4xx: the caller can do something about it; 502: what lies behind us says no.
STATUSES: Mapping[type[IntakeError], int] = {
    MalformedRequest: 400,
    AlreadyClaimed: 409,
    NeedsAttention: 409,
    NotEnded: 409,
    BatchRefused: 502,
    Rejected: 422,
    NotYet: 409,
    LeaseLost: 409,
    CredentialUnusable: 502,
    TryAgain: 503,
}
# With these AEP finds fault with what was asked; with others, such as 403, with who asked: us.
ASKED_WRONGLY = frozenset({400, 404, 409, 413, 414, 415, 422})
RETRY_AFTER = 10  # seconds, where nobody said how long


def problem(status: int, reason: str, detail: str, **more: Any) -> dict[str, Any]:
    """A problem; `more` are extension members, left out where None."""
    told = {name: value for name, value in more.items() if value is not None}
    return {
        "type": f"urn:aep-intake:problem:{reason}",
        "title": reason.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail[:2000],
    } | told


def explain(error: Exception, external_id: str | None = None) -> dict[str, Any]:
    """The problem that `error` is. `external_id`: of the order that was asked for, once known.

    An error nobody foresaw is 500 and says nothing of itself: it is in the log.
    """
    if not isinstance(error, IntakeError):
        detail = "unforeseen: the function's log says more"
        return problem(500, "internal-error", detail, externalId=external_id)
    status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
    detail, more = error.detail, dict[str, Any](externalId=external_id)
    match error:
        case AlreadyClaimed():
            more |= {"claimed": {file.uri: owner for file, owner in error.claimed.items()}}
        case BatchRefused():
            more |= {
                "aepStatus": error.status,
                "aepErrorCode": error.error_code,
                "aepRequestId": error.request_id,
            }
            if error.status in ASKED_WRONGLY:
                status = 422
        case TryAgain():
            if status != 502:  # a credential wants an operator first
                after = RETRY_AFTER if error.retry_after is None else error.retry_after
                more["retryAfter"] = max(ceil(after), 1)
            if external_id is not None:
                detail += (
                    f". If GET /batches/{external_id} knows the order, it goes on by itself; "
                    "if not, nothing was begun: ask again"
                )
    return problem(status, error.reason, detail, **more)
