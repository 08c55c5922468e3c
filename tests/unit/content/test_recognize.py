"""From the first bytes: what a file is, and what is evidently not what its route says."""

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from aep_intake.content.beginning import BEGINNING, Content
from aep_intake.content.recognize import recognize
from aep_intake.model.errors import EmptyObject, FormatMismatch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from local.stack import ROOT
from tests.examples import examples


def gzipped(content: bytes) -> bytes:
    """Without the time of day, which would be in the names of the tests."""
    return gzip.compress(content, mtime=0)


URI = "s3://landing/in/a"
JSON = {"format": "json"}
CSV = {"format": "csv"}
SEMICOLON = CSV | {"delimiter": ";"}
LATIN = SEMICOLON | {"charset": "ISO-8859-1"}
WINDOWS = SEMICOLON | {"charset": "Windows-1252"}
WIDE = CSV | {"charset": "UTF-16"}
ASCII = CSV | {"charset": "US-ASCII"}
PARQUET = {"format": "parquet"}
SAMPLES = ROOT / "local" / "samples"
PARQUET_FILE = (SAMPLES / "products.parquet").read_bytes()
BOM = b"\xef\xbb\xbf"
UTF16 = "id,name\r\n1,Ann\r\n".encode("utf-16")
XLSX = b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml"
AVRO = b"Obj\x01\x04\x14avro.codec\x08null"
ORC = b"ORC\x08\x00\x10\x05"
BZIP2 = b"BZh91AY&SY\x00\x00"
UMLAUTS = "id;größe;straße\n1;äöü;ß\n"

hostile = settings(
    deadline=None,
    derandomize=True,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def seen(content: bytes, shape: Mapping[str, Any], most: int = BEGINNING) -> Content:
    """As callers do: the first bytes, and whether they are all."""
    return recognize(content[:most], len(content) <= most, shape, URI)


def told(content: bytes, shape: Mapping[str, Any], *, whole: bool = True) -> str:
    with pytest.raises(FormatMismatch) as raised:
        recognize(content, whole, shape, URI)
    assert raised.value.detail.startswith(f"{URI!r} holds ")
    return raised.value.detail


# JSON


@pytest.mark.parametrize("packed", [bytes, gzipped])
@pytest.mark.parametrize(
    ("content", "layout", "rows", "broken"),
    [
        (b'{"a": 1}\n{"a": 2}\n', "lines", 2, 0),
        (b'{"a": 1}\r\n{"a": 2}\r\n', "lines", 2, 0),
        (b'\n\n  {"a": {"b": [1, "}\\n{"]}} \t\n\n{"a": 2}', "lines", 2, 0),
        (BOM + b'{"a": 1}\n{"a": 2}\n', "lines", 2, 0),
        (b'{"a": 1}\n{"a": 2', "lines", 2, 1),
        (b'{"a": 1}\nbroken\n', "lines", 2, 1),
        (b'{"a": 1}\n[1]\n2\n', "lines", 3, 2),
        ('{"a": "ü\u2028\x85"}\n{"a": 2}'.encode(), "lines", 2, 0),  # ends of lines to Python alone
        (b'{"a": ' + b"9" * 5000 + b"}\n{}\n", "lines", 2, 0),
        (b'{"a": 1}', "", 1, 0),  # one row is lines, and a document
        (b'{"a": 1}\r\n \n', "", 1, 0),
        (b"{broken}\n{}\n", "lines", 2, 1),
        (b'[{"a": 1}, {"a": 2}]', "array", 2, 0),
        (b'[{"a": 1}, 2]', "array", 2, 1),
        (b"[]", "array", 0, 0),
        (b"[\n]\n", "array", 0, 0),
        (b'\r\n [\r\n  {"a": 1},\r\n  {"a": 2}\r\n]\r\n', "array", 2, 0),
        (BOM + b'[{"a": 1}]', "array", 1, 0),
        (b'{\n  "a": 1\n}\n', "document", 1, 0),
        (b'{"a": [\r\n1,\r\n2]}', "document", 1, 0),
        (b'{"a": 1}{"a": 2}\n', "several", 2, 0),  # R20, as Firehose writes
        (b'{"a": 1}{"a": 2}{"a": 3}', "several", 3, 0),
        (b'{"a": 1}\n{"a": 2} {"a": 3}\n', "several", 3, 0),
        (b'{\n"a": 1\n}\n{\n"a": 2}\n', "several", 2, 0),
        (b'{"a": 1},\n{"a": 2}\n', "several", 2, 0),
        (b'[{"a": 1}]\n[{"a": 2}]\n', "several", 2, 0),
        (b'[{"a": 1}, {"a": 2},]', "several", 2, 0),
        (b'{"a": 1}\n[{"a": 2}]\n', "several", 2, 0),
        (b'{"a": 1}\r{"a": 2}\r', "several", 2, 0),
        (b'{"a": 1}\r\n{"a": 2}\r\r\n{"a": 3}', "lines", 3, 0),
        (b'\x1e{"a": 1}\n\x1e{"a": 2}\n', "several", 2, 0),  # RFC 7464
        (b'{"a": 1}\n' + BOM + b'{"a": 2}\n', "several", 2, 0),
        (BOM + BOM + b'{"a": 1}\n', "several", 1, 0),
    ],
)
def test_json_has_a_layout_and_rows(
    content: bytes, layout: str, rows: int, broken: int, packed: Any
) -> None:
    found = seen(packed(content), JSON)
    assert (found.layout, found.rows, found.broken) == (layout, rows, broken)
    assert bool(found.fault) is bool(broken)
    assert (found.charset, found.bom) == ("utf-8", 3 if content.startswith(BOM) else 0)
    assert found.compression == ("" if packed is bytes else "gzip")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"a": 1}\n\n{"a" 2}\n', "row 2: it is not JSON: Expecting ':' delimiter (character 6)"),
        (b'{"a": 1}\n{"a": 2}, \n"x"\n', "row 3: it is not a JSON object"),
        (b'{"a": 1}\n"x"\n', "row 2: it is not a JSON object"),
        (b'{"a": 1}\n{"a": NaN}\n', "row 2: it is not JSON: NaN is not a number"),
        (b'[{"a": 1},\n{"a": secret}]', "row 2: it is not JSON: Expecting value (character 7)"),
    ],
)
def test_a_broken_row_is_named_by_its_place_and_not_its_values(content: bytes, fault: str) -> None:
    assert seen(content, JSON).fault == fault


