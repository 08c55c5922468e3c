"""How far an order has come: its record in the ledger, and each step from one record to the next.

An order ends with a batch that is announced, or with a rejection.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from aep_intake.model.batches import Batch
from aep_intake.model.errors import (
    BatchRefused,
    NeedsAttention,
    Rejected,
    TargetNotAllowed,
    TryAgain,
)
from aep_intake.model.orders import Order, Replaced
from aep_intake.model.records import Kept, invariant
from aep_intake.model.values import dataclass

PUT_OFF_CHARACTERS = 300  # of an error's text, that are stored


class State(StrEnum):
    """How far an order has come. OPEN and CREATED are unfinished; so is any order that is due."""

    OPEN = "open"  # no batch is recorded
    CREATED = "created"  # a batch is recorded, not yet announced
    ANNOUNCED = "announced"
    REFUSED = "refused"  # AEP refused, and made no batch
    HELD = "held"  # only a person can judge


class NextStep(StrEnum):
    """What a worker does with an order."""

    WAIT = "wait"  # another worker has the lease, or the next try is not due
    DONE = "done"  # announce it if it is due, and nothing else
    RECLAIM = "reclaim"  # it released its claims: claim the files again, and start afresh
    REOPEN = "reopen"  # no batch was made: start afresh, with the present route
    RESUME = "resume"  # a batch may have been made: look for it first


@dataclass(frozen=True, slots=True)
class Rejection(Kept):
    """Why an order or an arrival was rejected."""

    reason: str
    detail: str
    at: int  # epoch milliseconds
    status: int | None = None
    error_code: str | None = None
    request_id: str | None = None
    # Of the route that took an arrival that has no order; an order has its own.
    route: str | None = None
    routes_version: str | None = None
    owner: str | None = None

    @classmethod
    def of(cls, error: Rejected, at: int) -> "Rejection":
        """`error` in a form that can be stored."""
        made = cls(
            error.reason,
            error.detail,
            at,
            route=error.route,
            routes_version=error.routes_version,
            owner=error.owner,
        )
        if not isinstance(error, BatchRefused):
            return made
        code, request = error.error_code, error.request_id
        return replace(made, status=error.status, error_code=code, request_id=request)

    def error(self, external_id: str) -> Rejected:
        """The same error, for a caller who asks later."""
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
class PutOff(Kept):
    """Why an order is tried again later: the last error, in a form that can be stored."""

    reason: str
    detail: str
    at: int  # epoch milliseconds of the first error since it was opened

    @classmethod
    def of(cls, error: TryAgain, at: int) -> "PutOff":
        """`error` in a form that can be stored."""
        return cls(error.reason, str(error)[:PUT_OFF_CHARACTERS], at)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on an order alone, until `until` (epoch ms). `token` is unique."""

    token: str
    until: int


