"""What belongs to the folder that a marker completes, as Spark, Glue and EMR leave it behind."""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aep_intake.grouping import markers
from aep_intake.grouping.markers import members
from aep_intake.model.errors import MalformedManifest, NoFiles, ObjectGone
from aep_intake.model.files import Arrival
from aep_intake.routing.routes import parse

from tests.listings import readable
from tests.matching import matched

MARKER = Arrival("landing", "out/_SUCCESS", "m1", "m", "0070", 0, 1)
MANIFEST = Arrival("landing", "out/manifest.json", "m1", "m", "0070", 1, 1)
MARKED = {"match": "out/**", "datasetId": "d", "batch": {"marker": "_SUCCESS"}}
LISTED = MARKED | {"batch": {"marker": "manifest.json"}}
JSON = {"inputFormat": {"format": "json"}}


def file(key: str, size: int = 10) -> Arrival:
    return Arrival("landing", key, f"v-{key}", "e", None, size, 1)


@dataclass
class Bucket:
    """S3, as far as a marker needs it: `content` is the manifest's, None where it is gone."""

    files: list[Arrival]
    content: bytes | None = b""
    asked: list[Any] = field(default_factory=list)

    def folder(self, bucket: str, prefix: str, after: str = "") -> Iterator[Arrival]:
        self.asked.append((bucket, prefix))
        return (one for one in self.files if one.key.startswith(prefix) and one.key > after)

    def read(self, arrival: Arrival, start: int, end: int, /) -> bytes:
        self.asked.append((arrival, start, end))
        if self.content is None:
            raise ObjectGone("not there any more")
        return self.content[start:end]


def taken(
    *keys: str,
    marker: Arrival = MARKER,
    routes: tuple[dict[str, Any], ...] = (MARKED | JSON,),
) -> list[str]:
    """Which of these files, each of some bytes, share the batch of a marker."""
    bucket = Bucket([*map(file, keys), marker])
    named = [{"name": f"route-{number}"} | written for number, written in enumerate(routes)]
    table = parse(json.dumps({"routes": named}), "v1")
    found = readable(members(marker, matched(table, marker), table, bucket))
    assert bucket.asked == [("landing", marker.key[: marker.key.rfind("/") + 1])]
    assert all(one in bucket.files for one in found), "each with its version and size"
    return [one.key for one in found]


SPARK = [
    "out/part-00000-5f1c.c000.snappy.parquet",
    "out/dt=2026-11-23/part-00001-5f1c.c000.json",
    "out/_year=2026/_month=11/part-00000.json",
    "out/dt=__HIVE_DEFAULT_PARTITION__/part-00002.json",
    "out/a.b_c/x._y.json",
]
NO_DATA = [
    "out/_temporary/0/task_202611/part-00000.json",
    "out/dt=1/_temporary/0/part-00000.json",
    "out/_temporary_$folder$",
    "out/dt=1_$folder$",
    "out/._SUCCESS.crc",
    "out/.part-00000-5f1c.json.crc",
    "out/part-00000.json.crc",
    "out/part-00000.json.md5",
    "out/part-00000.json.sha1",
    "out/part-00000.json.sha256",
    "out/part-00000.json.sha512",
    "out/_SUCCESS.json",
    "out/_committed_8172",
    "out/_started_8172",
    "out/_metadata",
    "out/_common_metadata",
    "out/_delta_log/00000000000000000000.json",
    "out/_spark_metadata/0",
    "out/__magic/job-1/part-00000.json",
    "out/.spark-staging-5f1c/dt=1/part-00000.json",
    "out/.hive-staging_hive_2026/part-00000.json",
    "out/.emrfs_staging_0_5f1c/part-00000.json",
    "out/dt=1/.part-00000.json",
    "out/_x=1.crc",
]


def test_what_spark_wrote_is_taken_and_what_it_left_lying_about_is_not() -> None:
    assert taken(*NO_DATA, *SPARK) == SPARK


def test_what_glue_and_emr_wrote_is_taken() -> None:
    glue = ["out/run-1700000-part-r-00000", "out/run-1700000-part-block-0-r-00001-snappy.parquet"]
    emr = ["out/part-r-00000-5f1c.gz", "out/000000_0"]
    assert taken(*glue, *emr, "out/part-r-00000-5f1c.gz.crc") == [*glue, *emr]


@pytest.mark.parametrize("key", NO_DATA)
def test_each_of_these_alone_is_no_data(key: str) -> None:
    with pytest.raises(NoFiles):
        taken(key)


