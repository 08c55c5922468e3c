"""The story of one delivery: a batch's files are uploaded, it is completed, and its end is known.

    (announced  recorded with its order, due in an hour; its event starts it before that)
    following   without files: the caller fills the batch; poll Catalog until it has ended
    planning    cut large files, once                              → uploading
    uploading   upload and mark every piece, side by side          → completing, or aborting
    completing  send COMPLETE; from here on, never abort           → ingesting
    ingesting   poll Catalog until the batch has ended             → ended
    aborting    send ABORT: it was given up before COMPLETE        → ended
    ended       announce it; release, announce and park the files that were lost of a batch with
                data, or because of which it was given up: the next attempt has the others; park
                any other batch without data, for another attempt

A worker first moves `due` forward: that is its lease. If it dies, the delivery comes due again. How
a piece is uploaded: see `upload`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from aep_intake.content.beginning import BEGINNING
from aep_intake.content.recognize import check_rows_told, recognize
from aep_intake.content.rows import has_rows, is_csv
from aep_intake.content.text import UTF_8
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Mark, Verdict
from aep_intake.delivery.ending import (
    CATALOG_FORGETS_MS,
    abort,
    end_delivery,
    files_of,
    finish,
    give_up,
    judge,
    may_be_forgotten,
    poll_later,
    why_lost,
)
from aep_intake.delivery.pieces import Cut, OpenRange, cutting
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model.errors import (
    CustomerKeyNeeded,
    EmptyObject,
    FormatMismatch,
    MalformedEvent,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    RowsDiffer,
    TooLarge,
    TryAgain,
    UploadRefused,
)
from aep_intake.model.files import Arrival
from aep_intake.model.progress import Record, Rejection
from aep_intake.model.times import HOUR_MS

STORE_CUTS_EVERY_MS = 20_000
# Faults of a file: its upload reports them, and the other files continue.
ABOUT_THE_FILE = (
    TooLarge,
    FormatMismatch,
    EmptyObject,
    ObjectGone,
    ObjectArchived,
    CustomerKeyNeeded,
)
COMPLETE_AGAIN_MS = 300_000  # after which a batch that still loads gets COMPLETE again
POLLS_UNTIL_RESENT = 3  # after which missing pieces are enqueued again: a quarter of an hour


def start(external_id: str, batch_id: str, ports: DeliveryPorts) -> None:
    """Start the delivery of an announced batch; a second call does nothing.

    Raises MalformedEvent if the ledger does not know the batch, NotYet if its order is not
    finished, or as `resume`.
    """
    record = ports.orders.get(external_id)
    if record is None or record.batch_id != batch_id:
        raise MalformedEvent(
            f"the ledger knows no batch {batch_id} of order {external_id}", external_id=external_id
        )
    if record.due is not None:  # the event was faster than the record
        raise NotYet("its creation is not finished", retry_after=1, external_id=external_id)
    _start(record, ports)


def _start(record: Record, ports: DeliveryPorts) -> Delivery | None:
    if record.delivers is False:  # others upload its files, even if this stack now would
        return None
    files = ports.orders.files(record.order)
    if not files and record.delivers is None:  # of a release that did not follow such batches
        return None
    wait = max(ports.step_ms, ports.worker_life_ms) if files else ports.first_poll_ms
    due = ports.now() + wait
    delivery = Delivery.of(record, files, ports.piece_bytes, due, ports.sharing)
    delivery = replace(delivery, deadline=delivery.created_at + ports.deadline_ms)
    if not ports.deliveries.start(delivery, recorded=record.delivers is True):
        return None
    if not files:
        return delivery
    if may_be_forgotten(delivery, ports):
        return _plan_again(delivery, ports)
    return _plan(delivery, files, ports)


def resume(external_id: str, ports: DeliveryPorts) -> Delivery | None:
    """Resume a delivery that is due; the delivery after its step. Raises TryAgain."""
    delivery = ports.deliveries.get(external_id)
    if delivery is None:  # its event was lost
        record = ports.orders.get(external_id)
        return _start(record, ports) if record is not None and record.delivers else None
    if delivery.due is None or ports.now() < delivery.due:
        return None
    planning = delivery.stage is DeliveryStage.PLANNING
    due = ports.now() + (max(ports.step_ms, ports.worker_life_ms) if planning else ports.step_ms)
    deadline = delivery.created_at + ports.deadline_ms
    delivery = ports.deliveries.replace(delivery, delivery.then(due=due, deadline=deadline))
    try:
        return _STEPS[delivery.stage](delivery, ports)
    except TryAgain as error:  # it is due again after a step, or at Adobe's `Retry-After`
        later = ports.now() + int(1000 * (error.retry_after or 0))
        current = ports.deliveries.get(external_id)
        if current is not None and current.due is not None and current.due < later:
            ports.deliveries.replace(current, current.then(due=later))
        raise


def _plan_again(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Continue the plan of another worker, until the batch's deadline."""
    batch = ports.ingestion.fetch_batch(delivery)
    if batch is not None and batch.status != "loading":
        return judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + ports.deadline_ms:
        return give_up(delivery, "no worker could read its files in time", ports)
    return _plan(delivery, files_of(delivery, ports), ports)


