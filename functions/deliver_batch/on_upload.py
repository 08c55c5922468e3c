"""Uploads queue → one piece of a file, from S3 to AEP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aep_intake import delivery_telemetry, records, telemetry, uploading
from aep_intake.adapters.queues import delay
from aep_intake.delivery import Task
from aep_intake.errors import TryAgain
from aep_intake.intake import attempt
from aep_intake.settings import Settings
from aep_intake.telemetry import logger, metrics
from aep_intake.wiring import World
from aws_lambda_powertools.utilities.typing import LambdaContext

world = World(Settings.of("on_upload")).prepare(
    "ledger", "organizations", "adobe", "announcer", "objects", "queues"
)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Upload the pieces of one delivery side by side; what must wait goes back to the queue."""
    ports = world.delivery(context)
    messages = event["Records"]
    tasks = [records.read(Task, message["body"]) for message in messages]
    tries = [int(message["attributes"]["ApproximateReceiveCount"]) for message in messages]
    with ThreadPoolExecutor(len(tasks)) as pool:
        results = pool.map(
            lambda task, tried: attempt(lambda: uploading.upload(task, ports, tried)), tasks, tries
        )
    failures, delays = [], {}
    for message, task, tried, result in zip(messages, tasks, tries, results, strict=True):
        delivery_telemetry.report_upload(task, result, world.now())
        if isinstance(result, Exception):
            wait = result.retry_after if isinstance(result, TryAgain) else 0
            delays[message["receiptHandle"]] = delay(tried, wait)
            failures.append({"itemIdentifier": message["messageId"]})
    _hide(delays)
    telemetry.count("TokensMinted", number=world.credentials.take_minted())
    return {"batchItemFailures": failures}


def _hide(delays: dict[str, int]) -> None:
    """Hide messages (by receipt handle) for so many seconds; else the queue's own time holds."""
    if delays:
        kept = attempt(lambda: world.queues.put_off(world.settings.uploads_queue_url, delays))
        if kept:
            telemetry.report("put-off", kept, None)
