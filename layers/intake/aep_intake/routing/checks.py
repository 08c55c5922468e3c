"""Checks of a file before a batch is made: AEP would find the same faults, but hours later."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aep_intake.content import parquet
from aep_intake.content.beginning import BEGINNING, Content
from aep_intake.content.recognize import check_rows_told, recognize
from aep_intake.content.signatures import PARQUET, binary, other_text
from aep_intake.content.text import UTF_8
from aep_intake.model.errors import (
    BadRows,
    EmptyObject,
    FormatMismatch,
    TooFewRows,
    TooLarge,
)
from aep_intake.model.files import Arrival, ReadFile
from aep_intake.model.values import dataclass
from aep_intake.routing.table import Match, OneBatch, format_by_name, names_format

_MIN_ROWS = "write no file where there are fewer, or set minRows in the route"
_BAD_ROWS = "set badRows in the route (or partialIngestionPercent, and AEP decides)"
_PARTIAL = "set its partialIngestionPercent, and AEP decides"


@dataclass(frozen=True, slots=True)
class Checks:
    """Checks whether AEP can take a file."""

    read: ReadFile
    batch_bytes: int  # the most in a batch
    unsplit_bytes: int  # the most in a file that cannot be uploaded in pieces
    delivers: bool = False  # whether we upload the files: then they are converted

    def options(self, file: Arrival, match: Match) -> Mapping[str, Any]:
        """As `checked`, without the file."""
        return self.checked(file, match)[1]

    def checked(self, file: Arrival, match: Match) -> tuple[Arrival, Mapping[str, Any]]:
        """A file that AEP can take, and the route's options for it, its format made exact.

        The file says whether it is a gzip, if it was read. Raises EmptyObject, TooLarge,
        FormatUnknown, FormatMismatch, TooFewRows, BadRows, RowsDiffer, or as `read`.
        """
        if file.size == 0:
            raise EmptyObject(f"{file.uri} is empty, and AEP fails a batch with an empty file")
        if match.compiled_map is not None and not self.delivers:
            raise FormatMismatch(
                f"route `{match.route}` maps its files, and this stack uploads none "
                "(DeliverBatches=false): set DeliverBatches to true, or take `map` out of the route"
            )
        alone, look = isinstance(match.batching, OneBatch), match.demands.look_inside
        looks = alone if look is None else look
        beginning = self.read(file, 0, BEGINNING) if looks else b""
        input_format: Mapping[str, Any] | None = match.options.get("inputFormat")
        if input_format is None and not names_format(file.uri):
            input_format = _by_bytes(beginning, file.uri)
        input_format = input_format or format_by_name(file.uri)
        if match.compiled_map is not None and input_format["format"] == "parquet":
            raise FormatMismatch(
                f"{file.uri!r} is Parquet, and route `{match.route}` maps its files: only CSV and "
                "JSON are mapped, so send one of these, or give Parquet a route without `map`"
            )
        if looks:
            content = self._content(file, beginning, input_format, match)
            file = replace(file, is_gzip=bool(content.compression))
            if content.layout and (match.as_is or not self.delivers):
                from aep_intake.content import json_layout  # noqa: PLC0415 - only where JSON comes

                input_format = json_layout.format_with(input_format, content, file.uri)
            elif alone and content.layout not in ("lines", ""):
                input_format = {**input_format, "isMultiLineJson": True}
        # Adobe takes 256 MB in one PUT and is withdrawing uploads in chunks.
        goes_up = of_batch(input_format, match) if self.delivers else input_format
        unsplit = goes_up["format"] == "parquet" or goes_up.get("isMultiLineJson", False)
        limit_bytes = self.unsplit_bytes if unsplit else self.batch_bytes
        if file.size > limit_bytes:
            where = "of a file that cannot be split" if unsplit else "in a batch"
            raise TooLarge(
                f"{file.uri} has {file.size:,} bytes, and AEP takes {limit_bytes:,} {where}: write "
                "smaller files"
            )
        return file, {**match.options, "inputFormat": input_format}

    def _content(
        self, file: Arrival, beginning: bytes, input_format: Mapping[str, Any], match: Match
    ) -> Content:
        """What a file holds, as far as one or two reads tell, if the route can take it."""
        whole = len(beginning) >= file.size
        mapped = match.compiled_map is not None
        content = recognize(beginning, whole, input_format, file.uri, mapped=mapped)
        if content.format == "parquet" and not content.compression:
            start = max(file.size - parquet.END, 0)
            end = beginning if whole else self.read(file, start, file.size)
            rows = parquet.rows(end, file.size, file.uri)
            content = replace(content, rows=rows or 0, all_rows=rows is not None)
        if content.all_rows:
            check_rows_told(file, content.rows)
        demands = match.demands
        who, few, bad = f"route `{match.route}`", _MIN_ROWS, _BAD_ROWS
        if match.of_request:
            who, few, bad = "a request", "leave it out of its objects", _PARTIAL
        if content.all_rows and content.rows < demands.min_rows:
            raise TooFewRows(
                f"{file.uri!r} has {content.rows:,} rows, and {who} demands "
                f"{demands.min_rows:,}; {few}"
            )
        # Converted, it is a file without a byte, which AEP does not take; a CSV keeps its header.
        header = content.format == "csv" and match.compiled_map is None
        kept = header or content.format == "parquet" or match.as_is or not self.delivers
        if content.all_rows and content.rows == 0 and not kept:
            raise EmptyObject(f"{file.uri!r} has no row, so that nothing of it can be sent to AEP")
        if not demands.allows(content.broken, content.rows, all_rows=content.all_rows):
            are = "is" if content.broken == 1 else "are"
            raise BadRows(
                f"{file.uri!r}: {content.fault}; {content.broken:,} of its first {content.rows:,} "
                f"rows {are} broken, and {who} allows {demands.bad_rows}; correct them, or {bad}"
            )
        return content


def _by_bytes(beginning: bytes, uri: str) -> Mapping[str, Any] | None:
    """The format of a file whose name says none; None: its bytes say none either.

    Raises FormatMismatch if they are of a format that AEP does not take.
    """
    if beginning.startswith(PARQUET):
        return {"format": "parquet"}
    if (found := binary(beginning) or other_text(beginning)) is None:
        return None
    what, remedy = found
    raise FormatMismatch(
        f"{uri!r} holds {what}, which AEP does not take: "
        f"{remedy or 'write it as JSON, CSV or Parquet'}"
    )


def of_batch(input_format: Mapping[str, Any], match: Match) -> dict[str, Any]:
    """The format of a batch whose files have this one: they are converted on their way up.

    JSON of any layout goes up in lines, as Adobe advises, unless the route says `asIs`; all text in
    UTF-8. Mapped rows are JSON Lines.
    """
    if match.compiled_map is not None:
        return {"format": "json"}
    converted = dict(input_format)
    if not match.as_is:
        converted.pop("isMultiLineJson", None)
    if str(converted.get("charset", UTF_8)).lower() != UTF_8:
        del converted["charset"]
    return converted
