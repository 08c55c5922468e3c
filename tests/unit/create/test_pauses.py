"""A pause: files are claimed and listed at once, and no batch is made until somebody resumes."""

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aep_intake.adapters.dynamodb import pauses
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals import batch_requests
from aep_intake.arrivals.batch_requests import BatchRequest
from aep_intake.arrivals.results import Joined
from aep_intake.create.create import create_batch, resume, start_next_attempt
from aep_intake.model.batches import Target
from aep_intake.model.errors import NotYet, OutcomeUnknown, Paused, StorageUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.pauses import Pausable, Pause, pause_of
from aep_intake.model.progress import Outcome, OutcomeKind, State
from aep_intake.model.times import SKEW_MS
from aep_intake.report.problems import explain
from aep_intake.routing.table import RoutingTable

from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY
from tests.builders import order
from tests.faults.harness import (
    CREDENTIAL,
    DAY,
    MINUTE,
    PER_MINUTE,
    RETENTION,
    SECOND,
    START,
    TABLES,
    WINDOWS,
    Message,
    Tape,
    World,
    take,
)
from tests.faults.test_again import FILES, MARKED, MARKER, VERSIONS, replacing, table

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = Arrival("landing", "in/one.json", "v1", "e1", "0061", 10, START)
ROUTE = "route#good"


@pytest.fixture
def world() -> World:
    return World(Tape(b""), calm=True)


def batches(world: World) -> int:
    return len(world.simulator.batches())


def arrive(world: World, *files: Arrival) -> None:
    world.queue += [Message(file, world.clock()) for file in files]
    world.rest()


def test_a_paused_file_is_claimed_at_once_and_has_no_batch(world: World) -> None:
    world.pause(ROUTE)
    result = take(ONE, world.intake(0))
    assert isinstance(result, Outcome)
    assert result.kind is OutcomeKind.PAUSED
    assert world.ledger.claimant(ONE) == ONE.external_id
    assert world.ledger.records[ONE.external_id].paused == ROUTE
    arrive(world, ONE)  # once more
    world.clock.advance(400 * DAY)
    world.rest()
    assert (batches(world), world.events, world.queue) == (0, [], [])


def test_after_resume_each_file_gets_the_batch_that_it_would_have_had(world: World) -> None:
    files = [replace(ONE, key=f"in/{n}.json", etag=f"e{n}") for n in range(3 * PER_MINUTE)]
    world.pause(ROUTE)
    arrive(world, *files)
    assert batches(world) == 0
    world.clock.advance(3 * DAY)
    world.resume()
    world.rest()
    assert {who for who, _ in world.events} == {file.external_id for file in files}
    assert batches(world) == len(files)


def test_after_resume_a_file_takes_the_route_that_was_mended_meanwhile(world: World) -> None:
    world.pause(ROUTE)
    arrive(world, ONE)
    world.table = world.final = TABLES[1]
    world.resume()
    world.rest()
    made = world.ledger.records[ONE.external_id]
    assert (made.order.route, made.state) == ("other", State.ANNOUNCED)
    assert batches(world) == 1


@pytest.mark.parametrize("table", [TABLES[3], TABLES[6], WINDOWS[0]], ids=lambda t: t.version)
def test_where_no_route_takes_it_any_more_it_goes_on_as_it_was(
    world: World, table: RoutingTable
) -> None:
    """It has an order: for that, no route is needed."""
    world.pause(ROUTE)
    arrive(world, ONE)
    world.table = table
    world.resume()
    world.rest()
    made = world.ledger.records[ONE.external_id]
    assert (made.order.route, made.state) == ("good", State.ANNOUNCED)
    assert world.parked == []


def test_a_file_is_not_lost_if_nobody_can_be_sent_it_again(world: World) -> None:
    world.pause(ROUTE)
    arrive(world, ONE)
    world.resume()
    ports = world.intake(0).creating

    def refuses(_: Arrival) -> None:
        raise StorageUnavailable("the queue did not answer")

    with pytest.raises(StorageUnavailable):
        resume(ONE.external_id, ports, refuses)
    sent: list[Arrival] = []
    assert resume(ONE.external_id, ports, sent.append) is None
    assert sent == [ONE]
    world.rest()
    assert batches(world) == 1


def test_a_pause_that_comes_back_keeps_back_what_the_one_before_it_did(world: World) -> None:
    world.pause(ROUTE)
    arrive(world, ONE)
    world.resume()
    world.tick()  # which sends it again
    world.pause(ROUTE)
    world.clock.advance(2 * MINUTE)
    world.rest()
    assert world.ledger.records[ONE.external_id].paused == ROUTE
    assert batches(world) == 0
    world.table = TABLES[1]
    world.resume()
    world.rest()
    assert world.ledger.records[ONE.external_id].order.route == "other"


