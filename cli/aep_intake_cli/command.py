"""The command `aep-intake`, and the one place where its errors become words and exit codes."""

from __future__ import annotations

from collections.abc import Sequence

import click

from aep_intake_cli.commands import connect, doctor, limits, redrive, restored, routes

STOPPED = 130  # as shells tell of what Ctrl-C has ended


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aep-intake", prog_name="aep-intake")
def aep_intake() -> None:
    """Operate an intake of batches for Adobe Experience Platform: a deployed stack of aep-intake.

    Commands use your AWS credentials, as the aws command does (AWS_PROFILE, AWS_REGION, or
    --profile and --region). They ask the stack called aep-intake, unless --stack or
    AEP_INTAKE_STACK names another.

    \b
    Exit codes: 0  all is well
                1  something is wrong: a finding, or the command could not do it, and says why
                2  the command was not understood

    \b
    Completion for your shell (bash, zsh, fish):
      eval "$(_AEP_INTAKE_COMPLETE=bash_source aep-intake)"
    """


for command in (doctor, connect, routes, limits, redrive, restored):
    aep_intake.add_command(command.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is typed; the exit code. What is no expected error is a bug, and is raised."""
    try:
        status = aep_intake.main(arguments, prog_name="aep-intake", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except click.Abort:
        click.echo("Stopped.", err=True)
        return STOPPED
    except Exception as error:
        from aep_intake_cli.failures import in_words

        words = in_words(error)
        if words is None:
            raise
        click.secho(f"Error: {words}", err=True, fg="red")
        return 1
    return status or 0
