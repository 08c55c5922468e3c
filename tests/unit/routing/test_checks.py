"""What is looked at before a batch is spent, and what of a file decides."""

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aep_intake.content import parquet
from aep_intake.content.beginning import BEGINNING
from aep_intake.model.errors import (
    BadRows,
    EmptyObject,
    FormatMismatch,
    FormatUnknown,
    ObjectGone,
    Rejected,
    TooFewRows,
    TooLarge,
)
from aep_intake.model.files import Arrival
from aep_intake.routing.checks import Checks, of_batch
from aep_intake.routing.routes import parse
from aep_intake.routing.table import Match

from local.stack import ROOT
from tests.builders import parquet_of
from tests.matching import matched

MOST, MOST_UNSPLIT = 1_000_000, 1000


@dataclass
class Reading:
    """S3: what it holds, None where that is gone, and how much was asked for."""

    content: bytes | None = None
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    def __call__(self, file: Arrival, start: int, end: int) -> bytes:
        self.asked.append((file.key, start, end))
        if self.content is None:
            raise ObjectGone("not there any more")
        return self.content[start:end]


def routed(key: str, **written: Any) -> Match:
    whole = {"name": "r", "match": "**", "datasetId": "d"} | written
    return matched(parse(json.dumps({"routes": [whole]}), "v1"), file(key))


def file(key: str, size: int = 10) -> Arrival:
    return Arrival("landing", key, "v1", "e", "01", size, 0)


def options(key: str, size: int = 10, reading: Reading | None = None, **written: Any) -> Any:
    checks = Checks(reading or Reading(), batch_bytes=MOST, unsplit_bytes=MOST_UNSPLIT)
    return checks.options(file(key, size), routed(key, **written))


def looked(
    key: str, reading: Reading, batch_bytes: int = MOST, **written: Any
) -> tuple[Arrival, Mapping[str, Any]]:
    """A file of these bytes, and the options of its batch."""
    size = len(reading.content or b"")
    checks = Checks(reading, batch_bytes, unsplit_bytes=max(batch_bytes, MOST))
    return checks.checked(file(key, size), routed(key, **written))


EMPTY_TABLE = parquet_of(0)
LATIN = {"format": "csv", "charset": "ISO-8859-1"}


def test_what_the_route_says_goes_on_with_the_format_made_exact() -> None:
    found = options("a.jsonl", partialIngestionPercent=5, tags={"a": ["b"]}, lookInside=False)
    assert found == {
        "enableErrorDiagnostics": True,
        "partialIngestionPercent": 5,
        "tags": {"a": ["b"]},
        "inputFormat": {"format": "json"},
    }
    said = {"format": "csv", "delimiter": ";"}
    assert options("a.txt", inputFormat=said, lookInside=False)["inputFormat"] == said


def test_of_a_marker_s_route_the_file_says_the_format() -> None:
    """The route of the marker leaves it open."""
    checks = Checks(Reading(), MOST, MOST_UNSPLIT)
    marker = routed("in/_SUCCESS", batch={"marker": "_SUCCESS"})
    assert checks.options(file("in/a.csv.gz"), marker)["inputFormat"] == {"format": "csv"}
    with pytest.raises(FormatUnknown):
        checks.options(file("in/a.txt"), marker)


@pytest.mark.parametrize("inside", [True, False])
def test_a_file_without_a_byte_is_refused_and_not_read(inside: bool) -> None:
    reading = Reading()
    with pytest.raises(EmptyObject, match=r"s3://landing/a.json is empty"):
        options("a.json", 0, reading, lookInside=inside)
    assert reading.asked == []


WHOLE = [
    ("a.parquet", {}),
    ("a.x", {"inputFormat": {"format": "Parquet"}}),
    ("a.json", {"inputFormat": {"format": "json", "isMultiLineJson": True}}),
]
SPLIT = [
    ("a.json", {}),
    ("a.csv", {}),
    ("a.json", {"inputFormat": {"format": "json", "isMultiLineJson": False}}),
]


