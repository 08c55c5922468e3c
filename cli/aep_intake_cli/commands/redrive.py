"""`aep-intake redrive`: send parked messages again."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import Access, as_json, with_access

if TYPE_CHECKING:
    from aep_intake_cli.dead_letters import ParkedMessage
    from aep_intake_cli.stack import Stack

# Outputs of the stack: each dead-letter queue, and the queue its messages go back to.
QUEUES = {
    "arrivals": ("ArrivalsDlqUrl", "ArrivalsQueueUrl"),
    "deliveries": ("DeliveriesDlqUrl", "DeliveriesQueueUrl"),
    "uploads": ("UploadsDlqUrl", "UploadsQueueUrl"),
}


@click.command("redrive")
@click.option("--reason", multiple=True, metavar="REASON", help="Only these reasons; repeatable.")
@click.option("--external-id", multiple=True, metavar="ID", help="Only these orders; repeatable.")
@click.option(
    "--queue",
    type=click.Choice(list(QUEUES)),
    default="arrivals",
    show_default=True,
    help="The queue the messages go back to.",
)
@click.option(
    "--as-ordered",
    is_flag=True,
    help="Orders keep the route, target and format they had, and do not take the present ones.",
)
@click.option(
    "--even-if-overtaken",
    is_flag=True,
    help="Send files of which a newer version, or the same bytes, are loaded or under way, too.",
)
@click.option("--dry-run", is_flag=True, help="List the messages, change nothing.")
@as_json
@with_access
def command(
    *,
    reason: tuple[str, ...],
    external_id: tuple[str, ...],
    queue: str,
    as_ordered: bool,
    even_if_overtaken: bool,
    dry_run: bool,
    as_json: bool,
    access: Access,
) -> int:
    """Send parked messages back to their own queue.

    Fix the cause first. An order takes the present routes, with all its files: it gets another
    attempt only if its last batch ended without data, and its files are still there. What a newer
    version has overtaken, or the same bytes, is parked again. Each message is sent before it is
    deleted: an interruption can leave it in both queues, and the intake then ignores the second
    one. While the command runs, nobody else can receive the messages of the queue; if it is
    killed, for ten minutes more. Messages that are parked during a run wait for the next run.
    """

    from aep_intake.model.messages import Wish

    from aep_intake_cli.dead_letters import Redrive, messages_table, summary_table, to_json
    from aep_intake_cli.output import console, print_json, progress, quantity

    sqs = access.session.client("sqs")
    source, destination = _queue_urls(access.stack(), queue)
    chosen = frozenset(reason), frozenset(external_id)
    wish = Wish(as_ordered, even_if_overtaken)
    redrive = Redrive(sqs, source, destination, *chosen, dry_run, wish)
    outcomes: Counter[tuple[str, bool]] = Counter()
    to_list: list[ParkedMessage] = []
    failed = 0
    try:
        with progress("reading the queue") as status, closing(redrive.run()) as messages:
            for parked, was_moved in messages:
                outcomes[parked.reason, was_moved] += 1
                failed += redrive.selects(parked) and not was_moved
                status.update(f"{quantity(outcomes.total(), 'message')} read")
                if was_moved and (dry_run or as_json):
                    to_list.append(parked)
    finally:
        if as_json:
            print_json([to_json(parked) for parked in to_list])
        elif outcomes:
            console().print(summary_table(outcomes, "would move" if dry_run else "moved"))
    if to_list and not as_json:
        console().print(messages_table(to_list, datetime.now(UTC)))
    if not outcomes:
        click.echo("The dead-letter queue is empty, or another run has its messages.", err=as_json)
    missing = sorted(set(reason) - {found for found, _ in outcomes})
    if outcomes and missing:
        click.echo(f"No parked message has the reason {', '.join(missing)}.", err=as_json)
    if failed:
        left = quantity(failed, "message")
        click.secho(
            f"SQS did not accept {left}, which stay parked: run it again.", err=True, fg="red"
        )
    return 1 if failed else 0


def _queue_urls(stack: Stack, queue: str) -> tuple[str, str]:
    """The dead-letter queue, and the queue its messages go back to. Raises CommandFailed."""
    from aep_intake_cli.failures import CommandFailed

    dead_letters, own = QUEUES[queue]
    if not stack.delivers and dead_letters not in stack.outputs:
        raise CommandFailed(
            f"stack {stack.name} has no queue of {queue}: another application delivers its batches"
        )
    return stack.output(dead_letters), stack.output(own)
