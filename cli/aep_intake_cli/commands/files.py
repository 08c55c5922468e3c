"""`aep-intake files`: files by state, route and time."""

from __future__ import annotations

from datetime import datetime

import click

from aep_intake_cli.options import Access, Time, as_json, with_access


@click.command("files")
@click.option("--state", metavar="STATE", help="Only in this state, such as waiting or failed.")
@click.option("--route", metavar="NAME", help="Only of this route.")
@click.option(
    "--since",
    type=Time(),
    metavar="TIME",
    help="Finished versions since TIME, such as 2026-11-28T09:00:00Z; default: 24 hours ago.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The most lines."
)
@as_json
@with_access
def command(
    *,
    state: str | None,
    route: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
    access: Access,
) -> None:
    """List versions of files, each in its present state.

    First come all unfinished versions, then those that got their batch, were rejected or were set
    aside (superseded, same-bytes, left-out) since TIME, the newest hour first. The list is about a
    minute late.
    """
    from itertools import islice

    from aep_intake.model.times import DAY_MS

    from aep_intake_cli import listed_files
    from aep_intake_cli.clock import now
    from aep_intake_cli.documents import check_route, live_routes
    from aep_intake_cli.output import console, print_json, progress

    if state is not None and state not in listed_files.STATES:
        raise click.BadParameter(
            f"{state!r} is none of {', '.join(listed_files.STATES)}", param_hint="'--state'"
        )
    at = now()
    begin = at - DAY_MS if since is None else int(since.timestamp() * 1000)
    stack = access.stack()
    ports = listed_files.files_ports(stack, access.session)
    with progress("reading the ledger and the journal"):
        chosen = listed_files.Chosen(begin, state, route)
        found = list(islice(listed_files.lines(chosen, at, ports), limit + 1))
    if route is not None and not found:  # a name that is gone may have files still
        check_route(route, live_routes(stack, access.session.client("appconfig")))
    if as_json:
        print_json(found[:limit])
    elif found:
        out = console()
        out.print(listed_files.table(found[:limit], out.width, at))
    if len(found) > limit:
        click.echo(f"There are more than {limit}: see --limit.", err=True)
    elif not found:
        click.echo("No file is in this list.", err=True)
    if stack.parameters.get("JournalDays") == "0":
        click.echo(
            "This stack has no journal (JournalDays), which lists what is loaded or rejected.",
            err=True,
        )
