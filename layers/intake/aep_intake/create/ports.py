"""The ports through which the create stage reaches the world."""

from collections.abc import Callable, Mapping
from typing import Protocol

from aep_intake.model.batches import Batch, Target
from aep_intake.model.ledgers import Attempts
from aep_intake.model.orders import LedgerIdentity, Order
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Lease, Record, Rejection
from aep_intake.model.values import dataclass


class OrderLedger(Attempts, Protocol):
    """The ledger of orders. Every method may raise LedgerUnavailable."""

    files_max: int  # of an order
    files_bytes_max: int  # of them all, as `records.listed` writes them

    def open(self, record: Record) -> Record:
        """Put `record` and its claims, all or nothing; or return the record that exists.

        Moves the head of the order's lineage. Raises AlreadyClaimed if the order is new and other
        orders hold some of its files, and LineMoved if another order has become the head.
        """

    def replace(self, old: Record, new: Record) -> Record:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""

    def hand_over(self, old: Record, new: Record, due: int) -> Record:
        """As `replace`, and record the delivery of its batch, which is due at `due` (epoch ms)."""

    def release(self, old: Record, new: Record) -> Record:
        """As `replace`, and delete the claims."""

    def reclaim(self, old: Record, new: Record) -> Record:
        """As `replace`, and put the claims again, all or nothing. Raises AlreadyClaimed, too."""

    def renew(self, order: Order, end: int) -> None:
        """Keep for longer what else the ledger has of an order that a pause keeps back.

        Raises NotYet at its `end` (epoch ms); who comes next goes on.
        """


class BatchPlatform(Protocol):
    """AEP's part of an order. Every method may raise TryAgain: then AEP made nothing."""

    def create(self, order: Order) -> Batch:
        """One POST. Raises OutcomeUnknown (a batch may exist) or Rejected (none does)."""

    def find(self, order: Order, since: int | None) -> list[Batch]:
        """The batches in Catalog that this ledger made for `order` since then (epoch ms).

        The oldest first; of any time if `since` is None.
        """

    def abort(self, order: Order, batch_id: str) -> None:
        """Abort a batch that is still loading; no error if it is gone."""

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        """The batch in Catalog; None if Catalog does not show it."""


class OrderAnnouncer(Protocol):
    """The event bus. Raises NotAnnounced or StorageUnavailable."""

    def created(self, record: Record) -> None:
        """Announce the batch that the order got."""

    def rejected(self, order: Order, rejection: Rejection) -> None:
        """Announce why the order gets no batch."""


@dataclass(frozen=True, slots=True)
class OrderPorts:
    """What the create stage needs of the world."""

    ledger: OrderLedger
    platform: BatchPlatform
    announcer: OrderAnnouncer
    now: Callable[[], int]  # epoch milliseconds
    lease: Callable[[], Lease]  # makes a lease that outlasts this worker
    # Waits for a credential's turn to POST. Raises NotYet if it is too far away, or
    # LedgerUnavailable.
    pace: Callable[[str], None]
    # Parks a rejected order, with its files, that has no message of its own, for
    # `aep-intake redrive`. Raises LedgerUnavailable or StorageUnavailable.
    park: Callable[[Order, Rejection], None]
    post_ms: int  # the longest POST, with its time-outs and clock skew
    settle_ms: int  # how long Catalog may take to show a batch
    delivers: bool = True  # this stack uploads the files itself
    identity: Callable[[], LedgerIdentity] = lambda: LedgerIdentity(
        ""
    )  # of the ledger, perhaps a minute old
    # The pauses that stand, by name; perhaps some seconds old. Raises LedgerUnavailable.
    pauses: Callable[[], Mapping[str, Pause]] = dict
