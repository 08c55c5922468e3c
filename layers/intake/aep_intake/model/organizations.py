"""For which organizations a deployment works, and how carefully: data with a right of its own.

`limits.schema.json`, beside this module, describes the document; an editor, AppConfig's validator
and `parse` all read that one file. Whoever may publish routes may not publish this: a route can
name no secret and no sandbox that is not here, and no limit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aep_intake.model import strict_json
from aep_intake.model.errors import TargetNotAllowed
from aep_intake.model.json_schema import dotted, faults

SCHEMA: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("limits.schema.json").read_text(encoding="utf-8")
)

SANDBOXES = ("prod",)  # of an organization for which the document names none


class InvalidLimits(ValueError):
    """A document that is not one of organizations and limits; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How carefully AEP is treated; the defaults are Adobe's guardrails of November 2026, or ours.

    `settle_seconds` until Catalog surely shows a batch. `batch_files` and `batch_gigabytes`: the
    most that a window or a folder puts into one batch. `file_megabytes`: the most of a file that
    cannot be uploaded in pieces. `upload_hours` until a batch that is not complete is given up,
    `outcome_seconds` until Catalog is asked how one ended. `replay_by`: how Adobe is told which
    batch a new one replaces. By organization: `batches_per_minute` that are created,
    `gigabytes_per_hour` that are uploaded, and the `profile_batches_per_day` of a sandbox beyond
    which somebody is told.
    """

    settle_seconds: int = 120
    batch_files: int = 9999
    batch_gigabytes: int = 100
    file_megabytes: int = 256
    upload_hours: int = 24
    outcome_seconds: int = 120
    replay_by: str = "$predecessors"
    batches_per_minute: int = 1000
    gigabytes_per_hour: int = 20
    profile_batches_per_day: int = 90


@dataclass(frozen=True, slots=True)
class Organization:
    """One of Adobe's organizations, by the ARN of the secret with its credential.

    `sandboxes` are all that it may be asked for; the first is the default.
    """

    credential: str
    sandboxes: tuple[str, ...] = SANDBOXES
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Organizations:
    """All that a deployment works for, the first the default; at least one."""

    all: tuple[Organization, ...]
    limits: Limits = Limits()

    @property
    def credentials(self) -> tuple[str, ...]:
        """ARNs of their secrets."""
        return tuple(one.credential for one in self.all)

    def of(self, credential: str | None) -> Organization:
        """The one with that credential, the first if None. Raises TargetNotAllowed."""
        for one in self.all:
            if credential in (None, one.credential):
                return one
        raise TargetNotAllowed(f"the deployment has no organization with the secret {credential}")

    def limits_of(self, credential: str) -> Limits:
        """Those of one organization; of all, where it is none any more."""
        return next((one.limits for one in self.all if one.credential == credential), self.limits)


def undocumented(secrets: Sequence[str]) -> Organizations | None:
    """What holds where no document was ever published: an organization for each secret.

    None where `secrets`, as the template names them, are only the beginning of their ARNs.
    """
    arns = [secret for secret in secrets if not secret.endswith("*")]
    return Organizations(tuple(map(Organization, arns))) if arns else None


def parse(document: bytes, secrets: Sequence[str]) -> Organizations:
    """The document, in force. `secrets`: ARNs as the template names them. Raises InvalidLimits."""
    try:
        told = strict_json.loads(document.decode())
    except ValueError as error:
        raise InvalidLimits(f"it cannot be read as JSON: {error}") from None
    for path, problem in faults(told, SCHEMA, ()):
        raise InvalidLimits(f"{dotted(path)}: {problem}" if path else problem)
    limits = _limits(told.get("limits", {}), Limits())
    organizations = tuple(
        Organization(
            one["credential"],
            tuple(one.get("sandboxes", SANDBOXES)),
            _limits(one.get("limits", {}), limits),
        )
        for one in told.get("organizations", ())
    )
    if not organizations:
        unnamed = undocumented(secrets)
        if unnamed is None:
            raise InvalidLimits("needs `organizations`, as the template names no secret in full")
        organizations = tuple(replace(one, limits=limits) for one in unnamed.all)
    seen: set[str] = set()
    for n, one in enumerate(organizations):
        if one.credential in seen:
            raise InvalidLimits(f"organizations[{n}].credential: an earlier one has it")
        seen.add(one.credential)
    return Organizations(organizations, limits)


def written(organizations: Organizations) -> dict[str, Any]:
    """A document that says the same, without what is the default."""
    shared = _members(organizations.limits, Limits())
    named = []
    for one in organizations.all:
        own = _members(one.limits, organizations.limits)
        entry = {"credential": one.credential, "sandboxes": list(one.sandboxes)}
        named.append(entry | ({"limits": own} if own else {}))
    return ({"limits": shared} if shared else {}) | {"organizations": named}


def covers(secrets: Sequence[str], arn: str) -> bool:
    """Whether a template that names `secrets` lets the functions read that one."""
    return any(
        arn.startswith(secret[:-1]) if secret.endswith("*") else arn == secret for secret in secrets
    )


def _limits(told: Mapping[str, Any], others: Limits) -> Limits:
    return replace(others, **{_snake(name): value for name, value in told.items()})


def _members(limits: Limits, others: Limits) -> dict[str, Any]:
    return {
        name: getattr(limits, _snake(name))
        for name in SCHEMA["properties"]["limits"]["properties"]
        if getattr(limits, _snake(name)) != getattr(others, _snake(name))
    }


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
