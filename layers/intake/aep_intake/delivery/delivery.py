"""A delivery, its stages, and what it needs of the world."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import IO, Any, Protocol

from aep_intake.delivery.pieces import Cut, Piece, Readable, pieces
from aep_intake.model.batches import Batch, Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order, Record, Rejection
from aep_intake.model.records import Kept, invariant

HOUR = 3_600_000


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
        after = replace(self, revision=self.revision + 1, **changes)
        after._check()
        ended = self.stage is DeliveryStage.ENDED
        invariant(
            "what has ended stays ended", holds=after.stage is DeliveryStage.ENDED or not ended
        )
        invariant("a plan is made once", holds=self.total in (0, after.total))
        return after

    def _check(self) -> None:
        stage, ended = self.stage, self.stage is DeliveryStage.ENDED
        judged = ended or stage is DeliveryStage.ABORTING
        planned = stage in (DeliveryStage.UPLOADING, DeliveryStage.COMPLETING)
        complete = stage is DeliveryStage.COMPLETING
        invariant("a delivery is due until it has ended", holds=ended or self.due is not None)
        invariant(
            "what has ended, or is aborted, has a verdict",
            holds=self.verdict is not None or not judged,
        )
        invariant("what is uploaded has pieces", holds=self.total > 0 or not planned)
        invariant(
            "what is complete was uploaded", holds=self.uploaded_at is not None or not complete
        )
        invariant("no more files are settled than it has", holds=self.settled <= self.file_count)

    def whole_cuts(self, files: tuple[Arrival, ...]) -> dict[int, Cut]:
        """What cannot be cut to its end is named, all of it, when it comes to its upload."""
        return {place: cut for place, cut in self.cuts.items() if cut.whole(files[place])}

    def tasks(self, files: tuple[Arrival, ...]) -> "list[Task]":
        """The uploads of all its pieces, always the same ones."""
        return [Task(self.external_id, piece) for piece in pieces(files, self.whole_cuts(files))]


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
