"""The status of a file or a batch, for people. The ledger's items decide a version's status:

    claim      the state of its order; before that exists, of its window; `superseded` if a newer
               version is in the same window; `same-bytes` if it is a copy of a version that is
               loaded or under way
    rejection  `rejected`, and why; or `lost`, or `failed`, if it was in an order
    note       any other fate, such as `waiting` for the marker of its folder, or `superseded` if
               it was overwritten before the marker came; `retrying` if it has no other yet

A version can have all three: then a claim decides, and otherwise the latest item. See `states` for
the words.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Protocol

from aep_intake.create.attempts import attempts, half_with, latest
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import IntakeError, PlatformUnavailable
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import RETRYING, Seen
from aep_intake.model.ledgers import Heads, ObjectHistory, RecordsAndFiles
from aep_intake.model.orders import WINDOW_PREFIX, Order
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Record, Rejection
from aep_intake.model.times import iso
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window, WindowStage
from aep_intake.report import states
from aep_intake.report.events import about_replaced, present
from aep_intake.report.meanings import explained
from aep_intake.report.states import Standing, Word

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery

# In one answer.
VERSIONS_MAX = 50
FILES_MAX = 100

# Why no version of an object is known: what no route takes leaves no trace in the ledger.
NEVER_DATA = "by its name it is never data, so it is left out"
UNKNOWN = (
    "no event of it has come, its route leaves it out, or it came longer ago than the ledger "
    "remembers"
)
_ID = re.compile(r"[!-~]{1,200}")

ASK_AEP_S = 10  # for all batches of an answer together

type JsonObject = dict[str, Any]


class StatusLedger(Heads, RecordsAndFiles, ObjectHistory, Protocol):
    """The ledger. Every method may raise LedgerUnavailable."""

    def of_batch(self, batch_id: str) -> Record | None:
        """The record with this batch."""


class StatusWindows(Protocol):
    """The ledger of windows. Every method may raise LedgerUnavailable."""

    def get(self, window_id: str) -> Window | None:
        """The current window."""

    def part_of(self, window: Window, bucket: str, key: str, version: str) -> int | None:
        """The number of the part with a version of an object. Raises StorageUnavailable."""


class StatusDeliveries(Protocol):
    """The ledger of deliveries. Raises LedgerUnavailable."""

    def get(self, external_id: str) -> "Delivery | None":
        """The current delivery of an order's batch."""


class StatusPlatform(Protocol):
    """AEP. Raises IntakeError."""

    def batch(self, target: Target, batch_id: str) -> Batch | None:
        """The batch in Catalog; None if Catalog does not show it."""


@dataclass(frozen=True, slots=True)
class StatusPorts:
    """What a status needs of the world."""

    ledger: StatusLedger
    windows: StatusWindows
    deliveries: StatusDeliveries
    # AEP's answer about the batch of each record (see `of_platform`).
    ask: Callable[[Sequence[Record]], Iterable[JsonObject]]
    side_by_side: SideBySide
    # The pauses that stand, by name. Raises LedgerUnavailable.
    pauses: Callable[[], Mapping[str, Pause]]


@dataclass(frozen=True, slots=True)
class _Owner:
    """The owner of a claimed version: perhaps a window, and orders (by external id).

    A file has one order; a marker has all orders of its window.
    """

    window: Window | None
    orders: tuple[str, ...]


