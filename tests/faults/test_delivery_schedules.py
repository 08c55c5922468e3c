"""Whatever happens on the way into AEP: each file is ingested once, or named; every end is told."""

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.create.attempts import attempts
from aep_intake.delivery import steps
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WINDOW_PREFIX
from aep_intake.model.progress import Record, State
from aep_intake.model.sharing import Sharing
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable

from local.simulator.batches import SERVED, Batch
from local.simulator.seed import LOYALTY, PRODUCTS
from tests.builders import parquet_of
from tests.faults.harness import START, Delivering, Tape, part_of
from tests.faults.schedules import assert_met, tapes

ran: Counter[str] = Counter()


@pytest.fixture(autouse=True, scope="module")
def every_end_is_kept() -> Iterator[None]:
    """So that workers die between what they find of where to cut, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "STORE_CUTS_EVERY_MS", -1)
        yield


def table(**written: Any) -> RoutingTable:
    whole = {"name": "all", "match": "in/**", "datasetId": LOYALTY} | written
    return routes.parse(json.dumps({"routes": [whole]}), "v1")


ALONE = (table(), table(partialIngestionPercent=50), table(datasetId=PRODUCTS, lookInside=False))
WINDOWED = tuple(
    table(batch={"window": window}, onLostFile=lost, inputFormat={"format": "json"})
    for window, lost in (("1m", "proceed"), ("1m", "abort"), ("5m", "proceed"))
)
# AEP alone judges their rows.
SPLIT = tuple(
    table(
        batch={"window": "1m"},
        inputFormat={"format": "json"},
        partialIngestionPercent=0,
        onFailed="split",
        splitBatches=batches,
    )
    for batches in (12, 2, 100)
)
CORRECTED = (
    table(onNewVersion="replace"),
    table(onNewVersion="replace", partialIngestionPercent=5),
)


def rows(number: int) -> bytes:
    return b"".join(b'{"row": %d}\n' % n for n in range(number))


HEADER = b'"id","text"\n'
LINES = HEADER + b"\n".join(b'%d,"two\nlines, ""%d"""' % (n, n) for n in range(9))
PACKED = gzip.compress(rows(8), mtime=0) + b"\n" + gzip.compress(rows(8), mtime=0)
LIST = b"[" + rows(20).rstrip().replace(b"\n", b",\n") + b"]"
PRETTY = rows(9).replace(b"{", b"{\n\t").replace(b"}", b"\n}")
GOOD = {
    "in/small.json": rows(2),
    "in/large.json": rows(20),
    "in/large.csv": LINES,
    "in/packed.json.gz": PACKED,
    "in/packed.csv.gz": gzip.compress(LINES + b"\r\n", mtime=0),
    "in/list.json": LIST,
    "in/pretty.json": gzip.compress(PRETTY, mtime=0),
    "in/table.parquet": parquet_of(1),
}
BAD = {
    "in/bad.json": rows(3) + b"no json\n",  # AEP tells
    "in/large.parquet": parquet_of(1, 992),
    "in/broken.json.gz": PACKED[:-9],
    "in/long.csv": HEADER + b"1," + b"x" * 1500 + b"\n2,b\n",
}
FILES = GOOD | BAD
# Of a window; the last two cannot be taken.
MEMBERS = (
    (".json", rows(1)),
    (".json", rows(2)),
    (".json", rows(20)),
    (".json", rows(30)),
    (".json.gz", PACKED),
    (".json.gz", gzip.compress(rows(1), mtime=0)),
    (".json", LIST),
    (".json", gzip.compress(b"", mtime=0)),
    ("-broken.json.gz", PACKED[:-9]),
    ("-long.json.gz", gzip.compress(rows(10) + b'{"text": "' + b"x" * 1500, mtime=0)),
)
WELL = frozenset(MEMBERS[:7])
# Of a window, too: small, so that they share uploads. Each row says of which file it is.
SMALL: tuple[tuple[str, Callable[[int], bytes]], ...] = (
    (".json", lambda file: tagged(file, 1)),
    (".json", lambda file: tagged(file, 2)),
    (".json", lambda file: tagged(file, 1)[:-1]),
    (".json", lambda file: b"[" + tagged(file, 1) + b"]"),
    (".json", lambda file: tagged(file, 20)),
    (".json.gz", lambda file: gzip.compress(tagged(file, 2), mtime=0)),
    (".json.gz", lambda file: gzip.compress(tagged(file, 30), mtime=0)),
    (".json.gz", lambda _: gzip.compress(b"", mtime=0)),
    ("-broken.json.gz", lambda file: gzip.compress(tagged(file, 2), mtime=0)[:-3]),
    ("-bad.json", lambda file: tagged(file, 1) + b"no json"),
)
SHARED = (Sharing(3, 60, 60), Sharing(9, 400, 200), Sharing(9, 800, 400))


