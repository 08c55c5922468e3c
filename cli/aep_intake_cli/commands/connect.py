"""`aep-intake connect`: make a bucket send its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import Access, Time, as_json, with_access

if TYPE_CHECKING:
    from datetime import datetime


@click.command("connect")
@click.argument("bucket")
@click.option("--owner", metavar="ACCOUNT", help="The bucket's AWS account.  [default: yours]")
@click.option("--direct", is_flag=True, help="To the stack's arrivals queue, not to EventBridge.")
@click.option(
    "--since",
    type=Time(),
    metavar="TIME",
    help="It sends its events to this stack since TIME, such as 2026-11-28T09:00:00Z.",
)
@as_json
@with_access
def command(
    *,
    bucket: str,
    owner: str | None,
    direct: bool,
    since: datetime | None,
    as_json: bool,
    access: Access,
) -> None:
    """Make BUCKET send its events.

    The bucket's other notifications stay as they are. By default the bucket sends its events to
    EventBridge. With --direct it sends new objects to the arrivals queue of the stack, for stacks
    with ArrivalPath=Direct: such an event costs nothing. EventBridge then stays as it is.

    The ledger remembers when the bucket was connected: no event came for older objects. If the
    bucket sent its events before, say with --since since when; the command cannot know it.
    """
    from aep_intake.adapters.dynamodb.connections import DynamoConnections
    from aep_intake.adapters.dynamodb.table import Table
    from aep_intake.model.times import iso

    from aep_intake_cli.clock import now
    from aep_intake_cli.connections import connected
    from aep_intake_cli.notifications import connect, queue_for
    from aep_intake_cli.output import console, print_json

    told = None if since is None else int(since.timestamp() * 1000)
    if told is not None and told > now():
        raise click.BadParameter("that is in the future", param_hint="--since")
    bucket = bucket.removeprefix("s3://").rstrip("/")
    if not bucket or "/" in bucket:
        raise click.BadParameter(f"{bucket!r} is not the name of a bucket", param_hint="BUCKET")
    stack, session, shown = access.stack(), access.session, console(err=as_json)
    queue_arn = queue_for(stack, bucket) if direct else None
    owner = owner or session.client("sts").get_caller_identity()["Account"]
    changed = connect(session.client("s3"), bucket, owner, shown, queue_arn)
    table = Table(session.client("dynamodb"), stack.output("LedgerTable"))
    connections = DynamoConnections(table)
    if told is not None:
        connections.tell(bucket, told)
    elif changed:
        connections.begin(bucket, now())
    known = connected(stack, table).get(bucket)
    if as_json:
        since_then = iso(known) if known else None
        print_json({"bucket": bucket, "changed": changed, "connectedSince": since_then})
    elif known is None:
        shown.print("The ledger does not know since when the bucket is connected. Say it:")
        shown.print(f"aep-intake connect {bucket} --since TIME", markup=False)
    elif known == 0:
        shown.print("It is the stack's own bucket: connected since it was made.")
    else:
        shown.print(f"The ledger says: connected since {iso(known)}.", markup=False)
