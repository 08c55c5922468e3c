"""What it takes to plan a window: each page of the ledger is read once, and little is held.

Measured with half a million files, whose keys are as Kafka's sinks write them (142 pages, a list of
141 MB, twice that on disk): 6 MB beside what a worker has anyway, as with 100,000, and 24 seconds
of a processor, of 60 that on_due has. With the share of one that 512 MB give, it would be 82.
"""

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, cast

import pytest
from aep_intake.adapters.dynamodb.windows import DynamoWindows
from aep_intake.grouping import lists, windows
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model import records
from aep_intake.model.batches import Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order
from aep_intake.model.windows import Window, WindowStage
from aep_intake.report import events

from tests.builders import batch, opened

PAGE = 500  # items: of ten files each, a megabyte is about so many
FILES = 20_000


def file(number: int) -> Arrival:
    key = f"topics/clicks/year=2026/month=11/day=28/part-{number * 7919 % FILES:08}-5f1c.c000.json"
    return Arrival("landing", key, f"{number:032}", f"{number:032x}", f"{number:018X}", 9_000, 1)


@dataclass
class Pages:
    """The ledger's table: a window's items, made page by page. `read`: how many there were."""

    files: int
    more: tuple[Arrival, ...] = ()
    read: int = 0

    def update(self, *_: Any, **__: Any) -> None:
        """A claim learns what supersedes its file."""

    def query(self, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        yield {"files": {"S": records.listed(self.more)}}
        for page in range(0, self.files, 10 * PAGE):
            self.read += 1
            for first in range(page, min(page + 10 * PAGE, self.files), 10):
                listed = records.listed(tuple(map(file, range(first, first + 10))))
                yield {"files": {"S": listed}}


class Bucket:
    """S3, which takes a list: its lines, if it `keeps` them, and how often one came."""

    keeps = True
    puts = 0

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, key: str, lines: Iterable[bytes]) -> bool:
        self.puts += 1
        for line in lines:
            if self.keeps:
                self.lines.append(line)
        return True


def planned(files: int, more: tuple[Arrival, ...] = ()) -> tuple[Pages, Bucket, Window]:
    """A window of so many files, and `more`, once it is planned."""
    table, bucket = Pages(files, more), Bucket()
    its_table, its_bucket = cast("Any", table), cast("Any", bucket)
    target = Target("arn", "O@AdobeOrg", "prod", "d")
    order = Order("window-x", target, {"inputFormat": {"format": "json"}}, ())
    window = Window(order, 60_000, 0, WindowStage.SEALED, due=1, gates=16, sealed_at=1)
    ledger = DynamoWindows(its_table, lambda *_: {}, lambda: 1, 1, kept=its_bucket)
    nothing: Any = None  # nothing else is asked
    ports = windows.WindowPorts(ledger, nothing, nothing, lambda: 1, BatchLimits(), nothing)
    return table, bucket, windows._planned(window, ports)


def test_a_window_is_planned_from_one_look_at_each_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its list is the same, whatever fits into memory."""
    table, bucket, window = planned(FILES)
    assert table.read == FILES // (10 * PAGE)
    assert bucket.puts == 1
    assert len(bucket.lines) == FILES + 1
    assert bucket.lines[1:] == sorted(bucket.lines[1:])
    assert [(part.first, part.end) for part in window.parts] == [
        (0, 9_999),
        (9_999, 19_998),
        (19_998, FILES),
    ]
    ends = [0, *accumulate(map(len, bucket.lines))]
    assert [(part.offset, part.offset + part.length) for part in window.parts] == [
        (ends[1 + part.first], ends[1 + part.end]) for part in window.parts
    ]
    monkeypatch.setattr(lists, "SORTED_AT_ONCE", 777)
    _, in_runs, _ = planned(FILES)
    assert in_runs.lines == bucket.lines


def test_what_is_held_at_once_does_not_grow_with_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "SORTED_AT_ONCE", PAGE)
    monkeypatch.setattr(windows, "PAGE", PAGE)
    monkeypatch.setattr(Bucket, "keeps", False)
    held = {}
    few, many = 2_000, 8_000
    for files in (few, many):
        tracemalloc.start()
        planned(files)
        _, held[files] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held[many] < 1.3 * held[few], held


def test_the_first_batch_of_a_window_tells_how_many_files_are_superseded() -> None:
    older = tuple(replace(file(n), version_id=f"old-{n}", sequencer="0") for n in range(3))
    _, _, window = planned(FILES, older)
    assert [part.superseded for part in window.parts] == [3, None, None]
    told = [
        events.batch_created(opened(1, excerpt=window.part(part, number).excerpt).created(batch(1)))
        for number, part in enumerate(window.parts)
    ]
    assert [detail.get("supersededFileCount") for detail in told] == [3, None, None]


def test_a_file_that_is_listed_twice_is_in_the_list_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its two lines wait in two runs; of two versions one counts."""
    monkeypatch.setattr(lists, "SORTED_AT_ONCE", 2)
    older, newer = file(1), replace(file(1), version_id="new", sequencer="F" * 18)
    listed = lists.in_lines([newer, file(2), older, file(3), file(2), newer])
    found = list(lists.versions(listed))
    assert [seen.newest for seen in found] == sorted((newer, file(2), file(3)), key=lambda f: f.key)
    [pair] = [seen for seen in found if seen.superseded]
    assert pair.superseded == (older,)
    assert sorted(lists.read(pair.lines), key=str) == sorted(
        ((newer, None), (older, "v:new")), key=str
    )
