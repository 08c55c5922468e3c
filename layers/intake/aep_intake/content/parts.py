"""Converts a file of rows, from its start, into parts that AEP takes: UTF-8, rows whole, counted.

    members of a gzip → charset → rows (CSV as they are, JSON in lines) → map, if any → parts

A part is a function of the place where it begins, so it is the same in every try: a worker that
goes on where another one stopped unpacks what is before, and makes nothing of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

from aep_intake.content.csv import CsvReader
from aep_intake.content.csv_dialect import PROLOGUE_BYTES
from aep_intake.content.gzip import Gunzipped, Readable
from aep_intake.content.json_rows import JsonLines, JsonObjects
from aep_intake.content.oversized import oversized
from aep_intake.content.rows import (
    EXAMPLES,
    Block,
    BrokenRow,
    Place,
    RowReader,
    has_rows,
    is_csv,
)
from aep_intake.content.text import UTF_8, ToUtf8
from aep_intake.model.errors import TooLarge
from aep_intake.model.values import dataclass

if TYPE_CHECKING:  # few routes have a map, and a cold start does not load what reads it
    from aep_intake.content.bad_rows import BadRowsOfPart
    from aep_intake.content.mapping import RowMap

CHUNK = 2**20  # bytes
GROWTH = 64  # by which a map may make rows larger, for sure


@dataclass(frozen=True, slots=True)
class Shape:
    """What is in a file of rows, and how it goes up."""

    input_format: Mapping[str, Any]  # of the batch; of the file, in UTF-8, if its rows are mapped
    gzipped: bool = False
    # As Python names it. UTF-8 also if the batch has the same charset, whatever that is.
    charset: str = UTF_8
    bom: int = 0  # bytes of the byte order mark
    lines: bool = True  # of JSON: whether each row is a line

    @property
    def has_header(self) -> bool:
        """Whether a CSV has a header."""
        header = str(self.input_format.get("header", True)).lower()
        return is_csv(self.input_format) and header == "true"

    def reader(self, uri: str, place: Place, header: bytes | None = None) -> RowReader:
        """The reader of its rows from a place on. `header`: of a CSV, if it does not come again."""
        if not has_rows(self.input_format):
            return _NoRows()
        if is_csv(self.input_format):
            at, rows, lone_cr = place.offset, place.rows, place.state
            return CsvReader(self.input_format, header, at=at, rows=rows, lone_cr=lone_cr, uri=uri)
        if self.lines:
            return JsonLines(place.offset, place.rows)
        return JsonObjects(uri, place.offset, place.rows, inside=bool(place.state))


@dataclass(frozen=True, slots=True)
class Count:
    """The rows of some text, and how many of them are broken: those are left out by a map."""

    rows: int = 0
    broken: int = 0
    examples: tuple[BrokenRow, ...] = ()  # the first broken ones
    unmapped: int = 0  # rows that are not counted in `rows`, as they were left out
    oversized: int = 0  # rows that Profile drops
    first_oversized: int = 0  # the number of the first; 0 if there is none, or it is not known

    def plus(self, block: Block) -> "Count":
        """With the rows of a block."""
        more = (*self.examples, *block.broken[:EXAMPLES])[:EXAMPLES]
        return replace(
            self,
            rows=self.rows + block.rows,
            broken=self.broken + len(block.broken),
            examples=more,
        )

    def with_oversized(self, lines: bytes, before: int | None) -> "Count":
        """With the rows of JSON Lines that Profile drops. `before`: how many are before them."""
        found = list(oversized(lines))
        if not found:
            return self
        first = self.first_oversized
        if before is not None and not self.oversized:
            first = before + found[0].row + 1
        return replace(self, oversized=self.oversized + len(found), first_oversized=first)

    def sent(self, *, mapped: bool) -> "Count":
        """Of those that go up: a map leaves out the broken ones."""
        if not mapped:
            return self
        return replace(self, rows=self.rows - self.broken, broken=0, unmapped=self.broken)


@dataclass(frozen=True, slots=True)
class Part:
    """A part, to be read from its start. One without rows is not sent."""

    body: IO[bytes]
    size: int  # bytes
    count: Count
    next: Place | None  # where the next one begins; None behind the last
    header: bytes = b""  # a CSV's, with which it begins
    row_end: bytes = b""  # the bytes with which its rows end; its last row may lack them
    unmapped: tuple[str, ...] = ()  # columns that no map reads
    left_out: "BadRowsOfPart | None" = None  # rows that its map left out


class _Body(SpooledTemporaryFile[bytes]):
    """In memory, unless it is large: most are small. Closed when nobody needs it any more.

    What was read ahead is left behind if a file before it ends the work.
    """

    def __del__(self) -> None:
        self.close()


class Source:
    """The bytes of a file, unpacked, which may be given back once they were read."""

    def __init__(self, stream: Readable, uri: str, *, gzipped: bool) -> None:
        self._read = Gunzipped(stream, uri).read if gzipped else stream.read
        self._back, self._again = b"", 0  # of what was given back, how much was read again

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer at the end."""
        some = self._back[self._again : self._again + size]
        self._again += len(some)
        while len(some) < size and (more := self._read(size - len(some))):
            some += more
        return some

    def give_back(self, some: bytes) -> None:
        """Read these bytes again, next."""
        self._back, self._again = some + self._back[self._again :], 0

    def skip(self, size: int) -> None:
        """Leave out so many bytes."""
        while size and (passed := len(self.read(min(size, CHUNK)))):
            size -= passed


