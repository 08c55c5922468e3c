"""From the first bytes: what is evidently another format is rejected, all else goes on as it is."""

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from aep_intake.content.sniff import BEGINNING, sniff
from aep_intake.model.errors import FormatMismatch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from local.stack import ROOT
from tests.examples import examples


def gzipped(content: bytes) -> bytes:
    """Without the time of day, which would be in the names of the tests."""
    return gzip.compress(content, mtime=0)


URI = "s3://landing/in/a.json"
JSON = {"format": "json"}
LINES = {"format": "json", "isMultiLineJson": False}
DOCUMENT = {"format": "json", "isMultiLineJson": True}
CSV = {"format": "csv"}
PARQUET = {"format": "parquet"}
SAMPLES = ROOT / "local" / "samples"
PARQUET_FILE = (SAMPLES / "products.parquet").read_bytes()
BOM = b"\xef\xbb\xbf"
UTF16 = '{"a": 1}\n'.encode("utf-16")
XLSX = b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml"
AVRO = b"Obj\x01\x04\x14avro.codec\x08null"
ORC = b"ORC\x08\x00\x10\x05"

hostile = settings(
    deadline=None,
    derandomize=True,
    max_examples=examples(200),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def cut(content: bytes, shape: Mapping[str, Any], most: int = BEGINNING) -> dict[str, Any]:
    """As the caller does: the first bytes, and whether they are all."""
    return sniff(content[:most], len(content) <= most, shape, URI)


def told(content: bytes, shape: Mapping[str, Any], *, whole: bool = True) -> str:
    with pytest.raises(FormatMismatch) as raised:
        sniff(content, whole, shape, URI)
    return raised.value.detail


# JSON


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": 1}\n{"a": 2}\n', False),
        (b'{"a": 1}\r\n{"a": 2}\r\n', False),
        (b'{"a": 1}\r{"a": 2}\r', False),
        (b'\n\n  {"a": {"b": [1, "}\\n{"]}} \t\n\n{"a": 2}', False),
        (BOM + b'{"a": 1}\n{"a": 2}\n', False),
        (b'{"a": 1}\n{"a": 2', False),
        (b'{"a": 1}\nbroken\n', False),  # the row is AEP's to judge, the format is not
        ('{"a": "ü\u2028\x85"}\n{"a": 2}'.encode(), False),  # line ends to Python, not to JSON
        (b'{"a": ' + b"9" * 5000 + b"}\n{}\n", False),
        (b'[{"a": 1}, {"a": 2}]', True),
        (b"[]", True),
        (b"[\n]\n", True),
        (b"[", True),
        (b'\r\n [\r\n  {"a": 1},\r\n  {"a": 2}\r\n]\r\n', True),
        (BOM + b'[{"a": 1}]', True),
        (b'[{"a": 1}, {"broken', True),
        (b'[{"a": ' + b"[" * 60_000, True),
        (b'{\n  "a": 1\n}\n', True),
        (b'{"a": [\r\n1,\r\n2]}', True),
    ],
)
def test_json_is_lines_or_a_document(content: bytes, found: bool) -> None:
    plain, packed = content, gzipped(content)
    for bytes_ in (plain, packed):
        assert sniff(bytes_, True, JSON, URI) == (DOCUMENT if found else JSON)
        assert sniff(bytes_, True, DOCUMENT if found else LINES, URI) == (
            DOCUMENT if found else LINES
        )
        detail = told(bytes_, LINES if found else DOCUMENT)
        assert detail.startswith(f"'{URI}' holds ")
        assert f"JSON with isMultiLineJson {str(not found).lower()}" in detail
        assert f"set isMultiLineJson to {str(found).lower()}" in detail


