"""Redrive: what it mends, and what it refuses because it would do harm."""

import json
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.redrive import FILES_AT_ONCE, redrive
from aep_intake.arrivals.results import HandedOn, Joined
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import DueKind
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model import messages
from aep_intake.model.errors import (
    BatchRefused,
    NoRoute,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    OutcomeUnknown,
    Overtaken,
)
from aep_intake.model.files import Arrival
from aep_intake.model.history import CountedVersion
from aep_intake.model.messages import Wish
from aep_intake.model.orders import LedgerIdentity
from aep_intake.model.progress import Outcome, OutcomeKind, State
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable

from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY, PRODUCTS
from tests.faults.harness import (
    DAY,
    HOUR,
    SETTLE,
    START,
    Delivering,
    World,
    calm,
    go_on,
    take,
    try_again,
)

A = Arrival("landing", "in/one.json", "v1", "a", "0061", 3, START)
TOLD = Wish(even_if_overtaken=True)


def table(**written: Any) -> RoutingTable:
    whole = {"name": "all", "match": "in/**", "datasetId": LOYALTY} | written
    return routes.parse(json.dumps({"routes": [whole]}), "v1")


def following(number: int, **changes: Any) -> Arrival:
    """A later version of the same object."""
    return replace(A, version_id=f"v{number}", sequencer=f"006{number}", **changes)


@pytest.fixture
def world() -> Delivering:
    world = calm()
    world.table = table()
    return world


def arrived(world: Delivering, *files: Arrival, end: str = "loading") -> str:
    """Files arrive, and get batches that end so; the external id of the last one's order."""
    external_id = ""
    for file in files:
        world.put(file, b"{}\n")
        outcome = take(file, world.intake(0))
        if isinstance(outcome, Joined):
            world.clock.advance(2 * 60_000)
            go_on(DueKind.WINDOWS, outcome.window_id, world.intake(0))
            [external_id] = world.handed_out
            world.handed_out.clear()
            outcome = go_on(DueKind.ORDERS, external_id, world.intake(0))
        assert isinstance(outcome, Outcome)
        external_id = outcome.record.order.external_id
        world.simulator.set_status(outcome.record.batch_id or "", end)
    return external_id


def windowed(world: Delivering, number: int, end: str = "failed", **written: Any) -> str:
    """So many files share a batch of a window that ends so; its order's external id."""
    world.table = table(batch={"window": "1m"}, **written)
    world.limits = BatchLimits(files=number)
    for n in range(number):
        file = replace(A, key=f"in/{n}.json")
        world.put(file, b"{}\n")
        joined = take(file, world.intake(0))
    world.clock.advance(2 * 60_000)
    go_on(DueKind.WINDOWS, joined.window_id, world.intake(0))
    [part] = world.handed_out
    outcome = go_on(DueKind.ORDERS, part, world.intake(0))
    assert outcome is not None
    world.simulator.set_status(outcome.record.batch_id or "", end)
    return part


def without_data(world: World, *external_ids: str) -> IntakePorts:
    """What a worker has when the batches of these orders failed."""
    intake = world.intake(0)
    versions = replace(intake.versions, ended_without_data=external_ids.__contains__)
    return replace(intake, versions=versions)


# ---- What came meanwhile


def test_what_a_newer_version_has_overtaken_is_not_loaded_after_it(world: Delivering) -> None:
    """Else its rows, which somebody has corrected since, would be there as well."""
    failed = arrived(world, A, end="failed")
    newer = arrived(world, following(2, etag="b"), end="success")
    batch = world.ledger.records[newer].batch_id
    said = rf"in/one.json.*newer version \(v:v2\).*by {newer} \(batch {batch}\)"
    with pytest.raises(Overtaken, match=said):
        try_again(failed, without_data(world, failed))
    assert len(world.simulator.batches()) == 2
    assert list(world.ledger.records) == [failed, newer]
    outcome = try_again(failed, without_data(world, failed), wish=TOLD)
    assert outcome.record.order.external_id == f"{failed}.2"


def test_the_same_bytes_are_not_loaded_twice(world: Delivering) -> None:
    arrived(world, A, end="success")
    again = arrived(world, following(2), end="failed")
    with pytest.raises(Overtaken, match="same bytes"):
        try_again(again, without_data(world, again))
    assert try_again(again, without_data(world, again), wish=TOLD).kind is OutcomeKind.CREATED


def test_an_older_version_does_no_harm_and_a_then_b_then_a_are_three(world: Delivering) -> None:
    arrived(world, A, following(2, etag="b"), end="success")
    third = arrived(world, following(3), end="failed")
    assert try_again(third, without_data(world, third)).kind is OutcomeKind.CREATED


def test_a_newer_version_that_failed_as_well_does_no_harm(world: Delivering) -> None:
    failed = [arrived(world, following(n, etag=str(n)), end="failed") for n in (1, 2)]
    assert try_again(failed[0], without_data(world, *failed)).kind is OutcomeKind.CREATED


