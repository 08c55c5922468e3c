"""What an operator can count and read: metrics by name and reason, one log line for each order."""

import importlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aep_intake.arrivals.results import Gathered, Joined, Known, Skipped, Waits
from aep_intake.clock.due import BACKLOG_MAX, Due, DueKind
from aep_intake.clock.expected import Expected
from aep_intake.clock.parking import ARRIVALS, About, Parking
from aep_intake.clock.retries import GIVEN_UP_TRIES
from aep_intake.delivery.delivery import Delivery, DeliveryStage, End, Mark, Task, Verdict
from aep_intake.delivery.pieces import Piece
from aep_intake.delivery.upload import Uploaded
from aep_intake.model.batches import Batch, Target
from aep_intake.model.errors import (
    BatchRefused,
    IntakeError,
    LedgerUnavailable,
    MalformedEvent,
    NoRoute,
    NotYet,
    StorageUnavailable,
)
from aep_intake.model.expectations import Expectation, RouteSeen, RouteStanding
from aep_intake.model.files import Arrival
from aep_intake.model.orders import DELIVERY_PREFIX, Order
from aep_intake.model.organizations import Limits, Organizations
from aep_intake.model.outcomes import caught
from aep_intake.model.pauses import Pause
from aep_intake.model.progress import Lease, Outcome, OutcomeKind, Record, Rejection
from aep_intake.model.times import DAY_MS
from aep_intake.report import delivery_telemetry, telemetry, upload_telemetry
from aep_intake.report.arrival_telemetry import report_arrival, report_joined
from aep_intake.report.delivery_telemetry import ENDED
from aep_intake.report.telemetry import metrics
from aep_intake.settings import Settings

from tests.memory_ledger import MemoryLedger, MemoryParked, MemoryPauses
from tests.request_world import Context

EVENTS = Path(__file__).parents[3] / "events"
FILE = Arrival("landing", "a.json", None, "e", "01", 1, 0)
ORDER = Order(FILE.external_id, Target("arn", "org", "prod", "d"), {}, (FILE,), route="loyalty")
RECORD = Record.opened(ORDER, Lease("t", 1), 0).created(
    Batch("01B", "loading", 0, None, (), {}, {})
)


def bug() -> None:
    raise ZeroDivisionError("nobody foresaw this")


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.fixture
def told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Any:
    """Report something; gives the metrics by (name, reason), and what was logged."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "AepIntake")
    monkeypatch.setattr(metrics.provider, "namespace", "AepIntake")
    monkeypatch.setattr(metrics.provider, "service", "aep-intake")
    metrics.clear_metrics()

    def tell(
        result: Any, latency: int | None, how: Callable[[Any, Any], None] | None = None
    ) -> tuple[dict[Any, float], list[Any]]:
        if how is None:
            report_arrival("intake-1", result, latency)
        else:
            how(result, latency)
        telemetry.count("Reports")
        metrics.flush_metrics()
        printed = capsys.readouterr().out.splitlines()
        lines = [json.loads(line) for line in printed if '"_aws"' in line]
        counted = {
            (metric["Name"], line.get("reason")): line[metric["Name"]][0]
            for line in lines
            for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
        }
        return counted, caplog.records

    return tell


@pytest.fixture
def deployed(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A function as it is deployed, whose worker has these parts."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def function_of(function: str, **parts: Any) -> Any:
        module = importlib.import_module(function)
        minted, parking = SimpleNamespace(take_minted=lambda: 0), Parking(MemoryParked(), Mock())
        for name, fake in ({"credentials": minted, "parking": parking} | parts).items():
            monkeypatch.setitem(module.worker.__dict__, name, fake)
        return module

    return function_of


def answered(told: Any, function: Any, *messages: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a function counts, and answers, when it gets these messages."""
    answer: dict[str, Any] = {}

    def handle(event: Any, context: Any) -> None:
        answer.update(function.handler(event, context))

    counted, _ = told({"Records": list(messages)}, Context(), handle)
    return counted, answer


MADE_AT = 1_795_435_200_000
SENT = Delivery(
    "intake-1",
    "01B",
    ORDER.target,
    {"format": "json"},
    "loyalty",
    file_count=3,
    byte_count=3_000,
    created_at=MADE_AT,
    limit=1_000,
    whole=False,
    stage=DeliveryStage.UPLOADING,
    due=MADE_AT + 1,
    total=3,
)


