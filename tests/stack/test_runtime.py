"""What `sam build` makes, in AWS's own runtime: nothing is missing from it, nothing is too much.

MiniStack runs functions among its own packages, so it would hide a dependency that is not built.
Here they have their deployed environment, and keys that may do what their roles may; but queues
and a table of their own, so that the deployed functions do not take their work.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.model.batches import Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.progress import Lease, Record

from local.children import ChildFailed
from local.runtime import (
    AVAILABLE,
    FUNCTIONS,
    PYTHON,
    Function,
    Runtime,
    copy_of_build,
    function,
    variables,
)
from local.simulator.seed import LOYALTY, Seed
from local.stack import ROOT, LocalStack
from tests.stack.scene import PATIENCE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="AWS's emulator is a program for Linux")

HANDLERS = ["on_arrival", "on_marker", "on_request", "on_due", "on_tick"]
FORBIDDEN = {"pydantic", "aws_xray_sdk", "jsonschema", "pytest", "local", "tests", "ministack"}


@pytest.fixture(scope="module")
def own(deployed: LocalStack) -> dict[str, str]:
    """Names of the deployed table and queues, and of empty ones like them."""
    aws, outputs = deployed.aws, deployed.outputs
    like = aws.dynamodb.describe_table(TableName=outputs["LedgerTable"])["Table"]
    aws.dynamodb.create_table(
        TableName="in-the-runtime",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=like["KeySchema"],
        AttributeDefinitions=like["AttributeDefinitions"],
        GlobalSecondaryIndexes=[
            {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}  # type: ignore[misc]
            for index in like["GlobalSecondaryIndexes"]
        ],
    )
    names = {outputs["LedgerTable"]: "in-the-runtime"}
    for queue in ("ArrivalsDlq", "ArrivalsQueue", "DueQueue", "DueOrdersQueue"):
        aws.sqs.create_queue(QueueName=f"in-the-runtime-{queue}")
        names[name_of(deployed, queue)] = f"in-the-runtime-{queue}"
    return names


def name_of(stack: LocalStack, queue: str) -> str:
    """The name of one of the stack's queues, by its logical id."""
    told = stack.aws.cloudformation.describe_stack_resource(
        StackName=stack.name, LogicalResourceId=queue
    )
    return told["StackResourceDetail"]["PhysicalResourceId"].rpartition("/")[2]


@pytest.fixture(scope="module")
def functions(
    deployed: LocalStack, own: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Function]:
    built = tmp_path_factory.mktemp("runtime") / "built"
    copy_of_build(built)
    return {name: function(deployed, name, built).with_resources(own) for name in FUNCTIONS}


@pytest.fixture(scope="module")
def workers(
    deployed: LocalStack, functions: dict[str, Function], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Runtime]]:
    logs = tmp_path_factory.mktemp("logs")
    with ExitStack() as running:
        started = {}
        for name, made in functions.items():
            keys = deployed.identity(f"in-the-runtime-{name}", list(made.statements)).identity
            env = variables(made, deployed, keys)
            started[name] = running.enter_context(Runtime(made, env=env, log=logs / name))
        yield started


def sample(name: str) -> Any:
    return json.loads((ROOT / "events" / f"{name}.json").read_text("utf-8"))


def message(queue: str, message_id: str, body: Any, stack: LocalStack) -> dict[str, Any]:
    """A message as SQS delivers it; sent and received, for the function gives some back."""
    url = stack.aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    stack.aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
    received = stack.aws.sqs.receive_message(QueueUrl=url)["Messages"][0]
    delivered: dict[str, Any] = sample("sqs-delivery")["Records"][0]
    return delivered | {
        "messageId": message_id,
        "receiptHandle": received["ReceiptHandle"],
        "body": received["Body"],
    }


