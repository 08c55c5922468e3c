"""The rate limit of batches per minute, which all workers of a stack share.

Each credential has a token bucket in the ledger, stored as the time at which it will be full again.
A batch moves that time ahead by the interval between two batches, and its turn comes when the
bucket has room for it. A worker takes turns for all its waiting threads in a single write. While
the bucket is more than half full, it takes ten, for batches to come: turns that it does not use
soon are lost, so it takes them only where there are plenty.
"""

import threading
from collections.abc import Callable
from dataclasses import field
from hashlib import sha256
from typing import Protocol

from aep_intake.model.errors import NotYet
from aep_intake.model.times import MINUTE_MS
from aep_intake.model.values import dataclass

TURNS_AT_ONCE = 10
# How long a turn that was taken in advance may be used: so the turns used in any minute were taken
# within this much more than a minute.
TURN_LIFE_MS = 5_000


class Full(Exception):
    """The bucket, full again at `full_at` (epoch ms), has no room for the turns asked for."""

    def __init__(self, full_at: float) -> None:
        super().__init__("too many turns were taken")
        self.full_at = full_at


class Buckets(Protocol):
    """The time at which each bucket will be full again. Every method raises LedgerUnavailable."""

    def take(self, name: str, cost: float, now: float, until: float, *, filling: bool) -> float:
        """Move that time (or `now`, if it is later) ahead by `cost` ms; the new time.

        Raises Full if the new time were later than `until`. `filling`: the bucket is probably not
        full, which saves a write if it is true.
        """


@dataclass(slots=True)
class _Purse:
    """A worker's turns from one bucket: `left`, to be used from `start` until `end`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0
    left: int = 0
    start: float = 0.0
    end: float = 0.0
    full_at: float = 0.0  # as it was last seen; it only grows


@dataclass(frozen=True, slots=True)
class _Rate:
    """How fast a bucket fills."""

    interval_ms: float  # between two batches
    full_ms: float  # in which an empty bucket fills


class Pace:
    """At most `per_minute` POSTs of a credential in any minute; shared by a worker's threads.

    A tenth of them may come at once. `per_minute`: the present limit of a credential. `now` in
    epoch milliseconds, `sleep` in seconds. `wait` refuses a turn that is more than `wait_max_ms`
    away.
    """

    def __init__(
        self,
        buckets: Buckets,
        per_minute: Callable[[str], int],
        now: Callable[[], int],
        sleep: Callable[[float], None],
        wait_max_ms: float = 5_000.0,
    ) -> None:
        self._buckets = buckets
        self._per_minute = per_minute
        self._now = now
        self._sleep = sleep
        self._wait_max_ms = wait_max_ms
        self._purses: dict[str, _Purse] = {}
        self._lock = threading.Lock()

    def wait(self, credential: str) -> None:
        """Wait for a turn.

        Raises NotYet if it is too far away, or LedgerUnavailable: while the ledger takes no write,
        a batch could not be recorded either.
        """
        purse = self._purse(credential)
        with self._lock:
            purse.waiting += 1
        try:
            with purse.lock:
                start = self._turn(credential, purse)
        finally:
            with self._lock:
                purse.waiting -= 1
        wait = start - self._now()
        if wait > 0:
            self._sleep(wait / 1000)

    def count(self, credential: str) -> None:
        """Take a turn without waiting; callers of `wait` wait longer, up to a minute's turns."""
        now, purse, rate = self._now(), self._purse(credential), self._rate(credential)
        until = now + rate.full_ms + MINUTE_MS
        try:
            purse.full_at = self._take(credential, rate.interval_ms, now, until, purse.full_at)
        except Full as full:
            purse.full_at = full.full_at

    def _turn(self, credential: str, purse: _Purse) -> float:
        """The time (epoch ms) of a turn that is taken now."""
        now = self._now()
        if not (purse.left and now < purse.end):
            rate = self._rate(credential)
            purse.left = self._take_some(credential, purse, rate, now)
            purse.start = max(now, purse.full_at - rate.full_ms)
            purse.end = purse.start + TURN_LIFE_MS
        purse.left -= 1
        return purse.start

    def _take_some(self, credential: str, purse: _Purse, rate: _Rate, now: float) -> int:
        half, whole = now + rate.full_ms / 2, now + rate.full_ms + self._wait_max_ms
        for _ in range(3):  # other workers may be faster
            since = max(now, purse.full_at)
            number, until = TURNS_AT_ONCE, half
            if since + TURNS_AT_ONCE * rate.interval_ms > half:
                room = int((whole - since) / rate.interval_ms)
                number, until = min(purse.waiting, TURNS_AT_ONCE, room), whole
            if number < 1:
                break
            try:
                cost = number * rate.interval_ms
                purse.full_at = self._take(credential, cost, now, until, purse.full_at)
            except Full as full:
                purse.full_at = full.full_at
            else:
                return number
        wait = max(now, purse.full_at) + rate.interval_ms - rate.full_ms - now
        # `now` may be long past if the ledger answered slowly.
        raise NotYet("the batches of this minute are used", retry_after=min(wait, MINUTE_MS) / 1000)

    def _take(self, credential: str, cost: float, now: float, until: float, seen: float) -> float:
        name = sha256(credential.encode()).hexdigest()[:32]
        return self._buckets.take(name, cost, now, until, filling=seen > now)

    def _rate(self, credential: str) -> _Rate:
        per_minute = self._per_minute(credential)
        burst = max(1, per_minute // 10)
        interval_ms = (MINUTE_MS + TURN_LIFE_MS) / (per_minute - burst + 1)
        return _Rate(interval_ms, burst * interval_ms)

    def _purse(self, credential: str) -> _Purse:
        with self._lock:
            return self._purses.setdefault(credential, _Purse())
