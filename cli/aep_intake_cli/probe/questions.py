"""The questions: for each its calls, the answers that are expected, and what follows from them.

Everything asked here was looked for in Adobe's documents, and not found or found to contradict
itself. Each answer has a switch in the simulator (`local/simulator/switches.py`).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from aep_intake.model.organizations import SCHEMA

from aep_intake_cli.probe.dataset import NoAnswerFound, ProbedDataset, Steps, batch_id_of

if TYPE_CHECKING:
    from aep_intake.model.organizations import Limits

    from aep_intake_cli.probe.rows import Rows

BOM = b"\xef\xbb\xbf"
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


class Verdict(StrEnum):
    """What an answer means for the intake."""

    ASSUMED = "as assumed"
    HANDLED = "handled"  # another answer, with which the intake works as well
    DIFFERS = "differs"  # something must be changed
    NO_ANSWER = "no answer"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Found:
    """What AEP answered: one of the question's expected answers, and details for people."""

    answer: str
    details: str = ""
    settings: Mapping[str, int | str] = field(default_factory=dict)  # of the limits document


@dataclass(frozen=True)
class Question:
    """One thing that no document answers.

    `expected`: by answer, whether the intake works with it, and what it means. `only`: asked of
    datasets with an ad-hoc schema, or of others.
    """

    name: str
    asks: str
    steps: Callable[[ProbedDataset, Limits], Steps[Found]]
    expected: Mapping[str, tuple[Verdict, str]]
    only: Literal["ad-hoc", "XDM"] | None = None

    def fits(self, rows: Rows) -> bool:
        """Whether the dataset can answer it."""
        return self.only in (None, "ad-hoc" if rows.adhoc else "XDM")


ASSUMED, HANDLED, DIFFERS = Verdict.ASSUMED, Verdict.HANDLED, Verdict.DIFFERS


def _reuse(at: ProbedDataset, _: Limits) -> Steps[Found]:
    first = at.new_batch("external-id", externalId=(name := f"probe-{at.run}-twice"))
    again = at.create("external-id", externalId=name)
    yield
    if not again.ok:
        return Found("refused", str(again))
    same = batch_id_of(again) == first
    return Found("returned" if same else "accepted", f"{again.status}")


def _filter(at: ProbedDataset, _: Limits) -> Steps[Found]:
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
    return Found(answer or "not found")


def _shown(at: ProbedDataset, batch_id: str) -> Steps[float]:
    """Seconds from the 201 until Catalog lists a batch."""
    made = at.now()

    def shown() -> bool | None:
        return batch_id in at.listed() or None

    if (yield from at.until(shown, _SHOWN_SECONDS)) is None:
        raise NoAnswerFound(f"Catalog does not show a batch after {_SHOWN_SECONDS:,.0f} seconds")
    return (at.now() - made) / 1000


def _lag(at: ProbedDataset, limits: Limits) -> Steps[Found]:
    seconds = []
    for _ in range(3):
        seconds.append((yield from _shown(at, at.new_batch("catalog-lag"))))
    needed = _SETTLE_FACTOR * max(seconds)
    details = "after " + ", ".join(f"{one:.1f}" for one in seconds) + " s"
    if needed <= limits.settle_seconds:
        return Found("in time", details)
    allowed = SCHEMA["properties"]["limits"]["properties"]["settleSeconds"]
    rounded = max(allowed["minimum"], min(10 * ceil(needed / 10), allowed["maximum"]))
    return Found("late", details, {"settleSeconds": rounded})


def _put(at: ProbedDataset, _: Limits) -> Steps[Found]:
    batch_id = at.new_batch("put")
    name = f"first.{at.rows.extension}"
    first, again = at.put(batch_id, name), at.put(batch_id, name)
    yield
    if not (first.ok and again.ok):
        return Found("refused", f"{first}; again: {again}")
    return Found(f"{first.status}", f"the same file again: {again.status}")


def _head(at: ProbedDataset, _: Limits) -> Steps[Found]:
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
        return Found("wrong", details)
    whole = span == f"bytes=0-{len(at.rows.file) - 1}"
    return Found("size" if whole else "no size", details)


