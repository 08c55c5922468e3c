"""`live`, `history` and `diff`, for each kind of document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import FILE, Access, as_json, with_access

if TYPE_CHECKING:
    from aep_intake_cli.documents import PublishedDocument

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def add_live_history_and_diff(group: click.Group, kind: str, metavar: str) -> None:
    """Add the commands to `group`. `kind`: of `publishing.KINDS`."""

    def opened(access: Access) -> PublishedDocument:
        from aep_intake_cli import publishing

        return publishing.document_of(access, publishing.KINDS[kind])

    @group.command()
    @with_access
    def live(access: Access) -> None:
        """Print the document that is live."""
        document = opened(access)
        click.echo(document.read(document.live()).decode())

    @group.command()
    @click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
    @as_json
    @with_access
    def history(limit: int, as_json: bool, access: Access) -> None:
        """List what went live, when, and who did it."""
        from rich.table import Table
        from rich.text import Text

        from aep_intake_cli import versions
        from aep_intake_cli.output import console, print_json

        found = list(versions.history(opened(access), limit))
        if as_json:
            print_json([{"version": d.version, "at": d.at.isoformat(), "by": d.by} for d in found])
            return
        shown = Table("version", "live since", "by")
        for one in found:
            since = f"{one.at:%Y-%m-%d %H:%M:%S %Z}"
            shown.add_row(str(one.version), since, Text(one.by or "unknown"))
        console().print(shown)

    @group.command(
        help=f"Compare {metavar} with what is live.\n\nWith --version it is compared with an "
        "earlier version, and without a file that version with the live one. The exit code is 1 "
        "if there is a difference."
    )
    @click.argument("file", type=FILE, required=False, metavar=f"[{metavar}]")
    @click.option("--version", type=click.IntRange(min=1), help="Default: the one that is live.")
    @as_json
    @with_access
    def diff(file: Path | None, version: int | None, as_json: bool, access: Access) -> int:
        from aep_intake_cli.output import print_json
        from aep_intake_cli.versions import differences

        document = opened(access)
        live = document.live()
        names = f"version {version or live}", str(file or f"version {live}")
        after = document.read(live) if file is None else file.read_bytes()
        lines = differences(document.read(version or live), after, names)
        if as_json:
            print_json(lines)
        for line in () if as_json else lines:
            click.secho(line, fg=COLOURS.get(line[:1]))
        if not (lines or as_json):
            click.echo("No difference.", err=True)
        return 1 if lines else 0
