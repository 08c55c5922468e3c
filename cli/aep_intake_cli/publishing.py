"""Making a document of a stack live, checked against that stack, and going back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aep_intake_cli import limits
from aep_intake_cli.deployed import PATIENCE
from aep_intake_cli.output import progress
from aep_intake_cli.published import (
    IDS,
    LIMITS_IDS,
    Problem,
    Published,
    organizations_of,
    secrets,
)
from aep_intake_cli.routing.lint import lint

if TYPE_CHECKING:
    from mypy_boto3_appconfig import AppConfigClient

    from aep_intake_cli.deployed import Deployed
    from aep_intake_cli.options import Access


@dataclass(frozen=True)
class Kind:
    """What is published: the outputs that lead to it, what people call it, who finds its faults."""

    ids: tuple[str, ...]
    name: str
    lint: Callable[[Deployed, AppConfigClient, bytes], list[Problem]]


ROUTES = Kind(
    IDS, "routes", lambda stack, client, table: lint(table, organizations_of(stack, client))
)
LIMITS = Kind(
    LIMITS_IDS,
    "organizations and limits",
    lambda stack, _, document: limits.lint(document, secrets(stack)),
)


def publish(access: Access, kind: Kind, document: bytes) -> str:
    """Make `document` live; what to say of it. Raises CannotGoOn and botocore's errors."""
    published, check = _of(access, kind)
    before = published.serves(document)
    with progress("deploying"):
        version = published.publish(document, check)
    if version == before:
        return f"Unchanged: version {version} of the {kind.name} is live already."
    return _is_live(kind, version)


def roll_back(access: Access, kind: Kind, version: int | None) -> str:
    """Make `version` live again, None: the newest before the present. As `publish`."""
    published, check = _of(access, kind)
    with progress("deploying"):
        return _is_live(kind, published.roll_back(version, check))


def _of(access: Access, kind: Kind) -> tuple[Published, Callable[[bytes], list[Problem]]]:
    stack, client = access.deployed(), access.session.client("appconfig", config=PATIENCE)
    published = Published(client, *(stack.output(name) for name in kind.ids))
    return published, lambda document: kind.lint(stack, client, document)


def _is_live(kind: Kind, version: int) -> str:
    return f"Version {version} of the {kind.name} is live; functions take it up in 30 seconds."
