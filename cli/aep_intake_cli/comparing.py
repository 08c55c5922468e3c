"""A comparison of a deployed stack's buckets, ledger and Catalog, from an operator's machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aep_intake.adapters.aws.inventory import listing, read
from aep_intake.adapters.aws.sqs import Queues
from aep_intake.adapters.dynamodb.comparisons import DynamoComparisons
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.arrivals.reconcile import Comparison, FindingKind, ReconcilePorts
from aep_intake.model import messages
from aep_intake.model.batches import Target
from aep_intake.model.errors import Rejected
from aep_intake.model.times import DAY_MS, iso
from aep_intake.routing import routes
from aep_intake.routing.globs import beginning_of, compile_wildcard
from aep_intake.routing.wanted import is_wanted
from rich.table import Column
from rich.table import Table as Grid
from rich.text import Text

from aep_intake_cli.clock import now
from aep_intake_cli.connections import connected
from aep_intake_cli.datasets import adobe_clients
from aep_intake_cli.documents import check_route, live_routes, organizations_of
from aep_intake_cli.failures import CommandFailed
from aep_intake_cli.output import quantity

if TYPE_CHECKING:
    import boto3
    from aep_intake.model.files import Arrival
    from aep_intake.routing.table import RoutingTable

    from aep_intake_cli.stack import Stack

THREADS = 10
SAID = {
    FindingKind.NEVER_CAME: "no event came of it: sent again",
    FindingKind.SENT: "sent before, and no worker came to an end with it: see aep-intake parked",
    FindingKind.NO_ORDER: "it claims an object, and the ledger does not have it",
    FindingKind.NOT_DELIVERED: "the batch was announced, but nobody delivers it: send it again",
    FindingKind.UNUSABLE: "the bucket was listed in place of its inventory: mend that",
    FindingKind.UNKNOWN_BATCH: "the ledger does not know it: compare its rows with its file",
}


@dataclass(frozen=True)
class Comparing:
    """A comparison that can begin, and what it works with."""

    comparison: Comparison
    ports: ReconcilePorts


def prepare(
    stack: Stack,
    session: boto3.Session,
    route: str | None,
    day: int | None,
    inventory_uri: str | None,
) -> Comparing:
    """A comparison about one route (None: all) and one day, by its begin in epoch milliseconds.

    `inventory_uri`: of the manifest of an S3 Inventory; the comparison is of its bucket alone.
    Raises CommandFailed, IntakeError and botocore's errors.
    """
    dynamodb, appconfig = session.client("dynamodb"), session.client("appconfig")
    name, retention_ms = (
        stack.output("LedgerTable"),
        int(stack.parameters["RetentionDays"]) * DAY_MS,
    )
    table = Table(dynamodb, name)
    ledger = DynamoLedger(dynamodb, name, now, retention_ms)
    comparisons = DynamoComparisons(table, ledger, now, keeps=False)
    document = live_routes(stack, appconfig)
    published = routes.parse(document, "live")
    if route is not None:
        check_route(route, document)
    buckets, s3 = stack.output("SourceBuckets").split(","), session.client("s3")
    listed = None if inventory_uri is None else read(s3, inventory_uri, *buckets)
    buckets = buckets if listed is None else [listed.bucket]
    last, identity = comparisons.last(), ledger.identity.read()
    comparison = Comparison.begin(now(), retention_ms, buckets, last, identity)
    if day is not None:
        comparison = of_day(day, comparison)
    if listed is not None:
        comparison = known_by(listed.made, comparison)
    pattern = stack.parameters["KeyPattern"]
    keys, prefix = compile_wildcard(pattern), beginning_of(pattern)
    _, platform = adobe_clients(stack, session)
    queues, url = Queues(session.client("sqs")), stack.output("ArrivalsQueueUrl")
    ports = ReconcilePorts(
        ledger=comparisons,
        inventory=lambda *_: inventory_uri,
        listing=lambda bucket, uri: listing(lambda: s3, bucket, uri, prefix),
        wanted=lambda file: is_wanted(file, keys, published) and _is_of(route, file, published),
        connected=connected(stack, table),
        send=lambda files: queues.send_all(url, map(messages.of_arrival, files)),
        # A batch that the ledger does not know has no route.
        sandboxes=lambda: [] if route else _sandboxes(stack, session),
        batches=platform.tagged,
        ledger_id=lambda: ledger.identity.get().ledger_id,
        delivers=stack.delivers,
        now=now,
        side_by_side=_side_by_side,
    )
    return Comparing(comparison, ports)


def of_day(day: int, comparison: Comparison) -> Comparison:
    """The comparison, of one day by its begin (epoch ms). Raises CommandFailed if that is none."""
    found = comparison.of_times(day, day + DAY_MS)
    if found.since >= found.until:
        raise CommandFailed(
            "nothing of that day can be compared now: only what was written from "
            f"{iso(comparison.since)} to {iso(comparison.until)}"
        )
    return found


def known_by(made: int, comparison: Comparison) -> Comparison:
    """The comparison, of what an inventory that was made then (epoch ms) can know.

    Raises CommandFailed if that is nothing.
    """
    if made <= comparison.since:
        raise CommandFailed(
            f"this inventory was made at {iso(made)}, and knows nothing of the time that is "
            "compared: take a newer one, or compare without one"
        )
    return replace(comparison, until=min(comparison.until, made))


def _is_of(route: str | None, file: Arrival, table: RoutingTable) -> bool:
    if route is None:
        return True
    try:
        return table.match(file).route == route
    except Rejected:
        return False


def _sandboxes(stack: Stack, session: boto3.Session) -> Iterator[Target]:
    credentials, _ = adobe_clients(stack, session)
    for organization in organizations_of(stack, session.client("appconfig")).all:
        ims_org = credentials.ims_org(organization.credential)
        for sandbox in organization.sandboxes:
            yield Target(organization.credential, ims_org, sandbox, "")


def _side_by_side[T, R](work: Callable[[T], R], values: Iterable[T], /) -> list[R]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, values))


def shown(found: Comparison) -> Iterator[Grid | Text]:
    """For people."""
    looked = quantity(found.looked_at, "object")
    yield Text(f"Compared: {looked}, written from {iso(found.since)} to {iso(found.until)}.")
    if found.told:
        grid = Grid("why no batch has it", Column("objects", justify="right"))
        for fate, number in sorted(found.told.items()):
            grid.add_row(Text(fate), f"{number:,}")
        yield grid
    if not found.found:
        yield Text("Nothing is lost.")
        return
    grid = Grid("found", Column("what", overflow="fold"), Column("about it", overflow="fold"))
    for one in found.named:
        grid.add_row(Text(one.found), Text(one.about), Text(SAID[one.found]))
    yield grid
    if (more := sum(found.found.values()) - len(found.named)) > 0:
        yield Text(f"… and {more:,} more.")


def to_json(found: Comparison) -> dict[str, Any]:
    """For programs."""
    return {
        "since": iso(found.since),
        "until": iso(found.until),
        "lookedAt": found.looked_at,
        "told": dict(found.told),
        "found": dict(found.found),
        "findings": [{"found": one.found, "about": one.about} for one in found.named],
    }