@pytest.mark.parametrize("shape", [JSON, LINES, DOCUMENT])
@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (b'{"a": 1}', True),  # one row is both
        (b'{"a": 1}\r\n \n', True),
        (b'{"a": 1}\n', False),
        (b'{"a": 1}', False),
        (b'{"a": "' + b"x" * 60_000, False),  # a first row longer than what is looked at
        ('{"a": "ü'.encode()[:-1], False),
        (b'{"a": "\\u00', False),
        (b"{", True),
        (b"{", False),
        (b'{"a": 1, }\n{"a": 2}\n', True),
        (b'{"a": 1, }\n{"a": 2}\n', False),
        (b"{broken}\n{}\n", True),
        (b'{"a": ' * 10_000, True),
        (b'{"a":\n' * 10_000, False),
        (b" \n" * 32_000, False),
        (b"", False),
        (BOM[:2], False),
        (b"\x1f\x8b", False),
        (gzipped(b'{"a": 1}\n{"a": 2}\n' * 99)[:12], False),
        (b'\xff{"a": 1}\n'[1:] + b"\xff\xfe", False),  # what is no UTF-8 later on
    ],
)
def test_what_is_both_or_cannot_be_told_stays(
    content: bytes, whole: bool, shape: dict[str, Any]
) -> None:
    assert sniff(content, whole, shape, URI) == shape


@pytest.mark.parametrize("shape", [JSON, LINES, DOCUMENT])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"id,name\n1,Ann\n", "begins neither with { nor with ["),
        (b'"a"\n', "begins neither with { nor with ["),
        (b"[2026-11-23 10:00:00] INFO started\n", "no JSON objects"),
        (b"[1, 2]", "no JSON objects"),
        (b"[[1, 2]]", "no JSON objects"),
        (b'{"a": 1}, {"a": 2}', "several JSON documents"),
        (b'{"a": 1},\n{"a": 2}\n', "several JSON documents"),
        (b'{"a": 1}{"a": 2}\n', "several JSON documents"),
        (b'{\n"a": 1}\n{\n"a": 2}\n', "several JSON documents"),
        (b'[{"a": 1}]\n[{"a": 2}]\n', "several JSON documents"),
        (PARQUET_FILE, "Parquet"),
        (b"PARE\x10\x00\x00\x00", "encrypted Parquet"),
        (ORC, "ORC"),
        (AVRO, "Avro"),
        (XLSX, "zip archive (as .xlsx is)"),
        (b'<?xml version="1.0"?>', "XML or HTML"),
        (b"\n<!DOCTYPE html><html>", "XML or HTML"),
        (BOM + b"<HTML>", "XML or HTML"),
        (UTF16, "UTF-16"),
        ("{}".encode("utf-16-be"), "NUL"),
        ("{}".encode("utf-32"), "UTF-32"),
        (b"\x00\x00\xfe\xff" + "{}".encode("utf-32-be"), "UTF-32"),
        (b'{"a": "\x00"}\n', "NUL"),
        (gzipped(gzipped(b"{}")), "gzip of gzip"),
        (gzipped(PARQUET_FILE), "gzip of Parquet"),
        (gzipped(b"id,name\n"), "gzip of text that begins neither"),
        (b"\x1f\x8bno gzip at all", "gzip that is damaged"),
        (gzipped(b"{}\n")[:-1], "gzip that breaks off"),
        (gzipped(b"{}\n")[:-8] + b"\0" * 8, "gzip that is damaged"),
    ],
)
def test_what_is_no_json_is_named(content: bytes, found: str, shape: dict[str, Any]) -> None:
    detail = told(content, shape)
    assert found in detail
    assert "but its inputFormat says JSON in UTF-8; " in detail


# CSV


