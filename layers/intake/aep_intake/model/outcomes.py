"""Work on many records side by side, where one record's failure is no other's."""

from collections.abc import Callable, Iterable
from typing import Protocol


class SideBySide(Protocol):
    """A `map` that may have many hands: it gives what `work` returns, in the order of `values`."""

    def __call__[T, R](self, work: Callable[[T], R], values: Iterable[T], /) -> Iterable[R]:
        """Run `work` over all values."""


def attempt[**P, T](work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | Exception:
    """What `work` returns or raises of these: one record's failure is no other's.

    An error nobody foresaw is an outcome too: it is logged with its traceback, and the record is
    tried again until it lands in the dead-letter queue.
    """
    try:
        return work(*arguments, **options)
    except Exception as error:  # noqa: BLE001
        return error
