"""The questions: for each the answers that are expected, and what follows from them.

Everything asked here was looked for in Adobe's documents, and not found or found to contradict
itself. Each answer has a switch in the simulator (`local/simulator/switches.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from aep_intake_cli.probe import asking

if TYPE_CHECKING:
    from aep_intake.model.organizations import Limits

    from aep_intake_cli.probe.asking import Probed
    from aep_intake_cli.probe.dataset import ProbedDataset, Steps
    from aep_intake_cli.probe.rows import Rows

BOM = b"\xef\xbb\xbf"


class Judgement(StrEnum):
    """What an answer means for the intake."""

    ASSUMED = "as assumed"
    HANDLED = "handled"  # another answer, with which the intake works as well
    DIFFERS = "differs"  # something must be changed
    NO_ANSWER = "no answer"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Question:
    """One thing that no document answers.

    `expected`: by answer, whether the intake works with it, and what it means. `only`: asked of
    datasets with an ad-hoc schema, or of others.
    """

    name: str
    asks: str
    steps: Callable[[ProbedDataset, Limits], Steps[Probed]]
    expected: Mapping[str, tuple[Judgement, str]]
    only: Literal["ad-hoc", "XDM"] | None = None

    def fits(self, rows: Rows) -> bool:
        """Whether the dataset can answer it."""
        return self.only in (None, "ad-hoc" if rows.adhoc else "XDM")


ASSUMED, HANDLED, DIFFERS = Judgement.ASSUMED, Judgement.HANDLED, Judgement.DIFFERS


QUESTIONS = (
    Question(
        "external-id",
        "Is externalId enforced?",
        asking.repeat_external_id,
        {
            "accepted": (ASSUMED, "a repeated POST makes another batch; the intake looks up first"),
            "refused": (HANDLED, "a repeated POST is refused; the intake then looks up"),
            "returned": (HANDLED, "a repeated POST gives the batch that is there"),
        },
    ),
    Question(
        "lookup",
        "Does Catalog find a batch by its externalId?",
        asking.find_by_filter,
        {
            "found": (ASSUMED, "after a lost answer the intake finds its batch"),
            "not filtered": (HANDLED, "the intake compares each batch of the dataset itself"),
            "not found": (DIFFERS, "after a lost answer there can be two batches: do not use it"),
        },
    ),
    Question(
        "catalog-lag",
        "How late does Catalog show a new batch?",
        asking.catalog_lag,
        {
            "in time": (ASSUMED, "settleSeconds is three times as long, or more"),
            "late": (DIFFERS, "settleSeconds is less than three times as long"),
        },
    ),
    Question(
        "put",
        "What does PUT of a file answer?",
        asking.put_file,
        {
            "200": (ASSUMED, "as Adobe's guides say"),
            "201": (HANDLED, "as Adobe's specification says"),
        },
    ),
    Question(
        "head",
        "What does HEAD of a file answer?",
        asking.head_file,
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
        asking.replay,
        {
            "as set": (ASSUMED, "corrected files replace what they correct"),
            "other": (DIFFERS, "corrected files would be there beside what they correct"),
            "none": (DIFFERS, "let no route say replace: rows would be there twice"),
        },
    ),
    Question(
        "chunked",
        "Are chunked bodies taken?",
        asking.send_chunked,
        {
            "refused": (ASSUMED, "the intake always sends Content-Length"),
            "taken": (ASSUMED, "the intake does not need it: it sends Content-Length"),
        },
    ),
    Question(
        "compressed",
        "Is a gzip file read?",
        asking.load_gzip,
        {
            "failed": (ASSUMED, "the intake unpacks gzip"),
            "loaded": (HANDLED, "the intake still unpacks gzip"),
        },
    ),
    Question(
        "csv",
        "Is CSV taken for an XDM schema?",
        asking.load_file("csv", "csv", lambda rows: rows.csv, inputFormat={"format": "csv"}),
        {
            "failed": (ASSUMED, "CSV needs a map, or an ad-hoc schema"),
            "loaded": (HANDLED, "compare its columns in the dataset before you rely on it"),
        },
        only="XDM",
    ),
    Question(
        "csv-bom",
        "Is CSV with a byte order mark taken?",
        asking.load_file("csv-bom", "csv", lambda rows: BOM + rows.csv),
        {
            "loaded": (ASSUMED, "the intake still leaves the mark out"),
            "failed": (ASSUMED, "the intake leaves the mark out"),
        },
        only="ad-hoc",
    ),
    Question(
        "header-only",
        "Is a CSV file without rows loaded?",
        asking.load_file("header-only", "csv", lambda rows: rows.header),
        {
            "loaded": (ASSUMED, "a route with minRows 0 loads a table without rows"),
            "failed": (DIFFERS, "let no route say minRows 0: its empty tables fail"),
        },
        only="ad-hoc",
    ),
    Question(
        "mapping-tag",
        "Is the tag of a mapping set read?",
        asking.mapping_tag,
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
        "What does AEP say of a batch that fails?",
        asking.failing_batch,
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
        asking.wrong_rows,
        {
            "some refused": (ASSUMED, "maps send none of these; JSON as it is must not either"),
            "all taken": (HANDLED, "nothing is checked: see acp_validationContext of the dataset"),
        },
        only="XDM",
    ),
)
