"""One contract, two ledgers: the one the fault schedules use, and the one in DynamoDB."""

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from typing import Any, Protocol

import pytest
from aep_intake.adapters.ledger import DynamoLedger
from aep_intake.arrivals import Arrival
from aep_intake.errors import AlreadyClaimed, LeaseLost, LedgerUnavailable, NoRoute
from aep_intake.intake import Memory
from aep_intake.orders import Batch, Lease, Order, Record, Rejection, State, Target
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPResponse

from local.aws import Aws
from local.stack import LocalStack
from tests.memory_ledger import MemoryLedger

NOW = 1_790_000_000_000
DAY = 86_400_000
TARGET = Target("arn:aws:secretsmanager:eu-west-1:1:secret:a-AbCdEf", "O@AdobeOrg", "prod", "d")
OPTIONS = {"inputFormat": {"format": "json"}, "tags": {"a": ["b", "ü"]}, "partial": 0.5}
count = itertools.count()


class Contract(Memory, Protocol):
    """All that the functions ask of a ledger."""

    def due(self, now: int) -> Iterator[tuple[str, int]]: ...
    def of_batch(self, batch_id: str) -> Record | None: ...


@pytest.fixture(params=["memory", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Contract:
    if request.param == "memory":
        return MemoryLedger()
    stack: LocalStack = request.getfixturevalue("stack")
    return DynamoLedger(stack.aws.dynamodb, stack.outputs["LedgerTable"], lambda: NOW, 60 * DAY)


def arrival(**changes: Any) -> Arrival:
    key = f"in/{uuid.uuid4().hex}/ä +%//{'x' * 900}"
    return replace(Arrival("landing", key, None, "etag", "0061", 10, NOW), **changes)


def order(*files: Arrival, **changes: Any) -> Order:
    external_id = files[0].external_id if files else f"caller-{uuid.uuid4().hex}"
    return replace(Order(external_id, TARGET, OPTIONS, files, route="r"), **changes)


def opened(*files: Arrival, **changes: Any) -> Record:
    return Record.opened(order(*files, **changes), Lease(f"token-{next(count)}", NOW + 1), NOW)


def batch() -> Batch:
    batch_id = uuid.uuid4().hex
    raw = {"id": batch_id, "size": 1.5, "note": ""}
    return Batch(batch_id, "loading", NOW, None, ("d",), {}, raw)


def test_what_is_put_is_what_is_got(ledger: Contract) -> None:
    files = arrival(), arrival(version_id="v", sequencer=None)
    record = ledger.open(opened(*files, trigger="request"))
    assert ledger.get(record.order.external_id) == record
    created = ledger.replace(record, record.created(batch()))
    assert ledger.get(record.order.external_id) == created
    assert ledger.get("nobody") is None


def test_the_first_to_open_wins(ledger: Contract) -> None:
    file = arrival()
    first, second = opened(file), opened(file)
    assert ledger.open(first) == first
    assert ledger.open(second) == first
    assert ledger.get(file.external_id) == first


@pytest.mark.parametrize("version", ["v1", None])
def test_another_order_cannot_take_a_claimed_version(ledger: Contract, version: str | None) -> None:
    event = arrival(version_id=version)
    ledger.open(opened(event))
    named = replace(event, sequencer=None, time=NOW + 5)
    other, wanted = arrival(), order(named, external_id=f"r-{uuid.uuid4().hex}")
    wanted = replace(wanted, files=(other, named), trigger="request")
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.open(Record.opened(wanted, Lease("t", NOW), NOW))
    assert caught.value.claimed == {named: event.external_id}
    assert ledger.get(wanted.external_id) is None
    assert ledger.claimant(other) is None, "all or nothing"
    assert ledger.claimant(named) == event.external_id


def test_an_event_follows_the_request_that_named_its_content(ledger: Contract) -> None:
    event = arrival()
    named = replace(event, sequencer=None)
    request = ledger.open(opened(named, external_id=f"r-{uuid.uuid4().hex}", trigger="request"))
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.open(opened(event))
    assert caught.value.claimed == {event: request.order.external_id}
    assert ledger.claimant(event) == request.order.external_id


def test_the_same_bytes_uploaded_again_are_a_new_version(ledger: Contract) -> None:
    first, again = opened(event := arrival()), opened(replace(event, sequencer="0062"))
    assert ledger.open(first) == first
    assert ledger.open(again) == again


def test_a_write_succeeds_only_on_what_it_was_made_from(ledger: Contract) -> None:
    record = ledger.open(opened(arrival()))
    taken = ledger.replace(record, record.leased(Lease("other", NOW + 9)))
    with pytest.raises(LeaseLost):
        ledger.replace(record, record.created(batch()))
    assert ledger.get(record.order.external_id) == taken


def test_the_next_attempt_comes_with_the_end_of_the_last(ledger: Contract) -> None:
    record = ledger.open(opened(arrival()))
    ended, following = record.superseded(Lease("next", NOW + 9), NOW)
    assert ledger.supersede(ended, following) == following
    assert ledger.get(record.order.external_id) == ended
    assert ledger.get(f"{record.order.external_id}.2") == following
    with pytest.raises(LeaseLost):
        ledger.supersede(ended, following)


def test_only_the_unfinished_is_due(ledger: Contract) -> None:
    early = ledger.open(opened(arrival()))
    late = ledger.open(replace(opened(arrival()), due=NOW + DAY))
    done = ledger.open(opened(arrival()))
    done = ledger.replace(done, done.created(batch()))
    ledger.replace(done, done.announced())
    due = dict(ledger.due(NOW + 1))
    assert due[early.order.external_id] == NOW + 1
    assert late.order.external_id not in due
    assert done.order.external_id not in due


def test_a_batch_leads_to_its_record(ledger: Contract) -> None:
    record = ledger.open(opened(arrival()))
    made = ledger.replace(record, record.created(batch()))
    assert made.batch_id
    assert ledger.of_batch(made.batch_id) == made
    assert ledger.of_batch("nobody's") is None


def test_a_rejection_claims_nothing(ledger: Contract) -> None:
    file = arrival()
    ledger.reject(file, Rejection.of(NoRoute("no rule fits"), NOW))
    assert ledger.claimant(file) is None
    assert ledger.open(opened(file)).state is State.OPEN


def refused(ledger: Contract, *files: Arrival, **changes: Any) -> tuple[Record, Record]:
    record = ledger.open(opened(*files, **changes))
    said = Rejection("batch-refused", "no such dataset", NOW, status=400)
    untold = ledger.replace(record, record.rejected(State.REFUSED, said))
    return untold, untold.announced()


def test_a_refused_order_lets_its_files_go_and_may_take_them_again(ledger: Contract) -> None:
    file, versioned = arrival(), arrival(version_id="v1")
    for one in (file, versioned):
        untold, told = refused(ledger, one)
        assert ledger.release(untold, told) == told
        assert ledger.get(one.external_id) == told
        assert ledger.claimant(one) is None
        again = ledger.reclaim(told, told.reopened(told.order, Lease("again", NOW + 9)))
        assert ledger.get(one.external_id) == again
        assert ledger.claimant(one) == one.external_id


def test_what_it_let_go_may_be_anothers_by_then(ledger: Contract) -> None:
    event = arrival()
    untold, told = refused(ledger, event)
    ledger.release(untold, told)
    named = replace(event, sequencer=None)
    other = ledger.open(opened(named, external_id=f"r-{uuid.uuid4().hex}", trigger="request"))
    with pytest.raises(AlreadyClaimed) as caught:
        ledger.reclaim(told, told.reopened(told.order, Lease("again", NOW + 9)))
    assert caught.value.claimed == {event: other.order.external_id}
    assert ledger.get(event.external_id) == told


def test_it_lets_go_and_takes_again_only_as_it_was_read(ledger: Contract) -> None:
    file = arrival()
    untold, told = refused(ledger, file)
    newer = ledger.replace(untold, untold.given_back(NOW + 5))
    with pytest.raises(LeaseLost):
        ledger.release(untold, told)
    assert ledger.claimant(file) == file.external_id
    with pytest.raises((LeaseLost, AlreadyClaimed)):
        ledger.reclaim(untold, told)
    assert ledger.get(file.external_id) == newer


def test_a_trace_that_another_event_overwrote_is_not_let_go(ledger: Contract) -> None:
    event = arrival()
    later = replace(event, sequencer="0062")
    untold, told = refused(ledger, event)
    ledger.open(opened(later))
    ledger.release(untold, told)
    assert ledger.claimant(event) is None
    assert ledger.claimant(later) == later.external_id
    named = opened(replace(event, sequencer=None), external_id="r", trigger="request")
    with pytest.raises(AlreadyClaimed):
        ledger.open(named)


def test_one_of_many_at_once_opens(ledger: Contract) -> None:
    file = arrival()

    def race(record: Record) -> str | None:
        try:
            return ledger.open(record).lease
        except LedgerUnavailable:
            return None

    with ThreadPoolExecutor(8) as pool:
        leases = set(pool.map(race, [opened(file) for _ in range(16)])) - {None}
    standing = ledger.get(file.external_id)
    assert standing is not None
    assert leases == {standing.lease}


def test_a_conflict_of_transactions_is_no_answer(stack: LocalStack) -> None:
    """MiniStack never says TransactionConflict, so it is put in its mouth."""
    record = opened(arrival())
    for ledger in (MemoryLedger(lambda: True), _disturbed(stack, _conflict)):
        with pytest.raises(LedgerUnavailable, match="TransactionConflict"):
            ledger.open(record)
        with pytest.raises(LedgerUnavailable, match="TransactionConflict"):
            ledger.supersede(*record.superseded(Lease("next", NOW), NOW))
    assert _disturbed(stack, lambda _: None).get(record.order.external_id) is None


def test_a_passing_conflict_is_tried_again(stack: LocalStack) -> None:
    tries = itertools.count()
    ledger = _disturbed(stack, lambda request: _conflict(request) if next(tries) < 2 else None)
    record = opened(arrival())
    assert ledger.open(record) == record
    assert next(tries) == 3


def test_a_claim_that_has_expired_is_free(stack: LocalStack) -> None:
    """DynamoDB deletes what has expired within days, not at once; MiniStack never."""
    table, client, now = stack.outputs["LedgerTable"], stack.aws.dynamodb, NOW
    ledger = DynamoLedger(client, table, lambda: now, 60 * DAY)
    event = arrival()
    named = replace(event, sequencer=None)
    ledger.open(opened(named, external_id=f"r-{uuid.uuid4().hex}", trigger="request"))
    again = opened(replace(event, sequencer="0099"))
    now += 59 * DAY
    with pytest.raises(AlreadyClaimed):
        ledger.open(again)
    now += 2 * DAY
    assert ledger.claimant(event) is None
    assert ledger.open(again) == again


def test_a_write_whose_answer_was_lost_and_was_repeated_counts(stack: LocalStack) -> None:
    """boto3 repeats it, and then finds its own first try in the way."""
    plain = _disturbed(stack, lambda _: None)
    record = plain.open(opened(arrival()))
    twice = _disturbed(stack, _lost_once(stack))
    created = record.created(batch())
    assert twice.replace(record, created) == created


def test_no_answer_is_said_so(stack: LocalStack) -> None:
    silent = _disturbed(stack, _silence)
    record = opened(arrival())
    for call in (
        lambda: silent.open(record),
        lambda: silent.get("x"),
        lambda: silent.replace(record, record.announced()),
        lambda: list(silent.due(NOW)),
        lambda: silent.claimant(record.order.files[0]),
    ):
        with pytest.raises(LedgerUnavailable):
            call()


def test_what_is_finished_expires_and_the_unfinished_never(stack: LocalStack) -> None:
    table, client = stack.outputs["LedgerTable"], stack.aws.dynamodb
    ledger = DynamoLedger(client, table, lambda: NOW, 60 * DAY)
    record = ledger.open(opened(arrival()))
    key = {"pk": {"S": f"order#{record.order.external_id}"}, "sk": {"S": "order"}}
    item = client.get_item(TableName=table, Key=key)["Item"]
    assert "expires" not in item
    assert item["due"] == {"N": str(NOW + 1)}
    record = ledger.replace(record, record.created(batch()))
    ledger.replace(record, record.announced())
    item = client.get_item(TableName=table, Key=key)["Item"]
    assert item["expires"] == {"N": str((NOW + 60 * DAY) // 1000)}
    assert "due" not in item
    assert "due_shard" not in item


def test_all_versions_of_an_object_come_with_one_query(stack: LocalStack) -> None:
    ledger = DynamoLedger(stack.aws.dynamodb, stack.outputs["LedgerTable"], lambda: NOW, 60 * DAY)
    event = arrival()
    again, turned_away = replace(event, sequencer="0062"), replace(event, version_id="v9")
    ledger.open(opened(event))
    ledger.open(opened(again))
    ledger.reject(turned_away, Rejection.of(NoRoute("no rule fits"), NOW))
    seen = {one.version: one for one in ledger.seen(event.object_id)}
    assert set(seen) == {event.version, again.version, turned_away.version}
    assert seen[again.version].owner == again.external_id
    rejection = seen[turned_away.version].rejection
    assert rejection is not None
    assert rejection.reason == "no-route"


type Disturb = Callable[[AWSPreparedRequest], AWSResponse | None]


def _disturbed(stack: LocalStack, disturb: Disturb) -> DynamoLedger:
    """A ledger whose requests to DynamoDB are `disturb`ed before they are sent."""
    client = Aws(stack.aws.endpoint, stack.aws.authority, stack.aws.identity).dynamodb
    events: Any = client.meta.events  # its stubs do not know that a handler may answer
    events.register("before-send.dynamodb", lambda request, **_: disturb(request))
    return DynamoLedger(client, stack.outputs["LedgerTable"], lambda: NOW, 60 * DAY)


def _conflict(request: AWSPreparedRequest) -> AWSResponse:
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}],
    }
    raw = HTTPResponse(BytesIO(json.dumps(body).encode()), preload_content=False)
    return AWSResponse(request.url, 400, HTTPHeaders(), raw)


def _silence(request: AWSPreparedRequest) -> None:
    raise ReadTimeoutError(endpoint_url=request.url)


def _lost_once(stack: LocalStack) -> Disturb:
    tries = itertools.count()

    def lose(request: AWSPreparedRequest) -> None:
        if next(tries) == 0:
            authority: Any = str(stack.aws.authority)
            URLLib3Session(verify=authority).send(request)
            raise ReadTimeoutError(endpoint_url=request.url)

    return lose
