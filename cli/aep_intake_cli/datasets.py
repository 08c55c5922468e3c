"""The datasets of routes, as Catalog tells of them.

Asked with the deployment's Adobe credentials, through the functions' own adapters.
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
from aep_intake.routing import routes

from aep_intake_cli.clock import now
from aep_intake_cli.deployed import PATIENCE

if TYPE_CHECKING:
    import boto3
    from aep_intake.model.organizations import Organizations

    from aep_intake_cli.deployed import Deployed

SYSTEM = (
    "is Adobe's own (managedBy SYSTEM), and what arrives for it is rejected: name another dataset "
    "in the route"
)
SLOW = "Catalog was too slow to say whether it is enabled for Profile: try again"


def adobe_of(stack: Deployed, session: boto3.Session) -> tuple[Credentials, Adobe]:
    """A deployment's credentials, and the AEP it talks to, as its functions have them.

    Raises botocore's errors.
    """
    https = https_session(1)
    secrets = session.client("secretsmanager", config=PATIENCE)
    credentials = Credentials(secrets, https, stack.parameters["ImsUrl"], now)
    # Whose batches are the ledger's own, nobody asks here.
    return credentials, Adobe(https, credentials, stack.parameters["PlatformUrl"], str, now)


def secret_name(arn: str) -> str:
    """What people call the secret of that ARN."""
    return arn.rpartition(":secret:")[2]


@dataclass(frozen=True)
class Found:
    """A route's dataset. `judged`: as the intake does it; None if Catalog is too slow for that."""

    target: Target
    name: str
    judged: Dataset | None

    def __str__(self) -> str:
        return f"{self.name} ({self.target.dataset_id}) in sandbox {self.target.sandbox}"


class NotLookedUp(Exception):
    """The dataset of a route cannot be looked up; the text says why."""


def found_dataset(
    adobe: Adobe,
    route: routes.Route,
    organizations: Organizations,
    ims_orgs: Mapping[str, str | None],
) -> Found:
    """What Catalog tells of a route's dataset.

    In `ims_orgs` (by secret ARN) None is one whose secret does not work. Raises NotLookedUp, and
    IntakeError.
    """
    rule = route.rule
    arn = routes.credential_arn(rule.get("credential"), organizations.credentials)
    default = organizations.of(arn).sandboxes[0]
    name, where = rule.get("sandbox", default), rule.get("datasetName")
    dataset_id = rule.get("datasetId")
    if "{" in f"{name}{where}{dataset_id}":
        raise NotLookedUp("its target depends on the key")
    ims_org = ims_orgs[arn]
    if ims_org is None:
        raise NotLookedUp(f"{secret_name(arn)} does not work")
    if dataset_id is None:
        dataset_id = adobe.dataset_id(arn, ims_org, name, str(where))
    target = Target(arn, ims_org, name, dataset_id)
    raw = adobe.dataset(target)
    if raw is None:
        raise DatasetNotFound(
            f"no dataset {dataset_id} in sandbox {name}: mend the route, or make it"
        )
    return Found(target, str(raw.get("name")), adobe.dataset_info(target))
