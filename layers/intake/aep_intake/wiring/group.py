"""The worker of on_due; those that gather files into windows and folders extend it."""

from functools import cached_property
from threading import Lock

from aep_intake.clock import due
from aep_intake.grouping import windows
from aep_intake.grouping.ports import WaitingPorts
from aep_intake.model import messages
from aep_intake.model.orders import Order
from aep_intake.model.sharing import Sharing
from aep_intake.wiring.create import Creating


class Grouping(Creating):
    """A worker that creates batches, of single files and of windows."""

    @property
    def window_ports(self) -> windows.WindowPorts:
        """The ports of windows, with the present limits. Raises LimitsUnavailable."""
        limits = self.limits
        return windows.WindowPorts(
            ledger=self.ledger.windows,
            orders=self.ledger,
            enqueue=lambda ids: self.queues.enqueue(
                self.settings.due_queue_url, due.DueKind.ORDERS, ids
            ),
            now=self.now,
            limits=windows.BatchLimits(
                limits.batch_files, limits.batch_gigabytes * 10**9, limits.file_megabytes * 10**6
            ),
            opened=self.objects.opened,
            sharing=lambda order: self._sharing(order, limits.file_megabytes),
            side_by_side=self.side_by_side,
            in_turn=Lock(),
        )

    def _sharing(self, order: Order, file_megabytes: int) -> Sharing | None:
        """As the delivery of its batch will have it."""
        # on_due starts without what reads files, and needs it only here.
        from aep_intake.content.rows import has_rows  # noqa: PLC0415

        shares = self.settings.deliver_batches and has_rows(order.options.get("inputFormat", {}))
        return Sharing.within(file_megabytes * 10**6) if shares else None

    @cached_property
    def waiting_ports(self) -> WaitingPorts:
        """The ports of files that wait for a marker."""
        url = self.settings.arrivals_queue_url
        return WaitingPorts(
            ledger=self.ledger,
            folders=self.ledger.folders,
            announcer=self.announcer,
            objects=self.objects,
            send=lambda overdue: self.queues.send(url, [messages.of_overdue(overdue)]),
            take_in=lambda file: self.queues.send_as_is(url, messages.of_arrival(file)),
            now=self.now,
        )
