"""Documents of organizations and limits: their faults, and that of an earlier release's stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aep_intake.model import organizations, strict_json
from aep_intake.model.json_schema import dotted, faults
from aep_intake.model.organizations import InvalidLimits

from aep_intake_cli.published import Problem

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
# Parameters of that release that are gone, their defaults, and what to do where another was given.
GONE = {
    "RequestsPerSecond": ("5", "change Mappings.Fixed.Requests in template.yaml"),
    "UploadSeconds": ("300", "change Mappings.Fixed.Uploads in template.yaml"),
    "UnfinishedHours": ("24", "change Mappings.Fixed.Batches in template.yaml"),
    "LogRetentionDays": ("90", "change Mappings.Fixed.Logs in template.yaml"),
    "SourceTopicArn": ("", "switch EventBridge on for the buckets of that topic before the update"),
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
    for name, (default, advice) in GONE.items():
        if parameters.get(name, default) != default:
            remarks.append(f"{name} was {parameters[name]}, and is no parameter now: {advice}")
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
