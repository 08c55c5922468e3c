"""Reads a file on this machine as the intake reads it, and finds out what format it has."""

from __future__ import annotations

import codecs
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from aep_intake.content.beginning import BEGINNING, Content
from aep_intake.content.csv import CsvReader
from aep_intake.content.parts import CHUNK, Shape, Source, Utf8Rows
from aep_intake.content.recognize import GZIP, recognize
from aep_intake.content.rows import Block, Place, RowReader, has_rows, is_csv
from aep_intake.content.signatures import PARQUET
from aep_intake.content.typed import DECODER, text_of
from aep_intake.content.xdm import dotted
from aep_intake.model.errors import EmptyObject, FormatMismatch

from aep_intake_cli.failures import CommandFailed

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS = 5_000
SAMPLE_CELLS = 500_000  # of a file with very many columns fewer rows are looked at
COLUMNS_MAX = 10_000  # that are looked at
_DEPTH = 6  # of objects in a row of JSON
# Texts that are values, and no names of columns.
_VALUE = re.compile(r"[+-]?[\d.,: /-]*\d[\d.,: /-]*|[^@\s]+@[^@\s]+\.\w+|\d{4}-\d\d-\d\dT.*")


@dataclass(frozen=True)
class Column:
    """A column, or a field of JSON rows by its path, and its values that are not empty.

    `several`: whether its values are lists, of which `values` has the items. `twice`: whether the
    header has its name more than once.
    """

    name: str
    values: Sequence[str]
    several: bool = False
    twice: bool = False


