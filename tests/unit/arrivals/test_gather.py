"""What becomes of a marker, of the files that waited for it, and of those it cannot take."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aep_intake.arrivals.envelopes import parse
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.results import Gathered, HandedOn, Known, Skipped, Waits
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock.due import DueKind
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model import messages
from aep_intake.model.errors import (
    FormatUnknown,
    LeaseLost,
    LedgerUnavailable,
    NoFiles,
    NoRoute,
    NotReplaceable,
    NotYet,
    ObjectArchived,
    StorageUnavailable,
    TargetNotAllowed,
    TooOld,
)
from aep_intake.model.files import Archived, Arrival, ReadFile, digest
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease, Record
from aep_intake.model.windows import Window, WindowStage, marker_id
from aep_intake.routing.checks import Checks

from local.simulator.seed import LOYALTY
from tests.faults.harness import (
    DAY,
    RETENTION,
    SKEW,
    START,
    TABLES,
    TIMEOUT,
    ListedBucket,
    Tape,
    World,
    go_on,
    part_of,
    take,
)
from tests.faults.test_again import AGAIN, APPENDED, FILES, MARKED, MARKER, REPLACED, table
from tests.memory_ledger import MemoryWindows

WINDOW = marker_id(MARKER)


@pytest.fixture
def world() -> World:
    """A folder of five files, which share one batch once the marker comes."""
    world = World(Tape(b""))
    world.calm = True
    world.simulator.show_in_catalog(None)
    world.table = APPENDED[0]
    world.limits = BatchLimits(files=10, bytes=1000)
    world.bucket |= {file.key: file for file in FILES}
    return world


def standing(world: World) -> Window | None:
    return world.ledger.windows.get(WINDOW)


def held(world: World) -> set[str]:
    """Names of the files in the marker's window."""
    return {file.key.rpartition("/")[2] for file in world.ledger.windows.registered(WINDOW)}


ALL = {f"part-{n}.json" for n in range(5)}


def told(world: World) -> set[str]:
    """Of whom it was said that they have no batch."""
    return {external_id for external_id, batch_id in world.events if batch_id is None}


def holding(world: World, *archived: Arrival) -> IntakePorts:
    """What a worker has where S3 lists some files as archived, and lets nobody read them."""
    intake, keys = world.intake(0), {file.key for file in archived}

    def folder(*where: str) -> Iterator[Arrival | Archived]:
        for file in ListedBucket(world.bucket).folder(*where):
            yield Archived(file) if file.key in keys else file

    def read(file: Arrival, start: int, end: int) -> bytes:
        if file.key in keys:
            raise ObjectArchived("restore it")
        return b'{"a": 1}\n'

    objects: Any = SimpleNamespace(folder=folder)
    return replace(intake, objects=objects, checks=replace(intake.checks, read=read))


def beside(world: World, name: str, **changes: Any) -> Arrival:
    """One more object in the folder."""
    file = replace(FILES[0], key=f"in/day/{name}", version_id=name, **changes)
    world.bucket[file.key] = file
    return file


def test_files_wait_and_their_marker_gathers_them(world: World) -> None:
    for file in FILES:
        assert take(file, world.intake(0)) == Waits("again")
        assert world.ledger.noted[file.object_id, file.version] == "waiting"
        assert world.ledger.claimant(file) is None
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, 5)
    assert held(world) == ALL
    [part] = world.handed_out
    assert go_on(DueKind.ORDERS, part, world.intake(0)) is not None
    [batch] = world.simulator.batches()
    assert world.events == [(part, batch.id)]
    world.bucket.clear()  # what became of the folder since is no matter
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert len(world.simulator.batches()) == 1


@pytest.mark.parametrize("key", ["in/day/_started_1", "in/day/.x.crc", "in/_temporary/0/1.json"])
def test_what_is_no_data_waits_for_nothing(world: World, key: str) -> None:
    file = replace(FILES[0], key=key)
    assert take(file, world.intake(0)) == Skipped("not-data")
    assert take(replace(FILES[0], size=0), world.intake(0)) == Skipped("not-data")
    assert world.ledger.noted == {}
    assert world.events == []


