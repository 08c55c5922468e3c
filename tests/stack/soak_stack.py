"""`make soak-stack`: what takes too long for every day, on the deployed stack."""

import json
import random

from local.stack import LocalStack
from tests.stack.killing import LIMITS, PARAMETERS, ROUTES, Killer, delivered_once, send
from tests.stack.scene import scene

FILES = 1500
SECONDS = 300
PATIENCE_SECONDS = 360


def test_1500_arrivals_while_workers_are_killed(deployed: LocalStack) -> None:
    routes = json.dumps(ROUTES).encode()
    with scene(deployed, "soaked", routes=routes, limits=LIMITS, **PARAMETERS) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        killer = Killer(played, random.Random())
        with killer.at_large():
            send(played, FILES, seconds=SECONDS)
        delivered_once(played, FILES, seconds=PATIENCE_SECONDS)
