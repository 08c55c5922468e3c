"""A forecast with what a stack and Catalog know about the routes of a routing table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from aep_intake.adapters.adobe.schemas import Schemas
from aep_intake.model.errors import IntakeError
from aep_intake.routing.targets import credential_arn

from aep_intake_cli import datasets
from aep_intake_cli.routing import fit, forecast
from aep_intake_cli.routing.forecast import SandboxPlace

if TYPE_CHECKING:
    import boto3
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.model.organizations import Organizations
    from aep_intake.routing.table import Route

    from aep_intake_cli.stack import Stack


def shares_with_warnings(
    stack: Stack,
    organizations: Organizations,
    session: boto3.Session,
    routes: Iterable[Route],
    files_per_day: Mapping[str, int],
) -> Iterator[tuple[forecast.Share, str | None]]:
    """The share of each route, as the stack and Catalog know it, and a warning, if any.

    `organizations`: those in force. `files_per_day`: objects (or markers) by route. Raises
    botocore's errors.
    """
    credentials, adobe = datasets.adobe_clients(stack, session)
    ims_orgs = {arn: _ims_org(credentials, arn) for arn in organizations.credentials}
    schemas = Schemas(adobe)
    for route in routes:
        arn = credential_arn(route.written.get("credential"), organizations.credentials)
        place = SandboxPlace(
            route.written.get("sandbox", organizations.of(arn).sandboxes[0]),
            _distinct_credential(arn, ims_orgs),
        )
        share = forecast.share_of_route(route, place, volume=files_per_day.get(route.name))
        try:
            dataset = datasets.dataset_of_route(adobe, route, organizations, ims_orgs)
            often = fit.batches_too_often(route, dataset.target, schemas)
        except (datasets.CannotLookUp, IntakeError) as why:
            yield share, f"counted as if its dataset were enabled for Profile: {why}"
        else:
            info = dataset.info
            profile = None if info is None else info.profile and not info.system
            share = replace(share, profile=profile)
            yield (
                share,
                _warning(dataset, share) or often,
            )


def _ims_org(credentials: Credentials, arn: str) -> str | None:
    try:
        return credentials.ims_org(arn)
    except IntakeError:
        return None


def _distinct_credential(arn: str, ims_orgs: Mapping[str, str | None]) -> str | None:
    """The secret's name, which tells organizations apart; None: there is only one of them."""
    same = [other for other, ims_org in ims_orgs.items() if ims_org == ims_orgs[arn]]
    return None if len(same) == len(ims_orgs) else datasets.secret_name(same[0])


def _warning(dataset: datasets.RouteDataset, share: forecast.Share) -> str | None:
    info = dataset.info
    if info is None:
        return f"{dataset}: {datasets.CATALOG_IS_SLOW}"
    if info.system:
        return f"{dataset} {datasets.IS_ADOBES_OWN}"
    if info.profile and share.batch_per_object:
        return f"{dataset} is {forecast.profile_advice(share)}"
    return None


def all_places(
    organizations: Organizations, shares: Iterable[forecast.Share]
) -> list[SandboxPlace]:
    """All sandboxes of a stack, for each organization that the routes name."""
    return [
        SandboxPlace(name, credential)
        for credential in dict.fromkeys(share.place.credential for share in shares)
        for name in dict.fromkeys(name for one in organizations.all for name in one.sandboxes)
    ]
