"""`aep-intake limits`: organizations and limits."""

from __future__ import annotations

from pathlib import Path

import click

from aep_intake_cli.options import FILE, Access, with_access


@click.group("limits")
def command() -> None:
    """Organizations (credentials, sandboxes) and limits."""


@command.command()
@click.argument("document", type=FILE)
@with_access
def publish(document: Path, access: Access) -> None:
    """Check DOCUMENT and make it live.

    It is a JSON file of organizations and limits, checked by its schema and against the secrets
    that the stack names, and refused before anything is uploaded.
    """
    from aep_intake_cli import publishing

    click.echo(publishing.publish(access, publishing.LIMITS, document.read_bytes()))


@command.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@with_access
def rollback(version: int | None, access: Access) -> None:
    """Make an earlier VERSION live again.

    Without VERSION it is the newest that was live before the present one. It is checked as if it
    were new, and refused where it is no good any more.
    """
    from aep_intake_cli import publishing

    click.echo(publishing.roll_back(access, publishing.LIMITS, version))


@command.command()
@with_access
def from_parameters(access: Access) -> None:
    """Print the document of a stack of the release before.

    It says what that stack has in its parameters. Nothing is published: keep what is printed,
    update the stack, then publish it.
    """
    from aep_intake_cli.failures import CannotGoOn
    from aep_intake_cli.limits import from_parameters
    from aep_intake_cli.output import print_json

    stack = access.deployed()
    if "CredentialSecretArns" not in stack.parameters:
        raise CannotGoOn(
            f"{stack.name}: it has none of the parameters of the release before: its limits are "
            "published"
        )
    document, remarks = from_parameters(stack.parameters)
    print_json(document)
    for remark in remarks:
        click.secho(remark, err=True, fg="yellow")
