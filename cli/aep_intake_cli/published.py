"""The documents of a stack in AppConfig: what is live, making another one so, and going back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aep_intake.model import organizations
from aep_intake.model.organizations import InvalidLimits

from aep_intake_cli.failures import CannotGoOn

if TYPE_CHECKING:
    from aep_intake.model.organizations import Organizations
    from mypy_boto3_appconfig import AppConfigClient

    from aep_intake_cli.deployed import Deployed

# Outputs of the stack.
IDS = ("RoutesApplicationId", "RoutesEnvironmentId", "RoutesProfileId", "RoutesStrategyId")
LIMITS_IDS = ("LimitsApplicationId", "LimitsEnvironmentId", "LimitsProfileId", "RoutesStrategyId")
UNDER_WAY = {"DEPLOYING", "VALIDATING", "BAKING", "ROLLING_BACK"}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a document: in which rule (None: all of it), at which member."""

    rule: str | None
    field: str
    text: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.rule, self.field, self.text)))


type Lint = Callable[[bytes], list[Problem]]


class Refused(CannotGoOn):
    """Nothing was changed, or AppConfig took it back; `problems` of the document, if any."""

    def __init__(self, text: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join([text, *(f"  {problem}" for problem in problems)]))
        self.problems = list(problems)


@dataclass(frozen=True)
class Published:
    """The hosted versions of one of a stack's documents. Fields but the client are AppConfig's ids.

    All methods may raise botocore's ClientError.
    """

    client: AppConfigClient
    application: str
    environment: str
    profile: str
    strategy: str

    def publish(self, document: bytes, lint: Lint) -> int:
        """Make `document` live and return its version. Raises Refused."""
        _refuse_unless_good(document, lint)
        same = self.serves(document)
        if same is not None:
            return same
        pages = self.client.get_paginator("list_hosted_configuration_versions").paginate(
            ApplicationId=self.application, ConfigurationProfileId=self.profile
        )
        latest = max((item["VersionNumber"] for page in pages for item in page["Items"]), default=0)
        # AppConfig then refuses if somebody else has published since.
        lock: dict[str, Any] = {"LatestVersionNumber": latest} if latest else {}
        made = self.client.create_hosted_configuration_version(
            ApplicationId=self.application,
            ConfigurationProfileId=self.profile,
            Content=document,
            ContentType="application/json",
            # Events name a routing table by this label. AppConfig takes none without a letter.
            VersionLabel=f"v{latest + 1}",
            **lock,
        )
        self._deploy(made["VersionNumber"])
        return made["VersionNumber"]

    def roll_back(self, version: int | None, lint: Lint) -> int:
        """Make `version` live again, or the newest live before the present. Raises Refused."""
        live = self.live()
        older = [number for number in live if number < live[-1]]
        if version is None and not older:
            raise Refused("there is no earlier version that was live")
        number = version or max(older)
        try:
            document = self.read(number)
        except self.client.exceptions.ResourceNotFoundException:
            known = ", ".join(map(str, sorted(set(live)))) or "none"
            raise Refused(f"there is no version {number}; these were live: {known}") from None
        _refuse_unless_good(document, lint)
        self._deploy(number)
        return number

    def live(self) -> list[int]:
        """Versions that were live, in the order they were made so; the last one is."""
        pages = self.client.get_paginator("list_deployments").paginate(
            ApplicationId=self.application, EnvironmentId=self.environment
        )
        done = [item for page in pages for item in page["Items"] if item["State"] == "COMPLETE"]
        done.sort(key=lambda item: item["DeploymentNumber"])
        return [int(item["ConfigurationVersion"]) for item in done]

    def serves(self, document: bytes) -> int | None:
        """The version that is live, if it is `document`."""
        live = self.live()
        return live[-1] if live and self.read(live[-1]) == document else None

    def read(self, version: int) -> bytes:
        """The document of that version."""
        hosted = self.client.get_hosted_configuration_version(
            ApplicationId=self.application,
            ConfigurationProfileId=self.profile,
            VersionNumber=version,
        )
        return hosted["Content"].read()

    def _deploy(self, version: int) -> None:
        number = self.client.start_deployment(
            ApplicationId=self.application,
            EnvironmentId=self.environment,
            DeploymentStrategyId=self.strategy,
            ConfigurationProfileId=self.profile,
            ConfigurationVersion=str(version),
        )["DeploymentNumber"]
        while True:
            state = self.client.get_deployment(
                ApplicationId=self.application,
                EnvironmentId=self.environment,
                DeploymentNumber=number,
            )["State"]
            if state == "COMPLETE":
                return
            if state not in UNDER_WAY:
                raise Refused(f"AppConfig ended the deployment of version {version} as {state}")
            time.sleep(0.5)


def _refuse_unless_good(document: bytes, lint: Lint) -> None:
    problems = lint(document)
    if problems:
        raise Refused("it has problems; nothing was changed", problems)


def secrets(stack: Deployed) -> tuple[str, ...]:
    """The secrets that a stack names: ARNs, or what several begin with and a `*`."""
    return stack.listed("CredentialSecrets")


def organizations_of(stack: Deployed, client: AppConfigClient) -> Organizations:
    """The organizations and limits that are in force. Raises CannotGoOn."""
    published = Published(client, *(stack.output(name) for name in LIMITS_IDS))
    live = published.live()
    if live:
        try:
            return organizations.parse(published.read(live[-1]), secrets(stack))
        except InvalidLimits as error:
            raise CannotGoOn(f"organizations and limits, version {live[-1]}: {error}") from error
    unpublished = organizations.undocumented(secrets(stack))
    if unpublished is None:
        raise CannotGoOn("no organization is published: aep-intake limits publish DOCUMENT")
    return unpublished
