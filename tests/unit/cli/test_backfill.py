"""`aep-intake backfill`: what it plans and says, and objects from S3 Inventory."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.arrivals.backfills import Backfill, BackfillPorts, Bounds, Left
from aep_intake.arrivals.listings import Page
from aep_intake.delivery.delivery import End
from aep_intake.grouping.windows import WindowPorts, register
from aep_intake.model.files import Archived, Arrival
from aep_intake.model.organizations import Limits, Organization, Organizations
from aep_intake.model.windows import Window
from aep_intake.report.states import Word
from aep_intake.routing import routes
from aep_intake_cli.backfill import plan
from aep_intake_cli.backfill.running import Asked, Running
from aep_intake_cli.backfill.running import _found as found_backfill
from aep_intake_cli.backfill.taken import Taken
from aep_intake_cli.command import main
from aep_intake_cli.commands import backfill as command
from aep_intake_cli.failures import CommandFailed
from rich.console import Console

from tests.builders import order
from tests.listed import Listed

DAY = 86_400_000
NOW = 20_000 * DAY
OURS = Backfill("backfill-2026-11-28-0a1b2c", "landing", "in/", NOW)
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-AbCdEf"
TABLE = routes.parse(
    json.dumps(
        {
            "routes": [
                {"name": "crm", "match": "in/crm/*", "datasetId": "5c8c3c555033b814b69f947f"},
                {
                    "name": "clicks",
                    "match": "in/clicks/**",
                    "datasetName": "clicks",
                    "batch": {"window": "16m"},
                },
                {
                    "name": "spark",
                    "match": "in/spark/**",
                    "datasetName": "spark",
                    "batch": {"marker": "_SUCCESS"},
                },
            ]
        }
    ),
    "v1",
)
LIMITS = Limits(batch_files=2)
ORGANIZATIONS = Organizations((Organization(SECRET, limits=LIMITS),), LIMITS)


def file(key: str, days_ago: int = 300, size: int = 10**9) -> Arrival:
    return Arrival("landing", f"in/{key}", "v", "e", None, size, NOW - days_ago * DAY)


FOUND: tuple[Arrival | Archived, ...] = (
    *(file(f"crm/{n}.json") for n in range(3)),
    *(file(f"clicks/{n}.json") for n in range(5)),
    file("spark/day=1/_SUCCESS", size=0),
    file("spark/day=1/part-0.json"),
    file("nowhere/[x].json"),
    file("crm/forgotten.json", 100),
    Archived(file("crm/cold.json")),
    file("crm/later.json", 0),
)
BOUNDS = Bounds(OURS, NOW - 200 * DAY, (), NOW - 60 * DAY, lambda _: True)


STATES = {"in/crm/0.json": Word.LOADED, "in/clicks/0.json": Word.HELD, "in/clicks/1.json": "paused"}


def claimed(files: Sequence[Arrival]) -> dict[Arrival, str]:
    return {one: STATES[one.key] for one in files if one.key in STATES}


def planned() -> plan.BackfillPlan:
    [_, whole] = plan.make(BOUNDS, [Page(FOUND, "a"), Page((), "b")], TABLE, claimed)
    return whole


@pytest.mark.parametrize("width", [80, 140])
def test_a_plan_for_people(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(*plan.shown(planned(), ORGANIZATIONS), sep="\n")
    rows = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "│ crm │ 2 │ 2.0 GB │ 2 │ 1 │" in rows
    assert "│ clicks │ 3 │ 3.0 GB │ 2 │ 0 │" in rows
    assert "│ spark │ 2 │ 1.0 GB │ 1 │ 0 │" in rows
    text = " ".join(rows)
    assert "since an order or a window has them: 1 held, 1 paused" in text
    assert "it takes 21 min for its bytes and 1 min to make its batches" in text
    assert "No route takes 1 file" in text
    assert "perhaps loaded (--even-if-loaded): 1" in text
    assert "'s3://landing/in/crm/forgotten.json' (maybe-loaded)" in text
    assert "restore them, and copy each onto itself: 1" in text
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_a_plan_of_nothing_says_so() -> None:
    shown, *_ = plan.shown(plan.BackfillPlan(), ORGANIZATIONS)
    assert str(shown) == "There is nothing that it would bring."


def test_a_plan_for_programs() -> None:
    document = plan.to_json(planned(), ORGANIZATIONS)
    assert document["routes"][0] == {
        "route": None,
        "files": 1,
        "bytes": 10**9,
        "batches": 0,
        "loadedAlready": 0,
        "taken": {},
    }
    assert document["routes"][1]["taken"] == {"held": 1, "paused": 1}
    assert document["routes"][2]["loadedAlready"] == 1
    assert document["leftOut"] == {"archived": 1, "later": 1, "maybe-loaded": 1}
    assert [one["why"] for one in document["leftOutObjects"]] == ["maybe-loaded", "archived"]
    assert document["days"]["profileBatchesPerDay"] == pytest.approx(5 / 90)
    assert json.dumps(document)


def test_what_an_order_or_a_window_has_is_told_by_its_state() -> None:
    """What waits or is held is not loaded: held, in a window, of a part that lost a file."""
    day = Listed()
    ledger = day.ledger
    files = {name: replace(file(name), time=NOW) for name in ("a", "b", "c", "d", "e", "f", "g")}
    for name, end in (("a", End.SUCCEEDED), ("b", End.FAILED)):
        day.made(files[name].external_id, NOW, end, files=(files[name],))
    day.opened(files["c"].external_id, NOW, files=(files["c"],))
    tried = day.made(files["d"].external_id, NOW, files=(files["d"],))
    ledger.open_next_attempt(*tried.followed(None, NOW))
    ports = WindowPorts(ledger.windows, ledger, *[Any] * 4)  # type: ignore[arg-type]
    register(Window.at(order(route="r"), DAY, NOW), [files["e"]], ports)
    assert ledger.discard(files["f"], "by somebody", 0)
    ledger.claims[files["g"].object_id, "gone"] = "intake-gone", False

    class Claims:
        def owners(self, wanted: Sequence[Arrival]) -> dict[Arrival, str]:
            found = {one: ledger.claimant(one) for one in wanted} | {files["g"]: "intake-gone"}
            return {one: owner for one, owner in found.items() if owner is not None}

    told = Taken(Claims(), day, day.ports.status)([*files.values(), file("nobody's")])
    assert {one.key.removeprefix("in/"): state for one, state in told.items()} == {
        "a": "loaded",
        "b": "failed",
        "c": "loading",
        "d": "loading",
        "e": "gathering",
        "f": "discarded",
        "g": "unknown",
    }


class Ledger:
    def __init__(self) -> None:
        self.begun: list[Backfill] = []

    def begin(self, backfill: Backfill) -> None:
        self.begun.append(backfill)

    def replace(self, old: Backfill, new: Backfill) -> Backfill:
        assert old.revision + 1 == new.revision
        return new


def running(ledger: Any, *pages: Page, breaks: bool = False) -> Running:
    def listed(_: str) -> Iterator[Page]:
        yield from pages
        if breaks:
            raise KeyboardInterrupt

    ports = BackfillPorts(ledger, listed, lambda _: None, lambda: True, lambda _: None, lambda: NOW)
    return Running(BOUNDS, TABLE, ports, Any, ledger, new=True)  # type: ignore[arg-type]


def test_it_says_what_it_did_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    command._run(running(ledger, Page(FOUND, "a")), as_json=False)
    said = capsys.readouterr()
    assert ledger.begun == [OURS]
    first, *rest = said.out.splitlines()
    assert first == f"{OURS.backfill_id}: 14 listed, 11 sent (10.0 GB), 2 left out"
    assert "  's3://landing/in/crm/cold.json' (archived)" in rest
    assert said.err == ""
    command._run(running(ledger, Page(FOUND, "a")), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["ended"] is True
    assert document["sent"] == 11
    assert document["leftOut"] == {"archived": 1, "maybe-loaded": 1}


def test_who_stops_it_is_told_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        command._run(running(Ledger(), Page(FOUND, "a"), breaks=True), as_json=False)
    assert f"aep-intake backfill --continue {OURS.backfill_id}" in capsys.readouterr().out


def test_the_same_command_goes_on_with_what_has_not_ended() -> None:
    asked = Asked("landing", "in/")
    ended = replace(OURS, backfill_id="backfill-a", ended=1)
    assert found_backfill(asked, [ended, OURS]) == (OURS, False)
    new, is_new = found_backfill(Asked("landing", "in/", since=5), [ended, OURS])
    assert is_new
    assert new.since == 5
    assert found_backfill(OURS.backfill_id, [ended, OURS]) == (OURS, False)
    with pytest.raises(CommandFailed, match="has ended"):
        found_backfill("backfill-a", [ended])
    with pytest.raises(CommandFailed, match="knows no backfill"):
        found_backfill("backfill-b", [ended])


@pytest.mark.parametrize("typed", ["backfill", "backfill s3://b/p --continue x"])
def test_it_wants_a_place_or_an_id(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed.split()) == 2
    assert "give s3://BUCKET/PREFIX, or --continue ID" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["s3://", "s3:///in/", "landing/in/"])
def test_a_place_is_a_uri(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backfill", source]) == 2
    assert "is not s3://BUCKET/PREFIX" in capsys.readouterr().err


def test_why_it_is_left_out_has_words() -> None:
    assert plan.SAID.keys() == set(Left)
