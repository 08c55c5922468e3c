"""S3 Inventory in place of a listing: its manifest, its rows, and where the newest is."""

import gzip
import io
import json
from typing import Any

import pytest
from aep_intake.adapters.aws import inventory
from aep_intake.model.errors import InventoryUnusable, StorageUnavailable
from aep_intake.model.files import Archived, Arrival
from botocore.exceptions import ClientError, ConnectTimeoutError

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag"
ROWS = [
    "in/a+b%2Bc.json,v1,true,false,5,2026-01-02T03:04:05.000Z,e1,STANDARD",
    "in/a+b%2Bc.json,v0,false,false,5,2026-01-01T03:04:05.000Z,e0,STANDARD",
    "in/gone.json,v1,true,true,,2026-01-02T03:04:05.000Z,,",
    "in/%22q%22.json,,true,false,6,2026-01-02T03:04:05.000Z,e2,GLACIER",
    "out/x.json,null,true,false,7,2026-01-02T03:04:05.000Z,e3,STANDARD",
]


class S3:
    """The bucket of an inventory, and the versioning of the bucket that it is of."""

    def __init__(self, versioning: str | None = None, **manifest: Any) -> None:
        self.versioning = versioning
        self.fails: Exception | None = None
        whole = {
            "sourceBucket": "landing",
            "creationTimestamp": "1767400000000",
            "fileFormat": "CSV",
            "fileSchema": f"{SCHEMA}, StorageClass",
            "files": [{"key": "one.csv.gz"}, {"key": "two.csv.gz"}],
        } | manifest
        rows = "".join('"landing",' + ",".join(f'"{c}"' for c in r.split(",")) + "\n" for r in ROWS)
        self.objects = {
            "m/manifest.json": json.dumps(whole).encode(),
            "one.csv.gz": gzip.compress(rows.encode()),
            "two.csv.gz": gzip.compress(rows.replace("in/", "in/2").encode()),
        }

    def get_object(self, **of: str) -> dict[str, Any]:
        assert of["Bucket"] == "lists"
        if self.fails is not None:
            raise self.fails
        return {"Body": io.BytesIO(self.objects[of["Key"]])}

    def get_bucket_versioning(self, **of: str) -> dict[str, str]:
        assert of == {"Bucket": "landing"}
        return {} if self.versioning is None else {"Status": self.versioning}


def of_inventory(s3: Any) -> inventory.Inventory:
    return inventory.read(s3, "s3://lists/m/manifest.json", "landing")


def test_present_versions_come_from_an_inventory_page_by_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inventory, "PAGE", 2)
    listed = of_inventory(S3())
    pages = list(listed.pages("in/", ""))
    time = 1_767_323_045_000
    first = Arrival("landing", "in/a b+c.json", "v1", "e1", None, 5, time)
    cold = Archived(Arrival("landing", 'in/"q".json', None, "e2", None, 6, time))
    assert [page.found for page in pages[:3]] == [(first,), (cold,), ()]
    places = [[int(n) for n in page.reached.split(":")] for page in pages]
    assert places == [[0, 2], [0, 4], [0, 5], [1, 2], [1, 4], [1, 5]]
    assert [page.reached for page in pages] == sorted(page.reached for page in pages)
    assert list(listed.pages("in/", "0:4")) == pages[2:], "a place of an earlier release"
    for number, page in enumerate(pages):
        assert list(listed.pages("in/", page.reached)) == pages[number + 1 :]


def test_a_comparison_reads_all_of_an_inventory_of_any_source_bucket() -> None:
    s3: Any = S3()
    listed = inventory.read(s3, "s3://lists/m/manifest.json", "first", "landing")
    pages = listed.pages("", "")
    found = [one.file if isinstance(one, Archived) else one for page in pages for one in page.found]
    assert [file.key for file in found[:3]] == ["in/a b+c.json", 'in/"q".json', "out/x.json"]
    assert (listed.bucket, len(found), listed.made) == ("landing", 6, 1_767_400_000_000)


@pytest.mark.parametrize(
    ("s3", "says"),
    [
        (S3(sourceBucket="other"), "is an inventory of other"),
        (S3(fileFormat="Parquet"), "make an inventory as CSV"),
        (S3(fileSchema="Bucket, Key, Size"), "lacks LastModifiedDate, ETag"),
        (S3("Enabled", fileSchema="Bucket, Key, Size, LastModifiedDate, ETag"), "all versions"),
        (S3(files=None), "is not the manifest.json"),
    ],
)
def test_an_inventory_that_does_not_say_enough_is_refused(s3: S3, says: str) -> None:
    with pytest.raises(InventoryUnusable, match=says):
        of_inventory(s3)


def test_a_row_that_cannot_be_read_is_named() -> None:
    s3 = S3(fileSchema=SCHEMA)  # a column less
    with pytest.raises(InventoryUnusable, match=r"lists/one\.csv\.gz"):
        list(of_inventory(s3).pages("in/", ""))


@pytest.mark.parametrize("broken", [b"", b"no gzip", gzip.compress(b"x" * 999)[:-9]])
def test_a_file_that_cannot_be_read_is_named(broken: bytes) -> None:
    s3 = S3()
    s3.objects["two.csv.gz"] = broken or gzip.compress(b"\xff\n")
    with pytest.raises(InventoryUnusable, match=r"lists/two\.csv\.gz"):
        list(of_inventory(s3).pages("in/", ""))


def refused(status: int, code: str) -> ClientError:
    about: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(about, "GetObject")


@pytest.mark.parametrize(
    ("fails", "kind"),
    [
        (refused(404, "NoSuchKey"), InventoryUnusable),
        (refused(403, "AccessDenied"), InventoryUnusable),
        (refused(503, "SlowDown"), StorageUnavailable),
        (ConnectTimeoutError(endpoint_url="https://s3"), StorageUnavailable),
        (ConnectionResetError("by peer"), StorageUnavailable),
    ],
)
def test_what_s3_may_answer_later_is_tried_again(fails: Exception, kind: type[Exception]) -> None:
    s3 = S3()
    listed = of_inventory(s3)
    s3.fails = fails
    with pytest.raises(kind):
        of_inventory(s3)
    with pytest.raises(kind):
        list(listed.pages("", ""))


class StateBucket:
    """Lists its keys, in pages of one."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        assert Bucket == "state"
        found = [{"Contents": [{"Key": key}]} for key in self.keys if key.startswith(Prefix)]
        return [{}, *found]


def test_the_newest_inventory_of_a_bucket_counts_unless_it_is_too_old() -> None:
    manifests = [
        f"inventory/landing/{name}/manifest.json"
        for name in ("z/2026-11-26T01-00Z", "a/2026-11-27T01-00Z", "a/2026-11-20T01-00Z")
    ]
    others = (
        "inventory/landing/a/2026-11-28T01-00Z/manifest.checksum",  # it is being written
        "inventory/landing/hive/dt=2026-11-28-01-00/manifest.json",
        "inventory/landing2/a/2026-11-28T01-00Z/manifest.json",
    )
    s3: Any = StateBucket(*manifests, *others)
    made = 1_795_741_200_000
    assert inventory.newest(s3, "state", "landing", made) == f"s3://state/{manifests[1]}"
    assert inventory.newest(s3, "state", "landing", made + 1) is None
    assert inventory.newest(s3, "state", "other", 0) is None
