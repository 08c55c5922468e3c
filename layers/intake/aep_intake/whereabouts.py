"""Where a file is: what is known of each version of an object, and of a batch, told to people.

    claim      the state of its order; until there is one, that of its window
    rejection  `rejected`, and why
    note       what became of it besides, such as `waiting` for the marker of its folder

A version can have all three: then who claims it counts, and else what was written last.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aep_intake.announcements import iso
from aep_intake.arrivals import Arrival, digest
from aep_intake.errors import IntakeError
from aep_intake.orders import WINDOW_PREFIX, Batch, Head, Order, Record, Rejection, Target
from aep_intake.windows import Stage, Window

# In one answer.
MOST_VERSIONS = 50
MOST_FILES = 100

type Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that the ledger knows of a version of an object.

    `owner`: the order or window that claims it. `rejection`: why nothing does. `noted`: what became
    of it besides, by which `route`. `expires`: when the ledger forgets it (epoch seconds), so the
    larger, the later it was written.
    """

    version: str
    owner: str | None = None
    rejection: Rejection | None = None
    noted: str | None = None
    route: str | None = None
    expires: int = 0

    @property
    def claimed(self) -> bool:
        """Whether an order or a window holds it."""
        return self.owner is not None and self.rejection is None


class Ledger(Protocol):
    """What remembers. Every method raises LedgerUnavailable when it cannot tell."""

    def seen(self, object_id: str) -> list[Seen]:
        """All that is known of an object."""

    def get(self, external_id: str) -> Record | None:
        """An order's record as it is now."""

    def of_batch(self, batch_id: str) -> Record | None:
        """The record whose batch this is."""

    def head(self, subject: str) -> Head | None:
        """The newest order of a line."""

    def files(self, order: Order) -> tuple[Arrival, ...]:
        """The files of an order, wherever they are kept."""


class Windows(Protocol):
    """What remembers windows. Every method raises LedgerUnavailable when it cannot tell."""

    def get(self, window_id: str) -> Window | None:
        """The window as it is now."""

    def registered(self, window_id: str) -> tuple[Arrival, ...]:
        """All files of a window, in the order of its plan."""