@pytest.mark.parametrize(
    ("name", "is_kept_back"),
    [
        ("route#r", True),
        ("route#R", False),
        ("dataset#d", True),
        ("organization#O@AdobeOrg", True),
        ("organization#P@AdobeOrg", False),
        ("route#d", False),
    ],
)
def test_a_route_a_dataset_or_an_organization_is_paused(name: str, *, is_kept_back: bool) -> None:
    pause = Pause(name, START, "arn:me")
    assert (pause_of(order(ONE), {name: pause}) is pause) is is_kept_back
    by_name = name.startswith("route#")
    requested = order(route=None, trigger="request")
    assert (pause_of(requested, {name: pause}) is pause) is (is_kept_back and not by_name)


def test_a_pause_says_who_since_and_why() -> None:
    pause = Pause(Pausable.ROUTE.called("crm"), START, "arn:me", "wrong column")
    assert str(pause) == (
        "route crm is paused since 2026-09-21T14:13:20.000Z, by arn:me: wrong column"
    )


def test_a_window_closes_under_a_pause_and_its_parts_wait(world: World) -> None:
    world.table = WINDOWS[0]
    world.pause("route#windowed")
    files = [replace(ONE, key=f"in/{n}.json", etag=f"e{n}") for n in range(3)]
    results = [take(file, world.intake(0)) for file in files]
    assert all(isinstance(result, Joined) for result in results)
    world.clock.advance(2 * MINUTE)
    world.rest()
    parts = list(world.ledger.records.values())
    assert [part.paused for part in parts] == 2 * ["route#windowed"]  # two files a batch
    assert batches(world) == 0
    world.resume()
    world.rest()
    assert {part.order.external_id for part in parts} == {who for who, _ in world.events}
    assert batches(world) == 2


def test_an_order_that_waits_for_another_try_is_kept_back_from_then_on(world: World) -> None:
    world.simulator.faults.add(Fault("gateway", code="429001"))
    with pytest.raises(Exception, match="429001"):
        take(ONE, world.intake(0))
    world.pause(ROUTE)
    world.clock.advance(15 * MINUTE)
    world.rest()
    assert batches(world) == 0
    assert world.ledger.records[ONE.external_id].paused == ROUTE


def test_a_batch_that_may_exist_is_looked_for_and_finished(world: World) -> None:
    world.simulator.faults.add(Fault("answer-lost", how="timeout"))
    with pytest.raises(OutcomeUnknown):
        take(ONE, world.intake(0))
    world.pause(ROUTE)
    world.clock.advance(5 * MINUTE)
    world.rest()
    assert [batch for _, batch in world.events] == [world.simulator.batches()[0].id]
    assert batches(world) == 1


def test_what_is_refused_after_a_pause_is_parked_though_its_message_was_done(world: World) -> None:
    """It came twice: one worker found it paused, and another took it up and had no time left."""
    world.pause(ROUTE)
    arrive(world, ONE)
    assert not world.queue
    world.resume()
    world.clock.advance(MINUTE)
    intake = world.intake(0)
    with pytest.raises(NotYet, match="too little time"):
        take(ONE, replace(intake, creating=replace(intake.creating, post_ms=60 * MINUTE)))
    world.simulator.faults.add(Fault("status", operation="create", status=400))
    world.rest()
    assert world.ledger.claimant(ONE) is None
    assert world.orders_parked == {ONE.external_id}
    world.redrive()
    world.rest()
    assert batches(world) == 1


def test_where_it_does_not_exist_none_is_made(world: World) -> None:
    world.simulator.faults.add(Fault("status", status=500))
    with pytest.raises(OutcomeUnknown):
        take(ONE, world.intake(0))
    world.pause(ROUTE)
    world.clock.advance(5 * MINUTE)
    world.rest()
    assert (batches(world), world.events) == (0, [])
    record = world.ledger.records[ONE.external_id]
    assert record.paused == ROUTE
    assert record.unknown_since is not None
    world.resume()
    world.rest()
    assert batches(world) == 1


def test_a_pause_that_comes_while_an_order_waits_for_its_turn_keeps_it_back(world: World) -> None:
    intake = world.intake(0)

    def pace(_: str) -> None:
        world.clock.advance(4 * SECOND)
        world.pause(ROUTE)

    result = take(ONE, replace(intake, creating=replace(intake.creating, pace=pace)))
    assert isinstance(result, Outcome)
    assert (result.kind, batches(world)) == (OutcomeKind.PAUSED, 0)


def test_a_new_version_touches_nothing_of_the_one_before_while_it_is_paused(world: World) -> None:
    world.table = replacing()
    first, second, *_ = VERSIONS
    take(first, world.intake(0))
    world.pause(f"dataset#{LOYALTY}")
    take(second, world.intake(0))
    [batch] = world.simulator.batches()
    assert batch.status == "loading"
    assert world.ledger.records[first.external_id].replaced_by is None
    world.resume()
    world.rest()
    assert world.ledger.records[first.external_id].replaced_by == second.external_id


def test_versions_that_were_paused_follow_each_other_within_minutes(world: World) -> None:
    """However long the pause was: an order is as young as the end of its pause."""
    world.table = replacing()
    world.pause(f"dataset#{LOYALTY}")
    arrive(world, *VERSIONS)
    world.clock.advance(30 * DAY)
    world.resume()
    resumed_at = world.clock()
    world.rest()
    last = max(VERSIONS, key=lambda file: file.position)
    assert world.events[-1][0] == last.external_id
    assert world.clock() - resumed_at < 3 * MINUTE * len(VERSIONS)


