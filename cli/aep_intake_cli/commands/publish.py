"""`publish` and `rollback`, for each kind of document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import FILE, Access, as_json, with_access

if TYPE_CHECKING:
    from aep_intake_cli.publishing import Published


def add_publish_and_rollback(
    group: click.Group, kind: str, metavar: str, checks: str, warn: Callable[[Path, Access], None]
) -> None:
    """Add both commands to `group`. `kind`: of `publishing.KINDS`. `checks`: for the help.

    `warn` is called once the document is live, and prints.
    """

    @group.command(help=f"Check {metavar} and make it live.\n\n{checks}")
    @click.argument("document", type=FILE, metavar=metavar)
    @as_json
    @with_access
    def publish(document: Path, as_json: bool, access: Access) -> None:
        from aep_intake_cli import publishing

        done = publishing.publish(access, publishing.KINDS[kind], document.read_bytes())
        warn(document, access)
        _show(done, as_json=as_json)

    @group.command()
    @click.argument("version", type=click.IntRange(min=1), required=False)
    @as_json
    @with_access
    def rollback(version: int | None, as_json: bool, access: Access) -> None:
        """Make an earlier VERSION live again.

        Without VERSION it is the newest one that was live before the present one. It is checked
        like a new document, and refused if it does not fit the stack any more.
        """
        from aep_intake_cli import publishing

        done = publishing.roll_back(access, publishing.KINDS[kind], version)
        _show(done, as_json=as_json)


def _show(done: Published, *, as_json: bool) -> None:
    from aep_intake_cli.output import print_json

    if as_json:
        print_json({"version": done.version, "changed": done.changed, "warnings": done.warnings})
    else:
        click.echo(done)
