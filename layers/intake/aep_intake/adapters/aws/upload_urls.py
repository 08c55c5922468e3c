"""URLs with which somebody else may PUT one object into the landing bucket, once.

The URL is a credential: it must not be logged, nor stored.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from aep_intake.arrivals.uploads import URL_SECONDS, UploadRequest
from aep_intake.model.errors import StorageUnavailable
from aep_intake.model.times import SKEW_MS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

SESSION_SECONDS = 3600  # the most where one role takes another


class UploadUrls:
    """URLs signed in a session of `role` (its ARN), which may put objects and nothing else.

    The URL dies with the session that signed it, and nobody says how long a function's own session
    still lives: https://repost.aws/knowledge-center/presigned-url-s3-bucket-expiration
    """

    def __init__(
        self,
        sts: "STSClient",
        s3: "Callable[[CredentialsTypeDef], S3Client]",
        role: str,
        now: Callable[[], int],  # epoch milliseconds
    ) -> None:
        self._sts = sts
        self._s3 = s3
        self._role = role
        self._now = now
        self._session: tuple[S3Client, int] | None = None

    def sign(self, bucket: str, upload: UploadRequest) -> tuple[str, dict[str, str]]:
        """The URL for a PUT within URL_SECONDS, and the headers to send with it.

        All of them are signed, so S3 takes these bytes alone, and only while no object has that
        key. Raises StorageUnavailable.
        """
        client = self._client()
        url = client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": bucket,
                "Key": upload.key,
                "ContentLength": upload.length,
                "ChecksumSHA256": upload.sha256,
                "IfNoneMatch": "*",
            },
            ExpiresIn=URL_SECONDS,
        )
        return url, {
            "Content-Length": str(upload.length),
            "x-amz-checksum-sha256": upload.sha256,
            "If-None-Match": "*",
        }

    def _client(self) -> "S3Client":
        """S3, in a session that outlives the URL."""
        if self._session is None or self._now() > self._session[1]:
            try:
                taken = self._sts.assume_role(
                    RoleArn=self._role,
                    RoleSessionName="upload",
                    DurationSeconds=SESSION_SECONDS,
                )["Credentials"]
            except (ClientError, BotoCoreError) as error:
                raise StorageUnavailable(
                    f"the role {self._role}, which signs uploads, cannot be taken: {error}"
                ) from error
            signs_until = self._now() + (SESSION_SECONDS - URL_SECONDS) * 1000 - SKEW_MS
            self._session = self._s3(taken), signs_until
        return self._session[0]
