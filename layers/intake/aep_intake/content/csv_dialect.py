"""How a CSV is written, and what comes before its first row."""

import re
from collections.abc import Mapping
from typing import Any

from aep_intake.model.errors import FormatMismatch
from aep_intake.model.values import dataclass

# Enough to see a byte order mark and `sep=` with its delimiter.
PROLOGUE_BYTES = 64
BOM = b"\xef\xbb\xbf"
# Excel takes the rest of such a line for the delimiter; some writers put it into quotes.
_SEP = re.compile(rb'("?)sep=([^"\r\n]+?|")\1[ \t]*(?:\r\n?|\n)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV is written. Empty if it does not have such a mark."""

    delimiter: bytes
    quote: bytes
    escape: bytes
    header: bool
    charset: str


def readable(input_format: Mapping[str, Any]) -> bool:
    """Whether a CSV of this format can be read here.

    Adobe documents single characters, of which some are several bytes of UTF-8: not as a quote or
    an escape character.
    """
    dialect = dialect_of(input_format)
    marks = [*filter(None, (dialect.quote, dialect.escape))]
    ends = b"\r\n"
    return (
        bool(dialect.delimiter)
        and all(len(mark) == 1 and mark not in ends for mark in marks)
        and not any(byte in ends or byte in b"".join(marks) for byte in dialect.delimiter)
    )


def dialect_of(input_format: Mapping[str, Any]) -> Dialect:
    """Adobe's defaults are those of its preview and data access APIs."""
    charset = str(input_format.get("charset") or "UTF-8")
    if charset.upper().startswith("UTF-16"):  # of which UTF-8 was made
        charset = "UTF-8"
    delimiter, quote, escape = (
        str(input_format.get(name, default)).encode(charset, "backslashreplace")
        for name, default in (("delimiter", ","), ("quote", '"'), ("escape", "\\"))
    )
    header = str(input_format.get("header", True)).lower() == "true"
    # Doubled quotes need no escape character, and without quotes nothing is escaped.
    return Dialect(delimiter, quote, escape if quote != escape and quote else b"", header, charset)


def prologue(beginning: bytes, input_format: Mapping[str, Any]) -> int:
    """How many bytes are before the first row and do not go up: a byte order mark, a `sep=` line.

    `beginning`: the first PROLOGUE_BYTES of the file. Raises FormatMismatch, without the file's
    name, where `sep=` names another delimiter than the format.
    """
    dialect = dialect_of(input_format)
    start = 0
    if dialect.charset.upper() in ("UTF-8", "US-ASCII"):
        while beginning.startswith(BOM, start):  # tools that copy files put one before another
            start += len(BOM)
    line = _SEP.match(beginning, start)
    if line is None:
        return start
    if line[2] != dialect.delimiter:
        said = line[2].decode(dialect.charset, "replace")
        raise FormatMismatch(
            f"its first line says sep={said!r}, but its inputFormat has the delimiter "
            f"{dialect.delimiter.decode(dialect.charset, 'replace')!r}: give the route "
            f'"inputFormat": {{"format": "csv", "delimiter": …}} as the file says'
        )
    return line.end()


def may_be_prologue(text: bytes) -> bool:
    """Whether the next bytes may show that a file begins with a prologue, or with a longer one."""
    line = text
    while line.startswith(BOM):
        line = line.removeprefix(BOM)
    begun = b"sep=".startswith(line.lstrip(b'"')[:4].lower())
    ended = b"\n" in line or b"\r" in line[:-1] or len(text) >= PROLOGUE_BYTES
    return BOM.startswith(line) or (begun and not ended)
