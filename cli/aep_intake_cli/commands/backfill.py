"""`aep-intake backfill`: bring objects that came by no event."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from aep_intake_cli.options import Access, Time, as_json, with_access

if TYPE_CHECKING:
    from datetime import datetime

    from aep_intake.arrivals.backfills import Backfill, Left
    from aep_intake.model.files import Arrival

    from aep_intake_cli.backfill.running import Running


@click.command("backfill")
@click.argument("source", metavar="[s3://BUCKET/PREFIX]", required=False)
@click.option("--since", type=Time(), metavar="TIME", help="Only versions written since TIME.")
@click.option("--plan", is_flag=True, help="Show what would be done; do nothing.")
@click.option(
    "--inventory",
    metavar="URI",
    help="Read the list of objects from S3 Inventory (CSV): s3://…/manifest.json.",
)
@click.option(
    "--even-if-loaded",
    is_flag=True,
    help="Bring objects older than the ledger remembers, even if they may be loaded already.",
)
@click.option("--continue", "backfill_id", metavar="ID", help="Continue a backfill.")
@as_json
@with_access
def command(
    *,
    source: str | None,
    since: datetime | None,
    plan: bool,
    inventory: str | None,
    even_if_loaded: bool,
    backfill_id: str | None,
    as_json: bool,
    access: Access,
) -> None:
    """Bring objects that are in a bucket already, through the routes.

    The command takes each object whose key begins with PREFIX, and sends its present version to
    the intake, as if it had just come. So routes, windows, markers and claims count, and nothing
    is loaded twice. The ledger remembers RetentionDays: of older objects, the command takes only
    those that are older than the connection of the bucket, and were in no backfill before. It
    names the others and leaves them out.

    You may stop it at any time (Ctrl-C). The same command, or --continue, continues it. It does
    not send faster than the functions take files.
    """
    from aep_intake_cli.backfill.running import Asked, prepare

    if (source is None) == (backfill_id is None):
        raise click.UsageError("give s3://BUCKET/PREFIX, or --continue ID")
    bucket, _, prefix = (source or "").removeprefix("s3://").partition("/")
    if source is not None and not (source.startswith("s3://") and bucket):
        raise click.BadParameter(f"{source!r} is not s3://BUCKET/PREFIX", param_hint="SOURCE")
    at = 0 if since is None else int(since.timestamp() * 1000)
    asked = backfill_id or Asked(bucket, prefix, at, even_if_loaded, inventory)
    running = prepare(access.stack(), access.session, asked)
    if plan:
        _plan(running, access, as_json=as_json)
    else:
        _run(running, as_json=as_json)


def _plan(running: Running, access: Access, *, as_json: bool) -> None:
    from aep_intake_cli.backfill import plan
    from aep_intake_cli.documents import organizations_of
    from aep_intake_cli.output import console, print_json, progress, quantity

    bounds, made = running.bounds, plan.BackfillPlan()
    listing = running.ports.pages(bounds.backfill.reached)
    with progress("listing") as status:
        for step in plan.make(bounds, listing, running.table, running.taken):
            made = step
            status.update(f"{quantity(made.listed, 'object')} listed")
    organizations = organizations_of(access.stack(), access.session.client("appconfig"))
    if as_json:
        print_json(plan.to_json(made, organizations))
    else:
        console().print(*plan.shown(made, organizations), sep="\n")


def _run(running: Running, *, as_json: bool) -> None:
    from aep_intake.arrivals import backfills

    from aep_intake_cli.backfill import plan
    from aep_intake_cli.output import console, print_json, progress

    backfill = running.bounds.backfill
    if running.new:
        running.backfills.begin(backfill)
    left: Counter[Left] = Counter()
    named: list[tuple[Arrival, Left]] = []
    try:
        with progress(f"{backfill.backfill_id}: listing") as status:
            for step in backfills.run(running.bounds, running.ports):
                backfill = step.backfill
                left.update(why for _, why in step.left)
                named += step.left[: plan.LISTED_MAX - len(named)]
                waits = "; waits, for the functions are behind" if step.waits else ""
                status.update(f"{_said(backfill)}{waits}")
    finally:
        if as_json:
            print_json(_to_json(backfill) | plan.left_to_json(left, named))
        else:
            end = "" if backfill.ended else "It has not ended: aep-intake backfill --continue "
            console().print(_said(backfill), *plan.shown_left(left, named), sep="\n", markup=False)
            if end:
                click.echo(f"{end}{backfill.backfill_id}")


def _said(backfill: Backfill) -> str:
    from aep_intake_cli.output import size

    return (
        f"{backfill.backfill_id}: {backfill.listed:,} listed, {backfill.sent:,} sent "
        f"({size(backfill.sent_bytes) or '0 B'}), {backfill.left_out:,} left out"
    )


def _to_json(backfill: Backfill) -> dict[str, Any]:
    return {
        "backfillId": backfill.backfill_id,
        "ended": backfill.ended is not None,
        "listed": backfill.listed,
        "sent": backfill.sent,
        "sentBytes": backfill.sent_bytes,
        "leftOutCount": backfill.left_out,
    }
