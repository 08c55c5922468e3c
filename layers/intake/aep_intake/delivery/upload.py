"""Uploads one piece of a file, or a run of small files, from S3 to AEP: marks it uploaded, or lost.

The last piece of a batch resumes its delivery. A piece has the same path every time, so a repeated
upload overwrites itself.
"""

from contextlib import closing
from dataclasses import replace
from io import BytesIO

from aep_intake.content.beginning import BEGINNING
from aep_intake.content.csv_dialect import PROLOGUE_BYTES, prologue
from aep_intake.content.gzip import MAGIC, Readable
from aep_intake.content.parts import CHUNK, Count, Shape
from aep_intake.content.recognize import check_rows_told
from aep_intake.content.rows import Block, Place, RowReader, has_rows, is_csv
from aep_intake.delivery import contents
from aep_intake.delivery.delivery import Delivery, DeliveryStage, Mark, Progress, Task
from aep_intake.delivery.ending import lost_unless_held
from aep_intake.delivery.pieces import Piece, Run, too_large, uncut
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.delivery.put import (
    SECONDS_MIN,
    Concatenated,
    bad_rows,
    check,
    checked_parts,
    is_sent,
    parts_of,
    rows_as_it_is,
    send,
)
from aep_intake.delivery.steps import resume
from aep_intake.delivery.together import put_together
from aep_intake.model.errors import (
    CustomerKeyNeeded,
    EmptyObject,
    LeaseLost,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    Rejected,
    StorageUnavailable,
    UploadRefused,
)
from aep_intake.model.progress import Rejection
from aep_intake.model.values import dataclass

