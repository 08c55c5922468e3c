"""Documents of organizations and limits: lint one, make one of the parameters of an old stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aep_intake.model import organizations, strict_json
from aep_intake.model.json_schema import dotted, faults
from aep_intake.model.organizations import InvalidLimits

from aep_intake_cli.documents import DocumentProblem

# Parameters of the previous release, their defaults then, and the names of the limits now.
OLD_PARAMETERS = {
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
# Parameters of that release without a successor, their defaults, and what to do instead.
REMOVED_PARAMETERS = {
    "RequestsPerSecond": ("5", "change Mappings.Fixed.Requests in template.yaml"),
    "UploadSeconds": ("300", "change Mappings.Fixed.Uploads in template.yaml"),
    "UnfinishedHours": ("24", "change Mappings.Fixed.Batches in template.yaml"),
    "LogRetentionDays": ("90", "change Mappings.Fixed.Logs in template.yaml"),
    "SourceTopicArn": ("", "switch EventBridge on for the buckets of that topic before the update"),
}


def lint(document: bytes, secrets: tuple[str, ...]) -> list[DocumentProblem]:
    """All problems of `document`; none: it may go live. `secrets`: those the stack names."""
    try:
        limits = strict_json.loads(document.decode())
    except ValueError as error:
        return [DocumentProblem(None, "", f"cannot be read as JSON: {error}")]
    problems = [
        DocumentProblem(None, dotted(path), text)
        for path, text in faults(limits, organizations.SCHEMA, ())
    ]
    if problems:
        return problems
    try:
        parsed = organizations.parse(document, secrets)
    except InvalidLimits as fault:
        return [DocumentProblem(None, "", str(fault))]
    return [
        DocumentProblem(
            None,
            f"organizations[{n}].credential",
            f"is not among the stack's parameter CredentialSecrets ({', '.join(secrets)})",
        )
        for n, arn in enumerate(parsed.credentials)
        if not organizations.covers(secrets, arn)
    ]


def from_parameters(parameters: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The document that has the meaning of these parameters of the previous release, and remarks.

    A parameter that had its default is left out: the present default counts. A value outside a
    limit's range becomes the nearest one within.
    """
    remarks: list[str] = []
    limits: dict[str, Any] = {}
    for name, (default, member) in OLD_PARAMETERS.items():
        value = parameters.get(name, default)
        if value == default:
            continue
        schema = organizations.SCHEMA["properties"]["limits"]["properties"][member]
        if schema["type"] == "string":
            limits[member] = value
            continue
        allowed = min(max(int(value), schema["minimum"]), schema["maximum"])
        if allowed != int(value):
            remarks.append(f"{name} was {value}; {member} is {allowed}, the nearest allowed value")
        limits[member] = allowed
    for name, (default, advice) in REMOVED_PARAMETERS.items():
        if parameters.get(name, default) != default:
            remarks.append(f"{name} was {parameters[name]}; this parameter is gone: {advice}")
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
