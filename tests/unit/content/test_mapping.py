"""Rows become rows of the schema, or are refused by number, column and rule."""

import json
import re
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest
from aep_intake.content import members as module
from aep_intake.content.compile_map import CompiledMap, compile_map
from aep_intake.content.csv import CsvReader
from aep_intake.content.mapping import Mapped, RowMap
from aep_intake.content.xdm import Schema
from aep_intake.model.errors import FormatMismatch
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker

from tests.unit.content.xdm_samples import (
    BOOLEAN,
    CRM,
    CRM_CSV,
    CRM_MAP,
    CRM_ROWS,
    DATE,
    EVENTS,
    IDENTITIES,
    MOMENT,
    TEXT,
    a_list,
    a_map,
    an_object,
    number,
    schema,
    text,
)

CSV: dict[str, Any] = {"format": "csv"}
JSON: dict[str, Any] = {"format": "json"}
URI = "s3://landing/a"


def compiled(
    written: Mapping[str, Any], of: Mapping[str, Any], source: Mapping[str, Any] = CSV, **more: Any
) -> CompiledMap:
    """A map without problems, through JSON, as it is kept."""
    found = compile_map(written, Schema(of), source, **more)
    assert found.problems == ()
    return CompiledMap(json.loads(found.text), ())


def rows_of_csv(map_: CompiledMap, content: bytes, source: Mapping[str, Any] = CSV) -> Mapped:
    """All rows of a file, mapped."""
    reader, rows = CsvReader(source), RowMap(map_.document, "", URI)
    first = reader.feed(content)
    last = reader.end()
    header = reader.values(reader.header)
    rows.begin(header[0] if header else [])
    broken = first.broken + last.broken
    return rows.of_csv(reader.values(first.text + last.text), 0, 0, broken)


def one(entry: Any, kind: Mapping[str, Any], cell: Any, source: Mapping[str, Any] = CSV) -> Any:
    """What a member of the map makes of one value; the rule that the value breaks, in a tuple.

    Numbers are texts: their digits as they are written.
    """
    map_ = compiled({"x": entry, "id": "id"}, schema(x=kind, id=TEXT), source)
    rows = RowMap(map_.document, "", URI)
    if source is JSON:
        found = rows.of_json(json.dumps({"id": "1", "a": cell}).encode(), 0, 0)
    else:
        rows.begin(["id", "a"])
        found = rows.of_csv([["1", cell]], 0, 0)
    if found.broken:
        [row] = found.broken
        assert (row.row, row.column, found.text) == (1, "a", b"")
        assert len(str(cell)) < 3 or str(cell) not in row.rule
        return (row.rule,)
    return json.loads(found.text, parse_float=str, parse_int=str).get("x")


# ---- Each operation, by a table of cases. `Refused` is the rule that a value breaks.


def refused(rule: str) -> tuple[str]:
    return (rule,)


NO_NUMBER = refused("is not a number of the form that its route says")
NEITHER = refused("is neither true nor false: say which by `values`")
NOT_ALLOWED = refused("is none of the values that the schema allows")
INT, SHORT, DOUBLE = number("int"), number("short"), number("number")
GERMAN = {"from": "a", "decimal": ",", "thousands": "."}


def a(**members: Any) -> dict[str, Any]:
    """A member of a map that reads the column a."""
    return {"from": "a", **members}


