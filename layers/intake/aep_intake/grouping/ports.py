"""The ports of files that wait for a marker, or for their ready file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from aep_intake.model.files import Arrival
from aep_intake.model.history import Folder, Hold, OverdueFiles, WaitingGroup
from aep_intake.model.ledgers import ObjectHistory
from aep_intake.model.progress import Rejection
from aep_intake.model.values import dataclass


class WaitingLedger(ObjectHistory, Protocol):
    """The ledger of arrivals. Every method raises LedgerUnavailable."""

    def reject(self, arrival: Arrival, rejection: Rejection, owner: str | None = None) -> None:
        """Record that an arrival was rejected before it had an order.

        `owner`: the external id under which it was announced; None for its own.
        """

    def note_superseded(self, arrival: Arrival, by: str, route: str) -> None:
        """Record that another version of its object supersedes it. Claims nothing."""

    def claimants(self, files: Sequence[Arrival]) -> Mapping[Arrival, str]:
        """The order or window that claims each of many files, if one does (consistent reads)."""


class Folders(Protocol):
    """The ledger of folders. Every method raises LedgerUnavailable."""

    def wait(self, group: WaitingGroup) -> None:
        """Add it to its folder's list, as several if it is large.

        The folder is due at its deadline, or earlier. If a worker handles the folder at this
        moment, its write fails on the new revision.
        """

    def get(self, folder_id: str) -> Folder | None:
        """The current folder."""

    def advance(self, old: Folder, new: Folder) -> None:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""

    def remember(self, old: Folder, parked: Sequence[OverdueFiles]) -> None:
        """Have it remember these instead of `old.parked`; raises as `advance`."""

    def waiting(
        self, folder_id: str, after: str, until: str, at_once: int | None = None
    ) -> Iterator[WaitingGroup]:
        """A folder's list after a place and up to another (consistent reads).

        `at_once`: how many are read at a time, for whoever needs few.
        """

    def hold(self, folder_id: str, hold: Hold) -> None:
        """Note that, unless a longer one is known."""

    def holds(self, folder_ids: Sequence[str]) -> Iterable[Hold]:
        """Those that are known of these folders."""


class ReadObjects(Protocol):
    """S3. Raises Rejected if no such object can be read, or StorageUnavailable."""

    def arrival(self, bucket: str, key: str) -> Arrival:
        """The present version of an object."""

    def read(self, arrival: Arrival, start: int, end: int, /) -> bytes:
        """As `ReadFile`."""


class RejectionAnnouncer(Protocol):
    """The event bus. Raises NotAnnounced or StorageUnavailable."""

    def arrival_rejected(
        self, external_id: str, arrivals: tuple[Arrival, ...], why: Rejection
    ) -> None:
        """Announce why these arrivals cannot become an order."""


@dataclass(frozen=True, slots=True)
class WaitingPorts:
    """What waiting files need of the world."""

    ledger: WaitingLedger
    folders: Folders
    announcer: RejectionAnnouncer
    objects: ReadObjects
    send: Callable[[OverdueFiles], None]  # to a worker that calls `reject_overdue`
    take_in: Callable[[Arrival], None]  # sends it to a worker that takes it in, as if it just came
    now: Callable[[], int]  # epoch ms
