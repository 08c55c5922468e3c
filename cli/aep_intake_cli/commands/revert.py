"""`aep-intake revert`: what to send so that a batch's data leaves AEP again."""

from __future__ import annotations

from dataclasses import asdict

import click

from aep_intake_cli.options import Access, as_json, with_access


@click.command("revert")
@click.argument("batch")
@as_json
@with_access
def command(batch: str, as_json: bool, access: Access) -> None:
    """Show how the data of BATCH leaves AEP again. Nothing is sent.

    BATCH is a batch id or an external id. The command prints Adobe's calls, for you to send, and
    what they do and do not undo, in the data lake and in Profile.
    """
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger

    from aep_intake_cli.clock import now
    from aep_intake_cli.datasets import adobe_clients
    from aep_intake_cli.output import print_json, progress
    from aep_intake_cli.reverting import revert

    stack = access.stack()
    ledger = DynamoLedger(
        access.session.client("dynamodb"), stack.output("LedgerTable"), now, retention_ms=0
    )
    with progress("asking AEP for the batch"):
        _, adobe = adobe_clients(stack, access.session)
        found = revert(batch, ledger, adobe, stack.parameters["PlatformUrl"])
    if as_json:
        print_json(asdict(found))
        return
    for purpose, call in found.calls:
        click.echo(f"{click.style(f'# {purpose}', dim=True)}\n{call}\n")
    for consequence in found.consequences:
        click.echo(f"- {consequence}")
    click.secho("Nothing was sent.", bold=True)
