"""How large files are cut: between rows, never through one, always alike, and nothing is lost."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import IO, Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from aep_intake.content.csv import CsvReader
from aep_intake.content.rows import has_rows
from aep_intake.delivery import pieces as module
from aep_intake.delivery.pieces import Cut, Piece, cutting, pieces_and_runs
from aep_intake.model.errors import StorageUnavailable, TooLarge
from aep_intake.model.files import Arrival
from aep_intake.model.records import read as read_record
from hypothesis import assume, given
from hypothesis import strategies as st

JSON = {"format": "json"}
CSV = {"format": "csv"}
ARRAY = {"format": "json", "isMultiLineJson": True}
PARQUET = {"format": "parquet"}
CHUNKS = st.sampled_from([1, 2, 3, 5, 7, 16, 64])


def arrival(size: int, key: str = "in/a.csv") -> Arrival:
    return Arrival("landing", key, "v1", "e1", "0061", size, 0)


def reader(content: bytes) -> Callable[[int, int], IO[bytes]]:
    return lambda start, end: io.BytesIO(content[start:end])


def cut(file: Arrival, *how: Any) -> Cut | None:
    """The cut of a file; None if it needs none."""
    return [None, *cutting(file, *how)][-1]


def pieces(files: Sequence[Arrival], cuts: Mapping[int, Cut]) -> list[Piece]:
    """All pieces of files that share none."""
    found = pieces_and_runs(files, cuts, None)
    return [piece for piece in found if isinstance(piece, Piece)]


def in_pieces(
    content: bytes,
    shape: Mapping[str, Any],
    limit: int,
    chunk: int,
    how: Callable[..., Cut | None] = cut,
) -> list[bytes]:
    """What is uploaded of a file. Raises TooLarge."""
    file = arrival(len(content))
    with patch.object(module, "CHUNK", chunk):
        made = how(file, shape, limit, reader(content))
        assert how(file, shape, limit, reader(content)) == made
    if made is not None and made.refused is not None:
        [whole] = pieces([file], {0: made})
        assert (whole.start, whole.end, whole.refused) == (0, file.size, made.refused)
        raise TooLarge(made.refused.detail)
    found = pieces([file], {} if made is None else {0: made})
    assert [piece.number for piece in found] == list(range(len(found)))
    assert len({piece.path() for piece in found}) == len(found)
    uploaded = [content[: piece.header] + content[piece.start : piece.end] for piece in found]
    assert [piece.size for piece in found] == [len(one) for one in uploaded]
    # Without the headers that were put before them, they are the file again.
    assert b"".join(content[piece.start : piece.end] for piece in found) == content
    return uploaded


def broken_off(
    file: Arrival,
    shape: Mapping[str, Any],
    limit: int,
    opened: Callable[[int, int], IO[bytes]],
) -> Cut | None:
    """How a file is cut by workers of whom each finds one end, and dies."""
    known: Cut | None = None
    while known is None or not known.whole(file):
        found = next(cutting(file, shape, limit, opened, known), None)
        if found is None:
            return None
        assert known is None or found.refused or found.ends[:-1] == known.ends
        known = found
    return known


# ---- JSON Lines

TEXT = st.text(st.sampled_from('ab"\\{}[]\n\r\t é€😀'), max_size=12)
JSON_ROWS = st.lists(st.dictionaries(TEXT, TEXT | st.integers(), max_size=3), max_size=20)


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    newline = draw(st.sampled_from(["\n", "\r\n", "\n\n", "\n \n"]))
    rows = draw(JSON_ROWS)
    text = newline.join(json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows)
    return (text + draw(st.sampled_from(["", newline, "\n\n"]))).encode()


@given(json_lines(), st.integers(1, 200), CHUNKS)
def test_json_lines_are_cut_between_rows(content: bytes, limit: int, chunk: int) -> None:
    rows = re.findall(rb"[^\n]*\n|[^\n]+\Z", content)
    try:
        uploaded = in_pieces(content, JSON, limit, chunk)
    except TooLarge:
        assert max(map(len, rows)) > limit
        return
    assert b"".join(uploaded) == content
    assert all(len(one) <= limit for one in uploaded)
    assert all(one.endswith(b"\n") for one in uploaded[:-1])
    assert max(map(len, rows), default=0) <= limit


def test_json_lines_take_the_fewest_pieces() -> None:
    content = b'{"a": 1}\n' * 100
    uploaded = in_pieces(content, JSON, 90, 64)
    assert [len(one) for one in uploaded] == [90] * 10
    assert in_pieces(content, JSON, 900, 64) == [content]
    assert [len(one) for one in in_pieces(content, JSON, 899, 64)] == [891, 9]


def test_a_row_of_json_as_long_as_the_limit_still_goes() -> None:
    content = b"x" * 49 + b"\n" + b"y" * 49 + b"\n" + b"z" * 50
    assert [len(one) for one in in_pieces(content, JSON, 50, 7)] == [50, 50, 50]
    with pytest.raises(TooLarge, match=r"^a row, which begins at byte 0, has nearly 49 bytes"):
        in_pieces(content, JSON, 49, 7)


# ---- CSV


@dataclass(frozen=True)
class Written:
    """A CSV as some program wrote it; `ends`: where each of its rows ends."""

    content: bytes
    shape: dict[str, Any]
    ends: tuple[int, ...]

    @property
    def header(self) -> int:
        """Bytes of the header, and of blank lines before it; 0 where there is none."""
        if self.shape.get("header", True) not in (True, "true"):
            return 0
        named = (end for end in self.ends if self.content[:end].strip(b"\r\n"))
        return next(named, len(self.content))

    @property
    def longest(self) -> int:
        """Bytes of the longest row."""
        starts = (0, *self.ends[:-1])
        return max(end - start for start, end in zip(starts, self.ends, strict=True))


FIELD = st.text(st.sampled_from("ab,\n\r\"\\'€é😀|^"), max_size=8)
PLAIN = st.text(st.sampled_from("ab\\ é€'|^"), max_size=8)


@st.composite
def csv_files(draw: st.DrawFn) -> Written:
    """As programs write them: any quote, doubled or escaped, quoted or not, any newline."""
    mark = draw(st.sampled_from(['"', "'", "|"]))
    escape = draw(st.sampled_from(["\\", "^", mark]))
    shape: dict[str, Any] = {"format": "csv"}
    if mark != '"' or draw(st.booleans()):
        shape["quote"] = mark
    if escape != "\\" or draw(st.booleans()):
        shape["escape"] = escape
    if draw(st.booleans()):
        shape["header"] = draw(st.sampled_from([True, False, "true", "false"]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))

    def field(text: str) -> str:
        plain = not set(text) & {mark, escape, ",", "\n", "\r"}
        if plain and draw(st.booleans()):
            return text
        if escape != mark:
            text = text.replace(escape, escape * 2)
        how = mark if draw(st.booleans()) else escape  # doubled, or escaped
        return mark + text.replace(mark, how + mark) + mark

    rows = draw(st.lists(st.lists(FIELD, min_size=1, max_size=3), min_size=1, max_size=12))
    lines = [",".join(map(field, row)) + newline for row in rows]
    lines += draw(st.sampled_from([[], [newline], [newline, newline]]))  # empty last lines
    if draw(st.booleans()):
        lines[-1] = lines[-1].removesuffix(newline)
    encoded = [line.encode() for line in lines if line]
    assume(encoded)
    return Written(b"".join(encoded), shape, tuple(accumulate(map(len, encoded))))


@pytest.mark.parametrize("how", [cut, broken_off])
@given(csv_files(), st.integers(4, 150), CHUNKS)
def test_csv_is_cut_between_rows_each_piece_with_the_header(
    how: Callable[..., Cut | None], written: Written, limit: int, chunk: int
) -> None:
    content, header = written.content, written.header
    try:
        uploaded = in_pieces(content, written.shape, limit, chunk, how)
    except TooLarge:
        assert header + written.longest + min(chunk, limit // 4) > limit
        return
    assert all(len(one) <= limit for one in uploaded)
    assert all(one.startswith(content[:header]) for one in uploaded)
    start = 0
    for one in uploaded[:-1]:
        start += len(one) - (header if start else 0)
        assert start in written.ends
        assert start > header, "a header without rows"


@given(st.lists(st.lists(FIELD, min_size=2, max_size=2), min_size=2, max_size=30), CHUNKS)
def test_python_reads_of_the_pieces_what_it_wrote(rows: list[list[str]], chunk: int) -> None:
    """The same by a reader that is not ours; in its dialect a quote is escaped by doubling."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    content = text.getvalue().encode()
    shape = {"format": "csv", "escape": '"'}
    uploaded = in_pieces(content, shape, 300, chunk)
    read: list[list[str]] = []
    for number, one in enumerate(uploaded):
        some = list(csv.reader(io.StringIO(one.decode(), newline="")))
        assert some[0] == rows[0]
        read += some[1:] if number else some
    assert read == rows


