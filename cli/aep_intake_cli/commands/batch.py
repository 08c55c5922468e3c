"""`aep-intake batch`: where a batch is."""

from __future__ import annotations

import click

from aep_intake_cli.options import Access, as_json, with_access


@click.command("batch")
@click.argument("id_", metavar="ID")
@as_json
@with_access
def command(id_: str, as_json: bool, access: Access) -> None:
    """Show where a batch is.

    It has a state, with why, since when and until when, and files. ID is a batch id or an external
    id; of an order that was tried again, the last attempt is shown. The ledger is asked, and not
    AEP.
    """
    from aep_intake.report import status

    from aep_intake_cli import standing
    from aep_intake_cli.failures import CommandFailed
    from aep_intake_cli.output import console, print_json, visible

    found = status.of_batch(id_, standing.status_ports(access.stack(), access.session))
    if found is None:
        raise CommandFailed(f"no batch and no order is called {visible(id_)}")
    if as_json:
        print_json(found)
    else:
        console().print(standing.block(found))
