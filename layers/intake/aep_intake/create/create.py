"""The story of one order: open, look up, post, announce, so that it gets exactly one batch.

AEP does not promise that `externalId` is unique. So after a POST whose answer is unknown, a worker
looks in Catalog, and again after Catalog's settle time, before it sends another POST.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

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
from aep_intake.model.files import Arrival
from aep_intake.model.orders import WINDOW_PREFIX, Order
from aep_intake.model.pauses import pause_of
from aep_intake.model.progress import (
    Lease,
    NextStep,
    Outcome,
    OutcomeKind,
    PutOff,
    Record,
    Rejection,
    State,
)
from aep_intake.model.times import HOUR_MS, SKEW_MS

# When the clock starts a delivery whose event was lost.
DELIVERY_DUE_MS = HOUR_MS
# When an order whose file was to be taken in again goes on as it is: no route takes it now.
SENT_AGAIN_MS = HOUR_MS
# Of a lease, when a worker stops renewing claims: by then it is still alive.
RENEWAL_REST_MS = SKEW_MS + 10_000


def create_batch(order: Order, ports: OrderPorts) -> Outcome:
    """Give `order` its one batch, and announce it; while it is paused, only claim its files.

    Raises Rejected (terminal, and announced) or TryAgain (the ledger says when; the next worker
    continues where this one stopped).
    """
    return _carry_out(_open(order, ports), ports)


def resume(
    external_id: str, ports: OrderPorts, take_in: Callable[[Arrival], None]
) -> Outcome | None:
    """Continue an order that is due; None if another worker does. Raises as `create_batch`.

    After a pause the order of one file takes the present route: whoever paused it may have mended
    that. So its file is taken in again, by `take_in`, which may raise StorageUnavailable.
    """
    record = ports.ledger.get(external_id)
    if record is None or record.due is None or ports.now() < record.due:
        return None
    if record.can_be_rerouted and pause_of(record.order, ports.pauses()) is None:
        take_in(record.order.files[0])
        with suppress(LeaseLost):  # it was taken in just now
            ports.ledger.replace(record, record.sent_again(ports.now(), SENT_AGAIN_MS))
        return None
    return _carry_out(_take_over(record, record.order, ports.lease(), ports), ports)


def start_next_attempt(
    external_id: str,
    ports: OrderPorts,
    *,
    accept_loaded: bool = False,
    prepared: Callable[[Order], Order] | None = None,
) -> Outcome:
    """Start one more attempt of an order whose batch ended without data.

    `accept_loaded`: a batch that holds data is a DUPLICATE. `prepared`: called before a batch is
    made, gives the same order as it is wanted now; None: it stays as it was ordered. Raises
    NotEnded for any other batch that has not ended without data, or as `prepared` or
    `create_batch`.
    """
    record = _current(external_id, ports)
    while record.next_attempt is not None:
        record = _current(record.next_attempt, ports)
    if (why := _over(record)) is not None:
        if accept_loaded:
            return Outcome(OutcomeKind.DUPLICATE, record)
        raise NotEnded(why, external_id=external_id)
    if record.batch_id is None or record.due is not None:
        order, anew = record.order, (NextStep.REOPEN, NextStep.RECLAIM)
        if prepared is not None and record.next_step(ports.now()) in anew:
            order = prepared(order)
        return _carry_out(_take_over(record, order, ports.lease(), ports), ports)
    if record.replaced_by is not None:
        raise NotEnded(
            f"{record.replaced_by}, a newer version, took its place", external_id=external_id
        )
    if accept_loaded and record.delivers and record.order.external_id != external_id:
        return Outcome(OutcomeKind.DUPLICATE, record)  # if that fails, it is parked by itself
    batch = ports.platform.batch(record.order.target, record.batch_id)
    if accept_loaded and batch is not None and batch.holds_data:
        return Outcome(OutcomeKind.DUPLICATE, record)
    if batch is None or not batch.holds_none:
        status = "not in Catalog" if batch is None else batch.status
        raise NotEnded(
            f"batch {record.batch_id} is {status}: another attempt could double its data",
            external_id=external_id,
        )
    order = record.order if prepared is None else prepared(record.order)
    identity = ports.identity()
    if ports.now() < identity.look_first_until:
        if _was_split(record, ports):
            return Outcome(OutcomeKind.DUPLICATE, record)
        known = record.order.next_attempt()
        if _is_under_former_target(known, order, identity.restored_at, ports):
            order = record.order
    ended, following = record.followed(ports.lease(), ports.now(), order)
    return _carry_out(ports.ledger.open_next_attempt(ended, following), ports)


def _over(record: Record) -> str | None:
    """Why an order gets no other attempt, though its batch may have ended without data."""
    if record.discarded is not None:
        return f"it was discarded: {record.discarded}"
    if record.split_into is not None:
        followers = ", ".join(record.split_into) or "an order for each of its files"
        return f"it was split, into {followers}"
    return None


def _was_split(record: Record, ports: OrderPorts) -> bool:
    """Whether a restored ledger has forgotten that the order was split; then it is once more.

    The halves have the same ids as before, and find their batches.
    """
    order = replace(record.order, split_batches=max(2, record.order.split_batches))
    halves = order.halves()
    if halves is None or not any(ports.platform.find(half, None) for half in halves):
        return False
    ended, *begun = replace(record, order=order).split(*halves, now=ports.now())
    return ports.ledger.split(ended, *begun)


def _carry_out(record: Record, ports: OrderPorts) -> Outcome:
    if record.state is State.ANNOUNCED or record.discarded is not None:
        return Outcome(OutcomeKind.DUPLICATE, record)
    kind = OutcomeKind.CREATED
    if record.state is State.OPEN and record.unknown_since is None:
        record = _obey_pause(record, ports)
    if _goes_on(record):
        record = _make_room(record, ports)
    if _goes_on(record) and _may_have_batch(record, ports):
        record = _search(record, ports)
        kind = OutcomeKind.ADOPTED
    if _goes_on(record):
        record = _post(record, ports)
        kind = OutcomeKind.CREATED
    if record.paused is not None:
        return Outcome(OutcomeKind.PAUSED, record)
    return Outcome(kind, _announce(record, ports))


def _goes_on(record: Record) -> bool:
    return record.state is State.OPEN and record.paused is None


def _obey_pause(record: Record, ports: OrderPorts) -> Record:
    """The record; if its route, dataset or organization is paused, given back until that is over.

    A batch that AEP may have already is no matter of pauses: it is looked for before.
    """
    pause = pause_of(record.order, ports.pauses())
    if pause is None or record.paused is not None:
        return record
    return ports.ledger.replace(record, record.paused_by(pause.name, ports.now()))


def _search(record: Record, ports: OrderPorts) -> Record:
    """Look for an orphaned batch of each attempt, one after the other."""
    while record.state is State.OPEN and _may_have_batch(record, ports):
        found = _find_lost_batch(record, ports)
        if found is record:
            break
        record = found
    return record


def _may_have_batch(record: Record, ports: OrderPorts) -> bool:
    """Whether AEP may hold a batch of it that the ledger does not know."""
    return record.unknown_since is not None or _may_be_forgotten(record, ports)


def _may_be_forgotten(record: Record, ports: OrderPorts) -> bool:
    """Whether a restored ledger may have forgotten a batch of the order."""
    return record.opened_at < ports.identity().look_first_until


def _open(order: Order, ports: OrderPorts) -> Record:
    lease, now = ports.lease(), ports.now()
    pause = pause_of(order, ports.pauses())
    opened = Record.opened(order, lease, now)
    if pause is not None:
        opened = Record.waiting(order, now).paused_by(pause.name, now)
    try:
        record = ports.ledger.open(opened)
        return record if record == opened else _follow(record, order, lease, ports)
    except AlreadyClaimed as conflict:
        owner = next(iter(conflict.claimed.values()))
        if order.trigger != "arrival" or owner.startswith(WINDOW_PREFIX):
            raise
        record = _current(owner, ports)
        return _follow(record, record.order, lease, ports)


def _follow(record: Record, order: Order, lease: Lease, ports: OrderPorts) -> Record:
    if record.order.fingerprint != order.fingerprint and not record.never_created:
        raise KeyReused(
            "this Idempotency-Key or external id came before, with another request",
            external_id=order.external_id,
        )
    while record.next_attempt is not None:
        record = _current(record.next_attempt, ports)
    return _take_over(record, order, lease, ports)


def _take_over(record: Record, order: Order, lease: Lease, ports: OrderPorts) -> Record:
    """The record, leased to this worker if there is work; `order` is the order as wanted now."""
    now = ports.now()
    if record.paused is not None:
        pause = pause_of(record.order, ports.pauses())
        if pause is not None:
            ports.ledger.renew(record.order, lease.until - RENEWAL_REST_MS)
            return ports.ledger.replace(record, record.paused_by(pause.name, now))
        record = record.resumed(now)
    if order.external_id != record.order.external_id:
        order = record.order
    # It keeps the versions that it claimed, even if newer ones have their names now.
    kept = replace(order, files=record.order.files)
    match record.next_step(now):
        case NextStep.WAIT:
            raise NotYet(
                "another worker has this order, or its next try is not due",
                retry_after=((record.due or now) - now) / 1000,
                external_id=record.order.external_id,
            )
        case NextStep.RECLAIM:
            order = _as_possible(record, order, ports)
            return ports.ledger.reclaim(record, record.reopened(order, lease))
        case NextStep.REOPEN:
            kept = _as_possible(record, kept, ports)
            return ports.ledger.replace(record, record.reopened(kept, lease))
        case NextStep.RESUME:
            return ports.ledger.replace(record, record.leased(lease))
        case NextStep.DONE:
            return record


def _as_possible(record: Record, wanted: Order, ports: OrderPorts) -> Order:
    """`wanted`; or the order as it was, if an earlier try has left a batch behind."""
    if not _may_have_batch(record, ports):
        return wanted
    since = record.unknown_since or 0
    if _may_be_forgotten(record, ports):
        since = max(since, ports.identity().restored_at)
    return record.order if _is_under_former_target(record.order, wanted, since, ports) else wanted


def _is_under_former_target(known: Order, wanted: Order, since: int, ports: OrderPorts) -> bool:
    """Whether Catalog shows a batch of `known`, though `wanted` has another target by now.

    Under the target of `wanted`, nobody would find it. `since`: when it may have been made at the
    latest (epoch ms). Raises NotYet until Catalog has had the time to show it.
    """
    target = known.target
    if target.dataset == wanted.target.dataset:
        return False
    if target.ims_org == wanted.target.ims_org:  # whose old credential may be gone
        target = replace(target, credential=wanted.target.credential)
    asked_at = ports.now()
    if ports.platform.find(replace(known, target=target), None):
        return True
    settled_at = since + ports.settle_ms
    if asked_at < settled_at:
        raise NotYet(
            "Catalog may not show the batch of an earlier try yet",
            retry_after=(settled_at - asked_at) / 1000,
            external_id=known.external_id,
        )
    return False


def _make_room(record: Record, ports: OrderPorts) -> Record:
    """The order takes the place of its predecessor, if it has one."""
    try:
        with _postpone_on_failure(record, ports):
            return lineage.make_room(record, ports)
    except Rejected as attention:
        return _reject(record, State.HELD, attention, ports)


def _find_lost_batch(record: Record, ports: OrderPorts) -> Record:
    """Look in Catalog for a batch whose POST got no answer, or that the ledger has forgotten.

    The same record if there is none, and a POST is safe now.
    """
    order, since = record.order, record.unknown_since or 0
    restored = _may_be_forgotten(record, ports)
    asked_at = ports.now()  # an answer is as old as its question, however long it took
    with _postpone_on_failure(record, ports):
        batches = ports.platform.find(order, None if restored else record.opened_at)
    loading = [batch for batch in batches if batch.status == "loading"]
    odd = [b for b in batches if b.status != "loading" and b.status not in ENDED_WITHOUT_DATA]
    if restored:
        since = max(since, ports.identity().restored_at)
        if not odd and not loading:
            odd = _aborted_for_newer(record, batches, ports)
        loading = sorted([*loading, *odd], key=_likelihood)
        odd = [batch for batch in odd if not batch.completed]
    if odd:
        return _reject(
            record,
            State.HELD,
            NeedsAttention(
                f"AEP already has batch {odd[0].id} of this order in status {odd[0].status}, and "
                "the ledger does not know who filled it: check its content, then redrive"
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
    if asked_at < settled_at:
        unsettled = NotYet(
            "Catalog may not show the batch of an earlier attempt yet",
            retry_after=(settled_at - asked_at) / 1000,
            external_id=order.external_id,
        )
        why = PutOff.of(unsettled, ports.now())
        ports.ledger.replace(record, record.given_back(settled_at, why=why))
        raise unsettled
    if batches:
        ended, following = record.followed(ports.lease(), ports.now())
        return ports.ledger.open_next_attempt(ended, following)
    return record


def _likelihood(batch: Batch) -> int:
    """Sorts the batches that a restored ledger finds: the order's is the most advanced one."""
    if batch.holds_data:
        return 0
    if batch.status == "loading":
        return 2
    return 3 if batch.holds_none or batch.status == "inactive" else 1