@pytest.mark.parametrize("how", [cut, broken_off])
@pytest.mark.parametrize(
    "rows",
    [
        [b"1,plain,x\n"] * 20 + [b'99,pipe 12" steel,x\n'] + [b"1,plain,x\n"] * 60,
        [b'1,pipe 12" steel,x\n', *(b'%d,"multi\nline %d",x\n' % (n, n) for n in range(60))],
    ],
)
def test_a_lone_quote_in_a_value_that_nobody_quoted_is_text(
    how: Callable[..., Cut | None], rows: list[bytes]
) -> None:
    """It once lost the first file as too large, and cut the second within its rows."""
    header = b"id,item,note\n"
    content = header + b"".join(rows)
    uploaded = in_pieces(content, CSV, 300, 64, how)
    assert len(uploaded) > 2
    read = [list(csv.reader(io.StringIO(one.decode(), newline=""))) for one in uploaded]
    assert [row for one in read for row in one[1:]] == list(
        csv.reader(io.StringIO(b"".join(rows).decode(), newline=""))
    )


@pytest.mark.parametrize("how", [cut, broken_off])
@pytest.mark.parametrize("header", [True, False])
def test_the_first_row_of_a_piece_is_known_by_its_number(
    how: Callable[..., Cut | None], header: bool
) -> None:
    content = b"\xef\xbb\xbfsep=,\rid,text\r" + b"".join(b'%d,"a\rb"\r\r' % n for n in range(1, 60))
    with patch.object(module, "CHUNK", 16):
        made = how(arrival(len(content)), CSV | {"header": header}, 100, reader(content))
    assert made is not None
    assert made.lone_cr
    for piece in pieces([arrival(len(content))], {0: made})[1:]:
        first = content[piece.start :].lstrip(b"\r").split(b",")[0]
        assert int(first) == piece.row - (not header)


