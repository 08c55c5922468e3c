"""What the codes of Adobe's batch errors mean, and what to do.

For the `errors` of a batch in Catalog, and no others: codes in answers to calls mean other things.
Adobe's own words always come first; a code that is not here stays without a hint. Pages are those
of Adobe's Experience Platform documentation, unless another source is named.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aep_intake.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means, what to do about it, and who says so."""

    means: str
    todo: str
    source: str

    @property
    def hint(self) -> str:
        """Both sentences."""
        return f"{self.means} {self.todo}"


_TROUBLESHOOTING = "Batch ingestion troubleshooting"
_DIAGNOSTICS = "Retrieve error diagnostics"
_DIAGNOSE = "The files under `diagnostics` of the event have the rows, each with its error."
_LOGS = "logs of failed batches that users published, not documented by Adobe"

# The error that AEP adds to others: it says how many rows these refused, and not why.
SUM = "INGEST-1212-400"

MEANINGS: Mapping[str, Meaning] = {
    "106": Meaning(
        "A file of the batch is empty.", "Leave empty files out of it.", _TROUBLESHOOTING
    ),
    "118": Meaning(
        "The header of a CSV file is empty.",
        "Write the names of the columns into its first row.",
        _TROUBLESHOOTING,
    ),
    "133": Meaning(
        "The batch was completed without any file.",
        "Upload its files before COMPLETE.",
        "Sources: notifications",
    ),
    "140": Meaning(
        "AEP says that it has ingested this batch already, and has failed this one as a duplicate.",
        "Look in the dataset for its rows. If they are there, discard it: a redrive makes another "
        "duplicate.",
        "Knowledge base KA-26349, of the Analytics source",
    ),
    "INGEST-1211-400": Meaning(
        "Rows could not be read, converted or validated; AEP says no more without diagnostics.",
        'Write `"enableErrorDiagnostics": true` into the route, and send the file again.',
        _DIAGNOSTICS,
    ),
    SUM: Meaning(
        "A sum: how many rows were refused, and how many are in the dataset.",
        "Read the other errors of the batch.",
        _DIAGNOSTICS,
    ),
    "INGEST-1401-400": Meaning(
        "Rows are corrupt: AEP could not read them.",
        "Look for broken JSON or CSV, for another character set, and for JSON in another layout "
        f"than the batch says. {_DIAGNOSE}",
        _DIAGNOSTICS,
    ),
    "INGEST-1555-400": Meaning(
        "A required field of the schema is missing, or null.",
        f"Fill it in every row. {_DIAGNOSE}",
        _DIAGNOSTICS,
    ),
    "MAPPER-3700-400": Meaning(
        "A mapping set of Data Prep could not map rows.",
        "Correct the mapping set that the batch names.",
        "Monitor dataflows by API",
    ),
    "DCVS-1101-400": Meaning(
        "A field is null, where the schema has a type.", "Leave the field out.", _LOGS
    ),
    "DCVS-1104-400": Meaning(
        "A value has another JSON type than its field, for example an object instead of a list.",
        "Write the type that the schema has at the path that AEP names.",
        _LOGS,
    ),
    "DCVS-1106-400": Meaning(
        "A required key is missing at the path that AEP names.",
        "Fill it, or leave its parent object out.",
        _LOGS,
    ),
    "UPINGT-030075": Meaning(
        "A record has several identities of the highest priority.",
        "Keep one, or change the identity settings of the sandbox.",
        _LOGS,
    ),
}

# Known by what is in the code, or in Adobe's words, as their codes are not documented. In the order
# in which they are tried, after MEANINGS.
_MAPPING = Meaning(
    "Data Prep could not map a field; AEP names source, destination and both types.",
    "Correct that mapping.",
    "Adobe's client `aepp`, which looks for these",
)
PATTERNS: Mapping[str, Meaning] = {
    "code with `MAPPER` or `DPMAP`": _MAPPING,
    "words with `TypeCompatibilityException`": Meaning(
        "The type of a field can never become the one that the schema has: for example, a boolean "
        "becomes nothing else.",
        "Send the type that the schema has.",
        "Batch ingestion overview, types",
    ),
    "words with `Batch ingestion guardrails hit`": Meaning(
        "The batch has more than 25,000 files or a terabyte.",
        "Make smaller batches.",
        "Guardrails for data ingestion",
    ),
}
_TRIED: tuple[Callable[[str, str], bool], ...] = (
    lambda code, _: "MAPPER" in code or "DPMAP" in code,
    lambda _, words: "TypeCompatibilityException" in words,
    lambda _, words: "Batch ingestion guardrails hit" in words,
)


def meaning_of(code: str, words: str = "") -> Meaning | None:
    """The meaning of an error by its whole code, or by Adobe's words; None: it is not known."""
    if code in MEANINGS:
        return MEANINGS[code]
    tried = zip(_TRIED, PATTERNS.values(), strict=True)
    return next((meaning for fits, meaning in tried if fits(code, words)), None)


def explained(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Errors of a batch, each with a `hint` if its meaning is known."""
    return [dict(error) | _hint(error) for error in errors]


def _hint(error: Mapping[str, Any]) -> dict[str, str]:
    meaning = meaning_of(str(error.get("code", "")), str(error.get("description", "")))
    return {} if meaning is None else {"hint": meaning.hint}


def named_in(text: str) -> Iterator[tuple[str, Meaning]]:
    """The known codes that `text` names in brackets, as the reason of a failed batch does.

    The sum comes last, since it says nothing by itself.
    """
    groups = re.findall(r"\(([^()]*)\)", text)
    codes = [code for listed in groups for code in listed.split(", ") if code in MEANINGS]
    for code in sorted(codes, key=SUM.__eq__):
        yield code, MEANINGS[code]
