"""A message that cannot be done now is tried for a day, and is hardly ever in flight meanwhile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aep_intake.clock.retries import (
    HIDDEN_MAX_S,
    SEND_DELAY_MAX_S,
    WAIT_MAX_S,
    Again,
    Message,
    delay,
    early,
    retry_later,
)
from aep_intake.model.errors import NotYet, PlatformUnavailable, StorageUnavailable
from aep_intake.model.progress import Rejection

SENT = 1_790_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
IN_FLIGHT = 120_000  # of a standard queue


def received(*, receives: int = 1, sent: int = SENT, **carried: Any) -> Message:
    """As Lambda tells of it."""
    record = {
        "messageId": "m",
        "receiptHandle": "r",
        "body": "{}",
        "attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": str(sent)},
        "messageAttributes": {
            name: {"stringValue": str(value), "dataType": "Number"}
            for name, value in carried.items()
        },
    }
    return Message.of(record)


@dataclass
class Sqs:
    """A queue; what is in `refuses` does not work."""

    refuses: frozenset[str] = frozenset()
    hidden: dict[Message, int] = field(default_factory=dict)
    sent: list[Again] = field(default_factory=list)
    parked: list[tuple[Message, Rejection]] = field(default_factory=list)

    def hide(self, waits: Mapping[Message, int]) -> None:
        if "hide" in self.refuses:
            raise StorageUnavailable("not hidden")
        self.hidden |= waits

    def send_again(self, wanted: Iterable[Again]) -> dict[Message, StorageUnavailable]:
        if "send" in self.refuses:
            return {again.message: StorageUnavailable("not sent") for again in wanted}
        self.sent += wanted
        return {}

    def park(self, message: Message, why: Rejection) -> None:
        if "park" in self.refuses:
            raise StorageUnavailable("not parked")
        self.parked.append((message, why))


@dataclass
class Life:
    """What becomes of a message that fails whenever it is tried. Times in epoch milliseconds."""

    tried: list[int] = field(default_factory=list)
    hidden_ms: int = 0
    parked: Rejection | None = None

    @classmethod
    def of(cls, error: Exception, first_received: int = SENT) -> "Life":
        life, now = cls(), first_received
        receives, sent, carried = 1, SENT, dict[str, int]()
        while life.parked is None:
            message, sqs = received(receives=receives, sent=sent, **carried), Sqs()
            too_early = early([message], now)
            if too_early:
                back = retry_later({}, too_early, sqs, now)
            else:
                life.tried.append(now)
                back = retry_later({message: error}, (), sqs, now)
            assert (message.message_id in back.stay) is bool(sqs.hidden)
            if sqs.hidden:
                life.hidden_ms += 1000 * sqs.hidden[message]
                now, receives = now + 1000 * sqs.hidden[message], receives + 1
            for again in sqs.sent:
                assert again.delay_s <= SEND_DELAY_MAX_S
                now, receives, carried = now + 1000 * again.delay_s, 1, again.attributes
                sent = now
            for _, why in sqs.parked:
                life.parked = why
        return life


def test_tries_come_soon_and_then_half_an_hour_apart_for_a_day() -> None:
    life = Life.of(PlatformUnavailable("AEP is down"))
    apart = [later - one for one, later in zip(life.tried, life.tried[1:], strict=False)]
    assert apart[:4] == [30_000, 60_000, 120_000, 240_000]
    assert apart == sorted(apart)
    assert max(apart) == 1_800_000
    assert DAY <= life.tried[-1] - SENT < DAY + HOUR


def test_it_ends_with_the_reason_of_its_last_try() -> None:
    parked = Life.of(PlatformUnavailable("AEP is down")).parked
    assert parked is not None
    assert (parked.reason, "AEP is down" in parked.detail) == ("platform-unavailable", True)
    unforeseen = Life.of(KeyError("customer@example.com")).parked
    assert unforeseen is not None
    assert unforeseen.reason == "failed"
    assert "KeyError" in unforeseen.detail
    assert "customer" not in unforeseen.detail


def test_what_waits_is_not_in_flight() -> None:
    """A thousand organizations may fail for a day: the queue still gives out what is healthy."""
    for error in (PlatformUnavailable("down"), NotYet("the hour is full", retry_after=3000)):
        seconds = Life.of(error).hidden_ms / 1000
        assert seconds <= 30 + 60 + HIDDEN_MAX_S
        assert 500 * seconds < IN_FLIGHT


def test_retry_after_is_obeyed_however_long_sqs_can_delay() -> None:
    life = Life.of(NotYet("the hour is full", retry_after=7200.5))
    assert all(
        later - one >= 7_200_500 for one, later in zip(life.tried, life.tried[1:], strict=False)
    )
    for error in (PlatformUnavailable, NotYet):
        assert delay(1, error("later", retry_after=600.5)) >= 601
        assert delay(20, error("later", retry_after=5)) >= 1800
        assert delay(1, error("later", retry_after=1e9)) == WAIT_MAX_S <= 12 * 3600


def test_what_is_only_early_is_tried_at_its_time_and_then_as_any_other() -> None:
    early = NotYet("its creation is not finished", retry_after=1)
    assert [delay(tries, early) for tries in (1, 2, 3)] == [1, 60, 120]
    assert delay(1, NotYet("another worker has it")) == 30
    assert delay(1, PlatformUnavailable("busy", retry_after=1)) == 30


def test_what_nobody_took_for_days_is_not_given_up_at_its_first_failure() -> None:
    late = Life.of(PlatformUnavailable("AEP is down"), SENT + 3 * DAY)
    assert late.tried[-1] - late.tried[0] > 6 * HOUR


def test_it_says_since_when_and_how_often_it_was_tried() -> None:
    sqs = Sqs()
    message = received(receives=4, sent=SENT)
    retry_later({message: NotYet("later")}, (), sqs, SENT + HOUR)
    [again] = sqs.sent
    assert again.attributes == {"firstSentAt": SENT, "tries": 4}
    anew = received(receives=2, sent=SENT + 2 * HOUR, **again.attributes)
    assert (anew.tries, anew.first_sent_at) == (6, SENT)


def test_one_that_came_too_early_was_not_tried() -> None:
    sqs = Sqs()
    message = received(receives=1, firstSentAt=SENT, tries=7, notBefore=SENT + 2 * HOUR)
    assert early([message], SENT + HOUR) == (message,)
    assert early([message], SENT + 2 * HOUR) == ()
    retry_later({}, [message], sqs, SENT + HOUR)
    [again] = sqs.sent
    assert (again.tries, again.delay_s, again.not_before) == (7, SEND_DELAY_MAX_S, SENT + 2 * HOUR)


@pytest.mark.parametrize("odd", ["", "-1", "1e3", "x", "9" * 40, "²"])
def test_what_others_wrote_into_a_message_is_no_harm(odd: str) -> None:
    message = received(receives=3, firstSentAt=odd, tries=odd, notBefore=odd)
    assert (message.tries, message.first_sent_at, message.not_before) == (3, SENT, 0)


def test_what_cannot_be_sent_anew_or_parked_is_hidden_and_told() -> None:
    late, old = received(receives=9), received(receives=99)
    for refuses, message, now in (("send", late, SENT), ("park", old, SENT + 2 * DAY)):
        sqs = Sqs(frozenset({refuses}))
        back = retry_later({message: NotYet("later")}, (), sqs, now)
        assert back.stay == ("m",)
        assert [type(trouble) for trouble in back.troubles] == [StorageUnavailable]
        assert 0 < sqs.hidden[message] <= WAIT_MAX_S


def test_what_cannot_even_be_hidden_stays_and_is_told() -> None:
    back = retry_later({received(): NotYet("later")}, (), Sqs(frozenset({"hide"})), SENT)
    assert back.stay == ("m",)
    assert len(back.troubles) == 1
