"""What taking something in needs: on_arrival, on_marker and on_request."""

from functools import cached_property
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.typing import LambdaContext

from aep_intake.adapters.aws.appconfig import InForce
from aep_intake.adapters.aws.routing_table import ROUTING_TABLE
from aep_intake.arrivals.ports import Intake
from aep_intake.model import messages
from aep_intake.model.files import Arrival
from aep_intake.routing.checks import Checks
from aep_intake.routing.routes import RoutingTable
from aep_intake.routing.targets import Targets
from aep_intake.wiring.create import Creating
from aep_intake.wiring.worker import DAY

if TYPE_CHECKING:
    from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries


class Requesting(Creating):
    """A worker that knows where batches may go."""

    @cached_property
    def targets(self) -> Targets:
        """Where batches may go."""
        return Targets(
            self.organizations.current,
            self.credentials.ims_org,
            self.adobe.dataset_id,
            self.adobe.dataset_info,
        )

    @cached_property
    def deliveries(self) -> "DynamoDeliveries":
        """Needed only where someone asks about a batch."""
        from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries  # noqa: PLC0415

        return DynamoDeliveries(self.table, self.now, retention=self.settings.retention_days * DAY)


class Arriving(Requesting):
    """A worker that routes what arrives."""

    def intake(
        self,
        context: LambdaContext,
    ) -> Intake:
        """Everything for this invocation. Raises LimitsUnavailable."""
        return Intake(
            ports=self.create(context, self.pace.wait),
            windows=self.window_ports,
            overdue=self.overdue_ports,
            ledger=self.ledger,
            announcer=self.announcer,
            targets=self.targets,
            objects=self.objects,
            checks=self.checks,
            table=self.tables.current,
            buckets=self.settings.source_buckets,
            retention=self.settings.retention_days * DAY,
        )

    @cached_property
    def tables(self) -> InForce[RoutingTable]:
        """The routes in force; not made where nothing is routed."""
        return InForce(
            self._appconfig,
            ROUTING_TABLE,
            application=self.settings.routes_application,
            environment=self.settings.routes_environment,
            profile=self.settings.routes_profile,
            now=self.now,
        )

    @property
    def checks(self) -> Checks:
        """What files may be, as the limits are now. Raises LimitsUnavailable."""
        limits = self.limits
        return Checks(
            read=self.objects.read,
            batch_bytes=limits.batch_gigabytes * 10**9,
            unsplit_bytes=limits.file_megabytes * 10**6,
        )

    def hand_on(self, marker: Arrival) -> None:
        """A marker becomes on_marker's. Raises StorageUnavailable."""
        self.queues.send_as_is(self.settings.markers_queue_url, messages.of_arrival(marker))
