"""`aep-intake status`: what happened, and what waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import Access, Time, as_json, with_access

if TYPE_CHECKING:
    from datetime import datetime

    from aep_intake_cli.day import StackStatus

PAUSE_SECONDS = 10  # between two looks


@click.command("status")
@click.option("--route", metavar="NAME", help="Only this route.")
@click.option("--since", type=Time(), metavar="TIME", help="From the hour of TIME, not from 00:00.")
@click.option("--watch", is_flag=True, help="Look again every ten seconds, until Ctrl-C.")
@as_json
@with_access
def command(
    *, route: str | None, since: datetime | None, watch: bool, as_json: bool, access: Access
) -> None:
    """Show what happened today, by route, and what waits.

    Files and bytes count when they get their first batch, rows when they are in the dataset. Counts
    come from the journal, and are a minute late; what waits comes from the ledger, and is not. A
    day begins at 00:00 UTC. With --watch and --json, the command prints one line each time.
    """
    from aep_intake.adapters.dynamodb.table import Table
    from aep_intake.model.times import DAY_MS

    from aep_intake_cli import day
    from aep_intake_cli.clock import now
    from aep_intake_cli.documents import check_route, live_routes
    from aep_intake_cli.output import console, print_json, print_json_line

    stack = access.stack()
    table = Table(access.session.client("dynamodb"), stack.output("LedgerTable"))
    out = console()
    counted = stack.parameters.get("JournalDays") != "0"

    def look() -> StackStatus:
        at = now()
        begin = at - at % DAY_MS if since is None else int(since.timestamp() * 1000)
        found = day.look(table, begin, at, counted=counted)
        if route is None:
            return found
        mine = found.of(route)
        if not mine.routes:  # a route that was removed today has still something to tell
            check_route(route, live_routes(stack, access.session.client("appconfig")))
        return mine

    if not watch:
        if as_json:
            print_json(day.to_json(look()))
        else:
            out.print(day.shown(look(), stack.name, out.width))
    elif as_json:
        while True:
            print_json_line(day.to_json(look()))
            time.sleep(PAUSE_SECONDS)
    else:
        from rich.live import Live

        with Live(console=out, auto_refresh=False) as live:
            while True:
                live.update(day.shown(look(), stack.name, out.width), refresh=True)
                time.sleep(PAUSE_SECONDS)
