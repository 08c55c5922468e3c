"""Messages that one of our functions sends to another through a queue."""

import json
from datetime import UTC, datetime, timedelta

from aep_intake.model.files import Arrival


def of_arrival(arrival: Arrival) -> str:
    """An S3 event as EventBridge delivers it, which `envelopes.parse` reads as this arrival."""
    made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=arrival.time)
    about = {
        "key": arrival.key,
        "size": arrival.size,
        "etag": arrival.etag,
        "version-id": arrival.version_id,
        "sequencer": arrival.sequencer,
    }
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": made.isoformat(timespec="milliseconds"),
        "detail": {
            "bucket": {"name": arrival.bucket},
            "object": {name: value for name, value in about.items() if value is not None},
        },
    }
    return json.dumps(event)
