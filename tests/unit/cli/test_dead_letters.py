"""What is parked, as people see it, and what `redrive` sends; the rest is tried on AWS's like."""

import io
import json
import re
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aep_intake.arrivals.envelopes import parse
from aep_intake.clock.parking import Parked
from aep_intake.clock.retries import Again, Message
from aep_intake.delivery.delivery import Task
from aep_intake.delivery.pieces import Run
from aep_intake.grouping.waiting_files import groups
from aep_intake.model import records
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import OverdueFiles, WaitingFile
from aep_intake.model.messages import Wish, of_arrival, of_order, of_overdue
from aep_intake.model.progress import Lease, Record, Rejection
from aep_intake_cli import documents, dry_run, parked
from aep_intake_cli.choice import Choice, check_names
from aep_intake_cli.command import main
from aep_intake_cli.dead_letters import Letter
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.parked import AllParked
from rich.console import Console

from tests.builders import order
from tests.memory_ledger import MemoryLedger, MemoryParked

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Arrival("landing", "in/a", "v1", "e1", None, 10, 0)
ARRIVAL = of_arrival(FILE)
DUE = json.dumps({"externalId": "delivery-a"})
NOW = 1_790_000_000_000
HOUR = 3_600_000
FAILED = Rejection(
    "batch-failed", "batch 01ABC is failed (INGEST-1212-400, other)", NOW - 27 * HOUR
)
ONE = Parked("0f", "arrivals", "intake-1", "{}", FAILED, "crm", "s3://landing/in/a.csv", 12)


@pytest.fixture(autouse=True)
def at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked, "now", lambda: NOW)


class Sqs:
    """A dead-letter queue; notes what it is sent, and takes none that is `refused`."""

    def __init__(self, *waiting: dict[str, Any], refused: str = "") -> None:
        self.waiting = list(waiting)
        self.refused = refused
        self.keeps = False  # what it is to delete
        self.sent: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.released: list[str] = []
        self.between: Callable[[], object] = lambda: None  # a message is sent, and ends its item

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        taken = [entry for entry in Entries if entry["MessageBody"] != self.refused]
        self.sent += taken
        self.between()
        return {"Successful": [{"Id": entry["Id"]} for entry in taken]}

    def get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self.waiting))}}

    def receive_message(self, **_: Any) -> Any:
        some, self.waiting = self.waiting[:10], self.waiting[10:]
        return {"Messages": some}

    def delete_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        if self.keeps:
            return {"Failed": Entries}
        self.deleted += [entry["ReceiptHandle"] for entry in Entries]
        return {}

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list[Any]) -> None:
        self.released += [entry["ReceiptHandle"] for entry in Entries]


def waiting(name: str, body: str = ARRIVAL, **attributes: str) -> dict[str, Any]:
    return {
        "MessageId": name,
        "ReceiptHandle": name,
        "Body": body,
        "Attributes": {"SentTimestamp": str(NOW)},
        "MessageAttributes": {n: {"StringValue": text} for n, text in attributes.items()},
    }


def everything(sqs: Sqs, *several: Parked) -> tuple[AllParked, MemoryParked]:
    items = MemoryParked()
    for one in several:
        items.put(one)
    queues = {"arrivals": ("dead", "own"), "deliveries": ("dead", "own")}
    return AllParked(cast("Any", sqs), cast("Any", items), queues, lambda _: ()), items


def test_files_that_go_up_together_are_named_by_their_order() -> None:
    body = records.text(Task.of("intake-0a", Run(3, 10, 25, 999)))
    found = Letter.of(cast("Any", waiting("m", body)), "uploads").parked
    assert (found.external_id, found.uri, found.files) == ("intake-0a", None, 15)
    assert (found.why.reason, found.queue) == ("tries-used-up", "uploads")


@pytest.mark.parametrize("wish", [Wish(*two) for two in product((False, True), repeat=2)])
def test_an_order_is_told_how_to_be_tried_again_and_a_file_that_it_was_parked(wish: Wish) -> None:
    bodies = [of_order("a"), ARRIVAL, DUE, "no JSON"]
    sqs = Sqs()
    several = [replace(ONE, id=str(n), body=body) for n, body in enumerate(bodies)]
    several[2] = replace(several[2], queue="deliveries")
    lot, items = everything(sqs, *several)
    assert [sent for _, sent in lot.redrive(Choice(), wish)] == [True] * 4
    assert items.items == {}
    first, *others = (entry["MessageBody"] for entry in sqs.sent)
    assert (parse(first).order, parse(first).wish) == ("a", wish)
    assert sorted(others) == sorted(bodies[1:])
    for entry in sqs.sent:
        attributes = {
            name: {"stringValue": v["StringValue"]}
            for name, v in entry["MessageAttributes"].items()
        }
        assert received(attributes).redriven is not wish.even_if_overtaken


