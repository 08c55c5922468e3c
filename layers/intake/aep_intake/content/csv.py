"""CSV as its readers read it: which bytes are a row, wherever the chunks of a file end.

Whoever checks, cuts, unpacks or uploads a CSV reads it with this reader, so that they agree.

- A quote opens a value only where the value begins: after a delimiter, a row's end, or at the start
  of the file. Any other quote is text, also one after spaces.
- Within a quoted value, newlines, delimiters, doubled quotes, and a quote or an escape character
  after an escape character are text. What follows the closing quote is text up to the delimiter.
- Rows end with LF, or with CR and LF. If the first row ends with CR alone, CR alone ends rows, too;
  in other files it is text.
- A byte order mark of UTF-8, and Excel's first line `sep=;`, are not rows and never go up.
- Lines with nothing in them are not rows.

Adobe does not publish which reader it has; Spark's is the likely one. Of the rules, the first, the
third and the last are those of Spark's reader (univocity's `CsvParser`, with `STOP_AT_DELIMITER`,
and its `LineSeparatorDetector`), and the first and the second those of Python's `csv`. Where
quotes are doubled and the escape character is a backslash, Spark ends a value at `"",` (issue
SPARK-22236), and no other reader does.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

from aep_intake.content.rows import Block, BrokenRow
from aep_intake.model.errors import FormatMismatch
from aep_intake.model.values import dataclass

# Enough to see a byte order mark and `sep=` with its delimiter.
PROLOGUE_BYTES = 64
_BOM = b"\xef\xbb\xbf"
# Excel takes the rest of such a line for the delimiter; some writers put it into quotes.
_SEP = re.compile(rb'("?)sep=([^"\r\n]+?|")\1[ \t]*(?:\r\n?|\n)', re.IGNORECASE)
_BLANK = re.compile(rb"(?<=\n)\r?\n")
_LF, _CR_OR_LF, _LONE_CR = map(re.compile, (rb"\n", rb"\r\n?|\n", rb"\r(?!\n)"))
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


class _In(Enum):
    """Where a reader is, between two bytes."""

    ROW = auto()  # at the beginning of a row
    VALUE = auto()  # at the beginning of a value
    TEXT = auto()  # in a value, where a quote is text
    QUOTES = auto()  # in a quoted value
    CLOSED = auto()  # after a quote that closes it, unless another one follows


@dataclass(frozen=True, slots=True)
class _Dialect:
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
    dialect = _dialect(input_format)
    marks = [*filter(None, (dialect.quote, dialect.escape))]
    ends = b"\r\n"
    return (
        bool(dialect.delimiter)
        and all(len(mark) == 1 and mark not in ends for mark in marks)
        and not any(byte in ends or byte in b"".join(marks) for byte in dialect.delimiter)
    )


def _dialect(input_format: Mapping[str, Any]) -> _Dialect:
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
    return _Dialect(delimiter, quote, escape if quote != escape and quote else b"", header, charset)


def prologue(beginning: bytes, input_format: Mapping[str, Any]) -> int:
    """How many bytes are before the first row and do not go up: a byte order mark, a `sep=` line.

    `beginning`: the first PROLOGUE_BYTES of the file. Raises FormatMismatch, without the file's
    name, where `sep=` names another delimiter than the format.
    """
    dialect = _dialect(input_format)
    start = 0
    if dialect.charset.upper() in ("UTF-8", "US-ASCII") and beginning.startswith(_BOM):
        start = len(_BOM)
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


def _may_be_prologue(text: bytes) -> bool:
    """Whether the next bytes may show that a file begins with a prologue, or with a longer one."""
    line = text.removeprefix(_BOM)
    begun = b"sep=".startswith(line.lstrip(b'"')[:4].lower())
    ended = b"\n" in line or b"\r" in line[:-1] or len(text) >= PROLOGUE_BYTES
    return _BOM.startswith(text) or (begun and not ended)


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
        self.lone_cr = header_known.endswith(b"\r") if header_known else lone_cr
        self._format, self._named = input_format, f"{uri}: " if uri else ""
        self._dialect = dialect = _dialect(input_format)
        self._values: _Values | None = None
        self._charset = dialect.charset.upper()
        self._scanner = _Scanner(dialect)
        self._in_prologue = header_known is None
        self._in_header = self._in_prologue and dialect.header
        self._begun: list[bytes] = []  # what was scanned of the row that has no end yet
        self._tail = b""  # what the next bytes decide
        self._in = _In.ROW

    def feed(self, chunk: bytes) -> Block:
        """The rows that are known to be whole now, and were not before.

        Raises FormatMismatch where a `sep=` line contradicts the format.
        """
        self.held += len(chunk)
        return self._read(self._tail + chunk if self._tail else chunk, last=False)

    def end(self) -> Block:
        """The rest: its last row may have no end. Raises FormatMismatch if a quote is open."""
        block = self._read(self._tail, last=True)
        if self._in is _In.QUOTES:
            raise FormatMismatch(self._named + self.unfinished())
        text = b"".join(self._begun)
        if not text:
            return block
        more = self._taken(text, int(not _is_blank(text)))
        return Block(block.text + more.text, block.rows + more.rows, block.broken + more.broken)

    def values(self, text: bytes) -> list[list[str]]:
        """The values of whole rows that were handed over, or of the header; blank lines are none.

        What is not of UTF-8 becomes U+FFFD.
        """
        if self._values is None:
            self._values = _Values(self._dialect, lone_cr=bool(self.lone_cr))
        return self._values.of(text.decode("utf-8", "replace"))

    def unfinished(self) -> str:
        """What is known of the row that was begun and has no end yet."""
        row = "its header" if self._in_header else f"row {self.rows + 1:,}"
        place = f"{row}, which begins at byte {self.at:,},"
        if self._in is not _In.QUOTES:
            return f"{place} has no end within {self.held:,} bytes"
        return (
            f"{place} has a quote that opens a value, and no quote closes it within {self.held:,} "
            "bytes: close it, or say in the route's inputFormat which `quote` and `escape` it has"
        )

    def _read(self, text: bytes, *, last: bool) -> Block:
        if self._in_prologue:
            if not last and _may_be_prologue(text):
                self._tail = text
                return Block()
            try:
                self.at = prologue(text[:PROLOGUE_BYTES], self._format)
            except FormatMismatch as fault:
                raise FormatMismatch(self._named + fault.detail) from None
            self._in_prologue, text = False, text[self.at :]
            self.held -= self.at
        plain = self._scanner.plain(text, lone_cr=self.lone_cr is not False, last=last)
        text, self._tail = text[: len(plain)], text[len(plain) :]
        found = self._scanner.scan(plain, self._in)
        if found.end and self.lone_cr is None:
            # It was scanned as if CR alone ended rows: the first end shows whether it does.
            text, self._begun = b"".join((*self._begun, text)), []
            first = self._scanner.first_end(text, 0, lone_cr=True)
            self.lone_cr = text[first - 1 : first] == b"\r"
            self.row_end = b"\r\n" if text[:first].endswith(b"\r\n") else text[first - 1 : first]
            plain = self._scanner.plain(text, lone_cr=self.lone_cr, last=True)
            found = self._scanner.scan(plain, _In.ROW)
        self._in = found.state
        if not found.end or (self._in_header and not found.rows):  # blank lines before a header
            if text:
                self._begun.append(text)
            return Block()
        whole = b"".join((*self._begun, text[: found.end]))
        self._begun = [text[found.end :]] if found.end < len(text) else []
        return self._taken(whole, found.rows)

    def _taken(self, text: bytes, rows: int) -> Block:
        """Whole rows, of which the first is the header, unless that has come before."""
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
        broken += self._broken(text, self.rows)
        self.at, self.rows = self.at + len(text), self.rows + rows
        self.held -= len(text)
        return Block(text, rows, broken)

    def _broken(self, text: bytes, rows: int) -> tuple[BrokenRow, ...]:
        """The rows in `text` that are not of the file's character set; `rows` come before them."""
        if self._charset not in ("UTF-8", "US-ASCII") or text.isascii():
            return ()
        lone_cr, start, found = bool(self.lone_cr), 0, []
        while (bad := self._first_bad(text, start)) is not None:
            before = self._scanner.plain(text[start:bad], lone_cr=lone_cr, last=True)
            good = self._scanner.scan(before, _In.ROW)
            start, rows = start + good.end, rows + good.rows + 1
            found.append(BrokenRow(rows, self.at + start, f"it is not {self._charset}"))
            start = self._scanner.first_end(text, start, lone_cr=lone_cr, blank=False) or len(text)
        return tuple(found)

    def _first_bad(self, text: bytes, start: int) -> int | None:
        """The offset of the first byte from `start` that is not of the character set."""
        if self._charset == "US-ASCII":
            bad = _NOT_ASCII.search(text, start)
            return bad and bad.start()
        try:
            str(memoryview(text)[start:], "utf-8")
        except UnicodeDecodeError as error:
            return start + error.start
        return None


