"""Which files go together, and for how long a window waits: decided without a ledger."""

from itertools import count

from aep_intake.grouping.windows import MARKER_MESSAGE_LIFE_MS, BatchLimits, plan


def test_parts_are_filled_by_count_and_by_bytes() -> None:
    sizes = [4, 4, 4, 30, 1, 1, 1, 1, 1]
    parts = plan("w", zip(sizes, count(100)), BatchLimits(files=4, bytes=10))
    assert [(part.first, part.end, part.bytes) for part in parts] == [
        (0, 2, 8),
        (2, 3, 4),
        (3, 4, 30),
        (4, 8, 4),
        (8, 9, 1),
    ]
    # Of the list, where each file takes a byte more than the one before.
    assert [(part.offset, part.length) for part in parts] == [
        (0, 201),
        (201, 102),
        (303, 103),
        (406, 422),
        (828, 108),
    ]
    assert plan("w", [], BatchLimits()) == ()


def test_a_file_that_is_uploaded_in_pieces_is_several_to_adobe() -> None:
    sizes = [100, 250, 1, 300, 101, 300, 0, 0]
    parts = plan("w", ((size, 0) for size in sizes), BatchLimits(files=4, bytes=10**9, piece=100))
    # 1 + 3 · 1 + 3 · 2 · 3 + 1 · 1
    assert [(part.first, part.end) for part in parts] == [(0, 2), (2, 4), (4, 5), (5, 7), (7, 8)]


def test_a_marker_s_window_waits_for_as_long_as_its_message_may_come() -> None:
    """Seven days in the queue, fourteen where it is parked; half of a folder is no batch."""
    assert MARKER_MESSAGE_LIFE_MS > 21 * 86_400_000
