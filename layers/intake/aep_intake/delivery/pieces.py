"""Pieces: a file larger than Adobe takes in one PUT is cut between its rows.

Adobe takes 256 MB in one PUT and is withdrawing uploads in chunks, but a batch holds many files: a
large one goes up as several, each of whole rows, a CSV's header before each of them. Cuts are
planned once and stored, so that a repeated upload overwrites itself.

A row of JSON Lines ends at a newline; a row of CSV, at a newline outside of quotes.
Adobe's defaults are `"` around values and `\\` before a quote in one (preview, data access API).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from aep_intake.model.errors import TooLarge
from aep_intake.model.files import Arrival
from aep_intake.model.records import Kept

CHUNK = 2**20  # bytes
# Opens the bytes of a file from an offset, up to another one.
type Open = Callable[[int, int], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Cut(Kept):
    """Where the pieces of a file end. The first `header` bytes come before each later piece."""

    ends: tuple[int, ...]
    header: int = 0

    def whole(self, file: Arrival) -> bool:
        """Whether all ends are known."""
        return self.ends[-1:] == (file.size,)


@dataclass(frozen=True, slots=True)
class Piece(Kept):
    """The bytes of a file that are uploaded at a time: from `start` up to `end`.

    A whole file of rows is converted as it goes up (see `content.parts`), and becomes one or more
    files in the batch; all others are uploaded as they are.
    """

    number: int  # its place among the pieces of its batch
    file: Arrival
    start: int
    end: int
    header: int = 0  # first bytes of the file that come before these

    @property
    def whole(self) -> bool:
        """Whether it is all of its file."""
        return (self.start, self.end) == (0, self.file.size)

    @property
    def size(self) -> int:
        """Bytes, as they are in S3."""
        return self.end - self.start + self.header

    def path(self, number: int = 0) -> str:
        """The unique, URL-safe name of its file in the batch; of its `number`th, if converted."""
        name = re.sub(r"\.gz$", "", self.file.path, flags=re.IGNORECASE)
        if self.whole:
            return _with(name, f"{number:05}") if number else name
        return _with(name, f"{self.start}-{self.end}")


def pieces(files: Iterable[Arrival], cuts: Mapping[int, Cut]) -> Iterator[Piece]:
    """All pieces of a batch. `cuts`: of those files that are cut, by their place."""
    number = 0
    for place, file in enumerate(files):
        cut = cuts.get(place, Cut((file.size,)))
        start = 0
        for end in cut.ends:
            yield Piece(number, file, start, end, cut.header if start else 0)
            number, start = number + 1, end


def cut(file: Arrival, input_format: Mapping[str, Any], limit: int, opened: Open) -> Cut | None:
    """The cut of a file into pieces of at most `limit` bytes; None if it needs none.

    Raises TooLarge if that is impossible, or as `opened`.
    """
    found = list(cutting(file, input_format, limit, opened))
    return found[-1] if found else None


def cutting(
    file: Arrival,
    input_format: Mapping[str, Any],
    limit: int,
    opened: Open,
    known: Cut | None = None,
) -> Iterator[Cut]:
    """As `cut`, yielding the cut again with each new end: another worker may resume a `known` one.

    The last is complete; see `Cut.whole`.
    """
    if file.size <= limit or file.gzipped:
        return
    if not has_rows(input_format):
        raise _too_large(file, limit)
    if input_format["format"] == "csv":
        yield from _cut_csv(file, input_format, limit, opened, known or Cut(()))
    else:
        yield Cut(tuple(_ends(file, limit, opened)))


def has_rows(input_format: Mapping[str, Any]) -> bool:
    """Whether files of this format can be cut between rows."""
    if input_format["format"] == "csv":
        return all(len(mark) <= 1 for mark in _marks(input_format))
    return input_format["format"] == "json" and not input_format.get("isMultiLineJson")


def _ends(file: Arrival, limit: int, opened: Open) -> Iterator[int]:
    start = 0
    while file.size - start > limit:
        end = start + limit
        newline = -1
        while newline < 0:
            near = max(start, end - CHUNK)
            newline = _read(opened, near, end).rfind(b"\n")
            if near == start and newline < 0:
                raise _row_too_large(file, limit)
            end = near
        start = near + newline + 1
        yield start
    yield file.size


def _read(opened: Open, start: int, end: int) -> bytes:
    with opened(start, end) as stream:
        return stream.read()


def _cut_csv(
    file: Arrival, input_format: Mapping[str, Any], limit: int, opened: Open, known: Cut
) -> Iterator[Cut]:
    """Only the text before a newline shows whether it is in quotes, so the whole file is read.

    But reading resumes after the `known` ends, since a row begins where a piece has ended.
    """
    rows = Rows(input_format, known.header if known.ends else None)
    ends = list(known.ends)
    start = last = at = ends[-1] if ends else 0
    with opened(start, file.size) as stream:
        while chunk := stream.read(min(CHUNK, limit // 4)):
            last_end, header = rows.last_end(chunk), rows.header
            if at + len(chunk) - start + (header if start else 0) > limit:
                rest = at + len(chunk) - last
                if last <= max(start, header) or header + rest > limit:
                    raise _row_too_large(file, limit)
                ends.append(last)
                start = last
                yield Cut(tuple(ends), header)
            last = at + last_end if last_end else last
            at += len(chunk)
    yield Cut((*ends, file.size), rows.header)


class Rows:
    """Finds the ends of rows in a file that is read chunk by chunk.

    It starts at the beginning, or at a later row if `header` is known. `header`: bytes of a CSV's
    header; 0 if there is none, or its end has not come yet.
    """

    def __init__(self, input_format: Mapping[str, Any], header: int | None = None) -> None:
        csv = input_format["format"] == "csv"
        has_header = csv and str(input_format.get("header", True)).lower() == "true"
        self.header = header or 0
        self._in_header = has_header and header is None
        self._quote, escape = _marks(input_format) if csv else (b"", b"")
        # Doubled quotes within a value do not disturb the count.
        self._escape = b"" if escape == self._quote or not self._quote else escape
        self._escaped = re.compile(re.escape(self._escape) + rb"[^\n]")
        self._passed = 0
        self._inside = False
        self._escaping = False

    def last_end(self, chunk: bytes) -> int:
        """The offset in the next chunk at which its last row ends; 0 if no row ends in it."""
        text = self._plain(chunk)
        if self._in_header and (end := self._first_end(text)):
            self.header, self._in_header = self._passed + end, False
        self._passed += len(text)
        self._inside = inside = self._inside ^ self._odd(text, 0, len(text))
        end = len(text)
        while (newline := text.rfind(b"\n", 0, end)) >= 0:
            inside ^= self._odd(text, newline, end)
            if not inside:
                return newline + 1
            end = newline
        return 0

    def _first_end(self, text: bytes) -> int:
        end = 0
        while (end := text.find(b"\n", end) + 1) > 0:
            if not self._inside ^ self._odd(text, 0, end):
                return end
        return 0

    def _odd(self, text: bytes, start: int, end: int) -> bool:
        """Whether the number of quotes between the two is odd: one is in a value, the other not."""
        return bool(self._quote) and text.count(self._quote, start, end) % 2 == 1

    def _plain(self, chunk: bytes) -> bytes:
        """The chunk with escaped bytes overwritten, so that all others keep their place.

        A newline stays: within quotes it ends no row, and outside of them nothing escapes it.
        """
        if not self._escape:
            return chunk
        text = b"\0" + chunk[1:] if self._escaping and not chunk.startswith(b"\n") else chunk
        text = self._escaped.sub(b"\0\0", text)
        self._escaping = text.endswith(self._escape)
        return text


def _marks(input_format: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The quote and the escape character of a CSV."""
    charset = input_format.get("charset", "UTF-8")
    quote, escape = input_format.get("quote", '"'), input_format.get("escape", "\\")
    return quote.encode(charset, "backslashreplace"), escape.encode(charset, "backslashreplace")


def _with(path: str, piece: str) -> str:
    name, dot, ending = path.rpartition(".")
    return f"{name}-{piece}{dot}{ending}" if dot else f"{path}-{piece}"


def _too_large(file: Arrival, limit: int) -> TooLarge:
    return TooLarge(
        f"{file.uri} has more than {limit:,} bytes, the most that AEP takes of a file that cannot "
        "be split: write smaller files"
    )


def _row_too_large(file: Arrival, limit: int) -> TooLarge:
    return TooLarge(f"{file.uri} has a row of nearly {limit:,} bytes, so it cannot be split")
