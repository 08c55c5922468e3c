"""The maps of a routing table, compiled for the schemas of their datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aep_intake.content.compile_map import CompiledMap, compile_map
from aep_intake.content.xdm import AnySchema, Schema
from aep_intake.model.json_schema import dotted
from aep_intake.routing.table import Route, RoutingTable, format_of_map

from aep_intake_cli.documents import DocumentProblem

UNMATCHED = (
    "only AEP checks the pattern of {}: it could take forever here, or Python does not know it"
)


def has_maps(table: RoutingTable) -> bool:
    """Whether a route has a map."""
    return any("map" in route.written for route in table.routes)


def map_problems(table: RoutingTable) -> Iterator[DocumentProblem]:
    """What is wrong with maps, as far as that shows without the schemas of their datasets."""
    for index, route in enumerate(table.routes):
        if "map" in route.written:
            yield from problems_of(index, route, compiled_map(route, AnySchema()))


def unmatched(route: Route, document: Mapping[str, Any]) -> str | None:
    """What of a schema, in full form, a route's map does not check; None: it checks all."""
    paths = ", ".join(f"`{path}`" for path in compiled_map(route, Schema(document)).unmatched)
    return UNMATCHED.format(paths) if paths else None


def compiled_map(route: Route, schema: Schema, primary: list[str] | None = None) -> CompiledMap:
    """The map of a route for a schema, of which these paths identify people first of all."""
    source = format_of_map(route.written) or {}
    return compile_map(route.written["map"], schema, source, key=route.key, primary=primary)


def problems_of(index: int, route: Route, made: CompiledMap) -> Iterator[DocumentProblem]:
    """What is wrong with the map of the route at that index."""
    for each in made.problems:
        yield DocumentProblem(route.name, dotted(("routes", index, "map", each.path)), each.problem)
