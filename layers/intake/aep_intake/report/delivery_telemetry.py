"""Logs and metrics about deliveries; a module of its own, as the create stage does not need it."""

from aws_lambda_powertools.metrics import MetricUnit

from aep_intake.delivery.delivery import Delivery, End, Verdict
from aep_intake.model.errors import IntakeError, Rejected
from aep_intake.model.times import HOUR_MS
from aep_intake.report.telemetry import count, logger, metrics

# The metric, and the log message.
ENDED = {
    End.SUCCEEDED: ("BatchesSucceeded", "batch succeeded"),
    End.FAILED: ("BatchesFailed", "batch failed"),
    End.ABANDONED: ("BatchesAbandoned", "batch abandoned"),
}
# A batch that has not ended by then is in the log after each of its steps.
UNFINISHED_LOG_MS = HOUR_MS


def report_delivery(external_id: str, result: Delivery | Exception | None, now: int) -> None:
    """Count and log the end of a batch, or how long it has been unfinished, or why it is delayed.

    None: there was nothing to do. `now` in epoch milliseconds.
    """
    match result:
        case Delivery(verdict=Verdict() as verdict, due=None):
            _ended(result, verdict, now)
        case Delivery():
            _unfinished(result, now)
        case Exception():
            _not_done(external_id, result)


def _ended(delivery: Delivery, verdict: Verdict, now: int) -> None:
    metric, message = ENDED[verdict.end]
    if verdict.replaced_by:
        message = "batch replaced"
    count("BatchesReplaced" if verdict.replaced_by else metric, route=delivery.route)
    if delivery.lost_told:
        count("LostFiles", number=delivery.lost_told)
    if delivery.uploaded_at is not None:
        taken = {
            "CreatedToUploaded": delivery.uploaded_at - delivery.created_at,
            "UploadedToEnded": verdict.at - delivery.uploaded_at,
        }
        for name, milliseconds in taken.items():
            metrics.add_metric(name, MetricUnit.Milliseconds, milliseconds)
    if verdict.end is End.SUCCEEDED and verdict.missing:
        count("BatchesMiscounted")
        missing = {"sent": verdict.rows, "missing": verdict.missing}
        logger.warning("rows missing", extra=_about(delivery) | missing)
    if verdict.end is End.SUCCEEDED and verdict.oversized:
        count("OversizedRows", number=verdict.oversized)
        oversized = {"rows": verdict.oversized, "first": verdict.oversized_rows}
        logger.warning("rows too large for Profile", extra=_about(delivery) | oversized)
    well = verdict.end is End.SUCCEEDED or verdict.replaced_by
    log = logger.info if well else logger.warning
    about = {
        "status": verdict.status,
        "why": verdict.detail,
        "latency": now - delivery.created_at,
        "lost_files": delivery.lost_told,
    }
    log(message, extra=_about(delivery) | about)


def _unfinished(delivery: Delivery, now: int) -> None:
    age = now - delivery.created_at
    metrics.add_metric("UnfinishedBatchHours", MetricUnit.NoUnit, age / HOUR_MS)
    log = logger.info if age > UNFINISHED_LOG_MS else logger.debug
    log("batch unfinished", extra=_about(delivery) | {"stage": delivery.stage, "latency": age})


def _not_done(external_id: str, error: Exception) -> None:
    keys = {"correlation_id": external_id}
    match error:
        case Rejected():
            count("DeliveriesRejected", error.reason)
            why = {"reason": error.reason, "why": str(error)}
            logger.warning("delivery rejected", extra=keys | why)
        case IntakeError():
            count("DeliveryPutOff", error.reason)
            why = {"reason": error.reason, "why": str(error)}
            logger.info("delivery put off", extra=keys | why)
        case _:
            count("DeliveryFailures")
            logger.error("delivery failed", exc_info=error, extra=keys)


def _about(delivery: Delivery) -> dict[str, object]:
    return {
        "correlation_id": delivery.external_id,
        "batch_id": delivery.batch_id,
        "route": delivery.route,
        "sandbox": delivery.target.sandbox,
        "dataset_id": delivery.target.dataset_id,
    }