@pytest.mark.parametrize(
    "content",
    [
        b"[",
        b'[{"a": 1}, {"broken',
        b'[{"a": ' + b"[" * 60_000,
        b'{"a":' + b"[" * 60_000,
        b'{\n"a": 1,\n"b": [\n{}\n]\n',
    ],
)
def test_what_breaks_off_is_told(content: bytes) -> None:
    with pytest.raises(FormatMismatch, match=r"breaks off: .* has no end. Send it again"):
        recognize(content, True, JSON, URI)


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n',
        b'{"a": 1}',
        b'{"a": "' + b"x" * 60_000,  # a first row longer than what is looked at
        '{"a": "ü'.encode()[:-1],
        b'{"a": "\\u00',
        b"{",
        b" \n" * 32_000,
        b"",
        BOM[:2],
        b"\x1f\x8b",
        gzipped(b'{"a": 1}\n{"a": 2}\n' * 99)[:12],
    ],
)
def test_what_the_end_of_the_first_bytes_cuts_off_is_not_judged(content: bytes) -> None:
    found = recognize(content, False, JSON, URI)
    assert (found.layout, found.broken, found.all_rows) == ("", 0, False)


@pytest.mark.parametrize(
    ("content", "layout", "rows"),
    [
        (b'{"a": 1}' * 9000, "several", 8192),  # R20, as Firehose writes, on one line
        (b'{"a": 1}\r' * 9000, "several", 7281),
        (b'{"a":\n' * 10_000, "document", 0),
        (b'{\n"a": 1,\n"b": "', "document", 0),
        (b'{"a": 1}\n' * 9000, "lines", 7281),
        (b'{"a" 1}\n' * 9000, "lines", 8192),
        (b"[" + b'{"a": 1},' * 9, "array", 9),
    ],
)
def test_a_layout_shows_in_the_first_bytes(content: bytes, layout: str, rows: int) -> None:
    found = recognize(content[:BEGINNING], False, JSON, URI)
    assert (found.layout, found.rows) == (layout, rows)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"id,name\n1,Ann\n", "begins neither with { nor with ["),
        (b'"a"\n', "begins neither with { nor with ["),
        (b"[2026-11-23 10:00:00] INFO started\n", "not JSON objects"),
        (b"[1, 2]", "not JSON objects"),
        (b"[[1, 2]]", "not JSON objects"),
        (b'{"a": "\x00"}\n', "NUL"),
        (b'{"a": "\xfc"}\n', "looks like ISO-8859-1 (Latin-1) (at offset 7, 0xFC)"),
        (b'{"a": "\x80"}\n', "looks like Windows-1252 (at offset 7, 0x80)"),
        (gzipped(b"id,name\n"), "gzip of text that begins neither"),
    ],
)
def test_what_is_no_json_is_named(content: bytes, found: str) -> None:
    detail = told(content, JSON)
    assert found in detail
    assert "but its inputFormat says JSON in UTF-8; " in detail


