"""Let a bucket send its events, and leave its other notifications as they are.

    python -m tools.connect BUCKET             (make connect BUCKET=…): to EventBridge
    python -m tools.connect BUCKET --direct    (make connect BUCKET=… ARGS=--direct): to the queue

With --direct new objects go to the arrivals queue of the stack, which costs nothing for an event,
and EventBridge is left as it is: with ArrivalPath=Direct the stack's rule takes nothing from it.

Writing a bucket's notification configuration replaces all of it, so it is read, added to, written
and read again. S3 has no conditional write for it: whoever else changes it in the same second may
undo this or be undone, which the second reading shows.

The bucket must belong to your account, or to the one given with --owner.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.deployed import Deployed, NotOurs, deployed
from tools.failures import in_words

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import NotificationConfigurationTypeDef

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
    """ARN of the queue that the bucket is to send to. Raises NotOurs."""
    if bucket not in stack.output("SourceBuckets").split(","):
        raise NotOurs(
            f"{bucket} is not one of its buckets, and its queue takes nothing from others: deploy "
            f"it with {bucket} among SourceBucketNames first"
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


def main(arguments: list[str] | None = None) -> int:
    asked = argparse.ArgumentParser(
        prog="tools.connect", description=(__doc__ or "").partition("\n")[0]
    )
    asked.add_argument("bucket", metavar="BUCKET", help="its name, without s3://")
    asked.add_argument("--owner", metavar="ACCOUNT", help="the bucket's account (default: yours)")
    asked.add_argument("--direct", action="store_true", help="to the stack's queue, by no rule")
    asked.add_argument(
        "--stack-name",
        default=os.environ.get("STACK", "aep-intake"),
        help="whose queue, with --direct",
    )
    given = asked.parse_args(arguments)
    console = Console()
    bucket = given.bucket.removeprefix("s3://")
    try:
        session = boto3.Session()
        queue_arn = None
        if given.direct:
            stack = deployed(session.client("cloudformation"), given.stack_name)
            queue_arn = queue_for(stack, bucket)
        owner = given.owner or session.client("sts").get_caller_identity()["Account"]
        return connect(session.client("s3"), bucket, owner, console, queue_arn)
    except NotOurs as error:
        console.print(f"{given.stack_name}: {error}", style="red", markup=False)
        return 1
    except (BotoCoreError, ClientError) as error:
        console.print(f"{given.bucket}: {in_words(error)}", style="red", markup=False)
        return 1


if __name__ == "__main__":
    sys.exit(main())
