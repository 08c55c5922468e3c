"""Shows what would become of a file: its rows as they go up, and each problem at its cell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from operator import getitem
from typing import TYPE_CHECKING, Any

import jsonschema
from aep_intake.content.csv import CsvReader
from aep_intake.content.patterns import matcher
from aep_intake.content.rows import Block, BrokenRow, RowReader, is_csv
from aep_intake.content.typed import DECODER, text_of
from aep_intake.content.xdm import NoPath, dotted, parse

from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    from aep_intake.content.mapping import RowMap

    from aep_intake_cli.mapping.files import RowFile

PROBLEMS_NAMED = 20  # of each kind
VALIDATED_MAX = 10_000  # rows; the library takes a second for some thousand


@dataclass(frozen=True)
class Cell:
    """A value that cannot go up, or row that cannot. `column`: where that is known."""

    row: int
    column: str
    value: str
    rule: str


@dataclass(frozen=True)
class Member:
    """A field of a row as it goes up, and the columns that it was made of, with their values."""

    path: str
    value: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Violation:
    """What a row that would go up breaks of the schema."""

    row: int  # of those that go up
    path: str
    rule: str


@dataclass
class Trial:
    """What was found in a file. `rules`: how many rows break each rule, by column and rule."""

    rows: int = 0
    broken: int = 0
    cells: list[Cell] = field(default_factory=list)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: list[list[Member]] = field(default_factory=list)
    unmapped: tuple[str, ...] = ()  # columns that nothing maps
    never_seen: tuple[str, ...] = ()  # mapped members without a value in any row of JSON
    validated: int = 0
    unfit: int = 0  # rows of those
    violations: list[Violation] = field(default_factory=list)


def run(
    file: RowFile,
    compiled: Mapping[str, Any] | None,
    rows_map: RowMap | None,
    schema: Mapping[str, Any] | None,
    *,
    show: int,
) -> Trial:
    """Try all rows of a file. Raises FormatMismatch, as the intake would reject it.

    `compiled`: a map, and `rows_map` for this file; None: rows go up as they are. `schema`: None:
    rows are not validated. `show`: so many of the first rows are kept.
    """
    trial = Trial()
    check = None if schema is None else _validator(schema)
    header: list[str] = []
    for reader, block in file.blocks():
        trial.rows += block.rows
        if isinstance(reader, CsvReader) and not header:
            [header] = reader.values(reader.header)[:1] or [[]]
            header = [name.strip() for name in header]
        rows = _Rows(reader, block, header)
        text, broken = block.text, block.broken
        if rows_map is not None:
            mapped = rows_map.of_block(reader, block)
            text, broken = mapped.text, mapped.broken
        trial.broken += len(broken)
        for row in broken:
            trial.rules[row.column, row.rule] += 1
            if len(trial.cells) < PROBLEMS_NAMED:
                trial.cells += rows.problems(row, rows_map)
        bad = {row.row for row in broken}
        if len(trial.first) < show:
            good = (number for number in rows.numbers if number not in bad)
            sent = list(islice(_lines(text, rows, mapped=rows_map is not None), show))
            for number, line in zip(islice(good, show), sent, strict=False):
                trial.first.append(_members(line, compiled, rows, number))
            del trial.first[show:]
        if check is not None and (rows_map is not None or not is_csv(file.input_format)):
            _validate(trial, check, text)
    if rows_map is not None:
        trial.unmapped = rows_map.unmapped_columns
        if not is_csv(file.input_format):
            trial.never_seen = rows_map.never_seen
    return trial


@dataclass(frozen=True)
class _Rows:
    """Rows that a reader has handed over."""

    reader: RowReader
    block: Block
    header: Sequence[str]

    @property
    def before(self) -> int:
        """How many rows of the file come before these."""
        return self.reader.rows - self.block.rows

    @property
    def numbers(self) -> range:
        """Their numbers in the file."""
        return range(self.before + 1, self.reader.rows + 1)

    def problems(self, broken: BrokenRow, rows_map: RowMap | None) -> Iterator[Cell]:
        """All that is wrong with a row: the map says the first, and the next if that is empty."""
        row, emptied, at = self.row(broken.row, json.loads), set[str](), broken
        while True:
            several = [name for name in at.column.split(", ") if name]
            names = [at.column] if self.at(row, at.column) else several
            value = ", ".join(filter(None, (self.at(row, name) for name in names)))
            yield Cell(broken.row, at.column, value, at.rule)
            emptied.add(at.column)
            if rows_map is None or not value:
                return
            row = self._without(row, names)
            if isinstance(row, list):
                again = rows_map.of_csv([row], broken.row - 1, 0).broken
            else:
                again = rows_map.of_json(json.dumps(row).encode(), broken.row - 1, 0).broken
            if not again or again[0].column in emptied:
                return
            at = again[0]

    def _without(self, row: Any, columns: Sequence[str]) -> Any:
        """The row with nothing in some columns."""
        if isinstance(row, list):
            names = self.header or [str(at) for at in range(1, len(row) + 1)]
            return ["" if name in columns else cell for name, cell in zip(names, row, strict=False)]
        copy = json.loads(json.dumps(row))
        for column in columns:
            *above, last = parse(column)
            with suppress(KeyError, IndexError, TypeError):  # this one is not there
                reduce(getitem, above, copy)[last] = None
        return copy

    def row(self, number: int, read: Callable[[str], Any] = DECODER.decode) -> Any:
        """A row by its number in the file: a list of values, or an object."""
        index = number - self.before - 1
        if isinstance(self.reader, CsvReader):
            rows = self.reader.values(self.block.text)
            return rows[index] if 0 <= index < len(rows) else []
        lines = [line for line in self.block.text.split(b"\n") if line.strip(b" \t\r")]
        try:
            return read(lines[index].decode("utf-8", "replace"))
        except (ValueError, IndexError, RecursionError):
            return {}

    def at(self, row: Any, column: str) -> str:
        """A column's value in a row, as text."""
        if isinstance(row, list):
            names = self.header or [str(at) for at in range(1, len(row) + 1)]
            at = names.index(column) if column in names else len(row)
            return row[at] if at < len(row) else ""
        try:
            value: Any = row
            for step in parse(column):
                value = value[step]
        except (NoPath, KeyError, IndexError, TypeError):
            return ""
        text = text_of(value)
        return json.dumps(value, ensure_ascii=False) if text is None else text


