"""The dashboard as CloudWatch gets it, with and without deliveries; and what alarms look at.

CloudWatch shows an empty graph for a metric that nobody publishes, and says nothing.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aep_intake.report import view
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[3]
STACK = "my-intake"
OURS = "AepIntake"
# Where our metrics are counted.
CODE = "".join(
    file.read_text()
    for pattern in ("layers/intake/aep_intake/report/*telemetry.py", "functions/*/*.py")
    for file in ROOT.glob(pattern)
)
# What `metricsByRoute` counts by route, too.
BY_ROUTE = {
    *("BatchesSucceeded", "BatchesFailed", "BatchesAbandoned", "BatchesReplaced"),
    "ArrivalsRejected",
}
# By namespace: the dimensions, and what AWS publishes with them.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
PUBLISHED = {
    "AWS/SQS": (
        {frozenset({"QueueName"})},
        {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
    ),
    "AWS/Lambda": (
        {frozenset({"FunctionName"})},
        {"Errors", "Throttles", "ConcurrentExecutions"},
    ),
    "AWS/ApiGateway": (
        {frozenset({"ApiName", "Stage"})},
        {"Count", "4XXError", "5XXError"},
    ),
    "AWS/Events": (
        {frozenset({"RuleName"}), frozenset({"EventBusName", "RuleName"})},
        {"FailedInvocations", "InvocationsFailedToBeSentToDlq"},
    ),
}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


@pytest.fixture(scope="module", params=[True, False], ids=["delivering", "creating"])
def delivers(request: pytest.FixtureRequest) -> bool:
    """Whether the stack delivers."""
    chosen: bool = request.param
    return chosen


@pytest.fixture(scope="module")
def body(template: dict[str, Any], delivers: bool) -> str:
    """What CloudFormation makes of it, with the parameters' defaults."""
    parameters = {
        name: str(parameter["Default"])
        for name, parameter in template["Parameters"].items()
        if "Default" in parameter
    }

    def value(name: str, own: dict[str, str]) -> str:
        if name.startswith("!"):
            return f"${{{name[1:]}}}"
        known = {**parameters, **own, "AWS::StackName": STACK, "AWS::Region": "eu-west-1"}
        if name in known:
            return known[name]
        logical_id, _, attribute = name.partition(".")
        resource = template["Resources"][logical_id]
        assert delivers or resource.get("Condition") != "Deliver", name
        assert resource.get("Condition") in (None, "Deliver", "Journal"), name
        match resource["Type"], attribute:
            case "AWS::CloudWatch::Alarm", "Arn":
                return f"arn:aws:cloudwatch:eu-west-1:111122223333:alarm:{STACK}-{logical_id}"
            case ("AWS::SQS::Queue", "QueueName") | ("AWS::Serverless::Function", ""):
                return f"{STACK}-{logical_id}-4FIQ3WTDAMPL"
            case "AWS::Serverless::Function", "Arn":
                return f"arn:aws:lambda:eu-west-1:111122223333:function:{STACK}-{logical_id}"
            case "AWS::Serverless::Api", "Stage":
                return str(resource["Properties"]["StageName"])
        pytest.fail(f"{name} is nothing a dashboard can show")

    def rendered(written: Any) -> str:
        match written:
            case {"Fn::If": [condition, this, that]}:
                return rendered(this if delivers or condition != "Deliver" else that)
            case {"Fn::Sub": [str(text), dict(own)]}:
                given = {name: rendered(inner) for name, inner in own.items()}
            case {"Fn::Sub": str(text)}:
                given = {}
            case _:
                assert isinstance(written, str)
                return written
        return re.sub(r"\$\{([^}]+)\}", lambda found: value(found[1], given), text)

    return rendered(template["Resources"]["Dashboard"]["Properties"]["DashboardBody"])


@pytest.fixture(scope="module")
def widgets(body: str) -> list[dict[str, Any]]:
    parsed: dict[str, Any] = json.loads(body)
    # Otherwise CloudWatch chooses the periods, and an hour's sum is not one.
    assert parsed["periodOverride"] == "inherit"
    found: list[dict[str, Any]] = parsed["widgets"]
    return found


