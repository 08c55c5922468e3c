"""The story of one order: open, look up, post, announce, so that it gets exactly one batch.

AEP does not promise that `externalId` is unique, so a POST whose answer is unknown is never
repeated before Catalog was asked, and asked again after it had the time to settle.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from aep_intake.create import lineage
from aep_intake.create.ports import OrderPorts
from aep_intake.model.batches import ENDED_WITHOUT_DATA, Batch
from aep_intake.model.errors import (
    AlreadyClaimed,
    BatchRefused,
    KeyReused,
    LeaseLost,
    NeedsAttention,
    NotEnded,
    NotYet,
    OutcomeUnknown,
    Rejected,
    TryAgain,
)
from aep_intake.model.orders import WINDOW_PREFIX, Lease, NextStep, Order, Record, Rejection, State

HANDED_OVER = 3_600_000  # milliseconds by which a delivery begins, should its event be lost


class OutcomeKind(StrEnum):
    """What became of an order, just now."""

    CREATED = "created"
    ADOPTED = "adopted"  # its batch was found in Catalog, made by an attempt nobody knew of
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An order that has its batch, announced."""

    kind: OutcomeKind
    record: Record


def create_batch(order: Order, ports: OrderPorts) -> Outcome:
    """Give `order` its one batch, and announce it.

    Raises Rejected (announced, nothing will come of it as things stand) or TryAgain (the ledger
    knows when; whoever comes next goes on where this left off).
    """
    return _carry_out(_open(order, ports), ports)


def resume(external_id: str, ports: OrderPorts) -> Outcome | None:
    """Go on with an order that is due; None if someone was faster. Raises as `create_batch`."""
    record = ports.ledger.get(external_id)
    if record is None or record.due is None or ports.now() < record.due:
        return None
    return _carry_out(_take_over(record, record.order, ports.lease(), ports), ports)


def start_next_attempt(external_id: str, ports: OrderPorts, *, done: bool = False) -> Outcome:
    """One more attempt of an order whose batch ended without data.

    Raises NotEnded where it did not (unless that is fine if its data is there: `done`), or as
    `create_batch`.
    """
    record = _standing(external_id, ports)
    while record.next_attempt is not None:
        record = _standing(record.next_attempt, ports)
    if record.batch_id is None or record.due is not None:
        return _carry_out(_take_over(record, record.order, ports.lease(), ports), ports)
    if record.replaced_by is not None:
        raise NotEnded(
            f"{record.replaced_by}, a newer version, took its place", external_id=external_id
        )
    batch = ports.platform.batch(record.order.target, record.batch_id)
    if done and batch is not None and batch.holds_data:
        return Outcome(OutcomeKind.DUPLICATE, record)
    if batch is None or not batch.holds_none:
        status = "not to be seen in Catalog" if batch is None else batch.status
        raise NotEnded(
            f"batch {record.batch_id} is {status}: another attempt could double its data",
            external_id=external_id,
        )
    ended, following = record.followed(ports.lease(), ports.now())
    return _carry_out(ports.ledger.open_next_attempt(ended, following), ports)


def _carry_out(record: Record, ports: OrderPorts) -> Outcome:
    if record.state is State.ANNOUNCED:
        return Outcome(OutcomeKind.DUPLICATE, record)
    kind = OutcomeKind.CREATED
    if record.state is State.OPEN:
        record = _make_room(record, ports)
    if record.state is State.OPEN and _may_have_one(record, ports):
        record = _search(record, ports)
        kind = OutcomeKind.ADOPTED
    if record.state is State.OPEN:
        record = _post(record, ports)
        kind = OutcomeKind.CREATED
    return Outcome(kind, _announce(record, ports))


def _search(record: Record, ports: OrderPorts) -> Record:
    """Look up what attempts left behind, one attempt after the other."""
    while record.state is State.OPEN and _may_have_one(record, ports):
        seen = _find_lost_batch(record, ports)
        if seen is record:
            break
        record = seen
    return record


def _may_have_one(record: Record, ports: OrderPorts) -> bool:
    """Whether it may have a batch of which the ledger does not know."""
    return record.unknown_since is not None or _looks_first(record, ports)


def _looks_first(record: Record, ports: OrderPorts) -> bool:
    """Whether a restore may have taken from the ledger what it knew of the order."""
    return record.opened_at < ports.identity().look_first_until


