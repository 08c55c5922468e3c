"""What became of each order and batch, for people: one log line, and the metrics it counts in.

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
# The metric, and what the log says.
ENDED = {
    End.SUCCEEDED: ("BatchesSucceeded", "batch succeeded"),
    End.FAILED: ("BatchesFailed", "batch failed"),
    End.ABANDONED: ("BatchesAbandoned", "batch abandoned"),
}
# Milliseconds. A batch that has not ended by then is named in the log whenever it is looked at.
HOUR = 3_600_000


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
        case Joined():
            pass  # see `registered`
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
    """Count and log how a batch ended, or since when it has not, or why it is put off.

    None: there was nothing to do. `now` in epoch milliseconds.
    """
    match result:
        case Delivery(verdict=Verdict() as verdict, due=None):
            _ended(result, verdict, now)
        case Delivery():
            _goes_on(result, now)
        case Exception():
            _not_done(external_id, result)


def report_upload(task: Task, result: Delivery | Exception | None, now: int) -> None:
    """Count what was uploaded, and tell of the batch as `report_delivery` if it was the last."""
    if not isinstance(result, Exception):
        count("Uploads")
        metrics.add_metric("BytesUploaded", MetricUnit.Bytes, task.piece.size)
    report_delivery(task.external_id, result, now)


def _ended(delivery: Delivery, verdict: Verdict, now: int) -> None:
    metric, said = ENDED[verdict.end]
    count(metric)
    if delivery.uploaded_at is not None:
        taken = {
            "CreatedToUploaded": delivery.uploaded_at - delivery.created_at,
            "UploadedToEnded": verdict.at - delivery.uploaded_at,
        }
        for name, milliseconds in taken.items():
            metrics.add_metric(name, MetricUnit.Milliseconds, milliseconds)
    log = logger.info if verdict.end is End.SUCCEEDED else logger.warning
    about = {"status": verdict.status, "why": verdict.detail, "latency": now - delivery.created_at}
    log(said, extra=_about(delivery) | about)


def _goes_on(delivery: Delivery, now: int) -> None:
    since = now - delivery.created_at
    metrics.add_metric("UnfinishedBatchHours", MetricUnit.NoUnit, since / HOUR)
    log = logger.info if since > HOUR else logger.debug
    log("batch unfinished", extra=_about(delivery) | {"stage": delivery.stage, "latency": since})


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


def registered(results: Mapping[str, Result]) -> None:
    """Count and log which arrivals joined a window: a line for each window, as they are many."""
    windows: dict[Joined, list[str]] = {}
    for external_id, result in results.items():
        if isinstance(result, Joined):
            windows.setdefault(result, []).append(external_id)
    if windows:
        count("Registered", number=sum(map(len, windows.values())))
    for where, arrivals in windows.items():
        about = {"window": where.window_id, "closes": where.closes, "arrivals": arrivals}
        logger.info("registered", extra=about)


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
