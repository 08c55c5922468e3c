"""Windows that last until their folder is quiet: nothing came for so long.

The first file of a folder opens its window, and so names it, with the folder; the transaction that
does so makes it the newest of the folder, where other files find it. Each file that joins moves the
window's end, but at most once in a quarter of the quiet time. When the end has come, the window is
sealed like any other, by a conditional write on its revision: a file moves the end before that, or
opens the next window.
"""

from collections.abc import Iterable
from itertools import count

from aep_intake.grouping.windows import WindowPorts
from aep_intake.model.errors import AlreadyClaimed, LeaseLost, LineMoved, WindowSealed
from aep_intake.model.files import Arrival
from aep_intake.model.windows import Window, WindowStage


def register(
    pattern: Window, files: Iterable[Arrival], ports: WindowPorts
) -> tuple[dict[str, Window], dict[str, str]]:
    """Let `files` join the open window of their folder, or open one. As `windows.register`."""
    joined: dict[str, Window] = {}
    known: dict[str, str] = {}
    left = list(files)
    newest, window = _newest(pattern, ports)
    while left:
        begins = window is None or window.stage is not WindowStage.OPEN
        batch = next(ports.ledger.transactions(left, at_start=begins))
        try:
            if window is None or begins:
                window = _begun(pattern, newest, batch, ports)
            else:
                ports.ledger.register(window, batch, batch)
        except (WindowSealed, LineMoved):
            newest, window = _newest(pattern, ports)
        except AlreadyClaimed as conflict:
            known |= {file.external_id: owner for file, owner in conflict.claimed.items()}
            left = [file for file in left if file not in conflict.claimed]
        else:
            newest = window.window_id
            joined |= dict.fromkeys((file.external_id for file in batch), window)
            left = left[len(batch) :]
    if window is not None and joined:
        _prolong(window, ports)
    return joined, known


def _newest(pattern: Window, ports: WindowPorts) -> tuple[str | None, Window | None]:
    """The newest window of a folder: its id, and itself, unless a restored ledger lost it."""
    newest = ports.ledger.newest_of(pattern.window_id)
    return newest, None if newest is None else ports.ledger.get(newest)


def _begun(
    pattern: Window, newest: str | None, files: tuple[Arrival, ...], ports: WindowPorts
) -> Window:
    """A new window, with its first files. Raises AlreadyClaimed, LineMoved or LedgerUnavailable."""
    window = pattern
    for again in count():  # the same file has opened one before, which has let it go
        window = pattern.begun(files[0], again, ports.now())
        if ports.ledger.begin(window, newest, files):
            break
    return window


def _prolong(window: Window, ports: WindowPorts) -> None:
    """Move the window's end, unless that is far enough away."""
    current: Window | None = window
    while current is not None and current.stage is WindowStage.OPEN:
        now, due = ports.now(), current.due or 0
        if now + current.length <= due or current.quiet_end(now) <= due:
            return
        try:
            ports.ledger.replace(current, current.prolonged(now))
        except LeaseLost:
            current = ports.ledger.get(window.window_id)
        else:
            return