def of_object(bucket: str, key: str, ports: StatusPorts) -> JsonObject | None:
    """The status of each version of an object, the latest first; None if none is known.

    Raises LedgerUnavailable or StorageUnavailable.
    """
    known = _latest_items(ports.ledger.seen(digest(bucket, key)))
    shown = known[:VERSIONS_MAX]
    owners = _owners(shown, bucket, key, ports)
    names = [owner.orders[0] for owner in owners.values() if len(owner.orders) == 1]
    orders = _orders(names, bucket, key, ports)
    lost = _each(ports.ledger.get, [seen.owner or "" for seen in shown if seen.lost], ports)
    versions = []
    for seen in shown:
        arrival, owner = _arrival(bucket, key, seen.version), owners.get(seen.version)
        status = (
            _unclaimed(seen, arrival, lost)
            if owner is None
            else _claimed(seen, owner, orders, ports)
        )
        if seen.same_as is not None:
            status = _same_bytes(seen, status, _arrival(bucket, key, seen.same_as))
        elif seen.superseded_by is not None:
            status = _superseded(seen, owner, _arrival(bucket, key, seen.superseded_by))
        if status is not None:
            versions.append(_version(arrival) | status)
    if not versions:
        return None
    count = len(known) - (len(shown) - len(versions))
    return {"uri": f"s3://{bucket}/{key}", "versions": versions, "versionCount": count}


def why_unknown(key: str) -> str:
    """Why no version of an object is known, as far as that is known without routes."""
    from aep_intake.routing.never_data import is_never_data  # noqa: PLC0415 - few ask in vain

    return NEVER_DATA if is_never_data(key) else UNKNOWN


def of_version(file: Arrival, ports: StatusPorts) -> JsonObject | None:
    """The status of one version of an object; None if it is not known.

    A listed one has no sequencer. Raises LedgerUnavailable or StorageUnavailable.
    """
    found = of_object(file.bucket, file.key, ports) or {"versions": ()}
    for each in found["versions"]:
        if file.version_id is not None:
            same = each.get("versionId") == file.version_id
        else:
            content = each.get("etag") == file.etag
            same = content and file.sequencer in (None, each.get("sequencer"))
        if same:
            return dict(each)
    return None


def of_batch(wanted: str, ports: StatusPorts) -> JsonObject | None:
    """The status of an order's latest attempt, by external id or batch id; None if there is none.

    Raises LedgerUnavailable.
    """
    record = latest(known(wanted, ports.ledger), ports.ledger)
    if record is None:
        return None
    part, files = record.order.excerpt, ports.ledger.files(record.order)
    window = None if part is None else ports.windows.get(part.window_id)
    more = present(
        window=None if window is None else _about_window(window),
        files=[file.uri for file in files[:FILES_MAX]],
        fileCount=len(files),
    )
    [aep] = ports.ask([record])
    return _with_aep(about(record, _delivery(record, ports), ports) | more, aep)


def known(wanted: str, ledger: StatusLedger) -> Record | None:
    """The order with this external id, or batch id. Raises LedgerUnavailable."""
    if not _ID.fullmatch(wanted):
        return None
    return ledger.get(wanted) or ledger.of_batch(wanted)


def of_platform(record: Record, platform: StatusPlatform) -> JsonObject:
    """`aep`: AEP's present description of a record's batch; `aepError`: why there is none.

    `errors`: AEP's errors of the batch, each with a hint where the code is known.
    AEP is asked for the batch id in the ledger, never for an id that a caller sent.
    """
    if record.batch_id is None:
        return {"aep": None}
    try:
        batch = platform.batch(record.order.target, record.batch_id)
    except IntakeError as error:
        return unavailable(error)
    if batch is None:
        return {"aep": None}
    return present(aep=batch.raw, errors=explained(batch.errors) or None)


def in_time(
    records: Sequence[Record], *, platform: StatusPlatform, threads: int
) -> list[JsonObject]:
    """As `of_platform` of each record, as far as AEP answers within ASK_AEP_S."""
    pool = ThreadPoolExecutor(threads)
    asked = [pool.submit(of_platform, record, platform) for record in records]
    answered, _ = wait(asked, ASK_AEP_S)
    pool.shutdown(wait=False, cancel_futures=True)
    late = unavailable(PlatformUnavailable("AEP takes too long to answer about the batch"))
    return [future.result() if future in answered else late for future in asked]


