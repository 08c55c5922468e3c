"""What a routing table gets before it goes live, by the schemas of its datasets.

Its maps are compiled, and it says which datasets are lookup (dimension) datasets, since functions
read no schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aep_intake.content.compile_map import CompiledMap, compile_map
from aep_intake.content.xdm import AnySchema, Schema
from aep_intake.model.errors import IntakeError, TryAgain
from aep_intake.model.json_schema import dotted
from aep_intake.routing import routes
from aep_intake.routing.table import Route, RoutingTable, format_of_map

from aep_intake_cli.documents import DocumentProblem

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.model.organizations import Organizations


UNMATCHED = (
    "only AEP checks the pattern of {}: it could take forever here, or Python does not know it"
)


@dataclass(frozen=True)
class CompiledTable:
    """A routing table whose rules name their compiled maps, and lookup datasets; and the maps, by
    name.
    """

    document: bytes
    maps: Mapping[str, bytes]
    problems: tuple[DocumentProblem, ...]


def has_maps(table: RoutingTable) -> bool:
    """Whether a rule has a map."""
    return any("map" in route.rule for route in table.routes)


def map_problems(table: RoutingTable) -> Iterator[DocumentProblem]:
    """What is wrong with maps, as far as that shows without the schemas of their datasets."""
    for index, route in enumerate(table.routes):
        if "map" in route.rule:
            yield from _problems(index, route, _compiled(route, AnySchema()))


def compile_table(
    document: bytes, adobe: Adobe, credentials: Credentials, organizations: Organizations
) -> CompiledTable:
    """Compile the maps of a routing table without problems, by what AEP says of their datasets.

    A route without a map whose dataset cannot be read stays as it is; once AEP does not answer, it
    is not asked for others.
    """
    from aep_intake.adapters.adobe.schemas import Schemas

    from aep_intake_cli import datasets

    table = routes.parse(document, "draft")
    written, maps = json.loads(document), dict[str, bytes]()
    schemas, problems = Schemas(adobe), list[DocumentProblem]()
    answers = True
    for index, route in enumerate(table.routes):
        rule = written["routes"][index]
        if "ignore" in rule or not (answers or "map" in rule):
            continue
        try:
            ims_orgs = {arn: credentials.ims_org(arn) for arn in organizations.credentials}
            target = datasets.dataset_of_route(adobe, route, organizations, ims_orgs).target
            schema = schemas.of_dataset(target)
            if schema.lookup:
                rule["lookup"] = True
            if "map" not in rule:
                continue
            identities = schemas.identities(target, schema.id)
            primary = [one.path for one in identities if one.primary]
            compiled = _compiled(route, Schema(schema.document), primary)
        except (datasets.CannotLookUp, IntakeError, ValueError) as why:
            if "map" not in rule:  # whoever publishes is told so besides
                answers = answers and not isinstance(why, TryAgain)
                continue
            text = f"the schema of its dataset cannot be read: {why}"
            problems.append(DocumentProblem(route.name, f"routes[{index}].map", text))
            continue
        problems += _problems(index, route, compiled)
        maps[compiled.name] = compiled.text
        rule["compiledMap"] = compiled.name
    if written != json.loads(document):
        document = json.dumps(written, ensure_ascii=False, indent=1).encode()
    return CompiledTable(document, maps, tuple(problems))


def unmatched(route: Route, document: Mapping[str, Any]) -> str | None:
    """What of a schema, in full form, a route's map does not check; None: it checks all."""
    paths = ", ".join(f"`{path}`" for path in _compiled(route, Schema(document)).unmatched)
    return UNMATCHED.format(paths) if paths else None


def _compiled(route: Route, schema: Schema, primary: list[str] | None = None) -> CompiledMap:
    source = format_of_map(route.rule) or {}
    return compile_map(route.rule["map"], schema, source, key=route.key, primary=primary)


def _problems(index: int, route: Route, compiled: CompiledMap) -> Iterator[DocumentProblem]:
    for each in compiled.problems:
        yield DocumentProblem(route.name, dotted(("routes", index, "map", each.path)), each.problem)
