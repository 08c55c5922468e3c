"""`make run`: start everything here, send the samples, and show the outcome of each.

Exit status 0 only if every outcome is the one that local/samples/samples.json expects.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from local.board import SAMPLES, Board, Item, mapped_rows
from local.children import ChildFailed, ends_with_us
from local.stack import LocalStack

PATIENCE_SECONDS = 240  # for what does not wait for a window
# Files that share a window are sent only if it stays open for so long: all must join it in time.
ENOUGH_SECONDS = 12
# Delivery is paused until every batch is created, as some samples want theirs still loading.
LIMITS = {"outcomeSeconds": 1}

type Say = Callable[[str], object]


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
        if self._waits_for:
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
