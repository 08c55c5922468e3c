"""Making a restored ledger fit to go on: it asks AEP first, and has the windows it has forgotten.

Orders ask AEP for a batch of theirs before they make one, for as long as messages of before can
come. What windows gathered since the time it was restored to comes from their lists in the state
bucket: their files are claimed again, and their batches found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.grouping import lists
from aep_intake.grouping.windows import Window, restore
from aep_intake.model import records
from aep_intake.model.orders import Identity
from aep_intake.model.times import DAY_MS, iso

from aep_intake_cli.clock import now
from aep_intake_cli.deployed import PATIENCE
from aep_intake_cli.failures import CannotGoOn
from aep_intake_cli.words import several

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from aep_intake_cli.deployed import Deployed

AT_ONCE = 10


def restored(
    stack: Deployed,
    session: boto3.Session,
    *,
    table: str,
    since: datetime,
    look_first_days: int,
    first_table: str | None = None,
) -> Iterator[str]:
    """Make `table` fit to go on, and tell what was done.

    `since`: what it was restored to. `first_table`: the ledger's first one, where it has no id yet.
    Raises CannotGoOn, IntakeError and botocore's.
    """
    dynamodb = session.client("dynamodb", config=PATIENCE)
    retention = int(stack.parameters["RetentionDays"]) * DAY_MS
    ledger = DynamoLedger(dynamodb, table, now, retention)
    restored_at = now()
    known = ledger.identity.read() or Identity(first_table or _source(dynamodb, table))
    until = max(known.look_first_until, restored_at + look_first_days * DAY_MS)
    ledger.identity.write(replace(known, restored_at=restored_at, look_first_until=until))
    yield f"{table} is the ledger {known.ledger_id}; orders look first until {iso(until)}"
    s3 = session.client("s3", config=PATIENCE)
    windows = files = 0
    for key in _lists(s3, stack.output("StateBucketName"), since):
        found = s3.get_object(Bucket=stack.output("StateBucketName"), Key=key)["Body"]
        joined = _put_back(found.iter_lines(), ledger)
        if joined is not None:
            windows, files = windows + 1, files + joined
    back = f"{several(windows, 'window')} of {several(files, 'file')}"
    yield f"{back} put back, as sealed since {since.isoformat()}"
    yield f"now deploy the stack with ExistingLedgerTable={table}"


def _source(dynamodb: DynamoDBClient, table: str) -> str:
    """The id of a ledger that has none yet: its batches carry the name of its first table."""
    described = dynamodb.describe_table(TableName=table)["Table"]
    source = described.get("RestoreSummary", {}).get("SourceTableArn")
    if source is None:
        raise CannotGoOn(
            f"{table} holds no id of a ledger, and DynamoDB does not tell of which table it was "
            "restored: name the ledger's first one with --first-table"
        )
    return source.rpartition("/")[2]


def _lists(s3: S3Client, bucket: str, since: datetime) -> Iterator[str]:
    """The keys of the lists of windows that were sealed since then."""
    # S3 tells whole seconds, and the clocks of those who sealed differ.
    since -= timedelta(minutes=5)
    start = f"windows/{since.astimezone(UTC):%Y-%m-%d}"
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix="windows/", StartAfter=start
    )
    for page in pages:
        for found in page.get("Contents", ()):
            if found["LastModified"] >= since:
                yield found["Key"]


def _put_back(lines: Iterable[bytes], ledger: DynamoLedger) -> int | None:
    """Put one window back from its list; how many files it has, None if the ledger knows it."""
    lines = iter(lines)
    window = records.read(Window, next(lines).decode())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return restore(window, lists.read(lines), ledger.windows, pool.map)
