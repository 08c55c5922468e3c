"""A clock that tests can move."""

import time


class Clock:
    """Epoch milliseconds: standing still at `at`, or following real time where `at` is None.

    Calling it tells the time; it can stand wherever a `Callable[[], int]` is wanted.
    """

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self._offset = 0

    def __call__(self) -> int:
        if self._at is not None:
            return self._at
        return time.time_ns() // 1_000_000 + self._offset

    @property
    def standing(self) -> bool:
        """Whether only `advance` and `stand` move it."""
        return self._at is not None

    def advance(self, ms: int) -> None:
        """Move by `ms`; a following clock keeps the distance from then on."""
        if self._at is None:
            self._offset += ms
        else:
            self._at += ms

    def stand(self, at: int | None = None) -> None:
        """Stand still, at `at` or at the present time."""
        self._at = self() if at is None else at

    def follow(self, offset: int = 0) -> None:
        """Follow real time, `offset` ms ahead of it."""
        self._at, self._offset = None, offset