def test_a_control_z_behind_the_last_row_is_in_no_piece() -> None:
    rows = b"".join(b"%d,a\n" % n for n in range(40))
    file, content = arrival(len(rows) + 5), b"id,n\n" + rows[:-5] + b"\x1a\r\n\x1a\n"
    made = cut(file, CSV, 100, reader(content))
    assert made is not None
    assert made.whole(file)
    *_, last = pieces([file], {0: made})
    assert content[last.end :] == b"\x1a\r\n\x1a\n"


def test_a_control_z_for_which_there_was_no_room_makes_no_piece() -> None:
    """It would be a header alone, or a file without a byte, which AEP fails."""
    content = b"1,2\n" * 10 + b"\x1a"
    shape = {"format": "csv", "header": False}
    found = cut(arrival(len(content)), shape, 40, reader(content))
    assert found == Cut((40,), rows=(10,), behind=1)
    begun = Cut((40,), rows=(10,))
    [resumed] = cutting(arrival(len(content)), shape, 40, reader(content), begun)
    assert resumed == found


SPACED = st.lists(
    st.sampled_from([b"1,a", b"2,", b" ", b"\t ", b"", b'"x\n \ny",b', b"3"]), min_size=1
)


@given(
    lines=SPACED,
    header=st.booleans(),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    limit=st.integers(40, 70),
    chunk=CHUNKS,
)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbfsep=,\n"])
def test_who_goes_on_counts_the_rows_that_who_never_broke_off_counts(
    *, before: bytes, lines: list[bytes], header: bool, newline: bytes, limit: int, chunk: int
) -> None:
    """Lines of white space alone are none, where the header has several columns."""
    shape = CSV | {"header": header}
    content = before + newline.join([b"id,n", *lines * 9, b"9,z"])
    file = arrival(len(content))
    with patch.object(module, "CHUNK", chunk):
        made = [how(file, shape, limit, reader(content)) for how in (cut, broken_off)]
    assume(None not in made and not any(each.refused for each in made if each))
    for each in filter(None, made):
        for end, rows in zip(each.ends, each.rows, strict=True):
            whole = CsvReader(shape)
            whole.feed(content[:end])
            whole.end()
            assert rows == whole.rows


