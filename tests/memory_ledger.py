"""The ledger in memory: passes the same contract tests as the one in DynamoDB."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Protocol, cast

from aep_intake.adapters.dynamodb.due_work import DynamoDueWork
from aep_intake.adapters.dynamodb.pauses import shard_of
from aep_intake.adapters.dynamodb.waiting_files import DynamoFolders
from aep_intake.clock.due import Due, DueKind, DueLedger, fair, lane
from aep_intake.clock.parking import Parked
from aep_intake.create.pace import Full
from aep_intake.delivery.delivery import Delivery, Mark, Progress
from aep_intake.grouping import lists
from aep_intake.model.batches import Target
from aep_intake.model.errors import (
    AlreadyClaimed,
    LeaseLost,
    LedgerUnavailable,
    LineMoved,
    NotYet,
    WindowSealed,
)
from aep_intake.model.files import Arrival
from aep_intake.model.history import (
    NOBODY,
    RETRYING,
    WAITING,
    CountedVersion,
    Folder,
    Seen,
)
from aep_intake.model.orders import (
    Claim,
    LedgerIdentity,
    Lineage,
    LineageHead,
    Order,
    WindowPart,
    claims,
)
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Record, Rejection, State
from aep_intake.model.times import DAY_MS
from aep_intake.model.windows import Window, WindowStage, in_order

from tests.memory_table import MemoryTable

TOGETHER = 90  # files that join a window in one step
RETENTION_MS = 60 * DAY_MS
GATES = 2  # enough for one to be open when the other is sealed


type Unfinished = Window | Folder | Delivery | HandedOver | Record
_STEP = Lock()  # threads may join and seal a window at once


class HasDueWork(Protocol):
    """A ledger, in memory or in DynamoDB."""

    @property
    def due_work(self) -> DueLedger: ...


def all_due(ledger: HasDueWork, now: int) -> list[Due]:
    """Whatever is due, of all classes."""
    return [due for kind in DueKind for due in ledger.due_work.due(kind, now, 10**6)]


def due_of(ledger: HasDueWork, kind: DueKind, now: int) -> dict[str, int]:
    """What is due of a class: since when, by its id."""
    return {due.id: due.when for due in ledger.due_work.due(kind, now, 10**6)}


@dataclass(frozen=True)
class HandedOver:
    """A delivery that has not begun."""

    due: int
    revision: int = 0


class MemoryIdentity:
    """Who the ledger is, which was never restored."""

    def __init__(self) -> None:
        self.known = LedgerIdentity("the ledger")

    def get(self) -> LedgerIdentity:
        return self.known

    def ledger_id(self) -> str:
        return self.known.ledger_id


class MemoryBuckets:
    """As `pace.Buckets`: how they are kept in DynamoDB, in one step. `writes` that it took."""

    def __init__(self) -> None:
        self.full_at: dict[str, float] = {}
        self.writes = 0

    def take(self, name: str, cost: float, now: float, until: float, *, filling: bool) -> float:
        stands = self.full_at.get(name, 0.0)
        self.writes += 1 if (stands > now) is filling else 2
        then = max(stands, now) + cost
        if then > until:
            raise Full(stands)
        self.full_at[name] = then
        return then


class MemoryParked:
    """The items of what is parked, each with its token."""

    def __init__(self) -> None:
        self.items: dict[str, tuple[Parked, str]] = {}
        self.discarded: dict[str, tuple[Parked, str]] = {}
        self._tokens = itertools.count()

    def put(self, parked: Parked) -> bool:
        self.items[parked.id] = parked, f"token-{next(self._tokens)}"
        return True

    def token(self, parked_id: str) -> str | None:
        return self.items[parked_id][1] if parked_id in self.items else None

    def listed(self, _: object, kind: str = "parked") -> list[tuple[Parked, str]]:
        kept = self.items if kind == "parked" else self.discarded
        return list(kept.values())

    def discard(self, parked: Parked, token: str, expires: int) -> None:
        if self.token(parked.id) == token:
            self.discarded[parked.id] = self.items.pop(parked.id)

    def undo_discard(self, parked: Parked) -> None:
        self.items[parked.id] = self.discarded.pop(parked.id)

    def end(self, parked_id: str, token: str) -> None:
        if self.token(parked_id) == token:
            del self.items[parked_id]


class MemoryLedger:
    """Each method is one atomic step, but that gates are sealed one by one.

    `conflict` may say that a transaction meets another; `between` is called between two gates.
    Folders are written as in DynamoDB, into a table in memory.
    """

    files_max = 98
    files_bytes_max = 300_000

    def __init__(
        self,
        conflict: Callable[[], bool] = lambda: False,
        between: Callable[[], object] = lambda: None,
        now: Callable[[], int] = lambda: 0,
    ) -> None:
        self.between = between
        self.records: dict[str, Record] = {}
        self.splits: dict[str, int] = {}  # batches that were made so, by the order that was split
        self.claims: dict[tuple[str, str], tuple[str, bool]] = {}
        self.rejections: dict[tuple[str, str], Rejection] = {}
        self.owners: dict[tuple[str, str], str] = {}  # of rejections
        self.superseded: dict[tuple[str, str], str] = {}  # claims and notes
        self.files_of: dict[tuple[str, str], Arrival] = {}  # claims
        self.same_as: dict[tuple[str, str], str] = {}  # claims of copies
        # Claims of nobody's: what was said, and when.
        self.discarded: dict[tuple[str, str], tuple[str, int]] = {}
        self.noted: dict[tuple[str, str], str] = {}
        self.waits: dict[tuple[str, str], tuple[str, int]] = {}  # of notes
        self.lost: set[tuple[str, str]] = set()  # of rejections
        self.retried: dict[str, list[Seen]] = {}  # notes, by object
        self.marks: dict[str, int] = {}  # of folders
        self.noted_files: dict[tuple[str, str], Arrival] = {}
        # Of claims, rejections and notes: version, route, and which write it was.
        self.written: dict[tuple[str, str], tuple[str, str | None, int]] = {}
        self.heads: dict[str, LineageHead] = {}
        self.table = MemoryTable()  # of folders
        self.folders = DynamoFolders(cast("Any", self.table), now, RETENTION_MS)
        self.profile_batches: dict[tuple[str, ...], int] = {}
        self._conflict = conflict
        self._count = itertools.count(1)
        self.windows = MemoryWindows(self)
        self.identity = MemoryIdentity()
        self.pauses = MemoryPauses(self)
        self.renewed: dict[str, int] = {}  # orders, and when their workers had to stop
        self.deliveries: dict[str, Delivery] = {}
        # Of what is handed out: what its owner had written, and until when it is not due.
        self._leases: dict[tuple[DueKind, str], tuple[tuple[int, int], int]] = {}
        self.handed_over: dict[str, HandedOver] = {}

    @property
    def due_work(self) -> DueLedger:
        return self

    def open(self, record: Record) -> Record:
        self.transaction()
        external_id = record.order.external_id
        if external_id in self.records:
            return self.records[external_id]
        lineage = None if record.order.excerpt else record.order.lineage
        self.claim(record.order.claims, external_id, lineage)
        self.move(lineage, external_id)
        self.records[external_id] = record
        return record

    def head(self, subject: str) -> LineageHead | None:
        return self.heads.get(subject)

    def move(self, lineage: Lineage | None, external_id: str) -> None:
        if lineage is not None:
            self.heads[lineage.subject] = LineageHead(external_id, lineage.position, lineage.time)

    def claim(self, wanted: tuple[Claim, ...], owner: str, lineage: Lineage | None = None) -> None:
        others = [(c, self.claims.get((c.object_id, c.slot), ("", False))) for c in wanted]
        held = [(c, by) for c, (by, requested) in others if by and (c.exclusive or requested)]
        ours = {
            (c.object_id, c.slot)
            for c, by in held
            if by == owner and self.same_as.get((c.object_id, c.slot), "") == c.same_as
        }
        held = [(c, by) for c, by in held if (c.object_id, c.slot) not in ours]
        if claimed := {claim.file: by for claim, by in held if claim.same_as is None}:
            raise AlreadyClaimed("other orders hold files", claimed=claimed)
        if held:
            raise LeaseLost("a version with the same bytes came just now", external_id=owner)
        if lineage is not None:
            head = self.heads.get(lineage.subject)
            if (head and head.external_id) != lineage.predecessor:
                raise LineMoved("another version came just now", external_id=owner)
        for claim in wanted:
            self.claims[claim.object_id, claim.slot] = (owner, claim.file.sequencer is None)
            self.files_of[claim.object_id, claim.slot] = claim.file
            self.same_as.pop((claim.object_id, claim.slot), None)
            if claim.same_as is not None:
                self.same_as[claim.object_id, claim.slot] = claim.same_as
            self._written(claim.object_id, claim.slot, claim.file.version)

    def get(self, external_id: str) -> Record | None:
        return self.records.get(external_id)

    def replace(self, old: Record, new: Record) -> Record:
        external_id = old.order.external_id
        if self.records[external_id].revision != old.revision:
            raise LeaseLost("another worker went on", external_id=external_id)
        if new.state is State.CREATED and old.state is State.OPEN:
            target, order = new.order.target, new.order
            counted = [target.dataset[:2]] if order.profile else []
            for each in [*counted, target.dataset] if order.lookup else counted:
                self.profile_batches[each] = self.profile_batches.get(each, 0) + 1
        self.records[external_id] = new
        return new

    def hand_over(self, old: Record, new: Record, due: int) -> Record:
        self.transaction()
        self.replace(old, new)
        if new.order.external_id not in self.deliveries:
            self.handed_over[new.order.external_id] = HandedOver(due)
        return new

    def release(self, old: Record, new: Record) -> Record:
        if new.rejection is not None:
            for file in old.order.selected(old.order.files):
                self.reject(file, new.rejection, old.order.external_id)
        self.transaction()
        self.replace(old, new)
        for claim in old.order.claims:
            place = (claim.object_id, claim.slot)
            ours = self.claims.get(place, ("", False))[0] == old.order.external_id
            if ours and claim.same_as is None:
                del self.claims[place]
                self.same_as.pop(place, None)
        return new

    def let_go(self, order: Order, lost: Mapping[Arrival, Rejection]) -> None:
        self.transaction()
        for file, why in lost.items():
            self.reject(file, why, order.external_id)
            self.lost.add((file.object_id, file.version))
            self.noted.pop((file.object_id, file.version), None)
            for claim in claims(replace(file, copy_of=None)):
                place = (claim.object_id, claim.slot)
                if self.claims.get(place, ("", False))[0] == order.claimant:
                    del self.claims[place]
                    self.same_as.pop(place, None)

    def reclaim(self, old: Record, new: Record) -> Record:
        self.transaction()
        before = dict(self.claims)
        self.claim(new.order.claims, new.order.external_id)
        try:
            return self.replace(old, new)
        except LeaseLost:
            self.claims = before
            raise

    def open_next_attempt(self, ended: Record, following: Record) -> Record:
        self.transaction()
        external_id = ended.order.external_id
        new = following.order.external_id
        if self.records[external_id].revision != ended.revision - 1 or new in self.records:
            raise LeaseLost("another worker went on", external_id=external_id)
        self.records[external_id] = ended
        self.records[new] = following
        return following

    def split(self, ended: Record, *following: Record) -> bool:
        self.transaction()
        external_id, origin = ended.order.external_id, ended.order.origin
        made = self.splits.get(origin, 0) + len(following)
        new = {record.order.external_id: record for record in following}
        if self.records[external_id].revision != ended.revision - 1 or new.keys() & self.records:
            raise LeaseLost("another worker went on", external_id=external_id)
        if following and made > ended.order.split_batches:
            return False
        if following:
            self.splits[origin] = made
        self.records |= {external_id: ended} | new
        return True

    def files(self, order: Order) -> tuple[Arrival, ...]:
        part = order.excerpt
        return order.selected(order.files if part is None else self.windows.files(part))

    def renew(self, order: Order, end: int) -> None:
        self.renewed[order.external_id] = end

    def reject(self, arrival: Arrival, rejection: Rejection, owner: str | None = None) -> None:
        slot = f"rejected#{arrival.version}"
        self.rejections[arrival.object_id, arrival.version] = rejection
        self.lost.discard((arrival.object_id, arrival.version))
        self.owners[arrival.object_id, slot] = owner or arrival.external_id
        self._written(arrival.object_id, slot, arrival.version)

    def note_waiting(self, arrival: Arrival, route: str, waits_for: str, until: int) -> None:
        if (arrival.object_id, arrival.version) not in self.noted:
            self.note(arrival, WAITING, route)
            self.waits[arrival.object_id, arrival.version] = (waits_for, until)

    def note_retrying(self, arrival: Arrival, why: str, until: int) -> None:
        noted = Seen(arrival.version, noted=RETRYING, time=arrival.time, until=until, trouble=why)
        noted = replace(noted, file=arrival)
        others = [o for o in self.retried.get(arrival.object_id, ()) if o.version != noted.version]
        self.retried[arrival.object_id] = [*others, noted]

    def note_superseded(self, arrival: Arrival, by: str, route: str) -> None:
        self.note(arrival, "superseded", route)
        self.superseded[arrival.object_id, f"noted#{arrival.version}"] = by

    def note(self, arrival: Arrival, what: str, route: str) -> None:
        self.superseded.pop((arrival.object_id, f"noted#{arrival.version}"), None)
        self.waits.pop((arrival.object_id, arrival.version), None)
        self.noted[arrival.object_id, arrival.version] = what
        self.noted_files[arrival.object_id, arrival.version] = arrival
        self._written(arrival.object_id, f"noted#{arrival.version}", arrival.version, route)

    def note_marker_time(self, folder: str, time: int) -> None:
        self.marks[folder] = max(time, self.newest_marker_time(folder))

    def newest_marker_time(self, folder: str) -> int:
        return self.marks.get(folder, 0)

    def claimant(self, arrival: Arrival) -> str | None:
        for claim in claims(replace(arrival, copy_of=None)):
            owner = self.claims.get((claim.object_id, claim.slot))
            if owner is not None and (claim.exclusive or owner[1]):
                return owner[0]
        return None

    def claimants(self, files: Sequence[Arrival]) -> dict[Arrival, str]:
        found = {file: self.claimant(file) for file in files}
        return {file: owner for file, owner in found.items() if owner is not None}

    def counted_versions(self, object_id: str) -> list[CountedVersion]:
        places = {
            self.files_of[place].version: place
            for place, (_, requested) in self.claims.items()
            if place[0] == object_id and (requested or place[1].startswith("claim#"))
        }
        found = []
        for version, place in places.items():
            in_batch, (owner, _) = self.same_as.get(place, version), self.claims[place]
            if place in self.superseded or in_batch not in places:
                continue
            if self.claims[places[in_batch]][0] == owner:
                found.append(CountedVersion(self.files_of[place], owner, in_batch))
        return found

    def seen_and_counted(self, object_id: str) -> tuple[list[Seen], list[CountedVersion]]:
        return self.seen(object_id), self.counted_versions(object_id)

    def claim_copy(self, copy: Arrival, held: CountedVersion) -> bool:
        claim, *_ = claims(copy)
        if (claim.object_id, claim.slot) in self.claims:
            return False
        self.claim((claim,), held.owner)
        self.same_as[claim.object_id, claim.slot] = held.in_batch
        return True

    def discard(self, arrival: Arrival, said: str, at: int) -> bool:
        claim, *content = claims(replace(arrival, copy_of=None))
        free = [each for each in content if (each.object_id, each.slot) not in self.claims]
        self.claim(tuple(free), NOBODY)
        if (claim.object_id, claim.slot) in self.claims:
            return self.claimant(arrival) == NOBODY
        self.claim((claim,), NOBODY)
        self.discarded[claim.object_id, claim.slot] = said, at
        return True

    def undo_discard(self, arrival: Arrival) -> None:
        for claim in claims(replace(arrival, copy_of=None)):
            place = claim.object_id, claim.slot
            if self.claims.get(place, ("",))[0] == NOBODY:
                del self.claims[place]
                self.discarded.pop(place, None)

    def seen(self, object_id: str) -> list[Seen]:
        known = list(self.retried.get(object_id, ()))
        for (place, slot), (owner, requested) in self.claims.items():
            if place == object_id and (requested or slot.startswith("claim#")):
                version, _, number = self.written[place, slot]
                by, same_as = self.superseded.get((place, slot)), self.same_as.get((place, slot))
                time = self.files_of[place, slot].time
                said, time = self.discarded.get((place, slot), (None, time))
                claimed = Seen(version, owner, None, None, None, number, by, same_as, time=time)
                known.append(replace(claimed, discarded=said))
        for (place, version), rejection in self.rejections.items():
            if place == object_id:
                *_, number = self.written[place, f"rejected#{version}"]
                owner = self.owners[place, f"rejected#{version}"]
                lost = (place, version) in self.lost
                known.append(Seen(version, owner, rejection, expires=number, lost=lost))
        for (place, version), what in self.noted.items():
            if place == object_id:
                _, route, number = self.written[place, f"noted#{version}"]
                by = self.superseded.get((place, f"noted#{version}"))
                file = self.noted_files[place, version]
                waits_for, until = self.waits.get((place, version), (None, None))
                known.append(
                    Seen(
                        version,
                        noted=what,
                        route=route,
                        expires=number,
                        superseded_by=by,
                        file=file,
                        time=file.time,
                        waits_for=waits_for,
                        until=until,
                    )
                )
        return known

    def of_batch(self, batch_id: str) -> Record | None:
        return next((r for r in self.records.values() if r.batch_id == batch_id), None)

    def due(self, kind: DueKind, now: int, limit: int) -> list[Due]:
        found = []
        for name, one in self._unfinished(kind).items():
            when = self.when(one, (kind, name))
            paused = isinstance(one, Record) and one.paused is not None
            if when is not None and when <= now and not paused:
                found.append(Due(kind, name, when))
        if not found:
            return []
        lanes: dict[int, list[Due]] = {}
        for due in found:
            of_order = kind is DueKind.ORDERS
            key = lane(self.records[due.id].order.target.credential) if of_order else 0
            lanes.setdefault(key, []).append(due)
        return fair(lanes.values(), limit)

    def lease(self, due: Due, until: int) -> int | None:
        if due.kind is DueKind.FOLDERS:
            return DynamoDueWork(cast("Any", self.table)).lease(due, until)
        one = self._unfinished(due.kind)[due.id]
        if one.due is None or self.when(one, (due.kind, due.id)) != due.when:
            return None
        self._leases[due.kind, due.id] = ((one.revision, one.due), until)
        return one.due

    def when(self, one: Unfinished, of: tuple[DueKind, str]) -> int | None:
        kind, name = of
        if kind is DueKind.FOLDERS:
            item = self.table.items[f"folder#{name}", "folder"]
            return int(item["due"]["N"]) if "due" in item else None
        written, until = self._leases.get(of, (None, 0))
        return until if one.due is not None and written == (one.revision, one.due) else one.due

    def _unfinished(self, kind: DueKind) -> Mapping[str, Unfinished]:
        match kind:
            case DueKind.WINDOWS:
                return self.windows.kept
            case DueKind.FOLDERS:
                names = [pk.partition("#")[2] for pk, sk in self.table.items if sk == "folder"]
                return {name: folder for name in names if (folder := self.folders.get(name))}
            case DueKind.DELIVERIES:
                return {**self.handed_over, **self.deliveries}
            case DueKind.ORDERS:
                return self.records

    def _written(self, object_id: str, slot: str, version: str, route: str | None = None) -> None:
        self.written[object_id, slot] = (version, route, next(self._count))

    def transaction(self) -> None:
        if self._conflict():
            raise LedgerUnavailable("the ledger said TransactionConflict")


class MemoryPauses:
    """Pauses, and the orders of the ledger that they keep back."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self.kept: dict[str, Pause] = {}
        self._ledger = ledger

    def standing(self) -> dict[str, Pause]:
        return {name: pause for name, pause in self.kept.items() if pause.resumed_at is None}

    def all(self) -> list[Pause]:
        return list(self.kept.values())

    def put(self, pause: Pause) -> None:
        self.kept[pause.name] = pause

    def delete(self, pause: Pause) -> bool:
        unchanged = self.kept.get(pause.name) == pause
        if unchanged:
            del self.kept[pause.name]
        return unchanged

    def orders(self, pause: Pause, since: int, limit: int) -> list[Due]:
        found = []
        for name, record in self._ledger.records.items():
            when = self._ledger.when(record, (DueKind.ORDERS, name))
            if record.paused == pause.name and when is not None and when <= since:
                shard = shard_of(record.order, pause.name)
                found.append(Due(DueKind.ORDERS, name, when, shard))
        return fair([found], limit)


