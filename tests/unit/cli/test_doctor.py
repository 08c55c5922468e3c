"""Each check of the doctor, for what is in order and for each thing that can be wrong."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.schemas import Schemas
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.parked import ParkedCounts
from aep_intake.clock.due import DueKind
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Record
from aep_intake.routing import routes
from aep_intake.routing.table import Route
from aep_intake_cli.connections import connected
from aep_intake_cli.doctor import adobe, aws
from aep_intake_cli.doctor.examine import OUTAGE, CheckLine, run_check
from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM, CheckVerdict, Findings
from aep_intake_cli.doctor.work import LATE_MS, OPEN_MS, check_unfinished
from aep_intake_cli.failures import explain_aws_error
from aep_intake_cli.stack import Stack
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError
from botocore.stub import Stubber

from local.simulator import Fault
from local.simulator.seed import CLICKS, CLOSED, LOYALTY, PRODUCTS, PROFILES, SYSTEM
from tests.adobe_world import ARN, IMS, START, Secrets, World
from tests.builders import opened, order
from tests.memory_ledger import MemoryLedger

OWNER, QUEUE = "111122223333", "arn:aws:sqs:eu-west-1:111122223333:arrivals"
UUID = "14e0db71-5d35-4eb5-b481-8945cf9d10c2"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:files"
OTHER = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-AbCdEf"
BOTH = Organizations((Organization(ARN, ("prod", "dev")), Organization(OTHER)))


@pytest.fixture
def world() -> World:
    return World()


def client(service: Any) -> Any:
    return boto3.client(
        service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def of(stubber: Stubber) -> Any:
    """The client whose answers `stubber` scripts; its type is lost there."""
    return stubber.client


@pytest.fixture
def s3() -> Iterator[Stubber]:
    with Stubber(client("s3")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def looked_at(findings: Findings) -> list[tuple[CheckVerdict, str]]:
    return list(findings)


def bucket(s3: Stubber) -> list[tuple[CheckVerdict, str]]:
    return looked_at(aws.check_bucket(of(s3), "b", QUEUE))


def heads(s3: Stubber, region: str = "eu-west-1") -> None:
    expected = {"Bucket": "b", "ExpectedBucketOwner": OWNER}
    s3.add_response("head_bucket", {"BucketRegion": region}, expected)


def tells(s3: Stubber, notifications: dict[str, Any], versioning: str | None = "Enabled") -> None:
    s3.add_response("get_bucket_notification_configuration", notifications)
    s3.add_response("get_bucket_versioning", {"Status": versioning} if versioning else {})


@pytest.mark.parametrize(
    "notifications",
    [
        {"EventBridgeConfiguration": {}},
        {"QueueConfigurations": [{"QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*"]}]},
    ],
)
def test_a_bucket_in_order(s3: Stubber, notifications: dict[str, Any]) -> None:
    heads(s3)
    tells(s3, notifications)
    assert [verdict for verdict, _ in bucket(s3)] == [OK, OK, OK]


def test_a_bucket_that_sends_its_events_elsewhere(s3: Stubber) -> None:
    heads(s3)
    tells(s3, {"QueueConfigurations": [{"QueueArn": f"{QUEUE}2", "Events": ["s3:TestEvent"]}]})
    assert (PROBLEM, "it sends no events to EventBridge: aep-intake connect b") in bucket(s3)


DIRECTLY = {"QueueConfigurations": [{"QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*"]}]}


def test_a_bucket_whose_events_come_twice(s3: Stubber) -> None:
    heads(s3)
    tells(s3, {"EventBridgeConfiguration": {}, **DIRECTLY})
    [text] = [text for verdict, text in bucket(s3) if verdict is NOTE]
    assert "twice" in text


@pytest.mark.parametrize(
    ("notifications", "verdict"),
    [
        ({"EventBridgeConfiguration": {}}, PROBLEM),
        (DIRECTLY, OK),
        ({"EventBridgeConfiguration": {}, **DIRECTLY}, OK),
    ],
)
def test_where_the_rule_takes_nothing_a_bucket_must_send_itself(
    s3: Stubber, notifications: dict[str, Any], verdict: CheckVerdict
) -> None:
    """EventBridge may be on for others, and costs nothing here then."""
    heads(s3)
    tells(s3, notifications)
    _, (found, text), _ = looked_at(aws.check_bucket(of(s3), "b", QUEUE, direct=True))
    assert found is verdict
    assert ("aep-intake connect b --direct" in text) == (verdict is PROBLEM)


IN = {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "in/"}]}}


def sends(*ways: str, **more: Any) -> dict[str, Any]:
    return {"QueueArn": QUEUE, "Events": [f"s3:ObjectCreated:{way}" for way in ways], **more}


@pytest.mark.parametrize(
    ("notifications", "verdict", "says"),
    [
        ([{"QueueArn": QUEUE, "Events": ["s3:ObjectRemoved:*"]}], PROBLEM, "aep-intake connect b"),
        (
            [sends("Put", "Copy")],
            PROBLEM,
            "only s3:ObjectCreated:Copy, s3:ObjectCreated:Put: let it send s3:ObjectCreated:*",
        ),
        ([sends("*", Filter=IN)], NOTE, "it sends only of keys with the prefix in/"),
        ([sends("*", Filter=IN), sends("Copy")], NOTE, "some events it sends only of keys with"),
        ([sends("Put", "Post"), sends("Copy", "CompleteMultipartUpload")], OK, "S3 notifications"),
    ],
    ids=["others", "some", "filtered", "filtered-in-part", "each"],
)
def test_a_bucket_whose_notification_was_changed(
    s3: Stubber, notifications: list[dict[str, Any]], verdict: CheckVerdict, says: str
) -> None:
    heads(s3)
    tells(s3, {"QueueConfigurations": notifications})
    found = bucket(s3)
    assert [text for how, text in found if how is verdict and says in text]
    assert verdict is not OK or {how for how, _ in found} == {OK}


def test_a_bucket_in_another_region_and_unversioned(s3: Stubber) -> None:
    heads(s3, "us-east-1")
    tells(s3, {"EventBridgeConfiguration": {}}, None)
    (region, where), _, (versions, _) = bucket(s3)
    assert (region, versions) == (PROBLEM, NOTE), "unversioned works"
    assert "us-east-1" in where


def test_a_bucket_that_is_not_there(s3: Stubber) -> None:
    s3.add_client_error("head_bucket", "404", http_status_code=404)
    assert [(verdict, "SourceBucketNames" in text) for verdict, text in bucket(s3)] == [
        (PROBLEM, True)
    ]


def test_a_bucket_of_another_account(s3: Stubber) -> None:
    s3.add_client_error("head_bucket", "403", http_status_code=403)
    s3.add_response("head_bucket", {}, {"Bucket": "b"})
    ((verdict, text),) = bucket(s3)
    assert verdict is NOTE
    assert f"default event bus of {OWNER}" in text


def test_a_bucket_that_nobody_may_see(s3: Stubber) -> None:
    s3.add_client_error("head_bucket", "403", http_status_code=403)
    s3.add_client_error("head_bucket", "403", http_status_code=403)
    assert [(verdict, "s3:ListBucket" in text) for verdict, text in bucket(s3)] == [(PROBLEM, True)]


def test_any_other_answer_about_a_bucket_ends_the_check_only(s3: Stubber) -> None:
    s3.add_client_error("head_bucket", "SlowDown", "please", http_status_code=503)
    findings = list(run_check("bucket b", aws.check_bucket(of(s3), "b", QUEUE)))
    assert findings == [CheckLine("bucket b", PROBLEM, "HeadBucket failed (SlowDown): please")]


def test_a_credential_in_order(world: World) -> None:
    verdicts = looked_at(adobe.check_credential(world.credentials, ARN))
    assert [verdict for verdict, _ in verdicts] == [OK, OK]
    assert world.minted == 1
    assert world.seed.client_secret not in str(verdicts)
    assert world.credentials.token(ARN).access_token not in str(verdicts)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"client_id": "visible", "client_secret": "hidden"}, "lacks ims_org"),
        ({"client_id": "visible", "client_secret": "hidden", "ims_org": "a@AdobeOrg"}, "IMS"),
    ],
)
def test_a_credential_that_is_none(world: World, document: object, says: str) -> None:
    credentials = Credentials(Secrets(document).client, world.session, IMS, world.clock)
    finding = list(run_check("acme", adobe.check_credential(credentials, ARN)))[-1]
    assert finding.verdict is PROBLEM
    assert says in finding.text
    assert "hidden" not in finding.text


@pytest.mark.parametrize("status", [403, 404])
def test_a_sandbox_is_there_or_not(world: World, status: int) -> None:
    world.simulator.switches.change(unknown_sandbox=status)
    organizations = {ARN: world.seed.ims_org}
    there = looked_at(adobe.check_sandbox(world.adobe, "dev", organizations))
    assert there == [(OK, "credential acme-AbCdEf can use it")]
    ((verdict, text),) = adobe.check_sandbox(world.adobe, "stage", organizations)
    assert verdict is PROBLEM
    assert "sandboxes of the organization" in text


def test_a_sandbox_that_only_one_credential_sees(world: World) -> None:
    world.secrets.others[OTHER] = world.secrets.document
    organizations = {ARN: world.seed.ims_org, OTHER: "0000@AdobeOrg"}
    (reached, _), (missed, text) = adobe.check_sandbox(world.adobe, "dev", organizations)
    assert (reached, missed) == (OK, NOTE)
    assert "other-AbCdEf" in text


def test_no_sandbox_is_in_order_where_no_credential_is(world: World) -> None:
    [found] = adobe.check_sandbox(world.adobe, "dev", {})
    assert found == (PROBLEM, "not checked, since no credential got a token"), (
        "nothing is to be corrected"
    )


def test_an_outage_asks_nobody_to_correct_anything(world: World) -> None:
    world.simulator.faults.add(Fault("status", operation="*dataset*", status=503, count=0))
    [line] = run_check("sandbox dev", adobe.check_sandbox(world.adobe, "dev", {ARN: "0@AdobeOrg"}))
    assert line.verdict is PROBLEM
    assert "AEP answered 503" in line.text
    assert line.text.endswith(f": {OUTAGE}")


CSV = {"inputFormat": {"format": "csv", "delimiter": ";"}}


def batch(**how: str) -> dict[str, Any]:
    return {"match": "*.json", "batch": how}


def route(**written: Any) -> Route:
    document = json.dumps({"routes": [{"name": "r", "match": "{a}/*"} | written]})
    return routes.parse(document, "1").routes[0]


@pytest.mark.parametrize(
    ("written", "verdicts", "says"),
    [
        ({"match": "*", "datasetId": PRODUCTS}, [OK], "products"),
        ({"match": "*", "datasetName": "products", "sandbox": "dev"}, [OK], PRODUCTS),
        ({"match": "*", "datasetId": PROFILES}, [OK, NOTE], "add to the route "),
        ({"datasetId": PROFILES, **batch(window="1h")}, [OK, NOTE], "at most 24 a day"),
        (
            {"datasetId": PROFILES, **batch(window="5m")},
            [OK, NOTE],
            '"window": "16m" is long enough',
        ),
        ({"datasetId": PROFILES, **batch(marker="_OK")}, [OK, NOTE], "each _OK; Adobe advises"),
        ({"match": "*", "datasetId": SYSTEM}, [PROBLEM], "Adobe's own"),
        ({"match": "*.csv", "datasetId": PRODUCTS}, [OK], "products"),
        ({"match": "*.csv.gz", "datasetId": LOYALTY}, [PROBLEM], "send JSON Lines instead"),
        ({"match": "*", "datasetId": LOYALTY, **CSV}, [PROBLEM], "'Loyalty Members' is none"),
        ({"match": "*", "examples": ["a.csv"], "datasetId": CLICKS}, [PROBLEM], "always `_id`"),
        ({"match": "*.json", "datasetId": CLICKS}, [OK], "JSON goes up as it is"),
        ({"match": "*.csv", "datasetId": CLOSED}, [OK, NOTE], "names no schema"),
        ({"match": "*", "datasetId": "00aa"}, [PROBLEM], "no dataset 00aa in sandbox prod"),
        ({"match": "*", "datasetName": "nobody's"}, [PROBLEM], "no datasets called"),
        ({"datasetName": "x-{a}"}, [NOTE], "depends on the object's key"),
        ({"datasetId": "{a}"}, [NOTE], "depends on the object's key"),
        ({"match": "{sandbox}/*", "datasetId": PRODUCTS}, [NOTE], "depends on the object's key"),
        ({"match": "*", "datasetId": "d", "credential": "who"}, [PROBLEM], "0 credentials"),
        ({"match": "*", "datasetId": "d", "credential": "other"}, [NOTE], "got no token"),
    ],
)
def test_the_dataset_of_a_route(
    world: World, written: dict[str, Any], verdicts: list[CheckVerdict], says: str
) -> None:
    ims_orgs = {ARN: world.seed.ims_org, OTHER: None}
    findings = adobe.check_dataset(
        world.adobe, route(**written), BOTH, ims_orgs, Schemas(world.adobe)
    )
    shown = list(run_check("route r", findings))
    assert [finding.verdict for finding in shown] == verdicts
    assert says in shown[-1].text


def test_a_catalog_that_is_slow_says_nothing_of_profile(world: World) -> None:
    """The intake then makes the batch all the same, and does not count it."""
    world.simulator.faults.add(Fault("status", operation="get-dataset", skip=1))
    organizations = {ARN: world.seed.ims_org}
    (there, _), (slow, text) = adobe.check_dataset(
        world.adobe,
        route(match="*", datasetId=PROFILES),
        BOTH,
        organizations,
        Schemas(world.adobe),
    )
    assert (there, slow) == (OK, NOTE)
    assert "in time" in text


def test_a_bucket_of_which_nobody_knows_since_when_it_is_connected_is_noted() -> None:
    ledger: Any = SimpleNamespace(query=lambda *_, **__: [])
    own = connected(Stack("aep-intake", {"LandingBucketName": "own"}, {}), ledger)
    since = {**own, "old": START}
    found = looked_at(aws.check_connections(lambda: since, ["own", "old", "new"]))
    (made, _), (known, _), (unknown, text) = found
    assert (made, known, unknown) == (OK, OK, NOTE)
    assert "aep-intake connect new --since" in text


def test_what_is_parked_is_told_by_route_though_no_message_is_left_of_it() -> None:
    assert looked_at(aws.check_parked(lambda: ParkedCounts({}, more=False))) == [(OK, "nothing")]
    counts = ParkedCounts({"crm": 3000, None: 2}, more=True)
    [(verdict, text)] = looked_at(aws.check_parked(lambda: counts))
    assert verdict is PROBLEM
    assert text == (
        "3002 messages at least (crm: 3,000, no route: 2): list them: aep-intake parked"
    )


def quota(made: dict[tuple[str, str], int]) -> list[tuple[CheckVerdict, str]]:
    return looked_at(aws.check_profile_batches({START: made}.__getitem__, START))


def test_how_many_of_the_day_are_made() -> None:
    [(verdict, text)] = quota({})
    assert (verdict, text.split()[:3]) == (OK, ["0", "of", "90"])
    numbers = {"a": 59, "b": 60, "c": 90, "d": 123}
    told = quota({("A@AdobeOrg", name): number for name, number in numbers.items()})
    assert [verdict for verdict, _ in told] == [OK, NOTE, NOTE, NOTE]
    for (_, text), (name, number) in zip(told, numbers.items(), strict=True):
        assert f"{number} of 90" in text and f"in {name} of A@AdobeOrg" in text
    assert all("aep-intake routes forecast" in text for _, text in told[1:])


def test_how_many_a_lookup_dataset_got() -> None:
    def told(made: dict[tuple[str, str, str], int]) -> list[tuple[CheckVerdict, str]]:
        return looked_at(aws.check_lookup_batches({START: made}.__getitem__, START))

    assert told({}) == [(OK, "none made in 24 hours")]
    few, many = told({("A@AdobeOrg", "prod", "5c8c"): 4, ("A@AdobeOrg", "prod", "6c8c"): 5})
    assert few == (OK, "4 of 4 batches made in 24 hours of dataset 5c8c in prod of A@AdobeOrg")
    assert (many[0], many[1].split(":")[1]) == (NOTE, " give its route a longer window, such as 6h")


def test_a_ledger_that_the_operator_may_not_ask() -> None:
    with Stubber(client("dynamodb")) as table:
        ledger = DynamoLedger(of(table), "ledger", lambda: START, 0)
        denied = ("AccessDeniedException", "not authorized to perform: dynamodb:Query")
        table.add_client_error("query", *denied)
        (finding,) = run_check(
            "quota", aws.check_profile_batches(ledger.profile_batches.made, START)
        )
    assert finding.verdict is PROBLEM
    assert finding.text == f"your AWS credentials do not allow Query: {denied[1]}"


def ledger(
    *,
    indexes: str = "batch due",
    protected: bool = True,
    expiry: str = "ENABLED",
    recovery: str = "ENABLED",
) -> list[tuple[CheckVerdict, str]]:
    asked = {"TableName": "old"}
    named = [{"IndexName": name} for name in indexes.split()]
    about = {"DeletionProtectionEnabled": protected, "GlobalSecondaryIndexes": named}
    point = {"PointInTimeRecoveryStatus": recovery}
    backups = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": point}
    lives = {"TimeToLiveStatus": expiry, "AttributeName": "expires"}
    with Stubber(client("dynamodb")) as table:
        table.add_response("describe_table", {"Table": about}, asked)
        table.add_response("describe_time_to_live", {"TimeToLiveDescription": lives}, asked)
        continuous = {"ContinuousBackupsDescription": backups}
        table.add_response("describe_continuous_backups", continuous, asked)
        return looked_at(aws.check_ledger(of(table), "old"))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"protected": False}, "update-table --table-name old --deletion-protection-enabled"),
        ({"expiry": "DISABLED"}, "--time-to-live-specification Enabled=true,AttributeName=expires"),
        ({"recovery": "DISABLED"}, "PointInTimeRecoveryEnabled=true"),
        ({"indexes": "batch"}, "no index `due`"),
    ],
)
def test_a_ledger_lacks_what_a_restore_leaves_out(how: dict[str, Any], says: str) -> None:
    """A restore brings neither expiry, nor recovery, nor protection."""
    assert [verdict for verdict, _ in ledger()] == [OK, OK, OK]
    assert [verdict for verdict, _ in ledger(expiry="ENABLING")] == [OK, OK, OK]
    [(verdict, text)] = [one for one in ledger(**how) if one[0] is not OK]
    assert verdict is (PROBLEM if "indexes" in how else NOTE)
    assert says in text


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("Enabled", OK), ("Updating", OK), ("Disabled", PROBLEM), ("Disabling", PROBLEM)],
)
def test_a_function_that_is_not_fed(state: str, verdict: CheckVerdict) -> None:
    with Stubber(client("lambda")) as functions:
        mappings = {"EventSourceMappings": [{"UUID": UUID, "State": state}]}
        functions.add_response("list_event_source_mappings", mappings, {"FunctionName": "f"})
        ((got, text),) = aws.check_event_source(of(functions), "f")
    assert got is verdict
    assert (f"--enabled --uuid {UUID}" in text) == (verdict is PROBLEM)


@pytest.mark.parametrize("bus", ["default", "ours"])
@pytest.mark.parametrize(("state", "verdict"), [("ENABLED", OK), ("DISABLED", PROBLEM)])
def test_a_rule_that_is_off_loses_events(state: str, verdict: CheckVerdict, bus: str) -> None:
    asked = {"TargetArn": QUEUE, "EventBusName": bus}
    with Stubber(client("events")) as events:
        names: dict[str, Any] = {"RuleNames": ["r"]}
        events.add_response("list_rule_names_by_target", names, asked)
        events.add_response("describe_rule", {"State": state}, {"Name": "r", "EventBusName": bus})
        ((got, text),) = aws.check_rules(of(events), QUEUE, bus)
    assert got is verdict
    told = f"enable-rule --event-bus-name {bus} --name r" in text
    assert told == (verdict is PROBLEM), "of another bus, the command needs its name"


def test_a_rule_may_be_off_where_s3_sends_past_it() -> None:
    with Stubber(client("events")) as stubber:
        stubber.add_response("list_rule_names_by_target", {"RuleNames": ["r"]})
        stubber.add_response("describe_rule", {"State": "DISABLED"})
        ((verdict, text),) = looked_at(aws.check_rules(of(stubber), QUEUE, direct=True))
    assert verdict is OK
    assert "ArrivalPath" in text


def test_a_queue_without_a_rule() -> None:
    """Rules are asked for by bus: one of another bus feeds nothing."""
    asked = {"TargetArn": QUEUE, "EventBusName": "default"}
    with Stubber(client("events")) as events:
        events.add_response("list_rule_names_by_target", {"RuleNames": []}, asked)
        assert [got for got, _ in aws.check_rules(of(events), QUEUE)] == [PROBLEM]


def test_a_function_without_a_queue() -> None:
    with Stubber(client("lambda")) as functions:
        functions.add_response("list_event_source_mappings", {"EventSourceMappings": []})
        assert [verdict for verdict, _ in aws.check_event_source(of(functions), "f")] == [PROBLEM]


@pytest.mark.parametrize(
    ("waiting", "advice", "expected"),
    [
        ("0", "", (OK, "0 waiting, 3 in flight or delayed")),
        ("5", "", (OK, "5 waiting, 3 in flight or delayed")),
        ("0", "look", (OK, "empty")),
        ("5", "look", (PROBLEM, "5 messages: look")),
        ("1", "look", (PROBLEM, "1 message: look")),
    ],
)
def test_queues(waiting: str, advice: str, expected: tuple[CheckVerdict, str]) -> None:
    with Stubber(client("sqs")) as sqs:
        counts = {
            "ApproximateNumberOfMessages": waiting,
            "ApproximateNumberOfMessagesNotVisible": "3",
        }
        sqs.add_response("get_queue_attributes", {"Attributes": counts})
        assert list(aws.check_queue(of(sqs), "https://q", advice)) == [expected]


def test_whether_anybody_hears_of_alarms() -> None:
    with Stubber(client("sns")) as sns:
        assert [verdict for verdict, _ in aws.check_alarm_topic(of(sns), "")] == [NOTE]
        for confirmed, verdict in (("0", NOTE), ("2", OK)):
            told = {"Attributes": {"SubscriptionsConfirmed": confirmed}}
            sns.add_response("get_topic_attributes", told, {"TopicArn": TOPIC})
            assert [got for got, _ in aws.check_alarm_topic(of(sns), TOPIC)] == [verdict]


@pytest.mark.parametrize(
    ("batches", "requests", "verdict"),
    [(1000, 5, OK), (600, 5, OK), (599, 5, NOTE), (138, 5, NOTE)],
)
def test_whether_requests_leave_arrivals_half(
    batches: int, requests: int, verdict: CheckVerdict
) -> None:
    ((got, _),) = aws.check_requests_share(batches, requests)
    assert got is verdict


@pytest.mark.parametrize(
    ("whole", "left", "verdict", "says"),
    [
        (1000, 1000, OK, "can run 1000 functions at the same time; the stack can use 17"),
        (1000, 16, NOTE, "Service Quotas"),
        (10, 10, NOTE, "the rest waits"),
        (100, 100, NOTE, "a reduced quota of 100"),
    ],
)
def test_whether_the_account_lets_run_what_the_stack_can(
    whole: int, left: int, verdict: CheckVerdict, says: str
) -> None:
    """New accounts may have ten, and the defaults want more."""
    with Stubber(client("lambda")) as stubber:
        for most in (5, 4):
            mapping = {"UUID": UUID, "ScalingConfig": {"MaximumConcurrency": most}}
            stubber.add_response("list_event_source_mappings", {"EventSourceMappings": [mapping]})
        limit = {"ConcurrentExecutions": whole, "UnreservedConcurrentExecutions": left}
        stubber.add_response("get_account_settings", {"AccountLimit": limit})
        ((got, text),) = looked_at(aws.check_concurrency(of(stubber), ["one", "two"], 5))
    assert got is verdict
    assert says in text


def test_alarms_of_the_stack_that_are_off_are_told_with_their_advice() -> None:
    with Stubber(client("cloudformation")) as stacks, Stubber(client("cloudwatch")) as watch:
        resources = [
            {
                "LogicalResourceId": name,
                "PhysicalResourceId": f"stack-{name}",
                "ResourceType": kind,
                "ResourceStatus": "CREATE_COMPLETE",
                "LastUpdatedTimestamp": datetime(2026, 11, 23, tzinfo=UTC),
            }
            for name, kind in (
                ("Api", "AWS::ApiGateway::RestApi"),
                ("A", "AWS::CloudWatch::Alarm"),
                ("B", "AWS::CloudWatch::Alarm"),
            )
        ]
        for alarming in ([], [{"AlarmName": "stack-A", "AlarmDescription": "Look for x."}]):
            stacks.add_response(
                "list_stack_resources", {"StackResourceSummaries": resources}, {"StackName": "s"}
            )
            watch.add_response(
                "describe_alarms",
                {"MetricAlarms": alarming},
                {"AlarmNames": ["stack-A", "stack-B"], "StateValue": "ALARM"},
            )
        assert list(aws.check_alarms(of(stacks), of(watch), "s")) == [
            (OK, "none of 2 alarms is in ALARM")
        ]
        assert list(aws.check_alarms(of(stacks), of(watch), "s")) == [
            (PROBLEM, "stack-A: Look for x.")
        ]


def test_whether_work_gets_done() -> None:
    """In an outage orders wait for Adobe; where the clock or a worker fails, what is due waits."""
    ledger = MemoryLedger()
    assert looked_at(check_unfinished(ledger, START)) == [
        (OK, "nothing waits longer than it should")
    ]
    record = ledger.open(opened(START))
    soon = START + OPEN_MS  # its lease is over; its next try may be a quarter of an hour away
    leased = ledger.due_work.due(DueKind.ORDERS, soon, 1)[0]
    ledger.due_work.lease(leased, soon)
    assert [verdict for verdict, _ in check_unfinished(ledger, soon)] == [OK]
    [(verdict, text)] = check_unfinished(ledger, soon + 1)
    assert verdict is PROBLEM and "1 order without a batch" in text
    assert record.order.external_id in text
    both = [text for _, text in check_unfinished(ledger, soon + LATE_MS)]
    assert ["no worker takes them" in text for text in both] == [True, False]


def test_what_is_paused_is_told_and_is_no_problem() -> None:
    ledger = MemoryLedger()
    pause = Pause("route#crm", START, "arn:me", "a test")
    ledger.pauses.put(pause)
    ledger.open(Record.waiting(order(), START).paused_by(pause.name, START))
    assert looked_at(check_unfinished(ledger, START + 9 * OPEN_MS)) == [
        (NOTE, f"{pause}. aep-intake pause shows what waits for its end"),
        (OK, "nothing waits longer than it should"),
    ]


@pytest.mark.parametrize(
    ("code", "operation", "says"),
    [
        ("AccessDenied", "PutBucketNotificationConfiguration", "do not allow s3:PutBucketNotif"),
        ("AccessDeniedException", "GetSecretValue", "do not allow GetSecretValue: told"),
        ("ExpiredToken", "ListQueues", "have expired"),
        ("ValidationError", "DescribeStacks", "DescribeStacks failed (ValidationError): told"),
    ],
)
def test_what_aws_says_of_aws(code: str, operation: str, says: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "told"}}, operation)
    assert says in explain_aws_error(error)


def test_what_is_missing_on_the_operators_side_of_aws() -> None:
    assert "AWS_PROFILE" in explain_aws_error(NoCredentialsError())
    assert "AWS_REGION" in explain_aws_error(NoRegionError())
