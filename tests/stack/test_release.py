"""What `make release` makes, installed as people do: without a checkout, Python 3.13 or make."""

import hashlib
import json
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from aep_intake_cli.documents import ROUTES_IDS, PublishedDocument

from local.aws import REGION
from local.bus import Listener
from local.release import NAME, plain, release
from local.simulator.seed import LOYALTY
from local.stack import ROOT, LocalStack
from tests.stack.scene import heard, until

ROUTES = {"routes": [{"name": "all", "match": "**", "datasetId": LOYALTY}]}


@pytest.fixture(scope="module")
def unpacked(deployed: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    archive = release(deployed.directory / "deployed", folder)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    assert release(deployed.directory / "deployed", folder / "again").read_bytes() == (
        archive.read_bytes()
    ), "the same checkout makes the same bytes"
    return folder / NAME


def takes_a_file_to_its_batch(stack: LocalStack, outputs: dict[str, str]) -> None:
    ids = (outputs[name] for name in ROUTES_IDS)
    PublishedDocument(stack.aws.appconfig, *ids).publish(json.dumps(ROUTES).encode(), lambda _: [])
    listener = Listener(stack.aws, outputs["BusName"], heard)
    try:
        stack.aws.s3.put_object(Bucket=outputs["SourceBuckets"], Key="a.json", Body=b'{"a": 1}\n')
        until(lambda: any(e["detail-type"] == "Batch Created" for e in listener.events()))
    finally:
        listener.abandon()


def test_every_file_has_its_checksum(unpacked: Path) -> None:
    lines = (unpacked / "SHA256SUMS").read_text().splitlines()
    found = {
        str(file.relative_to(unpacked)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in unpacked.rglob("*")
        if file.is_file() and file.name != "SHA256SUMS"
    }
    assert lines == [f"{digest}  {name}" for name, digest in sorted(found.items())]
    assert {"template.yaml", "samconfig.toml", "cloudformation.json", "README.md"} <= found.keys()
    assert [name for name in found if name.endswith(".whl")]


def test_unzip_and_sam_deploy(
    deployed: LocalStack, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(unpacked / "nothing"))
    answers = [f"{name}={value}" for name, value in deployed.parameters().items()]
    deployed.sam(
        *("deploy", "--stack-name", "released", "--region", REGION, "--no-confirm-changeset"),
        *("--no-progressbar", "--parameter-overrides", *answers),
        deployer=deployed.deployer("released"),
        path=[],
        folder=unpacked,
    )
    takes_a_file_to_its_batch(deployed, deployed.outputs_of("released"))


def test_cloudformation_alone(deployed: LocalStack, unpacked: Path) -> None:
    bucket = deployed.bucket("code-of-plain")
    for file in (unpacked / "code").iterdir():
        deployed.aws.s3.upload_file(str(file), bucket, f"code/{file.name}")
    template = (unpacked / "cloudformation.json").read_text("utf-8")
    assert "Transform" not in json.loads(template)
    parameters = deployed.parameters() | {"CodeBucket": bucket}
    outputs = deployed.create("plain", template, parameters)
    table, mailbox = with_a_consumer(deployed, bucket, outputs["BusName"])
    takes_a_file_to_its_batch(deployed, outputs)
    deployed.aws.s3.put_object(Bucket=outputs["SourceBuckets"], Key="empty.json", Body=b"")

    def written() -> set[str]:
        items = deployed.aws.dynamodb.scan(TableName=table)["Items"]
        return {item["kind"]["S"] for item in items}

    until(lambda: "Batch Created" in written(), "the consumer writes what became of batches")
    [mail] = until(lambda: deployed.peek(mailbox), "a mail says what needs somebody")
    assert "Arrival Rejected (route: all" in mail.body
    assert "empty-object" in mail.body


def with_a_consumer(stack: LocalStack, bucket: str, bus: str) -> tuple[str, str]:
    """The example beside a deployed stack: its table, and a queue that gets what is mailed."""
    folder, packed = ROOT / "docs" / "examples" / "consumer", BytesIO()
    with zipfile.ZipFile(packed, "w") as code:
        code.write(folder / "consumer.py", "consumer.py")
    stack.aws.s3.put_object(Bucket=bucket, Key="consumer.zip", Body=packed.getvalue())
    template = plain((folder / "template.yaml").read_text("utf-8"), {".": "consumer.zip"})
    given = {"CodeBucket": bucket, "BusName": bus, "Mail": "crm-team@acme.example"}
    stack.create("consumer", json.dumps(template), given)
    found = stack.aws.cloudformation.describe_stack_resources(StackName="consumer")
    made = {
        each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found["StackResources"]
    }
    url = stack.aws.sqs.create_queue(QueueName="mailbox")["QueueUrl"]
    told = stack.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    may_send = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": told["Attributes"]["QueueArn"],
        },
    }
    stack.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(may_send)})
    stack.aws.sns.subscribe(
        TopicArn=made["Failures"], Protocol="sqs", Endpoint=told["Attributes"]["QueueArn"]
    )
    return made["Outcomes"], url
