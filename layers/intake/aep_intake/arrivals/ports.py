"""What taking something in needs."""

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
    """What else the ledger knows of an arrival."""

    def claimant(self, arrival: Arrival) -> str | None:
        """External id of the order that holds this arrival."""

    def note(self, arrival: Arrival, what: str, route: str) -> None:
        """Remember what became of an arrival that gets no order of its own. Claims nothing."""

    def note_waiting(self, arrival: Arrival, route: str) -> None:
        """The same of one that waits for a marker, unless something was noted of it before."""


class ArrivalAnnouncer(ports.OrderAnnouncer, missing_markers.RejectionAnnouncer, Protocol):
    """The event bus, for arrivals without an order too."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What taking something in needs. `retention` of the ledger in milliseconds.

    `hand_on` gives a marker to who has the time for it; without it, markers are worked on here.
    """

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
    retention: int
    hand_on: Callable[[Arrival], None] | None = None
