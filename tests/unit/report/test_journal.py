"""The journal: whatever comes twice, too late, or dies half-way, the counts are the same."""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from aep_intake.model.errors import NotYet, StorageUnavailable
from aep_intake.model.times import hour_of, iso, milliseconds
from aep_intake.report import journal
from aep_intake.report.counts import HourCounts, RouteCounts, Tally, together
from aep_intake.report.journal import Journal, folder, happened_at, line, read, written
from hypothesis import given
from hypothesis import strategies as st

NOON = milliseconds("2026-11-23T12:00:00Z")
HOUR = "2026-11-23T12"


def event(kind: str, external_id: str, **detail: Any) -> str:
    """As EventBridge sends it to a queue."""
    return json.dumps(
        {
            "version": "0",
            "id": f"{kind}-{external_id}",
            "detail-type": kind,
            "source": "aep.intake",
            "time": "2026-11-24T09:00:00Z",  # of a repeat, the next day
            "detail": {"externalId": external_id, **detail},
        }
    )


def created(external_id: str, at: int = NOON, **detail: Any) -> str:
    told = {"route": "crm", "attempt": 1, "fileCount": 2, "byteCount": 30, "createdAt": iso(at)}
    return event("Batch Created", external_id, **told | detail)


def ended(kind: str, external_id: str, at: int = NOON, **detail: Any) -> str:
    told = {"route": "crm", "lostFileCount": 0, "createdAt": iso(at - 9), "endedAt": iso(at)}
    return event(kind, external_id, **told | detail)


def rejected(external_id: str, at: int = NOON, reason: str = "no-route", files: int = 1) -> str:
    told = {"reason": reason, "fileCount": files, "rejectedAt": iso(at)}
    return event("Arrival Rejected", external_id, **told)


class Died(Exception):
    """A worker that is killed."""


@dataclass
class World:
    """S3 and the ledger as the journal sees them. `steps` are what happens before each call."""

    objects: dict[str, bytes] = field(default_factory=dict)
    counted: dict[str, HourCounts] = field(default_factory=dict)
    steps: Iterator[Callable[[], None]] = field(default_factory=lambda: iter(()))
    gets: int = 0

    def _step(self) -> None:
        next(self.steps, lambda: None)()

    def put_object(self, key: str, content: bytes) -> None:
        self._step()
        self.objects[key] = content
        self._step()

    def names(self, prefix: str) -> list[str]:
        self._step()
        found = [key for key in self.objects if key.startswith(prefix)]
        self._step()
        return found

    def get(self, key: str) -> bytes:
        self._step()
        self.gets += 1
        return self.objects[key]

    def put_counts(self, counts: HourCounts) -> None:
        """As DynamoCounts, which tests/stack compares."""
        self._step()
        before = self.counted.get(counts.hour)
        if before is None or before.objects < counts.objects:
            self.counted[counts.hour] = counts
        self._step()

    def worker(self) -> Journal:
        @dataclass
        class Objects:
            put: Callable[[str, bytes], None] = self.put_object
            names: Callable[[str], list[str]] = self.names
            get: Callable[[str], bytes] = self.get

        @dataclass
        class Counts:
            put: Callable[[HourCounts], None] = self.put_counts

        return Journal(Objects(), Counts(), lambda work, values: list(map(work, values)))


def keep(worker: Journal, *bodies: str) -> None:
    lines = {str(number): line(body) for number, body in enumerate(bodies)}
    assert worker.keep(lines, lambda: True) == {}


# -- Counts ---------------------------------------------------------------------------------------


def test_what_an_hour_counts() -> None:
    world = World()
    keep(
        world.worker(),
        created("a"),
        created("a.2", attempt=2),
        created("half", splitOf="a"),
        created("web", route="web", supersededFileCount=3),
        ended("Batch Succeeded", "a.2", ingestedRecordCount=7, sentRecordCount=9, lostFileCount=1),
        ended("Batch Succeeded", "web", sentRecordCount=5, route="web"),
        ended("Batch Failed", "a", ingestedRecordCount=4),
        ended("Batch Abandoned", "half"),
        ended("Batch Replaced", "old"),
        rejected("r1"),
        rejected("r2", files=3),
        rejected("r3", reason="malformed-event", files=0),
        event("Route Overdue", "overdue", route="crm", overdueAt=iso(NOON)),
    )
    [counts] = world.counted.values()
    assert counts == HourCounts(
        HOUR,
        1,
        {
            "crm": RouteCounts(
                files=2, bytes=30, rows=7, batches=3, loaded=1, failed=1, abandoned=1, replaced=1,
                lost=1,
            ),
            "web": RouteCounts(files=2, bytes=30, rows=5, batches=1, loaded=1, superseded=3),
            "-": RouteCounts(rejected={"malformed-event": 1, "no-route": 4}),
        },
    )  # fmt: skip


