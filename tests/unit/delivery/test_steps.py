"""A delivery step by step: what schedules reach too seldom, and that each branch does its part."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aep_intake.adapters.adobe.ingestion import Ingestion
from aep_intake.clock import due
from aep_intake.content.beginning import BEGINNING
from aep_intake.content.parts import Parts
from aep_intake.content.rows import Place
from aep_intake.create import create
from aep_intake.delivery import ending, steps, upload
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Mark, Progress, Task, Verdict
from aep_intake.delivery.pieces import Piece
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.delivery.upload import Uploaded
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import (
    BadRows,
    CustomerKeyNeeded,
    FormatMismatch,
    LeaseLost,
    LedgerUnavailable,
    MalformedEvent,
    NotAnnounced,
    NotEnded,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    PlatformUnavailable,
    Rejected,
    StorageUnavailable,
    TooLarge,
    TryAgain,
    UploadRefused,
)
from aep_intake.model.files import Arrival
from aep_intake.model.messages import Wish
from aep_intake.model.orders import Order
from aep_intake.model.outcomes import caught
from aep_intake.model.progress import Outcome, OutcomeKind, Record, Rejection, State
from aep_intake.model.sharing import Sharing
from aep_intake.report.events import arrival_rejected, batch_created
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable
from jsonschema import Draft202012Validator

from local.simulator import verdict
from local.simulator.batches import Batch as Simulated
from local.simulator.faults import Fault
from local.simulator.mishaps import Mishap
from local.simulator.seed import LOYALTY, PRODUCTS, PROFILES
from tests.builders import parquet_of
from tests.faults.harness import (
    DAY,
    HOUR,
    MINUTE,
    OUTCOME,
    SECOND,
    SETTLE,
    SKEW,
    START,
    TIMEOUT,
    UPLOADING,
    Delivering,
    Errand,
    calm,
    go_on,
    take,
    try_again,
)
from tests.memory_ledger import all_due

EVENTS = Path(__file__).parents[3] / "events"
STEP = TIMEOUT + SKEW
AS_ORDERED = Wish(as_ordered=True)
ROWS = b"".join(b'{"row": %d}\n' % n for n in range(20))
TABLE = b"a,b\n" + b"1,2\n" * 60
PACKED = gzip.compress(ROWS, mtime=0)
# Its checksum is wrong, which shows at its end.
BROKEN_LATE = PACKED[:-8] + b"\0" * 4 + PACKED[-4:]


def table(**written: Any) -> RoutingTable:
    whole = {"name": "all", "match": "in/**", "datasetId": LOYALTY} | written
    return routes.parse(json.dumps({"routes": [whole]}), "v1")


@pytest.fixture
def world() -> Delivering:
    return calm(tables=(table(),), final=table())


def arrival(content: bytes, key: str = "in/a.json", number: int = 1) -> Arrival:
    return Arrival("landing", key, f"v{number}", "e", f"006{number}", len(content), START)


def ports(world: Delivering, **changes: Any) -> DeliveryPorts:
    return replace(world.ports(world.intake(0)), **changes)


def created(world: Delivering, *contents: bytes, key: str = "in/{}.json", **written: Any) -> str:
    """Files arrive and get a batch that is announced; the order's external id."""
    world.table = table(**written, **({"batch": {"window": "1m"}} if len(contents) > 1 else {}))
    for number, content in enumerate(contents):
        file = arrival(content, key.format(number), number)
        world.put(file, content)
        take(file, world.intake(0))
    world.queue.clear()
    if len(contents) > 1:
        world.clock.advance(2 * MINUTE)
        while found := all_due(world.ledger, world.clock()):
            for what in found:
                go_on(what.kind, what.id, world.intake(0))
        world.handed_out.clear()
    return world.created_queue[-1].what[0]


def begun(world: Delivering, *contents: bytes, key: str = "in/{}.json", **written: Any) -> str:
    """The same, and their delivery has begun: their pieces are handed out."""
    external_id = created(world, *contents, key=key, **written)
    steps.start(*world.created_queue.pop().what, ports(world))
    return external_id


def hand_out_and_die(world: Delivering, pieces: int) -> None:
    """A delivery begins, and its worker is killed when it has handed out so many pieces."""

    def some(tasks: list[Task]) -> None:
        world.uploads += [Errand(task, world.clock()) for task in tasks[:pieces]]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps.start(*world.created_queue[-1].what, ports(world, enqueue=some))


def uploaded_piece(
    task: Task, its: DeliveryPorts, tries: int = upload.TRIES_MAX
) -> Delivery | None:
    """What becomes of a delivery when a piece is uploaded."""
    return upload.upload(task, its, tries).delivery


def uploaded(world: Delivering, most: int = 1000) -> list[Delivery | None]:
    """What becomes of a delivery when pieces are uploaded, those too that go on later."""
    found: list[Delivery | None] = []
    while world.uploads and len(found) < most:
        found.append(uploaded_piece(world.uploads.pop(0).what, ports(world)))
    return found


def piece_of(task: Task) -> Piece:
    assert task.piece is not None
    return task.piece


def standing(world: Delivering, external_id: str) -> Delivery:
    found = world.deliveries.get(external_id)
    assert found is not None
    return found


def looked(world: Delivering, external_id: str, wait: int = OUTCOME) -> Delivery | None:
    """What becomes of a delivery when it is looked at so much later."""
    world.clock.advance(wait)
    return steps.resume(external_id, ports(world))


def batch_of(world: Delivering, external_id: str) -> Simulated:
    return world.simulator.batch(world.deliveries.kept[external_id].batch_id)


def complete_elsewhere(world: Delivering, external_id: str) -> None:
    """Somebody else says of a batch that all its files are there."""
    batch = batch_of(world, external_id)
    batch.become("loaded", world.clock())
    world.simulator.foundation.promotion.begin(batch, world.clock())


def finished(world: Delivering, external_id: str) -> dict[str, Any]:
    """The one event of its end."""
    held = standing(world, external_id)
    assert (held.stage, held.due) == (DeliveryStage.ENDED, None)
    [end] = [end for end in world.ends if end["externalId"] == external_id]
    valid({name: value for name, value in end.items() if name != "kind"}, "batch-ended")
    return end


def valid(document: dict[str, Any], schema: str) -> None:
    contract = json.loads((EVENTS / f"{schema}.schema.json").read_text())
    Draft202012Validator(contract).validate(document)


def operations(world: Delivering, *among: str) -> list[str]:
    return [r.operation for r in world.simulator.received if r.operation in among]


def filled(world: Delivering, external_id: str) -> dict[str, bytes]:
    return {name[33:]: f.read() for name, f in batch_of(world, external_id).files.items()}


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


class Ingested:
    """AEP, whose every answer a test decides. `did`: what it was asked to do."""

    def __init__(self, world: Delivering, *statuses: str | None, **answers: Any) -> None:
        self._real: Any = ports(world).ingestion
        self._statuses, self._answers = list(statuses), answers
        self.did: list[str] = []

    def fetch_batch(self, about: Delivery) -> Batch | None:
        status = self._statuses.pop(0)
        if status is None:
            return None
        return Batch(about.batch_id, status, 0, None, (), {}, self._answers.get("raw", {}))

    def __getattr__(self, name: str) -> Any:
        self.did.append(name)
        return self._answers.get(name) or getattr(self._real, name)


# ---- From created to ingested


