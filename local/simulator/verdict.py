"""What Adobe says of a batch in the end, by the bytes of its files.

Sources: the error diagnostics page (`INGEST-1211-400`, `-1212-` and `-1401-` with their words, the
metrics of a batch that succeeded with errors), the troubleshooting page (106 and 118; metrics only
for successful batches, and none for CSV), the partial ingestion page (the percentage),
`batch-ingestion.yaml` (all eight metrics). Inferred: that one empty file fails its whole batch, and
what the output looks like (as many bytes and files as came in, one partition).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .batches import Batch

Error = dict[str, Any]

EMPTY_FILE: Error = {
    "code": "106",
    "description": "Dataset file is empty. Please upload file with data.",
    "rows": [],
}
EMPTY_HEADER: Error = {
    "code": "118",
    "description": "CSV file contains empty header row.",
    "rows": [],
}
CORRUPT = "INGEST-1401-400"
CORRUPT_WORDS = (
    "The row has corrupted data and cannot be read or parsed. Fix the corrupted data and try again."
)
UNDIAGNOSED: Error = {
    "code": "INGEST-1211-400",
    "description": (
        "Encountered errors while parsing, converting or otherwise validating the data. "
        "Please resend the data with error diagnostics enabled to collect additional "
        "information on failure types"
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a batch is promoted, and the errors that Catalog shows either way."""

    succeeded: bool
    errors: Sequence[Error] = ()


def judge(batch: Batch, without_files: Literal["failed", "success"], most_files: int) -> Verdict:
    """What the files of a batch deserve. `without_files`: what a batch that has none deserves."""
    files = batch.files.values()
    if len(files) > most_files:
        # The words are from the guardrails page; which code they come with is not documented.
        words = f"{len(files)} files (over the {most_files} threshold)"
        told = f"Batch ingestion guardrails hit: {words}"
        return Verdict(False, [{"code": "unknown", "description": told}])
    if not files and without_files == "failed":
        return Verdict(False, [EMPTY_FILE])
    whole: list[Error] = []
    if any(file.size == 0 for file in files):
        whole.append(EMPTY_FILE)
    if any(file.findings.empty_header for file in files):
        whole.append(EMPTY_HEADER)
    if any(file.findings.unreadable for file in files):
        whole.append({"code": CORRUPT, "description": CORRUPT_WORDS})
    if whole:
        return Verdict(False, whole)
    rows, bad = count(batch)
    if not bad:
        return Verdict(True)
    tolerated = _tolerated(batch, rows or 0, bad)
    return Verdict(tolerated, _row_errors(batch, (rows or 0) - bad if tolerated else 0, bad))


def count(batch: Batch) -> tuple[int | None, int]:
    """How many rows its files have, None where that cannot be told, and how many are corrupt."""
    rows = [file.findings.rows for file in batch.files.values()]
    bad = sum(file.findings.bad for file in batch.files.values())
    return (None if None in rows else sum(filter(None, rows))), bad


def _tolerated(batch: Batch, rows: int, bad: int) -> bool:
    percent = batch.members["tags"].get("acp_partialIngestionPercent")
    return percent is not None and bad * 100 <= percent * rows


def _row_errors(batch: Batch, good: int, bad: int) -> list[Error]:
    if not diagnosed(batch):
        return [UNDIAGNOSED]
    summary = (
        f"Encountered {bad} errors in the data. Successfully ingested {good} rows. "
        "Please review the associated diagnostic files for more details."
    )
    return [
        {"code": "INGEST-1212-400", "description": summary},
        {"code": CORRUPT, "description": CORRUPT_WORDS, "recordCount": bad},
    ]


def diagnosed(batch: Batch) -> bool:
    """Whether its client asked for error diagnostics."""
    return bool(batch.members["tags"].get("acp_enableErrorDiagnostics"))


def metrics(batch: Batch) -> dict[str, dict[str, int]]:
    """The member `metrics` of a batch that succeeds, if it gets one."""
    if batch.members["inputFormat"]["format"] == "csv" or not batch.files:
        return {}
    size, files = sum(file.size for file in batch.files.values()), len(batch.files)
    found = {
        "inputByteSize": size,
        "inputFileCount": files,
        "outputByteSize": size,
        "outputFileCount": files,
        "partitionCount": 1,
    }
    rows, bad = count(batch)
    if rows is not None:
        found |= {
            "inputRecordCount": rows,
            "outputRecordCount": rows - bad,
            "failedRecordCount": bad,
        }
    return {"metrics": found}
