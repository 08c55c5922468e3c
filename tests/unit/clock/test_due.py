"""What is due is handed out: by class, the oldest first, with a lease, up to a cap."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from aep_intake.clock.due import (
    BACKLOG_MAX,
    LEASE_MS,
    MESSAGES_PER_CALL,
    Due,
    DueKind,
    DuePorts,
    enqueue_due,
    errand,
    fair,
    read,
)
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import LeaseLost, LedgerUnavailable, StorageUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.progress import Record

from tests.faults.harness import DAY, MINUTE, START, Tape, take
from tests.faults.harness import World as Intaking
from tests.faults.test_again import table
from tests.memory_ledger import MemoryLedger

NOW = 1_790_000_000_000
TARGET = Target("arn:a", "O@AdobeOrg", "prod", "d")
MADE = Batch("b", "loading", 0, None, (), {}, {})


@dataclass
class World:
    """A ledger, a queue for each class, and a clock."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    queues: dict[DueKind, list[str]] = field(default_factory=lambda: {kind: [] for kind in DueKind})
    now: int = NOW
    asked: list[int] = field(default_factory=list)

    def order(self, name: str, due: int = NOW, credential: str = TARGET.credential) -> Record:
        """Something is due."""
        file = Arrival("landing", name, "v", "etag", "01", 1, NOW)
        target = replace(TARGET, credential=credential)
        return self.ledger.open(Record.waiting(Order(name, target, {}, (file,)), due))

    def due(self, kind: DueKind, now: int, limit: int) -> list[Due]:
        self.asked.append(limit)
        return self.ledger.due(kind, now, limit)

    def lease(self, due: Due, until: int) -> int | None:
        return self.ledger.lease(due, until)

    def tick(
        self, kind: DueKind = DueKind.ORDERS, send: Callable[..., None] | None = None
    ) -> list[int]:
        return enqueue_due(
            kind,
            DuePorts(
                ledger=self,
                backlog=lambda kind: len(self.queues[kind]),
                send=send or (lambda kind, names: self.queues[kind].extend(names)),
                now=lambda: self.now,
                side_by_side=map,
            ),
        )


@pytest.fixture
def world() -> World:
    return World()


def test_the_oldest_is_handed_out_first_and_what_is_not_due_is_not(world: World) -> None:
    for name, due in {"b": 2, "later": 9, "a": 1, "c": 3}.items():
        world.order(name, NOW + due)
    world.now = NOW + 3
    assert world.tick() == [NOW + 1, NOW + 2, NOW + 3]
    assert world.queues[DueKind.ORDERS] == ["a", "b", "c"]
    assert not any(world.queues[kind] for kind in set(DueKind) - {DueKind.ORDERS})


def test_what_was_handed_out_comes_again_when_its_lease_is_over(world: World) -> None:
    """Its message may be lost; since when it is due is known all the same."""
    world.order("a")
    world.tick()
    world.now += LEASE_MS - 1
    assert world.tick() == []
    world.now += 1
    assert world.tick() == [NOW]
    assert world.queues[DueKind.ORDERS] == ["a", "a"]


def test_what_somebody_went_on_with_is_due_when_he_says(world: World) -> None:
    record = world.order("a")
    world.tick()
    world.ledger.replace(record, record.given_back(NOW + 1000))
    world.now += 999
    assert world.tick() == []
    world.now += 1
    assert world.tick() == [NOW + 1000]


