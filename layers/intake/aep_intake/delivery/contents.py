"""The list of a run's contents: what is in its uploads, and which files are not, and why.

It is written before the first byte is sent, once: whoever uploads the run sends what it says, and
whoever tells which files were lost reads it there.
"""

from collections.abc import Iterable
from itertools import islice

from aep_intake.content.rows import EXAMPLES, Place
from aep_intake.delivery.delivery import BadRow, Delivery, Mark
from aep_intake.delivery.pieces import Run
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model import records
from aep_intake.model.errors import ContentsUnknown
from aep_intake.model.files import Arrival, in_a_key
from aep_intake.model.progress import Rejection
from aep_intake.model.records import Kept
from aep_intake.model.times import day_of
from aep_intake.model.values import dataclass

ROWS_NAMED = 20  # that Profile drops, one of each file
COLUMNS_NAMED = 20  # of those that nothing maps


@dataclass(frozen=True, slots=True)
class Entry(Kept):
    """A line of the list: a file, or a part of one that is too large for one upload."""

    place: int  # of the file, among those of the batch
    file: Arrival
    size: int = 0  # bytes of its rows in the batch
    rows: int = 0
    broken: int = 0  # of them, as far as we can see
    # Where it is: the number of the upload, and what comes before it there.
    upload: int = 0
    offset: int = 0  # bytes, a CSV's header among them
    rows_before: int = 0
    since: Place | None = None  # where in its file a later part begins
    bad_rows: tuple[BadRow, ...] = ()  # the first broken ones
    lost: Rejection | None = None  # why it is not in the batch
    unmapped: int = 0  # rows that were left out, as they could not be mapped
    unmapped_columns: tuple[str, ...] = ()  # the first that nothing maps
    unmapped_column_count: int = 0
    oversized: int = 0  # rows that Profile drops
    first_oversized: int = 0  # the number of the first; 0: not known

    @property
    def sent(self) -> bool:
        """Whether it is in an upload, be it with no more than a header."""
        return self.offset + self.size > 0


def read(delivery: Delivery, run: Run, ports: DeliveryPorts) -> tuple[Entry, ...] | None:
    """The list; None if nobody has written it, and so nothing was sent."""
    found = ports.lists.whole(_key(delivery, run))
    if found is None:
        return None
    return tuple(records.read(Entry, line.decode()) for line in found.splitlines())


def write(delivery: Delivery, run: Run, entries: Iterable[Entry], ports: DeliveryPorts) -> bool:
    """Write the list, unless there is one; False if there is."""
    lines = (records.text(entry).encode() + b"\n" for entry in entries)
    return ports.lists.put(_key(delivery, run), lines)


def sizes(entries: Iterable[Entry]) -> dict[int, int]:
    """The bytes of each upload, by number."""
    return {entry.upload: entry.offset + entry.size for entry in entries if entry.sent}


def mark_of(entries: tuple[Entry, ...]) -> Mark:
    """The mark of a run whose uploads are all in the batch."""
    sent = [entry for entry in entries if entry.sent]
    columns = dict.fromkeys(name for entry in entries for name in entry.unmapped_columns)
    return Mark(
        sum(sizes(sent).values()),
        rows=sum(entry.rows for entry in sent),
        broken=sum(entry.broken for entry in sent),
        unmapped=sum(entry.unmapped for entry in entries),
        unmapped_columns=tuple(islice(columns, COLUMNS_NAMED)),
        unmapped_column_count=max(len(columns), *(e.unmapped_column_count for e in entries), 0),
        bad_rows=tuple(bad for entry in entries for bad in entry.bad_rows)[:EXAMPLES],
        oversized=sum(entry.oversized for entry in sent),
        oversized_rows=tuple(
            islice(
                (row_named(entry.file, entry.first_oversized) for entry in sent if entry.oversized),
                ROWS_NAMED,
            )
        ),
        left_out=sum(entry.lost is not None for entry in entries),
        empty=sum(entry.lost is None and not entry.sent for entry in entries),
    )


def unknown(delivery: Delivery, run: Run, mark: Mark, ports: DeliveryPorts) -> Rejection:
    """Why each file of a run counts as lost whose list is gone, though files were left out."""
    error = ContentsUnknown(
        f"{mark.left_out:,} of the {run.end - run.first:,} files that share an upload were left "
        f"out, and {_key(delivery, run)} in the state bucket, which said which, was deleted: look "
        "in the dataset for the rows of the file; if there are none, request a batch for it"
    )
    return Rejection.of(error, ports.now())


def row_named(file: Arrival, row: int) -> str:
    """A row by its file and number, for people; 0 where the number is not known."""
    return f"{file.uri}, row {row}" if row else file.uri


def held_or_lost(delivery: Delivery, run: Run, why: Rejection, ports: DeliveryPorts) -> Mark:
    """The mark of a run that no worker reported as uploaded. Raises TryAgain.

    The batch may hold its uploads from an earlier try.
    """
    entries = read(delivery, run, ports)
    if entries is None:  # nothing was sent, unless somebody deleted the list
        path = run.path(0, delivery.input_format)
        return Mark(ports.ingestion.uploaded_bytes(delivery, path), why)
    listed = sizes(entries)
    held = {
        number: ports.ingestion.uploaded_bytes(delivery, run.path(number, delivery.input_format))
        for number in listed
    }
    return mark_of(entries) if held == listed else Mark(sum(held.values()), why)


def _key(delivery: Delivery, run: Run) -> str:
    """By day, as the lists of windows; and by the run's files, should a plan be another one."""
    name = in_a_key(delivery.external_id)
    return f"contents/{day_of(delivery.created_at)}/{name}/{run.first:06}-{run.end:06}.jsonl"
