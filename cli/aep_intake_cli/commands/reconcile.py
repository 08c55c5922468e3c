"""`aep-intake reconcile`: compare what S3, the ledger and AEP have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import Access, CalendarDay, as_json, with_access

if TYPE_CHECKING:
    from datetime import datetime


@click.command("reconcile")
@click.option("--route", metavar="NAME", help="Only objects of this route.")
@click.option(
    "--day",
    type=CalendarDay(),
    metavar="DAY",
    help="Only what was written on this day, in UTC, such as 2026-11-28.",
)
@click.option(
    "--inventory",
    metavar="URI",
    help="Of the manifest.json of an S3 Inventory: its bucket is compared without being listed.",
)
@as_json
@with_access
def command(
    *,
    route: str | None,
    day: datetime | None,
    inventory: str | None,
    as_json: bool,
    access: Access,
) -> int:
    """Find what is lost between S3, the ledger and AEP.

    The stack compares them by itself once a day (on_reconcile); this command does it now. It looks
    at objects that were written after their bucket was connected, at least an hour ago, and within
    the time that the ledger remembers. An object that the ledger does not know is sent to the
    intake again. Everything else is only reported: a person must judge it. The exit code is 1 if
    anything was found.
    """
    from aep_intake.arrivals.reconcile import reconcile

    from aep_intake_cli.comparing import prepare, shown, to_json
    from aep_intake_cli.output import console, print_json, progress, quantity

    begin = None if day is None else int(day.timestamp() * 1000)
    comparing = prepare(access.stack(), access.session, route, begin, inventory)
    found = comparing.comparison
    with progress("listing objects") as status:
        for step in reconcile(found, comparing.ports):
            found = step
            status.update(f"{quantity(found.looked_at, 'object')} compared")
    if as_json:
        print_json(to_json(found))
    else:
        console().print(*shown(found), sep="\n")
    return 1 if found.found else 0
