"""Recognizes a file by its first bytes: the one place that says what a file is.

The check before a batch is spent and the upload both call `recognize` with the same bytes, so they
agree. Only evident faults count: whatever the end of the first bytes cuts off is not judged.
"""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aep_intake.content.beginning import BEGINNING, Beginning, Content
from aep_intake.content.charsets import charset_of, decoded
from aep_intake.content.signatures import PARQUET, binary, other_text
from aep_intake.model.errors import EmptyObject, RowsDiffer
from aep_intake.model.files import Arrival

GZIP = b"\x1f\x8b"


def recognize(
    beginning: bytes,
    whole: bool,
    input_format: Mapping[str, Any],
    uri: str,
    *,
    mapped: bool = False,
) -> Content:
    """What the object at `uri` is, of which `beginning` is the first bytes (`BEGINNING`, or all).

    `whole`: there are no more bytes. `input_format` is what it should be; formats other than JSON,
    CSV and Parquet are taken as they are. `mapped`: its rows are mapped before they go up. Raises
    FormatMismatch if it is evidently another format or charset, and EmptyObject if nothing but
    white space is in it, or in its gzip.
    """
    wanted = str(input_format.get("format")).lower()
    if wanted not in ("json", "csv", "parquet"):
        return Content(wanted)
    file = unpacked(Beginning(beginning, whole, wanted, charset_of(input_format, uri), uri))
    content = Content(wanted, file.compression)
    if wanted == "parquet":
        _check_parquet(file)
        return content
    text, charset, bom = decoded(file)
    content = replace(content, charset=charset, bom=bom)
    if wanted == "csv":
        from aep_intake.content import csv_start  # noqa: PLC0415 - only where a CSV comes

        return csv_start.with_rows(file, text, content, input_format, mapped=mapped)
    from aep_intake.content import json_layout  # noqa: PLC0415 - only where JSON comes

    return json_layout.with_layout(file, text, content)


def unpacked(file: Beginning) -> Beginning:
    """The content of a gzip file, as far as these bytes show it."""
    rest, content, ended = file.content, b"", True
    if not rest.startswith(GZIP):
        return file
    while rest.startswith(GZIP) and len(content) < BEGINNING:
        part = zlib.decompressobj(wbits=31)
        try:
            content += part.decompress(rest, BEGINNING - len(content))
        except zlib.error as error:
            raise file.mismatch(f"gzip that is damaged ({error})") from None
        # Several members, one behind another, are one file: RFC 1952, 2.2. Gateways in text
        # mode and Firehose put line ends behind them, tapes NUL bytes.
        rest, ended = part.unused_data.lstrip(b" \t\r\n\0"), part.eof
    if rest and ended and len(content) < BEGINNING and not GZIP.startswith(rest[:2]):
        raise file.mismatch("gzip with other bytes behind it", remedy="upload it as gzip wrote it")
    if file.whole and not ended and len(content) < BEGINNING:
        raise file.mismatch("gzip that breaks off", remedy="upload the whole of it again")
    whole = file.whole and ended and not rest
    if whole and not content:
        raise EmptyObject(f"{file.uri!r} is a gzip of nothing, and AEP fails an empty file")
    seen = replace(file, content=content, whole=whole, compression="gzip")
    if content.startswith(GZIP):
        raise seen.mismatch("gzip", remedy="pack it once")
    return seen


def _check_parquet(file: Beginning) -> None:
    if file.content.startswith(PARQUET):
        return
    none = ("no Parquet, which begins PAR1", "")
    found, remedy = binary(file.content) or other_text(file.content) or none
    raise file.mismatch(found, remedy=remedy)


def check_rows_told(file: Arrival, rows: int) -> None:
    """Raises RowsDiffer unless a file's ready file says that it has so many rows, or says none."""
    if file.rows is not None and file.rows != rows:
        raise RowsDiffer(
            f"{file.uri!r} has {rows:,} rows, and its ready file says {file.rows:,}: send the file "
            "again and then its ready file. A CSV's header is not a row; a ready file that holds "
            "another number, such as a date, needs some other text beside it"
        )
