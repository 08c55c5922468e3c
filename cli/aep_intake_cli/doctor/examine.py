"""All checks, in the order of the data's way. They change nothing, and show no secret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aep_intake.adapters.dynamodb.ledger import DynamoLedger
from aep_intake.model.errors import IntakeError
from aep_intake.model.organizations import Organizations, covers, written
from aep_intake.model.times import day_of
from aep_intake.routing import routes
from botocore.exceptions import BotoCoreError, ClientError

from aep_intake_cli.clock import now
from aep_intake_cli.datasets import adobe_of, secret_name
from aep_intake_cli.deployed import PATIENCE
from aep_intake_cli.doctor import adobe, aws
from aep_intake_cli.doctor.verdicts import OK, PROBLEM, Findings, Verdict
from aep_intake_cli.failures import CannotGoOn, of_aws
from aep_intake_cli.published import IDS, Published, organizations_of, secrets
from aep_intake_cli.routing.lint import lint
from aep_intake_cli.words import several

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_appconfig import AppConfigClient

    from aep_intake_cli.deployed import Deployed

REQUESTS_PER_SECOND = 5  # that the HTTP endpoint takes; a test compares it with the template
# Queues of the release before, by output: what is in them goes with the update.
GOING = {
    "ArrivalRuleDlqUrl": "move them first, with the redrive --queue rule of the release deployed",
    "TickDlqUrl": "nothing is lost by it: the clock goes on",
}
# Outputs that name the functions fed from queues.
FED = ("OnArrivalFunction", "OnDueFunction", "OnDeliveryFunction", "OnUploadFunction")


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, how it is, and what to know or do."""

    check: str
    verdict: Verdict
    text: str


def found(check: str, findings: Findings) -> Iterator[Finding]:
    """The lines of one check; what goes wrong in it is a line too, and ends only this check."""
    try:
        for verdict, text in findings:
            yield Finding(check, verdict, text)
    except IntakeError as error:
        yield Finding(check, PROBLEM, error.detail)
    except (BotoCoreError, ClientError) as error:
        yield Finding(check, PROBLEM, of_aws(error))


def examine(stack: Deployed, session: boto3.Session) -> Iterator[Finding]:
    """All checks, in the order of the data's way. Raises CannotGoOn."""
    output, parameters = stack.output, stack.parameters
    allowed: list[Organizations] = []
    appconfig = session.client("appconfig", config=PATIENCE)
    yield from found("organizations", _organizations(stack, appconfig, allowed))
    for organizations in allowed:
        per_minute = organizations.limits.batches_per_minute
        yield from found("pace", aws.pace(per_minute, REQUESTS_PER_SECOND))
    s3 = session.client("s3", config=PATIENCE)
    functions = session.client("lambda", config=PATIENCE)
    fed = [stack.outputs[name] for name in FED if name in stack.outputs]
    yield from found("concurrency", aws.concurrency(functions, fed, REQUESTS_PER_SECOND))
    sqs = session.client("sqs", config=PATIENCE)
    queue_arn = output("ArrivalsQueueArn")
    direct = parameters.get("ArrivalPath") == "Direct"
    for name in output("SourceBuckets").split(","):
        looked = aws.bucket(s3, name, queue_arn, direct=direct)
        yield from found(f"bucket {name}", looked)
    events = session.client("events", config=PATIENCE)
    yield from found("arrivals queue", aws.rules(events, queue_arn, direct=direct))
    for name in ("OnArrivalFunction", "OnMarkerFunction", "OnDueFunction"):
        yield from found(f"function {output(name)}", aws.mapping(functions, output(name)))
    yield from found("arrivals queue", aws.queue(sqs, output("ArrivalsQueueUrl")))
    yield from found("due queue", aws.queue(sqs, output("DueQueueUrl")))
    for check, dead, advice in (
        ("arrivals DLQ", "ArrivalsDlqUrl", "list them: aep-intake redrive --dry-run"),
        ("due DLQ", "DueDlqUrl", "see its alarm, then purge it: the ledger knows them"),
    ):
        yield from found(check, aws.queue(sqs, output(dead), advice))
    for going in GOING.keys() & stack.outputs.keys():
        advice = f"the next update deletes them with the queue; {GOING[going]}"
        yield from found(going, aws.queue(sqs, output(going), advice))
    yield from _deliveries(stack, session)
    stacks = session.client("cloudformation", config=PATIENCE)
    watch = session.client("cloudwatch", config=PATIENCE)
    yield from found("alarms", aws.alarms(stacks, watch, stack.name))
    sns = session.client("sns", config=PATIENCE)
    topic = parameters.get("AlarmTopicArn", "")
    yield from found("alarm topic", aws.alarm_topic(sns, topic))
    for organizations in allowed:
        yield from _adobe(stack, session, organizations)
    dynamodb = session.client("dynamodb", config=PATIENCE)
    ledger = DynamoLedger(dynamodb, stack.output("LedgerTable"), now, retention=0)
    if stack.parameters.get("ExistingLedgerTable"):
        table = stack.output("LedgerTable")
        yield from found(f"ledger {table}", aws.ledger(dynamodb, table))
    yield from found("quota", aws.quota(ledger.made, day_of(now())))


