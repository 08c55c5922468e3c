"""Messages in a dead-letter queue, and how they get back."""

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
from aep_intake.model.orders import DELIVERY_PREFIX
from aep_intake.report import events
from rich.table import Column, Table
from rich.text import Text

from aep_intake_cli.words import several

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageTypeDef

HIDDEN_SECONDS = 600
TRIES_USED_UP = "tries-used-up"
# SQS limits the sum of a batch's bodies; smaller batches always fit.
BATCH_BYTES = 200_000


@dataclass(frozen=True)
class Parked:
    """A message in a dead-letter queue.

    `external_ids`: of the orders that it is about. `what` it is about, in words for people.
    """

    handle: str
    body: str = field(repr=False)
    reason: str
    detail: str
    external_ids: frozenset[str]
    what: tuple[str, ...]
    at: datetime

    @classmethod
    def of(cls, message: MessageTypeDef) -> Parked:
        """Parked by the intake (`reason`), by EventBridge (`ERROR_CODE`), or by SQS (neither)."""
        attributes = {
            name: value.get("StringValue", "")
            for name, value in message.get("MessageAttributes", {}).items()
        }
        ids, what = _read(message["Body"])
        sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
        return cls(
            handle=message["ReceiptHandle"],
            body=message["Body"],
            reason=attributes.get("reason") or attributes.get("ERROR_CODE") or TRIES_USED_UP,
            detail=attributes.get("detail") or attributes.get("ERROR_MESSAGE") or "",
            external_ids=frozenset(filter(None, [*ids, attributes.get("externalId")])),
            what=tuple(what),
            at=datetime.fromisoformat(attributes["parkedAt"]) if "parkedAt" in attributes else sent,
        )


def _read(body: str) -> tuple[Iterable[str], Iterable[str]]:
    """The external ids in a message, and what it is about; neither where nobody understands it."""
    if known := _of_delivery(body):
        return known
    try:
        delivery = envelopes.parse(body)
    except MalformedEvent:
        return (), ()
    if delivery.order:
        # The files of a window or a folder have no message any more; their order stands for them.
        return [delivery.order], ["the files of an order:"]
    if delivery.missing:
        return [delivery.missing.external_id], ["the files of a folder:"]
    files = delivery.arrivals
    return [file.external_id for file in files], [file.uri for file in files]


def _of_delivery(body: str) -> tuple[Iterable[str], Iterable[str]] | None:
    """As `_read`, of what on_delivery and on_upload work on; None where it is neither's."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match document:
        case {
            "detail-type": events.BATCH_CREATED,
            "detail": {"externalId": str(order), "batchId": batch, "fileCount": int(count)},
        }:
            return [order], [f"batch {batch} of {several(count, 'file')}:"]
        case {"externalId": str(due)} if due.startswith(DELIVERY_PREFIX):
            return [due.removeprefix(DELIVERY_PREFIX)], ["the delivery of an order:"]
        case {
            "external_id": str(order),
            "piece": {"start": start, "end": end, "file": {"bucket": bucket, "key": key}},
        }:
            part = f"bytes {start} to {end}, in the batch of an order:"
            return [order], [f"s3://{bucket}/{key}", part]
    return None


@dataclass
class Redrive:
    """One run over the messages of `source`. Raises botocore's errors."""

    sqs: SQSClient
    source: str
    goal: str
    reasons: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    dry_run: bool = False
    _hidden: dict[str, str] = field(default_factory=dict, repr=False)

    def chosen(self, parked: Parked) -> bool:
        """Whether the operator asked for it; without wishes, all are meant."""
        return (not self.reasons or parked.reason in self.reasons) and (
            not self.external_ids or bool(parked.external_ids & self.external_ids)
        )

    def run(self) -> Generator[tuple[Parked, bool]]:
        """Each message, and whether it was moved (in a dry run: would be)."""
        try:
            for some in self._received():
                chosen = {key: parked for key, parked in some.items() if self.chosen(parked)}
                moved = set(chosen) if self.dry_run else set(self._moved(chosen))
                yield from ((parked, key in moved) for key, parked in some.items())
        finally:
            self._give_back()

    def _received(self) -> Iterator[dict[str, Parked]]:
        left = self._waiting()
        while left > 0:
            messages = self.sqs.receive_message(
                QueueUrl=self.source,
                MaxNumberOfMessages=min(10, left),
                VisibilityTimeout=HIDDEN_SECONDS,
                # Long polling asks all of the queue's servers, so that nothing means nothing.
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp"],
            ).get("Messages", [])
            if not messages:
                return
            left -= len(messages)
            # One that comes twice, in a long run, was seen: only its newest handle can free it.
            new = [message for message in messages if message["MessageId"] not in self._hidden]
            self._hidden |= {each["MessageId"]: each["ReceiptHandle"] for each in messages}
            yield {message["MessageId"]: Parked.of(message) for message in new}

    def _waiting(self) -> int:
        name: QueueAttributeNameType = "ApproximateNumberOfMessages"
        told = self.sqs.get_queue_attributes(QueueUrl=self.source, AttributeNames=[name])
        return int(told["Attributes"][name])

    def _moved(self, chosen: dict[str, Parked]) -> Iterator[str]:
        size = sum(len(parked.body.encode()) for parked in chosen.values())
        for some in batched(chosen, 10 if size < BATCH_BYTES else 1, strict=False):
            sent = self.sqs.send_message_batch(
                QueueUrl=self.goal,
                Entries=[
                    {"Id": str(n), "MessageBody": chosen[key].body} for n, key in enumerate(some)
                ],
            )
            arrived = [some[int(entry["Id"])] for entry in sent.get("Successful", ())]
            if arrived:
                self.sqs.delete_message_batch(
                    QueueUrl=self.source,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": chosen[key].handle}
                        for n, key in enumerate(arrived)
                    ],
                )
            for key in arrived:
                del self._hidden[key]
                yield key

    def _give_back(self) -> None:
        for some in batched(self._hidden.values(), 10, strict=False):
            self.sqs.change_message_visibility_batch(
                QueueUrl=self.source,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                    for n, handle in enumerate(some)
                ],
            )
        self._hidden.clear()


def listed(messages: Iterable[Parked], now: datetime) -> Table:
    """For people: each message that is meant."""
    # Stacked, so that ids stay whole for copying.
    what = Column("what, external id, detail", overflow="fold")
    table = Table("reason", what, "parked", Column("age", justify="right"), show_lines=True)
    for parked in messages:
        lines = [*parked.what, *sorted(parked.external_ids), parked.detail]
        table.add_row(
            Text(parked.reason),
            Text("\n".join(filter(None, lines))),
            f"{parked.at:%Y-%m-%d %H:%M:%S}Z",
            str(timedelta(seconds=int((now - parked.at).total_seconds()))),
        )
    return table


def summed_up(outcomes: Counter[tuple[str, bool]], done: str) -> Table:
    """For people: how many by reason were moved, and how many stay."""
    table = Table("reason", Column(done, justify="right"), Column("left", justify="right"))
    for reason in sorted({reason for reason, _ in outcomes}):
        table.add_row(Text(reason), str(outcomes[reason, True]), str(outcomes[reason, False]))
    return table


def told(parked: Parked) -> dict[str, Any]:
    """For programs: a message."""
    return {
        "reason": parked.reason,
        "detail": parked.detail,
        "externalIds": sorted(parked.external_ids),
        "what": list(parked.what),
        "parkedAt": parked.at.isoformat(),
    }