@dataclass(frozen=True, slots=True)
class Record(Kept):
    """An order in the ledger, and its progress. Times in epoch milliseconds.

    Each method gives the record after one step.
    """

    WRITTEN_AS = {"next_attempt": "superseded_by"}  # noqa: RUF012

    order: Order
    opened_at: int
    state: State
    # When the clock hands it out again, and nobody works on it before: the end of the `lease`, or
    # the earliest next try where there is none. None once it is finished.
    due: int | None = None
    lease: str | None = None  # the fencing token of the worker that has it
    revision: int = 1  # grows with each write, which succeeds only on the revision it was made from
    unknown_since: int | None = None  # last time at which a POST without an answer may have gone
    batch_id: str | None = None
    batch: Mapping[str, Any] | None = None
    created_at: int | None = None
    rejection: Rejection | None = None
    next_attempt: str | None = None
    replaced_by: str | None = None
    # External ids of its halves, in place of a next attempt; none: its files were let go, each to
    # have an order of its own.
    split_into: tuple[str, ...] | None = None
    # Whether a delivery was recorded with ANNOUNCED; None before, and in records of releases
    # without deliveries.
    delivers: bool | None = None
    put_off: PutOff | None = None  # None while nothing went wrong, and once it is told
    # The name of the pause that keeps it back; then `due` is since when. Who comes may take it up.
    paused: str | None = None
    resumed_at: int | None = None  # when the last pause that kept it back was over
    discarded: str | None = None  # by whom, and why: it gets no batch any more
    discarded_at: int | None = None

    @classmethod
    def opened(cls, order: Order, lease: Lease, now: int) -> "Record":
        """A new order, leased to the worker that opens it."""
        return cls(order, now, State.OPEN, lease.until, lease.token)

    @classmethod
    def waiting(cls, order: Order, now: int) -> "Record":
        """A new order, for the first worker that takes it."""
        return cls(order, now, State.OPEN, due=now)

    def leased(self, lease: Lease) -> "Record":
        """Taken over. A dead worker may have sent its POST at any time until its lease ended."""
        since = self.unknown_since if self.lease is None else self.due
        return self._then(
            state=State.OPEN,
            lease=lease.token,
            due=lease.until,
            unknown_since=since,
            rejection=None,
        )

    def paused_by(self, pause: str, now: int) -> "Record":
        """Nobody makes its batch until a pause is over."""
        return self._then(lease=None, due=now, paused=pause, put_off=None, resumed_at=None)

    @property
    def can_be_rerouted(self) -> bool:
        """Whether a pause keeps it back, it has one arrival, and that was not sent again since."""
        order = self.order
        alone = len(order.files) == 1 and order.attempt == 1 and order.split_of is None
        kept_back = self.paused is not None and self.resumed_at is None and self.never_posted
        return kept_back and alone and order.trigger == "arrival"

    def sent_again(self, now: int, wait_ms: int) -> "Record":
        """Its arrival is on its way to a worker; if none takes it, it goes on after `wait_ms`."""
        return self._then(paused=self.paused, due=now + wait_ms, resumed_at=now)

    def resumed(self, now: int) -> "Record":
        """As a worker takes it up after a pause that kept it back."""
        return replace(self, paused=None, due=min(now, self.due or now), resumed_at=now)

    @property
    def waits_since(self) -> int:
        """When it was opened, or the last pause that kept it back was over (epoch ms)."""
        return self.resumed_at or self.opened_at

    @property
    def never_posted(self) -> bool:
        """Whether no worker has it, and no POST was sent that could have made a batch."""
        return self.lease is None and self.unknown_since is None

    @property
    def never_created(self) -> bool:
        """Whether it was refused, the refusal is announced, and no batch exists.

        Then it has no claims, and another request may use its external id.
        """
        return self.state is State.REFUSED and self.due is None and self.never_posted

    @property
    def keeps_claims(self) -> bool:
        """Whether it is refused and announced, but still has its claims.

        Then it begins again if one of its files comes. It is so where a POST may have made a batch,
        or where earlier attempts had batches.
        """
        announced = self.state is State.REFUSED and self.due is None
        return announced and self.next_step(0) is not NextStep.RECLAIM

    def next_step(self, now: int) -> NextStep:
        """The next step at `now` (epoch ms) for a worker that wants to carry out this order."""
        if self.due is not None and now < self.due:
            return NextStep.WAIT
        if self.replaced_by or self.split_into is not None or self.discarded:
            return NextStep.DONE
        if self.state is State.OPEN:
            return NextStep.REOPEN if self.never_posted else NextStep.RESUME
        if self.due is not None:  # to be announced
            return NextStep.DONE
        # Attempt 1 holds all attempts' files, and those of halves.
        if self.never_created and self.order.attempt == 1 and self.order.split_of is None:
            return NextStep.RECLAIM
        retry = {State.REFUSED: NextStep.REOPEN, State.HELD: NextStep.RESUME}
        return retry.get(self.state, NextStep.DONE)

    def reopened(self, order: Order, lease: Lease) -> "Record":
        """Without a batch, it starts afresh with the present target and options.

        But an order keeps its place in a lineage, and that is in one dataset.
        """
        known = self.order
        order = replace(
            order,
            excerpt=known.excerpt,
            lineage=known.lineage,
            replaces=known.replaces,
            unknown=known.unknown,
        )
        if known.lineage is not None:
            order = replace(order, target=known.target)
        return self._then(
            order=order,
            state=State.OPEN,
            lease=lease.token,
            due=lease.until,
            rejection=None,
            put_off=None,
        )

    def replacing(self, replaces: Replaced | None) -> "Record":
        """It has its predecessor's place, and is free to get its batch."""
        lineage = self.order.lineage and replace(self.order.lineage, predecessor=None)
        return self._then(order=replace(self.order, lineage=lineage, replaces=replaces))

    def replaced(self, by: str) -> "Record":
        """A newer order of its lineage takes its place; its state stays."""
        return self._then(replaced_by=by)

    def discard(self, said: str | None, at: int | None) -> "Record":
        """Somebody wants no batch for it any more, since `at`; None: or does, after all."""
        return self._then(discarded=said, discarded_at=at)

    def given_back(
        self, due: int, unknown_since: int | None = None, why: PutOff | None = None
    ) -> "Record":
        """No worker has it until `due`, because of the error `why`, or as before."""
        if why is not None and self.put_off is not None:
            why = replace(why, at=self.put_off.at)
        return self._then(
            lease=None,
            due=due,
            unknown_since=unknown_since or self.unknown_since,
            put_off=why or self.put_off,
        )

    def created(self, batch: Batch) -> "Record":
        """Its batch is recorded, for good. Still due: it must be announced.

        AEP's answer is stored for a request only, which gets it as its answer every time.
        """
        answer = batch.raw if self.order.trigger == "request" else None
        return self._then(
            state=State.CREATED,
            batch_id=batch.id,
            batch=answer,
            created_at=batch.created,
            put_off=None,
        )

    def rejected(self, state: State, rejection: Rejection) -> "Record":
        """REFUSED or HELD. Still due: it must be announced."""
        return self._then(state=state, rejection=rejection, put_off=None)

    def announced(self, *, delivers: bool = False) -> "Record":
        """The create stage is done with it. `delivers`: its delivery begins."""
        if self.state is not State.CREATED:
            return self._then(lease=None, due=None, put_off=None)
        return self._then(
            state=State.ANNOUNCED, lease=None, due=None, delivers=delivers, put_off=None
        )

    def followed(
        self, lease: Lease | None, now: int, order: "Order | None" = None
    ) -> tuple["Record", "Record"]:
        """This attempt, which ended without data, finished; and the next one, opened.

        `lease`: of who carries it out; None: the first worker that takes it. `order`: the same one
        as it is wanted now; None: as it is.
        """
        wanted = (order or self.order).next_attempt()
        following = Record.waiting(wanted, now)
        if lease is not None:
            following = Record.opened(wanted, lease, now)
        ended = self._then(lease=None, due=None, next_attempt=following.order.external_id)
        return ended, following

    def split(self, *halves: Order, now: int) -> "tuple[Record, ...]":
        """This attempt, which ended without data, finished for good; and its halves, to be begun.

        Without halves: its files are let go.
        """
        ended = self._then(
            lease=None, due=None, split_into=tuple(half.external_id for half in halves)
        )
        return ended, *(Record.waiting(half, now) for half in halves)

    def _then(self, **changes: Any) -> "Record":
        after = replace(self, revision=self.revision + 1, **{"paused": None} | changes)
        after._check()
        known = self.batch_id in (None, after.batch_id)
        invariant("a batch that is recorded stays the order's batch", holds=known)
        return after

    def _check(self) -> None:
        due, made = self.due is not None, self.batch_id is not None
        refused = self.state in (State.REFUSED, State.HELD)
        followed = self.next_attempt is not None or self.split_into is not None
        gone = self.replaced_by is not None or followed
        unfinished = self.state is State.CREATED or (self.state is State.OPEN and not gone)
        invariant("what is leased is due when the lease ends", holds=due or self.lease is None)
        invariant("an order without an end is due", holds=due or not unfinished)
        invariant(
            "an order that is announced is not due",
            holds=not due or self.state is not State.ANNOUNCED,
        )
        invariant(
            "what is announced has a batch",
            holds=made or self.state not in (State.CREATED, State.ANNOUNCED),
        )
        invariant(
            "what is refused or held has a reason", holds=self.rejection is not None or not refused
        )
        invariant(
            "what a pause keeps back is open, and due without a lease",
            holds=self.paused is None
            or (self.state is State.OPEN and due and self.lease is None and not gone),
        )
        invariant("what has a next attempt is finished", holds=not (due and followed))
        invariant(
            "what is split has no next attempt",
            holds=self.next_attempt is None or self.split_into is None,
        )


class OutcomeKind(StrEnum):
    """How an order got its batch."""

    CREATED = "created"
    ADOPTED = "adopted"  # an orphaned batch, found in Catalog: the answer to its POST was lost
    DUPLICATE = "duplicate"  # before
    PAUSED = "paused"  # not yet: somebody paused its route, dataset or organization


@dataclass(frozen=True, slots=True)
class Outcome:
    """An order whose batch is announced, or that a pause keeps back."""

    kind: OutcomeKind
    record: Record
