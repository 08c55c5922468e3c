"""Lists of batches: by route, day and state, page by page, the newest first.

The journal says which orders got a batch, or were rejected, in an hour; the ledger how each stands
now. Orders without either are unfinished work, and so are in the ledger alone. So each is told
once, in its present state:

    orders without a batch      the ledger's unfinished work
    batches, hour by hour       of the journal's objects of that hour, the newest first; what came
                                after the first page was asked for is not told

A page costs so much at most, whatever of it is wanted: it may be short, or empty.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aep_intake.clock.due import DueKind
from aep_intake.model.errors import MalformedRequest
from aep_intake.model.progress import Record, State
from aep_intake.model.times import DAY_MS, HOUR_MS, day_of, hour_of, iso, milliseconds
from aep_intake.model.values import dataclass
from aep_intake.report import journal, status
from aep_intake.report.events import ARRIVAL_REJECTED, BATCH_CREATED
from aep_intake.report.journal import JournalObjects
from aep_intake.report.states import UNFINISHED, Word
from aep_intake.report.status import JsonObject, StatusPorts

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery

# What a page may cost, in orders that are looked up: seconds of a small worker.
COST_MAX = 1000
OBJECT_COST = 2  # of the journal, to be fetched
EVENTS_PER_COST = 20  # to be read
ORDERS_AT_ONCE = 100
OBJECTS_AT_ONCE = 10  # each may be some MB, unpacked
PAGE_MAX = 500
PAGE = 100
TOKEN_MAX = 2000  # characters: a caller's external id of 200 may be escaped twice


class ListedLedger(Protocol):
    """The ledger of orders. Every method raises LedgerUnavailable."""

    def orders(self, external_ids: Sequence[str]) -> "Mapping[str, tuple[Record, Delivery | None]]":
        """Those of the orders that exist, with their deliveries."""

    def unfinished(self, kind: DueKind, after: str, limit: int) -> tuple[list[str], str]:
        """The ids of unfinished work of a kind, and where more of it follows; empty: nowhere.

        `after`: where the last answer said that more follows; empty: from the first.
        """


@dataclass(frozen=True, slots=True)
class ListingPorts:
    """What a list needs of the world."""

    journal: JournalObjects
    ledger: ListedLedger
    status: StatusPorts


@dataclass(frozen=True, slots=True)
class PageStart:
    """Where a page begins. Times in epoch milliseconds."""

    asked_at: int  # the first page
    hour: str | None = None  # of the journal, `2026-11-28T05`; None: orders without a batch
    after: str = ""  # the last order that the page before has looked at

    def token(self) -> str:
        """As a caller gets it, and sends it back."""
        text = json.dumps([self.asked_at, self.hour, self.after], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, token: str, now: int) -> "PageStart":
        """The place of a token. Raises MalformedRequest."""
        try:
            match json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))):
                case [int(asked_at), None, str(after)] if 0 < asked_at <= now:
                    return cls(asked_at, None, after)
                case [int(asked_at), str(hour), str(after)] if 0 < asked_at <= now:
                    _start_of(hour)
                    return cls(asked_at, hour, after)
        except (ValueError, RecursionError):
            pass
        raise MalformedRequest("`token` is not the `next` of an answer to this question")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which batches are asked for. `None`: all."""

    day: str | None = None  # of UTC, on which they were made; None: today, and all without a batch
    route: str | None = None
    state: str | None = None
    limit: int = PAGE
    place: PageStart | None = None  # None: the first page


class _Some(NamedTuple):
    """Some orders of a list, where the next ones are, and what they cost."""

    orders: "list[tuple[Record, Delivery | None]]"
    following: PageStart | None
    cost: int


def read(parameters: Mapping[str, str], now: int) -> Wanted:
    """The question of a query string. Raises MalformedRequest."""
    unknown = sorted(parameters.keys() - {"route", "day", "state", "limit", "token"})
    if unknown:
        raise MalformedRequest(
            f"/batches takes route, day, state, limit and token, not {ascii(unknown[0])[:100]}"
        )
    wanted = Wanted(route=parameters.get("route"), state=parameters.get("state"))
    if wanted.state is not None and wanted.state not in set(Word):
        raise MalformedRequest(f"`state` is one of {', '.join(Word)}")
    if "day" in parameters:
        wanted = replace(wanted, day=_day(parameters["day"], now))
    if "limit" in parameters:
        text = parameters["limit"]
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= PAGE_MAX):
            raise MalformedRequest(f"`limit` is a number from 1 to {PAGE_MAX}")
        wanted = replace(wanted, limit=int(text))
    if "token" in parameters:
        wanted = replace(wanted, place=PageStart.of(parameters["token"][:TOKEN_MAX], now))
    return wanted


def _day(text: str, now: int) -> str:
    try:
        start = _start_of(f"{text}T00")
    except ValueError:
        start = None
    if start is None or start > now:
        raise MalformedRequest("`day` is a day of UTC until today, such as 2026-11-28")
    return text


