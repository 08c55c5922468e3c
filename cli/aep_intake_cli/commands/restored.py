"""`aep-intake restored`: prepare a ledger that DynamoDB restored."""

from __future__ import annotations

from datetime import datetime

import click

from aep_intake_cli.options import Access, Time, as_json, with_access

MESSAGE_LIFE_DAYS = 22  # in a queue and then a dead-letter queue


@click.command("restored")
@click.option("--table", required=True, metavar="NAME", help="The table that DynamoDB restored.")
@click.option(
    "--since",
    type=Time(),
    required=True,
    metavar="TIME",
    help="The time to which it was restored, such as 2026-11-28T09:00:00Z.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=MESSAGE_LIFE_DAYS,
    show_default=True,
    help="For how long orders look in AEP before they create a batch.",
)
@click.option(
    "--first-table", metavar="NAME", help="The ledger's first table, if the table holds no id."
)
@as_json
@with_access
def command(
    *,
    table: str,
    since: datetime,
    days: int,
    first_table: str | None,
    as_json: bool,
    access: Access,
) -> None:
    """Prepare a restored ledger, before you deploy the stack with it.

    For a table that DynamoDB restored. For some days (--days) each order then looks in AEP for its
    batch before it creates one, since messages from before the restore can still come. Windows that
    were sealed since TIME are restored from their lists in the state bucket. What DynamoDB restored
    by halves, of transactions just before TIME, is made whole: that reads the whole table. You may
    run the command again, also when the stack works with the table.
    """
    from aep_intake_cli.output import print_json
    from aep_intake_cli.restored_ledger import prepare

    lines = prepare(
        access.stack(),
        access.session,
        table=table,
        since=since,
        look_first_days=days,
        first_table=first_table,
    )
    if as_json:
        print_json(list(lines))
    for line in () if as_json else lines:
        click.echo(line)
