"""How results are printed."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

if TYPE_CHECKING:
    from rich.status import Status

# Wider than any line, since programs that read a pipe want whole lines.
PIPE_COLUMNS = 1000


def console() -> Console:
    """Standard output, as wide as the terminal; lines in a pipe are not folded."""
    folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if folded else PIPE_COLUMNS)


def progress(text: str) -> Status:
    """Show on a terminal what the command does; it goes to standard error, not into a pipe."""
    return Console(stderr=True).status(text)


def print_json(value: object) -> None:
    """Print to standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def quantity(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
