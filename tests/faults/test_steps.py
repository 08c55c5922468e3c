"""The branches that schedules reach too seldom, one by one: the same world, step by step."""

from dataclasses import replace
from typing import Any

import pytest
from aep_intake.create.create import create_batch
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import (
    BatchRefused,
    CredentialUnusable,
    KeyReused,
    LeaseLost,
    NeedsAttention,
    NoRoute,
    NotAnnounced,
    NotYet,
    OutcomeUnknown,
    TargetNotAllowed,
)
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease, Outcome, OutcomeKind, Record, State

from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY
from tests.faults.harness import (
    CREDENTIAL,
    GOOD,
    SETTLE,
    SKEW,
    START,
    TABLES,
    TIMEOUT,
    Tape,
    World,
    take,
)
from tests.faults.test_schedules import NAMED, ONE, OPTIONS


@pytest.fixture
def world() -> World:
    world = World(Tape(b""))
    world.calm = True
    return world


def order(world: World) -> Order:
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    return Order(ONE.external_id, target, OPTIONS, (ONE,), route="good", routes_version="good")


def made_elsewhere(world: World) -> Batch:
    """A batch of the order, made by a worker nobody remembers."""
    return world.intake(0).creating.platform.create(order(world))


def lose_an_answer(world: World) -> None:
    world.simulator.faults.add(Fault("answer-lost", how="timeout", operation="create"))
    with pytest.raises(OutcomeUnknown):
        take(ONE, world.intake(0))


def lose_a_request(world: World) -> None:
    """The client cannot tell this from a lost answer."""
    world.simulator.faults.add(Fault("status", status=500, operation="create"))
    with pytest.raises(OutcomeUnknown):
        take(ONE, world.intake(0))


def settle(world: World) -> None:
    world.clock.advance(SETTLE + 2 * SKEW)


def statuses(world: World) -> list[str]:
    return [batch.status for batch in world.simulator.batches()]


def test_a_repeated_delivery_costs_adobe_nothing(world: World) -> None:
    first = take(ONE, world.intake(0))
    calls = len(world.simulator.received)
    again = take(ONE, world.intake(0))
    assert first and again
    assert (first.kind, again.kind) == (OutcomeKind.CREATED, OutcomeKind.DUPLICATE)
    assert again.record == first.record
    assert len(world.simulator.received) == calls
    assert len(world.events) == 1


def test_an_order_goes_on_even_if_no_route_fits_any_more(world: World) -> None:
    lose_an_answer(world)
    world.table = TABLES[3]
    settle(world)
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert outcome.kind is OutcomeKind.ADOPTED
    assert outcome.record.order.route == "good"
    assert world.events == [(ONE.external_id, outcome.record.batch_id)]


def test_without_an_order_it_is_rejected_and_claims_nothing(world: World) -> None:
    world.table = TABLES[3]
    with pytest.raises(NoRoute):
        take(ONE, world.intake(0))
    assert world.events == [(ONE.external_id, None)]
    assert world.ledger.rejections[ONE.object_id, ONE.version].reason == "no-route"
    world.table = GOOD
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert outcome.kind is OutcomeKind.CREATED


def test_before_it_is_due_nobody_touches_it(world: World) -> None:
    lose_an_answer(world)
    calls = len(world.simulator.received)
    with pytest.raises(NotYet) as caught:
        take(ONE, world.intake(0))
    assert caught.value.retry_after == pytest.approx((SETTLE + SKEW) / 1000, abs=1)
    assert len(world.simulator.received) == calls


def test_what_catalog_does_not_show_yet_is_waited_for(world: World) -> None:
    lose_an_answer(world)
    world.calm = False
    world.simulator.show_in_catalog(lambda *_: False)
    settle(world)
    # Only after the settle time: and so the POST is repeated, as nothing shows the first batch.
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert outcome.kind is OutcomeKind.CREATED
    assert len(world.simulator.batches()) == 2


def test_an_answer_of_catalog_is_as_old_as_its_question(world: World) -> None:
    dead = Record.opened(order(world), Lease("of a dead worker", START + TIMEOUT), START)
    world.ledger.open(dead)
    world.clock.advance(TIMEOUT)
    made_elsewhere(world)  # at the very end of its lease
    world.simulator.show_in_catalog(lambda batch, now: now >= batch.members["created"] + SETTLE)
    intake = world.intake(0)
    find = intake.creating.platform.find

    def slowly(order: Order, since: int) -> list[Batch]:
        found = find(order, since)
        world.clock.advance(SETTLE + SKEW)
        return found

    slow = replace(intake.creating, platform=_Instead(intake.creating.platform, find=slowly))
    with pytest.raises(NotYet, match="Catalog may not show"):
        create_batch(order(world), slow)
    assert len(world.simulator.batches()) == 1


class _Instead:
    """Something with one of its methods in place of its own."""

    def __init__(self, whole: Any, **methods: Any) -> None:
        self._whole, self._methods = whole, methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name) or getattr(self._whole, name)


