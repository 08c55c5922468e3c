"""An operator's commands against a deployed stack: doctor, connect, redrive."""

import gzip
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import boto3
import pytest
from aep_intake.adapters.aws.s3 import Objects
from aep_intake.adapters.aws.sqs import Queues
from aep_intake.adapters.dynamodb.comparisons import DynamoComparisons
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.parked import DynamoParked
from aep_intake.adapters.dynamodb.pauses import FRESH_MS
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals import envelopes
from aep_intake.clock.parking import Parked
from aep_intake.delivery.delivery import Task
from aep_intake.delivery.pieces import Piece
from aep_intake.model.errors import DatasetNotFound, NoRoute, Rejected
from aep_intake.model.files import Arrival
from aep_intake.model.history import OverdueFiles
from aep_intake.model.messages import AS_USUAL
from aep_intake.model.progress import Record, Rejection
from aep_intake.model.times import iso
from aep_intake.report import journal
from aep_intake.routing import routes
from aep_intake.routing.table import Match
from aep_intake_cli import clock, comparing, dead_letters
from aep_intake_cli.choice import Choice
from aep_intake_cli.command import main
from aep_intake_cli.doctor import examine as doctor
from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM
from aep_intake_cli.documents import LIMITS_IDS, ROUTES_IDS, PublishedDocument, live_routes
from aep_intake_cli.options import Access
from aep_intake_cli.parked import AllParked
from aep_intake_cli.stack import Stack, describe_stack
from botocore.exceptions import ClientError

from local.emulator import ACCOUNT
from local.simulator.registry import sample
from local.simulator.seed import PROFILES, SCHEMAS, Seed
from local.stack import ROOT, LocalStack
from tests.memory_ledger import MemoryParked
from tests.stack.scene import PATIENCE, until

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

pytestmark = pytest.mark.usefixtures("operator")
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch, stack: LocalStack) -> None:
    """And nothing is parked, which would be a problem to the doctor."""
    monkeypatch.setenv("COLUMNS", "300")
    stack.aws.sqs.purge_queue(QueueUrl=stack.outputs["ArrivalsDlqUrl"])
    items = DynamoParked(Table(stack.aws.dynamodb, stack.outputs["LedgerTable"]))
    for parked, token in items.listed(map):
        items.end(parked.id, token)


def limits_of(stack: LocalStack, said: dict[str, Any]) -> dict[str, str]:
    """Outputs that lead to other organizations and limits than the stack's."""
    client = stack.aws.appconfig
    application = client.create_application(Name=uuid.uuid4().hex)["Id"]
    environment = client.create_environment(ApplicationId=application, Name="live")["Id"]
    profile = client.create_configuration_profile(
        ApplicationId=application, Name="limits", LocationUri="hosted"
    )["Id"]
    strategy = stack.outputs[LIMITS_IDS[3]]
    ids = dict(zip(LIMITS_IDS, (application, environment, profile, strategy), strict=True))
    PublishedDocument(client, *ids.values()).publish(json.dumps(said).encode(), lambda _: [])
    return ids


# doctor


def test_a_stack_in_order(stack: LocalStack, capsys: Output) -> None:
    main(["doctor"])
    said = capsys.readouterr().out
    for expected in (
        f"bucket {stack.outputs['LandingBucketName']}",
        "sends its events to EventBridge",
        "sends events to it",
        "IMS gives a token",
        "event source mapping is enabled",
        "sandbox dev",
        "web-events (5e8b1a2c4d7f9018ac3b55d1) in sandbox prod",
        "not checked: its target depends on the object's key",
        "alarms only show in CloudWatch",
        "of 90 batches made in 24 hours",
        "another application delivers the batches",
    ):
        assert expected in said
    assert json.loads(stack.credential())["project"]["org"]["ims_org_id"] in said
    assert stack.aws.identity.secret_key not in said


def test_programs_read_what_the_doctor_found(capsys: Output) -> None:
    status = main(["doctor", "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert all(set(one) == {"check", "verdict", "text"} for one in found)
    problems = {one["check"] for one in found if one["verdict"] == "problem"}
    assert problems <= {"arrivals DLQ", "parked", "work"}, "what other tests leave in this stack"
    assert status == bool(problems)
    assert said.err == ""


def test_all_that_is_out_of_order_is_told_at_once(stack: LocalStack) -> None:
    """Parameters of a stack that would deploy, and then not work."""
    mute = f"mute-{uuid.uuid4().hex}"
    where: Any = {"LocationConstraint": "eu-west-1"}
    stack.aws.s3.create_bucket(Bucket=mute, CreateBucketConfiguration=where)
    broken = stack.aws.secrets.create_secret(
        Name=uuid.uuid4().hex, SecretString='{"client_id": "x", "client_secret": "hidden"}'
    )["ARN"]
    good = describe_stack(stack.aws.cloudformation, stack.name)
    changed = replace(
        good,
        outputs={**good.outputs, "SourceBuckets": f"{mute},no-such-bucket"},
        parameters={**good.parameters, "CredentialSecrets": f"{stack.secret_arn},{broken}"},
    )
    both = ["prod", "stage"]
    said = {
        "organizations": [
            {"credential": arn, "sandboxes": both} for arn in (stack.secret_arn, broken)
        ]
    }
    changed = replace(changed, outputs={**changed.outputs, **limits_of(stack, said)})
    findings = list(doctor.examine(changed, boto3.Session()))
    problems = {each.check: each.text for each in findings if each.verdict is PROBLEM}
    assert "aep-intake connect" in problems.pop(f"bucket {mute}")
    assert "no such bucket" in problems.pop("bucket no-such-bucket")
    assert "lacks ims_org" in problems.pop(broken.rpartition(":")[2])
    assert "No sandbox stage" in problems.pop("sandbox stage")
    assert problems.keys() <= {"arrivals DLQ", "work"}
    assert doctor.CheckLine("sandbox prod", OK, f"credential {_name(stack)} can use it") in findings
    assert "hidden" not in str(findings)


def _name(stack: LocalStack) -> str:
    return stack.secret_arn.rpartition(":")[2]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (None, "aep-intake routes publish"),
        ({}, "needs `routes`"),
        ({"name": "r", "match": "*", "datasetId": "d", "sandbox": "gone"}, "not allow sandbox"),
    ],
)
def test_no_routes_or_none_that_can_work(
    stack: LocalStack, table: dict[str, str] | None, says: str
) -> None:
    client, good = stack.aws.appconfig, describe_stack(stack.aws.cloudformation, stack.name)
    application = client.create_application(Name=uuid.uuid4().hex)["Id"]
    environment = client.create_environment(ApplicationId=application, Name="live")["Id"]
    profile = client.create_configuration_profile(
        ApplicationId=application, Name="routes", LocationUri="hosted"
    )["Id"]
    ids = dict(
        zip(
            ROUTES_IDS, (application, environment, profile, good.output(ROUTES_IDS[3])), strict=True
        )
    )
    if table is not None:
        document = json.dumps({"routes": [table]} if table else {}).encode()
        PublishedDocument(client, *ids.values()).publish(document, lambda _: [])
    changed = replace(good, outputs={**good.outputs, **ids})
    found = [each for each in doctor.examine(changed, boto3.Session()) if each.verdict is PROBLEM]
    assert [each.check for each in found] == ["routes"]
    assert says in found[0].text


