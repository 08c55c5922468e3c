"""Mapped files: what goes up is of the schema, however it is cut, packed or repeated."""

import gzip
import json
import re
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from aep_intake.arrivals.resolve import resolve
from aep_intake.content.compile_map import compile_map
from aep_intake.content.xdm import Schema
from aep_intake.delivery.delivery import DeliveryStage, Mark
from aep_intake.model.errors import RoutesUnavailable
from aep_intake.model.sharing import Sharing

from local.stack import ROOT
from tests.faults.harness import DAY, Delivering, calm
from tests.unit.content.xdm_samples import DATE, TEXT, an_object, number, schema
from tests.unit.delivery.test_steps import (
    arrival,
    batch_of,
    begun,
    finished,
    looked,
    ports,
    standing,
    table,
    uploaded,
    uploaded_piece,
    world,
)

__all__ = ["world"]  # a fixture
OF = schema(
    person=an_object(name=an_object(firstName=TEXT), birthDate=DATE),
    _acme=an_object(n=number("int"), country=TEXT),
)
MAP: dict[str, Any] = {
    "_acme.n": "id",
    "_acme.country": {"value": "{country}"},
    "person.name.firstName": {"from": "first", "trim": True},
    "person.birthDate": {"from": "born", "format": "dd.MM.yyyy"},
}
SOURCE = {"format": "csv", "delimiter": ";", "charset": "ISO-8859-1"}
ROUTE: dict[str, Any] = {"match": "in/{country}/**", "map": MAP, "inputFormat": SOURCE}
HEADER = "id;first;born;extra\n"


@pytest.fixture(autouse=True)
def with_room(world: Delivering) -> None:
    world.piece = 10_000


def row(number: int, born: str = "28.11.2026") -> str:
    return f"{number}; Zoë ;{born};x\n"


def xdm(number: int, country: str = "fr") -> dict[str, Any]:
    return {
        "_acme": {"n": number, "country": country},
        "person": {"name": {"firstName": "Zoë"}, "birthDate": "2026-11-28"},
    }


def mapped(
    world: Delivering,
    *contents: bytes,
    key: str = "in/fr/{}.csv",
    of: dict[str, Any] = OF,
    **written: Any,
) -> str:
    """A delivery of files that are mapped has begun; its external id."""
    whole = ROUTE | written
    keys = re.compile("in/(?P<country>[^/]+)/.*")
    compiled = compile_map(whole["map"], Schema(of), whole["inputFormat"], key=keys)
    assert compiled.problems == ()
    world.maps[compiled.name] = json.loads(compiled.text)
    return begun(world, *contents, key=key, **whole, compiledMap=compiled.name)


def rows(world: Delivering, external_id: str) -> list[dict[str, Any]]:
    """All rows that the batch holds."""
    files = batch_of(world, external_id).files
    return [
        json.loads(line) for _, file in sorted(files.items()) for line in file.read().splitlines()
    ]


def csv(*numbers: int, **more: str) -> bytes:
    return (HEADER + "".join(row(number, **more) for number in numbers)).encode("iso8859-1")


def ended(world: Delivering, external_id: str) -> dict[str, Any]:
    looked(world, external_id)
    looked(world, external_id, DAY)
    return finished(world, external_id)


def test_a_csv_becomes_rows_of_the_schema(world: Delivering) -> None:
    external_id = mapped(world, csv(1, 2, 3))
    uploaded(world)
    assert rows(world, external_id) == [xdm(1), xdm(2), xdm(3)]
    record = world.ledger.get(external_id)
    assert record is not None
    assert record.order.options["inputFormat"] == {"format": "json"}
    assert record.order.source_format == SOURCE
    [mark] = world.deliveries.marks(external_id).values()
    assert (mark.rows, mark.broken, mark.unmapped) == (3, 0, 0)
    assert (mark.unmapped_columns, mark.unmapped_column_count) == (("extra",), 1)


@pytest.mark.parametrize("several", [False, True])
def test_columns_that_nothing_maps_are_counted_and_the_first_are_named(
    world: Delivering, *, several: bool
) -> None:
    if several:
        world.piece, world.sharing = 10_000, Sharing(files=50, bytes=8000, file_bytes=4000)
    first, *others = csv(1, 2).decode("iso8859-1").splitlines()
    wide = "\n".join([";".join([first, *(f"c{n}" for n in range(30))])])
    wide += "".join(f"\n{line}{';x' * 30}" for line in others)
    external_id = mapped(world, wide.encode("iso8859-1"), *([csv(3)] if several else []))
    uploaded(world)
    verdict = ended(world, external_id)
    assert (len(verdict["unmappedColumns"]), verdict["unmappedColumnCount"]) == (20, 31)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("alone", [True, False])