def test_what_the_release_before_cut_by_any_quote_is_cut_anew() -> None:
    """It counted no rows, and one of its ends may be within a row; a whole cut stays as it is."""
    content = b'id,item\n1,12" x\n' + b'2,"a\nb"\n' * 30
    old = read_record(Cut, '{"ends":[11,90],"header":8}')
    made = list(cutting(arrival(len(content)), CSV, 100, reader(content), old))[-1]
    assert made == cut(arrival(len(content)), CSV, 100, reader(content))
    whole = read_record(Cut, f'{{"ends":[11,{len(content)}],"header":8}}')
    assert whole.whole(arrival(len(content)))
    assert [(p.end, p.row) for p in pieces([arrival(len(content))], {0: whole})] == [
        (11, 0),
        (len(content), 0),
    ]


@pytest.mark.parametrize(
    ("shape", "header"),
    [
        ({}, True),
        ({"header": True}, True),
        ({"header": "true"}, True),
        ({"header": "TRUE"}, True),
        ({"header": False}, False),
        ({"header": "false"}, False),
    ],
)
def test_only_where_there_is_a_header_it_is_repeated(shape: Any, header: bool) -> None:
    content = b"id,name\n" + b"1,a\n" * 30
    uploaded = in_pieces(content, CSV | shape, 40, 64)
    assert len(uploaded) > 3
    assert all(one.startswith(b"id,name\n") == (header or not n) for n, one in enumerate(uploaded))


def test_a_header_may_be_quoted_over_several_lines() -> None:
    header = b'"first\nname","last ""\n"" name",x\r\n'
    content = header + b"1,2,3\r\n" * 30
    uploaded = in_pieces(content, CSV, 200, 64)
    assert all(one.startswith(header) for one in uploaded)
    assert b"".join(one.removeprefix(header) for one in uploaded) == b"1,2,3\r\n" * 30


def test_a_header_that_ends_in_a_backslash_ends_there() -> None:
    """Outside of quotes it escapes nothing: else the first row would be in every piece."""
    content = b"id,path\\\n" + b"".join(b"%d,C:\\\n" % n for n in range(30))
    for chunk in (1, 2, 3, 64):
        uploaded = in_pieces(content, CSV, 40, chunk)
        assert len(uploaded) > 3
        assert b"".join(one.removeprefix(b"id,path\\\n") for one in uploaded) == content[9:]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_a_header_longer_than_a_chunk_is_never_left_out(chunk: int) -> None:
    header = b"a-column-with-a-very-long-name,another-one\n"
    content = header + b"1,2\n" * 100
    try:
        uploaded = in_pieces(content, CSV, 100, chunk)
    except TooLarge:
        return
    assert all(one.startswith(header) for one in uploaded)


@pytest.mark.parametrize("rest", [b"", b"\n"])
@pytest.mark.parametrize("shape", [CSV, CSV | {"header": False}])
def test_a_last_row_that_is_too_long_is_seen_too(rest: bytes, shape: dict[str, Any]) -> None:
    content = b"id\n1\n" + b"x" * 98 + rest
    with pytest.raises(TooLarge, match=r"row \d+, which begins at byte"):
        in_pieces(content, shape, 97, 25)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_that_is_too_long_stands_nowhere(place: int) -> None:
    rows = [b"id,text\n", *[b"1,a\n"] * 20]
    rows.insert((1, 10, 21)[place], b"2," + b"b" * 100 + b"\n")
    with pytest.raises(TooLarge, match=r"(within|nearly) 100 bytes"):
        in_pieces(b"".join(rows), CSV, 100, 16)


