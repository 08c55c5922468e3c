"""Make a routing table live, or go back to one that was.

    python -m tools.publish_routes TABLE                  (make publish-routes TABLE=…)
    python -m tools.publish_routes --rollback [VERSION]   (make publish-routes ARGS="--rollback 6")

The table is linted first, against the sandboxes and credentials the stack allows, and refused
before anything is uploaded; so is an old version that is no good any more. Without VERSION the
roll-back takes the newest that was live before the one that is.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from tools.deployed import NotOurs, deployed
from tools.failures import in_words
from tools.routes import Problem, lint, listed

if TYPE_CHECKING:
    from mypy_boto3_appconfig import AppConfigClient

type Lint = Callable[[bytes], list[Problem]]

IDS = ("RoutesApplicationId", "RoutesEnvironmentId", "RoutesProfileId", "RoutesStrategyId")
UNDER_WAY = {"DEPLOYING", "VALIDATING", "BAKING", "ROLLING_BACK"}


class Refused(Exception):
    """Nothing was changed, or AppConfig took it back; `problems` of the table, if those are why."""

    def __init__(self, text: str, problems: list[Problem] | None = None) -> None:
        super().__init__(text)
        self.problems = problems or []


@dataclass(frozen=True)
class Published:
    """The hosted versions of one stack's routing table. Fields but the client are AppConfig's ids.

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
            # Events name the table by this label. AppConfig takes none without a letter.
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
        raise Refused("the routing table has problems; nothing was changed", problems)


def main(arguments: list[str] | None = None) -> int:
    asked = argparse.ArgumentParser(prog="tools.publish_routes")
    what = asked.add_mutually_exclusive_group(required=True)
    what.add_argument("table", nargs="?", type=Path, metavar="TABLE", help="a JSON file")
    what.add_argument(
        "--rollback", nargs="?", type=int, const=0, metavar="VERSION", help="go back instead"
    )
    asked.add_argument("--stack-name", default=os.environ.get("STACK", "aep-intake"))
    given = asked.parse_args(arguments)
    console = Console()
    try:
        session = boto3.Session()
        stack = deployed(session.client("cloudformation"), given.stack_name)
        published = Published(session.client("appconfig"), *(stack.output(name) for name in IDS))

        def check(document: bytes) -> list[Problem]:
            return lint(
                document,
                sandboxes=stack.listed("AllowedSandboxes"),
                credentials=stack.listed("CredentialSecretArns"),
            )

        with console.status("deploying"):
            if given.table:
                document = given.table.read_bytes()
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
        console.print(f"Unchanged: version {version} of the routes is live already.")
        return 0
    console.print(f"Version {version} of the routes is live; functions take it up in 30 seconds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
