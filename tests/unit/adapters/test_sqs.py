"""SQS takes ten messages a call; one that it does not take is no other's failure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aep_intake.adapters.aws.sqs import Queues, WorkQueue
from aep_intake.clock.parking import Parked
from aep_intake.clock.retries import Again, Message
from aep_intake.model.errors import StorageUnavailable
from aep_intake.model.progress import Rejection
from botocore.exceptions import ClientError, EndpointConnectionError

# What a message may hold.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
TAKEN = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
MOST_BYTES = 1_048_576  # of all bodies of a call together


def error(code: str, operation: str, status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, operation)


@dataclass
class Sqs:
    """As strict as the real one. `down`: every call fails like that. `full`: bodies it refuses."""

    down: Exception | None = None
    full: frozenset[str] = frozenset()
    sent: list[dict[str, Any]] = field(default_factory=list)
    hidden: dict[str, int] = field(default_factory=dict)
    calls: int = 0

    def _called(self) -> None:
        self.calls += 1
        if self.down:
            raise self.down

    def _check(self, entry: Mapping[str, Any], operation: str) -> None:
        attributes = [value["StringValue"] for value in entry.get("MessageAttributes", {}).values()]
        for text in (entry["MessageBody"], *attributes):
            if not TAKEN.fullmatch(text):
                raise error("InvalidMessageContents", operation)

    def send_message(self, QueueUrl: str, **entry: Any) -> None:
        self._called()
        self._check(entry, "SendMessage")
        self.sent.append(entry)

    def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> dict[str, Any]:
        self._called()
        assert len(Entries) <= 10
        if sum(len(entry["MessageBody"].encode()) for entry in Entries) > MOST_BYTES:
            raise error("AWS.SimpleQueueService.BatchRequestTooLong", "SendMessageBatch")
        for entry in Entries:
            self._check(entry, "SendMessageBatch")
        good = [entry for entry in Entries if entry["MessageBody"] not in self.full]
        self.sent += good
        failed = [{"Id": e["Id"], "Code": "InternalError"} for e in Entries if e not in good]
        return {"Successful": [{"Id": e["Id"]} for e in good], "Failed": failed}

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[Any]) -> dict[str, Any]:
        self._called()
        assert len(Entries) <= 10
        good = [entry for entry in Entries if entry["ReceiptHandle"] != "gone"]
        self.hidden |= {entry["ReceiptHandle"]: entry["VisibilityTimeout"] for entry in good}
        failed = [
            {"Id": e["Id"], "Code": "ReceiptHandleIsInvalid"} for e in Entries if e not in good
        ]
        return {"Failed": failed}


def queues(sqs: Sqs) -> Queues:
    return Queues(cast("Any", sqs))


def again(body: str, n: int = 0) -> Again:
    message = Message(f"m{n}", f"r{n}", body, 4, 1_790_000_000_000)
    return Again(message, 240, 4, 0)


@pytest.mark.parametrize("odd", ["\ufffe", "\uffff", "\ud800", "\x00", "é", "\U0001f600"])
def test_a_key_may_hold_what_sqs_does_not_take(odd: str) -> None:
    sqs = Sqs()
    documents = [{"key": f"a{odd * (n == 4)}{n}"} for n in range(12)]
    queues(sqs).send("url", documents)
    said = [json.loads(entry["MessageBody"]) for entry in sqs.sent]
    assert [{"key": document["key"]} for document in said] == documents


def test_why_something_is_parked_may_hold_it_too() -> None:
    sqs = Sqs()
    why = Rejection("no-route", "key a\ufffe\x00b\uffff\ud800", 1)
    parked = Parked("0f", "arrivals", "caller's \ufffe id", "{}", why)
    queues(sqs).park("url", parked, has_item=True)
    queues(sqs).park("url", parked, has_item=False)
    first, second = (entry["MessageAttributes"] for entry in sqs.sent)
    assert first["detail"]["StringValue"] == "key a  b  "
    assert first["parkedAt"]["StringValue"] == "1970-01-01T00:00:00.001Z"
    assert (first.pop("item")["StringValue"], first) == ("0f", second)


def test_ten_that_are_too_large_together_go_one_by_one() -> None:
    sqs = Sqs()
    documents = [{"n": n, "files": "x" * 200_000} for n in range(10)]
    queues(sqs).send("url", documents)
    assert [json.loads(entry["MessageBody"])["n"] for entry in sqs.sent] == list(range(10))


def test_one_that_cannot_be_sent_is_the_only_one() -> None:
    bad, refused = again("\ufffe", 3), again("full", 13)
    wanted = [again("{}", n) for n in range(20) if n not in (3, 13)]
    sqs = Sqs(full=frozenset({"full"}))
    work = WorkQueue(queues(sqs), "url", lambda *_: None)
    kept = work.send_again([*wanted[:3], bad, *wanted[3:12], refused, *wanted[12:]])
    assert set(kept) == {bad.message, refused.message}
    assert len(sqs.sent) == 18
    assert {entry["DelaySeconds"] for entry in sqs.sent} == {240}
    carried = sqs.sent[0]["MessageAttributes"]
    assert {name: value["StringValue"] for name, value in carried.items()} == {
        "firstSentAt": "1790000000000",
        "tries": "4",
    }


def test_the_rest_is_hidden_though_one_is_gone() -> None:
    sqs = Sqs()
    waits = {"r1": 30, "gone": 60} | {f"r{n}": 120 for n in range(2, 15)}
    with pytest.raises(StorageUnavailable, match="ReceiptHandleIsInvalid"):
        queues(sqs).hide("url", waits)
    assert sqs.hidden == {handle: wait for handle, wait in waits.items() if handle != "gone"}


@pytest.mark.parametrize(
    "down",
    [
        error("RequestThrottled", "SendMessageBatch"),
        error("AccessDeniedException", "SendMessageBatch"),
        error("InternalFailure", "SendMessageBatch", 500),
        EndpointConnectionError(endpoint_url="https://sqs"),
    ],
    ids=lambda down: type(down).__name__,
)
def test_a_queue_that_is_down_is_asked_once(down: Exception) -> None:
    """Thousands are handed out at a time, by a worker that does not live for long."""
    sqs = Sqs(down)
    with pytest.raises(StorageUnavailable):
        queues(sqs).send("url", [{"n": n} for n in range(1000)])
    assert sqs.calls == 1
