"""What `redrive` sends; the rest of the command is tried on the local AWS."""

import json
from datetime import UTC, datetime
from itertools import product
from typing import Any, cast

import pytest
from aep_intake.arrivals.envelopes import parse
from aep_intake.clock.retries import Again, Message
from aep_intake.delivery.delivery import Task
from aep_intake.delivery.pieces import Run
from aep_intake.model import records
from aep_intake.model.files import Arrival
from aep_intake.model.messages import Wish, of_arrival, of_order
from aep_intake_cli.dead_letters import ParkedMessage, Redrive, _read, messages_table, to_json
from rich.console import Console

ARRIVAL = of_arrival(Arrival("landing", "in/a", "v1", "e1", None, 10, 0))
DUE = json.dumps({"externalId": "delivery-a"})


class Sqs:
    """Notes what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:
        self.sent += Entries
        return {"Successful": []}


def test_files_that_go_up_together_are_named_by_their_places() -> None:
    body = records.text(Task.of("intake-0a", Run(3, 10, 25, 999)))
    assert _read(body) == (["intake-0a"], ["files 10 to 24, together, of an order's batch:"])


@pytest.mark.parametrize("wish", [Wish(*two) for two in product((False, True), repeat=2)])
def test_an_order_is_told_how_to_be_tried_again_and_a_file_that_it_was_parked(wish: Wish) -> None:
    bodies = [of_order("a"), ARRIVAL, DUE, "no JSON"]
    parked = {
        str(n): ParkedMessage("h", body, "batch-failed", "", frozenset(), (), datetime.now(UTC))
        for n, body in enumerate(bodies)
    }
    sqs = Sqs()
    assert list(Redrive(cast("Any", sqs), "from", "to", wish=wish)._move(parked)) == []
    first, *others = (entry["MessageBody"] for entry in sqs.sent)
    assert (parse(first).order, parse(first).wish) == ("a", wish)
    assert others == bodies[1:]
    for entry in sqs.sent:
        attributes = {
            name: {"stringValue": v["StringValue"]}
            for name, v in entry["MessageAttributes"].items()
        }
        assert received(attributes).redriven is not wish.even_if_overtaken


def received(attributes: dict[str, Any]) -> Message:
    about = {"ApproximateReceiveCount": "1", "SentTimestamp": "0"}
    names = {"messageId": "m", "receiptHandle": "r", "body": ""}
    return Message.of({**names, "attributes": about, "messageAttributes": attributes})


def test_what_was_moved_in_the_console_is_known_too_and_what_is_sent_again_stays_so() -> None:
    """SQS's own redrive keeps attributes; a message with a long wait is sent again."""
    moved = received({"parkedAt": {"stringValue": "2026-11-28T12:00:00.000+00:00"}})
    assert moved.redriven
    again = Again.at(moved, 1_000, 0, tries=3)
    carried = {name: {"stringValue": str(value)} for name, value in again.attributes.items()}
    assert received(carried).redriven
    assert not received({}).redriven
    assert "redriven" not in Again.at(received({}), 1_000, 0, tries=3).attributes


def test_the_codes_of_a_failed_batch_are_explained() -> None:
    now = datetime.now(UTC)
    detail = "batch 01ABC is failed (INGEST-1212-400, INGEST-1555-400, unknown)"
    parked = ParkedMessage("h", of_order("a"), "batch-failed", detail, frozenset(), (), now)
    assert list(to_json(parked)["hints"]) == ["INGEST-1212-400", "INGEST-1555-400"]
    console = Console(width=300, record=True)
    console.print(messages_table([parked], now))
    assert "INGEST-1555-400: A required field of the schema is missing" in console.export_text()