def test_a_platform_that_is_down_is_one_problem_of_each_check(
    stack: LocalStack, capsys: Output
) -> None:
    fault = {"fault": "status", "operation": "token", "status": 500, "count": 0}
    stack.control("POST", "/faults", fault)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "IMS answered 500" in said
    assert "no credential got a token" in said


def test_dead_letters_are_a_problem(stack: LocalStack, capsys: Output) -> None:
    url = stack.outputs["DueDlqUrl"]
    stack.aws.sqs.send_message(QueueUrl=url, MessageBody="{}")
    try:
        assert main(["doctor"]) == 1
        assert "follow its alarm" in capsys.readouterr().out
    finally:
        stack.aws.sqs.purge_queue(QueueUrl=url)


def test_before_an_update_deletes_a_queue_what_is_in_it_is_told(
    stack: LocalStack, queue: str
) -> None:
    """Of a stack of the release before, which has a queue that the update does away with."""
    stack.aws.sqs.send_message(QueueUrl=queue, MessageBody="{}")
    now = describe_stack(stack.aws.cloudformation, stack.name)
    before = replace(now, outputs={**now.outputs, "ArrivalRuleDlqUrl": queue})
    findings = list(doctor.examine(before, boto3.Session()))
    [going] = [each for each in findings if each.check == "ArrivalRuleDlqUrl"]
    assert going.verdict is PROBLEM
    assert "move them first" in going.text


@pytest.fixture
def delivers(stack: LocalStack) -> Iterator[Stack]:
    """The stack with the outputs of one that delivers: queues, a bus and a rule of its own."""
    aws, name = stack.aws, uuid.uuid4().hex
    queues = {
        f"{kind}{end}": aws.sqs.create_queue(QueueName=f"{name}-{kind}-{end}")["QueueUrl"]
        for kind in ("Deliveries", "Uploads")
        for end in ("QueueUrl", "DlqUrl")
    }
    events = boto3.client("events")
    events.create_event_bus(Name=name)
    events.put_rule(Name=name, EventBusName=name, EventPattern='{"source": ["aep.intake"]}')
    asked = aws.sqs.get_queue_attributes(
        QueueUrl=queues["DeliveriesQueueUrl"], AttributeNames=["QueueArn"]
    )
    target = {"Id": "deliveries", "Arn": asked["Attributes"]["QueueArn"]}
    events.put_targets(Rule=name, EventBusName=name, Targets=[target])  # type: ignore[list-item]
    good = describe_stack(aws.cloudformation, stack.name)
    feeds = {
        "BusName": name,
        "OnDeliveryFunction": good.output("OnArrivalFunction"),
        "OnUploadFunction": good.output("OnDueFunction"),
    }
    yield replace(
        good,
        outputs={**good.outputs, **queues, **feeds},
        parameters={**good.parameters, "DeliverBatches": "true"},
    )
    events.remove_targets(Rule=name, EventBusName=name, Ids=["deliveries"])
    events.delete_rule(Name=name, EventBusName=name)
    events.delete_event_bus(Name=name)
    for url in queues.values():
        aws.sqs.delete_queue(QueueUrl=url)


def test_a_stack_that_delivers_is_looked_at_to_the_end(stack: LocalStack, delivers: Stack) -> None:
    def told(check: str, of: Stack = delivers) -> list[tuple[Any, str]]:
        findings = doctor.examine(of, boto3.Session())
        return [(each.verdict, each.text) for each in findings if each.check == check]

    bus, sqs = delivers.output("BusName"), stack.aws.sqs
    nothing = (OK, "0 waiting, 0 in flight or delayed")
    assert told("deliveries queue") == [(OK, f"the rule {bus} sends events to it"), nothing]
    assert told("uploads queue") == [nothing]
    assert told("deliveries DLQ") == told("uploads DLQ") == [(OK, "empty")]
    assert told("deliveries") == []
    for kind in ("Deliveries", "Uploads"):
        sqs.send_message(QueueUrl=delivers.output(f"{kind}QueueUrl"), MessageBody="{}")
        sqs.send_message(QueueUrl=delivers.output(f"{kind}DlqUrl"), MessageBody="{}")
        asked = kind.lower()
        assert (OK, "1 waiting, 0 in flight or delayed") in told(f"{asked} queue")
        advice = f"1 message: list them: aep-intake parked --queue {asked}"
        assert told(f"{asked} DLQ") == [(PROBLEM, advice)]
    boto3.client("events").disable_rule(Name=bus, EventBusName=bus)
    enable = f"aws events enable-rule --event-bus-name {bus} --name {bus}"
    off = f"the rule {bus} is off, so events are lost: {enable}"
    assert (PROBLEM, off) in told("deliveries queue")
    elsewhere = replace(delivers, outputs={**delivers.outputs, "BusName": "default"})
    assert (PROBLEM, "no EventBridge rule of bus default sends to it: deploy the stack again") in (
        told("deliveries queue", elsewhere)
    )
    unfed = replace(
        delivers,
        outputs={**delivers.outputs, "OnUploadFunction": delivers.output("OnRequestFunction")},
    )
    name = f"function {unfed.output('OnUploadFunction')}"
    assert told(name, unfed) == [
        (PROBLEM, "it gets no messages (no event source mapping): deploy the stack again")
    ]


def test_an_alarm_that_is_off_is_told_with_what_to_do(stack: LocalStack, capsys: Output) -> None:
    watch = boto3.client("cloudwatch")
    name = next(
        alarm["AlarmName"]
        for alarm in watch.describe_alarms()["MetricAlarms"]
        if "RetryingArrivalAge" in alarm["MetricName"]
    )
    assert main(["doctor"]) == 0
    assert name not in capsys.readouterr().out
    watch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    try:
        assert main(["doctor"]) == 1
        said = " ".join(capsys.readouterr().out.split())
        assert name in said
        assert "tried again for more than an hour" in said
    finally:
        watch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")


