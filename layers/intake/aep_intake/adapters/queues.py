"""The queues: parking what is rejected, putting off what must wait, handing out what is due."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake import records
from aep_intake.due import Kind, errand
from aep_intake.errors import StorageUnavailable
from aep_intake.orders import Rejection

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

# Sixty tries, 30 seconds apart at first and half an hour at last, span about a day.
FIRST_DELAY = 30
LONGEST_DELAY = 1800
# SQS refuses a visibility that would reach over 12 hours from the receipt.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
LONGEST_VISIBILITY = 42_000


def delay(receives: int, retry_after: float | None) -> int:
    """Seconds until a message is tried again: grows with its receives, obeys `Retry-After`."""
    grown = min(FIRST_DELAY << min(receives - 1, 10), LONGEST_DELAY)
    return min(max(grown, int(retry_after or 0) + 1), LONGEST_VISIBILITY)


def message(document: Mapping[str, Any]) -> str:
    """The body of a message of ours."""
    whole = {"v": records.VERSION, **document}
    return json.dumps(whole, default=records.members, ensure_ascii=False)


class Queues:
    """SQS. Every method raises StorageUnavailable where SQS does not do all that was asked."""

    def __init__(self, client: "SQSClient") -> None:
        self._client = client

    def park(self, queue_url: str, body: str, why: Rejection, external_id: str | None) -> None:
        """Put a message, unchanged, where rejected ones wait for `make redrive`."""
        # SQS refuses control characters, and `detail` may quote what AEP said.
        attributes: dict[str, MessageAttributeValueTypeDef] = {
            name: {
                "DataType": "String",
                "StringValue": "".join(c if c.isprintable() else " " for c in value),
            }
            for name, value in {
                "reason": why.reason,
                "detail": why.detail[:1024],
                "externalId": external_id,
                "parkedAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }.items()
            if value
        }
        try:
            self._client.send_message(
                QueueUrl=queue_url, MessageBody=body, MessageAttributes=attributes
            )
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(f"a rejected message could not be parked: {error}") from error

    def send_as_is(self, queue_url: str, body: str) -> None:
        """One message, as it is written."""
        try:
            self._client.send_message(QueueUrl=queue_url, MessageBody=body)
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(f"work could not be handed on: {error}") from error

    def put_off(self, queue_url: str, delays: Mapping[str, int]) -> None:
        """Hide messages (receipt handle → seconds) until their next try."""
        for some in batched(delays.items(), 10, strict=False):
            try:
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=queue_url,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
                        for n, (handle, seconds) in enumerate(some)
                    ],
                )
            except (ClientError, BotoCoreError) as error:
                raise StorageUnavailable(f"messages could not be put off: {error}") from error
            if answer.get("Failed"):
                raise StorageUnavailable(f"messages could not be put off: {answer['Failed']}")

    def hand_out(self, queue_url: str, kind: Kind, names: Iterable[str]) -> None:
        """One message for each thing of a class that someone must look at again."""
        self.send(queue_url, [errand(kind, name) for name in names])

    def send(self, queue_url: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """One message for each document, which may hold records."""
        for some in batched(documents, 10, strict=False):
            try:
                answer = self._client.send_message_batch(
                    QueueUrl=queue_url,
                    Entries=[
                        {"Id": str(n), "MessageBody": message(document)}
                        for n, document in enumerate(some)
                    ],
                )
            except (ClientError, BotoCoreError) as error:
                raise StorageUnavailable(f"work could not be handed out: {error}") from error
            if answer.get("Failed"):
                raise StorageUnavailable(f"work could not be handed out: {answer['Failed']}")

    def waiting(self, queue_url: str) -> int:
        """About how many messages wait to be received."""
        name: QueueAttributeNameType = "ApproximateNumberOfMessages"
        try:
            answer = self._client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(f"a queue did not tell its length: {error}") from error
        return int(answer["Attributes"][name])