# Too large, a name too long, the wrong media type.
REFUSED_AT_ONCE = frozenset({413, 414, 415})
TRIES_MAX = 5  # of a piece that AEP refuses for another reason, or that takes a worker too long


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The result of one call of `upload`."""

    mark: Mark | None = None  # None if another worker marked the piece, or it goes on later
    delivery: Delivery | None = None  # after its next step, if this was the last piece


def upload(task: Task, ports: DeliveryPorts, tries: int = TRIES_MAX) -> Uploaded:
    """Upload a piece, and resume the delivery if it was the last one. Raises TryAgain.

    `tries`: this one included. AEP's refusal may be temporary, such as that of a node that does not
    know the batch yet: so it counts only after `TRIES_MAX`.
    """
    delivery, piece = ports.deliveries.get(task.external_id), task.what
    if delivery is None or delivery.stage not in (DeliveryStage.PLANNING, DeliveryStage.UPLOADING):
        return Uploaded()
    if ports.deliveries.marked(task.external_id, piece.number) is not None:
        # The worker that marked it may have died before it resumed the delivery.
        all_marked = tries > 1 and len(ports.deliveries.marks(task.external_id)) == delivery.total
        return Uploaded(None, _resume_now(task.external_id, ports) if all_marked else None)
    try:
        mark = _put(delivery, piece, ports)
        if mark is None:  # another worker continues, at once
            ports.enqueue([task])
            return Uploaded()
    except UploadRefused as refusal:
        batch = ports.ingestion.fetch_batch(delivery)
        if batch is None:
            raise NotYet("Catalog does not show the batch", external_id=task.external_id) from None
        if batch.status != "loading":  # then AEP did not refuse because of the file
            return Uploaded(None, _resume_now(task.external_id, ports))
        if tries < TRIES_MAX and refusal.status not in REFUSED_AT_ONCE:
            raise NotYet(refusal.detail, external_id=task.external_id) from None
        # A run is refused for none of its files, and another worker may have sent it.
        sent = max(1, refusal.sent) if isinstance(piece, Run) else refusal.sent
        mark = Mark(sent, Rejection.of(refusal, ports.now()))
    except (ObjectGone, ObjectArchived, CustomerKeyNeeded, NotReadable) as why:
        if isinstance(why, NotReadable) and ports.patient(delivery):
            raise
        lost = Rejection(why.reason, why.detail, ports.now())
        mark = lost_unless_held(delivery, piece, lost, ports)
    except Rejected as rejected:
        mark = Mark(rejected.sent, Rejection.of(rejected, ports.now()))
    marked = ports.deliveries.mark(task.external_id, piece.number, mark)
    # The planner enqueues pieces before it stores how many there are.
    current = delivery if delivery.total else ports.deliveries.get(task.external_id)
    last = current is not None and 0 < current.total <= marked
    return Uploaded(mark, _resume_now(task.external_id, ports) if last else None)


def _resume_now(external_id: str, ports: DeliveryPorts) -> Delivery | None:
    """Resume a delivery whose uploads are over, before it is due; None if another worker has it."""
    delivery = ports.deliveries.get(external_id)
    if delivery is None or delivery.stage is not DeliveryStage.UPLOADING:
        return None
    try:
        ports.deliveries.replace(delivery, delivery.then(due=ports.now()))
        return resume(external_id, ports)
    except LeaseLost:
        return None


def _put(delivery: Delivery, piece: Piece | Run, ports: DeliveryPorts) -> Mark | None:
    """The mark of a piece that AEP took; None if another worker must continue."""
    if isinstance(piece, Run):
        return put_together(delivery, piece, ports)
    if piece.refused is not None:
        with ports.opened(piece.file, 0, 1):  # if it is still there
            raise uncut(piece.file, piece.refused)
    if piece.whole and has_rows(delivery.input_format):
        return _put_converted(delivery, piece, ports)
    if piece.size > delivery.limit:
        with ports.opened(piece.file, 0, 1):  # if it is still there
            raise too_large(piece.file, delivery.limit)
    return _put_whole(delivery, piece, ports) if piece.whole else _put_cut(delivery, piece, ports)


def _put_whole(delivery: Delivery, piece: Piece, ports: DeliveryPorts) -> Mark:
    """PUT a file whose rows nobody tells apart, once it is seen to be what its format says."""
    file = piece.file

    def read(start: int, end: int) -> bytes:
        if end <= len(beginning):
            return beginning[start:end]
        with ports.opened(file, start, end) as some:
            return some.read()

    def unpacked(start: int, end: int) -> bytes:
        part.body.seek(start)
        some = part.body.read(end - start)
        part.body.seek(0)
        return some

    with ports.opened(file, 0, file.size) as stream:
        beginning = stream.read(BEGINNING)
        body: Readable = Concatenated(BytesIO(beginning), stream)
        size, reads = file.size, read
        try:
            if beginning.startswith(MAGIC):  # Adobe documents no compression for the batch API
                part = next(parts_of(delivery, file, body, ports).since())
                body, size, reads = part.body, part.size, unpacked
            rows = rows_as_it_is(delivery, piece, size, reads)
        except EmptyObject:
            if delivery.file_count == 1:
                raise
            check_rows_told(file, 0)
            return Mark(0, rows=0)
        if rows == 0 and delivery.demands.min_rows:
            return Mark(0, rows=0)
        send(delivery, piece.path(), body, size, ports)
    return Mark(size, rows=rows)


def _put_cut(delivery: Delivery, piece: Piece, ports: DeliveryPorts) -> Mark | None:
    """PUT a piece of a large file as it is; its rows are counted as they pass.

    Raises BadRows when it is too late: then nothing can be completed with it.
    """
    file, header = piece.file, b""
    if piece.header:
        with ports.opened(file, 0, piece.header) as start:
            header = start.read()
    with ports.opened(file, piece.start, piece.end) as body:
        beginning = header if piece.start else body.read(PROLOGUE_BYTES)
        skipped = prologue(beginning, delivery.input_format) if is_csv(delivery.input_format) else 0
        before, again = beginning[:skipped], beginning[skipped:]
        shape, place = Shape(delivery.input_format), Place(piece.start, max(0, piece.row - 1))
        reader = shape.reader(file.uri, place, again if piece.start else None)
        is_json = has_rows(delivery.input_format) and not is_csv(delivery.input_format)
        if piece.start:
            counted = Counted(body, reader, is_json=is_json)
            stream: Readable = Concatenated(BytesIO(again), counted)
        else:
            reader.feed(before)
            stream = counted = Counted(Concatenated(BytesIO(again), body), reader, is_json=is_json)
        size = piece.size - skipped
        send(delivery, piece.path(), stream, size, ports)
    count = counted.end()
    check(delivery, piece, count, sent=size)
    done = Progress(
        size=size,
        rows=count.rows,
        broken=count.broken,
        bad_rows=bad_rows(piece, count),
        oversized=count.oversized,
    )
    return _mark_of(delivery, piece, done)


def _put_converted(delivery: Delivery, piece: Piece, ports: DeliveryPorts) -> Mark | None:
    """PUT a file of rows, read from its start: part by part, from the first that nobody has sent.

    A file that is one part is known to be right before it is sent. Of a larger one, the first parts
    are in the batch when the end turns out to be damaged. If it has the batch for itself, the batch
    is then aborted, and nothing else is lost: so it is read once. If others share the batch, it is
    first read to its end for proof, as one bad file must not take others along. Both end before
    their worker does, and another worker continues behind the last part. While a part goes up, the
    next one is made.
    """
    external_id, number, uri = delivery.external_id, piece.number, piece.file.uri
    done = ports.deliveries.progress(external_id, number) or Progress()
    if done.parts and done.place is None:
        refused = f"an earlier release has sent some of {uri}, and would cut it otherwise"
        raise UploadRefused(refused, sent=done.size)
    begun_with, longest = done, 0
    proof = delivery.file_count > 1 and not done.checked
    try:
        with (
            ports.opened(piece.file, 0, piece.file.size) as stream,
            closing(ports.one_ahead(checked_parts(delivery, piece, stream, ports, done))) as parts,
        ):
            for part, found in parts:
                began, needed = ports.now(), max(longest, int(SECONDS_MIN * 1000))
                if done is not begun_with and began + needed > ports.uploads_end_ms:
                    return None
                proven = not proof or (part.next is None and not done.parts)
                size = part.size if proven and is_sent(delivery, part) else 0
                if size:
                    send(delivery, piece.path(done.parts), part.body, size, ports)
                part.body.close()
                longest = max(longest, ports.now() - began)
                done = replace(found, size=done.size + size)
                if part.next is not None:
                    ports.deliveries.keep(external_id, number, done)
                elif not proven:
                    done = Progress(checked=True)
                    ports.deliveries.keep(external_id, number, done)
    except EmptyObject:
        if delivery.file_count == 1:
            raise
        check_rows_told(piece.file, 0)
    except Rejected as rejected:
        rejected.sent = done.size
        raise
    except StorageUnavailable:  # S3 may drop a reader that pauses for as long as an upload takes
        if done is not begun_with:
            return None
        raise
    if proof and done.checked:
        return None
    return _mark_of(delivery, piece, done)


def _mark_of(delivery: Delivery, piece: Piece, done: Progress) -> Mark:
    rows = (contents.row_named(piece.file, done.first_oversized),) if done.oversized else ()
    sent = Count(done.rows, done.broken).sent(mapped=delivery.compiled_map is not None)
    return Mark(
        done.size,
        rows=sent.rows if has_rows(delivery.input_format) else None,
        broken=sent.broken,
        bad_rows=done.bad_rows,
        unmapped=sent.unmapped,
        unmapped_columns=done.unmapped_columns[: contents.COLUMNS_NAMED],
        unmapped_column_count=done.unmapped_column_count,
        oversized=done.oversized,
        oversized_rows=rows,
    )


class Counted:
    """A stream whose rows are counted as it is read."""

    def __init__(self, body: Readable, reader: RowReader, *, is_json: bool) -> None:
        self._is_json = is_json
        self._body, self._reader, self._count = body, reader, Count()
        self._chunk = bytearray()

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        some = self._body.read(size)
        self._chunk += some
        if len(self._chunk) >= CHUNK:  # many rows at a time are read faster
            self._add(self._reader.feed(bytes(self._chunk)))
            self._chunk.clear()
        return some

    def end(self) -> Count:
        """The rows of all that was read."""
        self._add(self._reader.feed(bytes(self._chunk)))
        self._add(self._reader.end())
        return self._count

    def _add(self, block: Block) -> None:
        self._count = self._count.plus(block)
        if self._is_json:
            self._count = self._count.with_oversized(block.text, None)
