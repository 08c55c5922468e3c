"""A small world in which everything can go wrong at every step, by a schedule.

Workers run the real code as greenlets. Each outside call hands control back twice, before and
after it takes effect, and the schedule (a tape of bytes) decides what comes next: another worker,
a crash, a lost answer, an hour gone by. A tape of zeros lets everything go well, so failing tapes
shrink to what matters.
"""

import copy
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import IO, Any, ClassVar
from urllib.parse import urlencode

import requests
from aep_intake.adapters.adobe.credentials import Token
from aep_intake.adapters.adobe.ingestion import Ingestion
from aep_intake.adapters.adobe.platform import Adobe
from aep_intake.adapters.dynamodb.pauses import FRESH_MS
from aep_intake.adapters.dynamodb.waiting_files import DynamoFolders
from aep_intake.arrivals.envelopes import parse
from aep_intake.arrivals.ports import IntakePorts, VersionPorts
from aep_intake.arrivals.redrive import redrive
from aep_intake.arrivals.results import Result, Skipped
from aep_intake.arrivals.take_in import take_in
from aep_intake.clock import due, retries
from aep_intake.clock.due import Due, DueKind
from aep_intake.clock.retries import Again, Back
from aep_intake.create.create import create_batch
from aep_intake.create.pace import Pace
from aep_intake.create.ports import OrderPorts
from aep_intake.delivery import steps, upload
from aep_intake.delivery.delivery import Delivery, End, Task
from aep_intake.delivery.ports import DeliveryPorts
from aep_intake.grouping import resume, waiting_files, windows
from aep_intake.grouping.ports import WaitingPorts
from aep_intake.model import messages
from aep_intake.model.batches import Dataset
from aep_intake.model.errors import (
    IntakeError,
    LedgerUnavailable,
    MalformedRequest,
    MarkerMissing,
    NotAnnounced,
    NotReadable,
    NotYet,
    ObjectGone,
    Rejected,
    StorageUnavailable,
    TryAgain,
)
from aep_intake.model.expectations import Came
from aep_intake.model.files import Arrival
from aep_intake.model.history import OverdueFiles
from aep_intake.model.messages import AS_USUAL, Wish
from aep_intake.model.orders import LedgerIdentity, Order, claims
from aep_intake.model.organizations import Organization, Organizations
from aep_intake.model.outcomes import caught
from aep_intake.model.pauses import Pause, pause_of
from aep_intake.model.progress import Lease, Outcome, Record, Rejection
from aep_intake.model.sharing import Sharing
from aep_intake.model.windows import WindowStage
from aep_intake.report.events import batch_ended, kind_of_end
from aep_intake.routing import routes
from aep_intake.routing.checks import Checks
from aep_intake.routing.table import RoutingTable
from aep_intake.routing.targets import Targets
from greenlet import GreenletExit, getcurrent, greenlet
from requests.structures import CaseInsensitiveDict

from local.simulator.batches import SERVED, Batch
from local.simulator.clock import Clock
from local.simulator.faults import Fault
from local.simulator.messages import Request, Response
from local.simulator.mishaps import Mishap
from local.simulator.seed import LOYALTY, PROFILES, Seed, seed_defaults
from local.simulator.simulator import Simulator
from local.simulator.transport import InProcess
from tests.memory_ledger import (
    MemoryAllowance,
    MemoryBuckets,
    MemoryDeliveries,
    MemoryLedger,
    MemoryLists,
    all_due,
)

START = 1_790_000_000_000
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
SETTLE = 2 * MINUTE
TIMEOUT = 60 * SECOND  # of a queue's function
SKEW = 10 * SECOND
VISIBILITY = TIMEOUT + 30 * SECOND
RETENTION = 60 * DAY
PER_MINUTE = 30  # batches: the fourth of an instant must wait
CREDENTIAL = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-AbCdEf"
URL = "https://platform.simulated"
SEED = Seed(sandboxes=("prod",))
FORM = {
    "grant_type": "client_credentials",
    "client_id": SEED.client_id,
    "client_secret": SEED.client_secret,
    "scope": ",".join(SEED.scopes),
}
ASKED = {"content-type": "application/x-www-form-urlencoded"}
TOKEN = Request("POST", "/ims/token/v3", "", ASKED, urlencode(FORM).encode())


def _table(version: str, **written: Any) -> RoutingTable:
    written = {"name": version, "match": "in/**"} | written
    return routes.parse(json.dumps({"routes": [written]}), version)


GOOD = _table("good", datasetId=LOYALTY, inputFormat={"format": "json"})
TABLES = (
    GOOD,
    _table("other", datasetName="products", inputFormat={"format": "csv"}),
    _table("refused", datasetId="no-such-dataset", inputFormat={"format": "json"}),
    _table("unmatched", match="elsewhere/**", datasetId=LOYALTY),
    _table("sandboxed", sandbox="forbidden", datasetId=LOYALTY, inputFormat={"format": "json"}),
    _table("unnamed", datasetName="nobody knows", inputFormat={"format": "json"}),
    _table("ignoring", ignore=True),
)
WINDOWS = (
    _table("windowed", datasetId=LOYALTY, batch={"window": "1m"}),
    _table("windowed", datasetId=LOYALTY, batch={"window": "5m"}),  # its length was edited
    _table("hourly", datasetName="products", batch={"window": "1h"}),
)
REUSE = ("accepted", "refused", "returned", "refused-400")
# What befalls a request to AEP; the first is nothing.
TROUBLES: tuple[Callable[[], Fault] | None, ...] = (
    None,
    lambda: Fault("answer-lost", how="reset"),
    lambda: Fault("answer-lost", how="timeout"),
    lambda: Fault("request-lost"),
    lambda: Fault("late", delay_ms=8 * SECOND, how="timeout"),
    lambda: Fault("gateway", code="429050", retry_after="45"),
    lambda: Fault("gateway", code="429001"),
    lambda: Fault("gateway", code="503020"),
    lambda: Fault("gateway", code="503010"),
    lambda: Fault("status", status=500),
    lambda: Fault("status", status=504, body="html", accepted=True),
    lambda: Fault("status", status=502, body="empty", accepted=True),
    lambda: Fault("gateway", code="401013"),
)


def part_of(world: "World", window_id: str, arrival: Arrival) -> str:
    """The order whose batch has an arrival of a window, or the version that stands for it."""
    window = world.ledger.windows.kept[window_id]
    assert window.stage is WindowStage.FINISHED
    parts = [window.part(excerpt, number) for number, excerpt in enumerate(window.parts)]
    files = [(part, file) for part in parts for file in world.ledger.files(part)]
    assert len(files) == window.parts[-1].end == len({file.object_id for _, file in files})
    [(part, file)] = [found for found in files if found[1].object_id == arrival.object_id]
    claim, *_ = claims(arrival)
    by = world.ledger.superseded.get((claim.object_id, claim.slot))
    assert by == (None if file.version == arrival.version else file.version)
    assert file.sequencer is None or file.position >= arrival.position
    world.seen["superseded"] += by is not None
    return part.external_id


