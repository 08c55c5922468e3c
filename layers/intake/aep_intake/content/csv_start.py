"""Whether a CSV is written as its format says, and how many of its rows are whole at its start."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aep_intake.content.beginning import Beginning, Content
from aep_intake.content.csv import CsvReader
from aep_intake.content.csv_dialect import PROLOGUE_BYTES, prologue, readable
from aep_intake.content.csv_header import same_name
from aep_intake.content.json_layout import is_json
from aep_intake.model.errors import FormatMismatch

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars (|)"}
_ROWS = 10  # of which the columns are compared


def with_rows(
    file: Beginning,
    text: str,
    content: Content,
    input_format: Mapping[str, Any],
    *,
    mapped: bool,
) -> Content:
    """`content` with its rows, once its format and its delimiter are the route's.

    `mapped`: its columns are not those of the dataset. Raises FormatMismatch.
    """
    if is_json(text, whole=file.whole):
        raise file.mismatch("JSON")
    # The text was decoded, and is read as UTF-8.
    written = {name: value for name, value in input_format.items() if name != "charset"}
    if not readable(written):
        return content
    encoded = text.encode()
    try:
        rows = encoded[prologue(encoded[:PROLOGUE_BYTES], written) :]
        reader = CsvReader(written)
        broken = reader.feed(rows).broken
        if file.whole:
            broken += reader.end().broken
    except FormatMismatch as fault:
        raise FormatMismatch(f"{file.uri}: {fault.detail}") from None
    if reader.rows and reader.header and len(reader.values(reader.header)[0]) == 1:
        _check_delimiter(file, rows, written)
    if not mapped and (same := same_name(reader.names)):
        raise FormatMismatch(
            f"{file.uri!r}: the columns {same[0]} and {same[1]} of its header have the same name, "
            "and a dataset has one field of each name: rename one, or send it by a route with a "
            "`map`, which reads the columns that it names; if the first row is no header, say "
            '"header": false in its inputFormat'
        )
    first = f"row {broken[0].row:,}: {broken[0].rule}" if broken else ""
    found = replace(content, rows=reader.rows, all_rows=file.whole)
    return replace(found, broken=len(broken), fault=first)


def _check_delimiter(file: Beginning, text: bytes, input_format: Mapping[str, Any]) -> None:
    delimiter = str(input_format.get("delimiter") or ",")
    for other in (mark for mark in _DELIMITERS if mark != delimiter):
        reader = CsvReader({**input_format, "delimiter": other})
        block = reader.feed(text)
        rows = [*reader.values(reader.header), *reader.values(block.text)][:_ROWS]
        columns = {len(row) for row in rows}
        if len(columns) == 1 and columns.pop() > 1:
            said = repr(delimiter) if delimiter != "\t" else "a tab"
            raise file.mismatch(
                f"columns between {_DELIMITERS[other]}",
                f"that {said} is between them",
                f"set inputFormat.delimiter to {json.dumps(other)}",
            )
