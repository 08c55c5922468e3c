"""What another release wrote, the one before or the next one, is read, and kept when rewritten."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals import envelopes
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Mark, Task, Verdict
from aep_intake.delivery.pieces import Cut, Piece
from aep_intake.model import records
from aep_intake.model.batches import Batch, Target
from aep_intake.model.files import Arrival
from aep_intake.model.history import Folder, OverdueFiles, WaitingGroup
from aep_intake.model.messages import encoded, of_order, of_overdue
from aep_intake.model.orders import Lineage, LineageHead, Order, Replaced, WindowPart
from aep_intake.model.progress import Lease, NextStep, Record, Rejection, State
from aep_intake.model.records import Kept
from aep_intake.model.windows import Window, WindowStage

from tests.items import Items, messages

NOW = 1_790_000_000_000
BEFORE = "0fac4f5"
LEASE = Lease("token", NOW + 70_000)
TARGET = Target(
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:aep/acme-AbCdEf",
    "1234@AdobeOrg",
    "prod",
    "5c8c3c555033b814b69f947f",
)
OPTIONS = {
    "inputFormat": {"format": "json"},
    "tags": {"a": ["b", "ü"]},
    "partialIngestionPercent": 0.5,
}
REFUSED = Rejection("batch-refused", "no", NOW, 400, "111", "q")
FOLDER = "folder-" + "a" * 32


def file(n: int, **changes: Any) -> Arrival:
    key = f"in/ä +{n}.json"
    arrival = Arrival("landing", key, f"v{n}", f"e{n}", f"006{n}", 10 * n, NOW - 1000)
    return replace(arrival, **changes)


def order(n: int, **changes: Any) -> Order:
    one = file(n)
    whole = Order(one.external_id, TARGET, OPTIONS, (one,), route="r", routes_version="7")
    return replace(whole, **changes)


@pytest.fixture
def items() -> Items:
    return Items.recorded(BEFORE)


@pytest.fixture
def ledger(items: Items) -> DynamoLedger:
    client: Any = items
    return DynamoLedger(client, "ledger", lambda: NOW, 1)


@pytest.fixture
def deliveries(items: Items) -> DynamoDeliveries:
    client: Any = items
    return DynamoDeliveries(Table(client, "ledger"), lambda: NOW, retention_ms=1)


# ---- What the release before wrote


def test_orders_of_the_release_before_are_read(ledger: DynamoLedger) -> None:
    first, lineage = file(1, version_id=None), Lineage("subject", "0062".ljust(64, "0"))
    seventh = Replaced(order(7).external_id, "01BATCH7")
    opened = dict[str, Any](due=NOW + 70_000, lease="token")
    done = dict[str, Any](due=None, revision=3)
    held = Rejection("needs-attention", "see", NOW)
    expected: list[tuple[Order, dict[str, Any]]] = [
        (order(1, external_id=first.external_id, files=(first,)), opened),
        (order(2), {"due": NOW + 130_000, "revision": 2, "unknown_since": NOW}),
        (
            order(4, whole=True, profile=True),
            {"state": State.ANNOUNCED, "batch_id": "01BATCH4", "created_at": NOW} | done,
        ),
        (order(5), {"state": State.REFUSED, "rejection": REFUSED} | done),
        (order(6), {"revision": 2, "next_attempt": order(6).next_attempt().external_id}),
        (order(6).next_attempt(), opened),
        (order(8, lineage=lineage, replaces=seventh), opened | {"revision": 2}),
        (order(9), {"state": State.HELD, "rejection": held} | done),
    ]
    for wanted, how in expected:
        about = {"state": State.OPEN} | how
        assert ledger.get(wanted.external_id) == Record(wanted, NOW, **about)
    asked = ledger.get("callers-own")
    assert asked is not None
    assert asked.order.files == (file(3, version_id=None, sequencer=None),)
    assert asked.batch == {"id": "01BATCH3", "size": 1.5, "note": "", "tags": {"x": []}}
    assert (asked.state, asked.lease, asked.due) == (State.CREATED, "token", NOW + 70_000)


def test_what_was_known_of_files_and_heads_is_known(ledger: DynamoLedger) -> None:
    assert ledger.claimant(file(4)) == order(4).external_id
    assert ledger.claimant(file(3, version_id=None, sequencer=None)) == "callers-own"
    assert ledger.claimant(file(5)) is None
    [refused], [noted] = ledger.seen(file(5).object_id), ledger.seen(file(11).object_id)
    assert (refused.owner, refused.rejection) == (order(5).external_id, REFUSED)
    assert (noted.noted, noted.route) == ("not-the-newest", "r")
    assert ledger.head("subject") == LineageHead(order(8).external_id, "0062".ljust(64, "0"))
    assert ledger.profile_batches.made(NOW) == {("1234@AdobeOrg", "prod"): 1}


def test_windows_and_folders_of_the_release_before_are_read(
    items: Items, ledger: DynamoLedger
) -> None:
    found = Counter[WindowStage]()
    for item in items:
        if item["sk"]["S"] == "window":
            window = ledger.windows.get(item["pk"]["S"].removeprefix("window#"))
            assert window is not None
            found[window.stage] += 1
            files = ledger.windows.registered(window.window_id)
            assert files
            if window.stage is WindowStage.FINISHED:
                assert files == (file(22), file(23), file(24))
                assert window.parts == (
                    WindowPart(window.window_id, 0, 2, 450),
                    WindowPart(window.window_id, 2, 3, 240),
                )
                part = ledger.get(window.part_id(0))
                assert part is not None
                assert part.order == window.part(window.parts[0], 0)
                assert ledger.files(part.order) == files[:2]
    assert found == {WindowStage.OPEN: 2, WindowStage.SEALED: 1, WindowStage.FINISHED: 1}
    group = WaitingGroup(FOLDER, "r", 60_000, NOW + 60_000, (file(30), file(31, version_id=None)))
    assert list(ledger.folders.waiting(FOLDER, "", "~")) == [group]
    assert ledger.folders.get(FOLDER) == Folder(FOLDER, NOW + 60_000, "", 1)


def test_deliveries_of_the_release_before_are_read(
    items: Items, deliveries: DynamoDeliveries
) -> None:
    found = {}
    for item in items:
        if item["sk"]["S"] == "delivery":
            delivery = deliveries.get(item["pk"]["S"].removeprefix("delivery#"))
            assert delivery is not None
            found[delivery.stage] = delivery
    assert set(found) == {DeliveryStage.PLANNING, DeliveryStage.UPLOADING, DeliveryStage.ENDED}
    assert found[DeliveryStage.PLANNING].whole
    uploading = found[DeliveryStage.UPLOADING]
    assert uploading.cuts == {1: Cut((100, 230), 12)}
    assert deliveries.marks(uploading.external_id) == {
        0: Mark(220),
        1: Mark(0, Rejection("object-gone", "gone", NOW)),
    }
    error, rows = {"code": "e", "description": "d"}, {"inputRecordCount": 3}
    assert found[DeliveryStage.ENDED].verdict == Verdict(
        End.FAILED,
        "failed",
        "batch is failed",
        NOW,
        rows | {"failedRecordCount": 1.0},
        (error,),
        1,
        (1,),
    )


def test_messages_of_the_release_before_are_read() -> None:
    sent = messages(BEFORE)
    tasks = [records.read(Task, body) for queue, body in sent if queue == "uploads"]
    assert [task.piece for task in tasks] == [
        Piece(0, file(22), 0, 220),
        Piece(1, file(23), 0, 100),
        Piece(2, file(23), 100, 230, 12),
    ]
    [overdue] = [envelopes.parse(body).overdue for queue, body in sent if queue == "arrivals"]
    assert overdue is not None
    assert (overdue.folder_id, overdue.after) == (FOLDER, "")
    [parked] = [envelopes.parse(body).order for queue, body in sent if queue == "arrivals-dlq"]
    assert parked == "intake-1092173c225a464d02351a539585bc1a"


# ---- What the next release writes


def full() -> Iterator[Kept]:
    """Records with everything in them that a record may have."""
    lineage, one = Lineage("subject", "01", "before"), Replaced("before", "01BATCH")
    most = order(1, excerpt=WindowPart("w", 0, 1, 10), lineage=lineage, replaces=one)
    record = replace(Record.opened(most, LEASE, NOW), rejection=REFUSED)
    yield record
    yield replace(Window.at(most, 60_000, NOW), parts=(WindowPart("w", 0, 1, 10),))
    delivery = Delivery.of(record, (file(1),), 100, NOW)
    verdict = Verdict(End.FAILED, "failed", "d", NOW)
    yield replace(delivery, cuts={0: Cut((5, 10), 2)}, verdict=verdict)
    yield Mark(0, REFUSED)
    yield WaitingGroup(FOLDER, "r", 1, NOW, (file(1), file(2)))
    yield Task("x", Piece(0, file(1), 0, 10))
    yield REFUSED


def as_the_next_release(value: Any) -> Any:
    """A record of which each part has members that nobody knows yet."""
    if isinstance(value, Kept):
        said = {name: as_the_next_release(one) for name, one in records.members(value).items()}
        return said | {"later": {"a": [1.5, None]}, f"of_{type(value).__name__}": False}
    if isinstance(value, tuple):
        return [as_the_next_release(one) for one in value]
    if isinstance(value, dict) and any(isinstance(one, Kept) for one in value.values()):
        return {str(key): as_the_next_release(one) for key, one in value.items()}
    return value


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("record", list(full()), ids=lambda record: type(record).__name__)
def test_what_the_next_release_wrote_is_read_and_kept(record: Kept, version: int) -> None:
    later = {"v": version} | as_the_next_release(record)
    found = records.read(type(record), json.dumps(later))
    assert found == record
    assert json.loads(records.text(found)) == later


WAITING, FREE, LATER = {"due": NOW + 1}, {"due": NOW, "lease": None}, {"due": None, "lease": None}


@pytest.mark.parametrize(
    ("state", "changes", "step"),
    [
        (State.OPEN, WAITING, NextStep.WAIT),
        (State.CREATED, WAITING, NextStep.WAIT),
        (State.HELD, WAITING, NextStep.WAIT),
        (State.OPEN, FREE, NextStep.REOPEN),
        (State.OPEN, {"due": NOW}, NextStep.RESUME),
        (State.OPEN, FREE | {"unknown_since": NOW - 1}, NextStep.RESUME),
        (State.OPEN, FREE | {"replaced_by": "o-2"}, NextStep.DONE),
        (State.CREATED, FREE, NextStep.DONE),
        (State.REFUSED, FREE, NextStep.DONE),
        (State.HELD, FREE, NextStep.DONE),
        (State.ANNOUNCED, LATER, NextStep.DONE),
        (State.REFUSED, LATER, NextStep.RECLAIM),
        (State.REFUSED, LATER | {"unknown_since": NOW - 1}, NextStep.REOPEN),
        (State.REFUSED, LATER | {"order": order(1).next_attempt()}, NextStep.REOPEN),
        (State.REFUSED, LATER | {"replaced_by": "o-2"}, NextStep.DONE),
        (State.HELD, LATER, NextStep.RESUME),
    ],
)
def test_the_next_step_of_an_order(state: State, changes: dict[str, Any], step: NextStep) -> None:
    record = replace(Record.opened(order(1), LEASE, NOW), state=state, **changes)
    assert record.next_step(NOW) is step


BATCH = Batch("01B", "loading", NOW, None, (), {}, {})


def test_records_of_an_earlier_release_break_no_rule(items: Items) -> None:
    """Else a step would be refused that breaks none, and its order would be stuck."""
    stored = [item for item in items if item["sk"]["S"] in ("order", "delivery")]
    found: list[Record | Delivery] = [
        records.read(Record, item["record"]["S"])
        if "record" in item
        else records.read(Delivery, item["delivery"]["S"])
        for item in stored
    ]
    assert Counter(map(type, found)) == {Record: 12, Delivery: 3}
    for one in found:
        one._check()


STEPS: dict[str, Callable[[Record], Record]] = {
    "leased": lambda record: record.leased(LEASE),
    "reopened": lambda record: record.reopened(order(1, files=record.order.files), LEASE),
    "replacing": lambda record: record.replacing(None),
    "refused": lambda record: record.rejected(State.REFUSED, REFUSED),
    "announced": lambda record: record.created(BATCH).announced(delivers=True),
    "followed": lambda record: record.followed(LEASE, NOW)[0],
    "the next attempt": lambda record: record.followed(LEASE, NOW)[1],
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_of_an_order_keeps_what_the_next_release_wrote(
    step: Callable[[Record], Record],
) -> None:
    record = Record.opened(order(1, lineage=Lineage("subject", "01", "before")), LEASE, NOW)
    found = records.read(Record, json.dumps(as_the_next_release(record)))
    written = json.loads(records.text(step(found)))
    assert "of_Order" in written["order"]
    assert "of_Arrival" in written["order"]["files"][0]
    assert "of_Lineage" in written["order"]["line"]


def test_what_has_another_name_now_is_stored_as_before() -> None:
    record, _, delivery, *_ = full()
    assert isinstance(record, Record)
    assert isinstance(delivery, Delivery)
    assert "line" in records.members(record.order)
    written = records.members(replace(delivery, polls=2, lost_told=1))
    assert (written["looks"], written["settled"]) == (2, 1)


OPENED = Record.opened(order(1), LEASE, NOW)
MADE = OPENED.created(BATCH).announced()
UPLOADING = replace(Delivery.of(MADE, (file(1),), 10, NOW), stage=DeliveryStage.UPLOADING, total=2)
PART = WindowPart("w", 0, 1, 10)
WINDOW = Window.at(order(1), 60_000, NOW)
ENDED = replace(UPLOADING, stage=DeliveryStage.ENDED)
BROKEN: dict[str, Callable[[], object]] = {
    "a batch that is recorded": lambda: OPENED.created(BATCH).created(replace(BATCH, id="02B")),
    "what is leased is due": lambda: replace(MADE, lease="t").replaced("o-2"),
    "an order without an end": lambda: replace(OPENED, lease=None, due=None).replacing(None),
    "an order that is announced": lambda: MADE.given_back(NOW),
    "what is announced has": lambda: OPENED.created(replace(BATCH, id=None)),  # type: ignore[arg-type]
    "what is refused or held": lambda: OPENED.rejected(State.HELD, None),  # type: ignore[arg-type]
    "what has a next attempt": lambda: replace(OPENED, next_attempt="o.2").replacing(None),
    "what has ended stays": lambda: ENDED.then(stage=DeliveryStage.UPLOADING),
    "a plan is made once": lambda: UPLOADING.then(total=3),
    "a delivery is due until": lambda: UPLOADING.then(due=None),
    "what has ended, or is aborted": lambda: UPLOADING.then(stage=DeliveryStage.ABORTING),
    "what is uploaded has pieces": lambda: replace(UPLOADING, total=0).then(),
    "what is complete": lambda: UPLOADING.then(stage=DeliveryStage.COMPLETING),
    "no more files": lambda: UPLOADING.then(lost_told=2),
    "a window is due": lambda: replace(WINDOW, due=None).worked_on(NOW),
    "a window never opens": lambda: WINDOW.sealed(NOW).planned(()).sealed(NOW),
    "which files go together": lambda: WINDOW.planned((PART,)).planned(()),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_step_that_breaks_a_rule_is_never_written(rule: str) -> None:
    with pytest.raises(ValueError, match=f"this is a bug: {rule}"):
        BROKEN[rule]()


def test_a_window_s_steps_and_parts_keep_what_the_next_release_wrote() -> None:
    excerpt = WindowPart("w", 0, 1, 10)
    window = replace(Window.at(order(1), 60_000, NOW), parts=(excerpt,))
    found = records.read(Window, json.dumps(as_the_next_release(window)))
    done = json.loads(records.text(found.sealed(NOW).planned(found.parts).finished()))
    assert {"of_Window"} <= done.keys()
    assert "of_WindowPart" in done["parts"][0]
    part = json.loads(records.text(found.part(found.parts[0], 0)))
    assert {"of_Order"} <= part.keys()
    assert "of_WindowPart" in part["excerpt"]


def test_messages_tell_their_version_and_may_tell_more() -> None:
    overdue = OverdueFiles(FOLDER, "", "~")
    body = encoded(of_overdue(overdue))
    assert json.loads(body)["v"] == 1
    assert envelopes.parse(body).overdue == overdue
    later = json.loads(body) | {"v": 2, "later": 1}
    later["missing"]["later"] = 1
    assert envelopes.parse(json.dumps(later)).overdue == overdue
    assert envelopes.parse(of_order("x")).order == "x"
