"""What the ledger knows of the versions of an object."""

from dataclasses import dataclass

from aep_intake.model.files import digest
from aep_intake.model.orders import Rejection
from aep_intake.model.records import Kept


@dataclass(frozen=True, slots=True)
class Missing(Kept):
    """A part of the list of files that wait in a folder: after one place, up to another."""

    folder_id: str
    after: str
    until: str

    @property
    def external_id(self) -> str:
        """By which they are announced and parked, however often."""
        return f"{self.folder_id[:7]}{digest(self.folder_id, self.after, self.until)}"


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that the ledger knows of a version of an object.

    `owner`: the order or window that claims it. `rejection`: why nothing does. `noted`: what became
    of it besides, by which `route`. `expires`: when the ledger forgets it (epoch seconds), so the
    larger, the later it was written. `superseded_by`: the version that stands for it.
    """

    version: str
    owner: str | None = None
    rejection: Rejection | None = None
    noted: str | None = None
    route: str | None = None
    expires: int = 0
    superseded_by: str | None = None

    @property
    def claimed(self) -> bool:
        """Whether an order or a window holds it."""
        return self.owner is not None and self.rejection is None
