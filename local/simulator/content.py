"""What is uploaded: on disk once it is big, with its digests, and never whole in memory."""

import hashlib
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

from .rows import Check, Findings

PIECE = 1024 * 1024
# Up to here it stays in memory: most tests upload a few lines, and need no file for that.
SMALL = 64 * 1024


class Disk:
    """Room for what is too big for memory.

    One file without a name, so nothing stays behind however the process ends; what is dropped
    frees its room only with the whole. May be used from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: int | None = None
        self._end = 0

    def append(self, piece: bytes | bytearray) -> int:
        """Where in the file `piece` went. Raises OSError: the disk is full."""
        with self._lock:
            if self._file is None:
                self._file, path = tempfile.mkstemp(prefix="aep-simulator-")
                os.unlink(path)  # noqa: PTH108 - it is a name, not a path to think about
                weakref.finalize(self, os.close, self._file)
            start, view = self._end, memoryview(piece)
            while view:
                written = os.pwrite(self._file, view, self._end)
                self._end += written
                view = view[written:]
        return start

    def read(self, start: int, length: int) -> bytes:
        """What `append` put there."""
        assert self._file is not None
        return os.pread(self._file, length, start)


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of an upload. `size` in bytes; digests in lower-case hex.

    `findings`: what the batch's input format makes of them. Bytes over the limit it was received
    under are counted, and not kept.
    """

    size: int
    sha256: str
    md5: str
    findings: Findings
    _disk: Disk = field(repr=False)
    _extents: tuple[tuple[int, int], ...] = field(repr=False)
    _tail: bytes = field(repr=False)

    def pieces(self) -> Iterator[bytes]:
        """The bytes, at most a megabyte at a time."""
        for start, length in self._extents:
            for offset in range(0, length, PIECE):
                yield self._disk.read(start + offset, min(PIECE, length - offset))
        if self._tail:
            yield self._tail

    def read(self) -> bytes:
        """All of it at once."""
        return b"".join(self.pieces())


class Incoming:
    """An upload on its way in. `limit`: how many bytes are kept, digested and looked at."""

    def __init__(self, disk: Disk, check: Check, limit: int) -> None:
        self._disk, self._check, self._limit = disk, check, limit
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._extents: list[tuple[int, int]] = []
        self._waiting = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises OSError: the disk is full."""
        for start in range(0, len(data), PIECE):
            self._take(data if len(data) <= PIECE else data[start : start + PIECE])

    def _take(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._limit:
            return
        self._sha256.update(piece)
        self._md5.update(piece)
        self._check.feed(piece)
        self._waiting += piece
        if len(self._waiting) > SMALL:
            self._put_away()

    def _put_away(self) -> None:
        start, length = self._disk.append(self._waiting), len(self._waiting)
        if self._extents and sum(self._extents[-1]) == start:
            start, before = self._extents.pop()
            length += before
        self._extents.append((start, length))
        self._waiting = bytearray()

    def done(self) -> Content:
        """What came."""
        return Content(
            self.size,
            self._sha256.hexdigest(),
            self._md5.hexdigest(),
            self._check.done(),
            self._disk,
            tuple(self._extents),
            bytes(self._waiting),
        )
