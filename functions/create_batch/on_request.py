"""API Gateway → a batch for a request, or what became of one."""

import json
import re
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from aep_intake import asked, telemetry
from aep_intake.announcements import iso
from aep_intake.arrivals import Arrival
from aep_intake.create import Kind, Outcome
from aep_intake.errors import IntakeError, Rejected, StorageUnavailable
from aep_intake.intake import Intake, attempt
from aep_intake.orders import Batch, Record
from aep_intake.problems import explain, problem
from aep_intake.settings import Settings
from aep_intake.telemetry import logger, metrics
from aep_intake.wiring import World
from aws_lambda_powertools.utilities.typing import LambdaContext

ID = re.compile(r"[!-~]{1,200}")
LOOKING = 6  # seconds for all objects together: a POST must begin within eight
LISTED = 100  # files in an answer

type Response = dict[str, Any]

world = World(Settings.read()).prepare("ledger", "adobe", "announcer")


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Response:
    """Answer one request; every failure is an answer, too."""
    telemetry.count("Requests")
    match event["httpMethod"], event["resource"]:
        case "POST", "/batches":
            response = _create(event, context)
        case "GET", "/batches/{id}":
            response = _tell(event, context)
        case _:
            detail = "only POST /batches and GET /batches/{id} are here"
            response = _no(problem(404, "not-found", detail))
    telemetry.count("TokensMinted", number=world.credentials.take_minted())
    return response


def _create(event: Mapping[str, Any], context: LambdaContext) -> Response:
    request = attempt(lambda: asked.read(event, uuid.uuid4().hex))
    if isinstance(request, Exception):
        _report(context.aws_request_id, request)
        return _no(explain(request))
    result = attempt(
        lambda: asked.carry_out(request, _intake(context), world.settings.source_buckets, _look)
    )
    _report(request.external_id, result)
    if isinstance(result, Exception):
        return _no(explain(result, request.external_id))
    return _made(event, result)


def _report(correlation_id: str, result: Outcome | Exception) -> None:
    """As for arrivals, but a request that is rejected was never one."""
    if isinstance(result, Rejected):
        telemetry.count("RequestsRejected", result.reason)
        why = {"correlation_id": correlation_id, "reason": result.reason, "why": str(result)}
        logger.warning("rejected", extra=why)
    else:
        telemetry.report(correlation_id, result, None)


def _made(event: Mapping[str, Any], outcome: Outcome) -> Response:
    record = outcome.record
    # The path as the caller sees it, with the stage or a custom domain's prefix.
    path = (event.get("requestContext") or {}).get("path") or event["path"]
    here, batch = quote(path.strip("/"), errors="replace"), quote(record.batch_id or "", safe="")
    headers = {
        "Location": f"/{here}/{batch}",
        "X-External-Id": record.order.external_id,
    }
    if outcome.kind is Kind.DUPLICATE:
        headers["Idempotency-Replayed"] = "true"
    # Catalog's objects do not hold their own id.
    body = {**(record.batch or {}), "id": record.batch_id}
    return _response(200 if outcome.kind is Kind.DUPLICATE else 201, body, headers)


def _intake(context: LambdaContext) -> Intake:
    """Paced by the API's own throttle, for which the queues' workers leave room."""
    intake = world.intake(context)
    return replace(intake, ports=replace(intake.ports, pace=lambda: None))


def _look(objects: tuple[tuple[str, str], ...]) -> tuple[Arrival, ...]:
    """The present versions of objects, looked up side by side."""
    if not objects:
        return ()
    pool = ThreadPoolExecutor(world.settings.delivery_concurrency)
    try:
        found = pool.map(lambda place: world.objects.arrival(*place), objects, timeout=LOOKING)
        return tuple(found)
    except TimeoutError:
        raise StorageUnavailable("S3 takes too long to tell of the objects") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _tell(event: Mapping[str, Any], context: LambdaContext) -> Response:
    wanted = (event.get("pathParameters") or {}).get("id") or ""
    found = attempt(lambda: _found(wanted))
    if found is None:
        return _no(problem(404, "not-found", "no order has this external id, or this batch"))
    if isinstance(found, Exception):
        _report(context.aws_request_id, found)
        return _no(explain(found))
    record, aep = found
    order, rejection = record.order, record.rejection
    about = {
        "externalId": order.external_id,
        "attempt": order.attempt,
        "state": record.state,
        "batchId": record.batch_id,
        "reason": rejection and rejection.reason,
        "detail": rejection and rejection.detail,
        "imsOrg": order.target.ims_org,
        "sandbox": order.target.sandbox,
        "datasetId": order.target.dataset_id,
        "inputFormat": order.options.get("inputFormat"),
        "trigger": order.trigger,
        "route": order.route,
        "files": [file.uri for file in order.files[:LISTED]],
        "fileCount": len(order.files),
        "openedAt": iso(record.opened_at),
        "createdAt": record.created_at and iso(record.created_at),
        "due": record.due and iso(record.due),
    }
    told = {name: value for name, value in about.items() if value is not None}
    return _response(200, told | aep, {"X-External-Id": order.external_id})


def _found(wanted: str) -> tuple[Record, dict[str, Any]] | None:
    """The latest attempt of the order that is wanted, and what AEP says of its batch now.

    AEP is asked for the batch that the ledger names, never for what somebody wrote into a path.
    """
    if not ID.fullmatch(wanted):
        return None
    ledger = world.ledger
    record = ledger.get(wanted) or ledger.of_batch(wanted)
    while record is not None and record.superseded_by is not None:
        record = ledger.get(record.superseded_by)
    if record is None:
        return None
    batch_id, target = record.batch_id, record.order.target
    if batch_id is None:
        return record, {"aep": None}
    match attempt(lambda: world.adobe.batch(target, batch_id)):
        case Batch(raw=raw):
            return record, {"aep": raw}
        case IntakeError() as error:
            return record, {"aep": None, "aepError": {"reason": error.reason, "detail": str(error)}}
        case Exception() as error:
            raise error
    return record, {"aep": None}


def _no(trouble: dict[str, Any]) -> Response:
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
