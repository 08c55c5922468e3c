"""Whether the files that routes expect have come.

The clock looks once a minute. What it finds is announced first and then written, so that a crash
between the two repeats an event, which has the same external id. A deadline is judged five minutes
later: by then, what came in time has been taken in.

Where one file is enough, the time of the newest one decides: each file counts for the nearest
deadline of `by`, and `every` goes from file to file. Where more is expected, it is counted from the
time at which it was enough last.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from aep_intake.model.expectations import Counts, Expectation, RouteSeen, RouteStanding
from aep_intake.model.files import digest
from aep_intake.model.values import dataclass

GRACE_MS = 300_000


@dataclass(frozen=True, slots=True)
class Expected:
    """The expectation of a route, and what events say of it."""

    route: str
    expectation: Expectation
    owner: str | None = None
    version: str = ""  # of the routing table


@dataclass(frozen=True, slots=True)
class MissedDeadline:
    """A deadline that was missed; or, if files have `resumed`, the one missed before.

    `counts`: what came of what is expected, where counts are. Times in epoch milliseconds.
    """

    expected: Expected
    deadline: int
    seen: RouteSeen
    counts: Counts | None
    resumed: bool

    @property
    def external_id(self) -> str:
        """The same in all events about a deadline."""
        return f"expected-{digest('expected', self.expected.route, str(self.deadline))}"


class RouteLedger(Protocol):
    """The ledger of routes. Every method raises LedgerUnavailable."""

    def all(self) -> list[RouteSeen]:
        """What is known of all routes."""

    def put_standing(self, route: str, standing: RouteStanding | None) -> None:
        """Write how a route stands; None: nothing is expected of it."""


@dataclass(frozen=True, slots=True)
class ExpectedPorts:
    """What looking needs of the world."""

    ledger: RouteLedger
    paused: Callable[[], Container[str]]  # names of routes. Raises LedgerUnavailable
    announce: Callable[[MissedDeadline], None]  # raises NotAnnounced
    now: Callable[[], int]  # epoch ms


def look(expected: Iterable[Expected], ports: ExpectedPorts) -> int:
    """Tell what is overdue, or has come after all; how many routes are overdue.

    Raises LedgerUnavailable or NotAnnounced: the next look sees the same.
    """
    wanted, overdue = {each.route: each for each in expected}, 0
    known: Mapping[str, RouteSeen] = {seen.route: seen for seen in ports.ledger.all()}
    for seen in known.values():
        if seen.standing is not None and seen.route not in wanted:
            ports.ledger.put_standing(seen.route, None)
    paused = ports.paused() if wanted else ()
    for each in wanted.values():
        seen = known.get(each.route, RouteSeen(each.route))
        standing, told = judge(each, seen, ports.now())
        if told is not None and not told.resumed and each.route in paused:
            continue
        if told is not None:
            ports.announce(told)
        if standing != seen.standing:
            ports.ledger.put_standing(each.route, standing)
        overdue += standing.overdue is not None
    return overdue


def judge(
    expected: Expected, seen: RouteSeen, now: int
) -> tuple[RouteStanding, MissedDeadline | None]:
    """How a route stands at `now` (epoch ms), and what is to be told."""
    expectation, standing = expected.expectation, seen.standing
    if standing is None or standing.expect != expectation.text:
        return RouteStanding(expectation.text, now, counts=seen.counts), None
    least = expectation.least
    counts = None if least is None else seen.counts.since(standing.counts)

    def after(deadline: int) -> RouteStanding:
        """Once enough has come for a deadline."""
        judged = 0 if expectation.by is None else max(deadline, standing.judged)
        done = replace(standing, overdue=None, judged=judged)
        return done if least is None else replace(done, met=now, counts=seen.counts)

    missed = standing.overdue
    if missed is not None and _has_come(expectation, missed, seen, counts):
        return after(missed), MissedDeadline(expected, missed, seen, counts, resumed=True)
    deadline = _next(expectation, seen, standing, now)
    if deadline is None:
        return standing, None
    if _has_come(expectation, deadline, seen, counts):
        return after(deadline), None
    if deadline > now - GRACE_MS:
        return standing, None
    told = MissedDeadline(expected, deadline, seen, counts, resumed=False)
    return replace(standing, overdue=deadline, judged=deadline), told


def _next(
    expectation: Expectation, seen: RouteSeen, standing: RouteStanding, now: int
) -> int | None:
    """The deadline that is to be judged (epoch ms); None: there is none since the last one."""
    if expectation.by is not None:
        deadline = expectation.deadline(now - GRACE_MS)
        return deadline if deadline > max(standing.since, standing.judged) else None
    if standing.overdue is not None:
        return None
    came = standing.met if expectation.least else seen.last
    return max(came, standing.since) + expectation.every_ms


def _has_come(
    expectation: Expectation, deadline: int, seen: RouteSeen, counts: Counts | None
) -> bool:
    """Whether enough has come for a deadline."""
    if expectation.least is not None and counts is not None:
        return not counts.short_of(expectation.least)
    if expectation.by is not None:
        return seen.last >= expectation.begins(deadline)
    return seen.last > deadline - expectation.every_ms
