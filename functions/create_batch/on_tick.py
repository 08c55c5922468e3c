"""Once a minute: what is due in the ledger → due queue, or deliveries queue."""

from typing import Any

from aep_intake.announcements import iso
from aep_intake.orders import DELIVERY_PREFIX
from aep_intake.settings import Settings
from aep_intake.telemetry import count, logger, made_today, metrics
from aep_intake.wiring import World
from aws_lambda_powertools.utilities.typing import LambdaContext

OVERDUE = 300_000  # milliseconds: what waits longer than this, an operator should know of

world = World(Settings.read()).prepare("ledger", "queues")


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Hand out what is due, unless what was handed out before still waits for its turn."""
    now = world.now()
    due = list(world.ledger.due(now))
    count("DueOrders", number=len(due))
    count("OverdueOrders", number=sum(when < now - OVERDUE for _, when in due))
    made_today(world.ledger.made(iso(now)[:10]))
    orders: list[str] = []
    deliveries: list[str] = []
    for external_id, _ in due:
        (deliveries if external_id.startswith(DELIVERY_PREFIX) else orders).append(external_id)
    queues = {world.settings.due_queue_url: orders}
    # Where nothing is delivered by now, what was begun stays due, and the alarm says so.
    queues.setdefault(world.settings.deliveries_queue_url, deliveries)
    for queue, ids in queues.items():
        if ids and world.queues.waiting(queue) == 0:
            world.queues.hand_out(queue, ids)