class MemoryWindows:
    """Windows, beside the orders and their claims."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self.kept: dict[str, Window] = {}
        self.lists: dict[str, list[tuple[Arrival, ...]]] = {}
        self.sealed: set[tuple[str, int]] = set()  # gates
        self.written: dict[str, tuple[Window, bytes]] = {}  # lists, by key
        self.newest: dict[str, str] = {}  # by folder
        self._ledger = ledger
        self._turns = itertools.count()

    def open(self, window: Window) -> Window:
        return self.kept.setdefault(window.window_id, window)

    def get(self, window_id: str) -> Window | None:
        return self.kept.get(window_id)

    def replace(self, old: Window, new: Window) -> Window:
        if self.kept[old.window_id].revision != old.revision:
            raise LeaseLost("another worker went on", external_id=old.window_id)
        self.kept[old.window_id] = new
        return new

    def transactions(
        self, files: Iterable[Arrival], *, at_start: bool = False
    ) -> Iterator[tuple[Arrival, ...]]:
        return itertools.batched(files, TOGETHER - at_start, strict=False)

    def start(
        self, window: Window, marker: Arrival, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> bool:
        self._ledger.transaction()
        if window.window_id in self.kept:
            return False
        wanted = tuple(claim for file in (marker, *free) for claim in claims(file))
        self._ledger.claim(wanted, window.window_id, window.order.lineage)
        self._ledger.move(window.order.lineage, window.part_id(0))
        self.kept[window.window_id] = window
        self.lists[window.window_id] = [files]
        return True

    def newest_of(self, folder: str) -> str | None:
        return self.newest.get(folder)

    def begin(self, window: Window, before: str | None, files: tuple[Arrival, ...]) -> bool:
        self._ledger.transaction()
        assert window.folder is not None
        wanted = tuple(claim for file in files for claim in claims(file))
        held = dict(self._ledger.claims)
        self._ledger.claim(wanted, window.window_id)
        if window.window_id in self.kept or self.newest.get(window.folder) != before:
            self._ledger.claims = held
            if window.window_id in self.kept:
                return False
            raise LineMoved("another window was opened just now", external_id=window.window_id)
        self.kept[window.window_id] = window
        self.lists[window.window_id] = [files]
        self.newest[window.folder] = window.window_id
        return True

    def register(
        self, window: Window, files: tuple[Arrival, ...], free: tuple[Arrival, ...]
    ) -> None:
        self._ledger.transaction()
        with _STEP:
            if window.gates:
                is_open = (window.window_id, next(self._turns) % GATES) not in self.sealed
            else:
                is_open = self.kept[window.window_id].stage is WindowStage.OPEN
            wanted = tuple(claim for file in free for claim in claims(file))
            before = dict(self._ledger.claims)
            self._ledger.claim(wanted, window.window_id)
            if not is_open:
                self._ledger.claims = before
                raise WindowSealed("the window is sealed", external_id=window.window_id)
            self.lists.setdefault(window.window_id, []).append(files)

    def freeze(self, window: Window) -> None:
        for gate in range(GATES):
            self._ledger.between()
            self._ledger.transaction()
            with _STEP:
                self.sealed.add((window.window_id, gate))

    def joined(self, window_id: str) -> Iterator[Arrival]:
        return (file for some in self.lists.get(window_id, []) for file in some)

    def registered(self, window_id: str) -> tuple[Arrival, ...]:
        return in_order(self.joined(window_id))

    def supersede(self, window_id: str, file: Arrival, by: str) -> None:
        claim, *_ = claims(file)
        place = (claim.object_id, claim.slot)
        if self._ledger.claims[place][0] == window_id:
            self._ledger.superseded[place] = by

    def claim(self, window: Window, file: Arrival, superseded_by: str | None) -> None:
        for claim in claims(file):
            with suppress(AlreadyClaimed):
                self._ledger.claim((claim,), window.window_id)
        if superseded_by is not None:
            self.supersede(window.window_id, file, superseded_by)

    def put_back(self, window: Window) -> None:
        lineage = window.order.lineage
        head = lineage and self._ledger.heads.get(lineage.subject)
        if lineage is not None and (head is None or head.position < lineage.position):
            self._ledger.move(lineage, window.part_id(0))
        self.kept[window.window_id] = window

    def keep(self, window: Window, lines: Iterable[bytes]) -> Window:
        assert window.key is not None
        standing, _ = self.written.setdefault(window.key, (window, b"".join(lines)))
        return standing

    def files(self, part: WindowPart) -> tuple[Arrival, ...]:
        if part.key is None:
            return self.registered(part.window_id)[part.first : part.end]
        _, content = self.written[part.key]
        return lists.that_count(content[part.offset : part.offset + part.length].splitlines())

    def part_of(self, window: Window, bucket: str, key: str, version: str) -> int | None:
        """Whatever the version is where there is a list: all of an object are in one part."""
        for number, excerpt in enumerate(window.parts):
            for file in self.files(replace(excerpt, key=window.key)):
                if (file.bucket, file.key) == (bucket, key) and (
                    window.key is not None or file.version == version
                ):
                    return number
        return None


class MemoryDeliveries:
    """Deliveries, beside the orders.

    `slips` may say that a worker died between what it marked and what it counted.
    """

    def __init__(
        self,
        ledger: MemoryLedger,
        *,
        slips: Callable[[], bool] = lambda: False,
    ) -> None:
        self.kept = ledger.deliveries
        self._handed_over = ledger.handed_over
        self.marked_as: dict[str, dict[int, Mark]] = {}
        self.kept_progress: dict[tuple[str, int], Progress] = {}
        self._slips = slips
        self._counts: dict[str, int] = {}

    def start(self, delivery: Delivery, *, recorded: bool) -> bool:
        external_id = delivery.external_id
        free = external_id in self._handed_over if recorded else external_id not in self.kept
        if free:
            self._handed_over.pop(external_id, None)
            self.kept[external_id] = delivery
        return free

    def get(self, external_id: str) -> Delivery | None:
        return self.kept.get(external_id)

    def replace(self, old: Delivery, new: Delivery) -> Delivery:
        standing = self.kept[old.external_id]
        # The very same is what this worker wrote before, or another one just like it.
        if standing.revision != old.revision and standing != new:
            raise LeaseLost("another worker went on", external_id=old.external_id)
        self.kept[old.external_id] = new
        return new

    def mark(self, external_id: str, piece: int, mark: Mark) -> int:
        marks = self.marked_as.setdefault(external_id, {})
        if piece not in marks:
            marks[piece] = mark
            if not self._slips():
                self._counts[external_id] = self._counts.get(external_id, 0) + 1
        elif marks[piece].lost and not mark.lost:
            marks[piece] = mark
        return self._counts.get(external_id, 0)

    def marked(self, external_id: str, piece: int) -> Mark | None:
        return self.marked_as.get(external_id, {}).get(piece)

    def marks(self, external_id: str) -> dict[int, Mark]:
        return dict(self.marked_as.get(external_id, {}))

    def progress(self, external_id: str, piece: int) -> Progress | None:
        return self.kept_progress.get((external_id, piece))

    def keep(self, external_id: str, piece: int, progress: Progress) -> None:
        self.kept_progress[external_id, piece] = progress


class MemoryLists:
    """Lists of contents, in S3."""

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}

    def put(self, key: str, lines: Iterable[bytes]) -> bool:
        content = b"".join(lines)
        return self.written.setdefault(key, content) is content

    def whole(self, key: str) -> bytes | None:
        return self.written.get(key)


class MemoryAllowance:
    """What AEP takes in an hour: `hourly` bytes of each organization, and may be changed."""

    def __init__(self, now: Callable[[], int], hourly: int) -> None:
        self.hourly = hourly
        self.sent: dict[tuple[str, int], int] = {}
        self._now = now

    @contextmanager
    def taking(self, target: Target, size: int) -> Iterator[None]:
        if wait := self.wait(target, size):
            raise NotYet("the bytes of this hour are used", retry_after=wait)
        organization, hour = target.ims_org, self._now() // 3_600_000
        self.sent[organization, hour] = self.sent.get((organization, hour), 0) + size
        try:
            yield
        except BaseException:
            self.sent[organization, hour] -= size
            raise

    def wait(self, target: Target, size: int) -> float:
        hour, passed = divmod(self._now(), 3_600_000)
        sent = self.sent.get((target.ims_org, hour), 0)
        return (3_600_000 - passed) / 1000 if sent and sent + size > self.hourly else 0
