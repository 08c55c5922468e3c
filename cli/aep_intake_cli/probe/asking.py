"""How each question is asked: its calls, and which of the expected answers they got."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from aep_intake.model.organizations import SCHEMA

from aep_intake_cli.probe.dataset import NoAnswerFound, ProbedDataset, Steps, batch_id_of

if TYPE_CHECKING:
    from aep_intake.model.organizations import Limits

    from aep_intake_cli.probe.rows import Rows

REPLAY_FORMS = (
    "$predecessors",
    "predecessors",
    "$predecessorsByExternalId",
    "predecessorsByExternalId",
)
_SHOWN_SECONDS = 1200.0  # until Catalog must show a batch
_FILTER_SECONDS = 60.0  # until the filter must find what Catalog shows
# Catalog was measured on a quiet day, and three times.
_SETTLE_FACTOR = 3


@dataclass(frozen=True)
class Probed:
    """What AEP answered: one of the question's expected answers, and details for people."""

    answer: str
    details: str = ""
    settings: Mapping[str, int | str] = field(default_factory=dict)  # of the limits document


def repeat_external_id(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """POST the same externalId twice."""
    first = at.new_batch("external-id", externalId=(name := f"probe-{at.run}-twice"))
    again = at.create("external-id", externalId=name)
    yield
    if not again.ok:
        return Probed("refused", str(again))
    same = batch_id_of(again) == first
    return Probed("returned" if same else "accepted", f"{again.status}")


def find_by_filter(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """Ask Catalog for one externalId, where two batches are."""
    at.new_batch("lookup")  # another one, which the filter must leave out
    batch_id = at.new_batch("lookup", externalId=(name := f"probe-{at.run}-sought"))
    yield from _shown(at, batch_id)

    def by_filter() -> str | None:
        found = at.listed(externalId=name)
        if batch_id not in found:
            return None
        alone = all(raw.get("externalId") == name for raw in found.values())
        return "found" if alone else "not filtered"

    answer = yield from at.until(by_filter, _FILTER_SECONDS)
    return Probed(answer or "not found")


def _shown(at: ProbedDataset, batch_id: str) -> Steps[float]:
    """Seconds from the 201 until Catalog lists a batch."""
    made = at.now()

    def shown() -> bool | None:
        return batch_id in at.listed() or None

    if (yield from at.until(shown, _SHOWN_SECONDS)) is None:
        raise NoAnswerFound(f"Catalog does not show a batch after {_SHOWN_SECONDS:,.0f} seconds")
    return (at.now() - made) / 1000


def catalog_lag(at: ProbedDataset, limits: Limits) -> Steps[Probed]:
    """Make three batches, and wait until Catalog lists each."""
    seconds = []
    for _ in range(3):
        seconds.append((yield from _shown(at, at.new_batch("catalog-lag"))))
    needed = _SETTLE_FACTOR * max(seconds)
    details = "after " + ", ".join(f"{one:.1f}" for one in seconds) + " s"
    if needed <= limits.settle_seconds:
        return Probed("in time", details)
    allowed = SCHEMA["properties"]["limits"]["properties"]["settleSeconds"]
    rounded = max(allowed["minimum"], min(10 * ceil(needed / 10), allowed["maximum"]))
    return Probed("late", details, {"settleSeconds": rounded})


def put_file(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """PUT a file, and the same file again."""
    batch_id = at.new_batch("put")
    name = f"first.{at.rows.extension}"
    first, again = at.put(batch_id, name), at.put(batch_id, name)
    yield
    if not (first.ok and again.ok):
        return Probed("refused", f"{first}; again: {again}")
    return Probed(f"{first.status}", f"the same file again: {again.status}")


def head_file(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """HEAD a file before and after its PUT."""
    batch_id = at.new_batch("head")
    name = f"first.{at.rows.extension}"
    missing = at.head(batch_id, name)
    if not at.put(batch_id, name).ok:
        raise NoAnswerFound("AEP did not take a file")
    yield
    there = at.head(batch_id, name)
    span = there.http.headers.get("range", "")
    details = f"{missing.status} before its PUT, {there.status} {span}".strip() + " after it"
    if missing.ok or not there.ok:
        return Probed("wrong", details)
    whole = span == f"bytes=0-{len(at.rows.file) - 1}"
    return Probed("size" if whole else "no size", details)


def replay(at: ProbedDataset, limits: Limits) -> Steps[Probed]:
    """Load a batch, and replace it by each form until one works."""
    files = {f"rows.{at.rows.extension}": at.rows.file}
    external_id = f"probe-{at.run}-replaced"
    replaced = yield from at.load("replay", files, externalId=external_id)
    if replaced.batch is None or not replaced.served:
        raise NoAnswerFound(f"the batch to replace was not loaded: {replaced}")
    tried: list[str] = []
    for form in dict.fromkeys((limits.replay_by, *REPLAY_FORMS)):
        member = form.removeprefix("$")
        one = replaced.batch.id if member == "predecessors" else external_id
        replay = {member: ["$" * form.startswith("$") + one], "reason": "replace"}
        loaded = yield from at.load("replay", files, replay=replay)
        if loaded.served and (yield from _gone(at, replaced.batch.id)):
            if form == limits.replay_by:
                return Probed("as set", form)
            return Probed("other", f"{form}; not {', '.join(tried)}", {"replayBy": form})
        tried.append(form if loaded.served else f"{form}: {loaded}")
    return Probed("none", "; ".join(tried))


def _gone(at: ProbedDataset, batch_id: str) -> Steps[bool]:
    """Whether a batch is no longer served, a minute after another one took its place."""

    def gone() -> bool | None:
        batch = at.look(batch_id)
        return (batch is not None and not batch.holds_data) or None

    return bool((yield from at.until(gone, 60)))


def send_chunked(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """PUT a file without Content-Length."""
    answer = at.put(at.new_batch("chunked"), f"rows.{at.rows.extension}", chunked=True)
    yield
    return Probed("taken", str(answer.status)) if answer.ok else Probed("refused", str(answer))


def load_file(
    question: str, name: str, content: Callable[[Rows], bytes], **members: Any
) -> Callable[[ProbedDataset, Limits], Steps[Probed]]:
    """The steps of a question whether a file is loaded. `name`: what follows `rows`."""

    def steps(at: ProbedDataset, _: Limits) -> Steps[Probed]:
        file = f"rows.{name or at.rows.extension}"
        loaded = yield from at.load(question, {file: content(at.rows)}, **members)
        return Probed("loaded" if loaded.served else "failed", str(loaded))

    return steps


def load_gzip(at: ProbedDataset, limits: Limits) -> Steps[Probed]:
    """Load a file that is packed."""
    packed = load_file(
        "compressed", f"{at.rows.extension}.gz", lambda rows: gzip.compress(rows.file)
    )
    return (yield from packed(at, limits))


def mapping_tag(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """Load a batch that names a mapping set."""
    # A set that is not there: Data Prep documents no way to delete one that the probe would make.
    tag = {"aep_sip_mapper": [f"mapping-set-id:{at.run * 4}", "mapping-set-version:0"]}
    loaded = yield from at.load("mapping-tag", {"rows.json": at.rows.file}, tags=tag)
    return Probed("ignored" if loaded.served else "read", str(loaded))


def failing_batch(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """Load a file with a broken line, and read the diagnostics."""
    file = f"probe-{at.run}-broken.json"
    loaded = yield from at.load("failing", {file: at.rows.file + b'{"broken\n'})
    batch = loaded.batch
    if batch is None or not batch.holds_none:
        return Probed("not failed", str(loaded))
    counts = [str(error["recordCount"]) for error in batch.errors if "recordCount" in error]
    bad = yield from _bad_rows(at, batch.id)
    members = sorted({name for row in bad for name in row if name.startswith("_")})
    details = f"{loaded}; recordCount {', '.join(counts) or 'nowhere'}; "
    details += f"rows with {', '.join(members)}" if bad else "no rows"
    if not bad:
        return Probed("without rows", details)
    named = any(file in json.dumps(row) for row in bad)
    return Probed("names the file" if named else "names no file", details)


def wrong_rows(at: ProbedDataset, _: Limits) -> Steps[Probed]:
    """Load rows that break the schema, each in its own way."""
    rows = {"good": at.rows.row("good"), **at.rows.wrong}
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows.values())
    loaded = yield from at.load("rows", {"rows.json": content}, partialIngestionPercent=100)
    if not loaded.served or loaded.batch is None:
        return Probed("batch failed", str(loaded))
    if not loaded.batch.errors:
        return Probed("all taken", ", ".join(rows))
    bad = yield from _bad_rows(at, loaded.batch.id)
    texts = [json.dumps(row) for row in bad]
    told = []
    for name in rows:
        codes = [_codes(row) for row, text in zip(bad, texts, strict=True) if f'"{name}"' in text]
        told.append(f"{name}: {f'refused ({codes[0]})' if codes else 'taken'}")
    return Probed("some refused", ", ".join(told))


def _codes(row: Mapping[str, Any]) -> str:
    errors = row.get("_errors") or row.get("_validationErrors") or ()
    found = [one.get("code", one.get("keyword")) for one in errors if isinstance(one, dict)]
    return ", ".join(map(str, found))


def _bad_rows(at: ProbedDataset, batch_id: str) -> Steps[list[dict[str, Any]]]:
    """The rows that AEP's diagnostics show of a batch; they may come a minute later."""

    def listed() -> list[str] | None:
        answer = at.meta(batch_id, "row_errors")
        document = answer.http.json() if answer.ok else None
        files = document.get("data") if isinstance(document, dict) else None
        found = [one for one in files or () if isinstance(one, dict)]
        return [str(one.get("name")).rpartition("/")[2] for one in found] or None

    rows = []
    for name in (yield from at.until(listed, 60)) or ():
        answer = at.meta(batch_id, f"row_errors/{name}")
        for line in answer.http.body.splitlines() if answer.ok else ():
            with suppress(ValueError):  # a sample, so a line that is not JSON may be cut off
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]
