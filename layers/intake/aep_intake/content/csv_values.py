"""Takes whole rows of a CSV apart into their values."""

import re
from collections.abc import Iterator

from aep_intake.content.csv_dialect import Dialect


class Values:
    """Takes rows, of which the scanner knows that they are whole, apart into their values.

    `lone_cr`: whether CR alone ends rows, too.
    """

    def __init__(self, dialect: Dialect, *, lone_cr: bool) -> None:
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
