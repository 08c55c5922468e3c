"""Where a file is, told from a ledger into which the intake's own steps have written."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import IO, Any

import pytest
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Verdict
from aep_intake.grouping.filling import fill
from aep_intake.grouping.windows import BatchLimits, WindowPorts, close_now, register
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import NoRoute, PlatformUnavailable
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Lineage, Replaced, WindowPart
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import PutOff, Record, Rejection, State
from aep_intake.model.windows import Window
from aep_intake.report import status, today
from aep_intake.report.reasons import REASONS
from aep_intake.report.status import JsonObject, StatusPorts
from hypothesis import given
from hypothesis import strategies as st

from tests import builders, pages
from tests.builders import lease, order
from tests.memory_ledger import MemoryLedger

NOW = 1_795_000_000_000
AT = "2026-11-18T11:06:40.000Z"
MINUTE = 60_000
KEY = "in/a b+c%20ä.json"
FILE = Arrival("landing", KEY, "v1", "e", "0061", 10, NOW)
PLAIN = Arrival("landing", KEY, None, "e:1", "0061", 10, NOW)  # of an unversioned bucket
ROUTED = {
    "route": "r",
    "routesVersion": "7",
    "trigger": "arrival",
    "imsOrg": "O@AdobeOrg",
    "sandbox": "prod",
    "datasetId": "d",
    "inputFormat": {"format": "json"},
}
NO_ROUTE = Rejection.of(NoRoute("no route fits"), NOW)
REJECTED = {"reason": "no-route", "detail": "no route fits", "rejectedAt": AT}
MAKING = {
    "state": "loading",
    "why": "its batch is being made",
    "since": AT,
    "until": "2026-11-18T11:07:10.000Z",
}
SUPERSEDED = {
    "state": "superseded",
    "why": "the newer version v2 takes its place",
    "since": AT,
    "supersededBy": {"versionId": "v2"},
}
FILLED_BY_OTHERS = {
    "state": "loading",
    "why": "its batch is made, and announced to those who fill it",
    "since": AT,
}
# With two files to a batch, as windows are closed here.
LIMITS = BatchLimits(files=2)
count = itertools.count()


class World:
    """A ledger, and the ports that tell of it; `asked` are the batches AEP was asked for."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.asked: list[str | None] = []
        self.aep = "loading"  # the status of every batch
        self.deliveries: dict[str, Delivery] = {}
        self.ports = StatusPorts(
            self.ledger,
            self.ledger.windows,
            self.deliveries,
            self._ask,
            map,
            self.ledger.pauses.standing,
        )
        self.windows = WindowPorts(
            self.ledger.windows, self.ledger, lambda _: None, lambda: NOW, LIMITS, self._opened
        )

    def _opened(self, file: Arrival, start: int, end: int) -> IO[bytes]:
        raise AssertionError(f"{file.uri} is small: nobody need know what is in it")

    def _ask(self, records: Sequence[Record]) -> Iterable[JsonObject]:
        self.asked += [record.batch_id for record in records]
        return [{"aep": {"status": self.aep} if record.batch_id else None} for record in records]

    def opened(self, *files: Arrival, **changes: Any) -> Record:
        return self.ledger.open(Record.opened(order(*files, **changes), lease(NOW + 30_000), NOW))

    def announced(self, record: Record) -> Record:
        """The batch is called as the order."""
        batch_id = f"batch-of-{record.order.external_id}"
        record = self.ledger.replace(record, record.created(builders.batch(NOW, batch_id)))
        return self.ledger.replace(record, record.announced())

    def record(self, external_id: str) -> Record:
        record = self.ledger.get(external_id)
        assert record is not None
        return record

    def joined(self, *files: Arrival) -> Window:
        """The window that they joined."""
        joined, _ = register(Window.at(order(), MINUTE, NOW), files, self.windows)
        return joined[files[0].external_id]

    def gathered(self, marker: Arrival, *files: Arrival, **changes: Any) -> Window:
        window = Window.of(marker, order(**changes), NOW)
        fill(window, marker, files, self.windows)
        found = self.ledger.windows.get(window.window_id)
        assert found is not None
        return found

    def told(self, key: str = KEY) -> list[JsonObject]:
        """What is said of each version."""
        found = status.of_object("landing", key, self.ports)
        assert found is not None
        assert found["uri"] == f"s3://landing/{key}"
        assert found["versionCount"] == len(found["versions"])
        versions: list[JsonObject] = found["versions"]
        return versions


