"""Prepare a restored ledger: orders look in AEP first, and forgotten windows come back.

As long as messages from before the restore can come, an order looks in AEP for its batch before it
creates one. Windows that were sealed after the time of the restore come from their lists in the
state bucket: their files are claimed again, and their batches found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.grouping import lists
from aep_intake.grouping.restore import restore
from aep_intake.model import records
from aep_intake.model.orders import LedgerIdentity
from aep_intake.model.times import DAY_MS, iso
from aep_intake.model.windows import Window

from aep_intake_cli.clock import now
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import quantity

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from aep_intake_cli.stack import Stack

THREADS = 10


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
    ledger = DynamoLedger(dynamodb, table, now, retention_ms)
    restored_at = now()
    identity = ledger.identity.read() or LedgerIdentity(
        first_table or _source_table(dynamodb, table)
    )
    until = max(identity.look_first_until, restored_at + look_first_days * DAY_MS)
    ledger.identity.write(replace(identity, restored_at=restored_at, look_first_until=until))
    yield f"{table} is ledger {identity.ledger_id}; orders look in AEP first until {iso(until)}"
    s3 = session.client("s3")
    windows = files = 0
    for key in _list_keys(s3, stack.output("StateBucketName"), since):
        found = s3.get_object(Bucket=stack.output("StateBucketName"), Key=key)["Body"]
        restored = _restore_window(found.iter_lines(), ledger)
        if restored is not None:
            windows, files = windows + 1, files + restored
    what = f"{quantity(windows, 'window')} of {quantity(files, 'file')}"
    yield f"restored {what}, sealed since {since.isoformat()}"
    yield f"next: deploy the stack with ExistingLedgerTable={table}"


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
    # S3 gives whole seconds, and the clocks of workers differ.
    since -= timedelta(minutes=5)
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