def tagged(file: int, number: int) -> bytes:
    return b"".join(b'{"f":%d,"r":%d}\n' % (file, n) for n in range(number))


def arrived(key: str, content: bytes, number: int, *, versioned: bool = True) -> Arrival:
    version = f"v{number}" if versioned else None
    return Arrival("landing", key, version, f"e{number}", f"006{number}", len(content), START)


@tapes(300, 600)
def test_every_file_is_ingested_once_or_named(tape: bytes) -> None:
    world = Delivering(Tape(tape), tables=ALONE, final=ALONE[0])
    names = [*FILES, *GOOD]
    picked = [names[world.tape.pick(len(names))] for _ in range(1 + world.tape.pick(3))]
    arrivals = []
    for key in dict.fromkeys(picked):
        versioned = bool(world.tape.pick(2))
        arrivals.append(arrived(key, FILES[key], 1, versioned=versioned))
        world.put(arrivals[-1], FILES[key])
    play(world)
    for arrival in arrivals:
        ingested = check_arrival(world, arrival, FILES[arrival.key])
        there = (arrival.bucket, arrival.key, arrival.version) in world.contents
        if arrival.key in GOOD and there and world.ledger.claimant(arrival):
            # What somebody meddled with, only a person sends again.
            meddled = world.completed or world.seen["reverted"]
            assert ingested or meddled, "all that was wrong is mended by now"


# An upload whose answer is lost; then somebody completes the batch, before it is tried again.
HELD = (
    "00*10 13 00*57 13 00*8 14 00*3 47 00*16 13 14 00*2 73 00*11 23 27 00*17 01 00*2 01 00*74 57 "
    "00*10 f3 f8 00 75 9d 0f 00 02"
)
# A large file that cannot be read is planned as one piece; its worker dies, and it can be read.
UNREADABLE = (
    "00*7 01 de 00 18 fc 02 00*8 01 00*3 01 08 00*18 01 00*24 01 00*158 0c 03 06 00*12 08 00*51 "
    "0a 1a 00 01 00*15 0a 1c 03 00*16 12 00*4 01 00*7 05 00*8 01"
)


@tapes(300, 600, HELD, UNREADABLE)
def test_every_file_of_a_window_is_ingested_once_or_named(tape: bytes) -> None:
    world = Delivering(Tape(tape), tables=WINDOWED, final=WINDOWED[0])
    came = []
    for n in range(2 + world.tape.pick(4)):
        ending, content = MEMBERS[world.tape.pick(len(MEMBERS))]
        came.append((arrived(f"in/{n}{ending}", content, n), content))
        world.put(*came[-1])
    play(world)
    check_all(
        world, came, {arrival for arrival, content in came if (arrival.key[4:], content) in WELL}
    )


@tapes(300, 600)
def test_every_file_of_a_batch_that_is_split_is_ingested_once_or_named(tape: bytes) -> None:
    world = Delivering(Tape(tape), tables=SPLIT, final=SPLIT[0])
    world.simulator.switches.change(
        diagnostics_name=("nothing", "uploads")[world.tape.pick(2)],
    )
    world.limits = BatchLimits(9, 10_000)
    bad = world.tape.pick(4)
    came = []
    for n in range(2 + world.tape.pick(5)):
        if bad == n or world.tape.pick(8) == 7:
            member = (".json", rows(3) + b"no json\n")
        else:
            member = MEMBERS[world.tape.pick(7)]
        came.append((arrived(f"in/{n}{member[0]}", member[1], n), member[1]))
        world.put(*came[-1])
    play(world)
    check_all(world, came, {file for file, content in came if (file.key[4:], content) in WELL})


