"""Pauses: no batch is made for a route, a dataset or an organization until somebody resumes it.

What is paused is an order like any other, with its claims: only the clock does not hand it out.
"""

from collections.abc import Mapping
from enum import StrEnum

from aep_intake.model.orders import Order
from aep_intake.model.records import Kept
from aep_intake.model.times import iso
from aep_intake.model.values import dataclass


class Pausable(StrEnum):
    """What can be paused."""

    ROUTE = "route"  # by its name
    DATASET = "dataset"  # by its id
    ORGANIZATION = "organization"  # by its id, `…@AdobeOrg`

    def called(self, name: str) -> str:
        """The name of its pause."""
        return f"{self}#{name}"


@dataclass(frozen=True, slots=True)
class Pause(Kept):
    """A pause. Times in epoch milliseconds."""

    name: str  # see `Pausable.called`
    since: int
    by: str  # an ARN of AWS
    note: str = ""
    # Somebody resumed it then: its orders are handed out, and once there are none, it is deleted.
    resumed_at: int | None = None

    @property
    def what(self) -> str:
        """What is paused, in words: `route crm`."""
        return self.name.replace("#", " ", 1)

    def __str__(self) -> str:
        note = f": {self.note}" if self.note else ""
        return f"{self.what} is paused since {iso(self.since)}, by {self.by}{note}"


def pause_of(order: Order, standing: Mapping[str, Pause]) -> Pause | None:
    """The first of the `standing` pauses, by name, that keeps an order back; None: it may go on."""
    names = [
        Pausable.DATASET.called(order.target.dataset_id),
        Pausable.ORGANIZATION.called(order.target.ims_org),
    ]
    if order.route is not None:
        names.insert(0, Pausable.ROUTE.called(order.route))
    return next((standing[name] for name in names if name in standing), None)
