"""One contract, two ledgers: the one the fault schedules use, and the one in DynamoDB."""

import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, Protocol

import pytest
from aep_intake.adapters.dynamodb.connections import DynamoConnections
from aep_intake.adapters.dynamodb.items import asides
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.listing import DynamoListed
from aep_intake.adapters.dynamodb.parked import DISCARDED, DynamoParked
from aep_intake.adapters.dynamodb.table import Item, Table
from aep_intake.arrivals.ports import ArrivalLedger, VersionLedger
from aep_intake.clock.due import LANES, Due, DueKind, DueLedger, PauseLedger, lane
from aep_intake.clock.parking import Parked
from aep_intake.grouping.ports import Folders
from aep_intake.grouping.windows import WindowLedger
from aep_intake.model.errors import (
    AlreadyClaimed,
    LeaseLost,
    LedgerUnavailable,
    LineMoved,
    NoRoute,
    NotYet,
)
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import NOBODY, OverdueFiles, Seen, WaitingGroup
from aep_intake.model.orders import Lineage, LineageHead, Order, Replaced, WindowPart
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Lease, Record, Rejection, State
from aep_intake.model.times import hour_of
from aep_intake.model.windows import Window
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPResponse

from local.stack import LocalStack
from tests import builders
from tests.builders import TARGET, order
from tests.memory_ledger import MemoryLedger, due_of

# Ahead of every real clock: what expires by it must not be gone while a test runs.
NOW = 4_090_000_000_000
LISTED = NOW - 80_000  # before anything is due
DAY = 86_400_000
END = NOW + 999 * DAY  # of a worker
OPTIONS = {"inputFormat": {"format": "json"}, "tags": {"a": ["b", "ü"]}, "partial": 0.5}
count = itertools.count()


class Pauses(PauseLedger, Protocol):
    """All that people and functions ask of the ledger about pauses."""

    def standing(self) -> Mapping[str, Pause]: ...
    def put(self, pause: Pause) -> None: ...


class Contract(ArrivalLedger, VersionLedger, Protocol):
    """All that the functions ask of a ledger."""

    def of_batch(self, batch_id: str) -> Record | None: ...
    def seen(self, object_id: str) -> list[Seen]: ...
    def discard(self, arrival: Arrival, said: str, at: int) -> bool: ...
    def undo_discard(self, arrival: Arrival) -> None: ...
    def let_go(self, order: Order, lost: Mapping[Arrival, Rejection]) -> None: ...
    def split(self, ended: Record, *following: Record) -> bool: ...
    @property
    def due_work(self) -> DueLedger: ...
    @property
    def pauses(self) -> Pauses: ...
    @property
    def folders(self) -> Folders: ...
    @property
    def windows(self) -> WindowLedger: ...


@pytest.fixture
def clock() -> list[int]:
    """What time it is for the ledger: the last one."""
    return [NOW]


@pytest.fixture(params=["memory", "dynamodb"])
def ledger(request: pytest.FixtureRequest, clock: list[int]) -> Contract:
    if request.param == "memory":
        return MemoryLedger(now=lambda: clock[-1])
    stack: LocalStack = request.getfixturevalue("stack")
    table = stack.outputs["LedgerTable"]
    return DynamoLedger(stack.aws.dynamodb, table, lambda: clock[-1], 60 * DAY)


def arrival(**changes: Any) -> Arrival:
    key = f"in/{uuid.uuid4().hex}/ä +%//{'x' * 900}"
    return replace(Arrival("landing", key, None, "etag", "0061", 10, NOW), **changes)


opened = partial(builders.opened, NOW, options=OPTIONS)
batch = partial(builders.batch, NOW, size=1.5, note="")


def test_what_is_put_is_what_is_got(ledger: Contract) -> None:
    files = arrival(), arrival(version_id="v", sequencer=None)
    record = ledger.open(opened(*files, trigger="request"))
    assert ledger.get(record.order.external_id) == record
    created = ledger.replace(record, record.created(batch()))
    assert ledger.get(record.order.external_id) == created
    assert ledger.get("nobody") is None


def group(folder_id: str, due: int, *files: Arrival) -> WaitingGroup:
    return WaitingGroup(folder_id, "r", 60_000, due, files or (arrival(), arrival(version_id="v")))


@pytest.fixture
def folder_id() -> str:
    return f"folder-{uuid.uuid4().hex}"


def places(ledger: Contract, folder_id: str, after: str = "", until: str = "~") -> list[str]:
    return [found.place for found in ledger.folders.waiting(folder_id, after, until)]


def test_what_waits_in_a_folder_is_listed_by_its_time(
    ledger: Contract, folder_id: str, clock: list[int]
) -> None:
    clock.append(LISTED)
    assert ledger.folders.get(folder_id) is None
    late, early, between = (group(folder_id, NOW + due) for due in (900, 100, 500))
    for some in (late, early, between, early):
        ledger.folders.wait(some)
    ledger.folders.wait(group(f"folder-{uuid.uuid4().hex}", NOW + 1))
    assert list(ledger.folders.waiting(folder_id, "", "~")) == [early, between, late]
    assert places(ledger, folder_id, early.place, late.place) == [between.place, late.place]
    assert places(ledger, folder_id, "", f"{NOW + 500:013}~") == [early.place, between.place]
    found = ledger.folders.get(folder_id)
    assert found is not None
    assert (found.due, found.done) == (NOW + 100, "")
    assert folder_id not in due_of(ledger, DueKind.FOLDERS, NOW + 99)
    assert due_of(ledger, DueKind.FOLDERS, NOW + 100)[folder_id] == NOW + 100


def test_a_folder_goes_on_unless_more_comes_just_then(
    ledger: Contract, folder_id: str, clock: list[int]
) -> None:
    clock.append(LISTED)
    ledger.folders.wait(first := group(folder_id, NOW + 1))
    clock.append(NOW)
    old = ledger.folders.get(folder_id)
    assert old is not None
    done = replace(old, due=None, done=first.place, revision=old.revision + 1)
    ledger.folders.wait(group(folder_id, NOW + 60_000))
    with pytest.raises(LeaseLost):
        ledger.folders.advance(old, done)
    standing = ledger.folders.get(folder_id)
    assert standing is not None
    assert (standing.due, standing.done) == (NOW + 1, "")
    ledger.folders.advance(standing, replace(done, revision=standing.revision + 1))
    assert folder_id not in due_of(ledger, DueKind.FOLDERS, NOW + 99_000)
    with pytest.raises(LeaseLost):
        ledger.folders.advance(standing, done)
    ledger.folders.wait(group(folder_id, NOW + 90_000))
    following = ledger.folders.get(folder_id)
    assert following is not None
    assert (following.due, following.done) == (NOW + 90_000, first.place)


def test_what_comes_while_a_worker_has_a_folder_is_for_that_worker_to_see(
    ledger: Contract, folder_id: str, clock: list[int]
) -> None:
    ledger.folders.wait(group(folder_id, NOW + 60_000))
    clock.append(NOW + 90_000)
    assert ledger.due_work.lease(Due(DueKind.FOLDERS, folder_id, NOW + 60_000), NOW + 900_000)
    ledger.folders.wait(group(folder_id, NOW + 200_000))
    touched = ledger.folders.get(folder_id)
    assert touched is not None
    assert (touched.due, touched.revision) == (NOW + 60_000, 2)
    assert folder_id not in due_of(ledger, DueKind.FOLDERS, NOW + 899_000)


def test_a_folder_remembers_what_is_parked_whoever_has_it(
    ledger: Contract, folder_id: str, clock: list[int]
) -> None:
    ledger.folders.wait(group(folder_id, NOW + 60_000))
    clock.append(NOW + 90_000)
    assert ledger.due_work.lease(Due(DueKind.FOLDERS, folder_id, NOW + 60_000), NOW + 900_000)
    old = ledger.folders.get(folder_id)
    assert old is not None
    parked = OverdueFiles(folder_id, "a", "b")
    ledger.folders.remember(old, (parked,))
    with pytest.raises(LeaseLost):
        ledger.folders.remember(old, ())
    assert folder_id not in due_of(ledger, DueKind.FOLDERS, NOW + 899_000)
    found = ledger.folders.get(folder_id)
    assert found == replace(old, parked=(parked,), revision=old.revision + 1)
    ledger.folders.advance(found, replace(found, due=None, revision=found.revision + 1))
    kept = ledger.folders.get(folder_id)
    assert kept is not None
    assert (kept.due, kept.parked) == (None, (parked,))
    ledger.folders.remember(kept, ())
    forgotten = ledger.folders.get(folder_id)
    assert forgotten is not None
    assert forgotten.parked == ()


