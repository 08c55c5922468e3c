"""`make run`: start everything here, send the samples, and show what became of each.

Exit status 0 only if every outcome is the one that local/samples/samples.json expects.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.bus import Event
from local.children import ChildFailed, ends_with_us
from local.stack import ROOT, LocalStack

SAMPLES = ROOT / "local" / "samples"
PATIENCE_SECONDS = 60
WIDE = 110  # columns that the table needs, to have one of its own for each thing


@dataclass
class Item:
    """One object or request: what is expected of it, and what came.

    `expect` and `got` use the members of our events, and: `event` also "ignored"; `parked`,
    whether the dead-letter queue has it, for that reason; `http`, the answer's status; `batchOf`,
    the request that made the same batch.
    """

    title: str
    expect: dict[str, Any]
    got: dict[str, Any] = field(default_factory=dict)
    sent: float | None = None
    took: float | None = None

    @property
    def settled(self) -> bool:
        return self.sent is not None and self.expect.keys() <= self.got.keys()

    @property
    def as_expected(self) -> bool:
        return self.expect.items() <= self.got.items()


class Board:
    """All items and what is known of them; events come in on the listener's thread."""

    def __init__(self, samples: dict[str, Any]) -> None:
        self.objects = {
            sample["key"]: Item(sample["key"], sample["expect"]) for sample in samples["objects"]
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
            if files:
                item = self.objects.get(files[0]["key"])
            else:
                item = self._maker(event["detail"].get("batchId"))
            if item:
                _record(item, event, now)
            elif not files and "batchId" in event["detail"]:
                self._early[event["detail"]["batchId"]] = (event, now)
            else:
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

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < WIDE
        caption = "ms until the event; the first of each kind start cold"
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
        table.add_column("as expected", justify="center", width=8)
        with self._lock:
            for item in self.items:
                title, route, dataset, *others = _cells(item)
                where = [Text("\n").join(filter(None, [title, route, dataset]))]
                table.add_row(*(where if narrow else [title, route, dataset]), *others)
        yield table


def _record(item: Item, event: Event, now: float) -> None:
    detail = event["detail"]
    if item.got.get("batchId", detail.get("batchId")) != detail.get("batchId"):
        item.got["event"] = f"two batches: {item.got['batchId']}, {detail.get('batchId')}"
        return
    item.got |= detail | {"event": event["detail-type"]}
    if item.sent:
        item.took = now - item.sent


def _cells(item: Item) -> Iterator[Text]:
    got = item.got
    yield Text(item.title)
    yield Text(got.get("route", ""))
    yield Text("\n".join(filter(None, [got.get("datasetId", ""), got.get("sandbox", "")])))
    outcome = [got.get("batchId") or got.get("reason") or got.get("event", "…" * bool(item.sent))]
    if "http" in got:
        outcome.append(f"HTTP {got['http']}")
    if got.get("parked"):
        outcome.append("in the dead-letter queue")
    yield Text("\n".join(filter(None, outcome)))
    yield Text(f"{item.took * 1000:.0f}" if item.took is not None else "")
    if item.settled:
        yield Text("✓", "green") if item.as_expected else Text("✗", "bold red")
    else:
        yield Text("")


def send(stack: LocalStack, samples: dict[str, Any], board: Board) -> None:
    """Copy the files, then make the requests, one after the other."""
    for sample in samples["objects"]:
        board.objects[sample["key"]].sent = time.monotonic()
        stack.put(sample["key"], (SAMPLES / sample["file"]).read_bytes())
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


def wait(stack: LocalStack, board: Board) -> None:
    """Until every item is settled, or for PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not all(item.settled for item in board.items):
        time.sleep(0.2)
        for message in stack.parked():
            for key, item in board.objects.items():
                if json.dumps(key) in message.body or key in message.body:
                    item.got["parked"] = message.attributes["reason"] == item.got.get("reason")
        if all(item.settled or item.expect == {"event": "ignored"} for item in board.items):
            _ignored(stack, board)


def _ignored(stack: LocalStack, board: Board) -> None:
    """Ignored is: counted as such, unknown to the ledger, no event, no batch beyond the others."""
    silent = [item for key, item in board.objects.items() if not item.got]
    counted = sum(
        sum(line.get("Ignored", []))
        for line in stack.logged("OnArrivalLogs")
        if "reason" not in line  # counted once more by reason
    )
    announced = {item.got["batchId"] for item in board.items if "batchId" in item.got}
    made = {batch["id"] for batch in stack.control("GET", "/batches")}
    remembered = json.dumps(stack.ledger(), ensure_ascii=False)
    if counted == len(silent) and made == announced:
        for item in silent:
            if item.title not in remembered:
                item.got["event"] = "ignored"


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
                        LocalStack(usual_ports=True, say=step, seen=board.see)
                    )
                    step("publishing the routes")
                    stack.publish_routes(SAMPLES / "routes.json")
                with shown(board, console):
                    send(stack, samples, board)
                    wait(stack, board)
        except ChildFailed as failure:
            console.print(Text(str(failure), "red"))
            return 1
        except KeyboardInterrupt:
            console.print("interrupted")
            return 130
    wrong = [item for item in board.items if not item.as_expected]
    for item in wrong:
        console.print(Text(f"{item.title}\n  expected {item.expect}\n  got {item.got}", "red"))
    for event in board.unclaimed():
        console.print(Text(f"an event nobody expected: {event}", "red"))
    if wrong or board.unclaimed():
        return 1
    console.print(f"[green]All {len(board.items)} outcomes are the expected ones.[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
