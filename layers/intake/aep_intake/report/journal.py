"""The journal: every event of the intake bus, by day and hour, in compressed JSON Lines.

`journal/v1/day=2026-11-23/hour=15/NAME.jsonl.gz` in the state bucket: a line has the envelope's
`detail-type`, `id` and `time`, and the whole `detail`. Day and hour are UTC, of the detail's own
time, so that a repeat is in the same hour; a name follows from the events in the object, so that a
batch of messages that comes again overwrites it. Objects may hold repeats: who counts or queries
drops them by detail-type and external id.

The counts of an hour are made from all of its objects, and written whole.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import batched
from typing import Any, Protocol

from aep_intake.model.errors import NotYet, TryAgain
from aep_intake.model.outcomes import SideBySide
from aep_intake.model.times import hour_of, milliseconds
from aep_intake.model.values import dataclass
from aep_intake.report.counts import HourCounts, Tally

PREFIX = "journal/v1/"
AT_ONCE = 16  # objects that are read side by side: each may be some MB, unpacked
# Events that a worker counts in an hour, and remembers so that it reads each object once: 240 bytes
# each. What comes beyond is in the journal, and not in the counts.
EVENTS_MAX = 1_000_000

type Event = dict[str, Any]


class JournalObjects(Protocol):
    """The journal's objects. Every method raises StorageUnavailable."""

    def names(self, prefix: str) -> list[str]:
        """The keys that begin so."""

    def get(self, key: str) -> bytes:
        """The content of an object."""


class JournalStore(JournalObjects, Protocol):
    """The same, to be written."""

    def put(self, key: str, content: bytes) -> None:
        """Write an object, or write it again."""


class CountsLedger(Protocol):
    """The ledger of counts."""

    def put(self, counts: HourCounts) -> None:
        """Write them, unless those of more objects are there. Raises LedgerUnavailable."""


@dataclass(frozen=True, slots=True)
class JournalLine:
    """An event as it is written, when it happened (epoch ms), and the event."""

    text: bytes
    time: int
    event: Event


def line(body: str) -> JournalLine:
    """The line of an event, as EventBridge sends it to a queue. Raises ValueError of others."""
    match json.loads(body):
        case {"detail-type": str(), "id": str(), "time": str(), "detail": dict()} as sent:
            event = {name: sent[name] for name in ("detail-type", "id", "time", "detail")}
        case _:
            raise ValueError("this is not an event")
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    # The bus takes half a surrogate pair as an escape.
    return JournalLine(text.encode(errors="backslashreplace"), happened_at(event), event)


def happened_at(event: Event) -> int:
    """When an event happened (epoch ms): the latest time in its detail, else its own.

    A repeat says the same, whenever it is sent. Raises ValueError if there is none.
    """
    told = [_time(value) for name, value in event["detail"].items() if name.endswith("At")]
    own = max((time for time in told if time is not None), default=_time(event["time"]))
    if own is None:
        raise ValueError("an event without a time")
    return own


def _time(text: Any) -> int | None:
    try:
        return milliseconds(text)
    except (TypeError, ValueError):  # no text, or no time
        return None


def folder(hour: str) -> str:
    """The prefix of an hour's objects: of `2026-11-23T15`."""
    day, _, number = hour.partition("T")
    return f"{PREFIX}day={day}/hour={number}/"


def written(lines: Iterable[JournalLine]) -> tuple[str, bytes]:
    """The name and the content of the object with these lines: the same for the same events."""
    texts = sorted(line.text for line in lines)
    content = b"".join(text + b"\n" for text in texts)
    name = f"{sha256(content).hexdigest()[:32]}.jsonl.gz"
    return name, gzip.compress(content, compresslevel=6, mtime=0)


def read(content: bytes) -> Iterator[tuple[int, Event]]:
    """The events of an object, each with its own time (epoch ms)."""
    for text in gzip.decompress(content).splitlines():
        event = json.loads(text)
        yield happened_at(event), event


class Journal:
    """Keeps events and counts them; remembers what it has counted, so that it reads that once."""

    def __init__(
        self, objects: JournalStore, counts: CountsLedger, side_by_side: SideBySide
    ) -> None:
        self._objects = objects
        self._counts = counts
        self._side_by_side = side_by_side
        self._tallies: dict[str, Tally] = {}  # the latest hour to be counted is the last

    def keep(
        self, messages: Mapping[str, JournalLine], in_time: Callable[[], bool]
    ) -> dict[str, TryAgain]:
        """Write each message's line (by message id) and count its hour.

        Returns why some messages must come again. Once it is not `in_time`, no hour is begun: so of
        many hours some are done each time, and what was read of a large one need not be read again.
        """
        hours: dict[str, dict[str, JournalLine]] = {}
        for name, kept in messages.items():
            hours.setdefault(hour_of(kept.time), {})[name] = kept
        failed: dict[str, TryAgain] = {}
        for hour, lines in sorted(hours.items()):
            try:
                if not in_time():
                    raise NotYet("the worker's time is over")
                self._keep(hour, lines.values(), in_time)
            except TryAgain as error:
                failed |= dict.fromkeys(lines, error)
        return failed

    def _keep(self, hour: str, lines: Iterable[JournalLine], in_time: Callable[[], bool]) -> None:
        prefix = folder(hour)
        name, content = written(lines)
        self._objects.put(prefix + name, content)
        tally = self._tallies[hour] = self._tallies.pop(hour, Tally())
        if prefix + name not in tally.objects:
            tally.add(prefix + name, ((line.time, line.event) for line in lines))
        others = [key for key in self._objects.names(prefix) if key not in tally.objects]
        for keys in batched(others, AT_ONCE, strict=False):
            if len(tally) >= EVENTS_MAX:
                break
            if not in_time():
                raise NotYet(f"{len(others)} objects of {hour} are more than can be read at once")
            for key, found in zip(keys, self._side_by_side(self._objects.get, keys), strict=True):
                tally.add(key, read(found))
        self._counts.put(tally.counts(hour))
        while len(self._tallies) > 1 and sum(map(len, self._tallies.values())) > EVENTS_MAX:
            del self._tallies[next(iter(self._tallies))]
