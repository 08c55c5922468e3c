"""The ports through which arrivals are taken in."""

from collections.abc import Callable, Mapping
from typing import Protocol

from aep_intake.create.ports import OrderAnnouncer, OrderLedger, OrderPorts
from aep_intake.grouping import markers, windows
from aep_intake.grouping.ports import RejectionAnnouncer, WaitingLedger, WaitingPorts
from aep_intake.model.batches import Batch, Target
from aep_intake.model.expectations import Came
from aep_intake.model.files import Arrival
from aep_intake.model.history import CountedVersion, Seen
from aep_intake.model.ledgers import Heads, RecordsAndFiles
from aep_intake.model.times import DAY_MS
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window
from aep_intake.routing.checks import Checks
from aep_intake.routing.table import RoutingTable
from aep_intake.routing.targets import Targets


class ArrivalLedger(OrderLedger, Heads, WaitingLedger, Protocol):
    """The ledger of arrivals. Every method raises LedgerUnavailable."""

    def claimant(self, arrival: Arrival) -> str | None:
        """The id of the order or window that claims this arrival."""

    def seen_and_counted(self, object_id: str) -> tuple[list[Seen], list[CountedVersion]]:
        """All that is known of an object, and what of it counts: from one consistent read."""

    def claim_copy(self, copy: Arrival, held: CountedVersion) -> bool:
        """Claim a copy for the owner of the version that it is a copy of; False if it is claimed.

        It joins no batch.
        """

    def note(self, arrival: Arrival, what: str, route: str) -> None:
        """Record the fate of an arrival that gets no order of its own. Claims nothing."""

    def note_waiting(self, arrival: Arrival, route: str, waits_for: str, until: int) -> None:
        """Note that an arrival waits until then (epoch ms), unless it has a note already."""

    def note_retrying(self, arrival: Arrival, why: str, until: int) -> None:
        """Note why an arrival could not be taken in yet; it is tried until then (epoch ms)."""

    def note_marker_time(self, folder: str, time: int) -> None:
        """Note when the newest marker of a folder came (epoch ms), once it was worked on."""

    def newest_marker_time(self, folder: str) -> int:
        """When the newest marker of a folder came (epoch ms); 0 if none is known."""


class ArrivalAnnouncer(OrderAnnouncer, RejectionAnnouncer, Protocol):
    """The event bus, for arrivals without an order too."""


class ArrivalObjects(markers.FolderListing, Protocol):
    """S3, for folders and for single objects."""

    def before(self, version: Arrival) -> list[Arrival]:
        """The versions of its object before this one, the newest first: of the newest hundred.

        None in a bucket without versions. Raises StorageUnavailable.
        """


class VersionLedger(RecordsAndFiles, Protocol):
    """The ledger of versions and of their orders. Every method raises LedgerUnavailable."""

    def counted_versions(self, object_id: str) -> list[CountedVersion]:
        """The versions of an object that are claimed, and count in their batch (one query)."""


@dataclass(frozen=True, slots=True)
class VersionPorts:
    """What it takes to know which versions of an object are loaded or under way."""

    ledger: VersionLedger
    window: Callable[[str], Window | None]
    # The number of the part of a window with a version of an object (bucket, key, version).
    part_of: Callable[[Window, str, str, str], int | None]
    # Whether the batch of an order (by external id) ended, and holds no data.
    ended_without_data: Callable[[str], bool]
    batch: Callable[[Target, str], Batch | None]  # as Catalog shows it


@dataclass(frozen=True, slots=True)
class IntakePorts:
    """What taking in arrivals needs of the world."""

    creating: OrderPorts
    windows: windows.WindowPorts
    waiting: WaitingPorts
    ledger: ArrivalLedger
    announcer: ArrivalAnnouncer
    targets: Targets
    objects: ArrivalObjects
    checks: Checks
    table: Callable[[], RoutingTable]
    buckets: tuple[str, ...]
    retention_ms: int  # of the ledger
    versions: VersionPorts
    # Notes that files of routes came, by route. Raises LedgerUnavailable.
    came: Callable[[Mapping[str, Came]], None]
    # Sends a message to on_marker, which has more time; None: this worker does it itself.
    hand_on: Callable[[str], None] | None = None
    # Since when (epoch ms) the ledger surely remembers, which a longer retention does not change at
    # once (see `remembered_since`); None: as its retention says. Raises LedgerUnavailable.
    remembered: Callable[[], int] | None = None

    def forgotten(self, time: int) -> bool:
        """Whether the ledger may have forgotten what came then (epoch ms).

        Raises LedgerUnavailable.
        """
        now = self.creating.now()
        if time >= now - DAY_MS:  # as nearly everything: nobody need be asked
            return False
        return time < (self.remembered() if self.remembered else now - self.retention_ms)
