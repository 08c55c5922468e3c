"""Reads JSON of any layout as JSON Lines: a row is an object, in a line of its own.

Lines are taken as they are. In every other layout (lists, objects over several lines, or with
nothing between them) the text of each object is taken, and only its line breaks become spaces:
numbers and repeated members stay as they are written. Between objects there may be white space,
commas, byte order marks (of files that were put one after another), or record separators (RFC
7464).

That a row is an object is checked by regular expressions for many rows at a time. Most rows of a
file are written as one of its first is, but for their values: an expression for them takes an
eighth of the time of `json.loads`, and one for all objects a quarter. What neither fits (a deeper
object, or no JSON) is read by that: so they may miss an object, but never take what is none.
"""

import json
import re
from functools import cache
from itertools import chain, repeat
from typing import Any

from aep_intake.content.rows import Block, BrokenRow
from aep_intake.model.errors import FormatMismatch

_DEPTH = 5  # of objects and lists that the expressions know; each one doubles them
_MANY = 32  # rows; Python's part of the work is small with that many
# Some tens of milliseconds, to compile an expression of its own, are little to a file of so many
# bytes; but not where a row has many hundreds of members.
_LARGE, _ROW_MAX = 2**23, 2**12

# RFC 8259; without backtracking.
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUMBER = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+"
_SCALAR = rf"{_STRING}|{_NUMBER}|true|false|null"


def _object(space: str) -> str:
    """An expression for an object in which there is `space` between tokens; without backtracking.

    Bytes of UTF-8 beyond ASCII are only in strings.
    """
    value = rf"(?:{_SCALAR})"
    whole = ""
    for _ in range(_DEPTH):
        member = rf"{_STRING}{space}:{space}{value}{space}"
        whole = rf"\{{{space}(?:{member}(?:,{space}(?=\")|(?=\}})))*+\}}"
        several = rf"\[{space}(?:{value}{space}(?:,{space}(?!\])|(?=\])))*+\]"
        value = rf"(?:{_SCALAR}|{whole}|{several})"
    return whole


@cache  # it takes tens of milliseconds, which no function needs that reads no JSON
def _lines() -> re.Pattern[bytes]:
    row = rf"{_object(r'[ \t]*+')}[ \t\r]*+\n"
    return re.compile(rf"(?:{row}){{0,{_MANY}}}+".encode())


@cache
def _one() -> re.Pattern[bytes]:
    return re.compile(_object(r"[ \t\r\n]*+").encode())


@cache
def _names_or_values() -> re.Pattern[bytes]:
    return re.compile(rf"({_STRING}[ \t]*+:)|{_SCALAR}".encode())


def _written_like(row: bytes) -> re.Pattern[bytes]:
    """An expression for rows that are this one, an object, with other values that are no objects
    and no lists.
    """
    parts, at, value = list[bytes](), 0, rf"(?:{_SCALAR})".encode()
    for found in _names_or_values().finditer(row):
        if found[1] is None:
            parts += re.escape(row[at : found.start()]), value
            at = found.end()
    return re.compile(b"(?:%b%b)*+" % (b"".join(parts), re.escape(row[at:])))


BOM, SEPARATOR = "\ufeff", "\x1e"
_BETWEEN = re.compile(rf"(?:[ \t\r\n,{SEPARATOR}]|{BOM})*+".encode())
_IN_QUOTES = rb'(?:[^"\\]++|\\.)*+'
# What is before the next bracket: at the end of a text, that of a string may be still to come.
_BESIDE = rb'(?:[^"{}]++|"%b")*+' % _IN_QUOTES
_BRACKET = re.compile(_BESIDE + rb"([{}])", re.DOTALL)
_UP_TO_STRING = re.compile(_BESIDE, re.DOTALL)
_STRING_REST = re.compile(_IN_QUOTES, re.DOTALL)
# What is not an object is taken in pieces of some bytes, so that it ends whatever it is.
_OTHER_MAX = 4096
_OTHER = re.compile(
    rb'"(?:[^"\\]|\\.){0,%d}+"|[^\s,\[\]{}"]{1,%d}+|.' % (_OTHER_MAX, _OTHER_MAX), re.DOTALL
)
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_BLANK = b" \t\r\n"
_NO_OBJECT = "it is not a JSON object"
# Python's decoder takes up to fifty times the memory of what it reads: larger rows are only read
# by the expressions.
_DECODED_MAX = 16 * 2**20  # bytes
_TOO_DEEP = (
    f"it has over {_DECODED_MAX // 2**20} MB, and is not a JSON object, or is nested deeper than "
    f"the {_DEPTH} levels that are checked in one of that size"
)


