"""What handing out needs of the world: on_tick's."""

from aep_intake.clock import due
from aep_intake.model.outcomes import SideBySide
from aep_intake.wiring.worker import Worker


class Ticking(Worker):
    """A worker that hands out what is due."""

    def due_ports(self, side_by_side: SideBySide) -> due.Ports:
        """What handing out needs; `side_by_side` is a `map`."""
        settings = self.settings
        queues = {
            due.Kind.WINDOWS: settings.due_queue_url,
            due.Kind.FOLDERS: settings.due_folders_queue_url,
            due.Kind.ORDERS: settings.due_orders_queue_url,
            due.Kind.DELIVERIES: settings.due_deliveries_queue_url,
        }

        def waiting(kind: due.Kind) -> int:
            # Where nothing is delivered by now, what was begun stays due, and the alarm says so.
            nowhere = kind is due.Kind.DELIVERIES and queues[kind] == settings.due_queue_url
            return due.MOST if nowhere else self.queues.waiting(queues[kind])

        return due.Ports(
            ledger=self.ledger,
            waiting=waiting,
            send=lambda kind, names: self.queues.hand_out(queues[kind], kind, names),
            now=self.now,
            side_by_side=side_by_side,
        )
