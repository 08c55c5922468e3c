"""The state of a version of an object, or of a batch, as those who sent it see it.

What the ledger has decides, and nothing else: an order and its delivery, a window, a note, a
rejection. The ledger's own words are finer, and say what a worker does next.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aep_intake.model.history import RETRYING, WAITING, Seen
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Record, State
from aep_intake.model.times import iso
from aep_intake.model.values import dataclass
from aep_intake.model.windows import Window, WindowStage
from aep_intake.report.events import present

if TYPE_CHECKING:
    from aep_intake.delivery.delivery import Delivery, Verdict


class Word(StrEnum):
    """A state. The first ones are unfinished; of several batches the first one counts."""

    WAITING = "waiting"
    GATHERING = "gathering"
    PAUSED = "paused"
    RETRYING = "retrying"
    LOADING = "loading"
    HELD = "held"
    FAILED = "failed"
    ABANDONED = "abandoned"
    REJECTED = "rejected"
    LOST = "lost"
    LOADED = "loaded"
    REPLACED = "replaced"
    SUPERSEDED = "superseded"
    SAME_BYTES = "same-bytes"
    LEFT_OUT = "left-out"
    DISCARDED = "discarded"


WORDS = list(Word)
UNFINISHED = frozenset(WORDS[: WORDS.index(Word.LOADING) + 1])


@dataclass(frozen=True, slots=True)
class Standing:
    """A state, and why. Times in epoch milliseconds.

    `since`: None where the ledger does not know it. `until`: when it ends at the latest, as far as
    that is known, or is tried again; None of what is finished, and where only others know it: what
    is paused, what AEP ingests, a batch that others fill.
    """

    word: Word
    why: str
    since: int | None = None
    until: int | None = None

    def members(self) -> dict[str, Any]:
        """As an answer has it."""
        return present(
            state=self.word,
            why=self.why,
            since=None if self.since is None else iso(self.since),
            until=None if self.until is None else iso(self.until),
        )


def of_order(
    record: Record,
    delivery: "Delivery | None" = None,
    newer: Standing | None = None,
    pause: Pause | None = None,
) -> Standing:
    """The state of an order's batch, and of its files that are in it.

    `newer`: the state of the newest order of its lineage, if that took its place and is known.
    `pause`: the one that keeps it back, unless that is over.
    """
    found = _of_order(record, delivery)
    if record.discarded is not None:
        return Standing(Word.DISCARDED, record.discarded, record.discarded_at)
    if pause is not None:
        found = Standing(Word.PAUSED, str(pause), max(record.opened_at, pause.since))
    if record.replaced_by is None:
        return found
    # Until AEP has the newer data, it serves these.
    if found.word is Word.LOADED and newer is not None and newer.word is not Word.LOADED:
        why = f"{found.why}; a newer version, which is {newer.word}, is to replace it"
        return replace(found, why=why)
    since = None if found.word in UNFINISHED else found.since
    if newer is not None and newer.word is Word.LOADED:
        since = newer.since
    return Standing(Word.REPLACED, "a newer version took its place", since)


def _of_order(record: Record, delivery: "Delivery | None") -> Standing:
    why = record.rejection
    match record.state:
        case State.REFUSED if why is not None:
            return Standing(Word.REJECTED, why.detail, why.at)
        case State.HELD if why is not None:
            return Standing(Word.HELD, why.detail, why.at)
        case State.CREATED:
            trouble = "" if record.put_off is None else f": {record.put_off.detail}"
            return _loading(f"its batch is made, and not announced yet{trouble}", record)
        case State.ANNOUNCED:
            return _announced(record) if delivery is None else _delivered(record, delivery)
    return _open(record)


def _open(record: Record) -> Standing:
    if record.next_attempt is not None or record.split_into is not None:
        return Standing(Word.ABANDONED, "its batch ended without data, and others follow it")
    if record.paused is not None:
        return _loading("its pause is over, and its batch is about to be made", record)
    if record.put_off is not None:
        return Standing(Word.RETRYING, record.put_off.detail, record.put_off.at, record.due)
    if record.lease is None and record.revision > 1:  # nobody said why, as in earlier releases
        why = "an earlier try came to no end"
        return Standing(Word.RETRYING, why, record.opened_at, record.due)
    return _loading("its batch is being made", record)


def _loading(why: str, record: Record) -> Standing:
    return Standing(Word.LOADING, why, record.created_at or record.opened_at, record.due)


def _announced(record: Record) -> Standing:
    if record.delivers:
        return _loading("its batch is made, and its upload is about to begin", record)
    return _loading("its batch is made, and announced to those who fill it", record)


# What is done to a batch, by the values of `delivery.DeliveryStage`, which most functions need not
# load.
_STAGES: Mapping[str, str] = {
    "following": "its batch is made, and the caller who asked for it must fill and complete it",
    "planning": "its files are being looked through, before they go up",
    "uploading": "its files go up",
    "completing": "its files are up, and AEP is told so",
    "ingesting": "AEP is ingesting its batch, and says when it is done",
}
_ENDS: Mapping[str, tuple[Word, str]] = {  # by the values of `delivery.End`
    "succeeded": (Word.LOADED, "AEP has ingested its batch"),
    "failed": (Word.FAILED, "AEP failed its batch"),
    "abandoned": (Word.ABANDONED, "its batch was given up"),
}


def _delivered(record: Record, delivery: "Delivery") -> Standing:
    verdict = delivery.verdict
    if verdict is not None and delivery.stage == "ended":
        return _ended(record, delivery, verdict)
    why = _STAGES.get(delivery.stage, "its batch is given up, and being aborted")
    if verdict is not None:  # it is not over: somebody may have completed the batch meanwhile
        why += f": {verdict.detail}"
    since = delivery.uploaded_at or delivery.created_at
    return Standing(Word.LOADING, why, since, _until(delivery))


def _until(delivery: "Delivery") -> int | None:
    """When a batch that is filled is given up; the other steps take a moment, but AEP's."""
    if delivery.stage in ("following", "planning", "uploading"):
        return delivery.deadline
    return None if delivery.stage == "ingesting" else delivery.due