def test_an_empty_partition_s_file_is_left_out() -> None:
    bucket = Bucket([file("out/part-0.json", size=0), file("out/part-1.json", size=1)])
    table = parse(json.dumps({"routes": [{"name": "r"} | MARKED]}), "v1")
    [one] = readable(members(MARKER, matched(table, MARKER), table, bucket))
    assert one.key == "out/part-1.json"


def test_folders_that_the_route_writes_may_be_called_anything() -> None:
    marker, key = replace(MARKER, key="out/_raw/.x/_SUCCESS"), "out/_raw/.x/part-0.json"
    written = MARKED | JSON | {"match": "out/_raw/.x/**"}
    assert taken(key, "out/_raw/.x/_y/1.json", marker=marker, routes=(written,)) == [key]


def test_a_marker_at_the_root_is_for_the_whole_bucket_without_what_is_hidden() -> None:
    marker = replace(MARKER, key="_SUCCESS")
    keys = ["part-0.json", "a/part-1.json", "_delta_log/00000.json", ".x/part-0.json"]
    assert taken(*keys, marker=marker, routes=(MARKED | {"match": "**"},)) == keys[:2]


def test_only_what_reaches_the_marker_s_own_route_is_taken() -> None:
    keys = [
        "out/part-0.json",
        "out/readme.txt",  # `auto` cannot tell its format: to be rejected by its name
        "out/secret/part-0.json",
        "out/tmp/part-0.json",
        "out/part-0.csv",
        "out/x.orc",
    ]
    routes = (
        {"match": "**/tmp/**", "ignore": True},
        {"match": "out/secret/*", "datasetId": "e", "batch": {"marker": "_SUCCESS"}},
        {"match": "**/*.csv", "datasetId": "d"},
        MARKED,
        {"match": "**", "datasetId": "d"} | JSON,
    )
    assert taken(*keys, routes=routes) == ["out/part-0.json", "out/readme.txt", "out/x.orc"]


def test_what_is_under_it_and_still_of_another_day_is_not_this_marker_s() -> None:
    written = MARKED | {"match": "out/{t}/**/{d}/*", "tags": {"of": ["{t}", "{d}"]}}
    marker = replace(MARKER, key="out/a/d=1/_SUCCESS")
    keys = ["out/a/d=1/1.json", "out/a/d=1/d=2/1.json", "out/a/d=1/d=1/1.json", "out/b/d=1/1.json"]
    # The last of the folders says which day it is.
    assert taken(*keys, marker=marker, routes=(written,)) == [
        "out/a/d=1/1.json",
        "out/a/d=1/d=1/1.json",
    ]


def test_markers_in_folders_below_are_no_data() -> None:
    written = MARKED | JSON | {"batch": {"marker": "done"}}
    marker = replace(MARKER, key="out/done", size=4)
    assert taken("out/a/1.json", "out/a/done", marker=marker, routes=(written,)) == ["out/a/1.json"]


def test_a_folder_without_any_such_file_is_said_so_by_name() -> None:
    with pytest.raises(NoFiles, match=r"s3://landing/out/_SUCCESS .* route `route-0`"):
        taken()


# ---- Manifests