def _lines(text: bytes, rows: _Rows, *, mapped: bool) -> Iterator[Any]:
    """Rows as they go up, without those that cannot be read."""
    if isinstance(rows.reader, CsvReader) and not mapped:
        yield from rows.reader.values(text)
        return
    for line in text.split(b"\n"):
        try:
            row = DECODER.decode(line.decode())
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row


def _members(
    line: Any, compiled: Mapping[str, Any] | None, rows: _Rows, number: int
) -> list[Member]:
    """The fields of a row as it goes up, side by side with the columns that they come from."""
    if isinstance(line, list):
        names = rows.header or [str(at) for at in range(1, len(line) + 1)]
        return [Member("", text, {name: text}) for name, text in zip(names, line, strict=False)]
    leaves = list(_leaves(line, ""))
    if compiled is None:
        return [Member(path, value, {}) for path, value in leaves]
    row = rows.row(number)
    sources = dict(_sources(compiled["root"]))
    names = [column["name"] for column in compiled["columns"]]
    made = list[Member]()
    for path, source in sources.items():
        value = ", ".join(
            v for p, v in leaves if p == path or p.startswith((f"{path}.", f"{path}["))
        )
        columns = {names[index]: rows.at(row, names[index]) for index in source}
        made.append(Member(path, value, columns))
    return made


def _sources(node: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[int]]]:
    if "path" in node:
        yield node["path"], node.get("from", ())
    for inner in (*node.get("object", {}).values(), *node.get("list", ())):
        yield from _sources(inner)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The single values in a row by their paths, as the JSON has them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            step = name.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[")
            yield from _leaves(inner, f"{path}.{step}" if path else step)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, text_of(value) or ""


def check_schema(schema: Any) -> None:
    """Raises CommandFailed if a document is not JSON Schema that stands alone."""
    try:
        jsonschema.Draft7Validator.check_schema(_readable(schema))
    except jsonschema.SchemaError as error:
        raise CommandFailed(f"the schema is not JSON Schema: {error.message[:200]}") from None
    if any(_references(schema)):  # nothing is fetched from where a file says
        raise CommandFailed(
            "the schema refers to others: it is needed in the full form, "
            "application/vnd.adobe.xed-full+json"
        )


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from _references(inner)


def _validator(schema: Mapping[str, Any]) -> jsonschema.Draft7Validator:
    """What checks rows against a schema. Raises CommandFailed."""
    check_schema(schema)
    checker = jsonschema.Draft7Validator.FORMAT_CHECKER
    made: jsonschema.Draft7Validator = _Validator(_readable(schema), format_checker=checker)
    return made


def _pattern(_: Any, pattern: str, text: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """As JSON Schema's keyword, in bounded time."""
    fits = matcher(pattern)
    if isinstance(text, str) and fits is not None and not fits(text):
        yield jsonschema.ValidationError(f"{text!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator, {"pattern": _pattern}
)


def _readable(node: Any) -> Any:
    """A schema whose objects have no other members than it says: what AEP does with others is not
    documented. And without patterns that nobody can wait for, or that Python does not know.
    """
    if isinstance(node, list):
        return [_readable(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    made = {name: _readable(inner) for name, inner in node.items()}
    if made.get("type") == "object" and isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    if isinstance(made.get("pattern"), str) and matcher(made["pattern"]) is None:
        del made["pattern"]
    return made


def _validate(trial: Trial, check: jsonschema.Draft7Validator, text: bytes) -> None:
    for line in text.split(b"\n"):
        if trial.validated >= VALIDATED_MAX:
            return
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        trial.validated += 1
        faults = list(islice(check.iter_errors(row), 5))
        trial.unfit += bool(faults)
        for fault in faults:
            path = dotted(tuple(fault.absolute_path))
            if len(trial.violations) < PROBLEMS_NAMED:
                trial.violations.append(Violation(trial.validated, path, fault.message))
