"""What is to happen at which time by the clock."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class _Entry:
    at: int
    number: int
    what: Callable[[int], object] = field(compare=False)


class Agenda:
    """Things due later, carried out when somebody looks, each as if at the time it was due."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._so_far = 0

    def add(self, at: int, what: Callable[[int], object]) -> None:
        """Let `what(at)` happen at `at`, epoch ms; what is due at the same time keeps its order."""
        self._so_far += 1
        heapq.heappush(self._entries, _Entry(at, self._so_far, what))

    def carry_out(self, now: int) -> None:
        """Do what is due by now, and what that makes due."""
        while self._entries and self._entries[0].at <= now:
            entry = heapq.heappop(self._entries)
            entry.what(entry.at)
