"""A ledger that is put back to an earlier state, and everything sent again: nothing is doubled."""

from collections import Counter
from collections.abc import Callable

import pytest
from aep_intake.grouping import lists
from aep_intake.grouping.restore import restore
from aep_intake.model.errors import NeedsAttention, NotYet
from aep_intake.model.files import Arrival
from aep_intake.model.orders import LedgerIdentity
from aep_intake.model.progress import OutcomeKind, State

from local.simulator.batches import SERVED
from tests.faults.harness import (
    DAY,
    HOUR,
    MINUTE,
    SETTLE,
    SKEW,
    Copy,
    Delivering,
    Message,
    Tape,
    World,
    take,
)
from tests.faults.schedules import assert_met, tapes
from tests.faults.test_delivery_schedules import GOOD, SPLIT, arrived, rows, table
from tests.faults.test_schedules import ONE
from tests.faults.test_steps import order

ran: Counter[str] = Counter()


class Restoring(Delivering):
    """A world whose ledger is put back once, and whose files are all sent again then."""

    def begin_with(self, arrivals: dict[Arrival, bytes]) -> None:
        """These files come; trouble enough without bad files and people who meddle."""
        self.sent, self.earlier = list(arrivals), self.copied()
        for arrival, content in arrivals.items():
            self.put(arrival, content)
        self.restored = False
        self.more = (
            *[self.begin] * 2,
            *[self.upload] * 4,
            self._send_twice,
            self._drop,
            self.remember,
            self.restore,
        )

    def copied(self) -> Copy:
        ledger = self.ledger
        return Copy(ledger, ledger.windows, ledger.table, self.deliveries)

    def remember(self) -> None:
        """The point to which the ledger will be put back."""
        if not self.restored:
            self.earlier = self.copied()

    def restore(self) -> None:
        if self.restored:
            return
        self.restored = True
        known = {r.batch_id for r in self.ledger.records.values() if r.batch_id is not None}
        self.put_back(self.earlier)
        self.calm = True  # whoever sees the command fail types it again
        for window, content in list(self.ledger.windows.written.values()):
            files = lists.read(content.splitlines())
            back = restore(window, files, self.ledger.windows, map)
            ran["windows put back"] += back is not None
        self.calm = False
        now = {r.batch_id for r in self.ledger.records.values()}
        for batch in self.simulator.batches():
            if batch.id in known - now:
                ran[f"forgotten, {batch.status}"] += 1
        self.clock.advance((0, MINUTE, HOUR)[self.tape.pick(3)])
        self.queue += [Message(arrival, self.clock()) for arrival in self.sent]

    def _let_time_pass(self) -> None:
        """Within the time for which orders look first."""
        self.clock.advance((1, 5_000, 20_000, MINUTE, 6 * MINUTE, HOUR)[self.tape.pick(6)])


@tapes(300, 600)
def test_every_file_is_in_one_batch_though_the_ledger_forgot_some(tape: bytes) -> None:
    world = Restoring(Tape(tape), tables=(table(),), final=table())
    names = sorted(GOOD)
    picked = [names[world.tape.pick(len(names))] for _ in range(1 + world.tape.pick(3))]
    world.begin_with({arrived(key, GOOD[key], 1): GOOD[key] for key in dict.fromkeys(picked)})
    play(world)


WINDOWED = tuple(
    table(batch={"window": window}, inputFormat={"format": "json"}) for window in ("1m", "5m")
)


@tapes(300, 600)
def test_every_file_of_a_window_is_in_one_batch_though_the_ledger_forgot_some(tape: bytes) -> None:
    world = Restoring(Tape(tape), tables=WINDOWED, final=WINDOWED[0])
    contents = [rows(n) for n in (1, 2, 20, 30)]
    picked = [contents[world.tape.pick(4)] for _ in range(2 + world.tape.pick(4))]
    world.begin_with(
        {arrived(f"in/{n}.json", content, n): content for n, content in enumerate(picked)}
    )
    play(world)


