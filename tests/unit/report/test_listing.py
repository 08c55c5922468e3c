"""Lists of batches: each once, in its present state, whatever the pages are."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.clock.due import DueKind
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Verdict
from aep_intake.model.errors import MalformedRequest
from aep_intake.model.orders import PutOff, Record, Rejection, State
from aep_intake.model.times import DAY_MS, HOUR_MS, iso
from aep_intake.report import journal, listing
from aep_intake.report.events import BATCH_CREATED, arrival_rejected, batch_created, order_rejected
from aep_intake.report.listing import ListingPorts, Place, Wanted
from aep_intake.report.status import JsonObject, StatusPorts

from tests import builders
from tests.builders import lease, order
from tests.memory_ledger import MemoryLedger

NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z
NOON_BEFORE = NOW - NOW % DAY_MS - DAY_MS // 2
WHY = Rejection("batch-refused", "no such dataset", NOW - 5, status=400)


class Listed:
    """The ledger and the journal, each once with what happened; `fetched` are its objects."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.deliveries: dict[str, Delivery] = {}
        self.objects: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.ports = ListingPorts(
            self,
            self,
            StatusPorts(
                self.ledger,
                self.ledger.windows,
                self.deliveries,
                lambda _: [],
                map,
                self.ledger.pauses.standing,
            ),
        )

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.objects if name.startswith(prefix)]

    def get(self, key: str) -> bytes:
        self.fetched.append(key)
        return self.objects[key]

    def orders(self, external_ids: Sequence[str]) -> Mapping[str, tuple[Record, Delivery | None]]:
        assert len(external_ids) <= listing.ORDERS_AT_ONCE
        known = self.ledger.records
        return {
            name: (known[name], self.deliveries.get(name)) for name in external_ids if name in known
        }

    def unfinished(self, kind: DueKind, after: str, limit: int) -> tuple[list[str], str]:
        assert kind is DueKind.ORDERS
        due = sorted(name for name, record in self.ledger.records.items() if record.due)
        ids = [name for name in due if name > after][:limit]
        return ids, ids[-1] if len(ids) == limit else ""

    def keep(self, kind: str, *details: JsonObject, times: int = 1) -> None:
        """Write events into the journal, as on_journal does."""
        for detail in details:
            sent = {"detail-type": kind, "id": "1", "time": iso(NOW), "detail": detail}
            line = journal.line(json.dumps(sent))
            name, content = journal.written([line] * times)
            self.objects[journal.folder(iso(line.time)[:13]) + name] = content

    def opened(self, name: str, at: int, **more: Any) -> Record:
        wanted = order(external_id=name, **{"route": "r", **more})
        return self.ledger.open(Record.opened(wanted, lease(at + 9), at))

    def made(self, name: str, at: int, end: End | None = None, **more: Any) -> Record:
        """An order with its batch, told by the journal; and how it ended."""
        record = self.opened(name, at, **more)
        record = self.ledger.replace(record, record.created(builders.batch(at, f"B{name}")))
        self.keep(BATCH_CREATED, batch_created(record), times=2)
        record = self.ledger.replace(record, record.announced(delivers=True))
        begun = Delivery.of(record, (), 10, at)
        if end is not None:
            verdict = Verdict(end, "x", "d", at + 3)
            begun = replace(begun, stage=DeliveryStage.ENDED, verdict=verdict, due=None)
        self.deliveries[name] = begun
        return record

    def refused(self, name: str, at: int) -> Record:
        record = self.opened(name, at)
        rejection = replace(WHY, at=at)
        record = self.ledger.replace(record, record.rejected(State.REFUSED, rejection))
        self.keep("Arrival Rejected", order_rejected(record.order, rejection))
        return self.ledger.replace(record, record.announced())

    def told(self, wanted: Wanted, now: int = NOW) -> list[str]:
        """The orders and states of all pages, one after the other."""
        found = []
        for page in self.pages(wanted, now):
            assert len(page["batches"]) <= wanted.limit
            found += [f"{each['externalId']} {each['state']}" for each in page["batches"]]
        return found

    def pages(self, wanted: Wanted, now: int) -> Iterable[JsonObject]:
        page = listing.batches(wanted, now, self.ports)
        while "next" in page:
            yield page
            place = Place.of(page["next"], now)
            page = listing.batches(replace(wanted, place=place), now, self.ports)
        yield page


@pytest.fixture
def listed() -> Listed:
    """A day of all that can be."""
    listed = Listed()
    listed.made("yesterday", NOON_BEFORE, End.SUCCEEDED)
    listed.made("early", NOW - 9 * HOUR_MS, End.SUCCEEDED)
    listed.made("other", NOW - 8 * HOUR_MS, End.SUCCEEDED, route="s")
    listed.made("failed", NOW - 2 * HOUR_MS, End.FAILED)
    listed.made("loading", NOW - 1000)
    listed.refused("refused", NOW - 2000)
    late = listed.opened("open-since-yesterday", NOON_BEFORE)
    why = PutOff("platform-unavailable", "503", NOW)
    listed.ledger.replace(late, late.given_back(NOW + 9, why=why))
    listed.opened("open", NOW - 500)
    # Of what has no order, and of what is not in the ledger any more, nothing is told.
    listed.keep("Arrival Rejected", arrival_rejected("intake-none", (), WHY))
    forgotten = listed.made("forgotten", NOW - 3000, End.SUCCEEDED)
    del listed.ledger.records[forgotten.order.external_id]
    listed.keep(
        "Batch Failed", {"externalId": "failed", "endedAt": iso(NOW - 100), "datasetId": "d"}
    )
    return listed