@pytest.fixture
def world() -> World:
    return World()


def others(number: int, prefix: str = "in/z") -> list[Arrival]:
    return [replace(FILE, key=f"{prefix}{n}.json") for n in range(number)]


def test_nothing_is_told_of_what_nobody_saw(world: World) -> None:
    world.opened(FILE)
    assert status.of_object("landing", f"{KEY}x", world.ports) is None
    assert status.of_object("landing2", KEY, world.ports) is None
    assert world.asked == []


def test_what_cannot_be_taken_in_yet_is_tried_again_until_the_ledger_knows_more(
    world: World,
) -> None:
    """Else nobody could tell it from a file of which no event came."""
    world.ledger.note_retrying(FILE, "S3 answered 403", NOW + MINUTE)
    until = {"why": "S3 answered 403", "since": AT, "until": "2026-11-18T11:07:40.000Z"}
    assert world.told() == [{"versionId": "v1", "state": "retrying", **until}]
    world.ledger.note_waiting(FILE, "r", "the marker _SUCCESS", NOW)
    assert world.told()[0]["state"] == "waiting"
    world.ledger.reject(FILE, NO_ROUTE)
    assert world.told()[0]["state"] == "rejected"
    world.opened(FILE)
    assert world.told()[0]["state"] == "loading"


