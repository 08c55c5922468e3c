"""Windows of a restored ledger, from their lists, which are not in the ledger."""

from collections.abc import Iterable
from typing import Protocol

from aep_intake.model.files import Arrival
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.windows import Window, WindowStage


class RestoredWindows(Protocol):
    """The windows of a restored ledger. Every method raises LedgerUnavailable."""

    def get(self, window_id: str) -> Window | None:
        """The current window."""

    def freeze(self, window: Window) -> None:
        """Close all gates of a window."""

    def claim(self, window: Window, file: Arrival, superseded_by: str | None) -> None:
        """Claim a file of its list again, unless another order or window has claimed it."""

    def put_back(self, window: Window) -> None:
        """Store it as its list describes it, unless it is planned; its parts are due."""


def restore(
    window: Window,
    files: Iterable[tuple[Arrival, str | None]],
    windows: RestoredWindows,
    side_by_side: SideBySide,
) -> int | None:
    """Put a window back into a restored ledger, from its list; the number of its files.

    None if the ledger knows it. `files`: each with the version that supersedes it. May be repeated:
    the window is written last, and with it its parts, which find their batches.
    """
    current = windows.get(window.window_id)
    if current is not None and current.stage in (WindowStage.PLANNED, WindowStage.FINISHED):
        return None
    windows.freeze(window)
    claimed = side_by_side(lambda listed: windows.claim(window, *listed), files)
    count = sum(1 for _ in claimed)
    if window.marker is not None:
        windows.claim(window, window.marker, None)
    windows.put_back(window)
    return count