def test_a_file_goes_all_the_way(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    held, at = standing(world, external_id), world.clock()
    assert (held.stage, held.total) == (DeliveryStage.UPLOADING, 4)
    *others, last = uploaded(world)
    assert others == [None] * 3
    assert last is not None
    assert (last.stage, last.uploaded_at) == (DeliveryStage.INGESTING, at)
    assert batch_of(world, external_id).status == "loaded"
    assert looked(world, external_id, OUTCOME - 1) is None
    ended = looked(world, external_id, 1)
    assert ended == standing(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["status"], end["recordCount"]) == ("Batch Succeeded", "success", 20)
    assert (end["lostFileCount"], end["fileCount"], end["byteCount"]) == (0, 1, len(ROWS))
    assert b"".join(filled(world, external_id).values()) == ROWS
    assert world.orders_parked == set()
    asked = operations(world, "put-file", "complete", "abort", "get-batch", "list-meta")
    assert asked == ["put-file"] * 4 + ["complete", "get-batch"]


def requested(world: Delivering, *, starts: bool = True) -> str:
    """A request without files gets its batch, which its caller fills; its external id."""
    intake = world.intake(0)
    target = intake.targets.target(dataset_id=LOYALTY)
    json_lines = {"inputFormat": {"format": "json"}}
    create.create_batch(Order("mine", target, json_lines, trigger="request"), intake.creating)
    if starts:
        steps.start("mine", batch_id(world, "mine"), ports(world))
    return "mine"


def test_what_is_said_of_an_object_of_a_request_names_no_route(world: Delivering) -> None:
    """As none took it."""
    file = arrival(b"id,n\n", "in/a.csv")
    world.put(file, b"id,n\n")
    target = world.intake(0).targets.target(dataset_id=LOYALTY)
    as_csv = {"inputFormat": {"format": "csv"}}
    order = Order("mine", target, as_csv, (file,), trigger="request")
    create.create_batch(order, world.intake(0).creating)
    steps.start("mine", batch_id(world, "mine"), ports(world))
    uploaded(world)
    [mark] = world.deliveries.marks("mine").values()
    assert mark.lost is not None
    assert mark.lost.detail == "s3://landing/in/a.csv has 0 rows, and its request demands 1"


def test_what_the_caller_fills_is_followed_to_its_end_and_left_alone(world: Delivering) -> None:
    external_id = requested(world)
    assert standing(world, external_id).stage is DeliveryStage.FOLLOWING
    for _ in range(5):
        seen = looked(world, external_id, HOUR)
        assert seen is not None
        assert (seen.stage, world.ends) == (DeliveryStage.FOLLOWING, [])
    assert operations(world, "put-file", "complete", "abort") == []
    held = standing(world, external_id)
    ports(world).ingestion.upload(held, "of-the-caller.json", BytesIO(ROWS), len(ROWS), 10)
    complete_elsewhere(world, external_id)
    looked(world, external_id, HOUR)
    looked(world, external_id, HOUR)
    end = finished(world, external_id)
    assert (end["kind"], end["fileCount"], end["lostFileCount"]) == ("Batch Succeeded", 0, 0)
    assert end["recordCount"] == 20
    assert operations(world, "put-file", "complete", "abort") == ["put-file"]


def test_what_nobody_completes_in_time_is_aborted_and_told(world: Delivering) -> None:
    """And not parked: another empty batch would help nobody."""
    external_id = requested(world)
    deadline = ports(world).deadline_ms
    begun = standing(world, external_id)
    assert begun.deadline == begun.created_at + deadline
    world.deadline = deadline - HOUR  # which people are told at the next look
    looked(world, external_id)
    assert standing(world, external_id).deadline == begun.deadline - HOUR
    world.deadline = deadline
    looked(world, external_id, deadline - OUTCOME)
    assert standing(world, external_id).stage is DeliveryStage.FOLLOWING
    looked(world, external_id, HOUR)
    end = finished(world, external_id)
    assert (end["kind"], end["status"]) == ("Batch Abandoned", "aborted")
    assert end["detail"] == f"its caller did not complete it within {deadline // HOUR} hours"
    assert world.orders_parked == set()


def test_what_the_caller_aborts_is_told(world: Delivering) -> None:
    external_id = requested(world)
    batch_of(world, external_id).become("aborted", world.clock())
    looked(world, external_id, HOUR)
    assert finished(world, external_id)["kind"] == "Batch Abandoned"
    assert world.orders_parked == set()


def test_what_the_caller_fills_is_found_without_its_event(world: Delivering) -> None:
    """The delivery is recorded with the order, and due."""
    external_id = requested(world, starts=False)
    world.clock.advance(create.DELIVERY_DUE_MS)
    [found] = world.ledger.due(due.DueKind.DELIVERIES, world.clock(), 10)
    assert found.id == external_id
    followed = steps.resume(external_id, ports(world))
    assert followed is not None
    assert followed.stage is DeliveryStage.FOLLOWING


def test_an_event_that_comes_twice_begins_it_once(world: Delivering) -> None:
    external_id = created(world, ROWS)
    [errand] = world.created_queue
    steps.start(*errand.what, ports(world))
    first = standing(world, external_id)
    for _ in range(2):
        world.clock.advance(SECOND)
        steps.start(*errand.what, ports(world, piece_bytes=10))
    assert standing(world, external_id) == first
    assert len(world.uploads) == first.total
    uploaded(world)
    looked(world, external_id)
    ended = standing(world, external_id)
    steps.start(*errand.what, ports(world))
    assert standing(world, external_id) == ended
    assert world.uploads == []


@pytest.mark.parametrize("event", [("nobody's", "B"), ("ours", "another batch")])
def test_an_event_of_what_is_not_ours_is_malformed(
    world: Delivering, event: tuple[str, str]
) -> None:
    external_id = created(world, ROWS)
    who = external_id if event[0] == "ours" else event[0]
    with pytest.raises(MalformedEvent, match="the ledger knows no batch") as caught:
        steps.start(who, event[1], ports(world))
    assert caught.value.external_id == who
    assert world.ledger.deliveries == {}


def test_a_batch_without_files_that_an_early_release_announced_is_not_followed(
    world: Delivering,
) -> None:
    """It recorded no deliveries; its message may still be in the queue."""
    external_id = requested(world, starts=False)
    world.ledger.handed_over.clear()
    record = world.ledger.records[external_id]
    world.ledger.records[external_id] = replace(record, delivers=None)
    steps.start(external_id, batch_id(world, external_id), ports(world))
    assert world.ledger.deliveries == {}


def test_a_delivery_whose_event_is_lost_is_found_by_the_clock(world: Delivering) -> None:
    external_id = created(world, ROWS)
    world.created_queue.clear()
    finished_at = world.clock()
    assert world.ledger.due(due.DueKind.DELIVERIES, 10**15, 10) == [
        due.Due(due.DueKind.DELIVERIES, external_id, finished_at + HOUR)
    ]
    world.clock.advance(HOUR)
    began = steps.resume(external_id, ports(world))
    assert began == standing(world, external_id)
    assert began is not None
    assert began.stage is DeliveryStage.UPLOADING
    uploaded(world)
    looked(world, external_id)
    assert finished(world, external_id)["kind"] == "Batch Succeeded"


def test_an_event_that_is_faster_than_the_record_comes_again(world: Delivering) -> None:
    """The bus tells of a batch before the ledger remembers that it did."""
    intake = world.intake(0)
    early: list[Exception | None] = []

    def tell(record: Record) -> None:
        told = caught(lambda: steps.start(record.order.external_id, record.batch_id or "", at))
        early.append(told)

    at = ports(world)
    bus: Any = Told(created=tell)
    eager = replace(intake.creating, announcer=bus)
    file = arrival(ROWS)
    world.put(file, ROWS)
    take(file, replace(intake, creating=eager))
    [error] = early
    assert isinstance(error, NotYet)
    assert error.retry_after == 1
    assert world.ledger.deliveries == {}
    steps.start(file.external_id, batch_id(world, file.external_id), at)
    assert standing(world, file.external_id).stage is DeliveryStage.UPLOADING


def batch_id(world: Delivering, external_id: str) -> str:
    return world.ledger.records[external_id].batch_id or ""


def test_what_was_announced_while_nothing_was_delivered_never_is(world: Delivering) -> None:
    """Whatever is switched on later: somebody else fills it."""
    intake, file = world.intake(0), arrival(ROWS)
    world.put(file, ROWS)
    take(file, replace(intake, creating=replace(intake.creating, delivers=False)))
    assert world.ledger.records[file.external_id].delivers is False
    assert world.ledger.due(due.DueKind.DELIVERIES, 10**15, 10) == []
    steps.start(file.external_id, batch_id(world, file.external_id), ports(world))
    assert steps.resume(file.external_id, ports(world)) is None
    assert (world.ledger.deliveries, world.uploads) == ({}, [])


def test_what_the_release_before_announced_is_begun_by_its_event(world: Delivering) -> None:
    """It recorded no deliveries; the message that it sent may still be in the queue."""
    external_id = created(world, ROWS)
    [errand] = world.created_queue
    world.ledger.handed_over.clear()
    record = world.ledger.records[external_id]
    world.ledger.records[external_id] = replace(record, delivers=None)
    assert steps.resume(external_id, ports(world)) is None
    steps.start(*errand.what, ports(world))
    first = standing(world, external_id)
    assert first.stage is DeliveryStage.UPLOADING
    steps.start(*errand.what, ports(world))
    assert standing(world, external_id) == first


def test_a_worker_that_dies_before_the_record_leaves_it_to_the_next(world: Delivering) -> None:
    """Who comes next announces it again, and records the delivery then."""
    intake, file = world.intake(0), arrival(ROWS)
    world.put(file, ROWS)
    ledger = intake.creating.ledger
    deaf: Any = replace(intake.creating, ledger=Dying(ledger))
    with pytest.raises(LedgerUnavailable):
        take(file, replace(intake, creating=deaf, ledger=deaf.ledger))
    assert world.ledger.handed_over == {}
    world.clock.advance(2 * MINUTE)
    go_on(due.DueKind.ORDERS, file.external_id, world.intake(0))
    assert list(world.ledger.handed_over) == [file.external_id]
    assert len(world.created_queue) == 2


class Dying:
    """A ledger that does not take what finishes an order."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def hand_over(self, *_: Any) -> Any:
        raise LedgerUnavailable("throttled")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Told:
    """A bus."""

    def __init__(self, created: Callable[[Record], None]) -> None:
        self.created = created


def test_nobody_goes_on_before_its_time_or_after_its_end(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    assert steps.resume("nobody's", ports(world)) is None
    assert steps.resume(external_id, ports(world)) is None
    uploaded(world)
    looked(world, external_id)
    revision = standing(world, external_id).revision
    assert looked(world, external_id, 10**12) is None
    assert standing(world, external_id).revision == revision


def test_who_goes_on_moves_the_time_first(world: Delivering) -> None:
    """So nobody else does, and a dead worker is found."""
    external_id = begun(world, ROWS)
    world.clock.advance(UPLOADING + SKEW)
    seen: list[Delivery] = []

    def look(about: Delivery) -> Batch | None:
        seen.append(standing(world, external_id))
        assert steps.resume(external_id, ports(world)) is None
        return None

    its: Any = Ingested(world)
    its.fetch_batch = look
    steps.resume(external_id, ports(world, ingestion=its))
    assert [held.due for held in seen] == [world.clock() + STEP]


def test_what_was_begun_keeps_its_limit(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    world.piece = 1000
    uploaded(world)
    assert len(filled(world, external_id)) == 4
    assert standing(world, external_id).limit == 64


# ---- Planning


def test_a_plan_that_breaks_off_goes_on(world: Delivering) -> None:
    """Long files take long to cut: what is cut is kept."""
    external_id = created(world, TABLE, TABLE, TABLE, key="in/{}.csv")
    opened: list[tuple[str, int]] = []

    def breaking(file: Arrival, start: int, end: int) -> Any:
        opened.append((file.key, start))
        if len(opened) == 4:
            raise StorageUnavailable("S3 answered 503")
        return BytesIO(TABLE[start:end])

    with pytest.raises(StorageUnavailable):
        steps.start(*world.created_queue[-1].what, ports(world, opened=breaking))
    held = standing(world, external_id)
    assert (held.stage, list(held.cuts)) == (DeliveryStage.PLANNING, [0])
    steps.start(*world.created_queue[-1].what, ports(world, opened=breaking))
    assert world.uploads == []
    world.clock.advance(STEP)
    planned = steps.resume(external_id, ports(world, opened=breaking))
    assert planned is not None
    assert (planned.stage, list(planned.cuts)) == (DeliveryStage.UPLOADING, [0, 1, 2])
    keys = ["in/0.csv"] * 2 + ["in/1.csv"] * 4 + ["in/2.csv"] * 2
    assert [key for key, _ in opened] == keys, "what it is, and where to cut it"
    assert len(world.uploads) == planned.total


class Slow:
    """Bytes of which each read takes half a minute, until it breaks off."""

    def __init__(self, world: Delivering, content: bytes, reads: int) -> None:
        self.world, self.stream, self.left = world, BytesIO(content), reads

    def __enter__(self) -> "Slow":
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise StorageUnavailable("its worker is killed")
        self.world.clock.advance(30 * SECOND)
        return self.stream.read(size)


@pytest.mark.parametrize("fits", [True, False])
def test_one_file_that_takes_longer_than_a_worker_lives_goes_on_too(
    world: Delivering, *, fits: bool
) -> None:
    rows = b"a,b\n" + b"1,2\n" * 60
    content = rows if fits else rows + b"x" * 98 + b",2"
    external_id = created(world, content, key="in/{}.csv")
    read: list[int] = []

    def slowly(file: Arrival, start: int, end: int) -> Any:
        if end == len(content):  # who goes on reads the header, too
            read.append(start)
        return Slow(world, content[start:end], 9)

    long = ports(world, opened=slowly, planning_ms=HOUR)
    with pytest.raises(StorageUnavailable):
        steps.start(*world.created_queue[-1].what, long)
    while standing(world, external_id).stage is DeliveryStage.PLANNING:
        before = dict(standing(world, external_id).cuts)
        world.clock.advance(HOUR)
        with suppress(StorageUnavailable):
            steps.resume(external_id, long)
        found = standing(world, external_id)
        assert found.cuts != before, "no worker is killed in vain"
    assert read[1:] == sorted(set(read)) and len(read) > 2
    taken = [piece_of(errand.what) for errand in world.uploads]
    if not fits:  # as one, so that its upload says why
        assert [(piece.start, piece.end) for piece in taken] == [(0, len(content))]
        refused = found.cuts[0].refused
        assert refused is not None
        assert refused.detail.startswith("row 61, which begins at byte 244, has")
        return
    assert b"".join(content[piece.start : piece.end] for piece in taken) == content
    assert all(piece.size <= world.piece for piece in taken)


def test_who_plans_gives_others_their_turn(world: Delivering) -> None:
    """And goes on with the next tick where it was, in time and without an error."""
    content = b"a,b\n" + b"1,2\n" * 200
    external_id = created(world, content, key="in/{}.csv")
    read: list[int] = []

    def slowly(file: Arrival, start: int, end: int) -> Any:
        if end == len(content):
            read.append(start)
        return Slow(world, content[start:end], 1000)

    began = world.clock()
    steps.start(*world.created_queue[-1].what, ports(world, opened=slowly))
    turns = 1
    while standing(world, external_id).stage is DeliveryStage.PLANNING:
        assert world.clock() - began < 300 * SECOND, "its function would be killed"
        held = standing(world, external_id)
        assert held.due == world.clock()
        world.clock.advance(MINUTE)
        began, turns = world.clock(), turns + 1
        steps.resume(external_id, ports(world, opened=slowly))
        assert standing(world, external_id).cuts != held.cuts
    assert turns > 2
    assert read[1:] == sorted(set(read)), (
        "nothing is read twice, but its header, and to see what it is"
    )
    taken = [piece_of(errand.what) for errand in world.uploads]
    assert b"".join(content[piece.start : piece.end] for piece in taken) == content


def test_a_file_that_cannot_be_cut_does_not_keep_the_others_from_their_turn(
    world: Delivering,
) -> None:
    """Why it cannot be cut is kept with it."""
    bad = b"a,b\n" + b"1,2\n" * 60 + b"x" * 200
    good = b"a,b\n" + b"1,2\n" * 60
    external_id = created(world, bad, good, key="in/{}.csv")
    contents = {"in/0.csv": bad, "in/1.csv": good}

    def slowly(file: Arrival, start: int, end: int) -> Any:
        return Slow(world, contents[file.key][start:end], 1000)

    steps.start(*world.created_queue[-1].what, ports(world, opened=slowly))
    for _ in range(20):
        if standing(world, external_id).stage is DeliveryStage.PLANNING:
            world.clock.advance(MINUTE)
            steps.resume(external_id, ports(world, opened=slowly))
    held = standing(world, external_id)
    assert (held.stage, list(held.cuts)) == (DeliveryStage.UPLOADING, [0, 1])
    assert [bool(cut.refused) for cut in held.cuts.values()] == [True, False]


def test_what_cannot_be_cut_is_named_when_it_comes_to_its_upload(world: Delivering) -> None:
    world.piece = 100
    external_id = begun(world, b"PAR1" * 30, key="in/{}.parquet", lookInside=False)
    assert [errand.what.what.size for errand in world.uploads] == [120]
    [ended] = uploaded(world)
    assert ended is not None
    assert ended.stage is DeliveryStage.ENDED
    assert [(uri, why) for _, uri, why in world.lost] == [
        ("s3://landing/in/0.parquet", "too-large")
    ]
    assert finished(world, external_id)["lostFiles"][0]["reason"] == "too-large"
    assert operations(world, "put-file") == []


def test_what_is_gone_when_it_should_be_cut_is_named_too(world: Delivering) -> None:
    external_id = created(world, ROWS)
    world.contents.clear()
    steps.start(*world.created_queue[-1].what, ports(world))
    assert len(world.uploads) == standing(world, external_id).total == 1
    uploaded(world)
    assert finished(world, external_id)["lostFiles"][0]["reason"] == "object-gone"


def test_what_is_gone_since_it_was_uploaded_is_there(world: Delivering) -> None:
    external_id = begun(world, b"{}\n", b"[]\n")
    uploaded_piece(world.uploads[0].what, ports(world))
    world.deliveries.marked_as.clear()  # its worker died before it said so
    world.contents.clear()
    uploaded(world)
    there, gone = (mark for _, mark in sorted(world.deliveries.marks(external_id).items()))
    assert there == Mark(3)
    assert (gone.size, gone.lost and gone.lost.reason) == (0, "object-gone")
    assert len(operations(world, "put-file")) == 1
    assert len(operations(world, "head-file")) == 2


def test_where_something_else_is_held_under_its_name_the_batch_is_given_up(
    world: Delivering,
) -> None:
    external_id = begun(world, PACKED, b"{}\n", key="in/{}.json.gz")
    packed = world.uploads[0].what
    uploaded_piece(packed, ports(world))  # reads it to its end
    uploaded_piece(packed, ports(world))
    world.deliveries.marked_as.clear()
    del world.contents["landing", "in/0.json.gz", piece_of(packed).file.version]
    uploaded(world)
    assert finished(world, external_id)["kind"] == "Batch Abandoned"
    assert world.deliveries.marks(external_id)[0].size > 0


@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("key", ["in/{}.csv", "in/{}.csv.gz"])
def test_neither_a_byte_order_mark_nor_excel_s_line_goes_up(
    world: Delivering, key: str, rows: int
) -> None:
    """Of a file in one piece and in many; AEP would take either for the header."""
    header = b"id;name\r\n"
    content = b"\xef\xbb\xbfsep=;\r\n" + header + b"1;a\r\n" * rows
    external_id = begun(
        world,
        gzip.compress(content) if key.endswith("gz") else content,
        key=key,
        inputFormat={"format": "csv", "delimiter": ";"},
    )
    uploaded(world)
    sent = list(filled(world, external_id).values())
    assert (len(sent) > 1) == (rows > 1)
    assert all(one.startswith(header) for one in sent)
    assert b"".join(one.removeprefix(header) for one in sent) == b"1;a\r\n" * rows


@pytest.mark.parametrize("rows", [1, 30])
def test_excel_s_line_that_contradicts_the_route_costs_no_batch(
    world: Delivering, rows: int
) -> None:
    content = b"sep=;\nid,name\n" + b"1,a\n" * rows
    with pytest.raises(FormatMismatch, match=r"0\.csv: its first line says sep=';', but"):
        begun(world, content, key="in/{}.csv")
    assert operations(world, "create") == []


def test_a_quote_that_nothing_closes_is_named_by_its_row(world: Delivering) -> None:
    """Behind the first bytes, which are looked at before the batch is made."""
    rows = BEGINNING // 4
    content = b"id,text\n" + b"1,a\n" * rows + b'2,"b\n' + b"3,c\n" * 30
    external_id = begun(world, content, key="in/{}.csv")
    uploaded(world)
    [lost] = finished(world, external_id)["lostFiles"]
    assert lost["detail"].startswith(
        f"s3://landing/in/0.csv: row {rows + 1:,}, which begins at byte {8 + 4 * rows:,}, has a "
        "quote that opens a value"
    )


def test_what_was_unreadable_for_a_while_goes_up_in_parts_one_by_one(world: Delivering) -> None:
    external_id = created(world, ROWS)
    kept = dict(world.contents)
    world.contents.clear()
    steps.start(*world.created_queue[-1].what, ports(world))
    world.contents |= kept
    uploaded(world)
    assert list(filled(world, external_id)) == ["0.json", *(f"0-0000{n}.json" for n in range(1, 4))]
    assert b"".join(filled(world, external_id).values()) == ROWS


# ---- Uploading


def test_each_later_piece_of_a_csv_begins_with_the_header(world: Delivering) -> None:
    header = b'"i\nd",text\r\n'
    external_id = begun(world, header + b"1,2\r\n" * 30, key="in/{}.csv")
    uploaded(world)
    files = filled(world, external_id)
    assert len(files) == 3
    assert all(one.startswith(header) for one in files.values())
    assert sum(one.count(b"1,2\r\n") for one in files.values()) == 30
    assert all(len(one) <= 64 for one in files.values())


def test_a_gzip_goes_up_unpacked(world: Delivering) -> None:
    external_id = begun(world, PACKED, key="in/{}.json.gz")
    assert len(world.uploads) == 1
    uploaded(world)
    files = filled(world, external_id)
    assert list(files) == ["0.json", *(f"0-0000{n}.json" for n in range(1, 4))]
    assert b"".join(files.values()) == ROWS
    assert standing(world, external_id).stage is DeliveryStage.INGESTING
    assert world.deliveries.marks(external_id) == {0: Mark(len(ROWS), rows=20)}


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (PACKED[:-5], "format-mismatch"),
        (BROKEN_LATE, "format-mismatch"),
        (gzip.compress(ROWS + b"x" * 100 + b"\n", mtime=0), "too-large"),
    ],
    ids=["cut off", "damaged late", "long row"],
)
@pytest.mark.parametrize("alone", [True, False])
def test_of_a_gzip_that_is_broken_nothing_is_loaded(
    world: Delivering, packed: bytes, reason: str, *, alone: bool
) -> None:
    """What is wrong may only be seen after many parts: then they are in a batch that is aborted.

    But not if others share the batch: they are not taken along.
    """
    others = [] if alone else [PACKED]
    external_id = begun(world, packed, *others, key="in/{}.json.gz", lookInside=False)
    uploaded(world)
    assert operations(world, "complete") == ([] if alone else ["complete"])
    if not alone:
        looked(world, external_id)
        assert b"".join(filled(world, external_id).values()) == ROWS
    end = finished(world, external_id)
    assert end["kind"] == ("Batch Abandoned" if alone else "Batch Succeeded")
    assert [lost["reason"] for lost in end["lostFiles"]] == [reason]


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (ROWS, "in/{}.json.gz"),
        (PACKED, "in/{}.json"),
        (gzip.compress(ROWS[:55]) + b"\n" + gzip.compress(ROWS[55:]) + b"\r\n\0", "in/{}.json.gz"),
    ],
    ids=["plain in the name of a gzip", "gzip without its name", "padded members"],
)
def test_bytes_and_not_names_say_what_is_a_gzip(
    world: Delivering, content: bytes, key: str
) -> None:
    external_id = begun(world, content, key=key)
    uploaded(world)
    assert b"".join(filled(world, external_id).values()) == ROWS


@pytest.mark.parametrize("key", ["in/{}.json.gz", "in/{}.csv.gz"])
def test_empty_gzips_are_left_out_of_a_batch_of_many(world: Delivering, key: str) -> None:
    """Spark writes them for empty partitions, and a CSV of its header alone."""
    rows, none = (TABLE, b"a,b\n") if "csv" in key else (ROWS, b"")
    external_id = begun(world, *(gzip.compress(one) for one in (rows, none, b"")), key=key)
    uploaded(world)
    looked(world, external_id)
    assert list({name[0] for name in filled(world, external_id)}) == ["0"]
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"], world.lost) == ("Batch Succeeded", 0, [])


@pytest.mark.parametrize("lost_rows", [0, 2, -1])
def test_rows_are_counted_on_their_way_and_compared_with_aep_s_count(
    world: Delivering, monkeypatch: pytest.MonkeyPatch, lost_rows: int
) -> None:
    real = verdict.metrics

    def miscounted(batch: Simulated) -> Any:
        told = real(batch)
        told["metrics"]["outputRecordCount"] -= lost_rows
        return told

    monkeypatch.setattr("local.simulator.promotion.metrics", miscounted)
    external_id = begun(world, ROWS, PACKED, ROWS[:11])
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["sentRecordCount"], end["counted"]) == (41, True)
    assert end.get("missingRecordCount", 0) == lost_rows


def test_where_aep_tells_no_count_nothing_is_compared(world: Delivering) -> None:
    external_id = begun(world, TABLE, key="in/{}.csv")
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["sentRecordCount"], end["counted"]) == (60, False)
    assert "missingRecordCount" not in end


def test_of_what_has_no_rows_nobody_counts_any(world: Delivering) -> None:
    external_id = begun(world, parquet_of(9), key="in/{}.parquet", lookInside=False)
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert ("sentRecordCount" in end, end["counted"]) == (False, False)


def test_an_empty_gzip_alone_is_rejected(world: Delivering) -> None:
    external_id = begun(world, gzip.compress(b"") * 2, key="in/{}.json.gz", lookInside=False)
    uploaded(world)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFiles"][0]["reason"]) == ("Batch Abandoned", "empty-object")


def test_a_batch_of_nothing_but_empty_gzips_is_given_up(world: Delivering) -> None:
    external_id = begun(world, *[gzip.compress(b"")] * 2, key="in/{}.json.gz")
    uploaded(world)
    end = finished(world, external_id)
    assert (end["kind"], end["detail"]) == ("Batch Abandoned", "none of its files has a row")


@pytest.mark.parametrize("charset", ["UTF-8", "UTF-16", "ISO-8859-1", "Windows-1252"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_csv_of_another_charset_goes_up_in_utf_8(
    world: Delivering, charset: str, *, packed: bool
) -> None:
    text = "a,b\r\n" + "1,é\r\n" * 200
    world.piece = 200
    content = text.encode("utf-8-sig" if charset == "UTF-8" else charset)
    source = {"format": "csv", "charset": charset}
    content = gzip.compress(content) if packed else content
    external_id = begun(world, content, key="in/{}.csv", inputFormat=source)
    order = world.ledger.records[external_id].order
    if charset != "UTF-8":
        assert (order.options["inputFormat"], order.source_format) == ({"format": "csv"}, source)
    uploaded(world)
    files = list(filled(world, external_id).values())
    assert len(files) > 5
    assert all(file.startswith(b"a,b\r\n") for file in files)
    assert "".join(file.decode().removeprefix("a,b\r\n") for file in files) == text[5:]


LIST = b"[" + ROWS.rstrip().replace(b"\n", b",\r\n") + b"]"


@pytest.mark.parametrize(
    ("content", "written"),
    [
        (LIST, {}),
        (b"\xef\xbb\xbf" + LIST, {}),
        (gzip.compress(LIST), {}),
        (LIST, {"inputFormat": {"format": "json", "isMultiLineJson": True}}),
        (ROWS.replace(b"\n", b""), {}),
        (LIST, {"lookInside": False}),
    ],
    ids=["list", "with a mark", "packed", "as the route says", "nothing between", "unseen"],
)
@pytest.mark.parametrize("others", [0, 1])
def test_json_of_any_layout_goes_up_in_lines(
    world: Delivering, content: bytes, written: dict[str, Any], others: int
) -> None:
    external_id = begun(world, content, *[ROWS[:11]] * others, **written)
    order = world.ledger.records[external_id].order
    assert order.options["inputFormat"] == {"format": "json"}
    uploaded(world)
    lines = b"".join(filled(world, external_id).values()).splitlines()
    assert sorted(lines) == sorted((ROWS + ROWS[:11] * others).splitlines())
    looked(world, external_id)
    assert finished(world, external_id)["sentRecordCount"] == 20 + others


def test_the_events_say_what_the_files_are_and_what_the_batch_is(world: Delivering) -> None:
    external_id = created(world, LIST)
    told = batch_created(world.ledger.records[external_id])
    valid(told, "batch-created")
    assert told["inputFormat"] == {"format": "json"}
    assert told["sourceFormat"] == {"format": "json", "isMultiLineJson": True}


def test_json_goes_up_as_it_is_where_the_route_says_so(world: Delivering) -> None:
    world.piece = 1000
    external_id = begun(world, LIST, asIs=True)
    order = world.ledger.records[external_id].order
    assert order.options["inputFormat"] == {"format": "json", "isMultiLineJson": True}
    uploaded(world)
    assert list(filled(world, external_id).values()) == [LIST]


@pytest.mark.parametrize(
    ("bad_rows", "end"), [(0, "Abandoned"), (1, "Succeeded"), ("5%", "Succeeded")]
)
def test_a_broken_row_that_shows_late_is_named_before_the_batch_is_complete(
    world: Delivering, bad_rows: int | str, end: str
) -> None:
    world.piece = 100_000
    rows = b'{"text": "%s"}\n' % (b"x" * 1000) * 70 + b"no json\n"
    external_id = begun(world, rows, badRows=bad_rows)
    uploaded(world)
    looked(world, external_id)
    told = finished(world, external_id)
    if end == "Abandoned":
        assert operations(world, "complete") == []
        assert "row 71, it is not JSON: Expecting value" in told["lostFiles"][0]["detail"]
        assert told["lostFiles"][0]["reason"] == "bad-rows"
    else:
        assert told.get("brokenRecordCount") == 1 or told["kind"] == "Batch Failed"


@pytest.mark.parametrize("way", ["whole", "cut", "gzip", "members", "together"])
def test_a_header_among_the_rows_is_told_however_its_file_goes_up(
    world: Delivering, way: str
) -> None:
    """As `cat` puts files one behind the other."""
    one, two = (
        b"id,text\n" + b"".join(b"%d,abcdef\n" % n for n in some)
        for some in (range(11), range(11, 25))
    )
    content, key = one + two.replace(b"id,text", b'"id","text"'), "in/{}.csv"
    world.piece = 10_000 if way in ("whole", "together") else 64
    world.sharing = Sharing(50, 8000, 4000) if way == "together" else None
    if way in ("gzip", "members"):
        content, key = gzip.compress(content, mtime=0), "in/{}.csv.gz"
    if way == "members":
        content = gzip.compress(one, mtime=0) + b"\n" + gzip.compress(two, mtime=0)
    external_id = begun(world, *[content] * (2 if way == "together" else 1), key=key, badRows=1)
    while world.uploads:  # each worker has time for one part
        its = ports(world)
        uploaded_piece(world.uploads.pop(0).what, replace(its, uploads_end_ms=its.now() + 1500))
    marks = world.deliveries.marks(external_id).values()
    told = {(bad.row, bad.rule) for mark in marks for bad in mark.bad_rows}
    assert told == {(12, "it is the header once more")}
    assert sum(mark.broken for mark in marks) == (2 if way == "together" else 1)
    assert sum(mark.rows or 0 for mark in marks) == (52 if way == "together" else 26)


def test_a_header_among_the_rows_costs_no_batch(world: Delivering) -> None:
    told = "row 2: it is the header once more; 1 of its first 3 rows is broken"
    with pytest.raises(BadRows, match=told):
        created(world, b"id,n\n1,a\nid,n\n2,b\n", key="in/{}.csv")
    assert operations(world, "create") == []


@pytest.mark.parametrize("size", [10, 60])
@pytest.mark.parametrize("together", [False, True])
def test_a_header_with_one_name_for_two_columns_is_refused(
    world: Delivering, size: int, *, together: bool
) -> None:
    """AEP can have but one field of a name."""
    wrong = b"id,n, id,\n" + b"1,2,3\n" * size
    said = r"the columns 1 and 3 of its header have the same name, and a dataset has one field"
    if not together:
        with pytest.raises(FormatMismatch, match=said):
            created(world, wrong, key="in/{}.csv")
        return
    external_id = begun(world, wrong, b"id,n\n1,2\n", key="in/{}.csv")
    uploaded(world)
    looked(world, external_id)
    [lost] = finished(world, external_id)["lostFiles"]
    assert (lost["uri"], lost["reason"]) == ("s3://landing/in/0.csv", "format-mismatch")
    assert re.search(said, lost["detail"])


def told_rows(world: Delivering, *contents: bytes, rows: int, **written: Any) -> str:
    """The delivery of files that wait for their ready files; the first says how many rows."""
    for number in range(len(contents)):
        told = str(rows if number == 0 else 20).encode()
        world.put(arrival(told, f"in/{number}.json.done", number), told)
    ready: dict[str, Any] = {"match": "in/*.json", "ready": "{file}.done", "lookInside": False}
    return begun(world, *contents, **ready, **written)


@pytest.mark.parametrize("piece", [1000, 100], ids=["whole", "cut"])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("rows", [20, 21])
def test_the_rows_that_a_ready_file_tells_are_compared_before_the_batch_is_complete(
    world: Delivering, piece: int, others: int, rows: int
) -> None:
    world.piece = piece
    external_id = told_rows(world, ROWS, *[ROWS] * others, rows=rows)
    uploaded(world)
    looked(world, external_id)
    told = finished(world, external_id)
    if rows == 20:
        assert told["sentRecordCount"] == 20 + 20 * others
    elif others and piece == 1000:  # it is left out by name
        assert told["sentRecordCount"] == 20
        assert told["lostFiles"][0]["reason"] == "rows-differ"
    else:
        assert operations(world, "complete") == []
        assert told["kind"] == "Batch Abandoned"
        of_file = told.get("lostFiles", [{"detail": told["detail"]}])[0]["detail"]
        assert "in/0.json' has 20 rows, and its ready file says 21" in of_file


def test_an_empty_gzip_that_shares_its_batch_has_the_rows_that_are_told(world: Delivering) -> None:
    external_id = told_rows(world, gzip.compress(b""), ROWS, rows=3)
    uploaded(world)
    looked(world, external_id)
    assert finished(world, external_id)["lostFiles"][0]["reason"] == "rows-differ"


def large(size: int, **members: Any) -> bytes:
    return json.dumps(members | {"text": "x" * size}).encode() + b"\n"


LARGE_ROWS = ROWS + large(11_000, timestamp="2026-11-28") + large(11_000) + large(101_000)


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("form", ["whole", "cut", "packed", "list"])
def test_rows_that_profile_drops_are_counted_and_named(
    world: Delivering, others: int, form: str
) -> None:
    world.piece = 102_000 if form == "cut" else 1_000_000
    content = LARGE_ROWS
    if form == "packed":
        content = gzip.compress(content)
    if form == "list":
        content = b"[" + content.rstrip().replace(b"\n", b",\n") + b"]"
    external_id = begun(world, content, *[ROWS] * others, datasetId=PROFILES, lookInside=False)
    uploaded(world)
    looked(world, external_id)
    told = finished(world, external_id)
    assert (told["kind"], told["oversizedRecordCount"]) == ("Batch Succeeded", 2)
    named = "s3://landing/in/0.json" if form == "cut" else "s3://landing/in/0.json, row 21"
    assert told["oversizedRecords"][0] == named


def test_where_profile_has_no_part_no_row_is_too_large(world: Delivering) -> None:
    world.piece = 1_000_000
    external_id = begun(world, LARGE_ROWS)
    uploaded(world)
    looked(world, external_id)
    assert "oversizedRecordCount" not in finished(world, external_id)


def packed_in(world: Delivering, monkeypatch: pytest.MonkeyPatch, took: int) -> list[str]:
    """A clock that goes on with each part that is uploaded; and the parts, as they come."""
    put: list[str] = []
    real = Ingestion.upload

    def uploaded_piece(self: Ingestion, about: Delivery, path: str, *arguments: Any) -> None:
        real(self, about, path, *arguments)
        put.append(path[33:])
        world.clock.advance(took)

    monkeypatch.setattr(Ingestion, "upload", uploaded_piece)
    return put


def test_a_gzip_that_takes_longer_than_a_worker_lives_is_sent_step_by_step(
    world: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part once; before, the worker was killed each time, and at last its whole batch."""
    put = packed_in(world, monkeypatch, UPLOADING * 2 // 5)
    external_id = begun(world, PACKED, b"{}\n", key="in/{}.json.gz")
    [task] = [one.what for one in world.uploads if one.what.what.number == 0]
    workers = 0
    while task in (waiting := [errand.what for errand in world.uploads]):
        world.uploads.pop(waiting.index(task))
        uploaded_piece(task, ports(world))
        workers += 1
    assert put == ["0.json", *(f"0-0000{n}.json" for n in range(1, 4))]
    assert workers == 3
    assert world.deliveries.marks(external_id) == {0: Mark(len(ROWS), rows=20)}


def test_a_gzip_that_a_worker_dies_upon_goes_on_where_it_was(world: Delivering) -> None:
    external_id = begun(world, PACKED, key="in/{}.json.gz")
    task = world.uploads[0].what
    world.simulator.faults.add(Fault("status", "put-file", status=503, skip=2))
    with pytest.raises(PlatformUnavailable):
        uploaded_piece(task, ports(world))
    known = world.deliveries.progress(external_id, 0)
    assert known == Progress(2, 110, 10, place=Place(110, 10))
    uploaded_piece(task, ports(world))
    paths = [r.request.path[-10:] for r in world.simulator.received if r.operation == "put-file"]
    assert [paths.count(path) for path in dict.fromkeys(paths)] == [1, 1, 2, 1]
    assert b"".join(filled(world, external_id).values()) == ROWS


def test_a_gzip_of_one_part_is_unpacked_once(world: Delivering) -> None:
    world.piece = 1000
    begun(world, PACKED, key="in/{}.json.gz")
    opened: list[str] = []

    def counting(file: Arrival, start: int, end: int) -> Any:
        opened.append(file.key)
        return world._opened(file, start, end)

    uploaded_piece(world.uploads[0].what, ports(world, opened=counting))
    assert opened == ["in/0.json.gz"]
    assert len(operations(world, "put-file")) == 1


def test_a_gzip_whose_reader_was_dropped_between_two_parts_goes_on(world: Delivering) -> None:
    external_id = begun(world, PACKED, key="in/{}.json.gz")
    task = world.uploads.pop(0).what
    its = ports(world)
    keep: Callable[..., None] = its.deliveries.keep

    def dropping(name: str, number: int, progress: Progress) -> None:
        keep(name, number, progress)
        if progress.parts == 2:
            raise StorageUnavailable("its bytes broke off")

    remembered: Any = its.deliveries
    remembered.keep = dropping
    assert upload.upload(task, its) == Uploaded()
    assert [errand.what for errand in world.uploads] == [task]
    uploaded(world)
    assert b"".join(filled(world, external_id).values()) == ROWS
    assert len(operations(world, "put-file")) == 4


def test_a_file_that_others_share_a_batch_with_is_read_to_its_end_before_it_is_sent(
    world: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By as many workers as that takes; and no part is sent twice."""
    put = packed_in(world, monkeypatch, 0)
    external_id = begun(world, PACKED, b"{}\n", key="in/{}.json.gz")
    real = Parts.since

    def slowly(self: Parts, place: Any) -> Any:
        for part in real(self, place):
            yield part
            world.clock.advance(UPLOADING * 2 // 5)

    monkeypatch.setattr(Parts, "since", slowly)
    [task] = [one.what for one in world.uploads if one.what.what.number == 0]
    sent = []
    while task in (waiting := [errand.what for errand in world.uploads]):
        world.uploads.pop(waiting.index(task))
        uploaded_piece(task, ports(world))
        sent.append(len(put))
    assert put == ["0.json", *(f"0-0000{n}.json" for n in range(1, 4))]
    assert sent[0] == 0 and len(sent) > 2
    assert world.deliveries.marks(external_id)[0] == Mark(len(ROWS), rows=20)


def test_a_gzip_of_which_an_earlier_release_sent_some_is_given_up(world: Delivering) -> None:
    """It had cut it otherwise."""
    external_id = begun(world, PACKED, key="in/{}.json.gz")
    world.deliveries.keep(external_id, 0, Progress(2, 110))
    uploaded(world)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Abandoned", 1)
    assert operations(world, "put-file") == []


def test_an_upload_is_not_begun_when_its_worker_has_no_time_left(world: Delivering) -> None:
    external_id = begun(world, b"{}\n")
    with pytest.raises(NotYet, match="no time left"):
        uploaded_piece(world.uploads[0].what, ports(world, uploads_end_ms=world.clock() + 900))
    assert (operations(world, "put-file"), world.deliveries.marks(external_id)) == ([], {})


def test_an_upload_ends_before_its_worker_does(world: Delivering) -> None:
    begun(world, b"{}\n")
    given: list[float] = []
    its: Any = ports(world, uploads_end_ms=world.clock() + 20_000)
    its.ingestion.upload = lambda *arguments: given.append(arguments[-1])
    uploaded_piece(world.uploads[0].what, its)
    assert given == [20.0]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "put-file", status=503),
        Fault("status", "put-file", status=413),
        Fault("request-lost", "put-file"),
    ],
    ids=["unavailable", "refused", "lost"],
)
def test_of_the_hour_only_what_aep_took_is_used(world: Delivering, fault: Fault) -> None:
    begun(world, gzip.compress(b"{}\n", mtime=0), PACKED, key="in/{}.json.gz")
    world.simulator.faults.add(fault)
    first, second = (errand.what for errand in world.uploads)
    with suppress(TryAgain):
        uploaded_piece(first, ports(world))
    assert sum(world.allowance.sent.values()) == 0
    uploaded_piece(second, ports(world))  # reads it to its end
    uploaded_piece(second, ports(world))
    assert list(world.allowance.sent.values()) == [len(ROWS)], "unpacked, of its organization"
    [(organization, _)] = world.allowance.sent
    assert organization == world.seed.ims_org


def test_a_piece_that_is_marked_is_not_uploaded_again(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    task = world.uploads[0].what
    for _ in range(3):
        assert uploaded_piece(task, ports(world)) is None
    assert len(operations(world, "put-file")) == 1
    assert list(world.deliveries.marks(external_id)) == [0]


def test_a_piece_of_no_delivery_or_of_one_that_ended_is_nothing(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    tasks = [errand.what for errand in world.uploads]
    assert uploaded_piece(replace(tasks[0], external_id="nobody's"), ports(world)) is None
    world.simulator.set_status(batch_of(world, external_id).id, "aborted")
    looked(world, external_id, UPLOADING + SKEW)
    asked = len(world.simulator.received)
    for task in tasks:
        assert uploaded_piece(task, ports(world)) is None
    assert len(world.simulator.received) == asked


def test_what_s3_does_not_give_is_tried_again_from_its_start(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    task, content = world.uploads[1].what, ROWS[55:110]

    class Breaking(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            some = super().read(size)
            if not some:
                raise StorageUnavailable("its bytes broke off")
            return some

    its = ports(world, opened=lambda *_: Breaking(content[:20]))
    with pytest.raises(StorageUnavailable):
        uploaded_piece(task, its)
    assert world.deliveries.marks(external_id) == {}
    assert filled(world, external_id) == {}
    uploaded_piece(task, ports(world))
    assert filled(world, external_id) == {"0-55-110.json": content}


def test_when_an_hour_is_used_up_the_next_one_is_waited_for(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    world.allowance.hourly = 120
    taken = [errand.what for errand in world.uploads]
    for task in taken[:2]:
        uploaded_piece(task, ports(world))
    with pytest.raises(NotYet) as caught:
        uploaded_piece(taken[2], ports(world))
    left = HOUR - world.clock() % HOUR
    assert caught.value.retry_after == left / 1000
    assert len(operations(world, "put-file")) == 2
    world.clock.advance(left)
    uploaded_piece(taken[2], ports(world))
    assert set(world.deliveries.marks(external_id)) == {0, 1, 2}


def test_a_file_that_aep_refuses_is_lost_in_its_own_words(world: Delivering) -> None:
    world.piece = 1000
    external_id = begun(world, ROWS, b"{}\n")
    world.simulator.faults.add(Fault("status", "put-file", status=400))
    [ended] = [one for one in uploaded(world) if one]
    assert ended.stage is DeliveryStage.INGESTING
    assert world.lost == []
    looked(world, external_id)
    end = finished(world, external_id)
    assert world.lost == [(external_id, "s3://landing/in/0.json", "upload-refused")]
    assert (end["kind"], end["recordCount"], end["lostFileCount"]) == ("Batch Succeeded", 1, 1)
    assert "AEP answered 400" in end["lostFiles"][0]["detail"]


def test_where_the_batch_is_no_longer_loading_it_is_not_the_file(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    world.simulator.set_status(batch_of(world, external_id).id, "abandoned")
    ended, *others = uploaded(world)
    assert others == [None] * 3
    assert ended is not None
    end = finished(world, external_id)
    assert (end["kind"], end["status"], end["lostFileCount"]) == ("Batch Abandoned", "abandoned", 0)
    assert world.lost == []
    assert world.orders_parked == {external_id}
    assert operations(world, "put-file", "abort") == ["put-file"]


def test_a_refusal_counts_for_nothing_before_catalog_shows_the_batch(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    world.simulator.faults.add(Fault("status", "put-file", status=404))
    with pytest.raises(NotYet):
        uploaded_piece(world.uploads[0].what, ports(world, ingestion=Ingested(world, None)))
    assert world.deliveries.marks(external_id) == {}
    assert world.lost == []


@pytest.mark.parametrize("status", [413, 414, 415])
def test_what_is_surely_about_the_file_is_refused_at_once(world: Delivering, status: int) -> None:
    begun(world, b"{}\n")
    world.simulator.faults.add(Fault("status", "put-file", status=status))
    uploaded_piece(world.uploads[0].what, ports(world), 1)
    assert [reason for *_, reason in world.lost] == ["upload-refused"]


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
def test_another_refusal_may_pass(world: Delivering, status: int) -> None:
    """Such as one by a node of AEP's that does not know the batch yet."""
    external_id = begun(world, b"{}\n")
    world.simulator.faults.add(Fault("status", "put-file", status=status, count=0))
    for tries in (1, 2, 3, 4):
        with pytest.raises(NotYet, match=f"AEP answered {status}"):
            uploaded_piece(world.uploads[0].what, ports(world), tries)
    assert world.deliveries.marks(external_id) == {}
    uploaded_piece(world.uploads[0].what, ports(world), 5)
    assert [reason for *_, reason in world.lost] == ["upload-refused"]


def test_a_gzip_that_was_refused_half_way_is_given_up(world: Delivering) -> None:
    external_id = begun(world, PACKED, PACKED, key="in/{}.json.gz")
    world.simulator.faults.add(Fault("status", "put-file", status=413, skip=2))
    uploaded(world)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Abandoned", 1)
    assert operations(world, "complete") == []


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500])
def test_what_is_not_about_the_file_is_tried_again(world: Delivering, status: int) -> None:
    external_id = begun(world, ROWS)
    world.simulator.faults.add(Fault("status", "put-file", status=status))
    with pytest.raises(TryAgain):
        uploaded_piece(world.uploads[0].what, ports(world))
    assert world.deliveries.marks(external_id) == {}


def test_a_copy_that_comes_too_late_tells_nothing(world: Delivering) -> None:
    """One copy of a message uploads the file; then it is gone; then the other one looks for it."""
    external_id = begun(world, ROWS, ROWS)
    task = world.uploads[0].what

    def late(file: Arrival, start: int, end: int) -> Any:
        uploaded_piece(task, ports(world))
        world.contents.clear()
        return world._opened(file, start, end)

    assert uploaded_piece(task, ports(world, opened=late)) is None
    assert world.lost == []
    assert world.deliveries.marks(external_id) == {0: Mark(55, rows=5)}


def test_what_one_copy_could_read_is_there_though_another_could_not(world: Delivering) -> None:
    """One copy of a message has begun to read the file; for the other one it is archived."""
    world.piece = 1000
    external_id = begun(world, ROWS, ROWS)
    task = world.uploads[0].what

    def late(file: Arrival, start: int, end: int) -> Any:
        uploaded_piece(task, ports(world, opened=failing(ObjectArchived("restore it"))))
        return world._opened(file, start, end)

    assert uploaded_piece(task, ports(world, opened=late)) is None
    assert world.deliveries.marks(external_id) == {0: Mark(len(ROWS), rows=20)}
    uploaded(world)
    looked(world, external_id)
    assert finished(world, external_id)["lostFileCount"] == 0
    assert (world.lost, world.parked) == ([], [])


def test_a_copy_that_comes_after_the_end_of_uploads_changes_nothing(world: Delivering) -> None:
    external_id = begun(world, b"{}\n")
    task = world.uploads[0].what

    def late(file: Arrival, start: int, end: int) -> Any:
        uploaded_piece(task, ports(world))
        return world._opened(file, start, end)

    assert uploaded_piece(task, ports(world, opened=late)) is None
    assert operations(world, "put-file", "complete") == ["put-file", "complete", "put-file"]
    assert world.simulator.received[-2].status == 400
    assert world.deliveries.marks(external_id) == {0: Mark(3, rows=1)}
    assert world.lost == []
    looked(world, external_id)
    assert finished(world, external_id)["lostFileCount"] == 0


@pytest.mark.parametrize(
    "why",
    [
        ObjectGone("it is gone"),
        ObjectArchived("it is archived"),
        CustomerKeyNeeded("it has a key of its own"),
        TooLarge("it has a long row"),
        FormatMismatch("it is no gzip"),
        UploadRefused("AEP answered 400"),
    ],
)
def test_what_is_told_of_a_lost_file_keeps_the_contract(why: Rejected) -> None:
    valid(
        arrival_rejected("intake-0123", (arrival(ROWS),), Rejection.of(why, START)),
        "arrival-rejected",
    )


# ---- The last piece, and looking after the others


def test_a_count_that_came_too_short_is_made_up_for_in_time(world: Delivering) -> None:
    """A worker died between a mark and its count."""
    external_id = begun(world, ROWS)
    world.deliveries._slips = lambda: True
    assert uploaded(world) == [None] * 4
    assert standing(world, external_id).stage is DeliveryStage.UPLOADING
    assert looked(world, external_id, UPLOADING + SKEW - 1) is None
    done = looked(world, external_id, 1)
    assert done is not None
    assert done.stage is DeliveryStage.INGESTING


def test_a_count_that_came_too_far_changes_nothing(world: Delivering) -> None:
    """boto3 repeats a call that may have been carried out."""
    external_id = begun(world, ROWS)
    world.deliveries._counts[external_id] = 2
    results = uploaded(world, 2)
    assert results[0] is None
    assert results[1] is not None
    assert results[1].stage is DeliveryStage.UPLOADING
    assert operations(world, "complete") == []
    uploaded(world)
    assert standing(world, external_id).stage is DeliveryStage.INGESTING


def test_who_has_the_last_piece_leaves_it_to_who_is_at_it(world: Delivering) -> None:
    external_id = begun(world, b"{}\n")
    task = world.uploads[0].what
    remembered: Any = ports(world).deliveries
    remembered.replace = failing(LeaseLost("another worker went on"))
    assert uploaded_piece(task, ports(world, deliveries=remembered)) is None
    assert standing(world, external_id).stage is DeliveryStage.UPLOADING
    done = looked(world, external_id, UPLOADING + SKEW)
    assert done is not None
    assert done.stage is DeliveryStage.INGESTING


def test_pieces_that_were_not_handed_out_are(world: Delivering) -> None:
    """Who is killed amid that leaves a plan, and that is due when its worker is surely dead."""
    external_id = created(world, ROWS)

    hand_out_and_die(world, 2)
    assert standing(world, external_id).stage is DeliveryStage.PLANNING
    uploaded(world)
    assert standing(world, external_id).stage is DeliveryStage.PLANNING, (
        "nobody knows how many there are"
    )
    planned = looked(world, external_id, STEP)
    assert planned is not None
    assert (planned.stage, planned.total) == (DeliveryStage.UPLOADING, 4)
    uploaded(world)
    assert standing(world, external_id).stage is DeliveryStage.INGESTING
    assert len(operations(world, "put-file")) == 4


def test_a_batch_whose_last_piece_is_faster_than_its_planner_is_completed(
    world: Delivering,
) -> None:
    external_id = created(world, ROWS)

    def at_once(tasks: list[Task]) -> None:
        world.uploads += [Errand(task, world.clock()) for task in tasks]
        uploaded(world)

    steps.start(*world.created_queue[-1].what, ports(world, enqueue=at_once))
    assert standing(world, external_id).stage is DeliveryStage.INGESTING


def test_a_batch_whose_last_piece_ends_as_its_planner_does_is_completed(
    world: Delivering,
) -> None:
    """Its uploader read the delivery before its plan was told, and marks it after that."""
    external_id = begun(world, ROWS)
    planned, kept = standing(world, external_id), world.deliveries.kept
    kept[external_id] = replace(planned, stage=DeliveryStage.PLANNING, total=0)
    uploaded(world, 3)
    its = ports(world)
    ingestion: Any = its.ingestion
    put = ingestion.upload

    def meanwhile(*args: Any, **named: Any) -> None:
        kept[external_id] = planned
        put(*args, **named)

    ingestion.upload = meanwhile
    upload.upload(world.uploads.pop().what, its)
    assert standing(world, external_id).stage is DeliveryStage.INGESTING


def test_a_worker_that_dies_after_the_last_mark_leaves_a_message_that_goes_on(
    world: Delivering,
) -> None:
    """It shows again when its lease is over; a mere copy of one need not look at all marks."""
    external_id = begun(world, ROWS)
    tasks = [errand.what for errand in world.uploads]
    for task in tasks:
        world.deliveries.mark(external_id, task.what.number, Mark(task.what.size))
    assert upload.upload(tasks[-1], ports(world), 1) == Uploaded()
    assert standing(world, external_id).stage is DeliveryStage.UPLOADING
    upload.upload(tasks[-1], ports(world), 2)
    assert standing(world, external_id).stage is DeliveryStage.INGESTING


def test_pieces_that_wait_are_handed_out_again_ever_more_seldom(world: Delivering) -> None:
    """Their messages may be lost: nobody knows. A day's backlog is a few copies of each."""
    external_id = begun(world, ROWS)
    world.uploads.clear()  # they ended in the dead-letter queue, or somebody purged theirs
    world.deadline = 2 * DAY
    handed_out_at = list[int]()
    for look in range(DAY // (UPLOADING + SKEW)):
        looked(world, external_id, UPLOADING + SKEW)
        if world.uploads:
            assert len(world.uploads) == 4
            handed_out_at.append(look + 1)
            world.uploads.clear()
    assert handed_out_at[0] * (UPLOADING + SKEW) < 20 * MINUTE
    assert handed_out_at == [3 * 2**n for n in range(len(handed_out_at))]
    assert len(handed_out_at) <= 7


def test_pieces_that_wait_for_the_bytes_of_an_hour_are_not_handed_out_again(
    world: Delivering,
) -> None:
    """Others use up each hour of a day. What is handed out while they do would wait like the rest,
    so their messages are no more than before; once there is room, what was lost is not forgotten.
    """
    external_id = begun(world, ROWS)
    world.uploads.clear()
    world.deadline = 2 * DAY
    world.allowance.hourly = 100
    target, until = standing(world, external_id).target, world.clock() + DAY
    while (due := standing(world, external_id).due or 0) < until:
        world.clock.advance(max(0, due - world.clock()))
        with suppress(NotYet), world.allowance.taking(target, 90):
            pass
        steps.resume(external_id, ports(world))
        assert world.uploads == []
    assert due % HOUR == 0, "when the next one begins"
    looked(world, external_id, due - world.clock())
    assert len(world.uploads) == 4


def test_without_any_of_its_files_a_batch_is_given_up(world: Delivering) -> None:
    external_id = begun(world, ROWS, ROWS)
    total = standing(world, external_id).total
    world.contents.clear()
    ended = uploaded(world)[-1]
    assert ended is not None
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Abandoned", 2)
    gone = "s3://landing/in/0.json"
    assert end["detail"].startswith(f"{total} of its uploads were not possible: {gone}")
    assert {one["uri"] for one in end["lostFiles"]} == {f"s3://landing/in/{n}.json" for n in (0, 1)}
    assert batch_of(world, external_id).status == "aborted"
    assert operations(world, "complete", "put-file") == []
    assert world.orders_parked == {external_id}


LATE = b'{"text": "%s"}\n' % (b"x" * 1000) * 70 + b"no json\n"  # behind what is looked at first


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("files", "row", "written"),
    [
        ((LATE,), 71, {}),
        ((ROWS, ROWS + b"no json\n"), 21, {"onLostFile": "abort", "badRows": 0}),
    ],
)
def test_a_batch_given_up_because_of_a_file_is_parked_under_the_reason_of_that(
    world: Delivering,
    files: tuple[bytes, ...],
    row: int,
    written: dict[str, Any],
    *,
    together: bool,
) -> None:
    """Else who lists what is parked is told to redrive, which ends in the same way."""
    world.piece = 100_000
    world.sharing = Sharing(50, 100_000, 100_000) if together else None
    external_id = begun(world, *files, **written)
    uploaded(world)
    assert finished(world, external_id)["kind"] == "Batch Abandoned"
    assert world.orders_parked == {external_id}
    why = world.parked_for[external_id]
    assert why.reason == "bad-rows"
    assert f"in/{len(files) - 1}.json" in why.detail
    assert f"row {row}, it is not JSON" in why.detail
    assert why.detail == finished(world, external_id)["detail"]


@pytest.mark.parametrize("policy", ["proceed", "abort"])
def test_without_one_of_its_files_the_route_decides(world: Delivering, policy: str) -> None:
    world.piece = 1000
    external_id = begun(world, ROWS, ROWS, ROWS, onLostFile=policy)
    del world.contents["landing", "in/1.json", "v:v1"]
    uploaded(world)
    if policy == "proceed":
        looked(world, external_id)
    end = finished(world, external_id)
    assert end["kind"] == {"proceed": "Batch Succeeded", "abort": "Batch Abandoned"}[policy]
    assert [one["uri"] for one in end["lostFiles"]] == ["s3://landing/in/1.json"]
    assert operations(world, "complete", "abort") == [
        {"proceed": "complete", "abort": "abort"}[policy]
    ]
    assert world.orders_parked == ({external_id} if policy == "abort" else set())


def test_half_of_a_file_is_not_ingested(world: Delivering) -> None:
    """Who is told that a file is lost sends it again, and then half of its rows would be double."""
    external_id = begun(world, b"{}\n", ROWS)
    uploaded(world, 3)
    world.contents.clear()
    uploaded(world)
    end = finished(world, external_id)
    assert (end["kind"], end["status"]) == ("Batch Abandoned", "aborted")
    assert [one["uri"] for one in end["lostFiles"]] == ["s3://landing/in/1.json"]


# ---- What S3 does not let us read


DENIED = NotReadable("S3 answered 403 AccessDenied")


def denied(world: Delivering, key: str, **changes: Any) -> DeliveryPorts:
    """As `ports`; but one object cannot be read."""

    def opened(file: Arrival, start: int, end: int) -> Any:
        if file.key == key:
            raise DENIED
        return world._opened(file, start, end)

    return ports(world, opened=opened, **changes)


def test_what_may_not_be_read_for_a_while_is_not_lost(world: Delivering) -> None:
    """A 403 is never proof that something is gone."""
    world.piece = 1000
    external_id = begun(world, ROWS, ROWS, ROWS)
    tasks = [errand.what for errand in world.uploads]
    uploaded_piece(tasks[0], ports(world))
    with pytest.raises(NotReadable):
        uploaded_piece(tasks[1], denied(world, "in/1.json"))
    uploaded_piece(tasks[2], ports(world))
    assert (operations(world, "complete"), len(world.deliveries.marks(external_id))) == ([], 2)
    world.clock.advance(world.deadline // 2)
    uploaded_piece(tasks[1], ports(world))
    looked(world, external_id)
    assert finished(world, external_id)["recordCount"] == 60
    assert (world.lost, world.parked) == ([], [])


def test_what_may_not_be_read_for_too_long_is_parked_and_takes_no_other_along(
    world: Delivering,
) -> None:
    """A bucket whose policy forbids it, or that was taken out of SourceBucketNames."""
    world.piece = 1000
    external_id = begun(world, ROWS, ROWS)
    tasks = [errand.what for errand in world.uploads]
    uploaded_piece(tasks[0], ports(world))
    world.clock.advance(world.deadline * 3 // 4)
    uploaded_piece(tasks[1], denied(world, "in/1.json"))
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["recordCount"], end["lostFileCount"]) == ("Batch Succeeded", 20, 1)
    [(file, reason)] = world.files_parked
    assert (file.key, reason) == ("in/1.json", "not-readable")
    assert batched_alone(world, file) == ROWS


def test_a_plan_waits_for_what_may_not_be_read(world: Delivering) -> None:
    external_id = created(world, ROWS)
    with pytest.raises(NotReadable):
        steps.start(*world.created_queue[-1].what, denied(world, "in/0.json"))
    assert (standing(world, external_id).stage, world.uploads) == (DeliveryStage.PLANNING, [])
    world.clock.advance(STEP)
    steps.resume(external_id, ports(world))
    assert len(world.uploads) == 4


def test_a_plan_does_not_wait_for_it_forever(world: Delivering) -> None:
    external_id = created(world, ROWS, b"{}\n")
    its = denied(world, "in/0.json")
    with pytest.raises(NotReadable):
        steps.start(*world.created_queue[-1].what, its)
    world.clock.advance(world.deadline * 3 // 4)
    steps.resume(external_id, its)
    for errand in world.uploads:
        uploaded_piece(errand.what, denied(world, "in/0.json"))
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["recordCount"]) == ("Batch Succeeded", 1)
    assert [one["reason"] for one in end["lostFiles"]] == ["not-readable"]


@pytest.mark.parametrize(
    "why", [ObjectArchived("restore it"), CustomerKeyNeeded("SSE-C"), ObjectGone("gone")]
)
def test_what_cannot_be_read_at_all_is_named(world: Delivering, why: Rejected) -> None:
    external_id = begun(world, ROWS)
    its = ports(world, opened=failing(why))
    for errand in world.uploads:
        uploaded_piece(errand.what, its)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFiles"][0]["reason"]) == ("Batch Abandoned", why.reason)


# ---- What becomes of a file that was lost


def lost_one(world: Delivering, count: int = 3) -> tuple[str, Arrival]:
    """A batch of files that has all but the second of them; its order, and that file."""
    world.piece = 1000
    external_id = begun(world, *[ROWS] * count)
    task = world.uploads.pop(1).what
    uploaded_piece(task, ports(world, opened=failing(ObjectArchived("restore it"))))
    uploaded(world)
    return external_id, piece_of(task).file


def batched_alone(world: Delivering, file: Arrival) -> bytes:
    """What AEP holds of a file that was parked, redriven, and got a batch of its own."""
    [message] = [one for one in world.parked if one.arrival == file]
    world.table = table()
    outcome = take(message.arrival, world.intake(0))
    steps.start(*world.created_queue.pop().what, ports(world))
    uploaded(world)
    looked(world, outcome.record.order.external_id)
    assert finished(world, outcome.record.order.external_id)["kind"] == "Batch Succeeded"
    return b"".join(filled(world, outcome.record.order.external_id).values())


def test_a_lost_file_is_parked_and_can_have_a_batch_of_its_own(world: Delivering) -> None:
    external_id, file = lost_one(world)
    holder = world.ledger.claimant(file)
    assert holder == world.ledger.records[external_id].order.claimant
    assert world.parked == []
    looked(world, external_id)
    assert finished(world, external_id)["kind"] == "Batch Succeeded"
    assert world.ledger.claimant(file) is None
    assert world.ledger.rejections[file.object_id, file.version].reason == "object-archived"
    assert world.files_parked == [(file, "object-archived")]
    assert world.lost == [(external_id, file.uri, "object-archived")]
    assert world.orders_parked == set()
    others = world.ledger.files(world.ledger.records[external_id].order)
    assert {world.ledger.claimant(one) for one in others if one != file} == {holder}
    assert batched_alone(world, file) == ROWS


STEPS = ("ended", "let_go", "rejected", "park_file", "replace")


@pytest.mark.parametrize("after", [False, True], ids=["not arrived", "not answered"])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_dies_on_the_way_it_is_let_go_and_then_parked(
    world: Delivering, step: str, after: bool
) -> None:
    """And the delivery is due until all of it is done."""
    external_id, file = lost_one(world)
    world.clock.advance(OUTCOME)
    its = dying(ports(world), step, after=after)
    with pytest.raises(TryAgain):
        steps.resume(external_id, its)
    held = standing(world, external_id)
    assert (held.stage, held.due is not None) == (DeliveryStage.ENDED, True)
    looked(world, external_id, STEP)
    assert finished_at_last(world, external_id)
    assert world.ledger.claimant(file) is None
    assert set(world.files_parked) == {(file, "object-archived")}
    assert len(world.files_parked) == (2 if (step, after) in TWICE else 1)
    assert batched_alone_of_many(world, file) == ROWS


# A message that may have been sent is sent again: what comes of both is one batch.
TWICE = {("park_file", True), ("replace", False)}


def finished_at_last(world: Delivering, external_id: str) -> bool:
    held = standing(world, external_id)
    return (held.stage, held.due) == (DeliveryStage.ENDED, None)


def batched_alone_of_many(world: Delivering, file: Arrival) -> bytes:
    """The same, whatever number of messages there is."""
    first, *others = [one for one in world.parked if one.arrival == file]
    world.parked[:] = [first]
    alone = batched_alone(world, file)
    for other in others:
        assert take(other.arrival, world.intake(0)).kind is OutcomeKind.DUPLICATE
    return alone


def dying(its: DeliveryPorts, step: str, *, after: bool) -> DeliveryPorts:
    """DeliveryPorts whose step fails once the end of the batch is recorded."""

    def fail(call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any) -> Any:
            if after:
                call(*arguments)
            raise StorageUnavailable("it died")

        return failing

    if step == "park_file":
        return replace(its, park_file=fail(its.park_file))
    if step == "replace":
        replacing = its.deliveries.replace

        def settles(old: Delivery, new: Delivery) -> Delivery:
            call = fail(replacing) if new.lost_told != old.lost_told else replacing
            made: Delivery = call(old, new)
            return made

        remembered: Any = its.deliveries
        remembered.replace = settles
        return its
    port: Any = its.orders if step == "let_go" else its.announcer
    setattr(port, step, fail(getattr(port, step)))
    return its


def test_what_another_order_has_claimed_since_stays_its_own(world: Delivering) -> None:
    """A worker died after it parked a file, which was redriven before the next one came."""
    external_id, file = lost_one(world)
    world.clock.advance(OUTCOME)
    with pytest.raises(TryAgain):
        steps.resume(external_id, dying(ports(world), "park_file", after=True))
    assert batched_alone(world, file) == ROWS
    owner = world.ledger.claimant(file)
    assert owner == file.external_id
    looked(world, external_id, STEP)
    assert finished_at_last(world, external_id)
    assert world.ledger.claimant(file) == owner
    assert take(file, world.intake(0)).kind is OutcomeKind.DUPLICATE


def test_many_lost_files_are_settled_bit_by_bit(
    world: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "RELEASED_PER_WRITE", 2)
    world.piece, world.limits = 1000, replace(world.limits, files=10)
    external_id = begun(world, *[ROWS] * 7)
    first, *others = [errand.what for errand in world.uploads]
    uploaded_piece(first, ports(world))
    for task in others:
        uploaded_piece(task, ports(world, opened=failing(ObjectArchived("restore it"))))
    world.clock.advance(OUTCOME)
    real, left = ports(world), 3

    def park_file(file: Arrival, route: str | None, why: Rejection) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StorageUnavailable("the queue did not take it")
        real.park_file(file, route, why)

    with pytest.raises(StorageUnavailable):
        steps.resume(external_id, replace(real, park_file=park_file))
    assert standing(world, external_id).lost_told == 2
    looked(world, external_id, STEP)
    ended = standing(world, external_id)
    assert (ended.lost_told, ended.due) == (6, None)
    assert Counter(file.key for file, _ in world.files_parked) == {
        f"in/{n}.json": 2 if n == 3 else 1 for n in range(1, 7)
    }
    assert [uri for _, uri, _ in world.lost].count("s3://landing/in/6.json") == 1


def test_a_file_of_which_half_is_in_a_batch_is_not_let_go(world: Delivering) -> None:
    """Somebody else completed it: what is sent again would be double in part."""
    external_id = begun(world, ROWS, b"{}\n")
    uploaded(world, 1)
    complete_elsewhere(world, external_id)
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Succeeded", 2)
    assert [file.key for file, _ in world.files_parked] == ["in/1.json"]
    assert len(world.lost) == 2


def test_what_has_an_order_of_its_own_keeps_it(world: Delivering) -> None:
    """Somebody else completed its batch without it: redriven, it would meet its own order."""
    external_id = begun(world, ROWS[:11])
    world.simulator.set_status(batch_of(world, external_id).id, "success")
    looked(world, external_id, UPLOADING + SKEW)
    assert finished(world, external_id)["lostFileCount"] == 1
    assert world.files_parked == []
    assert [uri for _, uri, _ in world.lost] == ["s3://landing/in/0.json"]


# ---- Each stage, and what Catalog says of the batch then


def at_stage(world: Delivering, stage: str) -> Delivery:
    """A delivery of four pieces that is due, and has come so far."""
    external_id = begun(world, ROWS)
    if "all uploaded" in stage:
        for task in (errand.what for errand in world.uploads):
            world.deliveries.mark(external_id, task.what.number, Mark(task.what.size))
    else:
        uploaded(world, 1)
    world.simulator.received.clear()
    held, (name, *more) = standing(world, external_id), stage.split(", ")
    changes: dict[str, Any] = {"stage": DeliveryStage(name), "due": world.clock()}
    if name in ("completing", "ingesting"):
        changes["uploaded_at"] = world.clock()
    if "asked before" in more:
        changes |= {"polls": 5, "uploaded_at": world.clock() - steps.COMPLETE_AGAIN_MS - 1}
    changes |= {"total": 0} if name == "planning" else {}
    if name == "aborting":
        changes["verdict"] = Verdict(End.ABANDONED, "aborted", "given up", world.clock())
    if "late" in more or "forgotten" in more:
        age = ending.CATALOG_FORGETS_MS if "forgotten" in more else world.deadline
        changes["created_at"] = world.clock() - age - SECOND
    world.deliveries.kept[external_id] = replace(held, **changes)
    return world.deliveries.kept[external_id]


# By stage: what Catalog says (`-`: nothing), and what comes of it: the calls that change the batch
# in AEP, the stage it has then, and the event of its end. `later`: it stays, and comes again.
UNDER_WAY = "loaded staging queued processing staged retrying stalled inflight SUCCESS new"
FAILED = {"failed failure": "ended Failed"}
DATA = {"success active archived retained": "ended Succeeded"}
NO_DATA = {"aborted abandoned deleted inactive": "ended Abandoned"}
ENDS = DATA | FAILED | NO_DATA
BY_STAGE: dict[str, dict[str, str]] = {
    "planning": {"- loading": "uploading", UNDER_WAY: "ingesting"} | ENDS,
    "planning, late": {"- loading": "abort ended Abandoned", UNDER_WAY: "ingesting"} | ENDS,
    "uploading": {"- loading": "uploading", UNDER_WAY: "ingesting"} | ENDS,
    "uploading, late": {"- loading": "abort ended Abandoned", UNDER_WAY: "ingesting"} | ENDS,
    "uploading, all uploaded": {"- loading success": "complete ingesting"},
    "uploading, all uploaded, late": {"- loading": "complete ingesting"},
    "uploading, all uploaded, refused": {"- loading aborted": "complete ingesting"},
    "completing, all uploaded": {"- loading": "complete ingesting"},
    "completing, all uploaded, refused": {"- loading aborted": "complete ingesting"},
    "ingesting, all uploaded": {f"- loading {UNDER_WAY}": "ingesting"} | ENDS,
    "ingesting, all uploaded, asked before": {
        "loading": "complete ingesting",  # it was not heard, as Catalog may be late only once
        f"- {UNDER_WAY}": "ingesting",
    }
    | ENDS,
    "ingesting, all uploaded, asked before, refused": {"loading": "complete ingesting"} | ENDS,
    "ingesting, all uploaded, late": {f"- loading {UNDER_WAY}": "ingesting"} | ENDS,
    "ingesting, all uploaded, forgotten": {"-": "ended Abandoned", "loading new": "ingesting"}
    | ENDS,
    "aborting": {
        "- loading": "abort later aborting",
        UNDER_WAY: "abort ingesting",  # somebody was faster than our abort
    }
    | {statuses: f"abort {end}" for statuses, end in ENDS.items()},
}
ROWS_OF_IT = [
    pytest.param(stage, status, becomes, id=f"{stage}: {status}")
    for stage, said in BY_STAGE.items()
    for statuses, becomes in said.items()
    for status in statuses.split()
]


@pytest.mark.parametrize(("stage", "status", "becomes"), ROWS_OF_IT)
def test_what_comes_of_a_delivery(world: Delivering, stage: str, status: str, becomes: str) -> None:
    before, words, did = at_stage(world, stage), becomes.split(), list[str]()

    def complete(_: Delivery) -> None:
        did.append("complete")
        if "refused" in stage:
            raise UploadRefused("AEP answered 400")

    said = [None if status == "-" else status, "aborted"]  # and after an abort
    answers = {"diagnostics": lambda _: 0, "uploaded_bytes": lambda *_: 0, "complete": complete}
    aep: Any = Ingested(world, *said, abort=lambda _: did.append("abort"), **answers)
    with pytest.raises(NotYet) if "later" in words else nullcontext():
        steps.resume(before.external_id, ports(world, ingestion=aep))
    held = standing(world, before.external_id)
    assert did == [word for word in words if word in ("complete", "abort")]
    assert held.stage in words
    if held.stage is not DeliveryStage.ENDED:
        assert (held.due or 0) >= world.clock()
        assert (world.ends, world.orders_parked) == ([], set())
        return
    end, succeeded = finished(world, held.external_id), words[-1] == "Succeeded"
    assert end["kind"] == f"Batch {words[-1]}"
    assert world.orders_parked == (set() if succeeded else {held.external_id})
    given_up = did == ["abort"] and status in "- loading aborted abandoned"
    assert end["status"] == ("aborted" if given_up else "unknown" if status == "-" else status)
    # Where somebody else completed it, what is not in it is named.
    assert end["lostFileCount"] == (1 if succeeded and "all uploaded" not in stage else 0)


def test_catalog_is_asked_ever_more_seldom_up_to_half_an_hour(world: Delivering) -> None:
    external_id = begun(world, b"{}\n")
    uploaded(world)
    waits = []
    for _ in range(30):
        world.clock.advance((standing(world, external_id).due or 0) - world.clock())
        held = steps.resume(external_id, ports(world, ingestion=Ingested(world, "staging")))
        assert held is not None
        waits.append((held.due or 0) - world.clock())
    assert (sorted(waits), waits[-1]) == (waits, 30 * MINUTE)


# ---- COMPLETE, and what comes after


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer-lost", "complete"),
        Fault("request-lost", "complete"),
        Fault("late", "complete", delay_ms=5 * SECOND),
        Fault("gateway", "complete", code="429050"),
        Fault("status", "complete", status=500),
        Fault("status", "complete", status=504, accepted=True),
        Fault("status", "complete", status=403),
    ],
)
def test_complete_is_repeated_until_aep_has_said_yes(world: Delivering, fault: Fault) -> None:
    external_id = begun(world, b"{}\n")
    world.simulator.faults.add(fault)
    with pytest.raises(TryAgain):
        uploaded(world)
    held = standing(world, external_id)
    assert held.stage is DeliveryStage.COMPLETING
    world.clock.advance((held.due or 0) - world.clock())
    done = steps.resume(external_id, ports(world))
    assert done is not None
    assert done.stage is DeliveryStage.INGESTING
    looked(world, external_id)
    assert finished(world, external_id)["kind"] == "Batch Succeeded"
    assert operations(world, "complete", "abort") == ["complete", "complete"]


