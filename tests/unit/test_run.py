"""The board of `make run`: what counts as expected, and what does not."""

import io
from typing import Any

import pytest
from rich.console import Console

from local.run import Board, shown

SAMPLES: dict[str, Any] = {
    "objects": [
        {"key": "a", "expect": {"event": "Batch Created", "route": "r", "sandbox": "prod"}},
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
