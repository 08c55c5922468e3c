"""Folders where files wait for a marker, in the ledger's table; see `ledger` for the keys."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import batched

from aep_intake.adapters.dynamodb.items import due_at
from aep_intake.adapters.dynamodb.table import (
    KEYS_MAX,
    ConditionFailed,
    Item,
    Table,
    expiry,
    revision,
)
from aep_intake.clock.due import Due, DueKind
from aep_intake.model import records
from aep_intake.model.errors import LeaseLost
from aep_intake.model.history import Folder, Hold, OverdueFiles, WaitingGroup
from aep_intake.model.times import DAY_MS, MINUTE_MS, SKEW_MS

FILES_PER_ITEM = 50  # an item holds 400 KB
KNOWN_MAX = 10_000  # folders whose due time a worker remembers
KNOWN_MS = MINUTE_MS  # and for how long it relies on that


class DynamoFolders:
    """Folders in `table`. `retention_ms`: how long finished things are kept.

    Every method raises LedgerUnavailable if a request to DynamoDB failed, or may have failed.
    """

    def __init__(self, table: Table, now: Callable[[], int], retention_ms: int) -> None:
        self._table = table
        self._now = now
        self._retention_ms = retention_ms
        self._known: dict[str, tuple[int, int]] = {}  # when due, and until when that is known

    def wait(self, group: WaitingGroup) -> None:
        """Add it to its folder's list, as several if it is large.

        The folder is due at its deadline, or earlier:

        this worker                            a worker that handles the folder
        put the group
                                               get the folder (revision 7)
                                               read its list, perhaps without it
        make `due` earlier, or if the folder
        is due about now: revision 8
                                               advance from revision 7: LeaseLost, read again
        """
        for files in batched(group.files, FILES_PER_ITEM, strict=False):
            some = replace(group, files=files)
            item: Item = {
                "pk": {"S": f"folder#{some.folder_id}"},
                "sk": {"S": f"waiting#{some.place}"},
                "listing": {"S": records.text(some)},
                "expires": expiry(self._now() + self._retention_ms),
            }
            self._table.put(item)
        # The folder is due earlier, and not yet: then its worker will read it. That holds
        # though it may be made due even earlier, and be handled, by now: a folder is due when
        # something in its list is, which stays there; so who handles it makes it due then at last.
        if self._now() + SKEW_MS < self._known_due(group.folder_id) <= group.due:
            return
        now = self._now()
        self._know(group.folder_id, self._watch(group), now)

    def _known_due(self, folder_id: str) -> int:
        """When a folder is due (epoch ms), as far as this worker knows; 0: it does not."""
        due, until = self._known.get(folder_id, (0, 0))
        return due if self._now() < until else 0

    def _know(self, folder_id: str, due: int, since: int) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[folder_id] = due, since + KNOWN_MS

    def _watch(self, group: WaitingGroup) -> int:
        """Make the folder due at the group's deadline; when it is due (epoch ms).

        Whoever was handed the folder may make it due later, or never, at any moment: so only while
        nobody has it is it made due earlier, and its time relied on.
        """
        pk, touch = f"folder#{group.folder_id}", "ADD revision :one"
        values: Item = {"one": {"N": "1"}}
        later = due_at(Due(DueKind.FOLDERS, group.folder_id, group.due))
        try:
            self._table.update(
                pk,
                "folder",
                f"SET due = :due, due_shard = :due_shard REMOVE expires {touch}",
                values | later,
                "attribute_not_exists(due) OR due > :due AND attribute_not_exists(due_since)",
            )
        except ConditionFailed as failed:
            [current] = failed.items
            due = _due(current or later)
            if due <= self._now() + SKEW_MS:  # a worker may be handling the folder just now
                try:
                    handed_out = "attribute_exists(due_since) OR due <= :due"
                    self._table.update(
                        pk, "folder", touch, values | {"due": later["due"]}, handed_out
                    )
                except ConditionFailed:  # it has finished without having seen this group
                    return self._watch(group)
            return due
        return group.due

    def get(self, folder_id: str) -> Folder | None:
        """The current folder (a consistent read)."""
        item = self._table.get(f"folder#{folder_id}", "folder")
        if item is None:
            return None
        due = _due(item) if "due" in item else None
        done = item.get("done", {"S": ""})["S"]
        parked = records.read_list(OverdueFiles, item["parked"]["S"]) if "parked" in item else ()
        return Folder(folder_id, due, done, int(item["revision"]["N"]), tuple(parked))

    def advance(self, old: Folder, new: Folder) -> None:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        item: Item = {
            "pk": {"S": f"folder#{new.folder_id}"},
            "sk": {"S": "folder"},
            "done": {"S": new.done},
            "revision": {"N": str(new.revision)},
        }
        if new.parked:
            item["parked"] = {"S": records.listed(new.parked)}
        if new.due is None:
            item["expires"] = expiry(self._now() + 2 * self._retention_ms)  # longer than its list
        else:
            item |= due_at(Due(DueKind.FOLDERS, new.folder_id, new.due))
        try:
            self._table.put(item, revision(old.revision))
        except ConditionFailed:
            raise LeaseLost("more files came just now", external_id=old.folder_id) from None

    def remember(self, old: Folder, parked: Sequence[OverdueFiles]) -> None:
        """Have it remember these instead of `old.parked`; raises as `advance`.

        Whoever was handed the folder keeps it.
        """
        pk, how = f"folder#{old.folder_id}", "SET parked = :parked ADD revision :one"
        values: Item = {
            "parked": {"S": records.listed(parked)},
            "one": {"N": "1"},
            "revision": {"N": str(old.revision)},
        }
        try:
            self._table.update(pk, "folder", how, values, "revision = :revision")
        except ConditionFailed:
            raise LeaseLost("more files came just now", external_id=old.folder_id) from None

    def waiting(
        self, folder_id: str, after: str, until: str, at_once: int | None = None
    ) -> Iterator[WaitingGroup]:
        """A folder's list after a place and up to another, so many `at_once` (consistent reads)."""
        items = self._table.query(
            "pk = :pk AND sk BETWEEN :after AND :until",
            {
                "pk": {"S": f"folder#{folder_id}"},
                "after": {"S": f"waiting#{after}"},
                "until": {"S": f"waiting#{until}"},
            },
            ConsistentRead=True,
            **({} if at_once is None else {"Limit": at_once}),
        )
        for item in items:
            group = records.read(WaitingGroup, item["listing"]["S"])
            if group.place != after:
                yield group

    def hold(self, folder_id: str, hold: Hold) -> None:
        """Note that a marker of it is worked on, unless a longer hold is known."""
        expires = expiry(hold.until + DAY_MS)
        item: Item = {
            "pk": {"S": f"folder#{folder_id}"},
            "sk": {"S": "marker"},
            "until": {"N": str(hold.until)},
            "grace": {"N": str(hold.grace)},
            "expires": expires,
        }
        # Who takes the same marker a second time must not shorten it.
        longer = {
            "ConditionExpression": "attribute_not_exists(expires) OR expires < :expires",
            "ExpressionAttributeValues": {":expires": expires},
        }
        with suppress(ConditionFailed):
            self._table.put(item, longer)

    def holds(self, folder_ids: Sequence[str]) -> Iterator[Hold]:
        """Those that are known of these folders."""
        for some in batched(folder_ids, KEYS_MAX, strict=False):
            keys = [(f"folder#{folder_id}", "marker") for folder_id in some]
            for item in self._table.get_many(keys, "until", "grace", consistent=True):
                yield Hold(int(item["until"]["N"]), int(item["grace"]["N"]))


def _due(item: Item) -> int:
    """When the folder is due, before any lease of the clock: see `DynamoLedger`."""
    due = item["due_since"] if "due_since" in item else item["due"]
    return int(due["N"])
