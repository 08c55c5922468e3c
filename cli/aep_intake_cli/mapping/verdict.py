"""What would become of a file with the routes at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aep_intake.content.compile_map import compile_map
from aep_intake.content.mapping import RowMap
from aep_intake.model.errors import NoRoute, Rejected
from aep_intake.routing.table import Ignored, IsMarker, IsReady, Route, RoutingTable

from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.mapping import trial
from aep_intake_cli.mapping.files import read_as
from aep_intake_cli.mapping.trial import Trial
from aep_intake_cli.routing import fit
from aep_intake_cli.routing.explain import arrival_of, explain, input_format

if TYPE_CHECKING:
    from aep_intake_cli.mapping.files import RowFile
    from aep_intake_cli.mapping.schemas import KnownSchema


@dataclass
class Tried:
    """What would become of a file. `problem`: why it would be rejected; "": it would not be."""

    key: str
    outcome: str
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    trial: Trial = field(default_factory=Trial)
    looked_at: bool = False  # whether its rows were

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        told = asdict(self.trial) | {
            "rules": [
                {"column": column, "rule": rule, "rows": many}
                for (column, rule), many in self.trial.rules.most_common()
            ]
        }
        return {
            "key": self.key,
            "outcome": self.outcome,
            "problem": self.problem or None,
            "notes": self.notes,
            **told,
        }


def try_out(
    path: Path,
    key: str,
    table: RoutingTable,
    schema: Callable[[Route], KnownSchema | None],
    *,
    show: int,
) -> Tried:
    """What would become of a file with that key.

    `schema`: of a route's dataset; None: not known. `show`: so many of its first rows are kept.
    Raises CommandFailed, and as `schema`.
    """
    [explained] = explain(table, [key])
    route = f"route {explained.route}: " if explained.route else ""
    tried, arrival = Tried(key, f"{route}{explained.outcome}"), arrival_of(key)
    try:
        hit, match = table.find(arrival.bucket, arrival.key), table.match(arrival)
        if hit is None or isinstance(match, Ignored):
            return tried
        if isinstance(match.batching, IsMarker | IsReady):
            return tried  # it says that others are complete
        mapped = "map" in hit[0].written
        file = read_as(path, input_format(match, arrival), key, mapped=mapped)
        _try_rows(tried, file, hit[0], schema(hit[0]), show=show)
    except NoRoute:
        tried.problem = f"no route of {table.version} takes {key}"
        return tried
    except Rejected as why:
        tried.problem = why.detail
        return tried
    found, demands = tried.trial, match.demands
    good = found.rows - found.broken
    if tried.problem:
        return tried
    if not demands.allows(found.broken, found.rows, all_rows=True):
        broken = f"{found.broken:,} of {found.rows:,} rows cannot go up"
        tried.problem = f"{broken}, and `badRows` is {demands.bad_rows}"
    elif tried.looked_at and good < demands.min_rows:
        tried.problem = f"{good:,} of its rows can go up, and `minRows` is {demands.min_rows:,}"
    return tried


def _try_rows(
    tried: Tried,
    file: RowFile,
    route: Route,
    known: KnownSchema | None,
    *,
    show: int,
) -> None:
    """Raises Rejected and CommandFailed."""
    if not file.has_rows:  # of Parquet, and of a CSV with several quotes
        tried.notes.append("It goes up as it is: its rows were not looked at")
        return
    compiled = rows_map = None
    if "map" in route.written:
        compiled = _compiled(route, file, known)
        rows_map = RowMap(compiled, arrival_of(tried.key).key, file.uri)
    elif known is None:
        tried.notes.append(
            "Whether its rows fit the dataset was not looked at: give --stack NAME or --schema FILE"
        )
    elif misfit := fit.misfit(route, known.registered):
        tried.problem = f"{misfit} (aep-intake routes suggest proposes a map)"
    document = None if known is None else known.registered.document
    tried.trial = trial.run(file, compiled, rows_map, document, show=show)
    tried.looked_at = True
    if tried.trial.unfit and compiled is None:
        tried.notes.append("For rows of another shape aep-intake routes suggest proposes a map")


def _compiled(route: Route, file: RowFile, known: KnownSchema | None) -> Mapping[str, Any]:
    """The map of a route for its schema. Raises CommandFailed."""
    if known is None:
        raise CommandFailed(f"{route.name} has a map: give --stack NAME or --schema FILE")
    made = compile_map(
        route.written["map"], known.schema, file.input_format, key=route.key, primary=known.primary
    )
    if made.problems:
        said = [f"  {one.path or 'map'}: {one.problem}" for one in made.problems]
        text = f"the map of {route.name} does not fit the schema {known.registered.title!r}"
        raise CommandFailed("\n".join([text, *said]))
    return made.document
