"""What comes again: which order is the newest of an object or a folder, and what it replaces.

Where a route says `replace` or `ignore`, the ledger keeps one head for each object (or folder of a
marker) and dataset: the newest order, by S3's sequencer. It is moved in the transaction that opens
an order, so the orders of a line follow each other, each once the one before is finished:

    before it is  loading                    aborted, the ledger first; then as below
                  success, active …          named in `replay`: Adobe deletes its data for ours
                  ended without data         what that one replaced is what this one replaces
                  anything in between        later
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import NeedsAttention, NotReplaceable, NotYet
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import Lineage, LineageHead, Order, Record, Replaced, State

if TYPE_CHECKING:
    from aep_intake.create.ports import OrderPorts


class Heads(Protocol):
    """What remembers the newest orders. Every method raises LedgerUnavailable."""

    def head(self, subject: str) -> LineageHead | None:
        """The newest order of a line."""

    def get(self, external_id: str) -> Record | None:
        """An order's record as it is now."""


def lineage_of(
    arrival: Arrival, folder: str | None, target: Target, *, first_only: bool
) -> Lineage:
    """The line of an object, or of a marker's folder, in a dataset. Raises NotReplaceable."""
    if arrival.sequencer is None:
        raise NotReplaceable(
            f"the event of {arrival.uri} has no sequencer, so nobody can tell whether this is the "
            "newest version: send S3's own events, or let the route say `append`"
        )
    what = ("object", arrival.key) if folder is None else ("folder", folder)
    where = (target.ims_org, target.sandbox, target.dataset_id)
    subject = digest(arrival.bucket, *what, *where)
    return Lineage(subject, arrival.position, first_only=first_only)


def placed(order: Order, heads: Heads) -> Order | None:
    """`order` behind the one that is the newest of its line; None where it comes too late.

    An order that was opened before is left to its record.
    """
    line = order.line
    head = None if line is None else heads.head(line.subject)
    if line is None or head is None or head.external_id == order.external_id:
        return order
    standing = heads.get(order.external_id)
    if standing is not None and not standing.never_created:
        return order
    if head.position >= line.position:
        return None
    if line.first_only:
        first = heads.get(head.external_id)
        if first is None or not first.never_created:
            return None
    return replace(order, line=replace(line, predecessor=head.external_id))


def make_room(record: Record, ports: "OrderPorts") -> Record:
    """Make room for an order that follows another one, and remember what it replaces.

    Raises NotYet, NeedsAttention, and what the ports raise.
    """
    order, line = record.order, record.order.line
    if line is None or line.predecessor is None:
        return record
    attempts = list(_attempts(line.predecessor, ports))
    before = attempts[-1] if attempts else None
    if before is None or before.due is not None:
        raise NotYet(f"{line.predecessor}, the version before it, is not finished")
    if before.state is State.HELD:
        raise NeedsAttention(
            f"{before.order.external_id}, the version before it, waits for a person: redrive that "
            "first, then this"
        )
    for attempt in attempts:
        if attempt.replaced_by is None:  # before its batch is aborted: the ledger comes first
            ports.ledger.replace(attempt, attempt.replaced(order.external_id))
    return ports.ledger.replace(record, record.settled(_replaced(before, ports)))


def _replaced(before: Record, ports: "OrderPorts") -> Replaced | None:
    """The batch whose data stands there because of the line up to `before`."""
    order, batch_id = before.order, before.batch_id
    if batch_id is None:
        return order.replaces
    batch = _batch_in_catalog(before, batch_id, ports)
    if batch is not None and batch.status == "loading":
        ports.platform.abort(order, batch_id)
        batch = _batch_in_catalog(before, batch_id, ports)
    if batch is None or batch.holds_none:
        return order.replaces
    if batch.holds_data:
        return Replaced(order.external_id, batch_id)
    if batch.status == "inactive":  # somebody reverted it
        return None
    raise NotYet(f"batch {batch_id} of the version before it is {batch.status}")


def _batch_in_catalog(before: Record, batch_id: str, ports: "OrderPorts") -> Batch | None:
    """The batch as Catalog shows it; None once it is gone."""
    asked = ports.now()  # an answer is as old as its question, however long it took
    batch = ports.platform.batch(before.order.target, batch_id)
    if batch is None and asked < (before.created_at or 0) + ports.settle_ms:
        raise NotYet(f"batch {batch_id} of the version before it is not shown by Catalog yet")
    return batch


def _attempts(external_id: str, ports: "OrderPorts") -> Iterator[Record]:
    record = ports.ledger.get(external_id)
    while record is not None:
        yield record
        following = record.next_attempt
        record = None if following is None else ports.ledger.get(following)
