"""What is killed or denied in the midst of work is done all the same: each file once, none lost."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from local.simulator.seed import LOYALTY
from local.stack import LocalStack
from local.strict_aws.faults import Fault
from tests.stack.killing import (
    LIMITS,
    PARAMETERS,
    ROUTES,
    TICK_SECONDS,
    Killer,
    delivered_once,
    send,
)
from tests.stack.scene import ENDS, Play, Scene, at_once, scene, until

# From the last kill: the longest lease, of those that are taken here, and three minutes.
PATIENCE_SECONDS = 360
FILES = 200
FILES_READ_FIRST = 40


def killed_workers_of_all_functions_lose_and_double_nothing(base: LocalStack) -> None:
    routes = json.dumps(ROUTES).encode()
    with scene(base, "kills", routes=routes, limits=LIMITS, **PARAMETERS) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        killer = Killer(played, random.Random())
        with played.ticking(TICK_SECONDS):
            with killer.at_large():
                send(played, FILES, seconds=40)
            delivered_once(played, FILES, seconds=PATIENCE_SECONDS)


def an_s3_that_denies_all_for_half_a_minute_loses_nothing(base: LocalStack) -> None:
    """Amid a batch of a hundred files; S3 says the same of a policy that is wrong."""
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
    with scene(base, "denied", routes=routes, limits=LIMITS, **PARAMETERS) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        for n in range(100):
            played.put(f"in/{n}.jsonl", b'{"n": %d}\n' % n)
        uploads = f"*{played.resource('OnUploadRole')}*"  # and not those that are killed meanwhile
        denied = Fault.denied("GetObject", caller=uploads, after=FILES_READ_FIRST, seconds=60)
        number = base.faults.inject(denied)
        played.put("in/_SUCCESS", b"")
        created = played.about("in/0.jsonl")
        assert created["fileCount"] == 100
        with played.ticking(TICK_SECONDS):
            end = end_of(played, created["externalId"])
        assert base.faults.befallen(number) > 0
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
            if event["detail-type"] in ENDS and event["detail"]["externalId"] == external_id
        ]

    return until(found, "the batch has not ended")[0]


PLAYS = (
    killed_workers_of_all_functions_lose_and_double_nothing,
    an_s3_that_denies_all_for_half_a_minute_loses_nothing,
)


@pytest.fixture(scope="module")
def ends(deployed: LocalStack) -> Iterator[dict[Play, Future[None]]]:
    """How both end, as they mostly wait."""
    with at_once(deployed, PLAYS) as ends:
        yield ends


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
def test_that(ends: dict[Play, Future[None]], play: Play) -> None:
    ends[play].result()