def _no_number(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not a number", "", 0)


# Python takes no integer of more than 4,300 digits; and NaN, which is not JSON.
DECODER = json.JSONDecoder(parse_int=float, parse_constant=_no_number)


def fault_of(text: bytes) -> str:
    """Why it is not one JSON object, with white space around it at most, in UTF-8; empty if it is.

    One that is large, and nested deeper than the expressions know, counts as none.
    """
    if len(text) > _DECODED_MAX:
        good = _one().fullmatch(text.strip(_BLANK)) is not None and _is_utf_8(text)
        return "" if good else _TOO_DEEP
    try:
        return "" if isinstance(DECODER.decode(text.decode()), dict) else _NO_OBJECT
    except json.JSONDecodeError as error:
        where = f" (character {error.pos + 1})" if error.doc else ""  # of NaN it is not known
        return f"it is not JSON: {error.msg}{where}"
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except RecursionError:
        return "it is nested too deeply"


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class JsonLines:
    """A RowReader of JSON Lines. A line ends at LF; empty ones are not rows.

    `few`: of so few rows that the expressions are not worth their compilation.
    """

    def __init__(self, at: int = 0, rows: int = 0, *, few: bool = False) -> None:
        self.at, self.rows, self.header, self.row_end = at, rows, b"", b"\n"
        self._begun: list[bytes] = []
        self._few = few
        self._alike: re.Pattern[bytes] | None = None  # what most rows of a large file match

    def feed(self, chunk: bytes) -> Block:
        """The rows that end in this chunk, as they are."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._begun.append(chunk)
            return Block()
        text, self._begun = b"".join((*self._begun, chunk[:end])), [chunk[end:]]
        return self._block(text)

    def end(self) -> Block:
        """The last row, if no line break follows it."""
        text, self._begun = b"".join(self._begun), []
        return self._block(text)

    def unfinished(self) -> str:
        """Where the row begins that has no end yet."""
        return f"row {self.rows + 1:,}, which begins at byte {self.at:,}, has no end"

    def _block(self, text: bytes) -> Block:
        before, start, clean = self.rows, 0, not self._few and _is_utf_8(text)
        broken: list[BrokenRow] = []
        while start < len(text):
            good = self._objects_end(text, start) if clean else start
            self.rows += text.count(b"\n", start, good)
            line_end = text.find(b"\n", good) + 1 or len(text)
            line = text[good:line_end]
            if line.strip(_BLANK):
                self.rows += 1
                if fault := fault_of(line):
                    broken.append(BrokenRow(self.rows, self.at + good, fault))
            start = line_end
        self.at += len(text)
        return Block(text, self.rows - before, tuple(broken))

    def _objects_end(self, text: bytes, start: int) -> int:
        """Where the lines end that are surely objects, from `start` on."""
        end = start
        while True:
            before, end = end, _end(self._alike, text, end) if self._alike else end
            end = _end(_lines(), text, end)
            if end == before:
                return end
            if self._alike is None and self.at >= _LARGE:
                row = text[before : text.find(b"\n", before) + 1]
                self._alike = _written_like(row) if len(row) <= _ROW_MAX else _lines()


class JsonObjects:
    """A RowReader of JSON objects in any layout, which gives them as JSON Lines.

    `inside`: whether a list has begun, when it goes on where another one left off. `uri`: of the
    file, for errors. `few`: as of `JsonLines`. Its end raises FormatMismatch if the text breaks
    off.
    """

    def __init__(
        self, uri: str, at: int = 0, rows: int = 0, *, inside: bool = False, few: bool = False
    ) -> None:
        self.at, self.rows, self.header, self.row_end = at, rows, b"", b"\n"
        self.inside = inside
        self._uri, self._few = uri, few
        self._rest = b""  # what more text decides
        self._object: _Object | None = None  # that has begun

    def feed(self, chunk: bytes) -> Block:
        """The objects that end in this chunk, each in a line."""
        return self._block(chunk, final=False)

    def end(self) -> Block:
        """The last object. Raises FormatMismatch if it, or a list, has no end."""
        block = self._block(b"", final=True)
        if self._object or self.inside:
            what = self.unfinished() if self._object else "its list has no end"
            raise FormatMismatch(f"{self._uri} breaks off: {what}. Send it again")
        return block

    def unfinished(self) -> str:
        """Where the row begins that has no end yet."""
        return f"row {self.rows + 1:,}, which begins at byte {self.at:,}, has no end"

    def _block(self, chunk: bytes, *, final: bool) -> Block:
        lines: list[bytes] = []
        broken: list[BrokenRow] = []

        def take(text: bytes, fault: str) -> None:
            if fault:
                broken.append(BrokenRow(self.rows + len(lines) + 1, self.at, fault))
            lines.append(text.translate(_BREAKS) if b"\n" in text or b"\r" in text else text)
            self.at += len(text)

        text, at, self._rest = self._rest + chunk, 0, b""
        if self._object is not None:
            end = self._object.end_in(text)
            if end is None:
                return Block()
            whole, self._object = self._object.text(), None
            take(whole, fault_of(whole))
            at = end
        clean = _is_utf_8(text)
        while True:
            begin = _end(_BETWEEN, text, at)
            self.at, at = self.at + begin - at, begin
            if at == len(text):
                break
            if not self._few and (found := _one().match(text, at)):
                take(found[0], "" if clean or _is_utf_8(found[0]) else fault_of(found[0]))
                at = found.end()
            elif text.startswith(b"{", at):
                begun = _Object()
                end = begun.end_in(text, at)
                if end is None:
                    self._object = begun
                    break
                take(text[at:end], fault_of(text[at:end]))
                at = end
            elif text.startswith(b"]" if self.inside else b"[", at):
                self.inside, at, self.at = not self.inside, at + 1, self.at + 1
            elif not final and len(text) - at < 2 * _OTHER_MAX + 2:
                self._rest = text[at:]
                break
            else:
                end = _end(_OTHER, text, at)
                take(text[at:end], _NO_OBJECT)
                at = end
        self.rows += len(lines)
        return Block(b"".join(chain(*zip(lines, repeat(b"\n")))), len(lines), tuple(broken))


class _Object:
    """Finds where an object ends, however its text comes; each byte is looked at once."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        self._depth = 0
        self._quoted = self._escaped = False  # whether the text has ended in a string, behind a \

    def text(self) -> bytes:
        """All of it."""
        return b"".join(self._begun)

    def end_in(self, text: bytes, start: int = 0) -> int | None:
        """Where it ends in the text that follows, from `start` on; None if that is to come."""
        end = self._end(text, start)
        self._begun.append(text[start:end])
        return end

    def _end(self, text: bytes, at: int) -> int | None:
        if not text:
            return None
        if self._quoted:
            at = self._behind_string(text, at + self._escaped)
            if self._quoted:
                return None
        while bracket := _BRACKET.match(text, at):
            self._depth += 1 if bracket[1] == b"{" else -1
            at = bracket.end()
            if not self._depth:
                return at
        at = _end(_UP_TO_STRING, text, at)
        if at < len(text):
            self._behind_string(text, at + 1)
        return None

    def _behind_string(self, text: bytes, at: int) -> int:
        at = _end(_STRING_REST, text, at)
        self._quoted = not text.startswith(b'"', at)
        self._escaped = self._quoted and at < len(text)
        return at + 1


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
