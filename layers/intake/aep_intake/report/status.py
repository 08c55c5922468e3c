"""Where a file is: what is known of each version of an object, and of a batch, told to people.

    claim      the state of its order; until there is one, that of its window; `superseded` where
               another version of it in its window stands for it
    rejection  `rejected`, and why
    note       what became of it besides, such as `waiting` for the marker of its folder, or
               `superseded` where it was overwritten before that came

A version can have all three: then who claims it counts, and else what was written last.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aep_intake.grouping.windows import Window, WindowStage
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import IntakeError
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import Seen
from aep_intake.model.orders import WINDOW_PREFIX, LineageHead, Order, Record, Rejection
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.times import iso

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery

# In one answer.
MOST_VERSIONS = 50
MOST_FILES = 100

_ID = re.compile(r"[!-~]{1,200}")

type JsonObject = dict[str, Any]


class StatusLedger(Protocol):
    """What remembers. Every method raises LedgerUnavailable when it cannot tell."""

    def seen(self, object_id: str) -> list[Seen]:
        """All that is known of an object."""

    def get(self, external_id: str) -> Record | None:
        """An order's record as it is now."""

    def of_batch(self, batch_id: str) -> Record | None:
        """The record whose batch this is."""

    def head(self, subject: str) -> LineageHead | None:
        """The newest order of a line."""

    def files(self, order: Order) -> tuple[Arrival, ...]:
        """The files of an order, wherever they are kept."""


class StatusWindows(Protocol):
    """What remembers windows. Every method raises LedgerUnavailable when it cannot tell."""

    def get(self, window_id: str) -> Window | None:
        """The window as it is now."""

    def part_of(self, window: Window, bucket: str, key: str, version: str) -> int | None:
        """The number of the part that a version of an object is in. Raises StorageUnavailable."""


class StatusDeliveries(Protocol):
    """What remembers how batches are filled. Raises LedgerUnavailable when it cannot tell."""

    def get(self, external_id: str) -> "Delivery | None":
        """The delivery of an order's batch as it is now."""


class StatusPlatform(Protocol):
    """AEP. Raises IntakeError."""

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        """What Catalog knows of a batch."""


@dataclass(frozen=True, slots=True)
class StatusPorts:
    """What telling needs of the world.

    `ask` gives, for each record, what AEP says of its batch (see `of_platform`). `side_by_side`
    runs a function over many values, and gives what it returned in their order.
    """

    ledger: StatusLedger
    windows: StatusWindows
    deliveries: StatusDeliveries
    ask: Callable[[Sequence[Record]], Iterable[JsonObject]]
    side_by_side: SideBySide


@dataclass(frozen=True, slots=True)
class _Owner:
    """Where a claimed version is: in a window, perhaps, and in which orders (by external id).

    A file is in one order; a marker stands for all of its window's.
    """

    window: Window | None
    orders: tuple[str, ...]


def of_object(bucket: str, key: str, ports: StatusPorts) -> JsonObject | None:
    """Where each version of an object is, those last heard of first; None if none is known.

    Raises LedgerUnavailable or StorageUnavailable.
    """
    known = _one_each(ports.ledger.seen(digest(bucket, key)))
    shown = known[:MOST_VERSIONS]
    places = _places(shown, bucket, key, ports)
    told = _orders([p.orders[0] for p in places.values() if len(p.orders) == 1], ports)
    versions = []
    for seen in shown:
        arrival, place = _arrival(bucket, key, seen.version), places.get(seen.version)
        about = _rejected(seen, arrival) if place is None else _claimed(place, told)
        if seen.superseded_by is not None:
            about = _superseded(seen, place, _arrival(bucket, key, seen.superseded_by))
        if about is not None:
            versions.append(_version(arrival) | about)
    if not versions:
        return None
    count = len(known) - (len(shown) - len(versions))
    return {"uri": f"s3://{bucket}/{key}", "versions": versions, "versionCount": count}


def of_batch(wanted: str, ports: StatusPorts) -> JsonObject | None:
    """The latest attempt of an order, by its external id or its batch; None if there is none.

    Raises LedgerUnavailable.
    """
    record = _latest(known(wanted, ports.ledger), ports)
    if record is None:
        return None
    part, files = record.order.excerpt, ports.ledger.files(record.order)
    window = None if part is None else ports.windows.get(part.window_id)
    more = _present(
        window=None if window is None else _about_window(window),
        files=[file.uri for file in files[:MOST_FILES]],
        fileCount=len(files),
    )
    [aep] = ports.ask([record])
    return _about(record, ports) | more | aep