def _deliveries(stack: Deployed, session: boto3.Session) -> Iterator[Finding]:
    """What it takes to fill batches, where the stack does that."""
    if "OnDeliveryFunction" not in stack.outputs:
        yield Finding("deliveries", OK, "batches are delivered by others")
        return
    output, url = stack.output, stack.output("DeliveriesQueueUrl")
    # The stack's queues are all in one account and region.
    arn = f"{output('ArrivalsQueueArn').rpartition(':')[0]}:{url.rpartition('/')[2]}"
    events = session.client("events", config=PATIENCE)
    functions = session.client("lambda", config=PATIENCE)
    sqs = session.client("sqs", config=PATIENCE)
    yield from found("deliveries queue", aws.rules(events, arn, output("BusName")))
    for name in ("OnDeliveryFunction", "OnUploadFunction"):
        yield from found(f"function {output(name)}", aws.mapping(functions, output(name)))
    yield from found("deliveries queue", aws.queue(sqs, url))
    yield from found("uploads queue", aws.queue(sqs, output("UploadsQueueUrl")))
    for queue, dead in (("deliveries", "DeliveriesDlqUrl"), ("uploads", "UploadsDlqUrl")):
        advice = f"list them: aep-intake redrive --queue {queue} --dry-run"
        yield from found(f"{queue} DLQ", aws.queue(sqs, output(dead), advice))


def _organizations(
    stack: Deployed, appconfig: AppConfigClient, allowed: list[Organizations]
) -> Findings:
    """Whether organizations and limits are in force; they are put into `allowed`."""
    try:
        organizations = organizations_of(stack, appconfig)
    except CannotGoOn as error:
        yield PROBLEM, str(error)
        return
    for arn in organizations.credentials:
        if not covers(secrets(stack), arn):
            name = secret_name(arn)
            yield PROBLEM, f"{name} is not among CredentialSecrets, so no function may read it"
    allowed.append(organizations)
    changed = written(organizations).get("limits", {})
    text = ", ".join(f"{name} {value}" for name, value in changed.items()) or "those of the code"
    yield OK, f"{several(len(organizations.all), 'organization')}; limits: {text}"


def _adobe(stack: Deployed, session: boto3.Session, allowed: Organizations) -> Iterator[Finding]:
    credentials, platform = adobe_of(stack, session)
    organizations: dict[str, str | None] = {}
    for arn in allowed.credentials:
        findings = list(found(secret_name(arn), adobe.credential(credentials, arn)))
        works = all(finding.verdict is OK for finding in findings)
        organizations[arn] = credentials.ims_org(arn) if works else None
        yield from findings
    for name in dict.fromkeys(name for one in allowed.all for name in one.sandboxes):
        working = {
            one.credential: ims_org
            for one in allowed.all
            if name in one.sandboxes and (ims_org := organizations[one.credential])
        }
        yield from found(f"sandbox {name}", adobe.sandbox(platform, name, working))
    appconfig = session.client("appconfig", config=PATIENCE)
    published = Published(appconfig, *(stack.output(name) for name in IDS))
    table: list[routes.Route] = []
    yield from found("routes", _routes(published, allowed, table))
    for route in table:
        if "ignore" not in route.rule:
            looked_up = adobe.dataset(platform, route, allowed, organizations)
            yield from found(f"route {route.name}", looked_up)


def _routes(published: Published, allowed: Organizations, table: list[routes.Route]) -> Findings:
    """Whether a good table is live; its rules are put into `table`."""
    live = published.live()
    if not live:
        yield PROBLEM, "none is live, so arrivals wait: aep-intake routes publish TABLE"
        return
    document = published.read(live[-1])
    problems = lint(document, allowed)
    for problem in problems:
        yield PROBLEM, f"version {live[-1]}, {problem.field}: {problem.text}"
    if not problems:
        table += routes.parse(document, str(live[-1])).routes
        yield OK, f"version {live[-1]} is live: {several(len(table), 'rule')}, no problems"
