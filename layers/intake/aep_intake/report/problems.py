"""Errors as HTTP callers get them: problem details (RFC 9457) with a stable `type`."""

from collections.abc import Mapping
from math import ceil
from typing import Any
from urllib.parse import quote

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
    ObjectExists,
    Overtaken,
    Paused,
    Rejected,
    TryAgain,
)
from aep_intake.report.events import present

# The first that fits. 4xx: the caller can do something about it; 502: AEP or the credential fails.
STATUSES: Mapping[type[IntakeError], int] = {
    MalformedRequest: 400,
    AlreadyClaimed: 409,
    ObjectExists: 409,
    NeedsAttention: 409,
    NotEnded: 409,
    Overtaken: 409,
    BatchRefused: 502,
    Rejected: 422,
    NotYet: 409,
    Paused: 409,
    LeaseLost: 409,
    CredentialUnusable: 502,
    TryAgain: 503,
}
# With these AEP blames the request; with others, such as 403, it blames our credential.
ASKED_WRONGLY = frozenset({400, 404, 409, 413, 414, 415, 422})
RETRY_AFTER_S = 10  # if the error has no time of its own


def problem(status: int, reason: str, detail: str, **more: Any) -> dict[str, Any]:
    """A problem; `more`: extension members, left out if None."""
    return {
        "type": f"urn:aep-intake:problem:{reason}",
        "title": reason.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail[:2000],
    } | present(**more)


def explain(error: Exception, external_id: str | None = None) -> dict[str, Any]:
    """The problem of `error`. `external_id`: of the requested order, once it is known.

    An unforeseen error is a 500 without details: they are in the log.
    """
    if not isinstance(error, IntakeError):
        detail = "unforeseen: see the function's log"
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
            if status != 502:  # an operator must replace the credential first
                after = RETRY_AFTER_S if error.retry_after is None else error.retry_after
                more["retryAfter"] = max(ceil(after), 1)
            if external_id is not None:
                named = quote(external_id, safe="@")
                detail += (
                    f". If GET /batches/{named} knows the order, it continues by itself; "
                    "if not, nothing was started: repeat the request"
                )
    return problem(status, error.reason, detail, **more)
