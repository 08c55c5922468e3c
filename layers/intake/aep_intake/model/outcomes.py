"""Work on many records side by side, where the failure of one stops no other."""

from collections.abc import Callable, Generator, Iterable
from typing import Protocol


class SideBySide(Protocol):
    """A `map` that may use threads: the results of `work`, in the order of `values`."""

    def __call__[T, R](self, work: Callable[[T], R], values: Iterable[T], /) -> Iterable[R]:
        """Run `work` over all values."""


class OneAhead(Protocol):
    """The same values, of which one more may be made while one is used, and no other one.

    Raises what making a value raises, where that value would come. Once it is closed, nothing is
    made any more.
    """

    def __call__[T](self, values: Generator[T], /) -> Generator[T]:
        """The values, one by one; none of them is None."""


def one_by_one[T](values: Generator[T], /) -> Generator[T]:
    """A `OneAhead` that makes none ahead."""
    return values


def caught[**P, T](work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T | Exception:
    """The result of `work`, or the exception that it raised.

    So an unforeseen error stops no other work: telemetry logs it with its traceback, and its
    message is tried again until it is parked.
    """
    try:
        return work(*arguments, **options)
    except Exception as error:  # noqa: BLE001
        return error
