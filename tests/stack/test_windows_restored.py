"""Windows that a restored ledger has forgotten, put back from their lists: for each ledger.

And what DynamoDB restores by halves.
"""

import uuid
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.restored import DynamoRestored
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.clock.due import DueKind
from aep_intake.grouping.restore import restore
from aep_intake.grouping.windows import register
from aep_intake.model.errors import WindowSealed
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import NOBODY
from aep_intake.model.orders import Lineage, LineageHead, Order, WindowPart, claims
from aep_intake.model.progress import Lease, Record
from aep_intake.model.windows import Window, WindowStage
from aep_intake_cli.restored_ledger import make_whole

from local.stack import LocalStack
from tests.builders import TARGET, order
from tests.memory_ledger import due_of
from tests.stack.test_windows import DAY, NOW, files, ledger, plain, ports

__all__ = ["ledger"]


def planned(window: Window, some: tuple[Arrival, ...]) -> Window:
    """As the window's list tells of it."""
    part = WindowPart(window.window_id, 0, len(some), 10 * len(some))
    return window.sealed(NOW).planned((part,), window.list_key)


def put_back(ledger: Any, window: Window, some: tuple[Arrival, ...]) -> int | None:
    return restore(window, [(file, None) for file in some], ledger.windows, map)


def test_a_window_that_was_forgotten_is_there_with_its_files(ledger: Any) -> None:
    some = files(3)
    window = planned(plain(), some)
    assert put_back(ledger, window, some) == 3
    assert ledger.windows.get(window.window_id) == window
    assert {ledger.claimant(file) for file in some} == {window.window_id}
    assert window.window_id in due_of(ledger, DueKind.WINDOWS, NOW + 60_000)
    joined, known = register(plain(), some, ports(ledger))
    assert (joined, set(known.values())) == ({}, {window.window_id})


def test_so_is_the_marker_of_a_folder(ledger: Any) -> None:
    [mark, *some] = files(3)
    window = planned(Window.of(mark, plain().order, NOW), tuple(some))
    assert put_back(ledger, window, tuple(some)) == 2
    assert {ledger.claimant(file) for file in (mark, *some)} == {window.window_id}


def test_one_that_is_remembered_as_open_takes_nothing_more(ledger: Any) -> None:
    """Half of its files had joined at the time to which the ledger was restored."""
    early, late, later = files(1), files(2), files(1)
    window = ledger.windows.open(plain())
    register(window, early, ports(ledger))
    listed = (*early, *late)
    assert put_back(ledger, planned(window, listed), listed) == 3
    standing = ledger.windows.get(window.window_id)
    assert (standing.stage, standing.parts[0].end) == (WindowStage.PLANNED, 3)
    with pytest.raises(WindowSealed):
        ledger.windows.register(window, later, later)
    assert {ledger.claimant(file) for file in listed} == {window.window_id}


def test_one_that_is_known_is_left_as_it_is(ledger: Any) -> None:
    """The command may be repeated, also when workers have gone on."""
    some = files(2)
    window = planned(plain(), some)
    put_back(ledger, window, some)
    assert put_back(ledger, window, some) is None
    done = ledger.windows.replace(window, window.finished())
    assert put_back(ledger, window, some) is None
    assert ledger.windows.get(window.window_id) == done


def test_what_somebody_has_claimed_since_stays_theirs(ledger: Any) -> None:
    [mine, *others], another = files(3), f"o-{uuid.uuid4().hex}"
    ledger.open(Record.opened(Order(another, TARGET, {}, (mine,)), Lease("t", NOW), NOW))
    window = planned(plain(), (mine, *others))
    assert put_back(ledger, window, (mine, *others)) == 3
    assert ledger.claimant(mine) == another
    assert {ledger.claimant(file) for file in others} == {window.window_id}


def test_what_was_superseded_is_claimed_and_told_so(ledger: Any) -> None:
    [newest] = files(1)
    old = replace(newest, version_id="v-old", sequencer="0000")
    window = planned(plain(), (newest,))
    listed = [(newest, None), (old, newest.version)]
    assert restore(window, listed, ledger.windows, map) == 2
    assert ledger.claimant(old) == window.window_id
    told = {one.version: one.superseded_by for one in ledger.seen(old.object_id)}
    assert told == {newest.version: None, old.version: newest.version}


@pytest.mark.parametrize(("standing", "moves"), [(None, True), ("0061", True), ("0063", False)])
def test_the_newest_of_a_folder_is_what_it_was(
    ledger: Any, standing: str | None, moves: bool
) -> None:
    some, subject = files(1), uuid.uuid4().hex
    if standing is not None:
        lineage = Lineage(subject, standing)
        order = Order(f"o-{subject}", TARGET, {}, files(1), lineage=lineage)
        ledger.open(Record.opened(order, Lease("t", NOW), NOW))
    pattern = plain()
    lineage = Lineage(subject, "0062")
    window = planned(replace(pattern, order=replace(pattern.order, lineage=lineage)), some)
    put_back(ledger, window, some)
    expected = (
        LineageHead(window.part_id(0), "0062") if moves else LineageHead(f"o-{subject}", "0063")
    )
    assert ledger.head(subject) == expected


def test_what_was_restored_by_halves_is_made_whole(stack: LocalStack) -> None:
    """DynamoDB may restore some changes of the last transactions, and not the others."""
    client, name, now = stack.aws.dynamodb, f"halves-{uuid.uuid4().hex}", NOW + 9_999 * DAY
    client.restore_table_to_point_in_time(
        SourceTableName=stack.outputs["LedgerTable"],
        TargetTableName=name,
        UseLatestRestorableTime=True,
    )

    def opened(file: Arrival) -> Arrival:
        its = Order(file.external_id, TARGET, {}, (file,))
        kept.open(Record.opened(its, Lease("t", now), now))
        return file

    def joined(window: Window, file: Arrival) -> Arrival:
        kept.windows.register(kept.windows.open(window), (file,), (file,))
        return file

    def forget(pk: str, sk: str) -> None:
        client.delete_item(TableName=name, Key={"pk": {"S": pk}, "sk": {"S": sk}})

    kept = DynamoLedger(client, name, lambda: now, 60 * DAY)
    window, other = (Window.at(order(route=uuid.uuid4().hex), 60_000, now) for _ in range(2))
    whole, alone, listed, unlisted, unclaimed, stray, discarded = files(7)
    opened(whole)
    forget(f"order#{opened(alone).external_id}", "order")
    joined(window, listed)
    its_list = digest(joined(window, unlisted).external_id)
    forget(f"window#{window.window_id}", f"files#{its_list}")
    [claim] = claims(joined(window, unclaimed))
    forget(f"object#{claim.object_id}", claim.slot)
    joined(other, stray)
    forget(f"window#{other.window_id}", "window")
    kept.discard(discarded, "nobody wants it", 0)

    restored = DynamoRestored(Table(client, name), 60 * DAY)
    made = make_whole(kept, restored, now - 60_000, now + 60_000)
    assert made == sorted(file.uri for file in (alone, unlisted, stray))
    owners = {file: kept.claimant(file) for file in (whole, listed, unclaimed, discarded)}
    its_id = window.window_id
    assert owners == {
        whole: whole.external_id,
        listed: its_id,
        unclaimed: its_id,
        discarded: NOBODY,
    }
    assert make_whole(kept, restored, now - 60_000, now + 60_000) == []
    # Their events come again.
    kept = DynamoLedger(client, name, lambda: now, 60 * DAY)
    opened(alone)
    for its, file in ((window, unlisted), (other, stray)):
        joined(its, file)
        assert file in kept.windows.registered(its.window_id)
