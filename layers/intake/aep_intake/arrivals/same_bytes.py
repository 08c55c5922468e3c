"""The same bytes again: an object that somebody copied onto itself.

That is how a bucket is encrypted anew, or metadata corrected, and a hundred thousand objects would
be loaded a second time. S3 says `CopyObject`, and not of what; but if the copy has the ETag of the
newest version of its own key that is loaded or under way, the dataset has its rows. Whatever was
written anew is a new version, even with bytes that came before.
"""

from collections.abc import Callable, Sequence

from aep_intake.arrivals.ports import Intake
from aep_intake.grouping import windows
from aep_intake.grouping.windows import Window, WindowStage
from aep_intake.model.files import Arrival
from aep_intake.model.history import Held
from aep_intake.model.orders import WINDOW_PREFIX, Record, State


def told_same_bytes(copy: Arrival, intake: Intake) -> bool:
    """Whether the bytes of a copy are loaded or under way; then its owner claims the copy, too.

    So the next marker of its folder does not take it. Raises LedgerUnavailable, StorageUnavailable.
    """
    versions = intake.ledger.held(copy.object_id)
    if any(held.file.version == copy.version for held in versions):
        return any(held.file.version == copy.version != held.in_batch for held in versions)
    before = [held for held in versions if _is_before(held.file, copy)]
    if copy.etag not in {held.file.etag for held in before}:
        return False
    for held in sorted(before, key=_age(before), reverse=True):
        if _is_live(held, intake):
            return held.file.etag == copy.etag and intake.ledger.claim_copy(copy, held)
    return False


def _is_before(file: Arrival, copy: Arrival) -> bool:
    if file.sequencer and copy.sequencer:
        return file.position < copy.position
    return file.time <= copy.time


def _age(versions: Sequence[Held]) -> Callable[[Held], tuple[int, str]]:
    in_sequence = all(held.file.sequencer for held in versions)
    return lambda held: (0 if in_sequence else held.file.time, held.file.position)


def _is_live(held: Held, intake: Intake) -> bool:
    """Whether the data of a version is loaded, or will be if all goes well."""
    if not held.owner.startswith(WINDOW_PREFIX):
        return _order_is_live(held.owner, intake)
    window = intake.windows.windows.get(held.owner)
    if window is None or window.stage is not WindowStage.FINISHED:
        return window is not None
    return any(_order_is_live(window.part_id(n), intake) for n in _parts(held, window, intake))


def _parts(held: Held, window: Window, intake: Intake) -> Sequence[int]:
    """The numbers of the parts that hold a file, or that a marker made."""
    numbers = range(len(window.parts))
    if len(numbers) < 2 or windows.marker_id(held.file) == window.window_id:
        return numbers
    at = intake.part_of(window, held.file.bucket, held.file.key, held.in_batch)
    return numbers if at is None else (at,)


def _order_is_live(external_id: str, intake: Intake) -> bool:
    record = _latest(intake.ledger.get(external_id), intake)
    if record is None or record.replaced_by is not None:
        return False
    if record.state is State.ANNOUNCED:
        return not intake.ended_without_data(record.order.external_id)
    return record.state is not State.REFUSED


def _latest(record: Record | None, intake: Intake) -> Record | None:
    while record is not None and record.next_attempt is not None:
        record = intake.ledger.get(record.next_attempt)
    return record
