"""The worker of on_due, which creates batches; others that create batches extend it."""

import time
import uuid
from collections.abc import Callable
from functools import cached_property
from threading import Lock

from aws_lambda_powertools.utilities.typing import LambdaContext

from aep_intake.adapters.dynamodb.buckets import DynamoBuckets
from aep_intake.clock import due
from aep_intake.create.pace import Pace
from aep_intake.create.ports import OrderPorts
from aep_intake.grouping import missing_markers, windows
from aep_intake.model import messages
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease
from aep_intake.model.sharing import Sharing
from aep_intake.model.times import SKEW_MS
from aep_intake.report import telemetry
from aep_intake.wiring.platform import WithPlatform


class Creating(WithPlatform):
    """A worker that creates batches, of single files and of windows."""

    def create(self, context: LambdaContext, pace: Callable[[str], None]) -> OrderPorts:
        """The ports of the create stage, for this invocation; leases outlast the worker.

        `pace` waits for a credential's turn to make a batch. Raises LimitsUnavailable.
        """
        end = self.now() + context.get_remaining_time_in_millis() + SKEW_MS
        telemetry.by_route(self.limits.metrics_by_route)

        def turn(credential: str) -> None:
            # First, so that a broken organization keeps no thread waiting that others need.
            self.adobe.ready(credential)
            pace(credential)

        return OrderPorts(
            ledger=self.ledger,
            platform=self.adobe,
            announcer=self.announcer,
            now=self.now,
            lease=lambda: Lease(uuid.uuid4().hex, end),
            pace=turn,
            park=self._park,
            post_ms=self.adobe.create_ms + SKEW_MS,
            settle_ms=self.limits.settle_seconds * 1000 + SKEW_MS,
            delivers=self.settings.deliver_batches,
            identity=self.ledger.identity.get,
            pauses=self.ledger.pauses.standing,
        )

    @property
    def window_ports(self) -> windows.WindowPorts:
        """The ports of windows, with the present limits. Raises LimitsUnavailable."""
        limits = self.limits
        return windows.WindowPorts(
            windows=self.ledger.windows,
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
        from aep_intake.content.parts import has_rows  # noqa: PLC0415

        shares = self.settings.deliver_batches and has_rows(order.options.get("inputFormat", {}))
        return Sharing.within(file_megabytes * 10**6) if shares else None

    @cached_property
    def overdue_ports(self) -> missing_markers.FolderPorts:
        """The ports of files that wait for a marker."""
        url = self.settings.arrivals_queue_url
        return missing_markers.FolderPorts(
            ledger=self.ledger,
            folders=self.ledger.folders,
            announcer=self.announcer,
            objects=self.objects,
            send=lambda missing: self.queues.send(url, [messages.of_missing(missing)]),
            take_in=lambda file: self.queues.send_as_is(url, messages.of_arrival(file)),
            now=self.now,
        )

    @cached_property
    def pace(self) -> Pace:
        """The rate limit that all workers share. Its methods raise LimitsUnavailable, too."""
        buckets = DynamoBuckets(self.table)
        return Pace(buckets, self._per_minute, self.now, time.sleep)

    def _per_minute(self, credential: str) -> int:
        return self.organizations.current().limits_of(credential).batches_per_minute
