"""The worker of on_delivery and on_upload, which fills batches."""

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from aep_intake.adapters.adobe.ingestion import Ingestion
from aep_intake.adapters.dynamodb.allowance import HourlyAllowance
from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
from aep_intake.clock import due
from aep_intake.delivery.delivery import Task
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model import records
from aep_intake.model.files import Arrival
from aep_intake.model.orders import key_of_map
from aep_intake.model.progress import Rejection
from aep_intake.model.sharing import Sharing
from aep_intake.model.times import DAY_MS, HOUR_MS, SKEW_MS
from aep_intake.report import telemetry
from aep_intake.wiring.platform import WithPlatform

TICK_MS = 60_000  # between two ticks of the clock
if TYPE_CHECKING:
    from aep_intake.clock.parking import ParkedPlace
    from aep_intake.clock.retries import Message

STEP_MS = 60_000  # the longest step of a delivery, except planning
READ_AHEAD = 16  # files of runs that are read side by side
MAPS = 32  # compiled maps that a worker keeps
PLANNING_MS = 60_000  # how long a delivery is planned until others take their turn


def one_ahead[T](values: Generator[T], /) -> Generator[T]:
    """A `OneAhead` with a thread of its own; at its end it waits for the value that it began."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, values, None)
        while (value := following.result()) is not None:
            following = thread.submit(next, values, None)
            yield value


class Delivering(WithPlatform):
    """A worker that fills batches."""

    def delivery(self, context: LambdaContext) -> DeliveryPorts:
        """The ports of deliveries, for this invocation. Raises LimitsUnavailable."""
        limits, uploads = self.limits, self.settings.uploads_queue_url
        left = context.get_remaining_time_in_millis()
        telemetry.by_route(limits.metrics_by_route)

        turn = Lock()

        def enqueue(tasks: list[Task]) -> None:
            self.queues.send(uploads, map(records.members, tasks))

        def ahead[T, R](work: Callable[[T], R], values: Iterable[T], /) -> Iterator[R]:
            # Runs are read one at a time, while others are sent. Else, where S3 is slow, none would
            # be read before its worker ends; and /tmp has no room for what each reads ahead.
            with turn:
                yield from self._ahead(work, values)

        return DeliveryPorts(
            deliveries=self.deliveries,
            orders=self.ledger,
            ingestion=self.ingestion,
            allowance=self.allowance,
            announcer=self.announcer,
            opened=self.objects.opened,
            lists=self.state_objects,
            compiled_map=self._compiled_map,
            enqueue=enqueue,
            park=self._park,
            park_file=self._park_file,
            now=self.now,
            step_ms=min(left, STEP_MS) + SKEW_MS,
            worker_life_ms=left + SKEW_MS,
            upload_ms=self.settings.upload_seconds * 1000 + SKEW_MS,
            uploads_end_ms=self.now() + left * 4 // 5,
            planning_ms=min(PLANNING_MS, left // 2),
            piece_bytes=limits.file_megabytes * 10**6,
            sharing=Sharing.within(limits.file_megabytes * 10**6),
            deadline_ms=limits.upload_hours * HOUR_MS,
            first_poll_ms=limits.outcome_seconds * 1000,
            count_rows=self._count_rows,
            remind=self._remind,
            ahead=ahead,
            one_ahead=one_ahead,
            restored_at=lambda: self.ledger.identity.get().restored_at,
        )

    def _count_rows(self, route: str, rows: int) -> None:
        from aep_intake.model.expectations import Counts  # noqa: PLC0415 - few routes need it

        self.routes_seen.count(route, Counts(rows=rows))

    def _remind(self, external_id: str, wait_ms: int) -> None:
        if wait_ms < TICK_MS:
            url, wait = self.settings.due_deliveries_queue_url, -(-wait_ms // 1000)
            self.queues.enqueue(url, due.DueKind.DELIVERIES, [external_id], wait)

    def _ahead[T, R](self, work: Callable[[T], R], values: Iterable[T], /) -> Iterator[R]:
        """A `map` that is some values ahead."""
        waiting: deque[Future[R]] = deque()
        try:
            for value in values:
                waiting.append(self._readers.submit(work, value))
                if len(waiting) >= READ_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    @cached_property
    def _compiled_map(self) -> Callable[[str], Mapping[str, Any]]:
        return lru_cache(MAPS)(lambda name: json.loads(self.state_objects.there(key_of_map(name))))

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(READ_AHEAD)

    @cached_property
    def deliveries(self) -> DynamoDeliveries:
        """The ledger of deliveries, in the same table."""
        return DynamoDeliveries(
            self.table, self.now, retention_ms=self.settings.retention_days * DAY_MS
        )

    @cached_property
    def ingestion(self) -> Ingestion:
        """AEP's ingestion API."""
        # An upload ends before its function does, so that its worker can mark the piece.
        return Ingestion(self.adobe, self.announcer.keep, self.settings.upload_seconds * 4 // 5)

    @cached_property
    def allowance(self) -> HourlyAllowance:
        """The hourly allowance, in the same table."""
        return HourlyAllowance(self.table, self.now, self._hourly)

    def _hourly(self, credential: str) -> int:
        limits = self.organizations.current().limits_of(credential)
        return limits.gigabytes_per_hour * 10**9

    def end_parked_after[T](
        self, message: "Message", place: "ParkedPlace", work: Callable[[], T]
    ) -> T:
        """As that of `Parking`, if the message may have been parked."""
        before = message.redriven or message.tries > 1
        return self.parking.end_parked_after(work, place) if before else work()

    def _park_file(self, file: Arrival, route: str | None, why: Rejection) -> None:
        self.parking.file(self.settings.arrivals_dlq_url, file, route, why)
