"""S3 Inventory in place of a listing: its manifest, its rows, and where the newest is."""

import gzip
import io
import json
from functools import partial
from typing import Any

import pytest
from aep_intake.adapters.aws import inventory
from aep_intake.arrivals.listings import BucketListing
from aep_intake.model.errors import InventoryUnusable, StorageUnavailable
from aep_intake.model.files import Archived, Arrival
from aep_intake.model.times import DAY_MS
from botocore.exceptions import ClientError, ConnectTimeoutError

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag"
ROWS = [
    "in/a+b%2Bc.json,v1,true,false,5,2026-01-02T03:04:05.000Z,e1,STANDARD",
    "in/a+b%2Bc.json,v0,false,false,5,2026-01-01T03:04:05.000Z,e0,STANDARD",
    "in/gone.json,v1,true,true,,2026-01-02T03:04:05.000Z,,",
    "in/%22q%22.json,,true,false,6,2026-01-02T03:04:05.000Z,e2,GLACIER",
    "out/x.json,null,true,false,7,2026-01-02T03:04:05.000Z,e3,STANDARD",
]


def refused(status: int, code: str) -> ClientError:
    about: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(about, "GetObject")


class Configured:
    """The configurations of a bucket's inventories, by their id."""

    def __init__(self, **configured: dict[str, Any]) -> None:
        self.configured = configured
        self.refused: ClientError | None = None

    def get_bucket_inventory_configuration(self, *, Bucket: str, Id: str) -> dict[str, Any]:
        assert Bucket == "landing"
        if self.refused is not None:
            raise self.refused
        if Id not in self.configured:
            raise refused(404, "NoSuchConfiguration")
        usual = {"IsEnabled": True, "Schedule": {"Frequency": "Daily"}}
        return {"InventoryConfiguration": usual | self.configured[Id]}


class S3:
    """The bucket of an inventory, and the versioning of the bucket that it is of."""

    def __init__(self, versioning: str | None = None, **manifest: Any) -> None:
        self.versioning = versioning
        self.fails: Exception | None = None
        self.configured = Configured(all={})
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

    def get_bucket_inventory_configuration(self, **of: str) -> dict[str, Any]:
        return self.configured.get_bucket_inventory_configuration(**of)

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


IN_PLACE = "s3://lists/landing/all/2026-11-28T01-00Z/manifest.json"


def listed(s3: S3, uri: str, prefix: str) -> BucketListing:
    s3.objects[uri.removeprefix("s3://lists/")] = s3.objects["m/manifest.json"]
    client: Any = s3
    return inventory.listing(lambda: client, "landing", uri, prefix)


@pytest.mark.parametrize("prefix", ["in/", "in/a"])
def test_an_inventory_with_a_filter_is_for_what_is_under_it(prefix: str) -> None:
    s3 = S3()
    s3.configured.configured["all"] = {"Filter": {"Prefix": "in/"}}
    [page, *_] = listed(s3, IN_PLACE, prefix).pages("")
    assert {one.key for one in page.found if isinstance(one, Arrival)} == {"in/a b+c.json"}


def test_where_an_inventory_may_leave_something_out_it_is_not_read() -> None:
    s3 = S3()
    s3.configured.configured["all"] = {"Filter": {"Prefix": "in/"}}
    for prefix in ("", "i", "out/"):
        with pytest.raises(InventoryUnusable, match="lists only what is under 'in/'"):
            listed(s3, IN_PLACE, prefix)
    for gone in ({}, {"all": {"IsEnabled": False}}):
        s3.configured.configured = gone
        with pytest.raises(InventoryUnusable, match="nobody knows what it leaves out"):
            listed(s3, IN_PLACE, "")
    s3.configured.configured = {"all": {}}
    with pytest.raises(InventoryUnusable, match="from the place where S3 wrote it"):
        listed(s3, "s3://lists/m/manifest.json", "")
    s3.configured.refused = refused(403, "AccessDenied")
    with pytest.raises(InventoryUnusable, match="all of landing: S3 answered 403 AccessDenied"):
        listed(s3, IN_PLACE, "")
    s3.configured.refused = refused(503, "SlowDown")
    with pytest.raises(StorageUnavailable):
        listed(s3, IN_PLACE, "")


class StateBucket(Configured):
    """Lists its keys, in pages of one."""

    def __init__(self, *keys: str, **configured: dict[str, Any]) -> None:
        super().__init__(**(configured or {"a": {}, "z": {}}))
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
    newest = partial(inventory.newest, s3, "state", now=MADE + DAY_MS)
    assert newest("landing", MADE) == f"s3://state/{manifests[1]}"
    assert newest("landing", MADE + 1) is None
    assert newest("other", 0) is None


MADE = 1_795_741_200_000
MANIFEST = "inventory/landing/{}/2026-11-27T01-00Z/manifest.json"


@pytest.mark.parametrize(("frequency", "days"), [("Daily", 3), ("Weekly", 9)])
def test_that_s3_has_stopped_to_write_inventories_is_told(frequency: str, days: int) -> None:
    """Else the same days would be compared again and again, and nothing later."""
    key = MANIFEST.format("a")
    s3: Any = StateBucket(key, a={"Schedule": {"Frequency": frequency}})
    newest = partial(inventory.newest, s3, "state", "landing", 0)
    assert newest(now=MADE + days * DAY_MS) == f"s3://state/{key}"
    with pytest.raises(InventoryUnusable, match=f"should write one {frequency.lower()}"):
        newest(now=MADE + days * DAY_MS + 1)
    # But who has switched it off wants the bucket to be listed.
    s3.configured["a"] = {"IsEnabled": False}
    assert newest(now=MADE) is None
    s3.configured.clear()
    assert newest(now=MADE) is None


def test_of_two_inventories_the_one_that_has_all_is_read() -> None:
    keys = [MANIFEST.format(name) for name in "az"]
    keys[1] = keys[1].replace("11-27", "11-28")
    s3: Any = StateBucket(*keys, a={}, z={"Filter": {"Prefix": "in/"}})
    newest = partial(inventory.newest, s3, "state", "landing", 0, now=MADE + DAY_MS)
    assert newest() == f"s3://state/{keys[0]}"
    assert newest(prefix="in/x") == f"s3://state/{keys[1]}"