def test_a_file_in_parts_is_the_same_as_whole(
    world: Delivering, *, packed: bool, alone: bool
) -> None:
    """Each worker has time for one part, and another one goes on; no row twice, none left out."""
    world.piece, world.limits = 300, replace(world.limits, files=2)
    content = csv(*range(30))
    other = csv(*range(100, 102))
    contents = [gzip.compress(content) if packed else content, *([] if alone else [other])]
    external_id = mapped(world, *contents)
    while world.uploads:
        task = world.uploads.pop(0).what
        its = ports(world)
        uploaded_piece(task, replace(its, uploads_end_ms=its.now() + 1500))
    found = sorted(row["_acme"]["n"] for row in rows(world, external_id))
    assert found == [*range(30), *([] if alone else [100, 101])]
    assert len(batch_of(world, external_id).files) > 5
    assert all(len(file.read()) <= 300 for file in batch_of(world, external_id).files.values())


def test_small_files_of_several_countries_share_an_upload(world: Delivering) -> None:
    """The placeholders are those of each file."""
    world.piece, world.sharing = 10_000, Sharing(files=50, bytes=8000, file_bytes=4000)
    external_id = mapped(world, csv(1), csv(2), csv(3), key="in/c{}/a.csv")
    uploaded(world)
    assert len(batch_of(world, external_id).files) == 1
    assert rows(world, external_id) == [xdm(n + 1, f"c{n}") for n in range(3)]
    [mark] = world.deliveries.marks(external_id).values()
    assert (mark.rows, mark.unmapped_columns) == (3, ("extra",))
    assert mark.unmapped_column_count == 1


def test_rows_of_which_none_can_be_mapped_are_told_also_of_a_file_that_shares_an_upload(
    world: Delivering,
) -> None:
    world.sharing = Sharing(files=50, bytes=8000, file_bytes=4000)
    wrong = csv(2, 3, born="tomorrow")
    external_id = mapped(world, csv(1), wrong, badRows="100%")
    uploaded(world)
    assert rows(world, external_id) == [xdm(1)]
    [mark] = world.deliveries.marks(external_id).values()
    assert (mark.rows, mark.unmapped) == (1, 2)
    assert [bad.row for bad in mark.bad_rows] == [1, 2]


def test_a_header_alone_is_no_row_of_the_schema(world: Delivering) -> None:
    """Also where nobody has looked, so that a batch was made for it."""
    external_id = mapped(world, csv(), lookInside=False)
    uploaded(world)
    assert rows(world, external_id) == []


def test_a_repeat_sends_the_same_bytes_also_after_the_route_has_another_map(
    world: Delivering,
) -> None:
    external_id = mapped(world, csv(1, 2))
    [task] = [errand.what for errand in world.uploads]
    uploaded(world)
    before = {path: file.read() for path, file in batch_of(world, external_id).files.items()}
    world.table = world.final  # it has no map any more
    world.deliveries.marked_as.clear()
    uploaded_piece(task, ports(world))
    assert {p: f.read() for p, f in batch_of(world, external_id).files.items()} == before


def test_rows_that_cannot_be_mapped_are_left_out_and_counted(world: Delivering) -> None:
    content = (HEADER + row(1) + row(2, "never") + row(3)).encode("iso8859-1")
    external_id = mapped(world, content, badRows=1)
    uploaded(world)
    assert rows(world, external_id) == [xdm(1), xdm(3)]
    delivery = standing(world, external_id)
    assert delivery.stage is DeliveryStage.INGESTING
    [mark] = world.deliveries.marks(external_id).values()
    assert (mark.rows, mark.broken, mark.unmapped) == (2, 0, 1)


def test_a_header_among_the_rows_is_left_out_and_told(world: Delivering) -> None:
    external_id = mapped(world, csv(1, 2) + csv(3), badRows=1)
    uploaded(world)
    assert rows(world, external_id) == [xdm(1), xdm(2), xdm(3)]
    [mark] = world.deliveries.marks(external_id).values()
    assert [(bad.row, bad.rule) for bad in mark.bad_rows] == [(3, "it is the header once more")]
    assert (mark.rows, mark.unmapped) == (3, 1)


def test_columns_of_one_name_that_nothing_maps_are_no_fault(world: Delivering) -> None:
    external_id = mapped(
        world, csv(1).replace(b"extra\n", b"extra;extra\n").replace(b"x\n", b"x;\n")
    )
    uploaded(world)
    assert rows(world, external_id) == [xdm(1)]


@pytest.mark.parametrize("bad_rows", [{}, {"badRows": "10%"}])
def test_more_of_them_reject_the_file_by_name_row_and_column(
    world: Delivering, bad_rows: dict[str, Any]
) -> None:
    content = (HEADER + row(1) + row(2, "never") + row(3)).encode("iso8859-1")
    external_id = mapped(world, content, **bad_rows)
    uploaded(world)
    [mark] = world.deliveries.marks(external_id).values()
    assert mark.lost is not None
    assert mark.lost.reason == "bad-rows"
    assert "s3://landing/in/fr/0.csv: 1 of 3 rows is broken" in mark.lost.detail
    assert "row 2, column 'born' is not a date of the format dd.MM.yyyy" in mark.lost.detail
    assert "never" not in mark.lost.detail
    assert not batch_of(world, external_id).files