def test_each_file_that_an_order_has_lost_counts_and_its_repeats_do_not() -> None:
    """They have the external id of their order."""
    world = World()
    lost = [
        event(
            "Arrival Rejected",
            "a",
            reason="object-gone",
            datasetId="d",
            files=[{"key": key}],
            fileCount=1,
            rejectedAt=iso(NOON),
        )
        for key in "xyz"
    ]
    batch = ended("Batch Succeeded", "a", lostFileCount=3)
    keep(world.worker(), batch, *lost)
    keep(world.worker(), *lost[1:], batch)
    [counts] = world.counted.values()
    told = together([counts])
    assert (told["crm"].lost, told["-"].rejected) == (3, {"object-gone": 3})


def test_hours_together() -> None:
    one = HourCounts("2026-11-23T01", 1, {"a": RouteCounts(files=1, rejected={"x": 1})})
    two = HourCounts("2026-11-23T02", 9, {"a": RouteCounts(files=2, rejected={"x": 1, "y": 2})})
    assert together([one, two]) == {"a": RouteCounts(files=3, rejected={"x": 2, "y": 2})}


def test_counts_survive_their_members() -> None:
    counts = RouteCounts(files=1, bytes=2, rejected={"no-route": 3})
    assert counts.members() == {"files": 1, "bytes": 2, "rejected.no-route": 3}
    assert RouteCounts.of(counts.members()) == counts
    assert RouteCounts.of({"files": 1, "of-a-later-release": 2}) == RouteCounts(files=1)


# -- Lines ----------------------------------------------------------------------------------------


def test_a_line_is_the_event_and_says_when_it_happened() -> None:
    made = line(ended("Batch Failed", "a", NOON + 1500))
    assert made.time == NOON + 1500
    assert json.loads(made.text) == made.event
    assert list(made.event) == ["detail-type", "id", "time", "detail"]


def test_an_event_that_says_no_time_happened_when_it_was_sent() -> None:
    made = line(event("Route Overdue", "a", expectedAt="06:00"))
    assert hour_of(made.time) == "2026-11-24T09"


@pytest.mark.parametrize("body", ["", "[]", "{", '"a"', '{"detail": {}}', '{"detail-type": 1}'])
def test_what_is_no_event_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r"not an event|Expecting"):
        line(body)


@given(st.text(), st.booleans())
def test_every_text_is_kept_as_it_is(text: str, escaped: bool) -> None:
    body = json.dumps(json.loads(created("a", key=text)), ensure_ascii=escaped)
    _, content = written([line(body)])
    [(_, found)] = read(content)
    assert found["detail"]["key"] == text
    assert gzip.decompress(content).count(b"\n") == 1


def test_the_same_events_make_the_same_object() -> None:
    lines = [line(created("a")), line(created("b"))]
    assert written(lines) == written(reversed(lines))
    assert written(lines[:1])[0] != written(lines)[0]
    assert folder(HOUR) == "journal/v1/day=2026-11-23/hour=12/"


# -- Whatever happens -----------------------------------------------------------------------------

bodies = st.lists(
    st.builds(
        lambda make, name, minute: make(str(name), NOON + minute * 60_000),
        st.sampled_from(
            [
                created,
                rejected,
                lambda name, at: rejected(name, at, "empty-object"),
                lambda name, at: ended("Batch Succeeded", name, at, sentRecordCount=3),
            ]
        ),
        st.integers(0, 3),
        st.integers(-61, 61),
    ),
    min_size=1,
    max_size=8,
)


def expected(bodies: list[str]) -> dict[str, dict[str, RouteCounts]]:
    """Of each hour, from what came: each once by detail-type and external id, the earliest."""
    by_hour: dict[str, dict[tuple[str, str], Any]] = defaultdict(dict)
    for sent in map(json.loads, bodies):
        who = sent["detail-type"], sent["detail"]["externalId"]
        happened = by_hour[hour_of(happened_at(sent))]
        rank = happened_at(sent), sent["detail"].get("reason", "")
        if who not in happened or rank < happened[who][0]:
            happened[who] = rank, sent
    made = {}
    for hour, happened in by_hour.items():
        tally = Tally()
        tally.add("all", ((rank[0], sent) for rank, sent in happened.values()))
        made[hour] = dict(tally.counts(hour).routes)
    return made


