"""What `aep-intake routes try` shows of a file, before it is sent anywhere."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from aep_intake.model.organizations import Organization, Organizations
from aep_intake_cli import datasets, documents, options
from aep_intake_cli.command import main
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.stack import Stack
from botocore.response import StreamingBody
from botocore.stub import Stubber

from local.simulator.seed import CLICKS, LOYALTY, WEB_EVENTS
from tests.adobe_world import ARN, World
from tests.unit.content.xdm_samples import CRM, EVENTS

Output = pytest.CaptureFixture[str]
CSV = {"format": "csv", "delimiter": ";"}
MAP: dict[str, Any] = {
    "person.name.firstName": "first",
    "person.birthDate": {"from": "born", "format": "dd.MM.yyyy"},
    "personalEmail.address": "mail",
}
ROUTE: dict[str, Any] = {
    **{"name": "crm", "match": "crm/*.csv", "datasetName": "CRM", "inputFormat": CSV, "map": MAP},
    "batch": {"window": "16m"},
}
GOOD = "first;born;mail;more\nZoë;28.02.1990;zoe@example.com;x\n;;jo@example.com;\n"
BAD = "Ann;30.02.1990;nobody;\nshort\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a table, a file and schemas."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEP_INTAKE_STACK", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    Path("crm").mkdir()
    Path("crm/a.csv").write_text(GOOD)
    Path("crm.json").write_text(json.dumps(CRM))
    Path("events.json").write_text(json.dumps(EVENTS))
    table(ROUTE)


def table(*routes: dict[str, Any]) -> None:
    Path("routes.json").write_text(json.dumps({"routes": routes}))


def tried(*typed: str, file: str = "crm/a.csv", schema: str | None = "crm.json") -> int:
    given = [] if schema is None else ["--schema", schema]
    return main(["routes", "try", file, "--routes", "routes.json", *given, *typed])


SHOWN = """\
crm/a.csv: route crm: csv, mapped → 'CRM' in the default sandbox, a batch every 16m
row 1 of those that go up
┏━━━━━━━━┳━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━┓
┃ column ┃ value           ┃ goes to               ┃ as              ┃
┡━━━━━━━━╇━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━┩
│ first  │ Zoë             │ person.name.firstName │ Zoë             │
│ born   │ 28.02.1990      │ person.birthDate      │ 1990-02-28      │
│ mail   │ zoe@example.com │ personalEmail.address │ zoe@example.com │
└────────┴─────────────────┴───────────────────────┴─────────────────┘
┏━━━━━┳━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ row ┃ column ┃ value      ┃ problem                                 ┃
┡━━━━━╇━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ 3   │ born   │ 30.02.1990 │ is not a date of the format dd.MM.yyyy     │
│ 3   │ mail   │ nobody     │ is not a valid email                    │
│ 4   │        │            │ it has 1 value, and 4 are expected      │
└─────┴────────┴────────────┴─────────────────────────────────────────┘
"""


def test_rows_side_by_side_and_each_problem_at_its_cell(capsys: Output) -> None:
    Path("crm/a.csv").write_text(GOOD + BAD)
    assert tried("--rows", "1") == 1
    said = capsys.readouterr().out
    plain = [line.split() for line in said.splitlines()]
    for line in SHOWN.splitlines():
        if line[0] not in "┏┡└":
            assert line.split() in plain
    assert "4 rows, 2 of them cannot go up" in said
    assert "Nothing maps 'more'" in said
    assert "2 rows compared with the schema: all fit" in said
    assert said.endswith("rejected: 2 of 4 rows cannot go up, and `badRows` is 0\n")
    assert max(map(len, said.splitlines())) <= 100


def test_a_good_file(capsys: Output) -> None:
    assert tried("--rows", "0") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "rejected" not in said.out
    assert "┃" not in said.out


def test_as_json(capsys: Output) -> None:
    Path("crm/a.csv").write_text(GOOD + BAD)
    assert tried("--json", "--rows", "1") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["cells"][0] == {
        **{"row": 3, "column": "born", "value": "30.02.1990"},
        "rule": "is not a date of the format dd.MM.yyyy",
    }
    assert (told["rows"], told["broken"], told["validated"], told["unfit"]) == (4, 2, 2, 0)
    assert told["first"][0][1] == {
        "path": "person.birthDate",
        "value": "1990-02-28",
        "columns": {"born": "28.02.1990"},
    }
    assert told["problem"].startswith("2 of 4 rows")


def test_bad_rows_that_the_route_allows_are_shown_and_reject_nothing(capsys: Output) -> None:
    table(ROUTE | {"badRows": 2})
    Path("crm/a.csv").write_text(GOOD + BAD)
    assert tried("--json") == 1
    assert json.loads(capsys.readouterr().out)["problem"] is None


def test_json_rows_of_a_map(capsys: Output) -> None:
    written = {
        "_id": "id",
        "timestamp": "at",
        "_acme.amount": "sum.total",
        "_acme.items": "things",
    }
    match = {"name": "app", "match": "*.jsonl", "datasetName": "E", "map": written}
    table(match)
    rows = [
        '{"id": "e1", "at": "2026-01-01T00:00:00Z", "sum": {"total": 1.10}, "things": ["a", "b"]}',
        '{"id": "e2", "at": "yesterday", "sum": {"total": [1]}}',
        "[]",
    ]
    Path("a.jsonl").write_text("\n".join(rows))
    assert tried("--json", file="a.jsonl", schema="events.json") == 1
    told = json.loads(capsys.readouterr().out)
    [row] = told["first"]
    assert {each["path"]: each["value"] for each in row} == {
        "_id": "e1",
        "timestamp": "2026-01-01T00:00:00Z",
        "_acme.amount": "1.10",
        "_acme.items": "a, b",
    }
    assert [(each["row"], each["column"], each["value"]) for each in told["cells"]] == [
        (2, "at", "yesterday"),
        (2, "sum.total", "[1]"),
        (3, "", ""),
    ]


def test_rows_without_a_map_are_compared_with_the_schema(capsys: Output) -> None:
    table({"name": "app", "match": "*.json", "datasetName": "E"})
    rows = [
        {"_id": "a", "timestamp": "2026-01-01T00:00:00Z"},
        {"_id": "b", "_acme": {"amount": "x"}},
    ]
    Path("a.json").write_text(json.dumps(rows))
    assert tried(file="a.json", schema="events.json") == 1
    said = capsys.readouterr().out
    assert "2 rows compared with the schema: 1 do not fit" in said
    assert "'timestamp' is a required property" in said
    assert "_acme.amount" in said
    assert tried(file="a.json", schema=None) == 0
    assert "give --stack NAME or --schema FILE" in capsys.readouterr().out


def test_flat_json_for_a_schema_that_is_not_flat_does_not_fit(capsys: Output) -> None:
    """Nothing is required of a profile, so only members that it does not have tell."""
    table({"name": "app", "match": "*.json", "datasetName": "P"})
    Path("a.json").write_text('{"first_name": "Ann"}')
    assert tried(file="a.json") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "'first_name' was unexpected" in said
    assert "routes suggest proposes a map" in said


def test_csv_without_a_map_needs_an_ad_hoc_schema(capsys: Output) -> None:
    table({name: value for name, value in ROUTE.items() if name != "map"})
    assert tried() == 1
    assert "aep-intake routes suggest" in capsys.readouterr().out.replace("\n", " ")
    flat = {**CRM, "meta:extends": ["https://ns.adobe.com/xdm/data/adhoc"]}
    Path("flat.json").write_text(json.dumps(flat))
    assert tried(schema="flat.json") == 0
    assert "Zoë" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "routes", "says", "code"),
    [
        ("other/a.csv", [ROUTE], "rejected: no route of routes.json takes other/a.csv\n", 1),
        ("crm/_temporary/a.csv", [ROUTE | {"match": "crm/**"}], "ignored", 0),
        ("crm/a.csv", [{"name": "no", "match": "**", "ignore": True}], "ignored", 0),
        ("crm/a.csv", [ROUTE | {"inputFormat": {"format": "csv"}}], "semicolons", 1),
    ],
)
def test_files_that_no_route_takes(
    key: str, routes: list[dict[str, Any]], says: str, code: int, capsys: Output
) -> None:
    table(*routes)
    assert tried("--key", key) == code
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"map": {"person.nam.firstName": "first"}}, "did you mean"),
        ({"map": {"person.birthDate": {"from": "born", "format": "dd.QQ"}}}, "has problems"),
    ],
)
def test_a_map_that_cannot_be(change: dict[str, Any], says: str, capsys: Output) -> None:
    table(ROUTE | change)
    assert tried() == 1
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""


def test_what_is_missing_on_the_command_line(capsys: Output) -> None:
    assert main(["routes", "try", "crm/a.csv"]) == 2
    assert "give --routes TABLE, or --stack" in capsys.readouterr().err
    assert tried(file="nowhere.csv") == 2
    assert "'nowhere.csv' is not a file here" in capsys.readouterr().err
    assert tried(file="s3://b/k") == 2
    assert "give --stack to read 's3://b/k'" in capsys.readouterr().err
    assert tried(schema=None) == 1
    assert "crm has a map: give --stack NAME or --schema FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff" * 99,
        b"PK\x03\x04",
        b"first;born;mail;more\n",
        b"first;born\nx;y\n",
        b"first;born;mail;more\n\x1b]0;x\x07;\x1b[2J;\xe2\x80\xae;\xc2\x9b\n" * 30,
        b"first;born;mail;" + b"m;" * 10_000 + b"\n" + b"1;2;3;" + b"4;" * 10_000 + b"\n",
        b'first;born;mail;more\n"open;;;\n',
        b"first;born;mail;more\n\xff;;;\n",
    ],
)
def test_a_hostile_file_ends_in_words(content: bytes, capsys: Output) -> None:
    Path("crm/a.csv").write_bytes(content)
    assert tried() == 1
    assert tried("--json") == 1
    said = capsys.readouterr()
    assert all(text == "\n" or text.isprintable() for text in said.out + said.err)
    assert len(said.out + said.err) < 200_000


@pytest.mark.parametrize("pattern", [r"^\p{L}+$", "(" * 3000 + "J" + ")" * 3000, "(.*)*x"])
def test_a_pattern_that_is_not_matched_here_is_left_to_aep(pattern: str, capsys: Output) -> None:
    odd = json.loads(json.dumps(CRM))
    odd["properties"]["person"]["properties"]["name"]["properties"]["firstName"] |= {
        "pattern": pattern
    }
    Path("crm.json").write_text(json.dumps(odd))
    assert tried() == 0
    assert "all fit" in capsys.readouterr().out


@pytest.mark.parametrize("written", ["parquet", "one array"])
def test_files_that_go_up_otherwise(written: str, capsys: Output) -> None:
    if written == "parquet":
        table({"name": "p", "match": "*.parquet", "datasetName": "P"})
        Path("a.parquet").write_bytes(b"PAR1....PAR1")
        assert tried(file="a.parquet") == 0
        assert "its rows were not looked at" in capsys.readouterr().out
        return
    many = {"format": "json", "isMultiLineJson": True}
    table({"name": "p", "match": "*.json", "datasetName": "P", "inputFormat": many})
    Path("a.json").write_text('[{"person": {}},\n{"person": {}}]')
    assert tried(file="a.json") == 0
    assert "2 rows compared with the schema: all fit" in capsys.readouterr().out


def test_a_marker_is_no_file_of_rows(capsys: Output) -> None:
    table(ROUTE | {"match": "crm/**", "batch": {"marker": "_SUCCESS"}})
    Path("crm/_SUCCESS").write_bytes(b"")
    assert tried(file="crm/_SUCCESS") == 0
    assert "all of crm" in capsys.readouterr().out


# With a stack


class Aws:
    """S3 and AppConfig of an account, as far as the command asks."""

    def client(self, _: str) -> "Aws":
        return self

    def download_file(self, bucket: str, key: str, to: str) -> None:
        Path(to).write_text(f"{bucket} {key}\n1 2\n")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A stack; its live table has these routes."""
    world, routes = World(), list[dict[str, Any]]()
    made = Stack("s", {"LandingBucketName": "landing"}, {})
    organizations = Organizations((Organization(ARN, ("prod",)),))
    monkeypatch.setattr(options.Access, "stack", lambda _: made)
    monkeypatch.setattr(options.Access, "session", Aws())
    monkeypatch.setattr(documents, "organizations_of", lambda *_: organizations)
    monkeypatch.setattr(
        documents, "live_routes", lambda *_: json.dumps({"routes": routes}).encode()
    )
    monkeypatch.setattr(datasets, "adobe_clients", lambda *_: (world.credentials, world.adobe))
    return routes