@pytest.mark.parametrize(
    ("entry", "kind", "cell", "wanted"),
    [
        ("a", TEXT, "x", "x"),
        ("a", TEXT, "", None),
        ("a", TEXT, " x ", " x "),
        ("a", TEXT, 'say "a\\b"\n\x00 é😀', 'say "a\\b"\n\x00 é😀'),
        (a(trim=True), TEXT, " x ", "x"),
        (a(trim=True), TEXT, "  ", None),
        (a(lower=True), TEXT, "ÄB", "äb"),
        (a(upper=True, trim=True), TEXT, "äb ", "ÄB"),
        ("a", text(minLength=2), "x", refused("has fewer than 2 characters")),
        ("a", text(maxLength=2), "xyz", refused("has more than 2 characters")),
        ("a", text(maxLength=2), "é😀", "é😀"),
        ("a", text(pattern="^[A-Z]+$"), "ABC", "ABC"),
        ("a", text(pattern="^[A-Z]+$"), "abc", refused("is not of the pattern ^[A-Z]+$")),
        ("a", text(pattern="(?<x>js only"), "abc", "abc"),  # AEP checks it
        ("a", text(enum=["u", "v"]), "v", "v"),
        ("a", text(enum=["u", "v"]), "w", NOT_ALLOWED),
        ("a", text(format="email"), "j@x.de", "j@x.de"),
        ("a", text(format="email"), "j at x", refused("is not a valid email")),
        (a(trim=True, lower=True), text(format="email"), " J@X.DE ", "j@x.de"),
        ("a", text(format="ipv4"), "10.0.0.1", "10.0.0.1"),
        ("a", text(format="ipv4"), "10.0.0.256", refused("is not a valid ipv4")),
        ("a", text(format="ipv6"), "::1", "::1"),
        ("a", text(format="ipv6"), "10.0.0.1", refused("is not a valid ipv6")),
        ("a", text(format="uri"), "https://x/y?z=%20", "https://x/y?z=%20"),
        ("a", text(format="uri"), "no scheme", refused("is not a valid uri")),
        ("a", text(format="uri-reference"), "c-1/2", "c-1/2"),
        ("a", text(format="uri-reference"), "urn:a:b", "urn:a:b"),
        ("a", text(format="uri-reference"), "12:30", refused("is not a valid uri-reference")),
        ("a", text(format="uri-reference"), "a b", refused("is not a valid uri-reference")),
        ("a", text(format="hostname"), "a-b.example.com", "a-b.example.com"),
        ("a", text(format="hostname"), "-a.com", refused("is not a valid hostname")),
        # Numbers keep their digits.
        ("a", DOUBLE, "12.50", "12.50"),
        ("a", DOUBLE, "0.1000000000000000000000001", "0.1000000000000000000000001"),
        ("a", DOUBLE, "-.5", "-0.5"),
        ("a", DOUBLE, "5.", "5"),
        ("a", DOUBLE, "+007.10", "7.10"),
        ("a", DOUBLE, " 1e-7 ", "1e-7"),
        ("a", DOUBLE, "1e999", refused("is too large a number")),
        ("a", DOUBLE, "9" * 101, NO_NUMBER),
        *[
            ("a", DOUBLE, cell, NO_NUMBER)
            for cell in ("NaN", "Infinity", ".", "-", "1 2", "0x1", "\u0661")
        ],
        ("a", DOUBLE, "1,5", NO_NUMBER),
        (GERMAN, DOUBLE, "1.234.567,89", "1234567.89"),
        (GERMAN, DOUBLE, "1234,5", "1234.5"),
        (GERMAN, DOUBLE, "1.23", NO_NUMBER),
        (GERMAN, DOUBLE, "1.2345,0", NO_NUMBER),
        (a(thousands=",", decimal="."), DOUBLE, "12,34,567.5", "1234567.5"),  # as India writes
        (a(thousands=" ", decimal=","), DOUBLE, "1\u202f234\u00a0567,5", "1234567.5"),
        (a(thousands="'"), INT, "1'000", "1000"),
        ("a", number("number", minimum=0, maximum=9.5), "9.51", refused("is more than 9.5")),
        ("a", number("number", minimum=0, maximum=9.5), "-0.01", refused("is less than 0")),
        ("a", INT, "-2147483648", "-2147483648"),
        ("a", INT, "2147483648", refused("is more than 2147483647")),
        ("a", SHORT, "-32769", refused("is less than -32768")),
        ("a", number("byte"), "127", "127"),
        ("a", number("long"), "9007199254740991", "9007199254740991"),
        ("a", INT, "12.00", "12"),
        ("a", INT, "12.5", refused("is not a whole number")),
        ("a", INT, "1.23E+05", refused("is not a whole number")),  # what Excel leaves of an id
        ("a", INT, "-0", "0"),
        (a(**{"as": "integer"}), TEXT, "007", "7"),
        (a(**{"as": "number"}, decimal=","), text(maxLength=3), "1,5", "1.5"),
        # Data Prep's words for booleans.
        *[
            ("a", BOOLEAN, word, True)
            for word in ("y", "yes", "Y", "YES", "on", "ON", "true", "TRUE")
        ],
        *[
            ("a", BOOLEAN, word, False)
            for word in ("n", "N", "no", "NO", "off", "OFF", "false", "FALSE")
        ],
        ("a", BOOLEAN, "1", NEITHER),
        ("a", BOOLEAN, "maybe", NEITHER),
        (a(values={"1": True, "0": False}), BOOLEAN, "0", False),
        (a(**{"as": "boolean"}), TEXT, "YES", "true"),
        # Dates; more of them in test_dates.
        ("a", DATE, "2026-11-28", "2026-11-28"),
        ("a", DATE, "2026-02-30", refused("is not a date of ISO 8601")),
        ("a", DATE, "28.11.2026", refused("is not a date of ISO 8601")),
        (a(format="dd.MM.yyyy"), DATE, "28.11.2026", "2026-11-28"),
        (
            a(format="dd.MM.yyyy"),
            DATE,
            "2026-11-28",
            refused("is not a date of the format dd.MM.yyyy"),
        ),
        (a(format="dd.MM.yyyy HH:mm"), DATE, "28.11.2026 23:59", "2026-11-28"),
        (a(**{"as": "date-time"}), DATE, "2026-11-28T23:30:00-02:00", "2026-11-29"),
        ("a", MOMENT, "2026-11-28T15:04:05.123Z", "2026-11-28T15:04:05.123Z"),
        ("a", MOMENT, "2026-11-28", refused("is not a date-time of ISO 8601")),
        (
            a(**{"as": "date"}, timezone="Europe/Paris"),
            MOMENT,
            "2026-07-01",
            "2026-06-30T22:00:00Z",
        ),
        (
            a(format="yyyy-MM-dd HH:mm:ss", timezone="Europe/Paris"),
            *(MOMENT, "2026-07-01 10:00:00", "2026-07-01T08:00:00Z"),
        ),
        (a(format="epoch-milliseconds"), MOMENT, "1732800000123", "2024-11-28T13:20:00.123Z"),
        (a(format="epoch-seconds"), MOMENT, "-1", "1969-12-31T23:59:59Z"),
        (a(**{"as": "date"}, format="d/M/yy"), TEXT, "1/2/26", "2026-02-01"),
        # Tables of values, and what else is given.
        (a(values={"M": "male"}), TEXT, "M", "male"),
        (a(values={"M": "male"}), TEXT, "m", refused("is not among the `values` of its route")),
        (a(values={"m": "male"}, lower=True, trim=True), TEXT, " M", "male"),
        (a(values={"M": "male"}, default="?"), TEXT, "X", "?"),
        (a(values={"M": "male"}, default="?"), TEXT, "", "?"),
        (a(values={"M": "male"}, default=None), TEXT, "X", None),
        (a(values={"M": "male"}), TEXT, "", None),
        (a(values={"-": None}), TEXT, "-", None),
        (a(values={"a": 1.5}), DOUBLE, "a", "1.5"),
        (a(values={"0000-00-00": None, "x": "2026-01-01"}), DATE, "x", "2026-01-01"),
        (a(default=5), INT, "", "5"),
        (a(default=5), INT, "6", "6"),
        (a(required=True), TEXT, "", refused("is empty, and its route requires it")),
        # Lists.
        (a(split="|"), a_list(TEXT), "a|b||c", ["a", "b", "c"]),
        (a(split=", ", trim=True, upper=True), a_list(TEXT), "a,  b", ["A", "B"]),
        (a(split="|"), a_list(TEXT), "", None),
        (a(split="|"), a_list(TEXT), "|", None),
        (a(split=";", decimal=","), a_list(DOUBLE), "1,5;2", ["1.5", "2"]),
        (a(split=";"), a_list(INT), "1;x", NO_NUMBER),
        (a(split=";", values={"a": "A"}, default="?"), a_list(TEXT), "a;b", ["A", "?"]),
        (a(split=";", format="d.M.yyyy"), a_list(DATE), "1.2.2026", ["2026-02-01"]),
    ],
)
def test_operations(entry: Any, kind: dict[str, Any], cell: str, wanted: Any) -> None:
    assert one(entry, kind, cell) == wanted