class Platform(Protocol):
    """AEP. Raises IntakeError."""

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        """What Catalog knows of a batch."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What telling needs of the world.

    `ask` gives, for each record, what AEP says of its batch (see `of_platform`). `side_by_side`
    runs a function over many values, and gives what it returned in their order.
    """

    ledger: Ledger
    windows: Windows
    ask: Callable[[Sequence[Record]], Iterable[Told]]
    side_by_side: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class _Standing:
    """The latest attempt of an order; where a newer one took its place, the newest."""

    record: Record
    newest: Record | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a claimed version is: in a window, perhaps, and in which orders (by external id).

    A file is in one order; a marker stands for all of its window's.
    """

    window: Window | None
    orders: tuple[str, ...]


def of_object(bucket: str, key: str, ports: Ports) -> Told | None:
    """Where each version of an object is, those last heard of first; None if none is known.

    Raises LedgerUnavailable.
    """
    known = _one_each(ports.ledger.seen(digest(bucket, key)))
    shown = known[:MOST_VERSIONS]
    owners = {seen.version: seen.owner for seen in shown if seen.claimed}
    in_windows = {owner for owner in owners.values() if owner and owner.startswith(WINDOW_PREFIX)}
    windows = _each(lambda owner: _window(owner, bucket, key, ports), in_windows, ports)
    places = {
        version: windows[owner](version) if owner in windows else _Place(None, (str(owner),))
        for version, owner in owners.items()
    }
    orders = {place.orders[0] for place in places.values() if len(place.orders) == 1}
    standing = _each(lambda order: _standing(order, ports), orders, ports)
    there = {order: found for order, found in standing.items() if found}
    aep = dict(zip(there, ports.ask([found.record for found in there.values()]), strict=True))
    versions = []
    for seen in shown:
        arrival = _arrival(bucket, key, seen.version)
        told = (
            _claimed(places[seen.version], there, aep) if seen.claimed else _turned_away(seen, arrival)
        )
        if told is not None:
            versions.append(_version(arrival) | told)
    if not versions:
        return None
    gone = len(shown) - len(versions)
    return {
        "uri": f"s3://{bucket}/{key}",
        "versions": versions,
        "versionCount": len(known) - gone,
    }


def of_batch(wanted: str, ports: Ports) -> Told | None:
    """The latest attempt of an order, by its external id or its batch; None if there is none.

    Raises LedgerUnavailable.
    """
    found = ports.ledger.get(wanted) or ports.ledger.of_batch(wanted)
    standing = found and _standing(found.order.external_id, ports)
    if standing is None:
        return None
    order = standing.record.order
    window: Told | None = None
    if order.excerpt is not None:
        whole = ports.windows.get(order.excerpt.window_id)
        window = {"id": order.excerpt.window_id} if whole is None else _about_window(whole)
    files = ports.ledger.files(order)
    [aep] = ports.ask([standing.record])
    listed = _present(
        window=window,
        files=[file.uri for file in files[:MOST_FILES]],
        fileCount=len(files),
    )
    return _about(standing) | listed | aep


def of_platform(record: Record, platform: Platform) -> Told:
    """What AEP says of a record's batch now, `aep`; why it says nothing, `aepError`.

    It is asked for the batch that the ledger names, never for what a caller wrote.
    """
    if record.batch_id is None:
        return {"aep": None}
    try:
        batch = platform.batch(record.order.target, record.batch_id)
    except IntakeError as error:
        return untold(error)
    return {"aep": None if batch is None else batch.raw}


def untold(error: IntakeError) -> Told:
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
    return sorted(counts.values(), key=lambda one: (one.expires, one.version), reverse=True)


def _each[K, V](work: Callable[[K], V], keys: Iterable[K], ports: Ports) -> dict[K, V]:
    listed = list(keys)
    return dict(zip(listed, ports.side_by_side(work, listed), strict=True))


def _window(window_id: str, bucket: str, key: str, ports: Ports) -> Callable[[str], _Place]:
    """The place, in a window, of each version of an object."""
    window = ports.windows.get(window_id)
    if window is None:
        return lambda _: _Place(None, ())
    positions: dict[str, int] = {}
    if len(window.parts) > 1:
        files = enumerate(ports.windows.registered(window_id))
        positions = {f.version: n for n, f in files if (f.bucket, f.key) == (bucket, key)}

    def place(version: str) -> _Place:
        at = positions.get(version)
        holding = (
            window.part_id(number)
            for number, part in enumerate(window.parts)
            if at is None or part.first <= at < part.end
        )
        return _Place(window, tuple(holding))

    return place


def _standing(external_id: str, ports: Ports) -> _Standing | None:
    record = _latest(external_id, ports)
    if record is None:
        return None
    newest, line = record.replaced_by, record.order.line
    if newest is not None and line is not None:
        # Those in between are many where a marker comes every hour.
        head = ports.ledger.head(line.subject)
        newest = newest if head is None else head.external_id
    return _Standing(record, None if newest is None else _latest(newest, ports))


def _latest(external_id: str, ports: Ports) -> Record | None:
    record = ports.ledger.get(external_id)
    while record is not None and record.superseded_by is not None:
        record = ports.ledger.get(record.superseded_by)
    return record


def _claimed(
    place: _Place, standing: Mapping[str, _Standing], aep: Mapping[str, Told]
) -> Told | None:
    """Of an order, or of a window that has none yet; None where the ledger forgot these."""
    window, orders = place.window, place.orders
    about = {} if window is None else {"window": _about_window(window)}
    if len(orders) == 1 and orders[0] in standing:
        return _about(standing[orders[0]]) | about | aep[orders[0]]
    if window is None:
        return None
    state = "in-window" if window.stage is Stage.OPEN else "sealed"
    if window.stage is Stage.FINISHED:
        if len(orders) == 1:
            return None
        state, about["orders"] = "gathered", orders[:MOST_FILES]
    return {"state": state} | _about_order(window.order) | about


def _turned_away(seen: Seen, arrival: Arrival) -> Told:
    rejection = seen.rejection
    if rejection is None:
        return _present(state=seen.noted, route=seen.route)
    return {"state": "rejected", "externalId": seen.owner or arrival.external_id} | _why(rejection)


def _about(standing: _Standing) -> Told:
    record, newest = standing.record, standing.newest
    why = _why(record.rejection) if record.rejection else {}
    return (
        _present(
            state=record.state,
            externalId=record.order.external_id,
            attempt=record.order.attempt,
            batchId=record.batch_id,
        )
        | why
        | _about_order(record.order)
        | _present(
            replacedBy=newest
            and _present(
                externalId=newest.order.external_id, state=newest.state, batchId=newest.batch_id
            ),
            openedAt=iso(record.opened_at),
            createdAt=record.created_at and iso(record.created_at),
            due=record.due and iso(record.due),
        )
    )


def _about_order(order: Order) -> Told:
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


def _about_window(window: Window) -> Told:
    closes = iso(window.start + window.length) if window.length else None  # a marker's has none
    return _present(id=window.window_id, stage=window.stage, closesAt=closes)


def _why(rejection: Rejection) -> Told:
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


def _version(arrival: Arrival) -> Told:
    return _present(
        versionId=arrival.version_id, etag=arrival.etag or None, sequencer=arrival.sequencer
    )


def _present(**members: Any) -> Told:
    return {name: value for name, value in members.items() if value is not None}
