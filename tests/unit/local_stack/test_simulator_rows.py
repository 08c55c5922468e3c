"""What is found in a file's bytes, however they are cut up on their way."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.simulator import rows
from local.simulator.rows import Findings, check_for

LINES, ARRAY = {"format": "json"}, {"format": "json", "isMultiLineJson": True}
PARQUET = b"PAR1 and some columns PAR1"


def found(input_format: dict[str, Any] | None, body: bytes, step: int = 10**9) -> Findings:
    check = check_for(input_format)
    for start in range(0, len(body), step):
        check.feed(body[start : start + step])
    return check.done()


@pytest.mark.parametrize(
    ("body", "good", "bad"),
    [
        (b"", 0, 0),
        (b"\n \r\n\n", 0, 0),
        (b'{"a":1}', 1, 0),
        (b'{"a":1}\r\n{"b":[{}]}\n\n{}\n', 3, 0),
        ('{"é":"☃"}\n'.encode(), 1, 0),
        (b'{"a":1}\n{"a":\n1}\n', 1, 2),
        (b'[{"a":1},{"a":2}]', 0, 1),  # it was not said to be an array
        (b'1\nnull\n"x"\n', 0, 3),
        (b'{"a":"\xff"}\n{"a":1}', 1, 1),
        (b"{missingQuotes: 'v1'}\n", 0, 1),
        (b'{"a":' + b"[" * 100_000 + b"\n{}", 1, 1),
        (PARQUET, 0, 1),
    ],
)
def test_json_lines(body: bytes, good: int, bad: int) -> None:
    findings = found(LINES, body)
    assert (findings.rows, findings.bad) == (good + bad, bad)
    assert len(findings.corrupt) == bad


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"[]", 0),
        (b' [ {"a":1}\n,\n{"a"\n:2} ] \n', 2),
        (b'{"a":\n[1]}', 1),
        ('[{"é":"☃"}]'.encode(), 1),
        (b"", None),
        (b"[", None),
        (b'[{"a":1}', None),
        (b'[{"a":1},', None),
        (b'[{"a":1},]', None),
        (b'[{"a":1} {"a":2}]', None),
        (b"[1]", None),
        (b'[{"a":1}] x', None),
        (b'{"a":1}\n{"a":2}\n', None),  # it was said to be an array
        (b'[{"a":"\xff"}]', None),
        (b'[{"a":' + b"[" * 100_000, None),
        (PARQUET, None),
    ],
)
def test_multi_line_json_is_one_corrupt_row_where_it_breaks(body: bytes, count: int | None) -> None:
    findings = found(ARRAY, body)
    if count is None:
        assert (findings.rows, findings.bad, len(findings.corrupt)) == (1, 1, 1)
    else:
        assert findings == Findings(count)


@pytest.mark.parametrize(
    ("options", "body", "expected"),
    [
        ({}, b"a,b\n1,2\n3,4", Findings(2)),
        ({}, b"a,b\r\n1,2\r\n\r\n", Findings(1)),
        ({}, b'a,b\n"x\ny ""z"" \n",2\n3,4\n', Findings(2)),
        ({}, b"a,b\n", Findings(0)),
        ({}, b"\n1,2\n", Findings(1, empty_header=True)),
        ({}, b"a,b\n1,2,3,no row validation\n", Findings(1)),
        ({}, b"a,b\r1,2\r3,4\r", Findings(2)),
        ({}, b'a,b\n6" pipe,1\n7" pipe,2\n', Findings(2)),  # opens nothing inside a value
        ({}, b'a,b\n"x \\" y",2\n3,4\n', Findings(2)),
        ({}, b'a;b\n"1;2\n', Findings(1)),
        ({"delimiter": ";"}, b'a;b\n1;"2\n2"\n3;"4"\n', Findings(2)),
        ({"delimiter": ";"}, b'a;b\n1,"2\n3;4\n', Findings(2)),
        ({"header": False}, b"1,2\n3,4\n", Findings(2)),
        ({"header": "false", "quote": "'"}, b"'1\n1',2\n3,\"\n", Findings(2)),
    ],
)
def test_csv(options: dict[str, Any], body: bytes, expected: Findings) -> None:
    assert found({"format": "csv", **options}, body) == expected


@pytest.mark.parametrize(
    ("body", "whole"),
    [(PARQUET, True), (b"PAR1", False), (PARQUET[:-1], False), (b"X" + PARQUET, False)],
)
def test_parquet_is_known_by_both_ends(body: bytes, whole: bool) -> None:
    unreadable = Findings(bad=1, unreadable=True)
    assert found({"format": "parquet"}, body) == (Findings() if whole else unreadable)


def test_of_other_formats_nothing_is_known() -> None:
    assert found({"format": "avro"}, b"Obj") == found(None, b"{") == Findings()


@given(
    st.lists(
        st.one_of(
            st.dictionaries(st.text(max_size=4), st.text(max_size=9), max_size=3),
            st.just("no row"),
        ),
        max_size=9,
    ),
    st.integers(1, 40),
)
def test_it_does_not_matter_how_a_file_is_cut_up(values: list[Any], step: int) -> None:
    lines = "\n".join(json.dumps(value, ensure_ascii=False) for value in values).encode()
    array = json.dumps(values, indent=1, ensure_ascii=False).encode()
    for kind, body in (
        (LINES, lines),
        (ARRAY, array),
        (ARRAY, lines),
        ({"format": "csv"}, lines),
        ({"format": "parquet"}, b"PAR1" + lines + b"PAR1"),
    ):
        assert found(kind, body, step) == found(kind, body)
    bad = values.count("no row")
    assert found(LINES, lines).bad == bad
    assert found(ARRAY, array) == Findings(len(values)) or bad


def test_rows_too_long_to_hold_are_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST_ROW", 1_000)
    long = b'{"a":"' + b"x" * 1_000 + b'"}'
    assert found(LINES, b'{"a":1}\n' + long + b'\n{"a":2}', 64) == Findings(
        3, 1, (long[: rows.MOST_SHOWN].decode(),)
    )
    assert found(ARRAY, b"[" + long + b"]", 64).bad == 1


def test_only_the_first_corrupt_rows_are_kept() -> None:
    findings = found(LINES, b"x\n" * 500)
    assert (findings.bad, len(findings.corrupt)) == (500, rows.MOST_KEPT)


@pytest.mark.parametrize("step", [7, 10**9])
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda body: body, Findings(1_000)),
        (lambda body: body + gzip.compress(b"{}\n"), Findings(1_001)),
        (lambda body: body[:-1], Findings(bad=1, unreadable=True)),
        (lambda body: b"x" + body, Findings(bad=1, unreadable=True)),
    ],
)
def test_gzipped(step: int, spoil: Callable[[bytes], bytes], expected: Findings) -> None:
    body = spoil(gzip.compress(b'{"a":1}\n' * 1_000))
    check = rows.Gunzipped(check_for(LINES))
    for start in range(0, len(body), step):
        check.feed(body[start : start + step])
    assert check.done() == expected
