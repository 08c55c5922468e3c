"""API Gateway → a batch or an upload's URL for a request, or the status of a batch or a file."""

import json
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.arrivals import batch_requests
from aep_intake.create import create
from aep_intake.create.attempts import latest
from aep_intake.create.ports import OrderPorts
from aep_intake.model.errors import (
    ObjectExists,
    Rejected,
    StorageUnavailable,
    TargetNotAllowed,
    TooLarge,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import Outcome, OutcomeKind, Record
from aep_intake.model.times import iso
from aep_intake.report import telemetry
from aep_intake.report.problems import explain, problem
from aep_intake.report.telemetry import logger, metrics
from aep_intake.routing.globs import compile_wildcard
from aep_intake.routing.table import Match
from aep_intake.settings import Settings
from aep_intake.wiring.request import Requesting
from aws_lambda_powertools.utilities.typing import LambdaContext

LOOK_AT_S = 6  # for all objects together: a POST must start within eight seconds
FILES_CHECKED = 500  # of an order that gets another attempt: a query each

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
    response = caught(_answer, event, context)
    if isinstance(response, Exception):
        response = _failed(context.aws_request_id, response)
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())
    return response


def _answer(event: Mapping[str, Any], context: LambdaContext) -> Response:
    match event["httpMethod"], event["resource"]:
        case "POST", "/batches" | "/data/foundation/import/batches":
            # The latter is Adobe's: a curl of its pages needs another host and signature alone.
            return _create(event, context)
        case "POST", "/uploads":
            return _sign_upload(event)
        case "POST", "/batches/{id}/attempts":
            return _next_attempt(event, context)
        case "GET", "/batches" | "/batches/{id}" | "/objects":
            return _tell(event)
    detail = "only /batches, /batches/{id}, /batches/{id}/attempts, /objects and /uploads exist"
    return _problem(problem(404, "not-found", detail))


def _create(event: Mapping[str, Any], context: LambdaContext) -> Response:
    request = batch_requests.read(event, uuid.uuid4().hex)
    return _made(event, request.external_id, caught(_carry_out, request, context))


def _sign_upload(event: Mapping[str, Any]) -> Response:
    """Answer with a URL for one PUT. The answer is a credential: it is not logged."""
    from aep_intake.arrivals import uploads  # noqa: PLC0415 - other requests need none

    wanted = uploads.read(event)
    if worker.settings.landing_role == "none":
        raise TargetNotAllowed(
            "this stack takes objects from existing buckets (SourceBucketNames), and has no "
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
    logger.info("upload signed", extra={"uri": uri, "route": route})
    answer = {"method": "PUT", "url": url, "headers": headers, "expiresAt": until}
    return _response(200, answer | {"uri": uri, "route": route}, {"Cache-Control": "no-store"})


def _next_attempt(event: Mapping[str, Any], context: LambdaContext) -> Response:
    """Start one more attempt of an order whose batch ended without data."""
    record = worker.answers.order(event)
    if record is None:
        return _problem(problem(404, "not-found", "no order has this external id, or this batch"))
    result = caught(_start_next_attempt, record, event, context)
    return _made(event, record.order.external_id, result)


def _batches(event: Mapping[str, Any]) -> str:
    """The path of all batches as the caller sees it, with the stage or a custom domain's prefix."""
    path: str = (event.get("requestContext") or {}).get("path") or event["path"]
    prefix = path.partition(event["resource"].partition("/{")[0])[0]
    return f"/{prefix.strip('/')}/batches".replace("//", "/")


def _failed(name: str, error: Exception, external_id: str | None = None) -> Response:
    """The answer to an error, which is told as for arrivals; but a request has its own metric.

    `name`: the correlation id.
    """
    if isinstance(error, Rejected):
        telemetry.count("RequestsRejected", error.reason)
        why = {"correlation_id": name, "reason": error.reason, "why": str(error)}
        logger.warning("rejected", extra=why)
    else:
        telemetry.report(name, error)
    return _problem(explain(error, external_id))


def _made(event: Mapping[str, Any], external_id: str, outcome: Outcome | Exception) -> Response:
    """The answer to a request for a batch."""
    if isinstance(outcome, Exception):
        return _failed(external_id, outcome, external_id)
    telemetry.report(external_id, outcome)
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


def _carry_out(request: batch_requests.BatchRequest, context: LambdaContext) -> Outcome:
    buckets = worker.settings.source_buckets
    ports = _create_ports(context)
    return batch_requests.carry_out(request, ports, worker.targets, buckets, _look_at)


def _start_next_attempt(
    record: Record, event: Mapping[str, Any], context: LambdaContext
) -> Outcome:
    from aep_intake.clock.parking import ARRIVALS  # noqa: PLC0415 - other requests park seldom

    ports = _create_ports(context)
    prepared = None if batch_requests.even_if_overtaken(event) else _not_overtaken
    last = latest(record, worker.ledger) or record
    outcome = worker.parking.end_parked_after(
        lambda: create.start_next_attempt(record.order.external_id, ports, prepared=prepared),
        (ARRIVALS, "order", last.order.external_id),
        (ARRIVALS, "file", record.order.root),  # if AEP refused it before it was an order's
    )
    return batch_requests.with_batch(outcome, ports)


def _not_overtaken(order: Order) -> Order:
    """The same order, unless a newer version of a file, or its bytes, are loaded or under way."""
    from aep_intake.arrivals.versions import check_not_overtaken  # noqa: PLC0415 - few need it

    files = worker.ledger.files(order) if order.lineage is None else ()  # it has its newest one
    if len(files) > FILES_CHECKED:
        raise TooLarge(
            f"{len(files):,} files take a request too long to check for newer versions: use "
            "aep-intake redrive, or say evenIfOvertaken"
        )
    check_not_overtaken(files, order.target, worker.versions, worker.side_by_side)
    return order


def _create_ports(context: LambdaContext) -> OrderPorts:
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


def _tell(event: Mapping[str, Any]) -> Response:
    status, body = worker.answers.to(event)
    if status != 200:
        return _problem(body)
    return _response(
        200, body, {"X-External-Id": body["externalId"]} if "externalId" in body else {}
    )


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
