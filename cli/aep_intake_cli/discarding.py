"""Discard: somebody wants what is parked no more, and its files say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aep_intake.arrivals import envelopes
from aep_intake.clock.parking import ARRIVALS, Parked
from aep_intake.model.errors import MalformedEvent
from aep_intake.model.orders import WINDOW_PREFIX

from aep_intake_cli.clock import now
from aep_intake_cli.parked import files_in

if TYPE_CHECKING:
    from aep_intake.adapters.dynamodb.ledger import DynamoLedger
    from aep_intake.model.files import Arrival
    from aep_intake.model.progress import Record


@dataclass(frozen=True)
class Marks:
    """Marks versions and orders as discarded, so that nothing takes them; or takes that back.

    `said`: by whom, and why; None takes it back. `without_data`: whether the batch of an order
    ended without data, by its external id. Raises LedgerUnavailable or LeaseLost.
    """

    ledger: DynamoLedger
    without_data: Callable[[str], bool]
    said: str | None

    def mark(self, parked: Parked) -> None:
        """Mark what a message is about; what got a batch after all stays as it is."""
        if parked.queue != ARRIVALS:  # a delivery, or a piece: what becomes of its batch says more
            return
        try:
            content = envelopes.parse(parked.body)
        except MalformedEvent:
            return
        if content.order is not None:
            self._order(content.order)
        for file in files_in(content, self.ledger):
            self._file(file)

    def _file(self, file: Arrival) -> None:
        owner = self.ledger.claimant(file)
        if self.said is None:
            self.ledger.undo_discard(file)
        elif self.ledger.discard(file, self.said, now()):
            return
        # A copy's order goes on, though nobody wants the version that it stands for.
        known = self.ledger.seen(file.object_id)
        if any(seen.version == file.version and seen.same_as for seen in known):
            return
        if owner is not None and not owner.startswith(WINDOW_PREFIX):
            self._order(owner)

    def _order(self, external_id: str) -> None:
        record = self.ledger.get(external_id)
        if record is None or record.due is not None:
            return
        wanted = record.discarded if self.said is None else self._has_no_data(record)
        if wanted:
            at = None if self.said is None else now()
            self.ledger.replace(record, record.discard(self.said, at))

    def _has_no_data(self, record: Record) -> bool:
        if record.next_attempt is not None or record.split_into is not None:
            return False
        return record.rejection is not None or self.without_data(record.order.external_id)