class TestAnOrder:
    def test_that_is_open(self, world: World) -> None:
        world.opened(FILE)
        assert world.told() == [
            {
                "versionId": "v1",
                **MAKING,
                "externalId": FILE.external_id,
                "attempt": 1,
                **ROUTED,
                "openedAt": AT,
                "due": "2026-11-18T11:07:10.000Z",
                "aep": None,
            }
        ]

    def test_that_a_pause_keeps_back(self, world: World) -> None:
        paused = Record.waiting(order(FILE), NOW).paused_by("route#r", NOW)
        world.ledger.open(paused)
        pause = Pause("route#r", NOW, "arn:me", "why")
        world.ledger.pauses.put(pause)
        renewed = world.ledger.replace(paused, paused.paused_by("route#r", NOW + MINUTE))
        assert renewed.due != NOW
        [told] = world.told()
        assert (told["state"], told["since"]) == ("paused", AT)
        assert told["why"] == f"route r is paused since {AT}, by arn:me: why"
        assert {"due", "until"} & told.keys() == set()
        world.ledger.pauses.put(replace(pause, resumed_at=NOW))
        [told] = world.told()
        assert (told["state"], told["due"]) == ("loading", "2026-11-18T11:07:40.000Z")

    def test_that_is_announced(self, world: World) -> None:
        record = world.announced(world.opened(FILE))
        assert world.told() == [
            {
                "versionId": "v1",
                **FILLED_BY_OTHERS,
                "externalId": FILE.external_id,
                "attempt": 1,
                "batchId": record.batch_id,
                **ROUTED,
                "openedAt": AT,
                "createdAt": AT,
                "aep": {"status": "loading"},
            }
        ]

    @pytest.mark.parametrize(
        ("end", "why", "reason"),
        [
            (End.ABANDONED, None, "batch-abandoned"),
            (End.ABANDONED, "bad-rows", "bad-rows"),
            (End.FAILED, None, "batch-failed"),
            (End.SUCCEEDED, None, None),
        ],
    )
    def test_that_ended_without_data_has_the_reason_under_which_it_is_parked(
        self, world: World, end: End, why: str | None, reason: str | None
    ) -> None:
        """Else neither an answer nor the page can say what to do."""
        record = world.announced(world.opened(FILE))
        begun = Delivery.of(record, (FILE,), 10, NOW)
        verdict = Verdict(end, "x", "row 2 is broken", NOW, reason=why)
        world.deliveries[FILE.external_id] = replace(
            begun, stage=DeliveryStage.ENDED, verdict=verdict, due=None
        )
        assert world.told()[0].get("reason") == reason
        page = replace(pages.ports(), status=world.ports)
        [version] = today.file(FILE.bucket, FILE.key, page).versions
        assert version.todo == (None if reason is None else REASONS[reason].todo)

    def test_that_others_fill_ends_as_aep_says(self, world: World) -> None:
        world.announced(world.opened(FILE))
        world.aep = "success"
        [told] = world.told()
        assert (told["state"], told["why"]) == ("loaded", "AEP says that its batch is success")

    def test_that_is_put_off_says_why(self, world: World) -> None:
        record = world.opened(FILE)
        why = PutOff("platform-unavailable", "AEP answered 503", NOW)
        world.ledger.replace(record, record.given_back(NOW + MINUTE, why=why))
        [told] = world.told()
        assert told["state"] == "retrying"
        assert told["reason"] == "platform-unavailable"
        assert (told["why"], told["since"]) == ("AEP answered 503", AT)
        assert told["until"] == "2026-11-18T11:07:40.000Z"

    def test_that_lost_a_file_says_so_of_the_file(self, world: World) -> None:
        other = replace(FILE, key="in/other.json")
        record = world.announced(world.opened(other, FILE))
        world.ledger.let_go(record.order, {FILE: Rejection("object-gone", "it is gone", NOW)})
        [told] = world.told()
        assert (told["state"], told["why"]) == ("lost", "it is gone")
        batch = {"batchId": record.batch_id, "externalId": record.order.external_id}
        assert told.items() >= (ROUTED | batch | {"reason": "object-gone"}).items()

    def test_that_needs_a_person(self, world: World) -> None:
        record = world.opened(FILE)
        why = Rejection("needs-attention", "see what it holds", NOW)
        world.ledger.replace(record, record.rejected(State.HELD, why))
        [told] = world.told()
        assert told["state"] == "held"
        assert told.items() >= {"reason": "needs-attention", "rejectedAt": AT}.items()

    def test_is_told_as_it_was_tried_last(self, world: World) -> None:
        record = world.opened(FILE)
        following = world.ledger.open_next_attempt(*record.followed(lease(NOW + 30_000), NOW))
        [told] = world.told()
        assert (told["externalId"], told["attempt"]) == (f"{FILE.external_id}.2", 2)
        world.announced(following)
        assert world.told()[0]["batchId"] == f"batch-of-{FILE.external_id}.2"

    def test_of_an_order_that_was_split_is_that_of_its_half(self, world: World) -> None:
        other = replace(FILE, key="in/other.json")
        record = world.announced(world.opened(other, FILE, split_batches=12))
        halves = record.order.halves()
        assert halves is not None
        ended, first, second = record.split(*halves, now=NOW)
        assert world.ledger.split(ended, first, second)
        world.announced(second)
        [told] = world.told()
        assert (told["externalId"], told["splitOf"]) == (halves[1].external_id, other.external_id)
        assert told["batchId"] == f"batch-of-{halves[1].external_id}"
        whole = status.of_batch(other.external_id, world.ports)
        assert whole is not None
        assert whole["splitInto"] == [half.external_id for half in halves]
        assert whole["fileCount"] == 2

    def test_of_a_request(self, world: World) -> None:
        named = replace(FILE, sequencer=None)
        world.opened(named, external_id="mine", trigger="request", route=None)
        [told] = world.told()
        assert (told["externalId"], told["trigger"]) == ("mine", "request")
        assert "route" not in told

    def test_that_replaces_another(self, world: World) -> None:
        lineage = Lineage("subject", "0061")
        v1 = world.announced(world.opened(FILE, lineage=lineage))
        v2, v3 = (replace(FILE, version_id=f"v{n}", sequencer=f"006{n}") for n in (2, 3))
        lineage = replace(lineage, predecessor=FILE.external_id)
        second = world.opened(v2, lineage=lineage)
        world.ledger.replace(v1, v1.replaced(v2.external_id))
        second = world.announced(second)
        third = world.opened(v3, lineage=replace(lineage, predecessor=v2.external_id))
        world.ledger.replace(second, second.replaced(v3.external_id))
        standing = {"externalId": v3.external_id, "state": "loading"}
        assert {told["versionId"]: told.get("replacedBy") for told in world.told()} == {
            "v1": standing,
            "v2": standing,
            "v3": None,
        }
        following = world.ledger.open_next_attempt(*third.followed(lease(NOW + 30_000), NOW))
        world.announced(following)
        assert world.told()[2]["replacedBy"] == {
            "externalId": f"{v3.external_id}.2",
            "state": "loading",
            "batchId": f"batch-of-{v3.external_id}.2",
        }

    def test_that_is_a_copy_of_one_that_is_claimed(self, world: World) -> None:
        window = world.joined(FILE)
        copy = replace(FILE, version_id="v2", sequencer="0062", copied=True)
        [held] = world.ledger.counted_versions(FILE.object_id)
        assert world.ledger.claim_copy(copy, held)
        told, original = world.told()
        assert (told["versionId"], told["state"]) == ("v2", "same-bytes")
        assert told["sameAs"] == {"versionId": "v1"}
        assert told["window"]["id"] == window.window_id
        assert original["state"] == "gathering"
        assert told["why"] == "its bytes are those of version v1, which is gathering"
        assert "until" not in told

    def test_that_the_ledger_forgot_is_not_told(self, world: World) -> None:
        world.opened(FILE)
        world.opened(replace(FILE, version_id="v2"))
        del world.ledger.records[FILE.external_id]
        assert [told["versionId"] for told in world.told()] == ["v2"]
        world.ledger.records.clear()
        assert status.of_object("landing", KEY, world.ports) is None


