"""The worker of any function that calls Adobe and announces results."""

from functools import cached_property

import requests

from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.http import https_session
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.adapters.aws.eventbridge import Announcer
from aep_intake.adapters.aws.s3 import Objects
from aep_intake.model.orders import Order
from aep_intake.model.progress import Rejection
from aep_intake.wiring.worker import Worker


class WithPlatform(Worker):
    """A worker that calls Adobe."""

    @cached_property
    def credentials(self) -> Credentials:
        """Tokens of all organizations."""
        return Credentials(
            self._client("secretsmanager"), self._https, self.settings.ims_url, self.now
        )

    @cached_property
    def adobe(self) -> Adobe:
        """The platform."""
        return Adobe(
            self._https,
            self.credentials,
            self.settings.platform_url,
            self.ledger.identity.ledger_id,
            self.now,
            replay_by=lambda: self.limits.replay_by,
        )

    @cached_property
    def announcer(self) -> Announcer:
        """The bus."""
        return Announcer(
            self._client("events"),
            lambda: self._s3,
            bus=self.settings.bus_name,
            state_bucket=self.settings.state_bucket,
        )

    @cached_property
    def objects(self) -> Objects:
        """S3's objects, for markers, `lookInside`, and requests that name objects."""
        return Objects(lambda: self._s3)

    def _park(self, order: Order, why: Rejection) -> None:
        self.parking.order(self.settings.arrivals_dlq_url, order, why)

    @cached_property
    def _https(self) -> requests.Session:
        return https_session(self.settings.delivery_concurrency)
