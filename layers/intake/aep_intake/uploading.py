"""One piece of a file goes from S3 to AEP, and is marked as uploaded or lost.

The last one of a batch has its delivery go on. A path is the same every time, so an upload that is
repeated overwrites itself.
"""

from io import BytesIO

from aep_intake.delivery import Delivery, Mark, Ports, Stage, Task, go_on, tell
from aep_intake.errors import LeaseLost, NotYet, ObjectGone, Rejected, UploadRefused
from aep_intake.orders import Rejection
from aep_intake.pieces import Piece, Readable, uncut, unpacked

# Too large, a name too long, the wrong media type.
ABOUT_THE_FILE = frozenset({413, 414, 415})
PATIENT = 5  # tries of what AEP refuses for another reason


def upload(task: Task, ports: Ports, tries: int = PATIENT) -> Delivery | None:
    """Upload a piece, and go on with the batch if it was the last one. Raises TryAgain.

    `tries`: how often it was tried, this time among them. What AEP refuses for a reason that may
    pass, such as a node that does not know the batch yet, is refused for good only after a few.
    """
    delivery, piece = ports.deliveries.get(task.external_id), task.piece
    if delivery is None:
        return None
    known = ports.deliveries.marked(task.external_id, piece.number)
    if known is not None:  # by a worker that may have died before it said so
        tell(delivery, piece, known, ports)
        return None
    if delivery.stage is not Stage.UPLOADING:
        return None
    try:
        ports.deliveries.reserve(piece.size)
        mark = Mark(_put(delivery, piece, ports))
    except UploadRefused as refusal:
        batch = ports.ingestion.look(delivery)
        if batch is None:
            raise NotYet("Catalog does not show the batch", external_id=task.external_id) from None
        if batch.status != "loading":  # then it is not the file that is wrong
            return _now(task.external_id, ports)
        if tries < PATIENT and refusal.status not in ABOUT_THE_FILE:
            raise NotYet(refusal.detail, external_id=task.external_id) from None
        mark = Mark(refusal.sent, Rejection.of(refusal, ports.now()))
    except ObjectGone as gone:  # since an earlier try, perhaps, whose answer nobody got
        held = ports.ingestion.held(delivery, piece.path())
        whole = held == piece.size and not piece.packed
        mark = Mark(held, None if whole else Rejection.of(gone, ports.now()))
    except Rejected as rejected:
        mark = Mark(0, Rejection.of(rejected, ports.now()))
    marked = ports.deliveries.mark(task.external_id, piece.number, mark)
    if mark.lost:  # unless another copy of the message came in time
        tell(delivery, piece, ports.deliveries.marked(task.external_id, piece.number), ports)
    return _now(task.external_id, ports) if marked >= delivery.total else None


def _now(external_id: str, ports: Ports) -> Delivery | None:
    """Go on with a delivery whose uploads are over, before its time; someone else may be at it."""
    delivery = ports.deliveries.get(external_id)
    if delivery is None or delivery.stage is not Stage.UPLOADING:
        return None
    try:
        ports.deliveries.replace(delivery, delivery.then(due=ports.now()))
        return go_on(external_id, ports)
    except LeaseLost:
        return None


def _put(delivery: Delivery, piece: Piece, ports: Ports) -> int:
    file, shape, limit = piece.file, delivery.input_format, delivery.limit
    if piece.packed:
        with ports.opened(file, 0, file.size) as packed:  # broken, not half of it may go up
            for _ in unpacked(file, packed, shape, limit):
                pass
        size = 0
        with ports.opened(file, 0, file.size) as packed:
            for number, one in enumerate(unpacked(file, packed, shape, limit)):
                length = one.seek(0, 2)
                one.seek(0)
                try:
                    ports.ingestion.upload(delivery, piece.path(number), one, length)
                except UploadRefused as refusal:
                    refusal.sent = size
                    raise
                size += length
        return size
    if piece.size > limit:
        with ports.opened(file, 0, 1):  # if it is still there
            raise uncut(file, shape, limit)
    header = BytesIO()
    if piece.header:
        with ports.opened(file, 0, piece.header) as start:
            header = BytesIO(start.read())
    with ports.opened(file, piece.start, piece.end) as body:
        ports.ingestion.upload(delivery, piece.path(), Joined(header, body), piece.size)
    return piece.size


class Joined:
    """One stream after another, read once."""

    def __init__(self, first: Readable, rest: Readable) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self._first.read(size) or self._rest.read(size)
