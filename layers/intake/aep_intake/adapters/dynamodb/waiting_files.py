"""Folders where files wait for a marker, in the ledger's table; see `ledger` for the keys."""

from collections.abc import Callable, Iterator

from aep_intake.adapters.dynamodb.items import due_at
from aep_intake.adapters.dynamodb.table import ConditionFailed, Item, Table, revision
from aep_intake.clock.due import Due, DueKind
from aep_intake.grouping.missing_markers import Folder, Listing
from aep_intake.model import records
from aep_intake.model.errors import LeaseLost

MOST_KNOWN = 10_000  # folders of which a worker knows the time
SKEW = 10_000  # milliseconds by which clocks of two workers may differ


class DynamoFolders:
    """Folders in `table`. `retention` in milliseconds: how long finished things are kept.

    Every method raises LedgerUnavailable where DynamoDB does not do what was asked, or nobody knows
    whether it did.
    """

    def __init__(self, table: Table, now: Callable[[], int], retention: int) -> None:
        self._table = table
        self._now = now
        self._retention = retention
        self._known: dict[str, int] = {}

    def wait(self, listing: Listing) -> None:
        """Add it to its folder's list; the folder is looked at by then, or earlier."""
        item: Item = {
            "pk": {"S": f"folder#{listing.folder_id}"},
            "sk": {"S": f"waiting#{listing.place}"},
            "listing": {"S": records.text(listing)},
            "expires": self._expires(self._retention),
        }
        self._table.put(item)
        # A worker that knows of an earlier time, which has not come, need not say more.
        if self._now() + SKEW < self._known.get(listing.folder_id, 0) <= listing.due:
            return
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[listing.folder_id] = self._watch(listing)

    def _watch(self, listing: Listing) -> int:
        """When the folder is looked at."""
        pk, touch = f"folder#{listing.folder_id}", "ADD revision :one"
        values: Item = {"one": {"N": "1"}}
        later = due_at(Due(DueKind.FOLDERS, listing.folder_id, listing.due))
        try:
            self._table.update(
                pk,
                "folder",
                f"SET due = :due, due_shard = :due_shard REMOVE expires {touch}",
                values | later,
                "attribute_not_exists(due) OR due > :due",
            )
        except ConditionFailed as failed:
            [standing] = failed.items
            due = _due(standing or later)
            if due <= self._now() + SKEW:  # somebody may look at it just now
                try:
                    self._table.update(
                        pk, "folder", touch, values | {"due": later["due"]}, "due <= :due"
                    )
                except ConditionFailed:  # and has gone on without having seen it
                    return self._watch(listing)
            return due
        return listing.due

    def get(self, folder_id: str) -> Folder | None:
        """The folder as it is now (a consistent read)."""
        item = self._table.get(f"folder#{folder_id}", "folder")
        if item is None:
            return None
        due = _due(item) if "due" in item else None
        done = item.get("done", {"S": ""})["S"]
        return Folder(folder_id, due, done, int(item["revision"]["N"]))

    def advance(self, old: Folder, new: Folder) -> None:
        """`new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        item: Item = {
            "pk": {"S": f"folder#{new.folder_id}"},
            "sk": {"S": "folder"},
            "done": {"S": new.done},
            "revision": {"N": str(new.revision)},
        }
        if new.due is None:
            item["expires"] = self._expires(2 * self._retention)  # longer than its list
        else:
            item |= due_at(Due(DueKind.FOLDERS, new.folder_id, new.due))
        try:
            self._table.put(item, revision(old.revision))
        except ConditionFailed:
            raise LeaseLost("more came just now", external_id=old.folder_id) from None

    def waiting(self, folder_id: str, after: str, until: str) -> Iterator[Listing]:
        """What is in a folder's list after a place and up to another (consistent reads)."""
        items = self._table.query(
            "pk = :pk AND sk BETWEEN :after AND :until",
            {
                "pk": {"S": f"folder#{folder_id}"},
                "after": {"S": f"waiting#{after}"},
                "until": {"S": f"waiting#{until}"},
            },
            ConsistentRead=True,
        )
        for item in items:
            listing = records.read(Listing, item["listing"]["S"])
            if listing.place != after:
                yield listing

    def _expires(self, milliseconds: int) -> dict[str, str]:
        return {"N": str((self._now() + milliseconds) // 1000)}


def _due(item: Item) -> int:
    """When to look at a folder, by what was said before it was handed out: see `DynamoLedger`."""
    due = item["due_since"] if "due_since" in item else item["due"]
    return int(due["N"])
