"""What becomes of a message that cannot be done now: it is hidden, sent anew, or parked at last.

A message that is hidden counts as in flight, and a queue that has 120,000 of those gives out
nothing more, however healthy what it holds. So only a short wait is spent hidden; for a longer one
the message is sent anew, to be delivered then, and says since when and how often it was tried.
Sent before the old one is deleted: a worker that dies between leaves two of it, of which claims,
marks and leases let one count.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Protocol, Self

from aep_intake.model.errors import IntakeError, NotYet, StorageUnavailable, TryAgain
from aep_intake.model.orders import Rejection

# Seconds. Half an hour apart at last, tries are few enough for a day of them to cost nothing.
FIRST_DELAY = 30
LONGEST_DELAY = 1800
# SQS refuses a visibility that would reach over 12 hours from the receipt.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
LONGEST_WAIT = 42_000
# The first three delays; at 500 messages a second that fail, half of what a queue may have in
# flight.
LONGEST_HIDDEN = 120
# The most that SQS delays a message by; a longer wait is several of these.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
LONGEST_SENT = 900
# A message is given up after a day; but one that lay there for long before anybody took it, not
# before it had these many tries, which are more than nine hours.
GIVEN_UP_MS = 86_400_000
GIVEN_UP_TRIES = 24


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was received.

    `tries`: how often it was tried, this time among them. `first_sent_at`: since when it is there.
    `not_before`: it is to be tried then and no earlier. Times in epoch milliseconds.
    """

    message_id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    tries: int
    first_sent_at: int
    not_before: int = 0

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """A record of the event that Lambda makes of messages."""
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
        )


@dataclass(frozen=True, slots=True)
class Again:
    """A message that is sent anew. `delay` in seconds, `tries` before it."""

    message: Message
    delay: int
    tries: int
    not_before: int

    @classmethod
    def at(cls, message: Message, when: int, now: int, tries: int) -> Self:
        """To be tried at `when`, in as many delays as that takes."""
        seconds = max(0, -(-(when - now) // 1000))
        later = when if seconds > LONGEST_SENT else 0
        return cls(message, min(seconds, LONGEST_SENT), tries, later)

    @property
    def attributes(self) -> dict[str, int]:
        """What it carries, as `Message.of` reads it."""
        carried = {"firstSentAt": self.message.first_sent_at, "tries": self.tries}
        return carried | ({"notBefore": self.not_before} if self.not_before else {})


class Queue(Protocol):
    """A queue with its dead-letter queue."""

    def hide(self, waits: Mapping[Message, int]) -> None:
        """Keep messages from being received for so many seconds. Raises StorageUnavailable."""

    def send_anew(self, wanted: Iterable[Again]) -> dict[Message, StorageUnavailable]:
        """Send each as it says; why not, of those that SQS did not take."""

    def park(self, message: Message, why: Rejection) -> None:
        """Put one where `aep-intake redrive` finds it. Raises StorageUnavailable."""


@dataclass(frozen=True, slots=True)
class Back:
    """The ids of messages that stay in the queue, and what went wrong as they were put off."""

    stay: tuple[str, ...] = ()
    troubles: tuple[Exception, ...] = ()


def delay(tries: int, error: Exception) -> int:
    """Seconds until a message is tried again: grows with its tries, obeys `Retry-After`.

    What only its time is not come for, and says when it does, is tried then at first.
    """
    told = ceil((error.retry_after or 0) if isinstance(error, TryAgain) else 0)
    grown = min(FIRST_DELAY << min(tries - 1, 10), LONGEST_DELAY)
    known = tries == 1 and isinstance(error, NotYet) and told
    return min(told if known else max(grown, told + 1), LONGEST_WAIT)


def early(messages: Iterable[Message], now: int) -> tuple[Message, ...]:
    """Those that came only because SQS cannot delay a message for as long as they must wait."""
    return tuple(message for message in messages if message.not_before > now)


def retry_later(
    failed: Mapping[Message, Exception], too_early: Iterable[Message], queue: Queue, now: int
) -> Back:
    """Have each message tried again when it should be, or no more. `now` in epoch milliseconds.

    The caller acknowledges all but those that stay.
    """
    hidden: dict[Message, int] = {}
    anew = [Again.at(one, one.not_before, now, max(0, one.tries - 1)) for one in too_early]
    troubles: list[Exception] = []
    for message, error in failed.items():
        seconds = delay(message.tries, error)
        if message.tries >= GIVEN_UP_TRIES and now - message.first_sent_at >= GIVEN_UP_MS:
            try:
                queue.park(message, _last(message, error, now))
            except StorageUnavailable as trouble:
                troubles.append(trouble)
                hidden[message] = seconds
        elif seconds > LONGEST_HIDDEN:
            anew.append(Again.at(message, now + 1000 * seconds, now, message.tries))
        else:
            hidden[message] = seconds
    if anew:
        refused = queue.send_anew(anew)
        troubles += refused.values()
        hidden |= {one.message: one.delay for one in anew if one.message in refused}
    if hidden:
        try:
            queue.hide(hidden)
        except StorageUnavailable as trouble:  # the queue's own time-out hides them
            troubles.append(trouble)
    return Back(tuple(message.message_id for message in hidden), tuple(troubles))


def _last(message: Message, error: Exception, now: int) -> Rejection:
    """What an operator finds in the dead-letter queue: the reason of the last try."""
    if isinstance(error, IntakeError):
        reason, detail = error.reason, error.detail
    else:
        reason, detail = "failed", type(error).__name__  # whose text may quote anything
    return Rejection(reason, f"tried {message.tries} times, for a day: {detail}", now)
