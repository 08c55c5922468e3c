"""AWS's clients of any worker, and what every function needs of them."""

import gc
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config

from aep_intake.adapters.dynamodb.table import Table
from aep_intake.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


class Clients:
    """One worker's clients, each made when prepared or first used, and reused while it is warm.

    All share one session, since each new one reads botocore's endpoint data again. Each function
    has a subclass of its own, so that it loads only the modules it needs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._session = boto3.Session()
        self._making = Lock()
        # boto3 waits 60 seconds by default, which is longer than the functions live.
        self._config = Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=settings.delivery_concurrency,
        )

    def prepare(self, *adapters: str) -> Self:
        """Make these adapters at import, for which Lambda gives more CPU than for invocations."""
        for name in adapters:
            attrgetter(name)(self)
        # The start is over (see `cold_start`): what is there stays, what comes may be garbage.
        gc.freeze()
        gc.enable()
        return self

    @staticmethod
    def now() -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

    @cached_property
    def table(self) -> Table:
        """The ledger's table, for adapters of their own."""
        return Table(self._dynamodb, self.settings.ledger_table)

    def side_by_side[T, R](self, work: Callable[[T], R], values: Iterable[T], /) -> list[R]:
        """A `map` with as many threads as `delivery_concurrency`."""
        if listed := list(values):
            with ThreadPoolExecutor(self.settings.delivery_concurrency) as pool:
                return list(pool.map(work, listed))
        return []

    def _client(self, service: Any) -> Any:
        # Threads may need their first one at once, and boto3's session must not be shared by them.
        with self._making:
            return self._session.client(service, config=self._config)

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def _s3(self) -> "S3Client":
        client: S3Client = self._client("s3")
        return client
