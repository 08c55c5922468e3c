"""Make organizations and limits live, or go back to those that were.

    python -m tools.publish_limits DOCUMENT              (make publish-limits DOCUMENT=…)
    python -m tools.publish_limits --rollback [VERSION]  (make publish-limits ARGS="--rollback 6")
    python -m tools.publish_limits --from-parameters     (make publish-limits ARGS=…)

The document is checked first, by its schema and against the secrets that the stack names, and
refused before anything is uploaded. With --from-parameters nothing is published: what a stack of an
earlier release has in its parameters is written as a document, to be published once it is updated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import boto3
from aep_intake import organizations, strict_json
from aep_intake.organizations import InvalidLimits
from aep_intake.schemas import dotted, faults
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from tools.deployed import Deployed, deployed
from tools.failures import in_words
from tools.published import LIMITS_IDS, Problem, options, publish, secrets

if TYPE_CHECKING:
    from mypy_boto3_appconfig import AppConfigClient

# Of the release before: parameters, their defaults then, and what they are called now.
PARAMETERS = {
    "BatchesPerMinute": ("1000", "batchesPerMinute"),
    "GigabytesPerHour": ("20", "gigabytesPerHour"),
    "ProfileBatchesPerDay": ("90", "profileBatchesPerDay"),
    "SettleSeconds": ("120", "settleSeconds"),
    "BatchFiles": ("1500", "batchFiles"),
    "BatchGigabytes": ("100", "batchGigabytes"),
    "FileMegabytes": ("256", "fileMegabytes"),
    "UploadHours": ("24", "uploadHours"),
    "OutcomeSeconds": ("120", "outcomeSeconds"),
    "ReplayBy": ("predecessors", "replayBy"),
}


def lint(document: bytes, named: tuple[str, ...]) -> list[Problem]:
    """Everything wrong with `document`, empty if it may go live. `named`: the stack's secrets."""
    try:
        told = strict_json.loads(document.decode())
    except ValueError as error:
        return [Problem(None, "", f"cannot be read as JSON: {error}")]
    problems = [
        Problem(None, dotted(path), text) for path, text in faults(told, organizations.SCHEMA, ())
    ]
    if problems:
        return problems
    try:
        parsed = organizations.parse(document, named)
    except InvalidLimits as fault:
        return [Problem(None, "", str(fault))]
    return [
        Problem(
            None,
            f"organizations[{n}].credential",
            f"is not among the stack's parameter CredentialSecrets ({', '.join(named)})",
        )
        for n, arn in enumerate(parsed.credentials)
        if not organizations.covers(named, arn)
    ]


def from_parameters(parameters: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The document that says what these parameters of the release before said, and remarks.

    What was the default is left out, so that the present one holds. What is less careful than a
    limit may be, becomes what it may be.
    """
    remarks: list[str] = []
    limits: dict[str, Any] = {}
    for name, (default, member) in PARAMETERS.items():
        value = parameters.get(name, default)
        if value == default:
            continue
        schema = organizations.SCHEMA["properties"]["limits"]["properties"][member]
        if schema["type"] == "string":
            limits[member] = value
            continue
        allowed = min(max(int(value), schema["minimum"]), schema["maximum"])
        if allowed != int(value):
            remarks.append(f"{name} was {value}, and {member} can be {allowed}")
        limits[member] = allowed
    default = parameters.get("DefaultSandbox", "prod")
    sandboxes = [default, *_listed(parameters, "AllowedSandboxes")]
    document = {
        "organizations": [
            {"credential": arn, "sandboxes": list(dict.fromkeys(sandboxes))}
            for arn in _listed(parameters, "CredentialSecretArns")
        ]
    }
    return document | ({"limits": limits} if limits else {}), remarks


def _listed(parameters: Mapping[str, str], name: str) -> Iterator[str]:
    return filter(None, parameters.get(name, "").split(","))


def _lint(stack: Deployed, client: AppConfigClient, document: bytes) -> list[Problem]:
    return lint(document, secrets(stack))


def _write(stack_name: str) -> int:
    """The document of an earlier release's parameters, to standard output; the exit status."""
    console = Console(stderr=True)
    try:
        stack = deployed(boto3.Session().client("cloudformation"), stack_name)
    except (BotoCoreError, ClientError) as error:
        console.print(in_words(error), style="red", markup=False)
        return 1
    if "CredentialSecretArns" not in stack.parameters:
        text = "it has none of the parameters of the release before: its limits are published"
        console.print(f"{stack_name}: {text}", style="red", markup=False)
        return 1
    document, remarks = from_parameters(stack.parameters)
    print(json.dumps(document, indent=2))
    for remark in remarks:
        console.print(remark, style="yellow", markup=False)
    return 0


def main(arguments: list[str] | None = None) -> int:
    asked = options("tools.publish_limits", "DOCUMENT")
    asked.add_argument(
        "--from-parameters", action="store_true", help="write a document, and publish nothing"
    )
    given = asked.parse_args(arguments)
    if (given.document is not None) + (given.rollback is not None) + given.from_parameters != 1:
        asked.error("give a DOCUMENT, --rollback, or --from-parameters")
    if given.from_parameters:
        return _write(given.stack_name)
    return publish(given, LIMITS_IDS, "organizations and limits", _lint)


if __name__ == "__main__":
    sys.exit(main())
