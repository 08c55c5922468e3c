"""What a stack needs of AWS to be able to work, one check for each.

Everything is asked with the operator's AWS credentials: a check cannot see what a function's role
lacks. All may raise botocore's errors and IntakeError: a problem too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from aep_intake.model.errors import LedgerUnavailable
from botocore.exceptions import BotoCoreError, ClientError

from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM, Findings
from aep_intake_cli.routing.forecast import ADVISED
from aep_intake_cli.words import several

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# From two thirds of what Adobe advises, there is still time to do something about the day.
MANY = 60


def ledger(dynamodb: DynamoDBClient, table: str) -> Findings:
    """A ledger that no stack manages; a restore brings none of this."""
    described = dynamodb.describe_table(TableName=table)["Table"]
    indexes = {each["IndexName"] for each in described.get("GlobalSecondaryIndexes", ())}
    for name in sorted({"due", "batch"} - indexes):
        yield PROBLEM, f"has no index `{name}`: restore it again, with all indexes"
    update = f"aws dynamodb update-table --table-name {table}"
    if described.get("DeletionProtectionEnabled"):
        yield OK, "protected from deletion"
    else:
        yield NOTE, f"not protected from deletion: {update} --deletion-protection-enabled"
    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if expiry.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        yield OK, f"forgets by `{expiry.get('AttributeName')}`"
    else:
        yield (
            NOTE,
            "forgets nothing, and grows for ever: aws dynamodb update-time-to-live --table-name "
            f"{table} --time-to-live-specification Enabled=true,AttributeName=expires",
        )
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") == "ENABLED":
        yield OK, "can be restored to any second of its last days"
    else:
        yield (
            NOTE,
            "cannot be restored to an earlier time: aws dynamodb update-continuous-backups "
            f"--table-name {table} --point-in-time-recovery-specification "
            "PointInTimeRecoveryEnabled=true",
        )


def bucket(s3: S3Client, name: str, queue_arn: str, *, direct: bool = False) -> Findings:
    """A source bucket: there, in the stack's account and region, and telling of its objects.

    `direct`: S3 is to send to the queue itself, and the rule of EventBridge takes nothing.
    """
    _, _, _, region, account, _ = queue_arn.split(":")
    try:
        place = s3.head_bucket(Bucket=name, ExpectedBucketOwner=account).get("BucketRegion")
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            yield PROBLEM, "there is no such bucket: mend the parameter SourceBucketNames"
            return
        if status != 403:
            raise
        yield from _of_others(s3, name, account, direct=direct)
        return
    if place != region:
        yield PROBLEM, f"is in {place}, and its events do not come to {region}: use one in {region}"
    else:
        yield OK, f"reachable, in {region}"
    sends = s3.get_bucket_notification_configuration(Bucket=name)
    goals = {queue["QueueArn"] for queue in sends.get("QueueConfigurations", ())}
    notifies = queue_arn in goals
    by_rule = "EventBridgeConfiguration" in sends and not direct
    if notifies:
        yield OK, "sends S3 notifications to the arrivals queue"
    if by_rule:
        yield OK, "sends its events to EventBridge"
    if notifies and by_rule:
        yield NOTE, "each object comes twice and is paid for twice, but taken once: end one way"
    if not notifies and not by_rule:
        way = " --direct" if direct else ""
        goal = "the arrivals queue" if direct else "EventBridge"
        yield PROBLEM, f"sends no events to {goal}: aep-intake connect {name}{way}"
    if s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled":
        yield OK, "versioned"
    else:
        yield NOTE, "not versioned: what is overwritten before it is uploaded is lost"


def _of_others(s3: S3Client, name: str, account: str, *, direct: bool) -> Findings:
    needed = (
        "its owner must switch EventBridge on there and make a rule that sends Object Created to "
        f"the default event bus of {account}, which must admit that account"
    )
    if direct:
        needed += "; ArrivalPath=Direct is for buckets of this account alone"
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        yield PROBLEM, f"not yours to see (s3:ListBucket). If it is another account's, {needed}"
    else:
        yield NOTE, f"belongs to another account: {needed}"


def quota(made_on: Callable[[str], Mapping[tuple[str, str], int]], day: str) -> Findings:
    """How many batches were made for Profile on a day, today, of those that Adobe advises.

    `made_on` is the ledger's `made`; its days are UTC.
    """
    try:
        made = made_on(day)
    except LedgerUnavailable as error:
        # What the adapter makes of it is for the functions; an operator may lack dynamodb:Query.
        if isinstance(error.__cause__, BotoCoreError | ClientError):
            raise error.__cause__ from None
        raise
    for (ims_org, name), number in sorted(made.items()):
        text = f"{number} of {ADVISED} batches for Profile made today (UTC) in {name} of {ims_org}"
        if number < MANY:
            yield OK, text
        else:
            yield NOTE, f"{text}: aep-intake routes forecast shows which routes could wait longer"
    if not made:
        yield OK, f"0 of {ADVISED} batches for Profile made today (UTC)"


def pace(batches: int, requests: int) -> Findings:
    """Whether requests (a second) at their fastest leave arrivals half of the batches a minute."""
    told = f"{batches} batches a minute, of which requests may take {60 * requests}"
    if 2 * 60 * requests <= batches:
        yield OK, told
    else:
        yield NOTE, f"{told}, as they come first: arrivals may wait for what is left"


def mapping(functions: LambdaClient, function: str) -> Findings:
    """Whether a function is fed from its queue."""
    found = functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    if not found:
        yield PROBLEM, "no queue feeds it: deploy the stack again"
    for one in found:
        if one["State"] in ("Enabled", "Enabling", "Updating"):
            yield OK, f"its event source mapping is {one['State'].lower()}"
        else:
            enable = f"aws lambda update-event-source-mapping --enabled --uuid {one['UUID']}"
            yield PROBLEM, f"its event source mapping is {one['State'].lower()}: {enable}"


# Functions besides those that are fed from queues: on_tick, and a request takes about a second.
TICKS = 1
USUAL_CONCURRENCY = 1000


def concurrency(functions: LambdaClient, fed: Iterable[str], requests: int) -> Findings:
    """Whether the account lets run at the same time what the stack can. `requests` a second.

    `fed`: functions that are fed from queues.
    """
    mappings = [
        mapping
        for function in fed
        for mapping in functions.list_event_source_mappings(FunctionName=function)[
            "EventSourceMappings"
        ]
    ]
    most = [mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 0) for mapping in mappings]
    needed = sum(most) + TICKS + requests
    limit = functions.get_account_settings()["AccountLimit"]
    whole, left = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    told = f"the account runs {left} functions at the same time; the stack can use {needed}"
    more = "have `Concurrent executions` of Lambda raised in Service Quotas"
    if left < needed:
        yield NOTE, f"{told}: what is more waits, a minute's tick and requests too: {more}"
    elif whole < USUAL_CONCURRENCY:
        yield NOTE, f"{told}, and what else runs there: its quota is reduced, so {more}"
    else:
        yield OK, told


def rules(
    events: EventBridgeClient, queue_arn: str, bus: str = "default", *, direct: bool = False
) -> Findings:
    """Whether the events of a bus are sent on; EventBridge drops them without a word.

    `direct`: they come another way, and a rule that is off may be.
    """
    told = events.list_rule_names_by_target(TargetArn=queue_arn, EventBusName=bus)
    names = told["RuleNames"]
    if not names:
        yield PROBLEM, f"no EventBridge rule of bus {bus} sends to it: deploy the stack again"
    for name in names:
        off = events.describe_rule(Name=name, EventBusName=bus).get("State") == "DISABLED"
        if direct:
            state = "off" if off else "on"
            yield OK, f"S3 sends to it directly (ArrivalPath); the rule {name} is {state}"
        elif off:
            enable = f"aws events enable-rule --event-bus-name {bus} --name {name}"
            yield PROBLEM, f"events are lost: {enable}"
        else:
            yield OK, f"fed by the rule {name}"


def queue(sqs: SQSClient, url: str, if_any: str = "") -> Findings:
    """How much is in a queue; `if_any`, of dead letters, says what to do about them."""
    told = sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    waiting = told["ApproximateNumberOfMessages"]
    text = f"{waiting} waiting, {told['ApproximateNumberOfMessagesNotVisible']} in work or put off"
    if if_any and waiting != "0":
        yield NOTE, f"{several(int(waiting), 'message')}: {if_any}"
    else:
        yield OK, "empty" if if_any else text


def alarms(stacks: CloudFormationClient, watch: CloudWatchClient, stack: str) -> Findings:
    """The stack's alarms that are off now; each description says what to do."""
    pages = stacks.get_paginator("list_stack_resources").paginate(StackName=stack)
    names = [
        resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::CloudWatch::Alarm"
    ]
    found = watch.describe_alarms(AlarmNames=names, StateValue="ALARM")["MetricAlarms"]
    for alarm in found:
        yield NOTE, f"{alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}"
    if not found:
        yield OK, f"none of {len(names)} is in ALARM"


def alarm_topic(sns: SNSClient, arn: str) -> Findings:
    """Whether anybody hears of alarms."""
    if not arn:
        yield NOTE, "none is set (AlarmTopicArn): alarms only show in CloudWatch"
        return
    if sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("SubscriptionsConfirmed") == "0":
        yield NOTE, f"nobody has confirmed a subscription to {arn}"
    else:
        yield OK, arn