def test_a_worker_says_once_that_a_folder_waits(
    stack: LocalStack, folder_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its time has nearly come: then whoever looks at it must know of each file."""
    times, updates, real = [LISTED], list[Any](), Table.update

    def update(table: Table, *args: Any) -> Item:
        updates.append(args)
        return real(table, *args)

    monkeypatch.setattr(Table, "update", update)
    table = stack.outputs["LedgerTable"]
    ledger = DynamoLedger(stack.aws.dynamodb, table, lambda: times[-1], 60 * DAY)
    for due in (60_000, 61_000, 60_000):
        ledger.folders.wait(group(folder_id, NOW + due))
    assert len(updates) == 1
    ledger.folders.wait(group(folder_id, NOW + 59_000))
    assert len(updates) == 2
    other = DynamoLedger(stack.aws.dynamodb, table, lambda: LISTED, 60 * DAY)
    for due in (70_000, 80_000):
        other.folders.wait(group(folder_id, NOW + due))
    assert len(updates) == 3
    found = ledger.folders.get(folder_id)
    assert found is not None
    assert found.due == NOW + 59_000
    times.append(NOW + 49_000)  # clocks may differ by ten seconds
    ledger.folders.wait(group(folder_id, NOW + 120_000))
    assert ledger.folders.get(folder_id) == replace(found, revision=found.revision + 1)


def test_a_folder_whose_time_has_come_is_not_left_without_one(
    stack: LocalStack, folder_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody goes on with it while something is added to its list, and has not seen that."""
    table, late = stack.outputs["LedgerTable"], [LISTED]
    ours, other = (
        DynamoLedger(stack.aws.dynamodb, table, lambda: late[-1], 60 * DAY) for _ in range(2)
    )
    ours.folders.wait(first := group(folder_id, NOW + 60_000))
    old = other.folders.get(folder_id)
    assert old is not None
    done = replace(old, due=None, done=first.place, revision=old.revision + 1)
    real = Table.update

    def update(table: Table, pk: str, sk: str, how: str, *args: Any) -> Item:
        if how.startswith("ADD") and other.folders.get(folder_id) == old:
            other.folders.advance(old, done)
        return real(table, pk, sk, how, *args)

    monkeypatch.setattr(Table, "update", update)
    late.append(NOW + 60_000)
    ours.folders.wait(group(folder_id, NOW + 150_000))
    found = other.folders.get(folder_id)
    assert found is not None
    assert (found.due, found.done) == (NOW + 150_000, first.place)


def test_what_was_noted_of_a_file_is_not_undone_by_waiting(ledger: Contract) -> None:
    file, other = arrival(version_id="v"), arrival(version_id="v")
    ledger.note(file, "not-the-first", "r")
    ledger.note_waiting(file, "s", "m", NOW)
    ledger.note_waiting(other, "s", "m", NOW)
    ledger.note_waiting(other, "t", "n", NOW + 1)
    [first], [second] = ledger.seen(file.object_id), ledger.seen(other.object_id)
    assert (first.noted, first.route) == ("not-the-first", "r")
    assert (first.file, second.file) == (file, other)
    assert (second.noted, second.route) == ("waiting", "s")
    assert (second.waits_for, second.until, second.time) == ("m", NOW, other.time)
    ledger.note(other, "not-the-first", "t")
    assert [one.noted for one in ledger.seen(other.object_id)] == ["not-the-first"]


def test_a_folder_is_known_by_its_newest_marker(ledger: Contract) -> None:
    place, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert ledger.newest_marker_time(place) == 0
    for time in (NOW, NOW + 5, NOW + 3):
        ledger.note_marker_time(place, time)
    assert (ledger.newest_marker_time(place), ledger.newest_marker_time(other)) == (NOW + 5, 0)


def test_a_rejection_may_be_told_under_another_id(ledger: Contract) -> None:
    file = arrival(version_id="v")
    ledger.reject(file, why := Rejection("marker-missing", "", NOW), "folder-1")
    [seen] = ledger.seen(file.object_id)
    assert (seen.owner, seen.rejection, seen.claimed) == ("folder-1", why, False)


def test_many_orders_are_read_at_once_and_unfinished_ones_page_by_page(
    ledger: Contract,
) -> None:
    if not isinstance(ledger, DynamoLedger):
        return  # lists read DynamoDB alone
    listed = DynamoListed(ledger._table, lambda: ["route#r"])
    records = [ledger.open(opened(arrival())) for _ in range(7)]
    paused = records[-1].paused_by("route#r", NOW)
    records[-1] = ledger.replace(records[-1], paused)
    ids = {record.order.external_id for record in records}
    found = listed.orders([*ids, "nobody's"])
    assert {name: record for name, (record, _) in found.items()} == {
        record.order.external_id: record for record in records
    }
    seen: list[str] = []
    page, after = listed.unfinished(DueKind.ORDERS, "nonsense", 3)
    while True:
        seen += page
        if not after:
            break
        page, after = listed.unfinished(DueKind.ORDERS, after, 3)
    assert len(seen) == len(set(seen))
    assert ids <= set(seen)


def test_the_claimants_of_many_are_asked_at_once(ledger: Contract) -> None:
    listed = replace(arrival(), sequencer=None)
    named, free = arrival(version_id="v1"), replace(arrival(), sequencer=None)
    record = ledger.open(opened(listed, named))
    # Without version ids, what waited as its event told it was claimed as a marker lists it.
    waited = replace(listed, sequencer="0061")
    owners = dict.fromkeys((listed, named, waited), record.order.external_id)
    assert ledger.claimants([listed, free, named, waited, named]) == owners
    told = arrival()
    record = ledger.open(opened(told))
    again = replace(told, sequencer="0099")  # the same bytes once more
    assert ledger.claimants([told, again]) == {told: record.order.external_id}
    assert ledger.claimants([]) == {}


def test_why_an_arrival_is_tried_again_is_noted(ledger: Contract) -> None:
    file = arrival()
    ledger.note_retrying(file, "S3 answered 403 ä", NOW + DAY)
    ledger.note_waiting(file, "r", "m", NOW)
    if isinstance(ledger, DynamoLedger):
        listed = DynamoListed(ledger._table, list).aside("retrying")
        assert file.uri in {one.uri for one in listed}
    found = {one.noted: one for one in ledger.seen(file.object_id)}
    retrying = found["retrying"]
    assert (retrying.trouble, retrying.until) == ("S3 answered 403 ä", NOW + DAY)
    assert (retrying.time, retrying.claimed, retrying.rejection) == (file.time, False, None)
    assert found["waiting"].waits_for == "m", "neither stands in the other's way"
    record = ledger.open(opened(file))
    assert ledger.claimant(file) == record.order.external_id


def test_what_is_set_aside_is_listed_by_its_hour(ledger: Contract) -> None:
    if not isinstance(ledger, DynamoLedger):
        return  # lists read DynamoDB alone
    left, waited, old = arrival(), arrival(version_id="v1"), arrival()
    ledger.note(left, "ready", "r")
    ledger.note_superseded(waited, "v:2", "r")
    ledger.note_waiting(arrival(), "r", "m", NOW)
    record = ledger.open(opened(old))
    copy = replace(old, sequencer="0062")
    [held] = ledger.counted_versions(old.object_id)
    assert ledger.claim_copy(copy, held)
    ledger.windows.supersede(record.order.external_id, old, "e:2")
    listed = DynamoListed(ledger._table, lambda: [])
    ours = {one.object_id for one in (left, waited, old)}

    def told(hour: int) -> set[Arrival]:
        aside = listed.aside(hour_of(hour))
        return {replace(file, size=10) for file in aside if file.object_id in ours}

    assert told(NOW) == {left, waited, old, copy}
    assert told(NOW - DAY) == set()
    assert ledger.of_batch(asides(hour_of(NOW))[0]) is None


def test_the_first_to_open_wins(ledger: Contract) -> None:
    file = arrival()
    first, second = opened(file), opened(file)
    assert ledger.open(first) == first
    assert ledger.open(second) == first
    assert ledger.get(file.external_id) == first


@pytest.mark.parametrize("version", ["v1", None])
def test_another_order_cannot_take_a_claimed_version(ledger: Contract, version: str | None) -> None:
    event = arrival(version_id=version)
    ledger.open(opened(event))
    named = replace(event, sequencer=None, time=NOW + 5)
    other, wanted = arrival(), order(named, external_id=f"r-{uuid.uuid4().hex}")
    wanted = replace(wanted, files=(other, named), trigger="request")
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.open(Record.opened(wanted, Lease("t", NOW), NOW))
    assert caught.value.claimed == {named: event.external_id}
    assert ledger.get(wanted.external_id) is None
    assert ledger.claimant(other) is None, "all or nothing"
    assert ledger.claimant(named) == event.external_id


def test_an_event_follows_the_request_that_named_its_content(ledger: Contract) -> None:
    event = arrival()
    named = replace(event, sequencer=None)
    request = ledger.open(opened(named, external_id=f"r-{uuid.uuid4().hex}", trigger="request"))
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.open(opened(event))
    assert caught.value.claimed == {event: request.order.external_id}
    assert ledger.claimant(event) == request.order.external_id


def test_the_same_bytes_uploaded_again_are_a_new_version(ledger: Contract) -> None:
    first, again = opened(event := arrival()), opened(replace(event, sequencer="0062"))
    assert ledger.open(first) == first
    assert ledger.open(again) == again


def test_a_write_succeeds_only_on_what_it_was_made_from(ledger: Contract) -> None:
    record = ledger.open(opened(arrival()))
    taken = ledger.replace(record, record.leased(Lease("other", NOW + 9)))
    with pytest.raises(LeaseLost):
        ledger.replace(record, record.created(batch()))
    assert ledger.get(record.order.external_id) == taken


def test_the_next_attempt_comes_with_the_end_of_the_last(ledger: Contract) -> None:
    record = ledger.open(opened(arrival()))
    ended, following = record.followed(Lease("next", NOW + 9), NOW)
    assert ledger.open_next_attempt(ended, following) == following
    assert ledger.get(record.order.external_id) == ended
    assert ledger.get(f"{record.order.external_id}.2") == following
    with pytest.raises(LeaseLost):
        ledger.open_next_attempt(ended, following)


def test_an_order_is_split_once_and_so_often_only(ledger: Contract) -> None:
    files = tuple(arrival() for _ in range(4))
    record = ledger.open(opened(*files, split_batches=3))
    name = record.order.external_id
    halves = record.order.halves()
    assert halves is not None
    ended, *begun = record.split(*halves, now=NOW)
    assert ledger.split(ended, *begun)
    assert ledger.get(name) == ended
    assert [ledger.get(half.external_id) for half in halves] == begun
    assert [ledger.files(half) for half in halves] == [files[:2], files[2:]]
    assert begun[0].order.external_id in due_of(ledger, DueKind.ORDERS, NOW)
    with pytest.raises(LeaseLost):
        ledger.split(ended, *begun)
    # They share the bound of the first order: one more batch may be made, and not two.
    first, second = begun
    more = first.order.halves()
    assert more is not None
    assert not ledger.split(*first.split(*more, now=NOW))
    assert ledger.get(first.order.external_id) == first
    without = first.order.without(files[:1], files[:2])
    ended, following = first.followed(None, NOW, without)
    assert ledger.split(ended, following)
    assert ledger.files(following.order) == files[1:2]
    # To let all go makes no batch.
    [closed] = second.split(now=NOW)
    assert ledger.split(closed)
    assert ledger.get(second.order.external_id) == closed


def test_only_the_unfinished_is_due(ledger: Contract) -> None:
    early = ledger.open(opened(arrival()))
    late = ledger.open(replace(opened(arrival()), due=NOW + DAY))
    done = ledger.open(opened(arrival()))
    done = ledger.replace(done, done.created(batch()))
    ledger.replace(done, done.announced())
    due = due_of(ledger, DueKind.ORDERS, NOW + 1)
    assert due[early.order.external_id] == NOW + 1
    assert late.order.external_id not in due
    assert done.order.external_id not in due


def lasting(ledger: Contract, kind: DueKind) -> tuple[str, int]:
    """Something of a class that is due: its id, and when."""
    match kind:
        case DueKind.ORDERS:
            record = ledger.open(opened(arrival()))
            return record.order.external_id, record.due or 0
        case DueKind.FOLDERS:
            folder_id = f"folder-{uuid.uuid4().hex}"
            ledger.folders.wait(group(folder_id, NOW + 60_000))
            return folder_id, NOW + 60_000
    window = Window(order(external_id=f"window-{uuid.uuid4().hex}"), 60_000, NOW, due=NOW + 60_000)
    ledger.windows.open(window)
    return window.window_id, NOW + 60_000


@pytest.mark.parametrize("kind", [DueKind.ORDERS, DueKind.FOLDERS, DueKind.WINDOWS])
def test_what_is_leased_is_due_when_the_lease_is_over(ledger: Contract, kind: DueKind) -> None:
    name, when = lasting(ledger, kind)
    due = Due(kind, name, when)
    assert due in ledger.due_work.due(kind, when, 10**6)
    assert not any(
        due.id == name for k in set(DueKind) - {kind} for due in ledger.due_work.due(k, when, 10**6)
    )
    assert ledger.due_work.lease(due, when + 100) == when
    assert ledger.due_work.lease(due, when + 100) is None, "somebody else has leased it"
    assert name not in due_of(ledger, kind, when + 99)
    again = Due(kind, name, when + 100)
    assert again in ledger.due_work.due(kind, when + 100, 10**6)
    assert ledger.due_work.lease(again, when + 200) == when, "since when it is due is not forgotten"


def test_a_lease_changes_nothing_of_what_is_leased(ledger: Contract) -> None:
    """And ends with the next word of whoever works on it."""
    record = ledger.open(opened(arrival()))
    name, when = record.order.external_id, record.due or 0
    assert ledger.due_work.lease(Due(DueKind.ORDERS, name, when), NOW + DAY) == when
    assert ledger.get(name) == record
    given_back = ledger.replace(record, record.given_back(NOW + 5))
    assert due_of(ledger, DueKind.ORDERS, NOW + 5)[name] == NOW + 5
    assert ledger.due_work.lease(Due(DueKind.ORDERS, name, NOW + 5), NOW + DAY) == NOW + 5
    done = ledger.replace(given_back, given_back.created(batch()))
    ledger.replace(done, done.announced())
    assert ledger.due_work.lease(Due(DueKind.ORDERS, name, NOW + 5), NOW + DAY) is None
    assert name not in due_of(ledger, DueKind.ORDERS, 10**15)


def test_the_oldest_of_all_shards_come_first(ledger: Contract) -> None:
    times = [NOW - DAY + number for number in range(40)]
    for when in reversed(times):
        ledger.open(replace(opened(arrival()), due=when))
    found = [due.when for due in ledger.due_work.due(DueKind.ORDERS, NOW - DAY + 39, 25)]
    assert found == times[:25]


def test_a_folder_that_is_handed_out_is_not_left_without_its_time(
    ledger: Contract, folder_id: str, clock: list[int]
) -> None:
    """What comes while it may be looked at is seen, or makes that look void."""
    clock.append(LISTED - 1)
    ledger.folders.wait(group(folder_id, NOW - 1))
    clock.append(NOW)
    assert ledger.due_work.lease(Due(DueKind.FOLDERS, folder_id, NOW - 1), NOW + 90_000) == NOW - 1
    old = ledger.folders.get(folder_id)
    assert old is not None
    assert old.due == NOW - 1
    ledger.folders.wait(group(folder_id, NOW + 100_000))
    with pytest.raises(LeaseLost):
        ledger.folders.advance(old, replace(old, due=None, revision=old.revision + 1))
    standing = ledger.folders.get(folder_id)
    assert standing is not None
    assert standing.due == NOW - 1
    ledger.folders.advance(
        standing, replace(standing, due=NOW + 100_000, revision=standing.revision + 1)
    )
    assert due_of(ledger, DueKind.FOLDERS, NOW + 100_000)[folder_id] == NOW + 100_000


def test_a_batch_leads_to_its_record(ledger: Contract) -> None:
    record = ledger.open(opened(arrival()))
    made = ledger.replace(record, record.created(batch()))
    assert made.batch_id
    assert ledger.of_batch(made.batch_id) == made
    assert ledger.of_batch("nobody's") is None


def test_a_copy_is_claimed_for_who_has_the_version_that_it_is_a_copy_of(ledger: Contract) -> None:
    file = arrival(version_id="v1")
    copy = replace(file, version_id="v2", sequencer="0062", time=NOW + 1)
    assert ledger.counted_versions(file.object_id) == []
    record = ledger.open(opened(file))
    [held] = ledger.counted_versions(file.object_id)
    assert (held.file.etag, held.file.position, held.file.time) == ("etag", file.position, NOW)
    assert (held.file.key, held.file.version) == (file.key, file.version)
    assert (held.owner, held.in_batch) == (record.order.external_id, file.version)
    assert ledger.claim_copy(copy, held)
    assert not ledger.claim_copy(copy, held), "it is claimed"
    assert ledger.claimant(copy) == record.order.external_id
    first, second = sorted(
        ledger.counted_versions(file.object_id), key=lambda held: held.file.version
    )
    assert (first, second.owner, second.in_batch) == (held, held.owner, file.version)
    by_version = {seen.version: seen.same_as for seen in ledger.seen(file.object_id)}
    assert by_version == {"v:v1": None, "v:v2": "v:v1"}
    both = ledger.seen(file.object_id), ledger.counted_versions(file.object_id)
    assert ledger.seen_and_counted(file.object_id) == both
    # Lost from its batch, the version is let go, and so the copy stands for nothing.
    ledger.let_go(record.order, {file: Rejection.of(NoRoute("gone"), NOW)})
    assert ledger.counted_versions(file.object_id) == []


def test_a_copy_that_comes_first_claims_what_it_copies(ledger: Contract) -> None:
    file = arrival(version_id="v1")
    copy = replace(file, version_id="v2", sequencer="0062", copy_of="v1")
    record = ledger.open(opened(copy))
    owner = record.order.external_id
    assert ledger.claimant(file) == ledger.claimant(copy) == owner
    with pytest.raises(AlreadyClaimed) as known:
        ledger.open(opened(file))
    assert known.value.claimed == {file: owner}
    by_version = {seen.version: seen.same_as for seen in ledger.seen(file.object_id)}
    assert by_version == {"v:v1": "v:v2", "v:v2": None}
    held = {one.file.version: one.in_batch for one in ledger.counted_versions(file.object_id)}
    assert held == {"v:v1": "v:v2", "v:v2": "v:v2"}
    # Lost from its batch, it is let go; the version for which it stood is still told.
    ledger.let_go(record.order, {copy: Rejection.of(NoRoute("gone"), NOW)})
    assert ledger.claimant(copy) is None
    assert ledger.claimant(file) == owner
    assert ledger.counted_versions(file.object_id) == []


def test_a_copy_does_not_stand_for_what_is_claimed(ledger: Contract) -> None:
    file = arrival(version_id="v1")
    copy = replace(file, version_id="v2", sequencer="0062", copy_of="v1")
    ledger.open(opened(file))
    with pytest.raises(LeaseLost):
        ledger.open(opened(copy))
    assert ledger.claimant(copy) is None


def test_a_refused_copy_lets_go_of_its_own_claim_alone(ledger: Contract) -> None:
    """What was told that it has the same bytes is told so for good. The copy is tried again."""
    copy = replace(arrival(version_id="v2"), copy_of="v1")
    record = ledger.open(opened(copy))
    owner = record.order.external_id
    rejection = Rejection.of(NoRoute("refused"), NOW)
    refused = ledger.replace(record, record.rejected(State.REFUSED, rejection))
    refused = ledger.release(refused, refused.announced())
    original = replace(copy, version_id="v1", copy_of=None)
    assert (ledger.claimant(copy), ledger.claimant(original)) == (None, owner)
    ledger.reclaim(refused, refused.reopened(refused.order, Lease("again", NOW + 9)))
    assert (ledger.claimant(copy), ledger.claimant(original)) == (owner, owner)


def test_what_is_held_has_the_sequencer_of_what_waited(ledger: Contract) -> None:
    """S3 lists a marker's files without it."""
    file = arrival(version_id="v1")
    ledger.note_waiting(file, "r", "m", NOW)
    ledger.open(opened(replace(file, sequencer=None, time=NOW - 999)))
    [held] = ledger.counted_versions(file.object_id)
    assert held.file.etag == "etag"
    unversioned = arrival()
    ledger.open(opened(unversioned))
    [held] = ledger.counted_versions(unversioned.object_id)
    assert held.file.version == unversioned.version


def test_a_rejection_claims_nothing(ledger: Contract) -> None:
    file = arrival()
    ledger.reject(file, Rejection.of(NoRoute("no route fits"), NOW))
    assert ledger.claimant(file) is None
    assert ledger.open(opened(file)).state is State.OPEN


def test_what_stands_for_a_file_is_noted_in_place_of_its_waiting(ledger: Contract) -> None:
    file = arrival(version_id="v")
    ledger.note_waiting(file, "r", "m", NOW)
    ledger.note_superseded(file, "v:w", "r")
    ledger.note_waiting(file, "r", "m", NOW)  # its event comes again
    [seen] = ledger.seen(file.object_id)
    assert replace(seen, expires=0) == Seen(
        "v:v", noted="superseded", route="r", superseded_by="v:w"
    )
    assert ledger.claimant(file) is None
    ledger.note(file, "not-the-first", "r")
    [seen] = ledger.seen(file.object_id)
    assert (seen.noted, seen.superseded_by) == ("not-the-first", None)


def test_what_is_known_of_an_object(ledger: Contract) -> None:
    event, rejection = arrival(), Rejection.of(NoRoute("no route fits"), NOW)
    again, named = replace(event, sequencer="0062"), replace(event, etag="o", sequencer=None)
    late, waiting = replace(event, version_id="v8"), replace(event, version_id="v9")
    for file in (event, again):  # either leaves a trace of their content, too
        ledger.open(opened(file))
    ledger.open(opened(named, external_id=f"r-{uuid.uuid4().hex}", trigger="request"))
    ledger.reject(late, rejection)
    ledger.note(waiting, "waiting", "r")
    ledger.note(late, "not-the-newest", "r")
    seen = {replace(one, expires=0) for one in ledger.seen(event.object_id)}
    assert seen == {
        Seen(event.version, event.external_id),
        Seen(again.version, again.external_id),
        Seen(named.version, ledger.claimant(named)),
        Seen(late.version, late.external_id, rejection),
        Seen(late.version, noted="not-the-newest", route="r"),
        Seen(waiting.version, noted="waiting", route="r"),
    }
    assert ledger.seen(arrival().object_id) == []


def test_what_was_written_later_is_known_longer(ledger: Contract) -> None:
    file = arrival()
    rejection = Rejection.of(NoRoute("no route fits"), NOW)
    ledger.reject(file, rejection)
    if isinstance(ledger, DynamoLedger):
        ledger._now = lambda: NOW + 1000
    ledger.note(file, "waiting", "r")
    assert max(ledger.seen(file.object_id), key=lambda one: one.expires).noted == "waiting"
    if isinstance(ledger, DynamoLedger):
        ledger._now = lambda: NOW + 2000
    ledger.reject(file, rejection)
    assert max(ledger.seen(file.object_id), key=lambda one: one.expires).rejection == rejection


def refused(ledger: Contract, *files: Arrival, **changes: Any) -> tuple[Record, Record]:
    record = ledger.open(opened(*files, **changes))
    said = Rejection("batch-refused", "no such dataset", NOW, status=400)
    untold = ledger.replace(record, record.rejected(State.REFUSED, said))
    return untold, untold.announced()


def test_a_refused_order_lets_its_files_go_and_may_take_them_again(ledger: Contract) -> None:
    file, versioned = arrival(), arrival(version_id="v1")
    for one in (file, versioned):
        untold, told = refused(ledger, one)
        assert ledger.release(untold, told) == told
        assert told.rejection is not None
        [seen] = ledger.seen(one.object_id)
        assert seen == Seen(one.version, one.external_id, told.rejection, expires=seen.expires)
        assert ledger.get(one.external_id) == told
        assert ledger.claimant(one) is None
        again = ledger.reclaim(told, told.reopened(told.order, Lease("again", NOW + 9)))
        assert ledger.get(one.external_id) == again
        assert ledger.claimant(one) == one.external_id


def test_what_it_let_go_may_be_anothers_by_then(ledger: Contract) -> None:
    event = arrival()
    untold, told = refused(ledger, event)
    ledger.release(untold, told)
    named = replace(event, sequencer=None)
    other = ledger.open(opened(named, external_id=f"r-{uuid.uuid4().hex}", trigger="request"))
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.reclaim(told, told.reopened(told.order, Lease("again", NOW + 9)))
    assert caught.value.claimed == {event: other.order.external_id}
    assert ledger.get(event.external_id) == told


def test_it_lets_go_and_takes_again_only_as_it_was_read(ledger: Contract) -> None:
    file = arrival()
    untold, told = refused(ledger, file)
    newer = ledger.replace(untold, untold.given_back(NOW + 5))
    with pytest.raises(LeaseLost):
        ledger.release(untold, told)
    assert ledger.claimant(file) == file.external_id
    with pytest.raises((LeaseLost, AlreadyClaimed)):
        ledger.reclaim(untold, told)
    assert ledger.get(file.external_id) == newer


def test_a_trace_that_another_event_overwrote_is_not_let_go(ledger: Contract) -> None:
    event = arrival()
    later = replace(event, sequencer="0062")
    untold, told = refused(ledger, event)
    ledger.open(opened(later))
    ledger.release(untold, told)
    assert ledger.claimant(event) is None
    assert ledger.claimant(later) == later.external_id
    named = opened(replace(event, sequencer=None), external_id="r", trigger="request")
    with pytest.raises(AlreadyClaimed):
        ledger.open(named)


GONE = Rejection("object-gone", "it is gone", NOW)


def in_a_window(ledger: Contract, *files: Arrival) -> Order:
    """A part of a window that holds these files."""
    window_id = f"window-{uuid.uuid4().hex}"
    ledger.open(opened(*files, external_id=window_id))
    return replace(order(), excerpt=WindowPart(window_id, 0, len(files), 1))


def test_lost_files_are_let_go_and_the_others_kept(ledger: Contract) -> None:
    files = [arrival(), arrival(version_id="v1"), arrival(sequencer=None), arrival()]
    part = in_a_window(ledger, *files)
    ledger.note_waiting(files[0], "r", "m", NOW)
    assert {ledger.claimant(file) for file in files} == {part.claimant}
    for _ in range(2):  # whoever died before it said so does it again
        ledger.let_go(part, dict.fromkeys(files[:3], GONE))
        assert [ledger.claimant(file) for file in files] == [None, None, None, part.claimant]
    for file in files[:3]:
        [seen] = ledger.seen(file.object_id)
        assert seen == Seen(file.version, part.external_id, GONE, expires=seen.expires, lost=True)
    for file in files[:3]:
        assert ledger.open(opened(file)).order.external_id == file.external_id


def test_what_another_order_has_claimed_since_is_not_let_go(ledger: Contract) -> None:
    mine, taken = arrival(), arrival(version_id="v1")
    part = in_a_window(ledger, mine, taken)
    ledger.let_go(part, {taken: GONE})
    ledger.open(opened(taken))
    ledger.let_go(part, {mine: GONE, taken: GONE})
    assert (ledger.claimant(mine), ledger.claimant(taken)) == (None, taken.external_id)


def test_of_two_files_of_one_content_each_may_be_let_go(ledger: Contract) -> None:
    """They have one trace, and a transaction takes no item twice."""
    first = arrival()
    second = replace(first, sequencer="0062")
    part = in_a_window(ledger, first)
    other = in_a_window(ledger, second)
    ledger.let_go(other, {first: GONE, second: GONE})
    assert [ledger.claimant(file) for file in (first, second)] == [part.claimant, None]
    ledger.let_go(part, {first: GONE, second: GONE})
    assert ledger.claimant(first) is None


def test_later_attempts_let_go_what_the_first_has_claimed(ledger: Contract) -> None:
    one, other = arrival(), arrival(version_id="v1")
    asked = opened(one, other, external_id=f"r-{uuid.uuid4().hex}", trigger="request")
    ledger.open(asked)
    ledger.let_go(asked.order.next_attempt().next_attempt(), {one: GONE})
    assert [ledger.claimant(file) for file in (one, other)] == [None, asked.order.external_id]


def test_more_are_let_go_than_a_transaction_holds(ledger: Contract) -> None:
    files = [arrival(version_id="v1") for _ in range(50)]
    part = in_a_window(ledger, *files)
    ledger.let_go(part, dict.fromkeys(files, GONE))
    assert {ledger.claimant(file) for file in files} == {None}


def lineage(position: str, predecessor: str | None = None, subject: str = "") -> Lineage:
    return Lineage(subject or uuid.uuid4().hex, position, predecessor)


def behind(record: Record, position: str) -> Record:
    """A new order that takes the place of an earlier one."""
    before = record.order.lineage
    assert before is not None
    return opened(arrival(), lineage=lineage(position, record.order.external_id, before.subject))


def newest(ledger: Contract, record: Record) -> LineageHead | None:
    assert record.order.lineage is not None
    return ledger.head(record.order.lineage.subject)


def test_all_of_an_order_is_got_back(ledger: Contract) -> None:
    wanted = replace(
        opened(arrival(), lineage=lineage("1"), profile=True).replacing(Replaced("a", "b")),
        replaced_by="another",
    )
    assert wanted.order.lineage is not None
    ledger.open(wanted)
    assert ledger.get(wanted.order.external_id) == wanted
    part = order(external_id=f"p-{uuid.uuid4().hex}", excerpt=WindowPart("window-1", 3, 9, 100))
    waiting = ledger.open(Record.waiting(replace(part, lineage=lineage("1")), NOW))
    assert ledger.get(part.external_id) == waiting


def test_each_order_of_a_line_is_behind_the_newest(ledger: Contract) -> None:
    first = opened(arrival(), lineage=lineage("1"))
    assert newest(ledger, first) is None
    ledger.open(first)
    assert newest(ledger, first) == LineageHead(first.order.external_id, "1")
    second = ledger.open(behind(first, "2"))
    assert newest(ledger, first) == LineageHead(second.order.external_id, "2")
    third = ledger.open(behind(second, "3"))
    assert newest(ledger, first) == LineageHead(third.order.external_id, "3")


def test_who_is_behind_another_than_the_newest_is_not_opened(ledger: Contract) -> None:
    first = ledger.open(opened(arrival(), lineage=lineage("1")))
    second = ledger.open(behind(first, "2"))
    assert first.order.lineage is not None
    alone = replace(first.order.lineage, position="3")
    for late in (
        behind(first, "3"),
        opened(arrival(), lineage=alone),
        behind(opened(arrival(), lineage=alone), "4"),
    ):
        with pytest.raises(LineMoved):
            ledger.open(late)
        assert newest(ledger, first) == LineageHead(second.order.external_id, "2")
        assert ledger.get(late.order.external_id) is None
        assert ledger.claimant(late.order.files[0]) is None


def test_an_order_that_is_there_moves_nothing(ledger: Contract) -> None:
    first = ledger.open(opened(arrival(), lineage=lineage("1")))
    second = ledger.open(behind(first, "2"))
    assert ledger.open(opened(*first.order.files, lineage=first.order.lineage)) == first
    assert newest(ledger, first) == LineageHead(second.order.external_id, "2")


def test_a_claimed_file_is_told_before_a_head_that_moved(ledger: Contract) -> None:
    first = ledger.open(opened(arrival(), lineage=lineage("1")))
    other = ledger.open(opened(event := arrival()))
    moved = opened(event, external_id="another", lineage=lineage("2", "nobody"))
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.open(moved)
    assert caught.value.claimed == {event: other.order.external_id}
    second = behind(first, "2")
    taken = replace(second, order=replace(second.order, files=(event, *second.order.files)))
    with pytest.raises(AlreadyClaimed):
        ledger.open(taken)
    assert newest(ledger, first) == LineageHead(first.order.external_id, "1")
    assert ledger.claimant(second.order.files[0]) is None


def test_a_part_is_in_the_place_that_its_window_took(ledger: Contract) -> None:
    where = lineage("1")
    part = order(external_id=f"p-{uuid.uuid4().hex}", excerpt=WindowPart("window-1", 0, 9, 100))
    ledger.open(Record.waiting(replace(part, lineage=where), NOW))
    assert ledger.head(where.subject) is None


def test_one_of_many_at_once_is_the_newest(ledger: Contract) -> None:
    first = ledger.open(opened(arrival(), lineage=lineage("1")))
    others = [behind(first, "2") for _ in range(8)]

    def race(record: Record) -> str | None:
        try:
            return ledger.open(record).order.external_id
        except (LedgerUnavailable, LineMoved):
            return None

    with ThreadPoolExecutor(8) as pool:
        [won] = set(pool.map(race, others)) - {None}
    head = newest(ledger, first)
    assert head is not None
    assert head.external_id == won


def test_a_note_claims_nothing(ledger: Contract) -> None:
    file = arrival()
    ledger.note(file, "waiting", "r")
    assert ledger.claimant(file) is None
    assert ledger.open(opened(file)).state is State.OPEN


def of_profile(**changes: Any) -> Record:
    """An order for a dataset that feeds Profile, of an organization that nobody else counts."""
    target = replace(TARGET, ims_org=f"{uuid.uuid4().hex}#@AdobeOrg")
    return opened(arrival(), **{"target": target, "profile": True} | changes)


def made(ledger: Contract, record: Record) -> dict[str, int]:
    """How many batches of a record's organization are counted, by sandbox."""
    org = record.order.target.ims_org
    memory: Any = ledger
    counted = (
        ledger.profile_batches.made(NOW)
        if isinstance(ledger, DynamoLedger)
        else memory.profile_batches
    )
    return {sandbox: number for (its, sandbox), number in counted.items() if its == org}


def test_each_batch_of_profile_is_counted_once(ledger: Contract) -> None:
    record = ledger.open(of_profile())
    waiting = ledger.replace(record, record.given_back(NOW))
    assert made(ledger, record) == {}
    created = ledger.replace(waiting, waiting.created(batch()))
    assert made(ledger, record) == {"prod": 1}
    created = ledger.replace(created, created.given_back(NOW))  # the bus did not take it
    told = ledger.replace(created, created.announced())
    ledger.replace(told, told.replaced("another"))
    with pytest.raises(LeaseLost):
        ledger.replace(waiting, waiting.created(batch()))
    assert made(ledger, record) == {"prod": 1}
    for sandbox in ("prod", "dev"):
        target = replace(record.order.target, sandbox=sandbox)
        another = ledger.open(of_profile(target=target))
        ledger.replace(another, another.created(batch()))
    assert made(ledger, record) == {"prod": 2, "dev": 1}


def test_each_batch_of_a_lookup_dataset_is_counted_once(ledger: Contract) -> None:
    """By its dataset; if that feeds Profile, too, by its sandbox as well."""
    record = ledger.open(of_profile(lookup=True, profile=False))
    ledger.replace(record, record.created(batch()))
    both = ledger.open(of_profile(lookup=True, target=record.order.target))
    ledger.replace(both, both.created(batch()))
    memory: Any = ledger
    dataset = record.order.target.dataset
    if isinstance(ledger, DynamoLedger):
        assert ledger.profile_batches.of_lookups(NOW)[dataset] == 2
        assert ledger.profile_batches.of_lookups(0) == {}
        assert made(ledger, record) == {"prod": 1}
    else:
        assert [memory.profile_batches[some] for some in (dataset, dataset[:2])] == [2, 1]


def test_a_batch_that_profile_does_not_see_is_not_counted(ledger: Contract) -> None:
    record = ledger.open(of_profile(profile=False))
    ledger.replace(record, record.created(batch()))
    refusal = ledger.open(of_profile(target=record.order.target))
    why = Rejection("batch-refused", "no", NOW, status=400)
    ledger.replace(refusal, refusal.rejected(State.REFUSED, why))
    assert made(ledger, record) == {}


def test_one_of_many_at_once_opens(ledger: Contract) -> None:
    file = arrival()

    def race(record: Record) -> str | None:
        try:
            return ledger.open(record).lease
        except LedgerUnavailable:
            return None

    with ThreadPoolExecutor(8) as pool:
        leases = set(pool.map(race, [opened(file) for _ in range(16)])) - {None}
    standing = ledger.get(file.external_id)
    assert standing is not None
    assert leases == {standing.lease}


def test_a_conflict_of_transactions_is_no_answer(stack: LocalStack) -> None:
    """TransactionConflict at every try, which a real one would not be."""
    record = opened(arrival())
    for ledger in (MemoryLedger(lambda: True), _disturbed(stack, _conflict)):
        with pytest.raises(LedgerUnavailable, match="TransactionConflict"):
            ledger.open(record)
        with pytest.raises(LedgerUnavailable, match="TransactionConflict"):
            ledger.open_next_attempt(*record.followed(Lease("next", NOW), NOW))
    assert _disturbed(stack, lambda _: None).get(record.order.external_id) is None


@pytest.mark.parametrize("beside", ["None", "ConditionalCheckFailed"])
def test_a_passing_conflict_is_tried_again(stack: LocalStack, beside: str) -> None:
    """Whatever else there was: what another transaction is at may be gone, or written, by then."""
    tries = itertools.count()
    ledger = _disturbed(
        stack, lambda request: _conflict(request, beside) if next(tries) < 2 else None
    )
    record = opened(arrival())
    assert ledger.open(record) == record
    assert next(tries) == 3


def test_a_claim_that_has_expired_is_free(stack: LocalStack) -> None:
    """DynamoDB deletes what has expired within days, not at once."""
    table, client, now = stack.outputs["LedgerTable"], stack.aws.dynamodb, NOW
    ledger = DynamoLedger(client, table, lambda: now, 60 * DAY)
    event = arrival()
    named = replace(event, sequencer=None)
    ledger.open(opened(named, external_id=f"r-{uuid.uuid4().hex}", trigger="request"))
    again = opened(replace(event, sequencer="0099"))
    now += 59 * DAY
    with pytest.raises(AlreadyClaimed):
        ledger.open(again)
    now += 2 * DAY
    assert ledger.claimant(event) is None
    assert ledger.open(again) == again


def test_a_write_whose_answer_was_lost_and_was_repeated_counts(stack: LocalStack) -> None:
    """boto3 repeats it, and then finds its own first try in the way."""
    plain = _disturbed(stack, lambda _: None)
    record = plain.open(opened(arrival()))
    twice = _disturbed(stack, _lost_once(stack))
    created = record.created(batch())
    assert twice.replace(record, created) == created


def test_no_answer_is_said_so(stack: LocalStack) -> None:
    silent = _disturbed(stack, _silence)
    record = opened(arrival())
    for call in (
        lambda: silent.open(record),
        lambda: silent.get("x"),
        lambda: silent.replace(record, record.created(batch())),
        lambda: silent.due_work.due(DueKind.ORDERS, NOW, 9),
        lambda: silent.due_work.lease(Due(DueKind.ORDERS, "x", NOW), NOW + 9),
        lambda: silent.claimant(record.order.files[0]),
    ):
        with pytest.raises(LedgerUnavailable):
            call()


def test_what_is_due_by_the_release_before_is_found(stack: LocalStack) -> None:
    """All classes shared all eight shards, by a hash of the id."""
    table, client = stack.outputs["LedgerTable"], stack.aws.dynamodb
    ledger = DynamoLedger(client, table, lambda: NOW, 60 * DAY)
    for kind in (DueKind.ORDERS, DueKind.FOLDERS, DueKind.WINDOWS):
        for shard in range(8):
            name, when = lasting(ledger, kind)
            client.update_item(
                TableName=table,
                Key={"pk": {"S": f"{kind[:-1]}#{name}"}, "sk": {"S": kind[:-1]}},
                UpdateExpression="SET due_shard = :shard",
                ExpressionAttributeValues={":shard": {"S": str(shard)}},
            )
            for looked_at in DueKind:  # as a tick does
                ledger.due_work.due(looked_at, when, 10**6)
            assert due_of(ledger, kind, when)[name] == when


def test_a_tick_reads_page_by_page_and_no_more_than_it_takes(stack: LocalStack) -> None:
    client, table = stack.aws.dynamodb, stack.outputs["LedgerTable"]
    ledger = DynamoLedger(client, table, lambda: NOW, 60 * DAY)
    for number in range(30):
        ledger.open(replace(opened(arrival()), due=NOW - 2 * DAY + number))
    read = list[int]()

    class Counting:
        def query(self, **asked: Any) -> Any:
            answer = client.query(**asked)
            read.append(len(answer["Items"]))
            return answer

    its: Any = Counting()
    ledger = DynamoLedger(its, table, lambda: NOW, 60 * DAY)
    found = ledger.due_work.due(DueKind.ORDERS, NOW - DAY, 5)
    assert [due.when for due in found] == [NOW - 2 * DAY + number for number in range(5)]
    assert max(read) <= 5
    assert len(read) == 3 * (LANES + 1)  # one for each shard, and those of the release before


def test_each_credential_has_its_turn(ledger: Contract) -> None:
    """However many orders of others are due for longer; also once they are handed out again."""
    when = NOW - 20 * DAY
    target = opened(arrival()).order.target

    def due_order(credential: str, due: int) -> str:
        record = opened(arrival())
        order = replace(record.order, target=replace(target, credential=credential))
        return ledger.open(replace(record, order=order, due=due)).order.external_id

    broken = [due_order("arn:a", when - 1000 + number) for number in range(12)]
    healthy = [due_order("arn:b", when + number) for number in range(2)]
    assert lane("arn:a") != lane("arn:b")

    def found() -> list[str]:
        return [due.id for due in ledger.due_work.due(DueKind.ORDERS, when + 9, 6)]

    expected = [broken[0], healthy[0], broken[1], healthy[1], broken[2], broken[3]]
    assert found() == expected
    for due in ledger.due_work.due(DueKind.ORDERS, when + 9, 20):
        if due.id in (*broken[:3], healthy[0]):
            assert ledger.due_work.lease(due, when + 8) is not None
    assert found() == [broken[3], healthy[1], broken[4], healthy[0], broken[5], broken[6]]


def test_what_is_finished_expires_and_the_unfinished_never(stack: LocalStack) -> None:
    table, client = stack.outputs["LedgerTable"], stack.aws.dynamodb
    ledger = DynamoLedger(client, table, lambda: NOW, 60 * DAY)
    record = ledger.open(opened(arrival()))
    key = {"pk": {"S": f"order#{record.order.external_id}"}, "sk": {"S": "order"}}
    item = client.get_item(TableName=table, Key=key)["Item"]
    assert "expires" not in item
    assert item["due"] == {"N": str(NOW + 1)}
    record = ledger.replace(record, record.created(batch()))
    ledger.replace(record, record.announced())
    item = client.get_item(TableName=table, Key=key)["Item"]
    assert item["expires"] == {"N": str((NOW + 60 * DAY) // 1000)}
    assert "due" not in item
    assert "due_shard" not in item


def test_all_versions_of_an_object_come_with_one_query(stack: LocalStack) -> None:
    ledger = DynamoLedger(stack.aws.dynamodb, stack.outputs["LedgerTable"], lambda: NOW, 60 * DAY)
    event = arrival()
    again, turned_away = replace(event, sequencer="0062"), replace(event, version_id="v9")
    ledger.open(opened(event))
    ledger.open(opened(again))
    ledger.reject(turned_away, Rejection.of(NoRoute("no route fits"), NOW))
    seen = {one.version: one for one in ledger.seen(event.object_id)}
    assert set(seen) == {event.version, again.version, turned_away.version}
    assert seen[again.version].owner == again.external_id
    rejection = seen[turned_away.version].rejection
    assert rejection is not None
    assert rejection.reason == "no-route"


def test_a_step_of_a_window_whose_answer_was_lost_and_was_repeated_counts(
    stack: LocalStack,
) -> None:
    plain = _disturbed(stack, lambda _: None)
    window = Window.at(order(external_id="", route=uuid.uuid4().hex), 60_000, NOW)
    plain.windows.open(window)
    twice = _disturbed(stack, _lost_once(stack))
    sealed = twice.windows.replace(window, window.sealed(NOW))
    assert plain.windows.get(window.window_id) == sealed
    with pytest.raises(LeaseLost):
        plain.windows.replace(window, window.sealed(NOW + 1))


def test_a_batch_of_profile_is_counted_once_though_its_write_is_repeated(
    stack: LocalStack,
) -> None:
    """boto3 repeats what was not answered, and the first try may have been."""
    plain = _disturbed(stack, lambda _: None)
    record = plain.open(of_profile())
    twice = _disturbed(stack, _lost_once(stack))
    created = twice.replace(record, record.created(batch()))
    assert made(plain, record) == {"prod": 1}
    assert plain.get(record.order.external_id) == created
    # Whoever took the first worker's place, and finds that it is too late, counts nothing.
    with pytest.raises(LeaseLost):
        plain.replace(record, replace(created, batch_id="another"))
    assert made(plain, record) == {"prod": 1}


def test_what_is_counted_for_people_hinders_no_batch(stack: LocalStack) -> None:
    """The counter is one item for all workers: it stands in no transaction, and may fail."""

    def throttle(request: AWSPreparedRequest) -> AWSResponse | None:
        body: Any = request.body
        return _refusal(request, "ThrottlingException") if b'"made#' in body else None

    ledger = _disturbed(stack, throttle)
    record = ledger.open(of_profile())
    created = ledger.replace(record, record.created(batch()))
    assert ledger.get(record.order.external_id) == created
    assert made(_disturbed(stack, lambda _: None), record) == {}


def test_batches_of_the_last_24_hours_count_whatever_the_date(stack: LocalStack) -> None:
    table, client = stack.outputs["LedgerTable"], stack.aws.dynamodb
    target = of_profile().order.target
    midnight, hour = NOW - NOW % DAY + DAY, DAY // 24
    for now in (midnight - hour, midnight - 1, midnight, midnight + hour):
        ledger = DynamoLedger(client, table, partial(int, now), 60 * DAY)
        record = ledger.open(of_profile(target=target))
        ledger.replace(record, record.created(batch()))

    def counted(now: int) -> int:
        return ledger.profile_batches.made(now).get((target.ims_org, target.sandbox), 0)

    assert [counted(midnight + n * hour) for n in (1, 23, 24, 25, 26)] == [4, 4, 2, 1, 0]
    assert ledger.profile_batches.made(0) == {}


def test_since_when_a_bucket_is_connected_is_kept_until_a_person_says_better(
    stack: LocalStack,
) -> None:
    table = Table(stack.aws.dynamodb, stack.outputs["LedgerTable"])
    connections, bucket = DynamoConnections(table), f"b-{uuid.uuid4().hex}"
    connections.begin(bucket, 5)
    connections.begin(bucket, 6)
    assert connections.all()[bucket] == 5
    connections.tell(bucket, 4)
    assert connections.all()[bucket] == 4
    assert "expires" not in (table.get("connected", bucket) or {})


def test_the_newest_of_a_line_is_remembered_until_another_one_is(stack: LocalStack) -> None:
    """However long that takes: or its data would never be replaced."""
    ledger = _disturbed(stack, lambda _: None)
    record = ledger.open(opened(arrival(), lineage=lineage("1")))
    ended, following = record.followed(Lease("next", NOW + 9), NOW)
    following = ledger.open_next_attempt(ended, following)
    made = ledger.replace(following, following.created(batch()))
    told = ledger.replace(made, made.announced())
    for attempt in (ended, told):
        assert not {"due", "expires"} & _item(stack, attempt).keys()
    for attempt in (ended, told):
        ledger.replace(attempt, attempt.replaced("another"))
        assert _item(stack, attempt)["expires"] == {"N": str((NOW + 60 * DAY) // 1000)}
    # One that is not told yet is due, whoever takes its place.
    due = ledger.open(opened(arrival(), lineage=lineage("1")))
    ledger.replace(due, due.replaced("another"))
    assert "expires" not in _item(stack, due)
    assert record.order.lineage is not None
    head = {"pk": {"S": f"head#{record.order.lineage.subject}"}, "sk": {"S": "head"}}
    table = stack.outputs["LedgerTable"]
    found: Any = stack.aws.dynamodb.get_item(TableName=table, Key=head)
    assert found["Item"].keys() == {"pk", "sk", "external_id", "position", "time", "uri"}


def _item(stack: LocalStack, record: Record) -> Any:
    key = {"pk": {"S": f"order#{record.order.external_id}"}, "sk": {"S": "order"}}
    found: Any = stack.aws.dynamodb.get_item(TableName=stack.outputs["LedgerTable"], Key=key)
    return found["Item"]


type Disturb = Callable[[AWSPreparedRequest], AWSResponse | None]


def _disturbed(stack: LocalStack, disturb: Disturb) -> DynamoLedger:
    """A ledger whose requests to DynamoDB are `disturb`ed before they are sent."""
    client = stack.aws.client("dynamodb")
    events: Any = client.meta.events  # its stubs do not know that a handler may answer
    events.register("before-send.dynamodb", lambda request, **_: disturb(request))
    return DynamoLedger(client, stack.outputs["LedgerTable"], lambda: NOW, 60 * DAY)


def _conflict(request: AWSPreparedRequest, beside: str = "None") -> AWSResponse:
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": beside}],
    }
    raw = HTTPResponse(BytesIO(json.dumps(body).encode()), preload_content=False)
    return AWSResponse(request.url, 400, HTTPHeaders(), raw)


def _refusal(request: AWSPreparedRequest, code: str) -> AWSResponse:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}
    raw = HTTPResponse(BytesIO(json.dumps(body).encode()), preload_content=False)
    return AWSResponse(request.url, 400, HTTPHeaders(), raw)


def _silence(request: AWSPreparedRequest) -> None:
    raise ReadTimeoutError(endpoint_url=request.url)


def _lost_once(stack: LocalStack) -> Disturb:
    tries = itertools.count()

    def lose(request: AWSPreparedRequest) -> None:
        if next(tries) == 0:
            authority: Any = str(stack.aws.authority)
            URLLib3Session(verify=authority).send(request)
            raise ReadTimeoutError(endpoint_url=request.url)

    return lose


def test_an_order_that_a_pause_keeps_back_is_due_for_nobody_but_its_pause(ledger: Contract) -> None:
    pause = Pause(f"route#{uuid.uuid4().hex}", NOW, "arn:me", "ä")
    ledger.pauses.put(pause)
    assert ledger.pauses.standing()[pause.name] == pause
    paused = [
        ledger.open(Record.waiting(order(*files), NOW).paused_by(pause.name, NOW + number))
        for number, files in enumerate([(arrival(),), (arrival(), arrival()), ()])
    ]
    names = {record.order.external_id for record in paused}

    def found(since: int, limit: int = 9) -> dict[str, int]:
        return {due.id: due.when for due in ledger.pauses.orders(pause, since, limit)}

    assert not names & due_of(ledger, DueKind.ORDERS, NOW + DAY).keys()
    assert found(NOW + 9) == {record.order.external_id: record.due for record in paused}
    assert found(NOW) == {paused[0].order.external_id: NOW}
    assert len(found(NOW + 9, 2)) == 2
    [first] = ledger.pauses.orders(pause, NOW, 9)
    assert ledger.due_work.lease(first, NOW + 500) == NOW
    assert first.id not in found(NOW + 499)
    assert found(NOW + 500)[first.id] == NOW + 500, "its worker died"
    ledger.replace(paused[0], paused[0].resumed(NOW).given_back(NOW + 1))
    assert found(NOW + 500).keys() == names - {first.id}
    assert due_of(ledger, DueKind.ORDERS, NOW + 1)[first.id] == NOW + 1


def test_a_pause_is_deleted_unless_somebody_changed_it(ledger: Contract) -> None:
    pause = Pause(f"route#{uuid.uuid4().hex}", NOW, "arn:me")
    over = replace(pause, resumed_at=NOW)
    ledger.pauses.put(over)
    assert over in ledger.pauses.all()
    ledger.pauses.put(pause)  # once more
    assert not ledger.pauses.delete(over)
    assert pause in ledger.pauses.all()
    assert ledger.pauses.delete(pause)
    assert pause not in ledger.pauses.all()


def test_what_belongs_to_an_order_is_kept_for_longer(stack: LocalStack) -> None:
    """Of a window the claims of all its files, else nobody could ask for them after a pause.

    And that of its marker: its event, sent once more, would be told `too-old`.
    """
    clock, table = [NOW], stack.outputs["LedgerTable"]
    ledger = DynamoLedger(stack.aws.dynamodb, table, lambda: clock[0], 60 * DAY)
    single, mark = arrival(), arrival()
    window = Window.of(mark, order(), NOW)
    ledger.open(opened(single))
    older, other = arrival(), arrival()
    newer = replace(older, version_id="newer", sequencer=f"{older.sequencer}9")
    joined = older, newer, other
    assert ledger.windows.start(window, mark, (older,), (older,))
    for file in joined[1:]:
        ledger.windows.register(window, (file,), (file,))
    ledger.windows.supersede(window.window_id, older, "newer")
    ledger.windows.replace(window, window.sealed(NOW).planned(()).finished())
    part = order(excerpt=WindowPart(window.window_id, 0, 2, 10, key="windows/gone"))

    def expires(pk: str) -> set[int]:
        items = Table(stack.aws.dynamodb, table).query("pk = :pk", {"pk": {"S": pk}})
        return {int(item["expires"]["N"]) for item in items}

    objects = [f"object#{file.object_id}" for file in (single, mark, *joined)]
    places = [*objects, f"window#{window.window_id}"]
    before = max(max(expires(place)) for place in places)
    clock[0] += 30 * DAY
    with pytest.raises(NotYet):  # its worker has no time left
        ledger.renew(part, clock[0])
    assert max(max(expires(place)) for place in places) == before
    slowly = DynamoLedger(
        stack.aws.dynamodb, table, partial(next, itertools.count(clock[0])), 60 * DAY
    )
    with pytest.raises(NotYet):
        slowly.renew(part, clock[0] + 4)
    renewed = [place for place in places if max(expires(place)) > before]
    assert 0 < len(renewed) < len(places), "who comes next goes on"
    ledger.renew(order(single), END)
    ledger.renew(part, END)
    later = (clock[0] + 120 * DAY) // 1000
    assert before < later
    assert [expires(place) for place in places] == [{later}] * len(places)
    clock[0] += DAY  # what another worker has renewed, which may have died, is not written again
    ledger.renew(order(single), END)
    ledger.renew(part, END)
    assert [expires(place) for place in places] == [{later}] * len(places)
    clock[0] += 99 * DAY
    assert [ledger.claimant(file) for file in (mark, *joined)] == [window.window_id] * 4


def test_what_is_parked_is_listed_counted_and_ended_by_its_token(stack: LocalStack) -> None:
    items = DynamoParked(Table(stack.aws.dynamodb, stack.outputs["LedgerTable"]))
    name, why = uuid.uuid4().hex, Rejection("no-route", "no route", NOW)
    several = [
        Parked(digest(name, str(n)), "arrivals", name, f"ä{n}", why, f"r-{name}", "s3://b/k", 1)
        for n in range(20)
    ]
    assert all(items.put(one) for one in several)
    assert not items.put(replace(several[0], id="0", body='"' * 200_000)), "it fits into no item"
    listed = {one.id: (one, token) for one, token in items.listed(map) if one.external_id == name}
    assert {one for one, _ in listed.values()} == set(several)
    counts = items.counts(map)
    assert (counts.by_route[f"r-{name}"], counts.more) == (20, False)
    first, before = several[0], listed[several[0].id][1]
    assert items.token(first.id) == before
    assert items.put(first)
    items.end(first.id, before)
    after = items.token(first.id)
    assert after not in (None, before), "it was parked again since"
    second = several[1]
    items.discard(second, "an old token", NOW)
    assert items.token(second.id) is not None
    items.discard(second, items.token(second.id) or "", NOW)
    assert items.token(second.id) is None
    assert second in [one for one, _ in items.listed(map, DISCARDED)]
    items.undo_discard(second)
    assert second not in [one for one, _ in items.listed(map, DISCARDED)]
    for one in several:
        items.end(one.id, items.token(one.id) or "")
        items.end(one.id, "whatever")
    assert items.token(first.id) is None
    items.undo_discard(second)  # as somebody else has done before, and it is loaded by now
    assert items.token(second.id) is None


def test_nobody_has_what_somebody_discarded(ledger: Contract) -> None:
    file = arrival()
    assert ledger.discard(file, "by arn:me: a test ä", NOW)
    assert ledger.discard(file, "once more", NOW + 1)
    assert ledger.claimant(file) == NOBODY
    [seen] = ledger.seen(file.object_id)
    assert (seen.claimed, seen.discarded, seen.time) == (True, "by arn:me: a test ä", NOW)
    with pytest.raises(AlreadyClaimed):
        ledger.open(opened(file))
    ledger.undo_discard(file)
    record = ledger.open(opened(file))
    assert not ledger.discard(file, "too late", NOW)
    ledger.undo_discard(file)
    assert ledger.claimant(file) == record.order.external_id
    event = replace(arrival(), version_id=None, sequencer="0061")
    listed = replace(event, sequencer=None)
    assert ledger.discard(event, "by arn:me", NOW)
    assert ledger.discard(event, "once more", NOW)
    assert ledger.claimant(event) == ledger.claimant(listed) == NOBODY
    with pytest.raises(AlreadyClaimed):
        ledger.open(opened(listed))
    assert [seen.discarded for seen in ledger.seen(event.object_id)] == ["by arn:me"]
    ledger.undo_discard(event)
    assert ledger.claimant(listed) is None
    record = ledger.open(opened(event))
    assert not ledger.discard(event, "too late", NOW)
    with pytest.raises(AlreadyClaimed):
        ledger.open(opened(listed))
    ledger.undo_discard(event)
    assert ledger.claimant(event) == record.order.external_id