def test_it_waits_as_long_as_adobe_says(world: Delivering) -> None:
    external_id = begun(world, b"{}\n")
    world.simulator.faults.add(Fault("gateway", "complete", code="429050", retry_after="600"))
    with pytest.raises(PlatformUnavailable):
        uploaded(world)
    assert standing(world, external_id).due == world.clock() + 600 * SECOND
    world.simulator.faults.add(Fault("gateway", "complete", code="429050", retry_after="1"))
    world.clock.advance(600 * SECOND)
    with pytest.raises(PlatformUnavailable):
        steps.resume(external_id, ports(world))
    assert standing(world, external_id).due == world.clock() + STEP


def test_what_compaction_replaced_had_succeeded(world: Delivering) -> None:
    external_id = begun(world, b"{}\n")
    uploaded(world)
    world.clock.advance(OUTCOME)
    batch = batch_of(world, external_id)
    world.simulator.consolidate(batch.id)
    steps.resume(external_id, ports(world))
    end = finished(world, external_id)
    assert (end["kind"], end["status"]) == ("Batch Succeeded", "inactive")
    assert world.orders_parked == set()


# ---- Bad rows


def test_a_success_with_failed_rows_says_so_and_keeps_them(world: Delivering) -> None:
    world.piece = 1000
    external_id = begun(world, ROWS + b"no json\n", partialIngestionPercent=50)
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert end["kind"] == "Batch Succeeded"
    assert (end["recordCount"], end["ingestedRecordCount"], end["failedRecordCount"]) == (21, 20, 1)
    total, corrupt = end["errors"]
    assert (total["code"], corrupt["code"]) == ("INGEST-1212-400", "INGEST-1401-400")
    assert ("recordCount" in total, corrupt["recordCount"]) == (False, 1)
    assert "broken JSON" in corrupt["hint"]
    assert end["diagnostics"] == {"bucket": "state", "prefix": f"diagnostics/{external_id}/"}
    [(who, name)] = world.kept
    assert (who, name) == (external_id, "row_errors/parsing_errors_0.json")
    assert json.loads(world.kept[who, name])["_corrupt_record"] == "no json"
    assert world.orders_parked == set()


