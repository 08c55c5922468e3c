"""The end of a batch: it is announced, and files that are not in it are released."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import batched, islice
from typing import Any

from aep_intake.delivery import contents
from aep_intake.delivery.delivery import BadRow, Delivery, DeliveryStage, End, Mark, Verdict
from aep_intake.delivery.pieces import Piece, Run
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model.batches import ENDED_WITHOUT_DATA, Batch
from aep_intake.model.errors import (
    LeaseLost,
    NotYet,
    TryAgain,
    UploadRefused,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.progress import Record, Rejection
from aep_intake.model.times import DAY_MS, HOUR_MS
from aep_intake.model.values import dataclass

CATALOG_FORGETS_MS = 7 * DAY_MS  # after which a batch that Catalog does not show no longer exists
ADOBE_SKEW_MS = 300_000  # the most by which Adobe's clock and ours differ
BAD_ROWS = 20  # that are told of a batch
RELEASED_PER_WRITE = 20  # lost files, between two writes of the delivery
LEFT_OUT_MAX = 1000  # files of an excerpt that an attempt does without: it lists them


def poll_later(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Poll with backoff: the time from COMPLETE doubles, until it is once in half an hour."""
    polling = delivery.stage in (DeliveryStage.FOLLOWING, DeliveryStage.INGESTING)
    stage = delivery.stage if polling else DeliveryStage.INGESTING
    polls = delivery.polls if polling else 0
    wait = min(ports.first_poll_ms * 2**polls, 1_800_000)
    due = ports.now() + wait
    changed = delivery.then(polls=min(polls + 1, 20), due=due, stage=stage)
    delivery = ports.deliveries.replace(delivery, changed)
    ports.remind(delivery.external_id, wait)
    return delivery


def judge(delivery: Delivery, batch: Batch, ports: DeliveryPorts) -> Delivery:
    """End the delivery if its batch has ended, or poll later."""
    status, end = batch.status, End.ABANDONED
    if batch.holds_data:
        end = End.SUCCEEDED
    elif status in ("failed", "failure"):
        end = End.FAILED
    elif not batch.holds_none and status != "inactive":
        return poll_later(delivery, ports)
    metrics, errors = batch.raw.get("metrics"), batch.errors
    detail = f"batch {delivery.batch_id} is {status}"
    codes = ", ".join(dict.fromkeys(str(error["code"]) for error in errors if "code" in error))
    if codes and end is not End.SUCCEEDED:
        detail += f" ({codes[:500]})"
    numbers = _numbers(metrics) if isinstance(metrics, dict) else {}
    verdict = Verdict(end, status, detail, ports.now(), numbers, errors)
    return end_delivery(delivery, verdict, ports)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if type(value) in (int, float)}


def give_up(
    delivery: Delivery,
    why: str,
    ports: DeliveryPorts,
    *,
    anew: bool = False,
    reason: str | None = None,
) -> Delivery:
    """Abort the batch, before COMPLETE. `anew`: another attempt follows without its lost files.

    `reason`: under which it is parked otherwise.
    """
    verdict = Verdict(End.ABANDONED, "aborted", why, ports.now(), anew=anew, reason=reason)
    delivery = ports.deliveries.replace(
        delivery, delivery.then(stage=DeliveryStage.ABORTING, verdict=verdict)
    )
    return abort(delivery, ports)


