"""Orders: the decision to have exactly one AEP batch, who it is, and how far it has come.

An order's external id is the ledger's key, the log's correlation id, AEP's `externalId` and the
key by which consumers of our events drop repeats.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import BatchRefused, NeedsAttention, Rejected, TargetNotAllowed
from aep_intake.model.files import Arrival, digest
from aep_intake.model.records import Kept

ORDER_PREFIX = "intake-"
WINDOW_PREFIX = "window-"  # a claim names an order, or a window
# What is due is an order, a window, the delivery of a batch, or a folder without its marker.
DELIVERY_PREFIX = "delivery-"
FOLDER_PREFIX = "folder-"
RESERVED_PREFIXES = (ORDER_PREFIX, WINDOW_PREFIX, DELIVERY_PREFIX, FOLDER_PREFIX)
# A caller's: `.2`, `.3` … are for later attempts, which make it 64 characters at most.
EXTERNAL_ID = re.compile(r"(?!.*\.[0-9]+$)[0-9A-Za-z._-]{1,60}")

# Catalog's tag filter and AEP's own tags reserve names starting `adobe` and values with `:` or `,`.
TAG = "aep_intake"


@dataclass(frozen=True, slots=True)
class Identity(Kept):
    """Who a ledger is, whatever its table is called. Times in epoch milliseconds.

    `restored_at`: when it was last put back to an earlier state; what was done to batches before
    that, it may not know. `look_first_until`: orders that are opened until then may have a batch
    already.
    """

    ledger_id: str
    restored_at: int = 0
    look_first_until: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A place in the ledger that says to which order a version of an object belongs.

    An `exclusive` claim is put only where nothing stands; one that is not exclusive only gives way
    to exclusive ones. A request names an object of an unversioned bucket by its content alone, an
    event by content and sequencer: so events leave a trace of the content that later events may
    overwrite (a new upload of the same bytes is a new version), and that requests respect.
    """

    object_id: str
    slot: str
    exclusive: bool
    file: Arrival


def claims(file: Arrival) -> tuple[Claim, ...]:
    """What a file's order claims; the first is for the version itself."""
    version = Claim(file.object_id, f"claim#{digest(file.version)}", exclusive=True, file=file)
    if file.version_id is not None:
        return (version,)
    by_event = file.sequencer is not None
    content = Claim(
        file.object_id, f"content#{digest(file.etag)}", exclusive=not by_event, file=file
    )
    return (version, content) if by_event else (content,)


@dataclass(frozen=True, slots=True)
class WindowPart(Kept):
    """The files of a part of a window: those from `first` up to, not including, `end` in the
    window's own order. `bytes` in all, as AEP gets them.

    `offset` and `length` in bytes are where they stand in the window's list, and `key` is where
    that is in the state bucket: None where a release before lists planned the window.
    """

    window_id: str
    first: int
    end: int
    bytes: int
    offset: int = 0
    length: int = 0
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Lineage(Kept):
    """An order's place among those of one object, or folder, in one dataset: the newest counts.

    `subject`: hash of what these are. `position`: S3's sequencer, in a
    form that sorts. `predecessor`: external id of the order that was the newest before this one,
    until it is settled what becomes of that. `first_only`: newer ones change nothing.
    """

    subject: str
    position: str
    predecessor: str | None = None
    first_only: bool = False


@dataclass(frozen=True, slots=True)
class LineageHead:
    """The newest order of a line: its external id (of attempt 1) and its position."""

    external_id: str
    position: str


@dataclass(frozen=True, slots=True)
class Replaced(Kept):
    """A batch of an earlier order of the same line, whose data a new one replaces."""

    external_id: str
    batch_id: str


