"""Where a bucket sends its events.

Writing a bucket's notification configuration replaces all of it, so it is read, added to, written
and read again. S3 has no conditional write for it: whoever else changes it in the same second may
undo this or be undone, which the second reading shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from rich.table import Table
from rich.text import Text

from aep_intake_cli.failures import CannotGoOn

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import NotificationConfigurationTypeDef
    from rich.console import Console

    from aep_intake_cli.deployed import Deployed

EVENTBRIDGE = "EventBridgeConfiguration"
QUEUES = "QueueConfigurations"
CREATED = "s3:ObjectCreated:*"


def connected(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A notification configuration with EventBridge on, and all that it had before."""
    return {EVENTBRIDGE: {}, **configuration}


def connected_directly(configuration: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    """One that sends new objects to that queue, and all that it had before."""
    there = configuration.get(QUEUES, [])
    if any(one["QueueArn"] == queue_arn and CREATED in one["Events"] for one in there):
        return dict(configuration)
    ours = {"Id": "aep-intake-arrivals", "QueueArn": queue_arn, "Events": [CREATED]}
    return {**configuration, QUEUES: [*there, ours]}


def queue_for(stack: Deployed, bucket: str) -> str:
    """ARN of the queue that the bucket is to send to. Raises CannotGoOn."""
    if bucket not in stack.output("SourceBuckets").split(","):
        raise CannotGoOn(
            f"{bucket} is not one of the buckets of {stack.name}, and its queue takes nothing from "
            f"others: deploy it with {bucket} among SourceBucketNames first"
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
        # Else a destination of somebody else's that has gone would fail all of it.
        SkipDestinationValidation=True,
    )


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations say the same; S3 keeps no order."""
    return sorted(map(repr, _entries(one))) == sorted(map(repr, _entries(other)))


def _entries(configuration: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in configuration.items():
        for entry in value if isinstance(value, list) else [value]:
            rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
            # S3 gives `prefix` back as `Prefix`.
            plain = {
                **entry,
                "Events": sorted(entry.get("Events", ())),
                "Filter": sorted((rule["Name"].lower(), rule["Value"]) for rule in rules),
            }
            yield name, dict(sorted(plain.items()))


def shown(configuration: Mapping[str, Any]) -> Table:
    """For people: where the bucket's events go."""
    table = Table("events go to", "which", "name")
    for name, entry in _entries(configuration):
        ends = (entry.get(part) for part in ("QueueArn", "TopicArn", "LambdaFunctionArn"))
        goal = next(filter(None, ends), "EventBridge" if name == EVENTBRIDGE else name)
        which = [*entry["Events"], *(f"{part} {text}" for part, text in entry["Filter"])]
        table.add_row(Text(goal), Text("\n".join(which) or "all"), Text(entry.get("Id", "")))
    if not configuration:
        table.add_row("nowhere", "", "")
    return table


def connect(
    s3: S3Client, bucket: str, owner: str, console: Console, queue_arn: str | None = None
) -> int:
    """Do it and say so; the exit status. Raises botocore's errors.

    `queue_arn`: where new objects go directly; None: to EventBridge.
    """
    before = read(s3, bucket, owner)
    console.print(f"{bucket}, before:", shown(before), sep="\n", markup=False)
    wanted = connected(before) if queue_arn is None else connected_directly(before, queue_arn)
    if wanted == before:
        done = "EventBridge is on" if queue_arn is None else "It sends to the queue"
        console.print(f"{done} already; nothing was changed.")
        return 0
    write(s3, bucket, owner, wanted)
    after = read(s3, bucket, owner)
    console.print(f"{bucket}, after:", shown(after), sep="\n", markup=False)
    if not same(after, wanted):
        console.print("This is not what was written: somebody else changes it too.", style="red")
        return 1
    done = "EventBridge is on." if queue_arn is None else "It sends to the queue."
    console.print(f"{done} It can take some five minutes until events come;")
    console.print("objects that are in the bucket already make none.")
    if queue_arn is not None:
        console.print("Deploy with ArrivalPath=Direct once they do; until then both ways are open,")
        console.print("and what comes twice is taken once.")
    return 0
