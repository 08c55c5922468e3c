"""Recognizes a file by its first bytes: the one place that says what a file is.

The check before a batch is spent and the upload both call `recognize` with the same bytes, so they
agree. Only evident faults count: whatever the end of the first bytes cuts off is not judged.
"""

import codecs
import csv
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from itertools import islice
from typing import Any

from aep_intake.model.errors import EmptyObject, FormatMismatch, RowsDiffer
from aep_intake.model.files import Arrival
from aep_intake.model.values import dataclass

# Bytes to read, and the most to unpack: the first row of JSON seldom has more than some kilobytes,
# and a request to S3 costs the same for any range.
BEGINNING = 65_536
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True)
class Content:
    """What a file is, as far as its first bytes say."""

    format: str  # of the input format, in lower case
    compression: str = ""  # or `gzip`; all below is about what it unpacks to
    charset: str = ""  # of text, as Python names it: `utf-8`, `utf-16-le`, `iso8859-1`, `cp1252`
    bom: int = 0  # bytes of its byte order mark
    # Of JSON: `lines` (an object on each line), `array`, `document` (one object on many lines), or
    # `several` of these, on one line or on many. Empty where it may be any of them.
    layout: str = ""
    rows: int = 0  # that were seen whole, without a CSV's header
    all_rows: bool = False  # whether there are no others
    broken: int = 0  # of `rows`, those that are no JSON object
    fault: str = ""  # the first of them: which line, and what is wrong


def recognize(beginning: bytes, whole: bool, input_format: Mapping[str, Any], uri: str) -> Content:
    """What the object at `uri` is, of which `beginning` is the first bytes (`BEGINNING`, or all).

    `whole`: there are no more bytes. `input_format` is what it should be; formats other than JSON,
    CSV and Parquet are taken as they are. Raises FormatMismatch if it is evidently another format
    or charset, and EmptyObject if there is nothing in it but white space, or in its gzip.
    """
    wanted = str(input_format.get("format")).lower()
    if wanted not in ("json", "csv", "parquet"):
        return Content(wanted)
    seen = _Seen(beginning, whole, wanted, _charset(input_format, uri), uri).unpacked()
    content = Content(wanted, seen.compression)
    if wanted == "parquet":
        seen.check_parquet()
        return content
    text, charset, bom = seen.text()
    content = replace(content, charset=charset, bom=bom)
    if wanted == "csv":
        return seen.csv(text, content, input_format)
    return seen.json(text, content)


# No text begins like these. What each is called, and what to do about it.
_UNPACK = "unpack it, or pack it with gzip"
_BINARY = {
    b"PK\x03\x04": ("a zip archive", "unpack it, or pack its files one by one with gzip"),
    b"PK\x05\x06": ("an empty zip archive", ""),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Excel workbook (.xls)", "export it as CSV"),
    b"BZh": ("bzip2", _UNPACK),  # and the first block's mark, see `_binary`
    b"\x28\xb5\x2f\xfd": ("zstd", _UNPACK),
    b"\xfd7zXZ\0": ("xz", _UNPACK),
    b"\x04\x22\x4d\x18": ("lz4", _UNPACK),
    b"\xff\x06\0\0sNaPpY": ("snappy", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": ("a rar archive", _UNPACK),
    b"%PDF-": ("PDF", ""),
    b"-----BEGIN PGP MESSAGE-----": ("a text that PGP encrypts", "decrypt it"),
    b"Obj\x01": ("Avro", ""),
    codecs.BOM_UTF32_LE: ("text in UTF-32", "write UTF-8"),  # before UTF-16, which begins alike
    codecs.BOM_UTF32_BE: ("text in UTF-32", "write UTF-8"),
}
# Only binary data begins like these, or a CSV whose first column is PARENT_ID or ORCID.
# PARE: https://github.com/apache/parquet-format/blob/master/Encryption.md
_BINARY_IF_NUL = {
    PARQUET: ("Parquet", ""),
    b"PARE": ("encrypted Parquet, for which AEP has no key", ""),
    b"ORC": ("ORC", ""),
}
_BLOCK = b"1AY&SY"  # the mark of a bzip2 block, at byte 4
# Or a tag alone, as in the `<Error><Code>AccessDenied` of S3; but a CSV may begin with `<none>,`.
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml\b|!doctype\s+html\b|html\b|[a-z][\w:.-]*[^<>,;\t|]*>\s*<)",
    re.I,
)
_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NAMES = {"iso8859-1": "ISO-8859-1", "cp1252": "Windows-1252", "ascii": "US-ASCII"}  # by Python
_BLANK = " \t\r\n"  # JSON's white space, which is less than Python's
_NEW_LINE = re.compile(r"\r\n|\r|\n")
_FIRST_MEMBER = re.compile(r'[\[\s]*\{\s*"(?:[^"\\]|\\.)*"\s*:')


