"""The only place that knows every adapter: what the functions are made of."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import boto3
import requests
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.http import https_session
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.adapters.aws.appconfig import InForce, Kind
from aep_intake.adapters.aws.eventbridge import Announcer
from aep_intake.adapters.aws.routing_table import ROUTING_TABLE
from aep_intake.adapters.aws.s3 import Objects
from aep_intake.adapters.aws.sqs import Queues, WorkQueue, message
from aep_intake.adapters.aws.window_lists import Lists
from aep_intake.adapters.dynamodb.buckets import DynamoBuckets
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals.envelopes import written
from aep_intake.arrivals.take_in import Intake, SideBySide
from aep_intake.clock import due, retries
from aep_intake.clock.retries import Message
from aep_intake.create.pace import Pace
from aep_intake.create.ports import Ports
from aep_intake.grouping import missing_markers, windows
from aep_intake.model import records
from aep_intake.model.errors import LimitsUnavailable, RoutesUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Lease, Order, Rejection
from aep_intake.model.organizations import Limits, Organizations, parse, undocumented
from aep_intake.report import telemetry
from aep_intake.routing.checks import Checks
from aep_intake.routing.routes import RoutingTable
from aep_intake.routing.targets import Targets
from aep_intake.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_appconfigdata import AppConfigDataClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from aep_intake.adapters.adobe.ingestion import Ingestion
    from aep_intake.adapters.dynamodb.allowance import HourlyAllowance
    from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
    from aep_intake.delivery import steps

# A lease outlasts its worker by this much (milliseconds), since clocks of two workers may differ.
SKEW = 10_000
DAY = 86_400_000
STEP = 60_000  # milliseconds that a delivery's step takes at most, but for looking through files
PLANNING = 60_000  # and how long it looks through them until others have their turn


def _not_routing() -> RoutingTable:
    raise RoutesUnavailable("this function reads no routes")


class World:
    """One worker's adapters, each made when prepared or first used, and kept while it is warm.

    All AWS clients share one session, since each new one reads botocore's endpoint data again.
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
        return self

    @staticmethod
    def now() -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb")
        return client

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
    def deliveries(self) -> "DynamoDeliveries":
        """The same table, of how batches are filled."""
        # Here and below: the create stage starts without what only deliveries need.
        from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries  # noqa: PLC0415

        return DynamoDeliveries(
            Table(self._dynamodb, self.settings.ledger_table),
            self.now,
            retention=self.settings.retention_days * DAY,
        )

    @cached_property
    def allowance(self) -> "HourlyAllowance":
        """What AEP takes in an hour; the same table remembers it."""
        from aep_intake.adapters.dynamodb.allowance import HourlyAllowance  # noqa: PLC0415

        return HourlyAllowance(
            Table(self._dynamodb, self.settings.ledger_table),
            self.now,
            self._hourly,
        )

    @cached_property
    def ingestion(self) -> "Ingestion":
        """The platform, as a batch is filled."""
        from aep_intake.adapters.adobe.ingestion import Ingestion  # noqa: PLC0415

        # An upload ends before its function does, so that it can say so.
        return Ingestion(self.adobe, self.announcer.keep, self.settings.upload_seconds * 4 // 5)

    @cached_property
    def queues(self) -> Queues:
        """Needed only where something is rejected, put off or handed out."""
        return Queues(self._client("sqs"))

    @cached_property
    def objects(self) -> Objects:
        """Needed only for markers, where a route looks inside, and where a request names some."""
        return Objects(lambda: self._s3)

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
    def _appconfig(self) -> "AppConfigDataClient":
        client: AppConfigDataClient = self._client("appconfigdata")
        return client

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

    @cached_property
    def organizations(self) -> InForce[Organizations]:
        """The organizations in force, and the limits."""
        secrets = self.settings.credentials
        return InForce(
            self._appconfig,
            Kind(
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

    @cached_property
    def targets(self) -> Targets:
        """Where batches may go."""
        return Targets(
            self.organizations.current,
            self.credentials.ims_org,
            self.adobe.dataset_id,
            self.adobe.look_up,
        )

    @property
    def checks(self) -> Checks:
        """What files may be, as the limits are now. Raises LimitsUnavailable."""
        limits = self.limits
        return Checks(
            read=self.objects.read,
            most=limits.batch_gigabytes * 10**9,
            most_unsplit=limits.file_megabytes * 10**6,
        )

    @property
    def window_ports(self) -> windows.Ports:
        """What windows need, as the limits are now. Raises LimitsUnavailable."""
        limits = self.limits
        return windows.Ports(
            windows=self.ledger.windows,
            orders=self.ledger,
            hand_out=lambda ids: self.queues.hand_out(
                self.settings.due_queue_url, due.Kind.ORDERS, ids
            ),
            now=self.now,
            limits=windows.Limits(
                limits.batch_files, limits.batch_gigabytes * 10**9, limits.file_megabytes * 10**6
            ),
            opened=self.objects.opened,
            side_by_side=self._side_by_side,
            in_turn=Lock(),
        )

    def due_ports(self, side_by_side: SideBySide) -> due.Ports:
        """What handing out needs; `side_by_side` is a `map`."""
        settings = self.settings
        queues = {
            due.Kind.WINDOWS: settings.due_queue_url,
            due.Kind.FOLDERS: settings.due_folders_queue_url,
            due.Kind.ORDERS: settings.due_orders_queue_url,
            due.Kind.DELIVERIES: settings.due_deliveries_queue_url,
        }

        def waiting(kind: due.Kind) -> int:
            # Where nothing is delivered by now, what was begun stays due, and the alarm says so.
            nowhere = kind is due.Kind.DELIVERIES and queues[kind] == settings.due_queue_url
            return due.MOST if nowhere else self.queues.waiting(queues[kind])

        return due.Ports(
            ledger=self.ledger,
            waiting=waiting,
            send=lambda kind, names: self.queues.hand_out(queues[kind], kind, names),
            now=self.now,
            side_by_side=side_by_side,
        )

    def _side_by_side(self, work: Callable[[Any], Any], values: Iterable[Any]) -> Iterable[Any]:
        if waiting := list(values):
            with ThreadPoolExecutor(self.settings.delivery_concurrency) as pool:
                return list(pool.map(work, waiting))
        return []

    @cached_property
    def overdue_ports(self) -> missing_markers.Ports:
        """What files need that wait for a marker."""
        url = self.settings.arrivals_queue_url
        return missing_markers.Ports(
            ledger=self.ledger,
            folders=self.ledger.folders,
            announcer=self.announcer,
            objects=self.objects,
            send=lambda missing: self.queues.send(url, [{"missing": missing}]),
            now=self.now,
        )

    @cached_property
    def pace(self) -> Pace:
        """The batches per minute of each credential, which all workers share.

        Its calls raise LimitsUnavailable besides.
        """
        buckets = DynamoBuckets(Table(self._dynamodb, self.settings.ledger_table))
        return Pace(buckets, self._per_minute, self.now, time.sleep)

    def _per_minute(self, credential: str) -> int:
        return self.organizations.current().limits_of(credential).batches_per_minute

    @cached_property
    def _https(self) -> requests.Session:
        return https_session(self.settings.delivery_concurrency)

    @cached_property
    def _s3(self) -> "S3Client":
        # First used in the midst of work, and a boto3 session may not be shared among threads.
        with self._making:
            client: S3Client = self._client("s3")
        return client

    def _hourly(self, credential: str) -> int:
        limits = self.organizations.current().limits_of(credential)
        return limits.gigabytes_per_hour * 10**9

    def hand_on(self, marker: Arrival) -> None:
        """A marker becomes on_marker's. Raises StorageUnavailable."""
        self.queues.send_as_is(self.settings.markers_queue_url, written(marker))

    def _park(self, order: Order, rejection: Rejection) -> None:
        body = message({"externalId": order.external_id})
        url = self.settings.arrivals_dlq_url
        self.queues.park(url, body, rejection, order.external_id)

    def _park_file(self, file: Arrival, why: Rejection) -> None:
        url = self.settings.arrivals_dlq_url
        self.queues.park(url, written(file), why, file.external_id)

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
        back = retries.put_off(failed, early, WorkQueue(self.queues, queue_url, dead_letters), now)
        for one in failed:
            telemetry.age(age, now - one.first_sent_at)
        for trouble in back.troubles:
            telemetry.report("put-off", trouble, None)
        return {"batchItemFailures": [{"itemIdentifier": stays} for stays in back.stay]}

    def delivery(self, context: LambdaContext) -> "steps.Ports":
        """What deliveries need, for this invocation. Raises LimitsUnavailable."""
        from aep_intake.delivery import steps  # noqa: PLC0415

        limits, uploads = self.limits, self.settings.uploads_queue_url
        left = context.get_remaining_time_in_millis()

        def hand_out(tasks: "list[steps.Task]") -> None:
            self.queues.send(uploads, map(records.members, tasks))

        return steps.Ports(
            deliveries=self.deliveries,
            orders=self.ledger,
            ingestion=self.ingestion,
            allowance=self.allowance,
            announcer=self.announcer,
            opened=self.objects.opened,
            hand_out=hand_out,
            park=self._park,
            park_file=self._park_file,
            now=self.now,
            step=min(left, STEP) + SKEW,
            life=left + SKEW,
            uploading=self.settings.upload_seconds * 1000 + SKEW,
            end=self.now() + left * 4 // 5,
            planning=min(PLANNING, left // 2),
            limit=limits.file_megabytes * 10**6,
            deadline=limits.upload_hours * 3_600_000,
            first_look=limits.outcome_seconds * 1000,
            restored_at=lambda: self.ledger.identity.get().restored_at,
        )

    def create(self, context: LambdaContext, pace: Callable[[str], None]) -> Ports:
        """What an order needs, for this invocation; leases end after the worker surely has.

        `pace` waits for a credential's turn to make a batch. Raises LimitsUnavailable.
        """
        end = self.now() + context.get_remaining_time_in_millis() + SKEW
        return Ports(
            ledger=self.ledger,
            platform=self.adobe,
            announcer=self.announcer,
            now=self.now,
            lease=lambda: Lease(uuid.uuid4().hex, end),
            pace=pace,
            park=self._park,
            post_time=self.adobe.create_time + SKEW,
            settle=self.limits.settle_seconds * 1000 + SKEW,
            delivers=self.settings.deliver_batches,
            identity=self.ledger.identity.get,
        )

    def intake(
        self,
        context: LambdaContext,
        table: Callable[[], RoutingTable] = _not_routing,
        buckets: tuple[str, ...] = (),
    ) -> Intake:
        """Everything for this invocation. Raises LimitsUnavailable.

        `table` and `buckets` are for who routes what arrives.
        """
        return Intake(
            ports=self.create(context, self.pace.wait),
            windows=self.window_ports,
            overdue=self.overdue_ports,
            ledger=self.ledger,
            announcer=self.announcer,
            targets=self.targets,
            objects=self.objects,
            checks=self.checks,
            table=table,
            buckets=buckets,
            retention=self.settings.retention_days * DAY,
        )