def test_a_pace_that_requests_can_exceed_is_noted(stack: LocalStack) -> None:
    good = describe_stack(stack.aws.cloudformation, stack.name)
    said = limits_of(stack, {"limits": {"batchesPerMinute": 138}})
    changed = replace(good, outputs={**good.outputs, **said})
    findings = list(doctor.examine(changed, boto3.Session()))
    assert [each.verdict for each in findings if each.check == "batches a minute"] == [NOTE]


def test_batches_for_profile_count_against_the_day(stack: LocalStack) -> None:
    good = describe_stack(stack.aws.cloudformation, stack.name)

    def made() -> int:
        found = doctor.examine(good, boto3.Session())
        texts = [each.text for each in found if each.check == "batches for Profile"]
        return sum(int(text.split()[0]) for text in texts if " in dev of " in text)

    before = made()
    for dataset in ("profiles", "products"):
        stack.put(f"incoming/dev/{dataset}/{uuid.uuid4().hex}.jsonl", b"{}")
    until(lambda: made() != before)
    assert made() == before + 1


# publish-limits


def test_the_command_makes_organizations_and_limits_live_or_says_why_not(
    stack: LocalStack, tmp_path: Path, capsys: Output
) -> None:
    file = tmp_path / "limits.json"
    stranger = f"{stack.secret_arn.rpartition(':')[0]}:elsewhere-AbCdEf"
    file.write_text(json.dumps({"organizations": [{"credential": stranger}], "limits": {"x": 1}}))
    assert main(["limits", "publish", str(file)]) == 1
    assert "is not known here" in capsys.readouterr().err
    file.write_text(json.dumps({"organizations": [{"credential": stranger}]}))
    assert main(["limits", "publish", str(file)]) == 1
    assert "is not among the stack's parameter CredentialSecrets" in capsys.readouterr().err
    published = PublishedDocument(
        stack.aws.appconfig, *(stack.outputs[name] for name in LIMITS_IDS)
    )
    live = published.read(published.live_versions()[-1])
    file.write_bytes(live)
    assert main(["limits", "publish", str(file)]) == 0
    assert "Unchanged: version" in capsys.readouterr().out
    assert main(["limits", "from-parameters"]) == 1
    assert "none of the parameters of the previous release" in capsys.readouterr().err


def test_who_may_publish_routes_may_not_publish_limits(stack: LocalStack) -> None:
    outputs, region = stack.outputs, "eu-west-1"
    application = f"arn:aws:appconfig:{region}:{ACCOUNT}:application/{outputs[ROUTES_IDS[0]]}"
    strategy = f"arn:aws:appconfig:{region}:{ACCOUNT}:deploymentstrategy/{outputs[ROUTES_IDS[3]]}"
    publisher = stack.identity(
        f"publisher-{uuid.uuid4().hex[:8]}",
        [
            {
                "Effect": "Allow",
                "Action": "appconfig:*",
                "Resource": [application, f"{application}/*", strategy],
            }
        ],
    )
    routes_of, limits = (
        PublishedDocument(publisher.appconfig, *(outputs[name] for name in ids))
        for ids in (ROUTES_IDS, LIMITS_IDS)
    )
    live = routes_of.live_versions()
    assert routes_of.read(live[-1])
    with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
        limits.client.create_hosted_configuration_version(
            ApplicationId=limits.application,
            ConfigurationProfileId=limits.profile,
            Content=b"{}",
            ContentType="application/json",
        )


