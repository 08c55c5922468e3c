"""The event bus: one event at a time, each checked for having been taken."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.model.errors import NotAnnounced, StorageUnavailable
from aep_intake.model.files import Arrival, in_a_key
from aep_intake.model.orders import Order
from aep_intake.model.progress import Record, Rejection
from aep_intake.report import events

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client

    from aep_intake.clock.expected import MissedDeadline
    from aep_intake.delivery.delivery import Delivery


class Announcer:
    """Says on `bus` what became of orders, arrivals and messages; safe to share among threads.

    An event of more than `inline_bytes` (UTF-8) names an object in `state_bucket` in place of its
    file list, which is why that object is written first. `s3` is asked for a client only then.
    Every method raises NotAnnounced if the bus did not take the event and StorageUnavailable if
    the file list could not be written; both may be repeated.
    """

    def __init__(
        self,
        events: "EventBridgeClient",
        s3: "Callable[[], S3Client]",
        *,
        bus: str,
        state_bucket: str,
        inline_bytes: int = 240_000,
    ) -> None:
        self._events = events
        self._s3 = s3
        self._bus = bus
        self._state_bucket = state_bucket
        self._inline_bytes = inline_bytes

    def created(self, record: Record) -> None:
        """Announce the batch that the order got."""
        self._say(events.BATCH_CREATED, events.batch_created(record), record.order.files)

    def rejected(self, order: Order, rejection: Rejection) -> None:
        """Announce why the order gets no batch."""
        detail = events.order_rejected(order, rejection)
        self._say(events.ARRIVAL_REJECTED, detail, order.files)

    def arrival_rejected(
        self, external_id: str, arrivals: tuple[Arrival, ...], why: Rejection
    ) -> None:
        """Announce why these arrivals, or an unreadable message, cannot become an order."""
        detail = events.arrival_rejected(external_id, arrivals, why)
        self._say(events.ARRIVAL_REJECTED, detail, arrivals)

    def ended(
        self, delivery: "Delivery", files: tuple[Arrival, ...], lost: Mapping[str, Rejection]
    ) -> None:
        """Announce how a batch ended, and which files are not in it."""
        detail = events.batch_ended(delivery, files, lost, self._state_bucket)
        if delivery.verdict is not None:
            self._say(events.kind_of_end(delivery.verdict), detail, files)

    def route_told(self, told: "MissedDeadline") -> None:
        """Announce that files of a route did not come in time, or have come after all."""
        kind = events.ROUTE_RESUMED if told.resumed else events.ROUTE_OVERDUE
        self._say(kind, events.route_told(told), ())

    def keep(self, delivery: "Delivery", name: str, content: bytes) -> None:
        """Store a file of AEP's details of bad rows, beside the manifests."""
        self._put(f"{events.diagnostics_of(delivery)}{name}", content, delivery.external_id)

    def _say(self, kind: str, detail: dict[str, Any], files: tuple[Arrival, ...]) -> None:
        external_id = detail["externalId"]
        text = events.encoded(detail)
        if len(text) > self._inline_bytes:
            text = events.encoded(self._outsourced(detail))
        # Buckets, as in S3's own events: the bus does not take every character of object names.
        buckets = sorted({file.bucket for file in files})[:10]
        partition = self._events.meta.partition
        try:
            answer = self._events.put_events(
                Entries=[
                    {
                        "Source": events.SOURCE,
                        "DetailType": kind,
                        "Detail": text.decode(),
                        "EventBusName": self._bus,
                        "Resources": [f"arn:{partition}:s3:::{bucket}" for bucket in buckets],
                    }
                ]
            )
        except (ClientError, BotoCoreError) as error:
            raise NotAnnounced(
                f"the event bus did not take `{kind}`: {_name(error)}", external_id=external_id
            ) from error
        # PutEvents answers 200 even for entries that it did not take.
        refusals = [entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry]
        if answer["FailedEntryCount"] or refusals:
            raise NotAnnounced(
                f"the event bus did not take `{kind}`: {', '.join(refusals) or 'no code given'}",
                external_id=external_id,
            )

    def _outsourced(self, detail: dict[str, Any]) -> dict[str, Any]:
        external_id = detail["externalId"]
        key = f"manifests/{in_a_key(external_id)}.json"
        self._put(key, events.encoded(events.manifest(detail)), external_id)
        return events.with_manifest(detail, self._state_bucket, key)

    def _put(self, key: str, content: bytes, external_id: str) -> None:
        try:
            self._s3().put_object(
                Bucket=self._state_bucket, Key=key, Body=content, ContentType="application/json"
            )
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(
                f"s3://{self._state_bucket}/{key} cannot be written: {_name(error)}",
                external_id=external_id,
            ) from error


def _name(error: ClientError | BotoCoreError) -> str:
    """The service's code, or the class of the error, since the text may quote the request."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