@given(st.data())
def test_redelivery_crashes_and_the_order_of_workers_change_nothing(data: st.DataObject) -> None:
    """At any step of a worker another one may work, or it may die and its messages come again."""
    world, all_of_them = World(), data.draw(bodies)
    batches = data.draw(
        st.lists(st.lists(st.sampled_from(all_of_them), min_size=1), min_size=1, max_size=4)
    )
    batches.append(all_of_them)  # so that each came
    workers = [world.worker(), world.worker()]

    def die() -> None:
        raise Died

    def refuse() -> None:
        raise StorageUnavailable("503")

    def well(worker: Journal, bodies: list[str]) -> None:
        before, world.steps = world.steps, iter(())
        keep(worker, *bodies)
        world.steps = before

    def come(batch: list[str], depth: int) -> None:
        what = data.draw(st.sampled_from(["well", "dies", "disturbed", "refused"]))
        at = data.draw(st.integers(0, 9))
        steps: dict[int, Callable[[], None]] = {}
        if what == "dies":
            steps[at] = die
        if what == "refused":
            steps[at] = refuse
        if what == "disturbed" and depth < 2:
            other = data.draw(st.lists(st.sampled_from(all_of_them), min_size=1))
            steps[at] = lambda: come(other, depth + 1)
        outer = world.steps
        world.steps = (steps.get(number, lambda: None) for number in count())
        number = data.draw(st.integers(0, 1))
        lines = {str(n): line(body) for n, body in enumerate(batch)}
        again: list[str] = batch
        try:
            failed = workers[number].keep(lines, lambda: True)
            again = [batch[int(name)] for name in failed]
        except Died:
            workers[number] = world.worker()
        world.steps = outer
        if again:  # they come again later, in other batches
            well(workers[1 - number], again[:1])
            well(workers[number], again)

    for batch in batches:
        come(batch, 0)
    assert {hour: dict(told.routes) for hour, told in world.counted.items()} == expected(
        all_of_them
    )


# -- What it reads --------------------------------------------------------------------------------


def test_a_worker_reads_each_object_once_and_its_own_never() -> None:
    world = World()
    one, two = world.worker(), world.worker()
    for number in range(20):
        keep(one if number % 2 else two, created(str(number)))
    assert len(world.objects) == 20
    assert world.gets == 10 + 9  # what the other one wrote before
    assert world.counted[HOUR].routes["crm"].batches == 20


def test_an_hour_that_was_forgotten_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "EVENTS_MAX", 3)
    world = World()
    worker = world.worker()
    keep(worker, created("a"), created("b"))
    keep(worker, created("c", NOON + 3_600_000), created("d", NOON + 3_600_000))
    keep(worker, created("e"))
    assert world.gets == 1
    assert world.counted[HOUR].routes["crm"].batches == 3


def test_more_events_than_a_worker_can_remember_are_kept_and_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its memory is bounded, and it does not read them again and again."""
    monkeypatch.setattr(journal, "EVENTS_MAX", 4)
    world = World()
    for number in range(6):
        keep(world.worker(), created(str(number)))
    assert len(world.objects) == 6
    assert world.counted[HOUR].routes["crm"].batches >= 4


def test_of_more_hours_than_there_is_time_for_some_are_done() -> None:
    world = World()
    lines = {str(n): line(created(str(n), NOON + n * 3_600_000)) for n in range(3)}
    times = iter([True, False, False])
    failed = world.worker().keep(lines, lambda: next(times))
    assert set(failed) == {"1", "2"}
    assert {type(why) for why in failed.values()} == {NotYet}
    assert len(world.objects) == 1


def test_what_was_read_of_a_large_hour_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "AT_ONCE", 1)
    world = World()
    for number in range(9):
        keep(world.worker(), created(str(number)))
    world.gets = 0
    late, times = world.worker(), iter([True] * 5 + [False])
    message = {"late": line(created("late"))}
    assert set(late.keep(message, lambda: next(times))) == {"late"}
    assert (world.gets, world.counted[HOUR].objects) == (4, 9)
    assert late.keep(message, lambda: True) == {}
    assert (world.gets, world.counted[HOUR].objects) == (9, 10)