def end(how: End, uploaded_at: int | None = MADE_AT + 90_000, lost: int = 0) -> Delivery:
    """A delivery whose end is announced."""
    verdict = Verdict(how, "as-adobe-says", "and why", MADE_AT + 210_000)
    changes = {"verdict": verdict, "uploaded_at": uploaded_at, "lost_told": lost}
    return SENT.then(stage=DeliveryStage.ENDED, due=None, **changes)


def replaced_by(newer: str) -> Delivery:
    """A delivery whose batch was aborted for a newer version."""
    aborted = end(End.ABANDONED)
    assert aborted.verdict is not None
    return replace(aborted, verdict=replace(aborted.verdict, replaced_by=newer))


def arrived(result: Any, latency: Any) -> None:
    report_arrival("intake-1", result, latency)


def delivered(result: Any, hours: Any) -> None:
    now = MADE_AT + int(hours * HOUR)
    delivery_telemetry.report_delivery("intake-1", result, now)


def uploaded(result: Any, _: Any) -> None:
    task = Task("intake-1", Piece(7, FILE, 100, 1_100, 50))
    upload_telemetry.report_upload(task, result, MADE_AT)


HOUR = 3_600_000
QUIET, TOLD, WARNED, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
NO_ROUTE, LATER, NOT_OURS = NoRoute("no route fits"), NotYet("later"), MalformedEvent("no batch")
LOST = Rejection("object-gone", "it is gone", MADE_AT)
TIMES: dict[str, float] = {"CreatedToUploaded": 90_000, "UploadedToEnded": 120_000}

# What is reported, how, and after how long; what it is counted as; and how loud the log says it.
type Row = tuple[Callable[[Any, Any], None], Any, float, dict[str, float], int]
TABLE: list[Row] = [
    (arrived, Outcome(OutcomeKind.CREATED, RECORD), 250, {"BatchesCreated": 1}, TOLD),
    (arrived, Outcome(OutcomeKind.ADOPTED, RECORD), 250, {"AdoptedBatches": 1}, TOLD),
    (arrived, Outcome(OutcomeKind.DUPLICATE, RECORD), 250, {"Duplicates": 1}, TOLD),
    (arrived, Known("window-1"), 5, {"Duplicates": 1}, TOLD),
    (arrived, NO_ROUTE, 5, {"ArrivalsRejected": 1, "ArrivalsRejected no-route": 1}, WARNED),
    (arrived, LATER, 5, {"PutOff": 1, "PutOff not-yet": 1}, TOLD),
    (arrived, caught(bug), 5, {"Failures": 1}, ERROR),
    (arrived, Skipped("not-the-newest"), 5, {"Ignored": 1, "Ignored not-the-newest": 1}, QUIET),
    (arrived, Waits("spark"), 5, {"Waiting": 1}, QUIET),
    (arrived, Gathered("window-1", 3), 5, {"Markers": 1}, TOLD),
    (delivered, end(End.SUCCEEDED), 1, {"BatchesSucceeded": 1} | TIMES, TOLD),
    (delivered, end(End.SUCCEEDED, None, 3), 1, {"BatchesSucceeded": 1, "LostFiles": 3}, TOLD),
    (delivered, end(End.FAILED), 1, {"BatchesFailed": 1} | TIMES, WARNED),
    (delivered, end(End.ABANDONED), 1, {"BatchesAbandoned": 1} | TIMES, WARNED),
    (delivered, end(End.ABANDONED, None), 1, {"BatchesAbandoned": 1}, WARNED),
    (delivered, replaced_by("another"), 1, {"BatchesReplaced": 1} | TIMES, TOLD),
    # In hours, since the alarm's threshold is a parameter; named where it takes long.
    (delivered, SENT, 1, {"UnfinishedBatchHours": 1}, QUIET),
    (delivered, SENT, 25.5, {"UnfinishedBatchHours": 25.5}, TOLD),
    (delivered, replace(SENT, verdict=end(End.FAILED).verdict), 1, {"UnfinishedBatchHours": 1}, 10),
    (delivered, None, 1, {}, 0),
    (delivered, LATER, 1, {"DeliveryPutOff": 1, "DeliveryPutOff not-yet": 1}, TOLD),
    (
        *(delivered, NOT_OURS, 1),
        {"DeliveriesRejected": 1, "DeliveriesRejected malformed-event": 1},
        WARNED,
    ),
    (delivered, caught(bug), 1, {"DeliveryFailures": 1}, ERROR),
    # What AEP took, and not what lies in S3: of a gzip that is a fraction of it.
    (uploaded, Uploaded(Mark(5_000)), 1, {"Uploads": 1, "BytesUploaded": 5_000}, 0),
    (uploaded, Uploaded(Mark(0, LOST)), 1, {}, WARNED),
    (uploaded, Uploaded(), 1, {}, 0),  # by another worker
    (
        *(uploaded, Uploaded(Mark(1), end(End.SUCCEEDED)), 1),
        {"Uploads": 1, "BytesUploaded": 1, "BatchesSucceeded": 1} | TIMES,
        TOLD,
    ),
    (uploaded, LATER, 1, {"DeliveryPutOff": 1, "DeliveryPutOff not-yet": 1}, TOLD),
    (uploaded, caught(bug), 1, {"DeliveryFailures": 1}, ERROR),
]


