"""Journal queue: every event of the intake bus → the journal, and the counts of its hour."""

from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.model.outcomes import caught
from aep_intake.report.journal import JournalLine, line
from aep_intake.settings import Settings
from aep_intake.wiring.journal import Journaling
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

# Of the worker's time, for the last objects that it reads.
LAST_MS = 30_000

logger = Logger()
worker = Journaling(Settings.of("on_journal")).prepare("journal")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Keep the events of one batch of messages; those that come again are named.

    Raises ExceptionGroup if none could be kept, so that an alarm tells.
    """
    read = {record["messageId"]: caught(line, record["body"]) for record in event["Records"]}
    lines = {name: found for name, found in read.items() if isinstance(found, JournalLine)}
    failed = {name: why for name, why in read.items() if isinstance(why, Exception)}
    failed |= worker.journal.keep(lines, lambda: context.get_remaining_time_in_millis() > LAST_MS)
    reasons = list({str(why): why for why in failed.values()}.values())
    for why in reasons:
        logger.warning("not in the journal", exc_info=why)
    if len(failed) == len(read):
        raise ExceptionGroup("no event could be kept", reasons)
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