@pytest.mark.parametrize(
    "content",
    [
        b"id,name\r\n1,Ann\r\n",
        BOM + b"id,name\n1,Ann\n",
        b"id",
        "id;größe\n1;ü\n".encode("latin-1"),
        b"id\x01name\n",  # Hive's own delimiter
        b"PARENT_ID,PARTNER\n1,2\n",
        b"PAR1,PAR2\n72,71\n",
        b"ORCID,name\n",
        b"PK,name\n",
        b"[id],[name]\n1,Ann\n",
        b"{id}\n1\n",
        b'{"a": 1}|x\n',
        b'[{"a": 1}];x\n',
        b"{}\tx\n",
        b"{" * 40_000,
        b"[" * 40_000,
        b"<b>,name\n",
        b"<xml>\n",
        b'"multi\nline",x\n',
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_csv_may_begin_with_almost_anything(content: bytes, whole: bool) -> None:
    shape = CSV | {"delimiter": ";"}
    assert sniff(content, whole, shape, URI) == shape
    assert sniff(gzipped(content), True, shape, URI) == shape


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": 1}\n{"a": 2}\n', "JSON"),
        (b'{"a": 1}', "JSON"),
        (b'{"a": 1} \t\r\n', "JSON"),
        (b'[{"a": 1}, {"a": 2}]\n', "JSON"),
        (b'{\n  "a": 1\n}\n', "JSON"),
        (BOM + b' [\r\n{"a": 1}]', "JSON"),
        (gzipped(b"[]"), "gzip of JSON"),
        (PARQUET_FILE, "Parquet"),
        (gzipped(PARQUET_FILE), "gzip of Parquet"),
        (ORC, "ORC"),
        (AVRO, "Avro"),
        (XLSX, "zip archive"),
        (b"<!doctype HTML>", "XML or HTML"),
        (UTF16, "UTF-16"),
        ("id,name\n".encode("utf-32"), "UTF-32"),
        (b"id,name\n\x00", "NUL"),
    ],
)
def test_what_is_no_csv_is_named(content: bytes, found: str) -> None:
    detail = told(content, CSV)
    assert found in detail
    assert "but its inputFormat says CSV in UTF-8; write it as CSV" in detail


@pytest.mark.parametrize(
    "content", [b'[{"a": "x', b'[\n {"a\\"": 1, "b": 2},\n {"a"', b'{"a": {"b": "', b'{"a" :']
)
def test_json_longer_than_the_beginning_is_no_csv(content: bytes) -> None:
    assert "holds JSON" in told(content, CSV, whole=False)
    assert sniff(content, True, CSV, URI) == CSV  # broken; who knows what it is


# Parquet


def test_parquet_begins_with_its_mark() -> None:
    assert sniff(PARQUET_FILE, True, PARQUET, URI) == PARQUET
    assert sniff(b"PAR1", False, PARQUET, URI) == PARQUET


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no Parquet"),
        (b"PARENT_ID,name\n", "no Parquet"),
        (b'{"a": 1}\n', "no Parquet"),
        (b"PARE\x10\x00\x00\x00", "encrypted Parquet, for which AEP has no key"),
        (ORC, "ORC"),
        (AVRO, "Avro"),
        (XLSX, "zip archive"),
        (b"<html>", "XML or HTML"),
        (
            gzipped(PARQUET_FILE),
            "gzip, but its inputFormat says Parquet; leave out the gzip",
        ),
    ],
)
def test_what_is_no_parquet_is_named(content: bytes, found: str) -> None:
    detail = told(content, PARQUET)
    assert found in detail
    assert ("write it as Parquet" in detail) is ("leave out the gzip" not in found)


# All of them


@pytest.mark.parametrize("shape", [JSON, CSV])
@pytest.mark.parametrize("content", [b"", b" \r\n\t\n", BOM, BOM + b"\n", b"\x0b"])
def test_a_file_without_rows_is_none(content: bytes, shape: dict[str, Any]) -> None:
    for bytes_ in (content, gzipped(content)):
        assert "no row at all" in told(bytes_, shape)


def test_formats_we_do_not_know_are_left_alone() -> None:
    for shape in ({"format": "avro"}, {"format": None}, {}):
        assert sniff(UTF16, True, shape, URI) == shape


