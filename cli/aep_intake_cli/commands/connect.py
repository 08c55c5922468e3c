"""`aep-intake connect`: make a bucket send its events."""

from __future__ import annotations

import click

from aep_intake_cli.options import Access, with_access


@click.command("connect")
@click.argument("bucket")
@click.option("--owner", metavar="ACCOUNT", help="The bucket's AWS account.  [default: yours]")
@click.option("--direct", is_flag=True, help="To the stack's arrivals queue, not to EventBridge.")
@with_access
def command(bucket: str, owner: str | None, direct: bool, access: Access) -> int:
    """Make BUCKET send its events.

    The bucket's other notifications stay as they are. By default the bucket sends its events to
    EventBridge. With --direct it sends new objects to the arrivals queue of the stack, for stacks
    with ArrivalPath=Direct: such an event costs nothing. EventBridge then stays as it is.
    """
    from aep_intake_cli.notifications import connect, queue_for
    from aep_intake_cli.output import console

    bucket = bucket.removeprefix("s3://").rstrip("/")
    queue_arn = queue_for(access.stack(), bucket) if direct else None
    session = access.session
    owner = owner or session.client("sts").get_caller_identity()["Account"]
    s3 = session.client("s3")
    return connect(s3, bucket, owner, console(), queue_arn)
