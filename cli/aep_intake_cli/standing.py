"""Where a file or a batch stands: as the ledger says, on one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click
from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb.deliveries import DynamoDeliveries
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table as LedgerTable
from aep_intake.model.times import DAY_MS
from aep_intake.report.states import UNFINISHED, Word
from aep_intake.report.status import StatusPorts
from rich.table import Table
from rich.text import Text

from aep_intake_cli.clock import now
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import visible

if TYPE_CHECKING:
    import boto3

    from aep_intake_cli.stack import Stack

THREADS = 8
FILES_SHOWN = 10
COLOURS: Mapping[str, str] = {
    Word.LOADED: "green",
    Word.REJECTED: "red",
    Word.FAILED: "red",
    Word.ABANDONED: "red",
    Word.HELD: "red",
    Word.LOST: "red",
    Word.RETRYING: "yellow",
    Word.PAUSED: "yellow",
}


def opened(stack: Stack, session: boto3.Session) -> DynamoLedger:
    """The ledger of a stack, with the lists of its windows."""
    retention_ms = int(stack.parameters["RetentionDays"]) * DAY_MS
    lists = StateObjects(lambda: session.client("s3"), stack.output("StateBucketName"))
    client = session.client("dynamodb")
    return DynamoLedger(client, stack.output("LedgerTable"), now, retention_ms, lists=lists)


def status_ports(stack: Stack, session: boto3.Session) -> StatusPorts:
    """The ledger of a stack. AEP is not asked: the intake has followed its batches to their end."""
    client, table = session.client("dynamodb"), stack.output("LedgerTable")
    retention_ms = int(stack.parameters["RetentionDays"]) * DAY_MS
    ledger = opened(stack, session)
    deliveries = DynamoDeliveries(LedgerTable(client, table), now, retention_ms=retention_ms)
    return StatusPorts(
        ledger,
        ledger.windows,
        deliveries,
        lambda records: [{} for _ in records],
        _side_by_side,
        ledger.pauses.standing,
    )


def _side_by_side[T, R](work: Callable[[T], R], values: Iterable[T], /) -> list[R]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, values))


def place_of(uri: str) -> tuple[str, str]:
    """The bucket and the key of `s3://bucket/key`. Raises click's BadParameter."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise click.BadParameter(f"{visible(uri)} is not s3://BUCKET/KEY", param_hint="URI")
    return bucket, key


def check_bucket(bucket: str, stack: Stack) -> None:
    """Whether a stack takes objects of a bucket. Raises CommandFailed."""
    taken = stack.output("SourceBuckets").split(",")
    if bucket not in taken:
        raise CommandFailed(
            f"{visible(bucket)} is not a bucket of stack {stack.name}, which takes objects of "
            f"{', '.join(taken)}"
        )


def coloured(state: str) -> Text:
    """A state, as a terminal shows it."""
    return Text(state, COLOURS.get(state, ""))


def version_of(version: Mapping[str, Any]) -> str:
    """How people name a version."""
    return str(version.get("versionId") or version.get("etag") or "")


def block(told: Mapping[str, Any]) -> Table:
    """All of a version, or a batch: a line for each thing that is known."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _lines(told):
        grid.add_row(name, value if isinstance(value, Text) else Text(visible(value)))
    return grid


def _lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str | Text]]:
    yield "state", coloured(told["state"])
    yield "why", told["why"]
    for name in ("since", "until"):
        if name in told:
            yield name, time(told[name])
    look = told.get("delivery", told).get("due")
    if told["state"] in UNFINISHED and look not in (None, told.get("until")):
        yield "next look", time(look)
    for name, member in (("reason", "reason"), ("route", "route"), ("order", "externalId")):
        if member in told:
            yield name, told[member]
    if told.get("attempt", 1) > 1:
        yield "attempt", str(told["attempt"])
    if "batchId" in told:
        yield "batch", told["batchId"]
    if "datasetId" in told:
        yield "dataset", f"{told['datasetId']} in sandbox {told['sandbox']} of {told['imsOrg']}"
    yield from _neighbours(told)
    for error in told.get("errors", ()):
        yield "error", " ".join(str(error[n]) for n in ("code", "description") if n in error)
        if "hint" in error:
            yield "hint", error["hint"]
    yield from _not_mapped(told.get("delivery", told))
    yield from _files(told)


def _not_mapped(delivery: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the route's map has left out."""
    if rows := delivery.get("unmappedRecordCount"):
        yield "rows left out", f"{rows:,}, as the route's map does not fit them"
    if columns := delivery.get("unmappedColumns"):
        more = delivery.get("unmappedColumnCount", 0) - len(columns)
        others = f" and {more:,} more" if more > 0 else ""
        yield "not mapped", f"{', '.join(columns)}{others}"


def _neighbours(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Other versions, orders and windows that it has to do with."""
    for name, member in (("superseded by", "supersededBy"), ("same as", "sameAs")):
        if member in told:
            yield name, f"version {version_of(told[member])}"
    if newer := told.get("replacedBy"):
        yield "replaced by", " ".join(filter(None, (newer["externalId"], newer.get("state"))))
    if "replaces" in told:
        yield "replaces", told["replaces"]["externalId"]
    if "splitOf" in told:
        yield "split of", told["splitOf"]
    for name, member in (("split into", "splitInto"), ("orders", "orders")):
        if member in told:
            yield name, ", ".join(told[member]) or "no other order"
    if "window" in told:
        yield "window", told["window"]["id"]


def _files(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    files = told.get("files", ())
    for number, uri in enumerate(files[:FILES_SHOWN]):
        yield "" if number else "files", uri
    if (more := told.get("fileCount", 0) - len(files[:FILES_SHOWN])) > 0:
        yield "", f"and {more:,} more"


def time(iso: str) -> str:
    """`2026-11-18T11:06:40.000Z` as people read it."""
    return f"{iso[:10]} {iso[11:19]} UTC" if iso else ""