def _aborted_for_newer(record: Record, batches: list[Batch], ports: OrderPorts) -> list[Batch]:
    """`batches`, if a newer version may be why they were aborted: no attempt followed them."""
    order = record.order
    if order.lineage is None or order.lineage.first_only or not batches:
        return []
    with _postpone_on_failure(record, ports):
        return [] if ports.platform.find(order.next_attempt(), None) else batches


def _post(record: Record, ports: OrderPorts) -> Record:
    order = record.order
    with _postpone_on_failure(record, ports):
        ports.pace(order.target.credential)
    record = _obey_pause(record, ports)
    if record.paused is not None:
        return record
    if record.due is None or ports.now() + ports.post_ms > record.due:
        ports.ledger.replace(record, record.given_back(ports.now()))
        raise NotYet("too little time is left for a POST", external_id=order.external_id)
    try:
        with _postpone_on_failure(record, ports):
            batch = ports.platform.create(order)
    except Rejected as refusal:
        return _refused(record, refusal, ports)
    return _adopt(record, batch, ports)


def _refused(record: Record, refusal: Rejected, ports: OrderPorts) -> Record:
    """AEP refused; but an earlier POST of our own may be why."""
    conflict = isinstance(refusal, BatchRefused) and refusal.status == 409
    if record.unknown_since is None:
        if not conflict:
            return _reject(record, State.REFUSED, refusal, ports)
        with _postpone_on_failure(record, ports):
            raise OutcomeUnknown(f"AEP says the external id is in use: {refusal.detail}")
    found = _search(record, ports)
    if found is not record:
        return _post(found, ports) if found.state is State.OPEN else found
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
        current = _current(record.order.external_id, ports)
        if current.batch_id == batch.id:
            return current
        # Once the ledger names another batch, no worker can adopt ours any more.
        if current.batch_id is not None or current.next_attempt is not None:
            ports.platform.abort(record.order, batch.id)
        raise


