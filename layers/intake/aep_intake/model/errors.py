"""Every error the intake raises on purpose, split by what the caller should do.

    IntakeError
    ├── Rejected                  cannot succeed as things stand: park it, announce it, say why
    │   ├── MalformedEvent        the message is not one we understand
    │   ├── MalformedRequest      the HTTP request is not one we understand
    │   ├── KeyReused             an Idempotency-Key or external id that meant something else before
    │   ├── NoRoute               no rule of the routing table matches the object
    │   ├── EmptyObject           zero bytes, and neither a folder marker nor ignored
    │   ├── TooOld                older than the ledger remembers: could be a duplicate
    │   ├── TooLarge              more bytes than Adobe takes in one file or batch
    │   ├── NoFiles               a marker whose folder holds nothing for its route
    │   ├── MarkerMissing         files for which no marker has come in time
    │   ├── MalformedManifest     a marker that is no manifest, or names what is not there
    │   ├── NotReplaceable        a new version that cannot take the place of the one before
    │   ├── FormatUnknown         `inputFormat: auto`, and the name says nothing
    │   ├── FormatMismatch        the first bytes are of another format than the route says
    │   ├── ObjectGone            the version that arrived is surely no longer there
    │   ├── ObjectArchived        it lies in an archive of S3's, and must be restored first
    │   ├── CustomerKeyNeeded     it is encrypted with a key that only its sender has (SSE-C)
    │   ├── TargetNotAllowed      sandbox or credential this deployment does not allow
    │   ├── AlreadyClaimed        objects that other orders claimed
    │   ├── DatasetNotFound       no dataset, or more than one, by that name
    │   ├── BatchRefused          AEP said no, in its own words
    │   ├── UploadRefused         AEP did not take a file, or the end of a batch
    │   ├── NotEnded              its batch may hold data: another attempt could double it
    │   └── NeedsAttention        AEP holds a batch of this order in a state only a person can judge
    └── TryAgain                  may succeed later; `retry_after` is a hint in seconds
        ├── NotYet                another worker holds the lease, or the time is not come
        ├── LeaseLost             another worker took over: follow the ledger
        ├── OutcomeUnknown        the batch may or may not exist: look up before the next attempt
        ├── PlatformUnavailable   surely nothing was made (429, gateway trouble, no connection)
        ├── CredentialUnusable    Adobe does not accept the credential; an operator must mend it
        ├── WindowSealed          the window takes nothing more: the next one does
        ├── LineMoved             another version of the object was ordered just now
        ├── LedgerUnavailable     DynamoDB throttled, conflicted or did not answer
        ├── RoutesUnavailable     there is no routing table yet, or it cannot be read
        ├── LimitsUnavailable     which organizations and limits hold cannot be read
        ├── NotAnnounced          the event bus did not take the event
        └── StorageUnavailable    S3 or SQS did not do what was asked
            └── NotReadable       S3 does not let us read it now: rights, or the key it is under

`reason` is the stable, kebab-case name of each class: the metric dimension, the `reason` of an
`Arrival Rejected` event and the last part of an HTTP problem's `type`.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from aep_intake.model.files import Arrival


class IntakeError(Exception):
    """Base of all deliberate errors. `str(error)` says what, where and what to do; no secrets."""

    reason: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(self, detail: str, *, external_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.external_id = external_id


class Rejected(IntakeError):
    """Cannot succeed as things stand."""


class MalformedEvent(Rejected):
    """The message is not one we understand."""


class MalformedRequest(Rejected):
    """The HTTP request is not one we understand; the text says which member."""


class KeyReused(Rejected):
    """An Idempotency-Key or external id that came before, with another request."""


class NoRoute(Rejected):
    """No rule of the routing table matches the object."""


class EmptyObject(Rejected):
    """Zero bytes: AEP fails a batch with an empty file (its error code 106)."""


class TooOld(Rejected):
    """Older than the ledger remembers, so nobody can say whether it was a duplicate."""


class TooLarge(Rejected):
    """More bytes than Adobe takes in one file that cannot be split, or in one batch."""


class NoFiles(Rejected):
    """A marker whose folder holds no file that the marker's route takes."""


class MarkerMissing(Rejected):
    """Files of a folder for which no marker has come within the time that their route says."""


class MalformedManifest(Rejected):
    """A marker that should be a manifest and is none, or names what is not in its folder."""


class NotReplaceable(Rejected):
    """A new version that cannot take the place of the one before."""


class FormatUnknown(Rejected):
    """The route says `inputFormat: auto` and the file name says nothing."""


class FormatMismatch(Rejected):
    """The first bytes of a file are not of the format that its route says."""


class ObjectGone(Rejected):
    """The version that arrived is surely no longer there."""


class ObjectArchived(Rejected):
    """The object lies in an archive of S3's: somebody must restore it before it can be read."""


class CustomerKeyNeeded(Rejected):
    """The object is encrypted with a key of its sender's own (SSE-C), which nobody else has."""


class TargetNotAllowed(Rejected):
    """A sandbox or credential that this deployment does not allow."""


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
    """AEP refused to make the batch; nothing was made.

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
    """AEP did not take a file, or does not let a batch be completed, in its own words.

    `status` is the HTTP status, `sent` how many bytes of the same file AEP took before.
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


class TryAgain(IntakeError):
    """May succeed later. `retry_after`: seconds to wait at least, if anybody said."""

    def __init__(
        self, detail: str, *, retry_after: float | None = None, external_id: str | None = None
    ) -> None:
        super().__init__(detail, external_id=external_id)
        self.retry_after = retry_after


class NotYet(TryAgain):
    """Another worker holds the lease, or the time to look again has not come."""


class LeaseLost(TryAgain):
    """Another worker took over; the ledger tells how it went on."""


class OutcomeUnknown(TryAgain):
    """The request was sent and the answer never came: the batch may or may not exist."""


class PlatformUnavailable(TryAgain):
    """AEP or IMS did not serve us, and surely made nothing."""


class CredentialUnusable(TryAgain):
    """The secret cannot be used, or Adobe does not accept it; an operator must mend it."""


class WindowSealed(TryAgain):
    """The window takes nothing more; the next one does."""


class LineMoved(TryAgain):
    """Another version of the object, or another marker of the folder, was ordered just now."""


class LedgerUnavailable(TryAgain):
    """DynamoDB throttled, conflicted or did not answer."""


class RoutesUnavailable(TryAgain):
    """There is no routing table yet, or it cannot be read."""


class LimitsUnavailable(TryAgain):
    """Organizations and limits cannot be read, or none is published where one must be."""


class NotAnnounced(TryAgain):
    """The event bus did not take the event."""


class StorageUnavailable(TryAgain):
    """S3 or SQS did not do what was asked."""


class NotReadable(StorageUnavailable):
    """S3 does not let us read an object now: for want of a right, or of the key it is under.

    Rights pass and come back (IAM follows a deployment after seconds, a policy is edited, a key is
    disabled for a while), so this is never proof that the object is gone.
    """
