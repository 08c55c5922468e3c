"""Messages that one of our functions sends to another through the arrivals queue.

`envelopes.parse` reads them all. Due work (`clock.due`) and pieces (`delivery.Task`) have queues of
their own.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aep_intake.model import records
from aep_intake.model.files import Arrival
from aep_intake.model.history import OverdueFiles
from aep_intake.model.values import dataclass


def encoded(document: Mapping[str, Any]) -> str:
    """A message in ASCII: SQS refuses some characters of keys, such as U+FFFE."""
    return json.dumps({"v": records.VERSION, **document}, default=records.members)


@dataclass(frozen=True, slots=True)
class Wish:
    """How an operator wants a parked order to be tried again."""

    as_ordered: bool = False  # not through the present routes
    even_if_overtaken: bool = False  # though a newer version of a file may be loaded


AS_USUAL = Wish()


def of_order(external_id: str, wish: Wish = AS_USUAL) -> str:
    """A parked order, to be tried again."""
    told = {"asOrdered": wish.as_ordered, "evenIfOvertaken": wish.even_if_overtaken}
    return encoded({"externalId": external_id} | {name: True for name in told if told[name]})


def of_overdue(overdue: OverdueFiles) -> dict[str, Any]:
    """Files that have waited too long for their marker."""
    return {"missing": overdue}


def of_arrival(arrival: Arrival) -> str:
    """An S3 event as EventBridge delivers it, which `envelopes.parse` reads as this arrival.

    With two members more if a backfill brings it.
    """
    made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=arrival.time)
    about = {
        "key": arrival.key,
        "size": arrival.size,
        "etag": arrival.etag,
        "version-id": arrival.version_id,
        "sequencer": arrival.sequencer,
    }
    brought = {"broughtBy": arrival.brought_by, "aged": arrival.aged or None}
    event = {
        **{name: value for name, value in brought.items() if value is not None},
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": made.isoformat(timespec="milliseconds"),
        "detail": {
            "bucket": {"name": arrival.bucket},
            "object": {name: value for name, value in about.items() if value is not None},
            **({"reason": "CopyObject"} if arrival.copied else {}),
        },
    }
    return json.dumps(event)
