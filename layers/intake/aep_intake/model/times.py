"""Epoch milliseconds, and ISO 8601."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(time: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC: `2026-11-23T15:04:05.123Z`."""
    moment = _EPOCH + timedelta(milliseconds=time)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
