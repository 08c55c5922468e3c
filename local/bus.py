"""Listening on the intake bus: a queue of our own behind a rule of our own."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Self

from local.aws import Aws

Event = dict[str, Any]


class Listener:
    """Collects every event of ours on a bus from the moment it is made, until closed.

    A queue and a rule rather than a rule to CloudWatch Logs, which MiniStack never delivers to.
    `seen` is called with each event, on the listener's thread.
    """

    def __init__(self, aws: Aws, bus: str, seen: Callable[[Event], None] | None = None) -> None:
        self._aws = aws
        self._bus = bus
        self._seen = seen
        self._name = f"listener-{uuid.uuid4().hex[:12]}"
        self._queue = aws.sqs.create_queue(QueueName=self._name)["QueueUrl"]
        queue_arn = aws.sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        rule_arn = aws.events.put_rule(
            Name=self._name, EventBusName=bus, EventPattern=json.dumps({"source": ["aep.intake"]})
        )["RuleArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
        }
        aws.sqs.set_queue_attributes(
            QueueUrl=self._queue,
            Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})},
        )
        aws.events.put_targets(
            Rule=self._name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue_arn}]
        )
        self._events: list[Event] = []
        self._arrived = threading.Condition()
        self._closing = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and remove the rule and the queue."""
        self._closing.set()
        self._thread.join()
        self._aws.events.remove_targets(Rule=self._name, EventBusName=self._bus, Ids=["queue"])
        self._aws.events.delete_rule(Name=self._name, EventBusName=self._bus)
        self._aws.sqs.delete_queue(QueueUrl=self._queue)

    def abandon(self) -> None:
        """Stop listening at once, removing nothing: the whole local AWS is about to end."""
        self._closing.set()

    def events(self) -> list[Event]:
        """All events so far, in order of coming, as EventBridge envelopes."""
        with self._arrived:
            return list(self._events)

    def wait(
        self, wanted: Callable[[Event], bool], *, count: int = 1, timeout: float
    ) -> list[Event]:
        """The events `wanted` accepts, once there are `count`; earlier ones count too.

        Raises TimeoutError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                if self._failure:
                    raise self._failure
                found = [event for event in self._events if wanted(event)]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"{len(found)} of {count} events within {timeout:.0f} s; "
                        f"{len(self._events)} others"
                    )
                self._arrived.wait(left)

    def _listen(self) -> None:
        try:
            while not self._closing.is_set():
                self._receive()
        except Exception as failure:  # noqa: BLE001 - handed to whoever waits
            with self._arrived:
                if not self._closing.is_set():
                    self._failure = failure
                self._arrived.notify_all()

    def _receive(self) -> None:
        # MiniStack answers a long poll at once when a message comes; one second bounds closing.
        answer = self._aws.sqs.receive_message(
            QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
        )
        messages = answer.get("Messages", [])
        if messages:
            self._aws.sqs.delete_message_batch(
                QueueUrl=self._queue,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                    for number, message in enumerate(messages)
                ],
            )
        for message in messages:
            event = json.loads(message["Body"])
            with self._arrived:
                self._events.append(event)
                self._arrived.notify_all()
            if self._seen:
                self._seen(event)
