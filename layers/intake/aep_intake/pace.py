"""Batches per minute, held by a token bucket per worker: AEP is treated with care."""

import threading
from collections.abc import Callable

from aep_intake.errors import NotYet


class Pace:
    """At most `burst` POSTs at once, then `per_minute`; shared by the threads of one worker.

    `now` in epoch milliseconds, `sleep` in seconds; a turn further off than `patience` seconds is
    not waited for.
    """

    def __init__(
        self,
        per_minute: float,
        burst: int,
        now: Callable[[], int],
        sleep: Callable[[float], None],
        patience: float = 5.0,
    ) -> None:
        self._interval = 60_000 / per_minute
        self._burst = burst
        self._now = now
        self._sleep = sleep
        self._patience = patience
        self._lock = threading.Lock()
        self._full_at = 0.0  # when the bucket will be full again, epoch milliseconds

    def __call__(self) -> None:
        """Wait for a turn. Raises NotYet when it is too far off."""
        with self._lock:
            now = self._now()
            full_at = max(self._full_at, now) + self._interval
            wait = (full_at - now - self._burst * self._interval) / 1000
            if wait > self._patience:
                raise NotYet("this worker's share of batches per minute is used", retry_after=wait)
            self._full_at = full_at
        if wait > 0:
            self._sleep(wait)
