"""What somebody discarded is taken by nothing, says so, and comes back when they want it."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest
from aep_intake.arrivals.results import Known
from aep_intake.clock.parking import Parked
from aep_intake.create import create
from aep_intake.model import messages, records
from aep_intake.model.errors import BatchRefused, NotEnded, Overtaken
from aep_intake.model.history import NOBODY
from aep_intake.model.progress import OutcomeKind, Rejection, State
from aep_intake.report import status
from aep_intake_cli.choice import Choice
from aep_intake_cli.command import main
from aep_intake_cli.discarding import Marks

from local.simulator.faults import Fault
from tests.faults.harness import HOUR, Delivering, take, try_again
from tests.unit.arrivals.test_redrive import (
    A,
    arrived,
    following,
    rejected,
    table,
    without_data,
    world,
)
from tests.unit.cli.test_dead_letters import NOW, Sqs, everything, waiting

__all__ = ["world"]  # a fixture
SAID = "by arn:me: a test file"
WHY = Rejection("no-route", "no route", NOW)
FILE = Parked("0f", "arrivals", A.external_id, messages.of_arrival(A), WHY, None, A.uri, 1)


def marks(world: Delivering, *failed: str, said: str | None = SAID) -> Marks:
    return Marks(cast("Any", world.ledger), failed.__contains__, said)


def state(world: Delivering, file: Any = A) -> tuple[Any, Any]:
    ledger: Any = world.ledger
    ports = status.StatusPorts(
        ledger, ledger.windows, ledger.deliveries, lambda some: [{} for _ in some], map, dict
    )
    found = status.of_object(file.bucket, file.key, ports)
    assert found is not None
    by_version = {each.get("versionId"): each for each in found["versions"]}
    told = by_version[file.version_id]
    assert "since" in told
    return told["state"], told["why"]


def test_a_file_that_never_had_an_order(world: Delivering) -> None:
    """Its event, which comes again, a marker or a backfill do not bring it in."""
    rejected(world)
    marks(world).mark(FILE)
    marks(world).mark(FILE)
    assert state(world) == ("discarded", SAID)
    assert take(A, world.intake(0)) == Known(NOBODY)
    world.table = table(batch={"window": "1m"})
    assert take(A, world.intake(0)) == Known(NOBODY)
    world.table = table(match="elsewhere/**")
    assert take(A, world.intake(0)) == Known(NOBODY), "it is not parked again"
    world.table = table()
    newer = following(2)
    world.put(newer, b"{}\n")
    assert take(newer, world.intake(0)).kind is OutcomeKind.CREATED
    marks(world, said=None).mark(FILE)
    assert state(world)[0] == "rejected"
    assert take(replace(A, sequencer="0061"), world.intake(0)).kind is OutcomeKind.CREATED


def test_a_file_without_a_version_id_is_discarded_however_it_is_listed(world: Delivering) -> None:
    """A marker and a backfill list it, and S3 lists no sequencer."""
    event = replace(A, version_id=None, sequencer="0061")
    listed = replace(event, sequencer=None, brought_by="backfill-1", aged=True)
    world.put(event, b"{}\n")
    parked = replace(FILE, body=messages.of_arrival(event))
    marks(world).mark(parked)
    marks(world).mark(parked)
    assert take(event, world.intake(0)) == Known(NOBODY)
    assert take(listed, world.intake(0)) == Known(NOBODY)
    marks(world, said=None).mark(parked)
    assert world.ledger.claims == {}
    assert take(event, world.intake(0)).kind is OutcomeKind.CREATED
    before = dict(world.ledger.claims)
    marks(world).mark(parked)
    marks(world, said=None).mark(parked)
    assert world.ledger.claims == before, "what has a batch stays as it is"


def test_an_order_whose_batch_failed(world: Delivering) -> None:
    failed = arrived(world, A, end="failed")
    parked = replace(FILE, body=messages.of_order(failed))
    marks(world).mark(parked)
    assert state(world)[0] == "loading", "its batch may hold data, for all we know"
    marks(world, failed).mark(parked)
    assert state(world) == ("discarded", SAID)
    intake = without_data(world, failed)
    assert try_again(failed, intake).kind is OutcomeKind.DUPLICATE
    with pytest.raises(NotEnded, match="discarded: by arn:me"):
        create.start_next_attempt(failed, intake.creating)
    assert take(A, intake).kind is OutcomeKind.DUPLICATE
    assert len(world.simulator.batches()) == 1
    marks(world, said=None).mark(parked)
    outcome = try_again(failed, intake)
    assert outcome.record.order.external_id == f"{failed}.2"
    marks(world, failed).mark(parked)
    assert world.ledger.records[failed].discarded is None, "it has another attempt"


def test_what_a_copy_stands_for_is_not_the_copy(world: Delivering) -> None:
    """Both are parked where the copy came first and AEP refused it; people want one of them."""
    copy = replace(following(2), etag=A.etag, copied=True)
    for file in (A, copy):
        world.put(file, b"{}\n")
    world.versions = [A, copy]
    for file in (copy, A):
        world.simulator.faults.add(Fault("status", operation="create", status=400))
        with pytest.raises(BatchRefused):
            take(file, world.intake(0))
    of_copy = replace(FILE, body=messages.of_arrival(copy))
    marks(world).mark(of_copy)
    with pytest.raises(Overtaken, match="a copy that stands for it, was discarded"):
        take(A, world.intake(0))
    marks(world, said=None).mark(of_copy)
    marks(world).mark(FILE)
    assert take(copy, world.intake(0)).kind is OutcomeKind.CREATED


def test_a_held_order_stands_in_nobody_s_way(world: Delivering) -> None:
    world.table = table(onNewVersion="replace")
    first = arrived(world, A)
    held = world.ledger.records[first].rejected(
        State.HELD, Rejection("needs-attention", "look", NOW)
    )
    world.ledger.records[first] = replace(
        held, batch_id=None, created_at=None, delivers=None, lease=None, due=None
    )
    world.ledger.deliveries.clear()
    marks(world).mark(FILE)
    assert state(world) == ("discarded", SAID)
    newer = following(2, etag="b")
    world.put(newer, b"{}\n")
    assert take(newer, world.intake(0)).kind is OutcomeKind.CREATED


def test_files_for_which_no_marker_came(world: Delivering) -> None:
    world.table = table(batch={"marker": "_SUCCESS", "within": "1h"})
    world.put(A, b"{}\n")
    take(A, world.intake(0))
    world.clock.advance(2 * HOUR)
    world.rest()
    [overdue] = world.overdue_parked
    body = json.dumps(messages.of_overdue(overdue), default=records.members)
    marks(world).mark(replace(FILE, body=body))
    assert state(world) == ("discarded", SAID)


@pytest.mark.parametrize("body", ["no JSON", '{"externalId": "nobody"}'])
def test_what_nobody_knows_is_only_dropped(world: Delivering, body: str) -> None:
    marks(world).mark(replace(FILE, body=body))
    marks(world).mark(replace(FILE, queue="uploads"))
    assert world.ledger.claims == {}


def test_its_message_goes_with_it_and_it_can_be_parked_again() -> None:
    other = waiting("other", messages.of_order("a"), reason="no-route")
    sqs = Sqs(waiting("of-it", item="0f"), waiting("alone"), other)
    lot, items = everything(sqs, replace(FILE, why=replace(WHY, reason="tries-used-up")))
    marked: list[Parked] = []
    chosen = Choice(reasons=frozenset({"tries-used-up"}))
    told = list(lot.discard(chosen, marked.append, NOW))
    assert told == marked
    assert len(told) == 2
    assert sorted(sqs.deleted) == ["alone", "of-it"]
    assert sqs.released == ["other"]
    assert [one.external_id for one, _ in items.items.values()] == ["a"]
    again = list(lot.undo_discard(Choice(), marked.append, dry_run=True))
    assert (len(again), len(items.items)) == (2, 1)
    assert len(list(lot.undo_discard(chosen, marked.append, dry_run=False))) == 2
    assert len(items.items) == 3
    assert items.discarded == {}


@pytest.mark.parametrize(
    "typed",
    [
        ["--note", "all"],
        ["--route", "crm"],
        ["--route", "crm", "--undo", "--note", "both"],
    ],
)
def test_it_takes_a_choice_and_a_reason(typed: list[str]) -> None:
    assert main(["discard", *typed]) == 2
