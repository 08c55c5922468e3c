"""`aep-intake restored`: a ledger that DynamoDB restored."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from aep_intake_cli.options import Access, with_access

DAYS = 22  # for which a message can live, in a queue and a dead-letter queue


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601; in UTC, unless it says otherwise."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-11-28T09:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command("restored")
@click.option("--table", required=True, metavar="NAME", help="The table that was restored.")
@click.option(
    "--since",
    type=Moment(),
    required=True,
    metavar="TIME",
    help="What it was restored to, such as 2026-11-28T09:00:00Z.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=DAYS,
    show_default=True,
    help="How long orders ask AEP before they make a batch: as long as messages can come.",
)
@click.option(
    "--first-table", metavar="NAME", help="The ledger's first table, where it has no id yet."
)
@with_access
def command(
    table: str, since: datetime, days: int, first_table: str | None, access: Access
) -> None:
    """Make a restored ledger fit to go on.

    For a table that DynamoDB restored, before the stack is deployed with it. Orders then ask AEP
    for a batch of theirs before they make one, and the windows that were sealed since TIME come
    from their lists in the state bucket. May be repeated.
    """
    from aep_intake_cli.restored import restored

    lines = restored(
        access.deployed(),
        access.session,
        table=table,
        since=since,
        look_first_days=days,
        first_table=first_table,
    )
    for line in lines:
        click.echo(line)