# routes, with what a stack knows


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table whose datasets Catalog knows, or does not."""
    written: list[dict[str, Any]] = [
        {"name": "fed", "match": "fed/*.csv", "datasetName": "profiles"},
        {"name": "gathered", "datasetId": PROFILES, "batch": {"window": "1h"}},
        {"name": "not-fed", "match": "not-fed/*.csv", "datasetName": "products"},
        {"name": "system", "match": "system/*.csv", "datasetName": "system"},
        {"name": "gone", "match": "gone/*.csv", "datasetName": "nobody's"},
        {"name": "by-key", "match": "{sandbox}/{x}/*.csv", "datasetName": "{x}"},
    ]
    file = tmp_path / "routes.json"
    file.write_text(json.dumps({"routes": [{"match": "gathered/*.csv"} | one for one in written]}))
    return file


def test_catalog_tells_which_routes_count(stack: LocalStack, table: Path, capsys: Output) -> None:
    assert main(["routes", "forecast", str(table)]) == 0, "warnings are no problems"
    said = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in said.splitlines()
        if line.startswith("│")
    ]
    assert rows == [
        ["prod", "all routes", "24 or more", "may exceed 90"],
        ["fed", "each object", "no limit", '"batch": {"window": "66m"}'],
        ["gathered", "each 1h", "24", '"window": "66m"'],
        ["not-fed", "each object", "no limit", "not for Profile"],
        ["system", "each object", "no limit", "not for Profile"],
        ["gone", "each object", "no limit", '"batch": {"window": "66m"}'],
        ["by-key", "each object", "no limit", '"batch": {"window": "66m"}'],
        ["", "", "", "if there is only one {x}"],
        ["dev", "all routes", "no limit", "may exceed 90"],
        ["by-key", "each object", "no limit", '"batch": {"window": "16m"}'],
        ["", "", "", "if there is only one {x}"],
    ]
    warned = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    assert f"profiles ({PROFILES}) in sandbox prod is enabled for Profile" in warned["fed"]
    assert 'add to the route "batch": {"window": "16m"}' in warned["fed"]
    assert "Adobe's own" in warned["system"]
    assert "no datasets called" in warned["gone"]
    assert "depends on the object's key" in warned["by-key"]
    assert not {"gathered", "not-fed"} & warned.keys()
    assert stack.aws.identity.secret_key not in said


def test_a_stack_also_says_what_it_allows(stack: LocalStack, table: Path, capsys: Output) -> None:
    route = {"name": "r", "match": "*", "datasetId": "d", "sandbox": "stage"}
    table.write_text(json.dumps({"routes": [route]}))
    assert main(["routes", "check", str(table)]) == 1
    assert "does not allow sandbox 'stage'" in capsys.readouterr().out


def test_a_stack_that_cannot_be_asked_is_told(
    stack: LocalStack, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert main(["routes", "check", str(table), "--stack", "nowhere"]) == 1
    assert "there is no stack nowhere" in capsys.readouterr().err
    nobody = stack.identity(uuid.uuid4().hex, [{"Effect": "Deny", "Action": "*", "Resource": "*"}])
    for name, value in nobody.identity.variables().items():
        monkeypatch.setenv(name, value)
    assert main(["routes", "forecast", str(table)]) == 1
    assert "do not allow DescribeStacks" in capsys.readouterr().err


def test_a_platform_that_is_down_spoils_no_forecast(
    stack: LocalStack, table: Path, capsys: Output
) -> None:
    fault = {"fault": "status", "operation": "token", "status": 500, "count": 0}
    stack.control("POST", "/faults", fault)
    assert main(["routes", "forecast", str(table)]) == 0
    said = capsys.readouterr().out
    assert "IMS answered 500" in said
    assert "no limit" in said


@pytest.mark.parametrize("command", ["doctor", "redrive"])
def test_a_stack_that_is_none(command: str, capsys: Output) -> None:
    assert main([command, "--stack", "nowhere"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: there is no stack nowhere in eu-west-1 in the account of your")
    assert "--stack and --region" in said


@pytest.mark.parametrize("typed", ["publish local/samples/routes.json", "rollback"])
def test_publishing_without_being_allowed_to(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: Output, typed: str
) -> None:
    nobody = stack.identity(uuid.uuid4().hex, [{"Effect": "Deny", "Action": "*", "Resource": "*"}])
    for name, value in nobody.identity.variables().items():
        monkeypatch.setenv(name, value)
    assert main(["routes", *typed.split()]) == 1
    assert "do not allow DescribeStacks" in capsys.readouterr().err


def test_what_an_operator_may_not_do_is_named(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    nobody = stack.identity(uuid.uuid4().hex, [{"Effect": "Deny", "Action": "*", "Resource": "*"}])
    for name, value in nobody.identity.variables().items():
        monkeypatch.setenv(name, value)
    assert main(["doctor"]) == 1
    assert "do not allow DescribeStacks" in capsys.readouterr().err
    described = describe_stack(stack.aws.cloudformation, stack.name)
    monkeypatch.setattr(Access, "stack", lambda _: described)
    bucket = stack.outputs["LandingBucketName"]
    assert main(["connect", bucket, "--owner", "111122223333"]) == 1
    assert "do not allow s3:GetBucketNotification" in capsys.readouterr().err


# connect


def test_a_bucket_is_connected_and_keeps_its_queue(
    stack: LocalStack, queue: str, capsys: Output
) -> None:
    s3, bucket = stack.aws.s3, f"older-{uuid.uuid4().hex}"
    where: Any = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    arn = stack.aws.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    theirs: Any = {
        "Id": "theirs",
        "QueueArn": arn["Attributes"]["QueueArn"],
        "Events": ["s3:ObjectRemoved:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a/"}]}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [theirs]},
        SkipDestinationValidation=True,
    )
    assert main(["connect", bucket]) == 0
    said = capsys.readouterr().out
    assert "EventBridge is on." in said
    assert "connected since" in said
    after = s3.get_bucket_notification_configuration(Bucket=bucket)
    assert "EventBridgeConfiguration" in after
    assert [each["Id"] for each in after["QueueConfigurations"]] == ["theirs"]
    assert main(["connect", f"s3://{bucket}", "--since", "2026-01-02T03:04:05Z"]) == 0
    said = capsys.readouterr().out
    assert "nothing was changed" in said
    assert "connected since 2026-01-02T03:04:05.000Z" in said
    assert main(["connect", stack.outputs["LandingBucketName"]]) == 0
    assert "connected since it was made" in capsys.readouterr().out


def test_a_bucket_that_is_not_there_cannot_be_connected(capsys: Output) -> None:
    assert main(["connect", "no-such-bucket"]) == 1
    assert "NoSuchBucket" in capsys.readouterr().err


# backfill


def test_what_was_there_before_comes_by_a_backfill(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """With the rights of `policies/operator.json`, and each object once however often it is run."""
    s3, bucket = stack.aws.s3, stack.outputs["LandingBucketName"]
    folder = f"landing/loyalty/{uuid.uuid4().hex}"
    keys = [f"{folder}/{n}.jsonl" for n in range(3)]
    _put_without_events(stack, keys)
    for name, value in stack.operator().identity.variables().items():
        monkeypatch.setenv(name, value)
    place = f"s3://{bucket}/{folder}/"
    since = datetime.now(UTC).isoformat()
    assert main(["connect", bucket, "--since", since]) == 0
    capsys.readouterr()
    assert main(["backfill", place, "--plan", "--json"]) == 0
    [route] = json.loads(capsys.readouterr().out)["routes"]
    assert (route["files"], route["batches"], route["loadedAlready"]) == (3, 3, 0)
    for _ in range(2):
        assert main(["backfill", place, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["ended"], told["listed"], told["sent"]) == (True, 3, 3)
    ledger = DynamoLedger(stack.aws.dynamodb, stack.outputs["LedgerTable"], clock.now, 0)
    arrivals = [next(iter(Objects(lambda: s3).folder(bucket, key))) for key in keys]
    for arrival in arrivals:
        assert isinstance(arrival, Arrival)
        [record] = until(partial(_announced, ledger, arrival), arrival.key)
        assert (record.order.files[0].brought_by or "").startswith("backfill-")
    assert main(["backfill", place, "--plan", "--json"]) == 0
    [route] = json.loads(capsys.readouterr().out)["routes"]
    assert (route["files"], route["taken"]) == (0, {"loading": 3})
    assert main(["backfill", "--continue", told["backfillId"]]) == 1
    assert "has ended" in capsys.readouterr().err


def _put_without_events(stack: LocalStack, keys: list[str]) -> None:
    s3, bucket = stack.aws.s3, stack.outputs["LandingBucketName"]
    events: Any = s3.get_bucket_notification_configuration(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    for key in keys:
        stack.put(key, b"{}\n")
    there: Any = {"EventBridgeConfiguration": events["EventBridgeConfiguration"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=there)


def test_an_object_of_which_no_event_came_is_found_and_sent_again(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """With the rights of `policies/operator.json`, two hours later; and the stack does it, too.

    By an inventory, which says of another object that it is two hours old.
    """
    s3, bucket = stack.aws.s3, stack.outputs["LandingBucketName"]
    key = f"landing/loyalty/{uuid.uuid4().hex}/lost.jsonl"
    in_inventory = f"landing/loyalty/{uuid.uuid4().hex}/lost.jsonl"
    _put_without_events(stack, [key, in_inventory])
    for name, value in stack.operator().identity.variables().items():
        monkeypatch.setenv(name, value)
    assert main(["connect", bucket, "--since", "2026-01-01"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(comparing, "now", lambda: clock.now() + 7_200_000)
    [arrival] = Objects(lambda: s3).folder(bucket, key)
    assert isinstance(arrival, Arrival)
    described = describe_stack(stack.aws.cloudformation, stack.name)
    route = routes.parse(live_routes(described, stack.aws.appconfig), "live").match(arrival)
    assert isinstance(route, Match)
    chosen = ["reconcile", "--route", route.route, "--json"]
    assert main(chosen) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"found": "never-came", "about": arrival.uri} in found["findings"]
    ledger = DynamoLedger(stack.aws.dynamodb, stack.outputs["LedgerTable"], clock.now, 0)
    [record] = until(partial(_announced, ledger, arrival), key)
    assert (record.order.files[0].brought_by or "").startswith("reconcile-")
    main(chosen)
    found = json.loads(capsys.readouterr().out)
    assert arrival.uri not in {each["about"] for each in found["findings"]}
    [other] = Objects(lambda: s3).folder(bucket, in_inventory)
    assert isinstance(other, Arrival)
    _write_inventory(stack, other, clock.now())
    function = stack.aws.cloudformation.describe_stack_resource(
        StackName=stack.name, LogicalResourceId="OnReconcile"
    )["StackResourceDetail"]["PhysicalResourceId"]
    done = stack.aws.functions.invoke(FunctionName=function, Payload=b"{}")
    assert "FunctionError" not in done, done["Payload"].read()
    table = Table(stack.aws.dynamodb, stack.outputs["LedgerTable"])
    kept = DynamoComparisons(table, ledger, clock.now).last()
    assert kept is not None
    assert kept.ended is not None
    [record] = until(partial(_announced, ledger, other), in_inventory)
    assert (record.order.files[0].brought_by or "").startswith("reconcile-")


def _write_inventory(stack: LocalStack, file: Arrival, now: int) -> None:
    """As S3 does, of one object that is two hours old."""
    place, folder = stack.outputs["StateBucketName"], f"inventory/{file.bucket}/all"
    about = {
        "Key": quote_plus(file.key),
        "VersionId": file.version_id or "",
        "IsLatest": "true",
        "Size": str(file.size),
        "LastModifiedDate": iso(now - 7_200_000),
        "ETag": file.etag,
    }
    rows = ",".join(f'"{value}"' for value in about.values())
    manifest = {
        "sourceBucket": file.bucket,
        "creationTimestamp": str(now),
        "fileFormat": "CSV",
        "fileSchema": ", ".join(about),
        "files": [{"key": f"{folder}/data/1.csv.gz"}],
    }
    stack.aws.s3.put_bucket_inventory_configuration(
        Bucket=file.bucket,
        Id="all",
        InventoryConfiguration={
            "Id": "all",
            "IsEnabled": True,
            "IncludedObjectVersions": "All",
            "Schedule": {"Frequency": "Daily"},
            "Destination": {
                "S3BucketDestination": {"Bucket": f"arn:aws:s3:::{place}", "Format": "CSV"}
            },
        },
    )
    day = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H-%MZ")
    put = partial(stack.aws.s3.put_object, Bucket=place)
    put(Key=f"{folder}/data/1.csv.gz", Body=gzip.compress(rows.encode()))
    put(Key=f"{folder}/{day}/manifest.json", Body=json.dumps(manifest).encode())


def _announced(ledger: DynamoLedger, arrival: Arrival) -> list[Record]:
    """The order of an arrival, once it has its batch."""
    owner = ledger.claimant(arrival)
    record = None if owner is None else ledger.get(owner)
    return [record] if record is not None and record.batch_id is not None else []


# redrive


type Operated = tuple[LocalStack, Callable[..., str]]


@pytest.fixture
def operated(
    stack: LocalStack, delivers: Stack, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> Operated:
    """The stack, and `redrive` as it is typed for one that delivers: what that shows."""
    monkeypatch.setattr(Access, "stack", lambda _: delivers)

    def run(*arguments: str) -> str:
        assert main(["redrive", *arguments]) == 0
        return capsys.readouterr().out

    return stack, run


@pytest.fixture
def queue(stack: LocalStack) -> Iterator[str]:
    url = stack.aws.sqs.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"]
    yield url
    stack.aws.sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def goal(stack: LocalStack) -> Iterator[str]:
    url = stack.aws.sqs.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"]
    yield url
    stack.aws.sqs.delete_queue(QueueUrl=url)


SAMPLE = (ROOT / "events" / "eventbridge-object-created.json").read_text("utf-8")


def event(key: str) -> str:
    body = json.loads(SAMPLE)
    body["detail"]["object"]["key"] = key
    return json.dumps(body)


def park(sqs: "SQSClient", queue: str, why: Rejected | None, number: int) -> list[str]:
    """Messages as on_arrival parks them; as SQS moves them where `why` is None."""
    bodies = [event(uuid.uuid4().hex) for _ in range(number)]
    for body in bodies:
        if why is None:
            sqs.send_message(QueueUrl=queue, MessageBody=body)
        else:
            parked_by_a_release_before(sqs, queue, body, Rejection.of(why, 0), why.external_id)
    return bodies


def parked_by_a_release_before(
    sqs: "SQSClient", queue: str, body: str, why: Rejection, external_id: str | None
) -> None:
    """It wrote no items."""
    parked = Parked("", "arrivals", external_id or "", body, why)
    Queues(sqs).park(queue, parked, has_item=False)


def messages_alone(sqs: "SQSClient", queue: str, goal: str) -> AllParked:
    """Of one queue, and no items."""
    items: Any = MemoryParked()
    return AllParked(sqs, items, {"arrivals": (queue, goal)}, lambda _: ())


def outcome(
    sqs: "SQSClient", queue: str, goal: str, choice: Choice | None = None
) -> list[tuple[str, bool]]:
    run = messages_alone(sqs, queue, goal).redrive(choice or Choice(), AS_USUAL)
    return sorted((one.why.reason, moved) for one, moved in run)


def taken(stack: LocalStack, queue: str) -> list["MessageTypeDef"]:
    """All that can be received from a queue."""
    found: list[MessageTypeDef] = []
    while some := stack.aws.sqs.receive_message(
        QueueUrl=queue,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    ).get("Messages"):
        found += some
    return found


def bodies(stack: LocalStack, queue: str) -> list[str]:
    return sorted(message["Body"] for message in taken(stack, queue))


def test_all_go_back_unchanged_and_without_their_reasons(
    stack: LocalStack, queue: str, goal: str
) -> None:
    sqs = stack.aws.sqs
    sent = park(sqs, queue, NoRoute("no route"), 13) + park(sqs, queue, None, 12)
    told = outcome(sqs, queue, goal)
    assert told == [("no-route", True)] * 13 + [("tries-used-up", True)] * 12
    assert bodies(stack, queue) == []
    back = taken(stack, goal)
    assert sorted(message["Body"] for message in back) == sorted(sent)
    assert {name for message in back for name in message["MessageAttributes"]} == {"redriven"}


def test_only_what_is_chosen_goes_and_the_rest_is_there_at_once(
    stack: LocalStack, queue: str, goal: str
) -> None:
    sqs = stack.aws.sqs
    mended = park(sqs, queue, NoRoute("no route"), 11)
    others = park(sqs, queue, DatasetNotFound("none"), 12) + park(sqs, queue, None, 3)
    told = outcome(sqs, queue, goal, Choice(reasons=frozenset({"no-route"})))
    assert told == [("no-route", True)] * 11
    assert bodies(stack, goal) == sorted(mended)
    left = taken(stack, queue)
    assert sorted(message["Body"] for message in left) == sorted(others)
    letters = [dead_letters.Letter.of(message, "arrivals").parked for message in left]
    assert {one.why.reason for one in letters} == {"dataset-not-found", "tries-used-up"}


def test_one_goes_back_by_its_external_id(stack: LocalStack, queue: str, goal: str) -> None:
    sqs = stack.aws.sqs
    tired = park(sqs, queue, None, 4)
    wanted = park(sqs, queue, NoRoute("no route", external_id="intake-00.2"), 1)
    chosen = Choice(external_ids=frozenset({"intake-00.2"}))
    assert outcome(sqs, queue, goal, chosen) == [("no-route", True)]
    assert bodies(stack, goal) == wanted
    (arrival,) = envelopes.parse(tired[0]).arrivals
    by_file = Choice(external_ids=frozenset({arrival.external_id}))
    assert outcome(sqs, queue, goal, by_file) == [("tries-used-up", True)]
    assert bodies(stack, goal) == [tired[0]], "its file tells the id where no attribute does"


def test_a_dry_run_changes_nothing(stack: LocalStack, queue: str, goal: str) -> None:
    sqs = stack.aws.sqs
    sent = park(sqs, queue, NoRoute("no route"), 15)
    found = messages_alone(sqs, queue, goal).chosen(Choice())
    assert [one.why.reason for one in found] == ["no-route"] * 15
    assert bodies(stack, queue) == sorted(sent)
    assert bodies(stack, goal) == []


def test_what_is_parked_again_meanwhile_waits_for_the_next_run(
    stack: LocalStack, queue: str
) -> None:
    """The goal is the source: each message sent comes back at once, as where nothing is mended."""
    sqs = stack.aws.sqs
    sent = park(sqs, queue, None, 12)
    with closing(messages_alone(sqs, queue, queue).redrive(Choice(), AS_USUAL)) as run:
        assert len(list(islice(run, 99))) == 12
    assert bodies(stack, queue) == sorted(sent)


def test_an_interrupted_run_loses_and_hides_nothing(
    stack: LocalStack, queue: str, goal: str
) -> None:
    sqs = stack.aws.sqs
    sent = park(sqs, queue, DatasetNotFound("none"), 5) + park(sqs, queue, NoRoute("none"), 20)
    chosen = Choice(reasons=frozenset({"no-route"}))
    with closing(messages_alone(sqs, queue, goal).redrive(chosen, AS_USUAL)) as run:
        next(run)
    assert sorted(bodies(stack, queue) + bodies(stack, goal)) == sorted(sent)


def test_nothing_is_deleted_that_was_not_sent(stack: LocalStack, queue: str) -> None:
    sqs = stack.aws.sqs
    sent = park(sqs, queue, None, 3)
    with pytest.raises(ClientError, match="NonExistentQueue"):
        outcome(sqs, queue, f"{queue}-nowhere")
    assert bodies(stack, queue) == sorted(sent)


def test_bodies_too_large_for_one_batch_go_all_the_same(
    stack: LocalStack, queue: str, goal: str
) -> None:
    sqs = stack.aws.sqs
    sent = [str(number) * 250_000 for number in range(5)]
    for body in sent:
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    assert len(outcome(sqs, queue, goal)) == 5
    assert bodies(stack, goal) == sent


def test_a_long_run_ends_and_tells_of_each_message_once(
    stack: LocalStack, queue: str, goal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is hidden comes back before the run is over."""
    monkeypatch.setattr(dead_letters, "VISIBILITY_SECONDS", 0)
    park(stack.aws.sqs, queue, None, 15)
    with closing(messages_alone(stack.aws.sqs, queue, goal).chosen(Choice())) as run:
        ids = [one.external_id for one in islice(run, 99)]
    assert len(ids) == len(set(ids)) >= 10


