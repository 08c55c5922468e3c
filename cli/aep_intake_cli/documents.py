"""A stack's documents in AppConfig: read what is live, publish, roll back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from aep_intake.model import organizations
from aep_intake.model.organizations import InvalidLimits

from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import visible

if TYPE_CHECKING:
    from aep_intake.model.organizations import Organizations
    from mypy_boto3_appconfig import AppConfigClient
    from mypy_boto3_appconfig.type_defs import DeploymentSummaryTypeDef

    from aep_intake_cli.stack import Stack

# Outputs of the stack, in the order of PublishedDocument's fields.
ROUTES_IDS = ("RoutesApplicationId", "RoutesEnvironmentId", "RoutesProfileId", "RoutesStrategyId")
LIMITS_IDS = ("LimitsApplicationId", "LimitsEnvironmentId", "LimitsProfileId", "RoutesStrategyId")
# A function asks AppConfig again after so long (its `FRESH_SECONDS`: that module needs Powertools,
# which the command does not bring), and the answer may be so late.
FRESH_SECONDS = 30
LATE_SECONDS = 2
NAMED_MAX = 20  # names, in a sentence
IN_PROGRESS = {"DEPLOYING", "VALIDATING", "BAKING", "ROLLING_BACK"}


@dataclass(frozen=True)
class DocumentProblem:
    """What is wrong with a document: in which route (None: the whole document), at which member."""

    route: str | None
    field: str
    text: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.route, self.field, self.text)))


type Lint = Callable[[bytes], list[DocumentProblem]]


class DocumentRefused(CommandFailed):
    """Nothing was changed, or AppConfig rolled it back. `problems`: those of the document."""

    def __init__(self, text: str, problems: Sequence[DocumentProblem] = ()) -> None:
        super().__init__("\n".join([text, *(f"  {problem}" for problem in problems)]))
        self.problems = list(problems)


@dataclass(frozen=True)
class PublishedDocument:
    """One document of a stack, with its hosted versions. Fields but the client: AppConfig's ids.

    All methods may raise botocore's ClientError.
    """

    client: AppConfigClient
    application: str
    environment: str
    profile: str
    strategy: str
    by: str = ""  # who publishes

    def publish(self, document: bytes, lint: Lint) -> int:
        """Make `document` live and return its version. Raises DocumentRefused."""
        refuse_if(lint(document))
        unchanged = self.live_version_of(document)
        if unchanged is not None:
            return unchanged
        pages = self.client.get_paginator("list_hosted_configuration_versions").paginate(
            ApplicationId=self.application, ConfigurationProfileId=self.profile
        )
        latest = max((item["VersionNumber"] for page in pages for item in page["Items"]), default=0)
        # AppConfig refuses if another operator has published since.
        lock: dict[str, Any] = {"LatestVersionNumber": latest} if latest else {}
        hosted = self.client.create_hosted_configuration_version(
            ApplicationId=self.application,
            ConfigurationProfileId=self.profile,
            Content=document,
            ContentType="application/json",
            # Events name a routing table by this label. AppConfig wants a letter in it.
            VersionLabel=f"v{latest + 1}",
            **lock,
        )
        self._deploy(hosted["VersionNumber"])
        return hosted["VersionNumber"]

    def roll_back(self, version: int | None, lint: Lint) -> int:
        """Make `version` live again; None: the newest before this one. Raises DocumentRefused."""
        live = self.live_versions()
        older = [number for number in live if number < live[-1]]
        if version is None and not older:
            raise DocumentRefused("no earlier version was ever live")
        number = version or max(older)
        refuse_if(lint(self.read(number)))
        self._deploy(number)
        return number

    def deployments(self) -> list[DeploymentSummaryTypeDef]:
        """Those that went live, in that order; the last one is live now."""
        pages = self.client.get_paginator("list_deployments").paginate(
            ApplicationId=self.application, EnvironmentId=self.environment
        )
        done = [item for page in pages for item in page["Items"] if item["State"] == "COMPLETE"]
        return sorted(done, key=lambda item: item["DeploymentNumber"])

    def live_versions(self) -> list[int]:
        """Versions that went live, in that order; the last one is live now."""
        return [int(item["ConfigurationVersion"]) for item in self.deployments()]

    def live(self) -> int:
        """The version that is live. Raises CommandFailed if none is."""
        live = self.live_versions()
        if not live:
            raise CommandFailed("nothing is live: publish a document first")
        return live[-1]

    def description(self, deployment: int) -> str:
        """What a deployment says of itself."""
        told = self.client.get_deployment(
            ApplicationId=self.application,
            EnvironmentId=self.environment,
            DeploymentNumber=deployment,
        )
        return told.get("Description", "")

    def live_version_of(self, document: bytes) -> int | None:
        """The version that is live, if it equals `document`; else None."""
        live = self.live_versions()
        return live[-1] if live and self.read(live[-1]) == document else None

    def read(self, version: int) -> bytes:
        """The document of that version. Raises DocumentRefused if there is none."""
        try:
            hosted = self.client.get_hosted_configuration_version(
                ApplicationId=self.application,
                ConfigurationProfileId=self.profile,
                VersionNumber=version,
            )
        except self.client.exceptions.ResourceNotFoundException:
            known = ", ".join(map(str, sorted(set(self.live_versions())))) or "none"
            raise DocumentRefused(
                f"there is no version {version}; these were live: {known}"
            ) from None
        return hosted["Content"].read()

    def _deploy(self, version: int) -> None:
        said: Any = {"Description": f"by {self.by}"} if self.by else {}
        number = self.client.start_deployment(
            ApplicationId=self.application,
            EnvironmentId=self.environment,
            DeploymentStrategyId=self.strategy,
            ConfigurationProfileId=self.profile,
            ConfigurationVersion=str(version),
            **said,
        )["DeploymentNumber"]
        while True:
            state = self.client.get_deployment(
                ApplicationId=self.application,
                EnvironmentId=self.environment,
                DeploymentNumber=number,
            )["State"]
            if state == "COMPLETE":
                return
            if state not in IN_PROGRESS:
                raise DocumentRefused(f"AppConfig did not deploy version {version}: {state}")
            time.sleep(0.5)


def refuse_if(problems: Sequence[DocumentProblem]) -> None:
    """Raises DocumentRefused if there are any."""
    if problems:
        raise DocumentRefused("the document has problems; nothing was changed", problems)


def secrets_of(stack: Stack) -> tuple[str, ...]:
    """The secrets that a stack names: ARNs, or beginnings of ARNs that end in `*`."""
    return stack.list_parameter("CredentialSecrets")


def published_routes(stack: Stack, client: AppConfigClient) -> PublishedDocument:
    """The routing tables of a stack. Raises CommandFailed."""
    return PublishedDocument(client, *(stack.output(name) for name in ROUTES_IDS))


def wait_until_read(document: PublishedDocument) -> None:
    """Return once every function reads the version that is live: each asks every 30 seconds."""
    deployments = document.deployments()
    if deployments:
        read_at = deployments[-1]["CompletedAt"] + timedelta(seconds=FRESH_SECONDS + LATE_SECONDS)
        time.sleep(max(0.0, (read_at - datetime.now(UTC)).total_seconds()))


def live_routes(stack: Stack, client: AppConfigClient) -> bytes:
    """The routing table that is live. Raises CommandFailed and botocore's errors."""
    document = published_routes(stack, client)
    live = document.live_versions()
    if not live:
        raise CommandFailed("no routing table is live: aep-intake routes publish TABLE")
    return document.read(live[-1])


