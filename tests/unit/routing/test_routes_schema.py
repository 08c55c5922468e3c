"""The one schema, and our reading of it against the `jsonschema` package's."""

import copy
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aep_intake.model.json_schema import faults
from aep_intake.routing.routes import SCHEMA, InvalidTable, parse
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from tests.examples import examples

ROOT = Path(__file__).parents[3]
FULL: dict[str, Any] = {
    "$schema": "x",
    "description": "x",
    "routes": [
        {
            "name": "a",
            "description": "x",
            "match": "{sandbox}/{r}/*",
            "bucket": "b*",
            "datasetId": "5c8c",
            "credential": "acme",
            "inputFormat": {"format": "csv", "delimiter": ";", "header": "true", "quote": "'"},
            "tags": {"region": ["{r}"]},
            "enableErrorDiagnostics": False,
            "partialIngestionPercent": 5,
            "examples": ["s3://bb/dev/emea/a.csv"],
        },
        {"name": "b", "match": "c/*", "ignore": True},
        {"name": "c", "match": "d/*", "datasetName": "d", "inputFormat": "auto"},
        {
            "name": "d",
            "match": "e/**",
            "datasetId": "e",
            "batch": {"marker": "_SUCCESS", "within": "2h"},
            "onNewVersion": "replace",
            "lookInside": True,
            "minRows": 0,
            "badRows": "1.5%",
        },
        {
            "name": "e",
            "match": "f/*",
            "datasetId": "f",
            "ready": "{file}.done",
            "batch": {"window": "16m"},
        },
    ],
}


def within(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from within(inner)
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from within(schema[keyword])


def test_the_schema_is_what_appconfig_takes() -> None:
    Draft4Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-04/schema#"
    file = ROOT / "layers" / "intake" / "aep_intake" / "routing" / "routes.schema.json"
    assert len(file.read_bytes()) < 32_768


def test_an_editor_finds_every_member_described() -> None:
    for schema in within(SCHEMA):
        for name, member in schema.get("properties", {}).items():
            assert len(member["description"]) > 10, name


def test_we_read_every_keyword_the_schema_uses() -> None:
    notes = {"$schema", "title", "description", "default"}
    read = {"type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems"}
    read |= {"items", "properties", "required", "additionalProperties", "oneOf", "hint"}
    used = {keyword for schema in within(SCHEMA) for keyword in schema}
    assert used - notes == read


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(member, (*path, step))


# No line ends: to Python's `$`, and so to jsonschema, a last one is not there; to us it is.
words = st.text(st.characters(exclude_characters="\n"), max_size=5) | st.sampled_from(
    [
        "auto",
        "prod",
        "Prod",
        "csv",
        "Csv",
        "{a}",
        "x" * 1025,
        "UTF-8",
        "name",
        "ignore",
        "datasetId",
        "batch",
        "window",
        "marker",
        "onNewVersion",
        "replace",
        "_SUCCESS",
        "25h",
    ]
)
scraps = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 101),
    st.floats(allow_nan=False),
    words,
    st.just([]),
    st.lists(words, max_size=2),
    st.dictionaries(words, words, max_size=2),
    st.just({"format": "csv"}),
    st.sampled_from([{"window": "5m"}, {"marker": "a"}, {"window": "5m", "marker": "a"}]),
    st.just({}),
)


@st.composite
def tables(draw: st.DrawFn) -> list[Any]:
    """Good tables of two routes with a few things in them changed, added or taken away.

    What is put in is drawn, and where is by chance: to draw all of it takes ten times as long.
    """
    names = draw(st.lists(words, min_size=3, max_size=3)) + list(FULL["routes"][0])
    values = draw(st.lists(scraps, min_size=6, max_size=6))
    chance = draw(st.randoms(use_true_random=True))
    return [_changed(chance, names, values) for _ in range(10)]


