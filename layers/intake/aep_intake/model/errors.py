"""Every error the intake raises on purpose, split by what the caller should do.

    IntakeError
    ├── Rejected                  terminal until somebody changes something: park it, announce why
    │   ├── MalformedEvent        the message is not one we understand
    │   ├── MalformedRequest      the HTTP request is not one we understand
    │   ├── KeyReused             an Idempotency-Key or external id that meant something else before
    │   ├── NoRoute               no route of the routing table matches the object
    │   ├── KeyNotTaken           an upload's key that is ignored, a marker, or no data
    │   ├── ObjectExists          an upload's key that an object has: an upload never overwrites
    │   ├── EmptyObject           zero bytes, and neither a folder marker nor ignored
    │   ├── TooOld                older than the ledger remembers: could be a duplicate
    │   ├── TooLarge              more bytes than Adobe takes in one file or batch
    │   ├── NoFiles               a marker whose folder holds no file of its route
    │   ├── MarkerMissing         files for which no marker, or ready file, came in time
    │   ├── MalformedManifest     a marker that is no manifest, or names a file that is not there
    │   ├── NotReplaceable        a new version that cannot take the place of the one before
    │   ├── FormatUnknown         `inputFormat: auto`, and the file name does not show the format
    │   ├── FormatMismatch        the first bytes are of another format than the route says
    │   ├── TooFewRows            a file with fewer rows than its route demands
    │   ├── BadRows               a file with more broken rows than its route allows
    │   ├── ReadTooSlowly         a file that workers had no time to read, several times
    │   ├── ContentsUnknown       a file of which nobody knows whether it was left out of its batch
    │   ├── RowsDiffer            a file with other rows than its ready file says
    │   ├── ObjectGone            S3 says that the version that arrived no longer exists
    │   ├── ObjectArchived        it lies in an archive of S3's, and must be restored first
    │   ├── CustomerKeyNeeded     it is encrypted with a key that only its sender has (SSE-C)
    │   ├── RoutesDiffer          files of one order that no longer share a route, target and format
    │   ├── Overtaken             redriven too late: a newer version, or its bytes, are there
    │   ├── TargetNotAllowed      sandbox or credential this stack does not allow
    │   ├── AlreadyClaimed        objects that other orders claimed
    │   ├── DatasetNotFound       no dataset, or more than one, by that name
    │   ├── BatchRefused          AEP refused to make the batch, in its own words
    │   ├── UploadRefused         AEP did not take a file, or the end of a batch
    │   ├── NotEnded              its batch may hold data: another attempt could double it
    │   └── NeedsAttention        AEP holds a batch of this order in a state only a person can judge
    ├── InventoryUnusable         an S3 Inventory that cannot take the place of a listing
    └── TryAgain                  retryable; `retry_after` is a hint in seconds
        ├── NotYet                it is too early, or another worker has it
        ├── Paused                somebody paused its route, dataset or organization
        ├── LeaseLost             another worker took over: follow the ledger
        ├── OutcomeUnknown        the batch may or may not exist: look up before the next attempt
        ├── PlatformUnavailable   AEP made nothing (429, gateway trouble, no connection)
        ├── CredentialUnusable    Adobe does not accept the credential; an operator must replace it
        ├── WindowSealed          the window takes no more files: use the next one
        ├── LineMoved             another version of the object was ordered just now
        ├── LedgerUnavailable     the ledger throttled, conflicted or did not answer
        ├── RoutesUnavailable     there is no routing table yet, or it cannot be read
        ├── LimitsUnavailable     the document of organizations and limits cannot be read
        ├── NotAnnounced          the event bus did not take the event
        └── StorageUnavailable    a request to S3 or SQS failed
            └── NotReadable       S3 refuses to read the object: its bucket, a right, or its KMS key

`reason` is the stable, kebab-case name of each class: the metric dimension, the `reason` of an
`Arrival Rejected` event and the last part of an HTTP problem's `type`.
"""

import re
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aep_intake.model.files import Arrival


