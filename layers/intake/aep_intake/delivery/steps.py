"""The story of one delivery: a batch's files are uploaded, it is completed, and its end is known.

    (announced  it is recorded with its order, due in an hour; the event begins it before that)
    planning    large files are cut, once                          → uploading
    uploading   every piece is uploaded and marked, side by side   → completing, or aborting
    completing  COMPLETE is sent; from here on nothing is aborted  → ingesting
    ingesting   Catalog is asked until the batch has ended         → ended
    aborting    given up before COMPLETE: ABORT is sent            → ended
    ended       announced; what holds no data is parked for another attempt; of a batch that holds
                the others, files that were lost are let go, told and parked as they arrived

A delivery is due until it has ended, and whoever works on it moves that time first: so one works on
it at a time, and what a dead worker leaves is found. How a piece is uploaded: see `uploading`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import batched
from typing import IO, Any, Protocol

from aep_intake.delivery.pieces import Cut, Piece, Readable, cutting, pieces
from aep_intake.model.batches import ENDED_WITHOUT_DATA, Batch, Target
from aep_intake.model.errors import (
    CustomerKeyNeeded,
    LeaseLost,
    MalformedEvent,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    TooLarge,
    TryAgain,
    UploadRefused,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order, Record, Rejection
from aep_intake.model.records import Kept

HOUR = 3_600_000
FORGOTTEN = 7 * 24 * HOUR  # after which a batch that Catalog does not show is none
KEEP_EVERY = 20_000  # milliseconds after which what was found of where to cut is kept
CLOCKS = 300_000  # milliseconds between Adobe's clock and ours, at most
# What is surely about a file: it is named when it comes to its upload, and the others go on.
ABOUT_THE_FILE = (TooLarge, ObjectGone, ObjectArchived, CustomerKeyNeeded)
AT_ONCE = 20  # lost files that are let go until that is kept
PATIENCE = 3  # looks after which what is missing is handed out again: a quarter of an hour


class DeliveryStage(StrEnum):
    """How far a delivery has come."""

    PLANNING = "planning"
    UPLOADING = "uploading"
    COMPLETING = "completing"
    INGESTING = "ingesting"
    ABORTING = "aborting"
    ENDED = "ended"


class End(StrEnum):
    """How a batch ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"  # without a verdict on its data: by us, by a person, or by Adobe


@dataclass(frozen=True, slots=True)
class Verdict(Kept):
    """The true outcome. `status` and `metrics` are Adobe's; `at` in epoch milliseconds.

    `errors`: Adobe's, the first of them. `diagnostics`: how many files with details were kept; None
    until that was asked for. `lost`: the pieces that are not in it, by number.
    """

    end: End
    status: str
    detail: str
    at: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[Mapping[str, Any], ...] = ()
    diagnostics: int | None = None
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark(Kept):
    """What became of a piece: uploaded (`size` bytes), or `lost`, and why.

    Of one that was lost, `size` bytes are in the batch all the same.
    """

    size: int
    lost: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Progress(Kept):
    """How far a compressed file has come that was looked through: so many of its parts were sent,
    `size` bytes together.
    """

    parts: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Delivery(Kept):
    """A delivery in the ledger. Times in epoch milliseconds.

    `limit`: bytes of a piece. `whole`: a file that is lost ends it. `cuts`: of the files that are
    cut, by their place. `total`: pieces. `due`: when someone must look again, and until then nobody
    else may; None once it has ended. `settled`: of how many lost files all is done by now.
    """

    external_id: str
    batch_id: str
    target: Target
    input_format: Mapping[str, Any]
    route: str | None
    file_count: int
    byte_count: int
    created_at: int
    limit: int
    whole: bool
    stage: DeliveryStage
    due: int | None
    revision: int = 1
    cuts: Mapping[int, Cut] = field(default_factory=dict)
    total: int = 0
    looks: int = 0
    uploaded_at: int | None = None
    verdict: Verdict | None = None
    settled: int = 0

    @classmethod
    def of(cls, record: Record, files: tuple[Arrival, ...], limit: int, due: int) -> "Delivery":
        """A new delivery, of an order that has its batch."""
        order = record.order
        return cls(
            order.external_id,
            record.batch_id or "",
            order.target,
            order.options.get("inputFormat", {"format": "parquet"}),
            order.route,
            len(files),
            sum(file.size for file in files),
            record.created_at or 0,
            limit,
            order.whole,
            DeliveryStage.PLANNING,
            due,
        )

    def then(self, **changes: Any) -> "Delivery":
        """As it stands after a step."""
        return replace(self, revision=self.revision + 1, **changes)


