"""S3 Inventory: the objects of a bucket in files, in place of a listing.

A manifest names the files and their columns. Here they are CSV, packed by gzip, with URL-encoded
keys: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html

What an inventory leaves out (its filter), and how often S3 writes one, is not in the manifest. It
is in the configuration, whose id the manifest's key has.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from itertools import batched, islice
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.adapters.aws.s3 import ARCHIVES, Objects
from aep_intake.arrivals.listings import PAGE, BucketListing, Page, by_key
from aep_intake.model.errors import InventoryUnusable, StorageUnavailable
from aep_intake.model.files import Archived, Arrival
from aep_intake.model.times import DAY_MS
from aep_intake.model.values import dataclass

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "inventory/"  # of those that S3 writes into the state bucket, by the bucket they are of
NEEDED = ("Key", "Size", "LastModifiedDate", "ETag")
# The id of its configuration, and when it was made.
_MANIFEST = re.compile(r"/([^/]+)/(\d{4}-\d\d-\d\dT\d\d-\d\dZ)/manifest\.json$")
PERIODS_MS = {"Daily": DAY_MS, "Weekly": 7 * DAY_MS}
# By which an inventory may be late: S3 takes up to 48 hours for the first one.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html
LATE_MS = 2 * DAY_MS


@dataclass(frozen=True, slots=True)
class Configuration:
    """What S3 was told of inventories: `under` which prefix, and how often (`Daily`, `Weekly`)."""

    under: str
    frequency: str

    def covers(self, prefix: str) -> bool:
        """Whether all that is under a prefix is in the inventory."""
        return prefix.startswith(self.under)


def newest(
    s3: "S3Client", place: str, bucket: str, since: int, *, now: int, prefix: str = ""
) -> str | None:
    """URI of the newest inventory of `bucket` below PREFIX in `place`, made since then (epoch ms).

    Of several kinds, one that has all that is under `prefix` is preferred. None where S3 was told
    to write no more. Raises StorageUnavailable, and InventoryUnusable where it should have written
    a newer one by `now` (epoch ms).
    """
    uri = f"s3://{place}/{PREFIX}{bucket}/"
    configured = cache(partial(_configuration, s3, bucket))
    with _explained(uri):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=place, Prefix=f"{PREFIX}{bucket}/"
        )
        keys = (each["Key"] for page in pages for each in page.get("Contents", ()))
        named = [(found, key) for key in keys if (found := _MANIFEST.search(key))]
        known = [
            (about.covers(prefix), found[2], key, about)
            for found, key in named
            if (about := configured(found[1])) is not None
        ]
    if not known:
        return None
    _, made, key, about = max(known, key=lambda each: each[:3])
    at = int(datetime.strptime(made, "%Y-%m-%dT%H-%MZ").replace(tzinfo=UTC).timestamp() * 1000)
    if at < since:
        return None
    if at < now - PERIODS_MS[about.frequency] - LATE_MS:
        raise InventoryUnusable(
            f"s3://{place}/{key} is the newest inventory of {bucket}, and S3 should write one "
            f"{about.frequency.lower()}: find out why it has stopped, or delete its configuration"
        )
    return f"s3://{place}/{key}"


def _configuration(s3: "S3Client", bucket: str, name: str) -> Configuration | None:
    """The configuration of a bucket's inventories with that id; None if S3 writes no such ones.

    Raises InventoryUnusable or StorageUnavailable.
    """
    with _explained(f"inventory configuration {name} of {bucket}"):
        try:
            answer = s3.get_bucket_inventory_configuration(Bucket=bucket, Id=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchConfiguration":
                return None
            raise
        about: Mapping[str, Any] = answer["InventoryConfiguration"]
        if not about["IsEnabled"]:
            return None
        under = about.get("Filter", {}).get("Prefix", "")
        return Configuration(under, about["Schedule"]["Frequency"])


def listing(
    s3: "Callable[[], S3Client]", bucket: str, inventory: str | None, prefix: str = ""
) -> BucketListing:
    """What is under a prefix of a bucket, by the `inventory` with that URI or by S3's own listing.

    Raises InventoryUnusable, also where it may leave out some of that, or StorageUnavailable.
    """
    if not inventory:
        return BucketListing(lambda after: by_key(Objects(s3).folder(bucket, prefix, after)))
    read_ = read(s3(), inventory, bucket)
    _check_covers(s3(), inventory, bucket, prefix)
    return BucketListing(partial(read_.pages, prefix), read_.made)


def _check_covers(s3: "S3Client", uri: str, bucket: str, prefix: str) -> None:
    named = _MANIFEST.search(uri)
    about = None if named is None else _configuration(s3, bucket, named[1])
    if about is None:
        raise InventoryUnusable(
            f"{uri} is of no configuration that {bucket} has now, so nobody knows what it leaves "
            "out: take one that S3 writes there, from the place where S3 wrote it"
        )
    if not about.covers(prefix):
        raise InventoryUnusable(
            f"{uri} lists only what is under {about.under!r}: take the filter out of its "
            "configuration"
        )


@dataclass(frozen=True, slots=True)
class Inventory:
    """An inventory of `bucket`: `files` are keys in the bucket `place`."""

    s3: "S3Client"
    bucket: str
    place: str
    files: tuple[str, ...]
    columns: tuple[str, ...]
    made: int  # in epoch milliseconds: it does not know what came later

    def pages(self, prefix: str, after: str) -> Iterator[Page]:
        """The present versions under a prefix, after a place (`<file>:<row>`), by page.

        Raises InventoryUnusable or StorageUnavailable.
        """
        first, _, row = after.partition(":")
        for number in range(int(first or 0), len(self.files)):
            done = int(row or 0) if number == int(first or 0) else 0
            name = self.files[number]
            with _explained(f"s3://{self.place}/{name}"):
                body = self.s3.get_object(Bucket=self.place, Key=name)["Body"]
                with gzip.GzipFile(fileobj=cast("IO[bytes]", body)) as unpacked:
                    rows = csv.reader(io.TextIOWrapper(unpacked, "utf-8", newline=""))
                    for some in batched(islice(rows, done, None), PAGE, strict=False):
                        done += len(some)
                        yield Page(tuple(self._present(some, prefix)), f"{number:06}:{done:012}")

    def _present(self, rows: tuple[list[str], ...], prefix: str) -> Iterator[Arrival | Archived]:
        for row in rows:
            try:
                about = dict(zip(self.columns, row, strict=True))
                present = about.get("IsLatest", "true") == "true"
                if not present or about.get("IsDeleteMarker") == "true":
                    continue
                found = self._listed(about)
            except ValueError as error:
                raise ValueError(f"{row!r:.200}: {error}") from None
            if (found.file if isinstance(found, Archived) else found).key.startswith(prefix):
                yield found

    def _listed(self, about: dict[str, str]) -> Arrival | Archived:
        version = about.get("VersionId")
        file = Arrival(
            bucket=self.bucket,
            key=unquote_plus(about["Key"], errors="strict"),
            version_id=None if version in (None, "", "null") else version,
            etag=about["ETag"].strip('"'),
            sequencer=None,
            size=int(about["Size"]),
            time=int(datetime.fromisoformat(about["LastModifiedDate"]).timestamp() * 1000),
        )
        return Archived(file) if about.get("StorageClass") in ARCHIVES else file


def read(s3: "S3Client", uri: str, *buckets: str) -> Inventory:
    """That whose manifest is at `uri`, of one of `buckets`.

    Raises InventoryUnusable or StorageUnavailable.
    """
    place, _, key = uri.removeprefix("s3://").partition("/")
    with _explained(uri):
        text = s3.get_object(Bucket=place, Key=key)["Body"].read()
    try:
        manifest: Any = json.loads(text)
        source, form = manifest["sourceBucket"], manifest["fileFormat"]
        files = tuple(str(file["key"]) for file in manifest["files"])
        columns = tuple(name.strip() for name in manifest["fileSchema"].split(","))
        made = int(manifest["creationTimestamp"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InventoryUnusable(f"{uri} is not the manifest.json of an S3 Inventory") from None
    if source not in buckets:
        raise InventoryUnusable(f"{uri} is an inventory of {source}, not of {' or '.join(buckets)}")
    if form != "CSV":
        raise InventoryUnusable(f"{uri} lists its objects as {form}: make an inventory as CSV")
    if missing := [name for name in NEEDED if name not in columns]:
        raise InventoryUnusable(f"{uri} lacks {', '.join(missing)}: add it, and wait for a day")
    with _explained(uri):
        versions = "VersionId" in columns or not s3.get_bucket_versioning(Bucket=source).get(
            "Status"
        )
    if not versions:
        raise InventoryUnusable(
            f"{source} has versions, which tell one object from another, and {uri} lists none: "
            "make one of all versions"
        )
    return Inventory(s3, source, place, files, columns, made)


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Raises InventoryUnusable or StorageUnavailable for what happens while `uri` is read."""
    try:
        yield
    except ClientError as error:
        status, code = (
            error.response["ResponseMetadata"]["HTTPStatusCode"],
            error.response["Error"]["Code"],
        )
        kind = InventoryUnusable if 400 <= status < 500 else StorageUnavailable
        raise kind(f"{uri}: S3 answered {status} {code} to {error.operation_name}") from error
    except (BotoCoreError, ConnectionError, TimeoutError) as error:
        raise StorageUnavailable(f"{uri}: {type(error).__name__}") from error
    except (ValueError, EOFError, OSError, zlib.error, csv.Error) as error:
        raise InventoryUnusable(f"{uri}: {error}") from error