# CSV


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"id;name\r\n1;Ann\r\n", 1),
        (b"id;name\r1;Ann\r2;Bob", 2),
        (BOM + b"id;name\n1;Ann\n", 1),
        (b"sep=;\r\nid;name\r\n1;Ann\r\n", 1),  # R32
        (b"id;name\n\n1;Ann\n\n", 1),
        (b'id;name\n1;"Ann\nor Bob"\n2;12" pipe\n', 2),
        (b"id;name\n", 0),  # R30
        (b"id\x01name\n1\x012\n", 1),  # Hive's own delimiter
        (b"PARENT_ID;PARTNER\n1;2\n", 1),
        (b"PAR1;PAR2\n72;71\n", 1),
        (b"ORCID;name\n1;2\n", 1),
        (b"PK;name\n1;2\n", 1),
        (b"BZh;name\n1;2\n", 1),
        (b"[id];[name]\n1;Ann\n", 1),
        (b"{id}\n1\n", 1),
        (b'{"a": 1}|x\n', 0),
        (b'[{"a": 1}];x\n', 0),
        (b"{}\tx\n", 0),
        (b"{" * 40_000, 0),
        (b"<b>;name\n1;2\n", 1),
        (b"<xml>\n", 0),
        (b'"multi\nline";x\n', 0),
        (b"name,first\nx\nAnn,B\n", 2),  # not the same columns in all rows
        (b"id\n1,2\n", 1),
    ],
)
def test_csv_may_begin_with_almost_anything(content: bytes, rows: int) -> None:
    for bytes_ in (content, gzipped(content)):
        found = seen(bytes_, SEMICOLON)
        assert (found.rows, found.all_rows, found.charset) == (rows, True, "utf-8")
    assert not recognize(content, False, SEMICOLON, URI).all_rows


@pytest.mark.parametrize(
    ("content", "shape", "found", "remedy"),
    [
        (b"id;name\n1;Ann\n", CSV, "semicolons", 'delimiter to ";"'),
        (b"id\tname\n1\tAnn\n", SEMICOLON, "tabs", r'delimiter to "\t"'),
        (b"id|name|x\n1|Ann|2\n", CSV, "vertical bars", 'delimiter to "|"'),
        (b"id,name\n" + b"1,Ann\n" * 9 + b"ragged\n", SEMICOLON, "commas", 'delimiter to ","'),
        (b'id;name\n1;"A;\nB"\n', CSV, "semicolons", 'delimiter to ";"'),
    ],
)
def test_another_delimiter_is_named(
    content: bytes, shape: dict[str, Any], found: str, remedy: str
) -> None:
    detail = told(content, shape)
    assert f"holds columns between {found}" in detail
    assert remedy in detail


