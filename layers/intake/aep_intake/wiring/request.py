"""The worker of on_request; those that route arrivals extend it."""

from functools import cached_property, partial
from typing import TYPE_CHECKING

from botocore.config import Config

from aep_intake.adapters.aws.appconfig import DocumentKind, InForce
from aep_intake.model.errors import RoutesUnavailable
from aep_intake.model.files import digest
from aep_intake.model.times import DAY_MS
from aep_intake.routing.routes import parse
from aep_intake.routing.table import RoutingTable
from aep_intake.routing.targets import Targets
from aep_intake.wiring.create import Creating

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

    from aep_intake.adapters.aws.journal import JournalBucket
    from aep_intake.adapters.aws.upload_urls import UploadUrls
    from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
    from aep_intake.adapters.dynamodb.listing import DynamoListed
    from aep_intake.arrivals.ports import VersionPorts
    from aep_intake.report.answers import StatusAnswers
    from aep_intake.routing.checks import Checks


def _parsed(document: bytes, version: str) -> RoutingTable:
    # Without a label, the start of a hash of the document identifies it.
    return parse(document, version or digest(document.decode(errors="replace"))[:8])


ROUTING_TABLE = DocumentKind(
    "the routing table", "aep-intake routes publish", _parsed, RoutesUnavailable
)


class Requesting(Creating):
    """A worker that finds the targets of requests, and the routes of uploads."""

    @cached_property
    def targets(self) -> Targets:
        """The targets to which batches may go."""
        return Targets(
            self.organizations.current,
            self.credentials.ims_org,
            self.adobe.dataset_id,
            self.adobe.dataset_info,
        )

    @cached_property
    def deliveries(self) -> "DynamoDeliveries":
        """The ledger of deliveries, for the status of a batch."""
        from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries  # noqa: PLC0415

        return DynamoDeliveries(
            self.table, self.now, retention_ms=self.settings.retention_days * DAY_MS
        )

    @cached_property
    def journal(self) -> "JournalBucket":
        """The journal, for lists of batches."""
        from aep_intake.adapters.aws.journal import JournalBucket  # noqa: PLC0415

        return JournalBucket(self._s3, self.settings.state_bucket)

    @cached_property
    def listed(self) -> "DynamoListed":
        """The ledger, for lists of batches."""
        from aep_intake.adapters.dynamodb.listing import DynamoListed  # noqa: PLC0415

        pauses = self.ledger.pauses
        return DynamoListed(self.table, lambda: [pause.name for pause in pauses.all()])

    @cached_property
    def answers(self) -> "StatusAnswers":
        """Answers questions about batches and objects; made for the first who asks one."""
        from aep_intake.report.answers import StatusAnswers  # noqa: PLC0415
        from aep_intake.report.listing import ListingPorts  # noqa: PLC0415
        from aep_intake.report.status import StatusPorts, in_time  # noqa: PLC0415

        ledger = self.ledger
        ports = StatusPorts(
            ledger,
            ledger.windows,
            self.deliveries,
            partial(in_time, platform=self.adobe, threads=self.settings.delivery_concurrency),
            self.side_by_side,
            ledger.pauses.standing,
        )
        return StatusAnswers(
            ports,
            buckets=self.settings.source_buckets,
            table=self.tables.current,
            identity=ledger.identity.get,
            now=self.now,
            listing=(lambda: ListingPorts(self.journal, self.listed, ports))
            if self.settings.journal_days
            else None,
        )

    @property
    def versions(self) -> "VersionPorts":
        """What it takes to know which versions are loaded or under way."""
        from aep_intake.arrivals.ports import VersionPorts  # noqa: PLC0415 - few requests need it

        windows = self.ledger.windows
        ended, batch = self._ended_without_data, self.adobe.batch
        return VersionPorts(self.ledger, windows.get, windows.part_of, ended, batch)

    def _ended_without_data(self, external_id: str) -> bool:
        """By its delivery; where nothing is delivered, nobody knows, and it counts as loaded."""
        delivery = self.deliveries.get(external_id)
        verdict = None if delivery is None else delivery.verdict
        return verdict is not None and verdict.end != "succeeded"

    @cached_property
    def tables(self) -> InForce[RoutingTable]:
        """The routing table in force."""
        return InForce(
            self._appconfig,
            ROUTING_TABLE,
            application=self.settings.routes_application,
            environment=self.settings.routes_environment,
            profile=self.settings.routes_profile,
            now=self.now,
        )

    @property
    def checks(self) -> "Checks":
        """The checks of files, with the present limits. Raises LimitsUnavailable."""
        from aep_intake.routing.checks import Checks  # noqa: PLC0415 - requests without files do not

        limits = self.limits
        return Checks(
            read=self.objects.read,
            batch_bytes=limits.batch_gigabytes * 10**9,
            unsplit_bytes=limits.file_megabytes * 10**6,
            delivers=self.settings.deliver_batches,
        )

    @cached_property
    def upload_urls(self) -> "UploadUrls":
        """Signs URLs for uploads into the landing bucket."""
        from aep_intake.adapters.aws.upload_urls import UploadUrls  # noqa: PLC0415

        return UploadUrls(
            self._client("sts"), self._s3_for_uploads, self.settings.landing_role, self.now
        )

    def _s3_for_uploads(self, session: "CredentialsTypeDef") -> "S3Client":
        # By default a URL is signed by version 2, which leaves If-None-Match out, and for the host
        # of us-east-1, which redirects to the bucket's own: that breaks the signature.
        config = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
        client: S3Client = self._session.client(
            "s3",
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
            config=config,
        )
        return client
