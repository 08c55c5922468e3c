"""How many batches a table can make: bounds that hold, sums that add up, advice that suffices."""

import io
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from aep_intake.model.batches import Target
from aep_intake.model.orders import Order
from aep_intake.model.windows import Window
from aep_intake.routing import routes
from aep_intake.routing.table import Route
from aep_intake_cli.routing import forecast
from aep_intake_cli.routing.forecast import (
    ADVISED_BATCHES,
    MINUTES_PER_DAY,
    Sandbox,
    SandboxPlace,
    Share,
    report,
    sandboxes,
    share_of_route,
)
from aep_intake_cli.routing.lint import lint
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

LENGTHS = [f"{n}m" for n in range(1, 24 * 60 + 1)] + [f"{n}h" for n in range(1, 25)]
DAY = 86_400_000


def route(**written: Any) -> Route:
    written = {"name": "r", "match": "a/*.csv", "datasetId": "d"} | written
    if "datasetName" in written:
        del written["datasetId"]
    return routes.parse(json.dumps({"routes": [written]}), "1").routes[0]


def windowed(length: str = "16m", **written: Any) -> Share:
    return share_of_route(route(batch={"window": length}, **written))


def printed(*shares: Share, width: int = 200, **more: Any) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(report(shares, **more))
    return console.export_text()


