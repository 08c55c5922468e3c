"""Workers of the functions as built and deployed, and what is given to them by hand."""

import json
from collections.abc import Iterable
from copy import copy
from datetime import UTC, datetime
from itertools import count
from typing import Any

from local.children import ChildFailed
from local.runtime import FUNCTIONS, Runtime, copy_of_build, function, variables
from local.stack import ROOT, LocalStack

DELIVERS = "uploads"  # the stack that does
DELIVERING = ("OnDelivery", "OnUpload")
MADE_UP = "landing/made-up"  # of a route that does not look at its objects
# As fast as it goes, and the outcome looked for at once.
LIMITS = {"gigabytesPerHour": 10_000, "outcomeSeconds": 1}


def delivering(stack: LocalStack) -> LocalStack:
    """A second stack beside this one, that delivers: as fast as it goes."""
    other = copy(stack)
    other.outputs = stack.deploy_variant(DELIVERS, {"DeliverBatches": "true"}, LIMITS)
    other.name = DELIVERS
    return other


class Workers:
    """Starts workers of one deployed stack's functions, each by itself."""

    def __init__(self, stack: LocalStack, names: Iterable[str] = FUNCTIONS) -> None:
        self._stack = stack
        self._numbers = count()
        self.built = stack.directory / f"built-{stack.name}"
        copy_of_build(self.built)
        self.functions = {name: function(stack, name, self.built).with_probe() for name in names}
        self.environments = {
            name: variables(
                made, stack, stack.identity(f"{stack.name}-{name}", list(made.statements)).identity
            )
            for name, made in self.functions.items()
        }

    def runtime(self, name: str, module: str) -> Runtime:
        """A worker of a function that runs `module`: one of its own, or of local/bench/inside."""
        log = self._stack.directory / f"{module}-{next(self._numbers)}.log"
        env = self.environments[name]
        return Runtime(self.functions[name], env=env, log=log, handler=f"{module}.handler")

    def arrivals(self, number: int, folder: str) -> list[str]:
        """Messages as S3 and EventBridge make them, of so many objects of a versioned bucket."""
        event = json.loads((ROOT / "events" / "eventbridge-object-created.json").read_text("utf-8"))
        event["time"] = datetime.now(UTC).isoformat(timespec="seconds")
        event["detail"]["bucket"]["name"] = self._stack.outputs["LandingBucketName"]
        bodies = []
        for _ in range(number):
            key = f"{folder}/2026-11-23/{next(self._numbers):08}.jsonl"
            event["detail"]["object"]["key"] = key
            bodies.append(json.dumps(event))
        return bodies

    def deliver(self, worker: Runtime, number: int, folder: str = MADE_UP) -> dict[str, Any]:
        """A delivery of so many arrivals; what the probe tells of it."""
        delivery = json.loads((ROOT / "events" / "sqs-delivery.json").read_text("utf-8"))
        records = [
            delivery["Records"][0] | {"messageId": str(next(self._numbers)), "body": body}
            for body in self.arrivals(number, folder)
        ]
        told: dict[str, Any] = worker.invoke(
            {"module": "on_arrival", "event": {"Records": records}}
        )
        if told["answer"]["batchItemFailures"]:
            raise ChildFailed(f"not every arrival got its batch\n{worker.tail()}")
        return told

    def mark(self, worker: Runtime, key: str) -> dict[str, Any]:
        """A marker that on_marker works on; what the probe tells of it."""
        delivery = json.loads((ROOT / "events" / "sqs-delivery.json").read_text("utf-8"))
        [body] = self.arrivals(1, "landing")
        event = json.loads(body)
        event["detail"]["object"] |= {"key": key, "size": 0}
        record = delivery["Records"][0] | {"body": json.dumps(event)}
        told: dict[str, Any] = worker.invoke(
            {"module": "on_marker", "event": {"Records": [record]}}
        )
        if told["answer"]["batchItemFailures"]:
            raise ChildFailed(f"the marker was not worked on\n{worker.tail()}")
        return told
