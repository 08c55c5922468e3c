"""The ports through which a delivery reaches the world."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from aep_intake.content.gzip import Readable
from aep_intake.delivery.delivery import Delivery, Mark, Progress, Task
from aep_intake.model.batches import Batch, Target
from aep_intake.model.files import Arrival, OpenFile
from aep_intake.model.ledgers import Attempts
from aep_intake.model.orders import Order
from aep_intake.model.outcomes import OneAhead, SideBySide, one_by_one
from aep_intake.model.progress import Rejection
from aep_intake.model.sharing import Sharing
from aep_intake.model.values import dataclass


class DeliveryLedger(Protocol):
    """The ledger of deliveries. Every method may raise LedgerUnavailable."""

    def start(self, delivery: Delivery, *, recorded: bool) -> bool:
        """Put `delivery`, in place of the one `recorded` with its order, if there is one.

        False if another worker did.
        """

    def get(self, external_id: str) -> Delivery | None:
        """The current delivery; None before its start."""

    def replace(self, old: Delivery, new: Delivery) -> Delivery:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""

    def mark(self, external_id: str, piece: int, mark: Mark) -> int:
        """Mark a piece, unless it is marked; about how many pieces are marked now.

        But a mark of an upload replaces one of a loss: of two workers with copies of a message, one
        may have read what the other could not.
        """

    def marked(self, external_id: str, piece: int) -> Mark | None:
        """The mark of a piece, if it has one."""

    def marks(self, external_id: str) -> dict[int, Mark]:
        """The marks of all marked pieces, by number."""

    def progress(self, external_id: str, piece: int) -> Progress | None:
        """The progress of a file that is sent in parts."""

    def keep(self, external_id: str, piece: int, progress: Progress) -> None:
        """Store the progress of a file that is sent in parts."""


class Allowance(Protocol):
    """The bytes that AEP takes of an organization in an hour."""

    def taking(self, target: Target, size: int) -> AbstractContextManager[None]:
        """Count `size` bytes that are sent in the context; not if that fails.

        Raises NotYet if the hour is used up, or LedgerUnavailable.
        """

    def wait(self, target: Target, size: int) -> float:
        """Seconds until `size` bytes may be sent. Raises LedgerUnavailable."""


class ContentLists(Protocol):
    """Lists of contents, and bad rows, written once. Every method may raise StorageUnavailable."""

    def put(self, key: str, lines: Iterable[bytes]) -> bool:
        """Write a list, unless it exists; False if it does."""

    def whole(self, key: str) -> bytes | None:
        """A list; None if it does not exist."""


class Orders(Attempts, Protocol):
    """The ledger of orders. Every method may raise LedgerUnavailable."""

    def let_go(self, order: Order, lost: Mapping[Arrival, Rejection]) -> None:
        """Delete the order's claims of lost files, if it still has them, and record why."""


class IngestionApi(Protocol):
    """AEP. Every method may raise TryAgain."""

    def upload(
        self, delivery: Delivery, path: str, body: Readable, size: int, seconds: float
    ) -> None:
        """PUT one file, in `seconds` at most. Raises UploadRefused."""

    def uploaded_bytes(self, delivery: Delivery, path: str) -> int:
        """How many bytes of a file the batch has already."""

    def complete(self, delivery: Delivery) -> None:
        """Send COMPLETE: all files are there. Raises UploadRefused."""

    def abort(self, delivery: Delivery) -> None:
        """Abort the batch if it is still loading."""

    def fetch_batch(self, delivery: Delivery) -> Batch | None:
        """The batch in Catalog; None if Catalog does not show it."""

    def diagnostics(self, delivery: Delivery) -> int:
        """Store AEP's details of bad rows; the number of files."""

    def named(self, delivery: Delivery) -> frozenset[str]:
        """The `path_digest` of each file that AEP's details of bad rows name."""


class DeliveryAnnouncer(Protocol):
    """The event bus. Raises NotAnnounced."""

    def ended(
        self, delivery: Delivery, files: tuple[Arrival, ...], lost: Mapping[str, Rejection]
    ) -> None:
        """Announce how the batch of these files ended, and which (by URI) are not in it."""

    def rejected(self, order: Order, rejection: Rejection) -> None:
        """Announce why the files of `order` are not in its batch."""


@dataclass(frozen=True, slots=True)
class DeliveryPorts:
    """What a delivery needs of the world."""

    deliveries: DeliveryLedger
    orders: Orders
    ingestion: IngestionApi
    allowance: Allowance
    announcer: DeliveryAnnouncer
    opened: OpenFile
    lists: ContentLists
    # A compiled map by its name. Raises StorageUnavailable.
    compiled_map: Callable[[str], Mapping[str, Any]]
    enqueue: Callable[[list[Task]], None]
    # Park an order with its files, or a file as it arrived and its route, for `aep-intake redrive`.
    park: Callable[[Order, Rejection], None]
    park_file: Callable[[Arrival, str | None, Rejection], None]
    now: Callable[[], int]  # epoch ms, as all times
    step_ms: int  # the longest that a step takes
    worker_life_ms: int  # the longest that this worker lives
    upload_ms: int  # the longest that an uploader lives
    uploads_end_ms: int  # by when (epoch ms) uploads must end, so that their worker can say so
    planning_ms: int  # how long a worker reads files for their cuts, at a time
    piece_bytes: int
    sharing: Sharing | None  # of new deliveries
    deadline_ms: int  # from when the batch was created until it is given up
    first_poll_ms: int  # from COMPLETE until Catalog is asked
    # Adds to the rows of a route that came. Raises LedgerUnavailable.
    count_rows: Callable[[str, int], None]
    # Sends a message about a delivery (by external id) that is due in so many milliseconds, if that
    # is sooner than the clock would.
    remind: Callable[[str, int], None]
    # Works on values some ahead, while the results are used one by one.
    ahead: SideBySide = map
    # Makes the next one of some values while one is used.
    one_ahead: OneAhead = one_by_one
    # When (epoch ms) somebody restored the ledger: it may not know what happened to batches before.
    restored_at: Callable[[], int] = lambda: 0

    def patient(self, delivery: Delivery) -> bool:
        """Whether to wait for a file that S3 refuses to read.

        Rights come back. But before its deadline the batch continues without that file, which is
        parked, so that one bucket's policy does not take the files of other buckets along.
        """
        return self.now() < delivery.created_at + self.deadline_ms * 3 // 4
