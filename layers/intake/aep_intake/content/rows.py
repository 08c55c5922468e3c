"""What a reader of rows hands over: whole rows, however the bytes came."""

from collections.abc import Mapping
from typing import Any, Protocol

from aep_intake.content.csv_dialect import readable
from aep_intake.model.records import Kept
from aep_intake.model.values import dataclass

EXAMPLES = 5  # broken rows that are named


@dataclass(frozen=True, slots=True)
class Place(Kept):
    """Where a row begins, at which a part may."""

    offset: int = 0  # bytes of the file, unpacked
    rows: int = 0  # before it
    # Of JSON: whether it is in a list. Of CSV: whether CR alone ends rows, if anything shows it.
    state: bool | None = None


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that AEP could not read as it is."""

    row: int  # its number in the file, from 1; a header is 0
    at: int  # the byte of the file at which it begins
    rule: str  # what it breaks; never a value
    column: str = ""  # which breaks it, where that is known


def wrong_width(values: int, columns: int) -> str:
    """The rule that a row with so many values breaks, where there are so many columns."""
    has, wants = "" if values == 1 else "s", "is" if columns == 1 else "are"
    return f"it has {values} value{has}, and {columns} {wants} expected"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows, one after the other.

    `text`: their bytes, each row with its end, but for the last row of a file that has none there;
    without the header. `rows`: how many they are; blank lines are none.
    """

    text: bytes = b""
    rows: int = 0
    broken: tuple[BrokenRow, ...] = ()

    @property
    def good(self) -> int:
        """How many of its rows are not broken."""
        return self.rows - len(self.broken)

    def plus(self, more: "Block") -> "Block":
        """With the rows behind it."""
        return Block(self.text + more.text, self.rows + more.rows, self.broken + more.broken)


class RowReader(Protocol):
    """Reads a file chunk by chunk, which may end anywhere.

    `at`: bytes of the file before the first row that was not handed over yet. `rows`: how many rows
    were handed over. `header`: a CSV's header, with its end; empty until it has been read.
    `row_end`: the bytes with which rows end.
    """

    at: int
    rows: int
    header: bytes
    row_end: bytes

    def feed(self, chunk: bytes) -> Block:
        """The rows that end within this chunk. Raises FormatMismatch."""

    def end(self) -> Block:
        """The last row, if it has no end of its own. Raises FormatMismatch."""

    def unfinished(self) -> str:
        """What is known of the row that was begun and has no end yet."""


def is_csv(input_format: Mapping[str, Any]) -> bool:
    """Whether files of this format are CSV; Adobe's documents write formats in either case."""
    return str(input_format.get("format")).lower() == "csv"


def has_rows(input_format: Mapping[str, Any]) -> bool:
    """Whether rows of this format can be told apart; else a file goes up as one, or not at all."""
    if is_csv(input_format):
        return readable(input_format)
    lines = not input_format.get("isMultiLineJson")
    return str(input_format.get("format")).lower() == "json" and lines
