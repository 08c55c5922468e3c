"""Files that wait for a marker, or for their ready file.

A file that waits has neither an order nor a message. So that it is not forgotten, the ledger lists
it by folder and by its deadline: its arrival plus the route's `within`. Then a message rejects
those files of a folder that no marker has taken, and checks them again when it is redriven.

    Folders.wait       list waiting files, and make their folder due at the first deadline
    hold               a marker came: reject no file of its folder while it is worked on
    send_overdue       when a folder is due: send messages for the overdue files, unless orders or
                       windows have all of them, and make it due at the next deadline
    reject_overdue     reject those files of the message that still wait; a marker took the others,
                       or a newer version superseded them before a marker came. A worker with little
                       time left sends the message again instead
    release            files were taken: end what is parked of their folder, if it was for them

The folder remembers the messages that are parked. Those of which all files have been taken since
are sent again, as a redrive does: so their items end.

A ready file is a marker for one file (see `ready`). A marker that is worked on some time after it
came waits in the same list: when it is due, it is taken in again.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf

from aep_intake.grouping import ready
from aep_intake.grouping.ports import WaitingPorts
from aep_intake.model.errors import (
    LeaseLost,
    MarkerMissing,
    NotYet,
    Rejected,
)
from aep_intake.model.files import Arrival, digest
from aep_intake.model.history import (
    RETRYING,
    WAITING,
    Folder,
    Hold,
    OverdueFiles,
    Seen,
    WaitingFile,
    WaitingGroup,
)
from aep_intake.model.orders import FOLDER_PREFIX
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.progress import Rejection
from aep_intake.model.times import MINUTE_MS, duration

FILES_PER_MESSAGE = 100  # which are announced together
REJECTING_MS = 20_000  # in which a worker surely rejects the files of a message
# Deadlines are rounded up to a quarter of `within`, so that files that come bit by bit need few
# messages.
DEADLINES_PER_WITHIN = 4
HANDED_ON_MS = 3 * MINUTE_MS  # from one worker to the next, by a queue or by the clock
# So long after a deadline, and the grace of its route, a marker that came in time has been worked
# on, by two workers at least.
HOLD_MAX_MS = 40 * MINUTE_MS
PARKED_MAX = 100  # messages that a folder remembers; the others wait for a redrive
MESSAGES_MAX = 500  # of a worker, which has a minute; the next one goes on


def folder_of(file: Arrival) -> str:
    """Id of a file's folder, or of the one above its partitions (`year=2026/month=11/`)."""
    parts: list[str] = file.key.split("/")[:-1]
    while parts and "=" in parts[-1]:
        parts.pop()
    return _folder_id(file, parts)


def _folder_id(file: Arrival, parts: Sequence[str]) -> str:
    return FOLDER_PREFIX + digest("folder", file.bucket, *parts)


def hold(marker: Arrival, present: Hold, ports: WaitingPorts) -> None:
    """Reject no file of a marker's folder while workers handle it. `present`: of this one.

    Raises LedgerUnavailable.
    """
    longer = replace(present, until=present.until + HANDED_ON_MS)
    ports.folders.hold(_folder_id(marker, marker.key.split("/")[:-1]), longer)


def _hold_ends(files: Iterable[Arrival], due: int, ports: WaitingPorts) -> int:
    """Until when (epoch ms) a marker that may take some of the files may be worked on.

    `due`: their deadline. Of a marker that came after it, nobody waits for the end.
    """
    above = set[str]()
    for file in files:
        parts = file.key.split("/")[:-1]
        above |= {_folder_id(file, parts[:depth]) for depth in range(len(parts) + 1)}
    holds = ports.folders.holds(sorted(above))
    return max((min(one.until, due + one.grace + HOLD_MAX_MS) for one in holds), default=0)


def groups(waiting: Iterable[WaitingFile], now: int, end: int) -> list[WaitingGroup]:
    """Files that came together, by folder and route. `now`, `end`: as for `deadline`."""
    found: dict[tuple[str, str, int, tuple[str, ...], str | None], list[Arrival]] = {}
    for each in waiting:
        place = (folder_of(each.file), each.route, each.within, each.ready, each.owner)
        found.setdefault(place, []).append(each.file)
    return [
        WaitingGroup(
            folder_id,
            route,
            within,
            deadline(now, within, end),
            tuple(files),
            ready,
            owner=owner,
        )
        for (folder_id, route, within, ready, owner), files in found.items()
    ]


