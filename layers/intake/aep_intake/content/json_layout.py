"""How the rows of JSON are laid out, and how many are whole, as far as the first bytes show."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aep_intake.content.beginning import Beginning, Content
from aep_intake.model.errors import FormatMismatch

_BLANK = " \t\r\n"  # JSON's white space, which is less than Python's
_NEW_LINE = re.compile(r"\r\n|\r|\n")
_FIRST_MEMBER = re.compile(r'[\[\s]*\{\s*"(?:[^"\\]|\\.)*"\s*:')


def _no_number(name: str) -> float:
    raise json.JSONDecodeError(f"{name} is not a number", "", 0)


# Python takes no integer of more than 4,300 digits, and its value does not matter here; and it
# takes NaN, which is not JSON.
_DECODER = json.JSONDecoder(parse_int=float, parse_constant=_no_number)


def with_layout(file: Beginning, text: str, content: Content) -> Content:
    """`content` with its layout and rows."""
    text = text.lstrip(_BLANK)
    if not text.startswith(("{", "[")):
        if text:
            raise file.mismatch("text that begins neither with { nor with [")
        return content
    # JSON has no line breaks within its tokens: the text up to the last one cuts none in two.
    lines = text if file.whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    return _array(file, text, content) if text[0] == "[" else _objects(file, lines, content)


def _array(file: Beginning, text: str, content: Content) -> Content:
    if text[1:].lstrip(_BLANK)[:1] not in ("{", "]", ""):
        raise file.mismatch(
            "a list of values that are not JSON objects", remedy="write each row as an object"
        )
    content = replace(content, layout="array")
    try:
        values, end = _DECODER.raw_decode(text)
    except RecursionError:
        return content
    except json.JSONDecodeError as error:
        fault = f"line {error.lineno} is not JSON: {error.msg} (column {error.colno})"
        return replace(content, rows=1, broken=1, fault=fault) if file.whole else content
    if text[end:].strip(_BLANK):
        return replace(content, layout="several")
    others = sum(not isinstance(value, dict) for value in values)
    fault = "a value of its list is not a JSON object" if others else ""
    return replace(content, rows=len(values), all_rows=file.whole, broken=others, fault=fault)


def _objects(file: Beginning, lines: str, content: Content) -> Content:
    try:
        _, end = _DECODER.raw_decode(lines)
    except RecursionError:
        return content
    except json.JSONDecodeError as error:
        goes_on = bool(lines) and not file.whole and not lines[error.pos :].strip(_BLANK)
        return replace(content, layout="document") if goes_on else _lines(file, lines, content)
    more = lines[end:].lstrip(_BLANK)
    if more.startswith(",") or _NEW_LINE.search(lines[:end]):
        layout = "several" if more else "document"
        return replace(content, layout=layout, rows=1, all_rows=file.whole and not more)
    found = _lines(file, lines, content)
    return found if found.layout or not more else replace(found, layout="lines")


def _lines(file: Beginning, text: str, content: Content) -> Content:
    """`content` with the rows of JSON Lines; their layout only if it is `several`."""
    rows, broken, fault, layout = 0, 0, "", ""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip(_BLANK):
            continue
        objects, wrong = _objects_on(line)
        rows += objects
        layout = "several" if objects > 1 else layout
        if wrong:
            rows, broken = rows + 1, broken + 1
            fault = fault or f"line {number} {wrong}"
    found = replace(content, rows=rows, all_rows=file.whole, layout=layout)
    return replace(found, broken=broken, fault=fault)


def _objects_on(line: str) -> tuple[int, str]:
    """How many JSON objects are on a line, and what is wrong with it, if anything."""
    objects, at = 0, 0
    line = line.strip(_BLANK)
    try:
        while at < len(line):
            value, end = _DECODER.raw_decode(line, at)
            if not isinstance(value, dict):
                return objects, "is not a JSON object"
            if end == len(line):
                return objects + 1, ""
            objects, at = objects + 1, end + len(line[end:]) - len(line[end:].lstrip(_BLANK))
    except RecursionError:
        return objects + 1, ""
    except json.JSONDecodeError as error:
        return objects, f"is not JSON: {error.msg} (column {error.colno})"
    return objects, ""


def is_json(text: str, *, whole: bool) -> bool:
    """Whether it is JSON beyond doubt; not the first field of a CSV that happens to be JSON."""
    text = text.lstrip(_BLANK)
    if not text.startswith(("{", "[")):
        return False
    try:
        _, end = _DECODER.raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
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
            f"{uri!r} holds several JSON documents that are not one object a line; write one "
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
