"""What a restored table has of transactions that were just made; see `ledger` for the keys.

DynamoDB's backups may hold some changes of such a transaction, and not the others:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aep_intake.adapters.dynamodb.items import file_of, owned_by
from aep_intake.adapters.dynamodb.table import Item, Table, deleting, expiry
from aep_intake.model import records
from aep_intake.model.files import Arrival
from aep_intake.model.history import NOBODY
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window

SEGMENTS = 10  # of the table, read side by side
# Of those without an owner's own list: a copy joins no batch, and nobody has what is discarded.
CLAIMS = (
    "begins_with(pk, :object) AND (begins_with(sk, :claim) OR begins_with(sk, :content)) "
    "AND expires BETWEEN :first AND :last AND attribute_not_exists(same_as) "
    "AND external_id <> :nobody"
)


@dataclass(frozen=True, slots=True)
class RestoredClaim:
    """A claim as the table has it."""

    place: tuple[str, str]
    owner: str  # the order or window
    file: Arrival


class DynamoRestored:
    """A restored ledger in `table`. `retention_ms`: how long it stores claims.

    Every method raises LedgerUnavailable.
    """

    def __init__(self, table: Table, retention_ms: int) -> None:
        self._table = table
        self._retention_ms = retention_ms

    def claims(self, since: int, until: int) -> list[RestoredClaim]:
        """The claims that were put from `since` to `until` (epoch ms): reads the whole table."""
        texts = {"object": "object#", "claim": "claim#", "content": "content#", "nobody": NOBODY}
        values: dict[str, Any] = {name: {"S": text} for name, text in texts.items()}
        values["first"] = expiry(since + self._retention_ms)
        values["last"] = expiry(until + self._retention_ms)

        def read(segment: int) -> list[RestoredClaim]:
            return list(map(_claim, self._table.segment(segment, SEGMENTS, CLAIMS, values)))

        with ThreadPoolExecutor(SEGMENTS) as pool:
            return [claim for found in pool.map(read, range(SEGMENTS)) for claim in found]

    def listed(self, window: Window, since: int) -> Iterator[tuple[Arrival, int]]:
        """The files that joined a window since then, each with when it did (epoch ms; seconds)."""
        kept_ms = 2 * self._retention_ms + window.length
        for item in self._lists(window.window_id):
            joined_at = int(item["expires"]["N"]) * 1000 - kept_ms
            if joined_at >= since - 1000:
                for file in records.read_list(Arrival, item["files"]["S"]):
                    yield file, joined_at

    def release(self, claim: RestoredClaim) -> None:
        """Delete a claim. Raises ConditionFailed if it is another owner's by now."""
        self._table.transact(deleting(*claim.place, owned_by(claim.owner)))

    def forget(self, window_id: str) -> None:
        """Delete what is left of a window: the lists of its files."""
        for item in self._lists(window_id):
            self._table.transact(deleting(item["pk"]["S"], item["sk"]["S"], {}))

    def _lists(self, window_id: str) -> Iterator[Item]:
        values = {"pk": {"S": f"window#{window_id}"}, "files": {"S": "files#"}}
        return self._table.query(
            "pk = :pk AND begins_with(sk, :files)", values, ConsistentRead=True
        )


def _claim(item: Mapping[str, Any]) -> RestoredClaim:
    place = item["pk"]["S"], item["sk"]["S"]
    return RestoredClaim(place, item["external_id"]["S"], file_of(dict(item)))