@pytest.mark.parametrize("row", TABLE)
def test_what_became_of_it_is_counted_and_told(
    told: Any, caplog: pytest.LogCaptureFixture, row: Row
) -> None:
    how, result, took, metrics_of_it, level = row
    caplog.set_level(logging.DEBUG, telemetry.logger.name)
    counted, lines = told(result, took, how)
    made = isinstance(result, Outcome) and result.kind is not OutcomeKind.DUPLICATE
    expected = metrics_of_it | {"Reports": 1} | ({"ArrivalToBatch": took} if made else {})
    assert {" ".join(filter(None, name)): value for name, value in counted.items()} == expected
    assert [line.levelno for line in lines] == ([level] if level else [])
    for line in lines:
        assert line.correlation_id == "intake-1"
        assert (level == ERROR) == bool(line.exc_info), "only what nobody foresaw has a traceback"
        if isinstance(result, IntakeError):
            assert (line.reason, line.why) == (result.reason, str(result))
        if isinstance(result, Delivery | Outcome):
            about = (line.batch_id, line.route, line.sandbox, line.dataset_id)
            assert about == ("01B", "loyalty", "prod", "d")


def test_every_end_has_its_metric() -> None:
    assert set(ENDED) == set(End)


def test_what_is_put_off_shows_its_age(told: Any) -> None:
    telemetry.age("RetryingArrivalAge", 90_000)
    counted, _ = told(LATER, 5)
    assert counted["RetryingArrivalAge", None] == 90


def test_what_waits_in_a_window_is_counted(told: Any) -> None:
    one, other = Joined("window-1", 60_000), Joined("window-2", 60_000)
    results = {"intake-1": one, "intake-2": Known("window-0"), "intake-3": one, "intake-4": other}
    counted, lines = told(results, None, lambda all_of_them, _: report_joined(all_of_them))
    assert counted["Registered", None] == 3
    assert [line.arrivals for line in lines] == [["intake-1", "intake-3"], ["intake-4"]]


def test_nothing_that_grows_without_bounds_is_a_dimension(
    told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each value of a dimension is a metric that costs money: no ids, no files, no routes."""
    for result in (end(End.FAILED), SENT, NotYet("later"), MalformedEvent("no"), bug, None):
        error = caught(bug) if result is bug else result
        delivered(error, 1)
        uploaded(Uploaded(None, error) if isinstance(error, Delivery) else error, MADE_AT)
    metrics.flush_metrics()
    found = {
        tuple(names)
        for line in capsys.readouterr().out.splitlines()
        if '"_aws"' in line
        for names in json.loads(line)["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    }
    assert found == {("service",), ("service", "reason")}


def test_a_route_is_counted_by_itself_where_the_limits_say_so(
    told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.by_route(True)
    delivered(end(End.FAILED), 1)
    lost = NoRoute("no route fits")
    lost.route = "loyalty"
    arrived(lost, 1)
    telemetry.by_route(False)
    delivered(end(End.FAILED), 1)
    metrics.flush_metrics()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    found = [(line, line["route"]) for line in lines if "route" in line]
    counted = {(name, route) for line, route in found for name in ENDS_OR_NOT & line.keys()}
    assert counted == {("BatchesFailed", "loyalty"), ("ArrivalsRejected", "loyalty")}
    assert len(found) == 2


ENDS_OR_NOT = {"BatchesFailed", "ArrivalsRejected"}


# ---- The meter


def printed(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str, str], float]:
    """Metrics by name, organization and sandbox."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    return {
        (metric["Name"], line.get("organization", ""), line.get("sandbox", "")): line[
            metric["Name"]
        ][0]
        for line in lines
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }


