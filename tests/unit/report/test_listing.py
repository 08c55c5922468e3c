"""Lists of batches: each once, in its present state, whatever the pages are."""

import json
from dataclasses import replace

import pytest
from aep_intake.delivery.delivery import End
from aep_intake.model.errors import MalformedRequest
from aep_intake.model.progress import PutOff
from aep_intake.model.times import HOUR_MS, iso
from aep_intake.report import listing
from aep_intake.report.events import BATCH_CREATED, arrival_rejected, batch_created
from aep_intake.report.listing import PageStart, Wanted

from tests import builders
from tests.builders import lease
from tests.listed import NOON_BEFORE, NOW, WHY, Listed


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
    place = PageStart.of(first["next"], later)
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
    place = PageStart(NOW - 9, "2026-11-18T05", "x")
    asked = {"route": "r", "day": "2026-11-18", "state": "loaded", "limit": "7"}
    found = listing.read(asked | {"token": place.token()}, NOW)
    assert found == Wanted("2026-11-18", "r", "loaded", 7, place)
    assert listing.read({}, NOW) == Wanted()
    beginning = PageStart(NOW)
    assert PageStart.of(beginning.token(), NOW) == beginning


def test_the_first_day_there_is_has_a_list() -> None:
    assert Listed().told(Wanted("0001-01-01", state="loaded")) == []


def test_a_page_may_end_at_any_order_that_a_caller_names() -> None:
    shard = f"paused#organization#{'A' * 24}@AdobeOrg#several"
    place = PageStart(NOW, None, json.dumps([shard, str(NOW), "\\" * 200]))
    assert listing.read({"token": place.token()}, NOW).place == place


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
        ({"token": PageStart(NOW + 9).token()}, "`token` is not"),
        ({"token": PageStart(-9).token()}, "`token` is not"),
        ({"token": PageStart(NOW, "2026-11-18").token()}, "`token` is not"),
        ({"token": PageStart(NOW, "../x").token()}, "`token` is not"),
        ({"token": "A" * 9999}, "`token` is not"),
        ({"token": "W1tb" * 500}, "`token` is not"),
    ],
)
def test_what_is_not_understood_is_said(asked: dict[str, str], says: str) -> None:
    with pytest.raises(MalformedRequest, match=says):
        listing.read(asked, NOW)
