"""What creating a batch needs of the world."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aep_intake.model.batches import Batch, Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Identity, Lease, Order, Record, Rejection


class OrderLedger(Protocol):
    """What remembers orders. Every method raises LedgerUnavailable when it cannot tell."""

    def open(self, record: Record) -> Record:
        """Put `record` and its claims, all or nothing; or the record that order has already.

        Moves the head of the order's line. Raises AlreadyClaimed if the order is new and other
        orders hold some of its files, and LineMoved if another order is the head by now.
        """

    def get(self, external_id: str) -> Record | None:
        """The record as it is now."""

    def replace(self, old: Record, new: Record) -> Record:
        """`new` in place of `old`; raises LeaseLost if the ledger no longer holds `old`."""

    def hand_over(self, old: Record, new: Record, due: int) -> Record:
        """As `replace`, with the delivery of its batch, which someone begins by `due`."""

    def release(self, old: Record, new: Record) -> Record:
        """As `replace`, without the claims from then on."""

    def reclaim(self, old: Record, new: Record) -> Record:
        """As `replace`, with the claims again, all or nothing. Raises AlreadyClaimed, too."""

    def files(self, order: Order) -> tuple[Arrival, ...]:
        """The files of an order, wherever they are kept."""

    def open_next_attempt(self, ended: Record, following: Record) -> Record:
        """Both at once: the attempt that ended and the one that follows. Raises LeaseLost."""


class BatchPlatform(Protocol):
    """What AEP can do for an order. Every method may raise TryAgain: surely nothing was made."""

    def create(self, order: Order) -> Batch:
        """One POST. Raises OutcomeUnknown (a batch may exist) or Rejected (none does)."""

    def find(self, order: Order, since: int | None) -> list[Batch]:
        """The batches in Catalog that this ledger made for `order` since then, oldest first."""

    def abort(self, order: Order, batch_id: str) -> None:
        """Make a batch that is still loading go away; one that is gone already is fine."""

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        """What Catalog knows of a batch."""


class OrderAnnouncer(Protocol):
    """The event bus. Raises NotAnnounced or StorageUnavailable."""

    def created(self, record: Record) -> None:
        """Say which batch the order got."""

    def rejected(self, order: Order, rejection: Rejection) -> None:
        """Say why the order gets none."""


@dataclass(frozen=True, slots=True)
class OrderPorts:
    """What the story needs of the world. Durations in milliseconds.

    `lease` makes a lease that outlasts this worker. `pace` waits for a credential's turn to POST
    and raises NotYet when that is too far off, or LedgerUnavailable. `post_ms` bounds a POST with
    its time-outs and clock skew. `settle_ms` is how long Catalog may take to show a batch. `park`
    puts a rejected order that came with no message of its own where `aep-intake redrive` finds it;
    raises StorageUnavailable. `delivers`: the stack itself fills the batches of orders that have
    files. `identity`: of the ledger, as it was a moment ago.
    """

    ledger: OrderLedger
    platform: BatchPlatform
    announcer: OrderAnnouncer
    now: Callable[[], int]
    lease: Callable[[], Lease]
    pace: Callable[[str], None]
    park: Callable[[Order, Rejection], None]
    post_ms: int
    settle_ms: int
    delivers: bool = True
    identity: Callable[[], Identity] = lambda: Identity("")