@dataclass(frozen=True, slots=True)
class Task(Kept):
    """The upload of a piece, with all that it takes: a message needs no look at the file list."""

    external_id: str
    piece: Piece


class DeliveryLedger(Protocol):
    """What remembers deliveries. Every method raises LedgerUnavailable when it cannot tell."""

    def begin(self, delivery: Delivery, *, recorded: bool) -> bool:
        """Put `delivery` in place of what was `recorded` with its order, or if there is nothing.

        False where somebody else did.
        """

    def get(self, external_id: str) -> Delivery | None:
        """The delivery as it is now; None if it has not begun."""

    def replace(self, old: Delivery, new: Delivery) -> Delivery:
        """`new` in place of `old`; raises LeaseLost if the ledger no longer holds `old`."""

    def mark(self, external_id: str, piece: int, mark: Mark) -> int:
        """Remember what became of a piece; about how many are marked by now.

        What stands stays, but that a piece was uploaded counts more than that it was lost: of two
        copies of its message, one may have read what the other could not.
        """

    def marked(self, external_id: str, piece: int) -> Mark | None:
        """What became of a piece so far."""

    def marks(self, external_id: str) -> dict[int, Mark]:
        """What became of the pieces so far."""

    def progress(self, external_id: str, piece: int) -> Progress | None:
        """How far a compressed file has come; None if nobody has looked it through."""

    def keep(self, external_id: str, piece: int, progress: Progress) -> None:
        """Remember how far a compressed file has come."""


class Allowance(Protocol):
    """The bytes that AEP takes of an organization in an hour."""

    def taking(self, target: Target, size: int) -> AbstractContextManager[None]:
        """Count bytes that are sent there meanwhile; they are given back if that fails.

        Raises NotYet if the hour is used up, or LedgerUnavailable.
        """

    def wait(self, target: Target, size: int) -> float:
        """Seconds until so many bytes may be sent there. Raises LedgerUnavailable."""


class Orders(Protocol):
    """What is asked of the create stage's ledger."""

    def get(self, external_id: str) -> Record | None:
        """The record as it is now."""

    def files(self, order: Order) -> tuple[Arrival, ...]:
        """The files of an order, wherever they are kept."""

    def let_go(self, order: Order, lost: Mapping[Arrival, Rejection]) -> None:
        """Give up the claims of files where they are the order's still; why is remembered."""


class IngestionApi(Protocol):
    """AEP. Every method may raise TryAgain."""

    def upload(
        self, delivery: Delivery, path: str, body: Readable, size: int, seconds: float
    ) -> None:
        """PUT one file, in so many seconds at most. Raises UploadRefused."""

    def held(self, delivery: Delivery, path: str) -> int:
        """How many bytes of a file the batch has already."""

    def complete(self, delivery: Delivery) -> None:
        """Say that all files are there. Raises UploadRefused."""

    def abort(self, delivery: Delivery) -> None:
        """Make a batch that is still loading go away."""

    def look(self, delivery: Delivery) -> Batch | None:
        """What Catalog knows of the batch."""

    def diagnostics(self, delivery: Delivery) -> int:
        """Keep what AEP tells of bad rows; how many files that were."""


