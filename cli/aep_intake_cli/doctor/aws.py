"""Checks of what a stack needs from AWS.

They use the operator's AWS credentials, so they cannot see which rights the role of a function
lacks. All may raise botocore's errors and IntakeError: these are problems, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aep_intake.model.batches import LOOKUP_BATCHES_PER_DAY
from aep_intake.model.errors import LedgerUnavailable
from aep_intake.model.times import iso
from botocore.exceptions import BotoCoreError, ClientError

from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM, Findings
from aep_intake_cli.notifications import CREATED, EACH_CREATED
from aep_intake_cli.output import quantity
from aep_intake_cli.routing.forecast import ADVISED_BATCHES

if TYPE_CHECKING:
    from aep_intake.adapters.dynamodb.parked import ParkedCounts
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

type BatchesMade = Mapping[tuple[str, str], int]  # by IMS organization and sandbox
type LookupsMade = Mapping[tuple[str, str, str], int]  # and dataset

# Two thirds of what Adobe advises: there is still time to act on that day.
NOTED_BATCHES = 60


def check_ledger(dynamodb: DynamoDBClient, table: str) -> Findings:
    """The table has what DynamoDB's restore leaves out, and nobody switched it off since."""
    described = dynamodb.describe_table(TableName=table)["Table"]
    indexes = {each["IndexName"] for each in described.get("GlobalSecondaryIndexes", ())}
    for name in sorted({"due", "batch"} - indexes):
        yield PROBLEM, f"it has no index `{name}`: restore it again, with all indexes"
    update = f"aws dynamodb update-table --table-name {table}"
    if described.get("DeletionProtectionEnabled"):
        yield OK, "it is protected from deletion"
    else:
        yield NOTE, f"it is not protected from deletion: {update} --deletion-protection-enabled"
    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if expiry.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        yield OK, f"DynamoDB deletes old items by `{expiry.get('AttributeName')}`"
    else:
        yield (
            NOTE,
            "DynamoDB deletes no old items, so the table grows for ever: aws dynamodb "
            f"update-time-to-live --table-name {table} --time-to-live-specification "
            "Enabled=true,AttributeName=expires",
        )
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") == "ENABLED":
        yield OK, "point-in-time recovery is on"
    else:
        yield (
            NOTE,
            "point-in-time recovery is off, so the table cannot be restored: aws dynamodb "
            f"update-continuous-backups --table-name {table} "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
        )


def check_bucket(s3: S3Client, name: str, queue_arn: str, *, direct: bool = False) -> Findings:
    """A source bucket exists in the stack's account and region, and sends its events.

    `direct`: S3 sends to the queue itself, and the rule of EventBridge matches nothing.
    """
    _, _, _, region, account, _ = queue_arn.split(":")
    try:
        bucket_region = s3.head_bucket(Bucket=name, ExpectedBucketOwner=account).get("BucketRegion")
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            yield PROBLEM, "there is no such bucket: correct the parameter SourceBucketNames"
            return
        if status != 403:
            raise
        yield from _check_foreign_bucket(s3, name, account, direct=direct)
        return
    if bucket_region != region:
        yield PROBLEM, f"it is in {bucket_region}: its events do not come to {region}, use another"
    else:
        yield OK, f"it exists, in {region}"
    configuration = s3.get_bucket_notification_configuration(Bucket=name)
    sent = [
        queue
        for queue in configuration.get("QueueConfigurations", ())
        if queue["QueueArn"] == queue_arn and _created(queue)
    ]
    by_notification = bool(sent)
    by_rule = "EventBridgeConfiguration" in configuration and not direct
    if by_notification:
        yield from _check_notifications(sent)
    if by_rule:
        yield OK, "it sends its events to EventBridge"
    if by_notification and by_rule:
        yield NOTE, "it announces each object twice, which costs twice: switch one way off"
    if not by_notification and not by_rule:
        option = " --direct" if direct else ""
        destination = "the arrivals queue" if direct else "EventBridge"
        yield PROBLEM, f"it sends no events to {destination}: aep-intake connect {name}{option}"
    if s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled":
        yield OK, "versioning is on"
    else:
        yield NOTE, "versioning is off: a file that is overwritten before its upload is lost"


def _created(queue: Mapping[str, Any]) -> set[str]:
    """The events of new objects that a notification sends."""
    return {event for event in queue["Events"] if event.startswith("s3:ObjectCreated:")}


def _is_every(events: set[str]) -> bool:
    """Whether these are all events of new objects."""
    return CREATED in events or events >= EACH_CREATED


