"""Days that begin at a local time: with 23 and 25 hours, and on islands that changed sides."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from aep_intake.model.times import DAY_MS, HOUR_MS, day_around, duration, duration_ms, iso
from aep_intake.model.windows import Window
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import order

ORDER = order()
ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "America/Sao_Paulo",  # had no midnight on some days
    "Australia/Lord_Howe",  # changes by half an hour
    "Asia/Kathmandu",
    "Pacific/Apia",  # had no 2011-12-30
    "Africa/Casablanca",
]
TIMES = st.integers(
    int(datetime(2005, 1, 1, tzinfo=UTC).timestamp() * 1000),
    int(datetime(2037, 1, 1, tzinfo=UTC).timestamp() * 1000),
)
CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


def ms(*when: int) -> int:
    year, month, day, hour, minute = (*when, 0)[:5]
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "at", "start", "end"),
    [
        ((2026, 11, 28, 12), "01:30", (2026, 11, 28, 0, 30), (2026, 11, 29, 0, 30)),
        ((2026, 11, 28, 0, 29), "01:30", (2026, 11, 27, 0, 30), (2026, 11, 28, 0, 30)),
        ((2026, 11, 28, 0, 30), "01:30", (2026, 11, 28, 0, 30), (2026, 11, 29, 0, 30)),
        # Of 23 hours, with no 02:30: it would have been 02:30, and is 03:30.
        ((2026, 3, 28, 12), "01:30", (2026, 3, 28, 0, 30), (2026, 3, 29, 0, 30)),
        ((2026, 3, 29, 12), "01:30", (2026, 3, 29, 0, 30), (2026, 3, 29, 23, 30)),
        ((2026, 3, 28, 12), "02:30", (2026, 3, 28, 1, 30), (2026, 3, 29, 1, 30)),
        ((2026, 3, 29, 12), "02:30", (2026, 3, 29, 1, 30), (2026, 3, 30, 0, 30)),
        # Of 25 hours, with 02:30 twice: the first counts.
        ((2026, 10, 24, 12), "02:30", (2026, 10, 24, 0, 30), (2026, 10, 25, 0, 30)),
        ((2026, 10, 25, 1), "02:30", (2026, 10, 25, 0, 30), (2026, 10, 26, 1, 30)),
        ((2026, 10, 24, 23, 45), "01:30", (2026, 10, 24, 23, 30), (2026, 10, 26, 0, 30)),
    ],
)
def test_paris(now: tuple[int, ...], at: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    assert tuple(map(iso, day_around(ms(*now), at, "Europe/Paris"))) == (
        iso(ms(*start)),
        iso(ms(*end)),
    )


@given(TIMES, CLOCKS, st.sampled_from(ZONES))
def test_days_follow_each_other_without_a_gap(now: int, at: str, zone: str) -> None:
    start, end = day_around(now, at, zone)
    assert start <= now < end
    assert day_around(start, at, zone) == day_around(end - 1, at, zone) == (start, end)
    assert day_around(end, at, zone)[0] == end
    assert day_around(start - 1, at, zone)[1] == start
    assert 0 < end - start <= DAY_MS + HOUR_MS


@given(TIMES, CLOCKS, st.sampled_from(ZONES))
def test_each_begins_at_its_local_time_or_at_once_after_it_where_it_does_not_exist(
    now: int, at: str, zone: str
) -> None:
    start, _ = day_around(now, at, zone)
    there = datetime.fromtimestamp(start / 1000, UTC).astimezone(ZoneInfo(zone))
    if f"{there:%H:%M}" != at:
        before = (datetime.fromtimestamp(start / 1000, UTC) - timedelta(days=1)).astimezone(
            ZoneInfo(zone)
        )
        assert there.utcoffset() != before.utcoffset(), "clocks were changed"
    assert (there.second, there.microsecond) == (0, 0)


@pytest.mark.parametrize("zone", ZONES)
def test_a_year_has_as_many_as_it_has_days_and_each_has_its_own_window(zone: str) -> None:
    window = Window.at(ORDER, DAY_MS, ms(2026, 1, 1, 12), "01:30", zone)
    ids = set()
    for _ in range(365):
        ids.add(window.window_id)
        following = window.next()
        assert following.start == window.start + window.length == window.due
        assert following == Window.at(ORDER, DAY_MS, following.start, "01:30", zone)
        window = following
    assert len(ids) == 365
    there = datetime.fromtimestamp(window.start / 1000, UTC).astimezone(ZoneInfo(zone))
    assert f"{there:%Y-%m-%d %H:%M}" == "2027-01-01 01:30"


def test_a_window_of_a_day_in_utc_is_the_one_it_always_was() -> None:
    now = ms(2026, 11, 28, 12)
    plain = Window.at(ORDER, DAY_MS, now)
    assert Window.at(ORDER, DAY_MS, now, "00:00", "UTC").window_id == plain.window_id
    assert (plain.begins, plain.timezone) == (None, "UTC")


@pytest.mark.parametrize("text", ["1m", "16m", "90m", "1h", "24h", "168h"])
def test_a_duration_is_told_as_a_route_says_it(text: str) -> None:
    assert duration(duration_ms(text)) == text
