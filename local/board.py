"""What `make run` expects of each sample, what came, and the table that compares the two."""

import gzip
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from local.bus import Event
from local.stack import ROOT, Parked

SAMPLES = ROOT / "local" / "samples"
WIDE_COLUMNS = 110  # of a terminal in which the table shows route, dataset and end separately
ENDS = {"Batch Succeeded", "Batch Failed", "Batch Abandoned", "Batch Replaced"}
IGNORED = {"event": "ignored"}
FROM_LOOKUPS = {"inAep", "waited"}


@dataclass
class Item:
    """A request, an object, or objects with one outcome: what is expected, and what came.

    `files`: key → sample. `expect` and `got` use the members of our events, and: `event` also
    "ignored"; `parked`, whether the dead-letter queue has it, for that reason; `http`, the answer's
    status; `batchOf`, the request that made the same batch; `replacesBatchOf`, the objects whose
    batch it replaces; `inAep`, what became of the batch there; `waited`, how many of the files
    waited for a marker. `end`: the event that its batch must end with, None where there is none or
    it does not matter; `ended`, the one that came; `held`, what AEP holds of the batch then.
    `gone`: whether its file is deleted, this very version, before it can be uploaded; `versions`:
    those that were sent, by key. `becomes`: the sample that must arrive, if its file is mapped.
    """

    title: str
    expect: dict[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    end: str | None = None
    gone: bool = False
    becomes: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    got: dict[str, Any] = field(default_factory=dict)
    ended: Event | None = None
    held: dict[str, Any] | None = None
    sent: float | None = None
    took: float | None = None

    @property
    def has_all_events(self) -> bool:
        """Whether all expected events and answers have come."""
        missing = self.expect.keys() - self.got.keys() - FROM_LOOKUPS
        return self.sent is not None and (not missing or self.expect == IGNORED)

    @property
    def is_complete(self) -> bool:
        """Whether all expected members are known."""
        return self.sent is not None and self.expect.keys() <= self.got.keys()

    @property
    def has_ended(self) -> bool:
        """Whether the batch has ended as far as that matters, and its files are known."""
        return self.end is None or (self.ended is not None and self.held is not None)

    @property
    def as_expected(self) -> bool:
        # A batch that is replaced has nothing to lose. Of one that another program completes it
        # depends on whether the newer one is in its place by then.
        lost = self.got.get("lost")
        if self.gone and self.end is None:
            fine = lost in (None, "object-gone")
        else:
            fine = lost == ("object-gone" if self.gone and self.end != "Batch Replaced" else None)
        delivered = self.end is None or self._delivered
        return self.expect.items() <= self.got.items() and fine and delivered

    @property
    def _delivered(self) -> bool:
        """Whether the batch ended as it should, and holds the very bytes that were sent."""
        if self.ended is None or self.held is None or self.ended["detail-type"] != self.end:
            return False
        held = sorted(file["sha256"] for file in self.held["files"])
        arrived = [self.becomes or self.files[file["key"]] for file in self.got["files"]]
        contents = list(map(_content, arrived))
        if len(contents) > 1 and self.got["inputFormat"]["format"] != "parquet":
            contents = [b"".join(contents)]  # small files share an upload
        sent = sorted(sha256(content).hexdigest() for content in contents)
        return self.end == "Batch Replaced" or held == sent


class Board:
    """All items and what is known of them; events come in on the listener's thread."""

    def __init__(self, samples: dict[str, Any]) -> None:
        self.objects = {
            _name(sample): Item(
                _title(sample),
                sample["expect"],
                _files(sample),
                _end(sample),
                sample.get("gone", False),
                sample.get("becomes"),
            )
            for sample in samples["objects"]
        }
        self.requests = {
            sample["name"]: Item(
                f"{sample['method']} {sample['path']}\n{sample['note']}", sample["expect"]
            )
            for sample in samples["requests"]
        }
        self.unexpected: list[Event] = []
        self._early: dict[str, tuple[Event, float]] = {}
        self._lock = threading.Lock()

    @property
    def items(self) -> list[Item]:
        return [*self.objects.values(), *self.requests.values()]

    def see(self, event: Event) -> None:
        now = time.monotonic()
        with self._lock:
            files = event["detail"].get("files") or []
            if event["detail-type"] in ENDS:
                self._end(event)
                return
            if files:
                item = self._sent(files, event["detail"].get("externalId"))
            else:
                item = self._request_of(event["detail"].get("batchId"))
            if item:
                _record(item, event, now)
                if replaced := event["detail"].get("replaces"):
                    item.got["replacesBatchOf"] = self._objects_of(replaced["batchId"])
            elif not files and "batchId" in event["detail"]:
                self._early[event["detail"]["batchId"]] = (event, now)
            else:
                self.unexpected.append(event)

    def _end(self, event: Event) -> None:
        for item in self.items:
            if item.got.get("externalId") == event["detail"]["externalId"]:
                item.ended = event
                return
        self.unexpected.append(event)

    def answered(self, name: str, status: int, body: dict[str, Any]) -> None:
        """Note the answer to a request, and the event if it was faster."""
        with self._lock:
            item = self.requests[name]
            if item.sent:
                item.took = time.monotonic() - item.sent
            item.got["http"] = status
            # POST answers as Adobe does; GET tells what the ledger knows.
            if batch_id := body.get("id") or body.get("batchId"):
                item.got["batchId"] = batch_id
                first = next(k for k, i in self.requests.items() if i is self._request_of(batch_id))
                if first != name:
                    item.got["batchOf"] = first
                if early := self._early.pop(batch_id, None):
                    _record(item, *early)
            elif "type" in body:
                item.got["reason"] = body["type"].rpartition("/")[2].rpartition(":")[2]

    def parked(self, messages: Iterable[Parked]) -> None:
        """Note what the dead-letter queue has."""
        with self._lock:
            for message in messages:
                for item in self.objects.values():
                    if any(json.dumps(k) in message.body or k in message.body for k in item.files):
                        item.got["parked"] = message.attributes["reason"] == item.got.get("reason")

    def add_lookups(
        self, batches: Iterable[Mapping[str, Any]], ledger: list[dict[str, Any]], ignored: int
    ) -> None:
        """Note what no event says, from AEP's batches, the ledger's items and the count of ignored.

        An object is ignored if it was counted so, the ledger does not know it, and no event came.
        """
        statuses = {batch["id"]: batch["status"] for batch in batches}
        waiting = [each["uri"]["S"] for each in ledger if each.get("noted") == {"S": "waiting"}]
        remembered = json.dumps(ledger, ensure_ascii=False, default=repr)  # counts are packed
        with self._lock:
            for item in self.items:
                if "inAep" in item.expect:
                    item.got["inAep"] = statuses.get(item.got.get("batchId", ""))
                if "waited" in item.expect:
                    item.got["waited"] = sum(
                        any(uri.endswith(f"/{key}") for uri in waiting) for key in item.files
                    )
            silent = [item for item in self.objects.values() if "event" not in item.got]
            if ignored == sum(len(item.files) for item in silent):
                for item in silent:
                    if not any(key in remembered for key in item.files):
                        item.got |= IGNORED

    def mismatched(self, batches: Iterable[Mapping[str, Any]]) -> list[str]:
        """Batches that only AEP knows, and did not abort, or only an event or an answer."""
        made = {batch["id"]: batch["status"] for batch in batches}
        with self._lock:
            named = {item.got["batchId"] for item in self.items if "batchId" in item.got}
        return sorted(each for each in made.keys() ^ named if made.get(each) != "aborted")

    def unexpected_events(self) -> list[Event]:
        """Events that belong to no item."""
        with self._lock:
            return [*self.unexpected, *(event for event, _ in self._early.values())]

    def _request_of(self, batch_id: str | None) -> Item | None:
        """The request that was first answered with this batch."""
        return next(
            (i for i in self.requests.values() if batch_id and i.got.get("batchId") == batch_id),
            None,
        )

    def _sent(self, files: list[dict[str, Any]], external_id: str | None) -> Item | None:
        """The item that all `files` are of; of several versions the last, unless it is known."""
        keys = {file["key"] for file in files}
        sent = [i for i in self.objects.values() if i.sent is not None and keys <= i.files.keys()]
        known = [i for i in sent if external_id and i.got.get("externalId") == external_id]
        return next(reversed(known or sent), None)

    def _objects_of(self, batch_id: str) -> str | None:
        """Name of the objects whose batch this is."""
        return next(
            (name for name, i in self.objects.items() if i.got.get("batchId") == batch_id), None
        )

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < WIDE_COLUMNS
        caption = "ms: time until the batch was announced; the first of each kind have a cold start"
        table = Table(expand=True, show_lines=True, caption=caption)
        table.add_column("object or request", ratio=1, overflow="fold")
        # Ids stay whole, for copying.
        if narrow:
            table.columns[0].header = "object or request, and where it goes"
        else:
            table.add_column("route", overflow="fold")
            table.add_column("dataset", min_width=24, no_wrap=True)
        table.add_column("batch id or reason", min_width=26, no_wrap=True)
        table.add_column("ms", justify="right", min_width=5)
        if not narrow:
            table.add_column("final result", min_width=12)
        table.add_column("as expected", justify="center", width=8)
        with self._lock:
            for item in self.items:
                title, route, dataset, outcome, took, end, tick = _cells(item)
                if narrow:
                    where = Text("\n").join(filter(None, [title, route, dataset]))
                    table.add_row(where, Text("\n").join(filter(None, [outcome, end])), took, tick)
                else:
                    table.add_row(title, route, dataset, outcome, took, end, tick)
        yield table


def mapped_rows(items: Iterable[Item]) -> Iterator[str]:
    """The first two rows of each file that is mapped, and what AEP has of them."""
    for item in items:
        if item.becomes and item.as_expected:
            [(key, file)] = item.files.items()
            source = item.got.get("sourceFormat", {})
            before = _content(file).decode(source.get("charset", "utf-8")).splitlines()
            after = _content(item.becomes).decode().splitlines()
            header = f": {before.pop(0)}" if source.get("format") == "csv" else ""
            yield f"{key}{header}"
            for row, becomes in list(zip(before, after, strict=True))[:2]:
                yield f"  {row}\n  → {becomes.replace(',"', ', "')}"


def _end(sample: Mapping[str, Any]) -> str | None:
    created = sample["expect"].get("event") == "Batch Created"
    end: str | None = sample.get("end", "Batch Succeeded" if created else None)
    return end


def _content(file: str) -> bytes:
    """What must arrive: gzip is unpacked before the upload."""
    content = (SAMPLES / file).read_bytes()
    return gzip.decompress(content) if file.endswith(".gz") else content


def _name(sample: Mapping[str, Any]) -> str:
    return str(sample.get("name", sample.get("key")))


def _title(sample: Mapping[str, Any]) -> str:
    where = sample.get("folder", sample.get("key"))
    return "\n".join(filter(None, [where, sample.get("note")]))


def _files(sample: Mapping[str, Any]) -> dict[str, str]:
    if "folder" in sample:
        return {sample["folder"] + name: file for name, file in sample["files"].items()}
    return {sample["key"]: sample.get("file", "")}


def _record(item: Item, event: Event, now: float) -> None:
    detail, got = event["detail"], item.got
    if got.get("event") == "Batch Created" and event["detail-type"] == "Arrival Rejected":
        got["lost"] = detail["reason"]  # a file of the batch, when it was to be uploaded
        return
    before = got.get("event"), got.get("batchId")
    present = event["detail-type"], detail.get("batchId")
    if "event" in got and before != present:
        got["event"] = f"{before}, then {present}"
        return
    got |= detail | {"event": event["detail-type"]}
    if item.sent:
        item.took = now - item.sent


def _cells(item: Item) -> Iterator[Text]:
    got = item.got
    pending = "" if item.sent is None else "waiting" if "fileCount" in item.expect else "…"
    yield Text(item.title)
    yield Text(got.get("route", ""))
    yield Text("\n".join(filter(None, [got.get("datasetId", ""), got.get("sandbox", "")])))
    outcome = [got.get("batchId") or got.get("reason") or got.get("event", pending)]
    if "http" in got:
        outcome.append(f"HTTP {got['http']}")
    if got.get("parked"):
        outcome.append("in the dead-letter queue")
    if got.get("fileCount", 0) > 1:
        outcome.append(f"{got['fileCount']} files")
    if "lost" in got:
        outcome += ["then its own file was lost", got["lost"]]
    if replaced := got.get("replaces"):
        outcome += ["replaces the data of", replaced["batchId"]]
    if got.get("inAep", "loading") != "loading":
        outcome.append(f"{got['inAep']} in AEP")
    yield Text("\n".join(filter(None, outcome)))
    yield Text(f"{item.took * 1000:.0f}" if item.took is not None else "")
    yield _final_result(item)
    if item.is_complete and item.has_ended:
        yield Text("✓", "green") if item.as_expected else Text("✗", "bold red")
    else:
        yield Text("")


def _final_result(item: Item) -> Text:
    """The rows that are in the dataset by AEP's own count, or why there are none."""
    if item.ended is None:
        return Text("" if item.end is None else "…")
    detail = item.ended["detail"]
    if item.ended["detail-type"] == "Batch Succeeded":
        rows = (item.held or {}).get("rowsIngested")
        return Text("ingested" if rows is None else f"{rows} rows")
    errors = [error["code"] for error in detail.get("errors", ())]
    return Text("\n".join([detail["status"], *errors[:1]]))
