"""The allowance of bytes per hour that all workers of an organization share.

A worker takes more than it needs at a time, and uses the rest for the next files of the same hour:
so many small files need few requests to the ledger.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from aep_intake.adapters.dynamodb.table import ConditionFailed, Table, expiry
from aep_intake.model.batches import Target
from aep_intake.model.errors import LedgerUnavailable, NotYet
from aep_intake.model.times import DAY_MS, HOUR_MS, hour_of

# A worker takes this share of the hour in advance: a thousand idle workers hold half of it.
SHARES = 2000
# Seconds after the full hour over which the retries of waiting uploads are spread.
SPREAD_S = 300


class HourlyAllowance:
    """Counts the bytes that were sent, by hour and organization.

    `hourly`: bytes an hour that AEP takes, by credential. `spread`: seconds of a wait beyond the
    full hour, so that not all uploads start at once.
    """

    def __init__(
        self,
        table: Table,
        now: Callable[[], int],
        hourly: Callable[[str], int],
        spread: Callable[[], float] = lambda: random.uniform(0, SPREAD_S),  # noqa: S311
    ) -> None:
        self._table = table
        self._now = now
        self._hourly = hourly
        self._spread = spread
        self._lock = Lock()
        self._left: dict[str, tuple[str, int]] = {}  # hour and bytes, by organization

    @contextmanager
    def taking(self, target: Target, size: int) -> Iterator[None]:
        """Count `size` bytes that are sent in the context; not if that fails.

        Raises NotYet if the hour is used up, or LedgerUnavailable.
        """
        hour, organization = hour_of(self._now()), target.ims_org
        hourly = self._hourly(target.credential)
        self._take(organization, hour, size, hourly)
        try:
            yield
        except BaseException:
            # Bytes that cannot be given back now are free again in the next hour.
            with suppress(LedgerUnavailable):
                self._give_back(organization, hour, size, hourly)
            raise

    def wait(self, target: Target, size: int) -> float:
        """Seconds until `size` bytes may be sent: 0, or until some time in the next hour."""
        hour, organization = hour_of(self._now()), target.ims_org
        sent = self._table.get(f"sent#{hour}", organization)
        room = self._hourly(target.credential) - (int(sent["counted"]["N"]) if sent else 0)
        return 0 if sent is None or size <= room else self._next_hour()

    def _take(self, organization: str, hour: str, size: int, hourly: int) -> None:
        with self._lock:
            left = self._kept(organization, hour)
            if left < size:
                left += self._take_some(organization, hour, size - left, hourly)
            self._left[organization] = (hour, left - size)

    def _take_some(self, organization: str, hour: str, needed: int, hourly: int) -> int:
        for more in sorted({max(needed, hourly // SHARES), needed}, reverse=True):
            sum_max = max(hourly, more)  # a file larger than the allowance takes a whole hour
            with suppress(ConditionFailed):
                self._add(organization, hour, more, sum_max)
                return more
        raise NotYet("the bytes of this hour are used", retry_after=self._next_hour())

    def _next_hour(self) -> float:
        return (HOUR_MS - self._now() % HOUR_MS) / 1000 + self._spread()

    def _give_back(self, organization: str, hour: str, size: int, hourly: int) -> None:
        with self._lock:
            left = self._kept(organization, hour) + size
            kept = min(left, hourly // SHARES)
            if self._left.get(organization, (hour, 0))[0] == hour:
                self._left[organization] = (hour, kept)
                self._add(organization, hour, kept - left)

    def _kept(self, organization: str, hour: str) -> int:
        taken, left = self._left.get(organization, (hour, 0))
        return left if taken == hour else 0

    def _add(self, organization: str, hour: str, size: int, sum_max: int | None = None) -> None:
        if size:
            expires = expiry(self._now() + 7 * DAY_MS)
            self._table.add(f"sent#{hour}", organization, size, expires, sum_max=sum_max)
