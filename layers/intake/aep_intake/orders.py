"""Arrivals' orders: the decision to have exactly one AEP batch, and who it is.

An order's external id is the ledger's key, the log's correlation id, AEP's `externalId` and the
key by which consumers of our events drop repeats.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aep_intake.arrivals import Arrival, digest

OWN_PREFIX = "intake-"
EXTERNAL_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")

# Catalog's tag filter and AEP's own tags reserve names starting `adobe` and values with `:` or `,`.
TAG = "aep_intake"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a batch belongs.

    `credential`: ARN of the secret, never a value. `ims_org`: `…@AdobeOrg`. `dataset_id`: Catalog's.
    """

    credential: str
    ims_org: str
    sandbox: str
    dataset_id: str


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


@dataclass(frozen=True, slots=True)
class Order:
    """The decision to have exactly one AEP batch.

    `external_id` is the root's for attempt 1 and has `.2`, `.3` … for later attempts.
    `options` are further members of Adobe's create request, under Adobe's own names
    (`inputFormat`, `tags`, `replay`, `enableErrorDiagnostics`, `partialIngestionPercent`).
    `trigger` is `arrival` or `request`. `fingerprint` tells two requests with one key apart.
    """

    external_id: str
    target: Target
    options: Mapping[str, Any]
    files: tuple[Arrival, ...] = ()
    trigger: str = "arrival"
    route: str | None = None
    routes_version: str | None = None
    attempt: int = 1
    fingerprint: str | None = field(default=None)

    def next_attempt(self) -> "Order":
        """The order to open when this one's batch ended without data."""
        root = self.external_id
        if self.attempt > 1:
            root = root.removesuffix(f".{self.attempt}")
        return replace(
            self, external_id=f"{root}.{self.attempt + 1}", attempt=self.attempt + 1
        )

    def tag_value(self, ledger: str) -> str:
        """The value of our tag on the batch: proves that this very ledger ordered it."""
        return digest(ledger, self.external_id)


def for_arrival(
    arrival: Arrival,
    target: Target,
    options: Mapping[str, Any],
    *,
    route: str,
    routes_version: str,
) -> Order:
    """The order an arrival stands for; its external id depends on the arrival alone."""
    return Order(
        external_id=arrival.external_id,
        target=target,
        options=options,
        files=(arrival,),
        trigger="arrival",
        route=route,
        routes_version=routes_version,
    )