def test_a_file_that_cannot_be_taken_is_rejected_by_name_and_the_rest_goes_on(
    world: World,
) -> None:
    odd = [beside(world, "readme.txt"), beside(world, "large.json", size=10**12)]
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, 5)
    assert held(world) == ALL
    reasons = [world.ledger.rejections[file.object_id, file.version].reason for file in odd]
    assert reasons == ["format-unknown", "too-large"]
    assert told(world) == {replace(file, sequencer=None).external_id for file in odd}


def test_an_archived_file_is_rejected_by_name_before_a_batch_is_spent(world: World) -> None:
    """Also by a marker that says nothing of what is inside, so that nothing is read."""
    archived = replace(FILES[3], sequencer=None)
    assert take(MARKER, holding(world, archived)) == Gathered(WINDOW, 4)
    assert held(world) == ALL - {"part-3.json"}
    assert world.ledger.rejections[archived.object_id, archived.version].reason == "object-archived"
    assert told(world) == {archived.external_id}


def test_a_folder_of_archived_files_is_rejected_as_a_whole(world: World) -> None:
    with pytest.raises(NoFiles, match="each was rejected"):
        take(MARKER, holding(world, *FILES))
    assert standing(world) is None


@pytest.mark.parametrize("look", [{}, {"lookInside": True}])
def test_what_was_archived_since_it_was_taken_keeps_its_claim(
    world: World, look: dict[str, Any]
) -> None:
    """Its marker comes again, or goes on in place of a worker that died; or another one comes."""
    world.table = table(**MARKED, **look, inputFormat={"format": "json"})
    assert take(MARKER, holding(world)) == Gathered(WINDOW, 5)
    new = beside(world, "part-5.json")
    another = replace(MARKER, version_id="m2", sequencer="0099")
    intake = holding(world, *FILES)
    assert take(another, intake) == Gathered(marker_id(another), 1 if look else 6)
    assert world.ledger.rejections == {}
    assert told(world) == set()
    assert world.ledger.claimant(new) == marker_id(another)
    assert {world.ledger.claimant(file) for file in FILES} == {WINDOW}


def test_a_marker_of_what_was_archived_since_has_nothing_new(world: World) -> None:
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, 5)
    another = replace(MARKER, version_id="m2", sequencer="0099")
    assert take(another, holding(world, *FILES)) == Known(WINDOW)
    assert world.ledger.noted[another.object_id, another.version] == "nothing-new"
    assert told(world) == set()


def test_a_folder_of_such_files_is_rejected_as_a_whole(world: World) -> None:
    world.bucket.clear()
    beside(world, "readme.txt")
    with pytest.raises(NoFiles, match="each was rejected") as rejected:
        take(MARKER, world.intake(0))
    assert rejected.value.external_id == MARKER.external_id
    assert standing(world) is None
    assert MARKER.external_id in told(world)
    assert world.ledger.rejections[MARKER.object_id, MARKER.version].reason == "no-files"
    assert world.ledger.claimant(MARKER) is None
    world.bucket |= {file.key: file for file in FILES}
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, 5)


def test_files_of_several_formats_share_no_batch(world: World) -> None:
    beside(world, "part-5.csv")
    with pytest.raises(FormatUnknown, match="different formats: give inputFormat"):
        take(MARKER, world.intake(0))
    assert standing(world) is None
    assert told(world) == {MARKER.external_id}
    world.table = table(**MARKED, inputFormat={"format": "json"})
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, 6)


def looking(world: World, read: ReadFile) -> IntakePorts:
    """An intake of a route that looks inside, and what it then sees."""
    world.table = table(**MARKED, lookInside=True)
    return replace(world.intake(0), checks=Checks(read, batch_bytes=10**11, unsplit_bytes=2**28))


def test_a_file_that_cannot_be_read_just_now_holds_up_its_folder(world: World) -> None:
    """It is one batch: with a file left out it would not be what the marker says."""

    def read(file: Arrival, start: int, end: int) -> bytes:
        if file.key == FILES[3].key:
            raise StorageUnavailable("S3 answered 503")
        return b'{"a": 1}\n'

    with pytest.raises(StorageUnavailable):
        take(MARKER, looking(world, read))
    assert standing(world) is None
    assert world.events == []
    good = looking(world, lambda file, start, end: b'{"a": 1}\n')
    assert take(MARKER, good) == Gathered(WINDOW, 5)


