"""What waits, for people: a folder does so as long as one of its files does."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from aep_intake.adapters.dynamodb import unfinished
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.adapters.dynamodb.unfinished import LISTS_AT_ONCE, DynamoUnfinished
from aep_intake.clock.due import DueKind
from aep_intake.model import records
from aep_intake.model.files import Arrival
from aep_intake.model.history import WaitingGroup
from aep_intake.model.orders import claims
from aep_intake.model.progress import Record
from aep_intake.report.waits import Work, by_route

from local.bench.status import NOON, Ledger, due
from tests.builders import lease, order

HOUR = 3_600_000
FILE = Arrival("landing", "in/day/a.json", "v1", "e1", "0061", 10, NOON)
# As an event tells of a version without an id, and as a marker lists it.
NAMELESS = replace(FILE, version_id=None)
LISTED = replace(NAMELESS, sequencer=None)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def waits(ledger: Ledger) -> list[Work]:
    table = Table(ledger, "ledger")  # type: ignore[arg-type]
    return DynamoUnfinished(table, lambda: NOON).all()[0]


def group(hours: int, *files: Arrival, name: str = "f", is_marker: bool = False) -> WaitingGroup:
    due = NOON + hours * HOUR
    return WaitingGroup(name, f"in {hours}h", HOUR, due, files, is_marker=is_marker)


def fold(ledger: Ledger, *lists: WaitingGroup, name: str = "f", done: str = "") -> None:
    """A folder with these lists, due when the first of them is."""
    item = due("folder", name, min(each.due for each in lists if each.place > done))
    ledger.add(item | {"done": {"S": done}})
    for each in lists:
        place = {"pk": {"S": f"folder#{name}"}, "sk": {"S": f"waiting#{each.place}"}}
        ledger.add(place | {"listing": {"S": records.text(each)}})


def claim(ledger: Ledger, *files: Arrival, expires: int = NOON) -> None:
    for file in files:
        for one in claims(file):
            place = {"pk": {"S": f"object#{one.object_id}"}, "sk": {"S": one.slot}}
            requested = {} if file.sequencer else {"requested": {"BOOL": True}}
            said = {"external_id": {"S": "window-1"}, "expires": {"N": str(expires // 1000)}}
            ledger.add(place | said | requested)


def until(works: Sequence[Work]) -> list[tuple[str | None, int]]:
    return [(work.route, (work.due - NOON) // HOUR) for work in works]


def named(number: int) -> Arrival:
    return replace(FILE, key=f"in/day/{number}.json")


def test_a_folder_whose_files_wait_is_told_with_its_route(ledger: Ledger) -> None:
    fold(ledger, group(1, FILE))
    assert until(waits(ledger)) == [("in 1h", 1)]
    [told] = by_route(waits(ledger))[0]["in 1h"]
    assert (str(told), told.until) == ("1 folder waiting", NOON + HOUR)


@pytest.mark.parametrize(
    ("waiting", "taken", "told"),
    [
        (FILE, FILE, False),
        (NAMELESS, LISTED, False),  # a marker takes what it lists
        (NAMELESS, NAMELESS, False),
        (NAMELESS, replace(NAMELESS, sequencer="0062"), True),  # the same bytes, in another version
        (FILE, replace(FILE, version_id="v2"), True),
    ],
)
def test_a_folder_of_which_all_was_taken_does_not_wait(
    ledger: Ledger, waiting: Arrival, taken: Arrival, *, told: bool
) -> None:
    """Though it is due at their deadline."""
    fold(ledger, group(1, waiting))
    claim(ledger, taken)
    assert bool(waits(ledger)) is told


def test_a_claim_that_the_ledger_has_forgotten_says_nothing(ledger: Ledger) -> None:
    fold(ledger, group(1, FILE))
    claim(ledger, FILE, expires=NOON - HOUR)
    assert until(waits(ledger)) == [("in 1h", 1)]


def test_it_waits_until_the_first_list_is_due_of_which_a_file_waits(ledger: Ledger) -> None:
    first, *others = (group(n, named(n), named(n + 10)) for n in range(1, 5))
    fold(ledger, first, *others, done=first.place)
    claim(ledger, named(2), named(12), named(3))
    assert until(waits(ledger)) == [("in 3h", 3)]


def test_a_marker_waits_for_its_time(ledger: Ledger) -> None:
    fold(ledger, group(1, FILE), group(2, named(1), is_marker=True))
    claim(ledger, FILE, named(1))
    assert until(waits(ledger)) == [("in 2h", 2)]


def test_a_folder_that_is_gone_since_the_index_was_read_does_not_wait(ledger: Ledger) -> None:
    ledger.add(due("folder", "f", NOON + HOUR))
    assert waits(ledger) == []


def test_a_file_that_waits_behind_many_that_were_taken_is_told(ledger: Ledger) -> None:
    many = 2 * LISTS_AT_ONCE + 1
    fold(ledger, *(group(n, named(n)) for n in range(1, many + 1)))
    claim(ledger, *(named(n) for n in range(1, many)))
    assert until(waits(ledger)) == [(f"in {many}h", many)]
    assert ledger.requests == {"scan": 1, "query": 3, "batch_get_item": 1 + 3}


def test_what_is_asked_of_folders_is_bounded(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they are not in the way of others. What is not asked about may wait."""
    monkeypatch.setattr(unfinished, "ASKED_MAX", 40)
    monkeypatch.setattr(unfinished, "READ_MAX", 60)
    for number in range(65):
        fold(ledger, group(1, named(number), name=f"f{number}"), name=f"f{number}")
    claim(ledger, *(named(number) for number in range(65)))
    opened = Record.opened(order(FILE, route="crm"), lease(NOON + 9), NOON)
    ledger.add(due("order", "o", NOON + 99 * HOUR, record=records.text(opened)))
    found = waits(ledger)
    assert [(work.kind, work.route) for work in found if work.kind is not DueKind.FOLDERS] == [
        (DueKind.ORDERS, "crm")
    ]
    assert len(found) == 5 + 20 + 1
    assert ledger.requests == {"scan": 1, "query": 60, "batch_get_item": 1 + 40}