def _check_notifications(sent: Sequence[Mapping[str, Any]]) -> Findings:
    """The notifications to the arrivals queue send all new objects: somebody may change them."""
    filters = [one.get("Filter", {}).get("Key", {}).get("FilterRules", []) for one in sent]
    events = set[str]().union(*map(_created, sent))
    if not _is_every(events):
        only = ", ".join(sorted(events))
        yield PROBLEM, f"of new objects it sends only {only}: let it send {CREATED}"
        return
    yield OK, "it sends S3 notifications to the arrivals queue"
    of_all_keys = [_created(one) for one, rules in zip(sent, filters, strict=True) if not rules]
    if not _is_every(set().union(*of_all_keys)):
        only = " or ".join(
            " and ".join(f"the {rule['Name'].lower()} {rule['Value']}" for rule in rules)
            for rules in filters
            if rules
        )
        what = "some events it sends" if of_all_keys else "it sends"
        yield NOTE, f"{what} only of keys with {only}: not every other file comes"


def _check_foreign_bucket(s3: S3Client, name: str, account: str, *, direct: bool) -> Findings:
    needed = (
        "its owner must switch EventBridge on and make a rule that sends Object Created to the "
        f"default event bus of {account}, and that bus must accept events of the owner's account"
    )
    if direct:
        needed += "; ArrivalPath=Direct works only with buckets of this account"
    denied = "your AWS credentials do not allow s3:ListBucket on it."
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        yield PROBLEM, f"{denied} If it belongs to another account, {needed}"
    else:
        yield NOTE, f"the bucket belongs to another account: {needed}"


def check_connections(known: Callable[[], Mapping[str, int]], buckets: Iterable[str]) -> Findings:
    """It is known since when (epoch ms) each bucket is connected, by its name."""
    since = _asked(known)
    for name in buckets:
        if name in since:
            when = iso(since[name]) if since[name] else "it was made"
            yield OK, f"{name} is connected since {when}"
        else:
            yield (
                NOTE,
                f"{name}: the ledger does not know since when it is connected, so nobody can tell "
                f"what came by no event: aep-intake connect {name} --since TIME",
            )


def check_parked(counts: Callable[[], ParkedCounts]) -> Findings:
    """Nothing is parked, whether or not its queue still has a message of it."""
    found = _asked(counts)
    total, more = sum(found.by_route.values()), " at least" * found.more
    if not total:
        yield OK, "nothing"
        return
    routes = ", ".join(f"{route or 'no route'}: {n:,}" for route, n in found.by_route.items())
    yield PROBLEM, f"{quantity(total, 'message')}{more} ({routes}): list them: aep-intake parked"


def _asked[T](ledger: Callable[[], T]) -> T:
    """The ledger's answer. An operator may lack dynamodb:Query: then AWS's error says so."""
    try:
        return ledger()
    except LedgerUnavailable as error:  # the adapter's, which is for functions
        if isinstance(error.__cause__, BotoCoreError | ClientError):
            raise error.__cause__ from None
        raise


def check_profile_batches(made: Callable[[int], BatchesMade], now: int) -> Findings:
    """Batches made for Profile in 24 hours, compared with Adobe's advice. `now`: epoch ms."""
    batches = _asked(lambda: made(now))
    for (ims_org, name), number in sorted(batches.items()):
        text = f"{number} of {ADVISED_BATCHES} batches made in 24 hours in {name} of {ims_org}"
        if number < NOTED_BATCHES:
            yield OK, text
        else:
            yield (
                NOTE,
                f"{text}: aep-intake routes forecast TABLE shows which routes need longer windows",
            )
    if not batches:
        yield OK, f"0 of {ADVISED_BATCHES} batches made in 24 hours"


def check_lookup_batches(made: Callable[[int], LookupsMade], now: int) -> Findings:
    """Batches of lookup datasets in 24 hours, compared with Adobe's advice. `now`: epoch ms."""
    batches = _asked(lambda: made(now))
    for (ims_org, name, dataset_id), number in sorted(batches.items()):
        most = f"{number} of {LOOKUP_BATCHES_PER_DAY} batches made in 24 hours"
        text = f"{most} of dataset {dataset_id} in {name} of {ims_org}"
        if number <= LOOKUP_BATCHES_PER_DAY:
            yield OK, text
        else:
            yield NOTE, f"{text}: give its route a longer window, such as 6h"
    if not batches:
        yield OK, "none made in 24 hours"


def check_requests_share(batches: int, requests: int) -> Findings:
    """HTTP requests (a second, at most) leave half of the batches (a minute) to files."""
    text = f"{batches} batches a minute; HTTP requests can use {60 * requests} of them"
    if 2 * 60 * requests <= batches:
        yield OK, text
    else:
        yield NOTE, f"{text}, and they go first: files may wait"


