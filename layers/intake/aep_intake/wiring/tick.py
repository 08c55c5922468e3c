"""The worker of on_tick, which hands out due work."""

from aep_intake.clock import due
from aep_intake.model.outcomes import SideBySide
from aep_intake.wiring.worker import Worker


class Ticking(Worker):
    """A worker that hands out due work."""

    _noted_limit = 0

    def due_ports(self, side_by_side: SideBySide) -> due.DuePorts:
        """The ports of `clock.due`."""
        settings = self.settings
        queues = {
            due.DueKind.WINDOWS: settings.due_queue_url,
            due.DueKind.FOLDERS: settings.due_folders_queue_url,
            due.DueKind.ORDERS: settings.due_orders_queue_url,
            due.DueKind.DELIVERIES: settings.due_deliveries_queue_url,
        }

        def backlog(kind: due.DueKind) -> int:
            # Deliveries that were started before `DeliverBatches=false` stay due: an alarm tells.
            nowhere = kind is due.DueKind.DELIVERIES and queues[kind] == settings.due_queue_url
            return due.BACKLOG_MAX if nowhere else self.queues.backlog(queues[kind])

        return due.DuePorts(
            ledger=self.ledger,
            backlog=backlog,
            send=lambda kind, names: self.queues.enqueue(queues[kind], kind, names),
            now=self.now,
            side_by_side=side_by_side,
        )

    def enqueue_held(self, ports: due.DuePorts) -> None:
        """Hand out what was paused, at the pace of the slowest organization.

        Raises LedgerUnavailable, StorageUnavailable or LimitsUnavailable.
        """
        known = self.organizations.current()
        every = (known.limits, *(organization.limits for organization in known.all))
        per_minute = min(limits.batches_per_minute for limits in every)
        due.enqueue_held(ports, self.ledger.pauses, per_minute, self.retention_ms // 2)

    def note_profile_limit(self, per_day: int) -> None:
        """Store it for the page, if this worker has not. Raises LedgerUnavailable."""
        if per_day != self._noted_limit:
            self.ledger.note_profile_limit(per_day)
            self._noted_limit = per_day
