"""What every function is made of: its settings, AWS's clients, the ledger, and the queues."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config

from aep_intake import cold_start
from aep_intake.adapters.aws.appconfig import DocumentKind, InForce
from aep_intake.adapters.aws.sqs import Queues, WorkQueue
from aep_intake.adapters.aws.window_lists import Lists
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.clock import retries
from aep_intake.clock.retries import Message
from aep_intake.model.errors import LimitsUnavailable
from aep_intake.model.organizations import Limits, Organizations, parse, undocumented
from aep_intake.report import telemetry
from aep_intake.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_appconfigdata import AppConfigDataClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

# A lease outlasts its worker by this much (milliseconds), since clocks of two workers may differ.
SKEW = 10_000
DAY = 86_400_000


class Worker:
    """One worker's adapters, each made when prepared or first used, and kept while it is warm.

    All AWS clients share one session, since each new one reads botocore's endpoint data again.
    Each function has a class of its own below this one, so that it loads only what it needs.
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
        """Make these now, at import: Lambda gives that more CPU than the invocations later."""
        for name in adapters:
            getattr(self, name)
        cold_start.is_over()
        return self

    @staticmethod
    def now() -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

    @cached_property
    def ledger(self) -> DynamoLedger:
        """The table that remembers."""
        return DynamoLedger(
            self._dynamodb,
            self.settings.ledger_table,
            self.now,
            self.settings.retention_days * DAY,
            lists=Lists(lambda: self._s3, self.settings.state_bucket),
        )

    @cached_property
    def table(self) -> Table:
        """The ledger's table, for what else is kept in it."""
        return Table(self._dynamodb, self.settings.ledger_table)

    @cached_property
    def queues(self) -> Queues:
        """Needed only where something is rejected, put off or handed out."""
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
        """The limits of all organizations, as they are now. Raises LimitsUnavailable."""
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
        """Have messages tried again as `retries` says; `age`: the metric of since when they are.

        Gives the answer that Lambda wants of a batch of messages.
        """
        if not failed and not early:
            return {"batchItemFailures": []}
        now = self.now()
        back = retries.retry_later(
            failed, early, WorkQueue(self.queues, queue_url, dead_letters), now
        )
        for one in failed:
            telemetry.age(age, now - one.first_sent_at)
        for trouble in back.troubles:
            telemetry.report("put-off", trouble, None)
        return {"batchItemFailures": [{"itemIdentifier": stays} for stays in back.stay]}

    def side_by_side[T, R](self, work: Callable[[T], R], values: Iterable[T], /) -> list[R]:
        """As many at once as the settings say."""
        if waiting := list(values):
            with ThreadPoolExecutor(self.settings.delivery_concurrency) as pool:
                return list(pool.map(work, waiting))
        return []

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def _s3(self) -> "S3Client":
        # First used in the midst of work, and a boto3 session may not be shared among threads.
        with self._making:
            client: S3Client = self._client("s3")
        return client

    @cached_property
    def _appconfig(self) -> "AppConfigDataClient":
        client: AppConfigDataClient = self._client("appconfigdata")
        return client
