"""Publish a document of a stack, checked against that stack, or roll it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from aep_intake_cli import limits
from aep_intake_cli.documents import (
    LIMITS_IDS,
    ROUTES_IDS,
    DocumentProblem,
    DocumentRefused,
    PublishedDocument,
    organizations_of,
    refuse_if,
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
    lint: Callable[[Stack, AppConfigClient, bytes], list[DocumentProblem]]
    # What goes live in place of a document without problems, after all that it needs is there.
    prepare: Callable[[Access, bytes], bytes] = lambda _, content: content
    # What people should know once it is live.
    warnings: Callable[[Access, bytes], Iterable[str]] = lambda *_: ()


def _by_the_schemas(access: Access, content: bytes) -> bytes:
    """A routing table with what functions need of the schemas, as they read none.

    Its compiled maps are written where functions read them. Where AWS refuses whoever publishes the
    way to AEP, a table without maps stays as it is.
    """
    from aep_intake.model.orders import key_of_map
    from aep_intake.routing import routes
    from botocore.exceptions import BotoCoreError, ClientError

    from aep_intake_cli.datasets import adobe_clients
    from aep_intake_cli.routing import maps

    stack = access.stack()
    organizations = organizations_of(stack, access.session.client("appconfig"))
    try:
        with progress("asking AEP for the schemas"):
            credentials, adobe = adobe_clients(stack, access.session)
            compiled = maps.compile_table(content, adobe, credentials, organizations)
    except (BotoCoreError, ClientError):
        if maps.has_maps(routes.parse(content, "draft")):
            raise
        return content
    if compiled.problems:
        raise DocumentRefused("the document has problems; nothing was changed", compiled.problems)
    s3 = access.session.client("s3")
    for name, text in compiled.maps.items():
        s3.put_object(
            Bucket=stack.output("StateBucketName"),
            Key=key_of_map(name),
            Body=text,
            ContentType="application/json",
        )
    return compiled.document


def _pauses_of_no_route(access: Access, content: bytes) -> list[str]:
    """Pauses whose routes the table does not have, as they do not follow a new name."""
    from aep_intake.model.errors import LedgerUnavailable
    from aep_intake.routing import routes

    from aep_intake_cli import pauses, standing

    ledger = standing.opened(access.stack(), access.session)
    try:
        paused = ledger.pauses.standing().values()
    except LedgerUnavailable as error:
        return [f"nobody looked whether a pause names a route that is gone: {error.detail}"]
    return list(pauses.of_no_route(paused, routes.parse(content, "live")))


KINDS = {
    "routes": Kind(
        ROUTES_IDS,
        "routes",
        lambda stack, client, table: lint(
            table, organizations_of(stack, client), delivers=stack.delivers
        ),
        _by_the_schemas,
        _pauses_of_no_route,
    ),
    "limits": Kind(
        LIMITS_IDS,
        "organizations and limits",
        lambda stack, _, document: limits.lint(document, secrets_of(stack)),
    ),
}


@dataclass(frozen=True)
class Published:
    """Which version of a document is live. `name`: that of its kind, for people."""

    name: str
    version: int
    changed: bool = True
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f"Unchanged: version {self.version} of the {self.name} is live already."
        if self.changed:
            told = (
                f"Version {self.version} of the {self.name} is live. The functions use it within "
                "30 seconds."
            )
        return "\n".join([told, *(f"warning: {text}." for text in self.warnings)])


def publish(access: Access, kind: Kind, content: bytes) -> Published:
    """Make `content` live. Raises CommandFailed and botocore's errors."""
    document, check = _open(access, kind)
    refuse_if(check(content))
    content = kind.prepare(access, content)
    before = document.live_version_of(content)
    with progress("deploying"):
        version = document.publish(content, check)
    if version == before:
        return Published(kind.name, version, changed=False)
    return _is_live(access, kind, version, content)


def roll_back(access: Access, kind: Kind, version: int | None) -> Published:
    """Make `version` live again; None: the newest before the present one. As `publish`."""
    document, check = _open(access, kind)
    with progress("deploying"):
        number = document.roll_back(version, check)
    return _is_live(access, kind, number, document.read(number))


def document_of(access: Access, kind: Kind) -> PublishedDocument:
    """The document of a stack. Raises CommandFailed and botocore's errors."""
    stack, client = access.stack(), access.session.client("appconfig")
    return PublishedDocument(client, *(stack.output(name) for name in kind.outputs))


def _open(
    access: Access, kind: Kind
) -> tuple[PublishedDocument, Callable[[bytes], list[DocumentProblem]]]:
    stack, document = access.stack(), document_of(access, kind)
    # Of an ARN what is a person's: the account is the stack's.
    by = access.session.client("sts").get_caller_identity()["Arn"].rpartition(":")[2]
    check = partial(kind.lint, stack, document.client)
    return replace(document, by=by), check


def _is_live(access: Access, kind: Kind, version: int, content: bytes) -> Published:
    return Published(kind.name, version, warnings=tuple(kind.warnings(access, content)))
