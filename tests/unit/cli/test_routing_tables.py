"""What the linter finds, what the explainer shows, and what is never uploaded."""

import io
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.routing import routes
from aep_intake_cli.documents import DocumentProblem, DocumentRefused, PublishedDocument
from aep_intake_cli.routing.explain import explain
from aep_intake_cli.routing.lint import lint, warnings
from botocore.response import StreamingBody
from botocore.stub import Stubber

SAMPLE = Path(__file__).parents[3] / "local" / "samples" / "routes.json"
GOOD = b'{"routes": [{"name": "all", "match": "**", "ignore": true}]}'


def table(*written: dict[str, Any]) -> bytes:
    named = [
        {"name": f"route-{number}", "datasetId": "d"} | one for number, one in enumerate(written)
    ]
    for one in named:
        if one.get("ignore"):
            del one["datasetId"]
    return json.dumps({"routes": named}).encode()


def found(*written: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    return [(problem.route, problem.field, problem.text) for problem in lint(table(*written))]


def test_the_sample_table_may_go_live() -> None:
    assert lint(SAMPLE.read_bytes(), Organizations((Organization("arn", ("prod", "dev")),))) == []


def test_all_that_is_wrong_with_the_shape_is_told_at_once() -> None:
    assert lint(b'{"routes": [{"name": "a b", "match": 1}], "x": 1}') == [
        DocumentProblem(
            "a b", "routes[0]", "needs exactly one of `ignore`, `datasetId`, `datasetName`"
        ),
        DocumentProblem(
            "a b",
            "routes[0].name",
            "must be 1 to 64 letters, digits or `._-`, and begin with a letter or digit, not 'a b'",
        ),
        DocumentProblem("a b", "routes[0].match", "must be string"),
        DocumentProblem(None, "x", "is not known here"),
    ]


def test_what_only_the_function_checks_is_found_too() -> None:
    ((route, field, text),) = found({"match": "{a}/*"})
    assert (route, field) == ("route-0", "routes[0].match")
    assert "{a} is used nowhere" in text
    ((route, field, text),) = [(p.route, p.field, p.text) for p in lint(b"{")]
    assert (route, field, text[:8]) == (None, "", "not JSON")


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ("a/1.csv", "'a/1.csv' matches route `route-0`"),
        ("c/1.csv", "'c/1.csv' matches no route"),
        ("b/1.txt", "'b/1.txt' would be rejected: format-unknown"),
        ("s3://other/b/1.csv", "'s3://other/b/1.csv' matches route `route-1`"),
    ],
)
def test_an_example_that_goes_astray_is_named_with_where_it_went(example: str, text: str) -> None:
    written: list[dict[str, Any]] = [
        {"match": "a/*"},
        {"match": "**", "bucket": "other"},
        {"match": "[ab]/*", "examples": ["b/1.csv", example]},
    ]
    assert found(*written) == [("route-2", "routes[2].examples[1]", text)]


def test_an_example_of_a_route_for_some_buckets_names_one() -> None:
    ((route, field, text),) = found({"match": "*", "bucket": "b-*", "examples": ["a.csv"]})
    assert (route, field) == ("route-0", "routes[0].examples[0]")
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
def test_a_route_that_nothing_is_left_for_is_found(first: str, second: str) -> None:
    written = [
        {"match": pattern, "tags": {"t": ["{x}"]} if "{x}" in pattern else {}}
        for pattern in (first, second)
    ]
    ((route, field, text),) = found(*written)
    assert (route, field) == ("route-1", "routes[1].match")
    assert "route `route-0` takes all its keys first" in text


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
def test_a_route_that_something_is_left_for_is_not(first: str, second: str) -> None:
    assert found({"match": first}, {"match": second}) == []


def test_a_route_for_one_bucket_does_not_shadow_the_others() -> None:
    assert found({"match": "**", "bucket": "a"}, {"match": "*"}) == []
    assert len(found({"match": "**", "bucket": "*"}, {"match": "*", "bucket": "a"})) == 1


def test_an_example_proves_that_a_route_is_reached() -> None:
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
    assert [(problem.route, problem.field) for problem in problems] == [
        ("route-0", "routes[0].sandbox"),
        ("route-1", "routes[1].credential"),
    ]


def test_a_sandbox_is_one_of_its_own_organization() -> None:
    arns = [f"arn:aws:secretsmanager:eu-west-1:111122223333:secret:{n}-Ab12Cd" for n in "ab"]
    both = Organizations((Organization(arns[0]), Organization(arns[1], ("dev",))))
    document = table(
        {"match": "a/*", "sandbox": "dev", "credential": "a"},
        {"match": "b/*", "sandbox": "dev", "credential": "b"},
    )
    assert [problem.route for problem in lint(document, both)] == ["route-0"]


def explained(document: bytes, *keys: str) -> list[tuple[str | None, str, Any]]:
    table = routes.parse(document, "draft")
    return [(one.route, one.outcome, one.placeholders) for one in explain(table, keys)]


