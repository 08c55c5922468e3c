"""In which state the versions are that an order or a window has already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aep_intake.model.history import NOBODY
from aep_intake.model.orders import WINDOW_PREFIX
from aep_intake.model.windows import WindowStage
from aep_intake.report import states, status
from aep_intake.report.states import Word

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery
    from aep_intake.model.files import Arrival
    from aep_intake.model.progress import Record
    from aep_intake.report.listing import ListedLedger
    from aep_intake.report.status import StatusPorts

UNKNOWN = "unknown"  # the ledger has a claim, and no order: `aep-intake reconcile` tells of it
LOADED = (Word.LOADED, Word.REPLACED)


class Claims(Protocol):
    """Which of many versions are claimed. Raises LedgerUnavailable."""

    def owners(self, files: Sequence[Arrival]) -> Mapping[Arrival, str]:
        """The order or window that claims each of the files, as far as they are claimed."""


@dataclass(frozen=True)
class Taken:
    """The states of versions, many at a time: of those with one order, of all of them at once."""

    claims: Claims
    ledger: ListedLedger
    status: StatusPorts

    def __call__(self, files: Sequence[Arrival]) -> dict[Arrival, str]:
        """The state of each that is taken. Raises LedgerUnavailable or StorageUnavailable."""
        owners = self.claims.owners(files)
        known = self._of_owners(list(dict.fromkeys(owners.values())))
        rest = [file for file, owner in owners.items() if known[owner] is None]
        found = dict(zip(rest, self.status.side_by_side(self._of_file, rest), strict=True))
        return {file: known[owner] or found[file] for file, owner in owners.items()}

    def _of_owners(self, owners: Sequence[str]) -> dict[str, str | None]:
        """The state of all that each has; None where it is not one."""
        found: dict[str, str | None] = dict.fromkeys(owners)
        orders = {owner: [owner] for owner in owners if not owner.startswith(WINDOW_PREFIX)}
        of_windows = [name for name in owners if name not in orders and name != NOBODY]
        windows = self.status.side_by_side(self.status.windows.get, of_windows)
        for name, window in zip(of_windows, windows, strict=True):
            if window is not None and window.stage is WindowStage.FINISHED:
                orders[name] = [window.part_id(n) for n in range(len(window.parts))]
            elif window is not None:
                found[name] = states.of_window(window).word
        records = self.ledger.orders([name for several in orders.values() for name in several])
        for owner, several in orders.items():
            found[owner] = self._of_orders([records.get(name) for name in several])
        return found | ({NOBODY: Word.DISCARDED} if NOBODY in found else {})

    def _of_orders(self, found: Sequence[tuple[Record, Delivery | None] | None]) -> str | None:
        """The state that orders have in common; None if they have not, or others follow them."""
        words = set[str]()
        for one in found:
            if one is None or one[0].next_attempt is not None or one[0].split_into is not None:
                return None
            words.add(status.about(*one, self.status)["state"])
        return words.pop() if len(words) == 1 else None

    def _of_file(self, file: Arrival) -> str:
        found = status.of_version(file, self.status)
        return UNKNOWN if found is None else str(found["state"])
