"""No more batches in any minute than were asked for, however many workers there are."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from aep_intake.create.pace import TURN_LIFE_MS, TURNS_AT_ONCE, Full, Pace
from aep_intake.model.errors import LedgerUnavailable, NotYet
from aep_intake.model.times import MINUTE_MS
from greenlet import getcurrent, greenlet

from tests.memory_ledger import MemoryBuckets

START = 1_790_000_000_000
ORG = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-AbCdEf"
SECOND = 1000


@dataclass
class Time:
    """Threads of workers as greenlets, and the clock that they sleep by."""

    ms: int = START
    posts: list[int] = field(default_factory=list)
    put_off: int = 0
    _waiting: list[tuple[int, int, greenlet]] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def now(self) -> int:
        return self.ms

    def sleep(self, seconds: float) -> None:
        here = getcurrent()
        assert here.parent is not None
        heapq.heappush(self._waiting, (self.ms + int(seconds * 1000) + 1, next(self._count), here))
        here.parent.switch()

    def start(self, when: int, work: Callable[[], None]) -> None:
        heapq.heappush(self._waiting, (when, next(self._count), greenlet(work)))

    def run(self, until: int) -> None:
        while self._waiting and self._waiting[0][0] <= until:
            self.ms, _, thread = heapq.heappop(self._waiting)
            thread.switch()
        self.ms = until

    def worker(self, buckets: MemoryBuckets, per_minute: int) -> Pace:
        return Pace(buckets, lambda _: per_minute, self.now, self.sleep)

    def post(self, pace: Pace, *, again: bool = False) -> Callable[[], None]:
        """A thread that makes a batch; `again`: and comes back if it is told to."""

        def work() -> None:
            while True:
                try:
                    pace.wait(ORG)
                except NotYet as later:
                    self.put_off += 1
                    if not again:
                        return
                    assert later.retry_after is not None
                    self.sleep(later.retry_after)
                else:
                    self.posts.append(self.ms)
                    return

        return work

    @property
    def most_in_a_minute(self) -> int:
        """Of any minute."""
        most = first = 0
        for last, when in enumerate(self.posts):
            while self.posts[first] <= when - MINUTE_MS:
                first += 1
            most = max(most, last - first + 1)
        return most


@pytest.mark.parametrize("workers", [1, 5, 100])
@pytest.mark.parametrize("per_minute", [1, 2, 6, 19, 20, 138, 600])
def test_no_minute_has_more_and_hardly_one_has_less(per_minute: int, workers: int) -> None:
    """While there is always more to do; whoever is put off comes back when told to."""
    time, buckets = Time(), MemoryBuckets()
    paces = [time.worker(buckets, per_minute) for _ in range(workers)]
    for n in range(3 * per_minute):
        time.start(START, time.post(paces[n * 37 % workers], again=True))
    time.run(START + 3 * MINUTE_MS)
    assert time.most_in_a_minute <= per_minute
    assert len(time.posts) >= 3 * per_minute * 3 // 4


@pytest.mark.parametrize("seed", range(20))
def test_no_minute_has_more_however_they_come(seed: int) -> None:
    rng = random.Random(seed)
    per_minute = rng.choice([3, 30, 300])
    time, buckets = Time(), MemoryBuckets()
    paces = [time.worker(buckets, per_minute) for _ in range(rng.choice([1, 3, 30]))]
    when = START
    for _ in range(60):
        when += rng.choice([0, 0, 10, 500, TURN_LIFE_MS - 1, TURN_LIFE_MS, 20_000, 90_000])
        pace = rng.choice(paces)
        for _ in range(rng.choice([1, 1, 3, 10])):
            time.start(when, time.post(pace, again=rng.random() < 0.5))
    time.run(when + 10 * MINUTE_MS)
    assert 0 < time.most_in_a_minute <= per_minute


def test_a_delivery_of_ten_costs_one_write_and_does_not_wait() -> None:
    time, buckets = Time(), MemoryBuckets()
    for delivery in range(3):
        pace = time.worker(buckets, 1000)  # a cold start each
        for _ in range(10):
            time.start(time.ms, time.post(pace))
        time.run(time.ms)
        assert buckets.writes - delivery <= 1 + delivery, "the first finds it full, the others not"
        assert len(time.posts) == 10 * (delivery + 1)
    assert set(time.posts) == {START}


def test_a_quiet_minute_costs_one_write_for_ten_of_a_worker() -> None:
    time, buckets = Time(), MemoryBuckets()
    pace = time.worker(buckets, 1000)
    for n in range(1000):  # two a second, with a pause each minute
        time.start(START + n * 500 + n // 100 * MINUTE_MS, time.post(pace))
    time.run(START + 30 * MINUTE_MS)
    assert len(time.posts) == 1000
    assert buckets.writes <= 1000 / TURNS_AT_ONCE + 1


def test_a_hundred_workers_at_once_get_all_that_there_is_and_ask_a_few_times() -> None:
    """Not a share each of what is divided among workers that are not there."""
    time, buckets = Time(), MemoryBuckets()
    for _ in range(100):
        pace = time.worker(buckets, 1000)
        for _ in range(10):
            time.start(START, time.post(pace))
    time.run(START + 10 * SECOND)
    assert 150 <= len(time.posts) <= 200, "a tenth, and what is waited for"
    assert time.put_off == 1000 - len(time.posts)
    assert buckets.writes <= 4 * 100


def test_a_hundred_workers_that_have_little_to_do_waste_nothing() -> None:
    """Each takes for one batch now and then what it could use for ten."""
    time, buckets = Time(), MemoryBuckets()
    paces = [time.worker(buckets, 1000) for _ in range(100)]
    for n in range(3000):
        time.start(START + 100 * n, time.post(paces[n * 37 % 100]))
    time.run(START + 10 * MINUTE_MS)
    assert (len(time.posts), time.put_off) == (3000, 0)
    assert max(later - START - 100 * n for n, later in enumerate(time.posts)) < SECOND


def test_what_was_taken_for_later_is_lost_soon() -> None:
    time, buckets = Time(), MemoryBuckets()
    pace = time.worker(buckets, 1000)
    pace.wait(ORG)
    time.ms += TURN_LIFE_MS - 1
    pace.wait(ORG)
    assert buckets.writes == 1
    time.ms += 1
    pace.wait(ORG)
    assert buckets.writes == 2


def test_each_credential_has_its_own() -> None:
    time, buckets = Time(), MemoryBuckets()
    pace = time.worker(buckets, 6)
    pace.wait("one")
    pace.wait("other")
    with pytest.raises(NotYet) as caught:
        pace.wait("one")
    assert caught.value.retry_after == pytest.approx((MINUTE_MS + TURN_LIFE_MS) / 6000)


def test_a_turn_far_off_is_given_up_and_not_taken_and_not_asked_for_again() -> None:
    time, buckets = Time(), MemoryBuckets()
    pace, other = time.worker(buckets, 6), time.worker(buckets, 6)
    pace.wait(ORG)
    for _ in range(3):
        with pytest.raises(NotYet):
            other.wait(ORG)
    assert buckets.writes == 1 + 2
    time.ms += MINUTE_MS
    other.wait(ORG)


def test_requests_do_not_wait_and_are_counted() -> None:
    time, buckets = Time(), MemoryBuckets()
    pace, arrivals = time.worker(buckets, 100), time.worker(buckets, 100)
    for _ in range(50):
        pace.count(ORG)
    assert time.ms == START
    with pytest.raises(NotYet) as caught:
        arrivals.wait(ORG)
    assert caught.value.retry_after is not None
    assert 20 < caught.value.retry_after < 40, "the turns of forty"
    for _ in range(500):  # more than a minute has is AEP's to refuse, and not what others wait for
        pace.count(ORG)
    time.ms += MINUTE_MS + TURN_LIFE_MS
    arrivals.wait(ORG)


def test_where_the_ledger_fails_no_batch_is_made() -> None:
    class Down(MemoryBuckets):
        def take(self, name: str, cost: float, now: float, until: float, *, filling: bool) -> float:
            raise LedgerUnavailable("throttled")

    pace = Time().worker(Down(), 1000)
    for how in (pace.wait, pace.count):
        with pytest.raises(LedgerUnavailable):
            how(ORG)


def test_a_turn_is_never_further_off_than_a_minute() -> None:
    """A worker that stood still measures from a time long past: its order must not wait as long."""

    class Ahead:
        def take(self, *_: object, **__: object) -> float:
            raise Full(float(14 * 86_400_000))

    with pytest.raises(NotYet) as too_far:
        Pace(Ahead(), lambda _: 60, lambda: 0, lambda _: None).wait("acme")
    assert too_far.value.retry_after == 60
