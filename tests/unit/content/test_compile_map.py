"""What a map cannot be is said when it is compiled, with the nearest path that exists."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from aep_intake.content.compile_map import CompiledMap, compile_map
from aep_intake.content.xdm import NoPath, Schema, dotted, parse
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.content.xdm_samples import (
    BOOLEAN,
    CRM,
    CRM_MAP,
    DATE,
    EVENTS,
    IDENTITIES,
    MOMENT,
    TEXT,
    a_list,
    an_object,
    number,
    schema,
    text,
)

CSV: dict[str, Any] = {"format": "csv"}
JSON: dict[str, Any] = {"format": "json"}
OF = schema(
    s=TEXT,
    n=number("number"),
    i=number("int"),
    b=BOOLEAN,
    d=DATE,
    t=MOMENT,
    e=text(enum=["gold", "silver"]),
    l=a_list(TEXT),
    o=an_object(x=TEXT, y=TEXT),
    ls=a_list(an_object(x=TEXT)),
)


def problems(
    written: Mapping[str, Any],
    of: Mapping[str, Any] = OF,
    source: Mapping[str, Any] = CSV,
    **more: Any,
) -> list[tuple[str, str]]:
    found = compile_map(written, Schema(of), source, **more)
    return [(each.path, each.problem) for each in found.problems]


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ("identityMap.ECID[0].id", ("identityMap", "ECID", 0, "id")),
        (r"a\.b.c\[0\].\\", ("a.b", "c[0]", "\\")),
        ("a[1][2]", ("a", 1, 2)),
    ],
)
def test_paths(path: str, steps: tuple[str | int, ...]) -> None:
    assert parse(path) == steps
    assert dotted(steps) == path


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "[0]", "a.[0]", "a[x]", "a[0]b", "a[0", "a]", "a\\"]
)
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(NoPath, match="is not a path: such as person"):
        parse(path)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_any_names_make_a_path(names: list[str]) -> None:
    assert parse(dotted(tuple(names))) == tuple(names)


@pytest.mark.parametrize(
    ("written", "of", "wanted"),
    [
        (
            {"person.name.firstname": "a"},
            *(CRM, "`person.name` has no member 'firstname': did you mean `person.name.firstName`"),
        ),
        (
            {"firstName": "a"},
            CRM,
            "the schema has no member 'firstName': did you mean `person.name.firstName`",
        ),
        ({"homeAddress.latitude": "a"}, CRM, "did you mean `homeAddress._schema.latitude`"),
        ({"o": "a"}, OF, "is an object, and a column is one value: map its members"),
        ({"s.x": "a"}, OF, "`s` has no members, as it is of the type string"),
        ({"s[0]": "a"}, OF, "`s` is not a list, but of the type string"),
        ({"ls.x": "a"}, OF, "`ls` is a list: say which item, such as `ls[0]`"),
        ({"ls[*].x": "a"}, OF, "name each item by its number, or copy the whole list"),
        ({"l": "a"}, OF, "is a list: say where to `split` the column, or map its first item, [0]"),
        (
            {"s": {"from": "a", "split": ","}},
            OF,
            "`split` makes a list, and the field is of the type string",
        ),
        (
            {"s": {"from": ["a", "b"]}},
            OF,
            "several columns need a `join`, or a field that is a list",
        ),
        (
            {"s": {"from": "a", "join": ","}},
            OF,
            "`join` joins several columns: list them in `from`",
        ),
        ({"l": {"from": ["a", "b"], "join": ","}}, OF, "is a list: `join` makes one text"),
        (
            {"b": {"from": "a", "as": "integer"}},
            OF,
            "is of the type boolean, which cannot be made of `as` integer",
        ),
        (
            {"i": {"from": "a", "as": "string"}},
            OF,
            "is of the type integer, which cannot be made of `as` string",
        ),
        ({"t": {"from": "a", "as": "number"}}, OF, "cannot be made of `as` number"),
        ({"d": {"from": "a", "format": "DD.MM.YYYY"}}, OF, "has 'DD', which is not known here"),
        ({"d": {"from": "a", "timezone": "Paris"}}, OF, "no time zone is called 'Paris'"),
        ({"s": {"from": "a", "format": "yyyy-MM-dd"}}, OF, "`format` has no meaning for string"),
        ({"d": {"from": "a", "decimal": ","}}, OF, "`decimal` has no meaning for date"),
        (
            {"n": {"from": "a", "thousands": "."}},
            OF,
            "`thousands` and `decimal` are the same: say both",
        ),
        (
            {"e": {"from": "a", "values": {"G": "golden"}}},
            *(
                OF,
                "`values.G` is none of the values that the schema allows: "
                "it must be one of gold, silver",
            ),
        ),
        ({"e": {"from": "a", "default": "none"}}, OF, "`default` is none of the values"),
        ({"e": {"value": "none"}}, OF, "`value` is none of the values"),
        ({"i": {"value": 2**40}}, OF, "`value` is more than 2147483647"),
        ({"o": {"value": {"z": 1}}}, OF, "`value` has a member that the schema does not have"),
        ({"s": {"value": "\ud800"}}, OF, "`value` is nothing that can be written as JSON"),
        ({"s": {"value": "{day}"}}, OF, "`match` has no placeholder {day}"),
        ({"s": {"value": "{country} {"}}, OF, "has a brace that is not a placeholder's"),
        ({"l": {"value": "{country}"}}, OF, "is of the type array, and a placeholder is a text"),
        ({"s": {"value": "x", "trim": True}}, OF, "`trim` has no meaning for a `value`"),
        (
            {"d": {"value": "2026-01-01", "format": "yyyy"}},
            OF,
            "`format` has no meaning for a `value` without",
        ),
        ({"s": {"expression": "foo(a)"}}, OF, "its expression has 'foo', which is not a function"),
        (
            {"s": {"from": "a", "value": 1}},
            OF,
            "needs exactly one of `from`, `value`, `expression`",
        ),
        ({"s": {}}, OF, "needs exactly one of"),
        ({"s": {"from": "a", "form": "x"}}, OF, "`form` is not known here"),
        ({"s": 5}, OF, "must be object"),
        ({"s": {"from": "a", "as": "text"}}, OF, "`as` must be one of"),
        (
            {"s": {"from": "a", "required": True, "optional": True}},
            OF,
            "cannot be `required` and `optional`",
        ),
        ({"s": {"from": "a", "lower": True, "upper": True}}, OF, "cannot be `lower` and `upper`"),
        (
            {"o.x": "a", "o": {"value": {"x": "1"}}},
            OF,
            "is mapped as a whole, and its members also",
        ),
        ({"o": {"value": {"x": "1"}}, "o.x": "a"}, OF, "`o` is mapped as a whole, too"),
        ({"s": {"value": "x"}}, OF, "maps no column: all rows would be the same"),
        (
            {"_id": {"value": "x"}, "timestamp": "t"},
            EVENTS,
            "is the same in all rows, and events with one `_id`",
        ),
    ],
)
def test_what_cannot_be(written: dict[str, Any], of: dict[str, Any], wanted: str) -> None:
    found = problems(written, of, key=re.compile("(?P<country>.*)"))
    assert len(found) == 1
    assert wanted in found[0][1]


@pytest.mark.parametrize(
    ("source", "written", "wanted"),
    [
        (CSV | {"header": False}, {"s": "name"}, "files without a header have columns 1, 2, 3"),
        (CSV | {"header": False}, {"s": "0"}, "files without a header have columns 1, 2, 3"),
        (JSON, {"s": "a..b"}, "`from`: 'a..b' is not a path"),
    ],
)
def test_columns_that_cannot_be(
    source: dict[str, Any], written: dict[str, Any], wanted: str
) -> None:
    [(path, problem)] = problems(written, OF, source)
    assert (path, wanted in problem) == ("s", True)


def test_what_the_schema_requires_and_nothing_fills() -> None:
    of = schema(
        "name",
        name=an_object("first", first=TEXT, last=TEXT),
        mail=an_object("address", address=TEXT, label=TEXT),
        other=an_object("x", x=TEXT),
        _acme=an_object("id", id=TEXT),
    )
    needs_address = "the schema requires it where there is `mail`, which is mapped"
    fills = "the schema requires it, and nothing fills it"
    assert problems({"mail.label": "a"}, of) == [
        ("name", f"{fills}: map `name.first`"),
        ("mail.address", needs_address),
        ("_acme.id", fills),
    ]
    assert problems({"name.last": "a", "_acme.id": "b"}, of) == [
        ("name.first", "the schema requires it where there is `name`, which is mapped")
    ]
    assert problems({"name.first": "a", "_acme.id": "b"}, of) == []


def test_events_need_an_id_and_a_timestamp_whatever_their_schema_says() -> None:
    of = {**EVENTS, "required": []}
    fills = "the schema requires it, and nothing fills it"
    assert problems({"eventType": "a"}, of) == [("_id", fills), ("timestamp", fills)]


def test_rows_for_profile_need_a_primary_identity() -> None:
    of = schema(mail=an_object(address=TEXT), id=TEXT, identityMap=IDENTITIES)
    of["meta:immutableTags"] = ["union"]
    primary = ["/mail/address"]
    told = problems({"id": "a"}, of, primary=primary)
    assert [path for path, _ in told] == ["mail.address"]
    assert "Profile needs a primary identity, and nothing fills `mail.address`" in told[0][1]
    assert [path for path, _ in problems({"id": "a"}, of, primary=[])] == ["identityMap"]
    assert problems({"mail.address": "a"}, of, primary=primary) == []
    item = {"identityMap.CRM[0].id": "a", "identityMap.CRM[0].primary": {"value": True}}
    assert problems(item, of, primary=primary) == []
    item["identityMap.CRM[0].primary"] = {"value": False}
    assert [path for path, _ in problems(item, of, primary=primary)] == ["mail.address"]
    assert problems({"id": "a"}, of, primary=None) == []  # nobody asked
    assert problems({"id": "a"}, {**of, "meta:immutableTags": []}, primary=primary) == []


def test_a_map_is_named_by_what_it_does() -> None:
    """The same for the same; another one where the map or the schema changes what is done."""

    def named(written: Mapping[str, Any], of: Mapping[str, Any] = OF) -> CompiledMap:
        return compile_map(written, Schema(of), CSV)

    assert named(CRM_MAP, CRM).name == named(dict(CRM_MAP), CRM).name
    assert len(named(CRM_MAP, CRM).name) == 64
    names = {
        named({"s": "a"}).name,
        named({"s": "b"}).name,
        named({"s": {"from": "a", "trim": True}}).name,
        named({"s": "a"}, schema(s=text(maxLength=5))).name,
    }
    assert len(names) == 4


def test_a_schema_that_is_not_in_its_full_form() -> None:
    with pytest.raises(ValueError, match=r"application/vnd\.adobe\.xed-full"):
        Schema({"allOf": [{"$ref": "https://ns.adobe.com/xdm/context/profile"}]})


def test_what_is_not_resolved_is_free() -> None:
    """An object without members takes whatever is mapped into it."""
    of = schema(o={"type": "object"})
    assert problems({"o.x.y": "a"}, of) == []


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["from", "as", "value", "expression", "split", "values", "x"]),
                    inner,
                )
            ),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_no_map_is_too_strange(written: dict[str, Any]) -> None:
    """It has problems, or none; never an exception."""
    assert problems(written)
