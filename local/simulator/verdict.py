"""What Adobe says of a batch in the end, by the bytes of its files.

Sources: the error diagnostics page (`INGEST-1211-400`, `-1212-` and `-1401-` with their words, the
metrics of a batch that succeeded with errors), the troubleshooting page (106 and 118; metrics only
for successful batches, and none for CSV), the partial ingestion page (the percentage),
`batch-ingestion.yaml` (all eight metrics), the overview (`TypeCompatibilityException`; CSV for
ad-hoc schemas only), the page on notifications of sources (133), Adobe's Data Prep pages and a copy
of "monitor dataflows" (`MAPPER-3700-400`). Inferred: that one empty file fails its whole batch, and
what the output looks like (as many bytes and files as came in, one partition); that a batch whose
tag names no mapping set fails. Not documented, so a switch: the codes of rows that the schema
refuses, but for a required field, and what becomes of CSV in other datasets.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .batches import Batch
from .rules import Level
from .switches import Switches

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
NO_FILES: Error = {
    "code": "133",
    "description": "No files were located for this batch. Please upload files to ingest.",
}
REQUIRED = "INGEST-1555-400"
REQUIRED_WORDS = (
    "A required field is either missing or has a value of null. Add the required field to the "
    "input row and try again."
)
NO_MAPPING_SET: Error = {
    "code": "MAPPER-3700-400",
    "description": "Mapper Transform Error: the mapping set of the batch was not found.",
}
NOT_FLAT: Error = {
    "code": "SIMULATED-2004-400",
    "description": "CSV is supported for ad-hoc schemas only.",
}
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


def judge(batch: Batch, switches: Switches) -> Verdict:
    """What the files of a batch deserve."""
    files = batch.files.values()
    if len(files) > switches.files_per_batch:
        # The words are from the guardrails page; which code they come with is not documented.
        words = f"{len(files)} files (over the {switches.files_per_batch} threshold)"
        told = f"Batch ingestion guardrails hit: {words}"
        return Verdict(False, [{"code": "unknown", "description": told}])
    if not files and switches.without_files == "failed":
        return Verdict(False, [NO_FILES])
    whole: list[Error] = []
    csv = batch.members["inputFormat"]["format"] == "csv"
    none = csv and switches.header_only == "failed"
    if any(file.size == 0 or (none and file.findings.rows == 0) for file in files):
        whole.append(EMPTY_FILE)
    if any(file.findings.empty_header for file in files):
        whole.append(EMPTY_HEADER)
    bom = switches.bom == "refused"
    if any(file.findings.unreadable or (bom and file.findings.bom) for file in files):
        whole.append({"code": CORRUPT, "description": CORRUPT_WORDS})
    if any(file.findings.misplaced for file in files) and switches.csv_to_xdm == "refused":
        whole.append(NOT_FLAT)
    if batch.unknown_mapping_set:
        whole.append(NO_MAPPING_SET)
    if (clash := _clash(batch)) and switches.incompatible == "batch":
        whole.append({"code": switches.incompatible_code, "description": clash})
    if whole:
        return Verdict(False, whole)
    rows, bad = count(batch)
    if not bad:
        return Verdict(True)
    tolerated = _tolerated(batch, rows or 0, bad)
    good = (rows or 0) - bad if tolerated else 0
    return Verdict(tolerated, _row_errors(batch, good, bad, switches))


def count(batch: Batch) -> tuple[int | None, int]:
    """How many rows its files have, None where that cannot be told, and how many are refused."""
    rows = [file.findings.rows for file in batch.files.values()]
    bad = sum(file.findings.bad for file in batch.files.values())
    return (None if None in rows else sum(filter(None, rows))), bad


def code_of(level: Level, switches: Switches) -> tuple[str, str]:
    """The code of rows that the schema refuses, and its words."""
    return {
        Level.INCOMPATIBLE: (switches.incompatible_code, "TypeCompatibilityException"),
        Level.CONVERSION: (
            switches.conversion_code,
            "The value of a field cannot be converted to the type of the schema.",
        ),
        Level.REQUIRED: (REQUIRED, REQUIRED_WORDS),
        Level.CONSTRAINT: (
            switches.constraint_code,
            "The value of a field does not meet a constraint of the schema.",
        ),
    }[level]


def _clash(batch: Batch) -> str | None:
    """The words of a type that can never become that of its field; None: there is none."""
    for file in batch.files.values():
        if Level.INCOMPATIBLE in dict(file.findings.levels):
            found = [v for _, v in file.findings.unfit if v.level is Level.INCOMPATIBLE]
            where = f": {found[0].path}: {found[0].words}" if found else ""
            return f"TypeCompatibilityException{where}"
    return None


def _tolerated(batch: Batch, rows: int, bad: int) -> bool:
    percent = batch.members["tags"].get("acp_partialIngestionPercent")
    return percent is not None and bad * 100 <= percent * rows


def _row_errors(batch: Batch, good: int, bad: int, switches: Switches) -> list[Error]:
    if not diagnosed(batch):
        return [UNDIAGNOSED]
    summary = (
        f"Encountered {bad} errors in the data. Successfully ingested {good} rows. "
        "Please review the associated diagnostic files for more details."
    )
    levels: Counter[Level] = Counter()
    for file in batch.files.values():
        levels.update(dict(file.findings.levels))
    errors: list[Error] = [{"code": "INGEST-1212-400", "description": summary}]
    if corrupt := bad - levels.total():
        errors.append({"code": CORRUPT, "description": CORRUPT_WORDS, "recordCount": corrupt})
    for level, rows in sorted(levels.items()):
        code, words = code_of(level, switches)
        errors.append({"code": code, "description": words, "recordCount": rows})
    return errors


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
