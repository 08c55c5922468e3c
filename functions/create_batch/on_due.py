"""Due queues → the same story goes on where the ledger says it stopped.

A message is never given back: the ledger hands the order out again while it is due.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.clock import due
from aep_intake.grouping.resume import go_on
from aep_intake.model.outcomes import attempt
from aep_intake.report import telemetry
from aep_intake.report.telemetry import logger, metrics
from aep_intake.settings import Settings
from aep_intake.wiring.create import Creating
from aws_lambda_powertools.utilities.typing import LambdaContext

worker = Creating(Settings.of("on_due")).prepare(
    "ledger", "organizations", "adobe", "announcer", "queues"
)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Go on with each thing that is due, side by side."""
    ports = worker.due(context)
    wanted = list(dict.fromkeys(due.read(message["body"]) for message in event["Records"]))
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        results = pool.map(lambda one: attempt(go_on, one[0], one[1], ports), wanted)
        for (_, name), result in zip(wanted, results, strict=True):
            if result is not None:  # else someone was faster, or it was no order
                telemetry.report(name, result, None)
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())
