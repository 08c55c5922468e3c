"""The organizations a stack works for, and their limits: data with a right of its own.

`limits.schema.json`, beside this module, describes the document; an editor, AppConfig's validator
and `parse` all read that one file. The right to publish routes does not include it: a route can
name no secret or sandbox that is not here, and no limit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aep_intake.model import strict_json
from aep_intake.model.errors import TargetNotAllowed
from aep_intake.model.json_schema import dotted, faults
from aep_intake.model.values import dataclass

SCHEMA: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("limits.schema.json").read_text(encoding="utf-8")
)

DEFAULT_SANDBOXES = ("prod",)


class InvalidLimits(ValueError):
    """A document that is not one of organizations and limits; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How carefully AEP is treated. Defaults are Adobe's guardrails of November 2026, or ours."""

    settle_seconds: int = 120  # until Catalog shows a batch for sure
    # The most that a window or a folder puts into one batch.
    batch_files: int = 9999
    batch_gigabytes: int = 100
    file_megabytes: int = 256  # the most of a file that cannot be uploaded in pieces
    upload_hours: int = 24  # until a batch that is not complete is given up
    outcome_seconds: int = 5  # from COMPLETE until the first poll of Catalog
    replay_by: str = "$predecessors"  # how a new batch names the one that it replaces
    # Of an organization: batches created, and gigabytes uploaded.
    batches_per_minute: int = 1000
    gigabytes_per_hour: int = 20
    profile_batches_per_day: int = 90  # of a sandbox, beyond which an alarm rings
    metrics_by_route: bool = False  # counts by route, too: CloudWatch bills each


@dataclass(frozen=True, slots=True)
class Organization:
    """One of Adobe's organizations."""

    credential: str  # the ARN of its secret
    sandboxes: tuple[str, ...] = DEFAULT_SANDBOXES  # those allowed; the first is the default
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Organizations:
    """The organizations that a stack works for: at least one, the first the default."""

    all: tuple[Organization, ...]
    limits: Limits = Limits()

    @property
    def credentials(self) -> tuple[str, ...]:
        """ARNs of their secrets."""
        return tuple(organization.credential for organization in self.all)

    def of(self, credential: str | None) -> Organization:
        """The organization with that credential; the first if None. Raises TargetNotAllowed."""
        for organization in self.all:
            if credential in (None, organization.credential):
                return organization
        raise TargetNotAllowed(f"the stack has no organization with the secret {credential}")

    def limits_of(self, credential: str) -> Limits:
        """The limits of one organization; the shared ones if the document no longer names it."""
        return next((o.limits for o in self.all if o.credential == credential), self.limits)


def undocumented(secrets: Sequence[str]) -> Organizations | None:
    """The organizations before any document is published: one for each secret.

    None if the template names only the beginning of the secrets' ARNs.
    """
    arns = [secret for secret in secrets if not secret.endswith("*")]
    return Organizations(tuple(map(Organization, arns))) if arns else None


def parse(document: bytes, secrets: Sequence[str]) -> Organizations:
    """Read a document. `secrets`: ARNs as the template names them. Raises InvalidLimits."""
    try:
        content = strict_json.loads(document.decode())
    except ValueError as error:
        raise InvalidLimits(f"it cannot be read as JSON: {error}") from None
    for path, problem in faults(content, SCHEMA, ()):
        raise InvalidLimits(f"{dotted(path)}: {problem}" if path else problem)
    limits = _limits(content.get("limits", {}), Limits())
    organizations = tuple(
        Organization(
            entry["credential"],
            tuple(entry.get("sandboxes", DEFAULT_SANDBOXES)),
            _limits(entry.get("limits", {}), limits),
        )
        for entry in content.get("organizations", ())
    )
    if not organizations:
        unnamed = undocumented(secrets)
        if unnamed is None:
            raise InvalidLimits("needs `organizations`, as the template names no secret in full")
        organizations = tuple(replace(each, limits=limits) for each in unnamed.all)
    seen: set[str] = set()
    for n, organization in enumerate(organizations):
        if organization.credential in seen:
            raise InvalidLimits(f"organizations[{n}].credential: an earlier entry has it")
        seen.add(organization.credential)
    return Organizations(organizations, limits)


def written(organizations: Organizations) -> dict[str, Any]:
    """The document of these organizations, without members that equal their default."""
    shared = _members(organizations.limits, Limits())
    named = []
    for organization in organizations.all:
        own = _members(organization.limits, organizations.limits)
        entry = {
            "credential": organization.credential,
            "sandboxes": list(organization.sandboxes),
        }
        named.append(entry | ({"limits": own} if own else {}))
    return ({"limits": shared} if shared else {}) | {"organizations": named}


def covers(secrets: Sequence[str], arn: str) -> bool:
    """Whether a template that names `secrets` lets the functions read the secret `arn`."""
    return any(
        arn.startswith(secret[:-1]) if secret.endswith("*") else arn == secret for secret in secrets
    )


def _limits(members: Mapping[str, Any], defaults: Limits) -> Limits:
    return replace(defaults, **{_snake(name): value for name, value in members.items()})


def _members(limits: Limits, defaults: Limits) -> dict[str, Any]:
    return {
        name: getattr(limits, _snake(name))
        for name in SCHEMA["properties"]["limits"]["properties"]
        if getattr(limits, _snake(name)) != getattr(defaults, _snake(name))
    }


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
