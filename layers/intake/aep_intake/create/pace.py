"""Batches per minute, kept by all workers of a deployment together: AEP is treated with care.

Each credential has a bucket in the ledger, which holds the time at which it will be full again: a
batch moves that ahead by the time between two batches, and its turn comes when the bucket has
room for it. A worker takes turns for all its threads that wait for one, in a single write; and ten
as long as half of the bucket is there, for the batches to come. What it took so and does not use
soon is lost, which is why that is asked of a bucket that has plenty.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from aep_intake.model.errors import NotYet

MINUTE = 60_000
LEASE = 10
# Milliseconds for which a turn that was taken for later may be used; so the turns of any minute
# were taken within this much more than a minute.
KEPT = 5_000


class Full(Exception):
    """The bucket would be full again too late: after `full_at` (epoch ms) and what was asked."""

    def __init__(self, full_at: float) -> None:
        super().__init__("too many turns were taken")
        self.full_at = full_at


class Buckets(Protocol):
    """When each bucket will be full again. Every method raises LedgerUnavailable."""

    def take(self, name: str, cost: float, now: float, until: float, *, filling: bool) -> float:
        """Move that time ahead by `cost` ms, or `now` if that is later; the time it becomes.

        Raises Full if that were later than `until`. `filling`: whether the bucket is thought not
        to be full, for one write to do.
        """


@dataclass(slots=True)
class _Purse:
    """What a worker has of one bucket: `left` turns, to be used from `start` until `end`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0
    left: int = 0
    start: float = 0.0
    end: float = 0.0
    full_at: float = 0.0  # as it was last seen; it only grows


@dataclass(frozen=True, slots=True)
class _Rate:
    """Milliseconds between two batches, and until a bucket is full that was empty."""

    interval: float
    size: float


class Pace:
    """At most `per_minute` POSTs of a credential in any minute; shared by a worker's threads.

    A tenth of them may come at once. `per_minute` by credential, as it is now; `now` in epoch
    milliseconds, `sleep` in seconds; a turn further off than `patience` milliseconds is not waited
    for.
    """

    def __init__(
        self,
        buckets: Buckets,
        per_minute: Callable[[str], int],
        now: Callable[[], int],
        sleep: Callable[[float], None],
        patience: float = 5_000.0,
    ) -> None:
        self._buckets = buckets
        self._per_minute = per_minute
        self._now = now
        self._sleep = sleep
        self._patience = patience
        self._purses: dict[str, _Purse] = {}
        self._lock = threading.Lock()

    def wait(self, credential: str) -> None:
        """Wait for a turn.

        Raises NotYet when it is too far off, and LedgerUnavailable: what cannot be written now
        is no batch that could be recorded.
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
        """Take a turn and do not wait for it: those who do will, for up to a minute's turns."""
        now, purse, rate = self._now(), self._purse(credential), self._rate(credential)
        until = now + rate.size + MINUTE
        try:
            purse.full_at = self._take(credential, rate.interval, now, until, purse.full_at)
        except Full as full:
            purse.full_at = full.full_at

    def _turn(self, credential: str, purse: _Purse) -> float:
        """When a turn comes that is taken now (epoch ms)."""
        now = self._now()
        if not (purse.left and now < purse.end):
            rate = self._rate(credential)
            purse.left = self._lease(credential, purse, rate, now)
            purse.start = max(now, purse.full_at - rate.size)
            purse.end = purse.start + KEPT
        purse.left -= 1
        return purse.start

    def _lease(self, credential: str, purse: _Purse, rate: _Rate, now: float) -> int:
        half, whole = now + rate.size / 2, now + rate.size + self._patience
        for _ in range(3):  # others may be faster
            since = max(now, purse.full_at)
            number, until = LEASE, half
            if since + LEASE * rate.interval > half:
                room = int((whole - since) / rate.interval)
                number, until = min(purse.waiting, LEASE, room), whole
            if number < 1:
                break
            try:
                cost = number * rate.interval
                purse.full_at = self._take(credential, cost, now, until, purse.full_at)
            except Full as full:
                purse.full_at = full.full_at
            else:
                return number
        wait = max(now, purse.full_at) + rate.interval - rate.size - now
        # Measured from a time that may be long past where the ledger was slow to answer.
        raise NotYet("the batches of this minute are used", retry_after=min(wait, MINUTE) / 1000)

    def _take(self, credential: str, cost: float, now: float, until: float, seen: float) -> float:
        name = sha256(credential.encode()).hexdigest()[:32]
        return self._buckets.take(name, cost, now, until, filling=seen > now)

    def _rate(self, credential: str) -> _Rate:
        per_minute = self._per_minute(credential)
        burst = max(1, per_minute // 10)
        interval = (MINUTE + KEPT) / (per_minute - burst + 1)
        return _Rate(interval, burst * interval)

    def _purse(self, credential: str) -> _Purse:
        with self._lock:
            return self._purses.setdefault(credential, _Purse())