def test_the_format_may_be_written_in_capitals_and_nothing_of_it_is_lost() -> None:
    shape = {"format": "JSON", "charset": "UTF-8"}
    assert sniff(b"[]", True, shape, URI) == shape | {"isMultiLineJson": True}
    assert shape == {"format": "JSON", "charset": "UTF-8"}


def test_a_uri_cannot_forge_a_line_of_a_log() -> None:
    with pytest.raises(FormatMismatch) as raised:
        sniff(b"", True, CSV, "s3://b/a\nINFO all is well")
    assert "\n" not in raised.value.detail


def test_the_samples_are_what_their_routes_say() -> None:
    assert cut((SAMPLES / "members.jsonl").read_bytes(), JSON) == JSON
    assert cut((SAMPLES / "web-events.csv").read_bytes(), CSV) == CSV


# gzip


def test_gzip_files_behind_one_another_are_one_file() -> None:
    parts = gzipped(b"") + gzipped(b'{"a": 1}\n') + gzipped(b'{"a": 2}\n')
    assert "JSON Lines" in told(parts, DOCUMENT)
    assert "JSON Lines" in told(parts + b"\0" * 512, DOCUMENT)  # as a tape pads it
    assert sniff(parts[:-4], False, LINES, URI) == LINES
    assert "breaks off" in told(parts[:-4], LINES)


def test_gzip_that_the_beginning_cuts_off_is_looked_into() -> None:
    rows = b"".join(b'{"a": "%x"}\n' % hash(n) for n in range(100_000))
    packed = gzipped(rows)
    assert len(packed) > BEGINNING
    assert "JSON Lines" in told(packed[:BEGINNING], DOCUMENT, whole=False)
    assert cut(gzipped(b"[" + rows.replace(b"\n", b",\n")), JSON) == DOCUMENT


def test_what_unpacks_to_more_than_the_beginning_is_not_all_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_out = 0

    class Counting:
        def __init__(self, wbits: int) -> None:
            self.inner = zlib.decompressobj(wbits=wbits)

        def decompress(self, content: bytes, most: int) -> bytes:
            nonlocal given_out
            more = self.inner.decompress(content, most)
            given_out += len(more)
            return more

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    monkeypatch.setattr("aep_intake.content.sniff.zlib", _Zlib(Counting))
    bomb = gzipped(b" " * 50_000_000)
    assert len(bomb) <= BEGINNING
    assert sniff(bomb, True, JSON, URI) == JSON  # blank so far, and who knows what comes
    assert given_out == BEGINNING
    given_out = 0
    full = gzipped(b" " * BEGINNING)
    assert sniff(full + bomb, True, JSON, URI) == JSON
    assert sniff(full + gzipped(b"[]"), True, JSON, URI) == JSON
    assert given_out == 2 * BEGINNING
    given_out = 0
    assert "no row" in told(gzipped(b"") * 3000, JSON)
    assert sniff(gzipped(b" " * 999) * 500, True, CSV, URI) == CSV
    assert given_out == BEGINNING


class _Zlib:
    error = zlib.error

    def __init__(self, decompressobj: Any) -> None:
        self.decompressobj = decompressobj


@pytest.mark.parametrize("size", [BEGINNING - 1, BEGINNING, BEGINNING + 1])
def test_the_end_of_what_is_unpacked_may_be_the_end_of_the_file(size: int) -> None:
    packed = gzipped(b'{"a": 1}' + b"\n" * (size - 8))
    assert sniff(packed, True, LINES, URI) == LINES
    assert sniff(packed, True, DOCUMENT, URI) == DOCUMENT


