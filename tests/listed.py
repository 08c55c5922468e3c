"""A ledger and a journal as lists read them, each once with what happened."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from aep_intake.clock.due import DueKind
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Verdict
from aep_intake.model.files import Arrival
from aep_intake.model.history import RETRYING, WAITING
from aep_intake.model.progress import Record, Rejection, State
from aep_intake.model.times import DAY_MS, hour_of, iso
from aep_intake.report import journal, listing
from aep_intake.report.events import BATCH_CREATED, batch_created, order_rejected
from aep_intake.report.listing import ListingPorts, PageStart, Wanted
from aep_intake.report.status import JsonObject, StatusPorts

from tests import builders
from tests.builders import lease, order
from tests.memory_ledger import MemoryLedger

NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z
NOON_BEFORE = NOW - NOW % DAY_MS - DAY_MS // 2
WHY = Rejection("batch-refused", "no such dataset", NOW - 5, status=400)


class Listed:
    """The ledger and the journal, each once with what happened; `fetched` are its objects."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.deliveries: dict[str, Delivery] = {}
        self.objects: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.ports = ListingPorts(
            self,
            self,
            StatusPorts(
                self.ledger,
                self.ledger.windows,
                self.deliveries,
                lambda all_: [{} for _ in all_],
                map,
                self.ledger.pauses.standing,
            ),
        )

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.objects if name.startswith(prefix)]

    def get(self, key: str) -> bytes:
        self.fetched.append(key)
        return self.objects[key]

    def orders(self, external_ids: Sequence[str]) -> Mapping[str, tuple[Record, Delivery | None]]:
        assert len(external_ids) <= listing.ORDERS_AT_ONCE
        known = self.ledger.records
        return {
            name: (known[name], self.deliveries.get(name)) for name in external_ids if name in known
        }

    def unfinished(self, kind: DueKind, after: str, limit: int) -> tuple[list[str], str]:
        due = sorted(name for name, one in self.ledger._unfinished(kind).items() if one.due)
        ids = [name for name in due if name > after][:limit]
        return ids, ids[-1] if len(ids) == limit else ""

    def aside(self, where: str) -> Iterator[Arrival]:
        """In memory nobody knows when; here, in the present hour."""
        ledger = self.ledger
        if where == RETRYING:
            tried = chain.from_iterable(ledger.retried.values())
            yield from (one.file for one in tried if one.file is not None)
        if where == hour_of(NOW):
            noted = [p for p, what in ledger.noted.items() if what != WAITING]
            yield from (ledger.noted_files[place] for place in noted)
            claimed = {**ledger.superseded, **ledger.same_as}.keys() & ledger.files_of.keys()
            yield from (ledger.files_of[place] for place in sorted(claimed))

    def keep(self, kind: str, *details: JsonObject, times: int = 1) -> None:
        """Write events into the journal, as on_journal does."""
        for detail in details:
            sent = {"detail-type": kind, "id": "1", "time": iso(NOW), "detail": detail}
            line = journal.line(json.dumps(sent))
            name, content = journal.written([line] * times)
            self.objects[journal.folder(iso(line.time)[:13]) + name] = content

    def opened(self, name: str, at: int, **more: Any) -> Record:
        wanted = order(external_id=name, **{"route": "r", **more})
        return self.ledger.open(Record.opened(wanted, lease(at + 9), at))

    def made(self, name: str, at: int, end: End | None = None, **more: Any) -> Record:
        """An order with its batch, told by the journal; and how it ended."""
        record = self.opened(name, at, **more)
        record = self.ledger.replace(record, record.created(builders.batch(at, f"B{name}")))
        self.keep(BATCH_CREATED, batch_created(record), times=2)
        record = self.ledger.replace(record, record.announced(delivers=True))
        begun = Delivery.of(record, (), 10, at)
        if end is not None:
            verdict = Verdict(end, "x", "d", at + 3)
            begun = replace(begun, stage=DeliveryStage.ENDED, verdict=verdict, due=None)
        self.deliveries[name] = begun
        return record

    def refused(self, name: str, at: int) -> Record:
        record = self.opened(name, at)
        rejection = replace(WHY, at=at)
        record = self.ledger.replace(record, record.rejected(State.REFUSED, rejection))
        self.keep("Arrival Rejected", order_rejected(record.order, rejection))
        return self.ledger.replace(record, record.announced())

    def told(self, wanted: Wanted, now: int = NOW) -> list[str]:
        """The orders and states of all pages, one after the other."""
        found = []
        for page in self.pages(wanted, now):
            assert len(page["batches"]) <= wanted.limit
            found += [f"{each['externalId']} {each['state']}" for each in page["batches"]]
        return found

    def pages(self, wanted: Wanted, now: int) -> Iterable[JsonObject]:
        page = listing.batches(wanted, now, self.ports)
        while "next" in page:
            yield page
            place = PageStart.of(page["next"], now)
            page = listing.batches(replace(wanted, place=place), now, self.ports)
        yield page