def known(wanted: str, ledger: StatusLedger) -> Record | None:
    """The order that has this external id, or this batch. Raises LedgerUnavailable."""
    if not _ID.fullmatch(wanted):
        return None
    return ledger.get(wanted) or ledger.of_batch(wanted)


def of_platform(record: Record, platform: StatusPlatform) -> JsonObject:
    """What AEP says of a record's batch now, `aep`; why it says nothing, `aepError`.

    It is asked for the batch that the ledger names, never for what a caller wrote.
    """
    if record.batch_id is None:
        return {"aep": None}
    try:
        batch = platform.batch(record.order.target, record.batch_id)
    except IntakeError as error:
        return unavailable(error)
    return {"aep": None if batch is None else batch.raw}


def unavailable(error: IntakeError) -> JsonObject:
    """That AEP did not say."""
    return {"aep": None, "aepError": {"reason": error.reason, "detail": str(error)}}


def _one_each(seen: Iterable[Seen]) -> list[Seen]:
    """What counts of each version, those written last first.

    A request names an object of an unversioned bucket by its content alone: what comes of events
    of that content and has no claim of its own belongs to the request's order (see `Claim`).
    """
    known = sorted(seen, key=lambda one: (one.claimed, one.expires, one.rejection is not None))
    claimed = {one.version for one in known if one.claimed}
    counts: dict[str, Seen] = {}
    for one in known:
        content = f"{one.version.rpartition(':')[0]}:"
        same = content in claimed and one.version not in claimed
        counts[content if same else one.version] = one
    return sorted(counts.values(), key=_newness, reverse=True)


def _newness(seen: Seen) -> tuple[int, str]:
    """Within a second S3's sequencer decides, where the version has one."""
    return seen.expires, seen.version.rpartition(":")[2]


def _each[K, V](work: Callable[[K], V], keys: Iterable[K], ports: StatusPorts) -> dict[K, V]:
    listed = list(dict.fromkeys(keys))
    return dict(zip(listed, ports.side_by_side(work, listed), strict=True))


def _places(shown: Iterable[Seen], bucket: str, key: str, ports: StatusPorts) -> dict[str, _Owner]:
    """Where each version is that something claims."""
    owners = {one.version: one.owner for one in shown if one.owner and one.claimed}
    in_windows = [owner for owner in owners.values() if owner.startswith(WINDOW_PREFIX)]
    windows = _each(lambda owner: _window(owner, bucket, key, ports), in_windows, ports)
    return {
        version: windows[owner](version) if owner in windows else _Owner(None, (owner,))
        for version, owner in owners.items()
    }


def _window(window_id: str, bucket: str, key: str, ports: StatusPorts) -> Callable[[str], _Owner]:
    """The place, in a window, of each version of an object."""
    window = ports.windows.get(window_id)
    if window is None:
        return lambda _: _Owner(None, ())

    def place(version: str) -> _Owner:
        numbers = range(len(window.parts))
        if len(numbers) > 1:
            at = ports.windows.part_of(window, bucket, key, version)
            numbers = numbers if at is None else range(at, at + 1)
        return _Owner(window, tuple(map(window.part_id, numbers)))

    return place


def _orders(external_ids: Iterable[str], ports: StatusPorts) -> dict[str, JsonObject]:
    """What is told of each order, but of those that the ledger forgot."""
    found = _each(lambda name: _latest(ports.ledger.get(name), ports), external_ids, ports)
    records = {name: record for name, record in found.items() if record is not None}
    about = ports.side_by_side(lambda record: _about(record, ports), records.values())
    aep = ports.ask(list(records.values()))
    return {name: one | said for name, one, said in zip(records, about, aep, strict=True)}


def _latest(record: Record | None, ports: StatusPorts) -> Record | None:
    while record is not None and record.next_attempt is not None:
        record = ports.ledger.get(record.next_attempt)
    return record


def _claimed(place: _Owner, told: Mapping[str, JsonObject]) -> JsonObject | None:
    """What is `told` of its order, or of its window; None where the ledger forgot these."""
    window, orders = place.window, place.orders
    about: JsonObject = {} if window is None else {"window": _about_window(window)}
    if len(orders) == 1 and orders[0] in told:
        return told[orders[0]] | about
    if window is None or (window.stage is WindowStage.FINISHED and len(orders) == 1):
        return None
    if window.stage is WindowStage.FINISHED:
        about |= {"orders": list(orders[:MOST_FILES])}
        state = "gathered"
    else:
        state = "in-window" if window.stage is WindowStage.OPEN else "sealed"
    return {"state": state} | _about_order(window.order) | about


