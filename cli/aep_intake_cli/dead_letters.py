"""Messages in a dead-letter queue, and how they return to their own queue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any

from aep_intake.arrivals import envelopes
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.messages import AS_USUAL, Wish, of_order
from aep_intake.model.orders import DELIVERY_PREFIX
from aep_intake.report import events
from aep_intake.report.meanings import named_in
from rich.table import Column, Table
from rich.text import Text

from aep_intake_cli.output import quantity

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, MessageTypeDef

VISIBILITY_SECONDS = 600  # for which nobody else receives what a run has received
TRIES_USED_UP = "tries-used-up"
# SQS limits the sum of a batch's bodies; smaller batches always fit.
BATCH_BYTES = 200_000


@dataclass(frozen=True)
class ParkedMessage:
    """A message in a dead-letter queue.

    `external_ids`: the orders that it belongs to. `subject`: its files or its batch, for people.
    """

    handle: str
    body: str = field(repr=False)
    reason: str
    detail: str
    external_ids: frozenset[str]
    subject: tuple[str, ...]
    parked_at: datetime

    @classmethod
    def from_sqs(cls, message: MessageTypeDef) -> ParkedMessage:
        """The intake parks with `reason`, EventBridge with `ERROR_CODE`, SQS with neither."""
        attributes = {
            name: value.get("StringValue", "")
            for name, value in message.get("MessageAttributes", {}).items()
        }
        external_ids, subject = _read(message["Body"])
        sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
        at = attributes.get("parkedAt")
        return cls(
            handle=message["ReceiptHandle"],
            body=message["Body"],
            reason=attributes.get("reason") or attributes.get("ERROR_CODE") or TRIES_USED_UP,
            detail=attributes.get("detail") or attributes.get("ERROR_MESSAGE") or "",
            external_ids=frozenset(filter(None, [*external_ids, attributes.get("externalId")])),
            subject=tuple(subject),
            parked_at=datetime.fromisoformat(at) if at else sent,
        )


def _read(body: str) -> tuple[Iterable[str], Iterable[str]]:
    """External ids and subject of a message; both are empty if the intake cannot read it."""
    if found := _read_delivery(body):
        return found
    try:
        message = envelopes.parse(body)
    except MalformedEvent:
        return (), ()
    if message.order:
        # The files of a window or a folder have no messages of their own; their order has one.
        return [message.order], ["all files of an order's batch:"]
    if message.missing:
        return [message.missing.external_id], ["files of a folder without its marker:"]
    files = message.arrivals
    return [file.external_id for file in files], [file.uri for file in files]


def _read_delivery(body: str) -> tuple[Iterable[str], Iterable[str]] | None:
    """As `_read`, for messages of on_delivery and on_upload; None: it is another message."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match document:
        case {
            "detail-type": events.BATCH_CREATED,
            "detail": {"externalId": str(order), "batchId": batch, "fileCount": int(count)},
        }:
            return [order], [f"batch {batch} of {quantity(count, 'file')}:"]
        case {"externalId": str(due)} if due.startswith(DELIVERY_PREFIX):
            return [due.removeprefix(DELIVERY_PREFIX)], ["the delivery of an order's batch:"]
        case {
            "external_id": str(order),
            "piece": {"start": start, "end": end, "file": {"bucket": bucket, "key": key}},
        }:
            part = f"bytes {start} to {end}, for an order's batch:"
            return [order], [f"s3://{bucket}/{key}", part]
        case {"external_id": str(order), "run": {"first": int(first), "end": int(end)}}:
            return [order], [f"files {first} to {end - 1}, together, of an order's batch:"]
    return None


