"""What is looked at before a batch is spent, and what of a file decides."""

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from aep_intake.content.recognize import BEGINNING
from aep_intake.model.errors import EmptyObject, FormatMismatch, FormatUnknown, ObjectGone, TooLarge
from aep_intake.model.files import Arrival
from aep_intake.routing.checks import Checks
from aep_intake.routing.routes import Match, parse

from tests.matching import matched

MOST, MOST_UNSPLIT = 1_000_000, 1000


@dataclass
class Reading:
    """S3: what it holds, None where that is gone, and how much was asked for."""

    content: bytes | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, file: Arrival, most: int) -> bytes:
        self.asked.append((file.key, most))
        if self.content is None:
            raise ObjectGone("not there any more")
        return self.content[:most]


def routed(key: str, **rule: Any) -> Match:
    whole = {"name": "r", "match": "**", "datasetId": "d"} | rule
    return matched(parse(json.dumps({"routes": [whole]}), "v1"), file(key))


def file(key: str, size: int = 10) -> Arrival:
    return Arrival("landing", key, "v1", "e", "01", size, 0)


def options(key: str, size: int = 10, reading: Reading | None = None, **rule: Any) -> Any:
    checks = Checks(reading or Reading(), batch_bytes=MOST, unsplit_bytes=MOST_UNSPLIT)
    return checks.options(file(key, size), routed(key, **rule))


def test_what_the_route_says_goes_on_with_the_format_made_exact() -> None:
    found = options("a.jsonl", partialIngestionPercent=5, tags={"a": ["b"]})
    assert found == {
        "enableErrorDiagnostics": True,
        "partialIngestionPercent": 5,
        "tags": {"a": ["b"]},
        "inputFormat": {"format": "json"},
    }
    said = {"format": "csv", "delimiter": ";"}
    assert options("a.txt", inputFormat=said)["inputFormat"] == said


def test_of_a_marker_s_rule_the_file_says_the_format() -> None:
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


@pytest.mark.parametrize(("key", "rule"), WHOLE)
def test_a_file_that_cannot_be_split_goes_in_one_upload(key: str, rule: dict[str, Any]) -> None:
    options(key, MOST_UNSPLIT, **rule)
    with pytest.raises(TooLarge, match="has 1,001 bytes, and AEP takes 1,000 of a file that"):
        options(key, MOST_UNSPLIT + 1, **rule)


@pytest.mark.parametrize(("key", "rule"), SPLIT)
def test_any_other_goes_in_one_batch(key: str, rule: dict[str, Any]) -> None:
    options(key, MOST, **rule)
    with pytest.raises(TooLarge, match="has 1,000,001 bytes, and AEP takes 1,000,000 in a batch"):
        options(key, MOST + 1, **rule)


def test_unless_the_route_says_so_nothing_is_read() -> None:
    reading = Reading(b"PAR1")
    options("a.json", 4, reading)
    assert reading.asked == []
    with pytest.raises(FormatMismatch):
        options("a.json", 9, Reading(b"PAR1\0\0\0\0\0"), lookInside=True)


def test_only_its_first_bytes_are_read() -> None:
    reading = Reading(b'{"a": 1}\n' * 100_000)
    options("a.json", 900_000, reading, lookInside=True)
    assert reading.asked == [("a.json", BEGINNING)]


def test_what_is_inside_decides_what_a_name_leaves_open() -> None:
    document = b'[{"a": 1},\n {"a": 2}]'
    told = options("a.json", len(document), Reading(document), lookInside=True)
    assert told["inputFormat"] == {"format": "json", "isMultiLineJson": True}
    assert options("a.json", 9, Reading(b'{"a": 1}\n'), lookInside=True)["inputFormat"] == {
        "format": "json"
    }
    with pytest.raises(TooLarge, match="of a file that cannot be split"):
        options("a.json", MOST_UNSPLIT + 1, Reading(document), lookInside=True)


LINES = {"inputFormat": {"format": "json", "isMultiLineJson": False}}
DOCUMENT = {"inputFormat": {"format": "json", "isMultiLineJson": True}}


@pytest.mark.parametrize(
    ("content", "rule", "says"),
    [
        (b"[]", LINES, "holds one JSON document, but its inputFormat says isMultiLineJson false"),
        (b"{}\n{}\n", DOCUMENT, "holds JSON Lines, one object a line, but .*isMultiLineJson true"),
        (b"{}{}", {}, "holds several JSON documents that are not one object a line"),
    ],
)
def test_another_layout_than_the_route_s_is_named(
    content: bytes, rule: dict[str, Any], says: str
) -> None:
    with pytest.raises(FormatMismatch, match=says):
        options("a.json", len(content), Reading(content), lookInside=True, **rule)


def test_one_row_is_of_any_layout() -> None:
    for rule in (LINES, DOCUMENT):
        told = options("a.json", 2, Reading(b"{}"), lookInside=True, **rule)
        assert told["inputFormat"] == rule["inputFormat"]


def test_whether_the_first_bytes_are_all_of_it_counts() -> None:
    blank = b" " * 9
    assert options("a.json", 10, Reading(blank), lookInside=True)  # who knows what comes
    with pytest.raises(FormatMismatch, match="no row at all"):
        options("a.json", 9, Reading(blank), lookInside=True)


@pytest.mark.parametrize(
    ("key", "content", "says"),
    [
        (
            "a.json",
            gzip.compress(b'{"a": 1}', mtime=0),
            "'s3://landing/a.json' is a gzip, and its name",
        ),
        ("a.json.gz", b'{"a": 1}', "'s3://landing/a.json.gz' is not a gzip, and its name"),
        ("a.csv", gzip.compress(b"a,b", mtime=0), "is a gzip"),
    ],
)
def test_a_gzip_is_called_so_and_nothing_else_is(key: str, content: bytes, says: str) -> None:
    with pytest.raises(FormatMismatch, match=says):
        options(key, len(content), Reading(content), lookInside=True)
    other = key.removesuffix(".gz") if key.endswith(".gz") else f"{key}.gz"
    assert options(other, len(content), Reading(content), lookInside=True)


def test_a_version_that_is_gone_is_said_so() -> None:
    with pytest.raises(ObjectGone):
        options("a.json", 9, Reading(None), lookInside=True)
