"""What handing out needs of the world: on_tick's."""

from aep_intake.clock import due
from aep_intake.model.outcomes import SideBySide
from aep_intake.wiring.worker import Worker


class Ticking(Worker):
    """A worker that hands out what is due."""

    def due_ports(self, side_by_side: SideBySide) -> due.DuePorts:
        """What handing out needs; `side_by_side` is a `map`."""
        settings = self.settings
        queues = {
            due.DueKind.WINDOWS: settings.due_queue_url,
            due.DueKind.FOLDERS: settings.due_folders_queue_url,
            due.DueKind.ORDERS: settings.due_orders_queue_url,
            due.DueKind.DELIVERIES: settings.due_deliveries_queue_url,
        }

        def waiting(kind: due.DueKind) -> int:
            # Where nothing is delivered by now, what was begun stays due, and the alarm says so.
            nowhere = kind is due.DueKind.DELIVERIES and queues[kind] == settings.due_queue_url
            return due.AT_MOST if nowhere else self.queues.waiting(queues[kind])

        return due.DuePorts(
            ledger=self.ledger,
            waiting=waiting,
            send=lambda kind, names: self.queues.enqueue(queues[kind], kind, names),
            now=self.now,
            side_by_side=side_by_side,
        )