def test_its_message_is_deleted_with_its_item_and_what_has_none_is_moved() -> None:
    """SQS and EventBridge park by themselves, and a release before wrote no items."""
    another = of_arrival(replace(FILE, key="in/b"))
    sqs = Sqs(
        waiting("of-it", item="0f"),
        waiting("of-another", item="0e"),
        waiting("ended", item="0d"),
        waiting("alone"),
        waiting("alone-again"),
        waiting("not-chosen", another, reason="no-route"),
    )
    other = replace(ONE, id="0e", why=replace(FAILED, reason="no-route"))
    lot, items = everything(sqs, ONE, other)
    chosen = Choice(reasons=frozenset({"batch-failed", "tries-used-up"}))
    told = [(one.why.reason, sent) for one, sent in lot.redrive(chosen, Wish())]
    assert told == [("batch-failed", True), ("tries-used-up", True)]
    assert [entry["MessageBody"] for entry in sqs.sent] == ["{}", ARRIVAL]
    assert sorted(sqs.deleted) == ["alone", "alone-again", "ended", "of-it"]
    assert sorted(sqs.released) == ["not-chosen", "of-another"]
    first, second = (one for one, _ in items.items.values())
    assert (first.id, second.uri) == ("0e", "s3://landing/in/b"), "it outlives the queue's 14 days"
    assert [one.uri for one in lot.chosen(Choice())] == [ONE.uri, "s3://landing/in/b"]


def test_the_item_of_a_message_ends_once_its_file_is_in() -> None:
    """As if the intake had parked it itself: the file came again, by another event."""
    lot, items = everything(Sqs(waiting("m"), waiting("not-understood", "no JSON")))
    assert list(lot.redrive(Choice(queue="uploads"), Wish())) == []
    (arrival,) = parse(ARRIVAL).arrivals
    assert items.token(digest("arrivals", "file", arrival.external_id)) is not None
    assert len(items.items) == 2


def test_an_interruption_leaves_no_message_whose_item_has_ended() -> None:
    sqs = Sqs(*(waiting(str(n), of_order(str(n))) for n in range(12)))
    lot, items = everything(sqs)
    with closing(lot.redrive(Choice(), Wish())) as run:
        next(run)
    assert (len(sqs.sent), len(sqs.deleted), len(items.items)) == (10, 10, 2)


def test_what_is_larger_than_an_item_shows_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sqs = Sqs(waiting("m", "x" * 900_000))
    lot, items = everything(sqs)
    put = items.put
    monkeypatch.setattr(items, "put", lambda one: len(one.body) < 400_000 and put(one))
    assert [len(one.body) for one, _ in lot.redrive(Choice(), Wish())] == [60_000]
    assert [len(entry["MessageBody"]) for entry in sqs.sent] == [900_000], "what is sent is whole"


def test_what_was_discarded_stays_so_though_its_message_was_not_deleted() -> None:
    sqs = Sqs(waiting("m", DUE))
    sqs.keeps = True
    lot, items = everything(sqs)
    with pytest.raises(CommandFailed, match="did not delete 1 messages of dead: type the same"):
        list(lot.discard(Choice(), lambda _: None, NOW))
    sqs.waiting, sqs.keeps = [waiting("m", DUE)], False
    assert list(lot.redrive(Choice(), Wish())) == []
    assert (sqs.sent, sqs.deleted, len(items.discarded)) == ([], ["m"], 1)
    # The same again, later, is another one.
    again = waiting("n", DUE)
    again["Attributes"]["SentTimestamp"] = str(NOW + HOUR)
    sqs.waiting = [again]
    assert [sent for _, sent in lot.redrive(Choice(), Wish())] == [True]


