"""Orders of windows, from their files to the end of their batches, in the schedules' world."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aep_intake.clock.due import DueKind
from aep_intake.delivery import steps, upload
from aep_intake.delivery.delivery import Delivery, DeliveryStage
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.model.errors import TryAgain
from aep_intake.model.progress import Outcome

from tests.faults.harness import Delivering, go_on
from tests.memory_ledger import all_due

OTHERS = (DueKind.WINDOWS, DueKind.ORDERS)


def carried_out(world: Delivering) -> list[str]:
    """What is due among windows and orders is done; the orders that got a batch."""
    made = []
    while found := [d for d in all_due(world.ledger, world.clock()) if d.kind in OTHERS]:
        for what in found:
            if isinstance(done := go_on(what.kind, what.id, world.intake(0)), Outcome):
                made.append(done.record.order.external_id)
    world.handed_out.clear()
    return made


def ports(world: Delivering) -> DeliveryPorts:
    return world.ports(world.intake(0))


def delivered(world: Delivering, external_id: str) -> Delivery:
    """A delivery, from its start to its end."""
    steps.start(external_id, world.ledger.records[external_id].batch_id or "", ports(world))
    while world.uploads:
        upload.upload(world.uploads.pop(0).what, ports(world))
    return ended(world, external_id)


def ended(world: Delivering, external_id: str) -> Delivery:
    while (found := world.deliveries.kept[external_id]).due is not None:
        world.clock.advance(max(0, found.due - world.clock()))
        steps.resume(external_id, ports(world))
    assert found.stage is DeliveryStage.ENDED
    return found


def failing(
    its: DeliveryPorts,
    port: str,
    method: str,
    error: type[TryAgain],
    fails: Callable[[], bool],
    *,
    after: bool,
) -> DeliveryPorts:
    """Ports of which a method, when it `fails`, does not arrive, or does not answer (`after`)."""

    def troubled(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            now = fails()
            if now and not after:
                raise error("did not arrive")
            result = real(*arguments, **more)
            if now:
                raise error("did not answer")
            return result

        return call

    class Through:
        def __init__(self, target: Any) -> None:
            self.target = target

        def __getattr__(self, name: str) -> Any:
            real = getattr(self.target, name)
            return troubled(real) if name == method else real

    real = getattr(its, port or method)
    changed: dict[str, Any] = {port or method: Through(real) if port else troubled(real)}
    return replace(its, **changed)
