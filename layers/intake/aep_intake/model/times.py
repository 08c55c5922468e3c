"""Epoch milliseconds, and ISO 8601."""

from datetime import UTC, datetime, timedelta, tzinfo

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
SKEW_MS = 10_000  # by which the clocks of two workers may differ: leases last this much longer
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(time: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC: `2026-11-23T15:04:05.123Z`."""
    moment = _EPOCH + timedelta(milliseconds=time)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(text: str) -> int:
    """The epoch milliseconds of ISO 8601; in UTC unless it says another zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def duration_ms(text: str) -> int:
    """The milliseconds of `16m` or `24h`."""
    return int(text[:-1]) * {"m": MINUTE_MS, "h": HOUR_MS}[text[-1]]


def duration(milliseconds: int) -> str:
    """Whole minutes, as a route says them: `16m` or `24h`."""
    hours, rest = divmod(milliseconds, HOUR_MS)
    return f"{milliseconds // MINUTE_MS}m" if rest else f"{hours}h"


def day_of(time: int) -> str:
    """The day of epoch milliseconds, in UTC: `2026-11-23`."""
    return iso(time)[:10]


def hour_of(time: int) -> str:
    """The hour of epoch milliseconds, in UTC: `2026-11-23T15`."""
    return iso(time)[:13]


def zone_of(name: str) -> tzinfo:
    """A time zone by its IANA name, such as `Europe/Paris`. Raises ValueError."""
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few routes need it, and a cold start does not

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # no such zone, or `America`, a folder
        raise ValueError(f"no time zone is called {name!r}: such as Europe/Paris") from error


def day_around(time: int, at: str, timezone: str) -> tuple[int, int]:
    """Start and end of the day that begins at a local time of a place, such as `01:30`.

    `time` and both ends are epoch milliseconds; `time` is in the day, its end is not. A day has 23
    or 25 hours where clocks change. If the local time does not exist on a day, it begins when it
    would have been without the change; of a local time that comes twice, the first one counts.
    Raises ValueError as `zone_of`.
    """
    zone, (hour, minute) = zone_of(timezone), map(int, at.split(":"))
    moment = (_EPOCH + timedelta(milliseconds=time)).astimezone(zone)
    here = datetime(moment.year, moment.month, moment.day, hour, minute, tzinfo=zone)
    # Islands have left out a whole day, or had one twice, when they changed sides.
    begins = [int((here + timedelta(days=n)).timestamp()) * 1000 for n in range(-2, 4)]
    return max(b for b in begins if b <= time), min(b for b in begins if b > time)
