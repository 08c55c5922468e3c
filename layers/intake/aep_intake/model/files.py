"""One version of one S3 object, and its identity."""

import functools
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import field
from typing import IO

from aep_intake.model.records import Kept
from aep_intake.model.values import dataclass

# Stand for the name of a file, and for what is before its ending, in the name of its ready file.
OWN_NAME, OWN_STEM = "{file}", "{stem}"
# Of a file's name, or of a pattern; a gzip's is one with that of what is in it.
ENDING = re.compile(r"[.][^./*?{}\[\]]+(?:[.]gz(?:ip)?)?\Z", re.IGNORECASE)
# Of what brings a version of which no event came; the rest says when.
BACKFILL_PREFIX = "backfill-"
RECONCILE_PREFIX = "reconcile-"


def ready_name(template: str, own: str) -> str:
    """The name of a ready file, as its route writes it, of a file of that name."""
    return template.replace(OWN_NAME, own).replace(OWN_STEM, ENDING.sub("", own))


@dataclass(frozen=True, slots=True)
class Arrival(Kept):
    """One version of one S3 object."""

    bucket: str
    key: str
    version_id: str | None  # None in an unversioned bucket, where S3 says nothing or `null`
    etag: str
    sequencer: str | None  # S3's hexadecimal order of one key's events; a request has none
    size: int  # bytes
    time: int  # when the object was made, in epoch milliseconds
    # Whether S3 says that it was made by a copy: perhaps of itself. No part of its identity.
    copied: bool = field(default=False, compare=False)
    # The id of the version before it, with the same bytes, of which nothing was known yet: if that
    # comes, this copy stands for it.
    copy_of: str | None = field(default=None, compare=False)
    # Whether its first bytes are those of a gzip; None if nobody has looked yet.
    is_gzip: bool | None = field(default=None, compare=False)
    # How many rows its ready file says that it has.
    rows: int | None = field(default=None, compare=False)
    # The backfill, or comparison, that brings it; None: an event, a request, a folder's listing.
    brought_by: str | None = field(default=None, compare=False)
    # Whether it is brought though the ledger may have forgotten it: no event can have come of it.
    aged: bool = field(default=False, compare=False)

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
    def position(self) -> str:
        """S3's sequencer in a form that sorts; empty where there is none.

        What a backfill brings has none: it is older than all that came by events, and sorts by its
        time among its like. Of what a comparison found only the time is known.
        """
        # Of different lengths, they are compared as if the shorter had zeros at its end.
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        if self.sequencer:
            return self.sequencer.upper().ljust(64, "0")
        return f"-{self.time:015}" if self.by_backfill else ""  # `-` sorts before all digits

    @property
    def by_backfill(self) -> bool:
        """Whether a backfill brings it, which says nothing of what comes today."""
        return (self.brought_by or "").startswith(BACKFILL_PREFIX)

    @property
    def external_id(self) -> str:
        """External id of the order of this arrival, derived from its identity alone."""
        return f"intake-{digest(self.bucket, self.key, self.version)}"

    @property
    def gzipped(self) -> bool:
        """Whether it is compressed. Before anybody has looked, its name says so."""
        return self.key.lower().endswith((".gz", ".gzip")) if self.is_gzip is None else self.is_gzip

    @property
    def path(self) -> str:
        """The unique, URL-safe name of the file in a batch, where it goes up by itself."""
        base = re.sub(r"[^0-9A-Za-z._-]+", "_", self.key.rpartition("/")[2])[-80:]
        return f"{self.path_digest}-{base}"

    @property
    def path_digest(self) -> str:
        """32 hex digits, with which the names of all its uploads begin, and no other file's."""
        return digest(self.bucket, self.key, self.version)


# The bytes of the version that arrived, from an offset up to another. Raises ObjectGone,
# ObjectArchived, CustomerKeyNeeded, NotReadable or StorageUnavailable.
type OpenFile = Callable[[Arrival, int, int], IO[bytes]]  # and so does reading the stream
type ReadFile = Callable[[Arrival, int, int], bytes]  # at once, and no further than to its own end


@functools.lru_cache(4096)  # the same few are asked for at every step of an order
def digest(*parts: str) -> str:
    """32 hex digits of SHA-256 over `parts`, unambiguous whatever the parts contain."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Archived:
    """A file that S3 lists in an archive: nobody can read it until somebody restores it."""

    file: Arrival


def in_a_key(external_id: str) -> str:
    """An external id as one part of an object's key: that of a caller may have slashes."""
    return external_id.replace("/", "!")