def _plan(delivery: Delivery, files: tuple[Arrival, ...], ports: DeliveryPorts) -> Delivery:
    until = ports.now() + ports.planning_ms
    for place, file in enumerate(files):
        delivery, done = _cut(delivery, place, file, until, ports)
        if not done:  # other deliveries take their turn, and the next tick resumes this one
            return ports.deliveries.replace(delivery, delivery.then(due=ports.now()))
    cuts, tasks = delivery.whole_cuts(files), delivery.tasks(files)
    ports.enqueue(tasks)  # first: if this worker dies here, its plan comes due again
    due = ports.now() + ports.upload_ms
    delivery = ports.deliveries.replace(
        delivery, delivery.then(stage=DeliveryStage.UPLOADING, cuts=cuts, total=len(tasks), due=due)
    )
    # An uploader that finished before this write could not know that its piece was the last.
    if len(ports.deliveries.marks(delivery.external_id)) == delivery.total:
        return _check_uploads(delivery, ports)
    return delivery


def _cut(
    delivery: Delivery, place: int, file: Arrival, until: int, ports: DeliveryPorts
) -> tuple[Delivery, bool]:
    """Find where to cut a file, and whether that is done; stores progress meanwhile."""
    known, kept_at = delivery.cuts.get(place), ports.now()
    if known is not None and known.whole(file):
        return delivery, True
    opened = _opens(file, ports)
    try:
        if known is None and _is_converted(delivery, file, opened):
            return delivery, True
        for made in cutting(file, delivery.input_format, delivery.limit, opened, known):
            now, whole = ports.now(), made.whole(file)
            if whole or now >= until or now > kept_at + STORE_CUTS_EVERY_MS:
                kept_at = now
                delivery = _keep(delivery, {**delivery.cuts, place: made}, ports)
            if now >= until and not whole:
                return delivery, False
    except (*ABOUT_THE_FILE, NotReadable) as error:
        if isinstance(error, NotReadable) and ports.patient(delivery):
            raise
        # One piece, whose upload says why. Kept, as another worker could read the file by then, and
        # what both would send is in the batch twice.
        delivery = _keep(delivery, {**delivery.cuts, place: Cut((file.size,))}, ports)
    return delivery, True


def _is_converted(delivery: Delivery, file: Arrival, opened: OpenRange) -> bool:
    """Whether a large file must be read from its start, and so is one piece."""
    if file.size <= delivery.limit or not has_rows(delivery.input_format):
        return False
    if delivery.compiled_map is not None:
        return True
    source = delivery.source_format or delivery.input_format
    with opened(0, min(BEGINNING, file.size)) as stream:
        beginning = stream.read(BEGINNING)
    found = recognize(beginning, len(beginning) == file.size, source, file.uri)
    lines = found.layout in ("lines", "")
    other = delivery.source_format is not None and found.charset != UTF_8
    bom = found.bom and not is_csv(source)  # whose reader leaves it out of each piece
    return bool(found.compression or bom or not lines or other)


def _keep(delivery: Delivery, cuts: Mapping[int, Cut], ports: DeliveryPorts) -> Delivery:
    due = ports.now() + max(ports.step_ms, ports.worker_life_ms)
    return ports.deliveries.replace(delivery, delivery.then(cuts=cuts, due=due))


def _opens(file: Arrival, ports: DeliveryPorts) -> OpenRange:
    return lambda start, end: ports.opened(file, start, end)


