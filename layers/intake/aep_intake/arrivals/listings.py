"""Listings of a bucket, page by page: S3's own, or an S3 Inventory in place of it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import batched

from aep_intake.model.files import Archived, Arrival
from aep_intake.model.values import dataclass

PAGE = 1000  # objects


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing."""

    found: tuple[Arrival | Archived, ...]
    reached: str  # the place after it, larger than that of the page before


@dataclass(frozen=True, slots=True)
class BucketListing:
    """The present versions of a bucket's objects."""

    # After a place. Raises StorageUnavailable, and InventoryUnusable if it is an inventory.
    pages: Callable[[str], Iterator[Page]]
    made: int | None = (
        None  # when (epoch ms), if it is an inventory: it does not know what followed
    )


def by_key(found: Iterable[Arrival | Archived]) -> Iterator[Page]:
    """Objects in the order of their keys, by page; the last key of a page is its place."""
    for some in batched(found, PAGE, strict=False):
        last = some[-1]
        yield Page(some, (last.file if isinstance(last, Archived) else last).key)
