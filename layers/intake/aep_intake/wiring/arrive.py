"""The worker of on_arrival and on_marker, which take in arrivals."""

from functools import cached_property
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.typing import LambdaContext

from aep_intake.adapters.aws.s3 import Objects
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.wiring.group import Grouping
from aep_intake.wiring.request import Requesting

if TYPE_CHECKING:
    from aep_intake.arrivals.reconcile import Comparison
    from aep_intake.model.orders import LedgerIdentity


class Arriving(Requesting, Grouping):
    """A worker that routes arrivals."""

    @cached_property
    def objects(self) -> Objects:
        """S3's objects. Its client is made with it, for nearly each arrival is looked at."""
        client = self._s3
        return Objects(lambda: client)

    def intake(self, context: LambdaContext) -> IntakePorts:
        """The ports of this invocation. Raises LimitsUnavailable."""
        return IntakePorts(
            creating=self.create(context, self.pace.wait),
            windows=self.window_ports,
            waiting=self.waiting_ports,
            ledger=self.ledger,
            announcer=self.announcer,
            targets=self.targets,
            objects=self.objects,
            checks=self.checks,
            table=self.tables.current,
            buckets=self.settings.source_buckets,
            retention_ms=self.retention_ms,
            remembered=self._remembered,
            versions=self.versions,
            came=self.routes_seen.came,
        )

    def _remembered(self) -> int:
        from aep_intake.arrivals.reconcile import remembered_since  # noqa: PLC0415 - seldom needed

        return remembered_since(self.now(), self.retention_ms, *self._memory)

    @cached_property
    def _memory(self) -> "tuple[Comparison | None, LedgerIdentity | None]":
        """A comparison that is a day old is as good: a longer retention comes with a new worker."""
        from aep_intake.adapters.dynamodb.comparisons import last_comparison  # noqa: PLC0415

        return last_comparison(self.table), self.ledger.identity.read()

    def hand_on(self, body: str) -> None:
        """Send a message to on_marker. Raises StorageUnavailable."""
        self.queues.send_as_is(self.settings.markers_queue_url, body)
