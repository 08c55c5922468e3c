"""Files in any layout, charset and packing go up as the rows that other readers find in them."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from itertools import combinations_with_replacement, pairwise
from typing import Any
from unittest.mock import patch

import pytest
from aep_intake.content import json_rows
from aep_intake.content import parts as module
from aep_intake.content.parts import Part, Parts, Shape, Source
from aep_intake.content.recognize import recognize
from aep_intake.content.rows import Place
from aep_intake.model.errors import EmptyObject, FormatMismatch, TooLarge
from hypothesis import given
from hypothesis import strategies as st

URI = "s3://landing/in/a"
JSON = {"format": "json"}
CSV = {"format": "csv"}
CHUNKS = st.sampled_from([1, 2, 3, 7, 64, 2**20])
LIMITS = st.integers(200, 600)


def in_parts(
    content: bytes, shape: Shape, limit: int, chunk: int = 2**20
) -> list[tuple[bytes, int, int]]:
    """The content, rows and broken rows of each part; the same wherever a worker broke off."""
    with patch.object(module, "CHUNK", chunk):
        places: list[Place | None] = [None]
        found = []
        for part in parts(content, shape, limit):
            found.append((part.body.read(), part.count.rows, part.count.broken))
            assert part.size == len(found[-1][0]) <= limit
            places.append(part.next)
        assert places.pop() is None
        for number, place in enumerate(places):
            again = parts(content, shape, limit, place)
            part = next(again)
            assert (part.body.read(), part.count.rows, part.count.broken) == found[number]
    return found


def parts(content: bytes, shape: Shape, limit: int, place: Place | None = None) -> Iterator[Part]:
    text = Source(io.BytesIO(content), URI, gzipped=shape.gzipped)
    return Parts(text, shape, limit, URI).since(place)


# ---- JSON in any layout

TEXT = st.text(st.sampled_from('ab"\\{}[],:\n\r\t é€😀'), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, min_size=1, max_size=3)
LAYOUTS = st.sampled_from(
    ["lines", "list", "pretty list", "pretty", "nothing", "lists", "list and objects"]
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[Any], str]:
    rows = draw(st.lists(OBJECTS, min_size=1, max_size=8))
    ascii_only, indent = draw(st.booleans()), draw(st.sampled_from([1, 4]))

    def dumped(value: Any, indent: int | None = None) -> str:
        text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
        return text.replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r"]))) if indent else text

    match draw(LAYOUTS):
        case "lines":
            ends = ["\n", "\r\n", "\n\n", "\r", ",\n", "\n\x1e", "\n\ufeff"]
            text = draw(st.sampled_from(ends)).join(map(dumped, rows))
        case "list":
            text = dumped(rows)
        case "pretty list":
            text = dumped(rows, indent)
        case "pretty":
            text = "\n".join(dumped(row, indent) for row in rows)
        case "nothing":
            text = draw(st.sampled_from(["", " ", ","])).join(map(dumped, rows))
        case "lists":
            text = dumped(rows[:1]) + "\n" + dumped(rows[1:], indent)
        case _:
            text = dumped(rows, 1)[:-1] + "]" + "".join(map(dumped, rows))
            rows = rows * 2
    return rows, text + draw(st.sampled_from(["", "\n", " \r\n"]))


@given(documents(), st.sampled_from(["utf-8", "utf-16-le"]), st.booleans(), LIMITS, CHUNKS)
def test_json_of_any_layout_goes_up_as_lines(
    made: tuple[list[Any], str], charset: str, packed: bool, limit: int, chunk: int
) -> None:
    rows, text = made
    content = text.encode(charset)
    found_to_be = recognize(content, True, JSON | {"charset": charset}, URI)
    shape = Shape(JSON, packed, charset, lines=found_to_be.layout in ("lines", ""))
    try:
        found = in_parts(gzip.compress(content) if packed else content, shape, limit, chunk)
    except TooLarge:
        assert max(len(row) for row in map(str, rows)) * 6 > limit // 4
        return
    lines = [line for part, _, _ in found for line in part.split(b"\n") if line.strip()]
    assert [json.loads(line) for line in lines] == rows
    assert sum(count for _, count, _ in found) == len(rows)
    assert not any(broken for _, _, broken in found)


MARKS = ['"', "{", "}", "[", "]", ",", ":", " ", "1", "x", "\\", "\t", "é", "\x00", "\n", "", "01"]
MARKS += ["-", "1.", "NaN", "tru", "nulll", '""', '"\\x"', '"\\u12"', '"a" "b"', "null", '"\\n"']


@pytest.mark.parametrize("row", ['{"a" : 1, "b\\"":["x",{"c.d":-1.5e3,"1":""}],"e": null }', "{}"])
def test_of_rows_that_are_written_alike_none_is_taken_that_is_no_object(row: str) -> None:
    """Whatever stands in place of whatever."""
    alike = json_rows._written_like(row.encode() + b"\n")
    taken = 0
    for start, end in combinations_with_replacement(range(len(row) + 1), 2):
        for mark in MARKS if end - start < 8 else ():
            other = f"{row[:start]}{mark}{row[end:]}\n".encode()
            if alike.fullmatch(other):
                taken += 1
                assert [json_rows.fault_of(line) for line in other.splitlines()] == [""]
    assert taken > len(row)


@given(
    st.lists(st.tuples(st.sampled_from(range(3)), VALUES, VALUES), max_size=12),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(MARKS)), max_size=3),
    st.sampled_from(["\n", "\r\n", " \n"]),
    CHUNKS,
)
def test_large_files_of_lines_are_objects_or_broken_as_python_says(
    rows: list[tuple[int, Any, Any]], spoiled: list[tuple[int, str]], end: str, chunk: int
) -> None:
    """Most rows of a file have the members of its first one, with other values."""
    layouts: list[dict[str, Any]] = [
        {"a": 1, 'b"c': None},
        {"a": None, "d": {"e": None, "f": [None, {}]}},
        {},
    ]

    def filled(layout: dict[str, Any], one: Any, other: Any) -> str:
        text = json.dumps({**layout, "a": one})
        return text.replace("null", json.dumps(other), 1)

    text = "".join(filled(layouts[n], one, other) + end for n, one, other in rows)
    for at, mark in spoiled:
        text = text[:at] + mark + text[at + 1 :]
    content = text.encode()
    with patch.object(json_rows, "_LARGE", 0):
        reader = json_rows.JsonLines()
        blocks = [reader.feed(content[at : at + chunk]) for at in range(0, len(content), chunk)]
        blocks.append(reader.end())
    lines = [line for line in content.split(b"\n") if line.strip(b" \t\r")]
    wanted = [number for number, line in enumerate(lines, 1) if json_rows.fault_of(line)]
    assert [row.row for block in blocks for row in block.broken] == wanted
    assert reader.rows == len(lines)


def test_what_is_written_stays() -> None:
    """Numbers that no float holds, members that come twice, and escapes."""
    written = b'{"a": 1.10, "a": 12345678901234567890123, "b": "\\u00e9\\/", "c": 1e5}'
    [(text, rows, broken)] = in_parts(b"[" + written.replace(b", ", b",\n\t") + b"\n]", docs(), 999)
    assert text == written.replace(b", ", b", \t") + b"\n"
    assert (rows, broken) == (1, 0)


def docs() -> Shape:
    return Shape(JSON, lines=False)


@pytest.mark.parametrize(
    ("content", "rows", "numbers"),
    [
        (b'[{"a":1},2,{"b":3}]', 3, [2]),
        (b'[{"a":1},{"b":x},"{",null]', 4, [2, 3, 4]),
        (b'{"a":1}{"a":NaN}{"a":"x\ty"}{"a":01}', 4, [2, 3, 4]),
        (b'{"a":1}}{"b":2}', 3, [2]),
        (b'{"a":1}]', 2, [2]),
        (b'{"a": {"b": {"c": {"d": {"e": {"f": [{}]}}}}}}{"b":}', 2, [2]),
        (b"[]", 0, []),
    ],
)
def test_values_that_are_no_objects_are_broken_rows(
    content: bytes, rows: int, numbers: list[int]
) -> None:
    [part] = parts(content, docs(), 999)
    assert part.count.rows == rows
    assert [row.row for row in part.count.examples] == numbers


@pytest.mark.parametrize("content", [b'[{"a":1}', b'{"a":1}{"b"', b'[{"a":1},{"b":"}]', b"["])
def test_json_that_breaks_off_is_told(content: bytes) -> None:
    with pytest.raises(FormatMismatch, match="s3://landing/in/a breaks off"):
        in_parts(content, docs(), 999)


def test_a_row_of_json_that_is_larger_than_an_upload_is_told_by_its_place() -> None:
    text = b'[{"a": 1},\n{"b": "%b"}]' % (b"x" * 900)
    with pytest.raises(TooLarge, match=r"a row of nearly 300 bytes.* row 2, .* at byte 11, has no"):
        in_parts(text, docs(), 300)


def test_each_byte_of_a_large_object_is_looked_at_a_few_times() -> None:
    """However many chunks it comes in: 64 times as often would be by the square."""
    content = b'{"a": ["%b", %b2]}' % (rb"\"\\" * 4000, b"1, " * 4000)
    looked: list[int] = []
    is_utf_8 = json_rows._is_utf_8

    def looking(text: bytes) -> bool:
        looked.append(len(text))
        return is_utf_8(text)

    with patch.object(json_rows, "_is_utf_8", looking):
        [(text, rows, broken)] = in_parts(content, docs(), 2**20, len(content) // 64)
    assert (text, rows, broken) == (content + b"\n", 1, 0)
    assert sum(looked) <= 6 * len(content)  # of two readings


def test_what_is_too_large_to_be_decoded_is_checked_by_the_expressions_alone() -> None:
    shallow, deep = b'{"a": {"b": [1]}}', b'{"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}'
    with patch.object(json_rows, "_DECODED_MAX", 10):
        [part] = parts(shallow + deep, docs(), 999)
        [lines] = parts(shallow + b"\n" + deep + b"\n", Shape(JSON), 999)
    for count in (part.count, lines.count):
        [broken] = count.examples
        assert (broken.row, count.rows) == (2, 2)
        assert "nested deeper than the 5 levels" in broken.rule


@given(
    st.lists(
        st.sampled_from(
            [
                b'{"a": 1}',
                b'"',
                b"x" * 9,
                b"\\",
                b'"s\\""',
                b"{",
                b"}",
                b"[",
                b"]",
                b",",
                b" ",
                b"\xff",
            ]
        ),
        max_size=12,
    ).map(b"".join),
    st.lists(st.integers(0, 60), max_size=5).map(sorted),
)
def test_rows_are_the_same_wherever_chunks_end(content: bytes, ends: list[int]) -> None:
    def read(ends: list[int]) -> tuple[object, ...]:
        reader = json_rows.JsonObjects(URI)
        blocks = [reader.feed(content[a:b]) for a, b in pairwise([0, *ends, len(content)])]
        try:
            blocks.append(reader.end())
        except FormatMismatch as fault:
            return (fault.detail, reader.at, reader.rows)
        text, broken = b"".join(b.text for b in blocks), [row for b in blocks for row in b.broken]
        return (text, broken, reader.at, reader.rows)

    assert read([end for end in ends if end <= len(content)]) == read([])


@given(
    st.lists(
        st.sampled_from(
            ['{"a":1}', '{"a":[{}]}', '{"b"', *"{}[],\n\r \x1e\ufeffé", "\r\n", "1", '"x"']
        ),
        max_size=12,
    ).map("".join)
)
def test_the_look_finds_the_rows_that_go_up(text: str) -> None:
    """So no batch is spent for a file that its upload refuses, and none refused that it takes."""
    content = text.encode()
    try:
        found = recognize(content, True, JSON, URI)
    except EmptyObject:
        return
    except FormatMismatch as refused:
        if "breaks off" in refused.detail:
            with pytest.raises(FormatMismatch, match="breaks off"):
                list(parts(content, Shape(JSON, bom=0, lines=False), 999))
        return
    shape = Shape(JSON, bom=found.bom, lines=found.layout in ("lines", ""))
    [part] = parts(content, shape, 999)
    assert (found.rows, found.broken) == (part.count.rows, part.count.broken)
    if found.broken:
        first = part.count.examples[0]
        assert found.fault == f"row {first.row}: {first.rule}"


def test_lines_that_are_no_objects_are_broken_rows() -> None:
    lines = [b'{"a":1}', b"[1]", b'{"a":1}{"b":2}', b"", b'{"a":', b'{"a":1} ', b"null", b"\xff"]
    [part] = parts(b"\n".join(lines), Shape(JSON), 999)
    assert (part.count.rows, part.count.broken) == (7, 5)
    assert [row.row for row in part.count.examples] == [2, 3, 4, 6, 7]


@given(OBJECTS, st.binary(max_size=3), st.integers(0, 60))
def test_a_line_is_a_row_if_python_reads_an_object(row: Any, noise: bytes, at: int) -> None:
    text = json.dumps(row).encode()
    line = text[:at] + noise.replace(b"\n", b"") + text[at:]
    [part] = parts(line + b"\n{}\n", Shape(JSON), 999)
    try:
        read = json.loads(line, parse_constant=int)
    except ValueError:
        read = None
    assert part.count.broken == (not isinstance(read, dict) and bool(line.strip()))


# ---- CSV, in its charset

CELLS = st.text(st.sampled_from('ab",;\n\r é'), max_size=6)
TABLES = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8)


@given(
    TABLES,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "iso8859-1", "cp1252"]),
    st.booleans(),
    LIMITS,
    CHUNKS,
)
def test_a_csv_goes_up_in_utf_8(
    table: list[tuple[str, ...]], charset: str, packed: bool, limit: int, chunk: int
) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("x", "y", "z"), *table])
    content = out.getvalue().encode(charset)
    bom = {"utf-8-sig": 3, "utf-16": 2}.get(charset, 0)
    name = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(charset, charset)
    shape = Shape(CSV, packed, name, bom)
    found = in_parts(gzip.compress(content) if packed else content, shape, limit, chunk)
    read: list[Any] = []
    for number, (part, count, broken) in enumerate(found):
        header, *rows = csv.reader(io.StringIO(part.decode(), newline=""))
        assert header == ["x", "y", "z"]
        assert (count, broken) == (len(rows), 0), number
        read += rows
    assert read == [list(row) for row in table]


@pytest.mark.parametrize(
    ("charset", "byte"), [("utf-8", b"\xe9"), ("cp1252", b"\x81"), ("utf-16-le", b"\x00\xd8")]
)
@pytest.mark.parametrize("chunk", [1, 5, 2**20])
def test_a_byte_that_is_not_of_the_charset_breaks_its_row(
    charset: str, byte: bytes, chunk: int
) -> None:
    rows = ["x,y\n", *(f"{n},a\n" for n in range(20))]
    content = [row.encode(charset) for row in rows]
    content[3] = (
        content[3][:-2] + byte * 3 + content[3][-2:]
        if charset != "utf-16-le"
        else (content[3][:-2] + byte + content[3][-2:])
    )
    content[20] = byte + content[20]
    found = in_parts(b"".join(content), Shape(CSV, charset=charset), 200, chunk)
    assert sum(broken for _, _, broken in found) == 2
    shape = Shape(CSV, charset=charset)
    with patch.object(module, "CHUNK", chunk):
        told = [
            row.row for part in parts(b"".join(content), shape, 200) for row in part.count.examples
        ]
    assert told == [3, 20]


@pytest.mark.parametrize("chunk", [1, 5, 2**20])
def test_a_header_that_is_broken_counts_wherever_chunks_end(chunk: int) -> None:
    [(_, rows, broken)] = in_parts(b"x,\0y\n1,a\n", Shape(CSV), 200, chunk)
    assert (rows, broken) == (1, 1)
