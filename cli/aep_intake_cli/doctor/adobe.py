"""Checks of what a stack needs from Adobe, with its own credentials.

All may raise botocore's errors and IntakeError: these are problems, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aep_intake.adapters.adobe.schemas import SchemaNotFound, SchemaUnavailable
from aep_intake.model.errors import IntakeError, PlatformUnavailable

from aep_intake_cli import datasets
from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM, Findings
from aep_intake_cli.routing import fit, forecast

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.adapters.adobe.schemas import Schemas
    from aep_intake.model.organizations import Organizations
    from aep_intake.routing.table import Route


def check_credential(credentials: Credentials, arn: str) -> Findings:
    """A secret can be read, has all its fields, and Adobe gives a token for it."""
    yield OK, f"the secret can be read; its organization is {credentials.ims_org(arn)}"
    token = credentials.token(arn)
    yield OK, f"IMS gives a token for client {token.client_id}"


def check_sandbox(adobe: Adobe, name: str, organizations: Mapping[str, str]) -> Findings:
    """At least one credential of these organizations (by secret ARN) can use the sandbox."""
    if not organizations:
        yield PROBLEM, "not checked, since no credential got a token"
        return
    failures = []
    for arn, ims_org in organizations.items():
        try:
            # Every sandbox has datasets, at least Adobe's own.
            why = "" if any(adobe.datasets(arn, ims_org, name)) else "sees no dataset"
        except PlatformUnavailable:  # says nothing of the credential, nor of the sandbox
            raise
        except IntakeError as error:
            why = error.detail
        if why:
            failures.append(f"{datasets.secret_name(arn)}: {why}")
        else:
            yield OK, f"credential {datasets.secret_name(arn)} can use it"
    if len(failures) == len(organizations):
        advice = "correct the sandboxes of the organization, or give the credential a role in it"
        yield PROBLEM, "; ".join([*failures, advice])
    elif failures:
        yield NOTE, "; ".join(["not every credential can use it", *failures])


def check_dataset(
    adobe: Adobe,
    route: Route,
    organizations: Organizations,
    ims_orgs: Mapping[str, str | None],
    schemas: Schemas,
) -> Findings:
    """The dataset of a route is in Catalog and may be filled, and its schema takes the files.

    Other arguments: as `dataset_of_route`.
    """
    try:
        found = datasets.dataset_of_route(adobe, route, organizations, ims_orgs)
    except datasets.CannotLookUp as why:
        yield NOTE, f"not checked: {why}"
        return
    info = found.info
    if info is not None and info.system:
        yield PROBLEM, f"{found} {datasets.IS_ADOBES_OWN}"
        return
    yield from _check_fit(schemas, route, found)
    if info is None:
        yield NOTE, datasets.CATALOG_IS_SLOW
    elif info.profile:
        yield NOTE, forecast.profile_advice(forecast.share_of_route(route))
    elif often := fit.batches_too_often(route, found.target, schemas):
        yield NOTE, often


def _check_fit(schemas: Schemas, route: Route, found: datasets.RouteDataset) -> Findings:
    try:
        fit.check_mapping_set(route, found.target, schemas)
    except SchemaNotFound as error:
        yield PROBLEM, f"{found}: {error.detail}"
        return
    formats = fit.unmapped_formats(route)
    if not formats & {"csv", "json"}:
        yield OK, str(found)
        return
    try:
        schema = schemas.of_dataset(found.target)
    except SchemaUnavailable as why:
        yield OK, str(found)
        yield NOTE, f"{fit.NOT_CHECKED}: {why}"
        return
    text = fit.misfit(route, schema)
    if text is not None:
        yield PROBLEM, f"{found}: {text}"
    elif schema.adhoc or "json" not in formats:
        yield OK, str(found)
    else:
        yield OK, f"{found}; JSON goes up as it is, so it needs {fit.shape(schema)}"
