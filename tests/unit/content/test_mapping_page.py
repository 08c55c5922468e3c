"""The page about maps says what is so: its example is compiled, and gives what it shows."""

import json
import re
from pathlib import Path

import pytest
from aep_intake.content.compile_map import ENTRY, compile_map
from aep_intake.content.csv import CsvReader
from aep_intake.content.expressions import _Ours
from aep_intake.content.mapping import RowMap
from aep_intake.content.xdm import Schema
from aep_intake.routing import routes
from aep_intake.routing.table import format_of_map
from aep_intake_cli.command import main
from jmespath.functions import Functions

from tests.exports import CRM_GERMAN
from tests.unit.content.xdm_samples import (
    DATE,
    IDENTITIES,
    TEXT,
    a_list,
    an_object,
    number,
    schema,
    text,
)

PAGE = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text("utf-8")
OF = schema(
    _id=text(format="uri-reference"),
    _acme=an_object(
        memberId=TEXT,
        tier=text(enum=["gold", "silver", "none"]),
        spent=number("number"),
        interests=a_list(TEXT),
        country=TEXT,
    ),
    person=an_object(name=an_object(firstName=TEXT), birthDate=DATE),
    personalEmail=an_object("address", address=text(format="email")),
    identityMap=IDENTITIES,
)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_gives_what_the_page_shows() -> None:
    [table], [shown] = blocks("json"), blocks("jsonl")
    [content] = blocks("csv")
    [route] = routes.parse(table, "draft").routes
    source = format_of_map(route.written)
    assert source is not None
    compiled = compile_map(route.written["map"], Schema(OF), source, key=route.key)
    assert compiled.problems == ()
    reader = CsvReader({**source, "charset": "UTF-8"})
    block = reader.feed(content.encode())
    rows = RowMap(json.loads(compiled.text), "crm/fr/2026-11-28.csv", "s3://landing/crm")
    assert rows.of_block(reader, block).text.decode() == shown


def test_the_export_of_a_crm_gives_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Path(CRM_GERMAN.file).write_bytes(CRM_GERMAN.content)
    Path("schema.json").write_text(json.dumps(CRM_GERMAN.schema))
    suggested, tried = (block.splitlines() for block in blocks("text"))
    typed = ["routes", "suggest", CRM_GERMAN.file, "--schema", "schema.json"]
    assert main([*typed, "--dataset", "customers", "--copy-values"]) == 0
    said = capsys.readouterr()
    assert set(suggested) <= set(said.err.splitlines())
    Path("crm.json").write_text(said.out)
    typed = ["routes", "try", CRM_GERMAN.file, "--schema", "schema.json"]
    assert main([*typed, "--routes", "crm.json"]) == 0
    assert set(tried) <= set(capsys.readouterr().out.splitlines())
    assert PAGE.count(CRM_GERMAN.file) == 5


def test_each_member_and_function_is_on_the_page() -> None:
    members = {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", PAGE, re.M)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert ENTRY["properties"].keys() <= members
    ours = _Ours.FUNCTION_TABLE.keys() - Functions.FUNCTION_TABLE.keys()
    assert ours == set(re.findall(r"`(\w+)\(", PAGE)) & ours


def test_what_a_member_may_be_is_the_same_in_the_schema_of_routes() -> None:
    """And there it is said in words, too."""

    def plain(node: object) -> object:
        if isinstance(node, dict):
            left_out = ("description", "default") if "type" in node or "description" in node else ()
            return {key: plain(value) for key, value in node.items() if key not in left_out}
        return node

    of_routes = routes.SCHEMA["properties"]["routes"]["items"]["properties"]["map"]
    wanted = plain(of_routes["additionalProperties"])
    assert isinstance(wanted, dict)
    own = {"type": ["string", "object"], "minLength": 1, "maxLength": 1000}
    assert plain({**ENTRY, **own}) == wanted