def unavailable(error: IntakeError) -> JsonObject:
    """The members that say why AEP did not answer."""
    return {"aep": None, "aepError": {"reason": error.reason, "detail": str(error)}}


def _latest_items(seen: Iterable[Seen]) -> list[Seen]:
    """The item of each version that decides its status, the latest first.

    A request names an object of an unversioned bucket by its content alone. So an item from an
    event of that content, without a claim of its own, belongs to the request's order (see `Claim`).
    """

    def weight(item: Seen) -> tuple[bool, bool, int, bool]:
        return (
            item.claimed,
            item.noted != RETRYING,  # whatever came of it since says more
            item.expires,
            item.rejection is not None,
        )

    items = sorted(seen, key=weight)
    claimed = {item.version for item in items if item.claimed}
    latest: dict[str, Seen] = {}
    for item in items:
        content = f"{item.version.rpartition(':')[0]}:"
        of_request = content in claimed and item.version not in claimed
        latest[content if of_request else item.version] = item
    return sorted(latest.values(), key=_newness, reverse=True)


def _newness(seen: Seen) -> tuple[int, str]:
    """Sorts by the time of writing; within a second, by S3's sequencer if there is one."""
    return seen.expires, seen.version.rpartition(":")[2]


def _each[K, V](work: Callable[[K], V], keys: Iterable[K], ports: StatusPorts) -> dict[K, V]:
    listed = list(dict.fromkeys(keys))
    return dict(zip(listed, ports.side_by_side(work, listed), strict=True))


def _owners(shown: Iterable[Seen], bucket: str, key: str, ports: StatusPorts) -> dict[str, _Owner]:
    """The owner of each claimed version."""
    claimed = [item for item in shown if item.claimed and item.discarded is None]
    owners = {item.version: item.owner for item in claimed if item.owner}
    in_windows = [owner for owner in owners.values() if owner.startswith(WINDOW_PREFIX)]
    windows = _each(lambda owner: _window(owner, bucket, key, ports), in_windows, ports)
    return {
        version: windows[owner](version) if owner in windows else _Owner(None, (owner,))
        for version, owner in owners.items()
    }


def _window(window_id: str, bucket: str, key: str, ports: StatusPorts) -> Callable[[str], _Owner]:
    """The function that finds the owner, in a window, of a version of an object."""
    window = ports.windows.get(window_id)
    if window is None:
        return lambda _: _Owner(None, ())

    def owner(version: str) -> _Owner:
        numbers = range(len(window.parts))
        if len(numbers) > 1:
            at = ports.windows.part_of(window, bucket, key, version)
            numbers = numbers if at is None else range(at, at + 1)
        return _Owner(window, tuple(map(window.part_id, numbers)))

    return owner


def _orders(
    external_ids: Iterable[str], bucket: str, key: str, ports: StatusPorts
) -> dict[str, JsonObject]:
    """The status of each order of an object that the ledger still has, or of its half."""
    ledger = ports.ledger
    found = _each(
        lambda name: half_with(ledger.get(name), bucket, key, ledger), external_ids, ports
    )
    records = {name: record for name, record in found.items() if record is not None}
    told = ports.side_by_side(
        lambda record: about(record, _delivery(record, ports), ports), records.values()
    )
    aep = ports.ask(list(records.values()))
    return {
        name: _with_aep(ours, theirs) for name, ours, theirs in zip(records, told, aep, strict=True)
    }


def _with_aep(ours: JsonObject, theirs: JsonObject) -> JsonObject:
    """With AEP's answer, which alone knows how a batch ended that others fill."""
    if ours["state"] == Word.LOADING and "batchId" in ours and "delivery" not in ours:
        ended = states.told_by_catalog(theirs.get("aep") or {})
        ours = ours if ended is None else ours | ended.members()
    return ours | theirs


