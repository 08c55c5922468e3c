"""What would become of parked messages if they were redriven now: the intake itself is asked."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from aep_intake.clock.parking import ARRIVALS, Parked
from rich.table import Column, Table
from rich.text import Text

from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import about_it, end_of, quantity, visible
from aep_intake_cli.parked import body_of, name_of

if TYPE_CHECKING:
    from aep_intake.model.messages import Wish
    from mypy_boto3_lambda import LambdaClient

TOGETHER = 10  # in a call
# Of Lambda's six megabytes a call, since JSON may write a byte of a body as six.
TOGETHER_BYTES = 900_000
SIDE_BY_SIDE = 4

type Answers = Sequence[Mapping[str, Any]]


def would_become(
    several: Sequence[Parked], wish: Wish, functions: LambdaClient, on_marker: str
) -> Generator[tuple[Parked, Answers]]:
    """What each would become, as `arrivals.dry_run` says it. Raises CommandFailed.

    `on_marker` is asked, by its name: it has the code, the rights and the time.
    """

    def ask(some: Sequence[Parked]) -> list[Answers]:
        bodies = [body_of(parked, wish) for parked in some]
        asked = {"dryRun": {"bodies": bodies, "evenIfOvertaken": wish.even_if_overtaken}}
        answer = functions.invoke(FunctionName=on_marker, Payload=json.dumps(asked).encode())
        told = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise CommandFailed(f"{on_marker} failed: {told.get('errorMessage', told)}")
        found: list[Answers] = told["told"]
        return found

    routed = [parked for parked in several if parked.queue == ARRIVALS]
    groups = list(_grouped(routed))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for group, told in zip(groups, pool.map(ask, groups), strict=True):
            yield from zip(group, told, strict=True)
    # A delivery, or an upload, goes on with what it lacks.
    yield from ((parked, [{"becomes": "sent"}]) for parked in several if parked.queue != ARRIVALS)


def _grouped(several: Sequence[Parked]) -> Generator[list[Parked]]:
    """A few at a time, of so many bytes; one that is larger is alone."""
    group: list[Parked] = []
    for parked in several:
        size = sum(len(one.body.encode()) for one in (*group, parked))
        if group and (len(group) == TOGETHER or size > TOGETHER_BYTES):
            yield group
            group = []
        group.append(parked)
    if group:
        yield group


# What is told of a message with several things in it: the first of these.
SAID = {
    "parked": "refused, {reason}: {detail}",
    "retried": "tried again for a day, {reason}: {detail}",
    "paused": "claimed, and kept back until its pause is over",
    "waits": "waits for its marker or ready file",
    "window": "in a window of route {route}",
    "batch": "a batch (attempt {attempt}), route {route}, dataset {datasetId}",
    "sent": "goes on where it stopped",
    "nothing": "nothing: {why}",
}


def is_refused(told: Answers) -> bool:
    """Whether it would be parked again."""
    return any(one["becomes"] == "parked" for one in told)


def summary(messages: int, refused: int) -> str:
    """How many there are, and how many of them would be parked again."""
    several = quantity(messages, "message")
    if refused == messages > 0:
        return f"{several}; {'it' if messages == 1 else 'all'} would be refused again."
    return (
        f"{several} would be sent, {f'{refused:,} of them' if refused else 'none'} refused again."
    )


def becomes(told: Answers) -> str:
    """What one would become, in a line."""
    said = ((text, one) for word, text in SAID.items() for one in told if one["becomes"] == word)
    return next((text.format_map(one) for text, one in said), "nothing: there is nothing in it")


def plan(several: Sequence[tuple[Parked, Answers]], width: int) -> Table:
    """A row for each, with what it would become."""
    first, last = Column("file or order", no_wrap=True), Column("becomes", overflow="fold")
    rows = Table(first, "reason", last)
    for parked, told in several:
        name = end_of(name_of(parked), max(12, width // 3))
        told_of_it = visible(about_it(becomes(told), parked.uri))
        rows.add_row(*map(Text, (name, parked.why.reason, told_of_it)))
    return rows
