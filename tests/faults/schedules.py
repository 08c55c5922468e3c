"""Which schedules are tried, how many of each test, and how the simplest that fails is found.

A schedule is a tape of bytes. Of bytes that mean nothing by themselves Hypothesis makes no more
than `random` does, and takes a tenth of the time in which a schedule is played.
"""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

import pytest

from tests.examples import examples

# Of each test, as many as `make test` tries; of another number in all, it gets as large a part.
SHARES = {
    "test_every_arrival_ends_in_one_batch_or_a_named_state": 3500,
    "test_every_arrival_of_a_window_is_in_one_part_of_it": 3200,
    "test_a_copy_onto_itself_is_told_or_has_a_batch_like_any_version": 800,
    "test_of_all_versions_the_newest_alone_is_there": 1300,
    "test_where_only_the_first_counts_there_is_one": 1300,
    "test_a_marker_s_files_are_in_one_part_of_its_window": 1300,
    "test_a_marker_that_comes_again_replaces_its_folder_s_batch": 1300,
    "test_what_failed_is_redriven_unless_it_was_overtaken": 240,
    "test_every_file_is_ingested_once_or_named": 600,
    "test_of_versions_that_replace_each_other_one_is_served": 600,
    "test_every_file_of_a_window_is_ingested_once_or_named": 300,
    "test_every_file_that_shares_an_upload_is_ingested_once_or_named": 300,
    "test_every_file_of_a_batch_that_is_split_is_ingested_once_or_named": 100,
    "test_every_row_of_a_mapped_file_is_ingested_once": 50,
    "test_every_file_is_in_one_batch_though_the_ledger_forgot_some": 600,
    "test_every_file_of_a_window_is_in_one_batch_though_the_ledger_forgot_some": 600,
    "test_every_file_of_a_batch_that_was_split_is_in_one_though_the_ledger_forgot_some": 100,
    "test_each_object_has_one_batch_whoever_stops_a_backfill": 240,
    "test_what_came_by_an_event_replaces_what_a_backfill_brings_and_not_the_other_way": 240,
    "test_whatever_event_is_lost_each_present_version_has_one_batch": 240,
    "test_each_version_with_a_ready_file_of_its_own_is_loaded_once": 240,
    "test_a_copy_that_has_a_ready_file_and_its_original_are_loaded_once": 200,
    "test_files_that_come_within_the_grace_of_a_marker_are_in_its_batch": 240,
    "test_each_file_of_a_folder_is_in_one_batch_once_that_is_quiet": 240,
    "test_what_is_parked_is_there_until_it_got_in_or_nobody_wants_it": 220,
    "test_what_was_paused_has_one_batch_in_the_end": 110,
    "test_every_file_is_in_one_batch_though_the_ledger_forgot_pauses": 40,
}
IN_ALL = sum(SHARES.values())
# `make soak` goes exploring; else they are the same every time, so that a red build means a change.
EXPLORING = "SCHEDULES" in os.environ
WANTED = int(os.environ.get("SCHEDULES", examples(IN_ALL)))
ENOUGH = 20

type Test = Callable[[bytes], None]
type Record = Callable[[str, object], None]


def tapes(least: int, most: int, *known: str) -> Callable[[Test], Callable[[Record], None]]:
    """A test that plays its share of schedules, with tapes of `least` to `most` bytes.

    `known`: tapes, as `written` writes them, that failed before; each is played, too.
    """

    def played(test: Test) -> Callable[[Record], None]:
        name = test.__name__
        number = max(1, WANTED * SHARES[name] // IN_ALL)

        def play_its_share(record_property: Record) -> None:
            count = 0
            for tape in (*map(taped, known), *drawn(name, number, least, most)):
                count += 1
                if error := _failure(test, tape):
                    raise _simplest(test, tape, error)
            record_property("schedules", count)

        play_its_share.__name__, play_its_share.__doc__ = name, test.__doc__
        return play_its_share

    return played


def drawn(name: str, number: int, least: int, most: int) -> Iterator[bytes]:
    """So many tapes of three lengths; those of a test are the same ones, unless it is exploring."""
    chance = random.Random(None if EXPLORING else name)
    lengths = (least, (least + most) // 2, most)
    yield bytes(least)
    for count in range(1, number):
        yield chance.randbytes(lengths[count % 3])


def _failure(test: Test, tape: bytes) -> BaseException | None:
    try:
        test(tape)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever a test finds
        return error
    return None


def _simplest(test: Test, tape: bytes, error: BaseException) -> BaseException:
    """The error of a tape that fails in the same place, in which little is left that is not 0."""
    before = b""
    while tape != before:
        before, size = tape, len(tape)
        while size := size // 2:
            for start in range(0, len(tape), size):
                left, some, right = tape[:start], tape[start : start + size], tape[start + size :]
                for simpler in (left + right, left + bytes(len(some)) + right):
                    found = None if simpler == tape else _failure(test, simpler)
                    if found is not None and _place(found) == _place(error):
                        tape, error = simpler, found
                        break
    error.add_note(f'The tape: "{written(tape)}"')
    return error


def _place(error: BaseException) -> tuple[type[BaseException], str, int]:
    """Where it was raised."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno


def taped(text: str) -> bytes:
    """A tape as a failing run is written down: bytes in hex, `00*3` is three of them."""
    runs = (run.partition("*") for run in text.split())
    return b"".join(bytes.fromhex(byte) * int(times or 1) for byte, _, times in runs)


def written(tape: bytes) -> str:
    """A tape as `taped` reads it."""
    runs = ((byte, len(list(same))) for byte, same in groupby(tape))
    return " ".join(f"{byte:02x}" + (f"*{times}" if times > 1 else "") for byte, times in runs)


def assert_met(ran: Mapping[str, int], schedules: int, one_in: int, *what: str) -> None:
    """More than one schedule in so many met each of these.

    Of those that `make test` plays, that is sure; a few of them, or random ones, prove nothing.
    """
    same = not EXPLORING and WANTED == IN_ALL
    if same or schedules >= ENOUGH * one_in:
        missed = [each for each in what if ran[each] * one_in <= schedules]
        assert not missed, f"too few schedules met {missed}"
