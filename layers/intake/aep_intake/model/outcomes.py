"""One record's failure is no other's."""

from collections.abc import Callable


def attempt[T](work: Callable[[], T]) -> T | Exception:
    """What `work` returns or raises: one record's failure is no other's.

    An error nobody foresaw is an outcome too: it is logged with its traceback, and the record is
    tried again until it lands in the dead-letter queue.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        return error
