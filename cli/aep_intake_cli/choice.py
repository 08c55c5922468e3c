"""Options by which commands choose among what is parked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from aep_intake_cli.options import Age

if TYPE_CHECKING:
    from aep_intake.clock.parking import Parked
    from aep_intake.model.files import Arrival

    from aep_intake_cli.options import Access


@dataclass(frozen=True)
class Choice:
    """What is chosen: it fits each of these, of which empty ones fit all.

    `keys`: of one of its files at least, or the URI, in which `*` stands for anything.
    """

    routes: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()
    reasons: frozenset[str] = frozenset()
    external_ids: frozenset[str] = frozenset()
    queue: str | None = None
    older_than_ms: int = 0

    def fits(self, parked: Parked, now: int, files: Callable[[Parked], Iterable[Arrival]]) -> bool:
        """Whether it is chosen. `now` in epoch ms; `files` are asked for if there are several."""
        return (
            (not self.routes or (parked.route or "-") in self.routes)
            and (not self.reasons or parked.why.reason in self.reasons)
            and (not self.external_ids or parked.external_id in self.external_ids)
            and self.queue in (None, parked.queue)
            # A worker's clock may be ahead of this one.
            and (not self.older_than_ms or now - parked.why.at >= self.older_than_ms)
            and (not self.keys or self._names_one(parked, files))
        )

    def _names_one(self, parked: Parked, files: Callable[[Parked], Iterable[Arrival]]) -> bool:
        """Whether a pattern fits one of its files, of which its item has the first alone."""
        if parked.uri is not None and self._names(parked.uri):
            return True
        alone = parked.uri is not None and parked.files == 1
        return not alone and any(self._names(file.uri) for file in files(parked))

    def _names(self, uri: str) -> bool:
        names = uri, uri.removeprefix("s3://").partition("/")[2]
        return any(_fits(name, pattern) for name in names for pattern in self.keys)


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern, in which `*` alone is special: keys have `[` and `?`."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL))


def check_names(choice: Choice, access: Access) -> None:
    """Whether there are such routes and reasons, if nothing was chosen. Raises CommandFailed."""
    from aep_intake.report.reasons import REASONS

    from aep_intake_cli.documents import check_route, live_routes, near
    from aep_intake_cli.failures import CommandFailed
    from aep_intake_cli.output import visible

    # EventBridge's own are in capitals.
    for reason in (each for each in choice.reasons - REASONS.keys() if each.islower()):
        raise CommandFailed(f"no reason is called {visible(reason)}: {near(reason, [*REASONS])}")
    if named := choice.routes - {"-"}:
        document = live_routes(access.stack(), access.session.client("appconfig"))
        for route in named:
            check_route(route, document)


def with_choice[R](command: Callable[..., R]) -> Callable[..., R]:
    """Add the options; the command gets a Choice as `choice`."""

    @click.option("--route", multiple=True, metavar="NAME", help="Only of this one; repeatable.")
    @click.option(
        "--key",
        multiple=True,
        metavar="PATTERN",
        help="Only with a file of this key or URI, in which * stands for anything; repeatable.",
    )
    @click.option("--reason", multiple=True, metavar="REASON", help="Only these; repeatable.")
    @click.option("--external-id", multiple=True, metavar="ID", help="Only these; repeatable.")
    @click.option(
        "--older-than",
        type=Age(),
        default="0m",
        metavar="AGE",
        help="Only what was parked longer ago than this: 30m, 12h, 2d.",
    )
    @click.option(
        "--queue",
        type=click.Choice(["arrivals", "deliveries", "uploads"]),
        help="Only what goes back to this queue.",
    )
    @wraps(command)
    def run(
        *,
        route: tuple[str, ...],
        key: tuple[str, ...],
        reason: tuple[str, ...],
        external_id: tuple[str, ...],
        older_than: int,
        queue: str | None,
        **others: Any,
    ) -> R:
        chosen = frozenset(route), key, frozenset(reason), frozenset(external_id)
        return command(choice=Choice(*chosen, queue, older_than), **others)

    return run
