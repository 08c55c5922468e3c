"""Deliveries queues: created batches, and deliveries that are due → their next step.

A message about a due delivery never goes back: the clock hands it out again while it is due.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.clock import due, retries
from aep_intake.clock.parking import DELIVERIES, About
from aep_intake.clock.retries import Message
from aep_intake.delivery import steps
from aep_intake.delivery.delivery import Delivery
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model.errors import Rejected, TryAgain
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import Rejection
from aep_intake.report import delivery_telemetry, telemetry
from aep_intake.report.events import BATCH_CREATED
from aep_intake.report.telemetry import logger, metrics
from aep_intake.settings import Settings
from aep_intake.wiring.deliver import Delivering
from aws_lambda_powertools.utilities.typing import LambdaContext

worker = Delivering(Settings.of("on_delivery")).prepare(
    "ledger", "organizations", "adobe", "announcer", "objects", "queues"
)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Start or resume each delivery, side by side."""
    ports = worker.delivery(context)
    received = [Message.of(record) for record in event["Records"]]
    early = retries.early(received, worker.now())
    messages = [message for message in received if message not in early]
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        results = list(pool.map(lambda message: caught(_work, message, ports), messages))
    failed: dict[Message, Exception] = {}
    for message, result in zip(messages, results, strict=True):
        external_id, starts = _read(message)
        delivery_telemetry.report_delivery(external_id, result, worker.now())
        if isinstance(result, TryAgain):  # the alarm on its age needs a metric from this, too
            current = caught(ports.deliveries.get, external_id)
            if isinstance(current, Delivery) and current.due is not None:
                delivery_telemetry.report_delivery(external_id, current, worker.now())
        if starts and isinstance(result, Exception) and not isinstance(result, Rejected):
            failed[message] = result
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())
    url = worker.settings.deliveries_queue_url
    return worker.give_back(failed, early, url, _park, age="RetryingDeliveryAge")


def _read(message: Message) -> tuple[str, str | None]:
    """The external id; and the batch id, if the message is the event of its creation."""
    body = json.loads(message.body)
    if body.get("detail-type") == BATCH_CREATED:
        return body["detail"]["externalId"], body["detail"]["batchId"]
    return due.read(message.body)[1], None


def _work(message: Message, ports: DeliveryPorts) -> Delivery | None:
    external_id, batch_id = _read(message)
    if batch_id is None:
        return steps.resume(external_id, ports)
    place = DELIVERIES, "batch", external_id
    worker.end_parked_after(message, place, lambda: steps.start(external_id, batch_id, ports))
    return None


def _park(message: Message, why: Rejection) -> None:
    """Park the event of a batch's creation: its delivery could not be started for a day."""
    detail = json.loads(message.body)["detail"]
    external_id, route = detail["externalId"], detail.get("route")
    place, about = (DELIVERIES, "batch", external_id), About(external_id, route)
    url = worker.settings.deliveries_dlq_url
    worker.parking.message(url, place, message.body, about, why)
