"""`aep-intake limits`: organizations and limits."""

from __future__ import annotations

import click

from aep_intake_cli.commands.publish import add_publish_and_rollback
from aep_intake_cli.commands.versions import add_live_history_and_diff
from aep_intake_cli.options import Access, with_access


@click.group("limits")
def command() -> None:
    """Organizations (credentials, sandboxes) and limits."""


add_live_history_and_diff(command, "limits", "DOCUMENT")
add_publish_and_rollback(
    command,
    "limits",
    "DOCUMENT",
    "DOCUMENT is a JSON file of organizations and limits. It is checked by its schema and against "
    "the secrets that the stack names. If it has problems, nothing is uploaded.",
    warn=lambda _, __: None,
)


@command.command()
@with_access
def from_parameters(access: Access) -> None:
    """Print the document for a stack of the previous release.

    It says what that stack has in its parameters. Nothing is published: save the document, update
    the stack, then publish the document.
    """
    from aep_intake_cli.failures import CommandFailed
    from aep_intake_cli.limits import from_parameters
    from aep_intake_cli.output import print_json

    stack = access.stack()
    if "CredentialSecretArns" not in stack.parameters:
        raise CommandFailed(
            f"stack {stack.name} has none of the parameters of the previous release: its limits "
            "are a published document already"
        )
    document, remarks = from_parameters(stack.parameters)
    print_json(document)
    for remark in remarks:
        click.secho(remark, err=True, fg="yellow")
