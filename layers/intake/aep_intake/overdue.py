"""Files whose marker does not come.

What waits for a marker has neither an order nor a message. So that it is not forgotten, the ledger
remembers once for each folder when to look whether its files were taken: after the time `within`
which the route expects the marker. Those that still wait by then are rejected together, by one
message about their folder, which looks again when it is redriven.

    wait      remember the folder, unless it is remembered already
    go_on     when that is due: have the folder looked at, and forget it
    look      list it; reject who waits for too long, and remember it again for who came later
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from aep_intake import folders, whereabouts
from aep_intake.arrivals import Arrival, digest
from aep_intake.errors import MarkerMissing, Rejected
from aep_intake.orders import FOLDER_PREFIX, Rejection
from aep_intake.routes import Match, RoutingTable
from aep_intake.whereabouts import Seen

WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where files wait for a marker. `due`: when to look at it (epoch ms)."""

    bucket: str
    prefix: str
    due: int

    @classmethod
    def of(cls, file: Arrival, due: int) -> "Folder":
        """The folder that a file waits in."""
        return cls(file.bucket, prefix_of(file), due)

    @property
    def folder_id(self) -> str:
        """From its place alone."""
        return folder_id(self.bucket, self.prefix)


class Ledger(Protocol):
    """What remembers. Every method raises LedgerUnavailable."""

    def note(self, arrival: Arrival, what: str, route: str) -> None:
        """Remember what became of an arrival that gets no order of its own."""

    def reject(self, arrival: Arrival, rejection: Rejection) -> None:
        """Remember that an arrival was rejected before it had an order."""

    def seen(self, object_id: str) -> list[Seen]:
        """All that is known of an object."""

    def watch(self, folder: Folder) -> None:
        """Remember when to look at a folder. One that is remembered keeps its time, unless that
        has come.
        """

    def watched(self, folder_id: str) -> Folder | None:
        """The folder as it is remembered."""

    def unwatch(self, folder: Folder) -> None:
        """Forget it, unless it is due at another time by now."""


class Announcer(Protocol):
    """The event bus. Raises NotAnnounced or StorageUnavailable."""

    def turned_away(self, external_id: str, arrivals: tuple[Arrival, ...], why: Rejection) -> None:
        """Say why these arrivals cannot become an order."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What this needs of the world. `look_at` sends a message about a folder (bucket, prefix)."""

    ledger: Ledger
    announcer: Announcer
    objects: folders.Objects
    table: Callable[[], RoutingTable]
    look_at: Callable[[str, str], None]
    now: Callable[[], int]


def folder_id(bucket: str, prefix: str) -> str:
    """By which the ledger knows a folder."""
    return FOLDER_PREFIX + digest("folder", bucket, prefix)


def prefix_of(file: Arrival) -> str:
    """The folder of a file, above those of its partitions: `year=2026/month=11/` have no marker of
    their own.
    """
    parts: list[str] = file.key.split("/")[:-1]
    while parts and "=" in parts[-1]:
        parts.pop()
    return "".join(f"{part}/" for part in parts)


def wait(file: Arrival, match: Match, ledger: Ledger, now: int) -> None:
    """Remember that a file waits for its marker. `match`: how it is routed."""
    ledger.note(file, WAITING, match.route)
    ledger.watch(Folder.of(file, now + match.within))


def go_on(folder_id: str, ports: Ports) -> None:
    """Have a folder looked at that is due."""
    folder = ports.ledger.watched(folder_id)
    if folder is not None and folder.due <= ports.now():
        ports.look_at(folder.bucket, folder.prefix)
        ports.ledger.unwatch(folder)


def look(bucket: str, prefix: str, ports: Ports, side_by_side: Any) -> None:
    """Reject the files of a folder that have waited for their marker too long.

    Raises MarkerMissing if there are some, once each is remembered and all are announced;
    StorageUnavailable, LedgerUnavailable, RoutesUnavailable or NotAnnounced.
    """
    expecting = dict(_expecting(bucket, prefix, ports))
    waits = side_by_side(lambda file: _waits(file, ports.ledger), expecting)
    late: dict[Arrival, Match] = {}
    for file, still in zip(expecting, waits, strict=True):
        due = file.time + expecting[file].within
        if still and due <= ports.now():
            late[file] = expecting[file]
        elif still:
            ports.ledger.watch(Folder.of(file, due))
    if not late:
        return
    missing = _missing(late)
    rejection = Rejection.of(missing, ports.now())
    list(side_by_side(lambda file: ports.ledger.reject(file, rejection), late))
    ports.announcer.turned_away(missing.external_id or "", tuple(late), rejection)
    raise missing


def _expecting(bucket: str, prefix: str, ports: Ports) -> Iterator[tuple[Arrival, Match]]:
    """The data of a folder that is routed to wait for a marker, as it is now."""
    table = ports.table()
    for file in ports.objects.folder(bucket, prefix):
        if prefix_of(file) == prefix and not folders.left_out(file):
            try:
                match = table.match(file)
            except Rejected:
                continue
            if match.waits:
                yield file, match


def _waits(file: Arrival, ledger: Ledger) -> bool:
    known = whereabouts.of_version(file, ledger.seen(file.object_id))
    if known is None:  # never heard of, or not yet
        return False
    missing = known.rejection is not None and known.rejection.reason == MarkerMissing.reason
    return missing or known.noted == WAITING


def _missing(late: dict[Arrival, Match]) -> MarkerMissing:
    first = min(late, key=lambda file: (file.time, file.key))
    match = late[first]
    hours = match.within / 3_600_000
    others = f" and {len(late) - 1:,} more in its folder" if len(late) > 1 else ""
    return MarkerMissing(
        f"{first.uri}{others}: no marker has taken what rule `{match.route}` lets wait for one, in "
        f"{hours:g} hours. Write the marker again, now that all files are there; or see why it was "
        "not written, or rejected",
        external_id=folder_id(first.bucket, prefix_of(first)),
    )
