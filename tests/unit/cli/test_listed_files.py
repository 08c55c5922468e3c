"""`aep-intake files`: each version once, in its present state."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aep_intake.delivery.delivery import DeliveryStage, End, Verdict
from aep_intake.grouping.waiting_files import folder_of, groups
from aep_intake.grouping.windows import BatchLimits, WindowPorts, register
from aep_intake.model.errors import NoRoute
from aep_intake.model.files import Arrival
from aep_intake.model.history import WaitingFile, WaitingGroup
from aep_intake.model.orders import claims
from aep_intake.model.progress import PutOff, Rejection
from aep_intake.model.times import DAY_MS, HOUR_MS, iso
from aep_intake.model.windows import Window
from aep_intake.report import status
from aep_intake.report.events import arrival_rejected
from aep_intake_cli import documents, listed_files, options
from aep_intake_cli.command import main
from aep_intake_cli.listed_files import Chosen, FilesPorts
from aep_intake_cli.output import about_it
from aep_intake_cli.stack import Stack

from tests.builders import order
from tests.listed import NOW, Listed

GOLDEN = Path(__file__).with_name("golden")
Output = pytest.CaptureFixture[str]


def file(name: str, **changes: Any) -> Arrival:
    made = Arrival("landing", f"in/{name}.json", f"v-{name}", "e", "0061", 10, NOW - 60_000)
    return replace(made, **changes)


class Day(Listed):
    """What happened to some files."""

    def __init__(self) -> None:
        super().__init__()
        ledger = self.ledger
        self.files_ports = FilesPorts(
            self, self, ledger.windows, ledger.folders, ledger.claimants, self.ports.status
        )

    def rejected(self, one: Arrival, at: int, lost_of: str | None = None) -> None:
        """A file without an order, or one that was lost from its order."""
        why = replace(Rejection.of(NoRoute("no route fits"), at), at=at)
        if lost_of is None:
            self.ledger.reject(one, why)
        else:
            self.ledger.let_go(self.ledger.records[lost_of].order, {one: why})
        detail = arrival_rejected(lost_of or one.external_id, (one,), why) | {"route": "told"}
        self.keep("Arrival Rejected", detail)

    def files(self, **chosen: Any) -> list[str]:
        asked = Chosen(NOW - DAY_MS, **chosen)
        found = list(listed_files.lines(asked, NOW, self.files_ports))
        return [f"{Path(line['uri']).stem} {line['state']}" for line in found]


def batch(day: Day, *files: Arrival, at: int, end: End | None, **more: Any) -> str:
    name = files[0].external_id
    day.made(name, at, end, files=files, **more)
    return name


@pytest.fixture
def day() -> Day:
    day, ledger = Day(), Day().ledger
    ledger = day.ledger
    # Waiting; of two one was taken by its marker, and is loaded.
    waits, taken = file("waits"), file("taken")
    for one in (waits, taken):
        ledger.note_waiting(one, "folders", "the marker _SUCCESS", NOW + HOUR_MS)
    for each in groups([WaitingFile(one, "folders", HOUR_MS) for one in (waits, taken)], NOW, NOW):
        ledger.folders.wait(each)
    batch(day, taken, at=NOW - 900, end=End.SUCCEEDED, route="folders")
    # A marker that waits for the last files.
    marker = file("_SUCCESS")
    ledger.note_waiting(marker, "folders", "the last files of its folder", NOW + 9)
    ledger.folders.wait(WaitingGroup(folder_of(marker), "folders", 0, NOW + 9, (marker,)))
    # In a window; without a batch yet; loaded an hour ago, and a day before.
    joining = WindowPorts(
        ledger.windows,
        ledger,
        lambda _: None,
        lambda: NOW,
        BatchLimits(),
        lambda *_: None,  # type: ignore[arg-type]
    )
    register(Window.at(order(route="daily"), DAY_MS, NOW), [file("gathers")], joining)
    day.opened(file("opens").external_id, NOW - 500, files=(file("opens"),))
    batch(day, file("early"), at=NOW - HOUR_MS, end=End.SUCCEEDED)
    batch(day, file("old"), at=NOW - 2 * DAY_MS, end=End.SUCCEEDED)
    # Of two files of a batch one was lost.
    two = batch(day, file("whole"), file("lost"), at=NOW - 5000, end=End.SUCCEEDED)
    ended = day.deliveries[two]
    lost = replace(ended.verdict or Verdict(End.FAILED, "", "", 0), lost=(1,))
    day.deliveries[two] = replace(ended, stage=DeliveryStage.ENDED, verdict=lost)
    day.rejected(file("lost"), NOW - 4000, lost_of=two)
    # Rejected; rejected again; rejected and loaded since.
    day.rejected(file("unrouted"), NOW - 3000)
    for at in (NOW - 3 * HOUR_MS, NOW - 2500):
        day.rejected(file("again"), at)
    day.rejected(file("redriven"), NOW - 4 * HOUR_MS)
    batch(day, file("redriven"), at=NOW - 2000, end=End.FAILED)
    return day


UNFINISHED = ["waits waiting", "_SUCCESS waiting", "gathers gathering", "opens loading"]
THIS_HOUR = ["taken loaded", "redriven failed", "whole loaded"]
REJECTED = ["again rejected", "unrouted rejected", "lost lost"]


def test_each_version_is_told_once(day: Day) -> None:
    assert sorted(day.files()[:4]) == sorted(UNFINISHED)
    assert day.files()[4:] == [*THIS_HOUR, *REJECTED, "early loaded"]


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"state": "waiting"}, ["_SUCCESS waiting", "waits waiting"]),
        ({"state": "gathering"}, ["gathers gathering"]),
        ({"state": "loading"}, ["opens loading"]),
        ({"state": "loaded"}, ["early loaded", "taken loaded", "whole loaded"]),
        ({"state": "lost"}, ["lost lost"]),
        ({"state": "failed"}, ["redriven failed"]),
        ({"state": "rejected"}, ["again rejected", "unrouted rejected"]),
        ({"route": "daily"}, ["gathers gathering"]),
        ({"route": "told"}, ["again rejected", "unrouted rejected"]),
        ({"route": "folders", "state": "loaded"}, ["taken loaded"]),
        ({"route": "nobody's"}, []),
    ],
)
def test_by_state_and_route(day: Day, chosen: dict[str, str], told: list[str]) -> None:
    assert sorted(day.files(**chosen)) == told


def test_of_what_a_marker_took_nobody_asks_how_it_stands(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays in the list of its folder until its time is over."""
    asked, of_version = list[str](), status.of_version

    def told(file: Arrival, ports: Any) -> Any:
        asked.append(Path(file.key).stem)
        return of_version(file, ports)

    monkeypatch.setattr(status, "of_version", told)
    assert sorted(day.files(state="waiting")) == ["_SUCCESS waiting", "waits waiting"]
    assert sorted(asked) == ["_SUCCESS", "waits"]