def test_a_failure_without_diagnostics_is_one_all_the_same(world: Delivering) -> None:
    external_id = begun(world, b"{}\n", enableErrorDiagnostics=False)
    error = {"code": "err-1", "description": "Something went wrong."}
    world.simulator.mishaps.add(Mishap(errors=[error]))
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["errors"]) == ("Batch Failed", [error])
    assert "diagnostics" not in end
    assert world.kept == {}
    assert operations(world, "list-meta") == []


def test_where_data_access_does_not_answer_the_end_waits_for_it(world: Delivering) -> None:
    external_id = begun(world, ROWS[:11] + b"no json\n", partialIngestionPercent=0)
    uploaded(world)
    world.simulator.faults.add(Fault("status", "list-meta", status=503))
    with pytest.raises(PlatformUnavailable):
        looked(world, external_id)
    assert world.ends == []
    assert standing(world, external_id).stage is DeliveryStage.ENDED
    looked(world, external_id, STEP)
    assert "diagnostics" in finished(world, external_id)


def test_it_does_not_wait_for_long(world: Delivering) -> None:
    """The outcome is not held back by what only explains it."""
    external_id = begun(world, ROWS[:11] + b"no json\n", partialIngestionPercent=0)
    uploaded(world)
    world.simulator.faults.add(Fault("status", "list-meta", status=503, count=0))
    with pytest.raises(PlatformUnavailable):
        looked(world, external_id)
    with pytest.raises(PlatformUnavailable):
        looked(world, external_id, HOUR - SECOND)
    looked(world, external_id, STEP)
    assert "diagnostics" not in finished(world, external_id)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_where_data_access_is_not_for_us_it_does_not(world: Delivering, status: int) -> None:
    external_id = begun(world, ROWS[:11] + b"no json\n", partialIngestionPercent=0)
    uploaded(world)
    world.simulator.faults.add(Fault("status", "list-meta", status=status))
    looked(world, external_id)
    assert "diagnostics" not in finished(world, external_id)


