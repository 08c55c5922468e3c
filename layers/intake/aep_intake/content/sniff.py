"""Finds a file's format from its first bytes, so that a wrong format shows now, not hours later.

Only evident faults count. AEP judges broken rows: its `partialIngestionPercent` may allow them, and
its diagnostics say where they are. It also judges a row that the end of the first bytes cuts off.
"""

import codecs
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aep_intake.model.errors import FormatMismatch

# Bytes to read, and the most to unpack: the first row of JSON seldom has more than some kilobytes,
# and a request to S3 costs the same for any range.
BEGINNING = 65_536


def sniff(
    beginning: bytes, whole: bool, input_format: Mapping[str, Any], uri: str
) -> dict[str, Any]:
    """The input format to use for the object at `uri`, of which `beginning` is the first bytes.

    `whole`: there are no more bytes. The result is `input_format`, with `isMultiLineJson` added if
    that was not given and the file is one JSON document. Formats other than JSON, CSV and Parquet
    are not checked. Raises FormatMismatch.
    """
    start = _Beginning(beginning, whole, str(input_format.get("format")).lower(), uri)
    match start.wanted:
        case "parquet":
            start.check_parquet()
        case "csv":
            start.check_csv()
        case "json":
            # https://experienceleague.adobe.com/en/docs/experience-platform/ingestion/batch/troubleshooting
            given, found = input_format.get("isMultiLineJson"), start.multi_line()
            if given is None and found:
                return {**input_format, "isMultiLineJson": True}
            if None not in (given, found) and given is not found:
                raise start.mismatch(
                    "one JSON document" if found else "JSON Lines, one object a line",
                    f"JSON with isMultiLineJson {str(given).lower()}",
                    f"set isMultiLineJson to {str(found).lower()}, or leave it out",
                )
    return dict(input_format)


# No text begins like these.
_BINARY = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive (as .xlsx is)",
    b"Obj\x01": "Avro",
    codecs.BOM_UTF32_LE: "text in UTF-32",  # before UTF-16, which begins alike
    codecs.BOM_UTF32_BE: "text in UTF-32",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
}
# Only binary data begins like these, or a CSV whose first column is PARENT_ID or ORCID.
# PARE: https://github.com/apache/parquet-format/blob/master/Encryption.md
_BINARY_IF_NUL = {
    b"PAR1": "Parquet",
    b"PARE": "encrypted Parquet, for which AEP has no key",
    b"ORC": "ORC",
}
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype\s+html|html)\b", re.IGNORECASE)
_BLANK = " \t\r\n"  # JSON's white space, which is less than Python's
_NEW_LINE = re.compile(r"[\r\n]")
_FIRST_MEMBER = re.compile(r'[\[\s]*\{\s*"(?:[^"\\]|\\.)*"\s*:')
# Python takes no integer of more than 4,300 digits, and its value does not matter here.
_DECODER = json.JSONDecoder(parse_int=float)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first bytes of a file, and the format that it should have."""

    content: bytes
    whole: bool
    wanted: str  # a format in lower case
    uri: str
    packing: str = ""

    def mismatch(self, found: str, wanted: str = "", remedy: str = "") -> FormatMismatch:
        name = "Parquet" if self.wanted == "parquet" else f"{self.wanted.upper()} in UTF-8"
        remedy = remedy or f"write it as {name}, or send it by a route that says what it is"
        return FormatMismatch(
            f"{self.uri!r} holds {self.packing}{found}, but its inputFormat says {wanted or name}; "
            f"{remedy}"
        )

    def check_parquet(self) -> None:
        if not self.content.startswith(b"PAR1"):
            found = (
                _binary(self.content) or _markup(self.content) or "no Parquet, which begins PAR1"
            )
            # Its pages are compressed, one by one, and its readers know no other way.
            remedy = "leave out the gzip: Parquet is compressed within" if found == "gzip" else ""
            raise self.mismatch(found, remedy=remedy)

    def check_csv(self) -> None:
        unpacked = self._unpacked()
        if _is_json(unpacked._text(), unpacked.whole):
            raise unpacked.mismatch("JSON")

    def multi_line(self) -> bool | None:
        """Whether JSON is one document, and not one object a line; None if it may be either."""
        seen = self._unpacked()
        text = seen._text()
        if not text:
            return None
        is_array = text[0] == "["
        if not is_array and text[0] != "{":
            raise seen.mismatch("text that begins neither with { nor with [")
        if is_array and text[1:].lstrip(_BLANK)[:1] not in ("{", "]", ""):
            raise seen.mismatch(
                "a list of values that are no JSON objects",
                remedy="write each row as a JSON object",
            )
        # JSON has no line breaks within its tokens: the text up to the last one cuts none in two.
        lines = text if seen.whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        try:
            _, end = _DECODER.raw_decode(lines)
        except RecursionError:
            return is_array or None
        except json.JSONDecodeError as error:
            goes_on = bool(lines) and not seen.whole and not lines[error.pos :].strip(_BLANK)
            return is_array or goes_on or None
        is_document = is_array or bool(_NEW_LINE.search(lines[:end]))
        more = lines[end:].lstrip(" \t")
        if not more.strip(_BLANK):
            return is_document or None
        if is_document or not _NEW_LINE.match(more):
            raise seen.mismatch(
                "several JSON documents that are not one object a line",
                remedy="write one object a line, or all of them in one list",
            )
        return False

    def _unpacked(self) -> "_Beginning":
        """The content of a gzip file, as far as these bytes show it."""
        rest, content, ended = self.content, b"", True
        while rest.startswith(b"\x1f\x8b") and len(content) < BEGINNING:
            part = zlib.decompressobj(wbits=31)
            try:
                content += part.decompress(rest, BEGINNING - len(content))
            except zlib.error as error:
                raise self.mismatch(f"gzip that is damaged ({error})") from None
            # Several members, one behind another, are one file: RFC 1952, 2.2.
            rest, ended = part.unused_data, part.eof
        if rest is self.content:
            return self
        if self.whole and not ended and len(content) < BEGINNING:
            raise self.mismatch("gzip that breaks off", remedy="upload the whole of it again")
        whole = self.whole and ended and not rest.startswith(b"\x1f\x8b")
        return replace(self, content=content, whole=whole, packing="gzip of ")

    def _text(self) -> str:
        """The content from its first character on; empty where that is still to come."""
        found = _binary(self.content) or _markup(self.content)
        if found:
            raise self.mismatch(found)
        # Only the structure matters, so a letter that is no UTF-8 does no harm. The decoder leaves
        # out a character, or a byte order mark, that the end cuts in two.
        decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        text = decoder.decode(self.content, self.whole).lstrip(_BLANK)
        if self.whole and not text.strip():
            raise self.mismatch("no row at all", remedy="write no file where there are no rows")
        return text


def _binary(content: bytes) -> str | None:
    has_nul = b"\0" in content
    for mark, name in (_BINARY | (_BINARY_IF_NUL if has_nul else {})).items():
        if content.startswith(mark):
            return name
    return "binary data, or text in UTF-16 (it has NUL bytes)" if has_nul else None


def _markup(content: bytes) -> str | None:
    return "XML or HTML, perhaps an error page" if _MARKUP.match(content) else None


def _is_json(text: str, whole: bool) -> bool:
    """Whether it is JSON beyond doubt; not the first field of a CSV that happens to be JSON."""
    if not text.startswith(("{", "[")):
        return False
    try:
        _, end = _DECODER.raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return not whole and bool(_FIRST_MEMBER.match(text))
    more = text[end:].lstrip(" \t")
    return not more or bool(_NEW_LINE.match(more))
