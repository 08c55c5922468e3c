"""What is told of files: whose they are, by which route; and never what is in a row."""

import gzip
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from aep_intake.delivery.upload import upload
from aep_intake.model import records
from aep_intake.model.errors import IntakeError, Rejected
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.progress import Rejection
from aep_intake.report import events
from aep_intake.report.arrival_telemetry import report_arrival
from aep_intake.report.telemetry import metrics
from aep_intake.report.upload_telemetry import report_upload

from tests.faults.harness import DAY, Delivering, take
from tests.unit.delivery.test_mapped import HEADER, MAP, SOURCE, mapped, row
from tests.unit.delivery.test_steps import (
    arrival,
    begun,
    finished,
    looked,
    ports,
    table,
    uploaded,
    valid,
    world,
)

__all__ = ["world"]  # a fixture
OWNER = "crm-team@acme.example"
SECRET = "Kq7-rosebud-1973"  # of a customer, in a row


@pytest.fixture
def said(world: Delivering, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The details of all `Arrival Rejected`."""
    found: list[dict[str, Any]] = []

    def of_an_order(order: Order, why: Rejection) -> None:
        found.append(events.order_rejected(order, why))

    def of_arrivals(external_id: str, arrivals: tuple[Arrival, ...], why: Rejection) -> None:
        found.append(events.arrival_rejected(external_id, arrivals, why))

    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "AepIntake")
    monkeypatch.setattr(metrics.provider, "namespace", "AepIntake")
    monkeypatch.setattr(world, "rejected", of_an_order)
    monkeypatch.setattr(world, "arrival_rejected", of_arrivals)
    return found


@pytest.mark.parametrize(
    ("content", "key", "reason"),
    [
        (b"", "in/a.json", "empty-object"),
        (b"{}\n", "in/a.docx", "format-unknown"),
        (b"PK\x03\x04", "in/a.json", "format-mismatch"),
    ],
)
def test_who_is_rejected_has_a_route_and_an_owner(
    world: Delivering, said: list[dict[str, Any]], content: bytes, key: str, reason: str
) -> None:
    world.table = table(owner=OWNER)
    file = arrival(content, key)
    world.put(file, content)
    with pytest.raises(Rejected):
        take(file, world.intake(0))
    [detail] = said
    valid(detail, "arrival-rejected")
    assert (detail["reason"], detail["route"], detail["owner"]) == (reason, "all", OWNER)
    assert detail["routesVersion"] == "v1"
    kept = world.ledger.rejections[file.object_id, file.version]
    assert (kept.route, kept.owner) == ("all", OWNER)


def test_what_no_route_takes_has_none(world: Delivering, said: list[dict[str, Any]]) -> None:
    world.put(file := arrival(b"{}\n", "elsewhere/a.json"), b"{}\n")
    with pytest.raises(Rejected):
        take(file, world.intake(0))
    assert [("route" in detail, detail["reason"]) for detail in said] == [(False, "no-route")]


def test_the_end_names_its_files_and_so_does_a_lost_one(
    world: Delivering, said: list[dict[str, Any]]
) -> None:
    external_id = begun(world, b"{}\n", b"no json\n", owner=OWNER, key="in/{}.json")
    uploaded(world)
    looked(world, external_id)
    end = finished(world, external_id)
    assert (end["route"], end["owner"]) == ("all", OWNER)
    assert [file["key"] for file in end["files"]] == ["in/0.json", "in/1.json"]
    assert (end["fileCount"], end["byteCount"]) == (2, 11)
    assert [file["uri"] for file in end["lostFiles"]] == ["s3://landing/in/1.json"]
    [lost] = said
    valid(lost, "arrival-rejected")
    assert (lost["externalId"], lost["route"], lost["owner"]) == (external_id, "all", OWNER)
    assert [file["key"] for file in lost["files"]] == ["in/1.json"]
    assert lost["datasetId"] == end["datasetId"]


# What is wrong with a row or a file, the value that must not be told in each; what its route says.
NONE_OF_IT: dict[str, tuple[bytes, Mapping[str, Any]]] = {
    "a number": ((HEADER + f"{SECRET};Zoë;28.11.2026;x\n").encode("iso8859-1"), {}),
    "a date": ((HEADER + row(1, SECRET)).encode("iso8859-1"), {}),
    "a width": ((HEADER + f"1;{SECRET}\n").encode("iso8859-1"), {}),
    "no header": (2 * f"{SECRET};{SECRET};28.11.2026;x\n".encode(), {}),
    "no header, not mapped": (
        2 * f"{SECRET},{SECRET}\n".encode(),
        {"map": None, "inputFormat": {"format": "csv"}},
    ),
    "an open quote": ((HEADER + f'1;"{SECRET};28.11.2026;x\n').encode(), {}),
    "a charset": (
        HEADER.encode() + f"1;{SECRET}\xe9;28.11.2026;x\n".encode("iso8859-1"),
        {"inputFormat": SOURCE | {"charset": "UTF-8"}},
    ),
    "an expression": (
        (HEADER + f"1;{SECRET};28.11.2026;x\n").encode(),
        {"map": MAP | {"person.name.firstName": {"expression": "abs(first)"}}},
    ),
    "a boolean": (
        (HEADER + f"1;{SECRET};28.11.2026;x\n").encode(),
        {"map": MAP | {"person.name.firstName": {"from": "first", "as": "boolean"}}},
    ),
    "a value of a table": (
        (HEADER + f"1;{SECRET};28.11.2026;x\n").encode(),
        {"map": MAP | {"person.name.firstName": {"from": "first", "values": {"a": "b"}}}},
    ),
    "json": (b'{"a": 1}\n{"email": "%s", }\n' % SECRET.encode(), {"map": None}),
    "json, a name": (b'{"a": 1}\n{"%s" 1}\n' % SECRET.encode(), {"map": None}),
    "json, no object": (b'{"a": 1}\n"%s"\n' % SECRET.encode(), {"map": None}),
    "json, an escape": (b'{"a": 1}\n{"a": "%s\\q"}\n' % SECRET.encode(), {"map": None}),
    "json that breaks off": (b'[{"a": 1}, {"email": "%s' % SECRET.encode(), {"map": None}),
    "json in another charset": (b'{"a": "%s\xe9"}\n' % SECRET.encode(), {"map": None}),
    "markup": (f"<rows><row>{SECRET}</row></rows>".encode(), {"map": None}),
    "a damaged gzip": (gzip.compress(SECRET.encode() * 9)[:-9], {"map": None}),
}
# Those of a row that a map leaves out; the others are of a file that cannot be read, or not mapped.
LEFT_OUT = {"a number", "a date", "a width", "an expression", "a boolean", "a value of a table"}


@pytest.mark.parametrize(
    ("looks", "more", "keeps"),
    [(None, 0, False), (None, 3, False), (True, 0, False), (None, 0, True), (None, 3, True)],
)
@pytest.mark.parametrize("wrong", NONE_OF_IT)
def test_no_value_of_a_row_is_told(  # noqa: PLR0917
    world: Delivering,
    said: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    wrong: str,
    more: int,
    keeps: bool,
    looks: bool | None,
) -> None:
    """Not in events, in the ledger, in logs, or in what is parked; a second file goes with it."""
    caplog.set_level("DEBUG")
    world.piece = 10_000
    bad, written = NONE_OF_IT[wrong]
    written = dict(written) | {"badRows": more, "lookInside": looks, "keepBadRows": keeps or None}
    written = {name: value for name, value in written.items() if value is not None}
    if "map" in NONE_OF_IT[wrong][1] and NONE_OF_IT[wrong][1]["map"] is None:
        good, start = b'{"a": 1}\n', begun
        if keeps:
            return  # what is not mapped is not left out
    else:
        good, start = (HEADER + row(7)).encode("iso8859-1"), mapped
    with suppress(Rejected):  # before it has a batch
        start(world, bad, good, good, **written)
    reports: list[object] = []
    while world.uploads:
        task = world.uploads.pop(0).what
        try:
            done: Any = upload(task, ports(world))
        except IntakeError as error:
            done = error
        report_upload(task, done, world.clock())
        reports.append(done)
    for external_id in list(world.deliveries.kept):
        with suppress(IntakeError):
            looked(world, external_id)
            looked(world, external_id, DAY)
    for why in world.ledger.rejections.values():
        report_arrival("intake-1", why.error("intake-1"), 1)
    metrics.flush_metrics()
    held = [records.text(record) for record in world.ledger.records.values()]
    held += [records.text(one) for one in world.deliveries.kept.values()]
    held += [
        records.text(mark)
        for external_id in world.deliveries.kept
        for mark in world.deliveries.marks(external_id).values()
    ]
    held += [records.text(why) for why in world.ledger.rejections.values()]
    told = json.dumps([world.ends, said, held, world.parked, reports], default=str)
    told += capsys.readouterr().out + caplog.text
    lists = lists_of(world)
    for text in (*(text for key, text in lists.items() if not key.startswith("badrows/")), told):
        assert SECRET not in text
    found = [SECRET in text for key, text in lists.items() if key.startswith("badrows/")]
    assert any(found) == (keeps and wrong in LEFT_OUT)
    # That a row has other columns is seen before a batch is spent, where first bytes are looked at.
    assert bool(found) == (wrong in LEFT_OUT and not (looks and wrong == "a width"))
    assert said or any(end.get("brokenRows") or end.get("errors") for end in world.ends) or more


def lists_of(world: Delivering) -> dict[str, str]:
    """What is in the state bucket, by key."""
    return {
        key: (gzip.decompress(content) if key.endswith(".gz") else content).decode()
        for key, content in world.lists.written.items()
    }