def test_what_is_told_again_is_told_alike(world: Delivering) -> None:
    """Though Data Access says something else by then."""
    external_id = begun(world, ROWS[:11] + b"no json\n", partialIngestionPercent=0)
    uploaded(world)
    world.simulator.faults.add(Fault("status", "list-meta", status=404))
    told: list[Delivery] = []
    dying: Any = ports(world).announcer

    def ended(about: Delivery, *_: object) -> None:
        told.append(about)
        raise NotAnnounced("the bus may have taken it")

    dying.ended = ended
    world.clock.advance(OUTCOME)
    with pytest.raises(NotAnnounced):
        steps.resume(external_id, ports(world, announcer=dying))
    looked(world, external_id, STEP)
    assert told[0].verdict == standing(world, external_id).verdict
    assert "diagnostics" not in finished(world, external_id)
    assert operations(world, "list-meta") == ["list-meta"]


def test_an_upload_that_ends_after_the_batch_changes_no_announcement(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    task = world.uploads[0].what
    world.contents.clear()

    def late(file: Arrival, start: int, end: int) -> Any:
        world.simulator.set_status(batch_of(world, external_id).id, "aborted")
        looked(world, external_id, UPLOADING + SKEW)
        return world._opened(file, start, end)

    uploaded_piece(task, ports(world, opened=late))
    assert 0 in world.deliveries.marks(external_id)
    assert finished(world, external_id)["lostFileCount"] == 0
    held = standing(world, external_id)
    world.deliveries.replace(held, held.then(due=0))
    steps.resume(external_id, ports(world))
    assert world.ends[0] == world.ends[1]


def test_errors_of_adobe_s_are_kept_in_bounds(world: Delivering) -> None:
    """Of an item in the ledger 400 KB, of an event 256: an error may list rows without end."""
    external_id = begun(world, b"{}\n")
    rows = [{"row": "x" * 1000}] * 100
    errors = [{"code": "1", "description": "é" * 9000, "rows": rows, "recordCount": 3}] * 50
    metrics = {"inputRecordCount": 1, "share": 0.5, "more": {"rows": rows}, "name": "5"}
    raw = {"errors": [*errors[:1], "no object", *errors], "metrics": metrics}
    uploaded(world)
    world.clock.advance(OUTCOME)
    its: Any = Ingested(world, "failed", raw=raw, diagnostics=lambda _: 0)
    ended = steps.resume(external_id, ports(world, ingestion=its))
    assert ended is not None
    assert ended.verdict is not None
    assert len(json.dumps([ended.verdict.errors, dict(ended.verdict.metrics)])) < 100_000
    end = finished(world, external_id)
    assert end["errors"][0] == {"code": "1", "description": "é" * 500, "recordCount": 3}
    assert 1 < len(end["errors"]) <= 20
    assert end["recordCount"] == 1


@pytest.mark.parametrize("odd", [{}, {"errors": "many", "metrics": [1]}, {"errors": None}])
def test_what_adobe_does_not_document_is_none(world: Delivering, odd: Mapping[str, Any]) -> None:
    external_id = begun(world, b"{}\n")
    uploaded(world)
    world.clock.advance(OUTCOME)
    steps.resume(external_id, ports(world, ingestion=Ingested(world, "success", raw=odd)))
    end = finished(world, external_id)
    assert not {"errors", "recordCount", "failedRecordCount", "diagnostics"} & end.keys()


# ---- The end


def test_a_replaced_order_is_not_parked(world: Delivering) -> None:
    world.table = table(onNewVersion="replace")
    first, second = arrival(ROWS, number=1), arrival(ROWS[:11], number=2)
    world.put(first, ROWS)
    take(first, world.intake(0))
    steps.start(*world.created_queue.pop().what, ports(world))
    uploaded(world, 2)
    world.put(second, ROWS[:11])
    take(second, world.intake(0))
    uploaded(world)
    end = finished(world, first.external_id)
    assert (end["kind"], end["status"]) == ("Batch Replaced", "aborted")
    assert end["replacedBy"] == {"externalId": second.external_id}
    assert (world.orders_parked, world.lost) == (set(), [])
    with pytest.raises(NotEnded, match="a newer version, took its place"):
        try_again(first.external_id, world.intake(0))
    steps.start(*world.created_queue.pop().what, ports(world))
    uploaded(world)
    looked(world, second.external_id)
    assert finished(world, second.external_id)["kind"] == "Batch Succeeded"


def test_before_its_creation_is_finished_it_is_not_parked(world: Delivering) -> None:
    """Else the attempt that is asked for would only finish the creation, and that were all."""
    file = arrival(ROWS)
    world.put(file, ROWS)
    intake = world.intake(0)
    deaf: Any = replace(intake.creating, ledger=Dying(intake.creating.ledger))
    with pytest.raises(LedgerUnavailable):
        take(file, replace(intake, creating=deaf, ledger=deaf.ledger))
    record = world.ledger.records[file.external_id]
    assert (record.state, record.due is not None) == (State.CREATED, True)
    world.contents.clear()
    # The release before began at the event alone.
    early = Delivery.of(record, (file,), 64, world.clock())
    assert world.deliveries.start(early, recorded=False)
    steps.resume(file.external_id, ports(world))
    with pytest.raises(NotYet):
        uploaded(world)
    assert (world.ends, world.orders_parked) == ([], set())
    assert standing(world, file.external_id).stage is DeliveryStage.ENDED
    world.clock.advance(2 * STEP)
    go_on(due.DueKind.ORDERS, file.external_id, world.intake(0))
    steps.resume(file.external_id, ports(world))
    assert finished(world, file.external_id)["kind"] == "Batch Abandoned"
    assert world.orders_parked == {file.external_id}


def test_an_end_is_announced_until_the_bus_takes_it_and_parked_until_sqs_does(
    world: Delivering,
) -> None:
    external_id = begun(world, ROWS)
    world.contents.clear()
    dying: Any = ports(world).announcer
    dying.ended = failing(NotAnnounced("the bus did not take it"))
    tasks = [errand.what for errand in world.uploads]
    with pytest.raises(NotAnnounced):
        for task in tasks:
            uploaded_piece(task, ports(world, announcer=dying))
    assert standing(world, external_id).stage is DeliveryStage.ENDED
    world.clock.advance(STEP)
    with pytest.raises(StorageUnavailable):
        steps.resume(external_id, ports(world, park=failing(StorageUnavailable("no"))))
    assert len(world.ends) == 1
    looked(world, external_id, STEP)
    assert world.ends[0] == world.ends[1]
    assert world.orders_parked == {external_id}
    assert standing(world, external_id).due is None
    assert operations(world, "abort") == ["abort"]


def test_an_order_that_the_ledger_forgot_is_not_parked(world: Delivering) -> None:
    external_id = begun(world, b"{}\n")
    del world.ledger.records[external_id]
    world.simulator.set_status(batch_of(world, external_id).id, "aborted")
    looked(world, external_id, UPLOADING + SKEW)
    assert finished(world, external_id)["kind"] == "Batch Abandoned"
    assert world.orders_parked == set()


def test_without_its_order_nobody_knows_its_files(world: Delivering) -> None:
    external_id = begun(world, ROWS)
    world.uploads.clear()
    del world.ledger.records[external_id]
    for _ in range(2):
        looked(world, external_id, UPLOADING + SKEW)
    with pytest.raises(LeaseLost):
        looked(world, external_id, UPLOADING + SKEW)


# ---- Giving up


@pytest.mark.parametrize(
    "fault",
    [
        Fault("answer-lost", "abort"),
        Fault("request-lost", "abort"),
        Fault("late", "abort", delay_ms=5 * SECOND),
        Fault("status", "abort", status=500),
        Fault("status", "abort", status=403),
    ],
)
def test_abort_is_repeated_until_it_is_aborted(world: Delivering, fault: Fault) -> None:
    external_id = begun(world, ROWS)
    world.simulator.faults.add(fault)
    with pytest.raises(TryAgain):
        looked(world, external_id, 2 * world.deadline)
    assert standing(world, external_id).stage is DeliveryStage.ABORTING
    looked(world, external_id, STEP)
    assert finished(world, external_id)["detail"] == "4 of its 4 uploads were not done"
    assert batch_of(world, external_id).status == "aborted"


def test_what_somebody_completed_names_the_files_that_are_not_in_it(world: Delivering) -> None:
    world.piece = 1000
    external_id = begun(world, ROWS, ROWS, ROWS)
    uploaded(world, 1)
    complete_elsewhere(world, external_id)
    ongoing = uploaded(world, 1)[0]
    assert ongoing is not None
    assert (ongoing.stage, ongoing.due) == (DeliveryStage.INGESTING, world.clock() + OUTCOME)
    assert uploaded(world) == [None]
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["recordCount"], end["lostFileCount"]) == ("Batch Succeeded", 20, 2)
    missing = ["s3://landing/in/1.json", "s3://landing/in/2.json"]
    assert [one["uri"] for one in end["lostFiles"]] == missing
    assert world.lost == [(external_id, uri, "upload-refused") for uri in missing]
    assert len(world.deliveries.marks(external_id)) == 3
    assert operations(world, "complete", "abort") == []


