"""A batch that AEP failed because of a file is divided until that one is found."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from math import ceil, log2
from typing import Any

import pytest
from aep_intake.create import create
from aep_intake.create.attempts import attempts, half_with
from aep_intake.delivery import steps, upload
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.batches import Target
from aep_intake.model.errors import (
    LedgerUnavailable,
    NotAnnounced,
    NotEnded,
    PlatformUnavailable,
    StorageUnavailable,
    TryAgain,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import LedgerIdentity, Order, Replaced
from aep_intake.model.progress import OutcomeKind
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable

from local.simulator.mishaps import Mishap
from local.simulator.seed import LOYALTY
from tests.faults.harness import (
    CREDENTIAL,
    DAY,
    HOUR,
    MINUTE,
    START,
    Copy,
    Delivering,
    calm,
    take,
    try_again,
)
from tests.unit.delivery.world import carried_out, delivered, failing, ports

ROW = b'{"row": 1}\n'
ERRORS = [{"code": "INGEST-1401-400", "description": "the row is corrupt"}]


def table(**written: Any) -> RoutingTable:
    whole = {"name": "all", "match": "in/**", "datasetId": LOYALTY, "batch": {"window": "1m"}}
    whole |= {"onFailed": "split"} | written
    return routes.parse(json.dumps({"routes": [whole]}), "v1")


@pytest.fixture
def world() -> Delivering:
    world = calm(tables=(table(),), final=table())
    world.limits = BatchLimits(1000, 10**6)
    return world


def arrival(number: int, **changes: Any) -> Arrival:
    file = Arrival("landing", f"in/{number:03}.json", "v1", "e", "0061", len(ROW), START)
    return replace(file, **changes)


def blame(world: Delivering, *numbers: int) -> None:
    """AEP fails each batch that has one of these files, for good."""
    for number in numbers:
        world.simulator.mishaps.add(Mishap(file=f"*-{number:03}.json", errors=ERRORS, count=0))


def ordered(world: Delivering, number: int) -> str:
    """So many files share a batch; the order's external id."""
    for n in range(number):
        world.put(arrival(n), ROW)
        take(arrival(n), world.intake(0))
    world.queue.clear()
    world.clock.advance(2 * MINUTE)
    [part] = carried_out(world)
    return part


def all_delivered(world: Delivering, *external_ids: str) -> int:
    """All that follows is delivered, too; how many batches that took."""
    waiting, batches = list(external_ids), 0
    while waiting:
        delivered(world, waiting.pop(0))
        batches += 1
        waiting += carried_out(world)
    return batches


def loaded(world: Delivering) -> list[str]:
    """The names of the files that are loaded, however often."""
    served = [b for b in world.simulator.batches() if b.status == "success"]
    return sorted(path[33:] for batch in served for path in batch.files)


def parked(world: Delivering) -> list[str]:
    return sorted(file.key[3:] for file, _ in world.files_parked)


def names(numbers: Iterator[int] | range | list[int]) -> list[str]:
    return [f"{number:03}.json" for number in numbers]


@pytest.mark.parametrize(("number", "bad"), [(2, 0), (5, 4), (8, 3), (33, 17), (64, 63)])
def test_one_bad_file_is_found_by_halving(world: Delivering, number: int, bad: int) -> None:
    blame(world, bad)
    part = ordered(world, number)
    batches = all_delivered(world, part)
    assert batches - 1 <= 2 * ceil(log2(number))
    assert loaded(world) == names([n for n in range(number) if n != bad])
    [(file, reason)] = world.files_parked
    assert (file, reason) == (arrival(bad), "batch-failed")
    assert world.ledger.claimant(file) is None
    assert not world.orders_parked
    # Each other one is held by the half that loaded it.
    for n in range(number):
        if n != bad:
            held = half_with(world.ledger.get(part), "landing", arrival(n).key, world.ledger)
            assert held is not None
            assert arrival(n) in world.ledger.files(held.order)
    # Corrected, or with another route, the one gets a batch of its own; the rest is left alone.
    world.simulator.mishaps.clear()
    take(file, world.intake(0))
    world.clock.advance(2 * MINUTE)
    all_delivered(world, *carried_out(world))
    assert loaded(world) == names(range(number))


def test_files_that_the_diagnostics_name_are_left_out_at_once(world: Delivering) -> None:
    world.simulator.switches.change(diagnostics_name="uploads")
    blame(world, 3, 9)
    part = ordered(world, 20)
    assert all_delivered(world, part) == 3  # AEP tells of one after the other
    assert loaded(world) == names([n for n in range(20) if n not in (3, 9)])
    assert parked(world) == names([3, 9])
    assert world.ledger.records[f"{part}.3"].order.left_out == (3, 9)