def _announce(record: Record, ports: OrderPorts) -> Record:
    """The finished record. Raises the stored rejection of an order that gets no batch."""
    parked = False
    if record.due is not None:
        parked = _publish(record, ports.ledger.files(record.order), ports)
        record = _finish(record, ports)
    if record.rejection is not None:
        error = record.rejection.error(record.order.external_id)
        error.parked, error.route = parked, record.order.route
        raise error
    return record


def _publish(record: Record, files: tuple[Arrival, ...], ports: OrderPorts) -> bool:
    """Send the event; park a rejected order that nobody has a message of, and say so.

    That is a part of a window, an attempt that followed by itself, or an arrival that was paused,
    whose message was done then.
    """
    rejection, order = record.rejection, replace(record.order, files=files)
    with _postpone_on_failure(record, ports):
        if record.state is State.CREATED:
            ports.announcer.created(replace(record, order=order))
        elif rejection is not None:
            ports.announcer.rejected(order, rejection)
            paused = record.resumed_at is not None and order.trigger == "arrival"
            if paused or order.excerpt is not None or order.left_out or order.split_of is not None:
                ports.park(order, rejection)
                return True
    return False


def _finish(record: Record, ports: OrderPorts) -> Record:
    try:
        if record.state is State.REFUSED and record.unknown_since is None:
            # No batch exists, so another order may have its files.
            return ports.ledger.release(record, record.announced())
        if record.state is State.CREATED and ports.delivers:
            due = ports.now() + DELIVERY_DUE_MS  # the clock finds it if the event is lost
            return ports.ledger.hand_over(record, record.announced(delivers=True), due)
        return ports.ledger.replace(record, record.announced())
    except LeaseLost:
        current = _current(record.order.external_id, ports)
        if current.due is not None:
            raise
        return current


