"""`aep-intake pause` and `aep-intake resume`: no batch is made for a while."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import Access, as_json, with_access

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger

    from aep_intake_cli.stack import Stack


_NAME = re.compile("[!-~]{1,220}")


def _of_what[R](command: Callable[..., R]) -> Callable[..., R]:
    """The argument and options that say what is paused."""
    for option in (
        click.option("--organization", metavar="ID", help="An organization, such as …@AdobeOrg."),
        click.option("--dataset", metavar="ID", help="A dataset, by its id."),
        click.argument("route", required=False),
    ):
        command = option(command)
    return command


@click.command("pause")
@_of_what
@click.option("--note", metavar="TEXT", default="", help="Why, for others.")
@as_json
@with_access
def command(
    *,
    route: str | None,
    dataset: str | None,
    organization: str | None,
    note: str,
    as_json: bool,
    access: Access,
) -> None:
    """Make no batch for ROUTE, a dataset or an organization.

    The pause lasts until `aep-intake resume`. Without a name, the command shows what is paused, and
    what waits.

    All workers know of a pause after 15 seconds. Files that come are claimed and listed as always,
    and wait for their batches. A batch that exists already is filled and followed to its end.
    Waiting files do not expire in the ledger; but a rule of the bucket may delete them. Publishing
    routes does not end a pause.
    """
    from aep_intake.model.pauses import Pause
    from aep_intake.routing import routes

    from aep_intake_cli import pauses
    from aep_intake_cli.clock import now
    from aep_intake_cli.documents import check_route, live_routes
    from aep_intake_cli.output import console, print_json, progress

    stack, session = access.stack(), access.session
    ledger = _ledger(stack, access)
    name = _name(route, dataset, organization)
    doubt = None
    if name is not None:
        if organization is not None:
            doubt = pauses.doubt_of_organization(organization, *_credentials(stack, access))
        else:
            live = live_routes(stack, session.client("appconfig"))
            if route is not None:
                check_route(route, live)
            if dataset is not None:
                doubt = pauses.doubt_of_dataset(dataset, routes.parse(live, "live"))
        by = session.client("sts").get_caller_identity()["Arn"]
        ledger.pauses.put(Pause(name, now(), by, note))
    kept = pauses.kept_in(session.client("s3"), stack.output("SourceBuckets").split(","))
    with progress("counting what waits"):
        known = [pause for pause in ledger.pauses.all() if name in (None, pause.name)]
        waits = [pauses.waiting(pause, ledger, kept) for pause in known]
    # One that is over is deleted an hour after it keeps nothing back.
    found = [one for one in waits if one.pause.resumed_at is None or one.orders]
    if doubt is not None:
        click.echo(f"{click.style('warning', fg='yellow')}: {doubt}.", err=True)
    if as_json:
        print_json([pauses.to_json(one) for one in found])
        return
    if not found:
        click.echo("Nothing is paused.")
        return
    console().print(pauses.table(found))
    for line in kept.lines:
        click.echo(line)


def _credentials(stack: Stack, access: Access) -> tuple[Credentials, tuple[str, ...]]:
    """The credentials of a stack, and the ARNs of their secrets."""
    from aep_intake_cli.datasets import adobe_clients
    from aep_intake_cli.documents import organizations_of

    credentials, _ = adobe_clients(stack, access.session)
    return credentials, organizations_of(stack, access.session.client("appconfig")).credentials


@click.command("resume")
@_of_what
@as_json
@with_access
def resume(
    *,
    route: str | None,
    dataset: str | None,
    organization: str | None,
    as_json: bool,
    access: Access,
) -> None:
    """Make batches for ROUTE, a dataset or an organization again.

    From the next minute on, waiting files get their batches, the oldest first. The limit
    batchesPerMinute says how many in a minute.
    """
    from dataclasses import replace

    from aep_intake_cli import pauses
    from aep_intake_cli.clock import now
    from aep_intake_cli.failures import CommandFailed
    from aep_intake_cli.output import console, print_json, quantity

    name = _name(route, dataset, organization)
    if name is None:
        raise click.UsageError("say what to resume: a route, --dataset or --organization")
    ledger = _ledger(access.stack(), access)
    standing = ledger.pauses.standing()
    if name not in standing:
        others = ", ".join(pause.what for pause in standing.values()) or "nothing"
        raise CommandFailed(f"{name.replace('#', ' ', 1)} is not paused; paused: {others}")
    over = replace(standing[name], resumed_at=now())
    ledger.pauses.put(over)
    found = pauses.waiting(over, ledger, pauses.BucketRetention(None))
    if as_json:
        print_json([pauses.to_json(found)])
    else:
        files = quantity(found.files, "file")
        console().print(f"{over.what} goes on; waiting: {files}", markup=False)


def _ledger(stack: Stack, access: Access) -> DynamoLedger:
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger
    from aep_intake.model.times import DAY_MS

    from aep_intake_cli.clock import now

    retention_ms = int(stack.parameters["RetentionDays"]) * DAY_MS
    table = stack.output("LedgerTable")
    return DynamoLedger(access.session.client("dynamodb"), table, now, retention_ms)


def _name(route: str | None, dataset: str | None, organization: str | None) -> str | None:
    """The name of a pause; None: of none. Raises click's UsageError."""
    from aep_intake.model.pauses import Pausable

    given = {
        Pausable.ROUTE: route,
        Pausable.DATASET: dataset,
        Pausable.ORGANIZATION: organization,
    }
    names = [what.called(name) for what, name in given.items() if name]
    if len(names) > 1:
        raise click.UsageError("give one of: a route, --dataset, --organization")
    if names and not _NAME.fullmatch(names[0]):
        raise click.UsageError("an id has letters, digits and signs of ASCII, 200 at most")
    return names[0] if names else None