def test_a_newer_version_in_another_dataset_does_no_harm(world: Delivering) -> None:
    failed = arrived(world, A, end="failed")
    world.table = table(datasetId=PRODUCTS)
    arrived(world, following(2, etag="b"), end="success")
    stays = Wish(as_ordered=True)
    assert try_again(failed, without_data(world, failed), wish=stays).kind is OutcomeKind.CREATED


def test_a_copy_of_itself_shares_its_fate(world: Delivering) -> None:
    """It was told `same-bytes`, and has no batch of its own."""
    first = arrived(world, A)
    assert take(following(2, copied=True), world.intake(0)).why == "same-bytes"
    world.simulator.set_status(world.ledger.records[first].batch_id or "", "failed")
    assert try_again(first, without_data(world, first)).kind is OutcomeKind.CREATED


def test_one_file_of_many_is_enough_and_a_window_that_is_open_counts(world: Delivering) -> None:
    part = windowed(world, 3)
    newer = replace(A, key="in/1.json", version_id="v2", sequencer="0062", etag="b")
    world.put(newer, b"{}\n")
    joined = take(newer, world.intake(0))
    with pytest.raises(Overtaken, match=rf"in/1.json.*by {joined.window_id} \(no batch yet\)"):
        try_again(part, without_data(world, part))
    assert try_again(part, without_data(world, part), wish=TOLD).kind is OutcomeKind.CREATED


