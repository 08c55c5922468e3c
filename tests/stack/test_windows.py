"""Many files, one batch: the windows' half of the ledger's contract, and the deployed whole."""

import io
import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil
from typing import IO, Any

import pytest
from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.clock.due import DueKind
from aep_intake.grouping import windows
from aep_intake.grouping.filling import fill
from aep_intake.grouping.windows import BatchLimits, close, close_now, plan, register
from aep_intake.model import records
from aep_intake.model.errors import (
    AlreadyClaimed,
    LeaseLost,
    LedgerUnavailable,
    LineMoved,
    NotReplaceable,
    ObjectGone,
    StorageUnavailable,
    WindowSealed,
)
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import ORDER_PREFIX, Lineage, LineageHead
from aep_intake.model.progress import Record
from aep_intake.model.windows import MARKER_MESSAGE_LIFE_MS, Window, WindowStage

from local.stack import LocalStack
from tests.builders import opened, order
from tests.memory_ledger import MemoryLedger, due_of
from tests.stack.scene import scene

# Ahead of every real clock: what expires by it must not be gone while a test runs.
NOW = 4_090_000_000_000
DAY = 86_400_000


@pytest.fixture(params=["memory", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        return MemoryLedger()
    stack: LocalStack = request.getfixturevalue("stack")
    return in_dynamodb(stack)[0]


@pytest.fixture
def window(ledger: Any) -> Window:
    return ledger.windows.open(plain())  # type: ignore[no-any-return]


def files(number: int, **changes: Any) -> tuple[Arrival, ...]:
    name = uuid.uuid4().hex
    some = (
        Arrival("landing", f"in/{name}/{n:05}.json", f"v{n}", "e", f"{n:04x}", 10, NOW)
        for n in range(number)
    )
    return tuple(replace(file, **changes) for file in some)


def ports(ledger: Any, now: int = NOW, **limits: int) -> windows.WindowPorts:
    limit = BatchLimits(**limits)
    return windows.WindowPorts(
        ledger.windows, ledger, lambda _: None, lambda: now, limit, unreadable
    )


def unreadable(file: Arrival, start: int, end: int) -> IO[bytes]:
    raise StorageUnavailable(f"{file.uri} {start} {end}")


def test_a_window_is_what_was_put(ledger: Any, window: Window) -> None:
    assert ledger.windows.get(window.window_id) == window
    assert ledger.windows.open(window) == window
    assert ledger.windows.get("window-none") is None
    assert (
        due_of(ledger, DueKind.WINDOWS, window.start + 60_000)[window.window_id]
        == window.start + 60_000
    )
    assert window.window_id not in due_of(ledger, DueKind.WINDOWS, window.start + 59_999)


def test_what_joined_is_read_back_in_order(ledger: Any, window: Window) -> None:
    some = files(250)
    joined, known = register(window, reversed(some), ports(ledger))
    assert set(joined) == {file.external_id for file in some}
    assert known == {}
    assert ledger.windows.registered(window.window_id) == some
    assert {ledger.claimant(file) for file in some} == {window.window_id}


def test_the_ledger_says_how_many_files_join_at_once(ledger: Any, window: Window) -> None:
    """All of them in their order, some with one claim each and some with two."""
    mark, some = marker(version_id=None), (*files(150), *files(100, version_id=None))
    begun, rest = of(mark, lineage()), list(ledger.windows.transactions(some))
    first = next(ledger.windows.transactions(some, at_start=True))
    assert [file for each in rest for file in each] == list(some)
    assert first == some[: len(first)]
    assert all((first, *rest))
    assert list(ledger.windows.transactions(())) == []
    assert ledger.windows.start(begun, mark, first, first)
    for each in rest:
        ledger.windows.register(window, each, tuple(file for file in each if file not in first))
    assert set(ledger.windows.registered(window.window_id)) == set(some)


def test_copies_drop_out_and_the_rest_joins(ledger: Any, window: Window) -> None:
    first, second = files(3), files(2)
    alone, another = files(1), f"o-{uuid.uuid4().hex}"
    ledger.open(opened(NOW, *alone, external_id=another))
    register(window, first, ports(ledger))
    joined, known = register(window, (*first[:2], *second, *alone), ports(ledger))
    assert set(joined) == {file.external_id for file in second}
    assert known == {
        **dict.fromkeys((file.external_id for file in first[:2]), window.window_id),
        alone[0].external_id: another,
    }
    assert set(ledger.windows.registered(window.window_id)) == {*first, *second}


def test_the_same_bytes_twice_in_one_delivery_are_two_versions(ledger: Any, window: Window) -> None:
    [file] = files(1, version_id=None)
    again = replace(file, sequencer="00ff")
    joined, known = register(window, (file, again), ports(ledger))
    assert len(joined) == 2
    assert not known


@pytest.mark.parametrize("version", ["v", None])
def test_a_new_version_joins_beside_an_old_one_of_the_same_object(
    ledger: Any, window: Window, version: str | None
) -> None:
    [old] = files(1, version_id=version and f"{version}1")
    new = replace(old, version_id=version and f"{version}2", sequencer="00ff", etag="other")
    register(window, [old], ports(ledger))
    joined, known = register(window, [old, new], ports(ledger))
    assert set(joined) == {new.external_id}
    assert known == {old.external_id: window.window_id}
    assert set(ledger.windows.registered(window.window_id)) == {old, new}


def test_nothing_joins_a_sealed_window(ledger: Any, window: Window) -> None:
    some, late = files(2), files(2)
    register(window, some, ports(ledger))
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    ledger.windows.freeze(sealed)
    ledger.windows.freeze(sealed)
    with pytest.raises(WindowSealed):
        ledger.windows.register(sealed, late, late)
    joined, _ = register(window, late, ports(ledger))
    assert {where.start for where in joined.values()} == {window.start + 60_000}
    assert ledger.windows.registered(window.window_id) == some
    with pytest.raises(AlreadyClaimed):
        ledger.windows.register(sealed, some, some)


def test_nothing_joins_what_a_release_before_gates_opened_and_another_sealed(ledger: Any) -> None:
    some, late, present = files(2), files(2), plain()
    old = ledger.windows.open(replace(present, gates=0))
    found = ledger.windows.open(present)
    assert found == old
    ledger.windows.register(found, some, some)
    ledger.windows.replace(old, old.sealed(NOW))
    with pytest.raises(WindowSealed):
        ledger.windows.register(found, late, late)
    ledger.windows.freeze(found)
    assert ledger.windows.registered(old.window_id) == some


def test_who_finds_an_open_gate_while_others_are_sealed_is_in_the_list(
    ledger: Any, window: Window
) -> None:
    """And who does not is in the next window: nobody is in between, nobody in both."""
    deliveries = [files(3) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        joining = [pool.submit(register, window, some, ports(ledger)) for some in deliveries]
        joining[5].result()
        close_now(window.window_id, ports(ledger))
        listed = Counter(
            file.external_id
            for part in ledger.windows.get(window.window_id).parts
            for file in ledger.windows.registered(window.window_id)[part.first : part.end]
        )
        joined = [future.result()[0] for future in joining]
    told = {file: where.start for some in joined for file, where in some.items()}
    assert len(told) == 120
    assert listed == Counter(file for file, start in told.items() if start == window.start)
    following = ledger.windows.registered(window.next().window_id)
    assert {file.external_id for file in following} == told.keys() - listed.keys()


def test_a_window_changes_only_as_it_was_read(ledger: Any, window: Window) -> None:
    ledger.windows.replace(window, window.sealed(NOW))
    with pytest.raises(LeaseLost):
        ledger.windows.replace(window, window.finished())


def test_a_plan_is_made_once_and_obeyed(ledger: Any, window: Window) -> None:
    register(window, files(5), ports(ledger))
    end = window.start + window.length
    close(window.window_id, ports(ledger, end - 1))
    assert ledger.windows.get(window.window_id).stage is WindowStage.OPEN
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    frozen = ledger.windows.registered(window.window_id)
    ledger.windows.replace(
        sealed, sealed.planned(plan(window.window_id, [(10, 0)] * 5, BatchLimits(files=2)))
    )
    close(window.window_id, ports(ledger, end, files=1))  # another limit by now
    closed = ledger.windows.get(window.window_id)
    assert closed.stage is WindowStage.FINISHED
    assert closed.due is None
    assert [part.end - part.first for part in closed.parts] == [2, 2, 1]
    parts = [closed.part(part, number) for number, part in enumerate(closed.parts)]
    found = [ledger.get(part.external_id) for part in parts]
    assert [record.order for record in found] == parts
    assert sum((ledger.files(part) for part in parts), ()) == frozen
    assert all(record.due == end for record in found)


def test_a_part_reads_what_is_its_own_and_nothing_of_the_table(stack: LocalStack) -> None:
    ledger, sent = in_dynamodb(stack)
    mark, some = marker(), files(5)
    fill(of(mark), mark, some, ports(ledger, files=2))
    window = ledger.windows.get(of(mark).window_id)
    assert window is not None and window.key is not None
    listed = stack.aws.s3.get_object(Bucket=stack.outputs["StateBucketName"], Key=window.key)
    content = listed["Body"].read()
    head, *lines = content.splitlines(keepends=True)
    assert records.read(Window, head.decode()).parts == window.parts
    assert b"".join(lines) == content[window.parts[0].offset :]
    assert [content[p.offset : p.offset + p.length].count(b"\n") for p in window.parts] == [2, 2, 1]
    parts = [window.part(part, number) for number, part in enumerate(window.parts)]
    sent.clear()
    assert [ledger.files(part) for part in parts] == [some[:2], some[2:4], some[4:]]
    assert sent == []


def test_a_list_is_written_once_and_its_plan_obeyed(ledger: Any, window: Window) -> None:
    """Two workers plan it, each with limits of its own: the second one obeys the first."""
    some = files(5)
    register(window, some, ports(ledger))
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    ledger.windows.freeze(sealed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger.windows, "replace", lost)
        with pytest.raises(LedgerUnavailable):
            close_now(window.window_id, ports(ledger, files=2))
    close_now(window.window_id, ports(ledger, files=4))
    assert gathered(ledger, window) == [some[:2], some[2:4], some[4:]]


def lost(*_: object) -> Any:
    raise LedgerUnavailable("did not answer")


def test_what_the_state_bucket_forgot_is_read_from_the_table(stack: LocalStack) -> None:
    ledger, _ = in_dynamodb(stack)
    window = ledger.windows.open(plain())
    some = files(4)
    newer = replace(some[1], version_id="newer", sequencer="ffff")
    register(window, [*some, newer], ports(ledger))
    close_now(window.window_id, ports(ledger, files=2))
    closed = ledger.windows.get(window.window_id)
    assert closed is not None and closed.key is not None
    stack.aws.s3.delete_object(Bucket=stack.outputs["StateBucketName"], Key=closed.key)
    assert gathered(ledger, window) == [(some[0], newer), some[2:]]


def test_what_a_release_before_lists_planned_is_read_as_it_was(ledger: Any, window: Window) -> None:
    """Each version that joined is in a part, and two of one object are two files."""
    [old, other] = files(2)
    new = replace(old, version_id="w1", sequencer="00ff")
    register(window, (old, new, other), ports(ledger))
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    ledger.windows.replace(
        sealed, sealed.planned(plan(window.window_id, [(10, 0)] * 3, BatchLimits(files=2)))
    )
    close_now(window.window_id, ports(ledger))
    closed = ledger.windows.get(window.window_id)
    assert gathered(ledger, window) == [(old, new), (other,)]
    assert ledger.windows.part_of(closed, old.bucket, old.key, new.version) == 0
    assert ledger.windows.part_of(closed, other.bucket, other.key, other.version) == 1


@pytest.mark.parametrize("version", ["v", None])
def test_of_the_versions_of_an_object_the_newest_by_s3_s_sequencer_counts(
    ledger: Any, window: Window, version: str | None
) -> None:
    first, other, last = files(3, version_id=version)
    # Of different lengths, and not in the order of their times, versions or arrivals.
    middle, newest, oldest = (
        replace(
            other,
            version_id=version and f"{version}{n}",
            sequencer=position,
            time=NOW - n,
            etag=f"{n}",
        )
        for n, position in enumerate(("0A2", "0b", "00"))
    )
    register(window, (newest, first, last), ports(ledger))
    register(window, (oldest, middle), ports(ledger))
    close_now(window.window_id, ports(ledger, files=2))
    assert gathered(ledger, window) == [(first, newest), (last,)]
    told = {seen.version: seen.superseded_by for seen in ledger.seen(other.object_id)}
    assert told == {
        newest.version: None,
        middle.version: newest.version,
        oldest.version: newest.version,
    }
    assert ledger.claimant(oldest) == window.window_id
    closed = ledger.windows.get(window.window_id)
    for file in (oldest, middle, newest):
        assert ledger.windows.part_of(closed, file.bucket, file.key, file.version) == 0
    assert ledger.windows.part_of(closed, last.bucket, last.key, last.version) == 1


def test_without_sequencers_the_newest_is_told_by_time(ledger: Any, window: Window) -> None:
    old, *_ = files(1)
    new = replace(old, version_id="a", sequencer=None, time=NOW + 1000)
    register(window, (old, new), ports(ledger))
    close_now(window.window_id, ports(ledger))
    assert gathered(ledger, window) == [(new,)]


def test_a_batch_is_planned_by_what_aep_gets(ledger: Any, window: Window) -> None:
    """A gzip by what it says at its end; six times its size where that is not known or not true."""
    sizes = {"a": 2_000, "b": 20_000_000, "c": 20_000_000, "d": 20_000_000}
    says = {"b": 50_000_000, "c": 19_999_999}
    [file] = files(1)
    some = [
        replace(file, key=f"{file.key}{name}.json.gz", size=size) for name, size in sizes.items()
    ]
    asked = []

    def opened(file: Arrival, start: int, end: int) -> IO[bytes]:
        name = file.key[-9]
        asked.append((name, end - start, end == file.size))
        if name == "d":
            raise ObjectGone("deleted meanwhile")
        return io.BytesIO(b"more than was asked for" + says[name].to_bytes(4, "little"))

    register(window, some, ports(ledger))
    close_now(window.window_id, replace(ports(ledger, bytes=170_012_000), opened=opened))
    closed = ledger.windows.get(window.window_id)
    assert [(p.end - p.first, p.bytes) for p in closed.parts] == [
        (3, 170_012_000),
        (1, 120_000_000),
    ]
    assert sorted(asked) == [("b", 4, True), ("c", 4, True), ("d", 4, True)]


def plain() -> Window:
    return Window.at(order(route=uuid.uuid4().hex), 60_000, NOW)


def test_fifty_join_one_window_at_once(ledger: Any, window: Window) -> None:
    deliveries = [files(10) for _ in range(50)]
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda some: register(window, some, ports(ledger)), deliveries))
    assert sum(len(joined) for joined, _ in results) == 500
    everything = {file for some in deliveries for file in some}
    assert set(ledger.windows.registered(window.window_id)) == everything


# ---- Windows of markers


def marker(**changes: Any) -> Arrival:
    key = f"in/{uuid.uuid4().hex}/_SUCCESS"
    return replace(Arrival("landing", key, "m1", "e", "0070", 0, NOW), **changes)


def lineage(position: str = "1", predecessor: str | None = None, **changes: Any) -> Lineage:
    return replace(Lineage(uuid.uuid4().hex, position, predecessor), **changes)


def test_the_window_of_a_quiet_folder_begins_as_the_newest(ledger: Any) -> None:
    pattern = Window.of_folder(order(route=uuid.uuid4().hex), "folder-1", 60_000, NOW)
    some, others = files(120), files(2, version_id=None)
    window, other = (pattern.begun(first, 0, NOW) for first in (some[0], others[0]))
    assert ledger.windows.newest_of(pattern.window_id) is None
    batch = next(ledger.windows.transactions(some, at_start=True))
    assert ledger.windows.begin(window, None, batch)
    assert ledger.windows.newest_of(pattern.window_id) == window.window_id
    assert ledger.windows.get(window.window_id) == window
    assert ledger.windows.registered(window.window_id) == batch
    assert {ledger.claimant(file) for file in batch} == {window.window_id}
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.windows.begin(other, window.window_id, (others[0], some[1]))
    assert caught.value.claimed == {some[1]: window.window_id}
    assert not ledger.windows.begin(window, window.window_id, others)
    for before in (None, "window-none"):
        with pytest.raises(LineMoved):
            ledger.windows.begin(other, before, others)
    nothing_of(ledger, other, *others)
    assert ledger.windows.begin(other, window.window_id, others)
    assert ledger.windows.newest_of(pattern.window_id) == other.window_id


def of(mark: Arrival, where: Lineage | None = None) -> Window:
    """The window of a marker, in its place in line."""
    return Window.of(mark, order(route="marked", lineage=where), NOW)


def behind(window: Window) -> Lineage:
    """The lineage of who comes after a window."""
    known = window.order.lineage
    assert known is not None
    return replace(known, position=f"{known.position}1", predecessor=window.part_id(0))


def alone(ledger: Any, *held: Arrival) -> str:
    """An order that holds files already."""
    external_id = f"o-{uuid.uuid4().hex}"
    ledger.open(opened(NOW, *held, external_id=external_id))
    return external_id


def subject(window: Window) -> str:
    assert window.order.lineage is not None
    return window.order.lineage.subject


def nothing_of(ledger: Any, window: Window, *free: Arrival) -> None:
    """All or nothing: nothing."""
    assert ledger.windows.get(window.window_id) is None
    assert ledger.windows.registered(window.window_id) == ()
    assert [file for file in free if ledger.claimant(file)] == []
    if window.order.lineage is not None:
        assert ledger.head(subject(window)) is None


def test_a_marker_begins_its_window_with_all_that_belongs_to_it(ledger: Any) -> None:
    mark, some = marker(time=NOW - 5), files(3)
    window = of(mark, lineage())
    assert (window.start, window.length) == (mark.time, 0)
    assert ledger.windows.start(window, mark, some, some)
    assert ledger.windows.get(window.window_id) == window
    assert ledger.windows.registered(window.window_id) == some
    assert {ledger.claimant(file) for file in (mark, *some)} == {window.window_id}
    assert ledger.head(subject(window)) == LineageHead(window.part_id(0), "1")
    assert (
        due_of(ledger, DueKind.WINDOWS, NOW + MARKER_MESSAGE_LIFE_MS)[window.window_id]
        == NOW + MARKER_MESSAGE_LIFE_MS
    )
    assert window.window_id not in due_of(ledger, DueKind.WINDOWS, NOW + MARKER_MESSAGE_LIFE_MS - 1)


def test_a_window_begins_once(ledger: Any) -> None:
    mark, some, others = marker(), files(2), files(2)
    window = of(mark, lineage())
    assert ledger.windows.start(window, mark, some, some)
    assert not ledger.windows.start(window, mark, some, some)
    again = window.behind(replace(window.order, lineage=behind(window)))
    assert not ledger.windows.start(again, mark, others, others)
    assert ledger.windows.get(window.window_id) == window
    assert ledger.windows.registered(window.window_id) == some
    assert [ledger.claimant(file) for file in others] == [None, None]
    assert ledger.head(subject(window)) == LineageHead(window.part_id(0), "1")


def test_a_marker_that_another_holds_begins_nothing(ledger: Any) -> None:
    mark, some = marker(), files(2)
    owner = alone(ledger, mark)
    window = of(mark, lineage())
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.windows.start(window, mark, some, some)
    assert caught.value.claimed == {mark: owner}
    nothing_of(ledger, window, *some)


def test_a_file_that_another_holds_lets_nothing_begin(ledger: Any) -> None:
    mark, some = marker(), files(3)
    owner = alone(ledger, some[1])
    window = of(mark, lineage())
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.windows.start(window, mark, some, some)
    assert caught.value.claimed == {some[1]: owner}
    nothing_of(ledger, window, mark, some[0], some[2])


@pytest.mark.parametrize("predecessor", [None, "somebody"])
def test_a_head_that_moved_lets_nothing_begin(ledger: Any, predecessor: str | None) -> None:
    first, mark, some = marker(), marker(), files(2)
    before = of(first, lineage())
    ledger.windows.start(before, first, (), ())
    window = of(mark, replace(behind(before), predecessor=predecessor))
    with pytest.raises(LineMoved):
        ledger.windows.start(window, mark, some, some)
    assert ledger.head(subject(before)) == LineageHead(before.part_id(0), "1")
    nothing_of(ledger, replace(window, order=replace(window.order, lineage=None)), mark, *some)
    after = of(mark, behind(before))
    assert ledger.windows.start(after, mark, some, some)
    assert ledger.head(subject(before)) == LineageHead(after.part_id(0), "11")


def test_a_head_that_never_was_lets_nothing_begin_behind_it(ledger: Any) -> None:
    mark = marker()
    window = of(mark, lineage(predecessor="somebody"))
    with pytest.raises(LineMoved):
        ledger.windows.start(window, mark, (), ())
    nothing_of(ledger, window, mark)


def test_what_another_holds_may_be_listed_and_stays_its(ledger: Any) -> None:
    mark, some, more = marker(), files(3), files(2)
    owners = [alone(ledger, file) for file in (some[0], more[0])]
    window = of(mark)
    assert ledger.windows.start(window, mark, some, some[1:])
    ledger.windows.register(window, more, more[1:])
    assert set(ledger.windows.registered(window.window_id)) == {*some, *more}
    assert [ledger.claimant(file) for file in (some[0], more[0])] == owners
    ours = {ledger.claimant(file) for file in (*some[1:], more[1])}
    assert ours == {window.window_id}


def test_what_is_listed_twice_is_there_once(ledger: Any, window: Window) -> None:
    some = files(2)
    for _ in range(2):
        ledger.windows.register(window, some, ())
    assert ledger.windows.registered(window.window_id) == some
    assert ledger.claimant(some[0]) is None
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    ledger.windows.freeze(sealed)
    with pytest.raises(WindowSealed):
        ledger.windows.register(sealed, some, ())


def gathered(ledger: Any, window: Window) -> list[tuple[Arrival, ...]]:
    """The files of each part of a window that is finished, as its orders have them."""
    closed = ledger.windows.get(window.window_id)
    assert closed.stage is WindowStage.FINISHED
    parts = [closed.part(part, number) for number, part in enumerate(closed.parts)]
    assert [ledger.get(part.external_id).order for part in parts] == parts
    return [ledger.files(part) for part in parts]


def test_a_folder_of_more_files_than_go_into_two_transactions(ledger: Any) -> None:
    mark, some = marker(version_id=None), files(250)
    window = of(mark, lineage(first_only=True))
    handed_out: list[str] = []
    its = replace(ports(ledger, files=100), enqueue=handed_out.extend)
    assert fill(window, mark, reversed(some), its) == {}
    assert gathered(ledger, window) == [some[:100], some[100:200], some[200:]]
    assert {ledger.claimant(file) for file in (mark, *some)} == {window.window_id}
    assert handed_out == [window.part_id(number) for number in range(3)]
    found = [ledger.get(part).order.lineage for part in handed_out]
    assert found == [window.order.lineage, None, None], "there is one head, and it is one order"


def test_what_another_holds_is_told_and_the_rest_gathered(ledger: Any) -> None:
    mark, some = marker(), files(5)
    owner = alone(ledger, *some[1:3])
    window = of(mark)
    held = dict.fromkeys((file.external_id for file in some[1:3]), owner)
    assert fill(window, mark, some, ports(ledger)) == held
    assert gathered(ledger, window) == [(some[0], *some[3:])]


def test_a_folder_that_others_hold_begins_nothing(ledger: Any) -> None:
    mark, some = marker(), files(3)
    owner = alone(ledger, *some)
    window = of(mark, lineage())
    with pytest.raises(AlreadyClaimed) as caught:
        fill(window, mark, some, ports(ledger))
    assert set(caught.value.claimed.values()) == {owner}
    nothing_of(ledger, window, mark)


def test_a_marker_that_another_holds_gathers_nothing(ledger: Any) -> None:
    mark, some = marker(), files(3)
    alone(ledger, mark)
    window = of(mark)
    with pytest.raises(AlreadyClaimed):
        fill(window, mark, some, ports(ledger))
    nothing_of(ledger, window, *some)


@pytest.mark.parametrize("listed", [0, 98])
def test_who_comes_after_a_crash_goes_on(ledger: Any, listed: int) -> None:
    """The first worker died after one transaction, or two."""
    mark, some = marker(), files(250)
    window = of(mark)
    assert ledger.windows.start(window, mark, some[:95], some[:95])
    ledger.windows.register(window, some[95 : 95 + listed], some[95 : 95 + listed])
    late, another = files(2), alone(ledger, some[240])
    known = fill(window, mark, (*late, *some), ports(ledger))
    assert known == {some[240].external_id: another}
    [held] = gathered(ledger, window)
    assert sorted(held, key=lambda file: file.key) == sorted(
        (*some[:240], *some[241:], *late), key=lambda file: file.key
    )


def test_of_two_workers_that_begin_at_once_one_goes_on(ledger: Any) -> None:
    """And the other helps, as it may be the one that lives."""
    mark, some = marker(), files(120)
    window = of(mark)
    real = ledger.windows

    class AtOnce:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def start(self, *arguments: Any) -> bool:
            real.start(window, mark, some[:10], some[:10])
            return bool(real.start(*arguments))

    assert fill(window, mark, some, replace(ports(ledger), ledger=AtOnce())) == {}
    assert gathered(ledger, window) == [some]


def test_who_comes_when_it_is_sealed_adds_nothing(ledger: Any) -> None:
    mark, some, late, held = marker(), files(2), files(2), files(1)
    alone(ledger, *held)
    window = of(mark)
    assert fill(window, mark, some, ports(ledger)) == {}
    assert fill(window, mark, (*some, *late, *held), ports(ledger)) == {}
    assert gathered(ledger, window) == [some]
    assert [ledger.claimant(file) for file in late] == [None, None]


def test_who_is_overtaken_by_the_seal_leaves_it_at_that(ledger: Any) -> None:
    """Another worker, which has seen the whole folder, too, was faster."""
    mark, some = marker(), files(120)
    window = of(mark)
    real = ledger.windows

    class Overtaken:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def register(self, *arguments: Any) -> None:
            close_now(window.window_id, ports(ledger))
            real.register(*arguments)

    assert fill(window, mark, some, replace(ports(ledger), ledger=Overtaken())) == {}
    assert gathered(ledger, window) == [next(ledger.windows.transactions(some, at_start=True))]


def test_a_new_marker_takes_over_the_files_of_the_one_it_replaces(ledger: Any) -> None:
    first, mark, some, late = marker(), marker(), files(120), files(1)
    before = of(first, lineage())
    fill(before, first, some, ports(ledger))
    owner = alone(ledger, *late)
    after = of(mark, behind(before))
    real, asked = ledger.windows, list[str]()

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def get(self, window_id: str) -> Any:
            asked.append(window_id)
            return real.get(window_id)

    counting = replace(ports(ledger), ledger=Counting())
    known = fill(after, mark, (*some[3:], *late), counting)
    assert known == {late[0].external_id: owner}
    # How many batches that was, and whose its files are: not for each of them.
    assert asked.count(before.window_id) == 2
    assert gathered(ledger, after) == [some[3:]]
    assert gathered(ledger, before) == [some], "what is frozen stays so"
    assert ledger.claimant(some[3]) == before.window_id
    assert ledger.claimant(mark) == after.window_id
    third = marker()
    again = of(third, behind(after))
    assert fill(again, third, some[:4], ports(ledger)) == {}
    assert gathered(ledger, again) == [some[:4]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (lineage(), None),  # the route says `append` by now
        (lineage(), lineage()),  # another folder, or dataset
        (None, lineage()),  # the route said `append` before
        (lineage(), "ignore"),
    ],
)
def test_nobody_else_s_files_are_taken_over(
    ledger: Any, old: Lineage | None, new: Lineage | str | None
) -> None:
    first, mark, some, more = marker(), marker(), files(2), files(1)
    before = of(first, old and replace(old, subject=uuid.uuid4().hex))
    fill(before, first, some, ports(ledger))
    if isinstance(new, str):
        new = replace(behind(before), first_only=True)
    after = of(mark, new)
    held = dict.fromkeys((file.external_id for file in some), before.window_id)
    assert fill(after, mark, (*some, *more), ports(ledger)) == held
    assert gathered(ledger, after) == [more]