def test_what_is_inside_the_files_decides_their_one_format(world: World) -> None:
    documents = looking(world, lambda file, start, end: b'[{"a": 1}]')
    take(MARKER, documents)
    window = standing(world)
    assert window is not None
    assert window.order.options["inputFormat"] == {"format": "json", "isMultiLineJson": True}


@pytest.mark.parametrize(("replaces", "taken"), [(False, ALL - {"part-0.json"}), (True, ALL)])
def test_a_file_of_which_the_ledger_would_not_know_is_not_appended(
    world: World, replaces: bool, taken: set[str]
) -> None:
    """Where a batch takes the place of the one before, it does no harm there."""
    world.table = (REPLACED if replaces else APPENDED)[0]
    old = replace(FILES[0], time=START - RETENTION - 1)
    world.bucket |= {
        old.key: old,
        FILES[1].key: replace(FILES[1], time=START - RETENTION),
    }
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, len(taken))
    assert held(world) == taken
    turned_away = {place: why.reason for place, why in world.ledger.rejections.items()}
    expected = {} if replaces else {(old.object_id, old.version): "too-old"}
    assert turned_away == expected


def appended_later(world: World, number: int) -> Arrival:
    """So much later that the ledger has forgotten all claims, one more file and its marker."""
    world.clock.advance(RETENTION + DAY)
    world.ledger.claims.clear()
    beside(world, f"new-{number}.json", time=world.clock())
    return replace(AGAIN, version_id=f"m{number + 5}", sequencer=f"009{number}", time=world.clock())


def test_files_that_an_earlier_marker_took_are_known_though_the_ledger_forgot_them(
    world: World,
) -> None:
    """A job appends to one folder for ever, and writes its marker each time."""
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, 5)
    for number in range(2):
        marker = appended_later(world, number)
        assert take(marker, world.intake(0)) == Gathered(marker_id(marker), 1)
    assert told(world) == set()
    assert world.ledger.rejections == {}
    nothing = replace(AGAIN, version_id="m9", sequencer="0099", time=world.clock() + 2 * RETENTION)
    world.clock.advance(2 * RETENTION)
    assert take(nothing, world.intake(0)) == Skipped("nothing-new")
    assert world.ledger.noted[nothing.object_id, nothing.version] == "nothing-new"
    assert told(world) == set()


def test_files_from_before_the_stack_are_told_once(world: World) -> None:
    marker = appended_later(world, 0)
    assert take(marker, world.intake(0)) == Gathered(marker_id(marker), 1)
    assert len(told(world)) == 5
    world.events.clear()
    marker = appended_later(world, 1)
    assert take(marker, world.intake(0)) == Gathered(marker_id(marker), 1)
    assert told(world) == set()


def test_a_backfill_brings_a_marker_with_what_was_there_before_it(world: World) -> None:
    """What is newer than the marker may have come by an event, and nobody remembers."""
    old = START - 2 * RETENTION
    world.bucket |= {file.key: replace(file, time=old) for file in FILES}
    beside(world, "part-9.json", time=old + 1)
    brought = replace(MARKER, sequencer=None, time=old, brought_by="backfill-x", aged=True)
    assert take(brought, world.intake(0)) == Gathered(marker_id(brought), 5)
    assert len(told(world)) == 1
    with pytest.raises(TooOld, match="--metadata-directive REPLACE"):  # else S3 may refuse it
        take(replace(MARKER, version_id="m9", time=old), world.intake(0))


def test_a_longer_retention_does_not_bring_back_what_a_shorter_one_let_go(world: World) -> None:
    """Its claims are gone: whoever takes it would load it a second time."""
    short = 22 * DAY
    intake = replace(world.intake(0), remembered=lambda: world.clock() - short)
    world.bucket[FILES[0].key] = replace(FILES[0], time=START - short - 1)
    world.bucket[FILES[1].key] = replace(FILES[1], time=START - short + 1)
    assert take(MARKER, intake) == Gathered(marker_id(MARKER), len(FILES) - 1)
    assert len(told(world)) == 1
    with pytest.raises(TooOld):
        take(replace(MARKER, version_id="m9", time=START - short - 1), intake)