def _is_blank(text: bytes) -> bool:
    return not text.strip(b"\r\n")


@dataclass(frozen=True, slots=True)
class _Found:
    """What is in some bytes: where the last row ends (0: none does), and how many rows end."""

    end: int
    rows: int  # without blank ones
    state: _In  # after the last byte


class _Scanner:
    """Finds the ends of rows in bytes, given where in a row they begin.

    One match of a regular expression takes as many values as there are, of which none has a newline
    in quotes: so the newlines in it end rows. Only values with such newlines are taken one by one.
    """

    def __init__(self, dialect: _Dialect) -> None:
        self._quote, self._escape, self._written = dialect.quote, dialect.escape, dialect.delimiter
        # One of several bytes is replaced, since `|||` holds `||` once, and where it begins counts.
        self._delimiter = self._written if len(self._written) == 1 else b"\0"
        self._replacement = self._delimiter.rjust(len(self._written), b"\0")
        self._parts = [self._written[:n] for n in range(len(self._written) - 1, 0, -1)]
        if not dialect.quote:
            return
        quote, escape = re.escape(dialect.quote), re.escape(dialect.escape)
        delimiter = re.escape(self._delimiter)
        more = b"[^%b\n]*+[%b\n]" % (delimiter, delimiter)  # of a value, and its end

        def quoted(no_text: bytes, escaped: bytes) -> bytes:
            """What is in quotes, up to the quote that closes it."""
            text = b"[^%b%b%b]*+" % (quote, escape, no_text)
            pair = quote * 2 + (b"|" + escape + escaped if escape else b"")
            return b"%b(?:(?:%b)%b)*+" % (text, pair, text)

        one_line = (
            # Runs come first: they are what most files have most of.
            b"(?:%b[^%b%b\n]*+%b%b)++" % (quote, quote, escape, quote, delimiter),
            quote + quoted(b"\n", b"[^\n]") + quote + more,
            b"[^%b\n]++\n" % quote,
            b"(?:[^%b%b\n]*+%b)++" % (quote, delimiter, delimiter),
            b"(?!%b)" % quote + more,
        )
        values = b"(?:%b)*+" % b"|".join(one_line)
        rest = b"((?:%b%b)?+)" % (more, values)
        self._values, self._rest = re.compile(b"(%b)" % values), re.compile(rest)
        # Its group did not match where no quote closes the value.
        self._quoted = re.compile(quoted(b"", b"(?s:.?)") + b"(?:%b%b)?+" % (quote, rest))

    def plain(self, text: bytes, *, lone_cr: bool, last: bool) -> bytes:
        """The bytes of `text` that are decided, with delimiters of one byte, and LF to end rows.

        All others keep their place. The `last` bytes of a file are decided.
        """
        if self._parts:
            text = text.replace(self._written, self._replacement)
        if not last:
            text = text[: len(text) - self._undecided(text)]
        if lone_cr and b"\r" in text:
            text = _LONE_CR.sub(b"\n", text)
        return text

    def _undecided(self, text: bytes) -> int:
        """How many of the last bytes the next byte may change."""
        if self._escape and text.endswith(self._escape):
            return (len(text) - len(text.rstrip(self._escape))) % 2
        if text.endswith(b"\r"):
            return 1
        return next((len(part) for part in self._parts if text.endswith(part)), 0)

    def scan(self, plain: bytes, state: _In) -> _Found:
        """What is in `plain` bytes, which begin in `state`."""
        if not plain:
            return _Found(0, 0, state)
        size, quote = len(plain), self._quote
        rows = -1 if state is _In.ROW and plain.startswith((b"\n", b"\r\n")) else 0
        blank = b"\n\n" in plain or b"\n\r\n" in plain
        if not quote or (state is not _In.QUOTES and quote not in plain):
            rows += plain.count(b"\n") - (len(_BLANK.findall(plain)) if blank else 0)
            return _Found(plain.rfind(b"\n") + 1, rows, self._after(plain))
        pattern, at = (self._values, 0) if state in (_In.ROW, _In.VALUE) else (self._rest, 0)
        if state is _In.QUOTES:
            pattern = self._quoted
        elif state is _In.CLOSED and plain.startswith(quote):  # the second one of a doubled one
            pattern, at = self._quoted, 1
        end = 0
        while (found := pattern.match(plain, at)) and found[1] is not None:
            start, at = found.span(1)
            if newline := plain.rfind(b"\n", start, at) + 1:
                end, rows = newline, rows + plain.count(b"\n", start, at)
                if blank:
                    rows -= len(_BLANK.findall(plain, start, at))
            if start == at and pattern is not self._values:  # nothing ends the value
                closed = pattern is self._quoted and at == size
                return _Found(end, rows, _In.CLOSED if closed else _In.TEXT)
            if at == size:
                return _Found(end, rows, self._after(plain))
            if not plain.startswith(quote, at):
                return _Found(end, rows, _In.TEXT)
            pattern, at = self._quoted, at + 1
        return _Found(end, rows, _In.QUOTES)

    def first_end(self, text: bytes, start: int, *, lone_cr: bool, blank: bool = True) -> int:
        """Where the row ends that begins at `start` of `text`; 0 if it does not.

        `blank`: a line with nothing in it is one.
        """
        state = _In.ROW
        for line in (_CR_OR_LF if lone_cr else _LF).finditer(text, start):
            plain = self.plain(text[start : line.end()], lone_cr=lone_cr, last=True)
            found = self.scan(plain, state)
            if found.end and (blank or found.rows):
                return line.end()
            start, state = line.end(), found.state
        return 0

    def _after(self, plain: bytes) -> _In:
        """Where one is after these bytes, which end outside of quotes."""
        if plain.endswith(b"\n"):
            return _In.ROW
        return _In.VALUE if plain.endswith(self._delimiter) else _In.TEXT


