"""What a stack and Catalog know of the rules of a routing table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from aep_intake.model.errors import IntakeError
from aep_intake.routing import routes

from aep_intake_cli.datasets import (
    SLOW,
    SYSTEM,
    Found,
    NotLookedUp,
    adobe_of,
    found_dataset,
    secret_name,
)
from aep_intake_cli.routing import forecast
from aep_intake_cli.routing.forecast import Place

if TYPE_CHECKING:
    import boto3
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.model.organizations import Organizations

    from aep_intake_cli.deployed import Deployed


def told(
    stack: Deployed,
    allowed: Organizations,
    session: boto3.Session,
    rules: Iterable[routes.Route],
    given: Mapping[str, int],
) -> Iterator[tuple[forecast.Share, str | None]]:
    """What each rule makes, as the stack and Catalog know it, and what to warn of.

    `allowed` are the organizations in force. `given`: objects (or markers) a day, by rule. Raises
    botocore's errors.
    """
    credentials, adobe = adobe_of(stack, session)
    ims_orgs = {arn: _organization(credentials, arn) for arn in allowed.credentials}
    for route in rules:
        arn = routes.credential_arn(route.rule.get("credential"), allowed.credentials)
        place = Place(
            route.rule.get("sandbox", allowed.of(arn).sandboxes[0]), _whose(arn, ims_orgs)
        )
        share = forecast.share(route, place, volume=given.get(route.name))
        try:
            found = found_dataset(adobe, route, allowed, ims_orgs)
        except (NotLookedUp, IntakeError) as why:
            yield share, f"counts as if its dataset were enabled for Profile: {why}"
        else:
            judged = found.judged
            profile = None if judged is None else judged.profile and not judged.system
            share = replace(share, profile=profile)
            yield share, _warning(found, share)


def _organization(credentials: Credentials, arn: str) -> str | None:
    try:
        return credentials.ims_org(arn)
    except IntakeError:
        return None


def _whose(arn: str, organizations: Mapping[str, str | None]) -> str | None:
    """What tells a sandbox from another organization's of that name; None if there is no other."""
    same = [other for other, ims_org in organizations.items() if ims_org == organizations[arn]]
    return None if len(same) == len(organizations) else secret_name(same[0])


def _warning(found: Found, share: forecast.Share) -> str | None:
    judged = found.judged
    if judged is None:
        return f"{found}: {SLOW}"
    if judged.system:
        return f"{found} {SYSTEM}"
    if judged.profile and share.alone:
        return f"{found} is {forecast.for_profile(share)}"
    return None


def places(allowed: Organizations, shares: Iterable[forecast.Share]) -> list[Place]:
    """All sandboxes of a deployment, for each organization that the rules lead to."""
    return [
        Place(name, whose)
        for whose in dict.fromkeys(share.place.credential for share in shares)
        for name in dict.fromkeys(name for one in allowed.all for name in one.sandboxes)
    ]