def _ended(record: Record, delivery: "Delivery", verdict: "Verdict") -> Standing:
    word, why = _ENDS[verdict.end]
    if word is not Word.LOADED:
        why += f": {verdict.detail}"
        if record.split_into:
            why += "; its files are in other batches now"
    elif verdict.lost and delivery.file_count == 1:
        word, why = Word.LOST, "its batch was ingested, but without all of the file"
    elif verdict.lost:
        why += f", but {len(verdict.lost)} of its {delivery.total} uploads are not in it"
    elif verdict.rows is not None:
        ingested = verdict.metrics.get("outputRecordCount", verdict.rows)
        part = "" if ingested == verdict.rows else f"{ingested} of "
        why += f", with {part}{verdict.rows} row{'' if verdict.rows == 1 else 's'}"
    return Standing(word, why, verdict.at)


_CATALOG: Mapping[str, Word] = {
    "success": Word.LOADED,
    "failed": Word.FAILED,
    "failure": Word.FAILED,
    "abandoned": Word.ABANDONED,
    "aborted": Word.ABANDONED,
    "inactive": Word.ABANDONED,
}


def told_by_catalog(batch: Mapping[str, Any]) -> Standing | None:
    """The state of a batch that others fill, as Catalog has it; None if it has not ended."""
    status, updated = batch.get("status"), batch.get("updated")
    word = _CATALOG.get(str(status))
    since = updated if isinstance(updated, int) else None
    return None if word is None else Standing(word, f"AEP says that its batch is {status}", since)


def of_window(window: Window, since: int | None = None) -> Standing:
    """The state of a file whose window has no orders yet. `since`: when the file came."""
    since = window.start if since is None else since
    if window.stage is not WindowStage.OPEN:
        why = "its window is closed, and its batches are being made"
        return Standing(Word.LOADING, why, window.sealed_at or since, window.due)
    if window.length:
        return Standing(Word.GATHERING, "its window is open", since, window.due)
    return Standing(Word.GATHERING, "the files of its folder are listed", since, window.until)


def of_several(standings: Iterable[Standing]) -> Standing:
    """The state of a marker whose folder took several batches: that of the least of them."""
    return min(standings, key=lambda each: WORDS.index(each.word))


_NOTES: Mapping[str, tuple[Word, str]] = {
    "ready": (Word.LEFT_OUT, "a ready file is not data: it says that another file is complete"),
    "not-the-newest": (Word.LEFT_OUT, "its route says `replace`, and a newer version came before"),
    "not-the-first": (Word.LEFT_OUT, "its route says `ignore`, and it is not the first version"),
    "nothing-new": (Word.LEFT_OUT, "the marker came again, with no new file in its folder"),
}


def of_note(seen: Seen) -> Standing:
    """The state of a version that has no order."""
    if seen.rejection is not None:
        why = seen.rejection
        of_batch = {"batch-failed": Word.FAILED, "batch-abandoned": Word.ABANDONED}
        lost = of_batch.get(why.reason, Word.LOST)
        return Standing(lost if seen.lost else Word.REJECTED, why.detail, why.at)
    if seen.noted == WAITING:
        return Standing(Word.WAITING, _waits_for(seen), seen.time, seen.until)
    if seen.noted == RETRYING:
        return Standing(Word.RETRYING, seen.trouble or "", seen.time, seen.until)
    if seen.discarded is not None:
        return Standing(Word.DISCARDED, seen.discarded, seen.time)
    # What a later release notes is no order either.
    word, why_not = _NOTES.get(seen.noted or "", (Word.LEFT_OUT, seen.noted or ""))
    return Standing(word, why_not, seen.time)


def _waits_for(seen: Seen) -> str:
    if seen.waits_for is None:
        return f"route `{seen.route}` lets it wait"
    return f"route `{seen.route}` lets it wait for {seen.waits_for}"


def superseded(seen: Seen, by: str) -> Standing:
    """The state of a version that a newer one superseded, in its window or waiting folder."""
    why = f"the newer version {by} takes its place"
    return Standing(Word.SUPERSEDED, why, seen.time)


def same_bytes(seen: Seen, same_as: str, word: Word | None) -> Standing:
    """The state of a copy, whose bytes are those of another version of the object.

    `word`: the state of that one, if it is known.
    """
    which = "" if word is None else f", which is {word}"
    return Standing(Word.SAME_BYTES, f"its bytes are those of version {same_as}{which}", seen.time)
