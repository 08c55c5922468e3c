"""S3 → SQS without EventBridge, on a deployed stack: from the file to its end in AEP."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from aep_intake_cli.doctor import examine as doctor
from aep_intake_cli.doctor.verdicts import OK
from aep_intake_cli.stack import describe_stack

from local.simulator.seed import LOYALTY
from local.stack import LocalStack
from tests.stack.scene import Scene, scene, until
from tests.stack.test_delivery import ended

ROUTES = {"routes": [{"name": "all", "match": "**", "datasetId": LOYALTY}]}


@pytest.fixture(scope="module")
def direct(deployed: LocalStack) -> Iterator[Scene]:
    parameters: dict[str, Any] = {
        "ArrivalPath": "Direct",
        "ArrivalBatchSeconds": "10",
        "KeyPattern": "in/*.json",
        "DeliverBatches": "true",
    }
    routes = json.dumps(ROUTES).encode()
    with scene(
        deployed, "direct", routes=routes, limits={"outcomeSeconds": 1}, **parameters
    ) as played:
        played.aep.switches.change(loaded_ms=0, staging_ms=0, staged_ms=0)
        yield played


def test_a_file_comes_from_s3_itself_and_is_delivered(direct: Scene) -> None:
    sends = direct.aws.s3.get_bucket_notification_configuration(Bucket=direct.bucket)
    assert set(sends) - {"ResponseMetadata"} == {"QueueConfigurations"}
    folder = f"in/{uuid.uuid4().hex}"
    direct.put(f"{folder}/other.csv", b"a\n1\n")
    direct.put(f"{folder}/å b.json", b'{"a": 1}\n')
    created = direct.about(f"{folder}/å b.json")
    assert ended(direct, created["externalId"])["kind"] == "Batch Succeeded"
    direct.quiet()

    def left_out() -> bool:
        """The other file came, too, and was counted: its key is not among those to take."""
        lines = direct.stack.logged("on-arrival")
        return any(line.get("reason") == "other-key" and "Ignored" in line for line in lines)

    until(left_out)
    assert [batch["externalId"] for batch in direct.batches()] == [created["externalId"]]


@pytest.mark.usefixtures("operator")
def test_the_doctor_knows_which_way_they_come(direct: Scene) -> None:
    stack = describe_stack(direct.aws.cloudformation, direct.stack.name)
    findings = list(doctor.examine(stack, boto3.Session()))
    sends = "it sends S3 notifications to the arrivals queue"
    assert doctor.CheckLine(f"bucket {direct.bucket}", OK, sends) in findings
