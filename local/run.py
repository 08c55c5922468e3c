"""`make run`: start everything here, send the samples, and show what became of each.

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
PATIENCE_SECONDS = 240  # for what nothing holds up
# What shares a window is sent only if that much of it is left: it must be worked on within.
ENOUGH_SECONDS = 12
WIDE = 110  # columns that the table needs, to have one of its own for each thing
# Delivery is paused until every batch is created, as some samples want theirs still loading.
LIMITS = {"outcomeSeconds": 1}
ENDS = {"Batch Succeeded", "Batch Failed", "Batch Abandoned"}
IGNORED = {"event": "ignored"}
LOOKED_UP = {"inAep", "waited"}

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
    those that were sent, by key.
    """

    title: str
    expect: dict[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    end: str | None = None
    gone: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    got: dict[str, Any] = field(default_factory=dict)
    ended: Event | None = None
    held: dict[str, Any] | None = None
    sent: float | None = None
    took: float | None = None

    @property
    def told(self) -> bool:
        """Whether all has come that comes by itself."""
        missing = self.expect.keys() - self.got.keys() - LOOKED_UP
        return self.sent is not None and (not missing or self.expect == IGNORED)

    @property
    def settled(self) -> bool:
        return self.sent is not None and self.expect.keys() <= self.got.keys()

    @property
    def over(self) -> bool:
        return self.end is None or (self.ended is not None and self.held is not None)

    @property
    def as_expected(self) -> bool:
        lost = self.got.get("lost") == ("object-gone" if self.gone else None)
        delivered = self.end is None or self._delivered
        return self.expect.items() <= self.got.items() and lost and delivered

    @property
    def _delivered(self) -> bool:
        """Whether the batch ended as it should, and holds the very bytes that were sent."""
        if self.ended is None or self.held is None or self.ended["detail-type"] != self.end:
            return False
        held = sorted(file["sha256"] for file in self.held["files"])
        sent = sorted(_digest(self.files[file["key"]]) for file in self.got["files"])
        return self.end == "Batch Abandoned" or held == sent


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
            )
            for sample in samples["objects"]
        }
        self.requests = {
            sample["name"]: Item(
                f"{sample['method']} {sample['path']}\n{sample['note']}", sample["expect"]
            )
            for sample in samples["requests"]
        }
        self.strangers: list[Event] = []
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
                item = self._maker(event["detail"].get("batchId"))
            if item:
                _record(item, event, now)
                if replaced := event["detail"].get("replaces"):
                    item.got["replacesBatchOf"] = self._holder(replaced["batchId"])
            elif not files and "batchId" in event["detail"]:
                self._early[event["detail"]["batchId"]] = (event, now)
            else:
                self.strangers.append(event)

    def _end(self, event: Event) -> None:
        for item in self.items:
            if item.got.get("externalId") == event["detail"]["externalId"]:
                item.ended = event
                return
        self.strangers.append(event)

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
                first = next(k for k, i in self.requests.items() if i is self._maker(batch_id))
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

    def looked_up(
        self, batches: Iterable[Mapping[str, Any]], ledger: list[dict[str, Any]], ignored: int
    ) -> None:
        """Note what nobody tells: by AEP's batches, the ledger's items, and the count of ignored.

        Ignored is: counted as such, unknown to the ledger, no event.
        """
        statuses = {batch["id"]: batch["status"] for batch in batches}
        waiting = [each["uri"]["S"] for each in ledger if each.get("noted") == {"S": "waiting"}]
        remembered = json.dumps(ledger, ensure_ascii=False)
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

    def odd(self, batches: Iterable[Mapping[str, Any]]) -> list[str]:
        """Batches that only AEP knows, and did not abort, or only an event or an answer."""
        made = {batch["id"]: batch["status"] for batch in batches}
        with self._lock:
            told = {item.got["batchId"] for item in self.items if "batchId" in item.got}
        return sorted(each for each in made.keys() ^ told if made.get(each) != "aborted")

    def unclaimed(self) -> list[Event]:
        """Events that belong to no item."""
        with self._lock:
            return [*self.strangers, *(event for event, _ in self._early.values())]

    def _maker(self, batch_id: str | None) -> Item | None:
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

    def _holder(self, batch_id: str) -> str | None:
        """Name of the objects whose batch this is."""
        return next(
            (name for name, i in self.objects.items() if i.got.get("batchId") == batch_id), None
        )

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < WIDE
        caption = "ms until the batch was announced; the first of each kind start cold"
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
            table.add_column("in the end", min_width=12)
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


def _end(sample: Mapping[str, Any]) -> str | None:
    created = sample["expect"].get("event") == "Batch Created"
    end: str | None = sample.get("end", "Batch Succeeded" if created else None)
    return end


