"""What happened on a stack since a time, by route, and what waits: from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.dynamodb.counts import DynamoCounts
from aep_intake.adapters.dynamodb.pauses import DynamoPauses
from aep_intake.adapters.dynamodb.routes import DynamoRoutes
from aep_intake.adapters.dynamodb.unfinished import DynamoUnfinished
from aep_intake.model.expectations import RouteSeen
from aep_intake.model.pauses import Pausable, Pause
from aep_intake.model.times import DAY_MS, day_of, hour_of, iso
from aep_intake.report.counts import NO_ROUTE, RouteCounts, together
from aep_intake.report.waits import Waiting, by_route
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from aep_intake_cli.output import quantity, short_time, size, visible

if TYPE_CHECKING:
    from aep_intake.adapters.dynamodb.table import Table as LedgerTable

# Columns of a screen with room for the time of the last file; and where failures and what waits
# have columns of their own.
ROOMY, WIDE = 95, 110


@dataclass(frozen=True)
class RouteStatus:
    """A route since a time; `name` is NO_ROUTE for requests, and for what no route took."""

    name: str
    counts: RouteCounts = field(default_factory=RouteCounts)
    waiting: tuple[Waiting, ...] = ()
    paused: int | None = None  # since when (epoch ms)
    # Times in epoch milliseconds: when its newest file came, 0 if nobody knows; by when files are
    # expected next; which deadline was missed.
    last: int = 0
    expected: int | None = None
    overdue: int | None = None


@dataclass(frozen=True)
class StackStatus:
    """A stack since a time. Times in epoch milliseconds."""

    since: int
    at: int
    routes: tuple[RouteStatus, ...]
    # Unfinished work whose route was not looked up, since there is so much; whether it is all.
    others: tuple[Waiting, ...] = ()
    complete: bool = True
    pauses: tuple[Pause, ...] = ()  # of datasets and organizations
    counted: bool = True  # there is a journal

    def of(self, route: str) -> StackStatus:
        """Of one route alone."""
        return StackStatus(
            self.since,
            self.at,
            tuple(each for each in self.routes if each.name == route),
            complete=self.complete and not self.others,
            pauses=self.pauses,
            counted=self.counted,
        )


def look(table: LedgerTable, since: int, at: int, *, counted: bool) -> StackStatus:
    """What happened from the hour of `since` to `at`. Raises LedgerUnavailable.

    It makes a request for each day, up to ten others, and some for each folder where files wait.
    """
    counts = DynamoCounts(table, days=0)
    days = [day_of(time) for time in range(since - since % DAY_MS, at + 1, DAY_MS)]
    hours = [hour for day in days if counted for hour in counts.of_day(day)]
    happened = together(hour for hour in hours if hour.hour >= hour_of(since))
    known, complete = DynamoUnfinished(table, lambda: at).all()
    waits, others = by_route(known)
    standing = [p for p in DynamoPauses(table, lambda: at).all() if p.resumed_at is None]
    of_route = Pausable.ROUTE.called("")
    paused = {
        pause.name.removeprefix(of_route): pause.since
        for pause in standing
        if pause.name.startswith(of_route)
    }
    seen = {each.route: each for each in DynamoRoutes(table, lambda: at, retention_ms=0).all()}
    expecting = {name for name, each in seen.items() if each.standing is not None}
    names = happened.keys() | waits.keys() | paused.keys() | expecting
    routes = []
    for name in sorted(names, key=lambda name: (name == NO_ROUTE, name)):
        known_of = seen.get(name, RouteSeen(name))
        overdue = None if known_of.standing is None else known_of.standing.overdue
        routes.append(
            RouteStatus(
                name,
                happened.get(name, RouteCounts()),
                tuple(waits.get(name, ())),
                paused.get(name),
                known_of.last,
                known_of.next(at) if overdue is None else None,
                overdue,
            )
        )
    pauses = tuple(pause for pause in standing if not pause.name.startswith(of_route))
    return StackStatus(since, at, tuple(routes), tuple(others), complete, pauses, counted)


# -- Shown ---------------------------------------------------------------------------------------


def shown(day: StackStatus, stack: str, columns: int) -> Group:
    """The day on a screen that is so wide."""
    head, *others = (Text(note) for note in _notes(day, stack))
    return Group(head, *([_table(day, columns)] if day.routes else ()), *others)


def _table(day: StackStatus, columns: int) -> Table:
    """A line for each route, and one for all of them."""
    numbers = ("files", "size", "batches", "loaded", "rows")
    wide = columns >= WIDE
    last = ("failures", "waiting") if wide else ("failed, or waiting",)
    shown = Table(
        Column("route", overflow="fold", footer="all"),
        *(Column(name, justify="right", no_wrap=True) for name in numbers),
        *([Column("last file", justify="right", no_wrap=True)] if columns >= ROOMY else []),
        *(Column(name, overflow="fold") for name in last),
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_footer=len(day.routes) > 1,
    )
    for route in day.routes:
        failures = Text("\n".join(_failures(route, day.at)), "red")
        newest = short_time(route.last, day.at) if route.last else ""
        waiting = Text("\n".join(_waits(route, day.at)))
        both = Text("\n").join(filter(None, (failures, waiting)))
        shown.add_row(
            Text("no route" if route.name == NO_ROUTE else visible(route.name)),
            *map(Text, _numbers(route.counts)),  # which rich has not to look through
            *((newest,) if columns >= ROOMY else ()),
            *((failures, waiting) if wide else (both,)),
        )
    total = sum((route.counts for route in day.routes), RouteCounts())
    for column, said in zip(shown.columns[1:], _numbers(total), strict=False):
        column.footer = said
    return shown


def _notes(day: StackStatus, stack: str) -> Iterator[str]:
    """What must be known beside the table."""
    yield f"{stack} since {_time(day.since)}, as it was at {_time(day.at)}"
    if not day.counted:
        yield "It keeps no journal (JournalDays is 0): only what waits is known."
    elif not day.routes:
        yield "Nothing happened, and nothing waits."
    yield from (visible(str(pause)) for pause in day.pauses)
    if day.others:
        several = ", ".join(map(str, day.others))
        yield f"And, of routes that were not looked up: {several}."
    if not day.complete:
        yield "Not everything that waits could be counted: run it again."


def to_json(day: StackStatus) -> dict[str, Any]:
    """The day, for programs."""

    def waiting(several: Iterable[Waiting]) -> list[dict[str, Any]]:
        return [
            {
                "state": each.state,
                "unit": each.unit,
                "count": each.count,
                "until": None if each.until is None else iso(each.until),
            }
            for each in several
        ]

    def counts(of: RouteCounts) -> dict[str, Any]:
        return {name: getattr(of, name) for name in RouteCounts.__match_args__}

    return {
        "since": iso(day.since),
        "at": iso(day.at),
        "journal": day.counted,
        "routes": [
            {
                "route": None if route.name == NO_ROUTE else route.name,
                **counts(route.counts),
                "waiting": waiting(route.waiting),
                "pausedSince": None if route.paused is None else iso(route.paused),
                "lastArrivalAt": iso(route.last) if route.last else None,
                "expectedBy": None if route.expected is None else iso(route.expected),
                "overdueSince": None if route.overdue is None else iso(route.overdue),
            }
            for route in day.routes
        ],
        "otherWaiting": waiting(day.others),
        "otherPauses": [
            {"what": pause.what, "since": iso(pause.since), "by": pause.by, "note": pause.note}
            for pause in day.pauses
        ],
        "complete": day.complete,
    }


def _numbers(counts: RouteCounts) -> list[str]:
    several = (counts.batches, counts.loaded, counts.rows)
    return [_number(counts.files), size(counts.bytes), *map(_number, several)]


def _number(number: int) -> str:
    return f"{number:,}" if number else ""


def _failures(route: RouteStatus, now: int) -> Iterator[str]:
    counts = route.counts
    if route.overdue is not None:
        yield f"overdue since {short_time(route.overdue, now)}"
    for number, word in ((counts.failed, "failed"), (counts.abandoned, "abandoned")):
        if number:
            yield f"{quantity(number, 'batch').replace('batchs', 'batches')} {word}"
    # Each file that is lost is rejected, too, and that says why.
    if (lost := counts.lost - sum(counts.rejected.values())) > 0:
        yield f"{quantity(lost, 'file')} lost"
    for reason, number in counts.rejected.items():
        yield f"{quantity(number, 'file')} {visible(reason)}"


def _waits(route: RouteStatus, now: int) -> Iterator[str]:
    if route.paused is not None:
        yield f"paused since {short_time(route.paused, now)}"
    for each in route.waiting:
        yield str(each) if each.until is None else f"{each} until {short_time(each.until, now)}"
    if route.expected is not None:
        # A minute or more passes until the clock looks, and tells what is overdue.
        how = "due since" if route.expected < now else "expected by"
        yield f"files {how} {short_time(route.expected, now)}"


def _time(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M} UTC"