def abort(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Send ABORT, and end the delivery once Catalog shows it."""
    ports.ingestion.abort(delivery)
    batch = ports.ingestion.fetch_batch(delivery)
    if batch is None or batch.status == "loading":
        raise NotYet("Catalog does not show yet that the batch is aborted")
    if batch.status in ENDED_WITHOUT_DATA and delivery.verdict is not None:
        return end_delivery(delivery, delivery.verdict, ports)
    return judge(delivery, batch, ports)  # somebody completed or aborted it before


def end_delivery(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> Delivery:
    """Store the verdict, once, and announce it."""
    # Stored, since an upload in flight may still change marks, and all announcements must agree.
    marks = _final_marks(delivery, verdict, ports)
    verdict = _or_replaced(delivery, verdict, ports)
    there = [mark for mark in marks.values() if not mark.lost]
    columns = dict.fromkeys(name for mark in there for name in mark.unmapped_columns)
    counted = len(marks) == delivery.total and all(mark.rows is not None for mark in there)
    verdict = replace(
        verdict,
        lost=tuple(sorted(number for number, mark in marks.items() if mark.lost)),
        short=tuple(sorted(number for number, mark in marks.items() if mark.left_out)),
        rows=sum(mark.rows or 0 for mark in there) if counted and there else None,
        broken=sum(mark.broken for mark in there),
        unmapped=sum(mark.unmapped for mark in there),
        unmapped_columns=tuple(islice(columns, contents.COLUMNS_NAMED)),
        unmapped_column_count=max(len(columns), *(m.unmapped_column_count for m in there), 0),
        bad_rows=_bad_rows(marks),
        oversized=sum(mark.oversized for mark in there) if delivery.profile else 0,
        oversized_rows=_oversized_rows(there) if delivery.profile else (),
    )
    delivery = ports.deliveries.replace(
        delivery,
        delivery.then(stage=DeliveryStage.ENDED, verdict=verdict, due=ports.now() + ports.step_ms),
    )
    if delivery.route and delivery.counts_rows and verdict.rows and verdict.end is End.SUCCEEDED:
        ports.count_rows(delivery.route, verdict.rows)
    return finish(delivery, ports)


def _or_replaced(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> Verdict:
    """The verdict on a batch without data; it may have been aborted for a newer version's sake."""
    record = ports.orders.get(delivery.external_id) if verdict.end is End.ABANDONED else None
    if record is None or record.replaced_by is None:
        return verdict
    detail = f"{verdict.detail}: a newer version of its file, {record.replaced_by}, has its place"
    return replace(verdict, replaced_by=record.replaced_by, detail=detail)


def _oversized_rows(marks: Iterable[Mark]) -> tuple[str, ...]:
    return tuple(islice((r for mark in marks for r in mark.oversized_rows), contents.ROWS_NAMED))


def _bad_rows(marks: Mapping[int, Mark]) -> tuple[BadRow, ...]:
    sent = (mark for _, mark in sorted(marks.items()) if not mark.lost)
    return tuple(bad for mark in sent for bad in mark.bad_rows)[:BAD_ROWS]


def finish(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Announce the end; then try its files again, or park them, and release the lost ones."""
    if delivery.verdict is None:
        raise LeaseLost("the ledger no longer holds the verdict", external_id=delivery.external_id)
    record = ports.orders.get(delivery.external_id)
    delivery, verdict = _explained(delivery, delivery.verdict, record, ports)
    if record is not None and record.due is not None:  # before that, no next attempt can start
        raise NotYet("its creation is not finished", external_id=delivery.external_id)
    succeeded = verdict.end is End.SUCCEEDED
    lost = _lost_files(delivery, verdict.lost, verdict.short, ports, succeeded=succeeded)
    files = () if record is None else ports.orders.files(record.order)
    ports.announcer.ended(delivery, files, {each.file.uri: each.why for each in lost if each.why})
    if record is not None and verdict.replaced_by is None:
        # If a newer version took its place since the verdict, its lost files are told, but nothing
        # follows it.
        replaced = record.replaced_by is not None
        let_go = {} if replaced else _follow_up(delivery, verdict, record, lost, ports)
        delivery = _release(delivery, lost, record.order, let_go, ports)
    return ports.deliveries.replace(delivery, delivery.then(due=None))


def _explained(
    delivery: Delivery, verdict: Verdict, record: Record | None, ports: DeliveryPorts
) -> tuple[Delivery, Verdict]:
    """With AEP's details of bad rows, stored once: what is announced stays the same."""
    bad_rows = verdict.end is End.SUCCEEDED and verdict.metrics.get("failedRecordCount")
    bad = verdict.end is End.FAILED or bad_rows
    if not bad or verdict.diagnostics is not None or not _may_be_explained(record):
        return delivery, verdict
    stored = _in_an_hour(verdict, ports, lambda: ports.ingestion.diagnostics(delivery), 0)
    verdict = replace(verdict, diagnostics=stored)
    return ports.deliveries.replace(delivery, delivery.then(verdict=verdict)), verdict


def _may_be_explained(record: Record | None) -> bool:
    """Whether AEP may have details of bad rows: whole rows, which a route may not want kept."""
    return record is None or record.order.options.get("enableErrorDiagnostics") is not False


def _follow_up(
    delivery: Delivery,
    verdict: Verdict,
    record: Record,
    lost: tuple["_Lost", ...],
    ports: DeliveryPorts,
) -> Mapping[Arrival, Rejection]:
    """Let another attempt, or halves, follow a batch without data, or park it.

    Returns the files that are let go, as no batch has them, nor will have.
    """
    order = record.order
    if verdict.end is End.SUCCEEDED:
        return {each.file: each.why for each in lost if each.why and each.may_be_let_go(order)}
    let_go: tuple[Arrival, ...] | None = None
    if record.next_attempt is not None or record.split_into is not None:
        let_go = _let_go_before(record, ports)
    elif verdict.anew:
        let_go = _tried_anew(record, lost, ports)
    elif verdict.end is End.FAILED and order.split_batches and not delivery.whole:
        let_go = _divided(delivery, verdict, record, ports)
    code = next((str(e["code"]) for e in verdict.errors if "code" in e), None)
    why = Rejection(f"batch-{verdict.end}", verdict.detail, verdict.at, error_code=code)
    # Without files, only the caller can fill another batch.
    if let_go is None and delivery.file_count:
        whole = replace(order, files=ports.orders.files(order))
        ports.park(whole, replace(why, reason=verdict.parked_as))
    reasons = {each.file: each.why for each in lost}
    return {file: reasons.get(file) or why for file in let_go or ()}


def _let_go_before(record: Record, ports: DeliveryPorts) -> tuple[Arrival, ...] | None:
    """The files of an attempt that its next attempt, or its halves, do not have.

    None if the next attempt has all of them. What follows was opened once, by a conditional write:
    whoever comes again reads it there.
    """
    there: set[Arrival] = set()
    for name in record.split_into or filter(None, [record.next_attempt]):
        following = ports.orders.get(name)
        if following is None:
            raise LeaseLost(f"the ledger no longer holds {name}")
        there.update(ports.orders.files(following.order))
    let_go = tuple(file for file in ports.orders.files(record.order) if file not in there)
    # Somebody else opened the next attempt, with all its files.
    return let_go if let_go or record.split_into is not None else None


def _tried_anew(
    record: Record, lost: tuple["_Lost", ...], ports: DeliveryPorts
) -> tuple[Arrival, ...] | None:
    """Open the next attempt without the lost files, which are let go. None if it is impossible."""
    files = ports.orders.files(record.order)
    let_go = frozenset(each.file for each in lost)
    order = record.order.without(let_go, files)
    if not 0 < len(let_go) < len(files) or len(order.left_out) > LEFT_OUT_MAX:
        return None
    ports.orders.open_next_attempt(*record.followed(None, ports.now(), order))
    return tuple(file for file in files if file in let_go)


def _divided(
    delivery: Delivery, verdict: Verdict, record: Record, ports: DeliveryPorts
) -> tuple[Arrival, ...] | None:
    """Let another attempt follow without the files that AEP's diagnostics name, or two halves.

    Returns the files that are let go. Those are all, if no more batches may be made, or only one
    file is left. None if it is to be parked as a whole: nothing of it was split before.
    """
    order, now = record.order, ports.now()
    files = ports.orders.files(order)
    told = frozenset[str]()
    if _may_be_explained(record):
        told = _in_an_hour(verdict, ports, lambda: ports.ingestion.named(delivery), told)
    named = frozenset(file for file in files if file.path_digest in told)
    without = order.without(named, files)
    possible = 0 < len(named) < len(files) and len(without.left_out) <= LEFT_OUT_MAX
    if possible and ports.orders.split(*record.followed(None, now, without)):
        return tuple(file for file in files if file in named)
    # Several batches cannot take the place of one that AEP serves.
    halves = order.halves() if order.replaces is None else None
    if halves is not None and ports.orders.split(*record.split(*halves, now=now)):
        return ()
    if len(files) > LEFT_OUT_MAX or not (order.split_of or order.left_out):
        return None
    ports.orders.split(*record.split(now=now))
    return files


def _release(
    delivery: Delivery,
    lost: tuple["_Lost", ...],
    order: Order,
    let_go: Mapping[Arrival, Rejection],
    ports: DeliveryPorts,
) -> Delivery:
    """Announce why each file was lost, from the first that no earlier worker has announced.

    The claims of those that are let go are released, and only after that they are parked:
    otherwise a redrive would find them claimed, and drop them.
    """
    reasons = {each.file: each.why for each in lost} | dict(let_go)
    left = list(reasons.items())[delivery.lost_told :]
    for group in batched(left, RELEASED_PER_WRITE, strict=False):
        released = {file: let_go[file] for file, _ in group if file in let_go}
        if released:
            ports.orders.let_go(order, released)
        for file, why in group:
            if why is not None:
                ports.announcer.rejected(replace(order, files=(file,)), why)
            if file in released:
                ports.park_file(file, order.route, released[file])
        told, due = delivery.lost_told + len(group), ports.now() + ports.step_ms
        delivery = ports.deliveries.replace(delivery, delivery.then(lost_told=told, due=due))
    return delivery


def _in_an_hour[T](verdict: Verdict, ports: DeliveryPorts, ask: Callable[[], T], nothing: T) -> T:
    """AEP's answer. After an hour of errors, the outcome does not wait for its details."""
    try:
        return ask()
    except TryAgain:
        if ports.now() < verdict.at + HOUR_MS:
            raise
        return nothing


def _final_marks(delivery: Delivery, verdict: Verdict, ports: DeliveryPorts) -> Mapping[int, Mark]:
    marks = ports.deliveries.marks(delivery.external_id)
    unmarked = len(marks) < delivery.total or not delivery.total  # 0: not planned yet
    if verdict.end is End.SUCCEEDED and unmarked and not may_be_forgotten(delivery, ports):
        refused = "the batch was completed, but not by us, before the file was uploaded"
        why = Rejection.of(UploadRefused(refused), ports.now())
        for piece in (task.what for task in delivery.tasks(files_of(delivery, ports))):
            if piece.number not in marks:
                mark = lost_unless_held(delivery, piece, why, ports)
                ports.deliveries.mark(delivery.external_id, piece.number, mark)
        marks = ports.deliveries.marks(delivery.external_id)
    return marks


def lost_unless_held(
    delivery: Delivery, piece: Piece | Run, why: Rejection, ports: DeliveryPorts
) -> Mark:
    """The mark of a piece that no worker reported as uploaded. Raises TryAgain.

    The batch may hold it from an earlier try whose answer was lost.
    """
    if isinstance(piece, Run):
        return contents.held_or_lost(delivery, piece, why, ports)
    held = ports.ingestion.uploaded_bytes(delivery, piece.path())
    whole = held == piece.size and not piece.file.gzipped
    return Mark(held, None if whole else why)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A file that is not completely in its batch."""

    file: Arrival
    why: Rejection | None  # None if a very slow worker uploaded it after all
    none: bool  # nothing of it is in the batch

    def may_be_let_go(self, order: Order) -> bool:
        """Whether it can have a batch of its own.

        Not if that would load a half of it twice, nor if this batch is its own, which somebody
        completed without it.
        """
        return self.none and order.root != self.file.external_id


def why_lost(
    delivery: Delivery, marks: Mapping[int, Mark], ports: DeliveryPorts
) -> Rejection | None:
    """Why the first of a batch's files is lost; None if the list that said it was deleted."""
    missing = [number for number, mark in sorted(marks.items()) if mark.lost]
    short = [number for number, mark in marks.items() if mark.left_out]
    lost = _lost_files(delivery, missing, short, ports, succeeded=False)
    told = (each.why for each in lost if each.why)
    # A run that AEP refuses is lost because of none of its files.
    return next(told, None) or next((marks[number].lost for number in missing), None)


def _lost_files(
    delivery: Delivery,
    lost: Collection[int],
    left_out: Collection[int],
    ports: DeliveryPorts,
    *,
    succeeded: bool,
) -> tuple[_Lost, ...]:
    """The files that are not in the batch because of themselves, always in the same order.

    Of a run that is lost, they are all its files if the batch `succeeded`; else those alone that
    were left out, or because of which it is lost. `lost`, `left_out`: numbers of pieces, and of
    runs that went up without some of their files.
    """
    if not lost and not left_out:
        return ()
    marks = ports.deliveries.marks(delivery.external_id)
    missing, affected = frozenset(lost), frozenset([*lost, *left_out])
    files = files_of(delivery, ports)
    found: list[_Lost] = []
    pieces: dict[Arrival, list[int]] = {}
    for piece in (task.what for task in delivery.tasks(files)):
        if isinstance(piece, Piece):
            pieces.setdefault(piece.file, []).append(piece.number)
        elif piece.number in affected:
            is_lost, mark = piece.number in missing, marks[piece.number]
            found += _lost_of_run(
                delivery, piece, files, mark, ports, is_lost=is_lost, succeeded=succeeded
            )
    for file, numbers in pieces.items():
        if gone := [marks[number] for number in numbers if number in missing]:
            why = next((mark.lost for mark in gone if mark.lost), None)
            all_gone = len(gone) == len(numbers) and not any(mark.size for mark in gone)
            found.append(_Lost(file, why, none=all_gone))
    return tuple(found)


def _lost_of_run(
    delivery: Delivery,
    run: Run,
    files: tuple[Arrival, ...],
    mark: Mark,
    ports: DeliveryPorts,
    *,
    is_lost: bool,
    succeeded: bool,
) -> Iterator[_Lost]:
    """Those of a run that is lost, or that went up without them. `files`: the delivery's."""
    entries = contents.read(delivery, run, ports)
    if entries is None and succeeded and not is_lost:
        doubt = contents.unknown(delivery, run, mark, ports)
        yield from (_Lost(file, doubt, none=False) for file in files[run.first : run.end])
        return
    reasons = {entry.file: entry.lost for entry in entries or ()}
    for place, file in enumerate(files[run.first : run.end], run.first):
        if why := reasons.get(file):
            yield _Lost(file, why, none=True)
        elif is_lost and (succeeded or place == mark.place):
            yield _Lost(file, mark.lost, none=not mark.size)


def files_of(delivery: Delivery, ports: DeliveryPorts) -> tuple[Arrival, ...]:
    record = ports.orders.get(delivery.external_id)
    if record is None:
        raise LeaseLost("the ledger no longer holds the order", external_id=delivery.external_id)
    return ports.orders.files(record.order)


def may_be_forgotten(delivery: Delivery, ports: DeliveryPorts) -> bool:
    """Whether a restored ledger may have forgotten uploads to its batch."""
    return delivery.created_at <= ports.restored_at() + ADOBE_SKEW_MS
