"""Pauses at any moment of whatever else goes wrong: nothing is lost, doubled, or made meanwhile."""

from collections import Counter
from collections.abc import Callable

from aep_intake.model.batches import Target
from aep_intake.model.orders import Order

from local.simulator.seed import LOYALTY
from tests.faults import test_restored, test_schedules
from tests.faults.harness import CREDENTIAL, MINUTE, TABLES, WINDOWS, Copy, Tape, World
from tests.faults.schedules import assert_met, tapes
from tests.faults.test_delivery_schedules import arrived, rows
from tests.faults.test_restored import WINDOWED, Restoring
from tests.faults.test_schedules import MANY, NAMED, OPTIONS

ran: Counter[str] = Counter()

# A worker that looked for pauses is killed before an hour has passed since: a pause that is over
# is forgotten then, and nobody would hand out what it pauses afterwards.
LIFE = 15 * MINUTE  # Lambda's longest
FROZEN = "00*2 e1 00*15 63 d7 0c e3 a6 58 01"
# The first pause of all comes while AEP wants a new token for a POST.
FIRST = "00*29 0c 12 00*7"


def pause(world: World) -> None:
    """Somebody pauses a route, the dataset or the organization."""
    organization = f"organization#{world.seed.ims_org}"
    world.pause(
        (organization, f"dataset#{LOYALTY}", f"route#{world.table.version}")[world.tape.pick(3)]
    )
    ran["pauses"] += 1


def resume(world: World) -> None:
    """Mostly it lasts."""
    if world.tape.pick(3) == 2:
        world.resume()


def told(world: World) -> None:
    ran.update(world.seen)
    ran["schedules"] += 1


@tapes(200, 400, FROZEN, FIRST)
def test_what_was_paused_has_one_batch_in_the_end(tape: bytes) -> None:
    windows = tape[0] % 2 == 1
    world = World(Tape(tape), tables=(*WINDOWS, *TABLES) if windows else TABLES, life=LIFE)
    world.more = (lambda: pause(world), lambda: resume(world))
    target = Target(CREDENTIAL, world.seed.ims_org, "prod", LOYALTY)
    request = Order("intake-request", target, OPTIONS, (NAMED,), "request")
    if world.tape.pick(2):
        pause(world)
    arrivals = MANY[: 1 + world.tape.pick(6)]
    test_schedules.play(world, arrivals, [request][: world.tape.pick(2)])
    assert not [record for record in world.ledger.records.values() if record.paused]
    told(world)


class Pausing(Restoring):
    """A world whose ledger is put back with the pauses of then."""

    def copied(self) -> Copy:
        ledger = self.ledger
        parts = (ledger, ledger.windows, ledger.table, ledger.pauses, self.deliveries)
        return Copy(*parts)


@tapes(200, 400)
def test_every_file_is_in_one_batch_though_the_ledger_forgot_pauses(tape: bytes) -> None:
    world = Pausing(Tape(tape), tables=WINDOWED, final=WINDOWED[0], life=LIFE)
    contents = [rows(1 + world.tape.pick(30)) for _ in range(1 + world.tape.pick(4))]
    world.begin_with(
        {arrived(f"in/{n}.json", content, n): content for n, content in enumerate(contents)}
    )
    world.more = (*world.more, lambda: pause(world), lambda: resume(world))
    test_restored.play(world)
    told(world)


def test_the_schedules_met_pauses(record_property: Callable[[str, object], None]) -> None:
    schedules = ran.pop("schedules")
    record_property("says", f"{schedules} schedules with pauses: {dict(ran)}")
    assert_met(ran, schedules, 14, "paused", "pauses")
