"""Windows in the ledger's table; see `ledger` for the keys."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aep_intake.adapters.table import ABSENT, Item, Stood, Table, checking, putting, revision
from aep_intake.arrivals import Arrival, digest
from aep_intake.errors import AlreadyClaimed, LeaseLost, WindowSealed
from aep_intake.orders import Claim, Excerpt, Order, Target, claims
from aep_intake.windows import Stage, Window, in_order

SHARDS = 8
IS_OPEN = {
    "ConditionExpression": "stage = :open",
    "ExpressionAttributeValues": {":open": {"S": Stage.OPEN}},
}


class DynamoWindows:
    """Windows in `table`. `claiming` makes the step that claims for an owner.

    `retention` in milliseconds: how long finished things are kept. Every method raises
    LedgerUnavailable where DynamoDB does not do what was asked, or nobody knows whether it did.
    """

    def __init__(
        self,
        table: Table,
        claiming: Callable[[Claim, str], dict[str, Item]],
        now: Callable[[], int],
        retention: int,
    ) -> None:
        self._table = table
        self._claiming = claiming
        self._now = now
        self._retention = retention
        self._opened: set[str] = set()

    def open(self, window: Window) -> Window:
        """Put `window` if it is absent. A worker that has seen it there does not ask again."""
        if window.window_id not in self._opened:
            try:
                self._table.put(self._item(window), ABSENT)
            except Stood as stood:
                [standing] = stood.items
                window = _window(standing or {})
            self._opened.add(window.window_id)
        return window

    def get(self, window_id: str) -> Window | None:
        """The window as it is now (a consistent read)."""
        item = self._table.get(f"window#{window_id}", "window")
        return None if item is None else _window(item)

    def replace(self, old: Window, new: Window) -> Window:
        """`new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        try:
            self._table.put(self._item(new), revision(old.revision))
        except Stood as stood:
            [standing] = stood.items
            if standing is None or _window(standing) != new:  # as in `DynamoLedger.replace`
                raise LeaseLost("another worker went on", external_id=old.window_id) from None
        return new

    def register(self, window: Window, files: tuple[Arrival, ...]) -> None:
        """Claim and list `files`, all or nothing, while `window` is open.

        Raises WindowSealed or AlreadyClaimed.
        """
        key, wanted = f"window#{window.window_id}", [c for file in files for c in claims(file)]
        listing = {
            "pk": {"S": key},
            "sk": {"S": f"files#{digest(*(file.external_id for file in files))}"},
            "files": {"S": _compact([asdict(file) for file in files])},
            "expires": self._expires(2 * self._retention + window.length),
        }
        try:
            self._table.transact(
                checking(key, "window", IS_OPEN),
                putting(listing, ABSENT),
                *(self._claiming(claim, window.window_id) for claim in wanted),
            )
        except Stood as stood:
            _, _, *owners = stood.items
            if any(owners):
                raise claimed_before(wanted, owners, window.window_id) from None
            raise WindowSealed("the window is sealed", external_id=window.window_id) from None

    def registered(self, window_id: str) -> tuple[Arrival, ...]:
        """All files of a window, `in_order` (consistent reads)."""
        items = self._table.query(
            "pk = :pk AND begins_with(sk, :files)",
            {"pk": {"S": f"window#{window_id}"}, "files": {"S": "files#"}},
            ConsistentRead=True,
        )
        return in_order(
            Arrival(**file) for item in items for file in json.loads(item["files"]["S"])
        )

    def _item(self, window: Window) -> Item:
        item: Item = {
            "pk": {"S": f"window#{window.window_id}"},
            "sk": {"S": "window"},
            "revision": {"N": str(window.revision)},
            "stage": {"S": window.stage},
            "window": {"S": _compact(asdict(window))},
        }
        if window.due is None:
            return item | {"expires": self._expires(2 * self._retention)}
        return item | due_at(window.due, window.window_id)

    def _expires(self, milliseconds: int) -> dict[str, str]:
        return {"N": str((self._now() + milliseconds) // 1000)}


def due_at(due: int, external_id: str) -> Item:
    """The attributes of the index `due`."""
    shard = int(digest(external_id), 16) % SHARDS
    return {"due": {"N": str(due)}, "due_shard": {"S": str(shard)}}


def order_of(data: dict[str, Any]) -> Order:
    """An order as it was written."""
    target, files, excerpt = data.pop("target"), data.pop("files"), data.pop("excerpt", None)
    return Order(
        target=Target(**target),
        files=tuple(Arrival(**file) for file in files),
        excerpt=None if excerpt is None else Excerpt(**excerpt),
        **data,
    )


def claimed_before(
    wanted: Sequence[Claim], owners: Sequence[Item | None], external_id: str
) -> AlreadyClaimed:
    """Which of `wanted` stand already, and whose they are."""
    claimed = {
        claim.file: owner["external_id"]["S"]
        for claim, owner in zip(wanted, owners, strict=True)
        if owner is not None
    }
    some = ", ".join(f"{file.uri} ({owner})" for file, owner in list(claimed.items())[:10])
    return AlreadyClaimed(f"other orders hold {some}", claimed=claimed, external_id=external_id)


def _window(item: Mapping[str, Any]) -> Window:
    data = json.loads(item["window"]["S"])
    order, parts, stage = data.pop("order"), data.pop("parts"), data.pop("stage")
    return Window(
        order=order_of(order),
        parts=tuple(Excerpt(**part) for part in parts),
        stage=Stage(stage),
        **data,
    )


def _compact(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