def check_route(route: str, document: bytes) -> None:
    """Whether `document`, which is live, has a route of this name. Raises CommandFailed."""
    from aep_intake.routing import routes

    known = [one.name for one in routes.parse(document, "live").routes]
    if route not in known:
        raise CommandFailed(
            f"no route of the live table is called {visible(route)}: {near(route, known)}"
        )


def near(name: str, known: Sequence[str]) -> str:
    """What somebody may have meant who typed a name that is not known."""
    if similar := get_close_matches(name, known):
        return f"did you mean {' or '.join(similar)}?"
    more = f" and {len(known) - NAMED_MAX} more" if len(known) > NAMED_MAX else ""
    return f"there are {', '.join(known[:NAMED_MAX]) or 'none'}{more}"


def organizations_of(stack: Stack, client: AppConfigClient) -> Organizations:
    """The organizations and limits in force. Raises CommandFailed and botocore's errors."""
    document = PublishedDocument(client, *(stack.output(name) for name in LIMITS_IDS))
    live = document.live_versions()
    if live:
        try:
            return organizations.parse(document.read(live[-1]), secrets_of(stack))
        except InvalidLimits as error:
            raise CommandFailed(f"organizations and limits, version {live[-1]}: {error}") from error
    unpublished = organizations.undocumented(secrets_of(stack))
    if unpublished is None:
        raise CommandFailed("no organization is published: aep-intake limits publish DOCUMENT")
    return unpublished
