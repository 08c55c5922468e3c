"""New versions of an object or folder: which order is the newest, and which batch it replaces.

Where a route says `replace` or `ignore`, the ledger keeps one head for each object (or folder of a
marker) and dataset: the newest order, by S3's sequencer; what a backfill brings is older than all
that came by events. The transaction that opens an order moves the head, so the orders of a lineage
follow each other, each after its predecessor is finished:

    the predecessor's batch is
        loading              abort it, but write that to the ledger first; then as below
        success, active …    name it in `replay`: Adobe deletes its data once ours is loaded
        ended without data   replace the batch that it replaced
        anything else        wait
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from aep_intake.create.attempts import attempts
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import NeedsAttention, NotReplaceable, NotYet
from aep_intake.model.files import Arrival, digest
from aep_intake.model.ledgers import Heads
from aep_intake.model.orders import Lineage, Order, Replaced
from aep_intake.model.progress import Record, State

if TYPE_CHECKING:
    from aep_intake.create.ports import OrderPorts


def lineage_of(
    arrival: Arrival, folder: str | None, target: Target, *, first_only: bool
) -> Lineage:
    """The lineage of an object, or of a marker's folder, in a dataset. Raises NotReplaceable."""
    if not arrival.position and arrival.brought_by is None:
        raise NotReplaceable(
            f"the event of {arrival.uri} has no sequencer, so the intake cannot know whether "
            "this is the newest version: send S3's own events, or let the route say `append`"
        )
    name = ("object", arrival.key) if folder is None else ("folder", folder)
    dataset = (target.ims_org, target.sandbox, target.dataset_id)
    subject = digest(arrival.bucket, *name, *dataset)
    return Lineage(subject, arrival.position, first_only=first_only, time=arrival.time)


def placed(order: Order, heads: Heads) -> Order | None:
    """`order` behind the newest of its lineage; None if it comes too late.

    An order that was opened before stays as it is: its record decides.
    """
    lineage = order.lineage
    head = None if lineage is None else heads.head(lineage.subject)
    if lineage is None or (head is not None and head.external_id == order.external_id):
        return order
    if not lineage.position:  # only its time says whether it is newer; it is behind the newest then
        newer = head is None or head.time < lineage.time
        behind = "" if head is None else head.position
        lineage = replace(lineage, position=f"{behind}-{lineage.time:015}" if newer else "")
        order = replace(order, lineage=lineage)
    if head is None:
        return order
    current = heads.get(order.external_id)
    if current is not None and not current.never_created:
        return order
    if head.position >= lineage.position:
        return None
    if lineage.first_only:
        first = heads.get(head.external_id)
        if first is None or not first.never_created:
            return None
    return replace(order, lineage=replace(lineage, predecessor=head.external_id))


def make_room(record: Record, ports: "OrderPorts") -> Record:
    """Put an order in its predecessor's place, and record which batch it replaces.

    Raises NotYet, NeedsAttention, or as the ports.
    """
    order, lineage = record.order, record.order.lineage
    if lineage is None or lineage.predecessor is None:
        return record
    known = list(attempts(lineage.predecessor, ports.ledger))
    last = [attempt for attempt in known if attempt.next_attempt is None and not attempt.split_into]
    if not last or any(before.due is not None for before in last):
        raise NotYet(f"{lineage.predecessor}, the version before it, is not finished")
    for before in last:
        if before.state is State.HELD and before.discarded is None:
            raise NeedsAttention(
                f"{before.order.external_id}, the version before it, needs a person: redrive that "
                "first, then this"
            )
    for attempt in known:
        if attempt.replaced_by is None:  # before its batch is aborted: the ledger comes first
            ports.ledger.replace(attempt, attempt.replaced(order.external_id))
    found = [one for before in last if (one := _replaced(before, ports)) is not None]
    several = replace(found[0], others=tuple(found[1:])) if found else None
    return ports.ledger.replace(record, record.replacing(several))


def _replaced(before: Record, ports: "OrderPorts") -> Replaced | None:
    """The batch with the lineage's present data, up to the order `before`."""
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
    if batch.status == "inactive":  # a person reverted it
        return None
    raise NotYet(f"batch {batch_id} of the version before it is {batch.status}")


def _batch_in_catalog(before: Record, batch_id: str, ports: "OrderPorts") -> Batch | None:
    """The batch as Catalog shows it; None once it is gone. Raises NotYet while it is too new."""
    asked_at = ports.now()  # an answer is as old as its question, however long it took
    batch = ports.platform.batch(before.order.target, batch_id)
    if batch is None and asked_at < (before.created_at or 0) + ports.settle_ms:
        raise NotYet(f"Catalog does not show batch {batch_id} of the version before it yet")
    return batch
