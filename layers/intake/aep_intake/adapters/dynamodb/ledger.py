"""The ledger: one DynamoDB table that remembers claims and orders.

| what                      | pk                    | sk                           |
|---------------------------|-----------------------|------------------------------|
| who it is                 | `ledger`              | `identity`                   |
| order (one attempt)       | `order#<external id>` | `order`                      |
| batches made to split it  | `order#<external id>` | `split`                      |
| claim of a version        | `object#<object id>`  | `claim#<hash of version>`    |
| trace of a content        | `object#<object id>`  | `content#<hash of etag>`     |
| rejection without a claim | `object#<object id>`  | `rejected#<hash of version>` |
| what became of it besides | `object#<object id>`  | `noted#<hash of version>`    |
| why it is tried again     | `object#<object id>`  | `retried#<hash of version>`  |
| head of an object, folder | `head#<its hash>`     | `head`                       |
| window                    | `window#<window id>`  | `window`                     |
| files that joined it      | `window#<window id>`  | `files#<hash of files>`      |
| gate, once it is sealed   | `window#<window id>`  | `gate#<number>`              |
| batches made for Profile  | `made#<day>`          | `<hour>#<org.>#<sandbox>`    |
| and how many should be    | `made#limit`          | `limit`                      |
| made of a lookup dataset  | `made#lookup#<day>`   | `<hour>#…#<dataset id>`      |
| newest window of a folder | `quiet#<its hash>`    | `quiet`                      |
| newest marker of a folder | `marked#<its hash>`   | `marked`                     |
| folder where files wait   | `folder#<folder id>`  | `folder`                     |
| files that wait together  | `folder#<folder id>`  | `waiting#<due>-<their hash>` |
| a marker in work there    | `folder#<folder id>`  | `marker`                     |
| delivery of a batch       | `delivery#<ext. id>`  | `delivery`                   |
| what became of a piece    | `delivery#<ext. id>`  | `piece#<number>`             |
| how many pieces are done  | `delivery#<ext. id>`  | `count`                      |
| parts of a file sent      | `delivery#<ext. id>`  | `progress#<number>`          |
| bytes sent to AEP         | `sent#<hour>`         | `<organization>`             |
| counts of an hour         | `counts#<day>`        | `<hour>`                     |
| what is parked            | `parked#<shard>`      | `<hash of its place>`        |
| what somebody discarded   | `discarded#<shard>`   | `<hash of its place>`        |
| bucket that is connected  | `connected`           | `<bucket>`                   |
| backfill                  | `backfills`           | `<id>`                       |
| pause                     | `paused`              | `route#…`, `dataset#…` …     |
| comparison with S3, AEP   | `reconcile`           | `comparison`                 |
| a file that one sent      | `reconcile`           | `sent#<hash of version>`     |
| last file of a route      | `routes`              | `<route>`                    |

One query by `pk` returns all about an object.
Index `due`: `due_shard`, `due` (epoch ms): unfinished work only; spread over shards by kind and,
for orders, by credential (see `lanes`), since a partition of an index takes 1,000 writes a second,
and a full one throttles the table. Orders that a pause keeps back have shards of their own. While
work is handed out, `due` is the end of that lease, and `due_since` its value before.
Index `batch`: `batch_id`, every attempt that got one; and, in places of their own (see `aside`),
what is set aside, by hour, and what is RETRYING. Time to live: `expires` (epoch seconds), never on
a head, on the order that it names, on a connection or a backfill, or on unfinished work. A record
is one JSON string: AEP's answers hold floats, empty strings and more, which DynamoDB's own types
change.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import batched, chain
from threading import Lock
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb import pauses
from aep_intake.adapters.dynamodb.identity import DynamoIdentity
from aep_intake.adapters.dynamodb.items import (
    ANNOUNCED,
    claimed_before,
    due_at,
    head_moved,
    order_shard,
    owned_by,
)
from aep_intake.adapters.dynamodb.objects import DynamoObjects
from aep_intake.adapters.dynamodb.table import (
    ABSENT,
    KEYS_MAX,
    REQUESTS,
    ConditionFailed,
    Item,
    Table,
    adding,
    deleting,
    expiry,
    putting,
    revision,
)
from aep_intake.clock.due import Due, DueKind
from aep_intake.model import records
from aep_intake.model.errors import LeaseLost, LineMoved, NotYet
from aep_intake.model.files import Arrival
from aep_intake.model.orders import LineageHead, Order, WindowPart, claims
from aep_intake.model.progress import Record, Rejection, State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from aep_intake.adapters.dynamodb.due_work import DynamoDueWork
    from aep_intake.adapters.dynamodb.profile_batches import DynamoProfileBatches
    from aep_intake.adapters.dynamodb.waiting_files import DynamoFolders
    from aep_intake.adapters.dynamodb.windows import DynamoWindows


# Files whose claims go in one transaction: up to four items each, of a hundred.
LET_GO = 22


class DynamoLedger(DynamoObjects):
    """The orders in `table`, and with them all that the ledger knows.

    `retention_ms`: how long finished work is stored. `lists` of sealed windows; without them, a
    window's files are read from the table. Every method raises LedgerUnavailable as in
    `DynamoObjects`.
    """

    # A transaction has 100 items at most: the order, a claim for each file, one to spare.
    files_max = 98
    # An item holds 400 KB: the options, the files, and AEP's answer, with the options.
    files_bytes_max = 300_000

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        now: Callable[[], int],
        retention_ms: int,
        *,
        lists: StateObjects | None = None,
    ) -> None:
        super().__init__(Table(client, table), now, retention_ms)
        self._reading = Lock()
        self._read: tuple[WindowPart | None, tuple[Arrival, ...]] = (None, ())
        self._lists = lists
        self.identity = DynamoIdentity(self._table, table, now)
        self.pauses = pauses.DynamoPauses(self._table, now)

    @cached_property
    def windows(self) -> "DynamoWindows":
        """Windows; deliveries and most requests have none."""
        from aep_intake.adapters.dynamodb.windows import DynamoWindows  # noqa: PLC0415

        table, retention_ms, lists = self._table, self._retention_ms, self._lists
        return DynamoWindows(table, self._claiming, self._now, retention_ms, kept=lists)

    @cached_property
    def folders(self) -> "DynamoFolders":
        """Folders where files wait for a marker; deliveries and requests have none."""
        from aep_intake.adapters.dynamodb.waiting_files import DynamoFolders  # noqa: PLC0415

        return DynamoFolders(self._table, self._now, self._retention_ms)

    @cached_property
    def due_work(self) -> "DynamoDueWork":
        """What is due, of every kind; only the clock asks for it."""
        from aep_intake.adapters.dynamodb.due_work import DynamoDueWork  # noqa: PLC0415

        return DynamoDueWork(self._table)

    @cached_property
    def profile_batches(self) -> "DynamoProfileBatches":
        """How many batches were made for Profile; few datasets feed it."""
        from aep_intake.adapters.dynamodb.profile_batches import (  # noqa: PLC0415
            DynamoProfileBatches,
        )

        return DynamoProfileBatches(self._table, self._now, self._retention_ms)

    def open(self, record: Record) -> Record:
        """Put `record` and its claims, all or nothing; or return the record that exists.

        Moves the head of the order's lineage. Raises AlreadyClaimed if the order is new and other
        orders hold some of its files, and LineMoved if another order has become the head.
        """
        order, wanted = record.order, record.order.claims
        # A marker's window moved the head to its part when it started.
        uri = order.files[0].uri if order.files else ""
        heads = [] if order.excerpt else head_moved(order.lineage, order.external_id, uri)
        try:
            self._table.transact(
                putting(self._order_item(record), ABSENT),
                *heads,
                *(self._claiming(claim, order.external_id) for claim in wanted),
            )
        except ConditionFailed as failed:
            current, *others = failed.items
            if current is not None:
                return _record(current)
            if any(owners := others[len(heads) :]):
                raise claimed_before(wanted, owners, order.external_id) from None
            raise LineMoved(
                "another version came just now", external_id=order.external_id
            ) from None
        return record

    def head(self, subject: str) -> LineageHead | None:
        """The newest order of a lineage (a consistent read)."""
        item = self._table.get(f"head#{subject}", "head")
        if item is None:
            return None
        time = int(item["time"]["N"]) if "time" in item else 0
        return LineageHead(item["external_id"]["S"], item["position"]["S"], time)

    def get(self, external_id: str) -> Record | None:
        """The current record (a consistent read)."""
        item = self._table.get(f"order#{external_id}", "order")
        return None if item is None else _record(item)

    def replace(self, old: Record, new: Record) -> Record:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""
        try:
            self._table.put(self._order_item(new), revision(old.revision))
        except ConditionFailed as failed:
            [current] = failed.items
            # boto3 repeats a request whose answer was lost, and then fails on its own first try.
            if current is None or _record(current) != new:
                raise _lost(old) from None
        few = new.order.profile or new.order.lookup  # Adobe advises so
        if new.state is State.CREATED and old.state is State.OPEN and few:
            self.profile_batches.count(new.order)
        return new

    def hand_over(self, old: Record, new: Record, due: int) -> Record:
        """As `replace`, and record the delivery of its batch, which is due at `due` (epoch ms)."""
        external_id = new.order.external_id
        delivery: Item = {
            "pk": {"S": f"delivery#{external_id}"},
            "sk": {"S": "delivery"},
            "stage": {"S": ANNOUNCED},
        }
        try:
            self._table.transact(
                putting(self._order_item(new), revision(old.revision)),
                putting(delivery | due_at(Due(DueKind.DELIVERIES, external_id, due)), ABSENT),
            )
        except ConditionFailed as failed:
            current, delivery_now = failed.items
            if current is None and delivery_now is not None:  # an earlier release started it
                return self.replace(old, new)
            if current is None or _record(current) != new:
                raise _lost(old) from None
        return new

    def release(self, old: Record, new: Record) -> Record:
        """As `replace`, and delete the claims; record the rejection of each file."""
        if new.rejection is not None:
            for file in old.order.selected(old.order.files):
                self.reject(file, new.rejection, old.order.external_id)
        ours = owned_by(old.order.external_id)
        # A copy goes on to stand for the version that may have been told so.
        claimed = [claim for claim in old.order.claims if claim.same_as is None]
        while True:
            try:
                self._table.transact(
                    putting(self._order_item(new), revision(old.revision)),
                    *(deleting(f"object#{c.object_id}", c.slot, ours) for c in claimed),
                )
            except ConditionFailed as failed:
                _, *others = failed.items
                # Another event of the same content overwrote our trace, which stays.
                rest = [c for c, other in zip(claimed, others, strict=True) if other is None]
                if len(rest) == len(claimed):
                    raise _lost(old) from None
                claimed = rest
            else:
                return new

    def let_go(self, order: Order, lost: Mapping[Arrival, Rejection]) -> None:
        """Delete the order's claims of lost files, if it still has them, and record why.

        Deletes their notes, too, so that they may wait for a marker again. May be repeated: claims
        that another order has put meanwhile stay.
        """
        ours = owned_by(order.claimant)
        for group in batched(lost.items(), LET_GO, strict=False):
            steps: dict[tuple[str, str], dict[str, Item]] = {}
            for file, why in group:
                about = self._rejection(file, why, order.external_id) | {"lost": {"BOOL": True}}
                noted = self._noted_at(file)
                steps[about["pk"]["S"], about["sk"]["S"]] = putting(about, {})
                steps[noted] = deleting(*noted, {})
                # Of two files of one content the trace is one. A copy stands on, as in `release`.
                own = claims(replace(file, copy_of=None))
                places = [(f"object#{c.object_id}", c.slot) for c in own]
                steps |= {place: deleting(*place, ours) for place in places}
            while steps:
                try:
                    self._table.transact(*steps.values())
                except ConditionFailed as failed:
                    places = [p for p, item in zip(steps, failed.items, strict=True) if item]
                    steps = {p: step for p, step in steps.items() if p not in places}
                else:
                    break

    def reclaim(self, old: Record, new: Record) -> Record:
        """As `replace`, with the claims again, all or nothing. Raises AlreadyClaimed, too."""
        wanted, external_id = new.order.claims, new.order.external_id
        try:
            self._table.transact(
                putting(self._order_item(new), revision(old.revision)),
                *(self._claiming(claim, external_id) for claim in wanted),
            )
        except ConditionFailed as failed:
            _, *owners = failed.items
            if any(owners):
                raise claimed_before(wanted, owners, external_id) from None
            raise _lost(old) from None
        return new

    def open_next_attempt(self, ended: Record, following: Record) -> Record:
        """Put the ended attempt and the following one in one transaction. Raises LeaseLost."""
        try:
            self._table.transact(
                putting(self._order_item(ended), revision(ended.revision - 1)),
                putting(self._order_item(following), ABSENT),
            )
        except ConditionFailed:
            raise _lost(ended) from None
        return following

    def split(self, ended: Record, *following: Record) -> bool:
        """As `open_next_attempt`, with any number of followers: it may be no other one's follower.

        They are counted. False, and nothing is done, if they are more than the `split_batches` of
        their list allow. Raises LeaseLost.
        """
        order, number = ended.order, len(following)
        steps = [
            putting(self._order_item(ended), revision(ended.revision - 1)),
            *(putting(self._order_item(record), ABSENT) for record in following),
        ]
        if number:
            expires = expiry(self._now() + 2 * self._retention_ms)
            pk = f"order#{order.origin}"
            steps.append(adding(pk, "split", number, expires, order.split_batches))
        try:
            self._table.transact(*steps)
        except ConditionFailed as failed:
            if number and failed.items[-1] is not None and not any(failed.items[:-1]):
                return False
            raise _lost(ended) from None
        return True

    def files(self, order: Order) -> tuple[Arrival, ...]:
        """The files of an order; those of a part are in its window's list.

        Raises StorageUnavailable, too.
        """
        part = order.excerpt
        if part is None:
            return order.selected(order.files)
        with self._reading:  # each step of an order asks again, and a list never changes
            if self._read[0] != part:
                self._read = (part, self.windows.files(part))
            return order.selected(self._read[1])

    def renew(self, order: Order, end: int) -> None:
        """Keep the claims of an order's files for longer, and its window with its list.

        Raises NotYet at its `end` (epoch ms): who comes next goes on. Raises StorageUnavailable.
        """
        until, part = self._now() + 2 * self._retention_ms, order.excerpt
        files: Iterable[Arrival] = order.files
        if part is not None:
            window = self.windows.get(part.window_id)
            marker = () if window is None or window.marker is None else (window.marker,)
            files = chain(marker, self.windows.versions(part))
        places = {(f"object#{c.object_id}", c.slot) for file in files for c in claims(file)}
        if part is not None:
            pk = {"pk": {"S": f"window#{part.window_id}"}}
            listed = self._table.query("pk = :pk", pk, ProjectionExpression="pk, sk")
            places |= {(item["pk"]["S"], item["sk"]["S"]) for item in listed}
        # Another part of the window, or a worker that died, may have renewed some already.
        soon = (until - self._retention_ms // 4) // 1000

        def keep(some: tuple[tuple[str, str], ...]) -> None:
            for item in self._table.get_many(some, "expires") if self._now() < end else ():
                if 0 < _expires(item) < soon and self._now() < end:
                    place, expires = (item["pk"]["S"], item["sk"]["S"]), {"expires": expiry(until)}
                    how = "SET expires = :expires"
                    with suppress(ConditionFailed):  # it is gone
                        self._table.update(*place, how, expires, "attribute_exists(expires)")

        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(keep, batched(places, KEYS_MAX, strict=False)))
        if self._now() >= end:
            raise NotYet(
                "its claims are kept for longer, in several steps",
                retry_after=0,
                external_id=order.external_id,
            )

    def of_batch(self, batch_id: str) -> Record | None:
        """The record with this batch. The index follows the table within about a second."""
        found = self._table.query("batch_id = :id", {"id": {"S": batch_id}}, IndexName="batch")
        for item in found:
            return self.get(item["pk"]["S"].removeprefix("order#"))
        return None

    def _order_item(self, record: Record) -> Item:
        external_id = record.order.external_id
        item: Item = {
            "pk": {"S": f"order#{external_id}"},
            "sk": {"S": "order"},
            "revision": {"N": str(record.revision)},
            "state": {"S": record.state},
            "record": {"S": records.text(record)},
        }
        if record.batch_id is not None:
            item["batch_id"] = {"S": record.batch_id}
        if record.due is not None:
            shard = order_shard(external_id, record.order.target.credential)
            if record.paused is not None:
                shard = pauses.shard_of(record.order, record.paused)
            item |= due_at(Due(DueKind.ORDERS, external_id, record.due, shard))
        elif record.order.lineage is None or record.replaced_by is not None:
            item["expires"] = expiry(self._now() + self._retention_ms)
        return item


def _expires(item: Item) -> int:
    """When an item expires (epoch seconds); 0: never."""
    return int(item["expires"]["N"]) if "expires" in item else 0


def _record(item: Mapping[str, Any]) -> Record:
    return records.read(Record, item["record"]["S"])


def _lost(record: Record) -> LeaseLost:
    return LeaseLost("another worker took over", external_id=record.order.external_id)
