"""A batch that was given up because of some files goes on without them, by itself."""

import json
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.clock.due import DueKind
from aep_intake.create import create
from aep_intake.delivery import ending, steps, upload
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.batches import Target
from aep_intake.model.errors import (
    BatchRefused,
    LedgerUnavailable,
    NotAnnounced,
    StorageUnavailable,
    TryAgain,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Demands, Order
from aep_intake.model.progress import OutcomeKind
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable

from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY
from tests.faults.harness import (
    CREDENTIAL,
    MINUTE,
    START,
    Delivering,
    calm,
    go_on,
    take,
    try_again,
)
from tests.unit.delivery.world import carried_out, delivered, ended, failing, ports

ROW = b'{"row": 1}\n'
# Larger than a piece: its last row, which is none, is in the last one, when the first is up.
TORN = 12 * ROW + b"no json\n"
LONG = 12 * ROW


def table(**written: Any) -> RoutingTable:
    whole = {"name": "all", "match": "in/**", "datasetId": LOYALTY, "batch": {"window": "1m"}}
    return routes.parse(json.dumps({"routes": [whole | written]}), "v1")


@pytest.fixture
def world() -> Delivering:
    world = calm(tables=(table(),), final=table())
    world.limits = BatchLimits(100, 10**6)
    return world


def arrival(number: int, content: bytes) -> Arrival:
    key, version = f"in/{number}.json", f"v{number}"
    return Arrival("landing", key, version, "e", f"006{number}", len(content), START)


def ordered(world: Delivering, *contents: bytes) -> tuple[str, list[Arrival]]:
    """Files share a batch; their order and they."""
    files = [arrival(number, content) for number, content in enumerate(contents)]
    for file, content in zip(files, contents, strict=True):
        world.put(file, content)
        take(file, world.intake(0))
    world.queue.clear()
    world.clock.advance(2 * MINUTE)
    [part] = carried_out(world)
    return part, files


def told(world: Delivering) -> list[str]:
    return [end["kind"] for end in world.ends]


def batched(world: Delivering, external_id: str) -> set[str]:
    batch = world.simulator.batch(world.ledger.records[external_id].batch_id or "")
    return {path[33:].partition("-")[0].partition(".")[0] for path in batch.files}


def test_the_other_files_go_on_and_the_culprit_is_parked_by_name(world: Delivering) -> None:
    """Before, its whole window was parked, and every redrive did the same again."""
    part, files = ordered(world, ROW, TORN, LONG)
    delivered(world, part)
    second = f"{part}.2"
    record = world.ledger.records[second]
    assert (record.order.left_out, record.lease) == ((1,), None)
    assert world.ledger.files(record.order) == (files[0], files[2])
    assert carried_out(world) == [second]
    delivered(world, second)
    assert told(world) == ["Batch Abandoned", "Batch Succeeded"]
    assert batched(world, second) == {"0", "2"}
    # The culprit is free: parked as it arrived, and told by name.
    [(parked, reason)] = world.files_parked
    assert (parked, world.ledger.claimant(parked)) == (files[1], None)
    assert (part, parked.uri, reason) in world.lost
    assert not world.orders_parked
    assert world.ledger.claimant(files[0]) == world.ledger.claimant(files[2]) is not None
    # Corrected routes let it through; the others have their batch.
    world.table = table(partialIngestionPercent=50)
    take(parked, world.intake(0))
    world.clock.advance(2 * MINUTE)
    [alone] = carried_out(world)
    delivered(world, alone)
    assert batched(world, alone) == {"1"}
    assert try_again(part, world.intake(0)).kind is OutcomeKind.DUPLICATE


def test_one_after_the_other_is_left_out(world: Delivering) -> None:
    """A file vanishes while the next attempt is under way: places count in the whole list."""
    part, files = ordered(world, TORN, ROW, LONG, LONG)
    delivered(world, part)
    [second] = carried_out(world)
    steps.start(second, world.ledger.records[second].batch_id or "", ports(world))
    first = next(e for e in world.uploads if e.what.piece and e.what.piece.file == files[2])
    upload.upload(first.what, ports(world))
    del world.contents["landing", files[2].key, files[2].version]
    while world.uploads:
        upload.upload(world.uploads.pop(0).what, ports(world))
    ended(world, second)
    [third] = carried_out(world)
    assert world.ledger.records[third].order.left_out == (0, 2)
    delivered(world, third)
    assert batched(world, third) == {"1", "3"}
    assert [file for file, _ in world.files_parked] == [files[0], files[2]]
    assert told(world) == ["Batch Abandoned", "Batch Abandoned", "Batch Succeeded"]


def test_where_aep_refuses_the_next_attempt_of_a_request_it_is_parked(world: Delivering) -> None:
    """Nobody has a message of it, who would send it again."""
    contents = (ROW, TORN)
    files = tuple(arrival(number, content) for number, content in enumerate(contents))
    for file, content in zip(files, contents, strict=True):
        world.put(file, content)
    world.queue.clear()
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    order = Order("mine", target, {"inputFormat": {"format": "json"}}, files, "request")
    order = replace(order, demands=Demands())
    create.create_batch(order, world.intake(0).creating)
    delivered(world, "mine")
    assert world.ledger.files(world.ledger.records["mine.2"].order) == files[:1]
    world.simulator.faults.add(Fault("status", "create", status=400))
    with pytest.raises(BatchRefused):
        go_on(DueKind.ORDERS, "mine.2", world.intake(0))
    assert world.orders_parked == {"mine.2"}
    assert try_again("mine.2", world.intake(0)).kind is OutcomeKind.CREATED
    delivered(world, "mine.2")
    assert batched(world, "mine.2") == {"0"}
    assert [file for file, _ in world.files_parked] == [files[1]]


def parked_as_ever(world: Delivering, part: str) -> None:
    assert world.orders_parked == {part}
    assert not world.files_parked
    assert world.ledger.records[part].next_attempt is None
    assert carried_out(world) == []


def test_where_the_route_wants_all_files_the_order_is_parked(world: Delivering) -> None:
    world.table = table(onLostFile="abort")
    part, _ = ordered(world, ROW, TORN)
    delivered(world, part)
    parked_as_ever(world, part)


def test_where_no_file_is_left_the_order_is_parked(world: Delivering) -> None:
    part, _ = ordered(world, TORN, TORN)
    delivered(world, part)
    parked_as_ever(world, part)


def test_where_more_are_lost_than_an_order_lists_it_is_parked(
    world: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "LEFT_OUT_MAX", 1)
    part, _ = ordered(world, ROW, TORN, TORN)
    delivered(world, part)
    parked_as_ever(world, part)


def test_what_a_person_aborts_has_no_other_attempt_by_itself(world: Delivering) -> None:
    part, files = ordered(world, ROW, LONG)
    batch_id = world.ledger.records[part].batch_id or ""
    steps.start(part, batch_id, ports(world))
    del world.contents["landing", files[0].key, files[0].version]
    upload.upload(world.uploads.pop(0).what, ports(world))
    world.simulator.set_status(batch_id, "aborted")
    ended(world, part)
    parked_as_ever(world, part)


def test_what_a_newer_version_replaced_has_none(world: Delivering) -> None:
    part, _ = ordered(world, ROW, TORN)
    record = world.ledger.records[part]
    world.ledger.records[part] = replace(record, replaced_by="newer", revision=record.revision + 1)
    delivered(world, part)
    assert (world.orders_parked, world.files_parked, carried_out(world)) == (set(), [], [])


STEPS: list[tuple[str, str, type[TryAgain]]] = [
    ("orders", "open_next_attempt", LedgerUnavailable),
    ("orders", "files", LedgerUnavailable),
    ("orders", "let_go", LedgerUnavailable),
    ("announcer", "ended", NotAnnounced),
    ("announcer", "rejected", NotAnnounced),
    ("", "park_file", StorageUnavailable),
    ("deliveries", "replace", LedgerUnavailable),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("port", "method", "error"), STEPS)
def test_whatever_fails_on_the_way_it_goes_on_once(
    world: Delivering, port: str, method: str, error: type[TryAgain], *, after: bool
) -> None:
    """Each call of a method in turn does not arrive, or does not answer."""
    part, files = ordered(world, ROW, TORN, LONG)
    steps.start(part, world.ledger.records[part].batch_id or "", ports(world))
    *rest, last = world.uploads
    world.uploads.clear()
    for errand in rest:
        upload.upload(errand.what, ports(world))
    calls = 0

    def troubled(number: int) -> DeliveryPorts:
        def fails() -> bool:
            nonlocal calls
            calls += 1
            return calls == number

        return failing(ports(world), port, method, error, fails, after=after)

    number, begun = 1, False
    while (found := world.deliveries.kept[part]).due is not None:
        calls = 0
        try:
            if begun:
                steps.resume(part, troubled(number))
            else:
                upload.upload(last.what, troubled(number))
        except TryAgain:
            number += 1
        found, begun = world.deliveries.kept[part], True
        world.clock.advance(max(0, (found.due or 0) - world.clock()))
        assert number < 20
    second = f"{part}.2"
    assert carried_out(world) == [second]
    delivered(world, second)
    assert batched(world, second) == {"0", "2"}
    assert world.ledger.claimant(files[1]) is None
    assert {file for file, _ in world.files_parked} == {files[1]}
    assert not world.orders_parked
