"""One piece of a file goes from S3 to AEP, and is marked as uploaded or lost.

The last one of a batch has its delivery go on. A path is the same every time, so an upload that is
repeated overwrites itself.
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
from aep_intake.delivery.steps import go_on
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
PATIENT = 5  # tries of what AEP refuses for another reason, or what takes a worker too long
LEAST = 1.0  # seconds that an upload needs


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of a piece just now, and of its delivery if it was the last one; None: nothing.

    A piece that another worker has marked before is none of this one's.
    """

    mark: Mark | None = None
    delivery: Delivery | None = None


def upload(task: Task, ports: DeliveryPorts, tries: int = PATIENT) -> Uploaded:
    """Upload a piece, and go on with the batch if it was the last one. Raises TryAgain.

    `tries`: how often it was tried, this time among them. What AEP refuses for a reason that may
    pass, such as a node that does not know the batch yet, is refused for good only after a few.
    """
    delivery, piece = ports.deliveries.get(task.external_id), task.piece
    if delivery is None or delivery.stage not in (DeliveryStage.PLANNING, DeliveryStage.UPLOADING):
        return Uploaded()
    if ports.deliveries.marked(task.external_id, piece.number) is not None:
        # By a worker that may have died before it went on.
        all_there = tries > 1 and len(ports.deliveries.marks(task.external_id)) == delivery.total
        return Uploaded(None, _now(task.external_id, ports) if all_there else None)
    try:
        size = _put(delivery, piece, ports, tries)
        if size is None:  # a message of its own, that waits for nothing
            ports.enqueue([task])
            return Uploaded()
        mark = Mark(size)
    except UploadRefused as refusal:
        batch = ports.ingestion.look(delivery)
        if batch is None:
            raise NotYet("Catalog does not show the batch", external_id=task.external_id) from None
        if batch.status != "loading":  # then it is not the file that is wrong
            return Uploaded(None, _now(task.external_id, ports))
        if tries < PATIENT and refusal.status not in ABOUT_THE_FILE:
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
    # Its planner may still be handing out, and not have told how many there are.
    standing = delivery if delivery.total else ports.deliveries.get(task.external_id)
    last = standing is not None and 0 < standing.total <= marked
    return Uploaded(mark, _now(task.external_id, ports) if last else None)


def _now(external_id: str, ports: DeliveryPorts) -> Delivery | None:
    """Go on with a delivery whose uploads are over, before its time; someone else may be at it."""
    delivery = ports.deliveries.get(external_id)
    if delivery is None or delivery.stage is not DeliveryStage.UPLOADING:
        return None
    try:
        ports.deliveries.replace(delivery, delivery.then(due=ports.now()))
        return go_on(external_id, ports)
    except LeaseLost:
        return None


def _put(delivery: Delivery, piece: Piece, ports: DeliveryPorts, tries: int) -> int | None:
    """How many bytes AEP took of a piece; None if more than one worker's time is needed."""
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
    """The same of a compressed file: part by part, from where a worker before has come.

    Of one that turns out to be broken not half may go up, so it is looked through before; but what
    is no more than one part is whole when it is unpacked.
    """
    external_id, number = delivery.external_id, piece.number
    progress = ports.deliveries.progress(external_id, number)
    if progress is None:
        size = _look_through(delivery, piece, ports, tries)
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
    """What a compressed file holds, part by part, each to be read from its start; their sizes."""
    file = piece.file
    with ports.opened(file, 0, file.size) as packed:
        for body, _ in unpacked(file, packed, delivery.input_format, delivery.limit):
            size = body.seek(0, 2)
            body.seek(0)
            yield body, size


def _look_through(delivery: Delivery, piece: Piece, ports: DeliveryPorts, tries: int) -> int | None:
    """See that a compressed file is whole. How many bytes AEP took, if it is a single part.

    It is unpacked again for each worker that sends some of it: so it may take half of one's time.
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
                if tries < PATIENT:  # others may have kept this worker busy
                    raise NotYet(f"{file.uri} could not be unpacked in time")
                raise TooLarge(
                    f"{file.uri} takes longer to unpack than half of the time that an upload may "
                    "take: write smaller files"
                )
    return None


def _send(delivery: Delivery, path: str, body: Readable, size: int, ports: DeliveryPorts) -> None:
    """PUT one file, in what is left of this worker's time."""
    seconds = (ports.uploads_end_ms - ports.now()) / 1000
    if seconds < LEAST:
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
