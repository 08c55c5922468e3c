"""`aep-intake probe`: each question against each answer that Adobe's documents leave open."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jsonschema
import pytest
import requests
from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.http import https_session
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.model.organizations import Limits, parse
from aep_intake_cli.command import main
from aep_intake_cli.probe import access, report
from aep_intake_cli.probe.access import Entrance, open_dataset
from aep_intake_cli.probe.cleanup import clean_up
from aep_intake_cli.probe.dataset import TAG, NoAnswerFound, ProbedDataset, all_of
from aep_intake_cli.probe.questions import QUESTIONS, Judgement
from aep_intake_cli.probe.report import Answered
from aep_intake_cli.probe.rows import ProbeRefused, Rows

from local.simulator import TOKEN_PREFIX, Fault
from local.simulator.app import running
from local.simulator.registry import sample
from local.simulator.seed import LOYALTY, PROFILES, SCHEMAS, SYSTEM, WEB_EVENTS
from local.simulator.switches import Switches
from tests.adobe_world import ARN, LEDGER, World, own_shape

Output = pytest.CaptureFixture[str]
PAGE = Path(__file__).parents[3] / "docs" / "probe.md"
DEV = "dev"
ENDED = {"aborted", "failed", "failure", "inactive", "deleted"}


@pytest.fixture
def world() -> World:
    made = World()
    made.simulator.switches.change(loaded_ms=0, staging_ms=0, staged_ms=0)
    return made


def way_in(world: World) -> Entrance:
    def wait(seconds: float) -> None:
        world.clock.advance(int(1000 * seconds))

    return Entrance(world.adobe, ARN, world.seed.ims_org, None, world.clock, wait)


def probed(
    world: World, dataset: str = LOYALTY, name: str = "loyalty", **more: Any
) -> ProbedDataset:
    given: dict[str, Any] = {"production": False, "cleaning": False} | more
    return open_dataset(way_in(world), given.pop("sandbox", DEV), dataset, name, **given)


def asked(world: World, name: str, limits: Limits | None = None) -> Answered:
    [question] = (each for each in QUESTIONS if each.name == name)
    adhoc = question.only == "ad-hoc"
    at = probed(world, *((WEB_EVENTS, "web-events") if adhoc else ()))
    [(_, line)] = all_of({name: report.answered(question, at, limits or Limits())}, at.wait)
    return line


# switch → question → position → the answer, and what stands in its details
TOLD: dict[str, tuple[str, dict[Any, tuple[str, str]]]] = {
    "external_id_reuse": (
        "external-id",
        {
            "accepted": ("accepted", "201"),
            "refused": ("refused", "409"),
            "refused-400": ("refused", "400"),
            "returned": ("returned", "201"),
        },
    ),
    "external_id_filter": (
        "lookup",
        {
            "works": ("found", ""),
            "ignored": ("not filtered", ""),
            "finds-nothing": ("not found", ""),
        },
    ),
    "catalog_lag_ms": (
        "catalog-lag",
        {0: ("in time", "0.0, 0.0, 0.0 s"), 30_000: ("in time", "30"), 60_000: ("late", "60")},
    ),
    "upload_answers": (
        "put",
        {"usual": ("200", "again: 200"), "spec": ("201", "again: 200"), "docs": ("200", "200")},
    ),
    "head_answers": (
        "head",
        {
            "range": ("size", "404 before its PUT, 200 bytes=0-"),
            "bare": ("no size", "404 before its PUT, 200 after it"),
            "not-found": ("wrong", "404 before its PUT, 404 after it"),
        },
    ),
    "replay_form": (
        "replay",
        {
            "any": ("as set", "$predecessors"),
            "none": ("none", "$predecessors; predecessors; $predecessorsByExternalId; predec"),
            "$predecessors": ("as set", "$predecessors"),
            "predecessors": ("other", "predecessors; not $predecessors"),
            "$predecessorsByExternalId": ("other", "$predecessorsByExternalId; not $predecessors,"),
            "predecessorsByExternalId": ("other", "predecessorsByExternalId; not $predecessors,"),
        },
    ),
    "chunked_upload": ("chunked", {"accepted": ("taken", "200"), "refused": ("refused", "411")}),
    "gzipped": (
        "compressed",
        {"corrupt": ("failed", "failed (INGEST-1401-400)"), "read": ("loaded", "success")},
    ),
    "csv_to_xdm": (
        "csv",
        {"refused": ("failed", "SIMULATED-2004-400"), "accepted": ("loaded", "success")},
    ),
    "bom": ("csv-bom", {"taken": ("loaded", "success"), "refused": ("failed", "INGEST-1401-400")}),
    "header_only": (
        "header-only",
        {"success": ("loaded", "success"), "failed": ("failed", "failed (106)")},
    ),
    "mapping_tag": (
        "mapping-tag",
        {"read": ("read", "failed (MAPPER-3700-400)"), "ignored": ("ignored", "success")},
    ),
    "diagnostics_name": (
        "failing",
        {"nothing": ("names no file", "_filename"), "uploads": ("names the file", "_filename")},
    ),
    "diagnostics_kept_ms": (
        "failing",
        {0: ("without rows", "recordCount 1; no rows"), 60_000: ("names no file", "_errors")},
    ),
    "failure_name": (
        "failing",
        {
            "failed": ("names no file", "failed (INGEST-1212-400, INGEST-1401-400)"),
            "failure": ("names no file", "failure (INGEST-1212-400, INGEST-1401-400)"),
        },
    ),
    "success_name": (
        "csv-bom",
        {"success": ("loaded", "success"), "active": ("loaded", "active")},
    ),
    "row_validation": (
        "rows",
        {
            "enabled": ("some refused", "good: taken, unknown key: refused"),
            "disabled": ("all taken", "good, unknown key, null, bare date, no date, below minimum"),
        },
    ),
    "unknown_keys": (
        "rows",
        {
            "refused": ("some refused", "unknown key: refused (SIMULATED-2002-400)"),
            "ignored": ("some refused", "unknown key: taken"),
        },
    ),
    "nulls": (
        "rows",
        {
            "refused": ("some refused", "null: refused (SIMULATED-200"),
            "ignored": ("some refused", "null: taken"),
        },
    ),
    "bare_dates": (
        "rows",
        {
            "refused": ("some refused", "bare date: refused (SIMULATED-2002-400)"),
            "accepted": ("some refused", "bare date: taken"),
        },
    ),
    "conversion_code": ("rows", {"X-1-400": ("some refused", "no date: refused (X-1-400)")}),
    "constraint_code": ("rows", {"X-2-400": ("some refused", "below minimum: refused (X-2-400)")}),
}
# Switches that no question asks about, and why.
SILENT = {
    "expires_in": "documented: the token says it",
    "default_sandbox": "every call names its sandbox",
    "unknown_sandbox": "either way the probe is refused",
    "unknown_dataset": "either way the order is rejected",
    "input_format_required": "always sent",
    "abort": "the end of each probe works either way",
    "abandon_after_ms": "takes longer than a person waits",
    "nothing_found": "either way it is none",
    "unknown_filter": "the intake sends documented ones",
    "sandbox_list": "decides whether there is a probe at all",
    "put_limit": "256 MB for an answer that no setting follows from",
    "too_large": "as above",
    "wrong_dataset": "never sent",
    "files_per_batch": "documented",
    "connection_bytes_per_second": "a matter of the network, measured by make bench",
    "loaded_ms": "how long AEP takes; the intake waits",
    "staging_ms": "as above",
    "retrying_ms": "as above",
    "staged_ms": "as above",
    "without_files": "no batch is completed without files",
    "deleted_after_ms": "after the end of the probe",
    "consolidated_after_ms": "as above; what is compacted is told by the cleanup",
    "deep_enums": "the schema of the dataset need not have any",
    "json_integers": "maps write dates as text",
    "incompatible": "a row that fails its batch would hide the others",
    "incompatible_code": "as above",
    "registry_errors": "either way the schema cannot be read",
    "registry_access": "refused before the first question",
}


def test_every_switch_is_asked_about_or_said_not_to_be() -> None:
    assert set(TOLD) | set(SILENT) == {each.name for each in fields(Switches)}
    assert not set(TOLD) & set(SILENT)
    kinds = get_type_hints(Switches)
    for name, (_, positions) in TOLD.items():
        if get_origin(kinds[name]) is Literal:
            assert set(positions) == set(get_args(kinds[name])), name


def test_every_answer_has_a_switch() -> None:
    told = {(question, answer) for question, at in TOLD.values() for answer, _ in at.values()}
    assert told == {(each.name, answer) for each in QUESTIONS for answer in each.expected}


@pytest.mark.parametrize(
    ("switch", "position"), [(name, at) for name, (_, told) in TOLD.items() for at in told]
)
def test_the_answer_is_the_switchs(world: World, switch: str, position: object) -> None:
    world.simulator.switches.change(**{switch: position})
    question, told = TOLD[switch]
    answer, details = told[position]
    line = asked(world, question)
    assert line.answer.startswith(answer)
    assert details in line.answer
    [asks] = (each for each in QUESTIONS if each.name == question)
    assert (line.verdict, line.means) == asks.expected[answer]


@pytest.mark.parametrize(
    ("switch", "position", "question", "setting"),
    [
        ("catalog_lag_ms", 60_000, "catalog-lag", {"settleSeconds": 190}),
        ("catalog_lag_ms", 1_100_000, "catalog-lag", {"settleSeconds": 3_320}),
        ("replay_form", "predecessors", "replay", {"replayBy": "predecessors"}),
    ],
)
def test_a_setting_follows_and_with_it_nothing_differs(
    world: World, switch: str, position: object, question: str, setting: dict[str, Any]
) -> None:
    world.simulator.switches.change(**{switch: position})
    line = asked(world, question)
    assert (line.verdict, line.settings) == (Judgement.DIFFERS, setting)
    document = report.with_settings(None, line.settings)
    set_so = parse(json.dumps(document).encode(), [ARN]).limits
    list(clean_up(probed(world, cleaning=True)))
    again = asked(world, question, set_so)
    assert (again.verdict, again.settings) == (Judgement.ASSUMED, {})


def test_what_is_stored_keeps_the_organizations(world: World) -> None:
    before = {
        "organizations": [{"credential": ARN, "sandboxes": ["dev", "prod"]}],
        "limits": {"batchesPerMinute": 138, "replayBy": "predecessors"},
    }
    organizations = parse(json.dumps(before).encode(), [ARN])
    stored = report.with_settings(
        organizations, {"settleSeconds": 190, "replayBy": "$predecessors"}
    )
    assert stored == before | {
        "limits": {"batchesPerMinute": 138, "settleSeconds": 190, "replayBy": "$predecessors"}
    }


def test_catalog_that_never_shows_a_batch_is_no_answer(world: World) -> None:
    world.simulator.show_in_catalog(lambda _, __: False)
    line = asked(world, "catalog-lag")
    assert line.verdict is Judgement.NO_ANSWER
    assert "after 1,200 seconds" in line.answer


def test_an_answer_that_nobody_expects_differs(world: World) -> None:
    world.simulator.faults.add(Fault("status", operation="put-file", status=418, count=0))
    line = asked(world, "put")
    assert (line.verdict, line.means) == (Judgement.DIFFERS, report.UNEXPECTED)
    assert "418" in line.answer


def test_what_aep_does_not_serve_for_a_moment_is_asked_again(world: World) -> None:
    for operation in ("create", "put-file", "complete", "get-batch"):
        world.simulator.faults.add(Fault("gateway", operation=operation, count=2))
    world.simulator.faults.add(Fault("answer-lost", operation="put-file"))
    assert asked(world, "compressed").verdict is Judgement.ASSUMED


# ---- the whole of it


@pytest.mark.parametrize(
    ("dataset", "name", "only"), [(LOYALTY, "loyalty", "XDM"), (WEB_EVENTS, "web-events", "ad-hoc")]
)
def test_a_whole_probe_leaves_nothing_behind(
    world: World, dataset: str, name: str, only: str
) -> None:
    at = probed(world, dataset, name)
    lines = list(report.ask(at, Limits()))
    told = {line.question.name: line.verdict for line in lines}
    assert told == {
        each.name: Judgement.ASSUMED if each.only in (None, only) else Judgement.NOT_ASKED
        for each in QUESTIONS
    }
    assert report.as_assumed(lines)
    ended = list(clean_up(at))
    assert not [one for one in ended if one.left]
    batches = world.simulator.batches()
    assert {one.batch_id for one in ended} == {batch.id for batch in batches}
    assert len(batches) <= 20
    assert {batch.status for batch in batches} <= ENDED
    tags = [batch.members["tags"][TAG] for batch in batches]
    assert all(tag[0].startswith(f"{at.run} ") for tag in tags)
    # So the dataset can be probed again, with the settings that followed.
    probed(world, dataset, name)


def test_the_same_over_http(world: World) -> None:
    """On the wire, what is chunked is in chunks."""
    with running(world.simulator) as address:
        https = https_session(1)
        credentials = Credentials(world.secrets.client, https, address, world.clock)
        world.adobe = Adobe(https, credentials, address, lambda: LEDGER, world.clock)
        lines = list(report.ask(probed(world), Limits()))
        https.close()
    assert report.as_assumed(lines)
    puts = [one for one in world.simulator.received if one.operation == "put-file"]
    coding = [one.request.headers.get("transfer-encoding") for one in puts]
    assert coding.count("chunked") == 1


@pytest.mark.parametrize("body", ["json", "html", "empty"])
@pytest.mark.parametrize(
    "operation",
    ["create", "put-file", "head-file", "complete", "abort", "revert", "*-batch*", "list-meta"],
)
def test_answers_of_any_shape_end_in_a_report(world: World, operation: str, body: str) -> None:
    """First contact: nobody knows what comes. A batch is left only where nothing can be done."""
    at = probed(world)
    world.simulator.faults.add(
        Fault("status", operation=operation, status=200, body=body, accepted=True, count=0)
    )
    lines = list(report.ask(at, Limits()))
    assert {line.question.name for line in lines} == {each.name for each in QUESTIONS}
    list(clean_up(at))
    world.simulator.faults.clear()
    assert not [one for one in clean_up(probed(world, cleaning=True)) if one.left]
    assert {batch.status for batch in world.simulator.batches()} <= ENDED


# ---- what is refused


def filled(world: World) -> None:
    world.adobe.create(world.order(sandbox=DEV))


def left_by_an_earlier_one(world: World) -> None:
    probed(world).new_batch("put")


@pytest.mark.parametrize(
    ("given", "before", "says"),
    [
        ({"name": "Loyalty"}, None, "is not called 'Loyalty'"),
        ({"dataset": "65a7e0b3467cd24f1133de99"}, None, "there is no dataset"),
        ({"sandbox": "prod"}, None, "sandbox prod is production: choose a development sandbox"),
        ({"dataset": PROFILES, "name": "profiles"}, None, "enabled for Profile"),
        ({"dataset": SYSTEM, "name": "system"}, None, "Adobe's own"),
        ({}, filled, "holds a batch"),
        ({}, left_by_an_earlier_one, "run the command with --cleanup first"),
    ],
)
def test_a_dataset_that_may_not_be_probed(
    world: World, given: dict[str, Any], before: Any, says: str
) -> None:
    if before is not None:
        before(world)
    made = len(world.simulator.batches())
    with pytest.raises(ProbeRefused, match=says):
        probed(world, **given)
    assert len(world.simulator.batches()) == made


@pytest.mark.parametrize("sandbox", ["prod", DEV])
def test_a_sandbox_whose_type_is_not_known_counts_as_production(world: World, sandbox: str) -> None:
    world.simulator.switches.change(sandbox_list="denied")
    with pytest.raises(ProbeRefused, match="perhaps a production sandbox"):
        probed(world, sandbox=sandbox)
    assert probed(world, sandbox=sandbox, production=True).rows.adhoc is False


def test_a_sandbox_is_found_among_many(world: World) -> None:
    for number in range(120):
        world.simulator.add_sandbox(world.seed.ims_org, f"more-{number}")
    world.simulator.add_sandbox(world.seed.ims_org, "last", "production")
    world.simulator.add_dataset(world.seed.ims_org, "last", LOYALTY, "loyalty")
    with pytest.raises(ProbeRefused, match="sandbox last is production"):
        probed(world, sandbox="last")


def test_no_rows_can_be_made_up(world: World) -> None:
    document = sample("loyalty-members")
    pattern = {"type": "string", "pattern": "^[A-Z]$"}
    with pytest.raises(ProbeRefused, match="code is required and has a pattern"):
        Rows(document | {"required": ["code"], "properties": {"code": pattern}}, False).row()
    with pytest.raises(ProbeRefused, match="no field that takes any text"):
        Rows(document | {"properties": {"code": pattern}}, False).row()


@pytest.mark.parametrize("name", sorted({*SCHEMAS.values()}))
def test_rows_fit_the_schemas_of_the_samples(name: str) -> None:
    rows = Rows(sample(name), "adhoc" in name)
    if not rows.adhoc:
        jsonschema.validate(rows.row(), sample(name))
    assert rows.csv.startswith(rows.header)


# ---- ending what is left


def crashed(world: World) -> ProbedDataset:
    """A probe that stopped in the middle, with batches in every state."""
    at = probed(world)
    at.new_batch("put")
    name = f"rows.{at.rows.extension}"
    for ends in (True, False):
        world.simulator.switches.change(loaded_ms=0 if ends else 1_000)
        steps = at.load("replay", {name: at.rows.file})
        while next(steps, "ended") is None and ends:
            at.wait(1)
    world.simulator.faults.add(Fault("answer-lost", operation="create"))
    with pytest.raises(NoAnswerFound, match="no answer to the POST"):
        at.new_batch("head")
    return at


def test_what_a_crash_left_is_found_by_its_tag_and_ended(world: World) -> None:
    crashed(world)
    filled(world)  # somebody else's, by now
    statuses = [batch.status for batch in world.simulator.batches()]
    assert statuses == ["loading", "success", "loaded", "loading", "loading"]
    ended = list(clean_up(probed(world, cleaning=True)))
    assert sorted(one.done for one in ended) == ["aborted", "aborted", "reverted", "reverted"]
    statuses = [batch.status for batch in world.simulator.batches()]
    assert statuses == ["aborted", "inactive", "inactive", "aborted", "loading"]
    again = list(clean_up(probed(world, cleaning=True)))
    assert {one.done for one in again} == {"aborted", "inactive"}
    assert not [one for one in ended + again if one.left]


def test_what_cannot_be_ended_is_told(world: World) -> None:
    at = crashed(world)
    world.simulator.switches.change(consolidated_after_ms=0)
    world.simulator.faults.add(Fault("status", operation="revert", status=403, count=0))
    left = [one for one in clean_up(at) if one.left]
    assert len(left) == 2
    assert all("REVERT was refused" in one.done or "compacted" in one.done for one in left)
    world.simulator.faults.clear()
    world.simulator.faults.add(Fault("status", operation="list-batches", status=403, count=0))
    [first, *_] = clean_up(at)
    assert (first.left, first.batch_id) == (True, "(all others)")


# ---- the command


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is typed; AEP is the world's."""
    monkeypatch.delenv("AEP_INTAKE_STACK", raising=False)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    file = Path("console.json")
    file.write_text(json.dumps(own_shape(world.seed)))

    def session(_: int) -> requests.Session:
        return world.session

    monkeypatch.setattr(access, "https_session", session)
    monkeypatch.setattr(access, "now", world.clock)
    here = partial(Entrance, clock=world.clock, wait=way_in(world).wait)
    monkeypatch.setattr(access, "Entrance", here)
    typed = ["probe", "--dataset", LOYALTY, "--name", "loyalty", "--sandbox", DEV]
    return [*typed, "--credential-file", str(file)]


