"""Publish a document of a stack, checked against that stack, or roll it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aep_intake_cli import limits
from aep_intake_cli.documents import (
    LIMITS_IDS,
    ROUTES_IDS,
    Problem,
    PublishedDocument,
    organizations_of,
    secrets_of,
)
from aep_intake_cli.output import progress
from aep_intake_cli.routing.lint import lint

if TYPE_CHECKING:
    from mypy_boto3_appconfig import AppConfigClient

    from aep_intake_cli.options import Access
    from aep_intake_cli.stack import Stack


@dataclass(frozen=True)
class Kind:
    """A kind of document: the stack outputs that lead to it, its name for people, its linter."""

    outputs: tuple[str, ...]
    name: str
    lint: Callable[[Stack, AppConfigClient, bytes], list[Problem]]


KINDS = {
    "routes": Kind(
        ROUTES_IDS,
        "routes",
        lambda stack, client, table: lint(
            table, organizations_of(stack, client), delivers=stack.delivers
        ),
    ),
    "limits": Kind(
        LIMITS_IDS,
        "organizations and limits",
        lambda stack, _, document: limits.lint(document, secrets_of(stack)),
    ),
}


def publish(access: Access, kind: Kind, content: bytes) -> str:
    """Make `content` live; return what to print. Raises CommandFailed and botocore's errors."""
    document, check = _open(access, kind)
    before = document.live_version_of(content)
    with progress("deploying"):
        version = document.publish(content, check)
    if version == before:
        return f"Unchanged: version {version} of the {kind.name} is live already."
    return _is_live(kind, version)


def roll_back(access: Access, kind: Kind, version: int | None) -> str:
    """Make `version` live again; None: the newest before the present one. As `publish`."""
    document, check = _open(access, kind)
    with progress("deploying"):
        return _is_live(kind, document.roll_back(version, check))


def _open(access: Access, kind: Kind) -> tuple[PublishedDocument, Callable[[bytes], list[Problem]]]:
    stack, client = access.stack(), access.session.client("appconfig")
    document = PublishedDocument(client, *(stack.output(name) for name in kind.outputs))
    return document, lambda content: kind.lint(stack, client, content)


def _is_live(kind: Kind, version: int) -> str:
    return f"Version {version} of the {kind.name} is live. The functions use it within 30 seconds."
