"""The part of `make bench` about reading files: how fast CSV is cut and checked, on one core."""

import csv
import time
from collections.abc import Callable
from io import StringIO
from statistics import median

from aep_intake.content.csv import CsvReader
from aep_intake.delivery.pieces import CHUNK

from local.bench.figures import Figure, Section

SIZE = 32 * 2**20  # bytes of each file
# Of the processor time of Python's csv, which is written in C and makes all values of each row.
LONGEST = 1.0
HEADER = b"id,email,first,last,born,tier,spent\n"
TEXTS: dict[str, Callable[[int], bytes]] = {
    "no quotes": lambda n: b"%d,jane.doe%d@example.com,Jane,Doe,2026-11-28,gold,12.50\n" % (n, n),
    "all values quoted": lambda n: (
        b'"%d","jane.doe%d@example.com","Jane","Doe","2026-11-28","gold","12.50"\n' % (n, n)
    ),
    "a lone quote in each row": lambda n: (
        b'%d,jane.doe%d@example.com,pipe 12" steel,"Doe, Jane",2026-11-28,gold,12.50\n' % (n, n)
    ),
    "two lines in each row": lambda n: (
        b'%d,jane.doe%d@example.com,"She called, and\nasked for ""Tom""",Doe,,gold,12.50\n' % (n, n)
    ),
}


def csv_read(runs: int) -> Section:
    """Ours beside Python's csv, in turns, of the same bytes; medians of `runs`."""
    figures = []
    for name, row in TEXTS.items():
        some = b"".join(map(row, range(100_000, 120_000)))
        content = HEADER + some * (SIZE // len(some))
        rows = 20_000 * (SIZE // len(some))
        ours, theirs = [], []
        for _ in range(runs):
            ours.append(_seconds(_by_us, content, rows))
            theirs.append(_seconds(_by_python, content, rows))
        times = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        rate = len(content) / 10**6 / median(ours)
        ratio = median(times)
        figures += [
            Figure(f"{name}: cut and checked", f"{rate:.0f} MB/s"),
            Figure(
                f"{name}: time of ours ÷ Python's csv",
                f"{ratio:.2f}",
                ratio,
                LONGEST,
            ),
        ]
    return Section(f"CSV, processor time of one core, medians of {runs}", tuple(figures))


def _seconds(read: Callable[[bytes], int], content: bytes, rows: int) -> float:
    began = time.thread_time()
    found = read(content)
    took = time.thread_time() - began
    assert found == rows, f"{found:,} rows of {rows:,}"
    return took


def _by_us(content: bytes) -> int:
    reader = CsvReader({"format": "csv"})
    for start in range(0, len(content), CHUNK):
        reader.feed(content[start : start + CHUNK])
    reader.end()
    return reader.rows


def _by_python(content: bytes) -> int:
    rows = csv.reader(StringIO(content.decode(), newline=""))
    return sum(1 for _ in rows) - 1