def rows(*shares: Share, **more: Any) -> list[list[str]]:
    lines = [line for line in printed(*shares, **more).splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


# one route


def test_no_day_sees_more_windows_end_than_the_bound_says() -> None:
    for length in LENGTHS:
        minutes = int(length[:-1]) * (60 if length.endswith("h") else 1)
        ends = [day * MINUTES_PER_DAY // minutes for day in range(3000)]
        most = max(after - before for before, after in pairwise(ends))
        assert forecast.windows_a_day(length) == most, length


@pytest.mark.parametrize("length", ["7m", "16m", "25m", "1h", "5h", "24h"])
def test_the_intakes_own_windows_keep_the_bound(length: str) -> None:
    milliseconds = int(length[:-1]) * (60_000 if length.endswith("m") else 3_600_000)
    order = Order("", Target("arn", "o@AdobeOrg", "prod", "d"), {}, route="r")
    days: dict[int, set[str]] = {}
    for now in range(0, 30 * DAY, milliseconds // 7):
        window = Window.at(order, milliseconds, now)
        assert window.due is not None
        days.setdefault(window.due // DAY, set()).add(window.window_id)
    assert max(map(len, days.values())) == forecast.windows_a_day(length)


def test_the_window_that_is_advised_is_the_shortest_that_does() -> None:
    assert forecast.shortest_window(ADVISED_BATCHES) == "16m"
    assert forecast.shortest_window(24) == "1h"
    assert forecast.shortest_window(0) == "24h", "there is no longer one"
    for batches in range(1, MINUTES_PER_DAY + 1):
        length = forecast.shortest_window(batches)
        assert windowed(length).batches == forecast.windows_a_day(length) <= batches
        minutes = int(length[:-1]) * (60 if length.endswith("h") else 1)
        assert minutes == 1 or forecast.windows_a_day(f"{minutes - 1}m") > batches


def test_what_is_advised_can_be_written_into_a_route() -> None:
    document = (
        '{"routes": [{"name": "r", "match": "*", "datasetId": "d", ' + forecast.window_setting(30)
    )
    assert share_of_route(routes.parse(document + "}]}", "1").routes[0]).batches == 30


@pytest.mark.parametrize(
    ("written", "each"),
    [
        ({}, ()),
        ({"match": "a/*"}, ("format",)),
        ({"match": "a/*", "inputFormat": {"format": "csv"}}, ()),
        ({"match": "a/*.JSONL.gz"}, ()),
        ({"match": "a/*.json", "lookInside": True}, ("format",)),
        ({"match": "a/*.csv", "lookInside": True}, ()),
        ({"match": "*", "inputFormat": {"format": "JSON"}, "lookInside": True}, ("format",)),
        (
            {
                "match": "a/*",
                "inputFormat": {"format": "json", "isMultiLineJson": True},
                "lookInside": True,
            },
            (),
        ),
        ({"match": "{x}/*.csv", "datasetName": "{x}-events"}, ("{x}",)),
        ({"match": "{x}/{y}/*", "datasetId": "{x}{y}"}, ("{x}", "{y}", "format")),
        ({"match": "{x}/*.csv", "tags": {"team": ["all", "{x}"]}}, ("{x}",)),
        ({"match": "{sandbox}/{x}/*.csv", "datasetName": "{x}-{sandbox}"}, ("{x}",)),
        ({"match": "{x}/{y}/*.csv", "sandbox": "{x}-dev", "datasetName": "{y}"}, ("{y}",)),
    ],
)
def test_what_does_not_share_a_window_multiplies_it(
    written: dict[str, Any], each: tuple[str, ...]
) -> None:
    assert windowed(**written).multiples == each
    assert share_of_route(route(**written)).multiples == (), "one for each object, wherever it goes"
    marked = share_of_route(route(**written, batch={"marker": "_SUCCESS"}))
    assert marked.multiples == (), "one for each marker"


@pytest.mark.parametrize(
    ("batch", "volume", "batches", "most"),
    [
        ({"window": "16m"}, None, 90, "90 for each format"),
        ({"window": "16m"}, 5000, 90, "90 for each format"),
        ({"window": "16m"}, 40, 40, "40"),
        ({"marker": "_SUCCESS"}, None, None, "no limit"),
        ({"marker": "_SUCCESS"}, 24, 24, "24"),
        (None, None, None, "no limit"),
        (None, 1_440, 1440, "1,440"),
        (None, 0, 0, "0"),
    ],
)
def test_what_comes_in_a_day_is_a_bound_too(
    batch: dict[str, str] | None, volume: int | None, batches: int | None, most: str
) -> None:
    written = {"match": "a/*"} | ({} if batch is None else {"batch": batch})
    one = share_of_route(route(**written), volume=volume)
    assert (one.batches, one.maximum) == (batches, most)


# the routes of a sandbox


def some(name: str, sandbox: str | None = None, window: str | None = None, **more: Any) -> Share:
    return Share(name, SandboxPlace(sandbox, more.pop("credential", None)), window, **more)


def found(*shares: Share, **more: Any) -> dict[str, list[str]]:
    return {str(one): [each.route for each in one.shares] for one in sandboxes(shares, **more)}


def test_routes_add_up_for_each_sandbox_they_lead_to() -> None:
    assert found(
        some("a"),
        some("b", "prod"),
        some("c", "prod"),
        some("d", "{sandbox}"),
        some("e", "{x}-dev"),
        some("f", "b-dev"),
        some("g", "prod", credential="acme"),
    ) == {
        "(default)": ["a", "d", "e"],
        "prod": ["b", "c", "d", "e"],
        "b-dev": ["d", "e", "f"],
        "prod of acme": ["g"],
        "{sandbox}": ["d", "e"],
        "{x}-dev": ["d", "e"],
    }
    assert found(some("d", "{sandbox}")) == {"{sandbox}": ["d"]}


def test_where_the_sandboxes_are_known_there_are_no_others() -> None:
    allowed = [SandboxPlace("prod"), SandboxPlace("dev"), SandboxPlace("prod", "acme")]
    shares = (some("a", "prod"), some("b", "{sandbox}"))
    assert found(*shares, allowed=allowed) == {"prod": ["a", "b"], "dev": ["b"]}


def test_only_what_feeds_profile_or_may_counts() -> None:
    shares = (
        some("fed", window="1h", profile=True),
        some("open", window="2h"),
        some("not", profile=False),
    )
    (sandbox,) = sandboxes(shares)
    assert (sandbox.known_batches, sandbox.unbounded, sandbox.fits) == (36, [], True)
    assert [row[-1] for row in rows(*shares)] == [
        "within 90",
        "",
        "if enabled for Profile",
        "not for Profile",
    ]


volumes = st.one_of(st.none(), st.integers(0, 300))


@given(st.lists(st.tuples(volumes, st.sampled_from([None, "1m", "16m", "1h", "24h"])), max_size=60))
def test_who_follows_the_advice_stays_within(made: list[tuple[int | None, str | None]]) -> None:
    sandbox = Sandbox(
        SandboxPlace(),
        tuple(some(f"r{n}", window=w, volume=v) for n, (v, w) in enumerate(made)),
    )
    after = [
        min(one.batches or 0, sandbox.fair_share)
        if not sandbox.exceeds(one)
        else sandbox.fair_share
        for one in sandbox.shares
    ]
    assert sum(after) <= ADVISED_BATCHES
    assert not sandbox.fits or not any(map(sandbox.exceeds, sandbox.shares))
    assert sandbox.fits or any(map(sandbox.exceeds, sandbox.shares)), "the excess has a place"
    for one in sandbox.shares:
        if sandbox.exceeds(one):
            assert one.batches is None or one.batches > sandbox.fair_share
        else:
            assert one.batches is not None


# for people


TABLE = (
    some("loyalty", window="16m"),
    some("web-events"),
    some("orders", marker="_SUCCESS"),
    some("clicks", "dev", window="1h"),
    some("by-folder", "{sandbox}", window="2h", varies_by=("{dataset}", "format")),
    some("many", credential="acme", varies_by=("{x}", "format")),
)


def test_each_sandbox_tells_its_sum_and_where_the_excess_comes_from() -> None:
    advised = "fits if there is only one {dataset} and format"
    assert rows(*TABLE) == [
        ["(default)", "all routes", "102 or more", "may exceed 90"],
        ["loyalty", "each 16m", "90", '"window": "56m"'],
        ["web-events", "each object", "no limit", '"batch": {"window": "56m"}'],
        ["orders", "each _SUCCESS", "no limit", "26 markers a day"],
        ["by-folder", "each 2h", "12 for each {dataset} and format", advised],
        ["dev", "all routes", "36 or more", "may exceed 90"],
        ["clicks", "each 1h", "24", ""],
        ["by-folder", "each 2h", "12 for each {dataset} and format", advised],
        ["(default) of acme", "all routes", "no limit", "may exceed 90"],
        ["many", "each object", "no limit", '"batch": {"window": "16m"}'],
        ["", "", "", "if there is only one {x} and format"],
        ["{sandbox}", "all routes", "12 or more", "may exceed 90"],
        ["by-folder", "each 2h", "12 for each {dataset} and format", advised],
    ]


def test_what_is_to_be_copied_stays_whole_on_80_columns() -> None:
    said = printed(*TABLE, width=80)
    assert '"batch": {"window": "56m"}' in said
    assert max(map(len, said.splitlines())) <= 80


def test_who_asks_without_a_stack_is_told_that_catalog_was_not_asked() -> None:
    assert "every route counts" in " ".join(printed(*TABLE).split())
    known = " ".join(printed(some("a", profile=False), some("b", profile=True)).split())
    assert "not enabled for Profile does not count" in known
    assert "every route counts" not in known


def test_what_replaces_is_told_no_window_which_the_linter_would_refuse() -> None:
    written = {"name": "r", "match": "a/*.csv", "datasetId": "d", "onNewVersion": "replace"}
    windowed = json.dumps({"routes": [written | {"batch": {"window": "16m"}}]}).encode()
    assert lint(windowed)
    assert rows(share_of_route(route(**written)))[1][-1] == "90 objects a day"
    assert "window" not in forecast.profile_advice(share_of_route(route(**written)))


@pytest.mark.parametrize("on_new_version", ["append", "replace", "ignore"])
@pytest.mark.parametrize("batch", [None, {"window": "1m"}, {"marker": "_SUCCESS"}])
def test_the_linter_takes_what_is_advised(
    on_new_version: str, batch: dict[str, str] | None
) -> None:
    written: dict[str, Any] = {"name": "r", "match": "a/*.csv", "datasetId": "d"}
    written |= {"onNewVersion": on_new_version} | ({"batch": batch} if batch else {})
    document = json.dumps({"routes": [written]}).encode()
    if lint(document):
        return  # it says so by itself
    share = share_of_route(route(**written), profile=True)
    said = f"{printed(share)} {forecast.profile_advice(share)}"
    for window in re.findall(r'"window": "(\w+)"', said):
        advised = json.dumps({"routes": [written | {"batch": {"window": window}}]}).encode()
        assert lint(advised) == []
