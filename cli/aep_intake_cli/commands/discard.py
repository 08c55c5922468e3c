"""`aep-intake discard`: what is parked is wanted no more."""

from __future__ import annotations

from contextlib import closing

import click

from aep_intake_cli.choice import Choice, check_names, with_choice
from aep_intake_cli.options import Access, as_json, with_access


@click.command("discard")
@with_choice
@click.option("--note", metavar="TEXT", default="", help="Why, for others; not with --undo.")
@click.option("--undo", is_flag=True, help="Park again what was discarded.")
@click.option("--dry-run", is_flag=True, help="List it, change nothing.")
@as_json
@with_access
def command(
    *, choice: Choice, note: str, undo: bool, dry_run: bool, as_json: bool, access: Access
) -> None:
    """Discard parked messages that are not wanted any more.

    Say which, and why. The command deletes the messages, and their files are `discarded` from now
    on: no event, marker, redrive or backfill brings them in. A new version of a file is another
    file. A file that has got a batch since it was parked stays as it is. If the command is
    interrupted, run it again. --undo parks the messages again, for RetentionDays.
    """
    from aep_intake_cli import parked
    from aep_intake_cli.discarding import Marks
    from aep_intake_cli.output import console, print_json, progress, quantity

    if choice == Choice():
        raise click.UsageError("say which: --external-id, --key, --route, --reason or --older-than")
    if bool(note) is undo and (undo or not dry_run):
        raise click.UsageError("give either --note, which says why, or --undo")
    everything = parked.AllParked.of(access, choice.queue)
    ledger, ended_without_data, kept_until = parked.ledger_of(access)
    by = access.session.client("sts").get_caller_identity()["Arn"]
    marks = Marks(ledger, ended_without_data, None if undo else f"by {by}: {note}")
    with progress("reading what is parked"):
        if undo:
            run = everything.undo_discard(choice, marks.mark, dry_run=dry_run)
        elif dry_run:
            run = everything.chosen(choice)
        else:
            run = everything.discard(choice, marks.mark, kept_until)
        with closing(run):
            found = list(run)
    if not found:
        check_names(choice, access)
    if as_json:
        print_json([parked.to_json(one) for one in found])
    elif found:
        out = console()
        out.print(parked.table(found, out.width))
    would = "would be " if dry_run else ""
    done = "parked again" if undo else "discarded"
    click.echo(f"{quantity(len(found), 'message')} {would}{done}.", err=as_json)