@dataclass(frozen=True)
class RowFile:
    """A file of rows, and the input format that it is read as. `uri`: its name, for errors."""

    path: Path
    input_format: Mapping[str, Any]
    content: Content
    uri: str

    @property
    def has_rows(self) -> bool:
        """Whether its rows can be told apart."""
        return has_rows(_in_utf_8(self.input_format))

    def blocks(self) -> Iterator[tuple[RowReader, Block]]:
        """Its rows in UTF-8, with their reader, as they go up. Raises FormatMismatch."""
        shape = Shape(
            _in_utf_8(self.input_format),
            gzipped=self.content.compression == "gzip",
            charset=self.content.charset,
            bom=0 if is_csv(self.input_format) else self.content.bom,  # whose reader knows it
            lines=self.content.layout in ("lines", ""),
        )
        with self.path.open("rb") as stream:
            source = Source(stream, self.uri, gzipped=shape.gzipped)
            at = len(source.read(shape.bom))
            rows = Utf8Rows(shape.charset, shape.reader(self.uri, Place(at)))
            final = False
            while not final:
                chunk = source.read(CHUNK)
                final = len(chunk) < CHUNK
                yield rows.reader, rows.feed(chunk, final=final)

    def columns(self) -> list[Column]:
        """Its columns with the values of its first rows. Raises FormatMismatch."""
        if not is_csv(self.input_format):
            return _members(islice(self._objects(), SAMPLE_ROWS))
        names, rows = list[str](), list[list[str]]()
        for reader, block in self.blocks():
            if isinstance(reader, CsvReader):
                if not names and reader.header:
                    [names] = reader.values(reader.header)[:1] or [[]]
                rows += reader.values(block.text)
            width = max(1, len(names or (rows[0] if rows else ())))
            if len(rows) >= min(SAMPLE_ROWS, SAMPLE_CELLS // width):
                break
        if not names and rows:  # without a header they have numbers
            names = [str(number) for number in range(1, len(rows[0]) + 1)]
        counts = Counter(name.strip() for name in names)
        kept = rows[: max(1, min(SAMPLE_ROWS, SAMPLE_CELLS // max(1, len(names))))]
        return [
            Column(
                name.strip(),
                [row[at] for row in kept if at < len(row) and row[at].strip()],
                twice=counts[name.strip()] > 1,
            )
            for at, name in enumerate(names[:COLUMNS_MAX])
        ]

    def _objects(self) -> Iterator[Mapping[str, Any]]:
        for _, block in self.blocks():
            for line in block.text.split(b"\n"):
                with suppress(ValueError, RecursionError):
                    row = DECODER.decode(line.decode("utf-8", "replace"))
                    if isinstance(row, dict):
                        yield row


def read_as(
    path: Path, input_format: Mapping[str, Any], uri: str, *, mapped: bool = True
) -> RowFile:
    """The file, read as a format. Raises as `recognize`, and OSError."""
    beginning, whole = _beginning(path)
    if whole and not beginning:
        raise EmptyObject(f"{uri!r} is empty, and AEP fails an empty file")
    content = recognize(beginning, whole, input_format, uri, mapped=mapped)
    return RowFile(path, input_format, content, uri)


def detect(path: Path, uri: str) -> RowFile:
    """The file, read as what it is most likely. Raises as `read_as`, and CommandFailed."""
    beginning, _ = _beginning(path)
    if beginning.startswith(PARQUET):
        raise CommandFailed(
            f"{uri!r} is Parquet, and only CSV and JSON are mapped: its columns must be those of "
            "the dataset's schema already"
        )
    why: FormatMismatch | None = None
    try:
        found = read_as(path, {"format": "json"}, uri)
        if not found.content.rows or found.content.broken < found.content.rows:
            return found
    except FormatMismatch as mismatch:
        why = mismatch
    for charset in _charsets(beginning):
        best = None
        for delimiter in DELIMITERS:
            written = {"format": "csv", "delimiter": delimiter, "charset": charset}
            try:
                read = _as_csv(path, uri, written, beginning)
            except FormatMismatch as mismatch:
                why = why or mismatch
                continue
            best = read if best is None or read.regular > best.regular else best
        if best is not None:
            return _with_single_quotes(best, beginning).told()
    what = str(why).partition(", but its inputFormat says")[0]
    raise CommandFailed(f"{what}: it is neither JSON nor CSV, and nothing else is mapped")


@dataclass(frozen=True)
class _AsCsv:
    """A file as it looks if it is a CSV of a format, by its first rows."""

    file: RowFile
    rows: Sequence[Sequence[str]]

    @property
    def regular(self) -> float:
        """How much speaks for it: its rows have as many columns each, and many."""
        widths = Counter(map(len, self.rows))
        if not widths:
            return 0.0
        width, times = widths.most_common(1)[0]
        share = times / len(self.rows)
        return (share if share > 0.8 else share / 10) * (width if width > 1 else 0.5)

    def told(self) -> RowFile:
        """The file, its format without what is the default, and with what its first rows show."""
        defaults = {"delimiter": ",", "charset": "UTF-8"}
        written = self.file.input_format
        told = {name: text for name, text in written.items() if defaults.get(name) != text}
        if len(self.rows) > 1 and any(_VALUE.fullmatch(cell.strip()) for cell in self.rows[0]):
            told["header"] = False
        return RowFile(self.file.path, told, self.file.content, self.file.uri)


def _as_csv(path: Path, uri: str, written: Mapping[str, Any], beginning: bytes) -> _AsCsv:
    file = read_as(path, written, uri)
    return _AsCsv(file, _first_rows(file, beginning))


def _with_single_quotes(read: _AsCsv, beginning: bytes) -> _AsCsv:
    """The same file, read with single quotes, if these are around most of its values."""
    cells = [cell for row in read.rows for cell in row]
    quoted = sum(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells)
    if 2 * quoted <= len(cells):
        return read
    file = read.file
    return _as_csv(file.path, file.uri, {**file.input_format, "quote": "'"}, beginning)


def _in_utf_8(input_format: Mapping[str, Any]) -> Mapping[str, Any]:
    """The format of what is read: text in UTF-8, and JSON in lines, whatever the file has."""
    read = {name: value for name, value in input_format.items() if name != "isMultiLineJson"}
    return {**read, "charset": "UTF-8"} if is_csv(input_format) else read


def _charsets(beginning: bytes) -> Iterator[str]:
    """The charsets that a text may have, the first that it can be read in is the one."""
    if beginning.startswith(GZIP):
        with suppress(zlib.error):
            beginning = zlib.decompressobj(wbits=31).decompress(beginning, BEGINNING)
    yield "UTF-8"
    marked = beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or b"\n\0" in beginning or b"\0\n" in beginning:
        yield "UTF-16"
    yield "Windows-1252" if any(0x80 <= byte < 0xA0 for byte in beginning) else "ISO-8859-1"


def _beginning(path: Path) -> tuple[bytes, bool]:
    with path.open("rb") as stream:
        beginning = stream.read(BEGINNING + 1)
    return beginning[:BEGINNING], len(beginning) <= BEGINNING


def _first_rows(file: RowFile, beginning: bytes) -> list[list[str]]:
    """The first rows of a CSV, its header among them."""
    shape = Shape({**_in_utf_8(file.input_format), "header": False}, charset=file.content.charset)
    gzipped = file.content.compression == "gzip"
    source = Source(BytesIO(beginning), file.uri, gzipped=gzipped)
    some = source.read(BEGINNING // 4)
    rows = Utf8Rows(shape.charset, shape.reader(file.uri, Place()))
    block = rows.feed(some)
    if not block.rows:  # one row that is not ended, or the last of them
        block = rows.feed(b"", final=True)
    reader = rows.reader
    return reader.values(block.text) if isinstance(reader, CsvReader) else []


def _members(rows: Iterable[Mapping[str, Any]]) -> list[Column]:
    """The fields of JSON rows: single values, and lists of them."""
    found: dict[tuple[str, bool], list[str]] = {}
    for row in rows:
        for path, value in _leaves(row, ()):
            several = isinstance(value, list)
            name = dotted(path)
            if (name, several) not in found and len(found) >= COLUMNS_MAX:
                continue
            texts = map(text_of, value if several else [value])
            found.setdefault((name, several), []).extend(text for text in texts if text)
    return [Column(name, values, several) for (name, several), values in found.items()]


def _leaves(
    row: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in row.items():
        path = (*above, name)
        if isinstance(value, dict):
            if len(path) < _DEPTH:
                yield from _leaves(value, path)
        elif name:
            yield path, value
