"""What is due of orders, windows and folders goes on where the ledger says it stopped."""

from dataclasses import dataclass

from aep_intake.clock.due import Kind
from aep_intake.create import create, ports
from aep_intake.create.create import Outcome
from aep_intake.grouping import missing_markers, windows


@dataclass(frozen=True, slots=True)
class Ports:
    """What each kind needs of the world."""

    orders: ports.Ports
    windows: windows.Ports
    folders: missing_markers.Ports


def go_on(kind: Kind, name: str, ports: Ports) -> Outcome | None:
    """Go on with an order, a window or a folder; None if there is nothing to report of it."""
    match kind:
        case Kind.WINDOWS:
            windows.close(name, ports.windows)
        case Kind.FOLDERS:
            missing_markers.go_on(name, ports.folders)
        case Kind.ORDERS:
            return create.resume(name, ports.orders)
        case Kind.DELIVERIES:
            raise ValueError(f"deliveries are on_delivery's: {name}")
    return None
