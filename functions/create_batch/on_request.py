"""API Gateway → a batch or an upload's URL for a request, or the status of a batch or a file."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import quote, unquote

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.arrivals import requests, uploads
from aep_intake.clock.parking import ARRIVALS
from aep_intake.create import create, ports
from aep_intake.create.attempts import latest
from aep_intake.model.errors import (
    ObjectExists,
    PlatformUnavailable,
    Rejected,
    StorageUnavailable,
    TargetNotAllowed,
    TooLarge,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.outcomes import attempt
from aep_intake.model.progress import Outcome, OutcomeKind, Record
from aep_intake.model.times import iso
from aep_intake.report import status, telemetry
from aep_intake.report.problems import explain, problem
from aep_intake.report.status import JsonObject
from aep_intake.report.telemetry import logger, metrics
from aep_intake.routing.globs import compile_wildcard
from aep_intake.routing.routes import Ignored, Match
from aep_intake.settings import Settings
from aep_intake.wiring.request import Requesting
from aws_lambda_powertools.utilities.typing import LambdaContext

LOOK_AT_S = 6  # for all objects together: a POST must start within eight seconds
FILES_CHECKED = 500  # of an order that gets another attempt: a query each
ASK_AEP_S = 10  # for all batches of an answer together

type Response = dict[str, Any]

worker = Requesting(Settings.of("on_request")).prepare(
    "ledger", "organizations", "adobe", "announcer"
)
wanted_keys = compile_wildcard(worker.settings.key_pattern)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Response:
    """Answer one request; every failure is an answer, too."""
    telemetry.count("Requests")
    match event["httpMethod"], event["resource"]:
        case "POST", "/batches" | "/data/foundation/import/batches":
            # The latter is Adobe's: a curl of its pages needs another host and signature alone.
            response = _create(event, context)
        case "POST", "/uploads":
            response = _upload(event, context)
        case "POST", "/batches/{id}/attempts":
            response = _next_attempt(event, context)
        case "GET", "/batches":
            response = _list(event, context)
        case "GET", "/batches/{id}":
            response = _batch_status(event, context)
        case "GET", "/objects":
            response = _object_status(event, context)
        case _:
            detail = (
                "only /batches, /batches/{id}, /batches/{id}/attempts, /objects and /uploads exist"
            )
            response = _problem(problem(404, "not-found", detail))
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())
    return response


def _create(event: Mapping[str, Any], context: LambdaContext) -> Response:
    request = attempt(requests.read, event, uuid.uuid4().hex)
    if isinstance(request, Exception):
        _report(context.aws_request_id, request)
        return _problem(explain(request))
    result = attempt(_carry_out, request, context)
    _report(request.external_id, result)
    if isinstance(result, Exception):
        return _problem(explain(result, request.external_id))
    return _made(event, result)


def _upload(event: Mapping[str, Any], context: LambdaContext) -> Response:
    """Answer with a URL for one PUT. The answer is a credential: it is not logged."""
    signed = attempt(_sign_upload, event)
    if isinstance(signed, Exception):
        _report(context.aws_request_id, signed)
        return _problem(explain(signed))
    logger.info("upload signed", extra={"uri": signed["uri"], "route": signed["route"]})
    return _response(200, signed, {"Cache-Control": "no-store"})


def _sign_upload(event: Mapping[str, Any]) -> JsonObject:
    wanted = uploads.read(event)
    if worker.settings.landing_role == "none":
        raise TargetNotAllowed(
            "this deployment takes objects from existing buckets (SourceBucketNames), and has no "
            "landing bucket of its own: put the object into one of them"
        )
    bucket = worker.settings.source_buckets[0]
    route = uploads.route(wanted, bucket, wanted_keys, worker.tables.current(), worker.now())
    uri = f"s3://{bucket}/{wanted.key}"
    if worker.objects.exists(bucket, wanted.key):
        raise ObjectExists(
            f"{uri!r} is there already, and an upload never overwrites: choose another key"
        )
    url, headers = worker.upload_urls.sign(bucket, wanted)
    until = iso(worker.now() + uploads.URL_SECONDS * 1000)
    answer = {"method": "PUT", "url": url, "headers": headers, "expiresAt": until}
    return answer | {"uri": uri, "route": route}


def _next_attempt(event: Mapping[str, Any], context: LambdaContext) -> Response:
    """Start one more attempt of an order whose batch ended without data."""
    wanted = _wanted(event)
    record = attempt(status.known, wanted, worker.ledger)
    if record is None:
        return _problem(problem(404, "not-found", "no order has this external id, or this batch"))
    if isinstance(record, Exception):
        _report(context.aws_request_id, record)
        return _problem(explain(record))
    external_id = record.order.external_id
    result = attempt(_start_next_attempt, record, event, context)
    _report(external_id, result)
    if isinstance(result, Exception):
        return _problem(explain(result, external_id))
    return _made(event, result)


def _wanted(event: Mapping[str, Any]) -> str:
    """The id in the path; a caller's may have slashes, which API Gateway leaves encoded."""
    return unquote((event.get("pathParameters") or {}).get("id") or "")