@pytest.mark.parametrize(
    ("entry", "kind", "value", "wanted"),
    [
        ("a", TEXT, None, None),
        ("a", TEXT, 5, "5"),
        ("a", TEXT, True, "true"),
        ("a", TEXT, ["x"], refused("is a list or an object, and one value is wanted")),
        ("a", TEXT, {"x": 1}, refused("is a list or an object, and one value is wanted")),
        ("a", INT, 5, "5"),
        ("a", INT, "5", "5"),
        ("a", INT, 5.5, refused("is not a whole number")),
        ("a", INT, True, NO_NUMBER),
        ("a", BOOLEAN, False, False),
        ("a", BOOLEAN, "no", False),
        ("a", DATE, "2026-01-02", "2026-01-02"),
        (a(format="epoch-seconds"), MOMENT, 1732800000, "2024-11-28T13:20:00Z"),
        (GERMAN, DOUBLE, 1.5, "1.5"),  # JSON has marks of its own
        (GERMAN, DOUBLE, "1,5", "1.5"),
        (a(values={"1": "one", "true": "yes"}), TEXT, 1, "one"),
        (a(values={"1": "one", "true": "yes"}), TEXT, True, "yes"),
        (a(split="|"), a_list(TEXT), "a|b", ["a", "b"]),
        ("a", a_list(TEXT), ["a", None, "", 1], ["a", "1"]),
        ("a", a_list(TEXT), [], None),
        ("a", a_list(TEXT), "a", refused("is not a list")),
        ("a", a_list(INT), [1, "x"], NO_NUMBER),
        ("a", a_list(a_list(INT)), [[1], []], [["1"]]),
        (
            "a",
            an_object(u=TEXT),
            {"u": "v", "w": None},
            refused("has a member that the schema does not have"),
        ),
        ("a", an_object(u=TEXT, w=TEXT), {"u": 1, "w": None}, {"u": "1"}),
        (
            "a",
            an_object("w", u=TEXT, w=TEXT),
            {"u": 1},
            refused("has no w, which the schema requires"),
        ),
        ("a", an_object(u=TEXT), 5, refused("is not an object")),
        ("a", an_object(u=TEXT), {}, None),
        ("a", a_map(INT), {"k.x": "5"}, {"k.x": "5"}),
        ("a", {"type": "object"}, {"any": [1.50, {"x": None}], "e": ""}, {"any": ["1.5"]}),
        ("a.b[1]", TEXT, {"b": [1, 2]}, "2"),
        ("a.b[1]", TEXT, {"b": [1]}, None),
        ("a.b", TEXT, "x", None),
    ],
)
def test_operations_on_json(entry: Any, kind: dict[str, Any], value: Any, wanted: Any) -> None:
    assert one(entry, kind, value, JSON) == wanted


