"""Logs and metrics about orders: one log line for each, and the metrics that count it.

Called from the main thread only, since Powertools has one store of metrics per process.
"""

from collections.abc import Mapping

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from aep_intake.model.errors import IntakeError, Rejected
from aep_intake.model.progress import Outcome, OutcomeKind

logger = Logger()
metrics = Metrics()
_by_route = False

COUNTED = {
    OutcomeKind.CREATED: "BatchesCreated",
    OutcomeKind.ADOPTED: "AdoptedBatches",
    OutcomeKind.DUPLICATE: "Duplicates",
    OutcomeKind.PAUSED: "Paused",
}


def report(external_id: str, result: Outcome | Exception, latency: int | None = None) -> None:
    """Count and log the result of an order. `latency`: milliseconds since its file arrived."""
    keys = {"correlation_id": external_id}
    match result:
        case Outcome(kind, record):
            metrics.add_metric(COUNTED[kind], MetricUnit.Count, 1)
            if latency is not None and kind in (OutcomeKind.CREATED, OutcomeKind.ADOPTED):
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
        case Rejected():
            count("ArrivalsRejected", result.reason, route=result.route)
            logger.warning("rejected", extra=keys | {"reason": result.reason, "why": str(result)})
        case IntakeError():
            count("PutOff", result.reason)
            logger.info("put off", extra=keys | {"reason": result.reason, "why": str(result)})
        case _:
            count("Failures")
            logger.error("failed", exc_info=result, extra=keys)


def age(metric: str, milliseconds: int) -> None:
    """Record the age of a message that is retried.

    SQS's own metric leaves out messages that were received three times.
    """
    metrics.add_metric(metric, MetricUnit.Seconds, milliseconds / 1000)


def made_for_profile(batches: Mapping[tuple[str, str], int], per_day: int) -> None:
    """Record the last 24 hours' batches for Profile, by organization and sandbox.

    And the largest number, as a share of `per_day`, the most that should be made in a day.
    """
    share = 100 * max(batches.values(), default=0) / per_day
    metrics.add_metric("ProfileQuotaUsed", MetricUnit.Percent, share)
    for (ims_org, sandbox), number in batches.items():
        with single_metric("ProfileBatchesLastDay", MetricUnit.Count, number) as metric:
            metric.add_dimension("service", metrics.service or "")
            metric.add_dimension("organization", ims_org)
            metric.add_dimension("sandbox", sandbox)


def by_route(wanted: bool) -> None:
    """Say whether `count` counts by route, too, from now on."""
    global _by_route  # noqa: PLW0603 - as the metrics, once in a process
    _by_route = wanted


def count(name: str, reason: str | None = None, number: int = 1, route: str | None = None) -> None:
    """Count something; also by its reason, so that an operator sees what to fix, and by route."""
    metrics.add_metric(name, MetricUnit.Count, number)
    for dimension, value in (("reason", reason), ("route", route if _by_route else None)):
        if value is not None:
            with single_metric(name, MetricUnit.Count, number) as metric:
                metric.add_dimension("service", metrics.service or "")
                metric.add_dimension(dimension, value)