def test_it_is_one_query_a_file_and_each_order_is_asked_for_once(
    world: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = windowed(world, 5)
    held, asked = world.ledger.counted_versions, list[str]()

    def counted(object_id: str) -> list[CountedVersion]:
        asked.append(object_id)
        return held(object_id)

    monkeypatch.setattr(world.ledger, "counted_versions", counted)
    try_again(part, without_data(world, part))
    assert len(asked) == 5


def test_an_order_of_many_files_is_checked_by_who_has_the_time(world: Delivering) -> None:
    """Ten thousand queries are more than on_arrival has the processor for."""
    part = windowed(world, 2)
    record = world.ledger.records[part]
    assert record.order.excerpt is not None
    many = replace(record.order.excerpt, end=FILES_AT_ONCE + 1)
    world.ledger.records[part] = replace(record, order=replace(record.order, excerpt=many))
    handed: list[str] = []
    intake = replace(world.intake(0), hand_on=handed.append)
    assert redrive(part, intake, map, TOLD) == HandedOn()
    assert handed == [messages.of_order(part, TOLD)]
    assert len(world.simulator.batches()) == 1
    world.ledger.records[part] = record
    assert isinstance(redrive(part, intake, map, TOLD), Outcome)


# ---- What is gone


def test_no_batch_is_spent_on_what_is_gone(world: Delivering) -> None:
    failed = arrived(world, A, end="failed")
    world.contents.clear()
    for wish in (Wish(), Wish(as_ordered=True), TOLD):
        with pytest.raises(ObjectGone):
            try_again(failed, world.intake(0), wish=wish)
    assert len(world.simulator.batches()) == 1


def test_of_many_one_that_is_there_is_enough_unless_the_route_wants_all(world: Delivering) -> None:
    """The others are left out by name while they go up, as ever."""
    part = windowed(world, 3)
    del world.contents["landing", "in/0.json", A.version]
    world.table = table(batch={"window": "1m"}, onLostFile="abort")
    with pytest.raises(ObjectGone, match=r"in/0.json is gone"):
        try_again(part, without_data(world, part))
    world.table = table(batch={"window": "1m"})
    assert try_again(part, without_data(world, part)).kind is OutcomeKind.CREATED


def test_what_aep_refuses_again_is_parked_once(world: Delivering) -> None:
    """By the order, as a part of a window has no message of its own: not by this one as well."""
    part = windowed(world, 3)
    world.simulator.faults.add(Fault("status", "create", status=400))
    with pytest.raises(BatchRefused) as refused:
        try_again(part, without_data(world, part))
    assert (world.orders_parked, refused.value.parked) == ({f"{part}.2"}, True)
    world.table = table()
    failed = arrived(world, replace(A, key="in/alone.json"), end="failed")
    world.simulator.faults.add(Fault("status", "create", status=400))
    with pytest.raises(BatchRefused) as refused:
        try_again(failed, without_data(world, failed))
    assert (world.orders_parked, refused.value.parked) == ({f"{part}.2"}, False)


def test_of_many_none_is_there(world: Delivering) -> None:
    part = windowed(world, 3)
    world.contents.clear()
    with pytest.raises(ObjectGone, match=r"none of 3 files can be read: .*in/0.json is gone"):
        try_again(part, world.intake(0))
    assert len(world.simulator.batches()) == 1


@pytest.mark.parametrize("why", [ObjectArchived("archived"), NotReadable("403")])
def test_what_cannot_be_read_now_is_not_gone(world: Delivering, why: Exception) -> None:
    failed = arrived(world, A, end="failed")
    world.table = table(lookInside=False)
    intake = world.intake(0)

    def read(*_: object) -> bytes:
        raise why

    with pytest.raises(type(why)):
        try_again(failed, replace(intake, checks=replace(intake.checks, read=read)))
    assert len(world.simulator.batches()) == 1


# ---- Another route


def test_the_files_are_read_as_the_present_route_says(world: Delivering) -> None:
    """The charset that a route got is no use to a batch whose files are read as before."""
    world.table = table(inputFormat={"format": "csv", "charset": "ISO-8859-1"}, lookInside=False)
    failed = arrived(world, A, end="failed")
    assert world.ledger.records[failed].order.source_format is not None
    world.table = table(inputFormat={"format": "csv"}, lookInside=False)
    order = try_again(failed, world.intake(0)).record.order
    assert (order.options["inputFormat"], order.source_format) == ({"format": "csv"}, None)


def test_a_batch_of_an_earlier_try_is_found_where_that_was_made(world: Delivering) -> None:
    """The answer to its POST was lost, then Adobe refused; Catalog took its time. It counts."""
    world.put(A, b"{}\n")
    world.simulator.show_in_catalog(lambda *_: False)
    world.simulator.faults.add(Fault("answer-lost", "create", how="reset"))
    with pytest.raises(OutcomeUnknown):
        take(A, world.intake(0))
    for _ in range(2):
        world.clock.advance(SETTLE + HOUR)
        world.simulator.faults.add(Fault("status", "create", status=400))
        with pytest.raises((BatchRefused, NotYet)):
            take(A, world.intake(0))
    record = world.ledger.records[A.external_id]
    assert (record.state, record.unknown_since is None) == (State.REFUSED, False)
    world.simulator.faults.clear()
    world.simulator.show_in_catalog(None)
    world.table = table(datasetId=PRODUCTS)
    outcome = try_again(A.external_id, world.intake(0))
    [batch] = world.simulator.batches()
    assert (outcome.kind, outcome.record.batch_id) == (OutcomeKind.ADOPTED, batch.id)
    assert outcome.record.order.target.dataset_id == batch.dataset_id == LOYALTY


def test_where_none_was_made_the_order_goes_to_its_new_place(world: Delivering) -> None:
    world.put(A, b"{}\n")
    world.simulator.faults.add(Fault("status", "create", status=500))
    with pytest.raises((OutcomeUnknown, NotYet)):
        take(A, world.intake(0))
    world.simulator.faults.add(Fault("status", "create", status=400))
    world.clock.advance(SETTLE + HOUR)
    with pytest.raises((BatchRefused, NotYet)):
        take(A, world.intake(0))
    world.table = table(datasetId=PRODUCTS)
    outcome = try_again(A.external_id, world.intake(0))
    assert outcome.record.order.target.dataset_id == PRODUCTS
    assert [batch.dataset_id for batch in world.simulator.batches()] == [PRODUCTS]


def test_a_restored_ledger_looks_for_the_next_attempt_where_it_was_made(world: Delivering) -> None:
    """Somebody redrove it and corrected the route again; the ledger is from before all that."""
    failed = arrived(world, A, end="failed")
    earlier = dict(world.ledger.records)
    second = try_again(failed, without_data(world, failed)).record
    world.simulator.set_status(second.batch_id or "", "success")
    world.ledger.records.clear()
    world.ledger.records.update(earlier)
    now = world.clock()
    world.identity = LedgerIdentity("the ledger", now, now + 22 * DAY)
    world.table = table(datasetId=PRODUCTS)
    with pytest.raises(NotYet, match="may not show"):
        world.simulator.show_in_catalog(lambda batch, _: batch.id != second.batch_id)
        try_again(failed, without_data(world, failed))
    world.simulator.show_in_catalog(None)
    found = try_again(failed, without_data(world, failed)).record
    assert (found.batch_id, found.order.target.dataset_id) == (second.batch_id, LOYALTY)
    assert len(world.simulator.batches()) == 2


# ---- Files that were parked before they had an order


def rejected(world: Delivering) -> None:
    """It had no route, and was parked; by now it has one."""
    world.put(A, b"{}\n")
    world.table = table(match="elsewhere/**")
    with pytest.raises(NoRoute):
        take(A, world.intake(0))
    world.table = table()


def taken_again(world: Delivering, intake: IntakePorts | None = None) -> Any:
    again = frozenset({A.external_id})
    [result] = take_in({A.external_id: A}, intake or world.intake(0), map, again).values()
    return result


@pytest.mark.parametrize("written", [{}, {"batch": {"window": "1m"}}])
def test_a_parked_file_that_was_overtaken_is_parked_again(
    world: Delivering, written: dict[str, Any]
) -> None:
    rejected(world)
    arrived(world, following(2, etag="b"), end="success")
    world.table = table(**written)
    told = taken_again(world)
    assert isinstance(told, Overtaken)
    assert world.events[-1] == (A.external_id, None)
    assert world.ledger.rejections[A.object_id, A.version].reason == "overtaken"
    assert world.ledger.claimant(A) is None
    # By default an event that comes late is a version like any other.
    assert not isinstance(take(A, world.intake(0)), Exception)


def test_a_parked_file_that_is_the_newest_gets_its_batch(world: Delivering) -> None:
    rejected(world)
    assert isinstance(taken_again(world), Outcome)
    arrived(world, following(2, etag="b"), end="success")
    assert taken_again(world).kind is OutcomeKind.DUPLICATE, "its message came again"