@tapes(300, 600)
def test_every_file_that_shares_an_upload_is_ingested_once_or_named(tape: bytes) -> None:
    world = Delivering(Tape(tape), tables=WINDOWED, final=WINDOWED[0])
    world.sharing = SHARED[world.tape.pick(len(SHARED))]
    world.piece = (64, 500, 1000)[world.tape.pick(3)]
    world.limits = BatchLimits(9, 10_000)
    came, well = [], set()
    for n in range(2 + world.tape.pick(5)):
        ending, made = SMALL[world.tape.pick(len(SMALL))]
        came.append((arrived(f"in/{n}{ending}", made(n), n), made(n)))
        world.put(*came[-1])
        if (ending, made) in SMALL[:7]:
            well.add(came[-1][0])

    def race() -> None:
        """Another worker on the same upload, at once."""
        if world.uploads:
            one = world.uploads[world.tape.pick(len(world.uploads))]
            world.uploads.insert(0, replace(one, visible=world.clock()))
            world.upload()

    def vanish() -> None:
        """While somebody reads, or has read, what is put together."""
        if world.uploads and world.contents:
            del world.contents[sorted(world.contents)[world.tape.pick(len(world.contents))]]

    world.more = (*world.more, *[race] * 6, *[vanish] * 3)
    for _ in range(60 * world.tape.pick(4)):  # mostly trouble begins with the uploads
        if not world.uploads:
            world.forward(1)
    play(world)
    check_all(world, came, well)
    ran["listed"] += len(world.lists.written)


@tapes(300, 600)
def test_of_versions_that_replace_each_other_one_is_served(tape: bytes) -> None:
    world = Delivering(Tape(tape), tables=CORRECTED, final=CORRECTED[0])
    came = []
    for n in range(2 + world.tape.pick(2)):
        content = rows((1, 2, 20)[world.tape.pick(3)])
        came.append((arrived("in/one.json", content, n), content))
    later = list(came)

    def arrive() -> None:
        if later:
            world.put(*later.pop(0))

    arrive()
    world.more = (*world.more, arrive)
    play(world, arrive)
    for arrival, content in came:
        check_arrival(world, arrival, content)
    # Whether AEP finds the rows of a batch that it has compacted meanwhile, nobody documents.
    served = [batch for batch in world.simulator.batches() if batch.status in SERVED]
    assert len(served) <= 1 + world.seen["compacted"]
    ran["replaced"] += sum(r.replaced_by is not None for r in world.ledger.records.values())


def play(world: Delivering, last: Callable[[], None] = lambda: None) -> None:
    """The schedule, in which trouble begins anywhere; and what must hold after any."""
    world.forward(0 if world.uploads else 2 * world.tape.pick(60))
    while not world.tape.over:
        world.act()
    for _ in range(3):
        last()
    world.settle()
    assert not world.left()
    check_ends(world)
    check_requests(world)
    ran.update(world.seen)
    ran["schedules"] += 1


# ---- What became of batches


