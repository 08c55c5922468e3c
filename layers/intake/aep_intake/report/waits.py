"""What goes on by itself: the unfinished work of the ledger, by state and route."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from aep_intake.clock.due import Due, DueKind
from aep_intake.grouping.missing_markers import Folder, Listing
from aep_intake.grouping.windows import Window
from aep_intake.model.orders import Record
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.values import dataclass
from aep_intake.report import states
from aep_intake.report.states import Word

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery

# Of each kind: how many are counted, and of how many it is asked what they are.
COUNTED_MAX = 1000
ASKED_MAX = 25
# What is counted, and the state of what nobody asked about.
UNITS: Mapping[DueKind, tuple[str, Word]] = {
    DueKind.WINDOWS: ("window", Word.GATHERING),
    DueKind.FOLDERS: ("folder", Word.WAITING),
    DueKind.DELIVERIES: ("batch", Word.LOADING),
    DueKind.ORDERS: ("order", Word.LOADING),
}


class _Orders(Protocol):
    def unfinished(self, kind: DueKind, limit: int) -> list[Due]:
        """All unfinished work of a kind, up to `limit`, the earliest first."""

    def get(self, external_id: str) -> Record | None:
        """An order."""


class _Windows(Protocol):
    def get(self, window_id: str) -> Window | None:
        """A window."""


class _Folders(Protocol):
    def get(self, folder_id: str) -> Folder | None:
        """A folder."""

    def waiting(self, folder_id: str, after: str, until: str) -> Iterator[Listing]:
        """Its files."""


class _Deliveries(Protocol):
    def get(self, external_id: str) -> "Delivery | None":
        """A delivery that has begun."""


@dataclass(frozen=True, slots=True)
class WaitsPorts:
    """The ledger of unfinished work. All methods raise LedgerUnavailable."""

    orders: _Orders
    windows: _Windows
    folders: _Folders
    deliveries: _Deliveries
    side_by_side: SideBySide


@dataclass(frozen=True, slots=True)
class Waits:
    """Unfinished work in one state. `route`: None of requests, and of what nobody asked about."""

    state: str
    number: int
    unit: str  # of UNITS; in the plural, unless it is one
    route: str | None = None
    until: int | None = None  # when the first of it is looked at again (epoch ms)
    more: bool = False  # there are more than `number`


def waits(ports: WaitsPorts) -> list[Waits]:
    """What waits, by state and route, the next first. Raises LedgerUnavailable."""
    found: dict[tuple[DueKind, Word, str | None], list[int]] = {}
    full = set()
    for kind, (_, usual) in UNITS.items():
        due = sorted(ports.orders.unfinished(kind, COUNTED_MAX), key=lambda one: one.when)
        asked = list(ports.side_by_side(lambda one: _state(one, ports), due[:ASKED_MAX]))
        told = [*asked, *((usual, None) for _ in due[ASKED_MAX:])]
        for one, state in zip(due, told, strict=True):
            if state is not None:
                found.setdefault((kind, *state), []).append(one.when)
        if len(due) == COUNTED_MAX:
            full.add(kind)
    return sorted(
        (
            Waits(word, len(times), _unit(kind, len(times)), route, min(times), kind in full)
            for (kind, word, route), times in found.items()
        ),
        key=lambda each: each.until or 0,
    )


def _unit(kind: DueKind, number: int) -> str:
    one = UNITS[kind][0]
    return one if number == 1 else f"{one}{'es' if one.endswith('h') else 's'}"


def _state(due: Due, ports: WaitsPorts) -> tuple[Word, str | None] | None:
    """The state and the route of unfinished work; None if it has finished meanwhile."""
    match due.kind:
        case DueKind.ORDERS:
            record = ports.orders.get(due.id)
            return None if record is None else (states.of_order(record).word, record.order.route)
        case DueKind.WINDOWS:
            window = ports.windows.get(due.id)
            return None if window is None else (states.of_window(window).word, window.order.route)
        case DueKind.DELIVERIES:
            delivery = ports.deliveries.get(due.id)
            if delivery is not None:
                return Word.LOADING, delivery.route
            record = ports.orders.get(due.id)
            return None if record is None else (Word.LOADING, record.order.route)
        case DueKind.FOLDERS:
            folder = ports.folders.get(due.id)
            return None if folder is None else (Word.WAITING, _route_of(folder, ports))


def _route_of(folder: Folder, ports: WaitsPorts) -> str | None:
    """The route of the first files that wait in a folder."""
    listings: Iterable[Listing] = ports.folders.waiting(folder.folder_id, folder.done, "~")
    return next((listing.route for listing in islice(listings, 1)), None)