def test_what_was_uploaded_before_somebody_completed_it_is_there(world: Delivering) -> None:
    """Its worker died before it said so; with a batch of its own, its rows would be double."""
    world.piece = 1000
    external_id = begun(world, ROWS, ROWS)
    uploaded(world, 1)
    world.deliveries.marked_as.clear()
    complete_elsewhere(world, external_id)
    looked(world, external_id, UPLOADING + SKEW)
    looked(world, external_id)
    assert [one["uri"] for one in finished(world, external_id)["lostFiles"]] == [
        "s3://landing/in/1.json"
    ]
    assert [file.key for file, _ in world.files_parked] == ["in/1.json"]


def test_what_may_have_been_uploaded_before_somebody_completed_it_is_not_let_go(
    world: Delivering,
) -> None:
    """How large a compressed file is when it is unpacked, nobody remembers."""
    external_id = begun(world, PACKED, PACKED, key="in/{}.json.gz")
    for _ in range(2):  # the first one reads it to its end
        uploaded_piece(world.uploads[0].what, ports(world))
    world.deliveries.marked_as.clear()
    complete_elsewhere(world, external_id)
    looked(world, external_id, UPLOADING + SKEW)
    looked(world, external_id)
    assert finished(world, external_id)["lostFileCount"] == 2
    assert [file.key for file, _ in world.files_parked] == ["in/1.json.gz"]