def test_the_files_of_a_plain_window_are_not_taken_over(ledger: Any, window: Window) -> None:
    mark, some, more = marker(), files(2), files(1)
    register(window, some, ports(ledger))
    after = of(mark, lineage())
    fill(after, mark, (*some, *more), ports(ledger))
    assert gathered(ledger, after) == [more]


def test_what_does_not_fit_into_one_batch_replaces_none(ledger: Any) -> None:
    mark, some = marker(), files(3)
    window = of(mark, lineage())
    for limits in ({"files": 2}, {"bytes": 20}):
        with pytest.raises(NotReplaceable, match=f"{mark.uri} holds more than fits into one batch"):
            fill(window, mark, some, ports(ledger, **limits))
    nothing_of(ledger, window, mark, *some)
    assert fill(window, mark, (*some, *some), ports(ledger, files=3, bytes=30)) == {}
    assert gathered(ledger, window) == [some]
    for place in (None, lineage(first_only=True)):
        other, others = marker(), files(3)
        window = of(other, place)
        fill(window, other, others, ports(ledger, files=2))
        assert gathered(ledger, window) == [others[:2], others[2:]]


def test_one_batch_does_not_replace_several(ledger: Any) -> None:
    """The route said `ignore` before, under which a folder may be many batches."""
    first, mark, some, more = marker(), marker(), files(3), files(1)
    before = of(first, lineage(first_only=True))
    fill(before, first, some, ports(ledger, files=2))
    after = of(mark, replace(behind(before), first_only=False))
    with pytest.raises(NotReplaceable, match=f"the one before {mark.uri} is 2 batches"):
        fill(after, mark, more, ports(ledger))
    assert ledger.windows.get(after.window_id) is None
    assert [ledger.claimant(file) for file in (mark, *more)] == [None, None]
    assert ledger.head(subject(before)) == LineageHead(before.part_id(0), "1")
    # What goes on as it began, may.
    assert ledger.windows.start(after, mark, more, more)
    assert fill(after, mark, more, ports(ledger)) == {}