def _superseded(seen: Seen, place: _Owner | None, by: Arrival) -> JsonObject:
    """That a newer version stands for it, whatever becomes of that: in its window's batch, or in
    the folder where both waited.
    """
    window = None if place is None else place.window
    about = _present(route=seen.route)
    if window is not None:
        about = _about_order(window.order) | {"window": _about_window(window)}
    return {"state": "superseded", "supersededBy": _version(by)} | about


def _rejected(seen: Seen, arrival: Arrival) -> JsonObject:
    rejection = seen.rejection
    if rejection is None:
        return _present(state=seen.noted, route=seen.route)
    return {"state": "rejected", "externalId": seen.owner or arrival.external_id} | _why(rejection)


def _about(record: Record, ports: StatusPorts) -> JsonObject:
    order = record.order
    who = _present(
        state=record.state,
        externalId=order.external_id,
        attempt=order.attempt,
        batchId=record.batch_id,
    )
    why = {} if record.rejection is None else _why(record.rejection)
    delivery = None if record.batch_id is None else ports.deliveries.get(order.external_id)
    when = _present(
        delivery=delivery and _about_delivery(delivery),
        replacedBy=_replaced_by(record, ports),
        openedAt=iso(record.opened_at),
        createdAt=record.created_at and iso(record.created_at),
        due=record.due and iso(record.due),
    )
    return who | why | _about_order(order) | when


def _replaced_by(record: Record, ports: StatusPorts) -> JsonObject | None:
    """The newest order of its line: those in between are many where a marker comes every hour."""
    line, following = record.order.line, record.replaced_by
    if following is None:
        return None
    head = None if line is None else ports.ledger.head(line.subject)
    name = following if head is None else head.external_id
    newest = _latest(ports.ledger.get(name), ports)
    if newest is None:
        return {"externalId": name}
    return _present(
        externalId=newest.order.external_id, state=newest.state, batchId=newest.batch_id
    )


def _about_order(order: Order) -> JsonObject:
    replaced = order.replaces
    return _present(
        route=order.route,
        routesVersion=order.routes_version,
        trigger=order.trigger,
        imsOrg=order.target.ims_org,
        sandbox=order.target.sandbox,
        datasetId=order.target.dataset_id,
        inputFormat=order.options.get("inputFormat"),
        replaces=replaced and {"externalId": replaced.external_id, "batchId": replaced.batch_id},
    )


def _about_delivery(delivery: "Delivery") -> JsonObject:
    verdict = delivery.verdict
    about = _present(
        stage=delivery.stage,
        uploads=delivery.total or None,
        uploadedAt=delivery.uploaded_at and iso(delivery.uploaded_at),
        due=delivery.due and iso(delivery.due),
    )
    if verdict is None:
        return about
    return about | _present(
        end=verdict.end,
        status=verdict.status,
        detail=verdict.detail,
        endedAt=iso(verdict.at),
        recordCount=verdict.metrics.get("inputRecordCount"),
        failedRecordCount=verdict.metrics.get("failedRecordCount"),
    )


def _about_window(window: Window) -> JsonObject:
    closes = iso(window.start + window.length) if window.length else None  # a marker's has none
    return _present(id=window.window_id, stage=window.stage, closesAt=closes)


def _why(rejection: Rejection) -> JsonObject:
    return {
        "reason": rejection.reason,
        "detail": rejection.detail,
        "rejectedAt": iso(rejection.at),
    }


def _arrival(bucket: str, key: str, version: str) -> Arrival:
    """The arrival whose version this is, as far as that says."""
    kind, _, rest = version.partition(":")
    if kind == "v":
        return Arrival(bucket, key, rest, "", None, 0, 0)
    etag, _, sequencer = rest.rpartition(":")
    return Arrival(bucket, key, None, etag, sequencer or None, 0, 0)


def _version(arrival: Arrival) -> JsonObject:
    return _present(
        versionId=arrival.version_id, etag=arrival.etag or None, sequencer=arrival.sequencer
    )


def _present(**members: Any) -> JsonObject:
    return {name: value for name, value in members.items() if value is not None}