def check_ends(world: Delivering) -> None:
    """Each batch that was adopted has ended, was told to have, and truly has."""
    batches = {batch.id: batch for batch in world.simulator.batches()}
    ends = defaultdict(list)
    for end in world.ends:
        ends[end["externalId"]].append(end)
    adopted = {r.batch_id: r for r in world.ledger.records.values() if r.batch_id is not None}
    for batch_id, record in adopted.items():
        external_id, delivery = record.order.external_id, delivery_of(world, record)
        assert record.state is State.ANNOUNCED
        assert delivery is not None
        assert (delivery.stage, delivery.due, delivery.batch_id) == (
            DeliveryStage.ENDED,
            None,
            batch_id,
        )
        told = ends.pop(external_id)
        assert told == [told[0]] * len(told), "always the same"
        assert told[0]["batchId"] == batch_id
        check_end(world, record, told[0], batches[batch_id])
        ran["ends told again"] += len(told) > 1
    assert not ends, "not of a batch of ours"
    for batch in batches.values():
        compacted = "acp_producer" not in batch.members["tags"]
        if batch.id not in adopted and not compacted:
            assert batch.status in ("loading", "aborted", "abandoned")
            assert not batch.files
            # Left alone, empty: only a worker that lived longer than its lease can make one.
            assert batch.status != "loading" or batch.members["externalId"] in world.overrun


def check_end(world: Delivering, record: Record, told: dict[str, Any], batch: Batch) -> None:
    ran[told["kind"]] += 1
    ran["left out"] += bool(record.order.left_out)
    since = ("inactive", "deleted")  # taken back, replaced, or compacted
    files = world.ledger.files(record.order)
    digests = {file.path[:32] for file in files}
    apart = {path[:32] for path in batch.files if not path.startswith("files-")}
    assert apart <= digests, "files of others"
    assert told["fileCount"] == len(files)
    match told["kind"]:
        case "Batch Succeeded":
            assert batch.status in (*SERVED, *since)
            metrics = batch.members.get("metrics", {})
            assert told.get("recordCount") == metrics.get("inputRecordCount")
            return
        case "Batch Failed":
            assert batch.status in ("failed", "failure")
            assert told["errors"]
        case "Batch Replaced":
            assert batch.status in ("aborted", "abandoned", *since)
            assert told["replacedBy"]["externalId"] == record.replaced_by
            assert told["lostFileCount"] == 0 or told["lostFiles"]
            return
        case "Batch Abandoned":
            assert batch.status in ("aborted", "abandoned", *since)
            ran["given up, too late"] += "were not done" in told["detail"]
            ran["given up, files lost"] += "not possible" in told["detail"]
    ran["another attempt"] += record.next_attempt is not None
    ran["split"] += bool(record.split_into)
    ran["split no more"] += record.split_into == ()
    parked = record.order.external_id in world.orders_parked
    followed = record.next_attempt or record.split_into is not None
    assert followed or record.replaced_by or parked, "nobody can try it anew"


def check_requests(world: Delivering) -> None:
    """Uploads only go into batches that are ours, and open; nothing is given up once completed."""
    ours = {record.batch_id for record in world.ledger.records.values()}
    replaced = {r.batch_id for r in world.ledger.records.values() if r.replaced_by is not None}
    completed: set[str] = set()
    closed: set[str] = set()
    for received in world.simulator.received:
        place = re.search("/batches/([^/]+)", received.request.path)
        batch_id = place[1] if place else ""
        match received.operation:
            case "complete":
                ran["completed again"] += batch_id in completed
                completed.add(batch_id)
                if received.status == 200:
                    closed.add(batch_id)
            case "abort":
                # But a newer version takes the place of one that it saw loading just before.
                assert batch_id not in completed or batch_id in replaced
            case "put-file":
                assert batch_id in ours
                assert batch_id not in closed or received.status not in (200, 201)
                ran["uploads refused"] += received.status == 400
        if received.fault is not None:
            ran[f"{received.operation} in trouble"] += 1
    assert completed <= ours


# ---- What became of files


def check_all(
    world: Delivering, came: Iterable[tuple[Arrival, bytes]], well: Container[Arrival]
) -> None:
    """Of those that are `well`, each is in a batch if it is still there: no other took it along."""
    for arrival, content in came:
        ingested = check_arrival(world, arrival, content)
        there = (arrival.bucket, arrival.key, arrival.version) in world.contents
        if arrival in well and there and world.ledger.claimant(arrival):
            # What somebody meddled with, only a person sends again.
            meddled = world.completed or world.seen["reverted"]
            assert ingested or meddled, "another file took it along"


