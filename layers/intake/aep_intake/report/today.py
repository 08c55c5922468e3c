"""What the page says of a day, and of a file: made from the ledger alone.

It names routes, codes, counts and times. What AEP, a file or an operator said in words of their own
is left out, and so are ARNs: a shared dashboard has readers whom nobody knows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from aep_intake.clock.parking import Parked
from aep_intake.model.expectations import RouteSeen
from aep_intake.model.pauses import Pausable, Pause
from aep_intake.model.times import day_of, milliseconds
from aep_intake.model.values import dataclass
from aep_intake.report import status
from aep_intake.report.counts import NO_ROUTE, HourCounts, RouteCounts
from aep_intake.report.meanings import named_in
from aep_intake.report.reasons import REASONS
from aep_intake.report.states import Word
from aep_intake.report.waits import Waiting, Work, by_route

HOURS = 24
# More would make a page that nobody reads, and of more than 100 KB.
ROUTES_MAX = 50
NEEDS_MAX = 25
WAITS_MAX = 60


@dataclass(frozen=True, slots=True)
class RouteDay:
    """A day of a route. `route`: NO_ROUTE for what no route took. Times in epoch milliseconds."""

    route: str
    hours: tuple[RouteCounts, ...]  # of the day in UTC
    last: int | None = None  # when it last had a file, on any day
    expected: int | None = None  # by when it should have one
    overdue: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """Something that somebody should do something about."""

    code: str  # a reason, or a word of ours
    means: str
    todo: str
    number: int = 1
    more: bool = False  # there are more than `number`
    route: str | None = None
    since: int | None = None  # epoch milliseconds
    hints: tuple[str, ...] = ()  # what AEP's codes mean, each with its code
    command: str | None = None  # that shows more of it, or ends it


@dataclass(frozen=True, slots=True)
class Meter:
    """How many batches were made in 24 hours, of as many as should be: for Profile in a sandbox,
    or of a lookup dataset.
    """

    organization: str
    sandbox: str
    made: int
    limit: int
    dataset_id: str = ""  # of a lookup dataset


@dataclass(frozen=True, slots=True)
class Day:
    """All that the page says of a day. `at`: when it was asked (epoch milliseconds)."""

    day: str  # 2026-11-28, in UTC
    at: int
    routes: tuple[RouteDay, ...] = ()
    needs: tuple[Need, ...] = ()
    # Each with its route; None where nobody looked it up, as there is so much.
    waits: tuple[tuple[str | None, Waiting], ...] = ()
    meters: tuple[Meter, ...] = ()
    waits_more: bool = False  # more waits than that


@dataclass(frozen=True, slots=True)
class Version:
    """What became of a version of a file. Times in epoch milliseconds."""

    name: str  # versionId, or ETag
    state: str
    reason: str | None = None
    means: str | None = None
    todo: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)  # by name
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class File:
    """What became of a file: its versions, the latest first; of some of them, if they are many."""

    uri: str
    at: int
    versions: tuple[Version, ...] = ()
    count: int = 0
    why_unknown: str = ""  # if there are none


@dataclass(frozen=True, slots=True)
class PagePorts:
    """What the page needs of the ledger. All but `now` raise LedgerUnavailable."""

    now: Callable[[], int]  # epoch ms
    counts: Callable[[str], Iterable[HourCounts]]  # of each hour of a day
    parked: Callable[[], tuple[Iterable[Parked], bool]]  # many, and whether there is more
    pauses: Callable[[], Iterable[Pause]]  # that stand
    routes_seen: Callable[[], Iterable[RouteSeen]]
    waits: Callable[[], tuple[Iterable[Work], bool]]  # and whether this is all
    meters: Callable[[], Iterable[Meter]]
    status: status.StatusPorts


def day(day: str | None, ports: PagePorts) -> Day:
    """A day, of which None is today. Raises LedgerUnavailable."""
    now = ports.now()
    day = day or day_of(now)
    pauses = list(ports.pauses())
    work, complete = ports.waits()
    seen = list(ports.routes_seen())
    needs = [*_parked(*ports.parked()), *map(_paused, pauses), *_overdue(seen)]
    # How routes stand is about now.
    standing = [] if day != day_of(now) else [_standing(each, pauses, now) for each in seen]
    return Day(
        day,
        now,
        tuple(_routes(ports.counts(day), {one.route: one for one in standing})),
        tuple(sorted(needs, key=lambda need: need.since or 0, reverse=True)),
        tuple(_waits(work)),
        tuple(ports.meters()),
        not complete,
    )


def batches_in_trouble(counts: RouteCounts) -> int:
    """How many batches failed, or were given up."""
    return counts.failed + counts.abandoned


def files_in_trouble(counts: RouteCounts) -> int:
    """How many files were rejected; of those that were lost, each is, as well."""
    return sum(counts.rejected.values())


def trouble(counts: RouteCounts) -> int:
    """How much of it somebody should look at."""
    return batches_in_trouble(counts) + files_in_trouble(counts)


def _routes(hours: Iterable[HourCounts], standing: Mapping[str, RouteDay]) -> Iterable[RouteDay]:
    by_hour = {int(counts.hour[-2:]): counts.routes for counts in hours}
    names = standing.keys() | {name for routes in by_hour.values() for name in routes}
    for name in sorted(names):
        day = tuple(by_hour.get(n, {}).get(name, RouteCounts()) for n in range(HOURS))
        yield replace(standing.get(name, RouteDay(name, ())), hours=day)


def _standing(seen: RouteSeen, pauses: Iterable[Pause], now: int) -> RouteDay:
    """How a route stands, without its hours."""
    overdue = seen.standing is not None and seen.standing.overdue is not None
    name = Pausable.ROUTE.called(seen.route)
    paused = any(pause.name == name for pause in pauses)
    return RouteDay(seen.route, (), seen.last or None, seen.next(now), overdue, paused)


def _overdue(seen: Iterable[RouteSeen]) -> Iterable[Need]:
    for each in seen:
        if each.standing is not None and each.standing.overdue is not None:
            yield Need(
                "overdue",
                "files that the route expects did not come in time",
                "ask who sends them; or correct `expect` of the route",
                route=each.route,
                since=each.standing.overdue,
                command=f"aep-intake status --route {each.route}",
            )


def _parked(parked: Iterable[Parked], more: bool) -> Iterable[Need]:
    """One need for each route and reason. `more`: not all is in `parked`."""
    groups: dict[tuple[str, str], list[Parked]] = {}
    for one in parked:
        groups.setdefault((one.route or NO_ROUTE, one.why.reason), []).append(one)
    for (route, reason), several in groups.items():
        known = REASONS.get(reason)
        codes = Counter(named for one in several for named in named_in(one.why.detail))
        yield Need(
            reason,
            known.means if known else "an earlier or later release parked it",
            known.todo if known else "see its detail",
            len(several),
            more,
            route,
            min(one.why.at for one in several),
            tuple(f"`{code}`: {meaning.hint}" for (code, meaning), _ in codes.most_common(3)),
            _list_of(reason, route) if known else None,
        )


def _list_of(reason: str, route: str) -> str:
    of = "" if route == NO_ROUTE else f" --route {route}"
    return f"aep-intake parked --reason {reason}{of}"


def _waits(work: Iterable[Work]) -> Iterable[tuple[str | None, Waiting]]:
    """What waits, each with its route, the next first."""
    waits, others = by_route(work)
    told = [(route, each) for route, several in waits.items() for each in several]
    yield from sorted(told, key=lambda one: one[1].until or 0)
    yield from ((None, each) for each in others)


def _paused(pause: Pause) -> Need:
    kind, _, name = pause.name.partition("#")
    return Need(
        "paused",
        f"no batch is made for the {kind} {name}; what comes is kept",
        "resume it, once what it was paused for is over",
        route=name if kind == "route" else None,
        since=pause.since,
        command=f"aep-intake resume {'' if kind == Pausable.ROUTE else f'--{kind} '}{name}",
    )


# What a state means, for who sent the file; see `states` for when it has which.
MEANS: Mapping[str, str] = {
    Word.WAITING: "it waits for the marker of its folder, or for its own ready file",
    Word.GATHERING: "it is in a window, and gets its batch when that closes",
    Word.PAUSED: "its route, dataset or organization is paused, which keeps it back",
    Word.RETRYING: "its batch could not be made yet; it is tried again by itself",
    Word.LOADING: "its batch is being made, filled, or ingested by AEP",
    Word.HELD: "AEP has a batch of it that only a person can judge",
    Word.FAILED: "AEP failed its batch",
    Word.ABANDONED: "its batch ended without a verdict on its data",
    Word.REJECTED: "it has no batch, and gets none until the cause is fixed",
    Word.LOST: "it was in an order, and is not in the batch",
    Word.LOADED: "AEP has ingested its batch",
    Word.REPLACED: "a newer version took its place",
    Word.SUPERSEDED: "a newer version takes its place in the same batch",
    Word.SAME_BYTES: "it is a copy of a version that is loaded or under way",
    Word.LEFT_OUT: "it is not data, or its route does not want it",
    Word.DISCARDED: "somebody decided that it is not to be loaded",
}
# Of a status, by what the page calls it.
_FACTS = {
    "Route": "route",
    "Sandbox": "sandbox",
    "Dataset": "datasetId",
    "Batch": "batchId",
    "External id": "externalId",
}


def file(bucket: str, key: str, ports: PagePorts) -> File:
    """A file. Raises LedgerUnavailable."""
    now = ports.now()
    found = status.of_object(bucket, key, ports.status)
    pasted = key.rstrip()  # a key may end with a space, but more often the clipboard does
    if found is None and pasted not in ("", key):
        found = status.of_object(bucket, pasted, ports.status)
    if found is None:
        return File(f"s3://{bucket}/{key}", now, why_unknown=status.why_unknown(pasted))
    return File(found["uri"], now, tuple(map(_version, found["versions"])), found["versionCount"])


def _version(of: Mapping[str, Any]) -> Version:
    state, reason = of["state"], of.get("reason")
    known = REASONS.get(reason or "")
    return Version(
        of.get("versionId") or of.get("etag", ""),
        state,
        reason,
        known.means if known else MEANS.get(state),
        known.todo if known else None,
        {name: of[member] for name, member in _FACTS.items() if member in of},
        _time(of.get("since")),
        _time(of.get("until")),
    )


def _time(text: str | None) -> int | None:
    return None if text is None else milliseconds(text)
