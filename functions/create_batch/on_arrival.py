"""Arrivals queue → a batch for each arrival → partial batch response."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.arrivals import envelopes
from aep_intake.arrivals.envelopes import Received
from aep_intake.arrivals.ports import Intake
from aep_intake.arrivals.redrive import redrive
from aep_intake.arrivals.results import Result
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock import retries
from aep_intake.clock.parking import About
from aep_intake.clock.retries import Message
from aep_intake.grouping.missing_markers import reject_overdue
from aep_intake.model.errors import IntakeError, Rejected, TryAgain
from aep_intake.model.files import digest
from aep_intake.model.orders import ORDER_PREFIX, Rejection
from aep_intake.model.outcomes import attempt
from aep_intake.report import arrival_telemetry, telemetry
from aep_intake.report.telemetry import logger, metrics
from aep_intake.routing.globs import compile_wildcard
from aep_intake.settings import Settings
from aep_intake.wiring.arrive import Arriving
from aws_lambda_powertools.utilities.typing import LambdaContext

# An arrival that comes so late may have come, and been parked, before.
LATE_MS = 600_000

worker = Arriving(Settings.of("on_arrival")).prepare(
    "ledger", "organizations", "adobe", "announcer", "tables", "objects", "routes_seen"
)
wanted_keys = compile_wildcard(worker.settings.key_pattern)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take in the arrivals of one batch of messages, and hand on the markers among them."""
    intake = replace(routing(context), hand_on=worker.hand_on)
    return work(event, intake, worker.settings.arrivals_queue_url)


def routing(context: LambdaContext) -> Intake:
    """The ports of an invocation that routes arrivals."""
    return worker.intake(context)


def work(event: dict[str, Any], intake: Intake, queue_url: str) -> dict[str, Any]:
    """Take in the arrivals of one batch of messages side by side, then settle each message."""
    received = [Message.of(record) for record in event["Records"]]
    early = retries.early(received, worker.now())
    messages = [message for message in received if message not in early]
    contents = [read(message.body) for message in messages]
    # Copies of an arrival become one here: its external id is its identity.
    wanted = {a.external_id: a for content in contents for a in content.arrivals}
    redriven = frozenset(
        arrival.external_id
        for message, content in zip(messages, contents, strict=True)
        for arrival in content.arrivals
        if message.redriven
    )
    end = intake.ports.lease().until
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        before = pool.map(lambda *both: attempt(_token, *both), messages, contents)
        tokens = dict(zip(messages, before, strict=True))
        results = take_in(wanted, intake, pool.map, redriven)
        for order, wish in {c.order: c.wish for c in contents if c.order}.items():
            results[order] = attempt(redrive, order, intake, pool.map, wish)
        for missing in dict.fromkeys(c.missing for c in contents if c.missing):
            error = attempt(reject_overdue, missing, intake.overdue, pool.map, end)
            if error is not None:
                results[missing.external_id] = error
    if intake.hand_on is not None:  # else on_arrival counted them
        telemetry.count("Arrivals", number=sum(len(content.arrivals) for content in contents))
    arrival_telemetry.registered(results)
    for external_id, result in results.items():
        arrival = wanted.get(external_id)
        came = arrival is not None and arrival.brought_by is None
        latency = worker.now() - arrival.time if arrival and came else None
        arrival_telemetry.report_arrival(external_id, result, latency)
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())
    content_of = dict(zip(messages, contents, strict=True))
    failed = _settle(content_of, results, tokens, intake)

    def given_up(message: Message, why: Rejection) -> None:
        _park(message.body, content_of[message], failed[message], why)

    return worker.give_back(failed, early, queue_url, given_up, age="RetryingArrivalAge")


def read(body: str) -> Received:
    """What is in a message; what it has that is not for us is counted."""
    try:
        content = envelopes.parse(body).of_keys(wanted_keys)
    except Rejected as malformed:
        content = Received(malformed=(malformed.detail,))
    for reason in content.ignored:
        telemetry.count("Ignored", reason)
    return content


def _token(message: Message, content: Received) -> str | None:
    """Of the item that the message has if it was parked before. Raises LedgerUnavailable.

    Of new arrivals none is asked for: a try again, a redrive and a late copy are few.
    """
    late = any(worker.now() - arrival.time > LATE_MS for arrival in content.arrivals)
    if content.arrivals and not (late or message.redriven or message.tries > 1):
        return None
    return worker.parking.token(content.place(message.body))


def _settle(
    contents: Mapping[Message, Received],
    results: Mapping[str, Result],
    tokens: Mapping[Message, str | Exception | None],
    intake: Intake,
) -> dict[Message, Exception]:
    """Park rejected messages, end the items of others; the messages to retry, with their errors.

    A message is parked only once no record in it is to be retried.
    """
    failed: dict[Message, Exception] = {}
    for message, content in contents.items():
        outcomes: list[Result | None] = [results[a.external_id] for a in content.arrivals]
        if content.order is not None:
            outcomes.append(results[content.order])
        if content.missing is not None:  # no result: no file waits any more
            outcomes.append(results.get(content.missing.external_id))
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        rejected = [error for error in errors if isinstance(error, Rejected)]
        if len(rejected) == len(errors):
            left = attempt(_finish, message.body, content, rejected, tokens[message], intake)
            errors = [left] if left else []
            if left:
                telemetry.report(message.message_id, left, None)
        if errors:
            failed[message] = max(errors, key=_wait)
    return failed


def _wait(error: Exception) -> float:
    """Seconds until the next try; a rejected record waits for those that are retried."""
    if isinstance(error, Rejected):
        return -1
    return (error.retry_after or 0) if isinstance(error, TryAgain) else 0


def _finish(
    body: str,
    content: Received,
    rejected: list[Rejected],
    token: str | Exception | None,
    intake: Intake,
) -> None:
    """Park a message with something rejected; else it has no item any more."""
    malformed = content.rejection
    if malformed is not None:
        malformed.external_id = f"{ORDER_PREFIX}{digest('message', body)}"
        rejection = Rejection.of(malformed, worker.now())
        intake.announcer.arrival_rejected(malformed.external_id, (), rejection)
        telemetry.report(malformed.external_id, malformed, None)
        rejected = [*rejected, malformed]
    for error in rejected:
        if not error.parked:
            _park(body, content, error, Rejection.of(error, worker.now()))
            return
    if isinstance(token, Exception):
        raise token
    if token is not None:
        worker.parking.end(content.place(body), token)


def _park(body: str, content: Received, error: Exception, why: Rejection) -> None:
    place = content.place(body)
    files, route, external_id = content.arrivals, None, None
    if isinstance(error, IntakeError):
        files, route, external_id = files or tuple(error.files), error.route, error.external_id
    about = About(external_id or place[2], route, files)
    worker.parking.message(worker.settings.arrivals_dlq_url, place, body, about, why)