class DeliveryAnnouncer(Protocol):
    """The event bus. Raises NotAnnounced."""

    def ended(self, delivery: Delivery, lost: Mapping[str, Rejection]) -> None:
        """Say how the batch ended, and which files are not in it."""

    def arrival_rejected(
        self, external_id: str, arrivals: tuple[Arrival, ...], why: Rejection
    ) -> None:
        """Say why a file is not in the batch."""


@dataclass(frozen=True, slots=True)
class DeliveryPorts:
    """What a delivery needs of the world."""

    deliveries: DeliveryLedger
    orders: Orders
    ingestion: IngestionApi
    allowance: Allowance
    announcer: DeliveryAnnouncer
    # Bytes of a file of the version that arrived, from an offset up to another. Raises ObjectGone,
    # ObjectArchived, CustomerKeyNeeded, NotReadable or StorageUnavailable.
    opened: Callable[[Arrival, int, int], IO[bytes]]
    # Has pieces uploaded.
    enqueue: Callable[[list[Task]], None]
    # Puts an order where `aep-intake redrive` finds it; the other, a file as it arrived.
    park: Callable[[Order, Rejection], None]
    park_file: Callable[[Arrival, Rejection], None]
    now: Callable[[], int]  # epoch ms, as all times
    step_ms: int  # the longest that a step takes
    worker_life_ms: int  # the longest that this worker lives
    upload_ms: int  # the longest that an uploader lives
    uploads_end_ms: int  # by when (epoch ms) uploads must end, so that their worker can say so
    planning_ms: int  # for how long files are looked through at a time
    piece_bytes: int
    deadline_ms: int  # from when the batch was created until it is given up
    first_poll_ms: int  # from COMPLETE until Catalog is asked
    # When (epoch ms) the ledger was put back to an earlier state, so that it may not know what was
    # done to batches before.
    restored_at: Callable[[], int] = lambda: 0

    def patient(self, delivery: Delivery) -> bool:
        """Whether a file that S3 does not let us read is waited for.

        Rights come back; but before the batch is given up it goes on without that file, which is
        parked, so that one bucket's policy does not take the files of others along.
        """
        return self.now() < delivery.created_at + self.deadline_ms * 3 // 4


def begin(external_id: str, batch_id: str, ports: DeliveryPorts) -> None:
    """Begin with a batch that was announced, once however often that is said.

    Raises MalformedEvent where our ledger knows nothing of it, NotYet where its order is not
    finished, or what `go_on` raises.
    """
    record = ports.orders.get(external_id)
    if record is None or record.batch_id != batch_id:
        raise MalformedEvent(
            f"the ledger knows no batch {batch_id} of order {external_id}", external_id=external_id
        )
    if record.due is not None:  # the event was faster than the record that comes with it
        raise NotYet("its creation is not finished", retry_after=1, external_id=external_id)
    _begin(record, ports)


def _begin(record: Record, ports: DeliveryPorts) -> Delivery | None:
    if record.delivers is False:  # others fill it, whatever this deployment does by now
        return None
    files = ports.orders.files(record.order)
    if not files:  # announced by a release that recorded no deliveries: whoever asked fills it
        return None
    due = ports.now() + max(ports.step_ms, ports.worker_life_ms)
    delivery = Delivery.of(record, files, ports.piece_bytes, due)
    if not ports.deliveries.begin(delivery, recorded=record.delivers is True):
        return None
    if _half_known(delivery, ports):
        return _plan_again(delivery, ports)
    return _plan(delivery, files, ports)


def _half_known(delivery: Delivery, ports: DeliveryPorts) -> bool:
    """Whether it may be filled by a worker of which a restored ledger knows nothing."""
    return delivery.created_at <= ports.restored_at() + CLOCKS


