"""Who claims each of many versions; see `ledger` for the keys."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import batched

from aep_intake.adapters.dynamodb.table import KEYS_MAX, Item, Table
from aep_intake.model.files import Arrival
from aep_intake.model.orders import claims


class DynamoClaims:
    """The claims in `table`, many at a time. Every method raises LedgerUnavailable."""

    def __init__(self, table: Table, now: Callable[[], int]) -> None:
        self._table = table
        self._now = now

    def owners(self, files: Sequence[Arrival], *, consistent: bool = False) -> dict[Arrival, str]:
        """The order or window that claims each of the files, as far as they are claimed.

        A request for each hundred; of files without version ids, for each fifty.
        """
        now = self._now() // 1000
        wanted = dict.fromkeys(place for file in files for place, _ in _places(file))
        there: dict[tuple[str, str], Item] = {}
        for some in batched(wanted, KEYS_MAX, strict=False):
            names = "expires", "external_id", "requested"
            for item in self._table.get_many(some, *names, consistent=consistent):
                if int(item["expires"]["N"]) >= now:  # DynamoDB deletes it within days, not at once
                    there[item["pk"]["S"], item["sk"]["S"]] = item
        found = {}
        for file in files:
            for place, exclusive in _places(file):
                if place in there and (exclusive or "requested" in there[place]):
                    found[file] = there[place]["external_id"]["S"]
        return found

    def undelivered(self, external_ids: Sequence[str]) -> list[str]:
        """Those orders that have no delivery; a request for each hundred."""
        missing = []
        for some in batched(external_ids, KEYS_MAX, strict=False):
            items = self._table.get_many([(f"delivery#{name}", "delivery") for name in some])
            there = {item["pk"]["S"].removeprefix("delivery#") for item in items}
            missing += [name for name in some if name not in there]
        return missing


def _places(file: Arrival) -> Iterator[tuple[tuple[str, str], bool]]:
    """Where the claims of a version may be, each with whether it stands for that version alone.

    Without version ids, who lists a folder claims the content: see `claims`.
    """
    for claim in claims(replace(file, copy_of=None)):
        yield (f"object#{claim.object_id}", claim.slot), claim.exclusive
