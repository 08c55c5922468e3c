"""The part of `make bench` about backfills: objects a second, beside a bare loop of boto3."""

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import batched
from statistics import median
from typing import Any

from aep_intake.adapters.aws.inventory import listing
from aep_intake.adapters.aws.sqs import Queues
from aep_intake.adapters.dynamodb.backfills import DynamoBackfills
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals.backfills import Backfill, BackfillPorts, Bounds, run
from aep_intake.routing import routes
from aep_intake.routing.globs import compile_wildcard
from aep_intake.routing.wanted import is_wanted
from aep_intake_cli.backfill import running
from aep_intake_cli.clock import now

from local.aws import REGION
from local.bench.figures import Figure, Section
from local.stack import LocalStack

MOST = 1.43  # of the loop's time: 0.7 of its objects a second
WRITERS = 8
# No further run begins after that: one of a hundred thousand objects is enough.
RUNS_SECONDS = 120.0
ROUTES = {"routes": [{"name": "all", "match": "in/**", "datasetId": "5c8c3c555033b814b69f947f"}]}


def backfilled(stack: LocalStack, objects: int, runs: int) -> Section:
    """List a bucket that nobody listens to, and send what is there into a queue nobody reads."""
    s3, sqs, bucket = stack.aws.s3, stack.aws.sqs, f"backfilled-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with ThreadPoolExecutor(WRITERS) as pool:
        keys = (f"in/day={n % 7}/{n:07}.json" for n in range(objects))
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"{}\n"), keys))
    table = routes.parse(json.dumps(ROUTES), "v1")

    def bare(url: str) -> None:
        sent = 0
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for some in batched(page["Versions"], 10, strict=False):
                entries: Any = [
                    {"Id": str(n), "MessageBody": json.dumps([v["Key"], v["VersionId"]])}
                    for n, v in enumerate(some)
                ]
                sqs.send_message_batch(QueueUrl=url, Entries=entries)
                sent += len(entries)
        assert sent == objects

    def ours(url: str) -> None:
        ledger = DynamoBackfills(Table(stack.aws.dynamodb, stack.outputs["LedgerTable"]))
        backfill = Backfill(f"backfill-{uuid.uuid4().hex}", bucket, "", now() + 60_000)
        ledger.begin(backfill)
        wanted = partial(is_wanted, keys=compile_wildcard("*"), table=table)
        bounds = Bounds(backfill, now(), (), 0, wanted)
        ports = BackfillPorts(
            ledger,
            listing(lambda: s3, bucket, None).pages,
            partial(running.send, Queues(sqs), url),
            lambda: running.backlog(sqs, url) >= 0,
            time.sleep,
            now,
        )
        [*_, last] = run(bounds, ports)
        assert last.backfill.sent == objects

    def seconds(work: Callable[[str], None]) -> float:
        # A queue of its own: how many messages are in one takes the emulator longer, the more are.
        url = sqs.create_queue(QueueName=f"backfilled-{uuid.uuid4().hex}")["QueueUrl"]
        began = time.perf_counter()
        work(url)
        took = time.perf_counter() - began
        sqs.delete_queue(QueueUrl=url)
        return took

    times: dict[str, list[float]] = {"bare": [], "ours": []}
    while len(times["ours"]) < runs and sum(map(sum, times.values())) < RUNS_SECONDS:
        times["bare"].append(seconds(bare))
        times["ours"].append(seconds(ours))
    ratio = median(o / b for o, b in zip(times["ours"], times["bare"], strict=True))
    return Section(
        f"A backfill of {objects:,} objects, medians of {len(times['ours'])}",
        (
            Figure("a bare loop: objects a second", f"{objects / median(times['bare']):,.0f}"),
            Figure("ours: objects a second", f"{objects / median(times['ours']):,.0f}"),
            Figure("time of ours ÷ the loop's", f"{ratio:.2f}", ratio, MOST),
        ),
    )
