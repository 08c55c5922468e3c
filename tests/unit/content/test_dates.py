"""Dates are read by Data Prep's letters, which are Java's, and by nothing that is guessed."""

import pytest
from aep_intake.content.dates import has_time, reads
from aep_intake.content.typed import Unfit, writer

REFUSED = None


def read(form: str | None, text: str, zone: str | None = None, *, time: bool = False) -> str | None:
    try:
        return reads(form, zone, time=time)(text)
    except (ValueError, OverflowError):
        return REFUSED


@pytest.mark.parametrize(
    ("form", "text", "wanted"),
    [  # the formats that Data Prep tries by itself, one after the other
        ("yyyy-MM-dd", "2026-11-28", "2026-11-28"),
        ("yyyy/MM/dd", "2026/11/28", "2026-11-28"),
        ("yyyy.MM.dd", "2026.11.28", "2026-11-28"),
        ("yyyy-MMM-dd", "2026-Nov-28", "2026-11-28"),
        ("yyyyMMdd", "20261128", "2026-11-28"),
        ("MM-dd-yyyy", "11-28-2026", "2026-11-28"),
        ("MMddyyyy", "11282026", "2026-11-28"),
        ("M/dd/yyyy", "7/04/2026", "2026-07-04"),
        ("dd.M.yyyy", "04.7.2026", "2026-07-04"),
        ("dd.MMM.yyyy", "04.JUL.2026", "2026-07-04"),
        ("dd-MMM-yyyy", "04-jul-2026", "2026-07-04"),
        ("M/dd/yyyy hh:mm:ss a", "7/04/2026 11:59:59 PM", "2026-07-04"),
        # and others
        ("d MMMM yyyy", "4 July 2026", "2026-07-04"),
        ("EEEE, d MMM yy", "Saturday, 28 Nov 26", "2026-11-28"),
        ("yyyy'年'M'月'd'日'", "2026年7月4日", "2026-07-04"),
        ("dd ''MM'' yyyy", "04 '07' 2026", "2026-07-04"),
        ("yyyy-MM-dd", "2026-1-2", REFUSED),
        ("yyyy-MM-dd", "2026-02-30", REFUSED),
        ("yyyy-MM-dd", "0000-00-00", REFUSED),
        ("yyyy-MM-dd", "2026-11-28 ", REFUSED),
        ("yyyy-MM-dd", "2026-11-28\n", REFUSED),
        ("yyyy-MM-dd", "\u0662\u0660\u0662\u0666-11-28", REFUSED),
        ("dd.MM.yyyy", "11/28/2026", REFUSED),
        ("dd.MM.yyyy HH:mm", "28.11.2026 24:00", REFUSED),
        (None, "2026-11-28", "2026-11-28"),
        (None, "2026-11-28T00:00:00Z", REFUSED),
        (None, "2026-W01-1", REFUSED),
    ],
)
def test_dates(form: str | None, text: str, wanted: str | None) -> None:
    assert read(form, text) == wanted


@pytest.mark.parametrize(
    ("form", "text", "zone", "wanted"),
    [
        ("yyyy-MM-dd HH:mm:ssZ", "2026-01-02 03:04:05+0100", None, "2026-01-02T02:04:05Z"),
        ("yyyy-MM-dd HH:mm:ss.SSSZ", "2026-01-02 03:04:05.670Z", None, "2026-01-02T03:04:05.670Z"),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2026-01-02 03:04:05.670", None, "2026-01-02T03:04:05.670Z"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2026-01-02T03:04:05.1-05", None, REFUSED),
        ("yyyy-MM-dd'T'HH:mm:ss.SX", "2026-01-02T03:04:05.1-05", None, "2026-01-02T08:04:05.1Z"),
        ("yyyy-MM-dd'T'HH:mm:ss'Z'", "2026-01-02T03:04:05Z", None, "2026-01-02T03:04:05Z"),
        ("M/dd/yyyy hh:mm:ss a", "7/04/2026 12:00:00 am", None, "2026-07-04T00:00:00Z"),
        ("M/dd/yyyy hh:mm:ss a", "7/04/2026 12:30:00 PM", None, "2026-07-04T12:30:00Z"),
        ("M/dd/yyyy hh:mm a", "7/04/2026 13:00 PM", None, REFUSED),
        ("dd.MM.yyyy HH:mm:ss", "01.07.2026 10:00:00", "Europe/Paris", "2026-07-01T08:00:00Z"),
        ("dd.MM.yyyy HH:mm", "01.01.2026 10:00", "Europe/Paris", "2026-01-01T09:00:00Z"),
        ("d.M.yyyy H:mm", "1.1.2026 0:30", "Europe/Paris", "2025-12-31T23:30:00Z"),
        ("dd.MM.yyyy", "01.01.2026", "Europe/Paris", "2025-12-31T23:00:00Z"),
        # Clocks go forward: 02:30 is not there. They go back: it comes twice, the first one counts.
        ("dd.MM.yyyy HH:mm", "29.03.2026 02:30", "Europe/Paris", "2026-03-29T01:30:00Z"),
        ("dd.MM.yyyy HH:mm", "25.10.2026 02:30", "Europe/Paris", "2026-10-25T00:30:00Z"),
        ("yyyy-MM-dd HH:mm VV", "2026-07-01 10:00 America/New_York", None, "2026-07-01T14:00:00Z"),
        ("yyyy-MM-dd HH:mm z", "2026-07-01 10:00 UTC", "Europe/Paris", "2026-07-01T10:00:00Z"),
        ("yyyy-MM-dd HH:mm VV", "2026-07-01 10:00 Nowhere/Else", None, REFUSED),
        ("yyyy-MM-dd HH:mmX", "2026-07-01 10:00+19:00", None, REFUSED),
        ("yyyy-MM-dd HH:mmX", "0001-01-01 00:00+01:00", None, REFUSED),
        ("epoch-milliseconds", "1732800000005", None, "2024-11-28T13:20:00.005Z"),
        ("epoch-seconds", "0", "Europe/Paris", "1970-01-01T00:00:00Z"),
        ("epoch-seconds", "999999999999999", None, REFUSED),
        ("epoch-seconds", "1.5", None, REFUSED),
        (None, "2026-01-02T03:04:05.123456789+01:00", None, "2026-01-02T02:04:05.123456789Z"),
        (None, "2026-01-02 03:04", "Asia/Kolkata", "2026-01-01T21:34:00Z"),
        (None, "2026-01-02T03:04:05+0530", None, "2026-01-01T21:34:05Z"),
        (None, "2026-01-02", None, REFUSED),
        (None, "2026-01-02T03:04:60Z", None, REFUSED),
        (None, "20260102T030405Z", None, REFUSED),
    ],
)
def test_dates_with_times(
    form: str | None, text: str, zone: str | None, wanted: str | None
) -> None:
    assert read(form, text, zone, time=True) == wanted