def test_what_was_set_aside_is_told_once(day: Day) -> None:
    """In its window, while it waited, or as it came; and not once it has a batch after all."""
    ledger = day.ledger
    old = file("twice", version_id="v1")
    ledger.claim(claims(old), "window-finished")
    ledger.windows.supersede("window-finished", old, "v:v2")
    ledger.note_superseded(file("waited"), "v:newer", "folders")
    ledger.note(file("late"), "not-the-newest", "crm")
    ledger.note(file("early"), "not-the-first", "crm")  # loaded by a redrive
    copy = file("taken", version_id="copied")
    [held] = ledger.counted_versions(copy.object_id)
    assert ledger.claim_copy(copy, held)
    aside = ["late left-out", "taken same-bytes", "twice superseded", "waited superseded"]
    assert sorted(day.files()) == sorted(
        [*UNFINISHED, *THIS_HOUR, *REJECTED, *aside, "early loaded"]
    )
    assert day.files(state="left-out") == ["late left-out"]
    assert sorted(day.files(state="superseded")) == ["twice superseded", "waited superseded"]
    assert day.files(state="same-bytes", route="folders") == ["taken same-bytes"]
    day.fetched.clear()
    assert day.files(state="left-out", route="nobody's") == []
    assert day.fetched == [], "the journal knows nothing of them"


def test_what_could_not_be_read_yet_is_told_once(day: Day) -> None:
    """It has no order; whatever came of it since says more, such as an order that is retried."""
    for one in (file("unread"), file("early"), file("taken"), file("again"), file("put-off")):
        day.ledger.note_retrying(one, "S3 answered 403", NOW + DAY_MS)
    day.opened(file("put-off").external_id, NOW - 9 * HOUR_MS, files=(file("put-off"),))
    record = day.ledger.records[file("put-off").external_id]
    why = PutOff("platform-unavailable", "AEP answered 429", NOW - HOUR_MS)
    day.ledger.records[file("put-off").external_id] = replace(record, put_off=why)
    assert sorted(day.files(state="retrying")) == ["put-off retrying", "unread retrying"]
    assert sorted(each for each in day.files() if "retrying" in each) == [
        "put-off retrying",
        "unread retrying",
    ]
    assert day.files(state="retrying", route="crm") == []


def test_an_earlier_attempt_is_not_told(day: Day) -> None:
    name = file("redriven").external_id
    following = day.ledger.records[name].followed(None, NOW)
    day.ledger.records[name] = following[0]
    day.ledger.records[following[1].order.external_id] = following[1]
    assert day.files(state="failed") == []
    assert sorted(day.files(state="loading")) == ["opens loading", "redriven loading"]