def named(
    content: object, *keys: str, marker: Arrival = MANIFEST, written: dict[str, Any] = LISTED
) -> list[str]:
    """What a manifest takes of these files; content that is not bytes is written as JSON."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    marker = replace(marker, size=len(text))
    bucket = Bucket([*map(file, keys), marker], text)
    table = parse(json.dumps({"routes": [{"name": "r"} | written]}), "v1")
    found = readable(members(marker, matched(table, marker), table, bucket))
    assert bucket.asked[:1] == [(marker, 0, markers.MANIFEST_BYTES_MAX)]
    return [one.key for one in found]


KEYS = ("out/a.json", "out/b.json", "out/c/c.json")


def test_a_manifest_names_its_files_by_name_or_uri() -> None:
    names = ["c/c.json", "s3://landing/out/a.json", "c/c.json", "a.json"]
    assert named({"files": names, "count": 3}, *KEYS) == ["out/a.json", "out/c/c.json"]


def test_a_manifest_may_be_redshift_s() -> None:
    # https://docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html
    entries = [
        {"url": "s3://landing/out/b.json", "mandatory": True, "meta": {"content_length": 10}},
        {"url": "s3://landing/out/c/c.json", "mandatory": False},
    ]
    assert named({"entries": entries}, *KEYS) == ["out/b.json", "out/c/c.json"]


def test_what_is_called_json_in_capitals_is_a_manifest_too() -> None:
    marker = replace(MANIFEST, key="out/All.JSON")
    written = LISTED | {"batch": {"marker": "All.JSON"}}
    assert named({"files": ["a.json"]}, *KEYS, marker=marker, written=written) == ["out/a.json"]


@pytest.mark.parametrize(
    ("name", "keys", "wanted"),
    [
        ("manifest", ["0000_part_00", "0001_part_00", "0002_part_00"], ["0000_part_00"]),
        ("venue_manifest", ["event_0000_part_00", "venue_0000_part_00"], ["venue_0000_part_00"]),
        ("VENUE_MANIFEST", ["a", "b"], ["b"]),
    ],
)
def test_redshift_s_manifest_has_no_json_in_its_name(
    name: str, keys: list[str], wanted: list[str]
) -> None:
    """With ALLOWOVERWRITE a smaller run leaves old parts, and two unloads may share a folder."""
    written = MARKED | {"inputFormat": {"format": "csv"}, "batch": {"marker": name}}
    marker = replace(MARKER, key=f"out/{name}")
    entries = [{"url": f"s3://landing/out/{key}"} for key in wanted]
    taken = named(
        {"entries": entries}, *[f"out/{key}" for key in keys], marker=marker, written=written
    )
    assert taken == [f"out/{key}" for key in wanted]


def test_only_what_databricks_committed_is_taken() -> None:
    """Of the first run, which died, `_started_1` and its parts are left."""
    keys = ["out/_started_1", "out/part-0-tid-1-a.json", "out/part-0-tid-2-b.json"]
    marker = replace(MARKER, key="out/_committed_2")
    written = MARKED | JSON | {"batch": {"marker": "_committed_*"}}
    committed = {"added": ["part-0-tid-2-b.json"], "removed": ["part-0-tid-0-z.json"]}
    assert named(committed, *keys, marker=marker, written=written) == keys[2:]


@pytest.mark.parametrize(
    "content",
    [
        {"version": "2020-06-30", "itemCount": 8, "manifestFilesS3Key": "x"},  # DynamoDB
        {"files": [{"key": "out/a.json", "size": 10}]},  # S3 Inventory
        {"dataFiles": ["s3://landing/out/a.json"]},  # Data Exports
        {"exportResults": [{"name": "a.json"}]},  # Adobe's own destinations
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", "manifest-*.json"])
def test_a_manifest_of_another_form_may_be_just_a_marker(content: Any, name: str) -> None:
    marker = replace(MANIFEST, key=f"out/{name.replace('*', '1f-2e')}", size=99)
    batch = {"marker": name}
    with pytest.raises(MalformedManifest, match='"manifest": false'):
        named(content, *KEYS, marker=marker, written=LISTED | {"batch": batch})
    written = MARKED | JSON | {"batch": batch | {"manifest": False}}
    assert taken(*KEYS, marker=marker, routes=(written,)) == list(KEYS)


@pytest.mark.parametrize(("name", "size"), [("manifest.json", 0), ("_SUCCESS", 9), ("x.json5", 9)])
def test_any_other_marker_is_not_read(name: str, size: int) -> None:
    marker = replace(MARKER, key=f"out/{name}", size=size)
    written = MARKED | {"batch": {"marker": name}}
    assert taken(*KEYS, marker=marker, routes=(written,)) == list(KEYS)


@pytest.mark.parametrize(
    "content",
    [
        [],
        "a.json",
        None,
        {},
        {"files": "a.json"},
        {"files": {"a.json": 1}},
        {"files": ["a.json", None]},
        {"files": [["a.json"]]},
        {"files": [{"url": "a.json"}]},
        {"entries": ["s3://landing/out/a.json"]},
        {"entries": {"url": "s3://landing/out/a.json"}},
        {"entries": [{"url": "s3://landing/out/a.json"}, {}]},
        {"entries": [{"url": 1}]},
        {"Files": ["a.json"]},
    ],
)
def test_json_that_is_no_manifest_is_refused(content: object) -> None:
    with pytest.raises(MalformedManifest, match=r'manifest.json is not of the form {"files": \['):
        named(content, *KEYS)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b'{"files": ["a.json"], "files": ["b.json"]}',
        b'{"files": ["a.json"], "n": NaN}',
        b'{"files": ["\\ud800"]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedManifest, match=r"manifest.json cannot be read as JSON"):
        named(content, *KEYS)


def test_a_manifest_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"files": ["a.json"]}'
    monkeypatch.setattr(markers, "MANIFEST_BYTES_MAX", len(content))
    assert named(content, *KEYS) == ["out/a.json"]
    with pytest.raises(MalformedManifest, match="has more than 21 bytes"):
        named(content + b" ", *KEYS)


def test_a_manifest_that_is_gone_is_said_so() -> None:
    bucket = Bucket([file("out/a.json")], content=None)
    table = parse(json.dumps({"routes": [{"name": "r"} | LISTED]}), "v1")
    with pytest.raises(ObjectGone):
        list(members(MANIFEST, matched(table, MANIFEST), table, bucket))


def test_an_empty_manifest_names_no_files() -> None:
    for member in ("files", "entries"):
        with pytest.raises(NoFiles):
            named({member: []}, *KEYS)


@pytest.mark.parametrize(
    "name",
    [
        "nowhere.json",
        "A.json",
        "out/a.json",  # from the folder on, not from the bucket
        "./a.json",
        "../out/a.json",
        "/a.json",
        "c",
        "",
        "a.json\n",
        "a.json\u202e",
        "manifest.json",
        "s3://landing/out/manifest.json",
        "s3://other/out/a.json",
        "s3://landing//out/a.json",
        "S3://landing/out/a.json",
        "s3://landing/elsewhere/a.json",
        "s3://landing/",
        "_hidden.json",
        "other.txt",
        "x" * 1_000_000,
    ],
)
def test_a_name_that_is_not_in_the_folder_is_refused(name: str) -> None:
    others = ("elsewhere/a.json", "out/_hidden.json")
    with pytest.raises(MalformedManifest, match=r"names '.*") as refusal:
        named({"files": ["a.json", name]}, *KEYS, *others)
    assert len(str(refusal.value)) < 400
    assert str(refusal.value).isprintable()
    assert str(refusal.value).isascii()


def test_a_file_of_another_route_is_not_taken_by_name() -> None:
    secret = {"name": "secret", "match": "out/b.json", "datasetId": "e"}
    table = parse(json.dumps({"routes": [secret, {"name": "r"} | LISTED]}), "v1")
    content = json.dumps({"files": ["a.json", "b.json"]}).encode()
    marker = replace(MANIFEST, size=len(content))
    files = [file("out/a.json"), file("out/b.json")]
    with pytest.raises(MalformedManifest, match=r"names 'b\.json'"):
        list(members(marker, matched(table, marker), table, Bucket(files, content)))


def test_a_file_without_a_byte_may_be_named_and_is_left_out() -> None:
    """Redshift's slices without rows write some; half of a folder gets no batch for less."""
    table = parse(json.dumps({"routes": [{"name": "r"} | LISTED]}), "v1")
    files = [file("out/a.json"), file("out/c.json", size=0)]
    for names, taken in ((["a.json", "c.json"], ["out/a.json"]), (["c.json"], None)):
        content = json.dumps({"files": names}).encode()
        marker = replace(MANIFEST, size=len(content))
        found = members(marker, matched(table, marker), table, Bucket(files, content))
        if taken is None:
            with pytest.raises(NoFiles):
                list(found)
        else:
            assert [each.key for each in found if isinstance(each, Arrival)] == taken


@pytest.mark.parametrize("start", ["s3://landing/", "s3a://landing/", "s3n://landing/"])
def test_a_manifest_may_be_of_hadoop_and_have_a_byte_order_mark(start: str) -> None:
    table = parse(json.dumps({"routes": [{"name": "r"} | LISTED]}), "v1")
    content = json.dumps({"files": [f"{start}out/a.json"]}).encode("utf-8-sig")
    marker = replace(MANIFEST, size=len(content))
    found = members(marker, matched(table, marker), table, Bucket([file("out/a.json")], content))
    assert len(list(found)) == 1


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_manifest_names_a_file_in_either_form_of_unicode(listed: Any, written: Any) -> None:
    keys = [unicodedata.normalize(listed, f"out/{name}.json") for name in ("é", "a", "Ö")]
    names = [unicodedata.normalize(written, f"{name}.json") for name in ("é", "Ö")]
    assert named({"files": names}, *keys) == [keys[0], keys[2]]


def test_a_file_whose_very_key_a_manifest_names_is_the_one() -> None:
    keys = [unicodedata.normalize(form, "out/é.json") for form in ("NFC", "NFD")]
    assert named({"files": [key.removeprefix("out/") for key in keys]}, *keys) == keys
