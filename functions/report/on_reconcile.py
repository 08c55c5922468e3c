"""Once a day, page by page: what S3 has ↔ the ledger ↔ what AEP has."""

from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.arrivals.reconcile import Comparison, reconcile
from aep_intake.model.errors import TryAgain
from aep_intake.model.times import DAY_MS, day_of
from aep_intake.report.telemetry import count, logger, metrics, report
from aep_intake.settings import Settings
from aep_intake.wiring.reconcile import Reconciling
from aws_lambda_powertools.utilities.typing import LambdaContext

# Of the worker's time, for one more page of objects, or hour of batches.
LAST_MS = 120_000
# With more messages in the arrivals queue, what waits there would be taken for lost.
BACKLOG_MAX = 1000

worker = Reconciling(Settings.of("on_reconcile")).prepare(
    "ledger", "organizations", "adobe", "tables"
)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Begin the comparison of the day, or go on with the one that has not ended.

    It is called every hour, so a comparison may take longer than a worker lives. Raises TryAgain
    where one has not ended for a day.
    """
    comparison = _present()
    if comparison.ended is not None:
        return
    if (backlog := worker.backlog()) > BACKLOG_MAX:
        logger.info("put off: the arrivals queue is behind", extra={"messages": backlog})
        return
    before, put_off = comparison, None
    try:
        for step in reconcile(comparison, worker.comparing()):
            comparison = step
            if context.get_remaining_time_in_millis() < LAST_MS:
                break
    except TryAgain as why:
        put_off = why
        report(f"comparison of {day_of(before.began)}", why)
    for kind, number in comparison.found.items():
        # Fewer, where a bucket was begun anew.
        if (new := number - before.found.get(kind, 0)) > 0:
            count("Reconciled", kind, new)
    for finding in (one for one in comparison.named if one not in before.named):
        about = {"found": finding.found, "about": finding.about}
        logger.warning("found by the comparison", extra=about)
    progress = {"looked_at": comparison.looked_at, "told": comparison.told}
    logger.info("compared", extra=progress | {"ended": comparison.ended is not None})
    if metrics.metric_set:  # mostly there is nothing to count, of which Powertools would warn
        metrics.flush_metrics()
    if put_off is not None and worker.now() - before.began > DAY_MS:
        raise put_off  # an alarm tells


def _present() -> Comparison:
    """The comparison of today, or an earlier one that has not ended."""
    comparisons, now = worker.comparisons, worker.now()
    last = comparisons.last()
    if last is not None and (last.ended is None or day_of(last.began) == day_of(now)):
        return last
    identity, buckets = worker.ledger.identity.read(), worker.settings.source_buckets
    new = Comparison.begin(now, worker.retention_ms, buckets, last, identity)
    comparisons.begin(new)
    return new
