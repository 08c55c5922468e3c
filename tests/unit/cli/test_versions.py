"""A table beside another one: what differs, and how it moves to another sandbox."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aep_intake.model.organizations import Organization, Organizations
from aep_intake_cli import documents, publishing
from aep_intake_cli.command import main
from aep_intake_cli.documents import DocumentRefused
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.routing.move import moved
from aep_intake_cli.versions import differences

from tests.adobe_world import ARN, World

NAMES = "version 1", "routes.json"


def table(*written: dict[str, Any], **layout: Any) -> bytes:
    routes = [{"name": f"r{n}", "match": f"{n}/**", **one} for n, one in enumerate(written)]
    return json.dumps({"routes": routes}, **layout).encode()


def test_tables_that_say_the_same_do_not_differ() -> None:
    before = table({"datasetId": "a", "compiledMap": "0" * 64, "lookup": True}, indent=1)
    assert differences(before, table({"datasetId": "a"}), NAMES) == []


def test_what_differs_is_told_by_member() -> None:
    lines = differences(table({"datasetId": "a"}), table({"datasetId": "b"}), NAMES)
    assert lines[:2] == ["--- version 1", "+++ routes.json"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        '-      "datasetId": "a"',
        '+      "datasetId": "b"',
    ]


def test_that_nothing_differs_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published = SimpleNamespace(live=lambda: 3, read=lambda _: table({"datasetId": "a"}))
    monkeypatch.setattr(publishing, "document_of", lambda *_: published)
    file = tmp_path / "routes.json"
    for dataset, code, told in (("a", 0, "No difference.\n"), ("b", 1, "")):
        file.write_bytes(table({"datasetId": dataset}))
        assert main(["routes", "diff", str(file), "--stack", "aep-intake"]) == code
        said = capsys.readouterr()
        assert said.err == told
        assert bool(said.out) is bool(code)
    file.write_bytes(table({"datasetId": "a"}))
    assert main(["routes", "diff", str(file), "--stack", "aep-intake", "--json"]) == 0
    assert capsys.readouterr() == ("[]\n", "")


@pytest.fixture
def world() -> World:
    return World()


def move(world: World, *routes: dict[str, Any], to: str = "dev") -> list[dict[str, Any]]:
    organizations = Organizations((Organization(ARN, ("prod", "dev")),))
    ims_orgs = {ARN: world.seed.ims_org}
    document = moved(table(*routes), world.adobe, ims_orgs, organizations, ("prod", to))
    found: list[dict[str, Any]] = json.loads(document)["routes"]
    return found


def test_no_table_moves_to_a_sandbox_that_the_stack_does_not_have(world: World) -> None:
    """It could not be published there, and a mistyped name would move nothing, in silence."""
    with pytest.raises(
        CommandFailed, match="stage is not a sandbox of the stack, which has dev, prod"
    ):
        move(world, {"datasetName": "{d}", "match": "{d}/*"}, to="stage")


def test_a_table_moves_with_the_names_of_its_datasets(world: World) -> None:
    world.simulator.add_dataset(world.seed.ims_org, "prod", "11aa", "crm")
    world.simulator.add_dataset(world.seed.ims_org, "dev", "22bb", "crm")
    routes: list[dict[str, Any]] = [
        {"datasetId": "11aa"},
        {"datasetName": "any", "sandbox": "prod"},
        {"datasetName": "any", "sandbox": "dev"},
        {"match": "{sandbox}/{d}/*", "datasetId": "{d}"},
        {"ignore": True},
    ]
    found = move(world, *routes)
    assert [(written.get("sandbox"), written.get("datasetId")) for written in found] == [
        ("dev", "22bb"),
        ("dev", None),
        ("dev", None),
        (None, "{d}"),
        (None, None),
    ]


def test_each_dataset_that_is_not_there_is_told(world: World) -> None:
    world.simulator.add_dataset(world.seed.ims_org, "prod", "11aa", "crm")
    with pytest.raises(DocumentRefused) as refused:
        move(world, {"datasetId": "11aa"}, {"datasetId": "00aa"})
    told = [(problem.route, problem.text) for problem in refused.value.problems]
    assert told == [
        ("r0", "no datasets called 'crm' in sandbox dev"),
        ("r1", "no dataset 00aa in sandbox prod"),
    ]


@pytest.mark.parametrize(("age", "waits"), [(12, 20.0), (40, 0.0)])
def test_a_redrive_waits_until_all_read_what_was_published(
    age: int, waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    published: Any = SimpleNamespace(
        deployments=lambda: [{"CompletedAt": datetime.now(UTC) - timedelta(seconds=age)}]
    )
    documents.wait_until_read(published)
    assert slept == [pytest.approx(waits, abs=2)]
    documents.wait_until_read(SimpleNamespace(deployments=list))  # type: ignore[arg-type]
    assert len(slept) == 1, "nothing was ever published"
