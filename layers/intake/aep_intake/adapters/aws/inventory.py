"""S3 Inventory: the objects of a bucket in files, in place of a listing.

A manifest names the files and their columns. Here they are CSV, packed by gzip, with URL-encoded
keys: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import batched, islice
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.adapters.aws.s3 import ARCHIVES, Objects
from aep_intake.arrivals.listings import PAGE, BucketListing, Page, by_key
from aep_intake.model.errors import InventoryUnusable, StorageUnavailable
from aep_intake.model.files import Archived, Arrival
from aep_intake.model.values import dataclass

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "inventory/"  # of those that S3 writes into the state bucket, by the bucket they are of
NEEDED = ("Key", "Size", "LastModifiedDate", "ETag")
_MANIFEST = re.compile(r"/(\d{4}-\d\d-\d\dT\d\d-\d\dZ)/manifest\.json$")


def newest(s3: "S3Client", place: str, bucket: str, since: int) -> str | None:
    """URI of the newest inventory of `bucket` below PREFIX in `place`, made since then (epoch ms).

    Raises StorageUnavailable.
    """
    found: list[tuple[str, str]] = []
    uri = f"s3://{place}/{PREFIX}{bucket}/"
    with _explained(uri):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=place, Prefix=f"{PREFIX}{bucket}/"
        )
        keys = (each["Key"] for page in pages for each in page.get("Contents", ()))
        found = [(named[1], key) for key in keys if (named := _MANIFEST.search(key))]
        made, key = max(found, default=("", ""))
        at = datetime.strptime(made, "%Y-%m-%dT%H-%MZ").replace(tzinfo=UTC) if made else None
    return f"s3://{place}/{key}" if at is not None and at.timestamp() * 1000 >= since else None


def listing(
    s3: "Callable[[], S3Client]", bucket: str, inventory: str | None, prefix: str = ""
) -> BucketListing:
    """What is under a prefix of a bucket, by the `inventory` with that URI or by S3's own listing.

    Raises InventoryUnusable or StorageUnavailable.
    """
    if not inventory:
        return BucketListing(lambda after: by_key(Objects(s3).folder(bucket, prefix, after)))
    read_ = read(s3(), inventory, bucket)
    return BucketListing(partial(read_.pages, prefix), read_.made)


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
