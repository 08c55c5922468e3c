"""S3 objects: their present version, their content, and the listing of a folder.

An object is gone only if S3 says so beyond doubt. A 403 never proves it: rights pass and come back,
and without `s3:ListBucket` S3 also answers 403 for an object that does not exist.
"""

import io
import re
from collections.abc import Buffer, Callable, Iterator
from itertools import dropwhile, islice, takewhile
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
        ListObjectVersionsOutputTypeDef,
        ListObjectVersionsRequestTypeDef,
        ObjectVersionTypeDef,
    )


CHUNK = 2**18  # bytes
VERSIONS_MAX = 100  # of an object, that are looked at
# Other storage classes can be read at once. Only a HEAD shows Intelligent-Tiering's archives.
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
# Refusals that pass by themselves, as S3's failures do; KMS throttles through S3 with a 400.
_PASSES = re.compile("Throttl|TooMany|SlowDown|Timeout|OperationAborted")


class Objects:
    """S3, read-only. `client` is called once there is something to read."""

    def __init__(self, client: "Callable[[], S3Client]") -> None:
        self._client = client

    def arrival(self, bucket: str, key: str) -> Arrival:
        """The present version of an object, as it would have arrived.

        Raises MalformedRequest if there is no such object, ObjectArchived, CustomerKeyNeeded,
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

    def exists(self, bucket: str, key: str) -> bool:
        """Whether an object has that key, readable or not. Raises NotReadable, StorageUnavailable.

        Needs `s3:ListBucket`: without it S3 answers 403 for what is not there, too.
        """
        try:
            self.arrival(bucket, key)
        except MalformedRequest:
            return False
        except (ObjectArchived, CustomerKeyNeeded):
            return True
        return True

    def read(self, arrival: Arrival, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, or to its own end, of the very version that arrived.

        There is one at least. Raises ObjectGone, ObjectArchived, CustomerKeyNeeded, NotReadable,
        and StorageUnavailable, also if its bytes break off.
        """
        with self.opened(arrival, start, min(end, arrival.size)) as stream:
            return stream.read()

    def opened(self, arrival: Arrival, start: int, end: int) -> IO[bytes]:
        """A stream of the bytes from `start` up to `end` of the very version that arrived.

        Raises as `read`, and so does reading the stream.
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
        """The present version of every object under `prefix` after a key, in the keys' order.

        S3 returns pages of 1,000 versions, older ones and delete markers among them. A restored
        object is not `Archived`; no listing shows what Intelligent-Tiering has archived. Raises
        StorageUnavailable, also without the right to list.
        """
        # Not ListObjectsV2: it leaves out the version, which is part of an arrival's identity.
        request: ListObjectVersionsRequestTypeDef = {
            "Bucket": bucket,
            "Prefix": prefix,
            "OptionalObjectAttributes": ["RestoreStatus"],
        }
        if after:
            request["KeyMarker"] = after
        while True:
            page = self._versions(request)
            for found in page.get("Versions", ()):
                if found["IsLatest"]:
                    yield _listed(bucket, found)
            if not page.get("IsTruncated"):
                return
            request["KeyMarker"] = page["NextKeyMarker"]
            request["VersionIdMarker"] = page["NextVersionIdMarker"]

    def before(self, version: Arrival) -> list[Arrival]:
        """The versions of its object before this one, the newest first: of the newest hundred.

        None in a bucket without versions, and none before what was written while it kept none: that
        has no id. Raises StorageUnavailable, also without the right to list.
        """
        if version.version_id is None:
            return []
        page = self._versions(
            {"Bucket": version.bucket, "Prefix": version.key, "MaxKeys": VERSIONS_MAX}
        )
        # A key comes before all that begin with it.
        found = (each for each in page.get("Versions", ()) if each["Key"] == version.key)
        listed = (_listed(version.bucket, each) for each in found)
        files = (each.file if isinstance(each, Archived) else each for each in listed)
        earlier = islice(dropwhile(lambda file: file.version != version.version, files), 1, None)
        return list(takewhile(lambda file: file.version_id is not None, earlier))

    def _versions(
        self, request: "ListObjectVersionsRequestTypeDef"
    ) -> "ListObjectVersionsOutputTypeDef":
        """A page of versions. Raises StorageUnavailable."""
        uri = f"s3://{request['Bucket']}/{request.get('Prefix', '')}"
        try:
            return self._client().list_object_versions(**request)
        except ClientError as error:
            status, code = _answer(error)
            remedy = "; the function needs s3:ListBucketVersions" if status == 403 else ""
            raise StorageUnavailable(
                f"{uri!r} cannot be listed: S3 answered {status} {code}{remedy}"
            ) from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"{uri!r} cannot be listed: {type(error).__name__}") from error

    def _explained(self, bucket: str, key: str, refused: ClientError) -> IntakeError:
        """Why S3 refused a HEAD: its answer has no body, so a GET of one byte asks again."""
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
    """`size` bytes of an answer of S3, after `skipped` bytes; raises StorageUnavailable."""

    def __init__(self, arrival: Arrival, body: Any, skipped: int, size: int) -> None:
        self._arrival, self._body, self._skipped, self._left = arrival, body, skipped, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        content = self._read(min(len(view), self._left))
        self._left -= len(content)
        view[: len(content)] = content
        return len(content)

    def _read(self, limit: int) -> bytes:
        try:
            while self._skipped and (passed := self._body.read(min(CHUNK, self._skipped))):
                self._skipped -= len(passed)
            content: bytes = self._body.read(limit) if limit else b""
            if limit and not content:
                raise StorageUnavailable(f"{self._arrival.uri!r}: its bytes broke off")
        except BotoCoreError as error:
            detail = f"{self._arrival.uri!r}: {type(error).__name__}"
            raise StorageUnavailable(detail) from error
        return content

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
    # Of a restored copy, S3 lists the day until which it can be read.
    readable = "RestoreExpiryDate" in found.get("RestoreStatus", {})
    archived = found.get("StorageClass", "STANDARD") in ARCHIVES and not readable
    return Archived(file) if archived else file


def _answer(error: ClientError) -> tuple[int, str]:
    """The HTTP status, and S3's own code."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def _problem(uri: str, error: ClientError, arrival: Arrival | None = None) -> IntakeError:
    """Our error for S3's error about an object, or about the version of it that arrived."""
    status, code = _answer(error)
    answer = f"S3 answered {status} {code}"
    details: Any = error.response["Error"]
    if arrival is not None and _gone(status, code, details, arrival):
        return ObjectGone(
            f"{uri}: the version that arrived ({arrival.version}) is not there any more; {answer}. "
            "Send the file again"
        )
    if code == "InvalidObjectState":
        return _archived(uri)
    message = str(details.get("Message")).lower()
    if code == "InvalidRequest" and "server side encryption" in message:
        return CustomerKeyNeeded(
            f"{uri} is encrypted with a key that only its sender has (SSE-C), so the intake "
            f"cannot read it; {answer}. Send it again without that key, or under a key of KMS"
        )
    if status >= 500 or _PASSES.search(code):
        return StorageUnavailable(f"{uri}: {answer}")
    return NotReadable(
        f"{uri} cannot be read now; {answer}. See whether its bucket is there, the policies of the "
        "bucket and of the function's role (s3:GetObject, s3:GetObjectVersion, s3:ListBucket), and "
        "whether its KMS key is enabled and allows kms:Decrypt"
    )


def _gone(status: int, code: str, details: Any, arrival: Arrival) -> bool:
    """Whether S3 says beyond doubt that a version does not exist.

    404 of the key or the version, but not of a bucket, which somebody may make again; 405: its id
    is now that of a delete marker; 412: another content; 400: S3 never gave such a version id.
    """
    if code == "InvalidArgument" and arrival.version_id is not None:
        return "version" in f"{details.get('ArgumentName')} {details.get('Message')}".lower()
    return status in (405, 412) or (status == 404 and code != "NoSuchBucket")


def _archived(uri: str) -> ObjectArchived:
    return ObjectArchived(
        f"{uri} is in an archive of S3's (InvalidObjectState): restore it, then redrive its message"
    )
