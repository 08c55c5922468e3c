"""All checks, in the order in which data flows. They change nothing and show no secret."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aep_intake import __version__
from aep_intake.adapters.adobe.schemas import Schemas
from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.adapters.dynamodb.parked import SHARDS, DynamoParked
from aep_intake.adapters.dynamodb.table import Table
from aep_intake.model.errors import IntakeError, PlatformUnavailable
from aep_intake.model.organizations import Organizations, covers, written
from aep_intake.routing import routes
from botocore.exceptions import BotoCoreError, ClientError

from aep_intake_cli.clock import now
from aep_intake_cli.connections import connected
from aep_intake_cli.datasets import adobe_clients, secret_name
from aep_intake_cli.doctor import adobe, aws
from aep_intake_cli.doctor.verdicts import NOTE, OK, PROBLEM, CheckVerdict, Findings
from aep_intake_cli.doctor.work import check_unfinished
from aep_intake_cli.documents import ROUTES_IDS, PublishedDocument, organizations_of, secrets_of
from aep_intake_cli.failures import CommandFailed, explain_aws_error
from aep_intake_cli.output import quantity
from aep_intake_cli.routing.lint import lint

if TYPE_CHECKING:
    import boto3
    from aep_intake.routing.table import Route
    from mypy_boto3_appconfig import AppConfigClient

    from aep_intake_cli.stack import Stack

REQUESTS_PER_SECOND = 5  # HTTP requests at most; a test compares it with the template
OUTAGE = (
    "Adobe does not serve the intake now (https://status.adobe.com). Change nothing: the intake "
    "tries again by itself, for a day"
)
# Queues of the previous release, by output: the update deletes them with their messages.
REMOVED_QUEUES = {
    "ArrivalRuleDlqUrl": "move them first: redrive --queue rule, of the release that is deployed",
    "TickDlqUrl": "no work is lost, since the clock runs again every minute",
}
# Outputs that name the functions with a queue.
QUEUE_FED = tuple(
    f"On{name}Function" for name in ("Arrival", "Marker", "Due", "Delivery", "Upload", "Journal")
)


@dataclass(frozen=True)
class CheckLine:
    """One line of the report: what was checked, the verdict, and what to know or do."""

    check: str
    verdict: CheckVerdict
    text: str


def run_check(check: str, findings: Findings) -> Iterator[CheckLine]:
    """The lines of one check. An error is a line too, and ends only this check."""
    try:
        for verdict, text in findings:
            yield CheckLine(check, verdict, text)
    except PlatformUnavailable as error:
        yield CheckLine(check, PROBLEM, f"{error.detail}: {OUTAGE}")
    except IntakeError as error:
        yield CheckLine(check, PROBLEM, error.detail)
    except (BotoCoreError, ClientError) as error:
        yield CheckLine(check, PROBLEM, explain_aws_error(error))


def examine(stack: Stack, session: boto3.Session) -> Iterator[CheckLine]:
    """Run all checks, in the order in which data flows. Raises CommandFailed."""
    output, parameters = stack.output, stack.parameters
    in_force: list[Organizations] = []
    yield from run_check("version", _check_version(stack))
    appconfig = session.client("appconfig")
    yield from run_check("organizations", _check_organizations(stack, appconfig, in_force))
    for organizations in in_force:
        per_minute = organizations.limits.batches_per_minute
        share = aws.check_requests_share(per_minute, REQUESTS_PER_SECOND)
        yield from run_check("batches a minute", share)
    s3 = session.client("s3")
    functions = session.client("lambda")
    queue_fed = [stack.outputs[name] for name in QUEUE_FED if name in stack.outputs]
    concurrency = aws.check_concurrency(functions, queue_fed, REQUESTS_PER_SECOND)
    yield from run_check("concurrency", concurrency)
    sqs = session.client("sqs")
    queue_arn = output("ArrivalsQueueArn")
    direct = parameters.get("ArrivalPath") == "Direct"
    for name in output("SourceBuckets").split(","):
        bucket = aws.check_bucket(s3, name, queue_arn, direct=direct)
        yield from run_check(f"bucket {name}", bucket)
    events = session.client("events")
    yield from run_check("arrivals queue", aws.check_rules(events, queue_arn, direct=direct))
    for name in map(output, ("OnArrivalFunction", "OnMarkerFunction", "OnDueFunction")):
        yield from run_check(f"function {name}", aws.check_event_source(functions, name))
    yield from run_check("arrivals queue", aws.check_queue(sqs, output("ArrivalsQueueUrl")))
    yield from run_check("due queue", aws.check_queue(sqs, output("DueQueueUrl")))
    for check, name, advice in (
        ("arrivals DLQ", "ArrivalsDlqUrl", "list them: aep-intake parked"),
        ("due DLQ", "DueDlqUrl", "follow its alarm, then purge it: the ledger has the orders"),
    ):
        yield from run_check(check, aws.check_queue(sqs, output(name), advice))
    if "OnJournalFunction" in stack.outputs:
        name, advice = output("OnJournalFunction"), "follow its alarm, and send them again"
        yield from run_check(f"function {name}", aws.check_event_source(functions, name))
        dlq = aws.check_queue(sqs, output("JournalDlqUrl"), advice)
        yield from run_check("journal DLQ", dlq)
    for name in REMOVED_QUEUES.keys() & stack.outputs.keys():
        advice = f"the next update deletes them with the queue; {REMOVED_QUEUES[name]}"
        yield from run_check(name, aws.check_queue(sqs, output(name), advice))
    yield from _check_deliveries(stack, session)
    stacks = session.client("cloudformation")
    watch = session.client("cloudwatch")
    yield from run_check("alarms", aws.check_alarms(stacks, watch, stack.name))
    topic = aws.check_alarm_topic(session.client("sns"), parameters.get("AlarmTopicArn", ""))
    yield from run_check("alarm topic", topic)
    for organizations in in_force:
        yield from _check_adobe(stack, session, organizations)
    yield from _check_ledger(stack, session)


def _check_ledger(stack: Stack, session: boto3.Session) -> Iterator[CheckLine]:
    """The ledger, and what it says that waits for somebody."""
    dynamodb = session.client("dynamodb")
    ledger = DynamoLedger(dynamodb, stack.output("LedgerTable"), now, retention_ms=0)
    table = stack.output("LedgerTable")
    yield from run_check(f"ledger {table}", aws.check_ledger(dynamodb, table))
    buckets = stack.output("SourceBuckets").split(",")
    known = aws.check_connections(lambda: connected(stack, Table(dynamodb, table)), buckets)
    yield from run_check("connections", known)
    with ThreadPoolExecutor(SHARDS) as pool:
        parked = DynamoParked(Table(dynamodb, table))
        yield from run_check("parked", aws.check_parked(lambda: parked.counts(pool.map)))
    yield from run_check("work", check_unfinished(ledger, now()))
    batches = aws.check_profile_batches(ledger.profile_batches.made, now())
    yield from run_check("batches for Profile", batches)
    lookups = aws.check_lookup_batches(ledger.profile_batches.of_lookups, now())
    yield from run_check("batches of lookup datasets", lookups)


def _check_version(stack: Stack) -> Findings:
    """The command and the stack are of one release, since both write the ledger."""
    deployed = stack.outputs.get("Version", "0.1.0")  # which had no such output at first
    if deployed == __version__:
        yield OK, f"the stack and this command are of release {deployed}"
    else:
        yield (
            NOTE,
            f"the stack is of release {deployed}, and this command of {__version__}: install the "
            "command of the stack's release",
        )


def _check_deliveries(stack: Stack, session: boto3.Session) -> Iterator[CheckLine]:
    """Checks of what fills batches, if the stack does that."""
    if "OnDeliveryFunction" not in stack.outputs:
        yield CheckLine(
            "deliveries", OK, "another application delivers the batches (DeliverBatches)"
        )
        return
    output, url = stack.output, stack.output("DeliveriesQueueUrl")
    # The stack's queues are all in one account and region.
    arn = f"{output('ArrivalsQueueArn').rpartition(':')[0]}:{url.rpartition('/')[2]}"
    events = session.client("events")
    functions = session.client("lambda")
    sqs = session.client("sqs")
    yield from run_check("deliveries queue", aws.check_rules(events, arn, output("BusName")))
    for name in map(output, ("OnDeliveryFunction", "OnUploadFunction")):
        yield from run_check(f"function {name}", aws.check_event_source(functions, name))
    yield from run_check("deliveries queue", aws.check_queue(sqs, url))
    yield from run_check("uploads queue", aws.check_queue(sqs, output("UploadsQueueUrl")))
    for queue, name in (("deliveries", "DeliveriesDlqUrl"), ("uploads", "UploadsDlqUrl")):
        advice = f"list them: aep-intake parked --queue {queue}"
        yield from run_check(f"{queue} DLQ", aws.check_queue(sqs, output(name), advice))


def _check_organizations(
    stack: Stack, appconfig: AppConfigClient, in_force: list[Organizations]
) -> Findings:
    """Organizations and limits are in force. They are appended to `in_force`."""
    try:
        organizations = organizations_of(stack, appconfig)
    except CommandFailed as error:
        yield PROBLEM, str(error)
        return
    for arn in organizations.credentials:
        if not covers(secrets_of(stack), arn):
            name = secret_name(arn)
            yield PROBLEM, f"{name} is not in CredentialSecrets, so no function may read it"
    in_force.append(organizations)
    changed = written(organizations).get("limits", {})
    text = ", ".join(f"{name} {value}" for name, value in changed.items()) or "all by default"
    yield OK, f"{quantity(len(organizations.all), 'organization')}; limits: {text}"


def _check_adobe(
    stack: Stack, session: boto3.Session, allowed: Organizations
) -> Iterator[CheckLine]:
    credentials, platform = adobe_clients(stack, session)
    ims_orgs: dict[str, str | None] = {}
    for arn in allowed.credentials:
        findings = list(run_check(secret_name(arn), adobe.check_credential(credentials, arn)))
        works = all(finding.verdict is OK for finding in findings)
        ims_orgs[arn] = credentials.ims_org(arn) if works else None
        yield from findings
    for name in dict.fromkeys(name for one in allowed.all for name in one.sandboxes):
        working = {
            one.credential: ims_org
            for one in allowed.all
            if name in one.sandboxes and (ims_org := ims_orgs[one.credential])
        }
        yield from run_check(f"sandbox {name}", adobe.check_sandbox(platform, name, working))
    appconfig = session.client("appconfig")
    document = PublishedDocument(appconfig, *(stack.output(name) for name in ROUTES_IDS))
    table: list[Route] = []
    schemas = Schemas(platform)
    yield from run_check("routes", _check_routes(document, allowed, table, delivers=stack.delivers))
    for route in table:
        if "ignore" not in route.written:
            dataset = adobe.check_dataset(platform, route, allowed, ims_orgs, schemas)
            yield from run_check(f"route {route.name}", dataset)


def _check_routes(
    published: PublishedDocument,
    in_force: Organizations,
    table: list[Route],
    *,
    delivers: bool,
) -> Findings:
    """A table without problems is live. Its routes are appended to `table`."""
    live = published.live_versions()
    if not live:
        yield PROBLEM, "no routes are live, so files wait: aep-intake routes publish TABLE"
        return
    document = published.read(live[-1])
    problems = lint(document, in_force, delivers=delivers)
    for problem in problems:
        yield PROBLEM, f"version {live[-1]}, {problem.field}: {problem.text}"
    if not problems:
        table += routes.parse(document, str(live[-1])).routes
        yield OK, f"version {live[-1]} is live: {quantity(len(table), 'route')}, no problems"
