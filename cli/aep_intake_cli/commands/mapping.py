"""`suggest` and `try`: from a file to a route, and what would become of the file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aep_intake_cli.options import FILE, Access, as_json, with_access_if_named

if TYPE_CHECKING:
    from aep_intake.routing.table import Route, RoutingTable

    from aep_intake_cli.mapping.files import RowFile
    from aep_intake_cli.mapping.schemas import KnownSchema
    from aep_intake_cli.mapping.suggest import Suggestion
    from aep_intake_cli.mapping.verdict import Tried

NAMED = 20  # columns that nothing takes, and problems
VALUE_WIDTH = 200  # characters of a value that are shown

schema_file = click.option(
    "--schema",
    type=FILE,
    metavar="FILE",
    help="The schema, in the full form of Schema Registry, instead of a stack's.",
)


def add_suggest_and_try(group: click.Group) -> None:
    """Add both commands to `group`."""
    group.add_command(suggest)
    group.add_command(try_file)


@click.command()
@click.argument("file", type=FILE)
@click.option("--dataset", metavar="NAME", help="The dataset. Default: the title of --schema.")
@schema_file
@click.option("--sandbox", metavar="NAME", help="The sandbox of the dataset.")
@click.option("--credential", metavar="NAME", help="The credential of its organization.")
@click.option(
    "--copy-values",
    is_flag=True,
    help="Copy values of columns (50 at most) into the route, where codes need a table.",
)
@as_json
@with_access_if_named
def suggest(
    *,
    file: Path,
    dataset: str | None,
    schema: Path | None,
    sandbox: str | None,
    credential: str | None,
    copy_values: bool,
    as_json: bool,
    access: Access | None,
) -> None:
    """Propose a route for FILE, with a map.

    FILE is looked at for its format and charset, and its columns are matched to the schema of the
    dataset by their names and values. The route goes to standard output as a routing table, and
    what is guessed or open to standard error. Nothing is changed anywhere.
    """
    from aep_intake_cli.mapping.files import detect
    from aep_intake_cli.mapping.schemas import known_schema
    from aep_intake_cli.mapping.suggest import draft
    from aep_intake_cli.output import print_json

    given = {"sandbox": sandbox, "credential": credential}
    target = {name: value for name, value in given.items() if value}
    known = known_schema(schema, dataset, access, target)
    found = draft(detect(file, file.name), known)
    if not (copy_values or as_json) and sys.stdin.isatty():
        columns = ", ".join(repr(each.column.name) for each in found.copied)
        copy_values = bool(columns) and click.confirm(
            f"The route needs a table for {columns}. Copy the values of the file into it?", err=True
        )
    made = found.suggestion(
        {"datasetName": dataset or known.registered.title, **target}, copy=copy_values
    )
    table = {"routes": [made.route]}
    if as_json:
        print_json({"table": table, **_told(made)})
        return
    print_json(table)
    _explain(found.file, made)


def _told(made: Suggestion) -> dict[str, Any]:
    return {
        "columns": [
            {
                "column": each.column.name,
                "path": each.path,
                "sure": each.sure,
                "score": round(each.score, 2),
                "others": list(each.others),
            }
            for each in made.matches
        ],
        "unmatched": [column.name for column in made.unmatched],
        "open": [asdict(each) for each in made.open],
    }


def _explain(file: RowFile, made: Suggestion) -> None:
    """What was found and what is open, on standard error: the output is the route alone."""
    from rich.table import Column, Table
    from rich.text import Text

    from aep_intake_cli.mapping.suggest import described
    from aep_intake_cli.output import console, visible

    screen = console(err=True)
    screen.print(Text(visible(f"{file.uri}: {described(file)}")))
    opened = {each.about for each in made.open}
    names = ("column", "path", "read as", "")
    shown = Table(*(Column(name, overflow="fold") for name in names))
    for each in made.matches:
        hows = {k: v for k, v in each.reading.how.items() if k != "values"}
        how = ", ".join(k if v is True else f"{k} {v!r}" for k, v in hows.items())
        note = "look" if each.column.name in opened else "" if each.sure else "guessed"
        shown.add_row(*map(Text, map(visible, (each.column.name, each.path, how, note))))
    if made.matches:
        screen.print(shown)
    if made.unmatched:
        some = ", ".join(repr(column.name) for column in made.unmatched[:NAMED])
        more = len(made.unmatched) - NAMED
        rest = f" and {more:,} more" if more > 0 else ""
        screen.print(Text(visible(f"No path was found for {some}{rest}")))
    for one in made.open[: 2 * NAMED]:
        screen.print(Text(visible(f"open: {one.about}: {one.text}")))
    if len(made.open) > 2 * NAMED:
        screen.print(f"open: {len(made.open) - 2 * NAMED:,} more")


@click.command("try")
@click.argument("file", metavar="FILE")
@click.option("--routes", "table", type=FILE, metavar="TABLE", help="Default: the live table.")
@click.option("--key", metavar="KEY", help="The key that it would have. Default: FILE.")
@schema_file
@click.option(
    "--rows",
    "show",
    type=click.IntRange(0, 100),
    default=2,
    show_default=True,
    help="So many of the first rows are shown.",
)
@as_json
@with_access_if_named
def try_file(
    *,
    file: str,
    table: Path | None,
    key: str | None,
    schema: Path | None,
    show: int,
    as_json: bool,
    access: Access | None,
) -> int:
    """Show what would become of FILE.

    FILE is a file here; with --stack also s3://bucket/key, or a key of the stack's landing bucket,
    which is downloaded for as long as this takes. Shown are its route, how its first rows would go
    up, each value that cannot, and what of the schema the rows break. Values are printed here, and
    nowhere kept. Nothing is sent to AEP.
    """
    from aep_intake_cli.mapping.schemas import schema_of_file, schema_of_route
    from aep_intake_cli.mapping.verdict import try_out
    from aep_intake_cli.output import print_json, progress

    def known(route: Route) -> KnownSchema | None:
        if schema is not None:
            return schema_of_file(schema)
        return None if access is None else schema_of_route(route, access)

    parsed = _table(table, access)
    with _here(file, access) as (path, uri), progress(f"trying {uri!r}"):
        tried = try_out(path, key or uri, parsed, known, show=show)
    if as_json:
        print_json(tried.document())
    else:
        _show(tried)
    return 1 if tried.problem or tried.trial.broken or tried.trial.unfit else 0


def _table(file: Path | None, access: Access | None) -> RoutingTable:
    """The table in a file, or the one that is live. Raises CommandFailed."""
    from aep_intake.routing import routes

    from aep_intake_cli.documents import DocumentRefused, live_routes
    from aep_intake_cli.routing.lint import lint

    if file is not None:
        document, name = file.read_bytes(), str(file)
    elif access is not None:
        document = live_routes(access.stack(), access.session.client("appconfig"))
        name = "the live table"
    else:
        raise click.UsageError("give --routes TABLE, or --stack for the table that is live")
    if problems := lint(document):
        raise DocumentRefused(f"{name} has problems", problems)
    return routes.parse(document, name)


@contextmanager
def _here(file: str, access: Access | None) -> Iterator[tuple[Path, str]]:
    """The file on this machine, and the key or URI that it has."""
    from tempfile import TemporaryDirectory

    path = Path(file)
    if not file.startswith("s3://") and (path.is_file() or access is None):
        if not path.is_file():
            raise click.BadParameter(f"{file!r} is not a file here", param_hint="'FILE'")
        elsewhere = path.is_absolute() or ".." in path.parts
        yield path, path.name if elsewhere else path.as_posix()
        return
    if access is None:
        raise click.UsageError(f"give --stack to read {file!r}")
    if not file.startswith("s3://"):
        file = f"s3://{access.stack().output('LandingBucketName')}/{file}"
    bucket, _, key = file.removeprefix("s3://").partition("/")
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "object"
        access.session.client("s3").download_file(bucket, key, str(copy))
        yield copy, file


def _show(tried: Tried) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    from aep_intake_cli.output import console, quantity, visible

    screen, trial = console(), tried.trial

    def say(text: str) -> None:
        screen.print(Text(visible(text)))

    def tabled(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        shown = Table(*(Column(name, overflow="fold") for name in names))
        for row in rows:
            shown.add_row(*(Text(_short(visible(str(text)))) for text in row))
        if rows:
            screen.print(shown)

    say(f"{tried.key}: {tried.outcome}")
    for number, row in enumerate(trial.first, 1):
        rows = [
            (
                ", ".join(one.columns),
                ", ".join(filter(None, one.columns.values())),
                one.path,
                one.value,
            )
            for one in row
        ]
        say(f"row {number} of those that go up")
        tabled(("column", "value", "goes to", "as"), rows[:500])
    tabled(
        ("row", "column", "value", "problem"),
        [(cell.row, cell.column, cell.value, cell.rule) for cell in trial.cells],
    )
    tabled(
        ("rows", "column", "problem"),
        [(many, column, rule) for (column, rule), many in trial.rules.most_common(NAMED)],
    )
    tabled(
        ("row sent", "at", "what the schema says"),
        [(one.row, one.path, one.rule) for one in trial.violations],
    )
    if trial.rows or trial.broken:
        left = f", {trial.broken:,} of them cannot go up" if trial.broken else ""
        say(f"{quantity(trial.rows, 'row')}{left}")
    if trial.unmapped:
        some = ", ".join(map(repr, trial.unmapped[:NAMED]))
        more = len(trial.unmapped) - NAMED
        say(f"Nothing maps {some}{f' and {more:,} more' if more > 0 else ''}")
    if trial.never_seen:
        some = ", ".join(map(repr, trial.never_seen[:NAMED]))
        say(f"No row has a value in {some}, which its route maps")
    if trial.validated:
        fit = f"{trial.unfit:,} do not fit" if trial.unfit else "all fit"
        say(f"{quantity(trial.validated, 'row')} compared with the schema: {fit}")
    for note in tried.notes:
        say(note)
    if tried.problem:
        say(f"rejected: {tried.problem}")


def _short(text: str) -> str:
    return text if len(text) <= VALUE_WIDTH else f"{text[:VALUE_WIDTH]}…"
