"""The worker of any function: its settings, AWS's clients, the ledger, and the queues."""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config

from aep_intake.adapters.aws.appconfig import DocumentKind, InForce
from aep_intake.adapters.aws.sqs import Queues, WorkQueue
from aep_intake.adapters.aws.window_lists import Lists
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.clock import retries
from aep_intake.clock.retries import Message
from aep_intake.model.errors import LimitsUnavailable
from aep_intake.model.organizations import Limits, Organizations, parse, undocumented
from aep_intake.model.times import DAY_MS
from aep_intake.report import telemetry
from aep_intake.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_appconfigdata import AppConfigDataClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


class Worker:
    """One worker's adapters, each made when prepared or first used, and reused while it is warm.

    All AWS clients share one session, since each new one reads botocore's endpoint data again.
    Each function has a subclass of its own, so that it loads only the modules it needs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session = boto3.Session()
        self._making = Lock()
        # boto3 waits 60 seconds by default, which is longer than the functions live.
        config = Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=settings.delivery_concurrency,
        )
        self._client = partial(self._session.client, config=config)

    def prepare(self, *adapters: str) -> Self:
        """Make these adapters at import, for which Lambda gives more CPU than for invocations."""
        for name in adapters:
            getattr(self, name)
        # The start is over (see `cold_start`): what is there stays, what comes may be garbage.
        gc.freeze()
        gc.enable()
        return self

    @staticmethod
    def now() -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

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
            lists=self.lists,
        )

    @cached_property
    def lists(self) -> Lists:
        """Lists in the state bucket."""
        return Lists(lambda: self._s3, self.settings.state_bucket)

    @cached_property
    def table(self) -> Table:
        """The ledger's table, for adapters of their own."""
        return Table(self._dynamodb, self.settings.ledger_table)

    @cached_property
    def queues(self) -> Queues:
        """SQS, for messages that are parked, delayed or enqueued."""
        return Queues(self._client("sqs"))

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
        failed: Mapping[Message, Exception],
        early: Iterable[Message],
        queue_url: str,
        dead_letters: str,
        *,
        age: str,
    ) -> dict[str, Any]:
        """Delay or park messages (see `retries`). `age`: the metric of their ages.

        Returns Lambda's partial batch response.
        """
        if not failed and not early:
            return {"batchItemFailures": []}
        now = self.now()
        back = retries.retry_later(
            failed, early, WorkQueue(self.queues, queue_url, dead_letters), now
        )
        for message in failed:
            telemetry.age(age, now - message.first_sent_at)
        for trouble in back.troubles:
            telemetry.report("put-off", trouble, None)
        return {"batchItemFailures": [{"itemIdentifier": stays} for stays in back.stay]}

    def side_by_side[T, R](self, work: Callable[[T], R], values: Iterable[T], /) -> list[R]:
        """A `map` with as many threads as `delivery_concurrency`."""
        if listed := list(values):
            with ThreadPoolExecutor(self.settings.delivery_concurrency) as pool:
                return list(pool.map(work, listed))
        return []

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def _s3(self) -> "S3Client":
        # Threads may need it first, and a boto3 session must not be shared among threads.
        with self._making:
            client: S3Client = self._client("s3")
        return client

    @cached_property
    def _appconfig(self) -> "AppConfigDataClient":
        client: AppConfigDataClient = self._client("appconfigdata")
        return client
