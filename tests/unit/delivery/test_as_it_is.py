"""Files whose rows nobody tells apart go up as they are, once they are seen to be what they should.

Of one with a batch of its own that was seen before; of others it is seen while they go up.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.content import parquet
from aep_intake.grouping.windows import BatchLimits
from aep_intake.model.files import Arrival
from aep_intake.routing import routes
from aep_intake.routing.table import RoutingTable

from local.simulator.seed import LOYALTY
from local.stack import ROOT
from tests.builders import parquet_of
from tests.faults.harness import MINUTE, START, Delivering, calm, take
from tests.unit.delivery.world import carried_out, delivered, ports

PRODUCTS = (ROOT / "local" / "samples" / "products.parquet").read_bytes()
LONG = parquet_of(9, parquet.END)
# A list of 2 ** 62 numbers of eight bytes, and structures in one another.
ENDLESS, NESTED = (
    b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    for footer in (b"\x19\xf7" + b"\xff" * 8 + b"\x3f", b"\x1c" * 3000)
)
AS_IS = {"asIs": True, "inputFormat": {"format": "json", "isMultiLineJson": True}}


def table(**written: Any) -> RoutingTable:
    whole = {"name": "all", "match": "in/**", "datasetId": LOYALTY, "batch": {"window": "1m"}}
    return routes.parse(json.dumps({"routes": [whole | written]}), "v1")


@pytest.fixture
def world() -> Delivering:
    world = calm(tables=(table(),), final=table())
    world.limits, world.piece = BatchLimits(10**6, 10**6), 10**6
    return world


def loaded(
    world: Delivering, contents: Mapping[str, bytes], **written: Any
) -> tuple[dict[str, Any], list[bytes]]:
    """Files share a window's batch: how that ends, and what AEP holds."""
    world.table = table(**written)
    for number, (name, content) in enumerate(contents.items()):
        file = Arrival("landing", f"in/{name}", f"v{number}", "e", "01", len(content), START)
        world.put(file, content)
        take(file, world.intake(0))
    world.queue.clear()
    world.clock.advance(2 * MINUTE)
    [made] = carried_out(world)
    delivered(world, made)
    batch = world.simulator.batch(world.ledger.records[made].batch_id or "")
    held = [file.read() for file in batch.files.values()] if batch else []
    return world.ends[-1], held


@pytest.mark.parametrize(
    ("name", "content", "reason", "words"),
    [
        ("b.parquet", PRODUCTS[:-9], "format-mismatch", "not a whole Parquet file"),
        ("b.parquet", LONG[:-9], "format-mismatch", "not a whole Parquet file"),
        ("b.parquet", LONG[:-9] + b"\nPAR1", "format-mismatch", "not a whole Parquet file"),
        ("b.parquet", b"PAR1\0\0\2\0\0\0PAR1", "format-mismatch", "its footer cannot be read"),
        ("b.parquet", ENDLESS, "format-mismatch", "its footer cannot be read"),
        ("b.parquet", NESTED, "format-mismatch", "its footer cannot be read"),
        ("b.parquet", b"PARE" + PRODUCTS[4:], "format-mismatch", "encrypted Parquet"),
        ("b.parquet", b"PK\x03\x04" + bytes(99), "format-mismatch", "a zip archive"),
        ("b.parquet", b"id,name\n1,Ann\n", "format-mismatch", "no Parquet"),
        ("b.parquet.gz", gzip.compress(PRODUCTS[:-9]), "format-mismatch", "not a whole Parquet"),
        ("b.parquet.gz", gzip.compress(LONG[:-9]), "format-mismatch", "not a whole Parquet"),
    ],
)
def test_a_table_that_is_none_is_left_out_by_name(
    world: Delivering, name: str, content: bytes, reason: str, words: str
) -> None:
    end, held = loaded(world, {"a.parquet": PRODUCTS, name: content, "c.parquet": LONG})
    assert end["kind"] == "Batch Succeeded"
    assert sorted(held) == sorted([PRODUCTS, LONG])
    [lost] = end["lostFiles"]
    assert (lost["uri"], lost["reason"]) == (f"s3://landing/in/{name}", reason)
    assert words in lost["detail"]


