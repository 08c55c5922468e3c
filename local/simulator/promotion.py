"""What becomes of a batch once its client has done with it, by the clock.

    loading ─COMPLETE→ loaded → staging → staged → success | failed
                                  ↑  ↓
                               retrying   (and in the end `stalled`, where a mishap says so)
    success ─REVERT→ inactive → deleted        success ─replaced or consolidated→ inactive

Sources: Adobe's batch ingestion overview and troubleshooting pages (the states), the developer
guide (REVERT, replay), Adobe's `aepp` client (`acp_successor`, the reason `consolidation`). How
long each state lasts is documented nowhere. Inferred: the order of the states in between; that
only predecessors in the same sandbox, and served by then, become inactive; that a replaced batch
carries no `acp_successor`; that a consolidated one is not deleted.
"""

from collections.abc import Callable, Sequence

from .agenda import Agenda
from .batches import SERVED, Batch, Batches
from .mishaps import Mishap, Mishaps
from .switches import Switches
from .verdict import judge, metrics

_KEPT = (
    "imsOrg",
    "relatedObjects",
    "createdUser",
    "updatedUser",
    "createdClient",
    "inputFormat",
)


class Promotion:
    """Moves completed batches on. A step is void once anything else has moved the batch."""

    def __init__(
        self,
        batches: Batches,
        agenda: Agenda,
        switches: Switches,
        new_id: Callable[[int], str],
    ) -> None:
        self._batches, self._agenda, self._switches = batches, agenda, switches
        self._new_id = new_id
        self.mishaps = Mishaps()

    def begin(self, batch: Batch, now: int) -> None:
        """The client has completed the batch, which is `loaded`."""

        def stage(at: int) -> None:
            mishap = self.mishaps.take(batch)
            batch.members["started"] = at
            self._stage(batch, at, mishap, mishap.retries)

        self._later(batch, now, self._switches.loaded_ms, stage)

    def _stage(self, batch: Batch, now: int, mishap: Mishap, retries: int) -> None:
        batch.become("staging", now)

        def end(at: int) -> None:
            if retries:
                self._retry(batch, at, mishap, retries - 1)
            elif mishap.stalled:
                batch.become("stalled", at)
            else:
                batch.become("staged", at)
                self._later(
                    batch,
                    at,
                    self._switches.staged_ms,
                    lambda last: self._finish(batch, last, mishap),
                )

        self._later(batch, now, self._switches.staging_ms, end)

    def _retry(self, batch: Batch, now: int, mishap: Mishap, retries: int) -> None:
        batch.become("retrying", now)
        self._later(
            batch,
            now,
            self._switches.retrying_ms,
            lambda at: self._stage(batch, at, mishap, retries),
        )

    def _finish(self, batch: Batch, now: int, mishap: Mishap) -> None:
        if mishap.errors:
            batch.members["errors"] = list(mishap.errors)
            batch.to_blame = mishap.to_blame(batch)
            batch.become(self._switches.failure_name, now)
            return
        verdict = judge(batch, self._switches)
        if verdict.errors:
            batch.members["errors"] = list(verdict.errors)
        if verdict.succeeded:
            self.succeed(batch, self._switches.success_name, now)
        else:
            batch.become(self._switches.failure_name, now)

    def succeed(self, batch: Batch, status: str, now: int) -> None:
        """Its rows are served from now on, and no more those of the batches it replaces."""
        batch.members |= metrics(batch)
        # In seconds, as nothing else; that these are the times of its promotion is inferred.
        batch.members["availableDates"] = {
            "startDate": batch.members.get("started", now) // 1000,
            "endDate": now // 1000,
        }
        batch.become(status, now)
        for predecessor in self._predecessors(batch, now):
            if predecessor.status in SERVED:
                predecessor.become("inactive", now)
        after = self._switches.consolidated_after_ms
        if after is not None:
            self._later(batch, now, after, lambda at: self.consolidate([batch], at))

    def _predecessors(self, batch: Batch, now: int) -> Sequence[Batch]:
        if self._switches.replay_form not in ("any", batch.replay_form):
            return []
        replay = batch.members.get("replay", {})
        named = [self._batches.get(one, now) for one in replay.get("predecessors", ())]
        found = [each for each in named if each is not None]
        for one in replay.get("predecessorsByExternalId", ()):
            found += self._batches.by_external_id(batch.org, one, now)
        place = (batch.org, batch.sandbox)
        return [one for one in found if one is not batch and (one.org, one.sandbox) == place]

    def revert(self, batch: Batch, now: int) -> None:
        """The batch is `inactive` by REVERT; its data goes later."""
        after = self._switches.deleted_after_ms
        if after is not None:
            self._later(batch, now, after, lambda at: batch.become("deleted", at))

    def consolidate(self, batches: Sequence[Batch], now: int) -> Batch:
        """One batch in place of several of a dataset, as compaction makes them.

        Raises ValueError: none, of several datasets, or not all of them served.
        """
        places = {(batch.org, batch.sandbox, batch.dataset_id) for batch in batches}
        if len(places) != 1 or not all(batch.status in SERVED for batch in batches):
            raise ValueError("only successful batches of one dataset can be consolidated")
        first, batch_id = batches[0], self._new_id(now)
        members = {name: first.members[name] for name in _KEPT} | {
            "externalId": batch_id,
            "created": now,
            "updated": now,
            "started": now,
            "completed": now,
            "status": self._switches.success_name,
            "version": "1.0.0",
            "tags": {},
            "replay": {
                "predecessors": [batch.id for batch in batches],
                "reason": "consolidation",
            },
        }
        successor = Batch(batch_id, first.org, first.sandbox, members, now, now)
        for batch in batches:
            successor.files |= {f"{batch.id}/{name}": file for name, file in batch.files.items()}
        members |= metrics(successor)
        self._batches.add(successor)
        for batch in batches:
            batch.members["tags"]["acp_successor"] = [batch_id]
            batch.become("inactive", now)
        return successor

    def _later(self, batch: Batch, now: int, ms: int, step: Callable[[int], object]) -> None:
        version = batch.members["version"]

        def unless_moved(at: int) -> None:
            if batch.members["version"] == version:
                step(at)

        self._agenda.add(now + ms, unless_moved)
