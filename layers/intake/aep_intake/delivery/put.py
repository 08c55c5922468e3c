"""How files are read, checked and sent, by themselves or together with others."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from aep_intake.content.beginning import BEGINNING
from aep_intake.content.gzip import Readable
from aep_intake.content.parts import Count, Part, Parts, Shape, Source
from aep_intake.content.recognize import check_rows_told, recognize
from aep_intake.content.rows import EXAMPLES, BrokenRow, is_csv
from aep_intake.content.text import UTF_8
from aep_intake.delivery.delivery import BadRow, Delivery, Progress
from aep_intake.delivery.pieces import Piece
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model.errors import BadRows, NotYet, TooFewRows
from aep_intake.model.files import Arrival

if TYPE_CHECKING:
    from aep_intake.content.mapping import RowMap

SECONDS_MIN = 1.0  # that an upload needs
COLUMNS_BYTES = 20_000  # of the names of columns that nothing maps, for who goes on
_OF_FILES = ("charset", "isMultiLineJson")


def checked_parts(
    delivery: Delivery, piece: Piece, stream: Readable, ports: DeliveryPorts, done: Progress
) -> Generator[tuple[Part, Progress]]:
    """The parts of a file behind those that are done, and what is then known of all up to each.

    Each is as the file's route demands, and the rows that its map left out are kept. Raises as
    `parts_of`, `check` and `keep_bad_rows`.
    """
    for part in parts_of(delivery, piece.file, stream, ports).since(done.place):
        keep_bad_rows(delivery, piece.file, part, (done.parts, done.broken), ports)
        rows, broken = done.rows + part.count.rows, done.broken + part.count.broken
        count = Count(rows, broken, part.count.examples)
        check(delivery, piece, count, last=part.next is None)
        columns = part.unmapped
        if more := set(done.unmapped_columns).difference(columns):  # JSON that others have read
            columns = tuple(sorted(more.union(columns)))
        sizes = accumulate(len(name.encode(errors="replace")) for name in columns)
        done = replace(
            done,
            parts=done.parts + 1,
            rows=rows,
            broken=broken,
            bad_rows=(*done.bad_rows, *bad_rows(piece, count))[:EXAMPLES],
            oversized=done.oversized + part.count.oversized,
            first_oversized=done.first_oversized or part.count.first_oversized,
            unmapped_columns=columns[: sum(size <= COLUMNS_BYTES for size in sizes)],
            unmapped_column_count=max(len(columns), done.unmapped_column_count),
            place=part.next,
        )
        yield part, done


def parts_of(delivery: Delivery, file: Arrival, stream: Readable, ports: DeliveryPorts) -> Parts:
    """The parts of a file, as what its first bytes say it is.

    Raises as `recognize` and `RowMap`, or StorageUnavailable.
    """
    beginning = stream.read(BEGINNING)
    source = delivery.source_format or delivery.input_format
    mapped = delivery.compiled_map is not None
    found = recognize(beginning, len(beginning) >= file.size, source, file.uri, mapped=mapped)
    converted = (delivery.source_format is not None or mapped) and found.charset
    shape = Shape(
        _in_utf_8(source) if mapped else delivery.input_format,
        gzipped=found.compression == "gzip",
        charset=found.charset if converted else UTF_8,
        bom=0 if is_csv(source) else found.bom,  # whose reader knows it
        lines=found.layout in ("lines", ""),
    )
    text = Source(Concatenated(BytesIO(beginning), stream), file.uri, gzipped=shape.gzipped)
    rows_map, keeps = _rows_map(delivery, file, ports), delivery.demands.keep_bad_rows
    return Parts(text, shape, delivery.limit, file.uri, rows_map, keeps)


def _in_utf_8(source: Mapping[str, Any]) -> dict[str, Any]:
    """The format of a file whose text was made UTF-8, and whose JSON is read row by row."""
    return {name: value for name, value in source.items() if name not in _OF_FILES}


def _rows_map(delivery: Delivery, file: Arrival, ports: DeliveryPorts) -> "RowMap | None":
    if delivery.compiled_map is None:
        return None
    from aep_intake.content.mapping import RowMap  # noqa: PLC0415 - only where files are mapped

    return RowMap(ports.compiled_map(delivery.compiled_map), file.key, file.uri)


def is_sent(delivery: Delivery, part: Part) -> bool:
    """Whether a part has something that AEP should have: a header alone only if that is allowed."""
    return part.size > 0 and (part.count.rows > 0 or delivery.demands.min_rows == 0)


def keep_bad_rows(
    delivery: Delivery, file: Arrival, part: Part, place: tuple[int, int], ports: DeliveryPorts
) -> None:
    """Keep the rows that its map left out of a part, for some days: before it counts as done.

    `place`: how many parts of the file are before it, and how many such rows. Whoever comes again
    finds the same bytes there. Raises StorageUnavailable.
    """
    parts, rows = place
    if part.left_out is not None and (packed := part.left_out.packed(rows)):
        key = f"{delivery.bad_rows_prefix}{file.path_digest}-{parts:05}.jsonl.gz"
        ports.lists.put(key, [packed])


def check(
    delivery: Delivery, piece: Piece, count: Count, *, last: bool = True, sent: int = 0
) -> None:
    """Check that a file's rows are as its route demands. `last`: there are no others.

    Of a file that is uploaded in several pieces, each is checked by itself. Raises BadRows,
    RowsDiffer or TooFewRows; but a file without rows that shares its batch is left out.
    """
    demands, uri = delivery.demands, piece.file.uri
    if not demands.allows(count.broken, count.rows, all_rows=last):
        are = "is" if count.broken == 1 else "are"
        broken = BadRows(
            f"{uri}: {count.broken:,} of {count.rows:,} rows {are} broken, and its route allows "
            f"{demands.bad_rows}: {_named(piece, count)}. Correct them, or set badRows in the route"
        )
        broken.sent = sent
        raise broken
    if last and piece.whole:
        _check_number(delivery, piece, count.rows)


def _check_number(delivery: Delivery, piece: Piece, rows: int) -> None:
    uri, least = piece.file.uri, delivery.demands.min_rows
    check_rows_told(piece.file, rows)
    if rows < least and (rows or delivery.file_count == 1):
        who = "its route" if delivery.route else "its request"
        raise TooFewRows(f"{uri} has {rows:,} rows, and {who} demands {least:,}")


def rows_as_it_is(
    delivery: Delivery, piece: Piece, size: int, read: Callable[[int, int], bytes]
) -> int | None:
    """How many rows a file has that goes up as it is; None if nobody can tell.

    `read` gives its bytes, unpacked, of which there are `size`, from an offset up to another one.
    Raises FormatMismatch, EmptyObject, BadRows, RowsDiffer or TooFewRows, or as `read`.
    """
    demands, uri = delivery.demands, piece.file.uri
    source = delivery.source_format or delivery.input_format
    if demands.look_inside is False:
        return None
    found = recognize(read(0, min(BEGINNING, size)), size <= BEGINNING, source, uri)
    rows = found.rows if found.all_rows else None
    if found.format == "parquet":
        from aep_intake.content import parquet  # noqa: PLC0415 - only where Parquet comes

        rows = parquet.rows(read(max(0, size - parquet.END), size), size, uri)
    if not demands.allows(found.broken, found.rows, all_rows=found.all_rows):
        raise BadRows(f"{uri}: {found.fault}, and its route allows {demands.bad_rows} broken rows")
    if found.format == "json":
        from aep_intake.content import json_layout  # noqa: PLC0415 - only where JSON comes

        json_layout.format_with(source, found, uri)
    if rows is not None:
        _check_number(delivery, piece, rows)
    return rows


def bad_rows(piece: Piece, count: Count) -> tuple[BadRow, ...]:
    """The first broken rows: by number, where that is known, else by place."""
    numbered, uri = bool(piece.whole or piece.row), piece.file.uri
    return tuple(
        BadRow(uri, _of_column(row) + row.rule, row.row)
        if numbered
        else BadRow(uri, row.rule, offset=row.at)
        for row in count.examples
    )


def _of_column(row: BrokenRow) -> str:
    return f"column {row.column[:100]!r} " if row.column else ""


def _named(piece: Piece, count: Count) -> str:
    return "; ".join(
        f"the row at byte {bad.offset:,}, {bad.rule}"
        if bad.row is None
        else f"row {bad.row:,}, {bad.rule}"
        for bad in bad_rows(piece, count)
    )


def send(delivery: Delivery, path: str, body: Readable, size: int, ports: DeliveryPorts) -> None:
    """PUT one file, within the rest of this worker's time."""
    seconds = check_time(delivery, ports)
    with ports.allowance.taking(delivery.target, size):
        ports.ingestion.upload(delivery, path, body, size, seconds)


def check_time(delivery: Delivery, ports: DeliveryPorts) -> float:
    """The seconds that this worker has left. Raises NotYet if no upload can be made in them."""
    seconds = (ports.uploads_end_ms - ports.now()) / 1000
    if seconds < SECONDS_MIN:
        raise NotYet("this worker has no time left", external_id=delivery.external_id)
    return seconds


class Concatenated:
    """One stream after another, read once."""

    def __init__(self, first: Readable, rest: Readable) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self._first.read(size) or self._rest.read(size)
