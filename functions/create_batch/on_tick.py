"""Once a minute: what is due in the ledger → the queue of its class."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.clock import due
from aep_intake.model.outcomes import attempt
from aep_intake.model.times import iso
from aep_intake.report.telemetry import count, logger, made_today, metrics
from aep_intake.settings import Settings
from aep_intake.wiring.tick import Ticking
from aws_lambda_powertools.utilities.typing import LambdaContext

OVERDUE = 300_000  # milliseconds: what waits longer than this, an operator should know of

worker = Ticking(Settings.of("on_tick")).prepare("ledger", "organizations", "queues")


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Hand out what is due, class by class: where one cannot be, the others are all the same.

    Raises ExceptionGroup of what was in the way.
    """
    now = worker.now()
    since: list[int] = []
    failed: list[Exception] = []
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        ports = worker.due_ports(pool.map)
        for kind in due.DueKind:
            handed_out = attempt(due.enqueue_due, kind, ports)
            if isinstance(handed_out, Exception):
                failed.append(handed_out)
            else:
                since += handed_out
    count("DueOrders", number=len(since))
    count("OverdueOrders", number=sum(when < now - OVERDUE for when in since))
    # After that, as nothing that is due waits for the limits.
    made_today(worker.ledger.made(iso(now)[:10]), worker.limits.profile_batches_per_day)
    if failed:
        raise ExceptionGroup("not all that is due could be handed out", failed)