def _claimed(
    seen: Seen, owner: _Owner, statuses: Mapping[str, JsonObject], ports: StatusPorts
) -> JsonObject | None:
    """The status of its order, or of its window; None if the ledger no longer has these."""
    window, orders = owner.window, owner.orders
    about: JsonObject = {} if window is None else {"window": _about_window(window)}
    if len(orders) == 1 and orders[0] in statuses:
        return statuses[orders[0]] | about
    if window is None:
        return None
    if window.stage is not WindowStage.FINISHED:
        standing = states.of_window(window, seen.time)
    else:
        # A marker whose folder took several batches.
        several = orders[:FILES_MAX] if len(orders) > 1 else ()
        found = [each for some in ports.side_by_side(_standings(ports), several) for each in some]
        if not found:
            return None
        standing, about = states.of_several(found), about | {"orders": list(several)}
    return standing.members() | _about_order(window.order) | about


def _standings(ports: StatusPorts) -> Callable[[str], list[Standing]]:
    """The states of an order's last attempt, or of its halves."""

    def standings(external_id: str) -> list[Standing]:
        tried = attempts(external_id, ports.ledger)
        last = [each for each in tried if each.next_attempt is None and not each.split_into]
        return [_standing(record, _delivery(record, ports), ports) for record in last]

    return standings


def _superseded(seen: Seen, owner: _Owner | None, by: Arrival) -> JsonObject:
    """The status of a version that a newer one superseded, in its window or waiting folder."""
    window = None if owner is None else owner.window
    about = present(route=seen.route)
    if window is not None:
        about = _about_order(window.order) | {"window": _about_window(window)}
    standing = states.superseded(seen, _name(by))
    return standing.members() | {"supersededBy": _version(by)} | about


def _same_bytes(seen: Seen, status: JsonObject | None, same_as: Arrival) -> JsonObject:
    """The status of a copy, whose bytes are those of another version of the object."""
    about = dict(status or {})
    word = about.pop("state", None)
    for name in ("why", "since", "until"):
        about.pop(name, None)
    standing = states.same_bytes(seen, _name(same_as), word)
    return standing.members() | {"sameAs": _version(same_as)} | about


def _unclaimed(seen: Seen, arrival: Arrival, lost: Mapping[str, Record | None]) -> JsonObject:
    """The status of what nothing claims. `lost`: by id, the orders that went on without files."""
    standing, rejection = states.of_note(seen).members(), seen.rejection
    if rejection is None:
        return standing | present(route=seen.route)
    about, name = present(route=rejection.route or seen.route), seen.owner or arrival.external_id
    if seen.lost and (record := lost.get(name)) is not None:
        about = present(batchId=record.batch_id) | _about_order(record.order)
    return standing | about | {"externalId": name} | _why(rejection)


def about(record: Record, delivery: "Delivery | None", ports: StatusPorts) -> JsonObject:
    """All that the ledger says of an order, but its files. Raises LedgerUnavailable."""
    order = record.order
    who = present(
        externalId=order.external_id,
        attempt=order.attempt,
        batchId=record.batch_id,
    )
    why = {} if record.put_off is None else {"reason": record.put_off.reason}
    why = why if record.rejection is None else _why(record.rejection)
    newest = _newest(record, ports)
    newer = None if newest is None else _standing(newest, _delivery(newest, ports), ports)
    standing = _standing(record, delivery, ports, newer)
    if standing.word in (Word.FAILED, Word.ABANDONED) and delivery and delivery.verdict:
        why = {"reason": delivery.verdict.parked_as}
    when = present(
        delivery=delivery and _about_delivery(delivery),
        errors=_errors(delivery),
        replacedBy=_replaced_by(record, newest, newer),
        splitInto=None if record.split_into is None else list(record.split_into),
        openedAt=iso(record.opened_at),
        createdAt=record.created_at and iso(record.created_at),
        due=None if standing.word is Word.PAUSED or record.due is None else iso(record.due),
    )
    return standing.members() | who | why | _about_order(order) | when