def test_a_column_that_is_not_there_rejects_the_file_by_name(world: Delivering) -> None:
    external_id = mapped(world, csv(1).replace(b"first;", b"First;"))
    uploaded(world)
    [mark] = world.deliveries.marks(external_id).values()
    assert mark.lost is not None
    assert mark.lost.reason == "format-mismatch"
    assert "does not have the column 'first', which its route maps, but it has 'First'" in (
        mark.lost.detail
    )


def test_json_of_any_layout_is_mapped(world: Delivering) -> None:
    content = json.dumps([{"id": 1, "first": "Zoë", "born": "28.11.2026"}] * 2, indent=1).encode()
    external_id = mapped(world, content, key="in/fr/{}.json", inputFormat={"format": "json"})
    uploaded(world)
    assert rows(world, external_id) == [xdm(1), xdm(1)]


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_counted_is_the_same_however_often_another_worker_goes_on(*, alone: bool) -> None:
    """Rows, those left out, the first of these, and members that nothing maps."""
    members = [{"id": n, "first": "x" * (n % 9), f"u{99 - n}": 1} for n in range(30)]
    for n in (3, 11, 29):
        members[n]["born"] = "never"
    contents = [json.dumps(members).encode(), *([] if alone else [b'{"id": 1, "first": "x"}'])]
    sources: dict[str, Any] = {
        "key": "in/fr/{}.json",
        "inputFormat": {"format": "json"},
        "badRows": 9,
    }
    optional = MAP | {"person.birthDate": MAP["person.birthDate"] | {"optional": True}}

    def marks(parts: int) -> dict[int, Mark]:
        """When each worker has time for so many parts."""
        world = calm(tables=(table(),), final=table())
        world.piece, world.limits = 300, replace(world.limits, files=2)
        external_id, tries = mapped(world, *contents, **sources, map=optional), 0
        while world.uploads:
            its, tries = ports(world), tries + 1
            clock = count(its.now(), 400)
            its = replace(its, now=clock.__next__, uploads_end_ms=its.now() + 2000 * parts)
            uploaded_piece(world.uploads.pop(0).what, its)
        assert (tries > 5) == (parts == 1)
        return dict(world.deliveries.marks(external_id))

    at_once, in_turns = marks(1000), marks(1)
    assert in_turns == at_once
    mark = max(at_once.values(), key=lambda mark: mark.size)
    assert (mark.rows, mark.unmapped, len(mark.bad_rows)) == (27, 3, 3)
    assert mark.unmapped_column_count == 30
    assert mark.unmapped_columns == tuple(sorted(f"u{99 - n}" for n in range(30)))[:20]


def test_what_was_left_out_is_in_the_event(world: Delivering) -> None:
    content = (HEADER + row(1) + row(2, "never")).encode("iso8859-1")
    external_id = mapped(world, content, badRows=1)
    uploaded(world)
    event = ended(world, external_id)
    assert (event["unmappedRecordCount"], event["unmappedColumns"]) == (1, ["extra"])
    assert event["unmappedColumnCount"] == 1
    assert event["sentRecordCount"] == 1


def test_adobe_takes_mapped_rows_for_the_schema_of_the_dataset(world: Delivering) -> None:
    """The simulator validates them by the schema that Schema Registry has."""
    document = json.loads((ROOT / "local/simulator/schemas/loyalty-members.json").read_text())
    written: dict[str, Any] = {
        "_acme.memberId": "id",
        "_acme.tier": {"from": "first", "values": {" Zoë ": "gold"}},
        "person.birthDate": {"from": "born", "format": "dd.MM.yyyy"},
        "identityMap.CRMID[0].id": "id",
        "identityMap.CRMID[0].primary": {"value": True},
    }
    external_id = mapped(world, csv(1, 2), of=document, map=written, match="in/**")
    uploaded(world)
    event = ended(world, external_id)
    assert (event["kind"], event["ingestedRecordCount"], event["counted"]) == (
        *("Batch Succeeded", 2),
        True,
    )
    assert "failedRecordCount" not in event or event["failedRecordCount"] == 0


def test_files_of_another_map_are_of_another_window(world: Delivering) -> None:
    """Also in the same minute: each order has one map."""
    first = mapped(world, csv(1), csv(2))
    less: dict[str, Any] = {"map": {"_acme.n": "id"}, "match": "in/**"}
    second = mapped(world, csv(3), csv(4), key="in/fr/b{}.csv", **less)
    assert first != second
    names = {world.ledger.records[each].order.compiled_map for each in (first, second)}
    assert len(names) == 2


def test_a_table_whose_maps_nobody_compiled_waits_for_its_publication(world: Delivering) -> None:
    world.table = table(**ROUTE)
    content = csv(1)
    file = arrival(content, "in/fr/a.csv")
    world.put(file, content)
    with pytest.raises(RoutesUnavailable, match="aep-intake routes publish"):
        resolve(file, world.intake(0))
