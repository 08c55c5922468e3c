"""`aep-intake probe`: first contact with a real Adobe sandbox."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import FILE, Access, as_json, with_access_if_named

if TYPE_CHECKING:
    from aep_intake_cli.probe.cleanup import Ended
    from aep_intake_cli.probe.report import Answered

STYLES = {"as assumed": "green", "handled": "yellow", "differs": "bold red", "no answer": "red"}


@click.command("probe")
@click.option("--dataset", required=True, metavar="ID", help="A dataset made for the probe.")
@click.option("--name", required=True, metavar="NAME", help="Its name, to be sure.")
@click.option("--sandbox", metavar="NAME", help="Its sandbox.  [default: the first of the stack]")
@click.option(
    "--credential-file",
    type=FILE,
    metavar="FILE",
    help="The JSON of Developer Console, in place of a secret of the stack.",
)
@click.option("--credential", metavar="NAME", help="A secret of the stack.  [default: the first]")
@click.option("--production", is_flag=True, help="Allow a production sandbox.")
@click.option("--cleanup", is_flag=True, help="Only end what earlier probes left behind.")
@click.option(
    "--store",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write organizations and limits, with the settings that follow, to FILE.",
)
@as_json
@with_access_if_named
def command(
    *,
    dataset: str,
    name: str,
    sandbox: str | None,
    credential_file: Path | None,
    credential: str | None,
    production: bool,
    cleanup: bool,
    store: Path | None,
    as_json: bool,
    access: Access | None,
) -> int:
    """Ask a real AEP what no document answers.

    Some twenty batches of one row are made in the dataset, and aborted or reverted at the end. It
    must be empty and not enabled for Profile: make one for the probe. Asked are the questions that
    its schema allows: probe one dataset with an XDM schema, and one with an ad-hoc schema. It takes
    as long as AEP takes for two batches, one after the other, or up to five.

    \b
    Exit codes: 0  AEP is as the intake assumes
                1  something differs, or was not answered
                2  refused: the dataset may not be probed
    """
    from aep_intake_cli.output import print_json, progress
    from aep_intake_cli.probe import report
    from aep_intake_cli.probe.access import entrance, open_dataset
    from aep_intake_cli.probe.cleanup import clean_up
    from aep_intake_cli.probe.rows import ProbeRefused

    if store is not None and store.exists():
        raise click.BadParameter(f"{store} is there already", param_hint="'--store'")
    if credential_file is not None and credential is not None:
        raise click.UsageError("give --credential or --credential-file, not both")
    at = entrance(access, credential_file, credential)
    sandbox = sandbox or at.sandbox
    try:
        probed = open_dataset(at, sandbox, dataset, name, production=production, cleaning=cleanup)
    except ProbeRefused as refused:
        click.secho(f"Refused: {refused}", err=True, fg="red")
        return 2
    lines: list[Answered] = []
    ended: list[Ended] = []
    try:
        with progress("asking AEP") as status:
            for line in () if cleanup else report.ask(probed, at.limits):
                lines.append(line)
                status.update(f"asking AEP: {len(lines)} answers; others wait for their batches")
    finally:
        with progress("ending the batches; if you stop this, run it again with --cleanup"):
            ended += clean_up(probed)
    lines = report.in_order(lines)
    settings = report.settings_of(lines)
    if as_json:
        print_json(
            {
                "dataset": dataset,
                "sandbox": sandbox,
                "run": probed.run,
                "questions": [line.document() for line in lines],
                "settings": settings,
                "batches": [asdict(one) for one in ended],
            }
        )
    else:
        click.echo(f"Dataset {name} ({dataset}) in sandbox {sandbox}, run {probed.run}")
        _show(lines, settings, ended)
    if store is not None and settings:
        document = report.with_settings(at.organizations, settings)
        store.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    left = any(one.left for one in ended)
    return 0 if report.as_assumed(lines) and not left else 1


def _show(
    lines: Sequence[Answered], settings: Mapping[str, int | str], ended: Sequence[Ended]
) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    from aep_intake_cli.output import console, visible

    screen = console()
    names = ("question", "AEP's answer", "", "what it means", "setting")
    table = Table(*(Column(name, overflow="fold") for name in names))
    for one in lines:
        verdict = Text(one.verdict, STYLES.get(one.verdict, ""))
        follows = ", ".join(f"{name} {value}" for name, value in one.settings.items())
        told = [Text(visible(text)) for text in (one.question.asks, one.answer, one.means, follows)]
        table.add_row(*told[:2], verdict, *told[2:])
    if lines:
        screen.print(table)
    if settings:
        screen.print(f"Settings that follow, for your limits: {json.dumps(settings)}", markup=False)
        screen.print("--store FILE writes them; then: aep-intake limits publish FILE")
    elif lines:
        screen.print("No setting follows.")
    done = Counter(one.done for one in ended if not one.left)
    became = ", ".join(f"{many} {what}" for what, many in sorted(done.items()))
    screen.print(f"Batches of the probe: {became or 'none'}.")
    for batch in ended:
        if batch.left:
            text = visible(f"Left: batch {batch.batch_id} ({batch.made_for}): {batch.done}")
            screen.print(Text(text, "bold red"))
