"""The worker of on_tick, which hands out due work, and notices files that do not come."""

import json
from functools import cached_property

from aep_intake.adapters.aws.appconfig import DocumentKind, InForce
from aep_intake.clock import due, expected
from aep_intake.clock.expected import Expected
from aep_intake.model.errors import RoutesUnavailable
from aep_intake.model.expectations import Expectation
from aep_intake.model.outcomes import SideBySide
from aep_intake.wiring.worker import Worker


class Ticking(Worker):
    """A worker that hands out due work."""

    _noted_limit = 0

    def due_ports(self, side_by_side: SideBySide) -> due.DuePorts:
        """The ports of `clock.due`."""
        settings = self.settings
        queues = {
            due.DueKind.WINDOWS: settings.due_queue_url,
            due.DueKind.FOLDERS: settings.due_folders_queue_url,
            due.DueKind.ORDERS: settings.due_orders_queue_url,
            due.DueKind.DELIVERIES: settings.due_deliveries_queue_url,
        }

        def backlog(kind: due.DueKind) -> int:
            # Deliveries that were started before `DeliverBatches=false` stay due: an alarm tells.
            nowhere = kind is due.DueKind.DELIVERIES and queues[kind] == settings.due_queue_url
            return due.BACKLOG_MAX if nowhere else self.queues.backlog(queues[kind])

        return due.DuePorts(
            ledger=self.ledger.due_work,
            backlog=backlog,
            send=lambda kind, names: self.queues.enqueue(queues[kind], kind, names),
            now=self.now,
            side_by_side=side_by_side,
        )

    def enqueue_resumed(self, ports: due.DuePorts) -> None:
        """Hand out what was paused, at the pace of the slowest organization.

        Raises LedgerUnavailable, StorageUnavailable or LimitsUnavailable.
        """
        known = self.organizations.current()
        every = (known.limits, *(organization.limits for organization in known.all))
        per_minute = min(limits.batches_per_minute for limits in every)
        due.enqueue_resumed(ports, self.ledger.pauses, per_minute, self.retention_ms // 2)

    def note_profile_limit(self, per_day: int) -> None:
        """Store it for the page, if this worker has not. Raises LedgerUnavailable."""
        if per_day != self._noted_limit:
            self.ledger.profile_batches.note_limit(per_day)
            self._noted_limit = per_day

    @cached_property
    def expectations(self) -> InForce[tuple[Expected, ...]]:
        """What the routes in force expect; of the document, it reads nothing else."""
        kind = DocumentKind[tuple[Expected, ...]](
            "the routing table", "aep-intake routes publish", _expected, RoutesUnavailable, ()
        )
        return InForce(
            self._appconfig,
            kind,
            application=self.settings.routes_application,
            environment=self.settings.routes_environment,
            profile=self.settings.routes_profile,
            now=self.now,
        )

    def look_for_expected(self) -> int | None:
        """How many routes are overdue, after that was told; None if nothing is expected.

        Raises RoutesUnavailable, LedgerUnavailable or NotAnnounced.
        """
        wanted = self.expectations.current()

        # Seldom something is to be told, and only then this is needed.
        def announce(told: expected.MissedDeadline) -> None:
            from aep_intake.adapters.aws.eventbridge import Announcer  # noqa: PLC0415

            bus, bucket = self.settings.bus_name, self.settings.state_bucket
            client = self._client("events")
            Announcer(client, lambda: self._s3, bus=bus, state_bucket=bucket).route_told(told)

        overdue = expected.look(
            wanted,
            expected.ExpectedPorts(
                ledger=self.routes_seen,
                paused=lambda: {
                    name.removeprefix("route#") for name in self.ledger.pauses.standing()
                },
                announce=announce,
                now=self.now,
            ),
        )
        return overdue if wanted else None


def _expected(document: bytes, version: str) -> tuple[Expected, ...]:
    """Raises ValueError if it is not a routing table."""
    try:
        return tuple(
            Expected(route["name"], Expectation.of(route["expect"]), route.get("owner"), version)
            for route in json.loads(document)["routes"]
            if "expect" in route
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a routing table: {error!r}") from error
