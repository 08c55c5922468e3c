"""HTTP requests for a batch: each is read completely or refused, then gets its batch.

The body is that of Adobe's own create request (`batch-ingestion.yaml`, `createBatch`), plus
`objects`. An unknown member is refused: without it the caller would get another batch than wanted.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aep_intake.create import create
from aep_intake.create.ports import OrderLedger, OrderPorts
from aep_intake.model import records, strict_json
from aep_intake.model.batches import Target
from aep_intake.model.errors import (
    DatasetNotFound,
    FormatMismatch,
    FormatUnknown,
    MalformedRequest,
    Paused,
    Rejected,
    TargetNotAllowed,
)
from aep_intake.model.files import Arrival, digest
from aep_intake.model.json_schema import dotted, faults
from aep_intake.model.orders import EXTERNAL_ID, ORDER_PREFIX, RESERVED_PREFIXES, Demands, Order
from aep_intake.model.pauses import pause_of
from aep_intake.model.progress import Outcome, OutcomeKind, Record
from aep_intake.model.values import dataclass
from aep_intake.routing import routes
from aep_intake.routing.table import Match, format_by_name
from aep_intake.routing.targets import Targets

BODY_BYTES_MAX = 256 * 1024
OPTIONS_BYTES_MAX = 32 * 1024
PAUSED_S = 60  # until a request for what is paused is worth repeating

_ROUTE: Mapping[str, Any] = routes.SCHEMA["properties"]["routes"]["items"]["properties"]
_ID = {"type": "string", "pattern": "[!-~]{1,200}", "hint": "1 to 200 visible ASCII characters"}
_IDS = {"type": "array", "minItems": 1, "items": _ID}
ATTEMPT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"evenIfOvertaken": {"type": "boolean"}},
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["datasetId"],
    "additionalProperties": False,
    "properties": {
        "datasetId": {
            "type": "string",
            "pattern": "[0-9A-Za-z_-]{1,256}",
            "hint": "1 to 256 letters, digits, `_` or `-`",
        },
        "inputFormat": {**_ROUTE["inputFormat"], "type": "object"},
        "externalId": {
            "type": "string",
            "pattern": EXTERNAL_ID.pattern,
            "hint": "1 to 60 letters, digits or `._-/@`, and not end in a dot and digits",
        },
        "replay": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "predecessors": _IDS,
                "predecessorsByExternalId": _IDS,
                "reason": {"type": "string", "minLength": 1, "maxLength": 200},
            },
        },
        "tags": _ROUTE["tags"],
        "enableErrorDiagnostics": _ROUTE["enableErrorDiagnostics"],
        "partialIngestionPercent": _ROUTE["partialIngestionPercent"],
        "objects": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    },
}
_NOT_OPTIONS = {"datasetId", "externalId", "objects"}

_URI = re.compile(r"s3://([0-9A-Za-z][0-9A-Za-z._-]{2,254})/(.+)", re.DOTALL)
_VISIBLE = re.compile(r"[!-~]{1,256}")
_PRINTABLE = re.compile(r"[ -~]{1,255}")

# Finds the present versions of objects, each given as bucket and key, and looks at each: the file,
# and the options of its batch. Raises Rejected or TryAgain.
type LookAt = Callable[
    [tuple[tuple[str, str], ...], Match], tuple[tuple[Arrival, Mapping[str, Any]], ...]
]


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A well-formed request, which this stack may still not allow."""

    external_id: str
    dataset_id: str
    options: Mapping[str, Any]  # members of Adobe's request, `inputFormat` always among them
    objects: tuple[tuple[str, str], ...]  # bucket and key
    # None: the stack's default.
    sandbox: str | None
    ims_org: str | None
    fingerprint: str  # differs if another request has the same external id


def read(event: Mapping[str, Any], new_id: str) -> BatchRequest:
    """The request in an event of API Gateway (REST, proxy integration).

    `new_id`: unique, for a request without an id or key of its own. Raises MalformedRequest, or
    FormatUnknown if the objects' names do not show one common format.
    """
    body = _body(event)
    sandbox = _header(event, "x-sandbox-name", _VISIBLE)
    ims_org = _header(event, "x-gw-ims-org-id", _VISIBLE)
    objects = tuple(
        _location(uri, f"objects[{n}]") for n, uri in enumerate(body.get("objects", ()))
    )
    if len(set(objects)) < len(objects):
        raise MalformedRequest("objects: one of them is named twice")
    options = {name: value for name, value in body.items() if name not in _NOT_OPTIONS}
    if "inputFormat" not in options:
        options["inputFormat"] = _format_of(objects)
    if len(json.dumps(options, ensure_ascii=False).encode()) > OPTIONS_BYTES_MAX:
        raise MalformedRequest(
            f"all members but `objects` take at most {OPTIONS_BYTES_MAX:,} bytes"
        )
    return BatchRequest(
        external_id=_external_id(event, body, new_id),
        dataset_id=body["datasetId"],
        options=options,
        objects=objects,
        sandbox=sandbox,
        ims_org=ims_org,
        fingerprint=digest("asked", json.dumps([body, sandbox, ims_org], sort_keys=True)),
    )