def _reject(record: Record, state: State, error: Rejected, ports: OrderPorts) -> Record:
    return ports.ledger.replace(record, record.rejected(state, Rejection.of(error, ports.now())))


@contextmanager
def _postpone_on_failure(record: Record, ports: OrderPorts) -> Iterator[None]:
    """Where the step inside raises TryAgain, first write when the order is due again."""
    try:
        yield
    except TryAgain as error:
        now = ports.now()
        unknown = isinstance(error, OutcomeUnknown)
        wait = ports.settle_ms if unknown else _delay(record, error, now)
        since, why = now if unknown else None, PutOff.of(error, now)
        ports.ledger.replace(record, record.given_back(now + wait, since, why))
        error.external_id, error.retry_after = record.order.external_id, wait / 1000
        raise


def _delay(record: Record, error: TryAgain, now: int) -> int:
    """Half the order's age, at least 10 seconds and at most 15 minutes; longer if AEP says so."""
    backoff_ms = min(max((now - record.waits_since) // 2, 10_000), 900_000)
    return max(backoff_ms, int((error.retry_after or 0) * 1000))


def _current(external_id: str, ports: OrderPorts) -> Record:
    record = ports.ledger.get(external_id)
    if record is None:
        raise LeaseLost("the ledger no longer holds this order", external_id=external_id)
    return record
