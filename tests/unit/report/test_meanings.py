"""What Adobe's error codes mean: hints only where the code, or Adobe's words, are known."""

import pytest
from aep_intake.model.batches import Batch
from aep_intake.report.meanings import MEANINGS, PATTERNS, explained, meaning_of, named_in

from local.simulator import verdict
from local.simulator.rules import Level
from local.simulator.switches import Switches


@pytest.mark.parametrize("code", MEANINGS)
def test_a_known_code_says_what_it_means_what_to_do_and_who_says_so(code: str) -> None:
    meaning = meaning_of(code)
    assert meaning is not None
    assert meaning.means.endswith(".")
    assert meaning.todo.endswith(".")
    assert meaning.source
    assert len(meaning.hint) < 400  # of twenty in an event


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("INGEST-1002-400", "Bad request"),  # a simulator's once, and some other one of Adobe's
        ("INGEST-1554-400", ""),
        ("1106", ""),
        ("XINGEST-1401-400", ""),
        ("INGEST-1401-4001", ""),
        ("", ""),
        ("unknown", "something else"),
    ],
)
def test_an_unknown_code_stays_as_it_is(code: str, words: str) -> None:
    error = {"code": code, "description": words, "recordCount": 3}
    assert explained([error]) == [error]


@pytest.mark.parametrize(
    ("code", "words", "pattern"),
    [
        ("MAPPER-3105-400", "…", "code with `MAPPER` or `DPMAP`"),
        ("DPMAP-1-400", "", "code with `MAPPER` or `DPMAP`"),
        (
            "err-1",
            "Failed: TypeCompatibilityException: a",
            "words with `TypeCompatibilityException`",
        ),
        (
            "unknown",
            "Batch ingestion guardrails hit: 25143 files",
            "words with `Batch ingestion guardrails hit`",
        ),
    ],
)
def test_what_is_known_by_a_part(code: str, words: str, pattern: str) -> None:
    assert meaning_of(code, words) is PATTERNS[pattern]


def test_adobes_words_stay_first() -> None:
    [told] = explained([{"code": "106", "description": "Dataset file is empty."}])
    assert list(told) == ["code", "description", "hint"]
    assert told["description"] == "Dataset file is empty."


def test_of_what_the_simulator_says_the_documented_codes_are_known() -> None:
    """Those that it invents are not, but for a type that does not fit: Adobe names the class."""
    said = [verdict.code_of(level, Switches()) for level in Level]
    said += [(one["code"], one["description"]) for one in (verdict.NO_FILES, verdict.UNDIAGNOSED)]
    said += [
        (one["code"], one["description"]) for one in (verdict.EMPTY_FILE, verdict.EMPTY_HEADER)
    ]
    said += [(verdict.CORRUPT, ""), (verdict.NO_MAPPING_SET["code"], "")]
    for code, words in said:
        known = not code.startswith("SIMULATED-") or "TypeCompatibilityException" in words
        assert (meaning_of(code, words) is not None) == known, code


def test_codes_that_a_reason_names() -> None:
    told = dict(named_in("batch 01ABC is failed (INGEST-1212-400, INGEST-1555-400, x)"))
    assert list(told) == ["INGEST-1555-400", "INGEST-1212-400"], "the sum says nothing by itself"
    assert list(named_in("106 files of 118 (at most)")) == []


def test_the_errors_of_a_batch_are_bounded_and_have_no_rows() -> None:
    errors = [
        {"code": "106", "description": "x" * 999, "rows": ["secret"], "recordCount": 7},
        {"code": 118, "recordCount": "many"},
        "no error",
        *[{"code": "more"}] * 30,
    ]
    batch = Batch("b", "failed", 0, None, (), {}, {"errors": errors})
    assert batch.errors[0] == {"code": "106", "description": "x" * 500, "recordCount": 7}
    assert batch.errors[1] == {"code": "118"}
    assert len(batch.errors) == 19
    for wrong in (None, "x", {"code": "106"}):
        assert Batch("b", "failed", 0, None, (), {}, {"errors": wrong}).errors == ()