@pytest.mark.parametrize(("key", "written"), WHOLE)
def test_a_file_that_cannot_be_split_goes_in_one_upload(key: str, written: dict[str, Any]) -> None:
    written |= {"lookInside": False}
    options(key, MOST_UNSPLIT, **written)
    with pytest.raises(TooLarge, match="has 1,001 bytes, and AEP takes 1,000 of a file that"):
        options(key, MOST_UNSPLIT + 1, **written)


@pytest.mark.parametrize(("key", "written"), SPLIT)
def test_any_other_goes_in_one_batch(key: str, written: dict[str, Any]) -> None:
    written |= {"lookInside": False}
    options(key, MOST, **written)
    with pytest.raises(TooLarge, match="has 1,000,001 bytes, and AEP takes 1,000,000 in a batch"):
        options(key, MOST + 1, **written)


def test_of_a_file_with_a_batch_of_its_own_the_first_bytes_are_read_once() -> None:
    reading = Reading(b'{"a": 1}\n' * 100_000)
    options("a.json", 900_000, reading)
    assert reading.asked == [("a.json", 0, BEGINNING)]


@pytest.mark.parametrize(
    ("written", "reads"),
    [
        ({}, 1),
        ({"lookInside": True}, 1),
        ({"lookInside": False}, 0),
        ({"batch": {"window": "1m"}}, 0),
        ({"batch": {"window": "1m"}, "lookInside": True}, 1),
        ({"batch": {"window": "1m"}, "minRows": 5, "badRows": "1%"}, 0),
    ],
)
def test_who_is_looked_at(written: dict[str, Any], reads: int) -> None:
    reading = Reading(b'{"a": 1}\n')
    options("a.json", 9, reading, **written)
    assert len(reading.asked) == reads


@pytest.mark.parametrize(("look", "reads"), [({}, 0), ({"lookInside": True}, 1)])
def test_files_of_a_folder_are_looked_at_if_the_route_says_so(look: Any, reads: int) -> None:
    reading = Reading(b'{"a": 1}\n')
    marker = routed("in/_SUCCESS", batch={"marker": "_SUCCESS"}, **look)
    Checks(reading, MOST, MOST_UNSPLIT).options(file("in/a.json", 9), marker)
    assert len(reading.asked) == reads


def test_of_a_large_parquet_file_the_end_is_read_too() -> None:
    size = 3 * parquet.END
    content = parquet_of(0, size - len(EMPTY_TABLE))
    reading = Reading(content)
    with pytest.raises(TooFewRows):
        looked("a.parquet", reading, batch_bytes=10**9)
    assert reading.asked == [("a.parquet", 0, BEGINNING), ("a.parquet", 2 * parquet.END, size)]


def test_a_footer_longer_than_what_is_read_says_nothing_yet() -> None:
    length = parquet.END
    content = b"PAR1".ljust(2 * length, b"\0") + length.to_bytes(4, "little") + b"PAR1"
    looked("a.parquet", Reading(content), batch_bytes=10**9, minRows=9)


LINES = {"inputFormat": {"format": "json", "isMultiLineJson": False}}
DOCUMENT = {"inputFormat": {"format": "json", "isMultiLineJson": True}}


@pytest.mark.parametrize(
    ("content", "written", "says"),
    [
        (b"[{}]", LINES, "holds one JSON document, but its inputFormat says isMultiLineJson false"),
        (b"{}\n{}\n", DOCUMENT, "holds JSON Lines, one object a line, but .*isMultiLineJson true"),
        (b"{}{}", {}, "holds JSON that is neither one document nor one object a line"),
        (b"[{},]", {}, "holds JSON that is neither one document nor one object a line"),
    ],
)
def test_another_layout_than_the_route_s_is_named(
    content: bytes, written: dict[str, Any], says: str
) -> None:
    with pytest.raises(FormatMismatch, match=says):
        options("a.json", len(content), Reading(content), lookInside=True, **written)


def test_one_row_is_of_any_layout() -> None:
    for written in (LINES, DOCUMENT):
        told = options("a.json", 2, Reading(b"{}"), lookInside=True, **written)
        assert told["inputFormat"] == written["inputFormat"]


