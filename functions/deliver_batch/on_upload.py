"""Uploads queue → one piece of a file, from S3 to AEP."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.clock import retries
from aep_intake.clock.parking import UPLOADS, About, ParkedPlace
from aep_intake.clock.retries import Message
from aep_intake.delivery import upload
from aep_intake.delivery.delivery import Task
from aep_intake.delivery.pieces import Piece
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.delivery.upload import Uploaded
from aep_intake.model import records
from aep_intake.model.files import digest
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import Rejection
from aep_intake.report import telemetry, upload_telemetry
from aep_intake.report.telemetry import logger, metrics
from aep_intake.settings import Settings
from aep_intake.wiring.deliver import Delivering
from aws_lambda_powertools.utilities.typing import LambdaContext

worker = Delivering(Settings.of("on_upload")).prepare(
    "ledger", "organizations", "adobe", "announcer", "objects", "queues"
)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Upload the pieces of one batch of messages side by side; those to retry stay queued."""
    ports = worker.delivery(context)
    received = [Message.of(record) for record in event["Records"]]
    early = retries.early(received, worker.now())
    messages = [message for message in received if message not in early]
    tasks = [records.read(Task, message.body) for message in messages]
    with ThreadPoolExecutor(len(received)) as pool:
        results = pool.map(
            lambda task, message: caught(_work, task, message, ports), tasks, messages
        )
    failed = {}
    for message, task, result in zip(messages, tasks, results, strict=True):
        upload_telemetry.report_upload(task, result, worker.now())
        if isinstance(result, Exception):
            failed[message] = result
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())
    url = worker.settings.uploads_queue_url
    return worker.give_back(failed, early, url, _park, age="RetryingUploadAge")


def _work(task: Task, message: Message, ports: DeliveryPorts) -> Uploaded:
    upload_it = partial(upload.upload, task, ports, message.tries)
    return worker.end_parked_after(message, _place(message), upload_it)


def _place(message: Message) -> ParkedPlace:
    return UPLOADS, "piece", digest("message", message.body)


def _park(message: Message, why: Rejection) -> None:
    """Park the message of a piece that could not be uploaded for a day."""
    task = records.read(Task, message.body)
    delivery = worker.deliveries.get(task.external_id)
    files = (task.what.file,) if isinstance(task.what, Piece) else ()
    about = About(task.external_id, None if delivery is None else delivery.route, files)
    url = worker.settings.uploads_dlq_url
    worker.parking.message(url, _place(message), message.body, about, why)
