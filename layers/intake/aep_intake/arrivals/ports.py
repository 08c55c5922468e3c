"""The ports through which arrivals are taken in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aep_intake.create import lineage, ports
from aep_intake.create.ports import OrderPorts
from aep_intake.grouping import markers, missing_markers, windows
from aep_intake.model.files import Arrival
from aep_intake.routing import routes
from aep_intake.routing.checks import Checks
from aep_intake.routing.targets import Targets


class ArrivalLedger(ports.OrderLedger, lineage.Heads, missing_markers.WaitingLedger, Protocol):
    """The ledger of arrivals. Every method raises LedgerUnavailable."""

    def claimant(self, arrival: Arrival) -> str | None:
        """The id of the order or window that claims this arrival."""

    def note(self, arrival: Arrival, what: str, route: str) -> None:
        """Record the fate of an arrival that gets no order of its own. Claims nothing."""

    def note_waiting(self, arrival: Arrival, route: str) -> None:
        """Note that an arrival waits for a marker, unless it has a note already."""


class ArrivalAnnouncer(ports.OrderAnnouncer, missing_markers.RejectionAnnouncer, Protocol):
    """The event bus, for arrivals without an order too."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What taking in arrivals needs of the world."""

    ports: OrderPorts
    windows: windows.WindowPorts
    overdue: missing_markers.FolderPorts
    ledger: ArrivalLedger
    announcer: ArrivalAnnouncer
    targets: Targets
    objects: markers.FolderListing
    checks: Checks
    table: Callable[[], routes.RoutingTable]
    buckets: tuple[str, ...]
    retention: int  # of the ledger, in milliseconds
    # Sends a marker to on_marker, which has more time; None: this worker gathers the folder.
    hand_on: Callable[[Arrival], None] | None = None
