"""S3 objects: which version is there, what it holds, what else is in its folder."""

import io
from collections.abc import Buffer, Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.arrivals import Arrival
from aep_intake.errors import MalformedRequest, ObjectGone, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef


CHUNK = 2**18  # bytes


class Objects:
    """S3, read-only. `client` is only asked for a client when there is something to read."""

    def __init__(self, client: "Callable[[], S3Client]") -> None:
        self._client = client

    def arrival(self, bucket: str, key: str) -> Arrival:
        """The present version of an object, as it would have arrived.

        Raises MalformedRequest where there is no such object, or none we may read (S3 does not
        tell the two apart without the right to list), and StorageUnavailable.
        """
        try:
            head = self._client().head_object(Bucket=bucket, Key=key)
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

    def read(self, arrival: Arrival, most: int) -> bytes:
        """The first `most` bytes (1 or more) of the very version that arrived, which is not empty.

        Raises ObjectGone where that is no longer there, or none we may read, and
        StorageUnavailable, also where its bytes break off.
        """
        with self.opened(arrival, 0, min(most, arrival.size)) as stream:
            return stream.read()

    def opened(self, arrival: Arrival, start: int, end: int) -> IO[bytes]:
        """The bytes of the very version that arrived from `start` up to `end`, as they are read.

        Raises as `read`, and so does reading.
        """
        request: GetObjectRequestTypeDef = {
            "Bucket": arrival.bucket,
            "Key": arrival.key,
            "Range": f"bytes={start}-{end - 1}",
        }
        if arrival.version_id is None:
            request["IfMatch"] = f'"{arrival.etag}"'
        else:
            request["VersionId"] = arrival.version_id
        try:
            found = self._client().get_object(**request)
        except ClientError as error:
            status, code = _answer(error)
            # 405: a delete marker; InvalidArgument: S3 never gave such a version id.
            if status in (403, 404, 405, 412) or code == "InvalidArgument":
                raise ObjectGone(
                    f"{arrival.uri!r}: the version that arrived ({arrival.version}) is not there "
                    "any more, or the function may not read it (s3:GetObject and "
                    f"s3:GetObjectVersion, its KMS key); S3 answered {status} {code}. Send the "
                    "file again, or mend the rights and re-drive the message"
                ) from None
            raise StorageUnavailable(f"{arrival.uri!r}: S3 answered {status} {code}") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"{arrival.uri!r}: {type(error).__name__}") from error
        # A store that knows no ranges answers with everything.
        skipped = 0 if "ContentRange" in found else start
        raw = _Opened(arrival, found["Body"], skipped, end - start)
        return cast("IO[bytes]", io.BufferedReader(raw, CHUNK))

    def folder(self, bucket: str, prefix: str) -> Iterator[Arrival]:
        """The present version of every object whose key begins `prefix`, in the keys' order.

        A page of 1,000 versions at a time, older ones and delete markers among them. Raises
        StorageUnavailable, also where we may not list.
        """
        # Not ListObjectsV2: it does not tell the version, and that is an arrival's identity.
        uri = f"s3://{bucket}/{prefix}"
        pages = (
            self._client()
            .get_paginator("list_object_versions")
            .paginate(Bucket=bucket, Prefix=prefix)
        )
        try:
            for page in pages:
                for found in page.get("Versions", ()):
                    if found["IsLatest"]:
                        yield Arrival(
                            bucket=bucket,
                            key=found["Key"],
                            version_id=None if found["VersionId"] == "null" else found["VersionId"],
                            etag=found["ETag"].strip('"'),
                            sequencer=None,
                            size=found["Size"],
                            time=int(found["LastModified"].timestamp() * 1000),
                        )
        except ClientError as error:
            status, code = _answer(error)
            remedy = "; the function needs s3:ListBucketVersions" if status == 403 else ""
            raise StorageUnavailable(
                f"{uri!r} cannot be listed: S3 answered {status} {code}{remedy}"
            ) from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"{uri!r} cannot be listed: {type(error).__name__}") from error


class _Opened(io.RawIOBase):
    """`size` bytes of an answer of S3, after some that are skipped; raises what is ours."""

    def __init__(self, arrival: Arrival, body: Any, skipped: int, size: int) -> None:
        self._arrival, self._body, self._skipped, self._left = arrival, body, skipped, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        some = self._some(min(len(view), self._left))
        self._left -= len(some)
        view[: len(some)] = some
        return len(some)

    def _some(self, most: int) -> bytes:
        try:
            while self._skipped and (passed := self._body.read(min(CHUNK, self._skipped))):
                self._skipped -= len(passed)
            some: bytes = self._body.read(most) if most else b""
            if most and not some:
                raise StorageUnavailable(f"{self._arrival.uri!r}: its bytes broke off")
        except BotoCoreError as error:
            what = f"{self._arrival.uri!r}: {type(error).__name__}"
            raise StorageUnavailable(what) from error
        return some

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


def _answer(error: ClientError) -> tuple[int, str]:
    """The HTTP status, and S3's own code for it."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