def _no_number(name: str) -> float:
    raise json.JSONDecodeError(f"{name} is no number", "", 0)


# Python takes no integer of more than 4,300 digits, and its value does not matter here; and it
# takes NaN, which is no JSON.
_DECODER = json.JSONDecoder(parse_int=float, parse_constant=_no_number)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars (|)"}
_SEP = re.compile(r"sep=.(?:\r\n|\r|\n)", re.IGNORECASE)  # Excel's first line
_ROWS = 10  # of which the columns are compared
_UTF8_LETTERS = 3  # a Latin-1 text that is UTF-8 by chance has fewer


def _charset(input_format: Mapping[str, Any], uri: str) -> str:
    """The name that Python has for the charset of an input format."""
    named = str(input_format.get("charset", "UTF-8"))
    try:
        return codecs.lookup(named).name
    except LookupError:
        raise FormatMismatch(f"{uri!r}: nobody knows the charset {named!r}") from None


@dataclass(frozen=True, slots=True)
class _Seen:
    """The first bytes of a file, and what they should be."""

    content: bytes
    whole: bool
    wanted: str  # a format in lower case
    charset: str  # as Python names it
    uri: str
    compression: str = ""

    def mismatch(self, found: str, wanted: str = "", remedy: str = "") -> FormatMismatch:
        charset = _NAMES.get(self.charset, self.charset.upper())
        name = "Parquet" if self.wanted == "parquet" else f"{self.wanted.upper()} in {charset}"
        remedy = remedy or f"write it as {name}, or send it by a route that says what it is"
        packing = "gzip of " if self.compression else ""
        return FormatMismatch(
            f"{self.uri!r} holds {packing}{found}, but its inputFormat says {wanted or name}; "
            f"{remedy}"
        )

    def unpacked(self) -> "_Seen":
        """The content of a gzip file, as far as these bytes show it."""
        rest, content, ended = self.content, b"", True
        if not rest.startswith(GZIP):
            return self
        while rest.startswith(GZIP) and len(content) < BEGINNING:
            part = zlib.decompressobj(wbits=31)
            try:
                content += part.decompress(rest, BEGINNING - len(content))
            except zlib.error as error:
                raise self.mismatch(f"gzip that is damaged ({error})") from None
            # Several members, one behind another, are one file: RFC 1952, 2.2. Gateways in text
            # mode and Firehose put line ends behind them, tapes NUL bytes.
            rest, ended = part.unused_data.lstrip(b" \t\r\n\0"), part.eof
        if rest and ended and len(content) < BEGINNING and not GZIP.startswith(rest[:2]):
            raise self.mismatch(
                "gzip with other bytes behind it", remedy="upload it as gzip wrote it"
            )
        if self.whole and not ended and len(content) < BEGINNING:
            raise self.mismatch("gzip that breaks off", remedy="upload the whole of it again")
        whole = self.whole and ended and not rest
        if whole and not content:
            raise EmptyObject(f"{self.uri!r} is a gzip of nothing, and AEP fails an empty file")
        seen = replace(self, content=content, whole=whole, compression="gzip")
        if content.startswith(GZIP):
            raise seen.mismatch("gzip", remedy="pack it once")
        return seen

    def check_parquet(self) -> None:
        if self.content.startswith(PARQUET):
            return
        none = ("no Parquet, which begins PAR1", "")
        found, remedy = _binary(self.content) or _markup(self.content) or none
        raise self.mismatch(found, remedy=remedy)

    def text(self) -> tuple[str, str, int]:
        """The content, without a byte order mark; its charset, and the bytes of that mark."""
        content = self.content
        if found := _binary(content) or _markup(content):
            raise self.mismatch(found[0], remedy=found[1])
        bom = next((mark for mark in _BOMS if content.startswith(mark)), b"")
        charset = _BOMS.get(bom) or self._unmarked()
        if not charset.startswith(self.charset):
            said = f"text in {_NAMES.get(charset, charset[:6].upper())}"
            raise self.mismatch(said, remedy="name it in inputFormat.charset, or write UTF-8")
        if b"\0" in content and not charset.startswith("utf-16"):
            raise self.mismatch("binary data (it has NUL bytes)")
        decoder = codecs.getincrementaldecoder(charset)()
        try:
            # It leaves out a character, or a byte order mark, that the end cuts in two.
            text = decoder.decode(content[len(bom) :], self.whole)
        except UnicodeDecodeError as error:
            raise self._undecodable(error, len(bom)) from None
        if charset in ("iso8859-1", "cp1252") and self._is_utf_8():
            raise self.mismatch("text in UTF-8", remedy="name it in inputFormat.charset")
        if self.whole and not text.strip():
            raise EmptyObject(
                f"{self.uri!r} holds nothing but white space: write no file where there are no rows"
            )
        return text, charset, len(bom)

    def _unmarked(self) -> str:
        """The charset of text without a byte order mark."""
        if wide := _utf_16(self.content):
            return wide
        if not self.charset.startswith("utf-16"):
            return self.charset
        if self._is_utf_8(0):
            return "utf-8"
        return "utf-16-be" if self.charset == "utf-16" else self.charset  # RFC 2781, 4.3

    def _undecodable(self, error: UnicodeDecodeError, before: int) -> FormatMismatch:
        byte, at = error.object[error.start], error.start + before
        where = f"at offset {at}, 0x{byte:02X}"
        if self.charset not in ("utf-8", "ascii"):
            return self.mismatch(f"bytes that are no such text ({where})")
        if self.charset == "ascii" and self._is_utf_8(1):
            return self.mismatch(
                f"text in UTF-8 ({where})", remedy="name it in inputFormat.charset"
            )
        # Between the two, Latin-1 has control characters that nobody writes.
        windows = any(0x80 <= other < 0xA0 for other in self.content)
        like = "Windows-1252" if windows else "ISO-8859-1 (Latin-1)"
        remedy = f"if it is {like}, name that in inputFormat.charset, or write UTF-8"
        if self.wanted == "json":
            remedy = "write it in UTF-8, as JSON has to be"
        return self.mismatch(f"text that looks like {like} ({where})", remedy=remedy)

    def _is_utf_8(self, letters: int = _UTF8_LETTERS) -> bool:
        """Whether its letters that are not ASCII are so many, and all are those of UTF-8."""
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(self.content, self.whole)
        except UnicodeDecodeError:
            return False
        return sum(letter > "\x7f" for letter in text) >= letters

    def csv(self, text: str, content: Content, input_format: Mapping[str, Any]) -> Content:
        """`content` with its rows, once its format and its delimiter are the route's."""
        if _is_json(text.lstrip(_BLANK), self.whole):
            raise self.mismatch("JSON")
        if sep := _SEP.match(text):
            text = text[sep.end() :]
        has_header = str(input_format.get("header", True)).lower() == "true"
        delimiter = str(input_format.get("delimiter") or ",")
        records = _records(text, delimiter, input_format)
        if records is None:
            return content
        # The end of the first bytes may cut the last row.
        rows = len(records) if self.whole else max(len(records) - 1, 0)
        if has_header and rows > 1 and len(records[0]) == 1:
            self._check_delimiter(text, delimiter, min(rows, _ROWS), input_format)
        rows -= has_header and rows > 0
        return replace(content, rows=rows, all_rows=self.whole)

    def _check_delimiter(
        self, text: str, delimiter: str, rows: int, input_format: Mapping[str, Any]
    ) -> None:
        for other in (mark for mark in _DELIMITERS if mark != delimiter):
            records = _records(text, other, input_format, rows) or [[]]
            columns = {len(record) for record in records}
            if len(columns) == 1 and columns.pop() > 1:
                said = repr(delimiter) if delimiter != "\t" else "a tab"
                raise self.mismatch(
                    f"columns between {_DELIMITERS[other]}",
                    f"that {said} is between them",
                    f"set inputFormat.delimiter to {json.dumps(other)}",
                )

    def json(self, text: str, content: Content) -> Content:
        """`content` with its layout and rows."""
        text = text.lstrip(_BLANK)
        if not text.startswith(("{", "[")):
            if text:
                raise self.mismatch("text that begins neither with { nor with [")
            return content
        # JSON has no line breaks within its tokens: the text up to the last one cuts none in two.
        lines = text if self.whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        return self._array(text, content) if text[0] == "[" else self._objects(lines, content)

    def _array(self, text: str, content: Content) -> Content:
        if text[1:].lstrip(_BLANK)[:1] not in ("{", "]", ""):
            raise self.mismatch(
                "a list of values that are no JSON objects", remedy="write each row as an object"
            )
        content = replace(content, layout="array")
        try:
            values, end = _DECODER.raw_decode(text)
        except RecursionError:
            return content
        except json.JSONDecodeError as error:
            fault = f"line {error.lineno} is no JSON: {error.msg} (column {error.colno})"
            return replace(content, rows=1, broken=1, fault=fault) if self.whole else content
        if text[end:].strip(_BLANK):
            return replace(content, layout="several")
        others = sum(not isinstance(value, dict) for value in values)
        fault = "a value of its list is no JSON object" if others else ""
        return replace(content, rows=len(values), all_rows=self.whole, broken=others, fault=fault)

    def _objects(self, lines: str, content: Content) -> Content:
        try:
            _, end = _DECODER.raw_decode(lines)
        except RecursionError:
            return content
        except json.JSONDecodeError as error:
            goes_on = bool(lines) and not self.whole and not lines[error.pos :].strip(_BLANK)
            return replace(content, layout="document") if goes_on else self._lines(lines, content)
        more = lines[end:].lstrip(_BLANK)
        if more.startswith(",") or _NEW_LINE.search(lines[:end]):
            layout = "several" if more else "document"
            return replace(content, layout=layout, rows=1, all_rows=self.whole and not more)
        found = self._lines(lines, content)
        return found if found.layout or not more else replace(found, layout="lines")

    def _lines(self, text: str, content: Content) -> Content:
        """`content` with the rows of JSON Lines; their layout only if it is `several`."""
        rows, broken, fault, layout = 0, 0, "", ""
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip(_BLANK):
                continue
            objects, wrong = _objects(line)
            rows += objects
            layout = "several" if objects > 1 else layout
            if wrong:
                rows, broken = rows + 1, broken + 1
                fault = fault or f"line {number} {wrong}"
        found = replace(content, rows=rows, all_rows=self.whole, layout=layout)
        return replace(found, broken=broken, fault=fault)


