"""How the rows of JSON are laid out, and how many are whole, as far as the first bytes show.

The readers that the upload has find the rows, so that the two agree.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from json import JSONDecodeError
from typing import Any

from aep_intake.content.beginning import Beginning, Content
from aep_intake.content.json_rows import BOM, DECODER, SEPARATOR, JsonLines, JsonObjects
from aep_intake.content.rows import Block
from aep_intake.model.errors import FormatMismatch

_BLANK = " \t\r\n"  # JSON's white space, which is less than Python's
_NEW_LINE = re.compile(r"\r\n|\r|\n")
_LONE_CR = re.compile(r"\r(?![\r\n]|\Z)")
_FIRST_MEMBER = re.compile(r'[\[\s]*\{\s*"(?:[^"\\]|\\.)*"\s*:')


def with_layout(file: Beginning, text: str, content: Content) -> Content:
    """`content` with its layout and rows. Raises FormatMismatch."""
    start = text.lstrip(_BLANK + SEPARATOR + BOM)
    if not start.startswith(("{", "[")):
        if start:
            raise file.mismatch("text that begins neither with { nor with [")
        return _with_rows(content, file, "several" if text.strip() else "", Block())
    if start[0] == "{":
        return _objects(file, text, content)
    if start[1:].lstrip(_BLANK)[:1] not in ("{", "]", ""):
        raise file.mismatch(
            "a list of values that are not JSON objects", remedy="write each row as an object"
        )
    reader = JsonObjects(file.uri, content.bom, few=True)
    found = reader.feed(text.encode())
    is_array = reader.inside or _is_one(text)
    if file.whole:
        found = found.plus(reader.end())
    return _with_rows(content, file, "array" if is_array else "several", found)


def _objects(file: Beginning, text: str, content: Content) -> Content:
    """Of text that begins with an object: as lines, unless more rows are whole otherwise."""
    # No token of JSON has a line break: the text up to the last one cuts none in two.
    cut = text if file.whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    by_line = JsonLines(content.bom, few=True)
    lines = by_line.feed(cut.encode())
    if file.whole:
        lines = lines.plus(by_line.end())
    lone_cr = _LONE_CR.search(cut) is not None
    has_lines = "\n" in text.strip(_BLANK)
    if lines.rows and not lines.broken and not lone_cr:
        return _with_rows(content, file, "lines" if has_lines else "", lines)
    reader = JsonObjects(file.uri, content.bom, few=True)
    seen = cut if lines.rows else text
    found = reader.feed(seen.encode())
    by_lines = (found.good, lone_cr) <= (lines.good, False)
    if lines.rows and by_lines and not _spans_lines(cut):
        return _with_rows(content, file, "lines" if has_lines else "", lines)
    if file.whole:
        found = found.plus(reader.end())
    if not _is_one(seen) and (found.rows or file.whole):
        return _with_rows(content, file, "several", found)
    # One object on one line may be the first of many, too.
    return _with_rows(content, file, "document" if cut.strip(_BLANK) else "", found)


def _with_rows(content: Content, file: Beginning, layout: str, found: Block) -> Content:
    rows = replace(content, layout=layout, rows=found.rows, all_rows=file.whole)
    if not found.broken:
        return rows
    first = found.broken[0]
    return replace(rows, broken=len(found.broken), fault=f"row {first.row:,}: {first.rule}")


def _is_one(text: str) -> bool:
    """Whether a text is one JSON value."""
    try:
        DECODER.decode(text)
    except RecursionError:
        return True
    except JSONDecodeError:
        return False
    return True


def _spans_lines(text: str) -> bool:
    """Whether the first object of a text, which is cut between two tokens, has several lines."""
    text = text.lstrip(_BLANK)
    try:
        _, end = DECODER.raw_decode(text)
    except RecursionError:
        return True
    except JSONDecodeError as error:
        if text[error.pos :].strip(_BLANK):  # it does not just break off
            return False
        end = len(text)
    return _NEW_LINE.search(text[:end]) is not None


def is_json(text: str, *, whole: bool) -> bool:
    """Whether it is JSON beyond doubt; not the first field of a CSV that happens to be JSON."""
    text = text.lstrip(_BLANK)
    if not text.startswith(("{", "[")):
        return False
    try:
        _, end = DECODER.raw_decode(text)
    except (JSONDecodeError, RecursionError):
        return not whole and bool(_FIRST_MEMBER.match(text))
    more = text[end:].lstrip(" \t")
    return not more or bool(_NEW_LINE.match(more))


def format_with(input_format: Mapping[str, Any], content: Content, uri: str) -> Mapping[str, Any]:
    """The input format, with `isMultiLineJson` if the file at `uri` is one JSON document.

    Raises FormatMismatch if the format says another layout, or none can be said.
    https://experienceleague.adobe.com/en/docs/experience-platform/ingestion/batch/troubleshooting
    """
    if content.layout == "several":
        raise FormatMismatch(
            f"{uri!r} holds JSON that is neither one document nor one object a line; write one "
            "object a line, or all of them in one list"
        )
    given, found = input_format.get("isMultiLineJson"), content.layout in ("array", "document")
    if not content.layout or given is found or (given is None and not found):
        return input_format
    if given is None:
        return {**input_format, "isMultiLineJson": True}
    raise FormatMismatch(
        f"{uri!r} holds {'one JSON document' if found else 'JSON Lines, one object a line'}, "
        f"but its inputFormat says isMultiLineJson {str(given).lower()}; set isMultiLineJson to "
        f"{str(found).lower()}, or leave it out"
    )
