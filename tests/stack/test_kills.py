"""What is killed or denied in the midst of work is done all the same: each file once, none lost."""

import json
import random
from typing import Any

from local.simulator.seed import LOYALTY
from local.stack import LocalStack
from local.strict_aws.faults import Fault
from tests.stack.killing import LIMITS, PARAMETERS, ROUTES, Killer, delivered_once, send
from tests.stack.scene import Scene, scene, until

# From the last kill: the longest lease, of those that are taken here, and three minutes.
PATIENCE_SECONDS = 360
FILES = 200


def test_killed_workers_of_all_functions_lose_and_double_nothing(deployed: LocalStack) -> None:
    routes = json.dumps(ROUTES).encode()
    with scene(deployed, "kills", routes=routes, limits=LIMITS, **PARAMETERS) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        killer = Killer(played, random.Random())
        with killer.at_large():
            send(played, FILES, seconds=40)
        delivered_once(played, FILES, seconds=PATIENCE_SECONDS)


def test_an_s3_that_denies_all_for_half_a_minute_loses_nothing(deployed: LocalStack) -> None:
    """Of a batch of a hundred files; S3 says the same of a policy that is wrong."""
    table = {
        "routes": [
            {
                "name": "marked",
                "match": "in/**",
                "datasetId": LOYALTY,
                "batch": {"marker": "_SUCCESS"},
            }
        ]
    }
    routes = json.dumps(table).encode()
    with scene(deployed, "denied", routes=routes, limits=LIMITS, **PARAMETERS) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        for n in range(100):
            played.put(f"in/{n}.jsonl", b'{"n": %d}\n' % n)
        fault = Fault.denied("GetObject", caller="*OnUploadRole*", seconds=60)
        number = deployed.faults.inject(fault)
        played.put("in/_SUCCESS", b"")
        created = played.about("in/0.jsonl")
        assert created["fileCount"] == 100
        end = end_of(played, created["externalId"])
        assert deployed.faults.befallen(number) > 0
        assert (end["kind"], end["recordCount"]) == ("Batch Succeeded", 100)
        assert not end.get("lostFiles")
        assert played.details("Arrival Rejected") == []
        assert played.stack.parked() == []


def end_of(played: Scene, external_id: str) -> dict[str, Any]:
    """What the event of a batch's end says, once it has come by itself."""

    def found() -> list[dict[str, Any]]:
        return [
            {"kind": event["detail-type"], **event["detail"]}
            for event in played.stack.listener.events()
            if event["detail-type"] in ("Batch Succeeded", "Batch Failed", "Batch Abandoned")
            and event["detail"]["externalId"] == external_id
        ]

    return until(found, "the batch has not ended")[0]
