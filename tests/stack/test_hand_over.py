"""From created to delivered, whatever becomes of the message between: on a stack of its own."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from local.simulator.seed import LOYALTY
from local.stack import LocalStack
from tests.stack.scene import Scene, scene, until
from tests.stack.test_delivery import ended, held

ROUTES = {"routes": [{"name": "json", "match": "in/**", "datasetId": LOYALTY}]}
LINE = b'{"a": 1}\n'


@pytest.fixture(scope="module")
def handing(deployed: LocalStack) -> Iterator[Scene]:
    routes = json.dumps(ROUTES).encode()
    limits = {"outcomeSeconds": 1}
    with scene(
        deployed,
        "handing",
        routes=routes,
        limits=limits,
        seconds={"OnUpload": 15},
        DeliverBatches="true",
    ) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=200, staged_ms=0)
        yield played


def switch(played: Scene, deliver: str) -> None:
    """Deploy the stack again with another `DeliverBatches`."""
    played.stack.outputs = played.stack.redeploy(played.stack.name, {"DeliverBatches": deliver})


def an_hour_later(played: Scene, external_id: str) -> None:
    """The time of a recorded delivery has come."""
    played.aws.dynamodb.update_item(
        TableName=played.outputs["LedgerTable"],
        Key={"pk": {"S": f"delivery#{external_id}"}, "sk": {"S": "delivery"}},
        UpdateExpression="SET due = :now",
        ConditionExpression="due > :now",
        ExpressionAttributeValues={":now": {"N": str(time.time_ns() // 1_000_000)}},
    )


def test_whatever_becomes_of_the_message_the_clock_finds_the_delivery(handing: Scene) -> None:
    """Its queue is purged, then deleted by switching delivery off, and made anew later on."""
    purged, other, never = (f"in/{uuid.uuid4().hex}/{name}.jsonl" for name in "abc")
    rule = {"Name": f"{handing.stack.name}-deliveries", "EventBusName": handing.outputs["BusName"]}
    handing.aws.events.disable_rule(**rule)
    handing.put(purged, LINE)
    first = handing.about(purged)
    handing.put(other, LINE)
    second = handing.about(other)
    switch(handing, "false")
    handing.put(never, LINE)
    third = handing.about(never)
    switch(handing, "true")
    for created in (first, second):
        an_hour_later(handing, created["externalId"])
    for created in (first, second):
        end = ended(handing, created["externalId"])
        assert end["kind"] == "Batch Succeeded"
        assert held(handing, created["batchId"]) == {created["files"][0]["path"]: LINE}
    # What was announced while nothing was delivered is others' to fill, even if its event came.
    event = {"detail-type": "Batch Created", "detail": third}
    queue = handing.outputs["DeliveriesQueueUrl"]
    handing.aws.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))

    def worked() -> bool:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        asked = handing.aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return all(count == "0" for count in asked["Attributes"].values())

    until(worked, "the event is not worked off")
    assert held(handing, third["batchId"]) == {}
    [batch] = handing.batches(third["externalId"])
    assert batch["status"] == "loading"
    told = handing.stack.sender.call(
        "GET", f"{handing.stack.api}/batches/{third['externalId']}"
    ).json()
    assert (told["state"], "delivery" in told) == ("loading", False)