def _batches(event: Mapping[str, Any]) -> str:
    """The path of all batches as the caller sees it, with the stage or a custom domain's prefix."""
    path: str = (event.get("requestContext") or {}).get("path") or event["path"]
    prefix = path.partition(event["resource"].partition("/{")[0])[0]
    return f"/{prefix.strip('/')}/batches".replace("//", "/")


def _report(correlation_id: str, result: Outcome | Exception) -> None:
    """As for arrivals, but rejected requests have a metric of their own."""
    if isinstance(result, Rejected):
        telemetry.count("RequestsRejected", result.reason)
        why = {"correlation_id": correlation_id, "reason": result.reason, "why": str(result)}
        logger.warning("rejected", extra=why)
    else:
        telemetry.report(correlation_id, result, None)


def _made(event: Mapping[str, Any], outcome: Outcome) -> Response:
    record = outcome.record
    here, batch = quote(_batches(event), errors="replace"), quote(record.batch_id or "", safe="")
    headers = {
        "Location": f"{here}/{batch}",
        "X-External-Id": record.order.external_id,
    }
    if outcome.kind is OutcomeKind.DUPLICATE:
        headers["Idempotency-Replayed"] = "true"
    # Catalog's objects do not hold their own id.
    body = {**(record.batch or {}), "id": record.batch_id}
    return _response(200 if outcome.kind is OutcomeKind.DUPLICATE else 201, body, headers)


def _carry_out(request: requests.BatchRequest, context: LambdaContext) -> Outcome:
    buckets = worker.settings.source_buckets
    ports = _create_ports(context)
    return requests.carry_out(request, ports, worker.targets, buckets, _look_at)


def _start_next_attempt(
    record: Record, event: Mapping[str, Any], context: LambdaContext
) -> Outcome:
    ports = _create_ports(context)
    prepared = None if requests.even_if_overtaken(event) else _not_overtaken
    last = latest(record, worker.ledger) or record
    outcome = worker.parking.done_again(
        lambda: create.start_next_attempt(record.order.external_id, ports, prepared=prepared),
        (ARRIVALS, "order", last.order.external_id),
        (ARRIVALS, "file", record.order.root),  # if AEP refused it before it was an order's
    )
    return requests.with_batch(outcome, ports)


def _not_overtaken(order: Order) -> Order:
    """The same order, unless a newer version of a file, or its bytes, are loaded or under way."""
    from aep_intake.arrivals.versions import check_not_overtaken  # noqa: PLC0415 - few need it

    files = worker.ledger.files(order) if order.line is None else ()  # which has its newest one
    if len(files) > FILES_CHECKED:
        raise TooLarge(
            f"{len(files):,} files take a request too long to check for newer versions: use "
            "aep-intake redrive, or say evenIfOvertaken"
        )
    check_not_overtaken(files, order.target, worker.versions, worker.side_by_side)
    return order


def _create_ports(context: LambdaContext) -> ports.OrderPorts:
    """Requests do not wait for their turn: the API's own throttle holds them back."""
    return worker.create(context, worker.pace.count)


def _look_at(
    objects: tuple[tuple[str, str], ...], match: Match
) -> tuple[tuple[Arrival, Mapping[str, Any]], ...]:
    """The present versions of objects, looked at side by side.

    Raises as `Objects.arrival` and `Checks.checked`.
    """
    if not objects:
        return ()
    pool = ThreadPoolExecutor(worker.settings.delivery_concurrency)
    try:
        checks = worker.checks
        looked = pool.map(
            lambda place: checks.checked(worker.objects.arrival(*place), match),
            objects,
            timeout=LOOK_AT_S,
        )
        return tuple(looked)
    except TimeoutError:
        raise StorageUnavailable("S3 takes too long to answer about the objects") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _batch_status(event: Mapping[str, Any], context: LambdaContext) -> Response:
    wanted = _wanted(event)
    unknown = "no order has this external id, or this batch"
    return _status(lambda: status.of_batch(wanted, _ports()), lambda: unknown, context)


