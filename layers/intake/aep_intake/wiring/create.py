"""The worker of any function that creates batches."""

import time
import uuid
from collections.abc import Callable
from functools import cached_property

from aws_lambda_powertools.utilities.typing import LambdaContext

from aep_intake.adapters.dynamodb.buckets import DynamoBuckets
from aep_intake.create.pace import Pace
from aep_intake.create.ports import OrderPorts
from aep_intake.model.progress import Lease
from aep_intake.model.times import SKEW_MS
from aep_intake.report import telemetry
from aep_intake.wiring.platform import WithPlatform


class Creating(WithPlatform):
    """A worker that creates batches."""

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

    @cached_property
    def pace(self) -> Pace:
        """The rate limit that all workers share. Its methods raise LimitsUnavailable, too."""
        buckets = DynamoBuckets(self.table)
        return Pace(buckets, self._per_minute, self.now, time.sleep)

    def _per_minute(self, credential: str) -> int:
        return self.organizations.current().limits_of(credential).batches_per_minute
