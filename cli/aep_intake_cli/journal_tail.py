"""The end of the journal: events as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aep_intake.model.times import HOUR_MS, hour_of
from aep_intake.report.counts import who_of
from aep_intake.report.journal import Event, JournalStore, folder, read
from rich.text import Text

from aep_intake_cli.output import quantity, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

COLOURS: Mapping[str, str] = {
    "Batch Succeeded": "green",
    "Batch Failed": "red",
    "Batch Abandoned": "red",
    "Arrival Rejected": "red",
    "Route Overdue": "red",
}


class Tail:
    """What is written from `now` on (epoch ms), in this hour and the one before.

    What happened earlier is a repeat. Every look raises StorageUnavailable.
    """

    def __init__(self, objects: JournalStore, now: int) -> None:
        self._objects = objects
        self._seen: dict[str, set[str]] = {}  # keys, by hour
        self._told: dict[str, set[tuple[str, str, str]]] = {}
        self._mark(self._new(now))

    def look(self, now: int) -> list[tuple[int, Event]]:
        """The events that are new, each once, with the time at which it happened (epoch ms)."""
        new, found = self._new(now), []
        # If S3 does not give one of them, all are read the next time.
        contents = [self._objects.get(key) for _, key in new]
        self._mark(new)
        for (hour, _), content in zip(new, contents, strict=True):
            told = self._told.setdefault(hour, set())
            for time, event in read(content):
                if (who := who_of(event)) not in told:
                    told.add(who)
                    found.append((time, event))
        return sorted(found, key=lambda each: each[0])

    def _new(self, now: int) -> list[tuple[str, str]]:
        """Hour and key of objects that were not there before."""
        hours = [hour_of(now - HOUR_MS), hour_of(now)]
        for old in self._seen.keys() - set(hours):
            del self._seen[old]
            self._told.pop(old, None)
        return [
            (hour, key)
            for hour in hours
            for key in self._objects.names(folder(hour))
            if key not in self._seen.get(hour, ())
        ]

    def _mark(self, new: Iterable[tuple[str, str]]) -> None:
        for hour, key in new:
            self._seen.setdefault(hour, set()).add(key)


def line(time: int, event: Event) -> Text:
    """An event on one line."""
    kind, detail = event["detail-type"], event["detail"]
    text = Text(f"{datetime.fromtimestamp(time / 1000, UTC):%H:%M:%S}  ")
    text.append(f"{visible(kind):<16}", COLOURS.get(kind, ""))
    text.append(f"  {visible(str(detail.get('route', '-')))}  ", "bold")
    text.append(visible("  ".join(_about(detail))))
    return text


def _about(detail: Mapping[str, Any]) -> Iterator[str]:
    if "batchId" in detail:
        yield f"batch {detail['batchId']}"
    if "reason" in detail:
        yield str(detail["reason"])
    if files := detail.get("files"):
        yield f"s3://{files[0]['bucket']}/{files[0]['key']}"
    more = detail.get("fileCount", 0) - (1 if files else 0)
    if more > 0:
        yield f"and {quantity(more, 'more file')}" if files else quantity(more, "file")
    rows = detail.get("ingestedRecordCount", detail.get("sentRecordCount"))
    if rows is not None:
        yield quantity(rows, "row")
    if "detail" in detail:
        yield str(detail["detail"])
