"""Which files go together, and for how long a window waits: decided without a ledger."""

from itertools import count

from aep_intake.delivery.pieces import pieces_and_runs
from aep_intake.grouping.windows import BatchLimits, plan
from aep_intake.model.files import Arrival
from aep_intake.model.sharing import Sharing
from aep_intake.model.windows import MARKER_MESSAGE_LIFE_MS
from hypothesis import given
from hypothesis import strategies as st


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


SHARING = Sharing(files=3, bytes=100, file_bytes=40)


@given(st.lists(st.integers(1, 99), max_size=40), st.integers(1, 5), st.integers(1, 12))
def test_small_files_that_share_an_upload_are_one_to_adobe(
    sizes: list[int], most: int, listed: int
) -> None:
    """As many as the delivery of the part will make of them; and no file more fits into a part."""
    limits = BatchLimits(files=most, bytes=10**9, piece=100, listed=listed)
    parts = plan("w", ((size, 0) for size in sizes), limits, SHARING)
    assert [part.first for part in parts] == [0, *(part.end for part in parts)][: len(parts)]

    def uploads(first: int, end: int) -> int:
        files = [Arrival("b", "k", "v", "e", "00", size, 1) for size in sizes[first:end]]
        return len(list(pieces_and_runs(files, {}, SHARING)))

    for part in parts:
        assert uploads(part.first, part.end) <= most
        assert part.end - part.first <= listed
        if part.end < len(sizes):
            more = uploads(part.first, part.end + 1) > most
            assert more or part.end - part.first == listed


def test_what_others_upload_shares_nothing() -> None:
    parts = plan("w", ((1, 0) for _ in range(9)), BatchLimits(files=4))
    assert [(part.first, part.end) for part in parts] == [(0, 4), (4, 8), (8, 9)]


def test_a_marker_s_window_waits_for_as_long_as_its_message_may_come() -> None:
    """Seven days in the queue, fourteen where it is parked; half of a folder is no batch."""
    assert MARKER_MESSAGE_LIFE_MS > 21 * 86_400_000
