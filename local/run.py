"""`make run`: start everything here, send the samples, and show the outcome of each.

Exit status 0 only if every outcome is the one that local/samples/samples.json expects.
"""

import gzip
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.bus import Event
from local.children import ChildFailed, ends_with_us
from local.stack import ROOT, LocalStack, Parked

SAMPLES = ROOT / "local" / "samples"
PATIENCE_SECONDS = 240  # for what does not wait for a window
# Files that share a window are sent only if it stays open for so long: all must join it in time.
ENOUGH_SECONDS = 12
WIDE_COLUMNS = 110  # of a terminal in which the table shows route, dataset and end separately
# Delivery is paused until every batch is created, as some samples want theirs still loading.
LIMITS = {"outcomeSeconds": 1}
ENDS = {"Batch Succeeded", "Batch Failed", "Batch Abandoned", "Batch Replaced"}
IGNORED = {"event": "ignored"}
FROM_LOOKUPS = {"inAep", "waited"}

type Say = Callable[[str], object]


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


class RunDisplay:
    """The run while it lasts: how far it is, what it waits for, and what is still to come.

    It is as high as the terminal at most, so that its lines are seen to move.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._waits_for = ""
        self._until: float | None = None

    def wait_for(self, what: str, until: float | None = None) -> None:
        """Say what is waited for, and until when (epoch seconds)."""
        self._waits_for, self._until = what, until

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        items = self.board.items
        rest = [item for item in items if not (item.is_complete and item.has_ended)]
        announced = sum(item.is_complete for item in items)
        far = f"{announced} of {len(items)} announced or answered, {len(items) - len(rest)} ended"
        left = 0.0 if self._until is None else self._until - time.time()
        until = f", {left:.0f} s more" if left > 0 else ""
        yield Text(far, "bold", no_wrap=True, overflow="ellipsis")
        waits = f"Waiting for {self._waits_for}{until}."
        yield Text(waits, "yellow", no_wrap=True, overflow="ellipsis")
        room = max(0, options.size.height - 4)
        shown = rest if len(rest) <= room else rest[: max(0, room - 1)]
        for item in shown:
            what = "to be sent" if item.sent is None else "…"
            if item.is_complete:
                what = item.got.get("batchId", what)
            title = item.title.partition("\n")[0]
            yield Text(f"  {title}  {what}", no_wrap=True, overflow="ellipsis")
        if len(rest) > len(shown):
            yield Text(f"  and {len(rest) - len(shown)} more")


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
        outcome.append(f"later {got['lost']}")
    if replaced := got.get("replaces"):
        outcome += ["replaces the data of", replaced["batchId"]]
    if got.get("inAep", "loading") != "loading":
        outcome.append(f"now {got['inAep']} in AEP")
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


def send(stack: LocalStack, samples: dict[str, Any], progress: RunDisplay, say: Say) -> float:
    """Copy the files and make the requests, one after the other; then what comes after others.

    Returns when the last window closes (epoch seconds).
    """
    board = progress.board
    progress.wait_for("the files and requests to be sent")
    closes = time.time()
    later = []
    for sample, item in zip(samples["objects"], board.objects.values(), strict=True):
        if "after" in sample:
            later.append((sample, item))
        else:
            put(stack, item)
    for sample in samples["requests"]:
        item = board.requests[sample["name"]]
        made = {name: other.got.get("batchId", "") for name, other in board.requests.items()}
        item.sent = time.monotonic()
        answer = stack.sender.call(
            sample["method"],
            stack.api + sample["path"].format(**made),
            sample.get("body"),
            sample.get("headers"),
        )
        board.answered(sample["name"], answer.status_code, answer.json())
    patience = time.monotonic() + PATIENCE_SECONDS
    for sample, item in later:
        before = board.objects[sample["after"]]
        progress.wait_for(f"the batch of {before.title.partition('\n')[0]}, which another follows")
        _until(lambda: before.has_all_events, patience - time.monotonic())  # noqa: B023
        if "meanwhile" in sample and "batchId" in before.got:
            status = {"status": sample["meanwhile"]}
            stack.control("POST", f"/batches/{before.got['batchId']}", status)
        if before.gone:
            delete(stack, before)
        if "window" in sample:
            progress.wait_for(f"the next window of {sample['folder']}, so that all files share it")
            closes = next_end(sample["window"], sample["folder"], say)
        put(stack, item)
    return closes


def put(stack: LocalStack, item: Item) -> None:
    """Copy the files of an item."""
    for key, file in item.files.items():
        item.sent = time.monotonic()
        item.versions[key] = stack.put(key, (SAMPLES / file).read_bytes())


def delete(stack: LocalStack, item: Item) -> None:
    """Delete the files of an item for good, as a lifecycle rule deletes versions."""
    for key, version in item.versions.items():
        stack.sender.s3.delete_object(
            Bucket=stack.outputs["LandingBucketName"], Key=key, VersionId=version
        )


def next_end(window: int, folder: str, say: Say) -> float:
    """When the window closes (epoch seconds) that is open now; waits for the next if that is soon.

    `window`: seconds.
    """
    now = time.time()
    ends = now - now % window + window
    if ends - now < ENOUGH_SECONDS:
        say(f"{folder}: will be sent at {_clock(ends)}, when the next window opens")
        time.sleep(ends - now)
        ends += window
    say(f"{folder}: its batch is made when its window closes, at {_clock(ends)}")
    return ends


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"


def wait(stack: LocalStack, progress: RunDisplay, closes: float) -> None:
    """Wait until every item is complete, or PATIENCE_SECONDS after the last window closed."""
    board = progress.board
    progress.wait_for("the last window to close", closes)

    def all_complete() -> bool:
        board.parked(stack.parked())
        if all(item.has_all_events for item in board.items):
            batches = stack.control("GET", "/batches")
            board.add_lookups(batches, stack.ledger(), _ignored(stack))
        elif time.time() > closes:
            progress.wait_for("the last batches to be made")
            tick(stack)
        return all(item.is_complete for item in board.items)

    _until(all_complete, max(closes - time.time(), 0) + PATIENCE_SECONDS)


def paused(stack: LocalStack, *, pause: bool) -> None:
    """Pause on_delivery as an operator would, or resume it."""
    function = stack.outputs["OnDeliveryFunction"]
    found = stack.aws.functions.list_event_source_mappings(FunctionName=function)
    for mapping in found["EventSourceMappings"]:
        stack.aws.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=not pause)


def deliver(stack: LocalStack, progress: RunDisplay) -> None:
    """Let the batches be filled, until each has ended, or for PATIENCE_SECONDS."""
    board = progress.board
    progress.wait_for("files to be uploaded, and the simulator of AEP to ingest them")
    paused(stack, pause=False)

    def all_ended() -> bool:
        tick(stack)
        for item in board.items:
            if item.ended is not None and item.held is None:
                batch = item.got["batchId"]
                item.held = stack.control("GET", f"/batches/{batch}/files")
        return all(item.has_ended for item in board.items)

    _until(all_ended, PATIENCE_SECONDS)


def tick(stack: LocalStack) -> None:
    """Invoke on_tick, as the clock does once a minute."""
    function = stack.outputs["OnTickFunction"]
    stack.aws.functions.invoke(FunctionName=function, Payload=b"{}")


def _until(what: Callable[[], bool], seconds: float) -> None:
    """Wait until that is true, or for so long."""
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.2)


def _ignored(stack: LocalStack) -> int:
    """How many arrivals were counted as ignored."""
    return sum(
        sum(line.get("Ignored", []))
        for line in stack.logged("on-arrival")
        if "reason" not in line  # counted once more by reason
    )


@contextmanager
def steps(console: Console) -> Iterator[Any]:
    """Show the current step, and how long each one took."""
    started = time.monotonic()
    current = ""
    with console.status("") as status:

        def step(name: str) -> None:
            nonlocal started, current
            now = time.monotonic()
            if current:
                console.print(f"[green]✓[/] {current} [dim]{now - started:.1f} s[/]")
            started, current = now, name
            status.update(f"{name} …")

        yield step
        step("")


@contextmanager
def shown(board: Board, console: Console) -> Iterator[RunDisplay]:
    """Show the progress while it lasts, on a terminal; then the board."""
    progress = RunDisplay(board)
    try:
        if console.is_terminal:
            with Live(progress, console=console, refresh_per_second=4, transient=True):
                yield progress
        else:
            yield progress
    finally:
        console.print(board)


def main() -> int:
    console = Console()
    samples = json.loads((SAMPLES / "samples.json").read_text("utf-8"))
    board = Board(samples)
    with ends_with_us():
        try:
            with ExitStack() as cleanup:
                with steps(console) as step:
                    stack = cleanup.enter_context(
                        LocalStack(usual_ports=True, limits=LIMITS, say=step, seen=board.see)
                    )
                    step("publishing the routes")
                    stack.publish_routes(SAMPLES / "routes.json")
                    paused(stack, pause=True)
                with shown(board, console) as progress:
                    wait(stack, progress, send(stack, samples, progress, console.print))
                    console.print("All batches are created. Now their files are uploaded.")
                    deliver(stack, progress)
                mismatched = board.mismatched(stack.control("GET", "/batches"))
        except ChildFailed as failure:
            console.print(Text(str(failure), "red"))
            return 1
        except KeyboardInterrupt:
            console.print("Interrupted.")
            return 130
    for line in mapped_rows(board.items):
        console.print(Text(line, overflow="fold"))
    wrong = [item for item in board.items if not item.as_expected]
    for item in wrong:
        console.print(
            Text(f"{item.title}\n  expected: {item.expect}\n  came:     {item.got}", "red")
        )
        console.print(
            Text(f"  expected end: {item.end}\n  came:         {item.ended}, {item.held}", "red")
        )
    for event in board.unexpected_events():
        console.print(Text(f"Unexpected event: {event}", "red"))
    for batch in mismatched:
        console.print(Text(f"Only AEP, or only an event, names the batch {batch}", "red"))
    if wrong or board.unexpected_events() or mismatched:
        return 1
    console.print(f"[green]All {len(board.items)} outcomes are as expected.[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