# What people drop: key, bytes, route → the input format of the batch, and whether the file is
# unpacked; or the reason, and words of the detail. R…: files-in-the-wild; F1: a new user's day.

ROW = b'{"a": 1}\n'
CSV = b"id,name\n1,Ann\n"
SEMICOLONS = CSV.replace(b",", b";")
PARQUET_FILE = (ROOT / "local" / "samples" / "products.parquet").read_bytes()
TAKEN = [
    ("a.json", ROW, {}, "json", False),
    ("a.json", b'[{"a": 1}]', {}, "json document", False),
    ("a.json", b'[{"a": 1},\n {"a": 2}]', {}, "json document", False),
    ("a.json", ROW[:-1], {}, "json", False),
    ("a.json", ROW + b"broken\n", {"badRows": 1}, "json", False),
    ("a.json", ROW * 99 + b"broken\n", {"badRows": "1%"}, "json", False),
    ("a.json", ROW + b"broken\n", {"partialIngestionPercent": 5}, "json", False),
    ("a.json", b"[]", {"minRows": 0}, "json document", False),
    ("a.json.gz", gzip.compress(ROW, mtime=0), {}, "json", True),
    ("a.json", gzip.compress(ROW, mtime=0), {}, "json", True),  # R15
    ("a.json.gz", ROW, {}, "json", False),  # R15
    ("a.json.gz", gzip.compress(ROW, mtime=0) + b"\r\n", {}, "json", True),  # R11
    ("a.csv", CSV, {}, "csv", False),
    ("a.csv", b"\xef\xbb\xbf" + CSV, {}, "csv", False),  # R25
    ("a.csv", b"\xef\xbb\xbf" * 2 + CSV + b"\x1a", {"minRows": 1}, "csv", False),
    ("a.csv", b"id,name\n1,Ann,\n2,,\n", {}, "csv", False),
    ("a.csv", CSV + b"2\n", {"badRows": 1}, "csv", False),
    ("a.csv", CSV + b"2\n", {"partialIngestionPercent": 5}, "csv", False),
    ("a.csv", b"id,name\n", {"minRows": 0}, "csv", False),  # R30
    ("a.csv", SEMICOLONS, {"inputFormat": {"format": "csv", "delimiter": ";"}}, "csv", False),
    ("a.csv", CSV[:10] + "ü\n".encode("latin-1"), {"inputFormat": LATIN}, "csv", False),
    ("a.parquet", PARQUET_FILE, {"minRows": 24}, "parquet", False),
    ("part-00000", PARQUET_FILE, {}, "parquet", False),
    ("part-00000.txt", PARQUET_FILE, {}, "parquet", False),
    ("a.parquet.gz", PARQUET_FILE, {}, "parquet", False),  # R12
    ("b.parquet.gz", gzip.compress(PARQUET_FILE, mtime=0), {}, "parquet", True),  # R12
    ("c.parquet.gzip", PARQUET_FILE, {}, "parquet", False),  # R12: as pandas' documentation has it
    ("a.csv.gzip", gzip.compress(CSV, mtime=0), {}, "csv", True),
    ("a.csv", b"<none>,<x>\n1,<b>y</b>\n", {}, "csv", False),
    ("a.parquet", EMPTY_TABLE, {"minRows": 0}, "parquet", False),  # R30
    ("a.csv", b"PK\x03\x04 what the look would refuse", {"lookInside": False}, "csv", False),
]
REJECTED = [
    ("a.json.gz", gzip.compress(b"", mtime=0), {}, "empty-object", "gzip of nothing"),  # R4
    ("a.json.gz", gzip.compress(gzip.compress(ROW)), {}, "format-mismatch", "gzip of gzip"),  # R15
    ("a.json", b'{"a":1}{"a":2}', {}, "format-mismatch", "neither one document"),  # R20
    ("a.csv", CSV.decode().encode("utf-16"), {}, "format-mismatch", "text in UTF-16"),  # R26
    ("a.csv", b"id,name\n", {}, "too-few-rows", "has 0 rows, and route `r` demands 1"),  # R30
    ("a.json", b"[]", {}, "too-few-rows", "has 0 rows"),
    ("a.json", ROW * 2, {"minRows": 3}, "too-few-rows", "has 2 rows, and route `r` demands 3"),
    ("a.parquet", EMPTY_TABLE, {}, "too-few-rows", "has 0 rows"),  # R30
    ("a.parquet", PARQUET_FILE, {"minRows": 25}, "too-few-rows", "has 24 rows"),
    ("a.parquet", PARQUET_FILE[:-9], {}, "format-mismatch", "not a whole Parquet file"),
    ("part-00000", PARQUET_FILE[:-9], {}, "format-mismatch", "not a whole Parquet file"),
    ("part-00000", ROW, {}, "format-unknown", "does not end like a format"),
    ("part-00000", PARQUET_FILE, {"lookInside": False}, "format-unknown", "does not end like"),
    ("a.zip", b"PK\x03\x04\0", {}, "format-mismatch", "a zip archive.*: unpack it"),
    ("a.pdf", b"%PDF-1.7", {}, "format-mismatch", "PDF, .*: write it as JSON, CSV or Parquet"),
    ("a.xml", b"<rows>\n<row>1</row>", {}, "format-mismatch", "XML or HTML"),
    ("a.zip", b"PK\x03\x04\0", {"lookInside": False}, "format-unknown", "does not end like"),
    ("a.parquet", b"PAR1" * 3, {}, "format-mismatch", "not a whole Parquet file"),
    ("a.parquet", b"PAR1\0\0\2\0\0\0PAR1", {}, "format-mismatch", "its footer cannot be read"),
    ("a.csv", b"PK\x03\x04\0", {}, "format-mismatch", "a zip archive"),  # R31, F1
    ("a.csv", b"PK\x03\x04\0[Content_Types].xml", {}, "format-mismatch", "Excel"),  # F1
    ("a.csv", b"BZh91AY&SY", {}, "format-mismatch", "bzip2"),  # R31
    ("a.csv", b"\x28\xb5\x2f\xfd", {}, "format-mismatch", "zstd"),  # R31
    ("a.csv", PARQUET_FILE, {}, "format-mismatch", "Parquet"),  # F1
    ("a.csv", b"<html>Access denied", {}, "format-mismatch", "HTML"),
    ("a.csv", b"<Error><Code>AccessDenied</Code></Error>", {}, "format-mismatch", "XML or HTML"),
    ("a.json", b"<rows>\n<row>1</row>", {}, "format-mismatch", "XML or HTML"),
    ("a.csv", b"\n\n", {}, "empty-object", "nothing but white space"),
    ("a.json", b'[{"a": 1,}]', {}, "bad-rows", "trailing comma.* 1 of its first 1 rows"),
    ("a.csv", CSV[:10] + b"\xfc\n", {}, "format-mismatch", "at offset 10, 0xFC"),  # F1
    ("a.csv", CSV + b"2\n", {}, "bad-rows", "row 2: it has 1 value, and 2 are expected"),  # F1
    ("a.csv", CSV + b"(1 row)\n", {}, "bad-rows", "row 2: it has 1 value,"),
    ("a.csv", b"Members\n" + CSV, {}, "bad-rows", "row 1: it has 2 values, and 1 is expected"),
    ("a.csv", SEMICOLONS, {}, "format-mismatch", "semicolons"),  # F1
    ("a.json", ROW + b"broken\n", {}, "bad-rows", "row 2: it is not JSON"),
    (
        "a.json",
        ROW + b'"x"\n',
        {},
        "bad-rows",
        "row 2: it is not a JSON object; 1 of its first 2 rows",
    ),
    ("a.json", ROW * 98 + b"x\n" * 2, {"badRows": "1.5%"}, "bad-rows", "allows 1.5%"),
    ("a.json", ROW + b"x\n" * 2, {"badRows": 1, "partialIngestionPercent": 50}, "bad-rows", "1;"),
]


