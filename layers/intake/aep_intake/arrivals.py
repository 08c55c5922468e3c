"""What came in: one version of one S3 object, read from any envelope people have."""

import hashlib
import json
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """One version of one S3 object.

    `version_id` is None where the bucket is unversioned (S3 then says nothing or `null`).
    `sequencer` is S3's hexadecimal order of events of one key; a request that names an object
    has none. `size` in bytes, `time` in epoch milliseconds (when the object was made).
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str
    sequencer: str | None
    size: int
    time: int

    @property
    def uri(self) -> str:
        """For people and logs: `s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def object_id(self) -> str:
        """Hash of bucket and key: the ledger's key for all versions of the object."""
        return digest(self.bucket, self.key)

    @property
    def version(self) -> str:
        """Which version of the object: versionId, or etag and sequencer where there is none."""
        if self.version_id is not None:
            return f"v:{self.version_id}"
        return f"e:{self.etag}:{self.sequencer or ''}"

    @property
    def external_id(self) -> str:
        """Of the order this arrival stands for: from its identity alone."""
        return f"intake-{digest(self.bucket, self.key, self.version)}"

    @property
    def path(self) -> str:
        """The unique, URL-safe file name under which the upload stage PUTs the file."""
        base = re.sub(r"[^0-9A-Za-z._-]+", "_", self.key.rpartition("/")[2])[-80:]
        return f"{digest(self.bucket, self.key, self.version)}-{base}"


def digest(*parts: str) -> str:
    """32 hex digits of SHA-256 over `parts`, unambiguous whatever the parts contain."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
