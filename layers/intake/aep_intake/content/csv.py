"""CSV as its readers read it: which bytes are a row, wherever the chunks of a file end.

Whoever checks, cuts, unpacks or uploads a CSV reads it with this reader, so that they agree.

- A quote opens a value only where the value begins: after a delimiter, a row's end, or at the start
  of the file. Any other quote is text, also one after spaces.
- Within a quoted value, newlines, delimiters, doubled quotes, and a quote or an escape character
  after an escape character are text. What follows the closing quote is text up to the delimiter.
- Rows end with LF, or with CR and LF. If the first row ends with CR alone, CR alone ends rows, too;
  in other files it is text.
- A byte order mark of UTF-8, and Excel's first line `sep=;`, are not rows and never go up.
- Lines with nothing in them are not rows, and neither are lines of control-Z that end a file (DOS).
  A line of white space alone is none where the header has several columns: so pandas and Spark
  read it, while to Python's `csv` and DuckDB it is a row of one value.
- A row is broken if it has fewer values than the header, or others behind these that are not empty:
  AEP would put them into other columns, or drop them. So is one with a NUL byte, and one that is
  the header once more.

Adobe does not publish which reader it has; Spark's is the likely one. Of the rules, the first, the
third and the last are those of Spark's reader (univocity's `CsvParser`, with `STOP_AT_DELIMITER`,
and its `LineSeparatorDetector`), and the first and the second those of Python's `csv`. Where
quotes are doubled and the escape character is a backslash, Spark ends a value at `"",` (issue
SPARK-22236), and no other reader does.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aep_intake.content.csv_dialect import (
    PROLOGUE_BYTES,
    dialect_of,
    may_be_prologue,
    prologue,
    readable,
)
from aep_intake.content.csv_scanner import Found, In, Regular, Scanner
from aep_intake.content.csv_values import Values
from aep_intake.content.rows import Block, BrokenRow, wrong_width
from aep_intake.model.errors import FormatMismatch

if TYPE_CHECKING:  # a cold start does not load what reads a header
    from aep_intake.content.csv_header import Repeats

_BEGUN_MAX = 2**16  # bytes of a row that are read again where it goes on
_ROW_MAX = 2**24  # bytes of a row whose values are looked at: they take twenty times as much memory
_DOS_END = re.compile(rb"(?<=\n)\x1a[\x1a\r\n]*\Z")
_BLANK_LINES = re.compile(rb"(?:\r?\n)++(?:\r\Z)?|\r?\Z")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


class CsvReader:
    """Reads a CSV chunk by chunk: a RowReader. What it hands over does not depend on the chunks.

    It begins at the start of a file; or, where `header_known` is given, at a later row of a file
    with that header (empty if it has none). Then `at` and `rows` say how many bytes and rows of the
    file come before, and `lone_cr` whether CR alone ends its rows, where no header shows it.

    `header_end`: the byte of the file at which its header ends; 0 if it has none, or it is not read
    here. `held`: bytes that were fed and are in no block yet. `row_end`: the bytes that end its
    rows, as the first one shows. `uri`: of the file, for errors. Raises ValueError if the format is
    not `readable`.
    """

    def __init__(
        self,
        input_format: Mapping[str, Any],
        header_known: bytes | None = None,
        *,
        at: int = 0,
        rows: int = 0,
        lone_cr: bool | None = None,
        uri: str = "",
    ) -> None:
        if not readable(input_format):
            raise ValueError("no CSV that can be read here")
        self.at, self.rows, self.header = at, rows, header_known or b""
        self.held = self.header_end = 0
        self.row_end = b"\n"
        # None until the first row has ended.
        by_header = header_known.endswith(b"\r") if header_known else None
        self.lone_cr = by_header if lone_cr is None else lone_cr
        self._format, self._named = input_format, f"{uri}: " if uri else ""
        self._dialect = dialect = dialect_of(input_format)
        self._values: Values | None = None
        self._regular: Regular | None = None  # what matches most rows, once the header is known
        self._repeats: Repeats | None = None
        self._columns = 0  # of the header
        self._charset = dialect.charset.upper()
        self._scanner = Scanner(dialect)
        self._in_prologue = header_known is None
        self._in_header = self._in_prologue and dialect.header
        self._begun: list[bytes] = []  # what was scanned of the row that has no end yet
        self._tail = b""  # what the next bytes decide
        self._in = In.ROW

    def feed(self, chunk: bytes) -> Block:
        """The rows that are known to be whole now, and were not before.

        Raises FormatMismatch where a `sep=` line contradicts the format, or the header is huge.
        """
        self.held += len(chunk)
        return self._read(self._tail + chunk if self._tail else chunk, last=False)

    def end(self) -> Block:
        """The rest: its last row may have no end. Raises as `feed`, and where a quote is open."""
        block = self._read(self._tail, last=True)
        if self._in is In.QUOTES:
            raise FormatMismatch(self._named + self.unfinished())
        text = b"".join(self._begun)
        if not text:
            return block
        blank = _is_blank(text)
        more = self._taken(_blanked(text, [(0, len(text))] * blank), int(not blank))
        return Block(block.text + more.text, block.rows + more.rows, block.broken + more.broken)

    def values(self, text: bytes) -> list[list[str]]:
        """The values of whole rows that were handed over, or of the header; blank lines are none.

        What is not of its character set becomes U+FFFD.
        """
        if self._values is None:
            self._values = Values(self._dialect, lone_cr=bool(self.lone_cr))
        return self._values.of(text.decode(self._dialect.charset, "replace"))

    @property
    def names(self) -> list[str]:
        """The names of the columns; a delimiter behind the last one names none."""
        names = next(iter(self.values(self.header)), [])
        while len(names) > 1 and not names[-1]:
            names.pop()
        return names

    def unfinished(self) -> str:
        """What is known of the row that was begun and has no end yet."""
        row = "its header" if self._in_header else f"row {self.rows + 1:,}"
        place = f"{row}, which begins at byte {self.at:,},"
        if self._in is not In.QUOTES:
            return f"{place} has no end within {self.held:,} bytes"
        return (
            f"{place} has a quote that opens a value, and no quote closes it within {self.held:,} "
            "bytes: close it, or say in the route's inputFormat which `quote` and `escape` it has"
        )

    def _read(self, text: bytes, *, last: bool) -> Block:
        if self._in_prologue:
            if not last and may_be_prologue(text):
                self._tail = text
                return Block()
            try:
                self.at = prologue(text[:PROLOGUE_BYTES], self._format)
            except FormatMismatch as fault:
                raise FormatMismatch(self._named + fault.detail) from None
            self._in_prologue, text = False, text[self.at :]
            self.held -= self.at
        if self._in is not In.ROW and self._regular and sum(map(len, self._begun)) < _BEGUN_MAX:
            text, self._begun, self._in = b"".join((*self._begun, text)), [], In.ROW
        end = len(text) - self._dos_end(text)
        text, dos_end = text[:end], text[end:]
        if last:
            self.held, dos_end = self.held - len(dos_end), b""
        decided = last or bool(dos_end)
        plain = self._scanner.plain(text, lone_cr=self.lone_cr is not False, last=decided)
        text, self._tail = text[: len(plain)], text[len(plain) :] + dos_end
        regular, rows = 0, 0
        if self._in is In.ROW and self._regular:
            regular, rows = self._regular.match(plain)
        found = self._scanner.scan(plain[regular:] if regular else plain, self._in)
        if regular:
            found = Found(regular + found.end, rows + found.rows, found.state)
        if found.end and self.lone_cr is None:
            # It was scanned as if CR alone ended rows: the first end shows whether it does.
            text, self._begun = b"".join((*self._begun, text)), []
            first = self._scanner.first_end(text, 0, lone_cr=True)
            self.lone_cr = text[first - 1 : first] == b"\r"
            self.row_end = b"\r\n" if text[:first].endswith(b"\r\n") else text[first - 1 : first]
            plain = self._scanner.plain(text, lone_cr=self.lone_cr, last=True)
            found = self._scanner.scan(plain, In.ROW)
        self._in = found.state
        if not found.end or (self._in_header and not found.rows):  # blank lines before a header
            if text:
                self._begun.append(text)
            return Block()
        whole = b"".join((*self._begun, text[: found.end]))
        self._begun = [text[found.end :]] if found.end < len(text) else []
        return self._taken(whole, found.rows, (regular, rows))

    def _dos_end(self, text: bytes) -> int:
        """How many of the last bytes are no rows if the file ends here: those of DOS, from a line
        of control-Z on.
        """
        last = text[-_BEGUN_MAX:]
        if b"\x1a" not in last[len(last.rstrip(b"\x1a\r\n")) :]:
            return 0
        lines = last if self.lone_cr is False else last.replace(b"\r", b"\n")
        at_row = self._in is In.ROW and len(last) == len(text)
        found = _DOS_END.search(b"\n" + lines if at_row else lines)
        return len(found[0]) if found else 0

    def _taken(self, text: bytes, rows: int, regular: tuple[int, int] = (0, 0)) -> Block:
        """Whole rows, of which the first is the header, unless that has come before.

        `regular`: how many bytes and rows of them are known to have the header's columns.
        """
        broken: tuple[BrokenRow, ...] = ()
        if self._in_header:
            end = self._scanner.first_end(text, 0, lone_cr=bool(self.lone_cr), blank=False)
            self.header, text, rows = (
                text[: end or None],
                text[end or len(text) :],
                max(0, rows - 1),
            )
            broken = self._broken(self.header, -1)
            self._in_header, self.at = False, self.at + len(self.header)
            self.held -= len(self.header)
            self.header_end = self.at
        if self._regular is None and len(self.header) > _ROW_MAX:
            raise FormatMismatch(f"{self._named}its header has over {_ROW_MAX:,} bytes: is it CSV?")
        if self._regular is None and not _is_blank(self.header):
            from aep_intake.content.csv_header import Repeats  # noqa: PLC0415 - where a CSV comes

            names, lone_cr = self.names, bool(self.lone_cr)
            self._columns = len(names)
            self._regular = self._scanner.regular(self._columns)
            self._repeats = Repeats(self.header, names, self._dialect, lone_cr=lone_cr)
        ragged = dict[int, BrokenRow]()
        if self._regular:
            white, ragged = self._ragged(self._regular, text, *regular)
            text, rows = _blanked(text, white), rows - len(white)
        if self._repeats:
            ragged |= {row.row: row for row in self._headers(self._repeats.find(text), text)}
        ragged |= {row.row: row for row in self._broken(text, self.rows)}
        broken += tuple(ragged[number] for number in sorted(ragged))
        self.at, self.rows = self.at + len(text), self.rows + rows
        self.held -= len(text)
        return Block(text, rows, broken)

    def _ragged(
        self, regular: Regular, text: bytes, at: int, rows: int
    ) -> tuple[list[tuple[int, int]], dict[int, BrokenRow]]:
        """The places of lines of white space alone in `text`, and the rows, by number, that have
        other columns than the header.

        `at`: where to begin; so many `rows` are before that.
        """
        white, found = list[tuple[int, int]](), dict[int, BrokenRow]()
        lone_cr = bool(self.lone_cr)
        plain = self._scanner.plain(text, lone_cr=lone_cr, last=True) if at < len(text) else b""
        while at < len(text):
            at, more = regular.match(plain, at)
            rows += more
            if blank := _BLANK_LINES.match(plain, at):
                at = blank.end()
                continue
            end = self._scanner.first_end(text, at, lone_cr=lone_cr) or len(text)
            what = f"it has over {_ROW_MAX:,} bytes, and not as many columns as the header"
            if end - at <= _ROW_MAX:
                [row] = self.values(text[at:end])
                if len(row) == 1 < self._columns and text[at:end].isspace():
                    white.append((at, end))
                    at = end
                    continue
                wrong = len(row) < self._columns or any(row[self._columns :])
                what = wrong_width(len(row), self._columns) * wrong
            rows += 1
            if what:
                found[self.rows + rows] = BrokenRow(self.rows + rows, self.at + at, what)
            at = end
        return white, found

    def _headers(self, places: Iterable[int], text: bytes) -> Iterator[BrokenRow]:
        """The rows in `text` that are the header once more, of lines at `places` that look so."""
        rows, at, state = self.rows, 0, In.ROW
        for start in places:
            before = self._scanner.plain(text[at:start], lone_cr=bool(self.lone_cr), last=True)
            some = self._scanner.scan(before, state)
            rows, at, state = rows + some.rows, start, some.state
            if state is In.ROW:  # not within a value
                yield BrokenRow(rows + 1, self.at + start, "it is the header once more")

    def _broken(self, text: bytes, rows: int) -> tuple[BrokenRow, ...]:
        """The rows in `text` that hold a NUL, or what is not of the file's character set; `rows`
        come before them.
        """
        nul = b"\0" in text and b"\0" not in self._dialect.delimiter
        if not nul and (self._charset not in ("UTF-8", "US-ASCII") or text.isascii()):
            return ()
        lone_cr, start, found = bool(self.lone_cr), 0, []
        next_nul = text.find(b"\0") if nul else -1
        while bad := self._first_bad(text, start, next_nul):
            at, rule = bad
            before = self._scanner.plain(text[start:at], lone_cr=lone_cr, last=True)
            good = self._scanner.scan(before, In.ROW)
            start, rows = start + good.end, rows + good.rows + 1
            found.append(BrokenRow(rows, self.at + start, rule))
            start = self._scanner.first_end(text, start, lone_cr=lone_cr, blank=False) or len(text)
            if 0 <= next_nul < start:
                next_nul = text.find(b"\0", start)
        return tuple(found)

    def _first_bad(self, text: bytes, start: int, nul: int) -> tuple[int, str] | None:
        """The offset of the first byte from `start` that breaks its row, and what it breaks.

        `nul`: the offset of the first NUL from there; negative if there is none.
        """
        end = nul if nul >= 0 else len(text)
        if self._charset == "US-ASCII":
            if bad := _NOT_ASCII.search(text, start, end):
                return bad.start(), "it is not US-ASCII"
        elif self._charset == "UTF-8":
            try:
                str(memoryview(text)[start:end], "utf-8")
            except UnicodeDecodeError as error:
                return start + error.start, "it is not UTF-8"
        return (nul, "it has a NUL byte") if nul >= 0 else None


def _is_blank(text: bytes) -> bool:
    return not text.strip(b"\r\n")


def _blanked(text: bytes, places: list[tuple[int, int]]) -> bytes:
    """With blank lines in these places, so that nobody who reads on takes them for rows."""
    if not places:
        return text
    some = bytearray(text)
    for start, end in places:
        some[start:end] = b"\n" * (end - start)
    return bytes(some)
