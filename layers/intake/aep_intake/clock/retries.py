"""Retries of messages: one that fails is hidden for a while, sent again with a delay, or parked.

A hidden message counts as in flight, and a queue with 120,000 messages in flight delivers nothing
more, healthy messages included. So a message is hidden for a short wait only. For a longer one it
is sent again with a delay, and carries its first time and its number of tries. It is sent before
the old message is deleted: a worker that dies between the two leaves two messages, of which claims,
marks and leases let one count.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from math import ceil
from typing import Any, Protocol, Self

from aep_intake.model.errors import (
    IntakeError,
    LedgerUnavailable,
    NotYet,
    StorageUnavailable,
    TryAgain,
)
from aep_intake.model.progress import Rejection
from aep_intake.model.times import DAY_MS
from aep_intake.model.values import dataclass

# A message that is tried every half hour costs next to nothing in a day.
FIRST_DELAY_S = 30
DELAY_MAX_S = 1800
# SQS refuses a visibility that would reach over 12 hours from the receipt.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
WAIT_MAX_S = 42_000
# The first three delays. If 500 messages a second fail, half as many are hidden as a queue may have
# in flight.
HIDDEN_MAX_S = 120
# The longest delay of SQS; a longer wait takes several.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
SEND_DELAY_MAX_S = 900
# A message is parked after a day. A message that waited for long before its first try gets at least
# this many tries, which take more than nine hours.
GIVEN_UP_MS = DAY_MS
GIVEN_UP_TRIES = 24


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a worker received it."""

    message_id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    tries: int  # this one included
    first_sent_at: int  # epoch ms
    not_before: int = 0  # epoch ms: no try before
    redriven: bool = False  # it was parked before

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The message in a record of Lambda's SQS event."""
        about, carried = record["attributes"], record.get("messageAttributes", {})

        def number(name: str) -> int:
            text = carried.get(name, {}).get("stringValue", "")
            return int(text) if text.isdecimal() and len(text) < 16 else 0

        return cls(
            message_id=record["messageId"],
            receipt=record["receiptHandle"],
            body=record["body"],
            tries=number("tries") + int(about["ApproximateReceiveCount"]),
            first_sent_at=number("firstSentAt") or int(about["SentTimestamp"]),
            not_before=number("notBefore"),
            # Whoever moves it in SQS's console keeps its attributes.
            redriven=number("redriven") > 0 or "parkedAt" in carried,
        )


@dataclass(frozen=True, slots=True)
class Again:
    """A message that is sent again."""

    message: Message
    delay_s: int
    tries: int  # so far
    not_before: int  # epoch ms

    @classmethod
    def at(cls, message: Message, when: int, now: int, tries: int) -> Self:
        """For a try at `when` (epoch ms), which may take several delays."""
        seconds = max(0, -(-(when - now) // 1000))
        later = when if seconds > SEND_DELAY_MAX_S else 0
        return cls(message, min(seconds, SEND_DELAY_MAX_S), tries, later)

    @property
    def attributes(self) -> dict[str, int]:
        """Its message attributes, as `Message.of` reads them."""
        carried = {"firstSentAt": self.message.first_sent_at, "tries": self.tries}
        more = {"notBefore": self.not_before, "redriven": int(self.message.redriven)}
        return carried | {name: value for name, value in more.items() if value}


class Queue(Protocol):
    """A queue with its dead-letter queue."""

    def hide(self, waits: Mapping[Message, int]) -> None:
        """Hide each message for its number of seconds. Raises StorageUnavailable."""

    def send_again(self, wanted: Iterable[Again]) -> dict[Message, StorageUnavailable]:
        """Send each; the error of each that SQS did not take."""

    def park(self, message: Message, why: Rejection) -> None:
        """Park it, for `aep-intake redrive`. Raises LedgerUnavailable or StorageUnavailable."""


@dataclass(frozen=True, slots=True)
class Back:
    """The ids of the messages that stay in the queue, and the errors of delaying the others."""

    stay: tuple[str, ...] = ()
    troubles: tuple[Exception, ...] = ()


def delay(tries: int, error: Exception) -> int:
    """Seconds until the next try: they grow with the tries, and obey `Retry-After`.

    A message that is merely early, and knows its time, is tried at that time first.
    """
    asked = ceil((error.retry_after or 0) if isinstance(error, TryAgain) else 0)
    backoff = min(FIRST_DELAY_S << min(tries - 1, 10), DELAY_MAX_S)
    known = tries == 1 and isinstance(error, NotYet) and asked
    return min(asked if known else max(backoff, asked + 1), WAIT_MAX_S)


def early(messages: Iterable[Message], now: int) -> tuple[Message, ...]:
    """The messages that must wait longer than SQS can delay one, and so came before their time."""
    return tuple(message for message in messages if message.not_before > now)


def retry_later(
    failed: Mapping[Message, Exception], too_early: Iterable[Message], queue: Queue, now: int
) -> Back:
    """Delay each message until its next try, or park it. `now` in epoch milliseconds.

    The caller acknowledges all messages except those that stay.
    """
    hidden: dict[Message, int] = {}
    again = [Again.at(m, m.not_before, now, max(0, m.tries - 1)) for m in too_early]
    troubles: list[Exception] = []
    for message, error in failed.items():
        seconds = delay(message.tries, error)
        if message.tries >= GIVEN_UP_TRIES and now - message.first_sent_at >= GIVEN_UP_MS:
            try:
                queue.park(message, _last(message, error, now))
            except (LedgerUnavailable, StorageUnavailable) as trouble:
                troubles.append(trouble)
                hidden[message] = seconds
        elif seconds > HIDDEN_MAX_S:
            again.append(Again.at(message, now + 1000 * seconds, now, message.tries))
        else:
            hidden[message] = seconds
    if again:
        refused = queue.send_again(again)
        troubles += refused.values()
        hidden |= {one.message: one.delay_s for one in again if one.message in refused}
    if hidden:
        try:
            queue.hide(hidden)
        except StorageUnavailable as trouble:  # the queue's visibility time-out hides them
            troubles.append(trouble)
    return Back(tuple(message.message_id for message in hidden), tuple(troubles))


def _last(message: Message, error: Exception, now: int) -> Rejection:
    """The reason of the last try, which an operator finds in the dead-letter queue."""
    if isinstance(error, IntakeError):
        reason, detail = error.reason, error.detail
    else:
        reason, detail = "failed", type(error).__name__  # whose text may quote anything
    return Rejection(reason, f"tried {message.tries} times, for a day: {detail}", now)
