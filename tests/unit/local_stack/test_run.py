"""The board of `make run`: what counts as expected, and what does not."""

import io
import json
import time
from hashlib import sha256
from typing import Any

import pytest
from aep_intake.model.errors import NoRoute
from aep_intake.model.files import Arrival
from aep_intake.routing import routes
from aep_intake.routing.routes import InWindow
from rich.console import Console

from local import run
from local.run import Board, next_end, shown
from local.stack import Parked
from tests.matching import matched

SAMPLES: dict[str, Any] = {
    "objects": [
        {
            "key": "a",
            "expect": {"event": "Batch Created", "route": "r", "sandbox": "prod"},
            "end": None,
        },
        {"key": "b", "expect": {"event": "Arrival Rejected", "reason": "no-route"}},
    ],
    "requests": [
        {
            "name": "first",
            "note": "",
            "method": "POST",
            "path": "/batches",
            "expect": {"http": 201, "event": "Batch Created"},
        },
        {
            "name": "again",
            "note": "",
            "method": "POST",
            "path": "/batches",
            "expect": {"http": 200, "batchOf": "first"},
        },
    ],
}


@pytest.fixture
def board() -> Board:
    board = Board(SAMPLES)
    for item in board.items:
        item.sent = 0.0
    return board


def event(kind: str, **detail: Any) -> dict[str, Any]:
    return {"detail-type": kind, "detail": detail}


def of(key: str, kind: str, **detail: Any) -> dict[str, Any]:
    return event(kind, files=[{"key": key}], **detail)


def test_nothing_is_expected_before_it_came(board: Board) -> None:
    assert not any(item.settled or item.as_expected for item in board.items)


def test_the_expected(board: Board) -> None:
    board.see(of("a", "Batch Created", route="r", sandbox="prod", batchId="1"))
    board.see(of("b", "Arrival Rejected", reason="no-route"))
    board.answered("first", 201, {"id": "2"})
    board.see(event("Batch Created", batchId="2"))
    board.answered("again", 200, {"id": "2"})
    assert all(item.settled and item.as_expected for item in board.items)
    assert not board.strangers


def test_an_event_may_be_faster_than_the_answer(board: Board) -> None:
    board.see(event("Batch Created", batchId="2"))
    board.answered("first", 201, {"id": "2"})
    assert board.requests["first"].as_expected


def test_another_sandbox_is_not_as_expected(board: Board) -> None:
    board.see(of("a", "Batch Created", route="r", sandbox="dev", batchId="1"))
    assert board.objects["a"].settled
    assert not board.objects["a"].as_expected


def test_another_reason_is_not_as_expected(board: Board) -> None:
    board.see(of("b", "Arrival Rejected", reason="empty-object"))
    assert not board.objects["b"].as_expected


def test_a_second_batch_for_the_same_key_is_not_as_expected(board: Board) -> None:
    board.answered("first", 201, {"id": "2"})
    board.answered("again", 200, {"id": "3"})
    assert not board.requests["again"].as_expected


def test_an_event_nobody_expected_is_kept(board: Board) -> None:
    stranger = of("c", "Batch Created", batchId="9")
    board.see(stranger)
    assert board.strangers == [stranger]


def test_a_batch_no_request_was_answered_with_is_a_stranger(board: Board) -> None:
    board.see(event("Batch Created", batchId="9"))
    board.answered("first", 201, {"id": "2"})
    assert [each["detail"]["batchId"] for each in board.unclaimed()] == ["9"]


def test_two_events_with_different_batches_are_not_as_expected(board: Board) -> None:
    board.see(of("a", "Batch Created", route="r", sandbox="prod", batchId="1"))
    board.see(of("a", "Batch Created", route="r", sandbox="prod", batchId="2"))
    assert not board.objects["a"].as_expected


