"""Epoch milliseconds, and ISO 8601."""

from datetime import UTC, datetime, timedelta

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SKEW_MS = 10_000  # by which the clocks of two workers may differ: leases last this much longer
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(time: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC: `2026-11-23T15:04:05.123Z`."""
    moment = _EPOCH + timedelta(milliseconds=time)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_of(time: int) -> str:
    """The day of epoch milliseconds, in UTC: `2026-11-23`."""
    return iso(time)[:10]


def hour_of(time: int) -> str:
    """The hour of epoch milliseconds, in UTC: `2026-11-23T15`."""
    return iso(time)[:13]