@pytest.mark.parametrize("taken", ["the lease", "the batch", "another attempt"])
def test_who_was_too_slow_aborts_its_batch_only_where_nobody_can_adopt_it(
    world: World, taken: str
) -> None:
    intake = world.intake(0)
    ports, ledger = intake.creating, world.ledger

    def slowly(order: Order) -> Batch:
        made = ports.platform.create(order)
        world.clock.advance(TIMEOUT + SKEW)
        record = ledger.records[order.external_id]
        now = world.clock()
        record = ledger.replace(record, record.leased(Lease("another", now + TIMEOUT)))
        if taken == "the batch":
            ledger.replace(record, record.created(ports.platform.create(order)))
        if taken == "another attempt":
            ledger.open_next_attempt(*record.followed(None, now))
        return made

    slow = replace(ports, platform=_Instead(ports.platform, create=slowly))
    with pytest.raises(LeaseLost):
        create_batch(order(world), slow)
    first, *others = statuses(world)
    assert first == ("loading" if taken == "the lease" else "aborted")
    assert others == (["loading"] if taken == "the batch" else [])


def test_of_several_the_oldest_is_adopted_and_the_others_aborted(world: World) -> None:
    lose_an_answer(world)
    world.clock.advance(1000)
    made_elsewhere(world)
    settle(world)
    outcome = take(ONE, world.intake(0))
    oldest, other = world.simulator.batches()
    assert outcome
    assert outcome.kind is OutcomeKind.ADOPTED
    assert outcome.record.batch_id == oldest.id
    assert (oldest.status, other.status) == ("loading", "aborted")


@pytest.mark.parametrize("ending", ["aborted", "abandoned"])
def test_a_batch_that_ended_without_data_is_followed_by_another_attempt(
    world: World, ending: str
) -> None:
    lose_an_answer(world)
    [batch] = world.simulator.batches()
    world.simulator.set_status(batch.id, ending)
    settle(world)
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert outcome.record.order.attempt == 2
    assert outcome.record.order.external_id == f"{ONE.external_id}.2"
    assert world.events == [(f"{ONE.external_id}.2", outcome.record.batch_id)]
    again = take(ONE, world.intake(0))
    assert again
    assert (again.kind, again.record) == (OutcomeKind.DUPLICATE, outcome.record)


@pytest.mark.parametrize("status", ["success", "loaded", "failed", "never heard of"])
def test_a_batch_in_any_other_state_is_left_for_a_person(world: World, status: str) -> None:
    lose_an_answer(world)
    [batch] = world.simulator.batches()
    world.simulator.set_status(batch.id, status)
    settle(world)
    with pytest.raises(NeedsAttention, match=status):
        take(ONE, world.intake(0))
    assert world.events == [(ONE.external_id, None)]
    assert world.ledger.records[ONE.external_id].state is State.HELD
    # Redriven once the person has aborted it: looked up again, not posted blindly.
    world.simulator.set_status(batch.id, "aborted")
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert outcome.record.order.attempt == 2


def test_another_ledgers_batch_of_that_external_id_is_not_ours(world: World) -> None:
    lose_a_request(world)
    platform = world.intake(0).creating.platform
    platform._ledger = lambda: "another ledger"  # type: ignore[attr-defined]
    foreign = platform.create(order(world))
    settle(world)
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert outcome.kind is OutcomeKind.CREATED
    assert outcome.record.batch_id != foreign.id
    assert statuses(world) == ["loading", "loading"], "what is not ours is left alone"


def test_a_conflict_is_looked_into_before_it_is_believed(world: World) -> None:
    made = made_elsewhere(world)
    world.simulator.switches.external_id_reuse = "refused"
    with pytest.raises(OutcomeUnknown):
        take(ONE, world.intake(0))
    settle(world)
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert (outcome.kind, outcome.record.batch_id) == (OutcomeKind.ADOPTED, made.id)


def test_a_conflict_with_a_batch_that_is_not_ours_needs_a_person(world: World) -> None:
    platform = world.intake(0).creating.platform
    platform._ledger = lambda: "another ledger"  # type: ignore[attr-defined]
    platform.create(order(world))
    world.simulator.switches.external_id_reuse = "refused"
    with pytest.raises(OutcomeUnknown):
        take(ONE, world.intake(0))
    settle(world)
    with pytest.raises(NeedsAttention, match="in use"):
        take(ONE, world.intake(0))
    assert statuses(world) == ["loading"]


def test_a_refusal_after_an_unknown_attempt_is_looked_into(world: World) -> None:
    """Catalog was slower than the settle time, and AEP refuses an externalId it has."""
    lose_an_answer(world)
    world.calm = False
    looks = iter([False, True])
    world.simulator.show_in_catalog(lambda *_: next(looks))
    world.simulator.switches.external_id_reuse = "refused-400"
    settle(world)
    outcome = take(ONE, world.intake(0))
    [batch] = world.simulator.batches()
    assert outcome
    assert outcome.record.batch_id == batch.id


