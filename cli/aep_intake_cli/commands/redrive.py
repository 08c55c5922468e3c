"""`aep-intake redrive`: what was parked."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import Access, as_json, with_access

if TYPE_CHECKING:
    from aep_intake_cli.dead_letters import Parked
    from aep_intake_cli.deployed import Deployed

# The outputs of the stack that name each dead-letter queue, and where its messages go.
QUEUES = {
    "arrivals": ("ArrivalsDlqUrl", "ArrivalsQueueUrl"),
    "deliveries": ("DeliveriesDlqUrl", "DeliveriesQueueUrl"),
    "uploads": ("UploadsDlqUrl", "UploadsQueueUrl"),
}


@click.command("redrive")
@click.option("--reason", multiple=True, metavar="REASON", help="Only these; may be repeated.")
@click.option("--external-id", multiple=True, metavar="ID", help="Only these; may be repeated.")
@click.option(
    "--queue",
    type=click.Choice(list(QUEUES)),
    default="arrivals",
    show_default=True,
    help="Whose dead letters.",
)
@click.option("--dry-run", is_flag=True, help="List them, change nothing.")
@as_json
@with_access
def command(
    *,
    reason: tuple[str, ...],
    external_id: tuple[str, ...],
    queue: str,
    dry_run: bool,
    as_json: bool,
    access: Access,
) -> int:
    """Move parked messages back to where they are worked on.

    Do it once the cause is mended. Bodies stay as they are; the reason is dropped. A message is
    sent before it is deleted, so that an interruption can at worst leave it in both queues, and the
    ledger knows the second one for a duplicate. What is not chosen is hidden from others only while
    this runs, or for ten minutes if it is killed. One run looks at no more messages than are there
    when it starts: what is parked again meanwhile waits for the next.
    """
    from aep_intake_cli.dead_letters import Redrive, listed, summed_up, told
    from aep_intake_cli.deployed import PATIENCE
    from aep_intake_cli.output import console, print_json, progress
    from aep_intake_cli.words import several

    sqs = access.session.client("sqs", config=PATIENCE)
    source, goal = _urls(access.deployed(), queue)
    redrive = Redrive(sqs, source, goal, frozenset(reason), frozenset(external_id), dry_run)
    outcomes: Counter[tuple[str, bool]] = Counter()
    moved: list[Parked] = []
    failed = 0
    try:
        with progress("reading") as status, closing(redrive.run()) as messages:
            for parked, was_moved in messages:
                outcomes[parked.reason, was_moved] += 1
                failed += redrive.chosen(parked) and not was_moved
                status.update(f"{several(outcomes.total(), 'message')} read")
                if was_moved and (dry_run or as_json):
                    moved.append(parked)
    finally:
        if as_json:
            print_json([told(parked) for parked in moved])
        elif outcomes:
            console().print(summed_up(outcomes, "would move" if dry_run else "moved"))
    if moved and not as_json:
        console().print(listed(moved, datetime.now(UTC)))
    if not outcomes:
        click.echo("There is nothing in that queue that can be received now.", err=as_json)
    missing = sorted(set(reason) - {found for found, _ in outcomes})
    if outcomes and missing:
        click.echo(f"No parked message has the reason {', '.join(missing)}.", err=as_json)
    if failed:
        click.secho(f"SQS did not take {failed} of them: run it again.", err=True, fg="red")
    return 1 if failed else 0


def _urls(stack: Deployed, queue: str) -> tuple[str, str]:
    """Of a dead-letter queue, and of the one its messages go to. Raises CannotGoOn."""
    from aep_intake_cli.failures import CannotGoOn

    dead, goal = QUEUES[queue]
    if stack.parameters.get("DeliverBatches") == "false" and dead not in stack.outputs:
        raise CannotGoOn(
            f"{stack.name} has no queue of {queue}: its batches are delivered by others"
        )
    return stack.output(dead), stack.output(goal)