def place(event: Mapping[str, Any]) -> tuple[str, str]:
    """Bucket and key of the object that a GET asks about. Raises MalformedRequest.

    API Gateway has decoded the query string, a `+` as a space.
    """
    values = (event.get("multiValueQueryStringParameters") or {}).get("uri") or []
    last = (event.get("queryStringParameters") or {}).get("uri")
    given = {*values, *(() if last is None else (last,))}
    if len(given) != 1:
        raise MalformedRequest(
            "ask for one object: /objects?uri=s3://bucket/key, with the uri percent-encoded"
        )
    return _location(given.pop(), "uri")


def carry_out(
    request: BatchRequest,
    ports: OrderPorts,
    targets: Targets,
    buckets: tuple[str, ...],
    look_at: LookAt,
) -> Outcome:
    """Give a request its batch.

    A repeated request gets the order that exists, even if its objects are gone or its sandbox is no
    longer allowed. Raises Rejected or TryAgain: Paused, if nothing of it is there yet.
    """
    current = ports.ledger.get(request.external_id)
    if current is not None and current.never_created:
        current = None
    try:
        order = _order(request, targets, buckets, look_at, current=current, ledger=ports.ledger)
    except Rejected:
        if current is None:
            raise
        order = replace(current.order, fingerprint=request.fingerprint)
    if current is None:  # an order that nobody asks for again would get a batch in days
        _check_not_paused(order, ports)
    return with_batch(create.create_batch(order, ports), ports)


def with_batch(outcome: Outcome, ports: OrderPorts) -> Outcome:
    """The outcome, if its order has a batch. Raises Paused or LedgerUnavailable."""
    if outcome.kind is OutcomeKind.PAUSED:
        order = outcome.record.order
        _check_not_paused(order, ports)
        raise Paused("it was paused just now", external_id=order.external_id)
    return outcome


def _check_not_paused(order: Order, ports: OrderPorts) -> None:
    pause = pause_of(order, ports.pauses())
    if pause is not None:
        raise Paused(str(pause), retry_after=PAUSED_S, external_id=order.external_id)


def _order(
    request: BatchRequest,
    targets: Targets,
    buckets: tuple[str, ...],
    look_at: LookAt,
    *,
    current: Record | None,
    ledger: OrderLedger,
) -> Order:
    if len(request.objects) > ledger.files_max:
        raise MalformedRequest(f"objects: at most {ledger.files_max}, not {len(request.objects)}")
    org = request.ims_org
    target = targets.target(
        credential=None if org is None else targets.credential_of_org(org),
        sandbox=request.sandbox,
        dataset_id=request.dataset_id,
    )
    profile = current is None and _feeds_profile(target, targets)
    for n, (bucket, _) in enumerate(request.objects):
        if bucket not in buckets:
            raise TargetNotAllowed(
                f"objects[{n}]: bucket {bucket!r} is not one of this stack's: "
                "see its parameter SourceBucketNames"
            )
    if current is None:
        files, options = _looked_at(request, look_at)
    else:
        files, options = current.order.files, current.order.options
    if len(records.listed(files).encode()) > ledger.files_bytes_max:
        raise MalformedRequest(
            f"objects: with their names they take over {ledger.files_bytes_max:,} bytes"
        )
    return Order(
        request.external_id,
        target,
        options,
        files,
        trigger="request",
        fingerprint=request.fingerprint,
        profile=profile,
    )


def _looked_at(
    request: BatchRequest, look_at: LookAt
) -> tuple[tuple[Arrival, ...], Mapping[str, Any]]:
    """The objects, each looked at as a file with a batch of its own, and the options of the batch.

    Raises Rejected or TryAgain.
    """
    bad_rows = None if "partialIngestionPercent" in request.options else 0
    demands = Demands(bad_rows=bad_rows)
    options = request.options
    match = Match("request", "", options=options, demands=demands, of_request=True)
    looked = look_at(request.objects, match)
    if not looked:
        return (), request.options
    first, options = looked[0]
    for file, other in looked:
        if other != options:
            raise FormatMismatch(
                f"{first.uri} and {file.uri} have different layouts, "
                f"{options['inputFormat']} and {other['inputFormat']}; request a batch for each"
            )
    return tuple(file for file, _ in looked), options


def _feeds_profile(target: Target, targets: Targets) -> bool:
    """Whether the dataset feeds Profile. Raises TargetNotAllowed for one of Adobe's own."""
    try:
        dataset = targets.open_dataset(target)
    except DatasetNotFound:  # AEP refuses it in its own words, and the ledger keeps them
        return False
    return dataset is not None and dataset.profile


