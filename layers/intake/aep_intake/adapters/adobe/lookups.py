"""What Adobe is asked again and again: answers are kept, and whoever is broken is left alone.

An organization that answers with 429 or 5xx, or not at all, would otherwise be asked by every
arrival, each for as long as its time-outs, while arrivals of others wait for a thread.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import cast

from aep_intake.model.errors import CredentialUnusable, TryAgain

# Milliseconds. The first rest, twice as long after each failure more, and the longest.
REST, LONGEST_REST = 10_000, 300_000


@dataclass(slots=True)
class _Health:
    failures: int = 0  # in a row
    rests: int = 0  # in a row
    since: int = 0
    until: int = 0
    # Class and text, not the error itself: its traceback would keep much alive.
    kind: type[TryAgain] = TryAgain
    detail: str = ""


class Breakers:
    """Which credentials' organizations are known to be broken; for several threads.

    One is after `failures` in a row, for a rest that grows, or for as long as it asked. `now`
    tells epoch milliseconds.
    """

    def __init__(self, now: Callable[[], int], failures: int = 1) -> None:
        self._now = now
        self._most = failures
        self._lock = threading.Lock()
        self._health: dict[str, _Health] = {}

    def check(self, credential: str) -> None:
        """Raises its last failure again while it is to be left alone."""
        with self._lock:
            health, now = self._health.get(credential), self._now()
            if health is not None and now < health.until:
                raise health.kind(health.detail, retry_after=(health.until - now) / 1000)

    def worked(self, credential: str) -> None:
        """It has answered."""
        with self._lock:
            self._health.pop(credential, None)

    def failed(self, credential: str, error: TryAgain, began: int) -> None:
        """It has not; `began`: when it was asked (epoch ms)."""
        with self._lock:
            health, now = self._health.setdefault(credential, _Health()), self._now()
            health.failures += 1
            if health.failures < self._most or began < health.since:
                return  # asked side by side, and no failure more
            # A credential has its own rests, and is mended by a person who waits for it.
            grown = REST if isinstance(error, CredentialUnusable) else REST << min(health.rests, 9)
            rest = max(min(grown, LONGEST_REST), int(1000 * (error.retry_after or 0)))
            health.rests += 1
            health.since, health.until = now, now + rest
            health.kind, health.detail = type(error), error.detail


@dataclass(slots=True)
class _Answer[V]:
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: int = 0
    found: V | None = None


class Lookups[K: Hashable, V]:
    """Answers by key, each kept for as long as `keep` says (milliseconds); `most` of them.

    Which was not used for longest goes first. Of several threads one asks, the others wait for
    what it finds.
    """

    def __init__(
        self, now: Callable[[], int], breakers: Breakers, keep: Callable[[V], int], most: int
    ) -> None:
        self._now = now
        self._breakers = breakers
        self._keep = keep
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[K, _Answer[V]] = OrderedDict()

    def ask(self, key: K, credential: str, question: Callable[[], V]) -> V:
        """The answer kept, or to `question`.

        Raises what that raises, which is not kept; but TryAgain for a while for all of its
        credential, at once.
        """
        answer = self._answer(key)
        with answer.lock:
            began = self._now()
            if began < answer.until:
                return cast("V", answer.found)
            self._breakers.check(credential)
            try:
                found = question()
            except TryAgain as error:
                self._breakers.failed(credential, error, began)
                raise
            self._breakers.worked(credential)
            answer.found, answer.until = found, self._now() + self._keep(found)
            return found

    def last(self, key: K) -> V | None:
        """The last answer, however old it is; None if there is none."""
        return self._answer(key).found

    def _answer(self, key: K) -> _Answer[V]:
        with self._lock:
            answer = self._answers.setdefault(key, _Answer[V]())
            self._answers.move_to_end(key)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
            return answer
