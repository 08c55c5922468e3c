"""What a stack needs of Adobe to be able to work, one check for each.

Asked with the deployment's own credentials. All may raise botocore's errors and IntakeError: a
problem too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aep_intake.model.errors import IntakeError

from aep_intake_cli.datasets import SLOW, SYSTEM, NotLookedUp, found_dataset, secret_name
from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM, Findings
from aep_intake_cli.routing import forecast

if TYPE_CHECKING:
    from aep_intake.adapters.adobe.credentials import Credentials
    from aep_intake.adapters.adobe.platform import Adobe
    from aep_intake.model.organizations import Organizations
    from aep_intake.routing import routes


def credential(credentials: Credentials, arn: str) -> Findings:
    """A secret: readable, of a known shape, and good for a token."""
    yield OK, f"readable, for {credentials.ims_org(arn)}"
    token = credentials.token(arn)
    yield OK, f"IMS gives a token for client {token.client_id}"


def sandbox(adobe: Adobe, name: str, organizations: Mapping[str, str]) -> Findings:
    """A sandbox of these organizations (by secret ARN): seen by one credential at least."""
    missed = []
    for arn, ims_org in organizations.items():
        try:
            # Every sandbox has some datasets, Adobe's own among them.
            why = "" if any(adobe.datasets(arn, ims_org, name)) else "no dataset can be seen"
        except IntakeError as error:
            why = error.detail
        if why:
            missed.append(f"{secret_name(arn)}: {why}")
        else:
            yield OK, f"reached with {secret_name(arn)}"
    if len(missed) == len(organizations):
        missed = missed or ["not tried, as no credential works"]
        mend = "mend the sandboxes of the organization, or the credential's role"
        yield PROBLEM, "; ".join([*missed, mend])
    elif missed:
        yield NOTE, "; ".join(["routes cannot use it with all credentials", *missed])


def dataset(
    adobe: Adobe,
    route: routes.Route,
    organizations: Organizations,
    ims_orgs: Mapping[str, str | None],
) -> Findings:
    """The dataset of a route; as `found_dataset`."""
    try:
        found = found_dataset(adobe, route, organizations, ims_orgs)
    except NotLookedUp as why:
        yield NOTE, f"not looked up: {why}"
        return
    judged = found.judged
    if judged is not None and judged.system:
        yield PROBLEM, f"{found} {SYSTEM}"
        return
    yield OK, str(found)
    if judged is None:
        yield NOTE, SLOW
    elif judged.profile:
        yield NOTE, forecast.for_profile(forecast.share(route))
