"""`aep-intake file`: where a file is."""

from __future__ import annotations

import click

from aep_intake_cli.options import Access, as_json, with_access

VERSIONS_SHOWN = 5


@click.command("file")
@click.argument("uri", metavar="s3://BUCKET/KEY")
@as_json
@with_access
def command(uri: str, as_json: bool, access: Access) -> None:
    """Show where a file is.

    It shows each version with its state, why it has it, since when and until when. It asks the
    ledger, and not AEP. The ledger does not have files that a route leaves out: ask
    `aep-intake routes explain` about their keys.
    """
    from aep_intake.report import status

    from aep_intake_cli import standing
    from aep_intake_cli.failures import CommandFailed
    from aep_intake_cli.output import console, print_json, quantity, visible

    bucket, key = standing.place_of(uri)
    stack = access.stack()
    standing.check_bucket(bucket, stack)
    found = status.of_object(bucket, key, standing.status_ports(stack, access.session))
    if found is None:
        raise CommandFailed(
            f"the ledger knows nothing of {visible(uri)}: {status.why_unknown(key)}"
        )
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(visible(found["uri"]), style="bold", markup=False, highlight=False)
    for version in found["versions"][:VERSIONS_SHOWN]:
        out.print(f"version {standing.version_of(version)}", markup=False, highlight=False)
        out.print(standing.block(version))
    if (earlier := found["versionCount"] - VERSIONS_SHOWN) > 0:
        out.print(f"and {quantity(earlier, 'earlier version')} (--json shows more)")