def test_what_is_paused_is_kept_for_longer_than_the_ledger_remembers(world: World) -> None:
    world.pause(ROUTE)
    take(ONE, world.intake(0))
    world.clock.advance(RETENTION // 2)
    world.tick()
    world.rest()
    [(renewed, end)] = world.ledger.renewed.items()
    assert renewed == ONE.external_id
    assert world.clock() < end < world.intake(0).creating.lease().until - SKEW_MS
    record = world.ledger.records[ONE.external_id]
    assert (record.paused, record.due) == (ROUTE, world.clock())


def test_a_pause_that_is_over_is_forgotten_once_it_keeps_nothing_back(world: World) -> None:
    world.pause(ROUTE)
    take(ONE, world.intake(0))
    world.resume()
    world.tick()
    assert list(world.ledger.pauses.kept) == [ROUTE]
    world.rest()
    world.clock.advance(61 * MINUTE)
    world.tick()
    assert not world.ledger.pauses.kept


def test_another_attempt_waits_as_well(world: World) -> None:
    take(ONE, world.intake(0))
    [batch] = world.simulator.batches()
    world.simulator.set_status(batch.id, "failed")
    world.pause(ROUTE)
    world.clock.advance(5 * MINUTE)
    outcome = start_next_attempt(ONE.external_id, world.intake(0).creating)
    assert outcome.kind is OutcomeKind.PAUSED
    assert outcome.record.order.external_id == f"{ONE.external_id}.2"
    assert batches(world) == 1


def asked(world: World, name: str = "callers-own") -> Order:
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    return Order(name, target, {"inputFormat": {"format": "json"}}, (), "request")


def test_a_request_is_told_who_paused_and_since(world: World) -> None:
    request = BatchRequest(
        "callers-own", LOYALTY, {"inputFormat": {"format": "json"}}, (), None, None, "f"
    )
    intake = world.intake(0)
    ports = replace(intake.creating, ledger=world.ledger)

    def ask() -> Outcome:
        look_at: Callable[..., tuple[()]] = lambda *_: ()  # noqa: E731
        return batch_requests.carry_out(request, ports, intake.targets, ("landing",), look_at)

    world.pause(f"organization#{world.seed.ims_org}")
    with pytest.raises(
        Paused, match=f"organization {world.seed.ims_org} is paused since .*, by arn:operator"
    ) as told:
        ask()
    assert not world.ledger.records, "the caller may ask again as often as he likes"
    answer = explain(told.value, "callers-own")
    assert (answer["status"], answer["type"]) == (409, "urn:aep-intake:problem:paused")
    assert answer["retryAfter"] == 60
    world.resume()
    assert ask().kind is OutcomeKind.CREATED
    world.pause(f"organization#{world.seed.ims_org}")
    assert ask().kind is OutcomeKind.DUPLICATE, "its batch is there"


def test_a_request_that_was_begun_before_the_pause_is_told_too(world: World) -> None:
    world.simulator.faults.add(Fault("gateway", code="429001"))
    ports = world.intake(0).creating
    with pytest.raises(Exception, match="429001"):
        create_batch(asked(world), ports)
    world.pause(f"dataset#{LOYALTY}")
    world.clock.advance(15 * MINUTE)
    outcome = create_batch(asked(world), world.intake(0).creating)
    with pytest.raises(Paused, match="is paused since"):
        batch_requests.with_batch(outcome, world.intake(0).creating)


def test_a_marker_is_taken_and_no_file_is_told_that_it_is_missing(world: World) -> None:
    world.table = world.final = table(**MARKED)
    world.pause(f"dataset#{LOYALTY}")
    for file in (*FILES, MARKER):
        world.bucket[file.key] = file
    arrive(world, *FILES, MARKER)
    world.clock.advance(30 * DAY)
    world.rest()
    assert not world.overdue_parked
    assert world.events == []
    assert {record.paused for record in world.ledger.records.values()} == {f"dataset#{LOYALTY}"}
    world.resume()
    world.rest()
    assert len(world.events) == batches(world) == len(world.ledger.records)


def test_a_worker_reads_pauses_once_in_fifteen_seconds() -> None:
    now, reads = [START], list[str]()

    def query(**asked: Any) -> dict[str, Any]:
        reads.append(asked["KeyConditionExpression"])
        return {"Items": []}

    client: Any = SimpleNamespace(query=query)
    known = pauses.DynamoPauses(Table(client, "ledger"), lambda: now[0])
    for seconds in (0, 7, 14.999, 15, 29):
        now[0] = START + int(1000 * seconds)
        assert known.standing() == {}
    assert len(reads) == 2


def test_orders_of_one_file_are_counted_by_their_shards() -> None:
    *of_one, several = pauses.shards(ROUTE)
    assert pauses.shard_of(order(ONE), ROUTE) in of_one
    assert pauses.shard_of(order(), ROUTE) == several
    assert pauses.shard_of(order(ONE, replace(ONE, key="b")), ROUTE) == several