@tapes(300, 600)
def test_every_file_of_a_batch_that_was_split_is_in_one_though_the_ledger_forgot_some(
    tape: bytes,
) -> None:
    """The halves have the same ids as before, and find their batches."""
    world = Restoring(Tape(tape), tables=SPLIT[:1], final=SPLIT[0])
    contents = [rows(n) for n in (1, 2, 20, 30)]
    picked = [contents[world.tape.pick(4)] for _ in range(2 + world.tape.pick(4))]
    bad = world.tape.pick(len(picked))
    picked[bad] += b"no json\n"
    files = [arrived(f"in/{n}.json", content, n) for n, content in enumerate(picked)]
    world.begin_with(dict(zip(files, picked, strict=True)))
    if not world.tape.pick(2):  # all was found and loaded before the ledger forgets it
        world.forward(2 * world.tape.pick(60))
        world.remember()
        world.rest()
        world.calm = False
    play(world, files[bad])
    ran["split"] += any(record.split_into for record in world.ledger.records.values())


def play(world: Restoring, bad: Arrival | None = None) -> None:
    world.forward(2 * world.tape.pick(60))
    while not world.tape.over:
        world.act()
    world.restore()
    world.settle()
    assert not world.left()
    for arrival in world.sent:
        holding = [
            batch.id
            for batch in world.simulator.batches()
            if batch.status in SERVED and any(p.startswith(arrival.path[:32]) for p in batch.files)
        ]
        if arrival == bad:
            assert not holding
            continue
        assert len(holding) == 1, f"{arrival.uri} is in {holding}"
        assert world.ledger.claimant(arrival)
    told = Counter((reason, uri) for _, uri, reason in world.lost if not bad or uri != bad.uri)
    assert not told, "named as lost, though it is there"
    ran.update(world.seen)
    ran["schedules"] += 1


# ---- Step by step


@pytest.fixture
def forgetful() -> World:
    """A ledger that was restored just now, long after it knew of an order."""
    world = World(Tape(b""))
    world.calm = True
    return world


def forget(world: World, *statuses: str, attempt: int = 1) -> list[str]:
    """Batches of an attempt that the ledger no longer knows, in these statuses; their ids."""
    platform, wanted = world.intake(0).creating.platform, order(world)
    for _ in range(attempt - 1):
        wanted = wanted.next_attempt()
    made = [platform.create(wanted).id for _ in statuses]
    for batch_id, status in zip(made, statuses, strict=True):
        world.simulator.set_status(batch_id, status)
    return made


def restored(world: World) -> None:
    """After three days; Catalog shows all that was made before."""
    world.clock.advance(3 * DAY)
    world.identity = LedgerIdentity("the ledger", world.clock(), world.clock() + DAY)
    world.clock.advance(SETTLE + SKEW)


def posts(world: World) -> int:
    return sum(received.operation == "create" for received in world.simulator.received)


@pytest.mark.parametrize(
    "status",
    [
        "loading",
        "loaded",
        "queued",
        "staging",
        "processing",
        "staged",
        "retrying",
        "stalled",
        "success",
        "active",
        "archived",
        "retained",
        "inactive",
        "failed",
        "failure",
        "deleted",
    ],
)
def test_what_the_ledger_forgot_is_the_order_s_again(forgetful: World, status: str) -> None:
    [batch_id] = forget(forgetful, status)
    restored(forgetful)
    made = posts(forgetful)
    outcome = take(ONE, forgetful.intake(0))
    assert (outcome.kind, outcome.record.batch_id) == (OutcomeKind.ADOPTED, batch_id)
    assert outcome.record.state is State.ANNOUNCED
    assert forgetful.events == [(ONE.external_id, batch_id)]
    assert posts(forgetful) == made
    [batch] = forgetful.simulator.batches()
    assert batch.status == status


