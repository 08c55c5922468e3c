"""The journal's objects in the state bucket."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.model.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class JournalBucket:
    """As `journal.JournalStore`, in `bucket`."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, content: bytes) -> None:
        """As `journal.JournalStore`."""
        self._call(lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=content), key)

    def names(self, prefix: str) -> list[str]:
        """As `journal.JournalStore`; S3 lists every object that was written before."""
        pages = self._client.get_paginator("list_objects_v2")

        def listed() -> list[str]:
            found = pages.paginate(Bucket=self._bucket, Prefix=prefix)
            return [each["Key"] for page in found for each in page.get("Contents", ())]

        return self._call(listed, prefix)

    def get(self, key: str) -> bytes:
        """As `journal.JournalStore`."""

        def got() -> bytes:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

        return self._call(got, key)

    def _call[T](self, call: Callable[[], T], key: str) -> T:
        try:
            return call()
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(f"s3://{self._bucket}/{key}: {error}") from error
