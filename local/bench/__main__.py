"""`make bench`: what the product costs in time, calls and bytes, as ratios within one run.

`--write` puts the tables into BENCHMARKS.md, which says what they mean. Ends with status 1 where a
target is missed.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache

from rich.console import Console

from local.bench.arrivals import Arrivals
from local.bench.backfills import backfilled
from local.bench.behind import behind
from local.bench.cold import cold
from local.bench.content import csv_read
from local.bench.figures import Section
from local.bench.gates import gates
from local.bench.journal import kept
from local.bench.mapping import mapped
from local.bench.status import asked
from local.bench.uploads import Uploads
from local.bench.windows import Windows, routes_with_windows
from local.bench.workers import DELIVERING, Workers, delivering
from local.bus import Event
from local.children import ChildFailed, ends_with_us
from local.run import steps
from local.runtime import AVAILABLE
from local.stack import ROOT, LocalStack

KEPT = ROOT / "BENCHMARKS.md"
PARTS = (
    "content",
    "mapping",
    "cold",
    "warm",
    "stack",
    "dollars",
    "windows",
    "folders",
    "gates",
    "behind",
    "uploads",
    "delivered",
    "backfill",
    "status",
    "journal",
)
# Up to the announcement, and as fast as it goes.
PARAMETERS = {"DeliverBatches": "false"}
LIMITS = {"batchesPerMinute": 100_000}
GATES_SECONDS = 15.0
UPLOADS, PIECES = 7, 3  # runs at most of what takes seconds each
WITHOUT_A_STACK = {"content", "mapping", "status", "journal"}


def _kept(text: str, part: str, sections: list[Section]) -> str:
    """`text` of BENCHMARKS.md with these figures in place of the ones it has of that part."""
    begin, end = (f"<!-- make bench, {part}: {edge} -->" for edge in ("begin", "end"))
    command = f'make bench ARGS="--only {part} --write"'
    facts = (
        f"`{command}`, {datetime.now(UTC):%-d %B %Y}: {os.cpu_count()} cores, "
        f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}, "
        f"a load of {os.getloadavg()[0]:.0f}."
    )
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    tables = "\n\n".join(section.markdown() for section in sections)
    return f"{before}{begin}\n{facts}\n\n{tables}\n{end}{after}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into BENCHMARKS.md")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, help="measure only these parts"
    )
    parser.add_argument(
        "--gigabytes", type=float, default=4.0, help="of the gzip of `uploads`, unpacked"
    )
    parser.add_argument("--runs", type=int, default=15, help="measurements for each median")
    parser.add_argument("--arrivals", type=int, default=1000, help="arrivals sent at once")
    parser.add_argument("--files", type=int, default=10_000, help="files sent into one window")
    parser.add_argument("--packed", type=int, default=10_000, help="small files of one batch")
    parser.add_argument("--folder", type=int, default=100_000, help="files of one marker's folder")
    parser.add_argument("--orders", type=int, default=20_000, help="due orders before a window")
    parser.add_argument("--objects", type=int, default=100_000, help="objects of a backfill")
    parser.add_argument(
        "--hold-ms", type=float, default=50, help="how long a transaction holds a gate"
    )
    return parser.parse_args()


def _measured(
    stack: LocalStack,
    seen: Mapping[str, float],
    arguments: argparse.Namespace,
    step: Callable[[str], None],
) -> dict[str, list[Section]]:
    """What was asked for, by part."""
    parts = {}
    second = cache(lambda: delivering(stack))
    uploads = cache(lambda: Uploads(second()))
    workers = Workers(stack)
    arrivals = Arrivals(workers, stack, seen)
    windows = Windows(workers, stack)
    if "cold" in arguments.only:
        step("cold starts")
        others = Workers(second(), DELIVERING)
        parts["cold"] = [cold([workers, others], arguments.runs)]
    if "warm" in arguments.only:
        step("warm calls, bursts, sizes")
        parts["warm"] = arrivals.warm(arguments.runs)
    if "stack" in arguments.only:
        step(f"{arguments.arrivals:,} arrivals")
        parts["stack"] = [arrivals.stack(arguments.arrivals)]
    if "dollars" in arguments.only:
        step("cost of files that are gathered")
        parts["dollars"] = [windows.gathered(), windows.idle()]
    if "windows" in arguments.only:
        step("windows: calls and their cost")
        parts["windows"] = windows.counted()
        step(f"{arguments.files:,} files into one window")
        parts["windows"].append(windows.flood(arguments.arrivals, arguments.files))
    if "folders" in arguments.only:
        step(f"{arguments.folder:,} files of one marker")
        parts["folders"] = [windows.folders(arguments.folder)]
    if "gates" in arguments.only:
        step("a window's gates")
        parts["gates"] = [gates(stack, arguments.hold_ms, GATES_SECONDS)]
    if "behind" in arguments.only:
        step(f"a window after {arguments.orders:,} due orders")
        parts["behind"] = [behind(windows, stack, arguments.orders)]
    if "uploads" in arguments.only:
        step("uploads: a stack that delivers")
        uploads()
        step("256 MB in one upload")
        parts["uploads"] = [uploads().one(min(arguments.runs, UPLOADS))]
        step("1 GB in pieces")
        parts["uploads"].append(uploads().in_pieces(min(arguments.runs, PIECES)))
        step("uploads: rows of JSON that are parsed, and gzip that is unpacked, others beside it")
        parts["uploads"] += (
            uploads().parsed(min(arguments.runs, PIECES)),
            uploads().unpacked(arguments.gigabytes),
            uploads().beside(arguments.gigabytes),
        )
    if "delivered" in arguments.only:
        step(f"{arguments.packed:,} small files in one batch; cost of a delivered batch")
        parts["delivered"] = uploads().counted(arguments.packed)
    if "backfill" in arguments.only:
        step(f"a backfill of {arguments.objects:,} objects")
        parts["backfill"] = [backfilled(stack, arguments.objects, min(arguments.runs, PIECES))]
    return parts


def main() -> int:
    arguments = _arguments()
    console = Console()
    if not AVAILABLE:
        console.print("The bench needs Linux: AWS's runtime emulator runs only there.")
        return 1
    seen: dict[str, float] = {}

    def see(event: Event) -> None:
        for file in event["detail"].get("files", []):
            seen.setdefault(file["key"], time.monotonic())

    with ends_with_us(), ExitStack() as cleanup:
        try:
            with steps(console) as step:
                parts = {}
                if "content" in arguments.only:
                    step("reading CSV")
                    parts["content"] = [csv_read(min(arguments.runs, UPLOADS))]
                if "mapping" in arguments.only:
                    step("mapping columns")
                    parts["mapping"] = [mapped(min(arguments.runs, UPLOADS))]
                if "status" in arguments.only:
                    step("aep-intake status of a large day")
                    parts["status"] = [asked(min(arguments.runs, UPLOADS))]
                if "journal" in arguments.only:
                    step("keeping and counting events")
                    parts["journal"] = [kept()]
                if set(arguments.only) - WITHOUT_A_STACK:
                    # What is measured is our own work: no transaction waits for what AWS may take.
                    stack = cleanup.enter_context(
                        LocalStack(
                            parameters=PARAMETERS, limits=LIMITS, hold_ms=0, say=step, seen=see
                        )
                    )
                    step("publishing the routes")
                    stack.publish_routes(routes_with_windows(stack.directory))
                    parts |= _measured(stack, seen, arguments, step)
        except ChildFailed as failure:
            console.print(str(failure), style="red", markup=False)
            return 1
    for part, sections in parts.items():
        for section in sections:
            console.print(section)
        if arguments.write:
            KEPT.write_text(_kept(KEPT.read_text("utf-8"), part, sections), "utf-8")
    missed = [
        f"{section.title}: {figure.name}"
        for sections in parts.values()
        for section in sections
        for figure in section.figures
        if not figure.met
    ]
    for name in missed:
        console.print(f"Target missed: {name}", style="red", markup=False)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