def test_a_probe_with_a_credential_file_and_no_stack(
    world: World, command: list[str], capsys: Output
) -> None:
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"Dataset loyalty ({LOYALTY}) in sandbox dev, run ")
    assert "No setting follows." in said.out
    assert "Batches of the probe: 10 aborted, 4 failed, 1 inactive, 2 reverted." in said.out
    for secret in (world.seed.client_secret, TOKEN_PREFIX, world.seed.client_id):
        assert secret not in said.out + said.err


def test_the_report_is_the_one_on_the_page(
    world: World, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    world.simulator.switches.change(replay_form="predecessors", catalog_lag_ms=60_000)
    monkeypatch.setenv("COLUMNS", "110")
    assert main(command) == 1
    said = re.sub(r"run [0-9a-f]{8}", "run 1a2b3c4d", capsys.readouterr().out)
    assert f"```\n{said}```" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("columns", [80, 140])
def test_it_is_as_wide_as_the_terminal(
    world: World, command: list[str], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    lines = [Answered(one, Judgement.ASSUMED, "x " * 90, "y " * 90, {}) for one in QUESTIONS]
    monkeypatch.setattr(report, "ask", lambda _, __: iter(lines))
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(command) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert {len(line) for line in table} == {columns}


def test_for_programs_with_settings_that_are_stored(
    world: World, command: list[str], capsys: Output
) -> None:
    world.simulator.switches.change(replay_form="predecessors", catalog_lag_ms=60_000)
    assert main([*command, "--json", "--store", "limits.json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["settings"] == {"settleSeconds": 190, "replayBy": "predecessors"}
    assert {one["verdict"] for one in told["questions"]} == {"as assumed", "differs", "not asked"}
    assert len(told["questions"]) == len(QUESTIONS)
    assert not any(one["left"] for one in told["batches"])
    assert json.loads(Path("limits.json").read_text()) == {"limits": told["settings"]}
    assert main([*command, "--store", "limits.json"]) == 2, "nothing is overwritten"


def test_a_refusal_is_2_and_changes_nothing(
    world: World, command: list[str], capsys: Output
) -> None:
    assert main([*command, "--sandbox", "prod"]) == 2
    assert capsys.readouterr().err.startswith("Refused: sandbox prod is production")
    assert world.simulator.batches() == []


def test_stopped_in_the_middle_nothing_is_left(
    world: World, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def stopped(at: ProbedDataset, _: Limits) -> Iterator[Answered]:
        at.new_batch("put")
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(report, "ask", stopped)
    assert main(command) == 130
    assert [batch.status for batch in world.simulator.batches()] == ["aborted"]


def test_cleanup_alone(world: World, command: list[str], capsys: Output) -> None:
    crashed(world)
    assert main([*command, "--cleanup"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("Batches of the probe: 2 aborted, 2 reverted.\n")
    assert "AEP's answer" not in said


def test_two_credentials(command: list[str], capsys: Output) -> None:
    assert main([*command, "--credential", "acme"]) == 2
    assert "not both" in capsys.readouterr().err


def test_without_a_credential(command: list[str], capsys: Output) -> None:
    assert main(command[:-2]) == 1
    assert "give --credential-file FILE, or --stack" in capsys.readouterr().err
