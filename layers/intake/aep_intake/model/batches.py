"""AEP's words: target, dataset, batch, and what a status means."""

from collections.abc import Mapping
from typing import Any

from aep_intake.model.records import Kept
from aep_intake.model.values import dataclass

# An attempt whose batch ended like this carries no data and may be followed by another.
ENDED_WITHOUT_DATA = frozenset({"aborted", "abandoned"})


@dataclass(frozen=True, slots=True)
class Target(Kept):
    """Where a batch belongs."""

    credential: str  # the ARN of the secret, never its value
    ims_org: str  # `…@AdobeOrg`
    sandbox: str
    dataset_id: str  # Catalog's

    @property
    def dataset(self) -> tuple[str, str, str]:
        """The dataset where its data is, whatever credential leads there."""
        return self.ims_org, self.sandbox, self.dataset_id


LOOKUP_BATCHES_PER_DAY = 4  # of a lookup (dimension) dataset, at most (Adobe's health checks)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The properties of a dataset that the intake needs."""

    profile: bool  # it feeds Real-Time Customer Profile
    system: bool  # it is Adobe's own


# From Adobe's overview and troubleshooting pages, and `catalog.yaml`. A batch of any other status
# is in flight, except `inactive`: reverted, or compacted into a successor.
HOLDS_DATA = frozenset({"success", "active", "archived", "retained"})
HOLDS_NONE = frozenset({"failed", "failure", "aborted", "abandoned", "deleted"})
UNDER_WAY = frozenset(
    {"loaded", "queued", "staging", "processing", "staged", "retrying", "stalled"}
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as AEP describes it."""

    id: str
    status: str  # an open set: never validate it
    created: int  # epoch milliseconds by Adobe's clock
    external_id: str | None
    dataset_ids: tuple[str, ...]
    tags: Mapping[str, Any]
    raw: Mapping[str, Any]  # AEP's own object, unchanged

    @property
    def errors(self) -> tuple[dict[str, Any], ...]:
        """The first of AEP's errors, up to twenty, without the rows they list.

        Each with `code` and `description` of at most 500 characters, and `recordCount`: how many
        rows AEP refused for it, if it says so.
        """
        errors = self.raw.get("errors")
        return tuple(
            {name: str(error[name])[:500] for name in ("code", "description") if name in error}
            | {name: error[name] for name in ("recordCount",) if type(error.get(name)) is int}
            for error in (errors[:20] if isinstance(errors, list) else ())
            if isinstance(error, dict)
        )

    @property
    def holds_data(self) -> bool:
        """Whether AEP serves its data, from this batch or from the one Adobe compacted it into."""
        served = self.status == "inactive" and bool(self.tags.get("acp_successor"))
        return self.status in HOLDS_DATA or served

    @property
    def holds_none(self) -> bool:
        """Whether it has ended without data."""
        return self.status in HOLDS_NONE

    @property
    def reverted(self) -> bool:
        """Whether a person took its data back."""
        return self.status == "inactive" and not self.holds_data

    @property
    def completed(self) -> bool:
        """Whether somebody completed it: its status is known, and past loading."""
        return self.holds_data or self.status in {*UNDER_WAY, *HOLDS_NONE, "inactive"}
