"""How results are printed."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click
from aep_intake.report.visible import UNPRINTABLE
from aep_intake.report.visible import visible as visible  # noqa: PLC0414 - commands print by this module
from rich.console import Console

if TYPE_CHECKING:
    from rich.status import Status

# Wider than any line, since programs that read a pipe want whole lines.
PIPE_COLUMNS = 1000


def console(*, err: bool = False) -> Console:
    """Standard output (or error), as wide as the terminal; lines in a pipe are not folded."""
    folded = (sys.stderr if err else sys.stdout).isatty() or "COLUMNS" in os.environ
    return Console(width=None if folded else PIPE_COLUMNS, stderr=err)


def progress(text: str) -> Status:
    """Show on a terminal what the command does; it goes to standard error, not into a pipe."""
    return Console(stderr=True).status(text)


def print_json(value: object) -> None:
    """Print to standard output. What cannot be printed is escaped, as JSON allows."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def quantity(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_json_line(value: object) -> None:
    """Print one of many in one line; all but ASCII is escaped."""
    click.echo(json.dumps(value))
