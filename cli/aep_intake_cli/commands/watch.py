"""`aep-intake watch`: events as they come."""

from __future__ import annotations

import time

import click

from aep_intake_cli.options import Access, as_json, with_access

PAUSE_SECONDS = 5  # between two looks


@click.command("watch")
@click.option("--route", metavar="NAME", help="Only events of this route.")
@as_json
@with_access
def command(*, route: str | None, as_json: bool, access: Access) -> None:
    """Show the events of the intake as they come, until Ctrl-C.

    It reads the journal, which is written once a minute, and shows each event once. With --json,
    each event is a line, as the journal has it.
    """
    from aep_intake.adapters.aws.journal import JournalBucket

    from aep_intake_cli.clock import now
    from aep_intake_cli.documents import check_route, live_routes
    from aep_intake_cli.failures import CommandFailed
    from aep_intake_cli.journal_tail import Tail, line
    from aep_intake_cli.output import console, print_json_line

    stack = access.stack()
    if stack.parameters.get("JournalDays") == "0":
        raise CommandFailed(
            f"stack {stack.name} keeps no journal: deploy it with JournalDays, or listen on its bus"
        )
    if route is not None:
        check_route(route, live_routes(stack, access.session.client("appconfig")))
    bucket = stack.output("StateBucketName")
    tail, out = Tail(JournalBucket(access.session.client("s3"), bucket), now()), console()
    click.echo(f"Events of {stack.name} from now on, in UTC, up to a minute late.", err=True)
    while True:
        for at, event in tail.look(now()):
            if route is not None and event["detail"].get("route") != route:
                continue
            if as_json:
                print_json_line(event)
            else:
                out.print(line(at, event), soft_wrap=True)
        time.sleep(PAUSE_SECONDS)
