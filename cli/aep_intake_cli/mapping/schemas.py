"""The schema of a dataset: in a file, or as Schema Registry has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aep_intake.adapters.adobe import schemas as registry
from aep_intake.content.xdm import Schema
from aep_intake.routing import routes
from aep_intake.routing.targets import credential_arn

from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.mapping.trial import check_schema

if TYPE_CHECKING:
    from aep_intake.routing.table import Route

    from aep_intake_cli.options import Access


@dataclass(frozen=True)
class KnownSchema:
    """The schema of a dataset. `primary`: its primary identities; None: not known."""

    registered: registry.RegisteredSchema
    primary: Sequence[str] | None = None

    @cached_property
    def schema(self) -> Schema:
        """Its paths and types."""
        return Schema(self.registered.document)


def known_schema(
    file: Path | None, dataset: str | None, access: Access | None, extra: Mapping[str, str]
) -> KnownSchema:
    """The schema in a file, or else of a dataset, as a stack's Schema Registry has it.

    `extra`: `sandbox` and `credential`, as in a route. Raises CommandFailed, IntakeError and
    botocore's errors.
    """
    if file is not None:
        return schema_of_file(file)
    if access is None or dataset is None:
        raise CommandFailed("give --schema FILE, or --dataset NAME and --stack NAME")
    route = {"name": "suggested", "match": "**", "datasetName": dataset, **extra}
    try:
        table = routes.parse(json.dumps({"routes": [route]}), "draft")
    except routes.InvalidTable as fault:
        raise CommandFailed(f"{fault.field}: {fault.problem}") from None
    return schema_of_route(table.routes[0], access)


def schema_of_file(file: Path) -> KnownSchema:
    """Raises CommandFailed if the file has no schema in the full form."""
    try:
        document = json.loads(file.read_bytes())
        check_schema(document)
        list(Schema(document).paths())
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise CommandFailed(f"{file.name!r} is not a schema: {error}") from None
    title, version = (str(document.get(name, "")) for name in ("title", "version"))
    return KnownSchema(
        registry.RegisteredSchema(
            str(document.get("$id", "")), title or file.stem, version, "", document
        )
    )


def schema_of_route(route: Route, access: Access) -> KnownSchema:
    """The schema of a route's dataset, asked of Adobe. Raises as `known_schema`."""
    from aep_intake_cli import datasets
    from aep_intake_cli.documents import organizations_of

    stack = access.stack()
    organizations = organizations_of(stack, access.session.client("appconfig"))
    credentials, adobe = datasets.adobe_clients(stack, access.session)
    arn = credential_arn(route.written.get("credential"), organizations.credentials)
    ims_orgs = {arn: credentials.ims_org(arn)}
    try:
        found = datasets.dataset_of_route(adobe, route, organizations, ims_orgs)
    except datasets.CannotLookUp as why:
        raise CommandFailed(f"{route.name}: {why}: give --schema FILE") from None
    schemas = registry.Schemas(adobe)
    schema = schemas.of_dataset(found.target)
    identities = schemas.identities(found.target, schema.id)
    return KnownSchema(schema, [one.path for one in identities if one.primary])