def test_refused_means_refused_with_adobes_words(world: World) -> None:
    world.table = TABLES[2]
    with pytest.raises(BatchRefused) as caught:
        take(ONE, world.intake(0))
    assert caught.value.status == 400
    assert caught.value.request_id
    record = world.ledger.records[ONE.external_id]
    assert record.state is State.REFUSED
    assert record.due is None
    world.table = GOOD
    outcome = take(ONE, world.intake(0))
    assert outcome
    assert outcome.record.order.target.dataset_id == LOYALTY


def test_a_throttled_order_is_tried_when_adobe_said(world: World) -> None:
    world.simulator.faults.add(Fault("gateway", code="429050", retry_after="77"))
    with pytest.raises(Exception, match="429") as caught:
        take(ONE, world.intake(0))
    assert getattr(caught.value, "retry_after", 0) == 77
    record = world.ledger.records[ONE.external_id]
    assert record.due == world.clock() + 77_000
    assert record.lease is None
    assert record.unknown_since is None


def test_what_the_bus_did_not_take_is_said_again_soon(world: World) -> None:
    intake = world.intake(0)

    class Mute:
        def created(self, record: Record) -> None:
            raise NotAnnounced("the event bus did not take it")

    ports = replace(intake.creating, announcer=Mute())  # type: ignore[arg-type]
    with pytest.raises(NotAnnounced) as caught:
        take(ONE, replace(intake, creating=ports))
    assert caught.value.retry_after == 10
    assert not world.events
    world.clock.advance(10_000)
    again = take(ONE, world.intake(0))
    assert world.events == [(ONE.external_id, again.record.batch_id)]
    assert len(world.simulator.batches()) == 1


def request(world: World, dataset: str, external_id: str = "asked", body: str = "a") -> Order:
    """What somebody asks for the content that ONE brings."""
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", dataset)
    return Order(external_id, target, OPTIONS, (NAMED,), "request", fingerprint=body)


def ask(world: World, order: Order) -> Outcome:
    return create_batch(order, world.intake(0).creating)


def test_a_refused_request_holds_its_objects_no_longer(world: World) -> None:
    with pytest.raises(BatchRefused):
        ask(world, request(world, "a typo"))
    assert world.ledger.claimant(ONE) is None
    outcome = take(ONE, world.intake(0))
    assert (outcome.kind, outcome.record.order.external_id) == (
        OutcomeKind.CREATED,
        ONE.external_id,
    )


def test_a_refused_request_may_be_put_right_under_its_own_key(world: World) -> None:
    with pytest.raises(BatchRefused):
        ask(world, request(world, "a typo", body="a"))
    outcome = ask(world, request(world, LOYALTY, body="b"))
    assert outcome.record.order.target.dataset_id == LOYALTY
    assert world.ledger.claimant(ONE) == "asked"
    with pytest.raises(KeyReused):
        ask(world, request(world, "another", body="c"))


def test_a_refused_arrival_leaves_its_object_to_a_request(world: World) -> None:
    world.table = TABLES[2]
    with pytest.raises(BatchRefused):
        take(ONE, world.intake(0))
    outcome = ask(world, request(world, LOYALTY))
    assert outcome.kind is OutcomeKind.CREATED
    world.table = GOOD
    again = take(ONE, world.intake(0))
    assert (again.kind, again.record.batch_id) == (OutcomeKind.DUPLICATE, outcome.record.batch_id)


def test_what_was_refused_is_judged_by_the_present_routes(world: World) -> None:
    world.table = TABLES[2]
    with pytest.raises(BatchRefused):
        take(ONE, world.intake(0))
    posts = len(world.simulator.received)
    world.table = TABLES[3]
    with pytest.raises(NoRoute):
        take(ONE, world.intake(0))
    assert len(world.simulator.received) == posts


def test_an_order_of_which_surely_nothing_was_made_takes_the_mended_route(world: World) -> None:
    world.table = TABLES[1]
    world.simulator.faults.add(Fault("gateway", "create", code="403025", count=2))
    with pytest.raises(CredentialUnusable):
        take(ONE, world.intake(0))
    world.table = GOOD
    world.clock.advance(60_000)
    outcome = take(ONE, world.intake(0))
    assert outcome.record.order.target.dataset_id == LOYALTY


def test_an_order_that_may_have_a_batch_keeps_its_target(world: World) -> None:
    lose_an_answer(world)
    world.table = TABLES[1]
    settle(world)
    assert take(ONE, world.intake(0)).record.order.target.dataset_id == LOYALTY


def test_another_bucket_than_ours_is_not_for_us(world: World) -> None:
    with pytest.raises(TargetNotAllowed, match="bucket"):
        take(replace(ONE, bucket="elsewhere"), world.intake(0))