@pytest.mark.parametrize("file", ["s3://landing/in/a.csv", "in/a.csv"])
def test_an_object_and_the_live_table_of_a_stack(
    file: str, stack: list[dict[str, Any]], capsys: Output
) -> None:
    spaced = {"format": "csv", "delimiter": " "}
    stack += [
        {"name": "w", "match": "in/*", "datasetId": WEB_EVENTS, "inputFormat": spaced},
    ]
    assert main(["routes", "try", file, "--stack", "s", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["key"] == "s3://landing/in/a.csv"
    assert told["first"] == [
        [
            {"path": "", "value": "1", "columns": {"landing": "1"}},
            {"path": "", "value": "2", "columns": {"in/a.csv": "2"}},
        ]
    ]


def test_the_table_that_is_live_is_the_one_that_was_deployed_last() -> None:
    client = boto3.client("appconfig", region_name="eu-west-1")
    ids = dict.fromkeys(documents.ROUTES_IDS, "an-id-1")
    stack = Stack("s", ids, {})
    done = [
        {"DeploymentNumber": number, "ConfigurationVersion": version, "State": "COMPLETE"}
        for number, version in ((2, "1"), (1, "2"))
    ]
    asked = {"ApplicationId": "an-id-1", "ConfigurationProfileId": "an-id-1", "VersionNumber": 1}
    with Stubber(client) as appconfig:
        appconfig.add_response("list_deployments", {"Items": done})
        body = StreamingBody(BytesIO(b"{}"), 2)
        appconfig.add_response("get_hosted_configuration_version", {"Content": body}, asked)
        assert documents.live_routes(stack, client) == b"{}"
        appconfig.add_response("list_deployments", {"Items": []})
        with pytest.raises(CommandFailed, match="no routing table is live"):
            documents.live_routes(stack, client)


def test_a_stack_is_asked_for_the_schema(stack: list[dict[str, Any]], capsys: Output) -> None:
    given = {"first": "person.name.firstName", "mail": "personalEmail.address"}
    written = {path: name for name, path in given.items()} | {"_acme.memberId": "born"}
    stack.append(ROUTE | {"datasetId": LOYALTY, "map": written})
    del stack[0]["datasetName"]
    assert main(["routes", "try", "crm/a.csv", "--stack", "s"]) == 0
    assert "2 rows compared with the schema: all fit" in capsys.readouterr().out
    stack[0]["datasetId"] = "00aa"
    assert main(["routes", "try", "crm/a.csv", "--stack", "s"]) == 1
    assert "no dataset 00aa" in capsys.readouterr().out
    stack[0] |= {"datasetId": CLICKS}
    assert main(["routes", "try", "crm/a.csv", "--stack", "s"]) == 1
    assert "does not fit the schema" in capsys.readouterr().err
