"""What several stages ask the ledger. Every method raises LedgerUnavailable."""

from typing import Protocol

from aep_intake.model.files import Arrival
from aep_intake.model.history import Seen
from aep_intake.model.orders import LineageHead, Order
from aep_intake.model.progress import Record


class Records(Protocol):
    """Orders, without their files."""

    def get(self, external_id: str) -> Record | None:
        """An order's current record."""


class Heads(Records, Protocol):
    """The same, with the heads of lineages."""

    def head(self, subject: str) -> LineageHead | None:
        """The newest order of a lineage."""


class RecordsAndFiles(Records, Protocol):
    """Orders and their files."""

    def files(self, order: Order) -> tuple[Arrival, ...]:
        """The files of an order, from the record or its window's list.

        Raises StorageUnavailable, too.
        """


class Attempts(RecordsAndFiles, Protocol):
    """The same, and what follows an order."""

    def open_next_attempt(self, ended: Record, following: Record) -> Record:
        """Put the ended attempt and the following one in one transaction. Raises LeaseLost."""

    def split(self, ended: Record, *following: Record) -> bool:
        """As `open_next_attempt`, with any number of followers, which are counted.

        False, and nothing is done, if they are more than the `split_batches` of their list allow.
        """


class ObjectHistory(Protocol):
    """What became of the versions of objects."""

    def seen(self, object_id: str) -> list[Seen]:
        """All that the ledger knows of an object."""