@pytest.mark.parametrize(("key", "content", "written", "shape", "unpacked"), TAKEN)
def test_what_can_be_taken_is_what_it_is(
    key: str, content: bytes, written: dict[str, Any], shape: str, unpacked: bool
) -> None:
    found, told = looked(key, Reading(content), **written)
    assert told["inputFormat"]["format"] == shape.split(maxsplit=1)[0]
    assert told["inputFormat"].get("isMultiLineJson", False) is ("document" in shape)
    assert found.gzipped is unpacked


@pytest.mark.parametrize(("key", "content", "written", "reason", "words"), REJECTED)
def test_what_cannot_is_rejected_by_name(
    key: str, content: bytes, written: dict[str, Any], reason: str, words: str
) -> None:
    with pytest.raises(Rejected) as raised:
        looked(key, Reading(content), **written)
    assert raised.value.reason == reason
    assert re.search(words, raised.value.detail)
    assert key in raised.value.detail


def test_a_share_of_rows_that_are_not_all_seen_is_left_open() -> None:
    content = b'{"a" 1}\n' + b'{"a": 1}\n' * 20_000
    looked("a.json", Reading(content), badRows="1%")
    with pytest.raises(BadRows):
        looked("a.json", Reading(content), badRows=0)


@pytest.mark.parametrize(
    ("key", "content", "written", "taken"),
    [
        ("a.json", b"[]", {}, False),
        ("a.json", b"[]", {"asIs": True}, True),
        ("a.csv", b"id,name\n", {}, True),
        ("a.parquet", EMPTY_TABLE, {}, True),
    ],
)
def test_no_batch_is_spent_for_a_file_of_which_nothing_could_be_sent(
    key: str, content: bytes, written: dict[str, Any], taken: bool
) -> None:
    checks = Checks(Reading(content), MOST, MOST, delivers=True)
    match = routed(key, minRows=0, **written)
    if taken:
        checks.checked(file(key, len(content)), match)
    else:
        with pytest.raises(EmptyObject, match="has no row"):
            checks.checked(file(key, len(content)), match)