@pytest.mark.parametrize("discards", [False, True])
def test_of_what_a_restored_ledger_has_forgotten_the_message_counts(discards: bool) -> None:
    """The ledger was put back to before it was parked, and nobody else knows of the file."""
    letters = waiting("forgotten", item="0d"), waiting("ended-since", item="0c")
    letters[1]["Attributes"]["SentTimestamp"] = str(NOW + HOUR)
    sqs = Sqs(*letters)
    lot = replace(everything(sqs)[0], restored_at=NOW + 1)
    assert [one.body for one in lot.chosen(Choice())] == [ARRIVAL]
    sqs.waiting = list(letters)
    none_of_it = Choice(reasons=frozenset({"no-route"}))
    assert list(lot.redrive(none_of_it, Wish())) == []
    assert sqs.deleted == ["ended-since"]
    sqs.waiting = [letters[0]]
    if discards:
        marked: list[Parked] = []
        assert len(list(lot.discard(Choice(), marked.append, NOW))) == len(marked) == 1
    else:
        assert [sent for _, sent in lot.redrive(Choice(), Wish())] == [True]
        assert [entry["MessageBody"] for entry in sqs.sent] == [ARRIVAL]
    assert sqs.deleted == ["ended-since", "forgotten"]


def test_what_sqs_does_not_take_and_what_is_parked_anew_meanwhile_stay() -> None:
    refused, anew = replace(ONE, id="0a", body="refused"), replace(ONE, id="0b")
    sqs = Sqs(waiting("a", item="0a"), waiting("b", item="0b"), refused="refused")
    lot, items = everything(sqs, refused, anew)
    sqs.between = lambda: items.put(anew)  # the intake was quick, and rejects it again
    assert [sent for _, sent in lot.redrive(Choice(), Wish())] == [False, True]
    assert sorted(items.items) == ["0a", "0b"]
    assert sqs.deleted == []


def test_a_look_changes_nothing() -> None:
    sqs = Sqs(waiting("ended", item="0d"), waiting("alone"))
    lot, _ = everything(sqs)
    [alone] = lot.chosen(Choice())
    assert (alone.uri, alone.why.reason) == ("s3://landing/in/a", "tries-used-up")
    assert (sqs.deleted, sorted(sqs.released)) == ([], ["alone", "ended"])


@pytest.mark.parametrize(
    ("choice", "fits"),
    [
        (Choice(), True),
        (Choice(routes=frozenset({"crm", "x"}), reasons=frozenset({"batch-failed"})), True),
        (Choice(routes=frozenset({"-"})), False),
        (Choice(keys=("in/*.csv",)), True),
        (Choice(keys=("s3://landing/*",)), True),
        (Choice(keys=("a.csv",)), False),
        (Choice(keys=("in/?.csv",)), False),  # `*` alone is special
        (Choice(keys=("in/[ab].csv",)), False),
        (Choice(keys=("*/b.json",)), True),
        (Choice(keys=("s3://landing/in/b.json",)), True),
        (Choice(external_ids=frozenset({"intake-2"})), False),
        (Choice(queue="uploads"), False),
        (Choice(older_than_ms=27 * HOUR), True),
        (Choice(older_than_ms=28 * HOUR), False),
    ],
)
def test_it_is_chosen_by_all_that_is_said(choice: Choice, *, fits: bool) -> None:
    assert choice.fits(ONE, NOW, lambda _: [replace(FILE, key="in/b.json")]) is fits


