"""Caches Adobe's answers, and stops calls to a broken organization for a while (circuit breaker).

Otherwise every arrival would ask an organization that answers with 429 or 5xx, or not at all, and
wait for its time-outs, while arrivals of other organizations wait for a thread.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import field
from typing import cast

from aep_intake.model.errors import CredentialUnusable, TryAgain
from aep_intake.model.values import dataclass

# How long a breaker stays open: at first, and at most. It doubles with each further failure.
REST_MS, REST_MAX_MS = 10_000, 300_000


@dataclass(slots=True)
class _Health:
    """How an organization has answered lately."""

    failures: int = 0  # in a row
    rests: int = 0  # in a row
    since: int = 0
    until: int = 0
    # Class and text, not the error itself, whose traceback would keep many objects in memory.
    kind: type[TryAgain] = TryAgain
    detail: str = ""


class Breakers:
    """Circuit breakers of organizations, by credential. May be used from several threads.

    A breaker opens after `failures` in a row, for a time that grows, or for the `Retry-After` of
    the answer. `now`: epoch milliseconds.
    """

    def __init__(self, now: Callable[[], int], failures: int = 1) -> None:
        self._now = now
        self._failures_allowed = failures
        self._lock = threading.Lock()
        self._health: dict[str, _Health] = {}

    def check(self, credential: str) -> None:
        """Raise its last failure again while its breaker is open."""
        with self._lock:
            health, now = self._health.get(credential), self._now()
            if health is not None and now < health.until:
                raise health.kind(health.detail, retry_after=(health.until - now) / 1000)

    def worked(self, credential: str) -> None:
        """Close the breaker: the organization answered."""
        with self._lock:
            self._health.pop(credential, None)

    def failed(self, credential: str, error: TryAgain, started: int) -> None:
        """Count a failure. `started`: when the request was sent (epoch ms)."""
        with self._lock:
            health, now = self._health.setdefault(credential, _Health()), self._now()
            health.failures += 1
            if health.failures < self._failures_allowed or started < health.since:
                return  # requests in flight at the same time count as one failure
            # A credential's rest does not grow: a person replaces it, and waits for the effect.
            grows = 0 if isinstance(error, CredentialUnusable) else min(health.rests, 9)
            rest = max(min(REST_MS << grows, REST_MAX_MS), int(1000 * (error.retry_after or 0)))
            health.rests += 1
            health.since, health.until = now, now + rest
            health.kind, health.detail = type(error), error.detail


@dataclass(slots=True)
class _CacheEntry[V]:
    """An answer; threads that wait for it wait for the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    until: int = 0
    found: V | None = None


class Lookups[K: Hashable, V]:
    """A cache of up to `size` answers by key, each kept for `keep(answer)` milliseconds.

    The least recently used answer is dropped first. If several threads ask for the same key, one
    calls AEP and the others wait for its answer.
    """

    def __init__(
        self, now: Callable[[], int], breakers: Breakers, keep: Callable[[V], int], size: int
    ) -> None:
        self._now = now
        self._breakers = breakers
        self._keep = keep
        self._size = size
        self._lock = threading.Lock()
        self._answers: OrderedDict[K, _CacheEntry[V]] = OrderedDict()

    def ask(self, key: K, credential: str, question: Callable[[], V]) -> V:
        """The cached answer, or the one to `question`.

        Raises as `question`, whose errors are not cached. But after TryAgain, all questions of the
        credential raise it at once for a while.
        """
        answer = self._answer(key)
        with answer.lock:
            started = self._now()
            if started < answer.until:
                return cast("V", answer.found)
            self._breakers.check(credential)
            try:
                found = question()
            except TryAgain as error:
                self._breakers.failed(credential, error, started)
                raise
            self._breakers.worked(credential)
            answer.found, answer.until = found, self._now() + self._keep(found)
            return found

    def last(self, key: K) -> V | None:
        """The last answer, however old it is; None if there is none."""
        return self._answer(key).found

    def _answer(self, key: K) -> _CacheEntry[V]:
        with self._lock:
            answer = self._answers.setdefault(key, _CacheEntry[V]())
            self._answers.move_to_end(key)
            if len(self._answers) > self._size:
                self._answers.popitem(last=False)
            return answer