def object_created(stack: LocalStack, key: str) -> dict[str, Any]:
    event: dict[str, Any] = sample("eventbridge-object-created")
    event["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    event["detail"]["bucket"]["name"] = stack.outputs["LandingBucketName"]
    # By its content, as of an unversioned bucket: it is no second event of what the stack takes.
    body = b"{}\n"
    stack.put(key, body)
    known = event["detail"]["object"]
    known |= {
        "key": key,
        "size": len(body),
        "etag": hashlib.md5(body, usedforsecurity=False).hexdigest(),
    }
    del known["version-id"]
    return event


def test_arrivals_become_batches(
    stack: LocalStack, workers: dict[str, Runtime], own: dict[str, str]
) -> None:
    """One gets its batch, one has no route, one meets a platform that wants to be left alone."""
    queue = own[stack.outputs["ArrivalsQueueUrl"].rpartition("/")[2]]
    good, unrouted = "landing/loyalty/in/runtime.jsonl", "nowhere/runtime.txt"
    throttled = "landing/loyalty/in/throttled.jsonl"
    deliver = {
        key: message(queue, key, object_created(stack, key), stack)
        for key in (good, unrouted, throttled)
    }
    first = workers["OnArrival"].invoke({"Records": [deliver[good], deliver[unrouted]]})
    assert first == {"batchItemFailures": []}
    stack.control("POST", "/faults", {"fault": "gateway", "operation": "create", "code": "429050"})
    second = workers["OnArrival"].invoke({"Records": [deliver[throttled]]})
    assert second == {"batchItemFailures": [{"itemIdentifier": throttled}]}

    def about(key: str) -> dict[str, Any]:
        [event] = stack.listener.wait(
            lambda event: any(
                f["key"] == key and "versionId" not in f for f in event["detail"].get("files", [])
            ),
            timeout=PATIENCE,
        )
        detail: dict[str, Any] = event["detail"]
        return detail | {"detail-type": event["detail-type"]}

    created = about(good)
    assert created["detail-type"] == "Batch Created"
    made = stack.control("GET", f"/batches?externalId={created['externalId']}")
    assert [batch["id"] for batch in made] == [created["batchId"]]
    assert about(unrouted)["reason"] == "no-route"
    dlq = own[stack.outputs["ArrivalsDlqUrl"].rpartition("/")[2]]
    [parked] = stack.peek(stack.aws.sqs.get_queue_url(QueueName=dlq)["QueueUrl"])
    assert (parked.body, parked.attributes["reason"]) == (deliver[unrouted]["body"], "no-route")


def test_what_a_dead_worker_left_is_handed_out_and_finished(
    stack: LocalStack, workers: dict[str, Runtime], own: dict[str, str]
) -> None:
    long_ago = int(time.time() * 1000) - 600_000
    ledger = DynamoLedger(
        stack.aws.dynamodb, own[stack.outputs["LedgerTable"]], lambda: long_ago, 86_400_000
    )
    file = Arrival("landing", "left/behind.jsonl", None, "etag", "0061", 10, long_ago)
    target = Target(stack.secret_arn, Seed().ims_org, "prod", LOYALTY)
    order = Order(file.external_id, target, {"inputFormat": {"format": "json"}}, (file,))
    ledger.open(Record.opened(order, Lease("dead", long_ago), long_ago))

    workers["OnTick"].invoke(sample("tick"))
    due = own[name_of(stack, "DueOrdersQueue")]
    url = stack.aws.sqs.get_queue_url(QueueName=due)["QueueUrl"]
    bodies = [message.body for message in stack.peek(url)]
    assert [json.loads(body) for body in bodies] == [
        {"v": 1, "kind": "orders", "externalId": file.external_id}
    ]

    [body] = bodies
    workers["OnDue"].invoke({"Records": [{"body": body}]})
    stack.listener.wait(lambda e: e["detail"]["externalId"] == file.external_id, timeout=PATIENCE)
    record = ledger.get(file.external_id)
    assert record is not None
    assert (record.state, record.due) == ("announced", None)


def test_requests_are_answered(stack: LocalStack, workers: dict[str, Runtime]) -> None:
    ask = sample("api-get-batch")
    answer = workers["OnRequest"].invoke(ask | {"pathParameters": {"id": "unknown"}})
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["type"].endswith("not-found")

    post = sample("api-post-batches")
    post["body"] = json.dumps({"datasetId": LOYALTY, "inputFormat": {"format": "json"}})
    answer = workers["OnRequest"].invoke(post)
    assert answer["statusCode"] == 201
    batch_id = json.loads(answer["body"])["id"]
    stack.listener.wait(lambda e: e["detail"].get("batchId") == batch_id, timeout=PATIENCE)


@pytest.fixture(scope="module")
def probe(
    deployed: LocalStack, functions: dict[str, Function], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    """A worker that runs `local/bench/inside/probe.py` around the handler of arrivals."""
    made = functions["OnArrival"].with_probe()
    keys = deployed.identity("in-the-runtime-probe", list(made.statements)).identity
    log = tmp_path_factory.mktemp("probe") / "log"
    # All handlers are imported there, and each wants its own.
    env: dict[str, str] = {}
    for each in (*functions.values(), made):
        env |= variables(each, deployed, keys)
    with Runtime(made, env=env, log=log, handler="probe.handler") as worker:
        yield worker


@pytest.fixture(scope="module")
def loaded(probe: Runtime) -> dict[str, Any]:
    """What all four handlers together load."""
    told: dict[str, Any] = probe.invoke({"import": HANDLERS})
    return told


def test_what_is_packaged_comes_from_the_package(
    loaded: dict[str, Any], functions: dict[str, Function]
) -> None:
    made = functions["OnArrival"]
    dependencies, intake = made.layers
    homes = {
        dependencies: ["aws_lambda_powertools", "requests", "urllib3", "certifi", "jmespath"],
        intake: ["aep_intake", "aep_intake.wiring.worker"],
        made.code: HANDLERS,
        PYTHON.parents[1]: ["boto3", "botocore", "awslambdaric"],
    }
    for home, names in homes.items():
        for name in names:
            assert loaded["modules"][name].startswith(f"{home}/"), name


def test_nothing_heavy_or_of_ours_is_loaded(loaded: dict[str, Any]) -> None:
    top = {name.partition(".")[0] for name in loaded["modules"]}
    assert not top & FORBIDDEN
    assert "aws_lambda_powertools" in top
    assert not [path for path in loaded["path"] if Path(path).is_relative_to(ROOT / ".venv")]


def test_a_warm_worker_makes_no_call_too_many(
    stack: LocalStack, probe: Runtime, own: dict[str, str]
) -> None:
    """A look, one POST, three writes, one event; the token and the routes are at hand."""
    queue = own[stack.outputs["ArrivalsQueueUrl"].rpartition("/")[2]]

    def calls(key: str) -> dict[str, int]:
        delivery = {"Records": [message(queue, key, object_created(stack, key), stack)]}
        told = probe.invoke({"module": "on_arrival", "event": delivery})
        assert told["answer"] == {"batchItemFailures": []}
        counted: dict[str, int] = told["calls"]
        return {name if "://" not in name else "GetObject": n for name, n in counted.items()}

    first, second = (calls(f"landing/loyalty/in/{n}.jsonl") for n in ("cold", "warm"))
    assert second == {
        "GetObject": 1,
        "DynamoDB_20120810.TransactWriteItems": 1,
        "DynamoDB_20120810.PutItem": 2,
        "POST /data/foundation/import/batches": 1,
        "AWSEvents.PutEvents": 1,
    }
    assert {"secretsmanager.GetSecretValue": 1, "POST /ims/token/v3": 1}.items() <= first.items()


def runs(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    # A zombie no longer runs: nobody may be there to reap it.
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_clients_are_made_while_it_starts(
    deployed: LocalStack, functions: dict[str, Function], tmp_path: Path
) -> None:
    """Lambda gives the start more CPU than what follows. S3 may wait where nothing is looked at."""
    for_orders = ["appconfigdata", "dynamodb", "events", "secretsmanager"]
    expected = {
        "OnArrival": [*for_orders[:3], "s3", *for_orders[3:]],
        "OnMarker": [*for_orders[:3], "s3", *for_orders[3:]],
        "OnRequest": for_orders,
        "OnDue": [*for_orders, "sqs"],
        "OnTick": ["appconfigdata", "dynamodb", "sqs"],
    }
    for name, clients in expected.items():
        made = functions[name].with_probe()
        env = variables(made, deployed, deployed.sender.identity)
        with Runtime(made, env=env, log=tmp_path / name, handler="probe.handler") as worker:
            told = worker.invoke({"import": [made.handler.partition(".")[0]]})
        assert told["clients"] == clients, name


def test_its_processes_end_with_it(
    deployed: LocalStack, functions: dict[str, Function], tmp_path: Path
) -> None:
    made = functions["OnTick"].with_probe()
    env = variables(made, deployed, deployed.sender.identity)
    with Runtime(made, env=env, log=tmp_path / "log", handler="probe.handler") as worker:
        process = worker.invoke({"import": []})["process"]
        assert 0 < worker.init < 30_000
        assert runs(process)
    assert not runs(process)


def test_a_build_that_lacks_something_fails(
    deployed: LocalStack, functions: dict[str, Function], tmp_path: Path
) -> None:
    """Which is what these tests are for."""
    made = replace(functions["OnTick"], layers=functions["OnTick"].layers[1:])
    env = variables(made, deployed, deployed.sender.identity)
    with (
        Runtime(made, env=env, log=tmp_path / "log") as worker,
        pytest.raises(ChildFailed, match=r"No module named '(requests|aws_lambda_powertools)'"),
    ):
        worker.invoke({})