def test_what_somebody_completed_before_all_was_handed_out_names_the_others(
    world: Delivering,
) -> None:
    """As many are marked as nobody knows that there are."""
    world.piece = 1000
    external_id = created(world, ROWS, ROWS)
    hand_out_and_die(world, 1)
    uploaded(world)
    complete_elsewhere(world, external_id)
    looked(world, external_id, OUTCOME)
    assert [one["uri"] for one in finished(world, external_id)["lostFiles"]] == [
        "s3://landing/in/1.json"
    ]


def test_what_somebody_completed_amid_planning_has_the_pieces_that_were_handed_out(
    world: Delivering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that could not be cut to its end went up as one piece, if at all."""
    monkeypatch.setattr(steps, "STORE_CUTS_EVERY_MS", -1)
    bad = b"a,b\n" + b"1,2\n" * 60 + b"x" * 200
    external_id = created(world, bad, b"a,b\n1,2\n", key="in/{}.csv")
    hand_out_and_die(world, 2)
    assert list(standing(world, external_id).cuts) == [0]
    uploaded(world)
    complete_elsewhere(world, external_id)
    looked(world, external_id, OUTCOME)
    assert [one["uri"] for one in finished(world, external_id)["lostFiles"]] == [
        "s3://landing/in/0.csv"
    ]
    assert [file.key for file, _ in world.files_parked] == ["in/0.csv"]


# ---- Another attempt


def ended_as(world: Delivering, status: str, *contents: bytes) -> str:
    """An announced order whose batch is in a status now."""
    external_id = created(world, *(contents or (b"{}\n",)))
    record = world.ledger.records[external_id]
    assert (record.state, record.due) == (State.ANNOUNCED, None)
    world.simulator.set_status(record.batch_id or "", status)
    return external_id


@pytest.mark.parametrize("status", ["aborted", "abandoned", "failed", "failure", "deleted"])
def test_an_order_whose_batch_holds_no_data_gets_another_one(
    world: Delivering, status: str
) -> None:
    external_id = ended_as(world, status, ROWS, b"{}\n")
    first = world.ledger.records[external_id]
    outcome = try_again(external_id, world.intake(0))
    assert outcome.kind is OutcomeKind.CREATED
    second = world.ledger.records[f"{external_id}.2"]
    assert outcome.record == second
    assert world.ledger.records[external_id].next_attempt == f"{external_id}.2"
    assert (second.state, second.order.attempt) == (State.ANNOUNCED, 2)
    assert second.batch_id not in (None, first.batch_id)
    assert world.ledger.files(second.order) == world.ledger.files(first.order)
    assert world.events[-1] == (f"{external_id}.2", second.batch_id)
    steps.start(*world.created_queue.pop().what, ports(world))
    uploaded(world)
    looked(world, f"{external_id}.2")
    assert finished(world, f"{external_id}.2")["kind"] == "Batch Succeeded"
    # It is there now: asked again, nothing is to be done.
    for name in (external_id, f"{external_id}.2"):
        assert try_again(name, world.intake(0)).kind is OutcomeKind.DUPLICATE
        with pytest.raises(NotEnded):
            create.start_next_attempt(name, world.intake(0).creating)
    assert len(world.simulator.batches()) == 2


def test_another_attempt_takes_the_present_route(world: Delivering) -> None:
    """Else what was mended in the route would fail in the same way again."""
    external_id = ended_as(world, "failed", ROWS, b"{}\n")
    present = table(batch={"window": "1m"}, datasetId=PRODUCTS, tags={"team": ["web"]})
    world.table = replace(present, version="mended")
    outcome = try_again(external_id, world.intake(0))
    first, second = world.ledger.records[external_id].order, outcome.record.order
    assert (second.external_id, second.target.dataset_id) == (f"{external_id}.2", PRODUCTS)
    assert (second.options["tags"], second.routes_version) == ({"team": ["web"]}, "mended")
    assert world.ledger.files(second) == world.ledger.files(first)
    assert world.simulator.batch(outcome.record.batch_id or "").dataset_id == PRODUCTS


def test_another_attempt_stays_as_it_was_ordered_where_the_operator_wants_it(
    world: Delivering,
) -> None:
    external_id = ended_as(world, "failed")
    world.table = table(datasetId=PRODUCTS)
    outcome = try_again(external_id, world.intake(0), wish=AS_ORDERED)
    assert outcome.record.order == world.ledger.records[external_id].order.next_attempt()


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ([{"match": "in/0.json", "datasetId": PRODUCTS}], "have different routes"),
        ([{"match": "in/1.json", "ignore": True}], "is ignored by the present routes"),
        ([{"match": "in/{n}.json", "datasetName": "{n}"}], "have different routes"),
    ],
)
def test_files_that_the_present_routes_part_get_no_other_attempt(
    world: Delivering, written: list[dict[str, Any]], why: str
) -> None:
    """Nobody knows which of them the batch should be for."""
    external_id = ended_as(world, "failed", ROWS, b"{}\n")
    named = [{"name": f"new-{n}", **one} for n, one in enumerate(written)]
    rest = {"name": "rest", "match": "**", "datasetId": LOYALTY}
    world.table = routes.parse(json.dumps({"routes": [*named, rest]}), "parted")
    with pytest.raises(Rejected, match=why):
        try_again(external_id, world.intake(0))
    assert list(world.ledger.records) == [external_id]
    assert try_again(external_id, world.intake(0), wish=AS_ORDERED).kind is OutcomeKind.CREATED


@pytest.mark.parametrize(
    "status",
    ["loading", "loaded", "staging", "staged", "retrying", "stalled", "inactive", "something new"],
)
def test_as_long_as_it_may_hold_data_it_gets_none(world: Delivering, status: str) -> None:
    external_id = ended_as(world, status)
    asks: list[Callable[[], object]] = [
        lambda: try_again(external_id, world.intake(0)),
        lambda: create.start_next_attempt(external_id, world.intake(0).creating),
    ]
    for ask in asks:
        with pytest.raises(NotEnded, match=f"is {status}: another attempt could double") as caught:
            ask()
        assert caught.value.external_id == external_id
    assert list(world.ledger.records) == [external_id]


@pytest.mark.parametrize("status", ["success", "active", "archived", "retained"])
def test_what_holds_data_is_done(world: Delivering, status: str) -> None:
    external_id = ended_as(world, status)
    assert try_again(external_id, world.intake(0)).kind is OutcomeKind.DUPLICATE
    with pytest.raises(NotEnded):
        create.start_next_attempt(external_id, world.intake(0).creating)


def test_what_compaction_serves_on_is_done(world: Delivering) -> None:
    external_id = ended_as(world, "success")
    world.simulator.consolidate(world.ledger.records[external_id].batch_id or "")
    assert try_again(external_id, world.intake(0)).kind is OutcomeKind.DUPLICATE


def test_what_catalog_does_not_show_may_hold_data(world: Delivering) -> None:
    external_id = ended_as(world, "aborted")
    world.simulator.show_in_catalog(lambda *_: False)
    with pytest.raises(NotEnded, match="not in Catalog"):
        try_again(external_id, world.intake(0))


def test_what_nobody_ordered_cannot_be_tried_anew(world: Delivering) -> None:
    with pytest.raises(MalformedEvent):
        try_again("nobody's", world.intake(0))


def test_attempts_follow_each_other(world: Delivering) -> None:
    external_id = current = ended_as(world, "failed")
    for attempt in (2, 3, 4):
        outcome = try_again(current, world.intake(0))
        assert outcome.record.order.external_id == f"{external_id}.{attempt}"
        again = try_again(current, world.intake(0))  # that attempt is parked by itself if it fails
        assert again == Outcome(OutcomeKind.DUPLICATE, outcome.record)
        current = outcome.record.order.external_id
        with pytest.raises(NotEnded):
            try_again(current, world.intake(0))
        world.simulator.set_status(outcome.record.batch_id or "", "aborted")
    told = [who for who, _ in world.events]
    assert told == [external_id, *(f"{external_id}.{n}" for n in (2, 3, 4))]


def test_two_who_ask_at_once_get_one(world: Delivering) -> None:
    external_id = ended_as(world, "failed")
    intake = world.intake(0)
    others: list[Outcome] = []
    platform: Any = intake.creating.platform
    asking = platform.batch

    def slowly(target: Target, batch_id: str) -> Batch | None:
        found: Batch | None = asking(target, batch_id)
        others.append(try_again(external_id, world.intake(0)))
        return found

    platform.batch = slowly
    with pytest.raises(LeaseLost):
        try_again(external_id, intake)
    assert [outcome.record.order.external_id for outcome in others] == [f"{external_id}.2"]
    assert len(world.simulator.batches()) == 2


def test_a_crash_after_it_was_opened_costs_time_and_nothing_else(world: Delivering) -> None:
    external_id = ended_as(world, "failed")
    intake = world.intake(0)
    platform: Any = intake.creating.platform
    platform.create = failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        try_again(external_id, intake)
    second = f"{external_id}.2"
    assert world.ledger.records[external_id].next_attempt == second
    assert world.ledger.records[second].state is State.OPEN
    with pytest.raises(NotYet):  # a worker may still be at it
        try_again(external_id, world.intake(0))
    world.clock.advance(TIMEOUT + 2 * SKEW)
    with pytest.raises(NotYet, match="Catalog may not show"):
        try_again(external_id, world.intake(0))
    world.clock.advance(SETTLE + 2 * SKEW)
    assert try_again(external_id, world.intake(0)).record.order.external_id == second
    assert len(world.simulator.batches()) == 2
    assert [who for who, _ in world.events] == [external_id, second]


def test_a_crash_before_it_is_announced_is_made_up_for_by_the_clock(world: Delivering) -> None:
    external_id = ended_as(world, "failed")
    intake = world.intake(0)
    announcer: Any = intake.creating.announcer
    announcer.created = failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        try_again(external_id, intake)
    second = f"{external_id}.2"
    assert world.ledger.records[second].state is State.CREATED
    world.clock.advance(TIMEOUT + 2 * SKEW)
    assert second in [what.id for what in all_due(world.ledger, world.clock())]
    assert go_on(due.DueKind.ORDERS, second, world.intake(0)) is not None
    assert world.events[-1] == (second, world.ledger.records[second].batch_id)


def test_where_aep_refuses_the_next_one_it_can_be_asked_for_again(world: Delivering) -> None:
    external_id = ended_as(world, "failed")
    for _ in range(2):
        world.simulator.faults.add(Fault("status", "create", status=400))
        with pytest.raises(Exception, match="AEP answered 400"):
            try_again(external_id, world.intake(0))
        assert world.ledger.records[f"{external_id}.2"].state is State.REFUSED
    assert try_again(external_id, world.intake(0)).record.order.external_id == f"{external_id}.2"
    [file] = world.ledger.records[external_id].order.files
    assert world.ledger.claimant(file) == external_id


@pytest.mark.parametrize("content", [b"a,b\n", b"a,b"])
def test_a_header_alone_is_loaded_where_a_table_may_be_empty(
    world: Delivering, content: bytes
) -> None:
    external_id = begun(world, content, key="in/{}.csv", inputFormat={"format": "csv"}, minRows=0)
    uploaded(world)
    assert [file.read() for file in batch_of(world, external_id).files.values()] == [content]
    looked(world, external_id)
    assert finished(world, external_id)["kind"] == "Batch Succeeded"
