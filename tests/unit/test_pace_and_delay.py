"""How fast batches are made, and how long a message waits for its next try."""

from itertools import accumulate

import pytest
from aep_intake.adapters.queues import LONGEST_VISIBILITY, delay
from aep_intake.errors import NotYet
from aep_intake.pace import Pace

TRIES = 60  # the arrivals queue's maxReceiveCount


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.ms = 1_790_000_000_000
        self.slept: list[float] = []

    def now(self) -> int:
        return self.ms

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ms += round(seconds * 1000)


def test_a_burst_passes_at_once_and_then_the_pace_holds() -> None:
    time = Time()
    pace = Pace(60, 10, time.now, time.sleep)
    for _ in range(10):
        pace()
    assert time.slept == []
    start = time.ms
    for _ in range(20):
        pace()
    assert time.ms - start == pytest.approx(20_000, abs=20)


def test_what_was_not_used_is_there_again_but_no_more_than_a_burst() -> None:
    time = Time()
    pace = Pace(60, 10, time.now, time.sleep)
    for _ in range(10):
        pace()
    time.ms += 3_600_000
    for _ in range(10):
        pace()
    assert time.slept == []
    pace()
    assert time.slept == [pytest.approx(1.0)]


def test_a_turn_far_off_is_given_up_and_not_taken() -> None:
    time = Time()
    pace = Pace(6, 1, time.now, time.sleep)
    pace()
    for _ in range(3):
        with pytest.raises(NotYet) as caught:
            pace()
        assert caught.value.retry_after == pytest.approx(10)


def test_sixty_tries_span_a_day_and_the_first_comes_soon() -> None:
    delays = [delay(receives, None) for receives in range(1, TRIES + 1)]
    assert delays == sorted(delays)
    assert delays[0] <= 60
    assert list(accumulate(delays))[-1] >= 24 * 3600


def test_retry_after_is_obeyed_within_what_sqs_allows() -> None:
    assert delay(1, 600.5) >= 601
    assert delay(20, 5) >= 1800
    assert delay(1, 1e9) == LONGEST_VISIBILITY <= 12 * 3600
