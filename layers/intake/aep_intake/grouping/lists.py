"""The list of a sealed window: a line of JSON for each file that joined it.

A window may hold some hundred thousand files, so here they are lines rather than objects. In sorted
lines, all versions of one object are neighbours. Two of them in one batch would load its rows
twice: the newest counts, and the others are marked as superseded by it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Any

from aep_intake.model.errors import Rejected, StorageUnavailable
from aep_intake.model.files import Arrival

# Of a gzip with more bytes than this, S3 is asked for the unpacked size: so few of them fill a
# batch that the requests are few. Of smaller ones it is estimated: text grows by about `GROWTH`.
ISIZE_FROM_BYTES = 16_000_000
GROWTH = 6
ISIZE_BYTES = 4  # at the end of a gzip: its unpacked size, modulo 2³²

# Opens the bytes of a file from one offset up to another.
type Opened = Callable[[Arrival, int, int], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one object in a list."""

    newest: Arrival  # the one that counts
    superseded: tuple[Arrival, ...]
    bytes: int  # of all their lines


def in_lines(files: Iterable[Arrival]) -> list[bytes]:
    """A line for each file, sorted; each file once, however often it was listed."""
    return sorted(set(map(_line, files)))


def versions(lines: list[bytes]) -> Iterator[Versions]:
    """The versions of each object, in the lines' order; marks the superseded ones in `lines`."""
    place = 0
    for _, group in groupby(map(_read, lines), key=lambda file: (file.bucket, file.key)):
        known = tuple(group)
        if len(known) == 1:
            yield Versions(known[0], (), len(lines[place]))
            place += 1
            continue
        newest = _newest(known)
        for number, file in enumerate(known, place):
            if file != newest:
                lines[number] = _line(file, newest.version)
        size = sum(map(len, lines[place : place + len(known)]))
        place += len(known)
        yield Versions(newest, tuple(file for file in known if file != newest), size)


def that_count(lines: Iterable[bytes]) -> tuple[Arrival, ...]:
    """The files in lines of a stored list that are not superseded."""
    return tuple(_arrival(data) for line in lines if "superseded_by" not in (data := _loaded(line)))


def read(lines: Iterable[bytes]) -> Iterator[tuple[Arrival, str | None]]:
    """All files in lines of a stored list, and the version that supersedes each."""
    return ((_arrival(data), data.get("superseded_by")) for data in map(_loaded, lines))


def beginning(bucket: str, key: str) -> bytes:
    """The bytes with which the lines of an object begin, and no others."""
    return f'{{"bucket":{_json(bucket)},"key":{_json(key)},'.encode()


def isize(file: Arrival, opened: Opened) -> int:
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


def unpacked(file: Arrival, isize: int = 0) -> int:
    """An estimate of the bytes that AEP gets of a file.

    `isize` is too low for a gzip with several members, or with more than 4 GiB.
    """
    if not file.gzipped:
        return file.size
    return isize if isize >= file.size else GROWTH * file.size


def _newest(known: Sequence[Arrival]) -> Arrival:
    """The newest by S3's sequencer if all have one; a listed file has its time only."""
    if all(file.sequencer for file in known):
        return max(known, key=lambda file: (file.position, file.version))
    return max(known, key=lambda file: (file.time, file.position, file.version))


def _line(file: Arrival, superseded_by: str | None = None) -> bytes:
    rest: dict[str, Any] = {
        "version_id": file.version_id,
        "etag": file.etag,
        "sequencer": file.sequencer,
        "size": file.size,
        "time": file.time,
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
    )


def _loaded(line: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(line.decode())
    return data


# Made once: half a million files have to be listed within a minute.
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