def test_whether_the_first_bytes_are_all_of_it_counts() -> None:
    blank = b" " * 9
    assert options("a.json", 10, Reading(blank), lookInside=True)  # who knows what comes
    with pytest.raises(EmptyObject, match="nothing but white space"):
        options("a.json", 9, Reading(blank), lookInside=True)


def test_a_version_that_is_gone_is_said_so() -> None:
    with pytest.raises(ObjectGone):
        options("a.json", 9, Reading(None), lookInside=True)


MAPPED: dict[str, Any] = {"map": {"x": "a"}, "compiledMap": "0" * 64}


def test_mapped_files_become_json_lines_and_may_be_as_large() -> None:
    match = routed("a.csv", match="*.csv", **MAPPED)
    assert of_batch({"format": "csv", "delimiter": ";", "charset": "UTF-16"}, match) == {
        "format": "json"
    }
    checks = Checks(Reading(), batch_bytes=MOST, unsplit_bytes=MOST_UNSPLIT, delivers=True)
    unseen = replace(match, demands=replace(match.demands, look_inside=False))
    assert checks.options(file("a.csv", MOST), unseen)["inputFormat"] == {"format": "csv"}


def test_nothing_is_mapped_where_nothing_is_uploaded() -> None:
    with pytest.raises(FormatMismatch, match="DeliverBatches=false"):
        options("a.csv", match="*.csv", **MAPPED)


def test_parquet_that_a_mapping_route_takes_is_refused() -> None:
    match = routed("a.csv", match="**", inputFormat={"format": "csv"}, **MAPPED)
    parquet_match = replace(match, options={"inputFormat": {"format": "parquet"}})
    reading = Reading(PARQUET_FILE)
    checks = Checks(reading, batch_bytes=MOST, unsplit_bytes=MOST_UNSPLIT, delivers=True)
    with pytest.raises(FormatMismatch, match="only CSV and JSON are mapped"):
        checks.options(file("a.parquet"), parquet_match)


@pytest.mark.parametrize("written", [{"partialIngestionPercent": 5}, {"lookInside": False}])
def test_aep_does_not_judge_rows_that_a_map_leaves_out(written: dict[str, Any]) -> None:
    assert routed("a.csv", match="*.csv", **written).demands.bad_rows is None
    assert routed("a.csv", match="*.csv", **written, **MAPPED).demands.bad_rows == 0
