"""Files whose marker does not come.

What waits for a marker has neither an order nor a message. So that it is not forgotten, the ledger
lists it by folder and by when its time is over, which is `within` after it was heard of, as the
route says. Then those that no marker has taken are rejected, those of a folder together, by a
message that looks again when it is redriven.

    wait      list files that wait, and remember when to look at their folder
    go_on     when that has come: a message for what is over, and on to the next time
    tell      whoever of these files still waits is rejected; the others were taken, or overwritten
              before a marker saw them, and are superseded by what is there now. A worker that has
              little time left sends the message anew instead
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import batched
from math import inf
from typing import Protocol

from aep_intake.model.errors import LeaseLost, MarkerMissing, Rejected
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import Missing, Seen
from aep_intake.model.orders import FOLDER_PREFIX, Rejection
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.records import Kept

WAITING = "waiting"
MOST_LISTED = 50  # in one item of the ledger, which holds 400 KB
MOST_FILES = 100  # in one message, which is told as a whole
ENOUGH = 20_000  # milliseconds in which the files of a message are surely told
# Of times, so that what comes bit by bit is told in a few messages: a quarter of the time allowed.
COARSE = 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that waits for a marker of `route`, `within` so many milliseconds."""

    file: Arrival
    route: str
    within: int


@dataclass(frozen=True, slots=True)
class Listing(Kept):
    """Files of a folder that came together. `due`: when their time is over (epoch ms)."""

    folder_id: str
    route: str
    within: int
    due: int
    files: tuple[Arrival, ...]

    @property
    def place(self) -> str:
        """Its name in the folder's list, which is sorted by time."""
        return f"{self.due:013}-{digest(*(file.external_id for file in self.files))}"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where files wait. `due`: when to look (epoch ms), None while nothing waits.

    `done`: all up to this place in its list was told.
    """

    folder_id: str
    due: int | None = None
    done: str = ""
    revision: int = 1


class WaitingLedger(Protocol):
    """What remembers arrivals. Every method raises LedgerUnavailable."""

    def reject(self, arrival: Arrival, rejection: Rejection, owner: str | None = None) -> None:
        """Remember that an arrival was rejected before it had an order. `owner`: as what it was
        announced, if not by its own external id.
        """

    def seen(self, object_id: str) -> list[Seen]:
        """All that is known of an object."""

    def note_superseded(self, arrival: Arrival, by: str, route: str) -> None:
        """Remember that another version of its object stands for it. Claims nothing."""


class Folders(Protocol):
    """What remembers folders. Every method raises LedgerUnavailable."""

    def wait(self, listing: Listing) -> None:
        """Add it to its folder's list; the folder is looked at by then, or earlier.

        Whoever looks at the folder just now is told by its revision.
        """

    def get(self, folder_id: str) -> Folder | None:
        """The folder as it is now."""

    def advance(self, old: Folder, new: Folder) -> None:
        """`new` in place of `old`; raises LeaseLost if the ledger no longer holds `old`."""

    def waiting(self, folder_id: str, after: str, until: str) -> Iterator[Listing]:
        """What is in a folder's list after a place and up to another (consistent reads)."""


class VersionLookup(Protocol):
    """S3. Raises StorageUnavailable."""

    def arrival(self, bucket: str, key: str) -> Arrival:
        """The present version of an object. Raises Rejected where none can be read."""


class RejectionAnnouncer(Protocol):
    """The event bus. Raises NotAnnounced or StorageUnavailable."""

    def arrival_rejected(
        self, external_id: str, arrivals: tuple[Arrival, ...], why: Rejection
    ) -> None:
        """Say why these arrivals cannot become an order."""


@dataclass(frozen=True, slots=True)
class FolderPorts:
    """What this needs of the world. `send` has a part of a folder's list told."""

    ledger: WaitingLedger
    folders: Folders
    announcer: RejectionAnnouncer
    objects: VersionLookup
    send: Callable[[Missing], None]
    now: Callable[[], int]


def folder_of(file: Arrival) -> str:
    """Id of a file's folder, or of the one above its partitions (`year=2026/month=11/`)."""
    parts: list[str] = file.key.split("/")[:-1]
    while parts and "=" in parts[-1]:
        parts.pop()
    return FOLDER_PREFIX + digest("folder", file.bucket, *parts)


