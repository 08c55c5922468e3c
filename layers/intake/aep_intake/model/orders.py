"""Orders: the decision to have exactly one AEP batch, its identity, and its progress.

An order's external id is the ledger's key, the log's correlation id, AEP's `externalId` and the
key by which consumers of our events drop repeats.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aep_intake.model.batches import Target
from aep_intake.model.files import Arrival, digest
from aep_intake.model.records import Kept
from aep_intake.model.values import dataclass

ORDER_PREFIX = "intake-"
WINDOW_PREFIX = "window-"  # a claim names an order, or a window
# Besides these two, the delivery of a batch, or a folder without its marker, may be due.
DELIVERY_PREFIX = "delivery-"
FOLDER_PREFIX = "folder-"
RESERVED_PREFIXES = (ORDER_PREFIX, WINDOW_PREFIX, DELIVERY_PREFIX, FOLDER_PREFIX)
# A caller's external id, in Adobe's characters (`xdm:customerIngestionId` in github.com/adobe/xdm).
# `.2`, `.3` … mark later attempts, whose ids have 64 characters at most.
EXTERNAL_ID = re.compile(r"(?!.*\.[0-9]+$)[0-9A-Za-z._/@-]{1,60}")


def key_of_map(name: str) -> str:
    """Where a compiled map is, in the state bucket."""
    return f"maps/{name}.json"


# Catalog's tag filter and AEP's own tags reserve names starting `adobe` and values with `:` or `,`.
TAG = "aep_intake"


def tag_value(ledger: str, external_id: str) -> str:
    """The value of that tag on the batch of an order of this ledger."""
    return digest(ledger, external_id)


@dataclass(frozen=True, slots=True)
class LedgerIdentity(Kept):
    """The identity of a ledger, which does not depend on its table's name."""

    ledger_id: str
    # When somebody last restored it (epoch ms): it may not know what happened to batches before.
    restored_at: int = 0
    # An order that is opened before this time (epoch ms) may have a batch already.
    look_first_until: int = 0
    made_at: int = 0  # when its first batch was made (epoch ms); 0: a release before did not say


@dataclass(frozen=True, slots=True)
class Claim:
    """A place in the ledger that says to which order a version of an object belongs.

    An `exclusive` claim is put only if its slot is free. Any other claim is a trace: it is put
    unless a request claims the slot. A request names an object of an unversioned bucket by its
    content alone, an event by content and sequencer. So an event leaves a trace of the content:
    later events may overwrite it (a new upload of the same bytes is a new version), and requests
    respect it.
    """

    object_id: str
    slot: str
    exclusive: bool
    file: Arrival
    same_as: str | None = None  # the version of a copy that stands for this one


def claims(file: Arrival) -> tuple[Claim, ...]:
    """The claims of a file's order; the first is for the version itself.

    A copy claims the version that it stands for, too: of the two, one gets its claims.
    """
    version = Claim(file.object_id, f"claim#{digest(file.version)}", exclusive=True, file=file)
    if file.copy_of is not None:
        original = replace(file, version_id=file.copy_of, copy_of=None)
        return (version, replace(claims(original)[0], same_as=file.version))
    if file.version_id is not None:
        return (version,)
    by_event = file.sequencer is not None
    content = Claim(
        file.object_id, f"content#{digest(file.etag)}", exclusive=not by_event, file=file
    )
    return (version, content) if by_event else (content,)


@dataclass(frozen=True, slots=True)
class WindowPart(Kept):
    """Files of a window that share a batch: from `first` up to, not including, `end`."""

    window_id: str
    first: int
    end: int
    bytes: int  # in all, as AEP gets them
    # Bytes of the window's list that describe them.
    offset: int = 0
    length: int = 0
    # The list's key in the state bucket; None if a release before lists planned the window.
    key: str | None = None
    # Files of the window, of whose objects a newer version counts; None if another part says it.
    superseded: int | None = None


@dataclass(frozen=True, slots=True)
class Lineage(Kept):
    """An order's place among the orders of one object, or folder, in one dataset.

    The newest counts.
    """

    subject: str  # hash of the object or folder, and the dataset
    # S3's sequencer, in a form that sorts; empty where only its time says which is newer.
    position: str
    # External id of the newest order before this one, until this one has taken its place.
    predecessor: str | None = None
    first_only: bool = False  # the first order counts, and newer ones change nothing
    time: int = 0  # of the version, in epoch milliseconds


@dataclass(frozen=True, slots=True)
class LineageHead:
    """The newest order of a lineage: its external id (of attempt 1), its position and time."""

    external_id: str
    position: str
    time: int = 0  # of its version; 0 if an earlier release opened it


@dataclass(frozen=True, slots=True)
class Replaced(Kept):
    """A batch of an earlier order of the same lineage, whose data a new batch replaces."""

    external_id: str
    batch_id: str
    others: tuple["Replaced", ...] = ()  # the rest of that order's batches, if it was split


@dataclass(frozen=True, slots=True)
class Demands(Kept):
    """What a route demands of the content of its files."""

    # None: of files with a batch of their own before that is made, of others while they go up.
    look_inside: bool | None = None
    min_rows: int = 1
    # So many rows of a file may be broken; a text such as `1%` is a share of them. None: AEP judges
    # by its `partialIngestionPercent`.
    bad_rows: int | str | None = 0
    # Rows that a map leaves out are kept for some days: as they were read, or only where they are.
    keep_bad_rows: bool = False

    def allows(self, broken: int, rows: int, *, all_rows: bool) -> bool:
        """Whether so many of a file's `rows` may be broken. `all_rows`: it has no others."""
        match self.bad_rows:
            case int(most):
                return broken <= most
            case str(share):
                return not all_rows or 100 * broken <= float(share.removesuffix("%")) * rows
            case None:
                return True