def test_a_killed_tick_delays_what_it_had_leased_by_a_lease(world: World) -> None:
    world.order("a")

    def killed(kind: DueKind, names: list[str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.tick(send=killed)
    world.now += LEASE_MS
    assert world.tick() == [NOW]
    assert world.queues[DueKind.ORDERS] == ["a"]


def test_where_the_queue_takes_nothing_the_tick_says_so(world: World) -> None:
    for number in range(MESSAGES_PER_CALL + 1):
        world.order(f"{number:03}", NOW + number)
    world.now += MESSAGES_PER_CALL + 1

    def refused(kind: DueKind, names: list[str]) -> None:
        raise StorageUnavailable("SQS did not take it")

    with pytest.raises(StorageUnavailable):
        world.tick(send=refused)
    # Only the first ten were leased.
    assert world.tick() == [NOW + MESSAGES_PER_CALL]


def test_who_is_faster_leases(world: World) -> None:
    """Two ticks at once: what the other one has leased is not sent again."""
    world.order("a")
    world.order("b", NOW - 1)

    def due(kind: DueKind, now: int, limit: int) -> list[Due]:
        found = world.ledger.due(kind, now, limit)
        assert world.ledger.lease(Due(kind, "a", NOW), NOW + LEASE_MS) == NOW
        return found

    world.due = due  # type: ignore[method-assign]
    assert world.tick() == [NOW - 1]
    assert world.queues[DueKind.ORDERS] == ["b"]


def test_what_was_finished_meanwhile_is_not_handed_out(world: World) -> None:
    record = world.order("a")
    [due] = world.ledger.due(DueKind.ORDERS, NOW, 9)
    world.ledger.replace(record, replace(record, due=None, revision=2))
    assert world.ledger.lease(due, NOW + LEASE_MS) is None
    with pytest.raises(LeaseLost):
        world.ledger.replace(record, record.given_back(NOW))


def test_no_more_is_handed_out_than_there_is_room_for(world: World) -> None:
    """Of what is due, never more is read than can be handed out, however much that is."""
    for number in range(BACKLOG_MAX + 50):
        world.order(f"{number:05}", NOW + number)
    world.now += BACKLOG_MAX + 50
    assert len(world.tick()) == BACKLOG_MAX
    assert world.queues[DueKind.ORDERS] == [f"{number:05}" for number in range(BACKLOG_MAX)]
    assert len(world.tick()) == 50  # they are told of, and wait
    assert len(world.queues[DueKind.ORDERS]) == BACKLOG_MAX
    del world.queues[DueKind.ORDERS][:20]
    world.tick()
    assert world.queues[DueKind.ORDERS][-20:] == [
        f"{BACKLOG_MAX + number:05}" for number in range(20)
    ]
    assert set(world.asked) == {BACKLOG_MAX}


def test_a_class_waits_for_no_other(world: World) -> None:
    world.queues[DueKind.WINDOWS] = ["w"] * BACKLOG_MAX
    world.order("a")
    assert world.tick() == [NOW]
    assert world.queues[DueKind.ORDERS] == ["a"]


def test_a_ledger_that_does_not_answer_is_said_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise LedgerUnavailable("the ledger did not answer")

    world.order("a")
    monkeypatch.setattr(world.ledger, "lease", silent)
    with pytest.raises(LedgerUnavailable):
        world.tick()
    assert world.queues[DueKind.ORDERS] == []


@pytest.mark.parametrize("kind", DueKind)
def test_a_message_tells_the_class_and_the_id(kind: DueKind) -> None:
    body = json.dumps(errand(kind, "window-dressing.7"))
    assert read(body) == (kind, "window-dressing.7")


@pytest.mark.parametrize(
    ("name", "kind", "known_as"),
    [
        ("intake-0a.2", DueKind.ORDERS, "intake-0a.2"),
        ("a-caller-s", DueKind.ORDERS, "a-caller-s"),
        ("window-0a", DueKind.WINDOWS, "window-0a"),
        ("folder-0a", DueKind.FOLDERS, "folder-0a"),
        ("delivery-intake-0a", DueKind.DELIVERIES, "intake-0a"),
    ],
)
def test_messages_of_the_release_before_are_read(name: str, kind: DueKind, known_as: str) -> None:
    assert read(json.dumps({"externalId": name})) == (kind, known_as)


def test_20000_due_orders_of_a_broken_organization_delay_no_other_s(world: World) -> None:
    """Each tick writes as much as it hands out, and a healthy order is in the next one."""
    for number in range(20_000):
        world.order(f"{number:05}", NOW - DAY + number)
    written = 0
    lease = world.ledger.lease

    def counting(due: Due, until: int) -> int | None:
        nonlocal written
        written += 1
        return lease(due, until)

    world.ledger.lease = counting  # type: ignore[method-assign]
    for minute in range(5):
        for n in range(3):
            world.order(f"healthy {minute} {n}", world.now, credential="arn:b")
        world.tick()
        handed_out, world.queues[DueKind.ORDERS][:] = list(world.queues[DueKind.ORDERS]), []
        assert {name for name in handed_out if name.startswith("healthy")} == {
            f"healthy {minute} {n}" for n in range(3)
        }
        assert len(handed_out) == written == BACKLOG_MAX
        written, world.now = 0, world.now + MINUTE
        for name in handed_out:  # those of the broken one are tried in vain
            record = world.ledger.records[name]
            broken = record.order.target == TARGET
            done = record.given_back(world.now) if broken else record.created(MADE).announced()
            world.ledger.replace(record, done)


def test_lanes_take_turns_and_what_one_leaves_the_others_have() -> None:
    one = [Due(DueKind.ORDERS, f"a{n}", 10 + n) for n in (3, 1, 2)]
    other = [Due(DueKind.ORDERS, "b", 99)]
    assert [due.id for due in fair([one, other, []], 9)] == ["a1", "b", "a2", "a3"]
    assert [due.id for due in fair([one, other], 2)] == ["a1", "b"]
    assert fair([], 9) == []


def test_20000_due_orders_of_a_broken_organization_delay_no_window() -> None:
    """Not even if nobody works them off: its batch is announced within two ticks of its end."""
    world = Intaking(Tape(b""), calm=True)
    for number in range(20_000):
        file = Arrival("landing", f"broken/{number}", "v", "etag", "01", 1, START)
        order = Order(file.external_id, TARGET, {}, (file,))
        world.ledger.open(Record.waiting(order, START - DAY + number))
    world.table = table(batch={"window": "1m"})
    file = Arrival("landing", "in/healthy.json", "v", "etag", "01", 1, world.clock())
    joined = take(file, world.intake(0))
    ended = joined.closes
    orders = list[str]()  # in their queue
    world.clock.advance(ended - world.clock() - 1)  # a tick has just looked when it ends
    while not world.events and world.clock() < ended + 2 * MINUTE:
        worker = world._begin(world._hand_out_what_is_due)
        worker.finish()
        orders += [errand.what[1] for errand in world.due_queue if errand.what[0] is DueKind.ORDERS]
        world.due_queue[:] = [e for e in world.due_queue if e.what[0] is not DueKind.ORDERS]
        for _ in range(2):  # the window, and then the orders that it opened, in the same queue
            world.deliver_due()
            while world.workers:
                world.workers[0].finish()
        world.clock.advance(MINUTE)
    assert [batch_id is not None for _, batch_id in world.events] == [True]
    assert orders[:BACKLOG_MAX] == [
        record.order.external_id for record in list(world.ledger.records.values())[:BACKLOG_MAX]
    ]