def check_arrival(world: Delivering, arrival: Arrival, content: bytes) -> bool:
    """Whether it is in one batch, as it was; if not, somebody was told, by its name."""
    check_served_once(world, arrival)
    owner = world.ledger.claimant(arrival)
    apart = let_go(world, arrival)
    if owner is None:
        noted = world.ledger.noted.get((arrival.object_id, arrival.version))
        parked = [message for message in world.parked if message.arrival == arrival]
        told = (arrival.external_id, None) in world.events or apart
        ignored = arrival.external_id in world.ignored
        assert noted == "not-the-newest" or ignored or (told and parked), f"{arrival} is lost"
        return False
    known = attempts_of(world, order_of(world, arrival, owner), arrival)
    succeeded = [record for record in known if ended_well(delivery_of(world, record))]
    assert len(succeeded) <= 1, "ingested twice"
    last = known[-1]
    if not succeeded:
        told = (last.order.external_id, None) in world.events
        assert last.order.external_id in world.orders_parked or last.replaced_by or told
        ran["not ingested"] += 1
        return False
    [record] = succeeded
    delivery = delivery_of(world, record)
    assert delivery is not None
    there = held_of(world, delivery.batch_id, arrival)
    ran["shared"] += any(path.startswith("files-") for path in there)
    if reason := lost_as(world, arrival, delivery):
        check_lost(world, arrival, delivery, there, reason)
        return False
    held, wanted = whole(arrival, there), unpacked(content)
    assert wanted == held or (wanted == held + b"\n" and content == held), "not as it was"
    assert all(0 < len(one) <= delivery.limit for one in there.values())
    ran["cut"] += len(there) > 1 and not arrival.key.endswith(".gz")
    ran["unpacked"] += content.startswith(b"\x1f\x8b")
    ran["converted"] += unpacked(content) != content
    ran["ingested"] += 1
    return True


def held_of(world: Delivering, batch_id: str, arrival: Arrival) -> dict[str, bytes]:
    """What a batch has of a file, by path: files of its own, or its rows in shared uploads."""
    there: dict[str, bytes] = {}
    of = b'{"f":%d,' % int(found[1]) if (found := re.match(r"in/(\d+)", arrival.key)) else b"none"
    for path, held in world.simulator.files(batch_id).items():
        if path.startswith(arrival.path[:32]):
            there[path] = held.read()
        elif path.startswith("files-"):
            rows = [row for row in held.read().splitlines(keepends=True) if row.startswith(of)]
            if rows:
                there[path] = b"".join(rows)
    return there


def check_served_once(world: Delivering, arrival: Arrival) -> None:
    """Though one batch may have lost it, and it got another one of its own."""
    batches = [batch for batch in world.simulator.batches() if batch.status in SERVED]
    holding = [batch for batch in batches if held_of(world, batch.id, arrival)]
    assert len(holding) <= 1 + world.seen["compacted"], "its rows are double"


def let_go(world: Delivering, arrival: Arrival) -> bool:
    """Whether it was lost by a batch that holds others, told, let go and parked by itself."""
    if all(file != arrival for file, _ in world.files_parked):
        return False
    reasons = {reason for _, uri, reason in world.lost if uri == arrival.uri}
    assert {reason for file, reason in world.files_parked if file == arrival} <= reasons
    ran["let go"] += 1
    ran["lost"] += 1
    ran["malformed"] += not reasons.isdisjoint({"format-mismatch", "too-large"})
    return True


def lost_as(world: Delivering, arrival: Arrival, delivery: Delivery) -> str | None:
    """Why a file is not in its batch: each end says so, and the file's own event, and none else."""
    ends = [end for end in world.ends if end["externalId"] == delivery.external_id]
    [reason] = {
        next((f["reason"] for f in end.get("lostFiles", ()) if f["uri"] == arrival.uri), None)
        for end in ends
    }
    who = (delivery.external_id, arrival.uri)
    told = {reason for order, uri, reason in world.lost if (order, uri) == who}
    if reason is None:
        assert not told, "it is there all the same"
    elif not told:
        ran["lost, told by the end alone"] += 1
        assert world.seen["dropped"] or world.seen["given up"], "else its message came again"
    return reason


