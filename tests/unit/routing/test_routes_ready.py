"""Ready files in a routing table: which key is whose, and what is refused."""

import json
from typing import Any

import pytest
from aep_intake.model.errors import NoRoute
from aep_intake.model.files import Arrival, ready_name
from aep_intake.routing.routes import InvalidTable, parse
from aep_intake.routing.table import Ignored, InWindow, IsReady, NeedsReady, OneBatch, RoutingTable
from aep_intake_cli.routing.explain import explain
from aep_intake_cli.routing.lint import lint

from tests.matching import matched

DAY = 86_400_000


def document(*routes: dict[str, Any]) -> bytes:
    named = [{"name": f"route-{n}", "datasetId": "d"} | written for n, written in enumerate(routes)]
    for written in named:
        if "ignore" in written:
            del written["datasetId"]
    return json.dumps({"routes": named}).encode()


def table(*routes: dict[str, Any]) -> RoutingTable:
    return parse(document(*routes), "v7")


def ready(match: str, name: str = "{file}.done", **more: Any) -> dict[str, Any]:
    return {"match": match, "ready": name} | more


def arrival(key: str) -> Arrival:
    return Arrival("landing", key, None, "etag", "00AF", 1, 0)


@pytest.mark.parametrize(
    ("match", "name", "key", "file"),
    [
        ("in/*.csv", "{file}.done", "in/a.csv.done", "in/a.csv"),
        ("in/*", "{file}.done", "in/a.csv.done", "in/a.csv"),
        ("in/**", "{file}.ctl", "in/b/a.csv.ctl", "in/b/a.csv"),
        ("in/**/*.csv", "{file}.trg", "in/a.csv.trg", "in/a.csv"),
        ("*.csv", "READY_{file}", "READY_a.csv", "a.csv"),
        ("in/*.csv", "_{file}.ok!", "in/_a.csv.ok!", "in/a.csv"),
        ("in/{dataset}.csv", "{file}.done", "in/a.csv.done", "in/a.csv"),
        ("in/*.csv", "{file}.md5", "in/a.csv.md5", "in/a.csv"),  # which is never data elsewhere
        ("in/*", "{file}.done", "in/a.done.done", "in/a.done"),
        ("in/*.csv", "{stem}.ctl", "in/a.ctl", "in/a.csv"),
        ("in/*.csv", "{stem}.ctl", "in/a.2026.ctl", "in/a.2026.csv"),
        ("in/{dataset}.csv", "ok_{stem}", "in/ok_a", "in/a.csv"),
        ("in/*_full.csv.gz", "{stem}.trg", "in/a_full.trg", "in/a_full.csv.gz"),
        ("in/*.csv", "{stem}_ready.csv", "in/a_ready.csv", "in/a.csv"),
    ],
)
def test_a_ready_file_is_known_by_the_name_of_its_file(
    match: str, name: str, key: str, file: str
) -> None:
    tags = {"tags": {"t": ["{dataset}"]}} if "{dataset}" in match else {}
    routes = table(ready(match, name, **tags))
    found = matched(routes, arrival(key))
    assert (found.batching, found.ready) == (IsReady(file), None)
    of_file = matched(routes, arrival(file)) if file.endswith("csv") else None
    if of_file is not None:
        assert (of_file.batching, of_file.ready) == (OneBatch(), NeedsReady((name,), DAY))
        assert of_file.placeholders == found.placeholders


@pytest.mark.parametrize(
    ("template", "file", "name"),
    [
        ("{file}.done", "a.b.csv", "a.b.csv.done"),
        ("{stem}.ctl", "a.b.csv", "a.b.ctl"),
        ("ok_{stem}", "a.csv.GZ", "ok_a"),
        ("{stem}.ctl", "a", "a.ctl"),
    ],
)
def test_the_name_of_a_ready_file(template: str, file: str, name: str) -> None:
    assert ready_name(template, file) == name


@pytest.mark.parametrize("key", ["in/a.ctl2", "b/a.ctl", "in/a.json", "in/a.CTL"])
def test_no_other_key_is_one_by_its_stem(key: str) -> None:
    with pytest.raises(NoRoute):
        table(ready("in/*.csv", "{stem}.ctl")).match(arrival(key))


