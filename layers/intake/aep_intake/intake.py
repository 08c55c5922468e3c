"""From an arrival, or from what a request asks, to the order that `create` carries out.

Resolving comes before the ledger, because an order fixes its target for good; but an arrival that
can no longer be resolved may have an order from before, and then that order counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from aep_intake import create, routes, windows
from aep_intake.arrivals import Arrival
from aep_intake.create import Outcome, Ports
from aep_intake.errors import (
    AlreadyClaimed,
    EmptyObject,
    LeaseLost,
    Rejected,
    TargetNotAllowed,
    TooOld,
)
from aep_intake.orders import WINDOW_PREFIX, Order, Rejection, Target
from aep_intake.windows import Window, register


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
    windows: windows.Ports
    ledger: Memory
    announcer: Announcer
    targets: Targets
    table: Callable[[], routes.RoutingTable]
    buckets: tuple[str, ...]
    retention: int


@dataclass(frozen=True, slots=True)
class Joined:
    """An arrival that waits in a window, until `closes` (epoch ms)."""

    window_id: str
    closes: int


@dataclass(frozen=True, slots=True)
class Known:
    """An arrival that came before. `owner`: the window it is in."""

    owner: str


type Result = Outcome | Joined | Known | Exception | None
# Runs a function over many values side by side, and gives what it returned in their order.
type SideBySide = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def take_in(
    arrivals: Mapping[str, Arrival], intake: Intake, side_by_side: SideBySide
) -> dict[str, Result]:
    """Give arrivals (by external id) their batches, or places in a window.

    Gives for each what became of it: None where a route says to ignore it, and where it failed the
    error (Rejected ones are announced, and remembered).
    """
    plans = dict(
        zip(
            arrivals,
            side_by_side(lambda file: attempt(lambda: _plan(file, intake)), arrivals.values()),
            strict=True,
        )
    )
    results: dict[str, Result] = {}
    tasks: list[Callable[[], dict[str, Result]]] = []
    groups: dict[str, tuple[Window, list[Arrival]]] = {}
    for external_id, plan in plans.items():
        match plan:
            case Window():
                groups.setdefault(plan.window_id, (plan, []))[1].append(arrivals[external_id])
            case Order():
                tasks.append(partial(_create, external_id, plan, intake))
            case _:
                results[external_id] = plan
    tasks += [partial(_join, window, files, intake) for window, files in groups.values()]
    for result in side_by_side(lambda task: task(), tasks):
        results |= result
    return results


def go_on(external_id: str, intake: Intake) -> Outcome | None:
    """Go on with an order or a window that is due; None if there is nothing to tell."""
    if external_id.startswith(WINDOW_PREFIX):
        windows.close(external_id, intake.windows)
        return None
    return create.resume(external_id, intake.ports)


def attempt[T](work: Callable[[], T]) -> T | Exception:
    """What `work` returns or raises: one record's failure is no other's.

    An error nobody foresaw is an outcome too: it is logged with its traceback, and the record is
    tried again until it lands in the dead-letter queue.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001
        return error


def _plan(arrival: Arrival, intake: Intake) -> Order | Window | Known | None:
    try:
        return _resolve(arrival, intake)
    except Rejected as rejected:
        owner = intake.ledger.claimant(arrival)
        if owner is None:
            _turn_away(arrival, rejected, intake)
            raise
        return _of(owner, arrival, intake)


def _create(external_id: str, order: Order, intake: Intake) -> dict[str, Result]:
    return {external_id: attempt(lambda: _create_or_known(order, intake))}


def _create_or_known(order: Order, intake: Intake) -> Result:
    try:
        return create.create_batch(order, intake.ports)
    except AlreadyClaimed as other:
        owner = next(iter(other.claimed.values()))
        if owner.startswith(WINDOW_PREFIX):
            return Known(owner)
        # An order that is refused lets its files go, and so they may have changed hands just now.
        raise LeaseLost(f"{owner} holds the file now", external_id=order.external_id) from None


def _join(window: Window, files: list[Arrival], intake: Intake) -> dict[str, Result]:
    registered = attempt(lambda: register(window, files, intake.windows))
    if isinstance(registered, Exception):
        return {file.external_id: registered for file in files}
    joined, known = registered
    results: dict[str, Result] = {
        external_id: Joined(where.window_id, where.start + where.length)
        for external_id, where in joined.items()
    }
    for file in files:
        if file.external_id in known:
            owner = known[file.external_id]
            results[file.external_id] = attempt(partial(_follow, owner, file, intake))
    return results


def _follow(owner: str, file: Arrival, intake: Intake) -> Result:
    standing = _of(owner, file, intake)
    if isinstance(standing, Order):
        return create.create_batch(standing, intake.ports)
    return standing


def _of(owner: str, file: Arrival, intake: Intake) -> Order | Known:
    """What holds a file already."""
    if owner.startswith(WINDOW_PREFIX):
        return Known(owner)
    record = intake.ledger.get(owner)
    if record is None:
        raise LeaseLost("the ledger no longer holds this order", external_id=owner)
    return record.order


def _resolve(arrival: Arrival, intake: Intake) -> Order | Window | None:
    if arrival.time < intake.ports.now() - intake.retention:
        raise TooOld(
            f"{arrival.uri} arrived longer ago than the ledger remembers, so it may have a batch "
            "already: find out, and copy the object onto itself to send it again"
        )
    if arrival.bucket not in intake.buckets:
        raise TargetNotAllowed(
            f"{arrival.uri} is not in a bucket of this deployment: "
            "see its parameter SourceBucketNames"
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
    order = Order(
        external_id=arrival.external_id,
        target=target,
        options=match.options,
        files=(arrival,),
        route=match.route,
        routes_version=match.version,
    )
    if match.window is None:
        return order
    return Window.at(order, match.window, intake.ports.now())


def _turn_away(arrival: Arrival, rejected: Rejected, intake: Intake) -> None:
    rejected.external_id = arrival.external_id
    rejection = Rejection.of(rejected, intake.ports.now())
    intake.ledger.reject(arrival, rejection)
    intake.announcer.turned_away(arrival.external_id, (arrival,), rejection)
