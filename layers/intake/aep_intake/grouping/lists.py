"""The list of a sealed window: a line for each file that joined it, and what the lines say.

A window may hold some hundred thousand files, so here they are lines of JSON rather than objects.
Sorted, all versions of one object stand together. Two of them in one batch would be its rows twice:
the newest counts, and the others are marked as superseded by it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Any

from aep_intake.model.errors import Rejected, StorageUnavailable
from aep_intake.model.files import Arrival

# Of a gzip: what it holds is asked of S3 only where there is so much of it that a batch is sooner
# full of such files than they are many. Of the others, text grows by about so much.
WORTH_A_LOOK = 16_000_000
GROWTH = 6
ISIZE = 4  # bytes at the end of a gzip: how many it holds, modulo 2³²

type Opened = Callable[[Arrival, int, int], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Versions:
    """Of one object in a list: the version that counts, those it supersedes, its lines' bytes."""

    newest: Arrival
    superseded: tuple[Arrival, ...]
    bytes: int


def in_lines(files: Iterable[Arrival]) -> list[bytes]:
    """A line for each file, sorted; each file once, however often it was listed."""
    return sorted(set(map(_line, files)))


def versions(lines: list[bytes]) -> Iterator[Versions]:
    """What counts of each object, in their order; the others are marked in `lines` by then."""
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
    """The files of a part of a list, as it was written."""
    return tuple(_arrival(data) for line in lines if "superseded_by" not in (data := _loaded(line)))


def read(lines: Iterable[bytes]) -> Iterator[tuple[Arrival, str | None]]:
    """All files of a list, as it was written, and which version supersedes each."""
    return ((_arrival(data), data.get("superseded_by")) for data in map(_loaded, lines))


def beginning(bucket: str, key: str) -> bytes:
    """How the lines of an object begin, and no other one's."""
    return f'{{"bucket":{_json(bucket)},"key":{_json(key)},'.encode()


def isize(file: Arrival, opened: Opened) -> int:
    """What a gzip says at its end of how much it holds; 0 where that is not to be read now.

    Whoever asks has a guess, too, and S3's troubles are told where the file itself is needed.
    """
    try:
        with opened(file, file.size - ISIZE, file.size) as end:
            return int.from_bytes(end.read()[-ISIZE:], "little")
    except (Rejected, StorageUnavailable):
        return 0


def worth_a_look(file: Arrival) -> bool:
    """Whether to ask a file's `isize`."""
    return file.gzipped and WORTH_A_LOOK <= file.size < 2**32


def unpacked(file: Arrival, said: int = 0) -> int:
    """Bytes that AEP gets of a file, by estimate. `said`: its `isize`.

    That is too low where a gzip has several members, or more than 4 GiB.
    """
    if not file.gzipped:
        return file.size
    return said if said >= file.size else GROWTH * file.size


def _newest(known: Sequence[Arrival]) -> Arrival:
    """By S3's sequencer where all have one; what a listing tells of has its time only."""
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
    told = _json({name: value for name, value in rest.items() if value is not None})
    return beginning(file.bucket, file.key) + told[1:].encode() + b"\n"


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