def test_a_quote_that_nothing_closes_is_named_by_its_row_and_byte() -> None:
    content = b'id,text\n1,a\n2,"' + b"a\n" * 200
    named = "row 2, which begins at byte 12, has a quote that opens a value, and no quote closes it"
    for limit in (100, 400):  # within a piece, and at the end of the file
        with pytest.raises(TooLarge, match=named):
            in_pieces(content, CSV, limit, 16)


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ({}, b'"a\\"\n",b\n'),
        ({}, b'"a""\n",b\n'),
        ({}, b'"a\\\\",b\n'),
        ({}, b'"a\\\\\\"\n",b\n'),
        ({"escape": '"'}, b'"a\\","\nb"\n'),
        ({"escape": ""}, b'"a\\","\nb"\n'),
        ({"quote": "'"}, b"'a\n''','\"'\n"),
        ({"quote": "'", "escape": "^"}, b"'a\n^'',\"\n"),
        ({"quote": ""}, b'6" pipe\n'),
        ({"quote": "", "escape": ""}, b'6" pipe\\\n'),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 64])
def test_quotes_and_escapes_may_stand_where_a_chunk_ends(
    shape: dict[str, str], row: bytes, chunk: int
) -> None:
    content = row * 40
    for make in (in_pieces,):
        uploaded = make(content, CSV | shape, 10 * len(row), chunk)
        assert len(uploaded) > 3
        # The first row is the header.
        assert all(len(one) % len(row) == 0 for one in uploaded)
        assert sum(map(len, uploaded)) == len(content) + (len(uploaded) - 1) * len(row)


@pytest.mark.parametrize("name", ["quote", "escape"])
def test_a_mark_of_several_bytes_cannot_be_followed(name: str) -> None:
    """Adobe documents single characters; of these, some are several bytes of UTF-8."""
    content = b"a,b\n" + "§1§,2\n".encode() * 40
    with pytest.raises(TooLarge, match="cannot be split"):
        in_pieces(content, CSV | {name: "§"}, 60, 16)
    # But as one file it goes.
    assert in_pieces(content, CSV | {name: "§"}, 1000, 16) == [content]


def test_a_mark_is_of_the_file_s_character_set() -> None:
    shape = CSV | {"quote": "§", "charset": "ISO-8859-1"}
    row = "§a\nb§,2\n".encode("latin-1")
    uploaded = in_pieces(row * 40, shape, 80, 16)
    assert all(len(one) % len(row) == 0 for one in uploaded)


# ---- Files that go up as they are, or not at all


@pytest.mark.parametrize("shape", [PARQUET, ARRAY])
def test_what_has_no_rows_cannot_be_cut(shape: dict[str, Any]) -> None:
    assert not has_rows(shape)
    content = b"[{}]" * 25
    assert in_pieces(content, shape, 100, 16) == [content]
    with pytest.raises(TooLarge, match="more than 99 bytes, the most that AEP takes"):
        in_pieces(content, shape, 99, 16)


@pytest.mark.parametrize("shape", [JSON, CSV, ARRAY, PARQUET])
@pytest.mark.parametrize("size", [1, 99, 100])
def test_what_is_small_enough_is_not_even_read(shape: dict[str, Any], size: int) -> None:
    def opened(start: int, end: int) -> IO[bytes]:
        raise AssertionError("not to be read")

    assert cut(arrival(size), shape, 100, opened) is None
    assert cut(arrival(10**12, "in/a.csv.GZ"), shape, 100, opened) is None


def test_what_storage_says_is_passed_on() -> None:
    def opened(start: int, end: int) -> IO[bytes]:
        raise StorageUnavailable("S3 answered 503")

    for shape in (JSON, CSV):
        with pytest.raises(StorageUnavailable):
            cut(arrival(200), shape, 100, opened)