def _body(event: Mapping[str, Any]) -> dict[str, Any]:
    body = document(event)
    match body:
        case {"inputFormat": {"format": str(name)}}:  # Adobe's own pages write JSON and json
            body["inputFormat"]["format"] = name.lower()
    found = checked(body, SCHEMA)
    for name in found.get("tags", ()):
        if not _PRINTABLE.fullmatch(name) or routes.TAKEN_TAG.fullmatch(name):
            raise MalformedRequest(f"tags: the name {ascii(name)[:100]} is taken, or cannot be one")
    return found


def even_if_overtaken(event: Mapping[str, Any]) -> bool:
    """Whether another attempt is wanted though newer versions are loaded. Raises MalformedRequest.

    A request for one needs no body.
    """
    if not event.get("body"):
        return False
    return bool(checked(document(event), ATTEMPT_SCHEMA).get("evenIfOvertaken"))


def document(event: Mapping[str, Any]) -> Any:
    """The JSON in the body of a request. Raises MalformedRequest."""
    kind = _header(event, "content-type", _PRINTABLE)
    if kind is not None and kind.partition(";")[0].strip().lower() != "application/json":
        raise MalformedRequest(f"Content-Type is {kind!r}; it should be application/json")
    text = event.get("body") or ""
    try:
        encoded = event.get("isBase64Encoded")
        data = base64.b64decode(text, validate=True) if encoded else text.encode()
        if len(data) > BODY_BYTES_MAX:
            raise MalformedRequest(
                f"the body has {len(data):,} bytes, of at most {BODY_BYTES_MAX:,}"
            )
        return strict_json.loads(data.decode())
    except ValueError as error:
        raise MalformedRequest(f"the body cannot be read as JSON: {error}") from None


def checked(body: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    """`body`, if it is as `schema` says. Raises MalformedRequest, which names the member."""
    for path, problem in faults(body, schema, ()):
        where = dotted(path) or "the body"
        raise MalformedRequest(f"{where[:200]}: {problem[:200]}")
    found: dict[str, Any] = body
    return found


def _external_id(event: Mapping[str, Any], body: Mapping[str, Any], new_id: str) -> str:
    key = _header(event, "idempotency-key", _PRINTABLE)
    given: str | None = body.get("externalId")
    if key is None and given is None:
        return f"{ORDER_PREFIX}{new_id}"
    if given is None:
        return f"{ORDER_PREFIX}{digest('request', _caller(event), key or '')}"
    if key is not None:
        raise MalformedRequest(
            "send either `externalId` or an Idempotency-Key, not both: either makes it safe to "
            "repeat the request, and the external id would be made from the key"
        )
    if given.startswith(RESERVED_PREFIXES):
        ours = ", ".join(f"`{prefix}`" for prefix in RESERVED_PREFIXES)
        raise MalformedRequest(f"externalId: it must not start with {ours}, which the intake uses")
    return given


def _caller(event: Mapping[str, Any]) -> str:
    """The caller by IAM. All sessions of a role are one caller: a retry may use a new session."""
    identity = (event.get("requestContext") or {}).get("identity") or {}
    arn = identity.get("userArn") or ""
    if ":assumed-role/" in arn:
        return str(arn.rpartition("/")[0])
    # `caller` of a role is like AROAEXAMPLE:session.
    caller = (identity.get("caller") or "").partition(":")[0]
    return str(arn or caller or identity.get("accountId") or "")


def _header(event: Mapping[str, Any], wanted: str, form: re.Pattern[str]) -> str | None:
    values = {value for name, value in (event.get("headers") or {}).items() if _is(name, wanted)}
    for name, several in (event.get("multiValueHeaders") or {}).items():
        if _is(name, wanted):
            values.update(several)
    if not values:
        return None
    if len(values) > 1:
        raise MalformedRequest(f"the header {wanted} is given with different values")
    [value] = values
    # An empty header is more likely a mistake than a wish for the default.
    if not form.fullmatch(value):
        raise MalformedRequest(f"the header {wanted} is empty, too long, or not printable ASCII")
    return str(value)


def _is(name: str, wanted: str) -> bool:
    return name.lower() == wanted


def _location(uri: str, where: str) -> tuple[str, str]:
    parts = _URI.fullmatch(uri)
    # Lone surrogates, which JSON can hold, are in no key: those are UTF-8.
    if parts is None or len(parts[2].encode(errors="replace")) > 1024:
        raise MalformedRequest(
            f"{where}: {ascii(uri)[:200]} is not s3://bucket/key, the key as it is in S3 "
            "(not URL-encoded)"
        )
    return parts[1], parts[2]


def _format_of(objects: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The format that all names show; parquet, Adobe's own default, if there are none."""
    formats = [format_by_name(f"s3://{bucket}/{key}") for bucket, key in objects]
    if not formats:
        return {"format": "parquet"}
    if any(found != formats[0] for found in formats):
        raise FormatUnknown("the objects' names show different formats: give `inputFormat`")
    return formats[0]
