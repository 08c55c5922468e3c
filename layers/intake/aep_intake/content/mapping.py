"""Maps the rows of a file to rows of a dataset's schema: from columns to XDM.

A map was compiled for the schema when it was published (`content.compile_map`), and the result is
plain data: nothing is asked, and no code is generated, while a file goes up. What comes out depends
on the file and that result alone.

Rows are mapped column by column, many at a time, which takes a third of the time that row by row
does: each column becomes the JSON texts of one field, and these are put together.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import compress, repeat
from operator import not_
from typing import Any
from unicodedata import normalize

from aep_intake.content.csv import CsvReader
from aep_intake.content.expressions import Expression, NotComputed, exact
from aep_intake.content.rows import Block, BrokenRow, RowReader
from aep_intake.content.typed import (
    DECODER,
    Number,
    Type,
    Unfit,
    copier,
    quoted,
    string_checks,
    text_of,
    writer,
)
from aep_intake.model.errors import FormatMismatch
from aep_intake.model.values import dataclass

VERSION = 1  # of compiled maps
# Texts of all fields that are remembered with what they became: dates and codes come again and
# again. Some 40 MB at most.
REMEMBERED = 200_000
UNMAPPED_NAMED = 20  # columns
PLACEHOLDER = re.compile(r"\{([A-Za-z][0-9A-Za-z_]*)\}")
SCALARS = ("string", "integer", "number", "boolean", "date", "date-time")
EMPTY = "is empty"


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
        self._known = {column["path"][0] for column in self._columns if column.get("path")}
        self._seen = set[str]()
        self._paths = [tuple(column.get("path", ())) for column in self._columns]
        placeholders: Mapping[str, str] = {}
        if "key" in compiled:
            flags = re.DOTALL | (re.IGNORECASE if compiled["anyCase"] else 0)
            fits = re.compile(compiled["key"], flags).fullmatch(normalize("NFC", key))
            placeholders = fits.groupdict() if fits else {}
        try:
            self._plan = _Plan(compiled["root"], self._columns, placeholders)
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
            header = reader.values(reader.header)
            self.begin(header[0] if header else ())
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
                    what = f"it has {len(row)} values, and {width} are expected"
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
        return self._mapped(_Cells(len(rows), found), numbers, at, bad)

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
                bad.append(BrokenRow(number, at, "it is no JSON object"))
            else:
                rows.append(row)
                numbers.append(number)
                self._seen.update(row)
        found = [[_at(row, path) for row in rows] for path in self._paths]
        return self._mapped(_Cells(len(rows), found, rows), numbers, at, bad)

    @property
    def unmapped_columns(self) -> tuple[str, ...]:
        """Columns, or members of JSON rows, that nothing maps: the first of them."""
        return self.unmapped[:UNMAPPED_NAMED] or self.unmapped_members

    @property
    def unmapped_members(self) -> tuple[str, ...]:
        """Members of JSON rows that nothing maps, the first by name."""
        return tuple(sorted(self._seen - self._known)[:UNMAPPED_NAMED])

    @property
    def never_seen(self) -> tuple[str, ...]:
        """Mapped members that no JSON row had, though they are not optional."""
        wanted = {column["path"][0] for column in self._columns if not column["optional"]}
        return tuple(sorted(wanted - self._seen))

    def _mapped(
        self, cells: "_Cells", numbers: Sequence[int], at: int, bad: list[BrokenRow]
    ) -> Mapped:
        text = self._encoded(self._plan.lines(cells), cells)
        bad += [
            BrokenRow(numbers[index], at, rule, column)
            for index, (column, rule) in cells.failed.items()
        ]
        bad.sort(key=_number)
        return Mapped(text, cells.count - len(cells.failed), tuple(bad))

    def _encoded(self, lines: list[str], cells: "_Cells") -> bytes:
        """The lines of rows that did not fail, in UTF-8; those that cannot be fail now."""
        good = [each for index, each in enumerate(lines) if index not in cells.failed]
        try:
            return self._plan.finished(good).encode()
        except UnicodeEncodeError:
            for index, line in enumerate(lines):
                if line.encode("utf-8", "replace").decode() != line:
                    cells.fail(index, "", "it has a lone surrogate, which is not Unicode")
        good = [each for index, each in enumerate(lines) if index not in cells.failed]
        return self._plan.finished(good).encode()


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


class _Cells:
    """The columns of some rows, in the order of the compiled map; and which rows failed, and why.

    `rows`: those of JSON, for expressions.
    """

    def __init__(
        self,
        count: int,
        columns: Sequence[Sequence[Any]],
        rows: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.count, self.columns, self.rows = count, columns, rows
        self.failed: dict[int, tuple[str, str]] = {}

    def fail(self, index: int, column: str, rule: str) -> None:
        """Say why a row cannot be mapped; the first reason counts."""
        self.failed.setdefault(index, (column, rule))


@dataclass(frozen=True, slots=True)
class _Rule:
    """What must be in an object, by the places of the leaves that are in it."""

    leaves: range
    varying: tuple[int, ...]  # those that are no constants
    required: tuple[tuple[range, str], ...]  # of each such member the leaves, and what to say
    always: bool  # whether the members are missed, too, where nothing is there
    bare: bool  # whether it is left out where it has constants alone


class _Plan:
    """How the JSON of a row is put together, from the texts of its leaves.

    Every member has a separator before it which no JSON has in it, and which becomes a comma, or
    nothing where it comes first. So rows are joined without a look at which of their parts are
    empty, and that is put right in the text of many rows at a time.
    """

    def __init__(
        self,
        root: Mapping[str, Any],
        columns: Sequence[Mapping[str, Any]],
        placeholders: Mapping[str, str],
    ) -> None:
        self.leaves: list[_Field | _Constant] = []
        self._columns, self._placeholders = columns, placeholders
        self._parts: list[str | int] = []  # fixed text, or the place of a leaf
        self._rules: list[_Rule] = []  # of what is within others first
        self._empty: list[tuple[int, str]] = []  # how objects and lists look, and how deep
        self._remembered = REMEMBERED // max(1, _leaves(root))
        self._add(root, "", 0)
        self._bare = "".join(part for part in self._parts if isinstance(part, str))
        self._empty.sort(reverse=True)

    def _add(
        self, node: Mapping[str, Any], prefix: str, depth: int, *, of_list: bool = False
    ) -> None:
        if "object" not in node and "list" not in node:
            self._parts.append(len(self.leaves))
            if "value" in node:
                self.leaves.append(_Constant(node, self._placeholders, prefix))
            else:
                names = [self._columns[index]["name"] for index in node["from"]]
                self.leaves.append(_Field(node, names, prefix, self._remembered))
            return
        begin, end = "[]" if "list" in node else "{}"
        self._parts.append(prefix + begin)
        if depth:
            self._empty.append((depth, f"{prefix}{begin}{end}"))
        first = len(self.leaves)
        if "list" in node:
            for item in node["list"]:
                self._add(item, _BEFORE, depth + 1, of_list=True)
        else:
            members = dict[str, range]()
            for name, inner in node["object"].items():
                at = len(self.leaves)
                self._add(inner, f"{_BEFORE}{quoted(name)}:", depth + 1)
                members[name] = range(at, len(self.leaves))
            self._add_rule(node, members, range(first, len(self.leaves)), of_list=of_list)
        self._parts.append(end)

    def _add_rule(
        self, node: Mapping[str, Any], members: Mapping[str, range], leaves: range, *, of_list: bool
    ) -> None:
        varying = tuple(each for each in leaves if isinstance(self.leaves[each], _Field))
        required = tuple(
            (members[name], f"{EMPTY}, and the schema requires {path}")
            for name, path in node.get("required", {}).items()
            if any(each in varying for each in members.get(name, ()))
        )
        bare = 0 < len(varying) < len(leaves) and (of_list or bool(required))
        if required or bare:
            always = node.get("always", False)
            self._rules.append(_Rule(leaves, varying, required, always, bare and not always))

    def lines(self, cells: "_Cells") -> list[str]:
        """The rows, to be `finished`. Rows of which nothing is there fail."""
        columns = [leaf.texts(cells) for leaf in self.leaves]
        for rule in self._rules:
            self._check(rule, columns, cells)
        parts: list[Iterable[str]] = [
            repeat(part) if isinstance(part, str) else columns[part] for part in self._parts
        ]
        lines = list(map("".join, zip(*parts, strict=False)))
        varying = [c for c, leaf in zip(columns, self.leaves, strict=True) if _is_field(leaf)]
        if self._bare in lines or len(varying) < len(columns):
            for index, filled in enumerate(map(any, zip(*varying, strict=True))):
                if not filled:
                    cells.fail(index, "", "nothing in it is mapped")
        return lines

    def _check(self, rule: _Rule, columns: list[list[str]], cells: "_Cells") -> None:
        missing = [
            (_filled([columns[at] for at in member]), member, why) for member, why in rule.required
        ]
        if not rule.bare and all(all(filled) for filled, _, _ in missing):
            return
        there = _filled([columns[at] for at in rule.varying])
        for index in range(cells.count):
            lacks = next(
                ((member, why) for filled, member, why in missing if not filled[index]), None
            )
            if rule.bare and not there[index]:
                for at in rule.leaves:
                    columns[at][index] = ""
            elif lacks and (rule.always or any(columns[at][index] for at in rule.leaves)):
                member, why = lacks
                names = ", ".join(
                    dict.fromkeys(filter(None, (self.leaves[at].columns for at in member)))
                )
                cells.fail(index, names, why)

    def finished(self, lines: Iterable[str]) -> str:
        """The text of rows, each with its end."""
        text = "\n".join([*lines, ""])
        for _, empty in self._empty:
            text = text.replace(empty, "")
        text = text.replace("{" + _BEFORE, "{").replace("[" + _BEFORE, "[")
        return text.replace(_BEFORE, ",")


def _leaves(node: Mapping[str, Any]) -> int:
    inner = node.get("list") or node.get("object", {}).values()
    return sum(map(_leaves, inner)) if inner else 1


def _is_field(leaf: "_Field | _Constant") -> bool:
    return isinstance(leaf, _Field)


def _filled(columns: list[list[str]]) -> Sequence[object]:
    """For each row, whether any of these texts is there."""
    return columns[0] if len(columns) == 1 else list(map(any, zip(*columns, strict=True)))


_BEFORE = "\x01"  # a member of an object or a list


class _Constant:
    """What is the same in all rows of a file. Raises Unfit, whose text names the path."""

    columns = ""

    def __init__(
        self, document: Mapping[str, Any], placeholders: Mapping[str, str], prefix: str
    ) -> None:
        value, kind = document["value"], document["type"]
        try:
            if document.get("filled"):
                text = PLACEHOLDER.sub(lambda found: placeholders.get(found[1], ""), value)
                made = _scalar(document)(text)
            else:
                made = copier(kind, {})(value)
        except Unfit as unfit:
            raise Unfit(f"`{document['path']}`, which comes from its key, {unfit}") from None
        self._text = prefix + made if made else ""

    def texts(self, cells: "_Cells") -> list[str]:
        """For each row, its JSON with its name before it."""
        return [self._text] * cells.count


class _Field:
    """A field that is made of columns, or by an expression. `columns`: from which, for people."""

    def __init__(
        self, document: Mapping[str, Any], names: list[str], prefix: str, remembered: int
    ) -> None:
        self._prefix, self._document = prefix, document
        self._from: list[int] = document["from"]
        self.columns = ", ".join(names)
        self._names = names
        self._required: bool = document.get("required", False)
        kind = document["type"]
        self._expression = None
        if "expression" in document:
            self._expression = Expression(document["expression"])
        # Cells that are texts and become texts, one to one.
        self._of_texts = len(self._from) == 1 and self._expression is None
        self._of_texts = self._of_texts and (is_scalar(document) or "split" in document)
        # What is said of texts alone: JSON has numbers and lists of its own.
        self._only_texts = bool({"decimal", "thousands", "split"} & document.keys())
        self._as_it_is = self._of_texts and _is_plain(document, kind)
        self._changes, self._checks = _changes(document), string_checks(kind)
        self._write = _list(document, kind["items"]) if kind["type"] == "array" else _one(document)
        of_text = _scalar(document) if is_scalar(document) else self._write
        self._memory = _Memory(of_text, prefix, remembered)

    def texts(self, cells: _Cells) -> list[str]:
        """For each row, its JSON with its name before it; "" where it has none."""
        if self._of_texts and (cells.rows is None or not self._only_texts):
            column = cells.columns[self._from[0]]
            if cells.rows is not None:
                column = self._plain(column, cells)
            texts = self._of_column(column, cells)
        else:
            texts = self._of_values(self._values(cells), cells)
        if self._required and "" in texts:
            for index in compress(range(cells.count), map(not_, texts)):
                cells.fail(index, self.columns, f"{EMPTY}, and its route requires it")
        return texts

    def _of_column(self, column: Sequence[str], cells: _Cells) -> list[str]:
        if self._as_it_is:
            texts: Sequence[str] = column
            for change in self._changes:
                texts = list(map(change, texts))
            if all(all(map(fits, filter(None, texts))) for fits, _ in self._checks):
                prefix, write = self._prefix, quoted
                return [prefix + write(text) if text else "" for text in texts]
        memory = self._memory
        memory.failed = False
        found = list(map(memory.__getitem__, column))
        if memory.failed:
            for index, text in enumerate(found):
                if text is _FAILED:
                    found[index] = ""
                    cells.fail(index, self.columns, _why(self._write, column[index]))
        return found

    def _plain(self, column: Sequence[Any], cells: _Cells) -> Sequence[str]:
        """Values of JSON as texts; where a list or an object is, the row fails."""
        texts = list[str]()
        for index, value in enumerate(column):
            text = value if isinstance(value, str) else text_of(value)
            if text is None:
                cells.fail(index, self.columns, _why(self._write, value))
            texts.append(text or "")
        return texts

    def _of_values(self, values: Iterable[Any], cells: _Cells) -> list[str]:
        texts = list[str]()
        for index, value in enumerate(values):
            try:
                text = self._write(value)
            except (Unfit, RecursionError):
                cells.fail(index, self.columns, _why(self._write, value))
                text = ""
            texts.append(self._prefix + text if text else "")
        return texts

    def _values(self, cells: _Cells) -> Iterable[Any]:
        columns = [cells.columns[index] for index in self._from]
        if self._expression is not None:
            return self._computed(self._expression, columns, cells)
        if "join" in self._document:
            return map(self._joined, zip(*columns, strict=True))
        return columns[0] if len(columns) == 1 else map(list, zip(*columns, strict=True))

    def _joined(self, values: tuple[Any, ...]) -> Any:
        texts = list(map(text_of, values))
        if None in texts:
            return [None]  # what cannot be joined is no text, either
        parts = [text.strip() if "trim" in self._document else text for text in texts if text]
        return self._document["join"].join(filter(None, parts))

    def _computed(
        self, expression: Expression, columns: Sequence[Sequence[Any]], cells: _Cells
    ) -> list[Any]:
        values = list[Any]()
        names = self._names
        for index in range(cells.count):
            try:
                if cells.rows is None:
                    row = {n: c[index] or None for n, c in zip(names, columns, strict=True)}
                else:
                    row = exact(cells.rows[index])
                values.append(expression.of(row))
            except (NotComputed, RecursionError):
                cells.fail(index, self.columns, "its expression cannot be computed")
                values.append(None)
        return values


_FAILED = "\0"  # no JSON text


class _Memory(dict[str, str]):
    """What the texts of a field become; _FAILED for those that cannot be in it."""

    def __init__(self, write: Callable[[Any], str], prefix: str, most: int) -> None:
        super().__init__()
        self._write, self._prefix, self._most = write, prefix, most
        self.failed = False

    def __missing__(self, cell: str) -> str:
        try:
            text = self._write(cell)
        except Unfit:
            self.failed = True
            return _FAILED
        if text:
            text = self._prefix + text
        if len(self) >= self._most:
            self.clear()
        self[cell] = text
        return text


def _why(write: Callable[[Any], str], value: Any) -> str:
    try:
        write(value)
    except Unfit as unfit:
        return str(unfit)
    except RecursionError:
        pass
    return "is nested too deeply"


def _is_plain(document: Mapping[str, Any], kind: Type) -> bool:
    """Whether texts go into a field as they are, but for white space and case."""
    changed = {"as", "values", "default", "split"} & document.keys()
    return not changed and kind["type"] == "string"


def _changes(document: Mapping[str, Any]) -> list[Callable[[str], str]]:
    return [
        change
        for name, change in (("trim", str.strip), ("lower", str.lower), ("upper", str.upper))
        if name in document
    ]


def is_scalar(document: Mapping[str, Any]) -> bool:
    """Whether a field takes one value, and no list or object."""
    name = document["type"]["type"]
    return name in SCALARS or (name == "any" and "as" in document)


def _one(document: Mapping[str, Any]) -> Callable[[Any], str]:
    """What writes a value into a field that is no list."""
    if not is_scalar(document):
        return copier(document["type"], document)
    write = _scalar(document)

    def one(value: Any) -> str:
        text = text_of(value)
        if text is None:
            raise Unfit("is a list or an object, and one value is wanted")
        return write(text)

    return one


def _list(document: Mapping[str, Any], kind: Type) -> Callable[[Any], str]:
    """What writes a list, or a text that is split, into a field that is one."""
    write, separator = _one({**document, "type": kind}), document.get("split")
    if kind["type"] == "array":
        write = copier(kind, document)

    def several(value: Any) -> str:
        if isinstance(value, str) and separator is not None:
            value = value.split(separator)
        if value is None or value == "":
            return ""
        if not isinstance(value, list):
            raise Unfit("is no list")
        items = [text for item in value if item not in ("", None) and (text := write(item))]
        return f"[{','.join(items)}]" if items else ""

    return several


def _scalar(document: Mapping[str, Any]) -> Callable[[str], str]:
    """What writes a text, changed as the map says, into a field that is no list and no object."""
    kind = document["type"]
    write, ready = writer(kind, document), copier(kind, {})
    changes = _changes(document)
    table = document.get("values")
    known = None if table is None else {key: ready(value) for key, value in table.items()}
    default = ready(document["default"]) if document.get("default") is not None else ""
    if not (changes or default) and known is None:
        return lambda text: text and write(text)

    def scalar(text: str) -> str:
        for change in changes if type(text) is not Number else ():
            text = change(text)
        if not text:
            return default
        if known is None:
            return write(text)
        made = known.get(text)
        if made is not None:
            return made
        if "default" in document:
            return default
        raise Unfit("is not among the `values` of its route")

    return scalar