def _changed(chance: random.Random, names: list[str], values: list[Any]) -> Any:
    routes = chance.sample(FULL["routes"], 2)
    table: Any = copy.deepcopy(FULL | {"routes": routes})
    for _ in range(chance.randint(0, 3)):
        *way, last = chance.choice(list(paths(table))[1:] or [("routes",)])
        holder = table
        for step in way:
            holder = holder[step]
        change = chance.choice(["replace", "add", "remove"])
        if change == "replace":
            holder[last] = copy.deepcopy(chance.choice(values))
        elif change == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[chance.choice(names)] = copy.deepcopy(chance.choice(values))
    return table


changed = settings(
    deadline=None,
    derandomize=True,
    max_examples=examples(150),
    suppress_health_check=list(HealthCheck),
)
JUDGE = Draft4Validator(SCHEMA)


@changed
@given(tables())
def test_we_read_the_schema_as_jsonschema_does(some: list[Any]) -> None:
    for table in some:
        expected = {tuple(error.absolute_path) for error in JUDGE.iter_errors(table)}
        # An unknown member is ours to point at; jsonschema points at the object around it.
        found = {
            path[:-1] if "not known" in problem else path
            for path, problem in faults(table, SCHEMA, ())
        }
        event(f"good: {not found}")
        assert found == expected


@changed
@given(tables())
def test_what_a_function_takes_appconfig_would_have_taken(some: list[Any]) -> None:
    for table in some:
        try:
            parse(json.dumps(table), "v1")
        except InvalidTable as refusal:
            assert str(refusal)
        else:
            assert JUDGE.is_valid(table)


def test_a_last_line_end_is_not_overlooked() -> None:
    written = {"name": "a", "match": "*", "datasetId": "d", "sandbox": "prod\n"}
    assert JUDGE.is_valid({"routes": [written]})
    ((path, _),) = faults({"routes": [written]}, SCHEMA, ())
    assert path == ("routes", 0, "sandbox")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"batch": {"window": "5m"}}, None),
        ({"batch": {"marker": "_SUCCESS"}}, None),
        ({"batch": {"marker": "_SUCCESS", "within": "90m"}}, None),
        ({"batch": {"marker": "_SUCCESS", "within": "soon"}}, ("batch", "within")),
        ({"ready": "{file}.done"}, None),
        ({"ready": "R_{file}.x"}, None),
        ({"ready": "{file}"}, ("ready",)),
        ({"ready": "{files}.done"}, ("ready",)),
        ({"ready": "a/{file}.done"}, ("ready",)),
        ({"batch": {"marker": "_SUCCESS", "grace": "2m"}}, None),
        ({"batch": {"quiet": "10m"}}, None),
        ({"batch": {"quiet": 10}}, ("batch", "quiet")),
        ({"batch": {"marker": "_SUCCESS", "grace": "2"}}, ("batch", "grace")),
        ({"batch": {"marker": "a/b"}}, ("batch", "marker")),
        ({"batch": {"marker": ""}}, ("batch", "marker")),
        ({"batch": {"window": "16"}}, ("batch", "window")),
        ({"onNewVersion": "ignore"}, None),
        ({"onNewVersion": "never"}, ("onNewVersion",)),
        ({"lookInside": 1}, ("lookInside",)),
        ({"minRows": 0, "badRows": 3}, None),
        ({"badRows": "0.5%"}, None),
        ({"minRows": -1}, ("minRows",)),
        ({"minRows": "1"}, ("minRows",)),
        ({"badRows": -1}, ("badRows",)),
        ({"badRows": 0.5}, ("badRows",)),
        ({"badRows": "101%"}, ("badRows",)),
        ({"badRows": "1"}, ("badRows",)),
    ],
)
def test_of_what_shares_a_batch_or_comes_again_we_read_the_same(
    change: Any, path: tuple[str, ...] | None
) -> None:
    table = {"routes": [{"name": "a", "match": "*", "datasetId": "d"} | change]}
    expected = [] if path is None else [("routes", 0, *path)]
    assert [path for path, _ in faults(table, SCHEMA, ())] == expected
    errors = JUDGE.iter_errors(table)
    assert [tuple(error.absolute_path) for error in errors] == expected
