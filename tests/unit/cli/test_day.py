"""`aep-intake status`: what happened, and what waits, on one screen."""

import json
from pathlib import Path
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.counts import DynamoCounts
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.delivery.delivery import Delivery
from aep_intake.model import records
from aep_intake.model.expectations import Expectation, RouteStanding
from aep_intake.model.files import Arrival
from aep_intake.model.history import WaitingGroup
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import PutOff, Record
from aep_intake.model.times import DAY_MS, HOUR_MS, hour_of
from aep_intake.model.windows import Window
from aep_intake.report.counts import HourCounts, RouteCounts
from aep_intake_cli.day import RouteStatus, StackStatus, shown
from aep_intake_cli.output import size
from rich.console import Console

from local.bench.status import NOON, REQUESTS_MAX, ROUTES, Ledger, command, due, large_day
from tests.builders import batch, lease, order

GOLDEN = Path(__file__).with_name("golden")
Output = pytest.CaptureFixture[str]
FILE = Arrival("landing", "crm/a.csv", "v1", "e", "0061", 10, NOON)


def counted(ledger: Ledger, at: int, **routes: RouteCounts) -> None:
    DynamoCounts(Table(ledger, "ledger"), 400).put(HourCounts(hour_of(at), 1, routes))  # type: ignore[arg-type]


@pytest.fixture
def ledger() -> Ledger:
    """Three routes since yesterday, and what waits of them."""
    made = Ledger()
    crm = RouteCounts(3, 4_200_000, 1200, 3, 2, 1, lost=1)
    counted(made, NOON - DAY_MS, crm=crm)
    counted(made, NOON - 2 * HOUR_MS, crm=crm, clicks=RouteCounts(40_000, 3 * 10**9, 10**6, 4, 4))
    nobody = RouteCounts(rejected={"malformed-event": 1, "no-route": 12})
    counted(made, NOON, crm=RouteCounts(1, 500, 0, 1, 0, 0, 1), **{"-": nobody})
    window = Window.at(order(route="clicks", external_id="w"), HOUR_MS, NOON + 60_000)
    made.add(due("window", "w", window.due or 0, window=records.text(window)))
    made.add(due("folder", "f", NOON + 30 * HOUR_MS, "7"))
    group = WaitingGroup("f", "spark", 24 * HOUR_MS, NOON + 30 * HOUR_MS, (FILE,))
    place = {"pk": {"S": "folder#f"}, "sk": {"S": f"waiting#{group.place}"}}
    made.add(place | {"listing": {"S": records.text(group)}})
    record = Record.opened(order(FILE, route="crm"), lease(NOON + 9), NOON)
    put_off = record.given_back(NOON + 120_000, why=PutOff("platform-unavailable", "503", NOON))
    made.add(due("order", "o", NOON, "0.1", record=records.text(put_off)))
    done = record.created(batch(NOON, "B1")).announced(delivers=True)
    delivery = Delivery.of(done, (FILE,), 10, NOON)
    made.add(due("delivery", "d", NOON, "3", delivery=records.text(delivery)))
    made.add(due("delivery", "just-announced", NOON, "3"))
    made.add(due("order", "p", NOON, "paused#route#crm#0", record=records.text(record)))
    made.add(due("of-a-later-release", "x", NOON))
    for name, last, expect, overdue in (
        ("crm", NOON - 60_000, {"by": "06:00", "timezone": "Europe/Paris"}, None),
        ("clicks", NOON - 2 * HOUR_MS, {"every": "1h"}, NOON - HOUR_MS),
        ("gone", NOON - DAY_MS, None, None),
    ):
        item = {"pk": {"S": "routes"}, "sk": {"S": name}, "last_ms": {"N": str(last)}}
        if expect is not None:
            standing = RouteStanding(Expectation.of(expect).text, NOON - DAY_MS, overdue)
            item["standing"] = {"S": records.text(standing)}
        made.add(item)
    for name, note in (("route#spark", ""), ("dataset#5c8c", "a new schema")):
        pause = records.text(Pause(name, NOON - DAY_MS, "arn:aws:iam::1:user/ann", note))
        made.add({"pk": {"S": "paused"}, "sk": {"S": name}, "pause": {"S": pause}})
    return made


def golden(name: str, said: str) -> None:
    assert said == (GOLDEN / name).read_text("utf-8")


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_on_one_screen(
    ledger: Ledger, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert command(ledger, NOON + 120_000, "status") == 0
    golden(f"status-{columns}.txt", capsys.readouterr().out)


def test_for_programs(ledger: Ledger, capsys: Output) -> None:
    assert command(ledger, NOON + 120_000, "status", "--json") == 0
    golden("status.json", capsys.readouterr().out)


def told(capsys: Output) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_of_one_route_since_yesterday(ledger: Ledger, capsys: Output) -> None:
    typed = ["status", "--json", "--route", "crm", "--since"]
    assert command(ledger, NOON, *typed, "2026-11-22T12:30:00") == 0
    [crm] = told(capsys)["routes"]
    assert (crm["route"], crm["files"], crm["loaded"]) == ("crm", 7, 4)
    assert command(ledger, NOON, *typed, "2026-11-23T11:00:00Z") == 0
    [crm] = told(capsys)["routes"]
    assert (crm["files"], crm["abandoned"]) == (1, 1)


def test_a_large_day_takes_few_requests(capsys: Output) -> None:
    day = large_day()
    assert command(day, NOON, "status") == 0
    assert capsys.readouterr().out.count("route-") == ROUTES
    assert day.requests.total() + 1 <= REQUESTS_MAX  # and one that describes the stack


def test_that_not_all_was_counted_is_said() -> None:
    console = Console(width=80, record=True)
    console.print(shown(StackStatus(NOON, NOON, (), complete=False), "aep-intake", 80))
    assert "Not everything that waits could be counted: run it again.\n" in console.export_text()


@pytest.mark.parametrize(
    ("ago", "said"), [(-60_000, "files expected by 12:01"), (60_000, "files due since 11:59")]
)
def test_files_that_are_late_and_not_yet_told_of_are_due(ago: int, said: str) -> None:
    route = RouteStatus("crm", expected=NOON - ago)
    console = Console(width=140, record=True)
    console.print(shown(StackStatus(NOON, NOON, (route,)), "aep-intake", 140))
    assert said in console.export_text()


def test_what_was_not_looked_up_is_counted_all_the_same(capsys: Output) -> None:
    assert command(large_day(), NOON, "status", "--json") == 0
    day = told(capsys)
    assert [(each["unit"], each["count"]) for each in day["otherWaiting"]] == [
        ("batch", 10 * ROUTES)
    ]
    assert all(route["waiting"][0]["unit"] == "window" for route in day["routes"])


def test_of_a_route_that_is_not_there(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    table = b'{"routes": [{"name": "new", "match": "new/*.csv", "datasetId": "d"}]}'
    monkeypatch.setattr("aep_intake_cli.documents.live_routes", lambda *_: table)
    assert command(ledger, NOON, "status", "--route", "crn") == 1
    assert "no route of the live table is called crn: there are new" in capsys.readouterr().err
    assert command(ledger, NOON, "status", "--route", "new") == 0
    assert "Nothing happened, and nothing waits." in capsys.readouterr().out


def test_a_stack_where_nothing_happened(capsys: Output) -> None:
    assert command(Ledger(), NOON, "status") == 0
    assert "Nothing happened, and nothing waits." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, ""), (999, "999 B"), (1500, "1.5 kB"), (10**7, "10.0 MB"), (3 * 10**12, "3.0 TB")],
)
def test_sizes(number: int, said: str) -> None:
    assert size(number) == said
