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
    published_routes,
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
class Prepared:
    """A document that may go live, and what people should know of that."""

    document: bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of document: the stack outputs that lead to it, its name for people, its linter."""

    outputs: tuple[str, ...]
    name: str
    lint: Callable[[Stack, AppConfigClient, bytes], list[DocumentProblem]]
    # What goes live in place of a document without problems, after all that it needs is there.
    prepare: Callable[[Access, bytes], Prepared] = lambda _, content: Prepared(content)
    # What people should know once it is live.
    warnings: Callable[[Access, bytes], Iterable[str]] = lambda *_: ()


def _by_the_schemas(access: Access, content: bytes) -> Prepared:
    """A routing table with what functions need of the schemas, as they read none.

    Its compiled maps are written where functions read them. Where AWS refuses whoever publishes the
    way to AEP, a table without maps stays as it is.
    """
    from aep_intake.model.orders import key_of_map
    from aep_intake.routing import routes
    from botocore.exceptions import BotoCoreError, ClientError

    from aep_intake_cli.datasets import adobe_clients
    from aep_intake_cli.routing import maps
    from aep_intake_cli.routing.compiling import compile_table

    stack, appconfig = access.stack(), access.session.client("appconfig")
    organizations = organizations_of(stack, appconfig)
    try:
        with progress("asking AEP for the schemas"):
            credentials, adobe = adobe_clients(stack, access.session)
            live = partial(_live_table, stack, appconfig)
            compiled = compile_table(content, live, adobe, credentials, organizations)
    except (BotoCoreError, ClientError):
        if maps.has_maps(routes.parse(content, "draft")):
            raise
        return Prepared(content)
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
    return Prepared(compiled.document, compiled.notes)


def _live_table(stack: Stack, client: AppConfigClient) -> bytes:
    """The routing table that is live, or one without routes."""
    document = published_routes(stack, client)
    versions = document.live_versions()
    return document.read(versions[-1]) if versions else b'{"routes": []}'


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
    prepared = kind.prepare(access, content)
    before = document.live_version_of(prepared.document)
    with progress("deploying"):
        version = document.publish(prepared.document, check)
    if version == before:
        return Published(kind.name, version, changed=False, warnings=prepared.notes)
    return _is_live(access, kind, version, prepared.document, prepared.notes)


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


def _is_live(
    access: Access, kind: Kind, version: int, content: bytes, notes: tuple[str, ...] = ()
) -> Published:
    return Published(kind.name, version, warnings=(*notes, *kind.warnings(access, content)))
