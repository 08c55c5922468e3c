"""Small files share uploads: what goes up, what is left out, and what becomes of it in trouble."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import IO, Any, cast
from unittest.mock import Mock

import pytest
from aep_intake.delivery import upload
from aep_intake.delivery.delivery import Mark, Task
from aep_intake.delivery.pieces import Piece, Run, pieces_and_runs
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.delivery.together import _Ranges
from aep_intake.model import records
from aep_intake.model.errors import (
    MalformedEvent,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    StorageUnavailable,
)
from aep_intake.model.files import Arrival
from aep_intake.model.organizations import Organizations
from aep_intake.model.sharing import Sharing
from aep_intake.settings import Settings
from aep_intake.wiring.deliver import Delivering as Worker
from hypothesis import given
from hypothesis import strategies as st

from local.simulator.faults import Fault
from tests.faults.harness import DAY, HOUR, Delivering
from tests.unit.delivery.test_steps import (
    STEP,
    batch_of,
    begun,
    complete_elsewhere,
    failing,
    finished,
    looked,
    ports,
    standing,
    uploaded,
    uploaded_piece,
    world,
)

__all__ = ["world"]  # a fixture
ONE, TWO, THREE = (b'{"row": %d}\n' % n for n in range(3))
BROKEN = b"no json\n"
HALF = ONE + BROKEN  # one row of it is broken
LARGE = b"".join(b'{"row": %d}\n' % n for n in range(50))
CSV = {"inputFormat": {"format": "csv"}}


@pytest.fixture(autouse=True)
def shared(world: Delivering) -> None:
    world.piece, world.limits = 1000, replace(world.limits, files=100)
    world.sharing = Sharing(files=50, bytes=800, file_bytes=400)


def put(world: Delivering, external_id: str) -> dict[str, bytes]:
    """What the batch holds, by path."""
    return {path: file.read() for path, file in batch_of(world, external_id).files.items()}


def listed(world: Delivering) -> list[dict[str, Any]]:
    [content] = world.lists.written.values()
    return [json.loads(line) for line in content.splitlines()]


def reads(its: DeliveryPorts) -> tuple[DeliveryPorts, list[str]]:
    """Ports that note which files are read."""
    read: list[str] = []

    def opened(file: Arrival, start: int, end: int) -> IO[bytes]:
        read.append(file.key)
        return its.opened(file, start, end)

    return replace(its, opened=opened), read


def dying(world: Delivering, where: str) -> DeliveryPorts:
    """Ports of a worker that is killed when it is there."""
    its = ports(world)
    dead: Any = failing(KeyboardInterrupt())
    if where == "send":
        ingestion: Any = its.ingestion
        ingestion.upload = dead
    elif where == "mark":
        deliveries: Any = world.deliveries

        class Dies:
            def __getattr__(self, name: str) -> Any:
                return dead if name == "mark" else getattr(deliveries, name)

        return replace(its, deliveries=Dies())
    return its


# ---- Which files go together


def file(size: int, key: str = "in/a.json") -> Arrival:
    return Arrival("landing", key, "v1", "e", "00", size, 1)


SHARING = Sharing(files=3, bytes=100, file_bytes=40)


@given(st.lists(st.integers(1, 60), max_size=20))
def test_every_file_is_in_one_piece_and_small_ones_share(sizes: list[int]) -> None:
    files = tuple(map(file, sizes))
    planned = list(pieces_and_runs(files, {}, SHARING))
    assert [piece.number for piece in planned] == list(range(len(planned)))
    places: list[int] = []
    for piece in planned:
        if isinstance(piece, Piece):
            places.append(len(places))
            continue
        there = range(piece.first, piece.end)
        places += there
        assert 2 <= len(there) <= SHARING.files
        assert piece.size == sum(sizes[place] for place in there) <= SHARING.bytes
        assert max(sizes[place] for place in there) <= SHARING.file_bytes
        if piece.end < len(sizes) and len(there) < SHARING.files:  # no more fitted
            following = sizes[piece.end]
            assert following > SHARING.file_bytes or piece.size + following > SHARING.bytes
    assert places == list(range(len(sizes)))


def test_a_gzip_counts_as_what_it_may_unpack_to() -> None:
    names = ["in/a.json", "in/b.json.gz", "in/c.json.gz"]
    [run, last] = pieces_and_runs(tuple(file(6, name) for name in names), {}, Sharing(9, 50, 40))
    assert isinstance(run, Run)
    assert (run.first, run.end, run.size) == (0, 2, 42)
    assert isinstance(last, Piece)


def test_a_release_before_reads_no_message_of_a_run() -> None:
    """So it leaves it in the queue, and uploads no file of it alone."""
    [task] = [Task.of("intake-1", Run(0, 0, 2, 10))]
    assert records.read(Task, records.text(task)) == task
    assert "piece" not in records.members(task)
    with pytest.raises(MalformedEvent):
        _ = Task("intake-1").what


def test_a_delivery_of_the_release_before_goes_on_with_its_own_plan(world: Delivering) -> None:
    world.sharing = None
    external_id = begun(world, ONE, TWO)
    world.sharing = SHARING
    assert standing(world, external_id).total == 2
    uploaded(world)
    looked(world, external_id)
    assert finished(world, external_id)["recordCount"] == 2
    assert sorted(put(world, external_id).values()) == [ONE, TWO]


# ---- What goes up


def test_small_files_go_up_in_one_put_and_each_is_read_once(world: Delivering) -> None:
    packed = gzip.compress(TWO + THREE[:-1], mtime=0)
    world.sharing = Sharing(50, 800, 400)
    external_id = begun(world, ONE[:-1], packed, THREE)
    [errand] = world.uploads
    its, read = reads(ports(world))
    upload.upload(errand.what, its)
    assert sorted(read) == ["in/0.json", "in/1.json", "in/2.json"]
    assert put(world, external_id) == {"files-000000-000003-00000.json": ONE + TWO + THREE + THREE}
    assert world.deliveries.marks(external_id) == {0: Mark(44, rows=4)}
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["sentRecordCount"], end["recordCount"]) == ("Batch Succeeded", 4, 4)
    assert [(e.get("offset", 0), e["rows"], e.get("rows_before", 0)) for e in listed(world)] == [
        (0, 1, 0),
        (11, 2, 1),
        (33, 1, 3),
    ]


def test_its_message_and_the_ledger_name_no_file(world: Delivering) -> None:
    external_id = begun(world, *[ONE] * 40)
    [errand] = world.uploads
    assert "landing" not in records.text(errand.what)
    uploaded(world)
    marks = world.deliveries.marked_as[external_id].values()
    assert "landing" not in "".join(map(records.text, marks))
    assert world.deliveries.kept_progress == {}


def test_a_batch_of_one_file_goes_up_by_itself(world: Delivering) -> None:
    external_id = begun(world, ONE)
    uploaded(world)
    assert [path[33:] for path in put(world, external_id)] == ["0.json"]
    assert world.lists.written == {}


def test_csv_shares_an_upload_where_headers_and_ends_of_rows_are_equal(world: Delivering) -> None:
    unlike = [
        b"a,b\n1,2\n",
        b"b,a\n2,1",
        b'a,b\r\n3,"4\n"\r\n',
        b"a,b\n5,6",
        b'\xef\xbb\xbfa,b\n7,"8\n"\n',
        b"a,b\n",
        b"b,a\n9,9\n",
        b"a,b\r10,11",
        b"a,b\r12,13\r",
    ]
    external_id = begun(world, *unlike, key="in/{}.csv", **CSV)
    uploaded(world)
    assert sorted(put(world, external_id).values()) == sorted(
        [
            b'a,b\n1,2\n5,6\n7,"8\n"\n',
            b"b,a\n2,1\n9,9\n",
            b'a,b\r\n3,"4\n"\r\n',
            b"a,b\r10,11\r12,13\r",
        ]
    )
    [mark] = world.deliveries.marks(external_id).values()
    assert (mark.rows, mark.empty, mark.left_out) == (8, 1, 0)


def test_csv_without_headers_shares_one_too(world: Delivering) -> None:
    headless = {"inputFormat": {"format": "csv", "header": False}}
    files = [b"1,2", b"3,4\r\n5,6", b"7,8\n", b"9,0\r\n"]
    external_id = begun(world, *files, key="in/{}.csv", **headless)
    uploaded(world)
    assert sorted(put(world, external_id).values()) == [b"1,2\n7,8\n", b"3,4\r\n5,6\r\n9,0\r\n"]


VALUES = st.text(st.sampled_from('ab,;"\n\r é'), max_size=6)
TABLES = st.lists(st.lists(st.tuples(VALUES, VALUES), max_size=5), min_size=2, max_size=6)


@given(TABLES, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from(["utf-8", "latin1"]))
def test_python_reads_of_what_shares_an_upload_what_it_wrote(
    tables: list[list[tuple[str, str]]], end: str, last: bool, charset: str
) -> None:
    """A foreign reader finds the rows of all files, in their order."""
    mine = world.__wrapped__()  # type: ignore[attr-defined]
    mine.piece, mine.limits = 10_000, replace(mine.limits, files=100)
    mine.sharing = Sharing(50, 8000, 4000)
    contents = []
    for rows in tables:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([("x", "y"), *rows])
        written = text.getvalue() if last else text.getvalue().removesuffix(end)
        contents.append(written.encode(charset))
    shape = {"format": "csv", "charset": "ISO-8859-1"} if charset == "latin1" else {"format": "csv"}
    external_id = begun(mine, *contents, key="in/{}.csv", inputFormat=shape, lookInside=False)
    uploaded(mine)
    found = list(put(mine, external_id).values())
    wanted = [list(row) for rows in tables for row in rows]
    read = [list(csv.reader(io.StringIO(one.decode(), newline=""))) for one in found]
    assert [row for rows in read for row in rows[1:]] == wanted


def test_a_run_that_is_larger_than_it_seemed_becomes_several_uploads(world: Delivering) -> None:
    """Its gzips unpack to more, one of them to more than an upload may have."""
    text = [b"".join(b'{"row": %d, "of": %d}\n' % (n, f) for n in range(30)) for f in range(3)]
    large = b"".join(b'{"row": %d, "of": 9}\n' % n for n in range(100))
    contents = [gzip.compress(some, mtime=0) for some in (*text[:2], large, text[2])]
    world.sharing = Sharing(50, 10_000, 5000)
    external_id = begun(world, *contents, key="in/{}.json.gz")
    assert len(world.uploads) == 1
    uploaded(world)
    found = put(world, external_id)
    assert all(len(one) <= 1000 for one in found.values())
    rows = sorted(row for one in found.values() for row in one.splitlines())
    assert rows == sorted(row for some in (*text, large) for row in some.splitlines())
    looked(world, external_id)
    assert finished(world, external_id)["recordCount"] == 190


def test_a_run_of_many_uploads_goes_on_where_its_worker_ran_out_of_time(world: Delivering) -> None:
    """Each with a header of its own: nothing is sent twice, and what was sent is not read again."""
    contents = [b"column%d\n1\n" % n for n in range(6)]
    external_id = begun(world, *contents, key="in/{}.csv", **CSV)
    sent: list[str] = []
    workers = 0
    while world.uploads:
        its = ports(world, uploads_end_ms=world.clock() + 3000)
        real: Any = its.ingestion
        put_file = real.upload

        def slow(delivery: Any, path: str, *rest: Any, put_file: Any = put_file) -> None:
            sent.append(path)
            put_file(delivery, path, *rest)
            world.clock.advance(1200)

        real.upload = slow
        workers += 1
        upload.upload(world.uploads.pop(0).what, its)
    assert workers == 3
    assert len(sent) == len(set(sent)) == 6
    assert sorted(put(world, external_id).values()) == contents


def test_a_run_that_cannot_be_read_in_time_is_tried_again(world: Delivering) -> None:
    begun(world, ONE, TWO)
    with pytest.raises(NotYet):
        uploaded_piece(world.uploads[0].what, ports(world, uploads_end_ms=world.clock()))


def test_what_five_workers_have_no_time_to_read_is_left_out_by_name(world: Delivering) -> None:
    """The last one sends what it has read in half of its time."""
    external_id = begun(world, *[ONE] * 12)
    for workers in range(5):
        its = ports(world, uploads_end_ms=world.clock() + 8000)

        def slow(file: Arrival, start: int, end: int) -> IO[bytes]:
            world.clock.advance(1000)
            return its.opened(file, start, end)  # noqa: B023 - used in this turn alone

        if workers < 4:
            with pytest.raises(NotYet):
                uploaded_piece(world.uploads[0].what, replace(its, opened=slow))
            assert not world.lists.written
        else:
            uploaded_piece(world.uploads.pop(0).what, replace(its, opened=slow))
    [sent] = put(world, external_id).values()
    read = len(sent) // len(ONE)
    assert 3 <= read <= 6
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["recordCount"]) == ("Batch Succeeded", read)
    assert {reason for _, _, reason in world.lost} == {"read-too-slowly"}
    assert len(world.files_parked) == end["lostFileCount"] == 12 - read


def test_workers_that_came_to_a_run_at_their_end_say_nothing_of_its_files(
    world: Delivering,
) -> None:
    """Other runs of theirs came before: the next worker has all of its time."""
    external_id = begun(world, *[ONE] * 12)
    for seconds in (*[0.5] * 5, 16):
        its = ports(world, uploads_end_ms=world.clock() + int(1000 * seconds))

        def slow(file: Arrival, start: int, end: int) -> IO[bytes]:
            world.clock.advance(1000)
            return its.opened(file, start, end)  # noqa: B023 - used in this turn alone

        if seconds < 1:
            with pytest.raises(NotYet):
                uploaded_piece(world.uploads[0].what, replace(its, opened=slow))
        else:
            uploaded_piece(world.uploads.pop(0).what, replace(its, opened=slow))
    assert list(put(world, external_id).values()) == [ONE * 12]


# ---- What is left out


def test_a_list_that_somebody_deletes_makes_all_of_its_files_doubtful(world: Delivering) -> None:
    """They are told, and kept from being loaded twice: most of them are in the dataset."""
    external_id = begun(world, ONE, HALF, TWO)
    uploaded(world)
    world.lists.written.clear()
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["recordCount"], end["lostFileCount"]) == ("Batch Succeeded", 2, 3)
    assert {(uri[13:], reason) for _, uri, reason in world.lost} == {
        (f"in/{number}.json", "contents-unknown") for number in range(3)
    }
    assert not world.files_parked


def test_what_was_sent_by_a_list_that_is_deleted_is_not_sent_once_more(world: Delivering) -> None:
    external_id = begun(world, LARGE, ONE, TWO)
    first, run = world.uploads
    uploaded_piece(first.what, ports(world))
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(run.what, dying(world, "mark"))
    world.uploads.clear()
    world.lists.written.clear()
    complete_elsewhere(world, external_id)
    looked(world, external_id, HOUR)
    looked(world, external_id, STEP)
    assert finished(world, external_id)["lostFileCount"] == 2
    assert not world.files_parked


def test_what_fails_its_check_is_left_out_by_name_and_let_go(world: Delivering) -> None:
    gone = b'{"row": "gone"}\n'
    broken = gzip.compress(THREE, mtime=0)[:-4]
    none = gzip.compress(b"", mtime=0)
    external_id = begun(world, ONE, HALF, gone, broken, none, TWO)
    del world.contents["landing", "in/2.json", "v:v2"]
    uploaded(world)
    assert list(put(world, external_id).values()) == [ONE + TWO]
    assert world.deliveries.marks(external_id) == {0: Mark(22, rows=2, left_out=3, empty=1)}
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Succeeded", 3)
    reasons = {"in/1.json": "bad-rows", "in/2.json": "object-gone", "in/3.json": "format-mismatch"}
    assert {uri[13:]: reason for _, uri, reason in world.lost} == reasons
    assert {parked.key: reason for parked, reason in world.files_parked} == reasons
    assert all(world.ledger.claimant(parked) is None for parked, _ in world.files_parked)


def test_where_the_route_says_so_a_file_that_is_left_out_ends_the_batch(world: Delivering) -> None:
    external_id = begun(world, ONE, BROKEN, TWO, onLostFile="abort")
    uploaded(world)
    end = finished(world, external_id)
    assert end["kind"] == "Batch Abandoned"
    assert end["detail"].startswith(
        "1 of its files cannot be loaded: 's3://landing/in/1.json' holds text"
    )
    assert world.parked_for[external_id].reason == "format-mismatch"
    assert [uri for _, uri, _ in world.lost] == ["s3://landing/in/1.json"]
    assert (world.files_parked, world.orders_parked) == ([], {external_id})


def test_what_s3_does_not_give_is_tried_again_later(world: Delivering) -> None:
    begun(world, ONE, TWO)
    its = replace(ports(world), opened=failing(StorageUnavailable("503")))
    with pytest.raises(StorageUnavailable):
        uploaded_piece(world.uploads[0].what, its)
    assert world.lists.written == {}


def test_a_batch_of_which_no_file_is_right_is_given_up(world: Delivering) -> None:
    external_id = begun(world, BROKEN, BROKEN)
    uploaded(world)
    assert finished(world, external_id)["kind"] == "Batch Abandoned"
    assert put(world, external_id) == {}


def test_the_rows_that_a_route_allows_to_be_broken_go_up(world: Delivering) -> None:
    external_id = begun(world, HALF, TWO, badRows=1)
    uploaded(world)
    assert list(put(world, external_id).values()) == [HALF + TWO]
    [mark] = world.deliveries.marks(external_id).values()
    assert (mark.rows, mark.broken) == (3, 1)


def test_rows_that_aep_judges_are_told_by_file_and_row(world: Delivering) -> None:
    """Also if the worker that read them has died."""
    external_id = begun(world, ONE, HALF, TWO, partialIngestionPercent=0)
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(world.uploads[0].what, dying(world, "send"))
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["brokenRecordCount"]) == ("Batch Failed", 1)
    assert end["brokenRows"] == [
        {
            "uri": "s3://landing/in/1.json",
            "row": 2,
            "rule": "it is not JSON: Expecting value (character 1)",
        }
    ]


def test_a_file_that_may_not_be_read_for_a_while_is_waited_for(world: Delivering) -> None:
    external_id = begun(world, ONE, TWO)
    world.denied["in/1.json"] = world.clock() + HOUR
    with pytest.raises(NotReadable):
        uploaded_piece(world.uploads[0].what, ports(world))
    assert world.lists.written == {}
    world.clock.advance(HOUR)
    uploaded(world)
    assert list(put(world, external_id).values()) == [ONE + TWO]


def test_so_it_is_once_the_list_is_written(world: Delivering) -> None:
    """Otherwise its batch would be given up, though nothing is wrong with it."""
    external_id = begun(world, ONE, TWO)
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(world.uploads[0].what, dying(world, "send"))
    world.denied["in/1.json"] = world.clock() + HOUR
    with pytest.raises(NotReadable):
        uploaded_piece(world.uploads[0].what, ports(world))
    assert world.deliveries.marks(external_id) == {}
    world.clock.advance(HOUR)
    uploaded(world)
    assert list(put(world, external_id).values()) == [ONE + TWO]


def test_it_is_not_waited_for_forever(world: Delivering) -> None:
    external_id = begun(world, ONE, TWO)
    world.denied["in/1.json"] = world.clock() + 9 * DAY
    world.clock.advance(world.deadline * 4 // 5)
    uploaded(world)
    looked(world, external_id)
    assert finished(world, external_id)["kind"] == "Batch Succeeded"
    assert [(f.key, why) for f, why in world.files_parked] == [("in/1.json", "not-readable")]


def test_s3_may_fail_now_and_then(world: Delivering) -> None:
    """And not a file of many has all others read again."""
    external_id = begun(world, ONE, TWO)
    its, fails = ports(world), iter([True, False, True, True, False])

    def opened(file: Arrival, start: int, end: int) -> IO[bytes]:
        if next(fails):
            raise StorageUnavailable("503")
        return its.opened(file, start, end)

    upload.upload(world.uploads.pop().what, replace(its, opened=opened))
    assert list(put(world, external_id).values()) == [ONE + TWO]


# ---- The list is what everybody sends


@pytest.mark.parametrize("where", ["send", "mark"])
def test_a_worker_that_dies_leaves_a_list_which_the_next_one_sends(
    world: Delivering, where: str
) -> None:
    external_id = begun(world, ONE, HALF, TWO[:-1])
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(world.uploads[0].what, dying(world, where))
    before = dict(world.lists.written)
    # What was broken is right by now; but the list is written.
    world.contents["landing", "in/1.json", "v:v1"] = LARGE[: len(HALF)]
    its, read = reads(ports(world))
    upload.upload(world.uploads.pop().what, its)
    assert sorted(read) == ["in/0.json", "in/2.json"]
    assert world.lists.written == before
    assert put(world, external_id) == {"files-000000-000003-00000.json": ONE + TWO}
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["kind"], end["recordCount"], end["lostFileCount"]) == ("Batch Succeeded", 2, 1)


def test_of_two_workers_at_once_both_send_what_the_first_has_listed(world: Delivering) -> None:
    external_id = begun(world, ONE, TWO)
    [errand] = world.uploads
    its = ports(world)

    class Slower:
        """Another worker writes its list just before this one; it could read one file less."""

        def put(self, key: str, lines: Any) -> bool:
            others = replace(ports(world), opened=_without(ports(world), "in/0.json"))
            with pytest.raises(KeyboardInterrupt):
                upload.upload(errand.what, replace(others, ingestion=_dead()))
            return world.lists.put(key, lines)

        whole = staticmethod(world.lists.whole)

    upload.upload(errand.what, replace(its, lists=Slower()))
    assert list(put(world, external_id).values()) == [TWO]
    looked(world, external_id)
    assert [uri for _, uri, _ in world.lost] == ["s3://landing/in/0.json"]


def _without(its: DeliveryPorts, key: str) -> Callable[[Arrival, int, int], IO[bytes]]:
    def opened(file: Arrival, start: int, end: int) -> IO[bytes]:
        if file.key == key:
            raise ObjectGone("it is gone")
        return its.opened(file, start, end)

    return opened


def _dead() -> Any:
    class Dead:
        upload = failing(KeyboardInterrupt())

    return Dead()


@pytest.mark.parametrize("kind", [ObjectGone, ObjectArchived])
def test_what_is_gone_after_its_list_was_written_ends_the_batch(
    world: Delivering, kind: type[ObjectGone]
) -> None:
    """Another worker may send it yet. It alone is named: the next attempt can leave it out."""
    external_id = begun(world, ONE, HALF, TWO, THREE, LARGE)
    uploaded_piece(world.uploads.pop().what, ports(world))
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(world.uploads[0].what, dying(world, "send"))
    its = ports(world)

    def opened(file: Arrival, start: int, end: int) -> IO[bytes]:
        if file.key == "in/2.json":
            raise kind("it is not there")
        return its.opened(file, start, end)

    upload.upload(world.uploads.pop().what, replace(its, opened=opened))
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Abandoned", 2)
    assert {(uri, why) for _, uri, why in world.lost} == {
        ("s3://landing/in/1.json", "bad-rows"),
        ("s3://landing/in/2.json", kind.reason),
    }
    assert list(put(world, external_id).values()) == [LARGE]
    assert world.orders_parked == set(), "the next attempt has the others, and a list of its own"
    record = world.ledger.records[f"{external_id}.2"]
    left = [file.key for file in world.ledger.files(record.order)]
    assert left == ["in/0.json", "in/3.json", "in/4.json"]


def test_what_is_gone_since_it_was_sent_is_there(world: Delivering) -> None:
    external_id = begun(world, ONE, TWO)
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(world.uploads[0].what, dying(world, "mark"))
    del world.contents["landing", "in/1.json", "v:v1"]
    uploaded(world)
    assert world.deliveries.marks(external_id) == {0: Mark(22, rows=2)}
    looked(world, external_id)
    assert finished(world, external_id)["recordCount"] == 2


def test_what_is_read_otherwise_than_its_list_says_ends_the_batch(world: Delivering) -> None:
    """By another release, as the bytes are of the same version."""
    external_id = begun(world, ONE, TWO)
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(world.uploads[0].what, dying(world, "send"))
    world.contents["landing", "in/1.json", "v:v1"] = b'{"r":1}\n'
    uploaded(world)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Abandoned", 0)
    assert world.orders_parked == {external_id}


def test_a_run_that_aep_refuses_ends_the_batch_and_blames_no_file(world: Delivering) -> None:
    external_id = begun(world, ONE, TWO)
    world.simulator.faults.add(Fault("status", status=413))
    uploaded(world)
    end = finished(world, external_id)
    assert (end["kind"], end["lostFileCount"]) == ("Batch Abandoned", 0)
    assert (world.lost, world.orders_parked) == ([], {external_id})


# ---- Completed by somebody else


@pytest.mark.parametrize("died", ["never begun", "send", "mark"])
def test_what_somebody_completes_before_it_is_marked(world: Delivering, died: str) -> None:
    """What the batch holds is there; of what it does not hold each file is named, and let go."""
    external_id = begun(world, LARGE, ONE, TWO)
    first, run = world.uploads
    uploaded_piece(first.what, ports(world))
    if died != "never begun":
        with pytest.raises(KeyboardInterrupt):
            uploaded_piece(run.what, dying(world, died))
    world.uploads.clear()
    complete_elsewhere(world, external_id)
    looked(world, external_id, HOUR)
    looked(world, external_id, STEP)
    end = finished(world, external_id)
    assert end["kind"] == "Batch Succeeded"
    assert end["lostFileCount"] == (0 if died == "mark" else 2)
    assert len(world.files_parked) == (0 if died == "mark" else 2)


def test_ranges_are_read_one_after_the_other(tmp_path: Any) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"0123456789")

    def some() -> Iterator[tuple[int, int]]:
        yield from [(0, 3), (5, 1), (7, 3)]

    with path.open("rb") as disk:
        stream = _Ranges(disk, some())
        assert [stream.read(4), stream.read(2), stream.read()] == [b"0125", b"78", b"9"]
        assert stream.read() == b""
        assert _Ranges(disk, some()).read() == b"0125789"


# ---- Headers alone, where a route allows them

HEADERS = [b"column%d\n" % n for n in range(3)]


def test_headers_alone_go_up_where_a_table_may_be_empty(world: Delivering) -> None:
    """As they do where each file goes up by itself: the batch is complete, with no row in it."""
    external_id = begun(world, *HEADERS, HEADERS[0], key="in/{}.csv", **CSV, minRows=0)
    uploaded(world)
    assert sorted(put(world, external_id).values()) == HEADERS
    looked(world, external_id)
    assert finished(world, external_id)["kind"] == "Batch Succeeded"


def test_no_upload_is_passed_over_behind_a_header_alone(world: Delivering) -> None:
    contents = [HEADERS[0], *(b"other%d\n1\n" % n for n in range(3))]
    external_id = begun(world, *contents, key="in/{}.csv", **CSV, minRows=0)
    while world.uploads:
        its = ports(world, uploads_end_ms=world.clock() + 3000)
        real: Any = its.ingestion
        put_file = real.upload

        def slow(*sent: Any, put_file: Any = put_file) -> None:
            put_file(*sent)
            world.clock.advance(1200)

        real.upload = slow
        upload.upload(world.uploads.pop(0).what, its)
    assert sorted(put(world, external_id).values()) == contents


def test_what_is_listed_is_not_read_on_when_no_time_is_left(world: Delivering) -> None:
    """Else Lambda kills the worker, with all that it does beside that."""
    begun(world, *[ONE] * 30)
    with pytest.raises(KeyboardInterrupt):
        uploaded_piece(world.uploads[0].what, dying(world, "send"))
    its, read = reads(ports(world, uploads_end_ms=world.clock() + 3000))

    def slow(file: Arrival, start: int, end: int) -> IO[bytes]:
        world.clock.advance(1000)
        return its.opened(file, start, end)

    with pytest.raises(NotYet):
        uploaded_piece(world.uploads[0].what, replace(its, opened=slow))
    assert len(read) < 5


def test_one_run_is_read_after_the_other(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one has all threads, and room on the disk; whatever ends it, the next may begin."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    worker = Worker(Settings.of("on_upload", environment))
    worker.__dict__ |= {
        "organizations": SimpleNamespace(current=lambda: Organizations(())),
        "ledger": Mock(),
        "announcer": Mock(),
    }
    context: Any = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
    its, begun_with = worker.delivery(context), list[int]()

    def work(value: int) -> int:
        begun_with.append(value)
        return value

    first = iter(its.ahead(work, range(30)))
    assert next(first) == 0
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lambda: list(its.ahead(work, [99])))
        assert list(islice(first, 20)) == list(range(1, 21))
        assert 99 not in begun_with
        cast("Generator[int]", first).close()
        assert second.result(timeout=60) == [99]
    assert max(value for value in begun_with if value < 99) < 30
