"""Windows in the ledger's table; see `ledger` for the keys."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count
from threading import local
from typing import Any

from aep_intake.adapters.aws.window_lists import Lists
from aep_intake.adapters.dynamodb.items import claimed_before, due_at, head_moved
from aep_intake.adapters.dynamodb.table import (
    ABSENT,
    ConditionFailed,
    Item,
    Table,
    checking,
    putting,
    revision,
)
from aep_intake.clock.due import Due, DueKind
from aep_intake.grouping import lists
from aep_intake.grouping.windows import Window, WindowStage, in_order
from aep_intake.model import records
from aep_intake.model.errors import (
    LeaseLost,
    LineMoved,
    StorageUnavailable,
    WindowSealed,
)
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import Claim, WindowPart, claims

IS_OPEN = {
    "ConditionExpression": "stage = :open",
    "ExpressionAttributeValues": {":open": {"S": WindowStage.OPEN}},
}
IS_UNSEALED = {"ConditionExpression": "attribute_not_exists(sealed)"}
# Other transactions hold a gate for milliseconds, but they come one after the other.
PATIENCE = 20
LONGEST_LINE = 16_384  # bytes: a key has 1,024 at most, each six times as long in JSON
OFFSET = 40  # bytes of an offset in JSON, at most


class DynamoWindows:
    """Windows in `table`, and their lists. `claiming` makes the step that claims for an owner.

    `retention` in milliseconds: how long finished things are kept. Every method raises
    LedgerUnavailable where DynamoDB does not do what was asked, or nobody knows whether it did;
    what is about lists StorageUnavailable, too. Who has no lists (`kept`) reads what they were made
    of, and makes none.
    """

    def __init__(
        self,
        table: Table,
        claiming: Callable[[Claim, str], dict[str, Item]],
        now: Callable[[], int],
        retention: int,
        *,
        kept: Lists | None,
    ) -> None:
        self._kept = kept
        self._table = table
        self._claiming = claiming
        self._now = now
        self._retention = retention
        self._opened: dict[str, int] = {}  # how many gates each has
        # Each thread keeps to a gate of its own, so that a worker does not meet itself.
        self._gates = count(random.randrange(2**16))  # noqa: S311
        self._mine = local()

    def open(self, window: Window) -> Window:
        """Put `window` if it is absent. A worker that has seen it there does not ask again."""
        gates = self._opened.get(window.window_id)
        if gates is not None:
            return replace(window, gates=gates)
        try:
            self._table.put(self._item(window), ABSENT)
        except ConditionFailed as failed:
            [standing] = failed.items
            window = _window(standing or {})
        self._opened[window.window_id] = window.gates
        return window

    def get(self, window_id: str) -> Window | None:
        """The window as it is now (a consistent read)."""
        item = self._table.get(f"window#{window_id}", "window")
        return None if item is None else _window(item)

    def replace(self, old: Window, new: Window) -> Window:
        """`new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        try:
            self._table.put(self._item(new), revision(old.revision))
        except ConditionFailed as failed:
            [standing] = failed.items
            if standing is None or _window(standing) != new:  # as in `DynamoLedger.replace`
                raise LeaseLost("another worker went on", external_id=old.window_id) from None
        return new

    def start(
        self, window: Window, marker: Arrival, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> bool:
        """As `register`, but with the window itself, the marker's claim, and the folder's head.

        False if the window is there already. Raises AlreadyClaimed or LineMoved.
        """
        wanted = [c for file in (marker, *free) for c in claims(file)]
        heads = head_moved(window.order.line, window.part_id(0), marker.uri)
        try:
            self._table.transact(
                putting(self._item(window), ABSENT),
                putting(self._listing(window, files), ABSENT),
                *heads,
                *(self._claiming(claim, window.window_id) for claim in wanted),
            )
        except ConditionFailed as failed:
            standing, _, *others = failed.items
            if standing is not None:
                return False
            if any(owners := others[len(heads) :]):
                raise claimed_before(wanted, owners, window.window_id) from None
            raise LineMoved(
                "another marker of the folder came just now", external_id=window.window_id
            ) from None
        return True

    def register(
        self, window: Window, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> None:
        """List `files` and claim those of them that are `free`, while this worker's gate is open.

        Raises WindowSealed or AlreadyClaimed.
        """
        wanted = [claim for file in free for claim in claims(file)]
        try:
            self._table.transact(
                self._passing(window),
                putting(self._listing(window, files), ABSENT),
                *(self._claiming(claim, window.window_id) for claim in wanted),
            )
        except ConditionFailed as failed:
            gate, _, *owners = failed.items
            if any(owners):
                raise claimed_before(wanted, owners, window.window_id) from None
            if gate is not None:
                raise WindowSealed("the window is sealed", external_id=window.window_id) from None
            # What stood is the very list: it was written before.

    def freeze(self, window: Window) -> None:
        """Seal its gates one by one: in one transaction that would never go through under load."""
        values = {"sealed": {"BOOL": True}, "expires": self._expires(2 * self._retention)}
        for number in range(window.gates):
            self._table.update(
                f"window#{window.window_id}",
                _gate(number),
                "SET sealed = :sealed, expires = :expires",
                values,
                tries=PATIENCE,
            )

    def joined(self, window_id: str) -> Iterator[Arrival]:
        """All files of a window, some perhaps twice (consistent reads)."""
        items = self._table.query(
            "pk = :pk AND begins_with(sk, :files)",
            {"pk": {"S": f"window#{window_id}"}, "files": {"S": "files#"}},
            ConsistentRead=True,
        )
        return (file for item in items for file in records.read_list(Arrival, item["files"]["S"]))

    def supersede(self, window_id: str, file: Arrival, by: str) -> None:
        """Remember, where this window claims `file`, which version of it stands for it."""
        claim, *_ = claims(file)
        with suppress(ConditionFailed):  # its claim is an earlier window's, which had it, too
            self._table.update(
                f"object#{claim.object_id}",
                claim.slot,
                "SET superseded_by = :by",
                {"by": {"S": by}, "window": {"S": window_id}},
                "external_id = :window",
            )

    def keep(self, window: Window, lines: list[bytes]) -> Window:
        """Write the list of a window that is planned, unless it is there; what stands then."""
        if self._kept is None or window.key is None:
            raise StorageUnavailable("there is no place for lists", external_id=window.window_id)
        # The first line is as long, whatever the offsets are that it tells.
        room = len(records.text(window).encode()) + OFFSET * len(window.parts)
        parts = tuple(replace(part, offset=part.offset + room + 1) for part in window.parts)
        standing = replace(window, parts=parts)
        head = records.text(standing).encode().ljust(room) + b"\n"
        if self._kept.put(window.key, chain([head], lines)):
            return standing
        return records.read(Window, self._kept.head(window.key).decode())

    def files(self, part: WindowPart) -> tuple[Arrival, ...]:
        """The files of a part, as its window's list has them."""
        if part.key is None:
            return self.registered(part.window_id)[part.first : part.end]
        if self._kept is not None:
            found = self._kept.read(part.key, part.offset, part.offset + part.length)
            if found is not None:
                return lists.that_count(found.splitlines())
        # The state bucket forgets earlier than the ledger does.
        lines = lists.in_lines(self.joined(part.window_id))
        return tuple(one.newest for one in lists.versions(lines))[part.first : part.end]

    def part_of(self, window: Window, bucket: str, key: str, version: str) -> int | None:
        """The number of the part that a version of an object is in."""
        if window.key is None or self._kept is None:
            files = enumerate(self.registered(window.window_id))
            named = (n for n, f in files if (f.bucket, f.key, f.version) == (bucket, key, version))
            at = next(named, -1)
            holding = (n for n, part in enumerate(window.parts) if part.first <= at < part.end)
            return next(holding, None)
        name, beginning = window.key, lists.beginning(bucket, key)

        def first(part: WindowPart) -> bytes:
            found = self._kept and self._kept.read(name, part.offset, part.offset + LONGEST_LINE)
            return (found or b"")[: len(beginning)]

        number = bisect_right(window.parts, beginning, key=first) - 1
        return number if number >= 0 else None

    def registered(self, window_id: str) -> tuple[Arrival, ...]:
        """All files of a window, `in_order`, as releases before lists planned them."""
        return in_order(self.joined(window_id))

    def claim(self, window: Window, file: Arrival, superseded_by: str | None) -> None:
        """Claim a file of a list again; one that somebody else has claimed stays theirs."""
        for claim in claims(file):
            step = self._claiming(claim, window.window_id)["Put"]
            condition = {name: step[name] for name in step.keys() - {"Item"}}
            with suppress(ConditionFailed):
                self._table.put(step["Item"], condition)
        if superseded_by is not None:
            self.supersede(window.window_id, file, superseded_by)

    def put_back(self, window: Window) -> None:
        """A window as its list tells of it, in a ledger that has forgotten that it was planned.

        Nothing joins it any more, and its parts are due. Its files are `claim`ed before.
        """
        line = window.order.line
        if line is not None:
            [moved] = head_moved(line, window.part_id(0), "")
            newer = {
                "ConditionExpression": "attribute_not_exists(pk) OR #position < :position",
                "ExpressionAttributeNames": {"#position": "position"},
                "ExpressionAttributeValues": {":position": {"S": line.position}},
            }
            with suppress(ConditionFailed):
                self._table.put(moved["Put"]["Item"], newer)
        unplanned = {
            "ConditionExpression": "attribute_not_exists(pk) OR stage IN (:open, :sealed)",
            "ExpressionAttributeValues": {
                ":open": {"S": WindowStage.OPEN},
                ":sealed": {"S": WindowStage.SEALED},
            },
        }
        with suppress(ConditionFailed):  # a worker planned it meanwhile, by the very list
            self._table.put(self._item(window), unplanned)

    def _passing(self, window: Window) -> dict[str, Item]:
        """The step that checks this worker's gate.

        DynamoDB cancels a transaction that meets another one at an item, be it only checked: at
        one item for all, workers would mostly wait for each other.
        """
        pk = f"window#{window.window_id}"
        if not window.gates:
            return checking(pk, "window", IS_OPEN)
        if not hasattr(self._mine, "number"):
            self._mine.number = next(self._gates)
        return checking(pk, _gate(self._mine.number % window.gates), IS_UNSEALED)

    def _listing(self, window: Window, files: tuple[Arrival, ...]) -> Item:
        return {
            "pk": {"S": f"window#{window.window_id}"},
            "sk": {"S": f"files#{digest(*(file.external_id for file in files))}"},
            "files": {"S": records.listed(files)},
            "expires": self._expires(2 * self._retention + window.length),
        }

    def _item(self, window: Window) -> Item:
        item: Item = {
            "pk": {"S": f"window#{window.window_id}"},
            "sk": {"S": "window"},
            "revision": {"N": str(window.revision)},
            "stage": {"S": window.stage},
            "window": {"S": records.text(window)},
        }
        if window.stage is WindowStage.FINISHED:
            return item | {"expires": self._expires(2 * self._retention)}
        if window.due is None:
            return item
        return item | due_at(Due(DueKind.WINDOWS, window.window_id, window.due))

    def _expires(self, milliseconds: int) -> dict[str, str]:
        return {"N": str((self._now() + milliseconds) // 1000)}


def _gate(number: int) -> str:
    return f"gate#{number:02}"


def _window(item: Mapping[str, Any]) -> Window:
    return records.read(Window, item["window"]["S"])
