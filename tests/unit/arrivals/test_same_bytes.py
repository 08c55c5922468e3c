"""An object that is copied onto itself: told, where its rows are loaded or under way."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aep_intake.arrivals.envelopes import parse
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.results import Gathered, Joined, Known, Skipped, Waits
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import DueKind
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.errors import (
    BatchRefused,
    LeaseLost,
    NoRoute,
    NotAnnounced,
    NotYet,
    OutcomeUnknown,
)
from aep_intake.model.files import Arrival
from aep_intake.model.history import CountedVersion, Seen
from aep_intake.model.progress import Outcome, OutcomeKind, Rejection
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable

from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY
from tests.faults.harness import HOUR, START, Tape, World, go_on, take

A = Arrival("landing", "in/one.json", "v1", "a", "0061", 10, START)
TOLD = Skipped("same-bytes")


def table(**written: Any) -> RoutingTable:
    whole = {"name": "all", "match": "in/**", "datasetId": LOYALTY} | written
    return routes.parse(json.dumps({"routes": [whole]}), "v1")


def following(file: Arrival, number: int, *, copied: bool = False, etag: str = "") -> Arrival:
    """A later version of the same key, with or without a version id as the first."""
    version = file.version_id and f"v{number}"
    etag = etag or file.etag
    return replace(file, version_id=version, sequencer=f"006{number}", etag=etag, copied=copied)


@pytest.fixture
def world() -> World:
    world = World(Tape(b""))
    world.calm = True
    world.simulator.show_in_catalog(None)
    world.table = table()
    return world


@pytest.fixture(params=["versioned", "unversioned"])
def first(request: pytest.FixtureRequest) -> Arrival:
    return A if request.param == "versioned" else replace(A, version_id=None)


def batches(world: World) -> int:
    return len(world.simulator.batches())


def without_data(world: World, *external_ids: str) -> IntakePorts:
    """What a worker has when the batches of these orders failed."""
    intake = world.intake(0)
    versions = replace(intake.versions, ended_without_data=external_ids.__contains__)
    return replace(intake, versions=versions)


def test_a_copy_of_what_is_loaded_or_under_way_is_told(world: World, first: Arrival) -> None:
    take(first, world.intake(0))
    for number in (2, 3):  # and a copy of the copy
        copy = following(first, number, copied=True)
        assert take(copy, world.intake(0)) == TOLD
        assert take(copy, world.intake(0)) == TOLD, "its message comes again"
        assert world.ledger.claimant(copy) == first.external_id
    assert batches(world) == 1


def test_a_then_b_then_a_are_three(world: World, first: Arrival) -> None:
    """Whether the last one was written anew or copied, as by who restores an older version."""
    take(first, world.intake(0))
    take(following(first, 2, etag="b"), world.intake(0))
    assert isinstance(take(following(first, 3, copied=True), world.intake(0)), Outcome)
    assert batches(world) == 3


def test_what_is_written_anew_is_a_new_version_with_the_same_bytes_too(
    world: World, first: Arrival
) -> None:
    take(first, world.intake(0))
    assert isinstance(take(following(first, 2), world.intake(0)), Outcome)
    assert batches(world) == 2


def test_a_route_may_load_copies(world: World, first: Arrival) -> None:
    world.table = table(sameBytes="load")
    take(first, world.intake(0))
    assert isinstance(take(following(first, 2, copied=True), world.intake(0)), Outcome)
    assert batches(world) == 2


def test_a_copy_of_what_nobody_knows_is_loaded(world: World, first: Arrival) -> None:
    """So files that were lost on their way are sent again; or it was copied from elsewhere."""
    assert isinstance(take(following(first, 2, copied=True), world.intake(0)), Outcome)
    other = replace(first, key="in/two.json", copied=True)
    assert isinstance(take(other, world.intake(0)), Outcome)


def test_a_copy_of_what_failed_is_loaded_and_the_version_before_counts(
    world: World, first: Arrival
) -> None:
    newer, copy = following(first, 2, etag="b"), following(first, 3, etag="b", copied=True)
    take(first, world.intake(0))
    take(newer, world.intake(0))
    failed = without_data(world, newer.external_id)
    # The newest that is loaded is `a`: so `a` is told, and `b` is not.
    assert take(following(first, 4, copied=True), failed) == TOLD
    assert isinstance(take(copy, failed), Outcome)
    assert take(copy, world.intake(0)) != TOLD, "it has an order of its own"
    assert batches(world) == 3


def test_a_copy_of_what_was_refused_is_loaded(world: World, first: Arrival) -> None:
    world.table = table(datasetId="no-such-dataset")
    with pytest.raises(Exception, match="no-such-dataset"):
        take(first, world.intake(0))
    world.table = table()
    assert isinstance(take(following(first, 2, copied=True), world.intake(0)), Outcome)


def test_the_order_in_which_s3_made_them_counts(world: World, first: Arrival) -> None:
    """The copy of `a` comes late; `b` came after it."""
    take(first, world.intake(0))
    take(following(first, 3, etag="b"), world.intake(0))
    assert take(following(first, 2, copied=True), world.intake(0)) == TOLD


def test_in_a_window_and_after_it(world: World, first: Arrival) -> None:
    world.table = table(batch={"window": "1m"})
    joined = take(first, world.intake(0))
    assert isinstance(joined, Joined)
    assert take(following(first, 2, copied=True), world.intake(0)) == TOLD
    world.clock.advance(120_000)
    go_on(DueKind.WINDOWS, joined.window_id, world.intake(0))
    [part] = world.handed_out
    assert take(following(first, 3, copied=True), world.intake(0)) == TOLD
    go_on(DueKind.ORDERS, part, world.intake(0))
    assert take(following(first, 4, copied=True), world.intake(0)) == TOLD
    failed = take(following(first, 5, copied=True), without_data(world, part))
    assert isinstance(failed, Joined)
    assert batches(world) == 1


def test_of_several_parts_the_one_with_the_file_counts(world: World) -> None:
    world.table, world.limits = table(batch={"window": "1m"}), BatchLimits(files=1, bytes=100)
    other = replace(A, key="in/two.json")
    joined = take(A, world.intake(0))
    take(other, world.intake(0))
    world.clock.advance(120_000)
    go_on(DueKind.WINDOWS, joined.window_id, world.intake(0))
    parts = {world.ledger.files(world.ledger.records[p].order)[0].key: p for p in world.handed_out}
    for part in parts.values():
        go_on(DueKind.ORDERS, part, world.intake(0))
    failed = without_data(world, parts[A.key])
    assert isinstance(take(following(A, 2, copied=True), failed), Joined)
    assert take(following(other, 2, copied=True), failed) == TOLD


def test_a_folder_that_is_encrypted_anew_is_not_loaded_again(world: World) -> None:
    """Its files, its marker, and what the next marker finds in it."""
    world.table = table(batch={"marker": "_SUCCESS"})
    files = [replace(A, key=f"in/day/{n}.json", version_id=f"f{n}") for n in range(3)]
    marker = Arrival("landing", "in/day/_SUCCESS", "m1", "m", "0070", 0, START + 1)
    world.bucket |= {file.key: file for file in files}
    for file in files:
        assert take(file, world.intake(0)) == Waits("all")
    assert isinstance(take(marker, world.intake(0)), Gathered)
    for part in world.handed_out:
        go_on(DueKind.ORDERS, part, world.intake(0))
    made = batches(world)
    copies = [following(file, n, copied=True) for n, file in enumerate(files, 7)]
    world.bucket |= {copy.key: copy for copy in copies}
    world.clock.advance(1000)
    for copy in copies:
        assert take(replace(copy, time=world.clock()), world.intake(0)) == TOLD
    again = replace(marker, version_id="m2", sequencer="0080", copied=True)
    assert take(again, world.intake(0)) == TOLD
    written = replace(again, version_id="m3", sequencer="0081", copied=False)
    assert isinstance(take(written, world.intake(0)), Known), "nothing new"
    assert batches(world) == made


BATCHED = [{}, {"batch": {"window": "1m"}}, {"batch": {"quiet": "1m"}}]


@pytest.mark.parametrize("written", BATCHED, ids=["alone", "window", "quiet"])
def test_a_copy_that_comes_first_stands_for_what_it_copies(
    world: World, written: dict[str, Any]
) -> None:
    world.table, copy = table(**written), following(A, 2, copied=True)
    world.versions = [A, copy]
    place = take(copy, world.intake(0))
    assert isinstance(place, Joined if written else Outcome)
    owner = world.ledger.claimant(copy)
    for _ in range(2):  # its message comes again
        assert isinstance(take(A, world.intake(0)), Known if written else Outcome)
        assert world.ledger.claimant(A) == owner
        take(copy, world.intake(0))
    [told] = [seen for seen in world.ledger.seen(A.object_id) if seen.version == A.version]
    assert (told.same_as, told.owner) == (copy.version, owner)
    again = following(A, 3, copied=True)
    world.versions.append(again)
    assert take(again, world.intake(0)) == TOLD
    assert batches(world) == (0 if written else 1)


@pytest.mark.parametrize("written", BATCHED, ids=["alone", "window", "quiet"])
def test_what_a_copy_stands_for_is_claimed_meanwhile(world: World, written: dict[str, Any]) -> None:
    """By another worker: nobody claims anything here, and the copy is told when it comes again."""
    world.table, copy = table(**written), following(A, 2, copied=True)
    world.versions = [A, copy]
    intake = world.intake(0)

    def before(version: Arrival) -> list[Arrival]:
        take(A, world.intake(0))
        return [A]

    late: Any = SimpleNamespace(read=intake.objects.read, before=before)
    with pytest.raises(LeaseLost, match="came just now"):
        take(copy, replace(intake, objects=late))
    assert world.ledger.claimant(copy) is None
    assert take(copy, intake) == TOLD
    assert batches(world) == (0 if written else 1)


def test_what_a_refused_copy_stands_for_shares_its_fate(world: World) -> None:
    """Its message may come before that, or after; and it may be told before, during a pause."""
    copy = following(A, 2, copied=True)
    world.versions = [A, copy]
    world.pause("route#all")
    for file in (copy, A):
        assert take(file, world.intake(0)).kind is OutcomeKind.PAUSED
    world.resume()
    world.clock.advance(20_000)
    for file in (copy, A):
        world.simulator.faults.add(Fault("status", operation="create", status=400))
        with pytest.raises(BatchRefused):
            take(file, world.intake(0))
        assert world.ledger.claimant(copy) is None
        assert world.ledger.claimant(A) == copy.external_id
    assert take(copy, world.intake(0)).kind is OutcomeKind.CREATED
    assert take(A, world.intake(0)).kind is OutcomeKind.DUPLICATE
    assert batches(world) == 1


def test_a_copy_waits_until_it_is_told_that_its_original_is_refused(world: World) -> None:
    """Until then the original may begin again, by the routes of then, and both would be loaded."""
    copy = following(A, 2, copied=True)
    world.versions = [A, copy]
    world.simulator.faults.add(Fault("status", operation="create", status=400))

    def down(*_: object) -> None:
        raise NotAnnounced("the bus is down")

    intake = world.intake(0)
    ports = replace(intake.creating, announcer=SimpleNamespace(rejected=down))
    with pytest.raises(NotAnnounced):
        take(A, replace(intake, creating=ports))
    with pytest.raises(NotYet, match="is refused just now, and lets it go"):
        take(copy, world.intake(0))
    world.clock.advance(20_000)
    with pytest.raises(BatchRefused):
        take(A, world.intake(0))
    assert take(copy, world.intake(0)).kind is OutcomeKind.CREATED
    assert take(A, world.intake(0)).kind is OutcomeKind.DUPLICATE
    assert batches(world) == 1


def test_a_copy_of_what_is_refused_and_keeps_its_claim_is_told(world: World) -> None:
    """AEP may have made a batch of the first try: so that order goes on if its file comes again."""
    copy = following(A, 2, copied=True)
    world.versions = [A, copy]
    for status in (500, 400):
        world.simulator.faults.add(Fault("status", operation="create", status=status))
    with pytest.raises(OutcomeUnknown):
        take(A, world.intake(0))
    world.clock.advance(HOUR)
    with pytest.raises(BatchRefused):
        take(A, world.intake(0))
    assert take(copy, world.intake(0)) == TOLD
    assert take(A, world.intake(0)).kind is OutcomeKind.CREATED
    assert batches(world) == 1


def test_a_copy_of_what_was_refused_and_discarded_is_loaded(world: World) -> None:
    """That begins no more, though it keeps its claim."""
    copy = following(A, 2, copied=True)
    world.versions = [A, copy]
    for status in (500, 400):
        world.simulator.faults.add(Fault("status", operation="create", status=status))
    with pytest.raises(OutcomeUnknown):
        take(A, world.intake(0))
    world.clock.advance(HOUR)
    with pytest.raises(BatchRefused):
        take(A, world.intake(0))
    refused = world.ledger.records[A.external_id]
    world.ledger.replace(refused, refused.discard("by somebody", world.clock()))
    assert take(copy, world.intake(0)).kind is OutcomeKind.CREATED
    assert take(A, world.intake(0)).kind is OutcomeKind.DUPLICATE
    assert batches(world) == 1


def test_a_copy_stands_for_a_refused_copy_and_what_that_stood_for(world: World) -> None:
    copy, again = following(A, 2, copied=True), following(A, 3, copied=True)
    world.versions = [A, copy]
    for file in (copy, A):
        world.simulator.faults.add(Fault("status", operation="create", status=400))
        with pytest.raises(BatchRefused):
            take(file, world.intake(0))
    world.versions.append(again)
    assert take(again, world.intake(0)).kind is OutcomeKind.CREATED
    assert take(A, world.intake(0)) == Known(again.external_id)
    assert take(copy, world.intake(0)) == TOLD
    assert batches(world) == 1


def test_both_in_one_batch_of_messages_have_one_batch(world: World, first: Arrival) -> None:
    copies = [following(first, number, copied=True) for number in (3, 2)]
    both = {file.external_id: file for file in (*copies, first)}
    results = take_in(both, world.intake(0), map)
    assert [results[copy.external_id] for copy in copies] == [TOLD, TOLD]
    assert isinstance(results[first.external_id], Outcome)


@pytest.mark.parametrize("ignored", [True, False], ids=["ignored", "late"])
def test_a_copy_of_a_copy_that_nobody_knows_is_told(world: World, *, ignored: bool) -> None:
    """As after a bucket was encrypted anew behind a route that ignored it."""
    one, two = following(A, 2, copied=True), following(A, 3, copied=True)
    world.versions = [A, one, two]
    take(A, world.intake(0))
    if ignored:
        written = {"name": "no", "match": "in/**", "ignore": True}
        world.table = routes.parse(json.dumps({"routes": [written]}), "v1")
        assert take(one, world.intake(0)) == Skipped("route")
        world.table = table()
    assert take(two, world.intake(0)) == TOLD
    assert take(one, world.intake(0)) == TOLD
    assert batches(world) == 1


def test_what_was_written_again_before_a_copy_of_it_counts(world: World) -> None:
    again, copy = following(A, 2), following(A, 3, copied=True)
    world.versions = [A, again, copy]
    take(A, world.intake(0))
    assert take(copy, world.intake(0)) == TOLD
    assert isinstance(take(again, world.intake(0)), Outcome)
    assert batches(world) == 2


def test_of_a_then_b_then_a_b_comes_last(world: World) -> None:
    b, copy = following(A, 2, etag="b"), following(A, 3, copied=True)
    world.versions = [A, b, copy]
    take(A, world.intake(0))
    world.ledger.note_retrying(b, "its bucket cannot be read", START)
    assert isinstance(take(copy, world.intake(0)), Outcome)
    assert isinstance(take(b, world.intake(0)), Outcome)
    assert batches(world) == 3


def test_what_was_rejected_in_between_left_no_rows(world: World) -> None:
    b, copy = following(A, 2, etag="b"), following(A, 3, copied=True)
    world.versions = [A, b, copy]
    take(A, world.intake(0))
    world.ledger.reject(b, Rejection.of(NoRoute("no route fits"), START))
    assert take(copy, world.intake(0)) == TOLD


def test_one_query_for_a_copy_and_none_for_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = world.ledger.seen_and_counted, list[str]()

    def reading(object_id: str) -> tuple[list[Seen], list[CountedVersion]]:
        asked.append(object_id)
        return read(object_id)

    monkeypatch.setattr(world.ledger, "seen_and_counted", reading)
    take(A, world.intake(0))
    take(following(A, 2), world.intake(0))
    assert asked == []
    take(following(A, 3, copied=True), world.intake(0))
    assert asked == [A.object_id]


def eventbridge(**detail: Any) -> str:
    about = {"key": "in/one.json", "size": 1, "etag": "e", "sequencer": "0061"}
    detail = {"bucket": {"name": "landing"}, "object": about} | detail
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    return json.dumps(event | {"time": "2026-11-28T12:00:00Z"})


def notification(name: str) -> str:
    about = {"key": "in/one.json", "size": 1, "eTag": "e", "sequencer": "0061"}
    record = {"eventSource": "aws:s3", "eventName": name, "eventTime": "2026-11-28T12:00:00Z"}
    return json.dumps(
        {"Records": [record | {"s3": {"bucket": {"name": "landing"}, "object": about}}]}
    )


@pytest.mark.parametrize(
    ("body", "copied"),
    [
        (eventbridge(reason="CopyObject"), True),
        (eventbridge(reason="PutObject"), False),
        (eventbridge(reason="CompleteMultipartUpload"), False),
        (eventbridge(reason=None), False),
        (eventbridge(), False),
        (notification("ObjectCreated:Copy"), True),
        (notification("ObjectCreated:Put"), False),
        (notification("ObjectCreated:*"), False),
    ],
)
def test_s3_says_what_was_copied(body: str, copied: bool) -> None:
    [arrival] = parse(body).arrivals
    assert arrival.copied is copied
    assert arrival == replace(arrival, copied=not copied), "it is no part of the identity"
