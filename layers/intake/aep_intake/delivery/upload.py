"""Uploads one piece of a file from S3 to AEP, and marks it as uploaded or lost.

The last piece of a batch resumes its delivery. A piece has the same path every time, so a repeated
upload overwrites itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO

from aep_intake.delivery.delivery import (
    Delivery,
    DeliveryPorts,
    DeliveryStage,
    Mark,
    Progress,
    Task,
)
from aep_intake.delivery.ending import lost_unless_held
from aep_intake.delivery.pieces import Piece, Readable, uncut, unpacked
from aep_intake.delivery.steps import resume
from aep_intake.model.errors import (
    CustomerKeyNeeded,
    LeaseLost,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    Rejected,
    StorageUnavailable,
    TooLarge,
    UploadRefused,
)
from aep_intake.model.orders import Rejection

# Too large, a name too long, the wrong media type.
ABOUT_THE_FILE = frozenset({413, 414, 415})
TRIES_MAX = 5  # of a piece that AEP refuses for another reason, or that takes a worker too long
SECONDS_MIN = 1.0  # that an upload needs


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
    delivery, piece = ports.deliveries.get(task.external_id), task.piece
    if delivery is None or delivery.stage not in (DeliveryStage.PLANNING, DeliveryStage.UPLOADING):
        return Uploaded()
    if ports.deliveries.marked(task.external_id, piece.number) is not None:
        # The worker that marked it may have died before it resumed the delivery.
        all_marked = tries > 1 and len(ports.deliveries.marks(task.external_id)) == delivery.total
        return Uploaded(None, _resume_now(task.external_id, ports) if all_marked else None)
    try:
        size = _put(delivery, piece, ports, tries)
        if size is None:  # another worker continues, at once
            ports.enqueue([task])
            return Uploaded()
        mark = Mark(size)
    except UploadRefused as refusal:
        batch = ports.ingestion.fetch_batch(delivery)
        if batch is None:
            raise NotYet("Catalog does not show the batch", external_id=task.external_id) from None
        if batch.status != "loading":  # then AEP did not refuse because of the file
            return Uploaded(None, _resume_now(task.external_id, ports))
        if tries < TRIES_MAX and refusal.status not in ABOUT_THE_FILE:
            raise NotYet(refusal.detail, external_id=task.external_id) from None
        mark = Mark(refusal.sent, Rejection.of(refusal, ports.now()))
    except (ObjectGone, ObjectArchived, CustomerKeyNeeded, NotReadable) as why:
        if isinstance(why, NotReadable) and ports.patient(delivery):
            raise
        lost = Rejection(why.reason, why.detail, ports.now())
        mark = lost_unless_held(delivery, piece, lost, ports)
    except Rejected as rejected:
        mark = Mark(0, Rejection.of(rejected, ports.now()))
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


def _put(delivery: Delivery, piece: Piece, ports: DeliveryPorts, tries: int) -> int | None:
    """The bytes of a piece that AEP took; None if another worker must continue."""
    if piece.gzipped:
        return _put_unpacked(delivery, piece, ports, tries)
    file = piece.file
    if piece.size > delivery.limit:
        with ports.opened(file, 0, 1):  # if it is still there
            raise uncut(file, delivery.input_format, delivery.limit)
    header = BytesIO()
    if piece.header:
        with ports.opened(file, 0, piece.header) as start:
            header = BytesIO(start.read())
    with ports.opened(file, piece.start, piece.end) as body:
        _send(delivery, piece.path(), Concatenated(header, body), piece.size, ports)
    return piece.size


def _put_unpacked(delivery: Delivery, piece: Piece, ports: DeliveryPorts, tries: int) -> int | None:
    """As `_put`, of a compressed file: part by part, from the first that no worker has sent.

    No part of a damaged file may go up, so a worker first unpacks all of it; a single part is known
    to be intact once it is unpacked.
    """
    external_id, number = delivery.external_id, piece.number
    progress = ports.deliveries.progress(external_id, number)
    if progress is None:
        size = _check_gzip(delivery, piece, ports, tries)
        if size is not None:
            return size
        progress = Progress()
        ports.deliveries.keep(external_id, number, progress)
    begun_with, longest = progress.parts, 0
    try:
        for part, (body, size) in enumerate(_parts(delivery, piece, ports)):
            if part < progress.parts:
                continue
            began = ports.now()
            if part > begun_with and began + longest > ports.uploads_end_ms:
                return None
            _send(delivery, piece.path(part), body, size, ports)
            longest = max(longest, ports.now() - began)
            progress = Progress(part + 1, progress.size + size)
            ports.deliveries.keep(external_id, number, progress)
    except UploadRefused as refusal:
        refusal.sent = progress.size
        raise
    except StorageUnavailable:  # S3 may drop a reader that pauses for as long as an upload takes
        if progress.parts > begun_with:
            return None
        raise
    return progress.size


def _parts(
    delivery: Delivery, piece: Piece, ports: DeliveryPorts
) -> Iterator[tuple[IO[bytes], int]]:
    """The unpacked parts of a compressed file, each to be read from its start; their sizes."""
    file = piece.file
    with ports.opened(file, 0, file.size) as packed:
        for body, _ in unpacked(file, packed, delivery.input_format, delivery.limit):
            size = body.seek(0, 2)
            body.seek(0)
            yield body, size


def _check_gzip(delivery: Delivery, piece: Piece, ports: DeliveryPorts, tries: int) -> int | None:
    """Check that a compressed file is intact. If it is a single part, upload it; its bytes.

    Each worker that sends some parts unpacks the file again: so unpacking may take half of its
    time.
    """
    file, half = piece.file, ports.now() + (ports.uploads_end_ms - ports.now()) // 2
    with ports.opened(file, 0, file.size) as packed:
        parts = unpacked(file, packed, delivery.input_format, delivery.limit)
        for part, (body, last) in enumerate(parts):
            if last and part == 0:
                size = body.seek(0, 2)
                body.seek(0)
                _send(delivery, piece.path(), body, size, ports)
                return size
            if ports.now() > half and not last:
                if tries < TRIES_MAX:  # other uploads may have slowed this worker
                    raise NotYet(f"{file.uri} could not be unpacked in time")
                raise TooLarge(
                    f"{file.uri} takes longer to unpack than half of the time that an upload may "
                    "take: write smaller files"
                )
    return None


def _send(delivery: Delivery, path: str, body: Readable, size: int, ports: DeliveryPorts) -> None:
    """PUT one file, within the rest of this worker's time."""
    seconds = (ports.uploads_end_ms - ports.now()) / 1000
    if seconds < SECONDS_MIN:
        raise NotYet("this worker has no time left", external_id=delivery.external_id)
    with ports.allowance.taking(delivery.target, size):
        ports.ingestion.upload(delivery, path, body, size, seconds)


class Concatenated:
    """One stream after another, read once."""

    def __init__(self, first: Readable, rest: Readable) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self._first.read(size) or self._rest.read(size)