BATCH, DATASET = "01M01HSPFW3JTB7SMBVNY0MJ8Y", "5c8c3c555033b814b69f947f"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_what_is_copied_from_the_table_stays_whole(board: Board, width: int) -> None:
    known = {"sandbox": "prod", "datasetId": DATASET, "batchId": BATCH}
    board.see(of("a", "Batch Created", route="r", **known))
    board.objects["b"].got |= {"event": "Arrival Rejected", "reason": "no-route", "parked": True}
    board.answered("first", 201, {"id": "2"})
    board.answered("again", 409, {"type": "urn:aep-intake:problem:not-yet"})
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(board)
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert any(BATCH in line for line in lines)
    assert any(DATASET in line for line in lines)
    assert any("expected" in line for line in lines[:4])
    for part in ("no-route", "in the dead-letter queue", "HTTP 201", "HTTP 409", "not-yet"):
        assert sum(part in line for line in lines) == 1, part
    assert not any("no-route" in line and "dead-letter" in line for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_what_follows_the_table_begins_on_a_line_of_its_own(board: Board, terminal: bool) -> None:
    out = io.StringIO()
    console = Console(width=80, file=out, force_terminal=terminal)
    with shown(board, console):
        pass
    assert out.getvalue().rstrip("\x1b[?25h").endswith("\n")


# Several files, one batch; one object, several versions; what no event tells

GROUPED: dict[str, Any] = {
    "objects": [
        {
            "name": "many",
            "folder": "in/",
            "files": {"1": "", "2": "", "_SUCCESS": ""},
            "expect": {"event": "Batch Created", "fileCount": 2, "waited": 2},
            "end": None,
        },
        {"name": "left", "folder": "in/", "files": {"a.crc": "", "b": ""}, "expect": run.IGNORED},
        {
            "name": "old",
            "key": "list",
            "expect": {"event": "Batch Created", "inAep": "aborted"},
            "end": None,
        },
        {
            "name": "new",
            "after": "old",
            "key": "list",
            "expect": {"event": "Batch Created", "replacesBatchOf": "old", "inAep": "loading"},
            "end": None,
        },
    ],
    "requests": [],
}
WAITED = [
    {"uri": {"S": f"s3://landing/in/{name}"}, "noted": {"S": "waiting"}} for name in ("1", "2")
]
MADE = [
    {"id": "many", "status": "loading"},
    {"id": "old", "status": "aborted"},
    {"id": "new", "status": "loading"},
]


@pytest.fixture
def grouped() -> Board:
    board = Board(GROUPED)
    for name in ("many", "left", "old"):
        board.objects[name].sent = 0.0
    return board


def created(board: Board, batch_id: str, *keys: str, **detail: Any) -> None:
    files = [{"key": key} for key in keys]
    board.see(
        event(
            "Batch Created",
            files=files,
            fileCount=len(files),
            batchId=batch_id,
            externalId=f"intake-{batch_id}",
            **detail,
        )
    )


def all_comes(board: Board) -> None:
    created(board, "many", "in/1", "in/2")
    created(board, "old", "list")
    board.objects["new"].sent = 0.0
    created(board, "new", "list", replaces={"externalId": "intake-old", "batchId": "old"})


def test_many_files_and_versions_as_expected(grouped: Board) -> None:
    all_comes(grouped)
    assert all(item.told for item in grouped.items)
    assert not any(item.settled for item in grouped.items if item is not grouped.objects["new"])
    grouped.looked_up(MADE, WAITED, 2)
    assert all(item.settled and item.as_expected for item in grouped.items)
    assert not grouped.unclaimed()
    assert grouped.odd(MADE) == []


def test_files_of_a_group_in_two_batches_are_not_as_expected(grouped: Board) -> None:
    created(grouped, "many", "in/1")
    created(grouped, "more", "in/2")
    grouped.looked_up(MADE, WAITED, 2)
    assert not grouped.objects["many"].as_expected


def test_a_batch_that_lacks_a_file_is_not_as_expected(grouped: Board) -> None:
    created(grouped, "many", "in/1")
    grouped.looked_up(MADE, WAITED, 2)
    assert grouped.objects["many"].settled
    assert not grouped.objects["many"].as_expected


def test_a_batch_with_files_of_two_items_is_a_stranger(grouped: Board) -> None:
    created(grouped, "many", "in/1", "in/b")
    assert [each["detail"]["batchId"] for each in grouped.unclaimed()] == ["many"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_that_is_rejected_beside_the_batch_is_not_as_expected(
    grouped: Board, order: int
) -> None:
    rejected = of("in/2", "Arrival Rejected", reason="format-unknown", externalId="intake-2")
    batch = of("in/1", "Batch Created", batchId="many", externalId="intake-many", fileCount=2)
    for each in (rejected, batch)[::order]:
        grouped.see(each)
    grouped.looked_up(MADE, WAITED, 2)
    assert not grouped.objects["many"].as_expected


def test_what_did_not_wait_is_not_as_expected(grouped: Board) -> None:
    all_comes(grouped)
    grouped.looked_up(MADE, WAITED[:1], 2)
    assert not grouped.objects["many"].as_expected


def test_the_event_of_an_old_version_may_come_again(grouped: Board) -> None:
    all_comes(grouped)
    created(grouped, "old", "list")
    grouped.looked_up(MADE, WAITED, 2)
    assert all(item.as_expected for item in grouped.items)


def test_a_second_batch_before_there_is_a_new_version_is_not_as_expected(grouped: Board) -> None:
    created(grouped, "old", "list")
    created(grouped, "more", "list")
    assert not grouped.objects["new"].got
    grouped.looked_up(MADE, [], 0)
    assert not grouped.objects["old"].as_expected


@pytest.mark.parametrize("replaced", [{}, {"replaces": {"externalId": "x", "batchId": "many"}}])
def test_a_version_that_replaces_another_batch_is_not_as_expected(
    grouped: Board, replaced: dict[str, Any]
) -> None:
    created(grouped, "many", "in/1", "in/2")
    created(grouped, "old", "list")
    grouped.objects["new"].sent = 0.0
    created(grouped, "new", "list", **replaced)
    grouped.looked_up(MADE, WAITED, 2)
    assert not grouped.objects["new"].as_expected


def test_a_batch_that_should_be_aborted_and_is_not(grouped: Board) -> None:
    all_comes(grouped)
    grouped.looked_up([each | {"status": "loading"} for each in MADE], WAITED, 2)
    assert not grouped.objects["old"].as_expected
    assert grouped.objects["new"].as_expected


@pytest.mark.parametrize(
    ("ignored", "ledger"),
    [(1, []), (3, []), (2, [{"uri": {"S": "s3://landing/in/a.crc"}}])],
)
def test_what_is_ignored_is_counted_and_not_remembered(
    grouped: Board, ignored: int, ledger: list[dict[str, Any]]
) -> None:
    all_comes(grouped)
    grouped.looked_up(MADE, ledger, ignored)
    assert not grouped.objects["left"].settled


def test_a_batch_that_nobody_announced_is_odd_unless_it_is_aborted(grouped: Board) -> None:
    all_comes(grouped)
    assert grouped.odd([*MADE, {"id": "more", "status": "loading"}]) == ["more"]
    assert grouped.odd([*MADE, {"id": "more", "status": "aborted"}]) == []
    assert grouped.odd(MADE[:-1]) == ["new"], "announced, and not there"


def test_parked_is_for_the_reason_that_was_told(board: Board) -> None:
    board.see(of("b", "Arrival Rejected", reason="no-route"))
    board.parked([Parked('{"key": "b"}', {"reason": "empty-object"})])
    assert board.objects["b"].got["parked"] is False
    board.parked([Parked('{"key": "b"}', {"reason": "no-route"})])
    assert board.objects["b"].got["parked"] is True


@pytest.mark.parametrize("width", [80, 140])
def test_a_group_is_one_row(grouped: Board, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(grouped)
    assert console.export_text().count("waiting") == 1
    all_comes(grouped)
    grouped.looked_up(MADE, WAITED, 2)
    console.print(grouped)
    text = console.export_text()
    for part in ("2 files", "replaces the data of", "aborted in AEP"):
        assert text.count(part) == 1, part
    assert text.count("✓") == 4


@pytest.mark.parametrize(("now", "slept", "ends"), [(600.0, 0, 660), (655.5, 4.5, 720)])
def test_a_window_is_sent_into_while_enough_of_it_is_left(
    now: float, slept: float, ends: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps: list[float] = []
    said: list[str] = []
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "sleep", sleeps.append)
    assert next_end(60, "in/", said.append) == ends
    assert sum(sleeps) == slept
    assert said[-1] == f"in/ waits for its window to close, at 00:{int(ends) // 60}:00 UTC"


def test_the_samples_go_through_the_rules_they_name() -> None:
    samples = json.loads((run.SAMPLES / "samples.json").read_text("utf-8"))
    table = routes.parse((run.SAMPLES / "routes.json").read_bytes(), "v")
    board = Board(samples)
    names = list(board.objects)
    assert len(names) == len(samples["objects"])
    for sample, (name, item) in zip(samples["objects"], board.objects.items(), strict=True):
        assert all((run.SAMPLES / file).is_file() for file in item.files.values())
        if "after" in sample:
            assert names.index(sample["after"]) < names.index(name)
        for key in item.files:
            arrival = Arrival("landing", key, None, "e", "0", 10, 0)
            if item.expect.get("reason") == "no-route":
                with pytest.raises(NoRoute):
                    table.match(arrival)
                continue
            match = table.match(arrival)
            assert match.route == item.expect.get("route", match.route)
            if "window" in sample:
                assert matched(table, arrival).batching == InWindow(sample["window"] * 1000)


MEMBERS = (run.SAMPLES / "members.jsonl").read_bytes()
DELIVERED: dict[str, Any] = {
    "objects": [
        {"key": "whole", "file": "members.jsonl", "expect": {"event": "Batch Created"}},
        {"key": "packed", "file": "members.jsonl.gz", "expect": {"event": "Batch Created"}},
        {
            "key": "bad",
            "file": "members.jsonl",
            "expect": {"event": "Batch Created"},
            "end": "Batch Failed",
        },
    ],
    "requests": [],
}


@pytest.fixture
def delivered() -> Board:
    board = Board(DELIVERED)
    for name, item in board.objects.items():
        item.sent = 0.0
        created(board, name, name)
    return board


def ends(board: Board, name: str, kind: str, content: bytes = MEMBERS, **detail: Any) -> None:
    told = {"externalId": f"intake-{name}", "status": "as it is", **detail}
    board.see(event(kind, **told))
    files = [{"sha256": sha256(content).hexdigest()}]
    board.objects[name].held = {"files": files, "rowsIngested": 7}


def test_a_batch_is_as_expected_when_it_has_ended_so(delivered: Board) -> None:
    assert not any(item.over or item.as_expected for item in delivered.items)
    ends(delivered, "whole", "Batch Succeeded")
    ends(delivered, "packed", "Batch Succeeded")
    ends(delivered, "bad", "Batch Failed", errors=[{"code": "INGEST-1401-400"}])
    assert all(item.over and item.as_expected for item in delivered.items)
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(delivered)
    shown = console.export_text()
    assert shown.count("7 rows") == 2
    assert "INGEST-1401-400" in shown


def test_other_bytes_than_those_sent_are_not_as_expected(delivered: Board) -> None:
    ends(delivered, "whole", "Batch Succeeded", MEMBERS[:-1])
    assert delivered.objects["whole"].over
    assert not delivered.objects["whole"].as_expected


def test_another_end_is_not_as_expected(delivered: Board) -> None:
    ends(delivered, "whole", "Batch Abandoned")
    ends(delivered, "bad", "Batch Succeeded")
    assert not any(item.as_expected for item in delivered.items)


def test_a_file_that_is_lost_is_only_as_expected_where_it_is(delivered: Board) -> None:
    ends(delivered, "whole", "Batch Succeeded")
    delivered.see(of("whole", "Arrival Rejected", reason="object-gone", externalId="intake-whole"))
    assert not delivered.objects["whole"].as_expected
    delivered.objects["whole"].gone = True
    assert delivered.objects["whole"].as_expected


def test_the_end_of_a_batch_that_nobody_sent_is_a_stranger(delivered: Board) -> None:
    delivered.see(event("Batch Failed", externalId="intake-of-nobody"))
    assert len(delivered.unclaimed()) == 1