def _open(order: Order, ports: OrderPorts) -> Record:
    lease = ports.lease()
    try:
        record = ports.ledger.open(Record.opened(order, lease, ports.now()))
        return record if record.lease == lease.token else _follow(record, order, lease, ports)
    except AlreadyClaimed as other:
        owner = next(iter(other.claimed.values()))
        if order.trigger != "arrival" or owner.startswith(WINDOW_PREFIX):
            raise
        record = _standing(owner, ports)
        return _follow(record, record.order, lease, ports)


def _follow(record: Record, order: Order, lease: Lease, ports: OrderPorts) -> Record:
    if record.order.fingerprint != order.fingerprint and not record.never_created:
        raise KeyReused(
            "this Idempotency-Key or external id came before, with another request",
            external_id=order.external_id,
        )
    while record.next_attempt is not None:
        record = _standing(record.next_attempt, ports)
    return _take_over(record, order, lease, ports)


def _take_over(record: Record, order: Order, lease: Lease, ports: OrderPorts) -> Record:
    """The record as this worker may carry it out; `order` is what is asked for now."""
    now = ports.now()
    if order.external_id != record.order.external_id:
        order = record.order
    # The files stay the ones it claimed, whatever their names stand for by now.
    kept = replace(order, files=record.order.files)
    match record.next_step(now):
        case NextStep.WAIT:
            raise NotYet(
                "someone works on this order, or its next try is not due",
                retry_after=((record.due or now) - now) / 1000,
                external_id=record.order.external_id,
            )
        case NextStep.RECLAIM:
            return ports.ledger.reclaim(record, record.reopened(order, lease))
        case NextStep.REOPEN:
            return ports.ledger.replace(record, record.reopened(kept, lease))
        case NextStep.RESUME:
            return ports.ledger.replace(record, record.leased(lease))
        case NextStep.DONE:
            return record


def _make_room(record: Record, ports: OrderPorts) -> Record:
    """What becomes of the version before."""
    try:
        return _leave_in_order(record, ports, lambda: lineage.make_room(record, ports))
    except Rejected as attention:
        return _reject(record, State.HELD, attention, ports)


def _find_lost_batch(record: Record, ports: OrderPorts) -> Record:
    """What an attempt left behind whose answer nobody knows, or that the ledger has forgotten."""
    order, since = record.order, record.unknown_since or 0
    restored = _looks_first(record, ports)
    asked = ports.now()  # an answer is as old as its question, however long it took
    made_since = None if restored else record.opened_at
    batches = _leave_in_order(record, ports, lambda: ports.platform.find(order, made_since))
    loading = [batch for batch in batches if batch.status == "loading"]
    odd = [b for b in batches if b.status != "loading" and b.status not in ENDED_WITHOUT_DATA]
    if restored:
        since = max(since, ports.identity().restored_at)
        if not odd and not loading:
            odd = _given_up(record, batches, ports)
        loading = sorted([*loading, *odd], key=_likelihood)
        odd = [batch for batch in odd if not batch.completed]
    if odd:
        return _reject(
            record,
            State.HELD,
            NeedsAttention(
                f"AEP already has batch {odd[0].id} of this order in status {odd[0].status}, and "
                "the ledger does not know who filled it: see what it holds, then redrive"
            ),
            ports,
        )
    if loading:
        adopted = _adopt(record, loading[0], ports)
        for batch in loading:
            if batch.id != adopted.batch_id and batch.status == "loading":
                ports.platform.abort(order, batch.id)
        return adopted
    settled_at = since + ports.settle_ms
    if asked < settled_at:
        ports.ledger.replace(record, record.given_back(settled_at))
        raise NotYet(
            "Catalog may not show yet what an earlier attempt made",
            retry_after=(settled_at - asked) / 1000,
            external_id=order.external_id,
        )
    if batches:
        ended, following = record.followed(ports.lease(), ports.now())
        return ports.ledger.open_next_attempt(ended, following)
    return record


def _likelihood(batch: Batch) -> int:
    """Of the batches that a restored ledger finds, the order's is the one that came furthest."""
    if batch.holds_data:
        return 0
    if batch.status == "loading":
        return 2
    return 3 if batch.holds_none or batch.status == "inactive" else 1


def _given_up(record: Record, batches: list[Batch], ports: OrderPorts) -> list[Batch]:
    """Those that were aborted, perhaps since a newer version came, and with no other attempt."""
    line, following = record.order.line, record.order.next_attempt()
    if line is None or line.first_only or not batches:
        return []
    more = _leave_in_order(record, ports, lambda: ports.platform.find(following, None))
    return [] if more else batches


