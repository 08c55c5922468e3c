"""What a backfill would do: files, bytes and batches by route, days, and what is loaded already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aep_intake.arrivals.backfills import Bounds, Left
from aep_intake.grouping.waiting_files import folder_of
from aep_intake.model.errors import Rejected
from aep_intake.model.files import Archived, Arrival
from aep_intake.routing.table import (
    Ignored,
    InQuietWindow,
    InWindow,
    IsMarker,
    Match,
    OneBatch,
    RoutingTable,
)
from aep_intake.routing.targets import credential_arn
from rich.table import Column, Table
from rich.text import Text

from aep_intake_cli.backfill.taken import LOADED
from aep_intake_cli.output import quantity, size
from aep_intake_cli.routing.forecast import ADVISED_BATCHES

if TYPE_CHECKING:
    from aep_intake.arrivals.listings import Page
    from aep_intake.model.organizations import Limits, Organizations

NO_ROUTE = "(no route)"  # they are sent, and parked with their reason
LISTED_MAX = 1000  # of those left out, by name
SHOWN_MAX = 20


@dataclass
class RoutePlan:
    """What one route gets. `taken`: files that an order or a window has already, by state."""

    name: str
    credential: str | None = None
    files: int = 0
    bytes: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    alone: int = 0  # batches, one for each object or marker
    # Files and bytes that share batches, by what they have in common.
    together: dict[tuple[object, ...], list[int]] = field(default_factory=dict)

    @property
    def loaded(self) -> int:
        """How many of those are in the dataset, or a newer version of them."""
        return sum(self.taken[word] for word in LOADED)

    def add(self, file: Arrival, match: Match | None) -> None:
        """Count a file that nobody has yet."""
        self.files += 1
        self.bytes += file.size
        if match is None:
            return
        if isinstance(match.batching, OneBatch | IsMarker):
            self.alone += 1
        elif isinstance(match.batching, InWindow | InQuietWindow):
            quiet = isinstance(match.batching, InQuietWindow)
            options = sorted(map(str, match.options.items()))
            target = (match.sandbox, match.dataset_id, match.dataset_name, *options)
            place = (*target, folder_of(file) if quiet else "")
            held = self.together.setdefault(place, [0, 0])
            held[0] += 1
            held[1] += file.size

    def batches(self, limits: Limits) -> int:
        """How many batches it makes at least: a window that closes meanwhile makes one more."""

        def of(files: int, size: int) -> int:
            return max(
                -(-files // limits.batch_files), -(-size // (limits.batch_gigabytes * 10**9))
            )

        return self.alone + sum(of(*held) for held in self.together.values())


@dataclass
class BackfillPlan:
    """What a backfill would do."""

    listed: int = 0
    routes: dict[str, RoutePlan] = field(default_factory=dict)
    left: Counter[Left] = field(default_factory=Counter)
    named: list[tuple[Arrival, Left]] = field(default_factory=list)  # some of those left out

    def leave(self, file: Arrival, why: Left) -> None:
        """Count a file that is left out."""
        self.left[why] += 1
        if why in (Left.MAYBE_LOADED, Left.ARCHIVED) and len(self.named) < LISTED_MAX:
            self.named.append((file, why))

    def days(self, organizations: Organizations) -> dict[str, float]:
        """How many days it takes at each of today's limits, in the slowest organization."""
        slowest: dict[str, float] = {}
        by_credential: dict[str, list[RoutePlan]] = {}
        for route in self.routes.values():
            arn = credential_arn(route.credential, organizations.credentials)
            by_credential.setdefault(arn, []).append(route)
        for arn, several in by_credential.items():
            limits = organizations.limits_of(arn)
            batches = sum(route.batches(limits) for route in several)
            size = sum(route.bytes for route in several)
            for name, days in (
                ("gigabytesPerHour", size / (limits.gigabytes_per_hour * 10**9 * 24)),
                ("batchesPerMinute", batches / (limits.batches_per_minute * 60 * 24)),
                (
                    "profileBatchesPerDay",
                    batches / min(ADVISED_BATCHES, limits.profile_batches_per_day),
                ),
            ):
                slowest[name] = max(slowest.get(name, 0), days)
        return slowest


