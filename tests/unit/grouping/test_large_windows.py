"""What it takes to plan a window: each page of the ledger is read once, and little is held.

Measured with half a million files, whose keys are as Kafka's sinks write them (142 pages, a list of
141 MB): 175 MB beside what a worker has anyway, and 21 seconds of a processor, of 60 that on_due
has. With the share of one that 512 MB give, it would be 73.
"""

import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any, cast

from aep_intake.adapters.dynamodb.windows import DynamoWindows
from aep_intake.grouping import windows
from aep_intake.grouping.windows import BatchLimits, Window, WindowStage
from aep_intake.model import records
from aep_intake.model.batches import Target
from aep_intake.model.files import Arrival
from aep_intake.model.orders import Order

PAGE = 500  # items: of ten files each, a megabyte is about so many
FILES = 20_000
HELD = 600  # bytes of a file, all in all; its line in the list is half of that


def file(number: int) -> Arrival:
    key = f"topics/clicks/year=2026/month=11/day=28/part-{number * 7919 % FILES:08}-5f1c.c000.json"
    return Arrival("landing", key, f"{number:032}", f"{number:032x}", f"{number:018X}", 9_000, 1)


class Pages:
    """The ledger's table: a window's items, made page by page. `read`: how many there were."""

    read = 0

    def query(self, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        for page in range(0, FILES, 10 * PAGE):
            self.read += 1
            for first in range(page, min(page + 10 * PAGE, FILES), 10):
                listed = records.listed(tuple(map(file, range(first, first + 10))))
                yield {"files": {"S": listed}}


class Bucket:
    """S3, which takes a list: how many lines it had, and how often one came."""

    lines = puts = 0

    def put(self, key: str, lines: Iterable[bytes]) -> bool:
        self.puts += 1
        self.lines += sum(1 for _ in lines)
        return True


def test_a_window_is_planned_from_one_look_at_each_page_and_in_little_memory() -> None:
    table, bucket = Pages(), Bucket()
    its_table, its_bucket = cast("Any", table), cast("Any", bucket)
    target = Target("arn", "O@AdobeOrg", "prod", "d")
    order = Order("window-x", target, {"inputFormat": {"format": "json"}}, ())
    window = Window(order, 60_000, 0, WindowStage.SEALED, due=1, gates=16, sealed_at=1)
    ledger = DynamoWindows(its_table, lambda *_: {}, lambda: 1, 1, kept=its_bucket)
    nothing: Any = None  # nothing else is asked
    ports = windows.WindowPorts(ledger, nothing, nothing, lambda: 1, BatchLimits(), nothing)
    tracemalloc.start()
    planned = windows._planned(window, ports)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.read == FILES // (10 * PAGE)
    assert (bucket.puts, bucket.lines) == (1, FILES + 1)
    assert [(part.first, part.end) for part in planned.parts] == [
        (0, 9_999),
        (9_999, 19_998),
        (19_998, FILES),
    ]
    assert most < HELD * FILES
