"""`aep-intake doctor`: check the whole stack."""

from __future__ import annotations

import click

from aep_intake_cli.options import Access, as_json, with_access

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


@click.command("doctor")
@as_json
@with_access
def command(as_json: bool, access: Access) -> int:
    """Check all that a deployed stack needs, and say what to do.

    A problem means that something does not work: the exit code is 1. A note means that it works,
    but that you should know or improve something. Doctor changes nothing, except that it asks
    Adobe for a token with each credential. It shows no secret.
    """
    from rich.table import Column, Table
    from rich.text import Text

    from aep_intake_cli.doctor.examine import examine
    from aep_intake_cli.doctor.verdicts import PROBLEM
    from aep_intake_cli.output import console, print_json, progress

    stack, findings = access.stack(), []
    with progress("checking") as status:
        for finding in examine(stack, access.session):
            status.update(finding.check)
            findings.append(finding)
    if as_json:
        print_json(
            [{"check": one.check, "verdict": one.verdict, "text": one.text} for one in findings]
        )
    else:
        table = Table(Column("check", overflow="fold"), "", Column("result", overflow="fold"))
        for one in findings:
            verdict = Text(one.verdict, STYLES[one.verdict])
            table.add_row(Text(one.check), verdict, Text(one.text))
        console().print(table)
    return 1 if any(one.verdict is PROBLEM for one in findings) else 0
