"""Markers in a routing table: where they are looked for, and what they and their files become."""

import json
from typing import Any

import pytest
from aep_intake.model.errors import NoRoute, TargetNotAllowed
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Demands
from aep_intake.routing.routes import InvalidTable, parse
from aep_intake.routing.table import (
    Ignored,
    InWindow,
    IsMarker,
    Match,
    OneBatch,
    OnNewVersion,
    RoutingTable,
    WaitsForMarker,
)
from aep_intake_cli.routing.lint import lint

from tests.matching import matched


def document(*routes: dict[str, Any]) -> bytes:
    named = [{"name": f"route-{number}"} | written for number, written in enumerate(routes)]
    return json.dumps({"routes": named}).encode()


def table(*routes: dict[str, Any]) -> RoutingTable:
    return parse(document(*routes), "v7")


def arrival(key: str, bucket: str = "landing") -> Arrival:
    return Arrival(bucket, key, None, "etag", "00AF", 1, 0)


def marked(match: str, name: str = "_SUCCESS", **more: Any) -> dict[str, Any]:
    return {"match": match, "datasetId": "d", "batch": {"marker": name}} | more


@pytest.mark.parametrize(
    ("match", "key", "folder"),
    [
        ("a/**", "a/_SUCCESS", "a/"),
        ("a/**", "a/b/c/_SUCCESS", "a/b/c/"),
        ("a/**", "a//_SUCCESS", "a//"),
        ("a/**/*.json", "a/_SUCCESS", "a/"),
        ("a/**/*.json", "a/b/_SUCCESS", "a/b/"),
        ("a/*.json", "a/_SUCCESS", "a/"),
        ("a/day=*/part-?", "a/day=1/_SUCCESS", "a/day=1/"),
        ("*.json", "_SUCCESS", ""),
        ("**", "_SUCCESS", ""),
        ("**", "b/_SUCCESS", "b/"),
        ("**/x/*.csv", "a/x/_SUCCESS", "a/x/"),
        ("a/part.json", "a/_SUCCESS", "a/"),
    ],
)
def test_a_marker_is_looked_for_where_the_folders_of_the_pattern_lead(
    match: str, key: str, folder: str
) -> None:
    found = matched(table(marked(match)), arrival(key))
    assert found.batching == IsMarker(folder)


def test_the_nameless_folder_has_markers_too() -> None:
    found = matched(table(marked("/*.json")), arrival("/_SUCCESS"))
    assert found.batching == IsMarker("/")


@pytest.mark.parametrize(
    ("match", "key"),
    [
        ("a/*.json", "DONE"),
        ("a/*.json", "a/b/DONE"),
        ("a/*.json", "a/done"),
        ("a/*.json", "a/xDONE"),
        ("a/*.json", "a/DONE\n"),
        ("a/x/*.json", "a/DONE"),
        ("a/**/*.json", "b/DONE"),
        ("*.json", "a/DONE"),
    ],
)
def test_elsewhere_it_is_none(match: str, key: str) -> None:
    with pytest.raises(NoRoute):
        matched(table(marked(match, "DONE")), arrival(key))


@pytest.mark.parametrize("key", ["a/1.json", "a/b/1.json", "a/DONE/1.json", "a/x_SUCCESS.json"])
def test_all_else_that_the_route_takes_waits_for_one(key: str) -> None:
    found = matched(table(marked("a/**")), arrival(key))
    assert isinstance(found.batching, WaitsForMarker)


JSON = {"inputFormat": {"format": "json"}}
UNMARKED = (
    {"match": "a/**", "datasetId": "d"} | JSON,
    {"match": "b/**", "datasetId": "d", "batch": {"window": "1m"}} | JSON,
    {"match": "c/**", "ignore": True},
)


@pytest.mark.parametrize("key", ["a/_SUCCESS", "b/_SUCCESS", "c/_SUCCESS"])
def test_where_a_route_has_no_markers_nothing_is_one_or_waits_for_one(key: str) -> None:
    found = table(*UNMARKED).match(arrival(key))
    assert isinstance(found, Ignored) or isinstance(found.batching, OneBatch | InWindow)


@pytest.mark.parametrize("key", ["a/None", "b/None"])
def test_not_even_what_is_called_none(key: str) -> None:
    found = matched(table(*UNMARKED), arrival(key))
    assert isinstance(found.batching, OneBatch | InWindow)


