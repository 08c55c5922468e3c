"""The ledger in memory: passes the same contract tests as the one in DynamoDB."""

from collections.abc import Callable, Iterator

from aep_intake.arrivals import Arrival
from aep_intake.errors import AlreadyClaimed, LeaseLost, LedgerUnavailable
from aep_intake.orders import Record, Rejection, claims


class MemoryLedger:
    """Each method is one atomic step. `conflict` may say that a transaction meets another."""

    def __init__(self, conflict: Callable[[], bool] = lambda: False) -> None:
        self.records: dict[str, Record] = {}
        self.claims: dict[tuple[str, str], tuple[str, bool]] = {}
        self.rejections: dict[tuple[str, str], Rejection] = {}
        self._conflict = conflict

    def open(self, record: Record) -> Record:
        self._transaction()
        external_id = record.order.external_id
        if external_id in self.records:
            return self.records[external_id]
        claimed = {}
        for claim in record.order.claims:
            owner = self.claims.get((claim.object_id, claim.slot))
            if owner is not None and (claim.exclusive or owner[1]):
                claimed[claim.file.uri] = owner[0]
        if claimed:
            raise AlreadyClaimed("other orders hold files", claimed=claimed)
        for claim in record.order.claims:
            requested = claim.file.sequencer is None
            self.claims[claim.object_id, claim.slot] = (external_id, requested)
        self.records[external_id] = record
        return record

    def get(self, external_id: str) -> Record | None:
        return self.records.get(external_id)

    def replace(self, old: Record, new: Record) -> Record:
        external_id = old.order.external_id
        if self.records[external_id].revision != old.revision:
            raise LeaseLost("another worker went on", external_id=external_id)
        self.records[external_id] = new
        return new

    def supersede(self, ended: Record, following: Record) -> Record:
        self._transaction()
        external_id = ended.order.external_id
        new = following.order.external_id
        if self.records[external_id].revision != ended.revision - 1 or new in self.records:
            raise LeaseLost("another worker went on", external_id=external_id)
        self.records[external_id] = ended
        self.records[new] = following
        return following

    def reject(self, arrival: Arrival, rejection: Rejection) -> None:
        self.rejections[arrival.object_id, arrival.version] = rejection

    def claimant(self, arrival: Arrival) -> str | None:
        for claim in claims(arrival):
            owner = self.claims.get((claim.object_id, claim.slot))
            if owner is not None and (claim.exclusive or owner[1]):
                return owner[0]
        return None

    def of_batch(self, batch_id: str) -> Record | None:
        return next((r for r in self.records.values() if r.batch_id == batch_id), None)

    def due(self, now: int) -> Iterator[tuple[str, int]]:
        for external_id, record in list(self.records.items()):
            if record.due is not None and record.due <= now:
                yield external_id, record.due

    def _transaction(self) -> None:
        if self._conflict():
            raise LedgerUnavailable("the ledger said TransactionConflict")