def _post(record: Record, ports: OrderPorts) -> Record:
    order = record.order
    _leave_in_order(record, ports, lambda: ports.pace(order.target.credential))
    if record.due is None or ports.now() + ports.post_ms > record.due:
        ports.ledger.replace(record, record.given_back(ports.now()))
        raise NotYet("too little time is left for a POST", external_id=order.external_id)
    try:
        batch = _leave_in_order(record, ports, lambda: ports.platform.create(order))
    except Rejected as refusal:
        return _refused(record, refusal, ports)
    return _adopt(record, batch, ports)


def _refused(record: Record, refusal: Rejected, ports: OrderPorts) -> Record:
    """AEP said no; but the no may be to our own earlier attempt."""
    conflict = isinstance(refusal, BatchRefused) and refusal.status == 409
    if record.unknown_since is None:
        if not conflict:
            return _reject(record, State.REFUSED, refusal, ports)
        now = ports.now()
        ports.ledger.replace(record, record.given_back(now + ports.settle_ms, unknown_since=now))
        raise OutcomeUnknown(
            f"AEP says the external id is in use: {refusal.detail}",
            retry_after=ports.settle_ms / 1000,
            external_id=record.order.external_id,
        )
    seen = _search(record, ports)
    if seen is not record:
        return _post(seen, ports) if seen.state is State.OPEN else seen
    if not conflict:
        return _reject(record, State.REFUSED, refusal, ports)
    return _reject(
        record,
        State.HELD,
        NeedsAttention(
            "AEP says the external id is in use, and Catalog shows no batch of ours that has it: "
            f"{refusal.detail}"
        ),
        ports,
    )


def _adopt(record: Record, batch: Batch, ports: OrderPorts) -> Record:
    """`batch` becomes the order's, unless another worker was faster."""
    try:
        return ports.ledger.replace(record, record.created(batch))
    except LeaseLost:
        standing = _standing(record.order.external_id, ports)
        if standing.batch_id == batch.id:
            return standing
        # Only where the ledger names another is it sure that nobody is about to adopt ours.
        if standing.batch_id is not None or standing.next_attempt is not None:
            ports.platform.abort(record.order, batch.id)
        raise


def _announce(record: Record, ports: OrderPorts) -> Record:
    order, rejection = record.order, record.rejection
    if record.due is not None:
        whole = replace(record, order=replace(order, files=ports.ledger.files(order)))
        if record.state is State.CREATED:
            _leave_in_order(record, ports, lambda: ports.announcer.created(whole))
        elif rejection is not None:
            told = rejection
            _leave_in_order(record, ports, lambda: ports.announcer.rejected(whole.order, told))
            if order.excerpt is not None:
                _leave_in_order(record, ports, lambda: ports.park(order, told))
        # Surely without a batch, it holds its files no longer: another order may have them.
        void = record.state is State.REFUSED and record.unknown_since is None
        delivers = ports.delivers and record.state is State.CREATED and bool(whole.order.files)
        try:
            if void:
                record = ports.ledger.release(record, record.announced())
            elif delivers:  # whatever becomes of the event, the clock finds it
                due = ports.now() + HANDED_OVER
                record = ports.ledger.hand_over(record, record.announced(delivers=True), due)
            else:
                record = ports.ledger.replace(record, record.announced())
        except LeaseLost:
            record = _standing(order.external_id, ports)
            if record.due is not None:
                raise
    if rejection is not None:
        raise rejection.error(order.external_id)
    return record


def _reject(record: Record, state: State, error: Rejected, ports: OrderPorts) -> Record:
    return ports.ledger.replace(record, record.rejected(state, Rejection.of(error, ports.now())))


def _leave_in_order[T](record: Record, ports: OrderPorts, step: Callable[[], T]) -> T:
    """`step`; when it cannot be done now, the ledger says from when it can."""
    try:
        return step()
    except TryAgain as error:
        now = ports.now()
        unknown = isinstance(error, OutcomeUnknown)
        wait = ports.settle_ms if unknown else _delay(record, error, now)
        ports.ledger.replace(record, record.given_back(now + wait, now if unknown else None))
        error.external_id, error.retry_after = record.order.external_id, wait / 1000
        raise


def _delay(record: Record, error: TryAgain, now: int) -> int:
    """Half the order's age, at least 10 seconds and at most 15 minutes; longer if AEP says so."""
    patience = min(max((now - record.opened_at) // 2, 10_000), 900_000)
    return max(patience, int((error.retry_after or 0) * 1000))


def _standing(external_id: str, ports: OrderPorts) -> Record:
    record = ports.ledger.get(external_id)
    if record is None:
        raise LeaseLost("the ledger no longer holds this order", external_id=external_id)
    return record