def test_only_a_status_that_nobody_knows_is_left_for_a_person(forgetful: World) -> None:
    forget(forgetful, "levitating")
    restored(forgetful)
    made = posts(forgetful)
    with pytest.raises(NeedsAttention, match="levitating"):
        take(ONE, forgetful.intake(0))
    assert posts(forgetful) == made


@pytest.mark.parametrize("status", ["aborted", "abandoned"])
def test_what_ended_without_data_is_followed_by_the_next_attempt_which_looks_first_too(
    forgetful: World, status: str
) -> None:
    forget(forgetful, status)
    [second] = forget(forgetful, "success", attempt=2)
    restored(forgetful)
    made = posts(forgetful)
    outcome = take(ONE, forgetful.intake(0))
    assert outcome.record.order.external_id == f"{ONE.external_id}.2"
    assert (outcome.record.batch_id, posts(forgetful)) == (second, made)


def test_where_nothing_is_found_there_is_one_post(forgetful: World) -> None:
    forget(forgetful, "aborted")
    restored(forgetful)
    made = posts(forgetful)
    outcome = take(ONE, forgetful.intake(0))
    assert (outcome.record.order.attempt, outcome.kind) == (2, OutcomeKind.CREATED)
    assert posts(forgetful) == made + 1


@pytest.mark.parametrize(
    ("statuses", "place"),
    [
        (("aborted", "success"), 1),
        (("loading", "success"), 1),
        (("failed", "loading"), 1),
        (("failed", "staging", "loading"), 1),
        (("success", "loading", "failed"), 0),
    ],
)
def test_of_several_the_one_that_came_furthest_counts(
    forgetful: World, statuses: tuple[str, ...], place: int
) -> None:
    ids = forget(forgetful, *statuses)
    restored(forgetful)
    outcome = take(ONE, forgetful.intake(0))
    assert outcome.record.batch_id == ids[place]
    left = [b for b in forgetful.simulator.batches() if b.status == "loading"]
    assert [b.id for b in left if b.id != ids[place]] == []


def test_before_catalog_shows_what_was_made_last_nothing_is_posted(forgetful: World) -> None:
    """A worker of before the restore may have sent a POST just then."""
    forgetful.identity = LedgerIdentity("the ledger", forgetful.clock(), forgetful.clock() + DAY)
    with pytest.raises(NotYet, match="Catalog may not show"):
        take(ONE, forgetful.intake(0))
    assert posts(forgetful) == 0
    forgetful.clock.advance(SETTLE + 2 * SKEW)
    assert take(ONE, forgetful.intake(0)).kind is OutcomeKind.CREATED


def test_later_orders_do_not_look_first(forgetful: World) -> None:
    restored(forgetful)
    forgetful.clock.advance(DAY)
    assert take(ONE, forgetful.intake(0)).kind is OutcomeKind.CREATED
    asked = [r.operation for r in forgetful.simulator.received]
    assert asked.count("create") == 1
    assert "list-batches" not in asked


@pytest.mark.parametrize("more", [True, False])
def test_a_version_that_was_aborted_for_a_newer_one_is_not_sent_again(
    forgetful: World, more: bool
) -> None:
    """Unless an attempt came after it: then that counts."""
    forgetful.table = table(onNewVersion="replace", inputFormat={"format": "json"})
    [first] = forget(forgetful, "aborted")
    second = forget(forgetful, "success", attempt=2) if more else []
    restored(forgetful)
    made = posts(forgetful)
    outcome = take(ONE, forgetful.intake(0))
    assert outcome.record.batch_id == (second[0] if more else first)
    assert posts(forgetful) == made


def test_the_schedules_went_where_it_hurts(
    record_property: Callable[[str, object], None],
) -> None:
    schedules = ran.pop("schedules")
    record_property("says", f"{schedules} restores of the ledger: {dict(ran)}")
    statuses = ("loading", "loaded", "success", "active")
    assert_met(ran, schedules, 500, *(f"forgotten, {status}" for status in statuses))
    assert_met(ran, schedules, 10, "adopted")
    assert_met(ran, schedules, 50, "windows put back")
