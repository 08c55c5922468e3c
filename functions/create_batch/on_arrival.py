"""Arrivals queue → a batch for each arrival → partial batch response."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.arrivals import envelopes
from aep_intake.arrivals.envelopes import Received
from aep_intake.arrivals.finish import Finishing
from aep_intake.arrivals.ports import IntakePorts
from aep_intake.arrivals.results import Result
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock import retries
from aep_intake.clock.retries import Message
from aep_intake.grouping.waiting_files import reject_overdue
from aep_intake.model.errors import Rejected
from aep_intake.model.files import Arrival
from aep_intake.model.outcomes import SideBySide, caught
from aep_intake.report import arrival_telemetry, telemetry
from aep_intake.report.telemetry import logger, metrics
from aep_intake.routing.globs import compile_wildcard
from aep_intake.settings import Settings
from aep_intake.wiring.arrive import Arriving
from aws_lambda_powertools.utilities.typing import LambdaContext

worker = Arriving(Settings.of("on_arrival")).prepare(
    *("ledger", "ledger.windows", "ledger.folders", "organizations", "adobe", "announcer"),
    *("tables", "objects", "routes_seen"),
)
wanted_keys = compile_wildcard(worker.settings.key_pattern)


@metrics.log_metrics
@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take in the arrivals of one batch of messages, and hand on the markers among them."""
    intake = replace(worker.intake(context), hand_on=worker.hand_on)
    return work(event, intake, worker.settings.arrivals_queue_url)


def work(event: dict[str, Any], intake: IntakePorts, queue_url: str) -> dict[str, Any]:
    """Take in the arrivals of one batch of messages side by side, then finish each message."""
    received = [Message.of(record) for record in event["Records"]]
    early = retries.early(received, worker.now())
    contents = {message: read(message.body) for message in received if message not in early}
    several = contents.values()
    # Copies of an arrival become one here: its external id is its identity.
    wanted = {arrival.external_id: arrival for content in several for arrival in content.arrivals}
    redriven = frozenset(
        a.external_id for m, content in contents.items() if m.redriven for a in content.arrivals
    )
    finishing = Finishing(
        lambda: worker.parking,
        worker.settings.arrivals_dlq_url,
        intake.announcer,
        worker.now,
        telemetry.report,
        intake.ledger.note_retrying,
        intake.ledger.reject,
    )
    with ThreadPoolExecutor(worker.settings.delivery_concurrency) as pool:
        before = pool.map(lambda m: caught(finishing.token, m, contents[m]), contents)
        tokens = dict(zip(contents, before, strict=True))
        results = take_in(wanted, intake, pool.map, redriven)
        results |= _try_orders_again(several, intake, pool.map)
        results |= _reject_overdue(several, intake, pool.map)
    if intake.hand_on is not None:  # on_marker hands nothing on: on_arrival counted its arrivals
        telemetry.count("Arrivals", number=sum(len(content.arrivals) for content in several))
    report(results, wanted)
    failed = finishing.finish(contents, results, tokens)
    give_up = partial(finishing.give_up, contents, results, failed)
    return worker.give_back(failed, early, queue_url, give_up, age="RetryingArrivalAge")


def _try_orders_again(
    contents: Iterable[Received], intake: IntakePorts, side_by_side: SideBySide
) -> dict[str, Result]:
    orders = {content.order: content.wish for content in contents if content.order}
    if not orders:
        return {}
    from aep_intake.arrivals.redrive import redrive  # noqa: PLC0415 - people do that, seldom

    return {name: caught(redrive, name, intake, side_by_side, orders[name]) for name in orders}


def _reject_overdue(
    contents: Iterable[Received], intake: IntakePorts, side_by_side: SideBySide
) -> dict[str, Result]:
    """Reject waiting files that are overdue; the errors of these messages."""
    end, errors = intake.creating.lease().until, dict[str, Result]()
    for overdue in dict.fromkeys(content.overdue for content in contents if content.overdue):
        error = caught(reject_overdue, overdue, intake.waiting, side_by_side, end)
        if error is not None:
            errors[overdue.external_id] = error
    return errors


def report(results: Mapping[str, Result], wanted: Mapping[str, Arrival]) -> None:
    """Log and count what became of each arrival, order and message about missing files."""
    arrival_telemetry.report_joined(results)
    for external_id, result in results.items():
        arrival = wanted.get(external_id)
        came = arrival is not None and arrival.brought_by is None
        latency = worker.now() - arrival.time if arrival and came else None
        arrival_telemetry.report_arrival(external_id, result, latency)
    telemetry.count("TokensMinted", number=worker.credentials.take_minted())


def read(body: str) -> Received:
    """What is in a message; what it has that is not for us is counted."""
    try:
        content = envelopes.parse(body).of_keys(wanted_keys)
    except Rejected as malformed:
        content = Received(malformed=(malformed.detail,))
    for reason in content.ignored:
        telemetry.count("Ignored", reason)
    return content