def _standing(
    record: Record,
    delivery: "Delivery | None",
    ports: StatusPorts,
    newer: Standing | None = None,
) -> Standing:
    pause = None if record.paused is None else ports.pauses().get(record.paused)
    return states.of_order(record, delivery, newer, pause)


def _delivery(record: Record, ports: StatusPorts) -> "Delivery | None":
    return None if record.batch_id is None else ports.deliveries.get(record.order.external_id)


def _errors(delivery: "Delivery | None") -> list[JsonObject] | None:
    """AEP's errors as the delivery has them; AEP itself, if it is asked, has all of them."""
    verdict = None if delivery is None else delivery.verdict
    return None if verdict is None else explained(verdict.errors) or None


def _newest(record: Record, ports: StatusPorts) -> Record | None:
    """The newest order of its lineage, since an hourly marker makes many in between."""
    lineage, following = record.order.lineage, record.replaced_by
    if following is None:
        return None
    head = None if lineage is None else ports.ledger.head(lineage.subject)
    name = following if head is None else head.external_id
    return latest(ports.ledger.get(name), ports.ledger)


def _replaced_by(
    record: Record, newest: Record | None, standing: Standing | None
) -> JsonObject | None:
    if newest is None or standing is None:
        return None if record.replaced_by is None else {"externalId": record.replaced_by}
    return present(
        externalId=newest.order.external_id, state=standing.word, batchId=newest.batch_id
    )


def _about_order(order: Order) -> JsonObject:
    replaced = order.replaces
    return present(
        route=order.route,
        routesVersion=order.routes_version,
        trigger=order.trigger,
        imsOrg=order.target.ims_org,
        sandbox=order.target.sandbox,
        datasetId=order.target.dataset_id,
        inputFormat=order.options.get("inputFormat"),
        replaces=replaced and about_replaced(replaced),
        splitOf=order.split_of,
    )


def _about_delivery(delivery: "Delivery") -> JsonObject:
    verdict = delivery.verdict
    about = present(
        stage=delivery.stage,
        uploads=delivery.total or None,
        uploadedAt=delivery.uploaded_at and iso(delivery.uploaded_at),
        due=delivery.due and iso(delivery.due),
    )
    if verdict is None:
        return about
    return about | present(
        end=verdict.end,
        status=verdict.status,
        detail=verdict.detail,
        endedAt=iso(verdict.at),
        recordCount=verdict.metrics.get("inputRecordCount"),
        failedRecordCount=verdict.metrics.get("failedRecordCount"),
        unmappedRecordCount=verdict.unmapped or None,
        unmappedColumns=list(verdict.unmapped_columns) or None,
        unmappedColumnCount=verdict.unmapped_column_count or None,
    )


def _about_window(window: Window) -> JsonObject:
    closes = iso(window.start + window.length) if window.length else None  # a marker's has none
    if window.folder is not None:  # it moves
        closes = iso(window.due) if window.stage is WindowStage.OPEN and window.due else None
    return present(id=window.window_id, stage=window.stage, closesAt=closes)


def _why(rejection: Rejection) -> JsonObject:
    return {
        "reason": rejection.reason,
        "detail": rejection.detail,
        "rejectedAt": iso(rejection.at),
    }


def _arrival(bucket: str, key: str, version: str) -> Arrival:
    """An arrival with only the members that its version contains."""
    kind, _, rest = version.partition(":")
    if kind == "v":
        return Arrival(bucket, key, rest, "", None, 0, 0)
    etag, _, sequencer = rest.rpartition(":")
    return Arrival(bucket, key, None, etag, sequencer or None, 0, 0)


def _name(arrival: Arrival) -> str:
    return arrival.version_id or arrival.etag


def _version(arrival: Arrival) -> JsonObject:
    return present(
        versionId=arrival.version_id, etag=arrival.etag or None, sequencer=arrival.sequencer
    )
