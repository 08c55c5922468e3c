"""`aep-intake redrive`: send parked messages again."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from aep_intake_cli.choice import Choice, check_names, with_choice
from aep_intake_cli.options import Access, as_json, with_access

if TYPE_CHECKING:
    from aep_intake.clock.parking import Parked
    from mypy_boto3_lambda import LambdaClient


@click.command("redrive")
@with_choice
@click.option(
    "--as-ordered",
    is_flag=True,
    help="Orders keep the route, target and format that they had.",
)
@click.option(
    "--even-if-overtaken",
    is_flag=True,
    help="Send a file even if a newer version, or the same bytes, are loaded or under way.",
)
@click.option("--dry-run", is_flag=True, help="Say what would become of each. Changes nothing.")
@as_json
@with_access
def command(
    *,
    choice: Choice,
    as_ordered: bool,
    even_if_overtaken: bool,
    dry_run: bool,
    as_json: bool,
    access: Access,
) -> int:
    """Send parked messages back to their own queue.

    Fix the cause first. If you have just published routes, the command waits until all functions
    read them, half a minute at most.

    An order takes the present routes, with all its files. It gets another attempt only if its last
    batch ended without data and its files are still there. A message is parked again if a newer
    version of its file, or the same bytes, are loaded or under way.

    You may interrupt the command: it sends each message before it ends the message's item in the
    ledger, and the intake ignores a second one. While the command reads the dead-letter queue, no
    one else receives its messages; if it is killed, they come back after ten minutes.
    """
    from aep_intake.model.messages import Wish

    from aep_intake_cli import dry_run as planned
    from aep_intake_cli import parked
    from aep_intake_cli.documents import published_routes, wait_until_read
    from aep_intake_cli.output import console, print_json, progress, quantity

    everything = parked.AllParked.of(access, choice.queue)
    wish = Wish(as_ordered, even_if_overtaken)
    if dry_run:
        with progress("asking the intake"):
            found = list(everything.chosen(choice))
            if not found:
                check_names(choice, access)
            told = list(planned.would_become(found, wish, *_on_marker(access)))
        if as_json:
            print_json([parked.to_json(one) | {"would": would} for one, would in told])
        elif told:
            out = console()
            out.print(planned.plan(told, out.width))
        refused = sum(planned.is_refused(would) for _, would in told)
        click.echo(planned.summary(len(told), refused), err=as_json)
        return 0
    with progress("waiting until all functions read the routes that were just published"):
        wait_until_read(published_routes(access.stack(), access.session.client("appconfig")))
    sent: list[Parked] = []
    refused = 0
    try:
        with (
            progress("sending what is parked") as status,
            closing(everything.redrive(choice, wish)) as messages,
        ):
            for one, was_sent in messages:
                if was_sent:
                    sent.append(one)
                refused += not was_sent
                status.update(f"{quantity(len(sent), 'message')} sent")
    finally:
        if as_json:
            print_json([parked.to_json(one) for one in sent])
        elif sent:
            console().print(parked.summary(sent, "sent"))
    if not sent and not refused:
        check_names(choice, access)
        click.echo("Nothing that is parked was chosen.", err=as_json)
    if refused:
        text = (
            f"SQS did not accept {quantity(refused, 'message')}, which stay parked: run it again."
        )
        click.secho(text, err=True, fg="red")
    return 1 if refused else 0


def _on_marker(access: Access) -> tuple[LambdaClient, str]:
    """The function that knows what would become of messages, and a client that waits for it."""
    from botocore.config import Config

    # A folder of a hundred thousand files takes minutes; who asks twice, has it done twice.
    patient = Config(read_timeout=900, retries={"total_max_attempts": 1})
    function = access.stack().output("OnMarkerFunction")
    return access.session.client("lambda", config=patient), function
