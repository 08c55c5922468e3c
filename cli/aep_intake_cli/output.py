"""Where results go."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

if TYPE_CHECKING:
    from rich.status import Status

# Wider than any line: what reads a pipe wants lines as they are.
PIPED = 1000


def console() -> Console:
    """Standard output; as wide as the terminal, and not folded where it is no terminal."""
    folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if folded else PIPED)


def progress(text: str) -> Status:
    """Says what is going on, on a terminal; what is piped stays clean."""
    return Console(stderr=True).status(text)


def print_json(value: object) -> None:
    """To standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
