"""Move dead letters back to the queue that works on them, once the cause is mended.

    python -m tools.redrive [--reason R …] [--external-id ID …] [--dry-run]
                            [--queue arrivals|rule|deliveries|uploads]
    (make redrive STACK=… ARGS="--reason no-route --dry-run")

Bodies stay as they are; the reason is dropped. A message is sent before it is deleted, so that an
interruption can at worst leave it in both queues, and the ledger knows the second one for a
duplicate. What is not chosen is hidden from others only while this runs, or for HIDDEN_SECONDS if
it is killed. One run looks at no more messages than are there when it starts: what is parked again
meanwhile waits for the next.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tools.deployed import Deployed, NotOurs, deployed
from tools.failures import in_words
from tools.parked import Parked, Redrive
from tools.words import several

# The outputs of the stack that name each dead-letter queue, and where its messages go.
QUEUES = {
    "arrivals": ("ArrivalsDlqUrl", "ArrivalsQueueUrl"),
    "rule": ("ArrivalRuleDlqUrl", "ArrivalsQueueUrl"),
    "deliveries": ("DeliveriesDlqUrl", "DeliveriesQueueUrl"),
    "uploads": ("UploadsDlqUrl", "UploadsQueueUrl"),
}


def listed(messages: Iterable[Parked], now: datetime) -> Table:
    """For people: each message that is meant."""
    # Stacked, so that ids stay whole for copying.
    what = Column("what, external id, detail", overflow="fold")
    table = Table("reason", what, "parked", Column("age", justify="right"), show_lines=True)
    for parked in messages:
        lines = [*parked.what, *sorted(parked.external_ids), parked.detail]
        table.add_row(
            Text(parked.reason),
            Text("\n".join(filter(None, lines))),
            f"{parked.at:%Y-%m-%d %H:%M:%S}Z",
            str(timedelta(seconds=int((now - parked.at).total_seconds()))),
        )
    return table


def summed_up(outcomes: Counter[tuple[str, bool]], done: str) -> Table:
    """For people: how many by reason were moved, and how many stay."""
    table = Table("reason", Column(done, justify="right"), Column("left", justify="right"))
    for reason in sorted({reason for reason, _ in outcomes}):
        table.add_row(Text(reason), str(outcomes[reason, True]), str(outcomes[reason, False]))
    return table


def _urls(stack: Deployed, queue: str) -> tuple[str, str]:
    """Of a dead-letter queue, and of the one its messages go to. Raises NotOurs."""
    dead, goal = QUEUES[queue]
    if stack.parameters.get("DeliverBatches") == "false" and dead not in stack.outputs:
        raise NotOurs(f"it has no queue of {queue}: its batches are delivered by others")
    return stack.output(dead), stack.output(goal)


def main(arguments: list[str] | None = None) -> int:
    asked = argparse.ArgumentParser(
        prog="tools.redrive", description=(__doc__ or "").partition("\n")[0]
    )
    asked.add_argument("--reason", action="append", default=[], help="only these; may be repeated")
    asked.add_argument(
        "--external-id", action="append", default=[], help="only these; may be repeated"
    )
    asked.add_argument("--queue", choices=QUEUES, default="arrivals", help="whose dead letters")
    asked.add_argument("--dry-run", action="store_true", help="list them, change nothing")
    asked.add_argument("--stack-name", default=os.environ.get("STACK", "aep-intake"))
    given = asked.parse_args(arguments)
    console = Console()
    outcomes: Counter[tuple[str, bool]] = Counter()
    failed = 0
    try:
        session = boto3.Session()
        stack = deployed(session.client("cloudformation"), given.stack_name)
        source, goal = _urls(stack, given.queue)
        redrive = Redrive(
            session.client("sqs"),
            source,
            goal,
            frozenset(given.reason),
            frozenset(given.external_id),
            given.dry_run,
        )
        meant = []
        with console.status("reading") as status, closing(redrive.run()) as messages:
            for parked, moved in messages:
                outcomes[parked.reason, moved] += 1
                failed += redrive.chosen(parked) and not moved
                status.update(f"{several(outcomes.total(), 'message')} read")
                if moved and given.dry_run:
                    meant.append(parked)
    except (BotoCoreError, ClientError) as error:
        console.print(in_words(error), style="red", markup=False)
        return 1
    except NotOurs as error:
        console.print(f"{given.stack_name}: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped. What was not moved is still there.")
        return 130
    finally:
        if outcomes:
            console.print(summed_up(outcomes, "would move" if given.dry_run else "moved"))
    if meant:
        console.print(listed(meant, datetime.now(UTC)))
    if not outcomes:
        console.print("There is nothing in that queue that can be received now.")
    missing = sorted(set(given.reason) - {reason for reason, _ in outcomes})
    if outcomes and missing:
        console.print(f"No parked message has the reason {', '.join(missing)}.", markup=False)
    if failed:
        console.print(f"SQS did not take {failed} of them; run it again.", style="red")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
