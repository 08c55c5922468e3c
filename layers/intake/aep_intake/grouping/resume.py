"""Resumes orders, windows and folders that are due, from the step that the ledger records."""

from aep_intake.clock.due import DueKind
from aep_intake.create import create
from aep_intake.create.ports import OrderPorts
from aep_intake.grouping import waiting_files, windows
from aep_intake.grouping.ports import WaitingPorts
from aep_intake.model.progress import Outcome
from aep_intake.model.values import dataclass


@dataclass(frozen=True, slots=True)
class ResumePorts:
    """The ports of each kind."""

    creating: OrderPorts
    windows: windows.WindowPorts
    folders: WaitingPorts


def resume(kind: DueKind, name: str, ports: ResumePorts) -> Outcome | None:
    """Resume an order, a window or a folder; the outcome of an order, if it has one."""
    match kind:
        case DueKind.WINDOWS:
            windows.close(name, ports.windows)
        case DueKind.FOLDERS:
            waiting_files.send_overdue(name, ports.folders)
        case DueKind.ORDERS:
            return create.resume(name, ports.creating, ports.folders.take_in)
        case DueKind.DELIVERIES:
            raise ValueError(f"deliveries are on_delivery's: {name}")
    return None
