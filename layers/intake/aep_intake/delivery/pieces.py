"""Pieces: a file larger than Adobe takes in one PUT is cut between its rows; small ones share one.

Adobe takes 256 MB in one PUT and is withdrawing uploads in chunks, but a batch holds many files: a
large one goes up as several, each of whole rows, a CSV's header before each of them. Cuts are
planned once and stored, so that a repeated upload overwrites itself.

A row of JSON Lines ends at a newline; where a row of CSV ends, `content.csv` knows.

Small files that follow each other are a run: see `together`. Which ones is decided by their sizes
alone, so a plan that is made again is the same.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

from aep_intake.content import csv
from aep_intake.content.csv_dialect import PROLOGUE_BYTES, prologue
from aep_intake.content.rows import has_rows, is_csv
from aep_intake.model.errors import FormatMismatch, Rejected, TooLarge
from aep_intake.model.files import Arrival
from aep_intake.model.records import Kept
from aep_intake.model.sharing import Sharing, unpacked
from aep_intake.model.values import dataclass

CHUNK = 2**20  # bytes
# Opens the bytes of a file from an offset, up to another one.
type OpenRange = Callable[[int, int], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Refused(Kept):
    """Why a file cannot be cut. `detail` does not name it."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Cut(Kept):
    """Where the pieces of a file end. The first `header` bytes come before each later piece."""

    ends: tuple[int, ...]
    header: int = 0
    rows: tuple[int, ...] = ()  # of a CSV, before each end
    lone_cr: bool = False  # whether CR alone ends its rows
    refused: Refused | None = None  # then it is one piece, whose upload says why
    behind: int = 0  # bytes behind the last row that are not uploaded

    def whole(self, file: Arrival) -> bool:
        """Whether all ends are known."""
        return self.ends[-1:] == (file.size - self.behind,)


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
    row: int = 0  # the number in the file of its first row, from 1; 0: nobody counted
    refused: Refused | None = None

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
        name = re.sub(r"\.gz(ip)?$", "", self.file.path, flags=re.IGNORECASE)
        if self.whole:
            return _with(name, f"{number:05}") if number else name
        return _with(name, f"{self.start}-{self.end}")


@dataclass(frozen=True, slots=True)
class Run(Kept):
    """Small files that are uploaded together: of those of the batch, from `first` up to `end`."""

    number: int  # its place among the pieces of its batch
    first: int
    end: int
    bytes: int  # about, as AEP gets them

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self.bytes

    def path(self, number: int, input_format: Mapping[str, Any]) -> str:
        """The unique, URL-safe name of its `number`th upload in the batch."""
        ending = str(input_format.get("format")).lower()
        return f"files-{self.first:06}-{self.end:06}-{number:05}.{ending}"


def pieces_and_runs(
    files: Sequence[Arrival], cuts: Mapping[int, Cut], sharing: Sharing | None
) -> Iterator[Piece | Run]:
    """All pieces of a batch. `cuts`: of the files that are cut, by place."""
    number = place = 0
    while place < len(files):
        count = size = 0
        if sharing is not None:
            count, size = sharing.run(map(unpacked, islice(files, place, None)))
        if count > 1:
            yield Run(number, place, place + count, size)
            number, place = number + 1, place + count
            continue
        for piece in _pieces_of(files[place], cuts.get(place), number):
            yield piece
            number += 1
        place += 1


def _pieces_of(file: Arrival, known: Cut | None, number: int) -> Iterator[Piece]:
    """The pieces of one file, of which the first has this number."""
    cut = known or Cut((file.size,))
    counted = len(cut.rows) == len(cut.ends)
    start, before = 0, 0
    for end, rows in zip(cut.ends, cut.rows if counted else cut.ends, strict=True):
        row = before + 1 if counted else 0
        yield Piece(number, file, start, end, cut.header if start else 0, row, cut.refused)
        number, start, before = number + 1, end, rows