TODAY = ["loading loading", "refused rejected", "failed failed", "other loaded", "early loaded"]


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_each_is_told_once_on_whichever_page(listed: Listed, limit: int) -> None:
    unfinished = ["open loading", "open-since-yesterday retrying"]
    assert listed.told(Wanted(limit=limit)) == unfinished + TODAY
    assert listed.told(Wanted("2026-11-18", limit=limit)) == ["open loading", *TODAY]
    assert listed.told(Wanted("2026-11-17", limit=limit)) == [
        "open-since-yesterday retrying",
        "yesterday loaded",
    ]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(state="loaded"), ["other loaded", "early loaded"]),
        (Wanted(state="loaded", route="s"), ["other loaded"]),
        (Wanted(state="rejected"), ["refused rejected"]),
        (Wanted(state="loading"), ["open loading", "loading loading"]),
        (Wanted(state="retrying"), ["open-since-yesterday retrying"]),
        (Wanted(state="held"), []),
        (Wanted(route="nobody's"), []),
    ],
)
def test_by_route_and_state(listed: Listed, wanted: Wanted, told: list[str]) -> None:
    assert listed.told(wanted) == told


def test_says_what_is_said_of_each_alone(listed: Listed) -> None:
    [page] = listed.pages(Wanted(state="failed"), NOW)
    [told] = page["batches"]
    assert (told["batchId"], told["route"], told["datasetId"]) == ("Bfailed", "r", "d")
    assert told["delivery"]["stage"] == "ended"


def test_what_is_made_between_two_pages_is_not_told_twice(listed: Listed) -> None:
    first = listing.batches(Wanted(limit=1), NOW, listed.ports)
    assert [each["externalId"] for each in first["batches"]] == ["open"]
    record = listed.ledger.records["open"]
    later = NOW + 60_000
    record = listed.ledger.replace(record, record.created(builders.batch(later, "Bopen")))
    listed.keep(BATCH_CREATED, batch_created(record))
    listed.ledger.replace(record, record.announced())
    place = Place.of(first["next"], later)
    assert listed.told(Wanted(place=place), later)[-5:] == TODAY


def test_what_was_refused_and_then_got_its_batch_is_told_once(listed: Listed) -> None:
    record = listed.ledger.records["refused"]
    again = replace(record, revision=9).reopened(record.order, lease(NOW + 9))
    again = again.created(builders.batch(NOW - 50, "B"))
    listed.keep(BATCH_CREATED, batch_created(again))
    listed.ledger.records["refused"] = again.announced()
    told = listed.told(Wanted(day="2026-11-18"))
    assert [each for each in told if each.startswith("refused")] == ["refused loading"]


def test_a_page_costs_so_much_at_most(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "COST_MAX", 3)
    pages = list(listed.pages(Wanted(), NOW))
    assert len(pages) > 5
    assert [] in [page["batches"] for page in pages]
    told = [each["externalId"] for page in pages for each in page["batches"]]
    assert len(told) == len(set(told)) == 7


def test_an_hour_is_read_once_for_a_page(listed: Listed) -> None:
    for n in range(250):
        listed.made(f"many-{n}", NOON_BEFORE + n, End.SUCCEEDED)
    listed.fetched.clear()
    told = [*listed.pages(Wanted(day="2026-11-17", limit=500), NOW)]
    assert [len(page["batches"]) for page in told] == [252]
    assert len(listed.fetched) == len(set(listed.fetched))


def test_a_question_is_understood() -> None:
    place = Place(NOW - 9, "2026-11-18T05", "x")
    asked = {"route": "r", "day": "2026-11-18", "state": "loaded", "limit": "7"}
    found = listing.read(asked | {"token": place.token()}, NOW)
    assert found == Wanted("2026-11-18", "r", "loaded", 7, place)
    assert listing.read({}, NOW) == Wanted()
    beginning = Place(NOW)
    assert Place.of(beginning.token(), NOW) == beginning


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"rout": "r"}, "not 'rout'"),
        ({"state": "done"}, "`state` is one of waiting, "),
        ({"day": "yesterday"}, "`day` is a day"),
        ({"day": "2026-11-18T05"}, "`day` is a day"),
        ({"day": "20261118"}, "`day` is a day"),
        ({"day": "2026-02-30"}, "`day` is a day"),
        ({"day": "2026-11-19"}, "until today"),
        ({"limit": "0"}, "from 1 to 500"),
        ({"limit": "501"}, "from 1 to 500"),
        ({"limit": "9" * 9999}, "from 1 to 500"),
        ({"limit": "٣"}, "from 1 to 500"),
        ({"token": ""}, "`token` is not"),
        ({"token": "%%%"}, "`token` is not"),
        ({"token": "W10"}, "`token` is not"),
        ({"token": Place(NOW + 9).token()}, "`token` is not"),
        ({"token": Place(-9).token()}, "`token` is not"),
        ({"token": Place(NOW, "2026-11-18").token()}, "`token` is not"),
        ({"token": Place(NOW, "../x").token()}, "`token` is not"),
        ({"token": "A" * 9999}, "`token` is not"),
    ],
)
def test_what_is_not_understood_is_said(asked: dict[str, str], says: str) -> None:
    with pytest.raises(MalformedRequest, match=says):
        listing.read(asked, NOW)
