"""The worker of on_journal, which keeps the events of the intake bus."""

from functools import cached_property

from aep_intake.adapters.aws.journal import JournalBucket
from aep_intake.adapters.dynamodb.counts import DynamoCounts
from aep_intake.report.journal import Journal
from aep_intake.wiring.clients import Clients


class Journaling(Clients):
    """A worker that keeps events."""

    @cached_property
    def journal(self) -> Journal:
        """The journal in the state bucket, and its counts in the ledger."""
        return Journal(
            JournalBucket(self._s3, self.settings.state_bucket),
            DynamoCounts(self.table, self.settings.journal_days),
            self.side_by_side,
        )
