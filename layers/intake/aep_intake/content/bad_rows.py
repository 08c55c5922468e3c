"""Rows that a map leaves out, as they are kept for people: where each is, and what it breaks.

JSON Lines, `{"file", "row", "column", "rule"}`, and with the row as it was read only where its
route wants that. They are bounded: of the rows behind the last one that is kept, `{"file",
"notKept"}` says how many they are. The same rows are always the same bytes.
"""

import json
from collections.abc import Iterable
from gzip import compress
from typing import Any

from aep_intake.content.csv import CsvReader
from aep_intake.content.rows import Block, BrokenRow, RowReader

ROWS_MAX = 10_000  # that are kept of a file
BYTES_MAX = 10_000_000  # of them that are kept of a part


class BadRowsOfPart:
    """Those of one part. `uri`: of its file. `content`: whether they are kept as they were read."""

    def __init__(self, uri: str, *, content: bool) -> None:
        self._uri, self._content = uri, content
        self._lines: list[bytes] = []
        self._size = self._rows = 0

    def add(self, reader: RowReader, block: Block, broken: Iterable[BrokenRow]) -> None:
        """Those among the rows that a reader has handed over just now."""
        before = reader.rows - block.rows
        contents: list[Any] | None = None
        for row in broken:
            full = len(self._lines) < self._rows
            self._rows += 1
            if full:
                continue
            line: dict[str, Any] = {"file": self._uri, "row": row.row}
            line |= {"column": row.column} if row.column else {}
            line["rule"] = row.rule
            if self._content and row.row > before:  # a header is none of the rows
                contents = _contents(reader, block) if contents is None else contents
                line["content"] = contents[row.row - before - 1]
            text = _line(line)
            if len(self._lines) < ROWS_MAX and self._size + len(text) <= BYTES_MAX:
                self._lines.append(text)
                self._size += len(text)

    def packed(self, before: int) -> bytes:
        """As a gzip; empty if there are none. `before`: how many of the file are before these."""
        if not self._rows:
            return b""
        kept = self._lines[: max(0, ROWS_MAX - before)]
        if more := self._rows - len(kept):
            kept.append(_line({"file": self._uri, "notKept": more}))
        return compress(b"".join(kept), mtime=0)


def _contents(reader: RowReader, block: Block) -> list[Any]:
    """Each row of a block: the values of a CSV's, the text of JSON."""
    if isinstance(reader, CsvReader):
        return reader.values(block.text)
    lines = block.text.split(b"\n")
    return [line.decode(errors="replace") for line in lines if line.strip(b" \t\r")]


def _line(members: dict[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode(errors="replace") + b"\n"
