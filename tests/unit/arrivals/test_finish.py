"""What becomes of a message with several arrivals, of which some are rejected or fail."""

from dataclasses import dataclass, field, replace
from unittest.mock import Mock

import pytest
from aep_intake.arrivals.envelopes import Received
from aep_intake.arrivals.finish import LATE_MS, Finishing
from aep_intake.arrivals.results import Result, Skipped
from aep_intake.clock.parking import Parked, Parking
from aep_intake.clock.retries import Message
from aep_intake.model.errors import LedgerUnavailable, NoRoute, NotYet
from aep_intake.model.files import Arrival
from aep_intake.model.progress import Rejection

from tests.memory_ledger import MemoryParked

NOW = 1_790_000_000_000
ONE, TWO = (Arrival("landing", f"in/{n}.csv", "v1", "e1", "0061", 10, NOW) for n in "12")
BOTH, ALONE = Received(arrivals=(ONE, TWO)), Received(arrivals=(ONE,))
MESSAGE = Message("m", "receipt", "{}", 1, NOW)
REJECTED, FAILED = NoRoute("no route fits"), NotYet("later", retry_after=5)
WHY = Rejection("not-yet", "tried 24 times, for a day: later", NOW)


@dataclass
class World:
    """What is parked, and what the ledger was told."""

    items: MemoryParked = field(default_factory=MemoryParked)
    parked: list[Parked] = field(default_factory=list)
    reject: Mock = field(default_factory=Mock)

    @property
    def finishing(self) -> Finishing:
        def send(_: str, parked: Parked, *, has_item: bool) -> None:
            assert has_item
            self.parked.append(parked)

        parking = Parking(self.items, send)
        nobody = Mock()
        return Finishing(
            lambda: parking, "dead", nobody, lambda: NOW, nobody.report, nobody.note, self.reject
        )


def results(*several: Result) -> dict[str, Result]:
    return {file.external_id: one for file, one in zip((ONE, TWO), several, strict=False)}


def test_nothing_is_parked_before_no_record_is_to_be_retried() -> None:
    world = World()
    for several in (results(REJECTED, FAILED), results(FAILED, REJECTED)):
        failed = world.finishing.finish({MESSAGE: BOTH}, several, {MESSAGE: None})
        assert failed == {MESSAGE: FAILED}
        assert not world.parked
    done = results(REJECTED, Skipped("same-bytes"))
    assert world.finishing.finish({MESSAGE: BOTH}, done, {MESSAGE: None}) == {}
    assert [parked.why.reason for parked in world.parked] == ["no-route"]


def test_what_is_given_up_is_recorded_before_it_is_parked() -> None:
    world = World()
    failed, several = {MESSAGE: FAILED}, results(REJECTED, FAILED)
    world.reject.side_effect = LedgerUnavailable("down")
    with pytest.raises(LedgerUnavailable):
        world.finishing.give_up({MESSAGE: BOTH}, several, failed, MESSAGE, WHY)
    assert not world.parked, "its message comes again"
    world.reject.side_effect = None
    world.finishing.give_up({MESSAGE: BOTH}, several, failed, MESSAGE, WHY)
    world.reject.assert_called_with(TWO, WHY)  # the other one has its own reason
    assert [parked.why for parked in world.parked] == [WHY]


def test_what_is_parked_while_it_is_worked_on_stays_parked() -> None:
    world, again = World(), replace(MESSAGE, redriven=True)
    done = results(Skipped("same-bytes"))
    world.finishing.finish({again: ALONE}, results(REJECTED), {again: None})
    token = world.finishing.token(again, ALONE)
    world.finishing.finish({again: ALONE}, results(REJECTED), {again: None})  # by another worker
    world.finishing.finish({again: ALONE}, done, {again: token})
    assert world.items.items
    world.finishing.finish({again: ALONE}, done, {again: world.finishing.token(again, ALONE)})
    assert not world.items.items


def test_an_item_is_looked_for_only_where_there_may_be_one() -> None:
    world = World()
    world.finishing.finish({MESSAGE: ALONE}, results(REJECTED), {MESSAGE: None})
    late = Received(arrivals=(replace(ONE, time=NOW - LATE_MS - 1),))
    assert world.finishing.token(MESSAGE, ALONE) is None
    for message, content in (
        (replace(MESSAGE, redriven=True), ALONE),
        (replace(MESSAGE, tries=2), ALONE),
        (MESSAGE, late),
    ):
        assert world.finishing.token(message, content) is not None
