"""What can become of an arrival."""

from dataclasses import dataclass

from aep_intake.create.create import Outcome


@dataclass(frozen=True, slots=True)
class Skipped:
    """An arrival that a route leaves out, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Waits:
    """An arrival that waits for the marker of its folder."""

    route: str


@dataclass(frozen=True, slots=True)
class HandedOn:
    """A marker that is another function's now."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A marker that came: its window, sealed, and how many files the folder held."""

    window_id: str
    files: int


@dataclass(frozen=True, slots=True)
class Joined:
    """An arrival that waits in a window, until `closes` (epoch ms)."""

    window_id: str
    closes: int


@dataclass(frozen=True, slots=True)
class Known:
    """An arrival that came before. `owner`: the window, or the order, it is in."""

    owner: str


type Result = Outcome | Joined | HandedOn | Gathered | Known | Waits | Skipped | Exception
