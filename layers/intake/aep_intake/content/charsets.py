"""Which charset a text is in, as far as its first bytes show."""

import codecs
from collections.abc import Mapping
from typing import Any

from aep_intake.content.beginning import NAMES, Beginning
from aep_intake.content.signatures import binary, other_text
from aep_intake.model.errors import EmptyObject, FormatMismatch

_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_UTF8_LETTERS = 3  # a Latin-1 text that is UTF-8 by chance has fewer


def charset_of(input_format: Mapping[str, Any], uri: str) -> str:
    """The name that Python has for the charset of an input format."""
    named = str(input_format.get("charset", "UTF-8"))
    try:
        return codecs.lookup(named).name
    except LookupError:
        raise FormatMismatch(f"{uri!r}: the charset {named!r} is unknown") from None


def decoded(file: Beginning) -> tuple[str, str, int]:
    """The content, without a byte order mark; its charset, and the bytes of that mark."""
    content = file.content
    if found := binary(content) or other_text(content):
        raise file.mismatch(found[0], remedy=found[1])
    bom = next((mark for mark in _BOMS if content.startswith(mark)), b"")
    charset = _BOMS.get(bom) or _unmarked(file)
    if not charset.startswith(file.charset):
        said = f"text in {NAMES.get(charset, charset[:6].upper())}"
        raise file.mismatch(said, remedy="name it in inputFormat.charset, or write UTF-8")
    if b"\0" in content and not charset.startswith("utf-16"):
        raise file.mismatch("binary data (it has NUL bytes)")
    decoder = codecs.getincrementaldecoder(charset)()
    try:
        # It leaves out a character, or a byte order mark, that the end cuts in two.
        text = decoder.decode(content[len(bom) :], file.whole)
    except UnicodeDecodeError as error:
        raise _undecodable(file, error, len(bom)) from None
    if charset in ("iso8859-1", "cp1252") and _is_utf_8(file):
        raise file.mismatch("text in UTF-8", remedy="name it in inputFormat.charset")
    if file.whole and not text.strip():
        raise EmptyObject(
            f"{file.uri!r} holds nothing but white space: write no file where there are no rows"
        )
    return text, charset, len(bom)


def _unmarked(file: Beginning) -> str:
    """The charset of text without a byte order mark."""
    if wide := _utf_16(file.content):
        return wide
    if not file.charset.startswith("utf-16"):
        return file.charset
    if _is_utf_8(file, 0):
        return "utf-8"
    return "utf-16-be" if file.charset == "utf-16" else file.charset  # RFC 2781, 4.3


def _undecodable(file: Beginning, error: UnicodeDecodeError, before: int) -> FormatMismatch:
    byte, at = error.object[error.start], error.start + before
    where = f"at offset {at}, 0x{byte:02X}"
    if file.charset not in ("utf-8", "ascii"):
        return file.mismatch(f"bytes that are no such text ({where})")
    if file.charset == "ascii" and _is_utf_8(file, 1):
        return file.mismatch(f"text in UTF-8 ({where})", remedy="name it in inputFormat.charset")
    # Between the two, Latin-1 has control characters that nobody writes.
    windows = any(0x80 <= other < 0xA0 for other in file.content)
    like = "Windows-1252" if windows else "ISO-8859-1 (Latin-1)"
    remedy = f"if it is {like}, name that in inputFormat.charset, or write UTF-8"
    if file.wanted == "json":
        remedy = "write it in UTF-8, as JSON has to be"
    return file.mismatch(f"text that looks like {like} ({where})", remedy=remedy)


def _is_utf_8(file: Beginning, letters: int = _UTF8_LETTERS) -> bool:
    """Whether its letters that are not ASCII are so many, and all are those of UTF-8."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(file.content, file.whole)
    except UnicodeDecodeError:
        return False
    return sum(letter > "\x7f" for letter in text) >= letters


def _utf_16(content: bytes) -> str:
    """Which UTF-16 a text without a byte order mark is in, as far as its NUL bytes show."""
    letters = len(content) // 2
    high, low = content[::2].count(0), content[1::2].count(0)
    if letters < 2 or 2 * max(high, low) < letters or min(high, low) > letters // 8:
        return ""
    return "utf-16-be" if high > low else "utf-16-le"