def test_what_began_as_one_batch_is_one_whatever_the_limits_are_by_then(ledger: Any) -> None:
    mark, some = marker(), files(3)
    window = of(mark, lineage())
    assert ledger.windows.start(window, mark, some[:2], some[:2])
    assert fill(window, mark, some, ports(ledger, files=1)) == {}
    assert gathered(ledger, window) == [some]


def test_a_window_is_sealed_once(ledger: Any) -> None:
    mark, some = marker(), files(3)
    window = of(mark)
    assert ledger.windows.start(window, mark, some, some)
    handed_out: list[str] = []
    its = replace(ports(ledger, files=2), enqueue=handed_out.extend)
    for _ in range(2):
        close_now(window.window_id, its)
    assert handed_out == [window.part_id(0), window.part_id(1)]
    assert gathered(ledger, window) == [some[:2], some[2:]]
    assert ledger.windows.get(window.window_id).due is None
    close_now("window-of-nobody", its)


@pytest.mark.parametrize("stage", [WindowStage.SEALED, WindowStage.PLANNED])
def test_a_seal_that_was_broken_off_is_finished(ledger: Any, stage: WindowStage) -> None:
    mark, some = marker(), files(3)
    window = of(mark)
    ledger.windows.start(window, mark, some, some)
    window = ledger.windows.replace(window, window.sealed(NOW))
    if stage is WindowStage.PLANNED:
        planned = window.planned(plan(window.window_id, [(10, 0)] * 3, BatchLimits(files=2)))
        ledger.windows.replace(window, planned)
        ledger.open(Record.waiting(planned.part(planned.parts[0], 0), NOW))
    assert due_of(ledger, DueKind.WINDOWS, NOW)[window.window_id] == NOW, (
        "if nobody else, the clock does"
    )
    close_now(window.window_id, ports(ledger, files=2))
    assert gathered(ledger, window) == [some[:2], some[2:]]


