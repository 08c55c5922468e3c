"""Makes the JSON of a field, for many rows at a time, of columns of a file.

A field's text has its name before it and a comma behind it; it is empty where a row has none.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from operator import not_
from typing import Any

from aep_intake.content.expressions import Expression, NotComputed, exact
from aep_intake.content.typed import (
    Number,
    Type,
    Unfit,
    copier,
    quoted,
    string_checks,
    text_of,
    writer,
)

PLACEHOLDER = re.compile(r"\{([A-Za-z][0-9A-Za-z_]*)\}")
SCALARS = ("string", "integer", "number", "boolean", "date", "date-time")
EMPTY = "is empty"
_ESCAPED = bytes((*range(32), *b'"\\'))  # in strings of JSON


class Cells:
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


class Constant:
    """What is the same in all rows of a file. Raises Unfit, whose text names the path."""

    columns = ""

    def __init__(
        self, document: Mapping[str, Any], placeholders: Mapping[str, str], name: str
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
        self._text = f"{name}{made}," if made else ""

    def texts(self, cells: "Cells") -> list[str]:
        """For each row, its JSON as a member."""
        return [self._text] * cells.count


class Field:
    """A field that is made of columns, or by an expression. `columns`: from which, for people."""

    def __init__(
        self, document: Mapping[str, Any], names: list[str], name: str, remembered: int
    ) -> None:
        self._name, self._document = name, document
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
        self._memory = _Memory(of_text, name, remembered)

    def texts(self, cells: Cells) -> list[str]:
        """For each row, its JSON as a member; "" where it has none."""
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

    def _of_column(self, column: Sequence[str], cells: Cells) -> list[str]:
        if self._as_it_is:
            texts: Sequence[str] = column
            for change in self._changes:
                texts = list(map(change, texts))
            if all(all(map(fits, filter(None, texts))) for fits, _ in self._checks):
                name, write = self._name, quoted
                if _has_no_escapes(texts):
                    return [f'{name}"{text}",' if text else "" for text in texts]
                return [f"{name}{write(text)}," if text else "" for text in texts]
        memory = self._memory
        memory.failed = False
        found = list(map(memory.__getitem__, column))
        if memory.failed:
            for index, text in enumerate(found):
                if text is _FAILED:
                    found[index] = ""
                    cells.fail(index, self.columns, _why(self._write, column[index]))
        return found

    def _plain(self, column: Sequence[Any], cells: Cells) -> Sequence[str]:
        """Values of JSON as texts; where a list or an object is, the row fails."""
        texts = list[str]()
        for index, value in enumerate(column):
            text = value if isinstance(value, str) else text_of(value)
            if text is None:
                cells.fail(index, self.columns, _why(self._write, value))
            texts.append(text or "")
        return texts

    def _of_values(self, values: Iterable[Any], cells: Cells) -> list[str]:
        texts = list[str]()
        for index, value in enumerate(values):
            try:
                text = self._write(value)
            except (Unfit, RecursionError):
                cells.fail(index, self.columns, _why(self._write, value))
                text = ""
            texts.append(f"{self._name}{text}," if text else "")
        return texts

    def _values(self, cells: Cells) -> Iterable[Any]:
        columns = [cells.columns[index] for index in self._from]
        if self._expression is not None:
            return self._computed(self._expression, columns, cells)
        if "join" in self._document:
            return map(self._joined, zip(*columns, strict=True))
        return columns[0] if len(columns) == 1 else map(list, zip(*columns, strict=True))

    def _joined(self, values: tuple[Any, ...]) -> Any:
        texts = list(map(text_of, values))
        if None in texts:
            return [None]  # what cannot be joined is not text, either
        parts = [text.strip() if "trim" in self._document else text for text in texts if text]
        return self._document["join"].join(filter(None, parts))

    def _computed(
        self, expression: Expression, columns: Sequence[Sequence[Any]], cells: Cells
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


def _has_no_escapes(texts: Iterable[str]) -> bool:
    """Whether texts are strings of JSON as they are: of most columns all are."""
    text = "".join(texts).encode("utf-8", "surrogatepass")
    return len(text.translate(None, _ESCAPED)) == len(text)


_FAILED = "\0"  # no JSON text


class _Memory(dict[str, str]):
    """What the texts of a field become; _FAILED for those that cannot be in it."""

    def __init__(self, write: Callable[[Any], str], name: str, most: int) -> None:
        super().__init__()
        self._write, self._name, self._most = write, name, most
        self.failed = False

    def __missing__(self, cell: str) -> str:
        try:
            text = self._write(cell)
        except Unfit:
            self.failed = True
            return _FAILED
        if text:
            text = f"{self._name}{text},"
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
    """What writes a value into a field that is not a list."""
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
            raise Unfit("is not a list")
        items = [text for item in value if item not in ("", None) and (text := write(item))]
        return f"[{','.join(items)}]" if items else ""

    return several


def _scalar(document: Mapping[str, Any]) -> Callable[[str], str]:
    """What writes a text, changed by the map, into a field that is neither a list nor an object."""
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
