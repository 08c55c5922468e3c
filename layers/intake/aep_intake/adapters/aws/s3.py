"""S3 objects: which version is there, what it holds, what else is in its folder.

Only what S3 surely says is gone is gone. A 403 never is: rights pass and come back, and without
`s3:ListBucket` it is also what S3 says of an object that is not there.
"""

import io
from collections.abc import Buffer, Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.model.errors import (
    CustomerKeyNeeded,
    IntakeError,
    MalformedRequest,
    NotReadable,
    ObjectArchived,
    ObjectGone,
    StorageUnavailable,
)
from aep_intake.model.files import Archived, Arrival

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        GetObjectRequestTypeDef,
        ListObjectVersionsRequestTypeDef,
        ObjectVersionTypeDef,
    )


CHUNK = 2**18  # bytes
# Other storage classes are read at once. Of Intelligent-Tiering's archives only a HEAD tells.
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class Objects:
    """S3, read-only. `client` is only asked for a client when there is something to read."""

    def __init__(self, client: "Callable[[], S3Client]") -> None:
        self._client = client

    def arrival(self, bucket: str, key: str) -> Arrival:
        """The present version of an object, as it would have arrived.

        Raises MalformedRequest where there is no such object, ObjectArchived, CustomerKeyNeeded,
        NotReadable or StorageUnavailable.
        """
        try:
            head = self._client().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise self._explained(bucket, key, error) from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"s3://{bucket}/{key}: {type(error).__name__}") from error
        restored = 'ongoing-request="false"' in head.get("Restore", "")
        if "ArchiveStatus" in head or (head.get("StorageClass") in ARCHIVES and not restored):
            raise _archived(f"s3://{bucket}/{key}")
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

        Raises ObjectGone where that is surely no longer there, ObjectArchived, CustomerKeyNeeded,
        NotReadable, and StorageUnavailable, also where its bytes break off.
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
            raise _problem(repr(arrival.uri), error, arrival) from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"{arrival.uri!r}: {type(error).__name__}") from error
        # A store that knows no ranges answers with everything.
        skipped = 0 if "ContentRange" in found else start
        raw = _Opened(arrival, found["Body"], skipped, end - start)
        return cast("IO[bytes]", io.BufferedReader(raw, CHUNK))

    def folder(self, bucket: str, prefix: str, after: str = "") -> Iterator[Arrival | Archived]:
        """The present version of every object whose key begins `prefix`, in the keys' order.

        Those after a key, where one is given. A page of 1,000 versions at a time, older ones and
        delete markers among them. What is restored can be read, and is not `Archived`; that
        Intelligent-Tiering has archived something, S3 says of no listing. Raises
        StorageUnavailable, also where we may not list.
        """
        # Not ListObjectsV2: it does not tell the version, and that is an arrival's identity.
        uri = f"s3://{bucket}/{prefix}"
        request: ListObjectVersionsRequestTypeDef = {
            "Bucket": bucket,
            "Prefix": prefix,
            "OptionalObjectAttributes": ["RestoreStatus"],
        }
        if after:
            request["KeyMarker"] = after
        try:
            while True:
                page = self._client().list_object_versions(**request)
                for found in page.get("Versions", ()):
                    if found["IsLatest"]:
                        yield _listed(bucket, found)
                if not page.get("IsTruncated"):
                    return
                request["KeyMarker"] = page["NextKeyMarker"]
                request["VersionIdMarker"] = page["NextVersionIdMarker"]
        except ClientError as error:
            status, code = _answer(error)
            remedy = "; the function needs s3:ListBucketVersions" if status == 403 else ""
            raise StorageUnavailable(
                f"{uri!r} cannot be listed: S3 answered {status} {code}{remedy}"
            ) from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"{uri!r} cannot be listed: {type(error).__name__}") from error

    def _explained(self, bucket: str, key: str, refused: ClientError) -> IntakeError:
        """Why a HEAD was refused, which has no body to say so: a GET of one byte has."""
        uri = f"s3://{bucket}/{key}"
        status, code = _answer(refused)
        if status == 404:
            return MalformedRequest(f"objects: {uri} does not exist")
        if status not in (400, 403):
            return StorageUnavailable(f"{uri}: S3 answered {status} {code}")
        try:
            self._client().get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
        except ClientError as error:
            if _answer(error)[0] == 404:
                return MalformedRequest(f"objects: {uri} does not exist")
            return _problem(uri, error)
        except BotoCoreError as error:
            return StorageUnavailable(f"{uri}: {type(error).__name__}")
        return StorageUnavailable(f"{uri}: S3 answered {status} {code}, and then it did not")


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


def _listed(bucket: str, found: "ObjectVersionTypeDef") -> Arrival | Archived:
    file = Arrival(
        bucket=bucket,
        key=found["Key"],
        version_id=None if found["VersionId"] == "null" else found["VersionId"],
        etag=found["ETag"].strip('"'),
        sequencer=None,
        size=found["Size"],
        time=int(found["LastModified"].timestamp() * 1000),
    )
    # A copy that was restored is told with the day until which it can be read.
    readable = "RestoreExpiryDate" in found.get("RestoreStatus", {})
    archived = found.get("StorageClass", "STANDARD") in ARCHIVES and not readable
    return Archived(file) if archived else file


def _answer(error: ClientError) -> tuple[int, str]:
    """The HTTP status, and S3's own code for it."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def _problem(uri: str, error: ClientError, arrival: Arrival | None = None) -> IntakeError:
    """What an error of S3's says of an object, or of the version of it that arrived."""
    status, code = _answer(error)
    said = f"S3 answered {status} {code}"
    told: Any = error.response["Error"]
    if arrival is not None and _gone(status, code, told, arrival):
        return ObjectGone(
            f"{uri}: the version that arrived ({arrival.version}) is not there any more; {said}. "
            "Send the file again"
        )
    if code == "InvalidObjectState":
        return _archived(uri)
    if code == "InvalidRequest" and "server side encryption" in str(told.get("Message")).lower():
        return CustomerKeyNeeded(
            f"{uri} is encrypted with a key of its sender's own (SSE-C), so nobody else can read "
            f"it; {said}. Send it again without that, or under a key of KMS"
        )
    if status == 403 or code.startswith("KMS."):
        return NotReadable(
            f"{uri} cannot be read now; {said}. See the policies of its bucket and of the "
            "function's role (s3:GetObject, s3:GetObjectVersion, s3:ListBucket), and whether its "
            "KMS key is enabled and allows kms:Decrypt"
        )
    return StorageUnavailable(f"{uri}: {said}")


def _gone(status: int, code: str, told: Any, arrival: Arrival) -> bool:
    """Whether S3 surely says that a version is not there.

    404 of the key or the version, not of a bucket that somebody may make anew; 405: its id is now
    that of a delete marker; 412: another content; 400: S3 never gave such a version id.
    """
    if code == "InvalidArgument" and arrival.version_id is not None:
        return "version" in f"{told.get('ArgumentName')} {told.get('Message')}".lower()
    return status in (405, 412) or (status == 404 and code != "NoSuchBucket")


def _archived(uri: str) -> ObjectArchived:
    return ObjectArchived(
        f"{uri} lies in an archive of S3's (InvalidObjectState): restore it, then re-drive its "
        "message"
    )
