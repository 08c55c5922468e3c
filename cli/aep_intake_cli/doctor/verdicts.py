"""What a check finds."""

from collections.abc import Iterator
from enum import StrEnum


class Verdict(StrEnum):
    """OK; NOTE: works, but should be known; PROBLEM: something will not work."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


OK, NOTE, PROBLEM = Verdict
type Findings = Iterator[tuple[Verdict, str]]