def _objects(line: str) -> tuple[int, str]:
    """How many JSON objects are on a line, and what is wrong with it, if anything."""
    objects, at = 0, 0
    line = line.strip(_BLANK)
    try:
        while at < len(line):
            value, end = _DECODER.raw_decode(line, at)
            if not isinstance(value, dict):
                return objects, "is no JSON object"
            if end == len(line):
                return objects + 1, ""
            objects, at = objects + 1, end + len(line[end:]) - len(line[end:].lstrip(_BLANK))
    except RecursionError:
        return objects + 1, ""
    except json.JSONDecodeError as error:
        return objects, f"is no JSON: {error.msg} (column {error.colno})"
    return objects, ""


def _records(
    text: str, delimiter: str, input_format: Mapping[str, Any], most: int | None = None
) -> list[list[str]] | None:
    """The first records of a CSV that are not empty; None if Python cannot read such a CSV."""
    quote, escape = input_format.get("quote", '"'), input_format.get("escape", "\\")
    if max(len(delimiter), len(quote), len(escape)) > 1:
        return None
    try:
        reader = csv.reader(
            StringIO(text, newline=""),
            delimiter=delimiter,
            quotechar=quote or None,
            escapechar=(escape if escape != quote else "") or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        )
        return list(islice((record for record in reader if record), most))
    except (csv.Error, ValueError, TypeError):
        return None


