"""Versions of files by state, route and time: a line for each, in its present state.

    waiting                 the lists of folders where files wait
    gathering, loading      the lists of windows that have no orders yet
    orders without a batch  the ledger's unfinished orders, with their files
    retrying                these, and the ledger's notes of what could not be taken in yet
    the rest                the journal, hour by hour, the newest first: it says which orders got a
                            batch, and which files were rejected; the ledger, how they stand now,
                            and which versions were set aside in that hour

A version is told where its present state was decided: with the last attempt of its order, at the
rejection that still stands, or when it was set aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched, chain
from typing import TYPE_CHECKING, Any, Protocol

from aep_intake.adapters.aws.journal import JournalBucket
from aep_intake.adapters.dynamodb.listing import DynamoListed
from aep_intake.adapters.dynamodb.table import Table as LedgerTable
from aep_intake.clock.due import DueKind
from aep_intake.model.files import Arrival
from aep_intake.model.history import RETRYING
from aep_intake.model.progress import Record, State
from aep_intake.model.times import HOUR_MS, hour_of, iso, milliseconds
from aep_intake.model.windows import Window, WindowStage
from aep_intake.report import journal, states, status
from aep_intake.report.events import ARRIVAL_REJECTED, BATCH_CREATED
from aep_intake.report.listing import OBJECTS_AT_ONCE, ListedLedger
from aep_intake.report.states import UNFINISHED, Word
from rich.table import Column, Table
from rich.text import Text

from aep_intake_cli import standing
from aep_intake_cli.output import about_it, end_of, short_time, start_of, visible

if TYPE_CHECKING:
    import boto3
    from aep_intake.delivery.delivery import Delivery
    from aep_intake.grouping.ports import Folders
    from aep_intake.report.journal import JournalObjects

    from aep_intake_cli.stack import Stack

ASIDE = (Word.SUPERSEDED, Word.SAME_BYTES, Word.LEFT_OUT)
STATES = tuple(map(str, Word))
AT_ONCE = 100

type FileLine = dict[str, Any]


class FilesLedger(ListedLedger, Protocol):
    """The ledger. Every method raises LedgerUnavailable."""

    def aside(self, where: str) -> Iterator[Arrival]:
        """The versions that were set aside in an hour, `2026-11-28T05`, or that are RETRYING."""


class JoinedWindows(Protocol):
    """The ledger of windows. Every method raises LedgerUnavailable."""

    def get(self, window_id: str) -> Window | None:
        """The current window."""

    def joined(self, window_id: str) -> Iterator[Arrival]:
        """All files of a window, some perhaps twice."""


@dataclass(frozen=True)
class FilesPorts:
    """What a list of files needs of the world."""

    journal: JournalObjects
    ledger: FilesLedger
    windows: JoinedWindows
    folders: Folders
    claimants: Callable[[Sequence[Arrival]], Container[Arrival]]  # as the ledger's
    status: status.StatusPorts


@dataclass(frozen=True)
class Chosen:
    """Which files are asked for: None: of all states, or routes. `since` in epoch milliseconds."""

    since: int
    state: str | None = None
    route: str | None = None

    def fits(self, state: str, route: str | None) -> bool:
        """Whether a version is asked for."""
        return self.state in (None, state) and self.route in (None, route)


def files_ports(stack: Stack, session: boto3.Session) -> FilesPorts:
    """The journal and the ledger of a stack."""
    ledger = standing.opened(stack, session)
    table = LedgerTable(session.client("dynamodb"), stack.output("LedgerTable"))
    return FilesPorts(
        JournalBucket(session.client("s3"), stack.output("StateBucketName")),
        DynamoListed(table, lambda: [pause.name for pause in ledger.pauses.all()]),
        ledger.windows,
        ledger.folders,
        ledger.claimants,
        standing.status_ports(stack, session),
    )


def lines(chosen: Chosen, now: int, ports: FilesPorts) -> Iterator[FileLine]:
    """The files, the unfinished first, then the newest. Raises IntakeError."""
    found: list[Iterable[FileLine]] = []
    if chosen.state in (None, Word.WAITING):
        found.append(_waiting(chosen, ports))
    if chosen.state in (None, Word.GATHERING, Word.LOADING):
        found.append(_in_windows(chosen, ports))
    if chosen.state in (None, *UNFINISHED):
        found.append(_without_batch(chosen, ports))
    if chosen.state in (None, Word.RETRYING):
        found.append(_retrying(chosen, ports))
    if chosen.state not in (Word.WAITING, Word.GATHERING, Word.RETRYING):
        hours = range(now - now % HOUR_MS, chosen.since - HOUR_MS, -HOUR_MS)
        told: set[tuple[str, ...]] = set()
        for hour in map(hour_of, hours):
            if chosen.state not in ASIDE:
                found.append(_of_hour(hour, chosen, ports, told))
            if chosen.state in (None, *ASIDE):
                found.append(_aside(hour, chosen, ports, told))
    return chain.from_iterable(found)


def _unfinished(kind: DueKind, ports: FilesPorts) -> Iterator[list[str]]:
    """The ids of unfinished work, so many at a time."""
    ids, after = ports.ledger.unfinished(kind, "", AT_ONCE)
    yield ids
    while after:
        ids, after = ports.ledger.unfinished(kind, after, AT_ONCE)
        yield ids


def _waiting(chosen: Chosen, ports: FilesPorts) -> Iterator[FileLine]:
    for folder_id in chain.from_iterable(_unfinished(DueKind.FOLDERS, ports)):
        folder = ports.folders.get(folder_id)
        groups = ports.folders.waiting(folder_id, "" if folder is None else folder.done, "~")
        files = (
            file for each in groups if chosen.fits("waiting", each.route) for file in each.files
        )
        for some in batched(files, AT_ONCE, strict=False):
            taken = ports.claimants(some)  # until their time is over, they stay in the list
            for line in _present((file for file in some if file not in taken), ports):
                if line["state"] == Word.WAITING:  # it may be superseded, or rejected
                    yield line


def _in_windows(chosen: Chosen, ports: FilesPorts) -> Iterator[FileLine]:
    for window_id in chain.from_iterable(_unfinished(DueKind.WINDOWS, ports)):
        window = ports.windows.get(window_id)
        # The parts of one that is planned are orders, or will be in a moment.
        if window is None or window.stage not in (WindowStage.OPEN, WindowStage.SEALED):
            continue
        for file in {file.external_id: file for file in ports.windows.joined(window_id)}.values():
            told = states.of_window(window, file.time).members()
            if chosen.fits(told["state"], window.order.route):
                yield _line(file, told | {"route": window.order.route})


def _without_batch(chosen: Chosen, ports: FilesPorts) -> Iterator[FileLine]:
    for ids in _unfinished(DueKind.ORDERS, ports):
        for record, delivery in ports.ledger.orders(ids).values():
            if record.state is State.OPEN and record.batch_id is None:
                yield from _of_order(record, delivery, chosen, ports)


def _retrying(chosen: Chosen, ports: FilesPorts) -> Iterator[FileLine]:
    """What has no order yet; no route is known of it."""
    for line in _present(ports.ledger.aside(RETRYING), ports):
        without_order = line["state"] == Word.RETRYING and "externalId" not in line
        if without_order and chosen.fits(line["state"], line.get("route")):
            yield line


def _of_order(
    record: Record, delivery: Delivery | None, chosen: Chosen, ports: FilesPorts
) -> Iterator[FileLine]:
    """The files of the last attempt of an order."""
    if record.next_attempt is not None or record.split_into is not None:
        return
    if chosen.route not in (None, record.order.route):
        return
    verdict = None if delivery is None else delivery.verdict
    if verdict is not None and (verdict.lost or verdict.short):  # not all files have one state
        for line in _present(ports.status.ledger.files(record.order), ports):
            # Of those that were let go, their rejections tell.
            in_it = line.get("batchId") == record.batch_id and "reason" not in line
            if in_it and chosen.fits(line["state"], chosen.route):
                yield line
        return
    told = status.about(record, delivery, ports.status)
    if chosen.state in (None, told["state"]):
        for file in ports.status.ledger.files(record.order):
            yield _line(file, told)


def _of_hour(
    hour: str, chosen: Chosen, ports: FilesPorts, told: set[tuple[str, ...]]
) -> Iterator[FileLine]:
    """What the events of an hour decided, and still stands, the newest first.

    `told`: versions that were told so far, of those that no event decided: what somebody
    discarded after a rejection.
    """
    created, rejected = _events(hour, chosen.since, ports)
    for places in batched(sorted(created, reverse=True), AT_ONCE, strict=False):
        orders = ports.ledger.orders([name for _, name in places])
        for time, name in places:
            if name in orders and orders[name][0].created_at == time:
                yield from _of_order(*orders[name], chosen, ports)
    for (time, _), detail in sorted(rejected.items(), key=lambda each: each[0], reverse=True):
        # The ledger keeps no route of what has no order.
        route = {name: detail[name] for name in ("route",) if name in detail}
        for present in _present(_files_of(detail, ports), ports):
            line = route | present
            stands = line.get("since") == iso(time)
            if line["state"] == Word.DISCARDED and "batchId" not in line:
                stands = _is_first(line, told)
            if stands and chosen.fits(line["state"], line.get("route")):
                yield line


def _aside(
    hour: str, chosen: Chosen, ports: FilesPorts, told: set[tuple[str, ...]]
) -> Iterator[FileLine]:
    """What was set aside in an hour, and still is; of what has a batch by now, its events tell."""
    for line in _present(ports.ledger.aside(hour), ports):
        wanted = line["state"] in ASIDE and chosen.fits(line["state"], line.get("route"))
        if wanted and _is_first(line, told):
            yield line


def _is_first(line: FileLine, told: set[tuple[str, ...]]) -> bool:
    """Whether a version is told for the first time."""
    version = tuple(line.get(name, "") for name in _VERSION)
    known = version in told
    told.add(version)
    return not known


type _Place = tuple[int, str]  # when it happened (epoch ms), and to what


def _events(
    hour: str, since: int, ports: FilesPorts
) -> tuple[set[_Place], dict[_Place, dict[str, Any]]]:
    """The orders that got their batch, and the rejections, of an hour, each once."""
    created: set[_Place] = set()
    rejected: dict[_Place, dict[str, Any]] = {}
    for some in batched(ports.journal.names(journal.folder(hour)), OBJECTS_AT_ONCE, strict=False):
        for content in ports.status.side_by_side(ports.journal.get, some):
            for time, event in journal.read(content):
                detail = event["detail"]
                if event["detail-type"] == BATCH_CREATED and time >= since:
                    created.add((time, detail["externalId"]))
                elif event["detail-type"] == ARRIVAL_REJECTED and time >= since:
                    # A file that was lost has the id of its order, as others have.
                    first = (detail.get("files") or [{}])[0].get("key", "")
                    kept = {n: detail[n] for n in ("files", "manifest", "route") if n in detail}
                    rejected[time, f"{detail['externalId']} {first}"] = kept
    return created, rejected


def _files_of(detail: dict[str, Any], ports: FilesPorts) -> Iterator[Arrival]:
    listed = detail.get("files")
    if listed is None and "manifest" in detail:
        listed = json.loads(ports.journal.get(detail["manifest"]["key"]))["files"]
    for file in listed or ():
        sequencer = file.get("sequencer")
        yield Arrival(
            file["bucket"], file["key"], file.get("versionId"), file["etag"], sequencer, 0, 0
        )


def _present(files: Iterable[Arrival], ports: FilesPorts) -> Iterator[FileLine]:
    """How each of the files stands now, as `aep-intake file` says."""

    def told(file: Arrival) -> FileLine | None:
        found = status.of_version(file, ports.status)
        return None if found is None else _line(file, found)

    for some in batched(files, AT_ONCE, strict=False):
        yield from filter(None, ports.status.side_by_side(told, some))


_VERSION = ("uri", "versionId", "etag", "sequencer")
_MEMBERS = ("state", "why", "since", "until", "reason", "route", "externalId", "batchId")


def _line(file: Arrival, told: dict[str, Any]) -> FileLine:
    names = {"versionId": file.version_id, "etag": file.etag, "sequencer": file.sequencer}
    version = {name: value for name, value in names.items() if value}
    return {"uri": file.uri} | version | {name: told[name] for name in _MEMBERS if name in told}


def table(found: Iterable[FileLine], width: int, now: int) -> Table:
    """A line for each file, in so many columns: the end of a long address, the start of a long why.

    Why, and until when, is left out of what is loaded.
    """
    lines = list(found)
    shown = Table(*(Column(name, no_wrap=True) for name in ("state", "since", "route", "file")))
    begin = [(line["state"], _short(line, "since", now), visible(_route(line))) for line in lines]
    begin = [("state", "since", "route"), *begin]
    room = width - sum(max(map(len, column)) for column in zip(*begin, strict=True)) - 3 * 5 - 1
    whys = [_why(line, now) for line in lines]
    addresses = [visible(line["uri"]) for line in lines]
    longest = max(map(len, whys), default=0)
    if longest:
        shown.add_column("why", overflow="fold")
    file_room = max(20, room - min(longest, room * 2 // 5))
    why_room = 3 * (room - min(file_room, max(map(len, addresses), default=0)))
    for line, (_, since, route), uri, why in zip(lines, begin[1:], addresses, whys, strict=True):
        cells = [since, route, end_of(uri, file_room), start_of(why, max(60, why_room))]
        shown.add_row(standing.coloured(line["state"]), *map(Text, cells[: len(shown.columns) - 1]))
    return shown


def _route(line: FileLine) -> str:
    return str(line.get("route") or "-")


def _why(line: FileLine, now: int) -> str:
    """Why; the file is named beside it."""
    if line["state"] == Word.LOADED:
        return ""
    why = about_it(line["why"], line["uri"])
    return visible(f"until {_short(line, 'until', now)}: {why}" if "until" in line else why)


def _short(line: FileLine, name: str, now: int) -> str:
    return short_time(milliseconds(line[name]), now) if name in line else ""