def test_only_the_neighbourhood_of_cuts_is_read_of_json() -> None:
    """A hundred gigabytes are cut in seconds."""
    read: list[int] = []
    row = b'{"a": "%s"}\n' % (b"x" * 1000)

    def opened(start: int, end: int) -> IO[bytes]:
        read.append(end - start)
        first, last = start // len(row), -(-end // len(row))
        some = row * (last - first)
        return io.BytesIO(some[start - first * len(row) :][: end - start])

    size = 10**11 // len(row) * len(row)
    made = cut(arrival(size), JSON, 2**28, opened)
    assert made is not None
    assert len(made.ends) == len(read) + 1 == -(-size // 2**28)
    assert sum(read) == len(read) * module.CHUNK
    assert all(end % len(row) == 0 for end in made.ends)


def test_the_true_sizes() -> None:
    """A megabyte a chunk, as it is deployed with the smallest FileMegabytes."""
    row = '1,"é\n""€""",\'x\'\r\n'.encode()
    content = b"id,text,more\r\n" + row * 200_000
    limit = 2**20
    file = arrival(len(content))
    made = cut(file, CSV, limit, reader(content))
    assert made is not None
    assert made.header == 14
    sizes = [piece.size for piece in pieces([file], {0: made})]
    # A quarter of the limit is read at a time, so up to that much room is left.
    assert all(limit * 3 // 4 - len(row) < size <= limit for size in sizes[:-1])
    assert all((end - 14) % len(row) == 0 for end in made.ends)


# ---- Names

KEYS = st.text(min_size=1, max_size=100) | st.sampled_from(
    ["in/.gz", "in/a", "in/", "in/a.b.c.json.GZ", "in/.json", "é/😀.csv", "a" * 200 + ".csv"]
)
VERSIONS = st.builds(
    Arrival,
    st.sampled_from(["landing", "other"]),
    KEYS,
    st.sampled_from([None, "v1", "v2"]),
    st.sampled_from(["e1", "e2"]),
    st.sampled_from([None, "0061", "0062"]),
    st.just(100),
    st.just(0),
)


@given(st.lists(VERSIONS, unique_by=lambda a: (a.bucket, a.key, a.version), max_size=6))
def test_names_are_unique_and_stable_and_safe_in_a_url(files: list[Arrival]) -> None:
    cuts = {
        n: Cut((30, 60, 100), 5)
        for n, file in enumerate(files)
        if not file.key.lower().endswith(".gz")
    }
    found = pieces(files, cuts)
    assert [piece.number for piece in found] == list(range(len(found)))
    names = [piece.path(number) for piece in found for number in range(3 if piece.whole else 1)]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[0-9A-Za-z._-]{1,160}", name)
        assert quote(name, safe="") == name
        assert name not in {".", ".."}
    assert pieces(files, cuts) == found
    for piece in found:
        if not piece.whole:  # whose bytes they are, and which
            assert piece.path().startswith(f"{piece.file.path.split('-')[0]}-")


@pytest.mark.parametrize(
    ("key", "number", "name"),
    [
        ("in/a.json", 0, "a.json"),
        ("in/a.json.gz", 0, "a.json"),
        ("in/a.json.GZ", 2, "a-00002.json"),
        ("in/.gz", 0, ""),
        ("in/part", 0, "part"),
        ("in/part.gz", 1, "part-00001"),
    ],
)
def test_the_name_says_what_is_in_it(key: str, number: int, name: str) -> None:
    [piece] = pieces([arrival(100, key)], {})
    prefix, _, rest = piece.path(number).partition("-")
    assert re.fullmatch("[0-9a-f]{32}", prefix)
    assert rest == name


def test_pieces_of_many_files_are_numbered_through() -> None:
    files = [arrival(100, f"in/{name}") for name in ("a.csv", "b.csv.gz", "c.csv")]
    found = pieces(files, {2: Cut((40, 100), 7)})
    assert [(p.number, p.file.key, p.start, p.end, p.header, p.size) for p in found] == [
        (0, "in/a.csv", 0, 100, 0, 100),
        (1, "in/b.csv.gz", 0, 100, 0, 100),
        (2, "in/c.csv", 0, 40, 0, 40),
        (3, "in/c.csv", 40, 100, 7, 67),
    ]
    assert [piece.path()[33:] for piece in found] == [
        "a.csv",
        "b.csv",
        "c-0-40.csv",
        "c-40-100.csv",
    ]


def test_a_cut_into_one_is_the_file() -> None:
    file = arrival(100)
    [piece] = pieces([file], {0: Cut((100,), 7)})
    assert piece == Piece(0, file, 0, 100)
    assert piece.path() == file.path
    assert replace(piece, end=99).path() != file.path