def deadline(now: int, within: int, end: int) -> int:
    """Until when a file waits that comes now (all in milliseconds), rounded up.

    `end`: when the worker that lists it has surely ended. Else, with a short `within`, it could
    list the file behind the place up to which another worker has handled the folder: for nobody.
    """
    step = within // DEADLINES_PER_WITHIN
    return -(-max(now + within, end) // step) * step


def later(marker: Arrival, route: str, due: int) -> WaitingGroup:
    """A marker as a group of its own, which is taken in again at `due` (epoch ms).

    No worker that lists it may live longer than that: who handles the folder would not look again.
    """
    return WaitingGroup(folder_of(marker), route, 0, due, (marker,), is_marker=True)


def send_overdue(folder_id: str, ports: WaitingPorts) -> None:
    """Send messages for the overdue files of a folder that is due, and markers whose time has come.

    Raises as the ports.
    """
    folder = ports.folders.get(folder_id)
    if folder is None or folder.due is None or ports.now() < folder.due:
        return
    until = f"{ports.now():013}~"
    after = folder.done
    for number, some in enumerate(_messages(ports.folders.waiting(folder_id, after, until))):
        if number == MESSAGES_MAX:
            until = after
            break
        last = some[-1].place
        if not _all_taken(some, ports):
            ports.send(OverdueFiles(folder_id, after, last))
        for group in some:
            if group.is_marker:
                ports.take_in(*group.files)
        after = last
    _advance(folder, until, _send_taken(folder, ports), ports)


def _messages(groups: Iterable[WaitingGroup]) -> Iterator[list[WaitingGroup]]:
    """Groups that share a message, in their order.

    Whoever does this again, as a worker died, puts the same ones together: what was taken meanwhile
    counts, too.
    """
    some: list[WaitingGroup] = []
    files = 0
    for group in groups:
        if files and files + len(group.files) > FILES_PER_MESSAGE:
            yield some
            some, files = [], 0
        some.append(group)
        files += len(group.files)
    if some:
        yield some


def _all_taken(groups: Iterable[WaitingGroup], ports: WaitingPorts) -> bool:
    """Whether orders or windows have all of the files."""
    files = {file for group in groups if not group.is_marker for file in group.files}
    return len(ports.ledger.claimants(list(files))) == len(files)


def release(folder_id: str, ports: WaitingPorts) -> None:
    """Files of a folder were taken: end what is parked of it, if it was for them."""
    folder = ports.folders.get(folder_id)
    if folder is not None and (taken := _send_taken(folder, ports)):
        with suppress(LeaseLost):  # then they are sent once more, for nothing
            ports.folders.remember(folder, _without(folder, taken))


def _send_taken(folder: Folder, ports: WaitingPorts) -> list[OverdueFiles]:
    """Send those parked messages again of which nothing waits any more; these."""
    taken = []
    for overdue in folder.parked:
        found = list(ports.folders.waiting(overdue.folder_id, overdue.after, overdue.until))
        if found and _all_taken(found, ports):
            ports.send(overdue)
            taken.append(overdue)
    return taken


def _without(folder: Folder, taken: Sequence[OverdueFiles]) -> tuple[OverdueFiles, ...]:
    return tuple(overdue for overdue in folder.parked if overdue not in taken)


def _remember(overdue: OverdueFiles, ports: WaitingPorts) -> None:
    """Have the folder remember a message that is about to be parked."""
    while (folder := ports.folders.get(overdue.folder_id)) is not None:
        if overdue in folder.parked or len(folder.parked) >= PARKED_MAX:
            return
        with suppress(LeaseLost):
            ports.folders.remember(folder, (*folder.parked, overdue))
            return


def _advance(folder: Folder, done: str, taken: Sequence[OverdueFiles], ports: WaitingPorts) -> None:
    """Make the folder due at its next deadline, even if files come meanwhile.

    `taken`: parked messages that it need not remember.
    """
    current: Folder | None = folder
    while current is not None and current.done == folder.done:
        following = next(ports.folders.waiting(folder.folder_id, done, "~", at_once=1), None)
        due = None if following is None else following.due
        new = Folder(folder.folder_id, due, done, current.revision + 1, _without(current, taken))
        try:
            ports.folders.advance(current, new)
        except LeaseLost:
            current = ports.folders.get(folder.folder_id)
        else:
            return


def reject_overdue(
    overdue: OverdueFiles, ports: WaitingPorts, side_by_side: SideBySide, worker_end: float = inf
) -> None:
    """Reject those files that still wait. `worker_end`: when the worker ends (epoch ms).

    If a worker died half-way, the next one would announce some files twice: so a worker without
    enough time sends the message again. Raises MarkerMissing if some files wait, once all are
    announced and recorded; NotYet while a marker is worked on that may take them;
    LedgerUnavailable, NotAnnounced or StorageUnavailable.
    """
    if ports.now() > worker_end - REJECTING_MS:
        ports.send(overdue)
        return
    found = ports.folders.waiting(overdue.folder_id, overdue.after, overdue.until)
    listed = [group for group in found if not group.is_marker]
    files = {file: group for group in listed for file in group.files}
    name = overdue.external_id
    waits = side_by_side(lambda file: _still_waits(file, files[file], name, ports), files)
    late = tuple(file for file, still in zip(files, waits, strict=True) if still)
    if not late:
        return
    wait = _hold_ends(late, files[late[0]].due, ports) - ports.now()
    if wait > 0:
        why_not = f"a marker of {late[0].uri}'s folder is worked on"
        raise NotYet(why_not, retry_after=wait / 1000, external_id=name)
    others = f" and {len(late) - 1:,} more of its folder" if len(late) > 1 else ""
    why = MarkerMissing(
        f"{late[0].uri}{others}: {_what_is_missing(files[late[0]])}",
        external_id=name,
    )
    why.route, why.owner = files[late[0]].route, files[late[0]].owner
    why.files = late
    rejection = Rejection.of(why, ports.now())
    _remember(overdue, ports)
    ports.announcer.arrival_rejected(name, late, rejection)
    reject = ports.ledger.reject
    list(side_by_side(lambda file: reject(file, rejection, name), late))
    # Whoever took them just now may have seen nothing parked.
    if len(ports.ledger.claimants(late)) == len(late):
        ports.send(overdue)
    raise why


def _what_is_missing(group: WaitingGroup) -> str:
    time = duration(group.within)
    if group.ready:
        return (
            f"route `{group.route}` lets each wait for its ready file ({group.ready[0]}), and "
            f"none has come in {time}, or only one of an earlier version. Find out why it was not "
            "written; the files are taken even now when it comes"
        )
    return (
        f"route `{group.route}` lets them wait for a marker, and none has taken them in {time}. "
        "Find out why the marker was not written, was rejected, or came before them; a marker "
        "takes them even now"
    )


def _still_waits(file: Arrival, group: WaitingGroup, name: str, ports: WaitingPorts) -> bool:
    """Whether a file has no other fate than to be rejected by that name, and no newer version."""
    seen = ports.ledger.seen(file.object_id)
    versions = {file.version}
    if file.version_id is None:  # the version as S3 lists it to a marker
        versions.add(f"e:{file.etag}:")
    if _has_fate(versions, seen, name):
        return False
    try:
        present = ports.objects.arrival(file.bucket, file.key)
    except Rejected:  # it was deleted or archived before a marker took it
        return True
    if group.ready and ready.let_through(file, group.ready, ports) is not None:
        ports.take_in(file)  # the event of its ready file was lost, or is not one we take
        return False
    newest = ready.newest([file, *(item.file for item in seen if item.file is not None)])
    if group.ready and newest.version != file.version:  # perhaps with the same bytes
        ports.ledger.note_superseded(file, newest.version, group.route)
        return False
    if file.etag != present.etag or file.version_id not in (None, present.version_id):
        # No marker can take it any more, and the newer version has a group of its own.
        ports.ledger.note_superseded(file, present.version, group.route)
        return False
    # Some senders of events leave out the version.
    return not _has_fate({present.version}, seen, name)


def _has_fate(versions: set[str], seen: list[Seen], name: str) -> bool:
    # What was tried again, for a while, may wait since.
    ours = [item for item in seen if item.version in versions and item.noted != RETRYING]
    # An item expires a fixed time after it was written: the larger, the later.
    waits_since = max((item.expires for item in ours if item.noted == WAITING), default=0)
    return any(_is_fate(item, waits_since, name) for item in ours)


def _is_fate(item: Seen, waits_since: int, name: str) -> bool:
    """Whether an item of the ledger says that a version no longer waits."""
    if item.rejection is None:  # an order or a window claims it, or it is superseded
        return item.noted != WAITING
    if item.rejection.reason == MarkerMissing.reason:  # by this very message, it waits again
        return item.owner != name
    return item.expires >= waits_since  # it was rejected after it had begun to wait
