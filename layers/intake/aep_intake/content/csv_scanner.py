"""Finds where the rows of a CSV end, by regular expressions for many values or rows at a time."""

import re
from enum import Enum, auto

from aep_intake.content.csv_dialect import Dialect
from aep_intake.model.values import dataclass

_BLANK = re.compile(rb"(?<=\n)\r?\n")
_MANY = 32  # rows; Python's part of the work is small with that many
_FEW_BYTES, _MANY_BYTES = 2**12, 2**17  # that are looked at, before it is decided how to go on
_LF, _CR_OR_LF, _LONE_CR = map(re.compile, (rb"\n", rb"\r\n?|\n", rb"\r(?!\n)"))


class In(Enum):
    """Where a reader is, between two bytes."""

    ROW = auto()  # at the beginning of a row
    VALUE = auto()  # at the beginning of a value
    TEXT = auto()  # in a value, where a quote is text
    QUOTES = auto()  # in a quoted value
    CLOSED = auto()  # after a quote that closes it, unless another one follows


@dataclass(frozen=True, slots=True)
class Found:
    """What is in some bytes: where the last row ends (0: none does), and how many rows end."""

    end: int
    rows: int  # without blank ones
    state: In  # after the last byte


class Regular:
    """Matches rows of `columns` values (1 or more) that are written as most are, many at a time.

    Take away all of a text but delimiters, quotes and the ends of rows, then each two quotes that
    are side by side: of most files, the same row is left so many times. So each value has an even
    number of quotes, none of them is open at its end, and this is how its rows are told apart. It
    takes a quarter of the time of the regular expressions, which match the other rows in which a
    delimiter, or the row's end, follows the quote that closes a value. To them, a delimiter behind
    the last value is part of the row.
    """

    def __init__(self, dialect: Dialect, columns: int, delimiter: bytes) -> None:
        marks = delimiter + dialect.quote + dialect.escape + b"\n"
        self._text, self._quotes = bytes({*range(256)} - {*marks}), dialect.quote * 2
        # With one column, a line with nothing in it would look like a row.
        self._row = delimiter * (columns - 1) + b"\n" if columns > 1 else b""
        quote, escape, between = map(re.escape, (dialect.quote, dialect.escape, delimiter[:1]))
        # A line with nothing in it is no row.
        ends, maybe = (b"\\r\\n", b"") if columns == 1 else (b"\\n", b"?+")
        whole = re.escape(delimiter)
        end = b"(?:%b)?+\\r?\\n" % whole

        def row(value: bytes) -> bytes:
            return b"(?:%b%b){%d}+%b%b" % (value, whole, columns - 1, value, end)

        # Rows without quotes, or with nothing else, come first: most are, and it is faster.
        rows = [row(b"[^%b%b%b]" % (quote, between, ends) + (b"*+" if maybe else b"++"))]
        value = b"[^%b%b%b][^%b\\n]*+" % (quote, between, ends, between)
        if quote:
            rows.append(row(b"%b[^%b%b\\n]*+%b" % (quote, quote, escape, quote)))
            text = b"[^%b%b]*+" % (quote, escape)
            pair = quote * 2 + (b"|" + escape + b"(?s:.)" if escape else b"")
            value += b"|%b%b(?:(?:%b)%b)*+%b" % (quote, text, pair, text, quote)
        rows.append(row(b"(?:%b)%b" % (value, maybe)))
        self._many, self._one = (
            re.compile(b"(?:%b){%d}+" % (b"|".join(rows), n)) for n in (_MANY, 1)
        )

    def match(self, plain: bytes, at: int = 0) -> tuple[int, int]:
        """Where the rows end that begin at `at` of what `Scanner.plain` gave, and how many."""
        rows, size = 0, _FEW_BYTES
        while at < len(plain):
            end = plain.rfind(b"\n", at, at + size) + 1 or plain.find(b"\n", at) + 1
            if end and (alike := self._alike(plain[at:end])):
                at, rows, size = end, rows + alike, 2 * size
                continue
            size, end = _FEW_BYTES, at + _MANY_BYTES
            for pattern, number in ((self._many, _MANY), (self._one, 1)):
                while at < end and (found := pattern.match(plain, at)):
                    at, rows = found.end(), rows + number
            if at < end:
                break
        return at, rows

    def _alike(self, lines: bytes) -> int:
        """How many rows these lines are, if each has but delimiters and pairs of quotes; else 0."""
        marks = lines.translate(None, self._text).replace(self._quotes, b"")
        rows = marks.count(b"\n")
        return rows if marks == self._row * rows else 0