def cutting(
    file: Arrival,
    input_format: Mapping[str, Any],
    limit: int,
    opened: OpenRange,
    known: Cut | None = None,
) -> Iterator[Cut]:
    """The cut of a file into pieces of at most `limit` bytes, again with each new end.

    Another worker may resume a `known` one. The last is complete (see `Cut.whole`); there is none
    if the file needs no cut. Raises TooLarge if files of its format cannot be cut, or as `opened`.
    """
    if file.size <= limit or file.gzipped:
        return
    if not has_rows(input_format):
        raise too_large(file, limit)
    try:
        if is_csv(input_format):
            yield from _cut_csv(file, input_format, limit, opened, known or Cut(()))
        else:
            yield Cut(tuple(_ends(file, limit, opened)))
    except (FormatMismatch, TooLarge) as fault:
        yield Cut((file.size,), refused=Refused(fault.reason, fault.detail))


def _ends(file: Arrival, limit: int, opened: OpenRange) -> Iterator[int]:
    start = 0
    while file.size - start > limit:
        end = start + limit
        newline = -1
        while newline < 0:
            near = max(start, end - CHUNK)
            newline = _read(opened, near, end).rfind(b"\n")
            if near == start and newline < 0:
                raise TooLarge(f"a row, which begins at byte {start:,}, has nearly {limit:,} bytes")
            end = near
        start = near + newline + 1
        yield start
    yield file.size


def _read(opened: OpenRange, start: int, end: int) -> bytes:
    with opened(start, end) as stream:
        return stream.read()


def _cut_csv(
    file: Arrival, input_format: Mapping[str, Any], limit: int, opened: OpenRange, known: Cut
) -> Iterator[Cut]:
    """Only what comes before a newline shows whether it ends a row, so the whole file is read.

    But reading resumes after the `known` ends, since a row begins where a piece has ended; not
    after those of an earlier release, which counted no rows, and took any quote for one of CSV.
    """
    if len(known.rows) != len(known.ends):
        known = Cut(())
    ends, rows, header = list(known.ends), list(known.rows), known.header
    start = ends[-1] if ends else 0
    reader = csv.CsvReader(input_format)
    if ends:  # the header says what is a row
        first = _read(opened, 0, header) if header else b""
        first = first[prologue(first[:PROLOGUE_BYTES], input_format) :]
        reader = csv.CsvReader(input_format, first, at=start, rows=rows[-1], lone_cr=known.lone_cr)
    with opened(start, file.size) as stream:
        chunk = b" "
        while chunk:
            chunk = stream.read(min(CHUNK, limit // 4))
            last, counted = reader.at, reader.rows
            _ = reader.feed(chunk) if chunk else reader.end()
            header = header or reader.header_end
            read = reader.at + reader.held
            if read - start + (header if start else 0) > limit:
                if last <= max(start, header) or header + read - last > limit:
                    raise _row_too_large(reader, last, counted, limit)
                ends.append(last)
                rows.append(counted)
                start = last
                yield Cut(tuple(ends), header, tuple(rows), bool(reader.lone_cr))
    if reader.at > start or not ends:
        ends, rows = [*ends, reader.at], [*rows, reader.rows]
    behind = file.size - reader.at  # control-Z of DOS
    yield Cut(tuple(ends), header, tuple(rows), bool(reader.lone_cr), behind=behind)


def _with(path: str, piece: str) -> str:
    name, dot, ending = path.rpartition(".")
    return f"{name}-{piece}{dot}{ending}" if dot else f"{path}-{piece}"


def uncut(file: Arrival, refused: Refused) -> Rejected:
    """Why a file cannot be uploaded, as found when it was to be cut."""
    kind = FormatMismatch if refused.reason == FormatMismatch.reason else TooLarge
    return kind(f"{file.uri}: {refused.detail}")


def too_large(file: Arrival, limit: int) -> TooLarge:
    """Of a file that cannot be cut. `limit` in bytes."""
    return TooLarge(
        f"{file.uri} has more than {limit:,} bytes, the most that AEP takes of a file that cannot "
        "be split: write smaller files"
    )


def _row_too_large(reader: csv.CsvReader, at: int, rows: int, limit: int) -> TooLarge:
    """Of the row that begins at a byte of the file, with so many rows before it."""
    if reader.at == at:
        return TooLarge(reader.unfinished())
    return TooLarge(
        f"row {rows + 1:,}, which begins at byte {at:,} of it, has nearly {limit:,} bytes, the "
        "most that AEP takes at a time"
    )