def _replay(at: ProbedDataset, limits: Limits) -> Steps[Found]:
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
                return Found("as set", form)
            return Found("other", f"{form}; not {', '.join(tried)}", {"replayBy": form})
        tried.append(form if loaded.served else f"{form}: {loaded}")
    return Found("none", "; ".join(tried))


def _gone(at: ProbedDataset, batch_id: str) -> Steps[bool]:
    """Whether a batch is no longer served, a minute after another one took its place."""

    def gone() -> bool | None:
        batch = at.look(batch_id)
        return (batch is not None and not batch.holds_data) or None

    return bool((yield from at.until(gone, 60)))


def _chunked(at: ProbedDataset, _: Limits) -> Steps[Found]:
    answer = at.put(at.new_batch("chunked"), f"rows.{at.rows.extension}", chunked=True)
    yield
    return Found("taken", str(answer.status)) if answer.ok else Found("refused", str(answer))


def _loads(
    question: str, name: str, content: Callable[[Rows], bytes], **members: Any
) -> Callable[[ProbedDataset, Limits], Steps[Found]]:
    """The steps of a question whether a file is loaded. `name`: what follows `rows`."""

    def steps(at: ProbedDataset, _: Limits) -> Steps[Found]:
        file = f"rows.{name or at.rows.extension}"
        loaded = yield from at.load(question, {file: content(at.rows)}, **members)
        return Found("loaded" if loaded.served else "failed", str(loaded))

    return steps


def _compressed(at: ProbedDataset, limits: Limits) -> Steps[Found]:
    packed = _loads("compressed", f"{at.rows.extension}.gz", lambda rows: gzip.compress(rows.file))
    return (yield from packed(at, limits))


def _mapping_tag(at: ProbedDataset, _: Limits) -> Steps[Found]:
    # A set that is not there: Data Prep documents no way to delete one that the probe would make.
    tag = {"aep_sip_mapper": [f"mapping-set-id:{at.run * 4}", "mapping-set-version:0"]}
    loaded = yield from at.load("mapping-tag", {"rows.json": at.rows.file}, tags=tag)
    return Found("ignored" if loaded.served else "read", str(loaded))


def _failing(at: ProbedDataset, _: Limits) -> Steps[Found]:
    file = f"probe-{at.run}-broken.json"
    loaded = yield from at.load("failing", {file: at.rows.file + b'{"broken\n'})
    batch = loaded.batch
    if batch is None or not batch.holds_none:
        return Found("not failed", str(loaded))
    counts = [str(error["recordCount"]) for error in batch.errors if "recordCount" in error]
    bad = yield from _bad_rows(at, batch.id)
    members = sorted({name for row in bad for name in row if name.startswith("_")})
    details = f"{loaded}; recordCount {', '.join(counts) or 'nowhere'}; "
    details += f"rows with {', '.join(members)}" if bad else "no rows"
    if not bad:
        return Found("without rows", details)
    named = any(file in json.dumps(row) for row in bad)
    return Found("names the file" if named else "names no file", details)


def _rows(at: ProbedDataset, _: Limits) -> Steps[Found]:
    rows = {"good": at.rows.row("good"), **at.rows.wrong}
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows.values())
    loaded = yield from at.load("rows", {"rows.json": content}, partialIngestionPercent=100)
    if not loaded.served or loaded.batch is None:
        return Found("batch failed", str(loaded))
    if not loaded.batch.errors:
        return Found("all taken", ", ".join(rows))
    bad = yield from _bad_rows(at, loaded.batch.id)
    texts = [json.dumps(row) for row in bad]
    told = []
    for name in rows:
        codes = [_codes(row) for row, text in zip(bad, texts, strict=True) if f'"{name}"' in text]
        told.append(f"{name}: {f'refused ({codes[0]})' if codes else 'taken'}")
    return Found("some refused", ", ".join(told))


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
            with suppress(ValueError):  # a sample, so a line that is no JSON may be cut off
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