def check_event_source(functions: LambdaClient, function: str) -> Findings:
    """A function gets the messages of its queue."""
    found = functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    if not found:
        yield PROBLEM, "it gets no messages (no event source mapping): deploy the stack again"
    for one in found:
        if one["State"] in ("Enabled", "Enabling", "Updating"):
            yield OK, f"its event source mapping is {one['State'].lower()}"
        else:
            enable = f"aws lambda update-event-source-mapping --enabled --uuid {one['UUID']}"
            yield PROBLEM, f"its event source mapping is {one['State'].lower()}: {enable}"


# Functions without a queue run one at a time: on_tick, on_reconcile, on_widget. The calls of
# on_request take about a second each.
ALONE = 3
USUAL_CONCURRENCY = 1000


def check_concurrency(functions: LambdaClient, queue_fed: Iterable[str], requests: int) -> Findings:
    """The account allows as many functions at the same time as the stack can use.

    `queue_fed`: functions with a queue. `requests`: HTTP requests a second, at most.
    """
    mappings = [
        mapping
        for function in queue_fed
        for mapping in functions.list_event_source_mappings(FunctionName=function)[
            "EventSourceMappings"
        ]
    ]
    maxima = [mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 0) for mapping in mappings]
    needed = sum(maxima) + ALONE + requests
    limit = functions.get_account_settings()["AccountLimit"]
    quota, free = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    text = f"the account can run {free} functions at the same time; the stack can use {needed}"
    advice = "ask for more `Concurrent executions` of Lambda in Service Quotas"
    if free < needed:
        yield NOTE, f"{text}: the rest waits, among it HTTP requests and the clock: {advice}"
    elif quota < USUAL_CONCURRENCY:
        yield NOTE, f"{text}, but other applications share a reduced quota of {quota}: {advice}"
    else:
        yield OK, text


def check_rules(
    events: EventBridgeClient, queue_arn: str, bus: str = "default", *, direct: bool = False
) -> Findings:
    """A rule of the bus sends events to the queue; else EventBridge drops them silently.

    `direct`: S3 sends to the queue, so the rule may be off.
    """
    found = events.list_rule_names_by_target(TargetArn=queue_arn, EventBusName=bus)
    names = found["RuleNames"]
    if not names:
        yield PROBLEM, f"no EventBridge rule of bus {bus} sends to it: deploy the stack again"
    for name in names:
        off = events.describe_rule(Name=name, EventBusName=bus).get("State") == "DISABLED"
        if direct:
            state = "off" if off else "on"
            yield OK, f"S3 sends to this queue directly (ArrivalPath); the rule {name} is {state}"
        elif off:
            enable = f"aws events enable-rule --event-bus-name {bus} --name {name}"
            yield PROBLEM, f"the rule {name} is off, so events are lost: {enable}"
        else:
            yield OK, f"the rule {name} sends events to it"


def check_queue(sqs: SQSClient, url: str, advice: str = "") -> Findings:
    """The number of messages in a queue. `advice`: for dead letters, what to do about them."""
    counts = sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    waiting = counts["ApproximateNumberOfMessages"]
    delayed = counts["ApproximateNumberOfMessagesNotVisible"]
    if advice and waiting != "0":
        yield PROBLEM, f"{quantity(int(waiting), 'message')}: {advice}"
    else:
        yield OK, "empty" if advice else f"{waiting} waiting, {delayed} in flight or delayed"


def check_alarms(stacks: CloudFormationClient, watch: CloudWatchClient, stack: str) -> Findings:
    """The stack's alarms that are in ALARM; their descriptions say what to do."""
    pages = stacks.get_paginator("list_stack_resources").paginate(StackName=stack)
    names = [
        resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::CloudWatch::Alarm"
    ]
    found = watch.describe_alarms(AlarmNames=names, StateValue="ALARM")["MetricAlarms"]
    for alarm in found:
        yield PROBLEM, f"{alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}"
    if not found:
        yield OK, f"none of {len(names)} alarms is in ALARM"


def check_alarm_topic(sns: SNSClient, arn: str) -> Findings:
    """Alarms reach a person."""
    if not arn:
        yield NOTE, "AlarmTopicArn is empty: alarms only show in CloudWatch"
        return
    if sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("SubscriptionsConfirmed") == "0":
        yield NOTE, f"no subscription to {arn} is confirmed, so nobody gets the alarms"
    else:
        yield OK, arn
