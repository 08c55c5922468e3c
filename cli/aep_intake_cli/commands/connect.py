"""`aep-intake connect`: a bucket's events."""

from __future__ import annotations

import click

from aep_intake_cli.options import Access, with_access


@click.command("connect")
@click.argument("bucket")
@click.option("--owner", metavar="ACCOUNT", help="The bucket's account.  [default: yours]")
@click.option("--direct", is_flag=True, help="To the stack's queue, by no rule of EventBridge.")
@with_access
def command(bucket: str, owner: str | None, direct: bool, access: Access) -> int:
    """Let BUCKET send its events.

    Its other notifications stay as they are. By default events go to EventBridge. With --direct new
    objects go to the arrivals queue of the stack, which costs nothing for an event, and EventBridge
    is left as it is: with ArrivalPath=Direct the stack's rule takes nothing from it.
    """
    from aep_intake_cli.deployed import PATIENCE
    from aep_intake_cli.notifications import connect, queue_for
    from aep_intake_cli.output import console

    bucket = bucket.removeprefix("s3://").rstrip("/")
    queue_arn = queue_for(access.deployed(), bucket) if direct else None
    session = access.session
    owner = owner or session.client("sts", config=PATIENCE).get_caller_identity()["Account"]
    s3 = session.client("s3", config=PATIENCE)
    return connect(s3, bucket, owner, console(), queue_arn)