def test_what_the_upload_would_find_at_once_is_found_before_a_batch_is_spent() -> None:
    """One reader reads CSV here and there, so that both agree."""
    with pytest.raises(FormatMismatch, match="its first line says sep=';'"):
        seen(b"sep=;\r\nid;name\r\n1;Ann\r\n", CSV)
    with pytest.raises(FormatMismatch, match=r"row 1, which .* has a quote that opens a value"):
        seen(b'id,name\n1,"Ann\n2,Bob\n', CSV)
    assert seen(b"id||name\n1||Ann\n", CSV | {"delimiter": "||"}).rows == 1


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (b"id;name\n1;Ann\n", CSV | {"header": False}),
        (b"text\nHello; world\n", CSV),
        (b"a;b,c\n1;2,3\n", CSV),  # two columns by the route's
        (b"id;name\n", CSV),  # no row to compare
        (b"a||b\n1||2;3\n", CSV | {"delimiter": "||"}),
        (b"a\n1\n", CSV | {"quote": "", "escape": ""}),
    ],
)
def test_a_delimiter_that_may_be_right_is_left(content: bytes, shape: dict[str, Any]) -> None:
    assert seen(content, shape).format == "csv"


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a": 2}\n',
        b'{"a": 1} \t\r\n',
        b'[{"a": 1}, {"a": 2}]\n',
        b'{\n  "a": 1\n}\n',
        BOM + b' [\r\n{"a": 1}]',
        gzipped(b"[]"),
    ],
)
def test_json_is_no_csv(content: bytes) -> None:
    assert "JSON, but its inputFormat says CSV in UTF-8; write it as CSV" in told(content, CSV)


@pytest.mark.parametrize(
    "content", [b'[{"a": "x', b'[\n {"a\\"": 1, "b": 2},\n {"a"', b'{"a": {"b": "', b'{"a" :']
)
def test_json_longer_than_the_beginning_is_no_csv(content: bytes) -> None:
    assert "holds JSON" in told(content, CSV, whole=False)
    assert seen(content, CSV)  # broken; who knows what it is


# Charsets


@pytest.mark.parametrize(
    ("content", "shape", "charset", "bom"),
    [
        (UMLAUTS.encode(), SEMICOLON, "utf-8", 0),
        (BOM + UMLAUTS.encode(), SEMICOLON, "utf-8", 3),  # R25
        (UMLAUTS.encode("latin-1"), LATIN, "iso8859-1", 0),
        ("id;€\n1;“x”\n".encode("cp1252"), WINDOWS, "cp1252", 0),
        (UTF16, WIDE, "utf-16-le", 2),
        (UTF16[2:], WIDE, "utf-16-le", 0),
        (b"\xfe\xff" + "a,b\n1,2".encode("utf-16-be"), WIDE, "utf-16-be", 2),
        ("a,b\n1,2".encode("utf-16-be"), WIDE, "utf-16-be", 0),
        ("名,前\n東,京".encode("utf-16-be"), WIDE, "utf-16-be", 0),
        (UTF16, WIDE | {"charset": "UTF-16LE"}, "utf-16-le", 2),
        (b"a,b\n1,2\n", ASCII, "ascii", 0),
        ("É\xa0: É\xab\n".encode("latin-1"), LATIN, "iso8859-1", 0),  # UTF-8 by chance
    ],
)
def test_a_charset_that_the_route_names_is_read(
    content: bytes, shape: dict[str, Any], charset: str, bom: int
) -> None:
    found = seen(content, shape)
    assert (found.charset, found.bom) == (charset, bom)


@pytest.mark.parametrize(
    ("content", "shape", "found", "remedy"),
    [
        (UTF16, CSV, "text in UTF-16, but its inputFormat says CSV in UTF-8", "name it in"),  # R26
        (UTF16[2:], CSV, "text in UTF-16", "or write UTF-8"),
        (UTF16, LATIN, "text in UTF-16, but its inputFormat says CSV in ISO-8859-1", "name it"),
        ('{"a": "x"}'.encode("utf-16-be"), JSON, "text in UTF-16", "or write UTF-8"),
        ("id,name\n".encode("utf-32"), CSV, "text in UTF-32", "write UTF-8"),
        (b"\x00\x00\xfe\xff" + "{}".encode("utf-32-be"), JSON, "text in UTF-32", "write UTF-8"),
        (
            UMLAUTS.encode("latin-1"),
            SEMICOLON,
            "text that looks like ISO-8859-1 (Latin-1) (at offset 5, 0xF6)",
            "name that in inputFormat.charset, or write UTF-8",
        ),
        ("id;€\n".encode("cp1252"), SEMICOLON, "Windows-1252 (at offset 3, 0x80)", "name that"),
        (UMLAUTS.encode(), LATIN, "text in UTF-8", "name it"),
        (BOM + b"id;name\n", LATIN, "text in UTF-8", "name it"),
        (UMLAUTS.encode(), ASCII, "text in UTF-8 (at offset 5, 0xC3)", "name it"),
        (UMLAUTS.encode("latin-1"), ASCII, "looks like ISO-8859-1", "name that"),
        (b"id,name\n1,Ann\n", WIDE, "text in UTF-8", "name it"),
        (b"a\x81b\n", WINDOWS, "bytes that are no such text (at offset 1, 0x81)", "write it as"),
        (b"id,name\n\x00", CSV, "binary data (it has NUL bytes)", "write it as CSV"),
    ],
)
def test_any_other_charset_is_named(
    content: bytes, shape: dict[str, Any], found: str, remedy: str
) -> None:
    detail = told(content, shape)
    assert found in detail
    assert remedy in detail.rpartition("; ")[2]