def item(stack: LocalStack, pk: str, sk: str) -> dict[str, Any]:
    key = {"pk": {"S": pk}, "sk": {"S": sk}}
    table = stack.outputs["LedgerTable"]
    found: Any = stack.aws.dynamodb.get_item(TableName=table, Key=key)
    return dict(found.get("Item", {}))


def in_dynamodb(stack: LocalStack) -> tuple[DynamoLedger, list[Any]]:
    """A ledger, and the bodies of all its requests."""
    sent: list[Any] = []
    client = stack.aws.client("dynamodb")
    watch = client.meta.events.register
    watch("before-send.dynamodb", lambda request, **_: sent.append(request.body))
    lists = StateObjects(lambda: stack.aws.s3, stack.outputs["StateBucketName"])
    name = stack.outputs["LedgerTable"]
    return DynamoLedger(client, name, lambda: NOW, 60 * DAY, lists=lists), sent


def transactions(sent: list[Any]) -> list[list[dict[str, Any]]]:
    return [asked["TransactItems"] for asked in map(json.loads, sent) if "TransactItems" in asked]


def test_only_a_window_that_is_finished_expires(stack: LocalStack) -> None:
    ledger, _ = in_dynamodb(stack)
    mark, some = marker(), files(2)
    window = of(mark, lineage())

    def stands() -> dict[str, Any]:
        return item(stack, f"window#{window.window_id}", "window")

    def is_unfinished(due: int) -> None:
        assert stands()["due"] == {"N": str(due)}
        assert "expires" not in stands()

    ledger.windows.start(window, mark, some, some)
    is_unfinished(NOW + MARKER_MESSAGE_LIFE_MS)
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    is_unfinished(NOW)
    ledger.windows.replace(sealed, sealed.planned(plan("", [(10, 0)] * 2, BatchLimits())))
    is_unfinished(NOW)
    close_now(window.window_id, ports(ledger))
    assert stands()["stage"] == {"S": "finished"}
    assert not {"due", "due_shard"} & stands().keys()
    # Its parts may be redriven for as long as they are remembered, and want their files then.
    assert stands()["expires"] == {"N": str((NOW + 120 * DAY) // 1000)}
    listed = f"files#{digest(*(file.external_id for file in some))}"
    kept = item(stack, f"window#{window.window_id}", listed)["expires"]["N"]
    assert int(kept) >= (NOW + 120 * DAY) // 1000
    assert "expires" not in item(stack, f"head#{subject(window)}", "head")


KEYS = {
    "plain": lambda n: f"{n:04}" + "x" * 1020,
    "of two bytes": lambda n: f"{n:04}" + "ж" * 510,
    "of four bytes": lambda n: f"{n:04}" + "📈" * 255,
    "escaped in JSON": lambda n: f"{n:04}" + "\x01" * 1020,
    "quotes": lambda n: f"{n:04}" + '"' * 1020,
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_longest_keys_and_versions_stay_within_dynamodb_s_limits(
    stack: LocalStack, kind: str
) -> None:
    """400 KB an item, 4 MB and 100 items a transaction; MiniStack takes more."""
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
    ledger, sent = in_dynamodb(stack)
    mark = marker(version_id=None)
    some = [
        replace(file, key=KEYS[kind](n), version_id=f"{uuid.uuid4().hex * 32}"[:1024])
        for n, file in enumerate(files(200))
    ]
    assert {len(file.key.encode()) for file in some} == {1024}
    window = of(mark, lineage(first_only=True))
    assert fill(window, mark, some, ports(ledger)) == {}
    assert len(ledger.windows.registered(window.window_id)) == 200
    assert max(map(len, sent)) < 4_000_000
    assert max(map(len, transactions(sent))) <= 100
    items = [step["Put"]["Item"] for steps in transactions(sent) for step in steps if "Put" in step]
    assert max(map(size, items)) < 350_000


def size(item: dict[str, dict[str, str]]) -> int:
    """Bytes of an item, as DynamoDB counts them, or a few more."""
    values = ((name, value) for name, typed in item.items() for value in typed.values())
    return sum(len(f"{name}{value}".encode()) for name, value in values)


def test_a_worker_asks_once_for_each_window(stack: LocalStack) -> None:
    """And what it then hears is what stands, however far that has come."""
    window = plain()
    ledger, sent = in_dynamodb(stack)
    other, _ = in_dynamodb(stack)
    other.windows.open(window)
    sealed = other.windows.replace(window, window.sealed(NOW))
    assert ledger.windows.open(window) == sealed
    ledger.windows.open(window)
    assert len(sent) == 1


def test_what_is_read_of_a_window_is_as_it_is_now(stack: LocalStack) -> None:
    """MiniStack always tells the latest; DynamoDB only if it is asked to."""
    ledger, sent = in_dynamodb(stack)
    ledger.windows.get("window-1")
    ledger.windows.registered("window-1")
    assert [json.loads(body)["ConsistentRead"] for body in sent] == [True, True]


def test_short_keys_fill_a_transaction(stack: LocalStack) -> None:
    """A hundred items, all of them wanted: with fewer it would be more transactions."""
    ledger, sent = in_dynamodb(stack)
    mark = marker(version_id=None)
    fill(of(mark, lineage(first_only=True)), mark, files(250), ports(ledger))
    sizes = [len(steps) for steps in transactions(sent)]
    assert sizes[:3] == [1 + 1 + 1 + 2 + 95, 1 + 1 + 98, 1 + 1 + 250 - 95 - 98]


# ---- The deployed whole


MANY = {
    "name": "many",
    "match": "many/**",
    "datasetName": "loyalty",
    "inputFormat": {"format": "json"},
    "batch": {"window": "1m"},
}
MOST = 100


def test_201_objects_are_three_batches_of_100_at_most(deployed: LocalStack) -> None:
    """Each file in one of them. More only where the clock turns the minute in between."""
    routes, keys = json.dumps({"routes": [MANY]}).encode(), {f"many/{n}.json" for n in range(201)}
    with scene(deployed, "many", routes=routes, limits={"batchFiles": MOST}) as played:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(played.put, keys))

        def batched() -> dict[str, Any]:
            batches = {d["externalId"]: d for d in played.details("Batch Created")}
            return batches if sum(d["fileCount"] for d in batches.values()) >= len(keys) else {}

        batches = played.until_ticked(batched)
        found = [file["key"] for batch in batches.values() for file in _files(played.stack, batch)]
        assert len(found) == len(keys)
        assert set(found) == keys
        # As few as can be: 3, unless the clock turned the minute in between.
        joined = Counter(
            line["window"]
            for line in played.stack.logged("on-arrival")
            if line.get("message") == "registered"
            for _ in line["arrivals"]
        )
        assert joined.total() == len(keys)
        assert set(batches) == {
            part_id(window, number)
            for window, n in joined.items()
            for number in range(ceil(n / MOST))
        }
        assert {each["externalId"]: each["id"] for each in played.batches()} == {
            external_id: batch["batchId"] for external_id, batch in batches.items()
        }


def part_id(window: str, number: int) -> str:
    return f"{ORDER_PREFIX}{digest('part', window, str(number))}"


def _files(stack: LocalStack, detail: dict[str, Any]) -> list[dict[str, Any]]:
    if "files" in detail:
        return list(detail["files"])
    place = detail["manifest"]
    body = stack.aws.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"]
    return list(json.loads(body.read())["files"])