def listings(waiting: Iterable[Waiting], now: int) -> list[Listing]:
    """Files that came together, by folder and route."""
    found: dict[tuple[str, str, int], list[Arrival]] = {}
    for one in waiting:
        place = (folder_of(one.file), one.route, one.within)
        found.setdefault(place, []).append(one.file)
    return [
        Listing(folder_id, route, within, _coarse(now + within, within // COARSE), some)
        for (folder_id, route, within), files in found.items()
        for some in batched(files, MOST_LISTED, strict=False)
    ]


def go_on(folder_id: str, ports: FolderPorts) -> None:
    """Have those files of a folder told whose time is over."""
    folder = ports.folders.get(folder_id)
    if folder is None or folder.due is None or ports.now() < folder.due:
        return
    until = f"{ports.now():013}~"
    after = last = folder.done
    files = 0
    for listing in ports.folders.waiting(folder_id, folder.done, until):
        if files and files + len(listing.files) > MOST_FILES:
            ports.send(Missing(folder_id, after, last))
            after, files = last, 0
        files += len(listing.files)
        last = listing.place
    if files:
        ports.send(Missing(folder_id, after, last))
    _advance(folder, until, ports)


def _advance(folder: Folder, done: str, ports: FolderPorts) -> None:
    """On to what is next, however much comes meanwhile."""
    standing: Folder | None = folder
    while standing is not None and standing.done == folder.done:
        following = next(ports.folders.waiting(folder.folder_id, done, "~"), None)
        due = None if following is None else following.due
        new = Folder(folder.folder_id, due, done, standing.revision + 1)
        try:
            ports.folders.advance(standing, new)
        except LeaseLost:
            standing = ports.folders.get(folder.folder_id)
        else:
            return


def reject_overdue(
    missing: Missing, ports: FolderPorts, side_by_side: SideBySide, end: float = inf
) -> None:
    """Reject those files that still wait. `end` of the worker, in epoch milliseconds.

    Half of a message told and announced again by the next worker would be told twice: so one for
    which the time may be too short is sent anew. Raises MarkerMissing if there are some, once all
    are announced and each is remembered; LedgerUnavailable, NotAnnounced or StorageUnavailable.
    """
    if ports.now() > end - ENOUGH:
        ports.send(missing)
        return
    listed = list(ports.folders.waiting(missing.folder_id, missing.after, missing.until))
    files = {file: listing.route for listing in listed for file in listing.files}
    waits = side_by_side(lambda file: _waits(file, files[file], missing, ports), files)
    late = tuple(file for file, still in zip(files, waits, strict=True) if still)
    if not late:
        return
    first = next(listing for listing in listed if late[0] in listing.files)
    others = f" and {len(late) - 1:,} more of its folder" if len(late) > 1 else ""
    why = MarkerMissing(
        f"{late[0].uri}{others}: rule `{first.route}` lets them wait for a marker, and none has "
        f"taken them in {first.within / 3_600_000:g} h. See why it was not written, or was "
        "rejected, or came before them; a marker takes them even now",
        external_id=missing.external_id,
    )
    rejection = Rejection.of(why, ports.now())
    ports.announcer.arrival_rejected(missing.external_id, late, rejection)
    reject = ports.ledger.reject
    list(side_by_side(lambda file: reject(file, rejection, missing.external_id), late))
    raise why


def _waits(file: Arrival, route: str, missing: Missing, ports: FolderPorts) -> bool:
    """Whether nothing has become of a file, and it is there still."""
    seen = ports.ledger.seen(file.object_id)
    same = {file.version}
    if file.version_id is None:  # as S3 lists it to a marker
        same.add(f"e:{file.etag}:")
    if _settled(same, seen, missing):
        return False
    try:
        present = ports.objects.arrival(file.bucket, file.key)
    except Rejected:  # gone, or archived since: nothing has become of it
        return True
    if file.etag != present.etag or file.version_id not in (None, present.version_id):
        # No marker will see it any more, and what came since is listed by itself.
        ports.ledger.note_superseded(file, present.version, route)
        return False
    # Some senders of events tell no version.
    return not _settled({present.version}, seen, missing)


def _settled(versions: set[str], seen: list[Seen], missing: Missing) -> bool:
    ours = [one for one in seen if one.version in versions]
    since = max((one.expires for one in ours if one.noted == WAITING), default=0)
    return any(_settles(one, since, missing) for one in ours)


def _settles(one: Seen, since: int, missing: Missing) -> bool:
    """Whether something became of a version, that has waited `since`."""
    if one.rejection is None:
        return one.noted != WAITING
    if one.rejection.reason == MarkerMissing.reason:  # of this very message, it says no more
        return one.owner != missing.external_id
    return one.expires >= since


def _coarse(time: int, step: int) -> int:
    return -(-time // step) * step