def _digest(file: str) -> str:
    """Of what must arrive: a compressed file is unpacked on its way."""
    content = (SAMPLES / file).read_bytes()
    return sha256(gzip.decompress(content) if file.endswith(".gz") else content).hexdigest()


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
        outcome.append(f"then {got['lost']}")
    if replaced := got.get("replaces"):
        outcome += ["replaces the data of", replaced["batchId"]]
    if got.get("inAep", "loading") != "loading":
        outcome.append(f"{got['inAep']} in AEP by now")
    yield Text("\n".join(filter(None, outcome)))
    yield Text(f"{item.took * 1000:.0f}" if item.took is not None else "")
    yield _told_in_the_end(item)
    if item.settled and item.over:
        yield Text("✓", "green") if item.as_expected else Text("✗", "bold red")
    else:
        yield Text("")


def _told_in_the_end(item: Item) -> Text:
    """The rows that are in the dataset by AEP's own count, or why there are none."""
    if item.ended is None:
        return Text("" if item.end is None else "…")
    detail = item.ended["detail"]
    if item.ended["detail-type"] == "Batch Succeeded":
        rows = (item.held or {}).get("rowsIngested")
        return Text("ingested" if rows is None else f"{rows} rows")
    errors = [error["code"] for error in detail.get("errors", ())]
    return Text("\n".join([detail["status"], *errors[:1]]))


def send(stack: LocalStack, samples: dict[str, Any], board: Board, say: Say) -> float:
    """Copy the files and make the requests, one after the other; then what comes after others.

    Returns when the last window closes (epoch seconds).
    """
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
        _until(lambda: before.told, patience - time.monotonic())  # noqa: B023
        if "meanwhile" in sample and "batchId" in before.got:
            status = {"status": sample["meanwhile"]}
            stack.control("POST", f"/batches/{before.got['batchId']}", status)
        if before.gone:
            delete(stack, before)
        if "window" in sample:
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
        say(f"{folder} is sent at {_clock(ends)}, when the next window opens")
        time.sleep(ends - now)
        ends += window
    say(f"{folder} waits for its window to close, at {_clock(ends)}")
    return ends


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"


def wait(stack: LocalStack, board: Board, closes: float) -> None:
    """Until every item is settled, or for PATIENCE_SECONDS from when the last window closed."""

    def looked() -> bool:
        board.parked(stack.parked())
        if all(item.told for item in board.items):
            batches = stack.control("GET", "/batches")
            board.looked_up(batches, stack.ledger(), _ignored(stack))
        elif time.time() > closes:
            tick(stack)
        return all(item.settled for item in board.items)

    _until(looked, max(closes - time.time(), 0) + PATIENCE_SECONDS)


def paused(stack: LocalStack, *, pause: bool) -> None:
    """Stop feeding on_delivery, as an operator would, or go on."""
    function = stack.outputs["OnDeliveryFunction"]
    found = stack.aws.functions.list_event_source_mappings(FunctionName=function)
    for mapping in found["EventSourceMappings"]:
        stack.aws.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=not pause)


def deliver(stack: LocalStack, board: Board) -> None:
    """Let the batches be filled, until each has ended, or for PATIENCE_SECONDS."""
    paused(stack, pause=False)

    def looked() -> bool:
        tick(stack)
        for item in board.items:
            if item.ended is not None and item.held is None:
                batch = item.got["batchId"]
                item.held = stack.control("GET", f"/batches/{batch}/files")
        return all(item.over for item in board.items)

    _until(looked, PATIENCE_SECONDS)


def tick(stack: LocalStack) -> None:
    """What the clock invokes once a minute; nobody has to wait for that here."""
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
    """Shows the step that is going on, and how long each took."""
    began = time.monotonic()
    current = ""
    with console.status("") as status:

        def step(name: str) -> None:
            nonlocal began, current
            now = time.monotonic()
            if current:
                console.print(f"[green]✓[/] {current} [dim]{now - began:.1f} s[/]")
            began, current = now, name
            status.update(f"{name} …")

        yield step
        step("")


@contextmanager
def shown(board: Board, console: Console) -> Iterator[None]:
    """The board, as it changes; in a file or a pipe, as it ends."""
    with Live(board, console=console, refresh_per_second=8):
        yield
    if not console.is_terminal:
        console.line()  # rich ends the line for terminals alone


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
                with shown(board, console):
                    wait(stack, board, send(stack, samples, board, console.print))
                    console.print("every batch is created: delivery goes on")
                    deliver(stack, board)
                odd = board.odd(stack.control("GET", "/batches"))
        except ChildFailed as failure:
            console.print(Text(str(failure), "red"))
            return 1
        except KeyboardInterrupt:
            console.print("interrupted")
            return 130
    wrong = [item for item in board.items if not item.as_expected]
    for item in wrong:
        console.print(Text(f"{item.title}\n  expected {item.expect}\n  got {item.got}", "red"))
        console.print(Text(f"  and {item.end}; got {item.ended}, {item.held}", "red"))
    for event in board.unclaimed():
        console.print(Text(f"an event nobody expected: {event}", "red"))
    for batch in odd:
        console.print(Text(f"a batch that only AEP knows, or only an event: {batch}", "red"))
    if wrong or board.unclaimed() or odd:
        return 1
    console.print(f"[green]All {len(board.items)} outcomes are the expected ones.[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