@dataclass(frozen=True, slots=True)
class Order(Kept):
    """The decision to have exactly one AEP batch.

    `external_id` is the root's for attempt 1 and has `.2`, `.3` … for later attempts.
    `options` are further members of Adobe's create request, under Adobe's own names
    (`inputFormat`, `tags`, `replay`, `enableErrorDiagnostics`, `partialIngestionPercent`).
    A part of a window has an `excerpt` instead of its `files`, which may be many.
    `trigger` is `arrival` or `request`. `fingerprint` tells two requests with one key apart.
    `line` is there where a route says what becomes of new versions. `profile`: the dataset feeds
    Adobe's Real-Time Customer Profile, whose batches are counted. `whole`: without one of its files
    the batch is worth nothing.
    """

    external_id: str
    target: Target
    options: Mapping[str, Any]
    files: tuple[Arrival, ...] = ()
    trigger: str = "arrival"
    route: str | None = None
    routes_version: str | None = None
    attempt: int = 1
    fingerprint: str | None = None
    excerpt: WindowPart | None = None
    line: Lineage | None = None
    replaces: Replaced | None = None
    profile: bool = False
    whole: bool = False

    @property
    def claims(self) -> tuple["Claim", ...]:
        """What the ledger must hold for this order, all or nothing."""
        return tuple(claim for file in self.files for claim in claims(file))

    @property
    def root(self) -> str:
        """External id of attempt 1."""
        if self.attempt == 1:
            return self.external_id
        return self.external_id.removesuffix(f".{self.attempt}")

    @property
    def claimant(self) -> str:
        """What its files' claims name: its window, or its first attempt."""
        return self.root if self.excerpt is None else self.excerpt.window_id

    def next_attempt(self) -> "Order":
        """The order to open when this one's batch ended without data."""
        attempt = self.attempt + 1
        return replace(self, external_id=f"{self.root}.{attempt}", attempt=attempt)

    def tag_value(self, ledger: str) -> str:
        """The value of our tag on the batch: proves that this very ledger ordered it."""
        return digest(ledger, self.external_id)


class State(StrEnum):
    """How far an order has come. OPEN and CREATED are unfinished; so is whatever is due."""

    OPEN = "open"  # no batch is recorded
    CREATED = "created"  # a batch is recorded, not yet announced
    ANNOUNCED = "announced"
    REFUSED = "refused"  # AEP said no: surely no batch
    HELD = "held"  # only a person can judge


class NextStep(StrEnum):
    """What whoever comes to an order does with it."""

    WAIT = "wait"  # someone works on it, or its next try is not due
    DONE = "done"  # nothing but to announce it, if that
    RECLAIM = "reclaim"  # it let its files go: claim them again, and start afresh
    REOPEN = "reopen"  # surely no batch was made: start afresh, with the present route
    RESUME = "resume"  # a batch may have been made: look for it first


