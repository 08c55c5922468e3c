"""The worker of on_reconcile, which compares buckets, ledger and Catalog."""

from collections.abc import Iterator
from functools import cached_property

from aep_intake.adapters.dynamodb.comparisons import DynamoComparisons
from aep_intake.adapters.dynamodb.connections import DynamoConnections
from aep_intake.arrivals.reconcile import ReconcilePorts
from aep_intake.model import messages
from aep_intake.model.batches import Target
from aep_intake.model.files import Arrival
from aep_intake.routing.globs import beginning_of, compile_wildcard
from aep_intake.routing.wanted import is_wanted
from aep_intake.wiring.request import Requesting


class Reconciling(Requesting):
    """A worker that compares what S3, the ledger and AEP have."""

    @cached_property
    def comparisons(self) -> DynamoComparisons:
        """Comparisons in the ledger."""
        return DynamoComparisons(self.table, self.ledger, self.now)

    def backlog(self) -> int:
        """About how many messages wait in the arrivals queue. Raises StorageUnavailable."""
        return self.queues.backlog(self.settings.arrivals_queue_url)

    def comparing(self) -> ReconcilePorts:
        """The ports of a comparison. Raises TryAgain if routes or limits cannot be read."""
        # Seldom needed: most hours there is nothing to do.
        from aep_intake.adapters.aws.inventory import listing, newest  # noqa: PLC0415

        keys, table = compile_wildcard(self.settings.key_pattern), self.tables.current()
        place, prefix = self.settings.state_bucket, beginning_of(self.settings.key_pattern)
        return ReconcilePorts(
            ledger=self.comparisons,
            inventory=lambda bucket, since: newest(
                self._s3, place, bucket, since, now=self.now(), prefix=prefix
            ),
            listing=lambda bucket, uri: listing(lambda: self._s3, bucket, uri, prefix),
            wanted=lambda file: is_wanted(file, keys, table),
            connected=DynamoConnections(self.table).all(),
            send=self._send,
            sandboxes=self._sandboxes,
            batches=self.adobe.tagged,
            ledger_id=lambda: self.ledger.identity.get().ledger_id,
            delivers=self.settings.deliver_batches,
            now=self.now,
            side_by_side=self.side_by_side,
        )

    def _send(self, files: list[Arrival]) -> None:
        self.queues.send_all(self.settings.arrivals_queue_url, map(messages.of_arrival, files))

    def _sandboxes(self) -> Iterator[Target]:
        for organization in self.organizations.current().all:
            ims_org = self.credentials.ims_org(organization.credential)
            for sandbox in organization.sandboxes:
                yield Target(organization.credential, ims_org, sandbox, "")
