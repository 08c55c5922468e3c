"""Prepare a restored ledger: orders look in AEP first, and forgotten windows come back.

As long as messages from before the restore can come, an order looks in AEP for its batch before it
creates one. Windows that were sealed after the time of the restore come from their lists in the
state bucket: their files are claimed again, and their batches found.

Of a transaction that was made just before that time, DynamoDB may have restored a half:

    a claim without its order, or its place in a window    nobody would load the file: the claim is
                                                           deleted
    a place in a window without its claim                  another window would take the file, too:
                                                           it is claimed again
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

from aep_intake.adapters.aws.state_objects import StateObjects
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.restored import DynamoRestored, RestoredClaim
from aep_intake.adapters.dynamodb.table import ConditionFailed, Table
from aep_intake.clock.due import DueKind
from aep_intake.grouping import lists
from aep_intake.grouping.restore import restore
from aep_intake.model import records
from aep_intake.model.orders import WINDOW_PREFIX, LedgerIdentity
from aep_intake.model.times import DAY_MS, iso
from aep_intake.model.windows import Window, marker_id

from aep_intake_cli.clock import now
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import quantity

if TYPE_CHECKING:
    import boto3
    from aep_intake.model.files import Arrival
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from aep_intake_cli.stack import Stack

THREADS = 10
# S3 gives whole seconds, and so does who restores; the clocks of workers differ.
MARGIN = timedelta(minutes=5)
NAMED = 20  # files
WINDOWS_MAX = 10_000  # that are open at a time
EVER = 10**15  # epoch milliseconds


def prepare(
    stack: Stack,
    session: boto3.Session,
    *,
    table: str,
    since: datetime,
    look_first_days: int,
    first_table: str | None = None,
) -> Iterator[str]:
    """Prepare `table`; each line says what was done.

    `since`: the time to which it was restored. `first_table`: the ledger's first table, if `table`
    holds no id. Raises CommandFailed, IntakeError and botocore's errors.
    """
    dynamodb = session.client("dynamodb")
    retention_ms = int(stack.parameters["RetentionDays"]) * DAY_MS
    s3, bucket = session.client("s3"), stack.output("StateBucketName")
    lists_of_windows = StateObjects(lambda: s3, bucket)
    ledger = DynamoLedger(dynamodb, table, now, retention_ms, lists=lists_of_windows)
    restored_at = now()
    identity = ledger.identity.read() or LedgerIdentity(
        first_table or _source_table(dynamodb, table)
    )
    until = max(identity.look_first_until, restored_at + look_first_days * DAY_MS)
    ledger.identity.write(replace(identity, restored_at=restored_at, look_first_until=until))
    yield f"{table} is ledger {identity.ledger_id}; orders look in AEP first until {iso(until)}"
    windows = files = 0
    for key in _list_keys(s3, bucket, since):
        found = s3.get_object(Bucket=bucket, Key=key)["Body"]
        restored = _restore_window(found.iter_lines(), ledger)
        if restored is not None:
            windows, files = windows + 1, files + restored
    what = f"{quantity(windows, 'window')} of {quantity(files, 'file')}"
    yield f"restored {what}, sealed since {since.isoformat()}"
    restored_items = DynamoRestored(Table(dynamodb, table), retention_ms)
    earlier = since - MARGIN
    released = make_whole(ledger, restored_items, *map(_milliseconds, (earlier, since + MARGIN)))
    if released:
        yield f"released {quantity(len(released), 'file')}, whose order or window was not restored"
        yield from (f"  {uri}" for uri in released[:NAMED])
    yield f"next: deploy the stack with ExistingLedgerTable={table}"
    yield f"then send the events of all files since {earlier.isoformat()} again"


def make_whole(ledger: DynamoLedger, restored: DynamoRestored, since: int, until: int) -> list[str]:
    """Claim files again that joined a window from `since` to `until` (epoch ms) and have no claim.

    And delete claims of that time whose order or window is not there, or does not list the file;
    the URIs of these files. May be repeated, also on a ledger that works: what an order let go
    after it had joined, such as a lost file, is another order's to load.
    """
    for due in ledger.due_work.due(DueKind.WINDOWS, EVER, WINDOWS_MAX):
        window = ledger.windows.get(due.id)
        if window is not None:
            for file, joined_at in restored.listed(window, since):
                if not _let_go(file, joined_at, ledger):
                    ledger.windows.claim(window, file, None)
    claims: dict[str, list[RestoredClaim]] = defaultdict(list)
    for claim in restored.claims(since, until):
        claims[claim.owner].append(claim)
    released = [claim for owner in claims for claim in _alone(owner, claims[owner], ledger)]
    for claim in released:
        with suppress(ConditionFailed):  # a worker made it anew meanwhile
            restored.release(claim)
            if claim.owner.startswith(WINDOW_PREFIX) and not ledger.windows.get(claim.owner):
                restored.forget(claim.owner)
    return sorted({claim.file.uri for claim in released})


def _let_go(file: Arrival, joined_at: int, ledger: DynamoLedger) -> bool:
    """Whether a file was lost, or rejected with its order, after it had joined a window."""
    rejected = (
        seen.rejection
        for seen in ledger.seen(file.object_id)
        if seen.version == file.version and seen.rejection is not None
    )
    return any(rejection.at >= joined_at for rejection in rejected)


def _alone(owner: str, claims: list[RestoredClaim], ledger: DynamoLedger) -> list[RestoredClaim]:
    """Those of an order's or a window's claims with which it was not restored."""
    if not owner.startswith(WINDOW_PREFIX):
        return [] if ledger.get(owner) else claims
    window = ledger.windows.get(owner)
    if window is None:
        return claims
    wanted = {(claim.file.object_id, claim.file.version) for claim in claims}
    parts = (replace(part, key=window.key) for part in window.parts)
    files = chain.from_iterable(map(ledger.windows.versions, parts))
    for file in files if window.parts else ledger.windows.joined(owner):
        wanted.discard((file.object_id, file.version))
    return [
        claim
        for claim in claims
        if (claim.file.object_id, claim.file.version) in wanted and marker_id(claim.file) != owner
    ]


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _source_table(dynamodb: DynamoDBClient, table: str) -> str:
    """A ledger without an id is known by the name of its first table, which its batches carry."""
    described = dynamodb.describe_table(TableName=table)["Table"]
    source = described.get("RestoreSummary", {}).get("SourceTableArn")
    if source is None:
        raise CommandFailed(
            f"table {table} holds no id of a ledger, and DynamoDB does not say from which table it "
            "was restored: name the ledger's first table with --first-table"
        )
    return source.rpartition("/")[2]


def _list_keys(s3: S3Client, bucket: str, since: datetime) -> Iterator[str]:
    """Keys of the lists of windows that were sealed since then."""
    since -= MARGIN
    start = f"windows/{since.astimezone(UTC):%Y-%m-%d}"
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="windows/", StartAfter=start
    )
    for page in pages:
        for found in page.get("Contents", ()):
            if found["LastModified"] >= since:
                yield found["Key"]


def _restore_window(lines: Iterable[bytes], ledger: DynamoLedger) -> int | None:
    """Restore one window from its list: the number of its files; None: the ledger knows it."""
    lines = iter(lines)
    window = records.read(Window, next(lines).decode())
    with ThreadPoolExecutor(THREADS) as pool:
        return restore(window, lists.read(lines), ledger.windows, pool.map)
