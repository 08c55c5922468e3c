"""How results are printed."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from aep_intake.model.times import day_of
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


def end_of(text: str, room: int) -> str:
    """As much of its end as there is room for."""
    return text if len(text) <= room else "…" + text[1 - room :]


def start_of(text: str, room: int) -> str:
    """As much of its start as there is room for."""
    return text if len(text) <= room else text[: room - 1] + "…"


def about_it(text: str, uri: str | None) -> str:
    """A reason that stands beside the address that it names."""
    if uri is None:
        return text
    # In quotes anywhere; without them where a sentence begins.
    named = rf"(?:{re.escape(repr(uri))}|(?:^|(?<=: )){re.escape(uri)}(?=[:, ]))"
    return re.sub(named, "it", re.sub(f"{named}: ", "", text))


def short_time(time: int, now: int) -> str:
    """A time of UTC (epoch ms), with the day if it is not today."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"{moment:%H:%M}" if day_of(time) == day_of(now) else f"{moment:%d %b %H:%M}"


def progress(text: str) -> Status:
    """Show on a terminal what the command does; it goes to standard error, not into a pipe."""
    return Console(stderr=True).status(text)


def print_json(value: object) -> None:
    """Print to standard output. What cannot be printed is escaped, as JSON allows."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def quantity(number: int, noun: str) -> str:
    """`1 route`, `2 routes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size(number: int) -> str:
    """Bytes for people: `1.2 GB`."""
    if not number:
        return ""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number} B"


def print_json_line(value: object) -> None:
    """Print one of many in one line; all but ASCII is escaped."""
    click.echo(json.dumps(value))
