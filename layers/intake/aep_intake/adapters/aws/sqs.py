"""The queues: parks rejected messages, delays early ones, enqueues due work."""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.clock.due import DueKind, errand
from aep_intake.model.errors import StorageUnavailable
from aep_intake.model.messages import encoded
from aep_intake.model.progress import Rejection
from aep_intake.model.times import iso
from aep_intake.model.values import dataclass

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from aep_intake.clock.parking import Parked
    from aep_intake.clock.retries import Again, Message

# SQS refuses a whole batch if it is too large, or if one entry is bad. These codes are about the
# call, and not about an entry.
_ABOUT_THE_CALL = re.compile(r"Throttl|Limit|NonExistent|DoesNotExist|Denied|Token")


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """A queue, by URL, whose messages are worked on; `parks` those that are given up."""

    queues: "Queues"
    url: str
    parks: Callable[["Message", Rejection], None]

    def hide(self, waits: Mapping["Message", int]) -> None:
        """As `retries.Queue`."""
        seconds = {message.receipt: wait for message, wait in waits.items()}
        self.queues.hide(self.url, seconds)

    def send_again(self, wanted: Iterable["Again"]) -> dict["Message", StorageUnavailable]:
        """As `retries.Queue`."""
        return self.queues.send_again(self.url, wanted)

    def park(self, message: "Message", why: Rejection) -> None:
        """As `retries.Queue`."""
        self.parks(message, why)


class Queues:
    """SQS. Every method raises StorageUnavailable if SQS did not do everything.

    But `send_again` returns these errors. If SQS refuses one message, it still gets the others.
    """

    def __init__(self, client: "SQSClient") -> None:
        self._client = client

    def park(self, queue_url: str, parked: "Parked", *, has_item: bool) -> None:
        """Send what is parked to a dead-letter queue, with its reason, for `aep-intake redrive`.

        If it came in a message, whoever received that one deletes it.
        """
        why = parked.why
        # SQS refuses control characters, and `detail` may quote AEP.
        attributes: dict[str, MessageAttributeValueTypeDef] = {
            name: {
                "DataType": "String",
                "StringValue": "".join(c if c.isprintable() else " " for c in value),
            }
            for name, value in {
                "reason": why.reason,
                "detail": why.detail[:1024],
                "externalId": parked.external_id,
                "parkedAt": iso(why.at),
                "item": parked.id if has_item else None,
            }.items()
            if value
        }
        try:
            self._client.send_message(
                QueueUrl=queue_url, MessageBody=parked.body, MessageAttributes=attributes
            )
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(f"a rejected message could not be parked: {error}") from error

    def send_as_is(self, queue_url: str, body: str) -> None:
        """Send one message with this very body."""
        try:
            self._client.send_message(QueueUrl=queue_url, MessageBody=body)
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(f"work could not be handed on: {error}") from error

    def hide(self, queue_url: str, waits: Mapping[str, int]) -> None:
        """Hide messages (receipt handle → seconds) until their next try."""
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
            for n, (handle, seconds) in enumerate(waits.items())
        ]
        _raise_any(_batched(self._client.change_message_visibility_batch, queue_url, entries))

    def send_again(
        self, queue_url: str, wanted: Iterable["Again"]
    ) -> dict["Message", StorageUnavailable]:
        """Send messages again, with a delay; the error of each that SQS did not take."""
        several = list(wanted)
        entries = [
            {
                "Id": str(n),
                "MessageBody": again.message.body,
                "DelaySeconds": again.delay_s,
                "MessageAttributes": {
                    name: {"DataType": "Number", "StringValue": str(value)}
                    for name, value in again.attributes.items()
                },
            }
            for n, again in enumerate(several)
        ]
        refused = _batched(self._client.send_message_batch, queue_url, entries)
        return {several[int(n)].message: why for n, why in refused.items()}

    def enqueue(self, queue_url: str, kind: DueKind, names: Iterable[str], wait: int = 0) -> None:
        """Send one message for each piece of due work of a kind, seen after a `wait` (seconds)."""
        self.send(queue_url, [errand(kind, name) for name in names], wait)

    def send(self, queue_url: str, documents: Iterable[Mapping[str, Any]], wait: int = 0) -> None:
        """Send one message for each document, which may hold records."""
        self.send_all(queue_url, map(encoded, documents), wait)

    def send_all(self, queue_url: str, bodies: Iterable[str], wait: int = 0) -> None:
        """Send one message with each of these very bodies."""
        delay = {"DelaySeconds": wait} if wait else {}
        entries = ({"Id": str(n), "MessageBody": body, **delay} for n, body in enumerate(bodies))
        _raise_any(_batched(self._client.send_message_batch, queue_url, entries))

    def backlog(self, queue_url: str) -> int:
        """About how many messages wait to be received."""
        name: QueueAttributeNameType = "ApproximateNumberOfMessages"
        try:
            answer = self._client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(f"the length of a queue cannot be read: {error}") from error
        return int(answer["Attributes"][name])


def _batched(
    call: Callable[..., Any], queue_url: str, entries: Iterable[dict[str, Any]]
) -> dict[str, StorageUnavailable]:
    """Call with ten entries at a time; the error of each entry, by id, that SQS did not take."""
    refused: dict[str, StorageUnavailable] = {}
    broken: StorageUnavailable | None = None
    for group in batched(entries, 10, strict=False):
        if broken is None:
            try:
                answer = call(QueueUrl=queue_url, Entries=list(group))
            except (ClientError, BotoCoreError) as error:
                if len(group) > 1 and _about_an_entry(error):
                    for entry in group:
                        refused |= _batched(call, queue_url, [entry])
                    continue
                broken = StorageUnavailable(f"SQS did not take messages: {error}")
            else:
                for failed in answer.get("Failed", ()):
                    detail = f"SQS did not take a message: {failed['Code']}"
                    refused[failed["Id"]] = StorageUnavailable(detail)
                continue
        refused |= {entry["Id"]: broken for entry in group}
    return refused


def _about_an_entry(error: ClientError | BotoCoreError) -> bool:
    """Whether the same call may succeed without one of its entries."""
    response: Any = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 400 and not _ABOUT_THE_CALL.search(str(response["Error"]["Code"]))


def _raise_any(refused: Mapping[str, StorageUnavailable]) -> None:
    for why in refused.values():
        raise why
