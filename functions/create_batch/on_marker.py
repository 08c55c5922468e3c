"""Markers queue → the batches of a marker's folder → partial batch response.

A folder may hold a hundred thousand files, for which on_arrival has neither time nor memory.
"""

from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.report.telemetry import logger, metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from on_arrival import routing, work, worker


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Gather the folder of a marker, from the file at which an earlier worker stopped."""
    return work(event, routing(context), worker.settings.markers_queue_url)
