"""What waits, by state and route, from a ledger in which the intake's own steps have written."""

from dataclasses import dataclass
from typing import Any

from aep_intake.clock.due import Due, DueKind
from aep_intake.grouping.missing_markers import Folder, Listing
from aep_intake.grouping.windows import Window
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Record
from aep_intake.report.states import Word
from aep_intake.report.waits import ASKED_MAX, COUNTED_MAX, Waits, WaitsPorts, waits

from tests.builders import lease, order

NOW = 1_795_000_000_000
MINUTE = 60_000
FILE = Arrival("landing", "in/a.csv", "v1", "e", "0061", 10, NOW)


@dataclass
class Ledger:
    """Unfinished work of each kind, and what is known of it."""

    work: dict[DueKind, list[Due]]
    known: dict[str, Any]

    def unfinished(self, kind: DueKind, limit: int) -> list[Due]:
        return self.work.get(kind, [])[:limit]

    def get(self, name: str) -> Any:
        return self.known.get(name)

    def waiting(self, folder_id: str, after: str, until: str) -> Any:
        assert (after, until) == ("done", "~")
        return iter([Listing(folder_id, "spark", MINUTE, NOW, (FILE,))])


def told(ledger: Ledger) -> list[Waits]:
    return waits(WaitsPorts(ledger, ledger, ledger, ledger, map))


def due(kind: DueKind, name: str, when: int) -> Due:
    return Due(kind, name, when)


def test_each_kind_is_told_by_state_and_route_and_the_next_first() -> None:
    record = Record.opened(order(FILE), lease(NOW + MINUTE), NOW)
    window = Window.at(order(), MINUTE, NOW)
    ledger = Ledger(
        {
            DueKind.ORDERS: [due(DueKind.ORDERS, "o", NOW + 3), due(DueKind.ORDERS, "gone", NOW)],
            DueKind.WINDOWS: [
                due(DueKind.WINDOWS, "w", NOW + 2),
                due(DueKind.WINDOWS, "w", NOW + 1),
            ],
            DueKind.FOLDERS: [due(DueKind.FOLDERS, "f", NOW + 9)],
        },
        {"o": record, "w": window, "f": Folder("f", NOW + 9, "done")},
    )
    assert told(ledger) == [
        Waits(Word.GATHERING, 2, "windows", "r", NOW + 1),
        Waits(Word.LOADING, 1, "order", "r", NOW + 3),
        Waits(Word.WAITING, 1, "folder", "spark", NOW + 9),
    ]


def test_of_many_only_some_are_asked_about_and_the_rest_is_counted() -> None:
    many = [due(DueKind.WINDOWS, "w", NOW + n) for n in range(COUNTED_MAX + 1)]
    ledger = Ledger({DueKind.WINDOWS: many}, {"w": Window.at(order(), MINUTE, NOW)})
    assert told(ledger) == [
        Waits(Word.GATHERING, ASKED_MAX, "windows", "r", NOW, more=True),
        Waits(Word.GATHERING, COUNTED_MAX - ASKED_MAX, "windows", None, NOW + ASKED_MAX, more=True),
    ]
