"""Ready files: `orders.csv.done` says that `orders.csv` is complete.

A ready file is the marker of a folder of one file. Until it comes, the file waits in the ledger as
for any marker (see `waiting_files`). Then the file is taken in again, by its own arrival, and is
as if it had just come: it gets its batch, or joins its window. Whichever of the two arrives first,
the other one is found:

    the file arrives                       its ready file arrives
    1. note in the ledger: it waits        1. note it in the ledger
    2. are there ready files, in the       2. does the file wait, by the ledger?
       ledger or in S3?

A version of a ready file is for one version of its file: for the newest that came before it. If
that has one already, or if there is none, it is for a version that comes soon after, as both may be
uploaded side by side; but not for one that comes much later: then the ready file is yesterday's.
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from aep_intake.grouping.ports import WaitingPorts
from aep_intake.model.errors import NotYet, Rejected
from aep_intake.model.files import Arrival, ready_name
from aep_intake.model.history import SUPERSEDED, WAITING, Seen
from aep_intake.model.times import HOUR_MS

EARLY_MS = HOUR_MS  # by which a ready file may be older than its file
# Events tell other times than S3's lists, which tell whole seconds.
SAME_TIME_MS = 2_000
EVENT_LATE_MS = 300_000  # after which an event that has not come is not waited for
COUNT_BYTES_MAX = 64  # of a ready file that holds a number of rows


def let_through(file: Arrival, names: tuple[str, ...], ports: WaitingPorts) -> Arrival | None:
    """The file, if a ready file is there for it; with the number of its rows, if that is told.

    `names`: see `NeedsReady`. The ledger must know that it waits. Raises LedgerUnavailable or
    StorageUnavailable.
    """
    ready = list(_ready_files(file, names, ports))
    if not ready:
        return None
    known = [*_files(ports.ledger.seen(file.object_id)), file]
    with suppress(Rejected):  # it was deleted or archived, which is told when it is read
        known += _unless_same(ports.objects.arrival(file.bucket, file.key), file)
    found = _for(file, ready, known)
    return None if found is None else replace(file, rows=_rows(found, ports))


def take_in_waiting(ready: Arrival, key: str, ports: WaitingPorts) -> None:
    """Have the file at `key`, whose ready file has arrived, taken in again if it waits.

    So is a version of which no event comes, such as one from before the stack was connected. The
    ledger must know of the ready file. Raises NotYet for some minutes while nobody knows the file,
    LedgerUnavailable or StorageUnavailable.
    """
    seen = ports.ledger.seen(replace(ready, key=key).object_id)
    known = list(_files(seen))
    before = _newest_before(ready, known)
    claimed = {item.version for item in seen if item.claimed}
    # At its deadline, a version may be superseded whose ready file's event is even later.
    noted = {item.version for item in seen if item.noted in (WAITING, SUPERSEDED)} - claimed
    for file in known:
        soon = file == before or 0 < file.time - ready.time <= EARLY_MS
        if soon and file.version in noted:
            ports.take_in(file)
    try:
        present = ports.objects.arrival(ready.bucket, key)
    except Rejected:  # it comes later, and looks for its ready file then
        return
    # Without a version id, S3 does not tell a file from an earlier one of the same bytes.
    if present.version_id is None or any(item.version == present.version for item in seen):
        return
    wait = ready.time + EVENT_LATE_MS - ports.now()
    if wait > 0:  # its own event tells more of it than S3 does
        raise NotYet(f"the event of {present.uri} has not come", retry_after=min(wait / 1000, 60))
    ports.take_in(replace(present, brought_by=ready.brought_by, aged=ready.aged))


def _ready_files(file: Arrival, names: Iterable[str], ports: WaitingPorts) -> Iterator[Arrival]:
    """The versions of a file's ready file that the ledger knows, and the present one."""
    folder, slash, own = file.key.rpartition("/")
    for name in names:
        key = f"{folder}{slash}{ready_name(name, own)}"
        yield from _files(ports.ledger.seen(replace(file, key=key).object_id))
        with suppress(Rejected):  # there is none now
            yield ports.objects.arrival(file.bucket, key)


def _files(seen: Iterable[Seen]) -> Iterator[Arrival]:
    return (item.file for item in seen if item.file is not None)


def _unless_same(present: Arrival, file: Arrival) -> list[Arrival]:
    """The present version of a file, if it is another one."""
    if file.version_id is not None or file.etag != present.etag:
        return [] if present.version_id == file.version_id is not None else [present]
    return [present] if present.time > file.time + SAME_TIME_MS else []


def _for(file: Arrival, ready: Iterable[Arrival], known: Sequence[Arrival]) -> Arrival | None:
    """The newest of the ready files that are for this version of the file; None if none is."""
    found: Arrival | None = None
    have: set[str] = set()  # versions that have a ready file
    told_at = -SAME_TIME_MS
    for one in sorted(ready, key=_age):
        again = one.time <= told_at + SAME_TIME_MS  # the ledger and S3 tell of the same one
        told_at = one.time
        before = _newest_before(one, known)
        soon = (file for file in sorted(known, key=_age) if 0 < file.time - one.time <= EARLY_MS)
        if before is None or before.version in have:
            without = (file for file in soon if file.version not in have)
            is_for = None if again else next(without, None)
        else:
            is_for = before
        if is_for is not None:
            have.add(is_for.version)
        if file.version in {each.version for each in (is_for, before) if each is not None}:
            found = one
    return found


def _newest_before(ready: Arrival, known: Iterable[Arrival]) -> Arrival | None:
    """The newest version of a file that is not newer than a ready file."""
    before = [file for file in known if file.time <= ready.time + SAME_TIME_MS]
    return newest(before) if before else None


def newest(versions: Iterable[Arrival]) -> Arrival:
    """The newest version of an object."""
    return max(versions, key=_age)


def _age(version: Arrival) -> tuple[int, str]:
    return version.time, version.position


def _rows(ready: Arrival, ports: WaitingPorts) -> int | None:
    """The number of rows that a ready file tells: digits alone in it."""
    if not 0 < ready.size <= COUNT_BYTES_MAX:
        return None
    with suppress(Rejected):  # it was overwritten
        found = ports.objects.read(ready, 0, COUNT_BYTES_MAX)
        wide = found.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # of PowerShell
        text = found.decode("utf-16" if wide else "utf-8-sig", "replace").strip()
        return int(text) if text.isascii() and text.isdigit() else None
    return None
