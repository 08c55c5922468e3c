"""Which versions a backfill brings, and how it goes on where it was stopped."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import batched, count, product
from typing import Any

import pytest
from aep_intake.arrivals.backfills import (
    DOUBT_MS,
    Backfill,
    BackfillPorts,
    Bounds,
    Left,
    Step,
    run,
)
from aep_intake.arrivals.envelopes import parse
from aep_intake.arrivals.listings import Page
from aep_intake.grouping import lists
from aep_intake.model import messages, records
from aep_intake.model.errors import LeaseLost, StorageUnavailable
from aep_intake.model.files import Archived, Arrival

DAY = 86_400_000
NOW = 1000 * DAY
CONNECTED, OLDEST = NOW - 200 * DAY, NOW - 60 * DAY
OURS = Backfill("backfill-2026-11-28-0a1b2c", "landing", "in/", NOW)
FILE = Arrival("landing", "in/one.json", "v1", "e1", None, 10, NOW - 300 * DAY)
BOUNDS = Bounds(OURS, CONNECTED, (), OLDEST, lambda file: "no" not in file.key)


def other(**changes: Any) -> Backfill:
    return replace(OURS, backfill_id="backfill-before", began=NOW - 250 * DAY, **changes)


def at(days_ago: float, **changes: Any) -> Arrival:
    return replace(FILE, time=NOW - int(days_ago * DAY), **changes)


@pytest.mark.parametrize(
    ("found", "changes", "aged"),
    [
        (at(300), {}, True),  # older than the connection
        (at(10), {}, False),  # the ledger remembers
        (at(100), {}, Left.MAYBE_LOADED),  # an event brought it, and the ledger forgot it
        (at(100), {"backfill": replace(OURS, even_if_loaded=True)}, True),
        (at(300), {"connected": None}, Left.MAYBE_LOADED),
        (at(10), {"connected": None}, False),
        # By a clock that was fast, perhaps.
        (at(300), {"connected": NOW - 300 * DAY + DOUBT_MS}, Left.MAYBE_LOADED),
        (at(300), {"connected": NOW - 300 * DAY + DOUBT_MS + 1}, True),
        (at(300), {"others": (other(ended=1),)}, Left.MAYBE_LOADED),
        (at(300), {"others": (other(reached="in/one.json"),)}, Left.MAYBE_LOADED),
        (at(300), {"others": (other(reached="in/nothing"),)}, True),  # it never came so far
        (at(300), {"others": (other(inventory="s3://i/manifest.json"),)}, Left.MAYBE_LOADED),
        (at(300), {"others": (other(ended=1, prefix="in/two"),)}, True),
        (at(300), {"others": (other(ended=1, since=NOW - 299 * DAY),)}, True),
        (at(240), {"others": (other(ended=1),)}, True),  # written after that had begun
        (at(300), {"backfill": replace(OURS, since=NOW - 299 * DAY)}, Left.EARLIER),
        (at(0), {}, Left.LATER),
        (at(300, key="in/no.json"), {}, Left.UNWANTED),
        (Archived(at(300)), {}, Left.ARCHIVED),
    ],
)
def test_what_may_be_loaded_is_left_out_unless_told(
    found: Arrival | Archived, changes: dict[str, Any], aged: bool | Left
) -> None:
    fate = replace(BOUNDS, **changes).fate(found)
    if isinstance(aged, Left):
        assert fate is aged
    else:
        assert isinstance(fate, Arrival)
        assert (fate.brought_by, fate.aged) == (OURS.backfill_id, aged)


def test_a_message_says_which_backfill_brings_a_file() -> None:
    for file in (replace(FILE, brought_by=OURS.backfill_id, aged=True), FILE):
        [arrival] = parse(messages.of_arrival(file)).arrivals
        assert (arrival, arrival.brought_by, arrival.aged) == (file, file.brought_by, file.aged)
    [said] = parse(messages.of_arrival(replace(FILE, brought_by="nobody"))).malformed
    assert "broughtBy" in said


def test_a_backfill_is_kept_as_it_is() -> None:
    assert records.read(Backfill, records.text(OURS)) == OURS


def test_what_came_by_an_event_is_newer_than_what_a_backfill_brings() -> None:
    """Also in one window, where an event of an older time may be late."""
    brought = replace(FILE, brought_by=OURS.backfill_id, time=NOW)
    earlier = replace(brought, version_id="v0", time=NOW - 1)
    event = replace(FILE, version_id="v2", sequencer="00", time=NOW - 2)
    [seen] = lists.versions(lists.in_lines([brought, event, earlier]))
    assert seen.newest == event
    assert earlier.position < brought.position < event.position
    [(kept, _)] = lists.read(lists.in_lines([replace(brought, aged=True)]))
    assert (kept.brought_by, kept.aged) == (brought.brought_by, True)


class Stopped(Exception):
    """The operator did it, or a crash."""


class World:
    """A bucket, a queue, and a ledger of one backfill, which is stopped before one call."""

    def __init__(self, objects: int, *, stop: int) -> None:
        self.files = [
            replace(FILE, key=f"in/{number:03}", size=number) for number in range(objects)
        ]
        self.sent: list[Arrival] = []
        self.is_full = False
        self.kept = OURS
        self._calls, self._stop = count(), stop

    def go_on(self, after: int = 0) -> list[Step]:
        """To the end, so much later."""
        now = NOW + after
        ports = BackfillPorts(
            self, self.pages, self.send, self.has_room, lambda _: None, lambda: now
        )
        return list(run(replace(BOUNDS, backfill=self.kept, oldest=OLDEST + after), ports))

    def pages(self, after: str) -> Iterator[Page]:
        left = [file for file in self.files if file.key > after]
        return (Page(some, some[-1].key) for some in batched(left, 3, strict=False))

    def send(self, files: list[Arrival]) -> None:
        self._call()
        self.sent += files
        self._call()

    def has_room(self) -> bool:
        self._call()
        self.is_full = not self.is_full and bool(self.sent)
        return not self.is_full

    def replace(self, old: Backfill, new: Backfill) -> Backfill:
        self._call()
        if self.kept.revision != old.revision:
            raise LeaseLost("another one")
        self.kept = new
        self._call()
        return new

    def _call(self) -> None:
        if next(self._calls) == self._stop:
            raise Stopped


def test_stopped_anywhere_it_goes_on_and_leaves_nothing_out() -> None:
    for stop in range(40):
        world = World(8, stop=stop)
        try:
            world.go_on()
        except Stopped:
            world.go_on()
        assert {file.key for file in world.sent} == {file.key for file in world.files}
        assert world.kept.ended == NOW
        assert (world.kept.listed, world.kept.sent, world.kept.sent_bytes) == (8, 8, 28)


def test_a_page_that_the_ledger_may_have_forgotten_is_named_and_not_sent_twice() -> None:
    """It was killed between a page and its cursor, and rested for longer than claims live."""
    named = 0
    for stop, later in product(range(40), (DAY, 61 * DAY)):
        world = World(8, stop=stop)
        try:
            world.go_on()
        except Stopped:
            rested = world.go_on(later)
            left = {file.key for step in rested for file, why in step.left}
            sent = [file.key for file in world.sent]
            assert left | set(sent) == {file.key for file in world.files}
            if later > 60 * DAY:
                assert len(sent) == len(set(sent))
                named += len(left)
            else:
                assert left == set(), "its claims let one count"
    assert named > 3


def test_another_backfill_knows_what_may_have_been_sent() -> None:
    world = World(8, stop=5)
    with pytest.raises(Stopped):
        world.go_on()
    assert (world.kept.reached, len(world.sent)) == ("", 3)
    began = replace(world.kept, backfill_id="before", began=NOW - 250 * DAY)
    fates = [replace(BOUNDS, others=(began,)).fate(file) for file in world.files]
    assert [isinstance(fate, Arrival) for fate in fates] == [False] * 3 + [True] * 5


def test_it_waits_while_the_functions_are_behind() -> None:
    world = World(6, stop=-1)
    assert [step.waits for step in world.go_on()] == [False, True, False, False]


def test_only_one_command_at_a_time_goes_on_with_it() -> None:
    world = World(6, stop=-1)
    steps = run(
        replace(BOUNDS, backfill=world.kept),
        BackfillPorts(world, world.pages, world.send, lambda: True, lambda _: None, lambda: 7),
    )
    next(steps)
    world.kept = replace(world.kept, revision=9)
    with pytest.raises(LeaseLost):
        list(steps)


def test_what_is_not_sent_is_not_passed() -> None:
    world = World(6, stop=-1)

    def fails(_: list[Arrival]) -> None:
        raise StorageUnavailable("SQS is gone")

    ports = BackfillPorts(world, world.pages, fails, lambda: True, lambda _: None, lambda: 7)
    with pytest.raises(StorageUnavailable):
        list(run(replace(BOUNDS, backfill=world.kept), ports))
    assert (world.kept.reached, world.kept.sent) == ("", 0)


def test_a_page_that_is_stopped_twice_is_as_old_as_its_first_try() -> None:
    """Else its claims might be forgotten, and it would be sent as if it were new."""
    begun = Backfill("backfill-1", "landing", "", 0, NOW)
    first = begun.before(Page((), "c"), NOW)
    again = first.before(Page((), "b"), NOW + 50 * DAY)  # the listing has changed meanwhile
    assert (again.sending, again.sending_at) == ("c", NOW)
    assert again.unsure(NOW + DAY) == "c"
    there = again.after(Page((), "b"), (), 0).before(Page((), "c"), NOW + 51 * DAY)
    assert there.sending_at == NOW
    done = there.after(Page((), "c"), (), 0)
    assert done.unsure(NOW + DAY) == ""
    assert done.before(Page((), "d"), NOW + 52 * DAY).sending_at == NOW + 52 * DAY
