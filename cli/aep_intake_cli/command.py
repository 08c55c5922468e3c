"""The command `aep-intake`, and the one place that turns its errors into words and exit codes."""

from __future__ import annotations

from collections.abc import Sequence

import click

from aep_intake_cli.commands import (
    backfill,
    batch,
    connect,
    console,
    discard,
    doctor,
    file,
    files,
    limits,
    parked,
    pause,
    probe,
    reconcile,
    redrive,
    restored,
    revert,
    routes,
    status,
    watch,
)

# As shells report a command that Ctrl-C ended, or a pipe that nobody reads any more.
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aep-intake", prog_name="aep-intake")
def aep_intake() -> None:
    """Operate a deployed stack of aep-intake: batches for Adobe Experience Platform.

    Commands use your AWS credentials, as the aws command does (AWS_PROFILE, AWS_REGION, or
    --profile and --region). They work on the stack called aep-intake, unless --stack or
    AEP_INTAKE_STACK names another.

    \b
    Exit codes: 0  success
                1  a check found a problem, or the command failed and says why
                2  the command line is wrong
                130, 141  it was stopped: by Ctrl-C, or as nobody reads its output

    \b
    Completion for your shell (bash, zsh, fish):
      eval "$(_AEP_INTAKE_COMPLETE=bash_source aep-intake)"
    """


for module in (
    doctor,
    status,
    watch,
    console,
    file,
    files,
    batch,
    connect,
    backfill,
    reconcile,
    routes,
    limits,
    parked,
    redrive,
    discard,
    pause,
    revert,
    restored,
    probe,
):
    aep_intake.add_command(module.command)
aep_intake.add_command(pause.resume)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. An error that nobody expects is raised: a bug."""
    try:
        code = aep_intake.main(arguments, prog_name="aep-intake", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Stopped.", err=True)
        return EXIT_INTERRUPTED
    except SystemExit as stopped:
        if stopped.code != 1:
            raise
        return EXIT_PIPE_CLOSED  # click and rich end so, and silence the rest
    except Exception as error:
        from aep_intake_cli.failures import explain_error

        text = explain_error(error)
        if text is None:
            raise
        click.secho(f"Error: {text}", err=True, fg="red")
        return 1
    return code or 0