class TestAWindow:
    def test_that_is_open_says_when_it_closes(self, world: World) -> None:
        window = world.joined(FILE)
        assert world.told() == [
            {
                "versionId": "v1",
                "state": "gathering",
                "why": "its window is open",
                "since": AT,
                "until": "2026-11-18T11:07:00.000Z",
                **ROUTED,
                "window": {
                    "id": window.window_id,
                    "stage": "open",
                    "closesAt": "2026-11-18T11:07:00.000Z",
                },
            }
        ]
        assert world.asked == []

    def test_that_is_sealed(self, world: World) -> None:
        window = world.joined(FILE)
        window = world.ledger.windows.replace(window, window.sealed(NOW))
        [told] = world.told()
        assert (told["state"], told["window"]["stage"]) == ("loading", "sealed")
        part = WindowPart(window.window_id, 0, 1, 10)
        window = world.ledger.windows.replace(window, window.planned((part,)))
        [told] = world.told()
        assert (told["state"], told["window"]["stage"]) == ("loading", "planned")
        world.ledger.open(Record.waiting(window.part(part, 0), NOW))
        [told] = world.told()
        assert (told["why"], told["window"]["stage"]) == ("its batch is being made", "planned")

    def test_that_is_finished_leads_to_the_files_part(self, world: World) -> None:
        before, after = others(3, "in/A"), others(3)
        window = world.joined(FILE, *before, *after)
        close_now(window.window_id, world.windows)
        # In order: A0 A1 | A2 ours | z0 z1 | z2
        ours = world.announced(world.record(window.part_id(1)))
        [told] = world.told()
        assert told == {
            "versionId": "v1",
            **FILLED_BY_OTHERS,
            "externalId": ours.order.external_id,
            "attempt": 1,
            "batchId": ours.batch_id,
            **ROUTED,
            "openedAt": AT,
            "createdAt": AT,
            "aep": {"status": "loading"},
            "window": {
                "id": window.window_id,
                "stage": "finished",
                "closesAt": "2026-11-18T11:07:00.000Z",
            },
        }
        for n, key in enumerate([before[0].key, before[1].key, before[2].key, KEY, after[2].key]):
            assert world.told(key)[0]["externalId"] == window.part_id((0, 0, 1, 1, 3)[n])

    def test_whose_part_was_refused(self, world: World) -> None:
        window = world.joined(FILE)
        close_now(window.window_id, world.windows)
        record = world.record(window.part_id(0))
        why = Rejection("batch-refused", "no such dataset", NOW, status=400)
        record = world.ledger.replace(record, record.rejected(State.REFUSED, why))
        world.ledger.release(record, record.announced())
        [told] = world.told()
        assert (told["state"], told["reason"]) == ("rejected", "batch-refused")
        assert (told["why"], told["since"]) == ("no such dataset", AT)

    def test_with_two_versions_of_an_object(self, world: World) -> None:
        v2 = replace(FILE, version_id="v2", sequencer="0062")
        window = world.joined(FILE, v2, *others(2, "in/A")[:1])
        close_now(window.window_id, world.windows)
        # The newest is in the batch, and stands for the other, whatever becomes of it.
        record = world.record(window.part_id(0))
        why = Rejection("batch-refused", "no such dataset", NOW, status=400)
        record = world.ledger.replace(record, record.rejected(State.REFUSED, why))
        world.ledger.release(record, record.announced())
        found = {told["versionId"]: told for told in world.told()}
        assert found["v1"] == {
            "versionId": "v1",
            **SUPERSEDED,
            **ROUTED,
            "window": {
                "id": window.window_id,
                "stage": "finished",
                "closesAt": "2026-11-18T11:07:00.000Z",
            },
        }
        assert found["v2"]["state"] == "rejected"

    def test_that_was_overwritten_before_its_marker_came(self, world: World) -> None:
        v2 = replace(FILE, version_id="v2", sequencer="0062")
        world.ledger.note(v2, "waiting", "r")
        world.ledger.note(FILE, "waiting", "r")
        world.ledger.note_superseded(FILE, v2.version, "r")
        first, second = world.told()
        assert first == {
            "versionId": "v1",
            **SUPERSEDED,
            "route": "r",
        }
        assert second["state"] == "waiting"
        world.ledger.note(FILE, "not-the-newest", "r")
        assert [told["state"] for told in world.told()] == ["left-out", "waiting"]

    def test_that_the_ledger_forgot_is_not_told(self, world: World) -> None:
        window = world.joined(FILE)
        close_now(window.window_id, world.windows)
        del world.ledger.records[window.part_id(0)]
        assert status.of_object("landing", KEY, world.ports) is None
        world.ledger.windows.kept.clear()
        assert status.of_object("landing", KEY, world.ports) is None