def test_a_marker_says_of_its_folder_what_a_file_in_it_does() -> None:
    written = marked("x/{sandbox}/{t}/**", tags={"table": ["{t}"]}, onNewVersion="replace")
    written |= {"partialIngestionPercent": 5, "lookInside": True, "credential": "acme"}
    routes = table(written)
    marker = matched(routes, arrival("x/prod/orders/dt=1/_SUCCESS"))
    options = {
        "enableErrorDiagnostics": True,
        "partialIngestionPercent": 5,
        "tags": {"table": ["orders"]},
    }
    assert marker == Match(
        route="route-0",
        version="v7",
        sandbox="prod",
        dataset_id="d",
        credential="acme",
        options=options,
        placeholders={"sandbox": "prod", "t": "orders"},
        batching=IsMarker("x/prod/orders/dt=1/"),
        on_new_version=OnNewVersion.REPLACE,
        demands=Demands(look_inside=True, bad_rows=None),
    )
    file = matched(routes, arrival("x/prod/orders/dt=1/1.csv"))
    assert file.placeholders == marker.placeholders
    assert file.options == options
    assert file.on_new_version is OnNewVersion.REPLACE
    assert isinstance(file.batching, WaitsForMarker)


def test_the_format_of_a_folder_is_left_to_its_files_unless_the_route_says_it() -> None:
    auto = table(marked("a/**", inputFormat="auto"))
    assert "inputFormat" not in matched(auto, arrival("a/_SUCCESS")).options
    # Jobs leave files beside their data whose names say no format: they must not be rejected.
    for key in ("a/1.parquet", "a/part-00000"):
        assert "inputFormat" not in matched(auto, arrival(key)).options
    said = table(marked("a/**", inputFormat={"format": "CSV", "delimiter": ";"}))
    for key in ("a/_SUCCESS", "a/1.txt"):
        expected = {"format": "csv", "delimiter": ";"}
        assert matched(said, arrival(key)).options["inputFormat"] == expected


def test_a_marker_cannot_fill_in_what_does_not_belong_there() -> None:
    with pytest.raises(TargetNotAllowed):
        matched(table(marked("x/{sandbox}/**")), arrival("x/PROD/_SUCCESS"))


def test_the_first_route_that_fits_decides_of_markers_too() -> None:
    files = {"match": "a/**/*.json", "datasetId": "d"}
    routes = table(files, marked("a/**", "done.json"), marked("a/b/*", "_OK"), files)
    # An earlier route takes what would be a later one's marker …
    taken = matched(routes, arrival("a/done.json"))
    assert (taken.route, taken.batching) == ("route-0", OneBatch())
    # … or its file; a marker counts before files of later routes.
    assert matched(routes, arrival("a/b/_OK=1.csv")).route == "route-1"
    other = table(marked("a/*.json"), marked("a/*", "_OK"))
    assert (
        matched(other, arrival("a/_SUCCESS")).route,
        matched(other, arrival("a/_OK")).route,
    ) == (
        "route-0",
        "route-1",
    )
    ignored = table({"match": "**/_*", "ignore": True}, marked("a/**"))
    assert ignored.match(arrival("a/_SUCCESS")) == Ignored("route-0", "v7")


def test_a_marker_of_another_bucket_is_another_s() -> None:
    routes = table(marked("a/*.json", bucket="acme-*"))
    assert matched(routes, arrival("a/_SUCCESS", "acme-raw")).batching == IsMarker("a/")
    assert routes.match(arrival("a/_SUCCESS")) == Ignored(None, "v7", "not-data")


def refused(written: dict[str, Any]) -> InvalidTable:
    with pytest.raises(InvalidTable) as refusal:
        table(written)
    assert refusal.value.route == "route-0"
    return refusal.value


@pytest.mark.parametrize("match", ["x/{t}/p-{d}.json", "x/{t}/**/{d}.json", "{t}-{d}.json"])
def test_a_marker_must_say_all_that_the_route_wants_to_know(match: str) -> None:
    refusal = refused(marked(match, tags={"t": ["{t}", "{d}"]}))
    assert refusal.field == "routes[0].match"
    assert "does not say what {" in refusal.problem
    assert "it must be a folder's" in refusal.problem


def test_what_is_a_folder_s_a_marker_says() -> None:
    routes = table(marked("x/{t}/**/{d}/*.json", tags={"t": ["{t}", "{d}"]}))
    assert matched(routes, arrival("x/a/b/c/_SUCCESS")).placeholders == {"t": "a", "d": "c"}


@pytest.mark.parametrize("what", ["replace", "ignore"])
def test_a_window_cannot_have_its_one_batch_replaced(what: str) -> None:
    written = marked("a/*", onNewVersion=what)
    refusal = refused(written | {"batch": {"window": "5m"}})
    assert refusal.field == "routes[0].onNewVersion"
    assert "a window's batch holds many objects" in refusal.problem
    assert "use a marker" in refusal.problem
    windowed = written | {"batch": {"window": "5m"}, "onNewVersion": "append"}
    assert matched(table(windowed), arrival("a/1.json")).on_new_version is OnNewVersion.APPEND
    for key in ("a/_SUCCESS", "a/1.json"):
        assert matched(table(written), arrival(key)).on_new_version == what