def _list(event: Mapping[str, Any], context: LambdaContext) -> Response:
    """Batches by route, day and state. What lists them is loaded by who asks for a list alone."""
    from aep_intake.report import listing  # noqa: PLC0415

    if not worker.settings.journal_days:
        detail = "this deployment has no journal (parameter JournalDays), so it lists no batches"
        return _problem(problem(404, "not-found", detail))
    asked = event.get("queryStringParameters") or {}
    ports = listing.ListingPorts(worker.journal, worker.listed, _ports())
    answer = attempt(
        lambda: listing.batches(listing.read(asked, worker.now()), worker.now(), ports)
    )
    if isinstance(answer, Exception):
        _report(context.aws_request_id, answer)
        return _problem(explain(answer))
    return _response(200, answer, {})


def _object_status(event: Mapping[str, Any], context: LambdaContext) -> Response:
    place = attempt(requests.place, event)
    if isinstance(place, Exception):
        _report(context.aws_request_id, place)
        return _problem(explain(place))
    bucket, key = place
    if bucket not in worker.settings.source_buckets:
        detail = f"{bucket} is not a bucket of this deployment: see its parameter SourceBucketNames"
        return _problem(problem(404, "not-found", detail))
    return _status(
        lambda: status.of_object(bucket, key, _ports()), lambda: _why_unknown(bucket, key), context
    )


def _why_unknown(bucket: str, key: str) -> str:
    """Why the ledger knows nothing of an object: what no route takes leaves no trace there."""
    found = attempt(
        lambda: worker.tables.current().match(Arrival(bucket, key, None, "", None, 1, 0))
    )
    if not isinstance(found, Ignored):
        return "no event of this object has come, or it came longer ago than the ledger remembers"
    if found.why == "not-data":
        return "by its name it is never data, so it is left out"
    return f"rule `{found.route}` leaves it out"


def _status(
    ask: Callable[[], JsonObject | None], unknown: Callable[[], str], context: LambdaContext
) -> Response:
    answer = attempt(lambda: (ask(), _restored()))
    if isinstance(answer, Exception):
        _report(context.aws_request_id, answer)
        return _problem(explain(answer))
    found, restored = answer
    if found is None:
        forgotten = (
            f"; or the ledger, which was restored ({restored}), has forgotten it: send the events "
            "of that time again, and the intake finds their batches in AEP"
        )
        return _problem(problem(404, "not-found", unknown() + (forgotten if restored else "")))
    if restored:
        found = found | {"ledgerRestoredAt": restored}
    headers = {"X-External-Id": found["externalId"]} if "externalId" in found else {}
    return _response(200, found, headers)


def _restored() -> str | None:
    """When somebody restored the ledger, as long as it may lack what people ask for."""
    identity = worker.ledger.identity.get()
    return iso(identity.restored_at) if worker.now() < identity.look_first_until else None


def _ports() -> status.StatusPorts:
    ledger = worker.ledger
    return status.StatusPorts(
        ledger,
        ledger.windows,
        worker.deliveries,
        _ask,
        worker.side_by_side,
        ledger.pauses.standing,
    )


def _ask(records: Sequence[Record]) -> list[JsonObject]:
    """AEP's present answers about their batches, as far as they come within ASK_AEP_S."""
    pool = ThreadPoolExecutor(worker.settings.delivery_concurrency)
    asked = [pool.submit(status.of_platform, record, worker.adobe) for record in records]
    answered, _ = wait(asked, ASK_AEP_S)
    pool.shutdown(wait=False, cancel_futures=True)
    late = status.unavailable(PlatformUnavailable("AEP takes too long to answer about the batch"))
    return [future.result() if future in answered else late for future in asked]


def _problem(trouble: dict[str, Any]) -> Response:
    headers = {"Content-Type": "application/problem+json"}
    if "externalId" in trouble:
        headers["X-External-Id"] = trouble["externalId"]
    if "retryAfter" in trouble:
        headers["Retry-After"] = str(trouble["retryAfter"])
    return _response(trouble["status"], trouble, headers)


def _response(status: int, body: Mapping[str, Any], headers: dict[str, str]) -> Response:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"} | headers,
        "body": json.dumps(body),
    }