def _binary(content: bytes) -> tuple[str, str] | None:
    """What binary data is, and what to do about it; None if it may be text."""
    for mark, (name, remedy) in _BINARY.items():
        if content.startswith(mark) and (mark != b"BZh" or content[4:10] == _BLOCK):
            excel = mark == b"PK\x03\x04" and (b"[Content_Types].xml" in content[:4096])
            return ("an Excel workbook (.xlsx)", "export it as CSV") if excel else (name, remedy)
    if b"\0" in content:
        for mark, named in _BINARY_IF_NUL.items():
            if content.startswith(mark):
                return named
    return None


def _utf_16(content: bytes) -> str:
    """Which UTF-16 a text without a byte order mark is in, as far as its NUL bytes show."""
    letters = len(content) // 2
    high, low = content[::2].count(0), content[1::2].count(0)
    if letters < 2 or 2 * max(high, low) < letters or min(high, low) > letters // 8:
        return ""
    return "utf-16-be" if high > low else "utf-16-le"


def _markup(content: bytes) -> tuple[str, str] | None:
    found = _MARKUP.match(content)
    return ("XML or HTML, perhaps an error page", "") if found else None


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


def check_rows_told(file: Arrival, rows: int) -> None:
    """Raises RowsDiffer unless a file's ready file says that it has so many rows, or says none."""
    if file.rows is not None and file.rows != rows:
        raise RowsDiffer(
            f"{file.uri!r} has {rows:,} rows, and its ready file says {file.rows:,}: send the file "
            "again and then its ready file. A CSV's header is no row; a ready file that holds "
            "another number, such as a date, needs some other text beside it"
        )