def check_lost(
    world: Delivering, arrival: Arrival, delivery: Delivery, there: dict[str, bytes], reason: str
) -> None:
    """Nothing of it was ingested, so that it can be sent again."""
    ran["lost"] += 1
    if delivery.batch_id in world.completed:  # by somebody who cannot know what is missing
        ran["completed by somebody"] += 1
        return
    assert reason != "upload-refused"
    if reason in ("format-mismatch", "too-large"):
        assert not there, "half a file was ingested"
        ran["malformed"] += 1
        return
    files = world.ledger.files(world.ledger.records[delivery.external_id].order)
    marks = world.deliveries.marks(delivery.external_id)
    made = [task.piece for task in delivery.tasks(files) if task.piece is not None]
    apart = [piece.number for piece in made if piece.file == arrival]
    assert all(marks[number].lost for number in apart), "half a file was ingested"
    assert not there, "told as lost, though it was ingested"


def whole(arrival: Arrival, there: dict[str, bytes]) -> bytes:
    """The files in a batch put together again, without the headers that were put before them."""
    parts = [there[path] for path in sorted(there, key=_place)]
    if ".csv" in arrival.key:
        assert all(part.startswith(HEADER) for part in parts)
        parts = [part if n == 0 else part.removeprefix(HEADER) for n, part in enumerate(parts)]
    return b"".join(parts)


def _place(path: str) -> int:
    found = re.search(r"-(\d+)(?:-\d+)?\.\w+$", path[33:])
    return int(found[1]) if found else -1


def unpacked(content: bytes) -> bytes:
    """What should be in the batch of a file."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content.replace(b"\n\x1f\x8b", b"\x1f\x8b"))
    lines = {LIST: rows(20), PRETTY: PRETTY.replace(b"\n\t", b" \t").replace(b"\n}", b" }")}
    if content.startswith(b'[{"f"') or content.endswith(b"}"):  # of those that share uploads
        return content.strip(b"[]\n") + b"\n"
    return lines.get(content, content)


def order_of(world: Delivering, arrival: Arrival, owner: str) -> str:
    """External id of the order that holds an arrival, by itself or as part of a window."""
    if not owner.startswith(WINDOW_PREFIX):
        return owner
    return part_of(world, owner, arrival)


def attempts_of(world: Delivering, external_id: str, file: Arrival) -> list[Record]:
    """Those attempts of an order, and of its halves, that are for a file."""
    known = attempts(external_id, world.ledger)
    return [record for record in known if file in world.ledger.files(record.order)]


def delivery_of(world: Delivering, record: Record) -> Delivery | None:
    return world.ledger.deliveries.get(record.order.external_id)


def ended_well(delivery: Delivery | None) -> bool:
    verdict = None if delivery is None else delivery.verdict
    return verdict is not None and verdict.end is End.SUCCEEDED


def test_the_schedules_went_where_it_hurts(
    record_property: Callable[[str, object], None],
) -> None:
    """A schedule that never meets trouble proves nothing."""
    schedules = ran.pop("schedules")
    told = {str(what): number for what, number in sorted(ran.items())}
    record_property("says", f"{schedules} schedules into AEP: {told}")
    ends = ("Batch Succeeded", "Batch Failed", "Batch Abandoned", "another attempt", "replaced")
    files = ("ingested", "cut", "unpacked", "converted", "lost", "malformed", "not ingested")
    trouble = [f"{name} in trouble" for name in ("put-file", "complete", "abort", "get-batch")]
    rare = (
        "given up, too late",
        "given up, files lost",
        "completed by somebody",
        "compacted",
        "deliveries lost",
    )
    again = ("completed again", "ends told again", "uploads refused", "lease-lost", "dropped")
    read = ("let go", "left out", "split", "not-readable", "shared", "listed")
    what = (*ends, *files, *trouble, *rare, *again, *read, "sent anew")
    assert_met(ran, schedules, 200, *what)
