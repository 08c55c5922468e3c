"""Hands out due work: by kind, the oldest first, with a lease, as much as its queue has room for.

Everything unfinished carries the time at which a worker must come back to it: its `due`. Each kind
has shards and a queue of its own, so that none waits behind another. Handing out moves `due` to the
end of a lease, unless the worker that gets the message moves it again. So nothing is handed out
twice while its message may be in flight, and a lost message delays the work by little more than the
lease. A full queue gets no more: so a tick is short however much is due, and the oldest is next.

Orders wait in lanes by their credential, which take turns: otherwise twenty thousand orders of a
broken organization would be tried before one of another's.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import field
from enum import StrEnum
from itertools import batched
from operator import itemgetter
from typing import Any, Protocol

from aep_intake.model.files import digest
from aep_intake.model.orders import DELIVERY_PREFIX, FOLDER_PREFIX, WINDOW_PREFIX
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.pauses import Pause
from aep_intake.model.times import DAY_MS, HOUR_MS
from aep_intake.model.values import dataclass

# Another worker resumes a killed worker's work within three minutes of the end of its lease: this,
# and the minute until the next tick.
LEASE_MS = 120_000
# Of a kind, in a tick and in its queue. Adobe documents as many batches a minute.
BACKLOG_MAX = 2000
MESSAGES_PER_CALL = 10  # SQS's limit
LANES = 16


class DueKind(StrEnum):
    """The kinds of due work, in the order of a tick: first those that need no AEP."""

    WINDOWS = "windows"
    FOLDERS = "folders"  # where files wait for a marker
    DELIVERIES = "deliveries"
    ORDERS = "orders"


@dataclass(frozen=True, slots=True)
class Due:
    """One piece of due work."""

    kind: DueKind
    id: str  # among its kind
    when: int  # since when it is due (epoch ms)
    shard: str = field(default="", compare=False)  # the ledger's, if kind and id do not decide it


class DueLedger(Protocol):
    """The ledger of all unfinished work. Every method raises LedgerUnavailable."""

    def due(self, kind: DueKind, now: int, limit: int) -> list[Due]:
        """The due work of a kind, in `fair` order, up to `limit`."""

    def lease(self, due: Due, until: int) -> int | None:
        """Make it due again at `until` (epoch ms); None if somebody moved it meanwhile.

        Returns since when it is due (epoch ms) by its owner's word, before any lease.
        """


class PauseLedger(Protocol):
    """The pauses of the ledger. Every method raises LedgerUnavailable."""

    def all(self) -> list[Pause]:
        """With those that are over and may still keep orders back."""

    def delete(self, pause: Pause) -> bool:
        """Delete a pause; False if somebody changed it."""

    def orders(self, pause: Pause, since: int, limit: int) -> list[Due]:
        """Orders that a pause keeps back since then (epoch ms), or before, up to `limit`."""


@dataclass(frozen=True, slots=True)
class DuePorts:
    """What handing out needs of the world."""

    ledger: DueLedger
    # About how many messages wait in the queue of a kind. Raises StorageUnavailable.
    backlog: Callable[[DueKind], int]
    # Puts ids into the queue of a kind. Raises StorageUnavailable.
    send: Callable[[DueKind, list[str]], None]
    now: Callable[[], int]  # epoch ms
    side_by_side: SideBySide


def lane(credential: str) -> int:
    """The lane of a credential's orders; several credentials may share one."""
    return int(digest(credential), 16) % LANES


def fair(lanes: Iterable[Iterable[Due]], limit: int) -> list[Due]:
    """The oldest of each lane, then the second oldest of each, and so on; up to `limit`."""
    ranked = [
        ((rank, due.when, due.id), due)
        for lane in lanes
        for rank, due in enumerate(sorted(lane, key=lambda due: (due.when, due.id)))
    ]
    return [due for _, due in sorted(ranked, key=itemgetter(0))[:limit]]


def enqueue_due(kind: DueKind, ports: DuePorts) -> list[int]:
    """Hand out the due work of a kind; since when (epoch ms) each piece of it is due.

    Raises LedgerUnavailable or StorageUnavailable. Work that was leased and not sent is due again
    when its lease ends.
    """
    found = ports.ledger.due(kind, ports.now(), BACKLOG_MAX)
    if not found:
        return []
    room = _room(kind, ports)
    return _hand_out(kind, found[:room], ports) + [due.when for due in found[room:]]


def enqueue_resumed(ports: DuePorts, pauses: PauseLedger, per_minute: int, renew_ms: int) -> None:
    """Hand out the orders of pauses that are over, as many as AEP takes in a minute.

    And those that have been paused for longer than `renew_ms`: a worker renews what the ledger has
    of them. A pause that is over and has no orders is deleted. None of this work is overdue.
    Raises LedgerUnavailable or StorageUnavailable.
    """
    now, found = ports.now(), list[list[Due]]()
    for pause in pauses.all():
        since = now - renew_ms if pause.resumed_at is None else now
        found.append(pauses.orders(pause, since, per_minute))
        # A worker that does not know yet that it is over may add one: it lives 15 minutes at most.
        over = pause.resumed_at is not None and now > pause.resumed_at + HOUR_MS
        if over and not pauses.orders(pause, now + DAY_MS, 1):
            pauses.delete(pause)
    if wanted := fair(found, per_minute):
        _hand_out(DueKind.ORDERS, wanted[: _room(DueKind.ORDERS, ports)], ports)


def _room(kind: DueKind, ports: DuePorts) -> int:
    return max(0, BACKLOG_MAX - ports.backlog(kind))


def _hand_out(kind: DueKind, wanted: list[Due], ports: DuePorts) -> list[int]:
    batches = batched(wanted, MESSAGES_PER_CALL, strict=False)
    leased = ports.side_by_side(lambda batch: _lease_and_send(kind, batch, ports), batches)
    return [since for batch in leased for since in batch]


def _lease_and_send(kind: DueKind, batch: tuple[Due, ...], ports: DuePorts) -> list[int]:
    until = ports.now() + LEASE_MS
    leased = [(due.id, ports.ledger.lease(due, until)) for due in batch]
    ours = {name: since for name, since in leased if since is not None}
    if ours:
        ports.send(kind, list(ours))
    return list(ours.values())


def errand(kind: DueKind, name: str) -> dict[str, Any]:
    """The message that asks a worker to resume this."""
    return {"kind": kind, "externalId": name}


def read(body: str) -> tuple[DueKind, str]:
    """The kind and the id in such a message; in older ones, the id's prefix shows the kind."""
    document = json.loads(body)
    name = str(document["externalId"])
    if "kind" in document:
        return DueKind(document["kind"]), name
    for prefix, kind in ((WINDOW_PREFIX, DueKind.WINDOWS), (FOLDER_PREFIX, DueKind.FOLDERS)):
        if name.startswith(prefix):
            return kind, name
    if name.startswith(DELIVERY_PREFIX):
        return DueKind.DELIVERIES, name.removeprefix(DELIVERY_PREFIX)
    return DueKind.ORDERS, name
