"""S3 Inventory: the objects of a bucket in files, in place of a listing.

A manifest names the files and their columns. Here they are CSV, packed by gzip, with URL-encoded
keys: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import batched, islice
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote_plus

from aep_intake.adapters.aws.s3 import ARCHIVES
from aep_intake.arrivals.backfills import Page
from aep_intake.model.files import Archived, Arrival

from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGE = 1000  # objects
NEEDED = ("Key", "Size", "LastModifiedDate", "ETag")


@dataclass(frozen=True)
class Inventory:
    """An inventory of `bucket`: `files` are keys in the bucket `place`."""

    s3: S3Client
    bucket: str
    place: str
    files: tuple[str, ...]
    columns: tuple[str, ...]
    made: int  # in epoch milliseconds: it does not know what came later

    def all(self) -> Iterator[Arrival | Archived]:
        """As `pages`, of the whole bucket."""
        return (found for page in self.pages("", "") for found in page.found)

    def pages(self, prefix: str, after: str) -> Iterator[Page]:
        """The present versions under a prefix, after a place (`<file>:<row>`), by page.

        Raises CommandFailed if a row cannot be read, and botocore's errors.
        """
        first, _, row = after.partition(":")
        for number in range(int(first or 0), len(self.files)):
            done = int(row or 0) if number == int(first or 0) else 0
            body = self.s3.get_object(Bucket=self.place, Key=self.files[number])["Body"]
            with gzip.GzipFile(fileobj=cast("IO[bytes]", body)) as unpacked:
                rows = csv.reader(io.TextIOWrapper(unpacked, "utf-8", newline=""))
                for some in batched(islice(rows, done, None), PAGE, strict=False):
                    done += len(some)
                    found = tuple(self._present(some, prefix, self.files[number]))
                    yield Page(found, f"{number:06}:{done:012}")

    def _present(
        self, rows: tuple[list[str], ...], prefix: str, name: str
    ) -> Iterator[Arrival | Archived]:
        for row in rows:
            try:
                about = dict(zip(self.columns, row, strict=True))
                present = about.get("IsLatest", "true") == "true"
                if not present or about.get("IsDeleteMarker") == "true":
                    continue
                found = self._listed(about)
            except ValueError as error:
                raise CommandFailed(f"s3://{self.place}/{name}: {row!r:.200}: {error}") from None
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


def read(s3: S3Client, uri: str, *buckets: str) -> Inventory:
    """That whose manifest is at `uri`, of one of `buckets`. Raises CommandFailed, botocore's."""
    place, _, key = uri.removeprefix("s3://").partition("/")
    text = s3.get_object(Bucket=place, Key=key)["Body"].read()
    try:
        manifest: Any = json.loads(text)
        source, form = manifest["sourceBucket"], manifest["fileFormat"]
        files = tuple(str(file["key"]) for file in manifest["files"])
        columns = tuple(name.strip() for name in manifest["fileSchema"].split(","))
        made = int(manifest["creationTimestamp"])
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(f"{uri} is not the manifest.json of an S3 Inventory") from None
    if source not in buckets:
        raise CommandFailed(f"{uri} is an inventory of {source}, not of {' or '.join(buckets)}")
    if form != "CSV":
        raise CommandFailed(f"{uri} lists its objects as {form}: make an inventory as CSV")
    if missing := [name for name in NEEDED if name not in columns]:
        raise CommandFailed(f"the inventory lacks {', '.join(missing)}: add it, and wait for a day")
    if "VersionId" not in columns and s3.get_bucket_versioning(Bucket=source).get("Status"):
        raise CommandFailed(
            f"{source} has versions, which tell one object from another, and this inventory lists "
            "none: make one of all versions"
        )
    return Inventory(s3, source, place, files, columns, made)
