"""CSV is read as readers read it that nobody here wrote, however its bytes come."""

import csv
import io
import re
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from aep_intake.content import csv_scanner
from aep_intake.content.csv import CsvReader
from aep_intake.content.csv_dialect import PROLOGUE_BYTES, prologue, readable
from aep_intake.content.rows import Block, BrokenRow
from aep_intake.model.errors import FormatMismatch
from hypothesis import example, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

CSV: dict[str, Any] = {"format": "csv"}
NOTHING = CSV | {"delimiter": ",", "quote": '"', "escape": '"', "header": True}
type Rows = list[list[str | None]]


def chunks(content: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """The content in chunks of these sizes, and the rest."""
    start = 0
    for size in sizes:
        yield content[start : start + size]
        start += size
    yield content[start:]


def read(content: bytes, shape: dict[str, Any], sizes: Iterable[int] = ()) -> tuple[bytes, Block]:
    """The header of a file, and all of its rows. Raises FormatMismatch."""
    reader = CsvReader(shape)
    blocks = []
    for chunk in chunks(content, sizes):
        blocks.append(reader.feed(chunk))
        assert reader.at + reader.held <= len(content)
    blocks.append(reader.end())
    assert (content[reader.at :].strip(b"\x1a\r\n"), reader.held) == (b"", 0)
    assert reader.rows == sum(block.rows for block in blocks)
    broken = tuple(row for block in blocks for row in block.broken)
    return reader.header, Block(b"".join(b.text for b in blocks), reader.rows, broken)


# ---- Generated dialects, read by others


@dataclass(frozen=True)
class Written:
    """A CSV as some program wrote it."""

    content: bytes
    shape: dict[str, Any]
    escapes: bool  # by the escape character; else quotes are doubled
    before: int  # bytes of its byte order mark and `sep=` line
    plain: bytes = b""  # its header and rows: lines of white space blank, and no control-Z behind


WORDS = st.lists(st.sampled_from('ab é€😀|^\\""\'\n\r,;\t-\0\x1a'), max_size=6).map("".join)
# As people's programs write: with a space before a quote, or text behind one.
LOOSE, STRICT = True, False


@st.composite
def files(draw: st.DrawFn, loose: bool = LOOSE) -> Written:
    """Files of one dialect: delimiter, quote, escape, ends of lines, ragged rows, blank lines."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", "§", "|-|", "||"]))
    quote = draw(st.sampled_from(['"', '"', "'"]))
    escape = draw(st.sampled_from(["\\", "^", quote]))
    escapes = escape != quote and draw(st.booleans())
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    both = end != "\r" and draw(st.booleans())
    not_plain = f"[{re.escape(delimiter + escape)}\r\n]"

    def value(text: str) -> str:
        if draw(st.booleans()):
            plain = re.sub(not_plain, "", text)
            spaced = draw(st.booleans()) and loose
            # A quote that is text: anywhere but where a value begins, to DuckDB behind spaces, too.
            text_first = plain.lstrip(quote if loose else f"{quote} ")
            return f" {plain}" if spaced else text_first
        if escape != quote:
            text = text.replace(escape, escape * 2)
        text = quote + text.replace(quote, (escape if escapes else quote) + quote) + quote
        behind = re.sub(not_plain, "", draw(WORDS)) if loose and draw(st.booleans()) else ""
        return text + behind.lstrip(quote)

    rows = draw(st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=10))
    if not loose:  # what is all empty means a blank line to one reader, and a row to another
        rows = [["x", *row] for row in rows]
    lines = [delimiter.join(map(value, row)) for row in rows]
    lines = [line for line in lines if line.strip("\r\n") or loose]
    # No rows to us, and rows to some others: they come below.
    lines = [line for line in lines if delimiter in line or line.strip(" \t\x1a") or not line]
    ends = ["\n" if both and draw(st.booleans()) else end for _ in lines]
    text = "".join(line + end for line, end in zip(lines, ends, strict=True))
    if draw(st.booleans()):
        text = text.removesuffix(end)
    header, plain = draw(st.booleans()), text
    if loose and draw(st.sampled_from([False, False, True])):
        first, white = f"x{delimiter}y{end}", draw(st.sampled_from([" ", "  ", "\t"])) + end
        if header and delimiter != "\t":
            text, plain = first + white + text, first + "\n" * len(white) + text
        if text.endswith("\n"):
            text += draw(st.sampled_from(["\x1a", "\x1a\x1a" + end]))
    before = draw(st.sampled_from(["", "", "\ufeff"]))
    if draw(st.sampled_from([False, False, True])):
        before += f"sep={delimiter}{end}"
    shape = CSV | {"delimiter": delimiter, "quote": quote, "escape": escape}
    shape["header"] = header
    return Written((before + text).encode(), shape, escapes, len(before.encode()), plain.encode())


SIZES = st.lists(st.integers(0, 9), max_size=80) | st.just(list[int]())


ONE = "\ue000"  # for a delimiter of several characters, which Python does not take


def by_python(content: bytes, written: Written) -> Rows:
    """The rows that Python's csv reads, without blank lines."""
    shape = written.shape
    reader = csv.reader(
        io.StringIO(content.decode().replace(shape["delimiter"], ONE), newline=""),
        delimiter=ONE,
        quotechar=shape["quote"],
        escapechar=shape["escape"] if shape["escape"] != shape["quote"] else None,
    )
    return [[value.replace(ONE, shape["delimiter"]) for value in row] for row in reader if row]


@example(Written(b"\n", NOTHING, escapes=False, before=0, plain=b"\n"), [])
@given(files(), SIZES)
def test_python_reads_the_rows_that_we_hand_over(written: Written, sizes: list[int]) -> None:
    """All together, and those of each block alone: none of them ends within a row.

    Broken are those that have a NUL, too few values, or too many that are not empty.
    """
    content, shape = written.content, written.shape
    wanted = by_python(written.plain, written)
    reader, blocks = CsvReader(shape), list[Block]()
    with patch.multiple(csv_scanner, _MANY=3, _FEW_BYTES=12, _MANY_BYTES=20):
        for chunk in chunks(content, sizes):
            blocks.append(reader.feed(chunk))
            assert reader.at <= len(content)
        blocks.append(reader.end())
    names = list(wanted[0]) if wanted else []
    while len(names) > 1 and not names[-1]:
        names.pop()
    columns = len(names)
    assert [row.row for block in blocks for row in block.broken] == [
        number
        for number, row in enumerate(wanted, int(not shape["header"]))
        if "\0" in "".join(map(str, row))
        or (number and shape["header"] and (len(row) < columns or any(row[columns:])))
    ]
    found = by_python(reader.header, written) if shape["header"] else []
    assert len(found) == (shape["header"] and bool(wanted))
    for block in blocks:
        some = by_python(block.text, written)
        assert len(some) == block.rows
        assert reader.values(block.text) == some
        found += some
    assert found == wanted
    assert reader.header + b"".join(b.text for b in blocks) == written.plain
    assert reader.at == written.before + len(written.plain)


@settings(max_examples=40)
@given(files(), SIZES, SIZES)
def test_where_chunks_end_does_not_matter(
    written: Written, some: list[int], other: list[int]
) -> None:
    assert read(written.content, written.shape, some) == read(written.content, written.shape, other)


@settings(max_examples=40)
@given(files(), SIZES, st.integers(0, 80))
def test_who_breaks_off_goes_on_at_any_end(written: Written, sizes: list[int], most: int) -> None:
    """As another worker, which knows where it was, and what ends the rows of this file."""
    content, shape = written.content, written.shape
    wanted = read(content, shape)
    reader, first = CsvReader(shape), b""
    for chunk in list(chunks(content, sizes))[:most]:
        first += reader.feed(chunk).text
    if shape["header"] and not reader.header:
        return
    later = CsvReader(shape, reader.header, at=reader.at, rows=reader.rows, lone_cr=reader.lone_cr)
    blocks = [later.feed(content[reader.at :]) if reader.at else later.feed(b""), later.end()]
    if reader.at:
        assert first + b"".join(block.text for block in blocks) == wanted[1].text
        assert (later.rows, later.at) == (wanted[1].rows, written.before + len(written.plain))


MARKS = ["a", ",", '"', '""', '"a', 'a"', '","', "\\", "\n", "\r"]
LINES = st.lists(st.lists(st.sampled_from(MARKS), max_size=5).map("".join), max_size=5)


@example(['"a,b"', "c,d"], '"', '"')  # one value, though its marks are those of two
@example(['"\\",\\""'], '"', "\\")
@example(["", ",", 'a",b"'], '"', '"')
@given(LINES, st.sampled_from(['"', '"', ""]), st.sampled_from(['"', "\\"]))
def test_rows_that_are_known_by_their_marks_are_those_that_are_read(
    lines: list[str], quote: str, escape: str
) -> None:
    """Whatever stands between the marks, also what nobody writes."""
    content, shape = (
        "\n".join(["x,y", *lines, ""]).encode(),
        CSV | {"quote": quote, "escape": escape},
    )

    def found() -> tuple[bytes, Block] | str:
        try:
            return read(content, shape)
        except FormatMismatch as fault:
            return fault.detail

    with patch.object(csv_scanner.Regular, "_alike", return_value=0):
        wanted = found()
    with patch.multiple(csv_scanner, _FEW_BYTES=12, _MANY_BYTES=20):
        assert found() == wanted


@pytest.fixture(scope="module")
def duckdb() -> Any:
    """Another reader, which takes a second to import."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@settings(max_examples=40)
@given(written=files(STRICT), sizes=SIZES)
def test_duckdb_reads_the_rows_that_we_hand_over(
    duckdb: Any, tmp_path_factory: pytest.TempPathFactory, written: Written, sizes: list[int]
) -> None:
    """Block by block what it reads of the whole."""
    folder = tmp_path_factory.getbasetemp()
    columns = {f"c{n}": "VARCHAR" for n in range(6)}

    def by_duckdb(content: bytes) -> Rows:
        file: Path = folder / "some.csv"
        file.write_bytes(content)
        escape = written.shape["escape"] if written.escapes else written.shape["quote"]
        return [
            list(row)
            for row in duckdb.execute(
                "SELECT * FROM read_csv($file, auto_detect=false, header=false, delim=$delimiter, "
                "quote=$quote, escape=$escape, columns=$columns, null_padding=true, "
                "strict_mode=false, parallel=false, allow_quoted_nulls=false, nullstr='never')",
                {
                    "file": str(file),
                    "delimiter": written.shape["delimiter"],
                    "quote": written.shape["quote"],
                    "escape": escape,
                    "columns": columns,
                },
            ).fetchall()
        ]

    reader, found = CsvReader(written.shape), list[bytes]()
    for chunk in chunks(written.content, sizes):
        found.append(reader.feed(chunk).text)
    found.append(reader.end().text)
    blocks = [reader.header, *found]
    wanted = by_duckdb(written.plain)
    assert [row for block in blocks if block for row in by_duckdb(block)] == wanted


# ---- Cases by name


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'1,pipe 12" steel,x\n2,3" nail,y\n', 2),  # nobody quotes
        (b'1,pipe 12" steel,x\n2,"two\nlines",y\n', 2),
        (b'1, "a\n2,b"\n', 2),  # a quote behind a space is text, as Spark and Python have it
        (b'1,"a" "b\n2,c"\n', 2),  # what follows a closing quote is text
        (b'1,"a"b"\n2,c\n', 2),
        (b'1,""\n2,"\n"\n', 2),
        (b'1,"a""\n"\n', 1),
        (b'1,"a\\"\n"\n', 1),
        (b'1,"a\\\\"\n2,b\n', 2),
        (b'C:\\",a\n"C:\\\\"\n', 2),  # no escape character outside of quotes
        (b"a\r\nb\nc\r\n", 3),
        (b"a\rb\rc", 3),
        (b"a\rb\nc\r\nd", 4),
        (b"a\nb\rc\n", 2),  # CR alone ends rows only if it ends the first one
        (b'"a\rb",c\nd\re\n', 2),
        (b"\n\r\na\n\n\n\r\nb\n\n", 2),  # blank lines are not rows
        (b"", 0),
        (b"\n\n", 0),
        (b"a", 1),
        (b'""', 1),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_how_many_rows_there_are(content: bytes, rows: int, size: int) -> None:
    header, block = read(content, CSV | {"header": False}, [size] * len(content))
    assert (header, block.text, block.rows) == (b"", content, rows)


@pytest.mark.parametrize(
    ("text", "values", "dialect"),
    [
        ('a,"b"\n', [["a", "b"]], {}),
        ('"a","b"\n"c","d"\n', [["a", "b"], ["c", "d"]], {}),
        ('"a ""1""",2,""""\n', [['a "1"', "2", '"']], {}),
        ('x,"a,b",,"",y\n', [["x", "a,b", "", "", "y"]], {}),
        ('"a\nb","c\r\n"\r\nd,e\r\n', [["a\nb", "c\r\n"], ["d", "e"]], {}),
        ('"a"b,c\n"a" "b",c\n', [["ab", "c"], ['a "b"', "c"]], {}),  # as Python has it
        ('pipe 12" steel, "a\n', [['pipe 12" steel', ' "a']], {}),
        # An escape character escapes what needs it, and nothing else.
        ('"say \\"x\\"","C:\\new","\\\\"\n', [['say "x"', "C:\\new", "\\"]], {}),
        ("a\\,b\n", [["a\\", "b"]], {}),
        ("a||'b||c'||d|e\n", [["a", "b||c", "d|e"]], {"delimiter": "||", "quote": "'"}),
        ("'a'|||'b'\n", [["a", "|'b'"]], {"delimiter": "||", "quote": "'"}),
        ('a,"b"\n', [["a", '"b"']], {"quote": ""}),
        ('"a\r1",b\rc,"d"\r', [["a\r1", "b"], ["c", "d"]], {}),
        ("a\rb\n", [["a"], ["b"]], {}),
        ('""\n\n,\r\n', [[""], ["", ""]], {}),
        ("é,😀", [["é", "😀"]], {}),
    ],
)
def test_the_values_of_rows(text: str, values: list[list[str]], dialect: dict[str, Any]) -> None:
    reader = CsvReader(CSV | {"header": False} | dialect)
    block = reader.feed(text.encode())
    assert reader.values(block.text + reader.end().text) == values


def test_values_that_are_not_of_the_charset_have_a_mark() -> None:
    """Their row is told as broken; its place among the others stays."""
    reader = CsvReader(CSV | {"header": False})
    block = reader.feed(b"a\n\xff,b\n")
    assert [row.row for row in block.broken] == [2]
    assert reader.values(block.text) == [["a"], ["\ufffd", "b"]]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("sep", [b"", b"sep=;\n", b"SEP=;\r\n", b"sep=; \r", b'"sep=;"\r\n'])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_and_excel_s_line_are_not_the_header(
    bom: bytes, sep: bytes, size: int
) -> None:
    shape = CSV | {"delimiter": ";"}
    content = bom + sep + b"id;name\n1;a\n"
    header, block = read(content, shape, [size] * len(content))
    assert (header, block) == (b"id;name\n", Block(b"1;a\n", 1))
    assert prologue(content[:PROLOGUE_BYTES], shape) == len(bom + sep)


@pytest.mark.parametrize(
    "first", [b"sep;name\n", b"sep=" + b"x" * 80 + b"\n", b"sepal\n", b"s\n", b"\xef\xbb;\n"]
)
def test_what_only_begins_like_one_is_a_header(first: bytes) -> None:
    header, block = read(first + b"1\n", CSV | {"delimiter": ";"}, [1] * 100)
    assert (header, block.text) == (first, b"1\n")


def test_excel_s_line_must_agree_with_the_route() -> None:
    for sizes in ([], [1] * 20):
        with pytest.raises(FormatMismatch, match=r"sep=';', but its inputFormat has .* ','"):
            read(b"sep=;\nid;name\n1;a\n", CSV, sizes)


def test_latin_1_has_no_byte_order_mark() -> None:
    header, _ = read(b"\xef\xbb\xbfid\n1\n", CSV | {"charset": "ISO-8859-1"})
    assert header == b"\xef\xbb\xbfid\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_quote_that_nothing_closes_is_named_by_its_row_and_byte(size: int) -> None:
    content = b'id,text\n1,"a\nb"\n\n2,"' + b"x\n" * 20
    with pytest.raises(FormatMismatch, match=r"^row 2, which begins at byte 17, has a quote that"):
        read(content, CSV, [size] * len(content))
    with pytest.raises(FormatMismatch, match=r"^its header, which begins at byte 0, has a quote"):
        read(b'"id\n1\n', CSV)


@pytest.mark.parametrize(
    ("charset", "rule"), [("UTF-8", "it is not UTF-8"), ("US-ASCII", "it is not US-ASCII")]
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_rows_of_another_charset_are_named(charset: str, rule: str, size: int) -> None:
    content = b'id,n\xff\n1,a\n2,"\xff\n\xff"\n\n3,b\n4,\xff'
    _, block = read(content, CSV | {"charset": charset}, [size] * len(content))
    found = [(row.row, content[row.at :].split(b",")[0], row.rule) for row in block.broken]
    assert found == [(0, b"id", rule), (2, b"2", rule), (4, b"4", rule)]
    assert read(content, CSV | {"charset": "ISO-8859-1"})[1].broken == ()


def test_every_row_may_be_of_another_charset() -> None:
    content = b"id\n" + b"\xff\n" * 2000
    assert [row.row for row in read(content, CSV)[1].broken] == list(range(1, 2001))
    assert read("id\né\n".encode(), CSV)[1].broken == ()
    assert read("id\né\n".encode(), CSV | {"charset": "UTF-16"})[1].broken == ()
    assert (
        BrokenRow(1, 3, "it is not US-ASCII")
        in read("id\né\n".encode(), CSV | {"charset": "US-ASCII"})[1].broken
    )


@pytest.mark.parametrize("delimiter", ["||", "§", "\t"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_delimiter_may_have_several_bytes(delimiter: str, size: int) -> None:
    text = f'id{delimiter}"a\nb"\n1{delimiter}12" x\n2{delimiter}{delimiter}"c\nd"\n'
    header, block = read(text.encode(), CSV | {"delimiter": delimiter}, [size] * 100)
    assert (header.count(b"\n"), block.rows) == (2, 2)


@pytest.mark.parametrize(
    ("shape", "can_be"),
    [
        ({}, True),
        ({"quote": ""}, True),
        ({"quote": "", "escape": ""}, True),
        ({"escape": '"'}, True),
        ({"delimiter": "§"}, True),
        ({"quote": "§"}, False),
        ({"escape": "§"}, False),
        ({"quote": "§", "charset": "ISO-8859-1"}, True),
        ({"delimiter": ""}, False),
        ({"delimiter": '"'}, False),
        ({"delimiter": "\n"}, False),
        ({"quote": "\n"}, False),
    ],
)
def test_which_formats_can_be_read(shape: dict[str, Any], can_be: bool) -> None:
    assert readable(CSV | shape) == can_be
    if not can_be:
        with pytest.raises(ValueError, match="no CSV"):
            CsvReader(CSV | shape)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_ragged_rows_are_named_among_many(size: int) -> None:
    """A delimiter behind the last value is no value."""
    rows = [b'%d,"a, ""b""",c\n' % number for number in range(1, 101)]
    rows[39], rows[40], rows[41] = b'40,"x\ny"\n', b"41,,\n\n", b"42,a,b,\r\n"
    rows[98] = b'99,"a",b,c\n'
    content = b"id,x,y\n" + b"".join(rows) + b"101"
    _, block = read(content, CSV, [size] * len(content))
    assert [(row.row, row.rule) for row in block.broken] == [
        (40, "it has 2 values, and 3 are expected"),
        (99, "it has 4 values, and 3 are expected"),
        (101, "it has 1 value, and 3 are expected"),
    ]
    assert content[block.broken[0].at :].startswith(b"40,")
    assert read(content, CSV | {"header": False})[1].broken == ()


@pytest.mark.parametrize("size", [1, 1000])
def test_marks_of_other_systems_are_no_rows(size: int) -> None:
    """A control-Z of DOS at the end, and byte order marks one before another."""
    ends = (b"\x1a", b"\r\n\x1a\x1a", b"\x1a\n", b"\x1a\r\n\x1a\r\n\r\n", b"\x1a" * 2**15)
    for content in (b"\xef\xbb\xbf\xef\xbb\xbfid\n1\n", *(b"id\n1\n" + end for end in ends)):
        reader = CsvReader(CSV)
        blocks = [reader.feed(chunk) for chunk in chunks(content, [size] * 99)]
        blocks.append(reader.end())
        assert b"".join(block.text for block in blocks).strip() == b"1"
        assert (reader.header, reader.rows, reader.held) == (b"id\n", 1, 0)


@pytest.mark.parametrize("size", [1, 1000])
def test_control_z_within_a_file_is_text(size: int) -> None:
    content = b'id,n\n1,"a\n\x1a"\n2,\x1a\n\x1a\n3,b\n\x1a,\x1a'
    _, block = read(content, CSV, [size] * len(content))
    assert (block.rows, [bad.row for bad in block.broken]) == (5, [3])


@pytest.mark.parametrize("size", [1, 99])
def test_cr_behind_the_last_row_counts_nothing(size: int) -> None:
    reader, content = CsvReader({"format": "csv"}), b"a,b\n1,2\n\r\r"
    blocks = [reader.feed(content[at : at + size]) for at in range(0, len(content), size)]
    blocks.append(reader.end())
    assert sum(block.rows for block in blocks) == 1
    assert reader.values(b"".join(block.text for block in blocks)) == [["1", "2"]]


@pytest.mark.parametrize("size", [1, 1000])
def test_a_line_of_white_space_is_no_row_where_columns_are_expected(size: int) -> None:
    """As pandas and Spark read it; of a single column, it is a value."""
    content = b'id,n\n1,a\n  \n\n2,b\n" "\n\t\r\n3\n '
    _, block = read(content, CSV, [size] * len(content))
    assert (block.rows, [(bad.row, bad.at) for bad in block.broken]) == (4, [(3, 17), (4, 24)])
    assert block.text.split() == [b"1,a", b"2,b", b'"', b'"', b"3"]
    assert len(block.text) == len(content) - len(b"id,n\n")
    assert read(b"id\n1\n \n", CSV, [size] * 9)[1].rows == 2


@pytest.mark.parametrize("charset", ["UTF-8", "US-ASCII", "ISO-8859-1"])
@pytest.mark.parametrize("size", [1, 1000])
def test_rows_with_a_nul_are_named(charset: str, size: int) -> None:
    content = b'id,n\n1,a\n2,"\0\n"\n3,b\n4,\0'
    _, block = read(content, CSV | {"charset": charset}, [size] * len(content))
    rule = "it has a NUL byte"
    assert block.broken == (BrokenRow(2, 9, rule), BrokenRow(4, 20, rule))
    assert read(b"id\0n\n1\0a\n", CSV | {"delimiter": "\0"})[1].broken == ()


def test_only_a_row_is_held_however_large_its_value() -> None:
    reader = CsvReader(CSV)
    reader.feed(b'id\n1,"')
    held = []
    for _ in range(50):
        assert reader.feed(b'""x\n' * 25) == Block()
        held.append(reader.held)
    assert all(after - before == 100 for before, after in pairwise(held))
    assert reader.feed(b'"\n').rows == 1
    assert reader.held == 0


@pytest.mark.parametrize("delimiter", ["||", "¦", "|-|"])
def test_ragged_rows_are_named_whatever_is_between_their_values(delimiter: str) -> None:
    rows = ["a,b,c", "1,2", "3,4,5", ",,", "6,,7", "8,9,10,11", '"x",y,"z"']
    content = "\n".join(rows).replace(",", delimiter).encode() + b"\n"
    for sizes in ([], [3] * 99):
        _, block = read(content, CSV | {"delimiter": delimiter}, sizes)
        assert [bad.row for bad in block.broken] == [1, 5]


def test_ragged_rows_are_named_by_the_marks_of_their_charset() -> None:
    text = "id,n\n1,§a\n,b§\n2\n§3§,\n".encode("latin-1")
    _, block = read(text, CSV | {"charset": "ISO-8859-1", "quote": "§"})
    assert ([bad.row for bad in block.broken], block.rows) == ([2], 3)


def test_a_delimiter_behind_the_header_alone_names_no_column() -> None:
    _, block = read(b"a,b,\n1,2\n3,4,\n5\n", CSV)
    assert [bad.row for bad in block.broken] == [3]


def test_values_of_a_row_that_nobody_can_hold_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They would take twenty times the room of the row."""
    monkeypatch.setattr("aep_intake.content.csv._ROW_MAX", 10)
    _, block = read(b"a,b\n1,2\n" + b"3," * 9 + b"\n4,5\n6\n", CSV)
    assert [(bad.row, "10 bytes" in bad.rule) for bad in block.broken] == [(2, True), (4, False)]
    with pytest.raises(FormatMismatch, match="its header has over 10 bytes"):
        read(b"a" * 11 + b",b\n1,2\n", CSV)


# ---- The header once more


AGAIN = "it is the header once more"


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("content", "shape", "rows"),
    [
        (b"id,name\n1,a\nid,name\n2,b\n", {}, [2]),
        (b"id,name\r\n1,a\r\n\r\nid,name\r\n2,b\r\nid,name", {}, [2, 4]),
        (b"id,name\rid,name\r1,a\rid,name\r", {}, [1, 3]),
        (b'"id",name\n1,a\n"id","name"\n\xef\xbb\xbfid,name,\n"id",name,""\n', {}, [2, 3, 4]),
        (b'id,name\n1,"a\nid,name\nb"\nid,name\n', {}, [2]),
        (b"id,name\nid,name,x\nname,id\nid,Name\nmy id,name\n", {}, []),
        (b"id,name,\n1,a\nid,name\n", {}, [2]),
        (b'"i""d","n\nm"\n1,2\n"i""d","n\nm"\n', {}, [2]),
        (b'"a\\"b",c\n1,2\n"a\\"b",c\n', {}, [2]),
        (b"\xef\xbb\xbfsep=;\nid;name\n1;a\nid;name\n", {"delimiter": ";"}, [2]),
        (b"id|-|name\n1|-|a\nid|-|name\n", {"delimiter": "|-|"}, [2]),
        ("n\xe9,x\n1,2\nn\xe9,x\n".encode("latin-1"), {"charset": "ISO-8859-1"}, [2]),
        (b'"id,name\n1,a\n"id,name\n', {"quote": ""}, [2]),
        (b"id\n1\nid\n", {}, [2]),
        (b"0,1\n5,6\n0,1\n", {}, []),
        (b"id,name\nid,name\n", {"header": False}, []),
    ],
)
def test_a_row_that_is_the_header_is_named(
    content: bytes, shape: dict[str, Any], rows: list[int], size: int
) -> None:
    """Numbers may be data, and so may all within quotes."""
    _, block = read(content, CSV | shape, [size] * len(content))
    assert [bad.row for bad in block.broken if bad.rule == AGAIN] == rows
    for bad in block.broken:
        assert content[bad.at - 1 : bad.at] in (b"\n", b"\r")


NAMES = st.sampled_from(["id", "a,b", 'x"y', "n\nm", "\\", "7", " s", ""])


@given(
    st.lists(st.tuples(NAMES, NAMES, st.booleans(), st.booleans()), min_size=1, max_size=12),
    SIZES,
    st.integers(0, 20),
)
def test_a_row_is_the_header_where_python_reads_the_same_values(
    rows: list[tuple[str, str, bool, bool]], sizes: list[int], most: int
) -> None:
    """Also by who goes on in the middle of a file."""
    text = io.StringIO()
    for first, second, all_quoted, crlf in rows:
        end = "\r\n" if crlf else "\n"
        minimal = csv.writer(text, quoting=csv.QUOTE_MINIMAL, lineterminator=end)
        whole = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=end)
        (whole if all_quoted else minimal).writerow([first, second])
    content, shape = text.getvalue().encode(), NOTHING
    header, *others = csv.reader(io.StringIO(content.decode(), newline=""))
    may_be_data = set(header) <= {"7", ""}
    wanted = [] if may_be_data else [n for n, row in enumerate(others, 1) if row == header]
    reader, blocks = CsvReader(shape), []
    for chunk in list(chunks(content, sizes))[:most]:
        blocks.append(reader.feed(chunk))
    if reader.header:
        at, rows_before = reader.at, reader.rows
        later = CsvReader(shape, reader.header, at=at, rows=rows_before, lone_cr=reader.lone_cr)
        blocks += [later.feed(content[at:]), later.end()]
    else:
        blocks = [read(content, shape)[1]]
    broken = [bad for block in blocks for bad in block.broken]
    assert [bad.row for bad in broken if bad.rule == AGAIN] == wanted


def test_values_that_look_like_the_header_take_no_time() -> None:
    """Each line of a value is looked at once, however many look like it."""
    content = b'a\n"' + b"a\n" * 2_000 + b'"\n' + b"a\n" * 2
    with patch.object(csv_scanner.Scanner, "plain", autospec=True) as plain:
        plain.side_effect = lambda _, text, **__: text
        _, block = read(content, CSV)
    assert [bad.row for bad in block.broken] == [2, 3]
    assert sum(len(call.args[1]) for call in plain.call_args_list) < 10 * len(content)


def test_a_hostile_header_takes_no_workers_memory() -> None:
    """A megabyte of names, twice, took two hundred megabytes."""
    header = ",".join(f"column_{n}" for n in range(20_000)).encode() + b"\n"
    tracemalloc.start()
    try:
        _, block = read(header * 2, CSV)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert block.rows == 1
    assert most < 30 * len(header)