def _start_of(hour: str) -> int:
    """When an hour begins (epoch ms). Raises ValueError."""
    start = milliseconds(f"{hour}:00")
    if hour_of(start) != hour:
        raise ValueError(hour)
    return start


def batches(wanted: Wanted, now: int, ports: ListingPorts) -> JsonObject:
    """One page: `batches`, and `next`, the token of the page after it, if there may be one.

    Raises LedgerUnavailable or StorageUnavailable.
    """
    place: PageStart | None = wanted.place or PageStart(now)
    if wanted.place is None and wanted.state not in (None, *UNFINISHED):
        place = _last_hour(wanted, PageStart(now))
    hours = _Hours(wanted.route, ports)
    found: list[JsonObject] = []
    cost = 0
    while place is not None and len(found) < wanted.limit and cost < COST_MAX:
        number = min(ORDERS_AT_ONCE, wanted.limit - len(found))
        if place.hour is None:
            orders, place, more = _without_batch(place, number, wanted, ports)
        else:
            orders, place, more = hours.next_of(place.hour, place, number)
        cost += more
        about = ports.status.side_by_side(lambda each: status.about(*each, ports.status), orders)
        found += [each for each in about if wanted.state in (None, each["state"])]
    return {"batches": found} | ({} if place is None else {"next": place.token()})


def _without_batch(place: PageStart, number: int, wanted: Wanted, ports: ListingPorts) -> "_Some":
    """Of the next so many unfinished orders, those that have no batch yet and are wanted."""
    ids, after = ports.ledger.unfinished(DueKind.ORDERS, place.after, number)
    known = ports.ledger.orders(ids)
    orders = [known[name] for name in ids if name in known and _begun(known[name][0], wanted)]
    following = replace(place, after=after) if after else _last_hour(wanted, place)
    return _Some(orders, following, max(len(ids), 1))


def _begun(record: Record, wanted: Wanted) -> bool:
    """Whether an order has no batch yet, and is wanted."""
    on_day = wanted.day in (None, day_of(record.opened_at))
    of_route = wanted.route in (None, record.order.route)
    return record.state is State.OPEN and record.batch_id is None and on_day and of_route


def _times(record: Record) -> list[str]:
    """When an order got its batch, or was rejected, by its present record: at no other event."""
    rejected_at = None if record.rejection is None else record.rejection.at
    return [iso(time) for time in (record.created_at, rejected_at) if time is not None]


def _last_hour(wanted: Wanted, place: PageStart) -> PageStart:
    """The first place among the hours of the day: its last one."""
    day = wanted.day or day_of(place.asked_at)
    last = min(_start_of(f"{day}T00") + DAY_MS - HOUR_MS, place.asked_at)
    return replace(place, hour=hour_of(last), after="")


class _Hours:
    """What happened in the hours of the journal, each read once."""

    def __init__(self, route: str | None, ports: ListingPorts) -> None:
        self._route = route
        self._ports = ports
        self._hour = ""
        self._happened: list[str] = []

    def next_of(self, hour: str, place: PageStart, number: int) -> "_Some":
        """The next orders of an hour, the newest first, by the event that stands."""
        cost = 0 if hour == self._hour else self._read(hour)
        asked_at = iso(place.asked_at)
        left = [e for e in self._happened if e.partition(" ")[0] <= asked_at]
        left = [e for e in left if not place.after or e < place.after]
        told = [each.partition(" ")[::2] for each in left[:number]]
        known = self._ports.ledger.orders([name for _, name in told])
        orders = [known[n] for at, n in told if n in known and at in _times(known[n][0])]
        following: PageStart | None = None
        if len(left) > number:
            following = replace(place, after=left[number - 1])
        elif not hour.endswith("T00"):
            following = replace(place, hour=hour_of(_start_of(hour) - HOUR_MS), after="")
        return _Some(orders, following, cost + max(len(told), 1))

    def _read(self, hour: str) -> int:
        """Read when orders got their batch or were rejected, and which; what it cost.

        Each as `2026-11-28T05:04:03.002Z <external id>`. An arrival that was rejected before it had
        an order has no dataset.
        """
        found: set[str] = set()
        events, ports = 0, self._ports
        names = ports.journal.names(journal.folder(hour))
        for some in batched(names, OBJECTS_AT_ONCE, strict=False):
            for content in ports.status.side_by_side(ports.journal.get, some):
                for time, event in journal.read(content):
                    kind, detail, events = event["detail-type"], event["detail"], events + 1
                    of_order = kind == ARRIVAL_REJECTED and "datasetId" in detail
                    of_route = self._route in (None, detail.get("route"))
                    if of_route and (kind == BATCH_CREATED or of_order):
                        found.add(f"{iso(time)} {detail['externalId']}")
        self._hour, self._happened = hour, sorted(found, reverse=True)
        return OBJECT_COST * len(names) + events // EVENTS_PER_COST
