"""The worker of any function that works on orders: the ledger, and the queues."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.aws.appconfig import DocumentKind, InForce
from aep_intake.adapters.aws.sqs import Queues, WorkQueue
from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.model.errors import LimitsUnavailable
from aep_intake.model.organizations import Limits, Organizations, parse, undocumented
from aep_intake.model.progress import Rejection
from aep_intake.model.times import DAY_MS
from aep_intake.report import telemetry
from aep_intake.wiring.clients import Clients

if TYPE_CHECKING:
    from mypy_boto3_appconfigdata import AppConfigDataClient

    from aep_intake.adapters.dynamodb.routes import DynamoRoutes
    from aep_intake.clock.parking import Parking
    from aep_intake.clock.retries import Message


class Worker(Clients):
    """One worker's adapters, made and reused as its clients are."""

    @property
    def retention_ms(self) -> int:
        """How long the ledger stores finished work."""
        return self.settings.retention_days * DAY_MS

    @cached_property
    def ledger(self) -> DynamoLedger:
        """The ledger."""
        return DynamoLedger(
            self._dynamodb,
            self.settings.ledger_table,
            self.now,
            self.retention_ms,
            lists=self.state_objects,
        )

    @cached_property
    def state_objects(self) -> StateObjects:
        return StateObjects(lambda: self._s3, self.settings.state_bucket)

    @cached_property
    def routes_seen(self) -> "DynamoRoutes":
        """What the ledger knows of routes, in the same table; few functions load it."""
        from aep_intake.adapters.dynamodb.routes import DynamoRoutes  # noqa: PLC0415

        return DynamoRoutes(self.table, self.now, retention_ms=self.retention_ms)

    @cached_property
    def queues(self) -> Queues:
        """SQS, for messages that are parked, delayed or enqueued."""
        return Queues(self._client("sqs"))

    @cached_property
    def parking(self) -> "Parking":
        """Parks messages; few workers ever do."""
        from aep_intake.adapters.dynamodb.parked import DynamoParked  # noqa: PLC0415
        from aep_intake.clock.parking import Parking  # noqa: PLC0415

        return Parking(DynamoParked(self.table), self.queues.park)

    @cached_property
    def organizations(self) -> InForce[Organizations]:
        """The organizations in force, and the limits."""
        secrets = self.settings.credentials
        return InForce(
            self._appconfig,
            DocumentKind(
                "the document of organizations and limits",
                "aep-intake limits publish",
                lambda document, _: parse(document, secrets),
                LimitsUnavailable,
                undocumented(secrets),
            ),
            application=self.settings.limits_application,
            environment=self.settings.limits_environment,
            profile=self.settings.limits_profile,
            now=self.now,
        )

    @property
    def limits(self) -> Limits:
        """The present limits of all organizations. Raises LimitsUnavailable."""
        return self.organizations.current().limits

    def give_back(
        self,
        failed: Mapping["Message", Exception],
        early: Iterable["Message"],
        queue_url: str,
        parks: Callable[["Message", Rejection], None],
        *,
        age: str,
    ) -> dict[str, Any]:
        """Delay messages, or give them to `parks` (see `retries`). `age`: the metric of their ages.

        Returns Lambda's partial batch response.
        """
        if not failed and not early:
            return {"batchItemFailures": []}
        from aep_intake.clock import retries  # noqa: PLC0415 - most messages succeed

        now = self.now()
        back = retries.retry_later(failed, early, WorkQueue(self.queues, queue_url, parks), now)
        for message in failed:
            telemetry.age(age, now - message.first_sent_at)
        for trouble in back.troubles:
            telemetry.report("put-off", trouble)
        return {"batchItemFailures": [{"itemIdentifier": stays} for stays in back.stay]}

    @cached_property
    def _appconfig(self) -> "AppConfigDataClient":
        client: AppConfigDataClient = self._client("appconfigdata")
        return client
