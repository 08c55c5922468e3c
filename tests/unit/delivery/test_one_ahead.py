"""While a part of a file goes up, the next one is made, by a thread that ends with the upload."""

import gzip
import json
import re
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from queue import Queue
from random import Random
from typing import Any

import pytest
from aep_intake.content.parts import Part, Parts
from aep_intake.delivery import steps, upload
from aep_intake.delivery.delivery import Task
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model.errors import StorageUnavailable, TryAgain
from aep_intake.model.files import Arrival
from aep_intake.model.outcomes import OneAhead, caught, one_by_one
from aep_intake.routing import routes
from aep_intake.wiring.deliver import one_ahead

from local.simulator.faults import Fault
from local.simulator.seed import LOYALTY
from tests.faults.harness import START, Delivering, calm, take

TABLE = routes.parse(
    json.dumps({"routes": [{"name": "all", "match": "in/**", "datasetId": LOYALTY}]}), "v1"
)
# Four parts, of which those who look at the beginning see not even one.
ROWS = b"".join(b'{"row": "%s"}\n' % Random(n).randbytes(500).hex().encode() for n in range(300))
PIECE, PARTS = 80_000, 4
PACKED = gzip.compress(ROWS, mtime=0)


def begun(content: bytes) -> tuple[Delivering, Task]:
    """A world in which the delivery of a gzip has begun, and the task of uploading it."""
    world = calm(tables=(TABLE,), final=TABLE)
    world.piece = PIECE
    file = Arrival("landing", "in/0.json.gz", "v0", "e", "0060", len(content), START)
    world.put(file, content)
    take(file, world.intake(0))
    steps.start(*world.created_queue.pop().what, world.ports(world.intake(0)))
    return world, world.uploads[0].what


def ports(world: Delivering, ahead: OneAhead, **changes: Any) -> DeliveryPorts:
    return replace(world.ports(world.intake(0)), one_ahead=ahead, **changes)


def test_a_part_goes_up_while_the_next_one_is_made_and_none_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, task = begun(PACKED)
    made, kept = Queue[int](), list[Part]()
    real = Parts._part

    def making(self: Parts, *arguments: Any) -> Any:
        part, header = real(self, *arguments)
        kept.append(part)
        made.put(len(kept))
        return part, header

    monkeypatch.setattr(Parts, "_part", making)
    its: Any = ports(world, one_ahead)
    send, sent = its.ingestion.upload, list[bytes]()

    def sending(about: Any, path: str, body: Any, *arguments: Any) -> None:
        number = len(sent) + 1
        assert len(kept) <= number + 1, "no more than one ahead"
        while number < PARTS and made.get(timeout=60) <= number:
            pass
        assert sum(not part.body.closed for part in kept) <= 2, "what is on the disk"
        sent.append(body.read())
        body.seek(0)
        send(about, path, body, *arguments)

    its.ingestion.upload = sending
    upload.upload(task, its)
    assert (len(kept), b"".join(sent)) == (PARTS, ROWS)
    assert all(part.body.closed for part in kept)


LONG = gzip.compress(ROWS + b"x" * PIECE + b"\n", mtime=0)
WRONG = gzip.compress(ROWS + b"[1]\n", mtime=0)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (PACKED, 0),
        (PACKED[:-5], 0),
        (PACKED[:-8] + b"\0" * 4 + PACKED[-4:], 0),
        (LONG, 0),
        (WRONG, 0),
        (PACKED, 413),
        (PACKED, 503),
    ],
    ids=["good", "cut off", "damaged late", "long row", "no object", "refused", "unavailable"],
)
def test_what_becomes_of_a_file_is_the_same(content: bytes, status: int) -> None:
    """What is known of it, in the same words, and what is in its batch."""

    def found(ahead: OneAhead) -> tuple[Any, ...]:
        world, task = begun(content)
        if status:
            world.simulator.faults.add(Fault("status", "put-file", status=status, skip=2))
        outcome = caught(upload.upload, task, ports(world, ahead), 1)
        name = task.external_id
        batch = world.simulator.batch(world.deliveries.kept[name].batch_id)
        files = [one.read() for one in batch.files.values()]
        known = world.deliveries.marks(name), world.deliveries.progress(name, 0)
        failed = str(outcome) if isinstance(outcome, Exception) else ""
        told = re.sub(r"X-Request-Id \S+", "", f"{known} {failed}")
        assert sum(map(len, files)) > PIECE, "some were sent"
        return files, told, len(world.uploads)

    assert found(one_ahead) == found(one_by_one)


def test_storage_that_breaks_off_is_told_behind_what_was_sent() -> None:
    """As without a thread: another worker goes on behind that."""
    world, task = begun(PACKED)
    breaks = StorageUnavailable("its bytes broke off")

    class Breaking:
        def __enter__(self) -> "Breaking":
            self.left = [PACKED[:-30_000]]
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, _: int) -> bytes:
            if not self.left:
                raise breaks
            return self.left.pop()

    opened: Any = lambda *_: Breaking()  # noqa: E731
    world.uploads.clear()
    made = caught(upload.upload, task, ports(world, one_ahead, opened=opened), 1)
    progress = world.deliveries.progress(task.external_id, 0)
    assert progress is not None and progress.parts > 1
    assert made == upload.Uploaded()
    assert [errand.what for errand in world.uploads] == [task]


def test_who_gives_up_waits_until_nobody_reads() -> None:
    """The part that was begun is made, and not one more; then its file is closed."""
    begins, goes_on = threading.Event(), threading.Event()
    made, threads = list[int](), set[threading.Thread]()

    def values() -> Generator[int]:
        for number in range(9):
            threads.add(threading.current_thread())
            if number:
                begins.set()
                assert goes_on.wait(60)
            made.append(number)
            yield number

    def abandon() -> None:
        following = one_ahead(values())
        assert next(following) == 0
        assert begins.wait(60)
        following.close()
        assert made == [0, 1]
        assert not any(thread.is_alive() for thread in threads)

    abandoning = threading.Thread(target=_kept(abandon, errors := list[BaseException]()))
    abandoning.start()
    assert begins.wait(60)
    assert abandoning.is_alive(), "it waits"
    goes_on.set()
    abandoning.join(60)
    assert (errors, threading.main_thread() in threads) == ([], False)


def _kept(work: Callable[[], None], errors: list[BaseException]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    return run


def test_an_upload_that_fails_leaves_no_thread_and_closes_what_it_reads() -> None:
    world, task = begun(PACKED)
    world.simulator.faults.add(Fault("status", "put-file", status=503))
    streams = list[Any]()

    def opened(*arguments: Any) -> Any:
        streams.append(world._opened(*arguments))
        return streams[-1]

    before = set(threading.enumerate())
    with pytest.raises(TryAgain):
        upload.upload(task, ports(world, one_ahead, opened=opened))
    assert set(threading.enumerate()) <= before
    assert [stream.closed for stream in streams] == [True]
