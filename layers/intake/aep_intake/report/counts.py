"""What happened in an hour, counted by route from the events of that hour.

Each event counts once by its detail-type and external id, in whatever order and however often it
comes; of the files that an order has lost, each has a rejection of its own. Of two that differ, the
earlier one counts: a message that is rejected twice is one.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from aep_intake.model.values import dataclass
from aep_intake.report import events

NO_ROUTE = "-"  # of requests, and of arrivals that no route takes
# What is counted of a batch's end, by detail-type.
_ENDS = {
    events.BATCH_ENDED["succeeded"]: "loaded",
    events.BATCH_ENDED["failed"]: "failed",
    events.BATCH_ENDED["abandoned"]: "abandoned",
    events.BATCH_REPLACED: "replaced",
}
_REJECTED = "rejected."

# When it happened (epoch ms), its route, what it counts as, and its numbers. The smallest of an
# event's repeats counts, whoever comes first.
type _Told = tuple[int, str, str, int, int, int]


@dataclass(frozen=True, slots=True)
class RouteCounts:
    """What happened to the files and batches of one route. All are numbers of the time told.

    Files and bytes count when they get their first batch, rows when they are in the dataset.
    """

    files: int = 0
    bytes: int = 0
    rows: int = 0
    batches: int = 0  # created, further attempts included
    loaded: int = 0  # batches that ended so, as the next three
    failed: int = 0
    abandoned: int = 0
    replaced: int = 0
    lost: int = 0  # files that were left out of a batch that ended
    superseded: int = 0  # files whose newer version came in the same window
    rejected: Mapping[str, int] = field(default_factory=dict)  # files by reason

    def __add__(self, other: "RouteCounts") -> "RouteCounts":
        return RouteCounts.of(Counter(self.members()) + Counter(other.members()))

    def members(self) -> dict[str, int]:
        """The numbers that are not 0; of a reason, under `rejected.` and its name."""
        told = {name: getattr(self, name) for name in _NUMBERS}
        told |= {f"{_REJECTED}{reason}": number for reason, number in self.rejected.items()}
        return {name: number for name, number in told.items() if number}

    @classmethod
    def of(cls, members: Mapping[str, int]) -> "RouteCounts":
        """The counts with these members; names that are not known are left out."""
        numbers = {name: members[name] for name in _NUMBERS if name in members}
        rejected = {
            name.removeprefix(_REJECTED): number
            for name, number in sorted(members.items())
            if name.startswith(_REJECTED) and number
        }
        return cls(**numbers, rejected=rejected)


_NUMBERS: tuple[str, ...] = RouteCounts.__match_args__[:-1]


@dataclass(frozen=True, slots=True)
class HourCounts:
    """What happened in an hour, by route. `objects`: of the journal, that these were made from."""

    hour: str  # 2026-11-23T15, in UTC
    objects: int
    routes: Mapping[str, RouteCounts]


def together(hours: Iterable[HourCounts]) -> dict[str, RouteCounts]:
    """The sums of several hours, by route in the order of their names."""
    found: dict[str, Counter[str]] = {}
    for hour in hours:
        for route, counts in hour.routes.items():
            found.setdefault(route, Counter()).update(counts.members())
    return {route: RouteCounts.of(members) for route, members in sorted(found.items())}


class Tally:
    """Counts the events of one hour from the journal's objects, each object once."""

    def __init__(self) -> None:
        self.objects: set[str] = set()
        self._told: dict[int, _Told] = {}  # by hash of `who_of`
        self._routes: dict[str, Counter[str]] = {}

    def __len__(self) -> int:
        """How many events it has counted, which is what it needs memory for."""
        return len(self._told)

    def add(self, name: str, happened: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Count the events of the object of this name, each with its own time (epoch ms)."""
        for time, event in happened:
            told = _read(time, event)
            if told is None or not isinstance(event["detail"].get("externalId"), str):
                continue
            who = hash(who_of(event))
            before = self._told.get(who)
            if before is None or told < before:
                self._told[who] = told
                self._count(told, 1)
                if before is not None:
                    self._count(before, -1)
        self.objects.add(name)

    def counts(self, hour: str) -> HourCounts:
        """What was counted so far."""
        routes = {
            name: RouteCounts.of(numbers)
            for name, numbers in self._routes.items()
            if any(numbers.values())
        }
        return HourCounts(hour, len(self.objects), routes)

    def _count(self, told: _Told, sign: int) -> None:
        _, route, what, *numbers = told
        counted = self._routes.setdefault(route, Counter())
        if what == events.BATCH_CREATED:
            names: tuple[str, ...] = ("files", "bytes", "superseded")
            counted["batches"] += sign
        elif what in _ENDS:
            names = ("rows", "lost")
            counted[_ENDS[what]] += sign
        else:
            names = (what,)
        for name, number in zip(names, numbers, strict=False):
            counted[name] += sign * number


def who_of(event: Mapping[str, Any]) -> tuple[str, str, str]:
    """What repeats of an event have in common, and no other event of its hour."""
    kind, detail, first = event["detail-type"], event["detail"], ""
    # Files that are let go, one by one, have the external id of their order, as it has itself.
    if kind == events.ARRIVAL_REJECTED and "datasetId" in detail and detail.get("files"):
        first = str(detail["files"][0])
    return kind, str(detail.get("externalId")), first


def _read(time: int, event: Mapping[str, Any]) -> _Told | None:
    """What an event counts as; None: nothing."""
    # Names repeat, and a million of them are kept.
    match event:
        case {
            "detail-type": events.BATCH_CREATED,
            "detail": {"fileCount": int(files), "byteCount": int(size)} as detail,
        }:
            superseded = _number(detail, "supersededFileCount")
            if detail.get("attempt", 1) > 1 or "splitOf" in detail:  # these had a batch before
                files = size = superseded = 0
            return time, _route(detail), events.BATCH_CREATED, files, size, superseded
        case {"detail-type": str(kind), "detail": dict(detail)} if kind in _ENDS:
            rows = _number(detail, "ingestedRecordCount", "sentRecordCount")
            loaded = rows if _ENDS[kind] == "loaded" else 0
            lost = _number(detail, "lostFileCount")
            return time, _route(detail), sys.intern(kind), loaded, lost, 0
        case {
            "detail-type": events.ARRIVAL_REJECTED,
            "detail": {"reason": str(reason), "fileCount": int(files)} as detail,
        }:
            # A message that names no file is one, too.
            what = sys.intern(f"{_REJECTED}{reason}")
            return time, _route(detail), what, max(1, files), 0, 0
    return None


def _route(detail: Mapping[str, Any]) -> str:
    return sys.intern(str(detail.get("route", NO_ROUTE)))


def _number(detail: Mapping[str, Any], *names: str) -> int:
    """The first of these members that is a number."""
    return next((n for name in names if isinstance(n := detail.get(name), int)), 0)
