"""The datasets of routes, as Catalog describes them.

Read with the stack's Adobe credentials, through the functions' own adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.http import https_session
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.model.batches import Dataset, Target
from aep_intake.model.errors import DatasetNotFound
from aep_intake.routing.targets import credential_arn

from aep_intake_cli.clock import now

if TYPE_CHECKING:
    import boto3
    from aep_intake.model.organizations import Organizations
    from aep_intake.routing.table import Route

    from aep_intake_cli.stack import Stack

IS_ADOBES_OWN = "is Adobe's own, so files for it are rejected: name another dataset in the route"
CATALOG_IS_SLOW = "Catalog did not say in time whether it is enabled for Profile: try again"


def adobe_clients(stack: Stack, session: boto3.Session) -> tuple[Credentials, Adobe]:
    """Credentials and AEP of a stack, as its functions use them. Raises botocore's errors."""
    https = https_session(1)
    secrets = session.client("secretsmanager")
    credentials = Credentials(secrets, https, stack.parameters["ImsUrl"], now)
    # The ledger's id marks batches as its own; the command makes none.
    return credentials, Adobe(https, credentials, stack.parameters["PlatformUrl"], str, now)


def secret_name(arn: str) -> str:
    """The name of a secret: what people know it by."""
    return arn.rpartition(":secret:")[2]


@dataclass(frozen=True)
class RouteDataset:
    """The dataset of a route. `info`: as the intake sees it; None: Catalog was too slow."""

    target: Target
    name: str
    info: Dataset | None

    def __str__(self) -> str:
        return f"{self.name} ({self.target.dataset_id}) in sandbox {self.target.sandbox}"


class CannotLookUp(Exception):
    """The dataset of a route cannot be looked up; the text says why."""


def dataset_of_route(
    adobe: Adobe,
    route: Route,
    organizations: Organizations,
    ims_orgs: Mapping[str, str | None],
) -> RouteDataset:
    """Look up a route's dataset in Catalog.

    `ims_orgs`: IMS organization by secret ARN; None: the secret does not work. Raises CannotLookUp
    and IntakeError.
    """
    written = route.written
    arn = credential_arn(written.get("credential"), organizations.credentials)
    sandbox = written.get("sandbox", organizations.of(arn).sandboxes[0])
    dataset_name, dataset_id = written.get("datasetName"), written.get("datasetId")
    if "{" in f"{sandbox}{dataset_name}{dataset_id}":
        raise CannotLookUp("its target depends on the object's key")
    ims_org = ims_orgs[arn]
    if ims_org is None:
        raise CannotLookUp(f"the credential {secret_name(arn)} got no token")
    if dataset_id is None:
        dataset_id = adobe.dataset_id(arn, ims_org, sandbox, str(dataset_name))
    target = Target(arn, ims_org, sandbox, dataset_id)
    raw = adobe.dataset(target)
    if raw is None:
        raise DatasetNotFound(
            f"no dataset {dataset_id} in sandbox {sandbox}: correct the route, or create it"
        )
    return RouteDataset(target, str(raw.get("name")), adobe.dataset_info(target))