@pytest.mark.parametrize("key", ["in/a.txt.done", "b/a.csv.done", "in/a.csv.DONE"])
def test_no_other_key_is_one(key: str) -> None:
    with pytest.raises(NoRoute):
        table(ready("in/*.csv")).match(arrival(key))


def test_in_any_case_it_may_be_in_capitals() -> None:
    routes = table(ready("in/*.csv", anyCase=True))
    assert matched(routes, arrival("in/A.CSV.DONE")).batching == IsReady("in/A.CSV")
    assert matched(routes, arrival("in/A.CSV.done")).batching == IsReady("in/A.CSV")
    needs = matched(routes, arrival("in/A.CSV")).ready
    assert needs == NeedsReady(("{file}.done", "{file}.DONE"), DAY)


def test_a_file_waits_before_its_window_too() -> None:
    routes = table(ready("in/*.csv", batch={"window": "1h", "within": "3h"}))
    found = matched(routes, arrival("in/a.csv"))
    assert found.batching == InWindow(3_600_000)
    assert found.ready == NeedsReady(("{file}.done",), 3 * 3_600_000)
    assert matched(routes, arrival("in/a.csv.done")).batching == IsReady("in/a.csv")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"ready": "done"}, "ready", "such as `{file}.done`"),
        ({"ready": "{file}"}, "ready", "such as `{file}.done`"),
        ({"ready": "{name}.done"}, "ready", "such as `{file}.done`"),
        ({"ready": "{file}.{file}"}, "ready", "such as `{file}.done`"),
        ({"ready": "{file}*.done"}, "ready", "such as `{file}.done`"),
        ({"ready": "x/{file}.done"}, "ready", "such as `{file}.done`"),
        ({"ready": "{stem}"}, "ready", "such as `{file}.done`"),
        ({"ready": "{stem}.csv"}, "ready", "the object itself"),
        ({"ready": "{stem}.ctl", "match": "in/*"}, "ready", "how its files end"),
        ({"ready": "{stem}.ctl", "match": "in/*.gz"}, "ready", "how its files end"),
        ({"ready": "{stem}.ctl", "anyCase": True}, "ready", "without `anyCase`"),
        ({"ready": 1}, "ready", "must be string"),
        ({"batch": {"marker": "_SUCCESS"}}, "ready", "not for both"),
        ({"batch": {"within": "169h"}}, "batch.within", "7 days (168h) at most"),
        ({"batch": {"window": "1h", "marker": "x"}}, "ready", "not for both"),
        ({"ignore": True}, "ready", "no meaning"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidTable) as refusal:
        table(ready("in/*.csv") | change)
    assert refusal.value.field == f"routes[0].{field}"
    assert words in refusal.value.problem


def test_the_check_finds_a_route_that_takes_the_ready_files() -> None:
    greedy = {"match": "in/*.done", "ignore": True}
    [problem] = lint(document(greedy, ready("in/*.csv")))
    assert (problem.route, problem.field) == ("route-1", "routes[1].ready")
    assert "takes the ready files: files wait for ever" in problem.text
    examples = {"examples": ["in/a.csv", "in/a.csv.done"]}
    assert lint(document(ready("in/*.csv") | examples, greedy)) == []
    assert lint(document(ready("in/**", "READY_{file}") | examples, greedy)) != []


def test_explain_says_what_is_waited_for() -> None:
    routes = table(ready("in/*.csv", batch={"window": "1h"}))
    found = [one.outcome for one in explain(routes, ["in/a.csv", "in/a.csv.done", "in/a.done"])]
    assert found == [
        "csv → d in the default sandbox, a batch every 1h, after in/a.csv.done arrives",
        "says that in/a.csv is complete → d in the default sandbox",
        "rejected: no-route",
    ]


def test_what_is_never_data_waits_for_nothing() -> None:
    routes = table(ready("in/*"))
    assert isinstance(routes.match(arrival("in/.hidden.csv")), Ignored)
