"""How a batch ended: announced once, and what is not in it is let go."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import batched
from typing import Any

from aep_intake.delivery.delivery import (
    HOUR,
    Delivery,
    DeliveryPorts,
    DeliveryStage,
    End,
    Mark,
    Verdict,
)
from aep_intake.delivery.pieces import Piece
from aep_intake.model.batches import ENDED_WITHOUT_DATA, Batch
from aep_intake.model.errors import (
    LeaseLost,
    NotYet,
    TryAgain,
    UploadRefused,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order, Rejection

FORGOTTEN = 7 * 24 * HOUR  # after which a batch that Catalog does not show is none
CLOCKS = 300_000  # milliseconds between Adobe's clock and ours, at most
AT_ONCE = 20  # lost files that are let go until that is kept


def poll_later(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Adobe advises two minutes; after that in growing intervals, half an hour at most."""
    looks = delivery.looks if delivery.stage is DeliveryStage.INGESTING else 0
    wait = min(ports.first_poll_ms * 3**looks // 2**looks, 1_800_000)
    due = ports.now() + wait
    changed = delivery.then(looks=min(looks + 1, 20), due=due, stage=DeliveryStage.INGESTING)
    return ports.deliveries.replace(delivery, changed)


def judge(delivery: Delivery, batch: Batch, ports: DeliveryPorts) -> Delivery:
    status, end = batch.status, End.ABANDONED
    if batch.holds_data:
        end = End.SUCCEEDED
    elif status in ("failed", "failure"):
        end = End.FAILED
    elif not batch.holds_none and status != "inactive":
        return poll_later(delivery, ports)
    metrics, errors = batch.raw.get("metrics"), batch.raw.get("errors")
    verdict = Verdict(
        end,
        status,
        f"batch {delivery.batch_id} is {status}",
        ports.now(),
        _numbers(metrics) if isinstance(metrics, dict) else {},
        _words(errors) if isinstance(errors, list) else (),
    )
    return _end(delivery, verdict, ports)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if type(value) in (int, float)}


def _words(errors: list[Any]) -> tuple[dict[str, str], ...]:
    """The first of them, without the rows they list: an item of the ledger has 400 KB."""
    return tuple(
        {name: str(error[name])[:500] for name in ("code", "description") if name in error}
        for error in errors[:20]
        if isinstance(error, dict)
    )


def give_up(delivery: Delivery, why: str, ports: DeliveryPorts) -> Delivery:
    verdict = Verdict(End.ABANDONED, "aborted", why, ports.now())
    delivery = ports.deliveries.replace(
        delivery, delivery.then(stage=DeliveryStage.ABORTING, verdict=verdict)
    )
    return abort(delivery, ports)


