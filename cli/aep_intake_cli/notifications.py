"""Where a bucket sends its events.

A write replaces a bucket's whole notification configuration, so it is read, extended, written and
read again. S3 has no conditional write for it: two writers in the same second may overwrite each
other, which the second read shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from rich.table import Table
from rich.text import Text

from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import NotificationConfigurationTypeDef
    from rich.console import Console

    from aep_intake_cli.stack import Stack

EVENTBRIDGE = "EventBridgeConfiguration"
QUEUES = "QueueConfigurations"
CREATED = "s3:ObjectCreated:*"
_WAYS = ("Put", "Post", "Copy", "CompleteMultipartUpload")
EACH_CREATED = {f"s3:ObjectCreated:{way}" for way in _WAYS}  # together all of them


def add_eventbridge(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The notification configuration with EventBridge on, and all that it had before."""
    return {EVENTBRIDGE: {}, **configuration}


def add_queue(configuration: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    """The one that sends new objects to that queue, too, and keeps all that it had before."""
    queues = configuration.get(QUEUES, [])
    if any(one["QueueArn"] == queue_arn and CREATED in one["Events"] for one in queues):
        return dict(configuration)
    ours = {"Id": "aep-intake-arrivals", "QueueArn": queue_arn, "Events": [CREATED]}
    return {**configuration, QUEUES: [*queues, ours]}


def queue_for(stack: Stack, bucket: str) -> str:
    """ARN of the arrivals queue, if it accepts events of the bucket. Raises CommandFailed."""
    if bucket not in stack.output("SourceBuckets").split(","):
        raise CommandFailed(
            f"{bucket} is not a source bucket of stack {stack.name}, so the queue refuses its "
            f"events: deploy the stack with {bucket} in SourceBucketNames first"
        )
    return stack.output("ArrivalsQueueArn")


def read(s3: S3Client, bucket: str, owner: str) -> dict[str, Any]:
    """The bucket's notification configuration. Raises botocore's errors."""
    answer = s3.get_bucket_notification_configuration(Bucket=bucket, ExpectedBucketOwner=owner)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def write(s3: S3Client, bucket: str, owner: str, configuration: dict[str, Any]) -> None:
    """Replace the bucket's notification configuration. Raises botocore's errors."""
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        ExpectedBucketOwner=owner,
        NotificationConfiguration=cast("NotificationConfigurationTypeDef", configuration),
        # Else the write fails if another, older destination does not exist any more.
        SkipDestinationValidation=True,
    )


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations are equal; S3 keeps no order."""
    return sorted(map(repr, _entries(one))) == sorted(map(repr, _entries(other)))


def _entries(configuration: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in configuration.items():
        for entry in value if isinstance(value, list) else [value]:
            rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
            # S3 returns `prefix` as `Prefix`.
            plain = {
                **entry,
                "Events": sorted(entry.get("Events", ())),
                "Filter": sorted((rule["Name"].lower(), rule["Value"]) for rule in rules),
            }
            yield name, dict(sorted(plain.items()))


def destinations_table(configuration: Mapping[str, Any]) -> Table:
    """Where the bucket sends its events."""
    table = Table("destination", "events", "name")
    for name, entry in _entries(configuration):
        arns = (entry.get(part) for part in ("QueueArn", "TopicArn", "LambdaFunctionArn"))
        end = next(filter(None, arns), "EventBridge" if name == EVENTBRIDGE else name)
        events = [*entry["Events"], *(f"{part} {text}" for part, text in entry["Filter"])]
        table.add_row(Text(end), Text("\n".join(events) or "all"), Text(entry.get("Id", "")))
    if not configuration:
        table.add_row("none", "", "")
    return table


def connect(
    s3: S3Client, bucket: str, owner: str, console: Console, queue_arn: str | None = None
) -> bool:
    """Connect the bucket, and print what changed; False if it was connected before.

    `queue_arn`: the queue that gets the events; None: EventBridge gets them. Raises CommandFailed
    if another program changed it at the same time, and botocore's errors.
    """
    before = read(s3, bucket, owner)
    console.print(f"{bucket}, before:", destinations_table(before), sep="\n", markup=False)
    wanted = add_eventbridge(before) if queue_arn is None else add_queue(before, queue_arn)
    if wanted == before:
        state = "EventBridge is on" if queue_arn is None else "The bucket sends to the queue"
        console.print(f"{state} already; nothing was changed.")
        return False
    write(s3, bucket, owner, wanted)
    after = read(s3, bucket, owner)
    console.print(f"{bucket}, after:", destinations_table(after), sep="\n", markup=False)
    if not same(after, wanted):
        raise CommandFailed("another program changed the bucket in the meantime: run it again")
    state = "EventBridge is on." if queue_arn is None else "The bucket sends to the queue."
    console.print(f"{state} The first events can take about five minutes.")
    console.print("Objects that are in the bucket already cause no events.")
    if queue_arn is not None:
        console.print("Once events come, deploy with ArrivalPath=Direct. Until then an object can")
        console.print("be announced twice; the intake takes it once.")
    return True
