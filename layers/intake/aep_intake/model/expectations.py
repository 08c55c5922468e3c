"""When files of a route are expected, and how many."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aep_intake.model.records import Kept
from aep_intake.model.times import MINUTE_MS, day_around, duration_ms, zone_of
from aep_intake.model.values import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Counts(Kept):
    """Files and bytes that came, and rows of batches that succeeded."""

    files: int = 0
    bytes: int = 0
    rows: int = 0

    def since(self, before: "Counts") -> "Counts":
        """What came after that."""
        return Counts(self.files - before.files, self.bytes - before.bytes, self.rows - before.rows)

    def short_of(self, least: "Counts") -> str:
        """What is missing, in words; empty if all is there."""
        pairs = ((name, getattr(self, name), getattr(least, name)) for name in _COUNTED)
        return ", ".join(f"{has:,} of {want:,} {name}" for name, has, want in pairs if has < want)


_COUNTED = ("files", "bytes", "rows")


@dataclass(frozen=True, slots=True)
class Expectation:
    """The `expect` of a route: by a local time of some days, or every so often.

    Without `least`, one file is enough.
    """

    text: str  # as written, always in the same form
    by: str | None
    days: frozenset[int]  # Monday is 0
    timezone: str
    every_ms: int
    least: Counts | None

    @classmethod
    def of(cls, member: Mapping[str, Any]) -> "Expectation":
        """Raises ValueError, whose text says what is wrong, for what its schema cannot say."""
        by, timezone = member.get("by"), member.get("timezone", "UTC")
        if by is None and {"days", "timezone"} & member.keys():
            raise ValueError("`days` and `timezone` say when `by` is meant")
        zone_of(timezone)
        every = member.get("every", "0m")
        least = Counts(*(member.get(name, 0) for name in _COUNTED))
        return cls(
            json.dumps(member, sort_keys=True),
            by,
            _days(member.get("days", "mon-sun")),
            timezone,
            duration_ms(every),
            least if least != Counts() else None,
        )

    @property
    def member(self) -> dict[str, Any]:
        """As the route has it."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    def deadline(self, time: int) -> int:
        """The last deadline at, or before, a time (both epoch ms). Only of `by`."""
        zone = zone_of(self.timezone)
        while True:
            time, _ = day_around(time, self.by or "", self.timezone)
            if datetime.fromtimestamp(time / 1000, UTC).astimezone(zone).weekday() in self.days:
                return time
            time -= 1

    def begins(self, deadline: int) -> int:
        """From when on a file counts for a deadline: each one does for the nearest (epoch ms)."""
        middle = (self.deadline(deadline - 1) + deadline) // 2
        return middle - middle % MINUTE_MS

    def next(self, time: int) -> int:
        """The first deadline after a time (both epoch ms). Only of `by`."""
        zone = zone_of(self.timezone)
        while True:
            _, time = day_around(time, self.by or "", self.timezone)
            if datetime.fromtimestamp(time / 1000, UTC).astimezone(zone).weekday() in self.days:
                return time


@dataclass(frozen=True, slots=True)
class RouteStanding(Kept):
    """How a route stands with what is expected of it. Times in epoch milliseconds."""

    expect: str  # `Expectation.text`: if it changes, all begins anew
    since: int
    overdue: int | None = None  # the deadline that was missed last, until files come
    # Where counts are expected: the last deadline that was judged, when they were enough, and how
    # many there were then.
    judged: int = 0
    met: int = 0
    counts: Counts = Counts()


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """What the ledger knows of a route. Times in epoch milliseconds."""

    route: str
    last: int = 0  # when its newest file came; 0: nobody knows
    counts: Counts = Counts()  # since the ledger counts, where its route expects counts
    standing: RouteStanding | None = None

    def next(self, now: int) -> int | None:
        """By when files are expected next; None if no files are."""
        if self.standing is None:
            return None
        expectation = Expectation.of(json.loads(self.standing.expect))
        if expectation.by is not None:
            return expectation.next(now)
        came = self.standing.met if expectation.least else self.last
        return max(came, self.standing.since) + expectation.every_ms


@dataclass(frozen=True, slots=True)
class Came:
    """New files of a route. `counted`: whether it expects counts."""

    last: int  # when the newest came (epoch ms)
    counts: Counts
    counted: bool


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not {first, last or first} <= set(DAYS):
            raise ValueError(f"{part!r} are not days: such as mon-fri, or tue,sat")
        start, end = DAYS.index(first), DAYS.index(last or first)
        found |= {day % 7 for day in range(start, (end if end >= start else end + 7) + 1)}
    return frozenset(found)
