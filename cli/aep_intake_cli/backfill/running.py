"""A backfill of a deployed stack: what decides about it, and what it works with."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING

from aep_intake.adapters.aws.inventory import listing
from aep_intake.adapters.aws.sqs import Queues
from aep_intake.adapters.dynamodb.backfills import DynamoBackfills
from aep_intake.adapters.dynamodb.claims import DynamoClaims
from aep_intake.adapters.dynamodb.comparisons import last_comparison
from aep_intake.adapters.dynamodb.identity import DynamoIdentity
from aep_intake.adapters.dynamodb.listing import DynamoListed
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals.backfills import Backfill, BackfillPorts, Bounds
from aep_intake.arrivals.reconcile import remembered_since
from aep_intake.model import messages
from aep_intake.model.files import BACKFILL_PREFIX, Arrival
from aep_intake.model.times import DAY_MS, day_of
from aep_intake.routing import routes
from aep_intake.routing.globs import compile_wildcard
from aep_intake.routing.wanted import is_wanted

from aep_intake_cli import standing
from aep_intake_cli.backfill.taken import Taken
from aep_intake_cli.clock import now
from aep_intake_cli.connections import connected
from aep_intake_cli.documents import live_routes
from aep_intake_cli.failures import CommandFailed

if TYPE_CHECKING:
    import boto3
    from aep_intake.routing.table import RoutingTable
    from mypy_boto3_sqs import SQSClient

    from aep_intake_cli.stack import Stack

# Messages that may wait for the functions, or be put off: those of the day wait behind them.
BACKLOG_MAX = 5000
SENDERS = 10  # calls of SQS at the same time; each takes ten messages


@dataclass(frozen=True)
class Asked:
    """What the operator asks for. `since`: epoch milliseconds."""

    bucket: str
    prefix: str
    since: int = 0
    even_if_loaded: bool = False
    inventory: str | None = None

    def begun(self) -> Backfill:
        """A new backfill."""
        began = now()
        return Backfill(
            f"{BACKFILL_PREFIX}{day_of(began)}-{uuid.uuid4().hex[:6]}",
            self.bucket,
            self.prefix,
            began,
            self.since,
            self.even_if_loaded,
            self.inventory,
        )


@dataclass(frozen=True)
class Running:
    """A backfill that can go on: `new` is not in the ledger yet."""

    bounds: Bounds
    table: RoutingTable
    ports: BackfillPorts
    taken: Taken
    backfills: DynamoBackfills
    new: bool


def prepare(stack: Stack, session: boto3.Session, asked: Asked | str) -> Running:
    """What an operator asks for, or the backfill with that id, ready to go on.

    Raises CommandFailed, IntakeError and botocore's errors.
    """
    ledger = Table(session.client("dynamodb"), stack.output("LedgerTable"))
    backfills = DynamoBackfills(ledger)
    known = backfills.all()
    backfill, new = _found(asked, known)
    if backfill.bucket not in stack.output("SourceBuckets").split(","):
        raise CommandFailed(
            f"{backfill.bucket} is not a source bucket of stack {stack.name}: deploy the stack "
            "with it in SourceBucketNames first"
        )
    since = connected(stack, ledger).get(backfill.bucket)
    if since is None and not backfill.even_if_loaded:
        raise CommandFailed(
            f"the ledger does not know since when {backfill.bucket} is connected, so it cannot "
            "know which objects events have brought. Say it: aep-intake connect "
            f"{backfill.bucket} --since TIME (the present time, if it never was)"
        )
    table = routes.parse(live_routes(stack, session.client("appconfig")), "live")
    bounds = Bounds(
        backfill,
        since,
        tuple(other for other in known if other.bucket == backfill.bucket and other != backfill),
        oldest=remembered_since(
            now(),
            int(stack.parameters["RetentionDays"]) * DAY_MS,
            last_comparison(ledger),
            DynamoIdentity(ledger, "", now).read(),
        ),
        wanted=partial(
            is_wanted, keys=compile_wildcard(stack.parameters["KeyPattern"]), table=table
        ),
    )
    sqs, s3 = session.client("sqs"), session.client("s3")
    url = stack.output("ArrivalsQueueUrl")
    ports = BackfillPorts(
        ledger=backfills,
        pages=listing(lambda: s3, backfill.bucket, backfill.inventory, backfill.prefix).pages,
        send=partial(send, Queues(sqs), url),
        has_room=lambda: backlog(sqs, url) <= BACKLOG_MAX,
        sleep=time.sleep,
        now=now,
    )
    listed, status = DynamoListed(ledger, lambda: ()), standing.status_ports(stack, session)
    taken = Taken(DynamoClaims(ledger, now), listed, status)
    return Running(bounds, table, ports, taken, backfills, new)


def _found(asked: Asked | str, known: list[Backfill]) -> tuple[Backfill, bool]:
    """The backfill, and whether it is a new one. Raises CommandFailed."""
    if isinstance(asked, Asked):
        new = asked.begun()
        same = [one for one in known if one.ended is None and one.asked == new.asked]
        return (same[0], False) if same else (new, True)
    for one in known:
        if one.backfill_id == asked:
            if one.ended is None:
                return one, False
            raise CommandFailed(f"{asked} has ended")
    raise CommandFailed(f"the ledger knows no backfill {asked}")


def send(queues: Queues, url: str, files: list[Arrival]) -> None:
    """Send them to the arrivals queue. Raises StorageUnavailable if SQS did not take all."""
    together = batched(map(messages.of_arrival, files), 10, strict=False)
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(lambda bodies: queues.send_all(url, bodies), together))


def backlog(sqs: SQSClient, url: str) -> int:
    """How many messages are in the queue: they wait, are worked on, or are put off."""
    counted = sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )["Attributes"]
    return sum(map(int, counted.values()))