def go_on(external_id: str, ports: DeliveryPorts) -> Delivery | None:
    """Go on with a delivery that is due, and tell how it stands then. Raises TryAgain."""
    delivery = ports.deliveries.get(external_id)
    if delivery is None:  # whose event did not come
        record = ports.orders.get(external_id)
        return _begin(record, ports) if record is not None and record.delivers else None
    if delivery.due is None or ports.now() < delivery.due:
        return None
    planning = delivery.stage is DeliveryStage.PLANNING
    due = ports.now() + (max(ports.step_ms, ports.worker_life_ms) if planning else ports.step_ms)
    delivery = ports.deliveries.replace(delivery, delivery.then(due=due))
    try:
        return _STEPS[delivery.stage](delivery, ports)
    except TryAgain as error:  # it is due again after a step, or when Adobe said
        later = ports.now() + int(1000 * (error.retry_after or 0))
        standing = ports.deliveries.get(external_id)
        if standing is not None and standing.due is not None and standing.due < later:
            ports.deliveries.replace(standing, standing.then(due=later))
        raise


def _plan_again(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """What another worker did not get done; there is an end to that, too."""
    batch = ports.ingestion.look(delivery)
    if batch is not None and batch.status != "loading":
        return _judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + ports.deadline_ms:
        return _give_up(delivery, "its files could not be looked through in time", ports)
    return _plan(delivery, _files(delivery, ports), ports)


def _plan(delivery: Delivery, files: tuple[Arrival, ...], ports: DeliveryPorts) -> Delivery:
    until = ports.now() + ports.planning_ms
    for place, file in enumerate(files):
        delivery, done = _cut(delivery, place, file, until, ports)
        if not done:  # others have their turn; the next tick has this go on
            return ports.deliveries.replace(delivery, delivery.then(due=ports.now()))
    cuts, tasks = _whole_cuts(delivery, files), _tasks(delivery, files)
    ports.enqueue(tasks)  # before that is told: who is killed amid it leaves a plan that is due
    due = ports.now() + ports.upload_ms
    delivery = ports.deliveries.replace(
        delivery, delivery.then(stage=DeliveryStage.UPLOADING, cuts=cuts, total=len(tasks), due=due)
    )
    # Until now nobody knew that the last one is the last.
    if len(ports.deliveries.marks(delivery.external_id)) == delivery.total:
        return _look_after(delivery, ports)
    return delivery


def _cut(
    delivery: Delivery, place: int, file: Arrival, until: int, ports: DeliveryPorts
) -> tuple[Delivery, bool]:
    """See where to cut a file, and whether that is done; long work is kept as it goes."""
    known, kept_at = delivery.cuts.get(place), ports.now()
    if known is not None and known.whole(file):
        return delivery, True
    opened = _opens(file, ports)
    try:
        for made in cutting(file, delivery.input_format, delivery.limit, opened, known):
            now, whole = ports.now(), made.whole(file)
            if whole or now >= until or now > kept_at + KEEP_EVERY:
                kept_at = now
                delivery = _keep(delivery, {**delivery.cuts, place: made}, ports)
            if now >= until and not whole:
                return delivery, False
    except (*ABOUT_THE_FILE, NotReadable) as error:
        if isinstance(error, NotReadable) and ports.patient(delivery):
            raise
    return delivery, True


def _keep(delivery: Delivery, cuts: Mapping[int, Cut], ports: DeliveryPorts) -> Delivery:
    due = ports.now() + max(ports.step_ms, ports.worker_life_ms)
    return ports.deliveries.replace(delivery, delivery.then(cuts=cuts, due=due))


def _opens(file: Arrival, ports: DeliveryPorts) -> Callable[[int, int], IO[bytes]]:
    return lambda start, end: ports.opened(file, start, end)


def _tasks(delivery: Delivery, files: tuple[Arrival, ...]) -> list[Task]:
    cuts = _whole_cuts(delivery, files)
    return [Task(delivery.external_id, piece) for piece in pieces(files, cuts)]


def _whole_cuts(delivery: Delivery, files: tuple[Arrival, ...]) -> dict[int, Cut]:
    """What cannot be cut to its end is named, all of it, when it comes to its upload."""
    return {place: cut for place, cut in delivery.cuts.items() if cut.whole(files[place])}


def _look_after(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Complete it if all pieces are there; else see to those that are missing."""
    marks = ports.deliveries.marks(delivery.external_id)
    if len(marks) == delivery.total:
        lost = {number for number, mark in marks.items() if mark.lost}
        none = len(lost) == delivery.total
        half = any(mark.lost and mark.size for mark in marks.values())
        if lost and (none or half or delivery.whole or _in_part(delivery, lost, ports)):
            return _give_up(delivery, f"{len(lost)} of its uploads were not possible", ports)
        delivery = ports.deliveries.replace(
            delivery, delivery.then(stage=DeliveryStage.COMPLETING, uploaded_at=ports.now())
        )
        return _complete(delivery, ports)
    batch = ports.ingestion.look(delivery)
    if batch is not None and batch.status != "loading":
        return _judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + ports.deadline_ms:
        missing = delivery.total - len(marks)
        return _give_up(delivery, f"{missing} of its {delivery.total} uploads were not done", ports)
    looks = delivery.looks + 1
    if _may_be_lost(looks):
        tasks = _tasks(delivery, _files(delivery, ports))
        absent = [task for task in tasks if task.piece.number not in marks]
        # Messages that wait for bytes of the hour are not lost; what is packed goes up in parts.
        largest = min(max(task.piece.size for task in absent), delivery.limit)
        if wait := ports.allowance.wait(delivery.target, largest):
            due = ports.now() + int(1000 * wait)
            return ports.deliveries.replace(delivery, delivery.then(due=due))
        ports.enqueue(absent)
    due = ports.now() + ports.upload_ms
    return ports.deliveries.replace(delivery, delivery.then(due=due, looks=looks))


def _may_be_lost(looks: int) -> bool:
    """Whether, after so many looks, what is missing may have lost its messages.

    Mostly it waits behind others, for a day at worst: so each time is twice as late as the last.
    """
    return looks % PATIENCE == 0 and (looks // PATIENCE).bit_count() == 1


def _in_part(delivery: Delivery, lost: set[int], ports: DeliveryPorts) -> bool:
    """Whether of a file some pieces are there and others lost: it could not be sent again."""
    if not delivery.cuts:
        return False
    found: dict[Arrival, set[bool]] = {}
    for task in _tasks(delivery, _files(delivery, ports)):
        found.setdefault(task.piece.file, set()).add(task.piece.number in lost)
    return any(len(both) == 2 for both in found.values())


def _complete(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    try:
        ports.ingestion.complete(delivery)
    except UploadRefused:  # it may no longer be loading: Catalog says what it is
        due = ports.now()
    else:
        due = ports.now() + ports.first_poll_ms
    ingesting = delivery.then(stage=DeliveryStage.INGESTING, due=due, looks=0)
    return ports.deliveries.replace(delivery, ingesting)


def _follow(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    batch = ports.ingestion.look(delivery)
    if batch is not None and batch.status == "loading" and delivery.looks:
        with suppress(UploadRefused):  # it was not heard, or refused; it may be said again
            ports.ingestion.complete(delivery)
    if batch is not None:
        return _judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + FORGOTTEN:
        why = f"Catalog no longer knows batch {delivery.batch_id}"
        return _end(delivery, Verdict(End.ABANDONED, "unknown", why, ports.now()), ports)
    return _look_later(delivery, ports)


def _look_later(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Adobe advises two minutes; after that in growing intervals, half an hour at most."""
    looks = delivery.looks if delivery.stage is DeliveryStage.INGESTING else 0
    wait = min(ports.first_poll_ms * 3**looks // 2**looks, 1_800_000)
    due = ports.now() + wait
    changed = delivery.then(looks=min(looks + 1, 20), due=due, stage=DeliveryStage.INGESTING)
    return ports.deliveries.replace(delivery, changed)


def _judge(delivery: Delivery, batch: Batch, ports: DeliveryPorts) -> Delivery:
    status, end = batch.status, End.ABANDONED
    if batch.holds_data:
        end = End.SUCCEEDED
    elif status in ("failed", "failure"):
        end = End.FAILED
    elif not batch.holds_none and status != "inactive":
        return _look_later(delivery, ports)
    metrics, errors = batch.raw.get("metrics"), batch.raw.get("errors")
    verdict = Verdict(
        end,
        status,
        f"batch {delivery.batch_id} is {status}",
        ports.now(),
        _numbers(metrics) if isinstance(metrics, dict) else {},
        _words(errors) if isinstance(errors, list) else (),
    )
    return _end(delivery, verdict, ports)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if type(value) in (int, float)}


def _words(errors: list[Any]) -> tuple[dict[str, str], ...]:
    """The first of them, without the rows they list: an item of the ledger has 400 KB."""
    return tuple(
        {name: str(error[name])[:500] for name in ("code", "description") if name in error}
        for error in errors[:20]
        if isinstance(error, dict)
    )


def _give_up(delivery: Delivery, why: str, ports: DeliveryPorts) -> Delivery:
    verdict = Verdict(End.ABANDONED, "aborted", why, ports.now())
    delivery = ports.deliveries.replace(
        delivery, delivery.then(stage=DeliveryStage.ABORTING, verdict=verdict)
    )
    return _abort(delivery, ports)


def _abort(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    ports.ingestion.abort(delivery)
    batch = ports.ingestion.look(delivery)
    if batch is None or batch.status == "loading":
        raise NotYet("Catalog does not say yet that the batch is aborted")
    if batch.status in ENDED_WITHOUT_DATA and delivery.verdict is not None:
        return _end(delivery, delivery.verdict, ports)
    return _judge(delivery, batch, ports)  # somebody else was faster


def _end(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> Delivery:
    # Kept, for an upload that is still on its way may end otherwise, and all announcements alike.
    verdict = replace(verdict, lost=_lost_pieces(delivery, verdict, ports))
    delivery = ports.deliveries.replace(
        delivery,
        delivery.then(stage=DeliveryStage.ENDED, verdict=verdict, due=ports.now() + ports.step_ms),
    )
    return _announce(delivery, ports)


def _announce(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    verdict = delivery.verdict
    if verdict is None:
        raise LeaseLost("the ledger no longer holds the verdict", external_id=delivery.external_id)
    bad_rows = verdict.metrics.get("failedRecordCount")
    bad = verdict.end is End.FAILED or (verdict.end is End.SUCCEEDED and bad_rows)
    if bad and verdict.diagnostics is None:  # once: what is announced stays the same
        verdict = replace(verdict, diagnostics=_diagnostics(delivery, verdict, ports))
        delivery = ports.deliveries.replace(delivery, delivery.then(verdict=verdict))
    record = ports.orders.get(delivery.external_id)
    if record is not None and record.due is not None:  # until then, another attempt is none
        raise NotYet("its creation is not finished", external_id=delivery.external_id)
    lost = _lost_files(delivery, verdict.lost, ports)
    ports.announcer.ended(delivery, {one.file.uri: one.why for one in lost if one.why})
    if record is not None:
        # A newer version took its place, and was meant to.
        replaced = record.replaced_by is not None
        if verdict.end is not End.SUCCEEDED and not replaced:
            ports.park(record.order, Rejection(f"batch-{verdict.end}", verdict.detail, verdict.at))
        apart = verdict.end is End.SUCCEEDED and not replaced
        delivery = _release_lost_files(delivery, lost, record.order if apart else None, ports)
    return ports.deliveries.replace(delivery, delivery.then(due=None))


def _release_lost_files(
    delivery: Delivery, lost: tuple["_Lost", ...], order: Order | None, ports: DeliveryPorts
) -> Delivery:
    """Say of each file that was lost why, and go on from where a worker before has come.

    `order`: where the batch holds its other files. Then the claims of those that are lost are let
    go, and only then they are parked: else a redrive would find them claimed, and drop them.
    """
    for some in batched(lost[delivery.settled :], AT_ONCE, strict=False):
        free = {one.file: one.why for one in some if order and one.why and one.apart(order)}
        if order is not None and free:
            ports.orders.let_go(order, free)
        for one in some:
            if one.why is not None:
                ports.announcer.arrival_rejected(delivery.external_id, (one.file,), one.why)
            if why := free.get(one.file):
                ports.park_file(one.file, why)
        settled, due = delivery.settled + len(some), ports.now() + ports.step_ms
        delivery = ports.deliveries.replace(delivery, delivery.then(settled=settled, due=due))
    return delivery


def _diagnostics(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> int:
    """How many were kept; the outcome is not held back for long by what only explains it."""
    try:
        return ports.ingestion.diagnostics(delivery)
    except TryAgain:
        if ports.now() < verdict.at + HOUR:
            raise
        return 0


def _lost_pieces(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> tuple[int, ...]:
    marks = ports.deliveries.marks(delivery.external_id)
    unmarked = len(marks) < delivery.total or not delivery.total  # 0: not planned yet
    if verdict.end is End.SUCCEEDED and unmarked and not _half_known(delivery, ports):
        refused = "the batch was completed, but not by us, before the file was uploaded"
        why = Rejection.of(UploadRefused(refused), ports.now())
        for piece in (task.piece for task in _tasks(delivery, _files(delivery, ports))):
            if piece.number not in marks:
                mark = lost_unless_held(delivery, piece, why, ports)
                ports.deliveries.mark(delivery.external_id, piece.number, mark)
        marks = ports.deliveries.marks(delivery.external_id)
    return tuple(sorted(number for number, mark in marks.items() if mark.lost))


def lost_unless_held(
    delivery: Delivery, piece: Piece, why: Rejection, ports: DeliveryPorts
) -> Mark:
    """The mark of a piece of which no worker has said that it was uploaded. Raises TryAgain.

    The batch may have it since an earlier try all the same, whose answer nobody got.
    """
    held = ports.ingestion.held(delivery, piece.path())
    whole = held == piece.size and not piece.gzipped
    return Mark(held, None if whole else why)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A file of which not all is in its batch. `none`: nothing of it is. `why` is None where it was
    uploaded after all, by a worker that took very long.
    """

    file: Arrival
    why: Rejection | None
    none: bool

    def apart(self, order: Order) -> bool:
        """Whether it can have a batch of its own: not if half of it were double then, nor if it has
        one, which somebody else completed without it.
        """
        return self.none and order.root != self.file.external_id


def _lost_files(
    delivery: Delivery, lost: tuple[int, ...], ports: DeliveryPorts
) -> tuple[_Lost, ...]:
    """Always the same ones, in the same order."""
    if not lost:
        return ()
    missing, marks = frozenset(lost), ports.deliveries.marks(delivery.external_id)
    found: dict[Arrival, list[int]] = {}
    for piece in (task.piece for task in _tasks(delivery, _files(delivery, ports))):
        found.setdefault(piece.file, []).append(piece.number)
    return tuple(
        _Lost(
            file,
            next((why for number in gone if (why := marks[number].lost)), None),
            gone == numbers and not any(marks[number].size for number in gone),
        )
        for file, numbers in found.items()
        if (gone := [number for number in numbers if number in missing])
    )


def _files(delivery: Delivery, ports: DeliveryPorts) -> tuple[Arrival, ...]:
    record = ports.orders.get(delivery.external_id)
    if record is None:
        raise LeaseLost("the ledger no longer holds the order", external_id=delivery.external_id)
    return ports.orders.files(record.order)


_STEPS: Mapping[DeliveryStage, Callable[[Delivery, DeliveryPorts], Delivery]] = {
    DeliveryStage.PLANNING: _plan_again,
    DeliveryStage.UPLOADING: _look_after,
    DeliveryStage.COMPLETING: _complete,
    DeliveryStage.INGESTING: _follow,
    DeliveryStage.ABORTING: _abort,
    DeliveryStage.ENDED: _announce,
}
