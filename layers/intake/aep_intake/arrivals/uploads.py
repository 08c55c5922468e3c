"""HTTP requests for an upload: each is read completely or refused, before a URL is signed."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from aep_intake.arrivals import batch_requests
from aep_intake.model.errors import EmptyObject, KeyNotTaken, MalformedRequest
from aep_intake.model.files import Arrival
from aep_intake.model.values import dataclass
from aep_intake.routing.table import (
    Ignored,
    IsMarker,
    IsReady,
    OneBatch,
    RoutingTable,
    format_by_name,
)

# Of one PUT: https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html
UPLOAD_BYTES_MAX = 5 * 2**30
KEY_BYTES_MAX = 1024
URL_SECONDS = 900  # for which a URL is good
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["key", "length", "sha256"],
    "additionalProperties": False,
    "properties": {
        "key": {"type": "string", "minLength": 1},
        "length": {"type": "integer", "minimum": 0, "maximum": UPLOAD_BYTES_MAX},
        "sha256": {
            "type": "string",
            "pattern": "[0-9A-Fa-f]{64}|[0-9A-Za-z+/]{43}=",
            "hint": "SHA-256 as 64 hexadecimal digits, or in Base64",
        },
    },
}
# URLs cannot have these as they are: clients take such steps out of a path before they send it.
_STEPS = re.compile(r"(?:.*/)?\.{1,2}(?:/.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What somebody wants to PUT: a key, exactly so many bytes, with this checksum."""

    key: str
    length: int  # bytes
    sha256: str  # in Base64, as S3 wants it


def read(event: Mapping[str, Any]) -> UploadRequest:
    """The request in an event of API Gateway (REST, proxy integration). Raises MalformedRequest."""
    body = batch_requests.checked(batch_requests.document(event), SCHEMA)
    key, checksum = body["key"], body["sha256"]
    if len(key.encode()) > KEY_BYTES_MAX:
        raise MalformedRequest(f"key: it has more than {KEY_BYTES_MAX:,} bytes in UTF-8")
    if _STEPS.fullmatch(key):
        raise MalformedRequest("key: a part that is `.` or `..` does not survive in a URL")
    if len(checksum) == 64:
        checksum = base64.b64encode(bytes.fromhex(checksum)).decode()
    return UploadRequest(key, body["length"], checksum)


def route(
    request: UploadRequest, bucket: str, keys: re.Pattern[str], table: RoutingTable, now: int
) -> str:
    """The name of the route that will take the object as data.

    `keys`: what the stack's KeyPattern fits. `now`: epoch milliseconds. Raises NoRoute,
    KeyNotTaken, EmptyObject, FormatUnknown or TargetNotAllowed.
    """
    arrival = Arrival(bucket, request.key, None, "", None, request.length, now)
    if not keys.fullmatch(request.key):
        raise KeyNotTaken(
            f"the stack's KeyPattern does not fit the key {request.key!r}: choose another one"
        )
    match = table.match(arrival)
    if isinstance(match, Ignored):
        who = f"route `{match.route}`" if match.route else "the intake"
        why = "ignores it" if match.why == "route" else "leaves it out: it is never data"
        raise KeyNotTaken(f"key {request.key!r}: {who} {why}. Choose a key that a route takes")
    if isinstance(match.batching, IsMarker):
        raise KeyNotTaken(
            f"for route `{match.route}` the key {request.key!r} is a marker, which says that a "
            "folder is complete: put it into the bucket yourself, after the files"
        )
    if isinstance(match.batching, IsReady):
        raise KeyNotTaken(
            f"for route `{match.route}` the key {request.key!r} is that of a ready file, which "
            f"says that {match.batching.file!r} is complete: put it into the bucket yourself, "
            "after that"
        )
    # Nobody can look into it yet.
    if isinstance(match.batching, OneBatch) and "inputFormat" not in match.options:
        format_by_name(arrival.uri)
    if request.length == 0:
        raise EmptyObject("length: AEP fails a batch with an empty file: do not send one")
    return match.route
