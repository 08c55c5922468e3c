"""Whether the files of a route can go into its dataset, by the schema of the dataset.

Adobe takes CSV for ad-hoc schemas only, and JSON in the shape of the schema (its batch ingestion
guide). A route with `map` makes that shape itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from aep_intake.adapters.adobe.schemas import (
    RegisteredSchema,
    SchemaNotFound,
    Schemas,
    SchemaUnavailable,
)
from aep_intake.model.errors import DatasetNotFound, FormatUnknown, IntakeError
from aep_intake.routing.table import Route, RoutingTable, format_by_name

from aep_intake_cli import datasets
from aep_intake_cli.routing import forecast, maps
from aep_intake_cli.routing.explain import examples

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.model.batches import Target
    from aep_intake.model.organizations import Organizations

NOT_CHECKED = "whether its files fit the dataset was not checked"
NAMED_FIELDS = 4  # of a schema, so that people recognize it


def unmapped_formats(route: Route) -> set[str]:
    """The formats that a route sends as they are: what its route, examples and pattern tell."""
    if route.written.keys() & {"map", "mapping"}:
        return set()
    given = route.written.get("inputFormat")
    if isinstance(given, Mapping):
        return {str(given["format"]).lower()}
    found = set()
    for key in (*examples(route), route.written["match"]):
        try:
            found.add(str(format_by_name(key)["format"]))
        except FormatUnknown:
            continue
    return found


def check_mapping_set(route: Route, target: Target, schemas: Schemas) -> None:
    """The mapping set that a route names is there. Raises IntakeError, as `Schemas`."""
    if mapping := route.written.get("mapping"):
        schemas.check_mapping_set(target, mapping["set"], mapping.get("version", 0))


def misfit(route: Route, schema: RegisteredSchema) -> str | None:
    """Why files of a route cannot go into a dataset of that schema, and what to do; None: they can.

    Which shape the rows of its JSON have is not known here.
    """
    if schema.adhoc or "csv" not in unmapped_formats(route):
        return None
    return (
        f"it sends CSV, which AEP takes for ad-hoc schemas only, and {schema.title!r} is none: "
        f"give the route a `map`, or send JSON Lines instead, {shape(schema)}"
    )


def batches_too_often(route: Route, target: Target, schemas: Schemas) -> str | None:
    """What to know of a route that makes more batches than a lookup dataset should get."""
    advice = forecast.lookup_advice(forecast.share_of_route(route))
    if advice is None:
        return None
    try:
        schema = schemas.of_dataset(target)
    except (SchemaUnavailable, SchemaNotFound):  # whoever needs the schema is told so elsewhere
        return None
    return advice if schema.lookup else None


def shape(schema: RegisteredSchema) -> str:
    """What rows of a schema look like, for people."""
    fields = [f"`{name}`" for name in list(schema.document.get("properties", ()))[:NAMED_FIELDS]]
    required = [f"`{name}`" for name in schema.document.get("required", ())]
    need = f"; always {' and '.join(required)}" if required else ""
    return f"its rows in the shape of the schema {schema.title!r} ({', '.join(fields)} …{need})"


def _unfit(route: Route, target: Target, schemas: Schemas) -> str | None:
    if "map" in route.written:
        return maps.unmatched(route, schemas.of_dataset(target).document)
    return misfit(route, schemas.of_dataset(target)) if "csv" in unmapped_formats(route) else None


def misfits(
    adobe: Adobe,
    credentials: Credentials,
    organizations: Organizations,
    table: RoutingTable,
) -> Iterator[str]:
    """What AEP says against the routes of a table, and what could not be checked, in words.

    A route whose target depends on the object's key is left out. Raises botocore's errors.
    """
    ims_orgs: dict[str, str | None] = {}
    for arn in organizations.credentials:
        try:
            ims_orgs[arn] = credentials.ims_org(arn)
        except IntakeError as why:
            ims_orgs[arn] = None
            yield f"{NOT_CHECKED} with the credential {datasets.secret_name(arn)}: {why}"
    schemas = Schemas(adobe)
    for route in table.routes:
        if "ignore" in route.written:
            continue
        try:
            found = datasets.dataset_of_route(adobe, route, organizations, ims_orgs)
            check_mapping_set(route, found.target, schemas)
            if often := batches_too_often(route, found.target, schemas):
                yield f"{route.name}: {often}"
            text = _unfit(route, found.target, schemas)
        except datasets.CannotLookUp:
            continue
        except DatasetNotFound as error:
            text = f"{error.detail}: its files are rejected as long as that is so"
        except SchemaNotFound as error:
            text = f"{error.detail}: its batches fail as long as that is so"
        except IntakeError as why:
            text = f"{NOT_CHECKED}: {why}"
        if text is not None:
            yield f"{route.name}: {text}"
