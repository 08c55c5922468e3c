"""What a probe needs before it asks: a credential, and a dataset that nothing can happen to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from aep_intake.adapters.adobe.credentials import Credentials
from aep_intake.adapters.adobe.http import https_session
from aep_intake.adapters.adobe.platform import Adobe, dataset_of
from aep_intake.adapters.adobe.schemas import Schemas
from aep_intake.model.batches import HOLDS_DATA, UNDER_WAY, Dataset, Target
from aep_intake.model.organizations import DEFAULT_SANDBOXES, Limits
from aep_intake.routing.targets import credential_arn

from aep_intake_cli.clock import now
from aep_intake_cli.datasets import adobe_clients
from aep_intake_cli.documents import organizations_of
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.probe.dataset import ProbedDataset, own
from aep_intake_cli.probe.rows import ProbeRefused, Rows

if TYPE_CHECKING:
    from aep_intake.model.organizations import Organizations

    from aep_intake_cli.options import Access

PLATFORM_URL, IMS_URL = "https://platform.adobe.io", "https://ims-na1.adobelogin.com"
DEFAULT = DEFAULT_SANDBOXES[0]
_SANDBOXES = "/data/foundation/sandbox-management/"
_PAGE = 50


@dataclass(frozen=True)
class Entrance:
    """AEP with one credential. `organizations`: of the stack; None: there is no stack yet.

    `clock` tells epoch milliseconds, `wait` takes seconds.
    """

    adobe: Adobe
    credential: str
    ims_org: str
    organizations: Organizations | None
    clock: Callable[[], int] = now
    wait: Callable[[float], None] = time.sleep

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.organizations.limits if self.organizations else Limits()

    @property
    def sandbox(self) -> str:
        """The sandbox of routes that name none."""
        named = self.organizations.all if self.organizations else ()
        return next((o.sandboxes[0] for o in named if o.credential == self.credential), DEFAULT)


@dataclass(frozen=True)
class _SecretFile:
    """A file in place of Secrets Manager, for Credentials, which calls just this."""

    path: Path

    def get_secret_value(self, *, SecretId: str) -> Mapping[str, str]:
        """As boto3's. Raises OSError."""
        return {"Name": SecretId, "SecretString": self.path.read_text("utf-8")}


def entrance(access: Access | None, file: Path | None, name: str | None) -> Entrance:
    """Come in with the credential in a file, or with one of the stack's, by its secret's name.

    Raises CommandFailed, IntakeError, OSError and botocore's errors.
    """
    if access is None:
        if file is None:
            raise CommandFailed("give --credential-file FILE, or --stack for a stack's credential")
        return _with_file(file, PLATFORM_URL, IMS_URL, None)
    stack = access.stack()
    organizations = organizations_of(stack, access.session.client("appconfig"))
    if file is not None:
        urls = stack.parameters["PlatformUrl"], stack.parameters["ImsUrl"]
        return _with_file(file, *urls, organizations)
    arn = credential_arn(name, organizations.credentials)
    credentials, adobe = adobe_clients(stack, access.session)
    return Entrance(adobe, arn, credentials.ims_org(arn), organizations)


def _with_file(
    file: Path, platform_url: str, ims_url: str, organizations: Organizations | None
) -> Entrance:
    https = https_session(1)
    credentials = Credentials(cast("Any", _SecretFile(file)), https, ims_url, now)
    adobe = Adobe(https, credentials, platform_url, str, now)
    return Entrance(adobe, str(file), credentials.ims_org(str(file)), organizations)


def open_dataset(
    at: Entrance,
    sandbox: str,
    dataset_id: str,
    name: str,
    *,
    production: bool,
    cleaning: bool,
) -> ProbedDataset:
    """The dataset, if it may be probed. `production`: a production sandbox was asked for.

    `cleaning`: nothing is made there, only ended. Raises ProbeRefused and IntakeError.
    """
    target = Target(at.credential, at.ims_org, sandbox, dataset_id)
    raw = at.adobe.dataset(target)
    if raw is None:
        raise ProbeRefused(f"there is no dataset {dataset_id} in sandbox {sandbox}")
    if raw.get("name") != name:
        raise ProbeRefused(
            f"dataset {dataset_id} in sandbox {sandbox} is not called {name!r}: give the id "
            "and the name of the same dataset, made for the probe"
        )
    kind = _sandbox_type(at.adobe, target)
    if kind != "development" and not production:
        raise ProbeRefused(
            f"sandbox {sandbox} is {kind}: choose a development sandbox, or give --production if "
            "it must be this one"
        )
    run = uuid4().hex[:8]
    probed = ProbedDataset(at.adobe, target, Rows({}, False), run, at.clock, at.wait)
    if cleaning:
        return probed
    _refuse_unless_free(probed, dataset_of(raw))
    schema = Schemas(at.adobe).of_dataset(target)
    rows = Rows(schema.document, schema.adhoc)
    rows.row()  # or nothing could be sent
    return replace(probed, rows=rows)


def _sandbox_type(adobe: Adobe, target: Target) -> str:
    """`production`, `development`, or words that say why it is not known.

    Source: Adobe's page "Available sandboxes endpoint", which every credential may ask.
    """
    for page in range(20):
        query = f"limit={_PAGE}&offset={page * _PAGE}"
        answer = adobe.gateway.call_repeatable("GET", f"{_SANDBOXES}?{query}", target, None)
        document = answer.http.json() if answer.ok else None
        listed = document.get("sandboxes") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            return f"perhaps a production sandbox, as AEP does not list them ({answer})"
        for one in listed:
            if isinstance(one, dict) and one.get("name") == target.sandbox:
                return str(one.get("type"))
        if len(listed) < _PAGE:
            break
    return "perhaps a production sandbox, as AEP does not list it"


def _refuse_unless_free(at: ProbedDataset, dataset: Dataset) -> None:
    """Raises ProbeRefused: it is in use, or could feed Profile."""
    if dataset.system:
        raise ProbeRefused("the dataset is Adobe's own")
    if dataset.profile:
        raise ProbeRefused("the dataset is enabled for Profile, which keeps what a probe writes")
    for batch_id, found in at.listed().items():
        if own(found) is None:
            raise ProbeRefused(f"the dataset holds a batch ({batch_id}): make one for the probe")
        if found.get("status") in {"loading"} | UNDER_WAY | HOLDS_DATA:
            raise ProbeRefused(
                f"an earlier probe left batch {batch_id} ({found['status']}): run the command with "
                "--cleanup first"
            )