MARKER = replace(FILE, key="in/_SUCCESS", version_id="m1", size=0)


class TestAMarker:
    def test_what_waits_for_it(self, world: World) -> None:
        world.ledger.note_waiting(FILE, "r", "the marker _SUCCESS", NOW + MINUTE)
        assert world.told() == [
            {
                "versionId": "v1",
                "state": "waiting",
                "why": "route `r` lets it wait for the marker _SUCCESS",
                "since": AT,
                "until": "2026-11-18T11:07:40.000Z",
                "route": "r",
            }
        ]

    def test_takes_its_folder_along(self, world: World) -> None:
        world.ledger.note(FILE, "waiting", "r")
        window = world.gathered(MARKER, FILE)
        world.announced(world.record(window.part_id(0)))
        for key in (KEY, MARKER.key):
            [told] = world.told(key)
            assert told["state"] == "loading"
            assert told["externalId"] == window.part_id(0)
            assert told["window"] == {"id": window.window_id, "stage": "finished"}

    def test_stands_for_all_batches_of_its_folder(self, world: World) -> None:
        window = world.gathered(MARKER, FILE, *others(4))
        parts = [window.part_id(number) for number in range(3)]
        assert world.told(MARKER.key) == [
            {
                "versionId": "m1",
                **MAKING,
                "until": AT,
                **ROUTED,
                "window": {"id": window.window_id, "stage": "finished"},
                "orders": parts,
            }
        ]
        assert world.told()[0]["externalId"] == parts[0]
        # Of several batches, one that AEP refused counts more than others that are loaded.
        for part in parts:
            world.announced(world.record(part))
        record = world.record(parts[1])
        why = Rejection("needs-attention", "see what it holds", NOW)
        world.ledger.records[parts[1]] = replace(record, state=State.HELD, rejection=why)
        assert world.told(MARKER.key)[0]["state"] == "loading"
        assert world.asked == [None]  # AEP is not asked about a hundred batches

    def test_that_comes_again_takes_the_place_of_the_one_before(self, world: World) -> None:
        lineage = Lineage("folder", "0061")
        first = world.gathered(MARKER, FILE, lineage=lineage)
        record = world.announced(world.record(first.part_id(0)))
        again = replace(MARKER, version_id="m2", sequencer="0062")
        lineage = Lineage("folder", "0062", predecessor=first.part_id(0))
        second = world.gathered(again, FILE, *others(1), lineage=lineage)
        world.ledger.replace(record, record.replaced(second.part_id(0)))
        world.announced(world.record(second.part_id(0)))
        [told] = world.told()
        assert told["externalId"] == first.part_id(0)  # the first to claim it
        assert told["replacedBy"] == {
            "externalId": second.part_id(0),
            "state": "loading",
            "batchId": f"batch-of-{second.part_id(0)}",
        }
        assert [told["versionId"] for told in world.told(MARKER.key)] == ["m2", "m1"]
        assert [told["externalId"] for told in world.told("in/z0.json")] == [second.part_id(0)]

    @pytest.mark.parametrize("what", ["not-the-newest", "not-the-first", "nothing-new"])
    def test_that_changes_nothing(self, world: World, what: str) -> None:
        world.ledger.note(MARKER, what, "r")
        [told] = world.told(MARKER.key)
        assert (told["versionId"], told["state"], told["route"]) == ("m1", "left-out", "r")