MADE = {("O@AdobeOrg", "prod"): 81, ("O@AdobeOrg", "dev"): 3, ("P@AdobeOrg", "prod"): 12}


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("made", "share"), [(MADE, 90), ({}, 0)])
def test_batches_made_for_profile(
    capsys: pytest.CaptureFixture[str], made: dict[tuple[str, str], int], share: int
) -> None:
    """Of the fullest, for one alarm whatever the sandboxes are called; and each, for people."""
    telemetry.made_for_profile(made, 90)
    metrics.flush_metrics()
    told = {("ProfileBatchesLastDay", *place): number for place, number in made.items()}
    assert printed(capsys) == {**told, ("ProfileQuotaUsed", "", ""): share}


@dataclass
class Ticked:
    """What a tick finds in the ledger and the queues, by name, and what it hands out."""

    due_now: list[Due]
    full: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    asked: list[int] = field(default_factory=list)
    handed_out: dict[str, list[str]] = field(default_factory=dict)
    pauses: MemoryPauses = field(default_factory=lambda: MemoryLedger().pauses)
    limits: list[int] = field(default_factory=list)
    expected: tuple[Expected, ...] = ()
    seen: list[RouteSeen] = field(default_factory=list)

    def note_limit(self, per_day: int) -> None:
        self.limits.append(per_day)

    def all(self) -> list[RouteSeen]:
        return self.seen

    def due(self, kind: DueKind, now: int, limit: int) -> list[Due]:
        return [one for one in self.due_now if one.kind is kind]

    def lease(self, one: Due, until: int) -> int:
        return one.when

    def made(self, now: int) -> dict[tuple[str, str], int]:
        self.asked.append(now)
        return MADE

    def backlog(self, queue: str) -> int:
        name = queue.rpartition("/")[2]
        if name in self.failing:
            raise StorageUnavailable("a queue did not tell its length")
        return BACKLOG_MAX if name in self.full else 0

    def enqueue(self, queue: str, kind: DueKind, names: list[str]) -> None:
        self.handed_out.setdefault(queue.rpartition("/")[2], []).extend(names)


NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DUE = [
    Due(DueKind.ORDERS, "intake-1", NOON),
    Due(DueKind.WINDOWS, "window-1", NOON - 300_000),
    Due(DueKind.ORDERS, "intake-2", NOON - 300_001),
    Due(DueKind.DELIVERIES, "intake-1", NOON - 1),
    Due(DueKind.FOLDERS, "folder-1", NOON - 1),
]


@pytest.fixture
def tick(
    told: Any, deployed: Callable[..., Any], environment: dict[str, str]
) -> Callable[[Ticked, int], None]:
    """The handler among fakes."""

    def ticked(found: Ticked, now: int) -> None:
        function = deployed(
            "on_tick",
            ledger=SimpleNamespace(due_work=found, profile_batches=found, pauses=found.pauses),
            queues=found,
            now=lambda: now,
            organizations=SimpleNamespace(current=lambda: Organizations((), Limits())),
            settings=Settings.of("on_tick", environment),
            _noted_limit=0,
            expectations=SimpleNamespace(current=lambda: found.expected),
            routes_seen=found,
        )
        function.handler({}, Context())

    return ticked


EXPECTED = Expected("crm", Expectation.of({"every": "1h"}))


@pytest.mark.parametrize(("overdue", "routes"), [(NOON - 1, 1), (None, 0)])
def test_routes_without_the_files_that_they_expect_are_counted(
    told: Any, tick: Callable[[Ticked, int], None], overdue: int | None, routes: int
) -> None:
    standing = RouteStanding(EXPECTED.expectation.text, NOON, overdue)
    tick(Ticked([], expected=(EXPECTED,), seen=[RouteSeen("crm", standing=standing)]), NOON)
    counted, _ = told(LATER, 5)
    assert counted["RoutesOverdue", None] == routes


def test_where_nothing_is_expected_nothing_is_counted(
    told: Any, tick: Callable[[Ticked, int], None]
) -> None:
    tick(Ticked([]), NOON)
    counted, _ = told(LATER, 5)
    assert ("RoutesOverdue", None) not in counted