class Scanner:
    """Finds the ends of rows in bytes, given where in a row they begin.

    One match of a regular expression takes as many values as there are, of which none has a newline
    in quotes: so the newlines in it end rows. Only values with such newlines are taken one by one.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._quote, self._escape, self._written = dialect.quote, dialect.escape, dialect.delimiter
        # One of several bytes is replaced, since `|||` holds `||` once, and where it begins counts.
        self._delimiter = self._written if len(self._written) == 1 else b"\0"
        self._replacement = self._delimiter.rjust(len(self._written), b"\0")
        # A NUL that is none of these becomes text.
        marks = (dialect.quote, dialect.escape)
        self._no_nul = next(text for text in (b"a", b"b", b"c") if text not in marks)
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

    def regular(self, columns: int) -> Regular:
        """What matches rows of so many values."""
        return Regular(self._dialect, columns, self._replacement)

    def plain(self, text: bytes, *, lone_cr: bool, last: bool) -> bytes:
        """The bytes of `text` that are decided, with delimiters of one byte, and LF to end rows.

        All others keep their place. The `last` bytes of a file are decided.
        """
        rest = text
        if self._parts and b"\0" in text:
            *_, rest = between = text.split(self._written)
            text = self._replacement.join(some.replace(b"\0", self._no_nul) for some in between)
        elif self._parts:
            rest = text = text.replace(self._written, self._replacement)
        if not last:
            text = text[: len(text) - self._undecided(rest)]
        if lone_cr and b"\r" in text:
            text = _LONE_CR.sub(b"\n", text)
        return text

    def _undecided(self, text: bytes) -> int:
        """How many of the last bytes behind a delimiter the next byte may change."""
        if self._escape and text.endswith(self._escape):
            return (len(text) - len(text.rstrip(self._escape))) % 2
        if text.endswith(b"\r"):
            return 1
        return next((len(part) for part in self._parts if text.endswith(part)), 0)

    def scan(self, plain: bytes, state: In) -> Found:
        """What is in `plain` bytes, which begin in `state`."""
        if not plain:
            return Found(0, 0, state)
        size, quote = len(plain), self._quote
        rows = -1 if state is In.ROW and plain.startswith((b"\n", b"\r\n")) else 0
        blank = b"\n\n" in plain or b"\n\r\n" in plain
        if not quote or (state is not In.QUOTES and quote not in plain):
            rows += plain.count(b"\n") - (len(_BLANK.findall(plain)) if blank else 0)
            return Found(plain.rfind(b"\n") + 1, rows, self._after(plain))
        pattern, at = (self._values, 0) if state in (In.ROW, In.VALUE) else (self._rest, 0)
        if state is In.QUOTES:
            pattern = self._quoted
        elif state is In.CLOSED and plain.startswith(quote):  # the second one of a doubled one
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
                return Found(end, rows, In.CLOSED if closed else In.TEXT)
            if at == size:
                return Found(end, rows, self._after(plain))
            if not plain.startswith(quote, at):
                return Found(end, rows, In.TEXT)
            pattern, at = self._quoted, at + 1
        return Found(end, rows, In.QUOTES)

    def first_end(self, text: bytes, start: int, *, lone_cr: bool, blank: bool = True) -> int:
        """Where the row ends that begins at `start` of `text`; 0 if it does not.

        `blank`: a line with nothing in it is one.
        """
        state = In.ROW
        for line in (_CR_OR_LF if lone_cr else _LF).finditer(text, start):
            plain = self.plain(text[start : line.end()], lone_cr=lone_cr, last=True)
            found = self.scan(plain, state)
            if found.end and (blank or found.rows):
                return line.end()
            start, state = line.end(), found.state
        return 0

    def _after(self, plain: bytes) -> In:
        """Where one is after these bytes, which end outside of quotes."""
        if plain.endswith(b"\n"):
            return In.ROW
        return In.VALUE if plain.endswith(self._delimiter) else In.TEXT
