"""Rows that Profile drops silently are found, however they lie among others."""

import json
from typing import Any

import pytest
from aep_intake.content.oversized import EVENT_BYTES_MAX, RECORD_BYTES_MAX, oversized
from hypothesis import given
from hypothesis import strategies as st


def row(size: int, **members: Any) -> bytes:
    """A row of so many bytes."""
    text = json.dumps(members | {"x": ""})
    return json.dumps(members | {"x": "x" * (size - len(text))}).encode()


EVENT = {"_id": "1", "timestamp": "2026-11-28T12:00:00Z"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (row(EVENT_BYTES_MAX, **EVENT), False),
        (row(EVENT_BYTES_MAX + 1, **EVENT), True),
        (row(EVENT_BYTES_MAX + 1), False),
        (row(RECORD_BYTES_MAX), False),
        (row(RECORD_BYTES_MAX + 1), True),
        (row(50_000, a={"timestamp": 1}), False),  # of something in a record
        (b"x" * 50_000, False),  # no JSON: others tell
        (b"x" * 200_000, True),
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_an_event_has_a_timestamp_and_a_record_has_none(
    text: bytes, found: bool, end: bytes
) -> None:
    assert [each.size for each in oversized(text + end)] == ([len(text)] if found else [])


@given(
    st.lists(
        st.sampled_from([b"", b" ", b"{}", *[row(n, **EVENT) for n in (9_000, 10_001, 30_000)]])
    )
)
def test_they_are_counted_among_rows_as_a_slow_reader_counts(lines: list[bytes]) -> None:
    rows = [line for line in lines if line.strip()]
    expected = [(n, len(line)) for n, line in enumerate(rows) if len(line) > EVENT_BYTES_MAX]
    text = b"".join(line + b"\n" for line in lines)
    assert [(each.row, each.size) for each in oversized(text)] == expected
