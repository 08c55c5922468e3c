"""Many files, one batch: the windows' half of the ledger's contract, and the deployed whole."""

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aep_intake import windows
from aep_intake.adapters.ledger import DynamoLedger
from aep_intake.arrivals import Arrival
from aep_intake.errors import AlreadyClaimed, LeaseLost, WindowSealed
from aep_intake.orders import Lease, Order, Record, Target
from aep_intake.windows import Limits, Stage, Window, close, plan, register

from local.stack import LocalStack
from tests.memory_ledger import MemoryLedger

NOW = 1_790_000_000_000
DAY = 86_400_000
TARGET = Target("arn:aws:secretsmanager:eu-west-1:1:secret:a-AbCdEf", "O@AdobeOrg", "prod", "d")


@pytest.fixture(params=["memory", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        return MemoryLedger()
    stack: LocalStack = request.getfixturevalue("stack")
    return DynamoLedger(stack.aws.dynamodb, stack.outputs["LedgerTable"], lambda: NOW, 60 * DAY)


@pytest.fixture
def window(ledger: Any) -> Window:
    order = Order("", TARGET, {"inputFormat": {"format": "json"}}, route=uuid.uuid4().hex)
    return ledger.windows.open(Window.at(order, 60_000, NOW))  # type: ignore[no-any-return]


def files(number: int, **changes: Any) -> tuple[Arrival, ...]:
    name = uuid.uuid4().hex
    some = (
        Arrival("landing", f"in/{name}/{n:05}.json", f"v{n}", "e", f"{n:04x}", 10, NOW)
        for n in range(number)
    )
    return tuple(replace(file, **changes) for file in some)


def ports(ledger: Any, now: int = NOW, **limits: int) -> windows.Ports:
    return windows.Ports(ledger.windows, ledger, lambda _: None, lambda: now, Limits(**limits))


def test_a_window_is_what_was_put(ledger: Any, window: Window) -> None:
    assert ledger.windows.get(window.window_id) == window
    assert ledger.windows.open(window) == window
    assert ledger.windows.get("window-none") is None
    assert dict(ledger.due(window.start + 60_000))[window.window_id] == window.start + 60_000
    assert window.window_id not in dict(ledger.due(window.start + 59_999))


def test_what_joined_is_read_back_in_order(ledger: Any, window: Window) -> None:
    some = files(250)
    joined, known = register(window, reversed(some), ports(ledger))
    assert set(joined) == {file.external_id for file in some}
    assert known == {}
    assert ledger.windows.registered(window.window_id) == some
    assert {ledger.claimant(file) for file in some} == {window.window_id}


def test_copies_drop_out_and_the_rest_joins(ledger: Any, window: Window) -> None:
    first, second = files(3), files(2)
    alone = files(1)
    ledger.open(Record.opened(Order("o-1", TARGET, {}, alone), Lease("t", NOW), NOW))
    register(window, first, ports(ledger))
    joined, known = register(window, (*first[:2], *second, *alone), ports(ledger))
    assert set(joined) == {file.external_id for file in second}
    assert known == {
        **dict.fromkeys((file.external_id for file in first[:2]), window.window_id),
        alone[0].external_id: "o-1",
    }
    assert set(ledger.windows.registered(window.window_id)) == {*first, *second}


def test_the_same_bytes_twice_in_one_delivery_are_two_versions(ledger: Any, window: Window) -> None:
    [file] = files(1, version_id=None)
    again = replace(file, sequencer="00ff")
    joined, known = register(window, (file, again), ports(ledger))
    assert len(joined) == 2
    assert not known


@pytest.mark.parametrize("version", ["v", None])
def test_a_new_version_joins_beside_an_old_one_of_the_same_object(
    ledger: Any, window: Window, version: str | None
) -> None:
    [old] = files(1, version_id=version and f"{version}1")
    new = replace(old, version_id=version and f"{version}2", sequencer="00ff", etag="other")
    register(window, [old], ports(ledger))
    joined, known = register(window, [old, new], ports(ledger))
    assert set(joined) == {new.external_id}
    assert known == {old.external_id: window.window_id}
    assert set(ledger.windows.registered(window.window_id)) == {old, new}


def test_nothing_joins_a_sealed_window(ledger: Any, window: Window) -> None:
    some, late = files(2), files(2)
    register(window, some, ports(ledger))
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    with pytest.raises(WindowSealed):
        ledger.windows.register(sealed, late, late)
    joined, _ = register(window, late, ports(ledger))
    assert {where.start for where in joined.values()} == {window.start + 60_000}
    assert ledger.windows.registered(window.window_id) == some
    with pytest.raises(AlreadyClaimed):
        ledger.windows.register(sealed, some, some)


def test_a_window_changes_only_as_it_was_read(ledger: Any, window: Window) -> None:
    ledger.windows.replace(window, window.sealed(NOW))
    with pytest.raises(LeaseLost):
        ledger.windows.replace(window, window.finished())


def test_a_plan_is_made_once_and_obeyed(ledger: Any, window: Window) -> None:
    register(window, files(5), ports(ledger))
    end = window.start + window.length
    close(window.window_id, ports(ledger, end - 1))
    assert ledger.windows.get(window.window_id).stage is Stage.OPEN
    sealed = ledger.windows.replace(window, window.sealed(NOW))
    frozen = ledger.windows.registered(window.window_id)
    ledger.windows.replace(sealed, sealed.planned(plan(window.window_id, frozen, Limits(files=2))))
    close(window.window_id, ports(ledger, end, files=1))  # another limit by now
    closed = ledger.windows.get(window.window_id)
    assert closed.stage is Stage.FINISHED
    assert closed.due is None
    assert [part.end - part.first for part in closed.parts] == [2, 2, 1]
    parts = [closed.part(part, number) for number, part in enumerate(closed.parts)]
    found = [ledger.get(part.external_id) for part in parts]
    assert [record.order for record in found] == parts
    assert sum((ledger.files(part) for part in parts), ()) == frozen
    assert all(record.due == end for record in found)


def test_parts_are_filled_by_count_and_by_bytes() -> None:
    sizes = [4, 4, 4, 30, 1, 1, 1, 1, 1]
    some = [replace(file, size=size) for file, size in zip(files(9), sizes, strict=True)]
    parts = plan("w", some, Limits(files=4, bytes=10))
    assert [(part.first, part.end, part.bytes) for part in parts] == [
        (0, 2, 8),
        (2, 3, 4),
        (3, 4, 30),
        (4, 8, 4),
        (8, 9, 1),
    ]
    assert plan("w", [], Limits()) == ()


def test_fifty_join_one_window_at_once(ledger: Any, window: Window) -> None:
    deliveries = [files(10) for _ in range(50)]
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda some: register(window, some, ports(ledger)), deliveries))
    assert sum(len(joined) for joined, _ in results) == 500
    everything = {file for some in deliveries for file in some}
    assert set(ledger.windows.registered(window.window_id)) == everything


