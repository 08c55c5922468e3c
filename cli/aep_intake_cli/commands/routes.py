"""`aep-intake routes`: the routing table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aep_intake_cli.options import FILE, Access, as_json, with_access, with_access_if_named

if TYPE_CHECKING:
    from aep_intake.model.organizations import Organizations
    from aep_intake.routing.routes import RoutingTable

    from aep_intake_cli.deployed import Deployed


class Volume(click.ParamType[tuple[str, int]]):
    """How many objects (or markers) come for a rule in a day."""

    name = "RULE=NUMBER"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        name, _, number = str(value).rpartition("=")
        if not name or not number.isdecimal():
            self.fail(f"{value!r} is not of the form RULE=NUMBER", param, ctx)
        return name, int(number)


@click.group("routes")
def command() -> None:
    """Routes: which arrivals go where, in which format, batched how."""


@command.command()
@click.argument("table", type=FILE)
@as_json
@with_access_if_named
def check(table: Path, as_json: bool, access: Access | None) -> int:
    """Find what is wrong with TABLE, a routing table in a JSON file.

    With --stack, credentials and sandboxes are compared with those that the stack allows.
    """
    from aep_intake.routing import routes

    from aep_intake_cli.output import print_json
    from aep_intake_cli.routing.lint import lint
    from aep_intake_cli.words import several

    document = table.read_bytes()
    problems = lint(document, None if access is None else _allowed(access)[1])
    if not problems:
        _warn(table)
    if as_json:
        print_json([asdict(problem) for problem in problems])
    elif problems:
        for problem in problems:
            click.echo(f"{table}: {problem}")
    else:
        rules = several(len(routes.parse(document, table.name).routes), "rule")
        click.echo(f"{table}: {rules}, no problems")
    return 1 if problems else 0


@command.command()
@click.argument("table", type=FILE)
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@as_json
def explain(table: Path, keys: tuple[str, ...], as_json: bool) -> None:
    """Tell which rule of TABLE each KEY hits, and what comes of it.

    A KEY is an object's, or s3://bucket/key. Without any, the table's own examples are explained.
    """
    from rich.table import Column, Table
    from rich.text import Text

    from aep_intake_cli.output import console, print_json
    from aep_intake_cli.routing.explain import examples
    from aep_intake_cli.routing.explain import explain as explained

    parsed = _parsed(table)
    keys = keys or tuple(key for route in parsed.routes for key in examples(route))
    if not keys:
        click.echo(f"{table}: it has no examples: give keys to explain", err=True)
    found = list(explained(parsed, keys))
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        names = ("key", "rule", "outcome", "placeholders")
        shown = Table(*(Column(name, overflow="fold") for name in names))
        for one in found:
            placed = ", ".join(f"{name}={value}" for name, value in one.placeholders.items())
            # Text, since brackets in a key would be markup to rich.
            shown.add_row(*map(Text, (one.key, one.rule or "", one.outcome, placed)))
        console().print(shown)


@command.command()
@click.argument("table", type=FILE)
@click.option(
    "--files-per-day",
    "volumes",
    multiple=True,
    type=Volume(),
    help="How many objects (or markers) come for a rule; may be repeated.",
)
@with_access_if_named
def forecast(
    table: Path,
    volumes: tuple[tuple[str, int], ...],
    access: Access | None,
) -> None:
    """Count the batches a day that each rule of TABLE can make.

    They are compared with what Adobe advises, and where they are more, what to write is told. With
    --stack, its sandboxes and credentials count, and Catalog tells which datasets are enabled for
    Profile.
    """
    from aep_intake_cli.output import console, progress
    from aep_intake_cli.routing.forecast import share, shown

    working = [route for route in _parsed(table).routes if "ignore" not in route.rule]
    given = dict(volumes)
    for name in given.keys() - {route.name for route in working}:
        raise click.BadParameter(
            f"no rule called {name} makes batches", param_hint="'--files-per-day'"
        )
    if not working:
        click.echo(f"{table}: none of its rules makes batches")
        return
    if access is None:
        shares = [share(route, volume=given.get(route.name)) for route in working]
        console().print(shown(shares))
        return
    from aep_intake_cli.routing.catalog import places, told

    with progress("asking Catalog"):
        stack, allowed = _allowed(access)
        answers = list(told(stack, allowed, access.session, working, given))
    shares = [share for share, _ in answers]
    console().print(shown(shares, allowed=places(allowed, shares)))
    for one, warning in answers:
        if warning:
            click.echo(f"{click.style(f'{one.rule}:', fg='yellow', bold=True)} {warning}")


@command.command()
@click.argument("table", type=FILE)
@with_access
def publish(table: Path, access: Access) -> None:
    """Check TABLE and make it live.

    It is checked against the organizations and sandboxes in force, too, and refused before anything
    is uploaded.
    """
    from aep_intake_cli import publishing

    said = publishing.publish(access, publishing.ROUTES, table.read_bytes())
    _warn(table)
    click.echo(said)


@command.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@with_access
def rollback(version: int | None, access: Access) -> None:
    """Make an earlier VERSION live again.

    Without VERSION it is the newest that was live before the present one. It is checked as if it
    were new, and refused where it is no good any more.
    """
    from aep_intake_cli import publishing

    click.echo(publishing.roll_back(access, publishing.ROUTES, version))


def _warn(table: Path) -> None:
    """Say, beside the output, what is perhaps not what was meant."""
    from aep_intake.routing import routes

    from aep_intake_cli.routing.lint import warnings

    for warning in warnings(routes.parse(table.read_bytes(), table.name)):
        click.echo(f"{table}: {click.style('warning', fg='yellow')}: {warning}", err=True)


def _parsed(table: Path) -> RoutingTable:
    """The table, if nothing is wrong with it. Raises Refused."""
    from aep_intake.routing import routes

    from aep_intake_cli.published import Refused
    from aep_intake_cli.routing.lint import lint

    document = table.read_bytes()
    if problems := lint(document):
        raise Refused(f"{table} has problems", problems)
    return routes.parse(document, table.name)


def _allowed(access: Access) -> tuple[Deployed, Organizations]:
    """The stack, and the organizations and limits in force there. Raises CannotGoOn."""
    from aep_intake_cli.deployed import PATIENCE
    from aep_intake_cli.published import organizations_of

    stack = access.deployed()
    return stack, organizations_of(stack, access.session.client("appconfig", config=PATIENCE))
