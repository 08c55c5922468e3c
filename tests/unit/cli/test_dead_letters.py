"""What `redrive --as-ordered` sends; the rest of the command is tried on the local AWS."""

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aep_intake.arrivals.envelopes import parse
from aep_intake.model.files import Arrival
from aep_intake.model.messages import of_arrival, of_order
from aep_intake_cli.dead_letters import ParkedMessage, Redrive, messages_table, to_json
from rich.console import Console

ARRIVAL = of_arrival(Arrival("landing", "in/a", "v1", "e1", None, 10, 0))
DUE = json.dumps({"externalId": "delivery-a"})


class Sqs:
    """Notes what it is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:
        self.sent += [entry["MessageBody"] for entry in Entries]
        return {"Successful": []}


@pytest.mark.parametrize("as_ordered", [True, False])
def test_only_an_order_is_told_to_stay_as_it_was(as_ordered: bool) -> None:
    bodies = [of_order("a"), ARRIVAL, DUE, "no JSON"]
    parked = {
        str(n): ParkedMessage("h", body, "batch-failed", "", frozenset(), (), datetime.now(UTC))
        for n, body in enumerate(bodies)
    }
    sqs = Sqs()
    run = Redrive(cast("Any", sqs), "from", "to", as_ordered=as_ordered)
    assert list(run._move(parked)) == []
    first, *others = sqs.sent
    assert (parse(first).order, parse(first).as_ordered) == ("a", as_ordered)
    assert others == bodies[1:]


def test_the_codes_of_a_failed_batch_are_explained() -> None:
    now = datetime.now(UTC)
    detail = "batch 01ABC is failed (INGEST-1212-400, INGEST-1555-400, unknown)"
    parked = ParkedMessage("h", of_order("a"), "batch-failed", detail, frozenset(), (), now)
    assert list(to_json(parked)["hints"]) == ["INGEST-1212-400", "INGEST-1555-400"]
    console = Console(width=300, record=True)
    console.print(messages_table([parked], now))
    assert "INGEST-1555-400: A required field of the schema is missing" in console.export_text()
