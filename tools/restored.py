"""Make a restored ledger fit to go on: it asks AEP first, and has the windows it has forgotten.

    python -m tools.restored --table NAME --since TIME        (make restored TABLE=… SINCE=…)

For a table that DynamoDB restored, before the stack is deployed with it. TIME is the one it was
restored to, such as 2026-11-28T09:00:00Z. Orders ask AEP for a batch of theirs before they make
one, for as long as messages of before can come (--days). What windows gathered since TIME comes
from their lists in the state bucket: their files are claimed again, and their batches found. May be
repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
from aep_intake import lists, records
from aep_intake.adapters.ledger import DynamoLedger
from aep_intake.announcements import iso
from aep_intake.errors import IntakeError
from aep_intake.orders import Identity
from aep_intake.windows import Window, restore
from botocore.exceptions import BotoCoreError, ClientError

from tools import checks
from tools.checks import PATIENCE
from tools.deployed import Deployed, NotOurs, deployed
from tools.failures import in_words
from tools.words import several

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

DAYS = 22  # for which a message can live, in a queue and a dead-letter queue
AT_ONCE = 10


class CannotGoOn(Exception):
    """Why the ledger cannot be made fit, in words for people."""


def main(arguments: list[str] | None = None) -> int:
    asked = argparse.ArgumentParser(
        prog="tools.restored", description=(__doc__ or "").partition("\n")[0]
    )
    asked.add_argument("--stack-name", default=os.environ.get("STACK", "aep-intake"))
    asked.add_argument("--table", required=True, help="the table that was restored")
    asked.add_argument("--since", required=True, type=_time, help="what it was restored to, in UTC")
    asked.add_argument("--days", type=int, default=DAYS, help=f"that orders look first: {DAYS}")
    asked.add_argument("--first-table", help="the ledger's first table, where it has no id yet")
    given = asked.parse_args(arguments)
    session = boto3.Session()
    try:
        stack = deployed(session.client("cloudformation", config=PATIENCE), given.stack_name)
        for line in restored(stack, session, given):
            print(line, flush=True)
    except (BotoCoreError, ClientError) as error:
        print(in_words(error), file=sys.stderr)
    except (CannotGoOn, IntakeError, NotOurs) as error:
        print(error, file=sys.stderr)
    else:
        return 0
    return 1


def restored(stack: Deployed, session: boto3.Session, given: argparse.Namespace) -> Iterator[str]:
    """Do it, and tell what was done. Raises CannotGoOn, IntakeError, NotOurs and botocore's."""
    dynamodb = session.client("dynamodb", config=PATIENCE)
    retention = int(stack.parameters["RetentionDays"]) * 86_400_000
    ledger = DynamoLedger(dynamodb, given.table, checks.now, retention)
    now = checks.now()
    known = ledger.identity.read() or Identity(_first_table(dynamodb, given))
    until = max(known.look_first_until, now + given.days * 86_400_000)
    ledger.identity.write(replace(known, restored_at=now, look_first_until=until))
    yield f"{given.table} is the ledger {known.ledger_id}; orders look first until {iso(until)}"
    s3 = session.client("s3", config=PATIENCE)
    windows = files = 0
    for key in _lists(s3, stack.output("StateBucketName"), given.since):
        found = s3.get_object(Bucket=stack.output("StateBucketName"), Key=key)["Body"]
        joined = _put_back(found.iter_lines(), ledger)
        if joined is not None:
            windows, files = windows + 1, files + joined
    back = f"{several(windows, 'window')} of {several(files, 'file')}"
    yield f"{back} put back, as sealed since {given.since.isoformat()}"
    yield f"now deploy the stack with ExistingLedgerTable={given.table}"


def _time(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _first_table(dynamodb: DynamoDBClient, given: argparse.Namespace) -> str:
    """The id of a ledger that has none yet: its batches carry the name of its first table."""
    if given.first_table:
        return str(given.first_table)
    described = dynamodb.describe_table(TableName=given.table)["Table"]
    source = described.get("RestoreSummary", {}).get("SourceTableArn")
    if source is None:
        raise CannotGoOn(
            f"{given.table} holds no id of a ledger, and DynamoDB does not tell of which table it "
            "was restored: name the ledger's first one with --first-table"
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


if __name__ == "__main__":
    sys.exit(main())
