"""Which members JSON rows have, of those that a map reads, and of those that nothing maps."""

from collections.abc import Iterator
from typing import Any

from aep_intake.content.xdm import Path

SEEN_MAX = 10_000  # members of an object that are remembered: keys may be made of values


class Members:
    """The members of an object, or the items of a list, at one place in all rows of a file."""

    def __init__(self) -> None:
        self._mapped: dict[str | int, Members] = {}
        self._inner: list[tuple[str | int, Members]] = []  # of them, those mapped by their members
        self._seen = set[str | int]()
        self._is_whole = False  # whether all of it is mapped
        self._is_value = False  # whether there is one, and its members are mapped

    def add(self, path: Path) -> None:
        """A path that is mapped as a whole."""
        at = self
        for depth, step in enumerate(path, 1):
            inner = at._mapped.setdefault(step, Members())
            if depth < len(path) and (step, inner) not in at._inner:
                at._inner.append((step, inner))
            at = inner
        at._is_whole = True

    def note(self, value: Any) -> None:
        """What is at this place in a row."""
        if self._is_whole:
            return
        if isinstance(value, dict):
            if len(self._seen) < SEEN_MAX:
                self._seen.update(value)
            for step, inner in self._inner:
                if (below := value.get(step)) is not None:
                    inner.note(below)
        elif isinstance(value, list):
            self._seen.update(range(min(len(value), len(self._mapped) + 1)))
            for step, inner in self._inner:
                if isinstance(step, int) and step < len(value):
                    inner.note(value[step])
        elif value is not None:
            self._is_value = True

    def unmapped(self, path: Path = ()) -> Iterator[Path]:
        """What was seen, and nothing maps."""
        if self._is_value:
            yield path
        yield from ((*path, step) for step in self._seen - self._mapped.keys())
        for step, inner in self._inner:
            yield from inner.unmapped((*path, step))