def test_digits_of_json_numbers_stay() -> None:
    map_ = compiled({"x": "a", "y": {"expression": "b"}}, schema(x=DOUBLE, y=DOUBLE), JSON)
    found = RowMap(map_.document, "", URI).of_json(b'{"a":1.10,"b":0.30000000000000000001}', 0, 0)
    assert found.text == b'{"x":1.10,"y":0.30000000000000000001}\n'


# ---- Adobe's own sample


def test_adobes_own_sample_of_csv_as_xdm() -> None:
    """In CRM_profiles.json of its repository; `stateProvince` is a pattern that fits anything."""
    found = rows_of_csv(compiled(CRM_MAP, CRM), CRM_CSV.encode())
    assert found.broken == ()
    assert [json.loads(line) for line in found.text.splitlines()] == CRM_ROWS
    assert b'"latitude":33.708276,"longitude":-85.7922905' in found.text


# ---- Several columns, constants, placeholders, expressions


def mapped(
    written: Mapping[str, Any],
    of: Mapping[str, Any],
    content: str,
    key: tuple[str, str] = ("", ""),
) -> tuple[list[Any], list[tuple[int, str, str]]]:
    """The rows of a CSV, and its broken rows. `key`: its pattern, and the file's own."""
    map_ = compiled(written, of, key=re.compile(key[0]))
    reader, rows = CsvReader(CSV), RowMap(map_.document, key[1], URI)
    block = reader.feed(content.encode())
    rows.begin(reader.values(reader.header)[0])
    found = rows.of_csv(reader.values(block.text), 0, 0)
    lines = [json.loads(line) for line in found.text.splitlines()]
    assert len(lines) == found.rows
    return lines, [(row.row, row.column, row.rule) for row in found.broken]


def test_several_columns_are_joined_or_are_a_list() -> None:
    written = {
        "x": {"from": ["a", "b"], "join": " ", "trim": True},
        "y": {"from": ["a", "b"]},
        "z": {"from": ["b", "a"], "join": "", "as": "date", "format": "yyyyMMdd"},
    }
    of = schema(x=TEXT, y=a_list(TEXT), z=DATE)
    assert mapped(written, of, "a,b\n0102,2026\n,2026\n ,\n") == (
        [{"x": "0102 2026", "y": ["0102", "2026"], "z": "2026-01-02"}],
        [
            (2, "b, a", "is not a date of the format yyyyMMdd"),
            (3, "b, a", "is not a date of the format yyyyMMdd"),
        ],
    )