class _Values:
    """Takes rows, of which the scanner knows that they are whole, apart into their values.

    `lone_cr`: whether CR alone ends rows, too.
    """

    def __init__(self, dialect: _Dialect, *, lone_cr: bool) -> None:
        self._delimiter, self._quote, self._escape = (
            mark.decode(dialect.charset, "replace")
            for mark in (dialect.delimiter, dialect.quote, dialect.escape)
        )
        self._lone_cr = lone_cr
        self._between = self._quote + self._delimiter + self._quote
        quote, escape, delimiter = map(re.escape, (self._quote, self._escape, self._delimiter))
        text = f"[^{quote}{escape}]*+"
        pair = f"{quote}{quote}" + (f"|{escape}(?s:.)" if escape else "")
        plain = f"((?:(?!{delimiter})[^{'\\r' if lone_cr else ''}\\n])*+)"
        end = f"({delimiter}|{'\\r\\n?|' if lone_cr else ''}\\n)"
        # A value in quotes and what follows it; any other value.
        self._value = re.compile(
            f"{quote}({text}(?:(?:{pair}){text})*+){quote}{plain}{end}|{plain}{end}"
            if quote
            else f"{plain}{end}"
        )
        self._pair = re.compile(f"{quote}({quote})|{escape or '(?!)'}({quote}|{escape})")

    def of(self, text: str) -> list[list[str]]:
        """The values of whole rows; blank lines are none."""
        if not text.endswith("\n"):
            text += "\n"
        if self._quote and self._quote in text:
            return list(self._by_cr(text)) if self._lone_cr else self._by_lf(text)
        return self._unquoted(text)

    def _unquoted(self, text: str) -> list[list[str]]:
        if "\r" in text:
            text = text.replace("\r\n", "\n")
            text = text.replace("\r", "\n") if self._lone_cr else text
        delimiter = self._delimiter
        return [line.split(delimiter) for line in text.split("\n") if line]

    def _by_lf(self, text: str) -> list[list[str]]:
        rows, at, quote = list[list[str]](), 0, self._quote
        while (mark := text.find(quote, at)) >= 0:
            begin = max(at, text.rfind("\n", at, mark) + 1)
            if begin > at:
                rows += self._unquoted(text[at:begin])
            end = text.find("\n", mark)
            row, at = self._line(text[begin:end].removesuffix("\r")), end + 1
            if row is None:
                row, at = self._row(text, begin)
            rows.append(row)
        return rows + self._unquoted(text[at:])

    def _by_cr(self, text: str) -> Iterator[list[str]]:
        at = 0
        while at < len(text):
            begin = at
            row, at = self._row(text, begin)
            if row != [""] or text.startswith(self._quote, begin):
                yield row

    def _line(self, line: str) -> list[str] | None:
        """The values of a row, if it is one line that is easy to read: most are, and it is faster.

        It is if quotes are around values and doubled in them, and nowhere else.
        """
        quote, delimiter = self._quote, self._delimiter
        if len(delimiter) > 1 or (self._escape and self._escape in line):
            return None
        if line[0] == quote == line[-1]:
            row = line[1:-1].split(self._between)
            if line.count(quote) == 2 * len(row):  # around each value
                return row
        first, *rest = line.split(quote)
        if len(rest) % 2 or (first and first[-1] != delimiter):
            return None
        row = first[:-1].split(delimiter) if first else []
        return row if self._put(rest, row) else None

    def _put(self, rest: list[str], row: list[str]) -> bool:
        """Put the values into a row of which every second text was in quotes; whether they were."""
        delimiter, quote = self._delimiter, self._quote
        at, end = 0, len(rest)
        while at < end:
            inside, outside = rest[at : at + 2]
            at += 2
            while not outside and at < end:  # the quote is doubled
                inside, outside = f"{inside}{quote}{rest[at]}", rest[at + 1]
                at += 2
            row.append(inside)
            if outside and (outside[0] != delimiter or (at < end and outside[-1] != delimiter)):
                return False
            if at == end and outside:
                row += outside[1:].split(delimiter)
            elif len(outside) > 1:
                row += outside[1:-1].split(delimiter)
        return True

    def _row(self, text: str, at: int) -> tuple[list[str], int]:
        """The values of the row that begins at `at`, and where the next line begins."""
        row = list[str]()
        while True:
            found = self._value.match(text, at)
            if found is None:  # a quote that nothing closes, which the reader refuses
                return [*row, text[at:]], len(text) + 1
            inside, behind, closed, plain, ended = found.groups()
            end = closed or ended
            more = behind if plain is None else plain
            if end == "\n" and not self._lone_cr:
                more = more.removesuffix("\r")
            if plain is None:
                row.append(self._pair.sub(r"\1\2", inside) + more)
            else:
                row.append(more)
            at = found.end()
            if end != self._delimiter:
                return row, at
