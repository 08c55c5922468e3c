"""Due queues → orders, windows and folders resume from the step that the ledger records.

A message never goes back to its queue: the clock hands the work out again while it is due.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.clock import due
from aep_intake.grouping.resume import ResumePorts, resume
from aep_intake.model.outcomes import caught
from aep_intake.report import telemetry
from aep_intake.report.telemetry import logger, metrics
from aep_intake.settings import Settings
from aep_intake.wiring.group import Grouping
from aws_lambda_powertools.utilities.typing import LambdaContext

worker = Grouping(Settings.of("on_due")).prepare(
    *("ledger", "ledger.windows", "ledger.folders"),
    *("organizations", "adobe", "announcer", "queues"),
)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Resume each piece of due work, side by side."""
    creating = worker.create(context, worker.pace.wait)
    ports = ResumePorts(creating, worker.window_ports, worker.waiting_ports)
    wanted = list(dict.fromkeys(due.read(message["body"]) for message in event["Records"]))
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        results = pool.map(lambda work: caught(resume, work[0], work[1], ports), wanted)
        for (_, name), result in zip(wanted, results, strict=True):
            if result is not None:  # else another worker was faster, or it was no order
                telemetry.report(name, result)
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())
