"""The story of one delivery: a batch's files are uploaded, it is completed, and its end is known.

    (announced  it is recorded with its order, due in an hour; the event begins it before that)
    planning    large files are cut, once                          → uploading
    uploading   every piece is uploaded and marked, side by side   → completing, or aborting
    completing  COMPLETE is sent; from here on nothing is aborted  → ingesting
    ingesting   Catalog is asked until the batch has ended         → ended
    aborting    given up before COMPLETE: ABORT is sent            → ended
    ended       announced; what holds no data is parked for another attempt; of a batch that holds
                the others, files that were lost are let go, told and parked as they arrived

A delivery is due until it has ended, and whoever works on it moves that time first: so one works on
it at a time, and what a dead worker leaves is found. How a piece is uploaded: see `uploading`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO

from aep_intake.delivery.delivery import Delivery, DeliveryPorts, DeliveryStage, End, Verdict
from aep_intake.delivery.ending import (
    FORGOTTEN,
    _end,
    abort,
    announce,
    files_of,
    give_up,
    half_known,
    judge,
    poll_later,
)
from aep_intake.delivery.pieces import Cut, cutting
from aep_intake.model.errors import (
    CustomerKeyNeeded,
    MalformedEvent,
    NotReadable,
    NotYet,
    ObjectArchived,
    ObjectGone,
    TooLarge,
    TryAgain,
    UploadRefused,
)
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Record

KEEP_EVERY = 20_000  # milliseconds after which what was found of where to cut is kept
# What is surely about a file: it is named when it comes to its upload, and the others go on.
ABOUT_THE_FILE = (TooLarge, ObjectGone, ObjectArchived, CustomerKeyNeeded)
PATIENCE = 3  # looks after which what is missing is handed out again: a quarter of an hour


def begin(external_id: str, batch_id: str, ports: DeliveryPorts) -> None:
    """Begin with a batch that was announced, once however often that is said.

    Raises MalformedEvent where our ledger knows nothing of it, NotYet where its order is not
    finished, or what `go_on` raises.
    """
    record = ports.orders.get(external_id)
    if record is None or record.batch_id != batch_id:
        raise MalformedEvent(
            f"the ledger knows no batch {batch_id} of order {external_id}", external_id=external_id
        )
    if record.due is not None:  # the event was faster than the record that comes with it
        raise NotYet("its creation is not finished", retry_after=1, external_id=external_id)
    _begin(record, ports)


def _begin(record: Record, ports: DeliveryPorts) -> Delivery | None:
    if record.delivers is False:  # others fill it, whatever this deployment does by now
        return None
    files = ports.orders.files(record.order)
    if not files:  # announced by a release that recorded no deliveries: whoever asked fills it
        return None
    due = ports.now() + max(ports.step_ms, ports.worker_life_ms)
    delivery = Delivery.of(record, files, ports.piece_bytes, due)
    if not ports.deliveries.begin(delivery, recorded=record.delivers is True):
        return None
    if half_known(delivery, ports):
        return _plan_again(delivery, ports)
    return _plan(delivery, files, ports)


def go_on(external_id: str, ports: DeliveryPorts) -> Delivery | None:
    """Go on with a delivery that is due, and tell how it stands then. Raises TryAgain."""
    delivery = ports.deliveries.get(external_id)
    if delivery is None:  # whose event did not come
        record = ports.orders.get(external_id)
        return _begin(record, ports) if record is not None and record.delivers else None
    if delivery.due is None or ports.now() < delivery.due:
        return None
    planning = delivery.stage is DeliveryStage.PLANNING
    due = ports.now() + (max(ports.step_ms, ports.worker_life_ms) if planning else ports.step_ms)
    delivery = ports.deliveries.replace(delivery, delivery.then(due=due))
    try:
        return _STEPS[delivery.stage](delivery, ports)
    except TryAgain as error:  # it is due again after a step, or when Adobe said
        later = ports.now() + int(1000 * (error.retry_after or 0))
        standing = ports.deliveries.get(external_id)
        if standing is not None and standing.due is not None and standing.due < later:
            ports.deliveries.replace(standing, standing.then(due=later))
        raise


def _plan_again(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """What another worker did not get done; there is an end to that, too."""
    batch = ports.ingestion.look(delivery)
    if batch is not None and batch.status != "loading":
        return judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + ports.deadline_ms:
        return give_up(delivery, "its files could not be looked through in time", ports)
    return _plan(delivery, files_of(delivery, ports), ports)


def _plan(delivery: Delivery, files: tuple[Arrival, ...], ports: DeliveryPorts) -> Delivery:
    until = ports.now() + ports.planning_ms
    for place, file in enumerate(files):
        delivery, done = _cut(delivery, place, file, until, ports)
        if not done:  # others have their turn; the next tick has this go on
            return ports.deliveries.replace(delivery, delivery.then(due=ports.now()))
    cuts, tasks = delivery.whole_cuts(files), delivery.tasks(files)
    ports.enqueue(tasks)  # before that is told: who is killed amid it leaves a plan that is due
    due = ports.now() + ports.upload_ms
    delivery = ports.deliveries.replace(
        delivery, delivery.then(stage=DeliveryStage.UPLOADING, cuts=cuts, total=len(tasks), due=due)
    )
    # Until now nobody knew that the last one is the last.
    if len(ports.deliveries.marks(delivery.external_id)) == delivery.total:
        return _look_after(delivery, ports)
    return delivery


def _cut(
    delivery: Delivery, place: int, file: Arrival, until: int, ports: DeliveryPorts
) -> tuple[Delivery, bool]:
    """See where to cut a file, and whether that is done; long work is kept as it goes."""
    known, kept_at = delivery.cuts.get(place), ports.now()
    if known is not None and known.whole(file):
        return delivery, True
    opened = _opens(file, ports)
    try:
        for made in cutting(file, delivery.input_format, delivery.limit, opened, known):
            now, whole = ports.now(), made.whole(file)
            if whole or now >= until or now > kept_at + KEEP_EVERY:
                kept_at = now
                delivery = _keep(delivery, {**delivery.cuts, place: made}, ports)
            if now >= until and not whole:
                return delivery, False
    except (*ABOUT_THE_FILE, NotReadable) as error:
        if isinstance(error, NotReadable) and ports.patient(delivery):
            raise
    return delivery, True


def _keep(delivery: Delivery, cuts: Mapping[int, Cut], ports: DeliveryPorts) -> Delivery:
    due = ports.now() + max(ports.step_ms, ports.worker_life_ms)
    return ports.deliveries.replace(delivery, delivery.then(cuts=cuts, due=due))


def _opens(file: Arrival, ports: DeliveryPorts) -> Callable[[int, int], IO[bytes]]:
    return lambda start, end: ports.opened(file, start, end)


def _look_after(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    """Complete it if all pieces are there; else see to those that are missing."""
    marks = ports.deliveries.marks(delivery.external_id)
    if len(marks) == delivery.total:
        lost = {number for number, mark in marks.items() if mark.lost}
        none = len(lost) == delivery.total
        half = any(mark.lost and mark.size for mark in marks.values())
        if lost and (none or half or delivery.whole or _in_part(delivery, lost, ports)):
            return give_up(delivery, f"{len(lost)} of its uploads were not possible", ports)
        delivery = ports.deliveries.replace(
            delivery, delivery.then(stage=DeliveryStage.COMPLETING, uploaded_at=ports.now())
        )
        return _complete(delivery, ports)
    batch = ports.ingestion.look(delivery)
    if batch is not None and batch.status != "loading":
        return judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + ports.deadline_ms:
        missing = delivery.total - len(marks)
        return give_up(delivery, f"{missing} of its {delivery.total} uploads were not done", ports)
    looks = delivery.looks + 1
    if _may_be_lost(looks):
        tasks = delivery.tasks(files_of(delivery, ports))
        absent = [task for task in tasks if task.piece.number not in marks]
        # Messages that wait for bytes of the hour are not lost; what is packed goes up in parts.
        largest = min(max(task.piece.size for task in absent), delivery.limit)
        if wait := ports.allowance.wait(delivery.target, largest):
            due = ports.now() + int(1000 * wait)
            return ports.deliveries.replace(delivery, delivery.then(due=due))
        ports.enqueue(absent)
    due = ports.now() + ports.upload_ms
    return ports.deliveries.replace(delivery, delivery.then(due=due, looks=looks))


def _may_be_lost(looks: int) -> bool:
    """Whether, after so many looks, what is missing may have lost its messages.

    Mostly it waits behind others, for a day at worst: so each time is twice as late as the last.
    """
    return looks % PATIENCE == 0 and (looks // PATIENCE).bit_count() == 1


def _in_part(delivery: Delivery, lost: set[int], ports: DeliveryPorts) -> bool:
    """Whether of a file some pieces are there and others lost: it could not be sent again."""
    if not delivery.cuts:
        return False
    found: dict[Arrival, set[bool]] = {}
    for task in delivery.tasks(files_of(delivery, ports)):
        found.setdefault(task.piece.file, set()).add(task.piece.number in lost)
    return any(len(both) == 2 for both in found.values())


def _complete(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    try:
        ports.ingestion.complete(delivery)
    except UploadRefused:  # it may no longer be loading: Catalog says what it is
        due = ports.now()
    else:
        due = ports.now() + ports.first_poll_ms
    ingesting = delivery.then(stage=DeliveryStage.INGESTING, due=due, looks=0)
    return ports.deliveries.replace(delivery, ingesting)


def _follow(delivery: Delivery, ports: DeliveryPorts) -> Delivery:
    batch = ports.ingestion.look(delivery)
    if batch is not None and batch.status == "loading" and delivery.looks:
        with suppress(UploadRefused):  # it was not heard, or refused; it may be said again
            ports.ingestion.complete(delivery)
    if batch is not None:
        return judge(delivery, batch, ports)
    if ports.now() > delivery.created_at + FORGOTTEN:
        why = f"Catalog no longer knows batch {delivery.batch_id}"
        return _end(delivery, Verdict(End.ABANDONED, "unknown", why, ports.now()), ports)
    return poll_later(delivery, ports)


_STEPS: Mapping[DeliveryStage, Callable[[Delivery, DeliveryPorts], Delivery]] = {
    DeliveryStage.PLANNING: _plan_again,
    DeliveryStage.UPLOADING: _look_after,
    DeliveryStage.COMPLETING: _complete,
    DeliveryStage.INGESTING: _follow,
    DeliveryStage.ABORTING: abort,
    DeliveryStage.ENDED: announce,
}
