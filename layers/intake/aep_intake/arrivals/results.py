"""What became of an arrival, once it was worked on."""

from aep_intake.model.progress import Outcome
from aep_intake.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Skipped:
    """An arrival that gets no batch, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Waits:
    """An arrival that waits for the marker of its folder, or for its ready file."""

    route: str


@dataclass(frozen=True, slots=True)
class HandedOn:
    """A marker that was sent to on_marker."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A marker whose folder was gathered: its sealed window, and the number of files."""

    window_id: str
    files: int


@dataclass(frozen=True, slots=True)
class Joined:
    """An arrival that waits in a window, until `closes` (epoch ms)."""

    window_id: str
    closes: int


@dataclass(frozen=True, slots=True)
class Known:
    """An arrival that came before. `owner`: the id of its window or order."""

    owner: str


type Result = Outcome | Joined | HandedOn | Gathered | Known | Waits | Skipped | Exception
