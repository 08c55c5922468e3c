"""What `aep-intake` says, and its exit codes: 0 all is well, 1 a finding or a failure, 2 usage."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from aep_intake.model.errors import IntakeError
from aep_intake_cli import options
from aep_intake_cli.command import aep_intake, main
from aep_intake_cli.failures import CommandFailed
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError, ProfileNotFound

SAMPLE = Path(__file__).parents[3] / "local" / "samples" / "routes.json"
# What only some commands need, and what would keep all of them waiting.
HEAVY = {"boto3", "botocore", "requests", "rich", "urllib3", "aep_intake"}

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack is named, and no AWS is there."""
    monkeypatch.delenv("AEP_INTAKE_STACK", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(boto3, "Session", None)


def commands(group: click.Group, *typed: str) -> Iterator[list[str]]:
    yield [*typed]
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *typed, name)
        else:
            yield [*typed, name]


@pytest.mark.parametrize("typed", list(commands(aep_intake)), ids=" ".join)
def test_help_at_each_level(typed: list[str], capsys: Output) -> None:
    assert main([*typed, "--help"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(" ".join(["Usage: aep-intake", *typed]))
    assert said.err == ""
    assert "..." not in said.out.partition("Commands:")[2], "a line says all of it"


def test_each_command_speaks_json_too() -> None:
    """But those that print JSON anyway, and the page."""
    json_anyway = {"routes live", "routes move", "limits live", "limits from-parameters"}
    text_only = set()
    for typed in commands(aep_intake):
        found: click.Command = aep_intake
        for name in typed:
            assert isinstance(found, click.Group)
            found = found.commands[name]
        if "as_json" not in {parameter.name for parameter in found.params}:
            text_only.add(" ".join(typed))
    groups = {"", "routes", "limits"}
    assert text_only - groups == json_anyway | {"console"}


def test_a_forecast_for_programs(capsys: Output) -> None:
    assert main(["routes", "forecast", str(SAMPLE), "--files-per-day", "prices=200", "--json"]) == 0
    shares = {share["rule"]: share for share in json.loads(capsys.readouterr().out)}
    assert shares["prices"] == {
        "rule": "prices",
        "sandbox": None,
        "credential": None,
        "oneBatchFor": "object",
        "batchesPerDay": 200,
        "forEach": [],
        "profile": None,
    }
    assert shares["updates"]["oneBatchFor"] == "1m"
    assert (shares["loyalty"]["batchesPerDay"], "unfinished" in shares) == (None, False)


def test_help_waits_for_nothing() -> None:
    code = (
        "import sys; from aep_intake_cli.command import main; main(['--help']);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: aep-intake")
    assert HEAVY & {name.partition(".")[0] for name in done.stderr.split()} == set()


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("nonsense", "No such command"),
        ("routes check", "Missing argument 'TABLE'"),
        ("routes check missing.json", "'missing.json' does not exist"),
        ("routes publish", "Missing argument 'TABLE'"),
        ("routes rollback 0", "VERSION"),
        ("limits publish missing.json", "'missing.json' does not exist"),
        ("connect", "Missing argument 'BUCKET'"),
        ("connect b --since 2999-01-01", "in the future"),
        ("redrive --queue nowhere", "'nowhere' is not one of"),
        ("probe --dataset d", "Missing option '--name'"),
        (
            "restored --table t --since yesterday",
            "'yesterday' is not a time such as 2026-11-28T09:00:00Z, or an age such as 12h",
        ),
        ("restored --table t", "--since"),
    ],
)
def test_what_is_not_understood_is_said_with_where_to_look(
    typed: str, says: str, capsys: Output
) -> None:
    assert main(typed.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert "--help' for help" in said.err


def of_aws(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (CommandFailed("there is no stack x"), "there is no stack x"),
        (IntakeError("the ledger is gone"), "the ledger is gone"),
        (NoCredentialsError(), "sign in to AWS, set AWS_PROFILE, or give --profile"),
        (NoRegionError(), "give --region, or set AWS_REGION"),
        (ProfileNotFound(profile="acme"), "(acme) could not be found: `aws configure list-profi"),
        (of_aws("AccessDenied", "no"), "your AWS credentials do not allow DescribeStacks: no"),
        (of_aws("ExpiredToken", "old"), "your AWS credentials are wrong or have expired: old"),
        (PermissionError(13, "Permission denied", "t.json"), "t.json: Permission denied"),
    ],
)
def test_an_expected_error_is_one_line(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def fails(_: options.Access) -> None:
        raise error

    monkeypatch.setattr(options.Access, "stack", fails)
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert says in said.err
    assert said.err.count("\n") == 1


def test_a_bug_shows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: options.Access) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(options.Access, "stack", fails)
    with pytest.raises(KeyError, match="a bug"):
        main(["doctor"])


def test_who_stops_a_command_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def stopped(_: options.Access) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(options.Access, "stack", stopped)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err.strip() == "Stopped."


