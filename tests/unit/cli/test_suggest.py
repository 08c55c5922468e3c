"""What `aep-intake routes suggest` proposes for a file, and how much of it is right."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from aep_intake.content.compile_map import compile_map
from aep_intake.content.mapping import RowMap
from aep_intake.content.typed import Type
from aep_intake.model.organizations import Organization, Organizations
from aep_intake_cli import datasets, documents, options
from aep_intake_cli.command import main
from aep_intake_cli.mapping import readings, trial
from aep_intake_cli.mapping.files import detect
from aep_intake_cli.mapping.matching import match
from aep_intake_cli.mapping.schemas import KnownSchema, schema_of_file
from aep_intake_cli.mapping.suggest import draft
from aep_intake_cli.routing.lint import lint

from tests.adobe_world import ARN, World
from tests.exports import CRM_GERMAN, EXPORTS, LOYALTY, UNSEEN, Export

Output = pytest.CaptureFixture[str]
each_export = pytest.mark.parametrize("export", (*EXPORTS, *UNSEEN), ids=lambda each: each.file)


def written(export: Export, folder: Path) -> tuple[Path, KnownSchema]:
    """An export and its schema as files."""
    packed = export.file.endswith(".gz")
    (folder / export.file).write_bytes(gzip.compress(export.content) if packed else export.content)
    (folder / "schema.json").write_text(json.dumps(export.schema))
    return folder / export.file, schema_of_file(folder / "schema.json")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEP_INTAKE_STACK", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


# What is found, and what is not


@each_export
def test_format_dialect_and_charset_are_found(export: Export, tmp_path: Path) -> None:
    file, _ = written(export, tmp_path)
    assert detect(file, export.file).input_format == export.input_format


def counted(exports: tuple[Export, ...], folder: Path) -> tuple[int, int, int]:
    """Columns that have a path; those whose path is found; those that get a wrong one."""
    columns = right = wrong = 0
    for export in exports:
        file, known = written(export, folder)
        read = detect(file, export.file)
        semicolons = export.input_format.get("delimiter") == ";"
        found = {
            each.column.name: each.path
            for each in match(read.columns(), known.schema, semicolons=semicolons)
        }
        columns += len(export.paths)
        right += sum(found.get(name) == path for name, path in export.paths.items())
        wrong += sum(export.paths.get(name) != path for name, path in found.items())
    return columns, right, wrong


def test_how_many_columns_are_found(tmp_path: Path) -> None:
    """docs/mapping.md states these numbers."""
    columns, right, wrong = counted(EXPORTS, tmp_path)
    assert columns == 175
    assert right >= 170
    assert wrong <= 1


def test_how_many_columns_are_found_of_exports_whose_words_were_not_put_in(tmp_path: Path) -> None:
    columns, right, wrong = counted(UNSEEN, tmp_path)
    assert columns == 53
    assert right >= 38
    assert wrong <= 1


@each_export
def test_what_is_proposed_is_valid_and_loads_every_row_of_its_file(
    export: Export, tmp_path: Path
) -> None:
    """As far as nothing is open: of what the schema requires, each row must have it."""
    file, known = written(export, tmp_path)
    found = draft(detect(file, export.file), known)
    made = found.suggestion({"datasetName": "d"}, copy=True)
    assert lint(json.dumps({"routes": [made.route]}).encode()) == []
    compiled = compile_map(made.route["map"], known.schema, made.route["inputFormat"])
    assert {each.path for each in compiled.problems} <= {"_id", "timestamp"}
    if compiled.problems:
        return
    rows_map = RowMap(compiled.document, export.file, export.file)
    document = known.registered.document
    done = trial.run(found.file, compiled.document, rows_map, document, show=1)
    assert (done.broken, done.unfit) == (0, 0)
    assert done.rows == done.validated > 1


# How values are read

DATE: Type = {"type": "date"}
MOMENT: Type = {"type": "date-time"}
NUMBER: Type = {"type": "number"}
FLAG: Type = {"type": "boolean"}
TIER: Type = {"type": "string", "enum": ["none", "silver", "gold"]}


@pytest.mark.parametrize(
    ("texts", "kind", "semicolons", "how"),
    [
        (["2026-01-31"], DATE, False, {}),
        (["31.01.2026", "01.02.2026"], DATE, True, {"format": "dd.MM.yyyy"}),
        (["1/31/2026", "2/1/2026"], DATE, False, {"format": "M/d/yyyy"}),
        (["20260131"], DATE, False, {"format": "yyyyMMdd"}),
        (["31-JAN-26"], DATE, False, {"format": "d-MMM-yy"}),
        (["2026-01-31T10:00:00Z"], DATE, False, {"as": "date-time"}),
        (["2026-01-31"], MOMENT, False, {"as": "date"}),
        (["31.01.2026 10:00"], MOMENT, True, {"format": "dd.MM.yyyy HH:mm"}),
        (["1/31/2026 1:05 PM"], MOMENT, False, {"format": "M/d/yyyy h:mm a"}),
        (["2026-01-31 10:00:00 +0100"], MOMENT, False, {"format": "yyyy-MM-dd HH:mm:ss Z"}),
        (["1764230400"], MOMENT, False, {"format": "epoch-seconds"}),
        (["1764230400123"], MOMENT, False, {"format": "epoch-milliseconds"}),
        (["1.5", "-2"], NUMBER, False, {}),
        (["1,5", "2,25"], NUMBER, True, {"decimal": ",", "thousands": "."}),
        (["1.234,50"], NUMBER, False, {"decimal": ",", "thousands": "."}),
        (["1,234.50"], NUMBER, False, {"thousands": ","}),
        (["1 234,50"], NUMBER, True, {"decimal": ",", "thousands": " "}),
        (["true", "FALSE"], FLAG, False, {}),
        (["Ja", "nein"], FLAG, True, {"lower": True, "values": {"ja": True, "nein": False}}),
        (["1", "0"], FLAG, False, {"lower": True, "values": {"1": True, "0": False}}),
        (["Gold", "SILVER"], TIER, False, {"lower": True}),
        ([" a ", "b"], {"type": "string"}, False, {"trim": True}),
        (["by"], {"type": "string", "pattern": "^[A-Z]{2}$"}, False, {"upper": True}),
    ],
)
def test_how_a_column_is_read(
    texts: list[str], kind: Type, semicolons: bool, how: dict[str, Any]
) -> None:
    found = readings.read(texts, kind, semicolons=semicolons)
    assert (found.how, found.fits) == (how, 1.0)


@pytest.mark.parametrize(
    ("texts", "kind", "says"),
    [
        (["01/02/2026", "03/04/2026"], DATE, "dd/MM/yyyy fits as well"),
        (["1,234"], NUMBER, "makes other numbers"),
        (["2026-01-31 10:00:00"], MOMENT, "read as UTC"),
        ([], DATE, "no value was seen"),
    ],
)
def test_what_could_be_read_otherwise_is_said(texts: list[str], kind: Type, says: str) -> None:
    assert says in readings.read(texts, kind, semicolons=False).doubt


@pytest.mark.parametrize(
    ("texts", "kind"),
    [(["soon", "later"], DATE), (["a1"], NUMBER), (["vielleicht"], FLAG)],
)
def test_what_cannot_be_read(texts: list[str], kind: Type) -> None:
    assert readings.read(texts, kind, semicolons=False).fits < readings.ENOUGH


def test_codes_become_a_table_of_fifty_at_most() -> None:
    found = readings.read(["G", "S", "X"], TIER, semicolons=False)
    assert found.values == {"G": "gold", "S": "silver", "X": None}
    many = readings.read([f"c{n}" for n in range(51)], TIER, semicolons=False)
    assert many.values is None


# The command


def test_a_route_goes_to_standard_output_and_what_is_open_beside_it(
    here: Path, capsys: Output
) -> None:
    file, _ = written(CRM_GERMAN, here)
    typed = ["routes", "suggest", file.name, "--schema", "schema.json", "--dataset", "CRM"]
    assert main(typed) == 0
    said = capsys.readouterr()
    [route] = json.loads(said.out)["routes"]
    assert route["name"] == "kundenexport"
    assert route["match"] == "**/Kundenexport_*.csv"
    assert (route["datasetName"], route["inputFormat"]) == ("CRM", CRM_GERMAN.input_format)
    assert route["map"]["person.gender"] == "Geschlecht", "nothing of the file is in the route"
    assert route["map"]["_acme.totalRevenue"] == {
        "from": "Umsatz_Gesamt",
        "decimal": ",",
        "thousands": ".",
    }
    assert said.err.startswith(
        f"{file.name}: CSV in ISO-8859-1, ';' between columns, '\"' around values, a header\n"
    )
    assert "│ Geburtsdatum  │ person.birthDate          │ format 'dd.MM.yyyy'        │" in said.err
    assert "open: Geschlecht: 2 different values, and the schema allows male, " in said.err
    assert max(map(len, said.err.splitlines())) <= 100
    assert main([*typed, "--copy-values"]) == 0
    [route] = json.loads(capsys.readouterr().out)["routes"]
    table = {"w": "female", "m": "male"}
    assert route["map"]["person.gender"] == {"from": "Geschlecht", "values": table}


@pytest.mark.parametrize(("answer", "copied"), [("y\n", True), ("n\n", False)])
def test_at_a_terminal_it_asks_before_it_copies_values(
    answer: str, copied: bool, here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = written(LOYALTY, here)
    asked = list[str]()

    def ask(_: str) -> str:
        asked.append(answer)
        return answer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", ask)
    assert main(["routes", "suggest", file.name, "--schema", "schema.json"]) == 0
    [route] = json.loads(capsys.readouterr().out)["routes"]
    assert asked
    assert ("values" in route["map"]["_acme.tier"]) is copied
    assert route["map"]["_acme.emailOptIn"] == "opt_in_email", "read as the words that AEP takes"


def test_as_json(here: Path, capsys: Output) -> None:
    file, _ = written(LOYALTY, here)
    assert main(["routes", "suggest", file.name, "--schema", "schema.json", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    told = json.loads(said.out)
    assert told.keys() == {"table", "columns", "unmatched", "open"}
    [dob] = [each for each in told["columns"] if each["column"] == "dob"]
    assert dob["path"] == "person.birthDate"
    assert "tier" in {each["about"] for each in told["open"]}


def test_an_ad_hoc_schema_needs_no_map(here: Path, capsys: Output) -> None:
    file, _ = written(LOYALTY, here)
    flat = {**LOYALTY.schema, "meta:extends": ["https://ns.adobe.com/xdm/data/adhoc"]}
    Path("schema.json").write_text(json.dumps(flat))
    assert main(["routes", "suggest", file.name, "--schema", "schema.json"]) == 0
    said = capsys.readouterr()
    assert "map" not in json.loads(said.out)["routes"][0]
    assert "go up as they are" in said.err


@pytest.mark.usefixtures("here")
def test_json_in_the_shape_of_its_schema_needs_no_map(capsys: Output) -> None:
    Path("schema.json").write_text(json.dumps(CRM_GERMAN.schema))
    row = {"person": {"name": {"firstName": "Ann"}}, "_acme": {"customerId": "1"}}
    Path("a.json").write_text(json.dumps([row, row]))
    assert main(["routes", "suggest", "a.json", "--schema", "schema.json"]) == 0
    said = capsys.readouterr()
    assert "map" not in json.loads(said.out)["routes"][0]
    assert "members of the schema already" in said.err


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("{", "is not a schema"),
        ("[]", "is not JSON Schema"),
        ('{"properties": {"a": 1}}', "is not JSON Schema"),
        ('{"properties": {"a": true}}', "is not a schema"),
        ('{"type": "object"}', "application/vnd.adobe.xed-full+json"),
        ('{"properties": {"a": {"$ref": "https://x.example"}}}', "refers to others"),
        ("[" * 100_000, "is no"),
    ],
)
def test_a_file_that_is_no_schema(schema: str, says: str, here: Path, capsys: Output) -> None:
    Path("a.csv").write_text("a,b\n1,2\n")
    Path("schema.json").write_text(schema)
    assert main(["routes", "suggest", "a.csv", "--schema", "schema.json"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err


def test_without_a_schema_it_says_how_to_give_one(here: Path, capsys: Output) -> None:
    Path("a.csv").write_text("a,b\n1,2\n")
    assert main(["routes", "suggest", "a.csv", "--dataset", "d"]) == 1
    assert "give --schema FILE, or --dataset NAME and --stack NAME" in capsys.readouterr().err


HOSTILE = {
    "control characters": "first\x1b[31mname,e\x9bmail,\u202elast name,,dup,dup\n\x1b]0;x\x07,b\n",
    "no rows": "first name,last name\n",
    "one cell": "x",
    "many columns": ",".join(f"column {n}" for n in range(10_000)) + "\n" + "1," * 9_999 + "1\n",
    "deep JSON": '{"a":' * 3_000 + "1" + "}" * 3_000,
    "half a surrogate": '{"first_name": "\\ud800", "\\ud801": 1, "": 2, "x": [[1]], "e": null}\n',
    "not a row": '{"email": 1}\n[]\nnull\n{"email": 2}\n',
}
BINARY = {"binary": b"\x00\x01\x02\xff" * 99, "zip": b"PK\x03\x04....", "empty": b"", "NUL": b"\0"}
BINARY |= {"parquet": b"PAR1....", "a gzip that breaks off": gzip.compress(b"a,b\n" * 99)[:-9]}


@pytest.mark.parametrize("content", [*HOSTILE.values()], ids=[*HOSTILE])
def test_a_hostile_file_is_proposed_a_route_and_shown_harmlessly(
    content: str, here: Path, capsys: Output
) -> None:
    written(CRM_GERMAN, here)
    Path("a\x1b[2J.csv").write_text(content)
    assert main(["routes", "suggest", "a\x1b[2J.csv", "--schema", "schema.json"]) == 0
    said = capsys.readouterr()
    json.loads(said.out)
    assert all(text == "\n" or text.isprintable() for text in said.out + said.err)
    assert len(said.out + said.err) < 20_000


@pytest.mark.parametrize("content", [*BINARY.values()], ids=[*BINARY])
def test_what_is_no_text_is_said_in_one_line(content: bytes, here: Path, capsys: Output) -> None:
    written(CRM_GERMAN, here)
    Path("a").write_bytes(content)
    assert main(["routes", "suggest", "a", "--schema", "schema.json"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Error: 'a' ")
    assert said.err.count("\n") == 1


# With a stack


def test_a_stack_is_asked_for_the_schema_of_the_dataset(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    organizations = Organizations((Organization(ARN, ("prod",)),))
    monkeypatch.setattr(options.Access, "stack", lambda _: None)
    monkeypatch.setattr(options.Access, "session", Session())
    monkeypatch.setattr(documents, "organizations_of", lambda *_: organizations)
    monkeypatch.setattr(datasets, "adobe_clients", lambda *_: (world.credentials, world.adobe))
    Path("members.csv").write_text("member_id,first_name,email\nA1,Ann,ann@example.com\n")
    typed = ["routes", "suggest", "members.csv", "--stack", "s", "--sandbox", "prod"]
    assert main([*typed, "--dataset", "loyalty"]) == 0
    [route] = json.loads(capsys.readouterr().out)["routes"]
    assert route["map"]["_acme.memberId"] == "member_id"
    assert route["sandbox"] == "prod"
    assert main([*typed, "--dataset", "nobody's"]) == 1
    assert "nobody's" in capsys.readouterr().err


class Session:
    """An AWS session of which nothing is asked."""

    def client(self, _: str) -> None:
        return None