SAMPLES = Path(__file__).parents[2] / "local/samples/routes.json"


@pytest.fixture
def windowed(stack: LocalStack, tmp_path: Path) -> Iterator[str]:
    """A prefix whose files share a window of a minute."""
    rule = {
        "name": f"many-{uuid.uuid4().hex[:8]}",
        "match": "many/**",
        "datasetName": "loyalty",
        "inputFormat": {"format": "json"},
        "batch": {"window": "1m"},
    }
    path = tmp_path / "routes.json"
    path.write_text(json.dumps({"routes": [rule]}))
    stack.publish_routes(path)
    yield str(rule["name"])
    stack.publish_routes(SAMPLES)


def test_3001_objects_are_three_batches(stack: LocalStack, windowed: str) -> None:
    """Each file in one of them. More only where the clock turns the minute in between."""
    time.sleep(31)  # a worker asks AppConfig again after half a minute
    keys = {f"many/{uuid.uuid4().hex}/{n:05}.json" for n in range(3001)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: stack.put(key, b"{}\n"), keys))
    batches: dict[str, Any] = {}
    deadline = time.monotonic() + 240
    while sum(batch["fileCount"] for batch in batches.values()) < 3001:
        assert time.monotonic() < deadline, f"{len(batches)} batches, and not all files"
        time.sleep(0.5)
        details = [event["detail"] for event in stack.listener.events()]
        batches = {d["externalId"]: d for d in details if d.get("route") == windowed}
    found = [file["key"] for batch in batches.values() for file in _files(stack, batch)]
    assert len(found) == 3001
    assert set(found) == keys
    assert len({batch["batchId"] for batch in batches.values()}) == len(batches) <= 5
    assert all(batch["fileCount"] <= 1500 for batch in batches.values())
    made = stack.control("GET", "/batches")
    assert len([batch for batch in made if batch["externalId"] in batches]) == len(batches)


def _files(stack: LocalStack, detail: dict[str, Any]) -> list[dict[str, Any]]:
    if "files" in detail:
        return list(detail["files"])
    place = detail["manifest"]
    body = stack.aws.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"]
    return list(json.loads(body.read())["files"])