class TestARejection:
    def test_says_why(self, world: World) -> None:
        world.ledger.reject(FILE, NO_ROUTE)
        assert world.told() == [
            {
                "versionId": "v1",
                "state": "rejected",
                "why": "no route fits",
                "since": AT,
                "externalId": FILE.external_id,
                **REJECTED,
            }
        ]

    def test_by_a_route_names_it(self, world: World) -> None:
        why = Rejection("too-few-rows", "it has 0 rows", NOW, route="crm")
        world.ledger.reject(FILE, why)
        [told] = world.told()
        assert (told["state"], told["route"]) == ("rejected", "crm")

    def test_is_over_once_an_order_is_there(self, world: World) -> None:
        world.ledger.reject(FILE, NO_ROUTE)
        world.opened(FILE)
        world.ledger.reject(FILE, NO_ROUTE)  # a late copy, by another worker
        [told] = world.told()
        assert told["state"] == "loading"
        assert "reason" not in told

    def test_and_a_note_count_as_they_came(self, world: World) -> None:
        world.ledger.note(FILE, "waiting", "r")
        world.ledger.reject(FILE, NO_ROUTE)
        assert [told["state"] for told in world.told()] == ["rejected"]
        world.ledger.note(FILE, "waiting", "r")  # sent again, with other routes
        assert [told["state"] for told in world.told()] == ["waiting"]


class TestWithoutVersions:
    def test_an_upload_is_one_entry(self, world: World) -> None:
        world.opened(PLAIN)  # leaves a claim, and a trace of the content
        [told] = world.told()
        assert (told["etag"], told["sequencer"]) == ("e:1", "0061")
        assert "versionId" not in told

    def test_the_same_bytes_again_are_another(self, world: World) -> None:
        for sequencer in ("0061", "0062"):
            world.opened(replace(PLAIN, sequencer=sequencer))
        assert [told["sequencer"] for told in world.told()] == ["0062", "0061"]

    def test_an_event_is_the_requests_that_named_its_content(self, world: World) -> None:
        world.ledger.reject(PLAIN, NO_ROUTE)
        world.ledger.note(replace(PLAIN, sequencer="0062"), "waiting", "r")
        world.ledger.reject(replace(PLAIN, etag="other"), NO_ROUTE)
        world.opened(replace(PLAIN, sequencer=None), external_id="mine", trigger="request")
        first, second = world.told()
        assert (first["etag"], first["externalId"]) == ("e:1", "mine")
        assert "sequencer" not in first
        assert (second["etag"], second["state"]) == ("other", "rejected")

    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
    def test_an_etag_is_told_as_it_is(self, etag: str) -> None:
        world, file = World(), replace(PLAIN, etag=etag)
        world.ledger.reject(file, NO_ROUTE)
        [told] = world.told()
        assert (told["etag"], told["sequencer"]) == (etag, "0061")
        assert told["externalId"] == file.external_id

    def test_two_parts_of_a_window(self, world: World) -> None:
        window = world.joined(PLAIN, *others(2, "in/A"))
        close_now(window.window_id, world.windows)
        assert world.told()[0]["externalId"] == window.part_id(1)


