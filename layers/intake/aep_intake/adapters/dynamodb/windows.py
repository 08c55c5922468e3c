"""Windows in the ledger's table; see `ledger` for the keys."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count, islice
from threading import local
from typing import Any

from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb.items import aside, claimed_before, due_at, head_moved
from aep_intake.adapters.dynamodb.table import (
    ABSENT,
    ConditionFailed,
    Item,
    Table,
    checking,
    expiry,
    putting,
    revision,
)
from aep_intake.clock.due import Due, DueKind
from aep_intake.grouping import lists
from aep_intake.model import records
from aep_intake.model.errors import (
    LeaseLost,
    LineMoved,
    StorageUnavailable,
    WindowSealed,
)
from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import Claim, WindowPart, claims
from aep_intake.model.windows import Window, WindowStage, in_order

IS_OPEN = {
    "ConditionExpression": "stage = :open",
    "ExpressionAttributeValues": {":open": {"S": WindowStage.OPEN}},
}
IS_UNSEALED = {"ConditionExpression": "attribute_not_exists(sealed)"}
# Transactions hold a gate for milliseconds, but under load one follows another.
GATE_TRIES_MAX = 20
LINE_BYTES_MAX = 16_384  # a key has 1,024 bytes at most, each of them up to six in JSON
OFFSET_BYTES_MAX = 40  # of a part's offset in JSON
# A transaction has 100 items at most: the window or its gate, the list, and claims. The one that
# starts a marker's window also has the marker's two claims, and the head of its folder.
CLAIMS_MAX = 98
CLAIMS_MAX_AT_START = 95
LISTING_BYTES_MAX = 300_000  # an item holds 400 KB


class DynamoWindows:
    """Windows in `table`, and their lists. `claiming` makes the step that claims for an owner.

    `retention_ms`: how long finished windows are stored. Every method raises
    LedgerUnavailable if a request to DynamoDB failed, or may have failed; methods about lists raise
    StorageUnavailable, too. Without `kept`, files are read from the table, and no list is written.
    """

    def __init__(
        self,
        table: Table,
        claiming: Callable[[Claim, str], dict[str, Item]],
        now: Callable[[], int],
        retention_ms: int,
        *,
        kept: StateObjects | None,
    ) -> None:
        self._kept = kept
        self._table = table
        self._claiming = claiming
        self._now = now
        self._retention_ms = retention_ms
        self._opened: dict[str, int] = {}  # the number of gates, by window
        # Each thread uses a gate of its own, so that a worker's threads do not conflict.
        self._gates = count(random.randrange(2**16))  # noqa: S311
        self._mine = local()

    def open(self, window: Window) -> Window:
        """Put `window` if it is absent. A worker that knows it exists does not ask again."""
        gates = self._opened.get(window.window_id)
        if gates is not None:
            return replace(window, gates=gates)
        try:
            self._table.put(self._item(window), ABSENT)
        except ConditionFailed as failed:
            [current] = failed.items
            window = _window(current or {})
        self._opened[window.window_id] = window.gates
        return window

    def get(self, window_id: str) -> Window | None:
        """The current window (a consistent read)."""
        item = self._table.get(f"window#{window_id}", "window")
        return None if item is None else _window(item)

    def replace(self, old: Window, new: Window) -> Window:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        try:
            self._table.put(self._item(new), revision(old.revision))
        except ConditionFailed as failed:
            [current] = failed.items
            if current is None or _window(current) != new:  # as in `DynamoLedger.replace`
                raise LeaseLost("another worker took over", external_id=old.window_id) from None
        return new

    def transactions(
        self, files: Iterable[Arrival], *, at_start: bool = False
    ) -> Iterator[tuple[Arrival, ...]]:
        """The files in their order, as many at a time as one `register` takes, or `start`."""
        claims_max = CLAIMS_MAX_AT_START if at_start else CLAIMS_MAX
        together: list[Arrival] = []
        slots: set[tuple[str, str]] = set()
        size = 0
        for file in files:
            wanted = {(claim.object_id, claim.slot) for claim in claims(file)}
            length = 6 * (len(file.key) + len(file.version)) + 300
            full = len(slots) + len(wanted) > claims_max or size + length > LISTING_BYTES_MAX
            # A transaction may not name an item twice, as the same bytes, uploaded twice, would.
            if together and (full or slots & wanted):
                yield tuple(together)
                together, slots, size = [], set(), 0
            together.append(file)
            slots |= wanted
            size += length
        if together:
            yield tuple(together)

    def start(
        self, window: Window, marker: Arrival, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> bool:
        """As `register`, with the window itself, the marker's claim, and the folder's head.

        False if the window exists. Raises AlreadyClaimed or LineMoved.
        """
        wanted = [c for file in (marker, *free) for c in claims(file)]
        heads = head_moved(window.order.lineage, window.part_id(0), marker.uri)
        try:
            self._table.transact(
                putting(self._item(window), ABSENT),
                putting(self._listing(window, files), ABSENT),
                *heads,
                *(self._claiming(claim, window.window_id) for claim in wanted),
            )
        except ConditionFailed as failed:
            current, _, *others = failed.items
            if current is not None:
                return False
            if any(owners := others[len(heads) :]):
                raise claimed_before(wanted, owners, window.window_id) from None
            raise LineMoved(
                "another marker of the folder came just now", external_id=window.window_id
            ) from None
        return True

    def newest_of(self, folder: str) -> str | None:
        """The id of the newest window of a folder (a consistent read)."""
        item = self._table.get(f"quiet#{folder}", "quiet")
        return None if item is None else item["window_id"]["S"]

    def begin(self, window: Window, before: str | None, files: tuple[Arrival, ...]) -> bool:
        """As `register`, with the window itself, which becomes the newest of its folder.

        False if the window exists. Raises AlreadyClaimed or LineMoved.
        """
        wanted = [claim for file in files for claim in claims(file)]
        newest: Item = {
            "pk": {"S": f"quiet#{window.folder}"},
            "sk": {"S": "quiet"},
            "window_id": {"S": window.window_id},
            "expires": expiry(self._now() + 2 * self._retention_ms),
        }
        # DynamoDB may have deleted what has expired.
        unmoved: dict[str, Any] = ABSENT
        if before is not None:
            unmoved = {
                "ConditionExpression": "attribute_not_exists(pk) OR window_id = :before",
                "ExpressionAttributeValues": {":before": {"S": before}},
            }
        try:
            self._table.transact(
                putting(self._item(window), ABSENT),
                putting(self._listing(window, files), ABSENT),
                putting(newest, unmoved),
                *(self._claiming(claim, window.window_id) for claim in wanted),
            )
        except ConditionFailed as failed:
            current, _, _, *owners = failed.items
            if any(owners):
                raise claimed_before(wanted, owners, window.window_id) from None
            if current is not None:
                return False
            raise LineMoved(
                "another window of the folder was opened just now", external_id=window.window_id
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
            # Otherwise this very list of files exists: the registration was done before.

    def freeze(self, window: Window) -> None:
        """Seal its gates one by one: a transaction of all would never succeed under load."""
        expires = expiry(self._now() + 2 * self._retention_ms)
        values = {"sealed": {"BOOL": True}, "expires": expires}
        for number in range(window.gates):
            self._table.update(
                f"window#{window.window_id}",
                _gate(number),
                "SET sealed = :sealed, expires = :expires",
                values,
                tries=GATE_TRIES_MAX,
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
        """Record in this window's claim of `file` which version supersedes it."""
        claim, *_ = claims(file)
        with suppress(ConditionFailed):  # an earlier window has the claim
            self._table.update(
                f"object#{claim.object_id}",
                claim.slot,
                "SET superseded_by = :by, batch_id = :batch_id",
                {"by": {"S": by}, "window": {"S": window_id}} | aside(claim.object_id, self._now()),
                "external_id = :window",
            )

    def keep(self, window: Window, lines: Iterable[bytes]) -> Window:
        """Write the list of a planned window, unless it exists; the window as it is then stored."""
        if self._kept is None or window.key is None:
            raise StorageUnavailable("there is no place for lists", external_id=window.window_id)
        # Padding gives the first line a length that does not depend on the offsets in it.
        room = len(records.text(window).encode()) + OFFSET_BYTES_MAX * len(window.parts)
        parts = tuple(replace(part, offset=part.offset + room + 1) for part in window.parts)
        written = replace(window, parts=parts)
        head = records.text(written).encode().ljust(room) + b"\n"
        if self._kept.put(window.key, chain([head], lines)):
            return written
        return records.read(Window, self._kept.head(window.key).decode())

    def files(self, part: WindowPart) -> tuple[Arrival, ...]:
        """The files of a part, from its window's list."""
        if part.key is None:
            return self.registered(part.window_id)[part.first : part.end]
        return lists.that_count(self._lines(part))

    def versions(self, part: WindowPart) -> Iterable[Arrival]:
        """The same, with the versions that newer ones supersede."""
        if part.key is None:
            return self.files(part)
        return (file for file, _ in lists.read(self._lines(part)))

    def _lines(self, part: WindowPart) -> Iterable[bytes]:
        if self._kept is not None and part.key is not None:
            found = self._kept.read(part.key, part.offset, part.offset + part.length)
            if found is not None:
                return found.splitlines()
        # The state bucket deletes lists before the ledger deletes their windows.
        known = lists.versions(lists.in_lines(self.joined(part.window_id)))
        return (line for seen in islice(known, part.first, part.end) for line in seen.lines)

    def part_of(self, window: Window, bucket: str, key: str, version: str) -> int | None:
        """The number of the part with a version of an object."""
        if window.key is None or self._kept is None:
            files = enumerate(self.registered(window.window_id))
            named = (n for n, f in files if (f.bucket, f.key, f.version) == (bucket, key, version))
            at = next(named, -1)
            holding = (n for n, part in enumerate(window.parts) if part.first <= at < part.end)
            return next(holding, None)
        name, beginning = window.key, lists.beginning(bucket, key)

        def first(part: WindowPart) -> bytes:
            found = self._kept and self._kept.read(name, part.offset, part.offset + LINE_BYTES_MAX)
            return (found or b"")[: len(beginning)]

        number = bisect_right(window.parts, beginning, key=first) - 1
        return number if number >= 0 else None

    def registered(self, window_id: str) -> tuple[Arrival, ...]:
        """All files of a window, `in_order`, as releases without lists planned them."""
        return in_order(self.joined(window_id))

    def claim(self, window: Window, file: Arrival, superseded_by: str | None) -> None:
        """Claim a file of a list again, unless another order or window has claimed it."""
        for claim in claims(file):
            step = self._claiming(claim, window.window_id)["Put"]
            condition = {name: step[name] for name in step.keys() - {"Item"}}
            with suppress(ConditionFailed):
                self._table.put(step["Item"], condition)
        if superseded_by is not None:
            self.supersede(window.window_id, file, superseded_by)

    def put_back(self, window: Window) -> None:
        """Store a window as its list describes it, unless the restored ledger has its plan.

        No file can join it any more, and its parts are due. Its files are `claim`ed before.
        """
        lineage = window.order.lineage
        if lineage is not None:
            [moved] = head_moved(lineage, window.part_id(0), "")
            newer = {
                "ConditionExpression": "attribute_not_exists(pk) OR #position < :position",
                "ExpressionAttributeNames": {"#position": "position"},
                "ExpressionAttributeValues": {":position": {"S": lineage.position}},
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
        with suppress(ConditionFailed):  # a worker planned it meanwhile, from the same list
            self._table.put(self._item(window), unplanned)

    def _passing(self, window: Window) -> dict[str, Item]:
        """The step that checks this worker's gate.

        DynamoDB cancels one of two transactions that touch an item, even if they only check it:
        with one gate, workers would mostly wait for each other.
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
            "expires": expiry(self._now() + 2 * self._retention_ms + window.length),
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
            return item | {"expires": expiry(self._now() + 2 * self._retention_ms)}
        if window.due is None:
            return item
        return item | due_at(Due(DueKind.WINDOWS, window.window_id, window.due))


def _gate(number: int) -> str:
    return f"gate#{number:02}"


def _window(item: Mapping[str, Any]) -> Window:
    return records.read(Window, item["window"]["S"])
