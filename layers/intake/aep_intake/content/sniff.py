"""What a file holds, told from its first bytes: a wrong format is known now, not hours later.

Only what is evident counts. A broken row is left to AEP, whose `partialIngestionPercent` may allow
it and whose diagnostics say where it is; so is what the end of the first bytes cuts off.
"""

import codecs
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aep_intake.model.errors import FormatMismatch

# Bytes to read, and at most to unpack: the first row of JSON is seldom longer than some kilobytes,
# and one request to S3 costs the same whatever its range.
BEGINNING = 65_536


def sniff(
    beginning: bytes, whole: bool, input_format: Mapping[str, Any], uri: str
) -> dict[str, Any]:
    """The input format to use for the object at `uri`, of which `beginning` is the first bytes.

    `whole` says that there are no more. The format is the given one; only where that leaves open
    whether JSON is one document or one object a line, and it is one document, `isMultiLineJson`
    is added. Raises FormatMismatch. Formats other than JSON, CSV and Parquet are not looked at.
    """
    seen = _Beginning(beginning, whole, str(input_format.get("format")).lower(), uri)
    match seen.wanted:
        case "parquet":
            seen.check_parquet()
        case "csv":
            seen.check_csv()
        case "json":
            # https://experienceleague.adobe.com/en/docs/experience-platform/ingestion/batch/troubleshooting
            said, found = input_format.get("isMultiLineJson"), seen.multi_line()
            if said is None and found:
                return {**input_format, "isMultiLineJson": True}
            if None not in (said, found) and said is not found:
                raise seen.mismatch(
                    "one JSON document" if found else "JSON Lines, one object a line",
                    f"JSON with isMultiLineJson {str(said).lower()}",
                    f"set isMultiLineJson to {str(found).lower()}, or leave it out",
                )
    return dict(input_format)


# What no text begins with.
_BINARY = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive (as .xlsx is)",
    b"Obj\x01": "Avro",
    codecs.BOM_UTF32_LE: "text in UTF-32",  # before UTF-16, which begins alike
    codecs.BOM_UTF32_BE: "text in UTF-32",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
}
# What only binary data begins with, or a CSV whose first column is PARENT_ID or ORCID.
# PARE: https://github.com/apache/parquet-format/blob/master/Encryption.md
_BINARY_IF_NUL = {
    b"PAR1": "Parquet",
    b"PARE": "encrypted Parquet, for which AEP has no key",
    b"ORC": "ORC",
}
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype\s+html|html)\b", re.IGNORECASE)
_BLANK = " \t\r\n"  # JSON's, which is less than Python's
_NEW_LINE = re.compile(r"[\r\n]")
_FIRST_MEMBER = re.compile(r'[\[\s]*\{\s*"(?:[^"\\]|\\.)*"\s*:')
# Python takes no integer of more than 4,300 digits; its value is no matter here.
_DECODER = json.JSONDecoder(parse_int=float)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first bytes of a file, and what it should be: a format in lower case."""

    content: bytes
    whole: bool
    wanted: str
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
        seen = self._unpacked()
        if _is_json(seen._text(), seen.whole):
            raise seen.mismatch("JSON")

    def multi_line(self) -> bool | None:
        """Whether JSON is one document, or one object a line; None for both and for who knows."""
        seen = self._unpacked()
        text = seen._text()
        if not text:
            return None
        is_array = text[0] == "["
        if not is_array and text[0] != "{":
            raise seen.mismatch("text that begins neither with { nor with [")
        if is_array and text[1:].lstrip(_BLANK)[:1] not in ("{", "]", ""):
            raise seen.mismatch(
                "a list of what are no JSON objects", remedy="write each row as a JSON object"
            )
        # JSON has no line breaks within its words: up to the last of them, nothing is cut in two.
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
        """What is in a gzip file, as far as it can be seen."""
        rest, content, ended = self.content, b"", True
        while rest.startswith(b"\x1f\x8b") and len(content) < BEGINNING:
            part = zlib.decompressobj(wbits=31)
            try:
                content += part.decompress(rest, BEGINNING - len(content))
            except zlib.error as error:
                raise self.mismatch(f"gzip that is damaged ({error})") from None
            # Files that were put behind one another are one file: RFC 1952, 2.2.
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
        # Only its shape is looked at, for which a letter that is no UTF-8 does not matter. What the
        # end cuts in two, be it the mark at the start, is not there yet.
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
    return "XML or HTML, perhaps a page that tells of an error" if _MARKUP.match(content) else None


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