def test_the_explainer_tells_what_becomes_of_each_key() -> None:
    keys = [
        "incoming/dev/web-events/a.csv",
        "x/_temporary/a",
        "nowhere",
        "nowhere/_SUCCESS",
        "incoming/DEV/x/a.csv",
    ]
    assert explained(SAMPLE.read_bytes(), *keys) == [
        (
            "by-folder",
            "csv → 'web-events' in sandbox dev",
            {"sandbox": "dev", "dataset": "web-events"},
        ),
        ("unfinished", "ignored", {}),
        (None, "rejected: no-route", {}),
        (None, "ignored: not-data", {}),
        ("by-folder", "rejected: target-not-allowed", {"sandbox": "DEV", "dataset": "x"}),
    ]


def test_the_explainer_tells_what_shares_a_batch() -> None:
    document = table(
        {"match": "w/*.csv", "batch": {"window": "16m"}},
        {"match": "m/**", "batch": {"marker": "_SUCCESS"}},
        {"match": "*", "batch": {"marker": "_ALL"}, "inputFormat": {"format": "csv"}},
    )
    keys = ["w/1.csv", "m/a/_SUCCESS", "m/a/1.json", "m/a/_tmp", "m/_temporary/1.json", "_ALL"]
    assert [outcome for _, outcome, _ in explained(document, *keys)] == [
        "csv → d in the default sandbox, a batch every 16m",
        "all of m/a/ → d in the default sandbox",
        "json → d in the default sandbox, when _SUCCESS arrives",
        "ignored: not-data",
        "ignored: not-data",
        "all of the bucket → d in the default sandbox",
    ]


def test_a_route_whose_markers_another_route_takes_is_found() -> None:
    """Its files would wait for ever."""
    hidden = {"match": "**/_*", "ignore": True}
    marked = {"match": "data/**/*.json", "batch": {"marker": "_SUCCESS"}}
    ((route, field, text),) = found(hidden, marked)
    assert (route, field) == ("route-1", "routes[1].batch.marker")
    assert "route `route-0` comes first and takes the markers" in text
    assert found(marked, hidden) == []
    assert found({"match": "**/*.csv"}, marked) == []


def warned(*written: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    parsed = routes.parse(table(*written), "draft")
    return [(one.route, one.field, one.text) for one in warnings(parsed)]


@pytest.mark.parametrize(
    ("match", "names"),
    [
        ("in/{a}_*.csv", ["{a} ends at the first '_'"]),
        ("in/{a}-{b}.csv", ["{a} ends at the first '-'"]),
        ("{a}.x-*/{b}_?_{c}.csv", ["{a} ends at the first '.x-'", "{b} ends at the first '_?_'"]),
        ("in/{a}/*.csv", []),
        ("in/{a}.csv", []),  # at the end all is clear: `a.csv.csv` is `a.csv`
        ("in/x-{a}", []),
        ("in/*_{a}.csv", []),
    ],
)
def test_a_placeholder_that_may_hold_what_ends_it_is_warned_of(
    match: str, names: list[str]
) -> None:
    """`{dataset}_*.csv` takes `loyalty_members_20261123.csv` for the dataset `loyalty`."""
    tags = {"x": [f"{{{name}}}" for name in "abc" if f"{{{name}}}" in match]}
    written = {"match": match, "tags": tags}
    assert found(written) == [], "it may go live"
    told = warned(written)
    assert [one[:2] for one in told] == [("route-0", "routes[0].match")] * len(told)
    assert [text.partition(",")[0] for _, _, text in told] == names


def test_the_warning_shows_what_the_first_example_becomes() -> None:
    example = "in/loyalty_members_20261123.csv"
    written = {"match": "in/{t}_*.csv", "tags": {"t": ["{t}"]}, "examples": [example]}
    [(_, _, text)] = warned(written)
    assert f"in {example!r} it is 'loyalty'" in text


def daily(match: str, **batch: str) -> dict[str, Any]:
    return {"match": match, "batch": {"window": "24h"} | batch}


@pytest.mark.parametrize(
    ("second", "is_told"),
    [
        (daily("b/*.csv"), True),
        (daily("b/*.csv", at="00:00"), True),
        (daily("b/*.csv", at="00:00", timezone="Africa/Abidjan"), True),
        (daily("b/*.csv", at="00:01"), False),
        (daily("b/*.csv", at="01:00", timezone="Europe/Paris"), False),  # in winter only
        (daily("b/*.csv", at="05:30", timezone="Asia/Kolkata"), True),
        ({"match": "b/*.csv", "batch": {"window": "1440m"}}, True),
        ({"match": "b/*.csv", "batch": {"window": "12h"}}, False),
        ({"match": "b/*.csv"}, False),
        ({"match": "b/*.csv", "ignore": True}, False),
    ],
)
def test_windows_of_a_day_that_all_close_in_the_same_minute_are_warned_of(
    second: dict[str, Any], is_told: bool
) -> None:
    assert found(daily("a/*.csv"), second) == []
    told = warned(daily("a/*.csv"), second)
    assert [one[:2] for one in told] == [("route-1", "routes[1].batch")] * is_told


def test_it_is_explained_when_a_window_of_a_day_closes() -> None:
    document = table(daily("a/*.csv", at="01:30", timezone="Europe/Paris"))
    [(_, outcome, _)] = explained(document, "a/1.csv")
    assert outcome.endswith(", a batch every 24h, at 01:30 in Europe/Paris")


def test_the_sample_table_is_what_was_meant() -> None:
    assert list(warnings(routes.parse(SAMPLE.read_bytes(), "draft"))) == []


@pytest.fixture
def published() -> PublishedDocument:
    client = boto3.client(
        "appconfig", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    return PublishedDocument(client, "app", "env", "prof", "strategy")


def test_a_broken_table_is_refused_before_anything_is_asked_of_appconfig(
    published: PublishedDocument,
) -> None:
    with Stubber(published.client), pytest.raises(DocumentRefused) as refusal:
        published.publish(b"{}", lint)
    assert [problem.text for problem in refusal.value.problems] == ["needs `routes`"]


def test_an_old_version_that_is_no_good_any_more_is_not_deployed(
    published: PublishedDocument,
) -> None:
    done = [
        {"DeploymentNumber": number, "ConfigurationVersion": str(number), "State": "COMPLETE"}
        for number in (1, 2)
    ]
    with Stubber(published.client) as appconfig, pytest.raises(DocumentRefused) as refusal:
        appconfig.add_response("list_deployments", {"Items": done})
        body = StreamingBody(io.BytesIO(b"{}"), 2)
        appconfig.add_response(
            "get_hosted_configuration_version",
            {"Content": body},
            {"ApplicationId": "app", "ConfigurationProfileId": "prof", "VersionNumber": 1},
        )
        published.roll_back(None, lint)
    assert "needs `routes`" in str(refusal.value), "what is wrong is told, too"


def test_a_deployment_that_appconfig_takes_back_is_an_error(published: PublishedDocument) -> None:
    with (
        Stubber(published.client) as appconfig,
        pytest.raises(DocumentRefused, match="ROLLED_BACK"),
    ):
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


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ({"every": "2h"}, ", expected every 2h"),
        ({"by": "06:00", "files": 3}, ", expected by 06:00 in UTC"),
        (
            {"by": "06:00", "days": "mon-fri", "timezone": "Europe/Paris"},
            ", expected by 06:00 in Europe/Paris on mon-fri",
        ),
    ],
)
def test_it_is_explained_when_files_are_expected(expect: dict[str, Any], told: str) -> None:
    written = {"name": "a", "match": "a/*.csv", "datasetId": "d", "expect": expect}
    document = json.dumps({"routes": [written]}).encode()
    assert lint(document) == []
    [(_, outcome, _)] = explained(document, "a/1.csv")
    assert outcome.endswith(told)


