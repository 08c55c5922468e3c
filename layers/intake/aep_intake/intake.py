"""From an arrival, or from what a request asks, to the order that `create` carries out.

Resolving comes before the ledger, because an order fixes its target for good; but an arrival that
can no longer be resolved may have an order from before, and then that order counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aep_intake import create, routes
from aep_intake.arrivals import Arrival
from aep_intake.create import Outcome, Ports
from aep_intake.errors import EmptyObject, Rejected, TargetNotAllowed, TooOld
from aep_intake.orders import Order, Rejection, Target


class Memory(create.Ledger, Protocol):
    """What else the ledger knows of an arrival."""

    def claimant(self, arrival: Arrival) -> str | None:
        """External id of the order that holds this arrival."""

    def reject(self, arrival: Arrival, rejection: Rejection) -> None:
        """Remember that an arrival was rejected before it had an order. Claims nothing."""


class Announcer(create.Announcer, Protocol):
    """The event bus, for arrivals without an order too."""

    def turned_away(self, external_id: str, arrivals: tuple[Arrival, ...], why: Rejection) -> None:
        """Say why these arrivals, or a message that holds none, cannot become an order."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where this deployment may send batches.

    `credentials` are secret ARNs, the first the default. `ims_org` (of a credential) and
    `dataset_id` (of a credential, organization, sandbox and name) may raise TryAgain; the latter
    DatasetNotFound.
    """

    credentials: tuple[str, ...]
    default_sandbox: str
    allowed_sandboxes: tuple[str, ...]
    ims_org: Callable[[str], str]
    dataset_id: Callable[[str, str, str, str], str]

    def target(
        self,
        credential: str | None = None,
        sandbox: str | None = None,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
    ) -> Target:
        """Raises TargetNotAllowed or DatasetNotFound, or TryAgain."""
        sandbox = sandbox or self.default_sandbox
        if sandbox not in self.allowed_sandboxes:
            raise TargetNotAllowed(
                f"sandbox {sandbox!r} is not one this deployment allows "
                f"({', '.join(self.allowed_sandboxes)}): see its parameter AllowedSandboxes"
            )
        arn = credential or self.credentials[0]
        ims_org = self.ims_org(arn)
        if dataset_id is None:
            dataset_id = self.dataset_id(arn, ims_org, sandbox, dataset_name or "")
        return Target(arn, ims_org, sandbox, dataset_id)

    def credential_of_org(self, ims_org: str) -> str:
        """The credential of an organization; raises TargetNotAllowed where there is none."""
        for arn in self.credentials:
            if self.ims_org(arn) == ims_org:
                return arn
        raise TargetNotAllowed(
            f"this deployment has no credential of organization {ims_org!r}: "
            "see its parameter CredentialSecretArns"
        )


@dataclass(frozen=True, slots=True)
class Intake:
    """What taking something in needs. `retention` of the ledger in milliseconds."""

    ports: Ports
    ledger: Memory
    announcer: Announcer
    targets: Targets
    table: Callable[[], routes.RoutingTable]
    retention: int


def take_in(arrival: Arrival, intake: Intake) -> Outcome | None:
    """Give an arrival its batch; None where a route says to ignore it.

    Raises Rejected (announced, and remembered) or TryAgain.
    """
    try:
        order = _order(arrival, intake)
    except Rejected as rejected:
        order = _earlier_order(arrival, intake)
        if order is None:
            _turn_away(arrival, rejected, intake)
            raise
    return None if order is None else create.create_batch(order, intake.ports)


def _order(arrival: Arrival, intake: Intake) -> Order | None:
    if arrival.time < intake.ports.now() - intake.retention:
        raise TooOld(
            f"{arrival.uri} arrived longer ago than the ledger remembers, so it may have a batch "
            "already: find out, and copy the object onto itself to send it again"
        )
    match = intake.table().match(arrival)
    if match.ignore:
        return None
    if arrival.size == 0:
        raise EmptyObject(f"{arrival.uri} is empty, and AEP fails a batch with an empty file")
    target = intake.targets.target(
        credential=routes.credential_arn(match.credential, intake.targets.credentials),
        sandbox=match.sandbox,
        dataset_id=match.dataset_id,
        dataset_name=match.dataset_name,
    )
    return Order(
        external_id=arrival.external_id,
        target=target,
        options=match.options,
        files=(arrival,),
        route=match.route,
        routes_version=match.version,
    )


def _earlier_order(arrival: Arrival, intake: Intake) -> Order | None:
    external_id = intake.ledger.claimant(arrival)
    record = external_id and intake.ledger.get(external_id)
    return record.order if record else None


def _turn_away(arrival: Arrival, rejected: Rejected, intake: Intake) -> None:
    rejected.external_id = arrival.external_id
    rejection = Rejection.of(rejected, intake.ports.now())
    intake.ledger.reject(arrival, rejection)
    intake.announcer.turned_away(arrival.external_id, (arrival,), rejection)
