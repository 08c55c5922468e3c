"""Markers queue → the batches of a marker's folder → partial batch response.

A folder may hold a hundred thousand files, for which on_arrival has neither time nor memory.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.report.telemetry import logger, metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from on_arrival import read, work, worker


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Gather the folder of a marker, from the file at which an earlier worker stopped.

    Or, asked by `aep-intake redrive --dry-run`, say what would become of messages.
    """
    if "dryRun" in event:
        return _would_become(event["dryRun"], worker.intake(context))
    return work(event, worker.intake(context), worker.settings.markers_queue_url)


def _would_become(asked: dict[str, Any], intake: IntakePorts) -> dict[str, Any]:
    from aep_intake.arrivals.dry_run import would_become  # noqa: PLC0415 - nothing else needs it

    contents = [read(body) for body in asked["bodies"]]
    even = asked["evenIfOvertaken"]
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        return {"told": would_become(contents, intake, pool.map, even_if_overtaken=even)}
