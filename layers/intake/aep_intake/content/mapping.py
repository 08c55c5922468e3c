"""Maps the rows of a file to rows of a dataset's schema: from columns to XDM.

A map was compiled for the schema when it was published (`content.compile_map`), and the result is
plain data: nothing is asked, and no code is generated, while a file goes up. What comes out depends
on the file and that result alone.

Rows are mapped column by column, many at a time, which takes a third of the time that row by row
does: each column becomes the JSON texts of one field (`content.map_fields`), and these are put
together (`content.map_rows`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from unicodedata import normalize

from aep_intake.content.csv import CsvReader
from aep_intake.content.map_fields import Cells
from aep_intake.content.map_rows import Plan
from aep_intake.content.members import Members
from aep_intake.content.rows import Block, BrokenRow, RowReader, wrong_width
from aep_intake.content.typed import DECODER, Unfit
from aep_intake.content.xdm import dotted
from aep_intake.model.errors import FormatMismatch
from aep_intake.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Mapped:
    """Rows as JSON Lines, without those that could not be mapped."""

    text: bytes
    rows: int  # in `text`
    broken: tuple[BrokenRow, ...]


class RowMap:
    """A compiled map, for the rows of one file.

    `key`: of the file, whose placeholders some fields are made of. `uri`: of the file, for errors.
    Raises FormatMismatch if a placeholder's value cannot be in its field.
    """

    def __init__(self, compiled: Mapping[str, Any], key: str, uri: str) -> None:
        self._uri, self._columns = uri, compiled["columns"]
        self._header: bool = compiled["header"]
        self._null: str = compiled.get("null", "")  # the text that means that nothing is there
        self._width = 0
        self._indexes: list[int | None] = []
        self.unmapped: tuple[str, ...] = ()
        self._paths = [tuple(column.get("path", ())) for column in self._columns]
        self._members = Members()
        self._missing = [*range(len(self._columns))]  # those without a value in any row of JSON
        for path in filter(None, self._paths):
            self._members.add(path)
        placeholders: Mapping[str, str] = {}
        if "key" in compiled:
            flags = re.DOTALL | (re.IGNORECASE if compiled["anyCase"] else 0)
            fits = re.compile(compiled["key"], flags).fullmatch(normalize("NFC", key))
            placeholders = fits.groupdict() if fits else {}
        try:
            self._plan = Plan(compiled["root"], self._columns, placeholders)
        except Unfit as unfit:
            raise FormatMismatch(f"{uri}: {unfit}") from None

    def begin(self, header: Sequence[str]) -> None:
        """Find the columns by the header of a CSV. Raises FormatMismatch, which names the missing.

        `header`: its values; none if the file has no header, and columns have numbers.
        """
        if not self._header:
            self._indexes = [int(column["name"]) - 1 for column in self._columns]
            self._width = max(
                (index + 1 for index in self._indexes if index is not None), default=0
            )
            return
        names = [name.strip() for name in header]
        self._width = len(names)
        self._indexes = [self._index(column, names) for column in self._columns]
        mapped = {column["name"] for column in self._columns}
        self.unmapped = tuple(name for name in names if name not in mapped)

    def _index(self, column: Mapping[str, Any], names: list[str]) -> int | None:
        name = column["name"]
        if names.count(name) > 1:
            raise FormatMismatch(f"{self._uri}: its header has the column {name!r} twice")
        if name in names:
            return names.index(name)
        if column["optional"]:
            return None
        near = get_close_matches(name, names, n=1)
        hint = f", but it has {near[0]!r}" if near else ""
        raise FormatMismatch(
            f"{self._uri}: its header does not have the column {name!r}, which its route maps"
            f"{hint}. Correct the file or the map, or say that the column is optional"
        )

    def of_block(self, reader: RowReader, block: Block) -> Mapped:
        """Map rows that a reader has handed over just now. Raises as `begin`."""
        before, at = reader.rows - block.rows, reader.at - len(block.text)
        if not isinstance(reader, CsvReader):
            return self.of_json(block.text, before, at, block.broken)
        if not block.rows:
            return Mapped(b"", 0, block.broken)
        if not self._width:
            self.begin(reader.names)
        return self.of_csv(reader.values(block.text), before, at, block.broken)

    def of_csv(
        self, rows: list[list[str]], before: int, at: int, broken: tuple[BrokenRow, ...] = ()
    ) -> Mapped:
        """Map rows of a CSV. `before`: how many rows of the file come before these, which begin at
        the byte `at`. `broken`: those of them that cannot be read. Call `begin` before.
        """
        numbers: Sequence[int] = range(before + 1, before + 1 + len(rows))
        width, bad = self._width, list(broken)
        wrong = {row.row for row in broken}
        if wrong or not self._header or set(map(len, rows)) - {width}:
            kept, left = list[list[str]](), list[int]()
            for number, row in zip(numbers, rows, strict=True):
                if number in wrong:
                    continue
                more = len(row) - width
                if more < 0 or (more and self._header and any(row[width:])):
                    what = wrong_width(len(row), width)
                    bad.append(BrokenRow(number, at, what))
                else:
                    kept.append(row[:width] if more else row)
                    left.append(number)
            rows, numbers = kept, left
        columns: list[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [()] * width
        absent = ("",) * len(rows)
        found = [absent if index is None else columns[index] for index in self._indexes]
        if null := self._null:
            found = [["" if cell == null else cell for cell in column] for column in found]
        return self._mapped(Cells(len(rows), found), numbers, at, bad)

    def of_json(
        self, text: bytes, before: int, at: int, broken: tuple[BrokenRow, ...] = ()
    ) -> Mapped:
        """Map rows of JSON Lines; as `of_csv`."""
        wrong, bad = {row.row for row in broken}, list(broken)
        rows, numbers, number = list[Mapping[str, Any]](), list[int](), before
        for line in text.split(b"\n"):
            if not line.strip(b" \t\r"):
                continue
            number += 1
            if number in wrong:
                continue
            row = _decoded(line)
            if row is None:
                bad.append(BrokenRow(number, at, "it is not a JSON object"))
            else:
                rows.append(row)
                numbers.append(number)
                self._members.note(row)
        found = [[_at(row, path) for row in rows] for path in self._paths]
        self._missing = [at for at in self._missing if all(cell is None for cell in found[at])]
        return self._mapped(Cells(len(rows), found, rows), numbers, at, bad)

    @property
    def unmapped_columns(self) -> tuple[str, ...]:
        """Columns that nothing maps; members of JSON rows by their paths, in order."""
        return self.unmapped or tuple(sorted(map(dotted, self._members.unmapped())))

    @property
    def never_seen(self) -> tuple[str, ...]:
        """Mapped members that have no value in any JSON row, though they are not optional."""
        columns = [self._columns[at] for at in self._missing]
        return tuple(sorted(each["name"] for each in columns if not each["optional"]))

    def _mapped(
        self, cells: Cells, numbers: Sequence[int], at: int, bad: list[BrokenRow]
    ) -> Mapped:
        text = self._encoded(self._plan.lines(cells), cells)
        bad += [
            BrokenRow(numbers[index], at, rule, column)
            for index, (column, rule) in cells.failed.items()
        ]
        bad.sort(key=_number)
        return Mapped(text, cells.count - len(cells.failed), tuple(bad))

    def _encoded(self, lines: list[str], cells: Cells) -> bytes:
        """The lines of rows that did not fail, in UTF-8; those that cannot be fail now."""
        try:
            return _good(lines, cells).encode()
        except UnicodeEncodeError:
            for index, line in enumerate(lines):
                if line.encode("utf-8", "replace").decode() != line:
                    cells.fail(index, "", "it has a lone surrogate, which is not Unicode")
        return _good(lines, cells).encode()


def _good(lines: list[str], cells: Cells) -> str:
    failed = cells.failed
    if not failed:
        return "".join(lines)
    return "".join(line for index, line in enumerate(lines) if index not in failed)


def _number(row: BrokenRow) -> int:
    return row.row


def _decoded(line: bytes) -> Mapping[str, Any] | None:
    try:
        row = DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _at(value: Any, path: Iterable[str | int]) -> Any:
    """What is at a path of a JSON value; None if nothing is."""
    for step in path:
        if isinstance(step, int):
            is_there = isinstance(value, list) and step < len(value)
            value = value[step] if is_there else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
