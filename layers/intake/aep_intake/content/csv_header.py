"""What the header of a CSV says of the file: whether it can be one, and which rows repeat it."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from aep_intake.content.csv_dialect import BOM, Dialect

_ENDS = (b"\r", b"\n")
# Such names may be values as well: pandas numbers columns that have none.
_MAY_BE_VALUE = re.compile(r"[\s\d.,+-]*")
_HEADER_MAX = 2**16  # bytes: a pattern with it in takes two hundred times as much memory


class Repeats:
    """Finds rows that are the header once more.

    So are those where files were put one behind the other, such as by `cat`, each with its header,
    and perhaps with its byte order mark. It may be written as the first one is, with quotes around
    all names, or only where a name needs them. Where all names are numbers, such a row may be data,
    and none is found; nor where a hostile header would take a worker's memory. `lone_cr`: whether
    CR alone ends rows.
    """

    def __init__(
        self, header: bytes, names: Sequence[str], dialect: Dialect, *, lone_cr: bool
    ) -> None:
        self._dialect, self._lone_cr = dialect, lone_cr
        self._ways = set[bytes]()
        if len(header) > _HEADER_MAX or all(map(_MAY_BE_VALUE.fullmatch, names)):
            return
        self._ways.add(header.strip(b"\r\n"))
        for always in (True, False):
            written = (_written(name, dialect, always=always) for name in names)
            self._ways.add(dialect.delimiter.join(written))

    def find(self, text: bytes) -> Iterator[int]:
        """Where they begin among whole rows; also where lines of a value look like one."""
        if not any(way in text for way in self._ways):  # which is fast, and seldom so
            return
        for found in self._pattern.finditer(b"\n" + text):
            yield found.start()

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        """With the end of the row before; without that of its own, but with values of nothing."""
        ways = b"|".join(map(re.escape, sorted(self._ways)))
        more = map(re.escape, (self._dialect.delimiter, self._dialect.quote * 2))
        before, behind = (b"[\r\n]", b"[\r\n]") if self._lone_cr else (b"\n", b"\r?\n")
        row = b"(?:%b)(?:%b(?:%b)?+)*+" % (ways, *more)
        return re.compile(b"%b(?:%b)*+%b(?=%b|\\Z)" % (before, BOM, row, behind))


def _written(name: str, dialect: Dialect, *, always: bool) -> bytes:
    """A name in quotes, `always` or where it needs them."""
    text, quote = name.encode(dialect.charset, "replace"), dialect.quote
    if not quote or not (
        always or any(mark in text for mark in (dialect.delimiter, quote, *_ENDS))
    ):
        return text
    return quote + text.replace(quote, quote * 2) + quote


def same_name(names: Sequence[str]) -> tuple[int, int] | None:
    """The numbers, from 1, of the first two columns of one name; a blank one is none."""
    known = dict[str, int]()
    for number, name in enumerate(map(str.strip, names), 1):
        if name and known.setdefault(name, number) != number:
            return known[name], number
    return None
