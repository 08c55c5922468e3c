"""The ledger in memory, as comparisons ask it."""

from collections.abc import Sequence

from aep_intake.arrivals.reconcile import Comparison
from aep_intake.model.errors import LeaseLost
from aep_intake.model.files import Arrival
from aep_intake.model.history import Seen
from aep_intake.model.progress import Record
from aep_intake.model.windows import Window

from tests.memory_ledger import MemoryLedger


class Compared:
    """As `reconcile.ComparedLedger`. `kept`: the comparison."""

    def __init__(self, ledger: MemoryLedger, kept: Comparison) -> None:
        self.ledger, self.kept = ledger, kept
        self.noted: dict[Arrival, int] = {}  # what comparisons sent, and when these began

    def owners(self, files: Sequence[Arrival]) -> dict[Arrival, str]:
        found = {file: self.ledger.claimant(file) for file in files}
        # What came by an event left a trace of its content, which a listed file meets.
        for file, owner in found.items():
            if owner is None and file.version_id is None:
                traces = (
                    traced
                    for (object_id, slot), (traced, _) in self.ledger.claims.items()
                    if object_id == file.object_id
                    and slot.startswith("content#")
                    and self.ledger.files_of[object_id, slot].etag == file.etag
                )
                found[file] = next(traces, None)
        return {file: owner for file, owner in found.items() if owner is not None}

    def undelivered(self, external_ids: Sequence[str]) -> list[str]:
        there = {**self.ledger.handed_over, **self.ledger.deliveries}
        return [name for name in external_ids if name not in there]

    def sent_before(self, files: Sequence[Arrival], began: int) -> set[Arrival]:
        return {file for file in files if self.noted.get(file, began) != began}

    def note_sent(self, files: Sequence[Arrival], began: int) -> None:
        self.noted |= dict.fromkeys(files, began)

    def seen(self, object_id: str) -> list[Seen]:
        return self.ledger.seen(object_id)

    def get(self, external_id: str) -> Record | None:
        return self.ledger.get(external_id)

    def window(self, window_id: str) -> Window | None:
        return self.ledger.windows.get(window_id)

    def replace(self, old: Comparison, new: Comparison) -> Comparison:
        if self.kept.revision != old.revision:
            raise LeaseLost("another one")
        self.kept = new
        return new