@pytest.mark.parametrize(
    "zone", [None, "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"]
)
def test_hours_that_are_remembered_are_read_as_others_are(zone: str | None) -> None:
    """Formats whose numbers have fixed places are read faster; the others are not."""
    times = [
        f"{hour:02}:{minute:02}" for hour in (0, 1, 2, 3, 23, 24) for minute in (0, 29, 30, 60)
    ]
    days = ["29.03.2026", "25.10.2026", "05.04.2026", "01.11.2026", "31.12.2026", "30.02.2026"]
    for text in [f"{day} {time}" for day in days for time in times] * 2:
        wanted = read("dd.M.yyyy HH:mm", text, zone, time=True)
        assert read("dd.MM.yyyy HH:mm", text, zone, time=True) == wanted
        assert read("dd.MM.yyyy HH:mm:ss", f"{text}:60", zone, time=True) is REFUSED
        day, clock = text.split()
        assert read("HH:mm dd.MM.yyyy", f"{clock} {day}", zone, time=True) == wanted


def test_the_day_of_a_moment_is_that_of_the_text_or_of_a_place() -> None:
    form, moment = "yyyy-MM-dd HH:mmX", "2026-07-01 23:30-02:00"
    assert read(form, moment) == "2026-07-01"
    assert read(form, moment, "Europe/Paris") == "2026-07-02"
    assert read("epoch-seconds", "1782950400") == "2026-07-02"
    assert read("epoch-seconds", "1782950400", "America/New_York") == "2026-07-01"


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("YYYY-MM-dd", "'YYYY', which is not known here: Y is the year of a week"),
        ("yyyy-MM-DD", "'DD', which is not known here: Y is the year of a week, and D the day"),
        ("yyyy-MM-ddTHH:mm", "'T', which is not known here: put text into single quotes"),
        ("yyyy-MM", "must have a year, a month and a day"),
        ("dd/dd/yyyy", "has 'd' twice"),
        ("yyyy-MM-dd hh:mm", "must have h and a together, or H"),
        ("yyyy-MM-dd HH:mm a", "has both H and h or a"),
        ("yyyy-mm-dd", "must have a year, a month and a day"),
        ("yyyy-MM-dd mm", "has m, and not what comes before it"),
        ("yyyy-MM-dd HH:mm.SSS", "has S, and not what comes before it"),
        ("yyyy-MM-dd 'T", "has a quote that nothing closes"),
        ("", "must have a year, a month and a day"),
    ],
)
def test_formats_that_are_none(form: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        reads(form, None, time=True)


def test_zones_that_are_none() -> None:
    with pytest.raises(ValueError, match="no time zone is called 'CEST'"):
        reads(None, "CEST", time=True)


def test_which_formats_have_a_time() -> None:
    assert [has_time(form) for form in ("yyyy-MM-dd", "yyyy-MM-dd HH", "epoch-seconds")] == [
        False,
        True,
        True,
    ]
    with pytest.raises(ValueError, match="has no time of day: read it `as` date"):
        writer({"type": "date-time"}, {"as": "date-time", "format": "dd.MM.yyyy"})
    with pytest.raises(Unfit, match="is not a date-time of the format yyyy-MM-dd HH:mm"):
        writer({"type": "date-time"}, {"format": "yyyy-MM-dd HH:mm"})("2026-01-01")