def test_a_charset_that_nobody_knows_is_told() -> None:
    with pytest.raises(FormatMismatch, match="charset 'EBCDIC-X' is unknown"):
        recognize(b"a", True, CSV | {"charset": "EBCDIC-X"}, URI)


# Parquet, and what is none of the three


def test_parquet_begins_with_its_mark_packed_or_not() -> None:
    assert seen(PARQUET_FILE, PARQUET) == Content("parquet")
    assert seen(gzipped(PARQUET_FILE), PARQUET) == Content("parquet", "gzip")  # R12
    assert recognize(b"PAR1", False, PARQUET, URI).format == "parquet"


@pytest.mark.parametrize("shape", [JSON, CSV, PARQUET])
@pytest.mark.parametrize(
    ("content", "found", "remedy"),
    [
        (b"PARE\x10\x00\x00\x00", "encrypted Parquet, for which AEP has no key", "write it as"),
        (ORC, "ORC", "write it as"),
        (AVRO, "Avro", "write it as"),
        (XLSX, "an Excel workbook (.xlsx)", "export it as CSV"),  # R31, F1
        (b"PK\x03\x04\x14\0a.csv", "a zip archive", "unpack it, or pack its files"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls)", "export it as CSV"),
        (BZIP2, "bzip2", "unpack it, or pack it with gzip"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd", "unpack it, or pack it with gzip"),
        (b"\xfd7zXZ\0", "xz", "unpack it, or pack it with gzip"),
        (b"%PDF-1.7", "PDF", "write it as"),
        (b"-----BEGIN PGP MESSAGE-----\n", "a text that is encrypted or signed", "send what is in"),
        (b"-----BEGIN PKCS7-----\n", "a text that is encrypted or signed", "send what is in it"),
        (b"From: a@b.c\r\nTo: d@e.f\r\n\r\nid,name\r\n", "an e-mail", "send its attachment"),
        (b"Received: from a\n by b;\n\tSat\nsubject: x\n\n", "an e-mail", "send its attachment"),
        (
            b"------Form7MA\r\nContent-Disposition: form-data\r\n\r\nid\r\n",
            "a form of HTTP (multipart/form-data)",
            "send the file that is in it",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nid\n1\n", "an answer of HTTP with its headers", "send its body"),
        (
            b"8;chunk-signature=" + b"0f" * 32 + b"\r\nid\n1\n",
            "the chunks of an upload",
            "upload it",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n",
            "a pointer of Git LFS",
            "send",
        ),
        ("id,name\n1,Ann\n2,Zoe\n".encode("cp500"), "text in EBCDIC", "transfer it as text"),
        (b'<?xml version="1.0"?>', "XML or HTML, perhaps an error page", "write it as"),
        (b"\n<!DOCTYPE html><html>", "XML or HTML", "write it as"),
        (BOM + b"<HTML>", "XML or HTML", "write it as"),
        (gzipped(gzipped(b"{}")), "gzip of gzip", "pack it once"),  # R15
        (gzipped(XLSX), "gzip of an Excel workbook", "export it as CSV"),
        (b"\x1f\x8bno gzip at all", "gzip that is damaged", "write it as"),
        (gzipped(b"{}\n")[:-1], "gzip that breaks off", "upload the whole of it again"),
        (gzipped(b"{}\n")[:-8] + b"\0" * 8, "gzip that is damaged", "write it as"),
        (gzipped(b"{}\n") + b"x", "gzip with other bytes behind it", "upload it as gzip wrote it"),
    ],
)
def test_what_is_none_of_them_is_named(
    content: bytes, found: str, remedy: str, shape: dict[str, Any]
) -> None:
    detail = told(content, shape)
    assert f"holds {found}" in detail
    assert detail.rpartition("; ")[2].startswith(remedy)


def test_what_may_be_a_tag_is_looked_at_once() -> None:
    """Not from each of its characters: of 64 KB that took half a minute."""
    assert recognize(b"<" + b"a." * 30_000 + b">\n1\n", True, CSV, URI).rows == 1


def test_a_few_letters_of_japanese_are_no_ebcdic() -> None:
    assert recognize("い,う,え\nえ,い,う\n".encode(), True, CSV, URI).rows == 1


@pytest.mark.parametrize("shape", [JSON, CSV])
def test_parquet_is_no_text(shape: dict[str, Any]) -> None:
    assert "holds Parquet, but" in told(PARQUET_FILE, shape)
    assert "holds gzip of Parquet, but" in told(gzipped(PARQUET_FILE), shape)


@pytest.mark.parametrize("content", [b"", b"PARENT_ID,name\n", b'{"a": 1}\n', gzipped(b"a,b\n")])
def test_text_is_no_parquet(content: bytes) -> None:
    assert "no Parquet, which begins PAR1, but its inputFormat says Parquet" in told(
        content, PARQUET
    )


# All of them


@pytest.mark.parametrize("shape", [JSON, CSV])
@pytest.mark.parametrize("content", [b" \r\n\t\n", BOM, BOM + b"\n", b"\x0b"])
def test_a_file_without_rows_is_none(content: bytes, shape: dict[str, Any]) -> None:
    for bytes_ in (content, gzipped(content)):
        with pytest.raises(EmptyObject, match="nothing but white space"):
            seen(bytes_, shape)


@pytest.mark.parametrize("shape", [JSON, CSV, PARQUET])
@pytest.mark.parametrize("content", [gzipped(b""), gzipped(b"") * 3000, gzipped(b"") + b"\r\n"])
def test_a_gzip_of_nothing_is_an_empty_file(content: bytes, shape: dict[str, Any]) -> None:
    """R4."""
    with pytest.raises(EmptyObject, match="'s3://landing/in/a' is a gzip of nothing"):
        recognize(content, True, shape, URI)


def test_formats_we_do_not_know_are_left_alone() -> None:
    for shape in ({"format": "avro"}, {"format": None}, {}):
        assert seen(UTF16, shape) == Content(str(shape.get("format")).lower())


def test_a_uri_cannot_forge_a_line_of_a_log() -> None:
    for content in (b"", b"\0", gzipped(b"")):
        with pytest.raises((FormatMismatch, EmptyObject)) as raised:
            recognize(content, True, CSV, "s3://b/a\nINFO all is well")
        assert "\n" not in raised.value.detail


# gzip


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n", b"\0" * 512, b" \t"])
def test_gzip_files_behind_one_another_are_one_file(between: bytes) -> None:
    """R11: with what gateways, Firehose and tapes put behind them."""
    parts = between.join([gzipped(b""), gzipped(b'{"a": 1}\n'), gzipped(b'{"a": 2}\n'), b""])
    found = seen(parts, JSON)
    assert (found.layout, found.rows, found.all_rows) == ("lines", 2, True)
    cut = parts[: len(parts) - len(between) - 4]
    assert recognize(cut, False, JSON, URI).rows == 2
    assert "breaks off" in told(cut, JSON)


def test_gzip_that_the_beginning_cuts_off_is_looked_into() -> None:
    rows = b"".join(b'{"a": "%x"}\n' % hash(n) for n in range(100_000))
    packed = gzipped(rows)
    assert len(packed) > BEGINNING
    assert seen(packed, JSON).layout == "lines"
    assert seen(gzipped(b"[" + rows.replace(b"\n", b",\n")), JSON).layout == "array"


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

    monkeypatch.setattr("aep_intake.content.recognize.zlib", _Zlib(Counting))
    bomb = gzipped(b" " * 50_000_000)
    assert len(bomb) <= BEGINNING
    assert seen(bomb, JSON).layout == ""  # blank so far, and who knows what comes
    assert given_out == BEGINNING
    full = gzipped(b" " * BEGINNING)
    for more in (bomb, gzipped(b"[]")):
        given_out = 0
        assert seen(full + more, JSON).layout == ""
        assert given_out == BEGINNING


class _Zlib:
    error = zlib.error

    def __init__(self, decompressobj: Any) -> None:
        self.decompressobj = decompressobj


@pytest.mark.parametrize("size", [BEGINNING - 1, BEGINNING, BEGINNING + 1])
def test_the_end_of_what_is_unpacked_may_be_the_end_of_the_file(size: int) -> None:
    found = seen(gzipped(b'{"a": 1}' + b"\n" * (size - 8)), JSON)
    assert (found.rows, found.broken) == (1, 0)


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
shapes = st.sampled_from([JSON, CSV, SEMICOLON, LATIN, WIDE, PARQUET, {"format": "other"}])
packings = st.sampled_from([bytes, gzipped])
before = st.sampled_from([b"", BOM, b"\n", BOM + b" \r\n"])
marks = st.sampled_from(
    [b"", b"PAR1", b"\x1f\x8b", b"\x1f\x8b\x08", b"[", b"{", b'{"a":', b"\xff\xfe", BOM, b"\x00"]
)


@settings(hostile, max_examples=examples(400))
@given(marks, st.binary(max_size=200) | punctuation, st.booleans(), shapes, packings)
@example(b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x00", b"\xff\xff", True, JSON, bytes)
def test_any_bytes_are_taken_or_rejected(
    mark: bytes, more: bytes, whole: bool, shape: dict[str, Any], packed: Any
) -> None:
    content = packed(mark + more)
    for end in {len(content), len(content) // 2, max(len(content) - 1, 0)}:
        try:
            found = recognize(content[:end], whole, shape, URI)
        except FormatMismatch as error:
            assert error.reason == "format-mismatch"
            assert URI in error.detail
        except EmptyObject as error:
            assert URI in error.detail
        else:
            assert found.format == shape["format"]
            assert found.broken <= max(found.rows, 1)


@hostile
@given(before, st.lists(rows, min_size=1, max_size=6), ends, packings, st.data())
def test_json_lines_are_never_a_document(
    start: bytes, some: list[Any], end: str, packed: Any, data: st.DataObject
) -> None:
    text = end.join(map(json.dumps, some)) + end
    content = start + text.encode()
    most = data.draw(st.integers(1, len(content)))
    one, more = ("document", "several") if end == "\r" else ("lines", "lines")
    if not start or most > len(start):
        assert seen(content, JSON, most).layout in ("", one, more)
    found = seen(packed(content), JSON)
    assert (found.rows, found.broken, found.all_rows) == (len(some), 0, True)
    assert found.layout == (more if len(some) > 1 else "")
    assert "JSON" in told(packed(content), CSV)


@hostile
@given(before, st.lists(rows, max_size=6), indents | st.none(), packings, st.data())
def test_a_list_is_always_an_array(
    start: bytes, some: list[Any], indent: Any, packed: Any, data: st.DataObject
) -> None:
    content = start + json.dumps(some, indent=indent).encode()
    most = data.draw(st.integers(len(start) + 1, len(content)))
    assert seen(content, JSON, most).layout == "array"
    found = seen(packed(content), JSON)
    assert (found.layout, found.rows, found.broken) == ("array", len(some), 0)
    assert "JSON" in told(packed(content), CSV)


@hostile
@given(before, rows.filter(bool), ends, packings, st.data())
def test_an_object_over_several_lines_is_a_document_wherever_it_is_cut(
    start: bytes, row: Any, end: str, packed: Any, data: st.DataObject
) -> None:
    text = json.dumps(row, indent=data.draw(indents)).replace("\n", end)
    content = start + text.encode()
    first_line = len(start) + 1 + len(end) + (end == "\r")
    most = data.draw(st.integers(first_line, len(content)))
    assert seen(content, JSON, most).layout == "document"
    assert seen(packed(content), JSON).layout == "document"
    assert "JSON" in told(packed(content), CSV)
    twice = content + end.encode() + text.encode()
    assert seen(packed(twice), JSON).layout == "several"