def record(body: str, receives: int = 1, **carried: int) -> dict[str, Any]:
    """A message as Lambda hands it over."""
    return {
        "messageId": "m",
        "receiptHandle": "r",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": str(MADE_AT)},
        "messageAttributes": {
            name: {"stringValue": str(value), "dataType": "Number"}
            for name, value in carried.items()
        },
    }


@dataclass
class Held:
    """The ledger's deliveries, of which there is one."""

    delivery: Delivery | Exception | None

    def get(self, external_id: str) -> Delivery | None:
        assert external_id == "intake-1"
        if isinstance(self.delivery, Exception):
            raise self.delivery
        return self.delivery


@pytest.mark.parametrize(
    ("held", "hours"),
    [
        (SENT, 30),
        (end(End.SUCCEEDED), None),  # by somebody else, who told of it
        (LedgerUnavailable("throttled"), None),
        (None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_batch_that_is_put_off_at_every_look_shows_its_age_too(
    told: Any,
    deployed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    held: Delivery | Exception | None,
    hours: int | None,
) -> None:
    function = deployed(
        "on_delivery",
        delivery=lambda _: SimpleNamespace(deliveries=Held(held)),
        now=lambda: MADE_AT + 30 * HOUR,
    )
    monkeypatch.setattr(function.steps, "resume", raising(NotYet("AEP is down")))
    body = json.dumps({"externalId": f"{DELIVERY_PREFIX}intake-1"})
    counted, answer = answered(told, function, record(body))
    assert counted["DeliveryPutOff", "not-yet"] == 1
    assert counted.get(("UnfinishedBatchHours", None)) == hours
    assert not set(counted) & {("BatchesSucceeded", None)}
    assert answer == {"batchItemFailures": []}


@dataclass
class Kept:
    """The queues: what was hidden, by receipt, and what was sent anew."""

    hidden: dict[str, int] = field(default_factory=dict)
    anew: list[dict[str, int]] = field(default_factory=list)

    def hide(self, url: str, waits: dict[str, int]) -> None:
        self.hidden |= waits

    def send_again(self, url: str, wanted: list[Any]) -> dict[Any, Any]:
        self.anew += [again.attributes for again in wanted]
        return {}


@dataclass
class Routing:
    """What on_arrival takes of `IntakePorts` when nothing that it does succeeds."""

    hand_on: Any = None
    waiting: Any = None
    announcer: Any = None
    creating: Any = field(
        default_factory=lambda: SimpleNamespace(lease=lambda: SimpleNamespace(until=0))
    )
    ledger: Any = field(default_factory=Mock)


CREATED = {"detail-type": "Batch Created", "detail": {"externalId": "intake-1", "batchId": "01B"}}
PIECE = Task("intake-1", Piece(7, FILE, 100, 1_100, 50))
REDRIVE = "aep_intake.arrivals.redrive.redrive"  # on_arrival looks there when it needs it


@dataclass(frozen=True)
class Function:
    """A function, a message that it gets, and what then fails; the metric of since when it does."""

    name: str
    body: Mapping[str, Any]
    fails: str
    metric: str


@pytest.mark.parametrize(
    "about",
    [
        Function("on_arrival", {"externalId": "intake-1"}, REDRIVE, "RetryingArrivalAge"),
        Function("on_delivery", CREATED, "aep_intake.delivery.steps.start", "RetryingDeliveryAge"),
        Function(
            "on_upload", asdict(PIECE), "aep_intake.delivery.upload.upload", "RetryingUploadAge"
        ),
    ],
    ids=lambda about: about.name,
)
def test_what_is_tried_again_shows_since_when_it_is_there(
    told: Any, deployed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, about: Function
) -> None:
    """However often it was sent anew; and what came too early is not tried at all."""
    kept, later = Kept(), Mock(side_effect=NotYet("AEP is down"))
    function = deployed(
        about.name,
        intake=lambda *_: Routing(),
        delivery=lambda _: SimpleNamespace(deliveries=Held(None), life=60_000),
        now=lambda: MADE_AT + 5 * HOUR,
        queues=kept,
    )
    monkeypatch.setattr(about.fails, later)
    monkeypatch.setattr(function, "take_in", lambda *_: {}, raising=False)
    text, first = json.dumps(about.body), {"firstSentAt": MADE_AT, "tries": 8}
    ready = record(text, 2, **first) | {"messageId": "ready", "receiptHandle": "ready"}
    ready["attributes"]["SentTimestamp"] = str(MADE_AT + 4 * HOUR)
    early = record(text, **first, notBefore=MADE_AT + 6 * HOUR) | {"messageId": "early"}
    counted, answer = answered(told, function, ready, early)
    assert counted[about.metric, None] == 5 * 3600
    assert later.call_count == 1
    assert answer == {"batchItemFailures": []}
    again = {"tries": 8, "firstSentAt": MADE_AT, "notBefore": MADE_AT + 6 * HOUR}
    assert kept.anew[0] == again
    assert kept.anew[1] == first | {"tries": 10, "notBefore": MADE_AT + 5 * HOUR + 1_800_000}


@pytest.mark.parametrize("there", [True, False])
def test_a_message_is_parked_unless_its_order_is_there_already(
    told: Any, deployed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    """Else each redrive of what AEP refuses again would leave twice as many messages.

    The item that it was parked with ends either way: with the order there, or with a new token.
    """
    kept, items = Mock(), MemoryParked()
    parking = Parking(items, kept.park)
    function = deployed("on_arrival", intake=lambda *_: Routing(), queues=kept, parking=parking)
    refused = BatchRefused("AEP does not take it", status=400)
    refused.parked = there
    monkeypatch.setattr(REDRIVE, raising(refused))
    monkeypatch.setattr(function, "take_in", lambda *_: {})
    body = json.dumps({"externalId": "intake-1"})
    place, why = (ARRIVALS, "order", "intake-1"), Rejection("batch-failed", "it failed", 1)
    parking.message("dead", place, body, About("intake-1", "crm"), why)
    kept.reset_mock()
    told({"Records": [record(body, 1)]}, Context(), function.handler)
    assert kept.park.called is not there
    reasons = [parked.why.reason for parked, _ in items.items.values()]
    assert reasons == ([] if there else ["batch-refused"])


@pytest.mark.parametrize("down", [True, False])
def test_what_is_given_up_is_parked_once_it_is_recorded(
    told: Any, deployed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *, down: bool
) -> None:
    """Else a ledger that is down meanwhile would have one more message parked at each try."""
    kept, intake = Mock(), Routing()
    kept.send_again.return_value = {}
    function = deployed(
        "on_arrival",
        intake=lambda *_: intake,
        now=lambda: MADE_AT + 25 * HOUR,
        queues=kept,
        parking=Parking(MemoryParked(), kept.park),
    )
    if down:
        intake.ledger.reject.side_effect = LedgerUnavailable("the table is throttled")
    # What of it is rejected keeps its own reason.
    sample = json.loads((EVENTS / "s3-notification.json").read_text())["Records"][0]
    both = [
        sample | {"s3": sample["s3"] | {"object": sample["s3"]["object"] | {"key": key}}}
        for key in ("put-off", "rejected")
    ]
    text = json.dumps({"Records": both})
    arrival, other = function.read(text).arrivals
    results = {arrival.external_id: NotYet("down"), other.external_id: NoRoute("none")}
    monkeypatch.setattr(function, "take_in", lambda *_: results)
    message = record(text, 1, firstSentAt=MADE_AT, tries=GIVEN_UP_TRIES)
    told({"Records": [message]}, Context(), function.handler)
    assert kept.park.called is not down
    assert [call.args[0] for call in intake.ledger.reject.call_args_list] == [arrival]


def test_what_is_put_off_is_noted_until_the_ledger_fails(
    told: Any, deployed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty notes of a ledger that hangs would take the time in which messages are delayed."""
    kept, intake = Kept(), Routing()
    parts = {"intake": lambda *_: intake, "now": lambda: MADE_AT, "queues": kept}
    function = deployed("on_arrival", **parts)
    notes = intake.ledger.note_retrying
    event = json.loads((EVENTS / "eventbridge-object-created.json").read_text())
    errors: dict[str, Exception] = {}
    messages = []
    for key, error in (
        ("a", NotYet("AEP is down")),
        ("b", LedgerUnavailable("throttled")),  # it would not take a note either
        ("c", NotYet("AEP is down")),
        ("d", NotYet("AEP is down")),
    ):
        event["detail"]["object"]["key"] = key
        text = json.dumps(event)
        [arrival] = function.read(text).arrivals
        errors[arrival.external_id] = error
        messages.append(record(text, 1) | {"messageId": key, "receiptHandle": key})
    monkeypatch.setattr(function, "take_in", lambda *_: errors)
    notes.side_effect = [None, LedgerUnavailable("it hangs")]
    told({"Records": messages}, Context(), function.handler)
    assert [call.args[0].key for call in notes.call_args_list] == ["a", "c"]
    assert kept.hidden.keys() == {"a", "b", "c", "d"}


@pytest.mark.parametrize("receives", [1, 2])
def test_an_event_that_is_faster_than_its_record_comes_again_at_once(
    told: Any, deployed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, receives: int
) -> None:
    """And else later and later, until its order is finished."""
    kept, its = Kept(), SimpleNamespace(deliveries=Held(None))
    parts = {"delivery": lambda _: its, "now": lambda: MADE_AT, "queues": kept}
    function = deployed("on_delivery", **parts)
    early = NotYet("its creation is not finished", retry_after=1)
    monkeypatch.setattr(function.steps, "start", raising(early))
    message = record(json.dumps(CREATED), receives)
    _, answer = answered(told, function, message)
    assert answer == {"batchItemFailures": [{"itemIdentifier": message["messageId"]}]}
    assert kept.hidden == {message["receiptHandle"]: 1 if receives == 1 else 60}


def test_each_tick_reads_the_meter(
    tick: Callable[[Ticked, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    found = Ticked(DUE)
    tick(found, NOON)
    counted = printed(capsys)
    assert counted["ProfileQuotaUsed", "", ""] == 90
    assert counted["ProfileBatchesLastDay", "P@AdobeOrg", "prod"] == 12
    assert (counted["DueOrders", "", ""], counted["OverdueOrders", "", ""]) == (5, 1)
    assert found.asked == [NOON]
    assert found.limits == [90]


def test_what_a_pause_kept_back_is_handed_out_after_it_and_is_not_overdue(
    tick: Callable[[Ticked, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = MemoryLedger()
    for name in ("resumed", "still"):
        pause = Pause(f"route#{name}", NOON - DAY_MS, "arn:me")
        ledger.pauses.put(pause)
        of_route = replace(ORDER, external_id=name, route=name, files=())
        ledger.open(Record.waiting(of_route, NOON - DAY_MS).paused_by(pause.name, NOON - DAY_MS))
    ledger.pauses.put(Pause("route#resumed", NOON - DAY_MS, "arn:me", resumed_at=NOON - 1))
    found = Ticked([], pauses=ledger.pauses)
    tick(found, NOON)
    assert found.handed_out == {"due-orders": ["resumed"]}
    counted = printed(capsys)
    assert (counted["DueOrders", "", ""], counted["OverdueOrders", "", ""]) == (0, 0)


HANDED_OUT = {
    "due": ["window-1"],
    "due-folders": ["folder-1"],
    "due-deliveries": ["intake-1"],
    "due-orders": ["intake-1", "intake-2"],
}


@pytest.mark.parametrize("full", [(), *((name,) for name in HANDED_OUT)])
def test_what_is_due_is_handed_out_by_class_however_full_another_queue_is(
    tick: Callable[[Ticked, int], None], capsys: pytest.CaptureFixture[str], full: tuple[str, ...]
) -> None:
    found = Ticked(DUE, full)
    tick(found, NOON)
    assert found.handed_out == {
        name: names for name, names in HANDED_OUT.items() if name not in full
    }
    counted = printed(capsys)
    assert (counted["DueOrders", "", ""], counted["OverdueOrders", "", ""]) == (5, 1)


@pytest.mark.parametrize("failing", HANDED_OUT)
def test_where_a_class_cannot_be_handed_out_the_others_are(
    tick: Callable[[Ticked, int], None], failing: str
) -> None:
    """And the tick fails, which an alarm tells."""
    found = Ticked(DUE, failing=(failing,))
    with pytest.raises(ExceptionGroup, match="some due work could not") as failed:
        tick(found, NOON)
    assert [type(one) for one in failed.value.exceptions] == [StorageUnavailable]
    assert set(found.handed_out) == set(HANDED_OUT) - {failing}
    assert found.asked == [NOON]


def test_where_nothing_is_delivered_what_was_begun_stays_due(
    tick: Callable[[Ticked, int], None],
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
) -> None:
    environment["DUE_DELIVERIES_QUEUE_URL"] = environment["DUE_QUEUE_URL"]
    found = Ticked([Due(DueKind.DELIVERIES, "intake-1", NOON - 300_001)])
    tick(found, NOON)
    assert found.handed_out == {}
    assert printed(capsys)["OverdueOrders", "", ""] == 1
