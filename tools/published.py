"""The documents of a stack in AppConfig: what is live, making another one so, and going back."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from aep_intake import organizations
from aep_intake.organizations import InvalidLimits
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tools.deployed import Deployed, NotOurs, deployed
from tools.failures import in_words

if TYPE_CHECKING:
    from aep_intake.organizations import Organizations
    from mypy_boto3_appconfig import AppConfigClient

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


type Lint = Callable[[bytes], list[Problem]]


class Refused(Exception):
    """Nothing was changed, or AppConfig took it back; `problems` of the document, if any."""

    def __init__(self, text: str, problems: list[Problem] | None = None) -> None:
        super().__init__(text)
        self.problems = problems or []


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


def listed(problems: Iterable[Problem]) -> Table:
    """For people: the problems."""
    columns = (Column(name, overflow="fold") for name in ("rule", "member", "problem"))
    shown = Table(*columns, title="This cannot go live")
    for problem in problems:
        shown.add_row(Text(problem.rule or ""), Text(problem.field), Text(problem.text))
    return shown


def secrets(stack: Deployed) -> tuple[str, ...]:
    """The secrets that a stack names: ARNs, or what several begin with and a `*`."""
    return stack.listed("CredentialSecrets")


def organizations_of(stack: Deployed, client: AppConfigClient) -> Organizations:
    """The organizations and limits that are in force. Raises NotOurs."""
    published = Published(client, *(stack.output(name) for name in LIMITS_IDS))
    live = published.live()
    if live:
        try:
            return organizations.parse(published.read(live[-1]), secrets(stack))
        except InvalidLimits as error:
            raise NotOurs(f"organizations and limits, version {live[-1]}: {error}") from error
    unpublished = organizations.undocumented(secrets(stack))
    if unpublished is None:
        raise NotOurs("no organization is published: make publish-limits DOCUMENT=…")
    return unpublished


def options(program: str, document: str) -> argparse.ArgumentParser:
    """What both commands that publish are asked: a document, or the way back, and the stack."""
    asked = argparse.ArgumentParser(prog=program)
    asked.add_argument("document", nargs="?", type=Path, metavar=document, help="a JSON file")
    asked.add_argument(
        "--rollback", nargs="?", type=int, const=0, metavar="VERSION", help="go back instead"
    )
    asked.add_argument("--stack-name", default=os.environ.get("STACK", "aep-intake"))
    return asked


def publish(
    given: argparse.Namespace,
    ids: Iterable[str],
    what: str,
    lint: Callable[[Deployed, AppConfigClient, bytes], list[Problem]],
) -> int:
    """Do what `options` were given, and say so; the exit status. `what` is published, in words."""
    console = Console()
    try:
        session = boto3.Session()
        stack = deployed(session.client("cloudformation"), given.stack_name)
        client = session.client("appconfig")
        published = Published(client, *(stack.output(name) for name in ids))

        def check(document: bytes) -> list[Problem]:
            return lint(stack, client, document)

        with console.status("deploying"):
            if given.document:
                document = given.document.read_bytes()
                before = published.serves(document)
                version = published.publish(document, check)
            else:
                before = None
                version = published.roll_back(given.rollback or None, check)
    except Refused as why:
        if why.problems:
            console.print(listed(why.problems))
        console.print(str(why), style="red", markup=False)
        return 1
    except NotOurs as error:
        console.print(f"{given.stack_name}: {error}", style="red", markup=False)
        return 1
    except (BotoCoreError, ClientError) as error:
        console.print(in_words(error), style="red", markup=False)
        return 1
    except OSError as error:
        console.print(f"{error}", style="red", markup=False)
        return 1
    if version == before:
        console.print(f"Unchanged: version {version} of the {what} is live already.")
        return 0
    console.print(f"Version {version} of the {what} is live; functions take it up in 30 seconds.")
    return 0
