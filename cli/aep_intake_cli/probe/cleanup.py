"""Ends what probes left behind: batches with their tag, found in Catalog."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aep_intake.model.batches import UNDER_WAY
from aep_intake.model.errors import IntakeError

from aep_intake_cli.probe.dataset import NoAnswerFound, ProbedDataset, Steps, all_of, own


@dataclass(frozen=True)
class Ended:
    """A batch of a probe. `done`: what became of it. `left`: a person must look at it."""

    batch_id: str
    made_for: str
    done: str
    left: bool = False


def clean_up(at: ProbedDataset) -> Iterator[Ended]:
    """Abort or revert every batch that a probe made in the dataset, this run or an earlier one.

    What AEP is at work on is waited for.
    """
    found: dict[str, str] = {}
    try:
        found |= {batch_id: made for batch_id, raw in at.listed().items() if (made := own(raw))}
    except (NoAnswerFound, IntakeError) as why:
        yield Ended("(all others)", "", str(why), left=True)
    found |= {batch_id: f"{at.run} {question}" for batch_id, question in at.made.items()}
    steps = {batch_id: _ended(at, batch_id, made) for batch_id, made in found.items()}
    for _, ended in all_of(steps, at.wait):
        yield ended


def _ended(at: ProbedDataset, batch_id: str, made_for: str) -> Steps[Ended]:
    try:
        done, left = yield from _end(at, batch_id)
    except (NoAnswerFound, IntakeError) as why:
        done, left = str(why), True
    return Ended(batch_id, made_for, done, left)


def _end(at: ProbedDataset, batch_id: str) -> Steps[tuple[str, bool]]:
    """What was done with a batch, and whether it is left."""
    batch = at.look(batch_id)
    if batch is None or batch.status == "loading":
        if at.act(batch_id, "ABORT").ok:
            return "aborted", False
        batch = yield from at.end_of(batch_id)  # somebody completed it
    elif batch.status in UNDER_WAY:
        batch = yield from at.end_of(batch_id)
    if not batch.holds_data:
        return batch.status, False
    if batch.status == "inactive":
        successor = batch.tags["acp_successor"]
        return f"Adobe compacted it into {successor}: revert that", True
    answer = at.act(batch_id, "REVERT")
    return ("reverted", False) if answer.ok else (f"REVERT was refused: {answer}", True)
