"""Once a minute: due work in the ledger → the queue of its kind; and what is overdue."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.clock import due
from aep_intake.model.outcomes import caught
from aep_intake.report.telemetry import count, logger, made_for_profile, metrics
from aep_intake.settings import Settings
from aep_intake.wiring.tick import Ticking
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

OVERDUE_MS = 300_000  # work that waits longer than this counts in the metric of an alarm

worker = Ticking(Settings.of("on_tick")).prepare("ledger", "organizations", "queues")


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Hand out due work, kind by kind, even if another kind fails; tell of files that do not come.

    Raises ExceptionGroup with the errors.
    """
    now = worker.now()
    since: list[int] = []
    failed: list[Exception] = []
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        ports = worker.due_ports(pool.map)
        for kind in due.DueKind:
            handed_out = caught(due.enqueue_due, kind, ports)
            if isinstance(handed_out, Exception):
                failed.append(handed_out)
            else:
                since += handed_out
        if error := caught(worker.enqueue_resumed, ports):
            failed.append(error)
    overdue = caught(worker.look_for_expected)
    if isinstance(overdue, Exception):
        failed.append(overdue)
    elif overdue is not None:
        metrics.add_metric("RoutesOverdue", MetricUnit.Count, overdue)
    # Of every kind: these two metrics are older than the kinds, and have kept their names.
    count("DueOrders", number=len(since))
    count("OverdueOrders", number=sum(when < now - OVERDUE_MS for when in since))
    # Last, since due work must not wait for the limits.
    per_day = worker.limits.profile_batches_per_day
    made_for_profile(worker.ledger.profile_batches.made(now), per_day)
    worker.note_profile_limit(per_day)
    if failed:
        raise ExceptionGroup("some due work could not be handed out", failed)
