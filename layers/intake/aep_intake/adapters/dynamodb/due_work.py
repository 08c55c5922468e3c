"""Due work of every kind, found by the index `due`; see `ledger` for the keys."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice

from aep_intake.adapters.dynamodb.items import due_at, lanes
from aep_intake.adapters.dynamodb.table import REQUESTS, ConditionFailed, Table
from aep_intake.clock.due import Due, DueKind, fair

# The beginning of `pk` by kind of due work; its `sk` is the same word.
PREFIXES: Mapping[DueKind, str] = {
    DueKind.ORDERS: "order",
    DueKind.WINDOWS: "window",
    DueKind.FOLDERS: "folder",
    DueKind.DELIVERIES: "delivery",
}
KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}


class DynamoDueWork:
    """Due work in `table`. Every method raises LedgerUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def due(self, kind: DueKind, now: int, limit: int) -> list[Due]:
        """The due work of a kind, in `fair` order, up to `limit` (from an index: a second old)."""
        by_lane = lanes(kind)
        shards = list(chain.from_iterable(by_lane))
        with ThreadPoolExecutor(min(len(shards), REQUESTS)) as pool:
            found = pool.map(
                lambda shard: list(islice(self._in(shard, kind, now, limit), limit)), shards
            )
            due_in = dict(zip(shards, found, strict=True))
        return fair((chain.from_iterable(map(due_in.__getitem__, one)) for one in by_lane), limit)

    def _in(self, shard: str, kind: DueKind, now: int, limit: int) -> Iterator[Due]:
        for item in self._table.query(
            "due_shard = :shard AND due <= :now",
            {"shard": {"S": shard}, "now": {"N": str(now)}},
            IndexName="due",
            Limit=limit,
        ):
            prefix, _, name = item["pk"]["S"].partition("#")
            due = Due(KINDS[prefix], name, int(item["due"]["N"]))
            if due.kind is kind:
                yield replace(due, shard=shard)
            else:  # of a release in which all kinds shared all shards
                self._move(due, due.when)

    def lease(self, due: Due, until: int) -> int | None:
        """Make it due again at `until` (epoch ms); None if somebody moved it meanwhile.

        Returns since when it is due (epoch ms) by its owner's word, before any lease. The owner's
        next write, of the whole item, ends the lease.
        """
        return self._move(due, until)

    def _move(self, due: Due, when: int) -> int | None:
        prefix = PREFIXES[due.kind]
        try:
            moved = self._table.update(
                f"{prefix}#{due.id}",
                prefix,
                "SET due = :due, due_shard = :due_shard, "
                "due_since = if_not_exists(due_since, :known)",
                {"known": {"N": str(due.when)}, **due_at(replace(due, when=when))},
                "due = :known",
            )
        except ConditionFailed:
            return None
        return int(moved["due_since"]["N"])