def test_without_a_word_what_comes_again_is_appended() -> None:
    for written in (marked("a/*"), {"match": "a/*", "datasetId": "d"}):
        assert matched(table(written), arrival("a/1.json")).on_new_version is OnNewVersion.APPEND
    alone = table({"match": "a/*", "datasetId": "d", "onNewVersion": "replace"})
    assert matched(alone, arrival("a/1.json")).on_new_version is OnNewVersion.REPLACE


@pytest.mark.parametrize(
    ("within", "milliseconds"), [("1m", 60_000), ("168h", 604_800_000), (None, 86_400_000)]
)
def test_files_wait_for_their_marker_so_long(within: str | None, milliseconds: int) -> None:
    batch = {"marker": "_SUCCESS"} | ({"within": within} if within else {})
    waits = matched(table(marked("a/*") | {"batch": batch}), arrival("a/1.json")).batching
    assert waits == WaitsForMarker(milliseconds, "_SUCCESS")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"batch": {}}, "batch", "exactly one of `window`, `marker`"),
        ({"batch": {"window": "1m", "marker": "x"}}, "batch", "exactly one of"),
        ({"batch": {"marker": "x", "files": 3}}, "batch.files", "not known"),
        ({"batch": {"marker": "x", "within": "1d"}}, "batch.within", "such as `16m`"),
        ({"batch": {"marker": "x", "within": "169h"}}, "batch.within", "7 days (168h) at most"),
        ({"batch": {"window": "1m", "within": "2h"}}, "batch.within", "wait for a `marker`"),
        ({"batch": {"window": "1m", "manifest": False}}, "batch.manifest", "a `marker` is read"),
        ({"batch": "_SUCCESS"}, "batch", "must be object"),
        ({"batch": {"marker": 1}}, "batch.marker", "must be string"),
        ({"onNewVersion": "Replace"}, "onNewVersion", "one of"),
        ({"onNewVersion": True}, "onNewVersion", "must be string"),
        ({"lookInside": "yes"}, "lookInside", "must be boolean"),
    ],
)
def test_what_the_schema_does_not_know_of_is_refused(
    change: dict[str, Any], field: str, words: str
) -> None:
    refusal = refused(marked("a/*") | change)
    assert refusal.field == f"routes[0].{field}"
    assert words in refusal.problem


@pytest.mark.parametrize(
    "name", ["", "a/b", "/", "*", "??", "*?*", "{t}", "}", "[a]", "]", "a**b", "x" * 256]
)
def test_what_cannot_be_the_name_of_a_marker_is_refused(name: str) -> None:
    assert refused(marked("a/*", name)).field == "routes[0].batch.marker"


@pytest.mark.parametrize(
    "name", ["x" * 255, "manifest.json", "Alles fertig!.ok", "東京", "x..", "a(b|c)+\\d$^", "a\n"]
)
def test_and_so_it_is_taken_as_it_is(name: str) -> None:
    routes = table(marked("a/*", name) | JSON)
    assert matched(routes, arrival(f"a/{name}")).batching == IsMarker("a/")
    assert isinstance(matched(routes, arrival(f"a/{name}.json")).batching, WaitsForMarker)
    assert isinstance(matched(routes, arrival(f"a/{name[:-1]}")).batching, WaitsForMarker)


@pytest.mark.parametrize(
    ("name", "markers", "others"),
    [
        ("*_SUCCESS", ["_SUCCESS", "orders_SUCCESS"], ["orders_SUCCESS.csv", "orders_success"]),
        ("load_????.ok", ["load_0001.ok"], ["load_1.ok", "load_0001.ok.csv"]),
        ("*.d*ne", ["x.done", "x.dne"], ["x.do"]),
        ("_committed_*", ["_committed_817"], ["x_committed_817"]),
    ],
)
def test_markers_may_have_a_pattern(name: str, markers: list[str], others: list[str]) -> None:
    routes = table(marked("a/**", name) | JSON)
    for marker in markers:
        assert matched(routes, arrival(f"a/b/{marker}")).batching == IsMarker("a/b/")
    for other in others:
        assert isinstance(matched(routes, arrival(f"a/b/{other}")).batching, WaitsForMarker)
    assert lint(document(marked("a/**", name) | JSON)) == []


# ---- Before a table goes live


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ("_SUCCESS", "matches no route"),
        ("b/_SUCCESS", "matches route `route-1`"),
        ("a/_hidden/_SUCCESS", "matches route `route-0`"),
        ("a/1.txt", "would be rejected: format-unknown"),
    ],
)
def test_an_example_may_be_a_marker(example: str, text: str) -> None:
    routes = [
        {"match": "**/_hidden/*", "ignore": True},
        marked("b/*"),
        marked("a/**", examples=["a/b/_SUCCESS", "a/b/1.json", example]),
    ]
    [problem] = lint(document(*routes))
    assert (problem.route, problem.field) == ("route-2", "routes[2].examples[2]")
    assert text in problem.text
