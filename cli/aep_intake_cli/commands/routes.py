"""`aep-intake routes`: the routing table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aep_intake_cli.commands.mapping import add_suggest_and_try
from aep_intake_cli.commands.publish import add_publish_and_rollback
from aep_intake_cli.commands.versions import add_live_history_and_diff
from aep_intake_cli.options import FILE, Access, as_json, with_access, with_access_if_named

if TYPE_CHECKING:
    from aep_intake.model.organizations import Organizations
    from aep_intake.routing.table import RoutingTable

    from aep_intake_cli.documents import DocumentProblem
    from aep_intake_cli.routing.explain import Explanation
    from aep_intake_cli.stack import Stack


class FilesPerDay(click.ParamType[tuple[str, int]]):
    """How many objects (or markers) arrive for a route in a day."""

    name = "ROUTE=NUMBER"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        name, _, number = str(value).rpartition("=")
        if not name or not number.isdecimal():
            self.fail(f"{value!r} is not of the form ROUTE=NUMBER", param, ctx)
        return name, int(number)


@click.group("routes")
def command() -> None:
    """Routes: which files go to which dataset, in which batches."""


@command.command()
@click.argument("table", type=FILE)
@as_json
@with_access_if_named
def check(table: Path, as_json: bool, access: Access | None) -> int:
    """Find the problems of TABLE, a routing table in a JSON file.

    With --stack, its credentials and sandboxes are compared with those that the stack allows, and a
    warning is printed for each route whose dataset is not there, or does not take its format.
    """
    from aep_intake.routing import routes

    from aep_intake_cli.output import print_json, quantity
    from aep_intake_cli.routing.lint import lint

    document = table.read_bytes()
    if access is None:
        problems = lint(document)
    else:
        stack, organizations = _read_stack(access)
        problems = lint(document, organizations, delivers=stack.delivers)
    if not problems:
        _print_warnings(table, access)
    if as_json:
        print_json(list(map(_for_programs, problems)))
    elif problems:
        for problem in problems:
            click.echo(f"{table}: {problem}")
    else:
        number = quantity(len(routes.parse(document, table.name).routes), "route")
        click.echo(f"{table}: {number}, no problems")
    return 1 if problems else 0


@command.command()
@click.argument("table", type=FILE)
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@as_json
def explain(table: Path, keys: tuple[str, ...], as_json: bool) -> None:
    """Show which route of TABLE each KEY matches, and what follows.

    KEY is the key of an object, or s3://bucket/key. Without a KEY, the table's own examples are
    explained.
    """
    from rich.table import Column, Table
    from rich.text import Text

    from aep_intake_cli.output import console, print_json
    from aep_intake_cli.routing.explain import examples
    from aep_intake_cli.routing.explain import explain as explain_keys

    parsed = _parse(table)
    keys = keys or tuple(key for route in parsed.routes for key in examples(route))
    if not keys:
        click.echo(f"{table}: the table has no examples: give keys to explain", err=True)
    explanations = list(explain_keys(parsed, keys))
    if as_json:
        print_json(list(map(_for_programs, explanations)))
    elif explanations:
        names = ("key", "route", "outcome", "placeholders")
        shown = Table(*(Column(name, overflow="fold") for name in names))
        for one in explanations:
            values = ", ".join(f"{name}={value}" for name, value in one.placeholders.items())
            # Text, since brackets in a key would be markup to rich.
            shown.add_row(*map(Text, (one.key, one.route or "", one.outcome, values)))
        console().print(shown)


@command.command()
@click.argument("table", type=FILE)
@click.option(
    "--files-per-day",
    "files_per_day",
    multiple=True,
    type=FilesPerDay(),
    help="How many objects (or markers) arrive for a route; repeatable.",
)
@as_json
@with_access_if_named
def forecast(
    table: Path,
    files_per_day: tuple[tuple[str, int], ...],
    as_json: bool,
    access: Access | None,
) -> None:
    """Count the batches a day that each route of TABLE can make.

    The numbers are compared with Adobe's advice. If a route can make too many, the table says what
    to write into it. With --stack, the sandboxes and credentials of the stack count, and Catalog
    says which datasets are enabled for Profile.
    """
    from aep_intake_cli.output import console, print_json, progress
    from aep_intake_cli.routing.forecast import report, share_of_route, to_json

    working = [route for route in _parse(table).routes if "ignore" not in route.written]
    volumes = dict(files_per_day)
    for name in volumes.keys() - {route.name for route in working}:
        raise click.BadParameter(
            f"no route named {name} makes batches", param_hint="'--files-per-day'"
        )
    if not working:
        click.echo(f"{table}: no route of this table makes batches", err=as_json)
    if access is None or not working:
        shares = [share_of_route(route, volume=volumes.get(route.name)) for route in working]
        if as_json:
            print_json(to_json(shares))
        elif shares:
            console().print(report(shares))
        return
    from aep_intake_cli.routing.catalog import all_places, shares_with_warnings

    with progress("reading Catalog"):
        stack, organizations = _read_stack(access)
        found = list(shares_with_warnings(stack, organizations, access.session, working, volumes))
    shares = [share for share, _ in found]
    if as_json:
        print_json(to_json(shares))
    else:
        console().print(report(shares, allowed=all_places(organizations, shares)))
    for share, warning in found:
        if warning:
            name = click.style(f"{share.route}:", fg="yellow", bold=True)
            click.echo(f"{name} {warning}", err=as_json)


def _for_programs(found: DocumentProblem | Explanation) -> dict[str, object]:
    """As JSON, where `rule` names the route: programs that read it know no other name."""
    return {"rule" if name == "route" else name: one for name, one in asdict(found).items()}


def _print_warnings(table: Path, access: Access | None) -> None:
    """Print the warnings about a table to standard error, so that the output stays as it is.

    With a stack, also what AEP says against its routes.
    """
    from aep_intake.routing import routes

    from aep_intake_cli.routing.lint import warnings

    parsed = routes.parse(table.read_bytes(), table.name)
    found = [str(warning) for warning in warnings(parsed)]
    for text in [*found, *([] if access is None else _misfits(parsed, access))]:
        click.echo(f"{table}: {click.style('warning', fg='yellow')}: {text}", err=True)


def _misfits(parsed: RoutingTable, access: Access) -> list[str]:
    """What AEP says against the routes of a table, or why it could not be asked."""
    from botocore.exceptions import BotoCoreError, ClientError

    from aep_intake_cli.datasets import adobe_clients
    from aep_intake_cli.failures import explain_aws_error
    from aep_intake_cli.output import progress
    from aep_intake_cli.routing import fit

    try:
        with progress("asking AEP for the datasets"):
            stack, organizations = _read_stack(access)
            credentials, adobe = adobe_clients(stack, access.session)
            return list(fit.misfits(adobe, credentials, organizations, parsed))
    except (BotoCoreError, ClientError) as error:
        return [f"{fit.NOT_CHECKED}: {explain_aws_error(error)}"]


@command.command()
@click.argument("table", type=FILE)
@click.option("--from", "before", required=True, metavar="SANDBOX", help="Whose routes move.")
@click.option("--to", "after", required=True, metavar="SANDBOX", help="Where they move to.")
@with_access
def move(table: Path, before: str, after: str, access: Access) -> None:
    """Print TABLE for another sandbox.

    Each `datasetId` becomes the id of the dataset of the same name there. If one is not there, the
    command says which, and prints no table.
    """
    from aep_intake_cli.datasets import adobe_clients
    from aep_intake_cli.output import progress
    from aep_intake_cli.routing.move import moved

    _parse(table)
    with progress("asking AEP for the datasets"):
        stack, organizations = _read_stack(access)
        credentials, adobe = adobe_clients(stack, access.session)
        ims_orgs = {arn: credentials.ims_org(arn) for arn in organizations.credentials}
        document = moved(table.read_bytes(), adobe, ims_orgs, organizations, (before, after))
    click.echo(document.decode())


add_suggest_and_try(command)
add_live_history_and_diff(command, "routes", "TABLE")
add_publish_and_rollback(
    command,
    "routes",
    "TABLE",
    "TABLE is checked as `routes check` does, and against the organizations and sandboxes in "
    "force. If it has problems, nothing is uploaded. Once it is live, a warning is printed for "
    "each route whose dataset is not there, or does not take its format.",
    warn=_print_warnings,
)


def _parse(table: Path) -> RoutingTable:
    """Read a table that has no problems. Raises DocumentRefused."""
    from aep_intake.routing import routes

    from aep_intake_cli.documents import DocumentRefused
    from aep_intake_cli.routing.lint import lint

    document = table.read_bytes()
    if problems := lint(document):
        raise DocumentRefused(f"{table} has problems", problems)
    return routes.parse(document, table.name)


def _read_stack(access: Access) -> tuple[Stack, Organizations]:
    """Read the stack, and its organizations and limits in force. Raises CommandFailed."""
    from aep_intake_cli.documents import organizations_of

    stack = access.stack()
    return stack, organizations_of(stack, access.session.client("appconfig"))