def test_an_object_of_constants_alone_is_left_out_where_it_would_be_worth_nothing() -> None:
    """An identity without an id, an address without what it must have; no other object."""
    written = {
        "id": "id",
        "identityMap.CRM[0].id": "crm",
        "identityMap.CRM[0].primary": {"value": True},
        "personalEmail.address": "email",
        "personalEmail.primary": {"value": True},
        "_acme.source": {"value": "crm"},
        "_acme.tier": "tier",
    }
    of = schema(
        id=TEXT,
        identityMap=IDENTITIES,
        personalEmail=an_object("address", address=TEXT, primary=BOOLEAN),
        _acme=an_object(source=TEXT, tier=TEXT),
    )
    rows, broken = mapped(written, of, "id,crm,email,tier\n1,,,\n2,c,e,t\n,,,\n")
    assert rows == [
        {"id": "1", "_acme": {"source": "crm"}},
        {
            "id": "2",
            "identityMap": {"CRM": [{"id": "c", "primary": True}]},
            "personalEmail": {"address": "e", "primary": True},
            "_acme": {"source": "crm", "tier": "t"},
        },
    ]
    assert broken == [(3, "", "nothing in it is mapped")]


def test_what_the_schema_requires() -> None:
    """Nested, only where its object is there; the tenant's and the root's members always."""
    of = schema(
        "name",
        name=an_object(first=TEXT, last=TEXT),
        mail=an_object("address", address=TEXT, label=TEXT),
        _acme=an_object("id", id=TEXT),
    )
    written = {
        "name.first": "f",
        "name.last": "l",
        "mail.address": "m",
        "mail.label": "label",
        "_acme.id": "i",
    }
    rows, broken = mapped(written, of, "f,l,m,label,i\n1,,,,i\n,,m,x,i\n3,,,x,i\n4,,,,\n5,l,m,,i\n")
    assert [row["name"]["first"] for row in rows] == ["1", "5"]
    assert broken == [
        (2, "f, l", "is empty, and the schema requires name"),
        (3, "m", "is empty, and the schema requires mail.address"),
        (4, "i", "is empty, and the schema requires _acme.id"),
    ]


def test_placeholders_of_the_key() -> None:
    written = {
        "id": "id",
        "day": {"value": "{day}", "as": "date", "format": "yyyyMMdd"},
        "where": {"value": "crm of {country}"},
    }
    of = schema(id=TEXT, day=DATE, where=TEXT)
    pattern = "(?P<country>[^/]+)/(?P<day>[^/]+)[.]csv"
    rows, _ = mapped(written, of, "id\n1\n", (pattern, "fr/20261128.csv"))
    assert rows == [{"id": "1", "day": "2026-11-28", "where": "crm of fr"}]
    with pytest.raises(FormatMismatch, match="`day`, which comes from its key, is not a date of"):
        mapped(written, of, "id\n1\n", (pattern, "fr/today.csv"))


def test_expressions_see_the_columns_that_they_name() -> None:
    written = {
        "_id": {"expression": 'hash(shop, "order no")'},
        "timestamp": "at",
        "_acme.storeId": {"expression": "coalesce(shop, 'none')", "upper": True},
        "_acme.amount": {"expression": "to_number(amount)"},
        "_acme.items": {"expression": "split(items, '+')"},
    }
    at = "2026-01-01T00:00:00Z"
    content = f"shop,order no,at,amount,items\ns,1,{at},1.50,a+b\n,2,{at},,\n"
    rows, broken = mapped(written, EVENTS, content)
    [row] = rows
    assert len(row.pop("_id")) == 64
    assert row == {
        "timestamp": "2026-01-01T00:00:00Z",
        "_acme": {"storeId": "S", "amount": 1.5, "items": ["a", "b"]},
    }
    assert broken == [(2, "shop, order no", "is empty, and the schema requires _id")]