def why_parked(world: "World", arrival: Arrival) -> set[str]:
    """For what an arrival that no order has is parked, though it was redriven; maybe for nothing.

    The ledger may have forgotten what is too old, so whether that was overtaken, nobody can say.
    """
    reasons = {message.reason or "" for message in world.parked if message.arrival == arrival}
    assert reasons <= {"too-old", "overtaken"}
    assert "too-old" not in reasons or arrival.time < world.clock() - RETENTION
    assert "overtaken" not in reasons or is_overtaken(world, arrival)
    return reasons


def is_overtaken(world: "World", file: Arrival) -> bool:
    """Whether a newer version, or one with the same bytes, has an order."""
    others = [
        one for one in world.ledger.counted_versions(file.object_id) if one.in_batch != file.version
    ]
    return any(one.file.position > file.position or one.file.etag == file.etag for one in others)


def try_again(external_id: str, intake: IntakePorts, wish: Wish = AS_USUAL) -> Outcome:
    """As on_marker tries a parked order again."""
    outcome = redrive(external_id, intake, wish=wish)
    assert isinstance(outcome, Outcome)
    return outcome


def go_on(kind: DueKind, name: str, intake: IntakePorts) -> Outcome | None:
    """As on_due goes on with what is due."""
    return resume.resume(
        kind, name, resume.ResumePorts(intake.creating, intake.windows, intake.waiting)
    )


class Tape:
    """The schedule: each decision takes a byte, and what is not on the tape is 0."""

    def __init__(self, tape: bytes) -> None:
        self._bytes = iter(tape)
        self.over = False

    def pick(self, choices: int) -> int:
        """A number below `choices`."""
        value = next(self._bytes, None)
        self.over = self.over or value is None
        return (value or 0) % choices

    def seldom(self) -> bool:
        """True once in sixteen."""
        return self.pick(16) == 15


@dataclass
class Errand[T]:
    """A message of a queue about `what`: `visible` from then on (epoch ms), else as SQS has it."""

    what: T
    visible: int
    receives: int = 0
    sent: int = -1
    carried: dict[str, int] = field(default_factory=dict)
    reason: str | None = None  # parked for

    def __post_init__(self) -> None:
        self.sent = self.visible if self.sent < 0 else self.sent

    def received(self) -> retries.Message:
        """As a function gets it."""
        return retries.Message.of(
            {
                "messageId": str(id(self)),
                "receiptHandle": str(id(self)),
                "body": "",
                "attributes": {
                    "ApproximateReceiveCount": str(self.receives),
                    "SentTimestamp": str(self.sent),
                },
                "messageAttributes": {
                    name: {"stringValue": str(value)} for name, value in self.carried.items()
                },
            }
        )


class Message(Errand[Arrival]):
    """A message of the arrivals queue."""

    @property
    def arrival(self) -> Arrival:
        return self.what


@dataclass
class _Queue:
    """A queue of the world, as `retries` sees it; what SQS did may not be known."""

    world: "World"
    messages: list[Any]
    parked: list[Any]
    by_id: Mapping[str, Errand[Any]]

    def hide(self, waits: Mapping[retries.Message, int]) -> None:
        fate = self.world.wait(3)
        if fate != 1:
            for message, seconds in waits.items():
                self.by_id[message.message_id].visible = self.world.clock() + seconds * SECOND
        if fate:
            raise StorageUnavailable("messages could not be hidden")

    def send_again(self, wanted: Iterable[Again]) -> dict[retries.Message, StorageUnavailable]:
        refused = {}
        for one in wanted:
            fate = self.world.wait(3)
            if fate != 1:
                errand = self.by_id[one.message.message_id]
                now = self.world.clock()
                anew = replace(
                    errand,
                    visible=now + one.delay_s * SECOND,
                    receives=0,
                    sent=now,
                    carried=one.attributes,
                )
                self.messages.append(anew)
                self.world.seen["sent anew"] += 1
            if fate:
                refused[one.message] = StorageUnavailable("a message was not taken")
        self.world.wait(1)  # a crash here leaves two of it
        return refused

    def park(self, message: retries.Message, why: Rejection) -> None:
        fate = self.world.wait(3)
        if fate != 1:
            errand = self.by_id[message.message_id]
            self.parked.append(replace(errand, reason=why.reason))
            self.world.seen["given up"] += 1
        if fate:
            raise StorageUnavailable("a message could not be parked")


class Copy:
    """What a ledger in memory held at a time; its parts keep that in dictionaries and sets.

    But for what is `written` in S3, which no restore of the ledger takes away.
    """

    def __init__(self, *parts: object) -> None:
        self._held = [
            (part, name, copy.deepcopy(kept))
            for part in parts
            for name, kept in vars(part).items()
            if isinstance(kept, dict | set) and name != "written"
        ]

    def restore(self) -> None:
        for part, name, earlier in self._held:
            kept = vars(part)[name]  # in place, for parts may share it
            kept.clear()
            kept.update(copy.deepcopy(earlier))


