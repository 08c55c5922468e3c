"""Rows that Profile drops without a word: their batch ends as `success`.

Adobe's limits hold for a row as JSON: 10 KB for an event, 100 KB for a record. An event has a
timestamp, which its class demands; a record's class knows none.
https://experienceleague.adobe.com/en/docs/experience-platform/profile/guardrails
"""

import json
from collections.abc import Iterator

from aep_intake.model.values import dataclass

EVENT_BYTES_MAX = 10_000
RECORD_BYTES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Oversized:
    """A row that is larger than Profile takes."""

    row: int  # its place among those that were looked at, from 0; blank lines are none
    size: int  # bytes


def oversized(lines: bytes) -> Iterator[Oversized]:
    """Those among whole rows of JSON Lines.

    Where all lines are small, this looks at one place in ten kilobytes.
    """
    start = rows = counted = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + EVENT_BYTES_MAX + 1) + 1
        if end:  # all lines up to here are small
            start = end
            continue
        end = lines.find(b"\n", start + EVENT_BYTES_MAX) + 1 or len(lines)
        line = lines[start:end].strip()
        if len(line) > (EVENT_BYTES_MAX if _is_event(line) else RECORD_BYTES_MAX):
            rows += sum(1 for each in lines[counted:start].split(b"\n") if each.strip())
            counted = start
            yield Oversized(rows, len(line))
        start = end


def _is_event(line: bytes) -> bool:
    if len(line) <= EVENT_BYTES_MAX or b'"timestamp"' not in line:
        return False
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and "timestamp" in row
