"""Rows that a map leaves out: they are kept by file, row, column and rule, and for some days."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from aep_intake.content import bad_rows
from aep_intake.content.json_rows import JsonLines
from aep_intake.content.rows import BrokenRow
from aep_intake.model.errors import LedgerUnavailable
from aep_intake.model.sharing import Sharing

from tests.faults.harness import Delivering
from tests.unit.delivery.test_mapped import HEADER, csv, ended, mapped, row, with_room
from tests.unit.delivery.test_steps import (
    batch_of,
    ports,
    uploaded,
    uploaded_piece,
    valid,
    world,
)

__all__ = ["with_room", "world"]  # fixtures
RULE = "is not a date of the format dd.MM.yyyy"


def text(*rows: str) -> bytes:
    return (HEADER + "".join(rows)).encode("iso8859-1")


def kept(world: Delivering, external_id: str) -> dict[str, list[dict[str, Any]]]:
    """The lines of each object, by the end of its name."""
    prefix = f"badrows/{external_id}/"
    return {
        key.removeprefix(prefix)[32:]: lines_of(content)
        for key, content in sorted(world.lists.written.items())
        if key.startswith(prefix)
    }


def lines_of(packed: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()]


def named(number: int, *content: Any, file: int = 0, column: str = "born") -> dict[str, Any]:
    line: dict[str, Any] = {"file": f"s3://landing/in/fr/{file}.csv", "row": number}
    return line | {"column": column, "rule": RULE} | ({"content": content[0]} if content else {})


@pytest.mark.parametrize("keeps", [None, False, True])
@pytest.mark.parametrize("together", [False, True])
def test_they_are_kept_by_row_and_with_their_content_only_if_the_route_says_so(
    world: Delivering, *, keeps: bool | None, together: bool
) -> None:
    world.sharing = Sharing(files=50, bytes=8000, file_bytes=4000) if together else None
    more: dict[str, Any] = {} if keeps is None else {"keepBadRows": keeps}
    contents = [text(row(1), row(2, "never"), row(3, "ever"))] + [csv(7)] * together
    external_id = mapped(world, *contents, badRows=2, **more)
    uploaded(world)
    contents_of = ["2", " Zoë ", "never", "x"], ["3", " Zoë ", "ever", "x"]
    second, third = ([value] if keeps else [] for value in contents_of)
    assert kept(world, external_id) == {"-00000.jsonl.gz": [named(2, *second), named(3, *third)]}
    event = ended(world, external_id)
    assert (event["kind"], event["unmappedRecordCount"]) == ("Batch Succeeded", 2)
    assert event["badRows"] == {"bucket": "state", "prefix": f"badrows/{external_id}/"}
    valid({name: value for name, value in event.items() if name != "kind"}, "batch-ended")


def test_where_all_rows_fit_nothing_is_kept(world: Delivering) -> None:
    external_id = mapped(world, csv(1, 2), keepBadRows=True)
    uploaded(world)
    assert kept(world, external_id) == {}
    assert "badRows" not in ended(world, external_id)


@pytest.mark.parametrize("together", [False, True])
def test_those_of_a_file_that_has_too_many_are_kept_and_named(
    world: Delivering, *, together: bool
) -> None:
    """Who corrects the file wants to see them all, and not only the first."""
    world.sharing = Sharing(files=50, bytes=8000, file_bytes=4000) if together else None
    wrong = text(*(row(number, "never") for number in range(9)))
    external_id = mapped(world, wrong, *[csv(1)] * together, badRows="10%")
    uploaded(world)
    assert [line["row"] for line in kept(world, external_id)["-00000.jsonl.gz"]] == [*range(1, 10)]
    event = ended(world, external_id)
    assert event["kind"] == ("Batch Succeeded" if together else "Batch Abandoned")
    assert event["badRows"]["prefix"] == f"badrows/{external_id}/"


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("most", [10_000, 5])
def test_those_of_a_file_in_parts_are_the_same_whoever_goes_on(
    world: Delivering, monkeypatch: pytest.MonkeyPatch, *, alone: bool, most: int
) -> None:
    """Each row is in one object, or counted in one; no more are kept of a file than may be."""
    monkeypatch.setattr(bad_rows, "ROWS_MAX", most)
    world.piece, world.limits = 300, replace(world.limits, files=2)
    content = text(*(row(n, "never" if n % 3 else "28.11.2026") for n in range(30)))
    external_id = mapped(world, content, *([] if alone else [csv(100)]), badRows="100%")
    while world.uploads:
        task = world.uploads.pop(0).what
        its = ports(world)
        uploaded_piece(task, replace(its, uploads_end_ms=its.now() + 1500))
    objects = kept(world, external_id)
    assert len(objects) > 3
    lines = [line for each in objects.values() for line in each]
    bad = [n + 1 for n in range(30) if n % 3]
    assert [line["row"] for line in lines if "row" in line] == bad[:most]
    assert sum(line.get("notKept", 0) for line in lines) == max(0, len(bad) - most)
    assert all("row" in line for each in objects.values() for line in each[:-1])


def test_a_worker_that_dies_before_its_mark_leaves_what_the_next_one_writes(
    world: Delivering,
) -> None:
    external_id = mapped(world, text(row(1), row(2, "never")), badRows=1, keepBadRows=True)
    [task] = [errand.what for errand in world.uploads]
    its = ports(world)

    def mark(*_: Any) -> int:
        raise LedgerUnavailable("it died")

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return mark if name == "mark" else getattr(its.deliveries, name)

    with pytest.raises(LedgerUnavailable):
        uploaded_piece(task, replace(its, deliveries=Dying()))
    before = dict(world.lists.written)
    assert kept(world, external_id)["-00000.jsonl.gz"]
    world.lists.written.clear()
    uploaded(world)
    assert world.lists.written == before
    assert len(batch_of(world, external_id).files) == 1


def test_they_are_kept_before_their_part_is_sent(world: Delivering) -> None:
    """So that no row is left out, in a batch, that nobody can find."""
    external_id = mapped(world, text(row(1), row(2, "never")), badRows=1)
    [task] = [errand.what for errand in world.uploads]
    its = ports(world)

    class Full:
        def put(self, key: str, lines: Iterable[bytes]) -> bool:
            raise LedgerUnavailable(f"{key} {len(list(lines))}")

        whole = staticmethod(world.lists.whole)

    with pytest.raises(LedgerUnavailable):
        uploaded_piece(task, replace(its, lists=Full()))
    assert not batch_of(world, external_id).files


def test_a_file_of_only_bad_rows_is_bounded(world: Delivering) -> None:
    world.piece = 10**7
    number = bad_rows.ROWS_MAX + 2000
    content = text(*(row(n, "never") for n in range(number)))
    external_id = mapped(world, content, badRows="100%", keepBadRows=True)
    uploaded(world)
    [lines] = kept(world, external_id).values()
    assert len(lines) == bad_rows.ROWS_MAX + 1
    assert lines[-1] == {"file": "s3://landing/in/fr/0.csv", "notKept": 2000}


def test_large_rows_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first that has no room on, none is kept, however small: the same in every try."""
    monkeypatch.setattr(bad_rows, "BYTES_MAX", 500)
    lines = [b'{"a": "%s"}\n' % (b"x" * size) for size in (100, 100, 1000, 1)]
    reader, found = JsonLines(), bad_rows.BadRowsOfPart("s3://b/k", content=True)
    for number, line in enumerate(lines, 1):
        block = reader.feed(line)
        found.add(reader, block, [BrokenRow(number, 0, "is odd")])
    first, second, rest = lines_of(found.packed(0))
    assert (first["content"], second["row"]) == (lines[0].decode().strip(), 2)
    assert rest == {"file": "s3://b/k", "notKept": 2}


def test_what_is_no_text_can_be_kept() -> None:
    """A header has no content; what is not of UTF-8 becomes U+FFFD."""
    reader, found = JsonLines(), bad_rows.BadRowsOfPart("s3://b/\udcff", content=True)
    block = reader.feed(b"\n\xff\xfe\n \t\r\n[\x00]\n")
    found.add(reader, block, [BrokenRow(0, 0, "r"), *block.broken])
    assert [line.get("content") for line in lines_of(found.packed(0))] == [None, "��", "[\x00]"]
    assert found.packed(0) == found.packed(0)
    assert bad_rows.BadRowsOfPart("s3://b/k", content=True).packed(0) == b""
