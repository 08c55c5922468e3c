"""What `aep-intake reconcile` says of a comparison."""

import io
import json
from dataclasses import replace

import pytest
from aep_intake.arrivals.reconcile import Comparison, Finding, FindingKind
from aep_intake_cli import comparing
from aep_intake_cli.command import main
from aep_intake_cli.comparing import known_by, of_day
from aep_intake_cli.failures import CommandFailed
from rich.console import Console

DAY = 86_400_000
NOW = 20_000 * DAY
FOUND = replace(
    Comparison.begin(NOW, 60 * DAY, ("landing",)),
    looked_at=12,
    told={"no-route": 2, "waiting": 1},
    found={"never-came": 2, "unknown-batch": 1},
    named=(
        Finding(FindingKind.NEVER_CAME, "s3://landing/in/[x].json"),
        Finding(FindingKind.UNKNOWN_BATCH, "01H (intake-1, success)"),
    ),
)


@pytest.mark.parametrize("width", [80, 140])
def test_a_comparison_for_people(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(*comparing.shown(FOUND), sep="\n")
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(line.split()) for line in lines)
    assert "12 objects, written from" in text
    assert "│ no-route │ 2 │" in text
    assert "│ never-came │ s3://landing/in/[x].json │ no event came of it: sent again │" in text
    assert "… and 1 more." in text


def test_nothing_is_lost() -> None:
    out = io.StringIO()
    quiet = replace(FOUND, told={}, found={}, named=())
    Console(file=out, width=100).print(*comparing.shown(quiet), sep="\n")
    assert out.getvalue().splitlines()[-1] == "Nothing is lost."


def test_a_comparison_for_programs() -> None:
    document = json.loads(json.dumps(comparing.to_json(FOUND)))
    assert document["lookedAt"] == 12
    assert document["found"] == {"never-came": 2, "unknown-batch": 1}
    assert document["findings"][0] == {
        "found": "never-came",
        "about": "s3://landing/in/[x].json",
    }


def test_each_finding_has_words() -> None:
    assert comparing.SAID.keys() == set(FindingKind)


def test_a_day_is_a_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "--day", "2026-31-31"]) == 2
    assert "'2026-31-31' is not a day such as 2026-11-28" in capsys.readouterr().err


def test_a_day_of_which_nothing_can_be_compared_is_no_day_without_losses() -> None:
    begun = Comparison.begin(NOW, 60 * DAY, ("landing",))
    assert of_day(NOW - DAY, begun).until == begun.until
    for day in (NOW, NOW + DAY, NOW - 70 * DAY):
        with pytest.raises(CommandFailed, match="nothing of that day"):
            of_day(day, begun)


def test_an_inventory_says_nothing_of_what_came_after_it() -> None:
    """Else all would seem to be there, and what was deleted since seem never to have come."""
    begun = Comparison.begin(NOW, 60 * DAY, ("landing",))
    assert known_by(NOW - DAY, begun).until == NOW - DAY
    assert known_by(NOW, begun) == begun
    with pytest.raises(CommandFailed, match=r"made at 20.*Z, and knows nothing of the time that"):
        known_by(NOW - 70 * DAY, begun)
    yesterday = begun.of_times(NOW - DAY, NOW)
    with pytest.raises(CommandFailed):
        known_by(NOW - 2 * DAY, yesterday)
