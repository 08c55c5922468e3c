"""Which process runs which test files, where several do.

Tests of a deployed stack mostly wait, and fault schedules compute: side by side they leave no
core idle. So the first processes, which deploy a stack each, take the stack's files before any
others; the last ones compute, with less priority than a stack has, and deploy nothing.
"""

from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

STACKS = 3
STACK = "tests/stack/"
# What takes longest begins first, so that all end at about the same time.
LONGEST = (
    "tests/faults/test_schedules.py",
    "tests/faults/test_again.py",
    "tests/faults/test_delivery_schedules.py",
    "tests/faults/test_restored.py",
    "tests/stack/test_grouping.py",
    "tests/stack/test_kills.py",
    "tests/stack/test_delivery.py",
    "tests/stack/test_promises.py",
    "tests/stack/test_runs.py",
    "tests/stack/test_cli_stack.py",
    "tests/stack/test_restore_drill.py",
    "tests/stack/test_windows.py",
    "tests/stack/test_promises_requests.py",
)


def file_of(test: str) -> str:
    """The file of a test by its id."""
    return test.partition("::")[0]


def longest_first(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; all else stays in order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(file_of(item.nodeid), len(rank)))


def computes(worker: str, workers: int) -> bool:
    """Whether a process (`gw0`, `gw1` …), of so many, takes no tests of a stack."""
    return int(worker.removeprefix("gw")) >= max(1, min(STACKS, workers - 1))


class SharingOut(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types of it
    """Hands out one file after the other, each to a process that it suits."""

    def _split_scope(self, nodeid: str) -> str:
        return file_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        found = self._suiting(node, list(self.workqueue))
        if found is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(found, last=False)
        super()._assign_work_unit(node)

    def _suiting(self, node: WorkerController, files: Sequence[str]) -> str | None:
        of_stack = [name for name in files if name.startswith(STACK)]
        others = [name for name in files if not name.startswith(STACK)]
        takes = others if computes(node.gateway.id, self.numnodes) else [*of_stack, *others]
        return next(iter(takes), None)
