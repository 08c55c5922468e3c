"""What became of each order, for people: one log line, and the metrics it counts in.

Called from the main thread only, since Powertools' metrics are kept in one place per process.
"""

from collections.abc import Mapping

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from aep_intake.create import Kind, Outcome
from aep_intake.delivery import Delivery, End, Task, Verdict
from aep_intake.errors import IntakeError, Rejected
from aep_intake.intake import Gathered, Joined, Known, Result, Skipped, Waits

logger = Logger()
metrics = Metrics()

COUNTED = {
    Kind.CREATED: "BatchesCreated",
    Kind.ADOPTED: "AdoptedBatches",
    Kind.DUPLICATE: "Duplicates",
}


def report(external_id: str, result: Result, latency: int | None) -> None:
    """Count and log what became of an order. `latency`: milliseconds since its file arrived."""
    keys = {"correlation_id": external_id}
    match result:
        case Skipped(why):
            count("Ignored", why)
            logger.debug("ignored", extra=keys | {"why": why})
        case Waits(route):
            count("Waiting")
            logger.debug("waiting for a marker", extra=keys | {"route": route})
        case Gathered(window_id, files):
            count("Markers")
            logger.info("gathered", extra=keys | {"window": window_id, "files": files})
        case Outcome(kind, record):
            metrics.add_metric(COUNTED[kind], MetricUnit.Count, 1)
            if latency is not None and kind is not Kind.DUPLICATE:
                metrics.add_metric("ArrivalToBatch", MetricUnit.Milliseconds, latency)
            order = record.order
            logger.info(
                kind,
                extra=keys
                | {
                    "batch_id": record.batch_id,
                    "route": order.route,
                    "sandbox": order.target.sandbox,
                    "dataset_id": order.target.dataset_id,
                    "files": [file.uri for file in order.files[:10]],
                    "latency": latency,
                },
            )
        case Joined(window_id, closes):
            count("Registered")
            logger.info("registered", extra=keys | {"window": window_id, "closes": closes})
        case Known(owner):
            count("Duplicates")
            logger.info("duplicate", extra=keys | {"belongs_to": owner})
        case Rejected():
            count("ArrivalsRejected", result.reason)
            logger.warning("rejected", extra=keys | {"reason": result.reason, "why": str(result)})
        case IntakeError():
            count("PutOff", result.reason)
            logger.info("put off", extra=keys | {"reason": result.reason, "why": str(result)})
        case _:
            count("Failures")
            logger.error("failed", exc_info=result, extra=keys)


def report_delivery(external_id: str, result: Delivery | Exception | None, now: int) -> None:
    """Count and log how a batch ended, or since when it has not, or why it is put off."""
    match result:
        case Delivery(verdict=Verdict() as verdict, due=None):
            metrics.add_metric(f"Batches{verdict.end.capitalize()}", MetricUnit.Count, 1)
            if result.uploaded_at is not None:
                taken = {
                    "CreatedToUploaded": result.uploaded_at - result.created_at,
                    "UploadedToEnded": verdict.at - result.uploaded_at,
                }
                for name, milliseconds in taken.items():
                    metrics.add_metric(name, MetricUnit.Milliseconds, milliseconds)
            log = logger.info if verdict.end is End.SUCCEEDED else logger.warning
            log(
                f"batch {verdict.end}",
                extra={
                    "correlation_id": external_id,
                    "batch_id": result.batch_id,
                    "status": verdict.status,
                    "why": verdict.detail,
                    "latency": now - result.created_at,
                },
            )
        case Delivery():
            age = (now - result.created_at) / 1000
            metrics.add_metric("UnfinishedBatchAge", MetricUnit.Seconds, age)
        case None:
            pass
        case _:
            _failed(external_id, result)


def report_upload(task: Task, result: Delivery | Exception | None, now: int) -> None:
    """Count what was uploaded, and log what could not be."""
    if isinstance(result, Exception):
        _failed(task.external_id, result)
        return
    metrics.add_metric("BytesUploaded", MetricUnit.Bytes, task.piece.size)
    metrics.add_metric("Uploads", MetricUnit.Count, 1)
    report_delivery(task.external_id, result, now)


def _failed(external_id: str, error: Exception) -> None:
    keys = {"correlation_id": external_id}
    if isinstance(error, IntakeError):
        count("DeliveryPutOff", error.reason)
        logger.info("delivery put off", extra=keys | {"reason": error.reason, "why": str(error)})
    else:
        count("DeliveryFailures")
        logger.error("delivery failed", exc_info=error, extra=keys)


def age(milliseconds: int) -> None:
    """Since when a message that must be tried again is in the queue."""
    metrics.add_metric("RetryingArrivalAge", MetricUnit.Seconds, milliseconds / 1000)


def made_today(batches: Mapping[tuple[str, str], int]) -> None:
    """How many batches were made for Profile today, by organization and sandbox; and the most."""
    metrics.add_metric("ProfileBatchesToday", MetricUnit.Count, max(batches.values(), default=0))
    for (ims_org, sandbox), number in batches.items():
        with single_metric("ProfileBatchesToday", MetricUnit.Count, number) as metric:
            metric.add_dimension("service", metrics.service or "")
            metric.add_dimension("organization", ims_org)
            metric.add_dimension("sandbox", sandbox)


def count(name: str, reason: str | None = None, number: int = 1) -> None:
    """Count something; by its reason too, so that an operator sees what to mend."""
    metrics.add_metric(name, MetricUnit.Count, number)
    if reason is not None:
        with single_metric(name, MetricUnit.Count, number) as metric:
            metric.add_dimension("service", metrics.service or "")
            metric.add_dimension("reason", reason)
