"""Whether the stack's work gets done: what the ledger says of what is unfinished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aep_intake.clock.due import DueKind, DueLedger
from aep_intake.model.times import iso

from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM, Findings
from aep_intake_cli.output import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aep_intake.model.pauses import Pause
    from aep_intake.model.progress import Record

# The clock hands out what is due once a minute, and again after two if a message is lost.
LATE_MS = 300_000
# An order waits so long at most for the pace of batches, or for Catalog after a lost answer.
OPEN_MS = 900_000
LISTED = 50


class Pauses(Protocol):
    """The ledger's pauses. May raise LedgerUnavailable."""

    def standing(self) -> Mapping[str, Pause]:
        """Those that nobody has resumed, by name."""


class UnfinishedWork(Protocol):
    """The ledger. Every method may raise LedgerUnavailable."""

    def get(self, external_id: str) -> Record | None:
        """An order's current record."""

    @property
    def pauses(self) -> Pauses:
        """What is paused."""

    @property
    def due_work(self) -> DueLedger:
        """What is due."""


def check_unfinished(ledger: UnfinishedWork, now: int) -> Findings:
    """Due work is taken, and orders get their batches, unless paused. `now`: epoch ms."""
    for pause in ledger.pauses.standing().values():
        yield NOTE, f"{pause}. aep-intake pause shows what waits for its end"
    fine = True
    for kind in DueKind:
        if late := ledger.due_work.due(kind, now - LATE_MS, LISTED):
            fine = False
            since = iso(min(due.when for due in late))
            yield (
                PROBLEM,
                f"{kind} are due since {since}, and no worker takes them: see the alarms, and the "
                "logs of on_tick and on_due",
            )
    orders = ledger.due_work.due(DueKind.ORDERS, now + OPEN_MS, LISTED)
    records = [record for due in orders if (record := ledger.get(due.id)) is not None]
    if waiting := [record for record in records if record.waits_since < now - OPEN_MS]:
        fine = False
        oldest = min(waiting, key=lambda record: record.waits_since)
        yield (
            PROBLEM,
            f"{_several(len(waiting))} without a batch, the oldest since "
            f"{iso(oldest.waits_since)}. Adobe does not answer, or refuses the credential. They "
            "are tried again by themselves; the logs of on_arrival and on_due say why: look for "
            f"{oldest.order.external_id}",
        )
    if fine:
        yield OK, "nothing waits longer than it should"


def _several(number: int) -> str:
    return f"{LISTED} orders or more" if number >= LISTED else quantity(number, "order")
