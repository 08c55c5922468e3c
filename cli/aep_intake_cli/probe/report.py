"""What a probe found, and the settings that follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aep_intake.model.errors import IntakeError
from aep_intake.model.organizations import written

from aep_intake_cli.probe.dataset import NoAnswerFound, ProbedDataset, Steps, all_of
from aep_intake_cli.probe.questions import QUESTIONS, Judgement, Question

if TYPE_CHECKING:
    from aep_intake.model.organizations import Limits, Organizations

    from aep_intake_cli.probe.asking import Probed

UNEXPECTED = "not among the expected answers: find out what it means before you go on"


@dataclass(frozen=True)
class Answered:
    """One question, and what became of it."""

    question: Question
    verdict: Judgement
    answer: str
    means: str
    settings: Mapping[str, int | str]

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "question": self.question.name,
            "asks": self.question.asks,
            "expected": list(self.question.expected),
            "answer": self.answer,
            "verdict": str(self.verdict),
            "means": self.means,
            "settings": dict(self.settings),
        }


def ask(at: ProbedDataset, limits: Limits) -> Iterator[Answered]:
    """All questions that the dataset can answer, each line as soon as it is known; then the others.

    `limits`: in force. A question waits for AEP while others are asked.
    """
    asked = {each.name: each for each in QUESTIONS if each.fits(at.rows)}
    steps = {name: answered(each, at, limits) for name, each in asked.items()}
    for _, line in all_of(steps, at.wait):
        yield line
    for each in QUESTIONS:
        if each.name not in asked:
            yield Answered(
                each, Judgement.NOT_ASKED, "", f"probe a dataset with an {each.only} schema", {}
            )


def answered(question: Question, at: ProbedDataset, limits: Limits) -> Steps[Answered]:
    """Ask one question."""
    try:
        found = yield from question.steps(at, limits)
    except (NoAnswerFound, IntakeError) as why:
        return Answered(question, Judgement.NO_ANSWER, str(why), "ask again", {})
    return _line(question, found)


def _line(question: Question, found: Probed) -> Answered:
    verdict, means = question.expected.get(found.answer, (Judgement.DIFFERS, UNEXPECTED))
    answer = f"{found.answer}: {found.details}" if found.details else found.answer
    return Answered(question, verdict, answer, means, found.settings)


def in_order(lines: Sequence[Answered]) -> list[Answered]:
    """As the questions stand in QUESTIONS, whichever was answered first."""
    return sorted(lines, key=lambda line: QUESTIONS.index(line.question))


def settings_of(lines: Sequence[Answered]) -> dict[str, int | str]:
    """The members of `limits` that follow from all answers."""
    return {name: value for line in lines for name, value in line.settings.items()}


def with_settings(
    organizations: Organizations | None, settings: Mapping[str, int | str]
) -> dict[str, Any]:
    """The document of organizations and limits in force, with these settings.

    Without organizations (no stack yet) it is the first one, which leaves them to the stack.
    """
    document = {} if organizations is None else written(organizations)
    return document | {"limits": {**document.get("limits", {}), **settings}}


def as_assumed(lines: Sequence[Answered]) -> bool:
    """Whether the intake works with all of it as it is set."""
    return not any(line.verdict in (Judgement.DIFFERS, Judgement.NO_ANSWER) for line in lines)
