"""Reads arrivals from a queue message, in any envelope that S3's events come in."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from aep_intake.clock.parking import ARRIVALS, ParkedPlace
from aep_intake.model import strict_json
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.files import BACKFILL_PREFIX, RECONCILE_PREFIX, Arrival, digest
from aep_intake.model.history import OverdueFiles
from aep_intake.model.messages import AS_USUAL, Wish
from aep_intake.model.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable


class NotAnArrival(StrEnum):
    """Why a record does not concern us; it is counted, never rejected."""

    DELETE_EVENT = "delete-event"
    FOLDER_MARKER = "folder-marker"  # the console's "folder": a key that ends `/`, and no bytes
    OTHER_KEY = "other-key"  # the stack's KeyPattern does not match it
    OTHER_EVENT = "other-event"  # it brings no new bytes
    TEST_EVENT = "test-event"  # S3 sends one when a notification is configured


@dataclass(frozen=True, slots=True)
class Received:
    """The content of one message. If it has a `rejection`, it is parked after its arrivals."""

    arrivals: tuple[Arrival, ...] = ()
    ignored: tuple[NotAnArrival, ...] = ()
    malformed: tuple[str, ...] = ()  # a sentence for each bad record
    order: str | None = None  # external id of a parked order that was redriven
    wish: Wish = AS_USUAL  # how it is to be tried again
    overdue: OverdueFiles | None = None  # files whose marker did not come in time

    def place(self, body: str) -> ParkedPlace:
        """Its place among what is parked. `body`: of its message.

        What comes twice, or is sent by another of our functions, has one place.
        """
        if self.order is not None:
            return ARRIVALS, "order", self.order
        if self.overdue is not None:
            return ARRIVALS, "missing", self.overdue.external_id
        if len(self.arrivals) == 1 and not self.malformed:
            return ARRIVALS, "file", self.arrivals[0].external_id
        return ARRIVALS, "message", digest("message", body)

    def of_keys(self, wanted: re.Pattern[str]) -> "Received":
        """The same, with arrivals of other keys ignored.

        EventBridge's rule filters them already; other senders to the queue may not.
        """
        kept = tuple(arrival for arrival in self.arrivals if wanted.fullmatch(arrival.key))
        others = (NotAnArrival.OTHER_KEY,) * (len(self.arrivals) - len(kept))
        return replace(self, arrivals=kept, ignored=(*self.ignored, *others))

    @property
    def rejection(self) -> MalformedEvent | None:
        """The error to reject the message with; None if every record is well-formed."""
        if not self.malformed:
            return None
        more = len(self.malformed) - 3
        detail = "; ".join(self.malformed[:3]) + (f"; and {more} more" if more > 0 else "")
        return MalformedEvent(detail)


def parse(body: str) -> Received:
    """Read one queue message, in any envelope S3's events come in.

    These are S3 through EventBridge, and S3's own notification, either of them raw or wrapped by
    SNS; and our own, of a parked order, of overdue files, or of what a backfill brings. Raises
    MalformedEvent for any other envelope. A bad record in a good envelope goes into `malformed`
    instead, so that it does not hold up its neighbours.
    """
    message = _document(body, "message")
    if "externalId" in message:
        told = [message[name].value is True for name in ("asOrdered", "evenIfOvertaken")]
        return Received(order=message["externalId"].text(64), wish=Wish(*told))
    if "missing" in message:
        missing = message["missing"]
        after, until = missing["after"].text(64, least=0), missing["until"].text(64)
        return Received(overdue=OverdueFiles(missing["folder_id"].text(64), after, until))
    if message["Type"].value == "Notification":
        message = _document(message["Message"].text(_LARGEST), "Message")
    if message["Event"].value == "s3:TestEvent":
        return Received(ignored=(NotAnArrival.TEST_EVENT,))
    if "Records" in message:
        return _received(_from_notification, message["Records"].items())
    if "detail-type" in message:
        return _received(_from_eventbridge, [message])
    raise MalformedEvent(
        f"{message.where} has neither `Records` nor `detail-type`: not an event of S3. Send the "
        "queue only S3 events, from EventBridge, S3 or SNS (a new SNS subscription must be "
        "confirmed first)"
    )


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
_NOTIFICATIONS = {
    "ObjectRemoved": NotAnArrival.DELETE_EVENT,
    "LifecycleExpiration": NotAnArrival.DELETE_EVENT,
    "IntelligentTiering": NotAnArrival.OTHER_EVENT,
    "LifecycleTransition": NotAnArrival.OTHER_EVENT,
    "ObjectAcl": NotAnArrival.OTHER_EVENT,
    "ObjectRestore": NotAnArrival.OTHER_EVENT,
    "ObjectTagging": NotAnArrival.OTHER_EVENT,
    "ReducedRedundancyLostObject": NotAnArrival.OTHER_EVENT,
    "Replication": NotAnArrival.OTHER_EVENT,
}


def _received(
    read: "Callable[[_JsonPlace], Arrival | NotAnArrival]", records: "list[_JsonPlace]"
) -> Received:
    arrivals, ignored, malformed = [], [], []
    for record in records:
        try:
            found = read(record)
        except MalformedEvent as error:
            malformed.append(error.detail)
        else:
            if isinstance(found, NotAnArrival):
                ignored.append(found)
            else:
                arrivals.append(found)
    return Received(tuple(arrivals), tuple(ignored), tuple(malformed))


def _from_eventbridge(event: "_JsonPlace") -> Arrival | NotAnArrival:
    event["source"].only("aws.s3")
    kind = event["detail-type"].text()
    # A bucket sends all of its events, and AWS adds new ones; CloudTrail's have S3's source, too.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html
    if kind != "Object Created":
        return NotAnArrival.DELETE_EVENT if kind == "Object Deleted" else NotAnArrival.OTHER_EVENT
    found = event["detail"]["object"]
    arrival = _arrival(
        event["detail"]["bucket"]["name"],
        # Plain: only S3's own notifications encode it (seen, not documented by AWS).
        found["key"],
        version=found["version-id"],
        etag=found["etag"],
        sequencer=found["sequencer"],
        size=found["size"],
        time=event["time"],
        copied=event["detail"]["reason"].value == "CopyObject",
    )
    if isinstance(arrival, NotAnArrival) or "broughtBy" not in event:
        return arrival
    brought_by = event["broughtBy"].matching(_BROUGHT_BY, "a backfill or a comparison")
    return replace(arrival, brought_by=brought_by, aged=event["aged"].value is True)


def _from_notification(record: "_JsonPlace") -> Arrival | NotAnArrival:
    record["eventSource"].only("aws:s3")
    family, _, by = record["eventName"].text().partition(":")
    if family in _NOTIFICATIONS:
        return _NOTIFICATIONS[family]
    if family != "ObjectCreated":
        raise record["eventName"].wrong("an event of S3 that we know")
    found = record["s3"]["object"]
    return _arrival(
        record["s3"]["bucket"]["name"],
        found["key"].decoded(),
        version=found["versionId"],
        etag=found["eTag"],
        sequencer=found["sequencer"],
        size=found["size"],
        time=record["eventTime"],
        copied=by == "Copy",
    )


def _arrival(
    bucket: "_JsonPlace",
    key: "_JsonPlace",
    *,
    version: "_JsonPlace",
    etag: "_JsonPlace",
    sequencer: "_JsonPlace",
    size: "_JsonPlace",
    time: "_JsonPlace",
    copied: bool,
) -> Arrival | NotAnArrival:
    arrival = Arrival(
        bucket=bucket.matching(_BUCKET, "the name of a bucket"),
        key=key.text(),
        # Objects of a bucket whose versioning is suspended have the version `null`.
        version_id=None if version.value in (None, "null") else version.text(),
        # Some senders keep the quotes that belong to HTTP's header, not to the tag.
        etag=etag.matching(_ETAG, "an ETag").strip('"'),
        sequencer=(
            None if sequencer.value is None else sequencer.matching(_HEX, "hexadecimal digits")
        ),
        size=size.size(),
        time=time.milliseconds(),
        copied=copied,
    )
    if arrival.size == 0 and arrival.key.endswith("/"):
        return NotAnArrival.FOLDER_MARKER
    return arrival


_LARGEST = 2**20  # bytes of a message in SQS

# Buckets made before 2018 may have capitals, underscores and up to 255 characters.
_BUCKET = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{2,254}")
_ETAG = re.compile(r'"?[!#-~]{1,255}"?')
_BROUGHT_BY = re.compile(rf"({BACKFILL_PREFIX}|{RECONCILE_PREFIX})[0-9a-z-]{{1,48}}")
_HEX = re.compile(r"[0-9A-Fa-f]{1,64}")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _JsonPlace:
    """A value in a message, with its path, which every error names."""

    value: object
    where: str

    def __getitem__(self, name: str) -> "_JsonPlace":
        """A member of a JSON object; its value is None where it is absent."""
        if not isinstance(self.value, dict):
            raise self.wrong("a JSON object")
        return _JsonPlace(self.value.get(name), f"{self.where}.{name}")

    def __contains__(self, name: str) -> bool:
        return isinstance(self.value, dict) and name in self.value

    def items(self) -> "list[_JsonPlace]":
        if not isinstance(self.value, list) or not self.value:
            raise self.wrong("a list of at least one record")
        return [_JsonPlace(item, f"{self.where}[{n}]") for n, item in enumerate(self.value)]

    def text(self, bytes_max: int = 1024, *, least: int = 1) -> str:
        """Text of `least` to `bytes_max` bytes; by default S3's limit for keys and version ids."""
        if not isinstance(self.value, str) or not least <= len(self.value.encode()) <= bytes_max:
            raise self.wrong(f"text of {least} to {bytes_max:,} bytes")
        return self.value

    def only(self, wanted: str) -> None:
        if self.value != wanted:
            raise self.wrong(f"`{wanted}`")

    def matching(self, pattern: re.Pattern[str], wanted: str) -> str:
        if not isinstance(self.value, str) or not pattern.fullmatch(self.value):
            raise self.wrong(wanted)
        return self.value

    def decoded(self) -> "_JsonPlace":
        """A key as S3's own notifications have it: URL-encoded, with `+` for a space."""
        encoded = self.text(3 * 1024)
        if _BROKEN_ESCAPE.search(encoded):
            raise self.wrong("a URL-encoded key: two hexadecimal digits after each `%`")
        try:
            return _JsonPlace(unquote_plus(encoded, errors="strict"), self.where)
        except UnicodeDecodeError:
            raise self.wrong("a URL-encoded key in UTF-8") from None

    def size(self) -> int:
        """A size in bytes, small enough for every JSON reader to hold exactly."""
        if type(self.value) is not int or not 0 <= self.value < 2**53:
            raise self.wrong("a size in bytes")
        return self.value

    def milliseconds(self) -> int:
        """A time in ISO 8601 with its zone, as epoch milliseconds."""
        try:
            since = datetime.fromisoformat(self.text(64)) - _EPOCH
        except (ValueError, TypeError):
            raise self.wrong("a time in ISO 8601 with its zone") from None
        if since < timedelta():
            raise self.wrong("a time after 1970")
        return since // timedelta(milliseconds=1)

    def wrong(self, wanted: str) -> MalformedEvent:
        """The error; quotes the start of a simple value, escaped."""
        match self.value:
            case None:
                found = "missing or null"
            case dict():
                found = "a JSON object"
            case list():
                found = "a list"
            case value:
                found = ascii(value)[:80]
        return MalformedEvent(f"`{self.where}` is {found}; it should be {wanted}")


def _document(text: str, where: str) -> _JsonPlace:
    try:
        place = _JsonPlace(strict_json.loads(text), where)
    except ValueError as error:
        raise MalformedEvent(f"{where} cannot be read as JSON: {error}") from None
    if not isinstance(place.value, dict):
        raise place.wrong("a JSON object")
    return place
