"""Puts the small files of a run together, one after the other, and uploads them.

    read each file whole, and check it → write the list of what is right, if absent → send what the
    list says → mark

A file that fails its check is not in the list, and takes no other along. From then on the list is
what every worker sends: who finds it there reads its files again. If one of them is gone by then,
another worker may have sent it or not, so the run is lost, and its batch is aborted.

Files of CSV share an upload if they have the same header, which is sent once, and the same ends of
rows. A gzip that is larger than one upload has some of its own.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import field, replace
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO

from aep_intake.content.parts import CHUNK, Count, Part
from aep_intake.content.recognize import check_rows_told
from aep_intake.content.rows import Place
from aep_intake.delivery import contents
from aep_intake.delivery.contents import Entry
from aep_intake.delivery.delivery import Delivery, Mark, Progress
from aep_intake.delivery.ending import files_of
from aep_intake.delivery.pieces import Piece, Run
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.delivery.put import (
    SECONDS_MIN,
    Concatenated,
    check_time,
    checked_parts,
    is_sent,
    parts_of,
    send,
)
from aep_intake.model.errors import (
    EmptyObject,
    NotReadable,
    ReadTooSlowly,
    Rejected,
    StorageUnavailable,
    UploadRefused,
)
from aep_intake.model.files import Arrival
from aep_intake.model.progress import Rejection
from aep_intake.model.values import dataclass

SLOW_TRIES = 5  # of a run, before the files that the last one had no time for are left out
TRIES = 3  # of one file, before all of the run are read again later


def put_together(delivery: Delivery, run: Run, ports: DeliveryPorts) -> Mark | None:
    """The mark of a run; None if another worker must continue. Raises TryAgain, UploadRefused."""
    with TemporaryFile() as disk:
        entries, ready, done = contents.read(delivery, run, ports), dict[int, _Body](), 0
        if entries is None:
            entries, ready = _listed(delivery, run, ports, disk)
        elif progress := ports.deliveries.progress(delivery.external_id, run.number):
            done = progress.parts
        uploads = defaultdict[int, list[Entry]](list)
        for entry in _sent(entries):
            uploads[entry.upload].append(entry)
        longest = 0
        for number, members in sorted(uploads.items())[done:]:
            began = ports.now()
            if longest and began + longest > ports.uploads_end_ms:
                sent = Progress(parts=number)
                ports.deliveries.keep(delivery.external_id, run.number, sent)
                return None
            try:
                body = ready.get(number) or _again(delivery, members, ports, disk)
            except _Changed as changed:
                return _torn(delivery, run, changed, ports)
            path, size = run.path(number, delivery.input_format), contents.sizes(members)[number]
            send(delivery, path, body.stream(), size, ports)
            longest = max(longest, ports.now() - began, int(SECONDS_MIN * 1000))
    return contents.mark_of(entries)


def _listed(
    delivery: Delivery, run: Run, ports: DeliveryPorts, disk: IO[bytes]
) -> tuple[tuple[Entry, ...], dict[int, "_Body"]]:
    """The list of a run, whoever wrote it first, and what is ready to be sent of it."""
    gathered = _gathered(delivery, run, ports, disk)
    made = tuple(gathered.entries)
    if contents.write(delivery, run, made, ports):
        return made, gathered.bodies
    entries = contents.read(delivery, run, ports)
    if entries is None:
        raise StorageUnavailable("the list of a run is there and is not")
    return entries, gathered.bodies if _sent(entries) == _sent(made) else {}


def _sent(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.sent]


@dataclass(frozen=True, slots=True)
class _Body:
    """One upload: a header, and then ranges (offset, bytes) of what is on disk."""

    disk: IO[bytes]
    header: bytes
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, offset: int, size: int) -> None:
        """One more range, unless a header is all that a file has."""
        if not size:
            return
        if self.ranges and sum(self.ranges[-1]) == offset:
            offset, before = self.ranges.pop()
            size += before
        self.ranges.append((offset, size))

    def stream(self) -> Concatenated:
        """All of it, from its start."""
        return Concatenated(BytesIO(self.header), _Ranges(self.disk, iter(self.ranges)))


class _Ranges:
    """Some ranges of a file, one after the other."""

    def __init__(self, disk: IO[bytes], ranges: Iterator[tuple[int, int]]) -> None:
        self._disk, self._ranges = disk, ranges
        self._at = self._left = 0

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        some: list[bytes] = []
        while size:
            if not self._left:
                self._at, self._left = next(self._ranges, (0, 0))
                if not self._left:
                    break
            wanted = self._left if size < 0 else min(size, self._left)
            some.append(os.pread(self._disk.fileno(), wanted, self._at))
            self._at, self._left = self._at + wanted, self._left - wanted
            size -= wanted if size > 0 else 0
        return b"".join(some)


@dataclass(frozen=True, slots=True)
class _Read:
    """What is in a file: its parts, of which the content is kept if there is but one."""

    parts: tuple[tuple[Place | None, int, Count], ...] = ()  # where each begins, its bytes
    header: bytes = b""
    row_end: bytes = b""
    content: IO[bytes] | None = None  # behind the header
    known: Progress = Progress()  # of all of it
    lost: Rejection | None = None
    left: int = 0  # rows that could not be mapped, where no other row goes up with them


@dataclass(slots=True)
class _Upload:
    """An upload that is put together."""

    number: int
    body: _Body
    size: int  # bytes
    rows: int = 0


class _Gathered:
    """Entries of a list, and what is to be sent of them.

    The content is on `disk`; of a run that is larger than one upload may be, nothing is kept, and
    its files are read again, upload by upload.
    """

    def __init__(self, limit: int, disk: IO[bytes]) -> None:
        self._limit, self._disk = limit, disk
        self.entries: list[Entry] = []
        self.bodies: dict[int, _Body] = {}
        self._kept: int | None = 0  # bytes on disk; None once they are too many
        self._uploads = 0
        self._open: dict[tuple[bytes, bytes], _Upload] = {}  # by header and ends of rows

    def add(self, place: int, file: Arrival, read: _Read) -> None:
        """One more file, behind the others."""
        names, number = read.known.unmapped_columns, read.known.unmapped_column_count
        entry = Entry(
            place,
            file,
            lost=read.lost,
            unmapped_columns=names[: contents.COLUMNS_NAMED],
            unmapped_column_count=number,
        )
        if read.content is None:
            first, *more = [self._part(entry, read.header, *part) for part in read.parts] or [entry]
            unmapped, bad = first.unmapped + read.left, read.known.bad_rows
            self.entries += [replace(first, bad_rows=bad, unmapped=unmapped), *more]
            return
        [(_, size, count)] = read.parts
        end = read.row_end if size and _lacks(read.content, size, read.row_end) else b""
        upload = self._open.get((read.header, read.row_end))
        if upload is None or upload.size + size + len(end) > self._limit:
            upload = self._new(read.header)
            self._open[read.header, read.row_end] = upload
        if upload.size + size + len(end) > self._limit:  # then nothing follows it
            end = b""
        entry = _counted(entry, size + len(end), count, upload)
        self.entries.append(replace(entry, bad_rows=read.known.bad_rows))
        upload.size, upload.rows = upload.size + size + len(end), upload.rows + count.rows
        self._keep(upload, read.content, size, end)

    def _part(
        self, entry: Entry, header: bytes, since: Place | None, size: int, count: Count
    ) -> Entry:
        upload = self._new(header)
        self._forget()
        return replace(_counted(entry, size, count, upload), since=since)

    def _new(self, header: bytes) -> _Upload:
        upload = _Upload(self._uploads, _Body(self._disk, header), len(header))
        if self._kept is not None:
            self.bodies[upload.number] = upload.body
        self._uploads += 1
        return upload

    def _keep(self, upload: _Upload, content: IO[bytes], size: int, end: bytes) -> None:
        if self._kept is None:
            return
        if self._kept + size + len(end) > self._limit:
            self._forget()
            return
        _copy(content, self._disk)
        self._disk.write(end)
        self._disk.flush()
        upload.body.add(self._kept, size + len(end))
        self._kept += size + len(end)

    def _forget(self) -> None:
        self._kept = None
        self.bodies.clear()
        self._disk.truncate(0)


def _counted(entry: Entry, size: int, count: Count, upload: _Upload) -> Entry:
    """With what goes up of it, behind what is in the upload."""
    return replace(
        entry,
        size=size,
        rows=count.rows,
        broken=count.broken,
        unmapped=count.unmapped,
        oversized=count.oversized,
        first_oversized=count.first_oversized,
        upload=upload.number,
        offset=upload.size,
        rows_before=upload.rows,
    )


def _lacks(content: IO[bytes], size: int, row_end: bytes) -> bool:
    """Whether the last row has no end. Leaves `content` where it is."""
    at = content.tell()
    content.seek(at + size - 1)
    last = content.read(1)
    content.seek(at)
    return last not in (row_end[-1:], b"\n")


def _copy(content: IO[bytes], out: IO[bytes]) -> None:
    while chunk := content.read(CHUNK):
        out.write(chunk)


def _gathered(delivery: Delivery, run: Run, ports: DeliveryPorts, disk: IO[bytes]) -> _Gathered:
    """All files of a run, read and checked, in the order of the plan.

    The last of so many tries has half of its time for that, and leaves out what it did not read:
    so it can send the rest.
    """
    gathered = _Gathered(delivery.limit, disk)
    progress = ports.deliveries.progress(delivery.external_id, run.number) or Progress()
    last = progress.slow + 1 >= SLOW_TRIES
    files = list(enumerate(files_of(delivery, ports)[run.first : run.end], run.first))
    work = ports.ahead(lambda placed: (*placed, _read(delivery, run, placed[1], ports)), files)
    end, number = ports.uploads_end_ms, 0
    with _ended(work) as found:
        for number, (place, file, read) in enumerate(found, 1):
            if number == 1:  # other runs of this worker come before
                end -= (end - ports.now()) // 2 if last else 0
            gathered.add(place, file, read)
            if not last and ports.now() + SECONDS_MIN * 1000 > end and number > 1:
                slow = replace(progress, slow=progress.slow + 1)
                ports.deliveries.keep(delivery.external_id, run.number, slow)
            check_time(delivery, ports)
            if last and ports.now() >= end:
                break
    for place, file in files[number:]:
        error = ReadTooSlowly(
            f"{file.uri}: {SLOW_TRIES} workers ended before S3 had given them all of the "
            f"{len(files):,} files that share an upload, the last of them after {number:,}"
        )
        gathered.add(place, file, _Read(lost=Rejection.of(error, ports.now())))
    return gathered


def _ended[T](results: Iterable[T]) -> "closing[Generator[T]]":
    """The results, of which no more are worked on once the block is left."""

    def each() -> Generator[T]:
        yield from results

    return closing(each())


def _read(delivery: Delivery, run: Run, file: Arrival, ports: DeliveryPorts) -> _Read:
    """What is in a file, or why it cannot go up. Raises StorageUnavailable."""
    piece = Piece(run.number, file, 0, file.size)
    try:
        return _tried(lambda: _read_once(delivery, piece, ports))
    except EmptyObject:
        return _Read()
    except NotReadable as why:
        if ports.patient(delivery):
            raise
        return _Read(lost=Rejection(why.reason, why.detail, ports.now()))
    except Rejected as why:
        return _Read(lost=Rejection.of(why, ports.now()))


def _tried[T](read: Callable[[], T]) -> T:
    """What `read` finds, where S3 may not answer at first. Raises as it."""
    for _ in range(TRIES - 1):
        try:
            return read()
        except NotReadable:
            raise
        except StorageUnavailable:
            continue
    return read()


def _read_once(delivery: Delivery, piece: Piece, ports: DeliveryPorts) -> _Read:
    parts, left, since = list[tuple[Place | None, int, Count]](), 0, None
    read = _Read()
    try:
        with ports.opened(piece.file, 0, piece.file.size) as stream:
            for part, known in checked_parts(delivery, piece, stream, ports, Progress()):
                sent = part.count.sent(mapped=delivery.compiled_map is not None)
                if is_sent(delivery, part):
                    parts.append((since, part.size - len(part.header), sent))
                    read = _Read(header=part.header, row_end=part.row_end, content=part.body)
                else:
                    left += sent.unmapped
                read, since = replace(read, known=known), part.next
                if since is not None:  # a file of several parts is read again
                    part.body.close()
    except EmptyObject:
        check_rows_told(piece.file, 0)
        raise
    if read.known.parts > 1:
        read = replace(read, content=None)
    elif read.content is not None:
        read.content.seek(len(read.header))
    return replace(read, parts=tuple(parts), left=left)


class _Changed(Exception):
    """A file is not there any more, or not as the list of its run says."""

    def __init__(self, why: Rejected | NotReadable, place: int | None) -> None:
        super().__init__(str(why))
        self.why, self.place = why, place


def _again(
    delivery: Delivery, members: list[Entry], ports: DeliveryPorts, disk: IO[bytes]
) -> _Body:
    """An upload of a list that is there. Raises _Changed or StorageUnavailable."""
    disk.seek(0)
    disk.truncate()
    body = _Body(disk, b"")
    work = ports.ahead(lambda entry: (entry, _member(delivery, entry, ports)), members)
    with _ended(work) as found:
        for entry, part in found:
            check_time(delivery, ports)
            with part.body as content:
                header = part.header
                if entry is members[0]:
                    body = _Body(disk, header)
                content.seek(len(header))
                start, size = disk.tell(), part.size - len(header)
                _copy(content, disk)
                disk.write(part.row_end[: max(0, entry.size - size)])
                body.add(start, disk.tell() - start)
                as_listed = disk.tell() - start == entry.size and header == body.header
                if not as_listed or len(body.header) != members[0].offset:
                    refused = f"{entry.file.uri} is no longer read as it was for its list"
                    raise _Changed(UploadRefused(refused), None)
    disk.flush()
    return body


def _member(delivery: Delivery, entry: Entry, ports: DeliveryPorts) -> Part:
    try:
        return _tried(lambda: _part_of(delivery, entry, ports))
    except NotReadable as why:
        if ports.patient(delivery):
            raise
        raise _Changed(why, entry.place) from None
    except Rejected as why:
        raise _Changed(why, entry.place) from None


def _part_of(delivery: Delivery, entry: Entry, ports: DeliveryPorts) -> Part:
    with ports.opened(entry.file, 0, entry.file.size) as stream:
        return next(parts_of(delivery, entry.file, stream, ports).since(entry.since))


def _torn(delivery: Delivery, run: Run, changed: _Changed, ports: DeliveryPorts) -> Mark:
    """The mark of a run that can no longer be sent as its list says, unless the batch holds it."""
    why = Rejection(changed.why.reason, changed.why.detail, ports.now())
    mark = contents.held_or_lost(delivery, run, why, ports)
    if mark.lost is None:
        return mark
    # Another worker may be sending it, so some of it may be in the batch at any time.
    return replace(mark, size=max(1, mark.size), place=changed.place)
