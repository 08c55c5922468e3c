"""Whatever dies while something is parked, redriven or discarded: nothing is lost, nothing doubled.

Each parked message has an item of the ledger until what it is about got in, or was discarded; and a
message in the dead-letter queue is deleted once its item has ended.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest.mock import patch

from aep_intake.arrivals import envelopes
from aep_intake.arrivals.finish import Finishing
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.redrive import redrive
from aep_intake.arrivals.results import Result, Skipped
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock import retries
from aep_intake.clock.parking import Parked, Parking
from aep_intake.clock.retries import Message
from aep_intake.model import messages
from aep_intake.model.errors import LedgerUnavailable, StorageUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.history import NOBODY
from aep_intake.model.messages import AS_USUAL
from aep_intake.model.orders import WINDOW_PREFIX, Order
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import Rejection, State
from aep_intake_cli import dead_letters, parked
from aep_intake_cli.choice import Choice
from aep_intake_cli.discarding import Marks
from aep_intake_cli.parked import AllParked

from tests.faults.harness import (
    HOUR,
    RETENTION,
    SECOND,
    START,
    TABLES,
    VISIBILITY,
    WINDOWS,
    Errand,
    Tape,
    World,
    _Calls,
    _Queue,
    part_of,
)
from tests.faults.schedules import assert_met, tapes
from tests.faults.test_schedules import ONE, TWO
from tests.memory_ledger import MemoryParked

ran: Counter[str] = Counter()
UNMATCHED = TABLES[3]


class Letter(Errand[str]):
    """A message of the arrivals queue, by its body."""

    def received(self) -> Message:
        return replace(super().received(), body=self.what)


@dataclass
class _ParkingQueue(_Queue):
    """The arrivals queue, of which on_arrival parks what it gives up."""

    give_up: Callable[[Message, Rejection], None] = field(kw_only=True)

    def park(self, message: Message, why: Rejection) -> None:
        self.give_up(message, why)


class Sqs:
    """SQS as the operator's command has it. Each call may fail, before or after its effect."""

    def __init__(self, world: "ParkingWorld") -> None:
        self._world = world

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            fate = self._world.wait(3)
            if fate == 1:
                raise StorageUnavailable("did not arrive")
            answer = getattr(self, f"_{name}")(**arguments)
            self._world.wait(1)
            if fate == 2:
                raise StorageUnavailable("did not answer")
            return answer

        return call

    def _send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        for entry in Entries:
            redriven = {"redriven": 1} if "redriven" in entry["MessageAttributes"] else {}
            letter = Letter(entry["MessageBody"], self._world.clock(), carried=redriven)
            self._world.letters.append(letter)
        self._world.seen["redriven"] += len(Entries)
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def _get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self._world.dead))}}

    def _receive_message(self, **_: Any) -> Any:
        now = self._world.clock()
        there = [one for one in self._world.dead.values() if one["visible"] <= now][:10]
        for one in there:
            one["visible"] = now + dead_letters.VISIBILITY_SECONDS * SECOND
        return {"Messages": there}

    def _delete_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        for entry in Entries:
            self._world.dead.pop(entry["ReceiptHandle"], None)
        return {}

    def _change_message_visibility_batch(self, QueueUrl: str, Entries: list[Any]) -> None:
        for entry in Entries:
            if entry["ReceiptHandle"] in self._world.dead:
                self._world.dead[entry["ReceiptHandle"]]["visible"] = self._world.clock()


