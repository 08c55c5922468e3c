"""What the linter finds, what the explainer shows, and what is never uploaded."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from aep_intake import routes
from aep_intake.organizations import Organization, Organizations
from botocore.response import StreamingBody
from botocore.stub import Stubber
from rich.console import Console

from tools import routes as command
from tools.published import Problem, Published, Refused
from tools.routes import explain, lint

SAMPLE = Path(__file__).parents[2] / "local" / "samples" / "routes.json"
GOOD = b'{"routes": [{"name": "all", "match": "**", "ignore": true}]}'


def table(*rules: dict[str, Any]) -> bytes:
    named = [
        {"name": f"rule-{number}", "datasetId": "d"} | rule for number, rule in enumerate(rules)
    ]
    for rule in named:
        if rule.get("ignore"):
            del rule["datasetId"]
    return json.dumps({"routes": named}).encode()


def found(*rules: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    return [(problem.rule, problem.field, problem.text) for problem in lint(table(*rules))]


def test_the_sample_table_may_go_live() -> None:
    assert lint(SAMPLE.read_bytes(), Organizations((Organization("arn", ("prod", "dev")),))) == []


def test_all_that_is_wrong_with_the_shape_is_told_at_once() -> None:
    assert lint(b'{"routes": [{"name": "a b", "match": 1}], "x": 1}') == [
        Problem("a b", "routes[0]", "needs exactly one of `ignore`, `datasetId`, `datasetName`"),
        Problem(
            "a b", "routes[0].name", "'a b' is not of the form ^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$"
        ),
        Problem("a b", "routes[0].match", "must be string"),
        Problem(None, "x", "is not known here"),
    ]


def test_what_only_the_function_checks_is_found_too() -> None:
    ((rule, field, text),) = found({"match": "{a}/*"})
    assert (rule, field) == ("rule-0", "routes[0].match")
    assert "{a} is used nowhere" in text
    ((rule, field, text),) = [(p.rule, p.field, p.text) for p in lint(b"{")]
    assert (rule, field, text[:8]) == (None, "", "not JSON")


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ("a/1.csv", "'a/1.csv' reaches rule `rule-0`"),
        ("c/1.csv", "'c/1.csv' reaches no rule"),
        ("b/1.txt", "'b/1.txt' would be rejected: format-unknown"),
        ("s3://other/b/1.csv", "'s3://other/b/1.csv' reaches rule `rule-1`"),
    ],
)
def test_an_example_that_goes_astray_is_named_with_where_it_went(example: str, text: str) -> None:
    rules: list[dict[str, Any]] = [
        {"match": "a/*"},
        {"match": "**", "bucket": "other"},
        {"match": "[ab]/*", "examples": ["b/1.csv", example]},
    ]
    assert found(*rules) == [("rule-2", "routes[2].examples[1]", text)]


def test_an_example_of_a_rule_for_some_buckets_names_one() -> None:
    ((rule, field, text),) = found({"match": "*", "bucket": "b-*", "examples": ["a.csv"]})
    assert (rule, field) == ("rule-0", "routes[0].examples[0]")
    assert "s3://bucket/key" in text
    assert found({"match": "*", "bucket": "b-*", "examples": ["s3://b-1/a.csv"]}) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/*.json", "a/*.json"),
        ("a/{x}.json", "a/*.json"),
        ("**", "a/*.json"),
        ("a/**", "a/{x}/b?/[0-9]*"),
        ("**/*.json", "*.json"),
        ("a/*", "a/[!b]"),
    ],
)
def test_a_rule_that_nothing_is_left_for_is_found(first: str, second: str) -> None:
    rules = [
        {"match": pattern, "tags": {"t": ["{x}"]} if "{x}" in pattern else {}}
        for pattern in (first, second)
    ]
    ((rule, field, text),) = found(*rules)
    assert (rule, field) == ("rule-1", "routes[1].match")
    assert "rule `rule-0` takes everything" in text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/*.json", "a/*"),
        ("a/*.json", "a/**"),
        ("*.json", "**/*.json"),
        ("a/?", "a/*"),
        ("a/b*", "a/*"),
    ],
)
def test_a_rule_that_something_is_left_for_is_not(first: str, second: str) -> None:
    assert found({"match": first}, {"match": second}) == []


def test_a_rule_for_one_bucket_does_not_shadow_the_others() -> None:
    assert found({"match": "**", "bucket": "a"}, {"match": "*"}) == []
    assert len(found({"match": "**", "bucket": "*"}, {"match": "*", "bucket": "a"})) == 1


def test_an_example_proves_that_a_rule_is_reached() -> None:
    # No sample has exactly four characters; the example has.
    first, second = {"match": "[!x]*"}, {"match": "*"}
    assert len(found(first, second)) == 1
    assert found(first, second | {"examples": ["x.csv"]}) == []


def test_what_the_deployment_does_not_allow_is_found() -> None:
    document = table(
        {"match": "a/*", "sandbox": "stage", "credential": "acme"},
        {"match": "{sandbox}/*", "sandbox": "{sandbox}", "credential": "other"},
    )
    arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme-Ab12Cd"
    assert lint(document) == []
    problems = lint(document, Organizations((Organization(arn, ("prod", "dev")),)))
    assert [(problem.rule, problem.field) for problem in problems] == [
        ("rule-0", "routes[0].sandbox"),
        ("rule-1", "routes[1].credential"),
    ]


def test_a_sandbox_is_one_of_its_own_organization() -> None:
    arns = [f"arn:aws:secretsmanager:eu-west-1:111122223333:secret:{n}-Ab12Cd" for n in "ab"]
    both = Organizations((Organization(arns[0]), Organization(arns[1], ("dev",))))
    document = table(
        {"match": "a/*", "sandbox": "dev", "credential": "a"},
        {"match": "b/*", "sandbox": "dev", "credential": "b"},
    )
    assert [problem.rule for problem in lint(document, both)] == ["rule-0"]


def test_the_explainer_tells_what_becomes_of_each_key() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(
        explain(
            routes.parse(SAMPLE.read_bytes(), "draft"),
            [
                "incoming/dev/web-events/a.csv",
                "x/_temporary/a",
                "nowhere[red]",
                "incoming/DEV/x/a.csv",
            ],
        )
    )
    rows = [cells(line) for line in console.export_text().splitlines() if line.startswith("│")]
    assert rows == [
        [
            "incoming/dev/web-events/a.csv",
            "by-folder",
            "csv → 'web-events' in sandbox dev",
            "sandbox=dev, dataset=web-events",
        ],
        ["x/_temporary/a", "unfinished", "ignored", ""],
        ["nowhere[red]", "no route", "", ""],
        [
            "incoming/DEV/x/a.csv",
            "by-folder",
            "rejected: target-not-allowed",
            "sandbox=DEV, dataset=x",
        ],
    ]


def test_the_explainer_tells_what_shares_a_batch() -> None:
    document = table(
        {"match": "w/*.csv", "batch": {"window": "16m"}},
        {"match": "m/**", "batch": {"marker": "_SUCCESS"}},
        {"match": "*", "batch": {"marker": "_ALL"}, "inputFormat": {"format": "csv"}},
    )
    keys = ["w/1.csv", "m/a/_SUCCESS", "m/a/1.json", "m/a/_tmp", "m/_temporary/1.json", "_ALL"]
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(explain(routes.parse(document, "draft"), keys))
    rows = [cells(line) for line in console.export_text().splitlines() if line.startswith("│")]
    assert [row[2] for row in rows] == [
        "csv → d in the default sandbox, each 16m",
        "all of m/a/ → d in the default sandbox",
        "json → d in the default sandbox, once _SUCCESS comes",
        "ignored",
        "ignored",
        "all of the bucket → d in the default sandbox",
    ]


def test_a_rule_whose_markers_another_rule_takes_is_found() -> None:
    """Its files would wait for ever."""
    hidden = {"match": "**/_*", "ignore": True}
    marked = {"match": "data/**/*.json", "batch": {"marker": "_SUCCESS"}}
    ((rule, field, text),) = found(hidden, marked)
    assert (rule, field) == ("rule-1", "routes[1].batch.marker")
    assert "rule `rule-0` takes the markers" in text
    assert found(marked, hidden) == []
    assert found({"match": "**/*.csv"}, marked) == []


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_the_command_fails_for_a_table_with_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_bytes(table({"match": "*"}, {"match": "*"}))
    monkeypatch.setattr(sys, "argv", ["routes", str(broken)])
    assert command.main() == 1
    assert "rule-1" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["routes", str(SAMPLE)])
    assert command.main() == 0
    assert "products" in capsys.readouterr().out


def test_the_command_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["routes", str(tmp_path / "missing.json")])
    assert command.main() == 1
    assert "No such file" in capsys.readouterr().out
    bare = tmp_path / "bare.json"
    bare.write_bytes(GOOD)
    monkeypatch.setattr(sys, "argv", ["routes", str(bare)])
    assert command.main() == 0
    said = capsys.readouterr().out
    assert "1 rule, no problems" in " ".join(said.split())
    assert "no keys to explain: give KEYS=…" in said
    assert "placeholders" not in said, "no empty table"


@pytest.fixture
def windowed(tmp_path: Path) -> Path:
    file = tmp_path / "windowed.json"
    file.write_bytes(
        table(
            {"match": "**/_temporary/**", "ignore": True},
            {"match": "a/*.csv", "batch": {"window": "16m"}},
            {"match": "b/*.csv", "examples": ["b/1.csv"]},
        )
    )
    return file


def test_the_command_adds_up_without_asking_anybody(
    windowed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STACK", "one-that-make-always-exports")
    monkeypatch.setattr(boto3, "Session", None)
    assert command.main([str(windowed)]) == 0, "a forecast is no problem"
    said = capsys.readouterr().out
    assert '"batch": {"window": "32m"}' in said
    assert "90 and no bound" in said
    assert "1,000" in said
    assert said.endswith("\n")


def test_the_command_counts_what_it_is_told(
    windowed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--files-per-day", "rule-1=40", "--files-per-day", "rule-2=1440"]
    assert command.main([str(windowed), "b/2.csv", *told, "--batches-per-minute", "138"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1,480" in said
    assert "no bound" not in said
    assert "1.0 on average by rule-2" in said
    assert "makes 138 at most" in said


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ("nobody=1", "no rule called nobody makes batches"),
        ("rule-0=1", "no rule called rule-0 makes batches"),
        ("rule-1", "not of the form RULE=NUMBER"),
        ("rule-1=-1", "not of the form RULE=NUMBER"),
        ("=1", "not of the form RULE=NUMBER"),
    ],
)
def test_a_volume_that_says_nothing_is_refused(
    windowed: Path, capsys: pytest.CaptureFixture[str], volume: str, says: str
) -> None:
    with pytest.raises(SystemExit) as refusal:
        command.main([str(windowed), "--files-per-day", volume])
    assert refusal.value.code == 2
    assert says in capsys.readouterr().err


def test_a_pace_that_is_none_is_refused(windowed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main([str(windowed), "--batches-per-minute", "0"])
    assert "at least 1" in capsys.readouterr().err


@pytest.fixture
def published() -> Published:
    client = boto3.client(
        "appconfig", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    return Published(client, "app", "env", "prof", "strategy")


def test_a_broken_table_is_refused_before_anything_is_asked_of_appconfig(
    published: Published,
) -> None:
    with Stubber(published.client), pytest.raises(Refused) as refusal:
        published.publish(b"{}", lint)
    assert [problem.text for problem in refusal.value.problems] == ["needs `routes`"]


def test_an_old_version_that_is_no_good_any_more_is_not_deployed(published: Published) -> None:
    done = [
        {"DeploymentNumber": number, "ConfigurationVersion": str(number), "State": "COMPLETE"}
        for number in (1, 2)
    ]
    with Stubber(published.client) as appconfig, pytest.raises(Refused) as refusal:
        appconfig.add_response("list_deployments", {"Items": done})
        body = StreamingBody(io.BytesIO(b"{}"), 2)
        appconfig.add_response(
            "get_hosted_configuration_version",
            {"Content": body},
            {"ApplicationId": "app", "ConfigurationProfileId": "prof", "VersionNumber": 1},
        )
        published.roll_back(None, lint)
    assert refusal.value.problems


def test_a_deployment_that_appconfig_takes_back_is_an_error(published: Published) -> None:
    with Stubber(published.client) as appconfig, pytest.raises(Refused, match="ROLLED_BACK"):
        appconfig.add_response("list_deployments", {"Items": []})
        appconfig.add_response(
            "list_hosted_configuration_versions", {"Items": [{"VersionNumber": 6}]}
        )
        appconfig.add_response(
            "create_hosted_configuration_version",
            {"VersionNumber": 7},
            {
                "ApplicationId": "app",
                "ConfigurationProfileId": "prof",
                "Content": GOOD,
                "ContentType": "application/json",
                "LatestVersionNumber": 6,
                "VersionLabel": "v7",
            },
        )
        appconfig.add_response(
            "start_deployment",
            {"DeploymentNumber": 3},
            {
                "ApplicationId": "app",
                "EnvironmentId": "env",
                "DeploymentStrategyId": "strategy",
                "ConfigurationProfileId": "prof",
                "ConfigurationVersion": "7",
            },
        )
        appconfig.add_response("get_deployment", {"State": "ROLLED_BACK"})
        published.publish(GOOD, lint)