def test_what_an_expression_cannot_compute_is_a_row_that_cannot_be_mapped() -> None:
    written = {"id": "id", "x": {"expression": "date(a, 'dd.MM.yyyy')"}}
    rows, broken = mapped(written, schema(id=TEXT, x=DATE), "id,a\n1,secret\n2,01.02.2026\n")
    assert rows == [{"id": "2", "x": "2026-02-01"}]
    assert broken == [(1, "a", "its expression cannot be computed")]


# ---- Files


def test_a_mapped_column_that_the_header_lacks_rejects_the_file_by_name() -> None:
    map_ = compiled(
        {"id": "customer_id", "x": {"from": "a", "optional": True}}, schema(id=TEXT, x=TEXT)
    )
    rows = RowMap(map_.document, "", URI)
    with pytest.raises(
        FormatMismatch, match=r"s3://landing/a: .*'customer_id'.* has 'customer-id'"
    ):
        rows.begin(["a", "customer-id"])
    with pytest.raises(FormatMismatch, match="has the column 'customer_id' twice"):
        rows.begin(["customer_id", "customer_id "])
    rows.begin([" customer_id", "b", "b"])
    assert rows.unmapped == ("b", "b")
    assert rows.of_csv([["1", "", ""]], 0, 0).text == b'{"id":"1"}\n'


def test_files_without_a_header_have_columns_by_number() -> None:
    source = CSV | {"header": False}
    map_ = compiled({"id": "3", "x": "1"}, schema(id=TEXT, x=TEXT), source)
    found = rows_of_csv(map_, b"a,b,c\n1,2\n1,2,3,4\n", source)
    assert found.text == b'{"id":"c","x":"a"}\n{"id":"3","x":"1"}\n'
    assert [row.rule for row in found.broken] == ["it has 2 values, and 3 are expected"]


def test_rows_of_another_length_than_the_header() -> None:
    """Empty values at the end do no harm: some programs write a delimiter there."""
    map_ = compiled({"id": "id", "x": "x"}, schema(id=TEXT, x=TEXT))
    found = rows_of_csv(map_, b"id,x\n1,a,\n2\n3,b,c\n\n4,d\n")
    assert found.text == b'{"id":"1","x":"a"}\n{"id":"4","x":"d"}\n'
    assert [(row.row, row.rule) for row in found.broken] == [
        (2, "it has 1 value, and 2 are expected"),
        (3, "it has 3 values, and 2 are expected"),
    ]


def test_rows_that_cannot_be_read_are_not_mapped() -> None:
    map_ = compiled({"id": "id"}, schema(id=TEXT))
    found = rows_of_csv(map_, b"id\n1\n\xff\n3\n")
    assert (found.text, found.rows) == (b'{"id":"1"}\n{"id":"3"}\n', 2)
    assert [(row.row, row.rule) for row in found.broken] == [(2, "it is not UTF-8")]


def test_members_of_json_that_nothing_maps_and_mapped_ones_that_no_row_has() -> None:
    map_ = compiled(
        {"id": "id", "x": "a.b", "y": {"from": "c", "optional": True}},
        schema(id=TEXT, x=TEXT, y=TEXT),
        JSON,
    )
    rows = RowMap(map_.document, "", URI)
    found = rows.of_json(b'{"id":1,"z":2}\r\n \n[1]\n{"id":"\\ud800"}\n{"id":3,"B":1}', 10, 0)
    assert found.text == b'{"id":"1"}\n{"id":"3"}\n'
    assert [(row.row, row.rule) for row in found.broken] == [
        (12, "it is not a JSON object"),
        (13, "it has a lone surrogate, which is not Unicode"),
    ]
    assert (rows.unmapped_columns, rows.never_seen) == (("B", "z"), ("a.b",))


def test_a_mapped_member_is_seen_wherever_it_is() -> None:
    """Behind more members than are remembered, in lists, or within objects that are there."""
    map_ = compiled(
        {"id": "id", "x": "list[3]", "y": "within.there", "z": "within.never"},
        schema(id=TEXT, x=TEXT, y=TEXT, z=TEXT),
        JSON,
    )
    rows = RowMap(map_.document, "", URI)
    with patch.object(module, "SEEN_MAX", 3):
        rows.of_json(b'{"a":1,"b":1,"c":1,"d":1}\n{"id":1,"list":[0,0,0,1]}\n', 0, 0)
        rows.of_json(b'{"within":{"there":1,"never":null}}\n', 2, 0)
    assert rows.never_seen == ("within.never",)