QUESTIONS = (
    Question(
        "external-id",
        "Is externalId enforced?",
        _reuse,
        {
            "accepted": (ASSUMED, "a repeated POST makes another batch; the intake looks up first"),
            "refused": (HANDLED, "a repeated POST is refused; the intake then looks up"),
            "returned": (HANDLED, "a repeated POST gives the batch that is there"),
        },
    ),
    Question(
        "lookup",
        "Does Catalog find a batch by its externalId?",
        _filter,
        {
            "found": (ASSUMED, "after a lost answer the intake finds its batch"),
            "not filtered": (HANDLED, "the intake compares each batch of the dataset itself"),
            "not found": (DIFFERS, "after a lost answer there can be two batches: do not use it"),
        },
    ),
    Question(
        "catalog-lag",
        "How late does Catalog show a new batch?",
        _lag,
        {
            "in time": (ASSUMED, "settleSeconds is three times as long, or more"),
            "late": (DIFFERS, "settleSeconds is less than three times as long"),
        },
    ),
    Question(
        "put",
        "What does PUT of a file answer?",
        _put,
        {
            "200": (ASSUMED, "as Adobe's guides say"),
            "201": (HANDLED, "as Adobe's specification says"),
        },
    ),
    Question(
        "head",
        "What does HEAD of a file answer?",
        _head,
        {
            "size": (ASSUMED, "after a lost answer the intake knows that a file is whole"),
            "no size": (
                HANDLED,
                "after a lost answer the file is given up, and gets another batch",
            ),
            "wrong": (DIFFERS, "a file whose answer was lost can be there twice, or be missing"),
        },
    ),
    Question(
        "replay",
        "Which form of replay replaces a batch?",
        _replay,
        {
            "as set": (ASSUMED, "corrected files replace what they correct"),
            "other": (DIFFERS, "corrected files would be there beside what they correct"),
            "none": (DIFFERS, "let no route say replace: rows would be there twice"),
        },
    ),
    Question(
        "chunked",
        "Are chunked bodies taken?",
        _chunked,
        {
            "refused": (ASSUMED, "the intake always sends Content-Length"),
            "taken": (ASSUMED, "the intake does not need it: it sends Content-Length"),
        },
    ),
    Question(
        "compressed",
        "Is a gzip file read?",
        _compressed,
        {
            "failed": (ASSUMED, "the intake unpacks gzip"),
            "loaded": (HANDLED, "the intake unpacks gzip all the same"),
        },
    ),
    Question(
        "csv",
        "Is CSV taken for an XDM schema?",
        _loads("csv", "csv", lambda rows: rows.csv, inputFormat={"format": "csv"}),
        {
            "failed": (ASSUMED, "CSV needs a map, or an ad-hoc schema"),
            "loaded": (HANDLED, "compare its columns in the dataset before you rely on it"),
        },
        only="XDM",
    ),
    Question(
        "csv-bom",
        "Is CSV with a byte order mark taken?",
        _loads("csv-bom", "csv", lambda rows: BOM + rows.csv),
        {
            "loaded": (ASSUMED, "the intake leaves the mark out all the same"),
            "failed": (ASSUMED, "the intake leaves the mark out"),
        },
        only="ad-hoc",
    ),
    Question(
        "header-only",
        "Is a CSV file without rows loaded?",
        _loads("header-only", "csv", lambda rows: rows.header),
        {
            "loaded": (ASSUMED, "a route with minRows 0 loads a table without rows"),
            "failed": (DIFFERS, "let no route say minRows 0: its empty tables fail"),
        },
        only="ad-hoc",
    ),
    Question(
        "mapping-tag",
        "Is the tag of a mapping set read?",
        _mapping_tag,
        {
            "read": (ASSUMED, "a route may name a mapping set (`mapping`)"),
            "ignored": (
                DIFFERS,
                "let no route say `mapping`: its rows would not be mapped; use `map`",
            ),
        },
        only="XDM",
    ),
    Question(
        "failing",
        "What is told of a batch that fails?",
        _failing,
        {
            "names the file": (ASSUMED, "onFailed: split finds the bad file at once"),
            "names no file": (ASSUMED, "onFailed: split finds the bad file by halves"),
            "without rows": (DIFFERS, "failed batches say which error, but not which rows"),
        },
        only="XDM",
    ),
    Question(
        "rows",
        "Which rows are refused?",
        _rows,
        {
            "some refused": (ASSUMED, "maps send none of these; JSON as it is must not either"),
            "all taken": (HANDLED, "nothing is checked: see acp_validationContext of the dataset"),
        },
        only="XDM",
    ),
)