def test_what_sqs_does_not_take_stays_and_is_told(
    stack: LocalStack, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQS names the entries of a batch that it did not take in an answer that is 200."""
    source = stack.outputs["ArrivalsDlqUrl"]
    stack.aws.sqs.purge_queue(QueueUrl=source)
    stack.aws.sqs.send_message(QueueUrl=source, MessageBody="for later")
    made = boto3.Session.client

    def client(*given: Any, **more: Any) -> Any:
        real: Any = made(*given, **more)
        if "sqs" in given:
            real.send_message_batch = lambda **_: {"Failed": [{"Id": "0", "Code": "InternalError"}]}
        return real

    with monkeypatch.context() as patched:
        patched.setattr(boto3.Session, "client", client)
        assert main(["redrive", "--reason", dead_letters.TRIES_USED_UP]) == 1
    assert "did not accept 1 message" in capsys.readouterr().err
    assert bodies(stack, source) == ["for later"]
    stack.aws.sqs.purge_queue(QueueUrl=source)
    assert main(["redrive", "--reason", dead_letters.TRIES_USED_UP]) == 0
    assert "Nothing" not in capsys.readouterr().out, "its item sends it, without the queue"


def test_a_message_nobody_understands_is_moved_all_the_same(
    stack: LocalStack, queue: str, goal: str
) -> None:
    stack.aws.sqs.send_message(QueueUrl=queue, MessageBody="neither event nor JSON")
    assert outcome(stack.aws.sqs, queue, goal) == [("tries-used-up", True)]
    assert bodies(stack, goal) == ["neither event nor JSON"]


def test_an_order_of_many_files_is_listed_by_its_id_and_goes_back_unchanged(
    stack: LocalStack, queue: str, goal: str
) -> None:
    """Its files have no message any more: they joined a window, or were in a marker's folder."""
    sqs = stack.aws.sqs
    body = json.dumps({"externalId": "intake-0f"})
    why = Rejection("dataset-not-found", "none so called", 0)
    parked_by_a_release_before(sqs, queue, body, why, "intake-0f")
    sqs.send_message(QueueUrl=queue, MessageBody=body)  # as SQS moves one that used up its tries
    overdue = OverdueFiles("folder-0f", "", "1790000000000~")
    body_of_missing = json.dumps({"missing": asdict(overdue)})
    sqs.send_message(QueueUrl=queue, MessageBody=body_of_missing)
    others = [*park(sqs, queue, NoRoute("no route"), 1), body_of_missing]
    found = messages_alone(sqs, queue, goal).chosen(Choice())
    told = {(one.why.reason, one.external_id, one.why.detail) for one in found}
    assert ("tries-used-up", overdue.external_id, "") in told
    of_order = {
        ("dataset-not-found", "intake-0f", "none so called"),
        ("tries-used-up", "intake-0f", ""),
    }
    assert len(of_order & told) == 1
    chosen = Choice(external_ids=frozenset({"intake-0f"}))
    told_moved = outcome(sqs, queue, goal, chosen)
    assert [moved for _, moved in told_moved] == [True], "one order, one item"
    assert bodies(stack, goal) == [body]
    assert bodies(stack, queue) == sorted(others)


def test_the_command_sends_a_rejected_file_through_the_intake_again(
    stack: LocalStack, capsys: Output
) -> None:
    key = f"nowhere/{uuid.uuid4().hex}.json"
    stack.put(key, b"{}")
    first = _parked(stack, key)
    chosen = ["--external-id", first["externalId"]]
    assert main(["redrive", *chosen, "--reason", "no-route", "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert key in listed
    assert "refused, no-route: " in listed
    assert main(["parked", first["externalId"]]) == 0
    shown = capsys.readouterr().out
    assert all(said in shown for said in (key, "no-route", first["externalId"]))
    assert _parked(stack, key) == first
    assert main(["redrive", *chosen, "--reason", "empty-object"]) == 0
    assert "Nothing that is parked was chosen." in capsys.readouterr().out
    assert _parked(stack, key) == first, "another reason"
    assert main(["redrive", *chosen, "--reason", "no-route"]) == 0
    assert _parked(stack, key, after=first["parkedAt"])["externalId"] == first["externalId"]


def _parked(stack: LocalStack, key: str, after: str = "") -> dict[str, str]:
    """Attributes of the parked message of that key."""

    def there() -> list[dict[str, str]]:
        return [
            message.attributes
            for message in stack.parked()
            if key in message.body and message.attributes["parkedAt"] > after
        ]

    return until(there, f"{key} was not parked")[0]


def test_what_is_paused_has_no_batch_until_somebody_resumes_it(
    stack: LocalStack, capsys: Output
) -> None:
    key = f"landing/judged/{uuid.uuid4().hex}.jsonl"
    uri = f"s3://{stack.outputs['LandingBucketName']}/{key}"

    def told(*typed: str) -> Any:
        assert main([*typed, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    def told_of_file() -> Any:
        found = main(["file", uri, "--json"]) == 0
        said = capsys.readouterr().out
        return json.loads(said)["versions"][0] if found else {}

    told("pause", "judged", "--note", "for a test")
    try:
        time.sleep(FRESH_MS / 1000 + 1)  # workers that were there before may not know of it
        stack.put(key, b"{}\n")
        version = until(lambda: (found := told_of_file()).get("state") == "paused" and found)
        assert "for a test" in version["why"]
        [waits] = told("pause")
        assert (waits["name"], waits["files"], waits["batches"]) == ("judged", 1, 1)
        made = json.dumps(stack.control("GET", "/batches"))
        assert version["externalId"] not in made
    finally:
        told("resume", "judged")
    [created, *_] = stack.listener.wait(lambda e: key in json.dumps(e), timeout=PATIENCE)
    assert created["detail-type"] == "Batch Created"
    assert told_of_file()["batchId"] == created["detail"]["batchId"]


def test_what_eventbridge_could_not_deliver_goes_the_same_way(
    stack: LocalStack, capsys: Output
) -> None:
    key = f"landing/loyalty/{uuid.uuid4().hex}.jsonl"
    why: Any = {"ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"}}
    source = stack.outputs["ArrivalsDlqUrl"]
    stack.aws.sqs.send_message(QueueUrl=source, MessageBody=event(key), MessageAttributes=why)
    assert main(["redrive", "--reason", "NO_PERMISSIONS", "--dry-run"]) == 0
    assert key in capsys.readouterr().out
    assert main(["redrive", "--reason", "NO_PERMISSIONS", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert any(key in one["uri"] for one in told)
    assert main(["redrive", "--reason", "empty-object", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "Nothing that is parked was chosen." in said.err
    assert main(["redrive", "--reason", "NO_PERMISSIONS"]) == 0
    stack.listener.wait(lambda event: key in json.dumps(event), timeout=PATIENCE)


def _of_deliveries() -> list[str]:
    detail = json.loads((ROOT / "events" / "batch-created.json").read_text("utf-8"))
    event = {"detail-type": "Batch Created", "source": "aep.intake", "detail": detail}
    return [json.dumps(event), json.dumps({"externalId": "delivery-intake-0a"})]


def _of_uploads() -> list[str]:
    """As `wiring` writes them."""
    file = Arrival("landing", "in/a.jsonl", "v1", "e", None, 10, 1_763_900_000_000)
    tasks = [Task(f"intake-{n}a", Piece(n, file, 5 * n, 5 * n + 5)) for n in range(2)]
    return [json.dumps(asdict(task), ensure_ascii=False) for task in tasks]


@pytest.mark.parametrize(
    ("queue", "sent", "shown"),
    [
        (
            "deliveries",
            _of_deliveries(),
            ["intake-fbe5aabf37d8235ef", "intake-0a "],
        ),
        (
            "uploads",
            _of_uploads(),
            ["s3://landing/in/a.jsonl"] * 2,
        ),
    ],
)
def test_what_nobody_filled_is_listed_and_goes_back_to_its_own_queue(
    delivers: Stack, operated: Operated, queue: str, sent: list[str], shown: list[str]
) -> None:
    stack, run = operated
    source = delivers.output(f"{queue.title()}DlqUrl")
    goal = delivers.output(f"{queue.title()}QueueUrl")
    for body in sent:
        stack.aws.sqs.send_message(QueueUrl=source, MessageBody=body)
    listed = run("--queue", queue, "--dry-run")
    assert [line for line in shown if line not in listed] == []
    run("--queue", queue, "--external-id", "intake-nobody")
    assert bodies(stack, goal) == []
    run("--queue", queue, "--external-id", "intake-0a")
    assert bodies(stack, goal) == [body for body in sent if "intake-0a" in body]
    stack.aws.sqs.purge_queue(QueueUrl=goal)
    run("--queue", queue)
    assert bodies(stack, goal) == [body for body in sent if "intake-0a" not in body]
    assert bodies(stack, source) == []


def test_a_stack_that_does_not_deliver_has_nothing_to_go_back(capsys: Output) -> None:
    assert main(["redrive", "--queue", "uploads"]) == 1
    assert "another application delivers its batches" in capsys.readouterr().err


def test_notes_are_no_problems(stack: LocalStack) -> None:
    """A stack can work without an alarm topic and with routes whose dataset the key names."""
    good = describe_stack(stack.aws.cloudformation, stack.name)
    verdicts = {each.check: each.verdict for each in doctor.examine(good, boto3.Session())}
    assert verdicts["alarm topic"] is NOTE
    assert verdicts["route by-folder"] is NOTE
    assert PROBLEM not in verdicts.values()


def _is_redriven_discarded_and_parked_again(stack: LocalStack, key: str, capsys: Output) -> None:
    parked = _parked(stack, key)
    external_id = parked["externalId"]
    chosen = ["redrive", "--external-id", external_id]
    assert main([*chosen, "--dry-run"]) == 0
    assert main(chosen) == 0
    assert _parked(stack, key, after=parked["parkedAt"])
    capsys.readouterr()
    discarded = ["discard", "--external-id", external_id]
    assert main([*discarded, "--note", "a test"]) == 0
    assert "1 message discarded." in capsys.readouterr().out
    assert [each for each in stack.parked() if key in each.body] == []
    assert main(["file", f"s3://{stack.outputs['LandingBucketName']}/{key}"]) == 0
    shown = capsys.readouterr().out
    assert "discarded" in shown
    assert "a test" in shown
    assert main([*discarded, "--undo"]) == 0
    assert main(["parked", external_id]) == 0
    assert "1 message parked." in capsys.readouterr().out


def _told_and_listed(stack: LocalStack, key: str, capsys: Output) -> None:
    """A rejected file, by `aep-intake file` and `files`, in the journal that this stack lacks."""
    uri = f"s3://{stack.outputs['LandingBucketName']}/{key}"
    capsys.readouterr()
    assert main(["file", uri, "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)["versions"]
    assert told["state"] == "rejected"
    names = [name for name in ("versionId", "etag", "sequencer") if name in told]
    file = {"bucket": stack.outputs["LandingBucketName"], "key": key, "etag": "e"}
    file |= {n: told[n] for n in names}
    detail = {"externalId": told["externalId"], "rejectedAt": told["since"], "files": [file]}
    event = {"detail-type": "Arrival Rejected", "id": "1", "time": told["since"], "detail": detail}
    name, content = journal.written([journal.line(json.dumps(event))])
    place = journal.folder(told["since"][:13]) + name
    stack.aws.s3.put_object(Bucket=stack.outputs["StateBucketName"], Key=place, Body=content)
    assert main(["files", "--state", "rejected", "--json"]) == 0
    assert [one["uri"] for one in json.loads(capsys.readouterr().out)] == [uri]


def test_an_operator_can_do_all_of_it_with_the_policy_of_the_repository(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    """`policies/operator.json`, and no right more; `restored` is tried by the drill."""
    where: Any = {"LocationConstraint": "eu-west-1"}
    bucket = f"of-an-operator-{uuid.uuid4().hex}"
    stack.aws.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    for name, value in stack.operator(bucket).identity.variables().items():
        monkeypatch.setenv(name, value)
    assert main(["doctor"]) == 0, capsys.readouterr().out
    key = f"nowhere/{uuid.uuid4().hex}.json"
    stack.put(key, b"{}")
    assert _parked(stack, key)
    bucket_of = f"s3://{stack.outputs['LandingBucketName']}"
    _told_and_listed(stack, key, capsys)
    good = f"landing/loyalty/{uuid.uuid4().hex}.jsonl"
    stack.put(good, b"{}\n")

    def batch() -> Any:
        main(["file", f"{bucket_of}/{good}", "--json"])
        said = capsys.readouterr().out
        return said and json.loads(said)["versions"][0].get("batchId")

    assert main(["batch", until(batch)]) == 0
    assert good in capsys.readouterr().out
    _is_redriven_discarded_and_parked_again(stack, key, capsys)
    assert main(["connect", bucket]) == 0
    assert stack.aws.s3.get_bucket_notification_configuration(Bucket=bucket)
    for typed in ("pause", "resume"):
        assert main([typed, "--dataset", bucket]) == 0
    before = PublishedDocument(stack.aws.appconfig, *(stack.outputs[each] for each in ROUTES_IDS))
    live = before.read(before.live_versions()[-1])
    table = tmp_path / "routes.json"
    table.write_bytes(live + b"\n")
    assert main(["routes", "forecast", str(table)]) == 0, capsys.readouterr()
    assert main(["routes", "publish", str(table)]) == 0
    assert main(["routes", "rollback"]) == 0
    assert before.read(before.live_versions()[-1]) == live
    limits = PublishedDocument(stack.aws.appconfig, *(stack.outputs[each] for each in LIMITS_IDS))
    document = tmp_path / "limits.json"
    document.write_bytes(limits.read(limits.live_versions()[-1]) + b"\n")
    assert main(["limits", "publish", str(document)]) == 0
    assert main(["limits", "rollback"]) == 0
    capsys.readouterr()
    dataset = f"probed-{uuid.uuid4().hex}"
    place = {"org": Seed().ims_org, "sandbox": "dev", "dataset_id": dataset, "name": dataset}
    stack.control("POST", "/datasets", {**place, "schema": sample(SCHEMAS["loyalty"])["$id"]})
    stack.control("PATCH", "/switches", {"loaded_ms": 0, "staging_ms": 0, "staged_ms": 0})
    probe = ["probe", "--stack", stack.name, "--dataset", dataset, "--name", dataset, "--json"]
    assert main([*probe, "--sandbox", "dev"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["verdict"] for one in told["questions"]} == {"as assumed", "not asked"}
    assert main([*probe, "--sandbox", "prod"]) == 2
