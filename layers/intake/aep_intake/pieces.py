"""Pieces: how a file larger than Adobe takes in one PUT is cut between its rows.

Adobe takes 256 MB in one PUT and is withdrawing uploads in chunks, but a batch holds many files: a
large one goes up as several, each of whole rows, a CSV's header before each of them. Cuts are
planned once and kept, so that a repeated upload overwrites itself.

A row of JSON Lines ends at a newline; so does one of CSV, where the newline is in no quotes.
Adobe's defaults are `"` around values and `\\` before a quote in one (preview, data access API).
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from aep_intake.arrivals import Arrival
from aep_intake.errors import FormatMismatch, TooLarge

CHUNK = 2**20  # bytes
# Opens the bytes of a file from an offset, up to another one.
type Open = Callable[[int, int], IO[bytes]]


class Readable(Protocol):
    """What can be read once, from its start."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the pieces of a file end. The first `header` bytes come before each later piece."""

    ends: tuple[int, ...]
    header: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """What is uploaded at a time: the bytes of a file from `start` up to `end`.

    `number`: its place among the pieces of its batch. Before the bytes come the file's first
    `header` ones. A compressed file is one piece, and becomes as many files as it takes.
    """

    number: int
    file: Arrival
    start: int
    end: int
    header: int = 0

    @property
    def packed(self) -> bool:
        """Whether it is compressed; Adobe documents no compression for the batch API."""
        return is_packed(self.file)

    @property
    def size(self) -> int:
        """Bytes, as they are in S3."""
        return self.end - self.start + self.header

    def path(self, number: int = 0) -> str:
        """The unique, URL-safe name of its file in the batch; of the `number`th, if unpacked."""
        name = self.file.path
        if self.packed:
            name = re.sub(r"\.gz$", "", name, flags=re.IGNORECASE)
            return _with(name, f"{number:05}") if number else name
        if (self.start, self.end) == (0, self.file.size):
            return name
        return _with(name, f"{self.start}-{self.end}")


def is_packed(file: Arrival) -> bool:
    """Whether a file is compressed, by its name as Adobe's own sources go."""
    return file.key.lower().endswith(".gz")


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
    """How to cut a file into pieces of at most `limit` bytes; None if it goes up as it is.

    Raises TooLarge where that cannot be done, and what `opened` raises.
    """
    if file.size <= limit or is_packed(file):
        return None
    if not has_rows(input_format):
        raise _too_large(file, limit)
    if input_format["format"] == "csv":
        return _cut_csv(file, input_format, limit, opened)
    return Cut(tuple(_ends(file, limit, opened)))


def has_rows(input_format: Mapping[str, Any]) -> bool:
    """Whether files of this format can be cut between rows."""
    lines = input_format["format"] == "json" and not input_format.get("isMultiLineJson")
    return lines or input_format["format"] == "csv"


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


def _cut_csv(file: Arrival, input_format: Mapping[str, Any], limit: int, opened: Open) -> Cut:
    """Only what comes before a newline tells whether it is in quotes: so all of it is read."""
    rows = Rows(input_format)
    ends: list[int] = []
    start = last = at = header = 0
    with opened(0, file.size) as stream:
        while chunk := stream.read(min(CHUNK, limit // 4)):
            if at == 0:
                header = rows.header(chunk)
            last_end = rows.last_end(chunk)
            if at + len(chunk) - start + (header if start else 0) > limit:
                if last <= max(start, header):
                    raise _row_too_large(file, limit)
                ends.append(last)
                start = last
            last = at + last_end if last_end else last
            at += len(chunk)
    return Cut((*ends, file.size), header)


def unpacked(
    file: Arrival, packed: IO[bytes], input_format: Mapping[str, Any], limit: int
) -> Iterator[IO[bytes]]:
    """What a gzip holds, as files of at most `limit` bytes, each to be read from its start.

    The same however often it is done. Raises FormatMismatch or TooLarge.
    """
    rows = Rows(input_format)
    head = b""
    out, size, last = TemporaryFile(), 0, 0  # noqa: SIM115
    try:
        for number, chunk in enumerate(_chunks(file, packed, min(CHUNK, limit // 4))):
            if number == 0:
                head = chunk[: rows.header(chunk)]
            last_end = rows.last_end(chunk)
            if size + len(chunk) > limit:
                if not has_rows(input_format):
                    raise _too_large(file, limit)
                if last <= len(head):
                    raise _row_too_large(file, limit)
                out.seek(last)
                rest = out.read()
                out.truncate(last)
                out.seek(0)
                yield out
                out.close()
                out, last = TemporaryFile(), 0  # noqa: SIM115
                size = out.write(head + rest)
            last = size + last_end if last_end else last
            size += out.write(chunk)
        if size == 0:
            raise FormatMismatch(f"{file.uri} is a gzip that holds nothing")
        out.seek(0)
        yield out
    finally:
        out.close()


def _chunks(file: Arrival, packed: IO[bytes], size: int) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=packed) as stream:
            while chunk := stream.read(size):
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatMismatch(f"{file.uri} is no whole gzip: {error}") from None


class Rows:
    """Where rows end, in a file that is gone through chunk by chunk from its start."""

    def __init__(self, input_format: Mapping[str, Any]) -> None:
        csv = input_format["format"] == "csv"
        self._has_header = csv and str(input_format.get("header", True)).lower() == "true"
        self._quote = input_format.get("quote", '"').encode() if csv else b""
        escape = input_format.get("escape", "\\").encode() if csv else b""
        # Where a quote in a value is written twice, counting them works all the same.
        self._escape = b"" if escape == self._quote else escape
        self._inside = False
        self._escaping = False

    def header(self, chunk: bytes) -> int:
        """Bytes of the header in the first chunk; 0 where there is none, or no end of it."""
        if not self._has_header:
            return 0
        text, end = self._plain(chunk, escaping=False), 0
        while (end := text.find(b"\n", end) + 1) > 0:
            if text.count(self._quote, 0, end) % 2 == 0:
                return end
        return 0

    def last_end(self, chunk: bytes) -> int:
        """Where in the next chunk a row ends last; 0 where none does."""
        if not self._quote:
            return chunk.rfind(b"\n") + 1
        text = self._plain(chunk, escaping=self._escaping)
        self._escaping = bool(self._escape) and text.endswith(self._escape)
        inside = self._inside ^ (text.count(self._quote) % 2 == 1)
        self._inside = inside
        end = len(text)
        while (newline := text.rfind(b"\n", 0, end)) >= 0:
            inside ^= text.count(self._quote, newline, end) % 2 == 1
            if not inside:
                return newline + 1
            end = newline
        return 0

    def _plain(self, chunk: bytes, *, escaping: bool) -> bytes:
        """The chunk without what is escaped in it, every byte in its place."""
        if not self._escape:
            return chunk
        text = b"\0" + chunk[1:] if escaping else chunk
        return re.sub(re.escape(self._escape) + rb"[\s\S]", b"\0\0", text)


def _with(path: str, piece: str) -> str:
    name, dot, ending = path.rpartition(".")
    return f"{name}-{piece}{dot}{ending}" if dot else f"{path}-{piece}"


def _too_large(file: Arrival, limit: int) -> TooLarge:
    return TooLarge(
        f"{file.uri} has more than {limit:,} bytes, as much as AEP takes of a file that cannot be "
        "split: write smaller files"
    )


def _row_too_large(file: Arrival, limit: int) -> TooLarge:
    return TooLarge(f"{file.uri} has a row of nearly {limit:,} bytes, so it cannot be split")