def abort(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    ports.ingestion.abort(delivery)
    batch = ports.ingestion.look(delivery)
    if batch is None or batch.status == "loading":
        raise NotYet("Catalog does not say yet that the batch is aborted")
    if batch.status in ENDED_WITHOUT_DATA and delivery.verdict is not None:
        return _end(delivery, delivery.verdict, ports)
    return judge(delivery, batch, ports)  # somebody else was faster


def _end(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> Delivery:
    # Kept, for an upload that is still on its way may end otherwise, and all announcements alike.
    verdict = replace(verdict, lost=_lost_pieces(delivery, verdict, ports))
    delivery = ports.deliveries.replace(
        delivery,
        delivery.then(stage=DeliveryStage.ENDED, verdict=verdict, due=ports.now() + ports.step_ms),
    )
    return announce(delivery, ports)


def announce(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    verdict = delivery.verdict
    if verdict is None:
        raise LeaseLost("the ledger no longer holds the verdict", external_id=delivery.external_id)
    bad_rows = verdict.metrics.get("failedRecordCount")
    bad = verdict.end is End.FAILED or (verdict.end is End.SUCCEEDED and bad_rows)
    if bad and verdict.diagnostics is None:  # once: what is announced stays the same
        verdict = replace(verdict, diagnostics=_diagnostics(delivery, verdict, ports))
        delivery = ports.deliveries.replace(delivery, delivery.then(verdict=verdict))
    record = ports.orders.get(delivery.external_id)
    if record is not None and record.due is not None:  # until then, another attempt is none
        raise NotYet("its creation is not finished", external_id=delivery.external_id)
    lost = _lost_files(delivery, verdict.lost, ports)
    ports.announcer.ended(delivery, {one.file.uri: one.why for one in lost if one.why})
    if record is not None:
        # A newer version took its place, and was meant to.
        replaced = record.replaced_by is not None
        if verdict.end is not End.SUCCEEDED and not replaced:
            ports.park(record.order, Rejection(f"batch-{verdict.end}", verdict.detail, verdict.at))
        apart = verdict.end is End.SUCCEEDED and not replaced
        delivery = _release_lost_files(delivery, lost, record.order if apart else None, ports)
    return ports.deliveries.replace(delivery, delivery.then(due=None))


def _release_lost_files(
    delivery: Delivery, lost: tuple["_Lost", ...], order: Order | None, ports: DeliveryPorts
) -> Delivery:
    """Say of each file that was lost why, and go on from where a worker before has come.

    `order`: where the batch holds its other files. Then the claims of those that are lost are let
    go, and only then they are parked: else a redrive would find them claimed, and drop them.
    """
    for some in batched(lost[delivery.settled :], AT_ONCE, strict=False):
        free = {one.file: one.why for one in some if order and one.why and one.apart(order)}
        if order is not None and free:
            ports.orders.let_go(order, free)
        for one in some:
            if one.why is not None:
                ports.announcer.arrival_rejected(delivery.external_id, (one.file,), one.why)
            if why := free.get(one.file):
                ports.park_file(one.file, why)
        settled, due = delivery.settled + len(some), ports.now() + ports.step_ms
        delivery = ports.deliveries.replace(delivery, delivery.then(settled=settled, due=due))
    return delivery


def _diagnostics(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> int:
    """How many were kept; the outcome is not held back for long by what only explains it."""
    try:
        return ports.ingestion.diagnostics(delivery)
    except TryAgain:
        if ports.now() < verdict.at + HOUR:
            raise
        return 0


def _lost_pieces(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> tuple[int, ...]:
    marks = ports.deliveries.marks(delivery.external_id)
    unmarked = len(marks) < delivery.total or not delivery.total  # 0: not planned yet
    if verdict.end is End.SUCCEEDED and unmarked and not half_known(delivery, ports):
        refused = "the batch was completed, but not by us, before the file was uploaded"
        why = Rejection.of(UploadRefused(refused), ports.now())
        for piece in (task.piece for task in delivery.tasks(files_of(delivery, ports))):
            if piece.number not in marks:
                mark = lost_unless_held(delivery, piece, why, ports)
                ports.deliveries.mark(delivery.external_id, piece.number, mark)
        marks = ports.deliveries.marks(delivery.external_id)
    return tuple(sorted(number for number, mark in marks.items() if mark.lost))


def lost_unless_held(
    delivery: Delivery, piece: Piece, why: Rejection, ports: DeliveryPorts
) -> Mark:
    """The mark of a piece of which no worker has said that it was uploaded. Raises TryAgain.

    The batch may have it since an earlier try all the same, whose answer nobody got.
    """
    held = ports.ingestion.held(delivery, piece.path())
    whole = held == piece.size and not piece.gzipped
    return Mark(held, None if whole else why)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A file of which not all is in its batch. `none`: nothing of it is. `why` is None where it was
    uploaded after all, by a worker that took very long.
    """

    file: Arrival
    why: Rejection | None
    none: bool

    def apart(self, order: Order) -> bool:
        """Whether it can have a batch of its own: not if half of it were double then, nor if it has
        one, which somebody else completed without it.
        """
        return self.none and order.root != self.file.external_id


def _lost_files(
    delivery: Delivery, lost: tuple[int, ...], ports: DeliveryPorts
) -> tuple[_Lost, ...]:
    """Always the same ones, in the same order."""
    if not lost:
        return ()
    missing, marks = frozenset(lost), ports.deliveries.marks(delivery.external_id)
    found: dict[Arrival, list[int]] = {}
    for piece in (task.piece for task in delivery.tasks(files_of(delivery, ports))):
        found.setdefault(piece.file, []).append(piece.number)
    return tuple(
        _Lost(
            file,
            next((why for number in gone if (why := marks[number].lost)), None),
            gone == numbers and not any(marks[number].size for number in gone),
        )
        for file, numbers in found.items()
        if (gone := [number for number in numbers if number in missing])
    )


def files_of(delivery: Delivery, ports: DeliveryPorts) -> tuple[Arrival, ...]:
    record = ports.orders.get(delivery.external_id)
    if record is None:
        raise LeaseLost("the ledger no longer holds the order", external_id=delivery.external_id)
    return ports.orders.files(record.order)


def half_known(delivery: Delivery, ports: DeliveryPorts) -> bool:
    """Whether it may be filled by a worker of which a restored ledger knows nothing."""
    return delivery.created_at <= ports.restored_at() + CLOCKS
