"""How results are printed."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

if TYPE_CHECKING:
    from rich.status import Status

# Wider than any line, since programs that read a pipe want whole lines.
PIPE_COLUMNS = 1000
# Controls, marks that turn the direction of text, halves of surrogates: terminals obey them, or
# cannot show them. Line ends are those of JSON.
_UNPRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


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
    click.echo(_UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def visible(text: str) -> str:
    """A text of somebody else's, such as a value of a file, that a terminal only shows."""
    text = text.replace("\n", "\\n")
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def quantity(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
