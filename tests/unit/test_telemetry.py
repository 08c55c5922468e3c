"""What an operator can count and read: metrics by name and reason, one log line for each order."""

import json
import logging
from typing import Any

import pytest
from aep_intake import telemetry
from aep_intake.arrivals import Arrival
from aep_intake.create import Kind, Outcome
from aep_intake.errors import NoRoute, NotYet
from aep_intake.intake import Gathered, Joined, Known, Skipped, Waits, attempt
from aep_intake.orders import Batch, Lease, Order, Record, Target
from aep_intake.telemetry import metrics, report

FILE = Arrival("landing", "a.json", None, "e", "01", 1, 0)
ORDER = Order(FILE.external_id, Target("arn", "org", "prod", "d"), {}, (FILE,), route="loyalty")
RECORD = Record.opened(ORDER, Lease("t", 1), 0).created(
    Batch("01B", "loading", 0, None, (), {}, {})
)


def bug() -> None:
    raise ZeroDivisionError("nobody foresaw this")


@pytest.fixture
def told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Any:
    """Report something; gives the metrics by (name, reason), and what was logged."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "AepIntake")
    monkeypatch.setattr(metrics.provider, "namespace", "AepIntake")
    monkeypatch.setattr(metrics.provider, "service", "aep-intake")
    metrics.clear_metrics()

    def tell(result: Any, latency: int | None) -> tuple[dict[Any, float], list[Any]]:
        report("intake-1", result, latency)
        telemetry.count("Reports")
        metrics.flush_metrics()
        printed = capsys.readouterr().out.splitlines()
        lines = [json.loads(line) for line in printed if '"_aws"' in line]
        counted = {
            (metric["Name"], line.get("reason")): line[metric["Name"]][0]
            for line in lines
            for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
        }
        return counted, caplog.records

    return tell


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        (Kind.CREATED, "BatchesCreated"),
        (Kind.ADOPTED, "AdoptedBatches"),
        (Kind.DUPLICATE, "Duplicates"),
    ],
)
def test_an_outcome_is_counted_and_told(told: Any, kind: Kind, metric: str) -> None:
    counted, [line] = told(Outcome(kind, RECORD), 250)
    assert counted[metric, None] == 1
    assert counted.get(("ArrivalToBatch", None)) == (None if kind is Kind.DUPLICATE else 250)
    assert (line.message, line.correlation_id) == (kind, "intake-1")
    assert (line.batch_id, line.files) == ("01B", ["s3://landing/a.json"])


def test_a_rejection_is_counted_by_its_reason(told: Any) -> None:
    counted, [line] = told(NoRoute("no rule fits"), 250)
    assert counted["ArrivalsRejected", None] == counted["ArrivalsRejected", "no-route"] == 1
    assert (line.levelno, line.reason, line.why) == (logging.WARNING, "no-route", "no rule fits")


def test_what_is_put_off_shows_its_age(told: Any) -> None:
    telemetry.age(90_000)
    counted, [line] = told(NotYet("later"), 5)
    assert counted["PutOff", "not-yet"] == 1
    assert counted["RetryingArrivalAge", None] == 90
    assert line.levelno == logging.INFO


def test_what_nobody_foresaw_has_its_traceback(told: Any) -> None:
    counted, [line] = told(attempt(bug), None)
    assert counted["Failures", None] == 1
    assert line.levelno == logging.ERROR
    assert line.exc_info[0] is ZeroDivisionError


def test_what_is_ignored_is_counted(told: Any) -> None:
    counted, lines = told(Skipped("not-the-newest"), 5)
    assert counted["Ignored", None] == counted["Ignored", "not-the-newest"] == 1
    assert not [line for line in lines if line.levelno > logging.DEBUG]


def test_what_waits_for_a_marker_is_counted(told: Any) -> None:
    counted, lines = told(Waits("spark"), 5)
    assert counted["Waiting", None] == 1
    assert not [line for line in lines if line.levelno > logging.DEBUG]


def test_a_marker_is_counted(told: Any) -> None:
    counted, [line] = told(Gathered("window-1", 3), 5)
    assert counted["Markers", None] == 1
    assert (line.window, line.files) == ("window-1", 3)


def test_what_waits_in_a_window_is_counted(told: Any) -> None:
    counted, [line] = told(Joined("window-1", 60_000), 5)
    assert counted["Registered", None] == 1
    assert (line.window, line.closes) == ("window-1", 60_000)


def test_what_came_before_is_a_duplicate(told: Any) -> None:
    counted, [line] = told(Known("window-1"), 5)
    assert counted["Duplicates", None] == 1
    assert line.belongs_to == "window-1"
