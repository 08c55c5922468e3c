"""What is expected of routes: told once for each deadline that is missed, whatever crashes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aep_intake.clock.expected import GRACE_MS, Expected, ExpectedPorts, MissedDeadline, look
from aep_intake.model.errors import LedgerUnavailable, NotAnnounced
from aep_intake.model.expectations import Counts, Expectation, RouteSeen, RouteStanding
from aep_intake.report.events import route_told
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from local.stack import ROOT

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1000  # a Monday
ROUTE = "crm"
CONTRACT = Draft202012Validator(
    json.loads((ROOT / "events" / "route-expected.schema.json").read_text("utf-8"))
)


@dataclass
class World:
    """One route, its ledger and its bus, and a clock that a test moves."""

    member: dict[str, Any]
    now: int = START
    seen: RouteSeen = field(default_factory=lambda: RouteSeen(ROUTE))
    told: list[MissedDeadline] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)
    fails: Callable[[str], bool] = lambda _: False

    def all(self) -> list[RouteSeen]:
        return [self.seen]

    def put_standing(self, route: str, standing: RouteStanding | None) -> None:
        assert route == ROUTE
        if self.fails("standing"):
            raise LedgerUnavailable("no answer")
        self.seen = replace(self.seen, standing=standing)

    def announce(self, told: MissedDeadline) -> None:
        if self.fails("announce"):
            raise NotAnnounced("no answer")
        detail = route_told(told)
        CONTRACT.validate(detail)
        self.told.append(told)

    def tick(self, at: int | None = None) -> int | None:
        """How many are overdue; None if it failed."""
        self.now = self.now if at is None else at
        expected = Expected(ROUTE, Expectation.of(self.member), "a team", "v7")
        ports = ExpectedPorts(self, lambda: self.paused, self.announce, lambda: self.now)
        try:
            return look([expected], ports)
        except (LedgerUnavailable, NotAnnounced):
            return None

    def come(self, files: int = 1, size: int = 1, rows: int = 0) -> None:
        counts = self.seen.counts
        more = Counts(counts.files + files, counts.bytes + files * size, counts.rows + rows)
        self.seen = replace(self.seen, last=max(self.seen.last, self.now), counts=more)

    def kinds(self) -> list[tuple[str, str]]:
        """What was told: the kind, and the deadline."""
        return [("resumed" if t.resumed else "overdue", at(t.deadline)) for t in self.told]


def at(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%m-%d %H:%M")


def ms(day: date, clock: str, zone: str) -> int:
    """A local time; one that a change of clocks leaves out is later by the change."""
    hour, minute = map(int, clock.split(":"))
    local = datetime.combine(day, time(hour, minute), ZoneInfo(zone))
    return int(local.timestamp()) * 1000


PLACES = [
    ("Europe/Paris", "02:30"),  # on two nights it is not there, or comes twice
    ("Australia/Lord_Howe", "02:15"),  # whose clocks change by half an hour
    ("America/Santiago", "00:00"),  # a day begins at one
    ("Pacific/Auckland", "06:00"),
    ("UTC", "23:59"),
]


@pytest.mark.parametrize(("zone", "by"), PLACES)
def test_a_year_has_a_deadline_on_each_of_its_days_and_no_other(zone: str, by: str) -> None:
    """A file comes for two days of three; each of the others is told, and ends with the next."""
    world = World({"by": by, "days": "mon-fri", "timezone": zone}, now=START - DAY)
    first = date(2026, 1, 6)
    working = [d for n in range(364) if (d := first + timedelta(days=n)).weekday() < 5]
    deadlines = [ms(day, by, zone) for day in working]
    come = {deadline - HOUR for n, deadline in enumerate(deadlines) if n % 3}
    moments = sorted(come | {t for d in deadlines for t in (d, d + GRACE_MS, d + HOUR)})
    world.tick()
    world.now = ms(date(2026, 1, 5), by, zone) - HOUR
    world.come()  # for Monday
    for moment in moments:
        world.now = moment
        if moment in come:
            world.come()
        world.tick()
    missed = [told.deadline for told in world.told if not told.resumed]
    assert missed == [deadline for n, deadline in enumerate(deadlines) if n % 3 == 0]
    resumed = [told.deadline for told in world.told if told.resumed]
    assert resumed == missed[: len(resumed)]
    assert len(missed) - len(resumed) in (0, 1)


def test_a_late_file_is_of_its_own_day_and_not_of_the_next() -> None:
    world = World({"by": "06:00", "timezone": "UTC"})
    world.tick()
    assert world.tick(START + 6 * HOUR + GRACE_MS - 1) == 0
    assert world.tick(START + 6 * HOUR + GRACE_MS) == 1
    world.now = START + 8 * HOUR
    world.come()
    assert world.tick() == 0
    assert world.tick(START + DAY + 6 * HOUR + GRACE_MS) == 1
    told = [("overdue", "01-05 06:00"), ("resumed", "01-05 06:00"), ("overdue", "01-06 06:00")]
    assert world.kinds() == told
    assert len({t.external_id for t in world.told}) == 2, "of a deadline it is the same"


def test_a_file_of_the_evening_before_is_early_and_in_time() -> None:
    world = World({"by": "06:00"})
    world.tick(START + 12 * HOUR)
    world.now = START + 18 * HOUR
    world.come()
    assert world.tick(START + DAY + 7 * HOUR) == 0
    assert world.kinds() == []


def test_every_goes_from_file_to_file_and_is_told_once() -> None:
    world = World({"every": "1h"})
    world.tick()
    for minute in range(0, 600, 10):
        world.now = START + minute * MINUTE
        if minute <= 60 or minute == 300:
            world.come()
        world.tick()
    told = [("overdue", "01-05 02:00"), ("resumed", "01-05 02:00"), ("overdue", "01-05 06:00")]
    assert world.kinds() == told


def test_every_is_told_five_minutes_after_its_deadline_as_well() -> None:
    world = World({"every": "1h"})
    world.tick()
    world.come()
    assert world.tick(START + HOUR + GRACE_MS - 1) == 0
    assert world.tick(START + HOUR + GRACE_MS) == 1


def test_counts_go_from_the_time_when_there_was_enough() -> None:
    world = World({"by": "06:00", "files": 3, "bytes": 50, "rows": 10})
    world.come(100, 100, 100)  # before it was expected
    world.tick()
    world.now = START + 5 * HOUR
    world.come(3, 20, rows=9)
    assert world.tick(START + 7 * HOUR) == 1
    detail = route_told(world.told[-1])
    assert "9 of 10 rows, expected by 2026-01-05T06:00" in detail["detail"]
    assert (detail["fileCount"], detail["byteCount"], detail["recordCount"]) == (3, 60, 9)
    world.come(0, 0, rows=1)
    assert world.tick() == 0
    assert world.tick(START + DAY + 7 * HOUR) == 1, "what came for yesterday is used up"
    kinds = [kind for kind, _ in world.kinds()]
    assert kinds == ["overdue", "resumed", "overdue"]


def test_counts_within_every() -> None:
    world = World({"every": "1h", "files": 2})
    world.tick()
    for minute in (10, 50, 70, 100):  # each two of them are enough
        world.now = START + minute * MINUTE
        world.come()
        assert world.tick() == 0
    assert world.tick(START + 165 * MINUTE) == 1
    assert world.kinds() == [("overdue", "01-05 02:40")]


def test_what_is_paused_is_not_overdue_until_it_is_resumed() -> None:
    world = World({"by": "06:00"})
    world.tick()
    world.paused = {ROUTE}
    assert world.tick(START + 7 * HOUR) == 0
    world.paused = set()
    assert world.tick() == 1
    assert world.kinds() == [("overdue", "01-05 06:00")]


def test_another_expectation_begins_anew() -> None:
    world = World({"by": "06:00"})
    world.tick()
    assert world.tick(START + 7 * HOUR) == 1
    world.member = {"by": "07:00"}
    assert world.tick() == 0
    assert world.tick(START + DAY + 8 * HOUR) == 1
    assert [deadline for _, deadline in world.kinds()] == ["01-05 06:00", "01-06 07:00"]


def test_what_is_expected_no_longer_is_forgotten() -> None:
    world = World({"by": "06:00"})
    world.tick()
    assert world.tick(START + 7 * HOUR) == 1
    unused: Any = None
    assert look([], ExpectedPorts(world, unused, unused, lambda: world.now)) == 0
    assert world.seen.standing is None
    assert len(world.told) == 1


MEMBERS = st.sampled_from(
    [
        {"by": "06:00", "timezone": "Europe/Paris", "days": "mon-fri"},
        {"every": "3h"},
        {"by": "22:00", "files": 2},
        {"every": "5h", "files": 2, "bytes": 2},
    ]
)


@given(MEMBERS, st.lists(st.tuples(st.integers(1, 300), st.sampled_from("ft.asFS")), max_size=60))
def test_crashes_change_nothing_of_what_is_told(
    member: dict[str, Any], steps: list[tuple[int, str]]
) -> None:
    """Of two worlds one has an announcer and a ledger that fail now and then, and tries again."""
    calm, wild = World(member), World(member)
    calm.tick()
    wild.tick()
    for minutes, what in steps:
        for world in (calm, wild):
            world.now += minutes * MINUTE
            if what in "fF":
                world.come()
        wild.fails = {"a": "announce", "s": "standing"}.get(what.lower(), "").__eq__
        wild.tick()
        wild.fails = lambda _: False
        wild.tick()
        calm.tick()
    once = list(dict.fromkeys((t.external_id, t.resumed) for t in wild.told))
    assert once == [(t.external_id, t.resumed) for t in calm.told]
    assert len(set(once)) == len(calm.told), "each is told once"
    assert wild.seen == calm.seen
    pairs = [t.deadline for t in calm.told if t.resumed]
    assert set(pairs) <= {t.deadline for t in calm.told if not t.resumed}


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("sat-mon", {5, 6, 0}),
        ("tue", {1}),
        ("wed,fri-sat", {2, 4, 5}),
    ],
)
def test_days(days: str, found: set[int]) -> None:
    assert Expectation.of({"by": "06:00", "days": days}).days == found


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ({"every": "1h", "timezone": "Europe/Paris"}, "say when `by` is meant"),
        ({"every": "1h", "days": "mon"}, "say when `by` is meant"),
        ({"by": "06:00", "timezone": "Europe/Nowhere"}, "no time zone"),
    ],
)
def test_what_makes_no_sense(member: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Expectation.of(member)


def test_status_knows_what_is_expected_next() -> None:
    seen = RouteSeen(ROUTE, last=START + HOUR)
    assert seen.next(START) is None
    every = RouteStanding(Expectation.of({"every": "2h"}).text, START)
    assert replace(seen, standing=every).next(START) == START + 3 * HOUR
    by = RouteStanding(Expectation.of({"by": "06:00", "days": "tue"}).text, START)
    assert replace(seen, standing=by).next(START) == START + DAY + 6 * HOUR
