"""What is due of orders, windows and folders goes on where the ledger says it stopped."""

from dataclasses import dataclass

from aep_intake.clock.due import DueKind
from aep_intake.create import create, ports
from aep_intake.create.create import Outcome
from aep_intake.grouping import missing_markers, windows


@dataclass(frozen=True, slots=True)
class ResumePorts:
    """What each kind needs of the world."""

    orders: ports.OrderPorts
    windows: windows.WindowPorts
    folders: missing_markers.FolderPorts


def go_on(kind: DueKind, name: str, ports: ResumePorts) -> Outcome | None:
    """Go on with an order, a window or a folder; None if there is nothing to report of it."""
    match kind:
        case DueKind.WINDOWS:
            windows.close(name, ports.windows)
        case DueKind.FOLDERS:
            missing_markers.go_on(name, ports.folders)
        case DueKind.ORDERS:
            return create.resume(name, ports.orders)
        case DueKind.DELIVERIES:
            raise ValueError(f"deliveries are on_delivery's: {name}")
    return None
