"""Backfills: objects that no event has brought are listed, and taken in like arrivals.

The ledger keeps how far a page of a listing goes, the page is sent into the arrivals queue, and
then the ledger keeps how far the backfill came. Whoever stops between the two sends a page twice,
of which the claims let one count: unless it goes on so late that they are gone.

The ledger knows which versions it has claimed for `RetentionDays`. Of what is older, a version is
brought only if nothing can have brought it before: it is older than the connection of its bucket,
and no other backfill has passed it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

from aep_intake.arrivals.listings import Page
from aep_intake.model.files import Archived, Arrival
from aep_intake.model.records import Kept
from aep_intake.model.times import HOUR_MS
from aep_intake.model.values import dataclass


class Left(StrEnum):
    """Why a backfill leaves out a version of an object."""

    LATER = "later"  # than its beginning: its event brings it
    EARLIER = "earlier"  # than the operator asked for
    UNWANTED = "unwanted"  # by `KeyPattern`, a route with `ignore`, or because it is never data
    ARCHIVED = "archived"
    MAYBE_LOADED = "maybe-loaded"  # and the ledger may have forgotten it


@dataclass(frozen=True, slots=True)
class Backfill(Kept):
    """One backfill of a bucket. Times in epoch milliseconds."""

    backfill_id: str
    bucket: str
    prefix: str
    began: int
    since: int = 0  # it brings no version that is older than that
    even_if_loaded: bool = False
    inventory: str | None = None  # URI of an S3 Inventory's manifest, in place of a listing
    reached: str = ""  # the place in its listing up to which all is sent
    ended: int | None = None
    revision: int = 1
    sending: str = ""  # the place up to which a page was being sent, and since when
    sending_at: int = 0
    # How many objects, so far:
    listed: int = 0
    sent: int = 0
    sent_bytes: int = 0
    left_out: int = 0  # since they may be loaded, or are archived

    @property
    def asked(self) -> tuple[object, ...]:
        """What its operator asked for: who asks the same again goes on with it."""
        return self.bucket, self.prefix, self.since, self.even_if_loaded, self.inventory

    def passed(self, file: Arrival) -> bool:
        """Whether it has sent a version, or may have."""
        if not file.key.startswith(self.prefix) or not self.since <= file.time < self.began:
            return False
        if self.ended is not None or self.inventory is not None:  # which is in no order
            return True
        return file.key <= max(self.reached, self.sending)

    def unsure(self, oldest: int) -> str:
        """The place up to which its claims may be forgotten; empty: it sends what follows anew.

        `oldest`: of what the ledger surely remembers.
        """
        stopped = self.sending not in ("", self.reached)
        return self.sending if stopped and self.sending_at < oldest else ""

    def before(self, page: Page, now: int) -> "Backfill":
        """The same, as a page begins to be sent; again, if it was stopped in the midst of it."""
        began = now if self.sending in ("", self.reached) else self.sending_at
        reached = max(self.sending, page.reached)
        return replace(self, sending=reached, sending_at=began, revision=self.revision + 1)

    def after(self, page: Page, sent: Iterable[Arrival], left_out: int) -> "Backfill":
        """The same, once a page is sent."""
        sizes = [file.size for file in sent]
        return replace(
            self,
            reached=page.reached,
            revision=self.revision + 1,
            listed=self.listed + len(page.found),
            sent=self.sent + len(sizes),
            sent_bytes=self.sent_bytes + sum(sizes),
            left_out=self.left_out + left_out,
        )


# Of a file that was written so short a time before its bucket was connected, nobody knows whether
# an event came: S3 sends events before the command notes the time, and that clock may be fast.
DOUBT_MS = HOUR_MS


@dataclass(frozen=True, slots=True)
class Bounds:
    """What decides which versions a backfill brings. Times in epoch milliseconds."""

    backfill: Backfill
    connected: int | None  # since when its bucket is; None: nobody knows
    others: tuple[Backfill, ...]  # of the same bucket
    oldest: int  # of what the ledger surely remembers
    wanted: Callable[[Arrival], bool]  # by key

    def fate(self, found: Arrival | Archived, *, again: bool = False) -> Arrival | Left:
        """The arrival to send, or why there is none. `again`: the backfill may have sent it."""
        file = found.file if isinstance(found, Archived) else found
        if file.time >= self.backfill.began:
            return Left.LATER
        if file.time < self.backfill.since:
            return Left.EARLIER
        if not self.wanted(file):
            return Left.UNWANTED
        if isinstance(found, Archived):
            return Left.ARCHIVED
        new = self._surely_new(file, again)
        if not new and file.time < self.oldest:
            return Left.MAYBE_LOADED
        return replace(file, brought_by=self.backfill.backfill_id, aged=new)

    def _surely_new(self, file: Arrival, again: bool) -> bool:
        """Whether nothing can have brought it before, or the operator does not mind."""
        if self.backfill.even_if_loaded:
            return True
        if self.connected is None or file.time >= self.connected - DOUBT_MS:
            return False
        return not again and not any(other.passed(file) for other in self.others)


class BackfillLedger(Protocol):
    """The ledger of backfills. Every method raises LedgerUnavailable."""

    def replace(self, old: Backfill, new: Backfill) -> Backfill:
        """Put `new` in place of `old`. Raises LeaseLost if the ledger no longer holds `old`."""


@dataclass(frozen=True, slots=True)
class BackfillPorts:
    """What a backfill needs of the world."""

    ledger: BackfillLedger
    pages: Callable[[str], Iterator[Page]]  # of the listing, after a place; raises as S3
    send: Callable[[list[Arrival]], None]  # to the workers that take them in
    has_room: Callable[[], bool]  # whether they are not too far behind
    sleep: Callable[[float], None]  # seconds
    now: Callable[[], int]  # epoch ms


WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """How far a backfill came. `left`: what its last page left out, and why."""

    backfill: Backfill
    left: tuple[tuple[Arrival, Left], ...] = ()
    waits: bool = False  # for the workers, who are behind


def run(bounds: Bounds, ports: BackfillPorts) -> Iterator[Step]:
    """Go on with a backfill to its end, step by step. It may be stopped at any of them.

    Raises LeaseLost if somebody else goes on with it, and as the ports.
    """
    backfill = bounds.backfill
    unsure = backfill.unsure(bounds.oldest)
    for page in ports.pages(backfill.reached):
        while not ports.has_room():
            yield Step(backfill, waits=True)
            ports.sleep(WAIT_S)
        fates = [(found, bounds.fate(found, again=unsure != "")) for found in page.found]
        files = [fate for _, fate in fates if isinstance(fate, Arrival)]
        left = tuple(
            (found.file if isinstance(found, Archived) else found, fate)
            for found, fate in fates
            if fate in (Left.ARCHIVED, Left.MAYBE_LOADED)
        )
        if not unsure:
            backfill = ports.ledger.replace(backfill, backfill.before(page, ports.now()))
        ports.send(files)
        after = backfill.after(page, files, len(left))
        backfill = ports.ledger.replace(backfill, after)
        unsure = unsure if page.reached < unsure else ""
        yield Step(backfill, left)
    done = replace(backfill, ended=ports.now(), revision=backfill.revision + 1)
    yield Step(ports.ledger.replace(backfill, done))