@dataclass(frozen=True, slots=True)
class Order(Kept):
    """The decision to have exactly one AEP batch."""

    WRITTEN_AS = {"lineage": "line"}  # noqa: RUF012

    external_id: str  # the root's for attempt 1; later attempts append `.2`, `.3` …
    target: Target
    # Further members of Adobe's create request, under Adobe's own names (`inputFormat`, `tags`,
    # `replay`, `enableErrorDiagnostics`, `partialIngestionPercent`).
    options: Mapping[str, Any]
    files: tuple[Arrival, ...] = ()
    trigger: str = "arrival"  # or `request`
    route: str | None = None
    routes_version: str | None = None
    owner: str | None = None  # of the route: a team, or its mail
    counts_rows: bool = False  # the route expects a number of rows
    attempt: int = 1
    fingerprint: str | None = None  # tells two requests with one key apart
    excerpt: WindowPart | None = None  # of a window, in place of `files`, which may be many
    lineage: Lineage | None = None  # where the route says what to do with new versions
    replaces: Replaced | None = None
    profile: bool = False  # the dataset feeds Real-Time Customer Profile: its batches are counted
    lookup: bool = False  # it is a lookup (dimension) dataset: the same
    whole: bool = False  # without one of its files the batch is worth nothing
    demands: Demands | None = None  # of its route
    # Of the files, if they are converted on the way up; else that of the batch, in `options`.
    source_format: Mapping[str, Any] | None = None
    # The name of the compiled map by which the rows of its files become rows of the dataset.
    compiled_map: str | None = None
    # Which places of its list (`files`, or its excerpt) it is for: from the first up to, not
    # including, the second; None: all. Only a half of an order that was split has any.
    span: tuple[int, int] | None = None
    # Places of its list that it leaves out: an earlier attempt failed because of these files.
    left_out: tuple[int, ...] = ()
    split_of: str | None = None  # the first order of the list, if it is a half
    # How many batches may be made, beyond the first one of the list, to find the files because of
    # which AEP fails a batch; 0: it is parked.
    split_batches: int = 0

    @property
    def claims(self) -> tuple["Claim", ...]:
        """The claims that the ledger must hold for this order, all or nothing."""
        return tuple(claim for file in self.files for claim in claims(file))

    @property
    def root(self) -> str:
        """External id of attempt 1."""
        if self.attempt == 1:
            return self.external_id
        return self.external_id.removesuffix(f".{self.attempt}")

    @property
    def origin(self) -> str:
        """External id of the first order of its list, whose halves, or later attempts, follow."""
        return self.split_of or self.root

    @property
    def claimant(self) -> str:
        """The owner that its files' claims name: its window, or the first order of its list."""
        return self.origin if self.excerpt is None else self.excerpt.window_id

    def next_attempt(self) -> "Order":
        """The order to open when this one's batch ended without data."""
        attempt = self.attempt + 1
        return replace(self, external_id=f"{self.root}.{attempt}", attempt=attempt)

    @property
    def places(self) -> list[int]:
        """The places in its list that it is for."""
        gone = frozenset(self.left_out)
        return [place for place in range(*self._within) if place not in gone]

    @property
    def _within(self) -> tuple[int, int]:
        part = self.excerpt
        return self.span or (0, len(self.files) if part is None else part.end - part.first)

    def selected(self, files: Sequence[Arrival]) -> tuple[Arrival, ...]:
        """Of all files of its list, those that it is for."""
        if self.span is None and not self.left_out:
            return tuple(files)
        return tuple(files[place] for place in self.places)

    def without(self, lost: Container[Arrival], files: Sequence[Arrival]) -> "Order":
        """The same order without the `lost` ones of its `files`."""
        places = zip(self.places, files, strict=True)
        more = (place for place, file in places if file in lost)
        return replace(self, left_out=tuple(sorted((*self.left_out, *more))))

    def halves(self) -> "tuple[Order, Order] | None":
        """Two orders for its files; None if it has no two.

        Their ids come from the list's first order and their places in the list alone, whatever was
        left out before: so no other attempt can make them again.
        """
        places = self.places
        if len(places) < 2:
            return None
        first, end = self._within
        middle = (first + end) // 2
        while not places[0] < middle <= places[-1]:  # a half without a file needs no order
            first, end = (middle, end) if middle <= places[0] else (first, middle)
            middle = (first + end) // 2
        return self._half(first, middle), self._half(middle, end)

    def _half(self, first: int, end: int) -> "Order":
        external_id = ORDER_PREFIX + digest("half", self.origin, str(first), str(end))
        gone = tuple(place for place in self.left_out if first <= place < end)
        return replace(
            self,
            external_id=external_id,
            attempt=1,
            span=(first, end),
            left_out=gone,
            split_of=self.origin,
        )

    def tag_value(self, ledger: str) -> str:
        """The value of our tag on the batch: proves that this very ledger ordered it."""
        return tag_value(ledger, self.external_id)