def test_of_old_files_whose_claims_are_remembered_nothing_is_said(world: World) -> None:
    take(MARKER, world.intake(0))
    world.ledger.marks.clear()  # as an earlier release left it
    claims = dict(world.ledger.claims)
    marker = appended_later(world, 0)
    world.ledger.claims |= claims
    assert take(marker, world.intake(0)) == Gathered(marker_id(marker), 1)
    assert told(world) == set()


def test_what_a_manifest_names_is_not_known_by_an_earlier_marker(world: World) -> None:
    """Each names files of its own; the others may never have been taken."""
    world.table = table(batch={"marker": "*manifest"})
    marker = replace(appended_later(world, 0), key="in/day/manifest", size=40)
    world.ledger.note_marker_time(digest("marked", "landing", "in/day/", "again"), marker.time)
    names = b'{"files": ["part-0.json", "new-0.json"]}'
    objects: Any = SimpleNamespace(folder=ListedBucket(world.bucket).folder, read=lambda *_: names)
    assert take(marker, replace(world.intake(0), objects=objects)) == Gathered(marker_id(marker), 1)
    assert told(world) == {replace(FILES[0], sequencer=None).external_id}


def test_a_marker_that_a_request_named_is_the_request_s(world: World) -> None:
    target = world.intake(0).targets.target(dataset_id=LOYALTY)
    asked = Order("asked", target, {}, (MARKER,), "request")
    world.ledger.open(Record.opened(asked, Lease("t", START + DAY), START))
    assert take(MARKER, world.intake(0)) == Known("asked")
    assert standing(world) is None
    assert world.ledger.noted == {}


def test_a_marker_with_nothing_new_is_noted(world: World) -> None:
    take(MARKER, world.intake(0))
    assert take(AGAIN, world.intake(0)) == Known(WINDOW)
    assert world.ledger.noted[AGAIN.object_id, AGAIN.version] == "nothing-new"
    assert world.ledger.windows.get(marker_id(AGAIN)) is None
    late = beside(world, "part-9.json")
    third = replace(AGAIN, version_id="m3", sequencer="0090")
    assert take(third, world.intake(0)) == Gathered(marker_id(third), 6)
    listed = world.ledger.windows.registered(marker_id(third))
    assert [file.key for file in listed] == [late.key]


