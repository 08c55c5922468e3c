"""`aep-intake parked`: what needs a person."""

from __future__ import annotations

import click

from aep_intake_cli.choice import Choice, check_names, with_choice
from aep_intake_cli.options import Access, as_json, with_access


@click.command("parked")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@with_choice
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The most lines."
)
@as_json
@with_access
def command(
    ids: tuple[str, ...], *, choice: Choice, limit: int, as_json: bool, access: Access
) -> None:
    """List parked messages; with an ID, show all about that one.

    The newest comes first. If only one message fits the options, all about it is shown. A message
    is parked when it cannot succeed until its cause is fixed. It stays until you redrive or discard
    it. `aep-intake redrive --dry-run` says what a redrive would do.
    """
    from dataclasses import replace

    from aep_intake_cli import parked
    from aep_intake_cli.output import console, print_json, progress, quantity

    if ids:
        choice = replace(choice, external_ids=choice.external_ids | set(ids))
    everything = parked.AllParked.of(access, choice.queue)
    with progress("reading what is parked"):
        found = list(everything.chosen(choice))
    if not found:
        check_names(choice, access)
    found.sort(key=lambda one: one.why.at, reverse=True)
    shown = found[:limit]
    if as_json:
        print_json([parked.to_json(one) for one in shown])
    elif ids or (len(found) == 1 and choice != Choice()):
        for one in shown:
            console().print(parked.details(one))
    elif shown:
        out = console()
        rows = parked.table(shown, out.width)
        out.print(rows)
        if rows.columns[-1].header != parked.TODO:  # there is no room for it
            out.print(parked.advice(shown))
        click.echo("All about one: aep-intake file s3://BUCKET/KEY, or aep-intake parked ID")
    more = f", of which the newest {limit} are shown" if len(found) > limit else ""
    nothing = "Nothing is parked." if choice == Choice() else "Nothing that is parked fits."
    told = f"{quantity(len(found), 'message')} parked{more}." if found else nothing
    click.echo(told, err=as_json)