@dataclass
class Redrive:
    """One run over the messages of `source`: queue URLs. Raises botocore's errors."""

    sqs: SQSClient
    source: str
    destination: str
    reasons: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    dry_run: bool = False
    wish: Wish = AS_USUAL
    _in_flight: dict[str, str] = field(default_factory=dict, repr=False)  # receipt handle by id

    def selects(self, parked: ParkedMessage) -> bool:
        """Whether the operator selected it; without a filter, every message is."""
        return (not self.reasons or parked.reason in self.reasons) and (
            not self.external_ids or bool(parked.external_ids & self.external_ids)
        )

    def run(self) -> Generator[tuple[ParkedMessage, bool]]:
        """Each message, and whether it was moved (in a dry run: would be)."""
        try:
            for received in self._receive():
                selected = {key: one for key, one in received.items() if self.selects(one)}
                moved = set(selected) if self.dry_run else set(self._move(selected))
                yield from ((parked, key in moved) for key, parked in received.items())
        finally:
            self._release()

    def _receive(self) -> Iterator[dict[str, ParkedMessage]]:
        left = self._count_messages()
        while left > 0:
            messages = self.sqs.receive_message(
                QueueUrl=self.source,
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
            new = [message for message in messages if message["MessageId"] not in self._in_flight]
            self._in_flight |= {each["MessageId"]: each["ReceiptHandle"] for each in messages}
            yield {message["MessageId"]: ParkedMessage.from_sqs(message) for message in new}

    def _count_messages(self) -> int:
        name: QueueAttributeNameType = "ApproximateNumberOfMessages"
        answer = self.sqs.get_queue_attributes(QueueUrl=self.source, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def _move(self, selected: dict[str, ParkedMessage]) -> Iterator[str]:
        size = sum(len(parked.body.encode()) for parked in selected.values())
        for keys in batched(selected, 10 if size < BATCH_BYTES else 1, strict=False):
            sent = self.sqs.send_message_batch(
                QueueUrl=self.destination,
                Entries=[
                    {
                        "Id": str(n),
                        "MessageBody": self._body(selected[key]),
                        "MessageAttributes": self._attributes(),
                    }
                    for n, key in enumerate(keys)
                ],
            )
            moved = [keys[int(entry["Id"])] for entry in sent.get("Successful", ())]
            if moved:
                self.sqs.delete_message_batch(
                    QueueUrl=self.source,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": selected[key].handle}
                        for n, key in enumerate(moved)
                    ],
                )
            for key in moved:
                del self._in_flight[key]
                yield key

    def _body(self, parked: ParkedMessage) -> str:
        """The body of a message, which stays as it is but for an order that is told more."""
        if self.wish == AS_USUAL or _read_delivery(parked.body):
            return parked.body
        try:
            order = envelopes.parse(parked.body).order
        except MalformedEvent:
            return parked.body
        return parked.body if order is None else of_order(order, self.wish)

    def _attributes(self) -> dict[str, MessageAttributeValueTypeDef]:
        """By which on_arrival knows that a newer version of a file may have overtaken it."""
        if self.wish.even_if_overtaken:
            return {}
        return {"redriven": {"DataType": "Number", "StringValue": "1"}}

    def _release(self) -> None:
        for handles in batched(self._in_flight.values(), 10, strict=False):
            self.sqs.change_message_visibility_batch(
                QueueUrl=self.source,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                    for n, handle in enumerate(handles)
                ],
            )
        self._in_flight.clear()


def messages_table(messages: Iterable[ParkedMessage], now: datetime) -> Table:
    """A row for each message."""
    # One below the other, so that ids stay whole for copying.
    subject = Column("file or batch, external id, detail", overflow="fold")
    table = Table("reason", subject, "parked at", Column("age", justify="right"), show_lines=True)
    for parked in messages:
        hints = [f"{code}: {meaning.hint}" for code, meaning in named_in(parked.detail)]
        lines = [*parked.subject, *sorted(parked.external_ids), parked.detail, *hints]
        table.add_row(
            Text(parked.reason),
            Text("\n".join(filter(None, lines))),
            f"{parked.parked_at:%Y-%m-%d %H:%M:%S}Z",
            str(timedelta(seconds=int((now - parked.parked_at).total_seconds()))),
        )
    return table


def summary_table(outcomes: Counter[tuple[str, bool]], moved: str) -> Table:
    """How many messages of each reason move, and how many stay. `moved`: a column's head."""
    table = Table("reason", Column(moved, justify="right"), Column("stay", justify="right"))
    for reason in sorted({reason for reason, _ in outcomes}):
        table.add_row(Text(reason), str(outcomes[reason, True]), str(outcomes[reason, False]))
    return table


def to_json(parked: ParkedMessage) -> dict[str, Any]:
    """A message, for programs."""
    return {
        "reason": parked.reason,
        "detail": parked.detail,
        "externalIds": sorted(parked.external_ids),
        "what": list(parked.subject),
        "parkedAt": parked.parked_at.isoformat(),
        "hints": {code: meaning.hint for code, meaning in named_in(parked.detail)},
    }