def test_members_within_others_that_nothing_maps() -> None:
    map_ = compiled(
        {"id": "user.id", "x": "user.tags[0].code", "y": "all", "z": {"expression": "hash(own.a)"}},
        schema(id=TEXT, x=TEXT, y=a_map(TEXT), z=TEXT),
        JSON,
    )
    rows = RowMap(map_.document, "", URI)
    lines = [
        '{"user":{"id":1,"e.mail":2,"tags":[{"code":3,"more":4},{"code":5},{"code":6}]}}',
        '{"user":{"id":1,"tags":["odd"]},"all":{"k":"v"},"own":{"a":1,"b":2}}',
        '{"user":"odd"}',
    ]
    rows.of_json("\n".join(lines).encode(), 0, 0)
    wanted = ("user", r"user.e\.mail", "user.tags[0]", "user.tags[0].more", "user.tags[1]")
    assert rows.unmapped_columns == wanted


def test_names_of_members_that_are_made_of_values_do_not_fill_the_memory() -> None:
    map_ = compiled({"id": "id"}, schema(id=TEXT), JSON)
    rows = RowMap(map_.document, "", URI)
    for at in range(40):
        row = {"id": "a"} | {f"k{at}-{other}": 1 for other in range(500)}
        rows.of_json(json.dumps(row).encode(), 0, 0)
    assert 10_000 <= len(rows.unmapped_columns) <= 10_500


def test_the_same_file_gives_the_same_bytes_however_it_comes() -> None:
    map_ = compiled(CRM_MAP, CRM)
    wanted = rows_of_csv(map_, CRM_CSV.encode()).text
    reader, rows, text_ = CsvReader(CSV), RowMap(map_.document, "", URI), b""
    for start in range(0, len(CRM_CSV), 100):
        before = reader.rows
        block = reader.feed(CRM_CSV.encode()[start : start + 100])
        if reader.header and not start % 100 and not text_:
            rows.begin(reader.values(reader.header)[0])
        text_ += rows.of_csv(reader.values(block.text), before, 0).text if block.rows else b""
    assert text_ == wanted


@pytest.mark.parametrize(
    "name", ["a.b", 'q"uote', "new\nline", "a[0]", "\\", "{x}", "é", "x" * 900, "_id", "\u2028"]
)
def test_columns_may_have_any_name(name: str) -> None:
    map_ = compiled({"x": name}, schema(x=TEXT))
    header = '"' + name.replace('"', '""') + '",other\n'
    found = rows_of_csv(map_, header.encode() + b"1,2\n", CSV | {"escape": '"'})
    assert found.text == b'{"x":"1"}\n'


def test_ten_thousand_columns() -> None:
    names = [f"c{number}" for number in range(10_000)]
    map_ = compiled({"x": "c9999", "y": "c0"}, schema(x=TEXT, y=TEXT))
    content = ",".join(names) + "\n" + ",".join(["v"] * 10_000) + "\n"
    assert rows_of_csv(map_, content.encode()).text == b'{"x":"v","y":"v"}\n'


def test_keys_with_dots_are_escaped_in_paths_of_maps() -> None:
    map_ = compiled({r"m.a\.b": "a", r"m.c\[0\]": "b"}, schema(m=a_map(TEXT)))
    assert rows_of_csv(map_, b"a,b\n1,2\n").text == b'{"m":{"a.b":"1","c[0]":"2"}}\n'


def test_values_that_look_like_our_own_marks_stay_as_they_are() -> None:
    """The texts of rows are put together with a mark that no JSON has in it."""
    map_ = compiled(
        {"o.x": "x", "o.y": "y", "p.x": "y"},
        schema(o=an_object(x=TEXT, y=TEXT), p=an_object(x=TEXT)),
    )
    cell = '\x01"o":{}{\x01[\x01\x00,}'
    found = RowMap(map_.document, "", URI)
    found.begin(["x", "y"])
    line = found.of_csv([[cell, ""]], 0, 0).text
    assert json.loads(line) == {"o": {"x": cell}}


# ---- Any rows, any maps


KINDS = st.sampled_from(
    [
        TEXT,
        text(minLength=2, maxLength=4),
        text(enum=["a", "b"]),
        text(pattern="^a"),
        text(format="email"),
        text(format="ipv4"),
        INT,
        SHORT,
        number("number", minimum=-1, maximum=10),
        BOOLEAN,
        DATE,
        MOMENT,
        a_list(TEXT),
        a_list(INT),
    ]
)
CELLS = st.sampled_from(
    [
        *(
            "",
            " ",
            "a",
            "b",
            "abc",
            "1",
            "-1",
            "1.5",
            "1,5",
            "99999",
            "true",
            "N",
            "a@b",
            "10.0.0.1",
        ),
        "2026-01-02",
        "2026-01-02T03:04:05+01:00",
        "31.12.2026",
        "01.02.2026 10:11",
        "a;b;1",
        "é\x00",
    ]
) | st.text(max_size=5)