@dataclass
class World:
    """The queue, the platform, the ledger and the bus, and the workers between them.

    `delivers`: whether somebody here fills the batches, too.
    """

    delivers: ClassVar[bool] = False
    tape: Tape
    clock: Clock = field(default_factory=lambda: Clock(START))
    queue: list[Message] = field(default_factory=list)
    parked: list[Message] = field(default_factory=list)
    events: list[tuple[str, str | None]] = field(default_factory=list)  # external id, batch id
    came: list[Mapping[str, Came]] = field(default_factory=list)  # by route
    rows: list[tuple[str, int]] = field(default_factory=list)  # that came, by route
    ignored: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    overrun: set[str] = field(default_factory=set)  # orders POSTed for by a worker past its lease
    # How long a worker lives at most (ms), as Lambda has it; None: it may outlive any lease.
    life: int | None = None
    leaseholders: dict[str, greenlet] = field(default_factory=dict)
    workers: "list[Worker]" = field(default_factory=list)
    looked: dict[greenlet, int] = field(default_factory=dict)  # when each looked for pauses
    tables: tuple[RoutingTable, ...] = TABLES
    calm: bool = False
    undisturbed: bool = False  # a worker's calls all go well, and nobody comes between them
    final: RoutingTable = GOOD
    # The present versions of the objects of the bucket, by key.
    bucket: dict[str, Arrival] = field(default_factory=dict)
    versions: list[Arrival] = field(default_factory=list)  # of them, in a bucket that keeps them
    more: "tuple[Callable[[], None], ...]" = ()  # what else a schedule may do
    handed_out: list[str] = field(default_factory=list)  # orders, before their time
    due_queue: "list[Errand[tuple[due.DueKind, str]]]" = field(default_factory=list)
    orders_parked: set[str] = field(default_factory=set)
    parked_for: dict[str, Rejection] = field(default_factory=dict)  # by external id of an order
    overdue: set[OverdueFiles] = field(default_factory=set)  # to be told
    overdue_parked: set[OverdueFiles] = field(default_factory=set)
    hidden: dict[OverdueFiles, int] = field(default_factory=dict)  # while a marker is worked on
    identity: LedgerIdentity = field(default_factory=lambda: LedgerIdentity("the ledger"))
    _processes: dict[int, DynamoFolders] = field(default_factory=dict)
    _known_pauses: tuple[int, Mapping[str, Pause]] = field(default_factory=lambda: (0, {}))
    limits: windows.BatchLimits = field(default_factory=lambda: windows.BatchLimits(2, 25))

    def __post_init__(self) -> None:
        self.table = self.tables[0]
        self.simulator = Simulator(self.clock)
        self.seed = seed_defaults(self.simulator, SEED)
        self.simulator.switches.abandon_after_ms = None
        self.simulator.switches.change(
            external_id_reuse=REUSE[self.tape.pick(4)],
            nothing_found=("empty", "not-found")[self.tape.pick(2)],
            row_validation="disabled",  # rows of these tests fit no schema
        )
        self.simulator.show_in_catalog(self._shown)
        self.simulator.switches.expires_in = 10 * 365 * 86_400
        self.ledger = MemoryLedger(self._conflict, partial(self.wait, 1), self.clock)
        self.buckets = MemoryBuckets()
        self.session = requests.Session()
        self.session.mount("https://", _Steps(self))
        self.credentials = _Credentials(self._mint())
        self._usual = (
            *[self._go_on] * 6,
            *[self.deliver] * 2,
            *[self.tick] * 2,
            self.deliver_due,
            self._kill,
            self._let_time_pass,
            self._deliver_twice,
            self._edit_limits,
            self._edit_routes,
            self.redrive,
            self._end_a_batch,
        )

    # -- what workers see -------------------------------------------------------------------------

    def intake(self, skew: int) -> IntakePorts:
        """All that an invocation starting now needs; its clock is `skew` ms fast."""

        now = self._clock_of(skew)
        end = now() + TIMEOUT + SKEW

        def lease() -> Lease:
            token = f"lease-{len(self.leaseholders)}"
            self.leaseholders[token] = getcurrent()
            return Lease(token, end)

        adobe = Adobe(self.session, self.credentials, URL, ledger=self._ledger_id, now=now)
        ledger = self._remembered()
        buckets: Any = _Calls(self, self.buckets, LedgerUnavailable)
        remembered: Any = _Calls(self, self.ledger.windows, LedgerUnavailable)
        announcer: Any = _Calls(self, self, NotAnnounced)
        objects: Any = _Calls(self, self._listed(), NotReadable)
        ports = OrderPorts(
            ledger=ledger,
            platform=adobe,
            announcer=announcer,
            now=now,
            lease=lease,
            pace=Pace(buckets, lambda _: PER_MINUTE, now, self._sleep).wait,
            park=self._park,
            post_ms=adobe.create_ms + SKEW,
            settle_ms=SETTLE + SKEW,
            delivers=self.delivers,
            identity=lambda: self.identity,
            pauses=self._pauses,
        )
        targets = Targets(
            lambda: Organizations((Organization(CREDENTIAL),)),
            lambda _: self.seed.ims_org,
            adobe.dataset_id,
            lambda target: Dataset(profile=target.dataset_id == PROFILES, system=False),
        )
        window_ports = windows.WindowPorts(
            ledger=remembered,
            orders=ledger,
            enqueue=self._hand_out,
            now=now,
            limits=self.limits,
            opened=self._opened,
            sharing=lambda _: self._sharing(),
        )
        waiting_ports = WaitingPorts(
            ledger=ledger,
            folders=self._folders(skew),
            announcer=announcer,
            objects=objects,
            send=self._send_overdue,
            take_in=self._send_arrival,
            now=now,
        )
        return IntakePorts(
            creating=ports,
            windows=window_ports,
            waiting=waiting_ports,
            came=self.came.append,
            ledger=ledger,
            announcer=announcer,
            targets=targets,
            objects=objects,
            checks=Checks(objects.read, 10**11, unsplit_bytes=2**28, delivers=self.delivers),
            table=lambda: self.table,
            buckets=("landing",),
            retention_ms=RETENTION,
            versions=VersionPorts(
                ledger,
                remembered.get,
                remembered.part_of,
                self._ended_without_data,
                ports.platform.batch,
            ),
        )

    def _ended_without_data(self, external_id: str) -> bool:
        delivery = self.ledger.deliveries.get(external_id)
        verdict = None if delivery is None else delivery.verdict
        return verdict is not None and verdict.end != "succeeded"

    def _pauses(self) -> Mapping[str, Pause]:
        """Those that stand, as a worker knows them: what it read may be some seconds old."""
        read_at, standing = self._known_pauses
        if read_at == 0 and not self.ledger.pauses.kept:
            self.looked[getcurrent()] = self.clock()
            return standing  # whoever pauses nothing needs no schedule for it
        if self.clock() >= read_at + FRESH_MS or self.tape.pick(2) == 0:
            pauses: Any = _Calls(self, self.ledger.pauses, LedgerUnavailable)
            read_at = self.clock()
            standing = pauses.standing()
            self._known_pauses = (read_at, standing)
        self.looked[getcurrent()] = self.clock()
        return standing

    def check_pauses(self, order: str) -> None:
        """Nobody makes a batch of what was paused when he could know it."""
        record = self.ledger.records.get(order)
        standing = self.ledger.pauses.standing()
        pause = None if record is None else pause_of(record.order, standing)
        if pause is not None:
            self.seen["paused just now"] += 1
            assert self.looked[getcurrent()] < pause.since + FRESH_MS, f"{pause}"

    def pause(self, name: str) -> None:
        """An operator pauses a route, a dataset or an organization."""
        self.ledger.pauses.put(Pause(name, self.clock(), "arn:operator"))

    def resume(self) -> None:
        """And resumes all."""
        for pause in self.ledger.pauses.standing().values():
            self.ledger.pauses.put(replace(pause, resumed_at=self.clock()))

    def _folders(self, skew: int) -> DynamoFolders:
        """Those of a process, which has its own clock, and remembers when folders are due."""
        if skew not in self._processes:
            table: Any = _Calls(self, self.ledger.table, LedgerUnavailable)
            self._processes[skew] = DynamoFolders(table, self._clock_of(skew), RETENTION)
        return self._processes[skew]

    def _remembered(self) -> Any:
        return _Calls(self, self.ledger, LedgerUnavailable)

    def _clock_of(self, skew: int) -> Callable[[], int]:
        return lambda: self.clock() + skew

    def _ledger_id(self) -> str:
        return self.identity.ledger_id

    def _mint(self) -> Token:
        answer = self.simulator.handle(TOKEN).json()
        end = START + 1000 * DAY
        return Token(
            answer["access_token"],
            self.seed.client_id,
            self.seed.ims_org,
            renew_at=end,
            expires=end,
        )

    def created(self, record: Record) -> None:
        """The bus takes a `Batch Created`."""
        self.events.append((record.order.external_id, record.batch_id))

    def rejected(self, order: Order, rejection: Rejection) -> None:
        """The bus takes an `Arrival Rejected`."""
        assert rejection.reason
        self.events.append((order.external_id, None))

    def arrival_rejected(
        self, external_id: str, arrivals: tuple[Arrival, ...], why: Rejection
    ) -> None:
        """The bus takes an `Arrival Rejected` of an arrival without an order."""
        assert why.reason and arrivals
        self.events.append((external_id, None))

    def _hand_out(self, external_ids: list[str]) -> None:
        self.wait(1)
        self.handed_out += external_ids

    def _opened(self, arrival: Arrival, start: int, end: int) -> IO[bytes]:
        raise StorageUnavailable(f"nothing is in {arrival.uri}")

    def _sharing(self) -> Sharing | None:
        return None

    def _send_overdue(self, overdue: OverdueFiles) -> None:
        if self.wait(2):
            raise StorageUnavailable("the queue did not take it")
        self.overdue.add(overdue)

    def _send_arrival(self, arrival: Arrival) -> None:
        fate = self.wait(3)
        if fate != 1:
            [sent] = parse(messages.of_arrival(arrival)).arrivals
            self.queue.append(Message(sent, self.clock()))
        if fate:
            raise StorageUnavailable("the queue did not answer")

    def _park(self, order: Order, rejection: Rejection) -> None:
        if self.wait(2):
            raise StorageUnavailable("the queue did not take it")
        self.orders_parked.add(order.external_id)
        self.parked_for[order.external_id] = rejection

    def _listed(self) -> "ListedBucket":
        return ListedBucket(self.bucket, self.versions)

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(int(seconds * SECOND))
        self.wait(1)

    def _conflict(self) -> bool:
        return not self.calm and self.tape.seldom()

    def _shown(self, batch: Any, now: int) -> bool:
        """Catalog shows everything once it had time to settle; before, two looks may differ."""
        settled: bool = now - batch.members["created"] >= SETTLE
        return settled or (not self.calm and self.tape.pick(2) == 0)

    def wait(self, fates: int) -> int:
        """Hand control to the schedule; it answers with the fate of the call."""
        world = getcurrent().parent
        # A test goes step by step, without a schedule.
        if world is None or self.undisturbed:
            return 0
        fate: int = world.switch(fates)
        return fate

    # -- what the schedule does -------------------------------------------------------------------

    def act(self) -> None:
        """One decision of the schedule."""
        actions = (*self._usual, *self.more)
        actions[self.tape.pick(len(actions))]()

    def _go_on(self) -> None:
        if self.workers:
            self.workers[self.tape.pick(len(self.workers))].go(self.tape.pick(24))
        else:
            self.deliver()

    def _kill(self) -> None:
        if self.workers:
            self.workers[self.tape.pick(len(self.workers))].die()

    def _let_time_pass(self) -> None:
        times = (1, 5 * SECOND, 20 * SECOND, MINUTE, 3 * MINUTE, 6 * MINUTE, HOUR, 14 * DAY)
        long = self.tape.pick(4) == 3
        self.clock.advance(times[self.tape.pick(len(times) if long else 6)])

    def _deliver_twice(self) -> None:
        """As S3 and SQS do, in any order."""
        if self.queue:
            again = self.queue[self.tape.pick(len(self.queue))]
            self.queue.insert(0, replace(again, visible=self.clock()))

    def _edit_limits(self) -> None:
        """A deployment with other settings: what is planned stays planned."""
        self.limits = windows.BatchLimits(1 + self.tape.pick(3), 10 + 10 * self.tape.pick(4))

    def _edit_routes(self) -> None:
        self.table = self.tables[self.tape.pick(len(self.tables))]

    def deliver(self) -> None:
        """The queue starts a worker on the next visible messages, copies among them folded."""
        visible = [message for message in self.queue if message.visible <= self.clock()]
        messages = visible[: 1 + self.tape.pick(4)]
        for message in messages:
            message.visible = self.clock() + VISIBILITY
            message.receives += 1
        if messages:
            self._start(_Arrived(self, messages))

    def request(self, order: Order) -> None:
        """Somebody asks over HTTP; nobody asks again if that fails."""
        self._start(lambda intake: {order.external_id: create_batch(order, intake.creating)})

    def tick(self) -> None:
        """The clock of the stack: a worker hands out what is due; mostly, all goes well."""
        worker = Worker(self, self._hand_out_what_is_due)
        well = self.calm or not self.tape.seldom()
        if (
            self._due(self.clock() + SKEW) or self.ledger.pauses.all() or not well
        ):  # else it finds nothing
            self._set_off(worker)
        if well:
            if worker in self.workers:
                worker.finish()
            self.deliver_due()
        for overdue in self._to_be_told():
            self._start(partial(self._tell, overdue))

    def _to_be_told(self) -> list[OverdueFiles]:
        """Messages of overdue files that are visible."""
        visible = (one for one in self.overdue if self.hidden.get(one, 0) <= self.clock())
        return sorted(visible, key=lambda one: one.external_id)

    def _hand_out_what_is_due(self, skew: int) -> dict[str, Result]:
        ports = due.DuePorts(
            ledger=self._remembered(),
            backlog=self._waiting_for,
            send=self._send_due,
            now=self._clock_of(skew),
            side_by_side=map,
        )
        for kind in due.DueKind:
            caught(due.enqueue_due, kind, ports)
        if self.ledger.pauses.kept:
            pauses: Any = _Calls(self, self.ledger.pauses, LedgerUnavailable)
            caught(due.enqueue_resumed, ports, pauses, PER_MINUTE, RETENTION // 2)
        return {}

    def _due(self, now: int) -> list[Due]:
        """Whatever a tick would hand out."""
        pauses = self.ledger.pauses
        over = [pause for pause in pauses.all() if pause.resumed_at is not None]
        resumed = [one for pause in over for one in pauses.orders(pause, now, 10**6)]
        return all_due(self.ledger, now) + resumed

    def _waiting_for(self, kind: due.DueKind) -> int:
        if self.wait(2):
            raise StorageUnavailable("a queue did not tell its length")
        return sum(errand.what[0] is kind for errand in self.due_queue)

    def _send_due(self, kind: due.DueKind, names: list[str]) -> None:
        fate = self.wait(3)
        some = names[: len(names) // 2] if fate == 1 else names
        self.due_queue += [Errand((kind, name), self.clock()) for name in some]
        if fate:
            raise StorageUnavailable("work could not be handed out")

    def deliver_due(self) -> None:
        """The due queues start a worker on each visible message."""
        self.due_queue += [Errand((due.DueKind.ORDERS, n), self.clock()) for n in self.handed_out]
        self.handed_out.clear()
        for errand in [e for e in self.due_queue if e.visible <= self.clock()]:
            errand.visible = self.clock() + VISIBILITY
            self._start(partial(self._work_due, errand))

    def _work_due(
        self, errand: "Errand[tuple[due.DueKind, str]]", intake: IntakePorts
    ) -> dict[str, Result]:
        results = caught(self.work_on, *errand.what, intake)
        # Never given back; but who is killed does not delete it.
        self.due_queue[:] = [other for other in self.due_queue if other is not errand]
        if isinstance(results, Exception):
            raise results
        return results

    def work_on(self, kind: due.DueKind, name: str, intake: IntakePorts) -> dict[str, Result]:
        """What a worker does about something that is due."""
        done = go_on(kind, name, intake)
        return {} if done is None else {name: done}

    def put_off(
        self,
        queue: _Queue,
        failed: Mapping[retries.Message, Exception],
        early: Iterable[retries.Message],
        now: int,
    ) -> None:
        """As a function ends: what failed is tried again, and the rest acknowledged."""
        back = retries.retry_later(failed, early, queue, now) if failed or early else Back()
        self.wait(1)  # a crash here leaves in the queue what was done, or sent anew
        done = [errand for name, errand in queue.by_id.items() if name not in back.stay]
        queue.messages[:] = [m for m in queue.messages if not any(m is one for one in done)]

    def _start(self, work: "Work") -> "Worker":
        return self._begin(lambda skew: work(self.intake(skew)))

    def _begin(self, work: "Callable[[int], dict[str, Result]]") -> "Worker":
        return self._set_off(Worker(self, work))

    def _set_off(self, worker: "Worker") -> "Worker":
        self.workers.append(worker)
        worker.go(0)
        return worker

    def redrive(self) -> None:
        """An operator moves all parked messages back."""
        for external_id in sorted(self.orders_parked):
            self._start(partial(self._again, external_id))
        redriven = {"redriven": 1}
        self.queue += [Message(m.arrival, self.clock(), carried=redriven) for m in self.parked]
        self.parked.clear()
        self.overdue |= self.overdue_parked
        self.overdue_parked.clear()

    def _tell(self, overdue: OverdueFiles, intake: IntakePorts) -> dict[str, Result]:
        try:
            waiting_files.reject_overdue(overdue, intake.waiting, map)
        except MarkerMissing as why:
            self.overdue_parked.add(overdue)
            self.seen[why.reason] += 1
        except NotYet as why:
            self.hidden[overdue] = self.clock() + int((why.retry_after or 0) * 1000)
            self.seen["held by a marker"] += 1
            raise
        self.overdue.discard(overdue)  # only now is its message deleted
        return {}

    def _again(self, external_id: str, intake: IntakePorts) -> dict[str, Result]:
        result = try_again(external_id, intake)
        self.orders_parked.discard(external_id)  # only now is its message deleted
        return {external_id: result}

    def _end_a_batch(self) -> None:
        """AEP abandons, or a person aborts, a batch the ledger does not know of."""
        if self.workers:
            return
        known = {record.batch_id for record in self.ledger.records.values()}
        strays = [
            batch
            for batch in self.simulator.batches()
            if batch.status == "loading" and batch.id not in known
        ]
        if strays:
            self.simulator.set_status(
                strays[self.tape.pick(len(strays))].id, ("abandoned", "aborted")[self.tape.pick(2)]
            )

    def put_back(self, earlier: Copy) -> None:
        """The ledger is restored as it was, as people are told to do: first of all, all stops."""
        while self.workers:
            self.workers[0].die()
        earlier.restore()
        self._processes.clear()
        now = self.clock()
        self.identity = LedgerIdentity("the ledger", now, now + 22 * DAY)

    def settle(self) -> None:
        """Nothing goes wrong any more, what was wrong is mended, and the clock runs."""
        self.calm = True
        self.resume()
        for _ in range(3):
            self._run_dry()
            self.table = self.final
            self.simulator.switches.external_id_reuse = "accepted"
            self.redrive()
        self._run_dry()

    def rest(self) -> None:
        """Nothing goes wrong any more, until nothing is left to do."""
        self.calm = True
        self._run_dry()

    def _run_dry(self) -> None:
        end = self.clock() + 600 * MINUTE
        for _ in range(600):
            if self.clock() >= end:
                break
            while self.workers:
                self.workers[0].finish()
            self.receive()
            if not self.workers and (self._to_be_told() or self._due(self.clock())):
                self.tick()
            if not self.workers:
                if not self.left() and not self._due(10**15):
                    return
                self.clock.advance(-(-self._idle() // MINUTE) * MINUTE)
        left = self.left(), self._due(10**15)
        raise AssertionError(f"never comes to rest: {left}, {self.seen}")

    def _idle(self) -> int:
        """For how long nothing happens by itself, in milliseconds; never none."""
        due = [one.when for one in self._due(10**15)]
        return max(1, min([*due, *self.visible_at()]) - self.clock())

    def visible_at(self) -> list[int]:
        """When each message in queues is visible."""
        queues: tuple[Sequence[Errand[Any]], ...] = (self.queue, self.due_queue)
        hidden = [self.hidden[one] for one in self.overdue if one in self.hidden]
        return [errand.visible for queue in queues for errand in queue] + hidden

    def receive(self) -> None:
        """Workers start on what waits in queues."""
        self.deliver()
        self.deliver_due()

    def left(self) -> list[tuple[str, int]]:
        """What is in queues, and how often it was received."""
        messages = [(message.arrival.key, message.receives) for message in self.queue]
        handed_out = [(errand.what[1], errand.receives) for errand in self.due_queue]
        return messages + handed_out + [(overdue.external_id, 0) for overdue in self.overdue]


UPLOADING = 300 * SECOND  # what an upload may take
OUTCOME = 2 * MINUTE


@dataclass
class Delivering(World):
    """The same world with deliveries in it, and with bytes in its bucket.

    `contents`: by bucket, key and version; what is not there was overwritten or deleted.
    `ends` and `lost`: what the bus was told. `deadline` in milliseconds.
    """

    delivers: ClassVar[bool] = True
    contents: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    created_queue: list[Errand[tuple[str, str]]] = field(default_factory=list)
    uploads: list[Errand[Task]] = field(default_factory=list)
    not_begun: list[Errand[tuple[str, str]]] = field(default_factory=list)  # parked
    not_uploaded: list[Errand[Task]] = field(default_factory=list)  # parked
    ends: list[dict[str, Any]] = field(default_factory=list)
    lost: list[tuple[str, str, str]] = field(default_factory=list)  # order, uri, reason
    kept: dict[tuple[str, str], bytes] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)  # batches, by somebody else
    files_parked: list[tuple[Arrival, str]] = field(default_factory=list)  # as they arrived
    denied: dict[str, int] = field(default_factory=dict)  # keys that S3 says 403 of, until then
    piece: int = 64
    sharing: Sharing | None = None  # of small files
    deadline: int = 6 * HOUR
    limits: windows.BatchLimits = field(default_factory=lambda: windows.BatchLimits(3, 10_000))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.simulator.switches.change(
            abort=("strict", "lenient")[self.tape.pick(2)],
            failure_name=("failed", "failure")[self.tape.pick(2)],
            success_name=("success", "active")[self.tape.pick(2)],
            upload_answers=("spec", "docs")[self.tape.pick(2)],
            abandon_after_ms=(None, DAY)[self.tape.pick(2)],
        )
        self.deliveries = MemoryDeliveries(self.ledger, slips=self._conflict)
        self.lists = MemoryLists()
        self.maps = dict[str, Any]()  # compiled ones, by name
        self.allowance = MemoryAllowance(self.clock, hourly=10**9)
        self.more = (
            *[self.begin] * 2,
            *[self.upload] * 4,
            self._send_twice,
            self._drop,
            self._edit_sizes,
            self._lose_an_object,
            self._deny,
            self._meddle,
            self._meddle_later,
            self._mishap,
        )

    def _listed(self) -> "ListedBucket":
        listed = super()._listed()
        listed.contents = self.contents
        return listed

    def put(self, arrival: Arrival, content: bytes) -> None:
        """An object arrives."""
        assert arrival.size == len(content)
        self.contents[arrival.bucket, arrival.key, arrival.version] = content
        self.bucket[arrival.key] = arrival
        self.queue.append(Message(arrival, self.clock()))

    def ports(self, intake: IntakePorts) -> DeliveryPorts:
        """All that a worker of deliveries needs, which starts with `intake`."""
        remembered: Any = _Calls(self, self.deliveries, LedgerUnavailable)
        allowance: Any = _Calls(self, self.allowance, LedgerUnavailable)
        lists: Any = _Calls(self, self.lists, StorageUnavailable)
        ledger: Any = intake.creating.ledger
        platform: Any = intake.creating.platform
        announcer: Any = intake.announcer
        return DeliveryPorts(
            deliveries=remembered,
            orders=ledger,
            ingestion=Ingestion(platform, self._keep, UPLOADING // SECOND),
            allowance=allowance,
            announcer=announcer,
            opened=self._opened,
            lists=lists,
            compiled_map=self.maps.__getitem__,
            enqueue=self._send,
            park=self._park,
            park_file=self._park_file,
            now=intake.creating.now,
            step_ms=TIMEOUT + SKEW,
            worker_life_ms=TIMEOUT + SKEW,
            upload_ms=UPLOADING + SKEW,
            uploads_end_ms=intake.creating.now() + UPLOADING * 4 // 5,
            planning_ms=MINUTE,
            piece_bytes=self.piece,
            sharing=self.sharing,
            deadline_ms=self.deadline,
            first_poll_ms=OUTCOME,
            count_rows=lambda route, rows: self.rows.append((route, rows)),
            remind=self._remind,
            restored_at=lambda: self.identity.restored_at,
        )

    # -- what workers see -------------------------------------------------------------------------

    def created(self, record: Record) -> None:
        """The bus takes a `Batch Created`, and delivers it now, later, or never."""
        super().created(record)
        assert record.batch_id is not None
        wait = (0, 0, 0, MINUTE, HOUR, None)[0 if self.calm else self.tape.pick(6)]
        if wait is None:  # its queue was purged, or deleted and made anew
            self.seen["deliveries lost"] += 1
            return
        what = (record.order.external_id, record.batch_id)
        self.created_queue.append(Errand(what, self.clock() + wait))

    def rejected(self, order: Order, rejection: Rejection) -> None:
        """The bus takes an `Arrival Rejected`."""
        super().rejected(order, rejection)
        if self.ledger.records[order.external_id].batch_id is not None:  # which has lost them
            self.lost += [(order.external_id, file.uri, rejection.reason) for file in order.files]

    def ended(
        self, ended: Delivery, files: tuple[Arrival, ...], lost: Mapping[str, Rejection]
    ) -> None:
        """The bus takes word of how a batch ended."""
        assert ended.verdict is not None
        kind = kind_of_end(ended.verdict)
        self.ends.append({"kind": kind, **batch_ended(ended, files, lost, "state")})

    def _remind(self, _external_id: str, _wait_ms: int) -> None:
        """Its message may be lost: the clock hands the delivery out, too."""
        if self.wait(2) == 1:
            raise StorageUnavailable("the queue did not take it")

    def _keep(self, about: Delivery, name: str, content: bytes) -> None:
        if self.wait(2):
            raise StorageUnavailable("S3 did not take it")
        self.kept[about.external_id, name] = content

    def _opened(self, arrival: Arrival, start: int, end: int) -> IO[bytes]:
        fate = self.wait(4)
        if fate == 1:
            raise StorageUnavailable("S3 answered 503")
        if fate == 3 or self.clock() < self.denied.get(arrival.key, 0):
            raise NotReadable("S3 answered 403 AccessDenied")
        content = self.contents.get((arrival.bucket, arrival.key, arrival.version))
        if content is None:
            raise ObjectGone(f"{arrival.uri}: the version that arrived is not there any more")
        return _Body(content[start:end], breaks=fate == 2)

    def _sharing(self) -> Sharing | None:
        return self.sharing

    def _park_file(self, file: Arrival, route: str | None, why: Rejection) -> None:
        fate = self.wait(3)
        if fate == 1:
            raise StorageUnavailable("the queue did not take it")
        # Nobody may find it claimed by the order that lost it, however soon it is redriven.
        owner = self.ledger.claimant(file)
        assert owner is None or owner not in self._losers(file), "parked before it was let go"
        [again] = parse(messages.of_arrival(file)).arrivals
        assert again == file
        self.files_parked.append((file, why.reason))
        self.parked.append(Message(again, self.clock(), reason=why.reason))
        self.wait(1)
        if fate == 2:
            raise StorageUnavailable("the queue did not answer")

    def _losers(self, file: Arrival) -> set[str]:
        """What held a file that its batch lacks, which holds the others."""
        told = {order for order, uri, _ in self.lost if uri == file.uri}
        ended = {order: self.ledger.deliveries[order].verdict for order in told}
        return {
            self.ledger.records[order].order.claimant
            for order, verdict in ended.items()
            if verdict is not None and verdict.end is End.SUCCEEDED
        }

    def _send(self, tasks: list[Task]) -> None:
        fate = self.wait(3)
        some = tasks[: len(tasks) // 2] if fate == 1 else tasks
        self.uploads += [Errand(task, self.clock()) for task in some]
        self.wait(1)
        if fate:
            raise StorageUnavailable("work could not be handed out")

    # -- what the schedule does -------------------------------------------------------------------

    def forward(self, steps: int) -> None:
        """So far all goes well: trouble may begin anywhere."""
        self.calm = True
        for _ in range(steps):
            if not self.workers:
                self.receive()
            if not self.workers:
                self.tick()
            if self.workers:
                self.workers[0].go(0)
            else:
                self.clock.advance(MINUTE)
        self.calm = False

    def act(self) -> None:
        """One decision of the schedule; mostly, a worker goes some steps, and then meets a fate."""
        if not self.workers or self.tape.pick(2):
            super().act()
            return
        worker = self.workers[self.tape.pick(len(self.workers))]
        for _ in range(self.tape.pick(8)):
            if worker in self.workers:
                worker.go(0)
        if worker in self.workers:
            worker.go(self.tape.pick(24))

    def receive(self) -> None:
        """Workers start on what waits in any queue."""
        super().receive()
        self.begin()
        self.upload()

    def visible_at(self) -> list[int]:
        """When each message in any queue is visible."""
        queues: tuple[Sequence[Errand[Any]], ...] = (self.created_queue, self.uploads)
        return super().visible_at() + [errand.visible for queue in queues for errand in queue]

    def left(self) -> list[tuple[str, int]]:
        """What is in any queue."""
        created = [(errand.what[0], errand.receives) for errand in self.created_queue]
        uploads = [(repr(errand.what.what), errand.receives) for errand in self.uploads]
        return [*super().left(), *created, *uploads]

    def work_on(self, kind: due.DueKind, name: str, intake: IntakePorts) -> dict[str, Any]:
        """What a worker does about an order, a window or a delivery that is due."""
        if kind is not due.DueKind.DELIVERIES:
            return super().work_on(kind, name, intake)
        return {name: steps.resume(name, self.ports(intake))}

    def begin(self) -> None:
        """The deliveries queue starts a worker on a batch that was created."""
        self._run(
            self.created_queue,
            self.not_begun,
            lambda about, tries, ports: steps.start(*about, ports),
            VISIBILITY,
        )

    def upload(self) -> None:
        """The uploads queue starts a worker on a piece."""
        self._run(
            self.uploads,
            self.not_uploaded,
            lambda task, tries, ports: upload.upload(task, ports, tries).delivery,
            UPLOADING + 30 * SECOND,
        )

    def redrive(self) -> None:
        """An operator moves all parked messages back, of all queues."""
        super().redrive()
        for parked, queue in (
            (self.not_begun, self.created_queue),
            (self.not_uploaded, self.uploads),
        ):
            queue += [Errand[Any](errand.what, self.clock()) for errand in parked]
            parked.clear()

    def _run[T](
        self,
        queue: list[Errand[T]],
        parked: list[Errand[T]],
        work: Callable[[T, int, DeliveryPorts], Delivery | None],
        visibility: int,
    ) -> None:
        visible = [errand for errand in queue if errand.visible <= self.clock()]
        if not visible:
            return
        errand = visible[self.tape.pick(len(visible))]
        errand.visible = self.clock() + visibility
        errand.receives += 1

        def run(intake: IntakePorts) -> dict[str, Any]:
            message, now = errand.received(), intake.creating.now
            early = retries.early([message], now())
            result: Any = None
            if not early:
                result = caught(work, errand.what, message.tries, self.ports(intake))
            failed = {message: result} if isinstance(result, TryAgain) else {}
            ours = _Queue(self, queue, parked, {message.message_id: errand})
            self.put_off(ours, failed, early, now())
            return {"errand": result}

        self._start(run)

    def _send_twice(self) -> None:
        """As EventBridge and SQS do, in any order."""
        queue: list[Errand[Any]] = self.uploads if self.tape.pick(2) else self.created_queue
        if queue:
            again = queue[self.tape.pick(len(queue))]
            queue.insert(0, replace(again, visible=self.clock()))

    def _drop(self) -> None:
        """A message that was received too often ends in the dead-letter queue."""
        often = [errand for errand in self.uploads if errand.receives > 1]
        if often:
            self.seen["dropped"] += 1
            one = often[self.tape.pick(len(often))]
            self.uploads[:] = [errand for errand in self.uploads if errand is not one]

    def _edit_limits(self) -> None:
        self.limits = windows.BatchLimits(
            1 + self.tape.pick(4), (60, 200, 10_000)[self.tape.pick(3)]
        )

    def _edit_sizes(self) -> None:
        """A deployment with other settings."""
        self.piece = (64, 80, 100, 1000)[self.tape.pick(4)]
        self.deadline = (6 * HOUR, HOUR, 24 * HOUR)[self.tape.pick(3)]
        self.allowance.hourly = (10**9, 150, 60)[self.tape.pick(3)]

    def _lose_an_object(self) -> None:
        """It is overwritten, or deleted, before it is uploaded."""
        if self.contents and self.tape.pick(8) == 7:
            del self.contents[sorted(self.contents)[self.tape.pick(len(self.contents))]]

    def _deny(self) -> None:
        """A policy of the bucket forbids to read an object, for a while."""
        if self.contents and self.tape.pick(4) == 3:
            _, key, _ = sorted(self.contents)[self.tape.pick(len(self.contents))]
            lasts = (MINUTE, HOUR, DAY, 3 * DAY)[self.tape.pick(4)]
            self.denied[key] = self.clock() + lasts

    def _ours(self, *statuses: str) -> list[Batch]:
        known = {record.batch_id for record in self.ledger.records.values()}
        batches = self.simulator.batches()
        return [batch for batch in batches if batch.id in known and batch.status in statuses]

    def _meddle(self) -> None:
        """Somebody else does something about a batch that is being filled."""
        found = self._ours("loading")
        if not found or not self.tape.seldom():
            return
        batch = found[self.tape.pick(len(found))]
        match self.tape.pick(3):
            case 0:
                self.simulator.set_status(batch.id, "aborted")
            case 1:
                self.simulator.set_status(batch.id, "abandoned")
            case _:
                self.completed.add(batch.id)
                batch.become("loaded", self.clock())
                self.simulator.foundation.promotion.begin(batch, self.clock())

    def _meddle_later(self) -> None:
        """Compaction, or somebody takes the data back."""
        found = self._ours(*SERVED)
        if not found or not self.tape.seldom():
            return
        batch = found[self.tape.pick(len(found))]
        if self.tape.pick(2):
            self.seen["compacted"] += 1
            self.simulator.consolidate(batch.id)
        else:
            self.seen["reverted"] += 1
            batch.become("inactive", self.clock())
            self.simulator.foundation.promotion.revert(batch, self.clock())

    def _mishap(self) -> None:
        """Something goes wrong in Adobe's hands."""
        errors = [{"code": "err-1", "description": "Something went wrong."}]
        mishaps = (
            Mishap(retries=2),
            Mishap(errors=errors),
            Mishap(stalled=True),
        )
        if self.tape.pick(4) == 3:
            self.simulator.mishaps.add(mishaps[self.tape.pick(3)])

    def settle(self) -> None:
        """As in any world; Adobe mends what stalled, and the hours have room."""
        self.calm = True
        self.allowance.hourly = 10**9
        self.deadline = 24 * HOUR
        self.denied.clear()
        self.simulator.mishaps.clear()
        self.clock.advance(SETTLE)  # an operator redrives what Catalog shows by now
        for batch in self.simulator.batches():
            if batch.status == "stalled":
                self.simulator.set_status(batch.id, "success")
        super().settle()


def calm(**more: Any) -> Delivering:
    """A world in which nothing fails, and nothing stands at the limits of time."""
    world = Delivering(Tape(b""), **more)
    world.calm = True
    world.clock.advance(HOUR)
    world.simulator.show_in_catalog(None)  # at once
    return world


class _Body(io.BytesIO):
    """The bytes of an object; half of them, if its connection breaks."""

    def __init__(self, content: bytes, *, breaks: bool) -> None:
        super().__init__(content[: len(content) // 2] if breaks else content)
        self._breaks = breaks

    def read(self, size: int | None = -1, /) -> bytes:
        some = super().read(size)
        if self._breaks and (not some or size in (-1, None)):
            raise StorageUnavailable("the bytes broke off")
        return some


def take(arrival: Arrival, intake: IntakePorts) -> Any:
    """What becomes of one arrival that comes alone."""
    [result] = take_in({arrival.external_id: arrival}, intake, map).values()
    if isinstance(result, Exception):
        raise result
    return result


type Work = Callable[[IntakePorts], dict[str, Result]]


@dataclass
class _Arrived:
    """What on_arrival does about some messages."""

    world: World
    messages: Sequence[Message]

    def __call__(self, intake: IntakePorts) -> dict[str, Result]:
        received = {message.received(): message for message in self.messages}
        early = retries.early(received, intake.creating.now())
        wanted = {
            message.arrival.external_id: message.arrival
            for about, message in received.items()
            if about not in early
        }
        redriven = frozenset(
            message.arrival.external_id for about, message in received.items() if about.redriven
        )
        results = take_in(wanted, intake, map, redriven)
        failed: dict[retries.Message, Exception] = {}
        for about, message in received.items():
            if about in early:
                continue
            result = results[message.arrival.external_id]
            if isinstance(result, TryAgain):
                failed[about] = result
            elif isinstance(result, Rejected):
                self._park(message, result)
            elif isinstance(result, Skipped):
                self.world.ignored.add(message.arrival.external_id)
        by_id = {about.message_id: message for about, message in received.items()}
        queue = _Queue(self.world, self.world.queue, self.world.parked, by_id)
        self.world.put_off(queue, failed, early, intake.creating.now())
        return results

    def _park(self, message: Message, why: Rejected) -> None:
        self.world.parked.append(replace(message, reason=why.reason))


class Worker:
    """One invocation on some messages, on one due order, or for one request.

    `work` is told how many ms its clock is fast.
    """

    def __init__(self, world: World, work: Callable[[int], dict[str, Result]]) -> None:
        skew = (0, 4 * SECOND, -4 * SECOND)[world.tape.pick(3)]
        self._world = world
        self._born = world.clock()
        self._greenlet = greenlet(lambda _: caught(work, skew))
        self._fates = 1

    def go(self, fate: int) -> None:
        """On to the next outside call; `fate` is what becomes of the one that waits."""
        life = self._world.life
        if life is not None and self._world.clock() > self._born + life:
            self.die()
            return
        answer = self._greenlet.switch(fate if fate < self._fates else 0)
        if self._greenlet.dead:
            self._end(answer)
        else:
            self._fates = answer

    def finish(self) -> None:
        """On to its end, all going well."""
        self._world.undisturbed = True
        try:
            self.go(0)
        finally:
            self._world.undisturbed = False

    def die(self) -> None:
        """Killed on the spot: nothing more of it happens."""
        self._greenlet.throw(GreenletExit)
        self._world.workers.remove(self)

    def _end(self, results: dict[str, Result] | Exception) -> None:
        self._world.workers.remove(self)
        if isinstance(results, Exception):  # of a request, or of what was due
            self._count(results)
            return
        for result in results.values():
            self._count(result)

    def _count(self, result: Result) -> None:
        match result:
            case IntakeError():
                self._world.seen[result.reason] += 1
            case Exception():
                raise result
            case Outcome():
                self._world.seen[result.kind] += 1
            case _:
                self._world.seen[type(result).__name__] += 1


PACKED = gzip.compress(b"\n" * 99, mtime=0)[:12]


class ListedBucket:
    """S3, as far as arrivals need it."""

    def __init__(self, bucket: dict[str, Arrival], versions: Sequence[Arrival] = ()) -> None:
        self._bucket = bucket
        self._versions = versions
        self.contents: dict[tuple[str, str, str], bytes] | None = None

    def folder(self, bucket: str, prefix: str, after: str = "") -> Iterator[Arrival]:
        keys = sorted(self._bucket)
        found = [self._bucket[key] for key in keys if key.startswith(prefix) and key > after]
        return iter([replace(file, sequencer=None) for file in found if file.bucket == bucket])

    def arrival(self, bucket: str, key: str) -> Arrival:
        if key not in self._bucket:
            raise MalformedRequest("objects: no such object")
        return replace(self._bucket[key], sequencer=None)

    def before(self, version: Arrival) -> list[Arrival]:
        found = [v for v in self._versions if v.key == version.key]
        found = [v for v in found if v.version_id and v.position < version.position]
        found.sort(key=lambda v: v.position, reverse=True)
        return [replace(v, sequencer=None) for v in found if version.version_id]

    def read(self, arrival: Arrival, start: int, end: int) -> bytes:
        """Bytes of a file; where nobody put any, a beginning that may be of any text."""
        if self.contents is not None:
            content = self.contents.get((arrival.bucket, arrival.key, arrival.version))
            if content is None:
                raise ObjectGone(f"{arrival.uri} is gone")
            return content[start:end]
        return (PACKED if arrival.key.endswith(".gz") else b"\n")[start:end]


class _Calls:
    """Every method of `target` is an outside call, which may fail before or after its effect."""

    def __init__(self, world: World, target: object, failure: type[TryAgain]) -> None:
        self._world, self._target, self._failure = world, target, failure

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            fate = self._world.wait(3)
            if fate == 1:
                raise self._failure("did not arrive")
            result = getattr(self._target, name)(*arguments, **more)
            self._world.wait(1)  # a crash here is one whose effect stands
            if fate == 2:
                raise self._failure("did not answer")
            return result

        return call


class _Answered:
    """What our client asks of an answer of `requests`, and no more."""

    def __init__(self, response: Response) -> None:
        self.status_code = response.status
        self.headers = CaseInsensitiveDict(response.headers)
        self._body = response.body

    def iter_content(self, _: int) -> Iterator[bytes]:
        return iter((self._body,))

    def close(self) -> None:
        """Nothing is open."""


class _Steps(InProcess):
    """Every request to AEP is an outside call; the schedule chooses what befalls it."""

    def __init__(self, world: World) -> None:
        super().__init__(world.simulator)
        self._world = world

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        order = self._order(*arguments)
        if order is not None:
            self._check_lease(order)
            self._world.check_pauses(order)
        trouble = TROUBLES[self._world.wait(len(TROUBLES))]
        if trouble is not None:
            self.simulator.faults.add(trouble())
        if order is not None and self._left_of_lease(order) < 0:
            self._world.overrun.add(order)
        try:
            return super().send(*arguments, **options)
        finally:
            self._world.wait(1)

    def _answer(self, _: requests.PreparedRequest, response: Response) -> Any:
        return _Answered(response)

    def _check_lease(self, order: str) -> None:
        """A POST is only begun where the lease outlasts its time-outs."""
        left = self._left_of_lease(order)
        assert left < 0 or left >= 13 * SECOND, "begun too late"

    def _order(self, request: requests.PreparedRequest) -> str | None:
        if request.method == "POST" and str(request.url).endswith("/import/batches"):
            return str(json.loads(request.body or "")["externalId"])
        return None

    def _left_of_lease(self, order: str) -> int:
        """Milliseconds; less than none where another worker has taken over."""
        record = self._world.ledger.records.get(order)
        if record is None or self._world.leaseholders.get(record.lease or "") != getcurrent():
            return -1
        return (record.due or 0) - self._world.clock()


class _Credentials:
    """A token that lasts; what becomes of credentials is another test's business."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def token(self, arn: str, refused: str | None = None) -> Token:
        return self._token

    def ims_org(self, arn: str) -> str:
        return self._token.ims_org
