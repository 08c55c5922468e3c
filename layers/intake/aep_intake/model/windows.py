"""A window: arrivals that are gathered for a time, and then share batches; see `grouping.windows`.

It is sealed, planned once, and finished when each of its parts is an order.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Self

from aep_intake.model.files import Arrival, digest
from aep_intake.model.orders import ORDER_PREFIX, WINDOW_PREFIX, Order, WindowPart
from aep_intake.model.records import Kept, invariant
from aep_intake.model.times import DAY_MS, day_around, day_of
from aep_intake.model.values import dataclass

# A registration checks a gate, one at a time: with several gates, fewer workers wait.
GATES = 16
# How long a marker's message can still come, from its queue (7 days) or the dead-letter queue (14):
# before that, the window waits for the rest of its folder.
MARKER_MESSAGE_LIFE_MS = 22 * DAY_MS
QUARTERS = 4  # of the time for which a folder is quiet: its window's end moves in such steps


class WindowStage(StrEnum):
    """How far a window has come."""

    OPEN = "open"
    SEALED = "sealed"
    PLANNED = "planned"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Window(Kept):
    """A window. Times in epoch milliseconds."""

    order: Order  # the pattern of its parts' orders
    length: int  # milliseconds; 0 for a marker's window
    start: int  # of a marker's window: when the marker arrived
    stage: WindowStage = WindowStage.OPEN
    due: int | None = None  # when the clock hands it out; None once it is finished
    revision: int = 1
    parts: tuple[WindowPart, ...] = ()
    # 0 if a release before gates opened it: then its stage alone decides whether it is open.
    gates: int = 0
    sealed_at: int | None = None
    key: str | None = None  # of its list in the state bucket, once it is planned
    # Of a window of a day: when it begins, by the clocks of which place.
    begins: str | None = None
    timezone: str = "UTC"
    folder: str | None = None  # of a window that lasts until its folder is quiet; see `quiet`
    # Of a marker's window:
    marker: Arrival | None = None  # None if a release before started it
    reached: str = ""  # all files up to this key have joined
    until: int | None = None  # the end of a worker's lease

    @classmethod
    def at(
        cls, order: Order, length: int, now: int, begins: str | None = None, timezone: str = "UTC"
    ) -> Self:
        """The window that is open now for orders like this one."""
        start = now - now % length
        if begins is not None:
            start, end = day_around(now, begins, timezone)
            length = end - start
        window_id = WINDOW_PREFIX + digest(*_shared(order, length), str(start))
        pattern = replace(order, external_id=window_id, files=())
        return cls(
            pattern,
            length,
            start,
            due=start + length,
            gates=GATES,
            begins=begins,
            timezone=timezone,
        )

    @classmethod
    def of_folder(cls, order: Order, folder_id: str, quiet: int, now: int) -> Self:
        """The pattern of windows of a folder that last until it is `quiet` (milliseconds)."""
        folder = WINDOW_PREFIX + digest("quiet", *_shared(order, quiet), folder_id)
        pattern = replace(order, external_id=folder, files=())
        return cls(pattern, quiet, now, due=now + quiet, gates=GATES, folder=folder)

    def begun(self, first: Arrival, again: int, now: int) -> "Window":
        """The window of a folder that its `first` file opens now, for the time `again`."""
        name = ("quiet", self.window_id, first.external_id, *([str(again)] if again else ()))
        order = replace(self.order, external_id=WINDOW_PREFIX + digest(*name))
        opened = replace(self, order=order, start=now)
        return replace(opened, due=opened.quiet_end(now))

    def quiet_end(self, now: int) -> int:
        """When it ends if nothing comes after now, at the latest a day after it began.

        A quarter more than it must, so that the end moves at most once in that time.
        """
        return min(now + self.length + self.length // QUARTERS, self.start + DAY_MS)

    def prolonged(self, now: int) -> "Window":
        """Moved to its end by now."""
        return self._then(due=self.quiet_end(now))

    @classmethod
    def of(cls, marker: Arrival, order: Order, now: int) -> Self:
        """The window of a marker: from the marker's identity alone, whatever the routes say."""
        pattern = replace(order, external_id=marker_id(marker), files=())
        due = now + MARKER_MESSAGE_LIFE_MS
        return cls(pattern, 0, marker.time, due=due, gates=GATES, marker=marker)

    def behind(self, placed: Order) -> "Window":
        """With the place of `placed` among the orders of its folder."""
        return replace(self, order=replace(self.order, lineage=placed.lineage))

    @property
    def window_id(self) -> str:
        """Its id, which only its route, map, target, options, length and start decide."""
        return self.order.external_id

    def next(self) -> "Window":
        """The one after it."""
        following = self.start + self.length
        return Window.at(self.order, self.length, following, self.begins, self.timezone)

    @property
    def replaces(self) -> bool:
        """Whether its one batch takes the place of an earlier one of its folder."""
        return self.order.lineage is not None and not self.order.lineage.first_only

    def sealed(self, now: int) -> "Window":
        """Sealed: once it is frozen too, no file can join."""
        return self._then(stage=WindowStage.SEALED, due=min(now, self.due or now), sealed_at=now)

    def worked_on(self, until: int | None, options: Mapping[str, Any] | None = None) -> "Window":
        """Leased to one worker until then; None ends the lease. `options`: the present ones."""
        order = self.order if options is None else replace(self.order, options=options)
        return self._then(until=until, order=order)

    def joined_to(self, key: str) -> "Window":
        """All files up to this key have joined."""
        return self._then(reached=key)

    @property
    def list_key(self) -> str:
        """The key of its list: by the day it was sealed, which people search by."""
        at = self.sealed_at or self.due or self.start  # a release before lists did not store it
        return f"windows/{day_of(at)}/{self.window_id}.jsonl"

    def planned(self, parts: tuple[WindowPart, ...], key: str | None = None) -> "Window":
        """With its parts, for good."""
        return self._then(stage=WindowStage.PLANNED, parts=parts, key=key)

    def finished(self) -> "Window":
        """All its parts are orders."""
        return self._then(stage=WindowStage.FINISHED, due=None)

    def part(self, excerpt: WindowPart, number: int) -> Order:
        """The order of a part."""
        lineage = self.order.lineage if number == 0 else None
        name, excerpt = self.part_id(number), replace(excerpt, key=self.key)
        return replace(self.order, external_id=name, excerpt=excerpt, lineage=lineage)

    def part_id(self, number: int) -> str:
        """External id of the order of a part."""
        return ORDER_PREFIX + digest("part", self.window_id, str(number))

    def _then(self, **changes: Any) -> "Window":
        after = replace(self, revision=self.revision + 1, **changes)
        stages, finished = list(WindowStage), after.stage is WindowStage.FINISHED
        onward = stages.index(self.stage) <= stages.index(after.stage)
        kept = after.parts == self.parts or self.stage in (WindowStage.OPEN, WindowStage.SEALED)
        invariant("a window is due until it is finished", holds=(after.due is None) == finished)
        invariant("a window never opens again", holds=onward)
        invariant("which files go together is decided once", holds=kept)
        return after


def marker_id(marker: Arrival) -> str:
    """The id of a marker's window."""
    return WINDOW_PREFIX + digest("marker", marker.external_id)


def in_order(files: Iterable[Arrival]) -> tuple[Arrival, ...]:
    """The files in the order of the plan, always the same."""
    return tuple(sorted(set(files), key=lambda file: (file.bucket, file.key, file.version)))


def _shared(order: Order, length: int) -> tuple[str, ...]:
    """What the files of a window have in common."""
    target = order.target
    return (
        order.route or "",
        target.credential,
        target.sandbox,
        target.dataset_id,
        json.dumps(order.options, sort_keys=True),
        str(length),
        *filter(None, (order.compiled_map,)),
    )