@dataclass(frozen=True)
class Series:
    """What a line of a graph, or an alarm, looks at; `how` it is drawn."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    how: dict[str, Any] = field(default_factory=dict)

    def is_published(self) -> bool:
        """By AWS, or by a line of our code that names it."""
        named = frozenset(self.dimensions)
        if self.namespace != OURS:
            dimensions, names = PUBLISHED[self.namespace]
            return named in dimensions and self.name in names
        if f'"{self.name}"' not in CODE:
            return False
        if named == {"service", "reason"}:
            return re.search(rf'count\("{self.name}", (?!number)', CODE) is not None
        if named == {"service", "route"}:
            return self.name in BY_ROUTE
        if named == {"service", "organization", "sandbox"}:
            return f'single_metric("{self.name}"' in CODE
        return named == {"service"}


def graphs(widgets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [widget["properties"] for widget in widgets if widget["type"] == "metric"]


def drawn(graph: dict[str, Any]) -> Iterator[Series]:
    """Every metric of a graph, "." as written out, and what its expressions search for."""
    before: list[str] = []
    for row in graph["metrics"]:
        *names, how = row if isinstance(row[-1], dict) else (*row, {})
        searches = re.findall(
            r"SEARCH\('\{([\w/,]+)\}((?: \w+=\"[^\"]+\")+)', '(\w+)', (\d+)\)",
            how.get("expression", ""),
        )
        assert len(searches) == how.get("expression", "").count("SEARCH")
        for schema, words, stat, period in searches:
            namespace, *dimensions = schema.split(",")
            wanted = dict.fromkeys(dimensions, "") | dict(re.findall(r'(\w+)="([^"]+)"', words))
            name = wanted.pop("MetricName")
            drawing = graph | how | {"stat": stat, "period": int(period)}
            yield Series(namespace, name, wanted, drawing)
        if names:
            assert "." not in names or len(names) == len(before), names
            before = [before[n] if each == "." else each for n, each in enumerate(names)]
            namespace, name, *pairs = before
            yield Series(
                namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True)), graph | how
            )


# -- What it looks at ---------------------------------------------------------------------------


def test_every_metric_is_one_that_somebody_publishes(widgets: list[dict[str, Any]]) -> None:
    shown = [each for graph in graphs(widgets) for each in drawn(graph)]
    assert [each for each in shown if not each.is_published()] == []
    for each in shown:
        assert each.dimensions.get("service", STACK) == STACK
        assert each.how["region"] == "eu-west-1"


def test_every_alarm_looks_at_a_metric_that_somebody_publishes(template: dict[str, Any]) -> None:
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            alarm = resource["Properties"]
            dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
            series = Series(alarm["Namespace"], alarm["MetricName"], dimensions)
            assert series.is_published(), name
            if series.namespace == OURS:
                assert dimensions == {"service": {"Ref": "AWS::StackName"}}, name


@pytest.mark.parametrize(
    "series",
    [
        Series(OURS, "BatchesVanished", {"service": STACK}),
        Series(OURS, "Duplicates", {"service": STACK, "reason": ""}),
        Series(OURS, "PutOff", {"service": STACK, "file": ""}),
        Series(OURS, "TokensMinted", {"service": STACK, "reason": ""}),
        Series("AWS/SQS", "AgeOfOldestMessage", {"QueueName": ""}),
        Series("AWS/Lambda", "Errors", {"QueueName": ""}),
    ],
    ids=lambda series: series.name,
)
def test_a_metric_that_nobody_publishes_would_be_seen(series: Series) -> None:
    assert not series.is_published()


@pytest.mark.parametrize("delivers", [True], indirect=True)
def test_nothing_is_published_that_nobody_looks_at(
    template: dict[str, Any], widgets: list[dict[str, Any]]
) -> None:
    """Each costs $0.30 a month."""
    published = set(re.findall(r'(?:count|add_metric|single_metric)\(\s*"(\w+)"', CODE))
    looked_at = {each.name for graph in graphs(widgets) for each in drawn(graph)}
    looked_at |= {
        resource["Properties"]["MetricName"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert published
    assert published - looked_at == set()
    shown = [each for graph in graphs(widgets) for each in drawn(graph)]
    assert {each.name for each in shown if "route" in each.dimensions} == BY_ROUTE


def test_every_alarm_is_shown_once(
    template: dict[str, Any], widgets: list[dict[str, Any]], delivers: bool
) -> None:
    shown = [
        arn.rpartition("-")[2]
        for widget in widgets
        if widget["type"] == "alarm"
        for arn in widget["properties"]["alarms"]
    ]
    there = [
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
        and (delivers or resource.get("Condition") != "Deliver")
    ]
    assert sorted(shown) == sorted(there)


def test_no_widget_lies_on_another(widgets: list[dict[str, Any]]) -> None:
    taken = [
        (x, y)
        for widget in widgets
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken)) == 24 * (1 + max(y for _, y in taken)), "a gap"


def test_the_page_is_a_widget_that_asks_for_what_there_is(widgets: list[dict[str, Any]]) -> None:
    (page,) = [one["properties"] for one in widgets if one["type"] == "custom"]
    assert page["endpoint"].endswith("OnWidget")
    assert view.wanted(page["params"]) == view.PageQuery()


def test_cloudwatch_takes_it(widgets: list[dict[str, Any]], body: str) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html"""
    assert len(widgets) <= 500
    for widget in widgets:
        assert len(widget["properties"].get("alarms", ())) <= 100
        assert len(widget["properties"].get("metrics", ())) <= 500
    assert "${!" not in body
    for graph in graphs(widgets):
        rows = [row[-1] for row in graph["metrics"]]
        used = {word for row in rows for word in re.findall(r"^[a-z]+", row.get("expression", ""))}
        assert used == {row["id"] for row in rows if "id" in row}, graph["title"]
