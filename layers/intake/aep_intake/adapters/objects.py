"""S3 objects that a request names: are they there, and which version."""

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.arrivals import Arrival
from aep_intake.errors import MalformedRequest, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Objects:
    """S3, read-only."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def arrival(self, bucket: str, key: str) -> Arrival:
        """The present version of an object, as it would have arrived.

        Raises MalformedRequest where there is no such object, or none we may read (S3 does not
        tell the two apart without the right to list), and StorageUnavailable.
        """
        try:
            head = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status in (403, 404):
                raise MalformedRequest(
                    f"objects: s3://{bucket}/{key} does not exist, or the function may not read it"
                ) from None
            raise StorageUnavailable(f"s3://{bucket}/{key}: S3 answered {status}") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"s3://{bucket}/{key}: {type(error).__name__}") from error
        version = head.get("VersionId")
        return Arrival(
            bucket=bucket,
            key=key,
            version_id=None if version == "null" else version,
            etag=head["ETag"].strip('"'),
            sequencer=None,
            size=head["ContentLength"],
            time=int(head["LastModified"].timestamp() * 1000),
        )
