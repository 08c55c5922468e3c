"""AEP's words: target, dataset, batch, and what a status means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aep_intake.model.records import Kept

# An attempt whose batch ended like this carries no data and may be followed by another.
ENDED_WITHOUT_DATA = frozenset({"aborted", "abandoned"})


@dataclass(frozen=True, slots=True)
class Target(Kept):
    """Where a batch belongs.

    `credential`: ARN of the secret, never a value. `ims_org`: `…@AdobeOrg`.
    `dataset_id`: Catalog's.
    """

    credential: str
    ims_org: str
    sandbox: str
    dataset_id: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """What matters of a dataset: whether it feeds Profile, and whether it is Adobe's own."""

    profile: bool
    system: bool


# Adobe's overview and troubleshooting pages, and `catalog.yaml`; other words are still on the way,
# but for `inactive`: reverted, or compacted into a successor.
HOLDS_DATA = frozenset({"success", "active", "archived", "retained"})


HOLDS_NONE = frozenset({"failed", "failure", "aborted", "abandoned", "deleted"})


UNDER_WAY = frozenset(
    {"loaded", "queued", "staging", "processing", "staged", "retrying", "stalled"}
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as AEP describes it.

    `created` in epoch milliseconds by Adobe's clock. `status` is an open set (never validate it).
    `raw` is AEP's own object, unchanged.
    """

    id: str
    status: str
    created: int
    external_id: str | None
    dataset_ids: tuple[str, ...]
    tags: Mapping[str, Any]
    raw: Mapping[str, Any]

    @property
    def holds_data(self) -> bool:
        """Whether its data is served, be it by what Adobe compacted it into."""
        served = self.status == "inactive" and bool(self.tags.get("acp_successor"))
        return self.status in HOLDS_DATA or served

    @property
    def holds_none(self) -> bool:
        """Whether it has ended without data."""
        return self.status in HOLDS_NONE

    @property
    def completed(self) -> bool:
        """Whether somebody has filled it, whatever became of that: known, and past loading."""
        return self.holds_data or self.status in {*UNDER_WAY, *HOLDS_NONE, "inactive"}
