"""What would become of messages if they were redriven now.

It is the code that takes them in, with ports that read and do not write: its first write of an
order, a window or a list ends it, for then nothing stands in the way. What it would only note, tell
or send is left out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from aep_intake.arrivals.envelopes import Received
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.redrive import redrive
from aep_intake.arrivals.results import Known, Skipped
from aep_intake.arrivals.take_in import take_in
from aep_intake.grouping.waiting_files import reject_overdue
from aep_intake.model.errors import AlreadyClaimed, IntakeError, Rejected
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.outcomes import SideBySide, caught
from aep_intake.model.pauses import pause_of
from aep_intake.model.progress import Outcome, OutcomeKind, Record
from aep_intake.model.windows import Window

# What reads, of the ledger with its windows and folders, and of AEP; `transactions` only counts.
READS = frozenset(
    {
        "get",
        "head",
        "files",
        "claimant",
        "claimants",
        "seen_and_counted",
        "seen",
        "newest_marker_time",
        "holds",
        "newest_of",
        "transactions",
    }
    | {"part_of", "joined", "waiting", "files_max", "files_bytes_max", "batch", "find"}
)


NOTES = ("reject", "note", "note_waiting", "note_marker_time", "note_superseded", "renew")


class Would(Exception):
    """The first write: what the message becomes, and for which order."""

    def __init__(self, becomes: str, order: Order | None = None) -> None:
        super().__init__(becomes)
        self.becomes = becomes
        self.order = order


class _Reading:
    """A port that reads. `instead` of a write it does this; any other one is the first write."""

    def __init__(self, port: object, becomes: str, **instead: Callable[..., Any]) -> None:
        self._port = port
        self._becomes = becomes
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        if name in READS:
            return getattr(self._port, name)
        return self._instead.get(name, self._write)

    def _write(self, *arguments: object) -> None:
        about = next((one for one in reversed(arguments) if isinstance(one, Record | Window)), None)
        raise Would(self._becomes, about.order if about else None)


class _Silent:
    """A bus that tells nobody."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


def _nothing(*_: object) -> None:
    pass


def reading(intake: IntakePorts) -> IntakePorts:
    """The same, which writes nothing and sends nothing."""
    real, windows = intake.ledger, intake.windows.ledger

    def free(files: Iterable[Arrival]) -> None:
        owners = {file: owner for file in files if (owner := real.claimant(file)) is not None}
        if owners:
            raise AlreadyClaimed("other orders hold them", claimed=owners)

    def opened(record: Record) -> Record:
        current = real.get(record.order.external_id)
        if current is None:
            free(record.order.files)
            ledger.replace(record)
        return current or record

    def reclaimed(_: Record, record: Record) -> None:
        free(record.order.files)
        ledger.replace(record)

    def joined(window: Window, *files: Any) -> None:
        free(files[-1])
        raise Would("window", window.order)

    notes = dict.fromkeys(NOTES, _nothing)
    ledger: Any = _Reading(
        real, "batch", open=opened, reclaim=reclaimed, claim_copy=lambda *_: True, **notes
    )
    looked: Any = _Reading(
        windows,
        "window",
        open=lambda window: windows.get(window.window_id) or window,
        register=joined,
        begin=joined,
    )
    folders: Any = _Reading(intake.waiting.folders, "waits", hold=_nothing, remember=_nothing)
    platform: Any = _Reading(intake.creating.platform, "batch")
    silent: Any = _Silent()
    creating = replace(intake.creating, ledger=ledger, platform=platform, announcer=silent)
    waiting = replace(intake.waiting, ledger=ledger, folders=folders, announcer=silent)
    return replace(
        intake,
        creating=replace(creating, pace=_nothing, park=_nothing),
        windows=replace(intake.windows, ledger=looked, orders=ledger, enqueue=_nothing),
        waiting=replace(waiting, send=_nothing, take_in=_nothing),
        ledger=ledger,
        announcer=silent,
        hand_on=None,
    )


def would_become(
    contents: Sequence[Received],
    intake: IntakePorts,
    side_by_side: SideBySide,
    *,
    even_if_overtaken: bool,
) -> list[list[dict[str, Any]]]:
    """What each thing in each message would become, as JSON: `becomes`, and why or for which order.

    batch, window, waits, paused   it would get a batch, join a window, wait for a marker, or a
                                   pause would keep it back
    nothing                        it is there already, or is not wanted: its item ends
    parked                         it would be refused, with `reason` and `detail`
    retried                        something does not answer now; it would be tried again for a day
    """
    dry = reading(intake)
    wanted = {a.external_id: a for content in contents for a in content.arrivals}
    redriven = frozenset[str]() if even_if_overtaken else frozenset(wanted)
    results: dict[str, Any] = dict(take_in(wanted, dry, side_by_side, redriven))
    told = []
    for content in contents:
        found = [results[arrival.external_id] for arrival in content.arrivals]
        if content.order is not None:
            found.append(caught(redrive, content.order, dry, side_by_side, content.wish))
        if content.overdue is not None:
            found.append(caught(reject_overdue, content.overdue, dry.waiting, side_by_side))
        if content.rejection is not None:
            found.append(content.rejection)
        told.append([_told(result, intake) for result in found])
    return told


def _told(result: object, intake: IntakePorts) -> dict[str, Any]:
    match result:
        case Would(order=order):
            paused = order is not None and pause_of(order, intake.creating.pauses()) is not None
            told = {"becomes": "paused" if paused else result.becomes} | _about(order)
        case IntakeError():
            becomes = "parked" if isinstance(result, Rejected) else "retried"
            told = {"becomes": becomes, "reason": result.reason, "detail": result.detail}
        case Exception():
            raise result
        case Outcome(OutcomeKind.PAUSED, record):
            told = {"becomes": "paused"} | _about(record.order)
        case Outcome(_, record):
            told = {"becomes": "nothing", "why": f"batch {record.batch_id}"} | _about(record.order)
        case Known(owner):
            told = {"becomes": "nothing", "why": owner}
        case Skipped(why):
            told = {"becomes": "nothing", "why": why}
        case _:
            told = {"becomes": "nothing", "why": "no file waits any more"}
    return told


def _about(order: Order | None) -> dict[str, Any]:
    if order is None:
        return {}
    return {
        "externalId": order.external_id,
        "attempt": order.attempt,
        "route": order.route,
        "sandbox": order.target.sandbox,
        "datasetId": order.target.dataset_id,
    }
