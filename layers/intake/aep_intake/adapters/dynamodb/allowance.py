"""The bytes that AEP takes of an organization in an hour, shared by all workers.

A worker leases some more than it needs at a time, so that of many small files few ask the ledger,
and keeps what is left for the next ones of the same hour.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from aep_intake.adapters.dynamodb.table import ConditionFailed, Table
from aep_intake.model.batches import Target
from aep_intake.model.errors import LedgerUnavailable, NotYet
from aep_intake.model.times import iso

HOUR = 3_600_000
# What a worker leases beyond its need, as a share of the hour: idle, a thousand of them hold half.
SHARES = 2000
# Seconds after the full hour within which those come again that had to wait for it.
SPREAD = 300


class HourlyAllowance:
    """What is left of the hour. `hourly`: bytes an hour that AEP takes, by credential.

    Counted are the bytes that were sent, by hour and organization. `spread`: seconds by which a
    wait is longer than the hour, so that not all come at once.
    """

    def __init__(
        self,
        table: Table,
        now: Callable[[], int],
        hourly: Callable[[str], int],
        spread: Callable[[], float] = lambda: random.uniform(0, SPREAD),  # noqa: S311
    ) -> None:
        self._table = table
        self._now = now
        self._hourly = hourly
        self._spread = spread
        self._lock = Lock()
        self._left: dict[str, tuple[str, int]] = {}  # of what is leased: hour, bytes

    @contextmanager
    def taking(self, target: Target, size: int) -> Iterator[None]:
        """Count bytes that are sent there meanwhile; they are given back if that fails.

        Raises NotYet if the hour is used up, or TryAgain where nobody can tell.
        """
        hour, organization = iso(self._now())[:13], target.ims_org
        hourly = self._hourly(target.credential)
        self._take(organization, hour, size, hourly)
        try:
            yield
        except BaseException:
            # What cannot be given back now is free again in the next hour.
            with suppress(LedgerUnavailable):
                self._give_back(organization, hour, size, hourly)
            raise

    def wait(self, target: Target, size: int) -> float:
        """Seconds until so many bytes may be sent there: 0, or until some time in the next hour."""
        hour, organization = iso(self._now())[:13], target.ims_org
        sent = self._table.get(f"sent#{hour}", organization)
        room = self._hourly(target.credential) - (int(sent["counted"]["N"]) if sent else 0)
        return 0 if sent is None or size <= room else self._next_hour()

    def _take(self, organization: str, hour: str, size: int, hourly: int) -> None:
        with self._lock:
            left = self._kept(organization, hour)
            if left < size:
                left += self._leased(organization, hour, size - left, hourly)
            self._left[organization] = (hour, left - size)

    def _leased(self, organization: str, hour: str, needed: int, hourly: int) -> int:
        for more in sorted({max(needed, hourly // SHARES), needed}, reverse=True):
            most = max(hourly, more)  # what is larger than an hour takes an hour for itself
            with suppress(ConditionFailed):
                self._add(organization, hour, more, most)
                return more
        raise NotYet("the bytes of this hour are used", retry_after=self._next_hour())

    def _next_hour(self) -> float:
        return (HOUR - self._now() % HOUR) / 1000 + self._spread()

    def _give_back(self, organization: str, hour: str, size: int, hourly: int) -> None:
        with self._lock:
            left = self._kept(organization, hour) + size
            kept = min(left, hourly // SHARES)
            if self._left.get(organization, (hour, 0))[0] == hour:
                self._left[organization] = (hour, kept)
                self._add(organization, hour, kept - left)

    def _kept(self, organization: str, hour: str) -> int:
        leased, left = self._left.get(organization, (hour, 0))
        return left if leased == hour else 0

    def _add(self, organization: str, hour: str, size: int, most: int | None = None) -> None:
        expires = {"N": str((self._now() + 7 * 24 * HOUR) // 1000)}
        if size:
            self._table.add(f"sent#{hour}", organization, size, expires, most=most)
