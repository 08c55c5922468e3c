"""The list of a sealed window: a line of JSON for each file that joined it.

A window may hold some hundred thousand files, so here they are lines, which pass by one after the
other. In sorted lines, all versions of one object are neighbours. Two of them in one batch would
load its rows twice: the newest counts, and the others are marked as superseded by it.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import batched, groupby
from tempfile import TemporaryFile
from typing import IO, Any

from aep_intake.model.errors import Rejected, StorageUnavailable
from aep_intake.model.files import Arrival, OpenFile
from aep_intake.model.values import dataclass

# Of a gzip with more bytes than this, S3 is asked for the unpacked size: so few of them fill a
# batch that the requests are few. Of smaller ones it is estimated.
ISIZE_FROM_BYTES = 16_000_000
ISIZE_BYTES = 4  # at the end of a gzip: its unpacked size, modulo 2³²
SORTED_AT_ONCE = 10_000  # lines, in memory


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one object in a list."""

    newest: Arrival  # the one that counts
    superseded: tuple[Arrival, ...]
    lines: tuple[bytes, ...]  # of all of them, the superseded ones marked


def in_lines(files: Iterable[Arrival]) -> Iterator[bytes]:
    """A line for each file, sorted; each file once, however often it was listed.

    Sorted stretches of them wait on disk: memory holds one, however many files there are.
    """
    with ExitStack() as stack:
        stretches: list[IO[bytes]] = []
        for lines in batched(map(_line, files), SORTED_AT_ONCE, strict=False):
            stretch = stack.enter_context(TemporaryFile())
            stretch.writelines(sorted(lines))
            stretch.seek(0)
            stretches.append(stretch)
        for line, _ in groupby(merge(*stretches)):
            yield line


def versions(lines: Iterable[bytes]) -> Iterator[Versions]:
    """The versions of each object, in the order of the lines."""
    read = ((_read(line), line) for line in lines)
    for _, group in groupby(read, key=lambda pair: (pair[0].bucket, pair[0].key)):
        known = dict(group)
        newest = _newest(known)
        superseded = tuple(file for file in known if file != newest)
        known |= {file: _line(file, newest.version) for file in superseded}
        yield Versions(newest, superseded, tuple(known.values()))


def that_count(lines: Iterable[bytes]) -> tuple[Arrival, ...]:
    """The files in lines of a stored list that are not superseded."""
    return tuple(_arrival(data) for line in lines if "superseded_by" not in (data := _loaded(line)))


def read(lines: Iterable[bytes]) -> Iterator[tuple[Arrival, str | None]]:
    """All files in lines of a stored list, and the version that supersedes each."""
    return ((_arrival(data), data.get("superseded_by")) for data in map(_loaded, lines))


def beginning(bucket: str, key: str) -> bytes:
    """The bytes with which the lines of an object begin, and no others."""
    return f'{{"bucket":{_json(bucket)},"key":{_json(key)},'.encode()


def isize(file: Arrival, opened: OpenFile) -> int:
    """The unpacked size of a gzip, as its end says; 0 if it cannot be read now.

    Callers have an estimate, and errors of S3 are reported when the file itself is read.
    """
    try:
        with opened(file, file.size - ISIZE_BYTES, file.size) as end:
            return int.from_bytes(end.read()[-ISIZE_BYTES:], "little")
    except (Rejected, StorageUnavailable):
        return 0


def isize_matters(file: Arrival) -> bool:
    """Whether a file's `isize` is worth a request."""
    return file.gzipped and ISIZE_FROM_BYTES <= file.size < 2**32


def _newest(known: Iterable[Arrival]) -> Arrival:
    """The newest by its position if all have one; a listed file has its time only."""
    if all(file.position for file in known):
        return max(known, key=lambda file: (file.position, file.version))
    return max(known, key=lambda file: (file.time, file.position, file.version))


def _line(file: Arrival, superseded_by: str | None = None) -> bytes:
    rest: dict[str, Any] = {
        "version_id": file.version_id,
        "etag": file.etag,
        "sequencer": file.sequencer,
        "size": file.size,
        "time": file.time,
        "rows": file.rows,
        "brought_by": file.brought_by,
        "aged": file.aged or None,
        "superseded_by": superseded_by,
    }
    members = _json({name: value for name, value in rest.items() if value is not None})
    return beginning(file.bucket, file.key) + members[1:].encode() + b"\n"


def _read(line: bytes) -> Arrival:
    return _arrival(_loaded(line))


def _arrival(data: dict[str, Any]) -> Arrival:
    return Arrival(
        data["bucket"],
        data["key"],
        data.get("version_id"),
        data["etag"],
        data.get("sequencer"),
        data["size"],
        data["time"],
        rows=data.get("rows"),
        brought_by=data.get("brought_by"),
        aged=data.get("aged", False),
    )


def _loaded(line: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(line.decode())
    return data


# Made once: half a million files have to be listed within a minute.
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
