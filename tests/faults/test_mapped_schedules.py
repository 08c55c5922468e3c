"""Whatever happens to files that are mapped: each row is ingested once, as one map says.

Another map may be published at any moment. An order keeps the one that it began with, however often
its file is read, in however many pieces, alone or with others in one upload.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from aep_intake.content.compile_map import compile_map
from aep_intake.content.csv import CsvReader
from aep_intake.content.json_rows import JsonObjects
from aep_intake.content.mapping import RowMap
from aep_intake.content.xdm import Schema
from aep_intake.delivery.delivery import Delivery
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.files import Arrival

from tests.faults.harness import Delivering, Tape
from tests.faults.schedules import assert_met, tapes
from tests.faults.test_delivery_schedules import (
    SHARED,
    arrived,
    attempts_of,
    check_all,
    delivery_of,
    ended_well,
    every_end_is_kept,
    order_of,
    play,
    ran,
    table,
)
from tests.unit.content.xdm_samples import TEXT, number, schema

__all__ = ["every_end_is_kept"]  # a fixture
CSV = {"format": "csv", "delimiter": ";"}
JSON = {"format": "json"}
OF = Schema(schema(f=number("int"), r=number("int"), map=TEXT))


def compiled(source: dict[str, Any]) -> dict[str, Any]:
    """Two maps, by name."""
    both = [
        compile_map({"f": "f", "r": "r", "map": {"value": of}}, OF, source)
        for of in ("one", "another")
    ]
    return {each.name: json.loads(each.text) for each in both}


OF_CSV, OF_JSON = compiled(CSV), compiled(JSON)
MAPS = OF_CSV | OF_JSON


def mapped(name: str, source: dict[str, Any] = CSV, **written: Any) -> Any:
    """A table whose route has this map; one row of a file may be broken."""
    whole = {"inputFormat": source, "badRows": 1, "map": {"f": "f"}, "compiledMap": name}
    return table(**whole, **written)


ALONE = tuple(mapped(name) for name in OF_CSV)
WINDOWED = tuple(mapped(name, batch={"window": "1m"}) for name in OF_CSV)
OBJECTS = tuple(mapped(name, JSON) for name in OF_JSON)
used: Counter[str] = Counter()


def lines(file: int, rows: int, more: str = "") -> bytes:
    return f"f;r\n{''.join(f'{file};{n}\n' for n in range(rows))}{more}".encode()


def objects(file: int, rows: int) -> bytes:
    """A list; each row has a member that nothing maps."""
    found = [{"f": file, "r": n, f"u{n:02}": 1} for n in range(rows)]
    return json.dumps([*found, {"f": "x", "v": 1}]).encode()


FILES: tuple[Callable[[int], bytes], ...] = (
    lambda file: lines(file, 1),
    lambda file: lines(file, 2)[:-1],
    lambda file: lines(file, 20),
    lambda file: lines(file, 9, "x;1\n"),
    lambda file: gzip.compress(lines(file, 30), mtime=0),
)


@tapes(300, 600)
def test_every_row_of_a_mapped_file_is_ingested_once(tape: bytes) -> None:
    its = Tape(tape)
    tables = (ALONE, WINDOWED, OBJECTS)[its.pick(3)]
    world = Delivering(its, tables=tables, final=tables[0])
    world.maps |= MAPS
    world.piece = (100, 500, 10_000)[world.tape.pick(3)]
    if world.tape.pick(2):
        world.sharing, world.limits = SHARED[1], BatchLimits(9, 10_000)
    came = []
    for n in range(1 + world.tape.pick(4)):
        content = FILES[world.tape.pick(len(FILES))](n)
        content = objects(n, 1 + 9 * world.tape.pick(3)) if tables is OBJECTS else content
        came.append((arrived(f"in/{n}.rows", content, n), content))
        world.put(*came[-1])
    play(world)
    as_mapped = [(file, as_its_order_says(world, file, content)) for file, content in came]
    check_all(world, as_mapped, {file for file, _ in came})


def as_its_order_says(world: Delivering, file: Arrival, content: bytes) -> bytes:
    """What must be in the batch of a file: of all of it, by the map of the order that loaded it."""
    owner = world.ledger.claimant(file)
    known = [] if owner is None else attempts_of(world, order_of(world, file, owner), file)
    for delivery in [delivery_of(world, record) for record in known]:
        if delivery is not None and ended_well(delivery):
            assert delivery.compiled_map
            used[MAPS[delivery.compiled_map]["root"]["object"]["map"]["value"]] += 1
            check_counts(delivery, content)
            return by_map(delivery.compiled_map, content)
    return content


def check_counts(delivery: Delivery, content: bytes) -> None:
    """What is told of a file of objects is all that is in it, whoever went on with it."""
    verdict = delivery.verdict
    if verdict is None or delivery.compiled_map not in OF_JSON or verdict.lost:
        return
    rows = len(json.loads(content)) - 1
    told = (verdict.rows, verdict.unmapped, verdict.unmapped_column_count, len(verdict.bad_rows))
    assert told == (rows, 1, rows + 1, 1)
    assert verdict.unmapped_columns == tuple(sorted([*(f"u{n:02}" for n in range(rows)), "v"]))[:20]
    used["counted"] += 1


def by_map(name: str, content: bytes) -> bytes:
    """The whole file, mapped at once."""
    text = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    reader = CsvReader(CSV) if name in OF_CSV else JsonObjects("file")
    rows = RowMap(MAPS[name], "", "file")
    return b"".join(
        rows.of_block(reader, block).text for block in (reader.feed(text), reader.end())
    )


def test_the_schedules_went_through_both_maps() -> None:
    schedules = ran.pop("schedules")
    met = ("one", "another", "counted", "ingested", "shared", "lost", "cut")
    assert_met(ran | used, schedules, 200, *met)
