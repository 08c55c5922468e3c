"""Expressions are computed exactly, and are no way to take a worker's time or memory."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jmespath
import pytest
from aep_intake.content.expressions import Expression, InvalidExpression, NotComputed, exact
from aep_intake.content.typed import DECODER

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW = DECODER.decode(
    '{"a":"x","n":12.50,"list":[1,2.5],"in":{"a":"y"},"First Name":"Jo","e":"","big":1e99999}'
)
READABLE = {name: value for name, value in ROW.items() if name != "big"}
HASH = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # sha256sum of x


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", "x"),
        ('"First Name"', "Jo"),
        ("in.a", "y"),
        ("n", Decimal("12.50")),
        ("sum(list)", Decimal("3.5")),
        ("avg(list)", Decimal("1.75")),
        ("max(list)", Decimal("2.5")),
        ("sort(list)", [1, Decimal("2.5")]),
        ("sort_by(list, &@)", [1, Decimal("2.5")]),
        ("list[?@ > `1.2`]", [Decimal("2.5")]),
        ("n > `12`", True),
        ("type(n)", "number"),
        ("abs(n)", Decimal("12.50")),
        ("to_number('0.30000000000000000001')", Decimal("0.30000000000000000001")),
        ("to_number('x')", None),
        ("to_string(n)", "12.50"),
        ("`1.5`", Decimal("1.5")),
        # Ours; those with a name of Data Prep's do what it documents.
        ("coalesce(none, e, a)", "x"),
        ("coalesce(none)", None),
        ("concat(a, ' ', none, n)", "x 12.50"),
        ("lower('ÄB')", "äb"),
        ("upper(a)", "X"),
        ("trim(' x ')", "x"),
        ("trim(none)", None),
        ("split('a,b', ',')", ["a", "b"]),
        ("split(e, ',')", None),
        ("substr('pass & fail', `7`, `4`)", "fail"),
        ("substr(a, `5`, `5`)", None),
        ("date('2026-11-28')", "2026-11-28"),
        ("date('2026-11-28T10:00:00+01:00')", "2026-11-28T09:00:00Z"),
        ("date('28.11.2026', 'dd.MM.yyyy')", "2026-11-28"),
        ("date('28.11.2026 10:00', 'dd.MM.yyyy HH:mm', 'Europe/Paris')", "2026-11-28T09:00:00Z"),
        ("date(none)", None),
        ("hash(a)", HASH),
        ("hash(a, none)", None),
        ("hash(a, e)", None),
        ("hash('ab', 'c') == hash('a', 'bc')", False),
        ("uuid5('url', a)", "4cd605e7-afa2-5360-b5b9-c5e9fb5c76f4"),
        (
            "uuid5('6ba7b811-9dad-11d1-80b4-00c04fd430c8', a)",
            "4cd605e7-afa2-5360-b5b9-c5e9fb5c76f4",
        ),
        ("uuid5('url', none)", None),
        ("map(&upper(@), split('a b', ' '))", ["A", "B"]),
    ],
)
def test_what_expressions_give(text: str, wanted: Any) -> None:
    assert Expression(text).of(exact(READABLE)) == wanted


IMPOSSIBLE = ["date(a)", "lower(list)", "concat(in)", "to_string(list)", "split(a, e)"]
IMPOSSIBLE += ["uuid5('x', a)", "join(',', list)", "sum(a)", "date(a, 'YYYY')", "substr(a, a, a)"]


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_what_cannot_be_computed_says_nothing_of_the_row(text: str) -> None:
    with pytest.raises(NotComputed, match=r"^cannot be computed for it$"):
        Expression(text).of(exact(READABLE))


def test_numbers_that_none_can_hold() -> None:
    with pytest.raises(NotComputed, match="too large a number"):
        exact(ROW)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a b", "is not JMESPath: "),
        ("", "is not JMESPath: "),
        ("foo(a)", "has 'foo', which is not a function"),
        ("lower()", "gives lower 0 arguments"),
        ("hash()", "gives hash 0 arguments"),
        ("date(a, b, c, d)", "gives date 4 arguments"),
        ("date(a, b)", "must have argument 2 of date in quotes"),
        ("date(a, 'yyyy-MM-dd', b)", "must have argument 3 of date in quotes"),
        ("join(a, split(b, ','))", "must have argument 1 of join in quotes"),
        (f"join('{'-' * 61}', list)", "must have argument 1 of join in quotes, of 60 characters"),
        ("`1e999`", "is nested too deeply, or has too large a number"),
        ("a" * 1001, "has more than 1,000 characters"),
        ("[" * 400 + "a" + "]" * 400, "nested"),
        ("!" * 40 + "a", "is nested more than 30 deep"),
        ("|".join(["[@, @]"] * 20), "can make more than 64 copies of a row"),
        ("|".join(["concat(@, @)"] * 20), "can make more than 64 copies of a row"),
        ("[*].".join(["[@, @]"] * 9), "can make more than 64 copies of a row"),
        ("|".join(["map(&[@, @], @)"] * 9), "can make more than 64 copies of a row"),
        ("{a: [@,@,@,@,@,@,@,@,@]} | [a, a, a, a, a, a, a, a]", "can make more than 64 copies"),
    ],
)
def test_expressions_that_are_too_much(text: str, why: str) -> None:
    with pytest.raises(InvalidExpression, match=why):
        Expression(text)


def test_the_names_that_an_expression_reads() -> None:
    assert Expression('concat(a, "First Name", in.b, list[?c > `1`].d)').names == (
        *("a", "First Name", "in", "b", "list", "d", "c"),
    )


def test_others_who_use_jmespath_get_what_they_would() -> None:
    """It keeps what it has parsed, and boto3 uses it, too."""
    Expression("list[?@ > `1.5`]")
    numbers: Mapping[str, Any] = {"list": [1.0, 2.0]}
    assert jmespath.search("list[?@ > `1.5`]", numbers) == [2.0]
    assert isinstance(jmespath.search("`1.5`", {}), float)