# Whatever comes

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["\n", "\r\n", "{", "}", "[", "]", '"', "\\", "\u2028", "\x85", "ü", "📈"]),
)
values = st.recursive(
    leaves,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=9), children, max_size=4)
    ),
    max_leaves=12,
)
rows = st.dictionaries(st.text(max_size=9), values, max_size=5)
indents: st.SearchStrategy[int | str] = st.sampled_from([0, 2, "\t"])
ends = st.sampled_from(["\n", "\r\n", "\r"])
punctuation = st.text('{}[]",:\\\n\r a1', max_size=40).map(str.encode)
shapes = st.sampled_from([JSON, LINES, DOCUMENT, CSV, PARQUET, {"format": "other"}])
packings = st.sampled_from([bytes, gzipped])
before = st.sampled_from([b"", BOM, b"\n", BOM + b" \r\n"])
marks = st.sampled_from(
    [b"", b"PAR1", b"\x1f\x8b", b"\x1f\x8b\x08", b"[", b"{", b'{"a":', b"\xff\xfe", BOM, b"\x00"]
)


@settings(hostile, max_examples=examples(1000))
@given(marks, st.binary(max_size=200) | punctuation, st.booleans(), shapes, packings)
@example(b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x00", b"\xff\xff", True, JSON, bytes)
def test_any_bytes_are_taken_or_rejected(
    mark: bytes, more: bytes, whole: bool, shape: dict[str, Any], packed: Any
) -> None:
    content = packed(mark + more)
    for end in {len(content), len(content) // 2, max(len(content) - 1, 0)}:
        try:
            found = sniff(content[:end], whole, shape, URI)
        except FormatMismatch as error:
            assert error.reason == "format-mismatch"
            assert URI in error.detail
        else:
            assert found in (shape, shape | {"isMultiLineJson": True})
            assert shape in (found, JSON)


@hostile
@given(before, st.lists(rows, min_size=1, max_size=6), ends, packings, st.data())
def test_json_lines_are_never_a_document(
    start: bytes, some: list[Any], end: str, packed: Any, data: st.DataObject
) -> None:
    ascii_only = data.draw(st.booleans())
    text = end.join(json.dumps(row, ensure_ascii=ascii_only) for row in some) + end
    content = start + text.encode(errors="surrogatepass")
    most = data.draw(st.integers(0, len(content)))
    for shape in (JSON, LINES):
        assert cut(content, shape, most) == shape
        assert cut(packed(content), shape) == shape
    if len(some) > 1:
        assert "JSON Lines" in told(packed(content), DOCUMENT)
    assert "JSON" in told(packed(content), CSV)


@hostile
@given(before, st.lists(rows, max_size=6), indents | st.none(), packings, st.data())
def test_a_list_is_always_a_document(
    start: bytes, some: list[Any], indent: Any, packed: Any, data: st.DataObject
) -> None:
    text = json.dumps(some, indent=indent, ensure_ascii=data.draw(st.booleans()))
    content = start + text.encode(errors="surrogatepass")
    most = data.draw(st.integers(len(start) + 1, len(content)))
    assert cut(content, JSON, most) == DOCUMENT
    assert cut(content, DOCUMENT, most) == DOCUMENT
    assert cut(packed(content), JSON) == DOCUMENT
    assert "one JSON document" in told(packed(content), LINES)
    assert "JSON" in told(packed(content), CSV)


@hostile
@given(before, rows.filter(bool), ends, packings, st.data())
def test_an_object_over_several_lines_is_a_document_wherever_it_is_cut(
    start: bytes, row: Any, end: str, packed: Any, data: st.DataObject
) -> None:
    text = json.dumps(row, indent=data.draw(indents)).replace("\n", end)
    content = start + text.encode()
    first_line = len(start) + 1 + len(end)
    most = data.draw(st.integers(first_line, len(content)))
    assert cut(content, JSON, most) == DOCUMENT
    assert cut(packed(content), JSON) == DOCUMENT
    assert "one JSON document" in told(packed(content), LINES)
    assert "JSON" in told(packed(content), CSV)
    twice = content + end.encode() + text.encode()
    assert "several JSON documents" in told(packed(twice), JSON)
