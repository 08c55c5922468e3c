"""The results of a check."""

from collections.abc import Iterator
from enum import StrEnum


class CheckVerdict(StrEnum):
    """OK; NOTE: works, but know it or improve it; PROBLEM: something does not work."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


OK, NOTE, PROBLEM = CheckVerdict
type Findings = Iterator[tuple[CheckVerdict, str]]
