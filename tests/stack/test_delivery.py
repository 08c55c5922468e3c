"""From created to ingested, on a deployed stack of its own."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from local.simulator.seed import LOYALTY
from local.stack import LocalStack
from tests.stack.scene import Scene, scene, until

ROUTES = {
    "routes": [
        {"name": "json", "match": "in/**", "datasetId": LOYALTY},
        {
            "name": "marked",
            "match": "marked/**",
            "datasetId": LOYALTY,
            "batch": {"marker": "_SUCCESS"},
        },
    ]
}


@pytest.fixture(scope="module")
def delivering(deployed: LocalStack) -> Iterator[Scene]:
    routes = json.dumps(ROUTES).encode()
    parameters = {
        "DeliverBatches": "true",
        "OutcomeSeconds": "1",
        "UploadSeconds": "15",
        "FileMegabytes": "1",
    }
    with scene(deployed, "delivering", routes=routes, **parameters) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        yield played


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


def ended(played: Scene, external_id: str, seconds: float = 40) -> dict[str, Any]:
    """The event of a batch's end."""

    def found() -> list[Any]:
        played.tick()
        time.sleep(0.3)
        return [
            e
            for e in played.stack.listener.events()
            if e["detail-type"] in ("Batch Succeeded", "Batch Failed", "Batch Abandoned")
            and e["detail"]["externalId"] == external_id
        ]

    event = until(found, seconds, "the batch has not ended")[0]
    return {"kind": event["detail-type"], **event["detail"]}


def test_a_file_is_ingested(delivering: Scene, folder: str) -> None:
    key, content = f"in/{folder}/a.jsonl", b'{"a": 1}\n{"a": 2}\n'
    delivering.put(key, content)
    created = delivering.about(key)
    end = ended(delivering, created["externalId"])
    assert end["kind"] == "Batch Succeeded"
    assert (end["recordCount"], end["status"]) == (2, "success")
    [(path, held)] = delivering.aep.files(created["batchId"]).items()
    assert (path, held.read()) == (created["files"][0]["path"], content)