def test_where_the_route_wants_no_diagnostics_none_are_asked_for(world: Delivering) -> None:
    """They are whole rows."""
    world.table = table(enableErrorDiagnostics=False)
    blame(world, 3)
    part = ordered(world, 5)
    all_delivered(world, part)
    assert parked(world) == names([3])
    assert "list-meta" not in [each.operation for each in world.simulator.received]


def test_what_the_diagnostics_name_without_end_ends_at_the_bound(world: Delivering) -> None:
    """Each attempt costs a batch, however it was made."""
    world.table = table(splitBatches=2)
    world.simulator.switches.change(diagnostics_name="uploads")
    part = ordered(world, 9)
    for number in range(4):  # one after the other shows
        world.simulator.mishaps.clear()
        blame(world, number)
        name = part if not number else f"{part}.{number + 1}"
        if name not in world.ledger.records:
            break
        delivered(world, name)
        carried_out(world)
    assert len(world.simulator.batches()) == 3
    assert parked(world) == names(range(9))


@pytest.mark.parametrize("most", [2, 4, 12])
def test_the_rest_is_parked_by_name_once_no_more_batches_may_be_made(
    world: Delivering, most: int
) -> None:
    world.table = table(splitBatches=most)
    blame(world, *range(0, 16, 2))  # more bad ones than can be found
    part = ordered(world, 16)
    assert all_delivered(world, part) <= 1 + most
    assert sorted(loaded(world) + parked(world)) == names(range(16))
    assert not world.orders_parked
    assert {world.ledger.claimant(file) for file, _ in world.files_parked} == {None}


def test_by_default_it_is_parked_as_a_whole(world: Delivering) -> None:
    world.table = routes.parse(
        json.dumps(
            {
                "routes": [
                    {
                        "name": "all",
                        "match": "in/**",
                        "datasetId": LOYALTY,
                        "batch": {"window": "1m"},
                    }
                ]
            }
        ),
        "v1",
    )
    blame(world, 0)
    part = ordered(world, 4)
    assert all_delivered(world, part) == 1
    assert (world.orders_parked, world.files_parked) == ({part}, [])
    # Once the route says so, it is split when it is redriven, and fails again.
    world.table = table()
    outcome = try_again(part, world.intake(0))
    all_delivered(world, outcome.record.order.external_id)
    assert loaded(world) == names(range(1, 4))


def test_only_what_catalog_shows_as_failed_is_split(world: Delivering) -> None:
    part = ordered(world, 4)
    world.simulator.set_status(world.ledger.records[part].batch_id or "", "aborted")
    delivered(world, part)
    assert world.orders_parked == {part}
    assert carried_out(world) == []


def test_one_file_alone_is_parked_with_its_order(world: Delivering) -> None:
    blame(world, 0)
    part = ordered(world, 1)
    assert all_delivered(world, part) == 1
    assert (world.orders_parked, world.files_parked) == ({part}, [])


def test_what_was_split_has_no_other_attempt(world: Delivering) -> None:
    blame(world, 1)
    part = ordered(world, 4)
    all_delivered(world, part)
    made = len(world.simulator.batches())
    for record in attempts(part, world.ledger):
        name = record.order.external_id
        assert try_again(name, world.intake(0)).kind is OutcomeKind.DUPLICATE
        with pytest.raises(NotEnded):
            create.start_next_attempt(name, world.intake(0).creating)
    assert len(world.simulator.batches()) == made


def test_a_half_that_was_not_uploaded_in_time_is_redriven_as_a_half(world: Delivering) -> None:
    blame(world, 0)
    part = ordered(world, 4)
    delivered(world, part)
    first, second = carried_out(world)
    world.simulator.set_status(world.ledger.records[second].batch_id or "", "abandoned")
    all_delivered(world, second)
    assert world.orders_parked == {second}
    outcome = try_again(second, world.intake(0))
    assert outcome.record.order.external_id == f"{second}.2"
    all_delivered(world, first, f"{second}.2")
    assert loaded(world) == names(range(1, 4))


def test_files_of_a_request_are_split_as_well(world: Delivering) -> None:
    """Its route would have to say so; a request has none, but an earlier release may."""
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    files = tuple(arrival(n) for n in range(4))
    for file in files:
        world.put(file, ROW)
    world.queue.clear()
    options = {"inputFormat": {"format": "json"}}
    order = Order("caller-1", target, options, files, "request", split_batches=12)
    blame(world, 2)
    create.create_batch(order, world.intake(0).creating)
    all_delivered(world, "caller-1")
    assert loaded(world) == names([0, 1, 3])
    assert {world.ledger.claimant(file) for file in files if file != files[2]} == {"caller-1"}
    assert world.ledger.claimant(files[2]) is None