def _check_uploads(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Complete the batch if all pieces are marked; else enqueue missing ones, or wait."""
    marks = ports.deliveries.marks(delivery.external_id)
    if len(marks) == delivery.total:
        if why := _why_not(delivery, marks, ports):
            anew, reason = not delivery.whole, why.reason
            return give_up(delivery, why.detail, ports, anew=anew, reason=reason)
        delivery = ports.deliveries.replace(
            delivery, delivery.then(stage=DeliveryStage.COMPLETING, uploaded_at=ports.now())
        )
        return _complete(delivery, ports)
    batch = ports.ingestion.fetch_batch(delivery)
    if batch is not None and batch.status != "loading":
        return judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + ports.deadline_ms:
        missing = delivery.total - len(marks)
        were = "was" if missing == 1 else "were"
        why_not = f"{missing} of its {delivery.total} uploads {were} not done"
        return give_up(delivery, why_not, ports)
    polls = delivery.polls + 1
    if _may_be_lost(polls):
        tasks = delivery.tasks(files_of(delivery, ports))
        absent = [task for task in tasks if task.what.number not in marks]
        # Messages that wait for the hourly allowance are not lost; a gzip goes up in parts.
        largest = min(max(task.what.size for task in absent), delivery.limit)
        if wait := ports.allowance.wait(delivery.target, largest):
            due = ports.now() + int(1000 * wait)
            return ports.deliveries.replace(delivery, delivery.then(due=due))
        ports.enqueue(absent)
    due = ports.now() + ports.upload_ms
    return ports.deliveries.replace(delivery, delivery.then(due=due, polls=polls))


def _why_not(
    delivery: Delivery, marks: Mapping[int, Mark], ports: DeliveryPorts
) -> Rejection | None:
    """Why a batch whose pieces are all marked cannot be completed; None if it can be."""
    lost = {number for number, mark in marks.items() if mark.lost}
    left_out = sum(mark.left_out for mark in marks.values())
    all_lost = len(lost) == delivery.total
    torn = any(mark.lost and mark.size for mark in marks.values())
    if lost and (all_lost or torn or delivery.whole or _splits_file(delivery, lost, ports)):
        were = "was" if len(lost) == 1 else "were"
        what = f"{len(lost)} of its uploads {were} not possible"
        return _abandoned(what, ports, why_lost(delivery, marks, ports))
    cannot = f"{left_out} of its files cannot be loaded"
    if left_out and delivery.whole:
        return _abandoned(cannot, ports, why_lost(delivery, marks, ports))
    if not any(mark.size for mark in marks.values() if not mark.lost):
        if not left_out:
            return _abandoned("none of its files has a row", ports)
        what = f"{cannot}, and none of the others has a row"
        return _abandoned(what, ports, why_lost(delivery, marks, ports))
    return _rows_differ(delivery, marks, ports)


def _abandoned(what: str, ports: DeliveryPorts, lost: Rejection | None = None) -> Rejection:
    """Why a batch is given up. `lost`: why a file is because of which that happens."""
    if lost is None:
        return Rejection(f"batch-{End.ABANDONED}", what, ports.now())
    return Rejection(lost.reason, f"{what}: {lost.detail}", ports.now())


def _rows_differ(
    delivery: Delivery, marks: Mapping[int, Mark], ports: DeliveryPorts
) -> Rejection | None:
    """Why the pieces of a file have not the rows that its ready file says; None if they have.

    A file that goes up in one piece was checked before.
    """
    counted: dict[Arrival, list[int | None]] = {}
    for task in delivery.tasks(files_of(delivery, ports)) if delivery.cuts else ():
        if task.piece is not None:  # else a run of small files
            counted.setdefault(task.piece.file, []).append(marks[task.piece.number].rows)
    for file, pieces in counted.items():
        try:
            if len(pieces) > 1 and None not in pieces:
                check_rows_told(file, sum(rows or 0 for rows in pieces))
        except RowsDiffer as why:
            return Rejection.of(why, ports.now())
    return None


def _may_be_lost(polls: int) -> bool:
    """Whether, after so many polls, the messages of missing pieces may be lost.

    Mostly they wait behind others, for a day at worst: so each interval is twice the last one.
    """
    return polls % POLLS_UNTIL_RESENT == 0 and (polls // POLLS_UNTIL_RESENT).bit_count() == 1


def _splits_file(delivery: Delivery, lost: set[int], ports: DeliveryPorts) -> bool:
    """Whether some pieces of a file are lost and others are not: then it cannot be sent again."""
    if not delivery.cuts:
        return False
    found: dict[Arrival, set[bool]] = {}
    for task in delivery.tasks(files_of(delivery, ports)):
        if (piece := task.piece) is not None:  # files of runs are not cut
            found.setdefault(piece.file, set()).add(piece.number in lost)
    return any(len(both) == 2 for both in found.values())


def _complete(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    try:
        ports.ingestion.complete(delivery)
    except UploadRefused:  # it may no longer be loading: Catalog knows its status
        due = ports.now()
    else:
        due = ports.now() + ports.first_poll_ms
    ingesting = delivery.then(stage=DeliveryStage.INGESTING, due=due, polls=0)
    delivery = ports.deliveries.replace(delivery, ingesting)
    ports.remind(delivery.external_id, ports.first_poll_ms)
    return delivery


def _poll(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    batch = ports.ingestion.fetch_batch(delivery)
    if batch is not None and batch.status == "loading":
        if delivery.stage is DeliveryStage.FOLLOWING:
            if ports.now() > delivery.created_at + ports.deadline_ms:
                hours = ports.deadline_ms // HOUR_MS
                return give_up(
                    delivery, f"its caller did not complete it within {hours} hours", ports
                )
        elif delivery.polls and ports.now() > (delivery.uploaded_at or 0) + COMPLETE_AGAIN_MS:
            with suppress(UploadRefused):  # AEP lost or refused COMPLETE, which is safe to repeat
                ports.ingestion.complete(delivery)
    if batch is not None:
        return judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + CATALOG_FORGETS_MS:
        why = f"Catalog no longer knows batch {delivery.batch_id}"
        return end_delivery(delivery, Verdict(End.ABANDONED, "unknown", why, ports.now()), ports)
    return poll_later(delivery, ports)


_STEPS: Mapping[DeliveryStage, Callable[[Delivery, DeliveryPorts], Delivery]] = {
    DeliveryStage.FOLLOWING: _poll,
    DeliveryStage.PLANNING: _plan_again,
    DeliveryStage.UPLOADING: _check_uploads,
    DeliveryStage.COMPLETING: _complete,
    DeliveryStage.INGESTING: _poll,
    DeliveryStage.ABORTING: abort,
    DeliveryStage.ENDED: finish,
}
