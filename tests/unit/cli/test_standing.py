"""`aep-intake file` and `aep-intake batch`: where a file or a batch stands, on one screen."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Verdict
from aep_intake.model.errors import NoRoute
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Lineage
from aep_intake.model.progress import Record, Rejection
from aep_intake.report.status import StatusPorts
from aep_intake_cli import options, standing
from aep_intake_cli.command import main
from aep_intake_cli.stack import Stack

from tests import builders
from tests.builders import lease, order
from tests.memory_ledger import MemoryLedger

NOW = 1_795_000_000_000
KEY = "crm/members ä\u202e.csv"
URI = f"s3://landing/{KEY}"
GOLDEN = Path(__file__).with_name("golden")
Output = pytest.CaptureFixture[str]


def version(number: int) -> Arrival:
    return Arrival("landing", KEY, f"v{number}", "e", f"006{number}", 10, NOW)


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    """Of two versions the first is loaded, and the second, which is to replace it, has failed."""
    ledger = MemoryLedger()
    deliveries = ledger.deliveries
    lineage = Lineage("subject", "0061")
    verdicts = [
        Verdict(End.SUCCEEDED, "success", "", NOW + 5000, rows=7),
        Verdict(
            End.FAILED,
            "failed",
            "batch 01B2 is failed (118)",
            NOW + 9000,
            errors=({"code": "118", "description": "The header is empty"},),
        ),
    ]
    made: list[Record] = []
    for number, verdict in enumerate(verdicts, 1):
        file = version(number)
        wanted = order(file, lineage=lineage, route="crm")
        record = ledger.open(Record.opened(wanted, lease(NOW + 9), NOW))
        record = ledger.replace(record, record.created(builders.batch(NOW, f"01B{number}")))
        record = ledger.replace(record, record.announced(delivers=True))
        begun = Delivery.of(record, (file,), 10, NOW)
        ended = replace(begun, stage=DeliveryStage.ENDED, verdict=verdict, due=None)
        deliveries[file.external_id] = ended
        made.append(record)
        lineage = replace(lineage, predecessor=file.external_id)
    ledger.replace(made[0], made[0].replaced(made[1].order.external_id))
    standing_now = ledger.pauses.standing
    ports = StatusPorts(
        ledger, ledger.windows, deliveries, lambda all_: [{} for _ in all_], map, standing_now
    )
    stack = Stack("aep-intake", {"SourceBuckets": "landing,other"}, {})
    monkeypatch.setattr(options.Access, "stack", lambda _: stack)
    monkeypatch.setattr(standing, "status_ports", lambda _, __: ports)
    monkeypatch.setattr(standing, "now", lambda: NOW)
    monkeypatch.setattr(options.Access, "session", None)
    return ledger


def golden(name: str, said: str) -> None:
    assert said == (GOLDEN / name).read_text("utf-8")


ASKED: dict[str, Callable[[], list[str]]] = {
    "file": lambda: ["file", URI],
    "batch": lambda: ["batch", "01B1"],
}


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", ASKED)
def test_on_one_screen(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(ASKED[name]()) == 0
    golden(f"{name}-{columns}.txt", capsys.readouterr().out)


@pytest.mark.parametrize("name", ASKED)
def test_for_programs(name: str, capsys: Output) -> None:
    assert main([*ASKED[name](), "--json"]) == 0
    said = capsys.readouterr().out
    golden(f"{name}.json", said)
    assert json.loads(said)


def test_of_many_files_the_first_are_shown(ledger: MemoryLedger, capsys: Output) -> None:
    files = [replace(version(1), key=f"in/{n:03}.json") for n in range(70)]
    ledger.open(Record.opened(order(*files, external_id="mine"), lease(NOW + 9), NOW))
    assert main(["batch", "mine"]) == 0
    said = capsys.readouterr().out
    assert "in/009.json" in said
    assert "and 60 more" in said
    assert "in/010.json" not in said


@pytest.mark.parametrize("typed", [["batch", "01B1"], ["file", URI]])
def test_what_a_map_has_left_out_is_said(
    typed: list[str], ledger: MemoryLedger, capsys: Output
) -> None:
    for external_id, delivery in ledger.deliveries.items():
        assert delivery.verdict
        verdict = replace(delivery.verdict, unmapped=3, unmapped_columns=("Plz", "ort\x1b"))
        verdict = replace(verdict, unmapped_column_count=31)
        ledger.deliveries[external_id] = replace(delivery, verdict=verdict)
    assert main(typed) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "rows left out 3, as the route's map does not fit them" in said
    assert "not mapped Plz, ort" in said
    assert "and 29 more" in said
    assert "\x1b" not in said


def test_what_was_rejected_says_the_reason(ledger: MemoryLedger, capsys: Output) -> None:
    file = replace(version(1), key="x/a.json")
    ledger.reject(file, Rejection.of(NoRoute("no route fits"), NOW))
    assert main(["file", "s3://landing/x/a.json"]) == 0
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines()[2:6]] == [
        ["state", "rejected"],
        ["why", "no", "route", "fits"],
        ["since", "2026-11-18", "11:06:40", "UTC"],
        ["reason", "no-route"],
    ]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["file", "s3://elsewhere/a.json"], "takes objects of landing, other"),
        (["file", "s3://landing/unknown"], "knows nothing of s3://landing/unknown: no event"),
        (["file", "s3://landing/in/_SUCCESS"], "by its name it is never data, so it is left out"),
        (["batch", "nobody's"], "no batch and no order is called nobody's"),
    ],
)
def test_what_is_not_known_is_said_and_fails(typed: list[str], says: str, capsys: Output) -> None:
    assert main(typed) == 1
    said = capsys.readouterr()
    assert (said.out, says in said.err) == ("", True)


@pytest.mark.parametrize("uri", ["landing/a.json", "s3://landing/", "s3:///a.json", "s3://"])
def test_what_is_no_uri_of_an_object_is_wrong_use(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(options.Access, "stack", None)  # AWS is not asked
    assert main(["file", uri]) == 2
    assert f"{uri} is not s3://BUCKET/KEY" in capsys.readouterr().err


def test_an_unfinished_batch_says_when_it_is_given_up(ledger: MemoryLedger, capsys: Output) -> None:
    record = ledger.open(Record.opened(order(external_id="asked"), lease(NOW + 9), NOW))
    record = ledger.replace(record, record.created(builders.batch(NOW, "b")))
    record = ledger.replace(record, record.announced(delivers=True))
    begun = replace(Delivery.of(record, (), 10, NOW + 60_000), deadline=NOW + 86_400_000)
    ledger.deliveries["asked"] = begun
    assert main(["batch", "asked"]) == 0
    said = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["until"].strip() == "2026-11-19 11:06:40 UTC"
    assert said["next look"].strip() == "2026-11-18 11:07:40 UTC"
