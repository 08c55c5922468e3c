"""Objects in the state bucket that are written once.

These are lists of windows and of contents, bad rows, and compiled maps.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.model.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 2**16  # bytes


class StateObjects:
    """The objects of `bucket`. `client` is called at the first request.

    Every method raises StorageUnavailable if a request to S3 failed.
    """

    def __init__(self, client: "Callable[[], S3Client]", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, lines: Iterable[bytes]) -> bool:
        """Write an object, unless it exists; False if it does."""
        # On disk, since S3 asks for the length first.
        with TemporaryFile() as content:
            content.writelines(lines)
            content.seek(0)
            try:
                self._client().put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=content,
                    ContentType="application/gzip" if key.endswith(".gz") else "application/jsonl",
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if _status(error) == 412:
                    return False
                raise self._unavailable(key, error) from error
            except BotoCoreError as error:
                raise self._unavailable(key, error) from error
        return True

    def head(self, key: str) -> bytes:
        """The first line of an object that exists."""
        try:
            body = self._client().get_object(Bucket=self._bucket, Key=key)["Body"]
            with closing(body):
                return next(body.iter_lines(CHUNK))
        except (ClientError, BotoCoreError) as error:
            raise self._unavailable(key, error) from error

    def read(self, key: str, start: int, end: int) -> bytes | None:
        """The bytes from `start` up to `end` or its end; None if it is gone."""
        return self._get(key, Range=f"bytes={start}-{end - 1}")

    def whole(self, key: str) -> bytes | None:
        """An object; None if it does not exist."""
        return self._get(key)

    def there(self, key: str) -> bytes:
        """An object that must exist. Raises StorageUnavailable if it does not."""
        found = self._get(key)
        if found is None:
            raise StorageUnavailable(f"s3://{self._bucket}/{key} does not exist")
        return found

    def _get(self, key: str, **part: Any) -> bytes | None:
        try:
            found = self._client().get_object(Bucket=self._bucket, Key=key, **part)
            with closing(found["Body"]) as body:
                return body.read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise self._unavailable(key, error) from error
        except BotoCoreError as error:
            raise self._unavailable(key, error) from error

    def _unavailable(self, key: str, error: ClientError | BotoCoreError) -> StorageUnavailable:
        what = f"{type(error).__name__} {_status(error) if isinstance(error, ClientError) else ''}"
        return StorageUnavailable(f"s3://{self._bucket}/{key}: {what.rstrip()}")


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