def test_what_was_discarded_is_told_once(day: Day) -> None:
    assert day.ledger.discard(file("again"), "by somebody: a test", NOW)
    assert day.files(state="discarded") == ["again discarded"]
    assert "again rejected" not in day.files(state="rejected")


def test_files_of_a_rejection_may_be_in_its_manifest(day: Day) -> None:
    one, why = file("many"), Rejection.of(NoRoute("no route fits"), NOW - 100)
    day.ledger.reject(one, why)
    detail = arrival_rejected(one.external_id, (one,), why)
    day.objects["manifests/x.json"] = json.dumps({"files": detail.pop("files")}).encode()
    manifest = {"bucket": "state", "key": "manifests/x.json"}
    day.keep("Arrival Rejected", detail | {"manifest": manifest})
    assert "many rejected" in day.files(state="rejected")


@pytest.fixture
def command(day: Day, monkeypatch: pytest.MonkeyPatch) -> Day:
    stack = Stack("aep-intake", {}, {"JournalDays": "400"})
    monkeypatch.setattr(options.Access, "stack", lambda _: stack)
    monkeypatch.setattr(options.Access, "session", None)
    monkeypatch.setattr(listed_files, "files_ports", lambda _, __: day.files_ports)
    monkeypatch.setattr("aep_intake_cli.clock.now", lambda: NOW)
    return day


def golden(name: str, said: str) -> None:
    assert said == (GOLDEN / name).read_text("utf-8")


@pytest.mark.parametrize("columns", [80, 140])
def test_a_line_each_as_wide_as_the_terminal(
    command: Day, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["files"]) == 0
    said = capsys.readouterr().out
    golden(f"files-{columns}.txt", said)
    assert max(map(len, said.splitlines())) <= columns


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("s3://b/a.csv is empty, and so on", "it is empty, and so on"),
        ("refused, bad-rows: s3://b/a.csv: row 2", "refused, bad-rows: row 2"),
        ("s3://b/a.csv, row 2: a quote", "it, row 2: a quote"),
        ("'s3://b/a.csv' has 0 rows: see 's3://b/a.csv'", "it has 0 rows: see it"),
        ("s3://b/a.csv.gz is empty", "s3://b/a.csv.gz is empty"),
        ("write it: s3://b/_done names s3://b/a.csv", "write it: s3://b/_done names s3://b/a.csv"),
    ],
)
def test_beside_its_address_a_reason_does_not_repeat_it(reason: str, said: str) -> None:
    assert about_it(reason, "s3://b/a.csv") == said


def test_for_programs(command: Day, capsys: Output) -> None:
    assert main(["files", "--state", "rejected", "--json"]) == 0
    said = capsys.readouterr().out
    golden("files.json", said)
    assert [line["reason"] for line in json.loads(said)] == ["no-route", "no-route"]


def test_that_there_are_more_is_said(command: Day, capsys: Output) -> None:
    assert main(["files", "--limit", "3"]) == 0
    said = capsys.readouterr()
    assert len([line for line in said.out.splitlines() if "landing/in" in line]) == 3
    assert "more than 3" in said.err


def test_since_a_time_of_the_caller(command: Day, capsys: Output) -> None:
    ask = ["files", "--state", "loaded", "--json", "--since"]

    def told(since: int) -> Iterable[str]:
        assert main([*ask, iso(since)]) == 0
        return [Path(line["uri"]).stem for line in json.loads(capsys.readouterr().out)]

    assert told(NOW - 1000) == ["taken"]
    assert told(NOW - 3 * DAY_MS) == ["taken", "whole", "early", "old"]


def test_what_is_not_there_is_said(
    command: Day, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    stack = Stack("aep-intake", {}, {"JournalDays": "0"})
    monkeypatch.setattr(options.Access, "stack", lambda _: stack)
    assert main(["files", "--state", "held"]) == 0
    said = capsys.readouterr()
    assert (said.out, "No file is in this list." in said.err) == ("", True)
    assert "no journal (JournalDays)" in said.err
    table = json.dumps({"routes": [{"name": "crm", "match": "**", "ignore": True}]})
    monkeypatch.setattr(documents, "live_routes", lambda *_: table.encode())
    monkeypatch.setattr(options.Access, "session", SimpleNamespace(client=str))
    assert main(["files", "--route", "nobody's"]) == 1
    assert "there are crm" in capsys.readouterr().err


def test_a_state_that_is_none(capsys: Output) -> None:
    assert main(["files", "--state", "announced"]) == 2
    assert "is none of waiting, " in capsys.readouterr().err