@pytest.mark.parametrize(
    ("typed", "environment", "access"),
    [
        ([], {}, options.Access("aep-intake", None, None)),
        ([], {"AEP_INTAKE_STACK": "b"}, options.Access("b", None, None)),
        (["--stack", "c"], {"AEP_INTAKE_STACK": "b"}, options.Access("c", None, None)),
        (["--region", "r", "--profile", "p"], {}, options.Access("aep-intake", "r", "p")),
        ([], {"AWS_REGION": "r"}, options.Access("aep-intake", "r", None)),
    ],
)
def test_which_stack_is_asked_and_as_whom(
    typed: list[str],
    environment: dict[str, str],
    access: options.Access,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def stack(access: options.Access) -> None:
        asked.append(access)
        raise CommandFailed("enough")

    monkeypatch.setattr(options.Access, "stack", stack)
    monkeypatch.delenv("AWS_REGION", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["doctor", *typed]) == 1
    assert asked == [access]


# routes: nothing is asked of AWS unless a stack is named


def table(*routes: dict[str, Any]) -> str:
    named = [{"name": f"route-{n}", "datasetId": "d"} | written for n, written in enumerate(routes)]
    for written in named:
        if written.get("ignore"):
            del written["datasetId"]
    return json.dumps({"routes": named})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("routes.json")


def test_a_good_table(capsys: Output) -> None:
    assert main(["routes", "check", str(SAMPLE)]) == 0
    assert capsys.readouterr().out == f"{SAMPLE}: 11 routes, no problems\n"
    assert main(["routes", "check", "--json", str(SAMPLE)]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["routes", "explain", str(SAMPLE)]) == 0
    assert "landing/products/products.parquet" in capsys.readouterr().out


def test_each_problem_of_a_table_is_a_line(file: Path, capsys: Output) -> None:
    file.write_text(table({"match": "*"}, {"match": "*"}))
    text = "route `route-0` takes all its keys first: move it up, or add an example"
    assert main(["routes", "check", "routes.json"]) == 1
    assert capsys.readouterr().out == f"routes.json: route-1: routes[1].match: {text}\n"
    assert main(["routes", "check", "routes.json", "--json"]) == 1
    problem = {"rule": "route-1", "field": "routes[1].match", "text": text}
    assert json.loads(capsys.readouterr().out) == [problem]
    for command in ("explain", "forecast"):
        assert main(["routes", command, "routes.json"]) == 1
        said = f"Error: routes.json has problems\n  route-1: routes[1].match: {text}\n"
        assert capsys.readouterr().err == said


def test_a_warning_stands_beside_the_output_and_is_no_problem(file: Path, capsys: Output) -> None:
    file.write_text(table({"match": "{t}_*", "tags": {"t": ["{t}"]}}))
    for more, says in ([], "routes.json: 1 route, no problems\n"), (["--json"], "[]\n"):
        assert main(["routes", "check", "routes.json", *more]) == 0
        said = capsys.readouterr()
        assert said.out == says
        assert said.err.startswith("routes.json: warning: route-0: routes[0].match: {t} ends at")


def test_a_file_that_is_no_json(file: Path, capsys: Output) -> None:
    file.write_text("{")
    assert main(["routes", "check", "routes.json"]) == 1
    assert "not JSON" in capsys.readouterr().out


def test_a_table_without_keys_to_explain(file: Path, capsys: Output) -> None:
    file.write_text('{"routes": [{"name": "all", "match": "**", "ignore": true}]}')
    assert main(["routes", "explain", "routes.json"]) == 0
    said = capsys.readouterr()
    assert said.out == "", "no empty table"
    assert "give keys to explain" in said.err
    assert main(["routes", "explain", "routes.json", "nowhere[red]", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one == {"key": "nowhere[red]", "rule": "all", "outcome": "ignored", "placeholders": {}}
    assert main(["routes", "forecast", "routes.json"]) == 0
    assert "no route of this table makes batches" in capsys.readouterr().out


@pytest.fixture
def windowed(file: Path) -> None:
    file.write_text(
        table(
            {"match": "**/_temporary/**", "ignore": True},
            {"match": "a/*.csv", "batch": {"window": "16m"}},
            {"match": "b/*.csv", "examples": ["b/1.csv"]},
        )
    )


@pytest.mark.usefixtures("windowed")
def test_a_forecast_adds_up_without_asking_anybody(capsys: Output) -> None:
    assert main(["routes", "forecast", "routes.json"]) == 0, "a forecast is no problem"
    said = capsys.readouterr().out
    assert '"batch": {"window": "32m"}' in said
    assert "90 or more" in said
    told = ["--files-per-day", "route-1=40", "--files-per-day", "route-2=1440"]
    assert main(["routes", "forecast", "routes.json", *told]) == 0
    said = capsys.readouterr().out
    assert "1,480" in said
    assert "no limit" not in said


@pytest.mark.usefixtures("windowed")
@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ("nobody=1", "no route named nobody makes batches"),
        ("route-0=1", "no route named route-0 makes batches"),
        ("route-1", "not of the form ROUTE=NUMBER"),
        ("route-1=-1", "not of the form ROUTE=NUMBER"),
        ("=1", "not of the form ROUTE=NUMBER"),
    ],
)
def test_a_volume_that_says_nothing_is_refused(volume: str, says: str, capsys: Output) -> None:
    assert main(["routes", "forecast", "routes.json", "--files-per-day", volume]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["--help", f"routes forecast {SAMPLE}", f"routes check {SAMPLE}"])
def test_who_reads_no_further_is_no_failure(typed: str) -> None:
    """As in `aep-intake parked | head -1`: 1 would say that a check found a problem."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "aep_intake_cli", *typed.split()],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