def make(
    bounds: Bounds,
    pages: Iterable[Page],
    table: RoutingTable,
    taken: Callable[[Sequence[Arrival]], Mapping[Arrival, str]],
) -> Iterator[BackfillPlan]:
    """The plan as far as it is made, after each page. Raises as the ports.

    `taken`: the states of those of some files that an order or a window has.
    """
    plan = BackfillPlan()
    for page in pages:
        files = []
        for found in page.found:
            fate = bounds.fate(found)
            if isinstance(fate, Arrival):
                files.append(fate)
            else:
                plan.leave(found.file if isinstance(found, Archived) else found, fate)
        known = taken(files)
        for file in files:
            match = _match(file, table)
            name, credential = (match.route, match.credential) if match else (NO_ROUTE, None)
            route = plan.routes.setdefault(name, RoutePlan(name, credential))
            if file in known:
                route.taken[known[file]] += 1
            else:
                route.add(file, match)
        plan.listed += len(page.found)
        yield plan


def _match(file: Arrival, table: RoutingTable) -> Match | None:
    try:
        found = table.match(file)
    except Rejected:
        return None
    return None if isinstance(found, Ignored) else found


def shown(plan: BackfillPlan, organizations: Organizations) -> Iterator[Table | Text]:
    """For people."""
    limits = organizations.limits
    heads = "files", "size", "batches", "loaded already"
    right = [Column(name, justify="right") for name in heads]
    table = Table(Column("route", overflow="fold"), *right)
    for route in sorted(plan.routes.values(), key=lambda one: one.name):
        counted = (f"{number:,}" for number in (route.batches(limits), route.loaded))
        table.add_row(Text(route.name), f"{route.files:,}", size(route.bytes), *counted)
    yield table if plan.routes else Text("There is nothing that it would bring.")
    others = sum((route.taken for route in plan.routes.values()), Counter[str]())
    if said := ", ".join(f"{n:,} {state}" for state, n in _other_than_loaded(others)):
        yield Text(f"Left as they are, since an order or a window has them: {said}")
    days = plan.days(organizations)
    if any(route.files for route in plan.routes.values()):
        per_day = min(ADVISED_BATCHES, limits.profile_batches_per_day)
        yield Text(
            f"At today's limits it takes {_days(days['gigabytesPerHour'])} for its bytes and "
            f"{_days(days['batchesPerMinute'])} to make its batches; if all of them are for "
            f"Profile, {_days(days['profileBatchesPerDay'])} at {per_day} a day and sandbox."
        )
    if NO_ROUTE in plan.routes:
        files = quantity(plan.routes[NO_ROUTE].files, "file")
        yield Text(f"No route takes {files}: the backfill would park each of them.")
    yield from shown_left(plan.left, plan.named)


def shown_left(left: Counter[Left], named: Sequence[tuple[Arrival, Left]]) -> Iterator[Text]:
    """What is left out, with the names of some."""
    for why, number in sorted(left.items()):
        yield Text(f"Left out, {SAID[why]}: {number:,}")
    for file, why in named[:SHOWN_MAX]:
        yield Text(f"  {file.uri!r} ({why})")
    if len(named) > SHOWN_MAX:
        yield Text(f"  … --json names {len(named):,}")


def to_json(plan: BackfillPlan, organizations: Organizations) -> dict[str, Any]:
    """For programs."""
    return {
        "routes": [
            {
                "route": None if route.name == NO_ROUTE else route.name,
                "files": route.files,
                "bytes": route.bytes,
                "batches": route.batches(organizations.limits),
                "loadedAlready": route.loaded,
                "taken": dict(_other_than_loaded(route.taken)),
            }
            for route in sorted(plan.routes.values(), key=lambda one: one.name)
        ],
        "days": plan.days(organizations),
        **left_to_json(plan.left, plan.named),
    }


def _other_than_loaded(taken: Counter[str]) -> list[tuple[str, int]]:
    """How many are in each of the other states."""
    return sorted((str(state), n) for state, n in taken.items() if state not in LOADED)


def left_to_json(left: Counter[Left], named: Sequence[tuple[Arrival, Left]]) -> dict[str, Any]:
    """What is left out, for programs."""
    return {
        "leftOut": {str(why): number for why, number in sorted(left.items())},
        "leftOutObjects": [
            {"uri": file.uri, "versionId": file.version_id, "why": str(why)} for file, why in named
        ],
    }


SAID = {
    Left.LATER: "written since it began (events bring them)",
    Left.EARLIER: "older than --since",
    Left.UNWANTED: "not for us (KeyPattern, a route with `ignore`, never data)",
    Left.ARCHIVED: "in an archive of S3's: restore them, and copy each onto itself",
    Left.MAYBE_LOADED: "older than the ledger remembers, and perhaps loaded (--even-if-loaded)",
}


def _days(days: float) -> str:
    hours = days * 24
    if hours < 1:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.1f} h" if hours < 48 else f"{days:.1f} days"
