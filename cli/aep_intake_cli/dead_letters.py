"""The messages of a dead-letter queue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import batched
from typing import TYPE_CHECKING, Any

from aep_intake.arrivals import envelopes
from aep_intake.clock.parking import ARRIVALS, DELIVERIES, UPLOADS, Parked, ParkedPlace
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.files import digest
from aep_intake.model.orders import DELIVERY_PREFIX
from aep_intake.model.progress import Rejection
from aep_intake.report import events

from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageTypeDef

VISIBILITY_SECONDS = 600  # for which nobody else receives what a run has received
TRIES_USED_UP = "tries-used-up"
# Outputs of the stack: each dead-letter queue, and the queue its messages go back to.
QUEUES = {
    ARRIVALS: ("ArrivalsDlqUrl", "ArrivalsQueueUrl"),
    DELIVERIES: ("DeliveriesDlqUrl", "DeliveriesQueueUrl"),
    UPLOADS: ("UploadsDlqUrl", "UploadsQueueUrl"),
}


@dataclass(frozen=True)
class Letter:
    """A message in a dead-letter queue. `has_item`: it was parked with one, which may have ended.

    SQS, EventBridge and earlier releases write no items.
    """

    message_id: str
    has_item: bool
    parked: Parked

    @classmethod
    def of(cls, message: MessageTypeDef, queue: str) -> Letter:
        """The intake parks with `reason`, EventBridge with `ERROR_CODE`, SQS with neither."""
        attributes = {
            name: value.get("StringValue", "")
            for name, value in message.get("MessageAttributes", {}).items()
        }
        body, external_id = message["Body"], attributes.get("externalId", "")
        why = Rejection(
            attributes.get("reason") or attributes.get("ERROR_CODE") or TRIES_USED_UP,
            attributes.get("detail") or attributes.get("ERROR_MESSAGE") or "",
            int(message["Attributes"]["SentTimestamp"]),
        )
        known, uri, files, place = _read(body, queue)
        name = attributes.get("item") or digest(*place)
        parked = Parked(name, queue, external_id or known, body, why, None, uri, files)
        return cls(message["MessageId"], "item" in attributes, parked)


@dataclass
class DeadLetters:
    """A dead-letter queue of the stack, by URL. Raises botocore's errors.

    What was read is hidden from others, until it is deleted or released.
    """

    sqs: SQSClient
    queue: str  # to which its messages go back, by name
    url: str
    _hidden: dict[str, str] = field(default_factory=dict, repr=False)  # receipt handle by id

    def read(self) -> Iterator[list[Letter]]:
        """All that are there now, ten at most at a time, each once."""
        name: QueueAttributeNameType = "ApproximateNumberOfMessages"
        asked = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        left = int(asked["Attributes"][name])
        while left > 0:
            messages = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(10, left),
                VisibilityTimeout=VISIBILITY_SECONDS,
                # Long polling asks all servers of the queue, so that none means none.
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp"],
            ).get("Messages", [])
            if not messages:
                return
            left -= len(messages)
            # In a long run a message can come twice. Only its newest handle can release it.
            new = [message for message in messages if message["MessageId"] not in self._hidden]
            self._hidden |= {each["MessageId"]: each["ReceiptHandle"] for each in messages}
            yield [Letter.of(message, self.queue) for message in new]

    def delete(self, message_ids: Iterable[str]) -> None:
        """Delete messages that were read. Raises CommandFailed if SQS did not delete all."""
        for some in batched(message_ids, 10, strict=False):
            answer = self.sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": self._hidden.pop(name)}
                    for n, name in enumerate(some)
                ],
            )
            if failed := answer.get("Failed"):
                raise CommandFailed(
                    f"SQS did not delete {len(failed)} messages of {self.url}: type the same again"
                )

    def close(self) -> None:
        """Release what was read and is still there."""
        for handles in batched(self._hidden.values(), 10, strict=False):
            self.sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                    for n, handle in enumerate(handles)
                ],
            )
        self._hidden.clear()


def _read(body: str, queue: str) -> tuple[str, str | None, int, ParkedPlace]:
    """External id, first file, number of files and place of a message, as far as it tells them."""
    place = queue, "message", digest("message", body)
    if (found := _read_delivery(body)) is not None:
        return *found, place
    try:
        message = envelopes.parse(body)
    except MalformedEvent:
        return "", None, 0, place
    place = message.place(body)
    if not message.arrivals:
        return place[2], None, 0, place
    first = message.arrivals[0]
    return first.external_id, first.uri, len(message.arrivals), place


def _read_delivery(body: str) -> tuple[str, str | None, int] | None:
    """As `_read`, but for the place, for on_delivery and on_upload; None: another message."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match document:
        case {
            "detail-type": events.BATCH_CREATED,
            "detail": {"externalId": str(order), "fileCount": int(count)},
        }:
            return order, None, count
        case {"externalId": str(due)} if due.startswith(DELIVERY_PREFIX):
            return due.removeprefix(DELIVERY_PREFIX), None, 0
        case {"external_id": str(order), "piece": {"file": {"bucket": bucket, "key": key}}}:
            return order, f"s3://{bucket}/{key}", 1
        case {"external_id": str(order), "run": {"first": int(first), "end": int(end)}}:
            return order, None, end - first
    return None
