"""What a stack needs to be able to work, one check for each; `tools.doctor` runs them.

Everything is asked with the operator's AWS credentials and, through the functions' own adapters,
with the deployment's Adobe credentials. So a check cannot see what a function's role lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from aep_intake import routes
from aep_intake.errors import IntakeError
from aep_intake.orders import Target
from botocore.exceptions import ClientError

from tools.words import several

if TYPE_CHECKING:
    from aep_intake.adapters.adobe import Adobe
    from aep_intake.adapters.credentials import Credentials
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient


class Verdict(StrEnum):
    """OK; NOTE: works, but should be known; PROBLEM: something will not work."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


OK, NOTE, PROBLEM = Verdict
# All checks may raise botocore's errors and IntakeError: a problem too.
type Findings = Iterator[tuple[Verdict, str]]


def secret_name(arn: str) -> str:
    """What people call the secret of that ARN."""
    return arn.rpartition(":secret:")[2]


def bucket(s3: S3Client, name: str, queue_arn: str, topic_arn: str) -> Findings:
    """A source bucket: there, in the stack's account and region, and telling of its objects."""
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
        yield from _of_others(s3, name, account)
        return
    if place != region:
        yield PROBLEM, f"is in {place}, and its events do not come to {region}: use one in {region}"
    else:
        yield OK, f"reachable, in {region}"
    sends = s3.get_bucket_notification_configuration(Bucket=name)
    direct = [queue["QueueArn"] for queue in sends.get("QueueConfigurations", ())]
    direct += [topic["TopicArn"] for topic in sends.get("TopicConfigurations", ())]
    if "EventBridgeConfiguration" in sends:
        yield OK, "sends its events to EventBridge"
    elif {queue_arn, topic_arn} & set(direct):
        yield OK, "sends S3 notifications to the arrivals queue"
    else:
        yield PROBLEM, f"sends no events to EventBridge: make connect BUCKET={name}"
    if s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled":
        yield OK, "versioned"
    else:
        yield NOTE, "not versioned: what is overwritten before it is uploaded is lost"


def _of_others(s3: S3Client, name: str, account: str) -> Findings:
    needed = (
        "its owner must switch EventBridge on there and make a rule that sends Object Created to "
        f"the default event bus of {account}, which must admit that account"
    )
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        yield PROBLEM, f"not yours to see (s3:ListBucket). If it is another account's, {needed}"
    else:
        yield NOTE, f"belongs to another account: {needed}"


def credential(credentials: Credentials, arn: str) -> Findings:
    """A secret: readable, of a known shape, and good for a token."""
    yield OK, f"readable, for {credentials.ims_org(arn)}"
    token = credentials.token(arn)
    yield OK, f"IMS gives a token for client {token.client_id}"


def sandbox(adobe: Adobe, name: str, organizations: Mapping[str, str]) -> Findings:
    """An allowed sandbox: seen by one credential at least. `organizations`: by secret ARN."""
    missed = []
    for arn, ims_org in organizations.items():
        try:
            # Every sandbox has some datasets, Adobe's own among them.
            why = "" if any(adobe.datasets(arn, ims_org, name)) else "no dataset can be seen"
        except IntakeError as error:
            why = error.detail
        if why:
            missed.append(f"{secret_name(arn)}: {why}")
        else:
            yield OK, f"reached with {secret_name(arn)}"
    if len(missed) == len(organizations):
        missed = missed or ["not tried, as no credential works"]
        yield PROBLEM, "; ".join([*missed, "mend AllowedSandboxes, or the credential's role"])
    elif missed:
        yield NOTE, "; ".join(["routes cannot use it with all credentials", *missed])


def dataset(
    adobe: Adobe, route: routes.Route, default_sandbox: str, organizations: Mapping[str, str | None]
) -> Findings:
    """The dataset of a route; in `organizations` (by secret ARN) None is one that does not work."""
    rule = route.rule
    name, where = rule.get("sandbox", default_sandbox), rule.get("datasetName")
    dataset_id = rule.get("datasetId")
    if "{" in f"{name}{where}{dataset_id}":
        yield NOTE, "not looked up: its target depends on the key"
        return
    arn = routes.credential_arn(rule.get("credential"), list(organizations))
    ims_org = organizations[arn]
    if ims_org is None:
        yield NOTE, f"not looked up: {secret_name(arn)} does not work"
        return
    if dataset_id is None:
        dataset_id = adobe.dataset_id(arn, ims_org, name, str(where))
    found = adobe.dataset(Target(arn, ims_org, name, dataset_id))
    if found is None:
        yield PROBLEM, f"no dataset {dataset_id} in sandbox {name}: mend the route, or make it"
        return
    yield OK, f"{found.get('name')} ({dataset_id}) in sandbox {name}"
    # Adobe's guardrails; its samples write the value with and without a blank.
    tags = found.get("tags") or {}
    if any("enabled:true" in str(tag).replace(" ", "") for tag in tags.get("unifiedProfile", ())):
        yield NOTE, "enabled for Profile: Adobe advises at most 90 such batches a day and sandbox"


def pace(parameters: Mapping[str, str]) -> Findings:
    """Whether requests at their fastest stay within their half of the batches a minute."""
    batches, requests = int(parameters["BatchesPerMinute"]), int(parameters["RequestsPerSecond"])
    told = f"{batches} batches a minute, of which requests may take {60 * requests}"
    if 2 * 60 * requests <= batches:
        yield OK, told
    else:
        yield NOTE, f"{told}, and the queues keep half: together more than that, at their fastest"


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


def rules(events: EventBridgeClient, queue_arn: str) -> Findings:
    """Whether the events of the buckets are sent on; EventBridge drops them without a word."""
    names = events.list_rule_names_by_target(TargetArn=queue_arn)["RuleNames"]
    if not names:
        yield PROBLEM, "no EventBridge rule sends to it: deploy the stack again"
    for name in names:
        if events.describe_rule(Name=name).get("State") == "DISABLED":
            yield PROBLEM, f"events are lost: aws events enable-rule --name {name}"
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
