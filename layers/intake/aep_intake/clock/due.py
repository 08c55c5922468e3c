"""What is due, and how it is handed out: by class, the oldest first, with a lease, up to a cap.

Orders stand in lanes by their credential, of which each has its turn: twenty thousand orders of an
organization that is broken would else be tried before one of another's.

Whatever is unfinished carries the time at which someone must look again. Each class has shards and
a queue of its own, so that none waits behind another. What is handed out is leased: in the ledger
it is due again only after that, unless who works on it says something else. So nothing is handed
out twice while its message may still be on its way, and a message that is lost delays it by little
more than the lease. And no more is handed out than its queue has room for: however much is due, a
tick is short, and what became due first is next.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import batched
from operator import itemgetter
from typing import Any, Protocol

from aep_intake.model.files import digest
from aep_intake.model.orders import DELIVERY_PREFIX, FOLDER_PREFIX, WINDOW_PREFIX
from aep_intake.model.outcomes import SideBySide

# Milliseconds. A killed worker's due work goes on within three minutes of its own lease: this, and
# the minute until the next tick.
LEASE = 120_000
# Of a class: what a tick hands out at most, and what may wait in its queue. Adobe documents as many
# batches a minute.
AT_MOST = 2000
AT_ONCE = 10  # messages in one call to SQS
LANES = 16


class DueKind(StrEnum):
    """What can be due, in the order in which a tick looks: first what needs no AEP."""

    WINDOWS = "windows"
    FOLDERS = "folders"  # where files wait for a marker
    DELIVERIES = "deliveries"
    ORDERS = "orders"


@dataclass(frozen=True, slots=True)
class Due:
    """Something that someone must look at: its class, its id there, and since when (epoch ms).

    `shard`: where the ledger keeps it, as far as its class and id do not tell.
    """

    kind: DueKind
    id: str
    when: int
    shard: str = field(default="", compare=False)


class DueLedger(Protocol):
    """What remembers all that is unfinished. Every method raises LedgerUnavailable."""

    def due(self, kind: DueKind, now: int, most: int) -> list[Due]:
        """What is due of a class, by `fair`, up to `most`."""

    def lease(self, due: Due, until: int) -> int | None:
        """Have it due again at `until` only, unless someone moved it meanwhile (None).

        Gives since when it is due by what its owner said, whatever leases there were.
        """


@dataclass(frozen=True, slots=True)
class DuePorts:
    """What handing out needs of the world. `waiting`: about how many messages the queue of a class
    holds that nobody has received; `send` has things of a class looked at. Both raise
    StorageUnavailable. `side_by_side` is a `map`.
    """

    ledger: DueLedger
    waiting: Callable[[DueKind], int]
    send: Callable[[DueKind, list[str]], None]
    now: Callable[[], int]
    side_by_side: SideBySide


def lane(credential: str) -> int:
    """In which lane its orders are; several credentials may share one."""
    return int(digest(credential), 16) % LANES


def fair(lanes: Iterable[Iterable[Due]], most: int) -> list[Due]:
    """The oldest of each lane, then the second oldest of each, and so on; up to `most`."""
    ranked = [
        ((rank, due.when, due.id), due)
        for one in lanes
        for rank, due in enumerate(sorted(one, key=lambda due: (due.when, due.id)))
    ]
    return [due for _, due in sorted(ranked, key=itemgetter(0))[:most]]


def enqueue_due(kind: DueKind, ports: DuePorts) -> list[int]:
    """Hand out what is due of a class; gives since when each thing that was found is due.

    Raises LedgerUnavailable or StorageUnavailable; what was leased until then and not sent is due
    again when its lease ends.
    """
    found = ports.ledger.due(kind, ports.now(), AT_MOST)
    if not found:
        return []
    room = max(0, AT_MOST - ports.waiting(kind))
    some = list(batched(found[:room], AT_ONCE, strict=False))
    leased = ports.side_by_side(lambda these: _lease_and_send(kind, these, ports), some)
    return [since for these in leased for since in these] + [due.when for due in found[room:]]


def _lease_and_send(kind: DueKind, these: tuple[Due, ...], ports: DuePorts) -> list[int]:
    until = ports.now() + LEASE
    leased = [(due.id, ports.ledger.lease(due, until)) for due in these]
    ours = {name: since for name, since in leased if since is not None}
    if ours:
        ports.send(kind, list(ours))
    return list(ours.values())


def errand(kind: DueKind, name: str) -> dict[str, Any]:
    """What is put into a queue of something that is due."""
    return {"kind": kind, "externalId": name}


def read(body: str) -> tuple[DueKind, str]:
    """The class and the id of such a message; older ones tell the class by how the id begins."""
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
