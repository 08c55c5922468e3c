"""How schedules are drawn, and what is told of one that fails."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import schedules
from tests.faults.harness import Tape
from tests.faults.schedules import SHARES, drawn, taped, tapes, written


@given(st.binary(min_size=0, max_size=3))
def test_a_tape_that_is_over_is_all_zeros(tape: bytes) -> None:
    world = Tape(tape)
    for byte in tape:
        assert world.pick(256) == byte
        assert not world.over
    assert world.pick(7) == 0
    assert world.over


@given(st.binary())
def test_a_tape_is_read_as_it_was_written(tape: bytes) -> None:
    assert taped(written(tape)) == tape


def test_of_a_schedule_that_fails_the_simplest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHARES, "fails", 1000)
    monkeypatch.setattr(schedules, "WANTED", 10**5)
    monkeypatch.setattr(schedules, "EXPLORING", False)

    @tapes(200, 400)
    def fails(tape: bytes) -> None:
        assert 7 not in tape[9:] or tape.count(200) < 2

    with pytest.raises(AssertionError) as caught:
        fails(lambda *_: None)
    [note] = caught.value.__notes__
    assert sorted(taped(note.removeprefix('The tape: "')[:-1])) == [*[0] * 7, 7, 200, 200]


def test_what_pytest_finds_wrong_is_told_with_its_tape_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no Exception of Python's."""
    monkeypatch.setitem(SHARES, "fails", 1000)

    @tapes(2, 4)
    def fails(tape: bytes) -> None:
        with pytest.raises(ZeroDivisionError):
            assert tape is not None

    with pytest.raises(pytest.fail.Exception) as caught:
        fails(lambda *_: None)
    assert caught.value.__notes__ == ['The tape: "00"']


def test_tapes_are_the_same_every_time_unless_one_goes_exploring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedules, "EXPLORING", False)
    some, again, others = (list(drawn(name, 9, 20, 40)) for name in ("a", "a", "b"))
    assert some == again != others
    assert [len(tape) for tape in some] == [20, 30, 40] * 3
    monkeypatch.setattr(schedules, "EXPLORING", True)
    assert list(drawn("a", 9, 20, 40)) != some


def test_each_share_is_that_of_a_test() -> None:
    files = Path(__file__).parent.glob("test_*.py")
    there = "".join(file.read_text() for file in files)
    assert set(SHARES) == set(re.findall(r"@tapes\([^)]*\)\ndef (test_\w+)", there))