class IntakeError(Exception):
    """Base of all deliberate errors. `str(error)` says what, where and what to do; no secrets.

    `route` and `files`: what it is about, as far as whoever raises it knows.
    """

    reason: ClassVar[str]
    route: str | None = None
    files: "Sequence[Arrival]" = ()

    def __init_subclass__(cls) -> None:
        cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(self, detail: str, *, external_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.external_id = external_id


class Rejected(IntakeError):
    """Terminal: the same input fails again until somebody changes something.

    `sent`: bytes of the same file that AEP took before. `parked`: its order is in the dead-letter
    queue already, so the message that asked for it need not be. `route`, `routes_version` and
    `owner`: those of the route that took the file, once that is known.
    """

    sent = 0
    parked = False
    routes_version: str | None = None
    owner: str | None = None


class MalformedEvent(Rejected):
    """The message is not one we understand."""


class MalformedRequest(Rejected):
    """The HTTP request is not one we understand; the detail names the member."""


class KeyReused(Rejected):
    """An Idempotency-Key or external id that came before, with another request."""


class NoRoute(Rejected):
    """No route of the routing table matches the object."""


class KeyNotTaken(Rejected):
    """The key of an upload is one that is ignored, a marker, or no data."""


class ObjectExists(Rejected):
    """An object has the key of an upload already, and an upload never overwrites."""


class EmptyObject(Rejected):
    """Zero bytes: AEP fails a batch with an empty file (its error code 106)."""


class TooOld(Rejected):
    """Older than the ledger's retention, so it could be a duplicate."""


class TooLarge(Rejected):
    """More bytes than Adobe takes in one file that cannot be split, or in one batch."""


class NoFiles(Rejected):
    """A marker whose folder holds no file that the marker's route takes."""


class MarkerMissing(Rejected):
    """Files of a folder for which no marker, or ready file, came within the route's `within`."""


class MalformedManifest(Rejected):
    """A marker that should be a manifest and is none, or names a file that is not there."""


class NotReplaceable(Rejected):
    """A new version that cannot take the place of the one before."""


class FormatUnknown(Rejected):
    """The route says `inputFormat: auto`, and the file name does not show the format."""


class FormatMismatch(Rejected):
    """The first bytes of a file are not of the format that its route says."""


class TooFewRows(Rejected):
    """A file has fewer rows than its route demands, such as a CSV's header alone."""


class BadRows(Rejected):
    """A file has more broken rows than its route allows."""


class ReadTooSlowly(Rejected):
    """Several workers had no time to read a file before they ended, among others of its batch."""


class ContentsUnknown(Rejected):
    """Somebody deleted the list that says which files of a batch were left out."""


class RowsDiffer(Rejected):
    """A file has not as many rows as its ready file says."""


class ObjectGone(Rejected):
    """S3 says that the version that arrived no longer exists."""


class ObjectArchived(Rejected):
    """The object lies in an archive of S3's: somebody must restore it before it can be read."""


class CustomerKeyNeeded(Rejected):
    """The object is encrypted with a key that only its sender has (SSE-C)."""


class RoutesDiffer(Rejected):
    """Files of one order for which the present routes say different things."""


class Overtaken(Rejected):
    """Redriven, while a newer version of a file, or the same bytes, are loaded or under way."""


class TargetNotAllowed(Rejected):
    """A sandbox or credential that this stack does not allow."""


class AlreadyClaimed(Rejected):
    """Files that other orders claimed. `claimed`: file → external id of its order or window.

    By file and not by URI: of two versions of one object, one may be claimed.
    """

    def __init__(
        self, detail: str, *, claimed: "Mapping[Arrival, str]", external_id: str | None = None
    ) -> None:
        super().__init__(detail, external_id=external_id)
        self.claimed = claimed


class DatasetNotFound(Rejected):
    """No dataset by that name in the sandbox, or more than one."""


class BatchRefused(Rejected):
    """AEP refused to make the batch, and made nothing.

    `status` is the HTTP status, `error_code` Adobe's own code where it gave one,
    `request_id` its `X-Request-Id`.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        error_code: str | None = None,
        request_id: str | None = None,
        external_id: str | None = None,
    ) -> None:
        super().__init__(detail, external_id=external_id)
        self.status = status
        self.error_code = error_code
        self.request_id = request_id


class UploadRefused(Rejected):
    """AEP did not take a file, or refused to complete a batch, in its own words.

    `status` is the HTTP status.
    """

    def __init__(
        self, detail: str, *, status: int = 400, sent: int = 0, external_id: str | None = None
    ) -> None:
        super().__init__(detail, external_id=external_id)
        self.status = status
        self.sent = sent


class NotEnded(Rejected):
    """The order's batch has not ended without data: another attempt could double it."""


class NeedsAttention(Rejected):
    """AEP holds a batch of this order in a state only a person can judge."""


class InventoryUnusable(IntakeError):
    """An S3 Inventory that cannot take the place of a listing: missing, no CSV, a column less."""


class TryAgain(IntakeError):
    """Retryable. `retry_after`: seconds to wait at least; None if nobody said."""

    def __init__(
        self, detail: str, *, retry_after: float | None = None, external_id: str | None = None
    ) -> None:
        super().__init__(detail, external_id=external_id)
        self.retry_after = retry_after


class NotYet(TryAgain):
    """It is too early: `detail` says what it waits for.

    Another worker has it, something before it is not finished, a rate is used up, this worker's
    time is over, or S3 or Catalog may not show it yet.
    """


class Paused(TryAgain):
    """Somebody paused the route, dataset or organization: nobody makes a batch until it resumes."""


class LeaseLost(TryAgain):
    """Another worker took over: the ledger holds a newer revision. Follow that."""


class OutcomeUnknown(TryAgain):
    """The request was sent and the answer never came: the batch may or may not exist."""


class PlatformUnavailable(TryAgain):
    """AEP or IMS did not serve the request, and made nothing."""


class CredentialUnusable(TryAgain):
    """The secret cannot be used, or Adobe does not accept it; an operator must replace it."""


class WindowSealed(TryAgain):
    """The window takes no more files: use the next one."""


class LineMoved(TryAgain):
    """The head of a lineage, or of a quiet folder, moved: another worker was there just now."""


class LedgerUnavailable(TryAgain):
    """The ledger throttled, conflicted or did not answer."""


class RoutesUnavailable(TryAgain):
    """There is no routing table yet, or it cannot be read."""


class LimitsUnavailable(TryAgain):
    """The document of organizations and limits cannot be read, or must be published first."""


class NotAnnounced(TryAgain):
    """The event bus did not take the event."""


class StorageUnavailable(TryAgain):
    """A request to S3 or SQS failed."""


class NotReadable(StorageUnavailable):
    """S3 refuses to read an object: a right or its bucket is missing, or its KMS key is disabled.

    Rights pass and come back (IAM follows a deployment after seconds, somebody edits a policy or
    disables a key for a while), so this never proves that the object is gone.
    """
