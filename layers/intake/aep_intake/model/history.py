"""What the ledger knows of the versions of an object, and of files that wait for a marker."""

from dataclasses import field

from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import WINDOW_PREFIX
from aep_intake.model.progress import Rejection
from aep_intake.model.records import Kept
from aep_intake.model.values import dataclass

# The owner of versions that somebody discarded: like a window that nobody has any more, so that
# none of the others takes them.
NOBODY = f"{WINDOW_PREFIX}discarded"
DISCARDED = "discarded"  # the note of such a claim
WAITING = "waiting"  # the note of what waits for its marker, or its ready file
SUPERSEDED = "superseded"  # the note of what a newer version took the place of
RETRYING = "retrying"  # the note of what could not be taken in yet


@dataclass(frozen=True, slots=True)
class OverdueFiles(Kept):
    """Waiting files of a folder whose deadline is over: the places after `after`, up to `until`."""

    folder_id: str
    after: str
    until: str

    @property
    def external_id(self) -> str:
        """The external id under which these files are announced and parked, every time."""
        return f"{self.folder_id[:7]}{digest(self.folder_id, self.after, self.until)}"


@dataclass(frozen=True, slots=True)
class Seen:
    """One item of the ledger about a version of an object."""

    version: str
    owner: str | None = None  # the order or window that claims it
    rejection: Rejection | None = None  # why nothing claims it
    noted: str | None = None  # any other fate, such as `waiting`, by its `route`
    route: str | None = None
    # When the ledger forgets it (epoch seconds): the larger, the later it was written.
    expires: int = 0
    superseded_by: str | None = None  # the version that replaced it in its batch
    same_as: str | None = None  # the version whose bytes it has, and whose owner claims it
    file: Arrival | None = field(default=None, compare=False)  # of what is noted: as it arrived
    time: int | None = field(default=None, compare=False)  # when it arrived (epoch ms)
    lost: bool = False  # of a rejection: it was in an order, whose batch went on, or ended, without
    # Of what waits: the name of what it waits for, and until when (epoch ms).
    waits_for: str | None = None
    until: int | None = None
    discarded: str | None = None  # by whom, and why
    trouble: str | None = None  # why it could not be taken in yet: it is tried again `until` then

    @property
    def claimed(self) -> bool:
        """Whether an order or a window holds it."""
        return self.owner is not None and self.rejection is None


@dataclass(frozen=True, slots=True)
class CountedVersion:
    """A version of an object that an order or a window claims, and that counts in its batch."""

    file: Arrival  # without a time or a sequencer where nobody knows it
    owner: str
    # The version that is in the batch: another one, if a copy of it came.
    in_batch: str


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that waits for a marker, or for its ready file, for `within` milliseconds.

    `ready`: the names that its ready file may have, if it waits for one.
    """

    file: Arrival
    route: str
    within: int
    ready: tuple[str, ...] = ()
    owner: str | None = None  # of the route


@dataclass(frozen=True, slots=True)
class WaitingGroup(Kept):
    """Files of a folder that came together and wait, with one deadline: an entry of its list."""

    folder_id: str
    route: str
    within: int  # milliseconds
    due: int  # their deadline (epoch ms)
    files: tuple[Arrival, ...]
    ready: tuple[str, ...] = ()
    is_marker: bool = False  # which waits for nothing but its time
    owner: str | None = None

    @property
    def place(self) -> str:
        """Its name in the folder's list, which is sorted by deadline."""
        return f"{self.due:013}-{digest(*(file.external_id for file in self.files))}"


@dataclass(frozen=True, slots=True)
class Hold:
    """A marker of a folder is worked on, perhaps until then (epoch ms).

    `grace`: of its route, in milliseconds.
    """

    until: int
    grace: int = 0


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder where files wait for a marker."""

    folder_id: str
    due: int | None = None  # the next deadline (epoch ms); None while no file waits
    done: str = ""  # high-water mark: messages were sent for all places up to this one
    revision: int = 1
    # Messages that are parked, as some of their files had no marker: see `waiting_files`.
    parked: tuple[OverdueFiles, ...] = ()
