"""Reads JSON of any layout as JSON Lines: a row is an object, in a line of its own.

Lines are taken as they are. In every other layout (lists, objects over several lines, or with
nothing between them) the text of each object is taken, and only its line breaks become spaces:
numbers and repeated members stay as they are written.

That a row is an object is checked by one regular expression for many rows at a time, which takes a
quarter of the time of `json.loads`. What it does not fit (a deeper object, or no JSON) is read by
that: so the expression may miss an object, but never takes what is none.
"""

import json
import re
from functools import cache
from typing import Any

from aep_intake.content.rows import Block, BrokenRow
from aep_intake.model.errors import FormatMismatch

_DEPTH = 5  # of objects and lists that the expressions know; each one doubles them


def _object(space: str) -> str:
    """An expression for an object in which there is `space` between tokens; without backtracking.

    RFC 8259. Bytes of UTF-8 beyond ASCII are only in strings.
    """
    string = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
    number = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+"
    value = rf"(?:{string}|{number}|true|false|null)"
    whole = ""
    for _ in range(_DEPTH):
        member = rf"{string}{space}:{space}{value}{space}"
        whole = rf"\{{{space}(?:{member}(?:,{space}(?=\")|(?=\}})))*+\}}"
        several = rf"\[{space}(?:{value}{space}(?:,{space}(?!\])|(?=\])))*+\]"
        value = rf"(?:{string}|{number}|true|false|null|{whole}|{several})"
    return whole


@cache  # it takes tens of milliseconds, which no function needs that reads no JSON
def _lines() -> re.Pattern[bytes]:
    return re.compile(rf"(?:{_object(r'[ \t]*+')}[ \t\r]*+\n)*+".encode())


@cache
def _one() -> re.Pattern[bytes]:
    return re.compile(_object(r"[ \t\r\n]*+").encode())


_BETWEEN = re.compile(rb"[ \t\r\n,]*+")
_BRACKET = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+([{}])', re.DOTALL)
_OTHER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^\s,\[\]{}"]++|.', re.DOTALL)
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_BLANK = b" \t\r\n"
_NO_OBJECT = "it is no JSON object"


def _no_number(text: str) -> Any:
    raise ValueError(text)


# Python takes no integer of more than 4,300 digits; and NaN, which is no JSON.
_DECODER = json.JSONDecoder(parse_int=float, parse_constant=_no_number)


def is_object(text: bytes) -> bool:
    """Whether it is one JSON object, with white space around it at most, in UTF-8."""
    try:
        return isinstance(_DECODER.decode(text.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class JsonLines:
    """A RowReader of JSON Lines. A line ends at LF; empty ones are no rows."""

    def __init__(self, at: int = 0, rows: int = 0) -> None:
        self.at, self.rows, self.header, self.row_end = at, rows, b"", b"\n"
        self._begun: list[bytes] = []

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
        before, start, clean = self.rows, 0, _is_utf_8(text)
        broken: list[BrokenRow] = []
        while start < len(text):
            good = _end(_lines(), text, start) if clean else start
            self.rows += text.count(b"\n", start, good)
            line_end = text.find(b"\n", good) + 1 or len(text)
            line = text[good:line_end]
            if line.strip(_BLANK):
                self.rows += 1
                if not is_object(line):
                    broken.append(BrokenRow(self.rows, self.at + good, _NO_OBJECT))
            start = line_end
        self.at += len(text)
        return Block(text, self.rows - before, tuple(broken))


class JsonObjects:
    """A RowReader of JSON objects in any layout, which gives them as JSON Lines.

    `inside`: whether a list has begun, when it goes on where another one left off. `uri`: of the
    file, for errors. Its end raises FormatMismatch if the text breaks off.
    """

    def __init__(self, uri: str, at: int = 0, rows: int = 0, *, inside: bool = False) -> None:
        self.at, self.rows, self.header, self.row_end = at, rows, b"", b"\n"
        self.inside = inside
        self._uri = uri
        self._rest = b""
        # Of an object that has begun in `_rest`: how far it is read, and how deep that is.
        self._seen = self._depth = 0

    def feed(self, chunk: bytes) -> Block:
        """The objects that end in this chunk, each in a line."""
        self._rest += chunk
        return self._block(final=False)

    def end(self) -> Block:
        """The last object. Raises FormatMismatch if it, or a list, has no end."""
        block = self._block(final=True)
        if self._rest or self.inside:
            what = self.unfinished() if self._rest else "its list has no end"
            raise FormatMismatch(f"{self._uri} breaks off: {what}. Send it again")
        return block

    def unfinished(self) -> str:
        """Where the row begins that has no end yet."""
        return f"row {self.rows + 1:,}, which begins at byte {self.at:,}, has no end"

    def _block(self, *, final: bool) -> Block:
        text, at, clean = self._rest, 0, _is_utf_8(self._rest)
        lines: list[bytes] = []
        broken: list[BrokenRow] = []
        while True:
            if not self._seen:
                at = _end(_BETWEEN, text, at)
            if at == len(text):
                break
            found = None if self._seen else _one().match(text, at)
            if found is not None:
                end, good = found.end(), clean or _is_utf_8(found[0])
            elif text.startswith(b"{", at):
                ends = self._end_of_object(text, at)
                if ends is None:
                    break
                end, good = ends, is_object(text[at:ends])
            elif text.startswith(b"]" if self.inside else b"[", at):
                self.inside, at = not self.inside, at + 1
                continue
            else:
                end, good = _end(_OTHER, text, at), False
                if end == len(text) and not final:  # there may be more of it
                    break
            line = text[at:end]
            lines.append(line.translate(_BREAKS) if b"\n" in line or b"\r" in line else line)
            if not good:
                broken.append(BrokenRow(self.rows + len(lines), self.at + at, _NO_OBJECT))
            at = end
        self._rest = text[at:]
        self.at, self.rows = self.at + at, self.rows + len(lines)
        return Block(b"".join(b"%b\n" % line for line in lines), len(lines), tuple(broken))

    def _end_of_object(self, text: bytes, at: int) -> int | None:
        """Where the object ends that begins at `at`; None if that is still to come."""
        seen, self._depth = _closed(text, at + self._seen, self._depth)
        self._seen = seen - at if self._depth else 0
        return None if self._depth else seen


def _closed(text: bytes, at: int, depth: int = 0) -> tuple[int, int]:
    """Behind the bracket that closes an object, and 0; or behind the last one, and its depth."""
    while bracket := _BRACKET.match(text, at):
        depth += 1 if bracket[1] == b"{" else -1
        at = bracket.end()
        if not depth:
            break
    return at, depth


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
