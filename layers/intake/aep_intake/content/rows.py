"""Rows as readers of files give them: a block of whole rows at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that breaks a rule of its format."""

    number: int  # of the row, from 1 where its reader began
    rule: str  # in words, without a value of the row


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows, as they go up."""

    text: bytes
    rows: int  # in `text`; a CSV's header is none
    broken: tuple[BrokenRow, ...] = ()