@st.composite
def members(draw: st.DrawFn, kind: Mapping[str, Any]) -> dict[str, Any]:
    """Any member of a map; compiling says which cannot be."""
    entry: dict[str, Any] = {"from": draw(st.sampled_from("abcd"))}
    if kind["type"] == "array":
        entry["split"] = ";"
    choices: dict[str, list[Any]] = {
        "as": ["string", "integer", "number", "boolean", "date", "date-time"],
        "format": ["dd.MM.yyyy", "dd.MM.yyyy HH:mm", "epoch-seconds"],
        "timezone": ["Europe/Paris"],
        "decimal": [","],
        "values": [{"a": "b", "1": 2}, {"a": None}],
        "default": ["a", 1, True, None],
        "trim": [True],
        "upper": [True],
        "required": [True],
    }
    for name, values in choices.items():
        if draw(st.sampled_from([False, False, False, False, True])):
            entry[name] = draw(st.sampled_from(values))
    return entry


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], list[list[str]]]:
    """A schema, a map for it, and rows of four columns."""
    kinds = draw(st.lists(KINDS, min_size=3, max_size=6))
    places = [f"f{n}" for n in range(len(kinds))]
    inner = dict(zip(places[1:], kinds[1:], strict=True))
    needed = draw(st.lists(st.sampled_from(places[1:]), max_size=2, unique=True))
    of = schema(
        *draw(st.sampled_from([(), ("f0",), ("o",)])), f0=kinds[0], o=an_object(*needed, **inner)
    )
    written = {"f0": draw(members(kinds[0]))}
    written |= {f"o.{name}": draw(members(kind)) for name, kind in inner.items()}
    rows = draw(st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=5))
    return of, written, rows


@given(tables())
def test_what_comes_out_is_of_the_schema_or_is_refused_by_name(
    table: tuple[dict[str, Any], dict[str, Any], list[list[str]]],
) -> None:
    """Never an exception, never a wrong type. The schema is closed, as AEP takes no unknown key."""
    of, written, rows = table
    found = compile_map(written, Schema(of), CSV)
    written = {
        path: entry
        for path, entry in written.items()
        if path not in {p.path for p in found.problems}
    }
    found = compile_map(written, Schema(of), CSV)
    if found.problems:
        return
    rows_map = RowMap(json.loads(found.text), "", URI)
    rows_map.begin(list("abcd"))
    result = rows_map.of_csv(rows, 0, 0)
    assert result.rows + len({row.row for row in result.broken}) == len(rows)
    validator = Draft7Validator(_closed(of), format_checker=FormatChecker())
    for line in result.text.decode().splitlines():
        validator.validate(json.loads(line))
    for row in result.broken:
        assert 1 <= row.row <= len(rows)
        assert row.rule


def _closed(of: Any) -> Any:
    if isinstance(of, dict):
        extra = {"additionalProperties": False} if "properties" in of else {}
        return {key: _closed(inner) for key, inner in of.items()} | extra
    return of


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abx"), inner),
    max_leaves=6,
)


@given(KINDS | st.just(an_object(a=INT, b=TEXT)), st.lists(JSON_VALUES, max_size=4), st.data())
def test_any_json_is_mapped_or_refused_by_name(
    kind: dict[str, Any], values: list[Any], data: st.DataObject
) -> None:
    entry = {**data.draw(members(kind)), "from": "a"}
    of = schema(x=kind, id=TEXT)
    found = compile_map({"x": entry, "id": "id"}, Schema(of), JSON)
    if found.problems:
        return
    content = "".join(json.dumps({"id": n, "a": value}) + "\n" for n, value in enumerate(values))
    result = RowMap(json.loads(found.text), "", URI).of_json(content.encode(), 0, 0)
    assert result.rows + len(result.broken) == len(values)
    validator = Draft7Validator(_closed(of), format_checker=FormatChecker())
    for line in result.text.decode().splitlines():
        validator.validate(json.loads(line))