@pytest.mark.parametrize(
    ("expect", "field"),
    [
        ({"by": "06:00", "every": "1h"}, "expect"),
        ({"files": 3}, "expect"),
        ({"by": "6:00"}, "expect.by"),
        ({"every": "1d"}, "expect.every"),
        ({"by": "06:00", "days": "mon-sunday"}, "expect.days"),
        ({"by": "06:00", "days": "mon-abc"}, "expect"),
        ({"by": "06:00", "timezone": "Mars/Olympus"}, "expect"),
        ({"every": "1h", "days": "mon"}, "expect"),
        ({"every": "1h", "rows": 1}, "expect.rows"),  # of Parquet
        ({"every": "1h", "files": 0}, "expect.files"),
    ],
)
def test_what_cannot_be_expected_is_found(expect: dict[str, Any], field: str) -> None:
    written = {"name": "a", "match": "a/*.parquet", "datasetId": "d", "expect": expect}
    [problem] = lint(json.dumps({"routes": [written]}).encode())
    assert problem.field == f"routes[0].{field}"


@pytest.mark.parametrize(
    ("dialect", "wrong"),
    [
        ({"delimiter": "\\t"}, True),  # two characters, and not a tab
        ({"delimiter": "\n"}, True),
        ({"quote": ","}, True),
        ({"quote": "§", "charset": "ISO-8859-1"}, True),
        ({"delimiter": "\t", "quote": "", "escape": ""}, False),
        ({"delimiter": "||", "quote": "'", "escape": "'"}, False),
        ({"delimiter": "§", "charset": "ISO-8859-1"}, False),
    ],
)
def test_a_dialect_of_which_nobody_reads_the_rows_is_found(
    dialect: dict[str, str], *, wrong: bool
) -> None:
    """Its files went up unseen, and in a charset that their batch does not say."""
    written = {"name": "a", "match": "a/*", "datasetId": "d"}
    written["inputFormat"] = {"format": "csv", **dialect}  # type: ignore[assignment]
    problems = lint(json.dumps({"routes": [written]}).encode())
    assert [p.field for p in problems] == ["routes[0].inputFormat"] * wrong


def test_who_does_not_fill_the_batches_counts_no_rows() -> None:
    written = {
        "name": "a",
        "match": "a/*.csv",
        "datasetId": "d",
        "expect": {"every": "1h", "rows": 1},
    }
    document = json.dumps({"routes": [written]}).encode()
    assert lint(document) == []
    assert [p.field for p in lint(document, delivers=False)] == ["routes[0].expect.rows"]
