"""Reads dates that a format describes in Data Prep's letters, which are Java's, as ISO 8601.

`yyyy yy` year · `M MM MMM MMMM` month · `d dd` day · `E EEEE` weekday · `H HH` hour, `h hh` of
twelve with `a` · `m mm` · `s ss` · `S…` fraction · `Z X` offset · `z VV` zone · 'text' in quotes.
Names are English. Without a format, ISO 8601 is read, and nothing else is guessed.

A local time that a place does not have, or has twice, is read as Java does: with the offset before
the change.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, lru_cache

from aep_intake.model.times import zone_of

# Formats without letters: numbers since 1970 in UTC.
EPOCHS = {"epoch-seconds": 1, "epoch-milliseconds": 1000}
_HOURS_REMEMBERED = 10_000  # of a format: more than a year's
_EPOCH = datetime(1970, 1, 1)
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_SHORT = {name[:3].lower(): number for number, name in enumerate(_MONTHS.split("|"), 1)}
_TOKEN = re.compile(r"'((?:[^']|'')*)'|(([A-Za-z])\3*)|([^A-Za-z']+)|'")
_OFFSET = r"Z|[+-]\d\d(?::?\d\d)?"
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO = re.compile(
    rf"{_ISO_DATE.pattern}[T ]\d\d:\d\d(?::\d\d(?:\.(\d{{1,9}}))?)?({_OFFSET})?", re.ASCII
)


def _short(names: str) -> str:
    return "|".join(name[:3] for name in names.split("|"))


_ONE_OR_TWO, _TWO = r"\d\d?", r"\d\d"
_LETTERS = {
    "yyyy": ("y", r"\d{4}"),
    "y": ("y", r"\d{4}"),
    "yy": ("y", _TWO),
    "MMM": ("M", _short(_MONTHS)),
    "MMMM": ("M", _MONTHS),
    "E": ("E", _short(_DAYS)),
    "EEE": ("E", _short(_DAYS)),
    "EEEE": ("E", _DAYS),
    "a": ("a", "AM|PM"),
    "z": ("z", r"[A-Za-z][\w+/-]*"),
    "VV": ("z", r"[A-Za-z][\w+/-]*"),
    **{letter * times: ("o", _OFFSET) for letter in "ZX" for times in (1, 2, 3)},
    **{letter: (letter, _ONE_OR_TWO) for letter in "MdHhms"},
    **{letter * 2: (letter, _TWO) for letter in "MdHhms"},
    **{"S" * digits: ("S", rf"\d{{{digits}}}") for digits in range(1, 10)},
}
_FARTHEST = timedelta(hours=18)  # ahead of UTC, for Java
_WEEKS = "Y is the year of a week, and D the day of a year: write y and d"


def has_time(form: str) -> bool:
    """Whether a format has a time of day. Raises ValueError as `reads`."""
    if form in EPOCHS:
        return True
    return bool({"H", "h"} & _pattern(form).groupindex.keys())


@cache
def reads(form: str | None, zone: str | None, *, time: bool) -> Callable[[str], str]:
    """What reads texts of a format: it returns ISO 8601.

    It raises ValueError for other texts, and OverflowError for a time outside of all years.

    `form`: None for ISO 8601. `zone`: where a time without an offset is meant, by its IANA name;
    None: UTC. `time`: whether dates with times are wanted, in UTC; else dates, as they are in the
    text, or in `zone` if the text has an offset. Raises ValueError if the format or the zone is
    none; its text says why.
    """
    place = None if zone is None else zone_of(zone)
    if form in EPOCHS:
        return _since_1970(EPOCHS[form], place or UTC, time=time)
    if form is None:
        return _iso(place or UTC) if time else _iso_date
    pattern = _pattern(form)
    names = [name for name in "yMdHhms" if name in pattern.groupindex]
    century = 2000 if f"(?P<y>{_TWO})" in pattern.pattern else 0
    # Unless they say where they are meant, and somebody wants to know what day that is elsewhere.
    as_written = not time and (place is None or "o" not in pattern.groupindex)
    here = place or UTC

    places = _places(form)
    if places and (time or len(places) == 3):
        return _of_fixed_width(pattern.fullmatch, places, here, time=time)

    def read(text: str) -> str:
        found = pattern.fullmatch(text)
        if found is None:
            raise ValueError
        year, month, *rest = found.group(*names)
        number = int(month) if month.isdigit() else _SHORT[month[:3].lower()]
        hour, minute, second, *_ = *map(int, rest[1:]), 0, 0, 0
        moment = datetime(int(year) + century, number, int(rest[0]), hour, minute, second)
        if as_written:
            return moment.date().isoformat()
        parts = found.groupdict() if more else {}
        if "a" in parts:
            if not 1 <= moment.hour <= 12:
                raise ValueError
            half = 12 if parts["a"].upper() == "PM" else 0
            moment = moment.replace(hour=moment.hour % 12 + half)
        at = moment - _ahead(parts, here, moment)
        return _written(at, parts.get("S", ""), here, time=time)

    more = bool(pattern.groupindex.keys() - {*names, "E"})
    return read


def _places(form: str) -> list[slice] | None:
    """Where the numbers of a format are, in the order of ISO 8601, if each has a fixed place."""
    if not re.fullmatch(r"(?:yyyy|MM|dd|HH|mm|ss|[^A-Za-z'])+", form):
        return None
    found = [re.search(part, form) for part in ("yyyy", "MM", "dd", "HH", "mm", "ss")]
    return [slice(*each.span()) for each in found if each]


def _of_fixed_width(
    fits: Callable[[str], object], places: list[slice], place: tzinfo, *, time: bool
) -> Callable[[str], str]:
    """As `reads`, for the formats that most files have: it takes a third of the time."""
    year, month, day, *times = places
    hour, minute, second = (*times, slice(0, 0), slice(0, 0), slice(0, 0))[:3]
    day_first = max(year.stop, month.stop, day.stop) <= hour.start

    def read_date(text: str) -> str:
        if not fits(text):
            raise ValueError
        found = f"{text[year]}-{text[month]}-{text[day]}"
        date.fromisoformat(found)  # there may be no such day
        return found

    def moment_of(text: str, clock: str) -> tuple[datetime, timedelta]:
        moment = datetime.fromisoformat(f"{text[year]}-{text[month]}-{text[day]}T{clock}")
        return moment, place.utcoffset(moment) or timedelta()

    @lru_cache(_HOURS_REMEMBERED)
    def hour_in_utc(text: str) -> str | None:
        """Of a text up to its hour; None where minutes differ, too, or the offset changes."""
        moment, ahead = moment_of(text, f"{text[hour]}:00:00")
        last = moment_of(text, f"{text[hour]}:59:59")[1]
        whole = ahead == last and not ahead % timedelta(hours=1)
        return (moment - ahead).isoformat()[:14] if whole else None

    def read(text: str) -> str:
        if not fits(text):
            raise ValueError
        if day_first and (begin := hour_in_utc(text[: hour.stop])):
            minutes, seconds = text[minute] or "00", text[second] or "00"
            if minutes < "60" and seconds < "60":
                return f"{begin}{minutes}:{seconds}Z"
        moment, ahead = moment_of(text, ":".join([text[part] for part in times]) or "00")
        return f"{(moment - ahead).isoformat()}Z"

    return read if time else read_date


def _iso_date(text: str) -> str:
    if not _ISO_DATE.fullmatch(text):
        raise ValueError
    return date.fromisoformat(text).isoformat()


def _iso(place: tzinfo) -> Callable[[str], str]:
    def read(text: str) -> str:
        found = _ISO.fullmatch(text)
        if found is None:
            raise ValueError
        fraction, offset = found.groups("")
        moment = datetime.fromisoformat(text).replace(tzinfo=None, microsecond=0)
        at = moment - _ahead({"o": offset}, place, moment)
        return _written(at, fraction, place, time=True)

    return read


def _ahead(parts: Mapping[str, str], place: tzinfo, moment: datetime) -> timedelta:
    """How far a local time is ahead of UTC: as its text says, or else as that of a place."""
    offset = parts.get("o")
    if offset:
        if offset == "Z":
            return timedelta()
        digits = offset[1:].replace(":", "").ljust(4, "0")
        ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        if ahead > _FARTHEST or digits[2:] > "59":
            raise ValueError
        return -ahead if offset[0] == "-" else ahead
    zone = zone_of(parts["z"]) if "z" in parts else place
    return zone.utcoffset(moment) or timedelta()


def _written(at: datetime, fraction: str, place: tzinfo, *, time: bool) -> str:
    """A moment, which is in UTC, or its day in a place."""
    if not time:
        return at.replace(tzinfo=UTC).astimezone(place).date().isoformat()
    return f"{at.isoformat()}.{fraction}Z" if fraction else f"{at.isoformat()}Z"


def _since_1970(units: int, place: tzinfo, *, time: bool) -> Callable[[str], str]:
    pattern = re.compile(r"-?\d{1,15}", re.ASCII)

    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError
        seconds, rest = divmod(int(text), units)
        moment = _EPOCH + timedelta(seconds=seconds)
        return _written(moment, f"{rest:03}" if units > 1 else "", place, time=time)

    return read


@cache
def _pattern(form: str) -> re.Pattern[str]:
    """Raises ValueError, whose text says what is wrong with a format."""
    regex, seen = "", set[str]()
    for token in _TOKEN.finditer(form):
        quoted, letters, _, other = token.groups()
        if quoted is not None:
            regex += re.escape(quoted.replace("''", "'") or "'")
        elif other is not None:
            regex += re.escape(other)
        elif letters is None:
            raise ValueError(f"{form!r} has a quote that nothing closes")
        elif letters not in _LETTERS:
            hint = _WEEKS if letters[0] in "YD" else "put text into single quotes"
            raise ValueError(f"{form!r} has {letters!r}, which is not known here: {hint}")
        else:
            name, part = _LETTERS[letters]
            if name in seen:
                raise ValueError(f"{form!r} has {letters[0]!r} twice")
            seen.add(name)
            flags = "(?i:{})" if name in "MEa" else "{}"
            regex += f"(?P<{name}>{flags.format(part)})"
    if not {"y", "M", "d"} <= seen:
        raise ValueError(f"{form!r} must have a year, a month and a day (y, M, d)")
    if "H" in seen and seen & {"h", "a"}:
        raise ValueError(f"{form!r} has both H and h or a")
    if ("h" in seen) != ("a" in seen):
        raise ValueError(f"{form!r} must have h and a together, or H")
    for part, before in (("m", "Hh"), ("s", "m"), ("S", "s")):
        if part in seen and not seen & set(before):
            raise ValueError(f"{form!r} has {part}, and not what comes before it in a time")
    return re.compile(regex, re.ASCII)