def test_what_replaces_it_names_all_of_its_batches(world: Delivering) -> None:
    written = {"batch": {"marker": "_SUCCESS"}, "onNewVersion": "replace"}
    world.table = table(**written, inputFormat={"format": "json"})
    marker = Arrival("landing", "in/_SUCCESS", "m1", "m", "0070", 0, START)
    blame(world, 1)
    for n in range(4):
        world.put(arrival(n), ROW)
    world.put(marker, b"")
    world.queue.clear()
    take(marker, world.intake(0))
    [part] = carried_out(world)
    all_delivered(world, part)
    ours = {b.id for b in world.simulator.batches() if b.status == "success"}
    assert len(ours) == 2
    world.simulator.mishaps.clear()
    again = replace(marker, version_id="m2", sequencer="0080")
    world.put(again, b"")
    take(again, world.intake(0))
    [newer] = carried_out(world)
    replaces = world.ledger.records[newer].order.replaces
    assert isinstance(replaces, Replaced)
    assert {replaces.batch_id, *(one.batch_id for one in replaces.others)} == ours
    made = world.simulator.batch(world.ledger.records[newer].batch_id or "")
    assert set(made.members["replay"]["predecessors"]) == ours
    all_delivered(world, newer)
    assert loaded(world) == names(range(4))
    # What takes the place of batches that are served is one batch, and is not split.
    blame(world, 3)
    third = replace(marker, version_id="m3", sequencer="0090")
    world.put(third, b"")
    take(third, world.intake(0))
    [last] = carried_out(world)
    assert all_delivered(world, last) == 1
    assert world.orders_parked == {last}


def test_a_newer_version_that_came_meanwhile_takes_its_place_before_it_is_split(
    world: Delivering,
) -> None:
    blame(world, 1)
    part = ordered(world, 4)
    record = world.ledger.records[part]
    world.ledger.records[part] = replace(record, replaced_by="newer", revision=record.revision + 1)
    delivered(world, part)
    assert (world.orders_parked, world.files_parked, carried_out(world)) == (set(), [], [])


def test_a_redrive_after_a_restore_finds_what_was_split(world: Delivering) -> None:
    """Though the route says `park` by now: another attempt would load the good half twice."""
    blame(world, 1)
    part = ordered(world, 4)
    ledger = world.ledger
    earlier = Copy(ledger, ledger.windows, ledger.table, world.deliveries)
    all_delivered(world, part)
    assert loaded(world) == names([0, 2, 3])
    made = len(world.simulator.batches())
    earlier.restore()
    record = ledger.records[part]
    ledger.records[part] = replace(record, order=replace(record.order, split_batches=0))
    world.clock.advance(HOUR)
    now = world.clock()
    world.identity = LedgerIdentity("the ledger", now, now + 22 * DAY)
    world.clock.advance(HOUR)
    world.simulator.mishaps.clear()
    delivered(world, part)
    assert world.orders_parked == {part}
    world.table = table(onFailed="park")
    assert try_again(part, world.intake(0)).kind is OutcomeKind.DUPLICATE
    all_delivered(world, *carried_out(world))
    assert loaded(world) == names([0, 2, 3])
    assert len(world.simulator.batches()) == made


STEPS: list[tuple[str, str, type[TryAgain]]] = [
    ("orders", "split", LedgerUnavailable),
    ("orders", "files", LedgerUnavailable),
    ("orders", "let_go", LedgerUnavailable),
    ("ingestion", "named", PlatformUnavailable),
    ("announcer", "ended", NotAnnounced),
    ("announcer", "rejected", NotAnnounced),
    ("", "park_file", StorageUnavailable),
    ("deliveries", "replace", LedgerUnavailable),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("port", "method", "error"), STEPS)
def test_whatever_fails_on_the_way_all_goes_on_once(
    world: Delivering, port: str, method: str, error: type[TryAgain], *, after: bool
) -> None:
    """Every third call of a method does not arrive, or does not answer."""
    calls = itertools.count()

    def troubled() -> DeliveryPorts:
        def fails() -> bool:
            return next(calls) % 3 == 0

        return failing(ports(world), port, method, error, fails, after=after)

    blame(world, 1)
    waiting = [ordered(world, 4)]
    while waiting:
        name = waiting.pop(0)
        steps.start(name, world.ledger.records[name].batch_id or "", ports(world))
        while world.uploads:
            upload.upload(world.uploads.pop(0).what, ports(world))
        tries = 0
        while (found := world.deliveries.kept[name]).due is not None:
            world.clock.advance(max(0, found.due - world.clock()))
            tries += 1
            assert tries < 100
            try:
                steps.resume(name, troubled())
            except TryAgain:
                continue
        waiting += carried_out(world)
    assert loaded(world) == names([0, 2, 3])
    assert set(parked(world)) == {"001.json"}
    assert not world.orders_parked