@dataclass(frozen=True, slots=True)
class Rejection(Kept):
    """Why something was rejected. `at` in epoch milliseconds."""

    reason: str
    detail: str
    at: int
    status: int | None = None
    error_code: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, error: Rejected, at: int) -> "Rejection":
        """What to remember of `error`."""
        if isinstance(error, BatchRefused):
            return cls(
                error.reason, error.detail, at, error.status, error.error_code, error.request_id
            )
        return cls(error.reason, error.detail, at)

    def error(self, external_id: str) -> Rejected:
        """The error again, for a caller who comes later."""
        if self.status is None:
            kind = NeedsAttention if self.reason == NeedsAttention.reason else TargetNotAllowed
            return kind(self.detail, external_id=external_id)
        return BatchRefused(
            self.detail,
            status=self.status,
            error_code=self.error_code,
            request_id=self.request_id,
            external_id=external_id,
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on an order alone, until `until` (epoch ms). `token` is unique."""

    token: str
    until: int


@dataclass(frozen=True, slots=True)
class Record(Kept):
    """An order in the ledger, and how far it has come.

    `revision` grows with each write; a write succeeds only on the revision it was made from.
    `due` (epoch ms) is when someone must look again, and until then nobody else may: it is the
    lease's end where there is a `lease`, and the earliest next try where there is none. A finished
    record has none. `unknown_since` is the last moment at which a POST may have been sent whose
    answer nobody knows. `delivers`: whether a delivery was recorded with its end; None until that,
    and where it came before deliveries were. Each method gives the record as it stands after one
    step.
    """

    WRITTEN_AS = {"next_attempt": "superseded_by"}  # noqa: RUF012

    order: Order
    opened_at: int
    state: State
    due: int | None = None
    lease: str | None = None
    revision: int = 1
    unknown_since: int | None = None
    batch_id: str | None = None
    batch: Mapping[str, Any] | None = None
    created_at: int | None = None
    rejection: Rejection | None = None
    next_attempt: str | None = None
    replaced_by: str | None = None
    delivers: bool | None = None

    @classmethod
    def opened(cls, order: Order, lease: Lease, now: int) -> "Record":
        """A new order, leased to who opens it."""
        return cls(order, now, State.OPEN, lease.until, lease.token)

    @classmethod
    def waiting(cls, order: Order, now: int) -> "Record":
        """A new order, for whoever comes first."""
        return cls(order, now, State.OPEN, due=now)

    def leased(self, lease: Lease) -> "Record":
        """Taken over. A dead worker's lease means that its POST may have been sent until then."""
        since = self.unknown_since if self.lease is None else self.due
        return self._then(
            state=State.OPEN,
            lease=lease.token,
            due=lease.until,
            unknown_since=since,
            rejection=None,
        )

    @property
    def never_posted(self) -> bool:
        """Nobody works on it, and surely no POST was ever sent that could have made a batch."""
        return self.lease is None and self.unknown_since is None

    @property
    def never_created(self) -> bool:
        """Refused, told, and surely without a batch: it holds no claims, and may mean anew."""
        return self.state is State.REFUSED and self.due is None and self.never_posted

    def next_step(self, now: int) -> NextStep:
        """What comes next, at `now` (epoch ms), for whoever wants this order carried out."""
        if self.due is not None and now < self.due:
            return NextStep.WAIT
        if self.replaced_by is not None:
            return NextStep.DONE
        if self.state is State.OPEN:
            return NextStep.REOPEN if self.never_posted else NextStep.RESUME
        if self.due is not None:  # to be announced
            return NextStep.DONE
        if self.never_created and self.order.attempt == 1:  # which holds the files of later ones
            return NextStep.RECLAIM
        anew = {State.REFUSED: NextStep.REOPEN, State.HELD: NextStep.RESUME}
        return anew.get(self.state, NextStep.DONE)

    def reopened(self, order: Order, lease: Lease) -> "Record":
        """Surely without a batch: tried anew with the present target and options.

        But an order that has its place in line keeps it, and that is in one dataset.
        """
        known = self.order
        order = replace(
            order,
            excerpt=known.excerpt,
            line=known.line,
            replaces=known.replaces,
            unknown=known.unknown,
        )
        if known.line is not None:
            order = replace(order, target=known.target)
        return self._then(
            order=order, state=State.OPEN, lease=lease.token, due=lease.until, rejection=None
        )

    def settled(self, replaces: Replaced | None) -> "Record":
        """It is known what it replaces, and nothing stands in its way any more."""
        line = self.order.line and replace(self.order.line, predecessor=None)
        return self._then(order=replace(self.order, line=line, replaces=replaces))

    def replaced(self, by: str) -> "Record":
        """A newer order of its line takes its place; what it was stays as it is."""
        return self._then(replaced_by=by)

    def given_back(self, due: int, unknown_since: int | None = None) -> "Record":
        """Nobody works on it until `due`."""
        return self._then(lease=None, due=due, unknown_since=unknown_since or self.unknown_since)

    def created(self, batch: Batch) -> "Record":
        """Its batch is known, for good. Still due: it must be announced.

        What AEP said of it is only kept for a request, which is answered with it every time.
        """
        answer = batch.raw if self.order.trigger == "request" else None
        return self._then(
            state=State.CREATED, batch_id=batch.id, batch=answer, created_at=batch.created
        )

    def rejected(self, state: State, rejection: Rejection) -> "Record":
        """REFUSED or HELD. Still due: it must be announced."""
        return self._then(state=state, rejection=rejection)

    def announced(self, *, delivers: bool = False) -> "Record":
        """Nothing is left to do. `delivers`: but for the upload stage."""
        if self.state is not State.CREATED:
            return self._then(lease=None, due=None)
        return self._then(state=State.ANNOUNCED, lease=None, due=None, delivers=delivers)

    def followed(self, lease: Lease, now: int) -> tuple["Record", "Record"]:
        """This attempt ended without data: it, finished, and the next one, opened."""
        following = Record.opened(self.order.next_attempt(), lease, now)
        ended = self._then(lease=None, due=None, next_attempt=following.order.external_id)
        return ended, following

    def _then(self, **changes: Any) -> "Record":
        return replace(self, revision=self.revision + 1, **changes)