def test_the_files_of_an_order_and_of_a_folder_are_those_of_the_ledger() -> None:
    """Of which the item has the first alone, or none."""
    ledger: Any = MemoryLedger()
    files = [replace(FILE, key=f"in/{n}") for n in range(3)]
    ledger.open(Record.opened(order(*files[:2], external_id="intake-1"), Lease("t", NOW), NOW))
    [group] = groups([WaitingFile(files[2], "r", HOUR)], NOW, NOW)
    ledger.folders.wait(group)
    overdue = of_overdue(OverdueFiles(group.folder_id, "", "~"))
    asked: list[tuple[dict[str, Any], list[Arrival]]] = [
        ({"body": of_order("intake-1")}, files[:2]),
        ({"queue": "uploads", "body": DUE}, files[:2]),
        ({"body": json.dumps(overdue, default=records.members)}, files[2:]),
        ({"body": of_order("gone")}, []),
        ({"body": "no JSON"}, []),
    ]
    for changes, found in asked:
        assert list(parked.files_of(replace(ONE, **changes), ledger)) == found


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (Choice(routes=frozenset({"crn"})), "did you mean crm?"),
        (Choice(reasons=frozenset({"no-rute"})), "did you mean no-route?"),
        (Choice(routes=frozenset({"crm", "-"}), reasons=frozenset({"no-route"})), ""),
        (Choice(reasons=frozenset({"SDK_CLIENT_ERROR"})), ""),
    ],
)
def test_a_name_that_is_none_is_told_if_nothing_was_chosen(
    choice: Choice, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = json.dumps({"routes": [{"name": "crm", "match": "*", "ignore": True}]})
    monkeypatch.setattr(documents, "live_routes", lambda *_: table.encode())
    access: Any = SimpleNamespace(stack=str, session=SimpleNamespace(client=str))
    with pytest.raises(CommandFailed, match=re.escape(says)) if says else nullcontext():
        check_names(choice, access)


class Functions:
    """on_marker, which says the same of each message, or fails."""

    def __init__(self, *told: dict[str, Any], fails: bool = False) -> None:
        self.told = list(told)
        self.fails = fails
        self.asked: list[dict[str, Any]] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        asked = json.loads(Payload)["dryRun"]
        self.asked.append(asked)
        told: Any = {"told": [self.told] * len(asked["bodies"])}
        if self.fails:
            return {"Payload": io.StringIO('{"errorMessage": "no memory"}'), "FunctionError": "x"}
        return {"Payload": io.StringIO(json.dumps(told))}


def test_the_intake_is_asked_what_would_become_of_them() -> None:
    refused = {"becomes": "parked", "reason": "overtaken", "detail": "a newer version\x1b[2J"}
    batch = {"becomes": "batch", "attempt": 2, "route": "crm", "datasetId": "5c8c"}
    functions: Any = Functions(batch, refused)
    several = [replace(ONE, body=of_order(str(n))) for n in range(12)]
    several.append(replace(ONE, queue="uploads"))
    wish = Wish(as_ordered=True)
    told = list(dry_run.would_become(several, wish, functions, "on-marker"))
    assert [one for one, _ in told] == several
    assert sorted(len(asked["bodies"]) for asked in functions.asked) == [2, 10]
    assert all(parse(body).wish == wish for asked in functions.asked for body in asked["bodies"])
    assert [dry_run.is_refused(would) for _, would in told] == [True] * 12 + [False]
    assert dry_run.becomes([batch]) == "a batch (attempt 2), route crm, dataset 5c8c"
    assert dry_run.becomes([batch, refused]).startswith("refused, overtaken: a newer version")
    console = Console(width=100, record=True)
    console.print(dry_run.plan(told, 100))
    shown = console.export_text()
    assert "goes on where it stopped" in shown
    assert "\\x1b[2J" in shown
    broken: Any = Functions(fails=True)
    with pytest.raises(CommandFailed, match="on-marker failed: no memory"):
        list(dry_run.would_become(several, wish, broken, "on-marker"))


def received(attributes: dict[str, Any]) -> Message:
    about = {"ApproximateReceiveCount": "1", "SentTimestamp": "0"}
    names = {"messageId": "m", "receiptHandle": "r", "body": ""}
    return Message.of({**names, "attributes": about, "messageAttributes": attributes})


def test_what_was_moved_in_the_console_is_known_too_and_what_is_sent_again_stays_so() -> None:
    """SQS's own redrive keeps attributes; a message with a long wait is sent again."""
    moved = received({"parkedAt": {"stringValue": "2026-11-28T12:00:00.000+00:00"}})
    assert moved.redriven
    again = Again.at(moved, 1_000, 0, tries=3)
    carried = {name: {"stringValue": str(value)} for name, value in again.attributes.items()}
    assert received(carried).redriven
    assert not received({}).redriven
    assert "redriven" not in Again.at(received({}), 1_000, 0, tries=3).attributes


TODO = "add a route, or one with `ignore`; redrive"
SHOWN = {
    80: [
        ["…bers-of-november.csv +11", "crm", "batch-failed", "INGEST-1212-400", "1 d 3 h"],
        ["s3://landing/in/a.csv", "-", "no-route", "", "5 m"],
        ["intake-2", "-", "no-route", "", "5 m"],
    ],
    220: [
        [
            *("s3://landing/in/a-long-folder/members-of-november.csv +11", "crm", "batch-failed"),
            *("INGEST-1212-400", "1 d 3 h"),
            "A sum: how many rows were refused, and how many are in the dataset. "
            "Read the other errors of the batch.",
        ],
        ["s3://landing/in/a.csv", "-", "no-route", "", "5 m", TODO],
        ["intake-2", "-", "no-route", "", "5 m", TODO],
    ],
}


def test_of_adobe_s_errors_the_first_counts_that_says_what_is_wrong() -> None:
    """AEP names the sum of its errors first, which only says how many rows they refused."""
    detail = "batch 01ABC is failed (INGEST-1212-400, INGEST-1401-400)"
    for code in (None, "INGEST-1212-400"):  # as earlier releases wrote it, and as this one does
        why = replace(FAILED, detail=detail, error_code=code)
        told, todo = parked.cause(replace(ONE, why=why))
        assert (told, todo.split(":")[0]) == ("INGEST-1401-400", "Rows are corrupt")
    assert parked.cause(replace(ONE, why=replace(why, detail=""))) == (
        "INGEST-1212-400",
        "A sum: how many rows were refused, and how many are in the dataset. "
        "Read the other errors of the batch.",
    )


def test_what_to_do_about_each_error_and_reason_is_said_once() -> None:
    unrouted = replace(ONE, why=Rejection("no-route", "no route matches", NOW))
    console = Console(width=80, record=True)
    console.print(parked.advice([ONE, unrouted, unrouted]))
    assert console.export_text().split() == [
        "INGEST-1212-400",
        *parked.cause(ONE)[1].split(),
        *("no-route", *TODO.split()),
    ]


def test_all_about_what_alone_fits_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table has no room for its detail; without options it lists even a single one."""
    lot, items = everything(Sqs(), ONE)
    monkeypatch.setattr(AllParked, "of", lambda *_: lot)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["parked", "--route", "crm"]) == 0
    assert FAILED.detail in capsys.readouterr().out
    items.put(replace(ONE, id="10", uri="s3://landing/in/b.csv"))
    for typed in (["parked"], ["parked", "--route", "crm"]):
        assert main(typed) == 0
        told = capsys.readouterr().out
        assert FAILED.detail not in told
        assert "Read the other errors of the batch." in " ".join(told.split()), (
            "it has no room there"
        )
        assert "aep-intake parked ID" in told


@pytest.mark.parametrize("width", SHOWN)
def test_a_line_for_each_however_wide_the_terminal(width: int) -> None:
    console = Console(width=width, record=True)
    unrouted = Rejection("no-route", "no route matches", NOW - 5 * 60_000)
    several = [
        replace(ONE, uri="s3://landing/in/a-long-folder/members-of-november.csv"),
        replace(ONE, why=unrouted, route=None, files=1),
        Parked("", "uploads", "intake-2", "", unrouted),
    ]
    console.print(parked.table(several, width))
    lines = [line for line in console.export_text().splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    assert cells == SHOWN[width]
    assert max(map(len, lines)) <= width


def test_a_column_of_errors_that_would_be_empty_is_left_out() -> None:
    console = Console(width=80, record=True)
    unrouted = Parked("1", "arrivals", "a", "", Rejection("no-route", "no route", NOW))
    console.print(parked.table([unrouted], 80))
    console.print(parked.table([unrouted, ONE], 80))
    heads = [line.split("┃")[1:-1] for line in console.export_text().splitlines() if "┃" in line]
    names = [[head.strip() for head in line] for line in heads]
    assert names[0][:4] == ["file or order", "route", "reason", "age"]
    assert names[1] == ["file or order", "route", "reason", "error", "age"]


@pytest.mark.parametrize(
    ("messages", "refused", "said"),
    [
        (0, 0, "0 messages would be sent, none refused again."),
        (4, 0, "4 messages would be sent, none refused again."),
        (4, 3, "4 messages would be sent, 3 of them refused again."),
        (4, 4, "4 messages; all would be refused again."),
        (1, 1, "1 message; it would be refused again."),
    ],
)
def test_a_dry_run_says_how_many_would_be_refused(messages: int, refused: int, said: str) -> None:
    assert dry_run.summary(messages, refused) == said


def test_a_dry_run_asks_of_no_more_than_a_call_takes() -> None:
    """Lambda takes six megabytes, and JSON may write a byte as six."""
    small, large = ONE, replace(ONE, body="x" * 600_000)
    several = [*[small] * 12, large, large, small]
    groups = list(dry_run._grouped(several))
    assert [len(group) for group in groups] == [10, 3, 2]
    assert [one for group in groups for one in group] == several