def test_its_rows_are_those_of_its_footer(world: Delivering) -> None:
    contents = {"a.parquet": PRODUCTS, "b.parquet": LONG, "c.parquet.gz": gzip.compress(LONG)}
    end, held = loaded(world, contents)
    assert (end["sentRecordCount"], len(held)) == (24 + 9 + 9, 3)


@pytest.mark.parametrize(("min_rows", "tables"), [(1, 1), (0, 3)])
def test_one_without_a_row_is_left_out_as_an_empty_file_is(
    world: Delivering, min_rows: int, tables: int
) -> None:
    empty = parquet_of(0)
    contents = {"a.parquet": PRODUCTS, "b.parquet": empty, "c.parquet.gz": gzip.compress(empty)}
    end, held = loaded(world, contents, minRows=min_rows)
    assert (end["kind"], end["sentRecordCount"], len(held)) == ("Batch Succeeded", 24, tables)
    assert "lostFiles" not in end


def test_one_with_too_few_rows_is_left_out_by_name(world: Delivering) -> None:
    contents = {"a.parquet": PRODUCTS, "b.parquet": LONG}
    end, held = loaded(world, contents, minRows=10)
    assert ([lost["reason"] for lost in end["lostFiles"]], held) == (["too-few-rows"], [PRODUCTS])


def test_with_a_footer_longer_than_what_is_read_nobody_counts(world: Delivering) -> None:
    wide = b"PAR1".ljust(2 * parquet.END, b"\0") + parquet.END.to_bytes(4, "little") + b"PAR1"
    end, held = loaded(world, {"a.parquet": wide, "b.parquet": PRODUCTS})
    assert (len(held), end.get("sentRecordCount")) == (2, None)


def test_whoever_wants_no_look_has_none(world: Delivering) -> None:
    end, held = loaded(world, {"a.parquet": PRODUCTS, "b.parquet": PRODUCTS[:-9]}, lookInside=False)
    assert (len(held), end.get("sentRecordCount")) == (2, None)


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b'{"a": 1}\n{"a": 2}\n', "format-mismatch", "JSON Lines"),
        (b'{"a": 1}{"a": 2}', "format-mismatch", "neither one document"),
        (b'[{"a": 1,}]', "bad-rows", "is not JSON"),
        (b'[{"a": 1}', "format-mismatch", "breaks off"),
        (b"<html><p>Denied", "format-mismatch", "HTML"),
        ('[{"a": "\u00e9"}]'.encode("latin-1"), "format-mismatch", "Latin-1"),
    ],
)
def test_json_that_goes_up_as_it_is_is_what_its_format_says(
    world: Delivering, content: bytes, reason: str, words: str
) -> None:
    end, held = loaded(world, {"a.json": b'[{"a": 1}]', "b.json": content}, **AS_IS)
    [lost] = end["lostFiles"]
    assert (lost["uri"], lost["reason"]) == ("s3://landing/in/b.json", reason)
    assert words in lost["detail"]
    assert held == [b'[{"a": 1}]']


@pytest.mark.parametrize("min_rows", [0, 1])
@pytest.mark.parametrize("nothing", [b" \n", gzip.compress(b" \n"), gzip.compress(b"")])
def test_one_with_nothing_in_it_is_not_sent_since_aep_would_fail_the_batch(
    world: Delivering, nothing: bytes, min_rows: int
) -> None:
    contents = {"a.json": b'[{"a": 1}]', "b.json": nothing}
    end, held = loaded(world, contents, minRows=min_rows, **AS_IS)
    assert (end["kind"], held) == ("Batch Succeeded", [b'[{"a": 1}]'])


@pytest.mark.parametrize(("content", "reads"), [(PRODUCTS, 1), (LONG, 2)])
def test_one_more_request_reads_an_end_that_is_not_among_the_first_bytes(
    world: Delivering, content: bytes, reads: int
) -> None:
    asked = list[str]()
    its = ports(world)

    def opened(file: Arrival, start: int, end: int) -> Any:
        asked.append(file.key)
        return its.opened(file, start, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world), "ports", lambda *_: replace(its, opened=opened))
        loaded(world, {"a.parquet": content, "b.parquet": content})
    assert sorted(asked) == sorted(["in/a.parquet", "in/b.parquet"] * reads)