def test_at_most_fifty_versions_the_newest_first(world: World) -> None:
    files = [replace(FILE, version_id=f"v{n}") for n in range(60)]
    for file in files:
        world.opened(file)
    found = status.of_object("landing", KEY, world.ports)
    assert found is not None
    assert [told["versionId"] for told in found["versions"]] == [f"v{n}" for n in range(59, 9, -1)]
    assert found["versionCount"] == 60


def test_a_batch_of_many_versions_is_asked_for_once(world: World) -> None:
    window = world.joined(*(replace(FILE, version_id=f"v{n}") for n in range(2)))
    close_now(window.window_id, world.windows)
    record = world.announced(world.record(window.part_id(0)))
    assert len(world.told()) == 2
    assert world.asked == [record.batch_id]


class TestABatch:
    def test_lists_its_files(self, world: World) -> None:
        files = (FILE, *others(150))
        world.windows = replace(world.windows, limits=BatchLimits())
        window = world.joined(*files)
        close_now(window.window_id, world.windows)
        record = world.announced(world.record(window.part_id(0)))
        told = status.of_batch(record.batch_id or "", world.ports)
        assert told is not None
        assert told == status.of_batch(window.part_id(0), world.ports)
        assert told["files"] == sorted(file.uri for file in files)[:100]
        assert told["fileCount"] == 151
        assert told["window"] == {
            "id": window.window_id,
            "stage": "finished",
            "closesAt": "2026-11-18T11:07:00.000Z",
        }

    def test_says_what_it_replaces_and_what_replaced_it(self, world: World) -> None:
        first = world.announced(world.opened(FILE, lineage=Lineage("subject", "0061")))
        v2 = replace(FILE, version_id="v2", sequencer="0062")
        lineage = Lineage("subject", "0062", predecessor=FILE.external_id)
        replaced = {"externalId": FILE.external_id, "batchId": first.batch_id}
        second = world.opened(v2, lineage=lineage)
        world.ledger.replace(first, first.replaced(v2.external_id))
        replaces = Replaced(FILE.external_id, first.batch_id or "")
        world.ledger.replace(second, second.replacing(replaces))
        told = status.of_batch(FILE.external_id, world.ports)
        assert told is not None
        assert told["state"] == "replaced"
        assert told["replacedBy"] == {"externalId": v2.external_id, "state": "loading"}
        told = status.of_batch(v2.external_id, world.ports)
        assert told is not None
        assert told["replaces"] == replaced
        assert "replacedBy" not in told

    def test_that_nobody_knows(self, world: World) -> None:
        assert status.of_batch("nobody's", world.ports) is None


class Catalog:
    """AEP, which knows one batch, or does not answer."""

    def __init__(self, error: PlatformUnavailable | None = None) -> None:
        self.error = error

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        if self.error:
            raise self.error
        raw: JsonObject = {"status": "success"}
        if batch_id == "failed":
            raw["errors"] = [
                {"code": "118", "description": "No header.", "rows": []},
                {"code": "1"},
            ]
        known = batch_id in ("known", "failed")
        return Batch(batch_id, "success", NOW, None, (), {}, raw) if known else None


def test_what_aep_says_of_a_batch() -> None:
    record = Record.waiting(order(FILE), NOW)
    assert status.of_platform(record, Catalog()) == {"aep": None}
    known, gone = (replace(record, batch_id=batch_id) for batch_id in ("known", "gone"))
    assert status.of_platform(known, Catalog()) == {"aep": {"status": "success"}}
    assert status.of_platform(gone, Catalog()) == {"aep": None}
    told = status.of_platform(replace(record, batch_id="failed"), Catalog())
    header, bare = told["errors"]
    assert (header["code"], header["description"]) == ("118", "No header.")
    assert "names of the columns" in header["hint"]
    assert bare == {"code": "1"}
    assert status.of_platform(known, Catalog(PlatformUnavailable("503"))) == {
        "aep": None,
        "aepError": {"reason": "platform-unavailable", "detail": "503"},
    }