class _NoRows:
    """Reads a file in which nobody can tell rows apart."""

    at = rows = 0
    header = row_end = b""

    def feed(self, chunk: bytes) -> Block:
        """The chunk."""
        self.at += len(chunk)
        return Block(chunk)

    def end(self) -> Block:
        """Nothing."""
        return Block()

    def unfinished(self) -> str:
        """Why it is not split."""
        return "files of its format cannot be"


class Utf8Rows:
    """Reads rows of text in any charset as rows of UTF-8.

    `held`: bytes that were fed and are in no block yet.
    """

    def __init__(self, charset: str, reader: RowReader) -> None:
        self.reader, self.held = reader, 0
        self._text = ToUtf8(charset) if charset != UTF_8 else None
        self._passed = reader.at  # bytes of UTF-8
        self._rest = b""  # behind the last row, if it was made of other bytes

    def feed(self, chunk: bytes, *, final: bool = False) -> Block:
        """The rows that end in this chunk. `final`: it is the last one."""
        some = chunk if self._text is None else self._text.feed(chunk, final=final)
        block = self.reader.feed(some)
        if final:
            last = self.reader.end()
            broken = block.broken + last.broken
            block = Block(block.text + last.text, block.rows + last.rows, broken)
        self._passed += len(some)
        self.held = self._passed - self.reader.at
        if self._text is not None:
            self._rest = (self._rest + some)[-self.held :] if self.held else b""
            self.held = self._text.width(self._rest)
        return block

    @property
    def state(self) -> bool | None:
        """See `Place`."""
        match self.reader:
            case JsonObjects(inside=inside):
                return inside
            case CsvReader(lone_cr=lone_cr):
                return lone_cr
        return None


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a file, of `limit` bytes at most. `uri`: for errors.

    `keep_bad_rows`: rows that a map leaves out are handed over as they were read, too.
    """

    text: Source
    shape: Shape
    limit: int
    uri: str
    rows_map: "RowMap | None" = None
    keep_bad_rows: bool = False

    def since(self, place: Place | None = None) -> Iterator[Part]:
        """The parts from a place on; who needs one no more closes it.

        Raises TooLarge for a row of nearly the limit; or as the source and the readers.
        """
        begin, header = self._from(place)
        following: Place | None = begin
        while following is not None:
            part, header = self._part(following, header, cast("IO[bytes]", _Body(CHUNK)))
            following = part.next
            yield part

    def _from(self, place: Place | None) -> tuple[Place, bytes | None]:
        """The place from which on the text is read, and the header that comes before it."""
        if place is None or not place.offset:
            return Place(len(self.text.read(self.shape.bom))), None
        header = self._header()
        self.text.skip(place.offset)
        return place, header

    @property
    def _is_json(self) -> bool:
        """Whether what goes up is JSON Lines."""
        source = self.shape.input_format
        return self.rows_map is not None or (has_rows(source) and not is_csv(source))

    @property
    def _chunk(self) -> int:
        return max(1, min(CHUNK, self.limit // (4 if self.rows_map is None else GROWTH)))

    def _header(self) -> bytes:
        """The header of a CSV, as UTF-8; the bytes are given back."""
        if not self.shape.has_header:
            return b""
        read = self.text.read(self.shape.bom)
        rows = Utf8Rows(self.shape.charset, self.shape.reader(self.uri, Place(len(read))))
        while not rows.reader.header and (chunk := self.text.read(self._chunk)):
            rows.feed(chunk)
            read += chunk
        self.text.give_back(read)
        return rows.reader.header

    def _part(self, begin: Place, header: bytes | None, out: IO[bytes]) -> tuple[Part, bytes]:
        """The part that begins at a place, and the header of later ones."""
        rows = Utf8Rows(self.shape.charset, self.shape.reader(self.uri, begin, header))
        size, count, place, kept = 0, Count(), begin, bytearray()
        following: Place | None = None
        final, left_out = False, self._left_out()
        while not final:
            chunk = self.text.read(self._chunk)
            final = len(chunk) < self._chunk
            block = rows.feed(chunk, final=final)
            kept += chunk
            broken, text = block.broken, block.text if size else rows.reader.header + block.text
            if self.rows_map is not None:
                mapped = self.rows_map.of_block(rows.reader, block)
                broken, text = mapped.broken, mapped.text
            endless = len(kept) > self.limit + 2 * self._chunk + PROLOGUE_BYTES
            if endless or size + len(text) > self.limit:
                if not count.rows:
                    raise self._too_large(rows.reader)
                self.text.give_back(bytes(kept))
                following = place
                break
            if block.text or block.broken:  # a header may be broken, and all of its block
                size += out.write(text)
                if self._is_json:
                    before = begin.rows + count.rows if self.rows_map is None else None
                    count = count.with_oversized(text, before)
                count = count.plus(Block(b"", block.rows, broken))
                if left_out is not None and broken:
                    left_out.add(rows.reader, block, broken)
                place = Place(place.offset + len(kept) - rows.held, rows.reader.rows, rows.state)
                del kept[: len(kept) - rows.held]
        if self.rows_map is None and header is None and not size:  # a header may be all there is
            size = out.write(rows.reader.header)
        out.seek(0)
        header, end = rows.reader.header, rows.reader.row_end
        if self.rows_map is None:
            return Part(out, size, count, following, header, end), header
        columns = self.rows_map.unmapped_columns
        part = Part(out, size, count, following, b"", b"\n", columns, left_out)
        return part, header

    def _left_out(self) -> "BadRowsOfPart | None":
        if self.rows_map is None:
            return None
        from aep_intake.content.bad_rows import BadRowsOfPart  # noqa: PLC0415 - only where rows are mapped

        return BadRowsOfPart(self.uri, content=self.keep_bad_rows)

    def _too_large(self, reader: RowReader) -> TooLarge:
        what = "a row of nearly" if has_rows(self.shape.input_format) else "more than"
        return TooLarge(
            f"{self.uri} has {what} {self.limit:,} bytes, and cannot be split: "
            f"{reader.unfinished()}"
        )
