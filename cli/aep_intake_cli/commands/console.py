"""`aep-intake console`: the page of the dashboard in a browser of this machine."""

from __future__ import annotations

import click

from aep_intake_cli.options import Access, with_access


@click.command("console")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0: any that is free.")
@with_access
def command(port: int, access: Access) -> None:
    """Show the page of the dashboard in a browser.

    It says what happened today, what waits, what needs you, and where a file is. The command prints
    the address, and serves the page until Ctrl-C. Only this machine can reach it, and only with the
    whole address. It reads the ledger with your AWS credentials, and changes nothing.
    """
    from aep_intake_cli.site import Site, of_stack

    stack = access.stack()
    show = of_stack(access.session.client("dynamodb"), stack.output("LedgerTable"), stack.name)
    with Site(show, port) as site:
        click.echo(f"The page of {stack.name}, until Ctrl-C:\n{site.address}")
        site.serve_forever()
