"""Unfinished work that continues by itself, by route and state."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from aep_intake.clock.due import DueKind
from aep_intake.model.progress import Record
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window
from aep_intake.report import states
from aep_intake.report.counts import NO_ROUTE
from aep_intake.report.states import Word

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery

# What is counted of each kind of unfinished work, and its state if it was not looked at.
_UNITS: Mapping[DueKind, tuple[str, Word]] = {
    DueKind.WINDOWS: ("window", Word.GATHERING),
    DueKind.FOLDERS: ("folder", Word.WAITING),
    DueKind.DELIVERIES: ("batch", Word.LOADING),
    DueKind.ORDERS: ("batch", Word.LOADING),
}
_UNKNOWN = ""  # the route of what was not looked at
# The states that end at a time that people can wait for.
_UNTIL = {Word.GATHERING, Word.WAITING, Word.RETRYING}


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of unfinished work. `subject`: None of a folder, if it was not looked at, or is
    over by now.
    """

    kind: DueKind
    id: str
    due: int  # when somebody looks at it again, or since when it is paused (epoch ms)
    paused: bool = False
    route: str | None = None
    subject: "Record | Window | Delivery | None" = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Unfinished work in one state. `until`: when the first of it ends, or is tried (epoch ms)."""

    state: Word
    unit: str
    count: int
    until: int | None = None

    def __str__(self) -> str:
        return f"{self.quantity} {self.state}"

    @property
    def quantity(self) -> str:
        """`1 batch`, `2 windows`."""
        plural = "es" if self.unit == "batch" else "s"
        return f"{self.count} {self.unit}{'' if self.count == 1 else plural}"


def by_route(known: Iterable[Work]) -> tuple[dict[str, list[Waiting]], list[Waiting]]:
    """What waits, by route (NO_ROUTE: of requests); and that whose route is not known."""
    found: dict[tuple[str, Word, str], list[int | None]] = defaultdict(list)
    for work in known:
        unit, word = _UNITS[work.kind]
        route, until = work.route or _UNKNOWN, None if work.paused else work.due
        if work.subject is not None:
            route = work.route or NO_ROUTE
        match work.subject:
            case Record() as record:
                standing = states.of_order(record)
                word, until = standing.word, standing.until
            case Window() as window:
                standing = states.of_window(window)
                word, until = standing.word, standing.until
        word = Word.PAUSED if work.paused else word
        if word in states.UNFINISHED:  # others are over since the index was read
            found[route, word, unit].append(until if word in _UNTIL else None)
    waits: dict[str, list[Waiting]] = defaultdict(list)
    for (route, word, unit), times in sorted(found.items()):
        until = min((time for time in times if time is not None), default=None)
        waits[route].append(Waiting(word, unit, len(times), until))
    others = waits.pop(_UNKNOWN, [])
    return waits, others