@dataclass
class ParkingWorld(World):
    """The world with the dead-letter queue as it is, and the operator's command as a worker."""

    letters: list[Letter] = field(default_factory=list)
    dead: dict[str, dict[str, Any]] = field(default_factory=dict)  # by receipt handle
    items: MemoryParked = field(default_factory=MemoryParked)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parking = Parking(self._items(), self._dead_letter)
        self.more = (self.redrive, self.redrive)

    def _items(self) -> Any:
        return _Calls(self, self.items, LedgerUnavailable)

    def _dead_letter(self, url: str, parked: Parked, /, *, has_item: bool) -> None:
        fate = self.wait(3)
        if fate == 1:
            raise StorageUnavailable("the queue did not take it")
        assert has_item
        name = str(self.seen["parked"])
        self.seen["parked"] += 1
        self.dead[name] = {
            "MessageId": name,
            "ReceiptHandle": name,
            "Body": parked.body,
            "Attributes": {"SentTimestamp": str(self.clock())},
            "MessageAttributes": {
                "reason": {"StringValue": parked.why.reason},
                "item": {"StringValue": parked.id},
            },
            "visible": self.clock(),
        }
        self.wait(1)
        if fate == 2:
            raise StorageUnavailable("the queue did not answer")

    def _park(self, order: Order, rejection: Rejection) -> None:
        self.parking.order("dead", order, rejection)

    def _send_arrival(self, arrival: Arrival) -> None:
        self.letters.append(Letter(messages.of_arrival(arrival), self.clock()))

    def deliver(self) -> None:
        """As on_arrival gets what is visible."""
        visible = [letter for letter in self.letters if letter.visible <= self.clock()]
        some = visible[: 1 + self.tape.pick(4)]
        for letter in some:
            letter.visible = self.clock() + VISIBILITY
            letter.receives += 1
        if some:
            self._start(partial(self._on_arrival, some))

    def _on_arrival(self, some: list[Letter], intake: IntakePorts) -> dict[str, Result]:
        received = {letter.received(): letter for letter in some}
        early = retries.early(received, intake.creating.now())
        contents = {m: envelopes.parse(m.body) for m in received if m not in early}
        finishing = Finishing(
            lambda: self.parking,
            "dead",
            intake.announcer,
            intake.creating.now,
            lambda *_: None,
            intake.ledger.note_retrying,
            intake.ledger.reject,
        )
        tokens = {m: caught(finishing.token, m, content) for m, content in contents.items()}
        wanted = {a.external_id: a for content in contents.values() for a in content.arrivals}
        redriven = frozenset(
            a.external_id for m, content in contents.items() if m.redriven for a in content.arrivals
        )
        results = take_in(wanted, intake, map, redriven)
        for order in {c.order for c in contents.values() if c.order}:
            results[order] = caught(redrive, order, intake)
        self.ignored |= {name for name, one in results.items() if isinstance(one, Skipped)}
        failed = finishing.finish(contents, results, tokens)
        by_id = {message.message_id: letter for message, letter in received.items()}
        give_up = partial(finishing.give_up, contents, results, failed)
        queue = _ParkingQueue(self, self.letters, [], by_id, give_up=give_up)
        self.put_off(queue, failed, early, intake.creating.now())
        return results

    def _deliver_twice(self) -> None:
        if self.letters:
            again = self.letters[self.tape.pick(len(self.letters))]
            self.letters.insert(0, replace(again, visible=self.clock()))

    def _command(self) -> AllParked:
        sqs: Any = Sqs(self)
        return AllParked(sqs, self._items(), {"arrivals": ("dead", "own")}, lambda _: ())

    def redrive(self) -> None:
        """An operator redrives all, with the real command; it may be killed anywhere."""
        if not self.calm and self.tape.pick(2):
            self.discard()
            return

        def run(_: IntakePorts) -> dict[str, Result]:
            list(self._command().redrive(Choice(), AS_USUAL))
            return {}

        self._start(run)

    def discard(self) -> None:
        """An operator discards one thing, with the real command."""
        known = sorted({one.external_id for one, _ in self.items.items.values()})
        if not known:
            return
        choice = Choice(external_ids=frozenset({known[self.tape.pick(len(known))]}))

        def run(intake: IntakePorts) -> dict[str, Result]:
            ledger: Any = intake.ledger
            marks = Marks(ledger, lambda _: False, "by somebody: a test")
            for _ in self._command().discard(choice, marks.mark, 0):
                self.seen["discarded"] += 1
            return {}

        worker = self._start(run)
        if self.tape.pick(2) and worker in self.workers:
            worker.finish()

    def visible_at(self) -> list[int]:
        return super().visible_at() + [letter.visible for letter in self.letters]

    def left(self) -> list[tuple[str, int]]:
        return super().left() + [(letter.what[:40], letter.receives) for letter in self.letters]

    def settle(self) -> None:
        self.clock.advance(HOUR)  # what a killed command hid is visible again
        super().settle()
        self.redrive()
        self._run_dry()


@tapes(200, 400)
def test_what_is_parked_is_there_until_it_got_in_or_nobody_wants_it(tape: bytes) -> None:
    # At first no route takes what comes.
    tables = (UNMATCHED, *TABLES, *WINDOWS[: tape[0] % 2 * 3])
    world = ParkingWorld(Tape(tape), tables=tables)
    arrivals = [ONE, TWO, replace(ONE, sequencer="0064", etag="e3")]
    arrivals = arrivals[: 1 + world.tape.pick(3)]
    world.letters += [Letter(messages.of_arrival(arrival), START) for arrival in arrivals]
    with patch.object(parked, "now", world.clock):
        while not world.tape.over:
            world.act()
        world.settle()
    standing = {one.external_id: one for one, _ in world.items.items.values()}
    for arrival in arrivals:
        _is_somewhere(arrival, standing, world)
    ids = {one.id for one in standing.values()}
    for letter in world.dead.values():
        assert letter["MessageAttributes"]["item"]["StringValue"] in ids, "it is of no use any more"
    ran.update(world.seen)
    ran["schedules"] += 1


def _is_somewhere(arrival: Arrival, standing: Mapping[str, Parked], world: ParkingWorld) -> None:
    """In one batch, discarded, ignored, or parked; and parked only if it is in none."""
    owner, name = world.ledger.claimant(arrival), arrival.external_id
    record = None if owner is None else world.ledger.get(owner)
    if owner is None or (record is not None and record.state is State.REFUSED):
        if name not in world.ignored:
            assert name in standing or (record and record.discarded), f"{arrival} is lost"
        if name in standing:
            reason, old = standing[name].why.reason, arrival.time < world.clock() - RETENTION
            ran[reason] += 1
            assert reason == "overtaken" or (reason == "too-old" and old)
        return
    assert name not in standing, "it is not parked any more"
    if owner == NOBODY:
        ran["nobody's"] += 1
        record = world.ledger.get(arrival.external_id)
        assert record is None or record.state is State.REFUSED
        return
    if owner.startswith(WINDOW_PREFIX):
        owner = part_of(world, owner, arrival)
        record = world.ledger.get(owner)
    while record is not None and record.next_attempt:
        record = world.ledger.get(record.next_attempt)
    assert record is not None
    if record.discarded is None:
        assert record.state is State.ANNOUNCED
        assert record.order.external_id not in standing
        made = [b for b in world.simulator.batches() if b.id == record.batch_id]
        assert [batch.status for batch in made] == ["loading"]


def test_the_schedules_went_where_it_hurts(
    record_property: Callable[[str, object], None],
) -> None:
    schedules = ran.pop("schedules")
    record_property("says", f"{schedules} schedules of what is parked: {dict(ran)}")
    assert_met(ran, schedules, 3, "parked", "redriven")
    assert_met(ran, schedules, 40, "discarded", "nobody's")