def begun(world: World) -> None:
    """A worker began with the folder, and died after its first two files."""
    everything = dict(world.bucket)
    for file in FILES[2:]:
        del world.bucket[file.key]

    def die(*_: object) -> Any:
        raise LedgerUnavailable("did not answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.ledger.windows, "replace", die)
        with pytest.raises(LedgerUnavailable):
            take(MARKER, world.intake(0))
    world.bucket |= everything
    window = standing(world)
    assert window is not None
    assert window.stage is WindowStage.OPEN
    assert held(world) == {"part-0.json", "part-1.json"}
    with pytest.raises(NotYet) as busy:
        take(MARKER, world.intake(0))
    assert busy.value.retry_after == (TIMEOUT + SKEW) / 1000
    world.clock.advance(TIMEOUT + SKEW)


def test_whoever_comes_after_a_worker_died_goes_on(world: World) -> None:
    begun(world)
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert held(world) == ALL
    assert len(world.handed_out) == 1


@pytest.mark.parametrize(
    "written", [{"map": {"x": "a"}, "compiledMap": "0" * 64}, {}], ids=["mapped", "as they are"]
)
def test_files_that_are_converted_are_known_by_what_they_become(
    world: World, monkeypatch: pytest.MonkeyPatch, written: dict[str, Any]
) -> None:
    """Who goes on with a folder of CSV finds that its batch is of JSON, where rows are mapped."""
    monkeypatch.setattr(World, "delivers", True)
    world.table = table(**MARKED | written | {"match": "in/**/*.csv"})
    files = [replace(file, key=file.key.replace(".json", ".csv")) for file in FILES]
    world.bucket = {file.key: file for file in files[:2]}

    def die(*_: object) -> Any:
        raise LedgerUnavailable("did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger.windows, "replace", die)
        with pytest.raises(LedgerUnavailable):
            take(MARKER, world.intake(0))
    world.bucket |= {file.key: file for file in files}
    world.clock.advance(TIMEOUT + SKEW)
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert held(world) == {file.key.rpartition("/")[2] for file in files}


def test_what_is_overwritten_in_between_is_not_there_twice(world: World) -> None:
    begun(world)
    newer = beside(world, "part-0.json")
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert {part_of(world, WINDOW, file) for file in (newer, *FILES)} == {world.handed_out[0]}
    assert world.ledger.claimant(newer) == world.ledger.claimant(FILES[0]) == WINDOW


def pages(world: World, monkeypatch: pytest.MonkeyPatch, dies_at: str) -> list[str]:
    """Folders have pages of two files, and a worker dies at one of them; from where S3 lists."""
    for module in ("arrivals.gather", "grouping.filling", "grouping.windows"):
        monkeypatch.setattr(f"aep_intake.{module}.PAGE", 2)
    asked: list[str] = []
    folder, register = ListedBucket.folder, MemoryWindows.register

    def listed(self: ListedBucket, bucket: str, prefix: str, after: str = "") -> Iterator[Arrival]:
        asked.append(after)
        return folder(self, bucket, prefix, after)

    def registered(self: MemoryWindows, window: Window, files: Any, free: Any) -> None:
        if any(file.key.endswith(dies_at) for file in files):
            raise LedgerUnavailable("throttled")
        register(self, window, files, free)

    monkeypatch.setattr(ListedBucket, "folder", listed)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryWindows, "register", registered)
        with pytest.raises(LedgerUnavailable):
            take(MARKER, world.intake(0))
    return asked


def test_who_comes_after_goes_on_where_a_worker_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pages(world, monkeypatch, "part-4.json")
    window = standing(world)
    assert window is not None and window.reached.endswith("part-3.json")
    assert window.until is None, "it said so when it gave up"
    asked.clear()
    # What is deleted after it joined is in the batch all the same; what is new is seen.
    del world.bucket[FILES[0].key]
    late = beside(world, "part-9.json")
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert set(asked) == {FILES[3].key}, "listed from there"
    files = [*FILES, late]
    assert {part_of(world, WINDOW, file) for file in files} == {world.handed_out[0]}


def test_half_of_a_folder_that_has_another_format_is_found_by_who_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in (4, 5):
        beside(world, f"part-{n}.csv")
    pages(world, monkeypatch, "part-3.json")
    for file in FILES[2:]:
        del world.bucket[file.key]
    with pytest.raises(FormatUnknown):
        take(MARKER, world.intake(0))
    # With the format in the route, all are what that says.
    world.table = table(**MARKED, inputFormat={"format": "csv"})
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    [record] = [world.ledger.get(external_id) for external_id in world.handed_out]
    assert record is not None and record.order.options["inputFormat"] == {"format": "csv"}


def test_who_goes_on_may_find_another_option_in_the_route(world: World) -> None:
    """Which is no other format: the folder is not rejected half way, its window left open."""
    begun(world)
    world.table = table(**MARKED, enableErrorDiagnostics=False)
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert held(world) == ALL
    assert not world.parked


def test_a_large_folder_is_looked_through_before_anything_is_claimed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("arrivals.gather", "grouping.filling", "grouping.windows"):
        monkeypatch.setattr(f"aep_intake.{module}.PAGE", 2)
    world.table = REPLACED[0]
    world.limits = BatchLimits(files=4, bytes=1000)
    with pytest.raises(NotReplaceable):
        take(MARKER, world.intake(0))
    assert standing(world) is None
    world.limits = BatchLimits(files=5, bytes=1000)
    assert take(MARKER, world.intake(0)) == Gathered(WINDOW, 5)
    assert held(world) == ALL


def test_a_marker_is_handed_on_to_who_has_the_time(world: World) -> None:
    handed: list[str] = []
    intake = replace(world.intake(0), hand_on=handed.append)
    results = take_in({MARKER.external_id: MARKER}, intake, map)
    assert results == {MARKER.external_id: HandedOn()}
    assert (handed, standing(world)) == ([messages.of_arrival(MARKER)], None)
    assert parse(messages.of_arrival(MARKER)).arrivals == (MARKER,)
    unversioned = replace(MARKER, version_id=None, key="ä b/%+")
    assert parse(messages.of_arrival(unversioned)).arrivals == (unversioned,)
    # One that is no marker any more has its window sealed, there too.
    begun(world)
    world.table = TABLES[3]
    assert take_in({MARKER.external_id: MARKER}, intake, map) == {MARKER.external_id: Known(WINDOW)}
    assert handed == 2 * [messages.of_arrival(MARKER)]


def test_half_of_a_folder_is_no_batch(world: World) -> None:
    begun(world)
    beside(world, "part-5.csv")
    with pytest.raises(FormatUnknown):
        take(MARKER, world.intake(0))
    assert told(world) == {MARKER.external_id}
    window = standing(world)
    assert window is not None
    assert window.stage is WindowStage.OPEN
    world.bucket.pop("in/day/part-5.csv")
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert held(world) == ALL


def test_of_what_is_no_marker_any_more_that_counts_which_joined(world: World) -> None:
    begun(world)
    world.table = TABLES[3]  # which fits nothing here
    assert take(MARKER, world.intake(0)) == Known(WINDOW)
    assert held(world) == {"part-0.json", "part-1.json"}
    window = standing(world)
    assert window is not None
    assert window.stage is WindowStage.FINISHED
    [part] = world.handed_out
    assert go_on(DueKind.ORDERS, part, world.intake(0)) is not None
    assert world.events == [(part, world.simulator.batches()[0].id)]
    # A file of it is a duplicate, and any other is judged by the routes as they are.
    assert take(replace(FILES[0], sequencer="0050"), world.intake(0)) == Known(WINDOW)
    with pytest.raises(NoRoute):
        take(FILES[4], world.intake(0))


def test_a_file_that_a_window_holds_gets_no_batch_of_its_own(world: World) -> None:
    """Its event was late, and the route gives each file a batch by now."""
    take(MARKER, world.intake(0))
    world.table = table(inputFormat={"format": "json"})
    assert take(FILES[0], world.intake(0)) == Known(WINDOW)
    assert world.simulator.batches() == []


def test_a_worker_that_is_a_moment_late_comes_again(world: World) -> None:
    """Between two looks of it, another one began."""
    begun(world)
    intake = world.intake(0)
    real = intake.windows.ledger

    class Late:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def get(self, window_id: str) -> None:
            return None

    windows: Any = Late()
    late = replace(intake, windows=replace(intake.windows, ledger=windows))
    with pytest.raises(LeaseLost, match="another worker just started"):
        take(MARKER, late)
    assert held(world) == {"part-0.json", "part-1.json"}


def test_the_folder_is_what_is_replaced_whatever_its_marker_is_called(world: World) -> None:
    world.table = REPLACED[0]
    take(MARKER, world.intake(0))
    first = go_on(DueKind.ORDERS, world.handed_out.pop(), world.intake(0))
    assert first is not None
    assert first.record.batch_id is not None
    world.simulator.set_status(first.record.batch_id, "success")
    world.table = table(
        batch={"marker": "done"}, onNewVersion="replace", inputFormat={"format": "json"}
    )
    done = replace(AGAIN, key="in/day/done")
    assert take(done, world.intake(0)) == Gathered(marker_id(done), 5)
    second = go_on(DueKind.ORDERS, world.handed_out.pop(), world.intake(0))
    assert second is not None
    assert second.record.order.replaces is not None
    assert second.record.order.replaces.batch_id == first.record.batch_id


def test_a_marker_for_a_dataset_of_nobody_is_rejected(world: World) -> None:
    world.table = table(**MARKED, sandbox="forbidden")
    with pytest.raises(TargetNotAllowed):
        take(MARKER, world.intake(0))
    assert standing(world) is None
    assert world.ledger.claimant(FILES[0]) is None
    assert told(world) == {MARKER.external_id}


def test_files_that_are_turned_away_are_told_of_side_by_side(world: World) -> None:
    """One after another, some thousands would take longer than their marker's worker lives."""
    odd = {beside(world, f"{n}.txt") for n in range(2)}
    odd |= {beside(world, f"old-{n}.json", time=START - RETENTION - 1) for n in range(2)}
    together: list[set[str]] = []

    def side_by_side(work: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
        values, before = list(values), told(world)
        results = [work(value) for value in values]
        together.append(told(world) - before)
        return results

    take_in({MARKER.external_id: MARKER}, world.intake(0), side_by_side)
    assert set().union(*together) == {replace(file, sequencer=None).external_id for file in odd}
    assert [len(those) for those in together if those] == [2, 2]
